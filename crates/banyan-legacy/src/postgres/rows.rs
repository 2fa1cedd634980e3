//! From the tables of the stream to mapped rows: which column is which, and what is no longer what the mapping says.

use super::pgoutput::{Cell, Column, OldRow, Relation};
use crate::mapping::{LocationFrom, Mapping, TableMapping};
use crate::stream::{Change, Row};

/// Types whose text is a whole number: `smallint`, `integer`, `bigint`, `numeric`.
pub(super) const NUMBER_TYPES: [u32; 4] = [21, 23, 20, 1700];
/// Types that can name a SKU or a place: text, `varchar`, `char(n)`, whole numbers, `uuid`.
pub(super) const NAME_TYPES: [u32; 7] = [25, 1043, 1042, 21, 23, 20, 2950];
/// `char(n)`, whose text is padded with blanks that mean nothing.
const PADDED_TYPE: u32 = 1042;

/// Where the mapped columns of a table are in its rows, as the stream sends them now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Layout {
    table: usize,
    columns: usize,
    sku: usize,
    sku_padded: bool,
    location: Place,
    in_stock: usize,
    allocated: Option<usize>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Place {
    Constant(String),
    Column(usize, bool),
}

/// Which mapped table this is, if any.
pub(super) fn mapped(mapping: &Mapping, relation: &Relation) -> Option<usize> {
    let is_it = |table: &TableMapping| {
        table.name.table == relation.name && table.name.schema.as_deref() == Some(relation.schema.as_str())
    };
    mapping.tables.iter().position(is_it)
}

impl Layout {
    /// Finds the mapped columns.
    ///
    /// # Errors
    /// What is not as the mapping says: a column that is gone or has another type.
    pub(super) fn of(table: usize, mapping: &TableMapping, relation: &Relation) -> Result<Self, String> {
        let find = |name: &str, types: &[u32]| -> Result<(usize, &Column), String> {
            let found = relation.columns.iter().enumerate().find(|(_, column)| column.name == name);
            let (at, column) = found.ok_or_else(|| {
                let have: Vec<&str> = relation.columns.iter().map(|column| column.name.as_str()).collect();
                format!(
                    "table {}: the mapped column {name} is gone; it has {}",
                    mapping.name,
                    have.join(", ")
                )
            })?;
            if !types.contains(&column.type_oid) {
                return Err(format!(
                    "table {}: the mapped column {name} now has the type number {}, which cannot be mapped",
                    mapping.name, column.type_oid
                ));
            }
            // The modifier of numeric holds its scale in the lower half: anything after the point is not a count.
            if column.type_oid == 1700 && column.modifier >= 4 && (column.modifier - 4) & 0xffff != 0 {
                return Err(format!("table {}: the mapped column {name} now has decimals", mapping.name));
            }
            Ok((at, column))
        };
        let (sku, sku_column) = find(&mapping.sku, &NAME_TYPES)?;
        let location = match &mapping.location {
            LocationFrom::Constant(place) => Place::Constant(place.clone()),
            LocationFrom::Column(name) => {
                let (at, column) = find(name, &NAME_TYPES)?;
                Place::Column(at, column.type_oid == PADDED_TYPE)
            }
        };
        for name in &mapping.key {
            if !relation.columns.iter().any(|column| column.name == *name) {
                return Err(format!("table {}: the key's column {name} is gone", mapping.name));
            }
        }
        Ok(Self {
            table,
            columns: relation.columns.len(),
            sku,
            sku_padded: sku_column.type_oid == PADDED_TYPE,
            location,
            in_stock: find(&mapping.in_stock, &NUMBER_TYPES)?.0,
            allocated: mapping
                .allocated
                .as_deref()
                .map(|name| find(name, &NUMBER_TYPES))
                .transpose()?
                .map(|(at, _)| at),
        })
    }

    /// A new row.
    pub(super) fn insert(&self, new: &[Cell<'_>]) -> Result<Change, String> {
        Ok(Change::Insert(self.row(new, None)?))
    }

    /// A changed row.
    pub(super) fn update(&self, old: Option<&OldRow<'_>>, new: &[Cell<'_>]) -> Result<Change, String> {
        let full = match old {
            Some(OldRow::Full(cells)) => Some(cells.as_slice()),
            _ => None,
        };
        let before = match old {
            Some(OldRow::Full(cells)) => Some(self.row(cells, None)?),
            // The identity changed: the item that the row was before is there, its numbers are not.
            Some(OldRow::Key(cells)) => Some(self.named(cells)?),
            None => None,
        };
        Ok(Change::Update { before, after: self.row(new, full)? })
    }

    /// A deleted row.
    pub(super) fn delete(&self, old: &OldRow<'_>) -> Result<Change, String> {
        Ok(Change::Delete(match old {
            OldRow::Full(cells) => self.row(cells, None)?,
            OldRow::Key(cells) => self.named(cells)?,
        }))
    }

    fn row(&self, cells: &[Cell<'_>], full: Option<&[Cell<'_>]>) -> Result<Row, String> {
        self.fits(cells)?;
        let mut row = self.item(|at| self.cell(cells, full, at))?;
        row.in_stock = self.number(cells, full, self.in_stock)?;
        row.allocated = match self.allocated {
            Some(at) => self.number(cells, full, at)?,
            None => None,
        };
        Ok(row)
    }

    /// A row of which only the identity is known.
    fn named(&self, cells: &[Cell<'_>]) -> Result<Row, String> {
        self.fits(cells)?;
        self.item(|at| match cells[at] {
            Cell::Text(text) => Ok(text),
            _ => Err(
                "the row's identity does not hold SKU and location; the table needs REPLICA IDENTITY FULL"
                    .to_owned(),
            ),
        })
    }

    fn item<'a>(&self, cell: impl Fn(usize) -> Result<&'a str, String>) -> Result<Row, String> {
        let trimmed = |text: &'a str, padded: bool| if padded { text.trim_end_matches(' ') } else { text };
        Ok(Row {
            table: self.table,
            sku: trimmed(cell(self.sku)?, self.sku_padded).to_owned(),
            location: match &self.location {
                Place::Constant(place) => place.clone(),
                Place::Column(at, padded) => trimmed(cell(*at)?, *padded).to_owned(),
            },
            in_stock: None,
            allocated: None,
        })
    }

    /// A value that must be there. A null name is the empty name: nothing that Banyan knows, and the preflight says so.
    fn cell<'a>(&self, cells: &[Cell<'a>], full: Option<&[Cell<'a>]>, at: usize) -> Result<&'a str, String> {
        match (cells[at], full.and_then(|old| old.get(at).copied())) {
            (Cell::Text(text), _) | (Cell::Unchanged, Some(Cell::Text(text))) => Ok(text),
            (Cell::Null, _) | (Cell::Unchanged, Some(Cell::Null)) => Ok(""),
            (Cell::Unchanged, _) => {
                Err("a mapped value is stored apart and was not sent; the table needs REPLICA IDENTITY FULL"
                    .to_owned())
            }
        }
    }

    fn number(
        &self,
        cells: &[Cell<'_>],
        full: Option<&[Cell<'_>]>,
        at: usize,
    ) -> Result<Option<i64>, String> {
        let text = self.cell(cells, full, at)?;
        if text.is_empty() {
            return Ok(None);
        }
        text.parse()
            .map(Some)
            .map_err(|_| format!("{text:?} in a mapped column is not a whole number of 64 bits"))
    }

    fn fits(&self, cells: &[Cell<'_>]) -> Result<(), String> {
        if cells.len() == self.columns {
            return Ok(());
        }
        Err(format!("a row has {} columns, and its table {}", cells.len(), self.columns))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mapping::TableName;

    fn mapping() -> TableMapping {
        TableMapping {
            name: TableName { schema: Some("public".into()), table: "stock".into() },
            key: vec!["id".into()],
            sku: "sku".into(),
            location: LocationFrom::Column("place".into()),
            in_stock: "a".into(),
            allocated: Some("b".into()),
        }
    }

    fn relation(columns: &[(&str, u32)]) -> Relation {
        let columns = columns.iter().map(|(name, type_oid)| Column {
            name: (*name).into(),
            type_oid: *type_oid,
            modifier: -1,
        });
        Relation { id: 7, schema: "public".into(), name: "stock".into(), columns: columns.collect() }
    }

    const GOOD: [(&str, u32); 6] =
        [("note", 25), ("id", 20), ("sku", 1042), ("place", 23), ("a", 23), ("b", 1700)];

    #[test]
    fn columns_are_found_by_name_and_blanks_of_char_mean_nothing() {
        let layout = Layout::of(3, &mapping(), &relation(&GOOD)).expect("all there");
        let text = Cell::Text;
        let cells = [Cell::Unchanged, text("1"), text("A-1   "), text("12"), text("5"), Cell::Null];
        let row =
            Row { table: 3, sku: "A-1".into(), location: "12".into(), in_stock: Some(5), allocated: None };
        assert_eq!(layout.insert(&cells), Ok(Change::Insert(row)));
    }

    #[test]
    fn an_unchanged_value_comes_from_the_old_row_or_not_at_all() {
        let layout = Layout::of(0, &mapping(), &relation(&GOOD)).expect("all there");
        let text = Cell::Text;
        let old = vec![Cell::Null, text("1"), text("A"), text("12"), text("5"), text("2")];
        let new = vec![Cell::Null, text("1"), Cell::Unchanged, text("12"), text("6"), text("2")];
        let Ok(Change::Update { before, after }) = layout.update(Some(&OldRow::Full(old)), &new) else {
            panic!("not an update");
        };
        assert_eq!(
            (before.expect("full").in_stock, after.in_stock, after.sku.as_str()),
            (Some(5), Some(6), "A")
        );
        assert!(
            layout.update(None, &new).expect_err("nothing to take it from").contains("REPLICA IDENTITY FULL")
        );
        let key = OldRow::Key(vec![Cell::Null, text("1"), Cell::Null, Cell::Null, Cell::Null, Cell::Null]);
        assert!(layout.delete(&key).expect_err("no SKU").contains("REPLICA IDENTITY FULL"));
    }

    #[test]
    fn a_changed_schema_is_told_not_guessed() {
        let with = |at: usize, column: (&'static str, u32)| {
            let mut columns = GOOD;
            columns[at] = column;
            Layout::of(0, &mapping(), &relation(&columns))
        };
        assert!(with(2, ("sku_code", 25)).expect_err("renamed").contains("column sku is gone"));
        assert!(with(4, ("a", 701)).expect_err("a float").contains("type number 701"));
        assert!(with(1, ("pk", 20)).expect_err("key").contains("key's column id is gone"));
        assert!(with(0, ("remark", 3802)).is_ok(), "what is not mapped may change");
        let mut decimals = relation(&GOOD);
        decimals.columns[5].modifier = (10 << 16 | 2) + 4;
        assert!(Layout::of(0, &mapping(), &decimals).expect_err("decimals").contains("decimals"));
    }
}
