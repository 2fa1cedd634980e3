//! Random commands at random times: what must be true after any of them.

mod common;

use banyan_domain::coupon::{
    Audience, CampaignChange, CampaignDefinition, Command, CouponState, EndCause, Event, ReleaseCause,
};
use banyan_domain::{
    Actor, CampaignId, CampaignNo, CouponId, Entry, Event as AnyEvent, Holder, KeyStamp, MemberId, Millis,
    OrderId, Reason, Remembered, SegmentName, State, Timestamp, limits,
};
use common::model::{Model, Said, words};
use common::{Shop, definition};
use proptest::prelude::*;

const CAMPAIGNS: u32 = 4;

/// One step of a story.
#[derive(Clone, Debug)]
enum Step {
    Ask(Box<Command>, Option<&'static str>),
    /// Asks again what was asked so many questions ago, under the same key.
    Repeat(usize),
    Wait(u64),
    Restart,
    Digest,
}

fn config(cases: u32) -> ProptestConfig {
    ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(cases) }
}

fn span() -> impl Strategy<Value = u64> {
    const HOUR: u64 = 3_600_000;
    prop_oneof![
        Just(0),
        1..3_u64,
        1_u64..60_000,
        1..48 * HOUR,
        Just(limits::IDEMPOTENCY_HORIZON_MILLIS),
        Just(limits::RETIRE_AFTER_MILLIS),
        1..300 * 24 * HOUR,
    ]
}

fn campaign_id() -> impl Strategy<Value = CampaignId> {
    (0..CAMPAIGNS).prop_map(|i| CampaignId::new(format!("c{i}")).expect("valid"))
}

fn member() -> impl Strategy<Value = MemberId> {
    (0..6).prop_map(|i| MemberId::new(format!("m{i}")).expect("valid"))
}

fn order() -> impl Strategy<Value = OrderId> {
    (0..3).prop_map(|i| OrderId::new(format!("o{i}")).expect("valid"))
}

fn gold() -> SegmentName {
    SegmentName::new("gold").expect("valid")
}

fn by() -> Actor {
    Actor::new("ops").expect("valid")
}

fn reason() -> Reason {
    Reason::new("why").expect("valid")
}

fn coupon() -> impl Strategy<Value = CouponId> {
    (1..=CAMPAIGNS, 0..9_u64).prop_map(|(no, n)| CouponId::new(CampaignNo::new(no), n))
}

fn instant() -> impl Strategy<Value = Timestamp> {
    (span(), span()).prop_map(|(a, b)| Timestamp::from_millis(a + b))
}

fn any_definition() -> impl Strategy<Value = CampaignDefinition> {
    let audience = prop_oneof![3 => Just(Audience::Everyone), 1 => Just(Audience::AllowList), 1 => Just(Audience::Segment(gold()))];
    (
        campaign_id(),
        proptest::option::of(1..6_u64),
        prop_oneof![2 => Just(1), 1 => 2..4_u16],
        proptest::option::weighted(0.2, instant()),
        proptest::option::weighted(0.5, instant()),
        audience,
        proptest::option::weighted(0.7, span()),
    )
        .prop_map(|(id, quantity, per_member, starts_at, ends_at, audience, valid_for)| CampaignDefinition {
            quantity,
            per_member,
            starts_at,
            ends_at,
            audience,
            valid_for: valid_for.map(Millis::new),
            ..definition(id.as_str())
        })
        .prop_filter("only checked definitions are asked", |definition| definition.check().is_ok())
}

fn any_command() -> impl Strategy<Value = Command> {
    let owner = || proptest::option::weighted(0.2, member());
    let change = (
        proptest::option::weighted(0.3, any::<bool>()),
        proptest::bool::weighted(0.15),
        proptest::option::weighted(0.3, instant()),
        proptest::option::weighted(0.3, 0..7_u64),
    );
    prop_oneof![
        2 => any_definition()
            .prop_map(|definition| Command::CreateCampaign { definition: Box::new(definition), by: by() }),
        2 => (campaign_id(), change).prop_map(|(campaign, (paused, end, ends_at, quantity))| {
            let change = CampaignChange { paused, end, ends_at, quantity, by: by(), reason: reason() };
            Command::ChangeCampaign { campaign, change: Box::new(change) }
        }),
        1 => (campaign_id(), proptest::collection::vec(member(), 0..5))
            .prop_map(|(campaign, members)| Command::ExtendAllowList { campaign, members }),
        8 => (campaign_id(), member(), any::<bool>()).prop_map(|(campaign, member, is_gold)| {
            let segments = is_gold.then(gold).into_iter().collect();
            Command::IssueCoupon { campaign, member, segments }
        }),
        4 => (coupon(), owner(), order(), span()).prop_map(|(coupon, owner, order, hold_for)| {
            Command::HoldCoupon { coupon, owner, order, hold_for: Millis::new(hold_for) }
        }),
        3 => (coupon(), owner(), order())
            .prop_map(|(coupon, owner, order)| Command::RedeemCoupon { coupon, owner, order }),
        2 => (coupon(), owner(), order())
            .prop_map(|(coupon, owner, order)| Command::ReleaseCoupon { coupon, owner, order }),
        1 => coupon().prop_map(|coupon| Command::RevokeCoupon { coupon, by: by(), reason: reason() }),
    ]
}

fn story() -> impl Strategy<Value = (u64, Vec<Step>)> {
    let key = proptest::option::weighted(0.25, proptest::sample::select(vec!["k0", "k1", "k2"]));
    let step = prop_oneof![
        12 => (any_command(), key).prop_map(|(command, key)| Step::Ask(Box::new(command), key)),
        3 => (1..12_usize).prop_map(Step::Repeat),
        4 => span().prop_map(Step::Wait),
        1 => Just(Step::Restart),
        1 => Just(Step::Digest),
    ];
    // Most stories begin in 1970, where their windows lie; some shortly before the end of time.
    let end = limits::TIMESTAMP_MILLIS_MAX - 100 * 24 * 3_600_000;
    let start = prop_oneof![4 => Just(0), 1 => Just(end)];
    // Campaigns first, so that the story is about something.
    let creations = proptest::collection::vec(any_definition(), 2..5);
    (start, creations, proptest::collection::vec(step, 1..80)).prop_map(|(start, creations, steps)| {
        let create = |definition| Command::CreateCampaign { definition: Box::new(definition), by: by() };
        let creations = creations.into_iter().map(|d| Step::Ask(Box::new(create(d)), None));
        (start, creations.chain(steps).collect())
    })
}

/// Runs a story beside the model, with everything checked after every step.
fn run(start: u64, steps: &[Step]) -> (Shop, Model) {
    let (mut shop, mut model) = (Shop::new(), Model::default());
    let wait = |shop: &mut Shop, model: &mut Model, span: u64| {
        let now = shop.state.time().plus(Millis::new(span));
        shop.at(now);
        model.tick(now.as_millis());
    };
    wait(&mut shop, &mut model, start);
    let mut asked = Vec::new();
    for step in steps {
        match step {
            Step::Ask(command, key) => {
                ask(&mut shop, &mut model, command, *key);
                asked.push((command, *key));
            }
            Step::Repeat(ago) => {
                if let Some((command, key)) = asked.iter().rev().nth(*ago) {
                    ask(&mut shop, &mut model, command, *key);
                }
            }
            Step::Wait(span) => wait(&mut shop, &mut model, *span),
            Step::Restart => {
                let restored = State::from_snapshot(&shop.state.to_snapshot());
                shop.state = restored.expect("a snapshot can be read");
            }
            Step::Digest => shop.log_digest(),
        }
        // At the very end of time a hold lapses the moment it begins: let it.
        if shop.state.time().as_millis() == limits::TIMESTAMP_MILLIS_MAX {
            wait(&mut shop, &mut model, 0);
        }
        shop.check();
        for no in 1..=shop.state.coupons().campaigns_ever() {
            let real = shop.state.coupons().campaign_no(CampaignNo::new(no)).map(|campaign| {
                let t = campaign.totals();
                [t.issued, t.held, t.redeemed, t.revoked, t.expired]
            });
            assert_eq!(real, model.totals(no as usize - 1), "totals of campaign {no} after {step:?}");
        }
    }
    (shop, model)
}

fn ask(shop: &mut Shop, model: &mut Model, command: &Command, key: Option<&str>) {
    let request = format!("{command:?}");
    let stamp = key.map(|key| KeyStamp::new(shop.state.keys(), "shop", key, request.as_bytes()));
    let answer = shop.ask(command.clone(), stamp);
    let said = match &answer {
        Err(refusal) => Said::No(refusal.slug()),
        Ok(answer) if answer.replayed => Said::Again(words(&answer.outcome)),
        Ok(answer) => Said::New(words(&answer.outcome)),
    };
    assert_eq!(
        said,
        model.ask(command, key, &request),
        "the rules (left) and the model differ on {command:?}"
    );
}

proptest! {
    #![proptest_config(config(256))]

    #[test]
    fn the_rules_answer_as_the_model_and_the_log_gives_the_same_state((start, steps) in story()) {
        let (mut shop, _) = run(start, &steps);
        shop.check_replay();
    }

    #[test]
    fn what_is_due_comes_in_order_and_a_jump_ends_where_small_steps_end((start, steps) in story(), jump in span()) {
        let (mut shop, _) = run(start, &steps);
        let (target, mut walker) = (shop.state.time().plus(Millis::new(jump)), shop.clone());
        // The walker stops at every deadline; the other jumps over all of them. Settling is stamped with the time of the
        // block, so only what is not about retirement must be equal.
        while let Some(next) = walker.state.next_deadline().filter(|next| *next <= target) {
            if next < walker.state.time() || walker.at(next).is_empty() {
                break;
            }
        }
        walker.at(target);
        shop.at(target);
        shop.check();
        walker.check();
        for campaign in walker.state.coupons().campaigns() {
            let jumped = shop.state.coupons().campaign_no(campaign.no()).expect("a jump retires no earlier");
            prop_assert_eq!(campaign.totals(), jumped.totals());
            prop_assert!(campaign.rows().eq(jumped.rows()));
        }
    }

    #[test]
    fn blocks_without_events_leave_no_trace((start, steps) in story(), pauses in proptest::collection::vec(0..20_u64, 4)) {
        let (mut shop, _) = run(start, &steps);
        shop.at(shop.state.time());
        let mut quiet = shop.clone();
        for pause in pauses {
            let to = shop.state.time().plus(Millis::new(pause));
            if shop.state.next_deadline().is_none_or(|next| next > to) {
                shop.at(to);
                prop_assert!(shop.state.due().is_empty());
                let refused = Command::RevokeCoupon {
                    coupon: CouponId::new(CampaignNo::new(99), 1),
                    by: by(),
                    reason: reason(),
                };
                shop.ask(refused, None).expect_err("no such campaign");
            }
        }
        quiet.at(shop.state.time());
        prop_assert_eq!(quiet.state.digest(), shop.state.digest());
        prop_assert!(quiet.state.to_snapshot() == shop.state.to_snapshot());
        // What fell due just before the pauses may still be in an open block of one of the two.
        quiet.end_block();
        shop.end_block();
        prop_assert!(quiet.log == shop.log);
    }

    /// Events that nobody decided, as a damaged log or a bug would have them: each is refused and changes nothing, or
    /// leaves a state that is whole and can go on.
    #[test]
    fn any_event_at_all_is_refused_whole_or_leaves_a_whole_state(
        (start, steps) in story(),
        events in proptest::collection::vec((any_event(), span(), any::<bool>()), 1..40),
    ) {
        let (mut shop, _) = run(start, &steps);
        for (i, (event, wait, keyed)) in events.into_iter().enumerate() {
            let state = &mut shop.state;
            state.begin_block(state.time().plus(Millis::new(wait)));
            let before = state.to_snapshot();
            let stamp = keyed.then(|| KeyStamp::new(state.keys(), "log", &(i % 3).to_string(), b"request"));
            match state.apply(&Entry { event: event.clone(), stamp }) {
                Err(_) => prop_assert!(state.to_snapshot() == before, "{:?} changed something", event),
                Ok(_) => {
                    let _ = state.outcome(&event);
                }
            }
            prop_assert_eq!(state.check_invariants(), Ok(()), "after {:?}", event);
            for due in state.due() {
                state.apply(&Entry { event: due, stamp: None }).expect("what is due applies");
            }
            prop_assert_eq!(state.check_invariants(), Ok(()), "after what was due");
            let restored = State::from_snapshot(&state.to_snapshot()).expect("a snapshot can be read");
            prop_assert_eq!(restored.next_deadline(), state.next_deadline());
            // Every remembered key can be answered.
            for i in 0..3 {
                let stamp = KeyStamp::new(state.keys(), "log", &i.to_string(), b"request");
                let command = Command::RevokeCoupon {
                    coupon: CouponId::new(CampaignNo::new(1), 1),
                    by: by(),
                    reason: reason(),
                };
                let _ = state.decide(command.into_any(), Some(&stamp));
            }
        }
    }
}

trait IntoAny {
    fn into_any(self) -> banyan_domain::Command;
}

impl IntoAny for Command {
    fn into_any(self) -> banyan_domain::Command {
        banyan_domain::Command::Coupon(self)
    }
}

fn any_event() -> impl Strategy<Value = AnyEvent> {
    let state = proptest::sample::select(vec![
        CouponState::Issued,
        CouponState::Held,
        CouponState::Redeemed,
        CouponState::Revoked,
        CouponState::Expired,
    ]);
    let until = prop_oneof![3 => Just(Timestamp::default()), 1 => instant()];
    let no = || (0..=CAMPAIGNS + 1).prop_map(CampaignNo::new);
    let kept = prop_oneof![
        coupon().prop_map(Remembered::Issued),
        (coupon(), state, until).prop_map(|(coupon, state, held_until)| Remembered::Changed {
            coupon,
            state,
            held_until
        }),
        no().prop_map(Remembered::Campaign),
        (no(), 0..2_u32, 0..4_u32).prop_map(|(no, added, total)| Remembered::AllowList { no, added, total }),
    ];
    prop_oneof![
        12 => coupon_event().prop_map(AnyEvent::Coupon),
        3 => kept.prop_map(|answer| AnyEvent::KeyKept { answer }),
    ]
}

fn coupon_event() -> impl Strategy<Value = Event> {
    let no = || (0..=CAMPAIGNS + 1).prop_map(CampaignNo::new);
    let n = || prop_oneof![8 => 0..9_u64, 1 => Just(u64::MAX), 1 => Just(u64::from(u32::MAX))];
    let cause = prop_oneof![Just(EndCause::Window), Just(EndCause::Operator { by: by(), reason: reason() })];
    let release = prop_oneof![Just(ReleaseCause::Asked), Just(ReleaseCause::Deadline)];
    prop_oneof![
        (no(), any_definition()).prop_map(|(no, d)| Event::CampaignCreated {
            no,
            definition: Box::new(d),
            by: by()
        }),
        no().prop_map(|no| Event::CampaignPaused { no, by: by(), reason: reason() }),
        no().prop_map(|no| Event::CampaignResumed { no, by: by(), reason: reason() }),
        (no(), instant()).prop_map(|(no, ends_at)| Event::CampaignExtended {
            no,
            ends_at,
            by: by(),
            reason: reason()
        }),
        (no(), n()).prop_map(|(no, quantity)| Event::CampaignQuantityChanged {
            no,
            quantity,
            by: by(),
            reason: reason()
        }),
        (no(), cause).prop_map(|(no, cause)| Event::CampaignEnded { no, cause }),
        no().prop_map(|no| Event::CampaignRetired { no }),
        (no(), proptest::collection::vec(member(), 0..4))
            .prop_map(|(no, members)| Event::AllowListExtended { no, members }),
        (coupon(), member()).prop_map(|(coupon, member)| Event::CouponIssued { coupon, member }),
        (coupon(), order(), instant()).prop_map(|(coupon, order, until)| Event::CouponHeld {
            coupon,
            order,
            holder: if until.as_millis() % 2 == 0 { Holder::Member } else { Holder::Shop },
            until
        }),
        (coupon(), order()).prop_map(|(coupon, order)| Event::CouponRedeemed { coupon, order }),
        (coupon(), release, any::<bool>()).prop_map(|(coupon, cause, expired)| Event::CouponReleased {
            coupon,
            cause,
            expired
        }),
        coupon().prop_map(|coupon| Event::CouponRevoked { coupon, by: by(), reason: reason() }),
        (no(), n(), n()).prop_map(|(no, first, last)| Event::CouponsExpired { no, first, last }),
    ]
}
