//! What a driver remembers from one step to the next. All of it is found out again after a crash: it saves work, and decides nothing.

use banyan_domain::legacy::{MoveStep, Reconciled};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// How long both sides are left alone while they stay different: first, and at most. Comparing reads every row of the old tables.
const PAUSE: (Duration, Duration) = (Duration::from_secs(5), Duration::from_secs(300));

/// What a driver remembers.
#[derive(Debug, Default)]
pub struct Recall(Mutex<Inner>);

#[derive(Debug, Default)]
struct Inner {
    /// Of which step of which move, and the number that it waits for.
    goal: Option<(u64, MoveStep, u64)>,
    apart: Option<Apart>,
}

/// Both sides were found to differ.
#[derive(Clone, Copy, Debug)]
struct Apart {
    /// The move that found it.
    number: u64,
    /// What was noted of it.
    found: Option<Reconciled>,
    pause: Duration,
    until: Instant,
}

impl Recall {
    /// What this step of move `number` has set itself to wait for.
    pub(super) fn goal(&self, number: u64, step: MoveStep) -> Option<u64> {
        self.inner().goal.filter(|(of, at, _)| (*of, *at) == (number, step)).map(|(.., goal)| goal)
    }

    pub(super) fn set_goal(&self, number: u64, step: MoveStep, goal: u64) {
        self.inner().goal = Some((number, step, goal));
    }

    /// How long move `number` is to leave both sides alone, if it compared them, and they differed, and nothing has changed since:
    /// `last` is the last comparison that was noted, by whomever.
    pub(crate) fn leaves_alone(&self, number: u64, last: Option<Reconciled>) -> Option<Duration> {
        let apart = self.inner().apart.filter(|apart| apart.number == number && apart.found == last)?;
        let left = apart.until.saturating_duration_since(Instant::now());
        (!left.is_zero()).then_some(left)
    }

    /// Move `number` has compared both sides, and they differ: `found` is what was noted of it, if anything was. Whoever finds the
    /// same again and again waits twice as long each time; what was put right, or is another number of rows, is progress.
    pub(crate) fn differed(&self, number: u64, found: Option<Reconciled>) {
        let mut inner = self.inner();
        let before = inner.apart.filter(|apart| apart.number == number);
        let is_progress = |apart: &Apart| {
            let repaired = found.is_some_and(|found| found.repaired > 0);
            repaired || found.map(open) != apart.found.map(open)
        };
        let pause = match before {
            Some(apart) if !is_progress(&apart) => (apart.pause * 2).min(PAUSE.1),
            _ => PAUSE.0,
        };
        inner.apart = Some(Apart { number, found, pause, until: Instant::now() + pause });
    }

    /// Both sides were found equal.
    pub(crate) fn is_equal(&self) {
        self.inner().apart = None;
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        // Each is set at once: what a panic left is whole.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Rows that still differ.
fn open(found: Reconciled) -> u64 {
    found.differing.saturating_sub(found.repaired)
}

#[cfg(test)]
mod tests {
    use super::*;
    use banyan_domain::Timestamp;

    /// Found by reading: the number of the last reservation, which one step waited for, was the event that the next one waited
    /// for, and so the old columns counted as written before they were.
    #[test]
    fn what_one_step_waits_for_is_nothing_to_another() {
        let recall = Recall::default();
        recall.set_goal(3, MoveStep::Checked, 35);
        assert_eq!(recall.goal(3, MoveStep::Checked), Some(35));
        assert_eq!((recall.goal(3, MoveStep::Flushed), recall.goal(4, MoveStep::Checked)), (None, None));
    }

    fn found(at: u64, differing: u64, repaired: u64) -> Option<Reconciled> {
        Some(Reconciled { at: Timestamp::from_millis(at), position: 7, rows: 40, differing, repaired })
    }

    /// Found by reading: as long as a row differed, a move that waited compared all rows every five seconds, or ten times a second.
    #[tokio::test(start_paused = true)]
    async fn sides_that_stay_different_are_compared_less_and_less_often_until_something_changes() {
        let recall = Recall::default();
        assert_eq!(recall.leaves_alone(3, None), None, "nothing is known");
        let mut pauses = Vec::new();
        for at in 0..9 {
            recall.differed(3, found(at, 2, 0));
            let left = recall.leaves_alone(3, found(at, 2, 0)).expect("a pause");
            pauses.push(left.as_secs());
            assert_eq!(recall.leaves_alone(3, found(at + 1, 0, 0)), None, "somebody else has compared since");
            assert_eq!(recall.leaves_alone(4, found(at, 2, 0)), None, "another move finds out for itself");
            tokio::time::advance(left).await;
            assert_eq!(recall.leaves_alone(3, found(at, 2, 0)), None, "it is over");
        }
        assert_eq!(pauses, [5, 10, 20, 40, 80, 160, 300, 300, 300]);
        let next = |now: Option<Reconciled>| {
            recall.differed(3, now);
            recall.leaves_alone(3, now).expect("a pause").as_secs()
        };
        assert_eq!(next(found(20, 1, 0)), 5, "one row less");
        assert_eq!(next(found(21, 1, 0)), 10);
        assert_eq!(next(found(22, 2, 1)), 5, "one was put right");
        recall.is_equal();
        assert_eq!(recall.leaves_alone(3, found(22, 2, 1)), None);
        assert_eq!(next(found(23, 2, 1)), 5, "from the beginning");
    }
}
