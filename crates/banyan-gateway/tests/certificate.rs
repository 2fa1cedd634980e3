//! The certificate that clients are shown, while its files change under the gateway.

mod common;

use common::tls::{certify, connector};
use common::{RawServer, Running, SOON, body, one_answer_of, route_to, start_in, status, until};
use std::path::Path;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

async fn gateway(server: &RawServer, rest: &str) -> Running {
    let folder = tempfile::tempdir().expect("a temporary folder");
    certify(folder.path());
    let tls = "tls = { cert = \"cert.pem\", key = \"key.pem\", look_millis = 5 }";
    start_in(folder, &format!("{tls}\n{rest}{}", route_to(server.address)), None)
}

async fn connect(
    gateway: &Running,
    connector: &TlsConnector,
) -> Result<TlsStream<TcpStream>, std::io::Error> {
    let socket = TcpStream::connect(gateway.address).await.expect("connected");
    let connecting = connector.connect("localhost".try_into().expect("a name"), socket);
    tokio::time::timeout(SOON, connecting).await.expect("in time")
}

async fn ask(stream: &mut TlsStream<TcpStream>) -> String {
    stream.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await.expect("sent");
    one_answer_of(stream).await
}

/// The leaf that a server showed.
fn shown(stream: &TlsStream<TcpStream>) -> Vec<u8> {
    stream.get_ref().1.peer_certificates().expect("certificates")[0].to_vec()
}

/// Both certificates trusted, so that a client may resume its session whatever the server shows.
fn trusting(folders: &[&Path]) -> (tempfile::TempDir, TlsConnector) {
    let both = tempfile::tempdir().expect("a temporary folder");
    let all: String = folders
        .iter()
        .map(|folder| std::fs::read_to_string(folder.join("cert.pem")).expect("a certificate"))
        .collect();
    std::fs::write(both.path().join("cert.pem"), all).expect("written");
    let connector = connector(both.path(), &[b"http/1.1"]);
    (both, connector)
}

fn put(from: &Path, to: &Path, names: &[&str]) {
    for name in names {
        std::fs::copy(from.join(name), to.join(name)).expect("copied");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn new_connections_see_the_new_certificate_and_old_ones_go_on() {
    let server = RawServer::start().await;
    let gateway = gateway(&server, "").await;
    let renewed = tempfile::tempdir().expect("a temporary folder");
    certify(renewed.path());
    let (_both, client) = trusting(&[gateway.folder.path(), renewed.path()]);
    let mut old = connect(&gateway, &client).await.expect("TLS");
    assert_eq!(status(&ask(&mut old).await), 200);
    let first = shown(&old);
    // Twice, so that the client has a session that it could resume.
    let again = connect(&gateway, &client).await.expect("TLS");
    assert_eq!(again.get_ref().1.handshake_kind(), Some(rustls::HandshakeKind::Resumed));
    let before = gateway.gateway.certificate().expect("TLS is spoken");
    assert_eq!((before.reads, before.failures, before.failed), (1, 0, None));

    put(renewed.path(), gateway.folder.path(), &["cert.pem", "key.pem"]);
    until("it is read", || gateway.gateway.certificate().is_some_and(|report| report.reads == 2)).await;
    let report = gateway.gateway.certificate().expect("TLS is spoken");
    assert_ne!(report.sha256, before.sha256);
    let mut new = connect(&gateway, &client).await.expect("TLS");
    assert_eq!(new.get_ref().1.handshake_kind(), Some(rustls::HandshakeKind::Full), "nothing old is resumed");
    assert_ne!(shown(&new), first);
    assert_eq!(status(&ask(&mut new).await), 200);
    assert_eq!(status(&ask(&mut old).await), 200, "the connection from before goes on");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_certificate_leaves_the_one_from_before() {
    let server = RawServer::start().await;
    let gateway = gateway(&server, "").await;
    let good = tempfile::tempdir().expect("a temporary folder");
    put(gateway.folder.path(), good.path(), &["cert.pem", "key.pem"]);
    let client = connector(good.path(), &[b"http/1.1"]);
    let other = tempfile::tempdir().expect("a temporary folder");
    certify(other.path());
    let ended = tempfile::tempdir().expect("a temporary folder");
    let key = rcgen::KeyPair::generate().expect("a key");
    let mut wishes = rcgen::CertificateParams::new(vec!["localhost".to_owned()]).expect("a name");
    wishes.not_after = rcgen::date_time_ymd(2020, 1, 1);
    let made = wishes.self_signed(&key).expect("a certificate");
    std::fs::write(ended.path().join("cert.pem"), made.pem()).expect("written");
    std::fs::write(ended.path().join("key.pem"), key.serialize_pem()).expect("written");

    let cert = gateway.folder.path().join("cert.pem");
    type Break<'a> = Box<dyn Fn() + 'a>;
    let breaks: [(&str, &str, Break<'_>); 4] = [
        ("garbage", "no certificate", Box::new(|| std::fs::write(&cert, "not PEM").expect("written"))),
        ("a file that is gone", "cert.pem", Box::new(|| std::fs::remove_file(&cert).expect("removed"))),
        (
            "a key that does not fit",
            "do not serve",
            Box::new(|| put(other.path(), gateway.folder.path(), &["key.pem"])),
        ),
        (
            "one that has ended",
            "has ended at 2020-01-01",
            Box::new(|| put(ended.path(), gateway.folder.path(), &["cert.pem", "key.pem"])),
        ),
    ];
    let report = || gateway.gateway.certificate().expect("TLS is spoken");
    for (what, why, make) in &breaks {
        let (reads, failures) = (report().reads, report().failures);
        make();
        until(what, || report().failed.is_some_and(|failed| failed.contains(why))).await;
        assert_eq!(report().reads, reads, "{what}");
        assert!(report().failures > failures, "{what}");
        let mut stream = connect(&gateway, &client).await.expect("the one from before serves");
        assert_eq!(status(&ask(&mut stream).await), 200, "{what}");
        assert!(gateway.gateway.prometheus().contains("banyan_gateway_certificate_failed 1\n"), "{what}");
        put(good.path(), gateway.folder.path(), &["cert.pem", "key.pem"]);
        until("a good one is read", || report().failed.is_none()).await;
    }
    let metrics = gateway.gateway.prometheus();
    for name in ["reads_total", "failures_total", "failed", "not_after_seconds"] {
        assert!(metrics.contains(&format!("\nbanyan_gateway_certificate_{name} ")), "{name} in {metrics}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn operators_see_the_certificate_and_have_it_read_at_once() {
    let server = RawServer::start().await;
    let gateway = gateway(&server, "admin = \"127.0.0.1:0\"\n").await;
    let key = std::fs::read_to_string(gateway.folder.path().join("state/admin.key")).expect("a key");
    let admin = gateway.admin.expect("an admin listener");
    let ask = |method: &'static str| {
        let text = format!(
            "{method} /v1/certificate HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {}\r\nConnection: close\r\nContent-Length: 0\r\n\r\n",
            key.trim()
        );
        common::raw(admin, text)
    };
    let answer = ask("GET").await;
    let report: serde_json::Value = serde_json::from_str(body(&answer)).expect("JSON");
    assert_eq!((status(&answer), &report["reads"], &report["failed"]), (200, &1.into(), &().into()));
    assert_eq!(report["sha256"].as_str().map(str::len), Some(64));
    certify(gateway.folder.path());
    let answer = ask("POST").await;
    let renewed: serde_json::Value = serde_json::from_str(body(&answer)).expect("JSON");
    assert_eq!(status(&answer), 200, "{answer}");
    assert_ne!(renewed["sha256"], report["sha256"]);
    std::fs::write(gateway.folder.path().join("key.pem"), "no key").expect("written");
    let answer = ask("POST").await;
    assert_eq!((status(&answer), common::slug(&answer)), (422, "gateway-invalid"), "{answer}");
    assert!(answer.contains("key.pem"), "{answer}");
}

/// A client that agrees on HTTP/2 and then says nothing: hyper alone waits for it for ever.
#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_agrees_on_http_two_and_says_nothing_is_let_go() {
    let server = RawServer::start().await;
    let gateway = gateway(&server, "[timeouts]\nhead_millis = 1500\nkeep_alive_millis = 100\n").await;
    for said in [&b""[..], b"PRI * HTTP/2.0\r\n", b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"] {
        let client = connector(gateway.folder.path(), &[b"h2"]);
        let mut stream = connect(&gateway, &client).await.expect("TLS");
        stream.write_all(said).await.expect("sent");
        let mut got = Vec::new();
        let _closed = tokio::time::timeout(SOON, stream.read_to_end(&mut got)).await.expect("closed in time");
        assert_eq!(got, b"", "after {said:?}");
    }
    assert_eq!(server.all(), "");
}
