//! Sagas: what their events do to the rows.

mod reader;
mod rows;

pub use reader::{ParkedOrder, SagaPage, SagaRecord, SagaShown, SagaStepRecord, SagaTotals};

use super::apply::{Fault, Moment};
use super::json;
use banyan_domain::saga::{
    Action, Ask, Cause, Definition, End, Event, Fields, Resume, Settlement, StepKind, Target,
};
use banyan_domain::{Actor, SagaKey, SagaNo};
use rows::{SagaRow, TryRow};
use rusqlite::{Connection, OptionalExtension, params};
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

/// Rows that this transaction has touched, written once at its end: most steps are asked and answered within one, and a
/// saga changes with each of them.
#[derive(Debug, Default)]
pub(super) struct SagaRows {
    sagas: BTreeMap<u64, SagaRow>,
    tries: BTreeMap<(u64, i64), TryRow>,
    /// Tries of this transaction without an answer: saga, step, ask and attempt, and the row's seq.
    open: BTreeMap<(u64, u8, Ask, u32), i64>,
    /// The input fields with the money at risk, by definition: a definition never changes.
    at_risk: BTreeMap<u32, Option<String>>,
}

impl SagaRows {
    /// Does what `event` says.
    pub(super) fn apply(&mut self, moment: Moment<'_>, event: &Event) -> Result<(), Fault> {
        let Some(no) = event.saga() else {
            return match event {
                Event::Defined { definition, by } => defined(moment, definition, by),
                _ => Err(Fault::poison("an event of no saga")),
            };
        };
        if let Event::Started { definition, key, input, .. } = event {
            return self.started(moment, no, *definition, key, input);
        }
        let saga = self.saga(moment, no)?;
        (saga.changed_at, saga.seq) = (moment.at, moment.seq);
        match event {
            Event::Defined { .. } | Event::Started { .. } => {}
            Event::Scheduled { step, ask, attempt, .. } => {
                if saga.phase == "compensated" {
                    // An effect that came after everything was undone, and is undone now.
                    saga.enter("compensating", None);
                }
                self.open.insert((no.get(), *step, *ask, *attempt), moment.seq);
                let row =
                    TryRow { attempt: Some(*attempt), ..TryRow::new(moment, Some(*step), ask_word(*ask)) };
                self.note(moment, no, row);
            }
            Event::Settled { step, ask, attempt, result, .. } => {
                self.settled(moment, no, *step, *ask, *attempt, result)?;
            }
            Event::Skipped { step, .. } => {
                self.note(moment, no, TryRow::new(moment, Some(*step), "skipped"));
            }
            Event::TurnedBack { cause, .. } => {
                let row = saga.turn_back(moment, cause);
                self.note(moment, no, row);
            }
            Event::Parked { step, why, .. } => {
                saga.park(moment, *step, why);
                let row = TryRow::new(moment, Some(*step), "parked");
                self.note(moment, no, TryRow { detail: Some(why.to_string()), ..row });
            }
            Event::Resumed { how, by, reason, .. } => {
                let step = saga.unpark();
                let (result, output) = match how {
                    Resume::Retry => ("retry", None),
                    Resume::Skip(output) => ("skip", Some(output).filter(|output| !output.is_empty())),
                    Resume::Undo => {
                        saga.turn_back(moment, &Cause::Forced);
                        ("undo", None)
                    }
                };
                let said = Some(reason.to_string()).filter(|reason| !reason.is_empty());
                let row = TryRow {
                    result: Some(result),
                    detail: output.map(json::object).or(said),
                    actor: Some(by.to_string()),
                    ..TryRow::new(moment, step, "resumed")
                };
                self.note(moment, no, row);
            }
            Event::Ended { end, .. } => {
                let word = end_word(*end);
                saga.enter(word, Some(moment.at));
                let row = TryRow::new(moment, None, "ended");
                self.note(moment, no, TryRow { result: Some(word), ..row });
            }
        }
        Ok(())
    }

    /// Writes what was touched.
    pub(super) fn flush(&mut self, db: &Connection) -> Result<(), Fault> {
        self.open.clear();
        while let Some((no, saga)) = self.sagas.pop_first() {
            saga.write(db, no)?;
        }
        if !self.tries.is_empty() {
            let mut insert = db.prepare_cached(rows::INSERT_TRY)?;
            while let Some(((saga, seq), row)) = self.tries.pop_first() {
                row.write(&mut insert, saga, seq)?;
            }
        }
        Ok(())
    }

    fn started(
        &mut self,
        moment: Moment<'_>,
        no: SagaNo,
        definition: u32,
        key: &SagaKey,
        input: &Fields,
    ) -> Result<(), Fault> {
        let at_risk = match self.at_risk.entry(definition) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(new) => new.insert(at_risk(moment, definition)?),
        };
        let at_risk = at_risk.as_ref().and_then(|field| input.get(field)?.parse().ok());
        let row = SagaRow::new(moment, definition, key, input, at_risk);
        match self.sagas.insert(no.get(), row) {
            None => Ok(()),
            Some(_) => Err(Fault::poison("the saga began twice")),
        }
    }

    fn settled(
        &mut self,
        moment: Moment<'_>,
        no: SagaNo,
        step: u8,
        ask: Ask,
        attempt: u32,
        result: &Settlement,
    ) -> Result<(), Fault> {
        let (word, detail) = settlement(result);
        let open = self.open.remove(&(no.get(), step, ask, attempt));
        if let Some(row) = open.and_then(|seq| self.tries.get_mut(&(no.get(), seq))) {
            row.answer(moment, word, detail);
            return Ok(());
        }
        // Asked in an earlier transaction, unless the saga itself is of this one.
        if !self.saga(moment, no)?.is_new() {
            let mut update = moment.db.prepare_cached(
                "UPDATE saga_step SET result = ?5, answered_at = ?6, detail = ?7
                 WHERE saga = ?1 AND step = ?2 AND what = ?3 AND attempt = ?4 AND result IS NULL",
            )?;
            let row = params![no.get() as i64, step, ask_word(ask), attempt, word, moment.at, detail];
            if update.execute(row)? > 0 {
                return Ok(());
            }
        }
        // Done by this store itself, or answered once more.
        let mut row = TryRow { attempt: Some(attempt), ..TryRow::new(moment, Some(step), ask_word(ask)) };
        row.answer(moment, word, detail);
        self.note(moment, no, row);
        Ok(())
    }

    fn saga(&mut self, moment: Moment<'_>, no: SagaNo) -> Result<&mut SagaRow, Fault> {
        Ok(match self.sagas.entry(no.get()) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(new) => new.insert(SagaRow::read(moment.db, no)?),
        })
    }

    fn note(&mut self, moment: Moment<'_>, no: SagaNo, row: TryRow) {
        self.tries.insert((no.get(), moment.seq), row);
    }
}

/// The input field with the money at risk of a definition's sagas, if it names one.
fn at_risk(moment: Moment<'_>, definition: u32) -> Result<Option<String>, Fault> {
    let sql = "SELECT at_risk FROM saga_definition WHERE definition = ?1";
    let mut read = moment.db.prepare_cached(sql)?;
    let found = read.query_row([definition], |row| row.get(0)).optional()?;
    found.ok_or_else(|| Fault::poison("the saga's definition is not there"))
}

fn defined(moment: Moment<'_>, definition: &Definition, by: &Actor) -> Result<(), Fault> {
    let Moment { db, seq, at } = moment;
    let sql = "SELECT coalesce(max(definition), 0) + 1 FROM saga_definition";
    let number: u32 = db.prepare_cached(sql)?.query_row([], |row| row.get(0))?;
    let mut insert = db.prepare_cached(
        "INSERT INTO saga_definition (definition, name, version, deadline_ms, at_risk, defined_at, defined_by, seq)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
    )?;
    insert.execute(params![
        number,
        definition.name.as_str(),
        definition.version,
        definition.deadline.map(|span| span.get() as i64),
        definition.at_risk,
        at,
        by.as_str(),
        seq,
    ])?;
    let mut insert = db.prepare_cached(
        "INSERT INTO saga_definition_step (definition, step, name, kind, target, undo, query)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
    )?;
    for (place, step) in (0_u8..).zip(&definition.steps) {
        insert.execute(params![
            number,
            place,
            step.name.as_str(),
            kind_word(step.kind),
            target(&step.action),
            step.undo.as_ref().map(target),
            step.query.as_ref().map(target),
        ])?;
    }
    Ok(())
}

fn target(action: &Action) -> String {
    match &action.target {
        Target::Local(name) => name.to_string(),
        Target::Service { service, operation } => format!("{service}/{operation}"),
    }
}

const fn kind_word(kind: StepKind) -> &'static str {
    match kind {
        StepKind::Compensatable => "compensatable",
        StepKind::Pivot => "pivot",
        StepKind::Retriable => "retriable",
    }
}

const fn ask_word(ask: Ask) -> &'static str {
    match ask {
        Ask::Do => "do",
        Ask::Undo => "undo",
        Ask::Query => "query",
    }
}

const fn end_word(end: End) -> &'static str {
    match end {
        End::Completed => "completed",
        End::Compensated => "compensated",
    }
}

/// What came of an ask, in a word and in detail.
fn settlement(result: &Settlement) -> (&'static str, Option<String>) {
    let output = |fields: &Fields| Some(json::object(fields)).filter(|_| !fields.is_empty());
    match result {
        Settlement::Done(fields) => ("done", output(fields)),
        Settlement::Refused(why) => ("refused", Some(why.to_string())),
        Settlement::Unknown(why) => ("unknown", Some(why.to_string())),
        Settlement::NotSent(why) => ("not-sent", Some(why.to_string())),
        Settlement::Awaiting(fields, _) => ("awaiting", output(fields)),
        Settlement::Absent => ("absent", None),
    }
}
