//! The preflight of one mapped table: its columns, its key, its identity, and what hangs on it.

use super::address::fault;
use super::bookkeeping::quoted;
use super::catalog::{self, LiveColumn, table_sql};
use super::check::{ask, unseen};
use crate::database::{Finding, LegacyError};
use crate::mapping::{LocationFrom, Mapping, TableMapping};
use std::collections::BTreeMap;
use tokio_postgres::Client;

/// Whether the old row of a change tells which item it was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Identity {
    /// It does.
    Enough,
    /// It does not, and why.
    Lacking(String),
}

/// Looks at one table, which Banyan must be able to write if `must_write`. Gives whether its rows can be looked at.
pub(super) async fn check(
    client: &Client,
    mapping: &Mapping,
    table: usize,
    must_write: bool,
    findings: &mut Vec<Finding>,
) -> bool {
    let target = &mapping.tables[table];
    let name = target.name.to_string();
    let live = match catalog::columns(client, target).await {
        Ok(live) if live.is_empty() => {
            let fix = "check the name in the mapping, with its schema, and the role's right to see it";
            findings.push(Finding::stop(name, "there is no such table", fix));
            return false;
        }
        Ok(live) => live,
        Err(error) => {
            findings.push(unseen(&name, &error));
            return false;
        }
    };
    let before = findings.len();
    columns(target, &live, findings);
    findings.push(kind(client, target).await.unwrap_or_else(|unseen| unseen));
    findings.push(key(client, target).await.unwrap_or_else(|unseen| unseen));
    findings.push(match identity(client, mapping, table).await {
        Err(error) => unseen(&format!("{name} replica identity"), &error),
        Ok(Identity::Enough) => Finding::ok(format!("{name} replica identity"), "tells which item a row was"),
        Ok(Identity::Lacking(why)) => Finding::stop(
            format!("{name} replica identity"),
            why,
            format!(
                "`banyan legacy check --create`, or: alter table {} replica identity full",
                table_sql(target)
            ),
        ),
    });
    findings.push(rights(client, target, must_write).await.unwrap_or_else(|unseen| unseen));
    findings.push(triggers(client, target).await.unwrap_or_else(|unseen| unseen));
    findings.push(index(client, target).await.unwrap_or_else(|unseen| unseen));
    // Rows of columns that are not there, or not numbers, cannot be counted.
    !findings[before..].iter().any(|finding| {
        finding.subject.starts_with(&format!("{name}."))
            && !finding.fix.is_empty()
            && finding.level == crate::database::CheckLevel::Stop
    })
}

fn columns(table: &TableMapping, live: &BTreeMap<String, LiveColumn>, findings: &mut Vec<Finding>) {
    let location = match &table.location {
        LocationFrom::Column(column) => Some(column),
        LocationFrom::Constant(_) => None,
    };
    let names = [Some(&table.sku), location].into_iter().flatten();
    for column in names {
        findings.push(column_finding(
            table,
            column,
            live,
            LiveColumn::is_name,
            "text, varchar, char, whole numbers or uuid",
        ));
    }
    let numbers = [Some(&table.in_stock), table.allocated.as_ref()].into_iter().flatten();
    for column in numbers {
        findings.push(column_finding(
            table,
            column,
            live,
            LiveColumn::is_number,
            "smallint, integer, bigint or numeric(n, 0)",
        ));
    }
}

fn column_finding(
    table: &TableMapping,
    column: &str,
    live: &BTreeMap<String, LiveColumn>,
    fits: fn(&LiveColumn) -> bool,
    wanted: &str,
) -> Finding {
    let subject = format!("{}.{column}", table.name);
    let Some(found) = live.get(column) else {
        let have: Vec<&str> = live.keys().map(String::as_str).collect();
        return Finding::stop(
            subject,
            "there is no such column",
            format!("the table has {}", have.join(", ")),
        );
    };
    if found.generated {
        let fix = "map a column that is written: a generated one can neither be set, nor is it in the stream";
        return Finding::stop(subject, "the database computes it", fix);
    }
    if !fits(found) {
        return Finding::stop(
            subject,
            format!("its type is {}", found.type_name),
            format!("map a column of type {wanted}"),
        );
    }
    let null = if found.not_null { "not null" } else { "may be null, which counts as 0 or as no name" };
    Finding::ok(subject, format!("{}, {null}", found.type_name))
}

async fn kind(client: &Client, table: &TableMapping) -> Result<Finding, Finding> {
    let subject = format!("{} kind", table.name);
    let sql = "select c.relkind::text, c.relpersistence::text, c.relrowsecurity, \
         (select rolbypassrls or rolsuper from pg_roles where rolname = current_user), c.relhasrules, \
         (select count(*) from pg_partition_tree(c.oid) where isleaf and level > 0) from pg_class c \
         join pg_namespace n on n.oid = c.relnamespace where n.nspname = $1 and c.relname = $2";
    let row = ask(client, &subject, sql, &[&schema(table), &table.name.table]).await?;
    let (kind, persistence): (String, String) = (row.get(0), row.get(1));
    let (guarded, bypass, rules): (bool, bool, bool) = (row.get(2), row.get(3), row.get(4));
    Ok(match (kind.as_str(), persistence.as_str()) {
        ("r" | "p", "p") if guarded && !bypass => {
            let fix = "alter role … bypassrls: otherwise Banyan sees a part of the rows and takes it for all";
            Finding::stop(subject, "row security hides rows from our role", fix)
        }
        ("r" | "p", "p") if rules => Finding::warn(
            subject,
            "it has rules",
            "a rule may turn our writes into something else: look at them",
        ),
        ("p", "p") => Finding::ok(subject, format!("a table in {} partitions", row.get::<_, i64>(5))),
        ("r", "p") => Finding::ok(subject, "a table"),
        ("r" | "p", _) => {
            let fix = "alter table … set logged: what is not in the log is not in the stream";
            Finding::stop(subject, "an unlogged or temporary table", fix)
        }
        _ => Finding::stop(subject, "not a table, but a view or a foreign table", "map the tables behind it"),
    })
}

async fn key(client: &Client, table: &TableMapping) -> Result<Finding, Finding> {
    let subject = format!("{} key", table.name);
    // Column numbers in two arrays can be compared whatever their order.
    let sql = "select exists (select 1 from pg_index i where i.indrelid = c.oid and i.indisunique and i.indisvalid \
         and i.indpred is null and i.indexprs is null \
         and (select array_agg(a.attname::text order by a.attname) from pg_attribute a where a.attrelid = c.oid \
              and a.attnum = any (i.indkey[0:i.indnkeyatts - 1]) and a.attnotnull) \
           = (select array_agg(k order by k collate \"C\") from unnest($3::text[]) k) \
         and i.indnkeyatts = cardinality($3::text[])) \
         from pg_class c join pg_namespace n on n.oid = c.relnamespace where n.nspname = $1 and c.relname = $2";
    let row = ask(client, &subject, sql, &[&schema(table), &table.name.table, &table.key]).await?;
    let columns = table.key.join(", ");
    Ok(if row.get::<_, bool>(0) {
        Finding::ok(subject, format!("({columns}) is unique and never null"))
    } else {
        let fix = "name the columns of the primary key, or of a unique index over columns that are not null";
        Finding::stop(subject, format!("({columns}) is not the whole of a unique index without nulls"), fix)
    })
}

/// Whether the old rows of a table, and of all its partitions, tell SKU and location.
pub(super) async fn identity(
    client: &Client,
    mapping: &Mapping,
    table: usize,
) -> Result<Identity, LegacyError> {
    let target = &mapping.tables[table];
    let location = match &target.location {
        LocationFrom::Column(column) => Some(column.clone()),
        LocationFrom::Constant(_) => None,
    };
    let needed: Vec<String> = [Some(target.sku.clone()), location].into_iter().flatten().collect();
    let sql = "with parts as (select c.oid, c.relkind, c.relreplident from pg_class c join pg_namespace n \
           on n.oid = c.relnamespace where n.nspname = $1 and c.relname = $2 \
         union select p.oid, p.relkind, p.relreplident from pg_class c join pg_namespace n on n.oid = c.relnamespace, \
           lateral pg_partition_tree(c.oid) t join pg_class p on p.oid = t.relid where n.nspname = $1 and c.relname = $2) \
         select x.oid::regclass::text, x.relreplident::text, \
           coalesce((select bool_and(a.attname is not null) from unnest($3::text[]) w left join ( \
             select a.attname::text from pg_index i join pg_attribute a on a.attrelid = x.oid \
             and a.attnum = any (i.indkey[0:i.indnkeyatts - 1]) \
             where i.indrelid = x.oid and ((x.relreplident = 'd' and i.indisprimary) or (x.relreplident = 'i' and i.indisreplident)) \
           ) a on a.attname = w), false) from parts x where x.relkind = 'r' or x.relreplident <> 'f'";
    let rows = client.query(sql, &[&schema(target), &target.name.table, &needed]).await;
    let rows = rows.map_err(|error| fault(&format!("looking at the identity of {}", target.name), &error))?;
    for row in rows {
        let (name, kind, covered): (String, String, bool) = (row.get(0), row.get(1), row.get(2));
        if kind == "f" || covered {
            continue;
        }
        let why = match kind.as_str() {
            "n" => "is NOTHING: the old shop's own updates would be refused once the table is published",
            _ => "is the key alone: a deleted or renamed row would not tell which item it was",
        };
        return Ok(Identity::Lacking(format!("that of {name} {why}")));
    }
    Ok(Identity::Enough)
}

async fn rights(client: &Client, table: &TableMapping, must_write: bool) -> Result<Finding, Finding> {
    let subject = format!("{} rights", table.name);
    let written: Vec<&str> =
        [Some(table.in_stock.as_str()), table.allocated.as_deref()].into_iter().flatten().collect();
    let sql = "select has_table_privilege($1, 'select'), \
         (select bool_and(has_column_privilege($1, c, 'update')) from unnest($2::text[]) c), \
         (select pg_has_role(current_user, c.relowner, 'member') from pg_class c where c.oid = to_regclass($1))";
    let name = table_sql(table);
    let row = ask(client, &subject, sql, &[&name, &written]).await?;
    Ok(match (row.get(0), row.get(1), row.get::<_, Option<bool>>(2)) {
        (false, ..) => {
            Finding::stop(subject, "our role may not read it", format!("grant select on {name} to …"))
        }
        (true, false, _) if must_write => {
            let fix = format!("grant update ({}) on {name} to …", written.join(", "));
            Finding::stop(subject, "our role may read it, and not write", fix)
        }
        (true, false, _) => {
            let fix = format!("before Banyan leads: grant update ({}) on {name} to …", written.join(", "));
            Finding::warn(subject, "our role may read it, and not write", fix)
        }
        (true, true, Some(true)) => Finding::ok(subject, "our role may read and write it, and owns it"),
        (true, true, _) => {
            let fix = "a publication can only be made by the table's owner: let the owner run `--create`, then grant our role what the \
                       next check says, or make it by hand";
            Finding::warn(subject, "our role may read and write it, and does not own it", fix)
        }
    })
}

async fn triggers(client: &Client, table: &TableMapping) -> Result<Finding, Finding> {
    let subject = format!("{} triggers", table.name);
    let sql = "select coalesce(string_agg(t.tgname::text || ' → ' || p.proname::text, ', ' order by t.tgname), '') \
         from pg_trigger t join pg_class c on c.oid = t.tgrelid join pg_namespace n on n.oid = c.relnamespace \
         join pg_proc p on p.oid = t.tgfoid \
         where n.nspname = $1 and c.relname = $2 and not t.tgisinternal and t.tgenabled <> 'D'";
    let row = ask(client, &subject, sql, &[&schema(table), &table.name.table]).await?;
    let found: String = row.get(0);
    Ok(if found.is_empty() {
        Finding::ok(subject, "none")
    } else {
        let fix = "they also run for what Banyan writes: look whether they change mapped columns; such changes are reported as breaches";
        Finding::warn(subject, found, fix)
    })
}

async fn index(client: &Client, table: &TableMapping) -> Result<Finding, Finding> {
    let subject = format!("{} index", table.name);
    let sql = "select exists (select 1 from pg_index i join pg_attribute a on a.attrelid = c.oid and a.attnum = i.indkey[0] \
         where i.indrelid = c.oid and i.indisvalid and i.indpred is null and a.attname = any ($3)), \
         greatest(c.reltuples, 0)::bigint \
         from pg_class c join pg_namespace n on n.oid = c.relnamespace where n.nspname = $1 and c.relname = $2";
    let names: Vec<&str> = match &table.location {
        LocationFrom::Column(column) => vec![&table.sku, column],
        LocationFrom::Constant(_) => vec![&table.sku],
    };
    let row = ask(client, &subject, sql, &[&schema(table), &table.name.table, &names]).await?;
    let rows: i64 = row.get(1);
    Ok(match (row.get(0), rows) {
        (true, _) => Finding::ok(subject, "an item's row is found by an index"),
        (false, ..10_000) => Finding::ok(subject, "none by SKU; the table is small"),
        (false, _) => {
            let fix = format!("create index concurrently on {} ({})", table_sql(table), quoted(&table.sku));
            Finding::warn(
                subject,
                format!("none by SKU, and about {rows} rows: each write reads them all"),
                fix,
            )
        }
    })
}

fn schema(table: &TableMapping) -> &str {
    table.name.schema.as_deref().unwrap_or("public")
}
