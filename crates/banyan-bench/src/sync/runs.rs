//! What is measured, one function for each figure: lag and backlog, in and out, and the raw limit of each backlog.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use banyan_testkit::{Launch, tree};
use hdrhistogram::Histogram;
use tokio::task::LocalSet;
use tokio_postgres::Client;

use super::banyan::{Banyan, decided, reserve};
use super::shop::{RAW_SLOT, SLOT, Sent, Shop, Writes, session, told};
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
/// Processor time is told in steps of 1/100 s.
const TICKS_PER_SECOND: f64 = 100.0;

/// Processor time of the two sides, in seconds.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Used {
    /// This process without the thread that drives the load and without those that look on.
    pub(super) banyan: f64,
    /// Postgres with all its sessions.
    pub(super) postgres: f64,
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
pub(super) async fn steady_in(shop: &Shop, banyan: &Banyan, writes: Writes) -> Result<Steady, Failure> {
    let count = writes.transactions() * writes.rows_each;
    let arrivals = watch::arrivals(&banyan.shard, writes.first, count)?;
    let meter = Meter::start(shop);
    let start = Instant::now();
    let sent = shop.write(writes).await?;
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
pub(super) fn burst_in(shop: &Shop, banyan: &mut Banyan, first: u64, count: u64) -> Result<Burst, Failure> {
    let arrivals = watch::arrivals(&banyan.shard, first, count)?;
    let meter = Meter::start(shop);
    let start = Instant::now();
    banyan.start();
    let arrivals = arrivals.end()?;
    let last = arrivals.at.iter().max().copied().unwrap_or(start);
    Ok(Burst { rows: count, took: last - start, used: meter.used(arrivals.cpu) })
}

/// The raw limit of it: Postgres's own reader of the same changes, from a slot that was made together with ours, to nowhere.
pub(super) fn raw_in(shop: &Shop, count: u64, until: u64) -> Result<Burst, Failure> {
    let log = shop.server.log().with_file_name("recvlogical.log");
    let args = [
        "--dbname".to_owned(),
        shop.server.url(),
        format!("--slot={RAW_SLOT}"),
        "--start".to_owned(),
        format!("--endpos={:X}/{:X}", until >> 32, until & 0xFFFF_FFFF),
        "--file=/dev/null".to_owned(),
        "--no-loop".to_owned(),
        "--option=proto_version=1".to_owned(),
        format!("--option=publication_names={SLOT}"),
        "--option=messages=true".to_owned(),
    ];
    let meter = Meter::start(shop);
    let start = Instant::now();
    let mut reader = Launch::new("pg_recvlogical", "pg_recvlogical", log).args(args).start()?;
    // Looked at often: what is left of the time it took is the error of the figure.
    let status = loop {
        if let Some(status) = reader.exited()? {
            break status;
        }
        if start.elapsed() > PATIENCE {
            return Err(failed("reading with pg_recvlogical", reader.log_tail()));
        }
        // A condition is looked at again; nobody tells it.
        std::thread::sleep(Duration::from_millis(1));
    };
    let took = start.elapsed();
    if !status.success() {
        return Err(failed(format!("pg_recvlogical ended with {status}"), reader.log_tail()));
    }
    Ok(Burst { rows: count, took, used: meter.used(0.0) })
}

/// Out at a fixed rate: from a decision's answer to the commit in the old table.
pub(super) async fn steady_out(
    shop: &Shop,
    banyan: &Banyan,
    rate: f64,
    duration: Duration,
) -> Result<Steady, Failure> {
    let until = Arc::new(AtomicU64::new(u64::MAX));
    let written = watch::written(&banyan.progress, &until)?;
    let meter = Meter::start(shop);
    let start = Instant::now();
    let decisions = decide(shop, banyan, rate, duration).await;
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
pub(super) fn burst_out(shop: &Shop, banyan: &mut Banyan) -> Result<Burst, Failure> {
    banyan.stop()?;
    let last = banyan.reserve_all(1..shop.rows + 1)?;
    let written = watch::written(&banyan.progress, &Arc::new(AtomicU64::new(last)))?;
    let meter = Meter::start(shop);
    let start = Instant::now();
    banyan.start();
    let written = written.end()?;
    let used = meter.used(written.cpu);
    let at = written.when(last).ok_or("the last one was waited for")?;
    Ok(Burst { rows: shop.rows, took: at - start, used })
}

/// The raw limit of it: the same rows in a copy of the table, updated in transactions of as many rows, by a client that does
/// nothing else.
pub(super) async fn raw_out(shop: &Shop, value: i32) -> Result<Burst, Failure> {
    let meter = Meter::start(shop);
    let start = Instant::now();
    let mut client = session(&shop.server).await?;
    let items: Vec<u64> = (1..shop.rows + 1).collect();
    for items in items.chunks(WRITE_ROWS) {
        update(&mut client, items, value).await.map_err(|e| failed("updating the copy", told(&e)))?;
    }
    Ok(Burst { rows: shop.rows, took: start.elapsed(), used: meter.used(0.0) })
}

async fn update(client: &mut Client, items: &[u64], value: i32) -> Result<(), tokio_postgres::Error> {
    let skus: Vec<String> = items.iter().map(|item| super::shop::sku(*item)).collect();
    let (places, in_stock) = (vec![1_i32; items.len()], vec![1_000_000 + value; items.len()]);
    let allocated = vec![value; items.len()];
    let transaction = client.transaction().await?;
    let sql = "update rawrecord t set num_in_stock = u.in_stock, num_allocated = u.allocated \
         from unnest($1::text[], $2::integer[], $3::integer[], $4::integer[]) as u(sku, place, in_stock, allocated) \
         where t.partner_sku = u.sku and t.partner_id = u.place";
    transaction.execute(sql, &[&skus, &places, &in_stock, &allocated]).await?;
    transaction.commit().await
}

struct Decision {
    sent: Instant,
    answered: Instant,
    seq: u64,
}

/// Reserves a unit of one item after the other, at a fixed rate.
async fn decide(
    shop: &Shop,
    banyan: &Banyan,
    rate: f64,
    duration: Duration,
) -> Result<Vec<Decision>, Failure> {
    let turns = Rc::new(Turns::new());
    let all: Rc<RefCell<Vec<Decision>>> = Rc::default();
    let local = LocalSet::new();
    let mut tasks = Vec::new();
    for _ in 0..DECIDERS {
        let (turns, all, shard, rows) =
            (Rc::clone(&turns), Rc::clone(&all), Arc::clone(&banyan.shard), shop.rows);
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
    postgres_pid: u32,
    postgres: u64,
    machine: Cpu,
}

impl Meter {
    fn start(shop: &Shop) -> Self {
        let postgres_pid = shop.server.pid();
        Self {
            process: process_seconds(),
            thread: thread_seconds(),
            postgres_pid,
            postgres: tree::cpu_ticks(postgres_pid),
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
            postgres: (tree::cpu_ticks(self.postgres_pid) - self.postgres) as f64 / TICKS_PER_SECOND,
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
