//! Writing around rows that the old table refuses, so that one of them does not keep all others waiting.

use crate::database::{Book, LegacyError, OldDatabase, TargetRow, Written};

/// What came of it.
pub(crate) enum Around {
    /// Every row was written or refused.
    Done(Parts),
    /// Somebody else leads or has written further; some of the rows may have been written before that.
    Fenced(Option<Book>),
}

/// Which rows were not written, by index.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Parts {
    /// The old table has no such row.
    pub(crate) absent: Vec<usize>,
    /// The old table refuses them, in these words.
    pub(crate) refused: Vec<(usize, String)>,
    /// Whether the checkpoint that was asked for is written: not if it was written in parts.
    pub(crate) at_seq: bool,
}

/// Writes `rows` with the checkpoint `seq`. If the old table refuses one of them, it is looked for by halves, and the others are
/// written with the checkpoint `before`, which is the one that is there: a checkpoint that moves with a part would say of the
/// other parts that they are written.
///
/// # Errors
/// As [`OldDatabase::write`]: what is not about a row. Some of the rows may have been written.
pub(crate) async fn write_around(
    database: &dyn OldDatabase,
    rows: &[TargetRow],
    (before, seq): (u64, u64),
    epoch: u64,
) -> Result<Around, LegacyError> {
    let mut parts = Parts { at_seq: true, ..Parts::default() };
    let mut open = vec![(0, rows.len())];
    while let Some((from, to)) = open.pop() {
        let checkpoint = if parts.at_seq { seq } else { before };
        let why = match database.write(&rows[from..to], checkpoint, epoch).await? {
            Written::Done { absent } => {
                parts.absent.extend(absent.into_iter().map(|index| from + index));
                continue;
            }
            Written::Fenced { book } => return Ok(Around::Fenced(book)),
            Written::Refused { why } => why,
        };
        parts.at_seq = false;
        match to - from {
            0 => return Err(LegacyError::Refused(why)),
            1 => parts.refused.push((from, why)),
            length => {
                let middle = from + length / 2;
                open.extend([(middle, to), (from, middle)]);
            }
        }
    }
    Ok(Around::Done(parts))
}
