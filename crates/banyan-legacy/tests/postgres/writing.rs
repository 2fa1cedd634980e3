//! The way out: values with their checkpoint, fences, the switch, and what comes back through the stream.

use crate::shop::{PATIENCE, Shop, mapping, next, row, session, snapshot, transaction};
use banyan_domain::legacy::Phase;
use banyan_legacy::{
    Book, Change, Hold, Item, LegacyError, OldDatabase, Switch, Switched, TargetRow, Written,
};
use banyan_testkit::PostgresOptions;
use std::time::Duration;
use tokio::time::Instant;

fn target(sku: &str, in_stock: i64, allocated: i64) -> TargetRow {
    TargetRow { table: 0, sku: sku.into(), location: "1".into(), in_stock, allocated }
}

#[tokio::test(flavor = "multi_thread")]
async fn values_and_checkpoint_are_written_together_or_not_at_all() {
    let (shop, database) = Shop::ready().await;
    shop.add("A", 5, 0).await;
    shop.lead().await;
    let written = database.write(&[target("A", 3, 1), target("GONE", 1, 0)], 10, 1).await;
    assert_eq!(written, Ok(Written::Done { absent: vec![1] }));
    let book = Book { phase: Phase::Lead, epoch: 1, seq: 10, move_no: 2 };
    assert_eq!(database.book().await, Ok(Some(book)));
    // An older position, another epoch, a phase in which we do not lead: fenced, and nothing written.
    for (seq, epoch) in [(9, 1), (11, 0), (11, 2)] {
        assert_eq!(
            database.write(&[target("A", 0, 0)], seq, epoch).await,
            Ok(Written::Fenced { book: Some(book) })
        );
    }
    shop.run("update banyan_sync set phase = 'mirror'").await;
    assert!(matches!(database.write(&[target("A", 0, 0)], 12, 1).await, Ok(Written::Fenced { .. })));
    assert_eq!(shop.number("select num_in_stock::bigint * 10 + num_allocated from stockrecord").await, 31);
}

#[tokio::test(flavor = "multi_thread")]
async fn statements_of_the_sync_out_are_prepared_once_in_a_session() {
    let shop = Shop::open(PostgresOptions::default().set("log_min_duration_statement", 0)).await;
    let database = shop.database(&mapping(""));
    database.create().await.expect("made");
    shop.add("A", 5, 0).await;
    shop.lead().await;
    // The server writes each step of a statement down before it answers the next.
    let parsed = || {
        let log = std::fs::read_to_string(shop.server.log()).expect("a log");
        let ours = |line: &&str| line.contains(" parse ") && line.contains("banyan");
        log.lines().filter(ours).map(str::to_owned).collect::<Vec<_>>()
    };
    database.write(&[target("A", 1, 0)], 10, 1).await.expect("written");
    let before = parsed();
    assert!(before.iter().any(|line| line.contains("num_in_stock")), "it was prepared: {before:#?}");
    for seq in 11..20 {
        database.write(&[target("A", seq, 0)], seq as u64, 1).await.expect("written");
    }
    assert_eq!(parsed()[before.len()..], [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_column_of_another_type_does_not_stop_a_session_that_knew_it_from_before() {
    let (shop, database) = Shop::ready().await;
    shop.add("A", 5, 0).await;
    shop.lead().await;
    database.write(&[target("A", 1, 0)], 10, 1).await.expect("written");
    shop.run("alter table stockrecord alter partner_id drop default, alter partner_id type varchar(20)")
        .await;
    let written = database.write(&[target("A", 2, 0)], 11, 1).await;
    assert_eq!(written, Ok(Written::Done { absent: vec![] }));
    shop.run("alter table stockrecord rename column num_allocated to sold").await;
    let refused = database.write(&[target("A", 3, 0)], 12, 1).await;
    assert!(
        matches!(&refused, Err(LegacyError::Refused(why)) if why.contains("num_allocated")),
        "{refused:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_value_that_the_column_cannot_hold_refuses_the_whole_write() {
    let (shop, database) = Shop::ready().await;
    shop.add("A", 5, 0).await;
    shop.lead().await;
    let written = database.write(&[target("A", 1 << 40, 0)], 10, 1).await;
    assert!(matches!(&written, Ok(Written::Refused { why }) if why.contains("integer")), "{written:?}");
    assert_eq!(database.book().await.expect("a book").expect("a row").seq, 0);
}

#[tokio::test]
async fn the_time_of_our_own_commits_is_not_taken_from_their_replication_origin() {
    let (shop, database) = Shop::ready().await;
    shop.add("A", 5, 0).await;
    shop.lead().await;
    let (mut stream, ..) = snapshot(&database).await;
    for seq in 10..12 {
        database.write(&[target("A", seq, 0)], seq as u64, 1).await.expect("written");
        // It was that of the session's first commit, or of the year 2000: a lag of 27 years closed the gate of the next move.
        let ours = transaction(&mut stream).await;
        assert_eq!((ours.ours, ours.committed_millis), (Some((seq as u64, 1)), 0));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn echoes_are_told_from_what_triggers_write() {
    let (shop, database) = Shop::ready().await;
    shop.add("A", 5, 0).await;
    shop.add("B", 5, 0).await;
    shop.add("SUM", 10, 0).await;
    shop.run(
        "create function sums() returns trigger language plpgsql as $$ begin \
           update stockrecord set num_in_stock = (select sum(num_in_stock) from stockrecord where partner_sku <> 'SUM') \
           where partner_sku = 'SUM'; return null; end $$; \
         create trigger sums after update on stockrecord for each row when (new.partner_sku <> 'SUM') execute function sums()",
    )
    .await;
    shop.lead().await;
    let (mut stream, ..) = snapshot(&database).await;
    database.write(&[target("A", 3, 0), target("B", 4, 1)], 10, 1).await.expect("written");
    let ours = transaction(&mut stream).await;
    assert_eq!((ours.ours, ours.echoes), (Some((10, 1)), Some(2)));
    assert!(!ours.changes.is_empty(), "what the trigger wrote must flow");
    for change in &ours.changes {
        assert!(matches!(change, Change::Update { after, .. } if after.sku == "SUM"), "{change:?}");
    }
    // A trigger that changes our own row in its course: it does not come back as it was written.
    shop.run(
        "create function more() returns trigger language plpgsql as $$ begin new.num_in_stock = new.num_in_stock + 1; return new; end $$; \
         drop trigger sums on stockrecord; \
         create trigger more before update on stockrecord for each row execute function more()",
    )
    .await;
    database.write(&[target("A", 7, 0)], 11, 1).await.expect("written");
    let ours = transaction(&mut stream).await;
    assert_eq!((ours.ours, ours.echoes), (Some((11, 1)), Some(0)));
    let change =
        Change::Update { before: Some(row("A", Some(3), Some(0))), after: row("A", Some(8), Some(0)) };
    assert_eq!(ours.changes, [change]);
    // Somebody else is not taken for us.
    shop.run("update stockrecord set num_allocated = 9 where partner_sku = 'B'").await;
    let theirs = transaction(&mut stream).await;
    assert_eq!((theirs.ours, theirs.echoes, theirs.changes.len()), (None, None, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_switch_waits_for_orders_and_comes_through_the_stream_in_its_place() {
    let (shop, database) = Shop::ready().await;
    shop.add("A", 5, 0).await;
    let (mut stream, ..) = snapshot(&database).await;
    let mut order = session(&shop.server.url()).await;
    let transaction_of_order = order.transaction().await.expect("begun");
    let lock = "select pg_advisory_xact_lock_shared(hashtext('banyan:stock'))";
    transaction_of_order.batch_execute(lock).await.expect("locked");
    assert!(matches!(database.hold(Duration::from_millis(50)).await, Ok(Hold::LockBusy)));
    transaction_of_order
        .batch_execute("update stockrecord set num_allocated = 1 where partner_sku = 'A'; \
             insert into banyan_outbox (capability, kind, body) values ('stock', 'ship', '{\"sku\": \"A\", \"quantity\": 1}')")
        .await
        .expect("written");
    transaction_of_order.commit().await.expect("committed");
    let Ok(Hold::Held(door)) = database.hold(Duration::from_secs(20)).await else { panic!("free") };
    let (from, to) = (Phase::Legacy, Phase::Mirror);
    let ask = Switch { move_no: 1, from, to, epoch: 0, seq_at_least: 0 };
    let order = transaction(&mut stream).await;
    assert!(order.position <= door.position(), "an order before the door is before its position");
    assert_eq!((order.outbox.len(), order.outbox[0].kind.as_str()), (1, "ship"));
    let book = Book { phase: Phase::Mirror, epoch: 1, seq: 0, move_no: 1 };
    assert_eq!(door.switch(ask).await, Ok(Switched::Done(book)));
    let switch = transaction(&mut stream).await;
    assert_eq!((switch.switched, switch.ours), (Some(book), None));
    // Again is done; another epoch, a position that is not there, and an old move are refused.
    let again = async |ask: Switch| {
        let Ok(Hold::Held(door)) = database.hold(Duration::from_secs(20)).await else { panic!("free") };
        door.switch(ask).await.expect("an answer")
    };
    assert_eq!(again(ask).await, Switched::Done(book));
    assert!(matches!(again(Switch { move_no: 2, ..ask }).await, Switched::Refused(_)));
    let late = Switch { move_no: 2, from: to, to: Phase::Lead, epoch: 1, seq_at_least: 5 };
    assert!(matches!(again(late).await, Switched::Refused(why) if why.contains("position 0")));
    // A move that was given up is fenced by its number, with the phase that is there.
    let fence = Switch { move_no: 2, from: to, to, epoch: 1, seq_at_least: 0 };
    assert!(matches!(again(fence).await, Switched::Done(Book { epoch: 2, move_no: 2, .. })));
    assert!(matches!(again(Switch { seq_at_least: 0, ..late }).await, Switched::Refused(_)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_held_door_that_is_dropped_lets_orders_go_on() {
    let (shop, database) = Shop::ready().await;
    let Ok(Hold::Held(door)) = database.hold(Duration::from_secs(20)).await else { panic!("free") };
    shop.run("set lock_timeout = '200ms'").await;
    let lock = "select pg_advisory_xact_lock_shared(hashtext('banyan:stock'))";
    assert!(shop.client.batch_execute(lock).await.is_err(), "the door is held");
    drop(door);
    shop.run("set lock_timeout = '60s'").await;
    shop.run(lock).await;
    assert_eq!(database.book().await.expect("a book").expect("a row").move_no, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_are_in_order_and_items_are_found() {
    let (shop, database) = Shop::ready().await;
    shop.run("insert into stockrecord (partner_sku, partner_id, num_in_stock) select 'S' || n, n % 2, n from generate_series(1, 25) n").await;
    let (mut seen, mut after) = (Vec::new(), None);
    loop {
        let page = database.read_page(0, after.as_ref(), 10).await.expect("a page");
        assert!(page.position_before <= page.position_after);
        seen.extend(page.rows.iter().map(|row| row.in_stock.expect("a number")));
        match page.next {
            Some(next) => after = Some(next),
            None => break,
        }
    }
    assert_eq!(seen, (1..=25).collect::<Vec<_>>());
    let items = [(0, "S3".to_owned(), "1".to_owned()), (0, "S4".to_owned(), "1".to_owned())];
    let found = database.read_items(&items).await.expect("found").rows;
    assert_eq!(found, [row("S3", Some(3), None)], "S4 is at the other place");
}

/// (A mark's place in the log is its end, where the next record begins. An order whose commit was that record was taken for one
/// that had been applied, and what it told in the outbox was deleted unread.)
#[tokio::test(flavor = "multi_thread")]
async fn a_mark_passes_no_order_that_is_committed_right_behind_it() {
    let (shop, database) = Shop::ready().await;
    shop.add("A", 5, 0).await;
    let (mut stream, ..) = snapshot(&database).await;
    let mut order = session(&shop.server.url()).await;
    for _ in 0..5 {
        let transaction_of_order = order.transaction().await.expect("begun");
        let tell = "insert into banyan_outbox (capability, kind, body) values ('stock', 'count', '{}')";
        transaction_of_order.batch_execute(tell).await.expect("written");
        // The comparison's mark is the last record before the commit.
        database.read_items(&[(0, "A".to_owned(), "1".to_owned())]).await.expect("read");
        transaction_of_order.commit().await.expect("committed");
        let mut marked = 0;
        loop {
            match next(&mut stream).await.expect("an item") {
                Item::Idle { position } => marked = position,
                Item::Transaction(order) => {
                    assert!(order.position > marked, "{} is passed at {marked}", order.position);
                    break;
                }
                other => panic!("not expected: {other:?}"),
            }
        }
        assert!(marked > 0, "the mark is told");
    }
}

/// (A message was told before its row could be seen, and deleting it found nothing. It stayed, and was taken in a second time
/// with the next copy.)
#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_is_told_before_it_can_be_seen_is_deleted_all_the_same() {
    let (shop, database) = Shop::ready().await;
    let (mut stream, ..) = snapshot(&database).await;
    let order = session(&shop.server.url()).await;
    // In the log, told by the stream, and not ended: it waits for a standby that is not there.
    shop.run("set synchronous_commit = local").await;
    for setting in ["alter system set synchronous_standby_names = 'nobody'", "select pg_reload_conf()"] {
        shop.run(setting).await;
    }
    let ordering = tokio::spawn(async move {
        let tell = "insert into banyan_outbox (capability, kind, body) values ('stock', 'count', '{}')";
        // The session hears of the new setting with its next statement.
        order.batch_execute("select pg_sleep(0.2)").await.expect("slept");
        order.batch_execute(tell).await.expect("committed in the end");
    });
    let told = transaction(&mut stream).await;
    assert_eq!(told.outbox.len(), 1);
    assert_eq!(shop.number("select count(*) from banyan_outbox").await, 0, "nobody sees it yet");
    let clearing = async { database.clear_outbox(&[told.outbox[0].id]).await };
    let ending = async {
        // It has looked once, and waits.
        let waits = "select count(*) from pg_stat_activity where query like '%from pg_locks%' and pid <> pg_backend_pid()";
        let until = Instant::now() + PATIENCE;
        while shop.number(waits).await == 0 && Instant::now() < until {
            tokio::task::yield_now().await;
        }
        for setting in ["alter system reset synchronous_standby_names", "select pg_reload_conf()"] {
            shop.run(setting).await;
        }
    };
    let (cleared, ()) = tokio::join!(clearing, ending);
    assert_eq!(cleared, Ok(1));
    ordering.await.expect("it ends");
    assert_eq!(shop.number("select count(*) from banyan_outbox").await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_outbox_is_cleared_up_to_a_number_and_the_stream_given_up() {
    let (shop, database) = Shop::ready().await;
    let (stream, ..) = snapshot(&database).await;
    let sql = "insert into banyan_outbox (capability, kind, body) select 'stock', 'count', '{}' from generate_series(1, 5)";
    shop.run(sql).await;
    assert_eq!(database.clear_outbox(&[1, 2, 3]).await, Ok(3));
    assert_eq!(shop.number("select count(*) from banyan_outbox").await, 2);
    // Even while we read it: the last resort must work when the reader hangs.
    database.drop_stream().await.expect("dropped");
    assert_eq!(database.health().await.expect("health").status, "absent");
    drop(stream);
    let without = mapping("").as_ref().clone();
    let mut without = without;
    without.database.bookkeeping = false;
    let reader = shop.database(&std::sync::Arc::new(without));
    assert!(matches!(reader.write(&[], 1, 1).await, Err(LegacyError::Refused(_))));
    assert_eq!(reader.book().await, Ok(None));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_old_table_refuses_is_told_from_what_is_wrong_with_the_whole() {
    let (shop, database) = Shop::ready().await;
    for sku in ["A", "B", "C"] {
        shop.add(sku, 5, 0).await;
    }
    shop.run(
        "alter table stockrecord add constraint never_below check (num_in_stock >= 0); \
         create function frozen() returns trigger language plpgsql as $$ begin \
           if new.partner_sku = 'C' then raise exception 'C is being counted'; end if; return new; end $$; \
         create trigger frozen before update on stockrecord for each row execute function frozen(); \
         create function late() returns trigger language plpgsql as $$ begin \
           if new.num_allocated > 9 then raise exception 'more than nine' using errcode = '23514'; end if; return null; end $$; \
         create constraint trigger late after update on stockrecord deferrable initially deferred \
           for each row execute function late()",
    )
    .await;
    shop.lead().await;
    let refused =
        async |row: TargetRow, says: &str| match database.write(&[target("A", 1, 0), row], 10, 1).await {
            Ok(Written::Refused { why }) => assert!(why.contains(says), "{why}"),
            other => panic!("{other:?}"),
        };
    refused(target("B", -1, 0), "never_below").await;
    refused(target("B", 1, 1 << 40), "integer out of range").await;
    refused(target("C", 1, 0), "C is being counted").await;
    refused(target("B", 1, 10), "more than nine").await;
    refused(TargetRow { location: "main".into(), ..target("B", 1, 0) }, "main").await;
    assert_eq!(shop.number("select count(*) from stockrecord where num_in_stock = 5").await, 3);
    assert_eq!(database.book().await.expect("a book").expect("a row").seq, 0);
    assert_eq!(database.write(&[target("A", 1, 0)], 10, 1).await, Ok(Written::Done { absent: vec![] }));
    shop.run("alter table stockrecord rename num_allocated to sold").await;
    let error = database.write(&[target("A", 2, 0)], 11, 1).await;
    assert!(matches!(error, Err(LegacyError::Refused(_))), "{error:?}");
}
