//! The simulated partners that sagas ask over HTTP: a warehouse with slots, lockers, a courier, and messages. Each keeps the
//! answer of a key; the lockers remember what was freed before it was reserved.

use crate::plants::Plant;
use crate::prng::Prng;
use banyan_domain::saga::Fields;
use std::collections::{BTreeMap, BTreeSet};

/// What is asked of a partner.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Call {
    pub(crate) service: String,
    pub(crate) operation: String,
    pub(crate) key: String,
    pub(crate) params: Fields,
}

/// What a partner answers, as a status and a body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Said {
    /// 200 with these fields.
    Ok(Fields),
    /// 200 to a query, with the reason of a refusal.
    WasRefused(String),
    /// 404.
    NotFound,
    /// 409 with a reason.
    Refused(String),
    /// 503.
    Unavailable,
}

/// All partners.
#[derive(Debug)]
pub(crate) struct Partners {
    dice: Prng,
    plant: Option<Plant>,
    /// Answers to what was done, by service and key.
    kept: BTreeMap<(String, String), Said>,
    /// Slots and lockers that are taken, each with its order, by service and number.
    pub(crate) taken: BTreeMap<(String, u64), String>,
    next: u64,
    /// Orders whose locker was freed.
    freed: BTreeSet<String>,
    /// What was booked and sent, once for every time it was done.
    pub(crate) booked: Vec<String>,
    pub(crate) sent: Vec<String>,
    healthy: bool,
}

impl Partners {
    pub(super) fn new(dice: Prng, plant: Option<Plant>) -> Self {
        Self {
            dice,
            plant,
            kept: BTreeMap::new(),
            taken: BTreeMap::new(),
            next: 0,
            freed: BTreeSet::new(),
            booked: Vec::new(),
            sent: Vec::new(),
            healthy: false,
        }
    }

    /// From now on none refuses by chance.
    pub(super) const fn heal(&mut self) {
        self.healthy = true;
    }

    /// Carries out a request, or answers it again.
    pub(super) fn answer(&mut self, call: &Call) -> Said {
        if !self.healthy && self.dice.chance(4) {
            return Said::Unavailable;
        }
        let kept = (call.service.clone(), call.key.clone());
        let known = self.kept.get(&kept);
        if let "find-slot" | "find" = call.operation.as_str() {
            return match known {
                None => Said::NotFound,
                Some(Said::Refused(why)) => Said::WasRefused(why.clone()),
                Some(said) => said.clone(),
            };
        }
        if let Some(said) = known {
            return said.clone();
        }
        let said = self.act(call);
        if said != Said::NotFound {
            self.kept.insert(kept, said.clone());
        }
        said
    }

    fn act(&mut self, call: &Call) -> Said {
        let text = |name: &str| call.params.get(name).unwrap_or_default().to_owned();
        let chance = !self.healthy && self.dice.chance(6);
        let order = text("order");
        match call.operation.as_str() {
            "reserve" | "reserve-slot" if self.freed.contains(&order) => Said::Refused("freed-before".into()),
            "reserve" if text("size") == "huge" => Said::Refused("no-such-size".into()),
            "reserve" | "reserve-slot" if chance => Said::Refused("full".into()),
            "reserve" | "reserve-slot" => {
                self.next += 1;
                self.taken.insert((call.service.clone(), self.next), order);
                Said::Ok([("slot", self.next.to_string())].into_iter().collect())
            }
            // Both remember what they freed, also what was never there: the definitions promise it.
            "free" | "free-slot" => {
                if call.operation == "free-slot" || self.plant != Some(Plant::NoTombstone) {
                    self.freed.insert(order.clone());
                }
                self.taken.retain(|(service, _), taken_by| *service != call.service || *taken_by != order);
                Said::Ok(Fields::new())
            }
            "book" if chance => Said::Refused("address-unknown".into()),
            "book" => {
                self.booked.push(order);
                Said::Ok([("booking", self.booked.len().to_string())].into_iter().collect())
            }
            "send" => {
                self.sent.push(text("text"));
                Said::Ok(Fields::new())
            }
            _ => Said::Refused("no-such-operation".into()),
        }
    }
}
