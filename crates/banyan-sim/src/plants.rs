//! Planted bugs, each at a seam of the real system, to show that the auditor would catch such a bug.

use crate::disk::Lies;
use banyan_domain::coupon::{self, Refusal as CouponRefusal};
use banyan_domain::{Command, Decision, Event, KeyStamp, MemberId, Refusal, State};
use banyan_engine::{DomainRules, Rules};
use clap::ValueEnum;

/// A planted bug.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Plant {
    /// Syncs of the log are acknowledged and not done.
    NoSync,
    /// Syncs of the log's directory are acknowledged and not done.
    NoDirectorySync,
    /// Answers leave before their block is appended.
    AnswersFirst,
    /// Readers see a block before it is appended.
    SummaryFirst,
    /// A failed sync is taken for a success.
    FailedSyncIsFine,
    /// Events are stored without their idempotency key.
    KeysNotStored,
    /// Idempotency keys are not looked up.
    KeysNotRead,
    /// One coupon more than the quantity may be issued.
    OneTooMany,
    /// One coupon more than the limit per member may be issued.
    OneMoreEach,
    /// "Sold out" is told one coupon early.
    SoldOutEarly,
    /// A release frees a coupon that another order holds.
    ReleasesForOthers,
    /// A repeated issue is answered with a log position that is one too low.
    WrongSeqAgain,
    /// A view writes its rows and its checkpoint in two transactions.
    CheckpointApart,
}

impl Plant {
    /// Every plant.
    #[must_use]
    pub fn all() -> &'static [Self] {
        Self::value_variants()
    }

    /// Its name on the command line.
    #[must_use]
    pub fn name(self) -> String {
        self.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned())
    }

    pub(crate) const fn lies(self) -> Lies {
        Lies {
            ignores_segment_syncs: matches!(self, Self::NoSync),
            ignores_directory_syncs: matches!(self, Self::NoDirectorySync),
            hides_failed_syncs: matches!(self, Self::FailedSyncIsFine),
        }
    }
}

/// The rules, with the bug planted that concerns them.
pub(crate) fn rules(plant: Option<Plant>) -> Box<dyn Rules> {
    match plant {
        Some(plant) => Box::new(Bent(plant)),
        None => Box::new(DomainRules),
    }
}

struct Bent(Plant);

impl Rules for Bent {
    fn decide(&self, state: &State, command: Command, stamp: Option<&KeyStamp>) -> Result<Decision, Refusal> {
        let stamp = stamp.filter(|_| self.0 != Plant::KeysNotRead);
        let asked = command.clone();
        let decided = state.decide(command, stamp);
        let Command::Coupon(asked) = asked else { return decided };
        match (self.0, decided, asked) {
            (Plant::OneTooMany, Err(refusal), coupon::Command::IssueCoupon { campaign, member, .. })
                if refusal == CouponRefusal::SoldOut.into() =>
            {
                issue(state, campaign.as_str(), member).ok_or(refusal)
            }
            (Plant::OneMoreEach, Err(refusal), coupon::Command::IssueCoupon { campaign, member, .. })
                if refusal == CouponRefusal::LimitReached.into() =>
            {
                issue(state, campaign.as_str(), member).ok_or(refusal)
            }
            (
                Plant::SoldOutEarly,
                Ok(Decision::One(event)),
                coupon::Command::IssueCoupon { campaign, .. },
            ) => {
                let left = state.coupons().campaign(&campaign).and_then(coupon::Campaign::left);
                if left == Some(1) { Err(CouponRefusal::SoldOut.into()) } else { Ok(Decision::One(event)) }
            }
            (Plant::ReleasesForOthers, Err(refusal), coupon::Command::ReleaseCoupon { coupon, .. })
                if refusal == CouponRefusal::CouponHeld.into() =>
            {
                let cause = coupon::ReleaseCause::Asked;
                Ok(Decision::One(Event::Coupon(coupon::Event::CouponReleased {
                    coupon,
                    cause,
                    expired: false,
                })))
            }
            (Plant::WrongSeqAgain, Ok(Decision::Replay(outcome, Some(seq))), _) => {
                Ok(Decision::Replay(outcome, Some(seq - 1)))
            }
            (_, decided, _) => decided,
        }
    }

    fn stamp(&self, stamp: Option<KeyStamp>) -> Option<KeyStamp> {
        stamp.filter(|_| self.0 != Plant::KeysNotStored)
    }
}

/// The event of issuing the next coupon to `member`, whatever the rules say.
fn issue(state: &State, campaign: &str, member: MemberId) -> Option<Decision> {
    let campaign = state.coupons().campaigns().find(|hot| hot.definition().id.as_str() == campaign)?;
    let coupon = banyan_domain::CouponId::new(campaign.no(), campaign.totals().issued + 1);
    Some(Decision::One(Event::Coupon(coupon::Event::CouponIssued { coupon, member })))
}
