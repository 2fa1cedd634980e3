//! The lead taken back in the old database by hand: noticing it, and giving up deciding at once.
//!
//! Noticed in the stream, in a copy, by the sync out, by the driver of a move, and by the keeper now and then. All of them ask
//! the same of the rules, which know whether a move of ours is behind it.

use crate::database::{Book, OldDatabase};
use crate::desk::{Desk, DeskError};
use crate::values::STOCK;
use banyan_domain::legacy::{CapabilityState, Command, Takeover};

/// Whether the row takes the lead away, as it seems: whether a move of ours asked for that is for the rules to say.
pub(crate) fn seems(state: &CapabilityState, book: Option<Book>) -> Option<Book> {
    book.filter(|book| state.phase.leads() && !book.phase.leads())
}

/// Notes that the lead is gone, unless it went by a move of ours, and gives the state after that. `before` is the state as it was
/// looked at before the row was read.
pub(crate) async fn note(
    desk: &Desk,
    before: &CapabilityState,
    book: Book,
) -> Result<CapabilityState, DeskError> {
    let (number, phase, epoch) = (book.move_no, book.phase, before.epoch);
    desk.ask(Command::NoteTakeover { capability: STOCK, number, phase, epoch }).await?;
    let state = desk.look(|state| state.legacy().capability(STOCK)).await?;
    if let (None, Some(takeover)) = (&before.taken_over, &state.taken_over) {
        tracing::error!("{}", sentence(takeover));
    }
    Ok(state)
}

/// Looks at the row, in case that nothing else notices.
pub(crate) async fn look(desk: &Desk, database: &dyn OldDatabase) -> Result<(), DeskError> {
    let before = desk.look(|state| state.legacy().capability(STOCK)).await?;
    if !before.phase.leads() {
        return Ok(());
    }
    // A database that cannot be asked is told of elsewhere.
    let book = database.book().await.unwrap_or(None);
    if let Some(book) = seems(&before, book) {
        note(desk, &before, book).await?;
    }
    Ok(())
}

/// What an operator is told.
pub(crate) fn sentence(takeover: &Takeover) -> String {
    let at = jiff::Timestamp::from_millisecond(takeover.at.as_millis() as i64).unwrap_or_default();
    format!(
        "the lead was taken back in the old database by hand, seen at {at}: banyan_sync says {} under move {}, which no move of \
         ours wrote. Banyan decides nothing about the old shop's items, and follows their old values. Find out who did it; then \
         move on from here: to lead again, or to legacy",
        takeover.phase.as_str(),
        takeover.number
    )
}

/// What follows from reservations that are open since before that: `open` of them draw on items of the old shop.
pub(crate) fn with_open(sentence: &str, open: usize) -> String {
    match open {
        0 => sentence.to_owned(),
        open => format!(
            "{sentence}. Reservations open since before that: {open}. Until they end, their items differ in the comparison by \
             what they hold"
        ),
    }
}
