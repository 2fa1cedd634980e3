//! From the events of the binary log to transactions: what belongs together, where it is, and what of it concerns us.
//!
//! Nothing here waits or asks anybody. What cannot be decided from the log alone, namely what a table looks like after a
//! schema change, is handed back as [`Found::Schema`].

use super::layout::Layout;
use super::position::{split, too_large};
use super::shape::{Origin, Shape};
use super::words::words;
use crate::database::{Book, LegacyError};
use crate::stream::{Change, OutboxRow, Transaction};
use banyan_domain::legacy::Phase;
use mysql_async::Value;
use mysql_async::binlog::EventFlags;
use mysql_async::binlog::events::{Event, EventData, QueryEvent, RowsEventData, TableMapEvent};
use mysql_async::binlog::row::BinlogRow;
use mysql_async::binlog::value::BinlogValue;
use std::collections::{BTreeMap, VecDeque};

/// Changes in one part of a transaction: what Banyan applies in one block.
const PART_CHANGES: usize = banyan_domain::limits::SOURCE_ROWS_MAX / 2;
/// Changes that are kept until their transaction's end. A larger one is handed out in parts before its end is seen.
const HELD_CHANGES_MAX: usize = 100_000;

/// The tables that concern us, as they are now.
#[derive(Clone, Debug)]
pub(super) struct Scope {
    pub(super) capability: String,
    /// The database of the bookkeeping tables.
    pub(super) database: String,
    pub(super) layouts: Vec<Layout>,
    /// The names of all mapped tables, also of those that are not there.
    pub(super) mapped: Vec<String>,
    /// Whether the mapped tables have to be as the mapping says: not in phase `retired`, where some may be missing here.
    pub(super) needs_tables: bool,
    /// The columns of `banyan_sync`; none where there is no such table.
    pub(super) sync: Shape,
    /// The columns of `banyan_outbox`; none where there is no such table.
    pub(super) outbox: Shape,
}

/// What was found in the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// A transaction, or a part of one.
    Transaction(Transaction),
    /// A statement that may have changed the tables that concern us: they must be looked at before the log goes on.
    Schema(String),
    /// The log can no longer be followed by the mapping.
    Trouble(String),
}

/// The reader of one binary log.
#[derive(Debug)]
pub(super) struct Log {
    pub(super) scope: Scope,
    file: String,
    number: u32,
    /// Where the last event ended.
    offset: u64,
    /// The position where reading began, until it is known whether that is within a transaction.
    resumed: Option<u64>,
    group: Option<Group>,
    tables: BTreeMap<u64, Target>,
    /// Whether one of us has marked the log, and waits to hear that it was read to here.
    nudged: bool,
    pub(super) found: VecDeque<Found>,
}

/// One transaction under way.
#[derive(Debug, Default)]
struct Group {
    position: u64,
    /// Nothing if reading began after its beginning.
    begun: Option<bool>,
    seconds: u32,
    ours: Option<(u64, u64)>,
    switched: Option<Book>,
    changes: VecDeque<Change>,
    outbox: VecDeque<OutboxRow>,
    parts: u32,
}

/// Whose rows a table map announces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Target {
    Mapped(usize),
    Sync,
    Outbox,
}

mod kind {
    pub(super) const QUERY: u8 = 2;
    pub(super) const ROTATE: u8 = 4;
    pub(super) const FORMAT: u8 = 15;
    pub(super) const XID: u8 = 16;
    pub(super) const LOAD: [u8; 2] = [17, 18];
    pub(super) const TABLE_MAP: u8 = 19;
    pub(super) const ROWS: [u8; 7] = [23, 24, 25, 30, 31, 32, 39];
    pub(super) const INCIDENT: u8 = 26;
    pub(super) const HEARTBEATS: [u8; 2] = [27, 41];
    pub(super) const GTIDS: [u8; 3] = [33, 34, 42];
    pub(super) const XA_PREPARE: u8 = 38;
    pub(super) const PAYLOAD: u8 = 40;
    pub(super) const MARIADB_GTID: u8 = 162;
    pub(super) const MARIADB_COMPRESSED: std::ops::RangeInclusive<u8> = 165..=171;
    /// Other kinds that are known and do not concern us.
    pub(super) const KNOWN_MAX: u8 = 42;
    pub(super) const MARIADB_KNOWN: std::ops::RangeInclusive<u8> = 160..=164;
}

impl Log {
    /// A reader that begins at `position`, which is in `file`.
    pub(super) fn new(scope: Scope, file: &str, position: u64) -> Result<Self, LegacyError> {
        let (_, number) = split(file)?;
        Ok(Self {
            scope,
            file: file.to_owned(),
            number,
            offset: position & u64::from(u32::MAX),
            resumed: Some(position),
            group: None,
            tables: BTreeMap::new(),
            nudged: false,
            found: VecDeque::new(),
        })
    }

    /// The position up to which everything has been found; nothing within a transaction.
    pub(super) fn settled(&self) -> Option<u64> {
        self.group.is_none().then(|| self.position())
    }

    /// Whether somebody waits to hear how far the log was read. Asked once.
    pub(super) fn take_nudge(&mut self) -> bool {
        std::mem::take(&mut self.nudged)
    }

    /// Whether the server only says that it is there, and that there is nothing more to read now.
    pub(super) fn is_heartbeat(event: &Event) -> bool {
        kind::HEARTBEATS.contains(&event.header().event_type_raw())
    }

    /// Reads one event. `map` gives the table map of a table's number.
    pub(super) fn read<'a>(
        &mut self,
        event: &Event,
        map: impl Fn(u64) -> Option<&'a TableMapEvent<'static>>,
    ) -> Result<(), LegacyError> {
        check(event)?;
        let header = event.header();
        let kind = header.event_type_raw();
        let is_artificial =
            header.log_pos() == 0 || header.flags().contains(EventFlags::LOG_EVENT_ARTIFICIAL_F);
        if Self::is_heartbeat(event) {
            return Ok(());
        }
        if kind == kind::ROTATE {
            return self.rotate(event, is_artificial);
        }
        // Events inside of a compressed transaction have no place of their own.
        if !is_artificial {
            let end = u64::from(header.log_pos());
            if end < self.offset {
                return Err(too_large(&self.file));
            }
            self.offset = end;
        }
        match kind {
            kind::FORMAT if !is_artificial => self.discard("the server stopped within it"),
            kind::MARIADB_GTID => {
                let flags = event.data().get(12).copied().unwrap_or_default();
                self.begin(Some(flags & 1 == 0), header.timestamp())
            }
            _ if kind::GTIDS.contains(&kind) => self.begin(Some(false), header.timestamp()),
            kind::QUERY => match data(event)? {
                Some(EventData::QueryEvent(query)) => self.query(&query, header.timestamp()),
                _ => Err(unreadable("a statement", "of another kind")),
            },
            kind::XID => self.commit(header.timestamp()),
            kind::TABLE_MAP => match data(event)? {
                Some(EventData::TableMapEvent(map)) => self.table(&map),
                _ => Err(unreadable("a table map", "of another kind")),
            },
            _ if kind::ROWS.contains(&kind) => match data(event)? {
                Some(EventData::RowsEvent(rows)) => self.rows(&rows, map(rows.table_id())),
                _ => Err(unreadable("rows", "of another kind")),
            },
            _ => self.other(kind, event, header.timestamp()),
        }
    }

    fn other(&mut self, kind: u8, event: &Event, seconds: u32) -> Result<(), LegacyError> {
        match kind {
            kind::XA_PREPARE => {
                if self.group()?.is_touched() {
                    self.trouble("an XA transaction wrote to it: a prepared transaction cannot be followed");
                }
                self.commit(seconds)
            }
            kind::INCIDENT => Err(LegacyError::SourceUnknown(
                "the server lost events of its binary log (an incident event); begin with a new snapshot".into(),
            )),
            kind::PAYLOAD => self.group().map(|_| ()),
            _ if kind::LOAD.contains(&kind) => {
                self.trouble("LOAD DATA was logged as a statement: set binlog_format=ROW everywhere");
                Ok(())
            }
            _ if kind::MARIADB_COMPRESSED.contains(&kind) => Err(LegacyError::Refused(
                "the binary log is compressed, which cannot be read: set log_bin_compress=OFF, flush binary logs, and \
                 begin with a new snapshot"
                    .into(),
            )),
            _ if kind <= kind::KNOWN_MAX || kind::MARIADB_KNOWN.contains(&kind) => Ok(()),
            _ if event.header().flags().contains(EventFlags::LOG_EVENT_IGNORABLE_F) => Ok(()),
            _ => Err(LegacyError::Refused(format!("the binary log has an event of the unknown kind {kind}"))),
        }
    }

    fn rotate(&mut self, event: &Event, is_artificial: bool) -> Result<(), LegacyError> {
        let Some(EventData::RotateEvent(rotate)) = data(event)? else {
            return Err(unreadable("a rotation", "of another kind"));
        };
        // The first one comes before the log's format is known, with a checksum behind the name that is not told from it.
        if is_artificial && rotate.name_raw().starts_with(self.file.as_bytes()) {
            return Ok(());
        }
        let file = rotate.name().into_owned();
        if !is_artificial || file != self.file {
            self.discard("its file ended within it")?;
            self.tables.clear();
            self.resumed = None;
            (_, self.number) = split(&file)?;
            self.file = file;
            self.offset = rotate.position();
        }
        Ok(())
    }

    fn begin(&mut self, begun: Option<bool>, seconds: u32) -> Result<(), LegacyError> {
        self.resumed = None;
        // What was read from within, or what could not be decompressed, may have no end that we saw.
        match self.group.take() {
            Some(open) if open.begun.is_some() => {
                return Err(LegacyError::Broken(format!(
                    "the binary log's transaction at {:#x} has no end before the next begins",
                    open.position
                )));
            }
            Some(open) => self.finish(open, seconds),
            None => {}
        }
        self.group = Some(Group { position: self.position(), begun, seconds, ..Group::default() });
        Ok(())
    }

    /// The transaction under way: also one in which reading began.
    fn group(&mut self) -> Result<&mut Group, LegacyError> {
        if self.group.is_none() {
            let Some(position) = self.resumed.take() else {
                return Err(LegacyError::Refused(
                    "the binary log has events outside of any transaction: it is not of MySQL 5.7, MariaDB 10, or later"
                        .into(),
                ));
            };
            self.group = Some(Group { position, ..Group::default() });
        }
        Ok(self.group.as_mut().expect("it was made above if there was none"))
    }

    fn query(&mut self, query: &QueryEvent<'_>, seconds: u32) -> Result<(), LegacyError> {
        let text = query.query();
        let words = words(&text);
        let word = |at: usize| words.get(at).map_or("", String::as_str);
        let is_transactional = self.group()?.begun == Some(true);
        match (word(0), word(1)) {
            ("begin", _) | ("start", "transaction") | ("xa", "start" | "begin") => {
                self.group()?.begun = Some(true);
                return Ok(());
            }
            ("commit", _) | ("xa", "commit") => return self.commit(seconds),
            ("rollback", "to") => {
                self.trouble("a part of a transaction that was logged already was rolled back");
                return Ok(());
            }
            ("rollback", _) | ("xa", "rollback") => return self.discard("it was rolled back"),
            ("savepoint" | "release" | "xa", _) => return Ok(()),
            ("truncate", _) => self.truncated(&words, &query.schema())?,
            ("insert" | "update" | "delete" | "replace" | "load" | "with" | "call" | "do", _)
                if self.scope.concerns(&words, &query.schema()) =>
            {
                self.trouble("a change was logged as a statement: set binlog_format=ROW everywhere");
            }
            ("create" | "alter" | "drop" | "rename", second) => {
                let is_database = matches!(second, "database" | "schema");
                if is_database || self.scope.names(&words) {
                    self.found.push_back(Found::Schema(text.chars().take(200).collect()));
                }
            }
            _ => {}
        }
        // A statement that is no part of a transaction is one by itself.
        if is_transactional { Ok(()) } else { self.commit(seconds) }
    }

    fn truncated(&mut self, words: &[String], schema: &str) -> Result<(), LegacyError> {
        let from = if words.get(1).is_some_and(|word| word == "table") { 2 } else { 1 };
        let (schema, table) = match &words[from.min(words.len())..] {
            [table] => (schema.to_lowercase(), table),
            [schema, table, ..] => (schema.clone(), table),
            [] => return Ok(()),
        };
        let is_it =
            |layout: &Layout| layout.schema.to_lowercase() == schema && layout.name.to_lowercase() == *table;
        if let Some(table) = self.scope.layouts.iter().find(|layout| is_it(layout)).map(|layout| layout.table)
        {
            self.group()?.changes.push_back(Change::Truncate { table });
        }
        Ok(())
    }

    fn table(&mut self, map: &TableMapEvent<'_>) -> Result<(), LegacyError> {
        self.group()?;
        let target = self.scope.target(&map.database_name(), &map.table_name());
        let Some(target) = target else {
            self.nudged |= self.scope.is_mark(&map.database_name(), &map.table_name());
            self.tables.remove(&map.table_id());
            return Ok(());
        };
        let fits = match target {
            Target::Mapped(table) => match self.scope.layout(table) {
                Some(layout) => layout.shape.fits(map, &layout.used()),
                None => Ok(()),
            },
            Target::Sync => self.scope.sync.fits(map, &[]),
            Target::Outbox => self.scope.outbox.fits(map, &[]),
        };
        if fits.is_err() && self.is_idle(target) {
            self.tables.remove(&map.table_id());
            return Ok(());
        }
        if let Err(why) = fits {
            let table = format!("{}.{}", map.database_name(), map.table_name());
            self.trouble(&format!("table {table} changed since the log was written: {why}"));
        }
        self.tables.insert(map.table_id(), target);
        Ok(())
    }

    fn rows(
        &mut self,
        rows: &RowsEventData<'_>,
        map: Option<&TableMapEvent<'static>>,
    ) -> Result<(), LegacyError> {
        self.group()?;
        let Some(target) = self.tables.get(&rows.table_id()).copied() else { return Ok(()) };
        let Some(map) = map else {
            return Err(unreadable("rows", "whose table was not announced"));
        };
        let bits = [rows.columns_before_image(), rows.columns_after_image()];
        for row in rows.rows(map) {
            let (before, after) = row.map_err(|error| unreadable("a row", &error.to_string()))?;
            let before =
                before.map(|row| cells(row, bits[0].into_iter().flat_map(|bits| bits.iter().by_vals())));
            let after =
                after.map(|row| cells(row, bits[1].into_iter().flat_map(|bits| bits.iter().by_vals())));
            if let Err(why) = self.row(target, before.as_deref(), after.as_deref()) {
                if self.is_idle(target) {
                    continue;
                }
                self.trouble(&format!("a row of {}.{}: {why}", map.database_name(), map.table_name()));
                return Ok(());
            }
        }
        self.hand_out_early();
        Ok(())
    }

    fn row(&mut self, target: Target, before: Option<&[Cell]>, after: Option<&[Cell]>) -> Result<(), String> {
        let Some(group) = self.group.as_mut() else { return Ok(()) };
        match target {
            Target::Mapped(table) => {
                let Some(layout) = self.scope.layout(table) else { return Ok(()) };
                let row =
                    |cells: &[Cell]| layout.row(Origin::Log, |at| cells.get(at).and_then(Option::as_ref));
                group.changes.extend(match (before, after) {
                    (None, Some(after)) => Some(Change::Insert(row(after)?)),
                    (Some(before), Some(after)) => {
                        Some(Change::Update { before: Some(row(before)?), after: row(after)? })
                    }
                    (Some(before), None) => Some(Change::Delete(row(before)?)),
                    (None, None) => None,
                });
            }
            Target::Sync => {
                let Some(after) = after else { return Ok(()) };
                let Some(new) = self.scope.book(after)? else { return Ok(()) };
                let old = before.map(|cells| self.scope.book(cells)).transpose()?.flatten();
                let led = |book: &Book| (book.phase, book.epoch, book.move_no);
                match old {
                    Some(old) if led(&old) == led(&new) => group.ours = Some((new.seq, new.epoch)),
                    Some(_) => {
                        group.switched = Some(new);
                        self.scope.needs_tables = new.phase != Phase::Retired;
                    }
                    None => {}
                }
            }
            Target::Outbox => {
                if let (None, Some(after)) = (before, after) {
                    group.outbox.extend(self.scope.outbox_row(after)?);
                }
            }
        }
        Ok(())
    }

    /// Whether it is a mapped table that nobody needs any more.
    fn is_idle(&self, target: Target) -> bool {
        matches!(target, Target::Mapped(_)) && !self.scope.needs_tables
    }

    fn commit(&mut self, seconds: u32) -> Result<(), LegacyError> {
        self.group()?;
        if let Some(group) = self.group.take() {
            self.finish(group, seconds);
        }
        Ok(())
    }

    fn finish(&mut self, mut group: Group, seconds: u32) {
        if !group.is_touched() {
            return;
        }
        group.seconds = seconds;
        while group.changes.len() > PART_CHANGES {
            self.found.push_back(Found::Transaction(group.part(false)));
        }
        while group.outbox.len() > PART_CHANGES {
            self.found.push_back(Found::Transaction(group.part(false)));
        }
        self.found.push_back(Found::Transaction(group.part(true)));
    }

    /// A transaction that is too large to be kept is handed out before its end is seen.
    fn hand_out_early(&mut self) {
        let Some(group) = self.group.as_mut() else { return };
        if group.parts == 0 && group.changes.len() <= HELD_CHANGES_MAX {
            return;
        }
        while group.changes.len() > PART_CHANGES {
            let part = group.part(false);
            self.found.push_back(Found::Transaction(part));
        }
    }

    /// The transaction under way never happened.
    fn discard(&mut self, why: &str) -> Result<(), LegacyError> {
        match self.group.take() {
            Some(group) if group.parts > 0 => Err(LegacyError::SourceUnknown(format!(
                "a very large transaction was handed out in part, and then {why}; begin with a new snapshot"
            ))),
            _ => Ok(()),
        }
    }

    fn trouble(&mut self, what: &str) {
        self.found.push_back(Found::Trouble(what.to_owned()));
    }

    fn position(&self) -> u64 {
        u64::from(self.number) << 32 | self.offset
    }
}

impl Group {
    fn is_touched(&self) -> bool {
        let is_empty = self.changes.is_empty() && self.outbox.is_empty();
        !is_empty || self.ours.is_some() || self.switched.is_some() || self.parts > 0
    }

    fn part(&mut self, last: bool) -> Transaction {
        let changes: Vec<Change> = self.changes.drain(..self.changes.len().min(PART_CHANGES)).collect();
        // What the old shop says follows the rows, so that it is said of them as they are then.
        let says = if self.changes.is_empty() { self.outbox.len().min(PART_CHANGES) } else { 0 };
        self.parts += 1;
        Transaction {
            position: self.position,
            part: self.parts,
            last,
            committed_millis: u64::from(self.seconds) * 1_000,
            ours: self.ours,
            echoes: None,
            changes,
            outbox: self.outbox.drain(..says).collect(),
            switched: if last { self.switched } else { None },
        }
    }
}

type Cell = Option<Value>;

/// The values of a row by the table's columns: those that were not logged are nothing.
fn cells(row: BinlogRow, logged: impl Iterator<Item = bool>) -> Vec<Cell> {
    let mut values = row.unwrap().into_iter();
    let cell = |is_logged: bool| match is_logged.then(|| values.next()).flatten() {
        Some(BinlogValue::Value(value)) => Some(value),
        _ => None,
    };
    logged.map(cell).collect()
}

fn data(event: &Event) -> Result<Option<EventData<'_>>, LegacyError> {
    event.read_data().map_err(|error| unreadable("an event", &error.to_string()))
}

fn unreadable(what: &str, why: &str) -> LegacyError {
    LegacyError::Refused(format!("{what} of the binary log cannot be read: {why}"))
}

/// The checksum says whether the event came as it was written; the client library does not look.
fn check(event: &Event) -> Result<(), LegacyError> {
    let footer = event.footer();
    let Ok(Some(algorithm)) = footer.get_checksum_alg() else { return Ok(()) };
    if algorithm as u8 == 0 || !footer.get_checksum_enabled() {
        return Ok(());
    }
    let Some(found) = event.checksum() else { return Ok(()) };
    let is_format = event.header().event_type_raw() == kind::FORMAT;
    if is_format || event.calc_checksum(algorithm) == u32::from_le_bytes(found) {
        return Ok(());
    }
    Err(LegacyError::Broken("an event of the binary log came damaged: its checksum is wrong".to_owned()))
}

impl Scope {
    fn target(&self, database: &str, table: &str) -> Option<Target> {
        let is_it = |layout: &Layout| {
            layout.name.eq_ignore_ascii_case(table) && layout.schema.eq_ignore_ascii_case(database)
        };
        if let Some(layout) = self.layouts.iter().find(|layout| is_it(layout)) {
            return Some(Target::Mapped(layout.table));
        }
        if !self.database.eq_ignore_ascii_case(database) {
            return None;
        }
        match table.to_ascii_lowercase().as_str() {
            super::book::SYNC => Some(Target::Sync),
            super::book::OUTBOX => Some(Target::Outbox),
            _ => None,
        }
    }

    /// The layout of a mapped table, by its index in the mapping.
    fn layout(&self, table: usize) -> Option<&Layout> {
        self.layouts.iter().find(|layout| layout.table == table)
    }

    /// Whether it is the table in which we mark the log.
    fn is_mark(&self, database: &str, table: &str) -> bool {
        self.database.eq_ignore_ascii_case(database) && table.eq_ignore_ascii_case(super::book::STREAM)
    }

    /// Whether a statement names one of the tables that concern us.
    fn names(&self, words: &[String]) -> bool {
        let is_named = |name: &str| words.iter().any(|word| word.eq_ignore_ascii_case(name));
        is_named(super::book::SYNC)
            || is_named(super::book::OUTBOX)
            || self.mapped.iter().any(|name| is_named(name))
    }

    /// Whether a change may be one of the tables that concern us: it need not name them, triggers write as well.
    fn concerns(&self, words: &[String], schema: &str) -> bool {
        self.names(words) || self.layouts.iter().any(|layout| layout.schema.eq_ignore_ascii_case(schema))
    }

    /// The bookkeeping row, if it is of our capability.
    fn book(&self, cells: &[Cell]) -> Result<Option<Book>, String> {
        let row = Named { shape: &self.sync, cells };
        if row.name("capability")? != self.capability {
            return Ok(None);
        }
        let word = row.name("phase")?;
        let phase =
            Phase::from_word(&word).ok_or_else(|| format!("phase {word:?} is not one that is known"))?;
        let (epoch, seq, move_no) = (row.count("epoch")?, row.count("seq")?, row.count("move")?);
        Ok(Some(Book { phase, epoch, seq, move_no }))
    }

    fn outbox_row(&self, cells: &[Cell]) -> Result<Option<OutboxRow>, String> {
        let row = Named { shape: &self.outbox, cells };
        if row.name("capability")? != self.capability {
            return Ok(None);
        }
        let id = i64::try_from(row.count("id")?).map_err(|_| "its id is too large".to_owned())?;
        Ok(Some(OutboxRow { id, kind: row.name("kind")?, body: row.name("body")? }))
    }
}

/// A row of one of our own tables, by the names of its columns.
struct Named<'a> {
    shape: &'a Shape,
    cells: &'a [Cell],
}

impl Named<'_> {
    fn name(&self, column: &str) -> Result<String, String> {
        let at = self.shape.find(column).ok_or_else(|| format!("it has no column {column}"))?;
        let value = self.cells.get(at).and_then(Option::as_ref).unwrap_or(&Value::NULL);
        self.shape.columns[at].name_of(value, Origin::Log)
    }

    fn count(&self, column: &str) -> Result<u64, String> {
        let text = self.name(column)?;
        text.parse().map_err(|_| format!("its column {column} holds {text:?}"))
    }
}
