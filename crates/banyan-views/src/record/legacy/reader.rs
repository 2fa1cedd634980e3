//! Reading the way over from an old shop.

use crate::ViewError;
use crate::record::reader::{RecordReader, maybe_text, maybe_time, seq, text, time};
use banyan_domain::Timestamp;
use banyan_domain::legacy::Capability;
use banyan_log::Seq;
use rusqlite::params;

/// A move, under way or over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MoveRecord {
    /// Its number.
    pub number: u64,
    /// The phase it goes to.
    pub to: Box<str>,
    /// `begun`, `done` or `aborted`.
    pub state: Box<str>,
    /// When it was begun.
    pub begun_at: Timestamp,
    /// By whom.
    pub begun_by: Box<str>,
    /// Why; with the gates it went without.
    pub reason: Box<str>,
    /// When it ended.
    pub ended_at: Option<Timestamp>,
    /// Why it was aborted.
    pub why: Option<Box<str>>,
    /// Its steps, in the order in which it came to them.
    pub steps: Vec<StepRecord>,
}

/// A step that a move came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StepRecord {
    /// Which.
    pub step: Box<str>,
    /// When.
    pub at: Timestamp,
    /// What was seen there.
    pub note: Box<str>,
}

/// What kind of notice to read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoticeKind {
    /// Somebody wrote to what Banyan leads.
    Breach,
    /// A message of the old shop that could not be carried out.
    Refused,
    /// A comparison of both sides.
    Reconciled,
    /// The lead taken back in the old database.
    TakenOver,
}

/// Something that was noticed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NoticeRecord {
    /// The event that says so.
    pub seq: Seq,
    /// When.
    pub at: Timestamp,
    /// The SKU it is about, if it is about one.
    pub sku: Option<Box<str>>,
    /// The location.
    pub location: Option<Box<str>>,
    /// The position of the old database's stream, if there is one.
    pub position: Option<u64>,
    /// In words.
    pub what: Box<str>,
}

impl NoticeKind {
    const fn word(self) -> &'static str {
        match self {
            Self::Breach => "breach",
            Self::Refused => "refused",
            Self::Reconciled => "reconciled",
            Self::TakenOver => "taken-over",
        }
    }
}

impl RecordReader {
    /// The last `limit` moves of `capability`, newest first.
    ///
    /// # Errors
    /// [`ViewError`] if the store cannot be read.
    pub fn moves(&self, capability: Capability, limit: usize) -> Result<Vec<MoveRecord>, ViewError> {
        self.gate.read("the moves of a capability", |db| {
            let mut read = db.prepare_cached(
                "SELECT no, to_phase, state, begun_at, begun_by, reason, ended_at, why FROM legacy_move
                 WHERE capability = ?1 ORDER BY no DESC LIMIT ?2",
            )?;
            let mut steps = db.prepare_cached(
                "SELECT step, at, note FROM legacy_step WHERE capability = ?1 AND move_no = ?2 ORDER BY seq",
            )?;
            let moves = read.query_map(params![capability.as_str(), limit as i64], |row| {
                let number: i64 = row.get(0)?;
                let steps = steps.query_map(params![capability.as_str(), number], |row| {
                    Ok(StepRecord { step: text(row, 0)?, at: time(row, 1)?, note: text(row, 2)? })
                })?;
                Ok(MoveRecord {
                    number: number as u64,
                    to: text(row, 1)?,
                    state: text(row, 2)?,
                    begun_at: time(row, 3)?,
                    begun_by: text(row, 4)?,
                    reason: text(row, 5)?,
                    ended_at: maybe_time(row, 6)?,
                    why: maybe_text(row, 7)?,
                    steps: steps.collect::<rusqlite::Result<_>>()?,
                })
            })?;
            moves.collect()
        })
    }

    /// The last `limit` notices of a kind, newest first.
    ///
    /// # Errors
    /// [`ViewError`] if the store cannot be read.
    pub fn notices(&self, kind: NoticeKind, limit: usize) -> Result<Vec<NoticeRecord>, ViewError> {
        self.gate.read("what was noticed of an old shop", |db| {
            let mut read = db.prepare_cached(
                "SELECT seq, at, sku, location, position, what FROM legacy_notice WHERE kind = ?1 ORDER BY seq DESC LIMIT ?2",
            )?;
            let notices = read.query_map(params![kind.word(), limit as i64], |row| {
                Ok(NoticeRecord {
                    seq: seq(row, 0)?,
                    at: time(row, 1)?,
                    sku: maybe_text(row, 2)?,
                    location: maybe_text(row, 3)?,
                    position: row.get::<_, Option<i64>>(4)?.map(|position| position as u64),
                    what: text(row, 5)?,
                })
            })?;
            notices.collect()
        })
    }
}
