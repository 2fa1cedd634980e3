//! CPU time, disk time, and medians.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;
use std::time::Instant;

use banyan_testkit::tree;
use rustix::time::{ClockId, clock_gettime};

/// Linux reports CPU time to programs in steps of 1/100 s on every architecture.
const TICKS_PER_SECOND: f64 = 100.0;
/// Flushes timed for one figure.
const FLUSHES: usize = 30;

/// CPU time used so far, in seconds.
#[derive(Clone, Debug, Default)]
pub(crate) struct Cpu {
    /// The server's process and its children.
    pub(crate) server: f64,
    /// Each database or broker of the system, by name.
    pub(crate) databases: BTreeMap<&'static str, f64>,
    /// This process's own thread.
    pub(crate) client: f64,
    /// Every process of the machine, in ticks: whole numbers, so that their differences are exact.
    machine: f64,
    /// What all cores could have given, in ticks.
    capacity: f64,
}

impl Cpu {
    /// Reads it now.
    pub(crate) fn now(server: u32, databases: &BTreeMap<&'static str, u32>) -> Self {
        let seconds = |pid: u32| tree::cpu_ticks(pid) as f64 / TICKS_PER_SECOND;
        let databases = databases.iter().map(|(name, pid)| (*name, seconds(*pid))).collect();
        let (machine, capacity) = machine_ticks();
        Self { server: seconds(server), databases, client: thread_seconds(), machine, capacity }
    }

    /// What was used since `earlier`.
    pub(crate) fn since(&self, earlier: &Self) -> Self {
        let databases = self.databases.iter().map(|(name, seconds)| {
            let before = earlier.databases.get(name).copied().unwrap_or(0.0);
            (*name, seconds - before)
        });
        Self {
            server: self.server - earlier.server,
            databases: databases.collect(),
            client: self.client - earlier.client,
            machine: self.machine - earlier.machine,
            capacity: self.capacity - earlier.capacity,
        }
    }

    /// The share of the machine, in percent, that others took: processes that have nothing to do with the benchmark,
    /// and what the kernel did for nobody in particular. A quiet machine shows a few percent.
    pub(crate) fn others_percent(&self) -> f64 {
        let ours = self.server + self.client + self.databases.values().sum::<f64>();
        ((self.machine - ours * TICKS_PER_SECOND) / self.capacity * 100.0).max(0.0)
    }
}

/// How long the disk of `dir` takes to make 4 KiB durable, in microseconds: the median of a few. It varies with what
/// else the machine does, and every durable answer pays for it.
pub(crate) fn flush_us(dir: &Path) -> std::io::Result<f64> {
    let mut file = tempfile::tempfile_in(dir)?;
    let mut times = Vec::with_capacity(FLUSHES);
    for _ in 0..FLUSHES {
        file.write_all(&[1; 4096])?;
        let start = Instant::now();
        file.sync_data()?;
        times.push(start.elapsed().as_secs_f64() * 1e6);
    }
    Ok(median(&times))
}

/// Busy ticks and all ticks of all cores, from the first line of `/proc/stat`: user, nice, system, idle, iowait,
/// irq, softirq, steal. Time stolen by the machine's host counts as busy: somebody else had it.
fn machine_ticks() -> (f64, f64) {
    let text = std::fs::read_to_string("/proc/stat").unwrap_or_default();
    let line = text.lines().next().unwrap_or_default();
    let fields: Vec<f64> =
        line.split_whitespace().skip(1).take(8).filter_map(|field| field.parse().ok()).collect();
    let all: f64 = fields.iter().sum();
    let idle: f64 = fields.iter().skip(3).take(2).sum();
    (all - idle, all)
}

/// CPU time of the calling thread so far, in seconds.
pub(crate) fn thread_seconds() -> f64 {
    seconds(ClockId::ThreadCPUTime)
}

/// CPU time of this process so far, with all its threads and without its children, in seconds.
#[cfg(feature = "legacy")]
pub(crate) fn process_seconds() -> f64 {
    seconds(ClockId::ProcessCPUTime)
}

fn seconds(clock: ClockId) -> f64 {
    let time = clock_gettime(clock);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}

/// The middle value; of an even count, the mean of the two in the middle. NaN of none.
pub(crate) fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    match sorted.len() {
        0 => f64::NAN,
        count if count % 2 == 1 => sorted[count / 2],
        count => f64::midpoint(sorted[count / 2 - 1], sorted[count / 2]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians() {
        assert!(median(&[]).is_nan());
        assert_eq!(median(&[3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(&[4.0, 1.0, 2.0, 3.0]), 2.5);
    }

    #[test]
    fn the_machines_work_includes_ours() {
        let none = BTreeMap::new();
        let before = Cpu::now(std::process::id(), &none);
        let mut sum = 0_u64;
        let spin = |sum: &mut u64| *sum = sum.wrapping_mul(31).wrapping_add(7);
        while Cpu::now(std::process::id(), &none).since(&before).server < 0.1 {
            spin(&mut sum);
        }
        let used = Cpu::now(std::process::id(), &none).since(&before);
        assert!(used.machine >= 5.0 && used.capacity >= used.machine, "{used:?} {sum}");
        assert!((0.0..=100.0).contains(&used.others_percent()), "{used:?}");
    }

    #[test]
    fn a_flush_takes_time() {
        let folder = tempfile::tempdir().expect("a folder");
        assert!(flush_us(folder.path()).expect("a figure") > 0.0);
    }

    #[test]
    fn the_clients_own_work_is_seen() {
        let pid = std::process::id();
        let before = Cpu::now(pid, &BTreeMap::new());
        let mut sum = 0_u64;
        while Cpu::now(pid, &BTreeMap::new()).since(&before).client < 0.03 {
            sum = sum.wrapping_mul(31).wrapping_add(7);
        }
        assert!(Cpu::now(pid, &BTreeMap::new()).since(&before).server >= 0.01, "{sum}");
    }
}
