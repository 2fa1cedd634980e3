//! What can be asked of the coupon capability, and what is answered.

use super::{CampaignDefinition, CouponState};
use crate::{
    Actor, CampaignId, CampaignNo, CouponId, MemberId, Millis, OrderId, Reason, SegmentName, Timestamp,
};

/// Something asked. Checked texts only: what is wrong in itself never gets here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Create a campaign. The same definition again is answered as the first time.
    CreateCampaign {
        /// The campaign.
        definition: Box<CampaignDefinition>,
        /// Who asks.
        by: Actor,
    },
    /// Change a campaign: all of the changes or none.
    ChangeCampaign {
        /// Which campaign.
        campaign: CampaignId,
        /// What to change.
        change: Box<CampaignChange>,
    },
    /// Add members to a campaign's allow-list, at most [`crate::limits::ALLOW_LIST_CHUNK_MAX`] at once.
    ExtendAllowList {
        /// Which campaign.
        campaign: CampaignId,
        /// The members; those already on it are skipped.
        members: Vec<MemberId>,
    },
    /// Issue a coupon to a member.
    IssueCoupon {
        /// Of which campaign.
        campaign: CampaignId,
        /// To whom.
        member: MemberId,
        /// Segments that the caller vouches the member is in.
        segments: Box<[SegmentName]>,
    },
    /// Hold a coupon for an order.
    HoldCoupon {
        /// Which coupon.
        coupon: CouponId,
        /// Whose it must be, if the caller acts for one member only: a token of that member. Such a caller holds as the
        /// member, and neither uses nor gives up what the shop holds.
        owner: Option<MemberId>,
        /// For which order.
        order: OrderId,
        /// For how long.
        hold_for: Millis,
    },
    /// Use a coupon for an order.
    RedeemCoupon {
        /// Which coupon.
        coupon: CouponId,
        /// Whose it must be, if the caller acts for one member only: a token of that member. Such a caller holds as the
        /// member, and neither uses nor gives up what the shop holds.
        owner: Option<MemberId>,
        /// By which order.
        order: OrderId,
    },
    /// Give up an order's hold of a coupon.
    ReleaseCoupon {
        /// Which coupon.
        coupon: CouponId,
        /// Whose it must be, if the caller acts for one member only: a token of that member. Such a caller holds as the
        /// member, and neither uses nor gives up what the shop holds.
        owner: Option<MemberId>,
        /// The order that held it.
        order: OrderId,
    },
    /// Take a coupon back for good.
    RevokeCoupon {
        /// Which coupon.
        coupon: CouponId,
        /// Who asks.
        by: Actor,
        /// Why.
        reason: Reason,
    },
}

/// Changes to a campaign; what is absent stays.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CampaignChange {
    /// Pause (`true`) or resume (`false`) issuing.
    pub paused: Option<bool>,
    /// End the campaign for good.
    pub end: bool,
    /// A new end of the window.
    pub ends_at: Option<Timestamp>,
    /// A new quantity, never below what is issued.
    pub quantity: Option<u64>,
    /// Who asks.
    pub by: Actor,
    /// Why.
    pub reason: Reason,
}

/// The answer to a command that was carried out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The campaign was created or changed.
    Campaign {
        /// Its number.
        no: CampaignNo,
    },
    /// The allow-list was extended.
    AllowList {
        /// Members added.
        added: u64,
        /// Members on the list now.
        total: u64,
    },
    /// A coupon was issued, held, redeemed, released or revoked.
    Coupon(CouponAnswer),
}

/// A coupon as a command left it. Small and without text: the edge knows the campaign, and writes the code.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CouponAnswer {
    /// Which coupon.
    pub coupon: CouponId,
    /// Its member; absent in the answer to an issue, where the caller named it.
    pub member: Option<MemberId>,
    /// Its state.
    pub state: CouponState,
    /// When it was issued.
    pub issued_at: Timestamp,
    /// When it expires, if ever.
    pub expires_at: Option<Timestamp>,
    /// The order that holds or redeemed it, if one does.
    pub order: Option<OrderId>,
    /// When its hold lapses, while held.
    pub held_until: Option<Timestamp>,
}
