//! Segments in front of the live log: what the archiver had no time left to remove, or what somebody put back.
//!
//! The manifest says that they were moved away, but it cannot say that they still are anywhere else. So one goes only when
//! the archive has the same bytes. Otherwise the log takes them back, if they are what it continues.

use std::sync::Arc;

use crate::disk::DiskOptions;
use crate::disk::archive::has_copy;
use crate::disk::file::SegmentFile;
use crate::disk::open::{indexes, opening_of};
use crate::disk::recover::{Place, Walked, Walker};
use crate::error::LogError;
use crate::format::segment::{self, Chain, FIRST_SEGMENT, Manifest};
use crate::storage::Storage;
use crate::types::Block;

/// What is to be done about segments in front of the live log.
pub(crate) struct Strays {
    /// Where the live log begins: as `manifest` said, or further back.
    pub(crate) manifest: Manifest,
    /// Segments that the archive holds, too: to be removed.
    pub(crate) archived: Vec<u64>,
}

/// Looks at what lies in front of the log that `manifest` describes, without changing anything.
///
/// # Errors
/// [`LogError::Strays`] if the archive does not have it, and the log does not continue it.
pub(crate) fn look(
    storage: &Arc<dyn Storage>,
    manifest: Manifest,
    options: &DiskOptions,
) -> Result<Strays, LogError> {
    let mut strays = indexes(storage.as_ref())?;
    strays.retain(|index| *index < manifest.first_segment);
    let (Some(first), Some(last)) = (strays.first().copied(), strays.last().copied()) else {
        return Ok(Strays { manifest, archived: strays });
    };
    if are_archived(storage.as_ref(), &strays, options) {
        return Ok(Strays { manifest, archived: strays });
    }
    let refused = |why: String| LogError::Strays { directory: storage.describe(), first, last, why };
    if let Some((index, _)) =
        (first..manifest.first_segment).zip(&strays).find(|(index, there)| index != *there)
    {
        return Err(refused(format!(
            "segment {index}, which comes between them and the live log, is not there"
        )));
    }
    if strays.len() as u64 != manifest.first_segment - first {
        return Err(refused(format!("segment {} is not there, which comes after them", last + 1)));
    }
    match begin(storage, first, &manifest) {
        Ok(Some(chain)) => {
            Ok(Strays { manifest: Manifest { first_segment: first, chain }, archived: Vec::new() })
        }
        Ok(None) => Err(refused("the live log does not continue them".to_owned())),
        Err(LogError::Corrupt(damage)) => Err(refused(damage.to_string())),
        Err(other) => Err(other),
    }
}

/// Whether the archive has the same bytes for each of them. An archive that cannot be read has nothing.
fn are_archived(storage: &dyn Storage, strays: &[u64], options: &DiskOptions) -> bool {
    let archive = options.archive_dir.as_ref().and_then(|path| storage.directory(path, false).ok());
    let is_archived = |archive: &Arc<dyn Storage>, index: u64| {
        let source = SegmentFile::open(storage, index, false).ok();
        source.is_some_and(|source| has_copy(archive.as_ref(), &source).unwrap_or(false))
    };
    archive.is_some_and(|archive| strays.iter().all(|index| is_archived(&archive, *index)))
}

/// What segment `first` continues, if every block from there on is sound and the live log continues the last of them.
fn begin(storage: &Arc<dyn Storage>, first: u64, manifest: &Manifest) -> Result<Option<Chain>, LogError> {
    let start = match first {
        FIRST_SEGMENT => Chain::START,
        _ => match opening_of(&SegmentFile::open(storage.as_ref(), first, false)?)? {
            Some(chain) => chain,
            None => return Ok(None),
        },
    };
    let places = (first..=manifest.first_segment).map(|index| Place { storage: Arc::clone(storage), index });
    let places: Vec<Place> = places.collect();
    let live = places.len() - 1;
    let mut walker = Walker::new(places, Some(start));
    let mut block = Block::default();
    let joint = loop {
        match walker.next(&mut block)? {
            Walked::Block if walker.entered().len() <= live => {}
            Walked::Block => break walker.entered()[live].chain,
            Walked::End(tail) if tail.position == live => break tail.chain,
            Walked::End(_) => return Ok(None),
        }
    };
    Ok((joint == manifest.chain).then_some(start))
}

/// Removes segments that the archive holds, too: this ends what a crash of the archiver interrupted.
pub(crate) fn remove(disk: &dyn Storage, archived: &[u64]) -> Result<(), LogError> {
    for index in archived {
        let name = segment::name_of(*index);
        disk.remove(&name)
            .map_err(|error| LogError::io(format!("removing archived {}/{name}", disk.describe()), error))?;
    }
    Ok(())
}
