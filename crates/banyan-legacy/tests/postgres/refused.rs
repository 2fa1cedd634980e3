//! Rules of the old shop that refuse a row under codes of their own, and what is wrong with the whole under the same codes.

use crate::moving::beside;
use crate::shop::Shop;
use banyan_domain::legacy::Phase;
use banyan_legacy::{LegacyError, OldDatabase, TargetRow, Written};

fn target(sku: &str, in_stock: i64) -> TargetRow {
    TargetRow { table: 0, sku: sku.into(), location: "1".into(), in_stock, allocated: 0 }
}

/// A trigger that refuses rows with the code that stands in a table beside.
const RULES: &str = "create table rules (sku text primary key, code text not null); \
    create function ruled() returns trigger language plpgsql as $$ declare found text; begin \
      select code into found from rules where sku = new.partner_sku; \
      if found is not null then raise exception '% is frozen', new.partner_sku using errcode = found; end if; \
      return new; end $$; \
    create trigger ruled before update on stockrecord for each row execute function ruled()";

#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_a_trigger_refuses_under_a_code_of_its_own_is_told_from_what_is_wrong_with_the_whole() {
    let (shop, database) = Shop::ready().await;
    for sku in ["A", "C"] {
        shop.add(sku, 5, 0).await;
    }
    shop.run(RULES).await;
    shop.lead().await;
    let rule = async |code: &str| {
        shop.run(&format!("delete from rules; insert into rules values ('C', '{code}')")).await;
    };
    let write = async || database.write(&[target("A", 1), target("C", 1)], 10, 1).await;
    // Of its own, of nobody, of the data; and such as the server has for what is wrong with the whole.
    for code in ["P0001", "U0001", "XX001", "XX000", "22000", "54000", "42501", "0A000", "25006"] {
        rule(code).await;
        match write().await {
            Ok(Written::Refused { why }) => {
                assert!(why.contains("C is frozen") && why.contains(code), "{why}");
            }
            other => panic!("{code}: {other:?}"),
        }
    }
    // The connection, a rollback to be tried again, room, locks, an operator: whoever says so, it may pass.
    for code in ["08006", "40001", "40P01", "53100", "55P03", "57014"] {
        rule(code).await;
        let written = write().await;
        assert!(
            matches!(&written, Err(LegacyError::Broken(why)) if why.contains(code)),
            "{code}: {written:?}"
        );
    }
    assert_eq!(shop.number("select sum(num_in_stock)::bigint from stockrecord").await, 10);
    // A trigger that cannot even look is wrong for every row.
    shop.run("alter table rules rename to forgotten").await;
    let written = write().await;
    assert!(matches!(&written, Err(LegacyError::Refused(why)) if why.contains("42P01")), "{written:?}");
    // Such a code from the server itself is no row's.
    shop.run(
        "alter table forgotten rename to rules; delete from rules; \
              alter table stockrecord alter num_in_stock type text using num_in_stock::text",
    )
    .await;
    let written = write().await;
    assert!(matches!(&written, Err(LegacyError::Refused(_))), "{written:?}");
}

/// (It stopped the whole sync out, until somebody mended the rule.)
#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_a_trigger_refuses_under_a_code_of_its_own_is_set_aside_and_the_others_go_on() {
    let (shop, _consented) = Shop::ready().await;
    for sku in ["A", "B", "C"] {
        shop.add(sku, 5, 0).await;
    }
    let mut banyan = beside(&shop);
    banyan.goes(Phase::Mirror).await;
    banyan.goes(Phase::Lead).await;
    shop.run(RULES).await;
    shop.run("insert into rules values ('B', 'XX001'), ('C', '42501')").await;
    for sku in ["B", "C", "A"] {
        banyan.reserve(sku, 1).await.expect("Banyan decides");
    }
    shop.until_row("A", (5, 1)).await;
    banyan.until("both are set aside", |now| now.progress.aside == 2).await;
    let now = banyan.status().await.progress;
    assert_eq!((now.outward, now.trouble.outward), (true, None));
    assert!(now.aside_first.is_some_and(|first| first.contains("B is frozen (SQLSTATE XX001)")));
    shop.until_row("B", (5, 0)).await;
    // When the rule is gone and the item changes, it is written.
    shop.run("delete from rules").await;
    for sku in ["B", "C"] {
        banyan.reserve(sku, 1).await.expect("Banyan decides");
        shop.until_row(sku, (5, 2)).await;
    }
    let now = banyan.status().await.progress;
    assert_eq!((now.outward, now.trouble.outward), (true, None), "it was never in trouble");
    banyan.stop().await;
}
