//! A segment file, and creating files that are whole from the moment they have their name.

use std::io;
use std::sync::Arc;

use crate::disk::Live;
use crate::error::{Damage, LogError};
use crate::format::sector::SECTOR_BYTES;
use crate::format::segment::{self, Chain, MANIFEST, Manifest, TEMPORARY};
use crate::storage::{Storage, StorageFile};
use crate::types::Seq;

/// Bytes written at a time. Zeros are synced as often: what is not on the disk yet, and so the next append's sync, stays small.
const CHUNK_BYTES: usize = 1 << 20;

/// An open segment whose header has been checked, or was written by us.
#[derive(Clone)]
pub(crate) struct SegmentFile {
    pub(crate) index: u64,
    pub(crate) sectors: u32,
    pub(crate) file: Arc<dyn StorageFile>,
    /// Directory and name, for messages.
    pub(crate) path: String,
}

impl SegmentFile {
    /// Opens segment `index` and checks that its header and its size agree.
    pub(crate) fn open(storage: &dyn Storage, index: u64, writable: bool) -> Result<SegmentFile, LogError> {
        let name = segment::name_of(index);
        let path = format!("{}/{name}", storage.describe());
        let doing = |error| LogError::io(format!("opening log segment {path}"), error);
        let file = storage.open(&name, writable).map_err(doing)?;
        let size = file.size().map_err(doing)?;
        let damage = |offset, expected: String, found: String| {
            let damage = Damage { file: path.clone(), offset, after: None, expected, found };
            LogError::Corrupt(Box::new(damage))
        };
        if size < SECTOR_BYTES as u64 {
            return Err(damage(
                size,
                "a segment header".to_owned(),
                format!("the end of the file at {size} bytes"),
            ));
        }
        let mut sector = [0; SECTOR_BYTES];
        file.read_at(&mut sector, 0).map_err(doing)?;
        let Some(bytes) = segment::read_header(&sector, index) else {
            return Err(damage(0, format!("the header of segment {index}"), "something else".to_owned()));
        };
        if bytes != size {
            return Err(damage(
                size.min(bytes),
                format!("a file of {bytes} bytes, as its header says"),
                format!("one of {size} bytes"),
            ));
        }
        let sectors = u32::try_from(bytes / SECTOR_BYTES as u64)
            .map_err(|_| damage(0, "a segment of less than 2 TiB".to_owned(), format!("{bytes} bytes")))?;
        Ok(SegmentFile { index, sectors, file, path })
    }

    /// Its entry in the table of live segments.
    pub(crate) fn live(&self, chain: Chain) -> Live {
        Live { index: self.index, bytes: u64::from(self.sectors) * SECTOR_BYTES as u64, chain }
    }

    /// A damage in this segment.
    pub(crate) fn damage(
        &self,
        sector: u32,
        after: Seq,
        expected: impl Into<String>,
        found: impl Into<String>,
    ) -> LogError {
        LogError::Corrupt(Box::new(Damage {
            file: self.path.clone(),
            offset: u64::from(sector) * SECTOR_BYTES as u64,
            after: Some(after),
            expected: expected.into(),
            found: found.into(),
        }))
    }

    /// Writes `sectors` at sector `from`. Nothing is durable before [`SegmentFile::sync`].
    pub(crate) fn write(&self, from: u32, sectors: &[u8]) -> Result<(), LogError> {
        let offset = u64::from(from) * SECTOR_BYTES as u64;
        self.file
            .write_at(sectors, offset)
            .map_err(|error| LogError::io(format!("writing the end of {} again", self.path), error))
    }

    /// Overwrites sectors `from..to` with zeros. Nothing is durable before [`SegmentFile::sync`].
    pub(crate) fn blank(&self, from: u32, to: u32) -> Result<(), LogError> {
        let start = u64::from(from) * SECTOR_BYTES as u64;
        let bytes = u64::from(to - from) * SECTOR_BYTES as u64;
        write_zeros(self.file.as_ref(), start, bytes, || ()).map_err(|error| {
            LogError::io(format!("writing zeros behind the last block of {}", self.path), error)
        })
    }

    /// Makes what was written durable.
    pub(crate) fn sync(&self) -> Result<(), LogError> {
        self.file.sync_data().map_err(|error| LogError::io(format!("syncing {}", self.path), error))
    }
}

/// Creates segment `index`, full of zeros and ready to become the current one. It gets its name only when it is whole
/// and durable; a segment of that name (a blank one of another size) is replaced. `rest` is called between two pieces of the work.
pub(crate) fn create_segment(
    storage: &dyn Storage,
    index: u64,
    bytes: u64,
    rest: impl FnMut(),
) -> io::Result<SegmentFile> {
    let name = segment::name_of(index);
    let file = create_whole(storage, &name, |file| {
        file.write_at(&segment::header(index, bytes), 0)?;
        write_zeros(file, SECTOR_BYTES as u64, bytes - SECTOR_BYTES as u64, rest)
    })?;
    let sectors = u32::try_from(bytes / SECTOR_BYTES as u64).map_err(io::Error::other)?;
    Ok(SegmentFile { index, sectors, file, path: format!("{}/{name}", storage.describe()) })
}

/// Writes the manifest in one step: a crash leaves the old one or the new one.
pub(crate) fn write_manifest(storage: &dyn Storage, manifest: &Manifest) -> Result<(), LogError> {
    create_whole(storage, MANIFEST, |file| file.write_at(&manifest.encode(), 0))
        .map(drop)
        .map_err(|error| LogError::io(format!("writing {}/{MANIFEST}", storage.describe()), error))
}

/// Reads the manifest; `None` if there is none.
pub(crate) fn read_manifest(storage: &dyn Storage) -> Result<Option<Manifest>, LogError> {
    let path = format!("{}/{MANIFEST}", storage.describe());
    let doing = |error| LogError::io(format!("reading {path}"), error);
    let file = match storage.open(MANIFEST, false) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        opened => opened.map_err(doing)?,
    };
    let mut sector = [0; SECTOR_BYTES];
    let whole = file.size().map_err(doing)? == SECTOR_BYTES as u64;
    if whole {
        file.read_at(&mut sector, 0).map_err(doing)?;
    }
    match Manifest::decode(&sector) {
        Some(manifest) => Ok(Some(manifest)),
        None => Err(LogError::Corrupt(Box::new(Damage {
            file: path,
            offset: 0,
            after: None,
            expected: "a manifest of 512 bytes".to_owned(),
            found: "something else".to_owned(),
        }))),
    }
}

/// Creates a file under a temporary name, lets `fill` write it, and gives it its name once it is durable.
pub(crate) fn create_whole(
    storage: &dyn Storage,
    name: &str,
    fill: impl FnOnce(&dyn StorageFile) -> io::Result<()>,
) -> io::Result<Arc<dyn StorageFile>> {
    let temporary = format!("{name}{TEMPORARY}");
    let created = match storage.create(&temporary) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            storage.remove(&temporary)?;
            storage.create(&temporary)
        }
        created => created,
    };
    let file = created?;
    let named =
        fill(file.as_ref()).and_then(|()| file.sync_all()).and_then(|()| storage.rename(&temporary, name));
    if let Err(error) = named {
        // Gives the space back; if even that fails, opening the log removes what is left.
        let _ = storage.remove(&temporary);
        return Err(error);
    }
    storage.sync_dir()?;
    Ok(file)
}

fn write_zeros(file: &dyn StorageFile, start: u64, bytes: u64, mut rest: impl FnMut()) -> io::Result<()> {
    let zeros = vec![0; CHUNK_BYTES.min(bytes as usize)];
    let mut done = 0;
    while done < bytes {
        let part = zeros.len().min((bytes - done) as usize);
        file.write_at(&zeros[..part], start + done)?;
        done += part as u64;
        if done < bytes {
            file.sync_data()?;
            rest();
        }
    }
    Ok(())
}
