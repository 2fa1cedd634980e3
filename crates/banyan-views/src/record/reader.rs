//! The reading side of the record store.

use super::{MEMBER_PAGE_MAX, PAGE_MAX, file, members};
use crate::{Cure, ViewError};
use banyan_domain::coupon::{Audience, Benefit, CampaignDefinition, CouponState, Stacking, Totals};
use banyan_domain::{
    CampaignId, CampaignNo, CouponId, Currency, MemberId, Millis, Money, SegmentName, Timestamp,
};
use banyan_log::Seq;
use rusqlite::{Connection, OptionalExtension, Row, Transaction, TransactionBehavior, params};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, OnceLock, PoisonError, RwLock, RwLockWriteGuard};

/// Idle connections kept for the next reader.
const CONNECTIONS_IDLE_MAX: usize = 4;

/// One coupon as the store has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CouponRecord {
    /// Which coupon.
    pub coupon: CouponId,
    /// The public id of its campaign.
    pub campaign: CampaignId,
    /// Its code, as people type it.
    pub code: Box<str>,
    /// Whose it is.
    pub member: MemberId,
    /// Its state at the checkpoint.
    pub state: CouponState,
    /// When it was issued.
    pub issued_at: Timestamp,
    /// When it expires, if ever.
    pub expires_at: Option<Timestamp>,
    /// The order that holds or redeemed it, if one does.
    pub order: Option<Box<str>>,
    /// When its hold lapses, while held.
    pub held_until: Option<Timestamp>,
    /// When it was redeemed, if it was.
    pub redeemed_at: Option<Timestamp>,
    /// The event that issued it.
    pub seq: Seq,
}

/// A page of a member's coupons.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemberPage {
    /// The coupons, oldest first.
    pub coupons: Vec<CouponRecord>,
    /// The cursor of the next page, if there is one.
    pub next: Option<Seq>,
    /// The checkpoint of the store: what was read is exactly the log up to here.
    pub checkpoint: Seq,
}

/// One campaign as the store has it, retired ones included.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CampaignRecord {
    /// Its number.
    pub no: CampaignNo,
    /// Its definition, with the quantity and the end as changed since.
    pub definition: CampaignDefinition,
    /// Whether issuing is paused.
    pub paused: bool,
    /// When it ended, if it did.
    pub ended_at: Option<Timestamp>,
    /// When it left the hot state, if it did.
    pub retired_at: Option<Timestamp>,
    /// Its totals.
    pub totals: Totals,
    /// Members on its allow-list.
    pub allowed: u64,
    /// When it was created.
    pub created_at: Timestamp,
    /// The last event that changed its definition or state.
    pub seq: Seq,
}

/// An event in the parked lane.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParkedEvent {
    /// Which event.
    pub seq: Seq,
    /// What it is about, and all later events of which wait with it.
    pub key: String,
    /// How it contradicts the rows.
    pub error: String,
    /// When it happened.
    pub at: Timestamp,
}

/// Reads the record store, from any thread; clones share a few connections. Calls block for as long as SQLite takes,
/// usually well under a millisecond: in async code, call them on a blocking thread.
#[derive(Clone)]
pub struct RecordReader {
    pub(super) gate: Arc<Gate>,
}

/// The connections of all readers, which must be gone while the file is being replaced.
pub(super) struct Gate {
    path: PathBuf,
    member_key: OnceLock<[u8; 16]>,
    /// Held for reading by whoever uses a connection, for writing while the file is replaced. What it holds is why nothing may
    /// be read: the file tells of another log.
    open: RwLock<Option<String>>,
    idle: Mutex<Vec<Connection>>,
}

impl Gate {
    pub(super) fn new(path: PathBuf, key: Option<[u8; 16]>) -> Self {
        let gate =
            Self { path, member_key: OnceLock::new(), open: RwLock::new(None), idle: Mutex::default() };
        if let Some(key) = key {
            gate.set_key(key);
        }
        gate
    }

    /// Notes the key that members are hashed with. A store never changes it.
    pub(super) fn set_key(&self, key: [u8; 16]) {
        self.member_key.get_or_init(|| key);
    }

    /// Waits until nobody reads, closes every connection, and keeps new ones out as long as the guard lives.
    pub(super) fn close(&self) -> RwLockWriteGuard<'_, Option<String>> {
        let guard = self.open.write().unwrap_or_else(PoisonError::into_inner);
        self.idle().clear();
        guard
    }

    /// Answers every reader with `why`, until the file is replaced.
    pub(super) fn distrust(&self, why: &str) {
        *self.close() = Some(why.to_owned());
    }

    fn idle(&self) -> std::sync::MutexGuard<'_, Vec<Connection>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads one consistent state of the file.
    pub(super) fn read<T>(
        &self,
        doing: &str,
        read: impl FnOnce(&Connection) -> rusqlite::Result<T>,
    ) -> Result<T, ViewError> {
        let open = self.open.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(why) = &*open {
            return Err(ViewError::new(Cure::Rebuild, format!("reading {doing}: {why}")));
        }
        let idle = self.idle().pop();
        let db = match idle {
            Some(db) => db,
            None => file::open_reader(&self.path)?,
        };
        let failed = |error| file::failed(format!("reading {doing} from {}", self.path.display()), error);
        let transaction = Transaction::new_unchecked(&db, TransactionBehavior::Deferred).map_err(failed)?;
        let result = read(&transaction).map_err(failed)?;
        transaction.commit().map_err(failed)?;
        let mut idle = self.idle();
        if idle.len() < CONNECTIONS_IDLE_MAX {
            idle.push(db);
        }
        Ok(result)
    }
}

const COUPON_SQL: &str = "
    SELECT k.id, c.id, k.code, k.member,
      CASE WHEN k.state <> 0 THEN k.state WHEN h.coupon IS NOT NULL THEN 1
        WHEN coalesce(f.coupon, n.coupon) IS NOT NULL THEN 2 ELSE 0 END,
      k.issued_at, k.issued_at + c.valid_for_ms, coalesce(h.order_id, f.order_id, n.order_id), h.until,
      coalesce(f.at, n.at), k.seq
    FROM coupon k JOIN campaign c ON c.no = k.id >> 40
    LEFT JOIN hold h ON h.coupon = k.id
    LEFT JOIN redemption_filed f ON f.coupon = k.id LEFT JOIN redemption_recent n ON n.coupon = k.id
    WHERE k.id = ?1";

const CAMPAIGN_SQL: &str = "
    SELECT no, id, name, quantity, per_member, benefit, amount_minor, basis_points, cap_minor, currency,
      minimum_order_minor, minimum_order_currency, starts_at, ends_at, audience, segment, valid_for_ms, stacking,
      paused, ended_at, retired_at, issued, held, redeemed, revoked, expired, allowed, created_at, seq
    FROM campaign";

impl RecordReader {
    pub(super) const fn new(gate: Arc<Gate>) -> Self {
        Self { gate }
    }

    /// The coupons of `member`, oldest first: up to `limit` of them (at most [`MEMBER_PAGE_MAX`]) issued after `cursor`.
    /// To see at least the effect of some event, wait for it first with [`crate::ViewProgress::wait_for`].
    ///
    /// # Errors
    /// [`ViewError`] if the store cannot be read.
    pub fn member_coupons(
        &self,
        member: &MemberId,
        cursor: Option<Seq>,
        limit: usize,
    ) -> Result<MemberPage, ViewError> {
        let limit = limit.clamp(1, MEMBER_PAGE_MAX);
        let after = cursor.unwrap_or(Seq::ZERO).0.min(i64::MAX as u64);
        self.gate.read("the coupons of a member", |db| {
            let checkpoint = checkpoint(db)?;
            let mut page = MemberPage { coupons: Vec::new(), next: None, checkpoint };
            let Some(key) = self.gate.member_key.get() else {
                // Without the key nothing was ever stored.
                return Ok(page);
            };
            let mut read = db.prepare_cached(COUPON_SQL)?;
            for entry in members::find(db, members::hash(key, member), after)? {
                let coupon = read.query_row([entry.coupon as i64], coupon)?;
                if coupon.member != *member {
                    continue;
                }
                if page.coupons.len() == limit {
                    page.next = page.coupons.last().map(|last| last.seq);
                    break;
                }
                page.coupons.push(coupon);
            }
            Ok(page)
        })
    }

    /// One coupon, if it was issued.
    ///
    /// # Errors
    /// [`ViewError`] if the store cannot be read.
    pub fn coupon(&self, id: CouponId) -> Result<Option<CouponRecord>, ViewError> {
        self.gate.read("a coupon", |db| {
            db.prepare_cached(COUPON_SQL)?.query_row([id.get() as i64], coupon).optional()
        })
    }

    /// The campaign named `id`, if there ever was one.
    ///
    /// # Errors
    /// [`ViewError`] if the store cannot be read.
    pub fn campaign(&self, id: &CampaignId) -> Result<Option<CampaignRecord>, ViewError> {
        let sql = format!("{CAMPAIGN_SQL} WHERE id = ?1");
        self.gate
            .read("a campaign", |db| db.prepare_cached(&sql)?.query_row([id.as_str()], campaign).optional())
    }

    /// Up to `limit` campaigns with numbers after `after`, in order of creation.
    ///
    /// # Errors
    /// [`ViewError`] if the store cannot be read.
    pub fn campaigns(&self, after: CampaignNo, limit: usize) -> Result<Vec<CampaignRecord>, ViewError> {
        let sql = format!("{CAMPAIGN_SQL} WHERE no > ?1 ORDER BY no LIMIT ?2");
        self.gate.read("campaigns", |db| {
            let mut read = db.prepare_cached(&sql)?;
            read.query_map(params![after.get(), limit as i64], campaign)?.collect()
        })
    }

    /// Up to `limit` parked events after `after`, in order.
    ///
    /// # Errors
    /// [`ViewError`] if the store cannot be read.
    pub fn parked(&self, after: Seq, limit: usize) -> Result<Vec<ParkedEvent>, ViewError> {
        self.gate.read("the parked lane", |db| {
            let sql = "SELECT seq, key, error, at FROM parked WHERE seq > ?1 ORDER BY seq LIMIT ?2";
            let mut read = db.prepare_cached(sql)?;
            let event = |row: &Row<'_>| {
                Ok(ParkedEvent { seq: seq(row, 0)?, key: row.get(1)?, error: row.get(2)?, at: time(row, 3)? })
            };
            read.query_map(params![after.0 as i64, limit as i64], event)?.collect()
        })
    }

    /// Seq of the last event whose effect is stored.
    ///
    /// # Errors
    /// [`ViewError`] if the store cannot be read.
    pub fn checkpoint(&self) -> Result<Seq, ViewError> {
        self.gate.read("the checkpoint", checkpoint)
    }
}

pub(super) fn checkpoint(db: &Connection) -> rusqlite::Result<Seq> {
    let mut read = db.prepare_cached("SELECT seq FROM checkpoint WHERE view = 'record'")?;
    Ok(read.query_row([], |row| seq(row, 0)).optional()?.unwrap_or_default())
}

fn coupon(row: &Row<'_>) -> rusqlite::Result<CouponRecord> {
    let state = u8::try_from(row.get::<_, i64>(4)?).ok().and_then(CouponState::from_u8);
    Ok(CouponRecord {
        coupon: CouponId::from_u64(row.get::<_, i64>(0)? as u64)
            .ok_or_else(|| wrong(0, "a coupon number"))?,
        campaign: CampaignId::new(row.get::<_, String>(1)?).map_err(|_| wrong(1, "a campaign id"))?,
        code: row.get::<_, String>(2)?.into(),
        member: MemberId::new(row.get::<_, String>(3)?).map_err(|_| wrong(3, "a member id"))?,
        state: state.ok_or_else(|| wrong(4, "a coupon state"))?,
        issued_at: time(row, 5)?,
        expires_at: maybe_time(row, 6)?,
        order: row.get::<_, Option<String>>(7)?.map(Into::into),
        held_until: maybe_time(row, 8)?,
        redeemed_at: maybe_time(row, 9)?,
        seq: seq(row, 10)?,
    })
}

fn campaign(row: &Row<'_>) -> rusqlite::Result<CampaignRecord> {
    let count = |column| row.get::<_, i64>(column).map(|count| count as u64);
    let totals = Totals {
        issued: count(21)?,
        held: count(22)?,
        redeemed: count(23)?,
        revoked: count(24)?,
        expired: count(25)?,
    };
    Ok(CampaignRecord {
        no: CampaignNo::new(row.get(0)?),
        definition: definition(row)?,
        paused: row.get(18)?,
        ended_at: maybe_time(row, 19)?,
        retired_at: maybe_time(row, 20)?,
        totals,
        allowed: count(26)?,
        created_at: time(row, 27)?,
        seq: seq(row, 28)?,
    })
}

fn definition(row: &Row<'_>) -> rusqlite::Result<CampaignDefinition> {
    let benefit = match row.get::<_, String>(5)?.as_str() {
        "amount" => Benefit::Amount(money(row, 6, 9)?.ok_or_else(|| wrong(6, "an amount"))?),
        "percent" => Benefit::Percent { basis_points: row.get(7)?, cap: money(row, 8, 9)? },
        "free_shipping" => Benefit::FreeShipping,
        _ => return Err(wrong(5, "a benefit")),
    };
    let audience = match row.get::<_, String>(14)?.as_str() {
        "everyone" => Audience::Everyone,
        "allow_list" => Audience::AllowList,
        "segment" => {
            let name = SegmentName::new(row.get::<_, String>(15)?);
            Audience::Segment(name.map_err(|_| wrong(15, "a segment"))?)
        }
        _ => return Err(wrong(14, "an audience")),
    };
    let stacking = match row.get::<_, String>(17)?.as_str() {
        "exclusive" => Stacking::Exclusive,
        "stackable" => Stacking::Stackable,
        _ => return Err(wrong(17, "a stacking")),
    };
    Ok(CampaignDefinition {
        id: CampaignId::new(row.get::<_, String>(1)?).map_err(|_| wrong(1, "a campaign id"))?,
        name: row.get::<_, String>(2)?.into(),
        quantity: row.get::<_, Option<i64>>(3)?.map(|quantity| quantity as u64),
        per_member: row.get(4)?,
        benefit,
        minimum_order: money(row, 10, 11)?,
        starts_at: maybe_time(row, 12)?,
        ends_at: maybe_time(row, 13)?,
        audience,
        valid_for: row.get::<_, Option<i64>>(16)?.map(|span| Millis::new(span as u64)),
        stacking,
    })
}

fn money(row: &Row<'_>, minor: usize, currency: usize) -> rusqlite::Result<Option<Money>> {
    let Some(minor) = row.get::<_, Option<i64>>(minor)? else { return Ok(None) };
    let code: String = row.get(currency)?;
    let currency = Currency::new(&code).map_err(|_| wrong(currency, "a currency"))?;
    Ok(Some(Money { minor, currency }))
}

pub(super) fn seq(row: &Row<'_>, column: usize) -> rusqlite::Result<Seq> {
    row.get::<_, i64>(column).map(|seq| Seq(seq as u64))
}

pub(super) fn time(row: &Row<'_>, column: usize) -> rusqlite::Result<Timestamp> {
    row.get::<_, i64>(column).map(|ms| Timestamp::from_millis(ms as u64))
}

pub(super) fn maybe_time(row: &Row<'_>, column: usize) -> rusqlite::Result<Option<Timestamp>> {
    row.get::<_, Option<i64>>(column).map(|ms| ms.map(|ms| Timestamp::from_millis(ms as u64)))
}

pub(super) fn text(row: &Row<'_>, column: usize) -> rusqlite::Result<Box<str>> {
    row.get::<_, String>(column).map(Into::into)
}

pub(super) fn maybe_text(row: &Row<'_>, column: usize) -> rusqlite::Result<Option<Box<str>>> {
    Ok(row.get::<_, Option<String>>(column)?.map(Into::into))
}

/// How many rows a page has, of as many as were asked for.
pub(super) fn page(limit: usize) -> usize {
    limit.clamp(1, PAGE_MAX)
}

/// A number as columns hold it.
pub(super) fn column(no: u64) -> i64 {
    i64::try_from(no).unwrap_or(i64::MAX)
}

/// A column that does not hold what this program wrote there.
pub(super) fn wrong(column: usize, expected: &str) -> rusqlite::Error {
    let what = format!("the column does not hold {expected}: the file was changed by somebody else");
    rusqlite::Error::FromSqlConversionFailure(column, rusqlite::types::Type::Null, what.into())
}

impl core::fmt::Debug for RecordReader {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "RecordReader({})", self.gate.path.display())
    }
}
