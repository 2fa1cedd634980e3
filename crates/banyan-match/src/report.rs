//! What a match comes to as a whole.

use crate::books::{Books, What};
use crate::compare::Period;
use crate::finding::{Finding, Kind, Level};
use crate::instant::rfc3339;
use crate::statement::Movement;
use banyan_domain::Timestamp;
use serde::Serialize;
use std::collections::BTreeMap;

/// A match.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// Whether nothing has to be repaired. What is only late does not count.
    pub clean: bool,
    /// The service.
    pub company: String,
    /// The ledger's accounts of it.
    pub accounts: Vec<String>,
    /// The statement's file.
    pub statement: String,
    /// First instant of the statement; null for since ever.
    pub from: Option<String>,
    /// The instant after its last; null for until now.
    pub to: Option<String>,
    /// The log position as of which our side holds.
    pub seq: u64,
    /// The time of that event.
    pub at: String,
    /// Movements in the statement.
    pub movements: usize,
    /// Movements that books and statement agree on.
    pub matched: usize,
    /// How many findings of each kind.
    pub counts: BTreeMap<&'static str, usize>,
    /// Sums by currency, in minor units.
    pub sums: Vec<Sums>,
    /// The statement by hour, for the busiest currency.
    pub hours: Vec<Hour>,
    /// What was found, the worst kind first and the oldest first within it.
    pub findings: Vec<Finding>,
}

/// Sums of one currency, in minor units.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Sums {
    /// The currency.
    pub currency: String,
    /// Taken, says the statement.
    pub captured_there: i64,
    /// Taken, say the books, of what belongs into this statement.
    pub captured_here: i64,
    /// Sent back, says the statement.
    pub refunded_there: i64,
    /// Sent back, say the books.
    pub refunded_here: i64,
    /// At stake in findings that need a repair.
    pub at_stake: i64,
    /// On its way.
    pub late: i64,
}

/// One hour of the statement.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Hour {
    /// Its first instant.
    pub from: String,
    /// Taken.
    pub captured: i64,
    /// Sent back.
    pub refunded: i64,
    /// Findings that began in it.
    pub findings: usize,
}

/// Most hours that are shown; a longer statement is shown in longer parts.
const HOURS_MAX: u64 = 96;
const HOUR_MILLIS: u64 = 3_600_000;

impl Report {
    pub(crate) fn new(
        books: &Books,
        statement: &str,
        movements: &[Movement],
        period: Period,
        matched: usize,
        mut findings: Vec<(Timestamp, Finding)>,
        booked: &[(What, i64, String)],
    ) -> Self {
        findings.sort_by(|(a, one), (b, other)| {
            (one.kind, a, &one.movement).cmp(&(other.kind, b, &other.movement))
        });
        let mut sums: BTreeMap<&str, Sums> = BTreeMap::new();
        for one in movements {
            let sum = sums.entry(&one.currency).or_default();
            match one.what {
                What::Capture => sum.captured_there += one.amount,
                What::Refund => sum.refunded_there += one.amount,
            }
        }
        for (what, amount, currency) in booked {
            let sum = sums.entry(currency).or_default();
            match what {
                What::Capture => sum.captured_here += amount,
                What::Refund => sum.refunded_here += amount,
            }
        }
        for (_, finding) in &findings {
            let sum = sums.entry(&finding.currency).or_default();
            match finding.level {
                Level::Repair => sum.at_stake += finding.amount,
                Level::Wait => sum.late += finding.amount,
            }
        }
        let mut all: Vec<Sums> =
            sums.into_iter().map(|(currency, sums)| Sums { currency: currency.into(), ..sums }).collect();
        // A finding of a saga that does not name its currency has none to be summed under.
        all.retain(|sums| !sums.currency.is_empty());
        let mut counts = BTreeMap::new();
        for kind in Kind::ALL {
            let times = findings.iter().filter(|(_, finding)| finding.kind == kind).count();
            if times > 0 {
                counts.insert(kind.word(), times);
            }
        }
        Self {
            clean: findings.iter().all(|(_, finding)| finding.level == Level::Wait),
            company: books.company().to_owned(),
            accounts: books.accounts().to_vec(),
            statement: statement.to_owned(),
            from: period.from.map(rfc3339),
            to: period.to.map(rfc3339),
            seq: books.seq(),
            at: rfc3339(books.at()),
            movements: movements.len(),
            matched,
            counts,
            hours: hours(movements, &findings, &all),
            sums: all,
            findings: findings.into_iter().map(|(_, finding)| finding).collect(),
        }
    }

    /// Findings that need a repair.
    #[must_use]
    pub fn repairs(&self) -> usize {
        self.findings.iter().filter(|finding| finding.level == Level::Repair).count()
    }
}

fn hours(movements: &[Movement], findings: &[(Timestamp, Finding)], sums: &[Sums]) -> Vec<Hour> {
    let busiest = sums.iter().max_by_key(|sums| sums.captured_there).map(|sums| sums.currency.as_str());
    let times = || movements.iter().map(|one| one.at.as_millis());
    let (Some(busiest), Some(first), Some(last)) = (busiest, times().min(), times().max()) else {
        return Vec::new();
    };
    let first = first / HOUR_MILLIS;
    let span = last / HOUR_MILLIS - first + 1;
    let width = span.div_ceil(HOURS_MAX);
    let mut all: Vec<Hour> = (0..span.div_ceil(width))
        .map(|at| Hour {
            from: rfc3339(Timestamp::from_millis((first + at * width) * HOUR_MILLIS)),
            captured: 0,
            refunded: 0,
            findings: 0,
        })
        .collect();
    let place =
        |at: Timestamp| (at.as_millis() / HOUR_MILLIS).checked_sub(first).map(|hour| (hour / width) as usize);
    for one in movements.iter().filter(|one| one.currency == busiest) {
        let Some(hour) = place(one.at).and_then(|place| all.get_mut(place)) else { continue };
        match one.what {
            What::Capture => hour.captured += one.amount,
            What::Refund => hour.refunded += one.amount,
        }
    }
    for (at, _) in findings {
        if let Some(hour) = place(*at).and_then(|place| all.get_mut(place)) {
            hour.findings += 1;
        }
    }
    all
}
