//! The way back is open whatever came to stand in the rows meanwhile.

use crate::moving::{Banyan, until};
use crate::shop::Shop;
use banyan_domain::legacy::Phase;
use banyan_legacy::{CheckLevel, Finding, Gate, OldDatabase};

async fn preflight(banyan: &Banyan, to: Phase) -> Gate {
    let plan = banyan.keeper.plan(to).await.expect("it runs");
    plan.gates.into_iter().find(|gate| gate.name == "preflight").expect("every move has it")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_cannot_be_taken_does_not_close_the_way_back() {
    let (shop, _consented) = Shop::ready().await;
    shop.add("A", 5, 1).await;
    let banyan = Banyan::beside(&shop);
    banyan.to(Phase::Mirror).await;
    banyan.to(Phase::Lead).await;
    // Somebody adds a product in the old shop's dashboard. It is left out, and sold by nobody until its name is mended.
    shop.add("LTD 8006", 3, 0).await;
    let gate = preflight(&banyan, Phase::Mirror).await;
    assert!(gate.holds, "{gate:?}");
    banyan.to(Phase::Mirror).await;
    let gate = preflight(&banyan, Phase::Lead).await;
    assert!(
        !gate.holds && gate.found.contains("LTD 8006"),
        "on the way there it would be left out: {gate:?}"
    );
    let gate = preflight(&banyan, Phase::Legacy).await;
    assert!(gate.holds, "{gate:?}");
    banyan.to(Phase::Legacy).await;
    let _desk = banyan.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_number_below_nothing_that_banyan_itself_wrote_does_not_close_the_way_back() {
    let (shop, _consented) = Shop::ready().await;
    shop.add("A", 5, 8).await; // oversold by three
    let banyan = Banyan::beside(&shop);
    banyan.to(Phase::Mirror).await;
    banyan.until_books("A", (5, 8)).await;
    banyan.to(Phase::Lead).await;
    shop.tell("ship", r#"{"sku": "A", "quantity": 8, "location": "1"}"#).await;
    until("what is short to be in the old table", async || {
        let sql = "select num_in_stock::bigint from stockrecord where partner_sku = 'A'";
        (shop.number(sql).await == -3).then_some(())
    })
    .await;
    let gate = preflight(&banyan, Phase::Mirror).await;
    assert!(gate.holds, "{gate:?}");
    banyan.to(Phase::Mirror).await;
    let _desk = banyan.stop().await;
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
