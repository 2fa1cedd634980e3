//! The simulated clients: what they ask, what they ask again, and what they know.

use crate::prng::Prng;
use banyan_domain::coupon::{
    Audience, Benefit, CampaignChange, CampaignDefinition, Command as CouponCommand,
    Outcome as CouponOutcome, Stacking,
};
use banyan_domain::{
    Actor, CampaignId, CampaignNo, Command, CouponId, Currency, KeyStamp, Keys, MemberId, Millis, Money,
    OrderId, Outcome, Reason, SegmentName, Timestamp,
};
use banyan_engine::Answer;

/// Campaigns that one run creates at most.
const CAMPAIGNS_MAX: usize = 24;
const MEMBERS: u64 = 40;
const ORDERS: u64 = 12;
const BATCH_MAX: u64 = 24;
/// Coupons that clients remember and come back to.
const KNOWN_MAX: usize = 200;

/// One thing a client wants, however often it asks.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) command: CouponCommand,
    pub(crate) stamp: Option<KeyStamp>,
    /// How many askings are without an answer so far.
    pub(crate) waiting: u32,
    /// Whether an asking ended without an answer and none has been answered since.
    pub(crate) unknown: bool,
}

/// What is put into the queue together. Several: one batch.
pub(crate) type Asked = Vec<usize>;

/// All clients.
#[derive(Debug, Default)]
pub(crate) struct Workload {
    requests: Vec<Request>,
    campaigns: Vec<CampaignDefinition>,
    known: Vec<CouponId>,
    keys_used: u64,
}

impl Workload {
    pub(crate) fn request(&self, id: usize) -> &Request {
        &self.requests[id]
    }

    /// Requests whose outcome nobody knows.
    pub(crate) fn unknown(&self) -> Vec<usize> {
        (0..self.requests.len()).filter(|id| self.requests[*id].unknown).collect()
    }

    /// What some client asks next.
    pub(crate) fn next(&mut self, rng: &mut Prng, now: Timestamp, keys: &Keys) -> Asked {
        if self.campaigns.len() < 2 {
            return vec![self.add(self.created(rng, now), None)];
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
        if let Answer::Done {
            outcome: Outcome::Coupon(CouponOutcome::Coupon(coupon)), replayed: false, ..
        } = answer
            && self.known.len() < KNOWN_MAX
        {
            self.known.push(coupon.coupon);
        }
    }

    /// Notes that an asking of `id` will never be answered.
    pub(crate) fn lost(&mut self, id: usize) {
        let request = &mut self.requests[id];
        request.waiting -= 1;
        request.unknown = true;
    }

    fn add(&mut self, command: CouponCommand, stamp: Option<KeyStamp>) -> usize {
        if let CouponCommand::CreateCampaign { definition, .. } = &command
            && !self.campaigns.iter().any(|known| known.id == definition.id)
        {
            self.campaigns.push((**definition).clone());
        }
        self.requests.push(Request { command, stamp, waiting: 0, unknown: false });
        self.requests.len() - 1
    }

    fn one(&mut self, rng: &mut Prng, keys: &Keys, command: CouponCommand) -> Asked {
        let stamp = rng.chance(55).then(|| self.stamp(keys, &command));
        vec![self.add(command, stamp)]
    }

    fn stamp(&mut self, keys: &Keys, command: &CouponCommand) -> KeyStamp {
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
        (from < self.requests.len())
            .then(|| rng.between(from as u64, self.requests.len() as u64 - 1) as usize)
    }

    /// A key that was used before, for another request.
    fn key_reused(&mut self, rng: &mut Prng, keys: &Keys) -> Option<usize> {
        let old = rng.below(self.requests.len() as u64) as usize;
        let stamp = self.requests[old].stamp?;
        let command = self.issue(rng);
        let request = KeyStamp::new(keys, "", "", format!("{command:?}").as_bytes()).request;
        Some(self.add(command, Some(KeyStamp { request, ..stamp })))
    }

    fn batch(&mut self, rng: &mut Prng, keys: &Keys) -> Asked {
        let count = rng.between(1, BATCH_MAX);
        let keyed = rng.chance(50);
        let commands: Vec<_> = (0..count).map(|_| self.issue(rng)).collect();
        let whole = self.stamp(keys, &commands[0]);
        let mut ids = Vec::new();
        for (index, command) in (0..).zip(commands) {
            let stamp = keyed.then(|| KeyStamp::part(keys, whole, index, format!("{command:?}").as_bytes()));
            ids.push(self.add(command, stamp));
        }
        ids
    }

    fn created(&self, rng: &mut Prng, now: Timestamp) -> CouponCommand {
        let soon = |rng: &mut Prng, seconds: u64| now.plus(Millis::from_seconds(rng.below(seconds)));
        let starts_at = rng.chance(20).then(|| soon(rng, 120));
        let latest = starts_at.unwrap_or(now);
        let ends_at = rng.chance(20).then(|| latest.plus(Millis::from_seconds(rng.between(10, 7_200))));
        let audience = match rng.below(10) {
            0..2 => Audience::AllowList,
            2 => Audience::Segment(segment("gold")),
            _ => Audience::Everyone,
        };
        let number = self.campaigns.len();
        let definition = CampaignDefinition {
            id: CampaignId::new(format!("campaign-{number}")).expect("a slug"),
            name: format!("Campaign {number}").into(),
            quantity: rng.chance(85).then(|| rng.between(1, 80)),
            per_member: rng.pick(&[1, 1, 1, 2, 3]).copied().unwrap_or(1),
            benefit: Benefit::Amount(Money {
                minor: 5_000,
                currency: Currency::new("KRW").expect("a currency"),
            }),
            minimum_order: None,
            starts_at,
            ends_at,
            audience,
            valid_for: rng.chance(50).then(|| Millis::from_seconds(rng.between(1, 3_600))),
            stacking: Stacking::Exclusive,
        };
        CouponCommand::CreateCampaign { definition: Box::new(definition), by: actor() }
    }

    /// A campaign that was created before, as it was or defined otherwise.
    fn created_again(&self, rng: &mut Prng) -> CouponCommand {
        let mut definition = rng.pick(&self.campaigns).expect("there are some").clone();
        if rng.chance(30) {
            definition.per_member += 1;
        }
        CouponCommand::CreateCampaign { definition: Box::new(definition), by: actor() }
    }

    fn changed(&self, rng: &mut Prng, now: Timestamp) -> CouponCommand {
        let later = now.plus(Millis::from_seconds(rng.below(7_200)));
        let change = CampaignChange {
            paused: rng.chance(50).then(|| rng.chance(30)),
            end: rng.chance(3),
            ends_at: rng.chance(15).then_some(later),
            quantity: rng.chance(30).then(|| rng.below(80)),
            by: actor(),
            reason: Reason::new("simulated").expect("a reason"),
        };
        CouponCommand::ChangeCampaign { campaign: self.campaign(rng), change: Box::new(change) }
    }

    fn listed(&self, rng: &mut Prng) -> CouponCommand {
        let lists = self.campaigns.iter().filter(|campaign| campaign.audience == Audience::AllowList);
        let lists: Vec<_> = lists.map(|campaign| campaign.id.clone()).collect();
        let campaign = rng.pick(&lists).cloned().unwrap_or_else(|| self.campaign(rng));
        let count = rng.between(1, 12);
        let members = (0..count).map(|_| member(rng)).collect();
        CouponCommand::ExtendAllowList { campaign, members }
    }

    fn issue(&self, rng: &mut Prng) -> CouponCommand {
        let segments = if rng.chance(30) { vec![segment("gold")] } else { Vec::new() };
        let campaign = self.campaign(rng);
        CouponCommand::IssueCoupon { campaign, member: member(rng), segments: segments.into_boxed_slice() }
    }

    /// Something that happens to a coupon after its issue.
    fn life(&self, rng: &mut Prng) -> CouponCommand {
        let recent = &self.known[self.known.len().saturating_sub(20)..];
        let known = if rng.chance(70) { recent } else { &self.known };
        let coupon = rng.pick(known).copied();
        let guessed = CouponId::new(CampaignNo::new(rng.below(25) as u32), rng.below(70));
        let coupon = coupon.filter(|_| rng.chance(90)).unwrap_or(guessed);
        // Orders follow from the coupon, mostly, so that the same order comes back to what it holds.
        let order = if rng.chance(75) { coupon.get() % ORDERS } else { rng.below(ORDERS) };
        let order = OrderId::new(format!("order-{order}")).expect("visible");
        let owner = rng.chance(10).then(|| member(rng));
        match rng.below(100) {
            0..45 => {
                let millis = rng.pick(&[1, 500, 30_000, 900_000, u64::MAX]).copied().unwrap_or(1);
                CouponCommand::HoldCoupon { coupon, owner, order, hold_for: Millis::new(millis) }
            }
            45..68 => CouponCommand::RedeemCoupon { coupon, owner, order },
            68..92 => CouponCommand::ReleaseCoupon { coupon, owner, order },
            _ => {
                let reason = Reason::new("simulated").expect("a reason");
                CouponCommand::RevokeCoupon { coupon, by: actor(), reason }
            }
        }
    }

    fn campaign(&self, rng: &mut Prng) -> CampaignId {
        if rng.chance(2) {
            return CampaignId::new("nowhere").expect("a slug");
        }
        // The newest campaigns are asked for most, as on a sale day.
        let recent = &self.campaigns[self.campaigns.len().saturating_sub(3)..];
        let from = if rng.chance(75) { recent } else { &self.campaigns };
        rng.pick(from).map(|campaign| campaign.id.clone()).expect("there are some")
    }
}

/// The request as the engine takes it.
pub(crate) fn command(request: &Request) -> (Command, Option<KeyStamp>) {
    (Command::Coupon(request.command.clone()), request.stamp)
}

fn member(rng: &mut Prng) -> MemberId {
    MemberId::new(format!("m{}", rng.below(MEMBERS))).expect("visible")
}

fn segment(name: &str) -> SegmentName {
    SegmentName::new(name).expect("a slug")
}

fn actor() -> Actor {
    Actor::new("simulated-operator").expect("visible")
}
