//! A new file from the whole log, built beside the old one.
//!
//! Steps, and what a crash after each leaves: (1) `record.sqlite.new` grows: the old file serves on, the next rebuild
//! deletes what is there and starts over. (2) It is at the head, checked, and closed whole: the same. (3) The old file
//! is closed whole and gets the second name `record.sqlite.old`: the same. (4) The new file takes the name over, in one
//! step: done. (5) The `.old` file is removed once the new one was opened and read. Whatever a crash left of `.new` and
//! `.old` is removed by the next [`RecordView::open`].
//!
//! All of it happens under the lock of the store itself, and in one process one at a time: so the new file needs no lock.

use super::file::{self, StoreLock, beside};
use super::view::{RecordView, StoreKeys};
use super::{RECORD_FILE, RecordOptions, members};
use crate::runner::apply_all;
use crate::{Cure, LogSource, Runner, View, ViewError};
use banyan_log::{Block, LogError, LogReader, OfflineLog, Seq, Verdict};
use rusqlite::Connection;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Events in one transaction of a rebuild.
const BATCH_EVENTS: usize = 100_000;

/// What a rebuild did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RebuildReport {
    /// The last event in the new file.
    pub checkpoint: Seq,
    /// Coupons in it.
    pub coupons: u64,
    /// Events in its parked lane.
    pub parked: u64,
    /// How long it took.
    pub took: Duration,
}

/// The right to write a store that no server is running on.
#[derive(Debug)]
pub struct RecordLock {
    path: PathBuf,
    _lock: StoreLock,
}

impl RecordLock {
    /// Takes the right to write the store in `folder`; none if another process has it.
    ///
    /// # Errors
    /// [`ViewError`] if the lock file cannot be written.
    pub fn take(folder: &Path) -> Result<Option<Self>, ViewError> {
        let path = folder.join(RECORD_FILE);
        Ok(StoreLock::take_unless_held(&path)?.map(|lock| Self { path, _lock: lock }))
    }

    /// Builds the store anew from `log`, which must begin with the log's first event. `progress` hears of every
    /// transaction.
    ///
    /// # Errors
    /// [`ViewError`]: the log cannot be read to its end, or the file cannot be replaced. The old file is untouched then.
    pub fn rebuild(
        &self,
        log: &mut dyn LogReader,
        options: &RecordOptions,
        progress: &mut dyn FnMut(Seq),
    ) -> Result<RebuildReport, ViewError> {
        rebuild_offline(log, &self.path, options, progress)
    }
}

/// Builds the store in `folder` anew from `log`, as [`RecordLock::rebuild`] does.
///
/// # Errors
/// [`ViewError`]: the store is being written by another process, or the log cannot be read to its end. The old file is
/// untouched then.
pub fn rebuild(
    log: &mut dyn LogReader,
    folder: &Path,
    options: &RecordOptions,
    progress: &mut dyn FnMut(Seq),
) -> Result<RebuildReport, ViewError> {
    let path = folder.join(RECORD_FILE);
    let _lock = StoreLock::take(&path)?;
    rebuild_offline(log, &path, options, progress)
}

fn rebuild_offline(
    log: &mut dyn LogReader,
    path: &Path,
    options: &RecordOptions,
    progress: &mut dyn FnMut(Seq),
) -> Result<RebuildReport, ViewError> {
    let started = Instant::now();
    let mut new = begin(path, options.keys.as_ref().map(StoreKeys::new))?;
    let mut watch = Watch { progress, given_up: &|| false };
    apply_all(&mut new, log, BATCH_EVENTS, &mut |seq| watch.reached(seq))?;
    settle(&mut new, &watch)?;
    let report = finish(new, started)?;
    // What waits in the old file's write-ahead log would be lost with it: not needed, but `.old` must be whole as well.
    // A damaged old file cannot be put in order; then it is kept with its side files as they are.
    if path.exists()
        && let Err(error) = file::open_writer(path).and_then(|db| file::close_whole(db, path))
    {
        tracing::warn!("the old record store is replaced as it is: {error}");
    }
    file::swap(&beside(path, ".new"), path)?;
    let (there, here) = (stored_checkpoint(&file::open_reader(path)?, path)?, report.checkpoint);
    if there != here {
        let what = format!(
            "the new record store should end at seq {here}, but ends at seq {there}; the old one is kept as .old until the next start"
        );
        return Err(ViewError::new(Cure::Operator, what));
    }
    file::remove(&beside(path, ".old"))?;
    Ok(report)
}

/// Builds the store of a running view anew from the start of its log, while the view serves on, and then switches the
/// view and its readers to the new file. The switch itself pauses readers for some milliseconds.
///
/// # Errors
/// [`ViewError`]: a rebuild is running already, the log cannot be read from its first event, the file cannot be replaced,
/// or the runner was told to stop meanwhile. The old file is untouched then, nothing of the new one is left, and the view
/// follows the log again.
pub fn rebuild_online(
    runner: &Runner<RecordView>,
    progress: &mut dyn FnMut(Seq),
) -> Result<RebuildReport, ViewError> {
    let _rebuilding = Rebuilding::begin(runner)?;
    let stopped = |error| if runner.is_stopping() { given_up() } else { error };
    let (path, keys) = runner.with_view(|view| (view.path().to_owned(), view.keys())).map_err(stopped)?;
    let built = build_online(runner, &path, keys, progress);
    if built.is_err() {
        // Whatever it was, its message is the one that matters; what stays is removed by the next start.
        if let Err(error) = file::remove(&beside(&path, ".new")) {
            tracing::warn!("after a rebuild that failed: {error}");
        }
    }
    built
}

fn build_online(
    runner: &Runner<RecordView>,
    path: &Path,
    keys: Option<StoreKeys>,
    progress: &mut dyn FnMut(Seq),
) -> Result<RebuildReport, ViewError> {
    let started = Instant::now();
    let mut new = begin(path, keys)?;
    let source = runner.source().clone();
    let mut watch = Watch { progress, given_up: &|| runner.is_stopping() };
    catch_up(&mut new, &source, &mut watch)?;
    settle(&mut new, &watch)?;
    // Again, for what came meanwhile: the rest is short, and is read while the view pauses.
    catch_up(&mut new, &source, &mut watch)?;
    let stopped = |error| if runner.is_stopping() { given_up() } else { error };
    runner.with_view(move |view| replace(view, new, &source, started)).map_err(stopped)?
}

fn given_up() -> ViewError {
    let what = "the rebuild was given up, because the server is stopping; the record store is as it was";
    ViewError::new(Cure::Operator, what)
}

/// Who hears how far a rebuild is, and whether it is still wanted.
struct Watch<'a> {
    progress: &'a mut dyn FnMut(Seq),
    given_up: &'a dyn Fn() -> bool,
}

impl Watch<'_> {
    fn reached(&mut self, seq: Seq) -> Result<(), ViewError> {
        (self.progress)(seq);
        self.go_on()
    }

    fn go_on(&self) -> Result<(), ViewError> {
        if (self.given_up)() {
            let what =
                "the rebuild was given up, because the server is stopping; the record store is as it was";
            return Err(ViewError::new(Cure::Operator, what));
        }
        Ok(())
    }
}

/// An end of the log read offline is only trusted if nothing is damaged there.
pub struct OfflineReader(OfflineLog);

impl OfflineReader {
    /// Reads `log`, from [`banyan_log::open_for_reading`].
    #[must_use]
    pub const fn new(log: OfflineLog) -> Self {
        Self(log)
    }
}

impl LogReader for OfflineReader {
    fn next(&mut self, into: &mut Block) -> Result<bool, LogError> {
        if self.0.next(into)? {
            return Ok(true);
        }
        match self.0.verdict() {
            Some(Verdict::Corrupt(damage)) => Err(LogError::Corrupt(Box::new(damage.clone()))),
            _ => Ok(false),
        }
    }
}

/// Shows the view as rebuilding while it lives. There is one at most.
struct Rebuilding<'a>(&'a Runner<RecordView>);

impl<'a> Rebuilding<'a> {
    fn begin(runner: &'a Runner<RecordView>) -> Result<Self, ViewError> {
        if runner.progress().begin_rebuilding() {
            return Ok(Self(runner));
        }
        Err(ViewError::new(Cure::Operator, "the record store is being rebuilt already"))
    }
}

impl Drop for Rebuilding<'_> {
    fn drop(&mut self) {
        self.0.progress().end_rebuilding();
    }
}

/// An empty store at `path.new`. The caller holds the lock of the store at `path`, or the view that does.
fn begin(path: &Path, keys: Option<StoreKeys>) -> Result<RecordView, ViewError> {
    let new = beside(path, ".new");
    file::remove(&new)?;
    let view = RecordView::open_locked(new.clone(), None, keys)?;
    // No sync while it grows: it is synced once, before it takes the old file's place.
    view.db()?
        .pragma_update(None, "synchronous", "OFF")
        .map_err(|error| file::failed(format!("preparing {}", new.display()), error))?;
    Ok(view)
}

fn catch_up(view: &mut RecordView, source: &LogSource, watch: &mut Watch<'_>) -> Result<(), ViewError> {
    let from = view.checkpoint().next();
    let mut log = source.reader(from).map_err(|error| {
        ViewError::caused(Cure::Operator, format!("reading the log from seq {from} for a rebuild"), error)
    })?;
    apply_all(view, log.as_mut(), BATCH_EVENTS, &mut |seq| watch.reached(seq))
}

/// Tidies and checks the new file, and brings it to disk: everything that takes long for a large one.
fn settle(new: &mut RecordView, watch: &Watch<'_>) -> Result<(), ViewError> {
    while new.tidy()? {
        watch.go_on()?;
    }
    verify(new.db()?, new.checkpoint(), new.path())?;
    // Closing it writes everything into the file and syncs it; the second time, soon after, that is little.
    new.close_whole()?;
    new.reopen()
}

/// Closes the new file, ready to take the old one's place.
fn finish(mut new: RecordView, started: Instant) -> Result<RebuildReport, ViewError> {
    let (checkpoint, parked) = (new.checkpoint(), new.parked());
    let issued = "SELECT coalesce(sum(issued), 0) FROM campaign";
    let coupons = new.db()?.query_row(issued, [], |row| row.get::<_, i64>(0));
    let coupons =
        coupons.map_err(|error| file::failed(format!("reading {}", new.path().display()), error))? as u64;
    new.close_whole()?;
    Ok(RebuildReport { checkpoint, coupons, parked, took: started.elapsed() })
}

/// On the view's thread: brings the new file to where the view is, and takes it over.
fn replace(
    view: &mut RecordView,
    mut new: RecordView,
    source: &LogSource,
    started: Instant,
) -> Result<RebuildReport, ViewError> {
    catch_up(&mut new, source, &mut Watch { progress: &mut |_| (), given_up: &|| false })?;
    // A view of another log may be further than this log is: that is what it is built anew for.
    let here = view.checkpoint().min(source.confirmed().get());
    if new.checkpoint() < here {
        let there = new.checkpoint();
        let what =
            format!("the rebuilt store ends at seq {there}, the view is at seq {here}; the old one is kept");
        return Err(ViewError::new(Cure::Operator, what));
    }
    let new_path = new.path().to_owned();
    let path = view.path().to_owned();
    let report = finish(new, started)?;
    let gate = std::sync::Arc::clone(view.gate());
    let mut closed = gate.close();
    let swapped = view.close_whole().and_then(|()| file::swap(&new_path, &path));
    if swapped.is_ok() {
        *closed = None;
    }
    drop(closed);
    // Whichever file has the name now.
    view.reopen()?;
    swapped?;
    file::remove(&beside(&path, ".old"))?;
    Ok(report)
}

fn stored_checkpoint(db: &Connection, path: &Path) -> Result<Seq, ViewError> {
    let stored = db.query_row("SELECT coalesce(max(seq), 0) FROM checkpoint", [], |row| row.get::<_, i64>(0));
    stored
        .map(|seq| Seq(seq as u64))
        .map_err(|error| file::failed(format!("reading {}", path.display()), error))
}

/// Checks that the file can be read to its end and agrees with itself.
fn verify(db: &Connection, checkpoint: Seq, path: &Path) -> Result<(), ViewError> {
    let doing = || format!("checking the rebuilt store {}", path.display());
    let number = |sql: &str| -> Result<i64, ViewError> {
        db.query_row(sql, [], |row| row.get(0)).map_err(|error| file::failed(doing(), error))
    };
    let stored = stored_checkpoint(db, path)?;
    let coupons = number("SELECT count(*) FROM coupon")?;
    let issued = number("SELECT coalesce(sum(issued), 0) FROM campaign")?;
    let indexed = members::count(db).map_err(|error| file::failed(doing(), error))?;
    if stored == checkpoint && coupons == issued && coupons as u64 == indexed {
        return Ok(());
    }
    let what = format!(
        "{}: it has checkpoint {stored} (expected {checkpoint}), {coupons} coupons, {issued} by its campaigns' totals, {indexed} in the index of members; the old file is kept, please report this",
        doing()
    );
    Err(ViewError::new(Cure::Operator, what))
}
