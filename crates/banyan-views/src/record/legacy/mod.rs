//! The way over from an old shop: what its events do to the rows. They are few, but for the items of a copy.

mod reader;

pub use reader::{MoveRecord, NoticeKind, NoticeRecord, StepRecord};

use super::apply::{Fault, Moment};
use banyan_domain::legacy::{Capability, Event, NamedBreach};
use rusqlite::{Params, params};

/// Does what `event` says.
pub(super) fn apply(moment: Moment<'_>, event: &Event) -> Result<(), Fault> {
    let Moment { seq, at, .. } = moment;
    match event {
        Event::MoveBegun { capability, number, to, by, reason, .. } => {
            let values = params![
                capability.as_str(),
                *number as i64,
                to.as_str(),
                at,
                by.as_str(),
                reason.as_str(),
                seq
            ];
            let sql =
                "INSERT INTO legacy_move (capability, no, to_phase, state, begun_at, begun_by, reason, seq)
                 VALUES (?1, ?2, ?3, 'begun', ?4, ?5, ?6, ?7)";
            one_row(moment, sql, values)
        }
        Event::MoveNoted { capability, step, note } => {
            let sql = "INSERT INTO legacy_step (capability, move_no, seq, step, at, note)
                 SELECT capability, no, ?5, ?2, ?3, ?4 FROM legacy_move WHERE capability = ?1 AND state = 'begun'";
            one_row(moment, sql, params![capability.as_str(), step.as_str(), at, note.as_str(), seq])
        }
        Event::MoveDone { capability } => end(moment, *capability, "done", None),
        Event::MoveAborted { capability, why } => end(moment, *capability, "aborted", Some(why.as_str())),
        Event::ItemMirrored { item, allocated, short } => one_row(
            moment,
            "INSERT OR REPLACE INTO mirrored_item (item, allocated, short, seq) VALUES (?1, ?2, ?3, ?4)",
            params![item.get(), allocated, short, seq],
        ),
        Event::BreachNoted { capability, sku, location, what, position, .. } => {
            let values = params![
                seq,
                capability.as_str(),
                "breach",
                at,
                sku.as_str(),
                location.as_str(),
                *position as i64,
                what.as_str()
            ];
            one_row(moment, INSERT_NOTICE, values)
        }
        Event::BreachesNoted { capability, count, named, position, .. } => {
            let first = named.first();
            let sku = first.map(|first| first.sku.as_str());
            let location = first.map(|first| first.location.as_str());
            let (position, what) = (*position as i64, in_words(*count, named));
            let values = params![seq, capability.as_str(), "breach", at, sku, location, position, what];
            one_row(moment, INSERT_NOTICE, values)
        }
        Event::OutboxRefused { capability, id, why } => {
            let what = format!("message {id}: {why}");
            let none: Option<i64> = None;
            one_row(
                moment,
                INSERT_NOTICE,
                params![seq, capability.as_str(), "refused", at, none, none, none, what],
            )
        }
        Event::Reconciled { capability, position, rows, differing, repaired } => {
            let what = format!("{rows} rows, {differing} differed, {repaired} put right");
            let (none, position): (Option<i64>, _) = (None, *position as i64);
            one_row(
                moment,
                INSERT_NOTICE,
                params![seq, capability.as_str(), "reconciled", at, none, none, position, what],
            )
        }
        Event::TakenOver { capability, number, phase } => {
            let what = format!("the bookkeeping row says {} under move {number}", phase.as_str());
            let none: Option<i64> = None;
            one_row(
                moment,
                INSERT_NOTICE,
                params![seq, capability.as_str(), "taken-over", at, none, none, none, what],
            )
        }
        // How far the stream is belongs to the log alone.
        Event::SourceSet { .. }
        | Event::SourceCopied { .. }
        | Event::SourceApplied { .. }
        | Event::SourceKnown { .. } => Ok(()),
    }
}

/// Writes that were noticed together: how many, and those that are told.
fn in_words(count: u32, named: &[NamedBreach]) -> String {
    let told = named.iter().map(|one| format!("{} at {}: {}", one.sku, one.location, one.what));
    let told: Vec<String> = told.collect();
    let more = (count as usize).saturating_sub(named.len());
    let more = if more > 0 { format!("; and {more} more") } else { String::new() };
    format!("{count} writes: {}{more}", told.join("; "))
}

const INSERT_NOTICE: &str =
    "INSERT INTO legacy_notice (seq, capability, kind, at, sku, location, position, what)
     VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)";

fn end(moment: Moment<'_>, capability: Capability, state: &str, why: Option<&str>) -> Result<(), Fault> {
    let sql = "UPDATE legacy_move SET state = ?2, ended_at = ?3, why = ?4, seq = ?5
         WHERE capability = ?1 AND state = 'begun'";
    one_row(moment, sql, params![capability.as_str(), state, moment.at, why, moment.seq])
}

fn one_row(moment: Moment<'_>, sql: &str, values: impl Params) -> Result<(), Fault> {
    match moment.db.prepare_cached(sql)?.execute(values)? {
        1 => Ok(()),
        _ => Err(Fault::poison("no move is under way")),
    }
}
