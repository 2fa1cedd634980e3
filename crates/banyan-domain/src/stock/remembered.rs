//! What is remembered of an answer, to put it together again when the command is repeated under its idempotency key.

use super::ReservationState;
use crate::{ItemNo, ReservationNo, Timestamp};
use minicbor::{Decode, Encode};

/// What an answer was about. Stored for ever, with the key of a command that found nothing to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub enum Remembered {
    /// An item was counted, received, adjusted or configured, or needed no change: its levels then.
    #[n(0)]
    Item {
        /// Which item.
        #[n(0)]
        item: ItemNo,
        /// Units there.
        #[n(1)]
        on_hand: u32,
        /// Of these, units set aside.
        #[n(2)]
        held: u32,
        /// Units reserved beyond the stock.
        #[n(3)]
        promised: u32,
        /// Units sold beyond the stock.
        #[n(4)]
        owed: u32,
    },
    /// A reservation was made, committed or released, or had ended already.
    #[n(1)]
    Reservation {
        /// Which reservation.
        #[n(0)]
        reservation: ReservationNo,
        /// The state it got, or was in already.
        #[n(1)]
        state: ReservationState,
        /// When it was to expire, or ended.
        #[n(2)]
        at: Timestamp,
    },
    /// Goods came back.
    #[n(2)]
    Returned {
        /// Of which reservation.
        #[n(0)]
        reservation: ReservationNo,
        /// Units.
        #[n(1)]
        units: u64,
    },
    /// Stock was imported, or needed no change.
    #[n(3)]
    Imported {
        /// The number of the import; 0 if it needed no change.
        #[n(0)]
        import: u64,
        /// Rows that changed something.
        #[n(1)]
        changed: u32,
        /// Rows that did not.
        #[n(2)]
        unchanged: u32,
        /// Rows refused.
        #[n(3)]
        refused: u32,
    },
}

const _: () = assert!(size_of::<Remembered>() <= 24, "the memory of an idempotency key rests on this");

impl Remembered {
    /// As three words: kind in the top byte of the first.
    #[must_use]
    pub const fn to_words(self) -> [u64; 3] {
        const fn two(high: u32, low: u32) -> u64 {
            (high as u64) << 32 | low as u64
        }
        match self {
            Self::Item { item, on_hand, held, promised, owed } => {
                [item.get() as u64, two(on_hand, held), two(promised, owed)]
            }
            Self::Reservation { reservation, state, at } => {
                [1 << 56 | state as u64, reservation.get(), at.as_millis()]
            }
            Self::Returned { reservation, units } => [2 << 56, reservation.get(), units],
            Self::Imported { import, changed, unchanged, refused } => {
                [3 << 56 | changed as u64, two(unchanged, refused), import]
            }
        }
    }

    /// Back from [`Self::to_words`], or none if they are not such words.
    #[must_use]
    pub fn from_words(words: [u64; 3]) -> Option<Self> {
        let [first, second, third] = words;
        let (high, low) = (|word: u64| (word >> 32) as u32, |word: u64| word as u32);
        let read = match first >> 56 {
            0 => Self::Item {
                item: ItemNo::new(low(first)),
                on_hand: high(second),
                held: low(second),
                promised: high(third),
                owed: low(third),
            },
            1 => Self::Reservation {
                reservation: ReservationNo::new(second),
                state: ReservationState::from_u8(first as u8)?,
                at: Timestamp::from_millis(third),
            },
            2 => Self::Returned { reservation: ReservationNo::new(second), units: third },
            3 => Self::Imported {
                import: third,
                changed: low(first),
                unchanged: high(second),
                refused: low(second),
            },
            _ => return None,
        };
        (read.to_words() == words).then_some(read)
    }
}
