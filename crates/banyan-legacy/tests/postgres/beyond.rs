//! Rows and rights that the sync could not do with: found before, not by a copy that stands still.

use crate::shop::{Shop, mapping};
use banyan_domain::legacy::Phase;
use banyan_legacy::postgres::Postgres as OldPostgres;
use banyan_legacy::{CheckLevel, Finding, OldDatabase};

/// What must be mended, in words.
fn stops(findings: &[Finding]) -> Vec<String> {
    let stops = findings.iter().filter(|finding| finding.level == CheckLevel::Stop);
    stops.map(|finding| format!("{}: {}", finding.subject, finding.found)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn more_locations_than_banyan_holds_are_found_before_the_copy_stands_still_at_them() {
    let (shop, database) = Shop::ready().await;
    let add = "insert into stockrecord (partner_sku, partner_id, num_in_stock)";
    shop.run(&format!("{add} select 'A', n, 1 from generate_series(1, 1000) n")).await;
    assert_eq!(stops(&database.check().await), [""; 0], "so many fit");
    shop.run(&format!("{add} values ('A', 1001, 1)")).await;
    let found = stops(&database.check().await);
    assert_eq!(found, ["mapped locations: there are more than 1000 different ones"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_blank_at_the_end_of_a_sku_is_found_where_it_is_no_padding() {
    let (shop, database) = Shop::ready().await;
    shop.add("ABC ", 5, 0).await;
    let found = stops(&database.check().await);
    assert_eq!(
        found,
        ["public.stockrecord rows: 1 rows have no SKU, or one that cannot be taken, such as \"ABC \""]
    );
    // In a column of fixed width it is padding, which the copy and the stream take off.
    shop.run("alter table stockrecord alter partner_sku type char(20)").await;
    assert_eq!(stops(&database.check().await), [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_number_that_is_greater_than_banyan_counts_is_found() {
    let (shop, database) = Shop::ready().await;
    shop.run("alter table stockrecord alter num_in_stock type bigint").await;
    shop.add("A", 4_000_000_000, 0).await;
    assert_eq!(stops(&database.check().await), [""; 0]);
    shop.add("B", 4_000_000_001, 0).await;
    let found = stops(&database.check().await);
    assert!(found.len() == 1 && found[0].contains("above 4000000000, such as that of \"B\""), "{found:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_may_not_write_the_old_columns_does_not_get_the_lead() {
    let (shop, _consented) = Shop::ready().await;
    shop.run(
        "create role onlooker login replication; grant select on stockrecord to onlooker; \
         grant select, update on banyan_sync to onlooker; grant select, delete on banyan_outbox to onlooker",
    )
    .await;
    let url = shop.server.url().replace("postgres@", "onlooker@");
    let database = OldPostgres::at(mapping(""), &url).expect("an address");
    assert_eq!(stops(&database.check_for(Phase::Mirror).await), [""; 0], "reading is enough to follow");
    shop.run("update banyan_sync set phase = 'mirror'").await;
    let wanted = ["public.stockrecord rights: our role may read it, and not write"];
    assert_eq!(stops(&database.check_for(Phase::Lead).await), wanted);
    shop.lead().await;
    assert_eq!(stops(&database.check().await), wanted, "the old columns do not follow");
    shop.run("grant update (num_in_stock, num_allocated) on stockrecord to onlooker").await;
    assert_eq!(stops(&database.check_for(Phase::Lead).await), [""; 0]);
}
