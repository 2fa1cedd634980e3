//! A saga and a try of one of its steps, as a transaction has them in its hands.

use crate::record::apply::{Fault, Moment};
use crate::record::json;
use banyan_domain::saga::{Cause, Fields};
use banyan_domain::{SagaKey, SagaNo};
use rusqlite::{Connection, OptionalExtension, Statement, params};
use std::borrow::Cow;

/// What of a saga changes.
#[derive(Debug)]
pub(super) struct SagaRow {
    /// `running`, `compensating`, `completed` or `compensated`.
    pub phase: Cow<'static, str>,
    pub changed_at: i64,
    pub seq: i64,
    cause: Option<CauseRow>,
    parked: Option<(u8, String, i64)>,
    ended_at: Option<i64>,
    /// What a row that is not written yet has besides.
    new: Option<NewSaga>,
}

/// Why a saga turned back: the word, the step, why, and by whom.
type CauseRow = (Cow<'static, str>, Option<u8>, Option<String>, Option<String>);

#[derive(Debug)]
struct NewSaga {
    definition: u32,
    key: String,
    at_risk: Option<i64>,
    input: String,
    started_at: i64,
}

/// Writes a row of a saga's course.
pub(super) const INSERT_TRY: &str =
    "INSERT INTO saga_step (saga, seq, at, step, what, attempt, result, answered_at, detail, actor)
     VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)";

/// A row of a saga's course.
#[derive(Debug)]
pub(super) struct TryRow {
    pub attempt: Option<u32>,
    pub result: Option<&'static str>,
    pub detail: Option<String>,
    pub actor: Option<String>,
    pub at: i64,
    pub step: Option<u8>,
    pub what: &'static str,
    pub answered_at: Option<i64>,
}

impl SagaRow {
    pub(super) fn new(
        moment: Moment<'_>,
        definition: u32,
        key: &SagaKey,
        input: &Fields,
        at_risk: Option<i64>,
    ) -> Self {
        Self {
            phase: "running".into(),
            changed_at: moment.at,
            seq: moment.seq,
            cause: None,
            parked: None,
            ended_at: None,
            new: Some(NewSaga {
                definition,
                key: key.to_string(),
                at_risk,
                input: json::object(input),
                started_at: moment.at,
            }),
        }
    }

    pub(super) fn read(db: &Connection, no: SagaNo) -> Result<Self, Fault> {
        let sql = "SELECT phase, changed_at, seq, cause, cause_step, cause_why, cause_actor, parked_step, parked_why,
               parked_at, ended_at FROM saga WHERE saga = ?1";
        let mut read = db.prepare_cached(sql)?;
        let row = read.query_row([no.get() as i64], |row| {
            let cause: Option<String> = row.get(3)?;
            let cause = match cause {
                Some(word) => Some((word.into(), row.get(4)?, row.get(5)?, row.get(6)?)),
                None => None,
            };
            let parked_at: Option<i64> = row.get(9)?;
            let parked = match parked_at {
                Some(at) => Some((row.get(7)?, row.get(8)?, at)),
                None => None,
            };
            let phase: String = row.get(0)?;
            let (changed_at, seq, ended_at) = (row.get(1)?, row.get(2)?, row.get(10)?);
            Ok(Self { phase: phase.into(), changed_at, seq, cause, parked, ended_at, new: None })
        });
        row.optional()?.ok_or_else(|| Fault::poison(format!("saga {} is not there", no.get())))
    }

    /// Whether its row is not written yet.
    pub(super) const fn is_new(&self) -> bool {
        self.new.is_some()
    }

    pub(super) fn enter(&mut self, phase: &'static str, ended_at: Option<i64>) {
        self.phase = phase.into();
        self.ended_at = ended_at;
    }

    /// Turns it back, and gives the row that tells so.
    pub(super) fn turn_back(&mut self, moment: Moment<'_>, cause: &Cause) -> TryRow {
        self.enter("compensating", None);
        self.parked = None;
        let (word, step, why, actor) = match cause {
            Cause::Step(step, why) => ("step", Some(*step), Some(why.to_string()), None),
            Cause::Cancelled(by, reason) => {
                let why = Some(reason.to_string()).filter(|reason| !reason.is_empty());
                ("cancelled", None, why, Some(by.to_string()))
            }
            Cause::TimedOut => ("timed-out", None, None, None),
            Cause::Forced => ("forced", None, None, None),
        };
        self.cause = Some((word.into(), step, why.clone(), actor.clone()));
        TryRow { result: Some(word), detail: why, actor, ..TryRow::new(moment, step, "turned-back") }
    }

    pub(super) fn park(&mut self, moment: Moment<'_>, step: u8, why: &str) {
        self.parked = Some((step, why.to_owned(), moment.at));
    }

    /// Lets it go on; the step it was parked at.
    pub(super) fn unpark(&mut self) -> Option<u8> {
        self.parked.take().map(|(step, ..)| step)
    }

    pub(super) fn write(&self, db: &Connection, no: u64) -> Result<(), Fault> {
        let Self { phase, changed_at, seq, cause, parked, ended_at, new } = self;
        let state = if parked.is_some() { "parked" } else { phase };
        let cause = cause.as_ref();
        let (word, cause_step) = (cause.map(|cause| &cause.0), cause.and_then(|cause| cause.1));
        let (why, actor) =
            (cause.and_then(|cause| cause.2.as_ref()), cause.and_then(|cause| cause.3.as_ref()));
        let parked = parked.as_ref();
        let (parked_step, parked_why) = (parked.map(|parked| parked.0), parked.map(|parked| &parked.1));
        let parked_at = parked.map(|parked| parked.2);
        let no = no as i64;
        let Some(new) = new else {
            let mut update = db.prepare_cached(
                "UPDATE saga SET state = ?2, phase = ?3, cause = ?4, cause_step = ?5, cause_why = ?6, cause_actor = ?7,
                   parked_step = ?8, parked_why = ?9, parked_at = ?10, changed_at = ?11, ended_at = ?12, seq = ?13
                 WHERE saga = ?1",
            )?;
            let row = params![
                no,
                state,
                phase,
                word,
                cause_step,
                why,
                actor,
                parked_step,
                parked_why,
                parked_at,
                changed_at,
                ended_at,
                seq
            ];
            return match update.execute(row)? {
                1 => Ok(()),
                _ => Err(Fault::poison("the saga is not there")),
            };
        };
        let mut insert = db.prepare_cached(
            "INSERT INTO saga (saga, state, phase, cause, cause_step, cause_why, cause_actor, parked_step, parked_why,
               parked_at, changed_at, ended_at, seq, definition, key, at_risk, input, started_at)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18)",
        )?;
        let NewSaga { definition, key, at_risk, input, started_at } = new;
        insert.execute(params![
            no,
            state,
            phase,
            word,
            cause_step,
            why,
            actor,
            parked_step,
            parked_why,
            parked_at,
            changed_at,
            ended_at,
            seq,
            definition,
            key,
            at_risk,
            input,
            started_at
        ])?;
        Ok(())
    }
}

impl TryRow {
    pub(super) fn new(moment: Moment<'_>, step: Option<u8>, what: &'static str) -> Self {
        let (result, detail, actor) = (None, None, None);
        Self { attempt: None, result, detail, actor, at: moment.at, step, what, answered_at: None }
    }

    pub(super) fn answer(&mut self, moment: Moment<'_>, word: &'static str, detail: Option<String>) {
        self.result = Some(word);
        self.answered_at = Some(moment.at);
        self.detail = detail;
    }

    /// Writes it with `insert`, which is [`INSERT_TRY`].
    pub(super) fn write(&self, insert: &mut Statement<'_>, saga: u64, seq: i64) -> Result<(), Fault> {
        let Self { attempt, result, detail, actor, at, step, what, answered_at } = self;
        insert.execute(params![
            saga as i64,
            seq,
            at,
            step,
            what,
            attempt,
            result,
            answered_at,
            detail,
            actor
        ])?;
        Ok(())
    }
}
