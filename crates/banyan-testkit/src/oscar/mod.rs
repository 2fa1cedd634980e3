//! A private django-oscar shop on a private Postgres: the old shop that somebody wants to leave behind one step at a time.
//!
//! The Django project is a folder of the repository (`examples/oscar`); this module gets what it needs from the Python
//! Package Index, fills a database once on a machine and copies it from then on, and serves the shop with gunicorn.
//! [`Shopper`] is a guest in front of it, and [`race`] many of them.

mod race;
mod seed;
mod shopper;
mod visitor;

pub use race::{Race, race};
pub use shopper::{Outcome, Shopper};
pub use visitor::{Page, Visitor};

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::process::Signal;

use crate::folder::Folder;
use crate::{Error, Launch, Postgres, PostgresOptions, Process, with_free_ports};

/// The administrator that the project's seed makes.
pub const ADMINISTRATOR: &str = "admin@example.com";
/// The name of the shop's database.
pub const DATABASE: &str = "oscar";

/// How the shop is run.
#[derive(Clone, Debug)]
pub struct OscarOptions {
    /// Worker processes, with four threads each.
    pub workers: u32,
    /// Settings of the project beyond where things are, as environment variables.
    pub settings: BTreeMap<String, String>,
    /// Host names it answers to, beside `localhost` and `127.0.0.1`.
    pub hosts: Vec<String>,
}

/// A running shop; ended on drop. The Postgres that it was started on must outlive it.
#[derive(Debug)]
pub struct Oscar {
    process: Process, // before the folder: it must be gone first
    folder: Folder,
    place: Place,
    port: u16,
}

/// Where the shop's parts are.
#[derive(Clone, Debug)]
struct Place {
    python: PathBuf,
    project: PathBuf,
    postgres_port: u16,
}

impl Default for OscarOptions {
    fn default() -> Self {
        Self { workers: 2, settings: BTreeMap::new(), hosts: Vec::new() }
    }
}

impl Oscar {
    /// A Postgres such as the shop's owner would run for a change of systems: logical decoding, and statements counted.
    pub fn postgres_options() -> PostgresOptions {
        PostgresOptions::default()
            .set("wal_level", "logical")
            .set("shared_preload_libraries", "pg_stat_statements")
    }

    /// Makes the database [`DATABASE`] with a seeded shop in it, and serves the shop from the Django project in the folder
    /// `project`. Takes some seconds; the first time on a machine about a minute, for fetching and filling.
    pub fn start(project: &Path, postgres: &Postgres, options: &OscarOptions) -> Result<Self, Error> {
        let python = seed::environment(project)?;
        let place = Place { python, project: project.to_owned(), postgres_port: postgres.port() };
        let seed = seed::seed(&place, postgres)?;
        let folder = Folder::new("oscar", None)?;
        seed::plant(&seed, postgres, DATABASE, &folder.join("data"))?;
        let (process, port) = with_free_ports(|[port]| Ok((serve(&place, &folder, options, port)?, port)))?;
        Ok(Self { process, folder, place, port })
    }

    /// Ends the shop and starts it again on the same port and data, perhaps run differently.
    pub fn restart(&mut self, options: &OscarOptions) -> Result<(), Error> {
        self.process.stop()?;
        self.process = serve(&self.place, &self.folder, options, self.port)?;
        Ok(())
    }

    /// Kills every process of the shop at once, as a crash does. [`Oscar::restart`] brings it back.
    pub fn crash(&mut self) -> Result<(), Error> {
        self.process.kill()
    }

    /// `http://127.0.0.1:PORT`.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// The TCP port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The process id of gunicorn; its workers are its children.
    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// The shop's log.
    pub fn log(&self) -> &Path {
        self.process.log()
    }

    /// The password of [`ADMINISTRATOR`].
    pub fn password(&self) -> Result<String, Error> {
        let path = self.folder.join("data").join("admin.password");
        fs::read_to_string(&path).map_err(|e| Error::io(format!("reading {}", path.display()), e))
    }

    /// Runs a command of the Django project, as `manage.py ARGS`, at most `limit`; returns what it printed.
    pub fn manage(
        &self,
        options: &OscarOptions,
        env: &[(&str, &str)],
        args: &[&str],
        limit: Duration,
    ) -> Result<String, Error> {
        let log = tempfile::NamedTempFile::new_in(self.folder.path());
        let log = log.map_err(|e| Error::io("making a file for a command's output", e))?;
        let launch = self.place.launch(&self.folder.join("data"), log.path(), options);
        let launch = env.iter().fold(launch, |launch, (name, value)| launch.env(name, value));
        launch.args(["manage.py"]).args(args.iter().copied()).run(limit)?;
        fs::read_to_string(log.path()).map_err(|e| Error::io("reading a command's output", e))
    }

    /// Makes another database with a seeded shop in it, as this one was at first.
    pub fn plant(&self, postgres: &Postgres, database: &str) -> Result<(), Error> {
        let seed = seed::seed(&self.place, postgres)?;
        seed::plant_database(&seed, postgres, database)
    }
}

impl Place {
    /// Python in the project's folder, with the project's environment and nothing of ours.
    fn launch(&self, data: &Path, log: &Path, options: &OscarOptions) -> Launch {
        let hosts = ["localhost".to_owned(), "127.0.0.1".to_owned()].into_iter().chain(options.hosts.clone());
        let launch = Launch::new("oscar", &self.python, log)
            .folder(&self.project)
            .env("OSCAR_DATA", data.display())
            .env("OSCAR_PG_PORT", self.postgres_port)
            .env("OSCAR_PG_DATABASE", DATABASE)
            .env("OSCAR_HOSTS", hosts.collect::<Vec<_>>().join(","))
            // Compiled modules stay out of the repository.
            .env("PYTHONPYCACHEPREFIX", crate::python::cache().join("pycache").display())
            .env("PYTHONUNBUFFERED", 1);
        options.settings.iter().fold(launch, |launch, (name, value)| launch.env(name, value))
    }
}

fn serve(place: &Place, folder: &Folder, options: &OscarOptions, port: u16) -> Result<Process, Error> {
    let (bind, workers) = (format!("127.0.0.1:{port}"), options.workers.to_string());
    let args = ["-m", "gunicorn", "-b", &bind, "-w", &workers, "-k", "gthread", "--threads", "4"];
    let more = ["--timeout", "120", "--graceful-timeout", "5", "--no-control-socket", "oldshop.wsgi"];
    let mut process = place
        .launch(&folder.join("data"), &folder.join("oscar.log"), options)
        .args(args)
        .args(more)
        .stop_by(Signal::TERM)
        .start()?;
    let url = format!("http://127.0.0.1:{port}");
    process.wait_ready(Duration::from_secs(120), |_| {
        let page = Visitor::at(&url).and_then(|mut visitor| visitor.get("/catalogue/"));
        Ok(page.is_ok_and(|page| page.status == 200))
    })?;
    Ok(process)
}
