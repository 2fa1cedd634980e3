//! The words for what moves, where it stands, and how far a move is.

use minicbor::{Decode, Encode};

/// A capability that can be taken over from an old shop.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Encode, Decode)]
#[cbor(index_only)]
pub enum Capability {
    /// Goods and their reservations.
    #[n(0)]
    Stock = 0,
}

/// Who leads a capability, and who follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Encode, Decode)]
#[cbor(index_only)]
pub enum Phase {
    /// The old shop has it; nothing is known of it here.
    #[n(0)]
    Legacy = 0,
    /// The old shop leads; what it commits is copied here.
    #[n(1)]
    Mirror = 1,
    /// Banyan leads; the old tables follow.
    #[n(2)]
    Lead = 2,
    /// Banyan has it; the old tables are not kept any more.
    #[n(3)]
    Retired = 3,
}

/// A point on the way of a move, in the log so that it can be looked at and gone on with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Encode, Decode)]
#[cbor(index_only)]
pub enum MoveStep {
    /// What must be so was looked at, and is so. From here on a move back to the old shop lets nothing more be reserved.
    #[n(0)]
    Checked = 0,
    /// What the old database needs for it is there.
    #[n(1)]
    Prepared = 1,
    /// All mapped rows were read once.
    #[n(2)]
    Copied = 2,
    /// Both sides were compared and are equal.
    #[n(3)]
    Compared = 3,
    /// No reservation is open any more on what goes back.
    #[n(4)]
    Drained = 4,
    /// The old tables have everything that was decided here.
    #[n(5)]
    Flushed = 5,
    /// The old database was told who leads; its stream will say from when.
    #[n(6)]
    Switched = 6,
    /// What is not needed any more in the old database was taken away.
    #[n(7)]
    Cleared = 7,
}

impl Capability {
    /// Every capability there is.
    pub const ALL: [Self; 1] = [Self::Stock];

    /// In one lower-case word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Stock => "stock",
        }
    }

    /// From its word.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|capability| capability.as_str() == word)
    }
}

impl Phase {
    /// In their order.
    pub const ALL: [Self; 4] = [Self::Legacy, Self::Mirror, Self::Lead, Self::Retired];

    /// In one lower-case word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Legacy => "legacy",
            Self::Mirror => "mirror",
            Self::Lead => "lead",
            Self::Retired => "retired",
        }
    }

    /// From its word.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|phase| phase.as_str() == word)
    }

    /// Whether Banyan decides in this phase.
    #[must_use]
    pub const fn leads(self) -> bool {
        matches!(self, Self::Lead | Self::Retired)
    }

    /// Whether one step leads from here to `to`, forward or back.
    #[must_use]
    pub const fn is_next_to(self, to: Self) -> bool {
        (self as u8).abs_diff(to as u8) == 1
    }

    /// Whether between these two another side leads, so that the old database must be told within its own order.
    #[must_use]
    pub const fn switches(self, to: Self) -> bool {
        self.leads() != to.leads()
    }
}

impl MoveStep {
    /// In one lower-case word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Checked => "checked",
            Self::Prepared => "prepared",
            Self::Copied => "copied",
            Self::Compared => "compared",
            Self::Drained => "drained",
            Self::Flushed => "flushed",
            Self::Switched => "switched",
            Self::Cleared => "cleared",
        }
    }
}
