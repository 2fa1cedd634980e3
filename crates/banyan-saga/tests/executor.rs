//! The checkout on a running shard, with the sandbox company failing and hanging: what the store says and what the
//! company took must agree, to the payment.

use banyan_domain::pay::Rule;
use banyan_domain::saga::{Definition, End, Fields, Phase};
use banyan_domain::{
    AccountId, Actor, Command, Currency, LocationId, Millis, Reason, SagaKey, SagaName, SkuId, pay, saga,
    stock,
};
use banyan_engine::{Answer, CoreOptions, Replies, ReplySink, Shard, ShardOptions, start, wall_clock};
use banyan_log::{DiskLog, DiskOptions, RealStorage};
use banyan_pay::{Connection, Sandbox, Secret};
use banyan_saga::{Company, Executor, Service, Services, read_definition};
use banyan_sandbox::{Fault, FaultPlan, FaultRule, SandboxOptions};
use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use serde_json::Value;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::net::TcpListener;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::watch;

const ORDERS: u32 = 120;
const STOCK: u32 = 100;
const AMOUNT: i64 = 9_700;

/// Answers at once, and hands on what sagas ask.
struct Sink(UnboundedSender<Vec<saga::Request>>);

impl ReplySink for Sink {
    fn release(&mut self, mut replies: Replies) {
        let asks = std::mem::take(&mut replies.asks);
        if !asks.is_empty() {
            let _gone = self.0.send(asks);
        }
        replies.send();
    }
}

/// A shard in `dir`, what it schedules, and what was open before it began.
fn open_with(dir: &Path) -> (Arc<Shard>, UnboundedReceiver<Vec<saga::Request>>, Vec<saga::OpenAsk>) {
    let storage = Arc::new(RealStorage::create(dir.join("log")).expect("the folder is ours"));
    let log = DiskLog::open(
        storage,
        DiskOptions { segment_bytes: 16 << 20, block_bytes_max: 2 << 20, ..DiskOptions::default() },
    );
    let started = start(
        Box::new(log.expect("it opens")),
        None,
        CoreOptions::default(),
        None,
        wall_clock(),
        &mut |_, _| {},
    );
    let started = started.expect("it starts");
    let open = started.state().sagas().open_asks();
    let (sink, scheduled) = unbounded_channel();
    let options = ShardOptions { pace: Duration::ZERO, ..ShardOptions::default() };
    (Shard::spawn(started, Box::new(Sink(sink)), options).expect("threads"), scheduled, open)
}

async fn ask(shard: &Shard, command: impl Into<Command>) {
    let answer = shard.submit(command.into(), None).expect("there is room").await.expect("an answer");
    assert!(matches!(answer, Answer::Done { .. }), "{answer:?}");
}

fn actor() -> Actor {
    Actor::new("ops").expect("valid")
}

async fn prepare(shard: &Shard) {
    let (sku, location) = (SkuId::new("A").expect("valid"), LocationId::new("main").expect("valid"));
    let reason = Reason::new("count").expect("valid");
    ask(shard, stock::Command::SetStock { sku, location, on_hand: STOCK, by: actor(), reason }).await;
    for id in ["company:receivable", "shop:sales"] {
        let (id, currency) = (AccountId::new(id).expect("valid"), Currency::new("KRW").expect("valid"));
        ask(shard, pay::Command::OpenAccount { id, currency, rule: Rule::Free, by: actor() }).await;
    }
    ask(shard, saga::Command::Define { definition: Box::new(checkout()), by: actor() }).await;
}

/// The example, less patient, so that a test need not be.
fn checkout() -> Definition {
    let text = include_str!("../../../examples/sagas/checkout.toml");
    let mut definition = read_definition(text).expect("it can be read");
    for step in &mut definition.steps {
        step.patience.timeout = Millis::new(300);
        step.patience.retry_first = Millis::new(40);
        step.patience.retry_longest = Millis::new(400);
        step.patience.settles_after = Millis::new(900);
    }
    definition
}

async fn place(shard: &Shard, from: u32, to: u32) {
    for n in from..to {
        let input: Fields = [
            ("member", format!("m{n}")),
            ("lines", "A*1".into()),
            ("amount", AMOUNT.to_string()),
            ("currency", "KRW".into()),
            ("method", "tok_ok".into()),
        ]
        .into_iter()
        .collect();
        let key = SagaKey::new(format!("order-{n}")).expect("valid");
        let name = SagaName::new("checkout").expect("valid");
        ask(shard, saga::Command::Start { name, key, input }).await;
    }
}

fn services(company: SocketAddr) -> Services {
    let secret = Secret::new("sk_sandbox_test").expect("valid");
    let mut connection = Connection::new(&format!("http://{company}"), secret);
    connection.call_time_max = Duration::from_millis(250);
    let connector = Sandbox::new(&connection).expect("an address");
    let company: Arc<dyn Service> = Arc::new(Company::new(Arc::new(connector), 60_000));
    [("company".into(), company)].into()
}

/// `times` requests of this kind are declined, after `skip` that are not.
fn declined(action: &str, skip: u32, times: u32) -> FaultRule {
    FaultRule { fault: Fault::Decline, action: Some(action.into()), order: None, key: None, skip, times }
}

/// How many sagas are over, and how.
async fn ends(shard: &Shard) -> (usize, usize, usize) {
    let count = |state: &banyan_domain::State| {
        let with = |phase: Phase| state.sagas().sagas().filter(|saga| saga.phase == phase).count();
        let open = state.sagas().sagas().filter(|saga| !saga.is_over()).count();
        (with(Phase::Ended(End::Completed)), with(Phase::Ended(End::Compensated)), open)
    };
    shard.read(count).expect("there is room").await.expect("it is seen")
}

async fn totals(company: SocketAddr) -> Value {
    let client = Client::builder(TokioExecutor::new()).build_http::<Full<Bytes>>();
    let request = Request::builder()
        .uri(format!("http://{company}/admin/payments"))
        .header("authorization", "Bearer admin_sandbox_test")
        .body(Full::default())
        .expect("a request");
    let answer =
        client.request(request).await.expect("an answer").into_body().collect().await.expect("a body");
    let page: Value = serde_json::from_slice(&answer.to_bytes()).expect("JSON");
    page["totals"][0].clone()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn store_and_company_agree_though_the_company_fails_and_hangs_and_the_store_is_restarted() {
    let folder = tempfile::tempdir().expect("a folder");
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a free port");
    let company = listener.local_addr().expect("an address");
    let mut options =
        SandboxOptions::new(folder.path().join("company"), "sk_sandbox_test", "admin_sandbox_test");
    options.faults = FaultPlan {
        seed: 7,
        rates: [(Fault::TimeoutBefore, 0.06), (Fault::TimeoutAfter, 0.06), (Fault::ErrorAfter, 0.06)].into(),
        // Some are declined when the money is set aside, some when it is taken. Not when it is given back: a company that
        // declines that parks the saga, for a person to see.
        rules: vec![declined("authorize", 10, 8), declined("capture", 20, 6)],
        hold_seconds: 0.6,
        ..FaultPlan::default()
    };
    let (_stop, stopping) = watch::channel(false);
    tokio::spawn(banyan_sandbox::serve(listener, options, stopping));

    let (shard, scheduled, open) = open_with(folder.path());
    prepare(&shard).await;
    let first = tokio::spawn(Executor::new(shard.clone(), services(company)).run(open, scheduled));
    place(&shard, 0, ORDERS / 2).await;
    // Ended in the middle: whatever was under way has no answer, and the next process knows only the log.
    first.abort();
    let ending = shard.clone();
    tokio::task::spawn_blocking(move || ending.shutdown()).await.expect("it ends");
    drop(shard);

    let (shard, scheduled, open) = open_with(folder.path());
    tokio::spawn(Executor::new(shard.clone(), services(company)).run(open, scheduled));
    place(&shard, ORDERS / 2, ORDERS).await;
    let patience = Instant::now() + Duration::from_secs(20);
    let (completed, compensated) = loop {
        let (completed, compensated, open) = ends(&shard).await;
        if open == 0 {
            break (completed, compensated);
        }
        if Instant::now() > patience {
            let left = |state: &banyan_domain::State| {
                let open = state.sagas().sagas().filter(|saga| !saga.is_over());
                open.map(|saga| format!("{saga:#?}")).collect::<Vec<_>>()
            };
            let left = shard.read(left).expect("there is room").await.expect("it is seen");
            panic!("{open} sagas are not over, the first of them {}", left[0]);
        }
        // Between two looks; what is waited for is that no saga is open.
        tokio::time::sleep(Duration::from_millis(50)).await;
    };

    assert_eq!(completed + compensated, ORDERS as usize);
    assert!(completed > 0 && compensated > 0, "{completed} completed, {compensated} compensated");
    let seen = shard.read(|state| {
        state.check_invariants().expect("every invariant holds");
        let sku = SkuId::new("A").expect("valid");
        let level = *state.stock().items_of(&sku).next().expect("it is there").level;
        let sales = AccountId::new("shop:sales").expect("valid");
        let sales = state.ledger().statement(&sales).expect("it is there").balance;
        (level.on_hand, level.held, sales, state.ledger().trial_balance().is_balanced())
    });
    let (on_hand, held, sales, balanced) = seen.expect("there is room").await.expect("it is seen");
    let took = totals(company).await;
    assert_eq!(STOCK - on_hand, completed as u32, "goods left for those who paid, and for nobody else");
    assert_eq!(held, 0, "nothing is held for nobody");
    assert!(balanced);
    assert_eq!(sales, AMOUNT * completed as i64);
    // Counted on the company's side: no charge without an order, no order without its charge, none charged twice.
    assert_eq!(took["captured"], sales, "{took}");
    assert_eq!(took["charged"], completed, "{took}");
    assert_eq!(took["held"], 0, "{took}: money is set aside for nobody");
    tokio::task::spawn_blocking(move || shard.shutdown()).await.expect("it ends");
}

/// A service that never says what became of an order, and tells it after a while to whoever asks.
struct Slow;

impl Service for Slow {
    fn ask<'a>(
        &'a self,
        request: &'a saga::Request,
        _now: banyan_domain::Timestamp,
    ) -> banyan_saga::Asking<'a> {
        Box::pin(async move {
            match request.open.ask {
                saga::Ask::Query => {
                    // As long as a network takes: what the executor reports by itself comes before it.
                    tokio::time::sleep(Duration::from_millis(150)).await;
                    saga::Settlement::Done(Fields::new())
                }
                _ => saga::Settlement::Unknown("no answer".into()),
            }
        })
    }
}

/// Looks at the only saga until it is as wanted.
async fn until(shard: &Shard, what: &str, wanted: impl Fn(&saga::Saga) -> bool) {
    let patience = Instant::now() + Duration::from_secs(30);
    loop {
        let one = shard.read(|state| state.sagas().sagas().next().cloned());
        let one = one.expect("there is room").await.expect("it is seen").expect("it is there");
        if wanted(&one) {
            return;
        }
        assert!(Instant::now() < patience, "{what}: {one:#?}");
        // Between two looks.
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_asked_right_after_a_start_is_not_reported_as_lost() {
    const ORDER: &str = r#"
name = "order"
version = 1
[[step]]
name = "book"
kind = "pivot"
patience = { tries = 1, timeout = "20s", retry_first = "400ms", retry_longest = "400ms", settles_after = "0s" }
do = { service = "slow", operation = "do" }
query = { service = "slow", operation = "find" }
"#;
    let slow: Arc<dyn Service> = Arc::new(Slow);
    let services: Services = [("slow".into(), slow)].into();
    let definition = Box::new(read_definition(ORDER).expect("it can be read"));
    let (_folder, shard, scheduled, open) = loop {
        let folder = tempfile::tempdir().expect("a folder");
        let (shard, _unheard, _) = open_with(folder.path());
        ask(&shard, saga::Command::Define { definition: definition.clone(), by: actor() }).await;
        let (name, key) = (SagaName::new("order").expect("valid"), SagaKey::new("o").expect("valid"));
        ask(&shard, saga::Command::Start { name, key, input: Fields::new() }).await;
        let (no, result) = (banyan_domain::SagaNo::new(1), saga::Settlement::Unknown("no answer".into()));
        ask(&shard, saga::Command::Settle { saga: no, step: 0, ask: saga::Ask::Do, attempt: 1, result })
            .await;
        tokio::task::spawn_blocking(move || shard.shutdown()).await.expect("it ends");
        let due = wall_clock().plus(Millis::new(400));
        while wall_clock() <= due {
            // What is waited for is that the time is over after which it is asked about.
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let (shard, scheduled, open) = open_with(folder.path());
        if open.is_empty() {
            break (folder, shard, scheduled, open);
        }
        // On a machine that stood still in between, the first life has asked already: that is another story. Once more.
        tokio::task::spawn_blocking(move || shard.shutdown()).await.expect("it ends");
    };
    until(&shard, "it is asked about in the first block", |saga| saga.open_ask().is_some()).await;
    tokio::spawn(Executor::new(shard.clone(), services).run(open, scheduled));
    until(&shard, "the answer counts, and it is over", |saga| {
        assert!(saga.parked.is_none(), "the only question there may be was reported as lost: {saga:#?}");
        saga.is_over()
    })
    .await;
    tokio::task::spawn_blocking(move || shard.shutdown()).await.expect("it ends");
}
