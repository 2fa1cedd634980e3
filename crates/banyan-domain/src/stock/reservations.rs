//! Reservations in memory, found by number.

use super::rows::Row;
use crate::ReservationNo;
use std::collections::BTreeMap;

/// Reservations that share a page. A page is freed when all of them are forgotten.
const PAGE: u64 = 256;

/// Reservations by number, from 1. Those forgotten leave a gap, and whole pages of gaps take no memory.
#[derive(Clone, Debug, Default)]
pub(super) struct Reservations {
    pages: BTreeMap<u64, Page>,
    made: u64,
    kept: usize,
}

#[derive(Clone, Debug, Default)]
struct Page {
    rows: Vec<Option<Row>>,
    kept: u32,
}

fn place(no: ReservationNo) -> Option<(u64, usize)> {
    let index = no.get().checked_sub(1)?;
    Some((index / PAGE, (index % PAGE) as usize))
}

impl Reservations {
    /// How many reservations there have ever been.
    pub(super) const fn made(&self) -> u64 {
        self.made
    }

    /// How many are in memory.
    pub(super) const fn kept(&self) -> usize {
        self.kept
    }

    /// The number of the next reservation.
    pub(super) const fn next(&self) -> ReservationNo {
        ReservationNo::new(self.made + 1)
    }

    pub(super) fn get(&self, no: ReservationNo) -> Option<&Row> {
        let (page, index) = place(no)?;
        self.pages.get(&page)?.rows.get(index)?.as_ref()
    }

    pub(super) fn get_mut(&mut self, no: ReservationNo) -> Option<&mut Row> {
        let (page, index) = place(no)?;
        self.pages.get_mut(&page)?.rows.get_mut(index)?.as_mut()
    }

    /// Adds the next reservation.
    pub(super) fn push(&mut self, row: Row) {
        let no = self.next();
        self.made += 1;
        self.put(no, row);
    }

    /// Forgets a reservation.
    pub(super) fn forget(&mut self, no: ReservationNo) -> Option<Row> {
        let (at, index) = place(no)?;
        let page = self.pages.get_mut(&at)?;
        let row = page.rows.get_mut(index)?.take()?;
        page.kept -= 1;
        self.kept -= 1;
        // The last page still takes new ones.
        if page.kept == 0 && at < self.made / PAGE {
            self.pages.remove(&at);
        }
        Some(row)
    }

    /// Those in memory, in order of their numbers.
    pub(super) fn iter(&self) -> impl Iterator<Item = (ReservationNo, &Row)> {
        self.pages.iter().flat_map(|(&page, rows)| {
            let numbered = (page * PAGE + 1..).zip(&rows.rows);
            numbered.filter_map(|(no, row)| Some((ReservationNo::new(no), row.as_ref()?)))
        })
    }

    /// Says how many there have ever been, before reading them from a snapshot.
    pub(super) fn restore_made(&mut self, made: u64) {
        self.made = made;
    }

    /// Puts a reservation back that was read from a snapshot, in order of their numbers. Whether its number was free and
    /// had been given.
    pub(super) fn restore(&mut self, no: ReservationNo, row: Row) -> bool {
        let fits = (1..=self.made).contains(&no.get()) && self.get(no).is_none();
        if fits {
            self.put(no, row);
        }
        fits
    }

    fn put(&mut self, no: ReservationNo, row: Row) {
        let (page, index) = place(no).expect("reservations are numbered from 1");
        let page = self.pages.entry(page).or_default();
        if page.rows.capacity() == 0 {
            page.rows.reserve_exact(PAGE as usize);
        }
        if page.rows.len() <= index {
            page.rows.resize_with(index + 1, || None);
        }
        page.rows[index] = Some(row);
        page.kept += 1;
        self.kept += 1;
    }
}
