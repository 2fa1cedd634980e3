//! The stored bytes: what each event looks like for ever.

use super::super::{Event, Leg, OpenedAccount, Remembered, Rule};
use super::script::{account, currency};
use super::{by, reference};
use crate::golden::check;
use crate::{AccountNo, Timestamp, TransferNo};
use expect_test::expect;

fn transferred(leg: Leg) -> Event {
    let first = TransferNo::new(70_000);
    Event::Transferred { first, legs: vec![leg], reference: reference(), by: by(), opened: vec![] }
}

fn opened(no: u32, rule: Rule) -> OpenedAccount {
    OpenedAccount { no: AccountNo::new(no), id: account("points:m-1"), currency: currency("PTS"), rule }
}

const DEBIT: AccountNo = AccountNo::new(300);
const CREDIT: AccountNo = AccountNo::new(1);
const OTHER: TransferNo = TransferNo::new(17);

#[test]
fn transfers() {
    let (debit, credit, amount) = (DEBIT, CREDIT, 25_000);
    check(
        transferred(Leg::Posted { debit, credit, amount, refundable: true }),
        expect!["8200851a000111708182008419012c011961a8f5636f2d31636f707380"],
    );
    check(
        transferred(Leg::Posted { debit, credit, amount: i64::MAX, refundable: false }),
        expect!["8200851a000111708182008419012c011b7ffffffffffffffff4636f2d31636f707380"],
    );
    let until = Timestamp::from_millis(1_764_244_800_000);
    check(
        transferred(Leg::Held { debit, credit, amount, until }),
        expect!["8200851a000111708182018419012c011961a81b0000019ac52f4200636f2d31636f707380"],
    );
    check(
        transferred(Leg::Captured { pending: OTHER, debit, credit, amount, last: true }),
        expect!["8200851a00011170818202851119012c011961a8f5636f2d31636f707380"],
    );
    check(
        transferred(Leg::Captured { pending: OTHER, debit, credit, amount, last: false }),
        expect!["8200851a00011170818202851119012c011961a8f4636f2d31636f707380"],
    );
    check(
        transferred(Leg::Voided { pending: OTHER }),
        expect!["8200851a000111708182038111636f2d31636f707380"],
    );
    check(
        transferred(Leg::Refunded { of: OTHER, debit, credit, amount }),
        expect!["8200851a00011170818204841119012c011961a8636f2d31636f707380"],
    );
    check(
        transferred(Leg::Reversed { of: OTHER, debit, credit, amount }),
        expect!["8200851a00011170818205841119012c011961a8636f2d31636f707380"],
    );
}

#[test]
fn a_group_that_opens_accounts() {
    let leg = Leg::Posted { debit: DEBIT, credit: AccountNo::new(2), amount: 1, refundable: false };
    let event = Event::Transferred {
        first: TransferNo::new(1),
        legs: vec![leg, Leg::Voided { pending: OTHER }],
        reference: reference(),
        by: by(),
        opened: vec![opened(2, Rule::DebitsWithinCredits)],
    };
    check(
        event,
        expect!["820085018282008419012c0201f482038111636f2d31636f70738184026a706f696e74733a6d2d314350545301"],
    );
}

#[test]
fn accounts() {
    let event = |rule| Event::AccountOpened { account: opened(3, rule), by: by() };
    check(event(Rule::Free), expect!["82018284036a706f696e74733a6d2d314350545300636f7073"]);
    check(event(Rule::DebitsWithinCredits), expect!["82018284036a706f696e74733a6d2d314350545301636f7073"]);
    check(event(Rule::CreditsWithinDebits), expect!["82018284036a706f696e74733a6d2d314350545302636f7073"]);
}

#[test]
fn expiries() {
    check(Event::HoldExpired { pending: OTHER }, expect!["82028111"]);
}

#[test]
fn remembered_answers() {
    let at = Timestamp::from_millis(1_764_244_800_000);
    let transferred = |count, expires_at| Remembered::Transferred { first: OTHER, count, expires_at };
    check(Remembered::Account(DEBIT), expect!["82008119012c"]);
    check(transferred(1, Timestamp::default()), expect!["820183110100"]);
    check(transferred(64, at), expect!["8201831118401b0000019ac52f4200"]);
    check(Remembered::Expired(OTHER), expect!["82028111"]);
}

#[test]
fn remembered_words() {
    let at = Timestamp::from_millis(1_764_244_800_000);
    let words = [
        (Remembered::Account(AccountNo::new(u32::MAX)), [0, u64::from(u32::MAX), 0]),
        (Remembered::Transferred { first: OTHER, count: 64, expires_at: at }, [0x4001, 17, at.as_millis()]),
        (Remembered::Expired(OTHER), [2, 17, 0]),
    ];
    for (remembered, words) in words {
        assert_eq!(remembered.to_words(), words);
        assert_eq!(Remembered::from_words(words), Some(remembered));
    }
    let wrong = [[0, 1 << 32, 0], [0, 1, 1], [0x1_0001, 1, 0], [1, 1, u64::MAX], [2, 1, 1], [3, 0, 0]];
    for words in wrong {
        assert_eq!(Remembered::from_words(words), None, "{words:?}");
    }
}
