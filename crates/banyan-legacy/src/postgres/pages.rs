//! Reading rows for the comparison of both sides, with the positions between which they were read.

use super::address::fault;
use super::catalog;
use super::marker;
use super::sessions::Sessions;
use crate::database::{LegacyError, Page, PageKey};
use crate::mapping::Mapping;
use crate::stream::Row;
use pgwire_replication::Lsn;
use std::collections::BTreeSet;
use tokio_postgres::{Client, Row as SqlRow};

/// Reads a page in the order of the key.
pub(super) async fn page(
    sessions: &Sessions,
    mapping: &Mapping,
    table: usize,
    after: Option<&PageKey>,
    limit: u32,
) -> Result<Page, LegacyError> {
    sessions
        .with(|mut lease| async {
            let catalog = lease.catalog(mapping).await?;
            let client = &lease.session.client;
            let (order, beyond) = catalog.paging(mapping, table);
            let select = catalog.select(mapping, table);
            let limit = limit.max(1);
            let position_before = position(client).await?;
            let rows = match after {
                None => client.query(&format!("{select} order by {order} limit {limit}"), &[]).await,
                Some(PageKey(key)) => {
                    client
                        .query(&format!("{select} where {beyond} order by {order} limit {limit}"), &[key])
                        .await
                }
            };
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
