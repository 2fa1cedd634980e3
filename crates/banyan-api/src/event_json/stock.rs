//! Events of the stock capability as JSON. Items are numbers; `item-created` and `stock-imported` name them.

use crate::clock::rfc3339;
use banyan_domain::stock::Event;
use banyan_domain::{MemberId, OrderId};
use serde_json::{Map, Value, json};

/// The type of an event.
pub(super) const fn event_type(event: &Event) -> &'static str {
    match event {
        Event::ItemCreated { .. } => "item-created",
        Event::StockSet { .. } => "stock-set",
        Event::GoodsReceived { .. } => "goods-received",
        Event::StockAdjusted { .. } => "stock-adjusted",
        Event::ItemConfigured { .. } => "item-configured",
        Event::PurchaseLimitSet { .. } => "purchase-limit-set",
        Event::StockImported { .. } => "stock-imported",
        Event::ReservationMade { .. } => "reservation-made",
        Event::ReservationCommitted { .. } => "reservation-committed",
        Event::ReservationReleased { .. } => "reservation-released",
        Event::ReservationExpired { .. } => "reservation-expired",
        Event::GoodsReturned { .. } => "goods-returned",
    }
}

/// What the event has.
pub(super) fn details(event: &Event) -> Map<String, Value> {
    let value = match event {
        Event::ItemCreated { item, sku, location, by } => {
            json!({"item": item.get(), "sku": sku.as_str(), "location": location.as_str(), "by": by.as_str()})
        }
        Event::StockSet { item, on_hand, by, reason } => {
            json!({"item": item.get(), "on_hand": on_hand, "by": by.as_str(), "reason": reason.as_str()})
        }
        Event::GoodsReceived { item, quantity, by, reason } => {
            json!({"item": item.get(), "quantity": quantity, "by": by.as_str(), "reason": reason.as_str()})
        }
        Event::StockAdjusted { item, by_quantity, by, reason } => {
            json!({"item": item.get(), "by_quantity": by_quantity, "by": by.as_str(), "reason": reason.as_str()})
        }
        Event::ItemConfigured { item, safety, backorder_max, preorder_max, released_at, by } => json!({
            "item": item.get(), "safety": safety, "backorder_max": backorder_max, "preorder_max": preorder_max,
            "released_at": released_at.map(rfc3339), "by": by.as_str(),
        }),
        Event::PurchaseLimitSet { item, per_member, by } => {
            json!({"item": item.get(), "per_member": per_member, "by": by.as_str()})
        }
        Event::StockImported { import, new, set, unchanged, refused, by } => {
            let new: Vec<_> = new
                .iter()
                .map(|row| json!({"sku": row.sku.as_str(), "location": row.location.as_str(), "on_hand": row.on_hand}))
                .collect();
            let set: Vec<_> =
                set.iter().map(|row| json!({"item": row.item.get(), "on_hand": row.on_hand})).collect();
            json!({"import": import, "new": new, "set": set, "unchanged": unchanged, "refused": refused, "by": by.as_str()})
        }
        Event::ReservationMade { reservation, parts, until, member, order, holder } => {
            let parts: Vec<_> = parts
                .iter()
                .map(|part| json!({"item": part.item.get(), "held": part.held, "promised": part.promised}))
                .collect();
            json!({
                "reservation": reservation.to_string(), "parts": parts, "expires_at": rfc3339(*until),
                "member": member.as_ref().map(MemberId::as_str),
                "order": order.as_ref().map(OrderId::as_str),
                "holder": holder.as_str(),
            })
        }
        Event::ReservationCommitted { reservation }
        | Event::ReservationReleased { reservation }
        | Event::ReservationExpired { reservation } => json!({"reservation": reservation.to_string()}),
        Event::GoodsReturned { reservation, parts, by, reason } => {
            let parts: Vec<_> = parts
                .iter()
                .map(|part| json!({"item": part.item.get(), "quantity": part.quantity}))
                .collect();
            json!({
                "reservation": reservation.to_string(), "parts": parts, "by": by.as_str(), "reason": reason.as_str(),
            })
        }
    };
    super::object(value)
}
