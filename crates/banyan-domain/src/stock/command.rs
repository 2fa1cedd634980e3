//! What can be asked of the stock capability, and what is answered.

use super::event::{Event, ReservedPart};
use super::{Remembered, ReservationState};
use crate::limits;
use crate::{
    Actor, Decided, Holder, ItemNo, LocationId, MemberId, Millis, OrderId, Reason, ReservationNo, SkuId,
    Timestamp,
};
use core::fmt;

/// Something asked. Checked texts and lines only: what is wrong in itself never gets here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Say what was counted: sets the units on hand, never below what is held. Creates the item if it is new. If somebody
    /// waits, the units found leave, or are held for them, at once.
    SetStock {
        /// Which SKU.
        sku: SkuId,
        /// Where.
        location: LocationId,
        /// Units there.
        on_hand: u32,
        /// Who asks.
        by: Actor,
        /// Why.
        reason: Reason,
    },
    /// Goods arrived: they fill owed units first, which leave at once, then promised ones, the oldest reservation first,
    /// and become available after that.
    Receive {
        /// Which SKU.
        sku: SkuId,
        /// Where.
        location: LocationId,
        /// Units that arrived; 0 changes nothing.
        quantity: u32,
        /// Who asks.
        by: Actor,
        /// Why.
        reason: Reason,
    },
    /// Correct the units on hand by a difference.
    Adjust {
        /// Which SKU.
        sku: SkuId,
        /// Where.
        location: LocationId,
        /// Units found (positive) or missing (negative); 0 changes nothing.
        by_quantity: i64,
        /// Who asks.
        by: Actor,
        /// Why.
        reason: Reason,
    },
    /// Change how an item may be sold.
    Configure {
        /// Which SKU.
        sku: SkuId,
        /// Where.
        location: LocationId,
        /// What to change.
        change: Configuration,
        /// Who asks.
        by: Actor,
    },
    /// Count many items at once, at most [`limits::IMPORT_ROWS_MAX`]: each row is set or refused by itself.
    ImportStock {
        /// The rows. A row that names an item a second time is refused.
        rows: Vec<ImportRow>,
        /// Who asks.
        by: Actor,
    },
    /// Reserve all lines or none.
    Reserve {
        /// What.
        lines: Lines,
        /// For which member. Purchase limits count over a member's reservations; without a member, within this one.
        member: Option<MemberId>,
        /// For which order.
        order: Option<OrderId>,
        /// Who asks.
        holder: Holder,
        /// For how long; at most [`limits::RESERVATION_MILLIS_MAX`].
        hold_for: Millis,
    },
    /// Sell what is reserved: held units leave, promised ones are owed from now on.
    CommitReservation {
        /// Which reservation.
        reservation: ReservationNo,
    },
    /// Give a reservation up.
    ReleaseReservation {
        /// Which reservation.
        reservation: ReservationNo,
    },
    /// Committed goods come back, to where they were taken from. Units still owed are given up first, so to speak: goods
    /// that come back fill what is owed like any others.
    Return {
        /// Which reservation.
        reservation: ReservationNo,
        /// What comes back; without a location, from any place the reservation drew on.
        lines: Lines,
        /// Who asks.
        by: Actor,
        /// Why.
        reason: Reason,
    },
}

/// Changes to an item and its SKU; what is absent stays.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Configuration {
    /// Units on hand that are not sold.
    pub safety: Option<u32>,
    /// Units that may be promised and owed beyond the stock, once released; at most [`limits::PROMISED_UNITS_MAX`].
    pub backorder_max: Option<u32>,
    /// The same before release.
    pub preorder_max: Option<u32>,
    /// The release; `Some(None)` says that the item is out.
    pub released_at: Option<Option<Timestamp>>,
    /// Units of the SKU that one member may reserve and buy from now on, over all locations; `Some(None)` lifts the limit.
    /// A new limit starts counting from nothing; the limit that stands already goes on.
    pub per_member: Option<Option<u32>>,
}

/// One row of an import.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImportRow {
    /// Which SKU.
    pub sku: SkuId,
    /// Where.
    pub location: LocationId,
    /// Units there.
    pub on_hand: u32,
}

/// One line of a reservation or return.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// Which SKU.
    pub sku: SkuId,
    /// Where; without it, any location: in their order of creation, split if need be.
    pub location: Option<LocationId>,
    /// Units; at least 1.
    pub quantity: u32,
}

/// 1 to [`limits::RESERVATION_LINES_MAX`] lines of at least one unit each.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lines(Vec<Line>);

/// Why lines are not valid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InvalidLines {
    /// There is no line, or there are too many.
    Count,
    /// The line at this index has no units.
    NoUnits(usize),
}

impl Lines {
    /// Checks lines.
    ///
    /// # Errors
    /// [`InvalidLines`] if there is none, there are too many, or one has no units.
    pub fn new(lines: Vec<Line>) -> Result<Self, InvalidLines> {
        if lines.is_empty() || lines.len() > limits::RESERVATION_LINES_MAX {
            return Err(InvalidLines::Count);
        }
        match lines.iter().position(|line| line.quantity == 0) {
            Some(index) => Err(InvalidLines::NoUnits(index)),
            None => Ok(Self(lines)),
        }
    }

    /// The lines.
    #[must_use]
    pub fn as_slice(&self) -> &[Line] {
        &self.0
    }
}

impl fmt::Display for InvalidLines {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Count => write!(f, "there must be 1 to {} lines", limits::RESERVATION_LINES_MAX),
            Self::NoUnits(index) => write!(f, "line {index} (from 0) must have a quantity of at least 1"),
        }
    }
}

impl std::error::Error for InvalidLines {}

/// What a command comes to, if it is not refused.
pub type Decision = Decided<Event, Outcome, Remembered>;

/// The answer to a command that was carried out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// An item was counted, received, adjusted or configured.
    Item(ItemAnswer),
    /// Stock was imported.
    Import(ImportAnswer),
    /// A reservation was made, committed or released, or had expired.
    Reservation(ReservationAnswer),
    /// Goods came back.
    Returned {
        /// Of which reservation.
        reservation: ReservationNo,
        /// Units that came back now.
        units: u64,
    },
}

/// An item as a command left it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ItemAnswer {
    /// Which item.
    pub item: ItemNo,
    /// Units there.
    pub on_hand: u32,
    /// Of these, units set aside for reservations.
    pub held: u32,
    /// Units reserved beyond the stock.
    pub promised: u32,
    /// Units sold beyond the stock.
    pub owed: u32,
}

/// What became of the rows of an import.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImportAnswer {
    /// Rows that changed an item or made a new one.
    pub changed: u32,
    /// Rows that said what was known.
    pub unchanged: u32,
    /// Rows refused: below what is held, above the limit of units or items, or naming an item again.
    pub refused: u32,
    /// Indices of the refused rows, from 0, in order. Empty in the repeated answer to an import that was followed by
    /// [`limits::IMPORTS_KEPT_MAX`] others that had refused rows.
    pub refused_rows: Vec<u16>,
}

/// A reservation as a command left it. Small and without text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReservationAnswer {
    /// Which reservation.
    pub reservation: ReservationNo,
    /// Its state.
    pub state: ReservationState,
    /// When it expires, while held; when it ended, after that.
    pub at: Timestamp,
    /// What it draws on, by item. Once it has ended, as it was then.
    pub parts: Vec<ReservedPart>,
}
