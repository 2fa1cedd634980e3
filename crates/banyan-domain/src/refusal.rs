//! Every business no, over all capabilities.

use crate::{coupon, legacy, order, pay, saga, stock};
use core::fmt;

/// Why a command was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Refusal {
    /// The idempotency key was used before, for another request.
    KeyReused,
    /// As many idempotency keys are remembered as memory is set aside for; try again when the oldest are forgotten.
    KeysFull,
    /// The coupon rules refused.
    Coupon(coupon::Refusal),
    /// The stock rules refused.
    Stock(stock::Refusal),
    /// The ledger refused.
    Pay(pay::Refusal),
    /// The sagas refused.
    Saga(saga::Refusal),
    /// The rules of orders refused.
    Order(order::Refusal),
    /// The rules of the way over from an old shop refused.
    Legacy(legacy::Refusal),
}

impl Refusal {
    /// The stable name that the API, the metrics and the documents use.
    #[must_use]
    pub const fn slug(self) -> &'static str {
        match self {
            Self::KeyReused => "idempotency-key-reused",
            Self::KeysFull => "idempotency-keys-full",
            Self::Coupon(refusal) => refusal.slug(),
            Self::Stock(refusal) => refusal.slug(),
            Self::Pay(refusal) => refusal.slug(),
            Self::Saga(refusal) => refusal.slug(),
            Self::Order(refusal) => refusal.slug(),
            Self::Legacy(refusal) => refusal.slug(),
        }
    }

    /// One sentence for a person.
    #[must_use]
    pub const fn sentence(self) -> &'static str {
        match self {
            Self::KeyReused => {
                "This Idempotency-Key was used before for another request. Use a new key for a new request."
            }
            Self::KeysFull => {
                "No more idempotency keys can be remembered for now. Retry later, or without a key."
            }
            Self::Coupon(refusal) => refusal.sentence(),
            Self::Stock(refusal) => refusal.sentence(),
            Self::Pay(refusal) => refusal.sentence(),
            Self::Saga(refusal) => refusal.sentence(),
            Self::Order(refusal) => refusal.sentence(),
            Self::Legacy(refusal) => refusal.sentence(),
        }
    }

    /// Every refusal there is, for tables of counters and documents.
    pub fn all() -> impl Iterator<Item = Self> {
        let own = [Self::KeyReused, Self::KeysFull].into_iter();
        own.chain(coupon::Refusal::ALL.map(Self::Coupon))
            .chain(stock::Refusal::ALL.map(Self::Stock))
            .chain(pay::Refusal::ALL.map(Self::Pay))
            .chain(saga::Refusal::ALL.map(Self::Saga))
            .chain(order::Refusal::ALL.map(Self::Order))
            .chain(legacy::Refusal::ALL.map(Self::Legacy))
    }

    /// A small number, different for each refusal, below [`Self::COUNT`].
    #[must_use]
    pub const fn index(self) -> usize {
        match self {
            Self::KeyReused => 0,
            Self::KeysFull => 1,
            Self::Coupon(refusal) => 2 + refusal as usize,
            Self::Stock(refusal) => Self::STOCK + refusal.index(),
            Self::Pay(refusal) => Self::PAY + refusal as usize,
            Self::Saga(refusal) => Self::SAGA + refusal as usize,
            Self::Order(refusal) => Self::ORDER + refusal as usize,
            Self::Legacy(refusal) => Self::LEGACY + refusal as usize,
        }
    }

    const STOCK: usize = 2 + coupon::Refusal::ALL.len();
    const PAY: usize = Self::STOCK + stock::Refusal::ALL.len();
    const SAGA: usize = Self::PAY + pay::Refusal::ALL.len();
    const ORDER: usize = Self::SAGA + saga::Refusal::ALL.len();
    const LEGACY: usize = Self::ORDER + order::Refusal::ALL.len();

    /// How many refusals there are.
    pub const COUNT: usize = Self::LEGACY + legacy::Refusal::ALL.len();
}

impl From<coupon::Refusal> for Refusal {
    fn from(refusal: coupon::Refusal) -> Self {
        Self::Coupon(refusal)
    }
}

impl From<stock::Refusal> for Refusal {
    fn from(refusal: stock::Refusal) -> Self {
        Self::Stock(refusal)
    }
}

impl From<pay::Refusal> for Refusal {
    fn from(refusal: pay::Refusal) -> Self {
        Self::Pay(refusal)
    }
}

impl From<order::Refusal> for Refusal {
    fn from(refusal: order::Refusal) -> Self {
        Self::Order(refusal)
    }
}

impl From<legacy::Refusal> for Refusal {
    fn from(refusal: legacy::Refusal) -> Self {
        Self::Legacy(refusal)
    }
}

impl From<saga::Refusal> for Refusal {
    fn from(refusal: saga::Refusal) -> Self {
        Self::Saga(refusal)
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.slug())
    }
}
