//! The tables as of the moment at which the slot begins, read page by page beside the stream.

use super::address::{Address, Session, fault};
use super::bookkeeping::{OUTBOX, ours};
use super::catalog::{self, Catalog};
use super::write::read_book;
use crate::database::{Book, LegacyError};
use crate::mapping::Mapping;
use crate::stream::{Item, OutboxRow};
use banyan_domain::legacy::Phase;
use std::sync::Arc;
use tokio::sync::mpsc;

/// Rows in one page, and so in memory.
const PAGE_ROWS: u32 = 2_000;

/// Pages as they come; the channel's end is the end of the snapshot.
pub(super) type Pages = mpsc::Receiver<Result<Item, LegacyError>>;

/// Takes the exported snapshot over into a transaction of our own and begins to read. When this returns, the session that
/// exported it may go on. The bookkeeping row is of the same moment as the rows.
pub(super) async fn begin(
    address: &Address,
    mapping: &Arc<Mapping>,
    exported: &str,
) -> Result<(Pages, Option<Book>), LegacyError> {
    let session = address.connect().await?;
    // The read may take longer than the old shop allows itself: neither limit is meant for us.
    let sql = format!(
        "begin isolation level repeatable read read only; set transaction snapshot '{}'; \
         set local statement_timeout = 0; set local idle_in_transaction_session_timeout = 0",
        exported.replace('\'', "''")
    );
    session.client.batch_execute(&sql).await.map_err(|error| fault("taking over the snapshot", &error))?;
    let book = match mapping.database.bookkeeping {
        true => read_book(&session.client, mapping, "").await?,
        false => None,
    };
    // Where nobody needs the tables they may be gone; what is left in the outbox counts all the same.
    let catalog = match needs_tables(mapping, book) {
        true => Some(catalog::read(&session.client, mapping).await?),
        false => None,
    };
    let (to, pages) = mpsc::channel(2);
    let mapping = mapping.clone();
    tokio::spawn(async move {
        if let Err(error) = read(&session, &mapping, catalog.as_ref(), &to).await {
            // Nobody waits any more if this fails.
            let _gone = to.send(Err(error)).await;
        }
    });
    Ok((pages, book))
}

/// Whether the mapped tables are needed where the bookkeeping row is this one.
pub(super) fn needs_tables(mapping: &Mapping, book: Option<Book>) -> bool {
    mapping.needs_tables(book.map_or(Phase::Legacy, |book| book.phase))
}

async fn read(
    session: &Session,
    mapping: &Mapping,
    catalog: Option<&Catalog>,
    to: &mpsc::Sender<Result<Item, LegacyError>>,
) -> Result<(), LegacyError> {
    if mapping.database.bookkeeping {
        let left = outbox(session, mapping).await?;
        if !left.is_empty() && to.send(Ok(Item::Outbox(left))).await.is_err() {
            return Ok(());
        }
    }
    let catalogs =
        catalog.into_iter().flat_map(|catalog| (0..mapping.tables.len()).map(move |table| (catalog, table)));
    for (catalog, table) in catalogs {
        let reading =
            |error: tokio_postgres::Error| fault(&format!("reading {}", mapping.tables[table].name), &error);
        let declare = format!("declare banyan_rows no scroll cursor for {}", catalog.select(mapping, table));
        session.client.batch_execute(&declare).await.map_err(reading)?;
        loop {
            let fetched = session.client.query(&format!("fetch {PAGE_ROWS} from banyan_rows"), &[]).await;
            let rows = fetched.map_err(reading)?;
            if rows.is_empty() {
                break;
            }
            let rows = rows.iter().map(|row| catalog::row(table, row)).collect::<Result<Vec<_>, _>>()?;
            if to.send(Ok(Item::Rows(rows))).await.is_err() {
                return Ok(());
            }
        }
        session.client.batch_execute("close banyan_rows").await.map_err(reading)?;
    }
    session.client.batch_execute("commit").await.map_err(|error| fault("ending the snapshot", &error))
}

/// What is left in the outbox, in the order of its numbers: the best there is without the stream that told it.
async fn outbox(session: &Session, mapping: &Mapping) -> Result<Vec<OutboxRow>, LegacyError> {
    let sql = format!(
        "select /* banyan */ id, kind, body::text from {} where capability = $1 order by id",
        ours(mapping, OUTBOX)
    );
    let rows = session.client.query(&sql, &[&mapping.capability]).await;
    let rows = rows.map_err(|error| fault("reading the outbox", &error))?;
    Ok(rows.iter().map(|row| OutboxRow { id: row.get(0), kind: row.get(1), body: row.get(2) }).collect())
}
