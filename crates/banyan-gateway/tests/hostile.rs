//! Clients and servers that mean no good, or are only unlucky, and what they must not be able to do to others.

mod common;

use banyan_gateway::Change;
use bytes::Bytes;
use common::{
    RawServer, Reply, SOON, body, field, get, message_end, ok, one_answer, raw, read_until, route_to, start,
    status, until,
};
use h2::client::SendRequest;
use http::{HeaderMap, Request, Response, StatusCode};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// A client of HTTP/2, and what ends with its connection.
async fn connect(
    address: SocketAddr,
) -> (SendRequest<Bytes>, tokio::task::JoinHandle<Result<(), h2::Error>>) {
    let socket = TcpStream::connect(address).await.expect("connected");
    let (client, connection) = h2::client::handshake(socket).await.expect("HTTP/2");
    let ended = tokio::spawn(connection);
    (client.ready().await.expect("ready"), ended)
}

fn of(path: &str) -> Request<()> {
    Request::get(format!("http://shop.example{path}")).body(()).expect("a request")
}

async fn answered(response: h2::client::ResponseFuture) -> Response<h2::RecvStream> {
    tokio::time::timeout(SOON, response).await.expect("in time").expect("an answer")
}

/// All of a body, and its trailers.
async fn whole(mut stream: h2::RecvStream) -> (String, Option<HeaderMap>) {
    let mut got = Vec::new();
    while let Some(piece) = tokio::time::timeout(SOON, stream.data()).await.expect("in time") {
        let piece = piece.expect("a piece");
        stream.flow_control().release_capacity(piece.len()).expect("released");
        got.extend_from_slice(&piece);
    }
    let trailers = tokio::time::timeout(SOON, stream.trailers()).await.expect("in time").expect("an end");
    (String::from_utf8_lossy(&got).into_owned(), trailers)
}

/// A server of HTTP/1.1 that answers every request with `reply`.
async fn replying(reply: impl Into<Vec<u8>>) -> RawServer {
    let reply = reply.into();
    RawServer::with(move |bytes, _| match message_end(bytes) {
        None => Reply::More,
        Some(_) => Reply::Send(reply.clone()),
    })
    .await
}

/// RFC 9112, 6.3: the encoding counts, and whoever sends the answer on must not repeat the length.
#[tokio::test(flavor = "multi_thread")]
async fn an_answer_with_a_length_beside_its_encoding_is_passed_on_without_the_length() {
    for length in ["2", "500"] {
        let server = replying(format!(
            "HTTP/1.1 200 OK\r\nContent-Length: {length}\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"
        ))
        .await;
        let gateway = start(&route_to(server.address));
        let answer = get(gateway.address, "/").await;
        assert_eq!(field(&answer, "content-length"), None, "{answer}");
        assert!(body(&answer).contains("hello\r\n0\r\n\r\n"), "{answer}");
        let (mut client, _ended) = connect(gateway.address).await;
        let (response, _) = client.send_request(of("/"), true).expect("sent");
        let answer = answered(response).await;
        assert_eq!(answer.headers().get("content-length"), None);
        assert_eq!(whole(answer.into_body()).await.0, "hello");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_length_that_is_said_twice_is_passed_on_once() {
    for lengths in ["Content-Length: 5\r\nContent-Length: 5\r\n", "Content-Length: 5, 5\r\n"] {
        let server = replying(format!("HTTP/1.1 200 OK\r\n{lengths}\r\nhello")).await;
        let gateway = start(&route_to(server.address));
        let answer = get(gateway.address, "/").await;
        assert_eq!((status(&answer), body(&answer)), (200, "hello"), "{answer}");
        assert_eq!(answer.to_ascii_lowercase().matches("content-length: 5\r\n").count(), 1, "{answer}");
        let (mut client, _ended) = connect(gateway.address).await;
        let (response, _) = client.send_request(of("/"), true).expect("sent");
        let answer = answered(response).await;
        assert_eq!(answer.headers().get_all("content-length").iter().collect::<Vec<_>>(), ["5"]);
        assert_eq!(whole(answer.into_body()).await.0, "hello");
    }
    for lengths in ["Content-Length: 5\r\nContent-Length: 6\r\n", "Content-Length: 5, 6\r\n"] {
        let server = replying(format!("HTTP/1.1 200 OK\r\n{lengths}\r\nhello")).await;
        let gateway = start(&route_to(server.address));
        assert_eq!(status(&get(gateway.address, "/").await), 502);
        let head = raw(gateway.address, "HEAD / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").await;
        assert!(status(&head) == 502 || field(&head, "content-length").is_none(), "{head}");
    }
}

/// The field that says how it is encoded ends at the gateway: without it the client would take the coded bytes for the body.
#[tokio::test(flavor = "multi_thread")]
async fn an_answer_in_a_coding_that_nobody_asked_for_is_no_answer() {
    for (coding, wanted) in [("gzip, chunked", 502), ("x-odd,chunked", 502), ("Chunked", 200)] {
        let server = replying(format!(
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: {coding}\r\n\r\n5\r\nhello\r\n0\r\n\r\n"
        ))
        .await;
        let gateway = start(&route_to(server.address));
        assert_eq!(status(&get(gateway.address, "/").await), wanted, "{coding}");
    }
}

/// A server that gives 204 a body after all: the body is never the answer to the next request.
#[tokio::test(flavor = "multi_thread")]
async fn a_body_where_none_can_be_poisons_nobody() {
    for fields in ["Content-Length: 44\r\n", "Transfer-Encoding: chunked\r\n"] {
        let server = RawServer::with(move |bytes, _| match message_end(bytes) {
            None => Reply::More,
            Some(_) if bytes.starts_with(b"GET /first") => {
                Reply::Send(format!("HTTP/1.1 204 No Content\r\n{fields}\r\n").into_bytes())
            }
            // The body of the first answer was on its way for long.
            Some(_) if bytes.starts_with(b"GET /second") => {
                let mut late = ok("poison");
                late.extend_from_slice(&ok("good"));
                Reply::Send(late)
            }
            Some(_) => Reply::Send(ok("good")),
        })
        .await;
        let gateway = start(&route_to(server.address));
        assert_eq!(status(&get(gateway.address, "/first").await), 204);
        get(gateway.address, "/second").await;
        let seen = server.seen();
        assert!(seen.len() == 2 && !seen[0].contains("/second"), "the connection was used again: {seen:?}");
    }
}

/// Browsers cut a Cookie field into one for each cookie: they count as the one that they are.
#[tokio::test(flavor = "multi_thread")]
async fn many_cookies_over_http_two_are_one_field() {
    let server = RawServer::start().await;
    let gateway = start(&route_to(server.address));
    let (mut client, _ended) = connect(gateway.address).await;
    let mut asked = of("/");
    for n in 0..150 {
        asked.headers_mut().append("cookie", format!("name{n}=v").parse().expect("a value"));
    }
    let (response, _) = client.send_request(asked, true).expect("sent");
    assert_eq!(answered(response).await.status(), StatusCode::OK);
    let seen = server.all();
    assert!(field(&seen, "cookie").is_some_and(|value| value.starts_with("name0=v; name1=v; ")), "{seen}");
    let mut asked = of("/");
    for n in 0..150 {
        asked.headers_mut().append(
            http::HeaderName::try_from(format!("x-{n}")).expect("a name"),
            "v".parse().expect("a value"),
        );
    }
    let (response, _) = client.send_request(asked, true).expect("sent");
    assert_eq!(answered(response).await.status(), StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE);
}

/// hyper does not ask for the next piece of an answer that its client does not take, so that no timer of the answer runs.
#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_its_client_does_not_take_lets_its_server_go() {
    let server = replying(ok(&"x".repeat(8 << 20))).await;
    let gateway = start(&format!("[timeouts]\nidle_millis = 1500\n{}", route_to(server.address)));
    let (mut client, _ended) = connect(gateway.address).await;
    let mut stalled = Vec::new();
    for _ in 0..3 {
        let (response, _) = client.send_request(of("/"), true).expect("sent");
        stalled.push(answered(response).await.into_body());
    }
    until("the servers are let go", || gateway.gateway.upstreams()[0].servers[0].under_way == 0).await;
    assert_eq!(gateway.gateway.traffic()[0].legacy.failures, 0, "no fault of the server");
    // Only those streams: the connection goes on. Its window is what the stalled ones have taken, and give back.
    for stream in &mut stalled {
        let mut taken = 0;
        while let Some(Ok(piece)) = tokio::time::timeout(SOON, stream.data()).await.expect("in time") {
            taken += piece.len();
            stream.flow_control().release_capacity(piece.len()).expect("released");
        }
        assert!(taken < 8 << 20, "it broke off");
    }
    let (response, _) = client.send_request(of("/"), true).expect("sent");
    assert_eq!(whole(answered(response).await.into_body()).await.0.len(), 8 << 20);
}

/// Requests that are taken back at once, again and again (CVE-2023-44487), cost a connection to the server each.
#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_takes_everything_back_is_sent_away() {
    let reached = Arc::new(AtomicUsize::new(0));
    let count = reached.clone();
    let server = RawServer::with(move |_, _| {
        count.fetch_add(1, Ordering::Relaxed);
        Reply::Hang
    })
    .await;
    let gateway = start(&route_to(server.address));
    let (client, mut ended) = connect(gateway.address).await;
    let mut asked = 0;
    let abuse = async {
        loop {
            let Ok(mut ready) = client.clone().ready().await else { return };
            let Ok((response, mut stream)) = ready.send_request(of("/"), false) else { return };
            asked += 1;
            // Only when it has cost something.
            let cost = until("it reached the server", || reached.load(Ordering::Relaxed) >= asked);
            tokio::select! {
                () = cost => {}
                _ = &mut ended => return,
            }
            stream.send_reset(h2::Reason::CANCEL);
            drop(response);
            assert!(asked < 2_000, "nobody minds");
        }
    };
    tokio::time::timeout(SOON * 2, abuse).await.expect("in time");
    let (mut client, _ended) = connect(gateway.address).await;
    let (response, _) = client.send_request(of("/"), true).expect("sent");
    drop(response);
}

/// What a server of HTTP/2 does with a stream that it did not process.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_server_of_http_two_refused_is_asked_again() {
    for (path, wanted, wanted_asked) in [("/get", 200, 2), ("/post", 502, 1)] {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let gateway = start(&format!(
            "[[upstream]]\nname = \"s\"\nurls = [\"http://{}\"]\nhttp = \"2\"\n[[route]]\npath = \"/\"\nupstream = \"s\"\n",
            listener.local_addr().expect("an address")
        ));
        let asked = Arc::new(AtomicUsize::new(0));
        let count = asked.clone();
        tokio::spawn(async move {
            loop {
                let (socket, _) = listener.accept().await.expect("connected");
                let count = count.clone();
                tokio::spawn(async move {
                    let mut connection = h2::server::handshake(socket).await.expect("HTTP/2");
                    while let Some(Ok((_, mut respond))) = connection.accept().await {
                        match count.fetch_add(1, Ordering::Relaxed) {
                            0 => respond.send_reset(h2::Reason::REFUSED_STREAM),
                            _ => {
                                respond.send_response(Response::new(()), true).expect("sent");
                            }
                        }
                    }
                });
            }
        });
        let method = if path == "/get" { "GET" } else { "POST" };
        let answer =
            raw(gateway.address, format!("{method} {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"))
                .await;
        assert_eq!((status(&answer), asked.load(Ordering::Relaxed)), (wanted, wanted_asked), "{answer}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn targets_that_are_neither_a_path_nor_a_whole_address_are_refused() {
    let server = RawServer::start().await;
    let gateway = start(&route_to(server.address));
    for target in ["a:80", "a", "*", "http:", "http://a:80@b/", "?x=1", "ftp://a/", "//a/b\\c"] {
        let host = if target.contains("a:80") { "a:80" } else { "a" };
        let answer = raw(
            gateway.address,
            format!("GET {target} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"),
        )
        .await;
        assert!(
            status(&answer) == 400 || (target.starts_with("//") && status(&answer) == 200),
            "{target}: {answer}"
        );
    }
    let plain = server.all();
    assert!(
        !plain.contains("GET /\u{20}") && !plain.contains("GET *") && !plain.contains("GET ?"),
        "{plain}"
    );
    let answer = raw(gateway.address, "OPTIONS * HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").await;
    assert_eq!(status(&answer), 200);
    assert!(server.all().contains("OPTIONS * HTTP/1.1\r\n"), "{}", server.all());
}

/// HTTP/2 can leave out whom a request is for, and no library would send that: routes of a host must not be got around so.
#[tokio::test(flavor = "multi_thread")]
async fn a_request_of_http_two_that_names_no_host_is_refused() {
    let server = RawServer::start().await;
    let gateway = start(&route_to(server.address));
    let mut socket = TcpStream::connect(gateway.address).await.expect("connected");
    let mut text = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0".to_vec();
    // HEADERS of stream 1, which it ends: GET, http, / in HPACK's static table.
    text.extend_from_slice(b"\0\0\x03\x01\x05\0\0\0\x01\x82\x86\x84");
    socket.write_all(&text).await.expect("sent");
    let status = loop {
        let mut frame = [0; 9];
        tokio::time::timeout(SOON, socket.read_exact(&mut frame)).await.expect("in time").expect("a frame");
        let mut payload = vec![0; usize::from(frame[1]) << 8 | usize::from(frame[2])];
        socket.read_exact(&mut payload).await.expect("all of it");
        if frame[3] == 1 {
            break payload[0];
        }
    };
    // 400, in the same table.
    assert_eq!((status, server.all()), (0x8c, String::new()));
}

/// What moved to another server must not be reached at the old one by writing its path in a way that the old one reads alike.
#[tokio::test(flavor = "multi_thread")]
async fn a_route_is_not_got_around_by_another_way_to_write_its_path() {
    let (old, new) = (RawServer::start().await, RawServer::start().await);
    let gateway = start(&format!(
        "{}[[route]]\npath = \"/checkout\"\nupstream = \"http://{at}\"\n[[route]]\npath = \"/@admin\"\nupstream = \"http://{at}\"\n\
         [[route]]\npath = \"/상품\"\nupstream = \"http://{at}\"\n[[route]]\npath = \"/v1/items:batch\"\nupstream = \"http://{at}\"\n\
         [[route]]\npath = \"/big%20deals\"\nupstream = \"http://{at}\"\n",
        route_to(old.address),
        at = new.address
    ));
    let ways = [
        "/checkout/pay",
        "//checkout/pay",
        "/%63heckout/pay",
        "/%2fcheckout/pay",
        "/checkout%2fpay",
        "/checkout;jsessionid=1/pay",
        "/checkout%5Cpay",
        "/;x/checkout/pay",
        "/checkout/%FF",
        "/%63heckout/%ff",
        "/%40admin",
        "/v1/items%3Abatch",
        "/v1/items%3abatch/1",
        "/%EC%83%81%ED%92%88",
        "/%ec%83%81%ed%92%88/1",
        "/%62ig%20deals/1",
    ];
    for way in ways {
        assert_eq!(status(&get(gateway.address, way).await), 200, "{way}");
        assert!(
            new.all().contains(&format!("GET {way} HTTP/1.1\r\n")),
            "{way} is sent as it came: {}",
            new.all()
        );
    }
    for way in ["/x/%2e%2e/checkout", "/x%2f..%2fcheckout", "/x/..;/checkout", "/x/..%5ccheckout"] {
        assert_eq!(status(&get(gateway.address, way).await), 400, "{way}");
    }
    assert_eq!(old.all(), "");
}

#[tokio::test(flavor = "multi_thread")]
async fn trailers_cross_from_either_http_to_the_other() {
    let server = replying(
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: x-sum\r\n\r\n2\r\nok\r\n0\r\nx-sum: 9\r\n\r\n",
    )
    .await;
    let gateway = start(&route_to(server.address));
    let (mut client, _ended) = connect(gateway.address).await;
    let asked = Request::post("http://shop.example/")
        .header("te", "trailers")
        .header("trailer", "x-mine")
        .body(())
        .expect("a request");
    let (response, mut stream) = client.send_request(asked, false).expect("sent");
    stream.send_data(Bytes::from_static(b"hi"), false).expect("sent");
    let mut mine = HeaderMap::new();
    mine.insert("x-mine", "7".parse().expect("a value"));
    stream.send_trailers(mine).expect("sent");
    let (text, trailers) = whole(answered(response).await.into_body()).await;
    assert_eq!(
        (text.as_str(), trailers.as_ref().map(|t| &t["x-sum"])),
        ("ok", Some(&"9".parse().expect("a value")))
    );
    let seen = server.all().to_ascii_lowercase();
    assert!(seen.ends_with("2\r\nhi\r\n0\r\nx-mine: 7\r\n\r\n"), "{seen}");
}

/// Over HTTP/2 a trailer `connection` breaks the message, and then whoever passed it on is to blame.
#[tokio::test(flavor = "multi_thread")]
async fn trailers_say_nothing_that_only_a_head_or_a_proxy_may_say() {
    const ODD: &str = "Connection: close\r\nX-Forwarded-For: 192.0.2.66\r\nX_Forwarded_For: 192.0.2.66\r\nHost: b\r\nCookie: a=b\r\nX-Sum: 9\r\n";
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let (tell, told) = tokio::sync::oneshot::channel();
    tokio::spawn(async move {
        let (socket, _) = listener.accept().await.expect("connected");
        let mut connection = h2::server::handshake(socket).await.expect("HTTP/2");
        let (request, mut respond) = connection.accept().await.expect("asked").expect("a request");
        let ended = tokio::spawn(async move { while connection.accept().await.is_some() {} });
        tell.send(whole(request.into_body()).await).expect("somebody listens");
        respond.send_response(Response::new(()), true).expect("sent");
        ended.await.expect("no panic");
    });
    let two = start(&format!(
        "[[upstream]]\nname = \"s\"\nurls = [\"http://{address}\"]\nhttp = \"2\"\n[[route]]\nname = \"all\"\npath = \"/\"\nupstream = \"s\"\n"
    ));
    let text = format!(
        "POST / HTTP/1.1\r\nHost: a\r\nTrailer: x-sum\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n2\r\nhi\r\n0\r\n{ODD}\r\n"
    );
    let answer = raw(two.address, &text).await;
    assert_eq!(status(&answer), 200, "{answer}");
    let (got, trailers) = tokio::time::timeout(SOON, told).await.expect("in time").expect("it was asked");
    let trailers = trailers.expect("trailers");
    let names: Vec<&str> = trailers.keys().map(http::HeaderName::as_str).collect();
    assert_eq!((got.as_str(), names), ("hi", vec!["x-sum"]));

    let server = replying(format!(
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: x-sum\r\n\r\n2\r\nok\r\n0\r\n{ODD}\r\n"
    ))
    .await;
    let one = start(&route_to(server.address));
    let (mut client, _ended) = connect(one.address).await;
    let (response, _) = client.send_request(of("/"), true).expect("sent");
    let (got, trailers) = whole(answered(response).await.into_body()).await;
    let trailers = trailers.expect("trailers");
    let names: Vec<&str> = trailers.keys().map(http::HeaderName::as_str).collect();
    assert_eq!((got.as_str(), names), ("ok", vec!["x-sum"]));
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_without_a_body_are_the_same_over_http_two() {
    let server = RawServer::with(|bytes, _| match message_end(bytes) {
        None => Reply::More,
        Some(_) if bytes.starts_with(b"HEAD /chunked") => {
            Reply::Send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec())
        }
        Some(_) if bytes.starts_with(b"HEAD") => {
            Reply::Send(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n".to_vec())
        }
        Some(_) if bytes.starts_with(b"GET /304") => {
            Reply::Send(b"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\nETag: \"a\"\r\n\r\n".to_vec())
        }
        Some(_) => Reply::Send(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n".to_vec()),
    })
    .await;
    let gateway = start(&route_to(server.address));
    let (mut client, _ended) = connect(gateway.address).await;
    for (method, path, wanted, length) in [
        ("HEAD", "/", 200, Some("5")),
        ("HEAD", "/chunked", 200, None),
        ("GET", "/304", 304, Some("5")),
        ("GET", "/empty", 200, Some("0")),
    ] {
        let asked =
            Request::builder().method(method).uri(format!("http://a{path}")).body(()).expect("a request");
        let (response, _) = client.send_request(asked, true).expect("sent");
        let answer = answered(response).await;
        let got = answer.headers().get("content-length").and_then(|value| value.to_str().ok());
        assert_eq!((answer.status().as_u16(), got), (wanted, length), "{method} {path}");
        assert_eq!(whole(answer.into_body()).await.0, "");
        let one =
            raw(gateway.address, format!("{method} {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"))
                .await;
        let got = field(&one, "content-length");
        assert!(status(&one) == wanted && (got == length || wanted == 304) && body(&one).is_empty(), "{one}");
        assert_eq!(field(&one, "transfer-encoding"), None, "{one}");
    }
}

/// What the gateway itself says to HEAD has no body, and whoever asks so is not taken for one who leaves early.
#[tokio::test(flavor = "multi_thread")]
async fn errors_of_the_gateway_have_no_body_for_head() {
    let server = RawServer::start().await;
    let gateway = start(&route_to(server.address).replace("path = \"/\"", "path = \"/shop\""));
    let (mut client, _ended) = connect(gateway.address).await;
    for _ in 0..500 {
        let asked = Request::head("http://a/elsewhere").body(()).expect("a request");
        let (response, _) = client.send_request(asked, true).expect("sent");
        let answer = answered(response).await;
        assert_eq!(answer.status(), StatusCode::NOT_FOUND);
        assert!(answer.headers().get("content-length").is_some_and(|length| length != "0"));
        assert_eq!(whole(answer.into_body()).await.0, "");
    }
    let one = raw(gateway.address, "HEAD /elsewhere HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").await;
    assert!(status(&one) == 404 && body(&one).is_empty(), "{one}");
}

/// A connection that is used all the time is given up some day, so that a name that leads elsewhere is looked up again.
#[tokio::test(flavor = "multi_thread")]
async fn connections_to_servers_grow_only_so_old() {
    for http in ["1.1", "2"] {
        let opened = Arc::new(AtomicUsize::new(0));
        let count = opened.clone();
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        tokio::spawn(async move {
            loop {
                let (mut socket, _) = listener.accept().await.expect("connected");
                count.fetch_add(1, Ordering::Relaxed);
                tokio::spawn(async move {
                    if http == "2" {
                        let mut connection = h2::server::handshake(socket).await.expect("HTTP/2");
                        while let Some(Ok((_, mut respond))) = connection.accept().await {
                            respond.send_response(Response::new(()), true).expect("sent");
                        }
                        return;
                    }
                    let mut bytes = vec![0; 8 << 10];
                    while socket.read(&mut bytes).await.is_ok_and(|n| n > 0) {
                        if socket.write_all(&ok("x")).await.is_err() {
                            return;
                        }
                    }
                });
            }
        });
        let gateway = start(&format!(
            "[[upstream]]\nname = \"s\"\nurls = [\"http://{address}\"]\nhttp = \"{http}\"\nage_millis = 100\n[[route]]\npath = \"/\"\nupstream = \"s\"\n"
        ));
        let mut socket = TcpStream::connect(gateway.address).await.expect("connected");
        let deadline = std::time::Instant::now() + SOON;
        while opened.load(Ordering::Relaxed) < 3 {
            assert!(std::time::Instant::now() < deadline, "the first connection is used for ever: {http}");
            socket.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await.expect("sent");
            assert_eq!(status(&one_answer(&mut socket).await), 200);
        }
    }
}

/// Its servers may need the places, and nobody else closes them.
#[tokio::test(flavor = "multi_thread")]
async fn idle_connections_to_an_upstream_that_no_route_uses_any_more_are_closed() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let left = tokio::spawn(async move {
        let (mut socket, _) = listener.accept().await.expect("connected");
        read_until(&mut socket, b"\r\n\r\n").await;
        socket.write_all(&ok("x")).await.expect("written");
        let mut more = Vec::new();
        socket.read_to_end(&mut more).await.map(|_| more)
    });
    let gateway = start(&format!(
        "[[upstream]]\nname = \"s\"\nurls = [\"http://{address}\"]\nkeep_millis = 300\n\
         [[route]]\nname = \"other\"\npath = \"/other\"\nupstream = \"http://127.0.0.1:1\"\n\
         [[route]]\nname = \"s\"\npath = \"/\"\nupstream = \"s\"\n"
    ));
    assert_eq!(status(&get(gateway.address, "/").await), 200);
    let remove = Change::RemoveRoute { route: "s".to_owned() };
    gateway.gateway.change(1, remove, "mina", "a test").expect("removed");
    let more = tokio::time::timeout(SOON, left).await.expect("it is closed").expect("no panic");
    assert_eq!(more.expect("closed in order"), b"", "nothing more was asked there");
}

/// A drain does not wait for connections on which nothing happens.
#[tokio::test(flavor = "multi_thread")]
async fn idle_connections_of_http_two_do_not_hold_up_the_end() {
    let server = RawServer::start().await;
    let gateway = start(&format!("[timeouts]\ndrain_millis = 600000\n{}", route_to(server.address)));
    let (mut client, ended) = connect(gateway.address).await;
    let (response, _) = client.send_request(of("/"), true).expect("sent");
    assert_eq!(answered(response).await.status(), StatusCode::OK);
    let end = tokio::task::spawn_blocking(move || gateway.end());
    tokio::time::timeout(SOON, end).await.expect("long before the drain is over").expect("it ends");
    tokio::time::timeout(SOON, ended)
        .await
        .expect("the client is told")
        .expect("no panic")
        .expect("politely");
}

/// hyper drops a body after its trailers, and does not ask for its end: that is no client who left.
#[tokio::test(flavor = "multi_thread")]
async fn answers_with_trailers_are_whole_and_keep_their_connections() {
    const MANY: usize = 250;
    let server = replying(
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: x-sum\r\n\r\n2\r\nok\r\n0\r\nx-sum: 9\r\n\r\n",
    )
    .await;
    let gateway = start(&route_to(server.address));
    let (client, _ended) = connect(gateway.address).await;
    for n in 0..MANY {
        let mut ready = client.clone().ready().await.unwrap_or_else(|error| panic!("request {n}: {error}"));
        let (response, _) = ready.send_request(of("/"), true).expect("sent");
        let response = answered(response).await;
        assert_eq!(response.status(), StatusCode::OK);
        let (text, trailers) = whole(response.into_body()).await;
        assert_eq!((text.as_str(), trailers.is_some()), ("ok", true), "request {n}");
    }
    let seen = server.seen();
    assert_eq!(seen.len(), 1, "connections");
    assert_eq!(seen[0].matches("GET / HTTP/1.1\r\n").count(), MANY);
}

/// Rare, and allowed: what a search asks for may be in the body of its GET.
#[tokio::test(flavor = "multi_thread")]
async fn the_body_of_a_get_whose_length_nobody_said_reaches_the_server() {
    let server = RawServer::with(|bytes, _| match message_end(bytes) {
        None => Reply::More,
        Some(_) => Reply::Send(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n".to_vec()),
    })
    .await;
    let gateway = start(&route_to(server.address));
    for method in ["GET", "HEAD"] {
        let text = format!(
            "{method} /one HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n3\r\nabc\r\n0\r\n\r\n"
        );
        assert_eq!(status(&raw(gateway.address, text).await), 200);
        let seen = server.all().to_ascii_lowercase();
        assert!(seen.ends_with("\r\n\r\n3\r\nabc\r\n0\r\n\r\n"), "{method}: {seen}");
        assert_eq!(field(&seen, "transfer-encoding"), Some("chunked"));
    }
    let (mut client, _ended) = connect(gateway.address).await;
    let (response, mut stream) = client.send_request(of("/two"), false).expect("sent");
    stream.send_data(Bytes::from_static(b"over two"), true).expect("sent");
    assert_eq!(answered(response).await.status(), StatusCode::OK);
    let seen = server.all();
    assert!(seen.ends_with("\r\n\r\n8\r\nover two\r\n0\r\n\r\n"), "{seen}");
    // And one that has none gets none.
    assert_eq!(status(&get(gateway.address, "/none").await), 200);
    let seen = server.all().to_ascii_lowercase();
    assert!(!seen[seen.find("get /none").expect("it came")..].contains("transfer-encoding"), "{seen}");
}
