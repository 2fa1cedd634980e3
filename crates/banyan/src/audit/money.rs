//! The auditor's page for the ledger: every account's balances, every hold, and what was given back of what.

use super::{Findings, Kind};
use banyan_domain::pay::{Event, Leg, OpenedAccount, Rule};
use banyan_domain::{AccountNo, Currency};
use std::collections::BTreeMap;

/// Everything about money.
#[derive(Default)]
pub(crate) struct Money {
    accounts: BTreeMap<u32, Account>,
    transfers: BTreeMap<u64, Transfer>,
}

struct Account {
    currency: Currency,
    rule: Rule,
    debits: i128,
    credits: i128,
    debits_held: i128,
    credits_held: i128,
}

/// A transfer that something may follow.
pub(crate) struct Transfer {
    debit: u32,
    credit: u32,
    /// What was posted; of a hold, what was captured.
    pub(crate) posted: i128,
    /// What was given back of it.
    pub(crate) refunded: i128,
    /// What a hold still sets aside, and until when.
    held: Option<(i128, u64)>,
}

impl Money {
    /// Follows one event at `time`, in milliseconds.
    pub(crate) fn follow(&mut self, seq: u64, time: u64, event: &Event, findings: &mut Findings) {
        match event {
            Event::AccountOpened { account, .. } => self.open(seq, account, findings),
            Event::Transferred { first, legs, opened, .. } => {
                opened.iter().for_each(|account| self.open(seq, account, findings));
                for (no, leg) in (first.get()..).zip(legs) {
                    if let Err(what) = self.leg(no, time, leg) {
                        findings.add(seq, Kind::Ledger, format!("t-{no}: {what}"));
                    }
                }
            }
            Event::HoldExpired { pending } => {
                let no = pending.get();
                match self.held(no) {
                    Ok((_, until)) if until > time => {
                        findings.add(seq, Kind::Hold, format!("t-{no} expired before its deadline"));
                    }
                    Ok((left, _)) => self.free(no, left),
                    Err(what) => findings.add(seq, Kind::Ledger, format!("t-{no}: {what}")),
                }
            }
        }
    }

    /// A transfer that was made.
    pub(crate) fn transfer(&self, no: u64) -> Option<&Transfer> {
        self.transfers.get(&no)
    }

    /// Adds the books up, and looks for holds past their deadline at `time`.
    pub(crate) fn close(&self, seq: u64, time: u64, may_be_late: bool, findings: &mut Findings) {
        let mut sums: BTreeMap<Currency, [i128; 4]> = BTreeMap::new();
        for account in self.accounts.values() {
            let sum = sums.entry(account.currency).or_default();
            let own = [account.debits, account.credits, account.debits_held, account.credits_held];
            sum.iter_mut().zip(own).for_each(|(sum, own)| *sum += own);
        }
        for (currency, [debits, credits, debits_held, credits_held]) in sums {
            if debits != credits || debits_held != credits_held {
                let what = format!(
                    "{currency:?}: {debits} debited, {credits} credited; {debits_held} and {credits_held} on hold"
                );
                findings.add(seq, Kind::Ledger, what);
            }
        }
        for (no, transfer) in &self.transfers {
            if let Some((left, until)) = transfer.held.filter(|(_, until)| *until <= time)
                && !may_be_late
            {
                let what = format!("t-{no} holds {left} until {until} ms, and it is {time} ms");
                findings.add(seq, Kind::Hold, what);
            }
        }
    }

    fn open(&mut self, seq: u64, opened: &OpenedAccount, findings: &mut Findings) {
        let (currency, rule) = (opened.currency, opened.rule);
        let account = Account { currency, rule, debits: 0, credits: 0, debits_held: 0, credits_held: 0 };
        if self.accounts.insert(opened.no.get(), account).is_some() {
            findings.add(seq, Kind::Ledger, format!("{} was opened twice", opened.id));
        }
    }

    fn leg(&mut self, no: u64, time: u64, leg: &Leg) -> Result<(), String> {
        match leg {
            Leg::Posted { debit, credit, amount, .. } => {
                self.post(*debit, *credit, *amount)?;
                self.keep(no, *debit, *credit, *amount, None);
            }
            Leg::Held { debit, credit, amount, until } => {
                let until = until.as_millis();
                self.keep(no, *debit, *credit, 0, Some((i128::from(*amount), until)));
                self.set_aside(debit.get(), credit.get(), i128::from(*amount));
                ensure(until > time, || format!("a hold at {time} ms lasts until {until} ms"))?;
                self.check(*debit)?;
                self.check(*credit)?;
            }
            Leg::Captured { pending, debit, credit, amount, last } => {
                let (left, until) = self.held(pending.get())?;
                let taken = i128::from(*amount);
                ensure(taken <= left, || format!("{taken} captured of {left}"))?;
                ensure(until > time, || "captured past the deadline".into())?;
                self.free(pending.get(), if *last { left } else { taken });
                if let Some(hold) = self.transfers.get_mut(&pending.get()) {
                    hold.posted += taken;
                }
                self.post(*debit, *credit, *amount)?;
                self.keep(no, *debit, *credit, *amount, None);
            }
            Leg::Voided { pending } => {
                let (left, _) = self.held(pending.get())?;
                self.free(pending.get(), left);
            }
            Leg::Refunded { of, debit, credit, amount } | Leg::Reversed { of, debit, credit, amount } => {
                self.post(*debit, *credit, *amount)?;
                let of = self.transfers.get_mut(&of.get()).ok_or("a refund of nothing")?;
                of.refunded += i128::from(*amount);
                ensure(of.refunded <= of.posted, || format!("{} refunded of {}", of.refunded, of.posted))?;
                let reversed = (of.debit, of.credit) == (credit.get(), debit.get());
                ensure(reversed, || "it goes to another account than it came from".into())?;
            }
        }
        Ok(())
    }

    fn keep(&mut self, no: u64, debit: AccountNo, credit: AccountNo, posted: i64, held: Option<(i128, u64)>) {
        let (debit, credit, posted) = (debit.get(), credit.get(), i128::from(posted));
        self.transfers.insert(no, Transfer { debit, credit, posted, refunded: 0, held });
    }

    fn post(&mut self, debit: AccountNo, credit: AccountNo, amount: i64) -> Result<(), String> {
        let amount = i128::from(amount);
        ensure(amount > 0, || format!("an amount of {amount}"))?;
        self.account(debit.get())?.debits += amount;
        self.account(credit.get())?.credits += amount;
        self.check(debit)?;
        self.check(credit)
    }

    fn held(&self, no: u64) -> Result<(i128, u64), String> {
        let held = self.transfers.get(&no).and_then(|transfer| transfer.held);
        held.ok_or_else(|| format!("nothing is on hold as t-{no}"))
    }

    /// Gives `amount` of a hold up; the hold is over once nothing is left.
    fn free(&mut self, no: u64, amount: i128) {
        let Some(transfer) = self.transfers.get_mut(&no) else { return };
        let Some((left, until)) = transfer.held else { return };
        transfer.held = (left > amount).then_some((left - amount, until));
        let (debit, credit) = (transfer.debit, transfer.credit);
        self.set_aside(debit, credit, -amount);
    }

    fn set_aside(&mut self, debit: u32, credit: u32, amount: i128) {
        if let Some(account) = self.accounts.get_mut(&debit) {
            account.debits_held += amount;
        }
        if let Some(account) = self.accounts.get_mut(&credit) {
            account.credits_held += amount;
        }
    }

    fn account(&mut self, no: u32) -> Result<&mut Account, String> {
        self.accounts.get_mut(&no).ok_or_else(|| format!("account {no} was never opened"))
    }

    fn check(&mut self, no: AccountNo) -> Result<(), String> {
        let account = self.account(no.get())?;
        let (debits, credits) =
            (account.debits + account.debits_held, account.credits + account.credits_held);
        let holds = match account.rule {
            Rule::Free => true,
            Rule::DebitsWithinCredits => debits <= account.credits,
            Rule::CreditsWithinDebits => credits <= account.debits,
        };
        ensure(holds, || format!("account {no:?} is overdrawn: {debits} debits, {credits} credits"))
    }
}

fn ensure(holds: bool, what: impl FnOnce() -> String) -> Result<(), String> {
    if holds { Ok(()) } else { Err(what()) }
}
