//! The preflight of one mapped table: its form, its key, its rows.

use super::check::unseen;
use super::layout::{Layout, Location};
use super::server::{Address, STATEMENT_MAX, Session, quoted, within};
use super::shape::Shape;
use crate::database::{Finding, LegacyError, PageKey};
use crate::extent::Extent;
use crate::mapping::Mapping;
use crate::scope::Course;
use banyan_domain::limits::{ITEM_UNITS_MAX, ITEMS_MAX, LOCATIONS_MAX};
use banyan_domain::{LocationId, SkuId};
use mysql_async::Row;
use mysql_async::prelude::Queryable;
use std::collections::BTreeSet;
use std::time::Duration;

/// Rows that are looked at, at most.
const ROWS_MAX: usize = 500_000;
/// Rows that are read together.
const PAGE_ROWS: u32 = 2_000;
/// Examples in a finding.
const EXAMPLES_MAX: usize = 3;

/// Looks at one table. Gives how much there is in it.
pub(super) async fn check(
    session: &mut Session,
    address: &Address,
    (mapping, index): (&Mapping, usize),
    course: Course,
    findings: &mut Vec<Finding>,
) -> Extent {
    let table = &mapping.tables[index];
    let schema = table.name.schema.as_deref().unwrap_or(address.database());
    let subject = format!("{schema}.{}", table.name.table);
    let layout = match Shape::read(session, schema, &table.name.table).await {
        Ok(shape) => Layout::of(index, table, schema, shape),
        Err(error) => {
            findings.push(unseen(&subject, &error));
            return Extent::default();
        }
    };
    let layout = match layout {
        Ok(layout) => layout,
        Err(why) => {
            let fix = "mend the mapping or the table; numbers must be whole, names text (utf8, ascii, latin1) or whole numbers";
            findings.push(Finding::stop(subject, why, fix));
            return Extent::default();
        }
    };
    findings.push(Finding::ok(&subject, "the mapped columns are there, and of types that can be used"));
    let looked = async {
        form(session, &layout, &subject, findings).await?;
        key(session, &layout, &subject, findings).await?;
        traps(session, &layout, &subject, findings).await?;
        update_right(session, mapping, &layout, &subject, findings).await
    };
    if let Err(error) = looked.await {
        findings.push(unseen(&subject, &error));
    }
    if !course.looks_at_rows() {
        return Extent::default();
    }
    let mut in_rows = Vec::new();
    let looked = async {
        rows(address, &layout, &subject, look_max(course), &mut in_rows).await?;
        extent(address, &layout, look_max(course)).await
    };
    let extent = match tokio::time::timeout(look_max(course), looked).await {
        Ok(Ok(extent)) => extent,
        Ok(Err(error)) => {
            in_rows.push(unseen(&subject, &error));
            Extent::default()
        }
        Err(_) => {
            in_rows.push(Finding::warn(
                &subject,
                "its rows could not all be looked at in time",
                "run the check when the old shop is quiet",
            ));
            Extent::default()
        }
    };
    findings.extend(in_rows.into_iter().map(|finding| course.weigh(finding)));
    extent
}

/// Longest look at all rows: on the way back, what it finds is only told, and somebody waits.
const fn look_max(course: Course) -> Duration {
    match course {
        Course::Onward => Duration::from_secs(600),
        Course::Back | Course::InHaste => Duration::from_secs(20),
    }
}

/// How much there is in it: rows up to one too many, and as many locations.
async fn extent(address: &Address, layout: &Layout, statement_max: Duration) -> Result<Extent, LegacyError> {
    let mut session = address.connect().await?;
    session.limit(statement_max).await?;
    let doing = "counting rows and locations";
    let counted = look_max(Course::Onward);
    let most = u64::from(ITEMS_MAX) + 1;
    let sql = format!("select count(*) from (select 1 from {} limit {most}) d", layout.from());
    let rows: Option<u64> = within(doing, counted, session.conn.query_first(sql)).await?;
    let mut extent = Extent { rows: rows.unwrap_or_default(), ..Extent::default() };
    let places: Vec<String> = match &layout.location {
        Location::Constant(place) => vec![place.clone()],
        Location::Column(at) => {
            let (column, from, most) = (layout.column(*at), layout.from(), LOCATIONS_MAX + 1);
            let sql =
                format!("select distinct coalesce(cast({column} as char), '') from {from} limit {most}");
            within(doing, counted, session.conn.query(sql)).await?
        }
    };
    extent.locations.extend(places);
    Ok(extent)
}

async fn form(
    session: &mut Session,
    layout: &Layout,
    subject: &str,
    findings: &mut Vec<Finding>,
) -> Result<(), LegacyError> {
    let sql = "select table_type, coalesce(engine, '') from information_schema.tables \
               where table_schema = ? and table_name = ?";
    let work = session.conn.exec_first(sql, (&layout.schema, &layout.name));
    let found: Option<(String, String)> = within("looking at the table", STATEMENT_MAX, work).await?;
    let (kind, engine) = found.unwrap_or_default();
    if !kind.eq_ignore_ascii_case("base table") {
        let fix = "map the table itself; a system-versioned table logs its history as if it were rows";
        findings.push(Finding::stop(subject, format!("is a {}", kind.to_lowercase()), fix));
    } else if !engine.eq_ignore_ascii_case("innodb") {
        let fix = format!("alter table {subject} engine = InnoDB: others have no transactions");
        findings.push(Finding::stop(subject, format!("is of the engine {engine}"), fix));
    }
    Ok(())
}

/// That the key is one, and that items are found by an index.
async fn key(
    session: &mut Session,
    layout: &Layout,
    subject: &str,
    findings: &mut Vec<Finding>,
) -> Result<(), LegacyError> {
    // A part of an index that is computed, which MySQL has, has no column.
    let sql = "select index_name, non_unique, coalesce(column_name, ''), coalesce(nullable, '') from information_schema.statistics \
               where table_schema = ? and table_name = ? order by index_name, seq_in_index";
    let work = session.conn.exec(sql, (&layout.schema, &layout.name));
    let rows: Vec<(String, u8, String, String)> =
        within("looking at the indexes", STATEMENT_MAX, work).await?;
    let names: BTreeSet<&str> = rows.iter().map(|(name, ..)| name.as_str()).collect();
    let columns_of = |index: &str| -> Vec<String> {
        rows.iter().filter(|(name, ..)| name == index).map(|(.., column, _)| column.to_lowercase()).collect()
    };
    let name = |at: usize| layout.shape.columns[at].name.to_lowercase();
    let wanted: BTreeSet<String> = layout.key.iter().map(|at| name(*at)).collect();
    let is_key = |index: &&str| {
        let is_unique = rows.iter().any(|(name, non_unique, ..)| name == index && *non_unique == 0);
        is_unique && columns_of(index).into_iter().collect::<BTreeSet<_>>() == wanted
    };
    let has_null = layout.key.iter().any(|at| layout.shape.columns[*at].nullable);
    findings.push(if names.iter().any(is_key) && !has_null {
        Finding::ok(format!("{subject} key"), "unique, without nulls")
    } else {
        Finding::stop(
            format!("{subject} key"),
            "the mapping's key is no unique index without nulls",
            "name the columns of the primary key; a table without one needs one",
        )
    });
    let sku = name(layout.sku);
    if !names.iter().any(|index| columns_of(index).first() == Some(&sku)) {
        findings.push(Finding::warn(
            format!("{subject}.{sku}"),
            "no index begins with it: each write of ours reads the whole table",
            format!("create index banyan_sku on {subject} ({})", quoted(&sku)),
        ));
    }
    Ok(())
}

/// What would change our values, or change rows without the log saying so.
async fn traps(
    session: &mut Session,
    layout: &Layout,
    subject: &str,
    findings: &mut Vec<Finding>,
) -> Result<(), LegacyError> {
    let names = (&layout.schema, &layout.name);
    let doing = "looking at triggers and foreign keys";
    let sql = "select concat(trigger_name, ' (', lower(action_timing), ' ', lower(event_manipulation), ')') \
               from information_schema.triggers where event_object_schema = ? and event_object_table = ?";
    let triggers: Vec<String> = within(doing, STATEMENT_MAX, session.conn.exec(sql, names)).await?;
    if !triggers.is_empty() {
        findings.push(Finding::warn(
            format!("{subject} triggers"),
            triggers.join(", "),
            "they run for our writes as well: one that changes a mapped column is noticed as a breach; read them before \
             Banyan leads",
        ));
    }
    let sql = "select concat(constraint_name, ' (on delete ', lower(delete_rule), ', on update ', lower(update_rule), ')') \
               from information_schema.referential_constraints where constraint_schema = ? and table_name = ? \
               and (delete_rule in ('CASCADE', 'SET NULL', 'SET DEFAULT') or update_rule in ('CASCADE', 'SET NULL', 'SET DEFAULT'))";
    let cascades: Vec<String> = within(doing, STATEMENT_MAX, session.conn.exec(sql, names)).await?;
    if !cascades.is_empty() {
        findings.push(Finding::warn(
            format!("{subject} foreign keys"),
            cascades.join(", "),
            "what InnoDB changes by a cascade is not in the binary log: only the comparison finds it; delete the rows first",
        ));
    }
    let sql = "select column_name from information_schema.columns where table_schema = ? and table_name = ? \
               and extra like '%GENERATED%'";
    let generated: Vec<String> = within(doing, STATEMENT_MAX, session.conn.exec(sql, names)).await?;
    let written = [Some(layout.in_stock), layout.allocated];
    for at in written.into_iter().flatten() {
        let name = &layout.shape.columns[at].name;
        if generated.iter().any(|column| column.eq_ignore_ascii_case(name)) {
            let fix = "map the column that it is computed from";
            findings.push(Finding::stop(
                format!("{subject}.{name}"),
                "is computed by the table, and cannot be written",
                fix,
            ));
        }
    }
    Ok(())
}

/// Explaining a statement needs the rights of the statement.
async fn update_right(
    session: &mut Session,
    mapping: &Mapping,
    layout: &Layout,
    subject: &str,
    findings: &mut Vec<Finding>,
) -> Result<(), LegacyError> {
    if !mapping.database.bookkeeping {
        return Ok(());
    }
    let columns: Vec<String> =
        [Some(layout.in_stock), layout.allocated].into_iter().flatten().map(|at| layout.column(at)).collect();
    let sets: Vec<String> = columns.iter().map(|column| format!("{column} = {column}")).collect();
    let sql = format!("explain update {} set {} where false", layout.from(), sets.join(", "));
    let tried: Result<Vec<Row>, LegacyError> =
        within("trying the right to write", STATEMENT_MAX, session.conn.query(sql)).await;
    findings.push(match tried {
        Ok(_) => Finding::ok(format!("{subject} rights"), "may be read and written"),
        Err(LegacyError::Refused(why)) => Finding::stop(
            format!("{subject} rights"),
            why,
            format!("grant select, update ({}) on {subject} to the user", columns.join(", ")),
        ),
        Err(error) => return Err(error),
    });
    Ok(())
}

/// What was seen in the rows.
#[derive(Default)]
struct Seen {
    rows: usize,
    nameless: Vec<String>,
    twice: Vec<String>,
    beyond: Vec<String>,
    empty: usize,
}

/// That every row names one item, and holds numbers that Banyan can hold.
async fn rows(
    address: &Address,
    layout: &Layout,
    subject: &str,
    statement_max: Duration,
    findings: &mut Vec<Finding>,
) -> Result<(), LegacyError> {
    let mut session = address.connect().await?;
    session.limit(statement_max).await?;
    let mut seen = Seen::default();
    let mut items = BTreeSet::new();
    let mut after: Option<PageKey> = None;
    loop {
        let (page, next) = super::view::page(&mut session, layout, after.as_ref(), PAGE_ROWS).await?;
        for row in page {
            seen.rows += 1;
            let name = if layout.location == Location::Constant(row.location.clone()) {
                row.sku.clone()
            } else {
                format!("{} at {}", row.sku, row.location)
            };
            if SkuId::new(row.sku.as_str()).is_err() || LocationId::new(row.location.as_str()).is_err() {
                seen.nameless.push(format!("{name:?}"));
            }
            let is_beyond = |value: Option<i64>| {
                value.is_some_and(|value| value.unsigned_abs() > u64::from(ITEM_UNITS_MAX))
            };
            if is_beyond(row.in_stock) || is_beyond(row.allocated) {
                seen.beyond.push(name.clone());
            }
            seen.empty += usize::from(row.in_stock.is_none());
            if !items.insert((row.sku, row.location)) {
                seen.twice.push(name);
            }
        }
        match next {
            Some(key) if seen.rows < ROWS_MAX => after = Some(key),
            next => break seen.report(layout, subject, next.is_none(), findings),
        }
    }
    Ok(())
}

impl Seen {
    fn report(&self, layout: &Layout, subject: &str, is_all: bool, findings: &mut Vec<Finding>) {
        let examples = |names: &[String]| names[..names.len().min(EXAMPLES_MAX)].join(", ");
        let sku = &layout.shape.columns[layout.sku].name;
        if !self.twice.is_empty() {
            let found = format!(
                "{} items have more than one row, such as {}",
                self.twice.len(),
                examples(&self.twice)
            );
            let fix = "each SKU may have one row at a place: merge them, or map the column of the place";
            findings.push(Finding::stop(format!("{subject}.{sku}"), found, fix));
        }
        if !self.nameless.is_empty() {
            let found = format!(
                "{} rows have no name that Banyan can use, such as {}",
                self.nameless.len(),
                examples(&self.nameless)
            );
            let fix = "these rows are left alone: give them a name, or sell them without Banyan";
            findings.push(Finding::warn(format!("{subject}.{sku}"), found, fix));
        }
        if !self.beyond.is_empty() {
            let found = format!(
                "beyond {ITEM_UNITS_MAX} units in {} rows, such as {}",
                self.beyond.len(),
                examples(&self.beyond)
            );
            findings.push(Finding::stop(
                subject,
                found,
                "Banyan does not hold more of one item: put the numbers right",
            ));
        }
        if self.empty > 0 {
            let found = format!("{} rows have no number in stock", self.empty);
            findings.push(Finding::warn(subject, found, "they count as 0 in stock"));
        }
        let all = if is_all { "all" } else { "the first" };
        findings.push(Finding::ok(format!("{subject} rows"), format!("looked at {all} {}", self.rows)));
    }
}
