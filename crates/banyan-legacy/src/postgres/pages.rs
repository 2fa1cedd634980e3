//! Reading rows for the comparison of both sides, with the positions between which they were read.

use super::address::fault;
use super::catalog::{self, Catalog, table_sql};
use super::marker;
use super::sessions::Sessions;
use crate::database::{Digests, KeyRange, LegacyError, Page, PageKey, RangeDigest};
use crate::mapping::Mapping;
use crate::stream::Row;
use futures_util::future::try_join_all;
use pgwire_replication::Lsn;
use std::collections::{BTreeMap, BTreeSet};
use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, Row as SqlRow, Statement};

/// Reads a page of a range in the order of the key.
pub(super) async fn page(
    sessions: &Sessions,
    mapping: &Mapping,
    table: usize,
    range: &KeyRange,
    limit: u32,
) -> Result<Page, LegacyError> {
    sessions
        .with(|mut lease| async {
            let catalog = lease.catalog(mapping).await?;
            let client = &lease.session.client;
            let order = Catalog::order(mapping, table);
            let select = catalog.select(mapping, table);
            let limit = limit.max(1);
            let (within, keys) = within(&catalog, mapping, table, range);
            let position_before = position(client).await?;
            let rows = client.query(&format!("{select}{within} order by {order} limit {limit}"), &keys).await;
            let rows =
                rows.map_err(|error| fault(&format!("reading {}", mapping.tables[table].name), &error))?;
            let position_after = position(client).await?;
            let full = rows.len() >= usize::try_from(limit).unwrap_or(usize::MAX);
            let next = rows.last().filter(|_| full).map(catalog::key).transpose()?;
            let rows = read(table, &rows)?;
            Ok((lease, Page { rows, next, position_before, position_after }))
        })
        .await
}

/// The condition that a row is in a range, and its parameters.
fn within<'a>(
    catalog: &Catalog,
    mapping: &Mapping,
    table: usize,
    range: &'a KeyRange,
) -> (String, Vec<&'a (dyn ToSql + Sync)>) {
    let mut keys: Vec<&(dyn ToSql + Sync)> = Vec::new();
    let mut bounds = Vec::new();
    for (operator, key) in [(">", &range.after), ("<=", &range.until)] {
        if let Some(PageKey(key)) = key {
            keys.push(key);
            bounds.push(catalog.bound(mapping, table, operator, keys.len()));
        }
    }
    let condition =
        if bounds.is_empty() { String::new() } else { format!(" where {}", bounds.join(" and ")) };
    (condition, keys)
}

/// Digests ranges, each as of a moment of its own.
pub(super) async fn digests(
    sessions: &Sessions,
    mapping: &Mapping,
    table: usize,
    ranges: &[KeyRange],
    rows_max: u32,
) -> Result<Digests, LegacyError> {
    sessions
        .with(|mut lease| async {
            let catalog = lease.catalog(mapping).await?;
            let client = &lease.session.client;
            let reading =
                |error: tokio_postgres::Error| fault(&format!("digesting {}", mapping.tables[table].name), &error);
            let (order, line) = (Catalog::order(mapping, table), Catalog::line(mapping, table));
            let name = table_sql(&mapping.tables[table]);
            // Almost all have the same bounds, and so the same statement.
            let mut prepared: BTreeMap<String, Statement> = BTreeMap::new();
            let asked: Vec<_> = ranges.iter().map(|range| within(&catalog, mapping, table, range)).collect();
            for (within, _) in &asked {
                if !prepared.contains_key(within) {
                    // The aggregate takes the rows as they come, sorted: to sort them again costs three times as much. If ever they
                    // came otherwise, the digest would differ, and the rows be read.
                    let sql = format!(
                        "select /* banyan */ count(*), encode(sha256(convert_to(coalesce(string_agg(line, ''), ''), 'UTF8')), 'hex') \
                         from (select {line} as line from {name} t{within} order by {order} limit {rows_max}) r"
                    );
                    let statement = client.prepare(&sql).await.map_err(reading)?;
                    prepared.insert(within.clone(), statement);
                }
            }
            // Asked for at once: the server works on one after the other, and does not wait for us between two of them.
            let answers = asked.iter().map(|(within, keys)| client.query_one(&prepared[within], keys));
            let rows = try_join_all(answers).await.map_err(reading)?;
            let digest = |row: &SqlRow| RangeDigest {
                rows: u64::try_from(row.get::<_, i64>(0)).unwrap_or(0),
                digest: row.get(1),
            };
            let of = rows.iter().map(digest).collect();
            let position_after = position(client).await?;
            Ok((lease, Digests { of, position_after }))
        })
        .await
}

/// Reads the rows of some items.
pub(super) async fn items(
    sessions: &Sessions,
    mapping: &Mapping,
    items: &[(usize, String, String)],
) -> Result<Page, LegacyError> {
    sessions
        .with(|mut lease| async {
            let catalog = lease.catalog(mapping).await?;
            let client = &lease.session.client;
            let tables: BTreeSet<usize> = items.iter().map(|(table, ..)| *table).collect();
            let position_before = position(client).await?;
            let mut rows = Vec::new();
            for table in tables {
                let Some(target) = mapping.tables.get(table) else { continue };
                let of_table = || items.iter().filter(|item| item.0 == table);
                let sku: Vec<&str> = of_table().map(|item| item.1.as_str()).collect();
                let location: Vec<&str> = of_table().map(|item| item.2.as_str()).collect();
                let sql = format!(
                    "{} join unnest($1::text[], $2::text[]) as u(sku, location) on {}",
                    catalog.select(mapping, table),
                    catalog.is_item(mapping, table)
                );
                let found = client.query(&sql, &[&sku, &location]).await;
                rows.extend(read(
                    table,
                    &found.map_err(|error| fault(&format!("reading {}", target.name), &error))?,
                )?);
            }
            let position_after = position(client).await?;
            mark(client).await?;
            Ok((lease, Page { rows, next: None, position_before, position_after }))
        })
        .await
}

fn read(table: usize, rows: &[SqlRow]) -> Result<Vec<Row>, LegacyError> {
    rows.iter().map(|row| catalog::row(table, row)).collect()
}

/// The end of the log at this moment, as a position of the stream. A commit that a query sees has its record before the
/// end that is asked for after the query.
pub(super) async fn position(client: &Client) -> Result<u64, LegacyError> {
    let row = client.query_one("select /* banyan */ pg_current_wal_insert_lsn()::text", &[]).await;
    let row = row.map_err(|error| fault("asking for the end of the log", &error))?;
    Lsn::parse(row.get(0))
        .map(|lsn| lsn.as_u64().saturating_sub(1))
        .map_err(|error| LegacyError::Broken(error.to_string()))
}

/// The end of the log at this moment, whatever has become of the mapped tables.
pub(super) async fn end(sessions: &Sessions) -> Result<u64, LegacyError> {
    sessions
        .with(|lease| async {
            let end = position(&lease.session.client).await?;
            Ok((lease, end))
        })
        .await
}

/// As [`mark`], and at once: a message that is committed is also on the server's disk, which is what the stream is read from.
/// One outside of a transaction may wait there for whoever writes next.
pub(super) async fn nudge(sessions: &Sessions) -> Result<(), LegacyError> {
    sessions
        .with(|lease| async {
            let sql = "select /* banyan */ pg_logical_emit_message(true, $1, '')";
            let nudged = lease.session.client.execute(sql, &[&marker::PREFIX]).await;
            nudged.map_err(|error| fault("marking the log", &error))?;
            Ok((lease, ()))
        })
        .await
}

/// Makes the stream tell soon that it has come to here, even if nothing else happens.
pub(super) async fn mark(client: &Client) -> Result<(), LegacyError> {
    let marked = client
        .execute("select /* banyan */ pg_logical_emit_message(false, $1, '')", &[&marker::PREFIX])
        .await;
    marked.map(|_| ()).map_err(|error| fault("marking the log", &error))
}
