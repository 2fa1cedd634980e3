//! Tests of the load client against small servers.

use std::collections::BTreeSet;

use super::*;

fn load(address: SocketAddr, pace: Pace, batch: usize) -> Load {
    Load {
        address,
        campaign: "hot".to_owned(),
        key: Some("secret".to_owned()),
        connections: 2,
        pace,
        duration: Duration::from_millis(300),
        batch,
        first_member: 7,
    }
}

#[test]
fn a_request_has_its_length_and_other_members_each_time() {
    let address = "127.0.0.1:1".parse().expect("an address");
    for batch in [1, 3] {
        let mut request = Request::new(&load(address, Pace::Closed, batch));
        let mut seen = BTreeSet::new();
        for first in [0, 1_000_000] {
            request.set_members(first);
            let text = String::from_utf8(request.bytes.clone()).expect("text");
            let (head, body) = text.split_once("\r\n\r\n").expect("a head");
            assert!(head.contains(&format!("Content-Length: {}", body.len())), "{head}");
            assert!(head.contains("Authorization: Bearer secret"), "{head}");
            let value: serde_json::Value = serde_json::from_str(body).expect("JSON");
            let members: Vec<_> = if batch == 1 {
                vec![value["member"].to_string()]
            } else {
                value["members"].as_array().expect("members").iter().map(ToString::to_string).collect()
            };
            assert_eq!(members.len(), batch);
            seen.extend(members);
        }
        assert_eq!(seen.len(), 2 * batch);
    }
}

#[test]
fn answers_are_read_when_they_are_all_there() {
    let check = |text: &str, batch: usize, wanted: Option<(u16, u64)>| {
        let answer = Answer::parse(text.as_bytes(), batch).expect("an answer");
        assert_eq!(answer, wanted.map(|(status, issued)| Answer { status, issued }), "{text}");
    };
    check("HTTP/1.1 201 Created\r\ncontent-length: 2\r\n\r\n{}", 1, Some((201, 1)));
    check("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}", 1, Some((200, 0)));
    check("HTTP/1.1 201 Created\r\ncontent-length: 2\r\n\r\n{", 1, None);
    check("HTTP/1.1 201 Created\r\ncontent-len", 1, None);
    let body = r#"{"answers":[{"status":201},{"status":409},{"status":201}]}"#;
    check(&format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len()), 3, Some((200, 2)));
    assert!(Answer::parse(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n", 1).is_err());
    assert!(Answer::parse(b"SMTP hello\r\n\r\n", 1).is_err());
}

/// A server that answers each request after `delay`, one connection at a time or together.
async fn slow_server(delay: Duration) -> SocketAddr {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("bind");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.expect("accept");
            tokio::spawn(async move {
                let mut input = vec![0; 4096];
                while stream.read(&mut input).await.is_ok_and(|count| count > 0) {
                    tokio::time::sleep(delay).await;
                    let answer = b"HTTP/1.1 201 Created\r\ncontent-length: 2\r\n\r\n{}";
                    if stream.write_all(answer).await.is_err() {
                        return;
                    }
                }
            });
        }
    });
    address
}

#[tokio::test]
async fn an_open_load_counts_the_time_requests_waited_for_their_turn() {
    // Two connections of 20 ms each can answer 100 a second; 400 a second are due.
    let address = slow_server(Duration::from_millis(20)).await;
    let open = run(&load(address, Pace::Open(400.0), 1)).await.expect("open");
    let closed = run(&load(address, Pace::Closed, 1)).await.expect("closed");
    assert_eq!(open.issued, 120);
    assert_eq!(open.next_member, 7 + 120);
    assert!(open.latency_ms(0.5) > 100.0, "{}", open.latency_ms(0.5));
    assert!(closed.latency_ms(0.5) < 60.0, "{}", closed.latency_ms(0.5));
    assert!(closed.issued <= 32 && closed.issued == closed.answered, "{}", closed.issued);
}
