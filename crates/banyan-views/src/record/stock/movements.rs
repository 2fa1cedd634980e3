//! Movements of goods: written in order of time, filed in order of item.
//!
//! Every order moves other items, so each movement written at its item's place would be a page of its own to write, twice: into
//! the write-ahead log, and from there into the file. They were a third of all that was written, and a log's sync on the same
//! disk waits for that. So, as with redemptions, new ones go to the end of `stock_movement_recent`, and when there are
//! [`RECENT_MAX`] of them, they move to `stock_movement_filed` all at once, in order of item.

use rusqlite::Connection;

/// Recent movements that are filed. A page of an item's movements reads through all recent ones, at most. Few in tests, so that
/// they file.
const RECENT_MAX: u64 = if cfg!(test) { 5 } else { 20_000 };

/// What is kept in memory of them.
#[derive(Debug, Default)]
pub(in crate::record) struct Movements {
    /// Rows of `stock_movement_recent`. After a rolled-back savepoint it may be a little too high: filing is early then.
    recent: u64,
}

impl Movements {
    /// Counts what is there.
    pub(in crate::record) fn load(db: &Connection) -> rusqlite::Result<Self> {
        let sql = "SELECT count(*) FROM stock_movement_recent";
        let recent = db.query_row(sql, [], |row| row.get::<_, i64>(0))?;
        Ok(Self { recent: recent as u64 })
    }

    /// Notes that so many more were written.
    pub(in crate::record) const fn add(&mut self, written: u64) {
        self.recent += written;
    }

    /// Files the recent ones if there are many. Part of the caller's transaction.
    pub(in crate::record) fn file(&mut self, db: &Connection) -> rusqlite::Result<()> {
        if self.recent < RECENT_MAX {
            return Ok(());
        }
        db.prepare_cached(
            "INSERT INTO stock_movement_filed (item, seq, at, kind, change, filled, on_hand, reservation, actor, reason)
             SELECT item, seq, at, kind, change, filled, on_hand, reservation, actor, reason FROM stock_movement_recent
             ORDER BY item, seq",
        )?
        .execute([])?;
        db.prepare_cached("DELETE FROM stock_movement_recent")?.execute([])?;
        self.recent = 0;
        Ok(())
    }
}
