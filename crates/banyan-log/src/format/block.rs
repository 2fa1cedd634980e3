//! One block: header and body, spread over sectors.
//!
//! | offset | bytes | what |
//! | --- | --- | --- |
//! | 0 | 4 | magic `BLK1` |
//! | 4 | 4 | count of events |
//! | 8 | 8 | epoch |
//! | 16 | 8 | first seq |
//! | 24 | 8 | time, milliseconds |
//! | 32 | 4 | body bytes |
//! | 36 | 4 | zero |
//! | 40 | 32 | hash of the block before |
//! | 72 | 32 | BLAKE3 of bytes 0..72 and the body |
//! | 104 | | body |
//!
//! The hash is checksum and chain link in one.

use crate::format::sector::{Kind, PAYLOAD_BYTES, SECTOR_BYTES, SECTOR_HEAD_BYTES, finish};
use crate::types::{Block, BlockDraft, BlockHash, Epoch, Seq};

/// Bytes of a block in front of its body.
pub(crate) const HEADER_BYTES: usize = 104;
/// Sectors a block can have: its sectors' places are 16 bits.
pub(crate) const BLOCK_SECTORS_LIMIT: u32 = 1 << 16;
/// Largest body the format can hold, bytes.
pub(crate) const BLOCK_BYTES_LIMIT: u64 =
    BLOCK_SECTORS_LIMIT as u64 * PAYLOAD_BYTES as u64 - HEADER_BYTES as u64;
/// Body bytes in the first sector of a block.
pub(crate) const FIRST_BODY_BYTES: usize = PAYLOAD_BYTES - HEADER_BYTES;

const MAGIC: [u8; 4] = *b"BLK1";
const HASHED_BYTES: usize = 72;

const _: () = assert!(crate::log::APPEND_OVERHEAD_BYTES == (HEADER_BYTES + PAYLOAD_BYTES - 1) as u64);

/// Sectors a block with `body_bytes` of body takes.
pub(crate) fn sectors_of(body_bytes: u64) -> u64 {
    (HEADER_BYTES as u64 + body_bytes).div_ceil(PAYLOAD_BYTES as u64)
}

/// A block's header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) epoch: Epoch,
    pub(crate) first_seq: Seq,
    pub(crate) count: u32,
    pub(crate) time_ms: u64,
    pub(crate) body_bytes: u32,
    pub(crate) previous: BlockHash,
    pub(crate) hash: BlockHash,
}

impl Header {
    /// The header of a new block, hash included.
    pub(crate) fn new(epoch: Epoch, first_seq: Seq, previous: BlockHash, draft: BlockDraft<'_>) -> Header {
        let body_bytes = u32::try_from(draft.body.len()).expect("bodies are limited to far below 4 GiB");
        let mut header = Header {
            epoch,
            first_seq,
            count: draft.count,
            time_ms: draft.time_ms,
            body_bytes,
            previous,
            hash: BlockHash::ZERO,
        };
        header.hash = header.hash_with(draft.body);
        header
    }

    /// The header of a block that was read, and its body.
    pub(crate) fn of(block: Block) -> (Header, Vec<u8>) {
        let Block { epoch, first_seq, count, time_ms, previous, hash, body } = block;
        let body_bytes = u32::try_from(body.len()).expect("a block that was read is within the limit");
        (Header { epoch, first_seq, count, time_ms, body_bytes, previous, hash }, body)
    }

    /// The hash this header has with this body.
    pub(crate) fn hash_with(&self, body: &[u8]) -> BlockHash {
        let mut hasher = blake3::Hasher::new();
        hasher.update(&self.encode()[..HASHED_BYTES]);
        hasher.update(body);
        BlockHash(*hasher.finalize().as_bytes())
    }

    fn encode(&self) -> [u8; HEADER_BYTES] {
        let mut bytes = [0; HEADER_BYTES];
        bytes[..4].copy_from_slice(&MAGIC);
        bytes[4..8].copy_from_slice(&self.count.to_le_bytes());
        bytes[8..16].copy_from_slice(&self.epoch.0.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.first_seq.0.to_le_bytes());
        bytes[24..32].copy_from_slice(&self.time_ms.to_le_bytes());
        bytes[32..36].copy_from_slice(&self.body_bytes.to_le_bytes());
        bytes[40..72].copy_from_slice(&self.previous.0);
        bytes[72..104].copy_from_slice(&self.hash.0);
        bytes
    }

    /// Reads a header from the payload of a block's first sector. `None` if it is not one.
    pub(crate) fn decode(payload: &[u8; PAYLOAD_BYTES]) -> Option<Header> {
        let (four, eight, hash) = (four_at(payload), eight_at(payload), hash_at(payload));
        if payload[..4] != MAGIC || payload[36..40] != [0; 4] {
            return None;
        }
        Some(Header {
            count: four(4),
            epoch: Epoch(eight(8)),
            first_seq: Seq(eight(16)),
            time_ms: eight(24),
            body_bytes: four(32),
            previous: hash(40),
            hash: hash(72),
        })
    }
}

/// Reads `u32`s at offsets that are inside the payload.
fn four_at(payload: &[u8; PAYLOAD_BYTES]) -> impl Fn(usize) -> u32 {
    |at| u32::from_le_bytes(*payload[at..].first_chunk().expect("header fields lie inside the payload"))
}

/// Reads `u64`s at offsets that are inside the payload.
pub(crate) fn eight_at(payload: &[u8; PAYLOAD_BYTES]) -> impl Fn(usize) -> u64 {
    |at| u64::from_le_bytes(*payload[at..].first_chunk().expect("header fields lie inside the payload"))
}

/// Reads hashes at offsets that are inside the payload.
pub(crate) fn hash_at(payload: &[u8; PAYLOAD_BYTES]) -> impl Fn(usize) -> BlockHash {
    |at| BlockHash(*payload[at..].first_chunk().expect("header fields lie inside the payload"))
}

/// Appends the sectors of a block to `out`; the block will stand at sector `first_sector` of segment `segment`.
pub(crate) fn encode(out: &mut Vec<u8>, segment: u64, first_sector: u32, header: &Header, body: &[u8]) {
    let start = out.len();
    let sectors = sectors_of(body.len() as u64) as usize;
    out.resize(start + sectors * SECTOR_BYTES, 0);
    let tag = header.first_seq.0 as u32;
    let (head, rest) = body.split_at(body.len().min(FIRST_BODY_BYTES));
    let bodies = std::iter::once(head).chain(rest.chunks(PAYLOAD_BYTES));
    for (place, (sector, part)) in
        out[start..].as_chunks_mut::<SECTOR_BYTES>().0.iter_mut().zip(bodies).enumerate()
    {
        let mut at = SECTOR_HEAD_BYTES;
        if place == 0 {
            sector[at..at + HEADER_BYTES].copy_from_slice(&header.encode());
            at += HEADER_BYTES;
        }
        sector[at..at + part.len()].copy_from_slice(part);
        sector[at + part.len()..].fill(0);
        let kind = if place == 0 { Kind::BlockFirst } else { Kind::BlockRest };
        finish(sector, segment, first_sector + place as u32, kind, place as u16, tag);
    }
}
