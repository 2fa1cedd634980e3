//! The stream in: what the old database commits becomes commands, and is acknowledged once they are durable.
//!
//! It remembers nothing that counts. Where to go on is in Banyan's own state, in the same block as what came of it, so
//! whatever comes twice is passed over there.

use crate::breach::{self, Meaning, meaning};
use crate::database::{Book, LegacyError, OldDatabase};
use crate::desk::{Desk, DeskError};
use crate::keeper::Halt;
use crate::mapping::Mapping;
use crate::outbox;
use crate::progress::Progress;
use crate::stream::{Change, ChangeStream, Item, OutboxRow, Row, SourceId, Transaction};
use crate::takeover;
use crate::values::{ItemName, STOCK, levels, mirror_row, name_of, named_level, row_numbers};
use banyan_domain::legacy::{
    self, Breach, CapabilityState, Command, MirrorRow, OutboxItem, OutboxKind, Phase, SourceBatch,
};
use banyan_domain::{Refusal, limits};
use banyan_engine::wall_clock;
use std::collections::BTreeSet;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::Instant;

/// How long to wait before connecting again: first, and at most.
const PAUSE: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(10));
/// How long a position of which nothing else is to be kept may wait: each costs an entry in the log, and our own writes come
/// back here, so that keeping each at once would go round for ever.
const PASSED_WAIT: Duration = Duration::from_secs(1);

/// Follows the stream until told to stop, or until somebody must look.
pub async fn follow(
    desk: &Desk,
    database: &dyn OldDatabase,
    mapping: &Mapping,
    progress: &Progress,
    mut stop: watch::Receiver<bool>,
) -> Halt {
    progress.inward(true, None);
    let mut inward = Inward { desk, database, mapping, progress, anew: false };
    let halt = tokio::select! {
        biased;
        _ = stop.wait_for(|stop| *stop) => Halt::Stopped,
        halt = inward.run() => halt,
    };
    match &halt {
        Halt::Stopped => progress.inward(false, None),
        Halt::Trouble(why) => progress.inward(false, Some(why.clone())),
    }
    halt
}

struct Inward<'a> {
    desk: &'a Desk,
    database: &'a dyn OldDatabase,
    mapping: &'a Mapping,
    progress: &'a Progress,
    /// Whether the known position means nothing any more.
    anew: bool,
}

/// Why following ended for now.
enum Ended {
    Broken(String),
    Anew(String),
    Trouble(String),
    Stopping,
}

/// What one command takes.
#[derive(Default)]
struct Load {
    position: u64,
    part: u32,
    rows: Vec<MirrorRow>,
    outbox: Vec<OutboxItem>,
    outbox_ids: Vec<i64>,
    switched: Option<(u64, Phase)>,
    /// Writes of others to what Banyan owns; noted before the rest is applied.
    breaches: Vec<Breach>,
    /// When the last of it was committed; 0 if not known.
    committed_millis: u64,
    transactions: u64,
    /// Whether no part of a transaction is left after it.
    whole: bool,
}

impl Inward<'_> {
    async fn run(&mut self) -> Halt {
        let mut pause = PAUSE.0;
        loop {
            let heard_before = self.progress.view().heard_at;
            let ended = match self.once().await {
                Ok(never) => match never {},
                Err(ended) => ended,
            };
            match ended {
                Ended::Stopping => return Halt::Stopped,
                Ended::Trouble(why) => {
                    tracing::error!("the old database's stream is not followed any more: {why}");
                    return Halt::Trouble(why);
                }
                Ended::Anew(why) => {
                    tracing::warn!("the rows of the old database are copied anew: {why}");
                    self.anew = true;
                }
                Ended::Broken(why) => {
                    if self.progress.view().heard_at != heard_before {
                        pause = PAUSE.0;
                    }
                    // What follows before it is heard again is more of the same.
                    if pause == PAUSE.0 {
                        tracing::warn!("the old database's stream broke, and is opened again: {why}");
                    } else {
                        tracing::info!(
                            "the old database's stream cannot be opened yet, and is tried again: {why}"
                        );
                    }
                    self.progress.inward(true, Some(why));
                    // Between two tries, so that a database that is starting is not hammered.
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(PAUSE.1);
                }
            }
        }
    }

    /// Follows until something is in the way.
    async fn once(&mut self) -> Result<std::convert::Infallible, Ended> {
        let state = self.state().await?;
        let known = state.source.clone().filter(|source| !source.copying && !self.anew);
        let from = known.map(|source| {
            let id = SourceId { system: source.id.system.into(), stream: source.id.stream.into() };
            (id, source.position)
        });
        let mut source = from.as_ref().map(|(source, _)| source.clone());
        let resumed = from.as_ref().map(|(_, position)| *position);
        if resumed.is_none() {
            // Before the question: whoever waits for a position must not take that of another server for it.
            self.progress.begun_anew();
        }
        let mut stream = self.database.stream(from).await?;
        self.progress.inward(true, None);
        if let Some(position) = resumed {
            self.progress.applied(position.saturating_sub(1));
        }
        let mut leads = state.phase.leads();
        // What comes up to here has been applied. It must not travel with what has not: the position would be the later one.
        let mut applied = state.source.as_ref().map_or((0, 0), |source| (source.position, source.part));
        let mut passed: Option<(u64, Instant)> = None;
        let mut held: Option<Item> = None;
        loop {
            let item = match held.take() {
                Some(item) => item,
                None => match passed {
                    None => self.next(&mut *stream).await?,
                    Some((position, since)) => {
                        match tokio::time::timeout_at(since + PASSED_WAIT, self.next(&mut *stream)).await {
                            Ok(item) => item?,
                            Err(_) => Item::Idle { position },
                        }
                    }
                },
            };
            let now = wall_clock().as_millis();
            match item {
                Item::SnapshotBegin { source: new, position, book } => {
                    self.progress.heard(position, now);
                    leads = self.copy(&mut *stream, (&new, position), book, &state).await?;
                    source = Some(new);
                    applied = (position, u32::MAX);
                    self.anew = false;
                }
                Item::Rows(_) | Item::Outbox(_) | Item::SnapshotEnd => {
                    return Err(Ended::Broken("rows outside of a snapshot".to_owned()));
                }
                Item::SchemaChanged { what } => return Err(Ended::Trouble(what)),
                Item::Idle { position } => {
                    let known = source_of(&source)?;
                    self.progress.heard(position, now);
                    passed = None;
                    if position > self.progress.view().position_applied {
                        let load = Load { position, part: 1, whole: true, ..Load::default() };
                        self.apply(&mut *stream, known, load).await?;
                    }
                }
                Item::Transaction(again) if (again.position, again.part) <= applied => {
                    self.progress.heard(again.position, now);
                    self.pass_over(&mut *stream, &again).await?;
                }
                Item::Transaction(first) => {
                    let known = source_of(&source)?.clone();
                    let (mut load, switched) = self.load(first, leads).await?;
                    // Whole small transactions travel together: a sync costs the same for one as for many.
                    while load.whole
                        && load.part == 1
                        && load.switched.is_none()
                        && load.outbox.is_empty() | leads
                        && load.outbox_ids.is_empty() | self.database.sends_all_again()
                    {
                        let Some(next) = self.ready(&mut *stream).await else { break };
                        match next? {
                            Item::Transaction(next) if joins(&load, &next) => {
                                let (next, _) = self.load(next, leads).await?;
                                load.join(next);
                            }
                            other => {
                                held = Some(other);
                                break;
                            }
                        }
                    }
                    self.progress.heard(load.position, now);
                    self.note_breaches(std::mem::take(&mut load.breaches)).await?;
                    if load.whole && load.is_empty() && load.part == 1 {
                        // Only our own writes came back, or what is none of ours to keep, in one part: a transaction of which
                        // more follows is kept part by part, or the parts after this one would miss it. Their position is
                        // kept with the next that matters, or in a moment.
                        let since = passed.map_or_else(Instant::now, |(_, since)| since);
                        passed = Some((load.position, since));
                        self.progress.passed_over();
                        continue;
                    }
                    passed = None;
                    applied = (load.position, load.part);
                    self.apply(&mut *stream, &known, load).await?;
                    if switched {
                        let now = self.state().await?;
                        leads = now.phase.leads();
                        if let (Some(takeover), None) = (&now.taken_over, &now.source) {
                            return Err(Ended::Anew(takeover::sentence(takeover)));
                        }
                    }
                }
            }
        }
    }

    /// The next item. Whoever waits to hear anything at all hears of it before it is applied.
    async fn next(&self, stream: &mut dyn ChangeStream) -> Result<Item, LegacyError> {
        let item = stream.next().await?;
        self.progress.told();
        Ok(item)
    }

    /// An item that is there already.
    async fn ready(&self, stream: &mut dyn ChangeStream) -> Option<Result<Item, LegacyError>> {
        tokio::select! {
            biased;
            item = self.next(stream) => Some(item),
            () = std::future::ready(()) => None,
        }
    }

    async fn state(&self) -> Result<CapabilityState, Ended> {
        Ok(self.desk.look(|state| state.legacy().capability(STOCK)).await?)
    }

    /// What the bookkeeping row of a copy says beyond `before`, which was looked at before the copy began: whether Banyan led until
    /// then, and the switch that nothing else will tell, if a move of ours made it.
    async fn told_by_copy(
        &self,
        before: &CapabilityState,
        book: Option<Book>,
    ) -> Result<(bool, Option<(u64, Phase)>), Ended> {
        let leads = before.phase.leads();
        let Some(book) = book.filter(|book| book.phase.leads() != leads) else { return Ok((leads, None)) };
        let switch = (book.move_no, book.phase);
        if before.moving.as_ref().is_some_and(|moving| (moving.number, moving.to) == switch) {
            return Ok((leads, Some(switch)));
        }
        let (theirs, number) = (book.phase.as_str(), book.move_no);
        if leads {
            if takeover::note(self.desk, before, book).await?.phase.leads() {
                let why = format!("a move was made while the copy began: the old database says {theirs}");
                return Err(Ended::Broken(why));
            }
            return Ok((false, None));
        }
        Err(Ended::Trouble(format!(
            "the old database says {theirs} under move {number}, and Banyan is in phase {} after move {} without a move on its way \
             there: it was restored from an older backup, or somebody wrote the row. If the old shop is to lead, set phase to \
             '{}' in banyan_sync (MariaDB, MySQL: in banyan_door, too)",
            before.phase.as_str(),
            before.epoch,
            before.phase.as_str()
        )))
    }

    /// Takes a snapshot in, by difference: what is left in the outbox, every row, and zeros for items that have none. Gives
    /// whether Banyan leads after it.
    ///
    /// Rows count if the old shop led at that moment, or until a switch that is in it: then they are its last word. Who leads now
    /// is in it as well: where the switch itself comes no more, it is applied with the copy.
    async fn copy(
        &self,
        stream: &mut dyn ChangeStream,
        (source, position): (&SourceId, u64),
        book: Option<Book>,
        before: &CapabilityState,
    ) -> Result<bool, Ended> {
        let (led, switched) = self.told_by_copy(before, book).await?;
        let leads_after = switched.map_or(led, |(_, phase)| phase.leads());
        let takes_rows = !led || !leads_after;
        if takes_rows && self.mapping.outbox_only {
            // There are no rows in this copy, which must not be taken for an old shop that has nothing.
            return Err(Ended::Trouble(format!(
                "the rows of the old shop count, since it leads{}, and the mapping says outbox_only = true: nothing is copied. Take \
                 outbox_only out of the mapping, run `banyan legacy check --create`, and start the server anew",
                if led { ", or did until now" } else { "" }
            )));
        }
        let id =
            legacy::SourceId { system: source.system.as_str().into(), stream: source.stream.as_str().into() };
        self.ask(Command::SetSource { capability: STOCK, source: id, position }).await?;
        // A lead that is lost from here on takes the stream with it, and this copy ends; before, nobody would notice.
        if self.state().await?.phase.leads() != led {
            return Err(Ended::Broken("who leads has changed while the copy began".to_owned()));
        }
        let mut seen: BTreeSet<ItemName> = BTreeSet::new();
        let mut part = 0;
        let mut outbox = Vec::new();
        if led && !leads_after {
            // Handed back: from here on the rows are the old shop's. Killed after this, the next copy is one of phase `mirror`.
            part += 1;
            self.apply(stream, source, Load { position, part, switched, ..Load::default() }).await?;
        }
        loop {
            match self.next(stream).await? {
                Item::Rows(rows) => {
                    self.progress.heard(position, wall_clock().as_millis());
                    let rows: Vec<MirrorRow> = rows.iter().filter_map(|row| self.mirrored(row)).collect();
                    seen.extend(rows.iter().map(|row| (row.sku.clone(), row.location.clone())));
                    for rows in rows.chunks(limits::SOURCE_ROWS_MAX).filter(|_| takes_rows) {
                        part += 1;
                        self.apply_part(stream, source, position, part, rows.to_vec()).await?;
                    }
                }
                // Said of what Banyan knows, and so after its rows; where the rows win, before them.
                Item::Outbox(rows) if leads_after => outbox.extend(rows),
                Item::Outbox(rows) => {
                    part = self.copy_outbox(stream, (source, position, part), &rows).await?;
                }
                Item::SnapshotEnd => break,
                other => return Err(Ended::Broken(format!("within a snapshot: {other:?}"))),
            }
        }
        if takes_rows {
            for rows in self.gone(&seen).await?.chunks(limits::SOURCE_ROWS_MAX) {
                part += 1;
                self.apply_part(stream, source, position, part, rows.to_vec()).await?;
            }
        }
        if !led && leads_after {
            // Nobody but the old shop wrote until now. Killed before this, all of it comes again; after it, the rows are Banyan's.
            part += 1;
            self.apply(stream, source, Load { position, part, switched, ..Load::default() }).await?;
        }
        self.copy_outbox(stream, (source, position, part), &outbox).await?;
        self.ask(Command::EndCopy { capability: STOCK }).await?;
        stream.acknowledge(position);
        self.progress.applied(position);
        Ok(self.state().await?.phase.leads())
    }

    /// Takes in what was left in the outbox, after `part`. Gives the last part.
    async fn copy_outbox(
        &self,
        stream: &mut dyn ChangeStream,
        (source, position, mut part): (&SourceId, u64, u32),
        rows: &[OutboxRow],
    ) -> Result<u32, Ended> {
        for rows in rows.chunks(limits::SOURCE_ROWS_MAX) {
            part += 1;
            let mut load = Load { position, part, ..Load::default() };
            load.take_outbox(self.mapping, rows);
            self.apply(stream, source, load).await?;
        }
        Ok(part)
    }

    async fn apply_part(
        &self,
        stream: &mut dyn ChangeStream,
        source: &SourceId,
        position: u64,
        part: u32,
        rows: Vec<MirrorRow>,
    ) -> Result<(), Ended> {
        self.apply(stream, source, Load { position, part, rows, ..Load::default() }).await
    }

    /// Rows of zeros for the items of the old shop that were not seen.
    async fn gone(&self, seen: &BTreeSet<ItemName>) -> Result<Vec<MirrorRow>, Ended> {
        let all = self
            .desk
            .look(|state| {
                let named = state.legacy().mirrored_items().filter_map(|(item, _)| named_level(state, item));
                named
                    .filter(|(_, level)| (level.in_stock(), level.taken()) != (0, 0))
                    .map(|(name, _)| name)
                    .collect::<Vec<_>>()
            })
            .await?;
        Ok(all.into_iter().filter(|name| !seen.contains(name)).map(|name| mirror_row(name, (0, 0))).collect())
    }

    /// What was applied before comes again because nobody knows how far its answer came: that is done again, and nothing else.
    async fn pass_over(&self, stream: &mut dyn ChangeStream, again: &Transaction) -> Result<(), Ended> {
        let ids: Vec<i64> = again.outbox.iter().map(|row| row.id).collect();
        if !ids.is_empty() {
            self.database.clear_outbox(&ids).await?;
        }
        if again.last {
            stream.acknowledge(again.position);
            self.progress.applied(again.position);
        }
        Ok(())
    }

    /// What a transaction asks of Banyan; and whether it says who leads.
    async fn load(&self, transaction: Transaction, leads: bool) -> Result<(Load, bool), Ended> {
        let mut load = Load {
            position: transaction.position,
            part: transaction.part,
            whole: transaction.last,
            committed_millis: transaction.committed_millis,
            transactions: u64::from(transaction.last),
            switched: transaction.switched.map(|book| (book.move_no, book.phase)),
            ..Load::default()
        };
        self.progress.echoed(u64::from(transaction.echoes.unwrap_or(0)));
        match leads {
            false => self.take_rows(&transaction, &mut load)?,
            true => self.watch(&transaction, &mut load).await?,
        }
        load.take_outbox(self.mapping, &transaction.outbox);
        let switched = load.switched.is_some();
        Ok((load, switched))
    }

    /// While the old shop leads, rows are taken as they are.
    fn take_rows(&self, transaction: &Transaction, load: &mut Load) -> Result<(), Ended> {
        for said in transaction.outbox.iter().filter_map(outbox::row_said) {
            match said {
                Ok(row) => load.rows.extend(self.mirrored(&row)),
                Err(why) => tracing::warn!("a message of the outbox is passed over: {why}"),
            }
        }
        for change in &transaction.changes {
            match change {
                Change::Insert(row) => load.rows.extend(self.mirrored(row)),
                Change::Update { before, after } => {
                    let renamed = before
                        .as_ref()
                        .filter(|row| (&row.sku, &row.location) != (&after.sku, &after.location));
                    load.rows.extend(renamed.and_then(name_of).map(|name| mirror_row(name, (0, 0))));
                    load.rows.extend(self.mirrored(after));
                }
                Change::Delete(row) => load.rows.extend(name_of(row).map(|name| mirror_row(name, (0, 0)))),
                Change::Truncate { table } => {
                    return Err(Ended::Anew(format!(
                        "table {} was emptied",
                        self.mapping.tables[*table].name
                    )));
                }
            }
        }
        Ok(())
    }

    /// While Banyan leads, rows of others are looked at: a new item is taken in, anything else is a breach.
    async fn watch(&self, transaction: &Transaction, load: &mut Load) -> Result<(), Ended> {
        let phase = self.desk.look(|state| state.legacy().capability(STOCK).phase);
        if transaction.changes.is_empty() || phase.await? != Phase::Lead {
            return Ok(());
        }
        for (index, change) in (0..).zip(&transaction.changes) {
            // The number grows through all parts: none has more changes than a command takes rows.
            let index =
                transaction.part.saturating_sub(1).saturating_mul(limits::SOURCE_ROWS_MAX as u32) + index;
            let (row, what) = match meaning(transaction, change, &self.columns(change)) {
                Meaning::Harmless => continue,
                Meaning::New(row) => {
                    let Some(name) = name_of(&row) else { continue };
                    let asked = vec![name.clone()];
                    let known = self.desk.look(move |state| levels(state, &asked)[0]).await?;
                    match (known, u32::try_from(row_numbers(&row).0)) {
                        (None, Ok(in_stock)) => {
                            let free = self.mapping.tables[row.table].allocated.is_none();
                            let (sku, location) = name;
                            load.outbox.push(OutboxItem {
                                id: 0,
                                kind: OutboxKind::Count { sku, location, in_stock, free },
                            });
                            continue;
                        }
                        _ => (row, "a row was added for an item that is there".to_owned()),
                    }
                }
                Meaning::Breach(row, what) => (row, what),
                Meaning::Emptied(table) => {
                    let row = Row {
                        table,
                        sku: "*".into(),
                        location: "all".into(),
                        in_stock: None,
                        allocated: None,
                    };
                    (row, format!("table {} was emptied", self.mapping.tables[table].name))
                }
            };
            let Some((sku, location)) = name_of(&row) else { continue };
            load.breaches.push(breach::breach((sku, location), &what, transaction.position, index));
        }
        Ok(())
    }

    /// All of them in one block: somebody may have written to every row there is.
    async fn note_breaches(&self, breaches: Vec<Breach>) -> Result<(), Ended> {
        if breaches.is_empty() {
            return Ok(());
        }
        breach::tell(&breaches);
        self.ask(Command::NoteBreaches { capability: STOCK, breaches }).await
    }

    fn columns(&self, change: &Change) -> String {
        let (Change::Insert(row) | Change::Delete(row) | Change::Update { after: row, .. }) = change else {
            return String::new();
        };
        let table = &self.mapping.tables[row.table];
        let allocated = table.allocated.as_ref().map_or(String::new(), |column| format!("/{column}"));
        format!("{}{allocated}", table.in_stock)
    }

    /// A row whose name Banyan cannot have is left out; the preflight finds it, and so does whoever reads the log.
    fn mirrored(&self, row: &Row) -> Option<MirrorRow> {
        let name = name_of(row);
        if name.is_none() {
            tracing::warn!(sku = %row.sku, location = %row.location, "a row is left out: SKU or location cannot be taken");
        }
        Some(mirror_row(name?, row_numbers(row)))
    }

    async fn apply(&self, stream: &mut dyn ChangeStream, source: &SourceId, load: Load) -> Result<(), Ended> {
        let Load {
            position,
            part,
            rows,
            outbox,
            outbox_ids,
            switched,
            committed_millis,
            transactions,
            whole,
            ..
        } = load;
        let count = rows.len() as u64;
        let source =
            legacy::SourceId { system: source.system.as_str().into(), stream: source.stream.as_str().into() };
        let batch = SourceBatch { capability: STOCK, source, position, part, rows, outbox, switched };
        self.ask(Command::ApplySource(Box::new(batch))).await?;
        // Before it is acknowledged: what is left in the outbox when the slot is lost has then not been applied.
        if !outbox_ids.is_empty() {
            self.database.clear_outbox(&outbox_ids).await?;
        }
        if whole {
            stream.acknowledge(position);
            self.progress.applied(position);
        }
        if transactions > 0 {
            let lag = wall_clock().as_millis().saturating_sub(committed_millis);
            self.progress.took(count, (committed_millis > 0).then_some(lag));
        }
        Ok(())
    }

    async fn ask(&self, command: Command) -> Result<(), Ended> {
        self.desk.ask(command).await?;
        Ok(())
    }
}

impl Load {
    fn is_empty(&self) -> bool {
        let says = !self.outbox.is_empty() || !self.outbox_ids.is_empty();
        self.rows.is_empty() && !says && self.switched.is_none()
    }

    fn take_outbox(&mut self, mapping: &Mapping, rows: &[OutboxRow]) {
        // A row that is said again was taken in its place in the stream, while the old shop leads; or means nothing any more.
        let asks = rows.iter().filter(|row| row.kind != outbox::ROW);
        self.outbox.extend(asks.map(|row| outbox::read(mapping, row)));
        self.outbox_ids.extend(rows.iter().map(|row| row.id));
    }

    /// Goes on with the next transaction: later rows count, and the position is the later one.
    fn join(&mut self, next: Self) {
        self.position = next.position;
        self.rows.extend(next.rows);
        self.outbox.extend(next.outbox);
        self.outbox_ids.extend(next.outbox_ids);
        self.breaches.extend(next.breaches);
        if next.committed_millis > 0 {
            self.committed_millis = next.committed_millis;
        }
        self.transactions += next.transactions;
    }
}

/// Whether a transaction may travel with what is there: whole, of the same kind, and small enough.
fn joins(load: &Load, next: &Transaction) -> bool {
    let small = next.last && next.part == 1 && next.switched.is_none();
    // A message may be a row that is said again.
    let rows = load.rows.len() + 2 * next.changes.len() + next.outbox.len();
    let messages = load.outbox.len() + next.outbox.len() + load.breaches.len() + next.changes.len();
    small && rows <= limits::SOURCE_ROWS_MAX && messages <= limits::SOURCE_ROWS_MAX
}

fn source_of(source: &Option<SourceId>) -> Result<&SourceId, Ended> {
    source.as_ref().ok_or_else(|| Ended::Broken("a transaction before any snapshot".to_owned()))
}

impl From<LegacyError> for Ended {
    fn from(error: LegacyError) -> Self {
        match error {
            LegacyError::Broken(why) => Self::Broken(why),
            LegacyError::SourceUnknown(why) => Self::Anew(why),
            LegacyError::Refused(why) => Self::Trouble(why),
        }
    }
}

impl From<DeskError> for Ended {
    fn from(error: DeskError) -> Self {
        match error {
            DeskError::Stopping => Self::Stopping,
            // A row that somebody wrote by hand would be met again for ever, even after it was put right: a copy looks at it as
            // it is then.
            DeskError::Refused(Refusal::Legacy(
                legacy::Refusal::SourceUnknown | legacy::Refusal::NoSuchMove,
            )) => Self::Anew(error.to_string()),
            DeskError::Refused(Refusal::Legacy(legacy::Refusal::SourceGap)) => {
                Self::Broken(error.to_string())
            }
            DeskError::Refused(_) => Self::Trouble(error.to_string()),
        }
    }
}
