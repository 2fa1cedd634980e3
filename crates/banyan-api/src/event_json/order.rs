//! Events of orders as JSON.

use banyan_domain::order::{Event, OrderLine, Product};
use serde_json::{Map, Value, json};

/// The type of an event.
pub(super) const fn event_type(event: &Event) -> &'static str {
    match event {
        Event::ProductsSet { .. } => "products-set",
        Event::TermsSet { .. } => "terms-set",
        Event::Placed { .. } => "order-placed",
        Event::Paid { .. } => "order-paid",
        Event::Failed { .. } => "order-failed",
        Event::CancelRequested { .. } => "order-cancel-requested",
        Event::RefundBegun { .. } => "order-refund-begun",
        Event::RefundDone { .. } => "order-refund-done",
        Event::RefundRefused { .. } => "order-refund-refused",
    }
}

/// What the event has. Lines of a refund are numbered from 0.
pub(super) fn details(event: &Event) -> Map<String, Value> {
    let order = event.order().map(|order| order.to_string());
    let mut object = super::object(match event {
        Event::ProductsSet { products, by } => {
            let products: Vec<Value> = products.iter().map(product).collect();
            json!({"products": products, "by": by.as_str()})
        }
        Event::TermsSet { terms, by } => json!({
            "currency": terms.currency.as_str(), "shipping_fee": terms.shipping_fee,
            "free_shipping_from": terms.free_shipping_from, "vat_basis_points": terms.vat_basis_points, "by": by.as_str(),
        }),
        Event::Placed { member, lines, currency, shipping, shipping_points, shipping_vat, saga, .. } => {
            let lines: Vec<Value> = lines.iter().map(line).collect();
            json!({
                "member": member.as_str(), "lines": lines, "currency": currency.as_str(), "shipping": shipping,
                "shipping_points": shipping_points, "shipping_vat": shipping_vat, "saga": saga.get(),
            })
        }
        Event::Paid { payment, transfer, points, reservation, .. } => json!({
            "payment": payment, "transfer": transfer.map(|no| no.to_string()),
            "points_transfer": points.map(|no| no.to_string()), "reservation": reservation.to_string(),
        }),
        Event::Failed { why, .. } => json!({"why": why}),
        Event::CancelRequested { by, reason, .. } => json!({"by": by.as_str(), "reason": reason.as_str()}),
        Event::RefundBegun { refund, cancel, lines, amount, points, by, reason, saga, .. } => {
            let lines: Vec<Value> =
                lines.iter().map(|part| json!({"line": part.line, "quantity": part.quantity})).collect();
            json!({
                "refund": refund, "cancel": cancel, "lines": lines, "amount": amount, "points": points,
                "by": by.as_str(), "reason": reason.as_str(), "saga": saga.get(),
            })
        }
        Event::RefundDone { refund, .. } => json!({"refund": refund}),
        Event::RefundRefused { refund, why, .. } => json!({"refund": refund, "why": why}),
    });
    if let Some(order) = order {
        object.insert("order".into(), order.into());
    }
    object
}

fn product(product: &Product) -> Value {
    let parts: Vec<Value> = product
        .parts
        .iter()
        .map(|part| json!({"sku": part.sku.as_str(), "quantity": part.quantity}))
        .collect();
    json!({
        "product": product.id.as_str(), "price": product.price.minor, "currency": product.price.currency.as_str(),
        "vat_basis_points": product.vat_basis_points, "parts": parts, "on_sale": product.on_sale,
    })
}

fn line(line: &OrderLine) -> Value {
    json!({
        "product": line.product.as_str(), "quantity": line.quantity, "unit_price": line.unit_price,
        "discount": line.discount, "points": line.points, "vat": line.vat,
    })
}
