//! HTTP/2 on both legs, TLS on both legs, and every way across.

mod common;

use bytes::Bytes;
use common::tls::{acceptor, certify, connector};
use common::{RawServer, Running, SOON, field, route_to, start_in};
use http::{HeaderMap, Request, Response, StatusCode, Version};
use http_body_util::{BodyExt, Full, StreamBody, combinators::BoxBody};
use hyper::body::{Frame, Incoming};
use hyper::client::conn::http2::SendRequest;
use hyper_util::rt::{TokioExecutor, TokioIo};
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::{TlsAcceptor, TlsConnector};

type AnyBody = BoxBody<Bytes, Infallible>;

/// What an HTTP/2 server saw.
type Seen = Arc<Mutex<Vec<(http::request::Parts, Bytes, Option<HeaderMap>)>>>;

/// A server of HTTP/2, with TLS or without, that answers the request's body and a trailer.
async fn server_two(tls: Option<TlsAcceptor>) -> (SocketAddr, Seen) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let seen = Seen::default();
    let of_task = seen.clone();
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            let (seen, tls) = (of_task.clone(), tls.clone());
            tokio::spawn(async move {
                let service = hyper::service::service_fn(move |request: Request<Incoming>| {
                    let seen = seen.clone();
                    async move {
                        let (head, body) = request.into_parts();
                        let body = body.collect().await.expect("a whole body");
                        let trailers = body.trailers().cloned();
                        let bytes = body.to_bytes();
                        seen.lock().expect("no panic").push((head, bytes.clone(), trailers));
                        let mut sum = HeaderMap::new();
                        sum.insert("x-sum", bytes.len().to_string().parse().expect("a value"));
                        let frames = [Ok::<_, Infallible>(Frame::data(bytes)), Ok(Frame::trailers(sum))];
                        let body: AnyBody =
                            BodyExt::boxed(StreamBody::new(futures_util::stream::iter(frames)));
                        Ok::<_, Infallible>(
                            Response::builder().header("trailer", "x-sum").body(body).expect("an answer"),
                        )
                    }
                });
                let builder = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
                let _ended = match tls {
                    None => builder.serve_connection(TokioIo::new(socket), service).await,
                    Some(tls) => {
                        let Ok(stream) = tls.accept(socket).await else { return };
                        builder.serve_connection(TokioIo::new(stream), service).await
                    }
                };
            });
        }
    });
    (address, seen)
}

/// Connects to a gateway with HTTP/2, with TLS if there is a connector.
async fn client_two(address: SocketAddr, tls: Option<TlsConnector>) -> SendRequest<AnyBody> {
    let socket = TcpStream::connect(address).await.expect("connected");
    let exec = TokioExecutor::new();
    match tls {
        None => {
            let (sender, connection) =
                hyper::client::conn::http2::handshake(exec, TokioIo::new(socket)).await.expect("HTTP/2");
            tokio::spawn(connection);
            sender
        }
        Some(tls) => {
            let stream = tls.connect("localhost".try_into().expect("a name"), socket).await.expect("TLS");
            assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
            let (sender, connection) =
                hyper::client::conn::http2::handshake(exec, TokioIo::new(stream)).await.expect("HTTP/2");
            tokio::spawn(connection);
            sender
        }
    }
}

fn request(uri: &str, frames: Vec<Frame<Bytes>>) -> Request<AnyBody> {
    let body: AnyBody = match frames.is_empty() {
        true => BodyExt::boxed(Full::default()),
        false => BodyExt::boxed(StreamBody::new(futures_util::stream::iter(
            frames.into_iter().map(Ok::<_, Infallible>),
        ))),
    };
    let method = if http_body::Body::is_end_stream(&body) { "GET" } else { "POST" };
    Request::builder().method(method).uri(uri).body(body).expect("a request")
}

fn piece(text: &str) -> Frame<Bytes> {
    Frame::data(Bytes::copy_from_slice(text.as_bytes()))
}

async fn ask(sender: &mut SendRequest<AnyBody>, request: Request<AnyBody>) -> Response<Incoming> {
    tokio::time::timeout(SOON, sender.send_request(request)).await.expect("in time").expect("an answer")
}

fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a temporary folder");
    certify(folder.path());
    folder
}

fn start(rest: &str) -> Running {
    start_in(folder(), rest, None)
}

#[tokio::test(flavor = "multi_thread")]
async fn from_two_to_one() {
    let server = RawServer::start().await;
    let gateway = start(&route_to(server.address));
    let mut client = client_two(gateway.address, None).await;
    let mut asked = request("http://shop.example/x?y=1", vec![piece("abc"), piece("de")]);
    for cookie in ["a=1", "b=2"] {
        asked.headers_mut().append("cookie", cookie.parse().expect("a value"));
    }
    let answer = ask(&mut client, asked).await;
    assert_eq!((answer.status(), answer.version()), (StatusCode::OK, Version::HTTP_2));
    assert_eq!(answer.headers().get("via").map(http::HeaderValue::as_bytes), Some(&b"1.1 banyan"[..]));
    let seen = server.all();
    assert!(seen.starts_with("POST /x?y=1 HTTP/1.1\r\n"), "{seen}");
    assert_eq!(field(&seen, "host"), Some("shop.example"));
    assert_eq!(field(&seen, "cookie"), Some("a=1; b=2"));
    assert_eq!(field(&seen, "via"), Some("2 banyan"));
    assert!(seen.ends_with("3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"), "{seen}");
}

#[tokio::test(flavor = "multi_thread")]
async fn from_two_to_two_with_trailers_and_one_connection() {
    let (server, seen) = server_two(None).await;
    let gateway = start(&format!(
        "[[upstream]]\nname = \"s\"\nurls = [\"http://{server}\"]\nhttp = \"2\"\n[[route]]\npath = \"/\"\nupstream = \"s\"\n"
    ));
    let mut client = client_two(gateway.address, None).await;
    let mut mine = HeaderMap::new();
    mine.insert("x-mine", "7".parse().expect("a value"));
    let mut asked = request("http://shop.example/grpc", vec![piece("hello"), Frame::trailers(mine)]);
    asked.headers_mut().insert("te", "trailers".parse().expect("a value"));
    let answer = ask(&mut client, asked).await;
    let body = answer.into_body().collect().await.expect("a whole body");
    assert_eq!(
        body.trailers().and_then(|trailers| trailers.get("x-sum")).map(http::HeaderValue::as_bytes),
        Some(&b"5"[..])
    );
    let many = (0..50).map(|n| {
        let mut client = client.clone();
        tokio::spawn(async move {
            let answer =
                ask(&mut client, request(&format!("http://shop.example/{n}"), vec![piece("x")])).await;
            answer.into_body().collect().await.expect("a whole body").to_bytes()
        })
    });
    for one in many.collect::<Vec<_>>() {
        assert_eq!(one.await.expect("no panic"), "x");
    }
    let seen = seen.lock().expect("no panic");
    let (head, body, trailers) = &seen[0];
    assert_eq!((head.version, head.uri.to_string().as_str()), (Version::HTTP_2, "http://shop.example/grpc"));
    assert_eq!(head.headers.get("te").map(http::HeaderValue::as_bytes), Some(&b"trailers"[..]));
    assert_eq!(
        (body.as_ref(), trailers.as_ref().and_then(|t| t.get("x-mine")).map(http::HeaderValue::as_bytes)),
        (&b"hello"[..], Some(&b"7"[..]))
    );
    assert_eq!(seen.len(), 51);
}

#[tokio::test(flavor = "multi_thread")]
async fn tls_on_both_legs() {
    let files = folder();
    for (alpn, http) in [(&[&b"h2"[..], b"http/1.1"][..], "auto"), (&[&b"h2"[..]][..], "2")] {
        let (server, seen) = server_two(Some(acceptor(files.path(), alpn))).await;
        let ca = files.path().join("cert.pem");
        let gateway = start(&format!(
            "tls = {{ cert = \"cert.pem\", key = \"key.pem\" }}\n[[upstream]]\nname = \"s\"\nurls = [\"https://localhost:{}\"]\nhttp = \"{http}\"\nca = {:?}\n\
             [[route]]\npath = \"/\"\nupstream = \"s\"\n",
            server.port(),
            ca.display().to_string()
        ));
        let mut client = client_two(gateway.address, Some(connector(gateway.folder.path(), &[b"h2"]))).await;
        let answer = ask(&mut client, request("https://shop.example/x", Vec::new())).await;
        assert_eq!(answer.status(), StatusCode::OK);
        let seen = seen.lock().expect("no panic");
        assert_eq!(
            seen[0].0.headers.get("x-forwarded-proto").map(http::HeaderValue::as_bytes),
            Some(&b"https"[..])
        );
        assert_eq!(seen[0].0.uri.to_string(), "https://shop.example/x");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn tls_with_http_one() {
    use tokio::io::AsyncWriteExt;
    let server = RawServer::start().await;
    let gateway =
        start(&format!("tls = {{ cert = \"cert.pem\", key = \"key.pem\" }}\n{}", route_to(server.address)));
    let socket = TcpStream::connect(gateway.address).await.expect("connected");
    let connector = connector(gateway.folder.path(), &[b"http/1.1"]);
    let mut stream = connector.connect("localhost".try_into().expect("a name"), socket).await.expect("TLS");
    stream.write_all(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").await.expect("sent");
    let mut got = Vec::new();
    let _closed = tokio::io::AsyncReadExt::read_to_end(&mut stream, &mut got).await;
    assert!(got.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&got));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_nobody_vouches_for_is_not_asked() {
    let files = folder();
    let (server, seen) = server_two(Some(acceptor(files.path(), &[b"h2"]))).await;
    // The gateway trusts a certificate of its own folder, not the server's.
    let gateway = start(&format!(
        "[[upstream]]\nname = \"s\"\nurls = [\"https://localhost:{}\"]\nca = \"cert.pem\"\n[[route]]\npath = \"/\"\nupstream = \"s\"\n",
        server.port()
    ));
    let answer = common::get(gateway.address, "/").await;
    assert_eq!((common::status(&answer), common::slug(&answer)), (502, "gateway-unreachable"));
    assert!(seen.lock().expect("no panic").is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn malformed_requests_of_http_two_are_refused() {
    let server = RawServer::start().await;
    let gateway = start(&route_to(server.address));
    let mut client = client_two(gateway.address, None).await;
    let mut asked = request("http://shop.example/x", Vec::new());
    asked.headers_mut().insert("host", "other.example".parse().expect("a value"));
    assert_eq!(ask(&mut client, asked).await.status(), StatusCode::BAD_REQUEST, "two names for one host");
    let asked = request("http://shop.example/a/../b", Vec::new());
    assert_eq!(ask(&mut client, asked).await.status(), StatusCode::BAD_REQUEST);
    let asked = request("http://shop.example/x", Vec::new());
    assert_eq!(ask(&mut client, asked).await.status(), StatusCode::OK, "the connection survives");
    assert_eq!(server.all().matches("GET ").count(), 1);
}
