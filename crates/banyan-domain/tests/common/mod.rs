//! A shop to test the rules on: a state, the log it wrote, and scripts of lines to ask it.
#![allow(dead_code, reason = "each test file uses a part")]

pub(crate) mod model;
pub(crate) mod script;

use banyan_domain::coupon::{self, Audience, Benefit, CampaignDefinition, Stacking};
use banyan_domain::{
    CampaignId, Command, Decision, Entry, Event, KeyStamp, MemberId, Outcome, Refusal, State, StoreSecret,
    Timestamp, codec,
};

/// A state that writes its log down.
#[derive(Clone)]
pub(crate) struct Shop {
    pub(crate) state: State,
    /// Blocks with events: their time, how many, and their stored bytes.
    pub(crate) log: Vec<(Timestamp, u32, Vec<u8>)>,
    open: (u32, Vec<u8>),
}

/// The answer to a command that was not refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) outcome: coupon::Outcome,
    pub(crate) replayed: bool,
    pub(crate) seq: Option<u64>,
}

impl Shop {
    pub(crate) fn new() -> Self {
        Self { state: State::new(StoreSecret::new([7; 32])), log: Vec::new(), open: (0, Vec::new()) }
    }

    /// Begins a block and lets everything happen that is due.
    pub(crate) fn at(&mut self, now: Timestamp) -> Vec<Event> {
        self.end_block();
        self.state.begin_block(now);
        let mut fired = Vec::new();
        loop {
            let due = self.state.due();
            if due.is_empty() {
                let next = self.state.next_deadline();
                assert!(next.is_none_or(|next| next > now), "{next:?} was missed at {now}");
                return fired;
            }
            for event in due {
                self.apply(&Entry { event: event.clone(), stamp: None });
                fired.push(event);
            }
        }
    }

    /// Begins a block of `millis` milliseconds after 1970.
    pub(crate) fn at_millis(&mut self, millis: u64) -> Vec<Event> {
        self.at(Timestamp::from_millis(millis))
    }

    /// Asks one command.
    pub(crate) fn ask(
        &mut self,
        command: coupon::Command,
        stamp: Option<KeyStamp>,
    ) -> Result<Answer, Refusal> {
        let mut events = match self.state.decide(Command::Coupon(command), stamp.as_ref())? {
            Decision::Replay(Outcome::Coupon(outcome), seq) => {
                return Ok(Answer { outcome, replayed: true, seq });
            }
            Decision::Keep(Outcome::Coupon(outcome), event) => {
                self.apply(&Entry { event, stamp });
                return Ok(Answer { outcome, replayed: true, seq: Some(self.state.seq()) });
            }
            Decision::One(event) => vec![event],
            Decision::Many(events) => events,
            other => panic!("a coupon command came to {other:?}"),
        };
        let last = events.pop().expect("a decision is never empty");
        for event in events {
            self.apply(&Entry { event, stamp: None });
        }
        self.apply(&Entry { event: last.clone(), stamp });
        let Some(Outcome::Coupon(outcome)) = self.state.outcome(&last) else {
            panic!("{last:?} has no outcome")
        };
        Ok(Answer { outcome, replayed: false, seq: Some(self.state.seq()) })
    }

    /// Applies an entry that must be right, and logs it.
    pub(crate) fn apply(&mut self, entry: &Entry) {
        let before = self.state.seq();
        let applied = self
            .state
            .apply(entry)
            .unwrap_or_else(|violation| panic!("{:.200}: {violation}", format!("{entry:?}")));
        assert_eq!((applied.seq, self.state.seq()), (before + 1, before + 1));
        self.open.0 += 1;
        codec::encode(entry, &mut self.open.1);
    }

    /// Logs the digest of the state, as the live writer does now and then.
    pub(crate) fn log_digest(&mut self) {
        let event = self.state.digest_event();
        self.apply(&Entry { event, stamp: None });
    }

    /// The state that the log alone gives, at the same time.
    pub(crate) fn replay(&mut self) -> State {
        self.end_block();
        let mut state = State::new(StoreSecret::new([7; 32]));
        for (time, count, body) in &self.log {
            state.begin_block(*time);
            for entry in codec::decode(body, *count) {
                let entry = entry.expect("what was written can be read");
                state.apply(&entry).expect("what was applied live applies again");
            }
        }
        state.begin_block(self.state.time());
        state
    }

    /// Everything that must be true at any moment.
    pub(crate) fn check(&self) {
        self.state.check_invariants().unwrap_or_else(|violation| panic!("{violation}"));
    }

    /// Everything that must be true at the end: the log gives the same state, and so does a snapshot.
    pub(crate) fn check_replay(&mut self) {
        self.check();
        let (live, replayed) = (self.state.clone(), self.replay());
        assert_eq!(replayed.digest(), live.digest());
        let bytes = live.to_snapshot();
        assert!(replayed.to_snapshot() == bytes, "a replay gives other snapshot bytes");
        let restored = State::from_snapshot(&bytes).expect("a snapshot can be read");
        assert_eq!(
            (restored.digest(), restored.seq(), restored.time()),
            (live.digest(), live.seq(), live.time())
        );
        assert!(restored.to_snapshot() == bytes, "a restored snapshot gives other bytes");
        restored.check_invariants().expect("a restored state is whole");
        assert_eq!(restored.next_deadline(), live.next_deadline());
    }

    /// Ends the block under way: it is stored if it has events.
    pub(crate) fn end_block(&mut self) {
        let (count, body) = std::mem::take(&mut self.open);
        if count > 0 {
            self.log.push((self.state.time(), count, body));
        }
    }
}

/// A campaign open to everyone, now and for ever, unlimited, one coupon a member.
pub(crate) fn definition(id: &str) -> CampaignDefinition {
    CampaignDefinition {
        id: CampaignId::new(id).expect("a valid id"),
        name: "Sale".into(),
        quantity: None,
        per_member: 1,
        benefit: Benefit::FreeShipping,
        minimum_order: None,
        starts_at: None,
        ends_at: None,
        audience: Audience::Everyone,
        valid_for: None,
        stacking: Stacking::Exclusive,
    }
}

/// The command to issue a coupon of the campaign `id` to `member`.
pub(crate) fn issue(id: &str, member: &str) -> coupon::Command {
    coupon::Command::IssueCoupon {
        campaign: CampaignId::new(id).expect("a valid id"),
        member: MemberId::new(member).expect("a valid member"),
        segments: Box::new([]),
    }
}

/// The command to create `definition`.
pub(crate) fn create(definition: CampaignDefinition) -> coupon::Command {
    let by = banyan_domain::Actor::new("ops").expect("a valid actor");
    coupon::Command::CreateCampaign { definition: Box::new(definition), by }
}

/// A small generator of numbers (splitmix64), for tests that need many.
pub(crate) struct Numbers(pub u64);

impl Numbers {
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ z >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ z >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
        (z ^ z >> 31) % bound
    }
}
