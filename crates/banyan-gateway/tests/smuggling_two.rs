//! The same over HTTP/2, in frames that no library would write: what could be read in two ways never reaches a server.

mod common;

use common::{RawServer, SOON, route_to, start};
use std::net::SocketAddr;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RESET: u8 = 3;
const SETTINGS: u8 = 4;
const GO_AWAY: u8 = 7;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

/// What became of a request.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Fate {
    /// 200, in the table of every client of HTTP/2.
    Ok,
    /// Any other answer.
    Refused,
    /// The stream or the connection ended without an answer.
    Cut,
}

type Field<'a> = (&'a [u8], &'a [u8]);

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("short").to_be_bytes();
    let mut frame = length[1..].to_vec();
    frame.extend([kind, flags]);
    frame.extend(stream.to_be_bytes());
    frame.extend(payload);
    frame
}

/// Fields as HPACK has them when nothing is indexed and nothing coded.
fn packed(fields: &[Field<'_>]) -> Vec<u8> {
    let mut block = Vec::new();
    for (name, value) in fields {
        block.push(0);
        for text in [name, value] {
            assert!(text.len() < 127, "one byte for the length");
            block.push(u8::try_from(text.len()).expect("short"));
            block.extend(*text);
        }
    }
    block
}

/// Sends a head, and a body in one piece if there is one, and trailers if there are some.
async fn send(address: SocketAddr, head: &[Field<'_>], data: Option<&[u8]>, trailers: &[Field<'_>]) -> Fate {
    let mut socket = TcpStream::connect(address).await.expect("connected");
    let mut bytes = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    bytes.extend(frame(SETTINGS, 0, 0, &[]));
    let end = |last: bool| if last { END_STREAM } else { 0 };
    bytes.extend(frame(HEADERS, END_HEADERS | end(data.is_none()), 1, &packed(head)));
    if let Some(data) = data {
        bytes.extend(frame(DATA, end(trailers.is_empty()), 1, data));
    }
    if !trailers.is_empty() {
        bytes.extend(frame(HEADERS, END_HEADERS | END_STREAM, 1, &packed(trailers)));
    }
    // It may be refused before all of it is sent.
    let _refused = socket.write_all(&bytes).await;
    tokio::time::timeout(SOON, fate(&mut socket)).await.expect("in time")
}

async fn fate(socket: &mut TcpStream) -> Fate {
    loop {
        let mut head = [0; 9];
        if socket.read_exact(&mut head).await.is_err() {
            return Fate::Cut;
        }
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
        let mut payload = vec![0; length];
        if socket.read_exact(&mut payload).await.is_err() {
            return Fate::Cut;
        }
        match (head[3], payload.first()) {
            (HEADERS, Some(0x88)) => return Fate::Ok,
            (HEADERS, _) => return Fate::Refused,
            (RESET | GO_AWAY, _) => return Fate::Cut,
            _ => {}
        }
    }
}

const GET: [Field<'static>; 4] =
    [(b":method", b"GET"), (b":scheme", b"http"), (b":path", b"/x"), (b":authority", b"a")];
const POST: [Field<'static>; 4] =
    [(b":method", b"POST"), (b":scheme", b"http"), (b":path", b"/x"), (b":authority", b"a")];
const SMUGGLED: &[u8] = b"GET /SMUGGLED HTTP/1.1\r\nhost: a\r\n\r\n";

/// `GET`, with one of its fields another.
fn but(name: &'static [u8], value: &'static [u8]) -> Vec<Field<'static>> {
    GET.into_iter().map(|(known, old)| if known == name { (known, value) } else { (known, old) }).collect()
}

fn with(more: &[Field<'static>]) -> Vec<Field<'static>> {
    GET.into_iter().chain(more.iter().copied()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn heads_of_http_two_that_break_its_rules_never_arrive() {
    let server = RawServer::start().await;
    let gateway = start(&route_to(server.address));
    let without = |name: &[u8]| -> Vec<Field<'static>> {
        GET.into_iter().filter(|(known, _)| *known != name).collect()
    };
    let late = [GET[0], GET[1], (&b"x-a"[..], &b"b"[..]), GET[2], GET[3]].to_vec();
    let cases: Vec<(&str, Vec<Field<'static>>)> = vec![
        ("an encoding for transfer (H2.TE)", with(&[(b"transfer-encoding", b"chunked")])),
        ("a connection field", with(&[(b"connection", b"keep-alive")])),
        ("a connection field that names another", with(&[(b"connection", b"x-a"), (b"x-a", b"b")])),
        ("keep-alive", with(&[(b"keep-alive", b"timeout=5")])),
        ("proxy-connection", with(&[(b"proxy-connection", b"keep-alive")])),
        ("an upgrade", with(&[(b"upgrade", b"websocket")])),
        ("te besides trailers", with(&[(b"te", b"gzip")])),
        ("CR LF in a value", with(&[(b"x-a", b"b\r\ntransfer-encoding: chunked")])),
        ("LF in a value", with(&[(b"x-a", b"b\nc: d")])),
        ("CR in a value", with(&[(b"x-a", b"b\rc")])),
        ("NUL in a value", with(&[(b"x-a", b"b\0c")])),
        ("CR LF in a name", with(&[(b"x-a: b\r\nc", b"d")])),
        ("a colon in a name", with(&[(b"x:a", b"b")])),
        ("a space in a name", with(&[(b"content-length ", b"0")])),
        ("a name in capitals", with(&[(b"X-A", b"b")])),
        ("no name", with(&[(b"", b"b")])),
        ("CR LF in the path", but(b":path", b"/x HTTP/1.1\r\nhost: b\r\n\r\nGET /SMUGGLED")),
        ("a space in the path", but(b":path", b"/x HTTP/1.1")),
        ("NUL in the path", but(b":path", b"/x\0")),
        ("a path without a slash", but(b":path", b"x")),
        ("an empty path", but(b":path", b"")),
        ("a whole address as the path", but(b":path", b"http://b/x")),
        ("only a query", but(b":path", b"?x")),
        ("a star that is no OPTIONS", but(b":path", b"*")),
        ("dot segments", but(b":path", b"/a/%2e%2e/x")),
        ("CR LF in the method", but(b":method", b"GET /SMUGGLED HTTP/1.1\r\nx: ")),
        ("a space in the method", but(b":method", b"GET /SMUGGLED")),
        ("an empty method", but(b":method", b"")),
        ("CR LF in the authority", but(b":authority", b"a\r\nx: y")),
        ("a user in the authority", but(b":authority", b"b@a")),
        ("a path in the authority", but(b":authority", b"a/b")),
        ("an empty authority", but(b":authority", b"")),
        ("another scheme", but(b":scheme", b"ftp")),
        ("CR LF in the scheme", but(b":scheme", b"http\r\nx: y")),
        ("no method", without(b":method")),
        ("no path", without(b":path")),
        ("no scheme", without(b":scheme")),
        ("two methods", with(&[(b":method", b"POST")])),
        ("two paths", with(&[(b":path", b"/SMUGGLED")])),
        ("two authorities", with(&[(b":authority", b"b")])),
        ("two schemes", with(&[(b":scheme", b"http")])),
        ("a pseudo-field behind others", late),
        ("an unknown pseudo-field", with(&[(b":x", b"y")])),
        ("the status of an answer", with(&[(b":status", b"200")])),
        ("a protocol without CONNECT", with(&[(b":protocol", b"websocket")])),
        ("another host than the authority", with(&[(b"host", b"b")])),
        ("two hosts", with(&[(b"host", b"a"), (b"host", b"a")])),
        ("two lengths that differ", with(&[(b"content-length", b"0"), (b"content-length", b"5")])),
        ("the same length twice", with(&[(b"content-length", b"0"), (b"content-length", b"0")])),
        ("a list of lengths", with(&[(b"content-length", b"0, 0")])),
        ("a signed length", with(&[(b"content-length", b"+0")])),
        ("a length without a body", with(&[(b"content-length", b"5")])),
        ("CONNECT", vec![(b":method", b"CONNECT"), (b":authority", b"a:80")]),
    ];
    let mut arrived = Vec::new();
    for (what, head) in &cases {
        let before = server.all().len();
        let fate = send(gateway.address, head, None, &[]).await;
        if fate == Fate::Ok || server.all().len() > before {
            arrived.push((*what, fate));
        }
    }
    assert!(arrived.is_empty(), "{arrived:?}: {}", server.all());
    assert_eq!(send(gateway.address, &GET, None, &[]).await, Fate::Ok, "and a good one passes");
}

/// The end of a body is where its frames end, and a length that says otherwise ends the request.
#[tokio::test(flavor = "multi_thread")]
async fn what_follows_a_length_in_a_body_of_http_two_is_never_a_request() {
    let server = RawServer::start().await;
    let gateway = start(&route_to(server.address));
    for length in [&b"0"[..], b"5", b"34", b"1000"] {
        let head: Vec<Field<'_>> = POST.into_iter().chain([(&b"content-length"[..], length)]).collect();
        let fate = send(gateway.address, &head, Some(SMUGGLED), &[]).await;
        assert_ne!(fate, Fate::Ok, "{}", String::from_utf8_lossy(length));
    }
    let whole = format!("{}", SMUGGLED.len());
    let head: Vec<Field<'_>> = POST.into_iter().chain([(&b"content-length"[..], whole.as_bytes())]).collect();
    assert_eq!(send(gateway.address, &head, Some(SMUGGLED), &[]).await, Fate::Ok, "as a body it is one");
    assert_eq!(send(gateway.address, &POST, Some(SMUGGLED), &[]).await, Fate::Ok, "in chunks, too");
    for seen in server.seen() {
        assert!(!seen.starts_with("GET /SMUGGLED"), "{seen}");
        // Behind a head there is a body, and nothing else: a second head would begin a line.
        let heads = seen.matches(" HTTP/1.1\r\n").count() - seen.matches("GET /SMUGGLED").count();
        assert_eq!(heads, seen.matches("POST /x HTTP/1.1\r\n").count(), "{seen}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn trailers_of_http_two_that_break_its_rules_end_the_request() {
    let server = RawServer::start().await;
    let gateway = start(&route_to(server.address));
    for trailer in
        [(&b"x-a"[..], &b"b\r\n\r\nGET /SMUGGLED HTTP/1.1"[..]), (b"x-a: b\r\nc", b"d"), (b"X-A", b"b")]
    {
        let fate = send(gateway.address, &POST, Some(b"body"), &[trailer]).await;
        assert_ne!(fate, Fate::Ok, "{trailer:?}");
    }
    // This one hyper's server takes, and leaves out.
    send(gateway.address, &POST, Some(b"body"), &[(b":path", b"/SMUGGLED")]).await;
    assert!(!server.all().contains("SMUGGLED"), "{}", server.all());
    assert_eq!(send(gateway.address, &POST, Some(b"body"), &[(b"x-a", b"b")]).await, Fate::Ok);
}
