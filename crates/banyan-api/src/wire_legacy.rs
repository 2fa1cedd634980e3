//! The way over from an old shop as the wire writes it.

use crate::clock::rfc3339;
use banyan_domain::legacy::CapabilityState;
use banyan_legacy::{Gate, LagPoint, Plan, ProgressView, ReferencesView, Status, StreamHealth, steps};
use serde::{Deserialize, Serialize};
use std::time::Duration;
use utoipa::ToSchema;

/// A move that is asked for.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct BeginMoveJson {
    /// Where to: `legacy`, `mirror`, `lead` or `retired`, one step from where the capability is.
    #[schema(example = "mirror")]
    pub to: String,
    /// Why, for the record. Needed where `without` names something.
    pub reason: String,
    /// Gates to go without: those that may be overridden, by name. They are kept in the log with what was found of them.
    #[serde(default)]
    pub without: Vec<String>,
}

/// Why a move is given up.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AbortMoveJson {
    /// Why, for the record.
    pub reason: String,
}

/// A move that was begun.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct MoveBegunJson {
    /// Its number.
    #[serde(rename = "move")]
    pub number: u64,
    /// Where to.
    pub to: String,
}

/// A capability on its way over.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct LegacyJson {
    /// Which.
    pub capability: &'static str,
    /// `legacy`, `mirror`, `lead` or `retired`.
    pub phase: &'static str,
    /// Since when; absent if it never moved.
    pub since: Option<String>,
    /// The number of the last move that was done.
    pub epoch: u64,
    /// The move under way.
    pub moving: Option<MoveJson>,
    /// The stream of the old database.
    pub source: Option<SourceJson>,
    /// How the sync is doing.
    pub sync: SyncJson,
    /// The last comparison of both sides.
    pub reconciled: Option<ReconciledJson>,
    /// Items of the old shop.
    pub items: usize,
    /// Of these, items sold beyond what there was.
    pub short: usize,
    /// Writes by others to what Banyan leads, so far.
    pub breaches: u64,
    /// Messages of the old shop that could not be carried out, so far.
    pub outbox_refused: u64,
    /// References to the old columns within the quiet time.
    pub references_left: usize,
    /// What an operator must look at, in words: the lead taken back by hand in the old database, a stream that was left behind
    /// there, old columns that could not be written for a while. Empty if nothing is.
    pub trouble: Vec<String>,
    /// Reservations of the old shop's goods that are over by the clock and still held: an order for them may be on its way
    /// through the old database's stream. More than a few for more than a few seconds: the stream stands still.
    pub holds_waiting: usize,
    /// Up to when everything that the old database committed is known to be applied; absent if nobody has waited for it yet.
    pub known_until: Option<String>,
}

/// A move under way.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct MoveJson {
    /// Its number.
    #[serde(rename = "move")]
    pub number: u64,
    /// Where to.
    pub to: &'static str,
    /// Who asked for it.
    pub by: String,
    /// Why.
    pub reason: String,
    /// What it goes without, in writing, as it was when it was begun.
    pub without: Vec<WithoutJson>,
    /// Since when.
    pub begun_at: String,
    /// Its steps, in order.
    pub steps: Vec<StepJson>,
    /// What it waits for, or what stands in its way.
    pub waits_for: Option<String>,
}

/// A gate that a move goes without.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct WithoutJson {
    /// Its name.
    pub gate: String,
    /// What was found of it.
    pub found: String,
}

/// One step of a move.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct StepJson {
    /// Which.
    pub step: &'static str,
    /// What is done in it.
    pub what: &'static str,
    /// When the move came to it; absent while it has not.
    pub done_at: Option<String>,
    /// What was seen there.
    pub note: Option<String>,
}

/// The stream that is followed. Positions are texts: they are larger than numbers of JSON may be relied upon.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct SourceJson {
    /// The old database system.
    pub system: String,
    /// The stream.
    pub stream: String,
    /// Everything up to here is applied.
    pub position: String,
    /// Whether the rows are still being copied.
    pub copying: bool,
    /// How the old database sees it; absent before the first look.
    pub health: Option<HealthJson>,
}

/// How the old database sees the stream.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct HealthJson {
    /// What it says: `reserved`, `extended`, `unreserved`, `lost`, `absent`, or why it could not be asked.
    pub status: String,
    /// Whether somebody reads it.
    pub active: bool,
    /// Bytes of its log that it keeps for us.
    pub retained_bytes: u64,
    /// More than this is told: `watch.wal_bytes_max` of the mapping.
    pub retained_bytes_max: u64,
    /// Bytes that may still be written before it gives us up.
    pub safe_bytes: Option<u64>,
}

/// How the sync is doing since the server started.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct SyncJson {
    /// Whether the stream in is followed.
    pub inward: bool,
    /// Whether the old columns follow.
    pub outward: bool,
    /// Lag of the last source transaction when it was durable here, milliseconds.
    pub lag_millis: u64,
    /// Lag of the last write when it was committed in the old database, milliseconds; or, if that is more, how long something has
    /// waited to be written.
    pub out_lag_millis: u64,
    /// Source transactions applied.
    pub transactions: u64,
    /// Rows they had.
    pub rows_in: u64,
    /// Rows written to the old tables.
    pub rows_out: u64,
    /// Own writes that came back and were recognised.
    pub echoes: u64,
    /// The event up to which the old tables are, but for rows that are set aside.
    pub seq_written: u64,
    /// Rows that the old tables refuse as they should be; they are set aside, and the others go on.
    pub rows_aside: u64,
    /// The first of them, and the old database's words.
    pub first_aside: Option<String>,
    /// What stands in the way of the stream in.
    pub inward_trouble: Option<String>,
    /// What stands in the way of the sync out.
    pub outward_trouble: Option<String>,
}

/// A comparison of both sides.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct ReconciledJson {
    /// When.
    pub at: String,
    /// As of which position.
    pub position: String,
    /// Rows compared.
    pub rows: u64,
    /// Rows that differed.
    pub differing: u64,
    /// Of these, rows put right.
    pub repaired: u64,
}

/// What a move would do, and whether it may begin.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct PlanJson {
    /// From where.
    pub from: &'static str,
    /// Where to.
    pub to: &'static str,
    /// Whether it is one step away and every gate holds, or is one that was asked to be gone without and may be.
    pub may_begin: bool,
    /// What would be done, in order. Empty if it is not one step away.
    pub steps: Vec<PlannedJson>,
    /// What must be so.
    pub gates: Vec<GateJson>,
}

/// A step that would be done.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct PlannedJson {
    /// Which.
    pub step: &'static str,
    /// What is done in it.
    pub what: &'static str,
}

/// Something that must be so before a move.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct GateJson {
    /// Its name.
    pub gate: &'static str,
    /// Whether it is so.
    pub holds: bool,
    /// Whether a move may be begun without it, in writing.
    pub may_be_overridden: bool,
    /// Whether it is gone without: that was asked, and may be.
    pub without: bool,
    /// What was found.
    pub found: String,
    /// What to do if it does not hold.
    pub needed: String,
}

/// Who touches what is to go.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct ReferencesJson {
    /// Since when it is watched without a gap.
    pub watched_since: String,
    /// For how long nobody may have touched it, seconds.
    pub quiet_seconds: u64,
    /// How many were used within that time.
    pub left: usize,
    /// All, the last used first.
    pub references: Vec<ReferenceJson>,
}

/// Somebody who touches what is to go.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct ReferenceJson {
    /// `sql` or `route`.
    pub kind: &'static str,
    /// Who.
    pub caller: String,
    /// The statement without its constants, or the route.
    pub what: String,
    /// How often since it is counted.
    pub count: u64,
    /// When it was last known to be used.
    pub last_seen: String,
    /// Whether that is within the quiet time.
    pub left: bool,
}

/// What a comparison came to.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct ComparedJson {
    /// Rows compared.
    pub rows: u64,
    /// Rows that still differ.
    pub differing: u64,
}

/// The lags of the last ten minutes.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct LagsJson {
    /// One a second, oldest first.
    pub lags: Vec<LagJson>,
}

/// The lags at one moment.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct LagJson {
    /// When.
    pub at: String,
    /// Of the stream in, milliseconds.
    pub inward_millis: u64,
    /// Of the sync out, milliseconds.
    pub outward_millis: u64,
}

impl From<&Status> for LegacyJson {
    fn from(status: &Status) -> Self {
        let Status {
            state,
            progress,
            health,
            kept_bytes_max,
            stage,
            items: (items, short),
            holds_waiting,
            known_until,
            references_left,
            trouble,
        } = status;
        let source = state.source.as_ref().map(|source| SourceJson {
            system: source.id.system.to_string(),
            stream: source.id.stream.to_string(),
            position: source.position.to_string(),
            copying: source.copying,
            health: health.as_ref().map(|health| health_json(health, *kept_bytes_max)),
        });
        let reconciled = state.reconciled.map(|last| ReconciledJson {
            at: rfc3339(last.at),
            position: last.position.to_string(),
            rows: last.rows,
            differing: last.differing,
            repaired: last.repaired,
        });
        Self {
            capability: "stock",
            phase: state.phase.as_str(),
            since: (state.epoch > 0).then(|| rfc3339(state.since)),
            epoch: state.epoch,
            moving: moving(state, stage.clone()),
            source,
            sync: progress.into(),
            reconciled,
            items: *items,
            short: *short,
            breaches: state.breaches,
            outbox_refused: state.refused,
            references_left: *references_left,
            trouble: trouble.clone(),
            holds_waiting: *holds_waiting,
            known_until: known_until.map(rfc3339),
        }
    }
}

fn moving(state: &CapabilityState, waits_for: Option<String>) -> Option<MoveJson> {
    let moving = state.moving.as_ref()?;
    let steps = steps(state.phase, moving.to).iter().map(|planned| {
        let noted = moving.noted.iter().find(|(step, _, _)| *step == planned.step);
        StepJson {
            step: planned.step.as_str(),
            what: planned.what,
            done_at: noted.map(|(_, at, _)| rfc3339(*at)),
            note: noted.map(|(_, _, note)| note.as_str().to_owned()),
        }
    });
    Some(MoveJson {
        number: moving.number,
        to: moving.to.as_str(),
        by: moving.by.as_str().to_owned(),
        reason: moving.reason.as_str().to_owned(),
        without: moving
            .without
            .iter()
            .flatten()
            .map(|one| WithoutJson {
                gate: one.gate.as_str().to_owned(),
                found: one.found.as_str().to_owned(),
            })
            .collect(),
        begun_at: rfc3339(moving.begun_at),
        steps: steps.collect(),
        waits_for,
    })
}

fn health_json(health: &Result<StreamHealth, String>, retained_bytes_max: u64) -> HealthJson {
    match health {
        Ok(health) => HealthJson {
            status: health.status.clone(),
            active: health.active,
            retained_bytes: health.retained_bytes,
            retained_bytes_max,
            safe_bytes: health.safe_bytes,
        },
        Err(why) => HealthJson {
            status: why.clone(),
            active: false,
            retained_bytes: 0,
            retained_bytes_max,
            safe_bytes: None,
        },
    }
}

impl From<&ProgressView> for SyncJson {
    fn from(view: &ProgressView) -> Self {
        Self {
            inward: view.inward,
            outward: view.outward,
            lag_millis: view.lag_millis,
            out_lag_millis: view.out_lag_millis,
            transactions: view.transactions,
            rows_in: view.rows_in,
            rows_out: view.rows_out,
            echoes: view.echoes,
            seq_written: view.seq_written,
            rows_aside: view.aside,
            first_aside: view.aside_first.clone(),
            inward_trouble: view.trouble.inward.clone(),
            outward_trouble: view.trouble.outward.clone(),
        }
    }
}

impl PlanJson {
    /// The plan of a move that goes without the gates named.
    pub(crate) fn new(plan: &Plan, without: &[String]) -> Self {
        let planned =
            plan.steps.iter().map(|planned| PlannedJson { step: planned.step.as_str(), what: planned.what });
        Self {
            from: plan.from.as_str(),
            to: plan.to.as_str(),
            may_begin: plan.may_begin(without),
            steps: planned.collect(),
            gates: plan.gates.iter().map(|gate| GateJson::new(gate, without)).collect(),
        }
    }
}

impl GateJson {
    fn new(gate: &Gate, without: &[String]) -> Self {
        Self {
            gate: gate.name,
            holds: gate.holds,
            may_be_overridden: gate.may_be_overridden,
            without: gate.is_passed_over(without),
            found: gate.found.clone(),
            needed: gate.needed.clone(),
        }
    }
}

impl ReferencesJson {
    /// The ledger at `now`, of which those used within `quiet` are left.
    pub(crate) fn new(view: &ReferencesView, now: banyan_domain::Timestamp, quiet: Duration) -> Self {
        let from = now.as_millis().saturating_sub(quiet.as_millis() as u64);
        let references = view.all.iter().map(|reference| ReferenceJson {
            kind: reference.kind.as_str(),
            caller: reference.caller.clone(),
            what: reference.what.clone(),
            count: reference.count,
            last_seen: rfc3339(reference.last_seen),
            left: reference.last_seen.as_millis() > from,
        });
        Self {
            watched_since: rfc3339(view.since),
            quiet_seconds: quiet.as_secs(),
            left: view.left(now, quiet),
            references: references.collect(),
        }
    }
}

impl From<LagPoint> for LagJson {
    fn from(point: LagPoint) -> Self {
        let at = rfc3339(banyan_domain::Timestamp::from_millis(point.at));
        Self { at, inward_millis: point.inward, outward_millis: point.outward }
    }
}
