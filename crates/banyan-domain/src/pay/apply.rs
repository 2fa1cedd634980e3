//! What each event changes. Every change is checked against the invariants before it is made, in release builds too: a
//! store that would make money out of nothing must stop instead.

use super::account::{Account, id_digest};
use super::event::{Event, Leg, OpenedAccount};
use super::stage::{Changes, Moved, Stage};
use super::state::Ledger;
use super::{Hold, Refundable, Refusal};
use crate::limits;
use crate::state::Violation;
use crate::{Timestamp, TransferNo};

type Result<T = ()> = core::result::Result<T, Violation>;

fn ensure(holds: bool, what: &'static str) -> Result {
    if holds { Ok(()) } else { Err(Violation::new(what)) }
}

impl Ledger {
    /// Applies one event that happened `at` the time of its block, at log position `_seq`, which the ledger does not need.
    ///
    /// # Errors
    /// A [`Violation`] if the event breaks an invariant; the state is unchanged then.
    pub fn apply(&mut self, at: Timestamp, _seq: u64, event: &Event) -> Result {
        let mut stage = Stage::new(self, at);
        let opened: &[OpenedAccount] = match event {
            Event::Transferred { first, legs, opened, .. } => {
                ensure(*first == self.next, "transfer numbers must follow each other")?;
                let length = 1..=limits::TRANSFERS_PER_GROUP_MAX;
                ensure(length.contains(&legs.len()), "a group of transfers is empty or too long")?;
                ensure(
                    opened.len() <= 2 * legs.len(),
                    "more accounts were opened than transfers could name",
                )?;
                check_opened(&mut stage, opened)?;
                legs.iter().try_for_each(|leg| check_leg(&mut stage, at, leg))?;
                opened
            }
            Event::AccountOpened { account, .. } => {
                let opened = core::slice::from_ref(account);
                check_opened(&mut stage, opened)?;
                opened
            }
            Event::HoldExpired { pending } => {
                let hold = *self.hold(*pending).ok_or(Violation::new("a hold expired that is not there"))?;
                ensure(hold.until <= at, "a hold expired before its deadline")?;
                stage.end(*pending, &hold).map_err(violation)?;
                &[]
            }
        };
        let changes = stage.finish();
        // At most one refundable transfer a number is remembered: forgetting keeps pace, and is never long work.
        let forget_max = 2 * (changes.next.get() - self.next.get()).max(1);
        self.commit(&changes, opened);
        self.forget(at, forget_max);
        Ok(())
    }

    /// Takes over rows that were checked. Nothing can fail from here on.
    fn commit(&mut self, changes: &Changes, opened: &[OpenedAccount]) {
        for account in opened {
            self.put_new_account(account);
        }
        for &(no, account) in changes.accounts.iter() {
            let old = self.accounts.get_mut(no).expect("it was copied from there, or just opened");
            self.digest.sub(old.digest(no));
            self.digest.add(account.digest(no));
            let totals = self.totals.entry(account.currency).or_default();
            totals.sub(old);
            totals.add(&account);
            *old = account;
        }
        for &(no, hold) in changes.holds.iter() {
            self.put_hold(no, hold);
        }
        for &row in changes.refundables.iter() {
            if row.no < self.next { self.change_refundable(row) } else { self.put_refundable(row) }
        }
        self.next = changes.next;
    }

    /// Puts an account without any transfer in its place.
    pub(super) fn put_new_account(&mut self, opened: &OpenedAccount) {
        let OpenedAccount { no, id, currency, rule } = opened;
        let account = Account::new(*currency, *rule);
        let given = self.accounts.push(id, account);
        debug_assert_eq!(given, *no, "checked before");
        self.digest.add(id_digest(*no, id.as_str()));
        self.digest.add(account.digest(*no));
        self.totals.entry(*currency).or_default();
    }

    fn put_hold(&mut self, no: TransferNo, hold: Option<Hold>) {
        let old = match hold {
            Some(hold) => {
                self.digest.add(hold.digest(no));
                self.holds.insert(no, hold)
            }
            None => self.holds.remove(&no),
        };
        if let Some(old) = old {
            self.digest.sub(old.digest(no));
        }
        // The deadline of a hold never changes.
        match (old, hold) {
            (None, Some(new)) => _ = self.deadlines.insert((new.until, no)),
            (Some(old), None) => _ = self.deadlines.remove(&(old.until, no)),
            _ => {}
        }
    }

    /// Puts back a changed row.
    fn change_refundable(&mut self, row: Refundable) {
        let old = self.refundables.find_mut(row.no).expect("it was copied from there");
        self.digest.sub(old.digest());
        self.digest.add(row.digest());
        *old = row;
    }

    fn put_refundable(&mut self, row: Refundable) {
        self.digest.add(row.digest());
        self.refundables.push_back(row);
    }

    /// Forgets the oldest refundable transfers that are over at `now`, at most `count_max`.
    fn forget(&mut self, now: Timestamp, count_max: u64) {
        for _ in 0..count_max {
            let Some(oldest) = self.refundables.front().filter(|oldest| oldest.is_over(now)) else { return };
            self.digest.sub(oldest.digest());
            self.refundables.pop_front();
        }
    }
}

/// Opens accounts beside the ledger, if they can be.
fn check_opened(stage: &mut Stage<'_>, opened: &[OpenedAccount]) -> Result {
    for (i, account) in opened.iter().enumerate() {
        let OpenedAccount { no, id, currency, rule } = account;
        let given = stage.ledger().accounts.find(id.as_str()).is_some()
            || opened[..i].iter().any(|earlier| earlier.id == *id);
        ensure(!given, "an account id was given twice")?;
        let next = stage.open(*currency, *rule).map_err(violation)?;
        ensure(next == *no, "account numbers must follow each other")?;
    }
    Ok(())
}

/// Makes a stored transfer beside the ledger, if it can be made.
fn check_leg(stage: &mut Stage<'_>, at: Timestamp, leg: &Leg) -> Result {
    let same = |made: Moved, stored: Moved| {
        ensure(made == stored, "a capture or a refund moves another amount, or between other accounts")
    };
    match *leg {
        Leg::Posted { debit, credit, amount, refundable } => {
            stage.post(Moved { debit, credit, amount }, refundable).map_err(violation)
        }
        Leg::Held { debit, credit, amount, until } => {
            // At the very end of time a hold is over the moment it begins.
            ensure(until >= at, "a hold was over before it began")?;
            ensure(until > Timestamp::default(), "a hold was over before it began")?;
            stage.hold(Moved { debit, credit, amount }, until).map_err(violation)
        }
        Leg::Captured { pending, debit, credit, amount, last } => {
            let made = stage.capture(pending, amount, last).map_err(violation)?;
            same(made, Moved { debit, credit, amount })
        }
        Leg::Voided { pending } => stage.void(pending).map_err(violation),
        Leg::Refunded { of, debit, credit, amount } => {
            let made = stage.refund(of, amount).map_err(violation)?;
            same(made, Moved { debit, credit, amount })
        }
        Leg::Reversed { of, debit, credit, amount } => {
            let made = stage.reverse(of).map_err(violation)?;
            same(made, Moved { debit, credit, amount })
        }
    }
}

/// What a refusal means for an event that has happened.
const fn violation(refusal: Refusal) -> Violation {
    Violation::new(match refusal {
        Refusal::AccountNotFound => "a transfer names an account that is not there",
        Refusal::AccountExists => "an account was opened that exists and is defined otherwise",
        Refusal::TooManyAccounts => "more accounts were opened than a ledger can have",
        Refusal::CurrencyMismatch => "a transfer was made between two currencies",
        Refusal::SameAccount => "a transfer was made within one account",
        Refusal::AmountNotPositive => "a transfer has an amount of zero or below",
        Refusal::TransferNotFound => "an event names a transfer that was not made",
        Refusal::TransferNotPending => "a capture or a void names a transfer that is not on hold",
        Refusal::CaptureExceeds => "more was captured than was left of a hold",
        Refusal::NotRefundable => "a transfer was refunded that cannot be",
        Refusal::RefundExceeds => "more was refunded than was left of a transfer",
        Refusal::BalanceOverflow => "a transfer makes a balance too large a number",
        Refusal::InsufficientFunds => "a transfer breaks the rule of an account",
    })
}
