//! Reading accounts and transfers.

use crate::ViewError;
use crate::record::reader::{RecordReader, column, maybe_time, page, seq, text, time, wrong};
use banyan_domain::pay::Rule;
use banyan_domain::{AccountId, AccountNo, Currency, Reference, Timestamp, TransferNo};
use banyan_log::Seq;
use rusqlite::{Connection, OptionalExtension, Row, params};

/// An account as the store has it. Amounts in minor units.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccountRecord {
    /// Its number.
    pub no: AccountNo,
    /// Its id.
    pub id: Box<str>,
    /// Its currency.
    pub currency: Currency,
    /// Which balances it may have.
    pub rule: Rule,
    /// Taken from it, for good.
    pub debits_posted: i64,
    /// Given to it, for good.
    pub credits_posted: i64,
    /// Set aside to be taken.
    pub debits_pending: i64,
    /// Set aside to be given.
    pub credits_pending: i64,
    /// When it was opened.
    pub opened_at: Timestamp,
    /// The last event that changed it.
    pub seq: Seq,
}

/// What a transfer is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TransferKind {
    /// An amount was moved for good.
    Post,
    /// An amount was set aside.
    Hold,
    /// Part of a hold was moved for good.
    Capture,
    /// What was left of a hold was given up.
    Void,
    /// Part of a transfer was given back.
    Refund,
    /// A transfer was given back as a whole.
    Reverse,
}

/// Where a hold stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HoldState {
    /// Something is left of it.
    Pending,
    /// It was captured, and the rest, if there was one, voided with the last capture.
    Captured,
    /// It was given up.
    Voided,
    /// Its deadline passed.
    Expired,
}

/// A transfer as the store has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TransferRecord {
    /// Its number.
    pub no: TransferNo,
    /// What it is.
    pub kind: TransferKind,
    /// Id of the account it takes from.
    pub debit: Box<str>,
    /// Id of the account it gives to.
    pub credit: Box<str>,
    /// How much, in minor units.
    pub amount: i64,
    /// The currency.
    pub currency: Currency,
    /// The hold that was captured or voided, or the transfer that was given back.
    pub of: Option<TransferNo>,
    /// Whether it may be given back.
    pub refundable: bool,
    /// How much of it was given back.
    pub refunded: i64,
    /// Of a hold: where it stands, what is left of it, and its deadline.
    pub hold: Option<(HoldState, i64, Timestamp)>,
    /// What it was made for.
    pub reference: Box<str>,
    /// By whom.
    pub actor: Box<str>,
    /// When.
    pub at: Timestamp,
    /// The event that made it.
    pub seq: Seq,
}

/// A page of transfers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TransferPage {
    /// The transfers.
    pub transfers: Vec<TransferRecord>,
    /// The cursor of the next page, if there is one.
    pub next: Option<TransferNo>,
}

/// A line of an account's statement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StatementLine {
    /// The transfer.
    pub transfer: TransferRecord,
    /// What it gave to the account for good (positive) or took from it; 0 for holds and voids.
    pub posted: i64,
    /// The account's balance after it: posted credits less posted debits.
    pub balance: i64,
}

/// Where the next page of a statement begins. The balance there goes with it, so that every page is cheap.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StatementCursor {
    /// Transfers before this one.
    pub before: TransferNo,
    /// The balance just before it.
    pub balance: i64,
}

/// A page of an account's statement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StatementPage {
    /// The account as it is now.
    pub account: AccountRecord,
    /// Its transfers, newest first.
    pub lines: Vec<StatementLine>,
    /// The cursor of the next page, if there is one.
    pub next: Option<StatementCursor>,
}

impl TransferKind {
    const ALL: [Self; 6] = [Self::Post, Self::Hold, Self::Capture, Self::Void, Self::Refund, Self::Reverse];

    /// The kind in one lower-case word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Post => "post",
            Self::Hold => "hold",
            Self::Capture => "capture",
            Self::Void => "void",
            Self::Refund => "refund",
            Self::Reverse => "reverse",
        }
    }
}

impl HoldState {
    const ALL: [Self; 4] = [Self::Pending, Self::Captured, Self::Voided, Self::Expired];

    /// The state in one lower-case word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Captured => "captured",
            Self::Voided => "voided",
            Self::Expired => "expired",
        }
    }
}

const ACCOUNT_SQL: &str =
    "SELECT no, id, currency, rule, debits_posted, credits_posted, debits_pending, credits_pending,
      opened_at, seq FROM account";

const TRANSFER_SQL: &str =
    "SELECT t.no, t.kind, d.id, c.id, t.amount, d.currency, t.of, t.refundable, t.refunded,
      t.hold_state, t.hold_left, t.hold_until, t.reference, t.actor, t.at, t.seq
    FROM transfer t JOIN account d ON d.no = t.debit JOIN account c ON c.no = t.credit";

impl RecordReader {
    /// Accounts whose id begins with `prefix`, in order of id: up to `limit` (at most 1,000) after `after`.
    ///
    /// # Errors
    /// [`ViewError`] if the store cannot be read.
    pub fn accounts(&self, prefix: &str, after: &str, limit: usize) -> Result<Vec<AccountRecord>, ViewError> {
        // Ids are visible ASCII: what follows all that begin with the prefix is below this.
        let end = format!("{prefix}\u{7f}");
        let sql = format!("{ACCOUNT_SQL} WHERE id > ?1 AND id >= ?2 AND id < ?3 ORDER BY id LIMIT ?4");
        self.gate.read("accounts", |db| {
            let mut read = db.prepare_cached(&sql)?;
            read.query_map(params![after, prefix, end, page(limit) as i64], account)?.collect()
        })
    }

    /// What was transferred from and to the account `id`, newest first: up to `limit` (at most 1,000) transfers before
    /// `cursor`; none if there is no such account.
    ///
    /// # Errors
    /// [`ViewError`] if the store cannot be read.
    pub fn statement(
        &self,
        id: &AccountId,
        cursor: Option<StatementCursor>,
        limit: usize,
    ) -> Result<Option<StatementPage>, ViewError> {
        let limit = page(limit);
        // Two indexes, each in order: SQLite merges them and stops at the limit.
        let sql = "SELECT no FROM transfer WHERE debit = ?1 AND no < ?2
             UNION ALL SELECT no FROM transfer WHERE credit = ?1 AND no < ?2 ORDER BY no DESC LIMIT ?3";
        self.gate.read("the statement of an account", |db| {
            let one = format!("{ACCOUNT_SQL} WHERE id = ?1");
            let Some(account) = db.prepare_cached(&one)?.query_row([id.as_str()], account).optional()? else {
                return Ok(None);
            };
            let before = cursor.map_or(i64::MAX, |cursor| column(cursor.before.get()));
            let mut balance =
                cursor.map_or(account.credits_posted - account.debits_posted, |cursor| cursor.balance);
            let mut read = db.prepare_cached(sql)?;
            let rows =
                read.query_map(params![account.no.get(), before, limit as i64 + 1], |row| row.get(0))?;
            let numbers: Vec<i64> = rows.collect::<rusqlite::Result<_>>()?;
            let mut lines = Vec::with_capacity(numbers.len().min(limit));
            for no in numbers.iter().take(limit) {
                let transfer = one_transfer(db, *no)?.ok_or(rusqlite::Error::QueryReturnedNoRows)?;
                let moves = !matches!(transfer.kind, TransferKind::Hold | TransferKind::Void);
                let posted = match (moves, *transfer.credit == *account.id) {
                    (false, _) => 0,
                    (true, true) => transfer.amount,
                    (true, false) => -transfer.amount,
                };
                lines.push(StatementLine { transfer, posted, balance });
                balance -= posted;
            }
            let more = numbers.len() > limit;
            let next = lines
                .last()
                .filter(|_| more)
                .map(|last| StatementCursor { before: last.transfer.no, balance });
            Ok(Some(StatementPage { account, lines, next }))
        })
    }

    /// One transfer, if it was ever made.
    ///
    /// # Errors
    /// [`ViewError`] if the store cannot be read.
    pub fn transfer(&self, no: TransferNo) -> Result<Option<TransferRecord>, ViewError> {
        self.gate.read("a transfer", |db| one_transfer(db, column(no.get())))
    }

    /// What captured, voided or gave back the transfer `no`, in order.
    ///
    /// # Errors
    /// [`ViewError`] if the store cannot be read.
    pub fn transfers_of(&self, no: TransferNo) -> Result<Vec<TransferRecord>, ViewError> {
        let sql = format!("{TRANSFER_SQL} WHERE t.of = ?1 ORDER BY t.no");
        self.gate.read("what became of a transfer", |db| {
            db.prepare_cached(&sql)?.query_map([column(no.get())], transfer)?.collect()
        })
    }

    /// The transfers made for `reference`, in order: up to `limit` (at most 1,000) after `after`.
    ///
    /// # Errors
    /// [`ViewError`] if the store cannot be read.
    pub fn transfers_for(
        &self,
        reference: &Reference,
        after: Option<TransferNo>,
        limit: usize,
    ) -> Result<TransferPage, ViewError> {
        let (after, limit) = (after.map_or(0, |no| column(no.get())), page(limit));
        let sql = format!("{TRANSFER_SQL} WHERE t.reference = ?1 AND t.no > ?2 ORDER BY t.no LIMIT ?3");
        self.gate.read("the transfers for a reference", |db| {
            let mut read = db.prepare_cached(&sql)?;
            let rows = read.query_map(params![reference.as_str(), after, limit as i64 + 1], transfer)?;
            let mut transfers: Vec<_> = rows.collect::<rusqlite::Result<_>>()?;
            let more = transfers.len() > limit;
            transfers.truncate(limit);
            let next = transfers.last().filter(|_| more).map(|last| last.no);
            Ok(TransferPage { transfers, next })
        })
    }
}

fn one_transfer(db: &Connection, no: i64) -> rusqlite::Result<Option<TransferRecord>> {
    let sql = format!("{TRANSFER_SQL} WHERE t.no = ?1");
    db.prepare_cached(&sql)?.query_row([no], transfer).optional()
}

fn account(row: &Row<'_>) -> rusqlite::Result<AccountRecord> {
    let rule: String = row.get(3)?;
    let rules = [Rule::Free, Rule::DebitsWithinCredits, Rule::CreditsWithinDebits];
    Ok(AccountRecord {
        no: AccountNo::new(row.get(0)?),
        id: text(row, 1)?,
        currency: currency(row, 2)?,
        rule: rules
            .into_iter()
            .find(|known| known.as_str() == rule)
            .ok_or_else(|| wrong(3, "an account's rule"))?,
        debits_posted: row.get(4)?,
        credits_posted: row.get(5)?,
        debits_pending: row.get(6)?,
        credits_pending: row.get(7)?,
        opened_at: time(row, 8)?,
        seq: seq(row, 9)?,
    })
}

fn transfer(row: &Row<'_>) -> rusqlite::Result<TransferRecord> {
    let (kind, hold): (String, Option<String>) = (row.get(1)?, row.get(9)?);
    let no = |no: i64| TransferNo::new(no as u64);
    let hold = match hold {
        None => None,
        Some(hold) => {
            let state = HoldState::ALL.into_iter().find(|known| known.as_str() == hold);
            let state = state.ok_or_else(|| wrong(9, "a hold's state"))?;
            let until = maybe_time(row, 11)?.ok_or_else(|| wrong(11, "a hold's deadline"))?;
            Some((state, row.get(10)?, until))
        }
    };
    Ok(TransferRecord {
        no: no(row.get(0)?),
        kind: TransferKind::ALL
            .into_iter()
            .find(|known| known.as_str() == kind)
            .ok_or_else(|| wrong(1, "a transfer's kind"))?,
        debit: text(row, 2)?,
        credit: text(row, 3)?,
        amount: row.get(4)?,
        currency: currency(row, 5)?,
        of: row.get::<_, Option<i64>>(6)?.map(no),
        refundable: row.get(7)?,
        refunded: row.get(8)?,
        hold,
        reference: text(row, 12)?,
        actor: text(row, 13)?,
        at: time(row, 14)?,
        seq: seq(row, 15)?,
    })
}

fn currency(row: &Row<'_>, column: usize) -> rusqlite::Result<Currency> {
    Currency::new(&row.get::<_, String>(column)?).map_err(|_| wrong(column, "a currency"))
}
