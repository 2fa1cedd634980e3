//! Random commands at random times, beside the model; and random events, as a damaged log would have them.

use super::super::{Command, Event, Leg, NewTransfer, OpenedAccount, Outcome, Rule, Side};
use super::model::Model;
use super::script::{account, currency};
use super::{Book, by, reference, restored, state_of, transfer};
use crate::limits;
use crate::{AccountId, AccountNo, Currency, Millis, Timestamp, TransferNo};
use proptest::prelude::*;

#[derive(Clone, Debug)]
enum Step {
    Ask(Command),
    Wait(u64),
    /// To the next deadline, or a millisecond before it.
    Deadline(bool),
    Restart,
}

fn config(cases: u32) -> ProptestConfig {
    ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(cases) }
}

fn span() -> impl Strategy<Value = u64> {
    const HOUR: u64 = 3_600_000;
    prop_oneof![
        3 => 0..3_u64,
        3 => 1_u64..60_000,
        2 => 1..40 * 24 * HOUR,
        1 => Just(limits::TRANSFER_HOLD_MILLIS_MAX),
        1 => Just(limits::REFUND_HORIZON_MILLIS),
    ]
}

fn amount() -> impl Strategy<Value = i64> {
    prop_oneof![
        30 => 1..12_i64,
        1 => 12..200_i64,
        1 => prop_oneof![Just(0), Just(-1), Just(i64::MIN)],
        1 => Just(i64::MAX),
        1 => i64::MAX - 12..i64::MAX,
        1 => Just(i64::MAX / 2 + 1),
    ]
}

/// Which transfer: see [`aimed`].
fn no() -> impl Strategy<Value = TransferNo> {
    prop_oneof![20 => 1..24_u64, 1 => Just(0), 1 => Just(u64::MAX)].prop_map(TransferNo::new)
}

fn id() -> impl Strategy<Value = AccountId> {
    let i = prop_oneof![5 => Just(0), 3 => Just(1), 2 => Just(2), 4 => Just(3), 4 => Just(4), 1 => Just(5)];
    i.prop_map(|i| account(&format!("a{i}")))
}

/// How an account is mostly defined; sometimes otherwise.
fn definition(id: &AccountId) -> impl Strategy<Value = (Currency, Rule)> + use<> {
    let usual = match id.as_str() {
        "a0" | "a1" => (currency("PTS"), Rule::Free),
        "a2" => (currency("PTS"), Rule::CreditsWithinDebits),
        "a5" => (currency("KRW"), Rule::Free),
        _ => (currency("PTS"), Rule::DebitsWithinCredits),
    };
    prop_oneof![30 => Just(usual), 1 => Just((currency("KRW"), Rule::DebitsWithinCredits))]
}

fn sides() -> impl Strategy<Value = (Side, Side)> {
    let side = |id: AccountId| {
        let parts = (Just(id.clone()), definition(&id), proptest::bool::weighted(0.9));
        parts.prop_map(|(account, how, may)| Side { account, open_if_missing: may.then_some(how) })
    };
    (id(), id(), proptest::bool::weighted(0.05)).prop_flat_map(move |(debit, credit, same)| {
        // Mostly two accounts.
        let credit = if credit == debit && !same {
            account(if debit.as_str() == "a0" { "a3" } else { "a0" })
        } else {
            credit
        };
        (side(debit), side(credit))
    })
}

fn any_transfer() -> impl Strategy<Value = NewTransfer> {
    prop_oneof![
        6 => (sides(), amount(), any::<bool>()).prop_map(|((debit, credit), amount, refundable)| {
            NewTransfer::Post { debit, credit, amount, refundable }
        }),
        4 => (sides(), amount(), span()).prop_map(|((debit, credit), amount, span)| {
            NewTransfer::Hold { debit, credit, amount, hold_for: Millis::new(span) }
        }),
        4 => (no(), amount(), any::<bool>())
            .prop_map(|(pending, amount, last)| NewTransfer::Capture { pending, amount, last }),
        1 => no().prop_map(|pending| NewTransfer::Void { pending }),
        3 => (no(), amount()).prop_map(|(of, amount)| NewTransfer::Refund { of, amount }),
        1 => no().prop_map(|of| NewTransfer::Reverse { of }),
    ]
}

fn any_command() -> impl Strategy<Value = Command> {
    let open = id().prop_flat_map(|id| (Just(id.clone()), definition(&id)));
    prop_oneof![
        1 => open.prop_map(|(id, (currency, rule))| Command::OpenAccount { id, currency, rule, by: by() }),
        8 => proptest::collection::vec(any_transfer(), 1..2).prop_map(transfer),
        4 => proptest::collection::vec(any_transfer(), 2..6).prop_map(transfer),
    ]
}

fn story() -> impl Strategy<Value = (u64, Vec<Step>)> {
    let step = prop_oneof![
        16 => any_command().prop_map(Step::Ask),
        2 => span().prop_map(Step::Wait),
        1 => any::<bool>().prop_map(Step::Deadline),
        1 => Just(Step::Restart),
    ];
    // Most stories begin in 1970; some shortly before the end of time.
    let end = limits::TIMESTAMP_MILLIS_MAX - 100 * 24 * 3_600_000;
    let start = prop_oneof![4 => Just(0), 1 => Just(end)];
    (start, proptest::collection::vec(step, 1..60)).prop_map(|(start, steps)| {
        // So that there is something to capture and to refund.
        let side =
            |id: &str, rule| Side { account: account(id), open_if_missing: Some((currency("PTS"), rule)) };
        let (shop, member) = (side("a0", Rule::Free), side("a3", Rule::DebitsWithinCredits));
        let (debit, credit) = (shop.clone(), member.clone());
        let given = NewTransfer::Post { debit, credit, amount: 60, refundable: true };
        let hold_for = Millis::from_seconds(24 * 3_600);
        let held = NewTransfer::Hold { debit: member, credit: shop, amount: 30, hold_for };
        (start, [Step::Ask(transfer(vec![given, held]))].into_iter().chain(steps).collect())
    })
}

/// Runs a story beside the model, with everything checked after every step.
fn run(start: u64, steps: &[Step]) -> (Book, Model) {
    let (mut book, mut model) = (Book::new(), Model::default());
    wait(&mut book, &mut model, start);
    for step in steps {
        match step {
            Step::Ask(command) => ask(&mut book, &mut model, command),
            Step::Wait(span) => {
                let to = book.now.plus(Millis::new(*span));
                wait(&mut book, &mut model, to.as_millis());
            }
            Step::Deadline(before) => {
                if let Some(next) = book.ledger.next_deadline() {
                    let to = next.as_millis().saturating_sub(u64::from(*before));
                    let to = to.max(model.now);
                    wait(&mut book, &mut model, to);
                }
            }
            Step::Restart => book.restart(),
        }
        // At the very end of time a hold is over the moment it begins: let it.
        if book.now.as_millis() == limits::TIMESTAMP_MILLIS_MAX {
            wait(&mut book, &mut model, limits::TIMESTAMP_MILLIS_MAX);
        }
        book.check();
        compare(&book, &model);
    }
    (book, model)
}

fn wait(book: &mut Book, model: &mut Model, to: u64) {
    let fired = book.at(Timestamp::from_millis(to));
    assert_eq!(fired.len(), model.tick(to), "what was due");
}

/// The command with its transfer numbers turned into likely ones: mostly of what is on hold or refundable, sometimes of
/// what the command itself is about to make, sometimes of anything.
fn aimed(model: &Model, command: &Command) -> Command {
    let Command::Transfer { transfers, .. } = command else { return command.clone() };
    let made = model.transfers.len() as u64;
    let of_kind = |on_hold: bool| {
        let left = |no: &u64| model.left(*no as usize - 1);
        (1..=made)
            .filter(move |no| if on_hold { left(no).0 } else { left(no).1 }.is_some())
            .collect::<Vec<_>>()
    };
    let aim = |raw: TransferNo, on_hold: bool| {
        let likely = of_kind(on_hold);
        TransferNo::new(match raw.get() {
            raw @ 1..=16 if !likely.is_empty() => likely[raw as usize * 7 % likely.len()],
            raw @ 1..=20 => made + 1 + raw % 4,
            raw => raw,
        })
    };
    let transfers = transfers.as_slice().iter().map(|transfer| match transfer.clone() {
        NewTransfer::Capture { pending, amount, last } => {
            NewTransfer::Capture { pending: aim(pending, true), amount, last }
        }
        NewTransfer::Void { pending } => NewTransfer::Void { pending: aim(pending, true) },
        NewTransfer::Refund { of, amount } => NewTransfer::Refund { of: aim(of, false), amount },
        NewTransfer::Reverse { of } => NewTransfer::Reverse { of: aim(of, false) },
        other => other,
    });
    transfer(transfers.collect())
}

fn ask(book: &mut Book, model: &mut Model, command: &Command) {
    let command = &aimed(model, command);
    let before = state_of(&book.ledger);
    let answer = book.ask(command);
    let said = match answer {
        Err(refusal) => Err(refusal.slug()),
        Ok((Outcome::Account { no }, again)) => Ok((again, u64::from(no.get()))),
        Ok((Outcome::Transferred { first, .. }, again)) => Ok((again, first.get())),
        Ok((outcome, _)) => panic!("{outcome:?} is no answer"),
    };
    if !matches!(answer, Ok((_, false))) {
        assert!(state_of(&book.ledger) == before, "{command:?} changed something");
    }
    assert_eq!(said, model.ask(command), "the rules (left) and the model differ on {command:?}");
}

fn compare(book: &Book, model: &Model) {
    let real = book.ledger.statements().map(|s| {
        let has = [s.debits_posted, s.credits_posted, s.debits_pending, s.credits_pending].map(i128::from);
        (s.id.to_owned(), has)
    });
    let modelled = model.accounts.iter().map(|account| (account.id.clone(), account.has));
    assert_eq!(real.collect::<Vec<_>>(), modelled.collect::<Vec<_>>());
    assert_eq!(book.ledger.transfers_ever(), model.transfers.len() as u64);
    for i in 0..model.transfers.len() {
        let no = TransferNo::new(i as u64 + 1);
        let hold = book.ledger.hold(no).map(|hold| i128::from(hold.left));
        let refundable = book.ledger.refundable(book.now, no).map(|row| i128::from(row.left()));
        assert_eq!((hold, refundable), model.left(i), "what is left of {no}");
    }
}

proptest! {
    #![proptest_config(config(1_000))]

    #[test]
    fn the_rules_answer_as_the_model_and_the_log_gives_the_same_state((start, steps) in story()) {
        let (book, _) = run(start, &steps);
        book.check_replay();
    }
}

proptest! {
    #![proptest_config(config(500))]

    #[test]
    fn a_jump_ends_where_small_steps_end((start, steps) in story(), jump in span()) {
        let (mut book, _) = run(start, &steps);
        let (target, mut walker) = (book.now.plus(Millis::new(jump)), book.clone());
        while let Some(next) = walker.ledger.next_deadline().filter(|next| *next <= target) {
            prop_assert!(!walker.at(next).is_empty());
        }
        walker.at(target);
        book.at(target);
        prop_assert!(walker.ledger.statements().eq(book.ledger.statements()));
        prop_assert!(walker.ledger.holds == book.ledger.holds);
        prop_assert_eq!(walker.ledger.next_deadline(), book.ledger.next_deadline());
    }

    #[test]
    fn any_event_at_all_is_refused_whole_or_leaves_a_whole_state(
        (start, steps) in story(),
        events in proptest::collection::vec((any_event(), any::<bool>(), span()), 1..40),
    ) {
        let (mut book, _) = run(start, &steps);
        for (mut event, in_order, wait) in events {
            if let (Event::Transferred { first, .. }, true) = (&mut event, in_order) {
                *first = book.ledger.next;
            }
            if let Event::Transferred { opened, .. } = &mut event && in_order {
                for (no, account) in (book.ledger.accounts_count() + 1..).zip(opened) {
                    account.no = AccountNo::new(no);
                }
            }
            book.now = book.now.plus(Millis::new(wait));
            let before = state_of(&book.ledger);
            match book.ledger.apply(book.now, 1, &event) {
                Err(_) => prop_assert!(state_of(&book.ledger) == before, "{:?} changed something", event),
                Ok(()) => {
                    let remembered = book.ledger.remember(&event);
                    let answer = book.ledger.recall(remembered, &transfer(vec![NewTransfer::Void { pending: TransferNo::new(1) }]));
                    prop_assert_eq!(answer, Ok(book.ledger.outcome(&event)));
                }
            }
            prop_assert_eq!(book.ledger.check_invariants(), Ok(()), "after {:?}", event);
            book.at(book.now);
            prop_assert_eq!(book.ledger.check_invariants(), Ok(()), "after what was due");
            prop_assert!(state_of(&restored(&book.ledger)) == state_of(&book.ledger));
        }
    }
}

fn any_event() -> impl Strategy<Value = Event> {
    let opened = || {
        (1..9_u32, id(), any::<bool>())
            .prop_flat_map(|(no, id, new)| {
                let id = if new { account(&format!("{id}:new")) } else { id };
                (Just(no), Just(id.clone()), definition(&id))
            })
            .prop_map(|(no, id, (currency, rule))| OpenedAccount {
                no: AccountNo::new(no),
                id,
                currency,
                rule,
            })
    };
    let opened_few = proptest::collection::vec(opened(), 0..3);
    let opened_few = prop_oneof![3 => Just(Vec::new()), 1 => opened_few];
    prop_oneof![
        12 => (no(), proptest::collection::vec(any_leg(), 0..4), opened_few).prop_map(|(first, legs, opened)| {
            Event::Transferred { first, legs, reference: reference(), by: by(), opened }
        }),
        1 => opened().prop_map(|account| Event::AccountOpened { account, by: by() }),
        1 => no().prop_map(|pending| Event::HoldExpired { pending }),
    ]
}

fn any_leg() -> impl Strategy<Value = Leg> {
    let debit = || (0..8_u32).prop_map(AccountNo::new);
    let credit = debit;
    let until = span().prop_map(Timestamp::from_millis);
    prop_oneof![
        4 => (debit(), credit(), amount(), any::<bool>()).prop_map(|(debit, credit, amount, refundable)| {
            Leg::Posted { debit, credit, amount, refundable }
        }),
        3 => (debit(), credit(), amount(), until)
            .prop_map(|(debit, credit, amount, until)| Leg::Held { debit, credit, amount, until }),
        2 => (no(), debit(), credit(), amount(), any::<bool>()).prop_map(|(pending, debit, credit, amount, last)| {
            Leg::Captured { pending, debit, credit, amount, last }
        }),
        1 => no().prop_map(|pending| Leg::Voided { pending }),
        2 => (no(), debit(), credit(), amount())
            .prop_map(|(of, debit, credit, amount)| Leg::Refunded { of, debit, credit, amount }),
        1 => (no(), debit(), credit(), amount())
            .prop_map(|(of, debit, credit, amount)| Leg::Reversed { of, debit, credit, amount }),
    ]
}
