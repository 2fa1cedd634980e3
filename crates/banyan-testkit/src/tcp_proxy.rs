//! A TCP proxy that misbehaves on demand: it stands between a program and a server and plays the bad network.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::Error;

/// At most this much of a connection is inside the proxy, each way; the rest waits in the kernel.
const BUFFER_BYTES: usize = 16 << 10;
/// How long the other side may take to accept a connection.
const CONNECT_MAX: Duration = Duration::from_secs(10);

/// Which way bytes go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// From the program to the server.
    ToServer,
    /// From the server to the program.
    ToClient,
}

/// A proxy on a free port of 127.0.0.1. Everything that it can be told works at once, on connections that are open too.
/// On drop every connection is cut.
#[derive(Debug)]
pub struct TcpProxy {
    shared: Arc<Shared>,
    address: SocketAddr,
    acceptor: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    target: SocketAddr,
    state: Mutex<State>,
    changed: Condvar,
    ending: AtomicBool,
}

#[derive(Debug, Default)]
struct State {
    refusing: bool,
    held: [bool; 2],
    waiting: [usize; 2],
    /// Bytes that may still pass before everything is cut, each way.
    left: [Option<u64>; 2],
    passed: [u64; 2],
    accepted: u64,
    open: Vec<Arc<Pair>>,
}

/// The two ends of one connection.
#[derive(Debug)]
struct Pair {
    client: TcpStream,
    server: TcpStream,
    cut: AtomicBool,
}

impl TcpProxy {
    /// Starts a proxy to `target`, which need not listen yet.
    pub fn start(target: SocketAddr) -> Result<Self, Error> {
        let doing = || format!("starting a proxy to {target}");
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map_err(|e| Error::io(doing(), e))?;
        let address = listener.local_addr().map_err(|e| Error::io(doing(), e))?;
        let state = Mutex::new(State::default());
        let shared =
            Arc::new(Shared { target, state, changed: Condvar::new(), ending: AtomicBool::new(false) });
        let accepting = shared.clone();
        let acceptor = std::thread::Builder::new().name("tcp-proxy".to_owned());
        let acceptor =
            acceptor.spawn(move || accept(&listener, &accepting)).map_err(|e| Error::io(doing(), e))?;
        Ok(Self { shared, address, acceptor: Some(acceptor) })
    }

    /// Where programs connect to.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The port of [`TcpProxy::address`].
    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// Cuts every open connection on both sides. Bytes that are held are lost. New connections are not affected.
    pub fn cut(&self) {
        self.shared.lock().cut_all();
        self.shared.changed.notify_all();
    }

    /// Whether new connections are closed as soon as they come. (The port stays ours, so the program sees a connection
    /// that ends, not one that is refused.)
    pub fn refuse(&self, refusing: bool) {
        self.shared.lock().refusing = refusing;
    }

    /// Whether bytes that go this way are held back; they follow, in order, when they no longer are.
    pub fn hold(&self, way: Way, held: bool) {
        self.shared.lock().held[way as usize] = held;
        self.shared.changed.notify_all();
    }

    /// How many connections have bytes that are held back this way.
    pub fn waiting(&self, way: Way) -> usize {
        self.shared.lock().waiting[way as usize]
    }

    /// Lets this many more bytes pass this way, counted over all connections, and then cuts them all, once.
    pub fn cut_after(&self, way: Way, bytes: u64) {
        self.shared.lock().left[way as usize] = Some(bytes);
    }

    /// Takes back what [`TcpProxy::cut_after`] asked for, if it has not come about.
    pub fn cut_no_more(&self, way: Way) {
        self.shared.lock().left[way as usize] = None;
    }

    /// Whether a cut that [`TcpProxy::cut_after`] asked for is still to come.
    pub fn will_cut(&self, way: Way) -> bool {
        self.shared.lock().left[way as usize].is_some()
    }

    /// How many bytes were passed on this way since the start.
    pub fn passed(&self, way: Way) -> u64 {
        self.shared.lock().passed[way as usize]
    }

    /// How many connections were accepted since the start, those that were refused not counted.
    pub fn accepted(&self) -> u64 {
        self.shared.lock().accepted
    }

    /// How many connections are open.
    pub fn open(&self) -> usize {
        self.shared.lock().open.len()
    }
}

impl Drop for TcpProxy {
    fn drop(&mut self) {
        self.shared.ending.store(true, Ordering::SeqCst);
        self.cut();
        // Wakes the acceptor; when that fails it has ended already.
        drop(TcpStream::connect(self.address));
        if let Some(acceptor) = self.acceptor.take() {
            let _ = acceptor.join();
        }
        self.cut();
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no code panics while it holds the state")
    }

    /// How many of `wanted` bytes may pass now; waits while they are held. `None` when the connection was cut.
    fn admit(&self, way: Way, wanted: usize, pair: &Pair) -> Option<usize> {
        let is_cut = || pair.cut.load(Ordering::SeqCst);
        let mut state = self.lock();
        state.waiting[way as usize] += 1;
        while state.held[way as usize] && !is_cut() {
            state = self.changed.wait(state).expect("no code panics while it holds the state");
        }
        state.waiting[way as usize] -= 1;
        if is_cut() {
            return None;
        }
        let left = &mut state.left[way as usize];
        let allowed = left.map_or(wanted, |left| wanted.min(usize::try_from(left).unwrap_or(wanted)));
        if let Some(left) = left {
            *left -= allowed as u64;
        }
        state.passed[way as usize] += allowed as u64;
        Some(allowed)
    }

    /// Cuts everything if the last byte that may pass has.
    fn end_if_spent(&self, way: Way) {
        let mut state = self.lock();
        if state.left[way as usize] == Some(0) {
            state.left[way as usize] = None;
            state.cut_all();
            self.changed.notify_all();
        }
    }
}

impl State {
    fn cut_all(&mut self) {
        for pair in self.open.drain(..) {
            pair.cut.store(true, Ordering::SeqCst);
            // Closing follows when both directions have noticed; the programs notice now.
            let _ = pair.client.shutdown(Shutdown::Both);
            let _ = pair.server.shutdown(Shutdown::Both);
        }
    }
}

fn accept(listener: &TcpListener, shared: &Arc<Shared>) {
    for client in listener.incoming() {
        if shared.ending.load(Ordering::SeqCst) {
            return;
        }
        let Ok(client) = client else { continue };
        if shared.lock().refusing {
            continue;
        }
        let Ok(server) = TcpStream::connect_timeout(&shared.target, CONNECT_MAX) else { continue };
        let _ = client.set_nodelay(true);
        let _ = server.set_nodelay(true);
        let pair = Arc::new(Pair { client, server, cut: AtomicBool::new(false) });
        let mut state = shared.lock();
        state.accepted += 1;
        state.open.push(pair.clone());
        drop(state);
        let ways = [Way::ToServer, Way::ToClient].map(|way| {
            let (shared, pair) = (shared.clone(), pair.clone());
            std::thread::spawn(move || pass(way, &shared, &pair))
        });
        let shared = shared.clone();
        std::thread::spawn(move || {
            for way in ways {
                let _ = way.join();
            }
            shared.lock().open.retain(|open| !Arc::ptr_eq(open, &pair));
        });
    }
}

/// Carries one direction to its end, and then says so to the receiver.
fn pass(way: Way, shared: &Shared, pair: &Pair) {
    let (mut from, mut to) = match way {
        Way::ToServer => (&pair.client, &pair.server),
        Way::ToClient => (&pair.server, &pair.client),
    };
    let mut buffer = [0; BUFFER_BYTES];
    while let Ok(read) = from.read(&mut buffer) {
        if read == 0 {
            break;
        }
        let Some(allowed) = shared.admit(way, read, pair) else { break };
        if to.write_all(&buffer[..allowed]).is_err() {
            break;
        }
        shared.end_if_spent(way);
    }
    let _ = to.shutdown(Shutdown::Write);
}

#[cfg(test)]
#[path = "tcp_proxy_tests.rs"]
mod tests;
