//! The hostile disk: a directory in memory that loses, tears and refuses as real ones do.
//!
//! Written bytes are seen at once and survive a loss of power only after a sync; until then each sector of 512 bytes may
//! be old or new. After a failed sync the bytes are still seen, and are never written unless they are written again, although
//! a later sync succeeds: what Linux does with pages whose write-back failed. It may drop such pages at any moment, and show what
//! is on disk: here when a process ends, and when a file is opened for writing. Names are the same until their directory is
//! synced. The machine can stop at any call: that call happens,
//! happens in part, or does not, and every later one fails. Every changing call goes into a hash, so that two runs can be
//! compared byte by byte.

use crate::prng::Prng;
use banyan_log::{LockGuard, LockRefused, Storage, StorageFile};
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

const SECTOR: usize = 512;

/// A directory of the disk; clones share it. It outlives the processes that use it.
#[derive(Clone)]
pub struct Disk {
    inner: Arc<Mutex<Inner>>,
    /// In front of every name: nothing for the log's own directory.
    directory: String,
}

/// What a loss of power does to whatever was not synced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loss {
    /// All of it is gone.
    Everything,
    /// All of it happened to be written.
    Nothing,
    /// Each sector and each name for itself.
    Torn,
}

/// Ways in which a disk is worse than it says: planted bugs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lies {
    /// Syncs of log segments in use succeed and do nothing.
    pub ignores_segment_syncs: bool,
    /// Syncs of the directory succeed and do nothing.
    pub ignores_directory_syncs: bool,
    /// Syncs that fail are said to have succeeded.
    pub hides_failed_syncs: bool,
}

struct Inner {
    files: BTreeMap<u64, File>,
    /// Directories beside the log's own, each with the `/` at its end. They are there once they are made.
    directories: BTreeSet<String>,
    names: BTreeMap<String, u64>,
    durable_names: BTreeMap<String, u64>,
    next_file: u64,
    locked: bool,
    space: Option<u64>,
    dice: Prng,
    calls_until_stop: Option<u64>,
    syncs_until_failure: Option<u64>,
    directory_syncs_until_failure: Option<u64>,
    writes_until_failure: Option<u64>,
    stopped: bool,
    lies: Lies,
    /// Files whose sync was made to fail, since the list was last taken.
    failed: Vec<String>,
    hash: blake3::Hasher,
    calls: u64,
}

#[derive(Clone, Default)]
struct File {
    bytes: Vec<u8>,
    durable_len: usize,
    /// For every sector that is not durable: what is, and whether the kernel has given up writing it.
    pending: BTreeMap<usize, Pending>,
}

#[derive(Clone)]
struct Pending {
    durable: [u8; SECTOR],
    given_up: bool,
}

/// How much of a call happens.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Happens {
    Wholly,
    /// The machine stops in the middle of it.
    InPart,
    /// The machine stops before it.
    NotAtAll,
}

impl Disk {
    /// An empty disk whose chance comes from `dice`.
    #[must_use]
    pub fn new(dice: Prng, lies: Lies) -> Self {
        let inner = Inner {
            files: BTreeMap::new(),
            directories: BTreeSet::new(),
            names: BTreeMap::new(),
            durable_names: BTreeMap::new(),
            next_file: 0,
            locked: false,
            space: None,
            dice,
            calls_until_stop: None,
            syncs_until_failure: None,
            directory_syncs_until_failure: None,
            writes_until_failure: None,
            stopped: false,
            lies,
            failed: Vec::new(),
            hash: blake3::Hasher::new(),
            calls: 0,
        };
        Self { inner: Arc::new(Mutex::new(inner)), directory: String::new() }
    }

    /// Stops the machine at the `calls`-th changing call from now.
    pub fn stop_after(&self, calls: u64) {
        self.inner().calls_until_stop = Some(calls);
    }

    /// Lets the `syncs`-th sync of a file from now fail.
    pub fn fail_sync_after(&self, syncs: u64) {
        self.inner().syncs_until_failure = Some(syncs);
    }

    /// Lets the `syncs`-th sync of a directory from now fail.
    pub fn fail_directory_sync_after(&self, syncs: u64) {
        self.inner().directory_syncs_until_failure = Some(syncs);
    }

    /// Lets the `writes`-th write from now fail, part of it written.
    pub fn fail_write_after(&self, writes: u64) {
        self.inner().writes_until_failure = Some(writes);
    }

    /// Limits how many more bytes files can grow by; none lifts the limit.
    pub fn set_space(&self, bytes: Option<u64>) {
        self.inner().space = bytes;
    }

    /// Whether there is a limit on space.
    #[must_use]
    pub fn is_tight(&self) -> bool {
        self.inner().space.is_some()
    }

    /// Whether the machine has stopped.
    #[must_use]
    pub fn has_stopped(&self) -> bool {
        self.inner().stopped
    }

    /// Names of the files whose sync failed since this was last asked.
    #[must_use]
    pub fn take_failed_syncs(&self) -> Vec<String> {
        std::mem::take(&mut self.inner().failed)
    }

    /// How many changing calls there were.
    #[must_use]
    pub fn calls(&self) -> u64 {
        self.inner().calls
    }

    /// The hash of every changing call so far.
    #[must_use]
    pub fn hash(&self) -> blake3::Hash {
        self.inner().hash.finalize()
    }

    /// The process died, and only it: what it wrote is still seen, and still not durable. Armed faults are lifted.
    pub fn kill(&self) {
        let mut guard = self.inner();
        let inner = &mut *guard;
        inner.files.values_mut().for_each(|file| file.evict(&mut inner.dice));
        inner.locked = false;
        inner.lift_faults();
    }

    /// The power was lost and is back. Armed faults are lifted.
    pub fn lose_power(&self, loss: Loss) {
        let mut guard = self.inner();
        let inner = &mut *guard;
        for file in inner.files.values_mut() {
            file.lose(loss, &mut inner.dice);
        }
        let seen = std::mem::take(&mut inner.names);
        let mut left = inner.durable_names.clone();
        let changed: Vec<String> = seen.keys().chain(left.keys()).cloned().collect();
        for name in changed {
            if seen.get(&name) != left.get(&name) && loss.spares(&mut inner.dice) {
                match seen.get(&name) {
                    Some(file) => left.insert(name, *file),
                    None => left.remove(&name),
                };
            }
        }
        inner.files.retain(|number, _| left.values().any(|file| file == number));
        inner.names = left.clone();
        inner.durable_names = left;
        inner.locked = false;
        inner.lift_faults();
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The name on the disk of a name in this directory.
    fn path(&self, name: &str) -> String {
        format!("{}{name}", self.directory)
    }
}

/// The name in `directory` of a name on the disk; none if it is in another one.
fn name_in<'a>(directory: &str, path: &'a str) -> Option<&'a str> {
    path.strip_prefix(directory).filter(|name| !name.contains('/'))
}

impl Loss {
    fn spares(self, dice: &mut Prng) -> bool {
        match self {
            Self::Everything => false,
            Self::Nothing => true,
            Self::Torn => dice.chance(50),
        }
    }
}

impl Inner {
    fn lift_faults(&mut self) {
        self.calls_until_stop = None;
        self.syncs_until_failure = None;
        self.directory_syncs_until_failure = None;
        self.writes_until_failure = None;
        self.stopped = false;
        self.failed.clear();
    }

    /// Begins a changing call, and hashes it.
    fn call(&mut self, what: &str, name: &str, bytes: &[u8]) -> io::Result<Happens> {
        self.running()?;
        self.calls += 1;
        for part in [what.as_bytes(), name.as_bytes(), &(bytes.len() as u64).to_le_bytes(), bytes] {
            self.hash.update(part);
        }
        match &mut self.calls_until_stop {
            Some(0) => {
                self.stopped = true;
                let happens = [Happens::Wholly, Happens::InPart, Happens::NotAtAll];
                Ok(*self.dice.pick(&happens).expect("there are three"))
            }
            Some(left) => {
                *left -= 1;
                Ok(Happens::Wholly)
            }
            None => Ok(Happens::Wholly),
        }
    }

    fn running(&self) -> io::Result<()> {
        if self.stopped { Err(stopped()) } else { Ok(()) }
    }

    /// Ends a changing call: it fails if the machine stopped meanwhile, whatever it did.
    fn returns(&self) -> io::Result<()> {
        self.running()
    }

    fn take_space(&mut self, bytes: u64) -> io::Result<()> {
        if let Some(space) = &mut self.space {
            *space = space.checked_sub(bytes).ok_or(io::ErrorKind::StorageFull)?;
        }
        Ok(())
    }

    fn name_of(&self, number: u64) -> String {
        self.names
            .iter()
            .find(|(_, file)| **file == number)
            .map_or_else(String::new, |(name, _)| name.clone())
    }

    fn file(&mut self, number: u64) -> io::Result<&mut File> {
        self.files.get_mut(&number).ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}

fn stopped() -> io::Error {
    io::Error::other("the simulated machine has stopped")
}

/// Counts down to a failure; true when it is due.
fn is_due(left: &mut Option<u64>) -> bool {
    match left {
        Some(0) => {
            *left = None;
            true
        }
        Some(more) => {
            *more -= 1;
            false
        }
        None => false,
    }
}

impl File {
    fn write(&mut self, bytes: &[u8], offset: usize) {
        let end = offset + bytes.len();
        if self.bytes.len() < end {
            self.bytes.resize(end, 0);
        }
        for sector in offset / SECTOR..end.div_ceil(SECTOR) {
            let start = sector * SECTOR;
            let mut durable = [0; SECTOR];
            let here = &self.bytes[start..(start + SECTOR).min(self.bytes.len())];
            durable[..here.len()].copy_from_slice(here);
            // Written again, the kernel will try again.
            self.pending.entry(sector).or_insert(Pending { durable, given_up: false }).given_up = false;
        }
        self.bytes[offset..end].copy_from_slice(bytes);
    }

    /// Writes some of the sectors, as a call does that is cut short.
    fn write_in_part(&mut self, bytes: &[u8], offset: usize, dice: &mut Prng) {
        for (i, sector) in bytes.chunks(SECTOR).enumerate() {
            if dice.chance(50) {
                self.write(sector, offset + i * SECTOR);
            }
        }
    }

    fn sync(&mut self) {
        self.pending.retain(|_, pending| pending.given_up);
        self.durable_len = self.bytes.len();
    }

    /// The kernel drops pages that it has given up writing, each or not: what is on disk is seen again.
    fn evict(&mut self, dice: &mut Prng) {
        let bytes = &mut self.bytes;
        self.pending.retain(|sector, pending| {
            let stays = !pending.given_up || dice.chance(50);
            if !stays {
                let start = sector * SECTOR;
                let end = (start + SECTOR).min(bytes.len());
                bytes[start..end].copy_from_slice(&pending.durable[..end - start]);
            }
            stays
        });
    }

    fn lose(&mut self, loss: Loss, dice: &mut Prng) {
        for (sector, pending) in std::mem::take(&mut self.pending) {
            if pending.given_up || !loss.spares(dice) {
                let start = sector * SECTOR;
                let end = (start + SECTOR).min(self.bytes.len());
                self.bytes[start..end].copy_from_slice(&pending.durable[..end - start]);
            }
        }
        if self.bytes.len() > self.durable_len && !loss.spares(dice) {
            self.bytes.truncate(self.durable_len);
        }
        self.durable_len = self.bytes.len();
    }
}

impl Storage for Disk {
    fn describe(&self) -> String {
        format!("the simulated disk/{}", self.directory)
    }

    fn lock(&self, _name: &str) -> Result<LockGuard, LockRefused> {
        let mut inner = self.inner();
        inner.running().map_err(LockRefused::Io)?;
        if inner.locked {
            return Err(LockRefused::Held { by: "a simulated process".into() });
        }
        inner.locked = true;
        Ok(Box::new(Lock(Arc::clone(&self.inner))))
    }

    fn list(&self) -> io::Result<Vec<String>> {
        let inner = self.inner();
        inner.running()?;
        Ok(inner.names.keys().filter_map(|path| name_in(&self.directory, path)).map(str::to_owned).collect())
    }

    fn create(&self, name: &str) -> io::Result<Arc<dyn StorageFile>> {
        let path = self.path(name);
        let mut inner = self.inner();
        if inner.names.contains_key(&path) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let happens = inner.call("create", &path, &[])?;
        let number = inner.next_file;
        if happens != Happens::NotAtAll {
            inner.next_file += 1;
            inner.files.insert(number, File::default());
            inner.names.insert(path, number);
        }
        inner.returns()?;
        Ok(Arc::new(Handle { inner: Arc::clone(&self.inner), number }))
    }

    fn open(&self, name: &str, writable: bool) -> io::Result<Arc<dyn StorageFile>> {
        let mut guard = self.inner();
        let inner = &mut *guard;
        inner.running()?;
        let number = *inner.names.get(&self.path(name)).ok_or(io::ErrorKind::NotFound)?;
        if writable && let Some(file) = inner.files.get_mut(&number) {
            file.evict(&mut inner.dice);
        }
        Ok(Arc::new(Handle { inner: Arc::clone(&self.inner), number }))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let (from, to) = (self.path(from), self.path(to));
        let mut inner = self.inner();
        let happens = inner.call("rename", &from, to.as_bytes())?;
        if happens != Happens::NotAtAll {
            let file = inner.names.remove(&from).ok_or(io::ErrorKind::NotFound)?;
            inner.names.insert(to, file);
        }
        inner.returns()
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let path = self.path(name);
        let mut inner = self.inner();
        let happens = inner.call("remove", &path, &[])?;
        if happens != Happens::NotAtAll {
            let number = inner.names.remove(&path).ok_or(io::ErrorKind::NotFound)?;
            let freed = inner.files.get(&number).map_or(0, |file| file.bytes.len() as u64);
            if let Some(space) = &mut inner.space {
                *space += freed;
            }
        }
        inner.returns()
    }

    fn sync_dir(&self) -> io::Result<()> {
        let mut guard = self.inner();
        let inner = &mut *guard;
        let happens = inner.call("sync-directory", &self.directory, &[])?;
        if is_due(&mut inner.directory_syncs_until_failure) {
            return Err(io::Error::other("the simulated disk failed to sync a directory"));
        }
        if happens != Happens::NotAtAll && !inner.lies.ignores_directory_syncs {
            let here = |path: &String| name_in(&self.directory, path).is_some();
            inner.durable_names.retain(|path, _| !here(path));
            let seen = inner.names.iter().filter(|(path, _)| here(path));
            inner.durable_names.extend(seen.map(|(path, file)| (path.clone(), *file)));
        }
        inner.returns()
    }

    fn directory(&self, path: &Path, create: bool) -> io::Result<Arc<dyn Storage>> {
        let directory = format!("{}/", path.display());
        let mut inner = self.inner();
        inner.running()?;
        if create {
            inner.directories.insert(directory.clone());
        } else if !inner.directories.contains(&directory) {
            return Err(io::ErrorKind::NotFound.into());
        }
        Ok(Arc::new(Self { inner: Arc::clone(&self.inner), directory }))
    }
}

struct Lock(Arc<Mutex<Inner>>);

impl Drop for Lock {
    fn drop(&mut self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).locked = false;
    }
}

struct Handle {
    inner: Arc<Mutex<Inner>>,
    number: u64,
}

impl Handle {
    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl StorageFile for Handle {
    fn size(&self) -> io::Result<u64> {
        let mut inner = self.inner();
        inner.running()?;
        Ok(inner.file(self.number)?.bytes.len() as u64)
    }

    fn read_at(&self, into: &mut [u8], offset: u64) -> io::Result<()> {
        let mut inner = self.inner();
        inner.running()?;
        let bytes = &inner.file(self.number)?.bytes;
        let from = usize::try_from(offset).map_err(|_| io::ErrorKind::UnexpectedEof)?;
        let part = from.checked_add(into.len()).and_then(|end| bytes.get(from..end));
        into.copy_from_slice(part.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let mut guard = self.inner();
        let inner = &mut *guard;
        let at = usize::try_from(offset).map_err(|_| io::ErrorKind::FileTooLarge)?;
        let name = format!("{}@{offset}", inner.name_of(self.number));
        let happens = inner.call("write", &name, bytes)?;
        let fails = is_due(&mut inner.writes_until_failure);
        let size = inner.file(self.number)?.bytes.len() as u64;
        inner.take_space((offset + bytes.len() as u64).saturating_sub(size))?;
        let file = inner.files.get_mut(&self.number).ok_or(io::ErrorKind::NotFound)?;
        match happens {
            Happens::Wholly if !fails => file.write(bytes, at),
            Happens::Wholly | Happens::InPart => file.write_in_part(bytes, at, &mut inner.dice),
            Happens::NotAtAll => {}
        }
        if fails {
            return Err(io::Error::other("the simulated disk failed to write"));
        }
        inner.returns()
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut guard = self.inner();
        let inner = &mut *guard;
        let name = inner.name_of(self.number);
        let happens = inner.call("sync", &name, &[])?;
        let fails = is_due(&mut inner.syncs_until_failure);
        let lies = inner.lies;
        let file = inner.files.get_mut(&self.number).ok_or(io::ErrorKind::NotFound)?;
        if fails {
            file.pending.values_mut().for_each(|pending| pending.given_up = true);
            if lies.hides_failed_syncs {
                return Ok(());
            }
            inner.failed.push(name);
            return Err(io::Error::other("the simulated disk failed to sync"));
        }
        if happens != Happens::NotAtAll && !(lies.ignores_segment_syncs && name.ends_with(".seg")) {
            file.sync();
        }
        inner.returns()
    }

    fn sync_all(&self) -> io::Result<()> {
        self.sync_data()
    }
}
