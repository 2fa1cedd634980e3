//! The handle of a running shard.

use crate::answer::{Answer, Read, ReplySink, Then, Work};
use crate::inbox::{Inbox, SubmitError};
use crate::metrics::{Metrics, MetricsView};
use crate::rests::Rests;
use crate::snapshots::SnapshotStore;
use crate::snapshotter::{self, Snapshotter};
use crate::start::{StartError, StartReport, Started};
use crate::summary::Summary;
use crate::writer::{LogThread, Writer, room_needed};
use arc_swap::ArcSwap;
use banyan_domain::{Command, KeyStamp, Keys, State};
use banyan_log::{Confirmed, Health, Log, LogError, LogReader, Seq};
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::sync::oneshot;

/// What to do when the process must stop at once: nobody may be answered any more.
pub(crate) type Fatal = Arc<dyn Fn(&str) + Send + Sync>;
pub(crate) type SharedLog = Arc<Mutex<Box<dyn Log>>>;

/// How a shard works.
pub struct ShardOptions {
    /// Commands that may wait; more are turned away.
    pub queue_commands_max: usize,
    /// The least time between the starts of two blocks: what a command waits at most for company. Syncing costs the same
    /// for one event as for thousands, so a little patience under load buys a lot of processor time.
    pub pace: Duration,
    /// Events between two snapshots; 0 for none.
    pub snapshot_events: u64,
    /// Where snapshots are kept; none for no snapshots.
    pub snapshots: Option<SnapshotStore>,
    /// Called when the process must stop at once: the outcome of an append is unknown, or an invariant would break. Must
    /// not return in production: the default ends the process with exit code 70.
    pub on_fatal: Box<dyn Fn(&str) + Send + Sync>,
}

/// A running shard. Cheap to share; dropping the last handle does not stop it, [`Shard::shutdown`] does.
pub struct Shard {
    inbox: Arc<Inbox>,
    metrics: Arc<Metrics>,
    summary: Arc<ArcSwap<Summary>>,
    log: SharedLog,
    confirmed: Arc<Confirmed>,
    rests: Arc<Rests>,
    keys: Keys,
    report: StartReport,
    threads: Mutex<Vec<JoinHandle<()>>>,
    snapshotter: Mutex<Option<Snapshotter>>,
}

impl Shard {
    /// Starts the threads of a shard whose state has been brought up to the head of its log.
    ///
    /// # Errors
    /// [`StartError`] if a thread cannot be started.
    pub fn spawn(
        started: Started,
        replies: Box<dyn ReplySink>,
        options: ShardOptions,
    ) -> Result<Arc<Self>, StartError> {
        let Started { log, epoch, core, report } = started;
        let metrics = Arc::new(Metrics::default());
        let inbox = Arc::new(Inbox::new(options.queue_commands_max, metrics.clone()));
        let summary = Arc::new(ArcSwap::new(core.summary()));
        let keys = core.state().keys().clone();
        let (block_bytes_max, room, confirmed) = (log.block_bytes_max(), log.room(), log.confirmed());
        let log: SharedLog = Arc::new(Mutex::new(log));
        let room = Arc::new(AtomicU64::new(room));
        let (to_log, from_writer) = mpsc::sync_channel(1);
        let (spare_in, spare) = mpsc::sync_channel(2);
        let rests = Arc::new(Rests::default());
        let failing = inbox.clone();
        let on_fatal = options.on_fatal;
        let fatal: Fatal = Arc::new(move |why| {
            failing.fail();
            on_fatal(why);
        });
        let writer = Writer {
            core,
            inbox: inbox.clone(),
            metrics: metrics.clone(),
            log: log.clone(),
            room: room.clone(),
            room_needed: room_needed(block_bytes_max),
            pace: options.pace,
            rests: rests.clone(),
            to_log,
            spare,
            fatal: fatal.clone(),
        };
        let log_thread = LogThread {
            log: log.clone(),
            epoch,
            inbox: inbox.clone(),
            metrics: metrics.clone(),
            room,
            summary: summary.clone(),
            replies,
            from_writer,
            spare: spare_in,
            fatal: fatal.clone(),
        };
        let threads = vec![
            thread("banyan-writer", fatal.clone(), move || writer.run())?,
            thread("banyan-log", fatal, move || log_thread.run())?,
        ];
        let snapshotter = match options.snapshots {
            Some(store) if options.snapshot_events > 0 => {
                let used = report.snapshot_seq;
                Some(snapshotter::spawn(store, log.clone(), metrics.clone(), options.snapshot_events, used)?)
            }
            _ => None,
        };
        Ok(Arc::new(Self {
            inbox,
            metrics,
            summary,
            log,
            confirmed,
            rests,
            keys,
            report,
            threads: Mutex::new(threads),
            snapshotter: Mutex::new(snapshotter),
        }))
    }

    /// Asks for one command. The answer comes once everything it rests on is durable; if the process has to stop before,
    /// no answer comes, and the outcome is unknown until it is asked for again.
    ///
    /// # Errors
    /// [`SubmitError`] if it was not taken: it will not be carried out.
    pub fn submit(
        &self,
        command: Command,
        stamp: Option<KeyStamp>,
    ) -> Result<oneshot::Receiver<Answer>, SubmitError> {
        let (reply, answer) = oneshot::channel();
        self.inbox.push(Work::One { command, stamp, reply })?;
        Ok(answer)
    }

    /// Asks for several commands, answered together in their order, each carried out on its own.
    ///
    /// # Errors
    /// [`SubmitError`] if none was taken.
    pub fn submit_many(
        &self,
        commands: Vec<(Command, Option<KeyStamp>)>,
    ) -> Result<oneshot::Receiver<Vec<Answer>>, SubmitError> {
        let (reply, answers) = oneshot::channel();
        self.inbox.push(Work::Many { commands, reply })?;
        Ok(answers)
    }

    /// Asks for one command, and looks at the state right after it, with its answer. What `look` gives comes once everything that
    /// it may have seen is durable. The writer waits for `look`: it must be short work.
    ///
    /// # Errors
    /// [`SubmitError`] if it was not taken: it will not be carried out.
    pub fn submit_then<T: Send + 'static>(
        &self,
        command: Command,
        stamp: Option<KeyStamp>,
        look: impl FnOnce(Answer, &State) -> T + Send + 'static,
    ) -> Result<oneshot::Receiver<T>, SubmitError> {
        let (reply, seen) = oneshot::channel();
        self.inbox.push(Work::Then { command, stamp, then: Then::new(look, reply) })?;
        Ok(seen)
    }

    /// Looks at the state between two commands. What `look` gives comes once everything that it may have seen is durable.
    /// The writer waits for `look`: it must be short work.
    ///
    /// # Errors
    /// [`SubmitError`] if it was not taken.
    pub fn read<T: Send + 'static>(
        &self,
        look: impl FnOnce(&State) -> T + Send + 'static,
    ) -> Result<oneshot::Receiver<T>, SubmitError> {
        let (reply, seen) = oneshot::channel();
        self.inbox.push(Work::Read { read: Read::new(look, reply) })?;
        Ok(seen)
    }

    /// Who waits until a saga comes to rest.
    #[must_use]
    pub const fn rests(&self) -> &Arc<Rests> {
        &self.rests
    }

    /// The hot numbers as of the last durable block.
    #[must_use]
    pub fn summary(&self) -> Arc<Summary> {
        self.summary.load_full()
    }

    /// What the shard counts about itself.
    #[must_use]
    pub fn metrics(&self) -> MetricsView {
        self.metrics.view(self.inbox.waiting())
    }

    /// The keys of the store.
    #[must_use]
    pub const fn keys(&self) -> &Keys {
        &self.keys
    }

    /// What starting came to.
    #[must_use]
    pub const fn report(&self) -> &StartReport {
        &self.report
    }

    /// The log position up to which everything is durable.
    #[must_use]
    pub fn confirmed(&self) -> &Arc<Confirmed> {
        &self.confirmed
    }

    /// Reads the log from `from` on.
    ///
    /// # Errors
    /// [`LogError`] if that position is no longer live, or the log cannot be read.
    pub fn reader(&self, from: u64) -> Result<Box<dyn LogReader>, LogError> {
        lock(&self.log).reader(Seq(from))
    }

    /// The state of the log engine. May wait for the block being synced.
    #[must_use]
    pub fn log_health(&self) -> Health {
        lock(&self.log).health()
    }

    /// Takes no further command, answers everything it accepted, seals the log and ends the threads.
    pub fn shutdown(&self) {
        self.inbox.close();
        if let Some(snapshotter) = self.snapshotter.lock().unwrap_or_else(PoisonError::into_inner).take() {
            snapshotter.stop();
        }
        let threads = std::mem::take(&mut *self.threads.lock().unwrap_or_else(PoisonError::into_inner));
        for thread in threads {
            // A panic in a thread has been reported by `fatal` already.
            let _reported = thread.join();
        }
    }
}

impl Default for ShardOptions {
    fn default() -> Self {
        Self {
            queue_commands_max: 65_536,
            pace: Duration::from_millis(1),
            snapshot_events: 2_000_000,
            snapshots: None,
            on_fatal: Box::new(|why| {
                tracing::error!("{why}; the process ends, and nobody was answered who is not in the log");
                std::process::exit(70);
            }),
        }
    }
}

/// Starts a named thread. A panic in it stops the process like any other fatal fault.
fn thread(
    name: &str,
    fatal: Fatal,
    run: impl FnOnce() + Send + 'static,
) -> Result<JoinHandle<()>, StartError> {
    let name_for_panic = name.to_owned();
    let run = move || {
        if std::panic::catch_unwind(std::panic::AssertUnwindSafe(run)).is_err() {
            fatal(&format!("thread {name_for_panic} panicked"));
        }
    };
    std::thread::Builder::new().name(name.into()).spawn(run).map_err(StartError::Thread)
}

/// Locks, even if a thread panicked while it held the lock: the log guards itself against half-done appends.
pub(crate) fn lock<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
