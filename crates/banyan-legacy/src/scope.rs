//! What a preflight looks at, and how grave what it finds is. Pure.

use crate::database::{Book, CheckLevel, Finding};
use crate::mapping::Mapping;
use banyan_domain::legacy::Phase;

/// What is looked at, and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scope {
    /// The mapped tables and everything else.
    Tables,
    /// Nobody writes or follows the tables any more.
    Retired,
    /// The mapping is of the outbox alone, and so is the phase.
    Outbox,
    /// The mapping is of the outbox alone, and this phase, or this move, needs the tables.
    Missing(Phase),
}

/// What is to be looked at where the old database says `phase`, for a move to `to` if there is one.
pub(crate) fn scope(mapping: &Mapping, phase: Phase, to: Option<Phase>) -> Scope {
    let needed_by = [Some(phase), to].into_iter().flatten().find(|phase| *phase != Phase::Retired);
    match (mapping.outbox_only, needed_by) {
        (false, Some(_)) => Scope::Tables,
        (false, None) => Scope::Retired,
        (true, None) => Scope::Outbox,
        (true, Some(phase)) => Scope::Missing(phase),
    }
}

/// Whether rows of the mapped tables count in a copy whose bookkeeping row is this one.
pub(crate) fn needs_rows(book: Option<Book>) -> bool {
    book.is_none_or(|book| book.phase != Phase::Retired)
}

/// Why a copy is not taken that would be without rows which count.
pub(crate) const WITHOUT_TABLES: &str = "who leads has changed while the copy began: banyan_sync says now that the mapped tables \
     count, which were left out. They are looked at again";

impl Scope {
    /// The finding that says so.
    pub(crate) fn finding(self, mapping: &Mapping) -> Finding {
        let subject = "mapped tables";
        let names: Vec<String> = mapping.tables.iter().map(|table| table.name.to_string()).collect();
        let names = names.join(", ");
        match self {
            Self::Tables => Finding::ok(subject, names),
            Self::Retired => Finding::ok(
                subject,
                format!(
                    "not looked at: in phase retired {names} may change or go, and only the outbox is followed"
                ),
            ),
            Self::Outbox => {
                Finding::ok(subject, format!("not looked at: outbox_only = true leaves {names} alone"))
            }
            Self::Missing(phase) => Finding::stop(
                subject,
                format!("outbox_only = true, and phase {} needs {names}", phase.as_str()),
                "take outbox_only out of the mapping, run `banyan legacy check --create`, and start the server anew",
            ),
        }
    }
}

/// Which way a move goes. What single rows hold and what others may do ends the way there, and never the way back: it came about
/// under the lead that is to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Course {
    /// Towards Banyan: it must be able to take every row.
    Onward,
    /// Back, or past the old columns.
    Back,
    /// Back, while nobody sells anything: single rows are not looked at.
    InHaste,
}

impl Course {
    /// That of a move from `phase` to `to`, or of the next one onward if none is asked for.
    pub(crate) fn of(phase: Phase, to: Option<Phase>) -> Self {
        match (phase, to) {
            (Phase::Legacy | Phase::Mirror, None) => Self::Onward,
            (from, Some(to @ (Phase::Mirror | Phase::Lead))) if from < to => Self::Onward,
            _ => Self::Back,
        }
    }

    /// The same in haste, where haste is needed: on the way back.
    pub(crate) const fn hurried(self, in_haste: bool) -> Self {
        match self {
            Self::Back if in_haste => Self::InHaste,
            course => course,
        }
    }

    /// Whether rows are looked at.
    pub(crate) const fn looks_at_rows(self) -> bool {
        !matches!(self, Self::InHaste)
    }

    /// A finding as grave as it is on this way.
    pub(crate) fn weigh(self, finding: Finding) -> Finding {
        match (self, finding.level) {
            (Self::Back | Self::InHaste, CheckLevel::Stop) => Finding { level: CheckLevel::Warn, ..finding },
            _ => finding,
        }
    }
}

/// That the mapping wants no tables of ours, which is enough for a mirror.
pub(crate) fn without_bookkeeping(subject: &str, to: Option<Phase>) -> Finding {
    let found = "not wanted (bookkeeping = false): Banyan can mirror, and not lead; there is no outbox";
    let fix = "set bookkeeping = true in the mapping and run `banyan legacy check --create` when the stock is to be led";
    match to {
        Some(Phase::Lead | Phase::Retired) => Finding::stop(subject, found, fix),
        _ => Finding::warn(subject, found, fix),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stands_in_rows_ends_the_way_there_and_not_the_way_back() {
        let onward = [
            (Phase::Legacy, None),
            (Phase::Mirror, None),
            (Phase::Legacy, Some(Phase::Mirror)),
            (Phase::Mirror, Some(Phase::Lead)),
        ];
        for phase in Phase::ALL {
            for to in [None]
                .into_iter()
                .chain(Phase::ALL.map(Some))
                .filter(|to| to.is_none_or(|to| phase.is_next_to(to)))
            {
                let is_onward = onward.contains(&(phase, to));
                let course = Course::of(phase, to);
                for course in [course, course.hurried(true), course.hurried(false)] {
                    let weighed = course.weigh(Finding::stop("rows", "bad", "mend"));
                    assert_eq!(weighed.level == CheckLevel::Stop, is_onward, "{phase:?} {to:?}");
                }
                assert_eq!(course.hurried(true).looks_at_rows(), is_onward, "{phase:?} {to:?}");
                assert!(course.hurried(false).looks_at_rows());
            }
        }
    }

    use std::path::Path;

    #[test]
    fn tables_are_looked_at_unless_the_phase_and_the_move_are_both_without_them() {
        let mapping = |more: &str| {
            let text = format!(
                "capability = \"stock\"\n{more}[database]\nkind = \"postgres\"\nurl_env = \"X\"\n[[table]]\nname = \"t\"\n\
                 key = [\"id\"]\nsku = \"sku\"\nlocation = \"main\"\nin_stock = \"a\"\n"
            );
            Mapping::read(&text, Path::new(".")).expect("well-formed")
        };
        let (all, outbox) = (mapping(""), mapping("outbox_only = true\n"));
        let table = [
            (Phase::Legacy, None, Scope::Tables, Scope::Missing(Phase::Legacy)),
            (Phase::Lead, Some(Phase::Retired), Scope::Tables, Scope::Missing(Phase::Lead)),
            (Phase::Retired, None, Scope::Retired, Scope::Outbox),
            (Phase::Retired, Some(Phase::Lead), Scope::Tables, Scope::Missing(Phase::Lead)),
        ];
        for (phase, to, of_all, of_outbox) in table {
            assert_eq!(scope(&all, phase, to), of_all, "{phase:?} {to:?}");
            assert_eq!(scope(&outbox, phase, to), of_outbox, "{phase:?} {to:?}");
            let stops = of_outbox.finding(&outbox).level == CheckLevel::Stop;
            assert_eq!(stops, matches!(of_outbox, Scope::Missing(_)));
        }
    }
}
