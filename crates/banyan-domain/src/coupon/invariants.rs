//! What must always be true of the coupon state, checked from nothing.

use super::state::Coupons;
use super::{Campaign, CouponState, Totals};
use crate::state::Violation;

impl Coupons {
    /// Checks every invariant by counting from nothing: for the offline verifier, the simulator and snapshots.
    ///
    /// # Errors
    /// The first [`Violation`] found.
    pub fn check_invariants(&self) -> Result<(), Violation> {
        self.campaigns().try_for_each(check)?;
        if self.recompute_digest() != self.digest() {
            return Err(Violation::new("the digest kept by apply differs from the digest of the state"));
        }
        Ok(())
    }
}

fn check(campaign: &Campaign) -> Result<(), Violation> {
    let fail = |what| Err(Violation::new(what));
    let mut counted = Totals { issued: campaign.rows.len() as u64, ..Totals::default() };
    let mut per_member = vec![0_u16; campaign.members.len() as usize];
    for (n, row) in campaign.rows() {
        let had = &mut per_member[row.member as usize];
        *had += 1;
        if row.nth != *had {
            return fail("a coupon's count for its member is wrong");
        }
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
    if per_member.iter().any(|&had| had > campaign.definition.per_member) {
        return fail("a member has more coupons than the limit");
    }
    Ok(())
}
