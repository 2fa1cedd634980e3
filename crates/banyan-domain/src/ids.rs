//! Names of things. Each is its own type, so that a campaign cannot be passed where a member belongs.

use crate::limits;
use core::fmt;
use minicbor::decode::{Decoder, Error};
use minicbor::{Decode, Encode};

/// Why a text is not a valid id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidId {
    /// Which kind of id was being read, such as `member`.
    pub kind: &'static str,
    /// What the kind of id must look like.
    pub rule: &'static str,
}

impl fmt::Display for InvalidId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} must be {}", self.kind, self.rule)
    }
}

impl std::error::Error for InvalidId {}

/// Declares a checked text type: its documentation, its kind, its rule in words and as a function.
macro_rules! text_id {
    ($(#[$doc:meta])* $name:ident, $kind:literal, $rule:literal, $valid:expr) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Encode)]
        #[cbor(transparent)]
        pub struct $name(#[n(0)] Box<str>);

        // Stored bytes are checked like any other input: what is in memory is valid, wherever it came from.
        impl<'b, C> Decode<'b, C> for $name {
            fn decode(d: &mut Decoder<'b>, _: &mut C) -> Result<Self, Error> {
                Self::new(d.str()?).map_err(|_| Error::message(concat!("the stored ", $kind, " is not one")))
            }
        }

        impl $name {
            /// Checks `text` and takes it over.
            ///
            /// # Errors
            /// [`InvalidId`] naming the rule, if `text` breaks it.
            pub fn new(text: impl Into<Box<str>>) -> Result<Self, InvalidId> {
                let text = text.into();
                let valid: fn(&str) -> bool = $valid;
                if valid(&text) { Ok(Self(text)) } else { Err(InvalidId { kind: $kind, rule: $rule }) }
            }

            /// The id as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

text_id!(
    /// A campaign's public id, chosen by the operator.
    CampaignId, "campaign id", "1 to 48 of a-z, 0-9 and -, starting with a letter or digit",
    |s| is_slug(s, limits::CAMPAIGN_ID_BYTES_MAX)
);
text_id!(
    /// A segment of members, such as `gold`: a word the shop vouches for.
    SegmentName, "segment", "1 to 48 of a-z, 0-9 and -, starting with a letter or digit",
    |s| is_slug(s, limits::SEGMENT_NAME_BYTES_MAX)
);
text_id!(
    /// A member as the shop knows it: opaque here, and never personal data.
    MemberId, "member", "1 to 64 visible ASCII characters without spaces",
    |s| is_visible(s, limits::MEMBER_ID_BYTES_MAX)
);
text_id!(
    /// An order as the shop knows it.
    OrderId, "order", "1 to 64 visible ASCII characters without spaces",
    |s| is_visible(s, limits::ORDER_ID_BYTES_MAX)
);
text_id!(
    /// Something that is sold and counted: a stock keeping unit, as the shop names it.
    SkuId, "sku", "1 to 64 visible ASCII characters without spaces",
    |s| is_visible(s, limits::SKU_ID_BYTES_MAX)
);
text_id!(
    /// Something that is sold at a price: one SKU, or several together.
    ProductId, "product", "1 to 64 visible ASCII characters without spaces",
    |s| is_visible(s, limits::SKU_ID_BYTES_MAX)
);
text_id!(
    /// A place where goods lie, such as `seoul-1`.
    LocationId, "location", "1 to 48 of a-z, 0-9 and -, starting with a letter or digit",
    |s| is_slug(s, limits::LOCATION_ID_BYTES_MAX)
);
text_id!(
    /// Who did something: the name of a key, or a part of the system.
    Actor, "actor", "1 to 64 visible ASCII characters without spaces",
    |s| is_visible(s, limits::ACTOR_BYTES_MAX)
);
text_id!(
    /// Why somebody did something, in their own words. May be empty.
    Reason, "reason", "at most 400 bytes without control characters",
    |s| s.len() <= limits::REASON_BYTES_MAX && !s.chars().any(char::is_control)
);

text_id!(
    /// The name of a saga's definition, such as `checkout`.
    SagaName, "saga name", "1 to 48 of a-z, 0-9 and -, starting with a letter or digit",
    |s| is_slug(s, limits::SAGA_NAME_BYTES_MAX)
);
text_id!(
    /// The name of a step within its saga, such as `reserve-stock`.
    StepName, "step name", "1 to 48 of a-z, 0-9 and -, starting with a letter or digit",
    |s| is_slug(s, limits::SAGA_NAME_BYTES_MAX)
);
text_id!(
    /// What a saga is about, as its starter names it: one saga of a name for one key, such as an order's id.
    SagaKey, "saga key", "1 to 96 visible ASCII characters without spaces",
    |s| is_visible(s, limits::SAGA_KEY_BYTES_MAX)
);

text_id!(
    /// An account of the ledger, such as `points:m-1` or `shop:sales`. Never personal data.
    AccountId, "account", "1 to 96 visible ASCII characters without spaces",
    |s| is_visible(s, limits::ACCOUNT_ID_BYTES_MAX)
);
text_id!(
    /// What transfers were made for, such as an order.
    Reference, "reference", "1 to 64 visible ASCII characters without spaces",
    |s| is_visible(s, limits::REFERENCE_BYTES_MAX)
);

fn is_slug(text: &str, bytes_max: usize) -> bool {
    let slug = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    !text.is_empty() && text.len() <= bytes_max && text.bytes().all(slug) && !text.starts_with('-')
}

fn is_visible(text: &str, bytes_max: usize) -> bool {
    !text.is_empty() && text.len() <= bytes_max && text.bytes().all(|b| b.is_ascii_graphic())
}

/// Declares a number that a shard gives in order, from 1: its documentation and its width; and, if it has a public name, its
/// kind and the letters before the number.
macro_rules! number_id {
    ($(#[$doc:meta])* $name:ident, $width:ty) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Encode, Decode)]
        #[cbor(transparent)]
        pub struct $name(#[n(0)] $width);

        impl $name {
            /// The one numbered `no`.
            #[must_use]
            pub const fn new(no: $width) -> Self {
                Self(no)
            }

            /// The number.
            #[must_use]
            pub const fn get(self) -> $width {
                self.0
            }
        }
    };
    ($(#[$doc:meta])* $name:ident, $width:ty, $kind:literal, $prefix:literal) => {
        number_id!($(#[$doc])* $name, $width);

        impl $name {
            /// Reads a public name, which must be written exactly as [`Display`](fmt::Display) writes it.
            ///
            /// # Errors
            /// [`InvalidId`] naming the rule, if `name` breaks it.
            pub fn parse(name: &str) -> Result<Self, InvalidId> {
                let digits = name.strip_prefix($prefix).filter(|digits| !digits.starts_with(['0', '+']));
                let no = digits.and_then(|digits| digits.parse().ok()).map(Self);
                no.ok_or(InvalidId { kind: $kind, rule: concat!($prefix, " and its number, such as ", $prefix, "17") })
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!($prefix, "{}"), self.0)
            }
        }
    };
}

number_id!(
    /// A campaign's number within its shard, given in order of creation from 1. Short, so that events stay small.
    CampaignNo, u32
);
number_id!(
    /// An account's number within its shard, given in order of opening from 1.
    AccountNo, u32
);
number_id!(
    /// One SKU at one location: its number within its shard, given in order of creation from 1.
    ItemNo, u32
);
number_id!(
    /// A saga's number within its shard, given in order of starting from 1.
    SagaNo, u64
);
number_id!(
    /// A transfer's number within its shard, given in order from 1. Its public name is `t-17`.
    TransferNo, u64, "transfer", "t-"
);
number_id!(
    /// A reservation of stock: its number within its shard, given in order from 1. Its public name is `r-17`.
    ReservationNo, u64, "reservation", "r-"
);
number_id!(
    /// An order placed here: its number within its shard, given in order from 1. Its public name is `o-17`.
    OrderNo, u64, "order", "o-"
);

/// One coupon: its campaign's number in the upper 20 bits of 60, and its issue number within the campaign, from 1, in the lower 40.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Encode)]
#[cbor(transparent)]
pub struct CouponId(#[n(0)] u64);

impl<'b, C> Decode<'b, C> for CouponId {
    fn decode(d: &mut Decoder<'b>, _: &mut C) -> Result<Self, Error> {
        Self::from_u64(d.u64()?).ok_or(Error::message("the stored coupon number is longer than 60 bits"))
    }
}

impl CouponId {
    /// The `n`-th coupon (from 1) of `campaign`.
    #[must_use]
    pub const fn new(campaign: CampaignNo, n: u64) -> Self {
        Self((campaign.0 as u64) << limits::COUPON_N_BITS | n)
    }

    /// The coupon with this 60-bit number, or none if the number is larger.
    #[must_use]
    pub const fn from_u64(bits: u64) -> Option<Self> {
        if bits >> (limits::CAMPAIGN_NO_BITS + limits::COUPON_N_BITS) == 0 { Some(Self(bits)) } else { None }
    }

    /// The 60-bit number.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0
    }

    /// The campaign that issued it.
    #[must_use]
    pub const fn campaign(self) -> CampaignNo {
        CampaignNo((self.0 >> limits::COUPON_N_BITS) as u32)
    }

    /// Its issue number within the campaign, from 1.
    #[must_use]
    pub const fn n(self) -> u64 {
        self.0 & ((1 << limits::COUPON_N_BITS) - 1)
    }
}
