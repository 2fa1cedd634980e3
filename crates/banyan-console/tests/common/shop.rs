//! A shop on a busy morning: stock, books, prices, orders, and sagas in every state a page can show. Nobody answers for the payment company
//! but the test itself.

use super::Store;
use banyan_domain::order::{self, Cart, CartLine, Part, Product, Terms};
use banyan_domain::pay::{NewTransfer, Rule, Side, Transfers};
use banyan_domain::saga::{Ask, Fields, Settlement};
use banyan_domain::stock::{Configuration, Line, Lines};
use banyan_domain::{
    AccountId, Actor, Command, CouponId, Currency, LocationId, MemberId, Millis, Money, OrderId, OrderNo,
    Outcome, ProductId, Reason, Reference, SagaKey, SagaName, SagaNo, SkuId, pay, saga, stock,
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
    /// The order of `completed`.
    pub paid: OrderNo,
    /// The order of `awaiting`.
    pub waiting: OrderNo,
    /// The order of `compensated`.
    pub failed: OrderNo,
    /// The order of `parked_back`.
    pub parked: OrderNo,
    /// A paid order of which part came back.
    pub returned: OrderNo,
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
            holder: banyan_domain::Holder::Shop,
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

    /// Places an order of `lines`, each `PRODUCT*QUANTITY`, and gives it with its checkout.
    pub async fn place(
        &self,
        member: &str,
        lines: &str,
        coupon: Option<CouponId>,
        points: i64,
    ) -> (OrderNo, SagaNo) {
        let line = |text: &str| {
            let (product, quantity) = text.split_once('*').expect("PRODUCT*QUANTITY");
            let product = ProductId::new(product).expect("a product");
            CartLine { product, quantity: quantity.parse().expect("a number") }
        };
        let lines = lines.split(' ').map(line).collect();
        let cart = Cart { member: MemberId::new(member).expect("a member"), lines, coupon, points };
        let command = order::Command::Place {
            cart: Box::new(cart),
            method: "tok_4242424242".into(),
            return_url: "".into(),
            expect_total: None,
        };
        let order = match self.must(Command::Order(command)).await {
            Outcome::Order(order::Outcome::Order { order }) => order,
            other => panic!("an order is placed, not {other:?}"),
        };
        let saga = self.app.shard().read(move |state| state.orders().order(order).map(|order| order.saga));
        (order, saga.expect("there is room").await.expect("it is seen").expect("it is placed"))
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
            include_str!("../../../../examples/sagas/order-refund.toml"),
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
    prices(store).await;
    let sagas = sagas(store).await;
    store.settle().await;
    sagas
}

async fn prices(store: &Store) {
    let currency = Currency::new("KRW").expect("a currency");
    let terms =
        Terms { currency, shipping_fee: 3_000, free_shipping_from: Some(50_000), vat_basis_points: 1_000 };
    store.must(Command::Order(order::Command::SetTerms { terms, by: by() })).await;
    let product = |id: &str, minor: i64, parts: &[(&str, u32)], on_sale: bool| Product {
        id: ProductId::new(id).expect("a product"),
        price: Money { minor, currency },
        vat_basis_points: 1_000,
        parts: parts.iter().map(|(part, quantity)| Part { sku: sku(part), quantity: *quantity }).collect(),
        on_sale,
    };
    let products = vec![
        product("mug-white", 12_900, &[("mug-white", 1)], true),
        product("mug-black", 14_900, &[("mug-black", 1)], true),
        product("teapot-cast-iron", 189_000, &[("teapot-cast-iron", 1)], true),
        product("tea-sejak-80g", 18_000, &[("tea-sejak-80g", 1)], true),
        product(
            "tea-for-two",
            219_000,
            &[("teapot-cast-iron", 1), ("mug-white", 2), ("tea-sejak-80g", 1)],
            true,
        ),
        product("candle-pine", 19_000, &[("candle-pine", 1)], true),
        product("notebook-dot-a5", 8_900, &[("notebook-dot-a5", 1)], true),
        product("poster-hangang", 24_000, &[("poster-hangang", 1)], true),
        product("linen-apron", 39_000, &[("linen-apron", 1)], false),
    ];
    store.must(Command::Order(order::Command::SetProducts { products, by: by() })).await;
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

    let coupon = Some(CouponId::new(campaign, 1));
    let (paid, completed) = store.place("member-101", "mug-white*2 tea-sejak-80g*1", coupon, 1_000).await;
    store.answer(completed, Settlement::NotSent("connection refused".into())).await;
    wait_for_ask(store, completed).await;
    store.answer(completed, done(&[("payment", "pay_70211")])).await;
    store.answer(completed, done(&[])).await;

    let (waiting, awaiting) = store.place("member-102", "mug-black*1", None, 0).await;
    let until = banyan_api::now().plus(Millis::from_seconds(900));
    let said = [("payment", "pay_70212"), ("redirect", "http://127.0.0.1:9000/pay/3f9a1c77e0b24d")];
    let said = said.iter().map(|(name, value)| (*name, *value)).collect();
    store.answer(awaiting, Settlement::Awaiting(said, until)).await;

    let (_, unknown) = store.place("member-103", "notebook-dot-a5*3", None, 0).await;
    store.answer(unknown, Settlement::Unknown("no answer in 10 s".into())).await;

    let (failed, compensated) = store.place("member-104", "candle-pine*1", None, 0).await;
    store.answer(compensated, refused("declined")).await;

    let (parked, parked_back) = store.place("member-105", "teapot-cast-iron*1", None, 0).await;
    store.answer(parked_back, done(&[("payment", "pay_70215")])).await;
    store.answer(parked_back, refused("authorization-expired")).await;
    store.answer(parked_back, refused("void-not-allowed")).await;

    let input = [("day", "2026-11-24"), ("address", "Seoul, Mapo-gu 12"), ("member", "member-101")];
    let parked_forward = store.begin("delivery", &paid.to_string(), &input).await;
    store.answer(parked_forward, done(&[("slot", "tue-pm-4")])).await;
    store.answer(parked_forward, done(&[("booking", "cj-55120")])).await;
    store.answer(parked_forward, refused("unknown-recipient")).await;

    let (returned, saga) = store.place("member-100", "tea-for-two*1 notebook-dot-a5*2", None, 0).await;
    store.answer(saga, done(&[("payment", "pay_70217")])).await;
    store.answer(saga, done(&[])).await;
    let lines =
        vec![CartLine { product: ProductId::new("notebook-dot-a5").expect("a product"), quantity: 1 }];
    let back = reason("one has a torn cover");
    store
        .must(Command::Order(order::Command::Return { order: returned, lines, by: by(), reason: back }))
        .await;
    let refund =
        store.app.shard().read(move |state| Some(state.orders().order(returned)?.refunds.last()?.saga));
    let refund = refund.expect("there is room").await.expect("it is seen").expect("it is under way");
    store.answer(refund, done(&[])).await;

    Sagas {
        completed,
        awaiting,
        unknown,
        compensated,
        parked_back,
        parked_forward,
        paid,
        waiting,
        failed,
        parked,
        returned,
    }
}

/// Waits until a saga asks again.
pub async fn wait_for_ask(store: &Store, saga: SagaNo) {
    for _ in 0..2_000 {
        let open = store.app.shard().read(move |state| state.sagas().saga(saga)?.open_ask());
        let open = open.expect("there is room").await.expect("it is seen");
        if open.is_some_and(|open| open.ask != Ask::Query) {
            return;
        }
        // Between two looks; what is waited for is that the saga asks.
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    panic!("saga {} does not ask again", saga.get());
}
