//! The old shop's database as Banyan asks it.

use crate::old_shop::{Inner, row};
use crate::stream::Stream;
use crate::wire::{Question, Wire};
use banyan_domain::legacy::Phase;
use banyan_legacy::{
    Book, BoxFuture, Change, ChangeStream, Digests, Door, Finding, Hold, KeyRange, LegacyError, OldDatabase,
    Page, PageKey, RangeDigest, Row, SourceId, SqlReference, StreamHealth, Switch, Switched, TargetRow,
    Transaction, Written, digest_of,
};
use std::time::Duration;

struct HeldDoor {
    wire: Wire,
    system: String,
    position: u64,
}

impl Door for HeldDoor {
    fn position(&self) -> u64 {
        self.position
    }

    fn system(&self) -> Option<&str> {
        Some(&self.system)
    }

    fn switch(self: Box<Self>, ask: Switch) -> BoxFuture<'static, Result<Switched, LegacyError>> {
        Box::pin(async move {
            let switch = |inner: &mut Inner| match ask.decide(inner.tables.book) {
                Ok(book) => {
                    inner.switch(book);
                    Switched::Done(book)
                }
                Err(answer) => answer,
            };
            self.wire.ask(Question::Switch, switch).await
        })
    }
}

impl OldDatabase for Wire {
    fn check(&self) -> BoxFuture<'_, Vec<Finding>> {
        self.preflight(true)
    }

    fn check_in_haste(&self, _: Phase) -> BoxFuture<'_, Vec<Finding>> {
        self.preflight(false)
    }

    fn create(&self) -> BoxFuture<'_, Result<Vec<String>, LegacyError>> {
        let create = |inner: &mut Inner| {
            let made = Book { phase: Phase::Legacy, epoch: 0, seq: 0, move_no: 0 };
            inner.tables.book.get_or_insert(made);
            inner.server.stream.get_or_insert(0);
            vec!["publication banyan_stock".to_owned(), "slot banyan_stock".to_owned()]
        };
        Box::pin(self.ask(Question::Create, create))
    }

    fn book(&self) -> BoxFuture<'_, Result<Option<Book>, LegacyError>> {
        Box::pin(self.ask(Question::Book, |inner| inner.tables.book))
    }

    fn hold(&self, _: Duration) -> BoxFuture<'_, Result<Hold, LegacyError>> {
        Box::pin(async {
            let held = |inner: &mut Inner| {
                let end = (inner.server.name.clone(), inner.server.position);
                (!inner.keeps_lock).then_some(end)
            };
            Ok(match self.ask(Question::Hold, held).await? {
                Some((system, position)) => {
                    Hold::Held(Box::new(HeldDoor { wire: self.clone(), system, position }))
                }
                None => Hold::LockBusy,
            })
        })
    }

    fn write<'a>(
        &'a self,
        rows: &'a [TargetRow],
        seq: u64,
        epoch: u64,
    ) -> BoxFuture<'a, Result<Written, LegacyError>> {
        Box::pin(self.ask(Question::Write, move |inner| inner.write(rows, seq, epoch)))
    }

    fn stream<'a>(
        &'a self,
        from: Option<(SourceId, u64)>,
    ) -> BoxFuture<'a, Result<Box<dyn ChangeStream>, LegacyError>> {
        Box::pin(async move {
            self.ask(Question::Stream, |_| ()).await?;
            Ok(Box::new(Stream::open(&self.shop, from)?) as Box<dyn ChangeStream>)
        })
    }

    fn read_page<'a>(
        &'a self,
        _: usize,
        after: Option<&'a PageKey>,
        limit: u32,
    ) -> BoxFuture<'a, Result<Page, LegacyError>> {
        let range = KeyRange { after: after.cloned(), until: None };
        Box::pin(self.ask(Question::Read, move |inner| inner.read(&range, limit)))
    }

    fn read_range<'a>(
        &'a self,
        _: usize,
        range: &'a KeyRange,
        limit: u32,
    ) -> BoxFuture<'a, Result<Page, LegacyError>> {
        Box::pin(self.ask(Question::Read, move |inner| inner.read(range, limit)))
    }

    fn digest_ranges<'a>(
        &'a self,
        _: usize,
        ranges: &'a [KeyRange],
        rows_max: u32,
    ) -> BoxFuture<'a, Result<Option<Digests>, LegacyError>> {
        let digest = move |inner: &mut Inner| {
            let of = ranges.iter().map(|range| {
                let rows = inner.page(range, rows_max).rows;
                RangeDigest { rows: rows.len() as u64, digest: digest_of(&rows) }
            });
            Some(Digests { of: of.collect(), position_after: inner.server.position })
        };
        Box::pin(self.ask(Question::Read, digest))
    }

    fn read_items<'a>(
        &'a self,
        items: &'a [(usize, String, String)],
    ) -> BoxFuture<'a, Result<Page, LegacyError>> {
        let read = move |inner: &mut Inner| {
            let found = |sku: &String| Some(row(sku, *inner.tables.rows.get(sku)?));
            let rows: Vec<_> = items.iter().filter_map(|(_, sku, _)| found(sku)).collect();
            inner.asked.rows_read += rows.len() as u64;
            inner.page_of(rows, None)
        };
        Box::pin(self.ask(Question::Read, read))
    }

    fn position(&self) -> BoxFuture<'_, Result<u64, LegacyError>> {
        let mark = |inner: &mut Inner| {
            inner.asked.positions += 1;
            // As a mark in its log does, and the stream comes to it.
            inner.server.position += 1;
            inner.server.position
        };
        Box::pin(self.ask(Question::Position, mark))
    }

    fn health(&self) -> BoxFuture<'_, Result<StreamHealth, LegacyError>> {
        Box::pin(self.ask(Question::Health, |inner| inner.health()))
    }

    fn references(&self) -> BoxFuture<'_, Result<Option<Vec<SqlReference>>, LegacyError>> {
        Box::pin(self.ask(Question::References, |inner| inner.references.clone()))
    }

    fn drop_stream(&self) -> BoxFuture<'_, Result<(), LegacyError>> {
        let give_up = |inner: &mut Inner| {
            inner.asked.drops += 1;
            inner.server.stream = None;
        };
        Box::pin(self.ask(Question::DropStream, give_up))
    }

    fn nudge(&self) -> BoxFuture<'_, Result<bool, LegacyError>> {
        let nudge = |inner: &mut Inner| {
            inner.nudges = inner.nudges.map(|nudges| nudges + 1);
            inner.nudges.is_some()
        };
        // A nudge that is lost does no harm: none breaks off.
        let will_tell = self.shop.change(nudge);
        Box::pin(async move { Ok(will_tell) })
    }

    fn clear_outbox<'a>(&'a self, ids: &'a [i64]) -> BoxFuture<'a, Result<u64, LegacyError>> {
        let clear = move |inner: &mut Inner| {
            let before = inner.tables.outbox.len();
            inner.tables.outbox.retain(|row| !ids.contains(&row.id));
            (before - inner.tables.outbox.len()) as u64
        };
        Box::pin(self.ask(Question::ClearOutbox, clear))
    }

    fn touch<'a>(&'a self, items: &'a [(usize, String, String)]) -> BoxFuture<'a, Result<(), LegacyError>> {
        let touch = move |inner: &mut Inner| {
            let same = |sku: &String| {
                let row = row(sku, *inner.tables.rows.get(sku)?);
                Some(Change::Update { before: Some(row.clone()), after: row })
            };
            let changes = items.iter().filter_map(|(_, sku, _)| same(sku)).collect();
            inner.commit_changes(changes);
        };
        Box::pin(self.ask(Question::Touch, touch))
    }
}

impl Wire {
    fn preflight(&self, looks_at_rows: bool) -> BoxFuture<'_, Vec<Finding>> {
        Box::pin(async move {
            self.step_before(Question::Check).await;
            let mut inner = self.shop.inner();
            inner.preflights.push(looks_at_rows);
            inner.findings.clone()
        })
    }
}

impl Inner {
    fn write(&mut self, rows: &[TargetRow], seq: u64, epoch: u64) -> Written {
        self.asked.writes += 1;
        let Some(book) = self.tables.book else { return Written::Fenced { book: None } };
        if book.epoch != epoch || book.seq > seq || !book.phase.leads() {
            return Written::Fenced { book: Some(book) };
        }
        if let Some(why) = rows.iter().find_map(|row| (self.rule)(row)) {
            return Written::Refused { why: why.to_owned() };
        }
        self.tables.book = Some(Book { seq, ..book });
        let mut absent = Vec::new();
        for (index, row) in rows.iter().enumerate() {
            match self.tables.rows.get_mut(&row.sku) {
                Some(numbers) => *numbers = (row.in_stock, row.allocated),
                None => absent.push(index),
            }
        }
        // It comes back in the stream, which knows it for ours and leaves the rows out.
        let (ours, echoes) = (Some((seq, epoch)), u32::try_from(rows.len() - absent.len()).ok());
        self.commit(Transaction { ours, echoes, ..Transaction::default() });
        Written::Done { absent }
    }

    fn read(&mut self, range: &KeyRange, limit: u32) -> Page {
        let page = self.page(range, limit);
        self.asked.rows_read += page.rows.len() as u64;
        page
    }

    fn page(&self, range: &KeyRange, limit: u32) -> Page {
        let is_in = |sku: &String| {
            range.after.as_ref().is_none_or(|after| *sku > after.0[0])
                && range.until.as_ref().is_none_or(|until| *sku <= until.0[0])
        };
        let all = self.tables.rows.iter().filter(|(sku, _)| is_in(sku));
        let rows: Vec<_> = all.take(limit as usize).map(|(sku, numbers)| row(sku, *numbers)).collect();
        let is_full = rows.len() == limit as usize;
        let next = rows.last().filter(|_| is_full).map(|row| PageKey(vec![row.sku.clone()]));
        self.page_of(rows, next)
    }

    fn page_of(&self, rows: Vec<Row>, next: Option<PageKey>) -> Page {
        let position = self.server.position;
        Page { rows, next, position_before: position, position_after: position }
    }
}
