//! Those who write: each a task with a session, a client and random numbers of its own, and one turn after the other.

mod foreign;
mod orders;
mod own;
mod probe;
mod shelves;
mod warehouse;

pub(crate) use foreign::Foreign;
pub(crate) use orders::Orders;
pub(crate) use own::Own;
pub(crate) use probe::Probing;
pub(crate) use shelves::{Repricing, Shelves, Showroom};
pub(crate) use warehouse::Warehouse;

use crate::http::Http;
use crate::old::{Fault, Session};
use crate::place::Place;
use crate::random::Random;
use serde_json::json;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::Instant;

/// One try of the old shop's client, and the pause before the next.
const TRY_MAX: Duration = Duration::from_secs(2);
const TRY_PAUSE: Duration = Duration::from_millis(50);
/// How long to wait before connecting to a database again that is not there.
const CONNECT_PAUSE: Duration = Duration::from_millis(200);

/// What a writer has in its hands.
pub(crate) struct Hands {
    pub(crate) place: Arc<Place>,
    pub(crate) random: Random,
    pub(crate) http: Http,
}

/// How a turn ended.
pub(crate) enum Turn {
    /// Its transaction is over.
    Done(&'static str),
    /// The writer went away in the middle of it: its session is gone.
    Died(&'static str),
}

/// What a writer does.
pub(crate) trait Job: Send + 'static {
    /// One turn. An error ends the transaction, and the session too if it is lost.
    fn turn(
        &mut self,
        hands: &mut Hands,
        session: &mut Session,
    ) -> impl Future<Output = Result<Turn, Fault>> + Send;
}

/// What became of a wish to reserve.
pub(crate) enum Reserved {
    Yes(String),
    NotLeading,
    /// Sold out, or not on the shelves yet.
    None,
    /// No answer to rely on in time. If something was reserved, it lapses by itself.
    Unknown,
}

/// Works until told to stop, one turn after the other with a pause of up to twice `pause` between.
pub(crate) async fn work(
    place: Arc<Place>,
    number: u64,
    pause: Duration,
    mut job: impl Job,
    stop: watch::Receiver<bool>,
) {
    let random = Random::new(place.soak.seed, 100 + number);
    let http = place.shop_http();
    let mut hands = Hands { place, random, http };
    let mut held = None;
    while !*stop.borrow() {
        let session = match held.take() {
            Some(session) => Ok(session),
            None => hands.place.session().await,
        };
        let Ok(mut session) = session else {
            // Its server is being started again.
            tokio::time::sleep(CONNECT_PAUSE).await;
            continue;
        };
        match job.turn(&mut hands, &mut session).await {
            Ok(Turn::Done(deed)) => {
                hands.place.tally.count(deed);
                held = Some(session);
            }
            Ok(Turn::Died(deed)) => hands.place.tally.count(deed),
            Err(fault) if fault.lost => hands.place.tally.count("transactions cut off by a crash"),
            Err(fault) => {
                match fault.deadlock {
                    true => hands.place.tally.count("transactions rolled back by the server"),
                    false => hands
                        .place
                        .tally
                        .finding(format!("the old shop's own statement failed: {}", fault.why)),
                }
                if session.run("rollback").await.is_ok() {
                    held = Some(session);
                }
            }
        }
        // The pace of people, not a wait for anything.
        let pause = hands.random.between(0, 2 * pause.as_millis() as u64);
        // The pace of the writers: part of the schedule.
        tokio::time::sleep(Duration::from_millis(pause)).await;
    }
}

impl Hands {
    /// Reserves for a transaction of the old shop, as its plugin does: under one key until there is an answer.
    pub(crate) async fn reserve(
        &mut self,
        sku: &str,
        quantity: u32,
        hold: Duration,
        key: &str,
        limit: Duration,
    ) -> Reserved {
        let body = json!({
            "lines": [{"sku": sku, "quantity": quantity, "location": "main"}],
            "hold_seconds": hold.as_secs().max(1),
        });
        let until = Instant::now() + limit;
        loop {
            let asked =
                self.http.send("POST", "/v1/stock/reservations", Some(key), Some(&body), TRY_MAX).await;
            if let Ok(reply) = asked {
                match (reply.status, reply.slug().as_str()) {
                    (200 | 201, _) => {
                        if let Some(name) = reply.json()["reservation"].as_str() {
                            return Reserved::Yes(name.to_owned());
                        }
                    }
                    (409, "not-leading") => return Reserved::NotLeading,
                    (409, "out-of-stock") | (404, "sku-not-found" | "location-not-found") => {
                        return Reserved::None;
                    }
                    (408 | 425 | 429 | 500..=599, _) => {}
                    (status, _) => {
                        let text = String::from_utf8_lossy(&reply.body).into_owned();
                        self.place.tally.finding(format!("reserving {quantity} of {sku}: {status} {text}"));
                        return Reserved::Unknown;
                    }
                }
            }
            if Instant::now() + TRY_PAUSE >= until {
                return Reserved::Unknown;
            }
            // No answer tells when there will be one.
            tokio::time::sleep(TRY_PAUSE).await;
        }
    }

    /// Ends a reservation, until there is an answer: its status, and what kind of refusal it is.
    pub(crate) async fn end(
        &mut self,
        reservation: &str,
        how: &str,
        limit: Duration,
    ) -> Option<(u16, String)> {
        let until = Instant::now() + limit;
        let path = format!("/v1/stock/reservations/{reservation}/{how}");
        loop {
            let asked = self.http.send("POST", &path, None, Some(&json!({})), TRY_MAX).await;
            match asked {
                Ok(reply) if !matches!(reply.status, 408 | 425 | 429 | 500..=599) => {
                    return Some((reply.status, reply.slug()));
                }
                _ if Instant::now() + TRY_PAUSE >= until => return None,
                // No answer tells when there will be one.
                _ => tokio::time::sleep(TRY_PAUSE).await,
            }
        }
    }
}

/// A message to Banyan, in the transaction under way.
pub(crate) async fn tell(session: &mut Session, kind: &str, body: &serde_json::Value) -> Result<(), Fault> {
    let sql =
        format!("insert into banyan_outbox (capability, kind, body) values ('stock', '{kind}', '{body}')");
    session.run(&sql).await?;
    session.run(&format!("insert into soak_told (kind) values ('{kind}')")).await.map(drop)
}
