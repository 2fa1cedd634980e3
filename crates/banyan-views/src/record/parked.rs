//! The lane of events that contradict the rows.

use banyan_domain::coupon::Event as CouponEvent;
use banyan_domain::{CampaignNo, CouponId, Event, OrderNo, SagaNo, Timestamp};
use banyan_log::Seq;
use core::fmt;
use rusqlite::types::Type;
use rusqlite::{Connection, params};
use std::collections::BTreeSet;

/// What an event is about: events of one key must be applied in order, or not at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Key {
    Campaign(CampaignNo),
    Coupon(CouponId),
    /// All of the stock: a reservation touches many items, and goods that become free go to other reservations, so with
    /// one event missing no later number could be believed.
    Stock,
    /// The whole ledger: books with one transfer missing do not balance.
    Ledger,
    /// The definitions of sagas.
    Definitions,
    Saga(SagaNo),
    /// Products and terms.
    PriceList,
    /// The way over from an old shop.
    OldShop,
    Order(OrderNo),
}

/// The keys that are parked.
#[derive(Debug, Default)]
pub(crate) struct ParkedLane {
    keys: BTreeSet<Key>,
    events: u64,
}

impl Key {
    /// The key of an event; none if it says nothing to the rows.
    pub(crate) fn of(event: &Event) -> Option<Self> {
        Some(match event {
            Event::StoreCreated { .. } | Event::StateDigested { .. } | Event::KeyKept { .. } => return None,
            Event::Legacy(_) => Self::OldShop,
            Event::Coupon(event) => Self::of_coupon(event),
            Event::Stock(_) => Self::Stock,
            Event::Pay(_) => Self::Ledger,
            Event::Saga(event) => event.saga().map_or(Self::Definitions, Self::Saga),
            Event::Order(event) => event.order().map_or(Self::PriceList, Self::Order),
        })
    }

    pub(crate) fn of_coupon(event: &CouponEvent) -> Self {
        match event {
            CouponEvent::CouponIssued { coupon, .. }
            | CouponEvent::CouponHeld { coupon, .. }
            | CouponEvent::CouponRedeemed { coupon, .. }
            | CouponEvent::CouponReleased { coupon, .. }
            | CouponEvent::CouponRevoked { coupon, .. } => Self::Coupon(*coupon),
            CouponEvent::CampaignCreated { no, .. }
            | CouponEvent::CampaignPaused { no, .. }
            | CouponEvent::CampaignResumed { no, .. }
            | CouponEvent::CampaignExtended { no, .. }
            | CouponEvent::CampaignQuantityChanged { no, .. }
            | CouponEvent::CampaignEnded { no, .. }
            | CouponEvent::CampaignRetired { no }
            | CouponEvent::AllowListExtended { no, .. }
            | CouponEvent::CouponsExpired { no, .. } => Self::Campaign(*no),
        }
    }

    /// Back from how it is displayed.
    fn parse(text: &str) -> Option<Self> {
        let (kind, name) = text.split_once(' ').unwrap_or((text, ""));
        Some(match kind {
            "campaign" => Self::Campaign(CampaignNo::new(name.parse().ok()?)),
            "coupon" => {
                let (campaign, n) = name.split_once('-')?;
                Self::Coupon(CouponId::new(CampaignNo::new(campaign.parse().ok()?), n.parse().ok()?))
            }
            "stock" => Self::Stock,
            "ledger" => Self::Ledger,
            "definitions" => Self::Definitions,
            "saga" => Self::Saga(SagaNo::new(name.parse().ok()?)),
            "prices" => Self::PriceList,
            "old-shop" => Self::OldShop,
            "order" => Self::Order(OrderNo::new(name.parse().ok()?)),
            _ => return None,
        })
    }

    /// The key that includes it, if there is one.
    const fn whole(self) -> Option<Self> {
        match self {
            Self::Coupon(coupon) => Some(Self::Campaign(coupon.campaign())),
            _ => None,
        }
    }
}

impl ParkedLane {
    /// Reads the lane.
    pub(crate) fn load(db: &Connection) -> rusqlite::Result<Self> {
        let mut read = db.prepare("SELECT key FROM parked")?;
        let mut rows = read.query([])?;
        let mut lane = Self::default();
        while let Some(row) = rows.next()? {
            let text: String = row.get(0)?;
            let unknown = || {
                let what = format!("the parked lane has the unknown key {text:?}");
                rusqlite::Error::FromSqlConversionFailure(0, Type::Text, what.into())
            };
            lane.events += 1;
            lane.keys.insert(Key::parse(&text).ok_or_else(unknown)?);
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

    /// The parked key that an event of `key` must wait behind: its own, or one that includes it.
    pub(crate) fn blocks(&self, key: Key) -> Option<Key> {
        [Some(key), key.whole()].into_iter().flatten().find(|key| self.keys.contains(key))
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
        let (campaign, coupon) = match key {
            Key::Coupon(coupon) => (Some(coupon.campaign().get()), Some(coupon.get() as i64)),
            Key::Campaign(no) => (Some(no.get()), None),
            _ => (None, None),
        };
        db.prepare_cached(
            "INSERT INTO parked (seq, key, error, at, campaign, coupon) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
        )?
        .execute(params![
            seq.0 as i64,
            key.to_string(),
            error,
            at.as_millis() as i64,
            campaign,
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
            Self::Stock => f.write_str("stock"),
            Self::Ledger => f.write_str("ledger"),
            Self::Definitions => f.write_str("definitions"),
            Self::Saga(no) => write!(f, "saga {}", no.get()),
            Self::PriceList => f.write_str("prices"),
            Self::OldShop => f.write_str("old-shop"),
            Self::Order(no) => write!(f, "order {}", no.get()),
        }
    }
}
