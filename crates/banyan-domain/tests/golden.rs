//! The stored bytes: what each event looks like for ever, and that no bytes whatever stop the process.

mod common;

use banyan_domain::codec::EventTag;
use banyan_domain::coupon::{
    Audience, Benefit, CampaignDefinition, CouponState, EndCause, Event, ReleaseCause, Stacking,
};
use banyan_domain::{
    Actor, CampaignId, CampaignNo, CouponId, Currency, Entry, Event as AnyEvent, Holder, KeyStamp, MemberId,
    Millis, Money, OrderId, Reason, Remembered, SegmentName, State, StoreSecret, Timestamp, codec,
};
use common::Shop;
use common::script::run;
use expect_test::{Expect, expect};
use proptest::prelude::*;
use std::fmt::Write as _;

fn encoded(entry: &Entry) -> Vec<u8> {
    let mut body = Vec::new();
    codec::encode(entry, &mut body);
    body
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").expect("a string takes every write");
        text
    })
}

/// The entry must be stored as these bytes, and read back from them.
#[track_caller]
#[allow(clippy::needless_pass_by_value, reason = "`expect!` is written in place at every call")]
fn check(event: impl Into<AnyEvent>, wanted: Expect) {
    let entry = Entry { event: event.into(), stamp: None };
    let body = encoded(&entry);
    wanted.assert_eq(&hex(&body));
    let back: Vec<Entry> = codec::decode(&body, 1).map(|entry| entry.expect("it was written")).collect();
    assert_eq!(back, std::slice::from_ref(&entry));
    check_tag(&body, &entry);
}

/// A reader of campaigns' events gets exactly those, and steps over the others.
#[track_caller]
fn check_tag(body: &[u8], entry: &Entry) {
    let about_campaign = match &entry.event {
        AnyEvent::Coupon(event) => !matches!(
            event,
            Event::CouponIssued { .. }
                | Event::CouponHeld { .. }
                | Event::CouponRedeemed { .. }
                | Event::CouponReleased { .. }
                | Event::CouponRevoked { .. }
                | Event::CouponsExpired { .. }
        ),
        _ => false,
    };
    let twice = [body, body].concat();
    let wanted = |tag| matches!(tag, EventTag::Coupon(tag) if Event::is_about_campaign(tag));
    let found: Result<Vec<_>, _> = codec::decode_wanted(&twice, 2, wanted).collect();
    let expected = if about_campaign { vec![(0, entry.clone()), (1, entry.clone())] } else { Vec::new() };
    assert_eq!(found.expect("whole entries are read or stepped over"), expected);
}

fn no() -> CampaignNo {
    CampaignNo::new(3)
}

fn coupon() -> CouponId {
    CouponId::new(no(), 17)
}

fn by() -> Actor {
    Actor::new("ops").expect("valid")
}

fn reason() -> Reason {
    Reason::new("why").expect("valid")
}

fn order() -> OrderId {
    OrderId::new("o1").expect("valid")
}

fn full_definition() -> Box<CampaignDefinition> {
    let won = |minor| Money::new(minor, Currency::new("KRW").expect("valid")).expect("valid");
    Box::new(CampaignDefinition {
        id: CampaignId::new("noon").expect("valid"),
        name: "Noon".into(),
        quantity: Some(300_000),
        per_member: 1,
        benefit: Benefit::Percent { basis_points: 1_500, cap: Some(won(5_000)) },
        minimum_order: Some(won(20_000)),
        starts_at: Some(Timestamp::from_millis(1_000)),
        ends_at: Some(Timestamp::from_millis(2_000)),
        audience: Audience::Segment(SegmentName::new("gold").expect("valid")),
        valid_for: Some(Millis::from_seconds(604_800)),
        stacking: Stacking::Stackable,
    })
}

#[test]
fn store_events() {
    check(
        AnyEvent::StoreCreated { secret: StoreSecret::new([7; 32]) },
        expect!["8182008158200707070707070707070707070707070707070707070707070707070707070707"],
    );
    check(AnyEvent::StateDigested { high: u64::MAX, low: 1 }, expect!["818201821bffffffffffffffff01"]);
}

#[test]
fn kept_keys() {
    let kept = |answer| AnyEvent::KeyKept { answer };
    let states = [
        (CouponState::Issued, 0),
        (CouponState::Held, 60_000),
        (CouponState::Redeemed, 0),
        (CouponState::Revoked, 0),
        (CouponState::Expired, 0),
    ];
    let wanted = [
        expect!["818203818201831b00000300000000110000"],
        expect!["818203818201831b00000300000000110119ea60"],
        expect!["818203818201831b00000300000000110200"],
        expect!["818203818201831b00000300000000110300"],
        expect!["818203818201831b00000300000000110400"],
    ];
    for ((state, until), wanted) in states.into_iter().zip(wanted) {
        let held_until = Timestamp::from_millis(until);
        check(kept(Remembered::Changed { coupon: coupon(), state, held_until }), wanted);
    }
    check(kept(Remembered::Issued(coupon())), expect!["818203818200811b0000030000000011"]);
    check(kept(Remembered::Campaign(no())), expect!["8182038182028103"]);
    check(
        kept(Remembered::AllowList { no: no(), added: 0, total: 70_000 }),
        expect!["8182038182038303001a00011170"],
    );
}

#[test]
fn campaign_events() {
    let at = Timestamp::from_millis(1_764_244_800_000);
    check(
        Event::CampaignCreated { no: no(), definition: full_definition(), by: by() },
        expect![
            "81820281820083038b646e6f6f6e644e6f6f6e1a000493e0018201821905dc82191388434b525782194e20434b52571903e81907d082018164676f6c641a240c840001636f7073"
        ],
    );
    let plain = Box::new(CampaignDefinition {
        benefit: Benefit::Amount(Money::new(500, Currency::new("USD").expect("valid")).expect("valid")),
        ..common::definition("noon")
    });
    check(
        Event::CampaignCreated { no: no(), definition: plain, by: by() },
        expect!["81820281820083038b646e6f6f6e6453616c65f601820081821901f443555344f6f6f6820080f600636f7073"],
    );
    check(
        Event::CampaignPaused { no: no(), by: by(), reason: reason() },
        expect!["8182028182018303636f707363776879"],
    );
    check(
        Event::CampaignResumed { no: no(), by: by(), reason: reason() },
        expect!["8182028182028303636f707363776879"],
    );
    check(
        Event::CampaignExtended { no: no(), ends_at: at, by: by(), reason: reason() },
        expect!["81820281820384031b0000019ac52f4200636f707363776879"],
    );
    check(
        Event::CampaignQuantityChanged { no: no(), quantity: 9, by: by(), reason: reason() },
        expect!["818202818204840309636f707363776879"],
    );
    check(Event::CampaignEnded { no: no(), cause: EndCause::Window }, expect!["8182028182058203820080"]);
    check(
        Event::CampaignEnded { no: no(), cause: EndCause::Operator { by: by(), reason: reason() } },
        expect!["8182028182058203820182636f707363776879"],
    );
    check(Event::CampaignRetired { no: no() }, expect!["8182028182068103"]);
    let members = ["m1", "m2"].map(|m| MemberId::new(m).expect("valid")).into();
    check(Event::AllowListExtended { no: no(), members }, expect!["818202818207820382626d31626d32"]);
}

#[test]
fn coupon_events() {
    let member = MemberId::new("m1").expect("valid");
    let until = Timestamp::from_millis(60_000);
    check(
        Event::CouponIssued { coupon: coupon(), member },
        expect!["818202818208821b0000030000000011626d31"],
    );
    check(
        Event::CouponHeld { coupon: coupon(), order: order(), until, holder: Holder::Shop },
        expect!["818202818209831b0000030000000011626f3119ea60"],
    );
    check(
        Event::CouponHeld { coupon: coupon(), order: order(), until, holder: Holder::Member },
        expect!["818202818209841b0000030000000011626f3119ea6001"],
    );
    check(
        Event::CouponRedeemed { coupon: coupon(), order: order() },
        expect!["81820281820a821b0000030000000011626f31"],
    );
    check(
        Event::CouponReleased { coupon: coupon(), cause: ReleaseCause::Asked, expired: false },
        expect!["81820281820b831b000003000000001100f4"],
    );
    check(
        Event::CouponReleased { coupon: coupon(), cause: ReleaseCause::Deadline, expired: true },
        expect!["81820281820b831b000003000000001101f5"],
    );
    check(
        Event::CouponRevoked { coupon: coupon(), by: by(), reason: reason() },
        expect!["81820281820c831b0000030000000011636f707363776879"],
    );
    check(
        Event::CouponsExpired { no: no(), first: 1, last: 65_536 },
        expect!["81820281820d8303011a00010000"],
    );
}

#[test]
fn an_entry_with_a_key() {
    let stamp = Some(KeyStamp { high: 1, low: u64::MAX, request: 3 });
    let entry = Entry { event: Event::CampaignRetired { no: no() }.into(), stamp };
    let body = encoded(&entry);
    expect!["828202818206810383011bffffffffffffffff03"].assert_eq(&hex(&body));
    assert_eq!(codec::decode(&body, 1).next().expect("one").expect("it was written"), entry);
}

#[test]
fn a_field_from_the_future_is_skipped() {
    let retired = Entry { event: Event::CampaignRetired { no: no() }.into(), stamp: None };
    // The event [6, [3]] with a second field, then the entry with a third.
    for future in ["8182028182068203636e6577", "8382028182068103f6a161780c"] {
        let bytes: Vec<u8> = (0..future.len() / 2)
            .map(|i| u8::from_str_radix(&future[2 * i..2 * i + 2], 16).expect("hex"))
            .collect();
        let entry = codec::decode(&bytes, 1).next().expect("one").expect("unknown fields are skipped");
        assert_eq!(entry, retired, "{future}");
    }
}

#[test]
fn bytes_left_over_and_entries_cut_short_are_errors() {
    let body = encoded(&Entry { event: Event::CampaignRetired { no: no() }.into(), stamp: None });
    let reads = |body: &[u8], count| codec::decode(body, count).collect::<Result<Vec<_>, _>>();
    assert_eq!(reads(&[], 0).expect("an empty block").len(), 0);
    assert!(reads(&body, 0).is_err(), "bytes in a block of no entries");
    assert!(reads(&body, 2).is_err(), "one entry of two");
    assert!(reads(&[&body[..], &[0]].concat(), 1).is_err(), "a byte left over");
    for cut in 0..body.len() {
        assert!(reads(&body[..cut], 1).is_err(), "cut to {cut} bytes");
    }
}

/// Bug: what was read from the log was not checked, so that damaged bytes could stop the process later, at an answer.
#[test]
fn a_reader_of_some_events_is_told_of_an_entry_cut_short() {
    let entry = Entry { event: Event::CampaignRetired { no: no() }.into(), stamp: None };
    let body = encoded(&entry);
    let cut = [&body[..], &body[..body.len() - 1]].concat();
    for wanted in [true, false] {
        let found: Vec<_> = codec::decode_wanted(&cut, 3, |_| wanted).collect();
        assert_eq!(found.len(), usize::from(wanted) + 1, "nothing follows the fault");
        assert!(found.last().is_some_and(|last| last.as_ref().is_err_and(|fault| fault.index == 1)));
    }
}

#[test]
fn texts_numbers_and_times_that_break_their_rules_are_not_decoded() {
    let good = hex(&encoded(&Entry {
        event: Event::CouponIssued { coupon: coupon(), member: MemberId::new("m1").expect("valid") }.into(),
        stamp: None,
    }));
    let (number, member) = ("1b0000030000000011", "626d31");
    assert!(good.contains(number) && good.contains(member), "{good}");
    let bad = [
        good.replace(number, "1b1000000000000011"),
        good.replace(member, "60"),
        good.replace(member, "626d20"),
        good.replace(member, "62c3a9"),
        good.replace(member, &format!("7841{}", "61".repeat(65))),
    ];
    for bad in bad {
        let bytes: Vec<u8> = (0..bad.len() / 2)
            .map(|i| u8::from_str_radix(&bad[2 * i..2 * i + 2], 16).expect("hex"))
            .collect();
        assert!(codec::decode(&bytes, 1).next().expect("one").is_err(), "{bad}");
    }
    assert!(minicbor::decode::<Timestamp>(&minicbor::to_vec(u64::MAX).expect("written")).is_err());
    assert!(minicbor::decode::<Currency>(&[0x43, b'k', b'r', b'w']).is_err());
}

/// A small state with a bit of everything: campaigns of each kind, holds, redemptions, keys, a retired campaign.
fn small() -> Shop {
    let mut shop = Shop::new();
    let script = "create gone ends=1h; at 1h; at 30h; create noon quantity=5 per=2 ends=900h valid=100h; issue noon m1 key=a;
        issue noon m1; issue noon m2 key=b; hold noon#1 o1 9h key=c; redeem noon#2 o2; create list to=list;
        allow list m7 m8 key=d; allow list m7 key=f; hold noon#1 o1 9h key=g; issue list m7; change list pause key=e; revoke list#1; digest";
    for line in script.split(';') {
        let answer = run(&mut shop, line.trim());
        assert!(!answer.starts_with("no"), "{line}: {answer}");
    }
    assert_eq!(shop.state.coupons().retired().count(), 1);
    shop
}

#[test]
fn every_cut_and_every_changed_byte_of_a_snapshot_is_refused_or_changes_nothing() {
    let state = small().state;
    let bytes = state.to_snapshot();
    for cut in 0..bytes.len() {
        assert!(State::from_snapshot(&bytes[..cut]).is_err(), "cut to {cut} bytes");
    }
    assert!(State::from_snapshot(&[&bytes[..], &[0]].concat()).is_err(), "a byte left over");
    for at in 0..bytes.len() {
        for flip in [1, 2, 4, 8, 16, 32, 64, 128, 255] {
            let mut changed = bytes.clone();
            changed[at] ^= flip;
            if let Ok(read) = State::from_snapshot(&changed) {
                assert!(read.to_snapshot() == bytes, "byte {at} changed by {flip} gives another state");
            }
        }
    }
}

/// Bug: a secret that differs gave the same digest as long as no member was known, and other codes.
#[test]
fn a_snapshot_with_another_secret_is_refused() {
    let bytes = State::new(StoreSecret::new([7; 32])).to_snapshot();
    let at = bytes.windows(32).position(|bytes| bytes == [7; 32]).expect("the secret is in the header");
    let mut changed = bytes.clone();
    changed[at] = 8;
    assert!(State::from_snapshot(&changed).is_err());
    assert!(State::from_snapshot(&bytes).is_ok());
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn random_bytes_are_entries_or_an_error(body in proptest::collection::vec(any::<u8>(), 0..64), count in 0_u32..4) {
        let entries: Vec<_> = codec::decode(&body, count).collect();
        prop_assert!(entries.len() <= count.max(1) as usize);
        prop_assert!(entries.iter().rev().skip(1).all(Result::is_ok), "nothing follows an error");
    }

    #[test]
    fn random_bytes_are_no_snapshot(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        prop_assert!(State::from_snapshot(&bytes).is_err());
    }
}
