//! Rules of the old shop that refuse a row under codes of their own, and what is wrong with the whole under the same codes.

use crate::shop::{PATIENCE, Shop, mapping};
use banyan_domain::legacy::{Capability, Command, MirrorRow, Phase, SourceBatch, SourceId};
use banyan_domain::stock::{self, Line, Lines};
use banyan_domain::{Actor, LocationId, Millis, Reason, SkuId};
use banyan_engine::{CoreOptions, DirectReplies, Shard, ShardOptions, start, wall_clock};
use banyan_legacy::{Desk, LegacyError, OldDatabase, Progress, TargetRow, Written, parts};
use banyan_log::{DiskLog, DiskOptions, MemoryStorage};
use std::sync::Arc;
use tokio::sync::watch;

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
    let (shop, database) = Shop::ready().await;
    for sku in ["A", "B", "C"] {
        shop.add(sku, 5, 0).await;
    }
    shop.lead().await;
    shop.run(RULES).await;
    shop.run("insert into rules values ('B', 'XX001'), ('C', '42501')").await;
    let desk = leading(&["A", "B", "C"]).await;
    let (database, progress): (Arc<dyn OldDatabase>, _) = (Arc::new(database), Arc::new(Progress::default()));
    let (_stop, stopping) = watch::channel(false);
    let sync = tokio::spawn((parts(&desk, &database, &mapping(""), &progress).outward)(stopping));
    let sell = async |sku: &str| {
        let line = Line { sku: SkuId::new(sku).expect("a SKU"), location: None, quantity: 1 };
        let lines = Lines::new(vec![line]).expect("lines");
        let hold_for = Millis::new(3_600_000);
        let reserve = stock::Command::Reserve { lines, member: None, order: None, hold_for };
        desk.ask(reserve).await.expect("Banyan decides");
    };
    for sku in ["B", "C", "A"] {
        sell(sku).await;
    }
    let until_allocated = async |sku: &str, wanted: i64| {
        let sql = "select coalesce(num_allocated, 0)::bigint from stockrecord where partner_sku = ";
        let end = tokio::time::Instant::now() + PATIENCE;
        while shop.number(&format!("{sql}'{sku}'")).await != wanted {
            assert!(tokio::time::Instant::now() < end, "waited in vain for {sku}: {:?}", progress.view());
        }
    };
    until_allocated("A", 1).await;
    let end = tokio::time::Instant::now() + PATIENCE;
    while progress.view().aside != 2 {
        assert!(tokio::time::Instant::now() < end, "not set aside: {:?}", progress.view());
        tokio::task::yield_now().await;
    }
    let view = progress.view();
    assert_eq!((view.outward, view.trouble.outward), (true, None));
    assert!(view.aside_first.is_some_and(|first| first.contains("B is frozen (SQLSTATE XX001)")));
    until_allocated("B", 0).await;
    // When the rule is gone and the item changes, it is written.
    shop.run("delete from rules").await;
    for sku in ["B", "C"] {
        sell(sku).await;
        until_allocated(sku, 2).await;
    }
    assert!(!sync.is_finished());
}

/// Banyan in phase `lead`, with five of each.
async fn leading(skus: &[&str]) -> Desk {
    let disk = DiskOptions { segment_bytes: 8 << 20, block_bytes_max: 2 << 20, ..DiskOptions::default() };
    let log = DiskLog::open(Arc::new(MemoryStorage::new()), disk).expect("a log");
    let started = start(Box::new(log), None, CoreOptions::default(), None, wall_clock(), &mut |_, _| {});
    let shard = Shard::spawn(started.expect("it starts"), Box::new(DirectReplies), ShardOptions::default());
    let desk = Desk::new(shard.expect("threads start"));
    let ask = async |command: Command| drop(desk.ask(command).await.expect("done"));
    let (capability, source) = (Capability::Stock, SourceId { system: "s".into(), stream: "banyan".into() });
    let begin = async |to: Phase| {
        let (by, reason) = (Actor::new("op").expect("a name"), Reason::new("a test").expect("a reason"));
        ask(Command::BeginMove { capability, from: None, to, by, reason, without: vec![] }).await;
    };
    let apply = async |position: u64, rows: Vec<MirrorRow>, switched: Option<(u64, Phase)>| {
        let (source, outbox) = (source.clone(), vec![]);
        let batch = SourceBatch { capability, source, position, part: 1, rows, outbox, switched };
        ask(Command::ApplySource(Box::new(batch))).await;
    };
    begin(Phase::Mirror).await;
    ask(Command::SetSource { capability, source: source.clone(), position: 10 }).await;
    let row = |sku: &&str| MirrorRow {
        sku: SkuId::new(*sku).expect("a SKU"),
        location: LocationId::new("1").expect("a place"),
        in_stock: 5,
        allocated: 0,
    };
    apply(10, skus.iter().map(row).collect(), None).await;
    ask(Command::EndCopy { capability }).await;
    ask(Command::FinishMove { capability, number: 1 }).await;
    begin(Phase::Lead).await;
    apply(20, vec![], Some((2, Phase::Lead))).await;
    desk
}
