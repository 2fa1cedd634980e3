//! The auditor: holds every answer against the log, and the log against its own [`Model`].
//!
//! It sees what clients see (requests, answers, summaries) and what the log confirms, in order. It does not see the state
//! of the engine but to compare it. Everything it objects to is a bug.

use crate::judge::fits;
use crate::model::{Model, Objection};
use crate::workload::Request;
use banyan_domain::coupon::{
    CodeKey, Command as CouponCommand, CouponAnswer, EndCause, Event as CouponEvent,
    Outcome as CouponOutcome, Refusal as No, ReleaseCause,
};
use banyan_domain::{
    CampaignNo, Command, CouponId, Digest, Entry, Event, Outcome, Refusal, State, Timestamp, limits, order,
    pay, saga, stock,
};
use banyan_engine::{Answer, Summary};
use std::collections::BTreeMap;

/// Events of one block, as read back from the log.
#[derive(Clone, Debug)]
pub(crate) struct Events {
    pub(crate) time: u64,
    pub(crate) first_seq: u64,
    pub(crate) entries: Vec<Entry>,
}

/// A block whose append was begun and whose outcome is not known.
#[derive(Clone, Debug)]
pub(crate) struct Attempted {
    pub(crate) time: u64,
    pub(crate) entries: Vec<Entry>,
    pub(crate) digest: Digest,
}

/// What sagas did in this store and no step has claimed yet.
#[derive(Debug, Default)]
struct Chain {
    effects: Vec<Event>,
}

impl Chain {
    const fn is_whole(&self) -> bool {
        self.effects.is_empty()
    }

    fn end(&self) -> Result<(), Objection> {
        object_unless!(self.is_whole(), "{:?} is of no step", self.effects);
        Ok(())
    }
}

/// What was found out about the block in flight when the process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// There was none.
    None,
    /// It is in the log.
    Stored,
    /// It is not.
    Gone,
}

/// The auditor.
#[derive(Debug, Default)]
pub(crate) struct Auditor {
    pub(crate) model: Model,
    /// Every confirmed event with the time of its block.
    history: Vec<(u64, Entry)>,
    /// Digest of the live state at the end of each confirmed block.
    digests: BTreeMap<u64, Digest>,
    /// Codes that were told, by coupon.
    codes: BTreeMap<u64, [u8; 15]>,
    /// What was told first under each key and request that did something or had nothing to do, and when.
    told: BTreeMap<(u64, u64, u64), (u64, Outcome)>,
    attempted: Option<Attempted>,
    /// Events that no command asked for.
    pub(crate) by_time: u64,
    /// Keys kept for answers that changed nothing.
    pub(crate) kept: u64,
}

impl Auditor {
    /// Notes that the append of a block was begun, and that the process ended before it was confirmed.
    pub(crate) fn attempted(&mut self, attempted: Attempted) {
        self.attempted = Some(attempted);
    }

    /// A block was confirmed and its answers were released, in the order in which they were decided. Without `events`, the
    /// block was not logged, and holds nothing but refusals and repeated answers, given at `time`. Its first `due` events are
    /// those that time brought, before any command.
    pub(crate) fn released(
        &mut self,
        time: u64,
        events: Option<Events>,
        digest: Digest,
        due: u32,
        answers: &[(&Request, Answer)],
    ) -> Result<(), Objection> {
        let mut entries = Vec::new();
        let logged = events.is_some();
        if let Some(events) = events {
            let next = self.model.seq + 1;
            object_unless!(
                events.first_seq == next,
                "the log goes on at {}, not at {next}",
                events.first_seq
            );
            object_unless!(
                events.time == time,
                "a block decided at {time} is stamped {} in the log",
                events.time
            );
            entries = events.entries;
        }
        let mut entries = entries.into_iter();
        let mut chain = Chain::default();
        for entry in entries.by_ref().take(due as usize) {
            if chain.is_whole() && is_due_by_time(&entry.event) {
                self.confirm(time, entry)?;
            } else {
                self.follows(time, entry, &mut chain)?;
            }
            self.by_time += 1;
        }
        chain.end()?;
        for (request, answer) in answers {
            match answer {
                Answer::StorageFull => {}
                Answer::Refused(refusal) => self.refused(time, request, *refusal)?,
                Answer::Done { outcome, seq, replayed: true } => {
                    self.repeated(time, request, outcome, *seq, &mut entries)?;
                }
                Answer::Done { outcome, seq, replayed: false } => {
                    self.done(time, request, outcome, *seq, &mut entries)?;
                }
            }
            if let Answer::Done { outcome, .. } = answer {
                self.same_as_told(time, request, outcome)?;
            }
        }
        object_unless!(entries.next().is_none(), "the log has an event that nobody asked for");
        if logged {
            self.model.overdue(time)?;
            self.digests.insert(self.model.seq, digest);
        }
        Ok(())
    }

    /// A reader saw `summary`.
    pub(crate) fn read(&self, summary: &Summary) -> Result<(), Objection> {
        let head = self.model.seq;
        object_unless!(
            summary.seq <= head,
            "readers see event {}, the log is durable up to {head}",
            summary.seq
        );
        object_unless!(
            summary.seq == head,
            "readers see event {} after block {head} was released",
            summary.seq
        );
        object_unless!(summary.campaigns().len() == self.model.campaigns.len(), "readers miss a campaign");
        for (seen, campaign) in summary.campaigns().zip(&self.model.campaigns) {
            let id = &campaign.definition.id;
            let same = seen.totals == campaign.totals()
                && seen.definition == campaign.definition
                && seen.ended_at.map(Timestamp::as_millis) == campaign.ended_at
                && (campaign.retired || seen.paused == campaign.paused)
                && seen.retired == campaign.retired
                && (campaign.retired || seen.allowed == campaign.listed.len() as u64);
            object_unless!(same, "readers see campaign {id} as {seen:?}, the log says {campaign:?}");
        }
        Ok(())
    }

    /// The log was opened again and holds `blocks`; `state` is what the engine made of it.
    pub(crate) fn restarted(&mut self, blocks: &[Events], state: &State) -> Result<Fate, Objection> {
        let found: Vec<(u64, &Entry)> =
            blocks.iter().flat_map(|block| block.entries.iter().map(|entry| (block.time, entry))).collect();
        let known = self.history.len();
        object_unless!(
            found.len() >= known,
            "{} events of {known} that were confirmed are left after the restart",
            found.len()
        );
        for (seq, ((time, entry), (then, before))) in (1..).zip(found.iter().zip(&self.history)) {
            object_unless!(
                time == then && *entry == before,
                "event {seq} was {before:?} at {then} and is {entry:?} at {time} after the restart"
            );
        }
        let extra = &found[known..];
        let attempted = self.attempted.take();
        let fate = match (&attempted, extra.is_empty()) {
            (None, _) => Fate::None,
            (Some(_), true) => Fate::Gone,
            (Some(_), false) => Fate::Stored,
        };
        // The very first start of all stores the creation of the store itself.
        if known > 0 && !extra.is_empty() {
            let expected = attempted.as_ref().map_or(&[][..], |block| &block.entries);
            let time = attempted.as_ref().map_or(0, |block| block.time);
            let same = extra.len() == expected.len() && extra.iter().zip(expected).all(|((_, a), b)| *a == b);
            object_unless!(
                same && extra.iter().all(|(at, _)| *at == time),
                "the log has a block that nobody appended"
            );
        }
        for (time, entry) in extra {
            self.confirm(*time, (*entry).clone())?;
        }
        if let (Some(block), Fate::Stored) = (attempted, fate) {
            self.model.overdue(block.time)?;
            self.digests.insert(self.model.seq, block.digest);
        }
        self.compare(state)?;
        Ok(fate)
    }

    /// Compares the engine's state with what the log must give.
    pub(crate) fn compare(&self, state: &State) -> Result<(), Objection> {
        object_unless!(
            state.seq() == self.model.seq,
            "the state is at {}, the log at {}",
            state.seq(),
            self.model.seq
        );
        if let Some(digest) = self.digests.get(&state.seq()) {
            object_unless!(*digest == state.digest(), "the state after a replay differs from the live one");
        }
        state
            .check_invariants()
            .map_err(|violation| format!("an invariant of the state is broken: {violation}"))?;
        for (no, campaign) in (1..).zip(&self.model.campaigns) {
            let id = &campaign.definition.id;
            let Some(hot) = state.coupons().campaign_no(CampaignNo::new(no)) else {
                let retired = state.coupons().retired_no(CampaignNo::new(no));
                let same =
                    campaign.retired && retired.is_some_and(|retired| retired.totals == campaign.totals());
                object_unless!(same, "campaign {id} is retired as {retired:?}, the log says {campaign:?}");
                continue;
            };
            let same = !campaign.retired
                && hot.totals() == campaign.totals()
                && *hot.definition() == campaign.definition;
            object_unless!(
                same,
                "campaign {id} is {:?} in the state and {campaign:?} in the log",
                hot.totals()
            );
            for ((n, row), coupon) in hot.rows().zip(&campaign.coupons) {
                let order = hot.hold(n).map(|hold| &hold.order).or(hot.redemption(n).map(|used| &used.order));
                let same = row.state == coupon.state
                    && row.seq == coupon.seq
                    && row.issued_at.as_millis() == coupon.issued_at
                    && hot.members().id(row.member) == coupon.member.as_str()
                    && order == coupon.order.as_ref()
                    && hot.hold(n).map(|hold| hold.until.as_millis()) == coupon.held_until;
                object_unless!(same, "coupon {n} of {id} is {row:?} in the state and {coupon:?} in the log");
            }
        }
        self.model.compare_shop(state)?;
        let codes = CodeKey::new(state.keys());
        for (coupon, told) in &self.codes {
            let coupon = CouponId::from_u64(*coupon).ok_or("a coupon of more than 60 bits was told")?;
            object_unless!(codes.code(coupon).written() == *told, "coupon {coupon:?} has another code now");
        }
        Ok(())
    }

    /// The model as of `seq`.
    pub(crate) fn model_at(&self, seq: u64) -> Result<Model, Objection> {
        object_unless!(seq as usize <= self.history.len(), "event {seq} was shown, and is not durable");
        let mut model = Model::default();
        for (time, entry) in &self.history[..seq as usize] {
            model.apply(*time, entry)?;
        }
        Ok(model)
    }

    /// Notes the code told for a coupon.
    pub(crate) fn told_code(&mut self, coupon: CouponId, code: [u8; 15]) {
        self.codes.entry(coupon.get()).or_insert(code);
    }

    fn confirm(&mut self, time: u64, entry: Entry) -> Result<Option<Outcome>, Objection> {
        let outcome = self.model.apply(time, &entry)?;
        self.history.push((time, entry));
        Ok(outcome)
    }

    /// A command was carried out: its events come next, the last one at `seq`.
    fn done(
        &mut self,
        time: u64,
        request: &Request,
        outcome: &Outcome,
        seq: u64,
        entries: &mut impl Iterator<Item = Entry>,
    ) -> Result<(), Objection> {
        let command = &request.command;
        if let Some(key) = request.stamp.as_ref().and_then(|stamp| self.model.key(stamp, time)) {
            return Err(format!(
                "{command:?} was carried out again at {seq}; under its key it was at {}",
                key.seq
            ));
        }
        if let Command::Coupon(CouponCommand::ReleaseCoupon { coupon, order, .. }) = command {
            let held = self.model.coupon(*coupon).and_then(|(_, coupon)| coupon.order.clone());
            object_unless!(held.as_ref() == Some(order), "{order} released what {held:?} held");
        }
        let mut told = None;
        let mut last = None;
        let mut chain = Chain::default();
        let mut whole = false;
        while self.model.seq < seq {
            let Some(entry) = entries.next() else {
                let head = self.model.seq;
                return Err(format!(
                    "{command:?} was answered with event {seq}, the log is durable up to {head}"
                ));
            };
            // A command to a saga has one event of its own, one about an order ends with the order's; the sagas go on by
            // themselves from there.
            if whole {
                self.follows(time, entry, &mut chain)?;
                continue;
            }
            object_unless!(
                fits(command, &entry.event, time, &self.model),
                "{command:?} came to {:?}",
                entry.event
            );
            last = Some(entry.stamp);
            whole = match command {
                Command::Saga(_) => true,
                Command::Order(_) => matches!(entry.event, Event::Order(_)),
                Command::Coupon(_) | Command::Stock(_) | Command::Pay(_) | Command::Legacy(_) => false,
            };
            told = self.confirm(time, entry)?;
        }
        chain.end()?;
        object_unless!(last == Some(request.stamp), "{command:?} was stored with the key {last:?}");
        object_unless!(
            told.as_ref() == Some(outcome),
            "{command:?} was answered {outcome:?}, the log says {told:?}"
        );
        Ok(())
    }

    /// An event that a saga brought about by itself: one of its own, or what it did in this store, which its own event
    /// comes right after.
    fn follows(&mut self, time: u64, entry: Entry, chain: &mut Chain) -> Result<(), Objection> {
        object_unless!(entry.stamp.is_none(), "what a saga did has an idempotency key: {:?}", entry.event);
        let (event, seq) = (entry.event.clone(), self.model.seq + 1);
        self.confirm(time, entry)?;
        let local = match &event {
            Event::Saga(saga::Event::Defined { .. } | saga::Event::Started { .. }) => {
                return Err(format!("event {seq} begins a saga that nobody asked for"));
            }
            Event::Saga(event) => Some(self.model.sagas.local(event).is_some()),
            Event::Coupon(_) | Event::Stock(_) | Event::Pay(_) => None,
            Event::Order(
                order::Event::Paid { .. }
                | order::Event::Failed { .. }
                | order::Event::RefundDone { .. }
                | order::Event::RefundRefused { .. },
            ) => None,
            other => return Err(format!("event {seq} was asked for by nobody: {other:?}")),
        };
        match local {
            None => chain.effects.push(event),
            Some(local) => {
                object_unless!(local || chain.is_whole(), "{:?} is of no step", chain.effects);
                chain.effects.clear();
            }
        }
        Ok(())
    }

    /// Holds a client's view of its keys: what it was told under a key, it is told again.
    fn same_as_told(&mut self, time: u64, request: &Request, outcome: &Outcome) -> Result<(), Objection> {
        let Some(stamp) = request.stamp else { return Ok(()) };
        // A key counts from when it was stored, which a crash can put long before the first answer that arrives.
        let since = self.model.key(&stamp, time).map_or(time, |key| key.at);
        let fresh = (since, outcome.clone());
        let told = self.told.entry((stamp.high, stamp.low, stamp.request)).or_insert_with(|| fresh.clone());
        if told.0 + limits::IDEMPOTENCY_HORIZON_MILLIS <= time {
            *told = fresh;
        }
        let (command, told) = (&request.command, &told.1);
        object_unless!(told == outcome, "{command:?} was told {told:?} under its key, and then {outcome:?}");
        Ok(())
    }

    /// Nothing was done: the answer was given before, or things were that way. The latter is stored if there is a key, as
    /// the next event; only whoever has its only coupon is told so without.
    fn repeated(
        &mut self,
        time: u64,
        request: &Request,
        outcome: &Outcome,
        seq: u64,
        entries: &mut impl Iterator<Item = Entry>,
    ) -> Result<(), Objection> {
        let Request { command, stamp, .. } = request;
        let known = stamp.and_then(|stamp| self.model.key(&stamp, time).map(|key| (stamp, key)));
        let (first, first_seq) = if let Some((stamp, key)) = known {
            object_unless!(key.request == stamp.request, "{command:?} got the answer of another request");
            (Some(key.outcome.clone()), key.seq)
        } else {
            let (first, mut first_seq) = self.model.natural(command).unzip();
            if stamp.is_some() && !matches!(command, Command::Coupon(CouponCommand::IssueCoupon { .. })) {
                let entry = entries.next();
                let kept = entry
                    .filter(|entry| matches!(entry.event, Event::KeyKept { .. }) && entry.stamp == *stamp);
                let Some(entry) = kept else {
                    return Err(format!(
                        "{command:?} was answered again with {outcome:?} and its key not kept"
                    ));
                };
                let kept = self.confirm(time, entry)?;
                object_unless!(
                    kept == first,
                    "{command:?} keeps {kept:?} under its key; the log says {first:?}"
                );
                self.kept += 1;
                first_seq = Some(self.model.seq);
            }
            (first, first_seq.unwrap_or(0))
        };
        object_unless!(
            first.as_ref() == Some(outcome) && first_seq == seq,
            "{command:?} was answered again with {outcome:?} at {seq}; the log says {first:?} at {first_seq}"
        );
        Ok(())
    }

    /// A refusal must be true at the moment it was decided, and may rest on durable events only.
    fn refused(&self, now: u64, request: &Request, refusal: Refusal) -> Result<(), Objection> {
        let Request { command, stamp, .. } = request;
        let key = stamp.as_ref().and_then(|stamp| self.model.key(stamp, now));
        let first = key.filter(|key| stamp.as_ref().is_some_and(|stamp| stamp.request == key.request));
        // An answer about a coupon or a reservation can outlive it, if nothing was done, and cannot be given any more then.
        let gone = first.is_some_and(|first| match (refusal, &first.outcome) {
            (
                Refusal::Coupon(No::CouponNotFound),
                Outcome::Coupon(CouponOutcome::Coupon(CouponAnswer { coupon, .. })),
            ) => self.model.coupon(*coupon).is_none(),
            (
                Refusal::Stock(stock::Refusal::ReservationNotFound),
                Outcome::Stock(stock::Outcome::Reservation(answer)),
            ) => {
                let found = self.model.stock.reservation(answer.reservation);
                found.is_some_and(|found| found.at + limits::RESERVATION_KEPT_MILLIS <= now)
            }
            _ => false,
        });
        if let Some(first) = first.filter(|_| !gone) {
            return Err(format!(
                "{command:?} was refused ({refusal}) after it was carried out at {}",
                first.seq
            ));
        }
        let justified = match refusal {
            Refusal::KeyReused => key.is_some(),
            Refusal::KeysFull => false,
            no => (key.is_none() || gone) && self.model.justified(now, command, no),
        };
        object_unless!(
            justified,
            "{command:?} was refused ({refusal}) at {now}, which is not so: {:?}",
            self.model.about(command)
        );
        Ok(())
    }
}

/// Whether an event is one that no command asks for.
fn is_due_by_time(event: &Event) -> bool {
    match event {
        Event::StoreCreated { .. } => false,
        Event::StateDigested { .. } => true,
        Event::KeyKept { .. } | Event::Saga(_) | Event::Order(_) | Event::Legacy(_) => false,
        Event::Stock(event) => matches!(event, stock::Event::ReservationExpired { .. }),
        Event::Pay(event) => matches!(event, pay::Event::HoldExpired { .. }),
        Event::Coupon(event) => matches!(
            event,
            CouponEvent::CampaignEnded { cause: EndCause::Window, .. }
                | CouponEvent::CampaignRetired { .. }
                | CouponEvent::CouponsExpired { .. }
                | CouponEvent::CouponReleased { cause: ReleaseCause::Deadline, .. }
        ),
    }
}

/// The coupon that an answer is about, if any.
pub(crate) fn coupon_of(answer: &Answer) -> Option<&CouponAnswer> {
    match answer {
        Answer::Done { outcome: Outcome::Coupon(CouponOutcome::Coupon(coupon)), .. } => Some(coupon),
        _ => None,
    }
}
