//! The console's pages of the way over, with a keeper whose old shop is in memory: the wizard there and back.

mod common;
#[path = "common/eyes.rs"]
mod eyes;

use banyan_domain::legacy::Phase;
use banyan_legacy::{Finding, Keeper};
use banyan_legacy_testkit::{seen, until};
use eyes::Eyes;
use common::{Browser, Page, Store, old_shop};
use http::StatusCode;

fn main(page: &Page) -> &str {
    page.body.split("<main").nth(1).unwrap_or(&page.body)
}

/// Waits until it stands in `phase` and nothing moves.
async fn arrives(keeper: &Keeper, phase: Phase) {
    seen(&format!("phase {phase:?}"), async || {
        let status = keeper.status().await.expect("it runs");
        let arrived = status.state.phase == phase && status.state.moving.is_none();
        if arrived { Ok(()) } else { Err(status) }
    })
    .await;
}

/// Waits until every gate of the move to `to` holds.
async fn ready(keeper: &Keeper, to: Phase) {
    seen(&format!("every gate to {to:?} holds"), async || {
        let gates = keeper.plan(to).await.expect("it runs").gates;
        if gates.iter().all(|gate| gate.holds) { Ok(()) } else { Err(gates) }
    })
    .await;
}

/// Waits until the page says `words`, and gives it.
async fn says(browser: &mut Browser, words: &str) -> Page {
    seen(&format!("the page says {words}"), async || {
        let page = browser.get("/console/over").await;
        if main(&page).contains(words) { Ok(page) } else { Err(main(&page).to_owned()) }
    })
    .await
}

async fn begin(browser: &mut Browser, from: &str, to: &str, confirm: &str, more: &[(&str, &str)]) -> Page {
    let csrf = browser.get("/console/over").await.csrf();
    let mut fields = vec![("csrf", csrf.as_str()), ("action", "begin"), ("from", from), ("to", to)];
    fields.extend([("reason", "the team agreed"), ("confirm", confirm)]);
    fields.extend(more);
    browser.post("/console/over/change", &fields).await
}

#[tokio::test(flavor = "multi_thread")]
async fn without_an_old_shop_the_page_says_how_to_begin() {
    let store = Store::open();
    let mut browser = Browser::signed_in(store.console(), &store.operator).await;
    let page = browser.get("/console/over").await;
    assert_eq!(page.status, StatusCode::OK);
    assert!(main(&page).contains("banyan up --legacy") && main(&page).contains("banyan legacy check"));
    assert_eq!(browser.get("/console/over/plan?to=mirror").await.status, StatusCode::NOT_FOUND);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_wizard_leads_there_and_back() {
    let store = Store::open();
    let (keeper, shop) = old_shop::keep(&store);
    let mut browser = Browser::signed_in(store.console(), &store.operator).await;
    let page = browser.get("/console/over").await;
    assert!(
        main(&page).contains("plan?to=mirror") && !main(&page).contains("plan?to=lead"),
        "one phase at a time"
    );

    let plan = browser.get("/console/over/plan?to=mirror").await;
    for words in ["Check", "Prepare", "Copy", "Compare", "Hand over", "name=\"confirm\""] {
        assert!(main(&plan).contains(words), "{words}: {}", main(&plan));
    }
    assert!(main(&browser.get("/console/over/plan?to=retired").await).contains("not beside each other"));
    assert_eq!(browser.get("/console/over/plan?to=home").await.status, StatusCode::NOT_FOUND);

    let page = begin(&mut browser, "legacy", "mirror", "yes", &[]).await;
    assert_eq!(page.status, StatusCode::UNPROCESSABLE_ENTITY, "it is confirmed by its name");
    assert!(main(&page).contains("the team agreed"), "what was typed stays");
    let page = begin(&mut browser, "mirror", "lead", "lead", &[]).await;
    assert_eq!(page.status, StatusCode::CONFLICT, "a plan from another phase");
    let page = begin(&mut browser, "legacy", "mirror", "mirror", &[]).await;
    assert_eq!(
        (page.status, page.location()),
        (StatusCode::SEE_OTHER, "/console/over?done=1"),
        "{}",
        main(&page)
    );
    arrives(&keeper, Phase::Mirror).await;

    let page = browser.get("/console/over").await;
    for words in
        ["move 1", "the team agreed", "both sides are equal", "16/B374D84", "plan?to=lead", "plan?to=legacy"]
    {
        assert!(main(&page).contains(words), "{words}: {}", main(&page));
    }
    ready(&keeper, Phase::Lead).await;
    let page = begin(&mut browser, "mirror", "lead", "lead", &[]).await;
    assert_eq!(page.status, StatusCode::SEE_OTHER, "{}", main(&page));
    arrives(&keeper, Phase::Lead).await;

    let live = browser.event("/console/live?of=over:1.0", "tick").await;
    assert!(live["parts"]["over-old"].as_str().is_some_and(|html| html.contains("It has moved")), "{live}");
    let live = browser.event("/console/live?of=over:2.0", "tick").await;
    assert_eq!(live["parts"]["over-old"], "", "the page is of now");
    assert!(live["parts"]["over-phases"].as_str().is_some_and(|html| html.contains("data-phase=\"now\"")));
    let history = browser.event("/console/live?of=over:2.0", "history").await;
    assert_eq!(history["series"]["fields"], serde_json::json!(["t", "inward", "outward"]));

    // Somebody writes past Banyan, which says so and puts it right.
    shop.puts([("mug-white", 3, 3)]);
    let page = says(&mut browser, "num_in_stock/num_allocated: 240/3 became 3/3").await;
    assert!(main(&page).contains("/console/stock/mug-white"));
    until("it is put right", async || shop.row("mug-white") == Some((240, 3))).await;

    let statement =
        format!("select {} num_in_stock from partner_stockrecord where id = $1", "price, ".repeat(40));
    shop.is_used_by("oscar", &statement, 9);
    let page = says(&mut browser, "1 left").await;
    assert!(main(&page).contains("… from partner_stockrecord where id = $1<"), "in short: {}", main(&page));
    assert!(main(&page).contains(&format!("title=\"{statement}\"")), "and whole");
    let plan = browser.get("/console/over/plan?to=retired").await;
    assert!(main(&plan).contains("name=\"without-references\""), "it may be passed over: {}", main(&plan));
    let page = begin(&mut browser, "lead", "retired", "retired", &[]).await;
    assert_eq!(page.status, StatusCode::CONFLICT, "not without a tick");
    let page = begin(&mut browser, "lead", "retired", "retired", &[("without-references", "yes")]).await;
    assert_eq!(page.status, StatusCode::SEE_OTHER, "{}", main(&page));
    arrives(&keeper, Phase::Retired).await;
    assert!(
        main(&browser.get("/console/over").await).contains("without references"),
        "it is kept in the log"
    );

    for (from, to) in [("retired", "lead"), ("lead", "mirror"), ("mirror", "legacy")] {
        let phase = Phase::from_word(to).expect("a phase");
        ready(&keeper, phase).await;
        let page = begin(&mut browser, from, to, to, &[]).await;
        assert_eq!(page.status, StatusCode::SEE_OTHER, "{to}: {}", main(&page));
        arrives(&keeper, phase).await;
    }
    store.stop.send_replace(true);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gate_that_cannot_be_passed_over_keeps_the_move_from_beginning() {
    let store = Store::open();
    let (keeper, shop) = old_shop::keep(&store);
    shop.finds(vec![Finding::stop("wal_level", "it is replica", "set wal_level = logical and restart")]);
    let mut browser = Browser::signed_in(store.console(), &store.operator).await;
    let plan = browser.get("/console/over/plan?to=mirror").await;
    assert!(main(&plan).contains("it is replica") && main(&plan).contains("set wal_level = logical"));
    assert!(!main(&plan).contains("name=\"confirm\""), "there is nothing to confirm");
    let page = begin(&mut browser, "legacy", "mirror", "mirror", &[("without-preflight", "yes")]).await;
    assert_eq!(page.status, StatusCode::CONFLICT);
    assert!(keeper.status().await.expect("it runs").state.moving.is_none(), "nothing was begun");
    store.stop.send_replace(true);
}

#[tokio::test(flavor = "multi_thread")]
async fn comparing_and_giving_up_are_forms_and_auditors_only_look() {
    let store = Store::open();
    let (keeper, shop) = old_shop::keep(&store);
    let mut browser = Browser::signed_in(store.console(), &store.operator).await;
    begin(&mut browser, "legacy", "mirror", "mirror", &[]).await;
    arrives(&keeper, Phase::Mirror).await;

    // Both rows have come to differ, and no stream tells of it.
    shop.has_silently([("mug-white", 239, 3), ("tea-sejak", 12, 13)]);
    let csrf = browser.get("/console/over").await.csrf();
    let page = browser.post("/console/over/change", &[("csrf", &csrf), ("action", "compare")]).await;
    assert_eq!(page.location(), "/console/over?done=compare&rows=2&differing=0", "{}", main(&page));
    let page = browser.get(page.location()).await;
    assert!(main(&page).contains("differed, put right") && main(&page).contains("2 rows, of which 0"));

    let fields = [("csrf", csrf.as_str()), ("action", "abort"), ("reason", "no")];
    let page = browser.post("/console/over/change", &fields).await;
    assert_eq!(page.status, StatusCode::CONFLICT, "no move is under way: {}", main(&page));
    assert!(main(&page).contains("no move is under way"));

    let mut auditor = Browser::signed_in(store.console(), &store.auditor).await;
    for lang in ["en", "ko"] {
        auditor.get(&format!("/console/language/{lang}?back=/console")).await;
        let page = auditor.get("/console/over").await;
        assert_eq!(page.status, StatusCode::OK);
        assert!(
            !main(&page).contains("method=\"post\"") && !main(&page).contains("plan?to="),
            "{}",
            main(&page)
        );
        assert!(!page.body.contains("style=\""));
    }
    assert_eq!(auditor.get("/console/over/plan?to=lead").await.status, StatusCode::FORBIDDEN);
    let csrf = auditor.get("/console/over").await.csrf();
    let page = auditor.post("/console/over/change", &[("csrf", &csrf), ("action", "compare")]).await;
    assert_eq!(page.status, StatusCode::FORBIDDEN);
    store.stop.send_replace(true);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_move_that_waits_can_be_given_up() {
    let store = Store::open();
    let (keeper, _) = old_shop::keep(&store);
    let mut browser = Browser::signed_in(store.console(), &store.operator).await;
    for (from, to) in [("legacy", "mirror"), ("mirror", "lead")] {
        let phase = Phase::from_word(to).expect("a phase");
        ready(&keeper, phase).await;
        begin(&mut browser, from, to, to, &[]).await;
        arrives(&keeper, phase).await;
    }
    ready(&keeper, Phase::Mirror).await;
    // Going back waits for what is reserved.
    store.reserve("mug-white", 1, "member-1", "order-1").await;
    let page = begin(&mut browser, "lead", "mirror", "mirror", &[]).await;
    assert_eq!(page.status, StatusCode::SEE_OTHER, "{}", main(&page));
    let page = says(&mut browser, "reservations are open").await;
    assert!(main(&page).contains("value=\"abort\"") && !main(&page).contains("plan?to="), "{}", main(&page));
    let csrf = page.csrf();
    let fields = [("csrf", csrf.as_str()), ("action", "abort"), ("reason", "the sale is still on")];
    let page = browser.post("/console/over/change", &fields).await;
    assert_eq!(
        (page.status, page.location()),
        (StatusCode::SEE_OTHER, "/console/over?done=abort"),
        "{}",
        main(&page)
    );
    arrives(&keeper, Phase::Lead).await;
    assert!(main(&browser.get("/console/over").await).contains("the sale is still on"));
    store.stop.send_replace(true);
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_that_the_old_table_refuses_are_told_in_its_words_with_what_to_do() {
    let store = Store::open();
    let (keeper, shop) = old_shop::keep(&store);
    let aside = async |rows: u64| {
        until("the old table has refused what it refuses", async || {
            keeper.status().await.expect("it runs").progress.aside == rows
        })
        .await;
    };
    let mut browser = Browser::signed_in(store.console(), &store.operator).await;
    for (from, to) in [("legacy", "mirror"), ("mirror", "lead")] {
        let phase = Phase::from_word(to).expect("a phase");
        ready(&keeper, phase).await;
        begin(&mut browser, from, to, to, &[]).await;
        arrives(&keeper, phase).await;
    }
    let page = browser.get("/console/over").await;
    assert!(
        main(&page).contains("Rows set aside") && !main(&page).contains("Correct the table"),
        "none: nothing to do"
    );
    shop.refuses(|_| Some("violates check constraint \"in_stock\" <b>"));
    store.stock("tea-sejak", "main", 30).await;
    store.stock("mug-white", "main", 200).await;
    aside(2).await;
    for (lang, todo) in [("en", "Correct the table"), ("ko", "규칙을 고치거나")] {
        browser.get(&format!("/console/language/{lang}?back=/console")).await;
        let page = browser.get("/console/over").await;
        let told = main(&page).split("aside-rows").nth(1).unwrap_or_default();
        for words in [": 2", "mug-white at main: violates check constraint", todo] {
            assert!(told.contains(words), "{words}: {}", main(&page));
        }
        assert!(!told.contains("tea-sejak"), "the first stands for all");
    }
    let mut eyes = Eyes::open(&store, store.console()).await;
    eyes.look("over-aside", "/console/over");
    eyes.speak("ko");
    eyes.look("ko-over-aside", "/console/over");
    eyes.are_content();
    shop.refuses(|row| (row.sku == "tea-sejak").then_some("violates check constraint \"in_stock\" <b>"));
    store.stock("mug-white", "main", 210).await;
    aside(1).await;
    let live = browser.event("/console/live?of=over:2.0", "tick").await;
    let sync = live["parts"]["over-sync"].as_str().unwrap_or_default();
    assert!(sync.contains("tea-sejak") && sync.contains("&lt;b&gt;"), "its words are only text: {sync}");
    shop.refuses_nothing();
    store.stock("tea-sejak", "main", 40).await;
    aside(0).await;
    assert!(
        !main(&browser.get("/console/over").await).contains("aside-rows"),
        "and told no more when they are written"
    );
    store.stop.send_replace(true);
}
