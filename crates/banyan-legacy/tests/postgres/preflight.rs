//! The preflight: what it finds, and that what it asks for puts it right.

use crate::shop::{Shop, TABLE, mapping, session};
use banyan_legacy::{CheckLevel, Finding, OldDatabase};
use banyan_testkit::{Postgres, PostgresOptions};

fn stops(findings: &[Finding]) -> Vec<&Finding> {
    findings.iter().filter(|finding| finding.level == CheckLevel::Stop).collect()
}

#[track_caller]
fn expect<'a>(findings: &'a [Finding], level: CheckLevel, subject: &str, says: &str) -> &'a Finding {
    let found =
        findings.iter().find(|f| f.level == level && f.subject.contains(subject) && f.found.contains(says));
    let found =
        found.unwrap_or_else(|| panic!("no {level:?} of {subject} that says {says:?} in {findings:#?}"));
    assert!(level == CheckLevel::Ok || !found.fix.is_empty(), "{found:?} does not say what to do");
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_missing_is_made_and_then_all_is_well() {
    let shop = Shop::open(PostgresOptions::default()).await;
    shop.add("A", 5, 2).await;
    let database = shop.database(&mapping(""));
    let before = database.check().await;
    expect(&before, CheckLevel::Stop, "bookkeeping", "not there");
    expect(&before, CheckLevel::Stop, "publication banyan_stock", "there is no publication");
    expect(&before, CheckLevel::Stop, "replica identity", "key alone");
    expect(&before, CheckLevel::Warn, "max_slot_wal_keep_size", "no limit");
    let done = database.create().await.expect("made");
    assert!(done.iter().any(|line| line.contains("replica identity full")), "{done:?}");
    assert_eq!(database.create().await, Ok(Vec::new()), "a second time there is nothing to do");
    let after = database.check().await;
    assert_eq!(stops(&after), Vec::<&Finding>::new());
    expect(&after, CheckLevel::Ok, "public.stockrecord rows", "1 rows");
    expect(&after, CheckLevel::Ok, "wal_level", "logical");
}

/// Found by reading: `wal_bytes_drop` turned this into "ok", and a Banyan that is down drops nothing.
#[tokio::test(flavor = "multi_thread")]
async fn a_guard_of_banyan_that_runs_is_no_limit_of_the_servers() {
    let shop = Shop::open(PostgresOptions::default()).await;
    let mut guarded = (*mapping("")).clone();
    guarded.watch.wal_bytes_drop = 4 << 30;
    let findings = shop.database(&std::sync::Arc::new(guarded)).check().await;
    let found = expect(&findings, CheckLevel::Warn, "max_slot_wal_keep_size", "only while Banyan runs");
    assert!(found.fix.contains("a Banyan that is down for long"), "{found:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_that_cannot_be_mirrored_are_found() {
    let shop = Shop::open(PostgresOptions::default()).await;
    shop.run("alter table stockrecord drop constraint stockrecord_partner_id_partner_sku_key").await;
    for (sku, in_stock, allocated) in
        [("", 1, 0), ("two words", 1, 0), ("NEG", -1, 0), ("OVER", 1, 3), ("D", 1, 0), ("D", 2, 0)]
    {
        shop.add(sku, in_stock, allocated).await;
    }
    let database = shop.database(&mapping(""));
    database.create().await.expect("made");
    let findings = database.check().await;
    expect(&findings, CheckLevel::Stop, "rows", "2 rows have no SKU");
    expect(&findings, CheckLevel::Stop, "rows", "below 0");
    expect(&findings, CheckLevel::Stop, "rows", "1 items have more than one row, such as SKU \"D\"");
    expect(&findings, CheckLevel::Warn, "rows", "2 rows are oversold");
}

#[tokio::test(flavor = "multi_thread")]
async fn tables_and_columns_that_cannot_be_mapped_are_found() {
    for (sql, level, subject, says) in [
        ("drop table stockrecord", CheckLevel::Stop, "stockrecord", "no such table"),
        (
            "alter table stockrecord rename num_in_stock to n",
            CheckLevel::Stop,
            "num_in_stock",
            "no such column",
        ),
        (
            "alter table stockrecord alter num_in_stock type numeric(10,2)",
            CheckLevel::Stop,
            "num_in_stock",
            "numeric(10,2)",
        ),
        ("alter table stockrecord alter num_in_stock type text", CheckLevel::Stop, "num_in_stock", "text"),
        (
            "alter table stockrecord drop num_allocated; \
             alter table stockrecord add num_allocated integer generated always as (id) stored",
            CheckLevel::Stop,
            "num_allocated",
            "computes it",
        ),
        (
            "alter table stockrecord drop constraint stockrecord_pkey",
            CheckLevel::Stop,
            "key",
            "not the whole",
        ),
        ("alter table stockrecord set unlogged", CheckLevel::Stop, "kind", "unlogged"),
        ("alter table stockrecord replica identity nothing", CheckLevel::Stop, "identity", "NOTHING"),
        (
            "create function f() returns trigger language plpgsql as $$ begin return new; end $$; \
             create trigger t before update on stockrecord for each row execute function f()",
            CheckLevel::Warn,
            "triggers",
            "t → f",
        ),
    ] {
        let shop = Shop::open(PostgresOptions::default()).await;
        shop.run(sql).await;
        let findings = shop.database(&mapping("")).check().await;
        expect(&findings, level, subject, says);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_poor_server_and_a_poor_role_are_found() {
    let options = PostgresOptions::default().set("wal_level", "replica").set("max_replication_slots", "0");
    let server = Postgres::start(&options).expect("a server");
    let client = session(&server.url()).await;
    client.batch_execute(TABLE).await.expect("made");
    client
        .batch_execute("create role reader login; alter table stockrecord enable row level security")
        .await
        .expect("made");
    let url = server.url().replace("postgres@", "reader@");
    let database = banyan_legacy::postgres::Postgres::at(mapping(""), &url).expect("an address");
    let findings = database.check().await;
    expect(&findings, CheckLevel::Stop, "wal_level", "replica");
    expect(&findings, CheckLevel::Stop, "max_replication_slots", "0 of 0");
    let role = expect(&findings, CheckLevel::Stop, "right to replicate", "has it not");
    assert!(role.fix.contains("alter role reader replication"), "{role:?}");
    expect(&findings, CheckLevel::Stop, "rights", "may not read");
    expect(&findings, CheckLevel::Stop, "kind", "row security");
    drop(server);
    let findings = database.check().await;
    assert_eq!((findings.len(), findings[0].level), (1, CheckLevel::Stop), "{findings:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn partitions_each_have_their_identity_and_stream_under_the_name_of_the_whole() {
    let shop = Shop::open(PostgresOptions::default()).await;
    shop.run("drop table stockrecord; create table stockrecord (id bigint, partner_sku text not null, partner_id integer not null, \
         num_in_stock integer, num_allocated integer, primary key (partner_id, partner_sku)) partition by list (partner_id); \
         create table part_1 partition of stockrecord for values in (1); create table part_2 partition of stockrecord for values in (2)").await;
    let text = "key = [\"id\"]";
    let mut mapped = mapping("").as_ref().clone();
    assert_eq!(mapped.tables[0].key, ["id"], "{text}");
    mapped.tables[0].key = vec!["partner_id".into(), "partner_sku".into()];
    let database = shop.database(&std::sync::Arc::new(mapped));
    database.create().await.expect("made");
    assert_eq!(stops(&database.check().await), Vec::<&Finding>::new());
    let (mut stream, ..) = crate::shop::snapshot(&database).await;
    shop.run("insert into stockrecord values (1, 'A', 1, 5, 0), (2, 'A', 2, 6, 0); delete from stockrecord where partner_id = 2").await;
    let seen = crate::shop::transaction(&mut stream).await;
    assert_eq!(seen.changes.len(), 3, "{seen:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_is_used_by_the_runtime_that_opened_it_and_by_no_other() {
    let shop = Shop::open(PostgresOptions::default()).await;
    let database = shop.database(&mapping(""));
    let asking = tokio::task::spawn_blocking(move || {
        let runtime =
            || tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let (first, second) = (runtime(), runtime());
        first.block_on(database.position()).expect("an answer");
        // The first one stands still from here on, and with it the connection of its session.
        second.block_on(database.position()).expect("an answer of a session of its own");
        first.block_on(database.position()).expect("its session is still there");
        drop(first);
        second.block_on(database.position()).expect("an answer");
    });
    asking.await.expect("every question was answered");
}
