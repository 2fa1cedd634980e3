//! Values into a real MariaDB and leadership between both, with everything that can come between.

mod maria;

use banyan_domain::legacy::Phase;
use banyan_legacy::{
    Change, CheckLevel, Hold, Item, LegacyError, OldDatabase, PageKey, Switch, Switched, TargetRow,
    Transaction, Written,
};
use banyan_legacy_testkit::conformance::digests_are_of_the_rows;
use banyan_testkit::{MariaDbOptions, TcpProxy, Way as Direction, wait_until};
use maria::{Follower, SOON, Shop, follow, mapping, next};
use std::time::Duration;

fn target(table: usize, sku: &str, location: &str, in_stock: i64, allocated: i64) -> TargetRow {
    TargetRow { table, sku: sku.into(), location: location.into(), in_stock, allocated }
}

fn lead(shop: &Shop, seq: u64) {
    shop.sql(&format!("update banyan_sync set phase = 'lead', epoch = 3, seq = {seq}, move = 3"));
}

/// Between `lead` and `mirror`.
fn switch(move_no: u64, to: Phase, epoch: u64) -> Switch {
    let from = if to == Phase::Lead { Phase::Mirror } else { Phase::Lead };
    Switch { move_no, from, to, epoch, seq_at_least: 0 }
}

/// Holds the door and hands over.
async fn hand_over(shop: &Shop, asked: Switch) -> Switched {
    match shop.database.hold(SOON).await.expect("an answer") {
        Hold::Held(door) => door.switch(asked).await.expect("an answer"),
        Hold::LockBusy => panic!("nothing is in flight"),
    }
}

async fn transaction(stream: &mut dyn banyan_legacy::ChangeStream) -> Transaction {
    loop {
        match next(stream).await.expect("an item") {
            Item::Transaction(transaction) => return transaction,
            Item::Idle { .. }
            | Item::SnapshotBegin { .. }
            | Item::SnapshotEnd
            | Item::Rows(_)
            | Item::Outbox(_) => {}
            other @ Item::SchemaChanged { .. } => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn values_are_written_whole_with_their_checkpoint_and_come_back_marked() {
    let shop = Shop::open(&MariaDbOptions::default()).await;
    shop.sql("insert into stock (sku, place, num_in_stock) values ('A-1', 'main', 5), ('A-1', 'cellar', 5), ('b', 'main', 5)");
    shop.sql("insert into stock (sku, place, num_in_stock) select concat('S-', seq), 'main', seq from seq_1_to_777");
    shop.sql("insert into display values ('A-1', 1), ('b', 1)");
    let mut stream = shop.database.stream(None).await.expect("a stream");
    let mut follower = Follower::default();
    follow(&mut *stream, &mut follower, |follower| follower.snapshots == 1).await;
    lead(&shop, 10);
    let switched = transaction(&mut *stream).await.switched.expect("leadership changed hands");
    assert_eq!((switched.phase, switched.epoch, switched.seq, switched.move_no), (Phase::Lead, 3, 10, 3));

    // `B` is not `b`, though the table takes one for the other.
    let rows = [
        target(0, "A-1", "main", 0, 2),
        target(0, "B", "main", 9, 9),
        target(0, "gone", "main", 9, 9),
        target(0, "A-1", "attic", 9, 9),
        target(1, "b", "display", 2, 0),
    ];
    let written = shop.database.write(&rows, 17, 3).await.expect("written");
    assert_eq!(written, Written::Done { absent: vec![1, 2, 3] });
    let echo = transaction(&mut *stream).await;
    assert_eq!(echo.ours, Some((17, 3)));
    assert_eq!(echo.switched, None);
    // What a trigger did in our transaction is in it, and can be told from what we wrote.
    let after: Vec<(usize, String, Option<i64>, Option<i64>)> = echo
        .changes
        .iter()
        .map(|change| match change {
            Change::Update { after, .. } => (after.table, after.sku.clone(), after.in_stock, after.allocated),
            other => panic!("{other:?}"),
        })
        .collect();
    let expected = [(0, "A-1", Some(0), Some(2)), (1, "A-1", Some(0), None), (1, "b", Some(2), None)];
    assert_eq!(after, expected.map(|(table, sku, a, b)| (table, sku.to_owned(), a, b)));
    assert_eq!(shop.sql("select was, became from stock_history"), "5\t0");

    // What anybody else writes is not marked.
    shop.sql("update stock set num_in_stock = 1 where sku = 'b'");
    assert_eq!(transaction(&mut *stream).await.ours, None);

    // Many rows, and nothing but the checkpoint.
    let many: Vec<TargetRow> = (1..=777).map(|n| target(0, &format!("S-{n}"), "main", n * 2, n)).collect();
    assert_eq!(shop.database.write(&many, 18, 3).await, Ok(Written::Done { absent: vec![] }));
    assert_eq!(
        shop.sql("select count(*) from stock where sku like 'S-%' and num_in_stock = num_allocated * 2"),
        "777"
    );
    assert_eq!(shop.database.write(&[], 19, 3).await, Ok(Written::Done { absent: vec![] }));
    assert_eq!(
        shop.database.write(&[], 19, 3).await,
        Ok(Written::Done { absent: vec![] }),
        "again is the same"
    );
    let mut seen = Vec::new();
    while seen.last() != Some(&Some((19, 3))) {
        seen.push(transaction(&mut *stream).await.ours);
    }
    assert!(seen.iter().all(|ours| ours.is_some_and(|(_, epoch)| epoch == 3)), "{seen:?}");

    // All or nothing: a value that the table cannot hold.
    let refused =
        shop.database.write(&[target(0, "b", "main", 3, 3), target(1, "b", "display", 300, 0)], 20, 3).await;
    assert!(matches!(&refused, Ok(Written::Refused { why }) if why.contains("units")), "{refused:?}");
    assert_eq!(shop.sql("select seq, num_in_stock from banyan_sync, stock where sku = 'b'"), "19\t1");
}

/// What a write asks of the server, one statement a line.
async fn asked(shop: &Shop, rows: &[TargetRow], seq: u64) -> Vec<String> {
    shop.sql("truncate mysql.general_log; set global log_output = 'TABLE'; set global general_log = ON");
    let written = shop.database.write(rows, seq, 3).await;
    assert_eq!(written, Ok(Written::Done { absent: vec![] }));
    let log = shop.sql(
        "set global general_log = OFF; select command_type, argument from mysql.general_log \
         where thread_id in (select thread_id from mysql.general_log where argument like 'update `shop`.banyan_sync set seq%') \
         order by event_time",
    );
    log.lines().map(str::to_owned).collect()
}

#[tokio::test]
async fn a_write_is_four_statements_that_are_prepared_already_and_asks_for_no_schema() {
    let shop = Shop::open(&MariaDbOptions::default()).await;
    // What a trigger does is logged as well.
    shop.sql("drop trigger stock_changed");
    shop.sql("insert into stock (sku, num_in_stock) select concat('S-', seq), 5 from seq_1_to_300");
    lead(&shop, 10);
    let rows = |count: i64, units: i64| -> Vec<TargetRow> {
        (1..=count).map(|n| target(0, &format!("S-{n}"), "main", units, 0)).collect()
    };
    shop.database.write(&rows(8, 1), 11, 3).await.expect("written");
    for count in 5..8 {
        let asked = asked(&shop, &rows(count, count), 10 + count as u64).await;
        let kinds: Vec<&str> =
            asked.iter().map(|line| line.split(['\t', ' ']).next().unwrap_or(line)).collect();
        assert_eq!(kinds, ["Execute", "Execute", "Execute", "Query"], "{asked:#?}");
    }
    // Nothing but the checkpoint; and many rows, in parts.
    assert_eq!(asked(&shop, &[], 20).await.len(), 2);
    shop.database.write(&rows(300, 2), 21, 3).await.expect("written");
    assert_eq!(asked(&shop, &rows(300, 3), 22).await.len(), 1 + 3 * 2 + 1);
    assert_eq!(shop.sql("select group_concat(distinct num_in_stock) from stock"), "3");
}

/// Found by reading: whoever lost us with the network kept the checkpoint's lock for the server's eight hours.
#[tokio::test]
async fn a_session_that_writes_is_ended_by_the_server_when_it_falls_silent() {
    let shop = Shop::open(&MariaDbOptions::default()).await;
    shop.sql("insert into stock (sku, num_in_stock) values ('A', 5)");
    lead(&shop, 10);
    let asked = asked(&shop, &[target(0, "A", "main", 1, 0)], 11).await;
    let place = |what: &str| asked.iter().position(|line| line.contains(what));
    let (limited, locks) = (place("set session wait_timeout = 60"), place("banyan_sync set seq"));
    assert!(limited.is_some() && limited < locks, "{asked:#?}");
}

#[tokio::test]
async fn a_schema_that_has_changed_is_looked_at_again_by_the_sync_out() {
    let shop = Shop::open(&MariaDbOptions::default()).await;
    shop.sql("insert into stock (sku, num_in_stock) values ('A', 5)");
    lead(&shop, 10);
    let rows = [target(0, "A", "main", 1, 0)];
    asked(&shop, &rows, 11).await;
    let looks = async |seq| {
        let asked = asked(&shop, &rows, seq).await;
        asked.iter().any(|line| line.contains("information_schema"))
    };
    assert!(!looks(12).await, "known");

    // Nobody told that the key is a text now: what was known does not fit, and the tables are looked at.
    shop.sql("alter table stock modify id varchar(20) not null");
    assert!(looks(13).await);
    assert!(!looks(14).await, "known again");

    // A stream tells.
    let mut stream = shop.database.stream(None).await.expect("a stream");
    let mut follower = Follower::default();
    follow(&mut *stream, &mut follower, |follower| follower.snapshots == 1).await;
    shop.sql("alter table stock add column more int; update stock set num_in_stock = 9");
    transaction(&mut *stream).await;
    assert!(looks(15).await);
    assert!(!looks(16).await, "known again");
}

#[tokio::test]
async fn a_writer_that_was_overtaken_is_fenced() {
    let shop = Shop::open(&MariaDbOptions::default()).await;
    shop.sql("insert into stock (sku, num_in_stock) values ('A', 5)");
    let rows = [target(0, "A", "main", 1, 0)];
    let fenced = async |seq, epoch| match shop.database.write(&rows, seq, epoch).await {
        Ok(Written::Fenced { book }) => book.expect("there is a row"),
        other => panic!("{other:?}"),
    };
    assert_eq!(fenced(1, 0).await.phase, Phase::Legacy, "the old shop leads");
    lead(&shop, 10);
    assert_eq!(fenced(11, 2).await.epoch, 3, "an older epoch");
    assert_eq!(fenced(9, 3).await.seq, 10, "somebody has written further");
    assert_eq!(shop.sql("select num_in_stock from stock"), "5");
    assert_eq!(shop.database.write(&rows, 10, 3).await, Ok(Written::Done { absent: vec![] }));
    let book = shop.database.book().await.expect("a book").expect("a row");
    assert_eq!((book.phase, book.epoch, book.seq), (Phase::Lead, 3, 10));
    shop.sql("delete from banyan_sync");
    assert_eq!(shop.database.write(&rows, 11, 3).await, Ok(Written::Fenced { book: None }));
    // A writer that was fenced holds nothing: whoever changes our table would wait for it.
    shop.sql("set lock_wait_timeout = 5; alter table banyan_sync comment = 'nobody is in a transaction'");
    assert_eq!(shop.database.book().await, Ok(None));
}

#[tokio::test]
async fn an_unknown_outcome_is_said_to_be_unknown_and_the_book_tells() {
    let shop = Shop::open(&MariaDbOptions::default()).await;
    shop.sql("insert into stock (sku, num_in_stock) values ('A', 5)");
    lead(&shop, 10);
    let proxy = TcpProxy::start(([127, 0, 0, 1], shop.server.port()).into()).expect("a proxy");
    let database = shop.through(proxy.port());
    // The answer to the commit never comes: what was asked is on its way, or was done.
    for seq in 11..16 {
        let units = i64::try_from(seq).expect("few");
        let rows = [target(0, "A", "main", units, 0)];
        database.write(&[], seq - 1, 3).await.expect("a session is there");
        proxy.hold(Direction::ToClient, true);
        let (writing, ()) = tokio::join!(database.write(&rows, seq, 3), async {
            assert!(wait_until(SOON, || proxy.waiting(Direction::ToClient) > 0));
            proxy.cut();
            proxy.hold(Direction::ToClient, false);
        });
        assert!(matches!(writing, Err(LegacyError::Broken(_))), "{writing:?}");
        let book = database.book().await.expect("a book").expect("a row");
        let units_now: i64 = shop.sql("select num_in_stock from stock").parse().expect("a number");
        assert_eq!(
            book.seq == seq,
            units_now == units,
            "rows and checkpoint are there together or not at all"
        );
        assert_eq!(
            database.write(&rows, seq, 3).await,
            Ok(Written::Done { absent: vec![] }),
            "again is safe"
        );
        assert_eq!(shop.sql("select num_in_stock, seq from stock, banyan_sync"), format!("{units}\t{seq}"));
    }
}

/// An order of the old shop: what it decides rests on a phase that cannot change until it is committed.
const ORDER: &str = "begin; select phase from banyan_door where capability = 'stock' lock in share mode; \
    insert into orders (sku, quantity) values ('A', 1); update stock set num_in_stock = num_in_stock - 1; ";

fn order(shop: &Shop, then: &str) -> std::process::Child {
    std::process::Command::new("mariadb")
        .args(["--no-defaults", "-uroot", "-N", "shop", "-e", &format!("{ORDER}{then}; commit"), "--socket"])
        .arg(shop.server.socket())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .expect("an order")
}

#[tokio::test]
async fn leadership_is_handed_over_when_no_order_is_in_flight() {
    let shop = Shop::open(&MariaDbOptions::default()).await;
    shop.sql("insert into stock (sku, num_in_stock) values ('A', 5)");
    let in_flight = order(&shop, "select sleep(10)");
    let doing = |what: &str| {
        shop.sql(&format!("select count(*) from information_schema.processlist where info like '{what}%'"))
    };
    assert!(wait_until(SOON, || doing("select sleep") == "1"), "the order is under way");
    assert!(matches!(shop.database.hold(Duration::from_secs(1)).await, Ok(Hold::LockBusy)));
    // Who waits long enough has what the order did before the door's place in the log.
    let Ok(Hold::Held(door)) = shop.database.hold(SOON).await else { panic!("the order ends") };
    assert!(in_flight.wait_with_output().expect("the order").status.success());
    assert_eq!(shop.sql("select num_in_stock from stock"), "4");

    // While the door is held, an order waits, and sync out does not.
    let waiting = order(&shop, "select 1");
    assert!(wait_until(SOON, || doing("select phase from banyan_door") == "1"), "it waits");
    lead(&shop, 10);
    let rows = [target(0, "A", "main", 7, 0)];
    assert_eq!(shop.database.write(&rows, 11, 3).await, Ok(Written::Done { absent: vec![] }));
    assert_eq!(doing("select phase from banyan_door"), "1");
    let done = door.switch(switch(4, Phase::Mirror, 3)).await.expect("an answer");
    let Switched::Done(book) = done else { panic!("{done:?}") };
    assert_eq!((book.phase, book.epoch, book.seq, book.move_no), (Phase::Mirror, 4, 11, 4));
    // The order that waited sees who leads now.
    let output = waiting.wait_with_output().expect("the order");
    assert!(String::from_utf8_lossy(&output.stdout).starts_with("mirror"), "{output:?}");
    assert_eq!(shop.sql("select num_in_stock from stock"), "6");

    assert_eq!(
        hand_over(&shop, switch(4, Phase::Mirror, 3)).await,
        Switched::Done(book),
        "again is the same"
    );
    let refused = async |asked: Switch, why: &str| match hand_over(&shop, asked).await {
        Switched::Refused(text) => assert!(text.contains(why), "{text}"),
        other @ Switched::Done(_) => panic!("{other:?}"),
    };
    refused(switch(5, Phase::Lead, 3), "epoch is 4").await;
    refused(switch(4, Phase::Lead, 4), "was made already").await;
    refused(Switch { seq_at_least: 12, ..switch(5, Phase::Lead, 4) }, "position 11").await;
    // A door that is let go changes nothing and keeps nobody.
    drop(shop.database.hold(SOON).await.expect("held"));
    let Switched::Done(book) = hand_over(&shop, switch(5, Phase::Lead, 4)).await else { panic!("not done") };
    assert_eq!((book.phase, book.epoch), (Phase::Lead, 5));
    assert_eq!(shop.sql("select phase from banyan_door"), "lead");
}

#[tokio::test]
async fn the_preflight_says_what_to_mend() {
    let options = MariaDbOptions::default()
        .set("binlog_format", "STATEMENT")
        .set("binlog_row_image", "MINIMAL")
        .set("log_bin_compress", "ON")
        .set("binlog_expire_logs_seconds", 60)
        .set("server_id", 4711);
    let shop = Shop::open(&options).await;
    shop.sql(
        "drop table display; create table display (sku varchar(40), units double) engine=myisam; \
         drop table banyan_outbox; insert into stock (sku, num_in_stock) values ('A', 5), (' ', 3)",
    );
    let findings = shop.database.check().await;
    let has = |findings: &[banyan_legacy::Finding], level: CheckLevel, subject: &str, fix: &str| {
        let is_it = |finding: &&banyan_legacy::Finding| {
            finding.level == level && finding.subject.contains(subject) && finding.fix.contains(fix)
        };
        assert!(findings.iter().any(|finding| is_it(&finding)), "{level:?} {subject} {fix}: {findings:#?}");
    };
    has(&findings, CheckLevel::Stop, "binlog_format", "ROW");
    has(&findings, CheckLevel::Stop, "binlog_row_image", "FULL");
    has(&findings, CheckLevel::Stop, "log_bin_compress", "OFF");
    has(&findings, CheckLevel::Stop, "server_id", "server_id that neither");
    has(&findings, CheckLevel::Warn, "retention", "259200");
    has(&findings, CheckLevel::Warn, "binlog_row_metadata", "FULL");
    has(&findings, CheckLevel::Stop, "shop.display", "mend");
    has(&findings, CheckLevel::Stop, "banyan_outbox", "--create");
    has(&findings, CheckLevel::Warn, "stock triggers", "breach");
    has(&findings, CheckLevel::Warn, "stock.sku", "left alone");

    // A key that is none, an engine without transactions, a cascade, items twice, a user without rights.
    shop.sql(
        "drop table display; create table display (sku varchar(40) not null, units int) engine=myisam; \
         insert into display values ('A', 1), ('A', 2); insert into product (sku, title, price) values ('A', 'A', 1), (' ', 'B', 1); \
         alter table stock add constraint c foreign key (sku) references product (sku) on delete cascade",
    );
    shop.sql("create user little@'%' identified by 'p'; grant select on shop.* to little@'%'");
    let address = format!("mysql://little:p@127.0.0.1:{}/shop", shop.server.port());
    let little = banyan_legacy::mysql::Mysql::at(mapping(maria::MAPPING), &address).expect("an address");
    let findings = little.check().await;
    has(&findings, CheckLevel::Stop, "shop.display", "InnoDB");
    has(&findings, CheckLevel::Stop, "display key", "primary key");
    has(&findings, CheckLevel::Stop, "display.sku", "merge");
    has(&findings, CheckLevel::Stop, "right to see", "replication client");
    has(&findings, CheckLevel::Stop, "right to read", "replication slave");
    has(&findings, CheckLevel::Stop, "shop.stock rights", "grant select, update");
    let wrong = banyan_legacy::mysql::Mysql::at(mapping(maria::MAPPING), &address.replace(":p@", ":q@"));
    has(&wrong.expect("an address").check().await, CheckLevel::Stop, "connection", "password");
}

#[tokio::test]
async fn a_shop_that_is_ready_passes_and_its_callers_are_known() {
    let options =
        MariaDbOptions::default().set("performance_schema", "ON").set("binlog_row_metadata", "FULL");
    let shop = Shop::open(&options).await;
    shop.sql("insert into stock (sku, num_in_stock) values ('A', 5)");
    assert_eq!(shop.database.create().await, Ok(vec![]), "all was made already");
    let findings = shop.database.check().await;
    let stops: Vec<_> = findings.iter().filter(|finding| finding.level == CheckLevel::Stop).collect();
    assert!(stops.is_empty(), "{stops:#?}");
    shop.database.read_page(0, None, 10).await.expect("a page");
    shop.sql("select num_in_stock from stock where sku = 'A'; select num_in_stock from stock where sku = 'B'; select 1 from orders");
    let references = shop.database.references().await.expect("statistics").expect("they are kept");
    let found = references.iter().find(|reference| {
        reference.statement.to_lowercase().starts_with("select `num_in_stock` from `stock`")
    });
    assert_eq!(found.map(|found| (found.calls, found.caller.as_str())), Some((2, "shop")), "{references:#?}");
    assert!(references.iter().all(|reference| !reference.statement.contains("banyan")), "{references:#?}");
    assert!(references.iter().all(|reference| !reference.statement.contains("orders")), "{references:#?}");
    let quiet = Shop::open(&MariaDbOptions::default()).await;
    assert_eq!(quiet.database.references().await, Ok(None), "no statistics are kept there");
}

#[tokio::test]
async fn a_digest_is_that_of_the_rows_as_they_are_read() {
    let shop = Shop::open(&MariaDbOptions::default()).await;
    shop.sql(
        "create table odd (a varchar(5) character set latin1 not null, b smallint unsigned zerofill not null, code char(12), \
         place varchar(20) character set latin1, units decimal(12, 0), sold tinyint zerofill, primary key (a, b)) default charset utf8mb4",
    );
    shop.sql(
        "insert into odd select char(97 + seq % 5), seq, if(seq % 7 > 0, concat('K', seq), null), if(seq % 6 > 0, concat('p', seq), null), \
         nullif(seq * 1000003 % 99991 - 5, 7), nullif(seq % 4, 3) from seq_1_to_500; \
         insert into odd values ('z', 1, 'Käse', 'Köln', -3, null), ('z', 2, 'x\\ty', null, null, null)",
    );
    let text = "capability = \"stock\"\n[database]\nkind = \"mysql\"\nurl_env = \"X\"\nserver_id = 9\n[[table]]\nname = \"odd\"\n\
         key = [\"a\", \"b\"]\nsku = \"code\"\nlocation = { column = \"place\" }\nin_stock = \"units\"\nallocated = \"sold\"\n";
    let other = text.replace("allocated = \"sold\"\n", "").replace("{ column = \"place\" }", "\"main\"");
    let by_number = text.replace("sku = \"code\"", "sku = \"b\"");
    for text in [text, other.as_str(), by_number.as_str()] {
        let database =
            banyan_legacy::mysql::Mysql::at(mapping(text), &shop.server.url()).expect("an address");
        digests_are_of_the_rows(&database, 502, PageKey(vec!["e".into(), "499".into()])).await;
    }
}

#[tokio::test]
async fn what_the_old_table_refuses_is_told_from_what_is_wrong_with_the_whole() {
    let shop = Shop::open(&MariaDbOptions::default()).await;
    shop.sql("insert into stock (sku, num_in_stock) values ('A', 5), ('B', 5), ('C', 5)");
    shop.sql("alter table stock add constraint never_below check (num_in_stock >= 0)");
    shop.sql(
        "delimiter //\ncreate trigger frozen before update on stock for each row begin \
         if new.sku = 'C' then signal sqlstate '45000' set message_text = 'C is being counted'; end if; end//\ndelimiter ;\n",
    );
    lead(&shop, 10);
    let refused = async |row: TargetRow, says: &str| {
        let rows = [target(0, "A", "main", 1, 0), row];
        match shop.database.write(&rows, 11, 3).await {
            Ok(Written::Refused { why }) => assert!(why.contains(says), "{why}"),
            other => panic!("{other:?}"),
        }
    };
    refused(target(0, "B", "main", -1, 0), "never_below").await;
    refused(target(0, "B", "main", 1, 70_000), "num_allocated").await;
    refused(target(0, "B", "main", 1, -1), "num_allocated").await;
    refused(target(0, "C", "main", 1, 0), "C is being counted").await;
    assert_eq!(shop.sql("select group_concat(distinct num_in_stock), seq from stock, banyan_sync"), "5\t10");
    // A session in which a row was refused is as good as any other.
    let written = shop.database.write(&[target(0, "A", "main", 1, 0)], 11, 3).await;
    assert_eq!(written, Ok(Written::Done { absent: vec![] }));
    shop.sql("alter table stock drop constraint never_below, rename column num_allocated to sold");
    let error = shop.database.write(&[target(0, "A", "main", 1, 0)], 12, 3).await;
    assert!(matches!(error, Err(LegacyError::Refused(_))), "{error:?}");
}
