//! Somebody who writes to what Banyan owns, past everybody: each of these writes must be noticed, and put right.

use super::{Hands, Job, Turn};
use crate::old::{Fault, Phase, Session};
use crate::place::Class;

/// Writes to owned columns while Banyan leads. Each SKU in its turn: one that is written to more than three times a minute is
/// left to the comparison, by design.
#[derive(Default)]
pub(crate) struct Foreign {
    turn: usize,
}

impl Job for Foreign {
    async fn turn(&mut self, hands: &mut Hands, session: &mut Session) -> Result<Turn, Fault> {
        // Behind the door, so that it is certain who leads when it is done.
        if session.enter().await? == Phase::Old {
            session.run("rollback").await?;
            return Ok(Turn::Done("foreign writes not made: the old shop leads"));
        }
        let skus = hands.place.skus(&[Class::Plain, Class::Counted]);
        let rows = if hands.random.chance(20) { 2 } else { 1 };
        let position = session.position().await?;
        for _ in 0..rows {
            let Some(sku) = skus.get(self.turn % skus.len().max(1)) else { break };
            self.turn += 1;
            let by = hands.random.between(1, 900);
            let what = match hands.random.between(0, 2) {
                0 => format!("num_in_stock = num_in_stock + {by}"),
                1 => format!("num_allocated = coalesce(num_allocated, 0) + {by}"),
                _ => format!(
                    "num_in_stock = num_in_stock + {by}, num_allocated = coalesce(num_allocated, 0) + 1"
                ),
            };
            session.run(&format!("update stock set {what} where sku = '{sku}' and place = 'main'")).await?;
            let row = format!("('{sku}', 'main', {position})");
            session.run(&format!("insert into soak_foreign (sku, place, position) values {row}")).await?;
        }
        session.run("commit").await?;
        Ok(Turn::Done("foreign transactions on owned columns"))
    }
}
