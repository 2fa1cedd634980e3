//! The file: opening it safely, and putting a new one in its place.

use crate::{Cure, ViewError};
use rusqlite::config::DbConfig;
use rusqlite::{Connection, ErrorCode, OpenFlags};
use rustix::fs::FlockOperation;
use std::fs::{File, OpenOptions};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Marks a SQLite file as a record store ("BnRc").
const APPLICATION_ID: i32 = 0x426e_5263;
/// Version of the schema. A store of another version is built anew.
const SCHEMA_VERSION: i32 = 5;
const SCHEMA: &str = concat!(
    include_str!("schema.sql"),
    include_str!("stock/schema.sql"),
    include_str!("ledger/schema.sql"),
    include_str!("sagas/schema.sql"),
    include_str!("orders/schema.sql"),
    include_str!("legacy/schema.sql"),
);
/// Pages in the write-ahead log that start a checkpoint: 4 MB. Eight times as much saves a tenth of the CPU time, but each
/// checkpoint then keeps the disk busy three times as long, and the log's own syncs wait behind it.
const WAL_PAGES: i64 = 1_000;
/// Page cache of the writer, and of each reader, in KiB.
const WRITER_CACHE_KIB: i64 = 65_536;
const READER_CACHE_KIB: i64 = 8_192;
const MMAP_BYTES: i64 = 1 << 30;
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// The lock that keeps two writers apart, held while it lives. The system gives it up when the process ends.
#[derive(Debug)]
pub(crate) struct StoreLock {
    _file: File,
}

impl StoreLock {
    /// Takes the lock of the store at `path`.
    pub(crate) fn take(path: &Path) -> Result<Self, ViewError> {
        Self::take_unless_held(path)?.ok_or_else(|| {
            let what = format!(
                "the record store {} is being written by another process; stop the server first",
                path.display()
            );
            ViewError::new(Cure::Operator, what)
        })
    }

    /// Takes the lock of the store at `path`; none if somebody else holds it.
    pub(crate) fn take_unless_held(path: &Path) -> Result<Option<Self>, ViewError> {
        let lock = beside(path, ".lock");
        let failed = |doing: &str, error: std::io::Error| {
            ViewError::caused(Cure::Operator, format!("{doing} the lock file {}", lock.display()), error)
        };
        let file = OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(&lock);
        let file = file.map_err(|error| failed("opening", error))?;
        match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Some(Self { _file: file })),
            Err(rustix::io::Errno::WOULDBLOCK) => Ok(None),
            Err(error) => Err(failed("locking", error.into())),
        }
    }
}

/// Opens the store at `path` for writing, and creates it if it is not there.
pub(crate) fn open_writer(path: &Path) -> Result<Connection, ViewError> {
    let doing = |what: &str| format!("{what} the record store {}", path.display());
    // Created here so that it is never readable by others, not even for a moment.
    let file = OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(path);
    let file = file.map_err(|error| ViewError::caused(Cure::Operator, doing("creating"), error))?;
    let private = std::fs::Permissions::from_mode(0o600);
    file.set_permissions(private)
        .map_err(|error| ViewError::caused(Cure::Operator, doing("protecting"), error))?;
    let is_new = file.metadata().is_ok_and(|meta| meta.len() == 0);
    drop(file);
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let db = Connection::open_with_flags(path, flags).map_err(|error| failed(doing("opening"), error))?;
    let prepare = || -> rusqlite::Result<()> {
        db.busy_timeout(BUSY_TIMEOUT)?;
        if is_new {
            db.pragma_update(None, "page_size", 4_096)?;
        }
        db.pragma_update_and_check(None, "journal_mode", "WAL", |_| Ok(()))?;
        db.pragma_update(None, "synchronous", "NORMAL")?;
        db.pragma_update(None, "cache_size", -WRITER_CACHE_KIB)?;
        db.pragma_update(None, "temp_store", "MEMORY")?;
        db.pragma_update_and_check(None, "wal_autocheckpoint", WAL_PAGES, |_| Ok(()))?;
        db.pragma_update_and_check(None, "journal_size_limit", WAL_PAGES * 4_096 * 2, |_| Ok(()))?;
        db.set_db_config(DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true)?;
        db.set_db_config(DbConfig::SQLITE_DBCONFIG_TRUSTED_SCHEMA, false)?;
        // Plans do not depend on bound values: without this, SQLite plans statements with a range anew at each use.
        db.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
        db.set_prepared_statement_cache_capacity(128);
        Ok(())
    };
    prepare().map_err(|error| failed(doing("opening"), error))?;
    if number(&db, "application_id").map_err(|error| failed(doing("reading"), error))? == 0 {
        create(&db).map_err(|error| failed(doing("creating"), error))?;
    }
    check(&db, path)?;
    Ok(db)
}

/// Opens the store at `path` for reading only.
pub(crate) fn open_reader(path: &Path) -> Result<Connection, ViewError> {
    let doing = || format!("opening the record store {} for reading", path.display());
    // Not opened read-only on file level: a reader of a write-ahead log must be able to write its index file.
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let db = Connection::open_with_flags(path, flags).map_err(|error| failed(doing(), error))?;
    let prepare = || -> rusqlite::Result<()> {
        db.busy_timeout(BUSY_TIMEOUT)?;
        db.set_db_config(DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true)?;
        db.set_db_config(DbConfig::SQLITE_DBCONFIG_TRUSTED_SCHEMA, false)?;
        db.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
        db.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
        db.pragma_update(None, "cache_size", -READER_CACHE_KIB)?;
        db.pragma_update_and_check(None, "mmap_size", MMAP_BYTES, |_| Ok(()))?;
        db.pragma_update(None, "query_only", true)?;
        Ok(())
    };
    prepare().map_err(|error| failed(doing(), error))?;
    check(&db, path)?;
    Ok(db)
}

fn create(db: &Connection) -> rusqlite::Result<()> {
    let tables: i64 = db.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
    if tables == 0 {
        let marks =
            format!("PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = {SCHEMA_VERSION};");
        db.execute_batch(&format!("BEGIN IMMEDIATE; {SCHEMA} {marks} COMMIT;"))?;
    }
    Ok(())
}

fn check(db: &Connection, path: &Path) -> Result<(), ViewError> {
    let read = |name| number(db, name).map_err(|error| failed(format!("reading {}", path.display()), error));
    let (application, version) = (read("application_id")?, read("user_version")?);
    if application != i64::from(APPLICATION_ID) {
        let what = format!("{} is a SQLite file, but not a record store of Banyan", path.display());
        return Err(ViewError::new(Cure::Rebuild, what));
    }
    if version != i64::from(SCHEMA_VERSION) {
        let what = format!(
            "the record store {} has schema version {version}, this program writes version {SCHEMA_VERSION}",
            path.display()
        );
        return Err(ViewError::new(Cure::Rebuild, what));
    }
    Ok(())
}

fn number(db: &Connection, pragma: &str) -> rusqlite::Result<i64> {
    db.pragma_query_value(None, pragma, |row| row.get(0))
}

/// What helps against `error`.
pub(crate) fn failed(doing: impl Into<String>, error: rusqlite::Error) -> ViewError {
    let cure = match error.sqlite_error_code() {
        Some(
            ErrorCode::DatabaseBusy
            | ErrorCode::DatabaseLocked
            | ErrorCode::DiskFull
            | ErrorCode::SystemIoFailure
            | ErrorCode::OutOfMemory
            | ErrorCode::OperationInterrupted,
        ) => Cure::Retry,
        Some(ErrorCode::CannotOpen | ErrorCode::PermissionDenied | ErrorCode::ReadOnly) => Cure::Operator,
        _ => Cure::Rebuild,
    };
    ViewError::caused(cure, doing, error)
}

/// `path` with `suffix` after its name.
pub(crate) fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

/// Closes the store so that everything is in its one file, and that file is on disk.
pub(crate) fn close_whole(db: Connection, path: &Path) -> Result<(), ViewError> {
    let doing = || format!("writing everything of {} into one file", path.display());
    let busy: i64 = db
        .query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get(0))
        .map_err(|error| failed(doing(), error))?;
    if busy != 0 {
        let what = format!("{}: somebody else is reading it; close their sqlite3 shell", doing());
        return Err(ViewError::new(Cure::Retry, what));
    }
    db.close().map_err(|(_, error)| failed(doing(), error))?;
    let io = |error: std::io::Error| ViewError::caused(Cure::Retry, doing(), error);
    File::open(path).and_then(|file| file.sync_all()).map_err(io)
}

/// Removes the store at `path`, which is not the one in use, with its side files, if it is there.
pub(crate) fn remove(path: &Path) -> Result<(), ViewError> {
    // A new store had a lock file of its own once, which stayed.
    for suffix in ["", "-wal", "-shm", "-journal", ".lock"] {
        let file = beside(path, suffix);
        match std::fs::remove_file(&file) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(ViewError::caused(Cure::Operator, format!("removing {}", file.display()), error));
            }
            _ => {}
        }
    }
    Ok(())
}

/// Puts the closed store `new` in the place of the closed store `path`, which lives on as `path.old`.
///
/// There is a whole store at `path` at every instant: the old one gets a second name, then the new one takes the first
/// name over in one step. A crash before that step leaves the old store, and the next rebuild starts over.
pub(crate) fn swap(new: &Path, path: &Path) -> Result<(), ViewError> {
    let old = beside(path, ".old");
    let io = |what: &'static str| {
        move |error: std::io::Error| {
            ViewError::caused(Cure::Operator, format!("{what} for the new record store"), error)
        }
    };
    remove(&old)?;
    if path.exists() {
        std::fs::hard_link(path, &old).map_err(io("keeping the old record store"))?;
    }
    // Side files belong to the old file (and are empty, as it was closed whole): the new one must not find them.
    for suffix in ["-wal", "-shm", "-journal"] {
        match std::fs::remove_file(beside(path, suffix)) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(io("removing side files")(error));
            }
            _ => {}
        }
    }
    std::fs::rename(new, path).map_err(io("making place"))?;
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(io("syncing the folder"))
}
