//! What happens when this process may open no more files. Alone in its process: the limit is the process's.

mod common;

use common::{RawServer, one_answer, route_to, slug, start, status};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

fn let_open(files: Option<u64>) {
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: files, ..limit }).expect("a lower limit can always be set");
}

#[tokio::test(flavor = "multi_thread")]
async fn running_out_of_descriptors_is_no_failure_of_the_servers_and_the_limit_is_raised_at_the_start() {
    let server = RawServer::start().await;
    let most = getrlimit(Resource::Nofile).maximum;
    let_open(Some(200));
    let gateway = start(&route_to(server.address));
    assert_eq!(getrlimit(Resource::Nofile).current, most, "as many as may be");
    let mut client = TcpStream::connect(gateway.address).await.expect("connected");
    let ask = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";
    // A request that breaks a rule shows that the connection was taken, and asks no server.
    client.write_all(b"GET /x HTTP/1.1\r\nHost: a\r\nVia: 1.1 banyan, 1.1 banyan, 1.1 banyan, 1.1 banyan, 1.1 banyan, 1.1 banyan, 1.1 banyan, 1.1 banyan\r\n\r\n")
        .await
        .expect("sent");
    assert_eq!(status(&one_answer(&mut client).await), 502);
    let_open(Some(0));
    for _ in 0..20 {
        client.write_all(ask).await.expect("sent");
        let answer = one_answer(&mut client).await;
        assert_eq!((status(&answer), slug(&answer)), (503, "gateway-busy"), "{answer}");
    }
    let_open(most);
    let report = gateway.gateway.upstreams().remove(0).servers.remove(0);
    assert_eq!((report.failures, report.opened), (0, 0), "{report:?}");
    assert_eq!(gateway.gateway.traffic()[0].legacy.failures, 0);
    client.write_all(ask).await.expect("sent");
    assert_eq!(status(&one_answer(&mut client).await), 200, "and it goes on");
}
