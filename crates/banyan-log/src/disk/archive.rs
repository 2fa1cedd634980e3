//! Moves old segments out of the live log.

use std::io;
use std::path::PathBuf;
use std::sync::{Arc, PoisonError};

use crate::disk::Shared;
use crate::disk::file::{SegmentFile, create_whole, write_manifest};
use crate::disk::recover::{Place, Walked, Walker};
use crate::error::LogError;
use crate::format::sector::SECTOR_BYTES;
use crate::format::segment::{self, Chain, Manifest};
use crate::storage::{Storage, StorageFile};
use crate::types::{Block, BlockHash, Seq};

/// Bytes copied at a time.
const COPY_BYTES: usize = 1 << 20;

/// Moves sealed segments to the archive, from any thread. Clones do the same work; only one does it at a time.
#[derive(Clone)]
pub struct Archiver {
    shared: Arc<Shared>,
}

/// What [`Archiver::archive_before`] did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ArchiveReport {
    /// Segments moved.
    pub segments: u64,
    /// Bytes moved.
    pub bytes: u64,
    /// First seq that is still live.
    pub first_live: Seq,
    /// Where they went.
    pub archive: PathBuf,
}

impl Archiver {
    pub(crate) fn new(shared: Arc<Shared>) -> Archiver {
        Archiver { shared }
    }

    /// Moves every segment that is sealed and holds only events before `seq`. Each is verified, copied, synced and its
    /// copy read back and compared before the live file is removed. A crash at any point leaves every event in at
    /// least one of the two places, and calling it again finishes the work.
    pub fn archive_before(&self, seq: Seq) -> Result<ArchiveReport, LogError> {
        let Some(path) = self.shared.archive_dir.clone() else {
            let why = "archiving needs archive_dir, the directory old segments go to".to_owned();
            return Err(LogError::Options { why });
        };
        let archive = self
            .shared
            .storage
            .directory(&path, true)
            .map_err(|error| LogError::io(format!("opening the archive {}", path.display()), error))?;
        let mut report = ArchiveReport { segments: 0, bytes: 0, first_live: Seq(1), archive: path };
        loop {
            // One segment at a time by one caller, and none once the writer has let go of the directory.
            let closed = self.shared.closed.lock().unwrap_or_else(PoisonError::into_inner);
            if *closed {
                return Err(LogError::Sealed);
            }
            let Some((index, chain, next_chain)) = self.oldest_before(seq) else { break };
            report.bytes += self.copy(archive.as_ref(), index, chain, next_chain)?;
            self.drop_live(index, next_chain)?;
            report.segments += 1;
        }
        report.first_live = self.shared.table().first().map_or(Seq(1), |live| live.chain.next);
        Ok(report)
    }

    /// The oldest live segment, what it continues, and what its successor continues, if it may go. A segment with a
    /// successor in the table is sealed, durably.
    fn oldest_before(&self, seq: Seq) -> Option<(u64, Chain, Chain)> {
        let table = self.shared.table();
        match table.as_slice() {
            [oldest, next, ..] if next.chain.next <= seq => Some((oldest.index, oldest.chain, next.chain)),
            _ => None,
        }
    }

    fn copy(&self, archive: &dyn Storage, index: u64, chain: Chain, end: Chain) -> Result<u64, LogError> {
        let live = &self.shared.storage;
        let source = SegmentFile::open(live.as_ref(), index, false)?;
        verify(&source, live, chain, end)?;
        let name = segment::name_of(index);
        let copying =
            |error| LogError::io(format!("copying {} to {}/{name}", source.path, archive.describe()), error);
        let bytes = u64::from(source.sectors) * SECTOR_BYTES as u64;
        let mut buffer = vec![0; COPY_BYTES.min(bytes as usize)];
        let wanted = hash_of(source.file.as_ref(), bytes, &mut buffer).map_err(copying)?;
        if let Some(copied) = existing(archive, &name, bytes, &mut buffer).map_err(copying)? {
            // Left by a crash after the copy; anything else under this name is somebody's only copy of something.
            if copied == wanted {
                archive.sync_dir().map_err(copying)?;
                return Ok(bytes);
            }
            let taken = "the archive already holds another segment of this name; nothing was replaced";
            return Err(copying(io::Error::new(io::ErrorKind::AlreadyExists, taken)));
        }
        let written = create_whole(archive, &name, |file| {
            each_part(bytes, &mut buffer, |part, offset| {
                source.file.read_at(part, offset)?;
                file.write_at(part, offset)
            })
        })
        .map_err(copying)?;
        if hash_of(written.as_ref(), bytes, &mut buffer).map_err(copying)? != wanted {
            return Err(copying(io::Error::other(
                "the copy reads back differently; the live segment was kept",
            )));
        }
        Ok(bytes)
    }

    /// Makes the manifest start behind segment `index`, and removes it.
    fn drop_live(&self, index: u64, next: Chain) -> Result<(), LogError> {
        let live = self.shared.storage.as_ref();
        write_manifest(live, &Manifest { first_segment: index + 1, chain: next })?;
        self.shared.table.write().unwrap_or_else(PoisonError::into_inner).retain(|live| live.index != index);
        let name = segment::name_of(index);
        live.remove(&name)
            .and_then(|()| live.sync_dir())
            .map_err(|error| LogError::io(format!("removing archived {}/{name}", live.describe()), error))
    }
}

/// Whether the archive holds a segment of the same name and the same bytes.
pub(crate) fn has_copy(archive: &dyn Storage, source: &SegmentFile) -> io::Result<bool> {
    let bytes = u64::from(source.sectors) * SECTOR_BYTES as u64;
    let mut buffer = vec![0; COPY_BYTES.min(bytes as usize)];
    let copied = existing(archive, &segment::name_of(source.index), bytes, &mut buffer)?;
    Ok(copied.is_some() && copied == Some(hash_of(source.file.as_ref(), bytes, &mut buffer)?))
}

/// Reads every block of a sealed segment and checks that it ends where the next one starts.
fn verify(source: &SegmentFile, live: &Arc<dyn Storage>, start: Chain, end: Chain) -> Result<(), LogError> {
    let places = [source.index, source.index + 1].map(|index| Place { storage: Arc::clone(live), index });
    let mut walker = Walker::new(places.to_vec(), Some(start));
    let mut block = Block::default();
    while walker.chain() != end {
        match walker.next(&mut block)? {
            Walked::Block if walker.entered().len() == 1 => {}
            _ => {
                let expected = format!("a segment that ends after seq {}", end.head());
                return Err(source.damage(0, walker.chain().head(), expected, "another end"));
            }
        }
    }
    Ok(())
}

fn existing(
    archive: &dyn Storage,
    name: &str,
    bytes: u64,
    buffer: &mut [u8],
) -> io::Result<Option<BlockHash>> {
    match archive.open(name, false) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
        Ok(file) if file.size()? == bytes => hash_of(file.as_ref(), bytes, buffer).map(Some),
        Ok(_) => Ok(Some(BlockHash::ZERO)),
    }
}

fn hash_of(file: &dyn StorageFile, bytes: u64, buffer: &mut [u8]) -> io::Result<BlockHash> {
    let mut hasher = blake3::Hasher::new();
    each_part(bytes, buffer, |part, offset| {
        file.read_at(part, offset)?;
        hasher.update(part);
        Ok(())
    })?;
    Ok(BlockHash(*hasher.finalize().as_bytes()))
}

fn each_part(
    bytes: u64,
    buffer: &mut [u8],
    mut each: impl FnMut(&mut [u8], u64) -> io::Result<()>,
) -> io::Result<()> {
    let mut offset = 0;
    while offset < bytes {
        let part = buffer.len().min((bytes - offset) as usize);
        each(&mut buffer[..part], offset)?;
        offset += part as u64;
    }
    Ok(())
}
