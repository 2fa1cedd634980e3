//! The auditor's own books: accounts in a list, every transfer there ever was in another.

use super::Objection;
use banyan_domain::pay::{Event, Leg, NewTransfer, OpenedAccount, Outcome, Refusal, Remembered, Rule, Side};
use banyan_domain::{AccountId, AccountNo, Currency, Timestamp, TransferNo, limits};
use std::collections::BTreeMap;

/// Everything that the log says of the ledger.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ledger {
    pub(crate) accounts: Vec<Account>,
    pub(crate) transfers: Vec<Transfer>,
}

#[derive(Clone, Debug)]
pub(crate) struct Account {
    pub(crate) id: AccountId,
    pub(crate) currency: Currency,
    pub(crate) rule: Rule,
    /// Debits and credits for good, then those on hold.
    pub(crate) sums: [i64; 4],
}

#[derive(Clone, Debug)]
pub(crate) struct Transfer {
    pub(crate) kind: Kind,
    pub(crate) debit: AccountNo,
    pub(crate) credit: AccountNo,
    pub(crate) amount: i64,
    pub(crate) at: u64,
    pub(crate) reference: String,
    pub(crate) seq: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// For good; how much went back, if any may.
    Posted { refunded: Option<i64> },
    /// On hold until; how much is left.
    Held { until: u64, left: i64 },
    /// The end of a hold.
    Voided,
    /// Money that went back.
    Back,
}

const POSTED: usize = 0;
const HELD: usize = 2;

type Judged<T = ()> = Result<T, Refusal>;

impl Account {
    /// How much more its rule allows.
    pub(crate) const fn available(&self) -> Option<i64> {
        let [debits, credits, debits_held, credits_held] = self.sums;
        match self.rule {
            Rule::Free => None,
            Rule::DebitsWithinCredits => Some(credits - debits - debits_held),
            Rule::CreditsWithinDebits => Some(debits - credits - credits_held),
        }
    }
}

impl Ledger {
    pub(crate) fn account(&self, id: &AccountId) -> Option<(AccountNo, &Account)> {
        let at = self.accounts.iter().position(|account| account.id == *id)?;
        Some((AccountNo::new(at as u32 + 1), &self.accounts[at]))
    }

    pub(crate) fn account_no(&self, no: AccountNo) -> Option<&Account> {
        self.accounts.get((no.get() as usize).checked_sub(1)?)
    }

    pub(crate) fn transfer(&self, no: TransferNo) -> Option<&Transfer> {
        self.transfers.get((no.get() as usize).checked_sub(1)?)
    }

    /// Whether `kept` is so.
    pub(crate) fn kept(&self, kept: &Remembered) -> Option<Outcome> {
        let Remembered::Account(no) = kept else { return None };
        self.account_no(*no).map(|_| Outcome::Account { no: *no })
    }

    /// Takes one event, which is number `seq`.
    pub(crate) fn apply(&mut self, now: u64, seq: u64, event: &Event) -> Result<Outcome, Objection> {
        let refused = |refusal: Refusal| format!("it should have been refused: {refusal}");
        let outcome = match event {
            Event::AccountOpened { account, .. } => {
                self.opened(account)?;
                Outcome::Account { no: account.no }
            }
            Event::HoldExpired { pending } => {
                let hold = self.transfer(*pending).ok_or("there is no such hold")?;
                let Kind::Held { until, left: 1.. } = hold.kind else {
                    return Err("it is not on hold".into());
                };
                object_unless!(until <= now, "the hold ends at {until}, now is {now}");
                self.unhold(*pending, i64::MAX);
                Outcome::Expired { pending: *pending }
            }
            Event::Transferred { first, legs, reference, opened, .. } => {
                let next = self.transfers.len() as u64 + 1;
                object_unless!(first.get() == next, "transfer {} follows {}", first.get(), next - 1);
                for account in opened {
                    self.opened(account)?;
                }
                let mut until_first = None;
                for leg in legs {
                    let made = self.leg(now, leg).map_err(refused)?;
                    let mut made = made.ok_or("it names other accounts than the transfer it is of")?;
                    made.reference = reference.as_str().to_owned();
                    made.seq = seq;
                    if let Kind::Held { until, .. } = made.kind {
                        until_first = Some(until_first.map_or(until, |first: u64| first.min(until)));
                    }
                    self.transfers.push(made);
                }
                let expires_at = until_first.map(Timestamp::from_millis);
                Outcome::Transferred { first: *first, count: legs.len() as u8, expires_at }
            }
        };
        Ok(outcome)
    }

    /// What the transfers asked for would be refused for, if anything.
    pub(crate) fn judge(&self, now: u64, transfers: &[NewTransfer]) -> Judged {
        let mut books = self.clone();
        for transfer in transfers {
            let leg = books.asked(now, transfer)?;
            let made = books.leg(now, &leg)?;
            books.transfers.extend(made);
        }
        Ok(())
    }

    /// The leg that a transfer asked for would become.
    pub(crate) fn asked(&mut self, now: u64, transfer: &NewTransfer) -> Judged<Leg> {
        Ok(match transfer {
            NewTransfer::Post { debit, credit, amount, refundable } => {
                let (debit, credit) = (self.side(debit)?, self.side(credit)?);
                Leg::Posted { debit, credit, amount: *amount, refundable: *refundable }
            }
            NewTransfer::Hold { debit, credit, amount, hold_for } => {
                let (debit, credit) = (self.side(debit)?, self.side(credit)?);
                let span = hold_for.get().clamp(1, limits::TRANSFER_HOLD_MILLIS_MAX);
                Leg::Held { debit, credit, amount: *amount, until: Timestamp::from_millis(now + span) }
            }
            NewTransfer::Capture { pending, amount, last } => {
                if *amount <= 0 {
                    return Err(Refusal::AmountNotPositive);
                }
                let hold = self.found(*pending)?;
                let (pending, amount, last) = (*pending, *amount, *last);
                Leg::Captured { pending, debit: hold.debit, credit: hold.credit, amount, last }
            }
            NewTransfer::Void { pending } => Leg::Voided { pending: *pending },
            NewTransfer::Refund { of, amount } => {
                if *amount <= 0 {
                    return Err(Refusal::AmountNotPositive);
                }
                let made = self.found(*of)?;
                Leg::Refunded { of: *of, debit: made.credit, credit: made.debit, amount: *amount }
            }
            NewTransfer::Reverse { of } => {
                let made = self.found(*of)?;
                Leg::Reversed { of: *of, debit: made.credit, credit: made.debit, amount: made.amount }
            }
        })
    }

    /// What must be so at the end of a block: what time brings has come by `now`, and debits equal credits.
    pub(crate) fn overdue(&self, now: u64) -> Result<(), Objection> {
        for (no, made) in (1..).zip(&self.transfers) {
            let over = matches!(made.kind, Kind::Held { until, left: 1.. } if until <= now);
            object_unless!(!over, "the hold {no} should have expired by {now}");
        }
        let mut sums = BTreeMap::<Currency, [i64; 4]>::new();
        for account in &self.accounts {
            let sum = sums.entry(account.currency).or_default();
            sum.iter_mut().zip(account.sums).for_each(|(sum, more)| *sum += more);
        }
        for (currency, [debits, credits, debits_held, credits_held]) in sums {
            let same = debits == credits && debits_held == credits_held;
            object_unless!(same, "{} is not balanced: {debits} and {credits}", currency.as_str());
        }
        Ok(())
    }

    /// How much is on hold.
    pub(crate) fn held(&self) -> i64 {
        self.accounts.iter().map(|account| account.sums[HELD]).sum()
    }

    fn opened(&mut self, opened: &OpenedAccount) -> Result<(), Objection> {
        object_unless!(opened.no.get() as usize == self.accounts.len() + 1, "the account is out of order");
        object_unless!(self.account(&opened.id).is_none(), "the account is open already");
        let (id, currency, rule) = (opened.id.clone(), opened.currency, opened.rule);
        self.accounts.push(Account { id, currency, rule, sums: [0; 4] });
        Ok(())
    }

    fn side(&mut self, side: &Side) -> Judged<AccountNo> {
        match (self.account(&side.account), side.open_if_missing) {
            (Some((no, _)), None) => Ok(no),
            (Some((no, known)), Some((currency, rule))) => {
                let same = (known.currency, known.rule) == (currency, rule);
                if same { Ok(no) } else { Err(Refusal::AccountExists) }
            }
            (None, None) => Err(Refusal::AccountNotFound),
            (None, Some((currency, rule))) => {
                self.accounts.push(Account { id: side.account.clone(), currency, rule, sums: [0; 4] });
                Ok(AccountNo::new(self.accounts.len() as u32))
            }
        }
    }

    fn found(&self, no: TransferNo) -> Judged<&Transfer> {
        self.transfer(no).ok_or(Refusal::TransferNotFound)
    }

    /// Makes one leg; none if it contradicts the transfer that it is of.
    fn leg(&mut self, now: u64, leg: &Leg) -> Judged<Option<Transfer>> {
        let new = |kind, debit, credit, amount| {
            Some(Transfer { kind, debit, credit, amount, at: now, reference: String::new(), seq: 0 })
        };
        Ok(match *leg {
            Leg::Posted { debit, credit, amount, refundable } => {
                self.moved(debit, credit, amount, POSTED)?;
                new(Kind::Posted { refunded: refundable.then_some(0) }, debit, credit, amount)
            }
            Leg::Held { debit, credit, amount, until } => {
                self.moved(debit, credit, amount, HELD)?;
                new(Kind::Held { until: until.as_millis(), left: amount }, debit, credit, amount)
            }
            Leg::Captured { pending, debit, credit, amount, last } => {
                let hold = self.found(pending)?;
                let left = match hold.kind {
                    Kind::Held { until, left: left @ 1.. } if until > now => left,
                    _ => return Err(Refusal::TransferNotPending),
                };
                let same = (hold.debit, hold.credit) == (debit, credit);
                if amount > left {
                    return Err(Refusal::CaptureExceeds);
                }
                self.unhold(pending, if last { i64::MAX } else { amount });
                self.add(debit, POSTED, amount);
                self.add(credit, POSTED + 1, amount);
                new(Kind::Posted { refunded: Some(0) }, debit, credit, amount).filter(|_| same)
            }
            Leg::Voided { pending } => {
                let hold = self.found(pending)?;
                let open = matches!(hold.kind, Kind::Held { until, left: 1.. } if until > now);
                let (debit, credit) = (hold.debit, hold.credit);
                if !open {
                    return Err(Refusal::TransferNotPending);
                }
                self.unhold(pending, i64::MAX);
                new(Kind::Voided, debit, credit, 0)
            }
            Leg::Refunded { of, debit, credit, amount } | Leg::Reversed { of, debit, credit, amount } => {
                let made = self.found(of)?;
                let whole = made.amount;
                let same = (made.credit, made.debit) == (debit, credit);
                let same = same && (!matches!(leg, Leg::Reversed { .. }) || amount == whole);
                let refunded = match made.kind {
                    Kind::Posted { refunded: Some(refunded) }
                        if now - made.at < limits::REFUND_HORIZON_MILLIS =>
                    {
                        refunded
                    }
                    _ => return Err(Refusal::NotRefundable),
                };
                if refunded + amount > whole {
                    return Err(Refusal::RefundExceeds);
                }
                self.moved(debit, credit, amount, POSTED)?;
                let refunded = Some(refunded + amount);
                self.transfers[of.get() as usize - 1].kind = Kind::Posted { refunded };
                new(Kind::Back, debit, credit, amount).filter(|_| same)
            }
        })
    }

    fn moved(&mut self, debit: AccountNo, credit: AccountNo, amount: i64, sums: usize) -> Judged {
        let known = |no| self.account_no(no).ok_or(Refusal::AccountNotFound);
        if known(debit)?.currency != known(credit)?.currency {
            return Err(Refusal::CurrencyMismatch);
        }
        if debit == credit {
            return Err(Refusal::SameAccount);
        }
        if amount <= 0 {
            return Err(Refusal::AmountNotPositive);
        }
        self.add(debit, sums, amount);
        self.add(credit, sums + 1, amount);
        let kept = [debit, credit].map(|no| self.account_no(no).and_then(Account::available));
        if kept.into_iter().flatten().any(|left| left < 0) {
            return Err(Refusal::InsufficientFunds);
        }
        Ok(())
    }

    fn add(&mut self, no: AccountNo, sum: usize, amount: i64) {
        self.accounts[no.get() as usize - 1].sums[sum] += amount;
    }

    /// Takes up to `amount` off a hold.
    fn unhold(&mut self, pending: TransferNo, amount: i64) {
        let hold = &mut self.transfers[pending.get() as usize - 1];
        let (debit, credit) = (hold.debit, hold.credit);
        let Kind::Held { left, .. } = &mut hold.kind else { return };
        let taken = amount.min(*left);
        *left -= taken;
        self.add(debit, HELD, -taken);
        self.add(credit, HELD + 1, -taken);
    }
}
