//! Opening connections with servers: name, socket, TLS, and which HTTP they agree on.

use super::pool::{One, Two};
use super::{Server, Upstream};
use crate::config::HttpVersion;
use crate::proxy::stream::{ServerStream, Stream};
use crate::tls::ClientTls;
use rustls_pki_types::ServerName;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::time::Instant;
use tokio_rustls::TlsConnector;

/// A new connection.
pub(crate) enum Connected {
    One(One),
    Two(Two),
}

/// Connects within `limit`. With `only_one`, a server behind TLS is asked for HTTP/1.1 whatever it prefers: other protocols
/// can begin only there.
pub(crate) async fn connect(
    upstream: &Upstream,
    server: &Server,
    tls: &ClientTls,
    limit: Duration,
    only_one: bool,
) -> io::Result<Connected> {
    // Boxed: this is rare, and its state would make every request's future larger.
    match tokio::time::timeout(limit, Box::pin(connect_at_leisure(upstream, server, tls, limit, only_one)))
        .await
    {
        Ok(connected) => connected,
        Err(_) => Err(io::Error::new(
            io::ErrorKind::TimedOut,
            format!("no connection within {} ms", limit.as_millis()),
        )),
    }
}

async fn connect_at_leisure(
    upstream: &Upstream,
    server: &Server,
    tls: &ClientTls,
    limit: Duration,
    only_one: bool,
) -> io::Result<Connected> {
    let socket = open(server, limit).await?;
    let http = upstream.spec().http;
    let (stream, is_two) = if server.address.is_tls() {
        let config = upstream.tls(tls, only_one).map_err(io::Error::other)?;
        let name = ServerName::try_from(server.address.host().to_owned()).map_err(io::Error::other)?;
        let stream = TlsConnector::from(config).connect(name, socket).await?;
        let agreed = stream.get_ref().1.alpn_protocol() == Some(b"h2");
        if http == HttpVersion::Two && !agreed && !only_one {
            return Err(io::Error::other(
                "the server does not agree to HTTP/2: set the upstream's `http` to \"auto\"",
            ));
        }
        (Stream::Tls(Box::new(stream.into())), agreed)
    } else {
        (Stream::Plain(socket), http == HttpVersion::Two)
    };
    let (stream, probe) = ServerStream::new(stream);
    match is_two {
        true => Two::new(stream).await.map(Connected::Two).map_err(io::Error::other),
        false => One::new(stream, probe).await.map(Connected::One).map_err(io::Error::other),
    }
}

async fn open(server: &Server, limit: Duration) -> io::Result<TcpStream> {
    let host = server.address.host();
    let port = server.address.port();
    let addresses: Vec<SocketAddr> = match server.fixed {
        Some(address) => vec![address],
        None => tokio::net::lookup_host((host, port)).await?.collect(),
    };
    if addresses.is_empty() {
        return Err(io::Error::new(io::ErrorKind::NotFound, format!("{host} has no address")));
    }
    let socket = open_first(&addresses, limit).await?;
    let _only_slower = socket.set_nodelay(true);
    Ok(socket)
}

/// Connects with the first address that answers. One that says nothing leaves the others their part of the time.
async fn open_first(addresses: &[SocketAddr], limit: Duration) -> io::Result<TcpStream> {
    let deadline = Instant::now() + limit;
    let mut failed = io::Error::new(io::ErrorKind::NotFound, "there is no address");
    for (left, address) in (1..=addresses.len()).rev().zip(addresses) {
        let part = deadline.saturating_duration_since(Instant::now()) / u32::try_from(left).unwrap_or(1);
        match tokio::time::timeout(part, TcpStream::connect(address)).await {
            Ok(Ok(socket)) => return Ok(socket),
            Ok(Err(error)) => failed = error,
            Err(_) => {
                let why = format!("{address} does not answer");
                failed = io::Error::new(io::ErrorKind::TimedOut, why);
            }
        }
    }
    Err(failed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use socket2::{Domain, Socket, Type};

    /// A name with two addresses, the first of which swallows everything.
    #[tokio::test]
    async fn an_address_that_says_nothing_does_not_use_up_the_time_of_the_next() {
        let deaf = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
        let any: SocketAddr = "127.0.0.1:0".parse().expect("an address");
        deaf.bind(&any.into()).expect("bound");
        deaf.listen(0).expect("it listens");
        let deaf_at = deaf.local_addr().expect("an address").as_socket().expect("of IP");
        // Its queue is full when a connection is not taken within a while: then the kernel swallows more.
        let mut queue = Vec::new();
        let full = loop {
            match tokio::time::timeout(Duration::from_millis(300), TcpStream::connect(deaf_at)).await {
                Ok(socket) => queue.push(socket.expect("queued")),
                Err(_) => break queue.len(),
            }
        };
        assert!(full < 20, "the queue has an end");
        let server = tokio::net::TcpListener::bind(any).await.expect("a port");
        let server_at = server.local_addr().expect("an address");
        let socket =
            open_first(&[deaf_at, server_at], Duration::from_secs(2)).await.expect("the second answers");
        assert_eq!(socket.peer_addr().expect("connected"), server_at);
        let error = open_first(&[deaf_at], Duration::from_millis(50)).await.expect_err("nobody answers");
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    }
}
