//! What may be answered to one command, given what the log says: the auditor's reading of the rules.

use crate::model::Model;
use banyan_domain::coupon::{
    Audience, Command, CouponState, Event as CouponEvent, Outcome as CouponOutcome, Refusal as No,
    ReleaseCause,
};
use banyan_domain::{CampaignNo, CouponId, Event, Holder, Outcome, limits};

impl Model {
    /// The answer to a command that has nothing left to do, and its log position.
    pub(super) fn natural_coupon(&self, command: &Command) -> Option<(Outcome, u64)> {
        let model = self;
        let campaign_of = |id: &str| {
            let no = model.campaigns.iter().position(|campaign| campaign.definition.id.as_str() == id)?;
            Some((CouponOutcome::Campaign { no: CampaignNo::new(no as u32 + 1) }, model.seq))
        };
        let as_it_is = |coupon, fits: fn(CouponState) -> bool| {
            let (_, found) = model.coupon(coupon)?;
            fits(found.state).then(|| (CouponOutcome::Coupon(model.coupon_answer(coupon)), model.seq))
        };
        let of_order = |coupon, order: &_, states: &[CouponState]| {
            let (_, found) = model.coupon(coupon)?;
            let same = states.contains(&found.state) && found.order.as_ref() == Some(order);
            same.then(|| (CouponOutcome::Coupon(model.coupon_answer(coupon)), model.seq))
        };
        let (outcome, seq) = match command {
            Command::IssueCoupon { campaign, member, .. } => {
                let no = model.campaigns.iter().position(|known| known.definition.id == *campaign)?;
                let campaign = &model.campaigns[no];
                let n = campaign.coupons.iter().position(|coupon| coupon.member == *member)?;
                let id = CouponId::new(CampaignNo::new(no as u32 + 1), n as u64 + 1);
                let only = campaign.definition.per_member == 1 && !campaign.retired;
                only.then(|| (CouponOutcome::Coupon(model.issue_answer(id)), campaign.coupons[n].seq))
            }
            Command::HoldCoupon { coupon, owner, order, .. } => {
                let (_, found) = model.coupon(*coupon)?;
                let taken_over = owner.is_none() && found.by_member && found.state == CouponState::Held;
                let as_it_is = of_order(*coupon, order, &[CouponState::Held, CouponState::Redeemed]);
                as_it_is.filter(|_| !taken_over)
            }
            Command::RedeemCoupon { coupon, order, .. } => of_order(*coupon, order, &[CouponState::Redeemed]),
            Command::ReleaseCoupon { coupon, .. } => {
                as_it_is(*coupon, |state| !matches!(state, CouponState::Held | CouponState::Redeemed))
            }
            Command::RevokeCoupon { coupon, .. } => as_it_is(*coupon, |state| state == CouponState::Revoked),
            Command::CreateCampaign { definition, .. } => {
                let known = model.campaign(definition.id.as_str())?;
                (known.created_as == **definition).then(|| campaign_of(definition.id.as_str()))?
            }
            Command::ChangeCampaign { campaign, change } => {
                let known = model.campaign(campaign.as_str())?;
                let nothing = change.quantity.is_none_or(|to| known.definition.quantity == Some(to))
                    && change.ends_at.is_none_or(|to| known.definition.ends_at == Some(to))
                    && change.paused.is_none_or(|to| known.paused == to)
                    && (!change.end || known.ended_at.is_some() || known.is_over(model.time));
                nothing.then(|| campaign_of(campaign.as_str()))?
            }
            Command::ExtendAllowList { campaign, members } => {
                let known = model.campaign(campaign.as_str())?;
                let all = members.iter().all(|member| known.listed.contains(member));
                let total = known.listed.len() as u64;
                all.then_some((CouponOutcome::AllowList { added: 0, total }, model.seq))
            }
        }?;
        Some((Outcome::Coupon(outcome), seq))
    }

    /// Whether `no` is true of `command` at `now`.
    pub(super) fn justified_coupon(&self, now: u64, command: &Command, no: No) -> bool {
        match command {
            Command::CreateCampaign { definition, .. } => {
                let known = self.campaign(definition.id.as_str());
                let other = known.is_some_and(|known| known.retired || known.created_as != **definition);
                no == No::CampaignExists && other
            }
            Command::IssueCoupon { campaign, .. }
            | Command::ChangeCampaign { campaign, .. }
            | Command::ExtendAllowList { campaign, .. } => {
                let Some(campaign) = self.campaign(campaign.as_str()) else {
                    return no == No::CampaignNotFound;
                };
                let over = campaign.retired || campaign.is_over(now);
                match (command, no) {
                    (Command::IssueCoupon { member, segments, .. }, _) => {
                        // Whoever has the only coupon is told so again, whatever became of the campaign.
                        let has_it = campaign.definition.per_member == 1 && campaign.has_had(member) == 1;
                        (campaign.retired || !has_it)
                            && match no {
                                No::Ended => over,
                                No::Paused => campaign.paused,
                                No::NotStarted => campaign.is_before_start(now),
                                No::NotEligible => match &campaign.definition.audience {
                                    Audience::Everyone => false,
                                    Audience::AllowList => !campaign.listed.contains(member),
                                    Audience::Segment(segment) => !segments.contains(segment),
                                },
                                No::LimitReached => {
                                    campaign.has_had(member) >= u64::from(campaign.definition.per_member)
                                }
                                No::SoldOut => campaign.is_sold_out(),
                                _ => false,
                            }
                    }
                    (_, No::Ended) => over,
                    (Command::ChangeCampaign { change, .. }, No::QuantityBelowIssued) => {
                        change.quantity.is_some_and(|to| to == 0 || to < campaign.coupons.len() as u64)
                    }
                    (Command::ChangeCampaign { change, .. }, No::EndInPast) => {
                        change.ends_at.is_some_and(|to| {
                            to.as_millis() <= now
                                || campaign.definition.starts_at.is_some_and(|start| to <= start)
                        })
                    }
                    (Command::ExtendAllowList { .. }, No::AllowListUnavailable) => {
                        campaign.definition.audience != Audience::AllowList
                    }
                    _ => false,
                }
            }
            Command::HoldCoupon { coupon, owner, order, .. }
            | Command::RedeemCoupon { coupon, owner, order }
            | Command::ReleaseCoupon { coupon, owner, order } => {
                let release = matches!(command, Command::ReleaseCoupon { .. });
                let Some((campaign, found)) = self.coupon(*coupon) else { return no == No::CouponNotFound };
                if owner.as_ref().is_some_and(|owner| *owner != found.member) {
                    return no == No::CouponNotFound;
                }
                let own = found.order.as_ref() == Some(order);
                match no {
                    No::CouponRedeemed => found.state == CouponState::Redeemed && (release || !own),
                    No::CouponRevoked => !release && found.state == CouponState::Revoked,
                    No::CouponExpired => {
                        let taken_over = found.by_member && matches!(command, Command::HoldCoupon { .. });
                        let over = found.state == CouponState::Issued || taken_over;
                        let lapsed = over && campaign.is_expired(found, now);
                        !release && (found.state == CouponState::Expired || lapsed)
                    }
                    No::CouponHeld => {
                        let lapsed = found.held_until.is_some_and(|until| until <= now);
                        let holds = matches!(command, Command::HoldCoupon { .. });
                        let of_shop = owner.is_some() && !found.by_member && !holds;
                        found.state == CouponState::Held && (!own || of_shop || (!release && lapsed))
                    }
                    _ => false,
                }
            }
            Command::RevokeCoupon { coupon, .. } => match (self.coupon(*coupon), no) {
                (None, no) => no == No::CouponNotFound,
                (Some((_, found)), No::CouponRedeemed) => found.state == CouponState::Redeemed,
                (Some((_, found)), No::CouponExpired) => found.state == CouponState::Expired,
                _ => false,
            },
        }
    }

    /// What the log says about whatever `command` concerns, for messages.
    pub(super) fn about_coupon(&self, command: &Command) -> String {
        match command {
            Command::CreateCampaign { definition, .. } => {
                format!("{:?}", self.campaign(definition.id.as_str()))
            }
            Command::IssueCoupon { campaign, member, .. } => self.campaign(campaign.as_str()).map_or_else(
                || "no such campaign".into(),
                |found| {
                    let (issued, had) = (found.coupons.len(), found.has_had(member));
                    format!("{issued} issued, {member} has {had}, {:?}", found.definition)
                },
            ),
            Command::ChangeCampaign { campaign, .. } | Command::ExtendAllowList { campaign, .. } => {
                format!("{:?}", self.campaign(campaign.as_str()).map(|found| &found.definition))
            }
            Command::HoldCoupon { coupon, .. }
            | Command::RedeemCoupon { coupon, .. }
            | Command::ReleaseCoupon { coupon, .. }
            | Command::RevokeCoupon { coupon, .. } => {
                format!("{:?}", self.coupon(*coupon).map(|found| found.1))
            }
        }
    }
}

/// Whether `event` is something that `command` may come to.
pub(super) fn fits(command: &Command, event: &Event, now: u64, model: &Model) -> bool {
    let Event::Coupon(event) = event else { return false };
    let owned = |coupon: CouponId, owner: &Option<_>| {
        let found = model.coupon(coupon);
        found.is_some_and(|(_, coupon)| owner.as_ref().is_none_or(|owner| coupon.member == *owner))
    };
    // Held by the shop, and a member asks.
    let of_shop = |coupon: CouponId, owner: &Option<_>| {
        let found = model.coupon(coupon).map(|(_, found)| found);
        owner.is_some() && found.is_some_and(|found| found.state == CouponState::Held && !found.by_member)
    };
    let named = |no: CampaignNo, id: &banyan_domain::CampaignId| {
        model.campaigns.get(no.get() as usize - 1).is_some_and(|campaign| campaign.definition.id == *id)
    };
    match (command, event) {
        (
            Command::CreateCampaign { definition, by },
            CouponEvent::CampaignCreated { definition: created, by: who, .. },
        ) => definition == created && by == who,
        (
            Command::IssueCoupon { campaign, member, segments },
            CouponEvent::CouponIssued { coupon, member: to },
        ) => {
            let audience = model.campaign(campaign.as_str()).map(|campaign| &campaign.definition.audience);
            let vouched = match audience {
                Some(Audience::Segment(segment)) => segments.contains(segment),
                _ => true,
            };
            member == to && vouched && named(coupon.campaign(), campaign)
        }
        (
            Command::HoldCoupon { coupon, owner, order, hold_for },
            CouponEvent::CouponHeld { coupon: held, order: by, until, holder },
        ) => {
            let span = hold_for.get().clamp(1, limits::HOLD_MILLIS_MAX);
            let who = if owner.is_some() { Holder::Member } else { Holder::Shop };
            let asked = coupon == held && order == by && *holder == who;
            asked && until.as_millis() == now + span && owned(*coupon, owner)
        }
        // What a member holds for an order the shop takes over.
        (
            Command::HoldCoupon { coupon, owner: None, order, .. },
            CouponEvent::CouponReleased { coupon: freed, cause: ReleaseCause::Asked, expired: false },
        ) => {
            let held = model.coupon(*coupon).map(|(_, found)| found);
            coupon == freed && held.is_some_and(|held| held.by_member && held.order.as_ref() == Some(order))
        }
        (
            Command::RedeemCoupon { coupon, owner, order },
            CouponEvent::CouponRedeemed { coupon: used, order: by },
        ) => coupon == used && order == by && owned(*coupon, owner) && !of_shop(*coupon, owner),
        (
            Command::ReleaseCoupon { coupon, owner, .. },
            CouponEvent::CouponReleased { coupon: freed, cause, .. },
        ) => {
            let asked = coupon == freed && *cause == ReleaseCause::Asked;
            asked && owned(*coupon, owner) && !of_shop(*coupon, owner)
        }
        (Command::RevokeCoupon { coupon, .. }, CouponEvent::CouponRevoked { coupon: taken, .. }) => {
            coupon == taken
        }
        (
            Command::ExtendAllowList { campaign, members },
            CouponEvent::AllowListExtended { no, members: added },
        ) => named(*no, campaign) && added.iter().all(|member| members.contains(member)),
        (Command::ChangeCampaign { campaign, change }, event) => {
            let wanted = match event {
                CouponEvent::CampaignPaused { .. } => change.paused == Some(true),
                CouponEvent::CampaignResumed { .. } => change.paused == Some(false),
                CouponEvent::CampaignExtended { ends_at, .. } => change.ends_at == Some(*ends_at),
                CouponEvent::CampaignQuantityChanged { quantity, .. } => change.quantity == Some(*quantity),
                CouponEvent::CampaignEnded { .. } => change.end,
                _ => false,
            };
            wanted && named(event.campaign(), campaign)
        }
        _ => false,
    }
}
