//! Whether a preflight looks at the mapped tables. Pure.

use crate::database::{Book, Finding};
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::database::CheckLevel;
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
