//! The simulated clients: what they ask, what they ask again, and what they know.

mod coupons;
mod ledger;
mod orders;
mod sagas;
mod stock;

use crate::plants::Plant;
use crate::prng::Prng;
use banyan_domain::coupon::{CampaignDefinition, Command as CouponCommand, Outcome as CouponOutcome};
use banyan_domain::{Actor, Command, CouponId, KeyStamp, Keys, MemberId, Outcome, Timestamp, limits, saga};
use banyan_engine::Answer;
use std::collections::BTreeMap;

/// Campaigns that one run creates at most.
const CAMPAIGNS_MAX: usize = 24;
const MEMBERS: u64 = 40;
const BATCH_MAX: u64 = 24;
/// Coupons, reservations and transfers that clients remember and come back to.
const KNOWN_MAX: usize = 200;

/// One thing a client wants, however often it asks.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) command: Command,
    pub(crate) stamp: Option<KeyStamp>,
    /// How many askings are without an answer so far.
    pub(crate) waiting: u32,
    /// Whether an asking ended without an answer and none has been answered since.
    pub(crate) unknown: bool,
    /// Whether it is no client's but the server's own: whoever wants to know asks another question after a crash.
    internal: bool,
    /// When it was made.
    made_at: u64,
}

/// What is put into the queue together. Several: one batch.
pub(crate) type Asked = Vec<usize>;

/// All clients.
#[derive(Debug, Default)]
pub(crate) struct Workload {
    requests: Vec<Request>,
    campaigns: Vec<CampaignDefinition>,
    known: Vec<CouponId>,
    /// Coupons, and who has them.
    owned: Vec<(CouponId, MemberId)>,
    shop: Shop,
    keys_used: u64,
    /// How many of a hundred requests are about stock, the ledger and sagas.
    shop_percent: u64,
    plant: Option<Plant>,
    /// The latest instant that clients have seen.
    latest: u64,
}

/// What clients know of the shop.
#[derive(Debug, Default)]
struct Shop {
    /// How many of the first requests were made, without which nothing else comes to anything.
    opened: usize,
    reservations: Vec<banyan_domain::ReservationNo>,
    transfers: Vec<banyan_domain::TransferNo>,
    sagas: Vec<banyan_domain::SagaNo>,
    sagas_begun: u64,
    orders: Vec<banyan_domain::OrderNo>,
    /// The marks of the sagas that operators saw parked.
    marks: BTreeMap<banyan_domain::SagaNo, u64>,
}

impl Workload {
    /// Clients of whose requests `shop_percent` are about stock, the ledger and sagas.
    pub(crate) fn new(shop_percent: u64, plant: Option<Plant>) -> Self {
        Self { shop_percent, plant, ..Self::default() }
    }

    /// Whether anybody asks for anything but coupons.
    pub(crate) const fn is_shop(&self) -> bool {
        self.shop_percent > 0
    }

    pub(crate) fn request(&self, id: usize) -> &Request {
        &self.requests[id]
    }

    /// Requests whose outcome nobody knows, and which may still be asked for again.
    pub(crate) fn unknown(&self) -> Vec<usize> {
        (0..self.requests.len()).filter(|id| self.requests[*id].unknown && !self.is_too_old(*id)).collect()
    }

    /// Tells clients the time.
    pub(crate) const fn at(&mut self, latest: u64) {
        self.latest = latest;
    }

    /// A saga's key is remembered for a while after its end: whoever begins one does not ask again after that.
    fn is_too_old(&self, id: usize) -> bool {
        let request = &self.requests[id];
        let begins = matches!(request.command, Command::Saga(saga::Command::Start { .. }));
        begins && request.made_at + limits::IDEMPOTENCY_HORIZON_MILLIS <= self.latest
    }

    /// What the server itself asks, about a saga.
    pub(crate) fn internal(&mut self, command: Command) -> usize {
        let id = self.add(command, None);
        self.requests[id].internal = true;
        id
    }

    /// What some client asks next.
    pub(crate) fn next(&mut self, rng: &mut Prng, now: Timestamp, keys: &Keys) -> Asked {
        if self.campaigns.len() < 2 {
            return vec![self.add(self.created(rng, now).into(), None)];
        }
        if rng.chance(self.shop_percent) {
            return self.shop(rng, keys);
        }
        match rng.below(100) {
            0..18 => self.again(rng).map_or_else(Vec::new, |id| vec![id]),
            18..24 => self.batch(rng, keys),
            24..27 => {
                let command = if self.campaigns.len() < CAMPAIGNS_MAX {
                    self.created(rng, now)
                } else {
                    self.created_again(rng)
                };
                self.one(rng, keys, command)
            }
            27..28 => {
                let command = self.created_again(rng);
                self.one(rng, keys, command)
            }
            28..32 => {
                let command = self.changed(rng, now);
                self.one(rng, keys, command)
            }
            32..35 => {
                let command = self.listed(rng);
                self.one(rng, keys, command)
            }
            35..62 => {
                let command = self.life(rng);
                self.one(rng, keys, command)
            }
            62..64 => self.key_reused(rng, keys).map_or_else(Vec::new, |id| vec![id]),
            _ => {
                let command = self.issue(rng);
                self.one(rng, keys, command)
            }
        }
    }

    /// What some client asks of stock, the ledger or sagas next.
    fn shop(&mut self, rng: &mut Prng, keys: &Keys) -> Asked {
        if let Some(command) = self.opening() {
            return self.one(rng, keys, command);
        }
        match rng.below(100) {
            0..12 => self.again(rng).map_or_else(Vec::new, |id| vec![id]),
            12..46 => {
                let command = self.of_stock(rng);
                self.one(rng, keys, command)
            }
            46..70 => {
                let command = self.of_ledger(rng);
                self.one(rng, keys, command)
            }
            70..86 => {
                let command = self.of_orders(rng);
                self.one(rng, keys, command)
            }
            _ => {
                let command = self.of_sagas(rng, keys);
                self.one(rng, keys, command)
            }
        }
    }

    /// Notes that `id` was put into the queue.
    pub(crate) fn asked(&mut self, id: usize) {
        self.requests[id].waiting += 1;
    }

    /// Notes that an asking of `id` was answered.
    pub(crate) fn answered(&mut self, id: usize, answer: &Answer) {
        let request = &mut self.requests[id];
        request.waiting -= 1;
        if !matches!(answer, Answer::StorageFull) {
            request.unknown = false;
        }
        let Answer::Done { outcome, replayed: false, .. } = answer else { return };
        if let Outcome::Coupon(CouponOutcome::Coupon(coupon)) = outcome {
            if self.known.len() < KNOWN_MAX {
                self.known.push(coupon.coupon);
            }
            if let Command::Coupon(CouponCommand::IssueCoupon { member, .. }) = &request.command {
                self.owned.push((coupon.coupon, member.clone()));
            }
        }
        self.learned(outcome);
    }

    /// Notes that an asking of `id` will never be answered.
    pub(crate) fn lost(&mut self, id: usize) {
        let request = &mut self.requests[id];
        request.waiting -= 1;
        request.unknown = !request.internal;
    }

    fn add(&mut self, command: Command, stamp: Option<KeyStamp>) -> usize {
        if let Command::Coupon(CouponCommand::CreateCampaign { definition, .. }) = &command
            && !self.campaigns.iter().any(|known| known.id == definition.id)
        {
            self.campaigns.push((**definition).clone());
        }
        self.requests.push(Request {
            command,
            stamp,
            waiting: 0,
            unknown: false,
            internal: false,
            made_at: self.latest,
        });
        self.requests.len() - 1
    }

    fn one(&mut self, rng: &mut Prng, keys: &Keys, command: impl Into<Command>) -> Asked {
        let command = command.into();
        let stamp = rng.chance(55).then(|| self.stamp(keys, &command));
        vec![self.add(command, stamp)]
    }

    fn stamp(&mut self, keys: &Keys, command: &Command) -> KeyStamp {
        self.keys_used += 1;
        let key = format!("key-{}", self.keys_used);
        KeyStamp::new(keys, "simulated-client", &key, format!("{command:?}").as_bytes())
    }

    /// A request that was made before: most likely one whose outcome is unknown, else one that waits, or any old one.
    fn again(&mut self, rng: &mut Prng) -> Option<usize> {
        let unknown = self.unknown();
        if !unknown.is_empty() && rng.chance(70) {
            return rng.pick(&unknown).copied();
        }
        let recent = self.requests.len().saturating_sub(30);
        let from = if rng.chance(60) { recent } else { 0 };
        let id = (from < self.requests.len())
            .then(|| rng.between(from as u64, self.requests.len() as u64 - 1) as usize);
        id.filter(|id| !self.is_too_old(*id))
    }

    /// A key that was used before, for another request.
    fn key_reused(&mut self, rng: &mut Prng, keys: &Keys) -> Option<usize> {
        let old = rng.below(self.requests.len() as u64) as usize;
        let stamp = self.requests[old].stamp?;
        let command = Command::from(self.issue(rng));
        let request = KeyStamp::new(keys, "", "", format!("{command:?}").as_bytes()).request;
        Some(self.add(command, Some(KeyStamp { request, ..stamp })))
    }

    fn batch(&mut self, rng: &mut Prng, keys: &Keys) -> Asked {
        let count = rng.between(1, BATCH_MAX);
        let keyed = rng.chance(50);
        let commands: Vec<_> = (0..count).map(|_| Command::from(self.issue(rng))).collect();
        let whole = self.stamp(keys, &commands[0]);
        let mut ids = Vec::new();
        for (index, command) in (0..).zip(commands) {
            let stamp = keyed.then(|| KeyStamp::part(keys, whole, index, format!("{command:?}").as_bytes()));
            ids.push(self.add(command, stamp));
        }
        ids
    }
}

/// The request as the engine takes it.
pub(crate) fn command(request: &Request) -> (Command, Option<KeyStamp>) {
    (request.command.clone(), request.stamp)
}

fn member(rng: &mut Prng) -> MemberId {
    MemberId::new(format!("m{}", rng.below(MEMBERS))).expect("visible")
}

fn actor() -> Actor {
    Actor::new("simulated-operator").expect("visible")
}
