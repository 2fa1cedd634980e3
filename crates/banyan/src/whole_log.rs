//! The log of a running server, the archive included: what the record store is built from.
//!
//! The server reads its live log only. A rebuild wants the first event, which may be in the archive, and takes so long that
//! segments may move there under its hands. So this reader takes from the live log what is there, and from the archive
//! what is not, and changes over as often as it must.

use banyan_log::{Block, LogError, LogReader, OfflineLog, Seq, Verdict};
use std::io;

/// How often opening the archive is tried while segments move into it.
const TRIES: u32 = 3;

/// Opens the live log at a seq.
type OpenLive = Box<dyn Fn(Seq) -> Result<Box<dyn LogReader>, LogError> + Send>;
/// Opens archive and live log together, as somebody who only reads.
type OpenBoth = Box<dyn Fn() -> Result<OfflineLog, LogError> + Send>;

/// Reads the live log, and the archive where the live log has nothing any more. It reads nothing that is not confirmed.
pub(crate) struct WholeLog {
    live: OpenLive,
    both: Option<OpenBoth>,
    /// The next event that is wanted.
    next: Seq,
    from: From,
}

/// Where the next block comes from.
enum From {
    /// The live log.
    Live(Box<dyn LogReader>),
    /// The archive.
    Archive {
        log: Box<OfflineLog>,
        /// The event that was wanted when it was opened.
        opened_for: Seq,
        /// The first event that was live then: all before it are in the archive, and confirmed.
        end: Seq,
    },
}

impl WholeLog {
    /// A reader that begins with the block that holds `from`. Without `both`, there is no archive.
    ///
    /// # Errors
    /// [`LogError`] if `from` can be read in neither place.
    pub(crate) fn open(from: Seq, live: OpenLive, both: Option<OpenBoth>) -> Result<Self, LogError> {
        let next = from.max(Seq(1));
        let from = begin(&live, both.as_ref(), next)?;
        Ok(Self { live, both, next, from })
    }
}

impl LogReader for WholeLog {
    fn next(&mut self, into: &mut Block) -> Result<bool, LogError> {
        loop {
            match &mut self.from {
                From::Live(reader) => match reader.next(into) {
                    // Moved to the archive since it was opened.
                    Err(LogError::Archived { .. }) if self.both.is_some() => {}
                    Ok(true) => {
                        self.next = self.next.max(into.next_seq());
                        return Ok(true);
                    }
                    other => return other,
                },
                From::Archive { log, opened_for, end } => {
                    if next_archived(log, *end, self.next, into)? {
                        self.next = into.next_seq();
                        return Ok(true);
                    }
                    if self.next == *opened_for {
                        return Err(not_whole(self.next, *end));
                    }
                }
            }
            self.from = begin(&self.live, self.both.as_ref(), self.next)?;
        }
    }
}

/// Opens the live log at `next`, or else the archive.
fn begin(live: &OpenLive, both: Option<&OpenBoth>, next: Seq) -> Result<From, LogError> {
    let mut tries = 1;
    loop {
        let (end, both) = match (live(next), both) {
            (Ok(reader), _) => return Ok(From::Live(reader)),
            (Err(LogError::Archived { first_live, .. }), Some(both)) if next < first_live => {
                (first_live, both)
            }
            (Err(other), _) => return Err(other),
        };
        match both() {
            Ok(log) if tries == TRIES || !matches!(log.verdict(), Some(Verdict::Corrupt(_))) => {
                return Ok(From::Archive { log: Box::new(log), opened_for: next, end });
            }
            Err(error) if tries == TRIES => return Err(error),
            // A segment may have moved between two looks: look again.
            Ok(_) | Err(_) => tries += 1,
        }
    }
}

/// The next block of the archive with events from `wanted` on; false at `end`.
fn next_archived(log: &mut OfflineLog, end: Seq, wanted: Seq, into: &mut Block) -> Result<bool, LogError> {
    loop {
        if log.summary().blocks > 0 && log.summary().head.next() >= end {
            return Ok(false);
        }
        if !log.next(into)? {
            return match log.verdict() {
                Some(Verdict::Corrupt(damage)) => Err(LogError::Corrupt(Box::new(damage.clone()))),
                _ => Ok(false),
            };
        }
        if into.first_seq > wanted {
            return Err(not_whole(wanted, into.first_seq));
        }
        if into.next_seq() > wanted {
            return Ok(true);
        }
    }
}

fn not_whole(wanted: Seq, found: Seq) -> LogError {
    let what = format!("after event {} comes event {found}; put back what is missing", wanted.0 - 1);
    LogError::Io {
        doing: "reading the archive, which is not whole".into(),
        source: io::Error::new(io::ErrorKind::NotFound, what),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use banyan_log::{BlockDraft, DiskLog, DiskOptions, Log, MemoryStorage, Storage, open_for_reading};
    use std::path::{Path, PathBuf};
    use std::sync::{Arc, Mutex};

    const EVENTS: u64 = 120;

    /// A log of small segments, with an archive it may use.
    struct Store {
        storage: MemoryStorage,
        log: Arc<Mutex<DiskLog>>,
    }

    impl Store {
        fn filled() -> Self {
            let storage = MemoryStorage::new();
            let options = DiskOptions {
                segment_bytes: 8_192,
                block_bytes_max: 1_800,
                archive_dir: Some(PathBuf::from("archive")),
                ..DiskOptions::default()
            };
            let mut log = DiskLog::open(Arc::new(storage.clone()), options).expect("opens");
            let epoch = log.acquire().expect("acquires").epoch;
            for first in (1..=EVENTS).step_by(3) {
                let draft = BlockDraft { time_ms: first, count: 3, body: &[first as u8; 700] };
                log.append(epoch, Seq(first), draft).expect("appends");
            }
            Self { storage, log: Arc::new(Mutex::new(log)) }
        }

        fn archive_before(&self, seq: u64) {
            let archiver = self.log.lock().expect("no panic").archiver();
            assert!(archiver.archive_before(Seq(seq)).expect("archives").segments > 0);
        }

        fn reader(&self, from: u64, with_archive: bool) -> Result<WholeLog, LogError> {
            let log = self.log.clone();
            let storage: Arc<dyn Storage> = Arc::new(self.storage.clone());
            let both: OpenBoth =
                Box::new(move || open_for_reading(storage.clone(), Some(Path::new("archive"))));
            let live = Box::new(move |from| log.lock().expect("no panic").reader(from));
            WholeLog::open(Seq(from), live, with_archive.then_some(both))
        }
    }

    /// The first events of the blocks that `log` still has, up to `most` of them.
    fn read(log: &mut WholeLog, most: usize) -> Result<Vec<u64>, LogError> {
        let (mut block, mut firsts) = (Block::default(), Vec::new());
        while firsts.len() < most && log.next(&mut block)? {
            if block.count > 0 {
                assert_eq!(block.body, [block.first_seq.0 as u8; 700]);
                firsts.push(block.first_seq.0);
            }
        }
        Ok(firsts)
    }

    fn all(from: u64) -> Vec<u64> {
        (1..=EVENTS).step_by(3).filter(|first| first + 2 >= from).collect()
    }

    #[test]
    fn archived_and_live_events_come_in_one_piece() {
        let store = Store::filled();
        store.archive_before(70);
        for from in [1, 2, 33, 60, 61, 62, 63, 64, 65, 66, 67, 68, 69, 70, 110, EVENTS] {
            let mut log = store.reader(from, true).expect("opens");
            assert_eq!(read(&mut log, 999).expect("reads"), all(from), "from {from}");
            assert_eq!(read(&mut log, 1).expect("reads"), [0; 0]);
        }
    }

    #[test]
    fn segments_may_be_archived_while_they_are_read() {
        for read_before in [0, 1, 5, 12, 20, 39] {
            let store = Store::filled();
            store.archive_before(20);
            let mut log = store.reader(1, true).expect("opens");
            let mut seen = read(&mut log, read_before).expect("reads");
            store.archive_before(60);
            seen.extend(read(&mut log, 15).expect("reads"));
            store.archive_before(100);
            seen.extend(read(&mut log, 999).expect("reads"));
            assert_eq!(seen, all(1), "archived after {read_before}");
        }
    }

    #[test]
    fn what_is_in_neither_place_is_an_error_and_not_a_gap() {
        let store = Store::filled();
        store.archive_before(70);
        assert!(matches!(store.reader(1, false).map(drop), Err(LogError::Archived { .. })));
        let archive = store.storage.directory(Path::new("archive"), false).expect("there");
        let mut names = archive.list().expect("lists");
        names.sort_unstable();
        archive.remove(&names[0]).expect("removes");
        let mut log = store.reader(1, true).expect("opens");
        let error = read(&mut log, 999).expect_err("its beginning is missing");
        assert!(error.to_string().contains("not whole"), "{error}");
    }
}
