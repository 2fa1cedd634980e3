//! Start-up: the newest good snapshot, then the tail of the log.

use crate::core::{Core, CoreOptions};
use crate::replay::replay;
use crate::side_by_side::SideBySide;
use crate::snapshots::SnapshotStore;
use banyan_domain::{Entry, Event, State, StoreSecret, Timestamp, Violation, codec};
use banyan_log::{AppendError, BlockDraft, Epoch, Log, LogError, Seq};
use std::fmt;
use std::time::{Duration, Instant};

/// Blocks must be able to hold the largest batch beyond the point at which a block takes no further command.
const BLOCK_BYTES_MIN: u64 = 2 << 20;

/// A shard that is ready to run.
pub struct Started {
    pub(crate) log: Box<dyn Log>,
    pub(crate) epoch: Epoch,
    pub(crate) core: Core,
    pub(crate) report: StartReport,
}

/// What starting came to.
#[derive(Clone, Debug, Default)]
pub struct StartReport {
    /// Whether the store was created just now.
    pub created: bool,
    /// Log position of the snapshot that was used; 0 if none was.
    pub snapshot_seq: u64,
    /// Snapshots that were passed over, and why.
    pub snapshots_passed: Vec<String>,
    /// Events replayed from the log.
    pub replayed: u64,
    /// Log position of the last event.
    pub head: u64,
    /// How long it took.
    pub took: Duration,
}

/// Why a shard cannot start. The log has what it had: it is read, decoded and replayed before anything is added to it. (Opening
/// it may have cut a torn block from its end and prepared a segment; see `banyan-log`.)
#[derive(Debug)]
pub enum StartError {
    /// The log cannot be opened or read.
    Log(LogError),
    /// The first event could not be stored.
    Append(AppendError),
    /// An event of the log breaks an invariant.
    Violation {
        /// Its log position.
        seq: u64,
        /// What it breaks.
        violation: Violation,
    },
    /// An event of the log cannot be read.
    Decode {
        /// Log position of the block it is in.
        seq: u64,
        /// Why.
        source: codec::DecodeError,
    },
    /// A block is stamped earlier than the events before it, which no writer does.
    TimeWentBack {
        /// Log position of its first event.
        seq: u64,
        /// Its time, milliseconds since 1970.
        time_ms: u64,
        /// The time of the block before.
        before: Timestamp,
    },
    /// The log does not begin with the creation of a store.
    NotAStore,
    /// The log's blocks are too small for the largest batch.
    BlocksTooSmall(u64),
    /// The operating system gave no randomness.
    Randomness(getrandom::Error),
    /// A thread could not be started.
    Thread(std::io::Error),
}

impl Started {
    /// The core, for whoever drives it without threads.
    #[must_use]
    pub fn into_parts(self) -> (Box<dyn Log>, Epoch, Core, StartReport) {
        (self.log, self.epoch, self.core, self.report)
    }

    /// What starting came to.
    #[must_use]
    pub const fn report(&self) -> &StartReport {
        &self.report
    }

    /// The state as the log has it, before anything new happens.
    #[must_use]
    pub const fn state(&self) -> &State {
        self.core.state()
    }
}

/// Brings the state up to the head of the log, and then acquires it. An empty log becomes a new store with a random secret, or with
/// `secret` where the caller wants to choose it, created at `now` (see [`crate::wall_clock`]).
///
/// `progress` is called now and then with the position reached and the head.
///
/// # Errors
/// [`StartError`]: nothing may be served.
pub fn start(
    mut log: Box<dyn Log>,
    snapshots: Option<&SnapshotStore>,
    mut options: CoreOptions,
    secret: Option<StoreSecret>,
    now: Timestamp,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<Started, StartError> {
    let began = Instant::now();
    if log.block_bytes_max() < BLOCK_BYTES_MIN {
        return Err(StartError::BlocksTooSmall(log.block_bytes_max()));
    }
    let half = usize::try_from(log.block_bytes_max() / 2).unwrap_or(usize::MAX);
    options.block_bytes_soft_max = options.block_bytes_soft_max.min(half - (64 << 10));
    let mut report = StartReport { head: log.confirmed().get().as_u64(), ..StartReport::default() };
    let mut state = None;
    if let Some(store) = snapshots {
        let passed = &mut report.snapshots_passed;
        if let Err(error) = store.remove_unfinished() {
            passed.push(format!("removing an unfinished one from {}: {error}", store.dir().display()));
        }
        state = store.newest(report.head, &|from| log.reader(from), passed, &SideBySide);
        report.snapshot_seq = state.as_ref().map_or(0, State::seq);
    }
    let mut state = catch_up(&*log, state, &mut |seq| progress(seq, report.head))?;
    if report.head > 0 && state.is_none() {
        return Err(StartError::NotAStore);
    }
    // From here on the log is known to lead to a state, and is added to.
    let acquired = log.acquire().map_err(StartError::Log)?;
    if acquired.head == Seq::ZERO {
        create(&mut *log, acquired.epoch, secret, now)?;
        report.created = true;
    }
    // The first event of a new store, or what another owner has written until now.
    if state.as_ref().map_or(0, State::seq) < log.confirmed().get().as_u64() {
        state = catch_up(&*log, state, &mut |seq| progress(seq, acquired.head.as_u64()))?;
    }
    let state = state.ok_or(StartError::NotAStore)?;
    report.head = state.seq();
    report.replayed = state.seq() - report.snapshot_seq;
    report.took = began.elapsed();
    Ok(Started { log, epoch: acquired.epoch, core: Core::new(state, options), report })
}

/// Applies what the log has and `state` has not.
fn catch_up(
    log: &dyn Log,
    state: Option<State>,
    progress: &mut dyn FnMut(u64),
) -> Result<Option<State>, StartError> {
    let from = state.as_ref().map_or(1, |state| state.seq() + 1);
    let mut reader = log.reader(Seq(from)).map_err(StartError::Log)?;
    replay(&mut *reader, state, progress)
}

/// Stores the first event of a new store.
fn create(
    log: &mut dyn Log,
    epoch: Epoch,
    secret: Option<StoreSecret>,
    now: Timestamp,
) -> Result<(), StartError> {
    let secret = match secret {
        Some(secret) => secret,
        None => {
            let mut bytes = [0; 32];
            getrandom::fill(&mut bytes).map_err(StartError::Randomness)?;
            StoreSecret::new(bytes)
        }
    };
    let mut body = Vec::new();
    codec::encode(&Entry { event: Event::StoreCreated { secret }, stamp: None }, &mut body);
    let block = BlockDraft { time_ms: now.as_millis(), count: 1, body: &body };
    log.append(epoch, Seq(1), block).map_err(StartError::Append)?;
    Ok(())
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Log(source) => write!(f, "opening the log: {source}"),
            Self::Append(source) => write!(f, "storing the first event: {source}"),
            Self::Violation { seq, violation } => write!(
                f,
                "event {seq} of the log breaks an invariant: {violation}. Do not serve from this log; run `banyan verify` on a \
                 copy and restore a backup"
            ),
            Self::Decode { seq, source } => write!(
                f,
                "the block at event {seq} cannot be read: {source}. It may have been written by a newer version of banyan"
            ),
            Self::TimeWentBack { seq, time_ms, before } => write!(
                f,
                "the block at event {seq} of the log has the time {time_ms} ms, the one before it {} ms: time never goes back \
                 in a log. Do not serve from this log; run `banyan verify` on a copy and restore a backup",
                before.as_millis()
            ),
            Self::NotAStore => f.write_str(
                "the log does not begin with the creation of a store: is this the right directory?",
            ),
            Self::BlocksTooSmall(bytes) => {
                write!(f, "the log takes blocks of {bytes} bytes; a shard needs at least {BLOCK_BYTES_MIN}")
            }
            Self::Randomness(source) => write!(f, "making the store's secret: {source}"),
            Self::Thread(source) => write!(f, "starting a thread: {source}"),
        }
    }
}

impl std::error::Error for StartError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Log(source) => Some(source),
            Self::Append(source) => Some(source),
            Self::Violation { violation, .. } => Some(violation),
            Self::Decode { source, .. } => Some(source),
            Self::Thread(source) => Some(source),
            Self::NotAStore | Self::TimeWentBack { .. } | Self::BlocksTooSmall(_) | Self::Randomness(_) => {
                None
            }
        }
    }
}
