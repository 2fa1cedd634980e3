//! Keeps the next segment prepared, so that rolling over to it never waits for the disk to allocate.
//!
//! There is time for it: a segment lasts for seconds. All at once, its zeros keep the disk busy for a fifth of a second, and
//! every append's sync waits behind them; so they are written piece by piece with rests between, until somebody waits.

use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::disk::file::{SegmentFile, create_segment};
use crate::storage::Storage;

/// How long a failed preparation waits before it is tried again.
const RETRY_AFTER: Duration = Duration::from_secs(1);
/// How many times as long as a piece took its preparation rests after it.
const REST_FACTOR: u32 = 3;

/// The spare and whoever prepares it: a thread of its own, or the caller when there is none.
pub(crate) struct Spares {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

struct Shared {
    storage: Arc<dyn Storage>,
    segment_bytes: u64,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    wanted: Option<u64>,
    ready: Option<SegmentFile>,
    problem: Option<String>,
    /// Somebody waits for it.
    hurry: bool,
    stop: bool,
}

impl Spares {
    /// Starts with what was found on disk.
    pub(crate) fn new(
        storage: Arc<dyn Storage>,
        segment_bytes: u64,
        ready: Option<SegmentFile>,
        background: bool,
    ) -> io::Result<Spares> {
        let state = State { ready, ..State::default() };
        let shared =
            Arc::new(Shared { storage, segment_bytes, state: Mutex::new(state), changed: Condvar::new() });
        let thread = if background {
            let shared = Arc::clone(&shared);
            let name = "banyan-log-prepare".to_owned();
            Some(std::thread::Builder::new().name(name).spawn(move || {
                let ended = Ended(shared);
                ended.0.prepare_for_ever();
            })?)
        } else {
            None
        };
        Ok(Spares { shared, thread })
    }

    /// Asks for segment `index` to be prepared.
    pub(crate) fn request(&self, index: u64) {
        self.shared.state().wanted = Some(index);
        self.shared.changed.notify_all();
        if self.thread.is_none() {
            self.shared.prepare_now();
        }
    }

    /// Waits for a preparation that is under way and has not failed; without a thread, tries (again) right here.
    pub(crate) fn settle(&self) {
        if self.thread.is_none() {
            self.shared.prepare_now();
            return;
        }
        let mut state = self.shared.state();
        state.hurry = state.wanted.is_some();
        self.shared.changed.notify_all();
        while state.wanted.is_some() && state.problem.is_none() && !state.stop {
            state = self.shared.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Takes the spare, if it is ready.
    pub(crate) fn take(&self) -> Option<SegmentFile> {
        self.shared.state().ready.take()
    }

    /// Sectors of the spare; 0 if it is not ready.
    pub(crate) fn sectors(&self) -> u32 {
        self.shared.state().ready.as_ref().map_or(0, |spare| spare.sectors)
    }

    /// Why there is no spare.
    pub(crate) fn problem(&self) -> Option<String> {
        self.shared.state().problem.clone()
    }

    /// Ends the background work; a preparation under way is finished first.
    pub(crate) fn stop(&mut self) {
        self.shared.state().stop = true;
        self.shared.changed.notify_all();
        if let Some(thread) = self.thread.take() {
            // A panic there has been reported by the panic hook, and all it can mean is a missing spare.
            let _ = thread.join();
        }
    }
}

impl Drop for Spares {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Says so if the thread panics: whoever waits for its spare would wait for ever, and the log with them.
struct Ended(Arc<Shared>);

impl Drop for Ended {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let why = "the thread that prepares log segments panicked: restart the server, and report this";
            self.0.state().problem = Some(why.to_owned());
            self.0.changed.notify_all();
        }
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn prepare_now(&self) {
        let (wanted, stop) = {
            let state = self.state();
            (state.wanted, state.stop)
        };
        if let Some(index) = wanted.filter(|_| !stop) {
            let prepared = create_segment(self.storage.as_ref(), index, self.segment_bytes, || ());
            self.settle_with(prepared, index);
        }
    }

    /// Rests after a piece that took so long, unless somebody waits for the whole.
    fn rest(&self, worked: Duration) {
        let alone = |state: &mut State| !state.hurry && !state.stop;
        // Whether it was woken or the time is over: the next piece comes.
        let _either = self.changed.wait_timeout_while(self.state(), worked * REST_FACTOR, alone);
    }

    fn prepare_for_ever(&self) {
        let mut state = self.state();
        while !state.stop {
            let Some(index) = state.wanted else {
                state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
                continue;
            };
            drop(state);
            let mut since = Instant::now();
            let prepared = create_segment(self.storage.as_ref(), index, self.segment_bytes, || {
                self.rest(since.elapsed());
                since = Instant::now();
            });
            let failed = prepared.is_err();
            self.settle_with(prepared, index);
            state = self.state();
            if failed && !state.stop {
                state = self
                    .changed
                    .wait_timeout_while(state, RETRY_AFTER, |state| !state.stop)
                    .unwrap_or_else(PoisonError::into_inner)
                    .0;
            }
        }
    }

    fn settle_with(&self, prepared: io::Result<SegmentFile>, index: u64) {
        let mut state = self.state();
        state.hurry = false;
        match prepared {
            Ok(spare) => {
                state.ready = Some(spare);
                state.wanted = None;
                state.problem = None;
            }
            Err(error) => {
                state.problem = Some(format!(
                    "preparing log segment {index} ({} bytes) in {} failed: {error}",
                    self.segment_bytes,
                    self.storage.describe()
                ));
            }
        }
        self.changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::{LockGuard, LockRefused, MemoryStorage, StorageFile};
    use std::path::Path;
    use std::sync::mpsc::channel;

    /// Longer than any test may take.
    const LONG: Duration = Duration::from_secs(3_600);

    #[test]
    fn whoever_waits_for_a_spare_ends_the_rests_of_its_preparation() {
        let storage: Arc<dyn Storage> = Arc::new(MemoryStorage::new());
        let mut spares = Spares::new(storage, 4 << 20, None, false).expect("no thread is needed");
        let shared = Arc::clone(&spares.shared);
        shared.state().wanted = Some(2);
        let preparing = Arc::clone(&shared);
        spares.thread = Some(std::thread::spawn(move || {
            let rest = || preparing.rest(LONG);
            let prepared = create_segment(preparing.storage.as_ref(), 2, preparing.segment_bytes, rest);
            preparing.settle_with(prepared, 2);
        }));
        let (say, settled) = channel();
        std::thread::spawn(move || {
            spares.settle();
            // Nobody hears it if the test has failed.
            let _ = say.send(spares.sectors());
        });
        let sectors =
            settled.recv_timeout(Duration::from_secs(60)).expect("it does not rest while somebody waits");
        assert_eq!(u64::from(sectors) * 512, 4 << 20);
        assert!(!shared.state().hurry, "the next one may rest");
    }

    /// A disk on which a file cannot be created without a panic.
    struct Mined(MemoryStorage);

    impl Storage for Mined {
        fn describe(&self) -> String {
            self.0.describe()
        }

        fn lock(&self, name: &str) -> Result<LockGuard, LockRefused> {
            self.0.lock(name)
        }

        fn list(&self) -> io::Result<Vec<String>> {
            self.0.list()
        }

        fn create(&self, name: &str) -> io::Result<Arc<dyn StorageFile>> {
            panic!("as the test wants it: creating {name}")
        }

        fn open(&self, name: &str, writable: bool) -> io::Result<Arc<dyn StorageFile>> {
            self.0.open(name, writable)
        }

        fn rename(&self, from: &str, to: &str) -> io::Result<()> {
            self.0.rename(from, to)
        }

        fn remove(&self, name: &str) -> io::Result<()> {
            self.0.remove(name)
        }

        fn sync_dir(&self) -> io::Result<()> {
            self.0.sync_dir()
        }

        fn directory(&self, path: &Path, create: bool) -> io::Result<Arc<dyn Storage>> {
            self.0.directory(path, create)
        }
    }

    /// Bug: the writer waited for ever for the spare of a thread that was gone, and held the log meanwhile.
    #[test]
    fn nobody_waits_for_a_spare_whose_thread_has_panicked() {
        let storage: Arc<dyn Storage> = Arc::new(Mined(MemoryStorage::new()));
        let spares = Spares::new(storage, 4 << 20, None, true).expect("a thread");
        let (say, settled) = channel();
        std::thread::spawn(move || {
            spares.request(2);
            spares.settle();
            // Again, when it is gone for certain.
            spares.request(3);
            spares.settle();
            // Nobody hears it if the test has failed.
            let _ = say.send((spares.sectors(), spares.problem()));
        });
        let (sectors, problem) =
            settled.recv_timeout(Duration::from_secs(60)).expect("it is told that nobody prepares it");
        assert_eq!(sectors, 0);
        assert!(problem.is_some_and(|why| why.contains("panicked")));
    }
}
