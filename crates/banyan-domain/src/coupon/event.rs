//! What can happen in the coupon capability. Events are stored for ever: fields get new numbers, never new meanings.

use super::CampaignDefinition;
use crate::{Actor, CampaignNo, CouponId, Holder, MemberId, OrderId, Reason, Timestamp};
use minicbor::{Decode, Encode};

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum Event {
    /// A campaign was created.
    #[n(0)]
    CampaignCreated {
        /// The number it got.
        #[n(0)]
        no: CampaignNo,
        /// What it is.
        #[n(1)]
        definition: Box<CampaignDefinition>,
        /// By whom.
        #[n(2)]
        by: Actor,
    },
    /// Issuing was stopped for a while.
    #[n(1)]
    CampaignPaused {
        /// Which campaign.
        #[n(0)]
        no: CampaignNo,
        /// By whom.
        #[n(1)]
        by: Actor,
        /// Why.
        #[n(2)]
        reason: Reason,
    },
    /// Issuing goes on.
    #[n(2)]
    CampaignResumed {
        /// Which campaign.
        #[n(0)]
        no: CampaignNo,
        /// By whom.
        #[n(1)]
        by: Actor,
        /// Why.
        #[n(2)]
        reason: Reason,
    },
    /// The window's end was moved.
    #[n(3)]
    CampaignExtended {
        /// Which campaign.
        #[n(0)]
        no: CampaignNo,
        /// The new end.
        #[n(1)]
        ends_at: Timestamp,
        /// By whom.
        #[n(2)]
        by: Actor,
        /// Why.
        #[n(3)]
        reason: Reason,
    },
    /// The quantity was changed.
    #[n(4)]
    CampaignQuantityChanged {
        /// Which campaign.
        #[n(0)]
        no: CampaignNo,
        /// The new quantity.
        #[n(1)]
        quantity: u64,
        /// By whom.
        #[n(2)]
        by: Actor,
        /// Why.
        #[n(3)]
        reason: Reason,
    },
    /// The campaign is over for good.
    #[n(5)]
    CampaignEnded {
        /// Which campaign.
        #[n(0)]
        no: CampaignNo,
        /// What ended it.
        #[n(1)]
        cause: EndCause,
    },
    /// A settled campaign left the hot state; its record lives on in the views.
    #[n(6)]
    CampaignRetired {
        /// Which campaign.
        #[n(0)]
        no: CampaignNo,
    },
    /// Members were added to the allow-list.
    #[n(7)]
    AllowListExtended {
        /// Which campaign.
        #[n(0)]
        no: CampaignNo,
        /// The members, none of whom were on it.
        #[n(1)]
        members: Vec<MemberId>,
    },
    /// A coupon was issued.
    #[n(8)]
    CouponIssued {
        /// Which coupon: its campaign and issue number.
        #[n(0)]
        coupon: CouponId,
        /// To whom.
        #[n(1)]
        member: MemberId,
    },
    /// A coupon was held for an order.
    #[n(9)]
    CouponHeld {
        /// Which coupon.
        #[n(0)]
        coupon: CouponId,
        /// For which order.
        #[n(1)]
        order: OrderId,
        /// Until when.
        #[n(2)]
        until: Timestamp,
        /// By whom.
        #[n(3)]
        holder: Holder,
    },
    /// A coupon was used by an order.
    #[n(10)]
    CouponRedeemed {
        /// Which coupon.
        #[n(0)]
        coupon: CouponId,
        /// By which order.
        #[n(1)]
        order: OrderId,
    },
    /// A held coupon, or one whose order was given back, is free again, or expired if its time had come meanwhile.
    #[n(11)]
    CouponReleased {
        /// Which coupon.
        #[n(0)]
        coupon: CouponId,
        /// Why it was released.
        #[n(1)]
        cause: ReleaseCause,
        /// Whether its validity ended meanwhile, so that it is expired now.
        #[n(2)]
        expired: bool,
    },
    /// A coupon was taken back for good.
    #[n(12)]
    CouponRevoked {
        /// Which coupon.
        #[n(0)]
        coupon: CouponId,
        /// By whom.
        #[n(1)]
        by: Actor,
        /// Why.
        #[n(2)]
        reason: Reason,
    },
    /// Every coupon of the range that was free to use expired.
    #[n(13)]
    CouponsExpired {
        /// Which campaign.
        #[n(0)]
        no: CampaignNo,
        /// The first coupon number of the range.
        #[n(1)]
        first: u64,
        /// The last coupon number of the range.
        #[n(2)]
        last: u64,
    },
}

/// What ended a campaign.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum EndCause {
    /// Its window closed.
    #[n(0)]
    Window,
    /// An operator ended it.
    #[n(1)]
    Operator {
        /// By whom.
        #[n(0)]
        by: Actor,
        /// Why.
        #[n(1)]
        reason: Reason,
    },
}

/// Why a hold was released.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(index_only)]
pub enum ReleaseCause {
    /// The order gave it up.
    #[n(0)]
    Asked,
    /// Its deadline passed.
    #[n(1)]
    Deadline,
    /// The order that redeemed it was given back whole.
    #[n(2)]
    Restored,
}

impl Event {
    /// Whether events stored under `tag` are about a campaign as a whole and not about its coupons: the few that operators
    /// and deadlines cause.
    #[must_use]
    pub const fn is_about_campaign(tag: u32) -> bool {
        tag <= 7
    }

    /// The campaign it concerns.
    #[must_use]
    pub const fn campaign(&self) -> CampaignNo {
        match self {
            Self::CouponIssued { coupon, .. }
            | Self::CouponHeld { coupon, .. }
            | Self::CouponRedeemed { coupon, .. }
            | Self::CouponReleased { coupon, .. }
            | Self::CouponRevoked { coupon, .. } => coupon.campaign(),
            Self::CampaignCreated { no, .. }
            | Self::CampaignPaused { no, .. }
            | Self::CampaignResumed { no, .. }
            | Self::CampaignExtended { no, .. }
            | Self::CampaignQuantityChanged { no, .. }
            | Self::CampaignEnded { no, .. }
            | Self::CampaignRetired { no }
            | Self::AllowListExtended { no, .. }
            | Self::CouponsExpired { no, .. } => *no,
        }
    }
}
