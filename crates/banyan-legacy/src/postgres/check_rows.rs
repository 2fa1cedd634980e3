//! The preflight of the rows: what each of them holds, and what they say together. May take as long as reading the tables.

use super::bookkeeping::quoted;
use super::catalog::table_sql;
use super::check::{ask, unseen};
use super::sessions::Sessions;
use crate::database::Finding;
use crate::mapping::{LocationFrom, Mapping, TableMapping};
use crate::scope::Course;
use std::time::Duration;
use tokio_postgres::Client;

/// Longest statement over all rows of a table: on the way back, what it finds is only told, and somebody waits.
const fn statement_max(course: Course) -> Duration {
    match course {
        Course::Onward => Duration::from_secs(600),
        Course::Back => Duration::from_secs(10),
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
    for table in tables.iter().filter_map(|table| mapping.tables.get(*table)) {
        let looked = sessions.scan(statement_max(course), |lease| async {
            let found = rows(&lease.session.client, table).await;
            Ok((lease, found))
        });
        let found = match looked.await {
            Ok(found) => found,
            Err(error) => vec![unseen(&format!("{} rows", table.name), &error)],
        };
        findings.extend(found.into_iter().map(|finding| course.weigh(finding)));
    }
}

fn name_of(column: &str) -> String {
    format!("rtrim(coalesce({}::text, ''))", quoted(column))
}

/// What the rows hold. One pass for what each says, one for what they say together.
async fn rows(client: &Client, table: &TableMapping) -> Vec<Finding> {
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
    let beyond =
        format!("({in_stock} < 0 or {allocated} < 0 or {in_stock} > 4294967295 or {allocated} > 4294967295)");
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
    let mut faults = Vec::new();
    if count(1) > 0 {
        let found =
            format!("{} rows have no SKU, or one that cannot be taken, such as {:?}", count(1), example(2));
        let fix = "a SKU is 1 to 64 visible ASCII characters without spaces: correct the rows";
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
            "{} rows have a number below 0 or above 4294967295, such as that of {:?}",
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
    if faults.is_empty() {
        faults.push(Finding::ok(subject, format!("{} rows, all can be mirrored", count(0))));
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
