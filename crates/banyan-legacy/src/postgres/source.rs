//! Opening the stream: is it still the same server, the same history and the same slot? Or a new one, with a snapshot.

use super::address::{Address, fault};
use super::assemble::Assembler;
use super::catalog;
use super::snapshot;
use super::stream::PostgresStream;
use crate::database::LegacyError;
use crate::mapping::Mapping;
use crate::scope::{WITHOUT_TABLES, needs_rows};
use crate::stream::{Item, SourceId};
use pgwire_replication::client::ReplicationClient;
use pgwire_replication::{Lsn, PgWireError};
use std::sync::Arc;
use std::time::Duration;

/// Longest wait for the new slot: it begins only when every transaction that is under way now has ended.
const SLOT_WAIT_MAX: Duration = Duration::from_secs(60);
/// Longest wait for each other answer.
const ANSWER_WAIT_MAX: Duration = Duration::from_secs(20);

/// A slot as `pg_replication_slots` has it.
struct Slot {
    plugin: String,
    database: String,
    confirmed: Option<u64>,
    lost: bool,
    active_pid: Option<String>,
}

/// Opens the stream at `from`, or a new one that begins with a snapshot.
pub(super) async fn open(
    address: &Address,
    mapping: &Arc<Mapping>,
    from: Option<(SourceId, u64)>,
) -> Result<PostgresStream, LegacyError> {
    let name = mapping.database.slot.as_str();
    // From where the slot stands: what was not acknowledged comes again, also from before `from`. Its answers may have been lost,
    // and what is done after it is durable here (clearing the outbox) must then be done again.
    let config = address.replication(name);
    let connecting = tokio::time::timeout(ANSWER_WAIT_MAX, async {
        let mut client = ReplicationClient::connect_gated(config).await?;
        let system = client.identify_system().await?;
        Ok((client, system))
    });
    let (mut client, system) =
        connecting.await.map_err(|_| late("the stream's connection"))?.map_err(|e| stream_fault(&e))?;
    let database = system.dbname.clone().unwrap_or_default();
    let source = SourceId {
        system: format!("{}/{}/{database}", system.system_id, system.timeline),
        stream: name.to_owned(),
    };
    let slot = slot(&mut client, name).await?;
    let needs_tables = catalog::check_publication(address, mapping).await?;
    let Some((known, position)) = from else {
        if let Some(slot) = slot {
            drop_slot(&mut client, name, &slot, &database).await?;
        }
        let (consistent, exported) = create_slot(address, &mut client, name).await?;
        let (pages, book) = snapshot::begin(address, mapping, &exported).await?;
        // The tables were looked for before. A copy without them, where their rows count, would say that the old shop has nothing.
        if !needs_tables && needs_rows(book) {
            return Err(LegacyError::Broken(WITHOUT_TABLES.to_owned()));
        }
        // The slot begins with the first commit at this point or after it: the snapshot is everything before.
        let position = consistent.saturating_sub(1);
        let begin = Item::SnapshotBegin { source, position, book };
        let assembler = Assembler::new(mapping.clone(), snapshot::needs_tables(mapping, book));
        return Ok(PostgresStream::with_snapshot(client, address, assembler, begin, position, pages));
    };
    let slot = slot.ok_or_else(|| LegacyError::SourceUnknown(format!("the slot {name} is gone")))?;
    still_the_same(&known, &source, position, &slot, system.xlogpos.as_u64())?;
    start_stream(&mut client).await?;
    Ok(PostgresStream::resumed(client, address, Assembler::new(mapping.clone(), needs_tables), position))
}

/// Starts the stream of a session that has been prepared.
pub(super) async fn start_stream(client: &mut ReplicationClient) -> Result<(), LegacyError> {
    let starting = tokio::time::timeout(ANSWER_WAIT_MAX, async {
        client.start().await?;
        client.wait_started().await
    });
    starting.await.map_err(|_| late("the start of the stream"))?.map_err(|error| stream_fault(&error))
}

/// Every sign by which a position may have lost its meaning.
fn still_the_same(
    known: &SourceId,
    found: &SourceId,
    position: u64,
    slot: &Slot,
    head: u64,
) -> Result<(), LegacyError> {
    let unknown = |why: String| Err(LegacyError::SourceUnknown(why));
    if known != found {
        return unknown(format!(
            "it was {}, stream {}, and is {}, stream {}: another server, or restored, or failed over",
            known.system, known.stream, found.system, found.stream
        ));
    }
    if slot.lost {
        return unknown(format!(
            "the old database has given up the slot {}: it kept too much for us",
            known.stream
        ));
    }
    if head < position {
        return unknown(format!(
            "its log ends at {}, and we have read up to {}: it was restored",
            Lsn::from_u64(head),
            Lsn::from_u64(position)
        ));
    }
    match slot.confirmed {
        // What we acknowledge is durable here before. Anything further was done by somebody else.
        Some(confirmed) if confirmed > position.saturating_add(1) => unknown(format!(
            "the slot {} stands at {}, and we have read up to {}: it was made anew, or somebody else read it",
            known.stream,
            Lsn::from_u64(confirmed),
            Lsn::from_u64(position)
        )),
        Some(_) if slot.plugin == "pgoutput" => Ok(()),
        _ => unknown(format!("the slot {} is not one of pgoutput", known.stream)),
    }
}

async fn slot(client: &mut ReplicationClient, name: &str) -> Result<Option<Slot>, LegacyError> {
    let rows = query(
        client,
        &format!(
            "select coalesce(plugin, ''), coalesce(database, ''), confirmed_flush_lsn::text, \
             coalesce(wal_status = 'lost', false)::text, active_pid::text from pg_replication_slots where slot_name = '{name}'"
        ),
    )
    .await?;
    let Some(row) = rows.into_iter().next() else { return Ok(None) };
    let mut row = row.into_iter();
    let mut text = || row.next().flatten();
    Ok(Some(Slot {
        plugin: text().unwrap_or_default(),
        database: text().unwrap_or_default(),
        confirmed: text().and_then(|lsn| Lsn::parse(&lsn).ok()).map(Lsn::as_u64),
        lost: text().as_deref() == Some("true"),
        active_pid: text(),
    }))
}

/// The slot has our name, and what it stands for is given up: nobody may read it at the moment.
async fn drop_slot(
    client: &mut ReplicationClient,
    name: &str,
    slot: &Slot,
    database: &str,
) -> Result<(), LegacyError> {
    if slot.plugin != "pgoutput" || slot.database != database {
        return Err(LegacyError::Refused(format!(
            "there is a slot {name} which is not ours (plugin {:?}, database {:?}); choose another `slot` in the mapping",
            slot.plugin, slot.database
        )));
    }
    if let Some(pid) = &slot.active_pid {
        return Err(LegacyError::Broken(format!(
            "process {pid} of the old database still reads the slot {name}"
        )));
    }
    query(client, &format!("select pg_drop_replication_slot('{name}')")).await.map(|_| ())
}

async fn create_slot(
    address: &Address,
    client: &mut ReplicationClient,
    name: &str,
) -> Result<(u64, String), LegacyError> {
    let sql = format!("CREATE_REPLICATION_SLOT {name} LOGICAL pgoutput EXPORT_SNAPSHOT");
    let made = tokio::time::timeout(SLOT_WAIT_MAX, client.simple_query(&sql)).await;
    let Ok(made) = made else { return Err(LegacyError::Broken(waits_for(address).await)) };
    let rows = made.map_err(|error| stream_fault(&error))?;
    let row = rows.into_iter().next().unwrap_or_default();
    let text = |at: usize| {
        row.get(at).and_then(Option::as_ref).map(|bytes| String::from_utf8_lossy(bytes).into_owned())
    };
    let consistent = text(1).and_then(|lsn| Lsn::parse(&lsn).ok());
    match (consistent, text(2)) {
        (Some(consistent), Some(exported)) => Ok((consistent.as_u64(), exported)),
        _ => Err(LegacyError::Broken("the answer to CREATE_REPLICATION_SLOT cannot be read".to_owned())),
    }
}

/// Says whom the new slot waits for.
async fn waits_for(address: &Address) -> String {
    let general = format!(
        "the new slot did not begin within {} s: it waits for a transaction that was already under way",
        SLOT_WAIT_MAX.as_secs()
    );
    let Ok(session) = address.connect().await else { return general };
    let oldest = session
        .client
        .query_opt(
            "select pid, usename::text, (now() - xact_start)::text from pg_stat_activity \
             where xact_start is not null and backend_type = 'client backend' and pid <> pg_backend_pid() \
             order by xact_start limit 1",
            &[],
        )
        .await;
    match oldest {
        Ok(Some(row)) => format!(
            "{general}; the oldest is that of process {} (user {}), open for {}: end it, then try again",
            row.get::<_, i32>(0),
            row.get::<_, Option<String>>(1).unwrap_or_default(),
            row.get::<_, Option<String>>(2).unwrap_or_default()
        ),
        _ => general,
    }
}

type TextRow = Vec<Option<String>>;

async fn query(client: &mut ReplicationClient, sql: &str) -> Result<Vec<TextRow>, LegacyError> {
    let asked = tokio::time::timeout(ANSWER_WAIT_MAX, client.simple_query(sql)).await;
    let rows = asked.map_err(|_| late("an answer"))?.map_err(|error| stream_fault(&error))?;
    let text = |cell: Option<bytes::Bytes>| cell.map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    Ok(rows.into_iter().map(|row| row.into_iter().map(text).collect()).collect())
}

/// What a fault of the stream means.
pub(super) fn stream_fault(error: &PgWireError) -> LegacyError {
    let text = error.to_string();
    // The library gives the code only within its text.
    let code = text.rsplit_once("SQLSTATE ").map(|(_, rest)| rest.trim_end_matches(')'));
    match (error, code) {
        (PgWireError::Server(_), Some("42704")) if text.contains("slot") => LegacyError::SourceUnknown(text),
        (PgWireError::Server(_), Some("55000")) => LegacyError::SourceUnknown(text),
        (PgWireError::Server(_), Some(code)) => {
            let passing = ["08", "53", "57", "55006", "58"].iter().any(|class| code.starts_with(class));
            if passing { LegacyError::Broken(text) } else { LegacyError::Refused(text) }
        }
        (PgWireError::Auth(_) | PgWireError::Tls(_) | PgWireError::MessageTooLarge { .. }, _) => {
            LegacyError::Refused(text)
        }
        _ => LegacyError::Broken(text),
    }
}

fn late(what: &str) -> LegacyError {
    LegacyError::Broken(format!("no answer within {} s: {what}", ANSWER_WAIT_MAX.as_secs()))
}

/// The end of the old database's log now, asked over a session of its own.
pub(super) async fn head(address: &Address) -> Result<u64, LegacyError> {
    let asking = async {
        let session = address.connect().await?;
        let row = session.client.query_one("select pg_current_wal_flush_lsn()::text", &[]).await;
        let row = row.map_err(|error| fault("asking for the end of the log", &error))?;
        Lsn::parse(row.get(0)).map(Lsn::as_u64).map_err(|error| LegacyError::Broken(error.to_string()))
    };
    tokio::time::timeout(ANSWER_WAIT_MAX, asking).await.unwrap_or_else(|_| Err(late("the end of the log")))
}
