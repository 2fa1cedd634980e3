//! Follows a log that is being written, up to what is confirmed.

use std::io;
use std::sync::Arc;

use crate::disk::Shared;
use crate::disk::cursor::{Cursor, Step};
use crate::disk::file::SegmentFile;
use crate::error::LogError;
use crate::format::sector::{Found, Kind, inspect};
use crate::format::segment::{Chain, read_chain};
use crate::log::LogReader;
use crate::types::{Block, Seq};

/// A reader of the live segments.
pub(crate) struct DiskReader {
    shared: Arc<Shared>,
    cursor: Option<Cursor>,
    next_segment: u64,
    /// Blocks that end before this are passed over.
    from: Seq,
}

impl DiskReader {
    /// A reader that starts in segment `index`, which is known to hold (or to be about to hold) `from`.
    pub(crate) fn new(shared: Arc<Shared>, index: u64, from: Seq) -> DiskReader {
        DiskReader { shared, cursor: None, next_segment: index, from }
    }

    /// Opens the next segment. The confirmed end lies in it or behind it.
    fn enter(&mut self, buffer: Vec<u8>, limit: u32, continues: Option<Chain>) -> Result<(), LogError> {
        let index = self.next_segment;
        let segment =
            SegmentFile::open(self.shared.storage.as_ref(), index, false).map_err(|error| match error {
                // Only the archiver takes a segment out of the table, and then its file. A file that is gone without that was
                // taken by somebody else, and must not be looked for in the archive.
                LogError::Io { source, .. }
                    if source.kind() == io::ErrorKind::NotFound && !self.shared.is_live(index) =>
                {
                    self.shared.archived(continues.map_or(self.from, |chain| chain.next))
                }
                other => other,
            })?;
        let mut cursor = Cursor::new(segment, Chain::START, buffer);
        let limit = limit.min(cursor.segment.sectors);
        let opening = match inspect(cursor.sector(1, limit)?, index, 1) {
            Found::Valid { kind: Kind::Opening, payload, .. } => read_chain(payload),
            _ => None,
        };
        let after = continues.map_or(Seq::ZERO, |chain| chain.head());
        let Some(chain) = opening.filter(|chain| continues.is_none_or(|before| before == *chain)) else {
            let expected = format!("an opening that continues seq {after}");
            return Err(cursor.segment.damage(1, after, expected, "something else"));
        };
        cursor.chain = chain;
        cursor.skip_before(self.from, limit)?;
        self.cursor = Some(cursor);
        Ok(())
    }
}

impl LogReader for DiskReader {
    fn next(&mut self, into: &mut Block) -> Result<bool, LogError> {
        loop {
            let Some(cursor) = &mut self.cursor else {
                let Some(limit) = self.shared.readable(self.next_segment) else {
                    return Ok(false);
                };
                self.enter(Vec::new(), limit, None)?;
                continue;
            };
            let index = cursor.segment.index;
            // Asked before the cursor looks: what is confirmed only grows, so everything below it is on disk.
            let limit = self.shared.readable(index).unwrap_or(0).min(cursor.segment.sectors);
            if cursor.at >= limit {
                return Ok(false);
            }
            match cursor.step(limit, into)? {
                Step::Block if into.reaches(self.from) => return Ok(true),
                Step::Block => {}
                Step::Seal if limit == cursor.segment.sectors => {
                    let Some(limit) = self.shared.readable(index + 1) else {
                        return Ok(false);
                    };
                    let done = self.cursor.take().expect("the cursor is in use");
                    let chain = done.chain;
                    self.next_segment = index + 1;
                    self.enter(done.into_buffer(), limit, Some(chain))?;
                }
                Step::Seal | Step::Blank | Step::Torn => {
                    let (at, after) = (cursor.at, cursor.chain.head());
                    return Err(cursor.segment.damage(
                        at,
                        after,
                        "a block that was confirmed",
                        "zeros or a seal",
                    ));
                }
            }
        }
    }
}
