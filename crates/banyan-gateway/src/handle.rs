//! What the handle says about copies, evidence and callers, and what people can say to it.

use crate::callers::CallersReport;
use crate::canary::signed_override;
use crate::change::{Change, Refused};
use crate::config::ConfigError;
use crate::evidence::Standing;
use crate::gateway::Gateway;
use crate::groups::{Group, Judged, Judgement, WHY_BYTES_MAX};
use crate::limits::NAME_BYTES_MAX;
use crate::promote;
use crate::shadow::{ShadowReport, now_millis};
use crate::side::Side;
use crate::table::Route;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

/// Longest time that a signed override is good for: 30 days.
pub(crate) const OVERRIDE_TIME_MAX: Duration = Duration::from_secs(30 * 24 * 60 * 60);

impl Gateway {
    /// What became of the copies of each route.
    #[must_use]
    pub fn shadow(&self) -> Vec<ShadowReport> {
        self.table().routes().iter().map(|route| route.lane().report(route.name())).collect()
    }

    /// Memory that copies hold now, in bytes.
    #[must_use]
    pub fn shadow_bytes(&self) -> usize {
        self.inner.sides.shadow.bytes_held()
    }

    /// The groups of mismatches of a route, the ones that count first.
    ///
    /// # Errors
    /// [`Refused::NotFound`].
    pub fn groups(&self, route: &str) -> Result<Vec<Group>, Refused> {
        Ok(self.find(route)?.lane().groups())
    }

    /// Judges a group, and returns when that is on disk. Waits for the disk: not for an asynchronous task.
    ///
    /// # Errors
    /// [`Refused::NotFound`], [`Refused::Invalid`] without an author or a reason, [`Refused::Storage`]: then it counts
    /// until the gateway stops, and is stored as soon as that is possible.
    pub fn judge(
        &self,
        route: &str,
        group: &str,
        judgement: Judgement,
        by: &str,
        why: &str,
    ) -> Result<Group, Refused> {
        let route = self.find(route)?;
        if by.trim().is_empty() || by.len() > NAME_BYTES_MAX {
            return Err(Refused::Invalid(format!("by: say who judges, in 1 to {NAME_BYTES_MAX} bytes")));
        }
        if why.trim().is_empty() || why.len() > WHY_BYTES_MAX {
            return Err(Refused::Invalid(format!("why: say why, in 1 to {WHY_BYTES_MAX} bytes")));
        }
        let judged = Judged { judgement, by: by.to_owned(), why: why.to_owned(), at: now_millis() };
        let found = route.lane().judge(group, judged).ok_or_else(|| {
            Refused::NotFound(format!(
                "route {:?} has no group {group:?}: look at its groups again",
                route.name()
            ))
        })?;
        self.inner.sides.store.save_lane(route.name(), route.lane()).map_err(|error| {
            Refused::Storage(format!("the judgement counts, but could not be stored yet: {error}"))
        })?;
        Ok(found)
    }

    /// How the evidence of a route stands; nothing if it has no rules or nothing to decide.
    ///
    /// # Errors
    /// [`Refused::NotFound`].
    pub fn evidence(&self, route: &str) -> Result<Option<Standing>, Refused> {
        Ok(self.inner.sides.courses.standing(&*self.find(route)?, now_millis()))
    }

    /// Forgets what evidence saw on a route, and whether its Banyan side pretends: something else is running there now. Waits
    /// for the disk: not for an asynchronous task.
    ///
    /// # Errors
    /// [`Refused::NotFound`].
    pub fn restart_evidence(&self, route: &str) -> Result<(), Refused> {
        let route = self.find(route)?;
        self.inner.sides.courses.restart(&route);
        if let Some(proof) = route.rules().proof() {
            proof.forget();
        }
        Ok(())
    }

    /// Who still calls routes that touch a capability, and who of them was answered by the old shop within that time.
    #[must_use]
    pub fn callers(&self, capability: &str, within: Duration) -> CallersReport {
        let within = u64::try_from(within.as_millis()).unwrap_or(u64::MAX);
        self.inner.sides.ledger.report(&self.table(), capability, within, now_millis())
    }

    /// A text for the override header or cookie of a route that lets its bearer choose a side for so long.
    ///
    /// # Errors
    /// [`Refused::NotFound`]; [`Refused::Invalid`] if the time is longer than [`OVERRIDE_TIME_MAX`] or the route takes no
    /// overrides.
    pub fn sign_override(&self, route: &str, side: Side, good_for: Duration) -> Result<String, Refused> {
        let route = self.find(route)?;
        let takes = route.spec().canary.as_ref();
        if !takes.is_some_and(|canary| canary.override_header.is_some() || canary.override_cookie.is_some()) {
            return Err(Refused::Invalid(format!(
                "route {:?} takes no overrides: give its canary an override_header or an override_cookie",
                route.name()
            )));
        }
        if good_for > OVERRIDE_TIME_MAX {
            return Err(Refused::Invalid(format!(
                "an override is good for at most {} seconds",
                OVERRIDE_TIME_MAX.as_secs()
            )));
        }
        let until = now_millis() + u64::try_from(good_for.as_millis()).unwrap_or(0);
        Ok(signed_override(self.inner.sides.override_key(), route.name(), side, until))
    }

    /// Stops a route's ramp where it is now, or lets it go on where its steps are by then. A version like any other.
    ///
    /// # Errors
    /// As [`Gateway::change`]; [`Refused::Invalid`] if the route has no ramp.
    pub fn pause_ramp(
        &self,
        expected: u64,
        route: &str,
        paused: bool,
        by: &str,
        reason: &str,
    ) -> Result<u64, Refused> {
        let mut spec = self.find(route)?.spec().clone();
        match &mut spec.canary {
            Some(canary) if !canary.ramp.is_empty() => {
                // Paused again, it stays where it was paused first: steps may have passed since.
                let since = canary.paused_at.take();
                canary.paused_at = paused.then(|| since.unwrap_or_else(crate::gateway::now));
            }
            _ => return Err(Refused::Invalid(format!("route {route:?} has no ramp that could be paused"))),
        }
        self.change(expected, Change::SetRoute(Box::new(spec)), by, reason)
    }

    /// Begins to make copies and to apply evidence, until the gateway has ended.
    pub(crate) fn start_sides(&self) -> Result<Vec<JoinHandle<()>>, ConfigError> {
        let failed = |error: std::io::Error| {
            ConfigError(format!("starting the threads of copies and evidence: {error}"))
        };
        let (sides, ending) = (&self.inner.sides, &self.inner.ending);
        let copies = sides.shadow.start(Arc::new(self.outbound()), sides.store.clone(), ending.subscribe());
        let mut threads = Vec::from_iter(copies.map_err(failed)?);
        if !threads.is_empty() {
            threads.push(promote::start(self.clone(), ending.subscribe()).map_err(failed)?);
        }
        Ok(threads)
    }

    fn find(&self, route: &str) -> Result<Arc<Route>, Refused> {
        self.table()
            .route(route)
            .cloned()
            .ok_or_else(|| Refused::NotFound(format!("there is no route {route:?}")))
    }
}
