//! The binary log of a real MariaDB as a stream: snapshots, transactions, places, and everything that breaks it.

mod maria;

use banyan_domain::legacy::Phase;
use banyan_legacy::mysql::{Mysql, Way};
use banyan_legacy::{Book, Change, Item, LegacyError, OldDatabase, Row};
use banyan_testkit::{MariaDb, MariaDbOptions, TcpProxy, Way as Direction};
use maria::{Follower, SOON, Shop, follow, mapping, next, try_follow};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

fn row(table: usize, sku: &str, location: &str, in_stock: Option<i64>, allocated: Option<i64>) -> Row {
    Row { table, sku: sku.into(), location: location.into(), in_stock, allocated }
}

/// The next transaction; what else comes must be a sign of life.
async fn transaction(stream: &mut dyn banyan_legacy::ChangeStream) -> banyan_legacy::Transaction {
    loop {
        match next(stream).await.expect("an item") {
            Item::Transaction(transaction) => return transaction,
            Item::Idle { .. } => {}
            other => panic!("not a transaction: {other:?}"),
        }
    }
}

#[tokio::test]
async fn a_snapshot_and_then_every_transaction_in_its_order() {
    let shop = Shop::open(&MariaDbOptions::default()).await;
    shop.sql(
        "insert into stock (sku, place, num_in_stock, num_allocated) values \
         ('A-1', 'main', 5, null), ('A-1', 'cellar', -3, 65535), ('Größe-€', 'main', 2147483647, 0)",
    );
    shop.sql("insert into display values ('A-1', 1)");
    let mut stream = shop.database.stream(None).await.expect("a stream");
    let Ok(Item::SnapshotBegin { source, position: begun, .. }) = next(&mut *stream).await else {
        panic!("a snapshot begins")
    };
    let mut rows = Vec::new();
    loop {
        match next(&mut *stream).await.expect("an item") {
            Item::Rows(more) => rows.extend(more),
            Item::SnapshotEnd => break,
            other => panic!("within a snapshot: {other:?}"),
        }
    }
    let expected = [
        row(0, "A-1", "main", Some(5), None),
        row(0, "A-1", "cellar", Some(-3), Some(65535)),
        row(0, "Größe-€", "main", Some(2_147_483_647), Some(0)),
        row(1, "A-1", "display", Some(1), None),
    ];
    assert_eq!(rows, expected);

    // One transaction is one item, in its order, whatever the shop does in between and besides.
    shop.sql("insert into orders (sku, quantity) values ('A-1', 1)");
    shop.sql(
        "begin; insert into orders (sku, quantity) values ('A-1', 1); \
         update stock set num_in_stock = num_in_stock - 1, num_allocated = 65535 where sku = 'A-1' and place = 'main'; \
         insert into banyan_outbox (capability, kind, body) values ('stock', 'allocate', '{\"reservation\":\"r-é\"}'), \
         ('other', 'x', '{}'); delete from stock where place = 'cellar'; commit",
    );
    let first = transaction(&mut *stream).await;
    let changed = Change::Update {
        before: Some(expected[0].clone()),
        after: row(0, "A-1", "main", Some(4), Some(65535)),
    };
    assert_eq!(first.changes, [changed, Change::Delete(expected[1].clone())]);
    assert_eq!(first.outbox.len(), 1, "what is said to others is not ours");
    assert_eq!(
        (first.outbox[0].kind.as_str(), first.outbox[0].body.as_str()),
        ("allocate", "{\"reservation\":\"r-é\"}")
    );
    assert_eq!((first.part, first.last, first.ours, first.switched), (1, true, None, None));
    assert!(first.position > begun && first.committed_millis > 1_600_000_000_000, "{first:?}");

    // What is rolled back never happened; a savepoint's part neither.
    shop.sql("begin; update stock set num_in_stock = 77; rollback");
    shop.sql(
        "begin; insert into display values ('B', 3); savepoint s; update display set units = 9; rollback to s; \
         insert into display values ('C', -128); commit",
    );
    let second = transaction(&mut *stream).await;
    assert!(second.position > first.position);
    let inserted = |sku, units| Change::Insert(row(1, sku, "display", Some(units), None));
    assert_eq!(second.changes, [inserted("B", 3), inserted("C", -128)]);

    // The log's next file, tables emptied at once, and a place that is told while nothing happens.
    shop.sql("flush binary logs; flush binary logs");
    shop.sql("truncate table display");
    let third = transaction(&mut *stream).await;
    assert!(third.position >> 32 > second.position >> 32, "another file");
    assert_eq!(third.changes, [Change::Truncate { table: 1 }]);
    let Ok(Item::Idle { position: idle }) = next(&mut *stream).await else { panic!("nothing happens") };
    assert!(idle > third.position);

    // From each place the same follows: the transaction at it once more, and then the others.
    for (at, follow) in [
        (begun, vec![&first, &second, &third]),
        (first.position, vec![&first, &second, &third]),
        (second.position, vec![&second, &third]),
        (third.position, vec![&third]),
    ] {
        let mut again = shop.database.stream(Some((source.clone(), at))).await.expect("a stream");
        for expected in follow {
            assert_eq!(transaction(&mut *again).await, *expected, "from {at:#x}");
        }
    }
    let mut again = shop.database.stream(Some((source, idle))).await.expect("a stream");
    shop.sql("insert into display values ('D', 1)");
    assert_eq!(transaction(&mut *again).await.changes, [inserted("D", 1)]);
}

#[tokio::test]
async fn a_large_transaction_comes_in_parts_that_are_always_the_same() {
    let shop = Shop::open(&MariaDbOptions::default().set("max_binlog_size", 65536)).await;
    shop.sql("insert into stock (sku, num_in_stock) select concat('S-', seq), seq from seq_1_to_5321");
    let mut stream = shop.database.stream(None).await.expect("a stream");
    let mut follower = Follower::default();
    follow(&mut *stream, &mut follower, |follower| follower.snapshots == 1).await;
    assert_eq!(follower.rows.len(), 5_321);

    shop.sql(
        "begin; update stock set num_allocated = 7; \
         insert into banyan_outbox (capability, kind, body) select 'stock', 'ship', seq from seq_1_to_1200; commit",
    );
    let mut parts = vec![transaction(&mut *stream).await];
    let source = follower.source.clone().expect("a source");
    while parts.last().is_some_and(|part| !part.last) {
        parts.push(transaction(&mut *stream).await);
    }
    let numbers: Vec<u32> = parts.iter().map(|part| part.part).collect();
    assert_eq!(numbers, (1..=u32::try_from(parts.len()).expect("few")).collect::<Vec<_>>());
    assert!(parts.iter().all(|part| part.position == parts[0].position && part.changes.len() <= 500));
    assert_eq!(parts.iter().map(|part| part.changes.len()).sum::<usize>(), 5_321);
    let said: Vec<&str> = parts.iter().flat_map(|part| &part.outbox).map(|row| row.body.as_str()).collect();
    assert_eq!(said, (1..=1200).map(|n| n.to_string()).collect::<Vec<_>>());

    // Whoever stopped in the middle of it gets all of it again, cut at the same places.
    let mut again = shop.database.stream(Some((source, parts[0].position))).await.expect("a stream");
    for part in &parts {
        assert_eq!(transaction(&mut *again).await, *part);
    }
    for part in parts {
        follower.take(Item::Transaction(part));
    }
    assert_eq!(follower.rows, shop.tables());
}

/// Writes to the shop from several sessions until told to stop; each ends with a transaction that was committed.
fn writers(shop: &Shop, stop: &Arc<AtomicBool>) -> Vec<std::thread::JoinHandle<u32>> {
    let socket = shop.server.socket();
    (0..3)
        .map(|writer: u32| {
            let (socket, stop) = (socket.clone(), stop.clone());
            std::thread::spawn(move || {
                let mut rounds = 0;
                while !stop.load(Ordering::SeqCst) {
                    rounds += 1;
                    let sku = rounds % 7;
                    let sql = format!(
                        "insert into stock (sku, place, num_in_stock) values ('W{writer}-{sku}', 'main', 1) \
                         on duplicate key update num_in_stock = num_in_stock + 1, num_allocated = {rounds} % 60000; \
                         begin; update stock set note = {rounds} where sku like 'W%-{sku}'; \
                         update stock set num_in_stock = num_in_stock * 2 % 30011 where sku = 'W{writer}-{sku}'; commit; \
                         delete from stock where sku = 'W{writer}-{}' and num_in_stock % 3 = 0",
                        (sku + 3) % 7
                    );
                    let status = std::process::Command::new("mariadb")
                        .args(["--no-defaults", "-uroot", "shop", "-e", &sql, "--socket"])
                        .arg(&socket)
                        .stderr(std::process::Stdio::null())
                        .status();
                    // The server may be down in the middle of it, and deadlocks are part of a shop's life.
                    drop(status);
                }
                rounds
            })
        })
        .collect()
}

fn end(stop: &AtomicBool, writers: Vec<std::thread::JoinHandle<u32>>) {
    stop.store(true, Ordering::SeqCst);
    for writer in writers {
        assert!(writer.join().expect("a writer") > 0);
    }
}

#[tokio::test]
async fn every_way_to_a_snapshot_ends_equal_while_the_shop_writes() {
    let shop = Shop::open(&MariaDbOptions::default()).await;
    shop.sql("insert into stock (sku, place, num_in_stock) select concat('S-', seq), 'main', seq from seq_1_to_3000");
    for way in [Way::Told, Way::Marked, Way::Locked] {
        let stop = Arc::new(AtomicBool::new(false));
        let writing = writers(&shop, &stop);
        let database =
            Mysql::at(shop.mapping.clone(), &shop.server.url()).expect("an address").snapshots(way);
        for round in 0..4 {
            let enough = 20;
            // The lock of all tables is given up when a busy shop does not let it through in time; then it is tried again.
            let (mut stream, mut follower) = loop {
                let mut stream = database.stream(None).await.expect("a stream");
                let mut follower = Follower::default();
                let has_enough = |follower: &Follower| follower.applied.len() >= enough;
                match try_follow(&mut *stream, &mut follower, has_enough).await {
                    Ok(()) => break (stream, follower),
                    Err(LegacyError::Broken(why)) if why.contains("Lock wait timeout") => {}
                    Err(other) => panic!("{way:?}: {other}"),
                }
            };
            if round < 3 {
                continue;
            }
            end(&stop, writing);
            shop.sql("insert into display values ('end', 1)");
            let is_end =
                |follower: &Follower| follower.rows.contains_key(&(1, "end".into(), "display".into()));
            follow(&mut *stream, &mut follower, is_end).await;
            assert_eq!(follower.rows, shop.tables(), "{way:?}");
            // The same in pages, and each says between which places it was read.
            let page = database.read_page(0, None, 100_000).await.expect("a page");
            assert!(page.position_before <= page.position_after && page.position_after >= follower.position);
            assert_eq!(page.rows.len(), follower.rows.keys().filter(|(table, ..)| *table == 0).count());
            break;
        }
        shop.sql("delete from display");
    }
}

/// Says things in the outbox from several sessions until told to stop, each within an order: behind the door.
fn speakers(shop: &Shop, stop: &Arc<AtomicBool>) -> Vec<std::thread::JoinHandle<u32>> {
    let socket = shop.server.socket();
    (0..2)
        .map(|_| {
            let (socket, stop) = (socket.clone(), stop.clone());
            std::thread::spawn(move || {
                let mut rounds = 0;
                while !stop.load(Ordering::SeqCst) {
                    rounds += 1;
                    let sql = "begin; select phase from banyan_door where capability = 'stock' lock in share mode; \
                         insert into banyan_outbox (capability, kind, body) values ('stock', 'ship', '{}'), ('other', 'x', '{}'); \
                         commit";
                    let status = std::process::Command::new("mariadb")
                        .args(["--no-defaults", "-uroot", "shop", "-e", sql, "--socket"])
                        .arg(&socket)
                        .stdout(std::process::Stdio::null())
                        .status();
                    assert!(status.is_ok_and(|status| status.success()), "the order goes through");
                }
                rounds
            })
        })
        .collect()
}

#[tokio::test]
async fn what_is_said_in_the_outbox_comes_once_with_the_copy_or_with_the_log_behind_it() {
    let shop = Shop::open(&MariaDbOptions::default()).await;
    shop.sql(
        "insert into banyan_outbox (capability, kind, body) values ('stock', 'ship', '{\"sku\": \"é\"}')",
    );
    for way in [Way::Told, Way::Marked, Way::Locked] {
        let stop = Arc::new(AtomicBool::new(false));
        let speaking = speakers(&shop, &stop);
        let database =
            Mysql::at(shop.mapping.clone(), &shop.server.url()).expect("an address").snapshots(way);
        let mut rounds = 0;
        // The lock of all tables is given up when a busy shop does not let it through in time; then it is tried again.
        let (mut stream, mut follower) = loop {
            let (mut stream, mut follower) =
                (database.stream(None).await.expect("a stream"), Follower::default());
            let said = |follower: &Follower| follower.snapshots == 1 && follower.applied.len() > 3;
            match try_follow(&mut *stream, &mut follower, said).await {
                Ok(()) if rounds == 3 => break (stream, follower),
                Ok(()) => rounds += 1,
                Err(LegacyError::Broken(why)) if why.contains("Lock wait timeout") => {}
                Err(other) => panic!("{way:?}: {other}"),
            }
        };
        end(&stop, speaking);
        shop.sql("insert into banyan_outbox (capability, kind, body) values ('stock', 'ship', 'end')");
        follow(&mut *stream, &mut follower, |follower| follower.outbox.iter().any(|row| row.body == "end"))
            .await;
        let mut told: Vec<i64> = follower.outbox.iter().map(|row| row.id).collect();
        told.sort_unstable();
        let all = shop.sql("select id from banyan_outbox where capability = 'stock' order by id");
        let all: Vec<i64> = all.lines().map(|id| id.parse().expect("a number")).collect();
        assert_eq!(told, all, "{way:?}: each is told, and once");
        assert_eq!(follower.outbox[0].body, "{\"sku\": \"é\"}");
        shop.sql("delete from banyan_outbox where body = 'end'");
    }
}

#[tokio::test]
async fn a_copy_tells_the_bookkeeping_row_of_its_own_moment() {
    let shop = Shop::open(&MariaDbOptions::default()).await;
    shop.sql("update banyan_sync set phase = 'lead', epoch = 1, move = 2");
    for way in [Way::Told, Way::Marked, Way::Locked] {
        let database =
            Mysql::at(shop.mapping.clone(), &shop.server.url()).expect("an address").snapshots(way);
        let mut stream = database.stream(None).await.expect("a stream");
        let Ok(Item::SnapshotBegin { book, .. }) = next(&mut *stream).await else { panic!("a copy begins") };
        let expected = Book { phase: Phase::Lead, epoch: 1, seq: 0, move_no: 2 };
        assert_eq!(book, Some(expected), "{way:?}");
    }
    let mut follower = Follower::default();
    let mut stream = shop.database.stream(None).await.expect("a stream");
    follow(&mut *stream, &mut follower, |follower| follower.snapshots == 1).await;
    shop.sql("update banyan_sync set phase = 'legacy', epoch = 2");
    assert_eq!(transaction(&mut *stream).await.switched.map(|book| book.phase), Some(Phase::Legacy));
}

#[tokio::test]
async fn a_nudge_makes_an_idle_stream_tell_its_place() {
    let shop = Shop::open(&MariaDbOptions::default()).await;
    let mut follower = Follower::default();
    let mut stream = shop.database.stream(None).await.expect("a stream");
    follow(&mut *stream, &mut follower, |follower| follower.snapshots == 1).await;
    for _ in 0..3 {
        let end = shop.sql("show master status");
        let mut fields = end.split('\t');
        let file =
            fields.next().and_then(|file| file.rsplit('.').next()?.parse::<u64>().ok()).expect("a file");
        let place =
            file << 32 | fields.next().and_then(|offset| offset.parse::<u64>().ok()).expect("an offset");
        shop.database.nudge().await.expect("nudged");
        // Nothing but the nudge is behind it.
        follow(&mut *stream, &mut follower, |follower| follower.settled > place).await;
        assert_eq!(follower.applied, []);
    }
}

#[tokio::test]
async fn pages_and_items_are_the_tables() {
    let shop = Shop::open(&MariaDbOptions::default()).await;
    shop.sql(
        "insert into stock (sku, place, num_in_stock) select concat('S-', seq), 'main', seq from seq_1_to_10",
    );
    shop.sql("insert into stock (sku, place, num_in_stock) values ('S-1', 'cellar', 4)");
    shop.sql("insert into display select concat('d', seq), seq from seq_1_to_5");
    for (table, count) in [(0, 11), (1, 5)] {
        let (mut rows, mut after) = (Vec::new(), None);
        loop {
            let page = shop.database.read_page(table, after.as_ref(), 2).await.expect("a page");
            assert!(page.rows.len() <= 2);
            rows.extend(page.rows);
            after = page.next;
            if after.is_none() {
                break;
            }
        }
        assert_eq!(rows.len(), count);
        let tables = shop.tables();
        assert!(rows.iter().all(|row| tables.contains_key(&(table, row.sku.clone(), row.location.clone()))));
    }
    let asked = [("S-1", "cellar"), ("S-2", "main"), ("s-3", "main"), ("S-4", "cellar")];
    let asked = asked.map(|(sku, place)| (0, sku.to_owned(), place.to_owned()));
    let page = shop.database.read_items(&asked).await.expect("items");
    let found: Vec<(&str, &str)> =
        page.rows.iter().map(|row| (row.sku.as_str(), row.location.as_str())).collect();
    assert_eq!(page.next, None);
    assert!(
        found.len() == 2 && found.contains(&("S-1", "cellar")) && found.contains(&("S-2", "main")),
        "{found:?}"
    );
    assert!(matches!(shop.database.read_page(9, None, 1).await, Err(LegacyError::Refused(_))));
}

/// Follows, and begins anew whenever the stream breaks, as Banyan does.
async fn follow_through(database: &Mysql, follower: &mut Follower, done: impl Fn(&Follower) -> bool) {
    let limit = tokio::time::Instant::now() + 2 * SOON;
    let mut broken = 0;
    while !done(follower) {
        assert!(tokio::time::Instant::now() < limit, "not there in time after {broken} breaks");
        let mut stream = match database.stream(follower.from()).await {
            Ok(stream) => stream,
            Err(LegacyError::Broken(_)) => {
                // Between two tries while the server is down.
                tokio::time::sleep(std::time::Duration::from_millis(50)).await;
                continue;
            }
            Err(error) => panic!("{error}"),
        };
        while !done(follower) {
            match next(&mut *stream).await {
                Ok(item) => follower.take(item),
                Err(LegacyError::Broken(_)) => {
                    broken += 1;
                    break;
                }
                Err(error) => panic!("{error}"),
            }
        }
    }
}

#[tokio::test]
async fn nothing_is_lost_or_applied_twice_when_server_and_network_break() {
    let mut shop = Shop::open(&MariaDbOptions::default().set("max_binlog_size", 16384)).await;
    shop.sql("insert into stock (sku, place, num_in_stock) values ('S', 'main', 1)");
    let proxy = TcpProxy::start(([127, 0, 0, 1], shop.server.port()).into()).expect("a proxy");
    let database = shop.through(proxy.port());
    let mut follower = Follower::default();
    follow_through(&database, &mut follower, |follower| follower.snapshots == 1).await;
    let stop = Arc::new(AtomicBool::new(false));
    let writing = writers(&shop, &stop);
    for round in 0_usize..9 {
        let goal = follower.applied.len() + 15;
        match round % 3 {
            0 => proxy.cut_after(Direction::ToClient, 5_000 + 777 * round as u64),
            1 => {
                shop.server.crash().expect("crash");
                shop.server.restart().expect("restart");
            }
            _ => proxy.cut(),
        }
        follow_through(&database, &mut follower, |follower| follower.applied.len() >= goal).await;
    }
    end(&stop, writing);
    shop.sql("insert into display values ('end', 1)");
    let is_end = |follower: &Follower| follower.rows.contains_key(&(1, "end".into(), "display".into()));
    follow_through(&database, &mut follower, is_end).await;
    assert_eq!(follower.rows, shop.tables());
    assert_eq!(follower.snapshots, 1, "no break needed a new snapshot");
    assert!(follower.again > 0, "what was at the break came again, and was known");
}

#[tokio::test]
async fn a_history_that_is_gone_or_another_is_never_followed() {
    let shop = Shop::open(&MariaDbOptions::default()).await;
    let mut stream = shop.database.stream(None).await.expect("a stream");
    let mut follower = Follower::default();
    follow(&mut *stream, &mut follower, |follower| follower.snapshots == 1).await;
    shop.sql("insert into display values ('A', 1)");
    follow(&mut *stream, &mut follower, |follower| follower.rows.len() == 1).await;
    let (source, position) = follower.from().expect("a place");
    drop(stream);
    let refused = async |database: &Mysql, from: (banyan_legacy::SourceId, u64), why: &str| match database
        .stream(Some(from))
        .await
    {
        Err(LegacyError::SourceUnknown(text)) => assert!(text.contains(why), "{text}"),
        Err(error) => panic!("{error}"),
        Ok(_) => panic!("it was followed: {why}"),
    };
    // A place between two events, or beyond the end, is one of another history.
    refused(&shop.database, (source.clone(), position + 1), "no event begins").await;
    refused(&shop.database, (source.clone(), position + 1_000_000), "ends at").await;
    // Another server, though it was given the same name for its log.
    let other = MariaDb::start(&MariaDbOptions::default().set("server_id", 2)).expect("another");
    other.sql(maria::SCHEMA).expect("the same shop");
    let elsewhere = Mysql::at(shop.mapping.clone(), &other.url()).expect("an address");
    refused(&elsewhere, (source.clone(), position), "and this is mariadb/").await;
    drop(other);

    // Files that were deleted.
    shop.sql("flush binary logs; insert into display values ('B', 1); flush binary logs");
    shop.sql("purge binary logs to 'binlog.000003'");
    refused(&shop.database, (source.clone(), position), "is gone").await;

    // A log that began anew, and grew until it has a transaction's end just where we were.
    let mut stream = shop.database.stream(None).await.expect("a stream");
    follow(&mut *stream, &mut follower, |follower| follower.snapshots == 2).await;
    shop.sql("insert into display values ('C', 1)");
    follow(&mut *stream, &mut follower, |follower| follower.rows.len() == 3).await;
    let (source, position) = follower.from().expect("a place");
    drop(stream);
    shop.sql("reset master");
    shop.sql("flush binary logs; flush binary logs");
    refused(&shop.database, (source.clone(), position), "").await;
    shop.sql("insert into display values ('D', 1)");
    let same = follower.position & 0xffff_ffff_0000_0000 | u64::from(u32::MAX);
    refused(&shop.database, (source, same), "ends at").await;

    // The way on is a snapshot, and it tells what became different.
    let mut stream = shop.database.stream(None).await.expect("a stream");
    follow(&mut *stream, &mut follower, |follower| follower.snapshots == 3).await;
    assert_eq!(follower.rows, shop.tables());
}

#[tokio::test]
async fn our_place_is_noted_where_much_happens_that_does_not_concern_us() {
    let shop = Shop::open(&MariaDbOptions::default()).await;
    let mut stream = shop.database.stream(None).await.expect("a stream");
    let mut follower = Follower::default();
    follow(&mut *stream, &mut follower, |follower| follower.snapshots == 1).await;
    let from = follower.from().expect("a place");
    shop.sql("create table other (id int auto_increment primary key, text mediumtext)");
    for _ in 0..6 {
        shop.sql("insert into other (text) values (repeat('x', 1000000)); flush binary logs");
    }
    let end = shop.sql("show master status");
    let file: u64 = end.split(['.', '\t']).nth(1).and_then(|number| number.parse().ok()).expect("a file");
    let limit = tokio::time::Instant::now() + SOON;
    loop {
        if let Item::Idle { position } = next(&mut *stream).await.expect("an item") {
            stream.acknowledge(position);
        }
        let settled: u64 = shop.sql("select settled from banyan_stream").parse().expect("a place");
        if settled >> 32 == file {
            break;
        }
        assert!(tokio::time::Instant::now() < limit, "the place is not noted: {settled:#x}");
    }
    drop(stream);
    // The files between are gone, and nothing of them is missed.
    shop.sql(&format!("purge binary logs to 'binlog.{file:06}'"));
    let mut stream = shop.database.stream(Some(from.clone())).await.expect("it goes on behind them");
    shop.sql("insert into display values ('A', 1)");
    assert_eq!(transaction(&mut *stream).await.changes.len(), 1);
    let health = shop.database.health().await.expect("health");
    assert!(health.active && health.status == "reserved", "{health:?}");

    // Somebody who is elsewhere in the log cannot use the note.
    let other = (from.0.clone(), from.1 - 1);
    assert!(matches!(shop.database.stream(Some(other)).await, Err(LegacyError::SourceUnknown(_))));
    shop.database.drop_stream().await.expect("given up");
    assert!(matches!(shop.database.stream(Some(from)).await, Err(LegacyError::SourceUnknown(_))));
    assert_eq!(shop.database.health().await.expect("health").status, "absent");
}

#[tokio::test]
async fn a_changed_table_is_noticed_where_the_log_says_so() {
    let shop = Shop::open(&MariaDbOptions::default()).await;
    let mut stream = shop.database.stream(None).await.expect("a stream");
    let mut follower = Follower::default();
    follow(&mut *stream, &mut follower, |follower| follower.snapshots == 1).await;
    // What does not concern the mapped columns goes on, also when columns move.
    shop.sql("alter table display add column colour varchar(10) first");
    shop.sql("insert into display (sku, units) values ('A', 1)");
    follow(&mut *stream, &mut follower, |follower| follower.rows.len() == 1).await;
    assert_eq!(follower.rows, shop.tables());
    shop.sql(
        "create table elsewhere (sku int); drop table elsewhere; alter table orders add column remark text",
    );
    shop.sql("update display set units = 2");
    follow(&mut *stream, &mut follower, |follower| follower.applied.len() == 2).await;
    let before = follower.from().expect("a place");

    let changed = async |database: &Mysql, from, why: &str| {
        let mut stream = database.stream(Some(from)).await.expect("a stream");
        loop {
            match next(&mut *stream).await.expect("an item") {
                Item::SchemaChanged { what } => break assert!(what.contains(why), "{what}"),
                Item::Transaction(_) | Item::Idle { .. } => {}
                other => panic!("{other:?}"),
            }
        }
    };
    // Somebody whose session does not log rows.
    shop.sql("set session binlog_format = statement; update display set units = 3");
    changed(&shop.database, before.clone(), "binlog_format=ROW").await;
    // Rows from before a change, which now mean something else.
    let mut stream = shop.database.stream(None).await.expect("a stream");
    follow(&mut *stream, &mut follower, |follower| follower.snapshots == 2).await;
    let before = follower.from().expect("a place");
    drop(stream);
    shop.sql("update display set units = 4; alter table display drop column colour");
    changed(&shop.database, before.clone(), "had 3 columns there").await;
    // A mapped column that is gone.
    shop.sql("alter table display change units pieces int");
    assert!(
        matches!(shop.database.stream(Some(before)).await, Err(LegacyError::Refused(why)) if why.contains("units"))
    );
    let mended = maria::MAPPING.replace("\"units\"", "\"pieces\"");
    let mended = Mysql::at(mapping(&mended), &shop.server.url()).expect("an address");
    let mut stream = mended.stream(None).await.expect("a stream");
    let mut follower = Follower::default();
    follow(&mut *stream, &mut follower, |follower| follower.snapshots == 1).await;
    assert_eq!(follower.rows.len(), 1);
    // While it is being followed.
    shop.sql("alter table display drop column pieces");
    loop {
        match next(&mut *stream).await.expect("an item") {
            Item::SchemaChanged { what } => break assert!(what.contains("no column pieces"), "{what}"),
            Item::Idle { .. } => {}
            other => panic!("{other:?}"),
        }
    }
}
