//! Which column of a mapped table is which, and mapped rows from its values.

use super::server::{Session, quoted};
use super::shape::{Kind, Origin, Shape};
use crate::database::{LegacyError, PageKey};
use crate::mapping::{LocationFrom, Mapping, TableMapping};
use crate::stream::Row;
use mysql_async::Value;

/// A mapped table as it is now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Layout {
    /// The index of the table in the mapping.
    pub(super) table: usize,
    pub(super) schema: String,
    pub(super) name: String,
    pub(super) shape: Shape,
    pub(super) key: Vec<usize>,
    pub(super) sku: usize,
    pub(super) location: Location,
    pub(super) in_stock: usize,
    pub(super) allocated: Option<usize>,
}

/// Where the location is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Location {
    Constant(String),
    Column(usize),
}

/// The layouts of all mapped tables, in the mapping's order. What does not fit is a text for the operator.
pub(super) async fn read_all(
    session: &mut Session,
    mapping: &Mapping,
    database: &str,
) -> Result<Result<Vec<Layout>, String>, LegacyError> {
    let mut layouts = Vec::with_capacity(mapping.tables.len());
    for (index, table) in mapping.tables.iter().enumerate() {
        let schema = table.name.schema.as_deref().unwrap_or(database);
        let shape = Shape::read(session, schema, &table.name.table).await?;
        match Layout::of(index, table, schema, shape) {
            Ok(layout) => layouts.push(layout),
            Err(why) => return Ok(Err(why)),
        }
    }
    Ok(Ok(layouts))
}

/// The layouts of those mapped tables that are as the mapping says, in the mapping's order.
pub(super) async fn read_there(
    session: &mut Session,
    mapping: &Mapping,
    database: &str,
) -> Result<Vec<Layout>, LegacyError> {
    let mut layouts = Vec::with_capacity(mapping.tables.len());
    for (index, table) in mapping.tables.iter().enumerate() {
        let schema = table.name.schema.as_deref().unwrap_or(database);
        let shape = Shape::read(session, schema, &table.name.table).await?;
        layouts.extend(Layout::of(index, table, schema, shape));
    }
    Ok(layouts)
}

impl Layout {
    /// Finds the mapped columns.
    ///
    /// # Errors
    /// What is not as the mapping says.
    pub(super) fn of(
        table: usize,
        mapping: &TableMapping,
        schema: &str,
        shape: Shape,
    ) -> Result<Self, String> {
        let name = &mapping.name.table;
        if shape.columns.is_empty() {
            return Err(format!("there is no table {schema}.{name}, or its columns may not be read"));
        }
        let find = |column: &str, what: &str, fits: &dyn Fn(usize) -> bool| {
            let Some(at) = shape.find(column) else {
                let have: Vec<&str> = shape.columns.iter().map(|column| column.name.as_str()).collect();
                return Err(format!(
                    "table {schema}.{name} has no column {column}; it has {}",
                    have.join(", ")
                ));
            };
            if fits(at) {
                return Ok(at);
            }
            let found = &shape.columns[at].type_text;
            Err(format!("column {column} of {schema}.{name} is of type {found}, which cannot be {what}"))
        };
        let is_name = |at: usize| shape.columns[at].kind.is_name();
        let is_number = |at: usize| shape.columns[at].kind.is_number();
        let key: Result<Vec<usize>, String> =
            mapping.key.iter().map(|column| find(column, "a key", &is_name)).collect();
        let (key, sku) = (key?, find(&mapping.sku, "a SKU", &is_name)?);
        let location = match &mapping.location {
            LocationFrom::Constant(place) => Location::Constant(place.clone()),
            LocationFrom::Column(column) => Location::Column(find(column, "a place", &is_name)?),
        };
        let in_stock = find(&mapping.in_stock, "a number of units", &is_number)?;
        let allocated = mapping.allocated.as_deref();
        let allocated = allocated.map(|column| find(column, "a number of units", &is_number)).transpose()?;
        let (schema, name) = (schema.to_owned(), name.clone());
        Ok(Self { table, schema, name, shape, key, sku, location, in_stock, allocated })
    }

    /// The columns that are read, in the order of [`Layout::row`]'s callers.
    pub(super) fn used(&self) -> Vec<usize> {
        let location = match self.location {
            Location::Column(at) => Some(at),
            Location::Constant(_) => None,
        };
        let mut used = self.key.clone();
        used.push(self.sku);
        used.extend(location);
        used.push(self.in_stock);
        used.extend(self.allocated);
        used.sort_unstable();
        used.dedup();
        used
    }

    /// `` `schema`.`table` as banyan_mapped``: the name by which our own statements are told apart in statistics.
    pub(super) fn from(&self) -> String {
        format!("{}.{} as banyan_mapped", quoted(&self.schema), quoted(&self.name))
    }

    /// A row as it goes into a digest: the same text as [`crate::ranges::line`] makes of [`Layout::row`].
    pub(super) fn line(&self) -> String {
        let name = |at: usize| {
            let column = self.column(at);
            let text = match self.shape.columns[at].kind {
                // As a number, so that `zerofill` puts no zeros before it.
                Kind::Integer { unsigned: true, .. } => format!("cast({column} as unsigned)"),
                Kind::Integer { .. } | Kind::Decimal => format!("cast({column} as signed)"),
                Kind::Text(_) | Kind::Other => format!("convert({column} using utf8mb4)"),
            };
            format!("ifnull({text}, '')")
        };
        let number = |at: usize| format!("ifnull(cast({} as signed), 0)", self.column(at));
        let location = match &self.location {
            Location::Constant(place) => format!("'{}'", place.replace('\'', "''")),
            Location::Column(at) => name(*at),
        };
        let allocated = self.allocated.map_or("0".to_owned(), number);
        let (sku, in_stock) = (name(self.sku), number(self.in_stock));
        format!("concat({sku}, '\\t', {location}, '\\t', {in_stock}, '\\t', {allocated}, '\\n')")
    }

    /// The name of a column, in a statement.
    pub(super) fn column(&self, at: usize) -> String {
        quoted(&self.shape.columns[at].name)
    }

    /// The mapped row of a table's row, whose value in a column `cell` gives.
    pub(super) fn row<'a>(
        &self,
        origin: Origin,
        cell: impl Fn(usize) -> Option<&'a Value>,
    ) -> Result<Row, String> {
        let missing = |at: usize| {
            let name = &self.shape.columns[at].name;
            format!("the value of column {name} was not logged: binlog_row_image must be FULL")
        };
        let value = |at: usize| cell(at).ok_or_else(|| missing(at));
        let name = |at: usize| self.shape.columns[at].name_of(value(at)?, origin);
        let number = |at: usize| self.shape.columns[at].number_of(value(at)?, origin);
        Ok(Row {
            table: self.table,
            sku: name(self.sku)?,
            location: match &self.location {
                Location::Constant(place) => place.clone(),
                Location::Column(at) => name(*at)?,
            },
            in_stock: number(self.in_stock)?,
            allocated: self.allocated.map_or(Ok(None), number)?,
        })
    }

    /// A key's values, as its columns hold them: a number that is compared as text would be compared as a float.
    pub(super) fn key_values(&self, key: &PageKey) -> Vec<Value> {
        let value = |(at, text): (&usize, &String)| match self.shape.columns[*at].kind {
            Kind::Integer { .. } => match (text.parse::<i64>(), text.parse::<u64>()) {
                (Ok(number), _) => Value::Int(number),
                (_, Ok(number)) => Value::UInt(number),
                _ => Value::from(text.as_str()),
            },
            _ => Value::from(text.as_str()),
        };
        self.key.iter().zip(&key.0).map(value).collect()
    }

    /// The key of a row.
    pub(super) fn key_of<'a>(&self, cell: impl Fn(usize) -> Option<&'a Value>) -> Result<PageKey, String> {
        let part = |at: &usize| {
            let value = cell(*at).unwrap_or(&Value::NULL);
            self.shape.columns[*at].name_of(value, Origin::Query)
        };
        Ok(PageKey(self.key.iter().map(part).collect::<Result<_, _>>()?))
    }
}
