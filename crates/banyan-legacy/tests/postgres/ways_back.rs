//! The way back is open whatever came to stand in the rows meanwhile; and a mirror without tables of ours comes and goes.

use crate::moving::{beside, until_books};
use crate::shop::{Shop, mapping};
use banyan_domain::Actor;
use banyan_domain::legacy::Phase;
use banyan_legacy::{BeginError, CheckLevel, Finding, Gate, Mapping, OldDatabase};
use banyan_legacy_testkit::{Banyan, Kept, until};
use banyan_testkit::PostgresOptions;
use std::sync::Arc;

async fn preflight(banyan: &Kept, to: Phase) -> Gate {
    let plan = banyan.keeper().plan(to).await.expect("it runs");
    plan.gates.into_iter().find(|gate| gate.name == "preflight").expect("every move has it")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_cannot_be_taken_does_not_close_the_way_back() {
    let (shop, _consented) = Shop::ready().await;
    shop.add("A", 5, 1).await;
    let mut banyan = beside(&shop);
    banyan.goes(Phase::Mirror).await;
    banyan.goes(Phase::Lead).await;
    // Somebody adds a product in the old shop's dashboard. It is left out, and sold by nobody until its name is mended.
    shop.add("LTD 8006", 3, 0).await;
    let gate = preflight(&banyan, Phase::Mirror).await;
    assert!(gate.holds, "{gate:?}");
    banyan.goes(Phase::Mirror).await;
    let gate = preflight(&banyan, Phase::Lead).await;
    assert!(
        !gate.holds && gate.found.contains("LTD 8006"),
        "on the way there it would be left out: {gate:?}"
    );
    let gate = preflight(&banyan, Phase::Legacy).await;
    assert!(gate.holds, "{gate:?}");
    banyan.goes(Phase::Legacy).await;
    banyan.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_number_below_nothing_that_banyan_itself_wrote_does_not_close_the_way_back() {
    let (shop, _consented) = Shop::ready().await;
    shop.add("A", 5, 8).await; // oversold by three
    let mut banyan = beside(&shop);
    banyan.goes(Phase::Mirror).await;
    until_books(&banyan, "A", (5, 8)).await;
    banyan.goes(Phase::Lead).await;
    shop.tell("ship", r#"{"sku": "A", "quantity": 8, "location": "1"}"#).await;
    until("what is short to be in the old table", async || {
        let sql = "select num_in_stock::bigint from stockrecord where partner_sku = 'A'";
        shop.number(sql).await == -3
    })
    .await;
    let gate = preflight(&banyan, Phase::Mirror).await;
    assert!(gate.holds, "{gate:?}");
    banyan.goes(Phase::Mirror).await;
    banyan.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_that_cannot_be_looked_at_in_time_close_the_way_there_and_not_the_way_back() {
    let (shop, database) = Shop::ready().await;
    shop.add("A", 5, 1).await;
    shop.lead().await;
    // As long as the old shop changes the table's form, nobody reads it.
    let lock = "begin; lock table stockrecord in access exclusive mode";
    shop.run(lock).await;
    let unseen = |findings: Vec<Finding>| -> Vec<CheckLevel> {
        let unseen = findings.iter().filter(|finding| finding.found.contains("could not be looked at"));
        unseen.map(|finding| finding.level).collect()
    };
    assert_eq!(unseen(database.check_for(Phase::Mirror).await), [CheckLevel::Warn]);
    shop.run("rollback").await;
    shop.run("update banyan_sync set phase = 'mirror'").await;
    shop.run(lock).await;
    assert_eq!(unseen(database.check_for(Phase::Lead).await), [CheckLevel::Stop]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mirror_without_tables_of_ours_comes_and_goes_and_never_leads() {
    let shop = Shop::open(PostgresOptions::default()).await;
    shop.run("alter table stockrecord replica identity full").await;
    shop.add("A", 5, 1).await;
    let mut without: Mapping = mapping("").as_ref().clone();
    without.database.bookkeeping = false;
    let without = Arc::new(without);
    let database = shop.database(&without);
    database.create().await.expect("the publication is made");
    let mut banyan = Banyan::beside(Arc::new(database), without).kept();

    banyan.goes(Phase::Mirror).await;
    until_books(&banyan, "A", (5, 1)).await;
    shop.run("update stockrecord set num_allocated = 2").await;
    until_books(&banyan, "A", (5, 2)).await;
    assert_eq!(banyan.keeper().compare(true).await, Ok((1, 0)));
    assert_eq!(shop.number("select count(*) from pg_class where relname like 'banyan%'").await, 0);

    let by = Actor::new("op").expect("a name");
    let refused = banyan.keeper().begin(Phase::Lead, by, "a test", &[]).await;
    let Err(BeginError::Gates(gates)) = refused else { panic!("it may not lead: {refused:?}") };
    let preflight = gates.iter().find(|gate| gate.name == "preflight").expect("it says why");
    assert!(preflight.found.contains("bookkeeping = false"), "{preflight:?}");

    banyan.goes(Phase::Legacy).await;
    assert_eq!(shop.number("select count(*) from pg_replication_slots").await, 0, "nothing is kept for us");
    banyan.stop().await;
}
