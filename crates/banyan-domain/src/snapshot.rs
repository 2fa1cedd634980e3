//! A snapshot of the state as bytes: columns for what there are millions of, CBOR for the rest.
//!
//! Layout: a CBOR header (version, secret, time, seq, digest), then each campaign, then the idempotency keys, each length
//! given before its bytes. The reader rebuilds every index, then computes the digest from nothing and compares: a snapshot
//! that differs from the state it was made of in one bit is refused.

use crate::coupon::{
    Campaign, CampaignDefinition, CouponRow, CouponState, Coupons, Hold, Redemption, Retired, Totals,
};
use crate::idempotency::Kept;
use crate::{CampaignNo, Digest, IdempotencyTable, KeyStamp, Remembered, State, StoreSecret, Timestamp};
use core::fmt;
use minicbor::{Decode, Encode};

const VERSION: u32 = 1;
const ROW_BYTES: usize = 27;
const KEPT_BYTES: usize = 64;

/// Why bytes are not a snapshot.
#[derive(Debug, PartialEq, Eq)]
pub enum SnapshotError {
    /// Made by a newer version.
    Version(u32),
    /// Cut short, or not a snapshot.
    Malformed(&'static str),
    /// Every part was read, and the state is not the one that was written.
    Digest,
}

#[derive(Encode, Decode)]
struct Header {
    #[n(0)]
    version: u32,
    #[n(1)]
    secret: StoreSecret,
    #[n(2)]
    time: Timestamp,
    #[n(3)]
    seq: u64,
    #[n(4)]
    digest_high: u64,
    #[n(5)]
    digest_low: u64,
    #[n(6)]
    campaigns: u32,
    #[n(7)]
    keys: u64,
}

#[derive(Encode, Decode)]
struct CampaignHeader {
    #[n(0)]
    created_as: CampaignDefinition,
    #[n(1)]
    definition: CampaignDefinition,
    #[n(2)]
    paused: bool,
    #[n(3)]
    ended_at: Option<Timestamp>,
    #[n(4)]
    retires_at: Option<Timestamp>,
    #[n(5)]
    allowed: u64,
    #[n(6)]
    expiry_next: u64,
    #[n(7)]
    members: u64,
    #[n(8)]
    rows: u64,
    #[n(9)]
    holds: Vec<(u64, Hold)>,
    #[n(10)]
    redemptions: Vec<(u64, Redemption)>,
}

#[derive(Encode, Decode)]
enum SlotHeader {
    #[n(0)]
    Hot(#[n(0)] Box<CampaignHeader>),
    #[n(1)]
    Retired(#[n(0)] Box<CampaignDefinition>, #[n(1)] Timestamp, #[n(2)] [u64; 5]),
}

impl State {
    /// Writes the state.
    #[must_use]
    pub fn to_snapshot(&self) -> Vec<u8> {
        let digest = self.digest().get();
        let mut out = Vec::new();
        put_cbor(
            &mut out,
            &Header {
                version: VERSION,
                secret: self.secret.clone(),
                time: self.time,
                seq: self.seq,
                digest_high: (digest >> 64) as u64,
                digest_low: digest as u64,
                campaigns: self.coupons.campaigns_ever(),
                keys: self.idempotency.len() as u64,
            },
        );
        for no in 1..=self.coupons.campaigns_ever() {
            self.put_slot(CampaignNo::new(no), &mut out);
        }
        for kept in self.idempotency.iter() {
            let (kind, id, count) = kept.remembered.to_words();
            let KeyStamp { high, low, request } = kept.stamp;
            for word in [high, low, request, kept.at.as_millis(), kept.seq, kind, id, count] {
                out.extend_from_slice(&word.to_le_bytes());
            }
        }
        out
    }

    fn put_slot(&self, no: CampaignNo, out: &mut Vec<u8>) {
        let Some(campaign) = self.coupons.campaign_no(no) else {
            let Retired { definition, ended_at, totals } =
                self.coupons.retired_no(no).expect("a slot is hot or retired");
            let Totals { issued, held, redeemed, revoked, expired } = *totals;
            return put_cbor(
                out,
                &SlotHeader::Retired(
                    definition.clone(),
                    *ended_at,
                    [issued, held, redeemed, revoked, expired],
                ),
            );
        };
        put_cbor(
            out,
            &SlotHeader::Hot(Box::new(CampaignHeader {
                created_as: (*campaign.created_as).clone(),
                definition: campaign.definition.clone(),
                paused: campaign.paused,
                ended_at: campaign.ended_at,
                retires_at: campaign.retires_at,
                allowed: campaign.allowed,
                expiry_next: campaign.expiry_next,
                members: u64::from(campaign.members.len()),
                rows: campaign.rows.len() as u64,
                holds: campaign.holds.iter().map(|(n, hold)| (*n, hold.clone())).collect(),
                redemptions: campaign
                    .redemptions
                    .iter()
                    .map(|(n, redemption)| (*n, redemption.clone()))
                    .collect(),
            })),
        );
        for place in 0..campaign.members.len() {
            let id = campaign.members.id(place).as_bytes();
            out.push(id.len() as u8);
            out.extend_from_slice(id);
        }
        for row in &campaign.rows {
            out.extend_from_slice(&row.issued_at.as_millis().to_le_bytes());
            out.extend_from_slice(&row.seq.to_le_bytes());
            out.extend_from_slice(&row.member.to_le_bytes());
            out.extend_from_slice(&row.previous.to_le_bytes());
            out.extend_from_slice(&row.nth.to_le_bytes());
            out.push(row.state as u8);
        }
    }

    /// Reads a state back.
    ///
    /// # Errors
    /// [`SnapshotError`] if `bytes` are not exactly what [`State::to_snapshot`] wrote.
    pub fn from_snapshot(bytes: &[u8]) -> Result<Self, SnapshotError> {
        let mut input = Input { bytes };
        let header: Header = input.cbor("the header")?;
        if header.version != VERSION {
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
                    let campaign = input.campaign(CampaignNo::new(no), *header, &state.coupons)?;
                    state.coupons.restore(campaign);
                }
            }
        }
        state.idempotency = input.keys(header.keys)?;
        if !input.bytes.is_empty() {
            return Err(SnapshotError::Malformed("bytes are left over at the end"));
        }
        let recomputed = state.coupons.recompute_digest();
        state.coupons.digest = recomputed;
        let written = Digest::from_u128(u128::from(header.digest_high) << 64 | u128::from(header.digest_low));
        if state.digest() == written { Ok(state) } else { Err(SnapshotError::Digest) }
    }
}

struct Input<'a> {
    bytes: &'a [u8],
}

impl<'a> Input<'a> {
    fn take(&mut self, len: usize, what: &'static str) -> Result<&'a [u8], SnapshotError> {
        let (taken, rest) = self.bytes.split_at_checked(len).ok_or(SnapshotError::Malformed(what))?;
        self.bytes = rest;
        Ok(taken)
    }

    fn cbor<T: for<'b> Decode<'b, ()>>(&mut self, what: &'static str) -> Result<T, SnapshotError> {
        let length = self.take(8, what)?;
        let length = u64::from_le_bytes(core::array::from_fn(|i| length[i]));
        let length = usize::try_from(length).map_err(|_| SnapshotError::Malformed(what))?;
        minicbor::decode(self.take(length, what)?).map_err(|_| SnapshotError::Malformed(what))
    }

    fn campaign(
        &mut self,
        no: CampaignNo,
        header: CampaignHeader,
        coupons: &Coupons,
    ) -> Result<Campaign, SnapshotError> {
        let mut campaign = Campaign::new(no, header.definition, coupons.keys.members);
        campaign.created_as = Box::new(header.created_as);
        campaign.paused = header.paused;
        campaign.ended_at = header.ended_at;
        campaign.retires_at = header.retires_at;
        campaign.allowed = header.allowed;
        campaign.expiry_next = header.expiry_next;
        // A member takes two bytes at least: a damaged count must not make us ask for memory that is not there.
        campaign
            .members
            .reserve(usize::try_from(header.members).unwrap_or(usize::MAX).min(self.bytes.len() / 2));
        for _ in 0..header.members {
            let len = self.take(1, "a member")?[0];
            let id = core::str::from_utf8(self.take(usize::from(len), "a member")?);
            let id = id.map_err(|_| SnapshotError::Malformed("a member"))?;
            if !campaign.members.find_or_add(id).1 {
                return Err(SnapshotError::Malformed("a member stands twice"));
            }
        }
        let rows = usize::try_from(header.rows).ok().and_then(|rows| rows.checked_mul(ROW_BYTES));
        let rows = self.take(rows.ok_or(SnapshotError::Malformed("the coupons"))?, "the coupons")?;
        campaign.rows.reserve_exact(rows.len() / ROW_BYTES);
        for row in rows.chunks_exact(ROW_BYTES) {
            let row = read_row(row)?;
            if row.member >= campaign.members.len() {
                return Err(SnapshotError::Malformed("a coupon names a member that is not there"));
            }
            campaign.rows.push(row);
            campaign.members.set_latest(row.member, campaign.rows.len() as u32);
        }
        campaign.holds = header.holds.into_iter().collect();
        campaign.redemptions = header.redemptions.into_iter().collect();
        Ok(campaign)
    }

    fn keys(&mut self, count: u64) -> Result<IdempotencyTable, SnapshotError> {
        let mut table = IdempotencyTable::new();
        for _ in 0..count {
            let bytes = self.take(KEPT_BYTES, "an idempotency key")?;
            let word = |i: usize| u64::from_le_bytes(core::array::from_fn(|k| bytes[i * 8 + k]));
            let remembered = Remembered::from_words(word(5), word(6), word(7));
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

fn read_row(bytes: &[u8]) -> Result<CouponRow, SnapshotError> {
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

fn put_cbor<T: Encode<()>>(out: &mut Vec<u8>, value: &T) {
    let start = out.len();
    out.extend_from_slice(&[0; 8]);
    minicbor::encode(value, &mut *out).expect("a vector takes every write");
    let length = (out.len() - start - 8) as u64;
    out[start..start + 8].copy_from_slice(&length.to_le_bytes());
}

impl fmt::Display for SnapshotError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Version(version) => {
                write!(f, "the snapshot has version {version}; this program reads version {VERSION}")
            }
            Self::Malformed(what) => write!(f, "the snapshot is damaged or cut short: {what}"),
            Self::Digest => f.write_str("the snapshot's content differs from its digest"),
        }
    }
}

impl std::error::Error for SnapshotError {}
