//! Tables that belong to one role, an app with another, and Banyan with a third: who may do what with our tables.

use crate::shop::{Shop, mapping, session};
use banyan_legacy::postgres::Postgres as OldPostgres;
use banyan_legacy::{CheckLevel, Finding, OldDatabase};
use banyan_testkit::PostgresOptions;
use tokio_postgres::Client;

/// A shop as companies have it: migrations own the tables, the app has the rights that it needs, a report reads.
async fn shop_of_three_roles() -> Shop {
    let shop = Shop::open(PostgresOptions::default()).await;
    shop.add("A", 5, 2).await;
    shop.run(
        "create role migrations login; create role app login; create role report login; create role banyan login replication; \
         alter table stockrecord owner to migrations; alter table stockrecord replica identity full; \
         grant select, insert, update, delete on stockrecord to app; grant select on stockrecord to report; \
         grant create on schema public to migrations, banyan; \
         do $$ begin execute format('grant create on database %I to migrations, banyan', current_database()); end $$",
    )
    .await;
    shop
}

fn address(shop: &Shop, role: &str) -> String {
    shop.server.url().replace("postgres@", &format!("{role}@"))
}

fn database(shop: &Shop, role: &str) -> OldPostgres {
    OldPostgres::at(mapping(""), &address(shop, role)).expect("an address")
}

async fn phase(client: &Client) -> String {
    client.query_one("select phase from banyan_sync", &[]).await.expect("readable").get(0)
}

fn stops(findings: &[Finding]) -> Vec<&Finding> {
    findings.iter().filter(|finding| finding.level == CheckLevel::Stop).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_app_that_does_not_own_the_tables_can_read_who_leads_and_tell_banyan_as_soon_as_our_tables_are_there()
 {
    let shop = shop_of_three_roles().await;
    shop.run("grant migrations to banyan").await;
    let banyan = database(&shop, "banyan");
    banyan.create().await.expect("made");

    let app = session(&address(&shop, "app")).await;
    assert_eq!(phase(&app).await, "legacy");
    let tell = "insert into banyan_outbox (capability, kind, body) values ('stock', 'ship', '{}')";
    assert_eq!(app.execute(tell, &[]).await.expect("it may tell"), 1);
    let report = session(&address(&shop, "report")).await;
    assert_eq!(phase(&report).await, "legacy");
    report.execute(tell, &[]).await.expect_err("who only reads tells nothing");
    assert_eq!(stops(&banyan.check().await), Vec::<&Finding>::new());
    assert_eq!(banyan.create().await, Ok(Vec::new()), "a second time there is nothing to do");

    // A role that came later, and one whose right was taken away.
    shop.run(
        "create role importer login; grant update (num_in_stock) on stockrecord to importer; revoke select on banyan_sync from report",
    )
    .await;
    let findings = banyan.check().await;
    let [stop] = stops(&findings)[..] else { panic!("{findings:#?}") };
    assert!(stop.found.starts_with("importer may write a mapped table"), "{stop:?}");
    let made = banyan.create().await.expect("made");
    assert_eq!(made.iter().filter(|line| line.ends_with("to importer")).count(), 3, "{made:?}");
    assert!(made.contains(&"grant select on \"public\".banyan_sync to report".to_owned()), "{made:?}");
    assert_eq!(stops(&banyan.check().await), Vec::<&Finding>::new());
    let importer = session(&address(&shop, "importer")).await;
    importer.execute(tell, &[]).await.expect("it may tell");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_role_of_ours_without_rights_on_our_tables_is_told_by_the_preflight_and_not_by_a_move_that_hangs() {
    let shop = shop_of_three_roles().await;
    shop.run("grant select, update on stockrecord to banyan").await;
    database(&shop, "migrations").create().await.expect("the owner made them");

    let banyan = database(&shop, "banyan");
    let findings = banyan.check().await;
    let [stop] = stops(&findings)[..] else { panic!("{findings:#?}") };
    assert!(stop.found.contains("banyan may not read and write them"), "{stop:?}");
    let grants = stop.fix.split_once(": ").expect("statements after the words").1;
    shop.run(grants).await;
    assert_eq!(stops(&banyan.check().await), Vec::<&Finding>::new());
    assert_eq!(banyan.create().await, Ok(Vec::new()), "a move has nothing more to make");
    assert_eq!(banyan.book().await.expect("readable").map(|book| book.move_no), Some(0));
    shop.lead().await;
    banyan.write(&[], 7, 1).await.expect("it may write its checkpoint");
    assert_eq!(banyan.clear_outbox(&[1]).await, Ok(0));
}
