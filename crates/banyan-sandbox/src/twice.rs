//! A fault below HTTP: the bytes of one answer are sent a second time.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

/// Asks a connection to send its next answer twice.
#[derive(Clone, Debug, Default)]
pub(crate) struct Twice(Arc<AtomicBool>);

impl Twice {
    pub(crate) fn ask(&self) {
        self.0.store(true, Ordering::Release);
    }
}

/// A connection that can repeat what it wrote.
pub(crate) struct EchoIo {
    stream: TcpStream,
    twice: Twice,
    /// What was written since it was asked, to be written again at the next flush.
    again: Vec<u8>,
    written: usize,
}

impl EchoIo {
    pub(crate) fn new(stream: TcpStream, twice: Twice) -> Self {
        Self { stream, twice, again: Vec::new(), written: 0 }
    }
}

impl AsyncRead for EchoIo {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for EchoIo {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let count = ready!(Pin::new(&mut self.stream).poll_write(cx, bytes))?;
        if self.twice.0.load(Ordering::Acquire) {
            self.again.extend_from_slice(&bytes[..count]);
        }
        Poll::Ready(Ok(count))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        while this.written < this.again.len() {
            let rest = &this.again[this.written..];
            let count = ready!(Pin::new(&mut this.stream).poll_write(cx, rest))?;
            if count == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            this.written += count;
        }
        if this.written > 0 {
            this.twice.0.store(false, Ordering::Release);
            (this.again, this.written) = (Vec::new(), 0);
        }
        Pin::new(&mut this.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
