//! The stored bytes: what each event looks like for ever, and that a damaged snapshot is refused.

use super::{local, saga, service};
use crate::golden::check;
use crate::saga::{
    Ask, Cause, Command, End, Event, Fields, Next, OpenAsk, Outcome, Resume, Sagas, Settlement, StepKind,
};
use crate::{Actor, Decided, Millis, Reason, SagaKey, SagaName, SagaNo, Timestamp, limits};
use expect_test::expect;

fn no() -> SagaNo {
    SagaNo::new(7)
}

fn by() -> Actor {
    Actor::new("ops").expect("valid")
}

fn reason() -> Reason {
    Reason::new("why").expect("valid")
}

fn said() -> Fields {
    [("payment", "p-1")].into_iter().collect()
}

fn settled(ask: Ask, result: Settlement) -> Event {
    Event::Settled { saga: no(), step: 1, ask, attempt: 2, result }
}

#[test]
fn events() {
    let mut definition = saga(vec![service("pay", StepKind::Pivot)]);
    definition.deadline = Some(Millis::from_seconds(60));
    definition.at_risk = Some("amount".into());
    definition.steps[0].when = Some("amount".into());
    check(
        Event::Defined { definition: Box::new(definition), by: by() },
        expect![
            "8200828568636865636b6f7574018188637061790166616d6f756e748282018267706172746e657263706179a1656f7264657281820380f68282018267706172746e6572657175657279a1656f726465728182038083f5f4f48519271018c819ea600c19ea6019ea6066616d6f756e74636f7073"
        ],
    );
    let key = SagaKey::new("o-1").expect("valid");
    check(
        Event::Started { saga: no(), definition: 2, key, input: said() },
        expect!["8201840702636f2d318182677061796d656e7463702d31"],
    );
    check(Event::Scheduled { saga: no(), step: 1, ask: Ask::Do, attempt: 1 }, expect!["82028407010001"]);
    check(Event::Scheduled { saga: no(), step: 1, ask: Ask::Undo, attempt: 1 }, expect!["82028407010101"]);
    check(
        Event::Scheduled { saga: no(), step: 1, ask: Ask::Query, attempt: 300 },
        expect!["82028407010219012c"],
    );
    check(
        settled(Ask::Do, Settlement::Done(said())),
        expect!["820385070100028200818182677061796d656e7463702d31"],
    );
    check(settled(Ask::Do, Settlement::Refused("no".into())), expect!["82038507010002820181626e6f"]);
    check(
        settled(Ask::Undo, Settlement::Unknown("silence".into())),
        expect!["820385070101028202816773696c656e6365"],
    );
    check(settled(Ask::Do, Settlement::NotSent("down".into())), expect!["8203850701000282038164646f776e"]);
    let until = Timestamp::from_millis(1_000_000);
    check(
        settled(Ask::Query, Settlement::Awaiting(said(), until)),
        expect!["820385070102028204828182677061796d656e7463702d311a000f4240"],
    );
    check(settled(Ask::Query, Settlement::Absent), expect!["82038507010202820580"]);
    check(Event::Skipped { saga: no(), step: 3 }, expect!["8204820703"]);
    check(
        Event::TurnedBack { saga: no(), cause: Cause::Step(1, "no".into()) },
        expect!["8205820782008201626e6f"],
    );
    check(
        Event::TurnedBack { saga: no(), cause: Cause::Cancelled(by(), reason()) },
        expect!["82058207820182636f707363776879"],
    );
    check(Event::TurnedBack { saga: no(), cause: Cause::TimedOut }, expect!["82058207820280"]);
    check(Event::TurnedBack { saga: no(), cause: Cause::Forced }, expect!["82058207820380"]);
    check(Event::Parked { saga: no(), step: 1, why: "no".into() }, expect!["8206830701626e6f"]);
    let resumed = |how| Event::Resumed { saga: no(), how, by: by(), reason: reason() };
    check(resumed(Resume::Retry), expect!["82078407820080636f707363776879"]);
    check(
        resumed(Resume::Skip(said())),
        expect!["820784078201818182677061796d656e7463702d31636f707363776879"],
    );
    check(resumed(Resume::Undo), expect!["82078407820280636f707363776879"]);
    check(Event::Ended { saga: no(), end: End::Completed }, expect!["8208820700"]);
    check(Event::Ended { saga: no(), end: End::Compensated }, expect!["8208820701"]);
    check(Outcome::Saga { saga: no() }, expect!["82018107"]);
    check(Outcome::Defined { definition: 2 }, expect!["82008102"]);
}

/// Sagas in many states: one over and only its key left, one parked, one that waits for somebody and was asked about early.
fn many() -> Sagas {
    let mut sagas = Sagas::new();
    let mut now = Timestamp::from_millis(1_000_000);
    let definition = saga(vec![
        local("hold", StepKind::Compensatable),
        service("pay", StepKind::Pivot),
        service("book", StepKind::Retriable),
    ]);
    take(&mut sagas, now, Command::Define { definition: Box::new(definition), by: by() });
    let begin = |sagas: &mut Sagas, now, key: &str| {
        let (name, key) = (SagaName::new("checkout").expect("valid"), SagaKey::new(key).expect("valid"));
        take(sagas, now, Command::Start { name, key, input: said() });
    };
    let answer = |sagas: &mut Sagas, now, no: u64, result: Settlement| {
        let open = sagas.saga(SagaNo::new(no)).and_then(crate::saga::Saga::open_ask);
        let OpenAsk { saga, step, ask, attempt } = open.expect("it asks");
        take(sagas, now, Command::Settle { saga, step, ask, attempt, result });
    };
    begin(&mut sagas, now, "old");
    answer(&mut sagas, now, 1, Settlement::Refused("no".into()));
    now = now.plus(Millis::new(limits::SAGA_LATE_MILLIS + limits::SAGA_KEY_MILLIS));
    begin(&mut sagas, now, "over");
    answer(&mut sagas, now, 2, Settlement::Refused("no".into()));
    begin(&mut sagas, now, "parked");
    answer(&mut sagas, now, 3, Settlement::Done(said()));
    answer(&mut sagas, now, 3, Settlement::Refused("not today".into()));
    begin(&mut sagas, now, "waits");
    answer(&mut sagas, now, 4, Settlement::Awaiting(said(), now.plus(Millis::from_seconds(900))));
    take(&mut sagas, now, Command::Nudge { saga: SagaNo::new(4), step: 1 });
    assert_eq!((sagas.parked(), sagas.under_way(), sagas.old_keys.len()), (1, 1, 1));
    sagas
}

fn take(sagas: &mut Sagas, now: Timestamp, command: Command) {
    let Ok(Decided::One(event)) = sagas.decide(command) else { panic!("it is taken") };
    sagas.apply(now, &event).expect("it applies");
    while let Some((saga, next)) = sagas.next() {
        let event = match next {
            Next::Event(event) => event,
            Next::Local { step, ask } => {
                let result = Settlement::Done(Fields::new());
                Event::Settled { saga, step: step as u8, ask, attempt: 1, result }
            }
            Next::Wait => panic!("it is ready and waits"),
        };
        sagas.apply(now, &event).expect("it applies");
    }
}

#[test]
fn a_snapshot_is_read_back_and_a_damaged_one_is_not() {
    let written = many();
    let snapshot = |sagas: &Sagas| {
        let mut bytes = Vec::new();
        sagas.write_snapshot(&mut bytes);
        bytes
    };
    let bytes = snapshot(&written);
    let read = Sagas::read_snapshot(&mut bytes.as_slice()).expect("it was written");
    read.check_invariants().expect("it is as it was");
    assert_eq!((read.digest(), snapshot(&read)), (written.digest(), bytes.clone()));
    for cut in 0..bytes.len() {
        assert!(Sagas::read_snapshot(&mut &bytes[..cut]).is_err(), "cut to {cut} bytes");
    }
    for at in 0..bytes.len() {
        let mut damaged = bytes.clone();
        damaged[at] ^= 1;
        // Refused, or another digest: the whole snapshot is refused then.
        if let Ok(read) = Sagas::read_snapshot(&mut damaged.as_slice()) {
            assert_ne!(read.digest(), written.digest(), "byte {at}");
        }
    }
}

#[test]
fn an_event_that_cannot_have_happened_is_refused_and_changes_nothing() {
    let (parked, waits, over) = (SagaNo::new(3), SagaNo::new(4), SagaNo::new(2));
    let resumed = |saga, how| Event::Resumed { saga, how, by: by(), reason: reason() };
    let settled = |saga, step, ask, attempt, result| Event::Settled { saga, step, ask, attempt, result };
    let scheduled = |saga, step, ask, attempt| Event::Scheduled { saga, step, ask, attempt };
    let started = |saga, definition, key: &str| {
        let key = SagaKey::new(key).expect("valid");
        Event::Started { saga: SagaNo::new(saga), definition, key, input: said() }
    };
    let again = Event::Defined { definition: Box::new(saga(vec![local("a", StepKind::Pivot)])), by: by() };
    let table = [
        (again, "versions of a saga must follow each other"),
        (started(9, 1, "new"), "saga numbers must follow each other"),
        (started(5, 2, "new"), "a saga began that is not defined"),
        (started(5, 1, "waits"), "a saga began twice for one key"),
        (started(5, 1, "old"), "a saga began twice for one key"),
        (Event::Skipped { saga: SagaNo::new(1), step: 0 }, "an event names a saga that is not there"),
        (Event::Skipped { saga: waits, step: 9 }, "a saga passed over a step that it does not have"),
        (Event::Skipped { saga: waits, step: 0 }, "a step was passed over that had begun"),
        (Event::Skipped { saga: over, step: 2 }, "a step was passed over on the way back"),
        (
            Event::TurnedBack { saga: over, cause: Cause::TimedOut },
            "a saga turned back that was not going forward",
        ),
        (Event::Parked { saga: parked, step: 2, why: "again".into() }, "a saga was parked twice"),
        (
            Event::Parked { saga: waits, step: 9, why: "no".into() },
            "a saga was parked at a step that it does not have",
        ),
        (resumed(waits, Resume::Retry), "a saga was resumed that was not parked"),
        (Event::Ended { saga: waits, end: End::Completed }, "a saga ended with something left to do"),
        (Event::Ended { saga: waits, end: End::Compensated }, "a saga ended with something left to do"),
        (Event::Ended { saga: over, end: End::Compensated }, "a saga ended with something left to do"),
        (scheduled(waits, 9, Ask::Do, 1), "a saga has no such step"),
        (scheduled(waits, 1, Ask::Do, 3), "the tries of a step do not follow each other"),
        (scheduled(waits, 1, Ask::Query, 3), "the questions of a step do not follow each other"),
        (scheduled(waits, 1, Ask::Undo, 1), "a step was undone on the way forward"),
        (scheduled(waits, 2, Ask::Undo, 1), "a step was asked for something that its state does not allow"),
        (scheduled(over, 2, Ask::Do, 1), "a step was begun on the way back"),
        (settled(waits, 1, Ask::Query, 2, Settlement::Absent), "an answer was taken that says nothing here"),
        (
            settled(waits, 1, Ask::Do, 2, Settlement::Done(said())),
            "an answer was taken that says nothing here",
        ),
        (
            settled(waits, 0, Ask::Undo, 1, Settlement::Done(said())),
            "an answer was taken that says nothing here",
        ),
    ];
    let mut sagas = many();
    let digest = sagas.digest();
    let now = Timestamp::from_millis(1_000_000 + limits::SAGA_LATE_MILLIS + limits::SAGA_KEY_MILLIS);
    for (event, why) in table {
        let violation = sagas.apply(now, &event).expect_err("it cannot have happened");
        assert_eq!(violation.to_string(), why, "{event:?}");
        sagas.check_invariants().unwrap_or_else(|violation| panic!("after {event:?}: {violation}"));
        assert_eq!(sagas.digest(), digest, "{event:?}");
    }
}
