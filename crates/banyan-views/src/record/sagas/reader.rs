//! Reading sagas and their course.

use crate::ViewError;
use crate::record::reader::{RecordReader, column, maybe_text, maybe_time, page, seq, text, time, wrong};
use banyan_domain::{SagaNo, Timestamp};
use banyan_log::Seq;
use rusqlite::{OptionalExtension, Row, params};

/// The state of a saga as people want to see it: a parked one is parked, whichever way it went.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum SagaShown {
    /// It cannot go on by itself.
    Parked,
    /// It goes forward.
    Running,
    /// It goes back.
    Compensating,
    /// Every step was done.
    Completed,
    /// Everything that was done was undone.
    Compensated,
}

/// In which order parked sagas are listed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ParkedOrder {
    /// The one that waits longest first.
    Age,
    /// The one with the most money at risk first, then by age.
    AtRisk,
}

/// A saga as the store has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SagaRecord {
    /// Its number.
    pub saga: SagaNo,
    /// The name of its definition.
    pub name: Box<str>,
    /// The version it began with.
    pub version: u32,
    /// What it is about.
    pub key: Box<str>,
    /// Its state.
    pub state: SagaShown,
    /// Its state if it were not parked.
    pub phase: SagaShown,
    /// Why it turned back, if it did: `step`, `cancelled`, `timed-out` or `forced`.
    pub cause: Option<Box<str>>,
    /// The name of the step that was the cause.
    pub cause_step: Option<Box<str>>,
    /// Why that step could not be done, or what the canceller said.
    pub cause_why: Option<Box<str>>,
    /// Who cancelled it.
    pub cause_actor: Option<Box<str>>,
    /// The name of the step it is parked at.
    pub parked_step: Option<Box<str>>,
    /// Why it is parked.
    pub parked_why: Option<Box<str>>,
    /// Since when it is parked.
    pub parked_at: Option<Timestamp>,
    /// Money at risk, minor units, if its definition names it.
    pub at_risk: Option<i64>,
    /// Its input, a JSON object of texts.
    pub input: Box<str>,
    /// When it began.
    pub started_at: Timestamp,
    /// When it last changed.
    pub changed_at: Timestamp,
    /// When it ended, if it did.
    pub ended_at: Option<Timestamp>,
    /// The last event that changed it.
    pub seq: Seq,
}

/// A row of a saga's course.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SagaStepRecord {
    /// The event that began it.
    pub seq: Seq,
    /// When.
    pub at: Timestamp,
    /// The step's place, from 0; none for what concerns the whole saga.
    pub place: Option<u8>,
    /// The step's name.
    pub step: Option<Box<str>>,
    /// A try: `do`, `undo` or `query`. Or `skipped`, `turned-back`, `parked`, `resumed`, `ended`.
    pub what: Box<str>,
    /// Of a try: the how-manieth.
    pub attempt: Option<u32>,
    /// Of a try, what came of it: `done`, `refused`, `unknown`, `not-sent`, `awaiting`, `absent`, or none so far. Of
    /// `resumed`: `retry`, `skip` or `undo`. Of `turned-back` and `ended`: why and how.
    pub result: Option<Box<str>>,
    /// When that came.
    pub answered_at: Option<Timestamp>,
    /// What the participant said, a JSON object of texts; or why.
    pub detail: Option<Box<str>>,
    /// The operator or caller, where one had a hand in it.
    pub actor: Option<Box<str>>,
}

/// A page of sagas.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SagaPage {
    /// The sagas, newest first.
    pub sagas: Vec<SagaRecord>,
    /// The cursor of the next page, if there is one.
    pub next: Option<SagaNo>,
}

/// How many sagas are not over, and what is at stake.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SagaTotals {
    /// Parked.
    pub parked: u64,
    /// Going forward.
    pub running: u64,
    /// Going back.
    pub compensating: u64,
    /// Money at risk in those parked, minor units.
    pub parked_at_risk: i64,
    /// Since when the one waits that has been parked longest.
    pub parked_since: Option<Timestamp>,
}

impl SagaShown {
    const ALL: [Self; 5] =
        [Self::Parked, Self::Running, Self::Compensating, Self::Completed, Self::Compensated];

    /// The state in one lower-case word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Parked => "parked",
            Self::Running => "running",
            Self::Compensating => "compensating",
            Self::Completed => "completed",
            Self::Compensated => "compensated",
        }
    }
}

const SAGA_SQL: &str = "SELECT s.saga, d.name, d.version, s.key, s.state, s.phase, s.cause, c.name, s.cause_why,
      s.cause_actor, p.name, s.parked_why, s.parked_at, s.at_risk, s.input, s.started_at, s.changed_at, s.ended_at, s.seq
    FROM saga s JOIN saga_definition d ON d.definition = s.definition
    LEFT JOIN saga_definition_step c ON c.definition = s.definition AND c.step = s.cause_step
    LEFT JOIN saga_definition_step p ON p.definition = s.definition AND p.step = s.parked_step";

impl RecordReader {
    /// One saga, if it ever began.
    ///
    /// # Errors
    /// [`ViewError`] if the store cannot be read.
    pub fn saga(&self, no: SagaNo) -> Result<Option<SagaRecord>, ViewError> {
        let sql = format!("{SAGA_SQL} WHERE s.saga = ?1");
        self.gate.read("a saga", |db| db.prepare_cached(&sql)?.query_row([column(no.get())], saga).optional())
    }

    /// Sagas, newest first: up to `limit` (at most 1,000) begun before `before`, of one state or of all.
    ///
    /// # Errors
    /// [`ViewError`] if the store cannot be read.
    pub fn sagas(
        &self,
        state: Option<SagaShown>,
        before: Option<SagaNo>,
        limit: usize,
    ) -> Result<SagaPage, ViewError> {
        let (before, limit) = (before.map_or(i64::MAX, |no| column(no.get())), page(limit));
        let order = "s.saga < ?2 ORDER BY s.saga DESC LIMIT ?3";
        let sql = match state {
            Some(_) => format!("{SAGA_SQL} WHERE s.state = ?1 AND {order}"),
            None => format!("{SAGA_SQL} WHERE ?1 = '' AND {order}"),
        };
        let state = state.map_or("", SagaShown::as_str);
        self.gate.read("sagas", |db| {
            let mut read = db.prepare_cached(&sql)?;
            let rows = read.query_map(params![state, before, limit as i64 + 1], saga)?;
            let mut sagas: Vec<_> = rows.collect::<rusqlite::Result<_>>()?;
            let more = sagas.len() > limit;
            sagas.truncate(limit);
            let next = sagas.last().filter(|_| more).map(|last| last.saga);
            Ok(SagaPage { sagas, next })
        })
    }

    /// The parked sagas that matter most, up to `limit` (at most 1,000).
    ///
    /// # Errors
    /// [`ViewError`] if the store cannot be read.
    pub fn parked_sagas(&self, order: ParkedOrder, limit: usize) -> Result<Vec<SagaRecord>, ViewError> {
        let order = match order {
            ParkedOrder::Age => "s.parked_at, s.saga",
            ParkedOrder::AtRisk => "coalesce(s.at_risk, 0) DESC, s.parked_at, s.saga",
        };
        let sql = format!("{SAGA_SQL} WHERE s.state = 'parked' ORDER BY {order} LIMIT ?1");
        self.gate.read("the parked sagas", |db| {
            db.prepare_cached(&sql)?.query_map([page(limit) as i64], saga)?.collect()
        })
    }

    /// Counts the sagas that are not over.
    ///
    /// # Errors
    /// [`ViewError`] if the store cannot be read.
    pub fn saga_totals(&self) -> Result<SagaTotals, ViewError> {
        let sql = "SELECT
             (SELECT count(*) FROM saga WHERE state = 'running'), (SELECT count(*) FROM saga WHERE state = 'compensating'),
             count(*), coalesce(sum(at_risk), 0), min(parked_at) FROM saga WHERE state = 'parked'";
        self.gate.read("the sagas under way", |db| {
            db.prepare_cached(sql)?.query_row([], |row| {
                let count = |column| row.get::<_, i64>(column).map(|count| count as u64);
                Ok(SagaTotals {
                    running: count(0)?,
                    compensating: count(1)?,
                    parked: count(2)?,
                    parked_at_risk: row.get(3)?,
                    parked_since: maybe_time(row, 4)?,
                })
            })
        })
    }

    /// The course of a saga in order: up to `limit` (at most 1,000) rows after `after`.
    ///
    /// # Errors
    /// [`ViewError`] if the store cannot be read.
    pub fn saga_steps(&self, no: SagaNo, after: Seq, limit: usize) -> Result<Vec<SagaStepRecord>, ViewError> {
        let sql = "SELECT t.seq, t.at, t.step, n.name, t.what, t.attempt, t.result, t.answered_at, t.detail, t.actor
             FROM saga_step t JOIN saga s ON s.saga = t.saga
             LEFT JOIN saga_definition_step n ON n.definition = s.definition AND n.step = t.step
             WHERE t.saga = ?1 AND t.seq > ?2 ORDER BY t.seq LIMIT ?3";
        self.gate.read("the course of a saga", |db| {
            let mut read = db.prepare_cached(sql)?;
            read.query_map(params![column(no.get()), column(after.0), page(limit) as i64], step)?.collect()
        })
    }
}

fn saga(row: &Row<'_>) -> rusqlite::Result<SagaRecord> {
    Ok(SagaRecord {
        saga: SagaNo::new(row.get::<_, i64>(0)? as u64),
        name: text(row, 1)?,
        version: row.get(2)?,
        key: text(row, 3)?,
        state: shown(row, 4)?,
        phase: shown(row, 5)?,
        cause: maybe_text(row, 6)?,
        cause_step: maybe_text(row, 7)?,
        cause_why: maybe_text(row, 8)?,
        cause_actor: maybe_text(row, 9)?,
        parked_step: maybe_text(row, 10)?,
        parked_why: maybe_text(row, 11)?,
        parked_at: maybe_time(row, 12)?,
        at_risk: row.get(13)?,
        input: text(row, 14)?,
        started_at: time(row, 15)?,
        changed_at: time(row, 16)?,
        ended_at: maybe_time(row, 17)?,
        seq: seq(row, 18)?,
    })
}

fn shown(row: &Row<'_>, column: usize) -> rusqlite::Result<SagaShown> {
    let word: String = row.get(column)?;
    let found = SagaShown::ALL.into_iter().find(|known| known.as_str() == word);
    found.ok_or_else(|| wrong(column, "a saga's state"))
}

fn step(row: &Row<'_>) -> rusqlite::Result<SagaStepRecord> {
    Ok(SagaStepRecord {
        seq: seq(row, 0)?,
        at: time(row, 1)?,
        place: row.get(2)?,
        step: maybe_text(row, 3)?,
        what: text(row, 4)?,
        attempt: row.get(5)?,
        result: maybe_text(row, 6)?,
        answered_at: maybe_time(row, 7)?,
        detail: maybe_text(row, 8)?,
        actor: maybe_text(row, 9)?,
    })
}
