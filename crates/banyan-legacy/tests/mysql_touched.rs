//! Rows that Banyan says again in a mirror of a real MariaDB, beside orders that lock the same rows.

mod maria;

use banyan_legacy::{LegacyError, OldDatabase};
use banyan_testkit::MariaDbOptions;
use maria::{SOON, Shop};
use mysql_async::Conn;
use mysql_async::prelude::Queryable;
use std::collections::BTreeMap;
use std::time::Duration;

/// Rows A to D with 5, 6, 7, 8 units, in a table without an index on its SKUs, in a mirror.
async fn mirror() -> Shop {
    let shop = Shop::open(&MariaDbOptions::default()).await;
    shop.sql(
        "alter table stock drop key stock_item; \
         insert into stock (sku, num_in_stock) values ('A', 5), ('B', 6), ('C', 7), ('D', 8); \
         update banyan_sync set phase = 'mirror'; update banyan_door set phase = 'mirror'",
    );
    shop
}

/// A session of the shop, with an order under way that has changed a row.
async fn order(shop: &Shop, sku: &str) -> Conn {
    let mut order = Conn::from_url(shop.server.url()).await.expect("a connection");
    order.query_drop("start transaction").await.expect("begun");
    sell(&mut order, sku).await;
    order
}

/// By the key, as a shop does that has read the row before.
async fn sell(order: &mut Conn, sku: &str) {
    let find = format!("select id from stock where sku = '{sku}'");
    let id: u64 = order.query_first(find).await.expect("an answer").expect("a row");
    let sell = format!("update stock set num_in_stock = num_in_stock - 1 where id = {id}");
    order.query_drop(sell).await.expect("sold");
}

fn items(skus: &[&str]) -> Vec<(usize, String, String)> {
    skus.iter().map(|sku| (0, (*sku).to_owned(), "main".to_owned())).collect()
}

/// What was said last of each: SKU and units.
fn said(shop: &Shop) -> String {
    let mut newest = BTreeMap::new();
    for body in shop.sql("select body from banyan_outbox where kind = 'row' order by id").lines() {
        let body: serde_json::Value = serde_json::from_str(body).expect("JSON");
        newest.insert(body["sku"].as_str().expect("a name").to_owned(), body["in_stock"].as_i64());
    }
    let said = newest.iter().map(|(sku, units)| match units {
        Some(units) => format!("{sku} {units}"),
        None => format!("{sku} none"),
    });
    said.collect::<Vec<_>>().join(", ")
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_are_said_again_without_waiting_for_orders_of_other_rows_where_no_index_has_the_sku() {
    let shop = mirror().await;
    let order = order(&shop, "C").await;
    shop.database.touch(&items(&["A", "gone", "D"])).await.expect("nobody has these rows");
    assert_eq!(said(&shop), "A 5, D 8, gone none");
    drop(order);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_an_order_keeps_locked_is_tried_in_ever_smaller_pieces_and_the_others_are_said() {
    let shop = mirror().await;
    let mut order = order(&shop, "C").await;
    let all = items(&["A", "B", "C", "D"]);
    let kept = shop.database.touch(&all).await;
    assert!(matches!(&kept, Err(LegacyError::Broken(why)) if why.contains("1 of 4")), "{kept:?}");
    assert_eq!(said(&shop), "A 5, B 6, D 8");
    order.query_drop("commit").await.expect("committed");
    shop.database.touch(&all).await.expect("nobody is in the way");
    assert_eq!(said(&shop), "A 5, B 6, C 6, D 8");
    assert_eq!(shop.sql("select @@global.innodb_lock_wait_timeout"), "50", "of our own sessions only");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_and_rows_that_are_said_again_do_not_end_in_a_deadlock_for_long() {
    let shop = mirror().await;
    let mut order = order(&shop, "C").await;
    let all = items(&["A", "C"]);
    // Not from innodb_trx: whoever asks more often than every tenth of a second is told what it told before.
    let waits = "select variable_value from information_schema.global_status \
                 where variable_name = 'innodb_row_lock_current_waits'";
    let (_, ()) = tokio::join!(shop.database.touch(&all), async {
        // It has A, or had it a moment ago, and waits for C.
        let until = tokio::time::Instant::now() + SOON;
        while shop.sql(waits) != "1" {
            assert!(tokio::time::Instant::now() < until, "nobody waits");
            // The server tells nobody that a transaction has begun to wait.
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        sell(&mut order, "A").await;
        order.query_drop("commit").await.expect("the order is never the one that is ended");
    });
    assert_eq!(shop.sql("select group_concat(num_in_stock order by id) from stock"), "4,6,6,8");
    shop.database.touch(&all).await.expect("nobody is in the way");
    assert_eq!(said(&shop), "A 4, C 6");
}
