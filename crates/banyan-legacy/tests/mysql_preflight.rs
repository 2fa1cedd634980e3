//! What a preflight of MariaDB finds that the sync could not do with.

mod maria;

use banyan_domain::legacy::Phase;
use banyan_legacy::mysql::Mysql;
use banyan_legacy::{CheckLevel, Finding, OldDatabase};
use banyan_testkit::MariaDbOptions;
use maria::{MAPPING, Shop, mapping};

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

/// A shop whose users have their rights table by table, and one of ours that sees only its own.
async fn shop_of_three_users() -> (Shop, Mysql) {
    let shop = Shop::open(&MariaDbOptions::default()).await;
    shop.sql(
        "drop table banyan_door, banyan_outbox, banyan_stream, banyan_sync; \
         create user app@'%' identified by 'p', report@'%' identified by 'p', banyan@'%' identified by 'p'; \
         grant select, update on shop.stock to app@'%'; grant insert on shop.orders to app@'%'; \
         grant select (sku, num_in_stock) on shop.stock to report@'%'; \
         grant select, insert, update, delete, create on shop.* to banyan@'%'; \
         grant replication slave, replication client on *.* to banyan@'%'",
    );
    let banyan = Mysql::at(mapping(MAPPING), &address(&shop, "banyan")).expect("an address");
    (shop, banyan)
}

fn address(shop: &Shop, user: &str) -> String {
    format!("mysql://{user}:p@127.0.0.1:{}/shop", shop.server.port())
}

async fn said_by(shop: &Shop, user: &str, sql: &str) -> Result<String, String> {
    use mysql_async::prelude::Queryable;
    let mut conn = mysql_async::Conn::from_url(address(shop, user)).await.expect("a connection");
    let first: Option<String> = conn.query_first(sql).await.map_err(|error| error.to_string())?;
    Ok(first.unwrap_or_default())
}

const READ: &str = "select phase from banyan_door where capability = 'stock' lock in share mode";
const TELL: &str = "insert into banyan_outbox (capability, kind, body) values ('stock', 'ship', '{}')";

#[tokio::test(flavor = "multi_thread")]
async fn a_shop_whose_user_has_rights_by_table_can_read_who_leads_and_tell_banyan_on_mariadb() {
    let (shop, _) = shop_of_three_users().await;
    let made = shop.database.create().await.expect("made");
    assert_eq!(made.iter().filter(|line| line.ends_with("to 'app'@'%'")).count(), 3, "{made:#?}");
    assert_eq!(said_by(&shop, "app", READ).await.as_deref(), Ok("legacy"));
    assert_eq!(said_by(&shop, "app", TELL).await.as_deref(), Ok(""));
    assert_eq!(said_by(&shop, "report", "select phase from banyan_sync").await.as_deref(), Ok("legacy"));
    said_by(&shop, "report", TELL).await.expect_err("who only reads tells nothing");
    assert_eq!(of(CheckLevel::Stop, &shop.database.check().await), [""; 0]);
    assert_eq!(shop.database.create().await, Ok(vec![]), "a second time there is nothing to do");

    shop.sql("revoke insert on shop.banyan_outbox from app@'%'");
    let found = of(CheckLevel::Stop, &shop.database.check().await);
    let [stop] = &found[..] else { panic!("{found:#?}") };
    assert!(stop.contains("'app'@'%' may write a mapped table"), "{stop}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_of_ours_that_may_not_grant_is_told_what_an_administrator_has_to() {
    let (shop, banyan) = shop_of_three_users().await;
    let made = banyan.create().await.expect("made");
    let told = made.iter().find(|line| line.starts_with("-- ")).expect("a comment");
    assert!(told.contains("grant select, insert on `shop`.banyan_outbox to 'SHOP'@'HOST'"), "{told}");
    let findings = banyan.check().await;
    let rights = findings.iter().find(|finding| finding.subject.starts_with("rights of the old shop"));
    let rights = rights.expect("it is looked at");
    assert_eq!(rights.level, CheckLevel::Warn, "{rights:?}");
    let (_, grants) = rights.fix.split_once("for any other: ").expect("statements");
    said_by(&shop, "app", TELL).await.expect_err("no right yet");
    shop.sql(&grants.replace("'SHOP'@'HOST'", "app@'%'"));
    said_by(&shop, "app", TELL).await.expect("what was told is enough");
    assert_eq!(banyan.create().await, Ok(vec![]), "a second time there is nothing new to tell");

    // One that sees them, and may not grant.
    shop.sql("grant select on mysql.* to banyan@'%'; revoke insert on shop.banyan_outbox from app@'%'");
    let made = banyan.create().await.expect("nothing to make");
    let [told] = &made[..] else { panic!("{made:#?}") };
    assert!(told.starts_with("-- this user may not grant") && told.contains("'app'@'%'"), "{told}");
}
