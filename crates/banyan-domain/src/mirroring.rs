//! What touches stock and the way over at once: whether Banyan may decide about an item, and what the old shop's database
//! and its messages do to both.
//!
//! The old books have two numbers an item: A, units in stock, and B, units of these sold and not shipped. What is free there
//! is A - B. Here the free units are on hand in stock, B is [`Mirrored::allocated`], and A < B, which old books can have, is
//! [`Mirrored::short`]. So A = on hand + allocated - short and B = held + allocated, at every moment and in both directions.

use crate::legacy::{
    Capability, Command, Event, MirrorRow, Mirrored, MoveStep, OutboxItem, OutboxKind, Outcome, Refusal,
    SourceBatch,
};
use crate::stock::{self, Level, ReservationState};
use crate::{
    Actor, Decided, Event as AnyEvent, ItemNo, LocationId, Outcome as AnyOutcome, Reason,
    Refusal as AnyRefusal, Remembered, ReservationNo, SkuId, State, Violation, legacy, limits,
};
use std::collections::BTreeMap;

type Decision = Decided<AnyEvent, AnyOutcome, Remembered>;

/// An item of the old shop as it stands here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MirrorLevel {
    /// Units that are there and not sold.
    pub on_hand: u32,
    /// Of these, set aside for reservations.
    pub held: u32,
    /// Units sold by orders of the old shop and not shipped yet.
    pub allocated: u32,
    /// Units sold beyond what there was.
    pub short: u32,
}

impl MirrorLevel {
    /// Units in stock as the old books count them: those sold and not shipped included.
    #[must_use]
    pub fn in_stock(self) -> i64 {
        i64::from(self.on_hand) + i64::from(self.allocated) - i64::from(self.short)
    }

    /// Units sold or held as the old books count them.
    #[must_use]
    pub fn taken(self) -> i64 {
        i64::from(self.held) + i64::from(self.allocated)
    }

    /// Units that can be sold, for books that have one number only.
    #[must_use]
    pub fn free(self) -> i64 {
        i64::from(self.on_hand) - i64::from(self.held) - i64::from(self.short)
    }
}

impl State {
    /// An item of the old shop as it stands here, or none if it is not the old shop's.
    #[must_use]
    pub fn mirror_level(&self, item: ItemNo) -> Option<MirrorLevel> {
        let Mirrored { allocated, short } = self.legacy.mirrored(item)?;
        let Level { on_hand, held, .. } = *self.stock.item(item)?.level;
        Some(MirrorLevel { on_hand, held, allocated, short })
    }

    /// Decides a command of the stock capability, which the old shop may lead.
    pub(crate) fn decide_stock(
        &self,
        command: stock::Command,
    ) -> Result<Decided<stock::Event, stock::Outcome, stock::Remembered>, AnyRefusal> {
        if self.legacy.mirrored_count() > 0 {
            self.check_leading(&command)?;
            if let stock::Command::ReleaseReservation { reservation } = command
                && let Some(released) = self.release_waiting(reservation)
            {
                return Ok(Decided::One(released));
            }
        }
        Ok(self.stock.decide(self.time, command)?)
    }

    /// Goods that came free although others of their kind are short: they are not there, so they are not for sale. None if
    /// there are none.
    pub(crate) fn cover_short(&self) -> Option<Vec<AnyEvent>> {
        self.legacy.short_items().find_map(|item| {
            let MirrorLevel { on_hand, held, allocated, short } = self.mirror_level(item)?;
            let units = (on_hand - held).min(short);
            let reason = Reason::new("short in the old shop").expect("short and printable");
            let (on_hand, short) = (on_hand - units, short - units);
            (units > 0).then(|| {
                let set = stock::Event::StockSet { item, on_hand, by: old_shop(), reason };
                vec![set.into(), AnyEvent::Legacy(Event::ItemMirrored { item, allocated, short })]
            })
        })
    }

    /// Applies an event of the way over.
    pub(crate) fn apply_legacy(&mut self, event: &Event) -> Result<(), Violation> {
        if let Event::ItemMirrored { item, .. } = event
            && self.stock.item(*item).is_none()
        {
            return Err(Violation::new("the old shop's books name an item that is not there"));
        }
        self.legacy.apply(self.time, event)
    }

    /// Checks the old shop's books against the stock.
    pub(crate) fn check_mirrored(&self) -> Result<(), Violation> {
        self.legacy.check_invariants()?;
        if self.cover_short().is_some() {
            return Err(Violation::new("an item is for sale although it is short"));
        }
        match self.legacy.mirrored_items().all(|(item, _)| self.stock.item(item).is_some()) {
            true => Ok(()),
            false => Err(Violation::new("the old shop's books name an item that is not there")),
        }
    }

    /// Whether what `command` wants to change is ours to change.
    fn check_leading(&self, command: &stock::Command) -> Result<(), Refusal> {
        use stock::Command as Ask;
        let open = self.legacy.is_open(Capability::Stock);
        let is_mirrored = |sku: &SkuId, location: &LocationId| {
            self.stock.find(sku, location).is_some_and(|item| self.legacy.mirrored(item).is_some())
        };
        let touches = match command {
            // Beyond its stock nothing of the old shop can be promised: its books have no place for that.
            Ask::Configure { sku, location, change, .. } => {
                let promises = change.backorder_max.unwrap_or(0).max(change.preorder_max.unwrap_or(0)) > 0;
                if promises && is_mirrored(sku, location) {
                    return Err(Refusal::MirrorConflict);
                }
                false
            }
            _ if open => false,
            Ask::SetStock { sku, location, .. }
            | Ask::Receive { sku, location, .. }
            | Ask::Adjust { sku, location, .. } => is_mirrored(sku, location),
            Ask::ImportStock { rows, .. } => rows.iter().any(|row| is_mirrored(&row.sku, &row.location)),
            Ask::Reserve { lines, .. } | Ask::Return { lines, .. } => lines.as_slice().iter().any(|line| {
                let mut items = self.stock.items_of(&line.sku);
                items.any(|item| self.legacy.mirrored(item.item).is_some())
            }),
            // What was promised before is kept: a move back waits until there is none of these left.
            Ask::CommitReservation { .. } | Ask::ReleaseReservation { .. } => false,
        };
        if touches { Err(Refusal::NotLeading) } else { Ok(()) }
    }

    /// Decides a command of the way over.
    pub(crate) fn decide_legacy(&self, command: Command) -> Result<Decision, AnyRefusal> {
        let one = |event: Event| Ok(Decided::One(AnyEvent::Legacy(event)));
        match command {
            Command::ApplySource(batch) => self.apply_source(*batch).map_err(AnyRefusal::Legacy),
            Command::BeginMove { capability, from, to, by, reason, without } => {
                let state = self.legacy.capability(capability);
                match &state.moving {
                    // Who asks again is answered again; who wants it to go without more must not believe that it does.
                    Some(moving)
                        if moving.to == to
                            && without.iter().all(|more| moving.goes_without(more.gate.as_str())) =>
                    {
                        return Ok(self.before(Outcome::Move { number: moving.number }));
                    }
                    Some(_) => return Err(Refusal::MoveUnderWay.into()),
                    None if state.phase == to => {
                        return Ok(self.before(Outcome::Move { number: state.epoch }));
                    }
                    // What was looked at was of another move.
                    None if from.is_some_and(|from| from != state.phase) || !state.phase.is_next_to(to) => {
                        return Err(Refusal::PhaseNotNext.into());
                    }
                    None => {}
                }
                let without = (!without.is_empty()).then_some(without);
                one(Event::MoveBegun { capability, number: state.moves + 1, to, by, reason, without })
            }
            Command::NoteMove { capability, number, step, note } => {
                let state = self.legacy.capability(capability);
                let moving = state.moving.filter(|moving| moving.number == number);
                let moving = moving.ok_or(Refusal::NoSuchMove)?;
                if moving.has_noted(step) {
                    return Ok(self.before(Outcome::Move { number }));
                }
                one(Event::MoveNoted { capability, step, note })
            }
            Command::FinishMove { capability, number } => {
                let state = self.legacy.capability(capability);
                if state.moving.is_none() && state.epoch == number {
                    return Ok(self.before(Outcome::Move { number }));
                }
                let moving = state.moving.filter(|moving| moving.number == number);
                let moving = moving.ok_or(Refusal::NoSuchMove)?;
                if state.phase.switches(moving.to) {
                    return Err(Refusal::MoveNotOurs.into());
                }
                one(Event::MoveDone { capability })
            }
            Command::AbortMove { capability, number, why, fenced } => {
                let state = self.legacy.capability(capability);
                let moving = state.moving.filter(|moving| moving.number == number);
                let Some(moving) = moving else { return Err(Refusal::NoSuchMove.into()) };
                if moving.has_noted(MoveStep::Switched) && !fenced {
                    return Err(Refusal::MoveNotOurs.into());
                }
                one(Event::MoveAborted { capability, why })
            }
            Command::SetSource { capability, source, position } => {
                one(Event::SourceSet { capability, source, position })
            }
            Command::EndCopy { capability } => {
                let state = self.legacy.capability(capability);
                let source = state.source.ok_or(Refusal::SourceUnknown)?;
                if !source.copying {
                    return Ok(self.before(Outcome::Noted));
                }
                one(Event::SourceCopied { capability })
            }
            Command::NoteBreach { capability, sku, location, what, position, index } => {
                if self.legacy.capability(capability).breach_is_known(position, index) {
                    return Ok(self.before(Outcome::Noted));
                }
                one(Event::BreachNoted { capability, sku, location, what, position, index })
            }
            Command::NoteTakeover { capability, number, phase, epoch } => {
                let state = self.legacy.capability(capability);
                if state.epoch != epoch || !state.is_taken_over_by(number, phase) {
                    return Ok(self.before(Outcome::Noted));
                }
                let events = state.takeover(capability, number, phase);
                Ok(Decided::Many(events.into_iter().map(AnyEvent::Legacy).collect()))
            }
            Command::NoteBreaches { capability, breaches } => {
                let state = self.legacy.capability(capability);
                match legacy::breaches::note(&state, capability, breaches)? {
                    Some(event) => one(event),
                    None => Ok(self.before(Outcome::Noted)),
                }
            }
            Command::NoteKnown { capability, source, position, until } => {
                Ok(self.note_known(capability, &source, position, until)?)
            }
            Command::NoteReconciled { capability, phase, epoch, position, rows, differing, repaired } => {
                let state = self.legacy.capability(capability);
                if (state.phase, state.epoch) != (phase, epoch) {
                    return Ok(self.before(Outcome::Noted));
                }
                one(Event::Reconciled { capability, position, rows, differing, repaired })
            }
        }
    }

    /// Nothing to do: the answer, as of now.
    fn before(&self, outcome: Outcome) -> Decision {
        Decided::Before(AnyOutcome::Legacy(outcome), self.seq)
    }

    fn apply_source(&self, batch: SourceBatch) -> Result<Decision, Refusal> {
        let SourceBatch { capability, source, position, part, rows, outbox, switched } = batch;
        let state = self.legacy.capability(capability);
        let known = state.source.as_ref().filter(|known| known.id == source);
        let known = known.ok_or(Refusal::SourceUnknown)?;
        if !known.follows(position, part).ok_or(Refusal::SourceGap)? {
            let (position, part) = (known.position, known.part);
            return Ok(self.before(Outcome::Source { position, part }));
        }
        let taken = state.taken.as_deref().filter(|_| known.copying).unwrap_or_default();
        let outbox: Vec<OutboxItem> = outbox.into_iter().filter(|item| !taken.contains(&item.id)).collect();
        let fits = rows.len().max(outbox.len()) <= limits::SOURCE_ROWS_MAX;
        if !fits {
            return Err(Refusal::MirrorTooLarge);
        }
        let rows_count = if state.phase.leads() { 0 } else { rows.len() };
        let books = self.books(capability, &rows[..rows_count], &outbox)?;
        let mut events = books.events;
        events.extend(Books::settle(self, books.items));
        if let Some((number, phase)) = switched {
            if state.is_taken_over_by(number, phase) {
                // How far the stream is means nothing any more: the rows are copied anew.
                events.extend(state.takeover(capability, number, phase).into_iter().map(AnyEvent::Legacy));
                return Ok(Decided::Many(events));
            }
            let asked_for =
                state.moving.as_ref().is_some_and(|moving| (moving.number, moving.to) == (number, phase));
            // What is older than the last move that was done is history, told late: who leads is as it was.
            let known = !state.phase.switches(phase)
                && (number <= state.epoch || (number <= state.moves && phase == state.phase));
            if !asked_for && !known {
                return Err(Refusal::NoSuchMove);
            }
            // Where nobody's leadership changes, whoever drives the move has more to do before it is done.
            if asked_for && state.phase.switches(phase) {
                events.push(AnyEvent::Legacy(Event::MoveDone { capability }));
            }
        }
        let ids = (!outbox.is_empty()).then(|| outbox.iter().map(|item| item.id).collect());
        // Both fit: checked above.
        let (rows, outbox) = (rows.len() as u32, outbox.len() as u32);
        events.push(AnyEvent::Legacy(Event::SourceApplied { capability, position, part, rows, outbox, ids }));
        Ok(Decided::Many(events))
    }
}

impl State {
    /// What rows and messages come to. A message that cannot be so, such as an impossible count, is noted as refused: neither the
    /// rest of its transaction nor what comes after it may wait for it.
    fn books(
        &self,
        capability: Capability,
        rows: &[MirrorRow],
        outbox: &[OutboxItem],
    ) -> Result<Books<'_>, Refusal> {
        let mut impossible: BTreeMap<usize, Refusal> = BTreeMap::new();
        // From the beginning without it, since it may be half taken in: that is rare, and ends when all are known.
        loop {
            let mut books = Books::new(self);
            rows.iter().try_for_each(|row| books.take_row(row))?;
            let taken =
                outbox.iter().enumerate().try_for_each(|(place, item)| match impossible.get(&place) {
                    None => books.take_message(capability, item).map_err(|refusal| (place, refusal)),
                    Some(refusal) => {
                        books.refuse(
                            capability,
                            item.id,
                            &format!("{}: {}", said(&item.kind), refusal.sentence()),
                        );
                        Ok(())
                    }
                });
            match taken {
                Ok(()) => return Ok(books),
                Err((place, refusal)) => {
                    impossible.insert(place, refusal);
                }
            }
        }
    }
}

/// The items that a batch touches, as they come to be one row and one message after the other. Nothing is in the log before
/// all of it is known to fit.
struct Books<'a> {
    state: &'a State,
    items: BTreeMap<ItemNo, Work>,
    /// Items that are new here, in order of their numbers.
    created: Vec<(SkuId, LocationId)>,
    /// Reservations that were committed by this batch.
    committed: Vec<ReservationNo>,
    events: Vec<AnyEvent>,
}

/// One item while a batch is looked at.
struct Work {
    level: MirrorLevel,
    /// What is on hand after the events so far, without a count.
    counted: u32,
    /// What the old books said before; none if it was not theirs.
    before: Option<Mirrored>,
}

impl<'a> Books<'a> {
    fn new(state: &'a State) -> Self {
        let (items, created, committed) = (BTreeMap::new(), Vec::new(), Vec::new());
        Self { state, items, created, committed, events: Vec::new() }
    }

    /// The item, made if it is new.
    fn item(&mut self, sku: &SkuId, location: &LocationId) -> Result<&mut Work, Refusal> {
        let known = self.state.stock.find(sku, location);
        let no = match known {
            Some(item) => item,
            None => self.new_item(sku, location)?,
        };
        self.work(no)
    }

    fn new_item(&mut self, sku: &SkuId, location: &LocationId) -> Result<ItemNo, Refusal> {
        let items = self.state.stock.items_count();
        let made = self.created.iter().position(|(s, l)| s == sku && l == location);
        let number = |place: usize| ItemNo::new((items + place) as u32 + 1);
        if let Some(place) = made {
            return Ok(number(place));
        }
        if items + self.created.len() >= limits::ITEMS_MAX as usize || !self.has_place(location) {
            return Err(Refusal::MirrorTooLarge);
        }
        let item = number(self.created.len());
        self.created.push((sku.clone(), location.clone()));
        let (sku, location) = (sku.clone(), location.clone());
        self.events.push(stock::Event::ItemCreated { item, sku, location, by: old_shop() }.into());
        Ok(item)
    }

    /// Whether there is room for `location`.
    fn has_place(&self, location: &LocationId) -> bool {
        let known = self.state.stock.locations();
        if known.contains(location) {
            return true;
        }
        let mut new: Vec<_> =
            self.created.iter().map(|(_, new)| new).filter(|new| !known.contains(new)).collect();
        new.sort();
        new.dedup();
        new.contains(&location) || known.len() + new.len() < limits::LOCATIONS_MAX
    }

    fn work(&mut self, no: ItemNo) -> Result<&mut Work, Refusal> {
        if let Some(item) = self.state.stock.item(no) {
            let Level { promised, owed, backorder_max, preorder_max, .. } = *item.level;
            if [promised, owed, backorder_max, preorder_max] != [0; 4] {
                return Err(Refusal::MirrorConflict);
            }
        }
        Ok(self.items.entry(no).or_insert_with(|| {
            let (on_hand, held) =
                self.state.stock.item(no).map_or((0, 0), |item| (item.level.on_hand, item.level.held));
            let before = self.state.legacy.mirrored(no);
            let Mirrored { allocated, short } = before.unwrap_or_default();
            Work { level: MirrorLevel { on_hand, held, allocated, short }, counted: on_hand, before }
        }))
    }

    /// A row of the old shop as it is now.
    fn take_row(&mut self, row: &MirrorRow) -> Result<(), Refusal> {
        let work = self.item(&row.sku, &row.location)?;
        // Preflight warns of negative ones; here they count as none.
        let allocated = u32::try_from(row.allocated.max(0)).map_err(|_| Refusal::MirrorTooLarge)?;
        work.level.allocated = allocated;
        work.level.set_free(row.in_stock - i64::from(allocated))
    }

    /// What the old shop says.
    fn take_message(&mut self, capability: Capability, item: &OutboxItem) -> Result<(), Refusal> {
        let refused = match &item.kind {
            OutboxKind::Allocate { reservation } => self.allocate(*reservation)?,
            OutboxKind::Ship { sku, location, quantity } => {
                self.settle_sold(sku, location, *quantity, false)?
            }
            OutboxKind::Deallocate { sku, location, quantity } => {
                self.settle_sold(sku, location, *quantity, true)?
            }
            OutboxKind::Count { sku, location, in_stock, free } => {
                let level = &mut self.item(sku, location)?.level;
                let taken = if *free { -i64::from(level.held) } else { i64::from(level.allocated) };
                level.set_free(i64::from(*in_stock) - taken)?;
                None
            }
            OutboxKind::Unreadable { why } => Some(why.as_str().to_owned()),
        };
        if let Some(why) = refused {
            self.refuse(capability, item.id, &why);
        }
        Ok(())
    }

    fn refuse(&mut self, capability: Capability, id: u64, why: &str) {
        let why = Reason::new(why).expect("sentences of ours are short and printable");
        self.events.push(AnyEvent::Legacy(Event::OutboxRefused { capability, id, why }));
    }

    /// Units that were sold leave, or come `back` because their order was cancelled. The reason, if that cannot be.
    fn settle_sold(
        &mut self,
        sku: &SkuId,
        location: &LocationId,
        quantity: u32,
        back: bool,
    ) -> Result<Option<String>, Refusal> {
        let item = self.state.stock.find(sku, location);
        let Some(item) = item.filter(|item| self.state.legacy.mirrored(*item).is_some()) else {
            return Ok(Some(format!("{sku} at {location} is not known as an item of the old shop")));
        };
        let level = &mut self.work(item)?.level;
        if level.allocated < quantity {
            let sold = level.allocated;
            return Ok(Some(format!(
                "{quantity} of {sku} were to leave or come back: only {sold} are sold and not shipped"
            )));
        }
        level.allocated -= quantity;
        if back {
            level.set_free(level.free_of_holds() + i64::from(quantity))?;
        }
        Ok(None)
    }

    /// An order of the old shop is there: what was reserved for it is sold. Whatever became of the reservation, the goods are
    /// sold; at worst they are short. The reason, if somebody must look at it.
    fn allocate(&mut self, no: ReservationNo) -> Result<Option<String>, Refusal> {
        let Some(row) = self.state.stock.reservation(no) else {
            return Ok(Some(format!("allocate {no}: there is no such reservation any more")));
        };
        if row.state == ReservationState::Committed || self.committed.contains(&no) {
            return Ok(None);
        }
        let now = self.state.time();
        // While it is held, its goods are nobody else's: it is as if this had come in time.
        let live = row.state == ReservationState::Held && (row.at > now || self.state.is_waiting(&row));
        // Its time has come, even if that has not become an event yet: it becomes one now.
        let lapsing = row.state == ReservationState::Held && !live;
        self.committed.push(no);
        let mut short = 0;
        let theirs = row.parts.iter().filter(|part| self.state.legacy.mirrored(part.item).is_some());
        for part in theirs {
            let work = self.work(part.item)?;
            if live || lapsing {
                work.level.held -= part.held;
            }
            if live {
                work.level.on_hand -= part.held;
                work.counted -= part.held;
            }
            work.level.allocated =
                work.level.allocated.checked_add(part.held).ok_or(Refusal::MirrorTooLarge)?;
            if !live {
                let before = work.level.short;
                work.level.set_free(work.level.free_of_holds() - i64::from(part.held))?;
                short += work.level.short - before.min(work.level.short);
            }
        }
        let reservation = no;
        if live {
            self.events.push(stock::Event::ReservationCommitted { reservation }.into());
        } else if lapsing {
            self.events.push(stock::Event::ReservationExpired { reservation }.into());
        }
        Ok((short > 0)
            .then(|| format!("allocate {no}: it came after the hold had lapsed; {short} units are short")))
    }

    /// The events that bring every touched item to where it came to be.
    fn settle(state: &State, items: BTreeMap<ItemNo, Work>) -> Vec<AnyEvent> {
        let mut events = Vec::new();
        let leads = state.legacy.is_open(Capability::Stock);
        for (item, work) in items {
            let MirrorLevel { on_hand, allocated, short, .. } = work.level;
            if on_hand != work.counted {
                let reason = Reason::new(if leads { "said by the old shop" } else { "as in the old shop" });
                let reason = reason.expect("short and printable");
                events.push(stock::Event::StockSet { item, on_hand, by: old_shop(), reason }.into());
            }
            let now = Mirrored { allocated, short };
            if work.before != Some(now) {
                events.push(AnyEvent::Legacy(Event::ItemMirrored { item, allocated, short }));
            }
        }
        events
    }
}

impl MirrorLevel {
    /// What is on hand, less what is short.
    fn free_of_holds(self) -> i64 {
        i64::from(self.on_hand) - i64::from(self.short)
    }

    /// Sets what is there and not sold; what is less than nothing, or less than what is held, is short.
    fn set_free(&mut self, units: i64) -> Result<(), Refusal> {
        let on_hand = units.max(i64::from(self.held));
        self.on_hand = u32::try_from(on_hand)
            .ok()
            .filter(|units| *units <= limits::ITEM_UNITS_MAX)
            .ok_or(Refusal::MirrorTooLarge)?;
        self.short = u32::try_from(on_hand - units).map_err(|_| Refusal::MirrorTooLarge)?;
        Ok(())
    }
}

/// A message in words.
fn said(kind: &OutboxKind) -> String {
    match kind {
        OutboxKind::Allocate { reservation } => format!("allocate {reservation}"),
        OutboxKind::Ship { sku, location, quantity } => format!("ship {quantity} of {sku} at {location}"),
        OutboxKind::Deallocate { sku, location, quantity } => {
            format!("deallocate {quantity} of {sku} at {location}")
        }
        OutboxKind::Count { sku, location, in_stock, .. } => {
            format!("count {in_stock} of {sku} at {location}")
        }
        OutboxKind::Unreadable { why } => why.as_str().to_owned(),
    }
}

/// Who is named in the log for what the old shop did.
fn old_shop() -> Actor {
    Actor::new("old-shop").expect("a valid name")
}
