//! Writes by others that come many at once.

use super::*;
use crate::legacy::Breach;
use crate::limits;

fn breach(name: &str, position: u64, index: u32) -> Breach {
    let what = reason("num_in_stock: 5/0 became 6/0");
    Breach { position, index, sku: sku(name), location: main(), what }
}

fn many(breaches: Vec<Breach>) -> Command {
    Command::NoteBreaches { capability: STOCK, breaches }
}

impl Shard {
    fn breaches(&self) -> u64 {
        self.state.legacy().capability(STOCK).breaches
    }

    /// The events that `command` would become.
    fn decided(&self, command: Command) -> Vec<AnyEvent> {
        match self.state.decide(command.into(), None).expect("taken") {
            Decision::One(event) => vec![event],
            Decision::Many(events) => events,
            _ => Vec::new(),
        }
    }
}

#[test]
fn a_bulk_write_is_one_event_that_names_every_row() {
    let mut shard = Shard::leading(&[("A", 5, 0)]);
    let all = || (0..500).map(|n| breach(&format!("S{}", n % 400), 30, n)).collect::<Vec<_>>();
    let events = shard.decided(many(all()));
    let [AnyEvent::Legacy(Event::BreachesNoted { count, named, others, position, index, .. })] =
        events.as_slice()
    else {
        panic!("{events:?}")
    };
    assert_eq!((*count, *position, *index), (500, 30, 499));
    assert_eq!(named.len(), limits::BREACHES_NAMED_MAX);
    assert_eq!(others.len(), 300, "rows, not writes");
    shard.ask(many(all())).expect("noted");
    assert_eq!(shard.breaches(), 500);
    assert!(shard.decided(many(all())).is_empty(), "noted once, however often it comes");
    let again = many(vec![breach("S1", 30, 499), breach("S1", 31, 0), breach("S2", 31, 1)]);
    shard.ask(again).expect("noted");
    assert_eq!(shard.breaches(), 502, "only what is new");
}

#[test]
fn one_write_is_told_as_ever() {
    let mut shard = Shard::leading(&[("A", 5, 0)]);
    let events = shard.decided(many(vec![breach("A", 30, 2)]));
    assert!(
        matches!(events.as_slice(), [AnyEvent::Legacy(Event::BreachNoted { index: 2, .. })]),
        "{events:?}"
    );
    let too_many = (0..501).map(|n| breach("A", 30, n)).collect();
    assert_eq!(shard.ask(many(too_many)), Err(Refusal::MirrorTooLarge.into()));
    assert!(shard.decided(many(Vec::new())).is_empty());
}
