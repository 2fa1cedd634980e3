//! Walks a log's segments from the first to the end of what was written, and says what stands at that end.
//!
//! What is accepted at the end, and nowhere else: zeros; or a *torn block*, made only of sectors that are each intact
//! and for exactly that place, or zeros. Such a block was in flight when the machine stopped and was never
//! acknowledged. Everything else that is not the next block is damage.

use std::sync::Arc;

use crate::disk::Live;
use crate::disk::cursor::{Cursor, Step};
use crate::disk::file::SegmentFile;
use crate::error::LogError;
use crate::format::block::{BLOCK_SECTORS_LIMIT, Header, sectors_of};
use crate::format::sector::{Found, Kind, inspect};
use crate::format::segment::{Chain, FIRST_BLOCK_SECTOR, FIRST_SEGMENT, Manifest, read_chain};
use crate::storage::Storage;
use crate::types::Block;

/// Where a segment is: it is opened only when the walk gets there, so that a long log does not run out of handles.
#[derive(Clone)]
pub(crate) struct Place {
    pub(crate) storage: Arc<dyn Storage>,
    pub(crate) index: u64,
}

impl Place {
    pub(crate) fn open(&self, writable: bool) -> Result<SegmentFile, LogError> {
        SegmentFile::open(self.storage.as_ref(), self.index, writable)
    }
}

/// The end of what was written.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Tail {
    /// Position of the tail's segment in the walked list.
    pub(crate) position: usize,
    /// Whether that segment has its opening.
    pub(crate) opened: bool,
    /// Sector where the next write goes.
    pub(crate) at: u32,
    /// Sectors `written_from..at` were the last write to the segment that is there whole: one block, with the opening in
    /// front of it if it is the first. Empty if the segment is not opened.
    pub(crate) written_from: u32,
    /// Sectors `at..torn_end` hold a torn block; equal to `at` if there is none.
    pub(crate) torn_end: u32,
    /// Sector of the seal of the segment before, if the walk came through it.
    pub(crate) sealed_at: Option<u32>,
    /// What the next block continues.
    pub(crate) chain: Chain,
}

/// What a step of the walk found.
pub(crate) enum Walked {
    /// The next block.
    Block,
    /// The end of the log.
    End(Tail),
}

/// The walk. `places` are contiguous by index; the last may be the spare.
pub(crate) struct Walker {
    places: Vec<Place>,
    position: usize,
    cursor: Option<Cursor>,
    /// Known start, from the manifest; `None` takes the first opening's word (an archive).
    start: Option<Chain>,
    chain: Option<Chain>,
    entered: Vec<Live>,
    sealed_at: Option<u32>,
    end: Option<Tail>,
    buffer: Vec<u8>,
}

impl Walker {
    /// A walk over `places` (not empty), starting where `start` says.
    pub(crate) fn new(places: Vec<Place>, start: Option<Chain>) -> Walker {
        Walker {
            places,
            position: 0,
            cursor: None,
            start,
            chain: None,
            entered: Vec::new(),
            sealed_at: None,
            end: None,
            buffer: Vec::new(),
        }
    }

    /// Where the chain of a log starts whose first segment is `first`: known from the manifest for the live log, known to
    /// be the start for the first segment ever, taken from the opening otherwise.
    pub(crate) fn start_of(first: u64, manifest: &Manifest) -> Option<Chain> {
        if first == manifest.first_segment {
            return Some(manifest.chain);
        }
        (first == FIRST_SEGMENT).then_some(Chain::START)
    }

    /// The chain up to where the walk is.
    pub(crate) fn chain(&self) -> Chain {
        self.cursor.as_ref().map(|cursor| cursor.chain).or(self.chain).or(self.start).unwrap_or(Chain::START)
    }

    /// Segments walked into so far.
    pub(crate) fn entered(&self) -> &[Live] {
        &self.entered
    }

    /// All segments of the walk.
    pub(crate) fn places(&self) -> &[Place] {
        &self.places
    }

    /// Lets the walk go on into a segment that appeared after it began.
    pub(crate) fn add(&mut self, place: Place) {
        self.places.push(place);
    }

    /// Forgets read-ahead after an error, so that the same place can be looked at again.
    pub(crate) fn look_again(&mut self) {
        if let Some(cursor) = &mut self.cursor {
            cursor.forget();
        }
    }

    /// The next block, or the end (again and again).
    pub(crate) fn next(&mut self, into: &mut Block) -> Result<Walked, LogError> {
        loop {
            if let Some(tail) = self.end {
                return Ok(Walked::End(tail));
            }
            if self.cursor.is_none() && !self.enter()? {
                continue;
            }
            let cursor = self.cursor.as_mut().expect("a segment was just entered");
            let limit = cursor.segment.sectors;
            if cursor.at >= limit {
                let chain = cursor.chain;
                return Err(cursor.segment.damage(
                    limit - 1,
                    chain.head(),
                    "a seal",
                    "the end of the segment",
                ));
            }
            match cursor.step(limit, into)? {
                Step::Block => return Ok(Walked::Block),
                Step::Seal => self.leave()?,
                Step::Blank | Step::Torn => {
                    let at = cursor.at;
                    let torn_end = torn_end(cursor, at)?;
                    let opening = FIRST_BLOCK_SECTOR - 1;
                    let written_from = if cursor.last == FIRST_BLOCK_SECTOR { opening } else { cursor.last };
                    let (position, chain, sealed_at) = (self.position, cursor.chain, self.sealed_at);
                    self.finish(Tail {
                        position,
                        opened: true,
                        at,
                        written_from,
                        torn_end,
                        sealed_at,
                        chain,
                    })?;
                }
            }
        }
    }

    /// Reads the opening of the segment the walk stands in front of. False: it has none, and the walk has ended.
    fn enter(&mut self) -> Result<bool, LogError> {
        let segment = self.places[self.position].open(false)?;
        let known = self.chain.or(self.start);
        let mut cursor =
            Cursor::new(segment, known.unwrap_or(Chain::START), std::mem::take(&mut self.buffer));
        let (index, limit) = (cursor.segment.index, cursor.segment.sectors);
        if limit <= FIRST_BLOCK_SECTOR + 1 {
            return Err(cursor.segment.damage(
                0,
                cursor.chain.head(),
                "a segment with room for a block",
                "none",
            ));
        }
        let opening = match inspect(cursor.sector(1, limit)?, index, 1) {
            Found::Blank => None,
            Found::Valid { kind: Kind::Opening, payload, .. } => read_chain(payload),
            other => {
                let found = other.describe();
                return Err(cursor.segment.damage(
                    1,
                    cursor.chain.head(),
                    "a segment opening or zeros",
                    found,
                ));
            }
        };
        let Some(chain) = opening else {
            if known.is_none() {
                return Err(cursor.segment.damage(1, cursor.chain.head(), "a segment opening", "zeros"));
            }
            let chain = cursor.chain;
            let torn_end = torn_end(&mut cursor, FIRST_BLOCK_SECTOR)?;
            let torn_end = if torn_end == FIRST_BLOCK_SECTOR { 1 } else { torn_end };
            self.entered.push(cursor.segment.live(chain));
            let (position, sealed_at) = (self.position, self.sealed_at);
            self.finish(Tail {
                position,
                opened: false,
                at: 1,
                written_from: 1,
                torn_end,
                sealed_at,
                chain,
            })?;
            return Ok(false);
        };
        if known.is_some_and(|known| known != chain) {
            let expected = format!("an opening after seq {}", cursor.chain.head());
            return Err(cursor.segment.damage(
                1,
                cursor.chain.head(),
                expected,
                format!("one after seq {}", chain.head()),
            ));
        }
        cursor.chain = chain;
        self.chain = Some(chain);
        self.entered.push(cursor.segment.live(chain));
        self.cursor = Some(cursor);
        Ok(true)
    }

    /// Leaves a sealed segment: nothing may follow its seal, and the next segment must be there.
    fn leave(&mut self) -> Result<(), LogError> {
        let cursor = self.cursor.as_mut().expect("only an entered segment is left");
        let (at, limit) = (cursor.at, cursor.segment.sectors);
        expect_blank(cursor, at + 1, "zeros after the segment's seal")?;
        if self.position + 1 == self.places.len() {
            let next = cursor.segment.index + 1;
            let expected = format!("segment {next} to follow this sealed one");
            return Err(cursor.segment.damage(limit - 1, cursor.chain.head(), expected, "no such file"));
        }
        self.chain = Some(cursor.chain);
        self.sealed_at = Some(at);
        self.position += 1;
        self.buffer = self.cursor.take().map(Cursor::into_buffer).unwrap_or_default();
        Ok(())
    }

    /// Checks what follows the tail's segment: nothing, or one blank spare if the tail's segment is in use.
    fn finish(&mut self, tail: Tail) -> Result<(), LogError> {
        let head = tail.chain.head();
        if let Some(place) = self.places.get(tail.position + 1) {
            let spare = place.open(false)?;
            if !tail.opened {
                return Err(spare.damage(0, head, "no segment after one that is not in use", "a segment"));
            }
            let mut cursor = Cursor::new(spare, tail.chain, Vec::new());
            expect_blank(&mut cursor, 1, "zeros, because the segment before this one is not sealed")?;
        }
        if let Some(place) = self.places.get(tail.position + 2) {
            return Err(place.open(false)?.damage(0, head, "one spare segment at most", "another segment"));
        }
        self.end = Some(tail);
        Ok(())
    }
}

/// Where the torn block that would start at `base` ends; `base` if there are only zeros.
fn torn_end(cursor: &mut Cursor, base: u32) -> Result<u32, LogError> {
    let (index, chain, limit) = (cursor.segment.index, cursor.chain, cursor.segment.sectors);
    // Until the first sector has told how long the block is, it may be as long as a block can be.
    let mut block_end = cursor.block_limit().min(base.saturating_add(BLOCK_SECTORS_LIMIT));
    let mut end = base;
    for at in base..limit {
        let found = inspect(cursor.sector(at, limit)?, index, at);
        let belongs = match found {
            Found::Blank => continue,
            Found::Valid { kind: Kind::BlockFirst, payload, .. } if at == base => {
                let header = Header::decode(payload).filter(|header| header.first_seq == chain.next);
                if let Some(header) = &header {
                    let sectors = sectors_of(u64::from(header.body_bytes));
                    block_end = u32::try_from(u64::from(base) + sectors).unwrap_or(limit).min(block_end);
                }
                header.is_some_and(|header| header.previous == chain.previous)
            }
            Found::Valid { kind: Kind::BlockRest, place, tag, .. } => {
                at < block_end && at > base && u32::from(place) == at - base && tag == chain.next.0 as u32
            }
            _ => false,
        };
        if !belongs {
            let found = match found {
                Found::Valid { kind: Kind::BlockFirst, .. } => "a block after a gap".to_owned(),
                other => other.describe(),
            };
            let expected = "zeros, or the rest of a block that was being written";
            return Err(cursor.segment.damage(at, chain.head(), expected, found));
        }
        end = at + 1;
    }
    Ok(end)
}

fn expect_blank(cursor: &mut Cursor, from: u32, expected: &str) -> Result<(), LogError> {
    let (index, limit, head) = (cursor.segment.index, cursor.segment.sectors, cursor.chain.head());
    for at in from..limit {
        let found = inspect(cursor.sector(at, limit)?, index, at);
        if !matches!(found, Found::Blank) {
            let found = found.describe();
            return Err(cursor.segment.damage(at, head, expected, found));
        }
    }
    Ok(())
}
