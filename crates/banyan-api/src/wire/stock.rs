//! Stock as callers see it.

use crate::clock::{self, rfc3339};
use crate::problem::Problem;
use banyan_domain::legacy::Mirrored;
use banyan_domain::stock::{Configuration, ItemView, Line, Lines};
use banyan_domain::{LocationId, SkuId, Timestamp};
use serde::{Deserialize, Deserializer, Serialize};
use utoipa::ToSchema;

/// Where goods are, if nobody says.
const MAIN: &str = "main";

/// What was counted of an item, and how it may be sold; at least one of them.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ItemJson {
    /// Units there.
    #[schema(example = 5)]
    pub on_hand: Option<u32>,
    /// Where; `main` if absent.
    pub location: Option<String>,
    /// Why, for the record.
    #[serde(default)]
    pub reason: String,
    /// Units on hand that are not sold.
    pub safety: Option<u32>,
    /// Units that may be sold beyond the stock, once released; at most 1,000,000.
    pub backorder_max: Option<u32>,
    /// The same before release.
    pub preorder_max: Option<u32>,
    /// The release, RFC 3339; null says that the item is out.
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = Option<String>)]
    pub released_at: Option<Option<String>>,
    /// Units of the SKU that one member may reserve and buy from now on, over all locations; null lifts the limit.
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = Option<u32>)]
    pub per_member: Option<Option<u32>>,
}

/// Goods that arrived.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ReceiveJson {
    /// Units; at least 1.
    #[schema(example = 10)]
    pub quantity: u32,
    /// Where; `main` if absent.
    pub location: Option<String>,
    /// Why, for the record.
    #[serde(default)]
    pub reason: String,
}

/// A correction.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AdjustJson {
    /// Units found (positive) or missing (negative); not 0.
    #[schema(example = -2)]
    pub by: i64,
    /// Where; `main` if absent.
    pub location: Option<String>,
    /// Why, for the record.
    #[serde(default)]
    pub reason: String,
}

/// An item as a request left it.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct ItemAnswerJson {
    /// Its SKU.
    pub sku: String,
    /// Where.
    pub location: String,
    /// Units there.
    pub on_hand: u32,
    /// Of these, units set aside for reservations.
    pub held: u32,
    /// Of these, units that can be reserved: neither held nor safety stock.
    pub available: u32,
    /// Units reserved beyond the stock.
    pub promised: u32,
    /// Units sold beyond the stock.
    pub owed: u32,
    /// Its log position.
    pub seq: u64,
}

/// A SKU, summed over its locations.
#[derive(Clone, Debug, Default, Serialize, ToSchema)]
pub struct SkuJson {
    /// The SKU.
    pub sku: String,
    /// Units there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub on_hand: Option<u64>,
    /// Of these, units set aside for reservations.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub held: Option<u64>,
    /// Of these, units that can be reserved. A shopper's token sees this number only.
    pub available: u64,
    /// Units reserved beyond the stock.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub promised: Option<u64>,
    /// Units sold beyond the stock.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub owed: Option<u64>,
    /// Units that one member may reserve and buy, if that is limited.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub per_member: Option<u32>,
    /// Log position as of which these numbers hold.
    pub seq: u64,
    /// Its locations, in order of their creation.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub locations: Option<Vec<LocationJson>>,
}

/// An item: one SKU at one location.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct LocationJson {
    /// Where.
    pub location: String,
    /// Units there.
    pub on_hand: u32,
    /// Of these, units set aside for reservations.
    pub held: u32,
    /// Of these, units that can be reserved.
    pub available: u32,
    /// Units reserved beyond the stock.
    pub promised: u32,
    /// Units sold beyond the stock.
    pub owed: u32,
    /// Units on hand that are not sold.
    pub safety: u32,
    /// Units that may be sold beyond the stock, once released.
    pub backorder_max: u32,
    /// The same before release.
    pub preorder_max: u32,
    /// The release; null if the item is out.
    pub released_at: Option<String>,
    /// Units sold by orders of the old shop and not shipped yet, which are not on hand any more; of its items only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub allocated: Option<u32>,
    /// Units that the old shop sold beyond what there was; of its items only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub short: Option<u32>,
}

/// A page of SKUs.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct SkusJson {
    /// In order of their creation.
    pub skus: Vec<SkuJson>,
    /// Pass it as `after` for the next page; null at the end.
    pub next: Option<String>,
    /// Log position as of which the page holds.
    pub seq: u64,
}

/// One line of a reservation or return.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct LineJson {
    /// Which SKU.
    #[schema(example = "A")]
    pub sku: String,
    /// Units; at least 1.
    #[schema(example = 1)]
    pub quantity: u32,
    /// Where; if absent, anywhere, split if need be.
    pub location: Option<String>,
}

/// What to reserve: all lines or none.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ReserveJson {
    /// 1 to 100 lines.
    pub lines: Vec<LineJson>,
    /// For which member; a shopper's token reserves for its own.
    pub member: Option<String>,
    /// For which order.
    pub order: Option<String>,
    /// Seconds until the reservation expires; at most seven days. Default 600.
    #[serde(default = "ten_minutes")]
    pub hold_seconds: u64,
}

fn ten_minutes() -> u64 {
    600
}

/// What comes back.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ReturnJson {
    /// 1 to 100 lines.
    pub lines: Vec<LineJson>,
    /// Why, for the record.
    #[serde(default)]
    pub reason: String,
}

/// A reservation.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct ReservationJson {
    /// Its public name.
    #[schema(example = "r-17")]
    pub reservation: String,
    /// `held`, `committed`, `released` or `expired`.
    pub state: &'static str,
    /// When it expires; null once it has ended.
    pub expires_at: Option<String>,
    /// When it ended; null before.
    pub ended_at: Option<String>,
    /// Its member.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub member: Option<String>,
    /// Its order.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub order: Option<String>,
    /// What it draws on, one line for each item. Once it has ended, as it was then.
    pub lines: Vec<ReservedLineJson>,
    /// The log position of the answer.
    pub seq: u64,
}

/// What a reservation draws on at one location.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct ReservedLineJson {
    /// Which SKU.
    pub sku: String,
    /// Where.
    pub location: String,
    /// Units in all.
    pub quantity: u32,
    /// Of these, units on hand set aside.
    pub held: u32,
    /// Of these, units beyond the stock.
    pub promised: u32,
    /// Units that came back; only where a reservation is read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub returned: Option<u32>,
}

/// Goods that came back.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct ReturnedJson {
    /// Of which reservation.
    pub reservation: String,
    /// Units that came back now.
    pub units: u64,
    /// Its log position.
    pub seq: u64,
}

/// A line for which there is not enough stock.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct ShortLineJson {
    /// Its index in the request, from 0.
    pub line: usize,
    /// Its SKU.
    pub sku: String,
    /// Units it could have if it were alone, those that can be promised beyond the stock included.
    pub available: u64,
}

/// What an import came to.
#[derive(Clone, Debug, Default, Serialize, ToSchema)]
pub struct ImportJson {
    /// Rows, without the header and empty lines.
    pub rows: u64,
    /// Rows that changed an item or made a new one.
    pub changed: u64,
    /// Rows that said what was known.
    pub unchanged: u64,
    /// Rows refused: the first 1,000 of them.
    pub refused: Vec<BadLineJson>,
    /// Rows refused in all.
    pub refused_total: u64,
    /// Log position of the last change; of an import that changed nothing, a position as of which that holds.
    pub seq: u64,
}

/// A row that was refused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct BadLineJson {
    /// Its line, from 1; the header is line 1.
    pub line: u64,
    /// What is wrong with it.
    pub why: String,
}

impl ItemJson {
    /// What to change about how the item may be sold; nothing if nothing of it is named.
    ///
    /// # Errors
    /// A 400 [`Problem`] naming the field and its rule.
    pub fn configuration(&self) -> Result<Option<Configuration>, Problem> {
        let released_at = match &self.released_at {
            Some(Some(text)) => {
                let at = clock::parse(text);
                Some(Some(at.map_err(|why| Problem::invalid(format!("released_at: {why}.")))?))
            }
            Some(None) => Some(None),
            None => None,
        };
        let change = Configuration {
            safety: self.safety,
            backorder_max: self.backorder_max,
            preorder_max: self.preorder_max,
            released_at,
            per_member: self.per_member,
        };
        Ok((change != Configuration::default()).then_some(change))
    }
}

impl LocationJson {
    /// An item as it is, with what the old shop's books say of it if it came from there.
    #[must_use]
    pub fn new(item: &ItemView<'_>, mirrored: Option<Mirrored>) -> Self {
        let level = item.level;
        Self {
            location: item.location.to_string(),
            on_hand: level.on_hand,
            held: level.held,
            available: level.available(),
            promised: level.promised,
            owed: level.owed,
            safety: level.safety,
            backorder_max: level.backorder_max,
            preorder_max: level.preorder_max,
            released_at: level.released_at.map(rfc3339),
            allocated: mirrored.map(|mirrored| mirrored.allocated),
            short: mirrored.map(|mirrored| mirrored.short),
        }
    }
}

impl SkuJson {
    /// The sums over `locations`, or, for a shopper, what is available only.
    #[must_use]
    pub fn new(
        sku: String,
        locations: Vec<LocationJson>,
        per_member: Option<u32>,
        seq: u64,
        shopper: bool,
    ) -> Self {
        let sum = |of: fn(&LocationJson) -> u32| locations.iter().map(|one| u64::from(of(one))).sum();
        let available = sum(|one| one.available);
        if shopper {
            return Self { sku, available, seq, ..Self::default() };
        }
        Self {
            sku,
            on_hand: Some(sum(|one| one.on_hand)),
            held: Some(sum(|one| one.held)),
            available,
            promised: Some(sum(|one| one.promised)),
            owed: Some(sum(|one| one.owed)),
            per_member,
            seq,
            locations: Some(locations),
        }
    }
}

/// Checks a SKU.
pub(crate) fn sku(text: &str) -> Result<SkuId, Problem> {
    SkuId::new(text).map_err(|error| Problem::invalid(format!("{error}.")))
}

/// Checks a location; `main` if there is none.
pub(crate) fn location(text: Option<&str>) -> Result<LocationId, Problem> {
    LocationId::new(text.unwrap_or(MAIN)).map_err(|error| Problem::invalid(format!("{error}.")))
}

/// Checks the lines of a reservation or return.
pub(crate) fn lines(asked: &[LineJson]) -> Result<Lines, Problem> {
    let line = |(index, line): (usize, &LineJson)| {
        let fault =
            |problem: Problem| Problem { detail: format!("lines[{index}]: {}", problem.detail), ..problem };
        let place = line.location.as_deref().map(|text| location(Some(text))).transpose();
        Ok(Line {
            sku: sku(&line.sku).map_err(fault)?,
            location: place.map_err(fault)?,
            quantity: line.quantity,
        })
    };
    let lines = asked.iter().enumerate().map(line).collect::<Result<_, Problem>>()?;
    Lines::new(lines).map_err(|error| Problem::invalid(format!("lines: {error}.")))
}

/// When a reservation expires and when it ended, of which one is known.
pub(crate) fn instants(held: bool, at: Timestamp) -> (Option<String>, Option<String>) {
    if held { (Some(rfc3339(at)), None) } else { (None, Some(rfc3339(at))) }
}

/// What is there, even if it is null.
fn present<'de, T: Deserialize<'de>, D: Deserializer<'de>>(from: D) -> Result<Option<T>, D::Error> {
    T::deserialize(from).map(Some)
}
