//! The order of the runs: what is in the way of the next one is put out of it, and both sides are compared after each.

use std::path::Path;
use std::time::Duration;

use banyan_domain::legacy::Phase;
use tokio::runtime::Runtime;

use super::Options;
use super::banyan::Banyan;
use super::metrics::{
    BANYAN, DIGESTED, EQUAL, FLUSH, Figures, Found, IN, IN_BACKLOG, OTHERS_IN, OTHERS_OUT, OUT, OUT_BACKLOG,
    RAW, READ,
};
use super::runs;
use super::shop::{OldShop, Writes, mapping};
use crate::measure::flush_us;
use crate::{Failure, failed};

/// The first number that a writer sets: above what the table begins with.
const FIRST: u64 = 1_000_000;

/// Goes through all rounds, with everything that is durable in `dir`.
pub(super) fn run<S: OldShop>(options: &Options, runtime: &Runtime, dir: &Path) -> Result<Found, Failure> {
    let folder = tempfile::Builder::new().prefix("banyan-bench-").tempdir_in(dir);
    let folder = folder.map_err(|e| failed(format!("making a folder in {}", dir.display()), e))?;
    let mut bench = Bench::<S>::start(options, runtime, dir, folder.path())?;
    bench.run()?;
    Ok(bench.found)
}

struct Bench<'a, S> {
    options: &'a Options,
    runtime: &'a Runtime,
    dir: &'a Path,
    banyan: Banyan, // before the database that it follows
    shop: S,
    /// The next number that a writer sets.
    next: u64,
    found: Found,
}

impl<'a, S: OldShop> Bench<'a, S> {
    fn start(
        options: &'a Options,
        runtime: &'a Runtime,
        dir: &'a Path,
        folder: &Path,
    ) -> Result<Self, Failure> {
        let shop = runtime.block_on(S::open(dir, options.rows))?;
        let mapping = mapping::<S>()?;
        // By a handle of its own: sessions are kept, and this one's would depend on this thread having time.
        let made = runtime.block_on(shop.database(mapping.clone())?.create());
        made.map_err(|e| failed("making the bookkeeping", e))?;
        let banyan = Banyan::open(&folder.join("log"), shop.database(mapping.clone())?, &mapping)?;
        Ok(Self { options, runtime, dir, banyan, shop, next: FIRST, found: Found::default() })
    }

    fn run(&mut self) -> Result<(), Failure> {
        self.banyan.start();
        self.banyan.go(Phase::Mirror)?;
        for round in 1..=self.options.rounds {
            let flush = flush_us(self.dir).map_err(|e| failed("timing the disk", e))?;
            self.found.note(BANYAN, Figures::from([(FLUSH, flush)]));
            self.lag_in(round)?;
            self.backlog_in(round)?;
            self.compare(round)?;
        }
        self.runtime.block_on(self.shop.raw_done())?;
        self.banyan.go(Phase::Lead)?;
        for round in 1..=self.options.rounds {
            self.lag_out(round)?;
            self.backlog_out(round)?;
        }
        self.found.note(BANYAN, Figures::from([(EQUAL, self.options.rows as f64)]));
        self.banyan.stop()?;
        self.banyan.shard.shutdown();
        Ok(())
    }

    fn lag_in(&mut self, round: u32) -> Result<(), Failure> {
        let Options { rate, seconds, rows_each, connections, .. } = *self.options;
        let writes = Writes {
            first: self.take(0),
            rate: rate / rows_each as f64,
            duration: Duration::from_secs_f64(seconds),
            rows_each,
            connections,
        };
        self.take(writes.transactions() * rows_each);
        let steady = self.runtime.block_on(runs::steady_in(&self.shop, &self.banyan, writes))?;
        self.equal()?;
        eprintln!("round {round}, in: {:.0} rows/s, lag p99 {:.1} ms", steady.rate, steady.lag_ms(0.99));
        self.found.note(BANYAN, steady.figures(IN));
        self.found.note(BANYAN, Figures::from([(OTHERS_IN, steady.used.others_percent)]));
        Ok(())
    }

    /// The backlog is read twice: by us first in odd rounds, by the raw reader first in even ones.
    fn backlog_in(&mut self, round: u32) -> Result<(), Failure> {
        let Options { rows_each, backlog, .. } = *self.options;
        let backlog = (backlog / rows_each).max(1) * rows_each;
        self.banyan.stop()?;
        let first = self.take(backlog);
        let until = self.runtime.block_on(async {
            self.shop.raw_from_here().await?;
            self.shop.pile_up(first, backlog, rows_each).await?;
            self.shop.position().await
        })?;
        let before =
            if round.is_multiple_of(2) { Some(runs::raw_in(&self.shop, backlog, until)?) } else { None };
        let ours = runs::burst_in(&self.shop, &mut self.banyan, first, backlog)?;
        self.equal()?;
        let raw = match before {
            Some(raw) => raw,
            None => {
                self.banyan.stop()?;
                let raw = runs::raw_in(&self.shop, backlog, until)?;
                self.banyan.start();
                raw
            }
        };
        eprintln!("round {round}, backlog in: {:.0} rows/s, raw limit {:.0}", ours.rate(), raw.rate());
        let [ours, raw] = ours.figures(&raw, IN_BACKLOG);
        self.found.note(BANYAN, ours);
        self.found.note(RAW, raw);
        Ok(())
    }

    fn compare(&mut self, round: u32) -> Result<(), Failure> {
        // The sync may just have been started again.
        self.equal()?;
        let [read, digested] = runs::compare(&self.shop, &self.banyan)?;
        eprintln!(
            "round {round}, comparing: {:.0} rows/s read, {:.0} by digests",
            read.rate(),
            digested.rate()
        );
        self.found.note(BANYAN, read.figures_alone(READ));
        self.found.note(BANYAN, digested.figures_alone(DIGESTED));
        Ok(())
    }

    fn lag_out(&mut self, round: u32) -> Result<(), Failure> {
        let duration = Duration::from_secs_f64(self.options.seconds);
        let run = runs::steady_out(&self.shop, &self.banyan, self.options.rate, duration);
        let steady = self.runtime.block_on(run)?;
        self.equal()?;
        eprintln!("round {round}, out: {:.0} rows/s, lag p99 {:.1} ms", steady.rate, steady.lag_ms(0.99));
        self.found.note(BANYAN, steady.figures(OUT));
        self.found.note(BANYAN, Figures::from([(OTHERS_OUT, steady.used.others_percent)]));
        Ok(())
    }

    fn backlog_out(&mut self, round: u32) -> Result<(), Failure> {
        let raw = |bench: &mut Self| {
            bench.banyan.stop()?;
            bench.runtime.block_on(runs::raw_out(&bench.shop, i32::try_from(round)?))
        };
        let before = if round.is_multiple_of(2) { Some(raw(self)?) } else { None };
        let ours = runs::burst_out(&self.shop, &mut self.banyan)?;
        self.equal()?;
        let raw = match before {
            Some(raw) => raw,
            None => raw(self)?,
        };
        if self.banyan.is_stopped() {
            self.banyan.start();
        }
        // What nobody read meanwhile is out of the way before the next run.
        self.equal()?;
        eprintln!("round {round}, backlog out: {:.0} rows/s, raw limit {:.0}", ours.rate(), raw.rate());
        let [ours, raw] = ours.figures(&raw, OUT_BACKLOG);
        self.found.note(BANYAN, ours);
        self.found.note(RAW, raw);
        Ok(())
    }

    /// Both sides have the same rows, once all that is under way has arrived.
    fn equal(&self) -> Result<(), Failure> {
        let position = self.runtime.block_on(self.shop.position())?;
        self.banyan.wait_taken_in(position)?;
        self.banyan.compare(self.options.rows)
    }

    /// `count` numbers that nobody sets again; gives the first.
    fn take(&mut self, count: u64) -> u64 {
        let first = self.next;
        self.next += count;
        first
    }
}
