//! A business no. Not an error: the answer to a well-formed question.

use core::fmt;

/// Why a stock command was refused. Checks run in the order in which the refusals stand here, so that a caller always
/// sees the same reason for the same situation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Refusal {
    /// No SKU has this id.
    SkuNotFound,
    /// The SKU is not at this location.
    LocationNotFound,
    /// The member would have more units of a SKU than one member may have.
    PurchaseLimit,
    /// Lines ask for more than there is.
    OutOfStock {
        /// A bit for each line that falls short, the first line lowest.
        lines: u128,
    },
    /// No reservation has this number, or it ended long ago.
    ReservationNotFound,
    /// The reservation was given up.
    ReservationReleased,
    /// The reservation was committed.
    ReservationCommitted,
    /// The reservation's deadline has passed.
    ReservationExpired,
    /// Fewer units would be on hand than are held.
    StockBelowHeld,
    /// The shard has had as many items, SKUs or locations as it can number.
    TooManySkus,
    /// More would come back than was committed and has not come back yet.
    ReturnTooMuch,
    /// More units would be on hand, or could be promised, than are counted.
    StockAboveLimit,
    /// As many reservations are in memory as memory is set aside for; try again when the oldest are forgotten.
    TooManyReservations,
}

impl Refusal {
    /// Every refusal, in the order of the checks.
    pub const ALL: [Self; 13] = [
        Self::SkuNotFound,
        Self::LocationNotFound,
        Self::PurchaseLimit,
        Self::OutOfStock { lines: 0 },
        Self::ReservationNotFound,
        Self::ReservationReleased,
        Self::ReservationCommitted,
        Self::ReservationExpired,
        Self::StockBelowHeld,
        Self::TooManySkus,
        Self::ReturnTooMuch,
        Self::StockAboveLimit,
        Self::TooManyReservations,
    ];

    /// Its place in [`Self::ALL`].
    #[must_use]
    pub const fn index(self) -> usize {
        match self {
            Self::SkuNotFound => 0,
            Self::LocationNotFound => 1,
            Self::PurchaseLimit => 2,
            Self::OutOfStock { .. } => 3,
            Self::ReservationNotFound => 4,
            Self::ReservationReleased => 5,
            Self::ReservationCommitted => 6,
            Self::ReservationExpired => 7,
            Self::StockBelowHeld => 8,
            Self::TooManySkus => 9,
            Self::ReturnTooMuch => 10,
            Self::StockAboveLimit => 11,
            Self::TooManyReservations => 12,
        }
    }

    /// The stable name that the API, the metrics and the documents use.
    #[must_use]
    pub const fn slug(self) -> &'static str {
        match self {
            Self::SkuNotFound => "sku-not-found",
            Self::LocationNotFound => "location-not-found",
            Self::PurchaseLimit => "purchase-limit",
            Self::OutOfStock { .. } => "out-of-stock",
            Self::ReservationNotFound => "reservation-not-found",
            Self::ReservationReleased => "reservation-released",
            Self::ReservationCommitted => "reservation-committed",
            Self::ReservationExpired => "reservation-expired",
            Self::StockBelowHeld => "stock-below-held",
            Self::TooManySkus => "too-many-skus",
            Self::ReturnTooMuch => "return-too-much",
            Self::StockAboveLimit => "stock-above-limit",
            Self::TooManyReservations => "too-many-reservations",
        }
    }

    /// Whether the same command may succeed later without anybody changing it.
    #[must_use]
    pub const fn may_pass_later(self) -> bool {
        matches!(self, Self::OutOfStock { .. } | Self::TooManyReservations)
    }

    /// One sentence for a person.
    #[must_use]
    pub const fn sentence(self) -> &'static str {
        match self {
            Self::SkuNotFound => "No SKU has this id.",
            Self::LocationNotFound => "The SKU is not kept at this location.",
            Self::PurchaseLimit => {
                "The member would have more units of a SKU than one member may reserve and buy."
            }
            Self::OutOfStock { .. } => "There is not enough stock for every line, so nothing was reserved.",
            Self::ReservationNotFound => {
                "No reservation has this number, or it ended more than 28 hours ago."
            }
            Self::ReservationReleased => "The reservation was released.",
            Self::ReservationCommitted => "The reservation was committed.",
            Self::ReservationExpired => "The reservation has expired.",
            Self::StockBelowHeld => "Fewer units would be on hand than are held for reservations.",
            Self::TooManySkus => "This store has had as many SKUs or locations as it can number.",
            Self::ReturnTooMuch => {
                "More units would come back than were committed and have not come back yet."
            }
            Self::StockAboveLimit => {
                "At most 4,000,000,000 units can be on hand of an item, and 1,000,000 promised beyond them."
            }
            Self::TooManyReservations => "No more reservations can be remembered for now. Retry later.",
        }
    }

    /// The indices of the lines that fall short, if that is why.
    pub fn short_lines(self) -> impl Iterator<Item = usize> {
        let lines = if let Self::OutOfStock { lines } = self { lines } else { 0 };
        (0..u128::BITS as usize).filter(move |index| lines >> index & 1 == 1)
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.slug())
    }
}
