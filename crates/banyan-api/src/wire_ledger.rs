//! The ledger as the wire writes it.

use crate::problem::Problem;
use banyan_domain::pay::{self, NewTransfer, Rule, Side, Statement, Totals};
use banyan_domain::{AccountId, Currency, Millis, TransferNo, limits};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// An account to open.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewAccountJson {
    /// Its id: 1 to 96 visible ASCII characters, never given again.
    #[schema(example = "points:member-1")]
    pub id: String,
    /// The currency of its balances: three capital letters.
    #[schema(example = "PTS")]
    pub currency: String,
    /// Which balances it may have.
    pub rule: RuleJson,
}

/// Which balances an account may have. Amounts on hold count against the rule, and never for it.
#[derive(Clone, Copy, Debug, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum RuleJson {
    /// Any.
    Free,
    /// What we owe somebody, and may not be overdrawn: points, store credit.
    DebitsWithinCredits,
    /// What we own.
    CreditsWithinDebits,
}

/// An account as a transfer names it: its id, or an account that is opened if it is missing.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(untagged)]
pub enum SideJson {
    /// Its id.
    Id(String),
    /// Opened if there is none of this id.
    Open(NewAccountJson),
}

/// One transfer. Amounts are in minor units.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum TransferJson {
    /// Takes from one account and gives to another, for good.
    Post {
        /// The account debited.
        debit: SideJson,
        /// The account credited.
        credit: SideJson,
        /// How much.
        amount: i64,
        /// Whether it may be refunded or reversed later.
        #[serde(default)]
        refundable: bool,
    },
    /// Sets an amount aside until it is captured, voided, or its time is over.
    Hold {
        /// The account to be debited.
        debit: SideJson,
        /// The account to be credited.
        credit: SideJson,
        /// How much at most.
        amount: i64,
        /// Seconds until it is given up; at most thirty days.
        hold_seconds: u64,
    },
    /// Posts some of what a hold set aside.
    Capture {
        /// The hold.
        of: String,
        /// How much.
        amount: i64,
        /// Whether nothing more will be captured, so that the rest is voided.
        #[serde(default)]
        last: bool,
    },
    /// Gives up what is left of a hold.
    Void {
        /// The hold.
        of: String,
    },
    /// Gives back some of a transfer.
    Refund {
        /// Which transfer.
        of: String,
        /// How much.
        amount: i64,
    },
    /// Gives back a transfer as a whole.
    Reverse {
        /// Which transfer.
        of: String,
    },
}

/// Transfers to make: all of them or none, in their order.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TransfersJson {
    /// What they are for, such as an order: 1 to 64 visible ASCII characters.
    #[schema(example = "order-1")]
    pub reference: String,
    /// 1 to 64 transfers.
    pub transfers: Vec<TransferJson>,
}

/// Transfers that were made.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct TransferredJson {
    /// Their names, in their order.
    #[schema(example = json!(["t-4", "t-5"]))]
    pub transfers: Vec<String>,
    /// The earliest end of the holds among them.
    pub expires_at: Option<String>,
    /// The log position of the answer.
    pub seq: u64,
}

/// An account and its balances, in minor units.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct AccountJson {
    /// Its id.
    pub id: String,
    /// Its number, as events name it.
    pub account: u32,
    /// The currency of every amount.
    pub currency: String,
    /// `free`, `debits-within-credits` or `credits-within-debits`.
    pub rule: &'static str,
    /// Taken from it, for good.
    pub debits_posted: i64,
    /// Given to it, for good.
    pub credits_posted: i64,
    /// Set aside to be taken.
    pub debits_pending: i64,
    /// Set aside to be given.
    pub credits_pending: i64,
    /// Posted credits less posted debits.
    pub balance: i64,
    /// How much more its rule allows; null without a rule.
    pub available: Option<i64>,
}

/// An account as of a log position.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct AccountAnswerJson {
    /// The account.
    #[serde(flatten)]
    pub account: AccountJson,
    /// Log position as of which these numbers hold.
    pub seq: u64,
}

/// The sums over all accounts of a currency, in minor units.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct TotalsJson {
    /// The currency.
    pub currency: String,
    /// Posted debits.
    #[schema(value_type = i64)]
    pub debits_posted: i128,
    /// Posted credits.
    #[schema(value_type = i64)]
    pub credits_posted: i128,
    /// Debits on hold.
    #[schema(value_type = i64)]
    pub debits_pending: i128,
    /// Credits on hold.
    #[schema(value_type = i64)]
    pub credits_pending: i128,
    /// Whether debits equal credits, posted and on hold.
    pub balanced: bool,
}

/// The sums of each currency, and a page of the accounts.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct TrialBalanceJson {
    /// Whether debits equal credits in every currency.
    pub balanced: bool,
    /// The sums over every account, in order of the currencies.
    pub currencies: Vec<TotalsJson>,
    /// Accounts in order of opening.
    pub accounts: Vec<AccountJson>,
    /// Pass it as `after` for the next accounts; null at the end.
    pub next: Option<u32>,
    /// Log position as of which all of it holds.
    pub seq: u64,
}

impl From<RuleJson> for Rule {
    fn from(rule: RuleJson) -> Self {
        match rule {
            RuleJson::Free => Self::Free,
            RuleJson::DebitsWithinCredits => Self::DebitsWithinCredits,
            RuleJson::CreditsWithinDebits => Self::CreditsWithinDebits,
        }
    }
}

impl NewAccountJson {
    /// The account's id, currency and rule.
    ///
    /// # Errors
    /// A 400 [`Problem`] naming what is wrong.
    pub fn check(self) -> Result<(AccountId, Currency, Rule), Problem> {
        let currency =
            Currency::new(&self.currency).map_err(|error| Problem::invalid(format!("currency: {error}.")))?;
        Ok((account(self.id)?, currency, self.rule.into()))
    }
}

impl TransferJson {
    /// The transfer.
    ///
    /// # Errors
    /// A 400 [`Problem`] naming what is wrong.
    pub fn check(self) -> Result<NewTransfer, Problem> {
        Ok(match self {
            Self::Post { debit, credit, amount, refundable } => {
                NewTransfer::Post { debit: side(debit)?, credit: side(credit)?, amount, refundable }
            }
            Self::Hold { debit, credit, amount, hold_seconds } => {
                if hold_seconds == 0 || hold_seconds > limits::TRANSFER_HOLD_MILLIS_MAX / 1_000 {
                    return Err(Problem::invalid("hold_seconds: must be 1 to 2592000 (thirty days)."));
                }
                let hold_for = Millis::from_seconds(hold_seconds);
                NewTransfer::Hold { debit: side(debit)?, credit: side(credit)?, amount, hold_for }
            }
            Self::Capture { of, amount, last } => {
                NewTransfer::Capture { pending: transfer_no(&of)?, amount, last }
            }
            Self::Void { of } => NewTransfer::Void { pending: transfer_no(&of)? },
            Self::Refund { of, amount } => NewTransfer::Refund { of: transfer_no(&of)?, amount },
            Self::Reverse { of } => NewTransfer::Reverse { of: transfer_no(&of)? },
        })
    }
}

impl From<Statement<'_>> for AccountJson {
    fn from(statement: Statement<'_>) -> Self {
        Self {
            id: statement.id.to_owned(),
            account: statement.no.get(),
            currency: statement.currency.to_string(),
            rule: statement.rule.as_str(),
            debits_posted: statement.debits_posted,
            credits_posted: statement.credits_posted,
            debits_pending: statement.debits_pending,
            credits_pending: statement.credits_pending,
            balance: statement.balance,
            available: statement.available,
        }
    }
}

impl TotalsJson {
    /// The sums of `currency`.
    #[must_use]
    pub fn new(currency: Currency, totals: &Totals) -> Self {
        Self {
            currency: currency.to_string(),
            debits_posted: totals.debits_posted,
            credits_posted: totals.credits_posted,
            debits_pending: totals.debits_pending,
            credits_pending: totals.credits_pending,
            balanced: totals.is_balanced(),
        }
    }
}

/// An account's id.
pub(crate) fn account(id: String) -> Result<AccountId, Problem> {
    AccountId::new(id).map_err(|error| Problem::invalid(format!("{error}.")))
}

fn side(side: SideJson) -> Result<Side, Problem> {
    Ok(match side {
        SideJson::Id(id) => account(id)?.into(),
        SideJson::Open(new) => {
            let (account, currency, rule) = new.check()?;
            Side { account, open_if_missing: Some((currency, rule)) }
        }
    })
}

/// A name that is not one names no transfer.
fn transfer_no(name: &str) -> Result<TransferNo, Problem> {
    TransferNo::parse(name).map_err(|_| banyan_domain::Refusal::Pay(pay::Refusal::TransferNotFound).into())
}
