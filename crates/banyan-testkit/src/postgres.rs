//! A private PostgreSQL server (Debian's `postgresql-15`, or another major beside it).

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::process::Signal;

use crate::folder::Folder;
use crate::{Error, Launch, Package, Process, User, with_free_ports};

/// How a server is made.
#[derive(Clone, Debug, Default)]
pub struct PostgresOptions {
    /// Lines of `postgresql.conf`, as name and value; they win over the defaults.
    pub settings: Vec<(String, String)>,
    /// The folder to make the server's own folder in; the default is the system's temporary folder. Benchmarks name
    /// a real disk here.
    pub parent: Option<PathBuf>,
    /// The folder of `postgres` and `initdb`; the default is the one that `BANYAN_TEST_POSTGRES` names, else the newest in
    /// `/usr/lib/postgresql`.
    pub programs: Option<PathBuf>,
}

impl PostgresOptions {
    /// Adds a line to `postgresql.conf`.
    #[must_use]
    pub fn set(mut self, name: &str, value: impl std::fmt::Display) -> Self {
        self.settings.push((name.to_owned(), value.to_string()));
        self
    }
}

/// A running server: superuser `postgres`, no password, loopback and a Unix socket. Ended on drop.
#[derive(Debug)]
pub struct Postgres {
    process: Process, // before the folder: it must be gone first
    folder: Folder,
    programs: PathBuf,
    port: u16,
}

impl Postgres {
    /// Makes and starts a server with an empty database `postgres`. Takes about 2 s.
    pub fn start(options: &PostgresOptions) -> Result<Self, Error> {
        let programs = options.programs.clone().or_else(named_programs).map_or_else(newest_programs, Ok)?;
        with_free_ports(|[port]| Self::start_on(options, &programs, port))
    }

    /// `postgres://postgres@127.0.0.1:PORT/postgres`.
    pub fn url(&self) -> String {
        format!("postgres://postgres@127.0.0.1:{}/postgres", self.port)
    }

    /// Key-value connection string through the Unix socket, which costs less CPU than TCP.
    pub fn socket_url(&self) -> String {
        format!("host={} port={} user=postgres dbname=postgres", self.folder.path().display(), self.port)
    }

    /// The TCP port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The postmaster's process id; sessions are its children.
    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// The server's log.
    pub fn log(&self) -> &Path {
        self.process.log()
    }

    /// Runs statements in `database` with `psql` and returns the rows as text: columns with `|` between, a row a line.
    pub fn query(&self, database: &str, sql: &str) -> Result<String, Error> {
        self.psql(database, &["-c", sql])
    }

    /// Runs `psql` in `database` with more arguments; returns what it printed.
    pub(crate) fn psql(&self, database: &str, more: &[&str]) -> Result<String, Error> {
        let port = self.port.to_string();
        let args = ["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-h", "127.0.0.1", "-p", &port];
        let args = args.into_iter().chain(["-U", "postgres", "-d", database]).chain(more.iter().copied());
        self.client("psql", args)
    }

    /// Runs one of the server's client programs to its end; returns what it printed.
    pub(crate) fn client<'a>(
        &self,
        program: &str,
        args: impl IntoIterator<Item = &'a str>,
    ) -> Result<String, Error> {
        let mut command = std::process::Command::new(self.programs.join(program));
        command.args(args).env_clear().env("LANG", "C.UTF-8").stdin(std::process::Stdio::null());
        let output = command.output().map_err(|e| Error::io(format!("running {program}"), e))?;
        if output.status.success() {
            return Ok(String::from_utf8_lossy(&output.stdout).trim_end().to_owned());
        }
        Err(Error::Failed {
            command: format!("{command:?}"),
            status: output.status.to_string(),
            output: String::from_utf8_lossy(&output.stderr).into_owned(),
        })
    }

    /// Kills every process of the server at once, as a crash does. [`Postgres::restart`] brings it back.
    pub fn crash(&mut self) -> Result<(), Error> {
        self.process.kill()
    }

    /// Stops the server if it runs and starts it again: same data, same port.
    pub fn restart(&mut self) -> Result<(), Error> {
        self.process.start_again()?;
        wait_ready(&mut self.process, &self.folder.join("data"))
    }

    fn start_on(options: &PostgresOptions, programs: &Path, port: u16) -> Result<Self, Error> {
        let user = User::when_root("postgres")?;
        let folder = Folder::new("postgres", options.parent.as_deref())?;
        if let Some(user) = &user {
            user.own(folder.path())?;
        }
        let data = folder.owned("data", user.as_ref())?;
        Launch::new("initdb", programs.join("initdb"), folder.join("initdb.log"))
            .args(["-U", "postgres", "-A", "trust", "-E", "UTF8", "--no-locale", "--no-sync", "-D"])
            .args([text(&data)?])
            .user(user.clone())
            .run(Duration::from_secs(60))?;
        let config = data.join("postgresql.conf");
        let mut conf =
            fs::read_to_string(&config).map_err(|e| Error::io(format!("reading {}", config.display()), e))?;
        conf.push_str(&settings(options, port, &text(folder.path())?));
        fs::write(&config, conf).map_err(|e| Error::io(format!("writing {}", config.display()), e))?;
        // SIGINT is Postgres's fast stop; SIGTERM would wait for every client to leave.
        let mut process = Launch::new("postgres", programs.join("postgres"), folder.join("postgres.log"))
            .args(["-D".to_owned(), text(&data)?])
            .user(user)
            .stop_by(Signal::INT)
            .start()?;
        wait_ready(&mut process, &data)?;
        Ok(Self { process, folder, programs: programs.to_owned(), port })
    }
}

/// Ready when the server's own status file says so, for the process we started: this cannot be another server's port.
fn wait_ready(process: &mut Process, data: &Path) -> Result<(), Error> {
    let status = data.join("postmaster.pid");
    process.wait_ready(Duration::from_secs(60), |process| {
        let text = fs::read_to_string(&status).unwrap_or_default();
        let mut lines = text.lines();
        let is_ours = lines.next() == Some(process.pid().to_string().as_str());
        Ok(is_ours && lines.nth(6).is_some_and(|line| line.trim() == "ready"))
    })
}

fn settings(options: &PostgresOptions, port: u16, socket_folder: &str) -> String {
    let defaults = [
        ("listen_addresses", "127.0.0.1"),
        ("unix_socket_directories", socket_folder),
        ("port", &port.to_string()),
        ("max_connections", "200"),
        ("wal_level", "logical"),
    ];
    let given = options.settings.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    defaults.into_iter().chain(given).fold(String::from("\n"), |conf, (name, value)| {
        conf + &format!("{name} = '{}'\n", value.replace('\'', "''"))
    })
}

/// To run the tests against another major than the one that is installed.
fn named_programs() -> Option<PathBuf> {
    std::env::var_os("BANYAN_TEST_POSTGRES").map(PathBuf::from)
}

fn newest_programs() -> Result<PathBuf, Error> {
    let majors = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let newest = majors
        .filter_map(|entry| {
            Some((entry.file_name().to_str()?.parse::<u32>().ok()?, entry.path().join("bin")))
        })
        .filter(|(_, programs)| programs.join("postgres").exists())
        .max();
    newest.map(|(_, programs)| programs).ok_or_else(|| Package::Postgres.missing())
}

fn text(path: &Path) -> Result<String, Error> {
    path.to_str().map(str::to_owned).ok_or_else(|| {
        Error::io(
            format!("using the folder {}", path.display()),
            std::io::Error::new(
                std::io::ErrorKind::InvalidInput,
                "its name is not UTF-8; set TMPDIR to another",
            ),
        )
    })
}
