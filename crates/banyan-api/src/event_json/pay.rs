//! Events of the ledger as JSON. Accounts are numbers; `account-opened` and `opened` name them.

use crate::clock::rfc3339;
use banyan_domain::pay::{Event, Leg, OpenedAccount};
use serde_json::{Map, Value, json};

/// The type of an event.
pub(super) const fn event_type(event: &Event) -> &'static str {
    match event {
        Event::Transferred { .. } => "transferred",
        Event::AccountOpened { .. } => "account-opened",
        Event::HoldExpired { .. } => "hold-expired",
    }
}

/// What the event has.
pub(super) fn details(event: &Event) -> Map<String, Value> {
    super::object(match event {
        Event::Transferred { first, legs, reference, by, opened } => json!({
            "first": first.to_string(), "transfers": legs.iter().map(leg).collect::<Vec<_>>(),
            "reference": reference.as_str(), "by": by.as_str(),
            "opened": opened.iter().map(account).collect::<Vec<_>>(),
        }),
        Event::AccountOpened { account: opened, by } => {
            let mut value = account(opened);
            value["by"] = by.as_str().into();
            value
        }
        Event::HoldExpired { pending } => json!({"transfer": pending.to_string()}),
    })
}

fn account(opened: &OpenedAccount) -> Value {
    json!({
        "account": opened.no.get(), "id": opened.id.as_str(), "currency": opened.currency.as_str(),
        "rule": opened.rule.as_str(),
    })
}

fn leg(leg: &Leg) -> Value {
    match leg {
        Leg::Posted { debit, credit, amount, refundable } => json!({
            "kind": "posted", "debit": debit.get(), "credit": credit.get(), "amount": amount, "refundable": refundable,
        }),
        Leg::Held { debit, credit, amount, until } => json!({
            "kind": "held", "debit": debit.get(), "credit": credit.get(), "amount": amount,
            "expires_at": rfc3339(*until),
        }),
        Leg::Captured { pending, debit, credit, amount, last } => json!({
            "kind": "captured", "of": pending.to_string(), "debit": debit.get(), "credit": credit.get(),
            "amount": amount, "last": last,
        }),
        Leg::Voided { pending } => json!({"kind": "voided", "of": pending.to_string()}),
        Leg::Refunded { of, debit, credit, amount } => json!({
            "kind": "refunded", "of": of.to_string(), "debit": debit.get(), "credit": credit.get(), "amount": amount,
        }),
        Leg::Reversed { of, debit, credit, amount } => json!({
            "kind": "reversed", "of": of.to_string(), "debit": debit.get(), "credit": credit.get(), "amount": amount,
        }),
    }
}
