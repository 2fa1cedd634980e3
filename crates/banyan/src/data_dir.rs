//! Where everything is under the data directory.

use crate::exit::Failure;
use std::fs;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

/// A data directory: `log/`, `snapshots/`, `record.sqlite`, `keys.json`, `operator.key`, `gateway.key`, `shop.key`.
#[derive(Clone, Debug)]
pub(crate) struct DataDir {
    root: PathBuf,
}

impl DataDir {
    /// The directory at `root`, created with mode 0700 if it is not there.
    pub(crate) fn create(root: &Path) -> Result<Self, Failure> {
        let created = fs::DirBuilder::new().recursive(true).mode(0o700).create(root);
        created.map_err(|error| Failure::environment(format!("creating {}: {error}", root.display())))?;
        Ok(Self { root: root.to_owned() })
    }

    /// The directory at `root`, which must hold a store.
    pub(crate) fn existing(root: &Path) -> Result<Self, Failure> {
        let dir = Self { root: root.to_owned() };
        if dir.log().is_dir() {
            return Ok(dir);
        }
        Err(Failure::usage(format!(
            "there is no store in {}: it has no log directory. Name the data directory with --data",
            root.display()
        )))
    }

    /// The directory at `root`, whatever is there.
    pub(crate) fn at(root: &Path) -> Self {
        Self { root: root.to_owned() }
    }

    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    pub(crate) fn log(&self) -> PathBuf {
        self.root.join("log")
    }

    pub(crate) fn snapshots(&self) -> PathBuf {
        self.root.join("snapshots")
    }

    pub(crate) fn keys(&self) -> PathBuf {
        self.root.join("keys.json")
    }

    /// Held by whoever changes `keys.json`.
    pub(crate) fn keys_lock(&self) -> PathBuf {
        self.root.join("keys.lock")
    }

    /// The key with which the storefront asks the API.
    pub(crate) fn shop_key(&self) -> PathBuf {
        self.root.join("shop.key")
    }

    /// The gateway's key for Banyan in the same process, in clear text.
    pub(crate) fn gateway_key(&self) -> PathBuf {
        self.root.join("gateway.key")
    }

    pub(crate) fn operator_key(&self) -> PathBuf {
        self.root.join("operator.key")
    }
}
