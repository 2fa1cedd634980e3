//! Stock, the ledger and sagas in the console: what the pages show, and what their forms change.

mod common;

use banyan_domain::saga::Settlement;
use banyan_domain::stock::Level;
use banyan_domain::{Actor, Command, LocationId, OrderNo, SagaNo, SkuId, stock};
use common::shop::{self, done};
use common::{Browser, Page, Store};
use http::StatusCode;

const PAGES: [&str; 9] = [
    "/console/orders",
    "/console/orders?state=paid&q=member-101",
    "/console/products",
    "/console/stock",
    "/console/ledger",
    "/console/sagas",
    "/console/sagas?state=parked",
    "/console/sagas?state=completed&q=o-1",
    "/console/sagas/definitions",
];

async fn operator(store: &Store) -> Browser {
    Browser::signed_in(store.console(), &store.operator).await
}

async fn level(store: &Store, sku: &str, location: &str) -> Level {
    let (sku, location) = (SkuId::new(sku).expect("a SKU"), LocationId::new(location).expect("a location"));
    let seen = store.app.shard().read(move |state| {
        let stock = state.stock();
        stock.find(&sku, &location).and_then(|item| stock.item(item)).map(|item| *item.level)
    });
    seen.expect("there is room").await.expect("it is seen").expect("the item is there")
}

async fn is_parked(store: &Store, saga: SagaNo) -> bool {
    let seen = store
        .app
        .shard()
        .read(move |state| state.sagas().saga(saga).is_some_and(|saga| saga.parked.is_some()));
    seen.expect("there is room").await.expect("it is seen")
}

/// What the page itself says, without what every page has.
fn main(page: &Page) -> &str {
    page.body.split("<main").nth(1).unwrap_or(&page.body)
}

/// The value of the first hidden field `once` after `mark`.
fn once(page: &Page, mark: &str) -> String {
    let from = page.body.find(mark).expect("the form is there");
    let field = "name=\"once\" value=\"";
    let at = page.body[from..].find(field).expect("the form has the field") + from + field.len();
    page.body[at..].chars().take_while(|c| *c != '"').collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_page_renders_empty_and_full_in_both_languages_for_both_roles() {
    let store = Store::open();
    let mut browser = operator(&store).await;
    for path in PAGES {
        let page = browser.get(path).await;
        assert_eq!(page.status, StatusCode::OK, "{path}: {}", main(&page));
    }
    assert!(
        browser.get("/console/stock").await.body.contains("banyan stock import"),
        "an empty page teaches"
    );
    assert!(browser.get("/console/sagas").await.body.contains("banyan saga define"));
    assert!(browser.get("/console/ledger").await.body.contains("/v1/ledger/accounts"));

    let sagas = shop::open(&store).await;
    let own = [
        "/console/stock/mug-white".to_owned(),
        "/console/ledger/points%3Amember-101".into(),
        "/console/sagas/definitions/checkout".into(),
        format!("/console/sagas/{}", sagas.completed.get()),
        format!("/console/sagas/{}", sagas.awaiting.get()),
        format!("/console/sagas/{}", sagas.unknown.get()),
        format!("/console/sagas/{}", sagas.compensated.get()),
        format!("/console/sagas/{}", sagas.parked_back.get()),
        format!("/console/sagas/{}", sagas.parked_forward.get()),
        format!("/console/orders/{}", sagas.paid),
        format!("/console/orders/{}", sagas.waiting),
        format!("/console/orders/{}", sagas.failed),
        format!("/console/orders/{}", sagas.parked),
        format!("/console/orders/{}", sagas.returned),
        "/console/sagas/definitions/order-refund".into(),
        "/console/events?type=saga-step-settled".into(),
    ];
    for key in [&store.operator, &store.auditor] {
        let mut browser = Browser::signed_in(store.console(), key).await;
        for lang in ["en", "ko"] {
            browser.get(&format!("/console/language/{lang}?back=/console")).await;
            for path in PAGES.into_iter().chain(own.iter().map(String::as_str)) {
                let page = browser.get(path).await;
                assert_eq!(page.status, StatusCode::OK, "{path}: {}", main(&page));
                assert!(page.body.contains(&format!("<html lang=\"{lang}\"")), "{path}");
                assert!(!page.body.contains("style=\"") && !page.body.contains("onclick"), "{path}");
                assert!(
                    key == &store.operator || !page.body.contains("/change\""),
                    "{path} offers a form to an auditor"
                );
            }
        }
    }
    for path in [
        "/console/stock/nothing",
        "/console/stock/a%20b",
        "/console/items/999",
        "/console/items/x",
        "/console/ledger/nobody",
        "/console/accounts/999",
        "/console/sagas/0",
        "/console/sagas/999",
        "/console/sagas/x",
        "/console/sagas/definitions/none",
        "/console/orders/o-999",
        "/console/orders/o-01",
        "/console/orders/x",
    ] {
        assert_eq!(browser.get(path).await.status, StatusCode::NOT_FOUND, "{path}");
    }
    assert_eq!(browser.get("/console/items/1").await.location(), "/console/stock/mug-white");
    assert_eq!(browser.get("/console/accounts/1").await.location(), "/console/ledger/company%3Areceivable");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_lowest_stock_stands_first_and_filters_are_in_the_address() {
    let store = Store::open();
    shop::open(&store).await;
    for n in 0..60 {
        store.stock(&format!("filler-{n:02}"), "main", 5_000 + n).await;
    }
    let mut browser = operator(&store).await;
    let page = browser.get("/console/stock").await;
    let places =
        ["linen-apron", "poster-hangang", "candle-fig", "tea-hwangcha-60g", "blanket-wool", "mug-white"].map(
            |sku| {
                page.body
                    .find(&format!("/console/stock/{sku}\""))
                    .unwrap_or_else(|| panic!("{sku} is listed"))
            },
        );
    assert!(places.is_sorted(), "{places:?}");
    assert!(!page.body.contains("filler-59"), "50 of them");
    let more = page.body.split("rel=\"next\" href=\"").nth(1).expect("a next page").split('"').next();
    let next = browser.get(&more.expect("an address").replace("&amp;", "&")).await;
    assert!(next.body.contains("filler-59") && !next.body.contains("/console/stock/candle-fig\""));

    let low = browser.get("/console/stock?state=low").await;
    assert!(
        low.body.contains("/console/stock/candle-fig\"")
            && !low.body.contains("/console/stock/poster-hangang\"")
    );
    let waiting = browser.get("/console/stock?state=waiting").await;
    assert!(
        waiting.body.contains("/console/stock/linen-apron\"")
            && !waiting.body.contains("/console/stock/mug-white\"")
    );
    let found = browser.get("/console/stock?q=TEAPOT").await;
    assert!(
        found.body.contains("/console/stock/teapot-cast-iron\"")
            && !found.body.contains("/console/stock/mug-white\"")
    );
    assert!(browser.get("/console/stock?q=nothing-like-it").await.body.contains("No SKU fits"));
}

#[tokio::test(flavor = "multi_thread")]
async fn many_thousand_skus_are_looked_through_in_pieces_and_the_page_says_so() {
    let store = Store::open();
    for piece in 0..3_u32 {
        let row = |n: u32| stock::ImportRow {
            sku: SkuId::new(format!("sku-{n:05}")).expect("a SKU"),
            location: LocationId::new("main").expect("a location"),
            on_hand: 100_000 - n,
        };
        let rows = (piece * 7_000..(piece + 1) * 7_000).map(row).collect();
        let by = Actor::new("mina").expect("an actor");
        store.must(Command::Stock(stock::Command::ImportStock { rows, by })).await;
    }
    let mut browser = operator(&store).await;
    let page = browser.get("/console/stock").await;
    assert!(page.body.contains("Look further") && page.body.contains("Looked at 20,000"), "{}", main(&page));
    assert!(page.body.contains("/console/stock/sku-19999\""), "the lowest of those looked at");
    let rest = browser.get("/console/stock?from=20001").await;
    assert!(
        rest.body.contains("/console/stock/sku-20999\"") && !rest.body.contains("Look further"),
        "{}",
        main(&rest)
    );
    let found = browser.get("/console/stock?q=sku-20500").await;
    assert!(
        found.body.contains("/console/stock/sku-20500\""),
        "what is typed whole is found wherever it stands"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sku_shows_who_reserved_it_and_is_counted_received_and_corrected_with_a_reason() {
    let store = Store::open();
    shop::open(&store).await;
    let mut browser = operator(&store).await;
    let page = browser.get("/console/stock/mug-white").await;
    for word in
        ["member-100", "order-908", "seoul-1", "broken in the store room", ">received</a>", "+120", "sold"]
    {
        assert!(page.body.contains(word), "{word}: {}", main(&page));
    }
    let csrf = page.csrf();
    let before = level(&store, "mug-white", "main").await;
    let change = "/console/stock/mug-white/change";
    let token = once(&page, "value=\"receive\"");
    let fields = |reason: &'static str| {
        vec![
            ("csrf", csrf.as_str()),
            ("action", "receive"),
            ("location", "main"),
            ("units", "1,000"),
            ("once", token.as_str()),
            ("reason", reason),
        ]
    };
    let silent = browser.post(change, &fields("")).await;
    assert_eq!(silent.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(
        silent.body.contains("Say why") && silent.body.contains("value=\"1,000\""),
        "what was typed stays"
    );
    assert_eq!(level(&store, "mug-white", "main").await, before);

    let done = browser.post(change, &fields("truck 12")).await;
    assert_eq!(done.status, StatusCode::SEE_OTHER, "{}", main(&done));
    let again = browser.post(change, &fields("truck 12")).await;
    assert_eq!(again.location(), done.location(), "sent twice, it is carried out once");
    assert_eq!(level(&store, "mug-white", "main").await.on_hand, before.on_hand + 1_000);
    let page = browser.get(done.location()).await;
    assert!(page.body.contains("It became") && page.body.contains("truck 12"));
    // An address cannot claim what did not happen.
    assert!(!browser.get("/console/stock/mug-white?done=4").await.body.contains("It became"));

    let page = browser.get("/console/stock/mug-white").await;
    let adjust = once(&page, "value=\"adjust\"");
    let fields = |units: &'static str| {
        [
            ("csrf", csrf.as_str()),
            ("action", "adjust"),
            ("location", "main"),
            ("units", units),
            ("once", adjust.as_str()),
            ("reason", "broken"),
        ]
    };
    for units in ["0", "many", ""] {
        assert_eq!(
            browser.post(change, &fields(units)).await.status,
            StatusCode::UNPROCESSABLE_ENTITY,
            "{units}"
        );
    }
    let below = browser.post(change, &fields("-999999")).await;
    assert_eq!(below.status, StatusCode::UNPROCESSABLE_ENTITY, "{}", main(&below));
    assert!(below.body.contains("than are held for reservations"));
    assert_eq!(browser.post(change, &fields("-5")).await.status, StatusCode::SEE_OTHER);
    assert_eq!(level(&store, "mug-white", "main").await.on_hand, before.on_hand + 995);

    let page = browser.get("/console/stock").await;
    let new = once(&page, "value=\"new\"");
    let fields = |sku: &'static str| {
        [
            ("csrf", csrf.as_str()),
            ("action", "new"),
            ("sku", sku),
            ("location", "main"),
            ("units", "12"),
            ("once", new.as_str()),
            ("reason", "first delivery"),
        ]
    };
    assert_eq!(
        browser.post("/console/stock", &fields("two words")).await.status,
        StatusCode::UNPROCESSABLE_ENTITY
    );
    let made = browser.post("/console/stock", &fields("lamp")).await;
    assert!(made.location().starts_with("/console/stock/lamp?done="), "{}", main(&made));
    assert_eq!(level(&store, "lamp", "main").await.on_hand, 12);
    let bare =
        [("csrf", csrf.as_str()), ("action", "count"), ("location", "main"), ("units", "1"), ("reason", "x")];
    assert_eq!(
        browser.post(change, &bare).await.status,
        StatusCode::BAD_REQUEST,
        "goods move under a key only"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_books_are_shown_balanced_and_an_account_with_its_transfers() {
    let store = Store::open();
    shop::open(&store).await;
    let mut browser = operator(&store).await;
    let page = browser.get("/console/ledger").await;
    assert_eq!(
        page.body.matches("Debits equal credits").count(),
        3,
        "a mark for each currency: {}",
        page.body
    );
    assert!(page.body.contains("banyan ledger trial-balance") && page.body.contains("12,500.75"));
    assert!(page.body.contains("22,750"), "points have no decimals");
    let usd = browser.get("/console/ledger?state=USD").await;
    assert!(usd.body.contains("bank%3Ausd") && !usd.body.contains("/console/ledger/shop%3Asales\""));
    let found = browser.get("/console/ledger?q=member-10").await;
    assert!(
        found.body.contains("points%3Amember-103") && !found.body.contains("/console/ledger/shop%3Asales\"")
    );
    assert!(browser.get("/console/ledger?q=nobody").await.body.contains("No account fits"));
    let account = browser.get("/console/ledger/points%3Amember-101").await;
    for word in
        ["2,250 PTS", "shop:points", "captured", "(captured)", "Balance after", "welcome", "what we owe"]
    {
        assert!(account.body.contains(word), "{word}: {}", main(&account));
    }
    for n in 0..70 {
        store.account(&format!("filler:{n:03}"), "KRW", banyan_domain::pay::Rule::Free).await;
    }
    let first = browser.get("/console/ledger").await;
    assert!(!first.body.contains("filler%3A069"));
    let next = browser.get("/console/ledger?after=50").await;
    assert!(next.body.contains("filler%3A069") && !next.body.contains("/console/ledger/shop%3Asales\""));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sagas_timeline_tells_tries_lanes_and_waits_and_keeps_secrets() {
    let store = Store::open();
    let sagas = shop::open(&store).await;
    let mut browser = operator(&store).await;
    let page = browser.get(&format!("/console/sagas/{}", sagas.completed.get())).await;
    for word in
        ["certainly not sent", "connection refused", "try 2", "pay_70211", "point of no return", "completed"]
    {
        assert!(page.body.contains(word), "{word}: {}", main(&page));
    }
    let campaign = store.app.shard().summary().campaign("noon").expect("it is there").no;
    let code = store.app.codes().code(banyan_domain::CouponId::new(campaign, 1)).to_string();
    let started =
        page.body.split("/console/events/").nth(1).and_then(|rest| rest.split('"').next()).expect("an event");
    let event = browser.get(&format!("/console/events/{started}")).await;
    assert!(event.body.contains("saga-started"), "{}", main(&event));
    for body in [&page.body, &event.body] {
        assert!(
            !body.contains(&code) && !body.contains("tok_4242424242"),
            "codes and tokens are shown in part"
        );
        assert!(body.contains("tok_····"));
    }
    let awaiting = browser.get(&format!("/console/sagas/{}", sagas.awaiting.get())).await;
    assert!(
        awaiting.body.contains("waits for somebody") && awaiting.body.contains("http://127.0.0.1:9000/…")
    );
    assert!(!awaiting.body.contains("3f9a1c77e0b24d"), "the address of a card page is a key to it");
    let unknown = browser.get(&format!("/console/sagas/{}", sagas.unknown.get())).await;
    assert!(unknown.body.contains("outcome unknown") && unknown.body.contains("no answer in 10 s"));
    let undone = browser.get(&format!("/console/sagas/{}", sagas.compensated.get())).await;
    assert!(
        undone.body.contains("turned back")
            && undone.body.contains("declined")
            && undone.body.contains("everything undone")
    );
    let parked = browser.get(&format!("/console/sagas/{}", sagas.parked_back.get())).await;
    assert!(parked.body.contains("Parked at authorize") && parked.body.contains("189,000 KRW"));
    assert!(!parked.body.contains("value=\"undo\""), "it is on its way back already");
    let forward = browser.get(&format!("/console/sagas/{}", sagas.parked_forward.get())).await;
    assert!(forward.body.contains("value=\"undo\"") && forward.body.contains("unknown-recipient"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_saga_whose_beginning_lies_far_back_is_told_from_the_record_store() {
    let store = Store::open();
    let sagas = shop::open(&store).await;
    let mut browser = operator(&store).await;
    let all = [sagas.completed, sagas.awaiting, sagas.compensated, sagas.parked_back, sagas.parked_forward];
    let mut near = Vec::new();
    for saga in all {
        near.push(timeline(&browser.get(&format!("/console/sagas/{}", saga.get())).await));
    }
    store.campaign("rush", "Rush", None).await;
    for n in 0..13 {
        store.issue_many("rush", n * 8_000..(n + 1) * 8_000).await;
    }
    store.settle().await;
    for (saga, near) in all.into_iter().zip(near) {
        let page = browser.get(&format!("/console/sagas/{}", saga.get())).await;
        assert_eq!(timeline(&page), near, "log and record store tell the same of saga {}", saga.get());
    }
}

/// The words of a timeline, without addresses of events and relative times: log and record store must agree on the rest.
fn timeline(page: &Page) -> Vec<String> {
    let list = page.body.split("<ol class=\"timeline\">").nth(1).expect("a timeline");
    let list = list.split("</ol>").next().unwrap_or_default();
    let words = |line: &str| {
        let what = line.split("<div class=\"what\">").nth(1).unwrap_or_default();
        // Until when somebody is waited for, only the log says.
        let what = what.split(" <span class=\"hint\">until").next().unwrap_or_default();
        let plain = what.split('<').filter_map(|part| part.split_once('>')).map(|(_, text)| text);
        what.split('<').take(1).chain(plain).collect::<String>()
    };
    list.split("<li ").skip(1).map(words).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn parked_sagas_are_listed_by_age_and_money_and_decided_with_a_reason() {
    let store = Store::open();
    let sagas = shop::open(&store).await;
    let input = [
        ("member", "m-1"),
        ("lines", "mug-black*1"),
        ("amount", "990000"),
        ("currency", "KRW"),
        ("method", "tok"),
    ];
    let dear = store.begin("checkout", "order-950", &input).await;
    store.answer(dear, done(&[("payment", "pay_9")])).await;
    store.answer(dear, Settlement::Refused("no".into())).await;
    store.answer(dear, Settlement::Refused("void-not-allowed".into())).await;
    store.settle().await;
    let mut browser = operator(&store).await;
    let order = |page: &Page| {
        [sagas.parked_back, sagas.parked_forward, dear].map(|saga| {
            page.body.find(&format!("href=\"/console/sagas/{}\"", saga.get())).expect("it is listed")
        })
    };
    let by_age = browser.get("/console/sagas?state=parked").await;
    assert!(order(&by_age).is_sorted() && by_age.body.contains("1,179,000 KRW"), "{}", main(&by_age));
    let by_money = browser.get("/console/sagas?state=parked&sort=risk").await;
    let [back, forward, dearest] = order(&by_money);
    assert!(dearest < back && back < forward);
    assert_eq!(
        browser.get("/console/sagas?q=3").await.location(),
        "/console/sagas/3",
        "a number leads to its saga"
    );

    let csrf = by_age.csrf();
    let decide_seen =
        async |browser: &mut Browser, saga: SagaNo, seen: &str, action: &str, reason: &str, output: &str| {
            let path = format!("/console/sagas/{}/change", saga.get());
            let fields = [
                ("csrf", csrf.as_str()),
                ("mark", seen),
                ("action", action),
                ("reason", reason),
                ("output", output),
            ];
            browser.post(&path, &fields).await
        };
    let mark = async |browser: &mut Browser, saga: SagaNo| {
        let page = browser.get(&format!("/console/sagas/{}", saga.get())).await;
        let mark = page.body.split_once("name=\"mark\" value=\"").map(|(_, rest)| rest[..16].to_owned());
        mark.unwrap_or_default()
    };
    let decide = async |browser: &mut Browser, saga: SagaNo, action: &str, reason: &str, output: &str| {
        let seen = mark(browser, saga).await;
        decide_seen(browser, saga, &seen, action, reason, output).await
    };
    let path = format!("/console/sagas/{}/change", dear.get());
    let forged = browser.post(&path, &[("csrf", "0"), ("action", "retry"), ("reason", "x")]).await;
    assert_eq!(forged.status, StatusCode::FORBIDDEN);
    assert_eq!(decide(&mut browser, dear, "retry", " ", "").await.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(
        decide(&mut browser, dear, "skip", "seen to", "nonsense").await.status,
        StatusCode::UNPROCESSABLE_ENTITY
    );
    assert!(is_parked(&store, dear).await, "nothing happened");
    let blind = decide_seen(&mut browser, dear, "", "retry", "nothing was seen", "").await;
    assert_eq!(blind.status, StatusCode::BAD_REQUEST, "{}", main(&blind));
    // An answer comes late: what was decided about the older page is not done.
    let old = mark(&mut browser, sagas.parked_back).await;
    let stale =
        decide_seen(&mut browser, sagas.parked_back, "0123456789abcdef", "skip", "an old page", "").await;
    assert_eq!(stale.status, StatusCode::CONFLICT, "{}", main(&stale));
    assert!(
        stale.body.contains("Something happened to the saga since you looked") && stale.body.contains(&old)
    );
    assert!(is_parked(&store, sagas.parked_back).await, "nothing happened");

    let seen = mark(&mut browser, dear).await;
    let went = decide(&mut browser, dear, "retry", "the company is back", "").await;
    assert_eq!(went.status, StatusCode::SEE_OTHER, "{}", main(&went));
    let page = browser.get(went.location()).await;
    assert!(page.body.contains("It goes on") && page.body.contains("the company is back"), "{}", main(&page));
    let late = decide_seen(&mut browser, dear, &seen, "retry", "again", "").await;
    assert_eq!(late.status, StatusCode::CONFLICT);
    assert!(late.body.contains("no longer parked"));

    let skipped = decide(&mut browser, sagas.parked_back, "skip", "voided by hand at the company", "").await;
    let page = browser.get(skipped.location()).await;
    assert!(
        page.body.contains("counts as done by hand") && page.body.contains("everything undone"),
        "{}",
        page.body
    );
    let undone = decide(&mut browser, sagas.parked_forward, "undo", "the shopper moved away", "").await;
    assert_eq!(undone.status, StatusCode::SEE_OTHER, "{}", main(&undone));
    let cancelled = decide(&mut browser, sagas.awaiting, "cancel", "wrong price", "").await;
    let page = browser.get(cancelled.location()).await;
    assert!(page.body.contains("It turns back") && page.body.contains("wrong price"), "{}", main(&page));
    let late = decide(&mut browser, sagas.completed, "cancel", "too late", "").await;
    assert_eq!(late.status, StatusCode::CONFLICT, "{}", main(&late));

    let mut auditor = Browser::signed_in(store.console(), &store.auditor).await;
    let csrf = auditor.get("/console/sagas").await.csrf();
    for path in ["/console/sagas/5/change", "/console/stock/mug-white/change", "/console/stock"] {
        let fields = [("csrf", csrf.as_str()), ("action", "retry"), ("reason", "why not")];
        assert_eq!(auditor.post(path, &fields).await.status, StatusCode::FORBIDDEN, "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn orders_are_listed_by_state_and_show_lines_refunds_and_what_they_wait_for() {
    let store = Store::open();
    let sagas = shop::open(&store).await;
    let mut browser = operator(&store).await;
    let href = |order: OrderNo| format!("href=\"/console/orders/{order}\"");
    let all = browser.get("/console/orders").await;
    let places = [sagas.returned, sagas.parked, sagas.failed, sagas.waiting, sagas.paid]
        .map(|order| all.body.find(&href(order)).expect("it is listed"));
    assert!(places.is_sorted(), "the newest first");
    assert!(all.body.contains("authorize: waits for somebody"), "{}", main(&all));
    let paid = browser.get("/console/orders?state=paid").await;
    assert!(paid.body.contains(&href(sagas.paid)) && !paid.body.contains(&href(sagas.failed)));
    let of_member = browser.get("/console/orders?q=member-104").await;
    assert!(of_member.body.contains(&href(sagas.failed)) && !of_member.body.contains(&href(sagas.paid)));
    assert!(browser.get("/console/orders?q=nobody").await.body.contains("No order fits"));
    let found = browser.get(&format!("/console/orders?q={}", sagas.paid)).await;
    assert_eq!(found.location(), format!("/console/orders/{}", sagas.paid));

    let page = browser.get(&format!("/console/orders/{}", sagas.paid)).await;
    for word in [
        "40,800 KRW",
        "-5,000 KRW",
        "pay_70211",
        "noon-1",
        "/console/sagas/1\"",
        "order-paid",
        "tea-sejak-80g",
    ] {
        assert!(page.body.contains(word), "{word}: {}", main(&page));
    }
    let page = browser.get(&format!("/console/orders/{}", sagas.returned)).await;
    for word in [".1</a>", "return", "8,900", "one has a torn cover", "order-refund-done"] {
        assert!(page.body.contains(word), "{word}: {}", main(&page));
    }
    let page = browser.get(&format!("/console/orders/{}", sagas.parked)).await;
    assert!(
        page.body.contains("waits for an operator")
            && page.body.contains(&format!("/console/sagas/{}", sagas.parked_back.get()))
    );
    let saga = browser.get(&format!("/console/sagas/{}", sagas.completed.get())).await;
    assert!(saga.body.contains(&href(sagas.paid)), "a saga leads to its order");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_is_cancelled_with_a_reason_before_and_after_it_is_paid() {
    let store = Store::open();
    let sagas = shop::open(&store).await;
    let mut browser = operator(&store).await;
    for (order, becomes) in [(sagas.waiting, "order-cancel-requested"), (sagas.paid, "order-refund-begun")] {
        let own = format!("/console/orders/{order}");
        let page = browser.get(&own).await;
        let (csrf, token) = (page.csrf(), once(&page, "value=\"cancel\""));
        let change = format!("{own}/change");
        let fields = |reason: &'static str| {
            [("csrf", csrf.as_str()), ("action", "cancel"), ("once", token.as_str()), ("reason", reason)]
        };
        assert_eq!(browser.post(&change, &fields(" ")).await.status, StatusCode::UNPROCESSABLE_ENTITY);
        let done = browser.post(&change, &fields("the shopper called")).await;
        assert_eq!(done.status, StatusCode::SEE_OTHER, "{}", main(&done));
        let again = browser.post(&change, &fields("the shopper called")).await;
        assert_eq!(again.status, StatusCode::SEE_OTHER, "{}", main(&again));
        let page = browser.get(done.location()).await;
        for word in ["It became", becomes, "the shopper called"] {
            assert!(page.body.contains(word), "{word}: {}", main(&page));
        }
        let listed = "</a></span><span class=\"what\">";
        let times = page.body.matches(&format!(">{becomes}{listed}")).count();
        assert_eq!(times, 1, "sent twice, it is carried out once: {}", main(&page));
    }
    let page = browser.get(&format!("/console/orders/{}", sagas.failed)).await;
    assert!(
        page.body.contains("nothing about it can be changed") && page.body.contains("declined"),
        "{}",
        main(&page)
    );
    let csrf = page.csrf();
    let late = [
        ("csrf", csrf.as_str()),
        ("action", "cancel"),
        ("reason", "x"),
        ("once", "0123456789abcdef0123456789abcdef"),
    ];
    let late = browser.post(&format!("/console/orders/{}/change", sagas.failed), &late).await;
    assert_eq!(late.status, StatusCode::GONE);
    assert!(late.body.contains("over already"), "{}", main(&late));
    let mut auditor = Browser::signed_in(store.console(), &store.auditor).await;
    let csrf = auditor.get("/console/orders").await.csrf();
    let fields = [("csrf", csrf.as_str()), ("action", "cancel"), ("reason", "why not")];
    let path = format!("/console/orders/{}/change", sagas.parked);
    assert_eq!(auditor.post(&path, &fields).await.status, StatusCode::FORBIDDEN);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_price_list_says_what_a_product_is_made_of_and_how_many_can_be_had() {
    let store = Store::open();
    let mut browser = operator(&store).await;
    assert!(
        browser.get("/console/products").await.body.contains("The terms are not set"),
        "an empty page teaches"
    );
    shop::open(&store).await;
    let page = browser.get("/console/products").await;
    for word in [
        "219,000 KRW",
        "2 × ",
        "/console/stock/teapot-cast-iron\"",
        "sold out",
        "not on sale",
        "3,000 KRW",
        "10 %",
    ] {
        assert!(page.body.contains(word), "{word}: {}", main(&page));
    }
    let off = browser.get("/console/products?state=off").await;
    assert!(off.body.contains("linen-apron") && !off.body.contains("mug-black"));
    let found = browser.get("/console/products?q=TEA&state=on").await;
    assert!(found.body.contains("tea-for-two") && !found.body.contains("mug-black"));
    let after = browser.get("/console/products?after=tea-for-two").await;
    assert!(after.body.contains("teapot-cast-iron") && !after.body.contains("mug-black"));
    assert!(browser.get("/console/products?q=nothing").await.body.contains("No product fits"));
}

#[tokio::test(flavor = "multi_thread")]
async fn parked_sagas_show_in_the_top_line_of_every_page() {
    let store = Store::open();
    shop::open(&store).await;
    let mut browser = operator(&store).await;
    for _ in 0..600 {
        if browser.get("/console/stock").await.body.contains("Sagas that wait for an operator: 2.") {
            return;
        }
        // Between two looks; what is waited for is what the page says.
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    panic!("the top line does not speak of what is parked");
}

#[tokio::test(flavor = "multi_thread")]
async fn hostile_fields_stay_text() {
    let store = Store::open();
    store.define_sagas().await;
    let bad = "<script>alert(1)</script>\"><img src=x onerror=alert(2)>";
    let saga = store.begin("delivery", "<b>'\"&", &[("day", bad), ("address", bad), ("member", bad)]).await;
    store.answer(saga, done(&[("slot", bad)])).await;
    store.answer(saga, Settlement::Refused(bad.into())).await;
    store.answer(saga, Settlement::Refused(bad.into())).await;
    store.stock("<b>'\"&/../%2F", "main", 3).await;
    store.account("<i>'\"&/%2F", "KRW", banyan_domain::pay::Rule::Free).await;
    let mut browser = operator(&store).await;
    let encode = |text: &str| text.bytes().map(|b| format!("%{b:02X}")).collect::<String>();
    let own = format!("/console/sagas/{}", saga.get());
    let sku = format!("/console/stock/{}", encode("<b>'\"&/../%2F"));
    let account = format!("/console/ledger/{}", encode("<i>'\"&/%2F"));
    for (path, status) in [
        (own.as_str(), StatusCode::OK),
        ("/console/sagas", StatusCode::OK),
        ("/console/sagas?state=parked", StatusCode::OK),
        ("/console/events", StatusCode::OK),
        ("/console/sagas?q=%3Cscript%3E%22&sort=%22%3E%3Cscript%3E&state=%3Cscript%3E", StatusCode::OK),
        ("/console/stock?q=%3Cscript%3E%22&state=%22%3E%3Cscript%3E&after=x.y&from=%22", StatusCode::OK),
        ("/console/ledger?q=%3Cscript%3E%22&state=%22%3E%3Cscript%3E&after=%22", StatusCode::OK),
        ("/console/stock", StatusCode::OK),
        ("/console/ledger", StatusCode::OK),
        (sku.as_str(), StatusCode::OK),
        (account.as_str(), StatusCode::OK),
    ] {
        let page = browser.get(path).await;
        assert_eq!(page.status, status, "{path}: {}", main(&page));
        for bad in ["<script>", "<img", "<b>'", "<i>'"] {
            assert!(!page.body.contains(bad), "{path} holds {bad}");
        }
    }
}
