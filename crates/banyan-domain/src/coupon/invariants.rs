//! What must always be true of the coupon state, checked from nothing.

use super::state::{Coupons, armed};
use super::{Audience, Campaign, CouponState, Totals};
use crate::state::Violation;
use std::collections::BTreeSet;

impl Coupons {
    /// Checks every invariant by counting from nothing: for the offline verifier, the simulator and snapshots.
    ///
    /// # Errors
    /// The first [`Violation`] found.
    pub fn check_invariants(&self) -> Result<(), Violation> {
        self.campaigns().try_for_each(check)?;
        let armed: BTreeSet<_> = self.campaigns().flat_map(armed).collect();
        if armed != self.deadlines {
            return Err(Violation::new("the armed deadlines differ from those that the campaigns need"));
        }
        if self.recompute_digest() != self.digest() {
            return Err(Violation::new("the digest kept by apply differs from the digest of the state"));
        }
        Ok(())
    }
}

fn check(campaign: &Campaign) -> Result<(), Violation> {
    let fail = |what| Err(Violation::new(what));
    let mut counted = Totals { issued: campaign.rows.len() as u64, ..Totals::default() };
    let mut per_member = vec![(0_u16, 0_u32); campaign.members.len() as usize];
    for (n, row) in campaign.rows() {
        let (had, latest) = &mut per_member[row.member as usize];
        *had = had.saturating_add(1);
        if row.nth != *had || row.previous != *latest {
            return fail("a coupon's count for its member, or its link to the one before, is wrong");
        }
        *latest = n as u32;
        match row.state {
            CouponState::Issued => {}
            CouponState::Held => counted.held += 1,
            CouponState::Redeemed => counted.redeemed += 1,
            CouponState::Revoked => counted.revoked += 1,
            CouponState::Expired => counted.expired += 1,
        }
        if (row.state == CouponState::Held) != campaign.hold(n).is_some() {
            return fail("holds and held coupons differ");
        }
        if (row.state == CouponState::Redeemed) != campaign.redemption(n).is_some() {
            return fail("redemptions and redeemed coupons differ");
        }
    }
    if counted != campaign.totals {
        return fail("the totals differ from a count of the coupons");
    }
    if campaign.definition.quantity.is_some_and(|quantity| counted.issued > quantity) {
        return fail("more coupons were issued than the quantity");
    }
    if per_member.iter().any(|&(had, _)| had > campaign.definition.per_member) {
        return fail("a member has more coupons than the limit");
    }
    if (0..).zip(&per_member).any(|(place, &(_, latest))| campaign.members.latest(place) != latest) {
        return fail("a member's latest coupon is not the latest");
    }
    let members = u64::from(campaign.members.len());
    if campaign.allowed != if campaign.definition.audience == Audience::AllowList { members } else { 0 } {
        return fail("the allow-list and the members differ");
    }
    if campaign.is_settled() != campaign.retires_at.is_some() {
        return fail("a settled campaign is not about to retire, or another is");
    }
    Ok(())
}
