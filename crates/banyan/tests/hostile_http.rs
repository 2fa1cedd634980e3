//! Whatever is sent, the answer is a clear no: never a 5xx, never a panic, and memory stays flat.

mod support;

use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::{Value, json};
use std::io::{BufReader, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::path::Path;
use std::time::{Duration, Instant};
use support::{Reply, Server, campaign, connect, read_reply, text};

const SECRET: &str = "a shop's secret of at least thirty-two bytes";
/// The modulus of some RSA key: public, so anybody may try to sign with it.
const MODULUS: &str = "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw";

fn start(folder: &Path) -> Server {
    let (secret, jwks) = (folder.join("shop.secret"), folder.join("jwks.json"));
    std::fs::write(&secret, SECRET).expect("written");
    let key = json!({"kty": "RSA", "kid": "shop-1", "alg": "RS256", "use": "sig", "n": MODULUS, "e": "AQAB"});
    std::fs::write(&jwks, json!({ "keys": [key] }).to_string()).expect("written");
    let more = ["--jwt-hs256-secret", text(&secret), "--jwks", text(&jwks), "--jwt-audience", "shop"];
    let server = Server::start(Path::new(env!("CARGO_BIN_EXE_banyan")), &folder.join("data"), &more);
    server.operator().post("/v1/campaigns", &campaign("c", &json!(1_000_000), 1)).expect("made").expect(201);
    server
}

/// Fails unless `reply` is a problem that a person can act on.
#[track_caller]
fn expect_clear_no(what: &str, reply: &Reply) {
    assert!((400..500).contains(&reply.status), "{what}: {} {}", reply.status, reply.text());
    let kind = reply.headers.get("content-type").map_or("", String::as_str);
    assert_eq!(kind, "application/problem+json", "{what}: {}", reply.text());
    let body = reply.json();
    assert!(body["detail"].as_str().is_some_and(|detail| detail.len() > 10), "{what}: {body}");
    assert!(body["type"].as_str().is_some_and(|kind| kind.starts_with("/errors/")), "{what}: {body}");
}

/// Sends raw bytes and reads what comes until the other side closes or answers.
fn raw(server: &Server, bytes: &[u8]) -> Option<Reply> {
    let mut stream = connect(server.address).expect("the server takes connections");
    // The server may close before everything is sent: that is an answer too.
    let _sent = stream.get_mut().write_all(bytes);
    read_reply(&mut stream).ok()
}

/// Fails unless an honest caller is served, and soon.
#[track_caller]
fn expect_service(server: &Server, member: &str) {
    let began = Instant::now();
    let reply =
        server.operator().post("/v1/campaigns/c/coupons", &json!({"member": member})).expect("an answer");
    assert!(matches!(reply.status, 200 | 201), "{}", reply.text());
    assert!(began.elapsed() < Duration::from_secs(5), "an honest caller waited {:?}", began.elapsed());
}

#[track_caller]
fn expect_calm(server: Server) {
    let metrics = server.http("").get("/metrics").expect("an answer").text();
    assert!(metrics.contains("banyan_http_answers_total{class=\"5xx\"} 0"), "{metrics}");
    let told = server.stop();
    assert!(!told.contains("panicked") && !told.contains("ERROR"), "{told}");
}

#[test]
fn wrong_bodies_are_told_what_is_wrong() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let server = start(folder.path());
    let mut http = server.operator();
    let issue = "/v1/campaigns/c/coupons";
    let deep = format!("{{\"member\":{}1{}}}", "[".repeat(5_000), "]".repeat(5_000));
    let long = format!("{{\"member\":\"{}\"}}", "m".repeat(65));
    let bodies: Vec<&[u8]> = vec![
        b"",
        b"{",
        b"null",
        b"[]",
        b"42",
        b"\"m\"",
        b"{}",
        b"{\"member\":null}",
        b"{\"member\":1}",
        b"{\"member\":[\"m\"]}",
        b"{\"member\":\"\"}",
        b"{\"member\":\"a b\"}",
        b"{\"member\":\"m\",\"extra\":1}",
        b"{\"member\":\"m\",\"member\":\"n\"}",
        b"{\"member\":\"\\u0000\"}",
        b"{\"member\":\"\\ud800\"}",
        "{\"member\":\"e\u{301}\u{202e}\u{1F600}\"}".as_bytes(),
        "\u{feff}{\"member\":\"m\"}".as_bytes(),
        b"{\"member\":\"\xff\xfe\"}",
        b"\xff\xff\xff\xff",
        b"{\"member\":\"m\"} trailing",
        b"{\"member\":\"m\",\"segments\":\"gold\"}",
        b"{\"member\":\"m\",\"segments\":[\"GOLD\"]}",
        deep.as_bytes(),
        long.as_bytes(),
        b"<xml/>",
        b"member=m",
        b"{\"member\":1e999}",
    ];
    for body in bodies {
        let reply = http.send("POST", issue, &[], body).expect("an answer");
        expect_clear_no(&String::from_utf8_lossy(&body[..body.len().min(60)]), &reply);
    }
    let campaigns = [
        json!({"id": "../x"}),
        json!({"id": "X"}),
        json!({"id": "x".repeat(49)}),
        json!({"quantity": -1}),
        json!({"quantity": 1.5}),
        json!({"quantity": "many"}),
        json!({"quantity": 0}),
        json!({"quantity": u64::MAX}),
        json!({"per_member": 0}),
        json!({"per_member": 65_536}),
        json!({"benefit": {}}),
        json!({"benefit": {"amount": {"minor": 0, "currency": "KRW"}}}),
        json!({"benefit": {"amount": {"minor": 1, "currency": "won"}}}),
        json!({"benefit": {"percent": {"basis_points": 10_001}}}),
        json!({"starts_at": "tomorrow"}),
        json!({"starts_at": "2026-02-30T00:00:00Z"}),
        json!({"ends_at": "99999-01-01T00:00:00Z"}),
        json!({"audience": "nobody"}),
        json!({"audience": {"segment": ""}}),
        json!({"valid_for_seconds": 0}),
        json!({"name": "\u{7}"}),
        json!({"name": ""}),
        json!({"stacking": true}),
        json!({"valid_for_seconds": u64::MAX}),
    ];
    for wrong in campaigns {
        let mut body = campaign("wrong", &json!(1), 1);
        for (name, value) in wrong.as_object().expect("an object") {
            body[name] = value.clone();
        }
        expect_clear_no(&wrong.to_string(), &http.post("/v1/campaigns", &body).expect("an answer"));
    }
    let batch = "/v1/campaigns/c/coupons/batch";
    let many: Vec<String> = (0..8_193).map(|n| format!("m{n}")).collect();
    for wrong in [
        json!({"members": []}),
        json!({"members": many}),
        json!({"members": ["a", ""]}),
        json!({"members": "a"}),
    ] {
        let what = wrong.to_string();
        expect_clear_no(&what[..what.len().min(40)], &http.post(batch, &wrong).expect("an answer"));
    }
    for wrong in [
        "{\"state\":\"gone\"}",
        "{}",
        "{\"quantity\":0}",
        "{\"ends_at\":\"2001-01-01T00:00:00Z\"}",
        "{\"state\":null}",
    ] {
        expect_clear_no(
            wrong,
            &http.send("PATCH", "/v1/campaigns/c", &[], wrong.as_bytes()).expect("an answer"),
        );
    }
    for wrong in ["a b\n", "a\n\u{e9}\n", &"x".repeat(65)] {
        let mut listed = campaign("listed", &json!(1), 1);
        listed["audience"] = json!("allow_list");
        http.post("/v1/campaigns", &listed).expect("an answer");
        let reply =
            http.send("POST", "/v1/campaigns/listed/allow-list", &[], wrong.as_bytes()).expect("an answer");
        expect_clear_no(&wrong[..wrong.len().min(40)], &reply);
    }
    // The server has seen enough of a line without an end, and may close before all of it is sent.
    let endless = "x".repeat(1 << 20);
    if let Ok(reply) =
        server.operator().send("POST", "/v1/campaigns/listed/allow-list", &[], endless.as_bytes())
    {
        expect_clear_no("an endless line", &reply);
    }
    for key in ["", "a b", &"k".repeat(256)] {
        let reply =
            http.send("POST", issue, &[("idempotency-key", key)], b"{\"member\":\"m\"}").expect("an answer");
        expect_clear_no("idempotency key", &reply);
    }
    expect_service(&server, "honest");
    expect_calm(server);
}

#[test]
fn wrong_paths_lead_nowhere() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let server = start(folder.path());
    let mut http = server.operator();
    let long = format!("/v1/campaigns/{}", "x".repeat(4_000));
    let paths = [
        "/",
        "//",
        "/v1",
        "/v1/campaigns/",
        "/v1/campaigns/..%2f..%2fetc%2fpasswd",
        "/../../etc/passwd",
        "/v1/campaigns/%00",
        "/v1/campaigns/%ff%fe",
        "/v1/campaigns/%",
        "/v1/campaigns/%zz",
        "/v1/campaigns/c/coupons",
        "/v1/members/%20/coupons",
        "/v1/members/%ff/coupons",
        "/v1/coupons/%F0%9F%98%80",
        "/v1/coupons/0000-0000-00000",
        "/v1/coupons/x",
        "/v1/events?from=x",
        "/v1/events?from=-1",
        "/v1/events?from=18446744073709551616",
        "/v1/events?from=18446744073709551615",
        "/v1/events?nope=1",
        "/v1/members/m/coupons?limit=0",
        "/v1/members/m/coupons?limit=100000",
        "/v1/members/m/coupons?cursor=x",
        "/v1/members/m/coupons?at_least=999999999",
        "/V1/CAMPAIGNS",
        "/v1/campaigns/c;x=1",
        &long,
    ];
    for path in paths {
        expect_clear_no(path, &http.get(path).expect("an answer"));
    }
    for (method, path) in [
        ("DELETE", "/v1/campaigns"),
        ("PUT", "/v1/campaigns/c"),
        ("BREW", "/v1/coupons/x/hold"),
        ("TRACE", "/metrics"),
    ] {
        expect_clear_no(method, &http.send(method, path, &[], b"").expect("an answer"));
    }
    expect_service(&server, "honest");
    expect_calm(server);
}

#[test]
fn wrong_keys_open_nothing() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let server = start(folder.path());
    let now =
        std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970").as_secs();
    let good = json!({"sub": "m1", "exp": now + 600, "aud": "shop"});
    let sign = |claims: &Value, secret: &[u8]| {
        jsonwebtoken::encode(&Header::new(Algorithm::HS256), claims, &EncodingKey::from_secret(secret))
            .expect("signed")
    };
    let with = |name: &str, value: Value| {
        let mut claims = good.clone();
        claims[name] = value;
        sign(&claims, SECRET.as_bytes())
    };
    let without = |name: &str| {
        let mut claims = good.clone();
        claims.as_object_mut().expect("an object").remove(name);
        sign(&claims, SECRET.as_bytes())
    };
    let honest = sign(&good, SECRET.as_bytes());
    let (_, signature) = honest.rsplit_once('.').expect("three parts");
    let (signed, _) = honest.rsplit_once('.').expect("three parts");
    let payload = signed.split_once('.').expect("two parts").1;
    // {"alg":"none"}, {"alg":"NONE"} and {"alg":"HS256","kid":"shop-1"}
    let none = format!("eyJhbGciOiJub25lIn0.{payload}.");
    let none_signed = format!("eyJhbGciOiJub25lIn0.{payload}.{signature}");
    let none_upper = format!("eyJhbGciOiJOT05FIn0.{payload}.");
    let mut confused = Header::new(Algorithm::HS256);
    confused.kid = Some("shop-1".into());
    let with_public =
        |key: &[u8]| jsonwebtoken::encode(&confused, &good, &EncodingKey::from_secret(key)).expect("signed");
    let rs256 = format!("eyJhbGciOiJSUzI1NiIsImtpZCI6InNob3AtMSJ9.{payload}.{signature}");
    let other_member = {
        let other = sign(
            &json!({"sub": "m2", "exp": now + 600, "aud": "shop"}),
            b"some other secret of thirty-two bytes..",
        );
        format!("{}.{signature}", other.rsplit_once('.').expect("three parts").0)
    };
    let jwk = json!({"kty": "RSA", "n": MODULUS, "e": "AQAB"}).to_string();
    let tokens = [
        none,
        none_signed,
        none_upper,
        with_public(MODULUS.as_bytes()),
        with_public(jwk.as_bytes()),
        with_public(b""),
        rs256,
        other_member,
        sign(&good, b"a guess"),
        with("exp", json!(now - 600)),
        with("exp", json!("never")),
        with("nbf", json!(now + 600)),
        with("aud", json!("another shop")),
        with("sub", json!("")),
        with("sub", json!("a b")),
        with("sub", json!(7)),
        without("exp"),
        without("sub"),
        without("aud"),
        with("segments", json!(vec!["gold"; 33])),
        with("segments", json!(["GOLD"])),
        honest[..honest.len() - 2].to_owned(),
        format!("{honest}x"),
        format!("{honest}."),
        "..".into(),
        "a.b.c".into(),
        "banyan_operator_".into(),
        "x".repeat(8_000),
        server.operator_key().to_uppercase(),
        format!("{}x", server.operator_key()),
    ];
    for token in &tokens {
        let reply =
            server.http(token).post("/v1/campaigns/c/coupons", &json!({"member": "m1"})).expect("an answer");
        assert_eq!(reply.status, 401, "{token}: {}", reply.text());
        expect_clear_no(token, &reply);
    }
    for header in ["", "Bearer", "Bearer ", "Basic b3BlcmF0b3I6eA==", "bearer\tx", "Bearer \u{e9}"] {
        let reply = server
            .http("")
            .send("GET", "/v1/campaigns", &[("authorization", header)], b"")
            .expect("an answer");
        assert_eq!(reply.status, 401, "{header:?}: {}", reply.text());
    }
    let reply =
        server.http(&honest).post("/v1/campaigns/c/coupons", &json!({"member": "m1"})).expect("an answer");
    assert_eq!(reply.status, 201, "the honest one is let in: {}", reply.text());
    expect_calm(server);
}

#[test]
fn wrong_http_hurts_nobody() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let server = start(folder.path());
    let key = server.operator_key();
    let head = |more: &str| {
        format!(
            "POST /v1/campaigns/c/coupons HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {key}\r\n{more}\r\n"
        )
    };
    let bombs: Vec<Vec<u8>> = vec![
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03".to_vec(),
        b"GET / HTTP/9.9\r\n\r\n".to_vec(),
        b"GET\r\n\r\n".to_vec(),
        vec![0; 4_096],
        vec![b'A'; 200_000],
        format!("GET /{} HTTP/1.1\r\nhost: x\r\n\r\n", "a".repeat(100_000)).into_bytes(),
        format!("GET / HTTP/1.1\r\nhost: x\r\nx: {}\r\n\r\n", "a".repeat(100_000)).into_bytes(),
        head(&(0..5_000).map(|n| format!("x-{n}: y\r\n")).collect::<String>()).into_bytes(),
        head("content-length: 10\r\ncontent-length: 20\r\n").into_bytes(),
        head("content-length: -1\r\n").into_bytes(),
        head("content-length: 99999999999999999999999\r\n").into_bytes(),
        [head("transfer-encoding: chunked\r\n").as_bytes(), b"zzzz\r\n"].concat(),
        [head("transfer-encoding: chunked\r\n").as_bytes(), b"ffffffffffffffffff\r\n"].concat(),
        head("bad header\r\n").into_bytes(),
        head("x: a\0b\r\n").into_bytes(),
    ];
    for (number, bomb) in bombs.iter().enumerate() {
        if let Some(reply) = raw(&server, bomb) {
            assert!((400..500).contains(&reply.status), "bomb {number}: {} {}", reply.status, reply.text());
        }
    }
    // A body that is far too large is refused without being read.
    let big = raw(&server, head(&format!("content-length: {}\r\n", 1_u64 << 40)).as_bytes());
    assert!(big.is_none_or(|reply| reply.status == 413), "a terabyte is announced");
    let chunks =
        [head("transfer-encoding: chunked\r\n").into_bytes(), b"10000\r\n".to_vec(), vec![b' '; 0x10000]]
            .concat();
    assert_eq!(
        raw(&server, &chunks).map(|reply| reply.status),
        Some(413),
        "a body larger than a coupon needs"
    );
    // Many requests at once on one connection are answered in order.
    let mut stream = connect(server.address).expect("connected");
    let mut all = Vec::new();
    for n in 0..200 {
        let body = format!("{{\"member\":\"p{n}\"}}");
        all.extend_from_slice(
            format!("{}{body}", head(&format!("content-length: {}\r\n", body.len()))).as_bytes(),
        );
    }
    stream.get_mut().write_all(&all).expect("sent");
    for n in 0..200 {
        let reply = read_reply(&mut stream).expect("an answer");
        assert_eq!(reply.expect(201)["member"], format!("p{n}"));
    }
    // A caller that has said everything and closed its side still gets its answer.
    let body = "{\"member\":\"half\"}";
    let mut stream = connect(server.address).expect("connected");
    stream
        .get_mut()
        .write_all(format!("{}{body}", head(&format!("content-length: {}\r\n", body.len()))).as_bytes())
        .expect("sent");
    stream.get_mut().shutdown(Shutdown::Write).expect("closed");
    read_reply(&mut stream).expect("an answer").expect(201);
    // One that goes away in the middle of its body leaves nothing behind.
    let mut stream = connect(server.address).expect("connected");
    stream
        .get_mut()
        .write_all(format!("{}{{\"mem", head("content-length: 100\r\n")).as_bytes())
        .expect("sent");
    stream.get_mut().shutdown(Shutdown::Write).expect("closed");
    let left = read_reply(&mut stream).ok();
    assert!(left.is_none_or(|reply| reply.status == 400), "half a body is no request");
    expect_service(&server, "honest");
    expect_calm(server);
}

#[test]
fn slow_callers_hold_up_nobody_and_memory_stays_flat() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let server = start(folder.path());
    let key = server.operator_key();
    let storm = |round: u64| {
        let slow: Vec<TcpStream> = (0..500)
            .map(|n| {
                let mut stream = TcpStream::connect(server.address).expect("connected");
                let head = format!(
                    "POST /v1/campaigns/c/coupons HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {key}\r\n"
                );
                // Some stop in the head, some in the body.
                let more =
                    if n % 2 == 0 { "x-slow: ye" } else { "content-length: 1000\r\n\r\n{\"member\":\"" };
                stream.write_all(format!("{head}{more}").as_bytes()).expect("sent");
                stream
            })
            .collect();
        expect_service(&server, &format!("beside-{round}"));
        // They go on, a byte at a time, and others are still served.
        for mut stream in &slow {
            stream.write_all(b"x").expect("sent");
        }
        expect_service(&server, &format!("between-{round}"));
        let large = vec![b'x'; 1 << 20];
        for _ in 0..20 {
            let reply = server.operator().send("POST", "/v1/campaigns/c/coupons", &[], &large[..40_000]);
            assert!(reply.is_err() || reply.is_ok_and(|reply| reply.status == 413));
        }
        // A list that never ends its first line is refused, however long.
        let mut http = server.operator();
        let reply = http.send("POST", "/v1/campaigns/c/allow-list", &[], &large);
        assert!(reply.is_err() || reply.is_ok_and(|reply| (400..500).contains(&reply.status)));
        drop(slow);
    };
    storm(0);
    storm(1);
    let before = server.rss_kib();
    for round in 2..8 {
        storm(round);
    }
    let after = server.rss_kib();
    assert!(after < before + 24 * 1_024, "memory grew from {before} to {after} KiB");
    // Readers of events that never read hold up nobody either.
    let mut lazy = Vec::new();
    for _ in 0..40 {
        let mut stream = connect(server.address).expect("connected");
        let head = format!(
            "GET /v1/events HTTP/1.1\r\nhost: x\r\naccept: text/event-stream\r\nauthorization: Bearer {key}\r\n\r\n"
        );
        stream.get_mut().write_all(head.as_bytes()).expect("sent");
        lazy.push(stream);
    }
    expect_service(&server, "beside-the-lazy");
    let mut first = [0; 12];
    let mut reader: BufReader<TcpStream> = lazy.pop().expect("one");
    reader.read_exact(&mut first).expect("an answer");
    assert_eq!(&first, b"HTTP/1.1 200");
    expect_calm(server);
}
