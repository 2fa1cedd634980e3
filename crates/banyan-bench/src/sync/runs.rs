//! What is measured, one function for each figure: lag and backlog, in and out, the raw limit of each backlog, and comparing.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use banyan_legacy::reconcile::Reconciler;
use banyan_testkit::tree;
use hdrhistogram::Histogram;
use tokio::task::LocalSet;

use super::banyan::{Banyan, decided, reserve};
use super::shop::{OldShop, Sent, Writes, write};
use super::{PATIENCE, watch};
use crate::measure::{Cpu, process_seconds, thread_seconds};
use crate::pace::Turns;
use crate::{Failure, failed};

/// Decisions that wait for their answers at a fixed rate, at most.
const DECIDERS: usize = 256;
/// Lags are kept up to this long, in microseconds.
const LAG_MAX_US: u64 = 120_000_000;
/// Rows of one write: as many as the sync out writes at most.
const WRITE_ROWS: usize = 1_000;
/// Rows that are compared for one figure, at least.
const COMPARED_ROWS: u64 = 100_000;
/// Processor time is told in steps of 1/100 s.
const TICKS_PER_SECOND: f64 = 100.0;

/// Processor time of the two sides, in seconds.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Used {
    /// This process without the thread that drives the load and without those that look on.
    pub(super) banyan: f64,
    /// The old database with all its sessions.
    pub(super) database: f64,
    /// Everybody else on the machine, in percent of all of it.
    pub(super) others_percent: f64,
}

/// A run at a fixed rate.
pub(super) struct Steady {
    /// Rows a second, from the first to the last.
    pub(super) rate: f64,
    /// Rows.
    pub(super) rows: u64,
    /// Lags in microseconds, one for each row.
    pub(super) lag: Histogram<u64>,
    /// The same from when the row was sent, so with its own transaction.
    pub(super) lag_from_sending: Histogram<u64>,
    /// What it took.
    pub(super) used: Used,
}

/// A backlog that was worked off.
pub(super) struct Burst {
    /// Rows.
    pub(super) rows: u64,
    /// How long it took, with connecting.
    pub(super) took: Duration,
    /// What it took.
    pub(super) used: Used,
}

/// In at a fixed rate: from the commit in the old database to durable in Banyan.
pub(super) async fn steady_in<S: OldShop>(
    shop: &S,
    banyan: &Banyan,
    writes: Writes,
) -> Result<Steady, Failure> {
    let count = writes.transactions() * writes.rows_each;
    let arrivals = watch::arrivals(&banyan.shard, writes.first, count)?;
    let meter = Meter::start(shop);
    let start = Instant::now();
    let sent = write(shop, writes).await?;
    let took = start.elapsed();
    let arrivals = arrivals.end()?;
    let used = meter.used(arrivals.cpu);
    let (mut lag, mut lag_from_sending) = (histogram()?, histogram()?);
    for (at, Sent { at: sending, committed }) in
        arrivals.at.chunks(usize::try_from(writes.rows_each)?).zip(&sent)
    {
        for at in at {
            record(&mut lag, *committed, *at);
            record(&mut lag_from_sending, *sending, *at);
        }
    }
    if lag.len() != count {
        return Err(failed("measuring", format!("{} lags of {count} rows", lag.len())));
    }
    Ok(Steady { rate: count as f64 / took.as_secs_f64(), rows: count, lag, lag_from_sending, used })
}

/// In, a backlog: the sync starts, and the last row of it is durable.
pub(super) fn burst_in<S: OldShop>(
    shop: &S,
    banyan: &mut Banyan,
    first: u64,
    count: u64,
) -> Result<Burst, Failure> {
    let arrivals = watch::arrivals(&banyan.shard, first, count)?;
    let meter = Meter::start(shop);
    let start = Instant::now();
    banyan.start();
    let arrivals = arrivals.end()?;
    let last = arrivals.at.iter().max().copied().unwrap_or(start);
    Ok(Burst { rows: count, took: last - start, used: meter.used(arrivals.cpu) })
}

/// The raw limit of it: the server's own reader of the same changes, to nowhere.
pub(super) fn raw_in<S: OldShop>(shop: &S, count: u64, until: u64) -> Result<Burst, Failure> {
    let launch = shop.raw_reader(until)?;
    let name = launch.name.clone();
    let meter = Meter::start(shop);
    let start = Instant::now();
    let mut reader = launch.start()?;
    // Looked at often: what is left of the time it took is the error of the figure.
    let status = loop {
        if let Some(status) = reader.exited()? {
            break status;
        }
        if start.elapsed() > PATIENCE {
            return Err(failed(format!("reading with {name}"), reader.log_tail()));
        }
        // A condition is looked at again; nobody tells it.
        std::thread::sleep(Duration::from_millis(1));
    };
    let took = start.elapsed();
    if !status.success() {
        return Err(failed(format!("{name} ended with {status}"), reader.log_tail()));
    }
    Ok(Burst { rows: count, took, used: meter.used(0.0) })
}

/// Out at a fixed rate: from a decision's answer to the commit in the old table.
pub(super) async fn steady_out<S: OldShop>(
    shop: &S,
    banyan: &Banyan,
    rate: f64,
    duration: Duration,
) -> Result<Steady, Failure> {
    let until = Arc::new(AtomicU64::new(u64::MAX));
    let written = watch::written(&banyan.progress, &until)?;
    let meter = Meter::start(shop);
    let start = Instant::now();
    let decisions = decide(banyan, shop.rows(), rate, duration).await;
    let took = start.elapsed();
    // Also when it failed: whoever looks on must end.
    let last = decisions.as_ref().ok().and_then(|all| all.iter().map(|decision| decision.seq).max());
    until.store(last.unwrap_or(0), Ordering::Relaxed);
    let (written, decisions) = (written.end()?, decisions?);
    let used = meter.used(written.cpu);
    let (mut lag, mut lag_from_sending) = (histogram()?, histogram()?);
    for Decision { sent, answered, seq } in &decisions {
        let at = written.when(*seq).ok_or("every decision was waited for")?;
        record(&mut lag, *answered, at);
        record(&mut lag_from_sending, *sent, at);
    }
    let rows = decisions.len() as u64;
    Ok(Steady { rate: rows as f64 / took.as_secs_f64(), rows, lag, lag_from_sending, used })
}

/// Out, a backlog: one decision about every item while nothing is written; then the sync starts, and all rows are committed.
pub(super) fn burst_out<S: OldShop>(shop: &S, banyan: &mut Banyan) -> Result<Burst, Failure> {
    banyan.stop()?;
    let last = banyan.reserve_all(1..shop.rows() + 1)?;
    let written = watch::written(&banyan.progress, &Arc::new(AtomicU64::new(last)))?;
    let meter = Meter::start(shop);
    let start = Instant::now();
    banyan.start();
    let written = written.end()?;
    let used = meter.used(written.cpu);
    let at = written.when(last).ok_or("the last one was waited for")?;
    Ok(Burst { rows: shop.rows(), took: at - start, used })
}

/// The raw limit of it: the same rows in a copy of the table, updated in transactions of as many rows, by a client that does
/// nothing else.
pub(super) async fn raw_out<S: OldShop>(shop: &S, value: i32) -> Result<Burst, Failure> {
    let meter = Meter::start(shop);
    let start = Instant::now();
    let mut session = shop.session().await?;
    let items: Vec<u64> = (1..shop.rows() + 1).collect();
    for items in items.chunks(WRITE_ROWS) {
        S::raw_update(&mut session, items, (1_000_000 + value, value)).await?;
    }
    Ok(Burst { rows: shop.rows(), took: start.elapsed(), used: meter.used(0.0) })
}

/// Comparing both sides, which must be equal: by reading all rows, as the first comparison after a start does, and by digests, as
/// the next ones do.
pub(super) fn compare<S: OldShop>(shop: &S, banyan: &Banyan) -> Result<[Burst; 2], Failure> {
    let rows = shop.rows();
    // A table that is small is compared often, so that processor time has steps enough.
    let passes = COMPARED_ROWS.div_ceil(rows);
    let fresh: Vec<Arc<Reconciler>> = (0..passes).map(|_| banyan.reconciler()).collect();
    let meter = Meter::start(shop);
    let start = Instant::now();
    for reconciler in &fresh {
        banyan.pass(reconciler, rows, 0)?;
    }
    let read = Burst { rows: rows * passes, took: start.elapsed(), used: meter.used(0.0) };
    let meter = Meter::start(shop);
    let start = Instant::now();
    for reconciler in &fresh {
        banyan.pass(reconciler, rows, rows)?;
    }
    Ok([read, Burst { rows: rows * passes, took: start.elapsed(), used: meter.used(0.0) }])
}

struct Decision {
    sent: Instant,
    answered: Instant,
    seq: u64,
}

/// Reserves a unit of one item after the other, at a fixed rate.
async fn decide(banyan: &Banyan, rows: u64, rate: f64, duration: Duration) -> Result<Vec<Decision>, Failure> {
    let turns = Rc::new(Turns::new());
    let all: Rc<RefCell<Vec<Decision>>> = Rc::default();
    let local = LocalSet::new();
    let mut tasks = Vec::new();
    for _ in 0..DECIDERS {
        let (turns, all, shard) = (Rc::clone(&turns), Rc::clone(&all), Arc::clone(&banyan.shard));
        tasks.push(local.spawn_local(async move {
            while let Some((number, _)) = turns.next().await {
                let command = reserve(number % rows + 1)?;
                let sent = Instant::now();
                let answer = shard.submit(command, None).map_err(|e| failed("reserving", e))?;
                let seq = decided(&answer.await.map_err(|e| failed("reserving", e))?)?;
                all.borrow_mut().push(Decision { sent, answered: Instant::now(), seq });
            }
            Ok::<_, Failure>(())
        }));
    }
    let work = async {
        turns.hand_out(rate, duration, DECIDERS).await?;
        for task in tasks {
            task.await.map_err(|e| failed("deciding", e))??;
        }
        Ok::<_, Failure>(())
    };
    local.run_until(work).await?;
    Ok(all.take())
}

/// Processor time from one moment on.
struct Meter {
    process: f64,
    thread: f64,
    database_pid: u32,
    database: u64,
    machine: Cpu,
}

impl Meter {
    fn start<S: OldShop>(shop: &S) -> Self {
        let database_pid = shop.pid();
        Self {
            process: process_seconds(),
            thread: thread_seconds(),
            database_pid,
            database: tree::cpu_ticks(database_pid),
            machine: Cpu::now(std::process::id(), &BTreeMap::new()),
        }
    }

    /// `looking` is the time of those who look on.
    fn used(&self, looking: f64) -> Used {
        let driving = thread_seconds() - self.thread;
        let mut machine = Cpu::now(std::process::id(), &BTreeMap::new()).since(&self.machine);
        // The thread that drives the load is one of this process's, and counted with it.
        machine.client = 0.0;
        Used {
            banyan: process_seconds() - self.process - driving - looking,
            database: (tree::cpu_ticks(self.database_pid) - self.database) as f64 / TICKS_PER_SECOND,
            others_percent: machine.others_percent(),
        }
    }
}

fn histogram() -> Result<Histogram<u64>, Failure> {
    Histogram::new_with_max(LAG_MAX_US, 3).map_err(|e| failed("making a histogram", e))
}

/// What was there before its own answer came counts as no lag.
fn record(lags: &mut Histogram<u64>, from: Instant, to: Instant) {
    let micros = u64::try_from(to.saturating_duration_since(from).as_micros()).unwrap_or(LAG_MAX_US);
    lags.saturating_record(micros.min(LAG_MAX_US));
}
