//! What clients ask of coupons.

use super::{Workload, actor, member};
use crate::prng::Prng;
use banyan_domain::coupon::{
    Audience, Benefit, CampaignChange, CampaignDefinition, Command as CouponCommand, Stacking,
};
use banyan_domain::{
    CampaignId, CampaignNo, CouponId, Currency, Millis, Money, OrderId, Reason, SegmentName, Timestamp,
};

const ORDERS: u64 = 12;

impl Workload {
    pub(super) fn created(&self, rng: &mut Prng, now: Timestamp) -> CouponCommand {
        let soon = |rng: &mut Prng, seconds: u64| now.plus(Millis::from_seconds(rng.below(seconds)));
        let starts_at = rng.chance(20).then(|| soon(rng, 120));
        let latest = starts_at.unwrap_or(now);
        let ends_at = rng.chance(20).then(|| latest.plus(Millis::from_seconds(rng.between(10, 7_200))));
        let audience = match rng.below(10) {
            0..2 => Audience::AllowList,
            2 => Audience::Segment(segment("gold")),
            _ => Audience::Everyone,
        };
        let number = self.campaigns.len();
        let definition = CampaignDefinition {
            id: CampaignId::new(format!("campaign-{number}")).expect("a slug"),
            name: format!("Campaign {number}").into(),
            quantity: rng.chance(85).then(|| rng.between(1, 80)),
            per_member: rng.pick(&[1, 1, 1, 2, 3]).copied().unwrap_or(1),
            benefit: Benefit::Amount(Money {
                minor: 5_000,
                currency: Currency::new("KRW").expect("a currency"),
            }),
            minimum_order: None,
            starts_at,
            ends_at,
            audience,
            valid_for: rng.chance(50).then(|| Millis::from_seconds(rng.between(1, 3_600))),
            stacking: Stacking::Exclusive,
        };
        CouponCommand::CreateCampaign { definition: Box::new(definition), by: actor() }
    }

    /// A campaign that was created before, as it was or defined otherwise.
    pub(super) fn created_again(&self, rng: &mut Prng) -> CouponCommand {
        let mut definition = rng.pick(&self.campaigns).expect("there are some").clone();
        if rng.chance(30) {
            definition.per_member += 1;
        }
        CouponCommand::CreateCampaign { definition: Box::new(definition), by: actor() }
    }

    pub(super) fn changed(&self, rng: &mut Prng, now: Timestamp) -> CouponCommand {
        let later = now.plus(Millis::from_seconds(rng.below(7_200)));
        let change = CampaignChange {
            paused: rng.chance(50).then(|| rng.chance(30)),
            end: rng.chance(3),
            ends_at: rng.chance(15).then_some(later),
            quantity: rng.chance(30).then(|| rng.below(80)),
            by: actor(),
            reason: Reason::new("simulated").expect("a reason"),
        };
        CouponCommand::ChangeCampaign { campaign: self.campaign(rng), change: Box::new(change) }
    }

    pub(super) fn listed(&self, rng: &mut Prng) -> CouponCommand {
        let lists = self.campaigns.iter().filter(|campaign| campaign.audience == Audience::AllowList);
        let lists: Vec<_> = lists.map(|campaign| campaign.id.clone()).collect();
        let campaign = rng.pick(&lists).cloned().unwrap_or_else(|| self.campaign(rng));
        let count = rng.between(1, 12);
        let members = (0..count).map(|_| member(rng)).collect();
        CouponCommand::ExtendAllowList { campaign, members }
    }

    pub(super) fn issue(&self, rng: &mut Prng) -> CouponCommand {
        let segments = if rng.chance(30) { vec![segment("gold")] } else { Vec::new() };
        let campaign = self.campaign(rng);
        CouponCommand::IssueCoupon { campaign, member: member(rng), segments: segments.into_boxed_slice() }
    }

    /// Something that happens to a coupon after its issue.
    pub(super) fn life(&self, rng: &mut Prng) -> CouponCommand {
        let recent = &self.known[self.known.len().saturating_sub(20)..];
        let known = if rng.chance(70) { recent } else { &self.known };
        let coupon = rng.pick(known).copied();
        let guessed = CouponId::new(CampaignNo::new(rng.below(25) as u32), rng.below(70));
        let coupon = coupon.filter(|_| rng.chance(90)).unwrap_or(guessed);
        // Orders follow from the coupon, mostly, so that the same order comes back to what it holds.
        let order = if rng.chance(75) { coupon.get() % ORDERS } else { rng.below(ORDERS) };
        let order = OrderId::new(format!("order-{order}")).expect("visible");
        let owner = rng.chance(10).then(|| member(rng));
        match rng.below(100) {
            0..45 => {
                let millis = rng.pick(&[1, 500, 30_000, 900_000, u64::MAX]).copied().unwrap_or(1);
                CouponCommand::HoldCoupon { coupon, owner, order, hold_for: Millis::new(millis) }
            }
            45..68 => CouponCommand::RedeemCoupon { coupon, owner, order },
            68..92 => CouponCommand::ReleaseCoupon { coupon, owner, order },
            _ => {
                let reason = Reason::new("simulated").expect("a reason");
                CouponCommand::RevokeCoupon { coupon, by: actor(), reason }
            }
        }
    }

    fn campaign(&self, rng: &mut Prng) -> CampaignId {
        if rng.chance(2) {
            return CampaignId::new("nowhere").expect("a slug");
        }
        // The newest campaigns are asked for most, as on a sale day.
        let recent = &self.campaigns[self.campaigns.len().saturating_sub(3)..];
        let from = if rng.chance(75) { recent } else { &self.campaigns };
        rng.pick(from).map(|campaign| campaign.id.clone()).expect("there are some")
    }
}

fn segment(name: &str) -> SegmentName {
    SegmentName::new(name).expect("a slug")
}
