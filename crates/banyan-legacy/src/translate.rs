//! From what the old database says to what the rules understand. Pure.

use crate::mapping::{LocationFrom, Mapping};
use crate::stream::{Change, OutboxRow, Row};
use banyan_domain::legacy::{MirrorRow, OutboxItem, OutboxKind};
use banyan_domain::{LocationId, Reason, ReservationNo, SkuId};
use serde::Deserialize;

/// An item as the old database names it: SKU and location.
pub(crate) type Name = (SkuId, LocationId);

/// A row as the rules take it, or what is wrong with it, in words. A null counts as nothing.
pub(crate) fn mirror_row(mapping: &Mapping, row: &Row) -> Result<MirrorRow, String> {
    let (sku, location) = name(mapping, row)?;
    let (in_stock, allocated) = (row.in_stock.unwrap_or(0), row.allocated.unwrap_or(0));
    Ok(MirrorRow { sku, location, in_stock, allocated })
}

/// The item of a row.
pub(crate) fn name(mapping: &Mapping, row: &Row) -> Result<Name, String> {
    let table = mapping.tables.get(row.table).map_or_else(String::new, |table| table.name.to_string());
    let place = |error: &dyn std::fmt::Display| {
        format!(
            "a row of {table} with SKU {:?} and location {:?} cannot be taken over: {error}",
            row.sku, row.location
        )
    };
    let sku = SkuId::new(row.sku.as_str()).map_err(|error| place(&error))?;
    let location = LocationId::new(row.location.as_str()).map_err(|error| place(&error))?;
    Ok((sku, location))
}

/// The rows after changes: full values, zeros for what is gone. A row that got another name is two.
pub(crate) fn rows_after(mapping: &Mapping, changes: &[Change]) -> Result<Vec<MirrorRow>, String> {
    let mut rows = Vec::with_capacity(changes.len());
    for change in changes {
        match change {
            Change::Insert(row) => rows.push(mirror_row(mapping, row)?),
            Change::Update { before, after } => {
                if let Some(before) = before
                    && (&before.sku, &before.location) != (&after.sku, &after.location)
                {
                    rows.push(gone(name(mapping, before)?));
                }
                rows.push(mirror_row(mapping, after)?);
            }
            Change::Delete(row) => rows.push(gone(name(mapping, row)?)),
            // Seen to by whoever calls: every row is gone, and which these were is not said.
            Change::Truncate { .. } => {}
        }
    }
    Ok(rows)
}

/// A row that is not there any more.
pub(crate) fn gone((sku, location): Name) -> MirrorRow {
    MirrorRow { sku, location, in_stock: 0, allocated: 0 }
}

/// A message of the old shop. What cannot be read is one too: it is noted, and stops nothing.
pub(crate) fn outbox_item(mapping: &Mapping, row: &OutboxRow) -> OutboxItem {
    let kind = read_message(mapping, row).unwrap_or_else(|why| {
        let text: String =
            format!("{}: {why}", row.kind).chars().filter(|c| !c.is_control()).take(90).collect();
        // At most 90 characters of at most 4 bytes.
        OutboxKind::Unreadable { why: Reason::new(text).expect("short and without control characters") }
    });
    OutboxItem { id: u64::try_from(row.id).unwrap_or(0), kind }
}

#[derive(Deserialize)]
struct Reserved {
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

fn read_message(mapping: &Mapping, row: &OutboxRow) -> Result<OutboxKind, String> {
    let wrong = |error: serde_json::Error| error.to_string();
    let item = |sku: String, location: Option<String>| -> Result<Name, String> {
        let location = location.or_else(|| default_location(mapping)).ok_or("it names no location")?;
        Ok((
            SkuId::new(sku).map_err(|e| e.to_string())?,
            LocationId::new(location).map_err(|e| e.to_string())?,
        ))
    };
    Ok(match row.kind.as_str() {
        "allocate" => {
            let Reserved { reservation } = serde_json::from_str(&row.body).map_err(wrong)?;
            let reservation = ReservationNo::parse(&reservation);
            OutboxKind::Allocate { reservation: reservation.map_err(|error| error.to_string())? }
        }
        kind @ ("ship" | "deallocate") => {
            let Moved { sku, location, quantity } = serde_json::from_str(&row.body).map_err(wrong)?;
            let (sku, location) = item(sku, location)?;
            match kind {
                "ship" => OutboxKind::Ship { sku, location, quantity },
                _ => OutboxKind::Deallocate { sku, location, quantity },
            }
        }
        "count" => {
            let Counted { sku, location, on_hand } = serde_json::from_str(&row.body).map_err(wrong)?;
            let (sku, location) = item(sku, location)?;
            // Books of one number count what can be sold.
            let free = mapping.tables.iter().all(|table| table.allocated.is_none());
            OutboxKind::Count { sku, location, in_stock: on_hand, free }
        }
        _ => return Err("no such kind of message; known are allocate, ship, deallocate and count".into()),
    })
}

/// The location of a message that names none: the one place there is, if there is only one.
fn default_location(mapping: &Mapping) -> Option<String> {
    let mut places = mapping.tables.iter().map(|table| &table.location);
    match (places.next(), places.next()) {
        (Some(LocationFrom::Constant(place)), None) => Some(place.clone()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    fn mapping() -> Mapping {
        let text = "capability = \"stock\"\n[database]\nkind = \"postgres\"\nurl_env = \"X\"\n[[table]]\nname = \"t\"\n\
                    key = [\"id\"]\nsku = \"sku\"\nlocation = \"main\"\nin_stock = \"a\"\nallocated = \"b\"\n";
        Mapping::read(text, Path::new(".")).expect("well-formed")
    }

    fn row(sku: &str, in_stock: Option<i64>) -> Row {
        Row { table: 0, sku: sku.into(), location: "main".into(), in_stock, allocated: None }
    }

    #[test]
    fn a_renamed_row_leaves_nothing_behind() {
        let update = Change::Update { before: Some(row("A", Some(5))), after: row("B", Some(5)) };
        let rows = rows_after(&mapping(), &[update, Change::Delete(row("C", Some(9)))]).expect("readable");
        let told: Vec<_> = rows.iter().map(|row| (row.sku.as_str(), row.in_stock)).collect();
        assert_eq!(told, [("A", 0), ("B", 5), ("C", 0)]);
    }

    #[test]
    fn a_name_that_cannot_be_taken_over_is_told_with_its_table() {
        let error = rows_after(&mapping(), &[Change::Insert(row("two words", None))]).expect_err("refused");
        assert!(error.contains("two words") && error.contains('t'), "{error}");
    }

    #[test]
    fn messages_are_read_or_said_to_be_unreadable() {
        let read = |kind: &str, body: &str| {
            let row = OutboxRow { id: 4, kind: kind.into(), body: body.into() };
            format!("{:?}", outbox_item(&mapping(), &row).kind)
        };
        assert!(read("allocate", r#"{"reservation":"r-7"}"#).starts_with("Allocate"));
        assert!(read("ship", r#"{"sku":"A","quantity":2}"#).contains("main"));
        assert!(read("deallocate", r#"{"sku":"A","quantity":2,"location":"seoul"}"#).contains("seoul"));
        assert!(read("count", r#"{"sku":"A","on_hand":2}"#).contains("free: false"));
        for (kind, body) in [
            ("allocate", "{}"),
            ("allocate", r#"{"reservation":"7x"}"#),
            ("ship", r#"{"sku":"A","quantity":-1}"#),
            ("eat", "{}"),
            ("count", "not JSON"),
        ] {
            assert!(read(kind, body).starts_with("Unreadable"), "{kind} {body}: {}", read(kind, body));
        }
    }
}
