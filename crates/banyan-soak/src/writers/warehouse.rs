//! The warehouse, and the people who edit stock: shipping, cancelling, counting. One writer, so that the counts have an order.

use super::{Hands, Job, Turn, tell};
use crate::old::{Fault, Phase, Session};
use crate::place::Class;
use serde_json::json;

/// Orders that are looked at in a turn, and handled in one transaction at most.
const SEEN: u64 = 40;
const HANDLED_MAX: u64 = 8;

/// Ships, cancels and counts.
pub(crate) struct Warehouse;

impl Job for Warehouse {
    async fn turn(&mut self, hands: &mut Hands, session: &mut Session) -> Result<Turn, Fault> {
        if hands.random.chance(20) {
            return count(hands, session).await;
        }
        let phase = session.enter().await?;
        let sql = format!(
            "select id, sku, quantity from soak_order where state = 'placed' order by id limit {SEEN}"
        );
        let mut waiting = session.rows(&sql).await?;
        hands.random.shuffle(&mut waiting);
        let handled = hands.random.between(1, HANDLED_MAX) as usize;
        let plain = hands.place.skus(&[Class::Plain]);
        let (mut shipped, mut cancelled) = (0, 0);
        for row in waiting.iter().take(handled) {
            let [Some(id), Some(sku), Some(quantity)] = row.as_slice() else { continue };
            let cancels = plain.contains(sku) && hands.random.chance(25);
            handle(session, phase, [id, sku, quantity], cancels).await?;
            *(if cancels { &mut cancelled } else { &mut shipped }) += 1;
        }
        session.run("commit").await?;
        hands.place.tally.add("orders shipped", shipped);
        hands.place.tally.add("orders cancelled", cancelled);
        Ok(Turn::Done("rounds of the warehouse"))
    }
}

async fn handle(
    session: &mut Session,
    phase: Phase,
    order: [&String; 3],
    cancels: bool,
) -> Result<(), Fault> {
    let [id, sku, quantity] = order;
    let (state, kind) = if cancels { ("cancelled", "deallocate") } else { ("shipped", "ship") };
    match phase {
        Phase::Lead => {
            let units: u32 = quantity.parse().unwrap_or_default();
            tell(session, kind, &json!({"sku": sku, "location": "main", "quantity": units})).await?;
        }
        Phase::Old => {
            let leaves = if cancels { "0" } else { quantity };
            let sql = format!(
                "update stock set num_in_stock = num_in_stock - {leaves}, num_allocated = num_allocated - {quantity} \
                 where sku = '{sku}' and place = 'main'"
            );
            session.run(&sql).await?;
        }
    }
    session.run(&format!("update soak_order set state = '{state}' where id = {id}")).await?;
    if !cancels {
        session
            .run(&format!("insert into soak_move (sku, kind, value) values ('{sku}', 'ship', {quantity})"))
            .await?;
    }
    Ok(())
}

async fn count(hands: &mut Hands, session: &mut Session) -> Result<Turn, Fault> {
    let skus = hands.place.skus(&[Class::Counted]);
    let Some(sku) = hands.random.pick(&skus).cloned() else { return Ok(Turn::Done("nothing to count")) };
    let units = hands.random.between(4_000, 6_000);
    set(session, &sku, units).await?;
    Ok(Turn::Done("counts"))
}

/// Says how many there are, as an administrator does, in one transaction.
pub(super) async fn set(session: &mut Session, sku: &str, units: u64) -> Result<Phase, Fault> {
    let phase = session.enter().await?;
    match phase {
        Phase::Lead => {
            tell(session, "count", &json!({"sku": sku, "location": "main", "on_hand": units})).await?;
        }
        Phase::Old => {
            let sql =
                format!("update stock set num_in_stock = {units} where sku = '{sku}' and place = 'main'");
            session.run(&sql).await?;
        }
    }
    session
        .run(&format!("insert into soak_move (sku, kind, value) values ('{sku}', 'count', {units})"))
        .await?;
    session.run("commit").await?;
    Ok(phase)
}
