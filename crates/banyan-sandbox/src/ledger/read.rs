//! Reading the ledger. Every function here blocks for as long as SQLite takes.

use super::{Ledger, LedgerError, file, rows};
use crate::payment::{Payment, Status};
use rusqlite::{Connection, OptionalExtension, params};

/// Connections that are kept for later readers.
const IDLE_MAX: usize = 8;

/// Which payments a list holds.
#[derive(Clone, Debug, Default)]
pub(crate) struct Filter {
    pub(crate) order: Option<String>,
    pub(crate) status: Option<Status>,
    /// Payments after this number only.
    pub(crate) after: i64,
    pub(crate) limit: usize,
}

/// The first answer to a key, and the payment it concerns as it is now.
pub(crate) struct Remembered {
    pub(crate) action: String,
    pub(crate) status: u16,
    pub(crate) body: String,
    pub(crate) payment: Option<Payment>,
}

/// Sums over all payments in one currency.
pub(crate) struct Totals {
    pub(crate) currency: String,
    pub(crate) payments: i64,
    /// Payments of which something was captured.
    pub(crate) charged: i64,
    /// Minor units, like `refunded` and `held`.
    pub(crate) captured: i64,
    pub(crate) refunded: i64,
    /// Authorized and not captured.
    pub(crate) held: i64,
}

/// A row of a statement.
pub(crate) struct MovementRow {
    pub(crate) no: i64,
    pub(crate) payment: String,
    pub(crate) order: String,
    /// Minor units: captured above zero, refunded below.
    pub(crate) amount: i64,
    pub(crate) currency: String,
    pub(crate) at: i64,
    pub(crate) key: String,
}

/// An event whose time has come.
pub(crate) struct DueEvent {
    pub(crate) no: i64,
    pub(crate) payment: i64,
    pub(crate) body: String,
    pub(crate) attempts: i64,
}

impl Ledger {
    /// The payment with this public id.
    pub(crate) fn payment(&self, id: &str) -> Result<Option<Payment>, LedgerError> {
        self.read("reading a payment", |db| rows::find(db, id))
    }

    /// The newest payment for this order.
    pub(crate) fn payment_of_order(&self, order: &str) -> Result<Option<Payment>, LedgerError> {
        let columns = rows::COLUMNS;
        self.read("reading an order's payment", |db| {
            db.prepare_cached(&format!(
                "SELECT {columns} FROM payment WHERE order_id = ?1 ORDER BY no DESC LIMIT 1"
            ))?
            .query_row([order], rows::read)
            .optional()
        })
    }

    /// What was answered to `key`.
    pub(crate) fn remembered(&self, key: &str) -> Result<Option<Remembered>, LedgerError> {
        self.read("reading the answer to a key", |db| {
            let mut statement =
                db.prepare_cached("SELECT action, status, body, payment FROM answer WHERE key = ?1")?;
            let found = statement
                .query_row([key], |row| {
                    let payment: Option<i64> = row.get(3)?;
                    let answer = Remembered {
                        action: row.get(0)?,
                        status: row.get(1)?,
                        body: row.get(2)?,
                        payment: None,
                    };
                    Ok((answer, payment))
                })
                .optional()?;
            let Some((mut answer, payment)) = found else { return Ok(None) };
            if let Some(no) = payment {
                answer.payment = rows::load(db, no)?;
            }
            Ok(Some(answer))
        })
    }

    /// Payments in the order of their creation.
    pub(crate) fn list(&self, filter: &Filter) -> Result<Vec<Payment>, LedgerError> {
        let columns = rows::COLUMNS;
        let status = filter.status.map(|status| status as i64);
        let limit = i64::try_from(filter.limit).unwrap_or(i64::MAX);
        self.read("listing payments", |db| {
            // Without an order, the list walks the table; with one, its index.
            let sql = match filter.order {
                Some(_) => format!(
                    "SELECT {columns} FROM payment WHERE order_id = ?1 AND no > ?2 AND (?3 IS NULL OR status = ?3) \
                     ORDER BY no LIMIT ?4"
                ),
                None => format!(
                    "SELECT {columns} FROM payment WHERE ?1 IS NULL AND no > ?2 AND (?3 IS NULL OR status = ?3) \
                     ORDER BY no LIMIT ?4"
                ),
            };
            let mut statement = db.prepare_cached(&sql)?;
            let rows = statement.query_map(params![filter.order, filter.after, status, limit], rows::read)?;
            rows.collect()
        })
    }

    /// Sums, one row per currency.
    pub(crate) fn totals(&self) -> Result<Vec<Totals>, LedgerError> {
        self.read("adding payments up", |db| {
            let mut statement = db.prepare_cached(
                "SELECT currency, count(*), sum(captured > 0), sum(captured), sum(refunded), \
                 sum(CASE WHEN open THEN amount - captured ELSE 0 END) FROM payment GROUP BY currency ORDER BY currency",
            )?;
            let rows = statement.query_map([], |row| {
                Ok(Totals {
                    currency: row.get(0)?,
                    payments: row.get(1)?,
                    charged: row.get(2)?,
                    captured: row.get(3)?,
                    refunded: row.get(4)?,
                    held: row.get(5)?,
                })
            })?;
            rows.collect()
        })
    }

    /// Movements from `start` up to before `end`, after number `after`, at most `limit`.
    pub(crate) fn movements(
        &self,
        (start, end): (i64, i64),
        after: i64,
        limit: i64,
    ) -> Result<Vec<MovementRow>, LedgerError> {
        self.read("reading a statement", |db| {
            // Numbers and times grow together, so the order of numbers is the order of time.
            let mut statement = db.prepare_cached(
                "SELECT m.no, p.id, p.order_id, m.amount, p.currency, m.at, m.key \
                 FROM movement m JOIN payment p ON p.no = m.payment \
                 WHERE m.no > ?3 AND m.no >= coalesce((SELECT min(no) FROM movement WHERE at >= ?1), 0) \
                 AND m.at >= ?1 AND m.at < ?2 ORDER BY m.no LIMIT ?4",
            )?;
            let rows = statement.query_map([start, end, after, limit], |row| {
                Ok(MovementRow {
                    no: row.get(0)?,
                    payment: row.get(1)?,
                    order: row.get(2)?,
                    amount: row.get(3)?,
                    currency: row.get(4)?,
                    at: row.get(5)?,
                    key: row.get(6)?,
                })
            })?;
            rows.collect()
        })
    }

    /// Events that are due at `now`, oldest first, and when the next one after them is.
    pub(crate) fn due_events(
        &self,
        now: i64,
        limit: i64,
    ) -> Result<(Vec<DueEvent>, Option<i64>), LedgerError> {
        self.read("reading events to tell", |db| {
            let mut statement = db.prepare_cached(
                "SELECT no, payment, body, attempts FROM event WHERE due_at <= ?1 ORDER BY due_at, no LIMIT ?2",
            )?;
            let rows = statement.query_map([now, limit], |row| {
                Ok(DueEvent { no: row.get(0)?, payment: row.get(1)?, body: row.get(2)?, attempts: row.get(3)? })
            })?;
            let due = rows.collect::<Result<_, _>>()?;
            let mut next = db.prepare_cached("SELECT min(due_at) FROM event WHERE due_at > ?1")?;
            Ok((due, next.query_row([now], |row| row.get(0))?))
        })
    }

    fn read<T>(
        &self,
        doing: &'static str,
        work: impl FnOnce(&Connection) -> rusqlite::Result<T>,
    ) -> Result<T, LedgerError> {
        let failed = |error| LedgerError::store(doing, error);
        let pool = || self.readers.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let idle = pool().pop();
        let db = match idle {
            Some(db) => db,
            None => file::open_reader(&self.path).map_err(failed)?,
        };
        let found = work(&db).map_err(failed)?;
        let mut idle = pool();
        if idle.len() < IDLE_MAX {
            idle.push(db);
        }
        Ok(found)
    }
}
