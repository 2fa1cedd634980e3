//! Every engine passes the same suite.

use std::sync::Arc;

use banyan_log::conformance::{Factory, check};
use banyan_log::{DiskLog, DiskOptions, Log, MemoryLog, MemoryStorage, RealStorage};

struct Memory(MemoryLog);

impl Factory for Memory {
    fn fresh(&mut self) -> Box<dyn Log> {
        self.0 = MemoryLog::new();
        self.reopen()
    }

    fn reopen(&mut self) -> Box<dyn Log> {
        Box::new(self.0.attach())
    }
}

struct SimulatedDisk(MemoryStorage, DiskOptions);

impl Factory for SimulatedDisk {
    fn fresh(&mut self) -> Box<dyn Log> {
        self.0 = MemoryStorage::new();
        self.reopen()
    }

    fn reopen(&mut self) -> Box<dyn Log> {
        Box::new(DiskLog::open(Arc::new(self.0.clone()), self.1.clone()).expect("open"))
    }
}

struct RealDisk(tempfile::TempDir, DiskOptions);

impl Factory for RealDisk {
    fn fresh(&mut self) -> Box<dyn Log> {
        self.0 = tempfile::tempdir().expect("a temporary directory");
        self.reopen()
    }

    fn reopen(&mut self) -> Box<dyn Log> {
        let storage = RealStorage::create(self.0.path().join("log")).expect("create");
        Box::new(DiskLog::open(Arc::new(storage), self.1.clone()).expect("open"))
    }
}

fn options(segment_bytes: u64, block_bytes_max: u64, background: bool) -> DiskOptions {
    DiskOptions { segment_bytes, block_bytes_max, background, ..DiskOptions::default() }
}

#[test]
fn memory() {
    check(&mut Memory(MemoryLog::new()));
}

#[test]
fn simulated_disk() {
    check(&mut SimulatedDisk(MemoryStorage::new(), options(64 << 10, 24 << 10, false)));
}

#[test]
fn simulated_disk_with_many_small_segments() {
    check(&mut SimulatedDisk(MemoryStorage::new(), options(8 << 10, 2 << 10, false)));
}

#[test]
fn simulated_disk_that_verifies_only_the_end() {
    let options = DiskOptions { verify_all: false, ..options(8 << 10, 2 << 10, false) };
    check(&mut SimulatedDisk(MemoryStorage::new(), options));
}

#[test]
fn real_disk_prepared_in_the_background() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    check(&mut RealDisk(directory, options(64 << 10, 16 << 10, true)));
}
