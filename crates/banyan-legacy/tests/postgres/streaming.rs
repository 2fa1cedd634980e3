//! Snapshot and stream: what comes, in which order, and how it goes on.

use crate::shop::{PATIENCE, Shop, mapping, next, row, session, snapshot, transaction};
use banyan_domain::legacy::Phase;
use banyan_legacy::{Book, Change, Item, LegacyError, OldDatabase};
use banyan_testkit::PostgresOptions;
use std::collections::BTreeMap;

#[tokio::test(flavor = "multi_thread")]
async fn rows_come_once_then_transactions_in_order() {
    let (shop, database) = Shop::ready().await;
    shop.add("A", 5, 2).await;
    shop.run("insert into stockrecord (partner_sku) values ('NULLS')").await;
    let (mut stream, source, position, mut rows) = snapshot(&database).await;
    rows.sort_by(|a, b| a.sku.cmp(&b.sku));
    assert_eq!(rows, [row("A", Some(5), Some(2)), row("NULLS", None, None)]);
    assert!(source.system.contains("/1/postgres"), "{source:?}");

    shop.run(
        "begin; update stockrecord set num_in_stock = 4 where partner_sku = 'A'; \
              insert into stockrecord (partner_sku, num_in_stock) values ('B', 1); commit",
    )
    .await;
    shop.run("delete from stockrecord where partner_sku = 'A'").await;
    shop.run("update stockrecord set partner_sku = 'C' where partner_sku = 'B'").await;
    shop.run("truncate stockrecord").await;
    let first = transaction(&mut stream).await;
    assert!(
        first.position > position && first.part == 1 && first.last && first.committed_millis > 0,
        "{first:?}"
    );
    let update =
        Change::Update { before: Some(row("A", Some(5), Some(2))), after: row("A", Some(4), Some(2)) };
    assert_eq!(first.changes, [update, Change::Insert(row("B", Some(1), None))]);
    let second = transaction(&mut stream).await;
    assert!(second.position > first.position);
    assert_eq!(second.changes, [Change::Delete(row("A", Some(4), Some(2)))]);
    let renamed = Change::Update { before: Some(row("B", Some(1), None)), after: row("C", Some(1), None) };
    assert_eq!(transaction(&mut stream).await.changes, [renamed]);
    assert_eq!(transaction(&mut stream).await.changes, [Change::Truncate { table: 0 }]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_not_acknowledged_comes_again_and_the_rest_does_not() {
    let (shop, database) = Shop::ready().await;
    let (mut stream, source, ..) = snapshot(&database).await;
    for n in 0..5 {
        shop.add(&format!("S{n}"), n, 0).await;
    }
    let mut seen = Vec::new();
    for _ in 0..5 {
        seen.push(transaction(&mut stream).await);
    }
    stream.acknowledge(seen[1].position);
    wait_confirmed(&shop, seen[1].position).await;
    drop(stream);
    // What was acknowledged is gone; everything after it comes again, wherever we say we are.
    for (from, first) in [(seen[1].position, 2), (seen[2].position, 2), (seen[3].position, 2)] {
        let mut again = reopen(&database, (source.clone(), from)).await;
        for expected in &seen[first..] {
            assert_eq!(transaction(&mut again).await, *expected);
        }
    }
}

/// The server needs a moment to see that the reader before is gone.
async fn reopen(
    database: &banyan_legacy::postgres::Postgres,
    from: (banyan_legacy::SourceId, u64),
) -> Box<dyn banyan_legacy::ChangeStream> {
    let deadline = tokio::time::Instant::now() + PATIENCE;
    loop {
        match database.stream(Some(from.clone())).await {
            Ok(stream) => return stream,
            Err(LegacyError::Broken(why)) if tokio::time::Instant::now() < deadline => {
                assert!(why.contains("active"), "{why}");
                tokio::task::yield_now().await;
            }
            Err(error) => panic!("{error}"),
        }
    }
}

async fn wait_confirmed(shop: &Shop, position: u64) {
    let sql = "select (confirmed_flush_lsn - '0/0')::bigint from pg_replication_slots where slot_name = 'banyan_stock'";
    let deadline = tokio::time::Instant::now() + PATIENCE;
    while shop.number(sql).await <= i64::try_from(position).expect("small") {
        assert!(tokio::time::Instant::now() < deadline, "the acknowledgement did not arrive");
        // A condition is looked at again; nobody tells it.
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_under_writes_and_the_stream_after_it_are_seamless() {
    let (shop, database) = Shop::ready().await;
    shop.run("insert into stockrecord (partner_sku, num_in_stock) select 'S' || n, 0 from generate_series(1, 5000) n").await;
    let url = shop.server.url();
    let writer = tokio::spawn(async move {
        let client = session(&url).await;
        for round in 0..300 {
            let sql =
                format!("update stockrecord set num_in_stock = num_in_stock + 1 where id % 300 = {round}");
            client.batch_execute(&sql).await.expect("written");
        }
        client
            .batch_execute("insert into stockrecord (partner_sku, num_in_stock) values ('END', 1)")
            .await
            .expect("written");
    });
    let (mut stream, _, _, rows) = snapshot(&database).await;
    let mut copy: BTreeMap<String, i64> =
        rows.into_iter().map(|row| (row.sku, row.in_stock.unwrap_or(0))).collect();
    while !copy.contains_key("END") {
        for change in transaction(&mut stream).await.changes {
            match change {
                Change::Update { before, after } => {
                    // Each change begins where the copy is: nothing is missing and nothing comes twice.
                    assert_eq!(copy.get(&after.sku).copied(), before.expect("full").in_stock);
                    copy.insert(after.sku, after.in_stock.expect("a number"));
                }
                Change::Insert(row) => {
                    copy.insert(row.sku, row.in_stock.expect("a number"));
                }
                other => panic!("{other:?}"),
            }
        }
    }
    writer.await.expect("the writer");
    assert_eq!(copy.len(), 5001);
    assert_eq!(
        copy.values().sum::<i64>(),
        shop.number("select sum(num_in_stock)::bigint from stockrecord").await
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_transaction_comes_in_parts_that_are_cut_alike_each_time() {
    let (shop, database) = Shop::ready().await;
    let (mut stream, source, position, _) = snapshot(&database).await;
    shop.run("insert into stockrecord (partner_sku, num_in_stock) select 'S' || n, n from generate_series(1, 20001) n").await;
    let mut parts = vec![transaction(&mut stream).await];
    while !parts[parts.len() - 1].last {
        parts.push(transaction(&mut stream).await);
    }
    drop(stream);
    assert!(parts.iter().all(|part| part.changes.len() <= 250 && part.position == parts[0].position));
    assert_eq!(parts.iter().map(|part| part.changes.len()).sum::<usize>(), 20_001);
    assert!((1..).zip(&parts).all(|(number, part)| part.part == number));
    let mut again = reopen(&database, (source, position)).await;
    for part in &parts {
        assert_eq!(transaction(&mut again).await, *part);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn large_values_that_did_not_change_and_columns_that_are_not_mapped_do_not_matter() {
    let (shop, database) = Shop::ready().await;
    // Far beyond what stays in the row, and not to be compressed.
    shop.run(
        "alter table stockrecord alter column note set storage external; \
              insert into stockrecord (partner_sku, num_in_stock, note) values ('T', 1, repeat('x', 100000))",
    )
    .await;
    let (mut stream, _, _, rows) = snapshot(&database).await;
    assert_eq!(rows, [row("T", Some(1), None)]);
    shop.run("update stockrecord set num_in_stock = 2").await;
    let change = Change::Update { before: Some(row("T", Some(1), None)), after: row("T", Some(2), None) };
    assert_eq!(transaction(&mut stream).await.changes, [change]);
    shop.run("alter table stockrecord add column colour text default 'red'; alter table stockrecord drop column note").await;
    shop.run("update stockrecord set num_in_stock = 3").await;
    let change = Change::Update { before: Some(row("T", Some(2), None)), after: row("T", Some(3), None) };
    assert_eq!(transaction(&mut stream).await.changes, [change]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_schema_stops_the_stream_with_a_finding() {
    for (change, says) in [
        ("alter table stockrecord rename column num_in_stock to quantity", "column num_in_stock is gone"),
        ("alter table stockrecord alter column num_in_stock type double precision", "type number 701"),
        ("alter table stockrecord drop column num_allocated", "column num_allocated is gone"),
        ("alter table stockrecord replica identity default", "REPLICA IDENTITY FULL"),
    ] {
        let (shop, database) = Shop::ready().await;
        shop.add("A", 1, 0).await;
        let (mut stream, ..) = snapshot(&database).await;
        shop.run(change).await;
        shop.run("delete from stockrecord").await;
        let what = loop {
            match next(&mut stream).await.expect("an item") {
                Item::SchemaChanged { what } => break what,
                Item::Idle { .. } => {}
                other => panic!("{change}: {other:?}"),
            }
        };
        assert!(what.contains(says), "{change}: {what}");
        assert!(matches!(next(&mut stream).await, Err(LegacyError::Refused(_))), "nothing follows");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idle_stream_lets_the_log_go() {
    let (shop, database) = Shop::ready().await;
    let (mut stream, ..) = snapshot(&database).await;
    let restart =
        "select (restart_lsn - '0/0')::bigint from pg_replication_slots where slot_name = 'banyan_stock'";
    let before = shop.number(restart).await;
    shop.run("create table elsewhere (n bigint, t text)").await;
    let deadline = tokio::time::Instant::now() + PATIENCE;
    while shop.number(restart).await < before + (8 << 20) {
        assert!(tokio::time::Instant::now() < deadline, "the log is kept although nothing in it is ours");
        shop.run(
            "insert into elsewhere select n, repeat('x', 1000) from generate_series(1, 20000) n; checkpoint",
        )
        .await;
        // What is told as idle is acknowledged, as the reader does once it is durable.
        while let Ok(Ok(item)) =
            tokio::time::timeout(std::time::Duration::from_millis(100), stream.next()).await
        {
            let Item::Idle { position } = item else { panic!("{item:?}") };
            stream.acknowledge(position);
        }
    }
    assert_eq!(database.health().await.expect("health").status, "reserved");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_nudge_makes_an_idle_stream_tell_its_place() {
    let (shop, database) = Shop::ready().await;
    let (mut stream, ..) = snapshot(&database).await;
    for round in 0..3 {
        let place = shop.number("select (pg_current_wal_insert_lsn() - '0/0')::bigint").await - 1;
        database.nudge().await.expect("nudged");
        // Behind it, so that without it this would come first.
        shop.add(&format!("S{round}"), 1, 0).await;
        let Item::Idle { position } = next(&mut stream).await.expect("an item") else {
            panic!("not the place")
        };
        assert!(position >= u64::try_from(place).expect("positive"), "{position} is before {place}");
        assert!(transaction(&mut stream).await.position > position);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_tells_the_bookkeeping_row_and_the_outbox_of_its_own_moment() {
    let (shop, database) = Shop::ready().await;
    shop.lead().await;
    shop.run("insert into banyan_outbox (capability, kind, body) values ('stock', 'ship', '{}'), ('other', 'ship', '{}')").await;
    shop.add("A", 1, 0).await;
    let mut stream = database.stream(None).await.expect("a stream");
    // After the copy's moment: the stream tells it.
    shop.run("update banyan_sync set phase = 'mirror', epoch = 2, move = 3").await;
    shop.run("insert into banyan_outbox (capability, kind, body) values ('stock', 'count', '{}')").await;
    let Item::SnapshotBegin { book, .. } = next(&mut stream).await.expect("an item") else {
        panic!("a copy")
    };
    assert_eq!(book, Some(Book { phase: Phase::Lead, epoch: 1, seq: 0, move_no: 2 }));
    let Item::Outbox(left) = next(&mut stream).await.expect("an item") else { panic!("the outbox first") };
    assert_eq!(left.iter().map(|row| (row.id, row.kind.as_str())).collect::<Vec<_>>(), [(1, "ship")]);
    while !matches!(next(&mut stream).await.expect("an item"), Item::SnapshotEnd) {}
    assert_eq!(transaction(&mut stream).await.switched.map(|book| book.phase), Some(Phase::Mirror));
    assert_eq!(transaction(&mut stream).await.outbox[0].kind, "count");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_sign_of_another_source_is_told() {
    let (shop, database) = Shop::ready().await;
    let (mut stream, source, position, _) = snapshot(&database).await;
    shop.add("A", 1, 0).await;
    let seen = transaction(&mut stream).await;
    stream.acknowledge(seen.position);
    wait_confirmed(&shop, seen.position).await;
    drop(stream);
    wait_free(&shop).await;
    let unknown = async |source: &banyan_legacy::SourceId, position: u64| match database
        .stream(Some((source.clone(), position)))
        .await
    {
        Err(LegacyError::SourceUnknown(why)) => why,
        Err(other) => panic!("{other:?}"),
        Ok(_) => panic!("taken for the same"),
    };
    let other = banyan_legacy::SourceId { system: source.system.replace("/1/", "/2/"), ..source.clone() };
    assert!(unknown(&other, seen.position).await.contains("failed over"));
    assert!(unknown(&source, seen.position + (1 << 40)).await.contains("restored"));
    // Somebody acknowledged what we do not have: that is how a slot looks that was made anew, or read by another.
    assert!(unknown(&source, position - 1).await.contains("made anew"));
    shop.run("select pg_drop_replication_slot('banyan_stock')").await;
    assert!(unknown(&source, seen.position).await.contains("is gone"));
    shop.run("select pg_create_logical_replication_slot('banyan_stock', 'test_decoding')").await;
    assert!(unknown(&source, seen.position).await.contains("made anew"));
    let refused = database.stream(None).await.err().expect("not ours to drop");
    assert!(matches!(refused, LegacyError::Refused(_)), "{refused}");
}

async fn wait_free(shop: &Shop) {
    let deadline = tokio::time::Instant::now() + PATIENCE;
    while shop.number("select count(*) from pg_replication_slots where active").await > 0 {
        assert!(tokio::time::Instant::now() < deadline, "the slot is not let go");
        // A condition is looked at again; nobody tells it.
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_taken_out_of_the_publication_is_noticed() {
    let (shop, database) = Shop::ready().await;
    let (stream, source, position, _) = snapshot(&database).await;
    drop(stream);
    shop.run("alter publication banyan_stock drop table stockrecord").await;
    let faults = database.health().await.expect("health").faults;
    assert!(faults.iter().any(|fault| fault.contains("does not have public.stockrecord")), "{faults:?}");
    let error = database.stream(Some((source, position))).await.err().expect("refused");
    assert!(matches!(&error, LegacyError::Refused(why) if why.contains("stockrecord")), "{error}");
    database.create().await.expect("put right");
    assert_eq!(database.health().await.expect("health").faults, Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crash_of_the_server_loses_nothing_that_was_committed() {
    let (mut shop, database) = Shop::ready().await;
    let (mut stream, source, position, _) = snapshot(&database).await;
    shop.add("A", 1, 0).await;
    let first = transaction(&mut stream).await;
    shop.server.crash().expect("killed");
    let broken = loop {
        match next(&mut stream).await {
            Ok(_) => {}
            Err(error) => break error,
        }
    };
    assert!(matches!(broken, LegacyError::Broken(_)), "{broken}");
    shop.server.restart().expect("started");
    shop.client = session(&shop.server.url()).await;
    shop.add("B", 2, 0).await;
    let mut stream = reopen(&database, (source, position)).await;
    assert_eq!(transaction(&mut stream).await, first);
    assert_eq!(transaction(&mut stream).await.changes, [Change::Insert(row("B", Some(2), Some(0)))]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slot_that_kept_too_much_is_given_up_and_told() {
    let options = PostgresOptions::default()
        .set("max_slot_wal_keep_size", "1MB")
        .set("min_wal_size", "32MB")
        .set("max_wal_size", "32MB");
    let shop = Shop::open(options).await;
    let database = shop.database(&mapping(""));
    database.create().await.expect("made");
    let (stream, source, position, _) = snapshot(&database).await;
    drop(stream);
    wait_free(&shop).await;
    shop.run("create table elsewhere (t text)").await;
    let deadline = tokio::time::Instant::now() + PATIENCE;
    while database.health().await.expect("health").status != "lost" {
        assert!(tokio::time::Instant::now() < deadline, "the server kept everything");
        shop.run(
            "insert into elsewhere select repeat('x', 1000) from generate_series(1, 40000) n; checkpoint",
        )
        .await;
    }
    let error = database.stream(Some((source, position))).await.err().expect("lost");
    assert!(matches!(&error, LegacyError::SourceUnknown(_)), "{error}");
    let (_, source, ..) = snapshot(&database).await;
    assert_eq!(source.stream, "banyan_stock");
}
