//! What a command would come to, without anything happening.

use crate::coupon;
use crate::state::{Decision, State};
use crate::stock;
use crate::{Command, Event, KeyStamp, Outcome, Refusal};

/// The answer that a command would get.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Foretold {
    /// The answer.
    pub outcome: Outcome,
    /// The log position that it would have.
    pub seq: u64,
    /// Whether it was given before.
    pub replayed: bool,
}

impl State {
    /// What [`State::decide`] and applying it would answer now. Nothing where the answer is known only when the events are
    /// applied: today it is known ahead for reserving stock and for issuing a coupon.
    ///
    /// # Errors
    /// The [`Refusal`] that the command would get.
    pub fn foretell(&self, command: Command, stamp: Option<&KeyStamp>) -> Result<Option<Foretold>, Refusal> {
        let next = self.seq() + 1;
        Ok(match self.decide(command, stamp)? {
            Decision::Replay(outcome, seq) => {
                Some(Foretold { outcome, seq: seq.unwrap_or(self.seq()), replayed: true })
            }
            Decision::Keep(outcome, _) => Some(Foretold { outcome, seq: next, replayed: true }),
            Decision::One(event) => {
                self.outcome_ahead(&event).map(|outcome| Foretold { outcome, seq: next, replayed: false })
            }
            Decision::Many(_) => None,
        })
    }

    /// The answer to a command whose only event is `event`, which has not been applied.
    fn outcome_ahead(&self, event: &Event) -> Option<Outcome> {
        match event {
            // All of the answer is in the event.
            Event::Stock(event @ stock::Event::ReservationMade { .. }) => {
                Some(Outcome::Stock(self.stock().outcome(event)))
            }
            Event::Coupon(coupon::Event::CouponIssued { coupon, .. }) => {
                self.coupons().issue_ahead(self.time(), *coupon).map(Outcome::Coupon)
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stock::{Line, Lines};
    use crate::{
        Actor, CampaignId, Entry, LocationId, MemberId, Millis, Reason, SkuId, StoreSecret, Timestamp,
    };

    fn state() -> State {
        let mut state = State::new(StoreSecret::new([7; 32]));
        state.begin_block(Timestamp::from_millis(5_000));
        let by = Actor::new("op").expect("a name");
        let count = stock::Command::SetStock {
            sku: SkuId::new("A").expect("a SKU"),
            location: LocationId::new("main").expect("a location"),
            on_hand: 5,
            by: by.clone(),
            reason: Reason::new("a test").expect("words"),
        };
        carry_out(&mut state, Command::Stock(count), None);
        let create = coupon::Command::CreateCampaign { definition: Box::new(campaign()), by };
        carry_out(&mut state, Command::Coupon(create), None);
        state
    }

    fn campaign() -> coupon::CampaignDefinition {
        coupon::CampaignDefinition {
            id: CampaignId::new("noon").expect("an id"),
            name: "Noon".into(),
            quantity: Some(2),
            per_member: 1,
            benefit: coupon::Benefit::FreeShipping,
            minimum_order: None,
            starts_at: None,
            ends_at: None,
            audience: coupon::Audience::Everyone,
            valid_for: Some(Millis::new(60_000)),
            stacking: coupon::Stacking::Exclusive,
        }
    }

    /// What the engine does with a command.
    fn carry_out(state: &mut State, command: Command, stamp: Option<KeyStamp>) -> Foretold {
        let mut events = match state.decide(command, stamp.as_ref()).expect("it is not refused") {
            Decision::Replay(outcome, seq) => {
                return Foretold { outcome, seq: seq.unwrap_or(state.seq()), replayed: true };
            }
            Decision::Keep(..) => panic!("nothing here is as it is"),
            Decision::One(event) => vec![event],
            Decision::Many(events) => events,
        };
        let last = events.pop().expect("there is one");
        for event in events {
            state.apply(&Entry { event, stamp: None }).expect("it fits");
        }
        let entry = Entry { event: last, stamp };
        let seq = state.apply(&entry).expect("it fits").seq;
        let outcome = state.outcome(&entry.event).expect("an answer");
        Foretold { outcome, seq, replayed: false }
    }

    fn reserve(quantity: u32) -> Command {
        let line = Line { sku: SkuId::new("A").expect("a SKU"), location: None, quantity };
        let (lines, hold_for) = (Lines::new(vec![line]).expect("lines"), Millis::new(60_000));
        Command::Stock(stock::Command::Reserve {
            lines,
            member: None,
            order: None,
            holder: crate::Holder::Shop,
            hold_for,
        })
    }

    fn issue(member: &str) -> Command {
        let (campaign, member) = (campaign().id, MemberId::new(member).expect("a member"));
        Command::Coupon(coupon::Command::IssueCoupon { campaign, member, segments: Box::default() })
    }

    #[test]
    fn what_is_foretold_is_what_happens_then() {
        let mut state = state();
        let stamp = |text: &str| KeyStamp::new(state.keys(), "op", text, text.as_bytes());
        let (k1, k2) = (stamp("k1"), stamp("k2"));
        for (command, stamp) in [
            (reserve(2), Some(k1)),
            (issue("ada"), None),
            (reserve(3), Some(k2)),
            (issue("ben"), None),
            // Given before: under a key, and to a member who has one.
            (reserve(2), Some(k1)),
            (issue("ada"), None),
        ] {
            let before = (state.digest(), state.seq());
            let told = state.foretell(command.clone(), stamp.as_ref()).expect("not refused").expect("known");
            assert_eq!((state.digest(), state.seq()), before, "nothing happens by asking");
            assert_eq!(told, carry_out(&mut state, command, stamp));
        }
        for refused in [reserve(1), issue("cem")] {
            let told = state.foretell(refused.clone(), None).expect_err("nothing is left");
            assert_eq!(told, state.decide(refused, None).expect_err("nothing is left"));
        }
    }

    #[test]
    fn what_is_known_only_when_it_has_happened_is_not_foretold() {
        let state = state();
        let receive = stock::Command::Receive {
            sku: SkuId::new("A").expect("a SKU"),
            location: LocationId::new("main").expect("a location"),
            quantity: 1,
            by: Actor::new("op").expect("a name"),
            reason: Reason::new("a test").expect("words"),
        };
        assert_eq!(state.foretell(Command::Stock(receive), None), Ok(None));
    }
}
