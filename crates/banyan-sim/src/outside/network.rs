//! The network between the store and those it asks. It loses, delays, repeats and reorders requests and answers; a request
//! that is too old is never delivered, which is what `settles_after` promises.

use super::company::{Call as CompanyCall, Company};
use super::partners::{Call as PartnerCall, Partners, Said};
use crate::plants::Plant;
use crate::prng::Prng;
use banyan_domain::saga::OpenAsk;
use banyan_pay::Effect;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::oneshot;

/// Longest that a side is down, in steps of the network.
const DOWN_STEPS_MAX: u64 = 60;

/// A request on its way.
#[derive(Clone, Debug)]
pub(crate) enum Call {
    /// To the payment company.
    Company(CompanyCall),
    /// To one of the partners.
    Partner(PartnerCall),
}

/// What comes back. Nothing at all: the sender of the answer is dropped (the connection broke), or kept (silence).
#[derive(Debug)]
pub(crate) enum Reply {
    /// Nobody was reached.
    NotSent,
    /// The company's answer.
    Company(Effect),
    /// A partner's answer.
    Partner(Said),
}

/// What the network did, for the trace and the counts.
#[derive(Debug)]
pub(crate) enum Happened {
    /// Nothing.
    Nothing,
    /// One thing, in words.
    Thing(&'static str),
    /// This was asked of somebody who acts on it now: the log must have the intent.
    Acts(OpenAsk, &'static str),
    /// The company told by itself about this payment.
    Told(String),
}

/// Whoever asks holds one end; the world moves the other.
#[derive(Clone)]
pub(crate) struct Network {
    inner: Arc<Mutex<Inner>>,
}

struct Inner {
    dice: Prng,
    calls: Vec<Posted>,
    /// Requests that are held up somewhere.
    late: Vec<Posted>,
    answers: Vec<(oneshot::Sender<Reply>, Reply)>,
    /// Answers that are held up somewhere.
    late_answers: Vec<(oneshot::Sender<Reply>, Reply)>,
    /// Whoever waits for an answer that never comes.
    silent: Vec<oneshot::Sender<Reply>>,
    /// Of what is being asked right now: which ask, and when it is too old.
    asking: Option<(OpenAsk, u64)>,
    company: Company,
    partners: Partners,
    /// Steps for which the company, or the partners, cannot be reached.
    down: [u64; 2],
    healthy: bool,
}

struct Posted {
    open: OpenAsk,
    call: Call,
    too_old_at: u64,
    reply: Option<oneshot::Sender<Reply>>,
}

impl Network {
    pub(crate) fn new(mut dice: Prng, plant: Option<Plant>) -> Self {
        let (company, partners) = (Company::new(dice.fork(), plant), Partners::new(dice.fork(), plant));
        let inner = Inner {
            dice,
            calls: Vec::new(),
            late: Vec::new(),
            answers: Vec::new(),
            late_answers: Vec::new(),
            silent: Vec::new(),
            asking: None,
            company,
            partners,
            down: [0; 2],
            healthy: false,
        };
        Self { inner: Arc::new(Mutex::new(inner)) }
    }

    /// Says what the next request is of.
    pub(crate) fn ask_for(&self, open: OpenAsk, too_old_at: u64) {
        self.inner().asking = Some((open, too_old_at));
    }

    /// Puts a request on its way.
    pub(super) fn post(&self, call: Call) -> oneshot::Receiver<Reply> {
        let (reply, answer) = oneshot::channel();
        let mut inner = self.inner();
        let (open, too_old_at) = inner.asking.take().expect("whoever asks has said for what");
        inner.calls.push(Posted { open, call, too_old_at, reply: Some(reply) });
        answer
    }

    /// From now on everything arrives.
    pub(crate) fn heal(&self) {
        let mut inner = self.inner();
        inner.healthy = true;
        inner.down = [0; 2];
        inner.company.heal();
        inner.partners.heal();
    }

    /// Whether nothing is on its way.
    pub(crate) fn is_quiet(&self) -> bool {
        let inner = self.inner();
        inner.calls.is_empty()
            && inner.late.is_empty()
            && inner.answers.is_empty()
            && !inner.company.has_news()
    }

    /// When the company does something by itself next.
    pub(crate) fn next_deadline(&self) -> Option<u64> {
        self.inner().company.next_deadline()
    }

    /// Reads the books of those outside.
    pub(super) fn books<T>(&self, read: impl FnOnce(&Company, &Partners) -> T) -> T {
        let inner = self.inner();
        read(&inner.company, &inner.partners)
    }

    /// One thing happens at `now`, which never goes back.
    pub(crate) fn step(&self, now: u64) -> Happened {
        let mut guard = self.inner();
        let inner = &mut *guard;
        inner.down = inner.down.map(|steps| steps.saturating_sub(1));
        inner.company.tick(now);
        if !inner.healthy && inner.dice.chance(1) {
            let (side, steps) = (inner.dice.below(2) as usize, inner.dice.below(DOWN_STEPS_MAX));
            inner.down[side] = steps;
            return Happened::Thing("outside: down for a while");
        }
        if !inner.late.is_empty() && (inner.healthy || inner.dice.chance(2)) {
            let at = inner.dice.below(inner.late.len() as u64) as usize;
            let posted = inner.late.swap_remove(at);
            inner.calls.push(posted);
            return Happened::Thing("outside: a request goes on that was held up");
        }
        if !inner.late_answers.is_empty() && (inner.healthy || inner.dice.chance(1)) {
            let (to, answer) = inner.late_answers.swap_remove(0);
            let _gone = to.send(answer);
            return Happened::Thing("outside: an answer arrives that was held up");
        }
        let told = inner.dice.below(10);
        if told == 0 && inner.company.has_news() {
            return inner
                .company
                .tell()
                .map_or(Happened::Thing("outside: a webhook is lost"), Happened::Told);
        }
        if told == 1 && inner.company.customer_acts() {
            return Happened::Thing("outside: a customer acts at the card page");
        }
        if !inner.answers.is_empty() && (inner.calls.is_empty() || inner.dice.chance(50)) {
            let at = inner.dice.below(inner.answers.len() as u64) as usize;
            let (to, answer) = inner.answers.swap_remove(at);
            let _gone = to.send(answer);
            return Happened::Thing("outside: an answer arrives");
        }
        if inner.calls.is_empty() { Happened::Nothing } else { inner.deliver(now) }
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    /// Some request meets its fate.
    fn deliver(&mut self, now: u64) -> Happened {
        let at = self.dice.below(self.calls.len() as u64) as usize;
        let posted = self.calls.swap_remove(at);
        if now >= posted.too_old_at {
            self.silent.extend(posted.reply);
            return Happened::Thing("outside: a request is too old");
        }
        let side = usize::from(matches!(posted.call, Call::Partner(_)));
        let fate = if self.healthy { 99 } else { self.dice.below(100) };
        if self.down[side] > 0 || fate < 4 {
            self.answers.extend(posted.reply.map(|reply| (reply, Reply::NotSent)));
            return Happened::Thing("outside: nobody is reached");
        }
        match fate {
            4..9 => {
                self.silent.extend(posted.reply);
                Happened::Thing("outside: a request is lost")
            }
            9..14 => {
                drop(posted.reply);
                Happened::Thing("outside: a connection breaks before anybody acts")
            }
            14..19 => {
                // Whoever asked hears that the connection broke, and the request arrives all the same.
                self.late.push(Posted { reply: None, ..posted });
                Happened::Thing("outside: a connection breaks before the request arrives")
            }
            19..28 => {
                self.late.push(posted);
                Happened::Thing("outside: a request is held up")
            }
            _ => self.act(posted, fate),
        }
    }

    /// Whoever was asked acts, and the answer meets its fate.
    fn act(&mut self, posted: Posted, fate: u64) -> Happened {
        let Posted { open, call, too_old_at, reply } = posted;
        let answer = match &call {
            Call::Company(call) => Reply::Company(self.company.answer(call)),
            Call::Partner(call) => Reply::Partner(self.partners.answer(call)),
        };
        let what = match fate {
            28..34 => {
                self.silent.extend(reply);
                "outside: done, and the answer is lost"
            }
            34..40 => {
                drop(reply);
                "outside: done, and the connection breaks"
            }
            40..48 => {
                self.calls.push(Posted { open, call, too_old_at, reply: None });
                self.answers.extend(reply.map(|reply| (reply, answer)));
                "outside: a request arrives and comes again"
            }
            48..56 => {
                self.late_answers.extend(reply.map(|reply| (reply, answer)));
                "outside: done, and the answer is held up"
            }
            _ => {
                self.answers.extend(reply.map(|reply| (reply, answer)));
                "outside: asked"
            }
        };
        Happened::Acts(open, what)
    }
}
