//! Who still touches the old columns by SQL: what the server does not tell is not the same as nobody.

use crate::shop::{Shop, mapping, session};
use banyan_legacy::{CheckLevel, OldDatabase, SqlReference};
use banyan_testkit::PostgresOptions;

async fn counting(settings: &[(&str, &str)]) -> Shop {
    let options = PostgresOptions::default().set("shared_preload_libraries", "pg_stat_statements");
    let options = settings.iter().fold(options, |options, (name, value)| options.set(name, *value));
    let shop = Shop::open(options).await;
    shop.run("create extension pg_stat_statements").await;
    shop
}

async fn seen(shop: &Shop) -> Option<Vec<SqlReference>> {
    shop.database(&mapping("")).references().await.expect("an answer")
}

/// What the preflight says of the statistics.
async fn said(database: &impl OldDatabase) -> (CheckLevel, String, String) {
    let findings = database.check().await;
    let finding = findings.into_iter().find(|finding| finding.subject == "pg_stat_statements");
    let finding = finding.expect("it is looked at");
    (finding.level, finding.found, finding.fix)
}

/// Found by reading: the texts of others' statements are hidden from a role that may not see them, so nobody seemed to be left.
#[tokio::test(flavor = "multi_thread")]
async fn a_role_that_may_not_see_others_statements_knows_nothing_of_them() {
    let shop = counting(&[]).await;
    shop.run(
        "create role banyan login replication; create role shop login; grant select on stockrecord to shop",
    )
    .await;
    let theirs = session(&shop.server.url().replace("postgres@", "shop@")).await;
    theirs.query("select num_in_stock from stockrecord where partner_sku = 'A'", &[]).await.expect("rows");
    let url = shop.server.url().replace("postgres@", "banyan@");
    let database = banyan_legacy::postgres::Postgres::at(mapping(""), &url).expect("an address");
    assert_eq!(database.references().await, Ok(None), "nobody may say that nobody is left");
    let (level, found, fix) = said(&database).await;
    assert_eq!((level, fix.as_str()), (CheckLevel::Warn, "grant pg_read_all_stats to banyan;"), "{found}");
    shop.run(&fix).await;
    let found = database.references().await.expect("an answer").expect("it may see them");
    assert!(found.iter().any(|one| one.caller == "shop"), "{found:?}");
    assert_eq!(said(&database).await.0, CheckLevel::Ok);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_counts_nothing_says_nothing() {
    let shop = counting(&[("pg_stat_statements.track", "none")]).await;
    shop.run("select num_in_stock from stockrecord").await;
    assert_eq!(seen(&shop).await, None);
    let (level, found, _) = said(&shop.database(&mapping(""))).await;
    assert!(level == CheckLevel::Warn && found.contains("track = none"), "{found}");
    // Installed, and not loaded.
    let shop = Shop::open(PostgresOptions::default()).await;
    shop.run("create extension pg_stat_statements").await;
    assert_eq!(seen(&shop).await, None);
    let (level, found, _) = said(&shop.database(&mapping(""))).await;
    assert!(level == CheckLevel::Warn && found.contains("not loaded"), "{found}");
}

/// Statements that the server tells apart: by the columns that they name beside ours.
fn statement(n: usize) -> String {
    let others: Vec<&str> =
        (0..11).map(|bit| if n >> bit & 1 == 1 { "partner_id" } else { "partner_sku" }).collect();
    format!("select num_in_stock, {} from stockrecord", others.join(", "))
}

/// Found by reading: the list ended after the 200 most frequent statements, and knew small letters only.
#[tokio::test(flavor = "multi_thread")]
async fn a_rare_statement_in_capitals_is_found_behind_250_frequent_ones() {
    let shop = counting(&[("pg_stat_statements.max", "1000")]).await;
    for n in 1..=250 {
        let sql = statement(n);
        shop.run(&format!("{sql}; {sql}; {sql}")).await;
    }
    shop.run("SELECT NUM_IN_STOCK AS NIGHTLY FROM STOCKRECORD").await;
    let found = seen(&shop).await.expect("counted");
    assert!(found.len() > 250, "{}", found.len());
    let nightly = found.iter().find(|one| one.statement.contains("NIGHTLY"));
    assert_eq!(nightly.map(|one| one.calls), Some(1));
}

/// More than anybody would look through is no evidence that nobody is left.
#[tokio::test(flavor = "multi_thread")]
async fn more_statements_than_are_kept_are_not_cut_off() {
    let shop = counting(&[]).await;
    let all: Vec<String> = (1..=2_001).map(statement).collect();
    shop.run(&all.join("; ")).await;
    assert_eq!(seen(&shop).await, None);
}

/// Found by reading: each look took one row for the growth of the other.
#[tokio::test(flavor = "multi_thread")]
async fn a_statement_within_a_function_and_outside_of_it_is_one_reference() {
    let shop = counting(&[("pg_stat_statements.track", "all")]).await;
    let sql = "select num_in_stock from stockrecord";
    shop.run(&format!("{sql}; {sql}")).await;
    shop.run("do $$ declare n integer; begin execute 'select num_in_stock from stockrecord' into n; end $$")
        .await;
    let found = seen(&shop).await.expect("counted");
    let same: Vec<&SqlReference> = found.iter().filter(|one| one.statement == sql).collect();
    assert_eq!(same.len(), 1, "{found:#?}");
    assert_eq!(same[0].calls, 3, "{found:#?}");
}

/// Found by reading: `select * from stock_report` names neither the table nor a column of it, and nobody seemed to be left.
#[tokio::test(flavor = "multi_thread")]
async fn who_reads_through_a_view_or_a_function_is_a_reference() {
    let shop = counting(&[]).await;
    for sql in [
        "create view stock_levels as select partner_sku, num_in_stock as units from stockrecord",
        "create materialized view stock_report as select partner_sku, units from stock_levels",
        "create function units_of(text) returns bigint language sql as 'select sum(units) from stock_levels where partner_sku = $1'",
        "create function shelf() returns setof stockrecord language plpgsql as \
         $$ begin return query select * from stockrecord; end $$",
        "create view partners as select distinct partner_id from stockrecord",
        "select pg_stat_statements_reset()",
        "select * from stock_report",
        "select units_of('A')",
        "select count(*) from shelf()",
        "select * from partners",
    ] {
        shop.run(sql).await;
    }
    let found = seen(&shop).await.expect("counted");
    for name in ["stock_report", "units_of", "shelf()"] {
        assert!(found.iter().any(|one| one.statement.contains(name)), "{name} is not in {found:#?}");
    }
    assert!(!found.iter().any(|one| one.statement.contains("partners")), "no stock is in it: {found:#?}");
    let findings = shop.database(&mapping("")).check().await;
    let told =
        findings.iter().find(|finding| finding.subject == "views and functions over the mapped tables");
    let told = told.expect("it is looked at");
    assert_eq!(told.level, CheckLevel::Warn);
    for what in [
        "view public.stock_levels",
        "materialized view public.stock_report",
        "function public.units_of",
        "function public.shelf",
    ] {
        assert!(told.found.contains(what), "{what} is not in {told:?}");
    }
    assert!(!told.found.contains("partners"), "{told:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reset_of_the_statistics_shows() {
    let shop = counting(&[]).await;
    let database = shop.database(&mapping(""));
    let before = database.statistics().await.expect("an answer");
    assert!(before.is_some());
    shop.run("select num_in_stock from stockrecord").await;
    assert_eq!(database.statistics().await.as_ref(), Ok(&before));
    shop.run("select pg_stat_statements_reset()").await;
    assert_ne!(database.statistics().await, Ok(before));
}
