//! The file system of this machine.

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::storage::{LockGuard, LockRefused, Storage, StorageFile};

const FILE_MODE: u32 = 0o600;
const DIRECTORY_MODE: u32 = 0o700;

/// A directory on disk.
#[derive(Debug, Clone)]
pub struct RealStorage {
    root: PathBuf,
}

impl RealStorage {
    /// The directory `root`, created with mode 0700 (missing parents too) and made durable in its parent.
    pub fn create(root: impl Into<PathBuf>) -> io::Result<RealStorage> {
        let root = root.into();
        let missing: Vec<&Path> =
            root.ancestors().take_while(|path| !path.as_os_str().is_empty() && !path.exists()).collect();
        DirBuilder::new().recursive(true).mode(DIRECTORY_MODE).create(&root)?;
        // Otherwise a loss of power could take a whole directory although everything in it was synced.
        for parent in missing.iter().filter_map(|path| path.parent()) {
            let parent = if parent.as_os_str().is_empty() { Path::new(".") } else { parent };
            File::open(parent)?.sync_all()?;
        }
        Ok(RealStorage { root })
    }

    /// The directory `root`, which must exist: for reading only.
    pub fn existing(root: impl Into<PathBuf>) -> io::Result<RealStorage> {
        let root = root.into();
        if !fs::metadata(&root)?.is_dir() {
            return Err(io::Error::new(
                io::ErrorKind::NotADirectory,
                format!("{} is no directory", root.display()),
            ));
        }
        Ok(RealStorage { root })
    }
}

impl Storage for RealStorage {
    fn describe(&self) -> String {
        self.root.display().to_string()
    }

    fn lock(&self, name: &str) -> Result<LockGuard, LockRefused> {
        let path = self.root.join(name);
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(FILE_MODE)
            .open(path)
            .map_err(LockRefused::Io)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut by = String::new();
                // Only for the message; the file may be empty for a moment or hold anything.
                let known = (&file).take(32).read_to_string(&mut by).is_ok() && !by.trim().is_empty();
                let by = if known { by.trim().to_owned() } else { "(unknown id)".to_owned() };
                return Err(LockRefused::Held { by });
            }
            Err(TryLockError::Error(error)) => return Err(LockRefused::Io(error)),
        }
        file.set_len(0).map_err(LockRefused::Io)?;
        writeln!(file, "{}", std::process::id()).map_err(LockRefused::Io)?;
        Ok(Box::new(file))
    }

    fn list(&self) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(&self.root)? {
            // A name that is not UTF-8 cannot be one of ours.
            if let Ok(name) = entry?.file_name().into_string() {
                names.push(name);
            }
        }
        Ok(names)
    }

    fn create(&self, name: &str) -> io::Result<Arc<dyn StorageFile>> {
        let path = self.root.join(name);
        let file = OpenOptions::new().read(true).write(true).create_new(true).mode(FILE_MODE).open(path)?;
        Ok(Arc::new(RealFile(file)))
    }

    fn open(&self, name: &str, writable: bool) -> io::Result<Arc<dyn StorageFile>> {
        let file = OpenOptions::new().read(true).write(writable).open(self.root.join(name))?;
        Ok(Arc::new(RealFile(file)))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        fs::rename(self.root.join(from), self.root.join(to))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        fs::remove_file(self.root.join(name))
    }

    fn sync_dir(&self) -> io::Result<()> {
        File::open(&self.root)?.sync_all()
    }

    fn directory(&self, path: &Path, create: bool) -> io::Result<Arc<dyn Storage>> {
        let storage = if create { RealStorage::create(path) } else { RealStorage::existing(path) };
        Ok(Arc::new(storage?))
    }
}

struct RealFile(File);

impl StorageFile for RealFile {
    fn size(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }

    fn read_at(&self, into: &mut [u8], offset: u64) -> io::Result<()> {
        self.0.read_exact_at(into, offset)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.0.write_all_at(bytes, offset)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.0.sync_data()
    }

    fn sync_all(&self) -> io::Result<()> {
        self.0.sync_all()
    }
}
