//! Names of coupons on the wire.

use banyan_domain::{CampaignNo, CouponId};
use banyan_engine::Summary;

/// A coupon's public name: its campaign and issue number, such as `noon-17`. Not secret; its code is.
#[must_use]
pub fn coupon_name(campaign: &str, coupon: CouponId) -> String {
    format!("{campaign}-{}", coupon.n())
}

/// The public id of campaign `no`.
pub(crate) fn campaign_id(summary: &Summary, no: CampaignNo) -> String {
    summary.campaign_no(no).map_or_else(|| format!("campaign-{}", no.get()), |c| c.definition.id.to_string())
}
