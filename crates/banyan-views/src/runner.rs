//! One thread for each view: reads confirmed blocks, applies them in batches, tells how far it has come.

use crate::{Batch, Cure, LogSource, View, ViewError, ViewProgress, ViewState};
use banyan_log::{Block, BlockHash, LogError, LogReader, Seq};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// How a runner works.
#[derive(Clone, Debug)]
pub struct RunnerOptions {
    /// Most events in one transaction, beyond which only the block that reached it is finished.
    pub batch_events_max: usize,
    /// Least time between two transactions while nobody waits for the view and it is not behind: fewer and larger
    /// transactions cost less. A view that has been idle commits at once.
    pub commit_interval: Duration,
    /// The same while somebody waits.
    pub commit_interval_awaited: Duration,
    /// Niceness of the thread, 0 (as the process) to 19 (only idle time): the writer and the API go first.
    pub nice: i32,
    /// First and longest pause before a failed transaction is tried again.
    pub backoff: (Duration, Duration),
}

impl Default for RunnerOptions {
    fn default() -> Self {
        Self {
            batch_events_max: 20_000,
            commit_interval: Duration::from_millis(150),
            commit_interval_awaited: Duration::from_millis(10),
            nice: 10,
            backoff: (Duration::from_millis(50), Duration::from_secs(5)),
        }
    }
}

/// How long the thread waits for the log before it looks for a request to stop.
const LOOK_AROUND: Duration = Duration::from_millis(50);

/// Work for the view's thread, done between two transactions. True if the view may have moved.
type Job<V> = Box<dyn FnOnce(&mut V) + Send>;

/// A running view. Dropping it stops the thread after the transaction at hand.
pub struct Runner<V: View> {
    progress: Arc<ViewProgress>,
    stop: Arc<AtomicBool>,
    jobs: Sender<Job<V>>,
    source: LogSource,
    thread: Option<JoinHandle<V>>,
}

impl<V: View> Runner<V> {
    /// Starts a thread that keeps `view` in step with `source`.
    ///
    /// # Errors
    /// [`ViewError`] if the thread cannot be started.
    pub fn spawn(view: V, source: LogSource, options: RunnerOptions) -> Result<Self, ViewError> {
        let progress = Arc::new(ViewProgress::default());
        let stop = Arc::new(AtomicBool::new(false));
        let (jobs, inbox) = channel();
        let name = view.name();
        // Nothing counts as applied before it is known to be of this log.
        progress.start_at(Seq::ZERO, view.parked());
        let work = Work {
            view,
            source: source.clone(),
            options,
            progress: Arc::clone(&progress),
            stop: Arc::clone(&stop),
            inbox,
            reader: None,
            belongs: false,
            batch: Batch::default(),
            block: Block::default(),
            last_commit: None,
        };
        let thread = std::thread::Builder::new()
            .name(format!("view-{name}"))
            .spawn(move || work.run())
            .map_err(|error| {
                ViewError::caused(Cure::Operator, format!("starting the thread of view {name}"), error)
            })?;
        Ok(Self { progress, stop, jobs, source, thread: Some(thread) })
    }

    /// How far the view has come.
    #[must_use]
    pub const fn progress(&self) -> &Arc<ViewProgress> {
        &self.progress
    }

    /// The log it follows.
    #[must_use]
    pub const fn source(&self) -> &LogSource {
        &self.source
    }

    /// Does `job` on the view's thread, between two transactions, and returns its answer. Works on a failed view too.
    ///
    /// # Errors
    /// [`ViewError`] if the runner has stopped.
    pub fn with_view<T: Send + 'static>(
        &self,
        job: impl FnOnce(&mut V) -> T + Send + 'static,
    ) -> Result<T, ViewError> {
        let (answer, answered) = channel();
        let job: Job<V> = Box::new(move |view| {
            // Nobody waits for the answer any more if this fails.
            let _ = answer.send(job(view));
        });
        let stopped = || ViewError::new(Cure::Operator, "the view's runner has stopped");
        self.jobs.send(job).map_err(|_| stopped())?;
        answered.recv().map_err(|_| stopped())
    }

    /// Asks the thread to stop after the transaction at hand, without waiting for it.
    pub fn tell_to_stop(&self) {
        self.stop.store(true, Ordering::Release);
    }

    /// Whether the thread was asked to stop.
    #[must_use]
    pub fn is_stopping(&self) -> bool {
        self.stop.load(Ordering::Acquire)
    }

    /// Stops after the transaction at hand and gives the view back; none if its thread panicked.
    #[must_use]
    pub fn stop(mut self) -> Option<V> {
        self.tell_to_stop();
        self.thread.take().and_then(|thread| thread.join().ok())
    }
}

impl<V: View> Drop for Runner<V> {
    fn drop(&mut self) {
        self.tell_to_stop();
        if let Some(thread) = self.thread.take() {
            // A panic of the thread was reported by its own hook; there is nobody here to give the view to.
            let _ = thread.join();
        }
    }
}

/// Everything the thread owns.
struct Work<V> {
    view: V,
    source: LogSource,
    options: RunnerOptions,
    progress: Arc<ViewProgress>,
    stop: Arc<AtomicBool>,
    inbox: Receiver<Job<V>>,
    reader: Option<Box<dyn LogReader>>,
    /// Whether the view is known to have been filled from this log.
    belongs: bool,
    batch: Batch,
    block: Block,
    last_commit: Option<Instant>,
}

impl<V: View> Work<V> {
    fn run(mut self) -> V {
        let _stopped = StoppedOnExit(Arc::clone(&self.progress));
        give_way(self.view.name(), self.options.nice);
        let mut backoff = self.options.backoff.0;
        while !self.stopping() {
            self.do_jobs();
            match self.step() {
                Ok(()) => {
                    backoff = self.options.backoff.0;
                    if self.progress.state() == ViewState::Retrying
                        || self.progress.state() == ViewState::Failed
                    {
                        self.progress.set_state(ViewState::Running, None);
                    }
                }
                Err(error) => {
                    self.report(&error);
                    // Whatever went wrong, start again from what is stored.
                    self.forget();
                    self.pause(backoff);
                    backoff = (backoff * 2).min(self.options.backoff.1);
                }
            }
        }
        self.view
    }

    /// One transaction at most.
    fn step(&mut self) -> Result<(), ViewError> {
        self.gather()?;
        let (Some(_), Some(time)) = (self.batch.last_seq(), self.batch.last_time()) else {
            return Ok(());
        };
        self.batch.give_way(self.batch.events() < self.options.batch_events_max);
        let applied = self.view.apply(&self.batch)?;
        self.batch.clear();
        let now = Instant::now();
        let since = self.last_commit.map_or(LOOK_AROUND, |last| now - last);
        self.last_commit = Some(now);
        self.progress.committed(applied, time.as_millis(), self.view.parked(), since);
        Ok(())
    }

    /// Fills the batch: with what is there if the last commit was long ago, with what comes until then if it was not.
    fn gather(&mut self) -> Result<(), ViewError> {
        if self.reader.is_none() {
            self.reader = Some(self.open()?);
        }
        let mut seen = self.view.checkpoint();
        loop {
            while self.batch.events() < self.options.batch_events_max && self.read()? {}
            seen = self.batch.last_seq().unwrap_or(seen);
            let head = self.source.confirmed().get();
            self.progress.saw_head(head);
            if self.batch.events() >= self.options.batch_events_max || self.stopping() {
                return Ok(());
            }
            let wait = if self.batch.events() == 0 {
                self.progress.caught_up();
                let more = self.view.tidy()?;
                if more { Duration::ZERO } else { LOOK_AROUND }
            } else {
                let wait = self.until_commit();
                if wait.is_zero() {
                    return Ok(());
                }
                wait.min(LOOK_AROUND)
            };
            let moved = self.source.confirmed().wait_past(seen, wait) > seen;
            if !moved && self.batch.events() == 0 {
                return Ok(());
            }
        }
    }

    /// Opens the log behind the view's checkpoint, if the log is the one that the view was filled from. A log that was restored
    /// from an older backup is shorter, or has grown past the checkpoint again, with other events.
    fn open(&mut self) -> Result<Box<dyn LogReader>, ViewError> {
        let checkpoint = self.view.checkpoint();
        let stored = self.view.checkpoint_block();
        let from = if stored.is_some() { checkpoint } else { checkpoint.next() };
        let reader = match self.source.reader(from) {
            Ok(mut reader) => match stored {
                Some(hash) if !self.is_of(reader.as_mut(), hash)? => None,
                _ => Some(reader),
            },
            Err(LogError::Ahead { .. }) => None,
            Err(error) => return Err(self.unreadable(error)),
        };
        let Some(reader) = reader else { return Err(self.foreign(checkpoint)) };
        if !self.belongs {
            self.belongs = true;
            self.progress.start_at(checkpoint, self.view.parked());
        }
        Ok(reader)
    }

    /// Whether the first block with events that `reader` gives is the one with `hash`, at the view's checkpoint.
    fn is_of(&mut self, reader: &mut dyn LogReader, hash: BlockHash) -> Result<bool, ViewError> {
        while reader.next(&mut self.block).map_err(|error| self.unreadable(error))? {
            if self.block.count > 0 {
                return Ok(self.block.head() == self.view.checkpoint() && self.block.hash == hash);
            }
        }
        Ok(false)
    }

    /// Nothing of the view may be shown beside this log.
    fn foreign(&mut self, checkpoint: Seq) -> ViewError {
        let (name, head) = (self.view.name(), self.source.confirmed().get());
        let differs = if checkpoint > head {
            format!("the log ends at seq {head}")
        } else {
            "this log has another block there".to_owned()
        };
        let what = format!(
            "view {name} was filled from another log: it is at seq {checkpoint}, and {differs}, perhaps because it was restored from an older backup"
        );
        self.view.distrust(&what);
        ViewError::new(Cure::Rebuild, what)
    }

    /// Reads one block into the batch; false at the head.
    fn read(&mut self) -> Result<bool, ViewError> {
        let Some(reader) = &mut self.reader else { return Ok(false) };
        match reader.next(&mut self.block) {
            Ok(false) => Ok(false),
            Ok(true) => {
                self.batch.push(&self.block).map_err(|error| {
                    let what = format!(
                        "view {}: the block at seq {} holds events this program does not know; if the log was written by a newer version, run that one",
                        self.view.name(),
                        self.block.first_seq
                    );
                    ViewError::caused(Cure::Operator, what, error)
                })?;
                Ok(true)
            }
            Err(error) => Err(self.unreadable(error)),
        }
    }

    fn unreadable(&self, error: LogError) -> ViewError {
        let what = format!("view {}: reading the log after seq {}", self.view.name(), self.view.checkpoint());
        let cure = match &error {
            LogError::Archived { .. } => Cure::Rebuild,
            LogError::Io { .. } => Cure::Retry,
            _ => Cure::Operator,
        };
        ViewError::caused(cure, what, error)
    }

    /// Time until the next commit is wanted.
    fn until_commit(&self) -> Duration {
        let interval = if self.progress.is_awaited() {
            self.options.commit_interval_awaited
        } else {
            self.options.commit_interval
        };
        self.last_commit.map_or(Duration::ZERO, |last| interval.saturating_sub(last.elapsed()))
    }

    fn report(&mut self, error: &ViewError) {
        let state = if error.cure == Cure::Retry { ViewState::Retrying } else { ViewState::Failed };
        let problem = error.to_string();
        if self.progress.problem().as_deref() != Some(problem.as_str()) {
            tracing::warn!(view = self.view.name(), state = state.as_str(), "{problem}");
        }
        self.progress.set_state(state, Some(problem));
    }

    fn forget(&mut self) {
        self.reader = None;
        self.batch.clear();
    }

    fn do_jobs(&mut self) {
        while let Ok(job) = self.inbox.try_recv() {
            self.do_job(job);
        }
    }

    /// Does `job`, which may have put another file in the view's place.
    fn do_job(&mut self, job: Job<V>) {
        let place = |view: &V| (view.checkpoint(), view.checkpoint_block());
        let before = place(&self.view);
        job(&mut self.view);
        if place(&self.view) != before {
            self.forget();
            self.belongs = false;
        }
    }

    /// Waits for `time`, a job or the request to stop.
    fn pause(&mut self, time: Duration) {
        let end = Instant::now() + time;
        while !self.stopping() {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            if let Ok(job) = self.inbox.recv_timeout(left.min(LOOK_AROUND)) {
                self.do_job(job);
                return;
            }
        }
    }

    fn stopping(&self) -> bool {
        self.stop.load(Ordering::Acquire)
    }
}

/// Lowers the calling thread's priority, if the system lets it: a view at full priority is slower for others, not wrong.
pub(crate) fn give_way(view: &str, nice: i32) {
    if nice == 0 {
        return;
    }
    let thread = rustix::thread::gettid();
    if let Err(error) = rustix::process::setpriority_process(Some(thread), nice) {
        tracing::warn!(view, "lowering the priority of the view's thread: {error}");
    }
}

/// Wakes whoever waits, however the thread ends.
struct StoppedOnExit(Arc<ViewProgress>);

impl Drop for StoppedOnExit {
    fn drop(&mut self) {
        let problem = std::thread::panicking()
            .then(|| "the view's thread panicked; restart the server, and report this".to_owned());
        self.0.set_state(ViewState::Stopped, problem);
    }
}

/// Applies everything from the view's checkpoint to the end of `reader`, in large batches, without a thread: for
/// rebuilds. `on_commit` hears of every transaction, and may end it.
pub(crate) fn apply_all<V: View>(
    view: &mut V,
    reader: &mut dyn LogReader,
    batch_events_max: usize,
    on_commit: &mut dyn FnMut(Seq) -> Result<(), ViewError>,
) -> Result<(), ViewError> {
    let mut batch = Batch::default();
    let mut block = Block::default();
    loop {
        let more = reader
            .next(&mut block)
            .map_err(|error| ViewError::caused(Cure::Operator, "reading the log for a rebuild", error))?;
        if more {
            batch.push(&block).map_err(|error| {
                let what = format!("rebuilding: the block at seq {} holds unknown events", block.first_seq);
                ViewError::caused(Cure::Operator, what, error)
            })?;
        }
        if batch.events() >= batch_events_max || (!more && batch.events() > 0) {
            on_commit(view.apply(&batch)?.checkpoint)?;
            batch.clear();
        }
        if !more {
            return Ok(());
        }
    }
}
