//! What the live tables look like, and the SQL that follows from it.

use super::address::{Address, fault};
use super::bookkeeping::{OUTBOX, SYNC, quoted, schema};
use super::rows::{NAME_TYPES, NUMBER_TYPES};
use super::write::{needs_tables, read_book};
use crate::database::{LegacyError, PageKey};
use crate::mapping::{LocationFrom, Mapping, TableMapping};
use crate::stream::Row;
use banyan_domain::legacy::Phase;
use std::collections::{BTreeMap, BTreeSet};
use tokio_postgres::{Client, Row as SqlRow};

/// The columns of all mapped tables, by table and name.
pub(super) struct Catalog {
    pub(super) tables: Vec<LiveTable>,
}

/// A mapped table as it is.
pub(super) struct LiveTable {
    pub(super) columns: BTreeMap<String, LiveColumn>,
}

/// A column as it is.
#[derive(Clone, Debug)]
pub(super) struct LiveColumn {
    pub(super) type_oid: u32,
    pub(super) modifier: i32,
    pub(super) type_name: String,
    pub(super) not_null: bool,
    pub(super) generated: bool,
}

/// Reads what the mapped tables look like.
///
/// # Errors
/// [`LegacyError::Refused`] if a table or a mapped column is not there.
pub(super) async fn read(client: &Client, mapping: &Mapping) -> Result<Catalog, LegacyError> {
    let mut tables = Vec::with_capacity(mapping.tables.len());
    for table in &mapping.tables {
        let live = columns(client, table).await?;
        if let Some(what) = missing(table, &live) {
            return Err(LegacyError::Refused(what));
        }
        tables.push(LiveTable { columns: live });
    }
    Ok(Catalog { tables })
}

/// What of a mapped table is not there, if anything is.
pub(super) fn missing(table: &TableMapping, live: &BTreeMap<String, LiveColumn>) -> Option<String> {
    if live.is_empty() {
        return Some(format!("table {} is not there", table.name));
    }
    let column = table.columns().into_iter().find(|name| !live.contains_key(*name))?;
    Some(format!("table {}: the mapped column {column} is not there", table.name))
}

/// The columns of one table. Empty if there is no such table.
pub(super) async fn columns(
    client: &Client,
    table: &TableMapping,
) -> Result<BTreeMap<String, LiveColumn>, LegacyError> {
    let rows = client
        .query(
            "select a.attname::text, a.atttypid, a.atttypmod, format_type(a.atttypid, a.atttypmod), a.attnotnull, \
             a.attgenerated <> '' or a.attidentity = 'a' \
             from pg_attribute a join pg_class c on c.oid = a.attrelid join pg_namespace n on n.oid = c.relnamespace \
             where n.nspname = $1 and c.relname = $2 and a.attnum > 0 and not a.attisdropped",
            &[&table.name.schema.as_deref().unwrap_or("public"), &table.name.table],
        )
        .await
        .map_err(|error| fault(&format!("looking at {}", table.name), &error))?;
    let column = |row: &SqlRow| {
        let live = LiveColumn {
            type_oid: row.get(1),
            modifier: row.get(2),
            type_name: row.get(3),
            not_null: row.get(4),
            generated: row.get(5),
        };
        (row.get::<_, String>(0), live)
    };
    Ok(rows.iter().map(column).collect())
}

/// The stream tells nothing of a table that was taken out of the publication, not even that: it must be looked at. Gives
/// whether the mapped tables are needed.
pub(super) async fn check_publication(address: &Address, mapping: &Mapping) -> Result<bool, LegacyError> {
    let session = address.connect().await?;
    let needed = needs_tables(&session.client, mapping).await?;
    if mapping.outbox_only
        && let Some(book) = read_book(&session.client, mapping, "").await?
        && book.phase != Phase::Retired
    {
        return Err(LegacyError::Refused(format!(
            "the mapping says outbox_only = true, and the phase is {}: take it out until the phase is retired",
            book.phase.as_str()
        )));
    }
    match publication_faults(&session.client, mapping, needed).await?.as_slice() {
        [] => Ok(needed),
        faults => Err(LegacyError::Refused(format!(
            "{}; `banyan legacy check --create` puts it right",
            faults.join("; ")
        ))),
    }
}

/// What the publication lacks; `mapped` if the mapped tables have to be in it.
pub(super) async fn publication_faults(
    client: &Client,
    mapping: &Mapping,
    mapped: bool,
) -> Result<Vec<String>, LegacyError> {
    let name = mapping.database.slot.as_str();
    let looking = |error: tokio_postgres::Error| fault(&format!("looking at the publication {name}"), &error);
    let publication = client
        .query_opt(
            "select pubinsert and pubupdate and pubdelete and pubtruncate from pg_publication where pubname = $1",
            &[&name],
        )
        .await
        .map_err(looking)?;
    let Some(publication) = publication else { return Ok(vec![format!("there is no publication {name}")]) };
    let mut faults = Vec::new();
    if !publication.get::<_, bool>(0) {
        faults.push(format!("the publication {name} leaves out inserts, updates, deletes or truncates"));
    }
    let rows = client
        .query(
            "select schemaname::text, tablename::text from pg_publication_tables where pubname = $1",
            &[&name],
        )
        .await
        .map_err(looking)?;
    let published: BTreeSet<(String, String)> = rows.iter().map(|row| (row.get(0), row.get(1))).collect();
    let every = |_: &TableMapping| mapped;
    for (schema, table) in wanted(mapping, every) {
        if !published.contains(&(schema.to_owned(), table.to_owned())) {
            faults.push(format!("the publication {name} does not have {schema}.{table}"));
        }
    }
    Ok(faults)
}

/// The tables that belong into the publication: ours, and those mapped of which `is_wanted` says so.
pub(super) fn wanted(mapping: &Mapping, is_wanted: impl Fn(&TableMapping) -> bool) -> Vec<(&str, &str)> {
    let mapped = mapping
        .tables
        .iter()
        .filter(|table| is_wanted(table))
        .map(|table| (table.name.schema.as_deref().unwrap_or("public"), table.name.table.as_str()));
    let ours = [SYNC, OUTBOX].map(|table| (schema(mapping), table));
    mapped.chain(ours.into_iter().filter(|_| mapping.database.bookkeeping)).collect()
}

/// A mapped table's name in SQL.
pub(super) fn table_sql(table: &TableMapping) -> String {
    format!("{}.{}", quoted(table.name.schema.as_deref().unwrap_or("public")), quoted(&table.name.table))
}

impl LiveColumn {
    /// Whether it can hold a count.
    pub(super) fn is_number(&self) -> bool {
        let decimals = self.type_oid == 1700 && (self.modifier < 4 || (self.modifier - 4) & 0xffff != 0);
        NUMBER_TYPES.contains(&self.type_oid) && !decimals
    }

    /// Whether it can name a SKU or a place.
    pub(super) fn is_name(&self) -> bool {
        NAME_TYPES.contains(&self.type_oid)
    }

    /// `text`, a value of type text, as something that can be compared with the column by its index.
    fn compared(&self, text: &str) -> String {
        match self.type_oid {
            25 | 1043 => text.to_owned(),
            1042 => format!("{text}::bpchar"),
            2950 => format!("{text}::uuid"),
            1700 => format!("{text}::numeric"),
            20 | 21 | 23 => format!("{text}::bigint"),
            _ => format!("{text}::{}", self.type_name),
        }
    }
}

impl Catalog {
    /// `select` of SKU, location, in stock, allocated and key of all rows.
    pub(super) fn select(&self, mapping: &Mapping, table: usize) -> String {
        let table_mapping = &mapping.tables[table];
        let key = table_mapping.key.iter().map(|column| format!(", t.{}::text", quoted(column)));
        let location = match &table_mapping.location {
            LocationFrom::Constant(place) => format!("'{}'::text", place.replace('\'', "''")),
            LocationFrom::Column(column) => format!("coalesce(t.{}::text, '')", quoted(column)),
        };
        let allocated = table_mapping
            .allocated
            .as_ref()
            .map_or("null::bigint".to_owned(), |column| format!("t.{}::bigint", quoted(column)));
        format!(
            "select /* banyan */ coalesce(t.{}::text, ''), {location}, t.{}::bigint, {allocated}{} from {} t",
            quoted(&table_mapping.sku),
            quoted(&table_mapping.in_stock),
            key.collect::<String>(),
            table_sql(table_mapping)
        )
    }

    /// The condition that a row of the table `t` is that of the text columns `sku` and `location` of `u`.
    pub(super) fn is_item(&self, mapping: &Mapping, table: usize) -> String {
        let table_mapping = &mapping.tables[table];
        let live = &self.tables[table].columns;
        let equal = |column: &String, text: &str| {
            let compared = live.get(column).map_or_else(|| text.to_owned(), |live| live.compared(text));
            format!("t.{} = {compared}", quoted(column))
        };
        let sku = equal(&table_mapping.sku, "u.sku");
        match &table_mapping.location {
            LocationFrom::Constant(_) => sku,
            LocationFrom::Column(column) => format!("{sku} and {}", equal(column, "u.location")),
        }
    }

    /// The order of the key.
    pub(super) fn order(mapping: &Mapping, table: usize) -> String {
        let columns: Vec<String> =
            mapping.tables[table].key.iter().map(|column| format!("t.{}", quoted(column))).collect();
        columns.join(", ")
    }

    /// The condition that a row's key is as `operator` says to a key of text values in the parameter `number`, an array.
    pub(super) fn bound(&self, mapping: &Mapping, table: usize, operator: &str, number: usize) -> String {
        let live = &self.tables[table].columns;
        let values = (1..).zip(&mapping.tables[table].key).map(|(n, column)| {
            let text = format!("(${number}::text[])[{n}]");
            live.get(column).map_or_else(|| text.clone(), |live| live.compared(&text))
        });
        let values: Vec<String> = values.collect();
        format!("({}) {operator} ({})", Self::order(mapping, table), values.join(", "))
    }

    /// A row as it goes into a digest: the same text as [`crate::ranges::line`] makes of what [`Self::select`] reads.
    pub(super) fn line(mapping: &Mapping, table: usize) -> String {
        let table = &mapping.tables[table];
        let name = |column: &String| format!("coalesce(t.{}::text, '')", quoted(column));
        let location = match &table.location {
            LocationFrom::Constant(place) => format!("'{}'", place.replace('\'', "''")),
            LocationFrom::Column(column) => name(column),
        };
        let number = |column: &String| format!("coalesce(t.{}, 0)::bigint::text", quoted(column));
        let allocated = table.allocated.as_ref().map_or("'0'".to_owned(), number);
        let (sku, in_stock) = (name(&table.sku), number(&table.in_stock));
        format!("{sku} || E'\\t' || {location} || E'\\t' || {in_stock} || E'\\t' || {allocated} || E'\\n'")
    }
}

/// A row of [`Catalog::select`].
pub(super) fn row(table: usize, row: &SqlRow) -> Result<Row, LegacyError> {
    let unreadable = |error: tokio_postgres::Error| fault("reading a row", &error);
    Ok(Row {
        table,
        sku: row.try_get(0).map_err(unreadable)?,
        location: row.try_get(1).map_err(unreadable)?,
        in_stock: row.try_get(2).map_err(unreadable)?,
        allocated: row.try_get(3).map_err(unreadable)?,
    })
}

/// The key of a row of [`Catalog::select`].
pub(super) fn key(row: &SqlRow) -> Result<PageKey, LegacyError> {
    let values = (4..row.len()).map(|at| row.try_get::<_, Option<String>>(at).map(Option::unwrap_or_default));
    let values = values.collect::<Result<_, _>>().map_err(|error| fault("reading a key", &error))?;
    Ok(PageKey(values))
}
