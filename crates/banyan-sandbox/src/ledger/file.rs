//! The company's own file: one SQLite database, held by one process.

use super::LedgerError;
use rusqlite::{Connection, OpenFlags, OptionalExtension};
use rustix::fs::FlockOperation;
use std::fs::{File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::Duration;

/// Marks a SQLite file as a sandbox's ledger ("BnSb").
const APPLICATION_ID: i32 = 0x426e_5362;
const SCHEMA_VERSION: i32 = 2;
/// What a ledger of version 1 lacks.
const TO_VERSION_2: &str =
    "ALTER TABLE payment ADD COLUMN cancels TEXT NOT NULL DEFAULT '[]'; PRAGMA user_version = 2;";
const SCHEMA: &str = include_str!("schema.sql");
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
/// Pages in the write-ahead log that start a checkpoint: 16 MB.
const WAL_PAGES: i64 = 4_000;

/// Keeps two processes from writing one ledger. The system gives it up when the process ends.
#[derive(Debug)]
pub(super) struct Lock {
    _file: File,
}

impl Lock {
    pub(super) fn take(folder: &Path) -> Result<Self, LedgerError> {
        let path = folder.join("sandbox.lock");
        let doing = format!("locking {}; is another sandbox running on this folder?", path.display());
        let file = OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(&path);
        let file = file.map_err(|error| LedgerError::io(doing.clone(), error))?;
        rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive)
            .map_err(|error| LedgerError::io(doing, error.into()))?;
        Ok(Self { _file: file })
    }
}

/// Opens the ledger for writing, and creates it if it is not there.
pub(super) fn open_writer(path: &Path) -> Result<Connection, LedgerError> {
    let doing = || format!("opening the ledger {}", path.display());
    // Created here so that it is never readable by others, not even for a moment.
    OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .mode(0o600)
        .open(path)
        .map_err(|error| LedgerError::io(doing(), error))?;
    let open = || -> rusqlite::Result<Connection> {
        let db = connect(path)?;
        db.pragma_update_and_check(None, "journal_mode", "WAL", |_| Ok(()))?;
        // An answer is given only after its effect is on disk.
        db.pragma_update(None, "synchronous", "FULL")?;
        db.pragma_update(None, "cache_size", -65_536)?;
        db.pragma_update(None, "temp_store", "MEMORY")?;
        db.pragma_update_and_check(None, "wal_autocheckpoint", WAL_PAGES, |_| Ok(()))?;
        let tables: i64 = db.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
        if tables == 0 {
            let marks =
                format!("PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = {SCHEMA_VERSION};");
            db.execute_batch(&format!("BEGIN IMMEDIATE; {SCHEMA} {marks} COMMIT;"))?;
        }
        let mark = |name| db.pragma_query_value(None, name, |row| row.get::<_, i32>(0));
        if (mark("application_id")?, mark("user_version")?) == (APPLICATION_ID, 1) {
            db.execute_batch(&format!("BEGIN IMMEDIATE; {TO_VERSION_2} COMMIT;"))?;
        }
        Ok(db)
    };
    let db = open().map_err(|error| LedgerError::store(doing(), error))?;
    let mark = |name| {
        db.pragma_query_value(None, name, |row| row.get::<_, i32>(0))
            .map_err(|error| LedgerError::store(doing(), error))
    };
    if (mark("application_id")?, mark("user_version")?) != (APPLICATION_ID, SCHEMA_VERSION) {
        return Err(LedgerError::other(format!(
            "{} is not a sandbox's ledger of version {SCHEMA_VERSION}: give another folder with --data",
            path.display()
        )));
    }
    Ok(db)
}

/// Opens the ledger for reading.
pub(super) fn open_reader(path: &Path) -> rusqlite::Result<Connection> {
    let db = connect(path)?;
    db.pragma_update(None, "query_only", true)?;
    Ok(db)
}

fn connect(path: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let db = Connection::open_with_flags(path, flags)?;
    db.busy_timeout(BUSY_TIMEOUT)?;
    db.set_prepared_statement_cache_capacity(64);
    Ok(db)
}

/// The secret from which payments get ids that cannot be guessed: `seed`'s, or a random one, kept with the ledger.
pub(super) fn id_secret(db: &Connection, seed: Option<u64>) -> Result<[u8; 32], LedgerError> {
    let doing = "reading the ledger's id secret";
    let stored = db
        .query_row("SELECT value FROM meta WHERE name = 'id_secret'", [], |row| row.get::<_, [u8; 32]>(0))
        .optional()
        .map_err(|error| LedgerError::store(doing, error))?;
    if let Some(secret) = stored {
        return Ok(secret);
    }
    let mut secret = [0; 32];
    match seed {
        Some(seed) => secret = *blake3::hash(&seed.to_le_bytes()).as_bytes(),
        None => getrandom::fill(&mut secret)
            .map_err(|error| LedgerError::other(format!("asking the system for randomness: {error}")))?,
    }
    db.execute("INSERT INTO meta (name, value) VALUES ('id_secret', ?1)", [secret])
        .map_err(|error| LedgerError::store("writing the ledger's id secret", error))?;
    Ok(secret)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ledger_of_version_1_is_opened_and_has_what_it_lacked() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("ledger.sqlite");
        let old = open_writer(&path).expect("a new ledger");
        old.execute_batch("ALTER TABLE payment DROP COLUMN cancels; PRAGMA user_version = 1;")
            .expect("an old one");
        drop(old);
        for _ in 0..2 {
            let db = open_writer(&path).expect("it is opened");
            let version = db.pragma_query_value(None, "user_version", |row| row.get::<_, i32>(0));
            assert_eq!(version.expect("a version"), SCHEMA_VERSION);
            let rows = db.query_row("SELECT count(cancels) FROM payment", [], |row| row.get::<_, i64>(0));
            assert_eq!(rows.expect("the column is there"), 0);
        }
    }
}
