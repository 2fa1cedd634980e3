//! What the gateway beside this server knows of the routes that touch a capability: facts for the gates of its moves.
//!
//! Which routes touch it is said in one place, at the route: `touches = ["stock"]`.

use crate::exit::Failure;
use banyan_domain::Timestamp;
use banyan_domain::legacy::Capability;
use banyan_gateway::evidence::{Finding, Standing};
use banyan_gateway::shadow::ShadowReport;
use banyan_gateway::{Change, Config, Gateway, Mode, Route};
use banyan_legacy::{RouteCaller, RouteEvidence, RouteLedger, Routes};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

/// Who changes the gateway's table when evidence does.
const EVIDENCE: &str = "evidence";

/// The gateway, once it is there: the keeper of what is moved over starts first.
#[derive(Default)]
pub(crate) struct TouchingRoutes(OnceLock<Gateway>);

/// What is known of one route.
struct Seen<'a> {
    mode: Mode,
    /// Banyan's share in mode `canary`, percent; none while a ramp says it.
    percent: Option<f64>,
    has_banyan: bool,
    report: Option<&'a ShadowReport>,
    standing: Option<Standing>,
    /// Evidence itself put the route where it is.
    promoted: bool,
}

/// Whether something is good enough, what was found, and what is needed if it is not.
struct Verdict {
    holds: bool,
    found: String,
    needed: &'static str,
}

/// Refuses a configuration whose routes touch something that cannot be moved: a misspelt name would be watched by nobody.
pub(crate) fn check_touches(config: &Config) -> Result<(), Failure> {
    for route in &config.routes {
        for name in &route.touches {
            if Capability::from_word(name).is_none() {
                let known: Vec<&str> = Capability::ALL.iter().map(|capability| capability.as_str()).collect();
                return Err(Failure::usage(format!(
                    "route {:?} of the gateway: touches: there is no capability {name:?}; write {}, or leave it out",
                    route.name,
                    known.join(" or ")
                )));
            }
        }
    }
    Ok(())
}

impl TouchingRoutes {
    /// Takes the gateway. The first one stays.
    pub(crate) fn set(&self, gateway: Gateway) {
        self.0.get_or_init(|| gateway);
    }
}

impl Routes for TouchingRoutes {
    fn evidence(&self, capability: Capability) -> Vec<RouteEvidence> {
        let Some(gateway) = self.0.get() else {
            let found = "the gateway of this server is starting".to_owned();
            let needed = "ask again in a moment".to_owned();
            return vec![RouteEvidence { route: "gateway".to_owned(), holds: false, found, needed }];
        };
        let (table, reports) = (gateway.table(), gateway.shadow());
        let touching = table.routes().iter().filter(|route| touches(route, capability));
        let evidence = touching.map(|route| {
            let report = reports.iter().find(|report| report.route == route.name());
            let Verdict { holds, found, needed } = verdict(&look(gateway, route, report));
            RouteEvidence { route: route.name().to_owned(), holds, found, needed: needed.to_owned() }
        });
        evidence.collect()
    }

    fn ledger(&self, capability: Capability) -> RouteLedger {
        let Some(gateway) = self.0.get() else { return RouteLedger::default() };
        // Whom the time leaves is the keeper's to say.
        let report = gateway.callers(capability.as_str(), Duration::ZERO);
        let callers = report.references.into_iter().filter_map(|reference| {
            Some(RouteCaller {
                last_seen: Timestamp::from_millis(reference.legacy_at?),
                route: reference.route,
                caller: reference.caller,
                count: reference.legacy,
            })
        });
        RouteLedger {
            callers: callers.collect(),
            routes: report.routes.into_iter().map(|touching| touching.route).collect(),
        }
    }
}

fn touches(route: &Arc<Route>, capability: Capability) -> bool {
    route.spec().touches.iter().any(|name| name == capability.as_str())
}

fn look<'a>(gateway: &Gateway, route: &Route, report: Option<&'a ShadowReport>) -> Seen<'a> {
    let spec = route.spec();
    let canary = spec.canary.as_ref().filter(|canary| canary.ramp.is_empty());
    let moved = |entry: &banyan_gateway::Entry| entry.touched.iter().any(|touch| touch.route == route.name());
    // What an undo puts back was decided by whoever undid it.
    let promoted = gateway.history(usize::MAX).into_iter().find(moved).is_some_and(|entry| {
        entry.by == EVIDENCE && matches!(entry.change, Change::SetRoute(spec) if spec.mode == Mode::Canary)
    });
    Seen {
        mode: route.mode(),
        percent: canary.map(|canary| canary.percent),
        has_banyan: spec.banyan.is_some(),
        report,
        // It fails only for a route that is gone meanwhile.
        standing: gateway.evidence(route.name()).unwrap_or_default(),
        promoted,
    }
}

fn verdict(seen: &Seen<'_>) -> Verdict {
    let so = |found: &str| Verdict { holds: true, found: found.to_owned(), needed: "" };
    match (seen.mode, &seen.standing) {
        (Mode::Banyan, _) => so("Banyan answers it"),
        (Mode::Legacy, _) if !seen.has_banyan => {
            so("only the old shop can answer it, so there is nothing to compare")
        }
        (Mode::Legacy, _) => Verdict {
            holds: false,
            found: "mode legacy: its answers are not compared".to_owned(),
            needed: "put it into mode shadow, and wait until its evidence holds",
        },
        (Mode::Shadow | Mode::Canary, None) => {
            let (compared, mismatched) =
                seen.report.map_or((0, 0), |report| (report.compared, report.mismatched));
            let place = place(seen);
            Verdict {
                holds: false,
                found: format!(
                    "{place}: {mismatched} of {compared} compared answers differ, and no rules say what is enough"
                ),
                needed: "write [route.evidence] at it, and wait until that holds",
            }
        }
        (Mode::Shadow | Mode::Canary, Some(standing)) => by_rules(seen, standing),
    }
}

fn by_rules(seen: &Seen<'_>, standing: &Standing) -> Verdict {
    let whole = standing.have >= standing.need && standing.findings.iter().all(|finding| finding.holds);
    let promoted = seen.promoted && seen.mode == Mode::Canary;
    let held = standing.held_until.is_some();
    let so_far = match (held, promoted) {
        (true, _) => format!("taken back {} times, and held", standing.backs),
        (false, true) => "put there by evidence; since then".to_owned(),
        (false, false) => "so far".to_owned(),
    };
    let findings: Vec<String> = standing.findings.iter().map(words).collect();
    Verdict {
        holds: !held && (whole || promoted),
        found: format!(
            "{}, {so_far} {} of {} requests looked at: {}",
            place(seen),
            standing.have,
            standing.need,
            findings.join(", ")
        ),
        needed: match held || !(whole || promoted) {
            true => "wait until its evidence holds; what differs stands on the console's page of the route",
            false => "",
        },
    }
}

fn place(seen: &Seen<'_>) -> String {
    match (seen.mode, seen.percent) {
        (Mode::Canary, Some(percent)) => format!("canary at {percent} %"),
        (mode, _) => mode.as_str().to_owned(),
    }
}

fn words(finding: &Finding) -> String {
    let Finding { rule, seen, at_most, limit, .. } = finding;
    let say = |value: f64| match *rule {
        "p99-ratio" => format!("{value:.2}"),
        _ => format!("{:.2} %", value * 100.0),
    };
    match at_most {
        Some(most) => format!("{rule} {} (at most {}) of {}", say(*seen), say(*most), say(*limit)),
        None => format!("{rule} not known yet"),
    }
}

#[cfg(test)]
mod tests;
