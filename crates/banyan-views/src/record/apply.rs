//! One batch into the file, in one transaction.

use super::coupons::PendingCoupons;
use super::holds::HoldRows;
use super::ledger::LedgerRows;
use super::legacy;
use super::members::{Entry, MemberIndex};
use super::orders::OrderRows;
use super::parked::{Key, ParkedLane};
use super::redemptions::Redemptions;
use super::rows::{Change, TotalsChange, ms};
use super::sagas::SagaRows;
use super::stock::{Movements, StockRows};
use super::view::StoreKeys;
use crate::{Applied, Batch};
use banyan_domain::coupon::Event as CouponEvent;
use banyan_domain::{CampaignNo, Event, Timestamp};
use banyan_log::Seq;
use rusqlite::{Connection, ErrorCode, Transaction, TransactionBehavior, params};
use std::collections::BTreeMap;

/// Why a batch, or one event of it, could not be applied.
#[derive(Debug)]
pub(super) enum Fault {
    /// SQLite failed: no event is to blame.
    Store(rusqlite::Error),
    /// The event contradicts the rows.
    Poison {
        /// What must wait; the event's own key if there is none.
        key: Option<Key>,
        /// How it contradicts them.
        error: String,
    },
    /// The file belongs to another store, or the caller gave no keys.
    Keys(String),
}

/// Where the rows are that an event changes, and where in the log and when it happened, as columns hold it.
#[derive(Clone, Copy)]
pub(super) struct Moment<'a> {
    pub db: &'a Connection,
    pub seq: i64,
    pub at: i64,
}

/// How events are applied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Care {
    /// All at once; if one contradicts the rows, the whole batch fails.
    Fast,
    /// Each in a savepoint of its own; those that contradict the rows are parked.
    EachAlone,
}

/// What a batch works on: the file and what is kept in memory of it. If applying fails, the memory must be read again.
pub(super) struct Target<'a> {
    pub db: &'a Connection,
    pub keys: &'a mut Option<StoreKeys>,
    pub members: &'a mut MemberIndex,
    pub redemptions: &'a mut Redemptions,
    pub movements: &'a mut Movements,
    pub parked: &'a mut ParkedLane,
    pub checkpoint: Seq,
}

impl Fault {
    pub(super) fn poison(error: impl Into<String>) -> Self {
        Self::Poison { key: None, error: error.into() }
    }

    pub(super) fn poison_campaign(no: CampaignNo, error: &str) -> Self {
        Self::Poison { key: Some(Key::Campaign(no)), error: error.into() }
    }
}

impl From<rusqlite::Error> for Fault {
    fn from(error: rusqlite::Error) -> Self {
        match error.sqlite_error_code() {
            Some(ErrorCode::ConstraintViolation | ErrorCode::TypeMismatch | ErrorCode::TooBig) => {
                Self::poison(error.to_string())
            }
            _ => Self::Store(error),
        }
    }
}

/// Applies what is new in `batch`, with the checkpoint, in one transaction.
pub(super) fn apply(target: Target<'_>, batch: &Batch, care: Care) -> Result<Applied, Fault> {
    let Target { db, keys, members, redemptions, movements, parked, checkpoint } = target;
    let Some(((last, time), hash)) = batch.last_seq().zip(batch.last_time()).zip(batch.last_hash()) else {
        return Ok(Applied { checkpoint, ..Applied::default() });
    };
    if last <= checkpoint {
        return Ok(Applied { checkpoint, ..Applied::default() });
    }
    let transaction = Transaction::new_unchecked(db, TransactionBehavior::Immediate)?;
    let before = parked.events();
    let mut session = Session {
        db,
        keys,
        redemptions,
        movements,
        parked,
        care,
        pending: PendingCoupons::default(),
        totals: BTreeMap::new(),
        entries: Vec::new(),
        stock: StockRows::default(),
        ledger: LedgerRows::default(),
        sagas: SagaRows::default(),
        orders: OrderRows::default(),
        holds: HoldRows::default(),
    };
    for block in batch.blocks() {
        for (seq, entry) in block.numbered().filter(|(seq, _)| *seq > checkpoint) {
            session.event(seq, block.time, &entry.event)?;
        }
    }
    session.flush()?;
    session.redemptions.file(db)?;
    session.movements.file(db)?;
    let mut entries = session.entries;
    members.add(db, &mut entries)?;
    let fingerprint = keys.as_ref().map(|keys| keys.fingerprint);
    db.prepare_cached(
        "INSERT INTO checkpoint (view, seq, time, store, block) VALUES ('record', ?1, ?2, ?3, ?4)
         ON CONFLICT (view) DO UPDATE SET seq = ?1, time = ?2, store = ?3, block = ?4",
    )?
    .execute(params![last.0 as i64, time.as_millis() as i64, fingerprint, hash.0])?;
    transaction.commit()?;
    Ok(Applied { checkpoint: last, events: last.0 - checkpoint.0, parked: parked.events() - before })
}

/// A transaction under way.
struct Session<'a, 'batch> {
    db: &'a Connection,
    keys: &'a mut Option<StoreKeys>,
    redemptions: &'a mut Redemptions,
    movements: &'a mut Movements,
    parked: &'a mut ParkedLane,
    care: Care,
    pending: PendingCoupons<'batch>,
    totals: BTreeMap<CampaignNo, TotalsChange>,
    entries: Vec<Entry>,
    stock: StockRows,
    ledger: LedgerRows,
    sagas: SagaRows,
    orders: OrderRows<'batch>,
    holds: HoldRows,
}

impl<'batch> Session<'_, 'batch> {
    fn event(&mut self, seq: Seq, at: Timestamp, event: &'batch Event) -> Result<(), Fault> {
        if let Event::StoreCreated { secret } = event {
            return self.store_created(StoreKeys::new(&secret.keys()));
        }
        // As nearly always: nothing is parked, and nobody asks what the event is about.
        if self.parked.is_empty() && self.care == Care::Fast {
            return self.change(seq, at, event);
        }
        let Some(key) = Key::of(event) else { return Ok(()) };
        if !self.parked.is_empty()
            && let Some(blocking) = self.parked.blocks(key)
        {
            let why = format!("waits behind parked events of {blocking}");
            return Ok(self.parked.park(self.db, seq, at, blocking, &why)?);
        }
        match self.care {
            Care::Fast => self.change(seq, at, event),
            Care::EachAlone => self.change_alone(seq, at, event, key),
        }
    }

    fn store_created(&mut self, keys: StoreKeys) -> Result<(), Fault> {
        if self.keys.as_ref().is_some_and(|known| known.fingerprint != keys.fingerprint) {
            let why = "the log belongs to another store than the keys this view was opened with";
            return Err(Fault::Keys(why.into()));
        }
        self.keys.get_or_insert(keys);
        Ok(())
    }

    fn change(&mut self, seq: Seq, at: Timestamp, event: &'batch Event) -> Result<(), Fault> {
        let moment = Moment { db: self.db, seq: seq.0 as i64, at: ms(at) };
        match event {
            Event::Coupon(event) => self.change_coupon(seq, at, event),
            Event::Stock(event) => self.stock.apply(moment, event),
            Event::Pay(event) => self.ledger.apply(moment, event),
            Event::Saga(event) => self.sagas.apply(moment, event),
            Event::Order(event) => self.orders.apply(moment, event),
            Event::Legacy(event) => legacy::apply(moment, event),
            Event::StoreCreated { .. } | Event::StateDigested { .. } | Event::KeyKept { .. } => Ok(()),
        }
    }

    fn change_coupon(&mut self, seq: Seq, at: Timestamp, event: &'batch CouponEvent) -> Result<(), Fault> {
        if let CouponEvent::CouponIssued { coupon, member } = event {
            self.pending.push(*coupon, member, at, seq);
            self.totals.entry(coupon.campaign()).or_default().issued += 1;
            return Ok(());
        }
        // What happens to a coupon after its issue needs its row.
        if self.pending.concern(event) {
            self.flush_pending()?;
        }
        let any_parked = !self.parked.is_empty();
        let (totals, redemptions, holds) = (&mut self.totals, &mut *self.redemptions, &mut self.holds);
        Change { db: self.db, seq, at, totals, redemptions, holds, any_parked }.apply(event)
    }

    fn change_alone(&mut self, seq: Seq, at: Timestamp, event: &'batch Event, own: Key) -> Result<(), Fault> {
        self.db.execute_batch("SAVEPOINT event")?;
        let indexed = self.entries.len();
        match self.change(seq, at, event).and_then(|()| self.flush()) {
            Ok(()) => {}
            Err(Fault::Poison { key, error }) => {
                self.db.execute_batch("ROLLBACK TO event")?;
                self.pending.clear();
                self.totals.clear();
                self.entries.truncate(indexed);
                self.stock = StockRows::default();
                self.ledger = LedgerRows::default();
                self.sagas = SagaRows::default();
                self.orders = OrderRows::default();
                self.holds = HoldRows::default();
                self.parked.park(self.db, seq, at, key.unwrap_or(own), &error)?;
            }
            Err(other) => return Err(other),
        }
        Ok(self.db.execute_batch("RELEASE event")?)
    }

    fn flush(&mut self) -> Result<(), Fault> {
        self.flush_pending()?;
        while let Some((no, change)) = self.totals.pop_first() {
            change.write(self.db, no)?;
        }
        self.stock.flush(self.db, self.movements)?;
        self.ledger.flush(self.db)?;
        self.sagas.flush(self.db)?;
        self.orders.flush(self.db)?;
        Ok(self.holds.flush(self.db)?)
    }

    fn flush_pending(&mut self) -> Result<(), Fault> {
        if self.pending.is_empty() {
            return Ok(());
        }
        let keys = self.keys.as_ref().ok_or_else(|| {
            Fault::Keys("coupons were issued, but the keys of their codes are not known: the view was opened without them, and has not read the log's first event".into())
        })?;
        self.pending.flush(self.db, keys, &mut self.entries)
    }
}
