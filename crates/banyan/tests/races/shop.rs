//! A shop to attack: a server in a folder of its own, and many clients that ask at the same instant.

use crate::support::company::Company;
use crate::support::{Http, Reply, Server, campaign, run_well, text};
use serde_json::{Value, json};
use std::path::Path;
use std::sync::Barrier;

pub(crate) const BINARY: &str = env!("CARGO_BIN_EXE_banyan");

/// Clients of one race. Each has a thread and a connection of its own.
pub(crate) const CLIENTS: usize = 48;

/// A server and where it keeps its things.
pub(crate) struct Shop {
    pub(crate) server: Server,
    company: Option<Company>,
    _folder: tempfile::TempDir, // after the server: it must be gone first
}

/// What one client asks for.
pub(crate) struct Ask {
    path: String,
    key: Option<String>,
    body: Value,
}

impl Ask {
    /// A `POST` without an idempotency key.
    pub(crate) fn post(path: impl Into<String>, body: Value) -> Self {
        Self { path: path.into(), key: None, body }
    }

    /// The same under an idempotency key.
    pub(crate) fn key(self, key: impl Into<String>) -> Self {
        Self { key: Some(key.into()), ..self }
    }
}

impl Shop {
    /// A server that has nothing yet.
    pub(crate) fn start() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let server = Server::start(Path::new(BINARY), &folder.path().join("data"), &[]);
        Self { server, company: None, _folder: folder }
    }

    /// A server with the simulated payment company beside it.
    pub(crate) fn with_company() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let (company, server) = Company::beside_a_server(Path::new(BINARY), folder.path());
        Self { server, company: Some(company), _folder: folder }
    }

    /// Every payment that the company has.
    pub(crate) fn payments(&self) -> Vec<Value> {
        self.company.as_ref().expect("there is a company").payments()
    }

    /// The shopper fills in the company's card page, with a card that is good.
    #[track_caller]
    pub(crate) fn pay_at(&self, page: &str) {
        let address = self.company.as_ref().expect("there is a company").address;
        let path = page.strip_prefix(&format!("http://{address}")).expect("the company's page");
        let form = [("content-type", "application/x-www-form-urlencoded")];
        let card = b"number=4242+4242+4242+4242&expiry=12%2F40&cvc=123";
        let paid = Http::to(address).send("POST", path, &form, card).expect("an answer");
        assert!(paid.status < 400, "{paid:?}");
    }

    /// Sets something, which must succeed.
    #[track_caller]
    pub(crate) fn put(&self, path: &str, body: &Value) {
        let reply = self.server.operator().send("PUT", path, &[], body.to_string().as_bytes());
        let reply = reply.expect("an answer");
        assert!(reply.status < 300, "{path}: {}", reply.text());
    }

    /// Lets every client ask at the same instant, each on a connection that is open before. Answers in order of clients.
    pub(crate) fn race(&self, clients: usize, ask: impl Fn(usize) -> Ask + Sync) -> Vec<Reply> {
        let (key, barrier) = (self.server.operator_key(), Barrier::new(clients));
        std::thread::scope(|scope| {
            let threads: Vec<_> = (0..clients)
                .map(|client| {
                    let (key, barrier, ask) = (&key, &barrier, ask(client));
                    scope.spawn(move || {
                        let mut http = self.server.http(key);
                        http.get("/healthz").expect("the server runs");
                        barrier.wait();
                        send(&mut http, &ask)
                    })
                })
                .collect();
            threads.into_iter().map(|thread| thread.join().expect("a client does not panic")).collect()
        })
    }

    /// Asks once, which must succeed.
    #[track_caller]
    pub(crate) fn ask(&self, ask: &Ask) -> Value {
        let reply = send(&mut self.server.operator(), ask);
        assert!(reply.status < 300, "{}: {}", ask.path, reply.text());
        reply.json()
    }

    /// Reads, which must succeed.
    #[track_caller]
    pub(crate) fn get(&self, path: &str) -> Value {
        self.server.operator().get(path).expect("an answer").expect(200)
    }

    /// Sets the units on hand, and what else `more` says of the SKU.
    #[track_caller]
    pub(crate) fn count(&self, sku: &str, on_hand: u32, more: &Value) {
        let mut body = json!({"on_hand": on_hand, "reason": "count"});
        for (name, value) in more.as_object().into_iter().flatten() {
            body[name] = value.clone();
        }
        self.put(&format!("/v1/stock/{sku}"), &body);
    }

    /// On hand, held and available units of a SKU.
    #[track_caller]
    pub(crate) fn level(&self, sku: &str) -> [u64; 3] {
        let seen = self.get(&format!("/v1/stock/{sku}"));
        ["on_hand", "held", "available"].map(|name| seen[name].as_u64().expect("a number"))
    }

    /// An account with `balance` points, credited by the shop.
    #[track_caller]
    pub(crate) fn points(&self, account: &str, balance: i64) {
        let side = |id: &str, rule: &str| json!({"id": id, "currency": "PTS", "rule": rule});
        let transfer = json!({"kind": "post", "debit": side("shop:points", "free"),
            "credit": side(account, "debits-within-credits"), "amount": balance});
        self.ask(&transfers(account, &json!([transfer])).key(format!("fund-{account}")));
    }

    /// An account: its balance, and what is on hold on its debit side.
    #[track_caller]
    pub(crate) fn balance(&self, account: &str) -> (i64, i64) {
        let seen = self.get(&format!("/v1/ledger/accounts/{account}"));
        (seen["balance"].as_i64().expect("a number"), seen["debits_pending"].as_i64().expect("a number"))
    }

    /// A coupon of a campaign that is made for it.
    #[track_caller]
    pub(crate) fn coupon(&self, campaign_id: &str, member: &str, more: &Value) -> String {
        let mut definition = campaign(campaign_id, &json!(100), 100);
        for (name, value) in more.as_object().into_iter().flatten() {
            definition[name] = value.clone();
        }
        self.ask(&Ask::post("/v1/campaigns", definition));
        self.another_coupon(campaign_id, member)
    }

    /// One more coupon of a campaign that is there.
    #[track_caller]
    pub(crate) fn another_coupon(&self, campaign_id: &str, member: &str) -> String {
        let path = format!("/v1/campaigns/{campaign_id}/coupons");
        let coupon = self.ask(&Ask::post(path, json!({"member": member})));
        coupon["code"].as_str().expect("a code").to_owned()
    }

    /// The state of one of a member's coupons, of everything that was answered so far.
    #[track_caller]
    pub(crate) fn coupon_state(&self, member: &str, code: &str) -> String {
        let seq = self.get("/v1/campaigns")["seq"].clone();
        let seen = self.get(&format!("/v1/members/{member}/coupons?at_least={seq}"));
        let found = seen["coupons"].as_array().expect("coupons").iter().find(|coupon| coupon["code"] == code);
        found.expect("the member has it")["state"].as_str().expect("a state").to_owned()
    }

    /// Nothing failed, the log proves everything, and the server stops cleanly.
    #[track_caller]
    pub(crate) fn close(self) {
        let metrics = self.server.http("").get("/metrics").expect("an answer").text();
        assert!(metrics.contains("banyan_http_answers_total{class=\"5xx\"} 0"), "{metrics}");
        run_well(Path::new(BINARY), &["verify", "--data", text(&self.server.data)]);
        let told = self.server.stop();
        assert!(!told.contains("panicked") && !told.contains("ERROR"), "{told}");
    }
}

/// Linked transfers with a reference.
pub(crate) fn transfers(reference: &str, transfers: &Value) -> Ask {
    Ask::post("/v1/ledger/transfers", json!({"reference": reference, "transfers": transfers}))
}

/// How many of `replies` are a yes that was given now, and the types of all others, each once.
#[track_caller]
pub(crate) fn split(replies: &[Reply]) -> (usize, Vec<String>) {
    let won = replies.iter().filter(|reply| reply.status < 300).count();
    let mut why: Vec<String> = replies
        .iter()
        .filter(|reply| reply.status >= 300)
        .map(|reply| {
            assert!(reply.status < 500, "a business no, not a fault: {}", reply.text());
            let kind = reply.json()["title"].as_str().expect("a problem has a title").to_owned();
            reply.expect_problem(reply.status, &kind);
            kind
        })
        .collect();
    why.sort();
    why.dedup();
    (won, why)
}

fn send(http: &mut Http, ask: &Ask) -> Reply {
    let headers: Vec<_> = ask.key.iter().map(|key| ("idempotency-key", key.as_str())).collect();
    http.send("POST", &ask.path, &headers, ask.body.to_string().as_bytes()).expect("an answer")
}
