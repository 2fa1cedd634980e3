//! A real MariaDB, a real shard and the keeper between them: what others write to what Banyan owns.

mod maria;

use banyan_domain::legacy::Phase;
use banyan_legacy::mysql::Mysql;
use banyan_legacy_testkit::{Banyan, Kept, until};
use banyan_testkit::{MariaDb, MariaDbOptions};
use maria::{SCHEMA, Shop};
use std::sync::Arc;

/// Banyan beside `shop`, kept.
fn beside(shop: &Shop) -> Kept {
    let database = Mysql::at(shop.mapping.clone(), &shop.server.url()).expect("an address");
    Banyan::beside(Arc::new(database), shop.mapping.clone()).kept()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_others_write_to_owned_columns_is_noticed_and_put_right() {
    let shop = Shop::open(&MariaDbOptions::default()).await;
    shop.sql(
        "insert into stock (sku, place, num_in_stock, num_allocated) values ('A', 'main', 5, 1), ('B', 'main', 7, null); \
         insert into display values ('A', 2), ('B', 2)",
    );
    let mut banyan = beside(&shop);
    banyan.goes(Phase::Mirror).await;
    // While the old shop leads, nobody's write is foreign.
    shop.sql("update stock set num_in_stock = 6 where sku = 'A'");
    until("the old shop's own write", async || banyan.books("A", "main").await == Some((6, 1))).await;
    banyan.goes(Phase::Lead).await;
    assert_eq!(banyan.state().await.breaches, 0);

    let row = |sku: &str| {
        shop.sql(&format!("select num_in_stock, ifnull(num_allocated, 0) from stock where sku = '{sku}'"))
    };
    shop.sql("update stock set num_in_stock = 77 where sku = 'A'");
    until("the first foreign write", async || banyan.state().await.breaches == 1).await;
    until("the row to be put right", async || row("A") == "6\t1").await;
    // Two rows in one statement, of which one is in the other table; and a column that nobody owns.
    shop.sql(
        "update stock, display set num_allocated = 3, units = 9 where stock.sku = 'B' and display.sku = 'B'",
    );
    shop.sql("update stock set note = 'seen'");
    until("both of the next", async || banyan.state().await.breaches == 3).await;
    until("these to be put right", async || row("B") == "7\t0").await;
    until("the display too", async || shop.sql("select units from display where sku = 'B'") == "2").await;
    assert_eq!(banyan.books("A", "main").await, Some((6, 1)), "Banyan's own numbers are not moved by it");

    // Put right with our own writes, which come back and are not taken for somebody else's.
    shop.sql("insert into banyan_outbox (capability, kind, body) values ('stock', 'count', '{\"sku\": \"B\", \"location\": \"main\", \"on_hand\": 4}')");
    until("a count after all of it", async || row("B") == "4\t0").await;
    assert_eq!(banyan.keeper().compare(false).await, Ok((4, 0)));
    assert_eq!(banyan.state().await.breaches, 3);
    banyan.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_the_log_does_not_tell_of_is_put_right_in_the_mirror() {
    let shop = Shop::open(&MariaDbOptions::default()).await;
    shop.sql(
        "insert into stock (sku, place, num_in_stock, num_allocated) \
         values ('A', 'main', 5, 1), ('B', 'main', 7, null), ('C', 'main', 3, 0)",
    );
    let mut banyan = beside(&shop);
    banyan.goes(Phase::Mirror).await;
    assert_eq!(banyan.books("C", "main").await, Some((3, 0)));
    // As what a cascade does, or a trigger within Banyan's own write: the row was different until somebody wrote it again.
    shop.sql(
        "set sql_log_bin = 0; update stock set num_in_stock = 60 where sku = 'A'; delete from stock where sku = 'C'",
    );
    assert_eq!(banyan.keeper().compare(true).await, Ok((2, 0)), "put right, so nothing differs any more");
    assert_eq!(banyan.books("A", "main").await, Some((60, 1)));
    assert_eq!(banyan.books("B", "main").await, Some((7, 0)));
    assert_eq!(banyan.books("C", "main").await, Some((0, 0)));
    until("the outbox to be cleared", async || shop.sql("select count(*) from banyan_outbox") == "0").await;
    // What the shop writes afterwards is not undone by it.
    shop.sql("update stock set num_in_stock = 59 where sku = 'A'");
    until("the next write", async || banyan.books("A", "main").await == Some((59, 1))).await;
    banyan.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mirror_without_tables_of_ours_comes_and_goes_and_never_leads() {
    let server = MariaDb::start(&MariaDbOptions::default()).expect("mariadb");
    server.sql(SCHEMA).expect("the small shop");
    server
        .sql("insert into stock (sku, place, num_in_stock, num_allocated) values ('A', 'main', 5, 1)")
        .expect("a row");
    let mapping =
        maria::mapping(&maria::MAPPING.replace("server_id = 4711", "server_id = 4711\nbookkeeping = false"));
    let database = Mysql::at(mapping.clone(), &server.url()).expect("an address");
    let shop = Shop { server, mapping, database };
    let mut banyan = beside(&shop);

    banyan.goes(Phase::Mirror).await;
    until("the copy", async || banyan.books("A", "main").await == Some((5, 1))).await;
    shop.sql("update stock set num_allocated = 2 where sku = 'A'");
    until("a change", async || banyan.books("A", "main").await == Some((5, 2))).await;
    assert_eq!(banyan.keeper().compare(true).await, Ok((1, 0)));
    assert_eq!(shop.sql("show tables like 'banyan%'"), "");

    let gates = banyan.keeper().plan(Phase::Lead).await.expect("it runs").gates;
    let preflight = gates.iter().find(|gate| gate.name == "preflight").expect("every move has it");
    assert!(!preflight.holds && preflight.found.contains("bookkeeping = false"), "{preflight:?}");

    banyan.goes(Phase::Legacy).await;
    banyan.stop().await;
}
