//! What both sides call the same thing: an item's numbers here, and the row of it in the old table.

use crate::database::TargetRow;
use crate::mapping::Mapping;
use crate::stream::Row;
use banyan_domain::legacy::{Capability, MirrorRow};
use banyan_domain::{ItemNo, LocationId, MirrorLevel, SkuId, State};

pub(crate) const STOCK: Capability = Capability::Stock;

/// SKU and location.
pub(crate) type ItemName = (SkuId, LocationId);

/// The two numbers of an item as the old table `table` writes them. One column: what is free.
pub(crate) fn numbers(mapping: &Mapping, table: usize, level: MirrorLevel) -> (i64, i64) {
    match mapping.tables.get(table).is_some_and(|table| table.allocated.is_some()) {
        true => (level.in_stock(), level.taken()),
        false => (level.free(), 0),
    }
}

/// The two numbers of a row. Null counts as nothing.
pub(crate) fn row_numbers(row: &Row) -> (i64, i64) {
    (row.in_stock.unwrap_or(0), row.allocated.unwrap_or(0))
}

/// The item that a row names, if Banyan can have one of that name.
pub(crate) fn name_of(row: &Row) -> Option<ItemName> {
    Some((SkuId::new(row.sku.as_str()).ok()?, LocationId::new(row.location.as_str()).ok()?))
}

/// A row for the rules.
pub(crate) fn mirror_row(name: ItemName, numbers: (i64, i64)) -> MirrorRow {
    let (sku, location) = name;
    MirrorRow { sku, location, in_stock: numbers.0, allocated: numbers.1 }
}

/// What the rows of an item shall be, in every table that may hold it.
pub(crate) fn targets(mapping: &Mapping, name: &ItemName, level: MirrorLevel) -> Vec<TargetRow> {
    let (sku, location) = (name.0.to_string(), name.1.to_string());
    let row = |table| {
        let (in_stock, allocated) = numbers(mapping, table, level);
        TargetRow { table, sku: sku.clone(), location: location.clone(), in_stock, allocated }
    };
    mapping.tables_at(&location).map(row).collect()
}

/// An item of the old shop with its name and numbers.
pub(crate) fn named_level(state: &State, item: ItemNo) -> Option<(ItemName, MirrorLevel)> {
    let view = state.stock().item(item)?;
    let sku = SkuId::new(view.sku).ok()?;
    Some(((sku, view.location.clone()), state.mirror_level(item)?))
}

/// The numbers of items by name; nothing for what is not the old shop's.
pub(crate) fn levels(state: &State, names: &[ItemName]) -> Vec<Option<MirrorLevel>> {
    let level = |(sku, location): &ItemName| state.mirror_level(state.stock().find(sku, location)?);
    names.iter().map(level).collect()
}
