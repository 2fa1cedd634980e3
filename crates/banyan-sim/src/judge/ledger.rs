//! What may be answered to a command about the ledger.

use crate::model::ledger::Ledger;
use banyan_domain::pay::{Command, Event, Outcome, Refusal as No};

/// The answer to a command that has nothing left to do.
pub(super) fn natural(books: &Ledger, command: &Command) -> Option<Outcome> {
    let Command::OpenAccount { id, currency, rule, .. } = command else { return None };
    let (no, found) = books.account(id)?;
    ((found.currency, found.rule) == (*currency, *rule)).then_some(Outcome::Account { no })
}

/// Whether `no` is true of `command` at `now`.
pub(super) fn justified(books: &Ledger, now: u64, command: &Command, no: No) -> bool {
    match command {
        Command::OpenAccount { id, currency, rule, .. } => {
            let other = |found: (_, _)| found != (*currency, *rule);
            let other = books.account(id).is_some_and(|(_, found)| other((found.currency, found.rule)));
            no == No::AccountExists && other
        }
        Command::Transfer { transfers, .. } => books.judge(now, transfers.as_slice()) == Err(no),
    }
}

/// Whether `event` is something that `command` may come to.
pub(super) fn fits(books: &Ledger, command: &Command, event: &Event, now: u64) -> bool {
    match (command, event) {
        (Command::OpenAccount { id, currency, rule, .. }, Event::AccountOpened { account, .. }) => {
            *id == account.id && (*currency, *rule) == (account.currency, account.rule)
        }
        (
            Command::Transfer { transfers, reference, .. },
            Event::Transferred { legs, reference: of, opened, .. },
        ) => {
            // Accounts are opened before the first leg, in the order in which they are named.
            let mut books = books.clone();
            let known = books.accounts.len();
            let asked = transfers.as_slice().iter().map(|transfer| books.asked(now, transfer));
            let same = asked.collect::<Result<Vec<_>, _>>().is_ok_and(|asked| asked == *legs);
            same && reference == of && books.accounts.len() - known == opened.len()
        }
        _ => false,
    }
}
