//! Requests that wait until the record store has come to a position: tasks, not threads, and only so many.

use crate::problem::Problem;
use banyan_log::Seq;
use banyan_views::ViewProgress;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Semaphore, watch};

/// Most requests that wait at once.
const WAITING_MAX: usize = 1_024;

/// Who waits for the record store.
pub(crate) struct RecordWait {
    progress: Arc<ViewProgress>,
    applied: watch::Receiver<Seq>,
    room: Semaphore,
}

/// Has the runner commit early as long as it lives, also if the request is given up meanwhile.
struct Hurry<'a>(&'a ViewProgress);

impl<'a> Hurry<'a> {
    fn new(progress: &'a ViewProgress) -> Self {
        progress.hurry(true);
        Self(progress)
    }
}

impl Drop for Hurry<'_> {
    fn drop(&mut self) {
        self.0.hurry(false);
    }
}

impl RecordWait {
    pub(crate) fn new(progress: Arc<ViewProgress>) -> Self {
        let (tell, applied) = watch::channel(progress.applied());
        progress.subscribe(Arc::new(move |seq| {
            tell.send_replace(seq);
        }));
        Self { progress, applied, room: Semaphore::new(WAITING_MAX) }
    }

    /// Whether the store came to `seq` within `patience`.
    ///
    /// # Errors
    /// A [`Problem`] if too many wait already.
    pub(crate) async fn reached(&self, seq: Seq, patience: Duration) -> Result<bool, Problem> {
        let Ok(_place) = self.room.try_acquire() else {
            return Err(Problem::unavailable(
                "Too many requests wait for the record store. Try again in a moment.",
            ));
        };
        let mut applied = self.applied.clone();
        let _hurry = Hurry::new(&self.progress);
        // A file that is built anew starts over, and what it tells first is less than what can be read.
        let there = applied.wait_for(|told| *told >= seq || self.progress.applied() >= seq);
        let reached = tokio::time::timeout(patience, there).await.is_ok_and(|there| there.is_ok());
        Ok(reached || self.progress.applied() >= seq)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn who_waits_takes_no_thread_and_only_so_many_wait() {
        let wait = Arc::new(RecordWait::new(Arc::new(ViewProgress::default())));
        assert!(wait.reached(Seq(0), Duration::ZERO).await.is_ok_and(|there| there));
        // All on this one thread: were any of them to block it, none would ever be polled.
        let patience = Duration::from_secs(3_600);
        let waiting: Vec<_> = (0..WAITING_MAX)
            .map(|_| {
                let wait = wait.clone();
                tokio::spawn(async move { wait.reached(Seq(1), patience).await })
            })
            .collect();
        while wait.room.available_permits() > 0 {
            tokio::task::yield_now().await;
        }
        let refused = wait.reached(Seq(1), patience).await.expect_err("too many wait");
        assert_eq!(refused.slug, "unavailable");
        for one in waiting {
            one.abort();
            assert!(one.await.is_err_and(|ended| ended.is_cancelled()));
        }
        assert_eq!(wait.room.available_permits(), WAITING_MAX, "who gives up makes room");
        assert!(wait.reached(Seq(1), Duration::ZERO).await.is_ok_and(|there| !there));
    }
}
