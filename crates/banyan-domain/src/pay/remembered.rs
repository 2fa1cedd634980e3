//! What is remembered of an answer under an idempotency key, and how the answer is put together again.

use super::{Command, Event, Ledger, Outcome, Refusal};
use crate::limits;
use crate::{AccountNo, Timestamp, TransferNo};
use minicbor::{Decode, Encode};

/// What the answer under a key was about. Stored for ever where a key was kept for an answer that needed no event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub enum Remembered {
    /// An account was opened, or stood open.
    #[n(0)]
    Account(#[n(0)] AccountNo),
    /// Transfers were made.
    #[n(1)]
    Transferred {
        /// The number of the first.
        #[n(0)]
        first: TransferNo,
        /// How many.
        #[n(1)]
        count: u8,
        /// The earliest deadline of the holds among them; 1970 if there were none.
        #[n(2)]
        expires_at: Timestamp,
    },
    /// A hold expired.
    #[n(2)]
    Expired(#[n(0)] TransferNo),
}

const _: () = assert!(size_of::<Remembered>() <= 24, "millions of keys are remembered");

impl Ledger {
    /// The answer to a command whose last event is `event`, which has just been applied.
    #[must_use]
    pub fn outcome(&self, event: &Event) -> Outcome {
        answer(self.remember(event))
    }

    /// What is remembered of the answer to a command whose last event is `event`, which has just been applied.
    #[must_use]
    pub fn remember(&self, event: &Event) -> Remembered {
        match event {
            Event::Transferred { first, legs, .. } => {
                let deadlines = legs.iter().filter_map(|leg| match leg {
                    super::Leg::Held { until, .. } => Some(*until),
                    _ => None,
                });
                let expires_at = deadlines.min().unwrap_or_default();
                // Fits: apply refuses a longer group.
                Remembered::Transferred { first: *first, count: legs.len() as u8, expires_at }
            }
            Event::AccountOpened { account, .. } => Remembered::Account(account.no),
            Event::HoldExpired { pending } => Remembered::Expired(*pending),
        }
    }

    /// The first answer again. It rests on nothing that can change.
    ///
    /// # Errors
    /// None for now: the ledger keeps all that its answers need.
    pub fn recall(&self, remembered: Remembered, _command: &Command) -> Result<Outcome, Refusal> {
        Ok(answer(remembered))
    }

    /// Whether a command could have been answered so without any event.
    #[must_use]
    pub fn is_so(&self, remembered: &Remembered) -> bool {
        match remembered {
            Remembered::Account(no) => self.account_no(*no).is_some(),
            // Transfers are always made anew, and time does not ask.
            Remembered::Transferred { .. } | Remembered::Expired(_) => false,
        }
    }
}

impl Remembered {
    /// As three words, for columns.
    #[must_use]
    pub const fn to_words(self) -> [u64; 3] {
        match self {
            Self::Account(no) => [0, no.get() as u64, 0],
            Self::Transferred { first, count, expires_at } => {
                [1 | (count as u64) << 8, first.get(), expires_at.as_millis()]
            }
            Self::Expired(pending) => [2, pending.get(), 0],
        }
    }

    /// What [`Self::to_words`] wrote as `words`, or none if it never writes them.
    #[must_use]
    pub fn from_words(words: [u64; 3]) -> Option<Self> {
        Some(match words {
            [0, no, 0] => Self::Account(AccountNo::new(u32::try_from(no).ok()?)),
            [kind, first, millis @ 0..=limits::TIMESTAMP_MILLIS_MAX] if kind & 0xFF == 1 => {
                Self::Transferred {
                    first: TransferNo::new(first),
                    count: u8::try_from(kind >> 8).ok()?,
                    expires_at: Timestamp::from_millis(millis),
                }
            }
            [2, pending, 0] => Self::Expired(TransferNo::new(pending)),
            _ => return None,
        })
    }
}

fn answer(remembered: Remembered) -> Outcome {
    match remembered {
        Remembered::Account(no) => Outcome::Account { no },
        Remembered::Transferred { first, count, expires_at } => {
            // A hold lasts a millisecond at least, so that none ends in the first of 1970.
            let expires_at = Some(expires_at).filter(|at| *at != Timestamp::default());
            Outcome::Transferred { first, count, expires_at }
        }
        Remembered::Expired(pending) => Outcome::Expired { pending },
    }
}
