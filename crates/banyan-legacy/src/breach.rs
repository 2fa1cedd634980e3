//! Writes by anybody else to what Banyan owns, while it leads.

use crate::stream::{Change, Row, Transaction};
use crate::values::{ItemName, row_numbers};
use crate::words::as_reason;
use banyan_domain::legacy::Breach;

/// A breach as the rules take it.
pub(crate) fn breach((sku, location): ItemName, what: &str, position: u64, index: u32) -> Breach {
    Breach { position, index, sku, location, what: as_reason(what) }
}

/// Tells the operator of breaches in one line: there may be thousands, of one statement.
pub(crate) fn tell(breaches: &[Breach]) {
    let Some(Breach { sku, location, what, .. }) = breaches.first() else { return };
    match breaches.len() - 1 {
        0 => tracing::warn!(%sku, %location, "somebody else wrote to a column that Banyan owns: {what}"),
        more => tracing::warn!(
            %sku, %location, more,
            "somebody else wrote to columns that Banyan owns, of which this is the first: {what}"
        ),
    }
}

/// What a change means while Banyan leads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Meaning {
    /// Nothing that Banyan owns was touched, or it may be our own write coming back.
    Harmless,
    /// A row that was not there before. If Banyan does not know the item, it is a new one of the old shop.
    New(Row),
    /// Somebody else wrote to it; what was done, in words.
    Breach(Row, String),
    /// All rows of a table are gone.
    Emptied(usize),
}

/// What `change` of `transaction` means. `columns` are the names of the owned ones.
pub(crate) fn meaning(transaction: &Transaction, change: &Change, columns: &str) -> Meaning {
    // A stream that cannot tell our rows from those that triggers wrote beside them: the comparison finds them.
    if transaction.ours.is_some() && transaction.echoes.is_none() {
        return Meaning::Harmless;
    }
    let by = if transaction.ours.is_some() { " by a trigger, in Banyan's own write" } else { "" };
    match change {
        Change::Insert(row) => Meaning::New(row.clone()),
        Change::Delete(row) => Meaning::Breach(row.clone(), format!("the row was deleted{by}")),
        Change::Truncate { table } => Meaning::Emptied(*table),
        Change::Update { before: Some(before), after }
            if (&before.sku, &before.location) != (&after.sku, &after.location) =>
        {
            let what = format!("the row became that of {} at {}{by}", after.sku, after.location);
            Meaning::Breach(before.clone(), what)
        }
        Change::Update { before: Some(before), after } if row_numbers(before) == row_numbers(after) => {
            Meaning::Harmless
        }
        Change::Update { before, after } => {
            let was = before.as_ref().map_or_else(|| "?".to_owned(), |row| shown(row_numbers(row)));
            Meaning::Breach(
                after.clone(),
                format!("{columns}: {was} became {}{by}", shown(row_numbers(after))),
            )
        }
    }
}

fn shown((in_stock, allocated): (i64, i64)) -> String {
    format!("{in_stock}/{allocated}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(in_stock: i64) -> Row {
        Row { table: 0, sku: "A".into(), location: "1".into(), in_stock: Some(in_stock), allocated: None }
    }

    fn update(before: i64, after: i64) -> Change {
        Change::Update { before: Some(row(before)), after: row(after) }
    }

    #[test]
    fn whose_write_it_was_decides() {
        let theirs = Transaction::default();
        let ours = Transaction { ours: Some((9, 1)), echoes: Some(1), ..Transaction::default() };
        let unsure = Transaction { echoes: None, ..ours.clone() };
        assert!(
            matches!(meaning(&theirs, &update(5, 6), "a/b"), Meaning::Breach(_, what) if what == "a/b: 5/0 became 6/0")
        );
        assert!(
            matches!(meaning(&ours, &update(5, 6), "a/b"), Meaning::Breach(_, what) if what.contains("trigger"))
        );
        assert_eq!(meaning(&unsure, &update(5, 6), "a/b"), Meaning::Harmless);
        assert_eq!(meaning(&theirs, &update(5, 5), "a/b"), Meaning::Harmless, "another column");
        assert_eq!(meaning(&theirs, &Change::Insert(row(1)), "a/b"), Meaning::New(row(1)));
        assert!(matches!(meaning(&theirs, &Change::Delete(row(1)), "a/b"), Meaning::Breach(..)));
    }
}
