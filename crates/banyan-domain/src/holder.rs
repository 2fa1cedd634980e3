//! Who made a hold.

use minicbor::data::Type;
use minicbor::decode::{self, Decoder};
use minicbor::encode::{self, Encoder, Write};
use minicbor::{Decode, Encode};

/// Who holds a coupon or goods. What the shop holds, an order may rest on that only the shop knows of: a member's own token
/// neither gives it up nor uses it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Holder {
    /// The shop: a key of its servers, or a saga.
    #[default]
    Shop,
    /// The member, with a token of theirs.
    Member,
}

impl Holder {
    /// In one lower-case word, as the API writes it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Shop => "shop",
            Self::Member => "member",
        }
    }
}

/// Stored as a number, and left out where it is the shop: what was stored before there was a difference is the shop's.
impl<C> Encode<C> for Holder {
    fn encode<W: Write>(&self, e: &mut Encoder<W>, _: &mut C) -> Result<(), encode::Error<W::Error>> {
        match self {
            Self::Shop => e.null()?.ok(),
            Self::Member => e.u8(1)?.ok(),
        }
    }

    fn is_nil(&self) -> bool {
        *self == Self::Shop
    }
}

impl<'b, C> Decode<'b, C> for Holder {
    fn decode(d: &mut Decoder<'b>, _: &mut C) -> Result<Self, decode::Error> {
        if d.datatype()? == Type::Null {
            d.null()?;
            return Ok(Self::Shop);
        }
        match d.u8()? {
            1 => Ok(Self::Member),
            other => Err(decode::Error::message(format!("{other} is no holder"))),
        }
    }

    fn nil() -> Option<Self> {
        Some(Self::Shop)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, PartialEq, Encode, Decode)]
    struct Held(#[n(0)] u8, #[n(1)] Holder);

    #[test]
    fn what_the_shop_holds_is_stored_as_it_was_before_members_held() {
        let bytes = |held: &Held| minicbor::to_vec(held).expect("a vector takes every write");
        let (shop, member) = (Held(7, Holder::Shop), Held(7, Holder::Member));
        assert_eq!(bytes(&shop), [0x81, 7]);
        assert_eq!(bytes(&member), [0x82, 7, 1]);
        for held in [shop, member] {
            assert_eq!(minicbor::decode::<Held>(&bytes(&held)).expect("read back"), held);
        }
        assert!(minicbor::decode::<Held>(&[0x82, 7, 2]).is_err(), "nobody else holds");
    }
}
