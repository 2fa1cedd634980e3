//! The gateway as the console sees it: where it is, and what went over its routes in the last seconds.

use crate::Console;
use banyan_gateway::Gateway;
use banyan_gateway::traffic::SideTraffic;
use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};
use tokio::time::MissedTickBehavior;

/// Time between two looks.
const PERIOD: Duration = Duration::from_secs(1);
/// What rates and quantiles are of: this many looks back.
const LOOKS: usize = 10;

/// Where the console finds the gateway of its process. Clones are the same place, which may be filled after the console is
/// made: the gateway's routes may lead to the console's own router.
#[derive(Clone, Default)]
pub struct GatewayHandle(Arc<OnceLock<Gateway>>);

impl GatewayHandle {
    /// Takes the gateway. The first one stays.
    pub fn set(&self, gateway: Gateway) {
        self.0.get_or_init(|| gateway);
    }

    pub(crate) fn get(&self) -> Option<&Gateway> {
        self.0.get()
    }
}

impl fmt::Debug for GatewayHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.get().is_some() { "GatewayHandle(set)" } else { "GatewayHandle(none)" })
    }
}

/// What one side of a route did in the last seconds.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Rate {
    /// Requests per second.
    pub(crate) requests: f64,
    /// Of these, answers of class 5xx and requests without an answer.
    pub(crate) errors: f64,
    /// 99 of 100 answers' heads came within this time, in milliseconds; none without an answer.
    pub(crate) p99: Option<f64>,
}

/// The last looks at the traffic.
#[derive(Default)]
pub(crate) struct Traffic {
    looks: Mutex<VecDeque<Look>>,
}

struct Look {
    at: Instant,
    routes: BTreeMap<String, [SideTraffic; 2]>,
}

impl Traffic {
    /// What the two sides of a route did between the oldest look that is kept and the newest: the old shop's, then Banyan's.
    /// Nothing before there are two looks.
    pub(crate) fn rates(&self, route: &str) -> Option<[Rate; 2]> {
        let looks = self.lock();
        let (first, last) = (looks.front()?, looks.back()?);
        let seconds = last.at.duration_since(first.at).as_secs_f64();
        let now = last.routes.get(route).filter(|_| seconds > 0.0)?;
        let nothing = <[SideTraffic; 2]>::default();
        let was = first.routes.get(route).unwrap_or(&nothing);
        Some(std::array::from_fn(|side| rate(&was[side], &now[side], seconds)))
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<Look>> {
        self.looks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn look(&self, gateway: &Gateway) {
        let reports = gateway.traffic().into_iter();
        let routes = reports.map(|report| (report.route, [report.legacy, report.banyan])).collect();
        let mut looks = self.lock();
        looks.push_back(Look { at: Instant::now(), routes });
        while looks.len() > LOOKS + 1 {
            looks.pop_front();
        }
    }
}

/// Looks at the gateway once a second, as soon as there is one, until the server stops.
pub(crate) async fn run(console: Arc<Console>) {
    let mut stopping = console.app.stopping();
    let mut timer = tokio::time::interval(PERIOD);
    timer.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = timer.tick() => {}
            // An error means that whoever could stop us is gone: so is the server.
            _ = stopping.wait_for(|stop| *stop) => return,
        }
        if let Some(gateway) = console.options.gateway.get() {
            console.traffic.look(gateway);
        }
    }
}

/// What happened between two sums. A route that was taken out and put back counts from nothing.
fn rate(was: &SideTraffic, now: &SideTraffic, seconds: f64) -> Rate {
    let per_second = |now: u64, was: u64| now.saturating_sub(was) as f64 / seconds;
    let before: BTreeMap<u64, u64> = was.histogram.iter().copied().collect();
    let news = now
        .histogram
        .iter()
        .map(|(bound, count)| (*bound, count.saturating_sub(before.get(bound).copied().unwrap_or_default())));
    let window =
        SideTraffic { histogram: news.filter(|(_, count)| *count > 0).collect(), ..SideTraffic::default() };
    let p99 = (!window.histogram.is_empty()).then(|| window.quantile(0.99) as f64 / 1e3);
    Rate {
        requests: per_second(now.requests, was.requests),
        errors: per_second(now.errors(), was.errors()),
        p99,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_of_what_came_between_two_looks() {
        let was = SideTraffic {
            requests: 100,
            classes: [0, 90, 0, 0, 10],
            histogram: vec![(1_000, 60), (900_000, 40)],
            ..SideTraffic::default()
        };
        let now = SideTraffic {
            requests: 300,
            classes: [0, 280, 0, 0, 18],
            failures: 2,
            histogram: vec![(1_000, 250), (2_000, 10), (900_000, 40)],
            ..SideTraffic::default()
        };
        let rate = super::rate(&was, &now, 4.0);
        assert_eq!(
            rate,
            Rate { requests: 50.0, errors: 2.5, p99: Some(2.0) },
            "old slow answers do not count"
        );
        assert_eq!(super::rate(&now, &now, 4.0), Rate::default());
        assert_eq!(
            super::rate(&now, &was, 4.0),
            Rate::default(),
            "counts that began anew are no negative rates"
        );
    }
}
