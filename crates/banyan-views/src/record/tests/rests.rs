//! A transaction that gives way.

use super::shop::{self, Op, Shop};
use crate::View;
use crate::record::RECORD_FILE;

#[test]
fn a_batch_that_gives_way_rests_and_one_with_more_behind_it_does_not() {
    let ops: Vec<Op> =
        (0..400_u32).flat_map(|i| [Op::Issue(i as usize % 3, i / 3), Op::Hold(i as usize, 1, 900)]).collect();
    let shop = Shop::play(&ops);
    let applied = |gives_way: bool| {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let mut view = shop::open(folder.path());
        let mut batch = shop::batch(&shop.blocks);
        batch.give_way(gives_way);
        view.apply(&batch).expect("it is applied");
        (view.rests.count(), shop::dump(&folder.path().join(RECORD_FILE)))
    };
    let ((rests, gently), (none, at_once)) = (applied(true), applied(false));
    assert!(rests > 0, "it did not rest");
    assert_eq!(none, 0, "it rested");
    assert_eq!(gently, at_once);
}
