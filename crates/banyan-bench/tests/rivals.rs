//! The rivals are fast, but are they right? Members race for fewer coupons than there are members, every member twice.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::Command;
use std::time::Duration;

use banyan_testkit::{
    Launch, Postgres, PostgresOptions, Process, RabbitMq, RabbitMqOptions, Redis, RedisOptions, wait_until,
};

const QUANTITY: usize = 50;
const MEMBERS: usize = 80;
const THREADS: usize = 8;

fn start(folder: &tempfile::TempDir, kind: &str, args: &[String]) -> (Process, SocketAddr) {
    let mut process = Launch::new(kind, env!("CARGO_BIN_EXE_banyan-bench"), folder.path().join("log"))
        .args(["serve", kind, "--listen", "127.0.0.1:0", "--campaign", "hot"])
        .args(["--quantity".to_owned(), QUANTITY.to_string()])
        .args(args.iter().cloned())
        .start()
        .expect("the server");
    let mut address = None;
    let ready = process.wait_ready(Duration::from_secs(60), |process| {
        let log = process.log_tail();
        address = log.lines().find_map(|line| line.strip_prefix("listening on ")?.parse().ok());
        Ok(address.is_some())
    });
    ready.expect("ready");
    (process, address.expect("an address"))
}

/// The checkout's rival against itself for a moment: after each turn the run compares goods, coupons, points and money in the
/// tables with the orders that buyers were told of, and fails if they differ.
#[test]
fn the_transaction_sells_what_it_says() {
    let folder = tempfile::tempdir().expect("a folder");
    let program = env!("CARGO_BIN_EXE_banyan-bench");
    let output = Command::new(program)
        .args(["checkout", "--systems", "transaction,transaction-alone", "--seconds", "0.5", "--rounds", "1"])
        .args(["--connections", "24", "--postgres-connections", "6", "--buyers", "20000", "--products", "10"])
        .arg("--dir")
        .arg(folder.path())
        .output()
        .expect("it runs");
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    // A folder in memory is refused: then there is nothing to measure here.
    if err.contains("durable figures would be lies") {
        return;
    }
    assert!(output.status.success(), "{out}{err}");
    assert!(out.contains("orders paid, peak"), "{out}");
}

/// Asks for a coupon; the status and the answer.
fn ask(address: SocketAddr, member: &str) -> (u16, serde_json::Value) {
    let body = format!(r#"{{"member":"{member}"}}"#);
    let length = body.len();
    let mut stream = TcpStream::connect(address).expect("connect");
    let head = "POST /v1/campaigns/hot/coupons HTTP/1.1\r\nHost: test\r\nConnection: close";
    write!(stream, "{head}\r\nContent-Length: {length}\r\n\r\n{body}").expect("write");
    let mut text = String::new();
    stream.read_to_string(&mut text).expect("read");
    let (head, body) = text.split_once("\r\n\r\n").expect("an answer");
    (head[9..12].parse().expect("a status"), serde_json::from_str(body).expect("JSON"))
}

/// All threads ask for all members, so that each member races against itself, too.
fn race(address: SocketAddr) -> Vec<(String, u16, String)> {
    let threads: Vec<_> = (0..THREADS)
        .map(|thread| {
            std::thread::spawn(move || {
                let members = (0..MEMBERS).map(|n| format!("m{}", (n * 7 + thread / 2 * 13) % MEMBERS));
                let asked = members.map(|member| {
                    let (status, answer) = ask(address, &member);
                    let coupon = answer["coupon"].as_str().unwrap_or_default().to_owned();
                    (member, status, coupon)
                });
                asked.collect::<Vec<_>>()
            })
        })
        .collect();
    threads.into_iter().flat_map(|thread| thread.join().expect("a thread")).collect()
}

fn check(answers: &[(String, u16, String)], rows: &BTreeSet<(String, String)>) {
    let statuses: BTreeSet<u16> = answers.iter().map(|(_, status, _)| *status).collect();
    assert_eq!(statuses, BTreeSet::from([200, 201, 409]));
    let created = answers.iter().filter(|(_, status, _)| *status == 201).count();
    assert_eq!(created, QUANTITY, "no more and no fewer than there are");
    let mut coupons: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for (member, _, coupon) in answers.iter().filter(|(_, status, _)| *status < 300) {
        coupons.entry(member).or_default().insert(coupon);
    }
    assert!(
        coupons.values().all(|found| found.len() == 1),
        "the same member gets the same coupon: {coupons:?}"
    );
    let told: BTreeSet<_> = coupons
        .iter()
        .map(|(member, found)| {
            ((*member).to_owned(), found.iter().next().copied().unwrap_or_default().to_owned())
        })
        .collect();
    assert_eq!(told.iter().map(|(_, coupon)| coupon).collect::<BTreeSet<_>>().len(), QUANTITY);
    assert_eq!(&told, rows, "what members were told is what is stored");
}

fn rows(postgres: &Postgres) -> BTreeSet<(String, String)> {
    let sql = "SELECT member, campaign || '-' || number FROM coupon";
    let output = Command::new("psql").args(["-X", "-A", "-t", "-c", sql, "-d", &postgres.url()]).output();
    let text = String::from_utf8(output.expect("psql").stdout).expect("text");
    let pairs = text.lines().filter_map(|line| line.split_once('|'));
    pairs.map(|(member, coupon)| (member.to_owned(), coupon.to_owned())).collect()
}

fn synchronous(slots: usize) {
    let folder = tempfile::tempdir().expect("a folder");
    let postgres = Postgres::start(&PostgresOptions::default()).expect("postgres");
    let args = ["--postgres", &postgres.socket_url(), "--connections", "4", "--slots", &slots.to_string()];
    let (_server, address) = start(&folder, "synchronous", &args.map(str::to_owned));
    check(&race(address), &rows(&postgres));
}

#[test]
fn the_synchronous_way_on_one_row_is_right() {
    synchronous(1);
}

#[test]
fn the_synchronous_way_on_spread_rows_is_right() {
    synchronous(4);
}

#[test]
fn the_cure_is_right_while_nothing_crashes() {
    let folder = tempfile::tempdir().expect("a folder");
    let postgres = Postgres::start(&PostgresOptions::default()).expect("postgres");
    let redis = Redis::start(&RedisOptions::default()).expect("redis");
    let rabbitmq = RabbitMq::start(&RabbitMqOptions::default()).expect("rabbitmq");
    let (postgres_url, redis_url, rabbitmq_url) = (postgres.socket_url(), redis.socket_url(), rabbitmq.url());
    let args = ["--postgres", &postgres_url, "--redis", &redis_url, "--rabbitmq", &rabbitmq_url];
    let (_server, address) = start(&folder, "cure", &args.map(str::to_owned));
    let answers = race(address);
    assert!(
        wait_until(Duration::from_secs(30), || rows(&postgres).len() == QUANTITY),
        "the worker writes them all"
    );
    check(&answers, &rows(&postgres));
}
