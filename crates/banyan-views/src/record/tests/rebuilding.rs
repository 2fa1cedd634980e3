//! A store built anew says the same as one that grew, and takes its place in one step.

use super::shop::{self, Op, Shop};
use crate::record::file::{self, beside};
use crate::record::{RECORD_FILE, RecordLock, RecordOptions, rebuild};
use crate::{Cure, View};
use banyan_domain::StoreSecret;
use banyan_log::{Block, LogError, LogReader, Seq};
use std::path::Path;

/// Blocks from memory, and then the end, or a failure.
struct Blocks<'a>(std::slice::Iter<'a, Block>, bool);

impl LogReader for Blocks<'_> {
    fn next(&mut self, into: &mut Block) -> Result<bool, LogError> {
        match self.0.next() {
            Some(block) => {
                into.clone_from(block);
                Ok(true)
            }
            None if self.1 => Err(LogError::Sealed),
            None => Ok(false),
        }
    }
}

fn shop() -> Shop {
    let mut ops = vec![Op::Allow(0, 9)];
    for i in 0..120_usize {
        ops.extend([Op::Issue(i % 3, i as u32), Op::Hold(i, 1, 800), Op::Redeem(i / 2, 2), Op::Pass(100)]);
    }
    Shop::play(&ops)
}

fn options() -> RecordOptions {
    RecordOptions { keys: Some(StoreSecret::new(shop::SECRET).keys()) }
}

fn files(folder: &Path) -> Vec<String> {
    let mut names = all_files(folder);
    names.retain(|name| !name.ends_with(".lock") && !name.ends_with("-wal") && !name.ends_with("-shm"));
    names
}

pub(super) fn all_files(folder: &Path) -> Vec<String> {
    let names = std::fs::read_dir(folder).expect("lists").map(|entry| entry.expect("lists").file_name());
    let mut names: Vec<String> = names.map(|name| name.to_string_lossy().into_owned()).collect();
    names.sort_unstable();
    names
}

#[test]
fn a_rebuilt_store_says_the_same() {
    let shop = shop();
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join(RECORD_FILE);
    let mut view = shop::open(folder.path());
    shop::fill(&mut view, &shop.blocks, 3);
    let grown = shop::dump(&path);
    // The old one lies, and an earlier rebuild was interrupted: neither shows in the new one.
    view.db().expect("open").execute_batch("DELETE FROM coupon WHERE id % 2 = 0").expect("deletes");
    drop(view);
    std::fs::write(beside(&path, ".new"), b"half a rebuild").expect("write");
    let mut heard = Seq::ZERO;
    let mut log = Blocks(shop.blocks.iter(), false);
    // The keys come from the log's first event.
    let report = rebuild(&mut log, folder.path(), &RecordOptions::default(), &mut |seq| heard = seq)
        .expect("rebuilds");
    assert_eq!((report.checkpoint, heard), (Seq(shop.state.seq()), Seq(shop.state.seq())));
    assert_eq!(report.coupons, shop.issued.len() as u64);
    assert_eq!(shop::dump(&path), grown);
    assert_eq!(files(folder.path()), [RECORD_FILE]);
    let view = shop::open(folder.path());
    assert_eq!(view.checkpoint(), Seq(shop.state.seq()));
    let page = view.reader().member_coupons(&shop::member(5), None, 9).expect("readable");
    assert_eq!(page.coupons.len(), shop.issued.iter().filter(|issued| issued.1 == shop::member(5)).count());
}

#[test]
fn a_damaged_store_is_replaced() {
    let shop = shop();
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join(RECORD_FILE);
    std::fs::write(&path, vec![0x5a; 9_000]).expect("write");
    std::fs::write(beside(&path, "-wal"), vec![0x5a; 9_000]).expect("write");
    let mut log = Blocks(shop.blocks.iter(), false);
    rebuild(&mut log, folder.path(), &options(), &mut |_| ()).expect("rebuilds");
    assert_eq!(shop::open(folder.path()).checkpoint(), Seq(shop.state.seq()));
}

#[test]
fn a_rebuild_that_fails_leaves_the_old_store() {
    let shop = shop();
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join(RECORD_FILE);
    let mut view = shop::open(folder.path());
    shop::fill(&mut view, &shop.blocks, 3);
    let grown = shop::dump(&path);
    let mut log = Blocks(shop.blocks.iter(), false);
    let error = rebuild(&mut log, folder.path(), &options(), &mut |_| ()).expect_err("the view is open");
    assert!(error.cure == Cure::Operator && error.to_string().contains("stop the server"), "{error}");
    drop(view);
    let mut log = Blocks(shop.blocks.iter(), true);
    rebuild(&mut log, folder.path(), &options(), &mut |_| ()).expect_err("the log cannot be read to its end");
    assert_eq!(shop::dump(&path), grown);
    assert_eq!(shop::open(folder.path()).checkpoint(), Seq(shop.state.seq()));
}

#[test]
fn a_crash_between_the_steps_of_the_swap_leaves_a_whole_store() {
    let shop = shop();
    let built = |blocks: &[Block]| {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let mut view = shop::open(folder.path());
        shop::fill(&mut view, blocks, 3);
        view.close_whole().expect("closes");
        folder
    };
    let (old, new) = (built(&shop.blocks[..9]), built(&shop.blocks));
    // After the old file got its second name; after its side files were removed: the old store, once more.
    let path = old.path().join(RECORD_FILE);
    let crash = || {
        std::fs::hard_link(&path, beside(&path, ".old")).expect("links");
        std::fs::copy(new.path().join(RECORD_FILE), beside(&path, ".new")).expect("copies");
        std::fs::write(beside(&path, ".new-wal"), b"").expect("writes");
        // As early builds left it.
        std::fs::write(beside(&path, ".new.lock"), b"").expect("writes");
    };
    crash();
    assert_eq!(shop::open(old.path()).checkpoint(), shop.blocks[8].head());
    assert_eq!(all_files(old.path()), [RECORD_FILE, "record.sqlite.lock"], "what was left is gone");
    // And the next swap goes through all the same.
    crash();
    file::swap(&beside(&path, ".new"), &path).expect("swaps");
    assert_eq!(files(old.path()), [RECORD_FILE, "record.sqlite.old"]);
    assert_eq!(shop::open(old.path()).checkpoint(), Seq(shop.state.seq()));
    assert_eq!(all_files(old.path()), [RECORD_FILE, "record.sqlite.lock"]);
}

#[test]
fn a_rebuild_leaves_no_lock_of_the_new_store_behind() {
    let shop = shop();
    let folder = tempfile::tempdir().expect("a temporary folder");
    let lock = RecordLock::take(folder.path()).expect("lockable").expect("nobody else has it");
    assert!(RecordLock::take(folder.path()).expect("lockable").is_none(), "one at a time");
    let mut log = Blocks(shop.blocks.iter(), false);
    lock.rebuild(&mut log, &options(), &mut |_| ()).expect("rebuilds");
    let left = all_files(folder.path());
    assert!(left.iter().all(|name| !name.contains(".new") && !name.contains(".old")), "{left:?}");
    drop(lock);
    assert_eq!(shop::open(folder.path()).checkpoint(), Seq(shop.state.seq()));
}
