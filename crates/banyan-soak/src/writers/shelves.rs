//! What else a shop does all day: new goods, other columns, the showroom.

use super::{Hands, Job, Turn, tell};
use crate::old::{Fault, Phase, Session};
use crate::place::{Class, Goods};
use serde_json::json;

/// Puts new goods on the shelves, a few units each, which everybody wants at once.
#[derive(Default)]
pub(crate) struct Shelves {
    made: u32,
}

impl Job for Shelves {
    async fn turn(&mut self, hands: &mut Hands, session: &mut Session) -> Result<Turn, Fault> {
        self.made += 1;
        let first = hands.random.between(8, 30) as u32;
        let goods = Goods { sku: format!("L{}", self.made), class: Class::Scarce, first };
        let place = hands.place.clone();
        place.put_up(session, goods).await?;
        Ok(Turn::Done("new goods"))
    }
}

/// Changes what is none of Banyan's business: one row, or all of them in one statement.
pub(crate) struct Repricing;

impl Job for Repricing {
    async fn turn(&mut self, hands: &mut Hands, session: &mut Session) -> Result<Turn, Fault> {
        let all = hands.random.chance(30);
        let (seen, price) = (hands.random.next() % 1_000, hands.random.between(100, 9_900));
        let skus = hands.place.skus(&[Class::Plain, Class::Counted, Class::Scarce]);
        let of = match hands.random.pick(&skus).filter(|_| !all) {
            Some(sku) => format!("where sku = '{sku}'"),
            None => String::new(),
        };
        session.run("start transaction").await?;
        session.run(&format!("update stock set note = 'seen {seen}' {of}")).await?;
        session.run(&format!("update product set price = {price} / 100.0 {of}")).await?;
        session.run("commit").await?;
        Ok(Turn::Done(if all { "other columns, all rows at once" } else { "other columns of a row" }))
    }
}

/// Sets what is on display: a second mapped table, with one number.
pub(crate) struct Showroom;

impl Job for Showroom {
    async fn turn(&mut self, hands: &mut Hands, session: &mut Session) -> Result<Turn, Fault> {
        let skus = hands.place.skus(&[Class::Plain, Class::Counted, Class::Scarce]);
        let Some(sku) = hands.random.pick(&skus).cloned() else { return Ok(Turn::Done("nothing to show")) };
        let units = hands.random.between(1, 9);
        match session.enter().await? {
            Phase::Lead => {
                tell(session, "count", &json!({"sku": sku, "location": "display", "on_hand": units})).await?;
            }
            Phase::Old => {
                session.run(&format!("update display set units = {units} where sku = '{sku}'")).await?;
            }
        }
        session.run("commit").await?;
        Ok(Turn::Done("pieces put on display"))
    }
}
