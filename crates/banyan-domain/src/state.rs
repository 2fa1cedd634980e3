//! The state of one shard: every capability, the idempotency keys, and the time of the last block.

use crate::coupon::CouponState;
use crate::idempotency::Kept;
use crate::{
    Command, Decided, Digest, Entry, Event, IdempotencyTable, KeyStamp, Keys, Outcome, Refusal, Remembered,
    StoreSecret, Timestamp, coupon, digest, legacy, limits, order, pay, saga, stock,
};
use core::fmt;

/// Everything the rules know. Built from nothing by applying the log's entries in order.
#[derive(Clone, Debug)]
pub struct State {
    pub(crate) secret: StoreSecret,
    pub(crate) keys: Keys,
    pub(crate) coupons: coupon::Coupons,
    pub(crate) stock: stock::Stock,
    pub(crate) ledger: pay::Ledger,
    pub(crate) sagas: saga::Sagas,
    pub(crate) orders: order::Orders,
    pub(crate) legacy: legacy::Legacy,
    pub(crate) idempotency: IdempotencyTable,
    pub(crate) time: Timestamp,
    pub(crate) seq: u64,
}

/// What a command comes to, if it is not refused.
#[derive(Debug)]
pub enum Decision {
    /// One event, the usual case.
    One(Event),
    /// Several events, all or none. Never empty.
    Many(Vec<Event>),
    /// Nothing new: the command was carried out before, and this is its answer, with the log position of the first
    /// answer where it is known. Not to be stored.
    Replay(Outcome, Option<u64>),
    /// Nothing to do, asked under an idempotency key: the answer, and the event that keeps the key. To be stored under the
    /// key before the answer is given.
    Keep(Outcome, Event),
}

/// What an applied entry means for whoever asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Applied {
    /// The log position of the entry.
    pub seq: u64,
}

/// An event that breaks an invariant: the log is damaged, or the rules have a bug. Never ignored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    what: &'static str,
}

impl State {
    /// The state before any event but the creation of the store.
    #[must_use]
    pub fn new(secret: StoreSecret) -> Self {
        let keys = secret.keys();
        Self {
            coupons: coupon::Coupons::new(keys.clone()),
            stock: stock::Stock::new(keys.stock),
            ledger: pay::Ledger::new(keys.accounts),
            sagas: saga::Sagas::new(),
            orders: order::Orders::new(),
            legacy: legacy::Legacy::default(),
            idempotency: IdempotencyTable::new(),
            time: Timestamp::default(),
            seq: 1,
            secret,
            keys,
        }
    }

    /// The keys of the store.
    #[must_use]
    pub const fn keys(&self) -> &Keys {
        &self.keys
    }

    /// The coupon capability.
    #[must_use]
    pub const fn coupons(&self) -> &coupon::Coupons {
        &self.coupons
    }

    /// The stock capability.
    #[must_use]
    pub const fn stock(&self) -> &stock::Stock {
        &self.stock
    }

    /// The ledger.
    #[must_use]
    pub const fn ledger(&self) -> &pay::Ledger {
        &self.ledger
    }

    /// The sagas.
    #[must_use]
    pub const fn sagas(&self) -> &saga::Sagas {
        &self.sagas
    }

    /// The orders and the price list.
    #[must_use]
    pub const fn orders(&self) -> &order::Orders {
        &self.orders
    }

    /// The way over from an old shop.
    #[must_use]
    pub const fn legacy(&self) -> &legacy::Legacy {
        &self.legacy
    }

    /// The idempotency keys.
    #[must_use]
    pub const fn idempotency(&self) -> &IdempotencyTable {
        &self.idempotency
    }

    /// The time of the last block applied. Time never goes back: stamp a block with the later of this and the clock.
    #[must_use]
    pub const fn time(&self) -> Timestamp {
        self.time
    }

    /// The log position of the last entry applied.
    #[must_use]
    pub const fn seq(&self) -> u64 {
        self.seq
    }

    /// The digest of everything, kept current by `apply`.
    #[must_use]
    pub fn digest(&self) -> Digest {
        let mut digest = self.coupons.digest();
        let capabilities =
            [self.stock.digest(), self.ledger.digest(), self.sagas.digest(), self.orders.digest()];
        for capability in capabilities {
            digest.add(capability.get());
        }
        digest.add(self.legacy.digest().get());
        digest.add(digest::row_bytes(9, self.secret.as_bytes()));
        digest.add(self.idempotency.digest.get());
        digest.add(digest::row(&[8, self.time.as_millis(), self.seq]));
        digest
    }

    /// The next instant at which time alone changes something.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Timestamp> {
        let all = [
            self.coupons.next_deadline(),
            self.next_stock_deadline(),
            self.ledger.next_deadline(),
            self.sagas.next_deadline(),
        ];
        all.into_iter().flatten().min()
    }

    /// Begins a block stamped `now`.
    ///
    /// Moves nothing but the time, and what is only looked up: a block that turns out to hold no event is not logged, and must leave no trace.
    pub fn begin_block(&mut self, now: Timestamp) {
        assert!(now >= self.time, "block times never go back");
        self.time = now;
        self.park_due();
    }

    /// What is due at the time of the block, as events to apply before any command; at most
    /// [`limits::TIMER_EVENTS_PER_BLOCK_MAX`], the rest at the next call.
    #[must_use]
    pub fn due(&self) -> Vec<Event> {
        let most = limits::TIMER_EVENTS_PER_BLOCK_MAX;
        let mut due: Vec<Event> = self.coupons.due(self.time, most).into_iter().map(Event::Coupon).collect();
        due.extend(self.due_stock(most - due.len()).into_iter().map(Event::Stock));
        due.extend(self.ledger.due(self.time, most - due.len()).into_iter().map(Event::Pay));
        due.extend(self.sagas.due(self.time, most - due.len()).into_iter().map(Event::Saga));
        due
    }

    /// Decides one command at the time of the block, asked under `stamp` if the caller sent an idempotency key.
    ///
    /// # Errors
    /// A [`Refusal`]: a business no.
    pub fn decide(&self, command: Command, stamp: Option<&KeyStamp>) -> Result<Decision, Refusal> {
        if let Some(stamp) = stamp {
            match self.idempotency.find(self.time, stamp) {
                Some(kept) if kept.stamp.request == stamp.request => {
                    return Ok(Decision::Replay(self.recall(kept, command)?, Some(kept.seq)));
                }
                Some(_) => return Err(Refusal::KeyReused),
                None if !self.idempotency.has_room(self.time) => return Err(Refusal::KeysFull),
                None => {}
            }
        }
        Ok(match self.decide_unkeyed(command)? {
            Decided::One(event) => Decision::One(event),
            Decided::Many(events) => Decision::Many(events),
            Decided::Before(outcome, seq) => Decision::Replay(outcome, Some(seq)),
            Decided::AsItIs(outcome, answer) if stamp.is_some() => {
                Decision::Keep(outcome, Event::KeyKept { answer })
            }
            Decided::AsItIs(outcome, _) => Decision::Replay(outcome, None),
        })
    }

    /// Decides a command as its capability does.
    pub(crate) fn decide_unkeyed(
        &self,
        command: Command,
    ) -> Result<Decided<Event, Outcome, Remembered>, Refusal> {
        Ok(match command {
            Command::Coupon(command) => {
                self.coupons.decide(self.time, command)?.lift(Event::Coupon, Outcome::Coupon, |kept| kept)
            }
            Command::Stock(command) => {
                self.decide_stock(command)?.lift(Event::Stock, Outcome::Stock, Remembered::Stock)
            }
            Command::Pay(command) => {
                self.ledger.decide(self.time, command)?.lift(Event::Pay, Outcome::Pay, Remembered::Pay)
            }
            Command::Saga(command) => {
                self.sagas.decide(command)?.lift(Event::Saga, Outcome::Saga, Remembered::Saga)
            }
            Command::Order(command) => self.decide_order(command)?,
            Command::Legacy(command) => self.decide_legacy(command)?,
        })
    }

    /// Applies the next entry of the log.
    ///
    /// # Errors
    /// A [`Violation`] if it breaks an invariant. The caller must stop.
    pub fn apply(&mut self, entry: &Entry) -> Result<Applied, Violation> {
        let seq = self.seq + 1;
        if entry.stamp.is_some_and(|stamp| self.idempotency.find(self.time, &stamp).is_some()) {
            return Err(Violation::new("an idempotency key was used twice"));
        }
        match &entry.event {
            Event::Coupon(event) => self.coupons.apply(self.time, seq, event)?,
            Event::Stock(event) => self.apply_stock(seq, event)?,
            Event::Pay(event) => self.ledger.apply(self.time, seq, event)?,
            Event::Saga(event) => self.sagas.apply(self.time, event)?,
            Event::Order(event) => self.orders.apply(self.time, event)?,
            Event::Legacy(event) => self.apply_legacy(event)?,
            Event::StoreCreated { .. } => return Err(Violation::new("the store was created twice")),
            Event::KeyKept { answer } => {
                if entry.stamp.is_none() {
                    return Err(Violation::new("an event keeps an idempotency key and has none"));
                }
                let so = match answer {
                    Remembered::Stock(answer) => self.stock.is_so(answer),
                    Remembered::Pay(answer) => self.ledger.is_so(answer),
                    Remembered::Saga(answer) => self.sagas.is_so(answer),
                    Remembered::Order(answer) => self.orders.is_so(answer),
                    _ => self.coupons.is_so(answer),
                };
                if !so {
                    return Err(Violation::new("an idempotency key was kept for an answer that is not so"));
                }
            }
            Event::StateDigested { high, low } => {
                let logged = Digest::from_u128(u128::from(*high) << 64 | u128::from(*low));
                if logged != self.digest() {
                    return Err(Violation::new(
                        "the state differs from what the live writer had here: a determinism bug or bad memory",
                    ));
                }
            }
        }
        self.idempotency.forget(self.time);
        if let Some(stamp) = entry.stamp {
            let remembered = match &entry.event {
                Event::Coupon(event) => Some(self.remember(event)),
                Event::Stock(event) => Some(Remembered::Stock(self.stock.remember(event))),
                Event::Pay(event) => Some(Remembered::Pay(self.ledger.remember(event))),
                Event::Saga(event) => Some(Remembered::Saga(self.sagas.outcome(event))),
                Event::Order(event) => Some(Remembered::Order(self.orders.outcome(event))),
                Event::KeyKept { answer } => Some(*answer),
                // Repeating these is safe by itself.
                Event::Legacy(_) | Event::StoreCreated { .. } | Event::StateDigested { .. } => None,
            };
            if let Some(remembered) = remembered {
                self.idempotency.remember(Kept { stamp, at: self.time, seq, remembered });
            }
        }
        self.seq = seq;
        Ok(Applied { seq })
    }

    /// The event that records the digest of the state as it is now.
    #[must_use]
    pub fn digest_event(&self) -> Event {
        let digest = self.digest().get();
        Event::StateDigested { high: (digest >> 64) as u64, low: digest as u64 }
    }

    /// The answer to a command whose last event is `event`, which has just been applied.
    #[must_use]
    pub fn outcome(&self, event: &Event) -> Option<Outcome> {
        match event {
            Event::Coupon(event) => Some(Outcome::Coupon(self.coupons.outcome(event))),
            Event::Stock(event) => Some(Outcome::Stock(self.stock.outcome(event))),
            Event::Pay(event) => Some(Outcome::Pay(self.ledger.outcome(event))),
            Event::Saga(event) => Some(Outcome::Saga(self.sagas.outcome(event))),
            Event::Order(event) => Some(Outcome::Order(self.orders.outcome(event))),
            Event::Legacy(event) => Some(Outcome::Legacy(self.legacy.outcome(event))),
            Event::StoreCreated { .. } | Event::StateDigested { .. } | Event::KeyKept { .. } => None,
        }
    }

    /// Checks every invariant by counting from nothing.
    ///
    /// # Errors
    /// The first [`Violation`] found.
    pub fn check_invariants(&self) -> Result<(), Violation> {
        self.coupons.check_invariants()?;
        self.stock.check_invariants()?;
        self.ledger.check_invariants()?;
        self.sagas.check_invariants()?;
        self.orders.check_invariants()?;
        self.check_mirrored()?;
        if self.idempotency.recompute_digest(self.time) != Some(self.idempotency.digest) {
            return Err(Violation::new("the idempotency keys differ from their digest or their index"));
        }
        Ok(())
    }

    /// The first answer again, put together from what is remembered and the repeated command.
    fn recall(&self, kept: &Kept, command: Command) -> Result<Outcome, Refusal> {
        Ok(match (kept.remembered, command) {
            (Remembered::Issued(coupon), _) => Outcome::Coupon(self.coupons.recall_issue(coupon)?),
            (Remembered::Changed { coupon, state, held_until }, Command::Coupon(command)) => {
                Outcome::Coupon(self.coupons.recall_change(coupon, state, held_until, command)?)
            }
            (Remembered::Campaign(no), _) => Outcome::Coupon(coupon::Outcome::Campaign { no }),
            (Remembered::AllowList { added, total, .. }, _) => Outcome::Coupon(coupon::Outcome::AllowList {
                added: u64::from(added),
                total: u64::from(total),
            }),
            (Remembered::Stock(remembered), Command::Stock(command)) => {
                Outcome::Stock(self.stock.recall(remembered, &command)?)
            }
            (Remembered::Pay(remembered), Command::Pay(command)) => {
                Outcome::Pay(self.ledger.recall(remembered, &command)?)
            }
            (Remembered::Saga(outcome), _) => Outcome::Saga(outcome),
            (Remembered::Order(outcome), _) => Outcome::Order(outcome),
            // The same key and the same request were found, so it is the same command, unless two requests have one hash.
            (Remembered::Changed { .. } | Remembered::Stock(_) | Remembered::Pay(_), _) => {
                return Err(Refusal::KeyReused);
            }
        })
    }

    /// What is remembered of the answer to a command whose last event is `event`, which has just been applied.
    fn remember(&self, event: &coupon::Event) -> Remembered {
        let changed = |coupon, state, held_until| Remembered::Changed { coupon, state, held_until };
        let never = Timestamp::default();
        match event {
            coupon::Event::CouponIssued { coupon, .. } => Remembered::Issued(*coupon),
            coupon::Event::CouponHeld { coupon, until, .. } => changed(*coupon, CouponState::Held, *until),
            coupon::Event::CouponRedeemed { coupon, .. } => changed(*coupon, CouponState::Redeemed, never),
            coupon::Event::CouponReleased { coupon, expired: true, .. } => {
                changed(*coupon, CouponState::Expired, never)
            }
            coupon::Event::CouponReleased { coupon, .. } => changed(*coupon, CouponState::Issued, never),
            coupon::Event::CouponRevoked { coupon, .. } => changed(*coupon, CouponState::Revoked, never),
            coupon::Event::AllowListExtended { no, members } => {
                let total = self.coupons.campaign_no(*no).map_or(0, coupon::Campaign::allowed);
                // Both fit: an allow-list has fewer than 2^32 members.
                Remembered::AllowList { no: *no, added: members.len() as u32, total: total as u32 }
            }
            other => Remembered::Campaign(other.campaign()),
        }
    }
}

impl Violation {
    pub(crate) const fn new(what: &'static str) -> Self {
        Self { what }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.what)
    }
}

impl std::error::Error for Violation {}
