//! A socket, with TLS or without.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::TlsStream;

/// A connection with a client or a server.
pub(crate) enum Stream {
    /// Without TLS.
    Plain(TcpStream),
    /// With TLS.
    Tls(Box<TlsStream<TcpStream>>),
}

impl Stream {
    /// The socket below.
    pub(crate) fn socket(&self) -> &TcpStream {
        match self {
            Self::Plain(socket) => socket,
            Self::Tls(tls) => tls.get_ref().0,
        }
    }

    /// Whether the peer closed or sent something, asked of the kernel and not of what the runtime last heard.
    pub(crate) fn is_touched(&self) -> bool {
        let mut byte = [std::mem::MaybeUninit::uninit(); 1];
        // The socket is non-blocking: an error is "nothing there" in the good case, and seen again in the bad one.
        socket2::SockRef::from(self.socket()).peek(&mut byte).is_ok()
    }
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(io) => Pin::new(io).poll_read(cx, buf),
            Self::Tls(io) => Pin::new(io).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(io) => Pin::new(io).poll_write(cx, buf),
            Self::Tls(io) => Pin::new(io).poll_write(cx, buf),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(io) => Pin::new(io).poll_write_vectored(cx, bufs),
            Self::Tls(io) => Pin::new(io).poll_write_vectored(cx, bufs),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Self::Plain(io) => io.is_write_vectored(),
            Self::Tls(io) => io.is_write_vectored(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(io) => Pin::new(io).poll_flush(cx),
            Self::Tls(io) => Pin::new(io).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(io) => Pin::new(io).poll_shutdown(cx),
            Self::Tls(io) => Pin::new(io).poll_shutdown(cx),
        }
    }
}

/// Writes pieces; small ones in one piece, which costs the kernel less than several.
pub(crate) fn poll_write_gathered(
    io: &mut Stream,
    cx: &mut Context<'_>,
    bufs: &[io::IoSlice<'_>],
) -> Poll<io::Result<usize>> {
    if let [only] = bufs {
        return Pin::new(io).poll_write(cx, only);
    }
    let mut space = [0; 2 << 10];
    let mut length = 0;
    for buf in bufs {
        let Some(place) = space.get_mut(length..length + buf.len()) else {
            return Pin::new(io).poll_write_vectored(cx, bufs);
        };
        place.copy_from_slice(buf);
        length += buf.len();
    }
    Pin::new(io).poll_write(cx, &space[..length])
}

/// A connection with a server, which can be asked whether it is still worth anything.
pub(crate) struct ServerStream {
    io: Stream,
    probe: Arc<Probe>,
}

/// What the user of a connection asks of its stream.
#[derive(Default)]
pub(crate) struct Probe {
    /// The next read looks at the kernel first.
    look: AtomicBool,
    /// Bytes that came since this was set to 0.
    heard: AtomicUsize,
}

impl Probe {
    pub(crate) fn look(&self) {
        self.look.store(true, Relaxed);
    }

    pub(crate) fn forget(&self) {
        self.heard.store(0, Relaxed);
    }

    pub(crate) fn heard(&self) -> usize {
        self.heard.load(Relaxed)
    }
}

impl ServerStream {
    pub(crate) fn new(io: Stream) -> (Self, Arc<Probe>) {
        let probe = Arc::new(Probe::default());
        (Self { io, probe: probe.clone() }, probe)
    }
}

impl AsyncRead for ServerStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.probe.look.load(Relaxed) {
            self.probe.look.store(false, Relaxed);
            if self.io.is_touched() {
                // Closed by the server while it was idle, or bytes that nobody asked for: an end, either way.
                return Poll::Ready(Ok(()));
            }
        }
        let before = buf.filled().len();
        let polled = Pin::new(&mut self.io).poll_read(cx, buf);
        let more = buf.filled().len() - before;
        if more > 0 {
            // Only the task that reads writes it.
            self.probe.heard.store(self.probe.heard.load(Relaxed).saturating_add(more), Relaxed);
        }
        polled
    }
}

impl AsyncWrite for ServerStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        poll_write_gathered(&mut self.io, cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}
