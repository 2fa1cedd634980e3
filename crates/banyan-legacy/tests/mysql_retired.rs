//! Phase `retired` with a real MariaDB: mapped columns and tables may go, the outbox is still heard, the way back needs them.

mod maria;

use banyan_domain::legacy::Phase;
use banyan_legacy::{ChangeStream, CheckLevel, Finding, Item, LegacyError, Mapping, OldDatabase};
use banyan_testkit::MariaDbOptions;
use maria::{Follower, Shop, follow, next};
use std::sync::Arc;

fn stops(findings: &[Finding]) -> Vec<String> {
    let stops = findings.iter().filter(|finding| finding.level == CheckLevel::Stop);
    stops.map(|finding| format!("{}: {}", finding.subject, finding.found)).collect()
}

fn say(shop: &Shop, word: &str) {
    shop.sql(&format!(
        "insert into banyan_outbox (capability, kind, body) values ('stock', 'ship', '{word}')"
    ));
}

/// Reads on until a message says `word`. Gives how many rows came before it.
async fn hear(stream: &mut dyn ChangeStream, word: &str) -> usize {
    let mut rows = 0;
    loop {
        match next(stream).await.expect("an item") {
            Item::Transaction(found) => {
                rows += found.changes.len();
                if found.outbox.iter().any(|row| row.body == word) {
                    return rows;
                }
            }
            Item::Rows(found) => rows += found.len(),
            Item::SchemaChanged { what } => panic!("the stream ended: {what}"),
            _ => {}
        }
    }
}

#[tokio::test]
async fn in_retired_columns_and_tables_may_go_and_the_outbox_is_still_heard() {
    let shop = Shop::open(&MariaDbOptions::default()).await;
    shop.sql("insert into stock (sku, num_in_stock) values ('A', 5); insert into display values ('A', 1)");
    shop.sql("update banyan_sync set phase = 'lead', epoch = 1, move = 2");
    let mut stream = shop.database.stream(None).await.expect("a stream");
    let mut follower = Follower::default();
    follow(&mut *stream, &mut follower, |follower| follower.snapshots == 1).await;
    shop.sql("update banyan_sync set phase = 'retired', epoch = 2, move = 3");
    shop.sql("drop table stock");
    shop.sql("update display set units = 3");
    shop.sql("alter table display add column note text first, drop column units");
    shop.sql("update display set note = 'nothing here'");
    say(&shop, "one");
    hear(&mut *stream, "one").await;
    // One that begins again, from before all that.
    drop(stream);
    let mut stream = shop.database.stream(follower.from()).await.expect("a stream");
    hear(&mut *stream, "one").await;
    assert_eq!(stops(&shop.database.check().await), [""; 0], "what is not needed is not asked for");
    assert_eq!(shop.database.create().await, Ok(vec![]));
    let missing = stops(&shop.database.check_for(Phase::Lead).await);
    assert!(missing.iter().any(|stop| stop.contains("there is no table shop.stock")), "{missing:?}");
    assert!(missing.iter().any(|stop| stop.contains("no column units")), "{missing:?}");

    // The stream that runs takes tables up again that came back.
    shop.sql("alter table display add column units tinyint unsigned");
    shop.sql(
        "create table stock (id bigint auto_increment primary key, sku varchar(40) not null, place varchar(20) not null default 'main', \
         num_in_stock int, num_allocated int, key (sku))",
    );
    assert_eq!(stops(&shop.database.check_for(Phase::Lead).await), [""; 0]);
    shop.sql("update banyan_sync set phase = 'lead', epoch = 3, move = 4");
    shop.sql("insert into stock (sku, num_in_stock) values ('B', 7)");
    say(&shop, "two");
    assert_eq!(hear(&mut *stream, "two").await, 1, "the row of B");
}

#[tokio::test]
async fn a_mapping_of_the_outbox_alone_leaves_the_tables_alone_and_only_in_retired() {
    let shop = Shop::open(&MariaDbOptions::default()).await;
    shop.sql("insert into stock (sku, num_in_stock) values ('A', 5)");
    shop.sql("update banyan_sync set phase = 'lead', epoch = 1, move = 2");
    let outbox_only = Arc::new(Mapping { outbox_only: true, ..(*shop.mapping).clone() });
    let database = banyan_legacy::mysql::Mysql::at(outbox_only, &shop.server.url()).expect("an address");
    let refused = stops(&database.check().await);
    assert!(refused.iter().any(|stop| stop.contains("phase lead needs")), "{refused:?}");
    let error = database.stream(None).await.err().expect("Banyan leads");
    assert!(matches!(&error, LegacyError::Refused(why) if why.contains("outbox_only")), "{error}");
    shop.sql("update banyan_sync set phase = 'retired', epoch = 2, move = 3");
    assert_eq!(stops(&database.check().await), [""; 0]);
    let mut stream = database.stream(None).await.expect("a stream");
    while next(&mut *stream).await.expect("an item") != Item::SnapshotEnd {}
    shop.sql("update stock set num_in_stock = 9");
    say(&shop, "one");
    assert_eq!(hear(&mut *stream, "one").await, 0, "the tables are not looked at");
    let refused = stops(&database.check_for(Phase::Lead).await);
    assert!(refused.iter().any(|stop| stop.contains("outbox_only = true, and phase lead")), "{refused:?}");
    assert_eq!(stops(&shop.database.check_for(Phase::Lead).await), [""; 0]);
}

/// (It was a copy without rows, which count where the old shop leads: every item would have become zero.)
#[tokio::test]
async fn a_copy_that_was_begun_without_the_tables_is_refused_if_its_own_row_says_that_they_count() {
    let shop = Shop::open(&MariaDbOptions::default()).await;
    shop.sql("insert into stock (sku, num_in_stock) values ('A', 5); insert into display values ('A', 1)");
    let outbox_only = Arc::new(Mapping { outbox_only: true, ..(*shop.mapping).clone() });
    let outbox_only = banyan_legacy::mysql::Mysql::at(outbox_only, &shop.server.url()).expect("an address");
    // What is wrong is found when the tables are looked at again.
    for (database, table, then) in
        [(&outbox_only, "stock", "outbox_only = true"), (&shop.database, "display", "no table shop.display")]
    {
        shop.sql("update banyan_sync set phase = 'retired', epoch = 2, move = 3");
        shop.sql(&format!("drop table {table}"));
        let mut stream = database.stream(None).await.expect("a stream");
        // The lead is taken back by hand after the tables were looked for. The copy begins with the next look at the stream: both
        // are on this thread.
        shop.sql("update banyan_sync set phase = 'legacy', epoch = 3");
        let error = next(&mut *stream).await.expect_err("no copy");
        assert!(matches!(&error, LegacyError::Broken(why) if why.contains("left out")), "{error}");
        let error = database.stream(None).await.err().expect("no copy");
        assert!(matches!(&error, LegacyError::Refused(why) if why.contains(then)), "{error}");
        shop.sql("create table if not exists stock (id bigint auto_increment primary key, sku varchar(40) not null, \
                  place varchar(20) not null default 'main', num_in_stock int, num_allocated int, key (sku))");
    }
}
