//! Whole rehearsals against the test double in `double/`, checked by counts.

mod double;

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use banyan_rehearse::{Level, Progress, RehearseError, Report, RunOptions, Scenario, Stop, run};
use double::{Double, Manners};
use serde_json::Value;

/// Runs a scenario against a double; gives the report and the lines of the file of acknowledgements.
async fn rehearse(double: &Double, text: &str) -> (Report, Vec<Value>) {
    let folder = tempfile::tempdir().expect("a folder");
    let acks = folder.path().join("acks.jsonl");
    let options = RunOptions { acks: Some(acks.clone()), progress: Progress::None, stop: Stop::default() };
    let report =
        run(scenario(double, text, folder.path()), options).await.expect("the rehearsal takes place");
    for action in &report.actions {
        let ends = action.accepted + action.refused + action.unknown + action.not_sent;
        assert_eq!(action.offered, ends, "every arrival ends exactly once: {action:?}");
    }
    let lines = std::fs::read_to_string(acks).expect("the file exists");
    (report, lines.lines().map(|line| serde_json::from_str(line).expect("a whole line")).collect())
}

fn scenario(double: &Double, text: &str, base: &Path) -> Scenario {
    let head = format!("url = \"http://{}\"\nkey = \"good\"\n", double.address);
    Scenario::parse(&format!("{head}{text}"), base, "test").expect("a valid scenario")
}

/// (action, coupon, status, seq) of every line, in the order of the double's own list.
fn promises(acks: &[Value]) -> Vec<(String, String, u64, u64)> {
    let text = |value: &Value| value.as_str().expect("text").to_owned();
    let number = |value: &Value| value.as_u64().expect("a number");
    let mut all: Vec<_> = acks
        .iter()
        .map(|a| (text(&a["action"]), text(&a["coupon"]), number(&a["status"]), number(&a["seq"])))
        .collect();
    all.sort();
    all
}

fn promised_by(double: &Double) -> Vec<(String, String, u64, u64)> {
    let mut all = double.world.lock().expect("unpoisoned").promised.clone();
    all.sort();
    all
}

const BUSY_SECOND: &str = r#"
    arrivals = "even"
    phases = [{ name = "a", for = "500ms", rate = 1000 }]
    spike = { at = "100ms", for = "200ms", rate = 3000 }
    members = { count = 100000, choice = "shuffled" }
    campaigns = [{ id = "noon", quantity = 300 }]
    [redeem]
    share = 0.5
    after = "20ms"
    spread = "50ms"
    [behaviours]
    repeat_clickers = { share = 0.3, within = "100ms" }
    bots = { share = 0.1, members = 3 }
    wrong_keys = { share = 0.1 }
"#;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_arrival_is_sent_and_every_promise_recorded() {
    let double = Double::start(Manners::default()).await;
    let (report, acks) = rehearse(&double, BUSY_SECOND).await;
    let issue = &report.actions[0];
    assert_eq!(issue.offered, 300 + 600, "300 of the phase, 600 of the spike");
    assert_eq!((issue.unknown, issue.not_sent), (0, 0));
    let world = double.world.lock().expect("unpoisoned");
    let seen = world.seen.iter().filter(|(action, _)| action == "issue").count() as u64;
    assert_eq!(seen + report.refusals["unauthenticated"], issue.offered);
    assert_eq!(report.campaigns[0].issued, 300);
    assert_eq!(issue.accepted, 300 + issue.replayed);
    assert!(issue.replayed > 0 && report.refusals["sold-out"] > 0);
    drop(world);
    let redeem = &report.actions[1];
    assert_eq!(redeem.offered, redeem.accepted);
    assert!((100..=200).contains(&redeem.offered), "about half of 300: {}", redeem.offered);
    assert_eq!(promises(&acks), promised_by(&double), "the file is the server's own list");
    // On a crowded machine the generator says that it was late itself; nothing else may be said of this run.
    let mut reasons = report.verdict.reasons.iter();
    let fine = |level, text: &str| level == Level::Well || text.starts_with("The generator itself was late");
    assert!(reasons.all(|reason| fine(reason.level, &reason.text)), "{:?}", report.verdict);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_seed_decides_who_presses_and_who_redeems() {
    let mut runs = Vec::new();
    for seed in [5, 5, 6] {
        let double = Double::start(Manners::default()).await;
        // One connection: answers cannot overtake each other, so the order of arrival is the order of the schedule.
        let text = format!("seed = {seed}\nconnections_max = 1\n{BUSY_SECOND}").replace("300 }", "100000 }");
        let (report, _) = rehearse(&double, &text).await;
        let world = double.world.lock().expect("unpoisoned");
        let pressed = world.seen.iter().filter(|(action, _)| action == "issue").cloned().collect::<Vec<_>>();
        let redeemed: Vec<_> =
            world.coupons.values().filter(|c| c.3.is_some()).map(|c| c.1.clone()).collect();
        let redeemed: std::collections::BTreeSet<_> = redeemed.into_iter().collect();
        runs.push((pressed, redeemed, report.actions[0].offered));
    }
    assert_eq!(runs[0], runs[1]);
    assert_ne!(runs[0].0, runs[2].0);
}

/// The point of an open loop: who comes during a stall waits, and that wait counts.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stall_is_charged_for_everybody_who_came_meanwhile() {
    let manners = Manners { stall: Some((100, Duration::from_millis(500))), ..Manners::default() };
    let double = Double::start(manners).await;
    let text = r#"
        arrivals = "even"
        connections_max = 4
        phases = [{ name = "a", for = "2s", rate = 200 }]
        members = { count = 100000 }
        campaigns = [{ id = "noon", quantity = "unlimited" }]
    "#;
    let (report, _) = rehearse(&double, text).await;
    let issue = &report.actions[0];
    assert_eq!((issue.offered, issue.accepted), (400, 400));
    // 80 of 400 came in the first 400 ms of the stall, so at least 20 % waited 100 ms or more. A closed loop with
    // four connections would have seen four such answers, 1 %. A slow machine only adds to the wait.
    assert!(issue.latency_ms.p90 >= 100.0, "{:?}", issue.latency_ms);
    assert!(issue.latency_ms.max >= 450.0, "{:?}", issue.latency_ms);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cut_connection_leaves_the_outcome_unknown() {
    let double = Double::start(Manners { cut_every: Some(50), ..Manners::default() }).await;
    let text = r#"
        arrivals = "even"
        phases = [{ name = "a", for = "1s", rate = 500 }]
        members = { count = 100000 }
        campaigns = [{ id = "noon", quantity = "unlimited" }]
    "#;
    let (report, acks) = rehearse(&double, text).await;
    let issue = &report.actions[0];
    assert_eq!((issue.offered, issue.refused, issue.not_sent), (500, 0, 0));
    assert_eq!(issue.unknown, 10, "every 50th of 500");
    assert_eq!(report.unknown.values().sum::<u64>(), 10);
    assert_eq!(report.verdict.level, Level::Harm);
    // The double carried all 500 out; the file knows only what was answered.
    assert_eq!(promised_by(&double).len(), 500);
    assert_eq!(acks.len(), 490);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unknown_outcome_is_asked_again_until_known() {
    let double = Double::start(Manners { cut_every: Some(50), ..Manners::default() }).await;
    let text = r#"
        arrivals = "even"
        retry_unknown = true
        idempotency_key = "per_request"
        phases = [{ name = "a", for = "1s", rate = 500 }]
        members = { count = 100000 }
        campaigns = [{ id = "noon", quantity = "unlimited" }]
    "#;
    let (report, acks) = rehearse(&double, text).await;
    let issue = &report.actions[0];
    assert_eq!((issue.offered, issue.accepted, issue.unknown), (500, 500, 0));
    let retried = report.retried.values().sum::<u64>();
    assert!(retried >= 10, "{retried}");
    assert_eq!(issue.replayed, retried, "each retry found its first attempt carried out");
    assert_eq!(acks.len(), 500);
    let world = double.world.lock().expect("unpoisoned");
    let mut keys: BTreeMap<&String, u64> = BTreeMap::new();
    for key in &world.keys {
        *keys.entry(key).or_default() += 1;
    }
    assert_eq!(keys.len(), 500, "a retry carries the key of its first attempt");
    assert_eq!(world.campaigns["noon"].by_member.len(), 500);
    assert_eq!(report.verdict.level, Level::Look);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_outlives_a_server_that_dies_and_comes_back() {
    let manners = Manners { die: Some((300, Duration::from_millis(300))), ..Manners::default() };
    let double = Double::start(manners).await;
    let text = r#"
        arrivals = "even"
        retry_unknown = true
        timeout = "60s"
        phases = [{ name = "a", for = "2s", rate = 500 }]
        members = { count = 100000 }
        campaigns = [{ id = "noon", quantity = "unlimited" }]
    "#;
    let (report, acks) = rehearse(&double, text).await;
    let issue = &report.actions[0];
    assert_eq!((issue.offered, issue.accepted), (1000, 1000), "{report:?}");
    assert!(!report.outages.is_empty() && report.outages.iter().all(|outage| outage.to.is_some()));
    assert!(report.connect_failures.contains_key("refused"));
    assert_eq!(acks.len(), 1000);
    assert_eq!(double.world.lock().expect("unpoisoned").campaigns["noon"].by_member.len(), 1000);
}

/// Once, a request handed to a connection that ended in the same moment was forgotten until its timeout.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_death_under_load_leaves_nobody_hanging() {
    let manners = Manners {
        die: Some((1501, Duration::from_millis(100))),
        slow_every: Some((2, Duration::from_millis(30))),
        ..Manners::default()
    };
    let double = Double::start(manners).await;
    let text = r#"
        arrivals = "even"
        retry_unknown = true
        timeout = "20s"
        drain = "60s"
        phases = [{ name = "a", for = "1s", rate = 4000 }]
        members = { count = 100000 }
        campaigns = [{ id = "noon", quantity = "unlimited" }]
    "#;
    let (report, acks) = rehearse(&double, text).await;
    assert_eq!(report.actions[0].accepted, 4000);
    assert_eq!(acks.len(), 4000);
    assert!(!report.retried.is_empty() && !report.retried.contains_key("timeout"), "{:?}", report.retried);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn refusals_have_kinds_and_faults_are_harm() {
    let manners = Manners { busy_every: Some(10), fail_every: Some(25), ..Manners::default() };
    let double = Double::start(manners).await;
    let text = r#"
        arrivals = "even"
        phases = [{ name = "a", for = "500ms", rate = 400 }]
        members = { count = 100000 }
        campaigns = [{ id = "noon", quantity = "unlimited" }]
    "#;
    let (report, _) = rehearse(&double, text).await;
    // Every 50th would be both; busy is asked first.
    assert_eq!((report.refusals["busy"], report.refusals["http-500"]), (20, 4));
    assert_eq!(report.faults["http-500"], 4);
    assert_eq!(report.verdict.level, Level::Harm);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_outstanding_limit_is_counted_not_hidden() {
    let manners = Manners { stall: Some((1, Duration::from_millis(600))), ..Manners::default() };
    let double = Double::start(manners).await;
    let text = r#"
        arrivals = "even"
        max_outstanding = 20
        phases = [{ name = "a", for = "400ms", rate = 1000 }]
        members = { count = 100000 }
        campaigns = [{ id = "noon", quantity = "unlimited" }]
    "#;
    let (report, _) = rehearse(&double, text).await;
    let issue = &report.actions[0];
    assert_eq!(issue.offered, 400);
    assert!(issue.not_sent > 0 && report.not_sent["too many outstanding"] == issue.not_sent);
    assert_eq!(issue.accepted + issue.not_sent, 400);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_answer_within_the_timeout_is_unknown() {
    let manners = Manners { slow_every: Some((10, Duration::from_secs(600))), ..Manners::default() };
    let double = Double::start(manners).await;
    let text = r#"
        arrivals = "even"
        timeout = "1500ms"
        phases = [{ name = "a", for = "200ms", rate = 500 }]
        members = { count = 100000 }
        campaigns = [{ id = "noon", quantity = "unlimited" }]
    "#;
    let (report, acks) = rehearse(&double, text).await;
    assert_eq!(report.unknown["timeout"], 10);
    assert_eq!(acks.len(), 90);
}

fn write_trace(folder: &Path, members: usize) {
    let mut csv = String::from("time,member,campaign,action\n");
    // Every member: issue, redeem, redeem (nothing left), and a second campaign in between.
    for (round, action) in
        ["noon,issue", "noon,redeem", "night,issue", "noon,redeem", "night,redeem"].iter().enumerate()
    {
        for member in 0..members {
            csv.push_str(&format!("{round}.{member:03},m{member},{action}\n"));
        }
    }
    std::fs::write(folder.join("day.csv"), csv).expect("written");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_trace_keeps_each_members_order() {
    for speed in ["1000", "\"max\""] {
        let double =
            Double::start(Manners { slow_every: Some((3, Duration::from_millis(20))), ..Manners::default() })
                .await;
        for id in ["noon", "night"] {
            double
                .world
                .lock()
                .expect("unpoisoned")
                .campaigns
                .insert(id.into(), double::Campaign { quantity: 1000, ..Default::default() });
        }
        let folder = tempfile::tempdir().expect("a folder");
        write_trace(folder.path(), 100);
        let file = folder.path().join("day.csv");
        let text = format!("kind = \"trace\"\nfile = {file:?}\nspeed = {speed}\nseed = 9\n");
        let (report, acks) = rehearse(&double, &text).await;
        let (issue, redeem) = (&report.actions[0], &report.actions[1]);
        assert_eq!((issue.offered, issue.accepted), (200, 200));
        assert_eq!((redeem.offered, redeem.accepted, redeem.not_sent), (300, 200, 100), "{report:?}");
        assert_eq!(report.not_sent["no coupon to redeem"], 100);
        assert_eq!(promises(&acks), promised_by(&double));
        let world = double.world.lock().expect("unpoisoned");
        assert!(world.coupons.values().all(|coupon| coupon.3.is_some()), "each coupon was redeemed");
        assert!(world.keys.contains(&"trace-9-2".to_owned()), "{:?}", world.keys);
        for member in 0..100 {
            let name = format!("m{member}");
            let steps: Vec<String> = world
                .seen
                .iter()
                .filter_map(|(action, who)| match action.as_str() {
                    "issue" => (*who == name).then(|| "issue".to_owned()),
                    _ => (world.coupons[who].1 == name).then(|| format!("redeem {}", world.coupons[who].0)),
                })
                .collect();
            assert_eq!(steps, ["issue", "redeem noon", "issue", "redeem night"], "{name}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_can_be_stopped_and_still_reports() {
    let double = Double::start(Manners::default()).await;
    let text = r#"
        phases = [{ name = "a", for = "1h", rate = 1000 }]
        members = { count = 100000 }
        campaigns = [{ id = "noon", quantity = 100000 }]
    "#;
    let stop = Stop::default();
    let options = RunOptions { progress: Progress::None, stop: stop.clone(), ..RunOptions::default() };
    let running = tokio::spawn(run(scenario(&double, text, Path::new(".")), options));
    // A condition, not a time: stop once something was issued.
    while double.world.lock().expect("unpoisoned").promised.is_empty() {
        tokio::task::yield_now().await;
    }
    stop.stop();
    let report = running.await.expect("no panic").expect("a report");
    assert!(report.stopped_early && report.actions[0].accepted > 0);
    assert_eq!(report.verdict.level, Level::Look);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn allow_lists_are_uploaded() {
    let double = Double::start(Manners::default()).await;
    let folder = tempfile::tempdir().expect("a folder");
    let members: String = (0..50_000).map(|n| format!("member-{n}\n")).collect();
    std::fs::write(folder.path().join("members.txt"), members).expect("written");
    let text = r#"
        phases = [{ name = "a", for = "10ms", rate = 1000 }]
        members = { count = 10 }
        [[campaigns]]
        id = "noon"
        quantity = 10
        audience = "allow_list"
        allow_list = "members.txt"
    "#;
    let options = RunOptions { progress: Progress::None, ..RunOptions::default() };
    run(scenario(&double, text, folder.path()), options).await.expect("it takes place");
    let world = double.world.lock().expect("unpoisoned");
    assert_eq!(world.allowed["noon"], 50_000);
    assert!(world.campaigns["noon"].body.get("allow_list").is_none());
    assert_eq!(world.campaigns["noon"].body["audience"], "allow_list");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn setup_errors_say_what_to_do() {
    let double = Double::start(Manners::default()).await;
    let text = |quantity: u64| {
        format!(
            "phases = [{{ name = \"a\", for = \"1ms\", rate = 0 }}]\nmembers = {{ count = 1 }}\n\
             campaigns = [{{ id = \"noon\", quantity = {quantity} }}]"
        )
    };
    let here = Path::new(".");
    let options = || RunOptions { progress: Progress::None, ..RunOptions::default() };
    let report = run(scenario(&double, &text(1), here), options()).await.expect("an empty rehearsal is fine");
    assert!(report.actions.is_empty() && report.to_html().contains("Nobody came"));
    let why = run(scenario(&double, &text(2), here), options()).await.expect_err("another definition");
    assert!(
        why.to_string().contains("creating campaign `noon`") && why.to_string().contains("another id"),
        "{why}"
    );

    let mut wrong = scenario(&double, &text(1), here);
    wrong.set_key("bad").expect("a key by its looks");
    let why = run(wrong, options()).await.expect_err("a wrong key");
    assert!(why.to_string().contains("operator key"), "{why}");

    // A port that was free a moment ago: nobody listens there.
    let free =
        tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port").local_addr().expect("an address");
    let mut nobody = scenario(&double, &text(1), here);
    nobody.target = banyan_rehearse::Target::parse(&format!("http://{free}")).expect("valid");
    let why = run(nobody, options()).await.expect_err("nobody there");
    assert!(
        matches!(why, RehearseError::Connect { .. }) && why.to_string().contains("start the server"),
        "{why}"
    );
}
