//! Random stories of many sagas: whatever is asked, answered late, twice or not at all, every invariant holds after every
//! event, nothing waits for ever, and the log gives the same state again.

use super::{local, saga, service};
use crate::saga::{
    Ask, Command, Definition, Event, Fields, Next, OpenAsk, Phase, Promises, Resume, Saga, Sagas, Settlement,
    Step, StepKind, lint,
};
use crate::{Actor, Decided, Digest, Millis, Reason, SagaKey, SagaName, SagaNo, Timestamp, limits};
use proptest::prelude::*;

/// The sagas, the events they wrote, and the asks nobody has answered.
struct Story {
    sagas: Sagas,
    now: Timestamp,
    log: Vec<(Timestamp, Vec<u8>)>,
    asked: Vec<OpenAsk>,
}

#[derive(Clone, Debug)]
enum Move {
    Start(u8),
    Answer { which: u8, keep: bool, how: u8 },
    Pass(u32),
    Cancel(u8),
    Nudge(u8, u8),
    Resume(u8, u8),
}

fn by() -> Actor {
    Actor::new("ops").expect("a valid actor")
}

fn reason() -> Reason {
    Reason::new("why").expect("a valid reason")
}

impl Story {
    fn new(definition: Definition) -> Self {
        let now = Timestamp::from_millis(1_000_000);
        let mut story = Self { sagas: Sagas::new(), now, log: Vec::new(), asked: Vec::new() };
        assert_eq!(lint(&definition), []);
        story.ask(Command::Define { definition: Box::new(definition), by: by() });
        story
    }

    fn ask(&mut self, command: Command) {
        if let Ok(Decided::One(event)) = self.sagas.decide(command) {
            self.apply(&event);
            self.advance();
        }
    }

    fn apply(&mut self, event: &Event) {
        self.sagas.apply(self.now, event).unwrap_or_else(|violation| panic!("{event:?}: {violation}"));
        self.log.push((self.now, minicbor::to_vec(event).expect("a vector takes every write")));
        if let Event::Scheduled { saga, step, ask, attempt } = *event {
            self.asked.push(OpenAsk { saga, step, ask, attempt });
        }
        self.sagas.check_invariants().unwrap_or_else(|violation| panic!("after {event:?}: {violation}"));
    }

    /// What happens by itself. A step of the store itself is refused for every third saga.
    fn advance(&mut self) {
        let mut events = 0;
        while let Some((no, next)) = self.sagas.next() {
            events += 1;
            assert!(events < 1_000, "{no:?} goes round in circles");
            match next {
                Next::Wait => panic!("{no:?} is ready and waits"),
                Next::Event(event) => self.apply(&event),
                Next::Local { step, ask } => {
                    let refused = ask == Ask::Do && step == 0 && no.get() % 3 == 0;
                    let done = Settlement::Done([("number", "r-1")].into_iter().collect());
                    let result = if refused { Settlement::Refused("out-of-stock".into()) } else { done };
                    self.apply(&Event::Settled { saga: no, step: step as u8, ask, attempt: 1, result });
                }
            }
        }
    }

    fn pass(&mut self, millis: u64) {
        self.now = self.now.plus(Millis::new(millis));
        for _ in 0..10_000 {
            let due = self.sagas.due(self.now, 100);
            for event in &due {
                self.apply(event);
            }
            self.advance();
            if due.is_empty() {
                assert!(self.sagas.next_deadline().is_none_or(|at| at > self.now), "a deadline was missed");
                return;
            }
        }
        panic!("time brings events without end");
    }

    fn step(&mut self, one: &Move) {
        match *one {
            Move::Start(key) => self.ask(Command::Start {
                name: SagaName::new("checkout").expect("a valid name"),
                key: SagaKey::new(format!("order-{key}")).expect("a valid key"),
                input: if key % 2 == 0 { [("delivery", "yes")].into_iter().collect() } else { Fields::new() },
            }),
            Move::Answer { which, keep, how } if !self.asked.is_empty() => {
                let at = usize::from(which) % self.asked.len();
                let open = if keep { self.asked[at] } else { self.asked.remove(at) };
                let result = match (open.ask, how % 8) {
                    (_, 0..=3) => Settlement::Done(Fields::new()),
                    (_, 4) => Settlement::Refused("declined".into()),
                    (_, 5) => Settlement::Unknown("time-out".into()),
                    (Ask::Query, 6) => Settlement::Absent,
                    (_, 6) => Settlement::NotSent("down".into()),
                    _ => {
                        let said = [("payment", format!("p-{}", open.saga.get()))].into_iter().collect();
                        let seconds = if which % 2 == 0 { 300 } else { 0 };
                        Settlement::Awaiting(said, self.now.plus(Millis::from_seconds(seconds)))
                    }
                };
                let OpenAsk { saga, step, ask, attempt } = open;
                self.ask(Command::Settle { saga, step, ask, attempt, result });
            }
            Move::Answer { .. } => {}
            Move::Pass(millis) => self.pass(u64::from(millis)),
            Move::Cancel(no) => {
                self.ask(Command::Cancel { saga: SagaNo::new(u64::from(no)), by: by(), reason: reason() });
            }
            Move::Nudge(no, step) => self.ask(Command::Nudge { saga: SagaNo::new(u64::from(no)), step }),
            Move::Resume(no, how) => {
                let how = match how % 3 {
                    0 => Resume::Retry,
                    1 => Resume::Skip(Fields::new()),
                    _ => Resume::Undo,
                };
                let saga = SagaNo::new(u64::from(no));
                let mark = self.sagas.saga(saga).map_or(0, Saga::mark);
                self.ask(Command::Resume { saga, mark, how, by: by(), reason: reason() });
            }
        }
    }

    /// From here on everybody answers at once, and well: everything must come to an end.
    fn settle_all(&mut self) {
        for _ in 0..2_000 {
            let open = self.sagas.open_asks();
            for OpenAsk { saga, step, ask, attempt } in open {
                let result = Settlement::Done(Fields::new());
                self.ask(Command::Settle { saga, step, ask, attempt, result });
            }
            let parked: Vec<_> =
                self.sagas.sagas().filter(|saga| saga.parked.is_some()).map(|saga| saga.no).collect();
            for saga in parked {
                let how = Resume::Skip(Fields::new());
                let mark = self.sagas.saga(saga).map_or(0, Saga::mark);
                self.ask(Command::Resume { saga, mark, how, by: by(), reason: reason() });
            }
            if self.sagas.sagas().all(|saga| matches!(saga.phase, Phase::Ended(_))) {
                return;
            }
            let next = self.sagas.next_deadline();
            let wait = next.map_or(0, |at| at.as_millis().saturating_sub(self.now.as_millis()));
            self.pass(wait);
        }
        let open: Vec<_> = self.sagas.sagas().filter(|saga| !saga.is_over()).collect();
        panic!("these never end: {open:#?}");
    }

    fn check_replay(&self) {
        let mut replayed = Sagas::new();
        for (at, bytes) in &self.log {
            let event: Event = minicbor::decode(bytes).expect("what was written can be read");
            replayed.apply(*at, &event).expect("what was applied applies again");
        }
        assert_eq!(replayed.digest(), self.sagas.digest());
        let (mut bytes, mut again) = (Vec::new(), Vec::new());
        self.sagas.write_snapshot(&mut bytes);
        replayed.write_snapshot(&mut again);
        assert!(bytes == again, "a replay gives other snapshot bytes");
        let mut rest = &bytes[..];
        let restored = Sagas::read_snapshot(&mut rest).expect("a snapshot can be read");
        assert!(rest.is_empty());
        restored.check_invariants().expect("a restored state is whole");
        assert_eq!(restored.digest(), self.sagas.digest());
        assert_eq!(restored.open_asks(), self.sagas.open_asks());
        let mut cut = &bytes[..bytes.len() - 1];
        assert!(Sagas::read_snapshot(&mut cut).is_err(), "a snapshot cut short is refused");
    }
}

fn checkout() -> Definition {
    let mut definition = saga(vec![
        local("reserve", StepKind::Compensatable),
        service("authorize", StepKind::Compensatable),
        service("capture", StepKind::Pivot),
        service("book", StepKind::Retriable),
        local("commit", StepKind::Retriable),
    ]);
    definition.deadline = Some(Millis::from_seconds(900));
    definition.steps[3].when = Some("delivery".into());
    definition
}

/// A step of the kind, of any sort that the lint lets through.
fn any_step(place: usize, kind: StepKind) -> impl Strategy<Value = Step> {
    let compensatable = kind == StepKind::Compensatable;
    let form = (any::<bool>(), any::<bool>(), any::<bool>(), any::<bool>(), any::<bool>(), any::<bool>());
    form.prop_map(move |(here, query, idempotent, tombstone, harmless, condition)| {
        let name = format!("step-{place}");
        let mut step = if here && place > 0 { local(&name, kind) } else { service(&name, kind) };
        let harmless = harmless && compensatable;
        if !step.is_local() && !query {
            step.query = None;
        }
        if harmless {
            step.undo = None;
        }
        step.promises = Promises {
            idempotent: idempotent || step.query.is_none(),
            tombstone: tombstone && step.undo.is_some(),
            harmless,
        };
        step.when = condition.then(|| "delivery".into());
        step
    })
}

fn any_definition() -> impl Strategy<Value = Definition> {
    let kinds = (0_usize..3, any::<bool>(), 0_usize..3).prop_map(|(before, pivot, after)| {
        let mut kinds = vec![StepKind::Compensatable; before];
        kinds.extend(pivot.then_some(StepKind::Pivot));
        kinds.extend(vec![StepKind::Retriable; after.max(usize::from(!pivot))]);
        kinds
    });
    let steps = kinds.prop_flat_map(|kinds| {
        kinds.into_iter().enumerate().map(|(place, kind)| any_step(place, kind)).collect::<Vec<_>>()
    });
    (steps, prop::option::of(100_u64..2_000)).prop_map(|(steps, deadline)| Definition {
        deadline: deadline.map(Millis::from_seconds),
        ..saga(steps)
    })
}

fn moves() -> impl Strategy<Value = Vec<Move>> {
    let one = prop_oneof![
        3 => (0_u8..12).prop_map(Move::Start),
        12 => (any::<u8>(), prop::bool::weighted(0.2), any::<u8>())
            .prop_map(|(which, keep, how)| Move::Answer { which, keep, how }),
        4 => prop_oneof![1_u32..400, 5_000_u32..20_000, 600_000_u32..2_000_000].prop_map(Move::Pass),
        1 => (1_u8..12).prop_map(Move::Cancel),
        1 => (1_u8..12, 0_u8..6).prop_map(|(no, step)| Move::Nudge(no, step)),
        1 => (1_u8..12, any::<u8>()).prop_map(|(no, how)| Move::Resume(no, how)),
    ];
    prop::collection::vec(one, 1..120)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 192, ..ProptestConfig::default() })]

    #[test]
    fn whatever_happens_every_saga_comes_to_an_end(moves in moves()) {
        tell(checkout(), &moves);
    }

    #[test]
    fn a_saga_of_any_good_definition_comes_to_an_end(definition in any_definition(), moves in moves()) {
        tell(definition, &moves);
    }
}

fn tell(definition: Definition, moves: &[Move]) {
    let mut story = Story::new(definition);
    for one in moves {
        story.step(one);
    }
    story.check_replay();
    story.settle_all();
    story.check_replay();
    // Long after, nothing is left of them but the definition and, for a while, their keys.
    let begun = story.sagas.sagas().count();
    let begin = |story: &mut Story, key: &str| {
        let (name, key) = (SagaName::new("checkout"), SagaKey::new(key));
        let (name, key) = (name.expect("a valid name"), key.expect("a valid key"));
        story.ask(Command::Start { name, key, input: Fields::new() });
    };
    story.pass(limits::SAGA_LATE_MILLIS);
    story.pass(limits::SAGA_KEY_MILLIS);
    begin(&mut story, "new");
    story.check_replay();
    let old: usize = story.sagas.old_keys.values().map(std::collections::VecDeque::len).sum();
    assert!(old >= begun, "the keys of {begun} sagas are not remembered for long");
    story.settle_all();
    for key in ["newer", "newest"] {
        story.pass(limits::SAGA_OLD_KEY_MILLIS);
        begin(&mut story, key);
    }
    story.settle_all();
    story.check_replay();
    let left = story.sagas.by_key.keys().filter(|(_, key)| key.as_str().starts_with("order-")).count();
    assert_eq!(left, 0, "keys are kept for ever");
    assert_ne!(story.sagas.digest(), Digest::default());
}
