//! The stream in: every committed transaction of the old database becomes one command, in its order, exactly once. A position
//! is acknowledged only after Banyan's own log has it on disk.

use crate::breach;
use crate::database::{LegacyError, OldDatabase};
use crate::desk::{Desk, DeskError};
use crate::keeper::Halt;
use crate::mapping::Mapping;
use crate::owned::Owned;
use crate::progress::Progress;
use crate::stream::{Change, ChangeStream, Item, SourceId as StreamSource, Transaction};
use crate::translate::{Name, gone, mirror_row, name, outbox_item, rows_after};
use banyan_domain::legacy::{Capability, Command, MirrorRow, Refusal, SourceBatch, SourceId};
use banyan_domain::{ItemNo, LocationId, Refusal as AnyRefusal, SkuId, State, limits};
use banyan_engine::wall_clock;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

const STOCK: Capability = Capability::Stock;
/// Pauses before the old database is tried again: doubled each time.
const PAUSE_MIN: Duration = Duration::from_millis(100);
const PAUSE_MAX: Duration = Duration::from_secs(10);
/// Items that one look at the state goes through: the writer waits for it.
const LOOK_ITEMS: usize = 2_000;
/// Own writes say nothing that must be kept; so much of the old database's log may pass before their position is.
const UNKEPT_MAX: Duration = Duration::from_secs(5);

/// What the stream in works with.
pub(crate) struct Inward {
    pub desk: Desk,
    pub database: Arc<dyn OldDatabase>,
    pub mapping: Arc<Mapping>,
    pub progress: Arc<Progress>,
    pub owned: Arc<Owned>,
}

/// Why a session ended.
enum End {
    Stopped,
    /// Try again from where we are.
    Broken(String),
    /// Positions mean nothing any more: copy anew.
    CopyAnew(String),
    /// Somebody must look.
    Trouble(String),
}

impl From<LegacyError> for End {
    fn from(error: LegacyError) -> Self {
        match error {
            LegacyError::Broken(why) => Self::Broken(why),
            LegacyError::SourceUnknown(why) => Self::CopyAnew(why),
            LegacyError::Refused(_) => Self::Trouble(error.to_string()),
        }
    }
}

impl From<DeskError> for End {
    fn from(error: DeskError) -> Self {
        match error {
            DeskError::Stopping => Self::Stopped,
            DeskError::Refused(AnyRefusal::Legacy(Refusal::SourceUnknown)) => {
                Self::CopyAnew(error.to_string())
            }
            DeskError::Refused(AnyRefusal::Legacy(Refusal::SourceGap)) => Self::Broken(error.to_string()),
            DeskError::Refused(_) => Self::Trouble(error.to_string()),
        }
    }
}

impl Inward {
    /// Follows the stream until told to stop, or until somebody must look.
    pub(crate) async fn follow(&self, mut stop: watch::Receiver<bool>) -> Halt {
        let mut pause = PAUSE_MIN;
        let mut anew = false;
        loop {
            let before = self.progress.view().transactions;
            let ended = tokio::select! {
                ended = self.session(anew) => ended,
                () = self.owned.asked_to_copy() => End::CopyAnew("both sides differ".into()),
                () = stopped(&mut stop) => End::Stopped,
            };
            let why = match ended {
                End::Stopped => {
                    self.progress.inward(false, None);
                    return Halt::Stopped;
                }
                End::Trouble(why) => {
                    tracing::error!("the stream of the old database stands still: {why}");
                    self.progress.inward(false, Some(why.clone()));
                    return Halt::Trouble(why);
                }
                End::CopyAnew(why) => {
                    tracing::warn!("the rows of the old database are copied anew: {why}");
                    anew = true;
                    why
                }
                End::Broken(why) => {
                    tracing::warn!("the stream of the old database broke off: {why}");
                    why
                }
            };
            self.progress.inward(false, Some(why));
            if self.progress.view().transactions > before {
                pause = PAUSE_MIN;
            }
            // A pause between two tries, so that a database that is starting is not hammered.
            let _stopped = tokio::time::timeout(pause, stopped(&mut stop)).await;
            pause = (pause * 2).min(PAUSE_MAX);
            if let Ok(state) = self.desk.look(|state| state.legacy().capability(STOCK)).await {
                anew &= state.source.is_none_or(|source| !source.copying);
            }
        }
    }

    async fn session(&self, anew: bool) -> End {
        match self.run(anew).await {
            Ok(never) => never,
            Err(end) => end,
        }
    }

    async fn run(&self, anew: bool) -> Result<End, End> {
        let state = self.desk.look(|state| state.legacy().capability(STOCK)).await?;
        let known = state.source.filter(|source| !anew && !source.copying);
        let from = known.as_ref().map(|source| {
            let (system, stream) = (source.id.system.to_string(), source.id.stream.to_string());
            (StreamSource { system, stream }, source.position)
        });
        if state.phase.leads() {
            self.learn_own_rows().await?;
        }
        let mut stream = self.database.stream(from).await?;
        self.progress.inward(true, None);
        let source = match known {
            Some(source) => source.id,
            None => self.copy(&mut *stream).await?,
        };
        let mut session =
            Session { of: self, source, outbox_seen: None, kept_at: tokio::time::Instant::now() };
        loop {
            let item = stream.next().await?;
            session.take(item, &mut *stream).await?;
        }
    }

    /// What is in the columns that are ours, before anybody else's change is looked at.
    async fn learn_own_rows(&self) -> Result<(), End> {
        for table in 0..self.mapping.tables.len() {
            let mut after = None;
            loop {
                let page = self.database.read_page(table, after.as_ref(), LOOK_ITEMS as u32).await?;
                for row in &page.rows {
                    if let Ok(name) = name(&self.mapping, row) {
                        self.owned.wrote(name, (row.in_stock.unwrap_or(0), row.allocated.unwrap_or(0)));
                    }
                }
                after = page.next;
                if after.is_none() {
                    break;
                }
            }
        }
        Ok(())
    }

    /// Takes all rows in by difference; gives the source that follows them.
    async fn copy(&self, stream: &mut dyn ChangeStream) -> Result<SourceId, End> {
        let Item::SnapshotBegin { source, position } = stream.next().await? else {
            return Err(End::Trouble(
                "the stream does not begin with a copy, although one was asked for".into(),
            ));
        };
        let source = SourceId { system: source.system.into(), stream: source.stream.into() };
        self.desk.ask(Command::SetSource { capability: STOCK, source: source.clone(), position }).await?;
        self.progress.heard(position, wall_clock().as_millis());
        let leads = self.desk.look(|state| state.legacy().capability(STOCK).phase.leads()).await?;
        let mut seen: BTreeSet<Name> = BTreeSet::new();
        let mut part = 0;
        loop {
            match stream.next().await? {
                Item::Rows(rows) => {
                    let rows: Result<Vec<MirrorRow>, String> =
                        rows.iter().map(|row| mirror_row(&self.mapping, row)).collect();
                    let rows = rows.map_err(End::Trouble)?;
                    seen.extend(rows.iter().map(|row| (row.sku.clone(), row.location.clone())));
                    // While Banyan leads the rows are its own: what differs is the comparison's business.
                    if !leads {
                        self.apply_copied(&source, position, &mut part, rows).await?;
                    }
                }
                Item::SnapshotEnd => break,
                Item::SchemaChanged { what } => return Err(End::Trouble(what)),
                other => return Err(End::Trouble(format!("the stream gives {other:?} within a copy"))),
            }
        }
        if !leads {
            let left = self.mirrored().await?.into_iter().filter(|name| !seen.contains(name));
            let rows: Vec<MirrorRow> = left.map(gone).collect();
            self.apply_copied(&source, position, &mut part, rows).await?;
        }
        self.desk.ask(Command::EndCopy { capability: STOCK }).await?;
        stream.acknowledge(position);
        self.progress.applied(position);
        Ok(source)
    }

    async fn apply_copied(
        &self,
        source: &SourceId,
        position: u64,
        part: &mut u32,
        rows: Vec<MirrorRow>,
    ) -> Result<(), End> {
        for rows in rows.chunks(limits::SOURCE_ROWS_MAX) {
            *part += 1;
            let batch = SourceBatch {
                capability: STOCK,
                source: source.clone(),
                position,
                part: *part,
                rows: rows.to_vec(),
                outbox: Vec::new(),
                switched: None,
            };
            self.desk.ask(Command::ApplySource(Box::new(batch))).await?;
            self.progress.took(rows.len() as u64, 0);
        }
        Ok(())
    }

    /// The names of every item of the old shop.
    async fn mirrored(&self) -> Result<Vec<Name>, End> {
        let mut names = Vec::new();
        let mut after = ItemNo::new(0);
        loop {
            let page = self.desk.look(move |state| names_after(state, after)).await?;
            let Some((last, _)) = page.last() else { return Ok(names) };
            after = *last;
            names.extend(page.into_iter().map(|(_, name)| name));
        }
    }
}

/// A page of the names of the old shop's items, after `after`.
fn names_after(state: &State, after: ItemNo) -> Vec<(ItemNo, Name)> {
    let items = state.legacy().mirrored_after(after).take(LOOK_ITEMS);
    items.filter_map(|(item, _)| Some((item, item_name(state, item)?))).collect()
}

/// The name of an item.
pub(crate) fn item_name(state: &State, item: ItemNo) -> Option<Name> {
    let view = state.stock().item(item)?;
    // It is one: it was stored as one.
    Some((SkuId::new(view.sku).ok()?, LocationId::clone(view.location)))
}

/// One connection's worth of the stream.
struct Session<'a> {
    of: &'a Inward,
    source: SourceId,
    /// The highest message number that is durable here and still in the old database.
    outbox_seen: Option<i64>,
    /// When a position was last kept.
    kept_at: tokio::time::Instant,
}

impl Session<'_> {
    async fn take(&mut self, item: Item, stream: &mut dyn ChangeStream) -> Result<(), End> {
        let now = wall_clock().as_millis();
        match item {
            Item::Transaction(transaction) => {
                self.of.progress.heard(transaction.position, now);
                self.transaction(transaction, stream).await
            }
            Item::Idle { position } => {
                self.of.progress.heard(position, now);
                self.keep(position, 1, Vec::new(), Vec::new(), None).await?;
                stream.acknowledge(position);
                self.of.progress.applied(position);
                if let Some(id) = self.outbox_seen.take() {
                    // Best effort: what is left over is cleared another time.
                    if let Err(error) = self.of.database.clear_outbox(id).await {
                        tracing::warn!("the outbox could not be cleared: {error}");
                    }
                }
                Ok(())
            }
            Item::SchemaChanged { what } => Err(End::Trouble(what)),
            other => Err(End::Trouble(format!("the stream gives {other:?} outside of a copy"))),
        }
    }

    async fn transaction(&mut self, said: Transaction, stream: &mut dyn ChangeStream) -> Result<(), End> {
        let of = self.of;
        if let Some(echoes) = said.echoes {
            of.progress.echoed(u64::from(echoes));
        }
        let says_nothing = said.changes.is_empty() && said.outbox.is_empty() && said.switched.is_none();
        if says_nothing && said.part == 1 && self.kept_at.elapsed() < UNKEPT_MAX {
            // An echo: everything before it is durable, and it says nothing itself.
            of.progress.applied(said.position);
            return Ok(());
        }
        if said.changes.iter().any(|change| matches!(change, Change::Truncate { .. })) {
            return Err(End::CopyAnew("a mapped table was truncated".into()));
        }
        let leads = of.desk.look(|state| state.legacy().capability(STOCK).phase.leads()).await?;
        let rows = match leads {
            false => rows_after(&of.mapping, &said.changes).map_err(End::Trouble)?,
            true => Vec::new(),
        };
        if leads {
            breach::look(of, &said).await?;
        }
        let outbox: Vec<_> = said.outbox.iter().map(|row| outbox_item(&of.mapping, row)).collect();
        let switched = said.switched.map(|book| (book.move_no, book.phase));
        let count = rows.len() as u64;
        self.keep(said.position, said.part, rows, outbox, switched).await?;
        if let Some(last) = said.outbox.iter().map(|row| row.id).max() {
            self.outbox_seen = self.outbox_seen.max(Some(last));
        }
        if said.last {
            let now = wall_clock().as_millis();
            let lag = match said.committed_millis {
                0 => 0,
                committed => now.saturating_sub(committed),
            };
            of.progress.took(count, lag);
            stream.acknowledge(said.position);
            of.progress.applied(said.position);
        }
        Ok(())
    }

    /// Makes a position durable with what it says.
    async fn keep(
        &mut self,
        position: u64,
        part: u32,
        rows: Vec<MirrorRow>,
        outbox: Vec<banyan_domain::legacy::OutboxItem>,
        switched: Option<(u64, banyan_domain::legacy::Phase)>,
    ) -> Result<(), End> {
        let source = self.source.clone();
        let batch = SourceBatch { capability: STOCK, source, position, part, rows, outbox, switched };
        self.of.desk.ask(Command::ApplySource(Box::new(batch))).await?;
        self.kept_at = tokio::time::Instant::now();
        Ok(())
    }
}

/// Waits until it is to stop.
pub(crate) async fn stopped(stop: &mut watch::Receiver<bool>) {
    // The sender gone means the same.
    let _gone = stop.wait_for(|stop| *stop).await;
}
