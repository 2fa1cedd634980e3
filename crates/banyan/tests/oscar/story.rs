//! The whole way of one capability, on the real shop: everything `legacy`, a new thing under the same host, stock mirrored,
//! compared, led by Banyan, cut loose reference by reference, retired; and back, once. What the tutorial says is done here.

use crate::looks::Person;
use crate::stand::{Stand, Way};
use banyan_testkit::oscar::{Outcome, Shopper, Visitor, race};
use serde_json::json;
use std::collections::BTreeMap;

const SHOPPERS: usize = 12;
const UNITS: i64 = 5;
/// Every reference of the shop, in the order in which they are cut.
const REFERENCES: [&str; 5] = ["product_page", "basket", "dashboard", "other_pages", "jobs"];

#[test]
fn stock_moves_to_banyan_and_back_while_the_shop_is_open() {
    let mut stand = Stand::start();
    let way = Way::start(&stand);
    let mut person = Person::at(&way);
    everything_is_legacy(&stand, &way);
    person.looks_at(&stand, "LTD-8001", "In stock (5 available)", "1-legacy-product");
    person.puts_into_the_basket(&stand, "GAR-7001", "1-legacy-basket");
    a_sale_under_the_same_host(&way);
    stand.put_plugin_in(&way, &[]);
    everything_is_legacy(&stand, &way);

    way.create_bookkeeping();
    way.moves_to("mirror");
    the_mirror_follows_whoever_writes(&stand, &way);
    evidence_lets_banyan_answer_the_feed(&stand, &way);

    way.moves_to("lead");
    for sku in ["LTD-8001", "LTD-8002", "LTD-8003"] {
        a_race_sells_what_there_is(&stand, &way, sku);
    }
    person.looks_at(&stand, "LTD-8001", "Unavailable", "2-lead-product");
    the_old_table_follows(&stand, &way);
    the_dashboards_form_counts_in_banyan(&stand, &way, &mut person);
    a_foreign_write_is_put_right(&stand, &way);

    for cut in 1..=REFERENCES.len() {
        stand.put_plugin_in(&way, &REFERENCES[..cut]);
        assert!(Shopper::buys(&way.shop(), stand.product("GAR-7001"), 1).is_ordered());
    }
    a_caller_of_a_marked_route_is_a_reference(&way);
    way.until_nobody_is_left(|| look_at_everything(&stand, &way));
    way.moves_to("retired");
    orders_go_on_without_the_columns(&stand, &way);
    // The columns say five, as they did when Banyan stopped to keep them: the page asks Banyan.
    person.looks_at(&stand, "LTD-8004", "Unavailable", "3-retired-product");
    person.puts_into_the_basket(&stand, "GAR-7001", "3-retired-basket");

    way.moves_to("lead");
    way.until_equal(&stand);
    way.moves_to("mirror");
    the_old_shop_decides_again(&stand, &way);
    way.moves_to("lead");
    a_race_sells_what_there_is(&stand, &way, "LTD-8005");
    way.until_equal(&stand);
    way.ends_well();
}

fn everything_is_legacy(stand: &Stand, way: &Way) {
    let (sku, before) = ("KIT-1003", stand.row("KIT-1003").1.unwrap_or(0));
    let outcome = Shopper::buys(&way.shop(), stand.product(sku), 1);
    assert!(outcome.is_ordered(), "{outcome:?}");
    assert_eq!(stand.row(sku).1, Some(before + 1));
}

fn a_sale_under_the_same_host(way: &Way) {
    let campaign = json!({"id": "noon", "name": "Noon", "quantity": 1, "per_member": 1,
        "benefit": {"amount": {"minor": 500, "currency": "GBP"}}});
    let mut http = way.through_the_gateway();
    http.post("/v1/campaigns", &campaign).expect("an answer").expect(201);
    http.post("/v1/campaigns/noon/coupons", &json!({"member": "ada"})).expect("an answer").expect(201);
    let late = http.post("/v1/campaigns/noon/coupons", &json!({"member": "ben"})).expect("an answer");
    late.expect_problem(409, "sold-out");
    let page = Visitor::at(&way.shop()).and_then(|mut visitor| visitor.get("/catalogue/")).expect("a page");
    assert!(page.text.contains("All products"), "the rest is the old shop's");
}

fn the_mirror_follows_whoever_writes(stand: &Stand, way: &Way) {
    way.until_equal(stand);
    assert!(Shopper::buys(&way.shop(), stand.product("HOM-5001"), 3).is_ordered());
    way.until_item("HOM-5001", 47, 0, 3);
    stand.sql("update partner_stockrecord set num_in_stock = 60 where partner_sku = 'HOM-5001'");
    way.until_item("HOM-5001", 57, 0, 3);
    let wanted = json!({"lines": [{"sku": "HOM-5001", "quantity": 1}]});
    way.reserve("early", &wanted).expect_problem(409, "not-leading");
    way.until_equal(stand);
}

/// The gate names every marked route: one that only the shop can answer, and one whose answers are compared until that is enough.
fn evidence_lets_banyan_answer_the_feed(stand: &Stand, way: &Way) {
    let gate = way.gate("lead", "evidence");
    let found = gate["found"].as_str().unwrap_or_default();
    assert!(found.contains("warehouse: only the old shop"), "{gate}");
    assert!(gate["holds"] == false && found.contains("stock-feed: shadow, so far 0 of 100"), "{gate}");
    let skus = stand.sql("select partner_sku from partner_stockrecord");
    way.until("the feed's answers have been compared often enough", || {
        for sku in skus.lines() {
            let answer = way.the_marketplace_asks(sku);
            assert!(answer["sku"] == sku && answer["available"].is_u64(), "{answer}");
        }
        way.gate("lead", "evidence")["holds"] == true
    });
}

fn a_race_sells_what_there_is(stand: &Stand, way: &Way, sku: &str) {
    let before = stand.ordered(sku);
    let race = race(&way.shop(), stand.product(sku), SHOPPERS);
    assert!(race.failed.is_empty(), "{:?}", race.failed);
    assert_eq!((race.ordered, race.refused), (5, SHOPPERS - 5), "{:?}", race.told);
    assert_eq!(stand.ordered(sku) - before, UNITS);
    way.until(&format!("the old table agrees about {sku}"), || stand.row(sku) == (Some(UNITS), Some(UNITS)));
    way.until_item(sku, 0, 0, 5);
}

/// Ordered, shipped, cancelled, counted: each in the shop, each decided in Banyan, each back in the shop's table.
fn the_old_table_follows(stand: &Stand, way: &Way) {
    let sku = "MUS-4001";
    let agrees = |there, allocated| {
        way.until(&format!("{there} of {sku}, {allocated} spoken for"), || {
            stand.row(sku) == (Some(there), Some(allocated))
        });
    };
    for _ in 0..2 {
        assert!(Shopper::buys(&way.shop(), stand.product(sku), 2).is_ordered());
    }
    agrees(28, 4);
    stand.in_the_shop(way, &format!("ship('{sku}', 0)"));
    agrees(26, 2);
    stand.in_the_shop(way, &format!("cancel('{sku}', 1)"));
    agrees(26, 0);
    stand.in_the_shop(way, &format!("count('{sku}', 30)"));
    agrees(30, 0);
    let page = stand.administrator().get(&format!("/dashboard/catalogue/products/{}/", stand.product(sku)));
    let page = page.expect("a page");
    assert!(page.text.contains("name=\"stockrecords-0-num_in_stock\" value=\"30\""), "{}", page.path);
    way.until_equal(stand);
}

/// Counted by the shop's staff in the page they know: decided in Banyan, shown in the shop's own table and in the form.
fn the_dashboards_form_counts_in_banyan(stand: &Stand, way: &Way, person: &mut Person) {
    let breaches = way.status()["breaches"].clone();
    person.counts_in_the_dashboard(stand, "MUS-4001", 24, "2-lead-dashboard");
    way.until_item("MUS-4001", 24, 0, 0);
    way.until("the old table says so", || stand.row("MUS-4001") == (Some(24), Some(0)));
    assert_eq!(way.status()["breaches"], breaches, "the form is no foreign write");
}

fn a_foreign_write_is_put_right(stand: &Stand, way: &Way) {
    let before = way.status()["breaches"].as_u64().unwrap_or(0);
    stand.sql("update partner_stockrecord set num_in_stock = 999 where partner_sku = 'BOK-3001'");
    way.until("the write is noticed", || way.status()["breaches"].as_u64().unwrap_or(0) > before);
    way.until("the row is put right", || stand.row("BOK-3001").0 == Some(75));
}

fn a_caller_of_a_marked_route_is_a_reference(way: &Way) {
    way.the_warehouse_looks();
    let ledger = way.references();
    let routes = ledger["references"].as_array().into_iter().flatten().filter(|one| one["kind"] == "route");
    let callers: BTreeMap<&str, bool> =
        routes.filter_map(|one| Some((one["caller"].as_str()?, one["left"] == true))).collect();
    assert_eq!(callers.get("warehouse"), Some(&true), "{ledger}");
    let known = ["marketplace", "warehouse"];
    assert!(callers.keys().eq(&known), "pages whose route is not marked are no references: {ledger}");
    assert_eq!(way.gate("retired", "references")["holds"], false);
}

fn look_at_everything(stand: &Stand, way: &Way) {
    let mut visitor = Visitor::at(&way.shop()).expect("an address");
    for path in ["/catalogue/", "/search/?q=brass", "/basket/"] {
        assert_eq!(visitor.get(path).expect("a page").status, 200, "{path}");
    }
    let dashboard = format!("/dashboard/catalogue/products/{}/", stand.product("KIT-1001"));
    assert_eq!(stand.administrator().get(&dashboard).expect("a page").status, 200);
}

fn orders_go_on_without_the_columns(stand: &Stand, way: &Way) {
    let (sku, before) = ("LTD-8004", stand.row("LTD-8004"));
    let race = race(&way.shop(), stand.product(sku), SHOPPERS);
    assert_eq!((race.ordered, race.refused, &race.failed), (5, SHOPPERS - 5, &Vec::new()));
    way.until_item(sku, 0, 0, 5);
    assert_eq!(stand.row(sku), before, "nobody keeps the columns any more");
    let last = Shopper::buys(&way.shop(), stand.product(sku), 1);
    assert!(matches!(last, Outcome::Refused { .. }), "{last:?}");
}

fn the_old_shop_decides_again(stand: &Stand, way: &Way) {
    let (sku, (there, allocated)) = ("OUT-2003", stand.row("OUT-2003"));
    assert!(Shopper::buys(&way.shop(), stand.product(sku), 1).is_ordered());
    assert_eq!(
        stand.row(sku),
        (there, Some(allocated.unwrap_or(0) + 1)),
        "in the same transaction as the order"
    );
    way.until_equal(stand);
}
