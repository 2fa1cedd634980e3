//! The stream: a snapshot if one is needed, then the binary log, read by a task of its own.

use super::book::{self, OUTBOX, STREAM, SYNC, exists, ours};
use super::layout::{self, Layout};
use super::log::{Found, Log, Scope};
use super::position;
use super::server::{Address, STATEMENT_MAX, Session, fault, within};
use super::shape::Shape;
use super::view::{View, Way};
use crate::database::{BoxFuture, LegacyError};
use crate::mapping::Mapping;
use crate::scope::{WITHOUT_TABLES, needs_rows};
use crate::stream::{ChangeStream, Item, SourceId};
use banyan_domain::legacy::Phase;
use futures_util::StreamExt;
use mysql_async::prelude::Queryable;
use mysql_async::{BinlogStream, BinlogStreamRequest};
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

/// Items that wait for their reader; beyond that the log is not read on. So many small transactions can travel together, which
/// costs Banyan one sync.
const ITEMS_AHEAD_MAX: usize = 128;
/// Rows of a snapshot that are read and handed out together.
const SNAPSHOT_ROWS: u32 = 500;
/// How often the server says that it is there when nothing happens.
const HEARTBEAT: Duration = Duration::from_millis(500);
/// A silence longer than this is a broken connection.
const SILENCE_MAX: Duration = Duration::from_secs(10);
/// How often it is said how far the log has been read, while what happens does not concern us.
const IDLE_EVERY: Duration = Duration::from_millis(250);
/// The same, where somebody of ours waits to hear it.
const NUDGED_EVERY: Duration = Duration::from_millis(50);
/// How far the log may go on before our place in it is noted in the old database.
const NOTE_EVERY_BYTES: u64 = 4 << 20;

/// What a stream needs.
#[derive(Clone)]
pub(super) struct Opening {
    pub(super) address: Address,
    pub(super) mapping: Arc<Mapping>,
    /// Tests choose; nothing is the best that the server has.
    pub(super) way: Option<Way>,
    /// Where the place of the stream that was last opened is kept, for [`super::health`].
    pub(super) place: Arc<watch::Sender<Option<u64>>>,
    /// Counts the changes of the schema that were found: whoever knows the tables from before looks again.
    pub(super) schema: Arc<AtomicU64>,
}

/// A running stream.
struct Reader {
    items: mpsc::Receiver<Result<Item, LegacyError>>,
    task: JoinHandle<()>,
    notes: Option<Notes>,
    place: Arc<watch::Sender<Option<u64>>>,
}

/// Our place in the log, kept in the old database: the server keeps none for its readers.
struct Notes {
    task: JoinHandle<()>,
    sender: watch::Sender<Note>,
    /// Positions of transactions that were handed out and not acknowledged.
    handed: VecDeque<u64>,
}

/// What is acknowledged: the last transaction, and everything up to a place behind it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Note {
    applied: u64,
    settled: u64,
}

impl Opening {
    /// Opens the stream.
    pub(super) async fn open(
        self,
        from: Option<(SourceId, u64)>,
    ) -> Result<Box<dyn ChangeStream>, LegacyError> {
        let mut session = self.address.connect().await?;
        let scope = self.scope(&mut session).await?;
        let (source, applied, start) = match from {
            None => (position::source(&mut session).await?, 0, None),
            Some((source, applied)) => {
                let start = self.resume(&mut session, &source, applied).await?;
                (source, applied, Some(start))
            }
        };
        self.place.send_replace(start);
        let bookkeeping = self.mapping.database.bookkeeping;
        let notes =
            bookkeeping.then(|| self.notes(&source, Note { applied, settled: start.unwrap_or_default() }));
        let place = self.place.clone();
        let (sender, items) = mpsc::channel(ITEMS_AHEAD_MAX);
        let task = tokio::spawn(async move {
            let closing = sender.clone();
            if let Err(error) = self.run(scope, source, start, sender).await {
                // Nobody is there any more if this fails.
                let _ = closing.send(Err(error)).await;
            }
        });
        Ok(Box::new(Reader { items, task, notes, place }))
    }

    fn capability(&self) -> &str {
        &self.mapping.capability
    }

    /// The tables that concern us, as they are now.
    async fn scope(&self, session: &mut Session) -> Result<Scope, LegacyError> {
        let database = self.address.database();
        let book = match self.mapping.database.bookkeeping {
            true => book::read(session, database, self.capability(), "").await?,
            false => None,
        };
        let phase = book.map_or(Phase::Legacy, |book| book.phase);
        if self.mapping.outbox_only && phase != Phase::Retired {
            return Err(LegacyError::Refused(format!(
                "the mapping says outbox_only = true, and the phase is {}: take it out until the phase is retired",
                phase.as_str()
            )));
        }
        let needs_tables = self.mapping.needs_tables(phase);
        let layouts: Vec<Layout> = match needs_tables {
            true => {
                layout::read_all(session, &self.mapping, database).await?.map_err(LegacyError::Refused)?
            }
            false if self.mapping.outbox_only => Vec::new(),
            false => layout::read_there(session, &self.mapping, database).await?,
        };
        Ok(Scope {
            capability: self.capability().to_owned(),
            database: database.to_owned(),
            layouts,
            mapped: self.mapping.tables.iter().map(|table| table.name.table.clone()).collect(),
            needs_tables,
            sync: Shape::read(session, database, SYNC).await?,
            outbox: Shape::read(session, database, OUTBOX).await?,
        })
    }

    /// Where to go on after `applied`: there, or further on where it is noted that nothing between concerned us.
    async fn resume(
        &self,
        session: &mut Session,
        source: &SourceId,
        applied: u64,
    ) -> Result<u64, LegacyError> {
        let mut start = applied;
        if let Some((noted, note)) = self.noted(session).await?
            && noted == named(source)
            && note.applied == applied
        {
            start = start.max(note.settled);
        }
        position::same_server(session, source).await?;
        let files = position::files(session).await?;
        let place = position::place(start, &files)?;
        position::same_history(session, source, &place).await?;
        Ok(start)
    }

    async fn noted(&self, session: &mut Session) -> Result<Option<(String, Note)>, LegacyError> {
        let database = self.address.database();
        if !self.mapping.database.bookkeeping || !exists(session, database, STREAM).await? {
            return Ok(None);
        }
        let sql = format!(
            "select source, applied, settled from {} as banyan_place where capability = ?",
            ours(database, STREAM)
        );
        let work = session.conn.exec_first(sql, (self.capability(),));
        let row: Option<(String, u64, u64)> =
            within("reading our place in the log", STATEMENT_MAX, work).await?;
        Ok(row.map(|(source, applied, settled)| (source, Note { applied, settled })))
    }

    fn notes(&self, source: &SourceId, start: Note) -> Notes {
        let (sender, mut receiver) = watch::channel(start);
        let (opening, source) = (self.clone(), named(source));
        let task = tokio::spawn(async move {
            let mut written = start.settled;
            while receiver.changed().await.is_ok() {
                let note = *receiver.borrow_and_update();
                // Another file counts as far, since the old one may be deleted.
                if note.applied == 0 || note.settled < written.saturating_add(NOTE_EVERY_BYTES) {
                    continue;
                }
                match opening.note(&source, note).await {
                    Ok(()) => written = note.settled,
                    Err(error) => {
                        tracing::debug!("our place in the old database's log could not be noted: {error}");
                        // Noting the place is a convenience: it is tried again when there is something new to note anyway.
                        tokio::time::sleep(SILENCE_MAX).await;
                    }
                }
            }
        });
        Notes { task, sender, handed: VecDeque::new() }
    }

    async fn note(&self, source: &str, note: Note) -> Result<(), LegacyError> {
        let mut session = self.address.connect().await?;
        let sql = format!(
            "insert into {} (capability, source, applied, settled) values (?, ?, ?, ?) on duplicate key update \
             source = values(source), applied = values(applied), settled = values(settled), \
             changed_at = current_timestamp(6)",
            ours(self.address.database(), STREAM)
        );
        let values = (self.capability(), source, note.applied, note.settled);
        within("noting our place in the log", STATEMENT_MAX, session.conn.exec_drop(sql, values)).await
    }

    async fn run(
        &self,
        scope: Scope,
        source: SourceId,
        start: Option<u64>,
        items: mpsc::Sender<Result<Item, LegacyError>>,
    ) -> Result<(), LegacyError> {
        let start = match start {
            Some(start) => start,
            None => match self.snapshot(&scope, source, &items).await? {
                Some(position) => position,
                None => return Ok(()),
            },
        };
        let mut session = self.address.connect().await?;
        let files = position::files(&mut session).await?;
        let place = position::place(start, &files)?;
        let mut log = Log::new(scope, &place.file, start)?;
        let mut stream = self.dump(&place).await?;
        let mut told = (Instant::now(), start);
        loop {
            let event = match tokio::time::timeout(SILENCE_MAX, stream.next()).await {
                Ok(Some(Ok(event))) => event,
                Ok(Some(Err(error))) => return Err(lost(&error)),
                Ok(None) => {
                    return Err(LegacyError::Broken("the server ended the binary log's stream".into()));
                }
                Err(_) => {
                    let seconds = SILENCE_MAX.as_secs();
                    return Err(LegacyError::Broken(format!("the server was silent for {seconds} s")));
                }
            };
            log.read(&event, |table| stream.get_tme(table))?;
            while let Some(found) = log.found.pop_front() {
                let item = match found {
                    Found::Transaction(transaction) => Item::Transaction(transaction),
                    Found::Schema(statement) => match self.look_again(&statement).await? {
                        Ok(scope) => {
                            log.scope = scope;
                            continue;
                        }
                        Err(what) => Item::SchemaChanged { what },
                    },
                    Found::Trouble(what) => {
                        Item::SchemaChanged { what: format!("{what}; then begin with a new snapshot") }
                    }
                };
                let is_end = matches!(item, Item::SchemaChanged { .. });
                if items.send(Ok(item)).await.is_err() || is_end {
                    return Ok(());
                }
                told.0 = Instant::now();
            }
            let is_heartbeat = Log::is_heartbeat(&event);
            if let Some(position) = log.settled()
                && position > told.1
                && (is_heartbeat
                    || told.0.elapsed() >= IDLE_EVERY
                    || (told.0.elapsed() >= NUDGED_EVERY && log.take_nudge()))
            {
                told = (Instant::now(), position);
                if items.send(Ok(Item::Idle { position })).await.is_err() {
                    return Ok(());
                }
            }
        }
    }

    /// Whether the tables are still what the mapping says, after a statement that may have changed them.
    async fn look_again(&self, statement: &str) -> Result<Result<Scope, String>, LegacyError> {
        self.schema.fetch_add(1, Ordering::AcqRel);
        let mut session = self.address.connect().await?;
        match self.scope(&mut session).await {
            Ok(scope) => Ok(Ok(scope)),
            Err(LegacyError::Refused(why)) => Ok(Err(format!("{why} (after: {statement})"))),
            Err(error) => Err(error),
        }
    }

    /// Hands out all tables as of one moment. Gives the position of that moment; nothing if nobody listens any more.
    async fn snapshot(
        &self,
        scope: &Scope,
        source: SourceId,
        items: &mpsc::Sender<Result<Item, LegacyError>>,
    ) -> Result<Option<u64>, LegacyError> {
        let ours = self.mapping.database.bookkeeping.then(|| (self.address.database(), self.capability()));
        let mut view = View::open_exactly(&self.address, self.way, ours).await?;
        let position = view.before;
        let (book, left) = match ours {
            Some((database, capability)) => view.said(database, capability).await?,
            None => (None, Vec::new()),
        };
        // The tables were looked for before. A copy without them, where their rows count, would say that the old shop has nothing.
        if !scope.needs_tables && needs_rows(book) {
            return Err(LegacyError::Broken(WITHOUT_TABLES.to_owned()));
        }
        if items.send(Ok(Item::SnapshotBegin { source, position, book })).await.is_err() {
            return Ok(None);
        }
        if !left.is_empty() && items.send(Ok(Item::Outbox(left))).await.is_err() {
            return Ok(None);
        }
        for layout in &scope.layouts {
            let mut after = None;
            loop {
                let (rows, next) = view.page(layout, after.as_ref(), SNAPSHOT_ROWS).await?;
                if !rows.is_empty() && items.send(Ok(Item::Rows(rows))).await.is_err() {
                    return Ok(None);
                }
                match next {
                    Some(key) => after = Some(key),
                    None => break,
                }
            }
        }
        view.close().await?;
        if items.send(Ok(Item::SnapshotEnd)).await.is_err() {
            return Ok(None);
        }
        Ok(Some(position))
    }

    async fn dump(&self, place: &position::Place) -> Result<BinlogStream, LegacyError> {
        let doing = "asking for the binary log";
        let Session { mut conn, flavor, .. } = self.address.connect_reader().await?;
        let beat = format!(
            "set @master_heartbeat_period = {}, @source_heartbeat_period = {0}",
            HEARTBEAT.as_nanos()
        );
        within(doing, STATEMENT_MAX, conn.query_drop(beat)).await?;
        if flavor.mariadb {
            // Otherwise it would write its transactions as a server from before GTIDs did.
            within(doing, STATEMENT_MAX, conn.query_drop("set @mariadb_slave_capability = 4")).await?;
        }
        let request = BinlogStreamRequest::new(self.mapping.database.server_id)
            .with_filename(place.file.as_bytes())
            .with_pos(place.offset);
        within(doing, STATEMENT_MAX, conn.get_binlog_stream(request)).await
    }
}

/// What a fault of the log's stream means.
fn lost(error: &mysql_async::Error) -> LegacyError {
    let doing = "reading the binary log";
    let mysql_async::Error::Server(server) = error else { return fault(doing, error) };
    let text = format!("{doing}: {error}");
    // One number stands for every reason: files that are gone, places that are none, and readers of the same number.
    if server.code != 1236 {
        return fault(doing, error);
    }
    let message = server.message.to_lowercase();
    if message.contains("same server_uuid")
        || message.contains("same server_id")
        || message.contains("same server id")
    {
        return LegacyError::Broken(format!("{text} (server_id of the mapping must be no other reader's)"));
    }
    let is_gone = ["could not find", "purged", "impossible position", "bogus data", "file size", "not exist"];
    if is_gone.iter().any(|words| message.contains(words)) {
        return LegacyError::SourceUnknown(text);
    }
    LegacyError::Broken(text)
}

/// A source in our own table.
fn named(source: &SourceId) -> String {
    format!("{}|{}", source.system, source.stream)
}

impl ChangeStream for Reader {
    fn next(&mut self) -> BoxFuture<'_, Result<Item, LegacyError>> {
        Box::pin(async move {
            let ended = || LegacyError::Broken("the stream has ended".to_owned());
            let item = self.items.recv().await.ok_or_else(ended)??;
            let Some(notes) = &mut self.notes else { return Ok(item) };
            match &item {
                Item::SnapshotBegin { position, .. } => {
                    notes.sender.send_modify(|note| *note = Note { applied: *position, settled: *position });
                }
                Item::Transaction(transaction) if notes.handed.back() != Some(&transaction.position) => {
                    notes.handed.push_back(transaction.position);
                }
                _ => {}
            }
            Ok(item)
        })
    }

    fn acknowledge(&mut self, position: u64) {
        self.place.send_replace(Some(position));
        let Some(notes) = &mut self.notes else { return };
        let mut applied = None;
        while notes.handed.front().is_some_and(|handed| *handed <= position) {
            applied = notes.handed.pop_front();
        }
        notes.sender.send_modify(|note| {
            note.applied = applied.unwrap_or(note.applied);
            note.settled = position;
        });
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.task.abort();
        if let Some(notes) = &self.notes {
            notes.task.abort();
        }
    }
}
