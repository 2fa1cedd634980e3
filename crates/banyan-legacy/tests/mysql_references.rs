//! Who still touches the old tables, on a real MariaDB: what its statistics cut off, or have no room for, is not nobody.

mod maria;

use banyan_legacy::{CheckLevel, Finding, OldDatabase, SqlReference};
use banyan_testkit::MariaDbOptions;
use maria::Shop;

async fn counting(settings: &[(&str, &str)]) -> Shop {
    let options = MariaDbOptions::default().set("performance_schema", "ON");
    let options = settings.iter().fold(options, |options, (name, value)| options.set(name, *value));
    Shop::open(&options).await
}

async fn seen(shop: &Shop) -> Option<Vec<SqlReference>> {
    shop.database.references().await.expect("an answer")
}

/// What the preflight says of the statistics.
async fn said(shop: &Shop) -> Finding {
    let findings = shop.database.check().await;
    let finding = findings.into_iter().find(|finding| finding.subject == "statistics of statements");
    finding.expect("it is looked at")
}

/// A report that names the mapped table behind 60 columns of another one.
fn wide() -> (String, String) {
    let columns: Vec<String> = (0..60).map(|n| format!("a_rather_long_column_{n}")).collect();
    let table = format!("create table report (sku varchar(64), {} int)", columns.join(" int, "));
    let names: Vec<String> = columns.iter().map(|name| format!("report.{name}")).collect();
    (table, format!("select {} from report join stock on stock.sku = report.sku", names.join(", ")))
}

/// Found by reading: the server keeps 1,024 bytes of a statement, and the table's name was behind them.
#[tokio::test]
async fn a_long_select_that_joins_the_mapped_table_at_its_end_is_found() {
    let shop = counting(&[]).await;
    let (table, select) = wide();
    shop.sql(&table);
    assert!(seen(&shop).await.is_some());
    shop.sql(&format!("{select}; {select}"));
    let found = seen(&shop).await.expect("counted");
    let cut = found.iter().find(|one| one.statement.contains("a_rather_long_column_3"));
    assert_eq!(cut.map(|one| one.calls), Some(2), "{found:#?}");
    // What is ours is not among them, also if it is long.
    shop.database.check().await;
    shop.database.digest_ranges(0, &[banyan_legacy::KeyRange::default()], 10).await.expect("digests");
    let found = seen(&shop).await.expect("counted");
    assert_eq!(found.iter().filter(|one| one.statement.ends_with("...")).count(), 1, "{found:#?}");
    let finding = said(&shop).await;
    assert!(
        finding.level == CheckLevel::Warn && finding.fix.contains("max_digest_length = 4096"),
        "{finding:?}"
    );
}

#[tokio::test]
async fn with_long_digests_only_who_names_the_mapped_table_is_found() {
    let long = [("performance_schema_max_digest_length", "8192"), ("max_digest_length", "8192")];
    let shop = counting(&long).await;
    let (table, select) = wide();
    shop.sql(&table);
    shop.sql(&select);
    shop.sql(&select.replace("join stock on stock.sku = report.sku", ""));
    let found = seen(&shop).await.expect("counted");
    let of_report = found.iter().filter(|one| one.statement.contains("a_rather_long_column_3")).count();
    assert_eq!(of_report, 1, "{found:#?}");
    let finding = said(&shop).await;
    assert_eq!((finding.level, finding.found.as_str()), (CheckLevel::Ok, "kept"));
}

/// Found by reading: when there is no room for another statement, new ones are counted in one row that has no text.
#[tokio::test]
async fn statistics_that_are_full_do_not_say_that_nobody_is_left() {
    let shop = counting(&[("performance_schema_digests_size", "200")]).await;
    assert!(seen(&shop).await.is_some(), "there is room");
    let all: Vec<String> = (0..400).map(|n| format!("select 1 as c{n};")).collect();
    shop.sql(&all.concat());
    assert_eq!(seen(&shop).await, None, "one of those without a name may have touched it");
    shop.sql("select num_in_stock as late from stock");
    assert_eq!(seen(&shop).await, None);
    let finding = said(&shop).await;
    assert!(finding.level == CheckLevel::Warn && finding.found.contains("no room for more"), "{finding:?}");
    shop.sql("truncate performance_schema.events_statements_summary_by_digest");
    assert!(seen(&shop).await.is_some(), "there is room again");
}

/// Found by reading: nothing is counted then, and so nobody was left.
#[tokio::test]
async fn statistics_that_are_switched_off_do_not_say_that_nobody_is_left() {
    let shop = counting(&[]).await;
    assert_eq!(said(&shop).await.level, CheckLevel::Warn, "digests are short by themselves");
    for (off, on) in [
        (
            "update performance_schema.setup_consumers set enabled = 'NO' where name = 'statements_digest'",
            "update performance_schema.setup_consumers set enabled = 'YES' where name = 'statements_digest'",
        ),
        (
            "update performance_schema.setup_instruments set enabled = 'NO' where name = 'statement/sql/select'",
            "update performance_schema.setup_instruments set enabled = 'YES' where name = 'statement/sql/select'",
        ),
    ] {
        shop.sql(off);
        shop.sql("select num_in_stock from stock");
        assert_eq!(seen(&shop).await, None, "{off}");
        let finding = said(&shop).await;
        assert!(finding.level == CheckLevel::Warn && finding.found.contains("switched off"), "{finding:?}");
        shop.sql(on);
        assert!(seen(&shop).await.is_some(), "{on}");
    }
}

/// Found by reading: who names only a view over the table is somebody who is left.
#[tokio::test]
async fn who_reads_through_a_view_or_a_procedure_is_a_reference() {
    let shop = counting(&[]).await;
    shop.sql("create view levels as select * from stock; create view stock_report as select sku from levels");
    shop.sql(
        "create procedure tell() select count(*) from stock_report; create view prices as select 1 as price",
    );
    let before = shop.database.statistics().await.expect("an answer");
    assert!(before.is_some());
    shop.sql("select * from stock_report; call tell(); select * from prices");
    let found = seen(&shop).await.expect("counted");
    for name in ["stock_report", "tell"] {
        let names = |one: &SqlReference| one.statement.to_lowercase().contains(name);
        assert!(found.iter().any(names), "{name} is not in {found:#?}");
    }
    assert!(!found.iter().any(|one| one.statement.contains("prices")), "{found:#?}");
    let findings = shop.database.check().await;
    let told = findings.iter().find(|finding| finding.subject == "views and routines over the mapped tables");
    let told = told.expect("it is looked at");
    assert!(
        told.level == CheckLevel::Warn && told.found.contains("stock_report") && told.found.contains("tell"),
        "{told:?}"
    );
    assert!(!told.found.contains("prices"), "{told:?}");
    assert_eq!(shop.database.statistics().await.as_ref(), Ok(&before), "nobody emptied them");
    // MariaDB's moments are whole seconds: emptied in the second in which it began to count, it would look the same.
    let first = "select max(first_seen) from performance_schema.events_statements_summary_by_digest";
    let first = shop.sql(first);
    while shop.sql("select now()").trim() <= first.trim() {}
    shop.sql("truncate table performance_schema.events_statements_summary_by_digest");
    assert_ne!(shop.database.statistics().await, Ok(before));
}
