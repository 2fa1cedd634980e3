//! What the old shop says in its outbox, from its JSON to the rules' own words.

use crate::mapping::{LocationFrom, Mapping};
use crate::stream::{OutboxRow, Row};
use crate::words::as_reason;
use banyan_domain::legacy::{OutboxItem, OutboxKind};
use banyan_domain::{LocationId, ReservationNo, SkuId, limits};
use serde::{Deserialize, Serialize};

/// The kind of message by which Banyan itself says again what a row is, where writing it as it is leaves no trace in the log.
pub(crate) const ROW: &str = "row";

/// What a row is.
#[derive(Serialize, Deserialize)]
struct Said {
    table: usize,
    sku: String,
    location: String,
    in_stock: Option<i64>,
    allocated: Option<i64>,
}

#[derive(Deserialize)]
struct Allocate {
    reservation: String,
}

#[derive(Deserialize)]
struct Moved {
    sku: String,
    location: Option<String>,
    quantity: u32,
}

#[derive(Deserialize)]
struct Counted {
    sku: String,
    location: Option<String>,
    on_hand: u32,
}

/// The body of a message of kind [`ROW`].
#[cfg(feature = "mysql")]
pub(crate) fn said(row: &Row) -> String {
    let Row { table, sku, location, in_stock, allocated } = row.clone();
    let said = Said { table, sku, location, in_stock, allocated };
    serde_json::to_string(&said).expect("texts and numbers")
}

/// The row that a message says again, if it is of that kind.
///
/// # Errors
/// It is of that kind and cannot be read: somebody else wrote it.
pub(crate) fn row_said(row: &OutboxRow) -> Option<Result<Row, String>> {
    if row.kind != ROW {
        return None;
    }
    let said = serde_json::from_str(&row.body).map_err(|error| format!("{} {}: {error}", row.kind, row.body));
    Some(said.map(|said: Said| {
        let Said { table, sku, location, in_stock, allocated } = said;
        Row { table, sku, location, in_stock, allocated }
    }))
}

/// Reads a message. One that cannot be read is kept as such, so that it is noted and stops nothing.
pub(crate) fn read(mapping: &Mapping, row: &OutboxRow) -> OutboxItem {
    let kind = kind(mapping, row).unwrap_or_else(|why| OutboxKind::Unreadable { why: as_reason(&why) });
    OutboxItem { id: u64::try_from(row.id).unwrap_or(0), kind }
}

fn kind(mapping: &Mapping, row: &OutboxRow) -> Result<OutboxKind, String> {
    let unread = |error: serde_json::Error| format!("{} {}: {error}", row.kind, row.body);
    match row.kind.as_str() {
        "allocate" => {
            let Allocate { reservation } = serde_json::from_str(&row.body).map_err(unread)?;
            let reservation =
                ReservationNo::parse(&reservation).map_err(|error| format!("allocate: {error}"))?;
            Ok(OutboxKind::Allocate { reservation })
        }
        "ship" | "deallocate" => {
            let Moved { sku, location, quantity } = serde_json::from_str(&row.body).map_err(unread)?;
            let (sku, location) = names(mapping, &sku, location)?;
            Ok(match row.kind.as_str() {
                "ship" => OutboxKind::Ship { sku, location, quantity },
                _ => OutboxKind::Deallocate { sku, location, quantity },
            })
        }
        "count" => {
            let Counted { sku, location, on_hand } = serde_json::from_str(&row.body).map_err(unread)?;
            let (sku, location) = names(mapping, &sku, location)?;
            if on_hand > limits::ITEM_UNITS_MAX {
                let most = limits::ITEM_UNITS_MAX;
                return Err(format!("count {on_hand} of {sku} at {location}: at most {most} can be counted"));
            }
            let free = mapping.tables.iter().all(|table| table.allocated.is_none());
            Ok(OutboxKind::Count { sku, location, in_stock: on_hand, free })
        }
        other => Err(format!("{other:?} is no kind of message: allocate, ship, deallocate, count")),
    }
}

fn names(mapping: &Mapping, sku: &str, location: Option<String>) -> Result<(SkuId, LocationId), String> {
    let only = match mapping.tables.as_slice() {
        [table] => match &table.location {
            LocationFrom::Constant(place) => Some(place.clone()),
            LocationFrom::Column(_) => None,
        },
        _ => None,
    };
    let location = location.or(only).ok_or("no location, and the mapping has more than one")?;
    let sku = SkuId::new(sku).map_err(|error| error.to_string())?;
    Ok((sku, LocationId::new(location.as_str()).map_err(|error| error.to_string())?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_body(kind: &str, body: &str) -> OutboxKind {
        let text = "capability = \"stock\"\n[database]\nkind = \"postgres\"\nurl_env = \"X\"\n[[table]]\nname = \"t\"\nkey = [\"id\"]\n\
             sku = \"sku\"\nlocation = \"main\"\nin_stock = \"a\"\n";
        let mapping = Mapping::read(text, std::path::Path::new(".")).expect("well-formed");
        read(&mapping, &OutboxRow { id: 7, kind: kind.into(), body: body.into() }).kind
    }

    #[test]
    fn what_cannot_be_read_is_kept_as_such() {
        let (sku, location) = (SkuId::new("A").expect("good"), LocationId::new("main").expect("good"));
        let ship = OutboxKind::Ship { sku: sku.clone(), location: location.clone(), quantity: 2 };
        assert_eq!(read_body("ship", r#"{"sku": "A", "quantity": 2}"#), ship);
        let count = OutboxKind::Count { sku, location, in_stock: 5, free: true };
        assert_eq!(read_body("count", r#"{"sku": "A", "on_hand": 5}"#), count);
        assert!(matches!(read_body("allocate", r#"{"reservation": "r-7"}"#), OutboxKind::Allocate { .. }));
        let bad = [
            ("ship", "{"),
            ("ship", r#"{"sku": "A", "quantity": -1}"#),
            ("sell", "{}"),
            ("allocate", r#"{"reservation": "7"}"#),
            ("count", r#"{"sku": "A", "on_hand": 4000000001}"#),
            ("count", r#"{"sku": "A", "on_hand": 99999999999999999999}"#),
            ("count", r#"{"sku": "A", "on_hand": -1}"#),
            ("count", r#"{"sku": "", "on_hand": 1}"#),
            ("count", r#"{"sku": "not a \u0000 SKU", "on_hand": 1}"#),
        ];
        for (kind, body) in bad {
            assert!(matches!(read_body(kind, body), OutboxKind::Unreadable { .. }), "{kind} {body}");
        }
    }
}
