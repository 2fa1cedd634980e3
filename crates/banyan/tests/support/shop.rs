//! The simulated payment company as a process, with a shop that pays at it.
#![allow(dead_code, reason = "each test uses its own part")]

use crate::support::company::Company;
use crate::support::{Http, Server, until};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

const BINARY: &str = env!("CARGO_BIN_EXE_banyan");
const COMPANY_KEY: &str = "the-shops-own-key";
/// A payment that is taken and booked: the least that has all three sides.
const CHARGE: &str = r#"
name = "charge"
version = 1
deadline = "30m"
at_risk = "amount"

[[step]]
name = "authorize"
kind = "compensatable"
promises = ["idempotent"]
do = { service = "company", operation = "authorize", order = "${key}", amount = "${input.amount}", currency = "KRW", method = "tok_ok" }
undo = { service = "company", operation = "void", payment = "${authorize.payment}" }
query = { service = "company", operation = "query", payment = "${authorize.payment}" }

[[step]]
name = "capture"
kind = "pivot"
promises = ["idempotent"]
do = { service = "company", operation = "capture", payment = "${authorize.payment}", amount = "${input.amount}", currency = "KRW" }
query = { service = "company", operation = "query", payment = "${authorize.payment}" }

[[step]]
name = "book"
kind = "retriable"
do = { local = "pay.post", debit = "company:receivable", credit = "shop:sales", amount = "${input.amount}", currency = "KRW", reference = "${key}", refundable = "yes" }
"#;

/// A company and a shop; both end with it.
pub(crate) struct Shop {
    pub(crate) server: Server,
    pub(crate) http: Http,
    pub(crate) folder: PathBuf,
    company: Company,
}

impl Shop {
    /// Starts both in `folder`, and defines the saga `charge`.
    pub(crate) fn open(folder: &Path) -> Self {
        let (company, server) = Company::beside_a_server(Path::new(BINARY), folder);
        let mut http = server.operator();
        define(&mut http, CHARGE);
        Self { server, http, folder: folder.to_owned(), company }
    }

    /// Asks the company as the shop's own people do, past the shop.
    pub(crate) fn at_company(&self, path: &str, key: &str, body: &Value) -> Value {
        let mut http = Http::with_key(self.company.address, COMPANY_KEY);
        let reply = http.send("POST", path, &[("idempotency-key", key)], body.to_string().as_bytes());
        let reply = reply.expect("an answer");
        assert!((200..300).contains(&reply.status), "{path}: {reply:?}");
        reply.json()
    }

    /// The company's statement of a day.
    pub(crate) fn statement(&self, file: &str) -> String {
        let mut http = Http::with_key(self.company.address, COMPANY_KEY);
        let reply = http.get(&format!("/api/statements/{file}")).expect("an answer");
        assert_eq!(reply.status, 200, "{reply:?}");
        reply.text()
    }

    /// Begins a saga.
    pub(crate) fn begin(&mut self, name: &str, key: &str, input: &Value) -> u64 {
        let body = json!({"name": name, "key": key, "input": input});
        let began = self.http.post("/v1/sagas", &body).expect("an answer");
        assert!(began.status < 300, "{began:?}");
        began.json()["saga"].as_u64().expect("a number")
    }

    pub(crate) fn saga(&mut self, no: u64) -> Value {
        self.http.get(&format!("/v1/sagas/{no}")).expect("an answer").expect(200)
    }

    /// The saga once `reached` holds of it.
    #[track_caller]
    pub(crate) fn saga_until(&mut self, no: u64, what: &str, reached: impl Fn(&Value) -> bool) -> Value {
        until(what, || {
            let saga = self.saga(no);
            reached(&saga).then_some(saga)
        })
    }

    /// Begins a saga and waits until it has completed.
    pub(crate) fn run_saga(&mut self, name: &str, key: &str, input: &Value) -> Value {
        let no = self.begin(name, key, input);
        self.saga_until(no, "the saga completes", |saga| saga["phase"] == "completed")
    }

    pub(crate) fn open_account(&mut self, id: &str, currency: &str, rule: &str) {
        let body = json!({"id": id, "currency": currency, "rule": rule});
        let opened = self.http.post("/v1/ledger/accounts", &body).expect("an answer");
        assert!(opened.status < 300, "{opened:?}");
    }

    pub(crate) fn balance(&mut self, id: &str) -> i64 {
        let account = self.http.get(&format!("/v1/ledger/accounts/{id}")).expect("an answer").expect(200);
        account["balance"].as_i64().expect("a number")
    }

    /// Runs a line that the program printed for its operator, in the project's folder.
    pub(crate) fn type_in(&self, line: &str) -> Output {
        let programs = Path::new(BINARY).parent().expect("a folder");
        let path = std::env::var("PATH").unwrap_or_default();
        Command::new("sh")
            .args(["-ec", line])
            .current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))
            .env("PATH", format!("{}:{path}", programs.display()))
            .env("BANYAN_URL", format!("http://{}", self.server.address))
            .env("BANYAN_DATA", &self.server.data)
            .stdin(Stdio::null())
            .output()
            .expect("a shell")
    }
}

/// Defines a saga.
pub(crate) fn define(http: &mut Http, definition: &str) {
    let toml = [("content-type", "application/toml")];
    let defined =
        http.send("POST", "/v1/sagas/definitions", &toml, definition.as_bytes()).expect("an answer");
    assert!(defined.status < 300, "{defined:?}");
}
