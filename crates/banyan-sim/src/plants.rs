//! Planted bugs, each at a seam of the real system, to show that the auditor would catch such a bug.

use crate::disk::Lies;
use banyan_domain::coupon::{self, Refusal as CouponRefusal};
use banyan_domain::{
    AccountNo, Command, Decision, Event, KeyStamp, MemberId, Refusal, State, TransferNo, order, pay, saga,
    stock,
};
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
    /// What a saga asks is asked before the block with the intent is durable.
    EffectFirst,
    /// Each try of a step has an idempotency key of its own.
    KeyOfEachTry,
    /// An unknown outcome is taken for a refusal.
    UnknownIsFailure,
    /// An undo is said to be done and is not asked for.
    UndoSkipped,
    /// A definition says that reserved stock needs no undo.
    UndoMissing,
    /// "Nothing is known of it" is taken for "it was done".
    AbsentIsDone,
    /// An answer that says nothing any more is applied once more.
    AnswerTwice,
    /// A partner forgets what was undone before it was done.
    NoTombstone,
    /// The company carries out a request as often as it comes.
    CompanyForgetsKeys,
    /// Reservations do not expire.
    ReservationsStay,
    /// More may be refunded than was paid.
    RefundUnbounded,
    /// A transfer credits an account of another currency.
    LegAcrossCurrencies,
    /// One unit more is reserved than is there.
    OversoldByOne,
    /// An order is placed below the price on the list.
    BelowPrice,
    /// A return gives the same goods back without end.
    ReturnsUnbounded,
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
        let asked = match asked {
            Command::Coupon(asked) => asked,
            asked => return bend_shop(self.0, state, decided, asked),
        };
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

    fn due(&self, state: &State) -> Vec<Event> {
        let mut due = state.due();
        if self.0 == Plant::ReservationsStay {
            due.retain(|event| !matches!(event, Event::Stock(stock::Event::ReservationExpired { .. })));
        }
        due
    }

    fn stamp(&self, stamp: Option<KeyStamp>) -> Option<KeyStamp> {
        stamp.filter(|_| self.0 != Plant::KeysNotStored)
    }
}

/// The bugs in stock, ledger and sagas.
fn bend_shop(
    plant: Plant,
    state: &State,
    decided: Result<Decision, Refusal>,
    asked: Command,
) -> Result<Decision, Refusal> {
    match (plant, decided, asked) {
        (
            Plant::AnswerTwice,
            Ok(Decision::Replay(..)),
            Command::Saga(saga::Command::Settle { saga, step, ask, attempt, result }),
        ) => Ok(Decision::One(Event::Saga(saga::Event::Settled { saga, step, ask, attempt, result }))),
        (
            Plant::RefundUnbounded,
            Err(Refusal::Pay(pay::Refusal::RefundExceeds)),
            Command::Pay(pay::Command::Transfer { transfers, reference, by }),
        ) => {
            let refund = transfers.as_slice().iter().find_map(|transfer| match transfer {
                pay::NewTransfer::Refund { of, amount } => Some((*of, *amount)),
                _ => None,
            });
            let row = refund.and_then(|(of, _)| state.ledger().refundable(state.time(), of));
            let (Some((of, amount)), Some(row)) = (refund, row) else {
                return Err(pay::Refusal::RefundExceeds.into());
            };
            let first = TransferNo::new(state.ledger().transfers_ever() + 1);
            let legs = vec![pay::Leg::Refunded { of, debit: row.credit, credit: row.debit, amount }];
            let opened = Vec::new();
            Ok(Decision::One(Event::Pay(pay::Event::Transferred { first, legs, reference, by, opened })))
        }
        (
            Plant::LegAcrossCurrencies,
            Ok(Decision::One(Event::Pay(pay::Event::Transferred { first, mut legs, reference, by, opened }))),
            _,
        ) => {
            // The first account ever opened is in won, points are not.
            if let Some(pay::Leg::Posted { credit, .. }) = legs.first_mut() {
                *credit = AccountNo::new(1);
            }
            Ok(Decision::One(Event::Pay(pay::Event::Transferred { first, legs, reference, by, opened })))
        }
        (
            Plant::OversoldByOne,
            Ok(Decision::One(Event::Stock(stock::Event::ReservationMade {
                reservation,
                mut parts,
                until,
                member,
                order,
                holder,
            }))),
            _,
        ) => {
            let part = parts.first_mut();
            part.into_iter().for_each(|part| part.held += 1);
            let event = stock::Event::ReservationMade { reservation, parts, until, member, order, holder };
            Ok(Decision::One(Event::Stock(event)))
        }
        (Plant::BelowPrice, Ok(Decision::Many(mut events)), Command::Order(order::Command::Place { .. })) => {
            for event in &mut events {
                if let Event::Order(order::Event::Placed { lines, .. }) = event {
                    lines.iter_mut().for_each(|line| line.unit_price -= 1);
                }
            }
            Ok(Decision::Many(events))
        }
        (
            Plant::ReturnsUnbounded,
            Ok(Decision::Many(mut events)),
            Command::Order(order::Command::Return { .. }),
        ) => {
            for event in &mut events {
                if let Event::Order(order::Event::RefundBegun { lines, .. }) = event {
                    lines.iter_mut().for_each(|line| line.quantity = 0);
                }
            }
            Ok(Decision::Many(events))
        }
        (_, decided, _) => decided,
    }
}

/// The event of issuing the next coupon to `member`, whatever the rules say.
fn issue(state: &State, campaign: &str, member: MemberId) -> Option<Decision> {
    let campaign = state.coupons().campaigns().find(|hot| hot.definition().id.as_str() == campaign)?;
    let coupon = banyan_domain::CouponId::new(campaign.no(), campaign.totals().issued + 1);
    Some(Decision::One(Event::Coupon(coupon::Event::CouponIssued { coupon, member })))
}
