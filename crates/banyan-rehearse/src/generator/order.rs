//! Keeps a trace's steps in order per member, and remembers which coupons each was issued.

use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;

use super::job::{Job, Member, Work};

/// One step of a member at a time; later steps of the same member wait here.
#[derive(Default)]
pub(crate) struct Order {
    members: BTreeMap<Rc<str>, MemberState>,
}

#[derive(Default)]
struct MemberState {
    busy: bool,
    waiting: VecDeque<Job>,
    coupons: Vec<Coupon>,
}

struct Coupon {
    campaign: usize,
    code: Box<str>,
    taken: bool,
}

/// What became of a step that asked to go.
pub(crate) enum Turn {
    /// It may be sent now.
    Go(Job),
    /// It waits for an earlier step of the same member.
    Wait,
    /// It redeems a coupon that was never issued, so it cannot be sent.
    NothingToRedeem(Job),
}

impl Order {
    /// A step arrives.
    pub(crate) fn arrive(&mut self, job: Job) -> Turn {
        let Member::Named(name) = &job.member else { return Turn::Go(job) };
        let state = self.members.entry(Rc::clone(name)).or_default();
        if state.busy {
            state.waiting.push_back(job);
            return Turn::Wait;
        }
        state.begin(job)
    }

    /// A member's issue was answered with this coupon. A repeated answer adds nothing.
    pub(crate) fn issued(&mut self, member: &Member, campaign: usize, code: &str) {
        let Member::Named(name) = member else { return };
        let state = self.members.entry(Rc::clone(name)).or_default();
        if !state.coupons.iter().any(|coupon| coupon.code.as_ref() == code) {
            state.coupons.push(Coupon { campaign, code: code.into(), taken: false });
        }
    }

    /// A member's step ended, however it ended; gives the next one.
    pub(crate) fn ended(&mut self, member: &Member) -> Option<Turn> {
        let Member::Named(name) = member else { return None };
        let state = self.members.get_mut(name)?;
        state.busy = false;
        if let Some(next) = state.waiting.pop_front() {
            return Some(state.begin(next));
        }
        if state.coupons.is_empty() {
            self.members.remove(name);
        }
        None
    }
}

impl MemberState {
    fn begin(&mut self, mut job: Job) -> Turn {
        // Even a step that cannot be sent holds its place until it is settled, so that settling is one path.
        self.busy = true;
        if matches!(job.work, Work::RedeemOldest) {
            let oldest = self.coupons.iter_mut().find(|c| !c.taken && c.campaign == job.campaign);
            let Some(coupon) = oldest else { return Turn::NothingToRedeem(job) };
            coupon.taken = true;
            job.work = Work::Redeem { code: coupon.code.clone() };
        }
        Turn::Go(job)
    }
}
