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
    match tokio::time::timeout(limit, Box::pin(connect_at_leisure(upstream, server, tls, only_one))).await {
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
    only_one: bool,
) -> io::Result<Connected> {
    let socket = open(server).await?;
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

async fn open(server: &Server) -> io::Result<TcpStream> {
    let host = server.address.host();
    let port = server.address.port();
    let mut failed = io::Error::new(io::ErrorKind::NotFound, format!("{host} has no address"));
    let addresses: Vec<SocketAddr> = match server.fixed {
        Some(address) => vec![address],
        None => tokio::net::lookup_host((host, port)).await?.collect(),
    };
    for address in addresses {
        match TcpStream::connect(address).await {
            Ok(socket) => {
                let _only_slower = socket.set_nodelay(true);
                return Ok(socket);
            }
            Err(error) => failed = error,
        }
    }
    Err(failed)
}
