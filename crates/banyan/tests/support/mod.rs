//! The real binary, started in a temporary folder on a free port, and a plain HTTP/1.1 client.
#![allow(dead_code, reason = "each test uses its own part")]

pub(crate) mod company;
pub(crate) mod kill;
pub(crate) mod sale;

use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// Longest wait for anything that must happen.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);

/// A running server.
pub(crate) struct Server {
    child: Child,
    pub(crate) address: SocketAddr,
    pub(crate) data: PathBuf,
    /// From the start of the process to its first answer.
    pub(crate) start_up: Duration,
    stderr: Arc<Mutex<String>>,
}

/// A connection that is kept, with a key.
pub(crate) struct Http {
    pub(crate) address: SocketAddr,
    key: String,
    stream: Option<BufReader<TcpStream>>,
}

/// An answer.
#[derive(Clone, Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    /// By lower-case name.
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) body: Vec<u8>,
}

impl Server {
    /// Starts `binary up` on `data` and waits until it answers.
    pub(crate) fn start(binary: &Path, data: &Path, more: &[&str]) -> Self {
        Self::start_at(binary, data, &[&["--listen", "127.0.0.1:0"], more].concat())
    }

    /// The same, where `more` says where to listen.
    pub(crate) fn start_at(binary: &Path, data: &Path, more: &[&str]) -> Self {
        Self::start_as(binary, &["up", "--data"], data, data, more)
    }

    /// Starts `binary` with `words`, a `folder` and `more`; its store is in `data` then.
    pub(crate) fn start_as(binary: &Path, words: &[&str], folder: &Path, data: &Path, more: &[&str]) -> Self {
        let began = Instant::now();
        let mut child = Command::new(binary)
            .args(words)
            .arg(folder)
            .args(more)
            .env_remove("BANYAN_LOG")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the binary starts");
        let stderr = Arc::new(Mutex::new(String::new()));
        let (from, into) = (child.stderr.take().expect("piped"), stderr.clone());
        std::thread::spawn(move || {
            for line in BufReader::new(from).lines().map_while(Result::ok) {
                let mut text = into.lock().expect("no panic while held");
                text.push_str(&line);
                text.push('\n');
            }
        });
        let mut out = BufReader::new(child.stdout.take().expect("piped"));
        let mut said = String::new();
        let address = loop {
            let mut line = String::new();
            let read = out.read_line(&mut line).expect("its output can be read");
            assert!(read > 0, "the server ended: {said}{}", stderr.lock().expect("no panic while held"));
            said.push_str(&line);
            if let Some(at) = line.find("http://").filter(|_| line.contains("API")) {
                let rest = &line[at + 7..];
                let end = rest.find('/').unwrap_or(rest.len());
                break rest[..end].trim().parse().expect("an address");
            }
        };
        std::thread::spawn(move || io::copy(&mut out, &mut io::sink()));
        let mut server = Self { child, address, data: data.to_owned(), start_up: Duration::ZERO, stderr };
        server.http("").get("/healthz").expect("it answers");
        server.start_up = began.elapsed();
        server
    }

    /// The operator's key.
    pub(crate) fn operator_key(&self) -> String {
        let path = self.data.join("operator.key");
        std::fs::read_to_string(path).expect("the operator's key").trim().to_owned()
    }

    /// A client with `key`.
    pub(crate) fn http(&self, key: &str) -> Http {
        Http { address: self.address, key: key.into(), stream: None }
    }

    /// A client with the operator's key.
    pub(crate) fn operator(&self) -> Http {
        self.http(&self.operator_key())
    }

    /// A client with a token of `member`, signed with the secret in the file `secret`.
    pub(crate) fn shopper(&self, binary: &Path, secret: &Path, member: &str) -> Http {
        let words = ["key", "token", "--member", member, "--for", "1h", "--secret-file"];
        let made = Command::new(binary).args(words).arg(secret).output().expect("it runs");
        assert!(made.status.success(), "{made:?}");
        self.http(String::from_utf8(made.stdout).expect("text").trim())
    }

    /// What it said on standard error so far.
    pub(crate) fn stderr(&self) -> String {
        self.stderr.lock().expect("no panic while held").clone()
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Resident memory in KiB.
    pub(crate) fn rss_kib(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid())).expect("it runs");
        let line = status.lines().find(|line| line.starts_with("VmRSS")).expect("Linux");
        line.split_whitespace().nth(1).and_then(|kib| kib.parse().ok()).expect("a number")
    }

    /// SIGKILL, to this process only.
    pub(crate) fn kill(mut self) {
        self.child.kill().expect("it can be killed");
        self.child.wait().expect("it ends");
    }

    /// SIGTERM.
    pub(crate) fn tell_to_stop(&self) {
        let sent = Command::new("kill").arg(self.pid().to_string()).status();
        assert!(sent.expect("kill is there").success());
    }

    /// Waits for its end.
    pub(crate) fn wait(mut self) -> (ExitStatus, String) {
        let status = until("the server ends", || self.child.try_wait().expect("it can be waited for"));
        (status, self.stderr())
    }

    /// Stops it cleanly.
    pub(crate) fn stop(self) -> String {
        self.tell_to_stop();
        let (status, stderr) = self.wait();
        assert!(status.success(), "the server ended with {status}: {stderr}");
        stderr
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _it_may_have_ended = self.child.kill();
        let _it_may_have_ended = self.child.wait();
    }
}

impl Http {
    /// A client of another server, without a key.
    pub(crate) fn to(address: SocketAddr) -> Self {
        Self { address, key: String::new(), stream: None }
    }

    /// A client of another server, with a key of it.
    pub(crate) fn with_key(address: SocketAddr, key: &str) -> Self {
        Self { key: key.into(), ..Self::to(address) }
    }

    pub(crate) fn get(&mut self, path: &str) -> io::Result<Reply> {
        self.send("GET", path, &[], b"")
    }

    pub(crate) fn post(&mut self, path: &str, body: &Value) -> io::Result<Reply> {
        self.send("POST", path, &[], body.to_string().as_bytes())
    }

    /// Sends one request and reads its whole answer. An error means that no complete answer came.
    pub(crate) fn send(
        &mut self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> io::Result<Reply> {
        let mut stream = match self.stream.take() {
            Some(stream) => stream,
            None => connect(self.address)?,
        };
        let mut head = format!("{method} {path} HTTP/1.1\r\nhost: {}\r\n", self.address);
        if !self.key.is_empty() {
            head.push_str(&format!("authorization: Bearer {}\r\n", self.key));
        }
        for (name, value) in headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        head.push_str(&format!("content-length: {}\r\n\r\n", body.len()));
        let mut request = head.into_bytes();
        request.extend_from_slice(body);
        stream.get_mut().write_all(&request)?;
        let reply = read_reply(&mut stream)?;
        if reply.headers.get("connection").is_none_or(|value| value != "close") {
            self.stream = Some(stream);
        }
        Ok(reply)
    }
}

impl Reply {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.text()))
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body, if the status is `status`.
    #[track_caller]
    pub(crate) fn expect(&self, status: u16) -> Value {
        assert_eq!(self.status, status, "{}", self.text());
        self.json()
    }

    /// Fails unless this is the refusal `slug` with its status.
    #[track_caller]
    pub(crate) fn expect_problem(&self, status: u16, slug: &str) {
        let body = self.expect(status);
        assert_eq!(body["type"], format!("/errors/{slug}"), "{body}");
        assert_eq!(body["status"], status);
        assert!(body["detail"].as_str().is_some_and(|detail| detail.len() > 10), "{body}");
        assert_eq!(self.headers["content-type"], "application/problem+json");
    }
}

pub(crate) fn connect(address: SocketAddr) -> io::Result<BufReader<TcpStream>> {
    let stream = TcpStream::connect(address)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    Ok(BufReader::new(stream))
}

/// Reads one answer to its end.
pub(crate) fn read_reply(stream: &mut BufReader<TcpStream>) -> io::Result<Reply> {
    let (status, headers) = read_head(stream)?;
    let mut body = Vec::new();
    if let Some(length) = headers.get("content-length") {
        body.resize(length.parse().map_err(io::Error::other)?, 0);
        stream.read_exact(&mut body)?;
    } else if headers.get("transfer-encoding").is_some_and(|value| value == "chunked") {
        while let Some(part) = read_chunk(stream)? {
            body.extend_from_slice(&part);
        }
    }
    Ok(Reply { status, headers, body })
}

/// Reads the head of an answer.
pub(crate) fn read_head(stream: &mut BufReader<TcpStream>) -> io::Result<(u16, BTreeMap<String, String>)> {
    let mut line = read_line(stream)?;
    let status = line.split(' ').nth(1).and_then(|status| status.parse().ok());
    let status = status.ok_or_else(|| io::Error::other(format!("no status in {line:?}")))?;
    let mut headers = BTreeMap::new();
    loop {
        line = read_line(stream)?;
        if line.is_empty() {
            return Ok((status, headers));
        }
        if let Some((name, value)) = line.split_once(':') {
            headers.insert(name.to_ascii_lowercase(), value.trim().to_owned());
        }
    }
}

/// Reads one chunk of a chunked body; `None` at its end.
pub(crate) fn read_chunk(stream: &mut BufReader<TcpStream>) -> io::Result<Option<Vec<u8>>> {
    let size = usize::from_str_radix(read_line(stream)?.trim(), 16).map_err(io::Error::other)?;
    let mut part = vec![0; size];
    stream.read_exact(&mut part)?;
    read_line(stream)?;
    Ok((size > 0).then_some(part))
}

fn read_line(stream: &mut BufReader<TcpStream>) -> io::Result<String> {
    let mut line = String::new();
    if stream.read_line(&mut line)? == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(line.trim_end_matches(['\r', '\n']).to_owned())
}

/// Runs a subcommand to its end.
pub(crate) fn run(binary: &Path, args: &[&str]) -> Output {
    let output = Command::new(binary).args(args).env_remove("BANYAN_LOG").stdin(Stdio::null()).output();
    output.expect("the binary starts")
}

/// Runs a subcommand that must succeed and returns its standard output.
#[track_caller]
pub(crate) fn run_well(binary: &Path, args: &[&str]) -> String {
    let output = run(binary, args);
    let out = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{args:?}: {out}{}", String::from_utf8_lossy(&output.stderr));
    out
}

/// Waits until `look` finds something.
#[track_caller]
pub(crate) fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let began = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(began.elapsed() < PATIENCE, "waited in vain: {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// A campaign of `quantity` coupons worth 5,000 won.
pub(crate) fn campaign(id: &str, quantity: &Value, per_member: u32) -> Value {
    json!({"id": id, "name": id, "quantity": quantity, "per_member": per_member,
           "benefit": {"amount": {"minor": 5000, "currency": "KRW"}}})
}

/// The path of a directory or file as text.
pub(crate) fn text(path: &Path) -> &str {
    path.to_str().expect("temporary paths are text")
}
