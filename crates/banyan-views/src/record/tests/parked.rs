//! Events that contradict the rows wait in the lane, with their key, and nothing else does.

use super::shop::{self, Shop};
use crate::View;
use crate::record::{RECORD_FILE, RecordView};
use banyan_domain::coupon::{CouponState, Event, ReleaseCause};
use banyan_domain::{Actor, CampaignNo, CouponId, Entry, MemberId, OrderId, Timestamp};
use banyan_log::{Block, Seq};

fn coupon(no: u32, n: u64) -> CouponId {
    CouponId::new(CampaignNo::new(no), n)
}

fn issue(no: u32, n: u64) -> Event {
    Event::CouponIssued { coupon: coupon(no, n), member: MemberId::new(format!("m{n}")).expect("valid") }
}

fn redeem(no: u32, n: u64) -> Event {
    Event::CouponRedeemed { coupon: coupon(no, n), order: OrderId::new("o").expect("valid") }
}

fn hold(no: u32, n: u64) -> Event {
    let order = OrderId::new("o").expect("valid");
    Event::CouponHeld {
        coupon: coupon(no, n),
        order,
        until: Timestamp::from_millis(9),
        holder: banyan_domain::Holder::Shop,
    }
}

/// Applies `events` after a shop's first block, and gives the seq of the first of them.
fn play(view: &mut RecordView, events: Vec<Event>) -> Seq {
    let shop = Shop::new();
    let first = shop.blocks.last().map_or(Seq(1), Block::next_seq);
    let entries: Vec<Entry> =
        events.into_iter().map(|event| Entry { event: event.into(), stamp: None }).collect();
    let mut blocks = shop.blocks;
    blocks.push(shop::block(first, 1_800_000_000_500, &entries));
    view.apply(&shop::batch(&blocks)).expect("applies");
    first
}

#[test]
fn a_coupon_is_parked_and_the_others_go_on() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut view = shop::open(folder.path());
    let first = play(
        &mut view,
        vec![
            issue(1, 1),
            issue(1, 2),
            redeem(1, 1),
            redeem(1, 1), // used twice: poison
            Event::CouponReleased { coupon: coupon(1, 1), cause: ReleaseCause::Asked, expired: false },
            hold(1, 2),
            redeem(1, 7), // never issued: poison
            issue(1, 7),  // waits behind it
            redeem(1, 2),
            issue(1, 3),
        ],
    );
    let reader = view.reader();
    let parked = reader.parked(Seq::ZERO, 10).expect("readable");
    let lane: Vec<(u64, &str)> =
        parked.iter().map(|event| (event.seq.0 - first.0, event.key.as_str())).collect();
    assert_eq!(lane, [(3, "coupon 1-1"), (4, "coupon 1-1"), (6, "coupon 1-7"), (7, "coupon 1-7")]);
    assert!(parked[0].error.contains("should go from issued to redeemed"), "{}", parked[0].error);
    assert!(parked[1].error.contains("waits behind"), "{}", parked[1].error);
    assert_eq!(view.parked(), 4);
    let totals = reader.campaigns(CampaignNo::new(0), 1).expect("readable")[0].totals;
    assert_eq!((totals.issued, totals.redeemed, totals.held), (3, 2, 0));
    let state = |n| reader.coupon(coupon(1, n)).expect("readable").map(|coupon| coupon.state);
    assert_eq!(state(1), Some(CouponState::Redeemed));
    assert_eq!(state(2), Some(CouponState::Redeemed));
    assert_eq!(state(3), Some(CouponState::Issued));
    assert_eq!(state(7), None);
    assert_eq!(
        reader.member_coupons(&MemberId::new("m7").expect("valid"), None, 9).expect("readable").coupons,
        []
    );
    assert_eq!(reader.checkpoint().expect("readable"), Seq(first.0 + 9));
}

#[test]
fn a_campaign_is_parked_with_its_coupons_and_stays_so() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut view = shop::open(folder.path());
    let created = |no, id| Event::CampaignCreated {
        no: CampaignNo::new(no),
        definition: Box::new(shop::definition(id)),
        by: Actor::new("olga").expect("valid"),
    };
    let first = play(&mut view, vec![created(4, "noon"), issue(4, 1), issue(9, 1), issue(9, 2), issue(1, 1)]);
    drop(view);
    let mut view = shop::open(folder.path());
    let next = Seq(first.0 + 5);
    let more = [redeem(4, 1), redeem(1, 1)].map(|event| Entry { event: event.into(), stamp: None });
    view.apply(&shop::batch(&[shop::block(next, 1_800_000_000_600, &more)])).expect("applies");
    let parked = view.reader().parked(Seq::ZERO, 10).expect("readable");
    let lane: Vec<(u64, &str)> =
        parked.iter().map(|event| (event.seq.0 - first.0, event.key.as_str())).collect();
    let expected =
        [(0, "campaign 4"), (1, "campaign 4"), (2, "campaign 9"), (3, "campaign 9"), (5, "campaign 4")];
    assert_eq!(lane, expected);
    let state = |no, n| view.reader().coupon(coupon(no, n)).expect("readable").map(|coupon| coupon.state);
    assert_eq!((state(4, 1), state(9, 1), state(1, 1)), (None, None, Some(CouponState::Redeemed)));
}

#[test]
fn expiry_leaves_parked_coupons_alone() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut view = shop::open(folder.path());
    let released = Event::CouponReleased { coupon: coupon(1, 2), cause: ReleaseCause::Asked, expired: false };
    let expired = Event::CouponsExpired { no: CampaignNo::new(1), first: 1, last: 3 };
    play(&mut view, vec![issue(1, 1), issue(1, 2), issue(1, 3), released, expired]);
    let states: Vec<&str> = (1..=3)
        .filter_map(|n| view.reader().coupon(coupon(1, n)).expect("readable"))
        .map(|coupon| coupon.state.as_str())
        .collect();
    assert_eq!(states, ["expired", "issued", "expired"]);
    assert!(shop::dump(&folder.path().join(RECORD_FILE)).contains("coupon 1-2"));
}
