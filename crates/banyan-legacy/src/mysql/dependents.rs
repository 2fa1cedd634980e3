//! What stands between a reader and the mapped tables: views, procedures and functions over them. Who names one of these reads the
//! old columns without naming their table.

use super::layout::Layout;
use super::server::{STATEMENT_MAX, Session, within};
use super::words::words;
use crate::database::{Finding, LegacyError};
use mysql_async::prelude::Queryable;
use std::collections::BTreeMap;

/// By name in small letters: what it is, and in which database.
pub(super) type Dependents = BTreeMap<String, String>;

/// Views and routines that name a mapped table, or another of these. Those whose text our user may not see are not found, and neither
/// are statements that are put together from pieces.
pub(super) async fn dependents(session: &mut Session, layouts: &[Layout]) -> Result<Dependents, LegacyError> {
    let sql = "select concat('view ', table_schema), table_name, coalesce(view_definition, '') \
               from information_schema.views as banyan_views \
               where table_schema not in ('mysql', 'sys', 'information_schema', 'performance_schema') \
               union all select concat(lower(routine_type), ' ', routine_schema), routine_name, coalesce(routine_definition, '') \
               from information_schema.routines as banyan_routines \
               where routine_schema not in ('mysql', 'sys', 'information_schema', 'performance_schema')";
    let doing = "looking for views and routines over the mapped tables";
    let rows: Vec<(String, String, String)> = within(doing, STATEMENT_MAX, session.conn.query(sql)).await?;
    let mut left: Vec<(String, String, Vec<String>)> =
        rows.into_iter().map(|(place, name, text)| (place, name.to_lowercase(), words(&text))).collect();
    let tables: Vec<String> = layouts.iter().map(|layout| layout.name.to_lowercase()).collect();
    let mut found = Dependents::new();
    loop {
        let names = |word: &String| tables.contains(word) || found.contains_key(word);
        let (over, others): (Vec<_>, Vec<_>) =
            left.into_iter().partition(|(_, _, words)| words.iter().any(names));
        if over.is_empty() {
            return Ok(found);
        }
        found.extend(over.into_iter().map(|(place, name, _)| (name, place)));
        left = others;
    }
}

/// What the preflight says of them.
pub(super) async fn check(session: &mut Session, layouts: &[Layout]) -> Finding {
    let subject = "views and routines over the mapped tables";
    match dependents(session, layouts).await {
        Err(error) => Finding::warn(
            subject,
            format!("could not be looked at: {error}"),
            "see yourself who reads the old columns through a view or a routine before the phase becomes retired",
        ),
        Ok(found) if found.is_empty() => Finding::ok(subject, "none that our user may see"),
        Ok(found) => {
            let more = found.len().saturating_sub(20);
            let mut names: Vec<String> =
                found.iter().take(20).map(|(name, place)| format!("{place}.{name}")).collect();
            names.extend((more > 0).then(|| format!("and {more} more")));
            let fix = "who names one reads the old columns without naming their table: it counts as a reference; change them or \
                       take them away before the phase becomes retired";
            Finding::warn(subject, names.join(", "), fix)
        }
    }
}
