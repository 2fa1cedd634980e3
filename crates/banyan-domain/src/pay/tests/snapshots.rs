//! Damaged snapshots: refused, or a state that is whole, and never a panic.

use super::super::Ledger;
use super::script::check;
use super::{Book, KEY, snapshot};
use crate::SnapshotError;
use proptest::prelude::*;

fn book() -> Book {
    check(
        "open shop PTS free                        | new account 1
         post shop m?PTS/debits<=credits 100 refundable | new t-1
         hold m shop 10 60s                        | new t-2 until 60000 ms
         capture t-2 4                             | new t-3
         refund t-1 50                             | new t-4",
    )
}

fn read(mut bytes: &[u8]) -> Result<Ledger, SnapshotError> {
    Ledger::read_snapshot(&mut bytes, KEY)
}

#[test]
fn every_cut_is_refused() {
    let bytes = snapshot(&book().ledger);
    assert!(read(&bytes).is_ok());
    for cut in 0..bytes.len() {
        assert!(matches!(read(&bytes[..cut]), Err(SnapshotError::Malformed(_))), "cut after {cut} bytes");
    }
}

#[test]
fn another_version_and_wild_counts_are_refused() {
    let bytes = snapshot(&book().ledger);
    let with = |word: usize, value: u64| {
        let mut bytes = bytes.clone();
        bytes[word * 8..word * 8 + 8].copy_from_slice(&value.to_le_bytes());
        read(&bytes).expect_err("it must be refused")
    };
    assert_eq!(with(0, 2), SnapshotError::Version(2));
    assert_eq!(with(1, 0), SnapshotError::Malformed("the next transfer"));
    assert_eq!(with(1, u64::MAX), SnapshotError::Malformed("the next transfer"));
    // Fewer transfers than the rows name.
    assert_eq!(with(1, 3), SnapshotError::Malformed("the ledger breaks an invariant"));
    for count in 2..5 {
        assert!(matches!(with(count, u64::MAX), SnapshotError::Malformed(_)));
    }
}

#[test]
fn a_broken_balance_is_refused() {
    let bytes = snapshot(&book().ledger);
    // The first account: five words, the length of its id, its id, and the posted debits.
    let at = 5 * 8 + 1 + "shop".len();
    assert_eq!(bytes[at], 100);
    let mut broken = bytes.clone();
    broken[at] = 101;
    let why = SnapshotError::Malformed("the ledger breaks an invariant");
    assert_eq!(read(&broken).expect_err("the books are not balanced"), why);
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(4_000) })]

    #[test]
    fn changed_bytes_never_stop_the_process(changes in proptest::collection::vec((any::<u16>(), any::<u8>()), 1..4)) {
        let mut bytes = snapshot(&book().ledger);
        for (at, byte) in changes {
            let at = usize::from(at) % bytes.len();
            bytes[at] = byte;
        }
        let mut rest = &bytes[..];
        if let Ok(ledger) = Ledger::read_snapshot(&mut rest, KEY) {
            prop_assert_eq!(ledger.check_invariants(), Ok(()));
            // A smaller count leaves rows unread, for the reader of the next section to refuse.
            prop_assert!([&snapshot(&ledger), rest].concat() == bytes);
        }
    }
}
