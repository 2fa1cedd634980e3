//! A private MariaDB server (Debian's `mariadb-server`, 10.11).

use std::io::Read;
use std::net::{Ipv4Addr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::folder::Folder;
use crate::port::listens;
use crate::{Error, Launch, Package, Process, User, with_free_ports};

/// The database that every server is made with.
const DATABASE: &str = "shop";
/// The first byte of a greeting's body: the protocol's version. A server that is not ready sends 255, an error.
const PROTOCOL: u8 = 10;

/// How a server is made.
#[derive(Clone, Debug, Default)]
pub struct MariaDbOptions {
    /// Settings of the server, as name and value; they win over the defaults.
    pub settings: Vec<(String, String)>,
    /// The folder to make the server's own folder in; the default is the system's temporary folder. Benchmarks name
    /// a real disk here.
    pub parent: Option<PathBuf>,
}

impl MariaDbOptions {
    /// Adds a setting, such as `max_binlog_size` and 4096.
    #[must_use]
    pub fn set(mut self, name: &str, value: impl std::fmt::Display) -> Self {
        self.settings.push((name.to_owned(), value.to_string()));
        self
    }
}

/// A running server with an empty database `shop`: superuser `root`, no password, loopback and a Unix socket. It writes a
/// binary log of whole rows, with GTIDs. Ended on drop.
#[derive(Debug)]
pub struct MariaDb {
    process: Process, // before the folder: it must be gone first
    folder: Folder,
    port: u16,
}

impl MariaDb {
    /// Makes and starts a server. Takes about 6 s and 120 MB.
    pub fn start(options: &MariaDbOptions) -> Result<Self, Error> {
        if !Package::MariaDb.is_installed() {
            return Err(Package::MariaDb.missing());
        }
        with_free_ports(|[port]| Self::start_on(options, port))
    }

    /// `mysql://root@127.0.0.1:PORT/shop`.
    pub fn url(&self) -> String {
        format!("mysql://root@127.0.0.1:{}/{DATABASE}", self.port)
    }

    /// The Unix socket's file, which costs less CPU than TCP.
    pub fn socket(&self) -> PathBuf {
        self.folder.join("server.sock")
    }

    /// The TCP port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The server's process id.
    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// The server's log.
    pub fn log(&self) -> &Path {
        self.process.log()
    }

    /// Runs statements as `root` in the database `shop` with Debian's client, and gives what they print: one line a row,
    /// columns apart by tabs.
    pub fn sql(&self, statements: &str) -> Result<String, Error> {
        self.client(&[DATABASE, "-e", statements], "running SQL on mariadb")
    }

    /// Kills the server at once, as a crash does. [`MariaDb::restart`] brings it back.
    pub fn crash(&mut self) -> Result<(), Error> {
        self.process.kill()
    }

    /// Stops the server if it runs and starts it again: same data, same port.
    pub fn restart(&mut self) -> Result<(), Error> {
        self.process.start_again()?;
        wait_ready(&mut self.process, self.port)
    }

    fn start_on(options: &MariaDbOptions, port: u16) -> Result<Self, Error> {
        let user = User::when_root("mysql")?;
        let folder = Folder::new("mariadb", options.parent.as_deref())?;
        if let Some(user) = &user {
            user.own(folder.path())?;
        }
        let data = folder.owned("data", user.as_ref())?;
        let data = format!("--datadir={}", data.display());
        // The small redo log and the skipped syncs are for the new server's own tables only.
        Launch::new("mariadb-install-db", "mariadb-install-db", folder.join("install.log"))
            .args(["--no-defaults", "--auth-root-authentication-method=normal", "--skip-test-db"])
            .args([
                "--skip-name-resolve",
                "--innodb-log-file-size=16M",
                "--innodb-flush-method=nosync",
                &data,
            ])
            .user(user.clone())
            .run(Duration::from_secs(120))?;
        let settings = settings(options, port);
        let mut process = Launch::new("mariadb", "mariadbd", folder.join("mariadb.log"))
            .args(["--no-defaults", &data])
            .args([format!("--socket={}", folder.join("server.sock").display())])
            .args([format!("--pid-file={}", folder.join("server.pid").display())])
            .args(settings)
            .user(user)
            .start()?;
        wait_ready(&mut process, port)?;
        let server = Self { process, folder, port };
        server.client(&["-e", &format!("create database {DATABASE}")], "making a database on mariadb")?;
        Ok(server)
    }

    fn client(&self, args: &[&str], doing: &str) -> Result<String, Error> {
        let output = Command::new("mariadb")
            .args(["--no-defaults", "--batch", "--skip-column-names", "--user=root", "--socket"])
            .arg(self.socket())
            .args(args)
            .stdin(Stdio::null())
            .output()
            .map_err(|e| Error::io(doing, e))?;
        if output.status.success() {
            return Ok(String::from_utf8_lossy(&output.stdout).trim_end().to_owned());
        }
        let printed = String::from_utf8_lossy(&output.stderr).into_owned();
        Err(Error::Failed { command: doing.to_owned(), status: output.status.to_string(), output: printed })
    }
}

/// Ready when our process holds the port and greets: it listens while it still repairs its tables.
fn wait_ready(process: &mut Process, port: u16) -> Result<(), Error> {
    process.wait_ready(Duration::from_secs(120), |process| Ok(listens(process.pid(), port) && greets(port)))
}

fn greets(port: u16) -> bool {
    let mut greeting = [0; 5]; // length in three bytes, a number, the protocol
    let read = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).and_then(|mut stream| {
        stream.set_read_timeout(Some(Duration::from_secs(5)))?;
        stream.read_exact(&mut greeting)
    });
    read.is_ok() && greeting[4] == PROTOCOL
}

fn settings(options: &MariaDbOptions, port: u16) -> Vec<String> {
    let port = port.to_string();
    let defaults = [
        ("bind_address", "127.0.0.1"),
        ("port", port.as_str()),
        ("skip_name_resolve", "1"),
        ("max_connections", "200"),
        ("character_set_server", "utf8mb4"),
        ("innodb_buffer_pool_size", "64M"),
        ("innodb_log_file_size", "32M"),
        ("log_bin", "binlog"),
        ("server_id", "1"),
        ("binlog_format", "ROW"),
        ("binlog_row_image", "FULL"),
        ("sync_binlog", "1"),
        ("gtid_strict_mode", "1"),
    ];
    let given = options.settings.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    defaults.into_iter().chain(given).map(|(name, value)| format!("--{name}={value}")).collect()
}
