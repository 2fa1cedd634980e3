//! Answers that are none yet (1xx): what servers say before their answer, and clients that wait to be asked for a body.

mod common;

use bytes::Bytes;
use common::{
    RawServer, Reply, body, field, get, message_end, ok, one_answer, raw, read_until, rest, route_to, slug,
    start, start_with, status,
};
use http::{Request, Response};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};

/// The gateway never asks by itself.
const PATIENT: &str = "[timeouts]\ncontinue_millis = 600000\n";
const EXPECTING: &str = "PUT /x HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n";

fn has_head(bytes: &[u8]) -> bool {
    bytes.windows(4).any(|window| window == b"\r\n\r\n")
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_server_says_before_its_answer_is_never_taken_for_it() {
    let server = RawServer::with(|bytes, _| match message_end(bytes) {
        None => Reply::More,
        Some(_) => {
            let mut reply = Vec::new();
            for _ in 0..200 {
                reply.extend_from_slice(b"HTTP/1.1 102 Processing\r\n\r\n");
                reply.extend_from_slice(
                    b"HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\nContent-Length: 7\r\n\r\n",
                );
                reply.extend_from_slice(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 199 Odd\r\n\r\n");
            }
            reply.extend_from_slice(&ok("real"));
            Reply::Send(reply)
        }
    })
    .await;
    let gateway = start(&route_to(server.address));
    let mut socket = TcpStream::connect(gateway.address).await.expect("connected");
    for _ in 0..3 {
        socket.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await.expect("sent");
        let answer = one_answer(&mut socket).await;
        assert_eq!((status(&answer), body(&answer), field(&answer, "link")), (200, "real", None), "{answer}");
    }
    assert_eq!(server.seen().len(), 1, "the connection is used again");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_says_nothing_else_for_ever_is_given_up() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let gateway = start(&route_to(listener.local_addr().expect("an address")));
    tokio::spawn(async move {
        loop {
            let (mut socket, _) = listener.accept().await.expect("connected");
            tokio::spawn(async move {
                while socket.write_all(b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n").await.is_ok() {}
            });
        }
    });
    // The limit of time for a head is a minute: this is the limit of bytes.
    let answer = get(gateway.address, "/").await;
    assert_eq!((status(&answer), slug(&answer)), (502, "gateway-unreachable"), "{answer}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_of_http_two_may_speak_before_its_answer_too() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let gateway = start(&format!(
        "[[upstream]]\nname = \"s\"\nurls = [\"http://{}\"]\nhttp = \"2\"\n[[route]]\npath = \"/\"\nupstream = \"s\"\n",
        listener.local_addr().expect("an address")
    ));
    tokio::spawn(async move {
        let (socket, _) = listener.accept().await.expect("connected");
        let mut connection = h2::server::handshake(socket).await.expect("HTTP/2");
        while let Some(Ok((_, mut respond))) = connection.accept().await {
            for _ in 0..20 {
                let hint = Response::builder().status(103).header("link", "</a>").body(()).expect("a hint");
                respond.send_informational(hint).expect("sent");
            }
            let mut body = respond.send_response(Response::new(()), false).expect("sent");
            body.send_data(Bytes::from_static(b"real"), true).expect("sent");
        }
    });
    for _ in 0..2 {
        let answer = get(gateway.address, "/").await;
        assert_eq!((status(&answer), field(&answer, "link")), (200, None), "{answer}");
        assert!(answer.contains("real"), "{answer}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_is_asked_for_its_body_when_the_server_asks() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let gateway = start(&format!("{PATIENT}{}", route_to(listener.local_addr().expect("an address"))));
    let mut client = TcpStream::connect(gateway.address).await.expect("connected");
    for n in 0..3 {
        client.write_all(EXPECTING.as_bytes()).await.expect("sent");
        let mut server = match listener.accept().await {
            Ok((server, _)) => server,
            Err(error) => panic!("{error}"),
        };
        let seen = read_until(&mut server, b"\r\n\r\n").await;
        assert_eq!(field(&seen, "expect"), Some("100-continue"), "{seen}");
        assert_eq!(field(&seen, "content-length"), Some("5"));
        let mut byte = [0];
        let asked = client.try_read(&mut byte);
        assert!(asked.is_err(), "{n}: nothing is said to the client before the server spoke: {asked:?}");
        server
            .write_all(b"HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n")
            .await
            .expect("written");
        assert_eq!(read_until(&mut client, b"\r\n\r\n").await, "HTTP/1.1 100 Continue\r\n\r\n");
        client.write_all(b"hello").await.expect("sent");
        assert_eq!(read_until(&mut server, b"hello").await, "hello");
        server
            .write_all(b"HTTP/1.1 201 Created\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok")
            .await
            .expect("written");
        let answer = one_answer(&mut client).await;
        assert_eq!((status(&answer), body(&answer), field(&answer, "connection")), (201, "ok", None));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_final_answer_comes_instead_of_the_question_for_the_body() {
    let server = RawServer::with(|bytes, _| match has_head(bytes) {
        false => Reply::More,
        true => Reply::Send(b"HTTP/1.1 401 No\r\nContent-Length: 2\r\n\r\nno".to_vec()),
    })
    .await;
    let gateway = start(&format!("{PATIENT}{}", route_to(server.address)));
    // A client that waits, and one that sends its body, and another request behind it, whatever it is told.
    for behind in ["", "helloGET /SMUGGLED HTTP/1.1\r\nHost: a\r\n\r\n"] {
        let answer = raw(gateway.address, format!("{EXPECTING}{behind}")).await;
        assert!(answer.starts_with("HTTP/1.1 401 "), "it was not asked to go on: {answer}");
        assert_eq!((body(&answer), field(&answer, "connection")), ("no", Some("close")), "{answer}");
    }
    let seen = server.all();
    assert!(!seen.contains("hello") && !seen.contains("SMUGGLED"), "{seen}");
    assert_eq!(server.seen().len(), 2, "a connection on which a body is owed is not used again");
    let answer = get(gateway.address, "/").await;
    assert_eq!(status(&answer), 401);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_gateway_refuses_itself_asks_for_no_body() {
    let server = RawServer::start().await;
    let gateway = start(&format!(
        "[limits]\nbody_bytes_max = 4\n{}[[route]]\npath = \"/gone\"\nmethods = [\"GET\"]\nupstream = \"http://{}\"\n",
        route_to(server.address).replace("path = \"/\"", "path = \"/x\""),
        server.address
    ));
    let answer = raw(gateway.address, EXPECTING).await;
    assert_eq!((status(&answer), slug(&answer)), (413, "gateway-too-large"), "{answer}");
    let mut socket = TcpStream::connect(gateway.address).await.expect("connected");
    socket.write_all(EXPECTING.replace("/x", "/gone").as_bytes()).await.expect("sent");
    let answer = one_answer(&mut socket).await;
    assert_eq!((status(&answer), slug(&answer)), (404, "gateway-no-route"), "{answer}");
    drop(socket);
    assert_eq!(server.all(), "");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_never_asks_gets_the_body_after_a_while() {
    let server = RawServer::start().await;
    let gateway = start(&route_to(server.address));
    let mut client = TcpStream::connect(gateway.address).await.expect("connected");
    client
        .write_all(
            EXPECTING.replace("Content-Length: 5", "Content-Length: 5\r\nConnection: close").as_bytes(),
        )
        .await
        .expect("sent");
    assert_eq!(read_until(&mut client, b"\r\n\r\n").await, "HTTP/1.1 100 Continue\r\n\r\n");
    client.write_all(b"hello").await.expect("sent");
    assert_eq!(status(&rest(&mut client).await), 200);
    assert!(server.all().ends_with("hello"));
}

#[tokio::test(flavor = "multi_thread")]
async fn banyan_in_this_process_asks_by_reading() {
    let reads = Arc::new(AtomicBool::new(false));
    let of_service = reads.clone();
    let service = tower::service_fn(move |request: Request<axum::body::Body>| {
        let reads = of_service.clone();
        async move {
            let mut response = Response::new(axum::body::Body::from("no"));
            *response.status_mut() = http::StatusCode::UNAUTHORIZED;
            if reads.load(Ordering::Relaxed) {
                let bytes = axum::body::to_bytes(request.into_body(), 100).await.expect("a body");
                response = Response::new(axum::body::Body::from(bytes));
            }
            Ok::<_, std::convert::Infallible>(response)
        }
    });
    let gateway = start_with(
        "[[route]]\npath = \"/\"\nmode = \"banyan\"\nbanyan = \"in-process\"\n",
        Some(banyan_gateway::InProcess::new(service)),
    );
    let answer = raw(gateway.address, EXPECTING).await;
    assert!(answer.starts_with("HTTP/1.1 401 "), "{answer}");
    assert_eq!(field(&answer, "connection"), Some("close"), "{answer}");
    reads.store(true, Ordering::Relaxed);
    let mut client = TcpStream::connect(gateway.address).await.expect("connected");
    client.write_all(EXPECTING.as_bytes()).await.expect("sent");
    assert_eq!(read_until(&mut client, b"\r\n\r\n").await, "HTTP/1.1 100 Continue\r\n\r\n");
    client.write_all(b"hello").await.expect("sent");
    let answer = one_answer(&mut client).await;
    assert_eq!((status(&answer), body(&answer), field(&answer, "connection")), (200, "hello", None));
}

/// HTTP/1.0 has no 100: a server of it, and so the gateway, must not wait for anything.
#[tokio::test(flavor = "multi_thread")]
async fn an_old_client_is_asked_nothing() {
    let server = RawServer::start().await;
    let gateway = start(&route_to(server.address));
    let text = EXPECTING.replace("HTTP/1.1", "HTTP/1.0");
    let answer = raw(gateway.address, format!("{text}hello")).await;
    assert!(answer.starts_with("HTTP/1.0 200 ") || answer.starts_with("HTTP/1.1 200 "), "{answer}");
    assert_eq!(field(&server.all(), "expect"), None);
}
