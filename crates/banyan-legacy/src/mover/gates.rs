//! What must be so before a move may begin. Pure: facts in, gates out.

use crate::database::{CheckLevel, Finding};
use crate::progress::ProgressView;
use crate::references::ReferencesView;
use banyan_domain::Timestamp;
use banyan_domain::legacy::{CapabilityState, Phase};
use std::time::Duration;

/// How old a comparison may be that a move rests on.
const COMPARED_WITHIN: Duration = Duration::from_secs(600);
/// How long the stream may be silent: the old database tells something, if only that nothing happened, every ten seconds.
const SILENT_FOR: Duration = Duration::from_secs(30);

/// What is known when a move is asked for.
#[derive(Clone, Debug)]
pub struct Facts {
    /// Where the capability stands.
    pub state: CapabilityState,
    /// Now.
    pub now: Timestamp,
    /// What the preflight found.
    pub findings: Vec<Finding>,
    /// How the sync is doing.
    pub progress: ProgressView,
    /// Longest lag.
    pub lag_max: Duration,
    /// Who still touches what is to go.
    pub references: ReferencesView,
    /// How long nobody may have touched it.
    pub quiet_for: Duration,
    /// What the gateway says of the routes that touch the capability; empty without a gateway.
    pub routes: Vec<RouteEvidence>,
    /// Live reservations that draw on items of the old shop.
    pub open_reservations: usize,
}

/// What the gateway says of a route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RouteEvidence {
    /// The route's name.
    pub route: String,
    /// Whether what was compared is good enough to let Banyan answer there; so if there is nothing to compare.
    pub holds: bool,
    /// In words and numbers.
    pub found: String,
    /// What to do if it does not hold; empty if it does.
    pub needed: String,
}

/// One thing that must be so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gate {
    /// Its name, one word.
    pub name: &'static str,
    /// Whether it is so.
    pub holds: bool,
    /// Whether an operator may go on without it, in writing.
    pub may_be_overridden: bool,
    /// What was found.
    pub found: String,
    /// What to do if it does not hold.
    pub needed: String,
}

impl Gate {
    /// Whether who names these gates goes on without this one.
    #[must_use]
    pub fn is_passed_over(&self, names: &[String]) -> bool {
        self.may_be_overridden && names.iter().any(|name| name == self.name)
    }
}

/// The gates of the move to `to`.
#[must_use]
pub fn gates(facts: &Facts, to: Phase) -> Vec<Gate> {
    let from = facts.state.phase;
    let mut gates = vec![preflight(&facts.findings)];
    match (from, to) {
        (Phase::Mirror, Phase::Lead) => {
            gates.extend([stream(facts), lag(facts), equal(facts)]);
            gates.extend(evidence(&facts.routes));
        }
        (Phase::Lead, Phase::Mirror) => gates.extend([stream(facts), outward(facts), holds(facts)]),
        (Phase::Lead, Phase::Retired) => gates.push(references(facts)),
        _ => {}
    }
    gates
}

pub(super) fn preflight(findings: &[Finding]) -> Gate {
    let stops: Vec<&Finding> = findings.iter().filter(|finding| finding.level == CheckLevel::Stop).collect();
    let warnings = findings.iter().filter(|finding| finding.level == CheckLevel::Warn).count();
    let found = match stops.first() {
        None => format!("{} checks passed, {warnings} warnings", findings.len() - warnings),
        Some(first) => format!("{} to mend, first {}: {}", stops.len(), first.subject, first.found),
    };
    let needed = stops.first().map_or(String::new(), |first| first.fix.clone());
    Gate { name: "preflight", holds: stops.is_empty(), may_be_overridden: false, found, needed }
}

fn stream(facts: &Facts) -> Gate {
    let ProgressView { inward, heard_at, trouble, .. } = &facts.progress;
    let silent = Duration::from_millis(facts.now.as_millis().saturating_sub(*heard_at));
    let holds = *inward && trouble.inward.is_none() && silent <= SILENT_FOR;
    let found = match (&trouble.inward, *inward, *heard_at) {
        (Some(why), _, _) => why.clone(),
        (None, false, _) => "the stream is not followed".into(),
        (None, true, 0) => "the stream has said nothing yet".into(),
        (None, true, _) => format!("followed, last heard {} s ago", silent.as_secs()),
    };
    let needed = "the old database's stream must be followed: see docs/legacy-sync.md".into();
    Gate { name: "stream", holds, may_be_overridden: false, found, needed }
}

fn outward(facts: &Facts) -> Gate {
    let ProgressView { outward, trouble, aside, aside_first, .. } = &facts.progress;
    let holds = *outward && trouble.outward.is_none() && *aside == 0;
    let found = trouble.outward.clone().unwrap_or_else(|| match (*outward, aside_first) {
        (true, None) => "the old columns follow".into(),
        (true, Some(first)) => {
            format!("the old table refuses {aside} rows, which are set aside, first {first}")
        }
        (false, _) => "the sync out is not running".into(),
    });
    let needed = "the old columns must follow before the old shop can lead: see docs/legacy-sync.md".into();
    Gate { name: "sync-out", holds, may_be_overridden: false, found, needed }
}

fn lag(facts: &Facts) -> Gate {
    let ProgressView { position_seen, position_applied, waits_since, lag_millis, .. } = facts.progress;
    let most = facts.lag_max.as_millis() as u64;
    // A lag is known of the last transaction only; what waits is known of now. While a shop sells, something always does.
    let waits = waits_since.map_or(0, |since| facts.now.as_millis().saturating_sub(since));
    let holds = position_applied > 0 && lag_millis.max(waits) <= most;
    let mut found =
        format!("{lag_millis} ms at the last transaction, applied to {position_applied} of {position_seen}");
    if waits > 0 {
        found += &format!(", what is left waits for {waits} ms");
    }
    let needed = format!("at most {most} ms, and nothing may wait for longer");
    Gate { name: "lag", holds, may_be_overridden: true, found, needed }
}

fn equal(facts: &Facts) -> Gate {
    let mut needed =
        "compare both sides (banyan legacy reconcile) within ten minutes before the move".to_owned();
    let (holds, found) = match facts.state.reconciled {
        None => (false, "never compared".into()),
        Some(last) => {
            let age = Duration::from_millis(facts.now.as_millis().saturating_sub(last.at.as_millis()));
            let open = last.differing - last.repaired.min(last.differing);
            let mut found = format!(
                "{} rows compared {} s ago, as of position {}; {} differed, {open} still do",
                last.rows,
                age.as_secs(),
                last.position,
                last.differing
            );
            if open > 0 && facts.open_reservations > 0 {
                let held = facts.open_reservations;
                found += &format!(
                    "; {held} reservations are open since before the old shop led, and their items differ by what they hold"
                );
                needed += ", once those reservations have ended";
            }
            (open == 0 && age <= COMPARED_WITHIN, found)
        }
    };
    Gate { name: "equal", holds, may_be_overridden: false, found, needed }
}

/// All routes are one gate: who goes without it goes without all of them, so all are told.
fn evidence(routes: &[RouteEvidence]) -> Option<Gate> {
    let tell = |holds: bool, tell: fn(&RouteEvidence) -> &str| {
        routes
            .iter()
            .filter(move |route| route.holds == holds)
            .map(move |route| format!("{}: {}", route.route, tell(route)))
    };
    let failing = routes.iter().filter(|route| !route.holds).count();
    let sum = match failing {
        0 => format!("{} routes touch it", routes.len()),
        _ => format!("{failing} of {} routes that touch it do not hold", routes.len()),
    };
    let found =
        [sum].into_iter().chain(tell(false, |route| &route.found)).chain(tell(true, |route| &route.found));
    let needed = tell(false, |route| &route.needed).collect::<Vec<_>>();
    let gate = || Gate {
        name: "evidence",
        holds: failing == 0,
        may_be_overridden: true,
        found: found.collect::<Vec<_>>().join("; "),
        needed: needed.join("; "),
    };
    (!routes.is_empty()).then(gate)
}

/// Told, not demanded: a move back waits for them.
fn holds(facts: &Facts) -> Gate {
    let open = facts.open_reservations;
    let found = format!(
        "{open} reservations are open; the move waits for them, first while everything is sold as ever, for two and a half minutes at \
         most, then while nothing is reserved"
    );
    Gate { name: "holds", holds: true, may_be_overridden: false, found, needed: String::new() }
}

fn references(facts: &Facts) -> Gate {
    let left = facts.references.left(facts.now, facts.quiet_for);
    let watched = facts.references.watched_for(facts.now);
    let found = match watched {
        Duration::ZERO => {
            format!(
                "{left} left; not watched yet, or the old database does not tell: see banyan legacy check"
            )
        }
        watched => format!("{left} left; watched for {} s", watched.as_secs()),
    };
    let needed = format!("nobody may touch the old columns for {} s", facts.quiet_for.as_secs());
    Gate {
        name: "references",
        holds: left == 0 && watched >= facts.quiet_for,
        may_be_overridden: true,
        found,
        needed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::references::{Reference, ReferenceKind};
    use banyan_domain::legacy::Reconciled;

    fn facts(phase: Phase) -> Facts {
        let now = Timestamp::from_millis(1_000_000);
        let at = Timestamp::from_millis(900_000);
        let reconciled = Reconciled { at, position: 7, rows: 40, differing: 1, repaired: 1 };
        Facts {
            state: CapabilityState { phase, reconciled: Some(reconciled), ..CapabilityState::default() },
            now,
            findings: vec![Finding::ok("wal_level", "logical")],
            progress: ProgressView {
                position_seen: 7,
                position_applied: 7,
                heard_at: 999_000,
                inward: true,
                outward: true,
                ..ProgressView::default()
            },
            lag_max: Duration::from_secs(1),
            references: ReferencesView { since: Timestamp::from_millis(0), all: vec![] },
            quiet_for: Duration::from_secs(60),
            routes: vec![],
            open_reservations: 0,
        }
    }

    fn failing(facts: &Facts, to: Phase) -> Vec<&'static str> {
        gates(facts, to).into_iter().filter(|gate| !gate.holds).map(|gate| gate.name).collect()
    }

    #[test]
    fn each_gate_fails_for_its_own_reason() {
        type Break = fn(&mut Facts);
        let table: [(Phase, Phase, Break, &str); 13] = [
            (Phase::Legacy, Phase::Mirror, |f| f.findings.push(Finding::stop("a", "b", "c")), "preflight"),
            (Phase::Mirror, Phase::Lead, |f| f.progress.inward = false, "stream"),
            (Phase::Mirror, Phase::Lead, |f| f.progress.heard_at = 900_000, "stream"),
            (Phase::Mirror, Phase::Lead, |f| f.progress.lag_millis = 1_001, "lag"),
            (Phase::Mirror, Phase::Lead, |f| f.progress.waits_since = Some(998_999), "lag"),
            (Phase::Mirror, Phase::Lead, |f| f.progress.position_applied = 0, "lag"),
            (Phase::Mirror, Phase::Lead, |f| f.state.reconciled = None, "equal"),
            (Phase::Mirror, Phase::Lead, |f| f.now = Timestamp::from_millis(1_029_999 + 600_000), "equal"),
            (Phase::Mirror, Phase::Lead, |f| f.state.reconciled.as_mut().expect("one").repaired = 0, "equal"),
            (Phase::Lead, Phase::Mirror, |f| f.progress.outward = false, "sync-out"),
            (
                Phase::Lead,
                Phase::Mirror,
                |f| (f.progress.aside, f.progress.aside_first) = (1, Some("A at main: check".into())),
                "sync-out",
            ),
            (
                Phase::Lead,
                Phase::Retired,
                |f| f.references.since = Timestamp::from_millis(999_000),
                "references",
            ),
            (
                Phase::Lead,
                Phase::Retired,
                |f| {
                    f.references.all.push(Reference {
                        kind: ReferenceKind::Sql,
                        caller: "oscar".into(),
                        what: "select num_in_stock".into(),
                        count: 1,
                        last_seen: Timestamp::from_millis(990_000),
                    });
                },
                "references",
            ),
        ];
        for (from, to, breaks, gate) in table {
            let mut facts = facts(from);
            assert_eq!(failing(&facts, to), [""; 0], "{from:?} to {to:?} holds at first");
            breaks(&mut facts);
            let failing = failing(&facts, to);
            assert!(failing.contains(&gate), "{from:?} to {to:?}: {failing:?} and not {gate}");
        }
    }

    /// Found by the story: a move was refused, at random, because the last transaction was just being written down.
    #[test]
    fn what_the_shop_sells_at_this_moment_does_not_close_the_gate_of_the_lag() {
        let mut facts = facts(Phase::Mirror);
        (facts.progress.position_seen, facts.progress.waits_since) = (9, Some(999_988));
        assert_eq!(failing(&facts, Phase::Lead), [""; 0]);
        let lag = gates(&facts, Phase::Lead).into_iter().find(|gate| gate.name == "lag").expect("a gate");
        assert!(lag.found.ends_with("applied to 7 of 9, what is left waits for 12 ms"), "{}", lag.found);
    }

    #[test]
    fn reservations_from_before_the_old_shop_led_explain_what_differs_and_keep_the_gate_closed() {
        let mut facts = facts(Phase::Mirror);
        facts.open_reservations = 2;
        let equal = |facts: &Facts| gates(facts, Phase::Lead).into_iter().find(|gate| gate.name == "equal");
        let gate = equal(&facts).expect("a gate");
        assert!(gate.holds && !gate.found.contains("since before"), "nothing differs: {gate:?}");
        facts.state.reconciled.as_mut().expect("one").repaired = 0;
        let gate = equal(&facts).expect("a gate");
        assert!(!gate.holds && gate.found.contains("2 reservations are open since before"), "{gate:?}");
        assert!(gate.needed.ends_with("once those reservations have ended"), "{gate:?}");
    }

    fn route(name: &str, holds: bool, found: &str, needed: &str) -> RouteEvidence {
        RouteEvidence { route: name.into(), holds, found: found.into(), needed: needed.into() }
    }

    #[test]
    fn a_route_without_evidence_stands_in_the_way_and_may_be_overridden() {
        let mut facts = facts(Phase::Mirror);
        facts.routes.push(route("basket", true, "canary at 5 %", ""));
        facts.routes.push(route("availability", false, "12 of 1,000 compared", "let it be compared"));
        let found = gates(&facts, Phase::Lead);
        let evidence: Vec<&Gate> = found.iter().filter(|gate| gate.name == "evidence").collect();
        let [gate] = evidence[..] else { panic!("one gate for all routes: {found:?}") };
        assert!(!gate.holds && gate.may_be_overridden);
        let told = "1 of 2 routes that touch it do not hold; availability: 12 of 1,000 compared; basket: canary at 5 %";
        assert_eq!((gate.found.as_str(), gate.needed.as_str()), (told, "availability: let it be compared"));
        facts.routes.pop();
        assert_eq!(failing(&facts, Phase::Lead), [""; 0]);
        assert!(gates(&facts, Phase::Retired).iter().all(|gate| gate.name != "evidence"), "only to lead");
    }

    #[test]
    fn without_routes_there_is_no_gate_of_evidence() {
        assert!(gates(&facts(Phase::Mirror), Phase::Lead).iter().all(|gate| gate.name != "evidence"));
    }
}
