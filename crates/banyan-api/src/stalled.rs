//! A connection whose client takes nothing of its answer does not keep its place for ever.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Sleep;

/// A stream that fails a write which has waited for longer than `time_max` without a byte going out. As long as writes go
/// out, it costs nothing.
pub(crate) struct Stalled<S> {
    stream: S,
    time_max: Duration,
    /// The end of patience, while a write waits.
    waits: Option<Pin<Box<Sleep>>>,
}

impl<S> Stalled<S> {
    pub(crate) const fn new(stream: S, time_max: Duration) -> Self {
        Self { stream, time_max, waits: None }
    }

    /// What a write came to, or that it has waited for too long.
    fn watch<T>(&mut self, cx: &mut Context<'_>, written: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.waits = None;
            return written;
        }
        // A bound on how long nothing goes out, not a way to wait for anything.
        let waits = self.waits.get_or_insert_with(|| Box::pin(tokio::time::sleep(self.time_max)));
        match waits.as_mut().poll(cx) {
            Poll::Ready(()) => Poll::Ready(Err(io::ErrorKind::TimedOut.into())),
            Poll::Pending => Poll::Pending,
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Stalled<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Stalled<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.watch(cx, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, bufs);
        self.watch(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    #[tokio::test]
    async fn who_takes_nothing_is_given_up_and_who_takes_a_little_at_a_time_is_not() {
        let (ours, mut theirs) = tokio::io::duplex(64);
        let mut patient = Stalled::new(ours, Duration::from_secs(120));
        let taken = tokio::spawn(async move {
            let (mut all, mut part) = (0, [0; 7]);
            while all < 6_400 {
                all += theirs.read(&mut part).await.expect("it can be read");
            }
        });
        patient.write_all(&[7; 6_400]).await.expect("it goes out");
        taken.await.expect("it took everything");
        let (ours, _silent) = tokio::io::duplex(64);
        let mut given_up = Stalled::new(ours, Duration::from_millis(50));
        let refused = given_up.write_all(&[7; 640]).await.expect_err("nobody takes it");
        assert_eq!(refused.kind(), io::ErrorKind::TimedOut);
    }
}
