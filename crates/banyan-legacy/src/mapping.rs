//! The mapping file: which tables and columns of the old database belong to which capability. Read once, checked once.

use banyan_domain::legacy::Phase;
use serde::Deserialize;
use std::collections::BTreeSet;
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;
use toml::Spanned;

/// Longest name of a table or column, in bytes: what both kinds of database take.
const NAME_BYTES_MAX: usize = 63;
/// Most tables one mapping may name.
const TABLES_MAX: usize = 64;

/// A checked mapping. It says nothing about the live database; `check` of the database does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mapping {
    /// The capability that moves. Today there is one: `stock`.
    pub capability: String,
    /// The database, and how to reach it.
    pub database: DatabaseSettings,
    /// The tables, in the order of the file; a row says its table by index.
    pub tables: Vec<TableMapping>,
    /// Whether only the outbox is followed, and the tables are not looked at: for phase `retired`. The tables still say where
    /// messages belong that name no location, and where our own tables are.
    pub outbox_only: bool,
    /// Limits that gate and alarm.
    pub watch: Watch,
}

/// The old database, and how to reach it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DatabaseSettings {
    /// Which kind it is.
    pub kind: DatabaseKind,
    /// Where its address is.
    pub connection: Connection,
    /// Postgres: the name of the slot, of the publication and of the replication origin.
    pub slot: String,
    /// MySQL and MariaDB: the number by which the server knows this reader, unlike that of any other.
    pub server_id: u32,
    /// Whether the two bookkeeping tables may be used. Without them Banyan can mirror, and never lead.
    pub bookkeeping: bool,
}

/// A kind of database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DatabaseKind {
    /// PostgreSQL.
    Postgres,
    /// MySQL and MariaDB.
    Mysql,
}

/// Where the address is. It holds a password, so it is never in the mapping itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Connection {
    /// A file that holds nothing else.
    File(PathBuf),
    /// An environment variable.
    Variable(String),
}

/// One mapped table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableMapping {
    /// Its name.
    pub name: TableName,
    /// The columns of its primary key, or of another unique key without nulls: the order in which it is read.
    pub key: Vec<String>,
    /// The column that holds the SKU.
    pub sku: String,
    /// Where the location comes from.
    pub location: LocationFrom,
    /// The column that holds what is in stock.
    pub in_stock: String,
    /// The column that holds what is sold and not yet shipped, if there is one.
    pub allocated: Option<String>,
}

/// The name of a table, as `schema.table`, or `table` alone.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct TableName {
    /// Postgres: the schema (`public` if not said). MySQL: the database (that of the address if not said).
    pub schema: Option<String>,
    /// The table.
    pub table: String,
}

/// Where the location of a row comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LocationFrom {
    /// All rows are at this place.
    Constant(String),
    /// The text of this column.
    Column(String),
}

/// Limits that gate a move and raise alarms.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Watch {
    /// Longest lag of the stream.
    pub lag_max: Duration,
    /// Most bytes that the old database may have to keep because of us, before it is an alarm.
    pub wal_bytes_max: u64,
    /// The last resort: beyond this many bytes the stream is given up, and later taken up again with a new snapshot,
    /// rather than filling the old shop's disk. 0 means never.
    pub wal_bytes_drop: u64,
}

/// Why a text is not a mapping.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidMapping {
    /// The line, from 1.
    pub line: usize,
    /// What is wrong, and what to do.
    pub why: String,
}

impl Mapping {
    /// Reads the text of a mapping file. `folder` is where the file is: paths in it are relative to that.
    ///
    /// # Errors
    /// [`InvalidMapping`] with the line.
    pub fn read(text: &str, folder: &Path) -> Result<Self, InvalidMapping> {
        let at = |offset: usize, why: String| InvalidMapping { line: line_of(text, offset), why };
        let file: MappingFile = toml::from_str(text)
            .map_err(|error| at(error.span().map_or(0, |span| span.start), error.message().to_owned()))?;
        if file.capability.get_ref() != "stock" {
            let why = format!(
                "capability is {:?}; the only one that can move today is \"stock\"",
                file.capability.get_ref()
            );
            return Err(at(file.capability.span().start, why));
        }
        let start = file.database.span().start;
        let database = database(file.database.into_inner(), folder).map_err(|why| at(start, why))?;
        let tables = tables(file.tables, database.kind).map_err(|(offset, why)| at(offset, why))?;
        let start = file.watch.as_ref().map_or(0, |watch| watch.span().start);
        let watch = watch(file.watch.map(Spanned::into_inner)).map_err(|why| at(start, why))?;
        let outbox_only = file.outbox_only.unwrap_or(false);
        if outbox_only && !database.bookkeeping {
            let why = "outbox_only = true and bookkeeping = false: there would be nothing to follow";
            return Err(at(start, why.to_owned()));
        }
        Ok(Self { capability: file.capability.into_inner(), database, tables, outbox_only, watch })
    }

    /// Reads a mapping file.
    ///
    /// # Errors
    /// What is wrong, with file and line.
    pub fn load(path: &Path) -> Result<Self, String> {
        let text = std::fs::read_to_string(path)
            .map_err(|error| format!("reading the mapping {}: {error}", path.display()))?;
        let folder = path.parent().unwrap_or(Path::new("."));
        Self::read(&text, folder).map_err(|error| format!("{}:{error}", path.display()))
    }

    /// Whether the mapped tables are needed where the old database says `phase`: not once nobody writes or follows them.
    #[must_use]
    pub fn needs_tables(&self, phase: Phase) -> bool {
        !self.outbox_only && phase != Phase::Retired
    }

    /// Whether a table may hold the row of an item at `location`: all do whose location is a column, and those whose
    /// constant it is.
    pub fn tables_at<'a>(&'a self, location: &'a str) -> impl Iterator<Item = usize> + 'a {
        let may_hold = move |table: &TableMapping| match &table.location {
            LocationFrom::Constant(constant) => constant == location,
            LocationFrom::Column(_) => true,
        };
        self.tables.iter().enumerate().filter(move |(_, table)| may_hold(table)).map(|(index, _)| index)
    }
}

impl Connection {
    /// The address itself. It holds a password: not for logs.
    ///
    /// # Errors
    /// Why it cannot be had, without the address.
    pub fn address(&self) -> Result<String, String> {
        let text = match self {
            Self::File(path) => std::fs::read_to_string(path).map_err(|error| {
                format!("reading the old database's address from {}: {error}", path.display())
            })?,
            Self::Variable(name) => std::env::var(name).map_err(|_| {
                format!(
                    "the environment variable {name} shall hold the old database's address, and is not set"
                )
            })?,
        };
        let text = text.trim();
        if text.is_empty() || text.contains('\n') {
            return Err(format!(
                "{self} shall hold the old database's address in one line, and nothing else"
            ));
        }
        Ok(text.to_owned())
    }
}

impl TableMapping {
    /// The columns that are mapped, each once: key, SKU, location, in stock, allocated.
    #[must_use]
    pub fn columns(&self) -> Vec<&str> {
        let location = match &self.location {
            LocationFrom::Column(column) => Some(column.as_str()),
            LocationFrom::Constant(_) => None,
        };
        let all = self.key.iter().map(String::as_str).chain([self.sku.as_str()]).chain(location);
        let all = all.chain([self.in_stock.as_str()]).chain(self.allocated.as_deref());
        let mut columns: Vec<&str> = Vec::new();
        for column in all {
            if !columns.contains(&column) {
                columns.push(column);
            }
        }
        columns
    }
}

impl fmt::Display for InvalidMapping {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.line, self.why)
    }
}

impl std::error::Error for InvalidMapping {}

impl fmt::Display for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => write!(f, "the file {}", path.display()),
            Self::Variable(name) => write!(f, "the environment variable {name}"),
        }
    }
}

impl fmt::Display for TableName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.schema {
            Some(schema) => write!(f, "{schema}.{}", self.table),
            None => f.write_str(&self.table),
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct MappingFile {
    capability: Spanned<String>,
    outbox_only: Option<bool>,
    database: Spanned<DatabaseFile>,
    #[serde(default, rename = "table")]
    tables: Vec<Spanned<TableFile>>,
    watch: Option<Spanned<WatchFile>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct DatabaseFile {
    kind: String,
    url_file: Option<PathBuf>,
    url_env: Option<String>,
    slot: Option<String>,
    server_id: Option<u32>,
    bookkeeping: Option<bool>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TableFile {
    name: String,
    key: Vec<String>,
    sku: String,
    location: LocationFile,
    in_stock: String,
    allocated: Option<String>,
}

#[derive(Deserialize)]
#[serde(untagged, expecting = "the name of a place, such as \"main\", or { column = \"partner_id\" }")]
enum LocationFile {
    Constant(String),
    Column(ColumnFile),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ColumnFile {
    column: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WatchFile {
    lag_millis_max: Option<u64>,
    wal_bytes_max: Option<u64>,
    wal_bytes_drop: Option<u64>,
}

fn database(file: DatabaseFile, folder: &Path) -> Result<DatabaseSettings, String> {
    let kind = match file.kind.as_str() {
        "postgres" => DatabaseKind::Postgres,
        "mysql" => DatabaseKind::Mysql,
        other => {
            return Err(format!("kind is {other:?}: say \"postgres\", or \"mysql\" for MySQL and MariaDB"));
        }
    };
    let connection = match (file.url_file, file.url_env) {
        (Some(path), None) => Connection::File(folder.join(path)),
        (None, Some(name)) if !name.is_empty() && !name.contains(['=', '\0']) => Connection::Variable(name),
        (None, Some(name)) => {
            return Err(format!("url_env = {name:?} is not the name of an environment variable"));
        }
        _ => return Err("say either url_file or url_env: where the old database's address is".to_owned()),
    };
    if kind == DatabaseKind::Mysql && file.server_id.is_none_or(|id| id == 0) {
        return Err(
            "server_id is missing: a number from 1 that no other reader of this server has".to_owned()
        );
    }
    let slot = file.slot.unwrap_or_else(|| "banyan_stock".to_owned());
    let is_plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    if slot.is_empty() || slot.len() > NAME_BYTES_MAX || !slot.chars().all(is_plain) {
        return Err(format!(
            "slot = {slot:?}: at most {NAME_BYTES_MAX} lower-case letters, digits and underscores"
        ));
    }
    Ok(DatabaseSettings {
        kind,
        connection,
        slot,
        server_id: file.server_id.unwrap_or(0),
        bookkeeping: file.bookkeeping.unwrap_or(true),
    })
}

fn tables(files: Vec<Spanned<TableFile>>, kind: DatabaseKind) -> Result<Vec<TableMapping>, (usize, String)> {
    if files.is_empty() || files.len() > TABLES_MAX {
        let why = format!(
            "{} [[table]] sections; there must be 1 to {TABLES_MAX}. Once the tables are gone, leave their sections and say \
             outbox_only = true",
            files.len()
        );
        return Err((0, why));
    }
    let mut names = BTreeSet::new();
    let mut places = BTreeSet::new();
    let mut tables = Vec::with_capacity(files.len());
    for file in files {
        let start = file.span().start;
        let table = table(file.into_inner(), kind).map_err(|why| (start, why))?;
        if !names.insert(table.name.clone()) {
            return Err((start, format!("table {} is mapped twice", table.name)));
        }
        if let LocationFrom::Constant(place) = &table.location
            && !places.insert(place.clone())
        {
            let why = format!(
                "two tables have the location {place:?}: an item could be in both; give each its own"
            );
            return Err((start, why));
        }
        tables.push(table);
    }
    Ok(tables)
}

fn table(file: TableFile, kind: DatabaseKind) -> Result<TableMapping, String> {
    let name = table_name(&file.name, kind)?;
    let of = |role: &str, column: String| column_name(&file.name, role, column);
    let location = match file.location {
        LocationFile::Constant(place) => LocationFrom::Constant(
            banyan_domain::LocationId::new(place.as_str())
                .map_err(|error| format!("table {}: location: {error}", file.name))?
                .as_str()
                .to_owned(),
        ),
        LocationFile::Column(column) => LocationFrom::Column(of("location", column.column)?),
    };
    let table = TableMapping {
        name,
        key: file.key.into_iter().map(|column| of("key", column)).collect::<Result<_, _>>()?,
        sku: of("sku", file.sku)?,
        location,
        in_stock: of("in_stock", file.in_stock)?,
        allocated: file.allocated.map(|column| of("allocated", column)).transpose()?,
    };
    if table.key.is_empty() {
        return Err(format!("table {}: key is empty: name the columns of the primary key", table.name));
    }
    // Only the numbers are written, so they cannot also say which row it is.
    for (role, column) in [("in_stock", Some(&table.in_stock)), ("allocated", table.allocated.as_ref())] {
        let Some(column) = column else { continue };
        let place = matches!(&table.location, LocationFrom::Column(place) if place == column);
        let names = table.key.contains(column) || *column == table.sku || place;
        if names || (role == "allocated" && *column == table.in_stock) {
            return Err(format!("table {}: {role} = {column:?} has another role already", table.name));
        }
    }
    Ok(table)
}

fn table_name(text: &str, kind: DatabaseKind) -> Result<TableName, String> {
    let parts: Vec<&str> = text.split('.').collect();
    let is_name = |part: &&str| {
        !part.is_empty() && part.len() <= NAME_BYTES_MAX && !part.contains(['"', '`', '\\', '\0', '\n'])
    };
    let fault = || format!("table name {text:?}: say schema.table or table, without quotes");
    if !parts.iter().all(is_name) {
        return Err(fault());
    }
    match (parts.as_slice(), kind) {
        ([schema, table], _) => Ok(TableName { schema: Some((*schema).into()), table: (*table).into() }),
        ([table], DatabaseKind::Postgres) => {
            Ok(TableName { schema: Some("public".into()), table: (*table).into() })
        }
        ([table], DatabaseKind::Mysql) => Ok(TableName { schema: None, table: (*table).into() }),
        _ => Err(fault()),
    }
}

fn column_name(table: &str, role: &str, column: String) -> Result<String, String> {
    if column.is_empty() || column.len() > NAME_BYTES_MAX || column.contains(['"', '`', '\\', '\0', '\n']) {
        return Err(format!("table {table}: {role} = {column:?} is not the name of a column"));
    }
    Ok(column)
}

fn watch(file: Option<WatchFile>) -> Result<Watch, String> {
    let file = file.unwrap_or(WatchFile { lag_millis_max: None, wal_bytes_max: None, wal_bytes_drop: None });
    let watch = Watch {
        lag_max: Duration::from_millis(file.lag_millis_max.unwrap_or(1_000)),
        wal_bytes_max: file.wal_bytes_max.unwrap_or(1 << 30),
        wal_bytes_drop: file.wal_bytes_drop.unwrap_or(0),
    };
    if watch.lag_max.is_zero() || watch.wal_bytes_max == 0 {
        return Err("watch: lag_millis_max and wal_bytes_max must be greater than 0".to_owned());
    }
    if watch.wal_bytes_drop != 0 && watch.wal_bytes_drop <= watch.wal_bytes_max {
        return Err(
            "watch: wal_bytes_drop must be greater than wal_bytes_max: first the alarm, then the last resort"
                .to_owned(),
        );
    }
    Ok(watch)
}

fn line_of(text: &str, offset: usize) -> usize {
    text.bytes().take(offset).filter(|byte| *byte == b'\n').count() + 1
}

#[cfg(test)]
mod tests;
