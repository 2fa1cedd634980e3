//! A business no.

use core::fmt;

/// Why a command about sagas was refused. Checks run in the order in which the refusals stand here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Refusal {
    /// No saga of this name is defined.
    SagaNotDefined,
    /// This version is defined otherwise, or is not the next one.
    SagaVersion,
    /// As many versions were defined as can be numbered.
    TooManySagas,
    /// A definition breaks a rule.
    SagaInvalid,
    /// The input has too many or too long fields.
    SagaInputTooLarge,
    /// The key was used for another input.
    SagaKeyReused,
    /// No saga has this number, or it ended long ago.
    SagaNotFound,
    /// The saga has reached its pivot, is on its way back, or is over.
    SagaTooLate,
    /// The saga is not parked.
    SagaNotParked,
    /// The saga is parked, and not as it was when it was looked at.
    SagaChanged,
    /// The saga cannot be forced back: it is on its way back already.
    SagaCannotUndo,
}

impl Refusal {
    /// Every refusal, in the order of the checks.
    pub const ALL: [Self; 11] = [
        Self::SagaNotDefined,
        Self::SagaVersion,
        Self::TooManySagas,
        Self::SagaInvalid,
        Self::SagaInputTooLarge,
        Self::SagaKeyReused,
        Self::SagaNotFound,
        Self::SagaTooLate,
        Self::SagaNotParked,
        Self::SagaChanged,
        Self::SagaCannotUndo,
    ];

    /// The stable name that the API, the metrics and the documents use.
    #[must_use]
    pub const fn slug(self) -> &'static str {
        match self {
            Self::SagaNotDefined => "saga-not-defined",
            Self::SagaVersion => "saga-version",
            Self::TooManySagas => "too-many-sagas",
            Self::SagaInvalid => "saga-invalid",
            Self::SagaInputTooLarge => "saga-input-too-large",
            Self::SagaKeyReused => "saga-key-reused",
            Self::SagaNotFound => "saga-not-found",
            Self::SagaTooLate => "saga-too-late",
            Self::SagaNotParked => "saga-not-parked",
            Self::SagaChanged => "saga-changed",
            Self::SagaCannotUndo => "saga-cannot-undo",
        }
    }

    /// Whether the same command may succeed later without anybody changing it.
    #[must_use]
    pub const fn may_pass_later(self) -> bool {
        false
    }

    /// One sentence for a person.
    #[must_use]
    pub const fn sentence(self) -> &'static str {
        match self {
            Self::SagaNotDefined => "No saga of this name is defined.",
            Self::SagaVersion => "This version is defined otherwise, or is not one above the newest.",
            Self::TooManySagas => "This store has had as many versions of sagas as it can number.",
            Self::SagaInvalid => "The definition breaks a rule; `banyan saga lint` names it.",
            Self::SagaInputTooLarge => {
                "The input has more than 32 fields, or a field longer than 1,024 bytes."
            }
            Self::SagaKeyReused => "A saga of this name was begun for this key with another input.",
            Self::SagaNotFound => "No saga has this number, or it ended long ago.",
            Self::SagaTooLate => {
                "The saga has reached its point of no return, is on its way back, or is over."
            }
            Self::SagaNotParked => "The saga is not parked.",
            Self::SagaChanged => {
                "Something happened to the saga since it was looked at: look again, and decide about what is so now."
            }
            Self::SagaCannotUndo => "The saga is on its way back already.",
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.slug())
    }
}
