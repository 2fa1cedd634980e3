//! Tests of the stock rules: a small shop that writes its log down, for all of them.

mod golden;
mod model;
mod properties;
mod refused_events;
mod script;
mod table;

use super::{Command, Decision, Event, Line, Lines, Outcome, Refusal, Remembered, Stock};
use crate::{Actor, LocationId, MemberId, Millis, OrderId, Reason, ReservationNo, SkuId, Timestamp};

const KEY: [u8; 16] = [7; 16];

/// A stock, and the log it wrote.
#[derive(Clone)]
struct Shop {
    stock: Stock,
    now: Timestamp,
    /// Every event applied, as stored, with its time.
    log: Vec<(Timestamp, Vec<u8>)>,
}

/// An answer that was not a refusal: what was said, whether something was done, and what would be remembered under a key.
struct Answer {
    outcome: Outcome,
    is_new: bool,
    remembered: Remembered,
}

impl Shop {
    fn new() -> Self {
        Self { stock: Stock::new(KEY), now: Timestamp::default(), log: Vec::new() }
    }

    /// Begins a block and lets everything happen that is due.
    fn at(&mut self, now: Timestamp) -> Vec<Event> {
        self.now = now;
        let mut fired = Vec::new();
        loop {
            let due = self.stock.due(now, 3);
            if due.is_empty() {
                let next = self.stock.next_deadline();
                assert!(next.is_none_or(|next| next > now), "{next:?} was missed at {now}");
                return fired;
            }
            for event in due {
                self.apply(&event);
                fired.push(event);
            }
        }
    }

    fn ask(&mut self, command: Command) -> Result<Answer, Refusal> {
        let asked = command.clone();
        let events = match self.stock.decide(self.now, command)? {
            Decision::One(event) => vec![event],
            Decision::Many(events) => events,
            Decision::AsItIs(outcome, remembered) => {
                assert!(self.stock.is_so(&remembered), "{remembered:?} is not so");
                assert_eq!(self.stock.recall(remembered, &asked), Ok(outcome.clone()));
                return Ok(Answer { outcome, is_new: false, remembered });
            }
            Decision::Before(..) => panic!("stock has no natural keys"),
        };
        events.iter().for_each(|event| self.apply(event));
        let last = events.last().expect("a decision is never empty");
        let (outcome, remembered) = (self.stock.outcome(last), self.stock.remember(last));
        assert_eq!(self.stock.recall(remembered, &asked), Ok(outcome.clone()), "of {last:?}");
        assert_eq!(Remembered::from_words(remembered.to_words()), Some(remembered));
        Ok(Answer { outcome, is_new: true, remembered })
    }

    /// Applies an event that must be right, and logs it.
    fn apply(&mut self, event: &Event) {
        let seq = self.log.len() as u64 + 1;
        let applied = self.stock.apply(self.now, seq, event);
        applied.unwrap_or_else(|violation| panic!("{:.300}: {violation}", format!("{event:?}")));
        self.log.push((self.now, minicbor::to_vec(event).expect("a vector takes every write")));
    }

    /// Everything that must be true at any moment.
    #[track_caller]
    fn check(&self) {
        self.stock.check_invariants().unwrap_or_else(|violation| panic!("{violation}"));
    }

    /// Everything that must be true at the end: the log gives the same state, and so does a snapshot.
    fn check_replay(&self) {
        self.check();
        let mut replayed = Stock::new(KEY);
        for (seq, (at, bytes)) in (1..).zip(&self.log) {
            let event: Event = minicbor::decode(bytes).expect("what was written can be read");
            replayed.apply(*at, seq, &event).expect("what was applied live applies again");
        }
        assert_eq!(replayed.digest(), self.stock.digest());
        let bytes = snapshot(&self.stock);
        assert!(snapshot(&replayed) == bytes, "a replay gives other snapshot bytes");
        let restored = self.restored();
        assert_eq!(restored.digest(), self.stock.digest());
        assert!(snapshot(&restored) == bytes, "a restored snapshot gives other bytes");
        assert_eq!(restored.next_deadline(), self.stock.next_deadline());
    }

    fn restored(&self) -> Stock {
        let bytes = [&snapshot(&self.stock)[..], b"rest"].concat();
        let mut rest = &bytes[..];
        let restored = Stock::read_snapshot(&mut rest, KEY).expect("a snapshot can be read");
        assert_eq!(rest, b"rest");
        restored
    }
}

fn snapshot(stock: &Stock) -> Vec<u8> {
    let mut bytes = Vec::new();
    stock.write_snapshot(&mut bytes);
    bytes
}

fn sku(text: &str) -> SkuId {
    SkuId::new(text).expect("a valid SKU")
}

fn location(text: &str) -> LocationId {
    LocationId::new(text).expect("a valid location")
}

fn by() -> Actor {
    Actor::new("ops").expect("a valid actor")
}

fn reason() -> Reason {
    Reason::new("why").expect("a valid reason")
}

fn set(sku_id: &str, place: &str, on_hand: u32) -> Command {
    Command::SetStock { sku: sku(sku_id), location: location(place), on_hand, by: by(), reason: reason() }
}

/// Lines written as `SKU*N` or `SKU@LOCATION*N`.
fn lines(words: &[&str]) -> Lines {
    let line = |word: &&str| {
        let (name, quantity) = word.split_once('*').expect("a quantity");
        let (name, place) = name.split_once('@').map_or((name, None), |(name, place)| (name, Some(place)));
        let quantity = quantity.parse().expect("a number");
        Line { sku: sku(name), location: place.map(location), quantity }
    };
    Lines::new(words.iter().map(line).collect()).expect("valid lines")
}

fn reserve(words: &[&str], member: Option<&str>, hold_for: u64) -> Command {
    Command::Reserve {
        lines: lines(words),
        member: member.map(|member| MemberId::new(member).expect("a valid member")),
        order: member.map(|member| OrderId::new(format!("o-{member}")).expect("a valid order")),
        holder: crate::Holder::Shop,
        hold_for: Millis::new(hold_for),
    }
}

fn no(no: u64) -> ReservationNo {
    ReservationNo::new(no)
}
