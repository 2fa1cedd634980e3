//! What may still be refunded: a long queue, found by number, that never moves its rows.

use super::rows::Refundable;
use crate::TransferNo;
use std::collections::VecDeque;

/// Rows that lie side by side.
const ROWS_PER_RUN: usize = 1 << 12;

/// Refundable transfers in order of their numbers, which is that of time: new ones at the back, the oldest forgotten at the
/// front. There may be a hundred million of them, so one list that grows by moving would stop the writer for seconds.
#[derive(Clone, Debug, Default)]
pub(super) struct Refundables {
    /// All full but the last. None is empty.
    runs: VecDeque<Vec<Refundable>>,
    /// How many rows of the first run are forgotten.
    forgotten: usize,
}

impl Refundables {
    pub(super) fn len(&self) -> usize {
        let last = self.runs.back().map_or(0, Vec::len);
        self.runs.len().saturating_sub(1) * ROWS_PER_RUN + last - self.forgotten
    }

    /// The oldest.
    pub(super) fn front(&self) -> Option<&Refundable> {
        self.runs.front()?.get(self.forgotten)
    }

    pub(super) fn push_back(&mut self, row: Refundable) {
        match self.runs.back_mut() {
            Some(run) if run.len() < ROWS_PER_RUN => run.push(row),
            _ => {
                let mut run = Vec::with_capacity(ROWS_PER_RUN);
                run.push(row);
                self.runs.push_back(run);
            }
        }
    }

    /// Forgets the oldest, if there is one.
    pub(super) fn pop_front(&mut self) {
        let Some(run) = self.runs.front() else { return };
        self.forgotten += 1;
        if self.forgotten == run.len() {
            self.runs.pop_front();
            self.forgotten = 0;
        }
    }

    pub(super) fn find(&self, no: TransferNo) -> Option<&Refundable> {
        let (run, place) = self.place(no)?;
        Some(&self.runs[run][place])
    }

    pub(super) fn find_mut(&mut self, no: TransferNo) -> Option<&mut Refundable> {
        let (run, place) = self.place(no)?;
        Some(&mut self.runs[run][place])
    }

    /// Every row, the oldest first.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Refundable> {
        self.runs.iter().flatten().skip(self.forgotten)
    }

    fn place(&self, no: TransferNo) -> Option<(usize, usize)> {
        let run = self.runs.partition_point(|run| run[0].no <= no).checked_sub(1)?;
        let place = self.runs[run].binary_search_by_key(&no, |row| row.no).ok()?;
        let there = run > 0 || place >= self.forgotten;
        there.then_some((run, place))
    }
}

#[cfg(test)]
mod tests {
    use super::{ROWS_PER_RUN, Refundable, Refundables};
    use crate::{AccountNo, Timestamp, TransferNo};

    /// Every third number is there.
    fn row(i: u64) -> Refundable {
        let (debit, credit) = (AccountNo::new(1), AccountNo::new(2));
        let (no, at) = (TransferNo::new(3 * i), Timestamp::from_millis(i));
        Refundable { no, debit, credit, amount: 5, refunded: 0, at }
    }

    #[test]
    fn rows_are_found_until_they_are_forgotten() {
        let count = 2 * ROWS_PER_RUN as u64 + 10;
        let mut rows = Refundables::default();
        (1..=count).for_each(|i| rows.push_back(row(i)));
        for forgotten in 0..=count {
            assert_eq!(rows.len() as u64, count - forgotten);
            assert_eq!(rows.front().copied(), (forgotten < count).then(|| row(forgotten + 1)));
            assert_eq!(rows.find(row(forgotten).no), None, "the last one forgotten, or none");
            for i in [forgotten + 1, forgotten + 2, count, count - 5] {
                let there = i > forgotten && i <= count;
                assert_eq!(rows.find(row(i).no).copied(), there.then(|| row(i)));
                assert_eq!(rows.find(TransferNo::new(3 * i + 1)), None);
            }
            rows.pop_front();
        }
        rows.pop_front();
        assert_eq!((rows.len(), rows.iter().count()), (0, 0));
        rows.push_back(row(7));
        rows.find_mut(row(7).no).expect("it is there").refunded = 4;
        assert!(rows.iter().map(|row| row.refunded).eq([4]));
    }
}
