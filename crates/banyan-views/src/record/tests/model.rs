//! After any commands, the rows say what the domain's state says.

use super::shop::{self, Shop, ops};
use crate::View;
use crate::record::{CouponRecord, RecordReader};
use banyan_domain::coupon::{CodeKey, Coupons};
use banyan_domain::{CampaignNo, CouponId, MemberId, StoreSecret};
use banyan_log::Seq;
use proptest::prelude::*;

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn rows_and_totals_say_what_the_state_says(ops in ops(), at_once in 1..9_usize, reopen in 1..30_usize) {
        let shop = Shop::play(&ops);
        let folder = tempfile::tempdir().expect("a temporary folder");
        for blocks in shop.blocks.chunks(reopen) {
            let mut view = shop::open(folder.path());
            shop::fill(&mut view, blocks, at_once);
            view.tidy().expect("it can be tidied");
        }
        let view = shop::open(folder.path());
        prop_assert_eq!(view.parked(), 0);
        prop_assert_eq!(view.checkpoint(), Seq(shop.state.seq()));
        compare(&shop, &view.reader());
    }
}

fn compare(shop: &Shop, reader: &RecordReader) {
    let codes = CodeKey::new(&StoreSecret::new(shop::SECRET).keys());
    let coupons = shop.state.coupons();
    let campaigns = reader.campaigns(CampaignNo::new(0), 100).expect("campaigns can be read");
    assert_eq!(campaigns.len(), coupons.campaigns_ever() as usize);
    for campaign in coupons.campaigns() {
        let record = &campaigns[campaign.no().get() as usize - 1];
        assert_eq!(record.totals, campaign.totals(), "totals of {}", campaign.definition().id);
        assert_eq!(&record.definition, campaign.definition());
        assert_eq!(record.allowed, campaign.allowed());
        assert_eq!(reader.campaign(&campaign.definition().id).expect("readable").as_ref(), Some(record));
        for (n, row) in campaign.rows() {
            let id = CouponId::new(campaign.no(), n);
            let record = reader.coupon(id).expect("readable").expect("the coupon was issued");
            let order = campaign.hold(n).map(|hold| &hold.order);
            let order = order.or_else(|| campaign.redemption(n).map(|redemption| &redemption.order));
            assert_eq!(record.state, row.state);
            assert_eq!(record.member.as_str(), campaign.members().id(row.member));
            assert_eq!((record.issued_at, record.seq), (row.issued_at, Seq(row.seq)));
            assert_eq!(record.expires_at, campaign.expires_at(row));
            assert_eq!(record.order.as_deref(), order.map(banyan_domain::OrderId::as_str));
            assert_eq!(record.held_until, campaign.hold(n).map(|hold| hold.until));
            assert_eq!(record.redeemed_at, campaign.redemption(n).map(|redemption| redemption.at));
            assert_eq!(*record.code, codes.code(id).to_string());
        }
    }
    for m in 0..41 {
        let member = shop::member(m);
        let expected: Vec<Seq> =
            shop.issued.iter().filter(|issued| issued.1 == member).map(|issued| issued.2).collect();
        let found = all_pages(reader, &member, coupons);
        assert_eq!(found.iter().map(|coupon| coupon.seq).collect::<Vec<_>>(), expected);
        assert!(found.iter().all(|coupon| coupon.member == member));
    }
}

/// A member's coupons, three at a time.
fn all_pages(reader: &RecordReader, member: &MemberId, coupons: &Coupons) -> Vec<CouponRecord> {
    let mut all = Vec::new();
    let mut cursor = None;
    for _ in 0..=coupons.campaigns().map(|campaign| campaign.totals().issued).sum() {
        let page = reader.member_coupons(member, cursor, 3).expect("readable");
        all.extend(page.coupons);
        cursor = page.next;
        if cursor.is_none() {
            return all;
        }
    }
    panic!("the pages of a member do not end");
}
