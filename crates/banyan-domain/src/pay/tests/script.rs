//! Scripts: each line is a question and, after a bar, the answer it must get.
//!
//! `at T`, `open ID CURRENCY RULE`, and transfers linked by `+`: `post DEBIT CREDIT N [refundable]`,
//! `hold DEBIT CREDIT N SPAN`, `capture t-N AMOUNT [last]`, `void t-N`, `refund t-N AMOUNT`, `reverse t-N`. An account that
//! may be missing is written `ID?CURRENCY/RULE`. `show ID`, `left t-N`, `sums` read; `restart` goes through a snapshot.

use super::super::{Command, Event, NewTransfer, Outcome, Rule, Side};
use super::{Book, by, transfer};
use crate::{AccountId, Currency, Millis, Timestamp, TransferNo};

/// Runs `script`. Every answer must be as written, every invariant must hold after every line, and at the end the log and
/// a snapshot must both give the same state again.
#[track_caller]
pub(super) fn check(script: &str) -> Book {
    let mut book = Book::new();
    for line in script.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let (question, wanted) = line.split_once('|').map_or((line, ""), |(q, a)| (q.trim(), a.trim()));
        let got = run(&mut book, question);
        assert_eq!(got, wanted, "the answer to {question:?}");
        book.check();
    }
    book.check_replay();
    book
}

/// Asks one line and writes down the answer.
pub(super) fn run(book: &mut Book, question: &str) -> String {
    let words: Vec<&str> = question.split_whitespace().collect();
    match words[..] {
        ["at", time] => {
            let fired = book.at(Timestamp::from_millis(millis(time)));
            let written = fired.iter().map(|event| match event {
                Event::HoldExpired { pending } => format!("{pending} expired"),
                other => panic!("time alone does not bring about {other:?}"),
            });
            written.collect::<Vec<_>>().join(", ")
        }
        ["restart"] => {
            book.restart();
            String::new()
        }
        ["show", id] => show(book, id),
        ["left", no] => left(book, transfer_no(no)),
        ["sums"] => sums(book),
        ["open", id, currency, rule] => {
            let (id, currency, rule) = (account(id), self::currency(currency), self::rule(rule));
            answer(book, &Command::OpenAccount { id, currency, rule, by: by() })
        }
        _ => answer(book, &transfer(question.split(" + ").map(new_transfer).collect())),
    }
}

fn answer(book: &mut Book, command: &Command) -> String {
    match book.ask(command) {
        Err(refusal) => format!("no: {}", refusal.slug()),
        Ok((outcome, again)) => format!("{} {}", if again { "again" } else { "new" }, written(outcome)),
    }
}

fn new_transfer(question: &str) -> NewTransfer {
    let words: Vec<&str> = question.split_whitespace().collect();
    let amount = |word: &str| word.parse::<i64>().expect("an amount");
    match words[..] {
        ["post", debit, credit, n] => NewTransfer::Post {
            debit: side(debit),
            credit: side(credit),
            amount: amount(n),
            refundable: false,
        },
        ["post", debit, credit, n, "refundable"] => NewTransfer::Post {
            debit: side(debit),
            credit: side(credit),
            amount: amount(n),
            refundable: true,
        },
        ["hold", debit, credit, n, span] => NewTransfer::Hold {
            debit: side(debit),
            credit: side(credit),
            amount: amount(n),
            hold_for: Millis::new(millis(span)),
        },
        ["capture", no, n] => {
            NewTransfer::Capture { pending: transfer_no(no), amount: amount(n), last: false }
        }
        ["capture", no, n, "last"] => {
            NewTransfer::Capture { pending: transfer_no(no), amount: amount(n), last: true }
        }
        ["void", no] => NewTransfer::Void { pending: transfer_no(no) },
        ["refund", no, n] => NewTransfer::Refund { of: transfer_no(no), amount: amount(n) },
        ["reverse", no] => NewTransfer::Reverse { of: transfer_no(no) },
        _ => panic!("no such transfer: {question}"),
    }
}

fn written(outcome: Outcome) -> String {
    match outcome {
        Outcome::Account { no } => format!("account {}", no.get()),
        Outcome::Transferred { first, count, expires_at } => {
            let until = expires_at.map_or(String::new(), |at| format!(" until {at}"));
            match count {
                1 => format!("{first}{until}"),
                _ => format!("{first}..{}{until}", first.get() + u64::from(count) - 1),
            }
        }
        Outcome::Expired { pending } => format!("{pending} expired"),
    }
}

fn show(book: &Book, id: &str) -> String {
    let Some(s) = book.ledger.statement(&account(id)) else { return "none".to_owned() };
    assert_eq!((s.id, s.balance), (id, s.credits_posted - s.debits_posted));
    let held = match (s.debits_pending, s.credits_pending) {
        (0, 0) => String::new(),
        (debits, credits) => format!(" held {debits} / {credits}"),
    };
    let available = s.available.map_or(String::new(), |available| format!(" available {available}"));
    format!("{} {} / {}{held}{available}", s.currency, s.debits_posted, s.credits_posted)
}

fn left(book: &Book, no: TransferNo) -> String {
    match (book.ledger.hold(no), book.ledger.refundable(book.now, no)) {
        (Some(hold), None) => format!("hold {} of {} until {}", hold.left, hold.amount, hold.until),
        (None, Some(row)) => format!("refundable {} of {}", row.left(), row.amount),
        (None, None) => "nothing".to_owned(),
        both => panic!("{both:?} at once"),
    }
}

fn sums(book: &Book) -> String {
    let balance = book.ledger.trial_balance();
    let sums = balance.currencies.iter().map(|(currency, totals)| {
        assert_eq!(book.ledger.totals(*currency), Some(totals));
        assert!(totals.is_balanced());
        format!("{currency} {} held {}", totals.debits_posted, totals.debits_pending)
    });
    sums.collect::<Vec<_>>().join(", ")
}

pub(super) fn account(id: &str) -> AccountId {
    AccountId::new(id).expect("a valid account id")
}

pub(super) fn currency(code: &str) -> Currency {
    Currency::new(code).expect("a valid currency")
}

fn rule(word: &str) -> Rule {
    match word {
        "free" => Rule::Free,
        "debits<=credits" => Rule::DebitsWithinCredits,
        "credits<=debits" => Rule::CreditsWithinDebits,
        other => panic!("no such rule: {other}"),
    }
}

fn side(word: &str) -> Side {
    let Some((id, definition)) = word.split_once('?') else { return account(word).into() };
    let (code, rule_word) = definition.split_once('/').expect("a currency and a rule");
    Side { account: account(id), open_if_missing: Some((currency(code), rule(rule_word))) }
}

fn transfer_no(word: &str) -> TransferNo {
    TransferNo::parse(word).expect("the name of a transfer")
}

/// A span: a number of milliseconds, or with one of the units s, h and d.
fn millis(word: &str) -> u64 {
    let number = |digits: &str| digits.parse::<u64>().expect("a number");
    match word.split_at(word.len() - 1) {
        (digits, "s") => number(digits) * 1_000,
        (digits, "h") => number(digits) * 3_600_000,
        (digits, "d") => number(digits) * 24 * 3_600_000,
        _ => number(word),
    }
}
