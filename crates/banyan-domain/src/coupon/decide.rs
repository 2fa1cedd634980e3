//! The rules. Pure: the caller supplies the time and stores the events.

use super::command::{CampaignChange, Command, CouponAnswer, Outcome};
use super::event::{EndCause, Event, ReleaseCause};
use super::state::{Coupons, Deadline};
use super::{Audience, Campaign, CampaignDefinition, CampaignState, CouponRow, CouponState, Refusal};
use crate::limits;
use crate::{
    Actor, CampaignId, CampaignNo, CouponId, Decided, Holder, MemberId, Millis, OrderId, Reason, Remembered,
    SegmentName, Timestamp,
};

pub(crate) type Decision = Decided<Event, Outcome, Remembered>;

impl Coupons {
    /// Decides one command at `now`. Checks run in the order of [`Refusal`].
    pub(crate) fn decide(&self, now: Timestamp, command: Command) -> Result<Decision, Refusal> {
        match command {
            Command::IssueCoupon { campaign, member, segments } => {
                self.issue(now, &campaign, member, &segments)
            }
            Command::HoldCoupon { coupon, owner, order, hold_for } => {
                self.hold(now, coupon, owner.as_ref(), order, hold_for)
            }
            Command::RedeemCoupon { coupon, owner, order } => self.redeem(now, coupon, owner.as_ref(), order),
            Command::ReleaseCoupon { coupon, owner, order } => {
                self.release(now, coupon, owner.as_ref(), &order)
            }
            Command::RevokeCoupon { coupon, by, reason } => self.revoke(coupon, by, reason),
            Command::CreateCampaign { definition, by } => self.create(definition, by),
            Command::ChangeCampaign { campaign, change } => self.change(now, &campaign, *change),
            Command::ExtendAllowList { campaign, members } => self.extend_allow_list(now, &campaign, members),
        }
    }

    /// What is due at `now`, as events; at most `events_max`, and the rest at the next call once these are applied.
    pub(crate) fn due(&self, now: Timestamp, events_max: usize) -> Vec<Event> {
        let due = self.deadlines.iter().take_while(|(at, _)| *at <= now).take(events_max);
        due.map(|(_, deadline)| self.fire(now, *deadline)).collect()
    }

    fn fire(&self, now: Timestamp, deadline: Deadline) -> Event {
        match deadline {
            Deadline::WindowCloses(no) => Event::CampaignEnded { no, cause: EndCause::Window },
            Deadline::Retires(no) => Event::CampaignRetired { no },
            Deadline::HoldLapses(coupon) => {
                let campaign = self.campaign_no(coupon.campaign()).expect("a hold keeps its campaign hot");
                let row = campaign.row(coupon.n()).expect("a held coupon exists");
                Event::CouponReleased {
                    coupon,
                    cause: ReleaseCause::Deadline,
                    expired: is_expired(campaign, row, now),
                }
            }
            Deadline::CouponsExpire(no) => {
                let campaign = self.campaign_no(no).expect("unexpired coupons keep their campaign hot");
                let first = campaign.expiry_next;
                let end = (first + limits::EXPIRY_ROWS_PER_EVENT_MAX).min(campaign.totals.issued + 1);
                // Coupons were issued in order of time and live equally long: those that are due come first.
                let due = campaign.rows[first as usize - 1..end as usize - 1]
                    .partition_point(|row| is_expired(campaign, row, now));
                Event::CouponsExpired { no, first, last: first + due as u64 - 1 }
            }
        }
    }

    fn issue(
        &self,
        now: Timestamp,
        id: &CampaignId,
        member: MemberId,
        segments: &[SegmentName],
    ) -> Result<Decision, Refusal> {
        let no = *self.by_id.get(id).ok_or(Refusal::CampaignNotFound)?;
        let campaign = self.campaign_no(no).ok_or(Refusal::Ended)?;
        let known = campaign.members.find(member.as_str());
        let latest = known.map_or(0, |place| campaign.members.latest(place));
        // One coupon per member is its own idempotency key: asking again is answered as the first time, whatever has
        // become of the campaign since.
        if latest != 0 && campaign.definition.per_member == 1 {
            let row = campaign.row(u64::from(latest)).expect("a member's latest coupon exists");
            return Ok(Decision::Before(issued_answer(campaign, u64::from(latest), row), row.seq));
        }
        match campaign.state_at(now) {
            CampaignState::Open => {}
            CampaignState::Ended => return Err(Refusal::Ended),
            CampaignState::Scheduled => return Err(Refusal::NotStarted),
            CampaignState::Paused => return Err(Refusal::Paused),
        }
        let eligible = match &campaign.definition.audience {
            Audience::Everyone => true,
            Audience::AllowList => known.is_some(),
            Audience::Segment(segment) => segments.contains(segment),
        };
        if !eligible {
            return Err(Refusal::NotEligible);
        }
        let had = campaign.row(u64::from(latest)).map_or(0, |row| row.nth);
        if had >= campaign.definition.per_member {
            return Err(Refusal::LimitReached);
        }
        let room = limits::COUPONS_PER_CAMPAIGN_MAX - campaign.totals.issued;
        if campaign.left().unwrap_or(room).min(room) == 0 {
            return Err(Refusal::SoldOut);
        }
        Ok(Decision::One(Event::CouponIssued {
            coupon: CouponId::new(no, campaign.totals.issued + 1),
            member,
        }))
    }

    fn hold(
        &self,
        now: Timestamp,
        coupon: CouponId,
        owner: Option<&MemberId>,
        order: OrderId,
        hold_for: Millis,
    ) -> Result<Decision, Refusal> {
        let (campaign, row) = self.coupon(coupon, owner)?;
        let holder = holder(owner);
        let until = now.plus(Millis::new(hold_for.get().clamp(1, limits::HOLD_MILLIS_MAX)));
        match usable(campaign, coupon.n(), row, &order, now)? {
            Usable::Free => Ok(Decision::One(Event::CouponHeld { coupon, order, until, holder })),
            // What its member holds for an order the shop takes over: from then on the order rests on it.
            Usable::HeldByOrder(Holder::Member) if holder == Holder::Shop => {
                if is_expired(campaign, row, now) {
                    return Err(Refusal::CouponExpired);
                }
                let given_up = Event::CouponReleased { coupon, cause: ReleaseCause::Asked, expired: false };
                Ok(Decision::Many(vec![given_up, Event::CouponHeld { coupon, order, until, holder }]))
            }
            Usable::HeldByOrder(_) | Usable::RedeemedByOrder => {
                Ok(coupon_as_it_is(campaign, coupon.n(), row))
            }
        }
    }

    fn redeem(
        &self,
        now: Timestamp,
        coupon: CouponId,
        owner: Option<&MemberId>,
        order: OrderId,
    ) -> Result<Decision, Refusal> {
        let (campaign, row) = self.coupon(coupon, owner)?;
        match usable(campaign, coupon.n(), row, &order, now)? {
            // An order that only the shop knows of counts on it.
            Usable::HeldByOrder(Holder::Shop) if holder(owner) == Holder::Member => Err(Refusal::CouponHeld),
            Usable::Free | Usable::HeldByOrder(_) => {
                Ok(Decision::One(Event::CouponRedeemed { coupon, order }))
            }
            Usable::RedeemedByOrder => Ok(coupon_as_it_is(campaign, coupon.n(), row)),
        }
    }

    fn release(
        &self,
        now: Timestamp,
        coupon: CouponId,
        owner: Option<&MemberId>,
        order: &OrderId,
    ) -> Result<Decision, Refusal> {
        let (campaign, row) = self.coupon(coupon, owner)?;
        match (row.state, campaign.hold(coupon.n())) {
            (CouponState::Held, Some(hold))
                if hold.order == *order && (owner.is_none() || hold.holder == Holder::Member) =>
            {
                let expired = is_expired(campaign, row, now);
                Ok(Decision::One(Event::CouponReleased { coupon, cause: ReleaseCause::Asked, expired }))
            }
            (CouponState::Held, _) => Err(Refusal::CouponHeld),
            (CouponState::Redeemed, _) => Err(Refusal::CouponRedeemed),
            // Not held: released before, or its hold lapsed. Either way the caller has what it asked for.
            _ => Ok(coupon_as_it_is(campaign, coupon.n(), row)),
        }
    }

    /// Whether the coupon is there and `member`'s.
    pub(crate) fn is_of(&self, coupon: CouponId, member: &MemberId) -> bool {
        self.coupon(coupon, Some(member)).is_ok()
    }

    /// Whether `order` holds the coupon, or has redeemed it.
    pub(crate) fn is_with(&self, coupon: CouponId, order: &OrderId) -> bool {
        let Some(campaign) = self.campaign_no(coupon.campaign()) else { return false };
        let held = campaign.hold(coupon.n()).is_some_and(|hold| hold.order == *order);
        held || campaign.redemption(coupon.n()).is_some_and(|redemption| redemption.order == *order)
    }

    /// Frees a coupon that `order` has redeemed, because the order was given back. One that `order` has not redeemed, or of a
    /// campaign that is over for good, stays as it is: there is nothing to free.
    pub(crate) fn take_back(&self, now: Timestamp, coupon: CouponId, order: &OrderId) -> Option<Event> {
        let campaign = self.campaign_no(coupon.campaign())?;
        let row = campaign.row(coupon.n()).filter(|row| row.state == CouponState::Redeemed)?;
        campaign.redemption(coupon.n()).filter(|redemption| redemption.order == *order)?;
        let expired = is_expired(campaign, row, now);
        Some(Event::CouponReleased { coupon, cause: ReleaseCause::Restored, expired })
    }

    fn revoke(&self, coupon: CouponId, by: Actor, reason: Reason) -> Result<Decision, Refusal> {
        let (campaign, row) = self.coupon(coupon, None)?;
        match row.state {
            CouponState::Issued | CouponState::Held => {
                Ok(Decision::One(Event::CouponRevoked { coupon, by, reason }))
            }
            CouponState::Redeemed => Err(Refusal::CouponRedeemed),
            CouponState::Expired => Err(Refusal::CouponExpired),
            CouponState::Revoked => Ok(coupon_as_it_is(campaign, coupon.n(), row)),
        }
    }

    fn create(&self, definition: Box<CampaignDefinition>, by: Actor) -> Result<Decision, Refusal> {
        if let Some(&no) = self.by_id.get(&definition.id) {
            let same = self.campaign_no(no).is_some_and(|campaign| campaign.created_as == definition);
            return if same { Ok(campaign_as_it_is(no)) } else { Err(Refusal::CampaignExists) };
        }
        if self.campaigns_ever() == limits::CAMPAIGNS_MAX {
            return Err(Refusal::TooManyCampaigns);
        }
        let no = CampaignNo::new(self.campaigns_ever() + 1);
        Ok(Decision::One(Event::CampaignCreated { no, definition, by }))
    }

    fn change(&self, now: Timestamp, id: &CampaignId, change: CampaignChange) -> Result<Decision, Refusal> {
        let no = *self.by_id.get(id).ok_or(Refusal::CampaignNotFound)?;
        let campaign = self.campaign_no(no).ok_or(Refusal::Ended)?;
        let CampaignChange { paused, end, ends_at, quantity, by, reason } = change;
        let ended = campaign.state_at(now) == CampaignState::Ended;
        let changes_something = paused.is_some() || ends_at.is_some() || quantity.is_some();
        if ended && (changes_something || !end) {
            return Err(Refusal::Ended);
        }
        let mut events = Vec::new();
        if let Some(quantity) = quantity.filter(|&q| Some(q) != campaign.definition.quantity) {
            if quantity < campaign.totals.issued
                || quantity > limits::COUPONS_PER_CAMPAIGN_MAX
                || quantity == 0
            {
                return Err(Refusal::QuantityBelowIssued);
            }
            let (by, reason) = (by.clone(), reason.clone());
            events.push(Event::CampaignQuantityChanged { no, quantity, by, reason });
        }
        if let Some(ends_at) = ends_at.filter(|&e| Some(e) != campaign.definition.ends_at) {
            if ends_at <= now || campaign.definition.starts_at.is_some_and(|start| ends_at <= start) {
                return Err(Refusal::EndInPast);
            }
            events.push(Event::CampaignExtended { no, ends_at, by: by.clone(), reason: reason.clone() });
        }
        match paused {
            Some(true) if !campaign.paused => {
                events.push(Event::CampaignPaused { no, by: by.clone(), reason: reason.clone() });
            }
            Some(false) if campaign.paused => {
                events.push(Event::CampaignResumed { no, by: by.clone(), reason: reason.clone() });
            }
            _ => {}
        }
        if end && !ended {
            events.push(Event::CampaignEnded { no, cause: EndCause::Operator { by, reason } });
        }
        if events.is_empty() { Ok(campaign_as_it_is(no)) } else { Ok(Decision::Many(events)) }
    }

    fn extend_allow_list(
        &self,
        now: Timestamp,
        id: &CampaignId,
        mut members: Vec<MemberId>,
    ) -> Result<Decision, Refusal> {
        let no = *self.by_id.get(id).ok_or(Refusal::CampaignNotFound)?;
        let campaign = self.campaign_no(no).ok_or(Refusal::Ended)?;
        if campaign.state_at(now) == CampaignState::Ended {
            return Err(Refusal::Ended);
        }
        // A longer chunk would be an event that apply refuses: the edge splits lists, this only guards the store.
        let full = campaign.allowed + members.len() as u64 > limits::MEMBERS_PER_CAMPAIGN_MAX
            || members.len() > limits::ALLOW_LIST_CHUNK_MAX;
        if campaign.definition.audience != Audience::AllowList || full {
            return Err(Refusal::AllowListUnavailable);
        }
        members.retain(|member| campaign.members.find(member.as_str()).is_none());
        members.sort_unstable();
        members.dedup();
        if members.is_empty() {
            let outcome = Outcome::AllowList { added: 0, total: campaign.allowed };
            // It fits: an allow-list has fewer than 2^32 members.
            let remembered = Remembered::AllowList { no, added: 0, total: campaign.allowed as u32 };
            return Ok(Decision::AsItIs(outcome, remembered));
        }
        Ok(Decision::One(Event::AllowListExtended { no, members }))
    }

    fn coupon(&self, coupon: CouponId, owner: Option<&MemberId>) -> Result<(&Campaign, &CouponRow), Refusal> {
        let campaign = self.campaign_no(coupon.campaign()).ok_or(Refusal::CouponNotFound)?;
        let row = campaign.row(coupon.n()).ok_or(Refusal::CouponNotFound)?;
        match owner {
            Some(owner) if campaign.members.id(row.member) != owner.as_str() => Err(Refusal::CouponNotFound),
            _ => Ok((campaign, row)),
        }
    }
}

/// Who holds what is asked for: a caller that acts for one member only is that member.
const fn holder(owner: Option<&MemberId>) -> Holder {
    match owner {
        Some(_) => Holder::Member,
        None => Holder::Shop,
    }
}

/// How an order may use a coupon.
enum Usable {
    Free,
    HeldByOrder(Holder),
    RedeemedByOrder,
}

fn usable(
    campaign: &Campaign,
    n: u64,
    row: &CouponRow,
    order: &OrderId,
    now: Timestamp,
) -> Result<Usable, Refusal> {
    match row.state {
        CouponState::Redeemed if campaign.redemption(n).is_some_and(|r| r.order == *order) => {
            Ok(Usable::RedeemedByOrder)
        }
        CouponState::Redeemed => Err(Refusal::CouponRedeemed),
        CouponState::Revoked => Err(Refusal::CouponRevoked),
        CouponState::Expired => Err(Refusal::CouponExpired),
        // A hold outlives the coupon's validity, but not its own deadline, even if that has not become an event yet.
        CouponState::Held => {
            let own = campaign.hold(n).filter(|hold| hold.order == *order && hold.until > now);
            own.map(|hold| Usable::HeldByOrder(hold.holder)).ok_or(Refusal::CouponHeld)
        }
        CouponState::Issued if is_expired(campaign, row, now) => Err(Refusal::CouponExpired),
        CouponState::Issued => Ok(Usable::Free),
    }
}

pub(super) fn is_expired(campaign: &Campaign, row: &CouponRow, now: Timestamp) -> bool {
    campaign.expires_at(row).is_some_and(|expires_at| expires_at <= now)
}

fn coupon_as_it_is(campaign: &Campaign, n: u64, row: &CouponRow) -> Decision {
    let answer = coupon_answer(campaign, n, row);
    let CouponAnswer { coupon, state, held_until, .. } = answer;
    let remembered = Remembered::Changed { coupon, state, held_until: held_until.unwrap_or_default() };
    Decision::AsItIs(Outcome::Coupon(answer), remembered)
}

const fn campaign_as_it_is(no: CampaignNo) -> Decision {
    Decision::AsItIs(Outcome::Campaign { no }, Remembered::Campaign(no))
}

/// The answer to an issue: as it was when issued, so that a repeated answer equals the first.
fn issued_answer(campaign: &Campaign, n: u64, row: &CouponRow) -> Outcome {
    Outcome::Coupon(CouponAnswer {
        coupon: CouponId::new(campaign.no, n),
        member: None,
        state: CouponState::Issued,
        issued_at: row.issued_at,
        expires_at: campaign.expires_at(row),
        order: None,
        held_until: None,
    })
}

impl Coupons {
    /// The answer to the issue of `coupon` at `now`, which has not been issued yet.
    pub(crate) fn issue_ahead(&self, now: Timestamp, coupon: CouponId) -> Option<Outcome> {
        let campaign = self.campaign_no(coupon.campaign())?;
        let state = CouponState::Issued;
        let row = CouponRow { issued_at: now, seq: 0, member: 0, previous: 0, nth: 1, state };
        Some(issued_answer(campaign, coupon.n(), &row))
    }
}

fn coupon_answer(campaign: &Campaign, n: u64, row: &CouponRow) -> CouponAnswer {
    let hold = campaign.hold(n);
    let order = hold.map(|h| &h.order).or_else(|| campaign.redemption(n).map(|r| &r.order));
    CouponAnswer {
        coupon: CouponId::new(campaign.no, n),
        member: Some(MemberId::new(campaign.members.id(row.member)).expect("stored members were checked")),
        state: row.state,
        issued_at: row.issued_at,
        expires_at: campaign.expires_at(row),
        order: order.cloned(),
        held_until: hold.map(|h| h.until),
    }
}

impl Coupons {
    /// The answer to the issue of `coupon`, again.
    ///
    /// # Errors
    /// Its campaign has retired. Never within the horizon of a key under which something was done: campaigns stay hot for
    /// longer than that after their last change.
    pub(crate) fn recall_issue(&self, coupon: CouponId) -> Result<Outcome, Refusal> {
        let (campaign, row) = self.coupon(coupon, None)?;
        Ok(issued_answer(campaign, coupon.n(), row))
    }

    /// The answer to a change of `coupon`, again: the state it got then, whatever became of it since.
    ///
    /// # Errors
    /// Its campaign has retired. Never within the horizon of a key under which something was done, see
    /// [`Self::recall_issue`].
    pub(crate) fn recall_change(
        &self,
        coupon: CouponId,
        state: CouponState,
        held_until: Timestamp,
        command: Command,
    ) -> Result<Outcome, Refusal> {
        let (campaign, row) = self.coupon(coupon, None)?;
        let order = match command {
            Command::HoldCoupon { order, .. } | Command::RedeemCoupon { order, .. } => Some(order),
            _ => None,
        };
        let held_until = (state == CouponState::Held).then_some(held_until);
        let now = coupon_answer(campaign, coupon.n(), row);
        Ok(Outcome::Coupon(CouponAnswer { state, order, held_until, ..now }))
    }

    /// Whether `answer` is what a command that finds nothing to do is told now.
    pub(crate) fn is_so(&self, answer: &Remembered) -> bool {
        match *answer {
            Remembered::Issued(_)
            | Remembered::Stock(_)
            | Remembered::Pay(_)
            | Remembered::Saga(_)
            | Remembered::Order(_) => false,
            Remembered::Campaign(no) => self.campaign_no(no).is_some(),
            Remembered::AllowList { no, added, total } => {
                let listed = self.campaign_no(no).filter(|c| c.definition.audience == Audience::AllowList);
                added == 0 && listed.is_some_and(|campaign| campaign.allowed == u64::from(total))
            }
            Remembered::Changed { coupon, state, held_until } => {
                self.coupon(coupon, None).is_ok_and(|(campaign, row)| {
                    let until = campaign.hold(coupon.n()).map_or(Timestamp::default(), |hold| hold.until);
                    row.state == state && until == held_until
                })
            }
        }
    }

    /// The answer to a command whose last event is `event`, which has been applied.
    pub(crate) fn outcome(&self, event: &Event) -> Outcome {
        match event {
            Event::CouponIssued { coupon, .. } => {
                let (campaign, row) = self.coupon(*coupon, None).expect("an applied issue left its row");
                issued_answer(campaign, coupon.n(), row)
            }
            Event::CouponHeld { coupon, .. }
            | Event::CouponRedeemed { coupon, .. }
            | Event::CouponReleased { coupon, .. }
            | Event::CouponRevoked { coupon, .. } => {
                let (campaign, row) = self.coupon(*coupon, None).expect("an applied event left its row");
                Outcome::Coupon(coupon_answer(campaign, coupon.n(), row))
            }
            Event::AllowListExtended { no, members } => {
                let total = self.campaign_no(*no).map_or(0, Campaign::allowed);
                Outcome::AllowList { added: members.len() as u64, total }
            }
            Event::CampaignCreated { no, .. }
            | Event::CampaignPaused { no, .. }
            | Event::CampaignResumed { no, .. }
            | Event::CampaignExtended { no, .. }
            | Event::CampaignQuantityChanged { no, .. }
            | Event::CampaignEnded { no, .. }
            | Event::CampaignRetired { no }
            | Event::CouponsExpired { no, .. } => Outcome::Campaign { no: *no },
        }
    }
}
