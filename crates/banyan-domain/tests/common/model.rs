//! The coupon rules once more, written from the design alone and as plainly as can be: lists, and a walk over all of them
//! at every tick. Slow, and hard to get wrong. What it answers, the real rules must answer.

use banyan_domain::coupon::{Audience, Command, CouponAnswer, CouponState, Outcome};
use banyan_domain::limits;
use std::collections::{BTreeMap, BTreeSet};

/// What the model says to a command: the answer that was new, or that was given before, or the refusal's name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Said {
    New(String),
    Again(String),
    No(&'static str),
}

#[derive(Default)]
pub(crate) struct Model {
    now: u64,
    campaigns: Vec<Campaign>,
    keys: BTreeMap<String, (u64, String, String)>,
}

struct Campaign {
    created_as: String,
    id: String,
    quantity: u64,
    per_member: usize,
    starts: u64,
    ends: u64,
    audience: Audience,
    valid_for: Option<u64>,
    paused: bool,
    ended: bool,
    allowed: BTreeSet<String>,
    coupons: Vec<Coupon>,
    settled_at: Option<u64>,
    retired: bool,
}

struct Coupon {
    member: String,
    issued_at: u64,
    expires_at: Option<u64>,
    state: State,
}

#[derive(Clone, PartialEq)]
enum State {
    Free,
    /// By which order, until when, and whether by the member itself.
    Held(String, u64, bool),
    Redeemed(String),
    Revoked,
    Expired,
}

/// An answer in words, the same for the model and the real rules.
pub(crate) fn words(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Campaign { no } => format!("campaign {}", no.get()),
        Outcome::AllowList { added, total } => format!("added {added} of {total}"),
        Outcome::Coupon(CouponAnswer { coupon, member, state, issued_at, expires_at, order, held_until }) => {
            format!(
                "coupon {}-{} of {member:?} {} issued {} expires {:?} order {order:?} until {:?}",
                coupon.campaign().get(),
                coupon.n(),
                state.as_str(),
                issued_at.as_millis(),
                expires_at.map(banyan_domain::Timestamp::as_millis),
                held_until.map(banyan_domain::Timestamp::as_millis)
            )
        }
    }
}

fn coupon_of(command: &Command) -> Option<banyan_domain::CouponId> {
    match command {
        Command::HoldCoupon { coupon, .. }
        | Command::RedeemCoupon { coupon, .. }
        | Command::ReleaseCoupon { coupon, .. }
        | Command::RevokeCoupon { coupon, .. } => Some(*coupon),
        _ => None,
    }
}

fn plus(at: u64, span: u64) -> u64 {
    (at + span).min(limits::TIMESTAMP_MILLIS_MAX)
}

impl Model {
    /// Time passes: everything whose time has come happens.
    pub(crate) fn tick(&mut self, now: u64) {
        self.now = now;
        self.campaigns.iter_mut().for_each(|campaign| campaign.tick(now));
    }

    /// Totals of the campaign at `index`, if it is not retired: issued, held, redeemed, revoked, expired.
    pub(crate) fn totals(&self, index: usize) -> Option<[u64; 5]> {
        let campaign = self.campaigns.get(index).filter(|campaign| !campaign.retired)?;
        let count =
            |like: fn(&State) -> bool| campaign.coupons.iter().filter(|c| like(&c.state)).count() as u64;
        Some([
            campaign.coupons.len() as u64,
            count(|s| matches!(s, State::Held(..))),
            count(|s| matches!(s, State::Redeemed(_))),
            count(|s| *s == State::Revoked),
            count(|s| *s == State::Expired),
        ])
    }

    /// Answers `command`, asked under `key` with the request `request`.
    pub(crate) fn ask(&mut self, command: &Command, key: Option<&str>, request: &str) -> Said {
        if let Some(key) = key
            && let Some((at, first, answer)) = self.keys.get(key)
            && plus(*at, limits::IDEMPOTENCY_HORIZON_MILLIS) > self.now
        {
            if first != request {
                return Said::No("idempotency-key-reused");
            }
            // Only a command that found nothing to do can be remembered for longer than its campaign stays.
            let gone = coupon_of(command).is_some_and(|coupon| {
                let index = (coupon.campaign().get() as usize).wrapping_sub(1);
                self.campaigns.get(index).is_none_or(|campaign| campaign.retired)
            });
            return if gone { Said::No("coupon-not-found") } else { Said::Again(answer.clone()) };
        }
        let said = self.decide(command).unwrap_or_else(Said::No);
        // Whoever has its only coupon is told so at any time: that needs no memory.
        let kept = match &said {
            Said::New(answer) => Some(answer),
            Said::Again(answer) if !matches!(command, Command::IssueCoupon { .. }) => Some(answer),
            Said::Again(_) | Said::No(_) => None,
        };
        if let (Some(key), Some(answer)) = (key, kept) {
            self.keys.insert(key.into(), (self.now, request.into(), answer.clone()));
        }
        let now = self.now;
        self.campaigns.iter_mut().for_each(|campaign| campaign.settle(now));
        said
    }

    fn find(&mut self, id: &str) -> Result<(usize, &mut Campaign), &'static str> {
        let index = self.campaigns.iter().position(|campaign| campaign.id == id);
        let index = index.ok_or("campaign-not-found")?;
        if self.campaigns[index].retired { Err("ended") } else { Ok((index, &mut self.campaigns[index])) }
    }

    fn decide(&mut self, command: &Command) -> Result<Said, &'static str> {
        let now = self.now;
        match command {
            Command::CreateCampaign { definition, .. } => {
                let created_as = format!("{definition:?}");
                if let Some(index) = self.campaigns.iter().position(|c| c.id == definition.id.as_str()) {
                    let old = &self.campaigns[index];
                    let same = !old.retired && old.created_as == created_as;
                    return if same { Ok(again(campaign(index))) } else { Err("campaign-exists") };
                }
                self.campaigns.push(Campaign {
                    created_as,
                    id: definition.id.as_str().into(),
                    quantity: definition.quantity.unwrap_or(u64::MAX),
                    per_member: usize::from(definition.per_member),
                    starts: definition.starts_at.map_or(0, banyan_domain::Timestamp::as_millis),
                    ends: definition.ends_at.map_or(u64::MAX, banyan_domain::Timestamp::as_millis),
                    audience: definition.audience.clone(),
                    valid_for: definition.valid_for.map(banyan_domain::Millis::get),
                    paused: false,
                    ended: false,
                    allowed: BTreeSet::new(),
                    coupons: Vec::new(),
                    settled_at: None,
                    retired: false,
                });
                Ok(new(campaign(self.campaigns.len() - 1)))
            }
            Command::ChangeCampaign { campaign: id, change } => {
                let (index, c) = self.find(id.as_str())?;
                if c.over(now) {
                    let only_end = change.end
                        && change.paused.is_none()
                        && change.ends_at.is_none()
                        && change.quantity.is_none();
                    return if only_end { Ok(again(campaign(index))) } else { Err("ended") };
                }
                let quantity = change.quantity.unwrap_or(c.quantity);
                if quantity < c.coupons.len() as u64 || quantity == 0 {
                    return Err("quantity-below-issued");
                }
                let ends = change.ends_at.map_or(c.ends, banyan_domain::Timestamp::as_millis);
                if ends != c.ends && (ends <= now || ends <= c.starts) {
                    return Err("end-in-past");
                }
                let paused = change.paused.unwrap_or(c.paused);
                let changed = (quantity, ends, paused) != (c.quantity, c.ends, c.paused) || change.end;
                (c.quantity, c.ends, c.paused, c.ended) = (quantity, ends, paused, change.end);
                Ok(if changed { new(campaign(index)) } else { again(campaign(index)) })
            }
            Command::ExtendAllowList { campaign: id, members } => {
                let (_, c) = self.find(id.as_str())?;
                if c.over(now) {
                    return Err("ended");
                }
                if c.audience != Audience::AllowList {
                    return Err("allow-list-unavailable");
                }
                let before = c.allowed.len();
                c.allowed.extend(members.iter().map(ToString::to_string));
                let added = c.allowed.len() - before;
                let answer = format!("added {added} of {}", c.allowed.len());
                Ok(if added > 0 { new(answer) } else { again(answer) })
            }
            Command::IssueCoupon { campaign: id, member, segments } => {
                let (index, c) = self.find(id.as_str())?;
                let member = member.as_str();
                let first = c.coupons.iter().position(|coupon| coupon.member == member);
                if let (1, Some(first)) = (c.per_member, first) {
                    return Ok(again(c.issued(index, first)));
                }
                if c.over(now) {
                    return Err("ended");
                }
                if c.paused {
                    return Err("paused");
                }
                if now < c.starts {
                    return Err("not-started");
                }
                let eligible = match &c.audience {
                    Audience::Everyone => true,
                    Audience::Segment(segment) => segments.contains(segment),
                    Audience::AllowList => c.allowed.contains(member),
                };
                if !eligible {
                    return Err("not-eligible");
                }
                if c.coupons.iter().filter(|coupon| coupon.member == member).count() >= c.per_member {
                    return Err("limit-reached");
                }
                if c.coupons.len() as u64 >= c.quantity {
                    return Err("sold-out");
                }
                let expires_at = c.valid_for.map(|span| plus(now, span));
                c.coupons.push(Coupon {
                    member: member.into(),
                    issued_at: now,
                    expires_at,
                    state: State::Free,
                });
                Ok(new(c.issued(index, c.coupons.len() - 1)))
            }
            Command::HoldCoupon { coupon, owner, order, hold_for } => {
                let until = plus(now, hold_for.get().clamp(1, limits::HOLD_MILLIS_MAX));
                let over = self.is_over(*coupon);
                let held = State::Held(order.to_string(), until, owner.is_some());
                self.change_coupon(*coupon, owner.as_ref(), |state| match state {
                    State::Free => Ok(Some(held)),
                    State::Held(by, until, true)
                        if by == order.as_str() && *until > now && owner.is_none() =>
                    {
                        if over {
                            Err("coupon-expired")
                        } else {
                            Ok(Some(held))
                        }
                    }
                    State::Held(by, until, _) if by == order.as_str() && *until > now => Ok(None),
                    State::Redeemed(by) if by == order.as_str() => Ok(None),
                    other => Err(other.refusal()),
                })
            }
            Command::RedeemCoupon { coupon, owner, order } => {
                let redeemed = State::Redeemed(order.to_string());
                self.change_coupon(*coupon, owner.as_ref(), |state| match state {
                    State::Free => Ok(Some(redeemed)),
                    State::Held(by, until, own)
                        if by == order.as_str() && *until > now && (*own || owner.is_none()) =>
                    {
                        Ok(Some(redeemed))
                    }
                    State::Redeemed(by) if by == order.as_str() => Ok(None),
                    other => Err(other.refusal()),
                })
            }
            Command::ReleaseCoupon { coupon, owner, order } => {
                self.change_coupon(*coupon, owner.as_ref(), |state| match state {
                    State::Held(by, _, own) if by == order.as_str() && (*own || owner.is_none()) => {
                        Ok(Some(State::Free))
                    }
                    State::Held(..) | State::Redeemed(_) => Err(state.refusal()),
                    _ => Ok(None),
                })
            }
            Command::RevokeCoupon { coupon, .. } => self.change_coupon(*coupon, None, |state| match state {
                State::Free | State::Held(..) => Ok(Some(State::Revoked)),
                State::Revoked => Ok(None),
                other => Err(other.refusal()),
            }),
        }
    }

    /// Whether a coupon's validity is over, whoever holds it.
    fn is_over(&self, id: banyan_domain::CouponId) -> bool {
        let campaign = self.campaigns.get((id.campaign().get() as usize).wrapping_sub(1));
        let coupon = campaign.and_then(|c| c.coupons.get((id.n() as usize).wrapping_sub(1)));
        coupon.and_then(|coupon| coupon.expires_at).is_some_and(|at| at <= self.now)
    }

    fn change_coupon(
        &mut self,
        id: banyan_domain::CouponId,
        owner: Option<&banyan_domain::MemberId>,
        change: impl FnOnce(&State) -> Result<Option<State>, &'static str>,
    ) -> Result<Said, &'static str> {
        let now = self.now;
        let index = (id.campaign().get() as usize).wrapping_sub(1);
        let c = self.campaigns.get_mut(index).filter(|c| !c.retired).ok_or("coupon-not-found")?;
        let place = (id.n() as usize).wrapping_sub(1);
        let coupon = c.coupons.get_mut(place).ok_or("coupon-not-found")?;
        if owner.is_some_and(|owner| owner.as_str() != coupon.member) {
            return Err("coupon-not-found");
        }
        let changed = change(&coupon.state)?;
        let is_new = changed.is_some();
        if let Some(state) = changed {
            coupon.state = state;
            // A coupon given back after its time is expired at once.
            if coupon.state == State::Free {
                coupon.tick(now);
            }
        }
        let answer = c.now(index, place);
        Ok(if is_new { new(answer) } else { again(answer) })
    }
}

fn campaign(index: usize) -> String {
    format!("campaign {}", index + 1)
}

fn new(answer: String) -> Said {
    Said::New(answer)
}

fn again(answer: String) -> Said {
    Said::Again(answer)
}

impl Campaign {
    fn over(&self, now: u64) -> bool {
        self.ended || self.ends <= now
    }

    fn tick(&mut self, now: u64) {
        self.ended |= self.ends <= now;
        self.coupons.iter_mut().for_each(|coupon| coupon.tick(now));
        self.settle(now);
    }

    fn settle(&mut self, now: u64) {
        let settled =
            self.ended && self.coupons.iter().all(|c| !matches!(c.state, State::Free | State::Held(..)));
        if settled {
            let settled_at = *self.settled_at.get_or_insert(now);
            self.retired |= plus(settled_at, limits::RETIRE_AFTER_MILLIS) <= now;
        }
    }

    fn issued(&self, index: usize, place: usize) -> String {
        let Coupon { issued_at, expires_at, .. } = &self.coupons[place];
        let none = "order None until None";
        format!(
            "coupon {}-{} of None issued issued {issued_at} expires {expires_at:?} {none}",
            index + 1,
            place + 1
        )
    }

    fn now(&self, index: usize, place: usize) -> String {
        let Coupon { member, issued_at, expires_at, state } = &self.coupons[place];
        let (name, order, until) = match state {
            State::Free => (CouponState::Issued, None, None),
            State::Held(order, until, _) => (CouponState::Held, Some(order), Some(until)),
            State::Redeemed(order) => (CouponState::Redeemed, Some(order), None),
            State::Revoked => (CouponState::Revoked, None, None),
            State::Expired => (CouponState::Expired, None, None),
        };
        format!(
            "coupon {}-{} of Some({member}) {} issued {issued_at} expires {expires_at:?} order {} until {until:?}",
            index + 1,
            place + 1,
            name.as_str(),
            order.map_or("None".into(), |order| format!("Some({order})"))
        )
    }
}

impl Coupon {
    fn tick(&mut self, now: u64) {
        if matches!(self.state, State::Held(_, until, _) if until <= now) {
            self.state = State::Free;
        }
        if self.state == State::Free && self.expires_at.is_some_and(|at| at <= now) {
            self.state = State::Expired;
        }
    }
}

impl State {
    fn refusal(&self) -> &'static str {
        match self {
            Self::Free => unreachable!("a free coupon can be used"),
            Self::Held(..) => "coupon-held",
            Self::Redeemed(_) => "coupon-redeemed",
            Self::Revoked => "coupon-revoked",
            Self::Expired => "coupon-expired",
        }
    }
}
