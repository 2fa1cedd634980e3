//! What can happen next in a situation.

use super::words::{Arrival, Decision, Move};
use super::world::{Answer, LATE, NOW, Party, Sent, World};
use super::{Plant, Search};
use crate::saga::decide::pivot_may_have_happened;
use crate::saga::definition::StepKind;
use crate::saga::event::{Ask, Cause, Event};
use crate::saga::instance::{Mode, Next, Phase, StepState};
use crate::{SagaNo, Timestamp};

type Moves = Vec<(Move, World)>;

impl Search {
    /// Everything that can happen next. What the store does by itself happens in the block in which it can: nothing comes
    /// between.
    pub(super) fn moves(&self, world: &World) -> Moves {
        let mut moves = Vec::new();
        match world.saga.next(&self.definition) {
            Next::Wait => {
                self.messages(world, &mut moves);
                self.time(world, &mut moves);
                self.process(world, &mut moves);
                self.people(world, &mut moves);
            }
            Next::Event(event) => self.event(world, event, &mut moves),
            Next::Local { step, ask } => self.local(world, step as u8, ask, &mut moves),
        }
        moves
    }

    fn event(&self, world: &World, event: Event, moves: &mut Moves) {
        if let Event::Scheduled { step, ask: Ask::Do, attempt, .. } = event
            && self.plant == Some(Plant::EffectBeforeIntent)
            && world.saga.phase == Phase::Running
        {
            // Sent, and then the process died before the intent was durable; when it is back, somebody has cancelled.
            let mut crashed = world.clone();
            crashed.requests.insert(Sent::now(step, Ask::Do, attempt));
            moves.push((Move::CrashAfterSending(step), self.cancelled(&crashed)));
        }
        let next = self.after(world, &event);
        moves.push((Move::Event(event), next));
    }

    /// What this store does itself. An undo that it refuses parks the saga, in the same block.
    fn local(&self, world: &World, place: u8, ask: Ask, moves: &mut Moves) {
        let settle = |answer: Answer, effects: i8| {
            let mut next = self.settled(world, place, ask, 1, answer);
            next.parties[usize::from(place)].effects += effects;
            (Move::Local(place, ask, answer), next)
        };
        if ask != Ask::Undo {
            moves.push(settle(Answer::Done, 1));
            moves.push(settle(Answer::Refused, 0));
            return;
        }
        let lapsed = world.parties[usize::from(place)].lapsed;
        let refused = |world: &World| {
            let event = Event::Parked { saga: SagaNo::new(1), step: place, why: "refused".into() };
            (Move::Local(place, ask, Answer::Refused), self.after(world, &event))
        };
        if lapsed && self.plant == Some(Plant::LapsedUndoIsRefused) {
            moves.push(refused(world));
            return;
        }
        moves.push(settle(Answer::Done, if lapsed { 0 } else { -1 }));
        if let Some(surprised) = self.surprised(world).filter(|_| !lapsed) {
            moves.push(refused(&surprised));
        }
    }

    fn messages(&self, world: &World, moves: &mut Moves) {
        for &sent in &world.requests {
            let Sent { place, ask, attempt, copy, .. } = sent;
            let mut taken = world.clone();
            taken.requests.remove(&sent);
            self.deliver(&taken, sent, false, moves);
            moves.push((Move::Lost(place, ask, attempt), taken.clone()));
            if !copy {
                taken.answers.insert((place, ask, attempt, Answer::NotSent));
                moves.push((Move::NotSent(place, ask, attempt), taken));
            }
            // A participant that does not promise to know a key again cannot be saved from a network that repeats.
            let knows = self.definition.steps[usize::from(place)].promises.idempotent;
            if (ask == Ask::Do && knows || ask == Ask::Undo)
                && let Some(mut surprised) = self.surprised(world)
            {
                surprised.requests.remove(&sent);
                surprised.requests.insert(Sent { copy: true, ..sent });
                self.deliver(&surprised, sent, true, moves);
            }
        }
        for &(place, ask, attempt, answer) in &world.answers {
            let taken = world.saga.takes(usize::from(place), ask, attempt, &answer.settlement());
            let hear = |mut next: World, repeated: bool| {
                if !repeated {
                    next.answers.remove(&(place, ask, attempt, answer));
                }
                let label = Move::Answered(place, ask, attempt, answer, repeated);
                let next = if taken { self.settled(&next, place, ask, attempt, answer) } else { next };
                (label, next)
            };
            moves.push(hear(world.clone(), false));
            let knows = self.definition.steps[usize::from(place)].promises.idempotent || ask == Ask::Undo;
            if let Some(surprised) = self.surprised(world).filter(|_| taken && knows) {
                moves.push(hear(surprised, true));
            }
        }
    }

    /// A request reaches its participant, which answers, or whose answer is lost.
    fn deliver(&self, world: &World, sent: Sent, repeated: bool, moves: &mut Moves) {
        let Sent { place, ask, attempt, .. } = sent;
        let step = &self.definition.steps[usize::from(place)];
        let party = world.parties[usize::from(place)];
        let mut answered = |world: &World, party: Party, answer: Answer, what: &'static str| {
            let arrival = Arrival { place, ask, attempt, what, unanswered: false, repeated };
            let mut heard = world.clone();
            heard.parties[usize::from(place)] = party;
            // An answer that is lost is the same as one that has not come yet: time will pass.
            let mut silent = heard.clone();
            if self.plant == Some(Plant::UnknownIsRefused) {
                silent.answers.insert((place, ask, attempt, Answer::Refused));
            }
            let answer = match answer {
                Answer::Waiting | Answer::Over if self.plant == Some(Plant::WaitingIsRefused) => {
                    Answer::Refused
                }
                other => other,
            };
            heard.answers.insert((place, ask, attempt, answer));
            moves.push((Move::Arrives(arrival), heard));
            moves.push((Move::Arrives(Arrival { unanswered: true, ..arrival }), silent));
        };
        match ask {
            Ask::Do => {
                let knows_key = step.promises.idempotent && self.plant != Some(Plant::KeyPerTry);
                let buried = party.undone && self.buries(place) && self.plant != Some(Plant::NoTombstone);
                if buried {
                    answered(world, party, Answer::Refused, "turned away, it was undone before");
                } else if party.seen && knows_key && party.waiting {
                    answered(world, party, Answer::Waiting, "known, and still waiting for somebody");
                    answered(world, party, Answer::Over, "known, and the time for somebody to come is over");
                } else if party.seen && knows_key {
                    let same = if party.refused { Answer::Refused } else { Answer::Done };
                    answered(world, party, same, "known, the same answer");
                } else {
                    let seen = Party { seen: true, ..party };
                    answered(world, Party { effects: party.effects + 1, ..seen }, Answer::Done, "done");
                    answered(world, Party { refused: true, ..seen }, Answer::Refused, "refused");
                    if let Some(surprised) = self.surprised(world) {
                        let waiting = Party { waiting: true, ..seen };
                        answered(&surprised, waiting, Answer::Waiting, "it waits for somebody");
                    }
                }
            }
            Ask::Query => match party {
                Party { waiting: true, .. } => {
                    answered(world, party, Answer::Waiting, Answer::Waiting.words());
                    answered(world, party, Answer::Over, Answer::Over.words());
                }
                Party { refused: true, effects: 0, .. } => {
                    answered(world, party, Answer::Refused, Answer::Refused.words());
                }
                Party { effects: 0, .. } => answered(world, party, Answer::Absent, Answer::Absent.words()),
                _ => answered(world, party, Answer::Done, Answer::Done.words()),
            },
            Ask::Undo => {
                if party.lapsed && self.plant == Some(Plant::LapsedUndoIsRefused) {
                    answered(world, party, Answer::Refused, "refused, it is there no more");
                    return;
                }
                let twice = self.plant == Some(Plant::UndoTwice) && party.undone;
                let taken = if party.effects > 0 || twice { party.effects - 1 } else { party.effects };
                let undone = Party { effects: taken, undone: true, waiting: false, ..party };
                answered(world, undone, Answer::Done, "undone");
                if let Some(surprised) = self.surprised(world).filter(|_| party.effects > 0) {
                    answered(&surprised, party, Answer::Refused, "refused");
                }
            }
        }
    }

    fn time(&self, world: &World, moves: &mut Moves) {
        if let Some(due) = world.saga.due(&self.definition) {
            let now = due.as_millis().max(NOW);
            if let Some(event) = world.saga.fire(&self.definition, Timestamp::from_millis(now)) {
                let mut next = world.clone();
                self.pass(&mut next, now);
                let next = self.after(&next, &event);
                moves.push((Move::Time(event), next));
            }
        } else if let Some(sent) = world.requests.iter().find(|sent| !self.buries(sent.place)) {
            // Nobody waits for it any more; it is still out there, until it is too late for it.
            let mut next = world.clone();
            self.pass(&mut next, (sent.at + LATE).max(NOW));
            moves.push((Move::TimeAlone, next));
        }
        let overdue =
            self.overdue.as_ref().and_then(|overdue| world.saga.fire(overdue, Timestamp::from_millis(NOW)));
        if let Some(event @ Event::TurnedBack { cause: Cause::TimedOut, .. }) = overdue {
            moves.push((Move::Overdue, self.after(world, &event)));
        }
    }

    /// What was open when the process ended may have been sent or not, and no answer to it will be heard: it is reported as
    /// unknown. So is what was answered by a 5xx, or by a connection that broke.
    fn process(&self, world: &World, moves: &mut Moves) {
        let open = world.open_asks();
        let unknown = |world: &World, (place, ask, attempt): (u8, Ask, u32)| {
            let result = crate::saga::Settlement::Unknown("nobody knows".into());
            let event = Event::Settled { saga: SagaNo::new(1), step: place, ask, attempt, result };
            self.after(world, &event)
        };
        for &(place, ask, attempt) in &open {
            let next = unknown(world, (place, ask, attempt));
            moves.push((Move::NobodyKnows(place, ask, attempt), next));
        }
        if !open.is_empty() {
            let mut crashed = world.clone();
            crashed.answers.clear();
            let next = open.into_iter().fold(crashed, |world, ask| unknown(&world, ask));
            moves.push((Move::Crash, next));
        }
    }

    /// Somebody who cancels, for whom a participant waits, who tells of something, or who looks after parked sagas.
    fn people(&self, world: &World, moves: &mut Moves) {
        let saga = &world.saga;
        if saga.phase == Phase::Running && !pivot_may_have_happened(saga, &self.definition) {
            moves.push((Move::Cancelled, self.cancelled(world)));
        }
        for (place, party) in (0..).zip(&world.parties) {
            let at = usize::from(place);
            if party.waiting {
                for answer in [Answer::Done, Answer::Refused] {
                    let mut next = world.clone();
                    let party = &mut next.parties[at];
                    party.waiting = false;
                    party.effects += i8::from(answer == Answer::Done);
                    party.refused = answer == Answer::Refused;
                    moves.push((Move::Comes(place, answer), next));
                }
            }
            let step = &self.definition.steps[at];
            if party.effects > 0
                && self.plant == Some(Plant::LapsedUndoIsRefused)
                && saga.phase == Phase::Compensating
                && saga.parked.is_none()
                && step.kind == StepKind::Compensatable
                && let Some(mut lapsed) = self.surprised(world)
            {
                lapsed.parties[at].effects = 0;
                lapsed.parties[at].lapsed = true;
                moves.push((Move::Lapses(place), lapsed));
            }
            if let StepState::Doing(tried) = &saga.steps[at]
                && saga.parked.is_none()
                && step.query.is_some()
                && matches!(tried.mode, Mode::Awaiting | Mode::Unknown)
                && let Some(surprised) = self.surprised(world)
            {
                let (ask, attempt) = (Ask::Query, tried.asked + 1);
                let event = Event::Scheduled { saga: SagaNo::new(1), step: place, ask, attempt };
                moves.push((Move::Notice(place), self.after(&surprised, &event)));
            }
        }
        if let Some(park) = &saga.parked
            && let Some(surprised) = self.surprised(world)
        {
            self.operator(&surprised, park.step, moves);
        }
    }

    fn operator(&self, world: &World, place: u8, moves: &mut Moves) {
        let running = world.saga.phase == Phase::Running;
        let mut decide = |world: &World, decision| {
            moves.push((Move::Operator(place, decision), self.resumed(world, decision)));
        };
        decide(world, Decision::Retry);
        if running {
            decide(&World { forced: true, ..world.clone() }, Decision::Undo);
        }
        // Who counts a step as done, or as undone, has seen to it that it is, and that nothing of it is on its way.
        if world.requests.iter().all(|sent| sent.place != place) {
            let mut by_hand = world.clone();
            let party = &mut by_hand.parties[usize::from(place)];
            *party = Party {
                effects: i8::from(running),
                seen: true,
                undone: party.undone || !running,
                waiting: false,
                ..*party
            };
            decide(&by_hand, Decision::Skip);
        }
    }

    /// The same with one surprise more, if there may be one more.
    fn surprised(&self, world: &World) -> Option<World> {
        let surprises = world.surprises + 1;
        (surprises <= self.bounds.surprises).then(|| World { surprises, ..world.clone() })
    }
}
