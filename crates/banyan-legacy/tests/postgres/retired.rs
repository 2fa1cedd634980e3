//! Phase `retired`: the mapped columns may go, the outbox is still heard, and the way back needs the columns.

use crate::shop::{Shop, TABLE, mapping, next, session, snapshot, transaction};
use banyan_domain::legacy::Phase;
use banyan_legacy::{CheckLevel, Finding, Item, LegacyError, Mapping, OldDatabase, OutboxRow};
use std::sync::Arc;

fn stops(findings: &[Finding]) -> Vec<String> {
    let stops = findings.iter().filter(|finding| finding.level == CheckLevel::Stop);
    stops.map(|finding| format!("{}: {}", finding.subject, finding.found)).collect()
}

/// The bookkeeping row as after a move from `lead`.
const RETIRE: &str = "update banyan_sync set phase = 'retired', epoch = 2, move = 3";

async fn say(shop: &Shop, quantity: u32) {
    let body = format!("{{\"sku\": \"A\", \"location\": \"1\", \"quantity\": {quantity}}}");
    shop.tell("ship", &body).await;
}

/// The next message, past transactions that ask nothing of anybody.
async fn hear(stream: &mut Box<dyn banyan_legacy::ChangeStream>) -> OutboxRow {
    loop {
        let found = transaction(stream).await;
        if let [row] = found.outbox.as_slice() {
            return row.clone();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn in_retired_the_columns_and_the_table_may_go_and_the_outbox_is_still_heard() {
    let (shop, database) = Shop::ready().await;
    shop.add("A", 5, 0).await;
    shop.lead().await;
    let (mut stream, source, position, _) = snapshot(&database).await;
    shop.run(RETIRE).await;
    assert_eq!(transaction(&mut stream).await.switched.map(|book| book.phase), Some(Phase::Retired));

    // A stream that runs on.
    shop.run("alter table stockrecord drop column num_in_stock").await;
    shop.run("update stockrecord set note = 'still here'").await;
    say(&shop, 1).await;
    assert!(hear(&mut stream).await.body.contains("\"quantity\": 1"));
    // One that begins again.
    drop(stream);
    shop.run("update stockrecord set note = 'again'").await;
    say(&shop, 2).await;
    let deadline = tokio::time::Instant::now() + crate::shop::PATIENCE;
    let mut stream = loop {
        match database.stream(Some((source.clone(), position))).await {
            Ok(stream) => break stream,
            // The one before may still be on its way out.
            Err(LegacyError::Broken(_) | LegacyError::Refused(_))
                if tokio::time::Instant::now() < deadline => {}
            Err(error) => panic!("{error}"),
        }
    };
    while !hear(&mut stream).await.body.contains("\"quantity\": 2") {}
    shop.run("drop table stockrecord").await;
    say(&shop, 3).await;
    assert!(hear(&mut stream).await.body.contains("\"quantity\": 3"));
    assert_eq!(database.health().await.expect("health").faults, [""; 0]);
    assert_eq!(stops(&database.check().await), [""; 0], "what is not needed is not asked for");
    assert_eq!(database.create().await, Ok(vec![]));

    // Without the slot: no rows, and what was left in the outbox.
    drop(stream);
    database.drop_stream().await.expect("dropped");
    let mut stream = database.stream(None).await.expect("a new one");
    assert!(matches!(next(&mut stream).await, Ok(Item::SnapshotBegin { .. })));
    let Ok(Item::Outbox(left)) = next(&mut stream).await else { panic!("nothing was left") };
    assert_eq!(left.len(), 3);
    assert_eq!(next(&mut stream).await, Ok(Item::SnapshotEnd));

    // The way back.
    let missing = stops(&database.check_for(Phase::Lead).await);
    assert!(missing.iter().any(|stop| stop.contains("stockrecord: there is no such table")), "{missing:?}");
    shop.run(TABLE).await;
    let missing = stops(&database.check_for(Phase::Lead).await);
    assert!(missing.iter().any(|stop| stop.contains("does not have public.stockrecord")), "{missing:?}");
    let made = database.create().await.expect("made");
    assert!(made.iter().any(|line| line.contains("add table \"public\".\"stockrecord\"")), "{made:?}");
    assert_eq!(stops(&database.check_for(Phase::Lead).await), [""; 0]);
    shop.run("update banyan_sync set phase = 'lead', epoch = 3, move = 4").await;
    shop.run("insert into stockrecord (partner_sku, num_in_stock) values ('B', 7)").await;
    let rows = loop {
        let found = transaction(&mut stream).await;
        if !found.changes.is_empty() {
            break found.changes;
        }
    };
    assert!(format!("{rows:?}").contains("Some(7)"), "{rows:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mapping_of_the_outbox_alone_leaves_the_table_alone_and_only_in_retired() {
    let (shop, whole) = Shop::ready().await;
    shop.add("A", 5, 0).await;
    shop.lead().await;
    let outbox_only = Arc::new(Mapping { outbox_only: true, ..(*mapping("")).clone() });
    let database = shop.database(&outbox_only);
    let refused = stops(&database.check().await);
    assert!(refused.iter().any(|stop| stop.contains("phase lead needs public.stockrecord")), "{refused:?}");
    let error = database.stream(None).await.err().expect("Banyan leads");
    assert!(matches!(&error, LegacyError::Refused(why) if why.contains("outbox_only")), "{error}");

    shop.run(RETIRE).await;
    assert_eq!(stops(&database.check().await), [""; 0]);
    let made = database.create().await.expect("made");
    assert_eq!(made, ["alter publication \"banyan_stock\" drop table \"public\".\"stockrecord\""]);
    assert_eq!(database.create().await, Ok(vec![]));
    let (mut stream, _, _, rows) = snapshot(&database).await;
    assert_eq!(rows, []);
    shop.run("update stockrecord set num_in_stock = 9").await;
    say(&shop, 1).await;
    let heard = transaction(&mut stream).await;
    assert_eq!((heard.changes.len(), heard.outbox.len()), (0, 1), "the table is not even sent");

    let refused = stops(&database.check_for(Phase::Lead).await);
    assert!(refused.iter().any(|stop| stop.contains("outbox_only = true, and phase lead")), "{refused:?}");
    let refused = stops(&whole.check_for(Phase::Lead).await);
    assert!(refused.iter().any(|stop| stop.contains("does not have public.stockrecord")), "{refused:?}");
    whole.create().await.expect("made");
    assert_eq!(stops(&whole.check_for(Phase::Lead).await), [""; 0]);
}

/// Waits until so many sessions read our slot, or make it.
async fn until_readers(shop: &Shop, count: i64) {
    let reads = "select count(*) from pg_replication_slots where slot_name = 'banyan_stock' and active";
    let end = tokio::time::Instant::now() + crate::shop::PATIENCE;
    while shop.number(reads).await != count {
        assert!(tokio::time::Instant::now() < end, "waited in vain for {count} readers");
    }
}

/// (It was a copy without rows, which count where the old shop leads: every item would have become zero.)
#[tokio::test(flavor = "multi_thread")]
async fn a_copy_that_was_begun_without_the_tables_is_refused_if_its_own_row_says_that_they_count() {
    let (shop, whole) = Shop::ready().await;
    shop.add("A", 5, 0).await;
    shop.lead().await;
    shop.run(RETIRE).await;
    let outbox_only = Arc::new(Mapping { outbox_only: true, ..(*mapping("")).clone() });
    let outbox_only = Arc::new(shop.database(&outbox_only));
    outbox_only.create().await.expect("made");
    // What is wrong is found when the tables are looked at again.
    for (database, then) in
        [(outbox_only, "outbox_only = true"), (Arc::new(whole), "does not have public.stockrecord")]
    {
        shop.run(RETIRE).await;
        // The lead is taken back by hand after the tables were looked for, and before the copy's own moment: the slot begins when
        // every transaction under way has ended.
        until_readers(&shop, 0).await;
        let by_hand = session(&shop.server.url()).await;
        let take = "begin; update banyan_sync set phase = 'legacy', epoch = 3";
        by_hand.batch_execute(take).await.expect("taken");
        let copying = tokio::spawn({
            let database = database.clone();
            async move { database.stream(None).await.err() }
        });
        until_readers(&shop, 1).await;
        by_hand.batch_execute("commit").await.expect("committed");
        let error = copying.await.expect("no panic").expect("no copy");
        assert!(matches!(&error, LegacyError::Broken(why) if why.contains("left out")), "{error}");
        let error = database.stream(None).await.err().expect("no copy");
        assert!(matches!(&error, LegacyError::Refused(why) if why.contains(then)), "{error}");
    }
}
