//! A shop on a busy morning: stock, books, and sagas in every state a page can show. Nobody answers for the payment company
//! but the test itself.

use super::Store;
use banyan_domain::pay::{NewTransfer, Rule, Side, Transfers};
use banyan_domain::saga::{Ask, Fields, Settlement};
use banyan_domain::stock::{Configuration, Line, Lines};
use banyan_domain::{
    AccountId, Actor, Command, CouponId, Currency, LocationId, MemberId, Millis, OrderId, Outcome, Reason,
    Reference, SagaKey, SagaName, SagaNo, SkuId, pay, saga, stock,
};

/// The sagas of [`open`], by what became of them.
pub struct Sagas {
    pub completed: SagaNo,
    pub awaiting: SagaNo,
    pub unknown: SagaNo,
    pub compensated: SagaNo,
    /// Its undo was refused: parked on the way back.
    pub parked_back: SagaNo,
    /// A step after its point of no return was refused: parked on the way forward.
    pub parked_forward: SagaNo,
}

fn by() -> Actor {
    Actor::new("mina").expect("an actor")
}

fn reason(text: &str) -> Reason {
    Reason::new(text).expect("a reason")
}

fn sku(id: &str) -> SkuId {
    SkuId::new(id).expect("a SKU")
}

fn place(id: &str) -> LocationId {
    LocationId::new(id).expect("a location")
}

impl Store {
    /// Asks for something that must be done.
    pub async fn must(&self, command: Command) -> Outcome {
        self.app.ask(command, None).await.expect("it is carried out").0
    }

    /// Counts an item.
    pub async fn stock(&self, id: &str, location: &str, on_hand: u32) {
        let (sku, location, reason) = (sku(id), place(location), reason("first count"));
        self.must(Command::Stock(stock::Command::SetStock { sku, location, on_hand, by: by(), reason }))
            .await;
    }

    /// Reserves units for a member's order.
    pub async fn reserve(&self, id: &str, quantity: u32, member: &str, order: &str) {
        let lines = Lines::new(vec![Line { sku: sku(id), location: None, quantity }]).expect("one line");
        let command = stock::Command::Reserve {
            lines,
            member: Some(MemberId::new(member).expect("a member")),
            order: Some(OrderId::new(order).expect("an order")),
            hold_for: Millis::from_seconds(1_800),
        };
        self.must(Command::Stock(command)).await;
    }

    /// Opens an account.
    pub async fn account(&self, id: &str, currency: &str, rule: Rule) {
        let (id, currency) =
            (AccountId::new(id).expect("an id"), Currency::new(currency).expect("a currency"));
        self.must(Command::Pay(pay::Command::OpenAccount { id, currency, rule, by: by() })).await;
    }

    /// Moves money from one account to another.
    pub async fn pay(&self, debit: &str, credit: &str, amount: i64, reference: &str) {
        let side = |id: &str| Side::from(AccountId::new(id).expect("an id"));
        let post = NewTransfer::Post { debit: side(debit), credit: side(credit), amount, refundable: true };
        let reference = Reference::new(reference).expect("a reference");
        let transfers = Transfers::one(post);
        self.must(Command::Pay(pay::Command::Transfer { transfers, reference, by: by() })).await;
    }

    /// Begins a saga.
    pub async fn begin(&self, name: &str, key: &str, input: &[(&str, &str)]) -> SagaNo {
        let command = saga::Command::Start {
            name: SagaName::new(name).expect("a name"),
            key: SagaKey::new(key).expect("a key"),
            input: input.iter().map(|(name, value)| (*name, *value)).collect(),
        };
        match self.must(Command::Saga(command)).await {
            Outcome::Saga(saga::Outcome::Saga { saga }) => saga,
            other => panic!("a saga is begun, not {other:?}"),
        }
    }

    /// Says what came of what a saga asks now.
    pub async fn answer(&self, saga: SagaNo, result: Settlement) {
        let open = self.app.shard().read(move |state| state.sagas().saga(saga)?.open_ask());
        let open = open.expect("there is room").await.expect("it is seen").expect("it asks something");
        let command =
            saga::Command::Settle { saga, step: open.step, ask: open.ask, attempt: open.attempt, result };
        self.must(Command::Saga(command)).await;
    }

    /// Defines the sagas of the examples.
    pub async fn define_sagas(&self) {
        for text in [
            include_str!("../../../../examples/sagas/checkout.toml"),
            include_str!("../../../../examples/sagas/delivery.toml"),
        ] {
            let definition = Box::new(banyan_saga::read_definition(text).expect("the example is good"));
            self.must(Command::Saga(saga::Command::Define { definition, by: by() })).await;
        }
    }
}

/// An answer with these fields.
pub fn done(fields: &[(&str, &str)]) -> Settlement {
    Settlement::Done(fields.iter().map(|(name, value)| (*name, *value)).collect::<Fields>())
}

fn refused(why: &str) -> Settlement {
    Settlement::Refused(why.into())
}

/// Fills an empty store.
pub async fn open(store: &Store) -> Sagas {
    goods(store).await;
    books(store).await;
    store.define_sagas().await;
    sagas(store).await
}

async fn goods(store: &Store) {
    for (id, units) in [
        ("mug-white", 240),
        ("mug-black", 184),
        ("teapot-cast-iron", 36),
        ("tea-sejak-80g", 512),
        ("tea-hwangcha-60g", 9),
        ("linen-apron", 0),
        ("candle-pine", 77),
        ("candle-fig", 3),
        ("notebook-dot-a5", 1_200),
        ("pencil-set", 640),
        ("bottle-500ml", 158),
        ("blanket-wool", 21),
        ("poster-hangang", 0),
    ] {
        store.stock(id, "main", units).await;
    }
    for (id, units) in [("mug-white", 60), ("teapot-cast-iron", 4), ("bottle-500ml", 90)] {
        store.stock(id, "seoul-1", units).await;
    }
    let ahead = Configuration { backorder_max: Some(50), safety: Some(0), ..Configuration::default() };
    let careful = Configuration { safety: Some(12), per_member: Some(Some(4)), ..Configuration::default() };
    for (id, change) in [("linen-apron", ahead), ("mug-white", careful)] {
        let (sku, location) = (sku(id), place("main"));
        store.must(Command::Stock(stock::Command::Configure { sku, location, change, by: by() })).await;
    }
    for n in 0..9_u32 {
        store
            .reserve("mug-white", 1 + n % 3, &format!("member-{}", 100 + n), &format!("order-{}", 900 + n))
            .await;
    }
    store.reserve("linen-apron", 2, "member-77", "order-880").await;
    store.reserve("tea-hwangcha-60g", 4, "member-78", "order-881").await;
    let (arrived, broken) = (reason("delivery 2026-11-22"), reason("broken in the store room"));
    let receive = stock::Command::Receive {
        sku: sku("mug-white"),
        location: place("main"),
        quantity: 120,
        by: by(),
        reason: arrived,
    };
    let adjust = stock::Command::Adjust {
        sku: sku("mug-white"),
        location: place("seoul-1"),
        by_quantity: -3,
        by: by(),
        reason: broken,
    };
    store.must(Command::Stock(receive)).await;
    store.must(Command::Stock(adjust)).await;
}

async fn books(store: &Store) {
    for (id, currency, rule) in [
        ("company:receivable", "KRW", Rule::Free),
        ("shop:sales", "KRW", Rule::Free),
        ("shop:fees", "KRW", Rule::Free),
        ("shop:points", "PTS", Rule::Free),
        ("shop:usd", "USD", Rule::Free),
        ("bank:usd", "USD", Rule::CreditsWithinDebits),
        ("credit:member-101", "KRW", Rule::DebitsWithinCredits),
    ] {
        store.account(id, currency, rule).await;
    }
    for n in 0..6 {
        let id = format!("points:member-{}", 100 + n);
        store.account(&id, "PTS", Rule::DebitsWithinCredits).await;
        store.pay("shop:points", &id, 3_000 + 250 * n, "welcome").await;
    }
    store.pay("company:receivable", "shop:sales", 128_900, "order-899").await;
    store.pay("shop:sales", "credit:member-101", 15_000, "goodwill").await;
    store.pay("bank:usd", "shop:usd", 1_250_075, "settlement-7").await;
}

async fn sagas(store: &Store) -> Sagas {
    store.campaign("noon", "Noon sale", Some(1_000)).await;
    store.issue("noon", "member-101").await;
    let campaign = store.app.shard().summary().campaign("noon").expect("it is there").no;
    let code = store.app.codes().code(CouponId::new(campaign, 1)).to_string();
    let checkout = |order: &'static str, member: &'static str, lines: &'static str, amount: &'static str| {
        let input = vec![
            ("member", member),
            ("lines", lines),
            ("amount", amount),
            ("currency", "KRW"),
            ("method", "tok_4242424242"),
        ];
        (order, input)
    };
    let begin =
        async |(order, input): (&str, Vec<(&str, &str)>)| store.begin("checkout", order, &input).await;

    let (order, mut input) = checkout("order-901", "member-101", "mug-white*2 tea-sejak-80g*1", "43800");
    input.extend([("coupon", code.as_str()), ("points", "1000")]);
    let completed = begin((order, input)).await;
    store.answer(completed, Settlement::NotSent("connection refused".into())).await;
    wait_for_ask(store, completed).await;
    store.answer(completed, done(&[("payment", "pay_70211")])).await;
    store.answer(completed, done(&[])).await;

    let awaiting = begin(checkout("order-902", "member-102", "mug-black*1", "14900")).await;
    let until = banyan_api::now().plus(Millis::from_seconds(900));
    let said = [("payment", "pay_70212"), ("redirect", "http://127.0.0.1:9000/pay/3f9a1c77e0b24d")];
    let said = said.iter().map(|(name, value)| (*name, *value)).collect();
    store.answer(awaiting, Settlement::Awaiting(said, until)).await;

    let unknown = begin(checkout("order-903", "member-103", "notebook-dot-a5*3", "26700")).await;
    store.answer(unknown, Settlement::Unknown("no answer in 10 s".into())).await;

    let compensated = begin(checkout("order-904", "member-104", "candle-pine*1", "19000")).await;
    store.answer(compensated, refused("declined")).await;

    let parked_back = begin(checkout("order-905", "member-105", "teapot-cast-iron*1", "189000")).await;
    store.answer(parked_back, done(&[("payment", "pay_70215")])).await;
    store.answer(parked_back, refused("authorization-expired")).await;
    store.answer(parked_back, refused("void-not-allowed")).await;

    let input = [("day", "2026-11-24"), ("address", "Seoul, Mapo-gu 12"), ("member", "member-101")];
    let parked_forward = store.begin("delivery", "order-901", &input).await;
    store.answer(parked_forward, done(&[("slot", "tue-pm-4")])).await;
    store.answer(parked_forward, done(&[("booking", "cj-55120")])).await;
    store.answer(parked_forward, refused("unknown-recipient")).await;

    Sagas { completed, awaiting, unknown, compensated, parked_back, parked_forward }
}

/// Waits until a saga asks again.
pub async fn wait_for_ask(store: &Store, saga: SagaNo) {
    for _ in 0..2_000 {
        let open = store.app.shard().read(move |state| state.sagas().saga(saga)?.open_ask());
        let open = open.expect("there is room").await.expect("it is seen");
        if open.is_some_and(|open| open.ask != Ask::Query) {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    panic!("saga {} does not ask again", saga.get());
}
