//! The auditor's own book: one plain table per campaign, filled from the log and checked at every line.

use super::ledger::LedgerBook;
use super::legacy::LegacyBook;
use super::orders::{OrderBook, Others};
use super::sagas::{SagaBook, Taken};
use super::stock::StockBook;
use super::{Findings, Fingerprint, Followed, Kind, ensure, fingerprint};
use banyan_domain::coupon::{Audience, CampaignDefinition, CodeKey, Event, ReleaseCause, Totals};
use banyan_domain::{
    CampaignNo, CouponId, Entry, Event as AnyEvent, KeyStamp, Millis, Timestamp, pay, saga, stock,
};
use std::collections::BTreeMap;

/// Longest hold the API gives, milliseconds.
const HOLD_MILLIS_MAX: u64 = 7 * 24 * 3_600 * 1_000;
/// How long an idempotency key must be remembered, milliseconds.
const KEY_MILLIS: u64 = 24 * 3_600 * 1_000;
/// A block with this many timer events may have left others to the next.
const TIMER_EVENTS_FULL: usize = 1_024;

/// Everything the auditor knows.
#[derive(Default)]
pub(crate) struct Book {
    pub findings: Findings,
    pub stock: StockBook,
    pub ledger: LedgerBook,
    pub sagas: SagaBook,
    pub orders: OrderBook,
    pub legacy: LegacyBook,
    campaigns: BTreeMap<u32, Campaign>,
    numbers: BTreeMap<String, u32>,
    codes: Option<CodeKey>,
    keys: Vec<(KeyStamp, u64, u64)>,
    seq: u64,
    time: u64,
    timers_in_block: usize,
}

/// One campaign's page.
struct Campaign {
    definition: CampaignDefinition,
    paused: bool,
    ended: bool,
    coupons: Vec<Coupon>,
    holds: BTreeMap<u64, (String, u64)>,
    allowed: Vec<(Fingerprint, u64)>,
    expired_to: u64,
}

/// One coupon's line. Its number is its place.
#[derive(Clone, Copy)]
pub(crate) struct Coupon {
    pub member: Fingerprint,
    pub issued_at: u64,
    pub seq: u64,
    pub state: State,
    /// Whether it was ever held.
    pub was_held: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    Free,
    Held,
    Redeemed,
    Revoked,
    Expired,
}

impl Book {
    /// Begins a block. False if its time lies before that of the block in front of it.
    pub(crate) fn begin_block(&mut self, first_seq: u64, time: u64) -> bool {
        let back = time < self.time;
        if back {
            let what = format!("the block's time is {time} ms, the one before has {} ms", self.time);
            self.findings.add(first_seq, Kind::Order, what);
        }
        self.time = self.time.max(time);
        self.timers_in_block = 0;
        !back
    }

    /// Follows one event.
    pub(crate) fn event(&mut self, seq: u64, entry: &Entry) {
        if seq != self.seq + 1 {
            self.findings.add(seq, Kind::Order, format!("event {seq} follows event {}", self.seq));
        }
        self.seq = seq;
        if let Some(stamp) = entry.stamp {
            self.keys.push((stamp, seq, self.time));
        }
        match &entry.event {
            AnyEvent::StoreCreated { secret } => self.codes = Some(CodeKey::new(&secret.keys())),
            // Compared by the replay through the rules: the auditor does not know how their state is hashed.
            AnyEvent::StateDigested { .. } => {}
            // Changes nothing but the keys, which were noted above.
            AnyEvent::KeyKept { .. } => {}
            AnyEvent::Coupon(event) => {
                if let Event::CouponReleased { coupon, cause: ReleaseCause::Restored, .. } = event {
                    self.orders.coupon_freed(*coupon);
                }
                self.coupon_event(seq, event);
            }
            AnyEvent::Legacy(event) => {
                let followed = self.legacy.follow(self.time, event, self.stock.items());
                self.note(seq, followed);
            }
            AnyEvent::Stock(event) => {
                self.timers_in_block += usize::from(matches!(event, stock::Event::ReservationExpired { .. }));
                let ending = self.stock.ending(event);
                let followed = self.legacy.check_stock(event, ending.as_ref());
                self.note(seq, followed);
                let waits = ending.is_some_and(|ending| self.legacy.may_wait(&ending.items));
                let followed = self.stock.follow(self.time, event, waits);
                self.note(seq, followed);
            }
            AnyEvent::Pay(event) => {
                self.timers_in_block += usize::from(matches!(event, pay::Event::HoldExpired { .. }));
                let followed = self.ledger.follow(self.time, event);
                self.note(seq, followed);
            }
            AnyEvent::Saga(event) => {
                // Most of them are no timers, but any may be: at worst a log that ends in a very full block is judged mildly.
                self.timers_in_block += 1;
                let followed = self.sagas.follow(self.time, event);
                self.note(seq, followed);
                self.check_given_back(seq, event);
            }
            AnyEvent::Order(event) => {
                let campaigns = &self.campaigns;
                let coupon = |id: CouponId| coupon_and_holder(campaigns, id);
                let (stock, ledger, sagas) = (&self.stock, &self.ledger, &self.sagas);
                let followed = self.orders.follow(event, &Others { stock, ledger, sagas, coupon: &coupon });
                self.note(seq, followed);
            }
        }
    }

    /// The coupon `n` of the campaign with the public id `id`.
    pub(crate) fn coupon(&self, id: &str, n: u64) -> Option<(CouponId, &Coupon)> {
        let no = *self.numbers.get(id)?;
        let coupon = self.campaigns.get(&no)?.coupons.get(usize::try_from(n.checked_sub(1)?).ok()?)?;
        Some((CouponId::new(CampaignNo::new(no), n), coupon))
    }

    /// The permutation of codes, once the store's creation was read.
    pub(crate) const fn codes(&self) -> Option<&CodeKey> {
        self.codes.as_ref()
    }

    /// The auditor's own totals of a campaign.
    pub(crate) fn totals(&self, no: u32) -> Option<Totals> {
        let campaign = self.campaigns.get(&no)?;
        let mut totals = Totals { issued: campaign.coupons.len() as u64, ..Totals::default() };
        for coupon in &campaign.coupons {
            match coupon.state {
                State::Free => {}
                State::Held => totals.held += 1,
                State::Redeemed => totals.redeemed += 1,
                State::Revoked => totals.revoked += 1,
                State::Expired => totals.expired += 1,
            }
        }
        Some(totals)
    }

    /// Numbers and ids of all campaigns.
    pub(crate) fn campaigns(&self) -> impl Iterator<Item = (u32, &str)> {
        self.campaigns.iter().map(|(no, campaign)| (*no, campaign.definition.id.as_str()))
    }

    /// Checks what only the whole log shows: members' limits, allow-lists, keys, and holds past their deadline.
    pub(crate) fn close(&mut self) {
        let may_be_late = self.timers_in_block >= TIMER_EVENTS_FULL;
        for campaign in self.campaigns.values() {
            campaign.check_members(&mut self.findings);
            for (n, (order, until)) in campaign.holds.iter().filter(|(_, (_, until))| *until <= self.time) {
                if !may_be_late {
                    let id = &campaign.definition.id;
                    let what =
                        format!("{id}-{n} is held for {order} until {until} ms, and it is {} ms", self.time);
                    self.findings.add(self.seq, Kind::Hold, what);
                }
            }
        }
        let at = (self.seq, self.time);
        self.stock.close(&mut self.findings, at, may_be_late, |items| self.legacy.may_wait(items));
        self.ledger.close(&mut self.findings, at, may_be_late);
        self.sagas.close(&mut self.findings, at, may_be_late);
        self.orders.close(&mut self.findings, self.seq, &self.sagas);
        self.keys.sort_unstable_by_key(|(stamp, seq, _)| (stamp.high, stamp.low, *seq));
        for pair in self.keys.windows(2) {
            let ((a, a_seq, a_time), (b, b_seq, b_time)) = (pair[0], pair[1]);
            if (a.high, a.low) == (b.high, b.low) && b_time < a_time + KEY_MILLIS {
                self.findings.add(
                    b_seq,
                    Kind::Key,
                    format!("the idempotency key of event {a_seq} was used again"),
                );
            }
        }
    }

    fn note(&mut self, seq: u64, followed: Followed) {
        if let Err((kind, what)) = followed {
            self.findings.add(seq, kind, what);
        }
    }

    /// A saga that was turned back has nothing left: not a reservation, not a hold of money.
    fn check_given_back(&mut self, seq: u64, event: &saga::Event) {
        let saga::Event::Ended { saga, end: saga::End::Compensated } = event else { return };
        for taken in self.sagas.taken(saga.get()) {
            let left = match taken {
                Taken::Reservation(no) => self.stock.is_held(no),
                Taken::Hold(no) => self.ledger.is_held(no),
            };
            if left {
                let what = format!("saga {} says that everything is undone, and {taken} is left", saga.get());
                self.findings.add(seq, Kind::Saga, what);
            }
        }
    }

    fn coupon_event(&mut self, seq: u64, event: &Event) {
        let (no, time) = (event.campaign().get(), self.time);
        if let Event::CampaignCreated { definition, .. } = event {
            if self.campaigns.contains_key(&no) || self.numbers.contains_key(definition.id.as_str()) {
                self.findings.add(
                    seq,
                    Kind::Lifecycle,
                    format!("campaign {} was created twice", definition.id),
                );
                return;
            }
            self.numbers.insert(definition.id.to_string(), no);
            self.campaigns.insert(no, Campaign::new(definition));
            return;
        }
        let Some(campaign) = self.campaigns.get_mut(&no) else {
            self.findings.add(seq, Kind::Lifecycle, format!("campaign {no} was never created"));
            return;
        };
        self.timers_in_block += usize::from(matches!(
            event,
            Event::CouponReleased { cause: ReleaseCause::Deadline, .. }
                | Event::CouponsExpired { .. }
                | Event::CampaignEnded { .. }
                | Event::CampaignRetired { .. }
        ));
        if let Err((kind, what)) = campaign.follow(seq, time, event, self.codes.as_ref()) {
            self.findings.add(seq, kind, format!("campaign {}: {what}", campaign.definition.id));
        }
    }
}

/// A coupon's line, and the order that holds it.
fn coupon_and_holder(campaigns: &BTreeMap<u32, Campaign>, id: CouponId) -> Option<(Coupon, Option<String>)> {
    let campaign = campaigns.get(&id.campaign().get())?;
    let coupon = campaign.coupons.get(usize::try_from(id.n().checked_sub(1)?).ok()?)?;
    Some((*coupon, campaign.holds.get(&id.n()).map(|(order, _)| order.clone())))
}

impl Campaign {
    fn new(definition: &CampaignDefinition) -> Self {
        Self {
            definition: definition.clone(),
            paused: false,
            ended: false,
            coupons: Vec::new(),
            holds: BTreeMap::new(),
            allowed: Vec::new(),
            expired_to: 0,
        }
    }

    fn follow(&mut self, seq: u64, time: u64, event: &Event, codes: Option<&CodeKey>) -> Followed {
        match event {
            Event::CouponIssued { coupon, member } => {
                let member = fingerprint(member.as_str());
                self.coupons.push(Coupon {
                    member,
                    issued_at: time,
                    seq,
                    state: State::Free,
                    was_held: false,
                });
                self.check_issue(time, *coupon, codes)
            }
            Event::CouponHeld { coupon, order, until, .. } => {
                let until = until.as_millis();
                let over = self.is_over(*coupon, time);
                self.change(*coupon, &[State::Free], State::Held)?;
                self.holds.insert(coupon.n(), (order.to_string(), until));
                ensure(!over, Kind::Lifecycle, || "an expired coupon was held".into())?;
                let fits = until > time && until <= time + HOLD_MILLIS_MAX;
                ensure(fits, Kind::Hold, || format!("a hold at {time} ms lasts until {until} ms"))
            }
            Event::CouponRedeemed { coupon, order } => {
                let (over, hold) = (self.is_over(*coupon, time), self.holds.remove(&coupon.n()));
                self.change(*coupon, &[State::Free, State::Held], State::Redeemed)?;
                match hold {
                    None => ensure(!over, Kind::Lifecycle, || "an expired coupon was redeemed".into()),
                    Some((holder, until)) => {
                        ensure(holder == order.as_str() && until > time, Kind::Hold, || {
                            format!(
                                "order {order} redeemed at {time} ms what is held for {holder} until {until} ms"
                            )
                        })
                    }
                }
            }
            Event::CouponReleased { coupon, cause: ReleaseCause::Restored, expired } => {
                let over = self.is_over(*coupon, time);
                self.change(
                    *coupon,
                    &[State::Redeemed],
                    if *expired { State::Expired } else { State::Free },
                )?;
                ensure(*expired == over, Kind::Lifecycle, || "a release got the coupon's expiry wrong".into())
            }
            Event::CouponReleased { coupon, cause, expired } => {
                let (over, hold) = (self.is_over(*coupon, time), self.holds.remove(&coupon.n()));
                self.change(*coupon, &[State::Held], if *expired { State::Expired } else { State::Free })?;
                ensure(*expired == over, Kind::Lifecycle, || {
                    "a release got the coupon's expiry wrong".into()
                })?;
                let due = hold.is_some_and(|(_, until)| until <= time);
                ensure(*cause == ReleaseCause::Asked || due, Kind::Hold, || "a hold lapsed too early".into())
            }
            Event::CouponRevoked { coupon, .. } => {
                self.holds.remove(&coupon.n());
                self.change(*coupon, &[State::Free, State::Held], State::Revoked)
            }
            Event::CouponsExpired { first, last, .. } => self.expire(time, *first, *last),
            Event::AllowListExtended { members, .. } => {
                self.allowed.extend(members.iter().map(|member| (fingerprint(member.as_str()), seq)));
                Ok(())
            }
            Event::CampaignQuantityChanged { quantity, .. } => {
                self.definition.quantity = Some(*quantity);
                let issued = self.coupons.len() as u64;
                ensure(*quantity >= issued, Kind::OverQuantity, || {
                    format!("{issued} issued, quantity now {quantity}")
                })
            }
            Event::CampaignExtended { ends_at, .. } => {
                self.definition.ends_at = Some(*ends_at);
                Ok(())
            }
            Event::CampaignPaused { .. } => {
                self.paused = true;
                Ok(())
            }
            Event::CampaignResumed { .. } => {
                self.paused = false;
                Ok(())
            }
            Event::CampaignEnded { .. } => {
                let twice = std::mem::replace(&mut self.ended, true);
                ensure(!twice, Kind::Lifecycle, || "it ended twice".into())
            }
            Event::CampaignRetired { .. } => {
                let open =
                    self.coupons.iter().filter(|c| matches!(c.state, State::Free | State::Held)).count();
                ensure(self.ended && open == 0, Kind::Lifecycle, || {
                    format!("it retired with {open} open coupons")
                })
            }
            Event::CampaignCreated { .. } => Ok(()),
        }
    }

    fn check_issue(&self, time: u64, coupon: CouponId, codes: Option<&CodeKey>) -> Followed {
        let issued = self.coupons.len() as u64;
        // Numbers that follow each other are unique; a code that leads back to its number is then unique as well.
        let n = coupon.n();
        ensure(n == issued, Kind::Code, || format!("coupon {n} is the {issued}. to be issued"))?;
        let unique = codes.is_some_and(|codes| codes.coupon(codes.code(coupon)) == coupon);
        ensure(unique, Kind::Code, || format!("the code of coupon {n} does not lead back to it"))?;
        let quantity = self.definition.quantity.unwrap_or(u64::MAX);
        ensure(issued <= quantity, Kind::OverQuantity, || format!("{issued} coupons issued of {quantity}"))?;
        let millis = |at: Option<Timestamp>| at.map(Timestamp::as_millis);
        let started = millis(self.definition.starts_at).is_none_or(|start| start <= time);
        let over = self.ended || millis(self.definition.ends_at).is_some_and(|end| end <= time);
        ensure(started && !over && !self.paused, Kind::NotOpen, || {
            let paused = self.paused;
            format!("coupon {n} was issued at {time} ms (started: {started}, over: {over}, paused: {paused})")
        })
    }

    fn change(&mut self, coupon: CouponId, from: &[State], to: State) -> Followed {
        let n = coupon.n();
        let found = usize::try_from(n).ok().and_then(|n| self.coupons.get_mut(n.checked_sub(1)?));
        let Some(coupon) = found else {
            return Err((Kind::Lifecycle, format!("coupon {n} was never issued")));
        };
        let was = std::mem::replace(&mut coupon.state, to);
        coupon.was_held |= to == State::Held;
        ensure(from.contains(&was), Kind::Lifecycle, || format!("coupon {n} went from {was:?} to {to:?}"))
    }

    fn expire(&mut self, time: u64, first: u64, last: u64) -> Followed {
        let in_order = first == self.expired_to + 1 && last >= first && last <= self.coupons.len() as u64;
        ensure(in_order, Kind::Lifecycle, || format!("coupons {first} to {last} expired out of order"))?;
        self.expired_to = last;
        let valid_for = self.definition.valid_for.map_or(u64::MAX, Millis::get);
        let mut early = 0;
        for coupon in &mut self.coupons[first as usize - 1..last as usize] {
            if coupon.state == State::Free {
                coupon.state = State::Expired;
                early += u64::from(coupon.issued_at.saturating_add(valid_for) > time);
            }
        }
        ensure(early == 0, Kind::Lifecycle, || format!("{early} coupons expired before their time"))
    }

    fn is_over(&self, coupon: CouponId, time: u64) -> bool {
        let row = usize::try_from(coupon.n()).ok().and_then(|n| self.coupons.get(n.checked_sub(1)?));
        let valid_for = self.definition.valid_for;
        row.zip(valid_for).is_some_and(|(row, span)| row.issued_at.saturating_add(span.get()) <= time)
    }

    /// Counts each member's coupons, and looks each up on the allow-list as it was then.
    fn check_members(&self, findings: &mut Findings) {
        let id = &self.definition.id;
        let mut issued: Vec<(Fingerprint, u64)> = self.coupons.iter().map(|c| (c.member, c.seq)).collect();
        issued.sort_unstable();
        let limit = usize::from(self.definition.per_member);
        for of_one in issued.chunk_by(|a, b| a.0 == b.0) {
            for (_, seq) in of_one.iter().skip(limit) {
                let what = format!(
                    "campaign {id}: a member was issued {} coupons, the limit is {limit}",
                    of_one.len()
                );
                findings.add(*seq, Kind::OverLimit, what);
            }
        }
        if self.definition.audience != Audience::AllowList {
            return;
        }
        let mut allowed = self.allowed.clone();
        allowed.sort_unstable();
        allowed.dedup_by_key(|(member, _)| *member);
        for (member, seq) in &issued {
            let since = allowed.binary_search_by(|(other, _)| other.cmp(member)).map(|at| allowed[at].1);
            if since.is_err() || since.is_ok_and(|since| since > *seq) {
                let what = format!("campaign {id}: a coupon went to a member who was not on the allow-list");
                findings.add(*seq, Kind::NotAllowed, what);
            }
        }
    }
}
