//! A sale day with a payment company that fails and hangs, rehearsed by the real load generator, while the server is killed again and
//! again: and what both sides have in their books afterwards.

use super::company::{Company, Place};
use super::{Http, Server, run, text, until};
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Longest wait for a rehearsal to end, and for every saga after it.
const PATIENCE: Duration = Duration::from_secs(900);

/// What a sale day came to. Every count but the first two must be 0.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    pub(crate) kills: u64,
    pub(crate) orders_paid: u64,
    /// Outcomes that a member does not know, double clicks with two orders, and what `banyan verify` found.
    pub(crate) unknown: u64,
    pub(crate) two_orders: u64,
    pub(crate) findings: u64,
    pub(crate) missing: u64,
    /// Counted at the company.
    pub(crate) double_charges: u64,
    pub(crate) captured_without_order: u64,
    pub(crate) paid_without_capture: u64,
    pub(crate) still_authorized: u64,
    pub(crate) other_amount: u64,
    /// Counted over HTTP after the last order ended.
    pub(crate) sagas_parked: u64,
    pub(crate) units_still_held: u64,
    pub(crate) money_still_held: i64,
    /// What the company owes the shop by the shop's books, less what it owes by its own.
    pub(crate) receivable_differs: i64,
    pub(crate) is_unbalanced: bool,
    pub(crate) report: Value,
    pub(crate) rehearsal: Value,
}

/// A sale day to be run.
pub(crate) struct SaleDay<'a> {
    pub(crate) binary: &'a Path,
    /// A folder on a disk, empty.
    pub(crate) folder: &'a Path,
    /// The scenario file.
    pub(crate) scenario: &'a Path,
    /// How often the server is killed.
    pub(crate) kills: u64,
    /// Answers between two kills.
    pub(crate) answers_between: u64,
}

impl SaleDay<'_> {
    /// Runs it to the end of its last order.
    pub(crate) fn run(&self) -> Outcome {
        let place = Place::make(self.binary, self.folder);
        let (mut server, company) = (place.start_server(), place.start_company());
        let load = Load::start(self, &place, &server);
        let mut kills = 0;
        for _ in 0..self.kills {
            let enough = load.answers() + self.answers_between;
            let is_over = wait(PATIENCE, || load.is_over() || load.answers() >= enough);
            assert!(is_over, "the rehearsal stands still: {}", load.said());
            if load.is_over() {
                break;
            }
            server.kill();
            server = place.start_server();
            kills += 1;
        }
        assert!(wait(PATIENCE, || load.is_over()), "the rehearsal does not end: {}", load.said());
        let rehearsal = load.report();
        // Whoever went away in the middle of a checkout leaves it to the server: it ends by itself, or is parked.
        let mut http = server.operator();
        until("every checkout has ended", || {
            let running = http.get("/v1/sagas?state=running").expect("an answer").expect(200);
            running["sagas"].as_array().is_some_and(Vec::is_empty).then_some(())
        });
        let mut outcome = Outcome { kills, ..Outcome::default() };
        outcome.count_shop(&mut http);
        outcome.count_company(&mut http, &company);
        let stderr = server.stop();
        assert!(!stderr.contains("panicked") && !stderr.contains("ERROR"), "{stderr}");
        outcome.verify(self.binary, &place.data(), &load.acks);
        outcome.unknown = sum(&rehearsal["unknown"]);
        outcome.two_orders = rehearsal["visits"]["two_orders"].as_u64().expect("a number");
        outcome.rehearsal = rehearsal;
        outcome
    }
}

impl Outcome {
    /// Whether nobody was harmed.
    pub(crate) fn is_well(&self) -> bool {
        let counts = [
            self.unknown,
            self.two_orders,
            self.findings,
            self.missing,
            self.double_charges,
            self.captured_without_order,
            self.paid_without_capture,
            self.still_authorized,
            self.other_amount,
            self.sagas_parked,
            self.units_still_held,
        ];
        counts == [0; 11] && self.money_still_held == 0 && self.receivable_differs == 0 && !self.is_unbalanced
    }

    fn count_shop(&mut self, http: &mut Http) {
        let parked = http.get("/v1/sagas?state=parked").expect("an answer").expect(200);
        self.sagas_parked = parked["sagas"].as_array().expect("a list").len() as u64;
        let items = http.get("/v1/stock?limit=1000").expect("an answer").expect(200);
        let items = items["skus"].as_array().expect("a list").clone();
        self.units_still_held = items.iter().map(|item| item["held"].as_u64().expect("a number")).sum();
        let books = http.get("/v1/ledger/trial-balance").expect("an answer").expect(200);
        self.is_unbalanced = books["balanced"] != true;
        for account in ["shop:points", "company:receivable", "shop:sales"] {
            let account = http.get(&format!("/v1/ledger/accounts/{account}")).expect("an answer").expect(200);
            let held = |name: &str| account[name].as_i64().expect("a number");
            self.money_still_held += held("debits_pending") + held("credits_pending");
        }
    }

    /// Holds what the company charged against the orders, one by one.
    fn count_company(&mut self, http: &mut Http, company: &Company) {
        let mut charged: BTreeMap<String, Vec<(i64, i64)>> = BTreeMap::new();
        let (mut captured_all, mut refunded_all) = (0, 0);
        for payment in company.payments() {
            let number = |name: &str| payment[name].as_i64().expect("a number");
            let (captured, refunded) = (number("captured"), number("refunded"));
            captured_all += captured;
            refunded_all += refunded;
            if payment["status"] == "authorized" || payment["status"] == "partly_captured" {
                self.still_authorized += 1;
            }
            if captured > 0 {
                let order = payment["order"].as_str().expect("an order").to_owned();
                charged.entry(order).or_default().push((captured, refunded));
            }
        }
        for n in 1.. {
            let name = format!("o-{n}");
            let reply = http.get(&format!("/v1/orders/{name}")).expect("an answer");
            if reply.status == 404 {
                break;
            }
            let order = reply.expect(200);
            let number = |name: &str| order[name].as_i64().expect("a number");
            let was_paid = !order["paid_at"].is_null();
            self.orders_paid += u64::from(was_paid);
            match charged.remove(&name).as_deref() {
                Some([(captured, refunded)]) if was_paid => {
                    let fits = (*captured, *refunded) == (number("total"), number("refunded"));
                    self.other_amount += u64::from(!fits);
                }
                Some([_]) => self.captured_without_order += 1,
                Some(_) => self.double_charges += 1,
                None => self.paid_without_capture += u64::from(was_paid && number("total") > 0),
            }
        }
        self.captured_without_order += charged.len() as u64;
        let receivable = http.get("/v1/ledger/accounts/company:receivable").expect("an answer").expect(200);
        let owed = receivable["balance"].as_i64().expect("a number").abs();
        self.receivable_differs = owed - (captured_all - refunded_all);
    }

    fn verify(&mut self, binary: &Path, data: &Path, acks: &Path) {
        let verified = run(binary, &["verify", "--json", "--data", text(data), "--acks", text(acks)]);
        self.report = serde_json::from_slice(&verified.stdout).unwrap_or_else(|error| {
            panic!("verify printed no report: {error}: {}", String::from_utf8_lossy(&verified.stderr))
        });
        let number = |name: &str| self.report[name].as_u64().expect("a number in the report");
        self.missing = number("missing");
        self.findings = number("findings_total") + u64::from(!self.report["damage"].is_null());
    }
}

/// The load generator, as its own process.
struct Load {
    child: std::cell::RefCell<Child>,
    acks: PathBuf,
    report: PathBuf,
    said: PathBuf,
}

impl Drop for Load {
    fn drop(&mut self) {
        let _it_may_have_ended = self.child.get_mut().kill();
        let _it_may_have_ended = self.child.get_mut().wait();
    }
}

impl Load {
    fn start(day: &SaleDay<'_>, place: &Place, server: &Server) -> Self {
        let file = |name: &str| day.folder.join(name);
        let (acks, report, said) = (file("acks.jsonl"), file("report.json"), file("rehearsal.txt"));
        let key = server.data.join("operator.key");
        let company_key = place.folder.join("company/admin.key");
        let out = std::fs::File::create(&said).expect("a file");
        let child = Command::new(day.binary)
            .arg("rehearse")
            .arg(day.scenario)
            .args(["--url", &format!("http://{}", place.server), "--key-file", text(&key)])
            .args(["--company", &format!("http://{}", place.company), "--company-key", text(&company_key)])
            .args(["--acks", text(&acks), "--json", text(&report), "--progress", "none"])
            .args(["--report", text(&file("report.html"))])
            .stdin(Stdio::null())
            .stdout(out.try_clone().expect("a file can be shared"))
            .stderr(out)
            .spawn()
            .expect("it starts");
        Self { child: std::cell::RefCell::new(child), acks, report, said }
    }

    /// Whole answers that are in the file.
    fn answers(&self) -> u64 {
        let bytes = std::fs::read(&self.acks).unwrap_or_default();
        bytes.iter().filter(|byte| **byte == b'\n').count() as u64
    }

    fn is_over(&self) -> bool {
        self.child.borrow_mut().try_wait().expect("it can be waited for").is_some()
    }

    fn said(&self) -> String {
        std::fs::read_to_string(&self.said).unwrap_or_default()
    }

    fn report(&self) -> Value {
        let json = std::fs::read(&self.report).unwrap_or_else(|error| panic!("{error}: {}", self.said()));
        serde_json::from_slice(&json).expect("JSON")
    }
}

fn sum(counts: &Value) -> u64 {
    counts.as_object().into_iter().flatten().filter_map(|(_, count)| count.as_u64()).sum()
}

fn wait(at_most: Duration, look: impl Fn() -> bool) -> bool {
    let began = Instant::now();
    while began.elapsed() < at_most {
        if look() {
            return true;
        }
        // Between two looks; what is waited for is what the caller looks for.
        std::thread::sleep(Duration::from_millis(5));
    }
    false
}
