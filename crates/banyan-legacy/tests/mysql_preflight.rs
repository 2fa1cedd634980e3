//! What a preflight of MariaDB finds that the sync could not do with.

mod maria;

use banyan_domain::legacy::Phase;
use banyan_legacy::{CheckLevel, Finding, OldDatabase};
use banyan_testkit::MariaDbOptions;
use maria::Shop;

/// Findings of a level, in words.
fn of(level: CheckLevel, findings: &[Finding]) -> Vec<String> {
    let found = findings.iter().filter(|finding| finding.level == level);
    found.map(|finding| format!("{}: {}", finding.subject, finding.found)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_binary_log_that_leaves_the_shop_out_is_found() {
    let shop = Shop::open(&MariaDbOptions::default().set("binlog-ignore-db", "shop")).await;
    let found = of(CheckLevel::Stop, &shop.database.check().await);
    assert_eq!(found, ["binary log filters: changes in shop are not logged (binlog-ignore-db = shop)"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn more_locations_than_banyan_holds_are_found_and_do_not_close_the_way_back() {
    let shop = Shop::open(&MariaDbOptions::default()).await;
    shop.sql(
        "insert into stock (sku, place, num_in_stock) select 'A', concat('p-', seq), 1 from seq_1_to_999",
    );
    let fits = of(CheckLevel::Stop, &shop.database.check().await);
    assert_eq!(fits, [""; 0], "so many fit, with the place that the other table stands for");
    shop.sql("insert into stock (sku, place, num_in_stock) values ('A', 'one-more', 1)");
    let wanted = ["mapped locations: there are more than 1000 different ones"];
    assert_eq!(of(CheckLevel::Stop, &shop.database.check().await), wanted);

    shop.sql("update banyan_sync set phase = 'mirror'; update banyan_door set phase = 'mirror'");
    assert_eq!(of(CheckLevel::Stop, &shop.database.check_for(Phase::Lead).await), wanted);
    let back = shop.database.check_for(Phase::Legacy).await;
    assert_eq!(of(CheckLevel::Stop, &back), [""; 0]);
    assert!(of(CheckLevel::Warn, &back).contains(&wanted[0].to_owned()), "{back:#?}");
}
