//! Redemptions: written in order of arrival, filed in order of coupon.
//!
//! Coupons are used in no order at all. Each redemption written at its coupon's place would be a page of its own to write,
//! twice: into the write-ahead log, and from there into the file. So new ones go to the end of `redemption_recent`, which
//! is small enough that its index by coupon is a few pages, and when there are [`RECENT_MAX`] of them, they move to
//! `redemption_filed` all at once, in order of coupon: then many share each page.

use rusqlite::{Connection, params};

/// Recent redemptions that are filed. Filing them takes about a tenth of a second; fewer would each cost more, and more
/// would make that pause longer. Few in tests, so that every test that redeems files.
const RECENT_MAX: u64 = if cfg!(test) { 5 } else { 20_000 };

/// What is kept in memory of them.
#[derive(Debug, Default)]
pub(super) struct Redemptions {
    /// Rows of `redemption_recent`. After a rolled-back savepoint it may be a little too high: filing is early then.
    recent: u64,
}

impl Redemptions {
    /// Counts what is there.
    pub(super) fn load(db: &Connection) -> rusqlite::Result<Self> {
        let recent =
            db.query_row("SELECT count(*) FROM redemption_recent", [], |row| row.get::<_, i64>(0))?;
        Ok(Self { recent: recent as u64 })
    }

    /// Notes that `coupon`, which must not be redeemed yet, was used by `order`. Part of the caller's transaction.
    pub(super) fn add(
        &mut self,
        db: &Connection,
        seq: i64,
        coupon: i64,
        order: &str,
        at: i64,
    ) -> rusqlite::Result<()> {
        let sql = "INSERT INTO redemption_recent (seq, coupon, order_id, at) VALUES (?1, ?2, ?3, ?4)";
        db.prepare_cached(sql)?.execute(params![seq, coupon, order, at])?;
        self.recent += 1;
        Ok(())
    }

    /// Forgets the redemption of `coupon`, whose order was given back. Part of the caller's transaction.
    pub(super) fn remove(&mut self, db: &Connection, coupon: i64) -> rusqlite::Result<()> {
        let recent =
            db.prepare_cached("DELETE FROM redemption_recent WHERE coupon = ?1")?.execute([coupon])?;
        self.recent = self.recent.saturating_sub(recent as u64);
        db.prepare_cached("DELETE FROM redemption_filed WHERE coupon = ?1")?.execute([coupon])?;
        Ok(())
    }

    /// Files the recent ones if there are many. Part of the caller's transaction.
    pub(super) fn file(&mut self, db: &Connection) -> rusqlite::Result<()> {
        if self.recent < RECENT_MAX {
            return Ok(());
        }
        db.prepare_cached(
            "INSERT INTO redemption_filed (coupon, order_id, at, seq)
             SELECT coupon, order_id, at, seq FROM redemption_recent ORDER BY coupon",
        )?
        .execute([])?;
        db.prepare_cached("DELETE FROM redemption_recent")?.execute([])?;
        self.recent = 0;
        Ok(())
    }
}
