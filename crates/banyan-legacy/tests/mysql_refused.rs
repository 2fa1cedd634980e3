//! Rules of the old shop on a real MariaDB that refuse a row under states and numbers of their own, and what is wrong with the whole.

mod maria;

use banyan_legacy::{LegacyError, OldDatabase, TargetRow, Written};
use banyan_testkit::MariaDbOptions;
use maria::Shop;

fn target(sku: &str, in_stock: i64) -> TargetRow {
    TargetRow { table: 0, sku: sku.into(), location: "main".into(), in_stock, allocated: 0 }
}

/// (Under a number of its own it stopped the whole sync out, and so did what passes by itself.)
// A session in which something went wrong is closed by another thread: with its transaction, it would keep the trigger locked.
#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_a_trigger_refuses_under_a_state_of_its_own_is_told_from_what_is_wrong_with_the_whole() {
    let shop = Shop::open(&MariaDbOptions::default()).await;
    shop.sql("insert into stock (sku, num_in_stock) values ('A', 5), ('C', 5)");
    shop.sql("update banyan_sync set phase = 'lead', epoch = 3, seq = 10, move = 3");
    let rule = |signal: &str| {
        shop.sql(&format!(
            "delimiter //\ncreate or replace trigger frozen before update on stock for each row begin \
             if new.sku = 'C' then {signal}; end if; end//\ndelimiter ;\n"
        ))
    };
    let signal = |state: &str, more: &str| {
        rule(&format!("signal sqlstate '{state}' set message_text = 'C is frozen'{more}"));
    };
    let write = async || shop.database.write(&[target("A", 1), target("C", 1)], 11, 3).await;
    let row = [
        ("45000", ""),
        ("45000", ", mysql_errno = 5001"),
        ("99001", ""),
        ("XX001", ", mysql_errno = 31000"),
        ("HY000", ", mysql_errno = 31000"),
        ("HY000", ""),
        ("42000", ""),
    ];
    for (state, more) in row {
        signal(state, more);
        match write().await {
            Ok(Written::Refused { why }) => assert!(why.contains("C is frozen"), "{why}"),
            other => panic!("{state}{more}: {other:?}"),
        }
    }
    // The connection, a rollback to be tried again, room, a lock: whoever says so, it may pass.
    for (state, more) in [("08S01", ""), ("40001", ""), ("53000", ""), ("45000", ", mysql_errno = 1205")] {
        signal(state, more);
        let written = write().await;
        assert!(matches!(&written, Err(LegacyError::Broken(_))), "{state}{more}: {written:?}");
    }
    // What is wrong for every row: a trigger that cannot even look, a right that is missing.
    rule("delete from forgotten");
    let written = write().await;
    assert!(matches!(&written, Err(LegacyError::Refused(why)) if why.contains("forgotten")), "{written:?}");
    signal("42000", ", mysql_errno = 1142");
    assert!(matches!(write().await, Err(LegacyError::Refused(_))));
    assert_eq!(shop.sql("select group_concat(distinct num_in_stock), seq from stock, banyan_sync"), "5\t10");
    shop.sql("drop trigger frozen");
    assert_eq!(
        write().await,
        Ok(Written::Done { absent: vec![] }),
        "a session is as good as any other after that"
    );
}
