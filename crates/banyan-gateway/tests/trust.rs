//! The certificates that vouch for an upstream's servers, while their file changes under the gateway.

mod common;

use common::tls::{acceptor, certify};
use common::{Running, get, slug, start_in, status, until};
use std::path::Path;
use std::sync::{Arc, Mutex};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

/// A server that answers one request on each connection, and shows what is put there.
struct Server {
    port: u16,
    shows: Arc<Mutex<TlsAcceptor>>,
}

impl Server {
    async fn start(folder: &Path) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let shows = Arc::new(Mutex::new(acceptor(folder, &[b"http/1.1"])));
        let shown = shows.clone();
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                let acceptor = shown.lock().expect("no panic").clone();
                tokio::spawn(async move {
                    let Ok(mut stream) = acceptor.accept(socket).await else { return };
                    let mut bytes = vec![0; 4096];
                    let _asked = stream.read(&mut bytes).await;
                    let answer = b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok";
                    let _gone = stream.write_all(answer).await;
                    let _gone = stream.shutdown().await;
                });
            }
        });
        Self { port, shows }
    }

    fn show(&self, folder: &Path) {
        *self.shows.lock().expect("no panic") = acceptor(folder, &[b"http/1.1"]);
    }
}

fn certificates() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a temporary folder");
    certify(folder.path());
    folder
}

fn pem(folder: &Path) -> String {
    std::fs::read_to_string(folder.join("cert.pem")).expect("PEM")
}

/// Puts a file there whole: what is written in pieces may be read, and refused, between two of them.
fn put(file: &Path, text: &str) {
    let new = file.with_extension("new");
    std::fs::write(&new, text).expect("written");
    std::fs::rename(&new, file).expect("renamed");
}

fn gateway(server: &Server, ca: &Path) -> Running {
    let folder = tempfile::tempdir().expect("a temporary folder");
    std::fs::copy(ca.join("cert.pem"), folder.path().join("ca.pem")).expect("copied");
    start_in(
        folder,
        &format!(
            "[[upstream]]\nname = \"s\"\nurls = [\"https://localhost:{}\"]\nca = \"ca.pem\"\nca_look_millis = 5\n\
             breaker = {{ failures = 0 }}\n[[route]]\npath = \"/\"\nupstream = \"s\"\n",
            server.port
        ),
        None,
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn a_renewed_ca_of_an_upstream_counts_without_a_restart() {
    let (first, second) = (certificates(), certificates());
    let server = Server::start(first.path()).await;
    let gateway = gateway(&server, first.path());
    let ca = || gateway.gateway.upstreams()[0].ca.clone().expect("it has a `ca`");
    assert_eq!(status(&get(gateway.address, "/").await), 200);
    assert_eq!((ca().reads, ca().certificates, ca().failed), (1, 1, None));

    server.show(second.path());
    let answer = get(gateway.address, "/").await;
    assert_eq!((status(&answer), slug(&answer)), (502, "gateway-unreachable"), "nobody vouches for it yet");
    let file = gateway.folder.path().join("ca.pem");
    put(&file, &pem(second.path()));
    until("it is read", || ca().reads == 2).await;
    // The settings are made anew right after the report says so.
    until_answered(&gateway, 200).await;

    // Whom nobody vouches for any more is not asked any more.
    server.show(first.path());
    assert_eq!(status(&get(gateway.address, "/").await), 502);
    put(&file, &[pem(first.path()), pem(second.path())].concat());
    until("both are read", || ca().certificates == 2).await;
    until_answered(&gateway, 200).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_ca_is_told_and_the_one_from_before_stays() {
    let first = certificates();
    let server = Server::start(first.path()).await;
    let gateway = gateway(&server, first.path());
    let ca = || gateway.gateway.upstreams()[0].ca.clone().expect("it has a `ca`");
    let file = gateway.folder.path().join("ca.pem");
    let good = pem(first.path());
    type Break<'a> = Box<dyn Fn() + 'a>;
    let breaks: [(&str, &str, Break<'_>); 3] = [
        ("no PEM", "no certificate", Box::new(|| put(&file, "not PEM"))),
        ("half a file", "ca.pem", Box::new(|| put(&file, &good[..100]))),
        ("a file that is gone", "ca.pem", Box::new(|| std::fs::remove_file(&file).expect("removed"))),
    ];
    for (nth, (what, why, make)) in (1..).zip(&breaks) {
        make();
        until(what, || ca().failed.is_some_and(|failed| failed.contains(why))).await;
        assert_eq!((ca().reads, ca().failures), (nth, nth), "{what}");
        assert_eq!(status(&get(gateway.address, "/").await), 200, "{what}: the one from before vouches");
        let metrics = gateway.gateway.prometheus();
        assert!(metrics.contains("\nbanyan_gateway_upstream_ca_failed{upstream=\"s\"} 1\n"), "{metrics}");
        put(&file, &good);
        until("a good one is read", || ca().failed.is_none()).await;
    }
    let metrics = gateway.gateway.prometheus();
    for line in
        ["failed{upstream=\"s\"} 0", "reads_total{upstream=\"s\"} 4", "failures_total{upstream=\"s\"} 3"]
    {
        assert!(metrics.contains(&format!("\nbanyan_gateway_upstream_ca_{line}\n")), "{line} in {metrics}");
    }
}

/// Asks until the answer is `wanted`.
async fn until_answered(gateway: &Running, wanted: u16) {
    let began = std::time::Instant::now();
    loop {
        let answer = get(gateway.address, "/").await;
        if status(&answer) == wanted {
            return;
        }
        assert!(began.elapsed() < common::SOON, "still {answer}");
    }
}
