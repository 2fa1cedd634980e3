//! The shipped delivery saga and the partners that are written for it in Python, both for real: booked, refused, waited for,
//! killed in the middle, heard late. Banyan itself knows nothing of any of them.

mod support;

use serde_json::{Value, json};
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use support::company::free;
use support::{Http, Server, run_well, text, until};

const BINARY: &str = env!("CARGO_BIN_EXE_banyan");
const EXAMPLES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples");

/// The shop and its partners, either of which can be started again.
struct Place {
    folder: PathBuf,
    listen: SocketAddr,
    partners: Option<Partners>,
    server: Option<Server>,
    url: SocketAddr,
}

/// `service.py`; ended with the test.
struct Partners(Child);

impl Drop for Partners {
    fn drop(&mut self) {
        let _ended = self.0.kill();
        let _reaped = self.0.wait();
    }
}

impl Place {
    /// Both are running, and the delivery is defined.
    fn start(folder: &Path, faults: &[&str]) -> Self {
        let mut place =
            Self { folder: folder.to_owned(), listen: free(), partners: None, server: None, url: free() };
        place.start_partners(faults);
        // The file that is shipped, at another address.
        let services =
            std::fs::read_to_string(format!("{EXAMPLES}/delivery/services.toml")).expect("it is there");
        assert_eq!(services.matches("127.0.0.1:9100").count(), 3, "{services}");
        let services = services.replace("127.0.0.1:9100", &place.listen.to_string());
        std::fs::write(place.folder.join("services.toml"), services).expect("a file");
        place.start_server();
        let url = format!("http://{}", place.url);
        let definition = format!("{EXAMPLES}/sagas/delivery.toml");
        let data = place.folder.join("store");
        run_well(Path::new(BINARY), &["saga", "define", &definition, "--url", &url, "--data", text(&data)]);
        place
    }

    fn start_partners(&mut self, faults: &[&str]) {
        let mut child = Command::new("python3")
            .arg(format!("{EXAMPLES}/delivery/service.py"))
            .args([
                "--listen",
                &self.listen.to_string(),
                "--wait-seconds",
                "4",
                "--slots-a-day",
                "2",
                "--data",
            ])
            .arg(self.folder.join("data"))
            .args(faults.iter().flat_map(|fault| ["--fault", fault]))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .expect("python3 is there");
        let mut said = String::new();
        BufReader::new(child.stdout.take().expect("piped"))
            .read_line(&mut said)
            .expect("it says where it is");
        assert!(said.contains("http://"), "{said}");
        self.partners = Some(Partners(child));
    }

    fn start_server(&mut self) {
        let (services, listen) = (self.folder.join("services.toml"), self.url.to_string());
        let more = ["--services", text(&services), "--listen", &listen];
        self.server = Some(Server::start_at(Path::new(BINARY), &self.folder.join("store"), &more));
    }

    fn http(&self) -> Http {
        self.server.as_ref().expect("it runs").operator()
    }

    fn asks_partners(&self) -> Http {
        let key = std::fs::read_to_string(self.folder.join("data/service.key")).expect("the partners' key");
        Http::with_key(self.listen, key.trim())
    }

    fn set_faults(&self, faults: &Value) {
        let body = faults.to_string();
        self.asks_partners()
            .send("PUT", "/admin/faults", &[], body.as_bytes())
            .expect("an answer")
            .expect(200);
    }

    /// What the partners have.
    fn books(&self) -> Value {
        self.asks_partners().get("/admin/books").expect("an answer").expect(200)
    }

    /// Begins the delivery of `order`; returns the saga's number.
    fn deliver(&self, order: &str) -> u64 {
        let input = json!({"day": "2026-12-01", "address": "1 Elm Street", "member": "m-1"});
        let body = json!({"name": "delivery", "key": order, "input": input});
        let saga = self.http().post("/v1/sagas", &body).expect("an answer").expect(201);
        saga["saga"].as_u64().expect("a number")
    }

    fn saga(&self, no: u64) -> Value {
        self.http().get(&format!("/v1/sagas/{no}")).expect("an answer").expect(200)
    }

    /// Waits until the step `step` of saga `no` waits for `what`.
    fn until_step(&self, no: u64, step: usize, what: &str) {
        until(&format!("step {step} waits for {what}"), || {
            (self.saga(no)["steps"][step]["waits_for"] == what).then_some(())
        });
    }

    #[track_caller]
    fn until_phase(&self, no: u64, phase: &str) -> Value {
        until(&format!("saga {no} is {phase}"), || {
            let saga = self.saga(no);
            assert!(saga.get("parked").is_none(), "{saga}");
            (saga["phase"] == phase).then_some(saga)
        })
    }

    /// The delivery of `order`, and nothing twice.
    #[track_caller]
    fn check_delivered(&self, order: &str) {
        let books = self.books();
        let of = |what: &str| {
            let all = books[what].as_array().expect("a list").iter();
            all.filter(|one| one["order"] == order).cloned().collect::<Vec<_>>()
        };
        assert_eq!((of("slots").len(), of("bookings").len()), (1, 1), "{books}");
        assert_eq!(of("bookings")[0]["state"], "booked", "{books}");
        let told = format!("Your order {order} comes on 2026-12-01.");
        let messages = books["messages"].as_array().expect("a list").iter();
        assert_eq!(messages.filter(|one| one["text"] == *told).count(), 1, "{books}");
    }

    fn stop(mut self) {
        self.server.take().expect("it runs").stop();
        let data = self.folder.join("store");
        run_well(Path::new(BINARY), &["verify", "--data", text(&data)]);
    }
}

#[test]
fn a_delivery_is_booked_and_one_that_is_refused_leaves_nothing_behind() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let place = Place::start(folder.path(), &[]);
    let no = place.deliver("order-1");
    let saga = place.until_phase(no, "completed");
    assert_eq!(saga["steps"][1]["output"], json!({"booking": "b-1"}), "{saga}");
    place.check_delivered("order-1");
    // The courier says no: the place in the warehouse is free again, and the reason is kept.
    place.set_faults(&json!({"book": "refuse"}));
    let no = place.deliver("order-2");
    let saga = place.until_phase(no, "compensated");
    assert_eq!(saga["cause"], json!({"kind": "step", "step": "book-courier", "why": "not-possible"}));
    let books = place.books();
    assert_eq!(
        (&books["slots"].as_array().map(Vec::len), &books["given_up"]),
        (&Some(1), &json!(["order-2"]))
    );
    assert_eq!(books["messages"].as_array().map(Vec::len), Some(1), "{books}");
    // So there is room for one more on that day, and then there is none.
    place.set_faults(&json!({}));
    place.until_phase(place.deliver("order-3"), "completed");
    let saga = place.until_phase(place.deliver("order-4"), "compensated");
    assert_eq!(saga["cause"]["why"], "day-full", "{saga}");
    place.stop();
}

#[test]
fn answers_that_are_lost_and_requests_that_are_not_heard_have_one_effect() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let place = Place::start(folder.path(), &["reserve-slot=lose", "book=fail", "send=lose"]);
    let no = place.deliver("order-1");
    until("it is sent again", || (place.saga(no)["steps"][1]["attempt"].as_u64() >= Some(2)).then_some(()));
    place.set_faults(&json!({"book": "lose", "send": "lose"}));
    until("the message went out, and nobody here knows it", || {
        (place.saga(no)["steps"][2]["attempt"].as_u64() >= Some(2)).then_some(())
    });
    place.set_faults(&json!({}));
    place.until_phase(no, "completed");
    place.check_delivered("order-1");
    place.stop();
}

#[test]
fn partners_and_a_server_that_are_killed_in_the_middle_recover() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut place = Place::start(folder.path(), &["book=die"]);
    let no = place.deliver("order-1");
    until("the partners have ended with the booking on disk", || {
        place.partners.as_mut().expect("started").0.try_wait().expect("it can be waited for")
    });
    place.server.take().expect("it runs").kill();
    place.start_server();
    assert_eq!(place.saga(no)["phase"], "running", "nobody answers");
    place.start_partners(&[]);
    place.until_phase(no, "completed");
    place.check_delivered("order-1");
    // The other way round: what was booked before the kill is not booked again after it.
    place.set_faults(&json!({"reserve-slot": "fail"}));
    let no = place.deliver("order-2");
    until("it is asked about", || (place.saga(no)["steps"][0]["asked"].as_u64() >= Some(1)).then_some(()));
    place.server.take().expect("it runs").kill();
    place.set_faults(&json!({}));
    place.start_server();
    place.until_phase(no, "completed");
    place.check_delivered("order-2");
    place.stop();
}

#[test]
fn a_dispatcher_who_decides_by_hand_is_waited_for() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let place = Place::start(folder.path(), &["book=wait"]);
    for (order, answer, phase) in [("order-1", "yes", "completed"), ("order-2", "no", "compensated")] {
        let no = place.deliver(order);
        place.until_step(no, 1, "somebody");
        let decided = json!({"order": order, "answer": answer});
        place.asks_partners().post("/admin/decide", &decided).expect("an answer").expect(200);
        let saga = place.until_phase(no, phase);
        if phase == "compensated" {
            assert_eq!(saga["cause"]["why"], "no-courier", "{saga}");
            assert_eq!(place.books()["given_up"], json!(["order-2"]));
        } else {
            place.check_delivered(order);
        }
    }
    place.stop();
}

#[test]
fn a_reservation_that_arrives_after_its_undo_is_turned_away() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let place = Place::start(folder.path(), &[]);
    let mut http = place.asks_partners();
    let order = json!({"order": "order-1", "day": "2026-12-01"}).to_string();
    let mut ask = |operation: &str, key: &str| {
        http.send("POST", &format!("/{operation}"), &[("idempotency-key", key)], order.as_bytes())
            .expect("an answer")
    };
    ask("find-slot", "do").expect(404);
    ask("free-slot", "undo").expect(200);
    assert_eq!(ask("reserve-slot", "do").expect(409)["refused"], "given-up");
    assert_eq!(ask("find-slot", "do").expect(200)["refused"], "given-up");
    assert_eq!(place.books()["slots"], json!([]));
    place.stop();
}
