//! A business no. Not an error: the answer to a well-formed question.

use core::fmt;

/// Why a ledger command was refused. Checks run in the order in which the refusals stand here, transfer by transfer (the
/// debited account before the credited one), so that a caller always sees the same reason for the same situation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Refusal {
    /// No account has this id.
    AccountNotFound,
    /// An account with this id exists and is defined otherwise.
    AccountExists,
    /// The shard has as many accounts as it can have.
    TooManyAccounts,
    /// The accounts have different currencies.
    CurrencyMismatch,
    /// The account is debited and credited at once.
    SameAccount,
    /// The amount is zero or below.
    AmountNotPositive,
    /// No transfer has this number.
    TransferNotFound,
    /// The transfer is not on hold: it was never, or is captured, voided or expired.
    TransferNotPending,
    /// More would be captured than is left of the hold.
    CaptureExceeds,
    /// The transfer cannot be refunded: it was not posted to be, or too long ago.
    NotRefundable,
    /// More would be refunded than is left of the transfer.
    RefundExceeds,
    /// A balance would be too large a number.
    BalanceOverflow,
    /// The rule of an account does not allow it.
    InsufficientFunds,
}

impl Refusal {
    /// Every refusal, in the order of the checks.
    pub const ALL: [Self; 13] = [
        Self::AccountNotFound,
        Self::AccountExists,
        Self::TooManyAccounts,
        Self::CurrencyMismatch,
        Self::SameAccount,
        Self::AmountNotPositive,
        Self::TransferNotFound,
        Self::TransferNotPending,
        Self::CaptureExceeds,
        Self::NotRefundable,
        Self::RefundExceeds,
        Self::BalanceOverflow,
        Self::InsufficientFunds,
    ];

    /// The stable name that the API, the metrics and the documents use.
    #[must_use]
    pub const fn slug(self) -> &'static str {
        match self {
            Self::AccountNotFound => "account-not-found",
            Self::AccountExists => "account-exists",
            Self::TooManyAccounts => "too-many-accounts",
            Self::CurrencyMismatch => "currency-mismatch",
            Self::SameAccount => "same-account",
            Self::AmountNotPositive => "amount-not-positive",
            Self::TransferNotFound => "transfer-not-found",
            Self::TransferNotPending => "transfer-not-pending",
            Self::CaptureExceeds => "capture-exceeds",
            Self::NotRefundable => "not-refundable",
            Self::RefundExceeds => "refund-exceeds",
            Self::BalanceOverflow => "balance-overflow",
            Self::InsufficientFunds => "insufficient-funds",
        }
    }

    /// Whether the same command may succeed later without anybody changing it.
    #[must_use]
    pub const fn may_pass_later(self) -> bool {
        // Another hold of the account may lapse, or somebody may pay in.
        matches!(self, Self::InsufficientFunds)
    }

    /// One sentence for a person.
    #[must_use]
    pub const fn sentence(self) -> &'static str {
        match self {
            Self::AccountNotFound => "No account has this id.",
            Self::AccountExists => "An account with this id exists and has another currency or another rule.",
            Self::TooManyAccounts => "This store has as many accounts as it can have.",
            Self::CurrencyMismatch => "The two accounts have different currencies.",
            Self::SameAccount => "A transfer needs two different accounts.",
            Self::AmountNotPositive => "The amount must be above zero.",
            Self::TransferNotFound => "No transfer has this number.",
            Self::TransferNotPending => {
                "The transfer is not on hold: it was posted, captured, voided, or its hold is over."
            }
            Self::CaptureExceeds => "More would be captured than is left of the hold.",
            Self::NotRefundable => {
                "The transfer cannot be refunded: it was not posted to be, or is too long ago."
            }
            Self::RefundExceeds => "More would be refunded than is left of the transfer.",
            Self::BalanceOverflow => "The account's balance would become too large a number.",
            Self::InsufficientFunds => "The account does not have enough for this.",
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.slug())
    }
}
