//! Reads a snapshot: rebuilds every index, computes the digest of what it read from nothing on the way, and compares. A
//! snapshot that differs from the state it was made of in one bit is refused.

use super::{CampaignHeader, Header, KEPT_BYTES, ROW_BYTES, SlotHeader, SnapshotError, VERSION, VERSION_MIN};
use crate::coupon::{Campaign, CouponRow, CouponState, Retired, Totals, WrittenMembers};
use crate::idempotency::Kept;
use crate::legacy::Legacy;
use crate::order::Orders;
use crate::pay::Ledger;
use crate::saga::Sagas;
use crate::stock::Stock;
use crate::{Both, CampaignNo, Digest, IdempotencyTable, InTurn, KeyStamp, Remembered, State, Timestamp};
use minicbor::Decode;

/// Members and coupons of a campaign from which on it is worth using two threads: less is done before a thread has started.
const BOTH_FROM: u64 = 50_000;

impl State {
    /// Reads a state back.
    ///
    /// # Errors
    /// [`SnapshotError`] if `bytes` are not exactly what [`State::to_snapshot`] wrote.
    pub fn from_snapshot(bytes: &[u8]) -> Result<Self, SnapshotError> {
        Self::from_snapshot_by(bytes, &InTurn)
    }

    /// Reads a state back like [`State::from_snapshot`], with large pieces of the work done as `work` says.
    ///
    /// # Errors
    /// As above. Which error it is does not depend on `work`.
    pub fn from_snapshot_by(bytes: &[u8], work: &impl Both) -> Result<Self, SnapshotError> {
        let mut input = Input { bytes };
        let header: Header = input.cbor("the header")?;
        if !(VERSION_MIN..=VERSION).contains(&header.version) {
            return Err(SnapshotError::Version(header.version));
        }
        let mut state = Self::new(header.secret);
        state.time = header.time;
        state.seq = header.seq;
        for no in 1..=header.campaigns {
            match input.cbor("a campaign")? {
                SlotHeader::Retired(definition, ended_at, [issued, held, redeemed, revoked, expired]) => {
                    let totals = Totals { issued, held, redeemed, revoked, expired };
                    state.coupons.restore_retired(Retired { definition, ended_at, totals });
                }
                SlotHeader::Hot(header) => {
                    let (campaign, columns) =
                        input.campaign(CampaignNo::new(no), *header, state.keys.members, work)?;
                    state.coupons.restore(campaign, columns);
                }
            }
        }
        state.stock = Stock::read_snapshot(&mut input.bytes, state.keys.stock)?;
        state.ledger = Ledger::read_snapshot(&mut input.bytes, state.keys.accounts)?;
        state.sagas = Sagas::read_snapshot(&mut input.bytes).map_err(SnapshotError::Malformed)?;
        state.orders = Orders::read_snapshot(&mut input.bytes).map_err(SnapshotError::Malformed)?;
        state.legacy = Legacy::read_snapshot(&mut input.bytes).map_err(SnapshotError::Malformed)?;
        state.idempotency = input.keys(header.keys)?;
        if !input.bytes.is_empty() {
            return Err(SnapshotError::Malformed("bytes are left over at the end"));
        }
        let written = Digest::from_u128(u128::from(header.digest_high) << 64 | u128::from(header.digest_low));
        if state.digest() == written { Ok(state) } else { Err(SnapshotError::Digest) }
    }
}

struct Input<'a> {
    bytes: &'a [u8],
}

/// The coupons of a campaign, read.
struct Rows {
    rows: Vec<CouponRow>,
    /// The number of the latest coupon of each member.
    latest: Vec<u32>,
    totals: Totals,
    digest: Digest,
}

impl<'a> Input<'a> {
    fn take(&mut self, len: usize, what: &'static str) -> Result<&'a [u8], SnapshotError> {
        let (taken, rest) = self.bytes.split_at_checked(len).ok_or(SnapshotError::Malformed(what))?;
        self.bytes = rest;
        Ok(taken)
    }

    /// Takes `count` times `each` bytes. What is not there is refused before anybody makes room for it.
    fn take_many(&mut self, count: u64, each: usize, what: &'static str) -> Result<&'a [u8], SnapshotError> {
        let len = usize::try_from(count).ok().and_then(|count| count.checked_mul(each));
        self.take(len.ok_or(SnapshotError::Malformed(what))?, what)
    }

    fn cbor<T: for<'b> Decode<'b, ()>>(&mut self, what: &'static str) -> Result<T, SnapshotError> {
        let length = self.take(8, what)?;
        let length = u64::from_le_bytes(core::array::from_fn(|i| length[i]));
        let length = usize::try_from(length).map_err(|_| SnapshotError::Malformed(what))?;
        minicbor::decode(self.take(length, what)?).map_err(|_| SnapshotError::Malformed(what))
    }

    /// Reads a campaign, and gives it back with the digest of its columns.
    fn campaign(
        &mut self,
        no: CampaignNo,
        header: CampaignHeader,
        member_key: [u8; 16],
        work: &impl Both,
    ) -> Result<(Campaign, Digest), SnapshotError> {
        let (members, rows) = (header.members, header.rows);
        let mut campaign = Campaign::new(no, header.definition, member_key);
        campaign.created_as = Box::new(header.created_as);
        campaign.paused = header.paused;
        campaign.ended_at = header.ended_at;
        campaign.retires_at = header.retires_at;
        campaign.allowed = header.allowed;
        campaign.expiry_next = header.expiry_next;
        campaign.holds = header.holds.into_iter().collect();
        campaign.redemptions = header.redemptions.into_iter().collect();
        let digest = if members.saturating_add(rows) < BOTH_FROM {
            self.columns(&mut campaign, member_key, members, rows, &InTurn)?
        } else {
            self.columns(&mut campaign, member_key, members, rows, work)?
        };
        Ok((campaign, digest))
    }

    /// Reads the columns of `campaign`, its members and coupons, and gives back the digest of both.
    fn columns(
        &mut self,
        campaign: &mut Campaign,
        member_key: [u8; 16],
        members: u64,
        rows: u64,
        work: &impl Both,
    ) -> Result<Digest, SnapshotError> {
        let (members, rest) =
            WrittenMembers::split(self.bytes, members).ok_or(SnapshotError::Malformed("the members"))?;
        self.bytes = rest;
        let rows = self.take_many(rows, ROW_BYTES, "the coupons")?;
        let no = campaign.no;
        let (members, rows) =
            work.both(|| members.restore(member_key, no, work), || read_rows(rows, members.len(), no));
        let (table, mut digest) = members.map_err(SnapshotError::Malformed)?;
        let rows = rows?;
        digest.add(rows.digest.get());
        campaign.members = table;
        campaign.members.set_all_latest(rows.latest);
        campaign.rows = rows.rows;
        campaign.totals = rows.totals;
        Ok(digest)
    }

    fn keys(&mut self, count: u64) -> Result<IdempotencyTable, SnapshotError> {
        let bytes = self.take_many(count, KEPT_BYTES, "the idempotency keys")?;
        let mut table = IdempotencyTable::with_capacity(bytes.len() / KEPT_BYTES);
        for bytes in bytes.chunks_exact(KEPT_BYTES) {
            let word = |i: usize| u64::from_le_bytes(core::array::from_fn(|k| bytes[i * 8 + k]));
            let remembered = Remembered::from_words([word(5), word(6), word(7), word(8)]);
            table.remember(Kept {
                stamp: KeyStamp { high: word(0), low: word(1), request: word(2) },
                at: Timestamp::from_millis(word(3)),
                seq: word(4),
                remembered: remembered.ok_or(SnapshotError::Malformed("an idempotency key"))?,
            });
        }
        Ok(table)
    }
}

/// Reads the coupons of campaign `no`, which has `members` members.
fn read_rows(bytes: &[u8], members: u32, no: CampaignNo) -> Result<Rows, SnapshotError> {
    let (rows, _) = bytes.as_chunks::<ROW_BYTES>();
    let mut read = Rows {
        rows: Vec::with_capacity(rows.len()),
        latest: vec![0; members as usize],
        totals: Totals { issued: rows.len() as u64, ..Totals::default() },
        digest: Digest::default(),
    };
    for (n, row) in (1_u64..).zip(rows) {
        let row = read_row(row)?;
        let latest = read.latest.get_mut(row.member as usize);
        *latest.ok_or(SnapshotError::Malformed("a coupon names a member that is not there"))? = n as u32;
        read.totals.count_restored(row.state);
        read.digest.add(row.digest(no, n));
        read.rows.push(row);
    }
    Ok(read)
}

fn read_row(bytes: &[u8; ROW_BYTES]) -> Result<CouponRow, SnapshotError> {
    let long = |at: usize| u64::from_le_bytes(core::array::from_fn(|i| bytes[at + i]));
    let int = |at: usize| u32::from_le_bytes(core::array::from_fn(|i| bytes[at + i]));
    Ok(CouponRow {
        issued_at: Timestamp::from_millis(long(0)),
        seq: long(8),
        member: int(16),
        previous: int(20),
        nth: u16::from_le_bytes([bytes[24], bytes[25]]),
        state: CouponState::from_u8(bytes[26]).ok_or(SnapshotError::Malformed("a coupon's state"))?,
    })
}
