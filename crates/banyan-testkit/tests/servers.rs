//! Each server is started, used, crashed, used again, and gone after drop. A machine without the packages fails here
//! with the command that installs them: a skipped test would look like a passed one.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::Command;

use banyan_testkit::tree::{self, Identity};
use banyan_testkit::{
    Chromium, Key, LocalStripe, Look, MariaDb, MariaDbOptions, Postgres, PostgresOptions, RabbitMq,
    RabbitMqOptions, Redis, RedisFsync, RedisOptions, ReverseProxy, ReverseProxyOptions, install_hint,
};

/// What must be gone once a handle is dropped.
struct Trace {
    members: Vec<Identity>,
    port: u16,
    folder: PathBuf,
}

impl Trace {
    fn of(pids: &[u32], port: u16, log: &std::path::Path) -> Self {
        let members: Vec<_> = pids.iter().flat_map(|pid| tree::members(*pid)).collect();
        assert!(members.len() >= pids.len(), "{members:?}");
        assert!(TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_err(), "the server holds its port");
        Self { members, port, folder: log.parent().expect("a folder").to_owned() }
    }

    fn assert_gone(&self) {
        assert!(self.members.iter().all(|member| !tree::is_alive(*member)));
        assert!(TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).is_err());
        assert!(!self.folder.exists());
    }
}

fn psql(server: &Postgres, sql: &str) -> String {
    let output =
        Command::new("psql").args(["-X", "-A", "-t", "-c", sql, "-d", &server.url()]).output().expect("psql");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("utf-8").trim().to_owned()
}

#[test]
fn postgres_keeps_what_was_committed_and_is_gone_after_drop() {
    let mut server = Postgres::start(&PostgresOptions::default().set("work_mem", "5MB")).expect("postgres");
    assert_eq!(psql(&server, "show work_mem"), "5MB");
    psql(&server, "create table t(a int); insert into t values (41), (42)");
    server.crash().expect("crash");
    server.restart().expect("restart");
    assert_eq!(psql(&server, "select sum(a) from t"), "83");
    let socket =
        Command::new("psql").args(["-X", "-A", "-t", "-c", "select 7", "-d", &server.socket_url()]).output();
    assert_eq!(String::from_utf8_lossy(&socket.expect("psql").stdout).trim(), "7");

    let trace = Trace::of(&[server.pid()], server.port(), server.log());
    assert!(trace.members.len() > 3, "the postmaster's children are seen");
    drop(server);
    trace.assert_gone();
}

#[test]
fn a_postgres_that_cannot_start_shows_why() {
    let error = Postgres::start(&PostgresOptions::default().set("shared_buffers", "nonsense"))
        .expect_err("it refuses");
    assert!(error.to_string().contains("shared_buffers"), "{error}");
}

#[test]
fn mariadb_keeps_what_was_committed_and_is_gone_after_drop() {
    let mut server =
        MariaDb::start(&MariaDbOptions::default().set("max_binlog_size", 8192)).expect("mariadb");
    let variables = server.sql("select @@max_binlog_size, @@binlog_format, @@binlog_row_image, @@log_bin");
    assert_eq!(variables.expect("variables"), "8192\tROW\tFULL\t1");
    server.sql("create table t(a int) engine=innodb; insert into t values (41), (42)").expect("rows");
    let before = server.sql("select @@gtid_binlog_pos").expect("a position");
    server.crash().expect("crash");
    server.restart().expect("restart");
    assert_eq!(server.sql("select sum(a) from t").expect("a sum"), "83");
    assert_eq!(server.sql("select @@gtid_binlog_pos").expect("a position"), before, "the binary log too");
    let error = server.sql("select nonsense").expect_err("no such column").to_string();
    assert!(error.contains("Unknown column"), "{error}");

    let trace = Trace::of(&[server.pid()], server.port(), server.log());
    drop(server);
    trace.assert_gone();
}

#[test]
fn a_mariadb_that_cannot_start_shows_why() {
    let error = MariaDb::start(&MariaDbOptions::default().set("no_such_setting", 1)).expect_err("it refuses");
    assert!(error.to_string().contains("no_such_setting"), "{error}");
}

/// One request over a connection of its own; gives the answer.
fn get(port: u16, path: &str) -> String {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).expect("connect");
    let request = format!("GET {path} HTTP/1.1\r\nHost: shop.test\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).expect("write");
    let mut text = String::new();
    stream.read_to_string(&mut text).expect("read");
    text
}

/// An upstream that answers two requests on the first connection it gets and never takes a second one.
fn upstream_of_one_connection(listener: TcpListener) -> std::thread::JoinHandle<Vec<String>> {
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("a connection");
        drop(listener);
        let mut seen = Vec::new();
        while seen.len() < 2 {
            let mut request = Vec::new();
            while !request.ends_with(b"\r\n\r\n") {
                let mut byte = [0];
                stream.read_exact(&mut byte).expect("a request");
                request.extend(byte);
            }
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello").expect("an answer");
            seen.push(String::from_utf8(request).expect("text"));
        }
        seen
    })
}

#[test]
fn nginx_and_haproxy_pass_requests_on_over_kept_connections_and_are_gone_after_drop() {
    for start in [ReverseProxy::nginx, ReverseProxy::haproxy] {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("an upstream");
        let address = listener.local_addr().expect("its address");
        let upstream = upstream_of_one_connection(listener);
        let mut server = start(&ReverseProxyOptions::new(address).workers(1)).expect("a proxy");
        assert!(server.url().ends_with(&format!(":{}", server.port())));
        for path in ["/one", "/two"] {
            let answer = get(server.port(), path);
            assert!(answer.starts_with("HTTP/1.1 200 OK") && answer.ends_with("hello"), "{answer}");
        }
        let seen = upstream.join().expect("the upstream's end");
        assert!(seen[0].starts_with("GET /one HTTP/1.1\r\n") && seen[1].starts_with("GET /two"), "{seen:?}");
        assert!(
            seen.iter().all(|request| request.to_ascii_lowercase().contains("host: shop.test")),
            "{seen:?}"
        );

        server.crash().expect("crash");
        server.restart().expect("restart");
        let answer = get(server.port(), "/three");
        assert!(answer.starts_with("HTTP/1.1 50"), "nobody is behind it: {answer}");
        let trace = Trace::of(&[server.pid()], server.port(), server.log());
        drop(server);
        trace.assert_gone();
    }
}

fn redis(server: &Redis, commands: &str) -> String {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, server.port())).expect("connect");
    stream.write_all(format!("{commands}\r\nQUIT\r\n").as_bytes()).expect("write");
    let mut text = String::new();
    stream.read_to_string(&mut text).expect("read");
    text
}

#[test]
fn redis_keeps_what_was_synced_and_is_gone_after_drop() {
    let options = RedisOptions { fsync: RedisFsync::Always, ..RedisOptions::default() };
    let mut server = Redis::start(&options).expect("redis");
    assert_eq!(redis(&server, "SET a 42\r\nGET a"), "+OK\r\n$2\r\n42\r\n+OK\r\n");
    server.crash().expect("crash");
    server.restart().expect("restart");
    assert_eq!(redis(&server, "GET a"), "$2\r\n42\r\n+OK\r\n");

    let trace = Trace::of(&[server.pid()], server.port(), server.log());
    drop(server);
    trace.assert_gone();
}

#[test]
fn two_redis_servers_do_not_meet() {
    let first = Redis::start(&RedisOptions::default()).expect("redis");
    let second = Redis::start(&RedisOptions::default()).expect("redis");
    redis(&first, "SET a 1");
    assert_eq!(redis(&second, "GET a"), "$-1\r\n+OK\r\n");
}

async fn publish_and_get(server: &RabbitMq, publish: bool) -> Option<Vec<u8>> {
    use lapin::options::{BasicGetOptions, BasicPublishOptions, ConfirmSelectOptions, QueueDeclareOptions};
    let connection = lapin::Connection::connect(&server.url(), lapin::ConnectionProperties::default())
        .await
        .expect("connect");
    let channel = connection.create_channel().await.expect("channel");
    let durable = QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() };
    channel.queue_declare("q".into(), durable, lapin::types::FieldTable::default()).await.expect("queue");
    if publish {
        channel.confirm_select(ConfirmSelectOptions::default()).await.expect("confirms");
        let persistent = lapin::BasicProperties::default().with_delivery_mode(2);
        let confirm = channel
            .basic_publish("".into(), "q".into(), BasicPublishOptions::default(), b"kept", persistent)
            .await
            .expect("publish");
        assert!(matches!(confirm.await.expect("confirm"), lapin::Confirmation::Ack(_)));
    }
    let message = channel.basic_get("q".into(), BasicGetOptions::default()).await.expect("get");
    message.map(|message| message.delivery.data)
}

#[tokio::test]
async fn rabbitmq_keeps_what_was_confirmed_and_is_gone_after_drop() {
    let mut server = RabbitMq::start(&RabbitMqOptions::default()).expect("rabbitmq");
    // That there is a queue is kept in Mnesia, whose log is written up to two seconds later: what is confirmed in a queue
    // declared a moment ago goes with the queue. An orderly stop writes it.
    assert_eq!(publish_and_get(&server, false).await, None);
    server.restart().expect("restart");
    // Got but not acknowledged: it goes back to the queue when the connection ends.
    assert_eq!(publish_and_get(&server, true).await.as_deref(), Some(&b"kept"[..]));
    server.crash().expect("crash");
    server.restart().expect("restart");
    assert_eq!(publish_and_get(&server, false).await.as_deref(), Some(&b"kept"[..]));

    let trace = Trace::of(&[server.pid(), server.name_server_pid()], server.port(), server.log());
    drop(server);
    trace.assert_gone();
}

/// A page that says which colour scheme and size it was given.
const PAGE: &str = "data:text/html,<!DOCTYPE html><style>body{background:white}\
    @media (prefers-color-scheme:dark){body{background:black}}</style><p id=p>before</p>\
    <script>p.textContent='ran '+6*7</script>";

#[test]
fn chromium_runs_scripts_and_takes_pictures_in_both_colour_schemes() {
    let browser = Chromium::new().expect("chromium");
    let document = browser.dump_dom(PAGE).expect("document");
    assert!(document.contains("ran 42") && !document.contains("before</p>"), "{document}");

    let light = browser.screenshot(PAGE, 320, 200, false).expect("light");
    let dark = browser.screenshot(PAGE, 320, 200, true).expect("dark");
    for image in [&light, &dark] {
        assert_eq!(&image[..8], b"\x89PNG\r\n\x1a\n");
        let number = |at: usize| u32::from_be_bytes(image[at..at + 4].try_into().expect("four bytes"));
        assert_eq!((number(16), number(20)), (320, 200));
    }
    assert_ne!(light, dark);
}

#[test]
fn a_window_is_used_as_a_person_does() {
    const FORM: &str = "data:text/html,<!DOCTYPE html><meta name=viewport content=width=device-width><body style='height:3000px'>\
        <form action=%23 onsubmit='event.preventDefault();said.textContent=who.value+%22 ok%22'><input id=who value=old><button>Go</button></form>\
        <p id=said></p><div id=under style='position:absolute;top:2000px'>under</div>\
        <div id=over style='position:absolute;left:0;top:2000px;width:100%;height:40px' onclick='said.textContent=%22over%22'></div>";
    let mut window = Chromium::new()
        .and_then(|chromium| chromium.open(Look { width: 390, height: 600, dark: true }))
        .expect("a window");
    window.go(FORM).expect("it opens");
    window.fill("#who", "mina").expect("it takes text");
    window.click("button").expect("it is clicked");
    window.sees("mina ok").expect("the script ran");
    window.go(FORM).expect("it opens again");
    window
        .press(Key::Tab)
        .and_then(|()| window.write("joon"))
        .and_then(|()| window.press(Key::Enter))
        .expect("keys");
    window.sees("joon ok").expect("by keys alone");
    window.click("#over").expect("what lies below the window is scrolled to");
    window.sees("over").expect("and clicked");
    let place = window
        .evaluate("matchMedia('(prefers-color-scheme: dark)').matches && innerWidth")
        .expect("a number");
    assert_eq!(place, 390);
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("screens/page.png");
    window.picture(&file).expect("a picture");
    let image = std::fs::read(&file).expect("it is there");
    assert_eq!(u32::from_be_bytes(image[16..20].try_into().expect("four bytes")), 390);
    assert!(window.complaints().is_empty(), "{:?}", window.complaints());
    window.evaluate("setTimeout(() => nothing.at.all)").expect("a script that will fail");
    window
        .wait_for("the failure", "new Promise((done) => setTimeout(() => done(true)))")
        .expect("it has run");
    assert!(
        window.complaints().iter().any(|said| said.contains("nothing is not defined")),
        "{:?}",
        window.complaints()
    );
}

#[test]
fn nothing_is_missing_here_since_the_servers_start() {
    // The other tests of this file prove the packages are here, or fail with this same text.
    assert_eq!(install_hint(), None);
}

#[test]
fn localstripe_listens_on_loopback_only_and_is_gone_after_drop() {
    let server = LocalStripe::start().expect("localstripe");
    let port: u16 = server.url().rsplit(':').next().and_then(|port| port.parse().ok()).expect("a port");
    let listening = std::fs::read_to_string("/proc/net/tcp").expect("the table of sockets");
    let everywhere = format!("00000000:{port:04X} 00000000:0000 0A");
    assert!(!listening.contains(&everywhere), "it must not listen on every address");
    let trace = Trace::of(&[server.pid()], port, server.log());
    drop(server);
    trace.assert_gone();
}
