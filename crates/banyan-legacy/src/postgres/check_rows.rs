//! The preflight of the rows: what each of them holds, and what they say together. May take as long as reading the tables.

use super::bookkeeping::quoted;
use super::catalog::table_sql;
use super::check::{ask, unseen};
use super::sessions::Sessions;
use crate::database::Finding;
use crate::extent::Extent;
use crate::mapping::{LocationFrom, Mapping, TableMapping};
use crate::scope::Course;
use banyan_domain::limits::{ITEM_UNITS_MAX, LOCATIONS_MAX};
use std::time::Duration;
use tokio_postgres::Client;

/// Longest statement over all rows of a table: on the way back, what it finds is only told, and somebody waits.
const fn statement_max(course: Course) -> Duration {
    match course {
        Course::Onward => Duration::from_secs(600),
        Course::Back | Course::InHaste => Duration::from_secs(10),
    }
}

/// Looks at the rows of some tables of the mapping.
pub(super) async fn check(
    sessions: &Sessions,
    mapping: &Mapping,
    tables: &[usize],
    course: Course,
    findings: &mut Vec<Finding>,
) {
    let mut extent = Extent::default();
    for table in tables.iter().filter_map(|table| mapping.tables.get(*table)) {
        let looked = sessions.scan(statement_max(course), |lease| async {
            let mut extent = Extent::default();
            let found = rows(&lease.session.client, table, &mut extent).await;
            Ok((lease, (found, extent)))
        });
        let found = match looked.await {
            Ok((found, seen)) => {
                extent.add(seen);
                found
            }
            Err(error) => vec![unseen(&format!("{} rows", table.name), &error)],
        };
        findings.extend(found.into_iter().map(|finding| course.weigh(finding)));
    }
    findings.extend(extent.findings().into_iter().map(|finding| course.weigh(finding)));
}

/// Names as the stream and the copy have them: `::text` takes the padding of `char(n)` off, and nothing else is taken off anything.
fn name_of(column: &str) -> String {
    format!("coalesce({}::text, '')", quoted(column))
}

/// What the rows hold. One pass for what each says, one for what they say together, one for their places.
async fn rows(client: &Client, table: &TableMapping, extent: &mut Extent) -> Vec<Finding> {
    let subject = format!("{} rows", table.name);
    let name = table_sql(table);
    let sku = name_of(&table.sku);
    let place = match &table.location {
        LocationFrom::Column(column) => name_of(column),
        LocationFrom::Constant(place) => format!("'{}'", place.replace('\'', "''")),
    };
    let in_stock = format!("coalesce({}, 0)", quoted(&table.in_stock));
    let allocated =
        table.allocated.as_ref().map_or("0".to_owned(), |column| format!("coalesce({}, 0)", quoted(column)));
    let bad_sku = format!("{sku} !~ '^[!-~]{{1,64}}$'");
    let bad_place = format!("{place} !~ '^[a-z0-9][a-z0-9-]{{0,47}}$'");
    let beyond = format!(
        "({in_stock} < 0 or {allocated} < 0 or {in_stock} > {ITEM_UNITS_MAX} or {allocated} > {ITEM_UNITS_MAX})"
    );
    let sql = format!(
        "select /* banyan */ count(*), count(*) filter (where {bad_sku}), min({sku}) filter (where {bad_sku}), \
         count(*) filter (where {bad_place}), min({place}) filter (where {bad_place}), \
         count(*) filter (where {beyond}), min({sku}) filter (where {beyond}), \
         count(*) filter (where {allocated} > {in_stock}), min({sku}) filter (where {allocated} > {in_stock}) from {name}"
    );
    let row = match ask(client, &subject, &sql, &[]).await {
        Ok(row) => row,
        Err(finding) => return vec![finding],
    };
    let count = |at: usize| row.get::<_, i64>(at);
    let example = |at: usize| row.get::<_, Option<String>>(at).unwrap_or_default();
    extent.rows += u64::try_from(count(0)).unwrap_or(0);
    let mut faults = Vec::new();
    if count(1) > 0 {
        let found =
            format!("{} rows have no SKU, or one that cannot be taken, such as {:?}", count(1), example(2));
        let fix =
            "a SKU is 1 to 64 visible ASCII characters without spaces, also at its end: correct the rows";
        faults.push(Finding::stop(subject.clone(), found, fix));
    }
    if count(3) > 0 {
        let found =
            format!("{} rows have a location that cannot be taken, such as {:?}", count(3), example(4));
        let fix = "a location is 1 to 48 of a-z, 0-9 and -: map another column, or a constant";
        faults.push(Finding::stop(subject.clone(), found, fix));
    }
    if count(5) > 0 {
        let found = format!(
            "{} rows have a number below 0 or above {ITEM_UNITS_MAX}, such as that of {:?}",
            count(5),
            example(6)
        );
        faults.push(Finding::stop(subject.clone(), found, "correct the rows: such numbers are no counts"));
    }
    if count(7) > 0 {
        let found = format!(
            "{} rows are oversold: more is allocated than in stock, such as {:?}",
            count(7),
            example(8)
        );
        let fix = "they can be mirrored: nothing more of them is sold, and what is missing is shown as short";
        faults.push(Finding::warn(subject.clone(), found, fix));
    }
    faults.extend(twice(client, &subject, &name, (&sku, &place)).await);
    match places(client, &subject, &name, table, &place).await {
        Ok(places) => extent.locations.extend(places),
        Err(finding) => faults.push(finding),
    }
    if faults.is_empty() {
        faults.push(Finding::ok(subject, format!("{} rows, each can be mirrored", count(0))));
    }
    faults
}

/// Items with more than one row.
async fn twice(client: &Client, subject: &str, name: &str, (sku, place): (&str, &str)) -> Option<Finding> {
    let sql = format!(
        "select /* banyan */ count(*), min(s) from (select {sku} as s, {place} as p from {name} group by 1, 2 having count(*) > 1) d"
    );
    let found = match ask(client, subject, &sql, &[]).await {
        Ok(found) => found,
        Err(finding) => return Some(finding),
    };
    let (items, example): (i64, Option<String>) = (found.get(0), found.get(1));
    let found =
        format!("{items} items have more than one row, such as SKU {:?}", example.unwrap_or_default());
    let fix = "an item is one SKU at one location: map the column that tells such rows apart as the location, or merge them";
    (items > 0).then(|| Finding::stop(subject, found, fix))
}

/// The locations of a table, or as many as are too many.
async fn places(
    client: &Client,
    subject: &str,
    name: &str,
    table: &TableMapping,
    place: &str,
) -> Result<Vec<String>, Finding> {
    if let LocationFrom::Constant(place) = &table.location {
        return Ok(vec![place.clone()]);
    }
    let sql = format!("select /* banyan */ distinct {place} from {name} limit {}", LOCATIONS_MAX + 1);
    let rows = client.query(&sql, &[]).await;
    let rows =
        rows.map_err(|error| unseen(subject, &super::address::fault("looking at locations", &error)))?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}
