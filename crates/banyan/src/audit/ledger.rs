//! The auditor's own double-entry book.

use super::{Findings, Followed, Kind, ensure};
use banyan_domain::pay::{Event, Leg, OpenedAccount, Rule};
use banyan_domain::{AccountNo, Currency, TransferNo};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};

/// How long a transfer can be given back, milliseconds.
const REFUND_MILLIS_MAX: u64 = 190 * 24 * 3_600 * 1_000;

/// What was counted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct LedgerSummary {
    pub accounts: usize,
    pub transfers: u64,
    pub holds: usize,
    pub currencies: Vec<CurrencySums>,
}

/// The sums over all accounts of a currency, minor units.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct CurrencySums {
    pub currency: String,
    pub debits_posted: i128,
    pub credits_posted: i128,
    pub debits_pending: i128,
    pub credits_pending: i128,
}

/// Accounts, holds, and what may be given back.
#[derive(Default)]
pub(crate) struct LedgerBook {
    accounts: Vec<Account>,
    ids: BTreeSet<Box<str>>,
    transfers: u64,
    holds: BTreeMap<u64, Hold>,
    /// By number, and so by time.
    refundable: BTreeMap<u64, Refundable>,
    /// By hold, what was captured of it.
    captured: BTreeMap<u64, i64>,
}

/// An account, minor units.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Account {
    currency: Currency,
    rule: Rule,
    pub debits_posted: i128,
    pub credits_posted: i128,
    pub debits_pending: i128,
    pub credits_pending: i128,
}

struct Hold {
    debit: AccountNo,
    credit: AccountNo,
    left: i64,
    until: u64,
}

struct Refundable {
    debit: AccountNo,
    credit: AccountNo,
    amount: i64,
    refunded: i64,
    at: u64,
}

impl Account {
    fn keeps_rule(&self) -> bool {
        match self.rule {
            Rule::Free => true,
            Rule::DebitsWithinCredits => self.debits_posted + self.debits_pending <= self.credits_posted,
            Rule::CreditsWithinDebits => self.credits_posted + self.credits_pending <= self.debits_posted,
        }
    }
}

impl LedgerBook {
    /// Follows one event at `time`.
    pub(crate) fn follow(&mut self, time: u64, event: &Event) -> Followed {
        while self
            .refundable
            .first_key_value()
            .is_some_and(|(_, row)| time.saturating_sub(row.at) >= REFUND_MILLIS_MAX)
        {
            self.refundable.pop_first();
        }
        match event {
            Event::AccountOpened { account, .. } => self.open(account),
            Event::Transferred { first, legs, opened, .. } => {
                let mut followed = ensure(first.get() == self.transfers + 1, Kind::Ledger, || {
                    format!("{first} follows t-{}", self.transfers)
                });
                for account in opened {
                    followed = followed.and(self.open(account));
                }
                for leg in legs {
                    self.transfers += 1;
                    let no = self.transfers;
                    let made = self.leg(time, no, leg);
                    followed = followed.and(made.map_err(|what| (Kind::Ledger, format!("t-{no}: {what}"))));
                }
                followed
            }
            Event::HoldExpired { pending } => {
                let wrong = |what: &str| (Kind::Ledger, format!("{pending} expired: {what}"));
                let hold = self.holds.remove(&pending.get()).ok_or_else(|| wrong("it was not on hold"))?;
                self.pend(hold.debit, hold.credit, -hold.left).map_err(|what| wrong(&what))?;
                ensure(hold.until <= time, Kind::Ledger, || format!("{pending} expired before its deadline"))
            }
        }
    }

    /// Whether something is left of a hold.
    pub(crate) fn is_held(&self, no: u64) -> bool {
        self.holds.contains_key(&no)
    }

    /// The amount of a transfer that can be given back, and how much of it was.
    pub(crate) fn given_back(&self, no: u64) -> Option<(i64, i64)> {
        self.refundable.get(&no).map(|row| (row.amount, row.refunded))
    }

    /// What was captured of a hold.
    pub(crate) fn captured(&self, no: u64) -> i64 {
        self.captured.get(&no).copied().unwrap_or(0)
    }

    /// The account numbered `no`.
    pub(crate) fn account(&self, no: u32) -> Option<&Account> {
        self.accounts.get((no as usize).checked_sub(1)?)
    }

    /// What was counted.
    pub(crate) fn summary(&self) -> LedgerSummary {
        let mut sums: BTreeMap<Currency, CurrencySums> = BTreeMap::new();
        for account in &self.accounts {
            let sum = sums.entry(account.currency).or_insert_with(|| CurrencySums {
                currency: account.currency.as_str().to_owned(),
                debits_posted: 0,
                credits_posted: 0,
                debits_pending: 0,
                credits_pending: 0,
            });
            sum.debits_posted += account.debits_posted;
            sum.credits_posted += account.credits_posted;
            sum.debits_pending += account.debits_pending;
            sum.credits_pending += account.credits_pending;
        }
        LedgerSummary {
            accounts: self.accounts.len(),
            transfers: self.transfers,
            holds: self.holds.len(),
            currencies: sums.into_values().collect(),
        }
    }

    /// Checks what only the whole log shows: balances, sums, and holds past their deadline.
    pub(crate) fn close(&self, findings: &mut Findings, (seq, time): (u64, u64), may_be_late: bool) {
        for sum in self.summary().currencies {
            let CurrencySums { currency, debits_posted, credits_posted, debits_pending, credits_pending } =
                sum;
            if debits_posted != credits_posted || debits_pending != credits_pending {
                let what = format!(
                    "{currency}: debits {debits_posted}, credits {credits_posted}; on hold {debits_pending} and {credits_pending}"
                );
                findings.add(seq, Kind::Ledger, what);
            }
        }
        let mut pending: BTreeMap<u32, (i128, i128)> = BTreeMap::new();
        for (no, hold) in &self.holds {
            pending.entry(hold.debit.get()).or_default().0 += i128::from(hold.left);
            pending.entry(hold.credit.get()).or_default().1 += i128::from(hold.left);
            if hold.until <= time && !may_be_late {
                let what = format!("t-{no} is on hold until {} ms, and it is {time} ms", hold.until);
                findings.add(seq, Kind::Ledger, what);
            }
        }
        for (no, account) in (1..).zip(&self.accounts) {
            let counted = pending.get(&no).copied().unwrap_or_default();
            if counted != (account.debits_pending, account.credits_pending) || !account.keeps_rule() {
                findings.add(seq, Kind::Ledger, format!("account {no} ends with {account:?}"));
            }
        }
    }

    fn open(&mut self, account: &OpenedAccount) -> Followed {
        self.accounts.push(Account {
            currency: account.currency,
            rule: account.rule,
            debits_posted: 0,
            credits_posted: 0,
            debits_pending: 0,
            credits_pending: 0,
        });
        let new = self.ids.insert(account.id.as_str().into());
        let right = account.no.get() as usize == self.accounts.len();
        ensure(new && right, Kind::Ledger, || {
            format!(
                "account {} ({}) was opened as the {}.",
                account.no.get(),
                account.id,
                self.accounts.len()
            )
        })
    }

    fn leg(&mut self, time: u64, no: u64, leg: &Leg) -> Result<(), String> {
        match *leg {
            Leg::Posted { debit, credit, amount, refundable } => {
                self.post(debit, credit, amount)?;
                if refundable {
                    self.remember(time, no, debit, credit, amount);
                }
                self.check_rules(debit, credit)
            }
            Leg::Held { debit, credit, amount, until } => {
                self.pend(debit, credit, amount)?;
                let until = until.as_millis();
                self.holds.insert(no, Hold { debit, credit, left: amount, until });
                must(until >= time, || format!("it was on hold until {until} ms at {time} ms"))?;
                must(amount > 0, || "nothing was set aside".into())?;
                self.check_rules(debit, credit)
            }
            Leg::Captured { pending, debit, credit, amount, last } => {
                let (owners, left, until) = self.hold(pending)?;
                self.pend(owners.0, owners.1, -if last { left } else { amount })?;
                self.post(debit, credit, amount)?;
                self.remember(time, no, debit, credit, amount);
                *self.captured.entry(pending.get()).or_default() += amount;
                match self.holds.get_mut(&pending.get()).filter(|_| !last && amount < left) {
                    Some(hold) => hold.left -= amount,
                    None => _ = self.holds.remove(&pending.get()),
                }
                must(amount <= left, || {
                    format!("{amount} was captured of {pending}, of which {left} was left")
                })?;
                must(owners == (debit, credit), || format!("{pending} was captured between other accounts"))?;
                must(until > time, || format!("{pending} was captured after its deadline"))?;
                self.check_rules(debit, credit)
            }
            Leg::Voided { pending } => {
                let ((debit, credit), left, until) = self.hold(pending)?;
                self.pend(debit, credit, -left)?;
                self.holds.remove(&pending.get());
                must(until > time, || format!("{pending} was voided after its deadline"))
            }
            Leg::Refunded { of, debit, credit, amount } => self.give_back(of, debit, credit, amount, false),
            Leg::Reversed { of, debit, credit, amount } => self.give_back(of, debit, credit, amount, true),
        }
    }

    fn give_back(
        &mut self,
        of: TransferNo,
        debit: AccountNo,
        credit: AccountNo,
        amount: i64,
        whole: bool,
    ) -> Result<(), String> {
        self.post(debit, credit, amount)?;
        let row = self.refundable.get_mut(&of.get());
        let row = row.ok_or_else(|| format!("{of} was given back, and could not be"))?;
        let before = row.refunded;
        row.refunded += amount;
        let (refunded, most) = (row.refunded, row.amount);
        let owners = (row.credit, row.debit) == (debit, credit);
        must(refunded <= most, || format!("{refunded} was given back of {of}, which had {most}"))?;
        must(owners, || format!("{of} was given back between other accounts"))?;
        must(!whole || (before == 0 && amount == most), || format!("{of} was reversed in part"))?;
        self.check_rules(debit, credit)
    }

    fn post(&mut self, debit: AccountNo, credit: AccountNo, amount: i64) -> Result<(), String> {
        self.check_pair(debit, credit)?;
        self.account_mut(debit)?.debits_posted += i128::from(amount);
        self.account_mut(credit)?.credits_posted += i128::from(amount);
        must(amount > 0, || format!("the amount is {amount}"))
    }

    fn pend(&mut self, debit: AccountNo, credit: AccountNo, amount: i64) -> Result<(), String> {
        self.check_pair(debit, credit)?;
        self.account_mut(debit)?.debits_pending += i128::from(amount);
        self.account_mut(credit)?.credits_pending += i128::from(amount);
        Ok(())
    }

    fn check_pair(&self, debit: AccountNo, credit: AccountNo) -> Result<(), String> {
        let currency = |no: AccountNo| self.account(no.get()).map(|account| account.currency);
        let (from, to) = (currency(debit), currency(credit));
        let fit = from.is_some() && from == to && debit != credit;
        must(fit, || format!("it is from account {} to account {}", debit.get(), credit.get()))
    }

    fn check_rules(&self, debit: AccountNo, credit: AccountNo) -> Result<(), String> {
        for no in [debit, credit] {
            let account = self.account(no.get()).ok_or("an account is not there")?;
            must(account.keeps_rule(), || format!("account {} breaks its rule: {account:?}", no.get()))?;
        }
        Ok(())
    }

    fn account_mut(&mut self, no: AccountNo) -> Result<&mut Account, String> {
        let place = (no.get() as usize).checked_sub(1);
        let found = place.and_then(|place| self.accounts.get_mut(place));
        found.ok_or_else(|| format!("account {} is not there", no.get()))
    }

    /// The accounts of a hold, what is left of it, and its deadline.
    fn hold(&self, no: TransferNo) -> Result<((AccountNo, AccountNo), i64, u64), String> {
        let hold = self.holds.get(&no.get()).ok_or_else(|| format!("{no} is not on hold"))?;
        Ok(((hold.debit, hold.credit), hold.left, hold.until))
    }

    fn remember(&mut self, at: u64, no: u64, debit: AccountNo, credit: AccountNo, amount: i64) {
        self.refundable.insert(no, Refundable { debit, credit, amount, refunded: 0, at });
    }
}

fn must(holds: bool, what: impl FnOnce() -> String) -> Result<(), String> {
    if holds { Ok(()) } else { Err(what()) }
}
