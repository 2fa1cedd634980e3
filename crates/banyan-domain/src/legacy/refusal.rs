//! Every business no on the way over.

use core::fmt;

/// Why a command was refused, in the order in which it is checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Refusal {
    /// The old shop leads what was to be changed.
    NotLeading,
    /// A move is under way, and it is not the one that is asked for: it goes elsewhere, or without less.
    MoveUnderWay,
    /// No such move is under way.
    NoSuchMove,
    /// The phase is not one step away.
    PhaseNotNext,
    /// The move hands leadership over, or was told to the old database already: only the stream can end it.
    MoveNotOurs,
    /// The stream is not the one that is followed: the rows must be copied anew.
    SourceUnknown,
    /// A part of a transaction is missing before this one.
    SourceGap,
    /// An item that is promised beyond the stock cannot be led by an old shop.
    MirrorConflict,
    /// There is no room for more items, or a number is larger than can be counted.
    MirrorTooLarge,
}

impl Refusal {
    /// Every refusal.
    pub const ALL: [Self; 9] = [
        Self::NotLeading,
        Self::MoveUnderWay,
        Self::NoSuchMove,
        Self::PhaseNotNext,
        Self::MoveNotOurs,
        Self::SourceUnknown,
        Self::SourceGap,
        Self::MirrorConflict,
        Self::MirrorTooLarge,
    ];

    /// The stable name that the API, the metrics and the documents use.
    #[must_use]
    pub const fn slug(self) -> &'static str {
        match self {
            Self::NotLeading => "not-leading",
            Self::MoveUnderWay => "move-under-way",
            Self::NoSuchMove => "no-such-move",
            Self::PhaseNotNext => "phase-not-next",
            Self::MoveNotOurs => "move-not-ours",
            Self::SourceUnknown => "source-unknown",
            Self::SourceGap => "source-gap",
            Self::MirrorConflict => "mirror-conflict",
            Self::MirrorTooLarge => "mirror-too-large",
        }
    }

    /// One sentence for a person.
    #[must_use]
    pub const fn sentence(self) -> &'static str {
        match self {
            Self::NotLeading => {
                "The old shop leads this stock now. Ask it, or try again once the move is done."
            }
            Self::MoveUnderWay => {
                "Another move of this capability is under way: to another phase, or to this one and past fewer gates. Wait for its end, or \
                 abort it."
            }
            Self::NoSuchMove => "No such move is under way. Look at the capability's phase again.",
            Self::PhaseNotNext => {
                "Phases are taken one step a time: legacy, mirror, lead, retired, and back. Move to the next one first."
            }
            Self::MoveNotOurs => {
                "Who leads is changed by the old database's own stream: it ends when that arrives here."
            }
            Self::SourceUnknown => {
                "This is not the stream that is followed here. The rows must be copied anew before it can be."
            }
            Self::SourceGap => {
                "A part of a source transaction is missing before this one. Send it from its first part."
            }
            Self::MirrorConflict => {
                "An item with backorders or preorders cannot be led by an old shop. Serve or end these first."
            }
            Self::MirrorTooLarge => "There are more items, or more units of one, than can be counted here.",
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.slug())
    }
}
