//! What could be read in two ways never reaches a server; what reaches it is one plain request.

mod common;

use common::{RawServer, field, message_end, raw, route_to, slug, start, status};

/// A request that must be refused, and never seen by the server. `SMUGGLED` in it must not arrive either.
#[tokio::test(flavor = "multi_thread")]
async fn ambiguous_requests_are_refused_and_nothing_of_them_arrives() {
    let server = RawServer::start().await;
    let gateway = start(&route_to(server.address));
    let smuggled = "GET /SMUGGLED HTTP/1.1\r\nHost: a\r\n\r\n";
    let post = |fields: &str, body: &str| format!("POST /x HTTP/1.1\r\nHost: a\r\n{fields}\r\n{body}");
    let cases: Vec<(&str, u16, String)> = vec![
        ("two lengths", 400, post("Content-Length: 6\r\nContent-Length: 5\r\n", smuggled)),
        ("the same length twice", 400, post("Content-Length: 0\r\nContent-Length: 0\r\n", smuggled)),
        ("a list of lengths", 400, post("Content-Length: 0, 0\r\n", smuggled)),
        ("a signed length", 400, post("Content-Length: +0\r\n", smuggled)),
        ("a hexadecimal length", 400, post("Content-Length: 0x0\r\n", smuggled)),
        ("an empty length", 400, post("Content-Length: \r\n", smuggled)),
        (
            "CL.TE",
            400,
            post("Content-Length: 0\r\nTransfer-Encoding: chunked\r\n", &format!("0\r\n\r\n{smuggled}")),
        ),
        (
            "TE.CL",
            400,
            post("Transfer-Encoding: chunked\r\nContent-Length: 4\r\n", &format!("0\r\n\r\n{smuggled}")),
        ),
        ("two encodings", 400, post("Transfer-Encoding: chunked\r\nTransfer-Encoding: x\r\n", smuggled)),
        ("a list of encodings", 501, post("Transfer-Encoding: gzip, chunked\r\n", smuggled)),
        ("chunked is not last", 501, post("Transfer-Encoding: chunked, identity\r\n", smuggled)),
        ("a look-alike encoding", 501, post("Transfer-Encoding: xchunked\r\n", smuggled)),
        ("a quoted encoding", 501, post("Transfer-Encoding: \"chunked\"\r\n", smuggled)),
        ("a space before the colon", 400, post("Transfer-Encoding : chunked\r\n", smuggled)),
        ("a tab before the colon", 400, post("Content-Length\t: 0\r\n", smuggled)),
        ("a vertical tab in the value", 400, post("Transfer-Encoding: \u{b}chunked\r\n", smuggled)),
        ("a folded field", 400, post("X: y\r\n Transfer-Encoding: chunked\r\n", smuggled)),
        ("a NUL", 400, post("X: a\0b\r\n", smuggled)),
        ("a lone CR in a value", 400, post("X: a\rContent-Length: 9\r\n", smuggled)),
        ("a lone CR before the LF pair", 400, post("X: a\r\r\n", smuggled)),
        ("lone LFs", 400, "GET /x HTTP/1.1\nHost: a\n\n".to_owned()),
        ("a lone LF in a head", 400, post("X: a\nTransfer-Encoding: chunked\r\n", smuggled)),
        ("no name", 400, post(": x\r\n", smuggled)),
        ("no colon", 400, post("Transfer-Encoding chunked\r\n", smuggled)),
        (
            "encoding in HTTP/1.0",
            400,
            format!("POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n{smuggled}"),
        ),
        ("two hosts", 400, format!("GET /x HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n{smuggled}")),
        ("no host", 400, format!("GET /x HTTP/1.1\r\n\r\n{smuggled}")),
        ("an empty host", 400, format!("GET /x HTTP/1.1\r\nHost: \r\n\r\n{smuggled}")),
        ("a host with a path", 400, format!("GET /x HTTP/1.1\r\nHost: a/b\r\n\r\n{smuggled}")),
        ("a host with a user", 400, format!("GET /x HTTP/1.1\r\nHost: a@b\r\n\r\n{smuggled}")),
        ("two hosts in one", 400, format!("GET /x HTTP/1.1\r\nHost: a, b\r\n\r\n{smuggled}")),
        ("target and host disagree", 400, format!("GET http://b/x HTTP/1.1\r\nHost: a\r\n\r\n{smuggled}")),
        ("a space in the target", 400, format!("GET /x y HTTP/1.1\r\nHost: a\r\n\r\n{smuggled}")),
        ("two spaces", 400, format!("GET  /x HTTP/1.1\r\nHost: a\r\n\r\n{smuggled}")),
        ("a tab in the request line", 400, format!("GET\t/x HTTP/1.1\r\nHost: a\r\n\r\n{smuggled}")),
        ("HTTP/0.9", 400, format!("GET /x\r\n\r\n{smuggled}")),
        ("an odd version", 505, format!("GET /x HTTP/1.9\r\nHost: a\r\n\r\n{smuggled}")),
        ("a bad method", 400, format!("G(T /x HTTP/1.1\r\nHost: a\r\n\r\n{smuggled}")),
        ("CONNECT", 501, format!("CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n{smuggled}")),
        (
            "dot segments",
            400,
            format!("GET /shop/../admin HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n{smuggled}"),
        ),
        (
            "hidden dot segments",
            400,
            format!("GET /shop/%2e%2E/admin HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n{smuggled}"),
        ),
        (
            "many fields",
            431,
            format!("GET /x HTTP/1.1\r\nHost: a\r\n{}\r\n{smuggled}", "X: y\r\n".repeat(200)),
        ),
        (
            "a long head",
            431,
            format!("GET /x HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n{smuggled}", "y".repeat(40_000)),
        ),
        ("a long target", 414, format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n{smuggled}", "y".repeat(9_000))),
    ];
    for (what, wanted, text) in cases {
        let answer = raw(gateway.address, &text).await;
        assert_eq!(status(&answer), wanted, "{what}: {answer}");
        assert!(slug(&answer).starts_with("gateway-"), "{what}");
        assert_eq!(field(&answer, "content-type"), Some("application/problem+json"), "{what}");
        assert_eq!(field(&answer, "connection"), Some("close"), "{what}: nothing after it is read");
        assert_eq!(answer.matches("content-type:").count(), 1, "{what}: one answer: {answer}");
        assert_eq!(server.all(), "", "{what}: reached the server");
    }
}

/// Bodies that break while they pass: the server sees an unfinished message on a connection that is not used again.
#[tokio::test(flavor = "multi_thread")]
async fn broken_chunks_end_the_request_and_the_connection() {
    let server = RawServer::start().await;
    let gateway = start(&route_to(server.address));
    for chunks in [
        "3\r\nabcX\r\n0\r\n\r\nGET /SMUGGLED HTTP/1.1\r\nHost: a\r\n\r\n",
        "3\nabc\r\n0\r\n\r\nGET /SMUGGLED HTTP/1.1\r\nHost: a\r\n\r\n",
        "3 \r\nabc\r\n0\r\n\r\nGET /SMUGGLED HTTP/1.1\r\nHost: a\r\n\r\n",
        "0x3\r\nabc\r\n0\r\n\r\nGET /SMUGGLED HTTP/1.1\r\nHost: a\r\n\r\n",
        "-1\r\n\r\nGET /SMUGGLED HTTP/1.1\r\nHost: a\r\n\r\n",
        "3;a\nb\r\nabc\r\n0\r\n\r\nGET /SMUGGLED HTTP/1.1\r\nHost: a\r\n\r\n",
        "FFFFFFFFFFFFFFFFF\r\nabc\r\n0\r\n\r\n",
        "3\r\nabc\r\n0\r\nBad trailer\r\n\r\nGET /SMUGGLED HTTP/1.1\r\nHost: a\r\n\r\n",
        "3\r\nabc\n0\r\n\r\nGET /SMUGGLED HTTP/1.1\r\nHost: a\r\n\r\n",
        "zz\r\n",
    ] {
        let text = format!("POST /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n{chunks}");
        let answer = raw(gateway.address, &text).await;
        assert_eq!((status(&answer), slug(&answer)), (400, "gateway-malformed"), "{chunks:?}: {answer}");
    }
    for seen in server.seen() {
        assert!(!seen.contains("SMUGGLED"), "{seen}");
        assert_eq!(message_end(seen.as_bytes()), None, "no broken message was completed: {seen}");
    }
}

/// What is allowed arrives in one plain form.
#[tokio::test(flavor = "multi_thread")]
async fn what_arrives_is_plain() {
    let server = RawServer::start().await;
    let gateway = start(&route_to(server.address));
    let text = "POST /x?y=1 HTTP/1.1\r\nhOsT: shop.example\r\nX_Forwarded_For: 9.9.9.9\r\nConnection: close, X-Secret\r\n\
                X-Secret: 1\r\nKeep-Alive: 5\r\nProxy-Connection: x\r\nTE: gzip\r\nUpgrade: h2c\r\nHTTP2-Settings: AA\r\n\
                X-Forwarded-For: 6.6.6.6\r\nX-Real-IP: 6.6.6.6\r\nForwarded: for=6.6.6.6\r\nX-Forwarded-Host: evil\r\n\
                X-Forwarded-User: admin-a\r\nx-forwarded_email: admin-b\r\nX_FORWARDED_GROUPS: admin-c\r\nX-Forwarded-Client-Cert: admin-d\r\n\
                X-Forwarded-Uri: admin-e\r\nX-Rewrite-Url: admin-f\r\nX_Original_Url: admin-g\r\nProxy: admin-h\r\nX-Forwardable: kept\r\nX_Shop: kept\r\n\
                Transfer-Encoding: chunked\r\nCookie: a=b\r\n\r\n3;x=y\r\nabc\r\n2\r\nde\r\n0\r\n\r\n";
    let answer = raw(gateway.address, text).await;
    assert_eq!(status(&answer), 200, "{answer}");
    let seen = server.all();
    let lower = seen.to_ascii_lowercase();
    assert!(seen.starts_with("POST /x?y=1 HTTP/1.1\r\n"), "{seen}");
    for gone in [
        "x-secret",
        "keep-alive",
        "proxy-connection",
        "upgrade",
        "http2-settings",
        "te:",
        "6.6.6.6",
        "9.9.9.9",
        "evil",
        "x_forwarded",
        "admin",
        ";x=y",
    ] {
        let gone_from = lower.replace("transfer-encoding", "").replace("sec-", "");
        assert!(
            !gone_from.lines().any(|line| line.starts_with(gone) || (gone.len() > 3 && line.contains(gone))),
            "{gone} in {seen}"
        );
    }
    assert_eq!(field(&seen, "host"), Some("shop.example"));
    assert_eq!(field(&seen, "x-forwarded-for"), Some("127.0.0.1"));
    assert_eq!(field(&seen, "x-forwarded-host"), Some("shop.example"));
    assert_eq!(field(&seen, "x-forwarded-proto"), Some("http"));
    assert_eq!(field(&seen, "forwarded"), Some("for=127.0.0.1;host=\"shop.example\";proto=http"));
    assert_eq!((field(&seen, "x-forwardable"), field(&seen, "x_shop")), (Some("kept"), Some("kept")));
    assert_eq!(field(&seen, "via"), Some("1.1 banyan"));
    assert_eq!(field(&seen, "cookie"), Some("a=b"));
    assert_eq!(field(&seen, "transfer-encoding"), Some("chunked"));
    assert_eq!(lower.matches("transfer-encoding").count(), 1);
    assert_eq!(field(&seen, "x-request-id"), field(&answer, "x-request-id"), "both sides know the same id");
    assert_eq!(field(&seen, "traceparent").map(str::len), Some(55));
}

/// Two good requests and then a bad one in one write: the good ones are answered, the bad one is refused.
#[tokio::test(flavor = "multi_thread")]
async fn pipelined_requests_before_a_bad_one_are_answered() {
    let server = RawServer::start().await;
    let gateway = start(&route_to(server.address));
    let good = "GET /good HTTP/1.1\r\nHost: a\r\n\r\n";
    let answer =
        raw(gateway.address, format!("{good}{good}GET /bad HTTP/1.1\r\nHost : a\r\n\r\n{good}")).await;
    assert_eq!(answer.matches("HTTP/1.1 200").count(), 2, "{answer}");
    assert_eq!(answer.matches("HTTP/1.1 400").count(), 1, "{answer}");
    assert_eq!(server.all().matches("GET /good").count(), 2);
    assert!(!server.all().contains("/bad"));
}

/// The same bytes in the smallest pieces are judged alike.
#[tokio::test(flavor = "multi_thread")]
async fn bytes_that_drip_are_judged_alike() {
    use tokio::io::AsyncWriteExt;
    let server = RawServer::start().await;
    let gateway = start(&route_to(server.address));
    for (text, wanted) in [
        (
            "POST /x HTTP/1.1\r\nHost: a\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nA: b\r\n\r\n",
            200,
        ),
        ("POST /x HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 3\r\n\r\nabc", 200),
        ("POST /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding : chunked\r\n\r\n", 400),
    ] {
        let mut socket = tokio::net::TcpStream::connect(gateway.address).await.expect("connected");
        socket.set_nodelay(true).expect("set");
        for byte in text.as_bytes() {
            socket.write_all(&[*byte]).await.expect("written");
            tokio::task::yield_now().await;
        }
        let answer = common::rest(&mut socket).await;
        assert_eq!(status(&answer), wanted, "{text:?}: {answer}");
    }
    assert_eq!(server.all().matches("POST /x").count(), 2);
}

/// A server that says more than it announced: what is too much is never the answer to somebody else's request.
#[tokio::test(flavor = "multi_thread")]
async fn too_much_of_an_answer_is_nobodys_answer() {
    use common::{Reply, body, one_answer};
    use tokio::io::AsyncWriteExt;
    const POISON: &str = "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison";
    for (method, first) in [
        ("HEAD", format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{POISON}", POISON.len())),
        ("GET", format!("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok{POISON}")),
        ("GET", format!("HTTP/1.1 204 No Content\r\n\r\n{POISON}")),
        ("GET", format!("HTTP/1.1 304 Not Modified\r\n\r\n{POISON}")),
        ("GET", format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n{POISON}")),
    ] {
        let answer = first.clone();
        let server = RawServer::with(move |bytes, _| match message_end(bytes) {
            None => Reply::More,
            Some(_) if bytes.windows(6).any(|window| window == b"/first") => {
                Reply::Send(answer.clone().into_bytes())
            }
            Some(_) => Reply::Send(common::ok("mine")),
        })
        .await;
        let gateway = start(&route_to(server.address));
        for n in 0..10 {
            let text = format!("{method} /first HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
            let got = raw(gateway.address, text).await;
            assert!(!body(&got).contains("poison"), "{first:?}: {got}");
            let mut other = tokio::net::TcpStream::connect(gateway.address).await.expect("connected");
            other.write_all(b"GET /other HTTP/1.1\r\nHost: a\r\n\r\n").await.expect("sent");
            assert_eq!(body(&one_answer(&mut other).await), "mine", "{first:?}, round {n}");
        }
    }
}
