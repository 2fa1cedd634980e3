//! What a command comes to. Pure: the caller supplies the time and stores the events.

use super::Refusal;
use super::account::Rule;
use super::command::{Command, NewTransfer, Outcome, Side, Transfers};
use super::event::{Event, Leg, OpenedAccount};
use super::remembered::Remembered;
use super::stage::{Moved, Stage};
use super::state::Ledger;
use crate::limits;
use crate::{AccountId, AccountNo, Actor, Currency, Decided, Millis, Reference, Timestamp};

/// What a command comes to, if it is not refused.
pub type Decision = Decided<Event, Outcome, Remembered>;

impl Ledger {
    /// Decides one command at `now`. Checks run in the order of [`Refusal`], transfer by transfer.
    ///
    /// # Errors
    /// A [`Refusal`]: a business no.
    pub fn decide(&self, now: Timestamp, command: Command) -> Result<Decision, Refusal> {
        match command {
            Command::Transfer { transfers, reference, by } => self.transfer(now, transfers, reference, by),
            Command::OpenAccount { id, currency, rule, by } => self.open(now, id, currency, rule, by),
        }
    }

    /// What is due at `now`, as events; at most `events_max`, and the rest at the next call once these are applied.
    #[must_use]
    pub fn due(&self, now: Timestamp, events_max: usize) -> Vec<Event> {
        let due = self.deadlines.iter().take_while(|(at, _)| *at <= now).take(events_max);
        due.map(|(_, pending)| Event::HoldExpired { pending: *pending }).collect()
    }

    fn open(
        &self,
        now: Timestamp,
        id: AccountId,
        currency: Currency,
        rule: Rule,
        by: Actor,
    ) -> Result<Decision, Refusal> {
        if let Some((no, account)) = self.account(&id) {
            return if account.is_defined(currency, rule) {
                Ok(Decision::AsItIs(Outcome::Account { no }, Remembered::Account(no)))
            } else {
                Err(Refusal::AccountExists)
            };
        }
        let no = Stage::new(self, now).next_account()?;
        let account = OpenedAccount { no, id, currency, rule };
        Ok(Decision::One(Event::AccountOpened { account, by }))
    }

    fn transfer(
        &self,
        now: Timestamp,
        transfers: Transfers,
        reference: Reference,
        by: Actor,
    ) -> Result<Decision, Refusal> {
        let transfers = transfers.into_vec();
        let mut legs = Vec::with_capacity(transfers.len());
        let mut group = Group { stage: Stage::new(self, now), opened: Vec::new() };
        for transfer in transfers {
            legs.push(group.leg(now, transfer)?);
        }
        Ok(Decision::One(Event::Transferred { first: self.next, legs, reference, by, opened: group.opened }))
    }
}

/// A group of transfers on the way.
struct Group<'a> {
    stage: Stage<'a>,
    opened: Vec<OpenedAccount>,
}

impl Group<'_> {
    fn leg(&mut self, now: Timestamp, transfer: NewTransfer) -> Result<Leg, Refusal> {
        Ok(match transfer {
            NewTransfer::Post { debit, credit, amount, refundable } => {
                let (debit, credit) = self.resolve_both(debit, credit)?;
                self.stage.post(Moved { debit, credit, amount }, refundable)?;
                Leg::Posted { debit, credit, amount, refundable }
            }
            NewTransfer::Hold { debit, credit, amount, hold_for } => {
                let (debit, credit) = self.resolve_both(debit, credit)?;
                let span = hold_for.get().clamp(1, limits::TRANSFER_HOLD_MILLIS_MAX);
                let until = now.plus(Millis::new(span));
                self.stage.hold(Moved { debit, credit, amount }, until)?;
                Leg::Held { debit, credit, amount, until }
            }
            NewTransfer::Capture { pending, amount, last } => {
                let Moved { debit, credit, amount } = self.stage.capture(pending, amount, last)?;
                Leg::Captured { pending, debit, credit, amount, last }
            }
            NewTransfer::Void { pending } => {
                self.stage.void(pending)?;
                Leg::Voided { pending }
            }
            NewTransfer::Refund { of, amount } => {
                let Moved { debit, credit, amount } = self.stage.refund(of, amount)?;
                Leg::Refunded { of, debit, credit, amount }
            }
            NewTransfer::Reverse { of } => {
                let Moved { debit, credit, amount } = self.stage.reverse(of)?;
                Leg::Reversed { of, debit, credit, amount }
            }
        })
    }

    fn resolve_both(&mut self, debit: Side, credit: Side) -> Result<(AccountNo, AccountNo), Refusal> {
        let accounts = &self.stage.ledger().accounts;
        let hashes = (accounts.hash(debit.account.as_str()), accounts.hash(credit.account.as_str()));
        let from = accounts.find_hashed(hashes.0, debit.account.as_str());
        let to = accounts.find_hashed(hashes.1, credit.account.as_str());
        Ok((self.resolve(debit, from)?, self.resolve(credit, to)?))
    }

    /// The account's number, which is `known` if the ledger has it; opens it if it is missing and may be.
    fn resolve(&mut self, side: Side, known: Option<AccountNo>) -> Result<AccountNo, Refusal> {
        let Side { account: id, open_if_missing } = side;
        let opened = || self.opened.iter().find(|opened| opened.id == id).map(|opened| opened.no);
        match (known.or_else(opened), open_if_missing) {
            (Some(no), None) => Ok(no),
            (Some(no), Some((currency, rule))) if self.stage.account(no)?.is_defined(currency, rule) => {
                Ok(no)
            }
            (Some(_), Some(_)) => Err(Refusal::AccountExists),
            (None, None) => Err(Refusal::AccountNotFound),
            (None, Some((currency, rule))) => {
                let no = self.stage.open(currency, rule)?;
                self.opened.push(OpenedAccount { no, id, currency, rule });
                Ok(no)
            }
        }
    }
}
