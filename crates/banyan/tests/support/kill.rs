//! Kills the server in the middle of a sale and holds it to every answer it gave.

use super::{Http, Server, campaign, run, text};
use serde_json::{Value, json};
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// When to kill.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Moment {
    /// After a time that differs from round to round.
    Random,
    /// While a snapshot is being written.
    Snapshot,
    /// Right after the log went on to its next segment.
    RollOver,
}

/// What a round came to.
#[derive(Debug)]
pub(crate) struct Round {
    pub(crate) moment: Moment,
    /// Whether the moment came; if it did not within its time, the kill came anyway.
    pub(crate) hit: bool,
    pub(crate) events: u64,
    pub(crate) acks: u64,
    pub(crate) missing: u64,
    pub(crate) over_quantity: u64,
    pub(crate) over_limit: u64,
    pub(crate) findings: u64,
    pub(crate) start_up: Duration,
    pub(crate) report: Value,
}

/// A store that is killed again and again.
pub(crate) struct Killer {
    binary: PathBuf,
    data: PathBuf,
    acks: PathBuf,
    server: Option<Server>,
    rounds: u64,
    seed: u64,
}

/// Arguments that make snapshots and roll-overs frequent.
const UP: [&str; 4] = ["--snapshot-events", "4000", "--segment-mib", "17"];
const CLIENTS: usize = 12;

impl Killer {
    pub(crate) fn new(binary: &Path, folder: &Path, seed: u64) -> Self {
        let (data, acks) = (folder.join("data"), folder.join("acks.jsonl"));
        let server = Some(Server::start(binary, &data, &UP));
        Self { binary: binary.to_owned(), data, acks, server, rounds: 0, seed }
    }

    /// One round: load, kill -9 at the moment, start again, verify against every answer of all rounds.
    pub(crate) fn round(&mut self, moment: Moment) -> Round {
        self.rounds += 1;
        let server = self.server.take().expect("it was started");
        let load = Load::start(&server, &self.acks, self.rounds, moment == Moment::RollOver);
        let hit = self.wait_for(moment, &load);
        server.kill();
        load.join();
        let server = Server::start(&self.binary, &self.data, &UP);
        let start_up = server.start_up;
        let stderr = server.stderr();
        assert!(
            !stderr.contains("ERROR") && !stderr.contains("panicked"),
            "the start was not clean: {stderr}"
        );
        let verified =
            run(&self.binary, &["verify", "--json", "--data", text(&self.data), "--acks", text(&self.acks)]);
        let report: Value = serde_json::from_slice(&verified.stdout).unwrap_or_else(|error| {
            panic!("verify printed no report: {error}: {}", String::from_utf8_lossy(&verified.stderr))
        });
        self.server = Some(server);
        let number = |name: &str| report[name].as_u64().expect("a number in the report");
        Round {
            moment,
            hit,
            events: number("events"),
            acks: number("acknowledged"),
            missing: number("missing"),
            over_quantity: number("over_quantity"),
            over_limit: number("over_limit"),
            findings: number("findings_total") + u64::from(!report["damage"].is_null()),
            start_up,
            report,
        }
    }

    fn wait_for(&self, moment: Moment, load: &Load) -> bool {
        // Something must have been promised before there is something to break.
        wait(Duration::from_secs(30), || load.acked.load(Ordering::Relaxed) > 50);
        match moment {
            Moment::Random => {
                // The order of rounds decides the time, the machine the rest.
                let millis = (self.seed ^ self.rounds).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 54;
                wait(Duration::from_millis(millis), || false);
                true
            }
            Moment::Snapshot => {
                let writing = self.data.join("snapshots/writing.tmp");
                wait(Duration::from_secs(30), || writing.exists())
            }
            Moment::RollOver => {
                let log = self.data.join("log");
                let before = newest(&log);
                wait(Duration::from_secs(60), || newest(&log) > before)
            }
        }
    }
}

/// Waits until `look` is true; false if it takes longer than `at_most`.
fn wait(at_most: Duration, look: impl Fn() -> bool) -> bool {
    let began = Instant::now();
    while began.elapsed() < at_most {
        if look() {
            return true;
        }
        std::thread::sleep(Duration::from_micros(200));
    }
    false
}

/// Index of the newest segment, also of one that is being prepared: the first thing after a roll-over.
fn newest(log: &Path) -> u64 {
    let names = std::fs::read_dir(log).expect("the log is there").flatten();
    let indexes = names.filter_map(|entry| entry.file_name().to_str()?.get(..20)?.parse().ok());
    indexes.max().unwrap_or(0)
}

/// Clients that buy until the server is gone.
struct Load {
    acked: Arc<AtomicU64>,
    threads: Vec<JoinHandle<()>>,
}

/// What all clients share.
struct Shared {
    file: Mutex<File>,
    acked: Arc<AtomicU64>,
    round: u64,
}

impl Load {
    fn start(server: &Server, acks: &Path, round: u64, heavy: bool) -> Self {
        let mut operator = server.operator();
        let plans =
            [("rush", json!(2_000), 1), ("trio", json!(50_000), 3), ("flow", json!("unlimited"), 10_000)];
        for (name, quantity, per_member) in plans {
            let body = campaign(&format!("{name}-{round}"), &quantity, per_member);
            operator.post("/v1/campaigns", &body).expect("the server runs").expect(201);
        }
        let file = OpenOptions::new().create(true).append(true).open(acks).expect("the acks file opens");
        let acked = Arc::new(AtomicU64::new(0));
        let shared = Shared { file: Mutex::new(file), acked: acked.clone(), round };
        let shared = Arc::new(shared);
        let threads = (0..CLIENTS).map(|client| {
            let (shared, http) = (shared.clone(), server.operator());
            std::thread::spawn(move || shared.buy(http, client as u64, heavy && client < 3))
        });
        Self { acked, threads: threads.collect() }
    }

    fn join(self) {
        for thread in self.threads {
            thread.join().expect("a client does not panic");
        }
    }
}

impl Shared {
    /// Asks until no complete answer comes any more.
    fn buy(&self, mut http: Http, client: u64, in_batches: bool) {
        let mut random = client.wrapping_mul(0x2545_F491_4F6C_DD1D) ^ self.round;
        for turn in 0_u64.. {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let done = if in_batches {
                self.batch(&mut http, client, turn)
            } else {
                self.one(&mut http, client, turn, random >> 33)
            };
            if done.is_none() {
                return;
            }
        }
    }

    /// One coupon, and often the rest of its life.
    fn one(&self, http: &mut Http, client: u64, turn: u64, random: u64) -> Option<()> {
        let round = self.round;
        let name = ["rush", "trio", "trio", "flow"][(random % 4) as usize];
        // Few members, so that limits and repeats are met.
        let member = format!("m{}", random / 7 % 3_000);
        let path = format!("/v1/campaigns/{name}-{round}/coupons");
        let key = format!("k-{round}-{client}-{turn}");
        let keyed: &[(&str, &str)] =
            if random.is_multiple_of(3) { &[("idempotency-key", &key)] } else { &[] };
        let body = json!({ "member": member }).to_string();
        let times = if random.is_multiple_of(9) { 2 } else { 1 };
        let mut code = None;
        for _ in 0..times {
            let reply = http.send("POST", &path, keyed, body.as_bytes()).ok()?;
            assert!(reply.status < 500, "{}", reply.text());
            if reply.status < 300 {
                let coupon = reply.json();
                self.acknowledge("issue", reply.status, &coupon, keyed.first().map(|(_, key)| *key));
                code = coupon["code"].as_str().map(str::to_owned);
            }
        }
        let (Some(code), true) = (code, random.is_multiple_of(2)) else { return Some(()) };
        let order = format!("o-{round}-{client}-{turn}");
        let steps: &[&str] = match random / 2 % 5 {
            0 => &["redeem"],
            1 => &["hold", "redeem"],
            2 => &["hold", "release"],
            3 => &["hold"],
            _ => &["revoke"],
        };
        for step in steps {
            let body = match *step {
                "hold" => json!({"order": order, "for_seconds": 1 + random % 3}),
                "revoke" => json!({"reason": "test"}),
                _ => json!({ "order": order }),
            };
            let reply = http.post(&format!("/v1/coupons/{code}/{step}"), &body).ok()?;
            assert!(reply.status < 500, "{}", reply.text());
            if reply.status < 300 {
                self.acknowledge(step, reply.status, &reply.json(), None);
            }
        }
        Some(())
    }

    /// Many coupons at once, with long member ids, to fill segments.
    fn batch(&self, http: &mut Http, client: u64, turn: u64) -> Option<()> {
        let members: Vec<String> =
            (0..1_000).map(|n| format!("{client:04}-{turn:08}-{n:04}-{}", "x".repeat(44))).collect();
        let path = format!("/v1/campaigns/flow-{}/coupons/batch", self.round);
        let body = json!({ "members": members }).to_string();
        let key = format!("b-{}-{client}-{turn}", self.round);
        let reply = http.send("POST", &path, &[("idempotency-key", &key)], body.as_bytes()).ok()?;
        if reply.status == 503 {
            return Some(());
        }
        for answer in reply.expect(200)["answers"].as_array().expect("answers") {
            let status = answer["status"].as_u64().expect("a status") as u16;
            if status < 300 {
                self.acknowledge("issue", status, answer, None);
            }
        }
        Some(())
    }

    fn acknowledge(&self, action: &str, status: u16, coupon: &Value, key: Option<&str>) {
        let mut line = json!({
            "action": action, "status": status, "campaign": coupon["campaign"], "member": coupon["member"],
            "coupon": coupon["coupon"], "code": coupon["code"], "seq": coupon["seq"],
        });
        if let Some(key) = key {
            line["key"] = json!(key);
        }
        let text = format!("{line}\n");
        self.file
            .lock()
            .expect("no panic while held")
            .write_all(text.as_bytes())
            .expect("the acks file takes lines");
        self.acked.fetch_add(1, Ordering::Relaxed);
    }
}
