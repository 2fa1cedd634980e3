//! Postgres as the old database: versions 14 to 18, own servers and managed ones.
//!
//! Start reading at `source.rs` (is it still the same stream?), then `stream.rs` and `assemble.rs`; the way out is
//! `write.rs` and `switch.rs`.

mod address;
mod assemble;
mod bookkeeping;
mod catalog;
mod check;
mod check_rows;
mod check_tables;
mod create;
mod dependents;
mod grants;
mod health;
mod marker;
mod pages;
mod pgoutput;
mod rows;
mod sessions;
mod snapshot;
mod source;
mod stream;
mod switch;
mod tls;
mod write;

use crate::database::{
    Book, BoxFuture, Digests, Finding, Hold, KeyRange, LegacyError, OldDatabase, Page, PageKey, SqlReference,
    StreamHealth, TargetRow, Written,
};
use crate::mapping::Mapping;
use crate::remembered::Remembered;
use crate::stream::{ChangeStream, SourceId};
use address::Address;
use banyan_domain::legacy::Phase;
use dependents::Dependent;
use sessions::Sessions;
use std::sync::Arc;
use std::time::Duration;

/// A Postgres database. Cheap to share.
///
/// Whatever is asked of it must be asked within a runtime of tokio with I/O and time, or it panics. A session belongs to the
/// runtime that opened it: runtimes may share this handle, and each opens sessions of its own. A stream and a door that is held
/// stay with the runtime in which they were opened, and must be used while that one runs: when it has ended, they fail.
pub struct Postgres {
    mapping: Arc<Mapping>,
    sessions: Sessions,
    /// Views and functions over the mapped tables.
    dependents: Remembered<Vec<Dependent>>,
}

impl Postgres {
    /// Reads the mapping's address. Connects when something is asked.
    ///
    /// # Errors
    /// Why the address cannot be had or is none, without showing it.
    pub fn new(mapping: Arc<Mapping>) -> Result<Self, String> {
        let address = mapping.database.connection.address()?;
        Self::at(mapping, &address)
    }

    /// As [`Postgres::new`], with an address that is at hand.
    ///
    /// # Errors
    /// Why it is no address of a Postgres, without showing it.
    pub fn at(mapping: Arc<Mapping>, address: &str) -> Result<Self, String> {
        let sessions = Sessions::new(Address::parse(address)?);
        Ok(Self { mapping, sessions, dependents: Remembered::default() })
    }
}

impl OldDatabase for Postgres {
    fn check(&self) -> BoxFuture<'_, Vec<Finding>> {
        Box::pin(check::check(&self.sessions, &self.mapping, None, false))
    }

    fn check_for(&self, to: Phase) -> BoxFuture<'_, Vec<Finding>> {
        Box::pin(check::check(&self.sessions, &self.mapping, Some(to), false))
    }

    fn check_in_haste(&self, to: Phase) -> BoxFuture<'_, Vec<Finding>> {
        Box::pin(check::check(&self.sessions, &self.mapping, Some(to), true))
    }

    fn create(&self) -> BoxFuture<'_, Result<Vec<String>, LegacyError>> {
        Box::pin(create::create(&self.sessions, &self.mapping))
    }

    fn keeps_book(&self) -> bool {
        self.mapping.database.bookkeeping
    }

    fn book(&self) -> BoxFuture<'_, Result<Option<Book>, LegacyError>> {
        Box::pin(write::book(&self.sessions, &self.mapping))
    }

    fn hold(&self, wait_max: Duration) -> BoxFuture<'_, Result<Hold, LegacyError>> {
        Box::pin(switch::hold(&self.sessions, &self.mapping, wait_max))
    }

    fn write<'a>(
        &'a self,
        rows: &'a [TargetRow],
        seq: u64,
        epoch: u64,
    ) -> BoxFuture<'a, Result<Written, LegacyError>> {
        Box::pin(write::write(&self.sessions, &self.mapping, rows, seq, epoch))
    }

    fn stream<'a>(
        &'a self,
        from: Option<(SourceId, u64)>,
    ) -> BoxFuture<'a, Result<Box<dyn ChangeStream>, LegacyError>> {
        Box::pin(async move {
            let stream = source::open(self.sessions.address(), &self.mapping, from).await?;
            Ok(Box::new(stream) as Box<dyn ChangeStream>)
        })
    }

    fn read_page<'a>(
        &'a self,
        table: usize,
        after: Option<&'a PageKey>,
        limit: u32,
    ) -> BoxFuture<'a, Result<Page, LegacyError>> {
        Box::pin(async move {
            let range = KeyRange { after: after.cloned(), until: None };
            pages::page(&self.sessions, &self.mapping, table, &range, limit).await
        })
    }

    fn read_range<'a>(
        &'a self,
        table: usize,
        range: &'a KeyRange,
        limit: u32,
    ) -> BoxFuture<'a, Result<Page, LegacyError>> {
        Box::pin(pages::page(&self.sessions, &self.mapping, table, range, limit))
    }

    fn digest_ranges<'a>(
        &'a self,
        table: usize,
        ranges: &'a [KeyRange],
        rows_max: u32,
    ) -> BoxFuture<'a, Result<Option<Digests>, LegacyError>> {
        Box::pin(async move {
            pages::digests(&self.sessions, &self.mapping, table, ranges, rows_max).await.map(Some)
        })
    }

    fn read_items<'a>(
        &'a self,
        items: &'a [(usize, String, String)],
    ) -> BoxFuture<'a, Result<Page, LegacyError>> {
        Box::pin(pages::items(&self.sessions, &self.mapping, items))
    }

    fn position(&self) -> BoxFuture<'_, Result<u64, LegacyError>> {
        Box::pin(pages::end(&self.sessions))
    }

    fn health(&self) -> BoxFuture<'_, Result<StreamHealth, LegacyError>> {
        Box::pin(health::health(&self.sessions, &self.mapping))
    }

    fn references(&self) -> BoxFuture<'_, Result<Option<Vec<SqlReference>>, LegacyError>> {
        Box::pin(health::references(&self.sessions, &self.mapping, &self.dependents))
    }

    fn statistics(&self) -> BoxFuture<'_, Result<Option<String>, LegacyError>> {
        Box::pin(health::statistics(&self.sessions))
    }

    fn drop_stream(&self) -> BoxFuture<'_, Result<(), LegacyError>> {
        Box::pin(health::drop_stream(&self.sessions, &self.mapping))
    }

    fn nudge(&self) -> BoxFuture<'_, Result<bool, LegacyError>> {
        Box::pin(async move {
            pages::nudge(&self.sessions).await?;
            Ok(true)
        })
    }

    fn clear_outbox<'a>(&'a self, ids: &'a [i64]) -> BoxFuture<'a, Result<u64, LegacyError>> {
        Box::pin(write::clear_outbox(&self.sessions, &self.mapping, ids))
    }

    fn touch<'a>(&'a self, items: &'a [(usize, String, String)]) -> BoxFuture<'a, Result<(), LegacyError>> {
        Box::pin(write::touch(&self.sessions, &self.mapping, items))
    }
}
