//! The auditor's own idea of coupons: campaigns in a list, the coupons of each in another.

use super::{Model, Objection};
use banyan_domain::coupon::{
    Audience, CampaignDefinition, CouponAnswer, CouponState, EndCause, Event as CouponEvent,
    Outcome as CouponOutcome, ReleaseCause, Totals,
};
use banyan_domain::{CampaignNo, CouponId, Holder, MemberId, OrderId, Remembered, Timestamp, limits};
use std::collections::{BTreeMap, BTreeSet};

#[derive(Clone, Debug)]
pub(crate) struct Campaign {
    pub(crate) created_as: CampaignDefinition,
    pub(crate) definition: CampaignDefinition,
    pub(crate) paused: bool,
    pub(crate) ended_at: Option<u64>,
    created_at: u64,
    settled_at: Option<u64>,
    pub(crate) retired: bool,
    pub(crate) coupons: Vec<Coupon>,
    pub(crate) listed: BTreeSet<MemberId>,
    pub(crate) had: BTreeMap<MemberId, u64>,
    expired_to: u64,
}

#[derive(Clone, Debug)]
pub(crate) struct Coupon {
    pub(crate) member: MemberId,
    pub(crate) state: CouponState,
    pub(crate) issued_at: u64,
    pub(crate) seq: u64,
    /// Who holds or redeemed it.
    pub(crate) order: Option<OrderId>,
    pub(crate) held_until: Option<u64>,
    /// The last hold was its member's own.
    pub(crate) by_member: bool,
}

impl Campaign {
    pub(crate) fn totals(&self) -> Totals {
        let count = |state| self.coupons.iter().filter(|coupon| coupon.state == state).count() as u64;
        Totals {
            issued: self.coupons.len() as u64,
            held: count(CouponState::Held),
            redeemed: count(CouponState::Redeemed),
            revoked: count(CouponState::Revoked),
            expired: count(CouponState::Expired),
        }
    }

    pub(crate) fn is_over(&self, now: u64) -> bool {
        self.ended_at.is_some() || self.definition.ends_at.is_some_and(|end| end.as_millis() <= now)
    }

    pub(crate) fn is_before_start(&self, now: u64) -> bool {
        self.definition.starts_at.is_some_and(|start| now < start.as_millis())
    }

    pub(crate) fn is_sold_out(&self) -> bool {
        self.definition.quantity.is_some_and(|quantity| self.coupons.len() as u64 >= quantity)
    }

    pub(crate) fn has_had(&self, member: &MemberId) -> u64 {
        self.had.get(member).copied().unwrap_or(0)
    }

    pub(crate) fn expires_at(&self, coupon: &Coupon) -> Option<u64> {
        self.definition.valid_for.map(|span| coupon.issued_at + span.get())
    }

    pub(crate) fn is_expired(&self, coupon: &Coupon, now: u64) -> bool {
        self.expires_at(coupon).is_some_and(|at| at <= now)
    }

    fn settle(&mut self, now: u64) {
        let open = |coupon: &Coupon| matches!(coupon.state, CouponState::Issued | CouponState::Held);
        let over = self.ended_at.is_some() && !self.coupons.iter().any(open);
        // A coupon that an order gave back opens the campaign again.
        self.settled_at = if over { self.settled_at.or(Some(now)) } else { None };
    }
}

impl Model {
    pub(crate) fn campaign(&self, id: &str) -> Option<&Campaign> {
        self.campaigns.get(*self.by_id.get(id)?)
    }

    /// The campaign and the coupon, unless the campaign has left the hot state.
    pub(crate) fn coupon(&self, id: CouponId) -> Option<(&Campaign, &Coupon)> {
        let campaign = self.campaigns.get((id.campaign().get() as usize).checked_sub(1)?)?;
        let coupon = campaign.coupons.get((id.n() as usize).checked_sub(1)?)?;
        (!campaign.retired).then_some((campaign, coupon))
    }

    /// What was answered under a key that was kept: it must be so.
    pub(super) fn kept_coupon(&self, answer: &Remembered) -> Result<CouponOutcome, Objection> {
        let no = answer.campaign().ok_or("it is of a capability that nobody asked for")?;
        let campaign = (no.get() as usize).checked_sub(1).and_then(|at| self.campaigns.get(at));
        let campaign = campaign.filter(|campaign| !campaign.retired).ok_or("the campaign is not there")?;
        match *answer {
            Remembered::Issued(_)
            | Remembered::Stock(_)
            | Remembered::Pay(_)
            | Remembered::Saga(_)
            | Remembered::Order(_) => Err("it is no answer that changes nothing".into()),
            Remembered::Campaign(no) => Ok(CouponOutcome::Campaign { no }),
            Remembered::AllowList { added, total, .. } => {
                object_unless!(added == 0, "it adds members");
                object_unless!(
                    campaign.listed.len() == total as usize,
                    "{} members are listed",
                    campaign.listed.len()
                );
                Ok(CouponOutcome::AllowList { added: 0, total: u64::from(total) })
            }
            Remembered::Changed { coupon, state, held_until } => {
                let (_, found) = self.coupon(coupon).ok_or("the coupon is not there")?;
                let until = found.held_until.unwrap_or(0);
                let same = found.state == state && until == held_until.as_millis();
                object_unless!(same, "the coupon is {found:?}");
                Ok(CouponOutcome::Coupon(self.coupon_answer(coupon)))
            }
        }
    }

    fn hot(&mut self, no: CampaignNo) -> Result<&mut Campaign, Objection> {
        let campaign = (no.get() as usize).checked_sub(1).and_then(|at| self.campaigns.get_mut(at));
        campaign
            .filter(|campaign| !campaign.retired)
            .ok_or_else(|| "it names a campaign that is not there".into())
    }

    pub(super) fn coupon_event(
        &mut self,
        now: u64,
        seq: u64,
        event: &CouponEvent,
    ) -> Result<CouponOutcome, Objection> {
        match event {
            CouponEvent::CampaignCreated { no, definition, .. } => self.created(now, *no, definition)?,
            CouponEvent::CampaignRetired { no } => {
                let campaign = self.hot(*no)?;
                let due = campaign.settled_at.map(|at| at + limits::RETIRE_AFTER_MILLIS);
                object_unless!(
                    due.is_some_and(|due| due <= now),
                    "it retires a campaign that is not due ({due:?})"
                );
                campaign.retired = true;
            }
            CouponEvent::CampaignPaused { no, .. }
            | CouponEvent::CampaignResumed { no, .. }
            | CouponEvent::CampaignExtended { no, .. }
            | CouponEvent::CampaignQuantityChanged { no, .. }
            | CouponEvent::CampaignEnded { no, .. } => changed(self.hot(*no)?, now, event)?,
            CouponEvent::AllowListExtended { no, members } => {
                let campaign = self.hot(*no)?;
                object_unless!(
                    campaign.definition.audience == Audience::AllowList,
                    "it lists members for nothing"
                );
                object_unless!(!campaign.is_over(now), "it lists members for a campaign that is over");
                for member in members {
                    object_unless!(campaign.listed.insert(member.clone()), "it lists {member} a second time");
                }
                let (added, total) = (members.len() as u64, campaign.listed.len() as u64);
                return Ok(CouponOutcome::AllowList { added, total });
            }
            CouponEvent::CouponIssued { coupon, member } => {
                issued(self.hot(coupon.campaign())?, now, seq, *coupon, member)?;
                return Ok(CouponOutcome::Coupon(self.issue_answer(*coupon)));
            }
            CouponEvent::CouponHeld { coupon, .. }
            | CouponEvent::CouponRedeemed { coupon, .. }
            | CouponEvent::CouponReleased { coupon, .. }
            | CouponEvent::CouponRevoked { coupon, .. } => {
                coupon_changed(self.hot(coupon.campaign())?, now, *coupon, event)?;
                return Ok(CouponOutcome::Coupon(self.coupon_answer(*coupon)));
            }
            CouponEvent::CouponsExpired { no, first, last } => expired(self.hot(*no)?, now, *first, *last)?,
        }
        Ok(CouponOutcome::Campaign { no: event.campaign() })
    }

    fn created(
        &mut self,
        now: u64,
        no: CampaignNo,
        definition: &CampaignDefinition,
    ) -> Result<(), Objection> {
        object_unless!(
            no.get() as usize == self.campaigns.len() + 1,
            "the campaign's number is out of order"
        );
        let id = definition.id.as_str().to_owned();
        object_unless!(self.by_id.insert(id, self.campaigns.len()).is_none(), "the campaign's id is taken");
        self.campaigns.push(Campaign {
            created_as: definition.clone(),
            definition: definition.clone(),
            paused: false,
            ended_at: None,
            created_at: now,
            settled_at: None,
            retired: false,
            coupons: Vec::new(),
            listed: BTreeSet::new(),
            had: BTreeMap::new(),
            expired_to: 0,
        });
        Ok(())
    }

    /// What the issue of `coupon` is answered with, however often.
    pub(crate) fn issue_answer(&self, coupon: CouponId) -> CouponAnswer {
        let answer = self.coupon_answer(coupon);
        CouponAnswer { member: None, state: CouponState::Issued, order: None, held_until: None, ..answer }
    }

    /// `coupon` as it is. It must exist.
    pub(crate) fn coupon_answer(&self, id: CouponId) -> CouponAnswer {
        let (campaign, coupon) = self.coupon(id).expect("only asked for coupons that exist");
        CouponAnswer {
            coupon: id,
            member: Some(coupon.member.clone()),
            state: coupon.state,
            issued_at: Timestamp::from_millis(coupon.issued_at),
            expires_at: campaign.expires_at(coupon).map(Timestamp::from_millis),
            order: coupon.order.clone(),
            held_until: coupon.held_until.map(Timestamp::from_millis),
        }
    }

    /// What time must have brought about of coupons by the end of a block stamped `now`, and has not.
    pub(super) fn coupons_overdue(&self, now: u64) -> Result<(), Objection> {
        for campaign in self.campaigns.iter().filter(|campaign| !campaign.retired) {
            let id = &campaign.definition.id;
            let closed = campaign.definition.ends_at.is_some_and(|end| end.as_millis() <= now);
            // What is over when it is created ends with the next block.
            let closed = closed && campaign.created_at < now;
            object_unless!(
                campaign.ended_at.is_some() || !closed,
                "campaign {id} should have ended by {now}"
            );
            for (n, coupon) in (1..).zip(&campaign.coupons) {
                let lapsed = coupon.held_until.is_some_and(|until| until <= now);
                object_unless!(!lapsed, "the hold of coupon {n} of {id} should have lapsed by {now}");
                let expired = coupon.state == CouponState::Issued && campaign.is_expired(coupon, now);
                object_unless!(!expired, "coupon {n} of {id} should have expired by {now}");
            }
        }
        Ok(())
    }

    /// How many coupons are held.
    pub(crate) fn holds(&self) -> usize {
        let held = |coupon: &&Coupon| coupon.state == CouponState::Held;
        self.campaigns.iter().flat_map(|campaign| &campaign.coupons).filter(held).count()
    }
}

fn changed(campaign: &mut Campaign, now: u64, event: &CouponEvent) -> Result<(), Objection> {
    object_unless!(campaign.ended_at.is_none(), "it changes a campaign that has ended");
    match event {
        CouponEvent::CampaignPaused { .. } | CouponEvent::CampaignResumed { .. } => {
            let paused = matches!(event, CouponEvent::CampaignPaused { .. });
            object_unless!(campaign.paused != paused, "it pauses or resumes for nothing");
            campaign.paused = paused;
        }
        CouponEvent::CampaignExtended { ends_at, .. } => {
            object_unless!(ends_at.as_millis() > now, "the new end is in the past");
            campaign.definition.ends_at = Some(*ends_at);
        }
        CouponEvent::CampaignQuantityChanged { quantity, .. } => {
            let issued = campaign.coupons.len() as u64;
            object_unless!(*quantity >= issued, "{issued} coupons are issued already");
            campaign.definition.quantity = Some(*quantity);
        }
        CouponEvent::CampaignEnded { cause, .. } => {
            let by_window = matches!(cause, EndCause::Window);
            let closed = campaign.definition.ends_at.is_some_and(|end| end.as_millis() <= now);
            object_unless!(!by_window || closed, "the window has not closed yet");
            campaign.ended_at = Some(now);
            campaign.settle(now);
        }
        _ => unreachable!("only changes of a campaign are sent here"),
    }
    Ok(())
}

fn issued(
    campaign: &mut Campaign,
    now: u64,
    seq: u64,
    coupon: CouponId,
    member: &MemberId,
) -> Result<(), Objection> {
    object_unless!(!campaign.is_over(now), "it issues a coupon of a campaign that is over");
    object_unless!(!campaign.paused, "it issues a coupon of a paused campaign");
    object_unless!(!campaign.is_before_start(now), "it issues a coupon before the start");
    object_unless!(!campaign.is_sold_out(), "it issues more than the quantity");
    let number = campaign.coupons.len() as u64 + 1;
    object_unless!(coupon.n() == number, "the next coupon is number {number}");
    let listed = campaign.definition.audience != Audience::AllowList || campaign.listed.contains(member);
    object_unless!(listed, "{member} is not on the allow-list");
    let had = campaign.had.entry(member.clone()).or_insert(0);
    *had += 1;
    let limit = u64::from(campaign.definition.per_member);
    object_unless!(*had <= limit, "{member} gets coupon {had} of at most {limit}");
    let state = CouponState::Issued;
    let coupon = Coupon {
        member: member.clone(),
        state,
        issued_at: now,
        seq,
        order: None,
        held_until: None,
        by_member: false,
    };
    campaign.coupons.push(coupon);
    Ok(())
}

fn coupon_changed(
    campaign: &mut Campaign,
    now: u64,
    id: CouponId,
    event: &CouponEvent,
) -> Result<(), Objection> {
    let at = (id.n() as usize).checked_sub(1).filter(|at| *at < campaign.coupons.len());
    let at = at.ok_or_else(|| "it names a coupon that was never issued".to_owned())?;
    let is_expired = campaign.is_expired(&campaign.coupons[at], now);
    let coupon = &mut campaign.coupons[at];
    let (state, holds) = (coupon.state, coupon.held_until.is_some_and(|until| until > now));
    match event {
        CouponEvent::CouponHeld { order, until, holder, .. } => {
            object_unless!(state == CouponState::Issued && !is_expired, "the coupon is not free");
            object_unless!(until.as_millis() > now, "the hold ends before it begins");
            coupon.state = CouponState::Held;
            coupon.order = Some(order.clone());
            coupon.held_until = Some(until.as_millis());
            coupon.by_member = *holder == Holder::Member;
        }
        CouponEvent::CouponRedeemed { order, .. } => {
            let own = state == CouponState::Held && coupon.order.as_ref() == Some(order) && holds;
            let free = state == CouponState::Issued && !is_expired;
            object_unless!(own || free, "the coupon is neither free nor held by {order}");
            coupon.state = CouponState::Redeemed;
            coupon.order = Some(order.clone());
            coupon.held_until = None;
        }
        CouponEvent::CouponReleased { cause: ReleaseCause::Restored, expired, .. } => {
            object_unless!(state == CouponState::Redeemed, "the coupon is not redeemed");
            object_unless!(*expired == is_expired, "it is wrong about the coupon's validity");
            coupon.state = if is_expired { CouponState::Expired } else { CouponState::Issued };
            coupon.order = None;
        }
        CouponEvent::CouponReleased { cause, expired, .. } => {
            object_unless!(state == CouponState::Held, "the coupon is not held");
            object_unless!(*cause == ReleaseCause::Asked || !holds, "the hold has not lapsed");
            object_unless!(*expired == is_expired, "it is wrong about the coupon's validity");
            coupon.state = if is_expired { CouponState::Expired } else { CouponState::Issued };
            coupon.order = None;
            coupon.held_until = None;
        }
        CouponEvent::CouponRevoked { .. } => {
            object_unless!(matches!(state, CouponState::Issued | CouponState::Held), "the coupon is final");
            coupon.state = CouponState::Revoked;
            coupon.order = None;
            coupon.held_until = None;
        }
        _ => unreachable!("only changes of one coupon are sent here"),
    }
    campaign.settle(now);
    Ok(())
}

fn expired(campaign: &mut Campaign, now: u64, first: u64, last: u64) -> Result<(), Objection> {
    let in_order =
        first == campaign.expired_to + 1 && first <= last && last as usize <= campaign.coupons.len();
    object_unless!(in_order, "the coupons are out of order");
    for n in first..=last {
        let due = campaign.is_expired(&campaign.coupons[n as usize - 1], now);
        object_unless!(due, "coupon {n} is not due");
        let coupon = &mut campaign.coupons[n as usize - 1];
        if coupon.state == CouponState::Issued {
            coupon.state = CouponState::Expired;
        }
    }
    campaign.expired_to = last;
    campaign.settle(now);
    Ok(())
}
