//! What a comparison remembers of a table: which items have their rows in which range of its key. The next one then compares one
//! digest for each range, computed in the old database, and reads rows only where that differs.
//!
//! Nothing depends on what is remembered here being right: whatever else is in a range, its digest differs, and then its rows
//! are read. After a start nothing is remembered, and every row is read once.

use crate::database::KeyRange;
use crate::stream::Row;
use crate::values::row_numbers;
use banyan_domain::ItemNo;
use sha2::{Digest, Sha256};
use std::fmt::Write;
use std::sync::Arc;

/// The ranges of every mapped table, in the order of its key.
#[derive(Debug, Default)]
pub(crate) struct Ranges(Vec<Vec<Range>>);

/// A range of a table.
#[derive(Clone, Debug)]
pub(crate) struct Range {
    pub(crate) key: KeyRange,
    /// Whose rows are in it; nothing if one of them is of no item, though it should be.
    pub(crate) members: Option<Members>,
}

/// Whose rows are in a range, in the order of its key.
#[derive(Clone, Debug, Default)]
pub(crate) struct Members {
    pub(crate) items: Arc<Vec<ItemNo>>,
    /// Rows that are of no item and need not be, as they are: by their place among all rows.
    pub(crate) others: Vec<(usize, String)>,
}

impl Ranges {
    /// Takes what is remembered of a table.
    pub(crate) fn take(&mut self, table: usize) -> Vec<Range> {
        self.0.get_mut(table).map(std::mem::take).unwrap_or_default()
    }

    /// Remembers a table.
    pub(crate) fn put(&mut self, table: usize, ranges: Vec<Range>) {
        if self.0.len() <= table {
            self.0.resize_with(table + 1, Vec::new);
        }
        self.0[table] = ranges;
    }
}

impl Members {
    /// The digest of the range if the rows of its items are `items`, in their order.
    pub(crate) fn digest(&self, items: impl Iterator<Item = String>) -> String {
        let mut items = items;
        let mut digest = Sha256::new();
        for place in 0.. {
            let other = self.others.binary_search_by_key(&place, |(place, _)| *place);
            match other.ok().map(|at| &self.others[at].1) {
                Some(line) => digest.update(line),
                None => match items.next() {
                    Some(line) => digest.update(line),
                    // The others that follow directly were all passed, since places have no gaps.
                    None => break,
                },
            }
        }
        hex(&digest.finalize())
    }
}

/// A row as it goes into a digest: SKU, location, in stock, allocated, with tabs between and a line's end. Null is 0, and so is
/// what is not mapped.
pub(crate) fn line(sku: &str, location: &str, (in_stock, allocated): (i64, i64)) -> String {
    format!("{sku}\t{location}\t{in_stock}\t{allocated}\n")
}

/// The digest of rows in the order of their key, as the old database computes it of a range: SHA-256, in hexadecimal digits.
#[must_use]
pub fn digest_of(rows: &[Row]) -> String {
    let mut digest = Sha256::new();
    for row in rows {
        digest.update(line(&row.sku, &row.location, row_numbers(row)));
    }
    hex(&digest.finalize())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
        let _written_to_memory = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_of_no_item_are_digested_in_their_place() {
        let row = |sku: &str, in_stock| {
            let (sku, location) = (sku.to_owned(), "main".to_owned());
            Row { table: 0, sku, location, in_stock, allocated: None }
        };
        let rows =
            [row("", Some(1)), row("A", Some(5)), row("two words", None), row("?", None), row("B", Some(7))];
        let lines: Vec<String> =
            rows.iter().map(|row| line(&row.sku, &row.location, row_numbers(row))).collect();
        assert_eq!(lines[4], "B\tmain\t7\t0\n");
        for is_item in 0..32_u32 {
            let is_item = |place: usize| is_item & (1 << place) != 0;
            let others = (0..5).filter(|place| !is_item(*place)).map(|place| (place, lines[place].clone()));
            let members = Members { others: others.collect(), ..Members::default() };
            let items = (0..5).filter(|place| is_item(*place)).map(|place| lines[place].clone());
            assert_eq!(members.digest(items), digest_of(&rows));
        }
        // As `select encode(sha256('...'), 'hex')` of Postgres and `sha2('...', 256)` of MariaDB have it.
        assert_eq!(digest_of(&[]), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    }
}
