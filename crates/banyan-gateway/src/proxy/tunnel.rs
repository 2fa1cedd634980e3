//! After 101: two sockets, and bytes in both directions until both have ended.

use super::account::Account;
use super::client::Client;
use super::silence::Silence;
use super::worker::Worker;
use crate::side::Ended;
use crate::upstream::pool::One;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _, ReadBuf, copy_bidirectional};

/// Opens a tunnel as a task of its own; it ends with its sockets, after long silence, or when the gateway stops.
pub(crate) fn open(client: &Client, on_upgrade: OnUpgrade, one: One, account: Box<Account>) {
    let (worker, slot) = (client.worker.clone(), client.slot.clone());
    tokio::spawn(async move {
        let _held = slot;
        let limit = Duration::from_millis(worker.inner.config.timeouts.tunnel_millis);
        let ended = match carry(&worker, on_upgrade, one, limit).await {
            Ok(()) => Ended::Whole,
            Err(error) => {
                tracing::debug!(%error, "a tunnel broke");
                // Whoever broke it, the answer 101 was given: no failure of the side.
                Ended::Whole
            }
        };
        account.settle(ended);
    });
}

async fn carry(worker: &Worker, on_upgrade: OnUpgrade, one: One, limit: Duration) -> io::Result<()> {
    let (server, early) = one.into_socket().await;
    let client = on_upgrade.await.map_err(io::Error::other)?;
    let mut client = TokioIo::new(client);
    client.write_all(&early).await?;
    let moved = AtomicBool::new(false);
    // Over HTTP/1 the guard sees who takes nothing; a stream of HTTP/2 has nobody else.
    let idle = Duration::from_millis(worker.inner.config.timeouts.idle_millis);
    let mut client = Moving { io: client, moved: &moved, untaken: Some(Silence::new(idle)) };
    let mut server = Moving { io: server, moved: &moved, untaken: None };
    let mut stopping = worker.inner.ending.subscribe();
    let mut ticks = tokio::time::interval(limit);
    ticks.tick().await;
    let mut copying = std::pin::pin!(copy_bidirectional(&mut client, &mut server));
    loop {
        tokio::select! {
            copied = copying.as_mut() => return copied.map(|_| ()),
            _ = stopping.wait_for(|end| *end) => return Ok(()),
            _ = ticks.tick() => {
                if !moved.swap(false, Relaxed) {
                    return Err(io::Error::new(io::ErrorKind::TimedOut, "nothing moved for `timeouts.tunnel_millis`"));
                }
            }
        }
    }
}

/// Notes that bytes move.
struct Moving<'a, T> {
    io: T,
    moved: &'a AtomicBool,
    /// How long it may take nothing.
    untaken: Option<Silence>,
}

impl<T: AsyncRead + Unpin> AsyncRead for Moving<'_, T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.io).poll_read(cx, buf);
        if polled.is_ready() {
            self.moved.store(true, Relaxed);
        }
        polled
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Moving<'_, T> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        let polled = Pin::new(&mut this.io).poll_write(cx, buf);
        let Some(untaken) = &mut this.untaken else { return polled };
        if polled.is_ready() {
            untaken.end();
            return polled;
        }
        untaken
            .poll(cx)
            .map(|()| Err(io::Error::new(io::ErrorKind::TimedOut, "the client takes nothing any more")))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}
