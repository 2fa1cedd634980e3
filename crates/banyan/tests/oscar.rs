//! A real old shop, django-oscar on Postgres, and what becomes of its stock when Banyan takes it over.
//!
//! `oscar/stand.rs` starts everything privately. The shop alone comes first, then the shop with its plugin and a Banyan whose
//! stock is set by hand: what the plugin does is shown without the sync. `oscar/story.rs` is the whole way, there and back,
//! and `oscar/looks.rs` who looks at the shop's pages on it.

#[cfg(feature = "legacy")]
#[path = "oscar/looks.rs"]
mod looks;
#[path = "oscar/stand.rs"]
mod stand;
#[cfg(feature = "legacy")]
#[path = "oscar/story.rs"]
mod story;
mod support;

use banyan_testkit::Chromium;
use banyan_testkit::oscar::{Outcome, Shopper, Visitor, race};
use serde_json::json;
use stand::{Stand, plugin_options};
use std::path::Path;
use std::time::Duration;
use support::until;

const SHOPPERS: usize = 12;
const UNITS: i64 = 5;
const ROUNDS: usize = 3;

#[test]
fn the_shop_alone_sells_and_its_tables_say_what_its_pages_said() {
    let stand = Stand::start();
    let (product, sku) = (stand.product("KIT-1001"), "KIT-1001");
    let outcome = Shopper::buys(&stand.oscar.url(), product, 2);
    assert!(outcome.is_ordered(), "{outcome:?}");
    assert_eq!(stand.row(sku), (Some(40), Some(2)));
    let shopper =
        Shopper::at_the_till(&stand.oscar.url(), &[(product, 1)]).and_then(|s| s.with_voucher("SALE10"));
    assert!(shopper.expect("a voucher is taken").place().is_ordered());
    assert_eq!(stand.row(sku), (Some(40), Some(3)));
    let last = Shopper::buys(&stand.oscar.url(), product, 38);
    assert!(matches!(&last, Outcome::Refused { why } if why.contains("can be bought")), "{last:?}");

    // How far the shop oversells is measured, not asserted: it depends on the machine. That it counts what it sold is.
    let mut oversold = Vec::new();
    for round in 0..ROUNDS {
        let sku = format!("LTD-800{}", round + 1);
        let race = race(&stand.oscar.url(), stand.product(&sku), SHOPPERS);
        assert!(race.failed.is_empty(), "{:?}", race.failed);
        assert_eq!(race.ordered + race.refused, SHOPPERS);
        assert!(race.ordered >= usize::try_from(UNITS).expect("small"), "it refused what it had: {race:?}");
        let sold = i64::try_from(race.ordered).expect("small");
        assert_eq!((stand.row(&sku), stand.ordered(&sku)), ((Some(UNITS), Some(sold)), sold));
        oversold.push(sold - UNITS);
    }
    println!(
        "the old shop alone: {SHOPPERS} shoppers, {UNITS} units; sold beyond them in {ROUNDS} rounds: {oversold:?}"
    );
}

#[test]
fn the_shops_pages_are_whole() {
    let stand = Stand::start();
    let mut visitor = Visitor::at(&stand.oscar.url()).expect("an address");
    let shelf = visitor.get("/catalogue/").expect("a page");
    assert!(shelf.text.contains("Chef&#x27;s knife, 20 cm, walnut handle"), "{}", shelf.text);
    // Everything that the page asks for is served: styles, scripts, pictures.
    let parts = shelf
        .text
        .split(['"', '\''])
        .filter(|part| part.starts_with("/static/") || part.starts_with("/media/"));
    let mut count = 0;
    for part in parts.filter(|part| !part.ends_with('/')) {
        assert_eq!(visitor.get(part).expect("an answer").status, 200, "{part}");
        count += 1;
    }
    assert!(count > 10, "the page has no styles or pictures");
    let browser = Chromium::new().expect("chromium");
    let picture = browser.screenshot(&format!("{}/catalogue/", stand.oscar.url()), 1280, 900, false);
    let picture = picture.expect("a picture");
    assert!(picture.len() > 40_000, "a page without its styles is a small picture: {} bytes", picture.len());
    if let Some(folder) = std::env::var_os("BANYAN_SCREENSHOTS") {
        std::fs::write(Path::new(&folder).join("oscar-shelf.png"), picture).expect("written");
    }
    let mut staff = stand.administrator();
    let product =
        staff.get(&format!("/dashboard/catalogue/products/{}/", stand.product("KIT-1001"))).expect("a page");
    assert!(product.text.contains("name=\"stockrecords-0-num_in_stock\" value=\"40\""), "{}", product.path);
}

#[test]
fn the_plugins_own_tests_pass() {
    let stand = Stand::start();
    stand.oscar.plant(&stand.postgres, "plugin_tests").expect("a copy to be changed");
    let options = plugin_options("http://127.0.0.1:9", Path::new("/nonexistent"), &[]);
    let env = [("OSCAR_PG_TEST_DATABASE", "plugin_tests"), ("OSCAR_PG_DATABASE", "plugin_tests")];
    let said =
        stand.oscar.manage(&options, &env, &["test", "banyan_plugin", "--keepdb"], Duration::from_secs(900));
    let said = said.unwrap_or_else(|error| panic!("{error}"));
    let ran = said.lines().find_map(|line| line.strip_prefix("Ran ")?.split(' ').next()?.parse::<u32>().ok());
    assert!(ran.is_some_and(|ran| ran >= 48) && said.contains("\nOK"), "{said}");
    let models = stand.oscar.manage(
        &options,
        &env,
        &["makemigrations", "--check", "--dry-run"],
        Duration::from_secs(120),
    );
    models.expect("the forks leave the shop's tables as they are");
}

#[test]
fn with_stock_in_banyan_a_race_sells_what_there_is_and_not_one_more() {
    let mut stand = Stand::start();
    let banyan = stand.banyan();
    stand.by_hand("lead");
    stand.oscar.restart(&plugin_options(&banyan.url(), banyan.service_key(), &[])).expect("the plugin is in");
    let mut http = banyan.server.operator();
    for round in 0..ROUNDS {
        let sku = format!("LTD-800{}", round + 1);
        let count = json!({"on_hand": UNITS, "reason": "count"}).to_string();
        http.send("PUT", &format!("/v1/stock/{sku}"), &[], count.as_bytes()).expect("an answer").expect(200);
        let race = race(&stand.oscar.url(), stand.product(&sku), SHOPPERS);
        assert!(race.failed.is_empty(), "{:?}", race.failed);
        assert_eq!((race.ordered, race.refused), (5, SHOPPERS - 5), "{:?}", race.told);
        assert_eq!(stand.ordered(&sku), UNITS);
        let item = http.get(&format!("/v1/stock/{sku}")).expect("an answer").expect(200);
        assert_eq!((&item["held"], &item["available"]), (&json!(UNITS), &json!(0)), "{item}");
        // Nobody syncs here, so the columns are as they were: the shop itself did not touch them.
        assert_eq!(stand.row(&sku), (Some(UNITS), Some(0)));
    }
    let told = stand.sql(
        "select count(*), count(distinct body->>'reservation') from banyan_outbox where kind = 'allocate'",
    );
    assert_eq!(told, format!("{0}|{0}", ROUNDS * 5));

    // Without Banyan the shop takes no order, and loses none: the shopper is told, and the basket is still there.
    let sku = "KIT-1002";
    let count = json!({"on_hand": 9}).to_string();
    http.send("PUT", &format!("/v1/stock/{sku}"), &[], count.as_bytes()).expect("an answer").expect(200);
    let shopper = Shopper::at_the_till(&stand.oscar.url(), &[(stand.product(sku), 1)]).expect("to the till");
    banyan.stop();
    let outcome = shopper.place();
    assert!(
        matches!(&outcome, Outcome::Refused { why } if why.contains("cannot check its stock")),
        "{outcome:?}: {}",
        std::fs::read_to_string(stand.oscar.log()).unwrap_or_default()
    );
    assert_eq!((stand.ordered(sku), stand.row(sku)), (0, (Some(60), Some(0))));
}

#[test]
fn a_shop_that_dies_in_the_middle_of_an_order_has_sold_nothing() {
    let mut stand = Stand::start();
    let banyan = stand.banyan();
    stand.by_hand("lead");
    let options = plugin_options(&banyan.url(), banyan.service_key(), &[]);
    stand.oscar.restart(&options).expect("the plugin is in");
    let (sku, mut http) = ("LTD-8001", banyan.server.operator());
    let count = json!({"on_hand": UNITS}).to_string();
    http.send("PUT", &format!("/v1/stock/{sku}"), &[], count.as_bytes()).expect("an answer").expect(200);
    let shopper = Shopper::at_the_till(&stand.oscar.url(), &[(stand.product(sku), 1)]).expect("to the till");

    // Nobody can write an order now, so the shop stands still between its reservation and its commit.
    let held = |http: &mut support::Http| {
        http.get(&format!("/v1/stock/{sku}")).expect("an answer").json()["held"].clone()
    };
    let outcome = std::thread::scope(|scope| {
        let postgres = &stand.postgres;
        scope.spawn(move || {
            let stop = "begin; lock table order_order in access exclusive mode; select pg_sleep(3600)";
            let ended = postgres.query("oscar", stop);
            assert!(ended.is_err(), "it is ended by force");
        });
        let locked = "select count(*) from pg_locks where relation = 'order_order'::regclass and mode = 'AccessExclusiveLock' and granted";
        until("nobody can write an order", || {
            (postgres.query("oscar", locked).expect("rows") == "1").then_some(())
        });
        let pressed = scope.spawn(|| shopper.place());
        until("the goods are reserved", || (held(&mut http) == json!(1)).then_some(()));
        stand.oscar.crash().expect("killed");
        let sleeper = "select pg_terminate_backend(pid) from pg_stat_activity where query like '%pg_sleep(3600)%' and pid <> pg_backend_pid()";
        postgres.query("oscar", sleeper).expect("the lock is gone");
        pressed.join().expect("no panic")
    });
    assert!(matches!(outcome, Outcome::Failed { .. }), "{outcome:?}");

    stand.oscar.restart(&options).expect("the shop is back");
    assert_eq!((stand.ordered(sku), stand.sql("select count(*) from banyan_outbox").as_str()), (0, "0"));
    // What was reserved for it ends by itself: nobody is left who could say that it is not needed.
    let reservation = http.get("/v1/stock/reservations/r-1").expect("an answer").expect(200);
    assert_eq!(reservation["state"], "held");
    assert!(reservation["expires_at"].is_string(), "{reservation}");
    let others = race(&stand.oscar.url(), stand.product(sku), SHOPPERS);
    assert_eq!((others.ordered, &others.failed), (4, &Vec::new()), "{:?}", others.told);
}
