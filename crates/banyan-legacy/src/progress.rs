//! How the sync is doing, as numbers that anybody may look at without waiting: for the console, the metrics and the gates.

use crate::database::TargetRow;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// Points of the lag's history that are kept: at one a second, ten minutes.
const POINTS_MAX: usize = 600;

/// What the parts of the sync report. One for each mapping; shared.
#[derive(Debug, Default)]
pub struct Progress {
    following: Mutex<Following>,
    /// Lag of the last source transaction when it was durable here, milliseconds.
    lag_millis: AtomicU64,
    transactions: AtomicU64,
    rows_in: AtomicU64,
    /// Position of Banyan's log up to which everything is in the old tables.
    seq_written: AtomicU64,
    rows_out: AtomicU64,
    /// Lag of the last write when it was committed in the old database, milliseconds.
    out_lag_millis: AtomicU64,
    /// How long something has waited to be written, at least, milliseconds.
    out_waits_millis: AtomicU64,
    echoes: AtomicU64,
    inward: AtomicBool,
    outward: AtomicBool,
    trouble: Mutex<Trouble>,
    history: Mutex<VecDeque<LagPoint>>,
    /// Rows that the old tables refuse as Banyan would write them, with the old database's words.
    aside: Mutex<BTreeMap<RowPlace, String>>,
    pen: tokio::sync::Mutex<()>,
}

/// How far the stream in is. Together, so that nobody sees how far one stream was beside what another told.
#[derive(Clone, Copy, Debug, Default)]
struct Following {
    /// Position of the last item that the stream gave.
    seen: u64,
    /// Position up to which everything is durable here; 0 while that is not known.
    applied: u64,
    /// When the oldest of what was seen and is not durable here yet was seen, milliseconds since 1970.
    waits_since: Option<u64>,
    /// When the stream last gave anything, milliseconds since 1970.
    heard_at: u64,
    /// How many items came out of it.
    told: u64,
    /// How often a stream was begun whose positions may be those of another server.
    opened: u64,
}

/// Where a row is: the table's index, SKU, location.
pub(crate) type RowPlace = (usize, String, String);

/// What stands in the way, in words.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Trouble {
    /// Of the stream in.
    pub inward: Option<String>,
    /// Of the sync out.
    pub outward: Option<String>,
}

/// The lags at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LagPoint {
    /// When, milliseconds since 1970.
    pub at: u64,
    /// Of the stream in, milliseconds.
    pub inward: u64,
    /// Of the sync out, milliseconds.
    pub outward: u64,
}

/// [`Progress`] at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProgressView {
    /// Position of the last item that the stream gave.
    pub position_seen: u64,
    /// Position up to which everything is durable here; 0 while that is not known.
    pub position_applied: u64,
    /// When the oldest of what the stream gave and is not durable here yet was given, milliseconds since 1970.
    pub waits_since: Option<u64>,
    /// When the stream last gave anything, milliseconds since 1970; 0 if never.
    pub heard_at: u64,
    /// How many items came out of the stream since the start.
    pub told: u64,
    /// How often a stream was begun anew since the start: positions of before say nothing of those after it.
    pub opened: u64,
    /// Lag of the last source transaction when it was durable here, milliseconds.
    pub lag_millis: u64,
    /// Source transactions applied since the start.
    pub transactions: u64,
    /// Rows they had.
    pub rows_in: u64,
    /// Position of Banyan's log up to which everything is in the old tables, but for rows that are set aside.
    pub seq_written: u64,
    /// Rows written since the start.
    pub rows_out: u64,
    /// Lag of the last write when it was committed in the old database, milliseconds; or, if that is more, how long something has
    /// waited to be written.
    pub out_lag_millis: u64,
    /// How long something has waited to be written, at least, milliseconds; 0 if nothing does.
    pub out_waits_millis: u64,
    /// Own writes that came back and were recognised.
    pub echoes: u64,
    /// Rows that the old tables refuse as Banyan would write them: they were set aside so that the others go on.
    pub aside: u64,
    /// The first of them, and the old database's words.
    pub aside_first: Option<String>,
    /// Whether the stream in is being followed.
    pub inward: bool,
    /// Whether the sync out is running.
    pub outward: bool,
    /// What stands in the way.
    pub trouble: Trouble,
}

impl Progress {
    /// What the stream gave is looked at, which is at `position`.
    pub fn heard(&self, position: u64, now_millis: u64) {
        let mut following = self.lock_following();
        (following.seen, following.heard_at) = (position, now_millis);
        if position > following.applied {
            following.waits_since.get_or_insert(now_millis);
        }
    }

    /// Nothing of what the stream gave so far needs to be durable here, but for its position, which is kept with the next that does.
    pub fn passed_over(&self) {
        self.lock_following().waits_since = None;
    }

    /// An item came out of the stream, whatever it says. What is done about it comes later.
    pub fn told(&self) {
        self.lock_following().told += 1;
    }

    /// Everything up to `position` is durable here.
    pub fn applied(&self, position: u64) {
        let mut following = self.lock_following();
        following.applied = position;
        if position >= following.seen {
            following.waits_since = None;
        }
    }

    /// A stream is begun anew, perhaps on another server: how far the one before was says nothing of it.
    pub fn begun_anew(&self) {
        let mut following = self.lock_following();
        following.applied = 0;
        following.opened += 1;
    }

    /// A source transaction of `rows` rows is durable here, `lag_millis` after it was committed there. When that was is not
    /// always told; then the lag stays what it was.
    pub fn took(&self, rows: u64, lag_millis: Option<u64>) {
        self.transactions.fetch_add(1, Ordering::Relaxed);
        self.rows_in.fetch_add(rows, Ordering::Relaxed);
        if let Some(lag_millis) = lag_millis {
            self.lag_millis.store(lag_millis, Ordering::Relaxed);
        }
    }

    /// It was measured how long something takes from there to here.
    pub fn measured(&self, lag_millis: u64) {
        self.lag_millis.store(lag_millis, Ordering::Relaxed);
    }

    /// Everything up to `seq` is in the old tables; `rows` were written for it, `lag_millis` after it happened.
    pub fn wrote(&self, seq: u64, rows: u64, lag_millis: u64) {
        // Whoever sees it sees also what was set aside before.
        self.seq_written.store(seq, Ordering::Release);
        self.rows_out.fetch_add(rows, Ordering::Relaxed);
        self.out_lag_millis.store(lag_millis, Ordering::Relaxed);
    }

    /// Something has waited to be written for so long.
    pub(crate) fn waits_out(&self, millis: u64) {
        self.out_waits_millis.store(millis, Ordering::Relaxed);
    }

    /// Own writes came back.
    pub fn echoed(&self, rows: u64) {
        self.echoes.fetch_add(rows, Ordering::Relaxed);
    }

    /// The stream in is followed, or not any more; what stands in the way, if something does.
    pub fn inward(&self, running: bool, trouble: Option<String>) {
        self.inward.store(running, Ordering::Relaxed);
        self.lock_trouble().inward = trouble;
    }

    /// The sync out runs, or not any more; what stands in the way, if something does.
    pub fn outward(&self, running: bool, trouble: Option<String>) {
        self.outward.store(running, Ordering::Relaxed);
        self.lock_trouble().outward = trouble;
    }

    /// The old table refuses what a row shall be, in these words. Whether that is new.
    pub fn set_aside(&self, row: &TargetRow, why: &str) -> bool {
        self.lock_aside().insert(place_of(row), why.to_owned()).is_none()
    }

    /// A row was written after all, or need not be. Whether it was set aside.
    pub fn took_back(&self, row: &TargetRow) -> bool {
        self.lock_aside().remove(&place_of(row)).is_some()
    }

    /// Whether a row is set aside.
    #[must_use]
    pub fn is_aside(&self, row: &TargetRow) -> bool {
        self.lock_aside().contains_key(&place_of(row))
    }

    /// Whether any row is set aside.
    pub(crate) fn has_aside(&self) -> bool {
        !self.lock_aside().is_empty()
    }

    /// The rows that are set aside, in their order.
    pub(crate) fn aside(&self) -> Vec<RowPlace> {
        self.lock_aside().keys().cloned().collect()
    }

    /// Nothing is written any more, so nothing is set aside.
    pub(crate) fn forget_aside(&self) {
        self.lock_aside().clear();
    }

    /// Held from the look at Banyan's numbers until they are in the old table: of two who write, the later one has looked later.
    pub(crate) async fn pen(&self) -> tokio::sync::MutexGuard<'_, ()> {
        self.pen.lock().await
    }

    /// Notes the lags of now, once a second.
    pub fn note_lag(&self, now_millis: u64) {
        let inward = self.lag_millis.load(Ordering::Relaxed);
        let outward = self.view().out_lag_millis;
        let mut history = self.history.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if history.len() == POINTS_MAX {
            history.pop_front();
        }
        history.push_back(LagPoint { at: now_millis, inward, outward });
    }

    /// The lags noted, oldest first.
    #[must_use]
    pub fn history(&self) -> Vec<LagPoint> {
        let history = self.history.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        history.iter().copied().collect()
    }

    /// All of it at this moment. Each number is right; together they may be of slightly different moments, but for those of the
    /// stream in, which are of one.
    #[must_use]
    pub fn view(&self) -> ProgressView {
        let get = |number: &AtomicU64| number.load(Ordering::Relaxed);
        // Before what is set aside: the other way round, a row could be in neither.
        let seq_written = self.seq_written.load(Ordering::Acquire);
        let (aside, aside_first) = {
            let aside = self.lock_aside();
            let first =
                aside.iter().next().map(|((_, sku, location), why)| format!("{sku} at {location}: {why}"));
            (aside.len() as u64, first)
        };
        let following = *self.lock_following();
        ProgressView {
            position_seen: following.seen,
            position_applied: following.applied,
            waits_since: following.waits_since,
            heard_at: following.heard_at,
            told: following.told,
            opened: following.opened,
            lag_millis: get(&self.lag_millis),
            transactions: get(&self.transactions),
            rows_in: get(&self.rows_in),
            seq_written,
            rows_out: get(&self.rows_out),
            out_lag_millis: get(&self.out_lag_millis).max(get(&self.out_waits_millis)),
            out_waits_millis: get(&self.out_waits_millis),
            echoes: get(&self.echoes),
            aside,
            aside_first,
            inward: self.inward.load(Ordering::Relaxed),
            outward: self.outward.load(Ordering::Relaxed),
            trouble: self.lock_trouble().clone(),
        }
    }

    fn lock_aside(&self) -> std::sync::MutexGuard<'_, BTreeMap<RowPlace, String>> {
        // Whole rows only are put in and taken out: what a panic left is whole as well.
        self.aside.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn lock_following(&self) -> std::sync::MutexGuard<'_, Following> {
        // Numbers only, each set at once: what a panic left is whole.
        self.following.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn lock_trouble(&self) -> std::sync::MutexGuard<'_, Trouble> {
        // Words only: what a panic left half done does no harm.
        self.trouble.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

/// The place of a row.
pub(crate) fn place_of(row: &TargetRow) -> RowPlace {
    (row.table, row.sku.clone(), row.location.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_waits_is_as_old_as_the_oldest_that_is_not_durable() {
        let progress = Progress::default();
        let waits = || progress.view().waits_since;
        progress.heard(7, 100);
        assert_eq!(waits(), Some(100), "it is being written down");
        progress.heard(7, 120);
        assert_eq!(waits(), Some(100), "another part of it");
        progress.applied(7);
        assert_eq!(waits(), None);
        progress.heard(7, 130);
        assert_eq!(waits(), None, "nothing new");
        progress.heard(9, 140);
        progress.passed_over();
        assert_eq!(waits(), None, "nothing of it is ours to keep");
        progress.applied(6);
        assert_eq!(waits(), None, "a stream opened again tells its last position again");
    }
}
