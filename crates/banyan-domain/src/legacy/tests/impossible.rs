//! Messages of the old shop that cannot be so, and what travels with them.

use super::*;
use crate::limits;

#[test]
fn an_impossible_count_is_one_refused_message_and_the_rest_of_its_transaction_counts() {
    let mut shard = Shard::leading(&[("A", 5, 1)]);
    let count =
        |name: &str, in_stock, free| OutboxKind::Count { sku: sku(name), location: main(), in_stock, free };
    shard.reserve("A", 1).expect("reserved");
    let says = vec![
        OutboxKind::Ship { sku: sku("A"), location: main(), quantity: 1 },
        count("NEW", limits::ITEM_UNITS_MAX + 1, false),
        count("A", u32::MAX, false),
        count("B", 7, false),
        // Together with what is held it is too much.
        count("A", limits::ITEM_UNITS_MAX, true),
    ];
    shard.says(30, says).expect("applied");
    assert_eq!((shard.books("A"), shard.books("B")), ((4, 1), (7, 0)));
    assert_eq!(shard.state.stock().find(&sku("NEW"), &main()), None, "what was refused left nothing behind");
    assert_eq!(shard.state.legacy().capability(STOCK).refused, 3);
    // All of it was one transaction, and comes once.
    shard.says(30, vec![count("B", 9, false)]).expect("passed over");
    assert_eq!(shard.books("B"), (7, 0));
}
