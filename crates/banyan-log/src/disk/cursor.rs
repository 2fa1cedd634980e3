//! Reads the blocks of one segment in order and verifies each.

use crate::disk::file::SegmentFile;
use crate::error::LogError;
use crate::format::block::{BLOCK_BYTES_LIMIT, FIRST_BODY_BYTES, HEADER_BYTES, Header, sectors_of};
use crate::format::sector::{Found, Kind, PAYLOAD_BYTES, SECTOR_BYTES, inspect};
use crate::format::segment::{Chain, FIRST_BLOCK_SECTOR, read_chain};
use crate::types::{Block, Seq};

/// Sectors read at a time: 1 MiB.
const CHUNK_SECTORS: u32 = 2048;

/// A place in a segment, the chain up to there, and the bytes read ahead.
pub(crate) struct Cursor {
    pub(crate) segment: SegmentFile,
    /// Sector the next block starts at.
    pub(crate) at: u32,
    /// Sector the block in front of the cursor starts at; equal to `at` in front of the first block.
    pub(crate) last: u32,
    /// What the next block must continue.
    pub(crate) chain: Chain,
    buffer: Vec<u8>,
    buffer_at: u32,
    buffer_sectors: u32,
}

/// What was found at the cursor.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// A block; the cursor is behind it.
    Block,
    /// The end of a complete segment.
    Seal,
    /// Zeros.
    Blank,
    /// The start of a block of which at least one sector is still zeros.
    Torn,
}

impl Cursor {
    /// In front of the first block of `segment`. The buffer of an earlier cursor can be handed on.
    pub(crate) fn new(segment: SegmentFile, chain: Chain, buffer: Vec<u8>) -> Cursor {
        let at = FIRST_BLOCK_SECTOR;
        Cursor { segment, at, last: at, chain, buffer, buffer_at: 0, buffer_sectors: 0 }
    }

    /// The buffer, for the next cursor.
    pub(crate) fn into_buffer(self) -> Vec<u8> {
        self.buffer
    }

    /// Reads what stands at the cursor, touching only sectors below `limit`. On a block, fills `into`.
    pub(crate) fn step(&mut self, limit: u32, into: &mut Block) -> Result<Step, LogError> {
        let (first, chain) = (self.at, self.chain);
        let header = match self.block_start(limit)? {
            Start::Header(header) => header,
            Start::Seal => return Ok(Step::Seal),
            Start::Blank => return Ok(Step::Blank),
        };
        let length = header.body_bytes as usize;
        let sectors = sectors_of(length as u64) as u32;
        into.body.clear();
        into.body.reserve(length);
        let index = self.segment.index;
        for place in 0..sectors {
            let at = first + place;
            if at >= limit {
                return Ok(Step::Torn);
            }
            let sector = self.sector(at, limit)?;
            let payload = match inspect(sector, index, at) {
                Found::Valid { kind: Kind::BlockFirst, payload, .. } if place == 0 => {
                    &payload[HEADER_BYTES..]
                }
                Found::Valid { kind: Kind::BlockRest, place: stored, tag, payload }
                    if u32::from(stored) == place && tag == chain.next.0 as u32 =>
                {
                    &payload[..]
                }
                Found::Blank => return Ok(Step::Torn),
                other => {
                    let found = other.describe();
                    let expected = format!("sector {place} of the block that starts with seq {}", chain.next);
                    return Err(self.segment.damage(at, chain.head(), expected, found));
                }
            };
            let wanted = payload.len().min(length - into.body.len());
            into.body.extend_from_slice(&payload[..wanted]);
        }
        debug_assert!(length <= FIRST_BODY_BYTES || into.body.len() == length, "every sector was taken");
        if header.hash_with(&into.body) != header.hash {
            let expected = format!("a block with hash {}", header.hash);
            return Err(self.segment.damage(
                first,
                chain.head(),
                expected,
                "one whose bytes have another hash",
            ));
        }
        self.fill(header, into);
        self.advance(&header, sectors);
        Ok(Step::Block)
    }

    /// Moves past blocks that end before `from`, looking at their headers only. Stops at the first block that reaches
    /// it, at the seal or at `limit`.
    pub(crate) fn skip_before(&mut self, from: Seq, limit: u32) -> Result<(), LogError> {
        while self.at < limit {
            let Start::Header(header) = self.block_start(limit)? else { break };
            if header.first_seq.0 + u64::from(header.count.max(1)) > from.0 {
                break;
            }
            self.advance(&header, sectors_of(u64::from(header.body_bytes)) as u32);
        }
        Ok(())
    }

    /// The last sector a block may use is the one before the seal's.
    pub(crate) fn block_limit(&self) -> u32 {
        self.segment.sectors - 1
    }

    /// Sector `at`, from the buffer or read ahead up to `limit`.
    pub(crate) fn sector(&mut self, at: u32, limit: u32) -> Result<&[u8; SECTOR_BYTES], LogError> {
        if at < self.buffer_at || at >= self.buffer_at + self.buffer_sectors {
            self.load(at, limit)?;
        }
        let offset = (at - self.buffer_at) as usize * SECTOR_BYTES;
        Ok(self.buffer[offset..].first_chunk().expect("the sector was just loaded"))
    }

    /// Forgets what was read ahead, because the file has changed.
    pub(crate) fn forget(&mut self) {
        self.buffer_sectors = 0;
    }

    fn load(&mut self, at: u32, limit: u32) -> Result<(), LogError> {
        let sectors = (limit - at).min(CHUNK_SECTORS);
        let bytes = sectors as usize * SECTOR_BYTES;
        self.buffer_sectors = 0;
        if self.buffer.len() < bytes {
            self.buffer.resize(bytes, 0);
        }
        let offset = u64::from(at) * SECTOR_BYTES as u64;
        self.segment.file.read_at(&mut self.buffer[..bytes], offset).map_err(|error| {
            LogError::io(format!("reading {bytes} bytes at offset {offset} of {}", self.segment.path), error)
        })?;
        self.buffer_at = at;
        self.buffer_sectors = sectors;
        Ok(())
    }

    /// Reads the sector at the cursor and checks that what starts there continues the chain.
    fn block_start(&mut self, limit: u32) -> Result<Start, LogError> {
        let (at, chain, index, block_limit) = (self.at, self.chain, self.segment.index, self.block_limit());
        let damage = |cursor: &Cursor, expected: String, found: String| {
            Err(cursor.segment.damage(at, chain.head(), expected, found))
        };
        let expected = || format!("a block that starts with seq {}, a seal, or zeros", chain.next);
        match inspect(self.sector(at, limit)?, index, at) {
            Found::Blank => Ok(Start::Blank),
            Found::Valid { kind: Kind::Seal, payload, .. } => {
                let sealed = read_chain(payload);
                if sealed != Some(chain) {
                    return damage(
                        self,
                        format!("a seal after seq {}", chain.head()),
                        "another seal".to_owned(),
                    );
                }
                Ok(Start::Seal)
            }
            Found::Valid { kind: Kind::BlockFirst, place: 0, payload, .. } => {
                let Some(header) = Header::decode(payload) else {
                    return damage(self, "a block header".to_owned(), "another structure".to_owned());
                };
                if let Some((expected, found)) = mismatch(&header, &chain) {
                    return damage(self, expected, found);
                }
                let bytes = u64::from(header.body_bytes);
                if bytes > BLOCK_BYTES_LIMIT || sectors_of(bytes) > u64::from(block_limit.saturating_sub(at))
                {
                    return damage(
                        self,
                        "a block that fits its segment".to_owned(),
                        format!("one of {bytes} bytes"),
                    );
                }
                Ok(Start::Header(header))
            }
            other => {
                let found = other.describe();
                damage(self, expected(), found)
            }
        }
    }

    fn fill(&self, header: Header, into: &mut Block) {
        into.epoch = header.epoch;
        into.first_seq = header.first_seq;
        into.count = header.count;
        into.time_ms = header.time_ms;
        into.previous = header.previous;
        into.hash = header.hash;
    }

    fn advance(&mut self, header: &Header, sectors: u32) {
        self.last = self.at;
        self.at += sectors;
        self.chain = Chain {
            next: header.first_seq.plus(header.count),
            previous: header.hash,
            epoch: header.epoch,
            time_ms: header.time_ms,
        };
    }
}

enum Start {
    Header(Header),
    Seal,
    Blank,
}

/// How a header fails to continue the chain: what was expected and what was found.
fn mismatch(header: &Header, chain: &Chain) -> Option<(String, String)> {
    if header.first_seq != chain.next {
        return Some((
            format!("a block that starts with seq {}", chain.next),
            format!("seq {}", header.first_seq),
        ));
    }
    if header.previous != chain.previous {
        return Some((format!("previous hash {}", chain.previous), format!("{}", header.previous)));
    }
    // Only an epoch start may raise the epoch, by being empty; it must raise it.
    let raises = header.epoch > chain.epoch;
    if (header.count == 0) != raises
        || header.epoch < chain.epoch
        || (header.count == 0 && header.body_bytes != 0)
    {
        let found = format!("epoch {} with {} events", header.epoch, header.count);
        return Some((format!("events of epoch {} or the start of a later one", chain.epoch), found));
    }
    None
}

const _: () = assert!(PAYLOAD_BYTES > HEADER_BYTES);
