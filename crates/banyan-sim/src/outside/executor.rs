//! The stand-in for the executor of `banyan-saga`: the same steps in the same order, each of them a step of the simulation.
//!
//! It begins by reporting what was open when the process started as unknown, takes the intents of durable blocks, looks at
//! the state before it asks, gives up waiting when the step's time is over, and reports until it is taken. It remembers
//! nothing over a crash. Harsher than the real one, it reports some answers twice, and some that came after it gave up.

use super::network::Network;
use super::services::services;
use crate::plants::Plant;
use crate::prng::Prng;
use banyan_domain::saga::{Ask, Command, Fields, OpenAsk, Request, Settlement, StepState};
use banyan_domain::{SagaNo, State, Timestamp};
use banyan_engine::{Answer, Read, Work};
use banyan_saga::Service;
use std::collections::{BTreeMap, VecDeque};
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use tokio::sync::oneshot;

/// The executor of one life of the server.
pub(crate) struct Executor {
    network: Network,
    services: BTreeMap<Box<str>, Arc<dyn Service>>,
    plant: Option<Plant>,
    /// Intents of durable blocks that were not taken up yet.
    scheduled: VecDeque<OpenAsk>,
    /// Whether what was open at the start has been looked at.
    ready: bool,
    jobs: Vec<Job>,
}

/// What a look at the state found: the request, and until when it may take effect.
type Found = Option<(Request, u64)>;
type Asking = Pin<Box<dyn Future<Output = Settlement> + Send>>;

enum Job {
    /// Looks what is open from before the start.
    Open(oneshot::Receiver<Vec<OpenAsk>>),
    /// Looks whether an ask is still wanted.
    Look(OpenAsk, oneshot::Receiver<Found>),
    /// To be asked.
    Ask(Box<(Request, u64)>),
    /// Waits for an answer until an instant; none, if it has given up waiting already.
    Wait { open: OpenAsk, too_old_at: u64, until: Option<u64>, answer: Asking },
    /// Has something to report, or has reported it and waits.
    Report { open: OpenAsk, result: Settlement, asked: bool, id: Option<usize> },
    /// Looks whom a webhook is about.
    Hear(oneshot::Receiver<Vec<(SagaNo, u8)>>),
}

/// What the executor wants of the world.
pub(crate) enum Move {
    /// Nothing now.
    Nothing,
    /// A look at the state.
    Look(Work, Ready),
    /// A command, under the number of an earlier request if it is the same again.
    Submit(Command, Option<usize>, Option<Ready>),
    /// It did something by itself.
    Did(&'static str),
}

/// What the executor goes on with once the world has taken what it wanted.
pub(crate) struct Ready(Next);

enum Next {
    Job(Job),
    /// The job at this place was submitted.
    Submitted(usize),
}

impl Executor {
    pub(crate) fn new(network: Network, plant: Option<Plant>) -> Self {
        let services = services(&network);
        Self { network, services, plant, scheduled: VecDeque::new(), ready: false, jobs: Vec::new() }
    }

    /// Takes the intents of a durable block.
    pub(crate) fn publish(&mut self, asks: Vec<OpenAsk>) {
        self.scheduled.extend(asks);
    }

    /// A planted bug: asks before the block with the intent is durable.
    pub(crate) fn publish_early(&mut self, asks: &[Request], state: &State) {
        let found = asks.iter().filter_map(|ask| request(state, ask.open));
        self.jobs.extend(found.map(|found| Job::Ask(Box::new(found))));
    }

    /// Somebody outside told something about a payment.
    pub(crate) fn told(&self, payment: String) -> Move {
        let (reply, seen) = oneshot::channel();
        let look = move |state: &State| state.sagas().waiting_for("payment", &payment).collect::<Vec<_>>();
        Move::Look(Work::Read { read: Read::new(look, reply) }, Ready(Next::Job(Job::Hear(seen))))
    }

    /// Whether there is nothing left to do.
    pub(crate) fn is_quiet(&self) -> bool {
        let given_up = |job: &Job| matches!(job, Job::Wait { until: None, .. });
        self.ready && self.scheduled.is_empty() && self.jobs.iter().all(given_up)
    }

    /// The world has taken what was wanted.
    pub(crate) fn taken(&mut self, ready: Ready, id: Option<usize>) {
        match ready.0 {
            Next::Job(job) => self.jobs.push(job),
            Next::Submitted(at) => {
                if let Job::Report { asked, id: known, .. } = &mut self.jobs[at] {
                    (*asked, *known) = (true, id);
                }
            }
        }
    }

    /// The queue was full: what was wanted is wanted again later.
    pub(crate) fn turned_away(&mut self, ready: &Ready) {
        match &ready.0 {
            Next::Job(Job::Open(_)) => self.ready = false,
            Next::Job(Job::Look(open, _)) => self.scheduled.push_front(*open),
            // A webhook that nobody heard is as good as lost.
            Next::Job(_) | Next::Submitted(_) => {}
        }
    }

    /// An answer to a command of its own.
    pub(crate) fn answered(&mut self, id: usize, answer: &Answer) {
        let own = |job: &Job| matches!(job, Job::Report { asked: true, id: Some(known), .. } if *known == id);
        let Some(at) = self.jobs.iter().position(own) else { return };
        // It reports until it is taken.
        if *answer == Answer::StorageFull {
            if let Job::Report { asked, .. } = &mut self.jobs[at] {
                *asked = false;
            }
        } else {
            self.jobs.remove(at);
        }
    }

    /// Goes one step on, at `now` as the wall says and `latest` as time never goes back.
    pub(crate) fn step(&mut self, rng: &mut Prng, now: Timestamp, latest: u64) -> Move {
        if !self.ready && self.jobs.is_empty() {
            self.ready = true;
            let (reply, seen) = oneshot::channel();
            let read = Read::new(|state: &State| state.sagas().open_asks(), reply);
            return Move::Look(Work::Read { read }, Ready(Next::Job(Job::Open(seen))));
        }
        let opening = self.jobs.iter().any(|job| matches!(job, Job::Open(_)));
        if !opening && !self.scheduled.is_empty() && (self.jobs.is_empty() || rng.chance(40)) {
            let open = self.scheduled.pop_front().expect("it is not empty");
            let (reply, seen) = oneshot::channel();
            let read = Read::new(move |state: &State| request(state, open), reply);
            return Move::Look(Work::Read { read }, Ready(Next::Job(Job::Look(open, seen))));
        }
        if self.jobs.is_empty() {
            return Move::Nothing;
        }
        let at = rng.below(self.jobs.len() as u64) as usize;
        self.go_on(at, rng, now, latest)
    }

    fn go_on(&mut self, at: usize, rng: &mut Prng, now: Timestamp, latest: u64) -> Move {
        match &mut self.jobs[at] {
            Job::Open(seen) => {
                let Ok(open) = seen.try_recv() else { return Move::Nothing };
                self.jobs.swap_remove(at);
                for open in open {
                    self.report(open, Settlement::Unknown("the process was started again".into()));
                }
                Move::Did("executor: what was open is looked into")
            }
            Job::Look(_, seen) => {
                let Ok(found) = seen.try_recv() else { return Move::Nothing };
                self.jobs.swap_remove(at);
                match found {
                    Some(found) => self.jobs.push(Job::Ask(Box::new(found))),
                    None => return Move::Did("executor: an ask is not wanted any more"),
                }
                Move::Nothing
            }
            Job::Ask(_) => {
                let Job::Ask(found) = self.jobs.swap_remove(at) else { return Move::Nothing };
                self.ask(*found, now, latest);
                Move::Did("executor: asks")
            }
            Job::Wait { open, too_old_at, until, answer } => {
                let (open, over) = (*open, until.is_some_and(|until| until <= latest));
                self.network.ask_for(open, *too_old_at);
                if let Poll::Ready(result) = answer.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
                    let late = until.is_none();
                    self.jobs.swap_remove(at);
                    let again = rng.chance(8);
                    if again {
                        self.report(open, result.clone());
                    }
                    self.report(open, result);
                    return Move::Did(match (late, again) {
                        (true, _) => "executor: an answer comes late",
                        (_, true) => "executor: an answer is reported twice",
                        _ => "executor: an answer comes",
                    });
                }
                if !over {
                    return Move::Nothing;
                }
                *until = None;
                // Whoever has given up waiting hears nothing more, mostly.
                if rng.chance(15) {
                    self.jobs.swap_remove(at);
                }
                self.report(open, Settlement::Unknown("no answer in time".into()));
                Move::Did("executor: no answer in time")
            }
            Job::Report { asked: true, .. } => Move::Nothing,
            Job::Report { open, result, id, .. } => {
                let OpenAsk { saga, step, ask, attempt } = *open;
                let command = Command::Settle { saga, step, ask, attempt, result: result.clone() };
                Move::Submit(command, *id, Some(Ready(Next::Submitted(at))))
            }
            Job::Hear(seen) => {
                let Ok(concerned) = seen.try_recv() else { return Move::Nothing };
                self.jobs.swap_remove(at);
                // A payment has one order, and an order one saga.
                let Some((saga, step)) = concerned.first().copied() else {
                    return Move::Did("executor: a webhook concerns nobody");
                };
                // Not worth waiting for: if the queue is full, the step is asked about when its time is over.
                Move::Submit(Command::Nudge { saga, step }, None, None)
            }
        }
    }

    fn ask(&mut self, (mut request, too_old_at): (Request, u64), now: Timestamp, latest: u64) {
        let open = request.open;
        if self.plant == Some(Plant::KeyOfEachTry) && open.ask == Ask::Do {
            request.key = format!("{}-{}", request.key, open.attempt);
        }
        if self.plant == Some(Plant::UndoSkipped) && open.ask == Ask::Undo {
            return self.report(open, Settlement::Done(Fields::new()));
        }
        let Some(service) = self.services.get(&request.service).cloned() else {
            return self.report(open, Settlement::NotSent("no such service is configured".into()));
        };
        let until = Some(latest + request.timeout.get());
        let mut answer: Asking = Box::pin(async move { service.ask(&request, now).await });
        self.network.ask_for(open, too_old_at);
        match answer.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(result) => self.report(open, result),
            Poll::Pending => self.jobs.push(Job::Wait { open, too_old_at, until, answer }),
        }
    }

    fn report(&mut self, open: OpenAsk, result: Settlement) {
        let result = match result {
            Settlement::Unknown(why) if self.plant == Some(Plant::UnknownIsFailure) => {
                Settlement::Refused(why)
            }
            Settlement::Absent if self.plant == Some(Plant::AbsentIsDone) => Settlement::Done(Fields::new()),
            result => result,
        };
        self.jobs.push(Job::Report { open, result, asked: false, id: None });
    }
}

/// The request that `open` stands for, if it is still open, and until when it may take effect.
fn request(state: &State, open: OpenAsk) -> Found {
    let request = state.sagas().request(state.keys(), open)?;
    let saga = state.sagas().saga(open.saga)?;
    let definition = state.sagas().definition(saga.definition)?;
    let patience = definition.steps.get(usize::from(open.step))?.patience;
    let too_old_at = match saga.steps.get(usize::from(open.step))? {
        StepState::Doing(tried) | StepState::Undoing(tried) if open.ask != Ask::Query => {
            tried.sent_at.plus(patience.settles_after).as_millis()
        }
        _ => u64::MAX,
    };
    Some((request, too_old_at))
}
