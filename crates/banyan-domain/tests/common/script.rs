//! Scripts: each line is a question and, after a bar, the answer it must get.
//!
//! `at T`, `create ID [quantity=N] [per=N] [starts=T] [ends=T] [valid=D] [to=list|SEGMENT]`,
//! `change ID [pause|resume|end] [ends=T] [quantity=N]`, `allow ID MEMBER..`, `issue ID MEMBER [in=SEGMENT]`,
//! `hold ID#N ORDER D`, `redeem ID#N ORDER`, `release ID#N ORDER`, `revoke ID#N` (each with `owner=MEMBER`),
//! `show ID`, `digest`, `restart` (through a snapshot). Every command takes `key=KEY`.

use super::{Shop, definition};
use banyan_domain::coupon::{
    Audience, CampaignChange, CampaignDefinition, Command, CouponAnswer, CouponState, EndCause, Event,
    Outcome, ReleaseCause,
};
use banyan_domain::{
    Actor, CampaignId, CampaignNo, CouponId, KeyStamp, MemberId, Millis, OrderId, Reason, SegmentName, State,
    Timestamp,
};

/// Runs `script`. Every answer must be as written, every invariant must hold after every line, and at the end the log and
/// a snapshot must both give the same state again.
#[track_caller]
pub(crate) fn check(script: &str) {
    let mut shop = Shop::new();
    shop.at_millis(0);
    for line in script.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let (question, wanted) = line.split_once('|').map_or((line, ""), |(q, a)| (q.trim(), a.trim()));
        let got = run(&mut shop, question);
        assert_eq!(got, wanted, "the answer to {question:?}");
        shop.check();
    }
    shop.check_replay();
}

/// Asks one line and writes down the answer.
pub(crate) fn run(shop: &mut Shop, question: &str) -> String {
    let words: Vec<&str> = question.split_whitespace().collect();
    match words[..] {
        ["at", time] => {
            let fired = shop.at(instant(time));
            let fired = fired.iter().map(|event| written_event(&shop.state, event));
            fired.collect::<Vec<_>>().join(", ")
        }
        ["restart"] => {
            shop.state = State::from_snapshot(&shop.state.to_snapshot()).expect("a snapshot can be read");
            String::new()
        }
        ["digest"] => {
            shop.log_digest();
            String::new()
        }
        ["show", id] => show(shop, id),
        _ => {
            let key = words.iter().find_map(|word| word.strip_prefix("key="));
            let words: Vec<&str> = words.iter().copied().filter(|word| !word.starts_with("key=")).collect();
            let stamp =
                key.map(|key| KeyStamp::new(shop.state.keys(), "shop", key, words.join(" ").as_bytes()));
            match shop.ask(command(&shop.state, &words), stamp) {
                Err(refusal) => format!("no: {}", refusal.slug()),
                Ok(answer) => {
                    let how = if answer.replayed { "again" } else { "new" };
                    format!("{how} {}", written(&shop.state, &answer.outcome))
                }
            }
        }
    }
}

/// The command that `words` stand for.
pub(crate) fn command(state: &State, words: &[&str]) -> Command {
    let by = Actor::new("ops").expect("a valid actor");
    let reason = Reason::new("why").expect("a valid reason");
    let flag = |name: &str| words.contains(&name);
    let value = |name: &str| words.iter().find_map(|w| w.strip_prefix(name)?.strip_prefix('='));
    let number = |name: &str| value(name).map(|v| v.parse::<u64>().expect("a number"));
    let owner = value("owner").map(member);
    let campaign = || CampaignId::new(words[1]).expect("a valid campaign id");
    let coupon = || coupon_id(state, words[1]);
    let order = || OrderId::new(words[2]).expect("a valid order");
    match words[0] {
        "create" => Command::CreateCampaign {
            by,
            definition: Box::new(CampaignDefinition {
                quantity: number("quantity"),
                per_member: number("per").map_or(1, |n| n as u16),
                starts_at: value("starts").map(instant),
                ends_at: value("ends").map(instant),
                valid_for: value("valid").map(span),
                audience: match value("to") {
                    None => Audience::Everyone,
                    Some("list") => Audience::AllowList,
                    Some(segment) => Audience::Segment(SegmentName::new(segment).expect("a valid segment")),
                },
                ..definition(words[1])
            }),
        },
        "change" => Command::ChangeCampaign {
            campaign: campaign(),
            change: Box::new(CampaignChange {
                paused: (flag("pause") || flag("resume")).then(|| flag("pause")),
                end: flag("end"),
                ends_at: value("ends").map(instant),
                quantity: number("quantity"),
                by,
                reason,
            }),
        },
        "allow" => Command::ExtendAllowList {
            campaign: campaign(),
            members: words[2..].iter().map(|word| member(word)).collect(),
        },
        "issue" => {
            let segments = value("in").map(|s| SegmentName::new(s).expect("a valid segment"));
            let segments = segments.into_iter().collect();
            Command::IssueCoupon { campaign: campaign(), member: member(words[2]), segments }
        }
        "hold" => Command::HoldCoupon { coupon: coupon(), owner, order: order(), hold_for: span(words[3]) },
        "redeem" => Command::RedeemCoupon { coupon: coupon(), owner, order: order() },
        "release" => Command::ReleaseCoupon { coupon: coupon(), owner, order: order() },
        "revoke" => Command::RevokeCoupon { coupon: coupon(), by, reason },
        other => panic!("no such command: {other}"),
    }
}

fn member(word: &str) -> MemberId {
    MemberId::new(word).expect("a valid member")
}

/// `noon#17`; a campaign that is not there gets a number that is never given.
fn coupon_id(state: &State, word: &str) -> CouponId {
    let (id, n) = word.split_once('#').expect("ID#N");
    let coupons = state.coupons();
    let no = (1..=coupons.campaigns_ever()).map(CampaignNo::new).find(|no| name(state, *no) == id);
    CouponId::new(no.unwrap_or(CampaignNo::new(999_999)), n.parse().expect("a number"))
}

fn name(state: &State, no: CampaignNo) -> String {
    let coupons = state.coupons();
    let hot = coupons.campaign_no(no).map(|campaign| &campaign.definition().id);
    let id = hot.or_else(|| coupons.retired_no(no).map(|retired| &retired.definition.id));
    id.map_or("?".into(), |id| id.as_str().into())
}

/// `90s`, `26h`, `7d`, `5ms`.
pub(crate) fn span(text: &str) -> Millis {
    let digits = text.find(|c: char| !c.is_ascii_digit()).expect("a unit");
    let unit = match &text[digits..] {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        "y" => 31_536_000_000,
        other => panic!("no such unit: {other}"),
    };
    Millis::new(text[..digits].parse::<u64>().expect("a number") * unit)
}

/// A span after 1970, or `end`, the latest instant there is.
fn instant(text: &str) -> Timestamp {
    if text == "end" { Timestamp::from_millis(u64::MAX) } else { Timestamp::default().plus(span(text)) }
}

fn written_time(at: Timestamp) -> String {
    let millis = at.as_millis();
    for (unit, name) in [(86_400_000, "d"), (3_600_000, "h"), (60_000, "m"), (1_000, "s")] {
        if millis.is_multiple_of(unit) {
            return format!("{}{name}", millis / unit);
        }
    }
    format!("{millis}ms")
}

/// An answer in words.
pub(crate) fn written(state: &State, outcome: &Outcome) -> String {
    match outcome {
        Outcome::Campaign { no } => name(state, *no),
        Outcome::AllowList { added, total } => format!("+{added} ={total}"),
        Outcome::Coupon(answer) => {
            let CouponAnswer { coupon, state: now, order, held_until, expires_at, .. } = answer;
            let mut text = format!("{}#{} {}", name(state, coupon.campaign()), coupon.n(), now.as_str());
            let order = order.as_ref().map(|order| format!(" for {order}"));
            let until = held_until.map(|at| format!(" until {}", written_time(at)));
            let expires = expires_at.map(|at| format!(" expires {}", written_time(at)));
            text.extend([order, until, expires].into_iter().flatten());
            assert_eq!(*now == CouponState::Held, held_until.is_some());
            text
        }
    }
}

fn written_event(state: &State, event: &banyan_domain::Event) -> String {
    let banyan_domain::Event::Coupon(event) = event else { panic!("{event:?} is no timer's") };
    let coupon = |id: &CouponId| format!("{}#{}", name(state, id.campaign()), id.n());
    match event {
        Event::CampaignEnded { no, cause: EndCause::Window } => format!("{} closed", name(state, *no)),
        Event::CampaignRetired { no } => format!("{} retired", name(state, *no)),
        Event::CouponReleased { coupon: id, cause: ReleaseCause::Deadline, expired } => {
            format!("{} lapsed{}", coupon(id), if *expired { " and expired" } else { "" })
        }
        Event::CouponsExpired { no, first, last } => format!("{}#{first}..{last} expired", name(state, *no)),
        other => panic!("{other:?} is no timer's"),
    }
}

fn show(shop: &Shop, id: &str) -> String {
    let Some(campaign) = shop.state.coupons().campaign(&CampaignId::new(id).expect("a valid id")) else {
        return "not there".into();
    };
    let totals = campaign.totals();
    let left = campaign.left().map_or("any".into(), |left| left.to_string());
    format!(
        "{:?} left {left} issued {} held {} redeemed {} revoked {} expired {}",
        campaign.state_at(shop.state.time()),
        totals.issued,
        totals.held,
        totals.redeemed,
        totals.revoked,
        totals.expired
    )
}
