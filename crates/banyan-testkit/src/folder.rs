//! A server's own folder, removed with the server.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use crate::{Error, User};

/// A fresh folder that the server's user can reach and that disappears on drop.
#[derive(Debug)]
pub(crate) struct Folder(TempDir);

impl Folder {
    /// Makes one inside `parent`, or in the system's temporary folder. It is open to other users' reading: the
    /// servers hold test data only, and a server that is not root must walk through it.
    pub(crate) fn new(name: &str, parent: Option<&Path>) -> Result<Self, Error> {
        let parent = parent.map_or_else(std::env::temp_dir, Path::to_owned);
        let doing = || format!("making a folder for {name} in {}", parent.display());
        fs::create_dir_all(&parent).map_err(|e| Error::io(doing(), e))?;
        let folder = tempfile::Builder::new()
            .prefix(&format!("banyan-{name}-"))
            .permissions(fs::Permissions::from_mode(0o755))
            .tempdir_in(&parent)
            .map_err(|e| Error::io(doing(), e))?;
        // The process's umask may have narrowed it.
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755))
            .map_err(|e| Error::io(doing(), e))?;
        Ok(Self(folder))
    }

    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }

    pub(crate) fn join(&self, name: &str) -> PathBuf {
        self.path().join(name)
    }

    /// A folder inside that belongs to `user`.
    pub(crate) fn owned(&self, name: &str, user: Option<&User>) -> Result<PathBuf, Error> {
        let path = self.join(name);
        fs::create_dir(&path).map_err(|e| Error::io(format!("making {}", path.display()), e))?;
        if let Some(user) = user {
            user.own(&path)?;
        }
        Ok(path)
    }

    /// Writes a file inside.
    pub(crate) fn write(&self, name: &str, text: &str) -> Result<PathBuf, Error> {
        let path = self.join(name);
        fs::write(&path, text).map_err(|e| Error::io(format!("writing {}", path.display()), e))?;
        Ok(path)
    }
}
