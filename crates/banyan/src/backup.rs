//! Copying a log while it is being written.
//!
//! The writer only ever goes forward: it writes blocks one behind the other, seals a segment, and goes on in the next. So
//! the copy is made *backward*: the last segment first, and each file from its end to its start. Whatever a copied sector
//! shows, everything in front of it is copied later and is at least as new; the copy is therefore a prefix of the log and
//! at most one block in flight, which is blanked. Two things can still get in the way: the writer may have gone on to a segment
//! that was not there when we looked, and a sector may be read while it is being written. The copy is verified from its first
//! byte to its last, and what could have been in motion is copied again if it does not pass.
//!
//! Segments may move to the archive meanwhile. The manifest, which says where the live log starts, is copied first, and the
//! archive last: what is live no more is in the archive by then.

use crate::exit::Failure;
use crate::offline;
use banyan_log::{Block, RealStorage, Summary, Verdict};
use indicatif::ProgressBar;
use serde::{Deserialize, Serialize};
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// Name of the file that makes a directory a backup; written last.
pub(crate) const BACKUP_FILE: &str = "BACKUP.json";
/// Version of the layout.
pub(crate) const VERSION: u32 = 1;
const MANIFEST: &str = "MANIFEST";
const CHUNK_BYTES: u64 = 1 << 20;
/// How often the end of the log is copied before giving up.
const ATTEMPTS: u32 = 20;
/// Segments at the end that may change: the one being written, the spare, and one that was sealed while we looked.
const IN_MOTION: usize = 3;

/// What a backup holds.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct BackupManifest {
    /// [`VERSION`].
    pub version: u32,
    /// When it was complete, RFC 3339.
    pub made_at: String,
    /// First event in it.
    pub first_seq: u64,
    /// Last event in it.
    pub head: u64,
    /// Hash of the last block.
    pub head_hash: String,
    /// Every file, this one aside.
    pub files: Vec<BackupFile>,
}

/// One file of a backup.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct BackupFile {
    /// Path below the backup.
    pub path: String,
    /// Size in bytes.
    pub bytes: u64,
    /// BLAKE3 of its content, hexadecimal.
    pub blake3: String,
}

/// Copies the log in `from` to the new directory `to`, and its archive (if there is one) to `to_archive`. The copy opens
/// cleanly, and holds at least every event that was durable when this was called.
pub(crate) fn copy_log(
    from: &Path,
    archive: Option<(&Path, &Path)>,
    to: &Path,
    progress: &ProgressBar,
) -> Result<Summary, Failure> {
    let mut last = String::new();
    for _ in 0..ATTEMPTS {
        fresh(to)?;
        let tried = copy_live(from, to, progress);
        let (archive_from, archive_to) = archive.unzip();
        if let (Some(from), Some(to)) = (archive_from, archive_to) {
            fresh(to)?;
            for index in segments(from)?.iter().rev() {
                copy(&from.join(name_of(*index)), &to.join(name_of(*index)), progress)
                    .map_err(|error| failed("copying", &from.join(name_of(*index)), &error))?;
            }
            sync_dir(to)?;
        }
        match tried.and_then(|()| check(to, archive_to)) {
            Ok(summary) => return Ok(summary),
            Err(Hurdle::Moved(why)) => last = why,
            Err(Hurdle::Failed(failure)) => return Err(failure),
        }
    }
    Err(Failure::check(format!(
        "the copy could not be verified: {last}. If this stays so, the log itself is damaged: run `banyan log verify`"
    )))
}

/// Why a copy is not good.
enum Hurdle {
    /// The log moved on meanwhile, most likely: copy again.
    Moved(String),
    /// Copying again would not help.
    Failed(Failure),
}

fn copy_live(from: &Path, to: &Path, progress: &ProgressBar) -> Result<(), Hurdle> {
    let mut copied = Vec::new();
    for attempt in 0..ATTEMPTS {
        if attempt == 0 {
            copy(&from.join(MANIFEST), &to.join(MANIFEST), progress)
                .map_err(|error| Hurdle::Failed(failed("copying", &from.join(MANIFEST), &error)))?;
        }
        let there = segments(from).map_err(Hurdle::Failed)?;
        let still = there.len().saturating_sub(IN_MOTION);
        for (at, index) in there.iter().enumerate().rev() {
            if at < still && copied.contains(index) {
                continue;
            }
            let path = from.join(name_of(*index));
            match copy(&path, &to.join(name_of(*index)), progress) {
                Ok(()) => copied.push(*index),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    return Err(Hurdle::Moved(format!("{} was archived meanwhile", path.display())));
                }
                Err(error) => return Err(Hurdle::Failed(failed("copying", &path, &error))),
            }
        }
        // Nothing was added while we copied: the last segment we saw is the last one there is.
        if segments(from).map_err(Hurdle::Failed)?.last() == there.last() {
            break;
        }
    }
    sync_dir(to).map_err(Hurdle::Failed)
}

/// Reads the whole copy, and blanks the block in flight behind its end.
fn check(log: &Path, archive: Option<&Path>) -> Result<Summary, Hurdle> {
    let mut offline = offline::open(log, archive).map_err(Hurdle::Failed)?;
    let mut block = Block::default();
    while offline.next(&mut block).map_err(|error| Hurdle::Failed(Failure::environment(error)))? {}
    match offline.verdict() {
        Some(Verdict::Corrupt(damage)) => Err(Hurdle::Moved(damage.to_string())),
        Some(Verdict::TornTail { file, offset, bytes }) => {
            blank(Path::new(file), *offset, *bytes).map_err(|error| {
                Hurdle::Failed(failed("blanking the block in flight in", Path::new(file), &error))
            })?;
            Ok(offline.summary().clone())
        }
        Some(Verdict::Clean) | None => Ok(offline.summary().clone()),
    }
}

fn blank(path: &Path, offset: u64, bytes: u64) -> io::Result<()> {
    let file = OpenOptions::new().write(true).open(path)?;
    file.write_all_at(&vec![0; bytes as usize], offset)?;
    file.sync_all()
}

/// Copies one file from its end to its start and syncs it.
pub(crate) fn copy(from: &Path, to: &Path, progress: &ProgressBar) -> io::Result<()> {
    let source = File::open(from)?;
    let bytes = source.metadata()?.len();
    let target = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(to)?;
    target.set_len(bytes)?;
    let mut buffer = vec![0; CHUNK_BYTES.min(bytes) as usize];
    let mut end = bytes;
    while end > 0 {
        let start = (end - 1) / CHUNK_BYTES * CHUNK_BYTES;
        let part = &mut buffer[..(end - start) as usize];
        source.read_exact_at(part, start)?;
        target.write_all_at(part, start)?;
        progress.inc(part.len() as u64);
        end = start;
    }
    target.sync_all()
}

/// Indexes of the segment files in `dir`, in order. Names are 20 digits and `.seg`: see docs of the log's format.
pub(crate) fn segments(dir: &Path) -> Result<Vec<u64>, Failure> {
    let mut indexes = Vec::new();
    for name in names(dir)? {
        let digits = name.strip_suffix(".seg").filter(|digits| digits.len() == 20);
        indexes.extend(digits.and_then(|digits| digits.parse::<u64>().ok()));
    }
    indexes.sort_unstable();
    Ok(indexes)
}

/// Names of the files in `dir`; none if it is not there.
pub(crate) fn names(dir: &Path) -> Result<Vec<String>, Failure> {
    let entries = match fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(failed("listing", dir, &error)),
    };
    let names = entries.map(|entry| Ok(entry?.file_name().into_string().unwrap_or_default()));
    let mut names: Vec<String> =
        names.collect::<io::Result<_>>().map_err(|error| failed("listing", dir, &error))?;
    names.sort_unstable();
    Ok(names)
}

/// Size and BLAKE3 of a file.
pub(crate) fn measure(path: &Path) -> io::Result<(u64, String)> {
    let mut hasher = blake3::Hasher::new();
    let mut file = File::open(path)?;
    let bytes = io::copy(&mut file, &mut hasher)?;
    Ok((bytes, hasher.finalize().to_hex().to_string()))
}

/// An empty directory at `dir`, only for its owner.
pub(crate) fn fresh(dir: &Path) -> Result<(), Failure> {
    match fs::remove_dir_all(dir) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed("emptying", dir, &error)),
        _ => {}
    }
    create_dir(dir)
}

/// The directory `dir`, with mode 0700 if it is new. Its name, and those of parents that were missing, are durable then: a backup
/// is worth nothing if a loss of power takes the directory it is in.
pub(crate) fn create_dir(dir: &Path) -> Result<(), Failure> {
    RealStorage::create(dir).map(drop).map_err(|error| failed("creating", dir, &error))
}

/// Makes the names in `dir` durable.
pub(crate) fn sync_dir(dir: &Path) -> Result<(), Failure> {
    File::open(dir).and_then(|file| file.sync_all()).map_err(|error| failed("syncing", dir, &error))
}

/// Refuses `dir` unless it is missing or empty.
pub(crate) fn expect_empty(dir: &Path, option: &str) -> Result<(), Failure> {
    if names(dir)?.is_empty() {
        return Ok(());
    }
    Err(Failure::usage(format!(
        "{} is not empty, and nothing in it will be replaced: name a new directory with {option}",
        dir.display()
    )))
}

pub(crate) fn failed(doing: &str, path: &Path, error: &dyn std::fmt::Display) -> Failure {
    Failure::environment(format!("{doing} {}: {error}", path.display()))
}

fn name_of(index: u64) -> PathBuf {
    format!("{index:020}.seg").into()
}
