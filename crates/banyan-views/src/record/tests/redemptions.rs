//! Redemptions come in no order: they must not cost a page each, and must stay known once they are filed.

use super::shop::{self, Shop};
use crate::View;
use crate::record::RECORD_FILE;
use crate::record::file::{self, beside};
use banyan_domain::coupon::{CouponState, Event};
use banyan_domain::{CampaignNo, CouponId, Entry, MemberId, OrderId, Timestamp};
use banyan_log::{Block, Seq};

const COUPONS: u64 = 20_000;
/// A page of the file with its header, as it stands in the write-ahead log.
const FRAME_BYTES: u64 = 4_096 + 24;

fn coupon(n: u64) -> CouponId {
    CouponId::new(CampaignNo::new(3), n)
}

fn order(n: u64) -> OrderId {
    OrderId::new(format!("order-{n}")).expect("valid")
}

fn redeem(n: u64) -> Event {
    Event::CouponRedeemed { coupon: coupon(n), order: order(n) }
}

fn block(first: Seq, events: impl Iterator<Item = Event>) -> Block {
    let entries: Vec<Entry> = events.map(|event| Entry { event: event.into(), stamp: None }).collect();
    shop::block(first, 1_800_000_000_500, &entries)
}

/// A store with a shop's campaigns and `coupons` coupons of the third, and the seq that comes next.
fn issued(folder: &std::path::Path, coupons: u64) -> (crate::record::RecordView, Seq) {
    let mut blocks = Shop::new().blocks;
    let member = |n| MemberId::new(format!("member-{n}")).expect("valid");
    let issues = (1..=coupons).map(|n| Event::CouponIssued { coupon: coupon(n), member: member(n) });
    blocks.push(block(blocks[0].next_seq(), issues));
    let next = blocks[1].next_seq();
    let mut view = shop::open(folder);
    shop::fill(&mut view, &blocks, 2);
    (view, next)
}

#[test]
fn redemptions_all_over_the_table_do_not_write_a_page_each() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (mut view, next) = issued(folder.path(), COUPONS);
    while view.tidy().expect("tidies") {}
    let db = view.db().expect("open");
    db.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).expect("empties the write-ahead log");
    // Seven apart: on every page of the table. The store is set to file them at once in tests, so that is counted, too.
    let redeemed = 600;
    let batch = shop::batch(&[block(next, (0..redeemed).map(|i| redeem(i * 7 * 4_001 % COUPONS + 1)))]);
    view.apply(&batch).expect("applies");
    assert_eq!(view.parked(), 0);
    let wal = beside(&folder.path().join(RECORD_FILE), "-wal");
    let pages = std::fs::metadata(wal).expect("there").len() / FRAME_BYTES;
    assert!(pages < redeemed / 10, "{redeemed} redemptions wrote {pages} pages");
}

#[test]
fn a_filed_redemption_is_known_to_every_later_event() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (mut view, next) = issued(folder.path(), 40);
    // More than are kept as recent ones.
    view.apply(&shop::batch(&[block(next, (1..=20).map(redeem))])).expect("applies");
    let recent = "SELECT count(*) FROM redemption_recent";
    let count = |view: &crate::record::RecordView, sql: &str| -> i64 {
        view.db().expect("open").query_row(sql, [], |row| row.get(0)).expect("reads")
    };
    assert_eq!(count(&view, recent), 0, "they were filed");
    let next = Seq(next.0 + 20);
    let hold = |n| Event::CouponHeld {
        coupon: coupon(n),
        order: order(n),
        until: Timestamp::from_millis(9),
        holder: banyan_domain::Holder::Shop,
    };
    let expired = Event::CouponsExpired { no: CampaignNo::new(3), first: 1, last: 30 };
    // Of what is used already: a second use and a hold, which are poison. And one that is recent, one that is held.
    let events = [redeem(3), hold(4), redeem(21), hold(22), expired, redeem(21)];
    view.apply(&shop::batch(&[block(next, events.into_iter())])).expect("applies");
    let parked = view.reader().parked(Seq::ZERO, 9).expect("readable");
    let lane: Vec<(u64, &str)> = parked.iter().map(|event| (event.seq.0 - next.0, &*event.error)).collect();
    assert_eq!(
        lane,
        [
            (0, "the coupon should go from issued to redeemed, but is redeemed"),
            (1, "the coupon should go from issued to held, but is redeemed"),
            (5, "the coupon should go from issued to redeemed, but is redeemed"),
        ]
    );
    let reader = view.reader();
    let state = |n| reader.coupon(coupon(n)).expect("readable").expect("issued").state;
    assert_eq!((1..=20).filter(|n| state(*n) == CouponState::Redeemed).count(), 20);
    assert_eq!(
        [21, 22, 23, 30, 31].map(|n| state(n).as_str()),
        ["redeemed", "held", "expired", "expired", "issued"]
    );
    let record = reader.coupon(coupon(7)).expect("readable").expect("issued");
    assert_eq!((record.order.as_deref(), record.redeemed_at.is_some()), (Some("order-7"), true));
    // A person sees the same.
    let db = file::open_reader(&folder.path().join(RECORD_FILE)).expect("opens");
    let sql = "SELECT group_concat(line, ', ') FROM
        (SELECT state || ' ' || count(*) AS line FROM coupons GROUP BY state ORDER BY state)";
    let states: String = db.query_row(sql, [], |row| row.get(0)).expect("reads");
    assert_eq!(states, "expired 8, held 1, issued 10, redeemed 21");
    let orders: i64 =
        db.query_row("SELECT count(DISTINCT order_id) FROM redemption", [], |row| row.get(0)).expect("reads");
    assert_eq!(orders, 21);
}
