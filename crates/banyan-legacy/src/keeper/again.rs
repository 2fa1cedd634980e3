//! Looking at the gates of a move under way again. What the move itself brings about must not stop it: nobody compares but the move
//! itself, and what is read for that delays the stream for a moment.

use super::Keeper;
use crate::database::BoxFuture;
use crate::mover::{DriveError, Gate, Gatekeeper, Look, check, closed, gates, instant, looked};
use banyan_domain::legacy::{Move, Phase};
use banyan_engine::wall_clock;
use std::time::Duration;
use tokio::time::Instant;

/// How long gates are looked at that may open by themselves in a moment, before the move rests.
const OPENS_WITHIN: Duration = Duration::from_secs(2);
/// Longest wait for what is measured. A lag that is longer stays the one that was known.
const MEASURED_WITHIN: Duration = Duration::from_secs(10);
/// How often.
const LOOK: Duration = Duration::from_millis(20);

impl Gatekeeper for Keeper {
    fn look<'a>(&'a self, moving: &'a Move) -> BoxFuture<'a, Result<Look, DriveError>> {
        Box::pin(self.look_again(moving))
    }
}

impl Keeper {
    async fn look_again(&self, moving: &Move) -> Result<Look, DriveError> {
        if moving.to == Phase::Retired {
            self.look_at_references().await;
        }
        // The preflight reads every row of the old tables, and so does a comparison. A move may rest for days and look every few
        // seconds: so they come last.
        let cheap = gates(&self.facts(Vec::new()).await?, moving.to);
        if closed(&cheap, moving).any(|gate| matches!(gate.name, "references" | "evidence")) {
            return Ok(looked(&cheap, moving));
        }
        if closed(&cheap, moving).any(|gate| gate.name == "equal") {
            if let Some(why) = self.compares_later(moving, &cheap).await? {
                return Ok(Look::Closed(why));
            }
            self.compares(moving).await?;
            let cheap = gates(&self.facts(Vec::new()).await?, moving.to);
            if closed(&cheap, moving).any(|gate| gate.name == "equal") {
                return Ok(looked(&cheap, moving));
            }
        }
        let findings = check(&*self.driver.database, moving).await;
        let mut until = Instant::now() + OPENS_WITHIN;
        let mut has_compared = false;
        loop {
            let facts = self.facts(findings.clone()).await?;
            let gates = gates(&facts, moving.to);
            let closed: Vec<&Gate> = closed(&gates, moving).collect();
            let is_closed = |name| closed.iter().any(|gate| gate.name == name);
            if is_closed("equal") && !has_compared {
                // It has grown old while the preflight looked.
                has_compared = true;
                self.compares(moving).await?;
                until = Instant::now() + OPENS_WITHIN;
                continue;
            }
            let may_open = closed.iter().all(|gate| matches!(gate.name, "lag" | "stream" | "sync-out"));
            if closed.is_empty() || !may_open || Instant::now() >= until {
                return Ok(looked(&gates, moving));
            }
            if is_closed("lag") {
                self.measure_lag().await;
            }
            // Other tasks bring it about and say so in numbers only.
            tokio::time::sleep(LOOK).await;
        }
    }

    /// What the move says instead of comparing, if it has just found both sides to differ.
    async fn compares_later(&self, moving: &Move, gates: &[Gate]) -> Result<Option<String>, DriveError> {
        let last = self.driver.state().await?.reconciled;
        let Some(left) = self.driver.recall.leaves_alone(moving.number, last) else { return Ok(None) };
        let Look::Closed(why) = looked(gates, moving) else { return Ok(None) };
        // Not to the second: it is told again when it changes.
        let until = wall_clock().as_millis() + u64::try_from(left.as_millis()).unwrap_or(u64::MAX / 2);
        Ok(Some(format!("{why}. Both sides are compared again at {}", instant(until - until % 1_000))))
    }

    /// Compares for the move. What is found is told by the gate, and by the step that compares.
    async fn compares(&self, moving: &Move) -> Result<(), DriveError> {
        match self.driver.comparer.compare(true).await {
            Ok((_, 0)) => self.driver.recall.is_equal(),
            Ok(_) => self.driver.recall.differed(moving.number, self.driver.state().await?.reconciled),
            Err(why) => tracing::info!("both sides could not be compared: {why}"),
        }
        Ok(())
    }

    /// Measures how long something takes from there to here now. What is known otherwise is of the last transaction, which after a
    /// pause of Banyan's was as long on its way as that, and of an idle shop stays the last one.
    async fn measure_lag(&self) {
        let (database, progress) = (&self.driver.database, &self.driver.progress);
        let most = self.mapping.watch.lag_max.min(MEASURED_WITHIN);
        let began = Instant::now();
        let Ok(position) = database.position().await else { return };
        if database.nudge().await.is_err() {
            return;
        }
        while progress.view().position_applied < position {
            if began.elapsed() > most {
                return;
            }
            // Another task brings it about and says so in numbers only.
            tokio::time::sleep(LOOK).await;
        }
        progress.measured(u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX));
    }
}
