//! The console in front of a real shard: who gets in, what every page shows, and what a form changes.

mod common;

use banyan_console::ConsoleOptions;
use banyan_domain::MemberId;
use common::{Browser, Store};
use http::{StatusCode, header};
use std::time::Duration;

const PAGES: [&str; 8] = [
    "/console",
    "/console/campaigns",
    "/console/campaigns/new",
    "/console/events",
    "/console/events/1",
    "/console/members",
    "/console/members/nobody",
    "/console/store",
];

#[tokio::test(flavor = "multi_thread")]
async fn nobody_gets_in_without_a_key_and_every_answer_is_guarded() {
    let store = Store::open();
    let mut browser = Browser::new(store.console());
    for path in
        PAGES.into_iter().chain(["/console/login", "/console/live", "/console/nowhere", "/console/assets/x"])
    {
        let page = browser.get(path).await;
        let header =
            |name: &str| page.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let csp = header("content-security-policy");
        for rule in [
            "default-src 'none'",
            "script-src 'self'",
            "style-src 'self'",
            "frame-ancestors 'none'",
            "base-uri 'none'",
            "form-action 'self'",
        ] {
            assert!(csp.contains(rule), "{path}: {csp}");
        }
        assert!(!csp.contains("unsafe"), "{path}: {csp}");
        assert_eq!(header("x-content-type-options"), "nosniff", "{path}");
        assert_eq!(header("referrer-policy"), "no-referrer", "{path}");
        match path {
            "/console/login" => assert_eq!(page.status, StatusCode::OK),
            "/console/assets/x" => assert_eq!(page.status, StatusCode::NOT_FOUND),
            _ => {
                assert_eq!(page.status, StatusCode::SEE_OTHER, "{path}");
                assert!(page.location().starts_with("/console/login?next=%2Fconsole"), "{}", page.location());
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn operator_and_auditor_sign_in_and_others_do_not() {
    let store = Store::open();
    let console = store.console();
    for key in [&store.operator, &store.auditor] {
        let mut browser = Browser::new(console.clone());
        let page = browser.sign_in(key).await;
        assert_eq!((page.status, page.location()), (StatusCode::SEE_OTHER, "/console/campaigns"));
        let cookies: Vec<_> =
            page.headers.get_all(header::SET_COOKIE).iter().filter_map(|c| c.to_str().ok()).collect();
        let cookie = cookies.iter().find(|c| c.starts_with("banyan_console=")).expect("a session");
        assert!(
            cookie.contains("HttpOnly")
                && cookie.contains("SameSite=Strict")
                && cookie.contains("Path=/console"),
            "{cookie}"
        );
        assert!(!cookie.contains("Secure"), "plain http on loopback: {cookie}");
        assert_eq!(browser.get("/console").await.status, StatusCode::OK);
    }
    for key in [store.service.as_str(), "banyan_operator_wrong", ""] {
        let mut browser = Browser::new(console.clone());
        let page = browser.sign_in(key).await;
        assert_eq!(page.status, StatusCode::UNAUTHORIZED);
        assert!(!browser.cookies.contains_key("banyan_console"));
        assert!(key.is_empty() || !page.body.contains(key), "a key is never sent back");
    }
    // The form must come from a page of ours, opened by the same browser.
    let mut stranger = Browser::new(console);
    let page = stranger.post("/console/login", &[("key", &store.operator), ("csrf", "")]).await;
    assert_eq!(page.status, StatusCode::FORBIDDEN);
}

#[tokio::test(flavor = "multi_thread")]
async fn over_https_cookies_are_secure() {
    let store = Store::open();
    let options = ConsoleOptions { https: true, ..ConsoleOptions::default() };
    let page =
        Browser::new(banyan_console::router(store.app.clone(), options)).sign_in(&store.operator).await;
    assert!(
        page.headers
            .get_all(header::SET_COOKIE)
            .iter()
            .all(|c| c.to_str().is_ok_and(|c| c.ends_with("; Secure")))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_keys_wait_and_many_at_once_are_turned_away_while_a_right_key_never_waits() {
    let store = Store::open();
    let console = store.console();
    let wrong = (0..12).map(|_| {
        let console = console.clone();
        tokio::spawn(async move { Browser::new(console).sign_in("wrong").await.status })
    });
    let wrong: Vec<_> = wrong.collect();
    Browser::signed_in(console.clone(), &store.operator).await;
    let mut statuses = Vec::new();
    for answer in wrong {
        statuses.push(answer.await.expect("it answers"));
    }
    assert!(statuses.contains(&StatusCode::TOO_MANY_REQUESTS), "{statuses:?}");
    assert!(statuses.contains(&StatusCode::UNAUTHORIZED), "{statuses:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_ends_by_signing_out_by_idling_by_making_room_and_with_its_key() {
    let store = Store::open();
    let mut browser = Browser::signed_in(store.console(), &store.operator).await;
    let session = browser.cookies["banyan_console"].clone();
    let csrf = browser.get("/console").await.csrf();
    assert_eq!(browser.post("/console/logout", &[("csrf", "guess")]).await.status, StatusCode::FORBIDDEN);
    assert_eq!(browser.post("/console/logout", &[("csrf", &csrf)]).await.status, StatusCode::SEE_OTHER);
    browser.cookies.insert("banyan_console".into(), session);
    assert_eq!(
        browser.get("/console").await.status,
        StatusCode::SEE_OTHER,
        "the token is dead, not only forgotten"
    );

    let options = ConsoleOptions { idle_max: Duration::ZERO, ..ConsoleOptions::default() };
    let mut idle =
        Browser::signed_in(banyan_console::router(store.app.clone(), options), &store.operator).await;
    assert_eq!(idle.get("/console").await.status, StatusCode::SEE_OTHER);

    let options = ConsoleOptions { sessions_max: 2, ..ConsoleOptions::default() };
    let small = banyan_console::router(store.app.clone(), options);
    let mut first = Browser::signed_in(small.clone(), &store.operator).await;
    let mut second = Browser::signed_in(small.clone(), &store.auditor).await;
    let mut third = Browser::signed_in(small, &store.auditor).await;
    assert_eq!(first.get("/console").await.status, StatusCode::SEE_OTHER, "the idlest made room");
    assert_eq!(second.get("/console").await.status, StatusCode::OK);
    assert_eq!(third.get("/console").await.status, StatusCode::OK);

    store.app.keyring().replace(&store.records[..1]).expect("the keys are good");
    assert_eq!(second.get("/console").await.status, StatusCode::SEE_OTHER, "its key was removed");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_page_renders_with_nothing_and_with_sample_data_in_both_languages() {
    let store = Store::open();
    let mut browser = Browser::signed_in(store.console(), &store.operator).await;
    for lang in ["en", "ko"] {
        browser.get(&format!("/console/language/{lang}?back=/console/store")).await;
        for path in PAGES {
            let page = browser.get(path).await;
            assert_eq!(page.status, StatusCode::OK, "{path}: {}", page.body);
            assert!(page.body.contains(&format!("<html lang=\"{lang}\"")), "{path}");
            assert!(
                !page.body.contains("style=\"")
                    && !page.body.contains("<style")
                    && !page.body.contains("onclick"),
                "{path}"
            );
        }
    }
    let page = browser.get("/console/campaigns").await;
    assert!(page.body.contains("banyan campaign apply"), "an empty page teaches");

    store.campaign("noon", "Noon sale", Some(3)).await;
    for n in 0..5 {
        store.issue("noon", &format!("m{n}")).await;
    }
    store.settle().await;
    for path in [
        "/console/campaigns/noon",
        "/console/coupons/noon-1",
        "/console/members/m0",
        "/console/events/2",
        "/console",
        "/console/store",
    ] {
        let page = browser.get(path).await;
        assert_eq!(page.status, StatusCode::OK, "{path}");
        assert!(page.body.contains("noon"), "{path}");
    }
    for path in [
        "/console/campaigns/none",
        "/console/coupons/noon-4",
        "/console/coupons/x",
        "/console/events/9999999",
        "/console/events/x",
        "/console/nowhere",
    ] {
        assert_eq!(browser.get(path).await.status, StatusCode::NOT_FOUND, "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn hostile_names_stay_text() {
    let store = Store::open();
    store.campaign("bad", "<script>alert(1)</script>\"><img src=x onerror=alert(2)>", Some(10)).await;
    let member = "<b>'\"&/../m%2F";
    assert!(MemberId::new(member).is_ok());
    store.issue("bad", member).await;
    store.change("bad", "</q><script>alert(3)</script>", |change| change.paused = Some(true)).await;
    store.settle().await;
    let mut browser = Browser::signed_in(store.console(), &store.operator).await;
    let encoded: String = member.bytes().map(|b| format!("%{b:02X}")).collect();
    let by_member = format!("/console/members/{encoded}");
    for path in [
        "/console",
        "/console/campaigns",
        "/console/campaigns/bad",
        "/console/events",
        "/console/events/3",
        "/console/coupons/bad-1",
        &by_member,
        "/console/campaigns?q=%3Cscript%3E%22&state=%22%3E%3Cscript%3E",
        "/console/events?campaign=%3Cscript%3E",
        "/console/coupons?find=%3Cscript%3E",
    ] {
        let page = browser.get(path).await;
        assert!(page.status != StatusCode::INTERNAL_SERVER_ERROR, "{path}");
        for bad in ["<script>", "<img", "<b>'", "onerror=alert(2)>"] {
            assert!(!page.body.contains(bad), "{path} holds {bad}");
        }
    }
    let page = browser.get(&by_member).await;
    assert_eq!(page.status, StatusCode::OK);
    assert!(page.body.contains("bad-1"), "the member is found under its encoded address");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_auditor_looks_and_cannot_change() {
    let store = Store::open();
    store.campaign("noon", "Noon sale", Some(3)).await;
    store.issue("noon", "m1").await;
    store.settle().await;
    let mut browser = Browser::signed_in(store.console(), &store.auditor).await;
    let page = browser.get("/console/campaigns/noon").await;
    assert!(page.status == StatusCode::OK && !page.body.contains("/change\""), "no form is offered");
    let csrf = page.csrf();
    let coupon = browser.get("/console/coupons/noon-1").await;
    let code = store
        .app
        .codes()
        .code(banyan_domain::CouponId::new(banyan_domain::CampaignNo::new(1), 1))
        .to_string();
    assert!(!coupon.body.contains(&code) && coupon.body.contains("-····-"), "codes are for operators");
    let pause = [("csrf", csrf.as_str()), ("action", "pause"), ("reason", "why not")];
    for (path, fields) in [
        ("/console/campaigns/noon/change", &pause[..]),
        ("/console/coupons/noon-1/revoke", &pause[..]),
        ("/console/campaigns", &pause[..]),
    ] {
        assert_eq!(browser.post(path, fields).await.status, StatusCode::FORBIDDEN, "{path}");
    }
    assert_eq!(browser.get("/console/campaigns/new").await.status, StatusCode::FORBIDDEN);
    assert_eq!(store.app.shard().confirmed().get().as_u64(), 3, "nothing happened");
}

#[tokio::test(flavor = "multi_thread")]
async fn forms_change_the_campaign_and_show_the_event_they_became() {
    let store = Store::open();
    store.campaign("noon", "Noon sale", Some(100)).await;
    let mut browser = Browser::signed_in(store.console(), &store.operator).await;
    let csrf = browser.get("/console/campaigns/noon").await.csrf();
    let change = "/console/campaigns/noon/change";
    let forged = browser.post(change, &[("csrf", "0"), ("action", "pause"), ("reason", "x")]).await;
    assert_eq!(forged.status, StatusCode::FORBIDDEN);
    let state = || store.app.shard().summary().campaign("noon").expect("it is there").clone();
    assert!(!state().paused);

    let silent = browser.post(change, &[("csrf", &csrf), ("action", "pause"), ("reason", " ")]).await;
    assert_eq!(silent.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(silent.body.contains("Say why"));

    let done =
        browser.post(change, &[("csrf", &csrf), ("action", "pause"), ("reason", "payments are down")]).await;
    assert_eq!((done.status, done.location()), (StatusCode::SEE_OTHER, "/console/campaigns/noon?done=3"));
    assert!(state().paused);
    let page = browser.get(done.location()).await;
    assert!(page.body.contains("/console/events/3") && page.body.contains("The way back"), "{}", page.body);
    let event = browser.get("/console/events/3").await;
    assert!(
        event.body.contains("campaign-paused")
            && event.body.contains("payments are down")
            && event.body.contains("mina")
    );
    // An address cannot claim what did not happen.
    store.campaign("other", "Other", Some(1)).await;
    assert!(!browser.get("/console/campaigns/noon?done=4").await.body.contains("It became"));

    let low = browser
        .post(
            change,
            &[("csrf", &csrf), ("action", "quantity"), ("quantity", "many"), ("reason", "typo \"here\"")],
        )
        .await;
    assert_eq!(low.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(
        low.body.contains("value=\"many\"") && low.body.contains("typo &quot;here&quot;"),
        "what was typed stays"
    );
    browser
        .post(change, &[("csrf", &csrf), ("action", "quantity"), ("quantity", "2,500"), ("reason", "demand")])
        .await;
    assert_eq!(state().definition.quantity, Some(2_500));
    browser
        .post(
            change,
            &[
                ("csrf", &csrf),
                ("action", "extend"),
                ("ends_at", "2199-01-01T09:00"),
                ("offset", "+09:00"),
                ("reason", "longer"),
            ],
        )
        .await;
    let ends = state().definition.ends_at.expect("an end");
    assert_eq!(banyan_api::rfc3339(ends), "2199-01-01T00:00:00Z");

    let unsure = browser
        .post(change, &[("csrf", &csrf), ("action", "end"), ("confirm", "moon"), ("reason", "over")])
        .await;
    assert_eq!(unsure.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(state().ended_at.is_none());
    browser
        .post(change, &[("csrf", &csrf), ("action", "end"), ("confirm", "noon"), ("reason", "over")])
        .await;
    assert!(state().ended_at.is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_campaign_is_made_in_the_form_and_mistakes_keep_what_was_typed() {
    let store = Store::open();
    let mut browser = Browser::signed_in(store.console(), &store.operator).await;
    let csrf = browser.get("/console/campaigns/new").await.csrf();
    let fields = |id: &'static str| {
        vec![
            ("csrf", csrf.as_str()),
            ("name", "정오 세일"),
            ("id", id),
            ("quantity", "5,000"),
            ("per_member", "2"),
            ("benefit", "percent"),
            ("percent", "12.5"),
            ("cap", "30000"),
            ("currency", "krw"),
            ("minimum", ""),
            ("starts_at", ""),
            ("ends_at", "2199-01-01T00:00"),
            ("offset", "Z"),
            ("valid_days", "7"),
            ("audience", "segment"),
            ("segment", "gold"),
            ("stacking", "stackable"),
        ]
    };
    let wrong = browser.post("/console/campaigns", &fields("Not An Id")).await;
    assert_eq!(wrong.status, StatusCode::BAD_REQUEST);
    assert!(
        wrong.body.contains("value=\"정오 세일\"")
            && wrong.body.contains("value=\"Not An Id\"")
            && wrong.body.contains("id:")
    );
    let made = browser.post("/console/campaigns", &fields("noon")).await;
    assert_eq!(
        (made.status, made.location()),
        (StatusCode::SEE_OTHER, "/console/campaigns/noon?done=2"),
        "{}",
        made.body
    );
    let summary = store.app.shard().summary();
    let definition = &summary.campaign("noon").expect("it is there").definition;
    assert_eq!((definition.quantity, definition.per_member), (Some(5_000), 2));
    assert!(browser.get("/console/campaigns/noon").await.body.contains("12.50 % off, at most 30,000 KRW"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_coupon_is_found_by_name_and_code_and_revoked_for_good() {
    let store = Store::open();
    store.campaign("noon", "Noon sale", Some(10)).await;
    store.issue("noon", "m1").await;
    store.settle().await;
    let mut browser = Browser::signed_in(store.console(), &store.operator).await;
    let code = store
        .app
        .codes()
        .code(banyan_domain::CouponId::new(banyan_domain::CampaignNo::new(1), 1))
        .to_string();
    for typed in ["noon-1", &code, &code.to_lowercase().replace('-', "")] {
        assert_eq!(
            browser.get(&format!("/console/coupons?find={typed}")).await.location(),
            "/console/coupons/noon-1",
            "{typed}"
        );
    }
    let page = browser.get("/console/coupons/noon-1").await;
    assert!(page.body.contains("coupon-issued") && page.body.contains(&code), "its history and its code");
    let csrf = page.csrf();
    let done = browser
        .post("/console/coupons/noon-1/revoke", &[("csrf", &csrf), ("reason", "bought by a bot")])
        .await;
    assert_eq!(done.location(), "/console/coupons/noon-1?done=4");
    let page = browser.get(done.location()).await;
    assert!(
        page.body.contains("bought by a bot")
            && page.body.contains("There is no way back")
            && !page.body.contains("/revoke\""),
        "{}",
        page.body
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_page_by_cursor_and_filter_in_the_address() {
    let store = Store::open();
    for n in 0..60 {
        store.campaign(&format!("c-{n:03}"), &format!("Campaign {n}"), Some(100)).await;
    }
    store.issue_many("c-000", 0..120).await;
    store.change("c-001", "later", |change| change.paused = Some(true)).await;
    store.settle().await;
    let mut browser = Browser::signed_in(store.console(), &store.operator).await;
    let page = browser.get("/console/campaigns").await;
    assert!(page.body.contains("c-059") && !page.body.contains(">c-009<"), "newest first, 50 of them");
    assert!(browser.get("/console/campaigns?before=11").await.body.contains(">c-009<"));
    let paused = browser.get("/console/campaigns?state=paused").await;
    assert!(paused.body.contains(">c-001<") && !paused.body.contains(">c-002<"));
    assert!(browser.get("/console/campaigns?q=Campaign+59").await.body.contains(">c-059<"));
    // 1 + 60 + 100 issued + 1 paused: 100 were left of the campaign's 100.
    let head = store.app.shard().confirmed().get().as_u64();
    assert_eq!(head, 162);
    let newest = browser.get("/console/events").await;
    assert!(
        newest.body.contains("data-seq=\"162\"")
            && newest.body.contains("data-seq=\"113\"")
            && !newest.body.contains("data-seq=\"112\"")
    );
    let older = browser.get("/console/events?before=113").await;
    assert!(older.body.contains("data-seq=\"112\"") && older.body.contains("data-seq=\"63\""));
    assert!(browser.get("/console/events?from=70").await.body.contains("data-seq=\"70\""));
    let filtered = browser.get("/console/events?type=campaign-paused&campaign=c-001").await;
    assert!(filtered.body.contains("data-seq=\"162\"") && !filtered.body.contains("data-seq=\"161\""));
    assert!(browser.get("/console/events?campaign=unknown").await.body.contains("No event fits"));
    let member = browser.get("/console/members/member-7").await;
    assert!(member.body.contains("c-000-8"));
}

#[tokio::test(flavor = "multi_thread")]
async fn vendored_files_are_what_they_say_and_assets_are_kept_for_ever() {
    let store = Store::open();
    let folder = std::env::var("CARGO_MANIFEST_DIR").expect("cargo says where") + "/assets/vendor";
    let table = std::fs::read_to_string(format!("{folder}/VENDORED.md")).expect("the table");
    let sums = std::process::Command::new("sha256sum")
        .args(["htmx.min.js", "uPlot.min.js", "uPlot.min.css"])
        .current_dir(folder)
        .output()
        .expect("sha256sum is part of every system the tests run on");
    let sums = String::from_utf8(sums.stdout).expect("it is text");
    assert_eq!(sums.lines().count(), 3);
    for line in sums.lines() {
        let (sum, name) = line.split_once("  ").expect("a sum and a name");
        assert!(table.lines().any(|row| row.contains(name) && row.contains(sum)), "{name} is {sum}");
    }
    let mut browser = Browser::new(store.console());
    let page = browser.get("/console/login").await;
    let mut seen = 0;
    for part in page.body.split('"').filter(|part| part.starts_with("/console/assets/")) {
        let asset = browser.get(part).await;
        assert_eq!(asset.status, StatusCode::OK, "{part}");
        assert!(
            asset.headers[header::CACHE_CONTROL].to_str().is_ok_and(|c| c.contains("immutable")),
            "{part}"
        );
        seen += 1;
    }
    assert_eq!(seen, 3, "look, htmx, console");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_typed_before_the_session_ended_is_kept_and_sent_behind_the_sign_in() {
    let store = Store::open();
    store.campaign("noon", "Noon", Some(100)).await;
    let console = store.console();
    let mut browser = Browser::signed_in(console.clone(), &store.operator).await;
    let csrf = browser.get("/console/campaigns/noon").await.csrf();
    // The session ends elsewhere; the browser still has its cookie and the page.
    let mut elsewhere = Browser::new(console.clone());
    elsewhere.cookies = browser.cookies.clone();
    elsewhere.post("/console/logout", &[("csrf", &csrf)]).await;
    let typed = [
        ("action", "quantity"),
        ("quantity", "250"),
        ("reason", "the sale runs <well>"),
        ("csrf", csrf.as_str()),
    ];
    let page = browser.post("/console/campaigns/noon/change", &typed).await;
    assert_eq!(page.status, StatusCode::UNAUTHORIZED, "{}", page.body);
    assert!(
        page.body.contains("What you typed is kept") && page.body.contains("the sale runs &lt;well&gt;"),
        "{}",
        page.body
    );
    assert!(!page.body.contains(&csrf), "the token of the session that is over is not");

    // A wrong key loses nothing; the right one shows it, and sends nothing by itself.
    let kept = [
        ("kept", "/console/campaigns/noon/change"),
        ("kept.action", "quantity"),
        ("kept.quantity", "250"),
        ("kept.reason", "the sale runs <well>"),
        ("next", "/console/campaigns/noon"),
    ];
    let tie = page.csrf();
    let wrong =
        browser.post("/console/login", &[&kept[..], &[("csrf", tie.as_str()), ("key", "x")]].concat()).await;
    assert_eq!(wrong.status, StatusCode::UNAUTHORIZED);
    assert!(wrong.body.contains("name=\"kept.quantity\" value=\"250\""), "{}", wrong.body);
    let tie = wrong.csrf();
    let page = browser
        .post("/console/login", &[&kept[..], &[("csrf", tie.as_str()), ("key", &store.operator)]].concat())
        .await;
    assert_eq!(page.status, StatusCode::OK, "{}", page.body);
    let form = page.body.split("<main").nth(1).expect("the page's own part");
    assert!(
        form.contains("Not sent yet") && form.contains("action=\"/console/campaigns/noon/change\""),
        "{form}"
    );
    assert!(form.contains("name=\"reason\" value=\"the sale runs &lt;well&gt;\""), "{form}");
    let unsent = browser.get("/console/campaigns/noon").await.body;
    assert!(!unsent.contains(">250<") && !unsent.contains("the sale runs"), "nothing is sent yet: {unsent}");
    let csrf = page.csrf();
    let sent = browser
        .post("/console/campaigns/noon/change", &[&typed[..3], &[("csrf", csrf.as_str())]].concat())
        .await;
    assert!(sent.location().starts_with("/console/campaigns/noon?done="), "{} {}", sent.status, sent.body);

    // Without a cookie there was no session: another site's form is not kept.
    let mut stranger = Browser::new(console.clone());
    let page = stranger.post("/console/campaigns/noon/change", &typed).await;
    assert_eq!(page.status, StatusCode::SEE_OTHER);
    assert_eq!(
        page.location(),
        "/console/login?next=%2Fconsole%2Fcampaigns%2Fnoon",
        "and leads to a page, not to a form"
    );
    // Nor is it a way to have another page's address in the form.
    let forged = [("kept", "https://evil.example/"), ("csrf", ""), ("key", "x")];
    let page = stranger.post("/console/login", &forged).await;
    assert!(!page.body.contains("evil.example"), "{}", page.body);
    store.stop.send_replace(true);
}

#[tokio::test(flavor = "multi_thread")]
async fn no_link_on_an_answer_to_a_form_leads_to_what_is_no_page() {
    let store = Store::open();
    store.campaign("noon", "Noon", Some(100)).await;
    let console = store.console();
    let mut browser = Browser::signed_in(console, &store.operator).await;
    let csrf = browser.get("/console/campaigns/noon").await.csrf();
    for form in [
        "/console/campaigns/noon/change",
        "/console/campaigns",
        "/console/coupons/noon-1/revoke",
        "/console/over/change",
    ] {
        let page = browser.post(form, &[("csrf", &csrf)]).await;
        let back =
            page.body.split("/console/language/ko?back=").nth(1).and_then(|rest| rest.split('"').next());
        let back = back.expect("the switch between languages").replace("%2F", "/");
        let page = browser.get(&back).await;
        assert_ne!(page.status, StatusCode::METHOD_NOT_ALLOWED, "{form} leads back to {back}");
        let page = browser.get(form).await;
        assert!(page.status != StatusCode::METHOD_NOT_ALLOWED, "{form}: {}", page.status);
    }
    let page = browser.get("/console/").await;
    assert_eq!((page.status, page.location()), (StatusCode::PERMANENT_REDIRECT, "/console"));
    let page = browser.get("/console/orders/%FF").await;
    assert_eq!(page.status, StatusCode::NOT_FOUND);
    assert!(page.body.contains("<html"), "a page of ours: {}", page.body);
    store.stop.send_replace(true);
}
