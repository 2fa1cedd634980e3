//! The old shop in memory keeps its word as a real database does.

use banyan_domain::legacy::Phase;
use banyan_legacy::{
    Book, Change, ChangeStream, Hold, Item, LegacyError, OldDatabase, PageKey, SourceId, TargetRow,
    Transaction, Written,
};
use banyan_legacy_testkit::conformance::digests_are_of_the_rows;
use banyan_legacy_testkit::{Break, OldShop, PLACE, Question};
use std::time::Duration;

async fn next(stream: &mut Box<dyn ChangeStream>) -> Item {
    stream.next().await.expect("an item")
}

async fn transaction(stream: &mut Box<dyn ChangeStream>) -> Transaction {
    match next(stream).await {
        Item::Transaction(transaction) => transaction,
        other => panic!("not a transaction: {other:?}"),
    }
}

/// Reads a copy: where it is, and how many rows it has.
async fn copy(stream: &mut Box<dyn ChangeStream>) -> (SourceId, u64, usize) {
    let Item::SnapshotBegin { source, position, .. } = next(stream).await else { panic!("no copy") };
    let mut count = 0;
    loop {
        match next(stream).await {
            Item::Rows(rows) => count += rows.len(),
            Item::Outbox(_) => {}
            Item::SnapshotEnd => return (source, position, count),
            other => panic!("within a copy: {other:?}"),
        }
    }
}

#[tokio::test]
async fn a_digest_is_that_of_the_rows_as_they_are_read() {
    let shop = OldShop::with((1..=502).map(|n| (format!("S-{n:03}"), n, n % 7)));
    digests_are_of_the_rows(&shop.wire(), 502, PageKey(vec!["S-444".into()])).await;
}

#[tokio::test]
async fn a_stream_goes_on_where_it_was_acknowledged_and_no_further() {
    let shop = OldShop::with([("A", 5, 0), ("B", 3, 0)]);
    let wire = shop.wire();
    shop.puts([("A", 4, 0)]);
    let mut stream = wire.stream(None).await.expect("a stream");
    let (source, position, rows) = copy(&mut stream).await;
    assert_eq!(rows, 2);
    shop.puts([("A", 3, 0), ("C", 1, 0)]);
    shop.tells("ship", "{}");
    let first = transaction(&mut stream).await;
    assert!(
        matches!(&first.changes[..], [Change::Update { before: Some(_), .. }, Change::Insert(_)]),
        "{first:?}"
    );
    let second = transaction(&mut stream).await;
    assert!(second.position > first.position && first.position > position);
    assert_eq!(second.outbox, shop.tables().outbox);

    // Nothing of it was acknowledged, whatever the reader has got to.
    let mut again = wire.stream(Some((source.clone(), second.position))).await.expect("the same");
    assert_eq!(transaction(&mut again).await, first);
    again.acknowledge(first.position);
    let mut again = wire.stream(Some((source.clone(), second.position))).await.expect("the same");
    assert_eq!(transaction(&mut again).await, second);
    // And a mark of its own is come to.
    let mark = wire.position().await.expect("a place");
    assert_eq!(next(&mut again).await, Item::Idle { position: mark });

    // Another copy is another stream.
    let (other, ..) = copy(&mut wire.stream(None).await.expect("a stream")).await;
    assert_ne!(other, source);
    let unknown = wire.stream(Some((source, second.position))).await.err();
    assert!(matches!(unknown, Some(LegacyError::SourceUnknown(_))), "{unknown:?}");
    assert!(matches!(again.next().await, Err(LegacyError::Broken(_))), "the one before has ended");
}

#[tokio::test]
async fn who_has_lost_the_lead_or_is_behind_writes_nothing() {
    let shop = OldShop::with([("A", 5, 0)]);
    let wire = shop.wire();
    wire.create().await.expect("made");
    let row = |sku: &str| TargetRow {
        table: 0,
        sku: sku.into(),
        location: PLACE.into(),
        in_stock: 1,
        allocated: 1,
    };
    let rows = [row("A"), row("gone")];
    let fenced = Written::Fenced { book: Some(shop.book()) };
    assert_eq!(wire.write(&rows, 7, 0).await, Ok(fenced), "the old shop leads");
    shop.says(Phase::Lead, 1);
    let mut stream = wire.stream(None).await.expect("a stream");
    copy(&mut stream).await;
    assert_eq!(wire.write(&rows, 7, 1).await, Ok(Written::Done { absent: vec![1] }));
    let ours = transaction(&mut stream).await;
    assert_eq!((ours.ours, ours.echoes, ours.changes), (Some((7, 1)), Some(1), vec![]));
    for (seq, epoch) in [(6, 1), (8, 0)] {
        let fenced = Written::Fenced { book: Some(shop.book()) };
        assert_eq!(wire.write(&[], seq, epoch).await, Ok(fenced), "event {seq}, epoch {epoch}");
    }
    shop.refuses(|row| (row.allocated > 0).then_some("never"));
    assert_eq!(wire.write(&rows, 8, 1).await, Ok(Written::Refused { why: "never".into() }));
    assert_eq!((shop.row("A"), shop.book().seq), (Some((1, 1)), 7));
}

#[tokio::test]
async fn a_question_breaks_off_before_or_after_it_takes_effect() {
    for (how, made) in [(Break::Before, false), (Break::After, true)] {
        let shop = OldShop::with([("A", 5, 0)]);
        let wire = shop.wire();
        wire.breaks_off(2, how);
        let theirs = shop.clone();
        wire.before(Question::Create, move || async move { theirs.puts([("A", 9, 0)]) });
        assert_eq!(wire.book().await, Ok(None));
        assert!(matches!(wire.create().await, Err(LegacyError::Broken(_))));
        assert_eq!(shop.row("A"), Some((9, 0)), "somebody stepped in");
        let legacy = Book { phase: Phase::Legacy, epoch: 0, seq: 0, move_no: 0 };
        assert_eq!(wire.book().await, Ok(made.then_some(legacy)), "{how:?}");
        assert_eq!(wire.questions(), 3);
    }
}

#[tokio::test]
async fn another_server_knows_nothing_of_the_stream_of_the_one_before_which_lives_on_until_it_is_gone() {
    let shop = OldShop::with([("A", 5, 0)]);
    let wire = shop.wire();
    shop.tells_when_nudged();
    let mut stream = wire.stream(None).await.expect("a stream");
    let (source, position, _) = copy(&mut stream).await;
    shop.goes_on_at("other", 50);
    let Ok(Hold::Held(door)) = wire.hold(Duration::ZERO).await else { panic!("nothing is in flight") };
    assert_eq!((door.system(), door.position()), (Some("other"), 50));
    assert_eq!(wire.nudge().await, Ok(true));
    assert_eq!(next(&mut stream).await, Item::Idle { position }, "it lives");
    shop.puts([("A", 4, 0)]);
    assert_eq!(wire.nudge().await, Ok(true));
    assert_eq!(next(&mut stream).await, Item::Idle { position }, "and hears of nothing");
    stream.acknowledge(position);
    assert_eq!(shop.acknowledged(), 0, "that was another server's");
    let unknown = wire.stream(Some((source.clone(), position))).await.err();
    assert!(matches!(unknown, Some(LegacyError::SourceUnknown(_))), "{unknown:?}");
    shop.loses_server_before();
    assert!(matches!(stream.next().await, Err(LegacyError::Broken(_))));
    let (other, position, _) = copy(&mut wire.stream(None).await.expect("a stream")).await;
    assert!(other.system != source.system && position < 100, "{other:?} at {position}");
}

#[tokio::test]
async fn what_is_kept_back_comes_once_it_is_let_go() {
    let shop = OldShop::with([("A", 5, 0)]);
    let wire = shop.wire();
    shop.keeps_copies_open(true);
    let mut stream = wire.stream(None).await.expect("a stream");
    for _ in ["where it begins", "rows"] {
        next(&mut stream).await;
    }
    let silent = tokio::time::timeout(Duration::ZERO, stream.next()).await;
    assert!(silent.is_err(), "{silent:?}");
    shop.keeps_copies_open(false);
    assert_eq!(next(&mut stream).await, Item::SnapshotEnd);
    shop.keeps_lock(true);
    assert!(matches!(wire.hold(Duration::ZERO).await, Ok(Hold::LockBusy)));
    shop.keeps_lock(false);
    assert!(matches!(wire.hold(Duration::ZERO).await, Ok(Hold::Held(_))));
}

#[tokio::test]
async fn rows_that_go_or_change_their_name_are_told_as_such() {
    let shop = OldShop::with([("A", 5, 1), ("B", 3, 0)]);
    let wire = shop.wire();
    let mut stream = wire.stream(None).await.expect("a stream");
    copy(&mut stream).await;
    shop.renames("A", "C");
    shop.removes("B");
    shop.removes_all();
    let told =
        [transaction(&mut stream).await, transaction(&mut stream).await, transaction(&mut stream).await];
    let [renamed, removed, emptied] = told.map(|transaction| transaction.changes);
    let [Change::Update { before: Some(before), after }] = &renamed[..] else { panic!("{renamed:?}") };
    assert_eq!((before.sku.as_str(), after.sku.as_str(), after.in_stock), ("A", "C", Some(5)));
    assert!(matches!(&removed[..], [Change::Delete(row)] if row.sku == "B"), "{removed:?}");
    assert_eq!(emptied, [Change::Truncate { table: 0 }]);
    assert!(shop.rows().is_empty());
}

#[tokio::test]
async fn steps_are_taken_one_for_each_question_before_and_after_it_takes_effect() {
    let shop = OldShop::with([("A", 5, 0)]);
    let wire = shop.wire();
    let puts = |in_stock: i64| {
        let shop = shop.clone();
        move || async move { shop.puts([("A", in_stock, 0)]) }
    };
    wire.before(Question::Read, puts(1));
    wire.before(Question::Read, puts(2));
    wire.after(Question::Read, puts(3));
    let read = async || wire.read_page(0, None, 9).await.expect("rows").rows[0].in_stock;
    assert_eq!(read().await, Some(1));
    assert_eq!(shop.row("A"), Some((3, 0)), "after the first");
    assert_eq!(read().await, Some(2));
    assert_eq!(shop.row("A"), Some((2, 0)), "and after none but that");
}
