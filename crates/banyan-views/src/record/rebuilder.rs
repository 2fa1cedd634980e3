//! Rebuilds of a running store on request: one at a time, on a thread of their own, and anybody may ask how far it is.

use super::rebuild::{RebuildReport, rebuild_online};
use super::view::RecordView;
use crate::runner::give_way;
use crate::{LogSource, Runner, ViewProgress};
use banyan_log::Seq;
use core::fmt;
use std::error::Error;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::SystemTime;

/// Niceness of the thread that rebuilds: as that of the view itself, after the writer and the API.
const NICE: i32 = 10;

/// A running record store that can be rebuilt on request.
pub struct Rebuilder {
    progress: Arc<ViewProgress>,
    source: LogSource,
    shared: Arc<Mutex<Shared>>,
    work: Mutex<Work>,
}

/// The latest rebuild.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RebuildStatus {
    /// When it was asked for.
    pub started: SystemTime,
    /// The last event in the new file.
    pub seq: Seq,
    /// The log's head when this was asked, or when the rebuild ended.
    pub head: Seq,
    /// What it came to; none while it runs. A failure is a sentence for the operator, and the old file is in use then.
    pub outcome: Option<Result<RebuildReport, String>>,
}

/// Why no rebuild was started.
#[derive(Debug)]
pub enum StartRefused {
    /// One is running.
    Running,
    /// The server is stopping.
    Stopping,
    /// The system gave no thread.
    Thread(std::io::Error),
}

#[derive(Default)]
struct Shared {
    latest: Option<RebuildStatus>,
}

struct Work {
    /// None once it was stopped.
    runner: Option<Arc<Runner<RecordView>>>,
    thread: Option<JoinHandle<()>>,
}

impl Rebuilder {
    /// Takes `runner` over, which goes on as before.
    #[must_use]
    pub fn new(runner: Runner<RecordView>) -> Arc<Self> {
        let (progress, source) = (Arc::clone(runner.progress()), runner.source().clone());
        let work = Mutex::new(Work { runner: Some(Arc::new(runner)), thread: None });
        Arc::new(Self { progress, source, shared: Arc::default(), work })
    }

    /// How far the view has come.
    #[must_use]
    pub const fn progress(&self) -> &Arc<ViewProgress> {
        &self.progress
    }

    /// Starts a rebuild and returns at once.
    ///
    /// # Errors
    /// [`StartRefused`] if none was started.
    pub fn start(&self) -> Result<(), StartRefused> {
        let mut work = lock(&self.work);
        let runner = work.runner.clone().ok_or(StartRefused::Stopping)?;
        if lock(&self.shared).latest.as_ref().is_some_and(|latest| latest.outcome.is_none()) {
            return Err(StartRefused::Running);
        }
        if let Some(thread) = work.thread.take() {
            // It has said what came of it, and only has to end.
            let _ended = thread.join();
        }
        let (started, head) = (SystemTime::now(), self.source.confirmed().get());
        let begun = RebuildStatus { started, seq: Seq::ZERO, head, outcome: None };
        let before = lock(&self.shared).latest.replace(begun);
        let shared = Arc::clone(&self.shared);
        let spawned = std::thread::Builder::new().name("rebuild-record".into()).spawn(move || {
            give_way("record", NICE);
            run(&runner, &shared);
        });
        match spawned {
            Ok(thread) => {
                work.thread = Some(thread);
                Ok(())
            }
            Err(error) => {
                lock(&self.shared).latest = before;
                Err(StartRefused::Thread(error))
            }
        }
    }

    /// The latest rebuild since this process started, if there was one.
    #[must_use]
    pub fn latest(&self) -> Option<RebuildStatus> {
        let mut status = lock(&self.shared).latest.clone()?;
        if status.outcome.is_none() {
            status.head = self.source.confirmed().get();
        }
        Some(status)
    }

    /// Stops the view after the transaction at hand. A rebuild under way is given up, and leaves nothing.
    pub fn stop(&self) {
        let (runner, thread) = {
            let mut work = lock(&self.work);
            (work.runner.take(), work.thread.take())
        };
        if let Some(runner) = &runner {
            runner.tell_to_stop();
        }
        if let Some(thread) = thread {
            // A panic was reported by its hook, and by the status.
            let _ended = thread.join();
        }
        drop(runner.and_then(Arc::into_inner).and_then(Runner::stop));
    }
}

/// Rebuilds, and notes what came of it, however it ends.
fn run(runner: &Runner<RecordView>, shared: &Mutex<Shared>) {
    struct Ended<'a>(&'a Mutex<Shared>, Option<Result<RebuildReport, String>>);
    impl Drop for Ended<'_> {
        fn drop(&mut self) {
            let outcome = self.1.take().unwrap_or_else(|| Err("the rebuild panicked; report this".into()));
            if let Some(status) = &mut lock(self.0).latest {
                status.outcome = Some(outcome);
            }
        }
    }
    let mut ended = Ended(shared, None);
    let result = rebuild_online(runner, &mut |seq| {
        if let Some(status) = &mut lock(shared).latest {
            status.seq = seq;
        }
    });
    match &result {
        Ok(report) => tracing::info!(
            view = "record",
            seq = report.checkpoint.0,
            coupons = report.coupons,
            seconds = report.took.as_secs_f64(),
            "rebuilt"
        ),
        Err(error) => tracing::error!(view = "record", "the rebuild failed: {error}"),
    }
    if let (Ok(report), Some(status)) = (&result, &mut lock(shared).latest) {
        status.seq = report.checkpoint;
        status.head = status.head.max(report.checkpoint);
    }
    ended.1 = Some(result.map_err(|error| error.to_string()));
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl fmt::Display for StartRefused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Running => f.write_str("the record store is being rebuilt already"),
            Self::Stopping => f.write_str("the server is stopping"),
            Self::Thread(error) => write!(f, "starting a thread for the rebuild: {error}"),
        }
    }
}

impl Error for StartRefused {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Thread(error) => Some(error),
            _ => None,
        }
    }
}
