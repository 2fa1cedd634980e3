//! One coupon in memory: 32 bytes, plus a side row while it is held and once it is redeemed.

use crate::digest;
use crate::{CampaignNo, Holder, OrderId, Timestamp};
use minicbor::{Decode, Encode};

/// The state of one coupon.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(index_only)]
#[repr(u8)]
pub enum CouponState {
    /// Issued and free to use.
    #[n(0)]
    Issued = 0,
    /// Held for an order until a deadline.
    #[n(1)]
    Held = 1,
    /// Used by an order. Final.
    #[n(2)]
    Redeemed = 2,
    /// Taken back by an operator. Final.
    #[n(3)]
    Revoked = 3,
    /// Past its validity. Final.
    #[n(4)]
    Expired = 4,
}

/// One coupon. Its number is its place in the campaign.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CouponRow {
    /// When it was issued.
    pub issued_at: Timestamp,
    /// The log position of its issue.
    pub seq: u64,
    /// Its member's place in the campaign's member table.
    pub member: u32,
    /// The number of the same member's coupon before this one in the campaign; 0 if this is the first.
    pub previous: u32,
    /// How many coupons the member has had with this one.
    pub nth: u16,
    /// Its state.
    pub state: CouponState,
}

/// A coupon held for an order.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Hold {
    /// The order.
    #[n(0)]
    pub order: OrderId,
    /// When the hold lapses.
    #[n(1)]
    pub until: Timestamp,
    /// Who made it.
    #[n(2)]
    pub holder: Holder,
}

/// A coupon used by an order.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Redemption {
    /// The order.
    #[n(0)]
    pub order: OrderId,
    /// When it was redeemed.
    #[n(1)]
    pub at: Timestamp,
}

const _: () = assert!(size_of::<CouponRow>() == 32, "the memory budget of 100 bytes a coupon rests on this");

impl CouponState {
    /// The state stored as `byte`.
    #[must_use]
    pub const fn from_u8(byte: u8) -> Option<Self> {
        Some(match byte {
            0 => Self::Issued,
            1 => Self::Held,
            2 => Self::Redeemed,
            3 => Self::Revoked,
            4 => Self::Expired,
            _ => return None,
        })
    }

    /// The state in one lower-case word, as the API and the record store write it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Issued => "issued",
            Self::Held => "held",
            Self::Redeemed => "redeemed",
            Self::Revoked => "revoked",
            Self::Expired => "expired",
        }
    }
}

impl CouponRow {
    pub(crate) fn digest(&self, campaign: CampaignNo, n: u64) -> u128 {
        let links = u64::from(self.member) << 32 | u64::from(self.previous);
        let small = u64::from(self.nth) << 8 | self.state as u64;
        digest::row(&[2, u64::from(campaign.get()), n, self.issued_at.as_millis(), self.seq, links, small])
    }
}

impl Hold {
    pub(crate) fn digest(&self, campaign: CampaignNo, n: u64) -> u128 {
        let kind = match self.holder {
            Holder::Shop => 3,
            Holder::Member => 10,
        };
        order_digest(kind, campaign, n, &self.order, self.until)
    }
}

impl Redemption {
    pub(crate) fn digest(&self, campaign: CampaignNo, n: u64) -> u128 {
        order_digest(4, campaign, n, &self.order, self.at)
    }
}

fn order_digest(kind: u64, campaign: CampaignNo, n: u64, order: &OrderId, at: Timestamp) -> u128 {
    let mut bytes = Vec::with_capacity(96);
    for word in [u64::from(campaign.get()), n, at.as_millis()] {
        bytes.extend_from_slice(&word.to_le_bytes());
    }
    bytes.extend_from_slice(order.as_str().as_bytes());
    digest::row_bytes(kind, &bytes)
}
