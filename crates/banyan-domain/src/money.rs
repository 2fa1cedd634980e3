//! Money: whole minor units (won, cents) of one ISO 4217 currency.

use core::fmt;
use minicbor::decode::{Decoder, Error};
use minicbor::{Decode, Encode};

/// A three-letter ISO 4217 currency code, upper case.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Encode)]
#[cbor(transparent)]
pub struct Currency(#[cbor(n(0), with = "minicbor::bytes")] [u8; 3]);

impl<'b, C> Decode<'b, C> for Currency {
    fn decode(d: &mut Decoder<'b>, _: &mut C) -> Result<Self, Error> {
        let code = core::str::from_utf8(d.bytes()?).ok().and_then(|code| Self::new(code).ok());
        code.ok_or(Error::message("the stored currency is not three upper-case letters"))
    }
}

/// An amount of `minor` minor units of `currency`. Never negative in the rules of coupons.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Money {
    /// Whole minor units: won for KRW, cents for USD.
    #[n(0)]
    pub minor: i64,
    /// The currency of `minor`.
    #[n(1)]
    pub currency: Currency,
}

/// Why a text or number is not money.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum InvalidMoney {
    /// The currency is not three upper-case ASCII letters.
    Currency(String),
    /// The amount is negative where only zero or more makes sense.
    Negative(i64),
}

impl Currency {
    /// Checks that `code` has the form of an ISO 4217 code.
    ///
    /// # Errors
    /// [`InvalidMoney::Currency`] if it is not three upper-case ASCII letters.
    pub fn new(code: &str) -> Result<Self, InvalidMoney> {
        match <[u8; 3]>::try_from(code.as_bytes()) {
            Ok(bytes) if bytes.iter().all(u8::is_ascii_uppercase) => Ok(Self(bytes)),
            _ => Err(InvalidMoney::Currency(code.chars().take(16).collect())),
        }
    }

    /// The code as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        core::str::from_utf8(&self.0).unwrap_or("???")
    }
}

impl Money {
    /// An amount of zero or more.
    ///
    /// # Errors
    /// [`InvalidMoney::Negative`] if `minor` is below zero.
    pub fn new(minor: i64, currency: Currency) -> Result<Self, InvalidMoney> {
        if minor < 0 { Err(InvalidMoney::Negative(minor)) } else { Ok(Self { minor, currency }) }
    }
}

impl fmt::Debug for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Display for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Display for InvalidMoney {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Currency(code) => {
                write!(f, "currency {code:?} is not three upper-case letters such as KRW")
            }
            Self::Negative(minor) => write!(f, "amount {minor} is below zero"),
        }
    }
}

impl std::error::Error for InvalidMoney {}
