//! A value of the API that all visitors share for a moment: one reading of it is under way at most, nobody waits long for it
//! where an older value is there, and a failure is remembered, so that an API that hangs is not waited for by one visitor
//! after the other.

use crate::api::ApiError;
use jiff::Timestamp;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::watch;

/// How long a visitor waits for a value to be read anew where there is an older one.
const PATIENCE: Duration = Duration::from_millis(400);
/// How old a value may be where the API does not answer; the page says so.
const STALE_AGE_MAX: Duration = Duration::from_secs(300);
/// How long a failure stands before it is tried again.
const FAILURE_AGE_MAX: Duration = Duration::from_secs(1);

/// Something read from the API, and when.
#[derive(Clone, Debug)]
pub(crate) struct Dated<T> {
    pub(crate) value: T,
    pub(crate) at: Timestamp,
    /// Whether it could not be read anew just now.
    pub(crate) stale: bool,
}

/// The value, and what is known about reading it.
#[derive(Debug)]
pub(crate) struct Cell<T>(watch::Sender<Known<T>>);

#[derive(Debug)]
struct Known<T> {
    value: Option<(Instant, Dated<Arc<T>>)>,
    failed: Option<(Instant, ApiError)>,
    reading: bool,
}

type Answer<T> = Result<Dated<Arc<T>>, ApiError>;

impl<T> Default for Cell<T> {
    fn default() -> Self {
        Self(watch::Sender::new(Known { value: None, failed: None, reading: false }))
    }
}

impl<T> Known<T> {
    /// What was read not before `oldest`.
    fn fresh(&self, oldest: Option<Instant>) -> Option<Dated<Arc<T>>> {
        let (_, value) =
            self.value.as_ref().filter(|(read, _)| oldest.is_none_or(|oldest| *read >= oldest))?;
        Some(value.clone())
    }

    /// What is better than nothing where nothing newer can be had.
    fn stale(&self) -> Option<Dated<Arc<T>>> {
        let (_, value) = self.value.as_ref().filter(|(read, _)| read.elapsed() <= STALE_AGE_MAX)?;
        Some(Dated { stale: true, ..value.clone() })
    }

    /// What a failure not before `oldest` leaves to show: an older value, or itself.
    fn after_failure(&self, oldest: Option<Instant>) -> Option<Answer<T>> {
        let (_, error) = self.failed.as_ref().filter(|(at, _)| oldest.is_none_or(|oldest| *at >= oldest))?;
        Some(self.stale().ok_or_else(|| error.clone()))
    }

    fn answer(&self, value_from: Option<Instant>, failure_from: Option<Instant>) -> Option<Answer<T>> {
        self.fresh(value_from).map(Ok).or_else(|| self.after_failure(failure_from))
    }

    fn note(&mut self, read: Result<T, ApiError>) {
        self.reading = false;
        match read {
            Ok(value) => {
                let value = Dated { value: Arc::new(value), at: Timestamp::now(), stale: false };
                (self.value, self.failed) = (Some((Instant::now(), value)), None);
            }
            Err(error) => {
                tracing::warn!("what all visitors share could not be read: {error}");
                self.failed = Some((Instant::now(), error));
            }
        }
    }
}

impl<T: Send + Sync + 'static> Cell<T> {
    /// The value, at most `age_max` old where `read` gives it in time. One `read` runs at a time; others are dropped unasked.
    pub(crate) async fn get(
        self: &Arc<Self>,
        age_max: Duration,
        read: impl Future<Output = Result<T, ApiError>> + Send + 'static,
    ) -> Answer<T> {
        let came = Instant::now();
        // None: the machine runs for less than that, and so does everything that was read.
        let (value_from, failure_from) = (came.checked_sub(age_max), came.checked_sub(FAILURE_AGE_MAX));
        if let Some(answer) = self.0.borrow().answer(value_from, failure_from) {
            return answer;
        }
        let mut known = self.0.subscribe();
        if self.0.send_if_modified(|known| !std::mem::replace(&mut known.reading, true)) {
            let cell = self.clone();
            // A task of its own: a visitor who goes away does not break off what others wait for. And one within it, so
            // that a panic is a failure like any other.
            tokio::spawn(async move {
                let read = tokio::spawn(read).await;
                let broke_off = |error| Err(ApiError::Unknown(format!("reading broke off: {error}")));
                let read = read.unwrap_or_else(broke_off);
                cell.0.send_modify(|known| known.note(read));
            });
        }
        let older = self.0.borrow().stale();
        // The sender is in the cell, which is borrowed: it is not gone while it is waited for.
        let settled = known.wait_for(|known| !known.reading);
        let settled = match older {
            None => settled.await.is_ok(),
            Some(_) => tokio::time::timeout(PATIENCE, settled).await.is_ok(),
        };
        // What was read since this visitor came is fresh, however late they are told.
        let answer = settled.then(|| self.0.borrow().answer(Some(came), Some(came))).flatten();
        let nothing = || ApiError::Unknown("what all visitors share was not read in time".into());
        answer.unwrap_or_else(|| older.ok_or_else(nothing))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use tokio::sync::Notify;

    /// An API that hangs until it is told to fail, and counts how often it is asked.
    #[derive(Default)]
    struct Hangs {
        asked: AtomicUsize,
        end: Notify,
    }

    async fn hang(hangs: Arc<Hangs>) -> Result<u32, ApiError> {
        hangs.asked.fetch_add(1, Ordering::SeqCst);
        hangs.end.notified().await;
        Err(ApiError::Unknown("no answer within 8s".into()))
    }

    #[tokio::test]
    async fn while_the_api_hangs_one_asks_and_all_see_the_older_value() {
        let (cell, hangs) = (Arc::new(Cell::<u32>::default()), Arc::new(Hangs::default()));
        let read = cell.get(Duration::ZERO, async { Ok(7) }).await.expect("it answers");
        assert_eq!((*read.value, read.stale), (7, false));
        // Its end comes when all have been answered: nobody waits for it.
        let visitors: Vec<_> = (0..20)
            .map(|_| {
                let (cell, hangs) = (cell.clone(), hangs.clone());
                tokio::spawn(async move { cell.get(Duration::ZERO, hang(hangs)).await })
            })
            .collect();
        for visitor in visitors {
            let seen = visitor.await.expect("it does not panic").expect("the older value");
            assert_eq!((*seen.value, seen.stale), (7, true));
        }
        assert_eq!(hangs.asked.load(Ordering::SeqCst), 1);
        hangs.end.notify_one();
    }

    #[tokio::test]
    async fn without_an_older_value_all_are_told_the_one_failure() {
        let (cell, hangs) = (Arc::new(Cell::<u32>::default()), Arc::new(Hangs::default()));
        let visitors: Vec<_> = (0..20)
            .map(|_| {
                let (cell, hangs) = (cell.clone(), hangs.clone());
                tokio::spawn(async move { cell.get(Duration::ZERO, hang(hangs)).await })
            })
            .collect();
        hangs.end.notify_one();
        for visitor in visitors {
            assert!(visitor.await.expect("it does not panic").is_err());
        }
        assert_eq!(hangs.asked.load(Ordering::SeqCst), 1);
    }

    #[tokio::test]
    async fn who_goes_away_does_not_break_off_what_others_wait_for() {
        let (cell, go) = (Arc::new(Cell::<u32>::default()), Arc::new(Notify::new()));
        let slow = |go: Arc<Notify>| async move {
            go.notified().await;
            Ok(9)
        };
        let first = tokio::spawn({
            let (cell, read) = (cell.clone(), slow(go.clone()));
            async move { cell.get(Duration::ZERO, read).await }
        });
        while !cell.0.borrow().reading {
            tokio::task::yield_now().await;
        }
        let second = tokio::spawn({
            let (cell, read) = (cell.clone(), slow(go.clone()));
            async move { cell.get(Duration::ZERO, read).await }
        });
        while cell.0.receiver_count() < 2 {
            tokio::task::yield_now().await;
        }
        first.abort();
        go.notify_one();
        let seen = second.await.expect("it does not panic").expect("a value");
        assert_eq!((*seen.value, seen.stale), (9, false));
    }
}
