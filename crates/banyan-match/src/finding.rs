//! What the match finds, in words that stay the same.

use crate::books::What;
use serde::Serialize;
use std::collections::BTreeMap;

/// What two of the three sides disagree about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// The company took money; no saga and no booking knows of it.
    MissingHere,
    /// The company took money again for what it was already paid.
    DuplicateThere,
    /// The company took money for a saga that was given up.
    GivenUpHere,
    /// The company sent money back; no saga and no booking knows of it.
    RefundedThereOnly,
    /// The company and the saga have it, the books do not.
    NotBooked,
    /// Booked, or done as a saga says, and not in the statement.
    MissingThere,
    /// Booked twice, in the statement once.
    BookedTwice,
    /// The amounts, or the currencies, are not the same.
    AmountDiffers,
    /// The saga is parked, and nobody knows whether the company did what it was asked.
    Stuck,
    /// The statement has the same movement on two lines.
    ListedTwice,
    /// On its way: asked and not answered, or so near the edge of the statement that it may stand in the next one.
    Late,
}

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Level {
    /// Somebody has to see to it.
    Repair,
    /// It settles by itself; look again in the next match.
    Wait,
}

/// A disagreement.
#[derive(Clone, Debug, Serialize)]
pub struct Finding {
    /// What.
    pub kind: Kind,
    /// How bad.
    pub level: Level,
    /// Whether it is about a capture or a refund.
    pub what: What,
    /// The order, as far as one is known.
    pub order: Option<String>,
    /// The payment at the company.
    pub payment: Option<String>,
    /// The saga, if one knows of it.
    pub saga: Option<SagaRef>,
    /// The transfer in the books.
    pub transfer: Option<String>,
    /// The movement at the company.
    pub movement: Option<String>,
    /// Its line in the statement.
    pub line: Option<usize>,
    /// What the company says, in minor units; null if it says nothing.
    pub there: Option<i64>,
    /// What we say, in minor units; null if we say nothing.
    pub here: Option<i64>,
    /// What is at stake, in minor units of the currency.
    pub amount: i64,
    /// Its currency.
    pub currency: String,
    /// Since when.
    pub since: String,
    /// Seconds from then to the log position of the match.
    pub age_seconds: u64,
    /// What it means.
    pub sentence: String,
    /// What to do about it.
    pub repair: Repair,
}

/// A saga, as a finding names it.
#[derive(Clone, Debug, Serialize)]
pub struct SagaRef {
    /// Its number.
    pub saga: u64,
    /// Its name.
    pub name: String,
    /// What it is about.
    pub key: String,
    /// Where it stands.
    pub state: &'static str,
    /// The step at which it is parked, or that asked the company.
    pub step: Option<String>,
}

/// What to do about a finding. Never an edit of the books: at most a saga to begin.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Repair {
    /// The saga to begin, by name; null if there is none to begin.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub saga: Option<String>,
    /// The file with its definition.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub definition: Option<String>,
    /// Its key: the same finding gives the same, so that a repair is never made twice.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// Its input.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub input: BTreeMap<String, String>,
    /// The one command that does it; null if nothing is to be done here.
    pub command: Option<String>,
    /// What to know before.
    pub advice: String,
}

impl Kind {
    /// Every kind, the worst first.
    pub const ALL: [Self; 11] = [
        Self::MissingHere,
        Self::DuplicateThere,
        Self::GivenUpHere,
        Self::RefundedThereOnly,
        Self::NotBooked,
        Self::MissingThere,
        Self::BookedTwice,
        Self::AmountDiffers,
        Self::Stuck,
        Self::ListedTwice,
        Self::Late,
    ];

    /// The kind in one stable word.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::MissingHere => "missing-here",
            Self::DuplicateThere => "duplicate-there",
            Self::GivenUpHere => "given-up-here",
            Self::RefundedThereOnly => "refunded-there-only",
            Self::NotBooked => "not-booked",
            Self::MissingThere => "missing-there",
            Self::BookedTwice => "booked-twice",
            Self::AmountDiffers => "amount-differs",
            Self::Stuck => "stuck",
            Self::ListedTwice => "listed-twice",
            Self::Late => "late",
        }
    }

    /// The kind in words for a person.
    #[must_use]
    pub const fn title(self) -> &'static str {
        match self {
            Self::MissingHere => "Taken at the company, unknown here",
            Self::DuplicateThere => "Done twice at the company",
            Self::GivenUpHere => "Taken at the company, given up here",
            Self::RefundedThereOnly => "Refunded at the company only",
            Self::NotBooked => "Done, and not booked",
            Self::MissingThere => "Ours, and not in the statement",
            Self::BookedTwice => "Booked twice",
            Self::AmountDiffers => "Amounts differ",
            Self::Stuck => "Nobody knows, and the saga is parked",
            Self::ListedTwice => "Twice in the statement",
            Self::Late => "On its way",
        }
    }

    /// How bad it is.
    #[must_use]
    pub const fn level(self) -> Level {
        match self {
            Self::Late => Level::Wait,
            _ => Level::Repair,
        }
    }
}

impl What {
    /// In a word.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Capture => "capture",
            Self::Refund => "refund",
        }
    }
}
