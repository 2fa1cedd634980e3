//! The ledger's rules, case by case: scripts of questions, each with the answer it must get.

use super::super::{NewTransfer, Outcome, Refusal, Transfers};
use super::script::{check, run};
use super::{Book, snapshot};
use crate::limits;
use crate::{AccountId, TransferNo};

#[test]
fn accounts_are_opened_once_and_the_same_again_is_answered_as_it_is() {
    check(
        "open shop:sales KRW free                  | new account 1
         open points:m-1 PTS debits<=credits       | new account 2
         open shop:sales KRW free                  | again account 1
         open shop:sales USD free                  | no: account-exists
         open shop:sales KRW debits<=credits       | no: account-exists
         restart
         open points:m-1 PTS debits<=credits       | again account 2
         show points:m-1                           | PTS 0 / 0 available 0
         show nobody                               | none
         sums                                      | KRW 0 held 0, PTS 0 held 0",
    );
}

#[test]
fn a_post_moves_money_and_sums_stay_equal() {
    check(
        "open cash KRW credits<=debits             | new account 1
         open sales KRW free                       | new account 2
         post cash sales 500                       | new t-1
         post cash sales 250                       | new t-2
         post sales cash 100                       | new t-3
         show cash                                 | KRW 750 / 100 available 650
         show sales                                | KRW 100 / 750
         sums                                      | KRW 850 held 0
         left t-1                                  | nothing",
    );
}

#[test]
fn refusals_come_in_their_order() {
    // Each line could be refused for what a later line is refused for, too.
    check(
        "open krw KRW free                         | new account 1
         open usd USD debits<=credits              | new account 2
         open pts PTS debits<=credits              | new account 3
         open pts2 PTS free                        | new account 4
         post nobody nobody 0                      | no: account-not-found
         post usd?USD/free krw 0                   | no: account-exists
         post usd?PTS/debits<=credits krw 0        | no: account-exists
         post usd krw 0                            | no: currency-mismatch
         post pts pts 0                            | no: same-account
         post pts pts2 0                           | no: amount-not-positive
         post pts pts2 -1                          | no: amount-not-positive
         post pts2 pts 9223372036854775807         | new t-1
         post pts2 pts 1                           | no: balance-overflow
         post usd usd2?USD/free 9223372036854775807 | no: insufficient-funds
         capture t-9 0                             | no: amount-not-positive
         capture t-9 1                             | no: transfer-not-found
         capture t-1 1                             | no: transfer-not-pending
         refund t-9 0                              | no: amount-not-positive
         refund t-9 1                              | no: transfer-not-found
         refund t-1 1                              | no: not-refundable
         reverse t-9                               | no: transfer-not-found
         reverse t-1                               | no: not-refundable
         void t-9                                  | no: transfer-not-found
         void t-1                                  | no: transfer-not-pending
         show usd2                                 | none",
    );
}

#[test]
fn points_cannot_be_overdrawn_and_holds_count_against_them() {
    check(
        "open shop PTS free                        | new account 1
         post shop points:m?PTS/debits<=credits 100 | new t-1
         hold points:m shop 70 1h                  | new t-2 until 3600000 ms
         show points:m                             | PTS 0 / 100 held 70 / 0 available 30
         post points:m shop 31                     | no: insufficient-funds
         hold points:m shop 31 1h                  | no: insufficient-funds
         post points:m shop 30                     | new t-3
         hold points:m shop 1 1h                   | no: insufficient-funds
         capture t-2 70                            | new t-4
         show points:m                             | PTS 100 / 100 available 0",
    );
}

#[test]
fn credits_on_hold_do_not_count_for_an_account() {
    // Debits, pending ones too, are measured by posted credits alone.
    check(
        "open shop PTS free                        | new account 1
         open m PTS debits<=credits                | new account 2
         hold shop m 50 1h                         | new t-1 until 3600000 ms
         show m                                    | PTS 0 / 0 held 0 / 50 available 0
         post m shop 1                             | no: insufficient-funds
         capture t-1 50                            | new t-2
         post m shop 50                            | new t-3
         open cash PTS credits<=debits             | new account 3
         hold cash shop 5 1h                       | new t-4 until 3600000 ms
         post shop cash 1                          | no: insufficient-funds
         capture t-4 5                             | new t-5
         hold shop cash 3 1h                       | new t-6 until 3600000 ms
         hold shop cash 3 1h                       | no: insufficient-funds
         post shop cash 2                          | new t-7
         show cash                                 | PTS 5 / 2 held 0 / 3 available 0",
    );
}

#[test]
fn a_hold_is_captured_in_parts_and_the_last_voids_the_rest() {
    check(
        "open card KRW free                        | new account 1
         open sales KRW free                       | new account 2
         hold card sales 100 1d                    | new t-1 until 86400000 ms
         capture t-1 101                           | no: capture-exceeds
         capture t-1 30                            | new t-2
         left t-1                                  | hold 70 of 100 until 86400000 ms
         left t-2                                  | refundable 30 of 30
         restart
         capture t-1 71                            | no: capture-exceeds
         capture t-1 20 last                       | new t-3
         left t-1                                  | nothing
         show card                                 | KRW 50 / 0
         capture t-1 1                             | no: transfer-not-pending
         void t-1                                  | no: transfer-not-pending
         sums                                      | KRW 50 held 0",
    );
}

#[test]
fn a_hold_without_anything_left_is_done() {
    check(
        "open card KRW free                        | new account 1
         open sales KRW free                       | new account 2
         hold card sales 100 1d                    | new t-1 until 86400000 ms
         capture t-1 60                            | new t-2
         capture t-1 0 last                        | no: amount-not-positive
         capture t-1 40                            | new t-3
         left t-1                                  | nothing
         capture t-1 0 last                        | no: amount-not-positive
         capture t-1 1 last                        | no: transfer-not-pending
         at 1d
         sums                                      | KRW 100 held 0",
    );
}

#[test]
fn a_void_gives_the_rest_back_and_nothing_follows_it() {
    check(
        "open shop PTS free                        | new account 1
         post shop m?PTS/debits<=credits 100       | new t-1
         hold m shop 100 1d                        | new t-2 until 86400000 ms
         capture t-2 10                            | new t-3
         void t-2                                  | new t-4
         show m                                    | PTS 10 / 100 available 90
         void t-2                                  | no: transfer-not-pending
         capture t-2 1                             | no: transfer-not-pending
         void t-4                                  | no: transfer-not-pending
         refund t-2 1                              | no: not-refundable
         refund t-4 1                              | no: not-refundable
         refund t-3 10                             | new t-5
         show m                                    | PTS 10 / 110 available 100",
    );
}

#[test]
fn a_hold_is_over_at_its_very_instant() {
    let mut book = check(
        "open a KRW free                           | new account 1
         open b KRW free                           | new account 2
         hold a b 5 10s                            | new t-1 until 10000 ms
         hold a b 6 10s                            | new t-2 until 10000 ms
         hold a b 7 10s                            | new t-3 until 10000 ms
         hold a b 8 11s                            | new t-4 until 11000 ms
         capture t-2 1                             | new t-5
         at 9999
         capture t-1 1                             | new t-6
         at 10s                                    | t-1 expired, t-2 expired, t-3 expired
         capture t-1 1                             | no: transfer-not-pending
         void t-2                                  | no: transfer-not-pending
         refund t-5 1                              | new t-7
         show a                                    | KRW 2 / 1 held 8 / 0
         hold a b 1 0s                             | new t-8 until 10001 ms
         at 12s                                    | t-8 expired, t-4 expired
         hold a b 1 900d                           | new t-9 until 2592012000 ms",
    );
    // Even before the timer was applied: the instant alone decides.
    book.now = crate::Timestamp::from_millis(2_592_012_000);
    assert_eq!(run(&mut book, "capture t-9 1"), "no: transfer-not-pending");
    assert_eq!(run(&mut book, "void t-9"), "no: transfer-not-pending");
}

#[test]
fn linked_transfers_are_made_all_or_none() {
    check(
        "open shop PTS free                        | new account 1
         post shop m?PTS/debits<=credits 10 + post m shop 4 + post m shop 7 | no: insufficient-funds
         show m                                    | none
         sums                                      | PTS 0 held 0
         post shop m?PTS/debits<=credits 10 + post m shop 4 + post m shop 6 | new t-1..3
         show m                                    | PTS 10 / 10 available 0
         post m shop 1 + post shop m 1             | no: insufficient-funds
         post shop m 1 + post m shop 1             | new t-4..5
         post shop a?PTS/free 1 + post a b?PTS/free 1 + post b nobody 1 | no: account-not-found
         show a                                    | none
         open z PTS free                           | new account 3
         post shop a?PTS/free 1 + post a b?PTS/free 1 + post b shop 1 | new t-6..8
         show b                                    | PTS 1 / 1",
    );
}

#[test]
fn later_transfers_of_a_group_see_the_earlier() {
    check(
        "open card KRW free                        | new account 1
         open sales KRW free                       | new account 2
         hold card sales 10 1h + capture t-1 4 + capture t-1 6 + capture t-1 1 | no: transfer-not-pending
         hold card sales 10 1h + capture t-1 4 + capture t-1 7 | no: capture-exceeds
         hold card sales 10 1h + capture t-1 4 + refund t-2 3 + refund t-2 2 | no: refund-exceeds
         capture t-1 1 + hold card sales 10 1h     | no: transfer-not-found
         void t-1                                  | no: transfer-not-found
         hold card sales 10 1h + capture t-1 4 + refund t-2 3 + void t-1 | new t-1..4 until 3600000 ms
         left t-1                                  | nothing
         left t-2                                  | refundable 1 of 4
         at 1h
         hold card sales 5 2h + hold card sales 5 1h | new t-5..6 until 7200000 ms
         void t-5 + void t-5                       | no: transfer-not-pending
         capture t-5 5 + void t-5                  | no: transfer-not-pending
         void t-5 + capture t-5 5                  | no: transfer-not-pending
         capture t-5 1 + capture t-5 2 + void t-5  | new t-7..9
         refund t-7 1 + refund t-7 1               | no: refund-exceeds
         show card                                 | KRW 7 / 3 held 5 / 0
         sums                                      | KRW 10 held 5",
    );
}

#[test]
fn missing_accounts_are_opened_once_in_a_group() {
    check(
        "open shop PTS free                        | new account 1
         post shop m?PTS/debits<=credits 1 + post shop m?PTS/debits<=credits 2 | new t-1..2
         post shop m?PTS/debits<=credits 3         | new t-3
         show m                                    | PTS 0 / 6 available 6
         post shop n?PTS/free 1 + post shop n?PTS/debits<=credits 1 | no: account-exists
         post shop n?PTS/free 1 + post shop n 1    | new t-4..5
         post shop n 1 + post shop o 1             | no: account-not-found
         post p p?PTS/free 1                       | no: account-not-found
         post p?PTS/free p 1                       | no: same-account
         post shop q?KRW/free 1                    | no: currency-mismatch
         show p                                    | none
         open last PTS free                        | new account 4",
    );
}

#[test]
fn refunds_are_never_above_what_was_posted() {
    check(
        "open cash KRW free                        | new account 1
         open sales KRW debits<=credits            | new account 2
         post cash sales 100 refundable            | new t-1
         post cash sales 100                       | new t-2
         refund t-1 101                            | no: refund-exceeds
         refund t-1 40                             | new t-3
         left t-1                                  | refundable 60 of 100
         restart
         reverse t-1                               | no: refund-exceeds
         refund t-1 61                             | no: refund-exceeds
         refund t-1 60                             | new t-4
         refund t-1 1                              | no: refund-exceeds
         reverse t-1                               | no: refund-exceeds
         refund t-3 1                              | no: not-refundable
         reverse t-3                               | no: not-refundable
         refund t-2 1                              | no: not-refundable
         show sales                                | KRW 100 / 200 available 100
         post cash sales 5 refundable              | new t-5
         reverse t-5                               | new t-6
         reverse t-5                               | no: refund-exceeds
         refund t-5 1                              | no: refund-exceeds
         reverse t-6                               | no: not-refundable",
    );
}

#[test]
fn a_refund_keeps_the_rules_of_the_accounts() {
    // Points that were given and spent cannot be taken back; too much is said before too little is there.
    check(
        "open shop PTS free                        | new account 1
         post shop m?PTS/debits<=credits 10 refundable | new t-1
         post m shop 6                             | new t-2
         refund t-1 11                             | no: refund-exceeds
         refund t-1 5                              | no: insufficient-funds
         reverse t-1                               | no: insufficient-funds
         left t-1                                  | refundable 10 of 10
         refund t-1 4                              | new t-3
         show m                                    | PTS 10 / 10 available 0",
    );
}

#[test]
fn each_capture_is_refunded_on_its_own() {
    check(
        "open card KRW free                        | new account 1
         open sales KRW free                       | new account 2
         hold card sales 100 1d                    | new t-1 until 86400000 ms
         capture t-1 30                            | new t-2
         capture t-1 20                            | new t-3
         refund t-1 1                              | no: not-refundable
         refund t-2 31                             | no: refund-exceeds
         refund t-2 30                             | new t-4
         reverse t-3                               | new t-5
         capture t-1 50                            | new t-6
         refund t-6 50                             | new t-7
         show card                                 | KRW 100 / 100",
    );
}

#[test]
fn what_is_too_long_ago_cannot_be_refunded_and_is_forgotten() {
    let book = check(
        "open a KRW free                           | new account 1
         open b KRW free                           | new account 2
         post a b 1 refundable + post a b 1 refundable + post a b 1 refundable | new t-1..3
         at 1
         post a b 9 refundable                     | new t-4
         at 190d
         left t-1                                  | nothing
         refund t-1 1                              | no: not-refundable
         reverse t-1                               | no: not-refundable
         refund t-4 2                              | new t-5
         at 16416000001
         refund t-4 1                              | no: not-refundable
         post a b 1                                | new t-6",
    );
    // Each event forgot two.
    assert_eq!(book.ledger.refundables.len(), 0);
}

#[test]
fn at_the_end_of_time_transfers_are_refundable_and_holds_over_at_once() {
    let mut book = Book::new();
    book.at(crate::Timestamp::from_millis(limits::TIMESTAMP_MILLIS_MAX));
    let mut say = |question: &str| run(&mut book, question);
    assert_eq!(say("post a?KRW/free b?KRW/free 5 refundable + refund t-1 2"), "new t-1..2");
    assert_eq!(say("refund t-1 3"), "new t-3");
    let held = say("hold a b 5 1h");
    assert!(held.starts_with("new t-4 until"), "{held}");
    assert_eq!(say("capture t-4 5"), "no: transfer-not-pending");
    assert_eq!(say(&format!("at {}", limits::TIMESTAMP_MILLIS_MAX)), "t-4 expired");
    book.check_replay();
}

#[test]
fn balances_stop_short_of_overflow() {
    check(
        "open a KRW free                           | new account 1
         open b KRW free                           | new account 2
         open c KRW free                           | new account 3
         hold a b 9223372036854775806 1h           | new t-1 until 3600000 ms
         post a c 1                                | new t-2
         post a c 1                                | no: balance-overflow
         hold a c 1 1h                             | no: balance-overflow
         post c b 1                                | new t-3
         post c b 1                                | no: balance-overflow
         capture t-1 9223372036854775806           | new t-4
         post b a 9223372036854775807              | new t-5
         show a                                    | KRW 9223372036854775807 / 9223372036854775807
         post c d?KRW/free 9223372036854775806     | new t-6
         sums                                      | KRW 27670116110564327421 held 0",
    );
}

#[test]
fn accounts_are_limited() {
    let mut book = Book::new();
    book.ledger.accounts_max = 2;
    let mut say = |question: &str| run(&mut book, question);
    assert_eq!(say("open a KRW free"), "new account 1");
    assert_eq!(say("post a b?KRW/free 1 + post b c?KRW/free 1"), "no: too-many-accounts");
    assert_eq!(say("post a b?KRW/free 1"), "new t-1");
    assert_eq!(say("open c KRW free"), "no: too-many-accounts");
    assert_eq!(say("open a KRW free"), "again account 1");
    assert_eq!(say("post a c?USD/free 0"), "no: too-many-accounts");
    book.check_replay();
}

#[test]
fn groups_have_their_limit() {
    let many = |count| Transfers::new(vec![NewTransfer::Void { pending: TransferNo::new(1) }; count]);
    assert_eq!(many(0).map_err(|e| e.to_string()), Err("a group has 1 to 64 transfers, not 0".into()));
    assert!(many(limits::TRANSFERS_PER_GROUP_MAX).is_ok());
    assert_eq!(many(65).expect_err("too many").count, 65);
    let mut book = check("open shop KRW free | new account 1");
    let group: Vec<String> =
        (0..64).map(|i| format!("post m{i}?KRW/free n{i}?KRW/free 1 refundable")).collect();
    assert_eq!(run(&mut book, &group.join(" + ")), "new t-1..64");
    assert_eq!(book.ledger.accounts_count(), 129);
    book.check_replay();
}

#[test]
fn every_account_is_found_again() {
    let mut book = Book::new();
    for i in 0..1_000 {
        // Some ids are short, some of the length that just fits beside the balances or just does not, some long.
        let padding = "x".repeat([0, 20, 21, 22, 23, 90][i % 6]);
        run(&mut book, &format!("post a{i}?KRW/free {padding}b{i}?KRW/free {}", i + 1));
    }
    book.restart();
    for i in 0..1_000 {
        let padding = "x".repeat([0, 20, 21, 22, 23, 90][i % 6]);
        let id = AccountId::new(format!("{padding}b{i}")).expect("valid");
        let (no, account) = book.ledger.account(&id).expect("it was opened");
        assert_eq!((no.get(), account.credits_posted), (2 * i as u32 + 2, i as i64 + 1));
        assert_eq!(book.ledger.account_id(no), Some(id.as_str()));
    }
    book.check_replay();
}

#[test]
fn refusals_have_their_names() {
    let mut slugs: Vec<&str> = Refusal::ALL.iter().map(|refusal| refusal.slug()).collect();
    assert!(Refusal::ALL.is_sorted() && Refusal::ALL.iter().all(|refusal| !refusal.sentence().is_empty()));
    slugs.sort_unstable();
    slugs.dedup();
    assert_eq!(slugs.len(), Refusal::ALL.len());
}

#[test]
fn transfers_have_public_names() {
    assert_eq!(TransferNo::new(17).to_string(), "t-17");
    assert_eq!(TransferNo::parse("t-17"), Ok(TransferNo::new(17)));
    assert_eq!(TransferNo::parse("t-18446744073709551615"), Ok(TransferNo::new(u64::MAX)));
    for wrong in
        ["", "t", "t-", "17", "T-17", "t-017", "t-0", "t-+1", "t--1", "t-1 ", "t-18446744073709551616"]
    {
        assert!(TransferNo::parse(wrong).is_err(), "{wrong:?}");
    }
}

#[test]
fn a_digest_counts_transfers_that_left_nothing() {
    let mut book = check("post a?KRW/free b?KRW/free 1 | new t-1");
    let before = book.ledger.digest();
    assert_eq!(run(&mut book, "hold a b 5 1h + void t-2"), "new t-2..3 until 3600000 ms");
    assert_eq!(run(&mut book, "show a"), "KRW 1 / 0");
    assert_ne!(book.ledger.digest(), before);
}

#[test]
fn a_refused_group_leaves_no_trace() {
    let mut book = check(
        "open a KRW debits<=credits                | new account 1
         open b KRW free                           | new account 2
         post b a 10 refundable                    | new t-1
         hold a b 5 1h                             | new t-2 until 3600000 ms",
    );
    let before = (snapshot(&book.ledger), book.ledger.digest());
    let refused = run(&mut book, "capture t-2 5 + refund t-1 1 + post b c?KRW/free 1 + post a b 100");
    assert_eq!(refused, "no: insufficient-funds");
    assert_eq!((snapshot(&book.ledger), book.ledger.digest()), before);
    // The outcome of a timer's event is nobody's answer, but can be asked for.
    let fired = book.at(crate::Timestamp::from_millis(3_600_000));
    assert_eq!(book.ledger.outcome(&fired[0]), Outcome::Expired { pending: TransferNo::new(2) });
}
