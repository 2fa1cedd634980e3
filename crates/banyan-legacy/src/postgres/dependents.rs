//! What stands between a reader and the mapped tables: views, materialized views and functions over them. Who names one of these
//! reads the old columns without naming them.

use super::address::fault;
use crate::database::{Finding, LegacyError};
use crate::mapping::Mapping;
use tokio_postgres::Client;

/// Most dependents that are told apart; beyond, nobody can say who still reads.
const DEPENDENTS_MAX: usize = 500;

/// A view or function over mapped columns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Dependent {
    pub(super) schema: String,
    pub(super) name: String,
    /// `view`, `materialized view`, `function`, `procedure` or `trigger function`.
    pub(super) kind: String,
}

/// Views whose text has mapped columns or all columns of a mapped table, and every view over these, found by what the server itself
/// knows of them; then every function and procedure whose text names a mapped table and such a column, or one of these views.
/// A function that puts a statement together from pieces is not found.
pub(super) async fn dependents(client: &Client, mapping: &Mapping) -> Result<Vec<Dependent>, LegacyError> {
    let (tables, columns) = (tables_pattern(mapping), columns_pattern(mapping));
    let schemas: Vec<&str> =
        mapping.tables.iter().map(|table| table.name.schema.as_deref().unwrap_or("public")).collect();
    let names: Vec<&str> = mapping.tables.iter().map(|table| table.name.table.as_str()).collect();
    let sql = format!(
        "with recursive mapped(oid) as ( \
           select c.oid from pg_class c join pg_namespace n on n.oid = c.relnamespace \
           join unnest($1::text[], $2::text[]) as m(schema, name) on m.schema = n.nspname and m.name = c.relname), \
         over(oid) as ( \
           select r.ev_class from mapped m join pg_depend d on d.refobjid = m.oid and d.refclassid = 'pg_class'::regclass \
             and d.classid = 'pg_rewrite'::regclass join pg_rewrite r on r.oid = d.objid join pg_class v on v.oid = r.ev_class \
             where v.relkind in ('v', 'm') and pg_get_viewdef(v.oid) ~* $4 \
           union \
           select r.ev_class from over o join pg_depend d on d.refobjid = o.oid and d.refclassid = 'pg_class'::regclass \
             and d.classid = 'pg_rewrite'::regclass join pg_rewrite r on r.oid = d.objid where r.ev_class <> o.oid), \
         views as ( \
           select n.nspname::text as schema, v.relname::text as name, v.relkind from over o join pg_class v on v.oid = o.oid \
           join pg_namespace n on n.oid = v.relnamespace where v.relkind in ('v', 'm')), \
         bodies as materialized ( \
           select n.nspname::text as schema, p.proname::text as name, p.prokind, p.prorettype, pg_get_functiondef(p.oid) as text \
           from (select * from pg_proc where prokind in ('f', 'p') offset 0) p join pg_namespace n on n.oid = p.pronamespace \
           where n.nspname not in ('pg_catalog', 'information_schema') and not exists (select 1 from pg_depend d \
             where d.classid = 'pg_proc'::regclass and d.objid = p.oid and d.deptype = 'e')) \
         select /* banyan */ schema, name, case relkind when 'm' then 'materialized view' else 'view' end from views \
         union \
         select b.schema, b.name, case when b.prorettype = 'trigger'::regtype then 'trigger function' when b.prokind = 'p' \
           then 'procedure' else 'function' end from bodies b \
         where (b.text ~* $3 and b.text ~* $4) or exists (select 1 from views v where b.text ~* \
           ('(^|[^a-zA-Z0-9_])' || regexp_replace(v.name, '([^a-zA-Z0-9_])', '\\\\\\1', 'g') || '([^a-zA-Z0-9_]|$)')) \
         order by 1, 2, 3 limit {}",
        DEPENDENTS_MAX + 1
    );
    let rows = client
        .query(&sql, &[&schemas, &names, &tables, &columns])
        .await
        .map_err(|error| fault("looking for views and functions over the mapped tables", &error))?;
    Ok(rows.iter().map(|row| Dependent { schema: row.get(0), name: row.get(1), kind: row.get(2) }).collect())
}

/// A pattern for the names of what stands between; nothing where there are too many to tell. Matches nothing where there are none.
pub(super) fn names_pattern(dependents: &[Dependent]) -> Option<String> {
    if dependents.len() > DEPENDENTS_MAX {
        return None;
    }
    // Nobody names a function that a trigger runs.
    let named = dependents.iter().filter(|one| one.kind != "trigger function");
    let names: Vec<String> = named.map(|one| escaped(&one.name)).collect();
    Some(if names.is_empty() { "$^".to_owned() } else { word(&names) })
}

/// A pattern for the names of the mapped tables.
pub(super) fn tables_pattern(mapping: &Mapping) -> String {
    word(&mapping.tables.iter().map(|table| escaped(&table.name.table)).collect::<Vec<_>>())
}

/// A pattern for the mapped columns, or all columns of a table. A star behind a parenthesis only counts rows.
pub(super) fn columns_pattern(mapping: &Mapping) -> String {
    let columns = mapping.tables.iter().flat_map(|table| [Some(&table.in_stock), table.allocated.as_ref()]);
    let columns: Vec<String> = columns.flatten().map(|column| escaped(column)).collect();
    format!(r"{}|[^(]\*", word(&columns))
}

/// What the preflight says of them.
pub(super) async fn check(client: &Client, mapping: &Mapping) -> Finding {
    let subject = "views and functions over the mapped tables";
    match dependents(client, mapping).await {
        Err(error) => Finding::warn(
            subject,
            format!("could not be looked at: {error}"),
            "see yourself who reads the old columns through a view or a function before the phase becomes retired",
        ),
        Ok(found) if found.is_empty() => Finding::ok(subject, "none"),
        Ok(found) => {
            let more = found.len().saturating_sub(20);
            let mut names: Vec<String> = found
                .iter()
                .take(20)
                .map(|one| format!("{} {}.{}", one.kind, one.schema, one.name))
                .collect();
            names.extend((more > 0).then(|| format!("and {more} more")));
            let fix = "who names one reads the old columns without naming them: it counts as a reference; a trigger's function is named \
                 by nobody, so look yourself; change them or take them away before the phase becomes retired";
            Finding::warn(subject, names.join(", "), fix)
        }
    }
}

/// Letters, digits and underscores to either side would make it another name.
fn word(names: &[String]) -> String {
    format!(r"(^|[^a-zA-Z0-9_])({})([^a-zA-Z0-9_]|$)", names.join("|"))
}

/// A name as a pattern that means only itself.
fn escaped(name: &str) -> String {
    name.chars()
        .flat_map(|c| (!c.is_alphanumeric() && c != '_').then_some('\\').into_iter().chain([c]))
        .collect()
}
