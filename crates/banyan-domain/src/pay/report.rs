//! The reading side: what each account has, and that the books are balanced. Works on a replay at any log position.

use super::account::{Account, Rule};
use super::state::{Ledger, Totals};
use crate::{AccountId, AccountNo, Currency};
use std::collections::BTreeMap;

/// What one account has, in minor units of its currency.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Statement<'a> {
    /// Its number.
    pub no: AccountNo,
    /// Its id.
    pub id: &'a str,
    /// Its currency.
    pub currency: Currency,
    /// Which balances it may have.
    pub rule: Rule,
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
    /// How much more its rule allows; see [`Account::available`].
    pub available: Option<i64>,
}

/// Every account, and the sums of each currency, added up from the accounts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrialBalance<'a> {
    /// The sums, in order of the currencies.
    pub currencies: Vec<(Currency, Totals)>,
    /// The accounts, in order of opening.
    pub accounts: Vec<Statement<'a>>,
}

impl Ledger {
    /// What the account `id` has.
    #[must_use]
    pub fn statement(&self, id: &AccountId) -> Option<Statement<'_>> {
        let (no, account) = self.account(id)?;
        Some(Statement::new(no, self.account_id(no)?, account))
    }

    /// What every account has, in order of opening.
    pub fn statements(&self) -> impl Iterator<Item = Statement<'_>> {
        self.accounts.iter().map(|(no, id, account)| Statement::new(no, id, account))
    }

    /// What the accounts opened after the one numbered `after` have, in order of opening; all of them after 0.
    pub fn statements_after(&self, after: u32) -> impl Iterator<Item = Statement<'_>> {
        (after.saturating_add(1)..).map_while(|no| {
            let no = AccountNo::new(no);
            Some(Statement::new(no, self.account_id(no)?, self.account_no(no)?))
        })
    }

    /// Every account, and the sums of each currency. Takes a moment with millions of accounts: for a reader beside the
    /// writer.
    #[must_use]
    pub fn trial_balance(&self) -> TrialBalance<'_> {
        TrialBalance {
            currencies: self.recount().into_iter().collect(),
            accounts: self.statements().collect(),
        }
    }

    /// The sums of each currency, added up from the accounts.
    pub(super) fn recount(&self) -> BTreeMap<Currency, Totals> {
        let mut sums = BTreeMap::<Currency, Totals>::new();
        for (_, _, account) in self.accounts.iter() {
            sums.entry(account.currency).or_default().add(account);
        }
        sums
    }
}

impl TrialBalance<'_> {
    /// Whether debits equal credits in every currency, posted and on hold.
    #[must_use]
    pub fn is_balanced(&self) -> bool {
        self.currencies.iter().all(|(_, totals)| totals.is_balanced())
    }
}

impl<'a> Statement<'a> {
    fn new(no: AccountNo, id: &'a str, account: &Account) -> Self {
        Self {
            no,
            id,
            currency: account.currency,
            rule: account.rule,
            debits_posted: account.debits_posted,
            credits_posted: account.credits_posted,
            debits_pending: account.debits_pending,
            credits_pending: account.credits_pending,
            balance: account.balance(),
            available: account.available(),
        }
    }
}
