//! Writes by others to what Banyan owns: one by one where there is one, many together where somebody wrote to many rows.

use super::state::CapabilityState;
use super::{Capability, Event, Refusal};
use crate::{LocationId, Reason, SkuId, limits};
use minicbor::{Decode, Encode};
use std::collections::BTreeSet;

/// A write by somebody else.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Breach {
    /// Where in the stream.
    pub position: u64,
    /// Which change at that position, from 0.
    pub index: u32,
    /// The row's SKU.
    pub sku: SkuId,
    /// The row's location.
    pub location: LocationId,
    /// In words.
    pub what: Reason,
}

/// A breach as an event of many names it.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct NamedBreach {
    /// The row's SKU.
    #[n(0)]
    pub sku: SkuId,
    /// The row's location.
    #[n(1)]
    pub location: LocationId,
    /// Which column, what was found and what belongs there, in words.
    #[n(2)]
    pub what: Reason,
}

/// The event for those of `breaches` that were not noted before; none if all were.
pub(crate) fn note(
    state: &CapabilityState,
    capability: Capability,
    breaches: Vec<Breach>,
) -> Result<Option<Event>, Refusal> {
    if breaches.len() > limits::SOURCE_ROWS_MAX {
        return Err(Refusal::MirrorTooLarge);
    }
    let mut new: Vec<Breach> =
        breaches.into_iter().filter(|breach| !state.breach_is_known(breach.position, breach.index)).collect();
    new.sort_by_key(|breach| (breach.position, breach.index));
    let Some(last) = new.last() else { return Ok(None) };
    let (position, index, count) = (last.position, last.index, new.len() as u32);
    if let [_] = new.as_slice()
        && let Some(Breach { position, index, sku, location, what }) = new.pop()
    {
        return Ok(Some(Event::BreachNoted { capability, sku, location, what, position, index }));
    }
    let rest = new.split_off(new.len().min(limits::BREACHES_NAMED_MAX));
    let named: Vec<NamedBreach> = new
        .into_iter()
        .map(|Breach { sku, location, what, .. }| NamedBreach { sku, location, what })
        .collect();
    let told: BTreeSet<(&SkuId, &LocationId)> = named.iter().map(|one| (&one.sku, &one.location)).collect();
    let others: BTreeSet<(SkuId, LocationId)> = rest
        .into_iter()
        .map(|breach| (breach.sku, breach.location))
        .filter(|(sku, location)| !told.contains(&(sku, location)))
        .collect();
    let others = others.into_iter().collect();
    Ok(Some(Event::BreachesNoted { capability, count, named, others, position, index }))
}
