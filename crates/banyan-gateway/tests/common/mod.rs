//! A gateway on free ports, servers behind it that tell what reached them, and clients that say exactly what is sent.

#![allow(dead_code, unreachable_pub, missing_docs)] // each test file uses a part of it

pub mod blocking;
pub mod tls;

use banyan_gateway::{Config, Gateway, InProcess, Serving};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tempfile::TempDir;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// Long enough for a machine that does ten other things.
pub const SOON: Duration = Duration::from_secs(30);

pub struct Running {
    pub gateway: Gateway,
    pub address: SocketAddr,
    pub admin: Option<SocketAddr>,
    pub folder: TempDir,
    pub stop: watch::Sender<bool>,
    serving: Option<Serving>,
}

/// Starts a gateway; `rest` is what follows `listen`, `state` and `workers`.
pub fn start(rest: &str) -> Running {
    start_with(rest, None)
}

pub fn start_with(rest: &str, in_process: Option<InProcess>) -> Running {
    let folder = tempfile::tempdir().expect("a temporary folder");
    start_in(folder, rest, in_process)
}

pub fn start_in(folder: TempDir, rest: &str, in_process: Option<InProcess>) -> Running {
    let text = format!("listen = \"127.0.0.1:0\"\nstate = \"state\"\nworkers = 2\n{rest}");
    let config = Config::parse(&text, folder.path()).expect("a good configuration");
    let gateway = Gateway::new(config, in_process).expect("a gateway");
    let (stop, stopping) = watch::channel(false);
    let serving = gateway.serve(stopping).expect("it listens");
    let (address, admin) = (serving.listening[0], serving.admin);
    Running { gateway, address, admin, folder, stop, serving: Some(serving) }
}

impl Running {
    /// Stops it and waits until it has ended.
    pub fn end(mut self) -> TempDir {
        self.stop.send_replace(true);
        self.serving.take().expect("ended once").join();
        std::mem::replace(&mut self.folder, tempfile::tempdir().expect("a temporary folder"))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stop.send_replace(true);
    }
}

/// A route for everything to `address`.
pub fn route_to(address: SocketAddr) -> String {
    format!("[[route]]\nname = \"all\"\npath = \"/\"\nupstream = \"http://{address}\"\n")
}

/// A server that notes every byte, and answers each message with what `answer` makes of it.
pub struct RawServer {
    pub address: SocketAddr,
    seen: Arc<Mutex<Vec<Vec<u8>>>>,
}

/// What a raw server does with the bytes of a connection so far.
pub enum Reply {
    /// Waits for more.
    More,
    /// Sends this and forgets the bytes so far.
    Send(Vec<u8>),
    /// Sends this and closes.
    Close(Vec<u8>),
    /// Keeps the connection and says nothing any more.
    Hang,
}

impl RawServer {
    /// Answers whole messages with 200 and the number of the connection.
    pub async fn start() -> Self {
        Self::with(|bytes, connection| match message_end(bytes) {
            None => Reply::More,
            Some(_) => Reply::Send(ok(&connection.to_string())),
        })
        .await
    }

    pub async fn with(answer: impl Fn(&[u8], usize) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let seen: Arc<Mutex<Vec<Vec<u8>>>> = Arc::default();
        let (of_task, answer) = (seen.clone(), Arc::new(answer));
        tokio::spawn(async move {
            while let Ok((mut socket, _)) = listener.accept().await {
                let (seen, answer) = (of_task.clone(), answer.clone());
                let number = {
                    let mut seen = seen.lock().expect("no panic");
                    seen.push(Vec::new());
                    seen.len() - 1
                };
                tokio::spawn(async move {
                    let (mut bytes, mut piece) = (Vec::new(), vec![0; 16 << 10]);
                    loop {
                        match socket.read(&mut piece).await {
                            Ok(0) | Err(_) => return,
                            Ok(n) => {
                                bytes.extend_from_slice(&piece[..n]);
                                seen.lock().expect("no panic")[number].extend_from_slice(&piece[..n]);
                            }
                        }
                        match answer(&bytes, number) {
                            Reply::More => {}
                            Reply::Send(reply) => {
                                bytes.clear();
                                if socket.write_all(&reply).await.is_err() {
                                    return;
                                }
                            }
                            Reply::Close(reply) => {
                                let _gone = socket.write_all(&reply).await;
                                return;
                            }
                            Reply::Hang => std::future::pending::<()>().await,
                        }
                    }
                });
            }
        });
        Self { address, seen }
    }

    /// What came on each connection, in the order they were opened.
    pub fn seen(&self) -> Vec<String> {
        let seen = self.seen.lock().expect("no panic");
        seen.iter().map(|bytes| String::from_utf8_lossy(bytes).into_owned()).collect()
    }

    /// Everything that came, on all connections.
    pub fn all(&self) -> String {
        self.seen().concat()
    }
}

/// Where a message ends, if it is whole.
pub fn message_end(bytes: &[u8]) -> Option<usize> {
    let head = bytes.windows(4).position(|window| window == b"\r\n\r\n")? + 4;
    let text = String::from_utf8_lossy(&bytes[..head]).to_ascii_lowercase();
    if text.contains("transfer-encoding: chunked") {
        let rest = &bytes[head..];
        let last = rest.windows(5).position(|window| window == b"0\r\n\r\n");
        // Chunks with trailers end with an empty line too.
        let end = last.map(|at| at + 5).or_else(|| {
            let start = rest.windows(3).position(|window| window == b"0\r\n")?;
            rest[start..].windows(4).position(|window| window == b"\r\n\r\n").map(|at| start + at + 4)
        });
        return end.map(|end| head + end);
    }
    let length = text.split("content-length: ").nth(1).and_then(|rest| rest.split("\r\n").next());
    let length: usize = length.map_or(0, |length| length.parse().expect("a length"));
    (bytes.len() >= head + length).then_some(head + length)
}

/// An answer 200 with this body.
pub fn ok(body: &str) -> Vec<u8> {
    format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len()).into_bytes()
}

/// Sends `text` on a new connection and reads until the end.
pub async fn raw(address: SocketAddr, text: impl AsRef<[u8]>) -> String {
    let mut socket = TcpStream::connect(address).await.expect("connected");
    // The gateway may refuse before all is sent.
    let _refused = socket.write_all(text.as_ref()).await;
    rest(&mut socket).await
}

/// Reads until the end, or until nothing came for long.
pub async fn rest(socket: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    let _reset = tokio::time::timeout(SOON, socket.read_to_end(&mut bytes))
        .await
        .expect("the connection is closed in time");
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Reads until what came ends with `end`.
pub async fn read_until(socket: &mut (impl AsyncRead + Unpin), end: &[u8]) -> String {
    let mut got = Vec::new();
    while !got.ends_with(end) {
        let n =
            tokio::time::timeout(SOON, socket.read_buf(&mut got)).await.expect("in time").expect("readable");
        assert!(n > 0, "ended before {end:?}: {:?}", String::from_utf8_lossy(&got));
    }
    String::from_utf8_lossy(&got).into_owned()
}

/// Reads one answer with a known length or chunks.
pub async fn one_answer(socket: &mut TcpStream) -> String {
    one_answer_of(socket).await
}

/// The same from anything that can be read.
pub async fn one_answer_of(socket: &mut (impl AsyncRead + Unpin)) -> String {
    let (mut bytes, mut piece) = (Vec::new(), [0; 4 << 10]);
    let read = async {
        while message_end(&bytes).is_none() {
            match socket.read(&mut piece).await {
                Ok(0) => break,
                Ok(n) => bytes.extend_from_slice(&piece[..n]),
                Err(error) => {
                    panic!("reading an answer: {error}; so far {:?}", String::from_utf8_lossy(&bytes))
                }
            }
        }
        String::from_utf8_lossy(&bytes).into_owned()
    };
    tokio::time::timeout(SOON, read).await.expect("an answer in time")
}

/// A GET on a new connection that is closed after it.
pub async fn get(address: SocketAddr, path: &str) -> String {
    raw(address, format!("GET {path} HTTP/1.1\r\nHost: shop.example\r\nConnection: close\r\n\r\n")).await
}

/// The status of an answer.
pub fn status(answer: &str) -> u16 {
    answer
        .split(' ')
        .nth(1)
        .and_then(|word| word.parse().ok())
        .unwrap_or_else(|| panic!("no answer: {answer:?}"))
}

/// The slug of a problem.
pub fn slug(answer: &str) -> &str {
    answer
        .split("\"title\":\"")
        .nth(1)
        .and_then(|rest| rest.split('"').next())
        .unwrap_or_else(|| panic!("no problem: {answer:?}"))
}

/// A header field's value.
pub fn field<'a>(message: &'a str, name: &str) -> Option<&'a str> {
    let head = message.split("\r\n\r\n").next().unwrap_or_default();
    head.lines().find_map(|line| {
        let (found, value) = line.split_once(':')?;
        found.eq_ignore_ascii_case(name).then(|| value.trim())
    })
}

/// The body of an answer.
pub fn body(answer: &str) -> &str {
    answer.split_once("\r\n\r\n").map_or("", |(_, body)| body)
}

/// Waits until `holds`.
pub async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + SOON;
    while !holds() {
        assert!(Instant::now() < deadline, "not in time: {what}");
        // A condition is looked at again; nobody tells it.
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}
