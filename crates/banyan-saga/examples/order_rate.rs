//! How fast the rules of a whole checkout are: `cargo run --release -p banyan-saga --example order_rate [ORDERS]`. Each order
//! has one line of 1,000 products, a coupon and points, and goes through the example checkout with a company that says yes at
//! once: decide, apply, advance and encode, no log and no HTTP. Times are this process's own CPU time.

use banyan_domain::coupon::{Audience, Benefit, CampaignDefinition, Stacking};
use banyan_domain::order::{self, Cart, CartLine, Part, Product, Terms};
use banyan_domain::pay::{NewTransfer, Rule, Side, Transfers};
use banyan_domain::saga::{Fields, Settlement};
use banyan_domain::{
    AccountId, Actor, CampaignId, Command, CouponId, Currency, Decision, Entry, Event, LocationId, MemberId,
    Money, Outcome, ProductId, Reason, Reference, SagaNo, SkuId, State, StoreSecret, Timestamp, codec,
    coupon, pay, saga, stock,
};
use banyan_saga::read_definition;

/// As in the server.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const CHECKOUT: &str = include_str!("../../../examples/sagas/checkout.toml");
const PRODUCTS: u64 = 1_000;
const BLOCK: u64 = 256;

struct Shop {
    state: State,
    body: Vec<u8>,
    events: u64,
    bytes: u64,
}

impl Shop {
    fn ask(&mut self, command: impl Into<Command>) -> Option<Outcome> {
        let events = match self.state.decide(command.into(), None) {
            Ok(Decision::One(event)) => vec![event],
            Ok(Decision::Many(events)) => events,
            other => panic!("nothing here is refused or repeated: {other:?}"),
        };
        let mut outcome = None;
        for event in events {
            outcome = self.apply(event);
        }
        while let Some(mut advance) = self.state.advance() {
            let mut outcome = None;
            for event in std::mem::take(&mut advance.events) {
                outcome = self.apply(event);
            }
            if let Some(settled) = advance.settled(outcome) {
                self.apply(settled);
            }
        }
        outcome
    }

    fn apply(&mut self, event: Event) -> Option<Outcome> {
        let entry = Entry { event, stamp: None };
        self.state.apply(&entry).expect("a decided event applies");
        codec::encode(&entry, &mut self.body);
        self.events += 1;
        self.state.outcome(&entry.event)
    }

    fn end_block(&mut self, millis: u64) {
        self.bytes += self.body.len() as u64;
        self.body.clear();
        self.state.begin_block(Timestamp::from_millis(millis));
    }

    /// The company answers what the sagas `first` and on ask it, as the executor would hear of it.
    fn company_answers(&mut self, first: u64) {
        let answer: Fields = [("payment", "pay-0123456789")].into_iter().collect();
        for no in first..=self.state.sagas().started() {
            let saga = self.state.sagas().saga(SagaNo::new(no)).expect("it began just now");
            let open = saga.open_ask().expect("it asks the company");
            let (saga, step, ask, attempt) = (open.saga, open.step, open.ask, open.attempt);
            self.state.sagas().request(self.state.keys(), open).expect("it is open");
            let result = Settlement::Done(answer.clone());
            self.ask(saga::Command::Settle { saga, step, ask, attempt, result });
        }
    }
}

fn main() {
    let orders: u64 = std::env::args().nth(1).map_or(100_000, |arg| arg.parse().expect("a number"));
    let mut shop =
        Shop { state: State::new(StoreSecret::new([3; 32])), body: Vec::new(), events: 0, bytes: 0 };
    let coupons = prepare(&mut shop, orders);
    (shop.events, shop.bytes) = (0, 0);
    shop.body.clear();
    let memory = resident_bytes();
    let began = cpu_seconds();
    for block in 0..orders.div_ceil(BLOCK) {
        shop.end_block(10_000 + block * 10);
        for n in block * BLOCK..((block + 1) * BLOCK).min(orders) {
            let line = CartLine { product: product(n % PRODUCTS), quantity: 1 };
            let coupon = Some(coupons[n as usize]);
            let cart = Box::new(Cart { member: member(n), lines: vec![line], coupon, points: 100 });
            let (method, return_url, expect_total) = ("tok_ok".into(), "".into(), Some(7_900));
            shop.ask(order::Command::Place { cart, method, return_url, expect_total });
        }
        shop.company_answers(block * BLOCK + 1);
        shop.company_answers(block * BLOCK + 1);
    }
    let took = cpu_seconds() - began;
    let paid = shop.state.orders().orders().filter(|order| order.payment.is_some()).count();
    assert_eq!(paid as u64, orders, "every order is paid");
    println!(
        "{orders} orders in {took:.2} s: {:.0} orders/s, {:.1} us, {:.1} events and {:.0} bytes an order in the log, {:.0} in memory",
        orders as f64 / took,
        took * 1e6 / orders as f64,
        shop.events as f64 / orders as f64,
        shop.bytes as f64 / orders as f64,
        (resident_bytes() - memory) as f64 / orders as f64,
    );
}

/// What this process has used of the processor so far, in seconds.
fn cpu_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/schedstat").expect("Linux says");
    let nanos = stat.split(' ').next().and_then(|nanos| nanos.parse::<f64>().ok()).expect("a number");
    nanos / 1e9
}

/// Memory of this process, in bytes.
fn resident_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/statm").expect("Linux says");
    let pages = status.split(' ').nth(1).and_then(|pages| pages.parse::<u64>().ok()).expect("a number");
    pages * 4_096
}

fn actor() -> Actor {
    Actor::new("ops").expect("valid")
}

fn member(n: u64) -> MemberId {
    MemberId::new(format!("member-{n}")).expect("valid")
}

fn product(n: u64) -> ProductId {
    ProductId::new(format!("product-{n}")).expect("valid")
}

/// A price list, goods, a coupon and points for every member.
fn prepare(shop: &mut Shop, orders: u64) -> Vec<CouponId> {
    shop.state.begin_block(Timestamp::from_millis(1_000));
    let krw = Currency::new("KRW").expect("valid");
    let definition = Box::new(read_definition(CHECKOUT).expect("it can be read"));
    shop.ask(saga::Command::Define { definition, by: actor() });
    let terms =
        Terms { currency: krw, shipping_fee: 3_000, free_shipping_from: None, vat_basis_points: 1_000 };
    shop.ask(order::Command::SetTerms { terms, by: actor() });
    let products = (0..PRODUCTS).map(|n| Product {
        id: product(n),
        price: Money { minor: 10_000, currency: krw },
        vat_basis_points: 1_000,
        parts: vec![Part { sku: SkuId::new(product(n).as_str()).expect("valid"), quantity: 1 }],
        on_sale: true,
    });
    shop.ask(order::Command::SetProducts { products: products.collect(), by: actor() });
    for n in 0..PRODUCTS {
        let (sku, location) =
            (SkuId::new(product(n).as_str()).expect("valid"), LocationId::new("main").expect("valid"));
        let (by, reason) = (actor(), Reason::new("count").expect("valid"));
        shop.ask(stock::Command::SetStock { sku, location, on_hand: 1_000_000, by, reason });
    }
    let definition = Box::new(CampaignDefinition {
        id: CampaignId::new("noon").expect("valid"),
        name: "Noon".into(),
        quantity: None,
        per_member: 1,
        benefit: Benefit::Amount(Money { minor: 5_000, currency: krw }),
        minimum_order: None,
        starts_at: None,
        ends_at: None,
        audience: Audience::Everyone,
        valid_for: None,
        stacking: Stacking::Exclusive,
    });
    shop.ask(coupon::Command::CreateCampaign { definition, by: actor() });
    let points = Currency::new("PTS").expect("valid");
    let account = |id: String| AccountId::new(id).expect("valid");
    let each = (0..orders).map(|n| {
        let campaign = CampaignId::new("noon").expect("valid");
        let issue = coupon::Command::IssueCoupon { campaign, member: member(n), segments: Box::new([]) };
        let Some(Outcome::Coupon(coupon::Outcome::Coupon(answer))) = shop.ask(issue) else {
            panic!("a coupon was issued")
        };
        let grant = NewTransfer::Post {
            debit: account("shop:points".into()).into(),
            credit: Side {
                account: account(format!("points:{}", member(n))),
                open_if_missing: Some((points, Rule::DebitsWithinCredits)),
            },
            amount: 100,
            refundable: false,
        };
        let (transfers, reference) = (Transfers::one(grant), Reference::new("welcome").expect("valid"));
        shop.ask(pay::Command::Transfer { transfers, reference, by: actor() });
        answer.coupon
    });
    each.collect()
}
