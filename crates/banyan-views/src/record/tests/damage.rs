//! Files that are not what they should be are refused with advice; readers cannot write.

use super::shop::{self, Shop};
use crate::record::file;
use crate::record::{RECORD_FILE, RecordOptions, RecordView};
use crate::{Cure, View};
use banyan_domain::StoreSecret;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

fn refusal(folder: &Path, secret: Option<[u8; 32]>) -> (Cure, String) {
    let keys = secret.map(|secret| StoreSecret::new(secret).keys());
    match RecordView::open(folder, &RecordOptions { keys }) {
        Ok(_) => panic!("the file was accepted"),
        Err(error) => (error.cure, error.to_string()),
    }
}

#[test]
fn files_that_are_no_record_store_ask_for_a_rebuild() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join(RECORD_FILE);
    std::fs::write(&path, vec![0x5a; 20_000]).expect("write");
    let (cure, text) = refusal(folder.path(), Some(shop::SECRET));
    assert!(cure == Cure::Rebuild && text.contains("banyan view rebuild record"), "{text}");

    std::fs::remove_file(&path).expect("remove");
    let other = rusqlite::Connection::open(&path).expect("opens");
    other.execute_batch("CREATE TABLE shopping (item TEXT)").expect("creates");
    drop(other);
    let (cure, text) = refusal(folder.path(), Some(shop::SECRET));
    assert!(cure == Cure::Rebuild && text.contains("not a record store"), "{text}");
}

#[test]
fn a_damaged_page_is_noticed_and_asks_for_a_rebuild() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join(RECORD_FILE);
    let mut shop = Shop::new();
    (0..500).for_each(|m| shop.issue(2, m));
    shop.end_block();
    let mut view = shop::open(folder.path());
    shop::fill(&mut view, &shop.blocks, 9);
    view.close_whole().expect("closes");
    drop(view);
    let mut bytes = std::fs::read(&path).expect("read");
    let pages = bytes.len() / 4_096;
    (1..pages).for_each(|page| bytes[page * 4_096..page * 4_096 + 40].fill(0xee));
    std::fs::write(&path, bytes).expect("write");
    let (cure, text) = refusal(folder.path(), Some(shop::SECRET));
    assert!(cure == Cure::Rebuild && text.contains("banyan view rebuild record"), "{text}");
}

#[test]
fn files_of_another_store_or_version_or_process_are_refused() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut view = shop::open(folder.path());
    shop::fill(&mut view, &Shop::new().blocks, 9);
    let (cure, text) = refusal(folder.path(), Some(shop::SECRET));
    assert!(cure == Cure::Operator && text.contains("another process"), "{text}");
    drop(view);
    let (cure, text) = refusal(folder.path(), Some([1; 32]));
    assert!(cure == Cure::Rebuild && text.contains("another store"), "{text}");
    let (cure, text) = refusal(folder.path(), None);
    assert!(cure == Cure::Operator && text.contains("without the store's keys"), "{text}");
    let db = rusqlite::Connection::open(folder.path().join(RECORD_FILE)).expect("opens");
    db.pragma_update(None, "user_version", 99).expect("updates");
    drop(db);
    let (cure, text) = refusal(folder.path(), Some(shop::SECRET));
    assert!(cure == Cure::Rebuild && text.contains("version 99"), "{text}");
}

#[test]
fn a_log_of_another_store_is_not_mixed_in() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let keys = Some(StoreSecret::new([1; 32]).keys());
    let mut view = RecordView::open(folder.path(), &RecordOptions { keys }).expect("opens");
    let error = view.apply(&shop::batch(&Shop::new().blocks)).expect_err("another store's log");
    assert!(error.to_string().contains("another store"), "{error}");
}

#[test]
fn readers_cannot_write_and_others_cannot_read() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join(RECORD_FILE);
    let mut view = shop::open(folder.path());
    shop::fill(&mut view, &Shop::new().blocks, 9);
    let reader = file::open_reader(&path).expect("opens");
    for sql in [
        "DELETE FROM coupon",
        "UPDATE checkpoint SET seq = 0",
        "DROP TABLE hold",
        "PRAGMA journal_mode = OFF",
    ] {
        let _ = reader.execute_batch(sql);
    }
    let campaigns: i64 =
        reader.query_row("SELECT count(*) FROM campaigns", [], |row| row.get(0)).expect("reads");
    assert_eq!(campaigns, 3);
    assert!(reader.execute_batch("DELETE FROM campaign").is_err());
    let journal: String = reader.query_row("PRAGMA journal_mode", [], |row| row.get(0)).expect("reads");
    assert_eq!(journal, "wal");
    for entry in std::fs::read_dir(folder.path()).expect("lists") {
        let entry = entry.expect("lists");
        let mode = entry.metadata().expect("stat").permissions().mode() & 0o777;
        assert_eq!(mode, 0o600, "{}", entry.path().display());
    }
}

#[test]
fn the_views_are_for_people() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut shop = Shop::new();
    shop.op(&shop::Op::Allow(1, 2));
    shop.issue(0, 1);
    shop.op(&shop::Op::Hold(0, 4, 1_000));
    shop.op(&shop::Op::Pause(0, true));
    shop.end_block();
    let mut view = shop::open(folder.path());
    shop::fill(&mut view, &shop.blocks, 9);
    let db = file::open_reader(&folder.path().join(RECORD_FILE)).expect("opens");
    let text = |sql: &str| -> String { db.query_row(sql, [], |row| row.get(0)).expect("reads") };
    let line = "SELECT concat_ws(' ', coupon, member, state, issued_at, expires_at, order_id, held_until) FROM coupons";
    assert_eq!(
        text(line),
        "noon-1 m\"1\\ held 2027-01-15T08:00:00.000Z 2027-01-15T08:01:00.000Z order-4 2027-01-15T08:00:01.000Z"
    );
    assert_eq!(
        text("SELECT concat_ws(' ', id, state, \"left\") FROM campaigns WHERE no = 1"),
        "noon paused 59"
    );
    assert_eq!(
        text("SELECT group_concat(campaign || ':' || member) FROM allow_list_members"),
        "gold:m\"1\\,gold:m\"2\\"
    );
    let action =
        "SELECT concat_ws(' ', at, actor, action, campaign, reason) FROM operator_actions ORDER BY seq DESC";
    assert_eq!(text(action), "2027-01-15T08:00:00.000Z olga campaign-paused noon because");
    assert_eq!(view.parked(), 0);
}
