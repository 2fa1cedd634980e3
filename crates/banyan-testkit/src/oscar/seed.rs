//! The shop's environment and a filled shop, each made once on a machine and kept in the user's cache folder.
//!
//! Their names there have a hash of everything they follow from, so a change of the project makes new ones.

use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::python;
use crate::{Error, Postgres};

use super::{DATABASE, OscarOptions, Place};

/// Longest time for one of the commands that fill the shop.
const FILL_TIME_MAX: Duration = Duration::from_secs(300);
/// What fills an empty shop, in order.
const FILL: [&[&str]; 4] = [
    &["migrate", "-v0"],
    &["seed"],
    &["rebuild_index", "--noinput", "-v0"],
    &["collectstatic", "--noinput", "-v0"],
];
/// The database as SQL, beside the files that the shop wrote.
const DUMP: &str = "dump.sql";

/// The Python that has what the project asks for in `requirements.txt`.
pub(super) fn environment(project: &Path) -> Result<PathBuf, Error> {
    let file = project.join("requirements.txt");
    let mut hash = DefaultHasher::new();
    read(&file)?.hash(&mut hash);
    python::environment(&format!("oscar-{:016x}", hash.finish()), &["-r", &file.display().to_string()])
}

/// The folder with a filled shop: its database as SQL, and its files.
pub(super) fn seed(place: &Place, postgres: &Postgres) -> Result<PathBuf, Error> {
    let mut hash = DefaultHasher::new();
    read(&place.project.join("requirements.txt"))?.hash(&mut hash);
    for path in files(&place.project.join("oldshop"))? {
        if path.extension().is_some_and(|extension| extension == "py") {
            path.strip_prefix(&place.project).unwrap_or(&path).hash(&mut hash);
            read(&path)?.hash(&mut hash);
        }
    }
    postgres.query("postgres", "show server_version_num")?.hash(&mut hash);
    python::made_once(&format!("oscar-shop-{:016x}", hash.finish()), |new, log| {
        fs::create_dir(new).map_err(|e| Error::io(format!("making {}", new.display()), e))?;
        // A name of its own: several may be filling one server at a time.
        let database = format!("filling_{:016x}", new.hash_value());
        postgres.query("postgres", &format!("create database {database}"))?;
        for command in FILL {
            let launch = place.launch(new, log, &OscarOptions::default());
            launch
                .env("OSCAR_PG_DATABASE", &database)
                .args(["manage.py"])
                .args(command.iter().copied())
                .run(FILL_TIME_MAX)?;
        }
        let (port, dump) = (postgres.port().to_string(), new.join(DUMP).display().to_string());
        let to = ["-h", "127.0.0.1", "-p", &port, "-U", "postgres", "--no-owner", "-f", &dump, &database];
        postgres.client("pg_dump", to)?;
        postgres.query("postgres", &format!("drop database {database} with (force)"))?;
        Ok(())
    })
}

/// Copies a filled shop: its database as `database`, and its files as the folder `data`.
pub(super) fn plant(seed: &Path, postgres: &Postgres, database: &str, data: &Path) -> Result<(), Error> {
    for from in files(seed)? {
        let name = from.strip_prefix(seed).unwrap_or(&from);
        if name == Path::new(DUMP) {
            continue;
        }
        let (to, doing) = (data.join(name), || format!("copying {} to {}", from.display(), data.display()));
        if let Some(folder) = to.parent() {
            fs::create_dir_all(folder).map_err(|e| Error::io(doing(), e))?;
        }
        fs::copy(&from, &to).map_err(|e| Error::io(doing(), e))?;
    }
    plant_database(seed, postgres, database)
}

/// Copies a filled shop's database, and lets statements be counted in it where the server can.
pub(super) fn plant_database(seed: &Path, postgres: &Postgres, database: &str) -> Result<(), Error> {
    postgres.query("postgres", &format!("create database {database}"))?;
    postgres.psql(database, &["-f", &seed.join(DUMP).display().to_string()])?;
    let counted = postgres.query("postgres", "show shared_preload_libraries")?.contains("pg_stat_statements");
    if counted && database == DATABASE {
        // Counted from now on: filling the tables was nobody's use of them.
        postgres.query(database, "create extension pg_stat_statements; select pg_stat_statements_reset()")?;
    }
    Ok(())
}

/// A path's own number, for a name that nobody else uses.
trait HashValue {
    fn hash_value(&self) -> u64;
}

impl HashValue for Path {
    fn hash_value(&self) -> u64 {
        let mut hash = DefaultHasher::new();
        self.hash(&mut hash);
        hash.finish()
    }
}

/// Every file under a folder, in order.
fn files(folder: &Path) -> Result<Vec<PathBuf>, Error> {
    let doing = || format!("reading the folder {}", folder.display());
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).map_err(|e| Error::io(doing(), e))? {
        let path = entry.map_err(|e| Error::io(doing(), e))?.path();
        if path.is_dir() { found.extend(files(&path)?) } else { found.push(path) }
    }
    found.sort();
    Ok(found)
}

fn read(path: &Path) -> Result<Vec<u8>, Error> {
    fs::read(path).map_err(|e| Error::io(format!("reading {}", path.display()), e))
}
