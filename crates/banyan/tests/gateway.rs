//! The gateway as people start it: alone in front of a server, and beside a server in one process.

mod support;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use support::{PATIENCE, Server, run_well, text};

fn binary() -> PathBuf {
    env!("CARGO_BIN_EXE_banyan").into()
}

/// A `banyan gateway` and where it listens.
struct Alone {
    child: Child,
    address: SocketAddr,
}

impl Alone {
    fn start(config: &Path) -> Self {
        let mut child = Command::new(binary())
            .args(["gateway", "--log-json", "--config"])
            .arg(config)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the binary starts");
        let mut line = String::new();
        BufReader::new(child.stdout.take().expect("piped")).read_line(&mut line).expect("readable");
        let address = line.split("http://").nth(1).and_then(|rest| rest.split_whitespace().next());
        let address =
            address.and_then(|text| text.parse().ok()).unwrap_or_else(|| panic!("no address: {line:?}"));
        Self { child, address }
    }
}

impl Drop for Alone {
    fn drop(&mut self) {
        let _gone = self.child.kill();
        let _gone = self.child.wait();
    }
}

fn ask(address: SocketAddr, text: &str) -> String {
    let mut socket = TcpStream::connect(address).expect("connected");
    socket.set_read_timeout(Some(PATIENCE)).expect("set");
    socket.write_all(text.as_bytes()).expect("sent");
    let mut answer = String::new();
    socket.read_to_string(&mut answer).expect("an answer");
    answer
}

const GET: &str = "GET /shop?secret=1 HTTP/1.1\r\nHost: shop.example\r\nConnection: close\r\n\r\n";

/// A server that answers its first request only when it is told to.
fn old_shop() -> (SocketAddr, std::sync::mpsc::Receiver<()>, std::sync::mpsc::Sender<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    let (asked, was_asked) = std::sync::mpsc::channel();
    let (go, may_go) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let (mut socket, _) = listener.accept().expect("asked");
        let mut bytes = [0; 4096];
        assert!(socket.read(&mut bytes).expect("readable") > 0);
        asked.send(()).expect("heard");
        may_go.recv().expect("told");
        socket.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nold shop").expect("written");
    });
    (address, was_asked, go)
}

#[test]
fn alone_it_answers_what_is_under_way_when_it_is_told_to_stop() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let config = folder.path().join("gateway.toml");
    let (server, was_asked, go) = old_shop();
    let routes = format!("[[route]]\npath = \"/\"\nmode = \"legacy\"\nupstream = \"http://{server}\"\n");
    std::fs::write(&config, format!("listen = \"127.0.0.1:0\"\n{routes}")).expect("written");
    let checked = run_well(&binary(), &["gateway", "--check", "--config", text(&config)]);
    assert!(checked.contains("good, 1 routes"), "{checked}");
    let mut gateway = Alone::start(&config);
    let address = gateway.address;
    let client = std::thread::spawn(move || ask(address, GET));
    was_asked.recv_timeout(PATIENCE).expect("the old shop is asked");
    let told = Command::new("kill").arg(gateway.child.id().to_string()).status().expect("kill is there");
    assert!(told.success());
    support::until("it takes no new connections", || TcpStream::connect(address).is_err().then_some(()));
    go.send(()).expect("heard");
    let answer = client.join().expect("no panic");
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.ends_with("old shop"), "{answer}");
    assert!(gateway.child.wait().expect("it ends").success());
    let mut said = String::new();
    gateway.child.stderr.take().expect("piped").read_to_string(&mut said).expect("readable");
    let line = said
        .lines()
        .find(|line| line.contains("\"request\""))
        .unwrap_or_else(|| panic!("no access log: {said}"));
    for part in [
        "\"status\":200",
        "\"path\":\"/shop\"",
        "\"host\":\"shop.example\"",
        "\"bytes\":8",
        "\"ended\":\"whole\"",
    ] {
        assert!(line.contains(part), "{part} in {line}");
    }
    assert!(!said.contains("secret"), "no query strings: {said}");
}

#[test]
fn a_wrong_file_is_refused_with_its_line() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let config = folder.path().join("gateway.toml");
    std::fs::write(
        &config,
        "listen = \"127.0.0.1:0\"\n[[route]]\npath = \"shop\"\nupstream = \"http://a\"\n",
    )
    .expect("written");
    let ended = Command::new(binary())
        .args(["gateway", "--check", "--config"])
        .arg(&config)
        .output()
        .expect("it runs");
    let said = String::from_utf8_lossy(&ended.stderr);
    assert_eq!(ended.status.code(), Some(2), "{said}");
    assert!(
        said.contains("gateway.toml: line 2: route \"shop\": path: \"shop\" must begin with /"),
        "{said}"
    );
}

#[test]
fn the_routes_of_the_example_are_good() {
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/oscar/gateway.toml");
    let said = run_well(&binary(), &["gateway", "--check", "--config", text(&example)]);
    assert!(said.contains("good, 4 routes"), "{said}");
}

/// Where the gateway beside a server listens.
fn beside(server: &Server) -> SocketAddr {
    support::until("the gateway says where it listens", || {
        let said = server.stderr();
        let rest = said.split("the gateway listens").nth(1)?.split("127.0.0.1:").nth(1)?;
        let port: String = rest.chars().take_while(char::is_ascii_digit).collect();
        format!("127.0.0.1:{port}").parse().ok()
    })
}

/// What the old shop told everybody, Banyan tells who has a key. A route may ask with one that only reads.
#[test]
fn a_route_asks_banyan_with_the_gateways_own_key_for_those_who_have_none() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let config = folder.path().join("gateway.toml");
    let file = "listen = \"127.0.0.1:0\"\n[[route]]\nname = \"public\"\npath = \"/public\"\nmode = \"banyan\"\nbanyan = \"in-process\"\n\
                rewrite = { from = \"/public\", to = \"/v1\" }\nto_banyan = { key = \"in-process\", key_methods = [\"GET\", \"POST\"] }\n";
    std::fs::write(&config, file).expect("written");
    let data = folder.path().join("data");
    let server = Server::start(&binary(), &data, &["--gateway", text(&config)]);
    let gateway = beside(&server);
    let get = |fields: &str| {
        let head = "GET /public/campaigns/sample HTTP/1.1\r\nHost: a\r\nConnection: close\r\n";
        ask(gateway, &format!("{head}{fields}\r\n"))
    };
    let answer = get("");
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.contains("\"sample\""), "{answer}");
    assert!(
        get("Authorization: Bearer of-the-shop\r\n").starts_with("HTTP/1.1 200 "),
        "the caller's is for the shop"
    );
    let write = "POST /public/campaigns HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}";
    let refused = ask(gateway, write);
    assert!(refused.starts_with("HTTP/1.1 403 "), "it may only read: {refused}");
    let key = std::fs::read_to_string(data.join("gateway.key")).expect("a key");
    assert!(!server.stop().contains(key.trim()), "the log does not know it");
}

#[test]
fn beside_a_server_its_routes_reach_the_api_in_the_same_process() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let config = folder.path().join("gateway.toml");
    let old = TcpListener::bind("127.0.0.1:0").expect("a port");
    let file = format!(
        "listen = \"127.0.0.1:0\"\n[[route]]\nname = \"old\"\npath = \"/\"\nupstream = \"http://{}\"\n\
         [[route]]\nname = \"api\"\npath = \"/banyan\"\nmode = \"banyan\"\nbanyan = \"in-process\"\nrewrite = {{ from = \"/banyan\", to = \"/\" }}\n",
        old.local_addr().expect("an address")
    );
    std::fs::write(&config, file).expect("written");
    let server = Server::start(&binary(), &folder.path().join("data"), &["--gateway", text(&config)]);
    let gateway = beside(&server);
    let key = server.operator_key();
    let body = "{\"member\":\"member-1\"}";
    let issue = format!(
        "POST /banyan/v1/campaigns/sample/coupons HTTP/1.1\r\nHost: shop.example\r\nAuthorization: Bearer {key}\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    );
    let answer = ask(gateway, &issue);
    assert!(answer.starts_with("HTTP/1.1 201 Created\r\n"), "{answer}");
    assert!(ask(gateway, &issue).starts_with("HTTP/1.1 200 OK\r\n"), "the same coupon again");
    let mut operator = server.operator();
    let direct = operator.get("/v1/campaigns/sample").expect("an answer");
    assert!(String::from_utf8_lossy(&direct.body).contains("\"issued\":1"), "one store behind both doors");
    server.stop();
}
