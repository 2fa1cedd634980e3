//! The section of a snapshot that holds the stock: columns for what there are millions of, CBOR for the rest. Every index
//! is built anew, and every invariant checked.

use super::purchase::PurchaseLimit;
use super::rows::{Level, Part, Parts, ReservationState, Row, RowNames};
use super::state::{ImportKept, Stock};
use crate::{
    Holder, ItemNo, LocationId, MemberId, OrderId, ReservationNo, SkuId, SnapshotError, Timestamp, limits,
};
use minicbor::{Decode, Encode};

/// Stored with a reservation's state: its member made it.
const BY_MEMBER: u8 = 0x80;

type Result<T> = core::result::Result<T, SnapshotError>;

#[derive(Encode, Decode)]
struct Header {
    #[n(0)]
    locations: Vec<LocationId>,
    #[n(1)]
    skus: u32,
    #[n(2)]
    items: u32,
    #[n(3)]
    limits: u32,
    #[n(4)]
    made: u64,
    #[n(5)]
    reservations: u64,
    #[n(6)]
    ended: u64,
    #[n(7)]
    imports_made: u64,
    #[n(8)]
    imports: Vec<(u64, Timestamp, Vec<u16>)>,
}

impl Stock {
    /// Appends the stock.
    pub fn write_snapshot(&self, out: &mut Vec<u8>) {
        put_cbor(
            out,
            &Header {
                locations: self.locations.clone(),
                skus: self.skus.len(),
                items: self.items.len() as u32,
                limits: self.limits.len() as u32,
                made: self.reservations.made(),
                reservations: self.reservations.kept() as u64,
                ended: self.ended.len() as u64,
                imports_made: self.imports_made,
                imports: self.imports.iter().map(|i| (i.import, i.at, i.refused.to_vec())).collect(),
            },
        );
        (0..self.skus.len()).for_each(|place| put_text(out, self.skus.bytes(place)));
        for item in &self.items {
            let Level { on_hand, held, promised, owed, safety, backorder_max, preorder_max, released_at } =
                item.level;
            let place = u32::from(item.location);
            for int in [item.sku, place, on_hand, held, promised, owed, safety, backorder_max, preorder_max] {
                put_int(out, int);
            }
            put_long(out, released_at.map_or(u64::MAX, Timestamp::as_millis));
        }
        for (sku, limit) in &self.limits {
            put_int(out, *sku);
            put_int(out, limit.per_member);
            put_long(out, limit.from.get());
            put_int(out, limit.counts().len() as u32);
            for (member, count) in limit.counts() {
                put_text(out, member.as_bytes());
                put_int(out, count);
            }
        }
        for (no, row) in self.reservations.iter() {
            put_long(out, no.get());
            let by_member = if row.names.holder() == Holder::Member { BY_MEMBER } else { 0 };
            out.push(row.state as u8 | by_member);
            put_long(out, row.at.as_millis());
            put_text(out, row.names.member().unwrap_or_default().as_bytes());
            put_text(out, row.names.order().unwrap_or_default().as_bytes());
            let parts = row.parts.as_slice();
            put_int(out, parts.len() as u32);
            for Part { item, held, promised, promised_first, returned } in parts {
                for int in [item.get(), *held, *promised, *promised_first, *returned] {
                    put_int(out, int);
                }
            }
        }
        self.ended.iter().for_each(|no| put_long(out, no.get()));
    }

    /// Reads the stock back from the front of `bytes`, which is moved on. `key` as for [`Stock::new`].
    ///
    /// # Errors
    /// [`SnapshotError`] if the bytes are not a stock that [`Stock::write_snapshot`] could have written.
    pub fn read_snapshot(bytes: &mut &[u8], key: [u8; 16]) -> Result<Self> {
        let all = *bytes;
        let mut input = Input { bytes: all };
        let header: Header = input.cbor("the stock's header")?;
        let mut stock = Self::new(key);
        if header.locations.len() > limits::LOCATIONS_MAX {
            return Err(SnapshotError::Malformed("the locations"));
        }
        let mut skus = Vec::new();
        for _ in 0..header.skus {
            let sku = SkuId::new(input.text("a SKU")?);
            skus.push(sku.map_err(|_| SnapshotError::Malformed("a SKU"))?);
        }
        input.items(&mut stock, header.items, &skus, &header.locations)?;
        if stock.skus.len() as usize != skus.len() || stock.locations != header.locations {
            return Err(SnapshotError::Malformed("the items"));
        }
        for _ in 0..header.limits {
            input.limit(&mut stock)?;
        }
        stock.reservations.restore_made(header.made);
        for _ in 0..header.reservations {
            input.reservation(&mut stock)?;
        }
        for _ in 0..header.ended {
            stock.ended.push_back(ReservationNo::new(input.long("an ended reservation")?));
        }
        stock.imports_made = header.imports_made;
        for (import, at, refused) in header.imports {
            stock.imports.push_back(ImportKept { import, at, refused: refused.into() });
        }
        // Creating the items kept a digest current; what was put in by hand since is in the one computed from nothing,
        // which comes with the row that `digest` adds by itself.
        stock.digest = crate::Digest::default();
        let mut digest = stock.recompute_digest();
        digest.sub(stock.digest().get());
        stock.digest = digest;
        stock.check_invariants().map_err(|_| SnapshotError::Malformed("the stock contradicts itself"))?;
        *bytes = input.bytes;
        Ok(stock)
    }
}

struct Input<'a> {
    bytes: &'a [u8],
}

impl<'a> Input<'a> {
    fn take(&mut self, len: usize, what: &'static str) -> Result<&'a [u8]> {
        let (taken, rest) = self.bytes.split_at_checked(len).ok_or(SnapshotError::Malformed(what))?;
        self.bytes = rest;
        Ok(taken)
    }

    fn int(&mut self, what: &'static str) -> Result<u32> {
        let bytes = self.take(4, what)?;
        Ok(u32::from_le_bytes(core::array::from_fn(|i| bytes[i])))
    }

    fn long(&mut self, what: &'static str) -> Result<u64> {
        let bytes = self.take(8, what)?;
        Ok(u64::from_le_bytes(core::array::from_fn(|i| bytes[i])))
    }

    fn instant(&mut self, what: &'static str) -> Result<Timestamp> {
        match self.long(what)? {
            millis @ 0..=limits::TIMESTAMP_MILLIS_MAX => Ok(Timestamp::from_millis(millis)),
            _ => Err(SnapshotError::Malformed(what)),
        }
    }

    fn text(&mut self, what: &'static str) -> Result<&'a str> {
        let len = self.take(1, what)?[0];
        let bytes = self.take(usize::from(len), what)?;
        core::str::from_utf8(bytes).map_err(|_| SnapshotError::Malformed(what))
    }

    fn cbor<T: for<'b> Decode<'b, ()>>(&mut self, what: &'static str) -> Result<T> {
        let length = usize::try_from(self.long(what)?).map_err(|_| SnapshotError::Malformed(what))?;
        minicbor::decode(self.take(length, what)?).map_err(|_| SnapshotError::Malformed(what))
    }

    fn items(
        &mut self,
        stock: &mut Stock,
        count: u32,
        skus: &[SkuId],
        locations: &[LocationId],
    ) -> Result<()> {
        const WHAT: &str = "an item";
        for _ in 0..count {
            let sku = self.int(WHAT)? as usize;
            let location = self.int(WHAT)? as usize;
            // SKUs and locations came with their first item, so each is known or the next.
            let known = sku <= stock.skus.len() as usize && location <= stock.locations.len();
            let (Some(sku), Some(location), true) = (skus.get(sku), locations.get(location), known) else {
                return Err(SnapshotError::Malformed(WHAT));
            };
            if stock.find(sku, location).is_some() || stock.items.len() >= limits::ITEMS_MAX as usize {
                return Err(SnapshotError::Malformed(WHAT));
            }
            let no = stock.create_item(sku, location);
            let mut level = Level {
                on_hand: self.int(WHAT)?,
                held: self.int(WHAT)?,
                promised: self.int(WHAT)?,
                owed: self.int(WHAT)?,
                safety: self.int(WHAT)?,
                backorder_max: self.int(WHAT)?,
                preorder_max: self.int(WHAT)?,
                released_at: None,
            };
            level.released_at = match self.long(WHAT)? {
                u64::MAX => None,
                millis @ 0..=limits::TIMESTAMP_MILLIS_MAX => Some(Timestamp::from_millis(millis)),
                _ => return Err(SnapshotError::Malformed(WHAT)),
            };
            // Sums of these are taken everywhere without a thought.
            let most = level.promised.max(level.owed).max(level.backorder_max).max(level.preorder_max);
            if most > limits::PROMISED_UNITS_MAX {
                return Err(SnapshotError::Malformed(WHAT));
            }
            stock.items[no.get() as usize - 1].level = level;
        }
        Ok(())
    }

    fn limit(&mut self, stock: &mut Stock) -> Result<()> {
        const WHAT: &str = "a purchase limit";
        let place = self.int(WHAT)?;
        let per_member = self.int(WHAT)?;
        let from = ReservationNo::new(self.long(WHAT)?);
        if place >= stock.skus.len() || stock.limit(place).is_some() {
            return Err(SnapshotError::Malformed(WHAT));
        }
        let mut limit = PurchaseLimit::new(stock.key, per_member, from);
        for known in 0..self.int(WHAT)? as usize {
            let member = self.text(WHAT)?;
            let count = self.int(WHAT)?;
            limit.change(place, member, |_| count);
            if MemberId::new(member).is_err() || limit.counts().len() != known + 1 {
                return Err(SnapshotError::Malformed(WHAT));
            }
        }
        stock.skus.value_mut(place).limited = true;
        stock.limits.insert(place, limit);
        Ok(())
    }

    fn reservation(&mut self, stock: &mut Stock) -> Result<()> {
        const WHAT: &str = "a reservation";
        let no = ReservationNo::new(self.long(WHAT)?);
        let state = self.take(1, WHAT)?[0];
        let holder = if state & BY_MEMBER == 0 { Holder::Shop } else { Holder::Member };
        let state = ReservationState::from_u8(state & !BY_MEMBER).ok_or(SnapshotError::Malformed(WHAT))?;
        let at = self.instant(WHAT)?;
        let damaged = |_| SnapshotError::Malformed(WHAT);
        let some = |text: &'a str| Some(text).filter(|text| !text.is_empty());
        let member = some(self.text(WHAT)?).map(MemberId::new).transpose().map_err(damaged)?;
        let order = some(self.text(WHAT)?).map(OrderId::new).transpose().map_err(damaged)?;
        let names = RowNames::new(member.as_ref(), order.as_ref(), holder);
        let count = self.int(WHAT)? as usize;
        if count == 0 || count > limits::RESERVATION_PARTS_MAX {
            return Err(SnapshotError::Malformed(WHAT));
        }
        let mut parts = Vec::with_capacity(count);
        for _ in 0..count {
            let part = Part {
                item: ItemNo::new(self.int(WHAT)?),
                held: self.int(WHAT)?,
                promised: self.int(WHAT)?,
                promised_first: self.int(WHAT)?,
                returned: self.int(WHAT)?,
            };
            if part.held.checked_add(part.promised).is_none() {
                return Err(SnapshotError::Malformed(WHAT));
            }
            parts.push(part);
        }
        let parts = Parts::new(parts.into_iter());
        for part in parts.as_slice().iter().filter(|_| state == ReservationState::Held) {
            if part.promised > 0 {
                stock.promises.insert((part.item, no));
            }
        }
        if state == ReservationState::Held {
            stock.deadlines.insert((at, no));
        }
        let fits = stock.reservations.restore(no, Row { state, at, names, parts });
        if fits { Ok(()) } else { Err(SnapshotError::Malformed(WHAT)) }
    }
}

fn put_int(out: &mut Vec<u8>, int: u32) {
    out.extend_from_slice(&int.to_le_bytes());
}

fn put_long(out: &mut Vec<u8>, long: u64) {
    out.extend_from_slice(&long.to_le_bytes());
}

/// Texts here are at most 64 bytes.
fn put_text(out: &mut Vec<u8>, text: &[u8]) {
    out.push(text.len() as u8);
    out.extend_from_slice(text);
}

fn put_cbor<T: Encode<()>>(out: &mut Vec<u8>, value: &T) {
    let start = out.len();
    put_long(out, 0);
    minicbor::encode(value, &mut *out).expect("a vector takes every write");
    let length = (out.len() - start - 8) as u64;
    out[start..start + 8].copy_from_slice(&length.to_le_bytes());
}
