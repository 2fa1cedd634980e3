//! Reservations by Banyan itself, such as a new front of the shop makes: sold, given up, or left to lapse.

use super::{Hands, Job, Reserved, Turn};
use crate::old::{Fault, Session};
use crate::place::Class;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

const RESERVE_MAX: Duration = Duration::from_secs(6);
/// How long an answer to the end of a reservation is waited for: nothing may stay unknown.
const END_MAX: Duration = Duration::from_secs(300);

static NEXT: AtomicU64 = AtomicU64::new(1);

/// Reserves and sells without the old shop.
pub(crate) struct Own;

impl Job for Own {
    async fn turn(&mut self, hands: &mut Hands, _: &mut Session) -> Result<Turn, Fault> {
        let sells = hands.random.chance(50);
        let classes: &[Class] = if sells {
            &[Class::Plain, Class::Scarce]
        } else {
            &[Class::Plain, Class::Counted, Class::Scarce]
        };
        let skus = hands.place.skus(classes);
        let Some(sku) = hands.random.pick(&skus).cloned() else {
            return Ok(Turn::Done("nothing to reserve"));
        };
        let quantity = hands.random.between(1, 2) as u32;
        let hold = Duration::from_secs(hands.random.between(2, 6));
        let key = format!("own-{}", NEXT.fetch_add(1, Ordering::Relaxed));
        let reservation = match hands.reserve(&sku, quantity, hold, &key, RESERVE_MAX).await {
            Reserved::Yes(reservation) => reservation,
            Reserved::NotLeading => return Ok(Turn::Done("own reservations refused: the old shop leads")),
            Reserved::None => return Ok(Turn::Done("own reservations refused: sold out")),
            Reserved::Unknown => return Ok(Turn::Done("own reservations without an answer")),
        };
        if sells {
            return Ok(Turn::Done(match hands.end(&reservation, "commit", END_MAX).await {
                Some((200, _)) => {
                    hands.place.own().push((reservation, sku, quantity));
                    "own reservations sold"
                }
                Some((409 | 410, _)) => "own reservations lapsed before the sale",
                other => {
                    hands.place.tally.finding(format!("committing {reservation} of {sku}: {other:?}"));
                    "own reservations of which nobody knows"
                }
            }));
        }
        if hands.random.chance(50) {
            hands.end(&reservation, "release", END_MAX).await;
            return Ok(Turn::Done("own reservations given up"));
        }
        Ok(Turn::Done("own reservations left to lapse"))
    }
}
