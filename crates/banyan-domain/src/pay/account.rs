//! One account: its currency, its rule, and its balances.

use crate::digest;
use crate::{AccountNo, Currency};
use minicbor::{Decode, Encode};

/// Which balances an account may have. Amounts on hold count against the rule, and never for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(index_only)]
#[repr(u8)]
pub enum Rule {
    /// Any.
    #[n(0)]
    Free = 0,
    /// Debits, with those on hold, never exceed posted credits: what we owe somebody, such as points or store credit, which
    /// may not be overdrawn.
    #[n(1)]
    DebitsWithinCredits = 1,
    /// Credits, with those on hold, never exceed posted debits: what we own.
    #[n(2)]
    CreditsWithinDebits = 2,
}

/// An account's definition and balances, in minor units of its currency. Balances never go down, but for those on hold;
/// posted and held together fit into 63 bits on each side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Account {
    /// Taken from the account, for good.
    pub debits_posted: i64,
    /// Given to the account, for good.
    pub credits_posted: i64,
    /// Set aside to be taken.
    pub debits_pending: i64,
    /// Set aside to be given.
    pub credits_pending: i64,
    /// The currency of every amount.
    pub currency: Currency,
    /// Which balances it may have.
    pub rule: Rule,
}

const _: () = assert!(size_of::<Account>() == 40, "an account and a short id share 64 bytes");

impl Rule {
    /// The rule stored as `byte`.
    #[must_use]
    pub const fn from_u8(byte: u8) -> Option<Self> {
        Some(match byte {
            0 => Self::Free,
            1 => Self::DebitsWithinCredits,
            2 => Self::CreditsWithinDebits,
            _ => return None,
        })
    }

    /// The rule that the API writes as `name`.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::Free, Self::DebitsWithinCredits, Self::CreditsWithinDebits]
            .into_iter()
            .find(|rule| rule.as_str() == name)
    }

    /// The rule in lower-case words, as the API writes it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Free => "free",
            Self::DebitsWithinCredits => "debits-within-credits",
            Self::CreditsWithinDebits => "credits-within-debits",
        }
    }
}

impl Account {
    /// An account without any transfer.
    #[must_use]
    pub const fn new(currency: Currency, rule: Rule) -> Self {
        Self { debits_posted: 0, credits_posted: 0, debits_pending: 0, credits_pending: 0, currency, rule }
    }

    /// Posted credits less posted debits: what we owe its holder; below zero for what we own.
    #[must_use]
    pub const fn balance(&self) -> i64 {
        self.credits_posted - self.debits_posted
    }

    /// How much more its rule lets be taken from it (`DebitsWithinCredits`) or given to it (`CreditsWithinDebits`); none if
    /// it has no such rule.
    #[must_use]
    pub const fn available(&self) -> Option<i64> {
        match self.rule {
            Rule::Free => None,
            Rule::DebitsWithinCredits => Some(self.credits_posted - self.debits_posted - self.debits_pending),
            Rule::CreditsWithinDebits => {
                Some(self.debits_posted - self.credits_posted - self.credits_pending)
            }
        }
    }

    /// Whether it was opened so.
    pub(super) fn is_defined(&self, currency: Currency, rule: Rule) -> bool {
        self.currency == currency && self.rule == rule
    }

    pub(super) fn keeps_rule(&self) -> bool {
        self.available().is_none_or(|available| available >= 0)
    }

    pub(super) fn digest(&self, no: AccountNo) -> u128 {
        let code = self.currency.as_str().bytes().fold(0, |word, byte| word << 8 | u64::from(byte));
        digest::row(&[
            32,
            u64::from(no.get()),
            code << 8 | self.rule as u64,
            self.debits_posted as u64,
            self.credits_posted as u64,
            self.debits_pending as u64,
            self.credits_pending as u64,
        ])
    }
}

/// The digest of an account's name, which never changes.
pub(super) fn id_digest(no: AccountNo, id: &str) -> u128 {
    let mut bytes = Vec::with_capacity(4 + id.len());
    bytes.extend_from_slice(&no.get().to_le_bytes());
    bytes.extend_from_slice(id.as_bytes());
    digest::row_bytes(33, &bytes)
}
