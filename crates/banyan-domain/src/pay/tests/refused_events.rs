//! Events that a damaged log, or a bug, could hold: each must be refused for its own reason and change nothing.

use super::super::{Event, Leg, OpenedAccount, Refusal, Rule};
use super::script::{account, check, currency};
use super::{Book, by, reference, state_of};
use crate::{AccountNo, Timestamp, TransferNo};

/// Accounts: 1 shop (free), 2 member (debits within credits), 3 dollars, 4 full. Transfers: t-1 refundable, 50 of 100 given
/// back; t-2 a hold of 10 until 60 s, 4 of them captured as t-3; t-5 fills the account 4.
fn book() -> Book {
    check(
        "open shop PTS free                        | new account 1
         open member PTS debits<=credits           | new account 2
         open dollars USD free                     | new account 3
         open full PTS free                        | new account 4
         post shop member 100 refundable           | new t-1
         hold member shop 10 60s + capture t-2 4   | new t-2..3 until 60000 ms
         refund t-1 50                             | new t-4
         post shop2?PTS/free full 9223372036854775807 | new t-5",
    )
}

#[track_caller]
fn refused(event: &Event, why: &str) {
    let mut book = book();
    let before = state_of(&book.ledger);
    let violation = book.ledger.apply(book.now, 1, event).expect_err("it must be refused");
    assert_eq!(violation.to_string(), why);
    assert!(state_of(&book.ledger) == before, "{event:?} changed something");
    book.check_replay();
}

fn transferred(first: u64, legs: Vec<Leg>, opened: Vec<OpenedAccount>) -> Event {
    let first = TransferNo::new(first);
    Event::Transferred { first, legs, reference: reference(), by: by(), opened }
}

/// Refused as the second of a group whose first transfer is right.
#[track_caller]
fn leg_refused(leg: Leg, why: &str) {
    refused(&transferred(6, vec![post(1, 2, 1), leg], vec![]), why);
}

fn post(debit: u32, credit: u32, amount: i64) -> Leg {
    Leg::Posted { debit: AccountNo::new(debit), credit: AccountNo::new(credit), amount, refundable: true }
}

fn held(until: u64) -> Leg {
    let until = Timestamp::from_millis(until);
    Leg::Held { debit: AccountNo::new(1), credit: AccountNo::new(2), amount: 1, until }
}

fn captured(pending: u64, debit: u32, credit: u32, amount: i64) -> Leg {
    let (debit, credit) = (AccountNo::new(debit), AccountNo::new(credit));
    Leg::Captured { pending: TransferNo::new(pending), debit, credit, amount, last: false }
}

fn refund(of: u64, debit: u32, credit: u32, amount: i64) -> Leg {
    let (debit, credit) = (AccountNo::new(debit), AccountNo::new(credit));
    Leg::Refunded { of: TransferNo::new(of), debit, credit, amount }
}

fn reversed(of: u64, debit: u32, credit: u32, amount: i64) -> Leg {
    let (debit, credit) = (AccountNo::new(debit), AccountNo::new(credit));
    Leg::Reversed { of: TransferNo::new(of), debit, credit, amount }
}

fn opened(no: u32, id: &str) -> OpenedAccount {
    OpenedAccount { no: AccountNo::new(no), id: account(id), currency: currency("PTS"), rule: Rule::Free }
}

#[test]
fn what_is_right_is_applied() {
    // So that the others are refused for what is wrong with them.
    let legs = vec![
        post(1, 6, 1),
        held(1),
        captured(2, 2, 1, 6),
        refund(1, 2, 1, 40),
        reversed(3, 1, 2, 4),
        Leg::Voided { pending: TransferNo::new(7) },
    ];
    let mut book = book();
    book.apply(&transferred(6, legs, vec![opened(6, "new")]));
    book.apply(&Event::AccountOpened { account: opened(7, "newer"), by: by() });
    book.check_replay();
}

#[test]
fn numbers_follow_each_other() {
    refused(&transferred(5, vec![post(1, 2, 1)], vec![]), "transfer numbers must follow each other");
    refused(&transferred(7, vec![post(1, 2, 1)], vec![]), "transfer numbers must follow each other");
}

#[test]
fn groups_are_neither_empty_nor_too_long() {
    refused(&transferred(6, vec![], vec![]), "a group of transfers is empty or too long");
    refused(&transferred(6, vec![post(1, 2, 1); 65], vec![]), "a group of transfers is empty or too long");
}

#[test]
fn accounts_are_opened_once_and_in_order() {
    let open = |account| Event::AccountOpened { account, by: by() };
    refused(&open(opened(7, "new")), "account numbers must follow each other");
    refused(&open(opened(5, "new")), "account numbers must follow each other");
    refused(&open(opened(6, "shop")), "an account id was given twice");
    let with = |opened| transferred(6, vec![post(1, 6, 1)], opened);
    refused(&with(vec![opened(7, "new")]), "account numbers must follow each other");
    refused(&with(vec![opened(6, "shop")]), "an account id was given twice");
    refused(&with(vec![opened(6, "new"), opened(7, "new")]), "an account id was given twice");
    refused(
        &with(vec![opened(6, "a"), opened(7, "b"), opened(8, "c")]),
        "more accounts were opened than transfers could name",
    );
    let mut full = book();
    full.ledger.accounts_max = 5;
    let violation = full.ledger.apply(full.now, 1, &open(opened(6, "new"))).expect_err("too many");
    assert_eq!(violation.to_string(), "more accounts were opened than a ledger can have");
}

#[test]
fn transfers_are_between_two_accounts_of_one_currency() {
    leg_refused(post(0, 2, 1), "a transfer names an account that is not there");
    leg_refused(post(1, 6, 1), "a transfer names an account that is not there");
    leg_refused(post(1, u32::MAX, 1), "a transfer names an account that is not there");
    leg_refused(post(1, 3, 1), "a transfer was made between two currencies");
    leg_refused(post(1, 1, 1), "a transfer was made within one account");
}

#[test]
fn amounts_are_sound() {
    leg_refused(post(1, 2, 0), "a transfer has an amount of zero or below");
    leg_refused(post(1, 2, i64::MIN), "a transfer has an amount of zero or below");
    leg_refused(post(1, 4, 1), "a transfer makes a balance too large a number");
    leg_refused(post(2, 1, 42), "a transfer breaks the rule of an account");
}

#[test]
fn holds_end_after_they_begin() {
    let mut book = book();
    book.at(Timestamp::from_millis(1_000));
    let before = state_of(&book.ledger);
    let violation = book.ledger.apply(book.now, 1, &transferred(6, vec![held(999)], vec![]));
    assert_eq!(violation.expect_err("in the past").to_string(), "a hold was over before it began");
    assert!(state_of(&book.ledger) == before);
    leg_refused(held(0), "a hold was over before it began");
}

#[test]
fn captures_and_voids_fit_their_hold() {
    leg_refused(captured(2, 2, 1, 7), "more was captured than was left of a hold");
    leg_refused(captured(2, 2, 1, 0), "a transfer has an amount of zero or below");
    leg_refused(captured(1, 1, 2, 1), "a capture or a void names a transfer that is not on hold");
    leg_refused(captured(9, 2, 1, 1), "an event names a transfer that was not made");
    leg_refused(captured(0, 2, 1, 1), "an event names a transfer that was not made");
    let moves_otherwise = "a capture or a refund moves another amount, or between other accounts";
    leg_refused(captured(2, 1, 2, 1), moves_otherwise);
    leg_refused(captured(2, 2, 4, 1), moves_otherwise);
    let void = |no| Leg::Voided { pending: TransferNo::new(no) };
    leg_refused(void(3), "a capture or a void names a transfer that is not on hold");
    leg_refused(void(8), "an event names a transfer that was not made");
    // At the deadline only the timer's event is right.
    let mut book = book();
    book.now = Timestamp::from_millis(60_000);
    for leg in [captured(2, 2, 1, 1), void(2)] {
        let violation = book.ledger.apply(book.now, 1, &transferred(6, vec![leg], vec![]));
        let why = "a capture or a void names a transfer that is not on hold";
        assert_eq!(violation.expect_err("too late").to_string(), why);
    }
    book.apply(&Event::HoldExpired { pending: TransferNo::new(2) });
    book.check_replay();
}

#[test]
fn refunds_fit_their_transfer() {
    leg_refused(refund(1, 2, 1, 51), "more was refunded than was left of a transfer");
    leg_refused(refund(1, 2, 1, -1), "a transfer has an amount of zero or below");
    leg_refused(refund(5, 4, 5, 1), "a transfer was refunded that cannot be");
    leg_refused(refund(8, 2, 1, 1), "an event names a transfer that was not made");
    leg_refused(reversed(1, 2, 1, 100), "more was refunded than was left of a transfer");
    leg_refused(reversed(2, 1, 2, 10), "a transfer was refunded that cannot be");
    let moves_otherwise = "a capture or a refund moves another amount, or between other accounts";
    leg_refused(refund(1, 1, 2, 1), moves_otherwise);
    leg_refused(reversed(3, 1, 2, 3), moves_otherwise);
    leg_refused(reversed(3, 2, 1, 4), moves_otherwise);
}

#[test]
fn holds_expire_at_their_deadline_and_once() {
    let expired = |no| Event::HoldExpired { pending: TransferNo::new(no) };
    refused(&expired(2), "a hold expired before its deadline");
    refused(&expired(1), "a hold expired that is not there");
    refused(&expired(99), "a hold expired that is not there");
    let mut book = book();
    assert_eq!(book.at(Timestamp::from_millis(60_000)), [expired(2)]);
    let twice = book.ledger.apply(book.now, 1, &expired(2));
    assert_eq!(twice.expect_err("it is over").to_string(), "a hold expired that is not there");
}

#[test]
fn every_kept_answer_must_be_so() {
    use super::super::Remembered;
    let ledger = book().ledger;
    assert!(ledger.is_so(&Remembered::Account(AccountNo::new(5))));
    assert!(!ledger.is_so(&Remembered::Account(AccountNo::new(6))));
    assert!(!ledger.is_so(&Remembered::Account(AccountNo::new(0))));
    let first = TransferNo::new(1);
    assert!(!ledger.is_so(&Remembered::Transferred { first, count: 1, expires_at: Timestamp::default() }));
    assert!(!ledger.is_so(&Remembered::Expired(first)));
    assert_eq!(Refusal::ALL.iter().filter(|refusal| refusal.may_pass_later()).count(), 1);
}
