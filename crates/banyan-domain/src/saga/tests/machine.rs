//! What a saga does next, as tables: one saga, told what happens to it, and what it writes.

use super::{local, saga, service};
use crate::saga::{
    Ask, Command, Definition, End, Event, Fields, Mode, Next, Outcome, Phase, Promises, Refusal, Resume,
    Saga, Sagas, Settlement, StepKind, StepState, lint,
};
use crate::{Actor, Decided, Millis, Reason, SagaKey, SagaName, SagaNo, Timestamp};

const NO: SagaNo = SagaNo::new(1);

/// One saga. What the store does itself is always done.
struct One {
    sagas: Sagas,
    now: Timestamp,
    /// What was written, in a few words each.
    told: Vec<String>,
}

impl One {
    fn new(definition: Definition) -> Self {
        assert_eq!(lint(&definition), []);
        let mut one = Self { sagas: Sagas::new(), now: Timestamp::from_millis(1_000_000), told: Vec::new() };
        let by = Actor::new("ops").expect("a valid actor");
        let name = definition.name.clone();
        one.ask(Command::Define { definition: Box::new(definition), by });
        one.ask(Command::Start {
            name,
            key: SagaKey::new("o-1").expect("a valid key"),
            input: Fields::new(),
        });
        // Defined and begun.
        one.told.drain(..2);
        one
    }

    fn ask(&mut self, command: Command) {
        let decided = self.sagas.decide(command).expect("it is not refused");
        if let Decided::One(event) = decided {
            self.apply(&event);
            self.advance();
        }
    }

    fn apply(&mut self, event: &Event) {
        self.sagas.apply(self.now, event).unwrap_or_else(|violation| panic!("{event:?}: {violation}"));
        self.sagas.check_invariants().unwrap_or_else(|violation| panic!("after {event:?}: {violation}"));
        self.told.push(words(event));
    }

    fn advance(&mut self) {
        while let Some((no, next)) = self.sagas.next() {
            match next {
                Next::Wait => panic!("it is ready and waits"),
                Next::Event(event) => self.apply(&event),
                Next::Local { step, ask } => {
                    let result = Settlement::Done(Fields::new());
                    self.apply(&Event::Settled { saga: no, step: step as u8, ask, attempt: 1, result });
                }
            }
        }
    }

    /// The service answers what is open.
    fn answer(&mut self, result: Settlement) -> &mut Self {
        let open = self.saga().open_ask().expect("something is asked");
        self.ask(Command::Settle { saga: NO, step: open.step, ask: open.ask, attempt: open.attempt, result });
        self
    }

    fn done(&mut self) -> &mut Self {
        self.answer(Settlement::Done(Fields::new()))
    }

    fn awaiting(&mut self, seconds: u64) -> &mut Self {
        let until = self.now.plus(Millis::from_seconds(seconds));
        self.answer(Settlement::Awaiting(Fields::new(), until))
    }

    fn unknown(&mut self) -> &mut Self {
        self.answer(Settlement::Unknown("silence".into()))
    }

    /// Goes on to the next instant at which time alone moves it, and lets it.
    fn pass(&mut self) -> &mut Self {
        let due = self.sagas.next_deadline().expect("it waits for an instant");
        self.now = self.now.max(due);
        let due = self.sagas.due(self.now, 100);
        assert!(!due.is_empty(), "a deadline brings nothing");
        for event in due {
            self.apply(&event);
        }
        self.advance();
        self
    }

    fn resume(&mut self, how: Resume) -> &mut Self {
        let (by, reason) = (Actor::new("ops").expect("valid"), Reason::new("why").expect("valid"));
        let mark = self.saga().mark();
        self.ask(Command::Resume { saga: NO, mark, how, by, reason });
        self
    }

    fn cancel(&mut self) -> &mut Self {
        let (by, reason) = (Actor::new("ops").expect("valid"), Reason::new("why").expect("valid"));
        self.ask(Command::Cancel { saga: NO, by, reason });
        self
    }

    fn saga(&self) -> &Saga {
        self.sagas.saga(NO).expect("it is there")
    }

    /// What was written since the last look.
    #[track_caller]
    fn wrote(&mut self, expected: &[&str]) -> &mut Self {
        let told = std::mem::take(&mut self.told);
        assert_eq!(told, expected);
        self
    }

    #[track_caller]
    fn is_parked(&mut self, place: u8, why: &str) -> &mut Self {
        let park = self.saga().parked.as_ref().expect("it is parked");
        assert_eq!((park.step, &*park.why), (place, why));
        assert_eq!(self.sagas.next_deadline(), None, "time does nothing to what is parked");
        self
    }
}

fn words(event: &Event) -> String {
    match event {
        Event::Scheduled { step, ask, attempt, .. } => format!("{ask:?} {step} #{attempt}"),
        Event::Settled { step, result, .. } => {
            let result = format!("{result:?}");
            format!("{step} {}", result.split('(').next().unwrap_or_default())
        }
        Event::Parked { step, why, .. } => format!("parked at {step}: {why}"),
        Event::TurnedBack { .. } => "back".into(),
        Event::Ended { end, .. } => format!("{end:?}"),
        Event::Resumed { .. } => "resumed".into(),
        Event::Skipped { step, .. } => format!("{step} skipped"),
        Event::Defined { .. } | Event::Started { .. } => "begun".into(),
    }
}

/// A step of an idempotent HTTP service that cannot be asked.
fn blind(name: &str, kind: StepKind) -> crate::saga::Step {
    let mut step = service(name, kind);
    step.query = None;
    step.promises = Promises { idempotent: true, ..Promises::default() };
    step.patience.tries = 3;
    step
}

/// Two tries of an answer that never comes, from the first one on.
fn silent(one: &mut One, times: usize) {
    for _ in 0..times {
        one.unknown().pass();
    }
}

#[test]
fn a_retriable_step_that_waits_for_somebody_is_asked_again_and_never_turns_the_saga_back() {
    // As the example `delivery`: no query, no undo, the same key has the effect once.
    let mut one = One::new(saga(vec![service("book", StepKind::Pivot), blind("tell", StepKind::Retriable)]));
    one.done().awaiting(900).wrote(&["Do 0 #1", "0 Done", "Do 1 #1", "1 Awaiting"]);
    one.pass().wrote(&["Do 1 #2"]).awaiting(900).pass().wrote(&["1 Awaiting", "Do 1 #3"]);
    one.awaiting(900).pass().wrote(&["1 Awaiting", "parked at 1: nobody came in time"]);
    one.is_parked(1, "nobody came in time").resume(Resume::Retry).pass().done();
    one.wrote(&["resumed", "Do 1 #4", "1 Done", "Completed"]);
}

#[test]
fn a_pivot_that_waits_for_somebody_is_asked_again_and_then_left_to_a_person() {
    for seconds in [0, 900] {
        let mut one =
            One::new(saga(vec![local("hold", StepKind::Compensatable), blind("pay", StepKind::Pivot)]));
        one.awaiting(seconds).pass().awaiting(seconds).pass().awaiting(seconds);
        if seconds > 0 {
            one.pass();
        }
        one.is_parked(1, "nobody came in time");
        assert_eq!(one.saga().phase, Phase::Running);
    }
}

#[test]
fn a_pivot_with_a_question_that_answers_at_once_that_it_waits_does_not_turn_back() {
    let mut pay = service("pay", StepKind::Pivot);
    pay.patience.tries = 10;
    let mut one = One::new(saga(vec![local("hold", StepKind::Compensatable), pay]));
    one.awaiting(0);
    for _ in 0..10 {
        assert_eq!(one.saga().phase, Phase::Running);
        one.pass().awaiting(0);
    }
    one.is_parked(1, "nobody came in time").resume(Resume::Retry).pass().done();
    assert_eq!(one.saga().phase, Phase::Ended(End::Completed));
}

#[test]
fn before_the_pivot_what_waits_in_vain_is_undone() {
    for (step, back) in [
        (blind("hold", StepKind::Compensatable), &["back", "Undo 0 #1"][..]),
        (service("hold", StepKind::Compensatable), &["Query 0 #1"]),
    ] {
        let mut one = One::new(saga(vec![step, service("pay", StepKind::Pivot)]));
        one.awaiting(900).wrote(&["Do 0 #1", "0 Awaiting"]).pass().wrote(back);
    }
}

#[test]
fn what_has_no_effect_is_not_asked_for_once_the_saga_is_on_its_way_back() {
    let mut price = blind("price", StepKind::Compensatable);
    (price.undo, price.promises.harmless) = (None, true);
    for answer in
        [Settlement::Unknown("silence".into()), Settlement::Awaiting(Fields::new(), Timestamp::default())]
    {
        let mut one = One::new(saga(vec![price.clone(), service("pay", StepKind::Pivot)]));
        let open = one.saga().open_ask().expect("it is asked");
        one.cancel().wrote(&["Do 0 #1", "back", "Compensated"]);
        one.ask(Command::Settle { saga: NO, step: 0, ask: Ask::Do, attempt: open.attempt, result: answer });
        assert_eq!(one.sagas.next_deadline(), None, "nothing is left to do");
        assert!(matches!(one.saga().steps[0], StepState::Not(_)));
    }
}

#[test]
fn a_saga_without_a_pivot_does_not_turn_back_from_a_step_that_cannot_be_undone() {
    let mut definition =
        saga(vec![local("hold", StepKind::Compensatable), service("tell", StepKind::Retriable)]);
    definition.deadline = Some(Millis::from_seconds(5));
    let mut one = One::new(definition);
    one.pass().wrote(&["0 Done", "Do 1 #1", "1 Unknown"]);
    let (by, reason) = (Actor::new("ops").expect("valid"), Reason::new("why").expect("valid"));
    assert!(one.sagas.decide(Command::Cancel { saga: NO, by, reason }).is_err());
}

#[test]
fn a_step_that_cannot_be_asked_about_is_sent_again_on_the_way_back_only_as_often_as_it_may_be() {
    let mut one =
        One::new(saga(vec![blind("hold", StepKind::Compensatable), service("pay", StepKind::Pivot)]));
    one.cancel().wrote(&["Do 0 #1", "back"]);
    silent(&mut one, 2);
    one.unknown().is_parked(0, "whether it happened is not known");
    one.resume(Resume::Retry).pass().done().done();
    assert_eq!(one.saga().phase, Phase::Ended(End::Compensated));
}

#[test]
fn a_pivot_that_may_have_happened_is_not_sent_again_once_an_operator_sends_the_saga_back() {
    let mut one = One::new(saga(vec![local("hold", StepKind::Compensatable), blind("pay", StepKind::Pivot)]));
    silent(&mut one, 2);
    one.unknown().is_parked(1, "whether it happened is not known");
    one.told.clear();
    one.resume(Resume::Undo).wrote(&["resumed", "parked at 1: it may have happened, and has no undo"]);
    assert!(matches!(&one.saga().steps[1], StepState::Doing(tried) if tried.mode == Mode::Unknown));
    one.resume(Resume::Skip(Fields::new())).wrote(&["resumed", "0 Done", "Compensated"]);
}

/// Parked at the second of two steps that both have no answer, on the way back.
fn parked_twice() -> One {
    let mut one = One::new(saga(vec![
        blind("hold", StepKind::Compensatable),
        blind("book", StepKind::Compensatable),
        service("pay", StepKind::Pivot),
    ]));
    one.done().done();
    one.answer(Settlement::Refused("nothing to pay".into()));
    one.answer(Settlement::Refused("not today".into())).is_parked(1, "not today");
    one
}

fn resume(mark: u64, how: Resume) -> Command {
    let (by, reason) = (Actor::new("ops").expect("valid"), Reason::new("why").expect("valid"));
    Command::Resume { saga: NO, mark, how, by, reason }
}

#[test]
fn a_decision_about_one_step_is_not_done_to_the_next_that_the_saga_is_parked_at() {
    let mut one = parked_twice();
    let skip = resume(one.saga().mark(), Resume::Skip(Fields::new()));
    one.ask(skip.clone());
    one.answer(Settlement::Refused("not today either".into())).is_parked(0, "not today either");
    // A double click, or somebody with the older page.
    assert_eq!(one.sagas.decide(skip), Err(Refusal::SagaChanged));
    assert!(matches!(one.saga().steps[0], StepState::Undoing(_)), "its undo is still owed");
}

#[test]
fn a_retry_sent_twice_is_done_once_though_the_saga_is_parked_at_the_same_step_again() {
    let mut one = parked_twice();
    let retry = resume(one.saga().mark(), Resume::Retry);
    one.ask(retry.clone());
    one.pass().answer(Settlement::Refused("not today".into())).is_parked(1, "not today");
    assert_eq!(one.sagas.decide(retry), Err(Refusal::SagaChanged));
}

#[test]
fn an_answer_that_came_late_is_not_covered_by_what_an_operator_typed() {
    let mut one =
        One::new(saga(vec![blind("hold", StepKind::Compensatable), service("pay", StepKind::Pivot)]));
    silent(&mut one, 2);
    one.unknown().is_parked(0, "whether it happened is not known");
    let typed = Resume::Skip([("payment", "typed")].into_iter().collect());
    let skip = resume(one.saga().mark(), typed);
    let said = Settlement::Done([("payment", "pay_9")].into_iter().collect());
    one.ask(Command::Settle { saga: NO, step: 0, ask: Ask::Do, attempt: 2, result: said });
    assert_eq!(one.sagas.decide(skip), Err(Refusal::SagaChanged));
    // Whoever looks again and counts it as done keeps what was said.
    one.resume(Resume::Skip(Fields::new()));
    assert_eq!(one.saga().steps[0].output().and_then(|said| said.get("payment")), Some("pay_9"));
}

#[test]
fn questions_for_which_somebody_outside_gave_the_reason_use_up_no_patience() {
    let mut pay = service("pay", StepKind::Compensatable);
    (pay.patience.tries, pay.patience.settles_after, pay.promises.tombstone) = (3, Millis::new(0), false);
    let mut one = One::new(saga(vec![pay, service("capture", StepKind::Pivot)]));
    one.awaiting(900);
    for _ in 0..40 {
        one.ask(Command::Nudge { saga: NO, step: 0 });
        one.awaiting(900);
    }
    // One more, and its answer is lost: it is asked as often as it may be, and only then is a person needed.
    one.ask(Command::Nudge { saga: NO, step: 0 });
    one.told.clear();
    one.unknown().pass().unknown().pass().unknown();
    one.wrote(&["0 Unknown", "Query 0 #42", "0 Unknown", "Query 0 #43", "0 Unknown"]);
    one.pass().unknown().is_parked(0, "whether it happened is not known");
}

#[test]
fn a_key_is_known_long_after_the_end_of_its_saga_and_never_for_another_input() {
    let mut one = One::new(saga(vec![local("book", StepKind::Pivot)]));
    assert!(one.saga().is_over());
    let start = |key: &str, input: Fields| Command::Start {
        name: SagaName::new("checkout").expect("valid"),
        key: SagaKey::new(key).expect("valid"),
        input,
    };
    let other: Fields = [("amount", "2")].into_iter().collect();
    for (hours, what) in
        [(0, "at once"), (3, "later"), (31, "when it has left memory"), (300 * 24, "from an old report")]
    {
        one.now = one.now.plus(Millis::from_seconds(hours * 3_600));
        // Something happens: what is old enough is let go of.
        one.ask(start(&format!("then-{hours}"), Fields::new()));
        let same = one.sagas.decide(start("o-1", Fields::new()));
        assert_eq!(
            same,
            Ok(Decided::AsItIs(Outcome::Saga { saga: NO }, Outcome::Saga { saga: NO })),
            "{what}"
        );
        assert_eq!(one.sagas.decide(start("o-1", other.clone())), Err(Refusal::SagaKeyReused), "{what}");
        let mut bytes = Vec::new();
        one.sagas.write_snapshot(&mut bytes);
        let restored = Sagas::read_snapshot(&mut &bytes[..]).expect("it can be read");
        restored.check_invariants().expect("it is whole");
        assert_eq!(restored.decide(start("o-1", other.clone())), Err(Refusal::SagaKeyReused), "{what}");
    }
}
