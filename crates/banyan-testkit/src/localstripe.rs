//! A private localstripe: a third-party emulation of Stripe's API, from the Python Package Index.
//!
//! What it does not do, as found by running it (1.15.10): it pays no heed to `Idempotency-Key`, has no search, checks no
//! refund against what was captured, turns away fields it does not know with 400, and takes any key that begins with `sk_`.
//! As it comes it would listen on every address and write into a file that all its processes share; it is started here so
//! that it does neither.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::path::Path;
use std::time::Duration;

use crate::folder::Folder;
use crate::{Error, Launch, Process, python, with_free_ports};

/// The version that the tests were written against.
const VERSION: &str = "1.15.10";
/// On loopback, and with its data in memory only.
const START: &str = "import sys
from aiohttp import web
from localstripe import resources, server
resources.Store.dump_to_disk = lambda self: None
web.run_app(server.app, host='127.0.0.1', port=int(sys.argv[1]))
";

/// A running server without data; any key that begins with `sk_` opens it. Ended on drop.
#[derive(Debug)]
pub struct LocalStripe {
    process: Process, // before the folder: it must be gone first
    _folder: Folder,
    port: u16,
}

impl LocalStripe {
    /// Starts an empty server; the first time on a machine, fetches it with `pip` into a Python environment of its own
    /// in the user's cache folder. Takes about 1 s, the first time about 15 s.
    pub fn start() -> Result<Self, Error> {
        let wanted = format!("localstripe=={VERSION}");
        let python = python::environment(&format!("localstripe-{VERSION}"), &[&wanted])?;
        with_free_ports(|[port]| Self::start_on(&python, port))
    }

    /// `http://127.0.0.1:PORT`.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// The server's process id.
    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// The server's log.
    pub fn log(&self) -> &Path {
        self.process.log()
    }

    fn start_on(python: &Path, port: u16) -> Result<Self, Error> {
        let folder = Folder::new("localstripe", None)?;
        let mut process = Launch::new("localstripe", python, folder.join("localstripe.log"))
            .args(["-u", "-c", START, &port.to_string()])
            .start()?;
        process.wait_ready(Duration::from_secs(60), |_| Ok(answers(port).unwrap_or(false)))?;
        Ok(Self { process, _folder: folder, port })
    }
}

/// Ready when it turns somebody without a key away.
fn answers(port: u16) -> std::io::Result<bool> {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    stream.write_all(b"GET /v1/balance HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
    let mut text = String::new();
    stream.read_to_string(&mut text)?;
    Ok(text.starts_with("HTTP/1.1 401"))
}
