//! Applies the rules of evidence: looks at every route once a second, and changes the table as the actor `evidence`.

use crate::change::{Change, Refused};
use crate::config::{CanarySpec, Mode, RouteSpec};
use crate::courses::Courses;
use crate::evidence::{Act, EvidenceRules, Position, Totals};
use crate::gateway::Gateway;
use crate::shadow::now_millis;
use crate::side::Side;
use crate::table::Route;
use std::borrow::Cow;
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::sync::watch;

/// Who changes the table, in its history.
pub(crate) const ACTOR: &str = "evidence";
/// How often it looks.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Looks between two times that the ledger of callers is stored.
const LOOKS_PER_STORE: u32 = 15;
/// How often a change is asked for again when somebody else was faster.
const TRIES_MAX: usize = 5;

/// The rules of a route, if they have something to decide. While a ramp is on its way, it says when the share grows, and
/// evidence only guards it.
pub(crate) fn followed(route: &Route, now: u64) -> Option<Cow<'_, EvidenceRules>> {
    let rules = &**route.rules().evidence.as_ref()?;
    if route.mode() == Mode::Legacy || route.spec().upstream.is_none() {
        return None;
    }
    let ramp = route.rules().canary.as_ref().filter(|_| route.mode() == Mode::Canary);
    if ramp.is_some_and(|canary| canary.ramp.is_under_way(now)) {
        return Some(Cow::Owned(EvidenceRules { steps: Vec::new(), ..rules.clone() }));
    }
    Some(Cow::Borrowed(rules))
}

/// What a route's counts are now.
pub(crate) fn totals(route: &Route) -> Totals {
    let [compared, mismatched, asked, errors] = route.lane().counts();
    let (banyan, legacy) = (route.traffic().side(Side::Banyan), route.traffic().side(Side::Legacy));
    Totals {
        compared,
        mismatched,
        asked: asked + banyan.requests,
        errors: errors + banyan.errors(),
        users: banyan.requests,
        user_errors: banyan.errors(),
        banyan: route.lane().paired_times(Side::Banyan),
        legacy: route.lane().paired_times(Side::Legacy),
        user_banyan: banyan.histogram,
        user_legacy: legacy.histogram,
    }
}

/// Looks at every route until `stop`, on a thread of its own: a change waits for the disk.
///
/// # Errors
/// The system gives no thread.
pub(crate) fn start(gateway: Gateway, mut stop: watch::Receiver<bool>) -> std::io::Result<JoinHandle<()>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
    std::thread::Builder::new().name("gateway-evidence".into()).spawn(move || {
        runtime.block_on(async {
            let mut looks = tokio::time::interval(LOOK_EVERY);
            let mut number = 0_u32;
            loop {
                tokio::select! {
                    _ = looks.tick() => {}
                    stopped = stop.wait_for(|stop| *stop) => {
                        drop(stopped);
                        break;
                    }
                }
                look(&gateway, now_millis());
                number = number.wrapping_add(1);
                if number.is_multiple_of(LOOKS_PER_STORE) || gateway.inner.sides.ledger.has_news() {
                    store(&gateway);
                }
            }
            store(&gateway);
        });
    })
}

fn store(gateway: &Gateway) {
    if let Err(error) = gateway.inner.sides.ledger.save(now_millis()) {
        tracing::warn!(%error, "the ledger of callers could not be stored; it is tried again");
    }
}

/// One look at every route.
pub(crate) fn look(gateway: &Gateway, now: u64) {
    let table = gateway.table();
    gateway.inner.sides.ledger.watch(&table, now);
    let courses = &gateway.inner.sides.courses;
    courses.forget_unused(|name| table.route(name).is_some());
    for route in table.routes() {
        if let Some((at, act)) = courses.step(route, now) {
            // First what was decided, and then what follows from it: if the process ends in between, a route that was taken
            // back is taken back again, and one that was promoted has spent its look.
            save(courses);
            apply(gateway, route.name(), at, &act, now);
        }
    }
    save(courses);
}

fn save(courses: &Courses) {
    if let Err(error) = courses.save() {
        tracing::warn!(%error, "how evidence stands could not be stored; it is tried again");
    }
}

fn apply(gateway: &Gateway, name: &str, at: Position, act: &Act, now: u64) {
    for _ in 0..TRIES_MAX {
        let table = gateway.table();
        let Some(route) = table.route(name) else { return };
        if route.rules().position(route.mode(), now) != at {
            // An operator was faster: what was found is about another place.
            return;
        }
        let (spec, reason) = changed(route.spec(), act);
        let reason = crate::diff::redact::cut(&reason, crate::limits::REASON_BYTES_MAX).to_owned();
        match gateway.change(table.version(), Change::SetRoute(Box::new(spec)), ACTOR, &reason) {
            Ok(version) => {
                match act {
                    Act::Promote { .. } => tracing::info!(route = name, version, reason, "promoted"),
                    Act::Back { .. } => tracing::warn!(route = name, version, reason, "taken back"),
                }
                return;
            }
            Err(Refused::Stale { .. }) => {}
            Err(refused) => {
                tracing::error!(route = name, %refused, reason, "evidence asks for a change that is not possible; it asks again");
                return;
            }
        }
    }
}

/// The route after an act, and why, for the history.
fn changed(spec: &RouteSpec, act: &Act) -> (RouteSpec, String) {
    let mut spec = spec.clone();
    let mut canary = spec.canary.take().unwrap_or_else(CanarySpec::nobody);
    // An operator's ramp is over when evidence moves a route: it would move it again a moment later.
    canary.ramp.clear();
    canary.paused_at = None;
    let reason = match act {
        Act::Promote { to, why } => {
            spec.mode = Mode::Canary;
            canary.percent = to.percent();
            format!("promoted to {to}: {why}")
        }
        Act::Back { why } => {
            spec.mode = Mode::Shadow;
            canary.percent = 0.0;
            format!("taken back to shadow: {why}")
        }
    };
    spec.canary = Some(canary);
    (spec, reason)
}

#[cfg(test)]
mod tests;
