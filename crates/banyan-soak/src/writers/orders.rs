//! Checkouts of the old shop: its own code while it leads, the plugin's protocol while Banyan does.

use super::{Hands, Job, Reserved, Turn, tell};
use crate::old::{Fault, Phase, Session};
use crate::place::Class;
use serde_json::json;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::time::Instant;

/// All tries of a reservation together: a shopper waits this long at most.
const RESERVE_MAX: Duration = Duration::from_secs(6);
/// How long to wait while leadership changes hands, and how often to look.
const HANDOVER_MAX: Duration = Duration::from_secs(20);
const HANDOVER_LOOK: Duration = Duration::from_millis(100);
/// The hold of a reservation whose shopper goes away: nobody will ever need it.
const HOLD_OF_THE_GONE: Duration = Duration::from_secs(3);
/// Of a hundred orders with a reservation: those that are rolled back, and those whose process dies.
const ROLLED_BACK: u64 = 6;
const DIES: u64 = 4;

static NEXT: AtomicU64 = AtomicU64::new(1);

/// Places orders.
pub(crate) struct Orders;

impl Job for Orders {
    async fn turn(&mut self, hands: &mut Hands, session: &mut Session) -> Result<Turn, Fault> {
        let scarce = hands.place.skus(&[Class::Scarce]);
        let newest = &scarce[scarce.len().saturating_sub(2)..];
        let lasting = hands.place.skus(&[Class::Plain, Class::Counted]);
        let from: &[String] = if hands.random.chance(30) && !newest.is_empty() { newest } else { &lasting };
        let Some(sku) = hands.random.pick(from).cloned() else { return Ok(Turn::Done("nothing to order")) };
        let quantity = hands.random.between(1, 3) as u32;
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let (rolled_back, dies) = (hands.random.chance(ROLLED_BACK), hands.random.chance(DIES));
        let key = format!("order-{number}");
        let until = Instant::now() + HANDOVER_MAX;
        let reservation = loop {
            if session.enter().await? == Phase::Old {
                return old_code(session, number, &sku, quantity, rolled_back).await;
            }
            let hold = if dies { HOLD_OF_THE_GONE } else { hands.place.soak.hold };
            match hands.reserve(&sku, quantity, hold, &key, RESERVE_MAX).await {
                Reserved::Yes(reservation) => break reservation,
                Reserved::None => {
                    session.run("rollback").await?;
                    return Ok(Turn::Done("orders refused: sold out"));
                }
                Reserved::Unknown => {
                    session.run("rollback").await?;
                    return Ok(Turn::Done("orders given up: Banyan did not answer"));
                }
                Reserved::NotLeading if Instant::now() >= until => {
                    session.run("rollback").await?;
                    return Ok(Turn::Done("orders given up: nobody led for too long"));
                }
                // Gives the lock back, so that whoever hands leadership over can.
                Reserved::NotLeading => session.run("rollback").await.map(drop)?,
            }
            // The next look asks the database who leads now.
            tokio::time::sleep(HANDOVER_LOOK).await;
        };
        let row = format!("({number}, '{sku}', {quantity}, 'placed', 'lead', '{reservation}')");
        let written = write(session, &row, &reservation).await;
        if dies {
            return Ok(Turn::Died("orders whose process died"));
        }
        if rolled_back || written.is_err() {
            // It is certain that nothing was committed.
            hands.end(&reservation, "release", RESERVE_MAX).await;
            written?;
            session.run("rollback").await?;
            return Ok(Turn::Done("orders rolled back"));
        }
        // If the answer to this is lost, nothing is released: the outbox row decides.
        session.run("commit").await?;
        Ok(Turn::Done("orders, Banyan leads"))
    }
}

async fn write(session: &mut Session, row: &str, reservation: &str) -> Result<(), Fault> {
    session
        .run(&format!("insert into soak_order (id, sku, quantity, state, led, reservation) values {row}"))
        .await?;
    tell(session, "allocate", &json!({"reservation": reservation})).await
}

/// The old shop's own checkout: it decides in its own row.
async fn old_code(
    session: &mut Session,
    number: u64,
    sku: &str,
    quantity: u32,
    rolled_back: bool,
) -> Result<Turn, Fault> {
    let sql = format!(
        "update stock set num_allocated = coalesce(num_allocated, 0) + {quantity} where sku = '{sku}' and place = 'main' \
         and num_in_stock >= coalesce(num_allocated, 0) + {quantity}"
    );
    if session.run(&sql).await? == 0 {
        session.run("rollback").await?;
        return Ok(Turn::Done("orders refused: sold out"));
    }
    let row = format!("({number}, '{sku}', {quantity}, 'placed', 'old')");
    session.run(&format!("insert into soak_order (id, sku, quantity, state, led) values {row}")).await?;
    if rolled_back {
        session.run("rollback").await?;
        return Ok(Turn::Done("orders rolled back"));
    }
    session.run("commit").await?;
    Ok(Turn::Done("orders, the old shop leads"))
}
