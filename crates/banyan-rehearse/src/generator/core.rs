//! The heart of the generator: what waits, what is under way, and what follows from an answer.
//!
//! One thread owns all of it, so plain cells do. Arrivals come in through [`Core::offer`], connections take jobs
//! with [`Core::next_job`], and every job leaves through [`Core::settle`] exactly once.

use std::cell::{Cell, RefCell, RefMut};
use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};

use super::answer::{Accepted, Outcome, Said};
use super::connection::{self, Slot};
use super::job::{Job, Work};
use super::order::{Order, Turn};
use super::request::Requests;
use super::tally::Tally;
use crate::acks::{Ack, AckWriter, OrderAck};
use crate::random::mix;
use crate::scenario::{RedeemPlan, ShopPlan};

/// Connections being made at the same time, while the server answers.
const CONNECTING_MAX: usize = 32;
const RETRY_FIRST: Duration = Duration::from_millis(50);
const RETRY_DOUBLINGS: u32 = 5;

pub(crate) const NOT_SENT_OUTSTANDING: &str = "too many outstanding";
pub(crate) const NOT_SENT_WAITED: &str = "waited too long for a connection";
pub(crate) const NOT_SENT_NO_COUPON: &str = "no coupon to redeem";
pub(crate) const NOT_SENT_ENDED: &str = "the run ended first";

/// What does not change during a run.
pub(crate) struct Settings {
    pub(crate) started: Instant,
    pub(crate) addresses: Vec<SocketAddr>,
    pub(crate) connections_max: usize,
    pub(crate) max_outstanding: usize,
    pub(crate) timeout: Duration,
    pub(crate) retry_unknown: bool,
    pub(crate) redeem: Option<RedeemPlan>,
    pub(crate) shop: Option<ShopPlan>,
    pub(crate) seed: u64,
}

pub(crate) struct Core {
    pub(crate) settings: Settings,
    pub(crate) requests: RefCell<Requests>,
    state: RefCell<State>,
    /// The run is over: nothing is sent any more, and nothing follows from an outcome.
    closing: Cell<bool>,
}

pub(crate) struct State {
    queue: VecDeque<Job>,
    slots: Vec<Rc<Slot>>,
    idle: Vec<Rc<Slot>>,
    later: BinaryHeap<Reverse<Later>>,
    later_number: u64,
    order: Order,
    outstanding: usize,
    live: usize,
    connecting: usize,
    down_since_ns: Option<u64>,
    pub(crate) outages: Vec<(u64, Option<u64>)>,
    pub(crate) acks: Option<AckWriter>,
    pub(crate) tally: Tally,
}

/// A job for a later moment: a redeem after its issue, or a retry.
struct Later {
    due_ns: u64,
    number: u64,
    /// A retry was offered before and keeps its intended arrival.
    retry: bool,
    job: Job,
}

impl PartialEq for Later {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}
impl Eq for Later {}
impl PartialOrd for Later {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Later {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.due_ns, self.number).cmp(&(other.due_ns, other.number))
    }
}

impl Core {
    pub(crate) fn new(settings: Settings, requests: Requests, acks: Option<AckWriter>) -> Rc<Self> {
        Rc::new(Self {
            settings,
            requests: RefCell::new(requests),
            closing: Cell::new(false),
            state: RefCell::new(State {
                queue: VecDeque::new(),
                slots: Vec::new(),
                idle: Vec::new(),
                later: BinaryHeap::new(),
                later_number: 0,
                order: Order::default(),
                outstanding: 0,
                live: 0,
                connecting: 0,
                down_since_ns: None,
                outages: Vec::new(),
                acks,
                tally: Tally::new(),
            }),
        })
    }

    /// Nanoseconds since the start.
    pub(crate) fn now_ns(&self) -> u64 {
        // A run is bounded to days; u64 nanoseconds hold 584 years.
        self.settings.started.elapsed().as_nanos() as u64
    }

    pub(crate) fn state(&self) -> RefMut<'_, State> {
        self.state.borrow_mut()
    }

    /// An arrival is due: count it, and send it as soon as a connection is free.
    pub(crate) fn offer(self: &Rc<Self>, job: Job) {
        let mut state = self.state();
        state.tally.offered(&job, self.now_ns());
        state.outstanding += 1;
        if state.outstanding > self.settings.max_outstanding {
            drop(state);
            // It never took its member's turn, so it must not end anybody's turn either.
            self.end(&job, Outcome::NotSent(NOT_SENT_OUTSTANDING));
            return;
        }
        let turn = state.order.arrive(job);
        drop(state);
        self.take_turns(Some(turn));
    }

    /// Sends a member's next step. Steps that cannot be sent end here, one after the other, and never by recursion:
    /// a trace may hold a hundred thousand of them for one member.
    fn take_turns(self: &Rc<Self>, mut turn: Option<Turn>) {
        while let Some(now) = turn {
            let (job, why) = match now {
                Turn::Wait => return,
                Turn::Go(job) if !self.closing.get() => return self.enqueue(job),
                Turn::Go(job) => (job, NOT_SENT_ENDED),
                Turn::NothingToRedeem(job) => (job, NOT_SENT_NO_COUPON),
            };
            self.end(&job, Outcome::NotSent(why));
            turn = self.state().order.ended(&job.member);
        }
    }

    /// Gives a job to an idle connection, or lets it wait for one.
    fn enqueue(self: &Rc<Self>, job: Job) {
        let mut state = self.state();
        if let Some(slot) = state.idle.pop() {
            slot.give(job);
            return;
        }
        state.queue.push_back(job);
        drop(state);
        self.grow();
    }

    /// Opens connections while jobs wait. Only one tries while the server does not answer.
    pub(crate) fn grow(self: &Rc<Self>) {
        let mut state = self.state();
        let connecting_max = if state.down_since_ns.is_some() { 1 } else { CONNECTING_MAX };
        while state.connecting < state.queue.len().min(connecting_max)
            && state.live < self.settings.connections_max
            && !self.closing.get()
        {
            state.connecting += 1;
            state.live += 1;
            tokio::task::spawn_local(connection::run(Rc::clone(self)));
        }
    }

    /// A connection stands.
    pub(crate) fn connected(self: &Rc<Self>, slot: &Rc<Slot>) {
        let mut state = self.state();
        state.connecting -= 1;
        state.slots.push(Rc::clone(slot));
        state.tally.connections_made += 1;
        let standing = state.live - state.connecting;
        state.tally.connections_peak = state.tally.connections_peak.max(standing);
        if state.down_since_ns.take().is_some()
            && let Some(outage) = state.outages.last_mut()
        {
            outage.1 = Some(self.now_ns());
        }
        drop(state);
        self.grow();
    }

    /// A connection could not be made. Says whether to try again.
    pub(crate) fn connect_failed(&self, why: &'static str) -> bool {
        let now_ns = self.now_ns();
        let mut state = self.state();
        *state.tally.connect_failures.entry(why).or_default() += 1;
        if state.down_since_ns.is_none() {
            state.down_since_ns = Some(now_ns);
            state.outages.push((now_ns, None));
        }
        // One of the waiting is enough to find out when the server is back.
        let again = state.connecting == 1 && !state.queue.is_empty() && !self.closing.get();
        if !again {
            state.connecting -= 1;
            state.live -= 1;
        }
        again
    }

    /// A connection that stood is gone.
    pub(crate) fn disconnected(self: &Rc<Self>, slot: &Rc<Slot>) {
        let mut state = self.state();
        state.live -= 1;
        state.idle.retain(|other| !Rc::ptr_eq(other, slot));
        state.slots.retain(|other| !Rc::ptr_eq(other, slot));
        drop(state);
        self.grow();
    }

    /// The next job for a connection whose last one ended; without one it becomes idle.
    pub(crate) fn next_job(self: &Rc<Self>, slot: &Rc<Slot>) -> Option<Job> {
        self.expire();
        let mut state = self.state();
        let job = state.queue.pop_front();
        if job.is_none() {
            state.idle.push(Rc::clone(slot));
        }
        job
    }

    /// A job comes back unsent because its connection closed first; it goes to the head of the queue.
    pub(crate) fn give_back(self: &Rc<Self>, job: Job) {
        self.state().queue.push_front(job);
        self.grow();
    }

    pub(crate) fn sent(&self) {
        self.state().tally.requests_sent += 1;
    }

    /// A request ended: count it, record it, and start what follows from it.
    pub(crate) fn settle(self: &Rc<Self>, mut job: Job, outcome: Outcome) {
        if let Outcome::Unknown(why) = outcome
            && self.settings.retry_unknown
            && !self.closing.get()
        {
            let wait = RETRY_FIRST * 2_u32.pow(job.attempts.min(RETRY_DOUBLINGS));
            *self.state().tally.retried.entry(why).or_default() += 1;
            job.attempts += 1;
            self.push_later(self.now_ns() + wait.as_nanos() as u64, true, job);
            return;
        }
        if let Outcome::Accepted(accepted) = &outcome {
            self.record(&job, accepted);
            self.plan_redeem(&job, accepted);
            if let (Work::Issue { .. }, Said::Coupon { code, .. }) = (&job.work, &accepted.said) {
                self.state().order.issued(&job.member, job.campaign, code);
            }
        }
        self.go_on(&job, &outcome);
        self.end(&job, outcome);
        let next = self.state().order.ended(&job.member);
        self.take_turns(next);
    }

    fn end(&self, job: &Job, outcome: Outcome) {
        // An attempt that was sent once may have happened, whatever became of the later ones.
        let outcome = match outcome {
            Outcome::NotSent(_) if job.attempts > 0 => Outcome::Unknown("not answered before the end"),
            other => other,
        };
        let now_ns = self.now_ns();
        let mut state = self.state();
        state.outstanding -= 1;
        state.tally.ended(job, &outcome, now_ns);
    }

    fn record(&self, job: &Job, accepted: &Accepted) {
        let mut state = self.state();
        let Some(acks) = &mut state.acks else { return };
        let requests = self.requests.borrow();
        let (action, status, seq) = (job.action().word(), accepted.status, accepted.seq);
        let (member, key) = (requests.member_id(job), requests.key(job));
        match &accepted.said {
            Said::Coupon { coupon, code } => acks.push(&Ack {
                action,
                status,
                campaign: requests.campaign_id(job.campaign),
                member: &member,
                coupon,
                code,
                seq,
                key: key.as_deref(),
            }),
            Said::Order(said) => acks.push(&OrderAck {
                action,
                status,
                order: &said.order,
                member: &member,
                state: &said.state,
                total: said.total,
                refunds_done: said.refunds_done,
                refund: said.refund.as_deref(),
                seq,
                key: key.as_deref(),
            }),
            Said::Quote { .. } | Said::Nothing => {}
        }
    }

    /// What follows in a visit to the shop.
    fn go_on(&self, job: &Job, outcome: &Outcome) {
        let (Work::Visit(visit), Some(plan)) = (&job.work, &self.settings.shop) else { return };
        let follow = visit.follow(outcome, plan);
        for mark in &follow.marks {
            self.state().tally.mark(*mark);
        }
        for (wait, visit) in follow.next {
            let due_ns = self.now_ns() + wait.as_nanos() as u64;
            let (number, campaign, member) = (job.number, job.campaign, job.member.clone());
            let work = Work::Visit(Box::new(visit));
            self.push_later(due_ns, false, Job { due_ns, number, campaign, member, work, attempts: 0 });
        }
    }

    /// Plans the redeem of a newly issued coupon, for the share of coupons the scenario says.
    fn plan_redeem(&self, job: &Job, accepted: &Accepted) {
        let Some(plan) = self.settings.redeem else { return };
        if !matches!(job.work, Work::Issue { .. }) || accepted.status != 201 {
            return;
        }
        // Drawn from the press's number, not from a stream: the order of answers must not change who redeems.
        let drawn = mix(self.settings.seed ^ mix(job.number));
        if (drawn >> 11) as f64 / (1_u64 << 53) as f64 >= plan.share {
            return;
        }
        let spread_ns = (u128::from(mix(drawn)) * plan.spread.as_nanos()) >> 64;
        let due_ns = self.now_ns() + plan.after.as_nanos() as u64 + spread_ns as u64;
        let Said::Coupon { code, .. } = &accepted.said else { return };
        let work = Work::Redeem { code: code.clone() };
        let redeem = Job {
            due_ns,
            number: job.number,
            campaign: job.campaign,
            member: job.member.clone(),
            work,
            attempts: 0,
        };
        self.push_later(due_ns, false, redeem);
    }

    fn push_later(&self, due_ns: u64, retry: bool, job: Job) {
        let mut state = self.state();
        let number = state.later_number;
        state.later_number += 1;
        state.later.push(Reverse(Later { due_ns, number, retry, job }));
    }

    /// When the next planned redeem or retry is due.
    pub(crate) fn later_due_ns(&self) -> Option<u64> {
        self.state().later.peek().map(|Reverse(later)| later.due_ns)
    }

    /// Releases planned redeems and retries that are due.
    pub(crate) fn release_later(self: &Rc<Self>) {
        let now_ns = self.now_ns();
        while self.later_due_ns().is_some_and(|due_ns| due_ns <= now_ns) {
            let Some(Reverse(later)) = self.state().later.pop() else { return };
            if later.retry { self.enqueue(later.job) } else { self.offer(later.job) }
        }
    }

    /// Ends what has waited for a connection longer than the timeout.
    pub(crate) fn expire(self: &Rc<Self>) {
        let limit_ns = self.settings.timeout.as_nanos() as u64;
        let now_ns = self.now_ns();
        loop {
            let mut state = self.state();
            // A retry waits for as long as the run lasts: its outcome matters more than its age.
            let expired =
                state.queue.front().is_some_and(|job| job.attempts == 0 && job.due_ns + limit_ns < now_ns);
            if !expired {
                return;
            }
            let Some(job) = state.queue.pop_front() else { return };
            drop(state);
            self.settle(job, Outcome::NotSent(NOT_SENT_WAITED));
        }
    }

    /// Cuts requests that have been under way longer than the timeout, and hands acknowledgements to their thread.
    pub(crate) fn housekeeping(self: &Rc<Self>) {
        self.expire();
        let now_ns = self.now_ns();
        let limit_ns = self.settings.timeout.as_nanos() as u64;
        let mut state = self.state();
        for slot in &state.slots {
            if slot.sent_ns().is_some_and(|sent_ns| sent_ns + limit_ns < now_ns) {
                slot.cut("timeout");
            }
        }
        if let Some(acks) = &mut state.acks {
            acks.flush();
        }
    }

    /// Arrivals that have not ended yet.
    pub(crate) fn outstanding(&self) -> usize {
        self.state().outstanding
    }

    /// Whether nothing is under way or planned.
    pub(crate) fn at_rest(&self) -> bool {
        let state = self.state();
        state.outstanding == 0 && state.later.is_empty()
    }

    /// Ends the run: what waits was not sent, what is under way becomes unknown once its connection is cut.
    pub(crate) fn close(self: &Rc<Self>) {
        self.closing.set(true);
        loop {
            let job = self.state().queue.pop_front();
            let Some(job) = job else { break };
            self.settle(job, Outcome::NotSent(NOT_SENT_ENDED));
        }
        let later = std::mem::take(&mut self.state().later);
        for Reverse(later) in later.into_vec() {
            // A planned redeem that was never offered simply does not take place.
            if later.retry {
                self.settle(later.job, Outcome::NotSent(NOT_SENT_ENDED));
            }
        }
        let state = self.state();
        for slot in &state.slots {
            slot.cut("the run ended first");
        }
    }
}
