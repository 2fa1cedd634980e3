//! The real Banyan, as a process: started, killed, started again, asked.

use crate::http::Http;
use banyan_testkit::{Launch, Process};
use serde_json::{Value, json};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

/// Longest wait for its first answer.
const START_MAX: Duration = Duration::from_secs(120);
/// Longest wait for an answer of its own API.
const ANSWER_MAX: Duration = Duration::from_secs(60);

/// How to run it.
#[derive(Clone)]
pub(crate) struct Program {
    binary: PathBuf,
    folder: PathBuf,
    address: SocketAddr,
}

impl Program {
    pub(crate) fn new(binary: &Path, folder: &Path, address: SocketAddr) -> Self {
        Self { binary: binary.to_owned(), folder: folder.to_owned(), address }
    }

    fn data(&self) -> String {
        self.folder.join("data").display().to_string()
    }

    fn mapping(&self) -> String {
        self.folder.join("stock.toml").display().to_string()
    }

    pub(crate) fn log(&self) -> PathBuf {
        self.folder.join("banyan.log")
    }

    /// Starts the server and waits until it answers.
    pub(crate) fn start(&self, compare_every: u64) -> Result<Process, String> {
        let (data, mapping, listen) = (self.data(), self.mapping(), self.address.to_string());
        let compare = compare_every.to_string();
        let launch = Launch::new("banyan", &self.binary, self.log())
            .args(["up", "--no-sample", "--no-shop", "--data", &data, "--listen", &listen])
            .args(["--legacy", &mapping, "--legacy-quiet", "1", "--legacy-compare", &compare]);
        let mut process = launch.start().map_err(|error| error.to_string())?;
        self.wait(&mut process)?;
        Ok(process)
    }

    /// Starts it again after it was killed.
    pub(crate) fn start_again(&self, process: &mut Process) -> Result<(), String> {
        process.start_again().map_err(|error| error.to_string())?;
        self.wait(process)
    }

    fn wait(&self, process: &mut Process) -> Result<(), String> {
        process.wait_ready(START_MAX, |_| Ok(answers(self.address))).map_err(|error| error.to_string())
    }

    /// The operator's key, once the server has made it.
    pub(crate) fn key(&self) -> Result<String, String> {
        let path = Path::new(&self.data()).join("operator.key");
        let key =
            std::fs::read_to_string(&path).map_err(|error| format!("reading {}: {error}", path.display()))?;
        Ok(key.trim().to_owned())
    }

    /// `banyan legacy check --create`.
    pub(crate) fn create(&self) -> Result<(), String> {
        self.run(&["legacy", "check", &self.mapping(), "--create"]).map(drop)
    }

    /// `banyan legacy move`. An error says only that this command did not see its end.
    pub(crate) fn move_to(&self, phase: &str) -> Result<(), String> {
        let url = format!("http://{}", self.address);
        self.run(&["legacy", "move", phase, "--reason", "a long run", "--url", &url, "--data", &self.data()])
            .map(drop)
    }

    /// `banyan verify`.
    pub(crate) fn verify(&self) -> Result<Value, String> {
        let text = self.run(&["verify", "--json", "--data", &self.data()])?;
        serde_json::from_str(&text).map_err(|error| format!("banyan verify: {error}: {text}"))
    }

    fn run(&self, args: &[&str]) -> Result<String, String> {
        let output = Command::new(&self.binary)
            .args(args)
            .env_remove("BANYAN_LOG")
            .stdin(Stdio::null())
            .output()
            .map_err(|error| format!("running {}: {error}", self.binary.display()))?;
        let out = String::from_utf8_lossy(&output.stdout).into_owned();
        match output.status.success() {
            true => Ok(out),
            false => {
                let words = args.iter().take(3).copied().collect::<Vec<_>>().join(" ");
                Err(format!(
                    "banyan {words}: {}: {out}{}",
                    output.status,
                    String::from_utf8_lossy(&output.stderr)
                ))
            }
        }
    }
}

/// Whether a server says there that it is ready.
fn answers(address: SocketAddr) -> bool {
    let ask = || -> std::io::Result<bool> {
        let mut stream = TcpStream::connect_timeout(&address, Duration::from_secs(1))?;
        stream.set_read_timeout(Some(Duration::from_secs(5)))?;
        stream.write_all(
            format!("GET /readyz HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n").as_bytes(),
        )?;
        let mut first = [0; 12];
        stream.read_exact(&mut first)?;
        Ok(&first == b"HTTP/1.1 200")
    };
    ask().unwrap_or(false)
}

/// Where stock stands, if the server answers.
pub(crate) async fn status(http: &mut Http) -> Option<Value> {
    let reply = http.get("/v1/legacy/stock", ANSWER_MAX).await.ok()?;
    (reply.status == 200).then(|| reply.json())
}

/// Compares both sides now: rows, and rows that still differ.
pub(crate) async fn reconcile(http: &mut Http) -> Result<(u64, u64), String> {
    let reply = http.send("POST", "/v1/legacy/stock/reconcile", None, Some(&json!({})), ANSWER_MAX).await;
    let reply = reply.map_err(|error| error.to_string())?;
    let json = reply.json();
    match (reply.status, json["rows"].as_u64(), json["differing"].as_u64()) {
        (200, Some(rows), Some(differing)) => Ok((rows, differing)),
        _ => Err(json.to_string()),
    }
}

/// Every SKU, page by page.
pub(crate) async fn stock(http: &mut Http) -> Result<Vec<Value>, String> {
    let (mut all, mut after) = (Vec::new(), String::new());
    loop {
        let reply = http.get(&format!("/v1/stock?limit=1000{after}"), ANSWER_MAX).await;
        let json = reply.map_err(|error| format!("reading the stock: {error}"))?.json();
        all.extend(
            json["skus"].as_array().ok_or_else(|| format!("reading the stock: {json}"))?.iter().cloned(),
        );
        match json["next"].as_str() {
            Some(next) => after = format!("&after={next}"),
            None => return Ok(all),
        }
    }
}

/// Events from `from` on: those that are there now.
pub(crate) async fn events(http: &mut Http, from: u64) -> Result<Vec<Value>, String> {
    let (mut all, mut from) = (Vec::new(), from);
    loop {
        let reply = http.get(&format!("/v1/events?from={from}&limit=10000"), ANSWER_MAX).await;
        let reply = reply.map_err(|error| format!("reading the log: {error}"))?;
        if reply.status != 200 {
            return match reply.slug().as_str() {
                "beyond-the-log" => Ok(all),
                _ => Err(format!("reading the log from {from}: {}", reply.json())),
            };
        }
        let text = String::from_utf8_lossy(&reply.body);
        let some: Vec<Value> = text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
        let Some(last) = some.last().and_then(|event: &Value| event["seq"].as_u64()) else { return Ok(all) };
        all.extend(some);
        from = last + 1;
    }
}
