//! What our writer says of itself in its own transaction: the rows it writes, so that the stream can tell them from what
//! triggers write beside them. A transactional logical message, which needs no special right.

use crate::database::TargetRow;
use crate::mapping::{LocationFrom, Mapping};

/// The name that our messages go by.
pub(super) const PREFIX: &str = "banyan";

/// One row a line, tabs between: table, SKU, location, in stock, allocated.
pub(super) fn text(mapping: &Mapping, rows: &[TargetRow]) -> String {
    let mut text = String::with_capacity(rows.len() * 32);
    for row in rows {
        let location = match mapping.tables.get(row.table).map(|table| &table.location) {
            Some(LocationFrom::Constant(place)) => place,
            _ => &row.location,
        };
        let line = format!("{}\t{}\t{location}\t{}\t{}\n", row.table, row.sku, row.in_stock, row.allocated);
        text.push_str(&line);
    }
    text
}

/// Table, SKU and location, and the two numbers.
type Written = ((usize, String, String), (i64, i64));

/// Reads [`text`]. Nothing if it is not whole.
pub(super) fn read(content: &[u8]) -> Option<Vec<Written>> {
    let row = |line: &str| {
        let mut cells = line.split('\t');
        let target = (cells.next()?.parse().ok()?, cells.next()?.to_owned(), cells.next()?.to_owned());
        let numbers = (cells.next()?.parse().ok()?, cells.next()?.parse().ok()?);
        cells.next().is_none().then_some((target, numbers))
    };
    std::str::from_utf8(content).ok()?.lines().map(row).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_can_be_read() {
        let mapping = Mapping::read(
            "capability = \"stock\"\n[database]\nkind = \"postgres\"\nurl_env = \"X\"\n[[table]]\nname = \"t\"\nkey = [\"id\"]\n\
             sku = \"sku\"\nlocation = \"main\"\nin_stock = \"a\"\n",
            std::path::Path::new("."),
        )
        .expect("well-formed");
        let row =
            TargetRow { table: 0, sku: "A".into(), location: String::new(), in_stock: 5, allocated: -1 };
        let text = text(&mapping, &[row.clone(), row]);
        let expected = ((0, "A".to_owned(), "main".to_owned()), (5, -1));
        assert_eq!(read(text.as_bytes()), Some(vec![expected.clone(), expected]));
        assert_eq!(read(b"0\tA\tmain\t5"), None);
        assert_eq!(read(b"\xff"), None);
    }
}
