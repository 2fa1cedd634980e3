//! Is all well? Each rule is one sentence; the worst of them is the verdict.

use super::{Level, Reason, Report, Verdict};
use crate::generator::{NOT_SENT_NO_COUPON, NOT_SENT_WAITED};
use crate::report::text::{count, milliseconds};

/// An arrival later than this says that the generator, not the server, was short of processor time.
const LATE_P99_MS: f64 = 20.0;
/// More than this share of 503 answers is worth a look.
const BUSY_SHARE: f64 = 0.001;

pub(super) fn judge(report: &Report, unknown_max: u64) -> Verdict {
    let mut reasons = Vec::new();
    harm(report, unknown_max, &mut reasons);
    look(report, unknown_max, &mut reasons);
    reasons.sort_by_key(|reason: &Reason| std::cmp::Reverse(reason.level));
    let answers = report.sum(|action| action.accepted + action.refused);
    let level = reasons.first().map_or(Level::Well, |reason| reason.level);
    let title = match level {
        Level::Well => "All is well",
        Level::Look => "No harm done, but worth a look",
        Level::Harm => "Not well",
    };
    if level == Level::Well {
        let text = format!(
            "{}; no outcome is unknown.",
            many(answers, "request was answered", "requests were answered")
        );
        reasons.push(Reason { level, text });
    }
    if let Some(times) = report.not_sent.get(NOT_SENT_NO_COUPON) {
        let text = format!(
            "{} no coupon to use: no issue before it succeeded.",
            many(*times, "redeem had", "redeems had")
        );
        reasons.push(Reason { level: Level::Well, text });
    }
    Verdict { level, title: title.to_owned(), reasons }
}

fn many(number: u64, one: &str, more: &str) -> String {
    format!("{} {}", count(number), if number == 1 { one } else { more })
}

fn harm(report: &Report, unknown_max: u64, reasons: &mut Vec<Reason>) {
    let mut say = |text| reasons.push(Reason { level: Level::Harm, text });
    for campaign in &report.campaigns {
        if let Some(quantity) = campaign.quantity.filter(|quantity| campaign.issued > *quantity) {
            let (issued, quantity) = (count(campaign.issued), count(quantity));
            say(format!("{} issued {issued} new coupons, but has only {quantity}.", campaign.id));
        }
    }
    let two = report.visits.map_or(0, |visits| visits.two_orders);
    if two > 0 {
        say(format!("{} placed a second order.", many(two, "double click", "double clicks")));
    }
    for (kind, times) in &report.faults {
        say(format!("The server failed {} with {kind}.", many(*times, "time", "times")));
    }
    let unknown = report.sum(|action| action.unknown);
    if unknown > unknown_max {
        let outcomes = many(unknown, "outcome is", "outcomes are");
        say(format!("{outcomes} unknown: a request was sent and not answered, so a member does not know."));
    }
    let waited = report.not_sent.get(NOT_SENT_WAITED).copied().unwrap_or(0);
    if waited > 0 {
        say(format!("{} up waiting for a connection.", many(waited, "member gave", "members gave")));
    }
    for action in &report.actions {
        if let Some(goal) = report.goals_p99_ms.get(&action.action)
            && action.latency_ms.p99 > *goal
        {
            let (p99, goal) = (milliseconds(action.latency_ms.p99), milliseconds(*goal));
            say(format!("p99 of {} was {p99}, the goal is {goal}.", action.action));
        }
    }
    let answers = report.sum(|action| action.accepted + action.refused);
    if answers == 0 && report.sum(|action| action.offered) > 0 {
        say("Nobody was answered.".to_owned());
    }
}

fn look(report: &Report, unknown_max: u64, reasons: &mut Vec<Reason>) {
    let mut say = |text| reasons.push(Reason { level: Level::Look, text });
    if report.stopped_early {
        say("The rehearsal was stopped early, so this is a part of it.".to_owned());
    }
    let unknown = report.sum(|action| action.unknown);
    if unknown > 0 && unknown <= unknown_max {
        let outcomes = many(unknown, "outcome is", "outcomes are");
        say(format!("{outcomes} unknown; the scenario allows {}.", count(unknown_max)));
    }
    let retried: u64 = report.retried.values().sum();
    if retried > 0 {
        let requests = many(retried, "request was", "requests were");
        say(format!("{requests} sent again because the outcome was unknown."));
    }
    for outage in &report.outages {
        say(match outage.to {
            Some(to) => format!("No connection could be made from {:.1} s to {to:.1} s.", outage.from),
            None => format!("No connection could be made from {:.1} s on.", outage.from),
        });
    }
    let answers = report.sum(|action| action.accepted + action.refused);
    let busy = report.refusals.get("busy").copied().unwrap_or(0);
    if busy as f64 > answers as f64 * BUSY_SHARE {
        say(format!("{} told that the server is busy (503).", many(busy, "member was", "members were")));
    }
    let impatient = report.visits.map_or(0, |visits| visits.lost_patience);
    if impatient > 0 {
        say(format!("{} never saw how the order ended.", many(impatient, "visitor", "visitors")));
    }
    if report.refusals.contains_key("storage-full") {
        say("The server's storage is full (507).".to_owned());
    }
    for (why, times) in &report.not_sent {
        if why != NOT_SENT_WAITED && why != NOT_SENT_NO_COUPON {
            let arrivals = many(*times, "arrival was", "arrivals were");
            say(format!("{arrivals} never sent: {why}."));
        }
    }
    let late = report.generator.late_p99_ms;
    if late > LATE_P99_MS {
        let late = milliseconds(late);
        say(format!(
            "The generator itself was late (p99 {late}): it needs more processor time for this rate."
        ));
    }
}
