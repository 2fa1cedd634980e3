//! A business no. Not an error: the answer to a well-formed question.

use core::fmt;

/// Why a coupon command was refused. Checks run in the order in which the refusals stand here, so that a caller always
/// sees the same reason for the same situation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Refusal {
    /// No campaign has this id.
    CampaignNotFound,
    /// A campaign with this id exists and is defined otherwise.
    CampaignExists,
    /// The shard has had as many campaigns as it can number.
    TooManyCampaigns,
    /// The campaign is over.
    Ended,
    /// The campaign is paused.
    Paused,
    /// The campaign is not open yet.
    NotStarted,
    /// The member is not in the campaign's audience.
    NotEligible,
    /// The member has as many coupons of the campaign as one member may have.
    LimitReached,
    /// Every coupon is issued.
    SoldOut,
    /// The campaign's allow-list is full, or the campaign has none.
    AllowListUnavailable,
    /// The new quantity is below what is already issued, or not below the limit.
    QuantityBelowIssued,
    /// The new end is not in the future, or not after the start.
    EndInPast,
    /// No coupon has this code, or it is not this member's.
    CouponNotFound,
    /// The coupon was used by another order.
    CouponRedeemed,
    /// The coupon was taken back.
    CouponRevoked,
    /// The coupon's validity is over.
    CouponExpired,
    /// Another order holds the coupon, or the shop does and a member asks.
    CouponHeld,
}

impl Refusal {
    /// Every refusal, in the order of the checks.
    pub const ALL: [Self; 17] = [
        Self::CampaignNotFound,
        Self::CampaignExists,
        Self::TooManyCampaigns,
        Self::Ended,
        Self::Paused,
        Self::NotStarted,
        Self::NotEligible,
        Self::LimitReached,
        Self::SoldOut,
        Self::AllowListUnavailable,
        Self::QuantityBelowIssued,
        Self::EndInPast,
        Self::CouponNotFound,
        Self::CouponRedeemed,
        Self::CouponRevoked,
        Self::CouponExpired,
        Self::CouponHeld,
    ];

    /// The stable name that the API, the metrics and the documents use.
    #[must_use]
    pub const fn slug(self) -> &'static str {
        match self {
            Self::CampaignNotFound => "campaign-not-found",
            Self::CampaignExists => "campaign-exists",
            Self::TooManyCampaigns => "too-many-campaigns",
            Self::Ended => "ended",
            Self::NotStarted => "not-started",
            Self::Paused => "paused",
            Self::NotEligible => "not-eligible",
            Self::LimitReached => "limit-reached",
            Self::SoldOut => "sold-out",
            Self::AllowListUnavailable => "allow-list-unavailable",
            Self::QuantityBelowIssued => "quantity-below-issued",
            Self::EndInPast => "end-in-past",
            Self::CouponNotFound => "coupon-not-found",
            Self::CouponRedeemed => "coupon-redeemed",
            Self::CouponRevoked => "coupon-revoked",
            Self::CouponExpired => "coupon-expired",
            Self::CouponHeld => "coupon-held",
        }
    }

    /// Whether the same command may succeed later without anybody changing it.
    #[must_use]
    pub const fn may_pass_later(self) -> bool {
        matches!(self, Self::NotStarted | Self::Paused | Self::CouponHeld)
    }

    /// One sentence for a person.
    #[must_use]
    pub const fn sentence(self) -> &'static str {
        match self {
            Self::CampaignNotFound => "No campaign has this id.",
            Self::CampaignExists => "A campaign with this id exists and is defined otherwise.",
            Self::TooManyCampaigns => "This store has had as many campaigns as it can number.",
            Self::Ended => "The campaign is over.",
            Self::NotStarted => "The campaign is not open yet.",
            Self::Paused => "The campaign is paused.",
            Self::NotEligible => "The member is not in the campaign's audience.",
            Self::LimitReached => {
                "The member already has as many coupons of this campaign as one member may have."
            }
            Self::SoldOut => "Every coupon of this campaign is issued.",
            Self::AllowListUnavailable => "The campaign has no allow-list, or its allow-list is full.",
            Self::QuantityBelowIssued => {
                "The quantity cannot be below what is already issued, nor above 4,294,967,294."
            }
            Self::EndInPast => "The new end must be in the future and after the start.",
            Self::CouponNotFound => "No coupon has this code.",
            Self::CouponRedeemed => "The coupon has already been used.",
            Self::CouponRevoked => "The coupon was taken back.",
            Self::CouponExpired => "The coupon's validity is over.",
            Self::CouponHeld => "Another order holds the coupon.",
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.slug())
    }
}
