//! A directory in memory that can lose power, fill up and fail to sync.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::storage::{LockGuard, LockRefused, Storage, StorageFile};

const SECTOR_BYTES: usize = 512;

/// Files in memory. Clones share them; [`MemoryStorage::crash`] makes an independent survivor.
#[derive(Clone)]
pub struct MemoryStorage {
    disk: Arc<Mutex<Disk>>,
    prefix: String,
}

/// Everything that outlives a handle. `names` is what a running process sees, `durable_names` what a crash leaves for
/// certain; files are reached by number so that a name can move.
#[derive(Clone, Default)]
struct Disk {
    files: BTreeMap<u64, Content>,
    names: BTreeMap<String, u64>,
    durable_names: BTreeMap<String, u64>,
    next_file: u64,
    directories: BTreeSet<String>,
    locked: bool,
    space: Option<u64>,
    syncs_fail: bool,
    writes_fail: bool,
    calls: u64,
    calls_max: Option<u64>,
}

/// A file's bytes as seen now, and for every sector that is not durable yet what is.
#[derive(Clone, Default)]
struct Content {
    bytes: Vec<u8>,
    durable_bytes: usize,
    before: BTreeMap<usize, Durable>,
}

/// What a sector is on disk while it is seen otherwise.
#[derive(Clone)]
struct Durable {
    bytes: [u8; SECTOR_BYTES],
    /// Whether a sync of it has failed: like Linux, the disk shows it and does not write it any more.
    given_up: bool,
}

impl MemoryStorage {
    /// An empty directory without limits.
    pub fn new() -> MemoryStorage {
        MemoryStorage { disk: Arc::default(), prefix: String::new() }
    }

    /// What is left after a loss of power: every sector that was not synced is there or not, every name that was not
    /// synced has changed or not, as `seed` has it. Nobody holds the lock, and all faults are lifted.
    pub fn crash(&self, seed: u64) -> MemoryStorage {
        let mut dice = Dice(seed);
        let mut disk = self.disk().clone();
        for content in disk.files.values_mut() {
            content.lose_unsynced(&mut dice);
        }
        let seen = std::mem::take(&mut disk.names);
        let mut left = disk.durable_names.clone();
        let changed: Vec<String> = seen.keys().chain(left.keys()).cloned().collect();
        for name in changed {
            if seen.get(&name) != left.get(&name) && dice.flip() {
                match seen.get(&name) {
                    Some(file) => left.insert(name, *file),
                    None => left.remove(&name),
                };
            }
        }
        disk.names = left.clone();
        disk.durable_names = left;
        MemoryStorage { disk: Arc::new(Mutex::new(disk.without_faults())), prefix: self.prefix.clone() }
    }

    /// What is left after only the process died: everything it wrote, synced or not.
    pub fn kill(&self) -> MemoryStorage {
        let disk = self.disk().clone().without_faults();
        MemoryStorage { disk: Arc::new(Mutex::new(disk)), prefix: self.prefix.clone() }
    }

    /// Limits how many more bytes files can grow by; removing a file gives its bytes back. `None` lifts the limit.
    pub fn set_space(&self, bytes: Option<u64>) {
        self.disk().space = bytes;
    }

    /// Lets every sync of a file or directory fail, or succeed again. Bytes whose sync failed are seen, and never durable
    /// unless they are written again, although a later sync succeeds: as Linux has it.
    pub fn set_syncs_fail(&self, fail: bool) {
        self.disk().syncs_fail = fail;
    }

    /// Lets every write fail, or succeed again.
    pub fn set_writes_fail(&self, fail: bool) {
        self.disk().writes_fail = fail;
    }

    /// Lets only the next `calls` changing calls (create, write, sync, rename, remove) happen; all later ones fail.
    /// With [`MemoryStorage::crash`] this is a crash at exactly that point.
    pub fn stop_after(&self, calls: u64) {
        let mut disk = self.disk();
        disk.calls_max = Some(disk.calls + calls);
    }

    /// How many changing calls there have been.
    pub fn calls(&self) -> u64 {
        self.disk().calls
    }

    /// A copy of a file's bytes as a running process sees them.
    pub fn bytes(&self, name: &str) -> Option<Vec<u8>> {
        let disk = self.disk();
        disk.names.get(&self.path(name)).map(|file| disk.files[file].bytes.clone())
    }

    /// Puts durable bytes in place of a file, or creates it: how tests damage things.
    pub fn replace(&self, name: &str, bytes: Vec<u8>) {
        let path = self.path(name);
        let mut disk = self.disk();
        let file = disk.new_file();
        let durable_bytes = bytes.len();
        disk.files.insert(file, Content { bytes, durable_bytes, before: BTreeMap::new() });
        disk.names.insert(path.clone(), file);
        disk.durable_names.insert(path, file);
    }

    /// Changes one bit of a file durably. Flipping it again undoes that.
    pub fn flip_bit(&self, name: &str, bit: usize) {
        let path = self.path(name);
        let mut disk = self.disk();
        let file = disk.names.get(&path).copied();
        if let Some(content) = file.and_then(|file| disk.files.get_mut(&file)) {
            content.bytes[bit / 8] ^= 1 << (bit % 8);
        }
    }

    fn disk(&self) -> MutexGuard<'_, Disk> {
        self.disk.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn path(&self, name: &str) -> String {
        format!("{}{name}", self.prefix)
    }
}

impl Default for MemoryStorage {
    fn default() -> MemoryStorage {
        MemoryStorage::new()
    }
}

impl Disk {
    fn without_faults(mut self) -> Disk {
        self.locked = false;
        self.space = None;
        self.syncs_fail = false;
        self.writes_fail = false;
        self.calls_max = None;
        self
    }

    fn new_file(&mut self) -> u64 {
        self.next_file += 1;
        self.next_file
    }

    /// Counts a changing call, and refuses it once the world has stopped.
    fn call(&mut self) -> io::Result<()> {
        if self.calls_max.is_some_and(|max| self.calls >= max) {
            return Err(io::Error::other("the simulated machine has stopped"));
        }
        self.calls += 1;
        Ok(())
    }

    fn sync_call(&mut self) -> io::Result<()> {
        self.call()?;
        if self.syncs_fail { Err(io::Error::other("the simulated disk failed to sync")) } else { Ok(()) }
    }

    fn take_space(&mut self, bytes: u64) -> io::Result<()> {
        if let Some(space) = &mut self.space {
            *space = space.checked_sub(bytes).ok_or(io::ErrorKind::StorageFull)?;
        }
        Ok(())
    }
}

impl Content {
    fn write(&mut self, bytes: &[u8], offset: usize) {
        let end = offset + bytes.len();
        if self.bytes.len() < end {
            self.bytes.resize(end, 0);
        }
        for sector in offset / SECTOR_BYTES..end.div_ceil(SECTOR_BYTES) {
            let start = sector * SECTOR_BYTES;
            let mut old = [0; SECTOR_BYTES];
            let here = &self.bytes[start.min(self.bytes.len())..(start + SECTOR_BYTES).min(self.bytes.len())];
            old[..here.len()].copy_from_slice(here);
            // Written again, it is dirty again.
            self.before.entry(sector).or_insert(Durable { bytes: old, given_up: false }).given_up = false;
        }
        self.bytes[offset..end].copy_from_slice(bytes);
    }

    fn sync(&mut self) {
        self.before.retain(|_, durable| durable.given_up);
        self.durable_bytes = self.bytes.len();
    }

    fn lose_unsynced(&mut self, dice: &mut Dice) {
        for (sector, Durable { bytes: old, given_up }) in std::mem::take(&mut self.before) {
            if given_up || dice.flip() {
                let start = sector * SECTOR_BYTES;
                let end = (start + SECTOR_BYTES).min(self.bytes.len());
                self.bytes[start..end].copy_from_slice(&old[..end - start]);
            }
        }
        if self.bytes.len() > self.durable_bytes && dice.flip() {
            self.bytes.truncate(self.durable_bytes);
        }
        self.durable_bytes = self.bytes.len();
    }
}

impl Storage for MemoryStorage {
    fn describe(&self) -> String {
        format!("memory:{}", self.prefix)
    }

    fn lock(&self, _name: &str) -> Result<LockGuard, LockRefused> {
        let mut disk = self.disk();
        if disk.locked {
            return Err(LockRefused::Held { by: std::process::id().to_string() });
        }
        disk.locked = true;
        Ok(Box::new(MemoryLock(Arc::clone(&self.disk))))
    }

    fn list(&self) -> io::Result<Vec<String>> {
        let disk = self.disk();
        let names = disk.names.keys().filter_map(|path| path.strip_prefix(&self.prefix));
        Ok(names.filter(|name| !name.contains('/')).map(str::to_owned).collect())
    }

    fn create(&self, name: &str) -> io::Result<Arc<dyn StorageFile>> {
        let path = self.path(name);
        let mut disk = self.disk();
        disk.call()?;
        if disk.names.contains_key(&path) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let file = disk.new_file();
        disk.files.insert(file, Content::default());
        disk.names.insert(path, file);
        Ok(Arc::new(MemoryFile { disk: Arc::clone(&self.disk), file }))
    }

    fn open(&self, name: &str, _writable: bool) -> io::Result<Arc<dyn StorageFile>> {
        let file = self.disk().names.get(&self.path(name)).copied().ok_or(io::ErrorKind::NotFound)?;
        Ok(Arc::new(MemoryFile { disk: Arc::clone(&self.disk), file }))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut disk = self.disk();
        disk.call()?;
        let file = disk.names.remove(&self.path(from)).ok_or(io::ErrorKind::NotFound)?;
        disk.names.insert(self.path(to), file);
        Ok(())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let mut disk = self.disk();
        disk.call()?;
        let file = disk.names.remove(&self.path(name)).ok_or(io::ErrorKind::NotFound)?;
        let bytes = disk.files.get(&file).map_or(0, |content| content.bytes.len() as u64);
        if let Some(space) = &mut disk.space {
            *space += bytes;
        }
        Ok(())
    }

    fn sync_dir(&self) -> io::Result<()> {
        let mut disk = self.disk();
        disk.sync_call()?;
        let here = |path: &String| path.strip_prefix(&self.prefix).is_some_and(|name| !name.contains('/'));
        disk.durable_names.retain(|path, _| !here(path));
        let seen: Vec<(String, u64)> = disk
            .names
            .iter()
            .filter(|(path, _)| here(path))
            .map(|(path, file)| (path.clone(), *file))
            .collect();
        disk.durable_names.extend(seen);
        Ok(())
    }

    fn directory(&self, path: &Path, create: bool) -> io::Result<Arc<dyn Storage>> {
        let prefix = format!("{}/", path.display());
        let mut disk = self.disk();
        if create {
            disk.directories.insert(prefix.clone());
        } else if !disk.directories.contains(&prefix) {
            return Err(io::ErrorKind::NotFound.into());
        }
        drop(disk);
        Ok(Arc::new(MemoryStorage { disk: Arc::clone(&self.disk), prefix }))
    }
}

struct MemoryFile {
    disk: Arc<Mutex<Disk>>,
    file: u64,
}

impl MemoryFile {
    fn with<T>(&self, use_it: impl FnOnce(&mut Disk, u64) -> io::Result<T>) -> io::Result<T> {
        use_it(&mut self.disk.lock().unwrap_or_else(PoisonError::into_inner), self.file)
    }
}

fn content(disk: &mut Disk, file: u64) -> io::Result<&mut Content> {
    disk.files.get_mut(&file).ok_or_else(|| io::ErrorKind::NotFound.into())
}

impl StorageFile for MemoryFile {
    fn size(&self) -> io::Result<u64> {
        self.with(|disk, file| Ok(content(disk, file)?.bytes.len() as u64))
    }

    fn read_at(&self, into: &mut [u8], offset: u64) -> io::Result<()> {
        self.with(|disk, file| {
            let bytes = &content(disk, file)?.bytes;
            let from = usize::try_from(offset).map_err(|_| io::ErrorKind::UnexpectedEof)?;
            let part = from.checked_add(into.len()).and_then(|end| bytes.get(from..end));
            into.copy_from_slice(part.ok_or(io::ErrorKind::UnexpectedEof)?);
            Ok(())
        })
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.with(|disk, file| {
            disk.call()?;
            if disk.writes_fail {
                return Err(io::Error::other("the simulated disk failed to write"));
            }
            let size = content(disk, file)?.bytes.len() as u64;
            disk.take_space((offset + bytes.len() as u64).saturating_sub(size))?;
            content(disk, file)?.write(bytes, offset as usize);
            Ok(())
        })
    }

    fn sync_data(&self) -> io::Result<()> {
        self.with(|disk, file| {
            let synced = disk.sync_call();
            let fails = disk.syncs_fail;
            let content = content(disk, file)?;
            match &synced {
                Ok(()) => content.sync(),
                Err(_) if fails => content.before.values_mut().for_each(|durable| durable.given_up = true),
                Err(_) => {}
            }
            synced
        })
    }

    fn sync_all(&self) -> io::Result<()> {
        self.sync_data()
    }
}

struct MemoryLock(Arc<Mutex<Disk>>);

impl Drop for MemoryLock {
    fn drop(&mut self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).locked = false;
    }
}

/// SplitMix64: enough to choose sectors by.
struct Dice(u64);

impl Dice {
    fn flip(&mut self) -> bool {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) & 1 == 1
    }
}
