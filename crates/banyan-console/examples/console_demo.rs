//! The console on a sale that is under way: `cargo run --release -p banyan-console --example console_demo -- [empty|shop|sale|big|front|over]`.
//!
//! Starts a real shard in a temporary folder, issues and refuses coupons as long as it runs, and prints where to look and
//! the key to sign in with. `big` begins with 2,000 campaigns and 100,000 events, `empty` with nothing and stays so;
//! `shop` has stock, books and sagas in every state, and stands still; `front` has a gateway with a visitor now and then,
//! `over` a keeper of an old shop that mirrors.

#[path = "../tests/common/mod.rs"]
mod common;

use banyan_domain::coupon::{self, Benefit};
use banyan_domain::legacy::Phase;
use banyan_domain::{Actor, Command, CouponId, Currency, Millis, Money, OrderId};
use banyan_gateway::Change;
use banyan_gateway::groups::Judgement;
use common::front::Front;
use common::old_shop;
use common::{Browser, Store, definition};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

#[tokio::main]
async fn main() {
    let scale = std::env::args().nth(1).unwrap_or_else(|| "sale".into());
    let store = Arc::new(Store::open());
    let front = if scale == "front" { Some(Front::open().await) } else { None };
    let console = front.as_ref().map_or_else(|| store.console(), |front| front.console(&store));
    let session = Browser::signed_in(console.clone(), &store.operator).await.session();
    let address = store.serve(console, session).await;
    match scale.as_str() {
        "empty" => {}
        "front" => {}
        "over" => mirror(&store).await,
        "shop" => {
            common::shop::open(&store).await;
        }
        scale => prepare(&store, scale == "big").await,
    }
    println!("console   {address}/console");
    println!("enter     {address}/enter?to=/console");
    println!("operator  {}", store.operator);
    println!("auditor   {}", store.auditor);
    if let Some(front) = front {
        walk(&front).await;
    }
    if ["empty", "shop", "over"].contains(&scale.as_str()) {
        std::future::pending::<()>().await;
    }
    sell(store).await;
}

/// Visitors of the gateway, and somebody who works on it.
async fn walk(front: &Front) {
    let gateway = &front.gateway;
    let prices = |percent| Change::SetPercent { route: "prices".into(), percent };
    for (percent, why) in
        [(1.0, "a first look"), (5.0, "an hour without errors"), (12.5, "a day without errors")]
    {
        gateway.change(gateway.table().version(), prices(percent), "mina", why).expect("it takes it");
    }
    front.visit().await;
    let group = gateway.groups("catalog").expect("the route").pop().expect("a mismatch").id;
    gateway.judge("catalog", &group, Judgement::Bug, "mina", "ticket 4711").expect("it is judged");
    for n in 0_u64.. {
        for path in ["/api/catalog/mug", "/api/catalog/tea", "/api/prices/mug", "/basket", "/", "/about"] {
            front.ask(path, &format!("member-{}", n % 997)).await;
        }
    }
}

/// An old shop that is mirrored, with everything that can be told of it.
async fn mirror(store: &Store) {
    let (keeper, shop) = old_shop::keep(store);
    shop.is_used_by(
        "oscar",
        "select num_in_stock, num_allocated from partner_stockrecord where product_id = $1",
        8_214,
    );
    shop.is_used_by("reports", "select sum(num_in_stock) from partner_stockrecord group by partner_id", 31);
    let by = || Actor::new("mina").expect("a name");
    for (to, why) in [(Phase::Mirror, "the team agreed"), (Phase::Lead, "equal for a week")] {
        while let Err(error) = keeper.begin(to, by(), why, &[]).await {
            println!("not yet: {error}");
            // A condition is looked at again; nobody tells it.
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        while keeper.status().await.expect("it runs").state.phase != to {
            // A condition is looked at again; nobody tells it.
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
    // Somebody writes past Banyan.
    shop.puts([("mug-white", 3, 3)]);
    store.reserve("mug-white", 2, "member-1", "order-1").await;
}

async fn prepare(store: &Store, big: bool) {
    let now = banyan_api::now();
    if big {
        for n in 0..1_994 {
            store.campaign(&format!("spring-{n:04}"), &format!("Spring week {n}"), Some(1_000)).await;
            if n % 3 > 0 {
                store.change(&format!("spring-{n:04}"), "season is over", |change| change.end = true).await;
            }
        }
        store.campaign("archive", "Members' day", None).await;
        for n in 0..12 {
            store.issue_many("archive", n * 8_000..(n + 1) * 8_000).await;
        }
    }
    let mut noon = definition("noon", "Black Friday noon: 5,000 won off", Some(300_000));
    noon.ends_at = Some(now.plus(Millis::from_seconds(5_400)));
    store.define(noon).await;
    let mut shipping = definition("shipping", "Free shipping all weekend", None);
    shipping.benefit = Benefit::FreeShipping;
    shipping.minimum_order = None;
    store.define(shipping).await;
    let mut gold = definition("gold-15", "Gold members: 15 % off", Some(20_000));
    let currency = Currency::new("KRW").expect("a currency");
    gold.benefit = Benefit::Percent { basis_points: 1_500, cap: Some(Money { minor: 30_000, currency }) };
    store.define(gold).await;
    store.campaign("flash-100", "Flash: first hundred", Some(100)).await;
    let mut evening = definition("evening", "Evening sale", Some(50_000));
    evening.starts_at = Some(now.plus(Millis::from_seconds(6 * 3_600)));
    store.define(evening).await;
    store.campaign("review", "Thank you for your review", Some(5_000)).await;
    store.change("review", "reviews import runs late", |change| change.paused = Some(true)).await;
}

/// A wave of members, some who come again, some who come too late; now and then an order.
async fn sell(store: Arc<Store>) {
    let next = Arc::new(AtomicU64::new(0));
    for worker in 0..160_u64 {
        let (store, next) = (store.clone(), next.clone());
        tokio::spawn(async move {
            loop {
                let n = next.fetch_add(1, Ordering::Relaxed);
                let (id, member) = match n % 20 {
                    0..9 => ("noon", format!("member-{n}")),
                    9 => ("noon", format!("member-{}", n.saturating_sub(50_000) / 20 * 20)),
                    10..14 => ("shipping", format!("member-{n}")),
                    14..16 => ("gold-15", format!("member-{n}")),
                    16..18 => ("flash-100", format!("member-{n}")),
                    18 => ("review", format!("member-{n}")),
                    _ => ("evening", format!("member-{n}")),
                };
                store.issue(id, &member).await;
                if n % 40 == 1 {
                    redeem(&store, n / 40 + 1).await;
                }
                let wave =
                    1.0 + 0.7 * ((n as f64) / 40_000.0).sin() + if n % 150_000 < 12_000 { -0.6 } else { 0.0 };
                tokio::time::sleep(Duration::from_micros((16_000.0 / wave.max(0.2)) as u64 + worker * 20))
                    .await;
            }
        });
    }
    let mut timer = tokio::time::interval(Duration::from_secs(45));
    for round in 0_u64.. {
        timer.tick().await;
        match round % 4 {
            1 => {
                store
                    .change("gold-15", "payment provider is slow", |change| change.paused = Some(true))
                    .await;
            }
            2 => store.change("gold-15", "payments are back", |change| change.paused = Some(false)).await,
            3 => {
                store
                    .change("noon", "demand is high", |change| {
                        change.quantity = Some(300_000 + round * 10_000);
                    })
                    .await;
            }
            _ => {}
        }
    }
}

async fn redeem(store: &Store, n: u64) {
    let summary = store.app.shard().summary();
    let Some(noon) = summary.campaign("noon").filter(|noon| n <= noon.totals.issued) else { return };
    let (coupon, order) = (CouponId::new(noon.no, n), OrderId::new(format!("order-{n}")).expect("an order"));
    let command = match n % 3 {
        0 => coupon::Command::HoldCoupon { coupon, owner: None, order, hold_for: Millis::from_seconds(900) },
        _ => coupon::Command::RedeemCoupon { coupon, owner: None, order },
    };
    // A coupon that was taken already is a refusal like any other.
    let _shown_as_refused = store.app.ask(Command::Coupon(command), None).await;
}
