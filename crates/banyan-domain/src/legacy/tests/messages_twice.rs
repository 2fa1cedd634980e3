//! Messages of the old shop that a copy finds in the outbox although they were taken in.

use super::*;

fn ship(id: u64) -> OutboxItem {
    OutboxItem { id, kind: OutboxKind::Ship { sku: sku("A"), location: main(), quantity: 1 } }
}

impl Shard {
    fn part(&mut self, position: u64, part: u32, outbox: Vec<OutboxItem>) {
        let batch = SourceBatch {
            capability: STOCK,
            source: source(),
            position,
            part,
            rows: vec![],
            outbox,
            switched: None,
        };
        self.ask(Command::ApplySource(Box::new(batch))).expect("applied");
    }
}

/// Found by reading: the old database was to delete what had been taken in, did not answer, and the slot was lost before it was
/// asked again. The copy found the messages, and goods were shipped twice in the books; a copy that broke did the same to its own.
#[test]
fn a_message_that_was_taken_in_and_not_deleted_does_not_count_again_in_a_copy() {
    let mut shard = Shard::leading(&[("A", 9, 9)]);
    shard.part(30, 1, vec![ship(1), ship(2)]);
    assert_eq!(shard.books("A"), (7, 7));
    // The slot is lost. The copy breaks off after its first part, which the old database does not delete either.
    shard.source(40);
    shard.part(40, 1, vec![ship(1), ship(3)]);
    assert_eq!(shard.books("A"), (6, 6), "one of them is new");
    shard.source(50);
    shard.part(50, 1, vec![ship(4), ship(3)]);
    shard.part(50, 2, vec![ship(2), ship(1)]);
    assert_eq!(shard.books("A"), (5, 5));
    shard.ask(Command::EndCopy { capability: STOCK }).expect("copied");
    // Outside a copy a number says nothing: a restored old database may use it again.
    shard.part(60, 1, vec![ship(4)]);
    assert_eq!(shard.books("A"), (4, 4));
}
