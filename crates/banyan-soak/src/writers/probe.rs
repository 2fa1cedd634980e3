//! One change after the other, each followed to where it must come: there and back while Banyan leads, there while it follows.

use super::warehouse::set;
use super::{Hands, Job, Turn};
use crate::old::{Fault, Phase, Session};
use crate::place::PROBE;
use crate::tally::Probe;
use std::time::{Duration, Instant};

const LOOK: Duration = Duration::from_millis(20);
/// Longest wait for a change to be seen, outages and moves included. Longer is a finding.
const SEEN_MAX: Duration = Duration::from_secs(150);
const ANSWER_MAX: Duration = Duration::from_secs(2);

/// Probes.
#[derive(Default)]
pub(crate) struct Probing {
    units: u64,
}

impl Job for Probing {
    async fn turn(&mut self, hands: &mut Hands, session: &mut Session) -> Result<Turn, Fault> {
        // Never zero: the showroom's trigger would wake.
        self.units = self.units % 1_000_000 + 2;
        let began = Instant::now();
        let phase = set(session, PROBE, self.units).await?;
        let mut last = None;
        while began.elapsed() < SEEN_MAX {
            let seen = match phase {
                Phase::Lead => {
                    let sql = format!("select num_in_stock from stock where sku = '{PROBE}'");
                    session.value(&sql).await?.and_then(|units| units.parse().ok())
                }
                Phase::Old => {
                    let reply = hands.http.get(&format!("/v1/stock/{PROBE}"), ANSWER_MAX).await;
                    reply.ok().and_then(|reply| {
                        let json = reply.json();
                        let places = json["locations"].as_array()?;
                        let main = places.iter().find(|place| place["location"] == "main")?;
                        main["on_hand"].as_u64()
                    })
                }
            };
            last = seen;
            if seen == Some(self.units) {
                hands.place.tally.probe(Probe {
                    began,
                    done: Instant::now(),
                    both_ways: phase == Phase::Lead,
                });
                return Ok(Turn::Done("probes"));
            }
            // A row tells nobody when it changes.
            tokio::time::sleep(LOOK).await;
        }
        let units = self.units;
        hands.place.tally.finding(format!(
            "{PROBE} became {units} ({phase:?} led), and {SEEN_MAX:?} later it is still {last:?}"
        ));
        Ok(Turn::Done("probes not seen"))
    }
}
