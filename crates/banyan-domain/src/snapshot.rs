//! A snapshot of the state as bytes: columns for what there are millions of, CBOR for the rest.
//!
//! Layout: a CBOR header (version, secret, time, seq, digest), then each campaign, the stock, the ledger, the sagas, the
//! orders, the way over from an old shop, and the idempotency keys, each length given before its bytes. Here it is written; `restore` reads it.

mod restore;

use crate::coupon::{CampaignDefinition, Hold, Redemption, Retired, Totals};
use crate::{CampaignNo, KeyStamp, State, StoreSecret, Timestamp};
use core::fmt;
use minicbor::{Decode, Encode};

const VERSION: u32 = 5;
/// The oldest that is still read: it has no watermarks.
const VERSION_MIN: u32 = 4;
const ROW_BYTES: usize = 27;
const KEPT_BYTES: usize = 72;

/// Why bytes are not a snapshot.
#[derive(Debug, PartialEq, Eq)]
pub enum SnapshotError {
    /// Made by another version.
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
        self.stock.write_snapshot(&mut out);
        self.ledger.write_snapshot(&mut out);
        self.sagas.write_snapshot(&mut out);
        self.orders.write_snapshot(&mut out);
        self.legacy.write_snapshot(&mut out);
        for kept in self.idempotency.iter() {
            let KeyStamp { high, low, request } = kept.stamp;
            let words = [high, low, request, kept.at.as_millis(), kept.seq];
            for word in words.into_iter().chain(kept.remembered.to_words()) {
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
                write!(
                    f,
                    "the snapshot has version {version}; this program reads versions {VERSION_MIN} to {VERSION}"
                )
            }
            Self::Malformed(what) => write!(f, "the snapshot is damaged or cut short: {what}"),
            Self::Digest => f.write_str("the snapshot's content differs from its digest"),
        }
    }
}

impl std::error::Error for SnapshotError {}
