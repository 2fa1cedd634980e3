//! The old database, whatever kind it is: what Banyan asks of it.

use crate::stream::{ChangeStream, Row, SourceId};
use banyan_domain::legacy::Phase;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

/// A future behind a pointer, so that the traits can be used without knowing the kind of database.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// How grave a finding of the preflight is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum CheckLevel {
    /// As it should be.
    Ok,
    /// Works, with a weakness that the operator should know.
    Warn,
    /// Must be mended first.
    Stop,
}

/// One finding of the preflight.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// How grave it is.
    pub level: CheckLevel,
    /// What was looked at, such as `wal_level` or `public.partner_stockrecord.partner_sku`.
    pub subject: String,
    /// What was found.
    pub found: String,
    /// What to do. Empty where nothing is.
    pub fix: String,
}

/// The bookkeeping row of a capability in the old database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Book {
    /// Who leads.
    pub phase: Phase,
    /// Grows with each switch: who writes with an older one is fenced.
    pub epoch: u64,
    /// Everything up to this position of Banyan's log is in the old tables.
    pub seq: u64,
    /// The number of the last move.
    pub move_no: u64,
}

/// A switch of leadership that is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Switch {
    /// The move that it is for.
    pub move_no: u64,
    /// The phase that must be there: whoever wrote another one since it was read is not overridden.
    pub from: Phase,
    /// The phase to go to.
    pub to: Phase,
    /// The epoch that must be there; the switch makes it one greater.
    pub epoch: u64,
    /// The old tables must have at least this position of Banyan's log.
    pub seq_at_least: u64,
}

/// What came of a switch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Switched {
    /// Done, now or by an earlier attempt of the same move.
    Done(Book),
    /// The bookkeeping row is not as asked: nothing has changed.
    Refused(String),
}

/// What came of holding the door.
pub enum Hold {
    /// No order is in flight, and none begins until the door is gone.
    Held(Box<dyn Door>),
    /// An order in flight kept the lock for too long: nothing has changed, try again.
    LockBusy,
}

/// A door that is held: no order of the old shop is in flight. Dropping it lets them go on, and nothing has changed.
pub trait Door: Send {
    /// Everything that the old shop has committed is up to this position of its stream.
    fn position(&self) -> u64;

    /// Which server's door it is, as [`SourceId::system`] names it: positions of another one mean nothing here. Nothing where the
    /// door cannot tell.
    fn system(&self) -> Option<&str> {
        None
    }

    /// Hands leadership over and lets the door go. [`LegacyError::Broken`]: unknown, read the book.
    fn switch(self: Box<Self>, switch: Switch) -> BoxFuture<'static, Result<Switched, LegacyError>>;
}

/// What one item's row of the old table shall be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TargetRow {
    /// The index of the table in the mapping.
    pub table: usize,
    /// The SKU, as the old table has it.
    pub sku: String,
    /// The location, as the old table's column has it; not looked at where the mapping has a constant.
    pub location: String,
    /// The in-stock column.
    pub in_stock: i64,
    /// The allocated column, where one is mapped.
    pub allocated: i64,
}

/// What came of a write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Written {
    /// Committed, rows and checkpoint together.
    Done {
        /// The indices of those rows that the old table does not have.
        absent: Vec<usize>,
    },
    /// Somebody else leads or has written further: nothing was written, and this writer must stop.
    Fenced {
        /// The bookkeeping row, if there is one.
        book: Option<Book>,
    },
    /// The old table refuses the value of a row by a rule of its own: a check, a trigger, a column's type. Nothing was
    /// written, and the same rows would be refused again. Never without rows.
    Refused {
        /// The old database's words.
        why: String,
    },
}

/// Where a page of rows ends: the key's values, as text.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct PageKey(pub Vec<String>);

/// A page of a mapped table, in the order of its key, read at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    /// The rows.
    pub rows: Vec<Row>,
    /// Where the next page begins; nothing after the last.
    pub next: Option<PageKey>,
    /// What was committed and visible up to this position is in the rows.
    pub position_before: u64,
    /// Nothing after this position is in the rows. Once the stream has passed it, every change that the rows show has
    /// been handed out.
    pub position_after: u64,
}

/// A range of a mapped table in the order of its key.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeyRange {
    /// It begins after this key; nothing: with the first row.
    pub after: Option<PageKey>,
    /// It ends with this key; nothing: with the last row.
    pub until: Option<PageKey>,
}

/// What the rows of a range come to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RangeDigest {
    /// How many there are.
    pub rows: u64,
    /// Their digest in the order of the key, as of [`crate::digest_of`].
    pub digest: String,
}

/// Digests of ranges of a mapped table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Digests {
    /// One for each range, in their order.
    pub of: Vec<RangeDigest>,
    /// Nothing after this position is in them.
    pub position_after: u64,
}

/// The state of the stream on the old database's side.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StreamHealth {
    /// Bytes that the old database keeps because of us.
    pub retained_bytes: u64,
    /// Bytes that may still be written before the old database gives us up; nothing where it never would.
    pub safe_bytes: Option<u64>,
    /// What the old database says of the stream: `reserved`, `extended`, `unreserved`, `lost`, `absent`.
    pub status: String,
    /// Whether somebody reads it.
    pub active: bool,
    /// What it does not tell any more, though it should, such as a table that was taken out of it. Empty if all is well.
    pub faults: Vec<String>,
}

/// A statement that still touches the mapped tables.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SqlReference {
    /// The database user.
    pub caller: String,
    /// The statement, with its constants taken out.
    pub statement: String,
    /// How often it ran since the statistics were reset.
    pub calls: u64,
    /// Rows it read or changed.
    pub rows: u64,
}

/// A fault on the way to the old database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LegacyError {
    /// Not reachable, or the connection broke. For a write or a switch: the outcome is unknown, read the book.
    Broken(String),
    /// The stream that was asked for is not there any more: another server, another history, a slot that was dropped or
    /// given up. Positions mean nothing any more; take a new snapshot.
    SourceUnknown(String),
    /// The old database refuses what was asked, and would again: rights, a missing table, a setting.
    Refused(String),
}

/// The old database of one mapping.
pub trait OldDatabase: Send + Sync {
    /// Looks at everything that must be right before anything starts. Changes nothing. What cannot be looked at is a finding.
    fn check(&self) -> BoxFuture<'_, Vec<Finding>>;

    /// As [`OldDatabase::check`], for a move to `to`: in phase `retired` the mapped tables are not looked at, and on the way back
    /// from there they must be as ever.
    fn check_for(&self, _to: Phase) -> BoxFuture<'_, Vec<Finding>> {
        self.check()
    }

    /// As [`OldDatabase::check_for`], without what only a look at every row can tell. For a move back while nobody sells anything: what
    /// rows hold does not end that way, and is told before it is begun.
    fn check_in_haste(&self, to: Phase) -> BoxFuture<'_, Vec<Finding>> {
        self.check_for(to)
    }

    /// Makes what is ours in the old database: the bookkeeping tables and what the stream needs. Only with the operator's
    /// consent. May be done again at any time.
    ///
    /// Gives what was done, one line each, empty if all was there.
    fn create(&self) -> BoxFuture<'_, Result<Vec<String>, LegacyError>>;

    /// Whether there is to be a bookkeeping row. Without one nobody can be told who leads: Banyan can mirror, and not lead.
    fn keeps_book(&self) -> bool {
        true
    }

    /// The bookkeeping row; nothing if it was not made.
    fn book(&self) -> BoxFuture<'_, Result<Option<Book>, LegacyError>>;

    /// Holds the door: waits until no order is in flight in the old shop, and keeps new ones waiting. Sync out is not kept
    /// waiting.
    fn hold(&self, wait_max: Duration) -> BoxFuture<'_, Result<Hold, LegacyError>>;

    /// Writes full values, and the checkpoint `seq` with them, if the epoch is still `epoch` and nobody has written beyond
    /// `seq`. All or nothing. [`LegacyError::Broken`]: unknown, read the book.
    fn write<'a>(
        &'a self,
        rows: &'a [TargetRow],
        seq: u64,
        epoch: u64,
    ) -> BoxFuture<'a, Result<Written, LegacyError>>;

    /// Opens the stream at `from`, or with a snapshot first. What was not acknowledged may come again, also from before `from`;
    /// the transaction at `from` itself must, since of a large one perhaps only some parts were applied.
    /// [`LegacyError::SourceUnknown`] if it cannot go on there.
    fn stream<'a>(
        &'a self,
        from: Option<(SourceId, u64)>,
    ) -> BoxFuture<'a, Result<Box<dyn ChangeStream>, LegacyError>>;

    /// Reads at most `limit` rows of a table after a key.
    fn read_page<'a>(
        &'a self,
        table: usize,
        after: Option<&'a PageKey>,
        limit: u32,
    ) -> BoxFuture<'a, Result<Page, LegacyError>>;

    /// Reads at most `limit` rows of a range of a table.
    fn read_range<'a>(
        &'a self,
        table: usize,
        range: &'a KeyRange,
        limit: u32,
    ) -> BoxFuture<'a, Result<Page, LegacyError>> {
        debug_assert!(range.until.is_none(), "only who digests ranges is asked for one");
        self.read_page(table, range.after.as_ref(), limit)
    }

    /// The digests of ranges of a table; of a range that has more than `rows_max` rows, some digest that is not its own. Nothing
    /// where that cannot be had.
    fn digest_ranges<'a>(
        &'a self,
        _table: usize,
        _ranges: &'a [KeyRange],
        _rows_max: u32,
    ) -> BoxFuture<'a, Result<Option<Digests>, LegacyError>> {
        Box::pin(async { Ok(None) })
    }

    /// Reads the rows of some items, by table, SKU and location, at one moment. `next` is always nothing.
    fn read_items<'a>(
        &'a self,
        items: &'a [(usize, String, String)],
    ) -> BoxFuture<'a, Result<Page, LegacyError>>;

    /// Where the old database's log ends now: everything that it committed before this was asked is up to there.
    fn position(&self) -> BoxFuture<'_, Result<u64, LegacyError>> {
        Box::pin(async { Ok(self.read_items(&[]).await?.position_after) })
    }

    /// How the stream is doing on the old database's side.
    fn health(&self) -> BoxFuture<'_, Result<StreamHealth, LegacyError>>;

    /// Statements that still touch the mapped tables, ours left out. Nothing where the old database keeps no statistics.
    fn references(&self) -> BoxFuture<'_, Result<Option<Vec<SqlReference>>, LegacyError>>;

    /// Which statistics [`OldDatabase::references`] reads: another text where they began anew, by a reset or on another server, so
    /// that what was counted before is not in them. Nothing where the old database does not tell.
    fn statistics(&self) -> BoxFuture<'_, Result<Option<String>, LegacyError>> {
        Box::pin(async { Ok(None) })
    }

    /// Gives the stream up, so that the old database keeps nothing for us. The way on is a new snapshot. One of the same name that
    /// is not ours is left alone, and refused.
    fn drop_stream(&self) -> BoxFuture<'_, Result<(), LegacyError>>;

    /// Makes a running stream tell soon that it has come to here, even if nothing else happens. Nothing to be done where it tells
    /// that by itself at once. Gives whether it will certainly tell something: then whoever hears nothing after this follows
    /// another stream, or none.
    fn nudge(&self) -> BoxFuture<'_, Result<bool, LegacyError>> {
        Box::pin(async { Ok(false) })
    }

    /// Whether a stream that is gone on with sends everything again that was not acknowledged. If not, it sends the last applied
    /// transaction again and none before it: then what that one told is deleted before another is applied with it.
    fn sends_all_again(&self) -> bool {
        true
    }

    /// Deletes these outbox rows, which have been applied. Gives how many were there. By number and not up to a number: numbers
    /// do not come in the order of commits.
    fn clear_outbox<'a>(&'a self, ids: &'a [i64]) -> BoxFuture<'a, Result<u64, LegacyError>>;

    /// Writes items' rows as they are, so that they come through the stream again in their place. Where that cannot be
    /// done, it is refused.
    fn touch<'a>(&'a self, items: &'a [(usize, String, String)]) -> BoxFuture<'a, Result<(), LegacyError>> {
        let why =
            format!("{} rows cannot be sent again by this kind of database; a new snapshot can", items.len());
        Box::pin(async move { Err(LegacyError::Refused(why)) })
    }
}

impl Switch {
    /// What the bookkeeping row becomes by it; or the answer, and the row stays as it is. The caller holds the row's lock.
    ///
    /// # Errors
    /// [`Switched::Done`] if it was done before, [`Switched::Refused`] if the row is not as asked.
    pub fn decide(self, book: Option<Book>) -> Result<Book, Switched> {
        let refused = |why: String| Err(Switched::Refused(why));
        let Some(book) = book else {
            return refused(
                "there is no bookkeeping row; `banyan legacy check --create` makes it".to_owned(),
            );
        };
        if book.move_no == self.move_no && book.phase == self.to {
            return Err(Switched::Done(book));
        }
        if book.move_no >= self.move_no {
            let led_to = book.phase.as_str();
            return refused(format!("move {} was made already, and led to {led_to}", book.move_no));
        }
        if book.epoch != self.epoch {
            return refused(format!(
                "the epoch is {}, not {}: somebody else switched",
                book.epoch, self.epoch
            ));
        }
        // Whoever writes the row by hand may forget the epoch.
        if book.phase != self.from {
            let (found, asked) = (book.phase.as_str(), self.from.as_str());
            return refused(format!(
                "the phase is {found}, not {asked} as it was read: somebody else switched"
            ));
        }
        if book.seq < self.seq_at_least {
            let needed = self.seq_at_least;
            return refused(format!("the old tables have position {}, and {needed} is needed", book.seq));
        }
        Ok(Book { phase: self.to, epoch: book.epoch + 1, seq: book.seq, move_no: self.move_no })
    }
}

impl Finding {
    /// All is well.
    #[must_use]
    pub fn ok(subject: impl Into<String>, found: impl Into<String>) -> Self {
        Self { level: CheckLevel::Ok, subject: subject.into(), found: found.into(), fix: String::new() }
    }

    /// A weakness.
    #[must_use]
    pub fn warn(subject: impl Into<String>, found: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { level: CheckLevel::Warn, subject: subject.into(), found: found.into(), fix: fix.into() }
    }

    /// Something to be mended first.
    #[must_use]
    pub fn stop(subject: impl Into<String>, found: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { level: CheckLevel::Stop, subject: subject.into(), found: found.into(), fix: fix.into() }
    }
}

impl fmt::Display for LegacyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Broken(why) => write!(f, "the old database cannot be reached: {why}"),
            Self::SourceUnknown(why) => {
                write!(f, "the old database's stream cannot go on where it was: {why}")
            }
            Self::Refused(why) => write!(f, "the old database refuses: {why}"),
        }
    }
}

impl std::error::Error for LegacyError {}
