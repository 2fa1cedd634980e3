//! The sectors that hold a segment together, the manifest, and their names.

use crate::format::block::{eight_at, hash_at};
use crate::format::sector::{Found, Kind, PAYLOAD_BYTES, SECTOR_BYTES, SECTOR_HEAD_BYTES, finish, inspect};
use crate::types::{BlockHash, Epoch, Seq};

/// Sector in which a segment's first block starts, after header and opening.
pub(crate) const FIRST_BLOCK_SECTOR: u32 = 2;
/// Index of the first segment of a log.
pub(crate) const FIRST_SEGMENT: u64 = 1;
/// Sectors of a segment that hold no blocks: header, opening and seal.
pub(crate) const SEGMENT_OVERHEAD_SECTORS: u32 = 3;
/// Name of the manifest.
pub(crate) const MANIFEST: &str = "MANIFEST";
/// Name of the lock file.
pub(crate) const LOCK: &str = "LOCK";
/// Ending of names that mean nothing yet.
pub(crate) const TEMPORARY: &str = ".new";

const MAGIC: u64 = u64::from_le_bytes(*b"BanyanLg");

/// File name of the segment with this index.
pub(crate) fn name_of(index: u64) -> String {
    format!("{index:020}.seg")
}

/// Index of the segment with this file name.
pub(crate) fn index_of(name: &str) -> Option<u64> {
    let digits = name.strip_suffix(".seg")?;
    if digits.len() != 20 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    digits.parse().ok()
}

/// Sector 0: which segment this is and how large, in bytes.
pub(crate) fn header(index: u64, bytes: u64) -> [u8; SECTOR_BYTES] {
    fixed(index, 0, Kind::Header, |payload| {
        payload[..8].copy_from_slice(&MAGIC.to_le_bytes());
        payload[8..16].copy_from_slice(&index.to_le_bytes());
        payload[16..24].copy_from_slice(&bytes.to_le_bytes());
    })
}

/// Size in bytes that sector 0 of segment `index` names; `None` if it is no header of this segment.
pub(crate) fn read_header(sector: &[u8; SECTOR_BYTES], index: u64) -> Option<u64> {
    let payload = payload_of(sector, index, 0, Kind::Header)?;
    let eight = eight_at(payload);
    (eight(0) == MAGIC && eight(8) == index).then(|| eight(16))
}

/// Where the chain of blocks stands: what the next block must continue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Chain {
    /// Seq of the next event.
    pub(crate) next: Seq,
    /// Hash of the last block.
    pub(crate) previous: BlockHash,
    /// Epoch of the last block.
    pub(crate) epoch: Epoch,
    /// Time of the last block, milliseconds.
    pub(crate) time_ms: u64,
}

impl Chain {
    /// In front of the first block of a log.
    pub(crate) const START: Chain =
        Chain { next: Seq(1), previous: BlockHash::ZERO, epoch: Epoch::ZERO, time_ms: 0 };

    /// Seq of the last event.
    pub(crate) fn head(&self) -> Seq {
        Seq(self.next.0 - 1)
    }

    fn write(&self, payload: &mut [u8]) {
        payload[..8].copy_from_slice(&MAGIC.to_le_bytes());
        payload[8..16].copy_from_slice(&self.next.0.to_le_bytes());
        payload[16..24].copy_from_slice(&self.epoch.0.to_le_bytes());
        payload[24..32].copy_from_slice(&self.time_ms.to_le_bytes());
        payload[32..64].copy_from_slice(&self.previous.0);
    }

    fn read(payload: &[u8; PAYLOAD_BYTES]) -> Option<Chain> {
        let (eight, hash) = (eight_at(payload), hash_at(payload));
        // A next seq of 0 cannot be: it would make the head negative.
        if eight(0) != MAGIC || eight(8) == 0 {
            return None;
        }
        Some(Chain { next: Seq(eight(8)), epoch: Epoch(eight(16)), time_ms: eight(24), previous: hash(32) })
    }
}

/// Sector 1: what the first block of the segment continues.
pub(crate) fn opening(index: u64, chain: &Chain) -> [u8; SECTOR_BYTES] {
    fixed(index, 1, Kind::Opening, |payload| chain.write(payload))
}

/// The sector behind the last block of a complete segment: what the next segment continues.
pub(crate) fn seal(index: u64, sector: u32, chain: &Chain) -> [u8; SECTOR_BYTES] {
    fixed(index, sector, Kind::Seal, |payload| chain.write(payload))
}

/// Reads the payload of an opening or a seal.
pub(crate) fn read_chain(payload: &[u8; PAYLOAD_BYTES]) -> Option<Chain> {
    Chain::read(payload)
}

/// Where the live log starts. Without it, a lost first segment would look like an archived one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Manifest {
    /// Index of the first live segment.
    pub(crate) first_segment: u64,
    /// What that segment continues.
    pub(crate) chain: Chain,
}

impl Manifest {
    /// Of a log that has lost nothing to the archive yet.
    pub(crate) const START: Manifest = Manifest { first_segment: FIRST_SEGMENT, chain: Chain::START };

    pub(crate) fn encode(&self) -> [u8; SECTOR_BYTES] {
        fixed(0, 0, Kind::Manifest, |payload| {
            self.chain.write(payload);
            payload[64..72].copy_from_slice(&self.first_segment.to_le_bytes());
        })
    }

    pub(crate) fn decode(sector: &[u8; SECTOR_BYTES]) -> Option<Manifest> {
        let payload = payload_of(sector, 0, 0, Kind::Manifest)?;
        Some(Manifest { first_segment: eight_at(payload)(64), chain: Chain::read(payload)? })
    }
}

fn fixed(segment: u64, index: u32, kind: Kind, write: impl FnOnce(&mut [u8])) -> [u8; SECTOR_BYTES] {
    let mut sector = [0; SECTOR_BYTES];
    write(&mut sector[SECTOR_HEAD_BYTES..]);
    finish(&mut sector, segment, index, kind, 0, 0);
    sector
}

fn payload_of(
    sector: &[u8; SECTOR_BYTES],
    segment: u64,
    index: u32,
    wanted: Kind,
) -> Option<&[u8; PAYLOAD_BYTES]> {
    match inspect(sector, segment, index) {
        Found::Valid { kind, payload, .. } if kind == wanted => Some(payload),
        _ => None,
    }
}
