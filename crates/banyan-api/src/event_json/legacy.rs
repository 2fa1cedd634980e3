//! Events of the way over from an old shop as JSON.

use crate::clock::rfc3339;
use banyan_domain::legacy::{Event, NamedBreach};
use serde_json::{Map, Value, json};

/// The type of an event.
pub(super) const fn event_type(event: &Event) -> &'static str {
    match event {
        Event::MoveBegun { .. } => "move-begun",
        Event::MoveNoted { .. } => "move-noted",
        Event::MoveDone { .. } => "move-done",
        Event::MoveAborted { .. } => "move-aborted",
        Event::SourceSet { .. } => "source-set",
        Event::SourceCopied { .. } => "source-copied",
        Event::SourceApplied { .. } => "source-applied",
        Event::ItemMirrored { .. } => "item-mirrored",
        Event::BreachNoted { .. } => "breach-noted",
        Event::Reconciled { .. } => "reconciled",
        Event::OutboxRefused { .. } => "outbox-refused",
        Event::TakenOver { .. } => "taken-over",
        Event::SourceKnown { .. } => "source-known",
        Event::BreachesNoted { .. } => "breaches-noted",
    }
}

/// What the event has. A position is a text: it is larger than a number of JSON may be relied upon.
pub(super) fn details(event: &Event) -> Map<String, Value> {
    let mut object = super::object(match event {
        Event::MoveBegun { number, to, by, reason, without, .. } => {
            let without = without.iter().flatten();
            let without = without.map(|one| json!({"gate": one.gate.as_str(), "found": one.found.as_str()}));
            let without: Vec<Value> = without.collect();
            json!({"move": number, "to": to.as_str(), "by": by.as_str(), "reason": reason.as_str(), "without": without})
        }
        Event::MoveNoted { step, note, .. } => json!({"step": step.as_str(), "note": note.as_str()}),
        Event::MoveDone { .. } | Event::SourceCopied { .. } => json!({}),
        Event::MoveAborted { why, .. } => json!({"why": why.as_str()}),
        Event::SourceSet { source, position, .. } => {
            json!({"system": source.system, "stream": source.stream, "position": position.to_string()})
        }
        Event::SourceApplied { position, part, rows, outbox, .. } => {
            json!({"position": position.to_string(), "part": part, "rows": rows, "outbox": outbox})
        }
        Event::ItemMirrored { item, allocated, short } => {
            json!({"item": item.get(), "allocated": allocated, "short": short})
        }
        Event::BreachNoted { sku, location, what, position, .. } => json!({
            "sku": sku.as_str(), "location": location.as_str(), "what": what.as_str(), "position": position.to_string(),
        }),
        Event::Reconciled { position, rows, differing, repaired, .. } => json!({
            "position": position.to_string(), "rows": rows, "differing": differing, "repaired": repaired,
        }),
        Event::OutboxRefused { id, why, .. } => json!({"outbox": id, "why": why.as_str()}),
        Event::TakenOver { number, phase, .. } => json!({"move": number, "phase": phase.as_str()}),
        Event::SourceKnown { until, position, .. } => {
            let until = (until.as_millis() > 0).then(|| rfc3339(*until));
            json!({"until": until, "position": position.to_string()})
        }
        Event::BreachesNoted { count, named, position, .. } => {
            let breach = |one: &NamedBreach| json!({"sku": one.sku.as_str(), "location": one.location.as_str(), "what": one.what.as_str()});
            let named: Vec<Value> = named.iter().map(breach).collect();
            json!({"count": count, "breaches": named, "position": position.to_string()})
        }
    });
    object.insert("capability".into(), event.capability().as_str().into());
    object
}
