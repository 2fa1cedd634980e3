//! Reads a log without owning it: for `log cat`, `log stat` and `log verify`, after a crash, beside a running writer,
//! or on a backup. Changes nothing.

use std::path::Path;
use std::sync::Arc;

use crate::disk::file::read_manifest;
use crate::disk::open::{expect_contiguous, expect_present, indexes};
use crate::disk::recover::{Place, Tail, Walked, Walker};
use crate::error::{Damage, LogError};
use crate::format::sector::SECTOR_BYTES;
use crate::format::segment::{self, Chain};
use crate::storage::Storage;
use crate::types::{Block, BlockHash, Epoch, Seq};

/// How often the same damage must be seen before it is believed: a writer may have been in the middle of that place.
const LOOKS: u32 = 3;

/// Opens the log in `storage` for reading, with the segments in `archive` in front of the live ones if given.
///
/// Fails only if the directory cannot be read; damage is the [`Verdict`], after every block in front of it.
pub fn open_for_reading(storage: Arc<dyn Storage>, archive: Option<&Path>) -> Result<OfflineLog, LogError> {
    let archive = match archive {
        Some(path) => Some(
            storage
                .directory(path, false)
                .map_err(|error| LogError::io(format!("opening the archive {}", path.display()), error))?,
        ),
        None => None,
    };
    let mut summary = Summary::default();
    let (walker, verdict) = match gather(&storage, archive.as_ref(), &mut summary) {
        Ok(walker) => (Some(walker), None),
        Err(LogError::Corrupt(damage)) => (None, Some(Verdict::Corrupt(*damage))),
        Err(other) => return Err(other),
    };
    Ok(OfflineLog { live: storage, walker, verdict, summary })
}

/// Every valid block of a log, in order, and then a verdict.
pub struct OfflineLog {
    live: Arc<dyn Storage>,
    walker: Option<Walker>,
    verdict: Option<Verdict>,
    summary: Summary,
}

/// What was read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Live segments, the spare included.
    pub live_segments: u64,
    /// Segments read from the archive.
    pub archived_segments: u64,
    /// Bytes of all these files.
    pub bytes: u64,
    /// Blocks read, epoch starts included.
    pub blocks: u64,
    /// Events in them.
    pub events: u64,
    /// Bytes of the blocks' bodies.
    pub body_bytes: u64,
    /// First seq there is; what an empty log will start with.
    pub first_seq: Seq,
    /// Seq of the last event read.
    pub head: Seq,
    /// Hash of the last block read.
    pub head_hash: BlockHash,
    /// Epoch of the last block read.
    pub epoch: Epoch,
    /// Time of the last block read, milliseconds since the Unix epoch.
    pub time_ms: u64,
}

/// What stands behind the last block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing: the log is whole.
    Clean,
    /// A block that was never acknowledged: in flight now if a writer runs, or when the machine stopped. Opening the
    /// log cuts it.
    TornTail {
        /// File it is in.
        file: String,
        /// Its offset, bytes.
        offset: u64,
        /// Bytes from there to its last written sector.
        bytes: u64,
    },
    /// Not what was written. Opening the log refuses.
    Corrupt(Damage),
}

impl OfflineLog {
    /// Fills `into` with the next valid block and returns true, or returns false when [`OfflineLog::verdict`] stands.
    pub fn next(&mut self, into: &mut Block) -> Result<bool, LogError> {
        let mut last: Option<Damage> = None;
        let mut looks = 0;
        loop {
            let Some(walker) = self.walker.as_mut().filter(|_| self.verdict.is_none()) else {
                return Ok(false);
            };
            match walker.next(into) {
                Ok(Walked::Block) => {
                    self.count(into);
                    return Ok(true);
                }
                Ok(Walked::End(tail)) => {
                    self.verdict = Some(end_verdict(walker, tail));
                    return Ok(false);
                }
                Err(LogError::Corrupt(damage)) => {
                    // A writer may have gone on to a segment that was not there when this began.
                    if let Some(place) = appeared(&self.live, walker)? {
                        walker.add(place);
                        looks = 0;
                    }
                    looks = if last.as_ref() == Some(&*damage) { looks + 1 } else { 1 };
                    if looks >= LOOKS {
                        self.verdict = Some(Verdict::Corrupt(*damage));
                        return Ok(false);
                    }
                    last = Some(*damage);
                    walker.look_again();
                }
                Err(other) => return Err(other),
            }
        }
    }

    /// What was read so far.
    pub fn summary(&self) -> &Summary {
        &self.summary
    }

    /// What stands behind the last block; known once [`OfflineLog::next`] has returned false.
    pub fn verdict(&self) -> Option<&Verdict> {
        self.verdict.as_ref()
    }

    fn count(&mut self, block: &Block) {
        let summary = &mut self.summary;
        if summary.blocks == 0 {
            summary.first_seq = block.first_seq;
        }
        summary.blocks += 1;
        summary.events += u64::from(block.count);
        summary.body_bytes += block.body.len() as u64;
        summary.head = block.head();
        summary.head_hash = block.hash;
        summary.epoch = block.epoch;
        summary.time_ms = block.time_ms;
    }
}

/// The segment that follows the last one the walk knows, if there is one now.
fn appeared(live: &Arc<dyn Storage>, walker: &Walker) -> Result<Option<Place>, LogError> {
    let next = walker.places().last().map_or(0, |last| last.index + 1);
    let there = indexes(live.as_ref())?.contains(&next);
    Ok(there.then(|| Place { storage: Arc::clone(live), index: next }))
}

fn end_verdict(walker: &Walker, tail: Tail) -> Verdict {
    if tail.torn_end == tail.at {
        return Verdict::Clean;
    }
    let place = &walker.places()[tail.position];
    let file = format!("{}/{}", place.storage.describe(), segment::name_of(place.index));
    let sector = SECTOR_BYTES as u64;
    let bytes = u64::from(tail.torn_end - tail.at) * sector;
    Verdict::TornTail { file, offset: u64::from(tail.at) * sector, bytes }
}

/// Finds the segments and checks that none is missing.
fn gather(
    live: &Arc<dyn Storage>,
    archive: Option<&Arc<dyn Storage>>,
    summary: &mut Summary,
) -> Result<Walker, LogError> {
    let missing = || {
        LogError::Corrupt(Box::new(Damage {
            file: format!("{}/{}", live.describe(), segment::MANIFEST),
            offset: 0,
            after: None,
            expected: "a log".to_owned(),
            found: "no manifest".to_owned(),
        }))
    };
    let manifest = read_manifest(live.as_ref())?.ok_or_else(missing)?;
    summary.first_seq = manifest.chain.next;
    summary.head = manifest.chain.head();
    let mut places = Vec::new();
    if let Some(archive) = archive {
        let mut archived = indexes(archive.as_ref())?;
        archived.retain(|index| *index < manifest.first_segment);
        if let Some(first) = archived.first() {
            let all: Vec<u64> = (*first..manifest.first_segment).collect();
            for index in all {
                expect_present(archive.as_ref(), index, &archived)?;
                places.push(Place { storage: Arc::clone(archive), index });
            }
        }
    }
    summary.archived_segments = places.len() as u64;
    if places.first().is_some_and(|place| place.index == segment::FIRST_SEGMENT) {
        // The archive goes back to the beginning. Otherwise the first block read says where it goes back to.
        summary.first_seq = Chain::START.next;
    }
    let mut live_indexes = indexes(live.as_ref())?;
    live_indexes.retain(|index| *index >= manifest.first_segment);
    expect_contiguous(live.as_ref(), manifest.first_segment, &live_indexes)?;
    summary.live_segments = live_indexes.len() as u64;
    places.extend(live_indexes.into_iter().map(|index| Place { storage: Arc::clone(live), index }));
    for place in &places {
        let name = segment::name_of(place.index);
        let size = place.storage.open(&name, false).and_then(|file| file.size());
        summary.bytes += size.map_err(|error| LogError::io(format!("opening log segment {name}"), error))?;
    }
    let start = Walker::start_of(places[0].index, &manifest);
    Ok(Walker::new(places, start))
}
