//! The lane of events that contradict the rows.

use banyan_domain::coupon::Event;
use banyan_domain::{CampaignNo, CouponId, Timestamp};
use banyan_log::Seq;
use core::fmt;
use rusqlite::{Connection, params};
use std::collections::BTreeSet;

/// What an event is about: events of one key must be applied in order, or not at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Key {
    Campaign(CampaignNo),
    Coupon(CouponId),
}

/// The keys that are parked.
#[derive(Debug, Default)]
pub(crate) struct ParkedLane {
    keys: BTreeSet<Key>,
    events: u64,
}

impl Key {
    pub(crate) fn of(event: &Event) -> Self {
        match event {
            Event::CouponIssued { coupon, .. }
            | Event::CouponHeld { coupon, .. }
            | Event::CouponRedeemed { coupon, .. }
            | Event::CouponReleased { coupon, .. }
            | Event::CouponRevoked { coupon, .. } => Self::Coupon(*coupon),
            Event::CampaignCreated { no, .. }
            | Event::CampaignPaused { no, .. }
            | Event::CampaignResumed { no, .. }
            | Event::CampaignExtended { no, .. }
            | Event::CampaignQuantityChanged { no, .. }
            | Event::CampaignEnded { no, .. }
            | Event::CampaignRetired { no }
            | Event::AllowListExtended { no, .. }
            | Event::CouponsExpired { no, .. } => Self::Campaign(*no),
        }
    }

    fn campaign(self) -> CampaignNo {
        match self {
            Self::Campaign(no) => no,
            Self::Coupon(coupon) => coupon.campaign(),
        }
    }
}

impl ParkedLane {
    /// Reads the lane.
    pub(crate) fn load(db: &Connection) -> rusqlite::Result<Self> {
        let mut read = db.prepare("SELECT campaign, coupon FROM parked")?;
        let mut rows = read.query([])?;
        let mut lane = Self::default();
        while let Some(row) = rows.next()? {
            lane.events += 1;
            let coupon = row.get::<_, Option<i64>>(1)?.and_then(|id| CouponId::from_u64(id as u64));
            lane.keys.insert(coupon.map_or(Key::Campaign(CampaignNo::new(row.get(0)?)), Key::Coupon));
        }
        Ok(lane)
    }

    /// Events in the lane.
    pub(crate) const fn events(&self) -> u64 {
        self.events
    }

    /// Whether the lane is empty, as it nearly always is.
    pub(crate) fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// The parked key that an event of `key` must wait behind: its own, or its campaign's.
    pub(crate) fn blocks(&self, key: Key) -> Option<Key> {
        let own = Some(key).filter(|key| self.keys.contains(key));
        own.or_else(|| Some(Key::Campaign(key.campaign())).filter(|key| self.keys.contains(key)))
    }

    /// Puts the event at `seq` into the lane, and with it every later event of `key`.
    pub(crate) fn park(
        &mut self,
        db: &Connection,
        seq: Seq,
        at: Timestamp,
        key: Key,
        error: &str,
    ) -> rusqlite::Result<()> {
        let coupon = match key {
            Key::Coupon(coupon) => Some(coupon.get() as i64),
            Key::Campaign(_) => None,
        };
        db.prepare_cached(
            "INSERT INTO parked (seq, key, error, at, campaign, coupon) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
        )?
        .execute(params![
            seq.0 as i64,
            key.to_string(),
            error,
            at.as_millis() as i64,
            key.campaign().get(),
            coupon
        ])?;
        tracing::warn!(seq = seq.0, key = %key, "an event was parked: {error}");
        self.keys.insert(key);
        self.events += 1;
        Ok(())
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Campaign(no) => write!(f, "campaign {}", no.get()),
            Self::Coupon(coupon) => write!(f, "coupon {}-{}", coupon.campaign().get(), coupon.n()),
        }
    }
}
