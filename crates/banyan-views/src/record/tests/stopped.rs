//! Stopped at any step, the checkpoint and the rows agree, and the same blocks again complete them.

use super::shop::{self, Op, Shop};
use crate::record::RECORD_FILE;
use crate::record::file::beside;
use crate::{Cure, View};
use banyan_log::Seq;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

/// Issues, holds, uses, expiries and an allow-list, over some blocks.
fn busy_shop() -> Shop {
    let mut ops: Vec<Op> = vec![Op::Allow(0, 9), Op::NextBlock];
    for i in 0..40 {
        ops.extend([Op::Issue(i as usize % 3, i / 2), Op::Hold(i as usize, 1, 900)]);
        match i % 5 {
            0 => ops.push(Op::Redeem(i as usize / 2, 1)),
            1 => ops.push(Op::Revoke(i as usize / 3)),
            2 => ops.push(Op::Pass(40_000)),
            _ => ops.push(Op::NextBlock),
        }
    }
    Shop::play(&ops)
}

#[test]
fn a_transaction_stopped_anywhere_leaves_no_trace() {
    let shop = busy_shop();
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join(RECORD_FILE);
    let (before, rest) = shop.blocks.split_at(shop.blocks.len() / 2);
    shop::fill(&mut shop::open(folder.path()), before, 2);
    let whole = shop::dump(&path);
    let mut stops = 0;
    loop {
        let mut view = shop::open(folder.path());
        // Stops the transaction after so many times 40 of SQLite's own instructions.
        let left = Arc::new(AtomicU32::new(stops));
        let stop = move || {
            left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_err()
        };
        view.db.as_mut().expect("open").progress_handler(40, Some(stop)).expect("the handler is set");
        match view.apply(&shop::batch(rest)) {
            Ok(applied) => {
                assert_eq!(applied.checkpoint, Seq(shop.state.seq()));
                break;
            }
            Err(error) => assert_eq!(error.cure, Cure::Retry, "{error}"),
        }
        drop(view);
        assert_eq!(shop::dump(&path), whole, "after stop {stops}");
        stops += 1;
    }
    assert!(stops > 20, "the transaction was stopped {stops} times only");
    let other = tempfile::tempdir().expect("a temporary folder");
    shop::fill(&mut shop::open(other.path()), &shop.blocks, 1);
    assert_eq!(shop::dump(&path), shop::dump(&other.path().join(RECORD_FILE)));
}

#[test]
fn a_view_goes_on_after_a_stopped_transaction_without_being_opened_again() {
    let shop = busy_shop();
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut view = shop::open(folder.path());
    for blocks in shop.blocks.chunks(3) {
        let calls = AtomicU32::new(0);
        let stop = move || calls.fetch_add(1, Ordering::SeqCst) == 3;
        view.db.as_mut().expect("open").progress_handler(60, Some(stop)).expect("the handler is set");
        while let Err(error) = view.apply(&shop::batch(blocks)) {
            assert_eq!(error.cure, Cure::Retry, "{error}");
        }
    }
    view.db
        .as_mut()
        .expect("open")
        .progress_handler(0, None::<fn() -> bool>)
        .expect("the handler is removed");
    assert_eq!((view.checkpoint(), view.parked()), (Seq(shop.state.seq()), 0));
    let page = view.reader().member_coupons(&shop::member(3), None, 100).expect("readable");
    let expected = shop.issued.iter().filter(|issued| issued.1 == shop::member(3)).count();
    assert_eq!(page.coupons.len(), expected);
}

#[test]
fn a_write_ahead_log_cut_anywhere_holds_whole_transactions() {
    let shop = busy_shop();
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join(RECORD_FILE);
    let mut view = shop::open(folder.path());
    let mut dumps = BTreeMap::from([(view.checkpoint(), shop::dump(&path))]);
    for block in &shop.blocks {
        view.apply(&shop::batch(std::slice::from_ref(block))).expect("applies");
        dumps.insert(view.checkpoint(), shop::dump(&path));
    }
    // As the disk may be after a loss of power: the file, and some of the write-ahead log.
    let (main, wal) =
        (std::fs::read(&path).expect("read"), std::fs::read(beside(&path, "-wal")).expect("read"));
    let mut seen = std::collections::BTreeSet::new();
    for cut in (0..=wal.len()).step_by(wal.len() / 60) {
        let crashed = tempfile::tempdir().expect("a temporary folder");
        let copy = crashed.path().join(RECORD_FILE);
        std::fs::write(&copy, &main).expect("write");
        std::fs::write(beside(&copy, "-wal"), &wal[..cut]).expect("write");
        let mut view = shop::open(crashed.path());
        assert_eq!(Some(&shop::dump(&copy)), dumps.get(&view.checkpoint()), "cut at {cut}");
        seen.insert(view.checkpoint());
        shop::fill(&mut view, &shop.blocks, 4);
        assert_eq!(shop::dump(&copy), dumps[&Seq(shop.state.seq())], "completed after a cut at {cut}");
    }
    assert!(seen.len() > 10, "cuts were seen at {seen:?} only");
}

#[test]
fn blocks_applied_again_change_nothing() {
    let shop = busy_shop();
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join(RECORD_FILE);
    let mut view = shop::open(folder.path());
    shop::fill(&mut view, &shop.blocks, 5);
    let once = shop::dump(&path);
    for at_once in [1, 7] {
        shop::fill(&mut view, &shop.blocks, at_once);
        assert_eq!(shop::dump(&path), once);
    }
    let applied = view.apply(&shop::batch(&shop.blocks[1..])).expect("applies");
    assert_eq!((applied.events, applied.checkpoint), (0, Seq(shop.state.seq())));
}
