//! Evidence with a real gateway and made-up counts.

use super::*;
use crate::Config;
use crate::canary::Share;
use crate::shadow::{Lane, Outcome};
use std::sync::Arc;

const SHOP: &str = "listen = \"127.0.0.1:0\"\nstate = \"s\"\n[[route]]\nname = \"shop\"\npath = \"/\"\nmode = \"shadow\"\n\
    upstream = \"http://127.0.0.1:1\"\nbanyan = \"http://127.0.0.1:2\"\n[route.shadow]\n[route.evidence]\n\
    requests = 100\nmismatch_max = 0.05\nerror_max = 0.05\nsteps = [1, 100]\nhold_seconds = 100\n";

struct World {
    gateway: Gateway,
    state: tempfile::TempDir,
}

impl World {
    fn new(config: &str) -> Self {
        let state = tempfile::tempdir().expect("a folder");
        let config = Config::parse(config, state.path()).expect("a configuration");
        Self { gateway: Gateway::new(config, None).expect("a gateway"), state }
    }

    /// The same gateway after its process ended and began again.
    fn restarted(self, config: &str) -> Self {
        let Self { gateway, state } = self;
        drop(gateway);
        let config = Config::parse(config, state.path()).expect("a configuration");
        Self { gateway: Gateway::new(config, None).expect("a gateway"), state }
    }

    fn spec(&self) -> RouteSpec {
        self.gateway.table().routes()[0].spec().clone()
    }

    fn set(&self, spec: RouteSpec) {
        let version = self.gateway.table().version();
        let change = Change::SetRoute(Box::new(spec));
        self.gateway.change(version, change, "mina", "because").expect("is changed");
    }

    fn lane(&self) -> Arc<Lane> {
        self.gateway.table().routes()[0].lane().clone()
    }

    fn copies(&self, count: u32, outcome: Outcome, error: bool) {
        for _ in 0..count {
            self.lane().asked(error);
            self.lane().judged(outcome);
        }
    }

    fn users(&self, count: u32, status: u16) {
        let traffic = self.gateway.table().routes()[0].traffic().clone();
        for _ in 0..count {
            traffic.answered(0, Side::Banyan, status, Duration::from_millis(1));
        }
    }

    #[track_caller]
    fn check(&self, now: u64, mode: Mode, percent: f64) {
        look(&self.gateway, now);
        let table = self.gateway.table();
        let at = table.routes()[0].rules().position(table.routes()[0].mode(), now);
        assert_eq!(at, Position { mode, share: Share::from_percent(percent).expect("a share") });
    }
}

#[test]
fn a_route_goes_up_on_evidence_and_back_on_errors() {
    let world = World::new(SHOP);
    world.check(0, Mode::Shadow, 0.0);
    world.copies(200, Outcome::Equal, false);
    world.check(1_000, Mode::Canary, 1.0);
    world.check(2_000, Mode::Canary, 1.0);
    world.copies(200, Outcome::Equal, false);
    world.users(200, 200);
    world.check(3_000, Mode::Canary, 100.0);
    world.check(4_000, Mode::Canary, 100.0);
    world.users(10, 500);
    world.check(5_000, Mode::Shadow, 0.0);
    world.copies(10_000, Outcome::Equal, false);
    world.check(6_000, Mode::Shadow, 0.0);
    let standing = world.gateway.evidence("shop").expect("a route").expect("rules");
    assert_eq!(
        (standing.state, standing.backs),
        ("waiting", 1),
        "its time ran out long ago on the real clock"
    );

    let history = world.gateway.history(10);
    let steps: Vec<(&str, &str)> = history
        .iter()
        .map(|entry| (entry.by.as_str(), entry.reason.split(':').next().unwrap_or("")))
        .collect();
    assert_eq!(
        steps[..3],
        [
            ("evidence", "taken back to shadow"),
            ("evidence", "promoted to 100 %"),
            ("evidence", "promoted to 1 %"),
        ]
    );
    assert!(history[0].reason.contains("10 of 10"), "{}", history[0].reason);
    // It is undone like any other version.
    world.gateway.undo(history[0].version, "mina", "a false alarm").expect("is undone");
    world.check(7_000, Mode::Canary, 100.0);
}

#[test]
fn what_cannot_be_judged_proves_nothing() {
    let world = World::new(SHOP);
    world.check(0, Mode::Shadow, 0.0);
    world.copies(200, Outcome::Equal, false);
    for _ in 0..50 {
        world.lane().skip(crate::shadow::Skipped::Unjudged);
    }
    world.check(1_000, Mode::Shadow, 0.0);
}

#[test]
fn mismatches_keep_a_route_where_it_is() {
    let world = World::new(SHOP);
    world.check(0, Mode::Shadow, 0.0);
    for at in 1..20 {
        world.copies(180, Outcome::Equal, false);
        world.copies(20, Outcome::Mismatched, false);
        world.check(at * 1_000, Mode::Shadow, 0.0);
    }
    assert_eq!(world.gateway.history(10).len(), 1, "only the first start");
}

#[test]
fn an_operators_change_begins_anew_and_a_ramp_is_only_guarded() {
    let world = World::new(SHOP);
    world.check(0, Mode::Shadow, 0.0);
    world.copies(200, Outcome::Equal, false);
    let version = world.gateway.table().version();
    let mut spec = world.gateway.table().routes()[0].spec().clone();
    spec.mode = Mode::Canary;
    let far = "2100-01-01T00:00:00Z".to_owned();
    let ramp = vec![crate::config::RampStep { at: far, percent: 100.0 }];
    spec.canary = Some(CanarySpec { percent: 10.0, ramp, ..CanarySpec::nobody() });
    let change = Change::SetRoute(Box::new(spec));
    world.gateway.change(version, change, "mina", "by schedule").expect("is changed");
    let now = now_millis();
    world.check(now, Mode::Canary, 10.0);
    world.copies(2_000, Outcome::Equal, false);
    world.check(now + 1_000, Mode::Canary, 10.0);
    world.copies(400, Outcome::Mismatched, false);
    world.check(now + 2_000, Mode::Shadow, 0.0);
    let spec = world.gateway.table().routes()[0].spec().clone();
    assert!(spec.canary.expect("a canary").ramp.is_empty(), "the ramp must not bring it back");
}

/// Writes are not copied: of users who write, only their own answers tell.
#[test]
fn copies_that_succeed_do_not_hide_users_who_fail() {
    let world = World::new(SHOP);
    world.check(0, Mode::Shadow, 0.0);
    world.copies(200, Outcome::Equal, false);
    world.check(1_000, Mode::Canary, 1.0);
    world.check(2_000, Mode::Canary, 1.0);
    world.copies(5_000, Outcome::Equal, false);
    world.users(30, 200);
    world.users(20, 500);
    world.check(3_000, Mode::Shadow, 0.0);
    let reason = world.gateway.history(1).remove(0).reason;
    assert!(reason.contains("20 of 50"), "{reason}");
}

#[test]
fn a_share_grows_only_on_what_its_own_users_got() {
    let world = World::new(SHOP);
    world.check(0, Mode::Shadow, 0.0);
    world.copies(200, Outcome::Equal, false);
    world.check(1_000, Mode::Canary, 1.0);
    world.check(2_000, Mode::Canary, 1.0);
    world.copies(5_000, Outcome::Equal, false);
    world.users(20, 200);
    world.check(3_000, Mode::Canary, 1.0);
    let standing = world.gateway.evidence("shop").expect("a route").expect("rules");
    assert_eq!((standing.have, standing.need), (20, 72), "what is furthest behind");
    // Two of 77 fail, and one of twenty may: that proves nothing yet.
    world.users(55, 200);
    world.users(2, 500);
    world.check(4_000, Mode::Canary, 1.0);
    assert_eq!(world.gateway.evidence("shop").expect("a route").expect("rules").look, 2);
    world.copies(5_000, Outcome::Equal, false);
    world.users(200, 200);
    world.check(5_000, Mode::Canary, 100.0);
}

#[test]
fn what_was_seen_before_a_route_was_put_aside_does_not_count_when_it_comes_back() {
    let world = World::new(SHOP);
    world.check(0, Mode::Shadow, 0.0);
    world.copies(99, Outcome::Equal, false);
    world.check(1_000, Mode::Shadow, 0.0);
    world.set(RouteSpec { mode: Mode::Legacy, ..world.spec() });
    world.check(2_000, Mode::Legacy, 0.0);
    world.set(RouteSpec { mode: Mode::Shadow, ..world.spec() });
    world.check(3_000, Mode::Shadow, 0.0);
    world.copies(2, Outcome::Equal, false);
    world.check(4_000, Mode::Shadow, 0.0);
    world.copies(98, Outcome::Equal, false);
    world.check(5_000, Mode::Canary, 1.0);
}

#[test]
fn what_was_seen_of_another_side_or_by_other_rules_does_not_count() {
    type Edit = fn(&mut RouteSpec);
    let edits: [Edit; 4] = [
        |spec| spec.banyan = Some("http://127.0.0.1:3".into()),
        |spec| spec.rewrite = Some(crate::config::Rewrite { from: "/a".into(), to: "/b".into(), side: None }),
        |spec| spec.shadow.as_mut().expect("a shadow").ignore.push("$.at".into()),
        |spec| spec.evidence.as_mut().expect("rules").mismatch_max = 0.06,
    ];
    for edit in edits {
        let world = World::new(SHOP);
        world.check(0, Mode::Shadow, 0.0);
        world.copies(99, Outcome::Equal, false);
        world.check(1_000, Mode::Shadow, 0.0);
        let mut spec = world.spec();
        edit(&mut spec);
        world.set(spec);
        world.check(2_000, Mode::Shadow, 0.0);
        world.copies(2, Outcome::Equal, false);
        world.check(3_000, Mode::Shadow, 0.0);
        world.copies(98, Outcome::Equal, false);
        world.check(4_000, Mode::Canary, 1.0);
    }
}

#[test]
fn a_route_that_was_taken_back_stays_held_after_a_restart() {
    let world = World::new(SHOP);
    world.check(0, Mode::Shadow, 0.0);
    world.copies(200, Outcome::Equal, false);
    world.check(1_000, Mode::Canary, 1.0);
    world.check(2_000, Mode::Canary, 1.0);
    world.users(10, 500);
    world.check(3_000, Mode::Shadow, 0.0);
    let world = world.restarted(SHOP);
    world.check(10_000, Mode::Shadow, 0.0);
    world.copies(10_000, Outcome::Equal, false);
    world.check(102_999, Mode::Shadow, 0.0);
    world.check(103_000, Mode::Shadow, 0.0);
    world.copies(200, Outcome::Equal, false);
    world.check(104_000, Mode::Canary, 1.0);
    world.check(105_000, Mode::Canary, 1.0);
    world.users(10, 500);
    world.check(106_000, Mode::Shadow, 0.0);
    // It is the second time, so it is held for twice as long.
    let world = world.restarted(SHOP);
    world.check(305_999, Mode::Shadow, 0.0);
    world.copies(200, Outcome::Equal, false);
    world.check(305_999, Mode::Shadow, 0.0);
    assert_eq!(world.gateway.evidence("shop").expect("a route").expect("rules").backs, 2);
}

#[test]
fn looks_that_were_spent_stay_spent_after_a_restart() {
    let world = World::new(SHOP);
    world.check(0, Mode::Shadow, 0.0);
    world.copies(200, Outcome::Mismatched, false);
    world.check(1_000, Mode::Shadow, 0.0);
    let look = |world: &World| world.gateway.evidence("shop").expect("a route").expect("rules").look;
    assert_eq!(look(&world), 2);
    let world = world.restarted(SHOP);
    assert_eq!(look(&world), 2);
    world.gateway.restart_evidence("shop").expect("a route");
    world.check(2_000, Mode::Shadow, 0.0);
    assert_eq!(look(&world.restarted(SHOP)), 1, "another question is looked at for the first time");
}
