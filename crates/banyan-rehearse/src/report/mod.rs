//! What a rehearsal found. [`Report`] is plain data; `verdict.rs` judges it, `text.rs` and `html.rs` show it.

mod html;
mod plot;
mod text;
mod verdict;

use std::collections::BTreeMap;

use serde::Serialize;

use crate::generator::tally::{ActionTally, Tally};
use crate::generator::{Action, Mark as VisitMark, Run};
use crate::scenario::{Load, Scenario};

/// What a rehearsal found. Times are in the unit of their name.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// The scenario's name.
    pub name: String,
    /// Where requests went.
    pub target: String,
    /// Wall-clock time of the first arrival's clock, RFC 3339.
    pub started_at: String,
    /// Seconds in which arrivals came.
    pub arrivals_seconds: f64,
    /// Seconds until the last answer.
    pub seconds: f64,
    /// The seed that gives the same schedule again.
    pub seed: u64,
    /// Somebody ended it early.
    pub stopped_early: bool,
    /// Is all well?
    pub verdict: Verdict,
    /// Figures by action: issue, redeem. Actions that did not occur are left out.
    pub actions: Vec<ActionReport>,
    /// Refusals by kind: the last part of the problem's `type`.
    pub refusals: BTreeMap<String, u64>,
    /// Of these, the ones that are faults of the server: 5xx other than 503 and 507, answers that make no sense.
    pub faults: BTreeMap<String, u64>,
    /// Requests of unknown outcome, by reason.
    pub unknown: BTreeMap<String, u64>,
    /// Arrivals that were never sent, by reason.
    pub not_sent: BTreeMap<String, u64>,
    /// Attempts of unknown outcome that were sent again, by reason.
    pub retried: BTreeMap<String, u64>,
    /// Connections that could not be made, by reason.
    pub connect_failures: BTreeMap<String, u64>,
    /// Times in which no connection could be made.
    pub outages: Vec<Outage>,
    /// New coupons by campaign.
    pub campaigns: Vec<CampaignReport>,
    /// What became of visits to the shop; absent without one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub visits: Option<VisitsReport>,
    /// The generator's own health.
    pub generator: GeneratorReport,
    /// Phase changes and the like, for plots.
    pub marks: Vec<Mark>,
    /// Goals that plots show as lines, milliseconds, by action.
    pub goals_p99_ms: BTreeMap<String, f64>,
    /// One entry per second of intended arrival.
    pub by_second: Vec<SecondReport>,
}

/// Is all well?
#[derive(Clone, Debug, Serialize)]
pub struct Verdict {
    /// The worst of the reasons.
    pub level: Level,
    /// One short sentence.
    pub title: String,
    /// What it rests on, worst first.
    pub reasons: Vec<Reason>,
}

/// How bad something is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// As it should be.
    Well,
    /// Nobody was harmed, but somebody should look.
    Look,
    /// Members were harmed, or a goal was missed.
    Harm,
}

/// One thing a verdict rests on.
#[derive(Clone, Debug, Serialize)]
pub struct Reason {
    /// How bad it is.
    pub level: Level,
    /// A sentence.
    pub text: String,
}

/// Figures of one action. `offered = accepted + refused + unknown + not_sent`.
#[derive(Clone, Debug, Serialize)]
pub struct ActionReport {
    /// `issue` or `redeem`.
    pub action: String,
    /// Arrivals that were due.
    pub offered: u64,
    /// 2xx answers.
    pub accepted: u64,
    /// Of these, answers that repeated an earlier one.
    pub replayed: u64,
    /// Complete answers that said no.
    pub refused: u64,
    /// Sent, but no complete answer.
    pub unknown: u64,
    /// Never sent.
    pub not_sent: u64,
    /// Answers a second, over the whole run.
    pub answered_per_second: f64,
    /// From intended arrival to the end of the answer, milliseconds.
    pub latency_ms: Latency,
    /// The latency distribution: (quantile, milliseconds).
    pub quantiles: Vec<(f64, f64)>,
}

/// Latency, milliseconds.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Latency {
    /// The mean.
    pub mean: f64,
    /// Half of the answers were at least this fast.
    pub p50: f64,
    /// 90 %.
    pub p90: f64,
    /// 99 %.
    pub p99: f64,
    /// 99.9 %.
    pub p999: f64,
    /// The slowest.
    pub max: f64,
}

/// A time in which no connection could be made.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Outage {
    /// Seconds after the start.
    pub from: f64,
    /// When a connection stood again; `null` if none did.
    pub to: Option<f64>,
}

/// New coupons of a campaign.
#[derive(Clone, Debug, Serialize)]
pub struct CampaignReport {
    /// Its id.
    pub id: String,
    /// Its quantity, if this scenario created it and it has one.
    pub quantity: Option<u64>,
    /// 201 answers.
    pub issued: u64,
}

/// How far visits to the shop came, and how orders ended as their members saw it. A visit may place several orders.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct VisitsReport {
    /// Visits begun.
    pub visits: u64,
    /// Visitors who took a coupon.
    pub claimed: u64,
    /// Quotes given.
    pub quoted: u64,
    /// Carts left after the quote.
    pub gave_up: u64,
    /// Carts that the shop refused: sold out, the price changed, and the like.
    pub turned_away: u64,
    /// Orders placed.
    pub placed: u64,
    /// Second clicks answered with the order of the first.
    pub repeated: u64,
    /// Second clicks answered with another order. Never more than none.
    pub two_orders: u64,
    /// Orders seen paid.
    pub paid: u64,
    /// Orders seen failed, such as by a card that was declined.
    pub failed: u64,
    /// Orders seen cancelled, before or after they were paid.
    pub cancelled: u64,
    /// Returns seen refunded.
    pub refunded: u64,
    /// Visitors who looked at their order until they lost patience.
    pub lost_patience: u64,
}

/// The generator's own health: if it was late, its latencies say more about itself than about the server.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct GeneratorReport {
    /// Requests put on a connection, retries included.
    pub requests_sent: u64,
    /// How late 99 % of arrivals left the schedule at most, milliseconds.
    pub late_p99_ms: f64,
    /// The latest, milliseconds.
    pub late_max_ms: f64,
    /// Connections made in all.
    pub connections_made: u64,
    /// Connections at the same time.
    pub connections_peak: usize,
    /// The limit of connections.
    pub connections_max: usize,
}

/// Something that happened at a moment.
#[derive(Clone, Debug, Serialize)]
pub struct Mark {
    /// Seconds after the start.
    pub at: f64,
    /// A word or two.
    pub text: String,
}

/// What happened to those whose intended arrival fell into one second.
#[derive(Clone, Debug, Serialize)]
pub struct SecondReport {
    /// The second, from 0.
    pub second: u64,
    /// Arrivals due.
    pub offered: u64,
    /// Answers that came in during this second, whenever their member pressed.
    pub answered: u64,
    /// 2xx answers to those who pressed in this second.
    pub accepted: u64,
    /// Unknown outcomes.
    pub unknown: u64,
    /// Never sent.
    pub not_sent: u64,
    /// Refusals by kind.
    pub refused: BTreeMap<String, u64>,
    /// Milliseconds; absent without answers.
    pub p50_ms: Option<f64>,
    /// Milliseconds; absent without answers.
    pub p99_ms: Option<f64>,
    /// Milliseconds; absent without answers.
    pub max_ms: Option<f64>,
}

impl Report {
    pub(crate) fn new(scenario: &Scenario, run: &Run) -> Self {
        let tally = &run.tally;
        let named =
            |map: &BTreeMap<&'static str, u64>| map.iter().map(|(k, v)| ((*k).to_owned(), *v)).collect();
        let goals = [
            ("issue", scenario.goals.issue_p99),
            ("redeem", scenario.goals.redeem_p99),
            ("place", scenario.goals.place_p99),
        ];
        let mut report = Self {
            name: scenario.name.clone(),
            target: scenario.target.to_string(),
            started_at: run.started_at.to_string(),
            arrivals_seconds: run.arrivals_seconds,
            seconds: run.seconds,
            seed: scenario.seed,
            stopped_early: run.stopped,
            verdict: Verdict { level: Level::Well, title: String::new(), reasons: Vec::new() },
            actions: Action::ALL
                .iter()
                .map(|action| action_report(*action, &tally.actions[*action as usize], run.seconds))
                .filter(|action| action.offered > 0)
                .collect(),
            refusals: tally.refusals.iter().map(|(kind, count)| (kind.to_string(), *count)).collect(),
            faults: tally.faults.clone(),
            unknown: named(&tally.unknown),
            not_sent: named(&tally.not_sent),
            retried: named(&tally.retried),
            connect_failures: named(&tally.connect_failures),
            outages: run.outages.iter().map(|(from, to)| Outage { from: *from, to: *to }).collect(),
            campaigns: campaigns(scenario, run),
            visits: visits(tally),
            generator: GeneratorReport {
                requests_sent: tally.requests_sent,
                late_p99_ms: ms(tally.lateness.value_at_quantile(0.99)),
                late_max_ms: ms(tally.lateness.max()),
                connections_made: tally.connections_made,
                connections_peak: tally.connections_peak,
                connections_max: scenario.connections_max,
            },
            marks: marks(scenario, run),
            goals_p99_ms: goals
                .iter()
                .filter_map(|(action, goal)| Some(((*action).to_owned(), (*goal)?.as_secs_f64() * 1e3)))
                .collect(),
            by_second: by_second(tally),
        };
        report.verdict = verdict::judge(&report, scenario.goals.unknown_max);
        report
    }

    /// The report as JSON, with every second.
    pub fn to_json(&self) -> String {
        let mut json =
            serde_json::to_string_pretty(self).expect("a report has string keys and finite numbers");
        json.push('\n');
        json
    }

    /// The report for a terminal.
    pub fn to_text(&self) -> String {
        text::text(self)
    }

    /// The report as one HTML page that needs nothing else: no script, no font, no request.
    pub fn to_html(&self) -> String {
        html::page(self).into_string()
    }

    /// A figure summed over actions.
    pub(crate) fn sum(&self, figure: impl Fn(&ActionReport) -> u64) -> u64 {
        self.actions.iter().map(figure).sum()
    }
}

fn visits(tally: &Tally) -> Option<VisitsReport> {
    let of = |mark: VisitMark| tally.marks.get(&mark).copied().unwrap_or(0);
    (of(VisitMark::Visited) > 0).then(|| VisitsReport {
        visits: of(VisitMark::Visited),
        claimed: of(VisitMark::Claimed),
        quoted: of(VisitMark::Quoted),
        gave_up: of(VisitMark::GaveUp),
        turned_away: of(VisitMark::TurnedAway),
        placed: of(VisitMark::Placed),
        repeated: of(VisitMark::Repeated),
        two_orders: of(VisitMark::TwoOrders),
        paid: of(VisitMark::Paid),
        failed: of(VisitMark::Failed),
        cancelled: of(VisitMark::Cancelled),
        refunded: of(VisitMark::Refunded),
        lost_patience: of(VisitMark::LostPatience),
    })
}

impl VisitsReport {
    /// The figures with their names, from coming in to going out.
    pub(crate) fn steps(&self) -> [(&'static str, u64); 12] {
        [
            ("visits", self.visits),
            ("took a coupon", self.claimed),
            ("quotes", self.quoted),
            ("gave up after the quote", self.gave_up),
            ("turned away", self.turned_away),
            ("orders placed", self.placed),
            ("second clicks, same order", self.repeated),
            ("orders paid", self.paid),
            ("orders failed", self.failed),
            ("orders cancelled", self.cancelled),
            ("returns refunded", self.refunded),
            ("lost patience", self.lost_patience),
        ]
    }
}

fn action_report(action: Action, tally: &ActionTally, seconds: f64) -> ActionReport {
    let at = |quantile| ms(tally.latency.value_at_quantile(quantile));
    let answered = tally.accepted + tally.refused;
    ActionReport {
        action: action.word().to_owned(),
        offered: tally.offered,
        accepted: tally.accepted,
        replayed: tally.replayed,
        refused: tally.refused,
        unknown: tally.unknown,
        not_sent: tally.not_sent,
        answered_per_second: answered as f64 / seconds.max(1e-9),
        latency_ms: Latency {
            mean: tally.latency.mean() / 1e3,
            p50: at(0.5),
            p90: at(0.9),
            p99: at(0.99),
            p999: at(0.999),
            max: ms(tally.latency.max()),
        },
        quantiles: quantiles(tally),
    }
}

/// Quantiles that are evenly spaced in the number of nines, as far as the number of answers supports them.
fn quantiles(tally: &ActionTally) -> Vec<(f64, f64)> {
    let answers = tally.latency.len();
    if answers == 0 {
        return Vec::new();
    }
    let nines_max = (answers as f64).log10().clamp(1.0, 6.0);
    let steps = (nines_max * 20.0) as u32;
    (0..=steps)
        .map(|step| 1.0 - 10_f64.powf(-f64::from(step) / 20.0))
        .map(|quantile| (quantile, ms(tally.latency.value_at_quantile(quantile))))
        .collect()
}

fn campaigns(scenario: &Scenario, run: &Run) -> Vec<CampaignReport> {
    let quantity =
        |id: &str| scenario.campaigns.iter().find(|plan| plan.id == id).and_then(|plan| plan.quantity);
    run.campaigns
        .iter()
        .enumerate()
        .map(|(i, id)| CampaignReport {
            id: id.clone(),
            quantity: quantity(id),
            issued: run.tally.issued.get(i).copied().unwrap_or(0),
        })
        .collect()
}

fn marks(scenario: &Scenario, run: &Run) -> Vec<Mark> {
    let Load::Schedule(load) = &scenario.load else { return Vec::new() };
    let started = load.stretches.iter().filter(|stretch| stretch.start < run.seconds);
    started.map(|stretch| Mark { at: stretch.start, text: stretch.name.clone() }).collect()
}

fn by_second(tally: &Tally) -> Vec<SecondReport> {
    let kinds = &tally.refusals;
    let report = |(index, second): (usize, &crate::generator::tally::Second)| {
        let latencies = second.latencies();
        let some = |micros: u64| (latencies.max > 0).then(|| ms(micros));
        let refused = second.refused.iter().zip(kinds).filter(|(count, _)| **count > 0);
        SecondReport {
            second: index as u64,
            offered: second.offered,
            answered: second.answered,
            accepted: second.accepted,
            unknown: second.unknown,
            not_sent: second.not_sent,
            refused: refused.map(|(count, (kind, _))| (kind.to_string(), *count)).collect(),
            p50_ms: some(latencies.p50),
            p99_ms: some(latencies.p99),
            max_ms: some(latencies.max),
        }
    };
    tally.seconds.iter().enumerate().map(report).collect()
}

fn ms(micros: u64) -> f64 {
    micros as f64 / 1e3
}
