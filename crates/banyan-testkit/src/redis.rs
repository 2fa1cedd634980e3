//! A private Redis server (Debian's `redis-server`).

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::folder::Folder;
use crate::{Error, Launch, Package, Process, with_free_ports};

/// When Redis makes its append-only file durable.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RedisFsync {
    /// No file at all: everything is lost with the process.
    Off,
    /// About once a second, as most teams run it: up to a second of answers is lost with the machine.
    #[default]
    EverySecond,
    /// Before each answer (Redis groups the commands of one turn of its loop).
    Always,
}

/// How a server is made.
#[derive(Clone, Debug, Default)]
pub struct RedisOptions {
    /// When writes become durable.
    pub fsync: RedisFsync,
    /// More command-line settings, such as `["--io-threads", "2"]`.
    pub args: Vec<String>,
    /// The folder to make the server's own folder in; the default is the system's temporary folder.
    pub parent: Option<PathBuf>,
}

/// A running server: no password, loopback and a Unix socket. Ended on drop.
#[derive(Debug)]
pub struct Redis {
    process: Process, // before the folder: it must be gone first
    folder: Folder,
    port: u16,
}

impl Redis {
    /// Starts an empty server. Takes about 0.2 s.
    pub fn start(options: &RedisOptions) -> Result<Self, Error> {
        if !Package::Redis.is_installed() {
            return Err(Package::Redis.missing());
        }
        with_free_ports(|[port]| Self::start_on(options, port))
    }

    /// `redis://127.0.0.1:PORT/`.
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}/", self.port)
    }

    /// `unix:///..../redis.sock`, which costs less CPU than TCP.
    pub fn socket_url(&self) -> String {
        format!("unix://{}", self.folder.join("redis.sock").display())
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

    /// Kills the server at once, as a crash does. [`Redis::restart`] brings it back.
    pub fn crash(&mut self) -> Result<(), Error> {
        self.process.kill()
    }

    /// Stops the server if it runs and starts it again: same data (unless there is no file), same port.
    pub fn restart(&mut self) -> Result<(), Error> {
        self.process.start_again()?;
        wait_ready(&mut self.process, self.port)
    }

    fn start_on(options: &RedisOptions, port: u16) -> Result<Self, Error> {
        let folder = Folder::new("redis", options.parent.as_deref())?;
        let (append, fsync) = match options.fsync {
            RedisFsync::Off => ("no", "no"),
            RedisFsync::EverySecond => ("yes", "everysec"),
            RedisFsync::Always => ("yes", "always"),
        };
        let mut process = Launch::new("redis", "redis-server", folder.join("redis.log"))
            .args(["--bind", "127.0.0.1", "--port", &port.to_string(), "--dir"])
            .args([folder.path().display().to_string()])
            .args(["--unixsocket".to_owned(), folder.join("redis.sock").display().to_string()])
            .args(["--save", "", "--appendonly", append, "--appendfsync", fsync, "--daemonize", "no"])
            .args(options.args.clone())
            .start()?;
        wait_ready(&mut process, port)?;
        Ok(Self { process, folder, port })
    }
}

/// Ready when the server on the port answers, and is the process we started.
fn wait_ready(process: &mut Process, port: u16) -> Result<(), Error> {
    process.wait_ready(Duration::from_secs(30), |process| {
        // It answers INFO while it still reads its file, with `loading:1`; the line before is `async_loading:0`.
        let info = info(port).unwrap_or_default();
        Ok(info.contains(&format!("process_id:{}\r\n", process.pid())) && info.contains("\nloading:0\r\n"))
    })
}

fn info(port: u16) -> std::io::Result<String> {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    stream.write_all(b"INFO\r\nQUIT\r\n")?;
    let mut text = String::new();
    stream.read_to_string(&mut text)?;
    Ok(text)
}
