//! Bodies of any size pass in flat memory, with their trailers, at the pace of the slower side.

mod common;

use bytes::Bytes;
use common::{
    RawServer, Reply, SOON, field, message_end, ok, one_answer, raw, rest, route_to, slug, start, status,
};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

const MIB: u64 = 1 << 20;

/// Resident memory of this process, in bytes.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux");
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).expect("a line");
    line.split_whitespace().nth(1).and_then(|kib| kib.parse::<u64>().ok()).expect("a number") * 1024
}

/// A server that reads a body and sends one of the same length, and notes how much it read.
async fn echo_lengths() -> (std::net::SocketAddr, Arc<AtomicU64>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let read = Arc::new(AtomicU64::new(0));
    let count = read.clone();
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            let count = count.clone();
            tokio::spawn(async move {
                let mut head = Vec::new();
                let mut piece = vec![0; 64 << 10];
                let start = loop {
                    let n = socket.read(&mut piece).await.expect("readable");
                    head.extend_from_slice(&piece[..n]);
                    if let Some(at) = head.windows(4).position(|window| window == b"\r\n\r\n") {
                        break at + 4;
                    }
                };
                let text = String::from_utf8_lossy(&head[..start]).into_owned();
                let length: u64 =
                    field(&text, "content-length").expect("a length").parse().expect("a number");
                let mut seen = (head.len() - start) as u64;
                while seen < length {
                    seen += socket.read(&mut piece).await.expect("readable") as u64;
                    count.store(seen, Ordering::Relaxed);
                }
                let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n");
                socket.write_all(head.as_bytes()).await.expect("written");
                let mut left = length;
                while left > 0 {
                    let n = left.min(piece.len() as u64);
                    socket.write_all(&piece[..usize::try_from(n).expect("small")]).await.expect("written");
                    left -= n;
                }
            });
        }
    });
    (address, read)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_body_passes_both_ways_in_flat_memory() {
    const LENGTH: u64 = 512 * MIB;
    let (server, _) = echo_lengths().await;
    let gateway = start(&route_to(server));
    let socket = TcpStream::connect(gateway.address).await.expect("connected");
    let (mut reading, mut writing) = socket.into_split();
    let before = resident();
    let sent = tokio::spawn(async move {
        let head =
            format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {LENGTH}\r\nConnection: close\r\n\r\n");
        writing.write_all(head.as_bytes()).await.expect("sent");
        let piece = vec![7; 64 << 10];
        for _ in 0..LENGTH / (64 << 10) {
            writing.write_all(&piece).await.expect("sent");
        }
        writing
    });
    let (mut got, mut most, mut piece) = (0_u64, 0, vec![0; 64 << 10]);
    loop {
        let n = reading.read(&mut piece).await.expect("readable");
        if n == 0 {
            break;
        }
        if got / (32 * MIB) != (got + n as u64) / (32 * MIB) {
            most = most.max(resident());
        }
        got += n as u64;
    }
    drop(sent.await.expect("no panic"));
    assert!((LENGTH..LENGTH + 4_096).contains(&got), "{got} bytes came back");
    let grown = most.saturating_sub(before);
    assert!(grown < 48 * MIB, "memory grew by {} MiB for a body of {} MiB", grown / MIB, LENGTH / MIB);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_does_not_read_stops_the_client_and_not_the_memory() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let gateway = start(&route_to(listener.local_addr().expect("an address")));
    let mut socket = TcpStream::connect(gateway.address).await.expect("connected");
    socket
        .write_all(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4294967296\r\n\r\n")
        .await
        .expect("sent");
    let (_silent, _) = listener.accept().await.expect("the gateway connects");
    let before = resident();
    let piece = vec![7; 1 << 20];
    let mut sent = 0;
    // Until nothing more is taken: the kernel's buffers and ours are full.
    while let Ok(written) =
        tokio::time::timeout(std::time::Duration::from_secs(1), socket.write(&piece)).await
    {
        sent += written.expect("the connection stands");
        assert!(sent < 256 << 20, "somebody takes everything");
    }
    let grown = resident().saturating_sub(before);
    assert!(grown < 32 * MIB, "memory grew by {} MiB", grown / MIB);
}

#[tokio::test(flavor = "multi_thread")]
async fn trailers_pass_both_ways() {
    let server = RawServer::with(|bytes, _| match message_end(bytes) {
        None => Reply::More,
        Some(_) => Reply::Send(
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n2\r\nok\r\n0\r\nX-Sum: 42\r\n\r\n".to_vec(),
        ),
    })
    .await;
    let gateway = start(&route_to(server.address));
    let text = "POST / HTTP/1.1\r\nHost: a\r\nTE: trailers\r\nTrailer: X-Mine\r\nTransfer-Encoding: chunked\r\nConnection: close, te\r\n\r\n\
                3\r\nabc\r\n0\r\nX-Mine: 7\r\n\r\n";
    let answer = raw(gateway.address, text).await;
    assert!(answer.to_ascii_lowercase().contains("x-sum: 42\r\n"), "{answer}");
    let seen = server.all().to_ascii_lowercase();
    assert!(seen.ends_with("0\r\nx-mine: 7\r\n\r\n"), "{seen}");
    assert!(seen.contains("te: trailers\r\n"), "{seen}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_piece_passes_as_soon_as_it_is_there() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let gateway = start(&route_to(listener.local_addr().expect("an address")));
    let mut client = TcpStream::connect(gateway.address).await.expect("connected");
    client
        .write_all(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\none\r\n")
        .await
        .expect("sent");
    let (mut server, _) = listener.accept().await.expect("connected");
    let mut seen = Vec::new();
    while !seen.ends_with(b"3\r\none\r\n") {
        tokio::time::timeout(SOON, server.read_buf(&mut seen)).await.expect("in time").expect("readable");
    }
    // The answer begins before the request has ended, and both go on.
    server
        .write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n")
        .await
        .expect("written");
    let mut got = Vec::new();
    while !got.ends_with(b"1\r\na\r\n") {
        tokio::time::timeout(SOON, client.read_buf(&mut got)).await.expect("in time").expect("readable");
    }
    client.write_all(b"3\r\ntwo\r\n0\r\n\r\n").await.expect("sent");
    while !seen.ends_with(b"0\r\n\r\n") {
        tokio::time::timeout(SOON, server.read_buf(&mut seen)).await.expect("in time").expect("readable");
    }
    server.write_all(b"1\r\nb\r\n0\r\n\r\n").await.expect("written");
    while !got.ends_with(b"1\r\nb\r\n0\r\n\r\n") {
        tokio::time::timeout(SOON, client.read_buf(&mut got)).await.expect("in time").expect("readable");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn too_long_a_body_is_refused() {
    let server = RawServer::start().await;
    let gateway = start(&format!("[limits]\nbody_bytes_max = 10\n{}", route_to(server.address)));
    let answer =
        raw(gateway.address, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 11\r\n\r\nhello world").await;
    assert_eq!((status(&answer), slug(&answer)), (413, "gateway-too-large"));
    assert_eq!(server.all(), "", "known from its head");
    let answer =
        raw(gateway.address, "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n6\r\nhello \r\n5\r\nworld\r\n0\r\n\r\n").await;
    assert_eq!((status(&answer), slug(&answer)), (413, "gateway-too-large"));
    assert!(message_end(server.all().as_bytes()).is_none(), "the server never saw a whole message");
    let answer = raw(
        gateway.address,
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\nConnection: close\r\n\r\nhello worl",
    )
    .await;
    assert_eq!(status(&answer), 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_waits_for_100_gets_it() {
    let server = RawServer::start().await;
    let gateway = start(&route_to(server.address));
    let mut socket = TcpStream::connect(gateway.address).await.expect("connected");
    socket.write_all(b"PUT / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 3\r\nConnection: close\r\n\r\n").await.expect("sent");
    let mut got = Vec::new();
    while !got.ends_with(b"HTTP/1.1 100 Continue\r\n\r\n") {
        tokio::time::timeout(SOON, socket.read_buf(&mut got)).await.expect("in time").expect("readable");
    }
    socket.write_all(b"abc").await.expect("sent");
    assert_eq!(status(&rest(&mut socket).await), 200);
    assert!(server.all().ends_with("abc"));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_early_answer_reaches_a_client_that_still_sends() {
    let server = RawServer::with(|bytes, _| match bytes.windows(4).any(|window| window == b"\r\n\r\n") {
        false => Reply::More,
        true => Reply::Close(b"HTTP/1.1 401 No\r\nContent-Length: 2\r\nConnection: close\r\n\r\nno".to_vec()),
    })
    .await;
    let gateway = start(&route_to(server.address));
    let mut socket = TcpStream::connect(gateway.address).await.expect("connected");
    socket.write_all(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\nabc").await.expect("sent");
    assert_eq!(status(&one_answer(&mut socket).await), 401);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_reads_slowly_gets_everything() {
    let text = "x".repeat(3 << 20);
    let large = Bytes::from(ok(&text));
    let server = RawServer::with(move |bytes, _| match message_end(bytes) {
        None => Reply::More,
        Some(_) => Reply::Send(large.to_vec()),
    })
    .await;
    let gateway = start(&route_to(server.address));
    let mut socket = TcpStream::connect(gateway.address).await.expect("connected");
    socket.write_all(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").await.expect("sent");
    let (mut got, mut piece) = (0, [0; 1024]);
    loop {
        match socket.read(&mut piece).await.expect("readable") {
            0 => break,
            n => got += n,
        }
        tokio::task::yield_now().await;
    }
    assert!(got > 3 << 20, "{got}");
}
