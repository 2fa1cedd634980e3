//! What each event changes. Every change is checked against the invariants before it is made, in release builds too: a
//! store that would issue one coupon too many must stop instead.

use super::Audience;
use super::campaign::Campaign;
use super::decide::is_expired;
use super::event::{EndCause, Event, ReleaseCause};
use super::rows::{CouponRow, CouponState, Hold, Redemption};
use super::state::{Coupons, Deadline, Retired, Slot};
use crate::limits;
use crate::state::Violation;
use crate::{CampaignNo, CouponId, MemberId, Millis, Timestamp};

type Result<T = ()> = core::result::Result<T, Violation>;

fn ensure(holds: bool, what: &'static str) -> Result {
    if holds { Ok(()) } else { Err(Violation::new(what)) }
}

impl Coupons {
    /// Applies one event that happened `at` the time of its block, at log position `seq`.
    ///
    /// # Errors
    /// A [`Violation`] if the event breaks an invariant; the state is unchanged then.
    pub(crate) fn apply(&mut self, at: Timestamp, seq: u64, event: &Event) -> Result {
        match event {
            Event::CouponIssued { coupon, member } => self.issued(at, seq, *coupon, member),
            Event::CampaignCreated { no, definition, .. } => self.created(*no, definition),
            Event::CampaignRetired { no } => self.retired_now(at, *no),
            Event::CouponHeld { .. }
            | Event::CouponRedeemed { .. }
            | Event::CouponReleased { .. }
            | Event::CouponRevoked { .. } => self.coupon_changed(at, event),
            Event::CouponsExpired { no, first, last } => self.expired(at, *no, *first, *last),
            Event::AllowListExtended { no, members } => self.allow_list_extended(*no, members),
            Event::CampaignPaused { no, .. } => self.header_changed(*no, |c| {
                ensure(!c.paused, "paused a campaign that was paused")?;
                c.paused = true;
                Ok(())
            }),
            Event::CampaignResumed { no, .. } => self.header_changed(*no, |c| {
                ensure(c.paused, "resumed a campaign that was not paused")?;
                c.paused = false;
                Ok(())
            }),
            Event::CampaignQuantityChanged { no, quantity, .. } => self.header_changed(*no, |c| {
                ensure(*quantity >= c.totals.issued, "quantity changed to below what is issued")?;
                ensure(*quantity <= limits::COUPONS_PER_CAMPAIGN_MAX, "quantity changed to above the limit")?;
                c.definition.quantity = Some(*quantity);
                Ok(())
            }),
            Event::CampaignExtended { no, ends_at, .. } => {
                let old = self.hot(*no)?.definition.ends_at;
                self.header_changed(*no, |c| {
                    c.definition.ends_at = Some(*ends_at);
                    Ok(())
                })?;
                if let Some(old) = old {
                    self.deadlines.remove(&(old, Deadline::WindowCloses(*no)));
                }
                self.deadlines.insert((*ends_at, Deadline::WindowCloses(*no)));
                Ok(())
            }
            Event::CampaignEnded { no, cause } => {
                let window = self.hot(*no)?.definition.ends_at;
                self.header_changed(*no, |c| {
                    let due = *cause != EndCause::Window || window.is_some_and(|end| end <= at);
                    ensure(due, "a window closed before its time")?;
                    c.ended_at = Some(at);
                    Ok(())
                })?;
                if let Some(window) = window {
                    self.deadlines.remove(&(window, Deadline::WindowCloses(*no)));
                }
                self.settle(at, *no);
                Ok(())
            }
        }
    }

    fn hot(&self, no: CampaignNo) -> Result<&Campaign> {
        self.campaign_no(no).ok_or(Violation::new("an event names a campaign that is not there"))
    }

    fn hot_mut(&mut self, no: CampaignNo) -> Result<&mut Campaign> {
        self.campaign_mut(no).ok_or(Violation::new("an event names a campaign that is not there"))
    }

    fn created(&mut self, no: CampaignNo, definition: &super::CampaignDefinition) -> Result {
        ensure(no.get() == self.campaigns_ever() + 1, "campaign numbers must follow each other")?;
        ensure(no.get() <= limits::CAMPAIGNS_MAX, "more campaigns were created than can be numbered")?;
        ensure(!self.by_id.contains_key(&definition.id), "a campaign id was given twice")?;
        ensure(definition.check().is_ok(), "a campaign was created from an invalid definition")?;
        let campaign = Campaign::new(no, definition.clone(), self.keys.members);
        self.digest.add(campaign.header_digest());
        if let Some(ends_at) = definition.ends_at {
            self.deadlines.insert((ends_at, Deadline::WindowCloses(no)));
        }
        self.by_id.insert(definition.id.clone(), no);
        self.slots.push(Slot::Hot(Box::new(campaign)));
        Ok(())
    }

    /// Changes a campaign's header and keeps the digest current.
    fn header_changed(&mut self, no: CampaignNo, change: impl FnOnce(&mut Campaign) -> Result) -> Result {
        let campaign = self.hot_mut(no)?;
        ensure(campaign.ended_at.is_none(), "an ended campaign was changed")?;
        let before = campaign.header_digest();
        change(campaign)?;
        let after = campaign.header_digest();
        self.digest.sub(before);
        self.digest.add(after);
        Ok(())
    }

    fn allow_list_extended(&mut self, no: CampaignNo, members: &[MemberId]) -> Result {
        let campaign = self.hot_mut(no)?;
        ensure(campaign.definition.audience == Audience::AllowList, "allow-list of a campaign without one")?;
        ensure(campaign.ended_at.is_none(), "the allow-list of an ended campaign was extended")?;
        ensure(members.len() <= limits::ALLOW_LIST_CHUNK_MAX, "an allow-list event is too long")?;
        // Checked for all before any is added, so that a damaged event changes nothing. Decided lists are sorted.
        let known = members.iter().any(|member| campaign.members.find(member.as_str()).is_some());
        ensure(!known && members.is_sorted_by(|a, b| a < b), "a member was added to an allow-list twice")?;
        let mut digest = crate::Digest::default();
        digest.sub(campaign.header_digest());
        for member in members {
            let (place, _) = campaign.members.find_or_add(member.as_str());
            campaign.allowed += 1;
            digest.add(campaign.members.digest(no, place));
        }
        digest.add(campaign.header_digest());
        self.digest.add(digest.get());
        Ok(())
    }

    fn issued(&mut self, at: Timestamp, seq: u64, coupon: CouponId, member: &MemberId) -> Result {
        let no = coupon.campaign();
        let campaign = self.hot_mut(no)?;
        let n = campaign.totals.issued + 1;
        ensure(campaign.ended_at.is_none(), "an ended campaign issued a coupon")?;
        ensure(coupon.n() == n, "coupon numbers must follow each other")?;
        ensure(campaign.left() != Some(0), "more coupons were issued than the quantity")?;
        ensure(n <= limits::COUPONS_PER_CAMPAIGN_MAX, "more coupons were issued than a campaign can have")?;
        let (place, added) = if campaign.definition.audience == Audience::AllowList {
            let place = campaign.members.find(member.as_str());
            let not_listed = Violation::new("a coupon was issued to a member who is not on the allow-list");
            (place.ok_or(not_listed)?, false)
        } else {
            campaign.members.find_or_add(member.as_str())
        };
        let previous = campaign.members.latest(place);
        let nth = campaign.row(u64::from(previous)).map_or(0, |row| row.nth) + 1;
        ensure(nth <= campaign.definition.per_member, "a member was issued more coupons than the limit")?;
        let row = CouponRow { issued_at: at, seq, member: place, previous, nth, state: CouponState::Issued };
        campaign.members.set_latest(place, n as u32);
        campaign.rows.push(row);
        campaign.totals.issued = n;
        let member_digest = added.then(|| campaign.members.digest(no, place));
        let expires_at = campaign.expires_at(&row).filter(|_| campaign.expiry_next == n);
        self.digest.add(row.digest(no, n));
        member_digest.into_iter().for_each(|digest| self.digest.add(digest));
        if let Some(expires_at) = expires_at {
            self.deadlines.insert((expires_at, Deadline::CouponsExpire(no)));
        }
        Ok(())
    }

    /// Applies an event of one coupon's life after its issue.
    fn coupon_changed(&mut self, at: Timestamp, event: &Event) -> Result {
        match event {
            Event::CouponHeld { coupon, order, until, holder } => {
                let (campaign, row) = self.issued_row(*coupon)?;
                let hold = Hold { order: order.clone(), until: *until, holder: *holder };
                ensure(!is_expired(campaign, row, at), "an expired coupon was held")?;
                self.move_coupon(*coupon, &[CouponState::Issued], CouponState::Held)?;
                self.put_hold(*coupon, hold)
            }
            Event::CouponRedeemed { coupon, order } => {
                let (campaign, row) = self.issued_row(*coupon)?;
                match campaign.hold(coupon.n()) {
                    Some(hold) => ensure(hold.order == *order, "a coupon was redeemed past another's hold")?,
                    None => ensure(!is_expired(campaign, row, at), "an expired coupon was redeemed")?,
                }
                let from = self.move_coupon(
                    *coupon,
                    &[CouponState::Issued, CouponState::Held],
                    CouponState::Redeemed,
                )?;
                if from == CouponState::Held {
                    self.take_hold(*coupon)?;
                }
                self.put_redemption(*coupon, Redemption { order: order.clone(), at })?;
                self.settle(at, coupon.campaign());
                Ok(())
            }
            Event::CouponReleased { coupon, cause: ReleaseCause::Restored, expired } => {
                let (campaign, row) = self.issued_row(*coupon)?;
                ensure(*expired == is_expired(campaign, row, at), "a release got the coupon's expiry wrong")?;
                let to = if *expired { CouponState::Expired } else { CouponState::Issued };
                self.move_coupon(*coupon, &[CouponState::Redeemed], to)?;
                self.take_redemption(*coupon)?;
                self.unsettle(coupon.campaign());
                Ok(())
            }
            Event::CouponReleased { coupon, cause, expired } => {
                let (campaign, row) = self.issued_row(*coupon)?;
                let over = campaign.hold(coupon.n()).is_some_and(|hold| hold.until <= at);
                ensure(*cause == ReleaseCause::Asked || over, "a hold lapsed before its deadline")?;
                ensure(*expired == is_expired(campaign, row, at), "a release got the coupon's expiry wrong")?;
                let to = if *expired { CouponState::Expired } else { CouponState::Issued };
                self.move_coupon(*coupon, &[CouponState::Held], to)?;
                self.take_hold(*coupon)?;
                self.settle(at, coupon.campaign());
                Ok(())
            }
            Event::CouponRevoked { coupon, .. } => {
                let from = self.move_coupon(
                    *coupon,
                    &[CouponState::Issued, CouponState::Held],
                    CouponState::Revoked,
                )?;
                if from == CouponState::Held {
                    self.take_hold(*coupon)?;
                }
                self.settle(at, coupon.campaign());
                Ok(())
            }
            _ => unreachable!("apply sends only events of one coupon here"),
        }
    }

    fn issued_row(&self, coupon: CouponId) -> Result<(&Campaign, &CouponRow)> {
        let campaign = self.hot(coupon.campaign())?;
        let row = campaign.row(coupon.n());
        Ok((campaign, row.ok_or(Violation::new("an event names a coupon that was not issued"))?))
    }

    /// Moves a coupon from one of the states `from` to `to`, and the totals with it. Returns the state it had.
    fn move_coupon(
        &mut self,
        coupon: CouponId,
        from: &[CouponState],
        to: CouponState,
    ) -> Result<CouponState> {
        let no = coupon.campaign();
        let campaign = self.hot_mut(no)?;
        let row = campaign
            .row_mut(coupon.n())
            .ok_or(Violation::new("an event names a coupon that was not issued"))?;
        ensure(from.contains(&row.state), "a coupon changed from a state that does not allow it")?;
        let before = row.digest(no, coupon.n());
        let old = row.state;
        row.state = to;
        let after = row.digest(no, coupon.n());
        campaign.totals.count(old, to);
        self.digest.sub(before);
        self.digest.add(after);
        Ok(old)
    }

    fn put_hold(&mut self, coupon: CouponId, hold: Hold) -> Result {
        self.digest.add(hold.digest(coupon.campaign(), coupon.n()));
        self.deadlines.insert((hold.until, Deadline::HoldLapses(coupon)));
        self.hot_mut(coupon.campaign())?.holds.insert(coupon.n(), hold);
        Ok(())
    }

    fn take_hold(&mut self, coupon: CouponId) -> Result {
        let hold = self.hot_mut(coupon.campaign())?.holds.remove(&coupon.n());
        let hold = hold.ok_or(Violation::new("a held coupon has no hold"))?;
        self.deadlines.remove(&(hold.until, Deadline::HoldLapses(coupon)));
        self.digest.sub(hold.digest(coupon.campaign(), coupon.n()));
        Ok(())
    }

    fn put_redemption(&mut self, coupon: CouponId, redemption: Redemption) -> Result {
        self.digest.add(redemption.digest(coupon.campaign(), coupon.n()));
        self.hot_mut(coupon.campaign())?.redemptions.insert(coupon.n(), redemption);
        Ok(())
    }

    fn take_redemption(&mut self, coupon: CouponId) -> Result {
        let redemption = self.hot_mut(coupon.campaign())?.redemptions.remove(&coupon.n());
        let redemption = redemption.ok_or(Violation::new("a redeemed coupon has no redemption"))?;
        self.digest.sub(redemption.digest(coupon.campaign(), coupon.n()));
        Ok(())
    }

    fn expired(&mut self, at: Timestamp, no: CampaignNo, first: u64, last: u64) -> Result {
        let campaign = self.hot_mut(no)?;
        let in_order = first == campaign.expiry_next && last >= first && last <= campaign.totals.issued;
        ensure(in_order, "an expiry names coupons out of order")?;
        let valid_for = campaign.definition.valid_for;
        ensure(valid_for.is_some(), "coupons of unlimited validity expired")?;
        let last_row = *campaign.row(last).expect("checked above");
        ensure(is_expired(campaign, &last_row, at), "coupons expired before their time")?;
        let armed = campaign.expires_at(campaign.row(first).expect("checked above")).expect("checked above");
        let mut digest = crate::Digest::default();
        digest.sub(campaign.header_digest());
        for n in first..=last {
            let row = &mut campaign.rows[n as usize - 1];
            if row.state == CouponState::Issued {
                digest.sub(row.digest(no, n));
                row.state = CouponState::Expired;
                digest.add(row.digest(no, n));
                campaign.totals.count(CouponState::Issued, CouponState::Expired);
            }
        }
        campaign.expiry_next = last + 1;
        digest.add(campaign.header_digest());
        // Several deadlines may fire in one block, each decided before any is applied: one of them may have settled the
        // campaign meanwhile, and a settled campaign needs no expiry any more.
        let unsettled = campaign.retires_at.is_none();
        let next = campaign.row(last + 1).and_then(|row| campaign.expires_at(row)).filter(|_| unsettled);
        self.digest.add(digest.get());
        self.deadlines.remove(&(armed, Deadline::CouponsExpire(no)));
        if let Some(next) = next {
            self.deadlines.insert((next, Deadline::CouponsExpire(no)));
        }
        self.settle(at, no);
        Ok(())
    }

    /// Arms the retirement of a campaign that has just become settled.
    fn settle(&mut self, at: Timestamp, no: CampaignNo) {
        let Some(campaign) = self.campaign_mut(no) else { return };
        if !campaign.is_settled() || campaign.retires_at.is_some() {
            return;
        }
        let retires_at = at.plus(Millis::new(limits::RETIRE_AFTER_MILLIS));
        let before = campaign.header_digest();
        campaign.retires_at = Some(retires_at);
        let after = campaign.header_digest();
        // Coupons that are all in final states need no expiry any more.
        let armed = campaign.row(campaign.expiry_next).and_then(|row| campaign.expires_at(row));
        self.digest.sub(before);
        self.digest.add(after);
        if let Some(armed) = armed {
            self.deadlines.remove(&(armed, Deadline::CouponsExpire(no)));
        }
        self.deadlines.insert((retires_at, Deadline::Retires(no)));
    }

    /// Takes back what [`Self::settle`] did to a campaign that has a coupon to settle again.
    fn unsettle(&mut self, no: CampaignNo) {
        let Some(campaign) = self.campaign_mut(no) else { return };
        let Some(retires_at) = campaign.retires_at.filter(|_| !campaign.is_settled()) else { return };
        let before = campaign.header_digest();
        campaign.retires_at = None;
        let after = campaign.header_digest();
        let armed = campaign.row(campaign.expiry_next).and_then(|row| campaign.expires_at(row));
        self.digest.sub(before);
        self.digest.add(after);
        self.deadlines.remove(&(retires_at, Deadline::Retires(no)));
        if let Some(armed) = armed {
            self.deadlines.insert((armed, Deadline::CouponsExpire(no)));
        }
    }

    fn retired_now(&mut self, at: Timestamp, no: CampaignNo) -> Result {
        let campaign = self.hot(no)?;
        ensure(campaign.is_settled(), "a campaign retired with coupons that can still change")?;
        // Until then remembered idempotency keys may point at its coupons.
        ensure(campaign.retires_at.is_some_and(|due| due <= at), "a campaign retired before its time")?;
        let ended_at = campaign.ended_at.ok_or(Violation::new("a campaign retired before it ended"))?;
        let definition = Box::new(campaign.definition.clone());
        let retired = Retired { definition, ended_at, totals: campaign.totals };
        let (old, retires_at) = (campaign.digest(), campaign.retires_at);
        self.digest.sub(old.get());
        self.digest.add(retired.digest(no));
        if let Some(retires_at) = retires_at {
            self.deadlines.remove(&(retires_at, Deadline::Retires(no)));
        }
        self.slots[no.get() as usize - 1] = Slot::Retired(retired);
        Ok(())
    }
}

impl super::Totals {
    /// Counts a coupon's change of state.
    pub(super) fn count(&mut self, from: CouponState, to: CouponState) {
        if let Some(total) = self.of(from) {
            *total -= 1;
        }
        if let Some(total) = self.of(to) {
            *total += 1;
        }
    }

    fn of(&mut self, state: CouponState) -> Option<&mut u64> {
        match state {
            CouponState::Issued => None,
            CouponState::Held => Some(&mut self.held),
            CouponState::Redeemed => Some(&mut self.redeemed),
            CouponState::Revoked => Some(&mut self.revoked),
            CouponState::Expired => Some(&mut self.expired),
        }
    }
}
