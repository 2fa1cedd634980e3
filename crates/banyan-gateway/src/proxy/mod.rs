//! The proxy: listens, hands connections to workers, and ends without losing a request.
//!
//! Each worker is a thread with a runtime and pools of its own, so that a request never moves between threads and shares
//! nothing that is written. One of them accepts, and gives each connection to the worker that has the fewest.

pub(crate) mod account;
pub(crate) mod ask;
pub(crate) mod body;
mod client;
mod connection;
pub(crate) mod descriptors;
mod exchange;
pub(crate) mod forward;
mod guard;
mod host;
pub(crate) mod peers;
mod problem;
pub(crate) mod silence;
mod stall;
pub(crate) mod stream;
mod strict;
pub(crate) mod trace;
mod tunnel;
pub(crate) mod waits;
mod websocket;
pub(crate) mod worker;

use crate::config::ConfigError;
use crate::gateway::Inner;
use crate::upstream::health;
use crate::{Gateway, admin, at_rest};
use client::Slot;
use connection::Door;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch};
use worker::Worker;

/// Connections that wait in the kernel's queue.
const BACKLOG: i32 = 4_096;

/// A gateway that serves.
pub struct Serving {
    /// Where clients are served; with the port that was taken, if 0 was asked for.
    pub listening: Vec<SocketAddr>,
    /// Where operators are served.
    pub admin: Option<SocketAddr>,
    threads: Vec<JoinHandle<()>>,
}

impl Serving {
    /// Waits until everything has ended: after `stop` turned true and what was under way is answered, or the time for
    /// that (`timeouts.drain_millis`) is over. Blocks the thread.
    pub fn join(self) {
        for thread in self.threads {
            if thread.join().is_err() {
                tracing::error!("a thread of the gateway panicked");
            }
        }
    }
}

/// An accepted connection on its way to a worker.
struct Accepted {
    socket: std::net::TcpStream,
    peer: SocketAddr,
    slot: Slot,
}

/// What a worker's thread is given.
struct Post {
    worker: Arc<Worker>,
    door: Arc<Door>,
    arriving: mpsc::UnboundedReceiver<Accepted>,
    stopping: watch::Receiver<bool>,
}

impl Gateway {
    /// Listens and serves, in threads of its own, until `stopping` turns true; see [`Serving::join`].
    ///
    /// # Errors
    /// An address cannot be listened on.
    pub fn serve(&self, stopping: watch::Receiver<bool>) -> Result<Serving, ConfigError> {
        let config = self.config();
        descriptors::make_room(config);
        let certificate = self.inner.certificate.clone();
        let door = Arc::new(Door::new(&config.limits, &config.timeouts, certificate));
        let mut listeners = Vec::new();
        for address in &config.listen {
            listeners.push(listen("listen", *address)?);
        }
        let admin = config.admin.map(|address| listen("admin", address)).transpose()?;
        let key = admin.as_ref().map(|_| admin::ensure_key(&config.state)).transpose()?;
        let address = |listener: &std::net::TcpListener| {
            listener.local_addr().map_err(|error| ConfigError(format!("listen: {error}")))
        };
        let listening = listeners.iter().map(address).collect::<Result<Vec<_>, _>>()?;
        let admin_address = admin.as_ref().map(address).transpose()?;
        for address in &listening {
            tracing::info!(%address, version = self.table().version(), "the gateway listens");
        }
        let mut serving = Serving { listening, admin: admin_address, threads: Vec::new() };
        let (mut workers, mut senders) = (Vec::new(), Vec::new());
        let mut posts = Vec::new();
        for index in 0..config.workers {
            let worker = Arc::new(Worker::new(index, self.inner.clone()));
            let (sender, arriving) = mpsc::unbounded_channel();
            senders.push(sender);
            workers.push(worker.clone());
            posts.push(Post { worker, door: door.clone(), arriving, stopping: stopping.clone() });
        }
        let accepting = Accepting {
            inner: self.inner.clone(),
            workers,
            senders,
            slots: Arc::new(Semaphore::new(config.limits.connections_max.min(Semaphore::MAX_PERMITS))),
        };
        let mut accepting = Some((accepting, listeners, stopping.clone()));
        for post in posts {
            let accepting = accepting.take();
            let name = format!("gateway-{}", post.worker.index);
            serving.threads.push(thread(&name, async move {
                if let Some((accepting, listeners, stopping)) = accepting {
                    tokio::spawn(accepting.run(listeners, stopping));
                }
                post.work().await;
            })?);
        }
        let gateway = self.clone();
        serving.threads.push(thread("gateway-admin", async move {
            gateway.look_after(admin.zip(key), stopping).await;
        })?);
        serving.threads.extend(self.start_sides()?);
        Ok(serving)
    }

    /// Health checks, the files of certificates and the admin API, until the gateway has ended.
    async fn look_after(
        self,
        admin: Option<(std::net::TcpListener, String)>,
        stopping: watch::Receiver<bool>,
    ) {
        for upstream in self.all_upstreams() {
            if let Some(pause) = upstream.ca_look() {
                let upstream = upstream.clone();
                let ending = self.inner.ending.subscribe();
                tokio::spawn(at_rest::watch(pause, ending, move || upstream.look_at_ca()));
            }
            let Some(check) = upstream.spec().health.clone() else { continue };
            for at in 0..upstream.servers().len() {
                tokio::spawn(health::watch(
                    upstream.clone(),
                    at,
                    check.clone(),
                    self.inner.client_tls.clone(),
                ));
            }
        }
        // Those of copies and checks, which belong to no worker.
        tokio::spawn(sweep(self.inner.clone(), self.config().workers));
        let mut ending = self.inner.ending.subscribe();
        if let (Some(certificate), Some(files)) = (self.inner.certificate.clone(), &self.config().tls) {
            let pause = Duration::from_millis(files.look_millis);
            tokio::spawn(at_rest::watch(pause, self.inner.ending.subscribe(), move || certificate.look()));
        }
        if let Some((listener, key)) = admin {
            tokio::spawn(admin::serve(self.clone(), listener, key, stopping));
        }
        let exporting = self.inner.traces.clone().map(|traces| tokio::spawn(traces.run(self.inner.clone())));
        drop(ending.wait_for(|end| *end).await);
        if let Some(exporting) = exporting {
            // It has a limit of its own for what is left.
            let _ended = exporting.await;
        }
    }
}

fn listen(field: &str, address: SocketAddr) -> Result<std::net::TcpListener, ConfigError> {
    use socket2::{Domain, Socket, Type};
    let open = || -> io::Result<std::net::TcpListener> {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
        socket.set_reuse_address(true)?;
        socket.bind(&address.into())?;
        socket.listen(BACKLOG)?;
        socket.set_nonblocking(true)?;
        Ok(socket.into())
    };
    open().map_err(|error| {
        ConfigError(format!(
            "the gateway's `{field}`: listening on {address}: {error}. Write another address there, or end what listens on this one"
        ))
    })
}

/// Starts a thread with a runtime of its own.
fn thread(
    name: &str,
    work: impl Future<Output = ()> + Send + 'static,
) -> Result<JoinHandle<()>, ConfigError> {
    let failed = |error: io::Error| ConfigError(format!("starting a thread: {error}"));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(failed)?;
    let run = move || runtime.block_on(work);
    std::thread::Builder::new().name(name.to_owned()).spawn(run).map_err(failed)
}

impl Post {
    async fn work(mut self) {
        tokio::spawn(sweep(self.worker.inner.clone(), self.worker.index));
        while let Some(Accepted { socket, peer, slot }) = self.arriving.recv().await {
            let Ok(socket) = TcpStream::from_std(socket) else {
                self.worker.connections.fetch_sub(1, Relaxed);
                continue;
            };
            let (worker, door) = (self.worker.clone(), self.door.clone());
            tokio::spawn(connection::serve(worker, door, socket, peer.ip(), slot, self.stopping.clone()));
        }
        let mut ending = self.worker.inner.ending.subscribe();
        drop(ending.wait_for(|end| *end).await);
    }
}

/// Closes connections with servers that were idle for too long.
async fn sweep(inner: Arc<Inner>, worker: usize) {
    let mut ticks = tokio::time::interval(Duration::from_secs(1));
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let table = inner.table.load_full();
        // No route may lead to a named one any more: what was opened before is closed all the same.
        let named = inner.named.iter().flat_map(|upstream| upstream.servers());
        for server in table.servers().chain(named) {
            server.pool.sweep(worker);
        }
    }
}

/// Accepts connections and hands them out.
struct Accepting {
    inner: Arc<Inner>,
    workers: Vec<Arc<Worker>>,
    senders: Vec<mpsc::UnboundedSender<Accepted>>,
    slots: Arc<Semaphore>,
}

impl Accepting {
    async fn run(self, listeners: Vec<std::net::TcpListener>, mut stopping: watch::Receiver<bool>) {
        let this = Arc::new(self);
        let mut tasks = tokio::task::JoinSet::new();
        for listener in listeners {
            match TcpListener::from_std(listener) {
                Ok(listener) => drop(tasks.spawn(this.clone().accept(listener))),
                Err(error) => tracing::error!(%error, "listening"),
            }
        }
        // An error means that whoever could stop us is gone.
        drop(stopping.wait_for(|stop| *stop).await);
        tasks.shutdown().await;
        let config = &this.inner.config;
        let drain = Duration::from_millis(config.timeouts.drain_millis);
        let all = u32::try_from(config.limits.connections_max).unwrap_or(u32::MAX);
        if tokio::time::timeout(drain, this.slots.acquire_many(all)).await.is_err() {
            tracing::warn!("some requests or tunnels were still under way when their time was up");
        }
        this.inner.ending.send_replace(true);
    }

    async fn accept(self: Arc<Self>, listener: TcpListener) {
        loop {
            let accepted = listener.accept().await.and_then(|(socket, peer)| Ok((socket.into_std()?, peer)));
            match accepted {
                Ok((socket, peer)) => {
                    // Only now: a place that a listener held before anybody came would be nobody's on the others.
                    let Ok(slot) = self.slots.clone().acquire_owned().await else { return };
                    match self.slot(slot, peer.ip()) {
                        Some(slot) => self.hand_out(Accepted { socket, peer, slot }),
                        None => drop(socket),
                    }
                }
                Err(error) => {
                    // Out of file descriptors, or a connection that went away in the queue: the next one may be fine.
                    tracing::warn!(%error, "accepting a connection");
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
            }
        }
    }

    /// A connection's place, unless its address has all that one may have.
    fn slot(&self, among_all: OwnedSemaphorePermit, peer: IpAddr) -> Option<Slot> {
        let config = &self.inner.config;
        if config.trusted_proxies.iter().any(|network| network.contains(peer)) {
            return Some(Slot { _among_all: among_all, peer: None });
        }
        let place = self.inner.peers.come(peer, config.limits.client_connections_max);
        if place.is_none() {
            self.inner.metrics.of(0).client_refused.fetch_add(1, Relaxed);
            self.inner.peers.warn(peer, "limits.client_connections_max");
        }
        place.map(|place| Slot { _among_all: among_all, peer: Some(place) })
    }

    fn hand_out(&self, accepted: Accepted) {
        let least =
            self.workers.iter().zip(&self.senders).min_by_key(|(worker, _)| worker.connections.load(Relaxed));
        let Some((worker, sender)) = least else { return };
        worker.connections.fetch_add(1, Relaxed);
        if sender.send(accepted).is_err() {
            worker.connections.fetch_sub(1, Relaxed);
        }
    }
}
