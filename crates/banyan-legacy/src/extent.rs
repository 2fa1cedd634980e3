//! How much there is in the mapped tables together, and whether Banyan can hold it. Pure.

use crate::database::Finding;
use banyan_domain::limits::{ITEMS_MAX, LOCATIONS_MAX};
use std::collections::BTreeSet;

/// What there is in mapped tables.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Extent {
    /// Rows: each is an item.
    pub(crate) rows: u64,
    /// Locations, or as many of them as are too many.
    pub(crate) locations: BTreeSet<String>,
}

impl Extent {
    /// Adds what there is in another table.
    pub(crate) fn add(&mut self, other: Self) {
        self.rows += other.rows;
        self.locations.extend(other.locations);
    }

    /// What is too much. The copy would stand still at it.
    pub(crate) fn findings(&self) -> Vec<Finding> {
        let mut findings = Vec::new();
        if self.locations.len() > LOCATIONS_MAX {
            findings.push(Finding::stop(
                "mapped locations",
                format!("there are more than {LOCATIONS_MAX} different ones"),
                "Banyan holds that many, its own with them: map a column with fewer values, or a constant, and merge the rows",
            ));
        }
        if self.rows > u64::from(ITEMS_MAX) {
            findings.push(Finding::stop(
                "mapped rows",
                format!("there are {} or more", self.rows),
                format!("Banyan holds {ITEMS_MAX} items, its own with them: map a table, or a view's table, with fewer"),
            ));
        }
        findings
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_that_are_too_much_only_together_are_found() {
        let table = |from: usize, rows: u64| Extent {
            rows,
            locations: (from..from + LOCATIONS_MAX / 2).map(|place| format!("p-{place}")).collect(),
        };
        let mut extent = table(0, u64::from(ITEMS_MAX));
        extent.add(table(LOCATIONS_MAX / 2, 0));
        assert_eq!(extent.findings(), []);
        extent.add(Extent { rows: 1, locations: BTreeSet::from(["one-more".to_owned()]) });
        let subjects: Vec<String> = extent.findings().into_iter().map(|finding| finding.subject).collect();
        assert_eq!(subjects, ["mapped locations", "mapped rows"]);
    }
}
