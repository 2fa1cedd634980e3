//! The file of API keys: hashes only. The server takes changes within seconds, without a restart.

use crate::data_dir::DataDir;
use crate::exit::Failure;
use banyan_api::auth::{KeyRecord, Keyring, Role};
use banyan_api::{now, rfc3339};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

/// How often the server looks whether the file changed.
const LOOK: Duration = Duration::from_secs(2);

/// Reads the records; none if there is no file yet.
pub(crate) fn read(dir: &DataDir) -> Result<Vec<KeyRecord>, Failure> {
    let path = dir.keys();
    let fault =
        |error: &dyn std::fmt::Display| Failure::environment(format!("reading {}: {error}", path.display()));
    match fs::read(&path) {
        Ok(bytes) => serde_json::from_slice(&bytes).map_err(|error| fault(&error)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(fault(&error)),
    }
}

/// Stores the records in place of those before: whole, or not at all.
pub(crate) fn write(dir: &DataDir, records: &[KeyRecord]) -> Result<(), Failure> {
    let path = dir.keys();
    let text = serde_json::to_string_pretty(records).map_err(Failure::environment)?;
    write_private(&path, text.as_bytes())
        .map_err(|error| Failure::environment(format!("writing {}: {error}", path.display())))
}

/// Makes a key and stores its record. Returns the key, which is not kept anywhere else.
pub(crate) fn create(dir: &DataDir, name: &str, role: Role) -> Result<String, Failure> {
    let mut records = read(dir)?;
    if records.iter().any(|record| record.name == name) {
        return Err(Failure::usage(format!("there is a key named {name:?} already; choose another name")));
    }
    let (record, key) = KeyRecord::create(name, role, rfc3339(now())).map_err(Failure::usage)?;
    records.push(record);
    write(dir, &records)?;
    Ok(key)
}

/// Makes the operator's key of a new store, readable by its owner only.
pub(crate) fn ensure_operator(dir: &DataDir) -> Result<(), Failure> {
    if !read(dir)?.is_empty() {
        return Ok(());
    }
    let key = create(dir, "operator", Role::Operator)?;
    let path = dir.operator_key();
    write_private(&path, format!("{key}\n").as_bytes())
        .map_err(|error| Failure::environment(format!("writing {}: {error}", path.display())))
}

/// Replaces the keyring's keys whenever the file changes. Ends with the process.
pub(crate) async fn watch(dir: DataDir, keyring: Arc<Keyring>) {
    let changed_at = |dir: &DataDir| fs::metadata(dir.keys()).and_then(|meta| meta.modified()).ok();
    let mut seen: Option<SystemTime> = changed_at(&dir);
    let mut ticks = tokio::time::interval(LOOK);
    loop {
        ticks.tick().await;
        let changed = changed_at(&dir);
        if changed == seen {
            continue;
        }
        seen = changed;
        match read(&dir).and_then(|records| keyring.replace(&records).map_err(Failure::environment)) {
            Ok(()) => tracing::info!("API keys read again"),
            Err(failure) => tracing::error!("API keys stay as they were: {failure}"),
        }
    }
}

/// Writes a file that only its owner can read: under another name, synced, renamed, and the directory synced.
pub(crate) fn write_private(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let temporary = path.with_extension("tmp");
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&temporary)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&temporary, path)?;
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => File::open(parent)?.sync_all(),
        _ => Ok(()),
    }
}
