//! The old shop in memory keeps its word as a real database does.

use banyan_domain::legacy::Phase;
use banyan_legacy::{
    Book, Change, ChangeStream, Item, LegacyError, OldDatabase, PageKey, SourceId, TargetRow, Transaction,
    Written,
};
use banyan_legacy_testkit::conformance::digests_are_of_the_rows;
use banyan_legacy_testkit::{Break, OldShop, PLACE, Question};

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
