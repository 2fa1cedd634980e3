//! One client's connection and the exchanges under way on it.

use super::forward::Sender;
use super::guard::Shared;
use super::peers::PeerPlace;
use super::worker::Worker;
use crate::limits::LEFT_MAX;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use tokio::sync::{Notify, OwnedSemaphorePermit};

/// A connection's place among all, and among those of its address; given back when it is dropped.
pub(crate) struct Slot {
    pub _among_all: OwnedSemaphorePermit,
    /// Nothing for proxies that are trusted: what they bring is of many.
    pub peer: Option<PeerPlace>,
}

/// One client's connection, as its requests see it.
pub(crate) struct Client {
    pub worker: Arc<Worker>,
    pub sender: Sender,
    /// Of an HTTP/1 connection.
    pub shared: Option<Arc<Shared>>,
    /// Its place among the connections.
    pub slot: Arc<Slot>,
    /// Requests that began.
    pub begun: AtomicU64,
    /// Exchanges under way.
    pub active: AtomicUsize,
    /// Exchanges that the client took back.
    pub left: AtomicU64,
    /// Too many of them.
    pub abused: Notify,
}

impl Client {
    /// Ends when the client took back so many requests that nobody else does that.
    pub(crate) async fn abused(&self) {
        self.abused.notified().await;
    }
}

/// One of the exchanges under way on a connection, from the request's head to the last byte of the answer or of a tunnel.
pub(crate) struct Active {
    client: Arc<Client>,
    of_peer: usize,
}

impl Active {
    pub(crate) fn new(client: &Arc<Client>) -> Self {
        client.active.fetch_add(1, Relaxed);
        Self { client: client.clone(), of_peer: client.slot.peer.as_ref().map_or(0, PeerPlace::began) }
    }

    /// How many were under way from its address when it began; 0 for proxies that are trusted.
    pub(crate) fn of_peer(&self) -> usize {
        self.of_peer
    }

    /// The client did not wait for the end.
    pub(crate) fn left(&self) {
        let left = self.client.left.fetch_add(1, Relaxed) + 1;
        if left > LEFT_MAX && left * 2 > self.client.begun.load(Relaxed) {
            self.client.abused.notify_one();
        }
    }
}

impl Drop for Active {
    fn drop(&mut self) {
        self.client.active.fetch_sub(1, Relaxed);
        if let Some(peer) = &self.client.slot.peer {
            peer.ended();
        }
    }
}
