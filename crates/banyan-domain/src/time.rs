//! Instants and spans, in milliseconds. The rules never read a clock: the shard stamps each block once.

use crate::limits::TIMESTAMP_MILLIS_MAX;
use core::fmt;
use minicbor::decode::{Decoder, Error};
use minicbor::{Decode, Encode};

/// An instant: milliseconds since 1970-01-01T00:00:00Z.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Encode)]
#[cbor(transparent)]
pub struct Timestamp(#[n(0)] u64);

impl<'b, C> Decode<'b, C> for Timestamp {
    fn decode(d: &mut Decoder<'b>, _: &mut C) -> Result<Self, Error> {
        match d.u64()? {
            millis @ 0..=TIMESTAMP_MILLIS_MAX => Ok(Self(millis)),
            _ => Err(Error::message("the stored instant is after the year 9999")),
        }
    }
}

/// A span of time in milliseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Encode, Decode)]
#[cbor(transparent)]
pub struct Millis(#[n(0)] u64);

impl Timestamp {
    /// The instant `millis` milliseconds after 1970, or the latest instant the rules know if that is later.
    #[must_use]
    pub const fn from_millis(millis: u64) -> Self {
        Self(if millis > TIMESTAMP_MILLIS_MAX { TIMESTAMP_MILLIS_MAX } else { millis })
    }

    /// Milliseconds since 1970.
    #[must_use]
    pub const fn as_millis(self) -> u64 {
        self.0
    }

    /// This instant and `span`, stopping at the latest instant the rules know.
    #[must_use]
    pub const fn plus(self, span: Millis) -> Self {
        Self::from_millis(self.0.saturating_add(span.0))
    }
}

impl Millis {
    /// A span of `millis` milliseconds.
    #[must_use]
    pub const fn new(millis: u64) -> Self {
        Self(millis)
    }

    /// A span of `seconds` seconds.
    #[must_use]
    pub const fn from_seconds(seconds: u64) -> Self {
        Self(seconds.saturating_mul(1_000))
    }

    /// The span in milliseconds.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ms", self.0)
    }
}
