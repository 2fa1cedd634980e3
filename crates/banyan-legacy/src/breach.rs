//! Who wrote to what Banyan leads? A change of a column that Banyan leads, to a value that Banyan did not write, is a breach:
//! noted in the log, and written over with what belongs there.

use crate::desk::DeskError;
use crate::inward::Inward;
use crate::owned::Values;
use crate::stream::{Change, OutboxRow, Row, Transaction};
use crate::translate::{Name, name, outbox_item};
use banyan_domain::legacy::{Capability, Command, OutboxKind};
use banyan_domain::{Reason, SkuId, State};

/// Looks at the changes of a transaction that came while Banyan leads. Its own echoes are not among them.
pub(crate) async fn look(of: &Inward, said: &Transaction) -> Result<(), DeskError> {
    // What the old shop says of an item in the same transaction is how it is meant to be said.
    let told: Vec<SkuId> = said.outbox.iter().filter_map(|row| counted(of, row)).collect();
    for (index, change) in (0..).zip(&said.changes) {
        let Some((name, values, what)) = foreign(of, change).await? else { continue };
        if told.contains(&name.0) {
            of.owned.write_again(name);
            continue;
        }
        let index = said.part.saturating_mul(1_000).saturating_add(index);
        let (capability, position) = (Capability::Stock, said.position);
        let (sku, location) = name.clone();
        let text: String = what.chars().filter(|c| !c.is_control()).take(90).collect();
        let what = Reason::new(text).expect("short and without control characters");
        tracing::warn!(%sku, %location, position, "somebody wrote to what Banyan leads: {what}");
        of.desk.ask(Command::NoteBreach { capability, sku, location, what, position, index }).await?;
        // Known from now on, so that the same value coming again in a change of other columns is not another breach.
        of.owned.wrote(name.clone(), values);
        of.owned.write_again(name);
    }
    Ok(())
}

/// The SKU that a message counts, if it is one that does.
fn counted(of: &Inward, row: &OutboxRow) -> Option<SkuId> {
    match outbox_item(&of.mapping, row).kind {
        OutboxKind::Count { sku, .. } => Some(sku),
        _ => None,
    }
}

/// The item, the values found and what is wrong with them, if the change touches what Banyan leads.
async fn foreign(of: &Inward, change: &Change) -> Result<Option<(Name, Values, String)>, DeskError> {
    let values = |row: &Row| (row.in_stock.unwrap_or(0), row.allocated.unwrap_or(0));
    let (row, before) = match change {
        Change::Insert(row) => (row, None),
        Change::Update { before, after } => (after, before.as_ref()),
        Change::Delete(row) => {
            let found = name(&of.mapping, row).ok();
            return Ok(found.map(|name| (name, (0, 0), "the row was deleted".to_owned())));
        }
        // Seen to by a new copy.
        Change::Truncate { .. } => return Ok(None),
    };
    let found = values(row);
    // A row whose name Banyan could not have is none that it leads.
    let Ok(name) = name(&of.mapping, row) else { return Ok(None) };
    if before.is_some_and(|before| {
        values(before) == found && before.sku == row.sku && before.location == row.location
    }) {
        return Ok(None);
    }
    let known = of.owned.is_ours(&name, found);
    if known == Some(true) {
        return Ok(None);
    }
    let has_allocated = of.mapping.tables.get(row.table).is_some_and(|table| table.allocated.is_some());
    let (sku, location) = name.clone();
    let ours =
        of.desk.look(move |state| values_of(state, &(sku.clone(), location.clone()), has_allocated)).await?;
    Ok(match ours {
        Some(ours) if ours == found => None,
        Some((in_stock, allocated)) => {
            let what = format!(
                "in stock {} and allocated {}, should be {in_stock} and {allocated}",
                found.0, found.1
            );
            Some((name, found, what))
        }
        // A row that Banyan knows nothing of: the old shop must say what is there by a message.
        None if found == (0, 0) => None,
        None => {
            let what =
                format!("a row that nobody told of, with {} in stock and {} allocated", found.0, found.1);
            Some((name, found, what))
        }
    })
}

/// What belongs into the row of an item of the old shop, or none if it is not one.
pub(crate) fn values_of(state: &State, name: &Name, has_allocated: bool) -> Option<Values> {
    let item = state.stock().find(&name.0, &name.1)?;
    let level = state.mirror_level(item)?;
    Some(if has_allocated { (level.in_stock(), level.taken()) } else { (level.free(), 0) })
}
