//! MySQL and MariaDB as the old database: MySQL 5.7 to 9, MariaDB 10.3 to 11, own servers and managed ones.
//!
//! Start reading at `position.rs` (what a place in the binary log is, and whether it still means the same), then `log.rs`
//! (from events to transactions) and `reader.rs` (the stream around it); `view.rs` says how a snapshot and its place in the
//! log are had together. The way out is `write.rs` and `book.rs`.

mod again;
mod book;
mod check;
mod check_tables;
mod dependents;
mod grants;
mod health;
mod layout;
mod log;
mod position;
mod reader;
mod server;
mod shape;
mod view;
mod words;
mod write;

use crate::database::{
    Book, BoxFuture, Digests, Finding, Hold, KeyRange, LegacyError, OldDatabase, Page, PageKey, SqlReference,
    StreamHealth, TargetRow, Written,
};
use crate::mapping::Mapping;
use crate::remembered::Remembered;
use crate::stream::{ChangeStream, SourceId};
use banyan_domain::legacy::Phase;
use dependents::Dependents;
use layout::Layout;
use reader::Opening;
use server::{Address, Session};
use std::collections::BTreeMap;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::{Mutex, watch};
use view::View;

pub use view::Way;

/// A MySQL or MariaDB database. Cheap to share.
pub struct Mysql {
    mapping: Arc<Mapping>,
    address: Address,
    idle: Mutex<Option<Session>>,
    /// The session of the sync out alone: it keeps its statements, its settings and what it knows of the tables.
    writer: Mutex<Option<Session>>,
    /// How many changes of the schema a stream has told.
    schema: Arc<AtomicU64>,
    way: Option<Way>,
    place: Arc<watch::Sender<Option<u64>>>,
    /// How often a statement came that the server's statistics had no room for, as of the last look.
    unnamed: std::sync::Mutex<Option<u64>>,
    /// Views and routines over the mapped tables.
    dependents: Remembered<Dependents>,
}

impl Mysql {
    /// Reads the mapping's address. Connects when something is asked.
    ///
    /// # Errors
    /// Why the address cannot be had or is none, without showing it.
    pub fn new(mapping: Arc<Mapping>) -> Result<Self, String> {
        let address = mapping.database.connection.address()?;
        Self::at(mapping, &address)
    }

    /// As [`Mysql::new`], with an address that is at hand.
    ///
    /// # Errors
    /// Why it is no address of a MySQL or MariaDB, without showing it.
    pub fn at(mapping: Arc<Mapping>, address: &str) -> Result<Self, String> {
        let address = Address::parse(address)?;
        let (place, _) = watch::channel(None);
        let (idle, writer, schema) = (Mutex::new(None), Mutex::new(None), Arc::new(AtomicU64::new(0)));
        let (place, unnamed) = (Arc::new(place), std::sync::Mutex::default());
        let dependents = Remembered::default();
        Ok(Self { mapping, address, idle, writer, schema, way: None, place, unnamed, dependents })
    }

    /// Takes snapshots in this way, and not in the best that the server has.
    #[must_use]
    pub fn snapshots(mut self, way: Way) -> Self {
        self.way = Some(way);
        self
    }

    fn database(&self) -> &str {
        self.address.database()
    }

    fn capability(&self) -> &str {
        &self.mapping.capability
    }

    /// The layout of one table.
    async fn layout(&self, table: usize) -> Result<Layout, LegacyError> {
        let missing = || LegacyError::Refused(format!("there is no table number {table} in the mapping"));
        self.with(|mut session| async {
            let mut layouts = self.layouts(&mut session).await?;
            if table < layouts.len() { Ok((session, layouts.swap_remove(table))) } else { Err(missing()) }
        })
        .await
    }

    fn bookkeeping(&self) -> Option<(&str, &str)> {
        self.mapping.database.bookkeeping.then(|| (self.database(), self.capability()))
    }

    fn needs_bookkeeping(&self) -> Result<(), LegacyError> {
        let why = "the mapping has bookkeeping = false: Banyan may mirror, and not lead";
        self.bookkeeping().map(|_| ()).ok_or_else(|| LegacyError::Refused(why.to_owned()))
    }

    async fn layouts(&self, session: &mut Session) -> Result<Vec<Layout>, LegacyError> {
        layout::read_all(session, &self.mapping, self.database()).await?.map_err(LegacyError::Refused)
    }

    /// As [`Self::layouts`], looked up once in a session, and again when the schema has changed.
    async fn known_layouts(&self, session: &mut Session) -> Result<Arc<Vec<Layout>>, LegacyError> {
        // Asked before looking: a change meanwhile is looked at again.
        let changes = self.schema.load(Ordering::Acquire);
        if let Some((known, layouts)) = &session.layouts
            && *known == changes
        {
            return Ok(layouts.clone());
        }
        let layouts = Arc::new(self.layouts(session).await?);
        session.layouts = Some((changes, layouts.clone()));
        Ok(layouts)
    }

    /// Writes. Gives whether the tables were known from before, with whatever came of it.
    async fn put(&self, rows: &[TargetRow], checkpoint: (u64, u64)) -> (bool, Result<Written, LegacyError>) {
        let known = AtomicBool::new(false);
        let written = self
            .with_in(&self.writer, |mut session| async {
                known.store(session.layouts.is_some(), Ordering::Relaxed);
                let layouts = self.known_layouts(&mut session).await?;
                let (database, capability) = (self.database(), self.capability());
                let written =
                    write::write(&mut session, database, capability, &layouts, rows, checkpoint).await?;
                Ok((session, written))
            })
            .await;
        (known.into_inner(), written)
    }

    /// Does something with a session: the one that was used last, if nobody else does now.
    async fn with<T, F, W>(&self, work: F) -> Result<T, LegacyError>
    where
        F: FnOnce(Session) -> W,
        W: Future<Output = Result<(Session, T), LegacyError>>,
    {
        self.with_in(&self.idle, work).await
    }

    /// As [`Self::with`], with the session that is kept there. One in which anything went wrong is not used again, nor one whose
    /// work was not waited for.
    async fn with_in<T, F, W>(&self, kept: &Mutex<Option<Session>>, work: F) -> Result<T, LegacyError>
    where
        F: FnOnce(Session) -> W,
        W: Future<Output = Result<(Session, T), LegacyError>>,
    {
        let idle = kept.lock().await.take();
        let session = match idle {
            Some(session) if session.is_usable() => session,
            _ => self.address.connect().await?,
        };
        let (mut session, answer) = work(session).await?;
        session.rests();
        *kept.lock().await = Some(session);
        Ok(answer)
    }
}

impl OldDatabase for Mysql {
    fn check(&self) -> BoxFuture<'_, Vec<Finding>> {
        Box::pin(check::check(&self.address, &self.mapping, None, false))
    }

    fn check_for(&self, to: Phase) -> BoxFuture<'_, Vec<Finding>> {
        Box::pin(check::check(&self.address, &self.mapping, Some(to), false))
    }

    fn check_in_haste(&self, to: Phase) -> BoxFuture<'_, Vec<Finding>> {
        Box::pin(check::check(&self.address, &self.mapping, Some(to), true))
    }

    fn create(&self) -> BoxFuture<'_, Result<Vec<String>, LegacyError>> {
        Box::pin(async move {
            // Nothing else is ours there.
            if self.bookkeeping().is_none() {
                return Ok(Vec::new());
            }
            self.with(|mut session| async {
                let database = self.database();
                let mut done = book::create(&mut session, database, self.capability()).await?;
                let is_new = !done.is_empty();
                grants::grant(&mut session, database, &self.mapping, is_new, &mut done).await?;
                Ok((session, done))
            })
            .await
        })
    }

    fn keeps_book(&self) -> bool {
        self.bookkeeping().is_some()
    }

    fn book(&self) -> BoxFuture<'_, Result<Option<Book>, LegacyError>> {
        Box::pin(async move {
            if self.bookkeeping().is_none() {
                return Ok(None);
            }
            self.with(|mut session| async {
                let book = book::read(&mut session, self.database(), self.capability(), "").await?;
                Ok((session, book))
            })
            .await
        })
    }

    fn hold(&self, wait_max: Duration) -> BoxFuture<'_, Result<Hold, LegacyError>> {
        Box::pin(async move {
            self.needs_bookkeeping()?;
            book::hold(&self.address, self.capability(), wait_max).await
        })
    }

    fn write<'a>(
        &'a self,
        rows: &'a [TargetRow],
        seq: u64,
        epoch: u64,
    ) -> BoxFuture<'a, Result<Written, LegacyError>> {
        Box::pin(async move {
            self.needs_bookkeeping()?;
            match self.put(rows, (seq, epoch)).await {
                // Perhaps the tables are not what they were. That session is gone, and the next one looks.
                (true, Err(LegacyError::Refused(_))) => self.put(rows, (seq, epoch)).await.1,
                // What broke that session has perhaps broken the other one, which is asked next what came of it.
                (_, broken @ Err(LegacyError::Broken(_))) => {
                    self.idle.lock().await.take();
                    broken
                }
                (_, written) => written,
            }
        })
    }

    fn stream<'a>(
        &'a self,
        from: Option<(SourceId, u64)>,
    ) -> BoxFuture<'a, Result<Box<dyn ChangeStream>, LegacyError>> {
        let opening = Opening {
            address: self.address.clone(),
            mapping: self.mapping.clone(),
            way: self.way,
            place: self.place.clone(),
            schema: self.schema.clone(),
        };
        Box::pin(opening.open(from))
    }

    fn read_page<'a>(
        &'a self,
        table: usize,
        after: Option<&'a PageKey>,
        limit: u32,
    ) -> BoxFuture<'a, Result<Page, LegacyError>> {
        Box::pin(async move {
            let range = KeyRange { after: after.cloned(), until: None };
            self.read_range(table, &range, limit).await
        })
    }

    fn read_range<'a>(
        &'a self,
        table: usize,
        range: &'a KeyRange,
        limit: u32,
    ) -> BoxFuture<'a, Result<Page, LegacyError>> {
        Box::pin(async move {
            let layout = self.layout(table).await?;
            let mut view = View::open(&self.address, self.way, self.bookkeeping()).await?;
            let (rows, next) = view.range(&layout, range, limit).await?;
            view.into_page(rows, next).await
        })
    }

    fn digest_ranges<'a>(
        &'a self,
        table: usize,
        ranges: &'a [KeyRange],
        rows_max: u32,
    ) -> BoxFuture<'a, Result<Option<Digests>, LegacyError>> {
        Box::pin(async move {
            let layout = self.layout(table).await?;
            let mut view = View::open(&self.address, self.way, self.bookkeeping()).await?;
            let of = view.digests(&layout, ranges, rows_max).await?;
            Ok(Some(Digests { of, position_after: view.close().await? }))
        })
    }

    fn read_items<'a>(
        &'a self,
        items: &'a [(usize, String, String)],
    ) -> BoxFuture<'a, Result<Page, LegacyError>> {
        Box::pin(async move {
            let layouts = self
                .with(|mut session| async {
                    let layouts = self.layouts(&mut session).await?;
                    Ok((session, layouts))
                })
                .await?;
            let mut of_table: BTreeMap<usize, Vec<(&str, &str)>> = BTreeMap::new();
            for (table, sku, location) in items {
                of_table.entry(*table).or_default().push((sku, location));
            }
            let mut view = View::open(&self.address, self.way, self.bookkeeping()).await?;
            let mut rows = Vec::new();
            for layout in &layouts {
                if let Some(items) = of_table.get(&layout.table) {
                    rows.extend(view.items(layout, items).await?);
                }
            }
            view.into_page(rows, None).await
        })
    }

    fn position(&self) -> BoxFuture<'_, Result<u64, LegacyError>> {
        Box::pin(async move {
            self.with(|mut session| async {
                let end = position::end(&mut session).await?.position()?;
                Ok((session, end))
            })
            .await
        })
    }

    fn health(&self) -> BoxFuture<'_, Result<StreamHealth, LegacyError>> {
        Box::pin(async move {
            let place = *self.place.borrow();
            self.with(|mut session| async {
                let health = health::health(&mut session, place).await?;
                Ok((session, health))
            })
            .await
        })
    }

    fn statistics(&self) -> BoxFuture<'_, Result<Option<String>, LegacyError>> {
        Box::pin(async move {
            self.with(|mut session| async {
                let statistics = health::statistics(&mut session).await?;
                Ok((session, statistics))
            })
            .await
        })
    }

    fn references(&self) -> BoxFuture<'_, Result<Option<Vec<SqlReference>>, LegacyError>> {
        Box::pin(async move {
            self.with(|mut session| async {
                // In phase retired some may be gone, and the others count.
                let layouts = layout::read_there(&mut session, &self.mapping, self.database()).await?;
                let through = match self.dependents.fresh() {
                    Some(through) => through,
                    None => self.dependents.keep(dependents::dependents(&mut session, &layouts).await?),
                };
                let references = health::references(&mut session, &layouts, &through, &self.unnamed).await?;
                Ok((session, references))
            })
            .await
        })
    }

    /// The server keeps nothing for its readers, so there is nothing to give up but our note of the place.
    fn drop_stream(&self) -> BoxFuture<'_, Result<(), LegacyError>> {
        Box::pin(async move {
            self.place.send_replace(None);
            let Some((database, capability)) = self.bookkeeping() else { return Ok(()) };
            self.with(|mut session| async {
                book::forget_place(&mut session, database, capability).await?;
                Ok((session, ()))
            })
            .await
        })
    }

    fn nudge(&self) -> BoxFuture<'_, Result<bool, LegacyError>> {
        Box::pin(async move {
            let Some((database, capability)) = self.bookkeeping() else { return Ok(false) };
            self.with(|mut session| async {
                view::mark(&mut session, database, capability).await?;
                Ok((session, true))
            })
            .await
        })
    }

    fn sends_all_again(&self) -> bool {
        false
    }

    fn clear_outbox<'a>(&'a self, ids: &'a [i64]) -> BoxFuture<'a, Result<u64, LegacyError>> {
        Box::pin(async move {
            if self.bookkeeping().is_none() || ids.is_empty() {
                return Ok(0);
            }
            self.with(|mut session| async {
                let deleted =
                    write::clear_outbox(&mut session, self.database(), self.capability(), ids).await?;
                Ok((session, deleted))
            })
            .await
        })
    }

    fn touch<'a>(&'a self, items: &'a [(usize, String, String)]) -> BoxFuture<'a, Result<(), LegacyError>> {
        Box::pin(async move {
            if self.bookkeeping().is_none() {
                let why =
                    "the mapping has bookkeeping = false: rows cannot be said again; a new snapshot can";
                return Err(LegacyError::Refused(why.to_owned()));
            }
            self.with(|mut session| async {
                let layouts = self.layouts(&mut session).await?;
                again::say(&mut session, self.database(), self.capability(), &layouts, items).await?;
                Ok((session, ()))
            })
            .await
        })
    }
}
