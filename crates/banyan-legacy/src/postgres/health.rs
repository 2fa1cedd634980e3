//! How the stream does on the old database's side, who still uses the mapped tables, and the last resort.

use super::address::{APPLICATION, fault};
use super::bookkeeping::{OUTBOX, SYNC, quoted};
use super::catalog;
use super::dependents::{self, Dependent};
use super::sessions::Sessions;
use super::write::needs_tables;
use crate::database::{LegacyError, SqlReference, StreamHealth};
use crate::mapping::Mapping;
use crate::references::REFERENCES_MAX;
use crate::remembered::Remembered;
use tokio_postgres::Row;

/// What is counted, and whether it can be seen: `pg_stat_statements.track` (nothing where the server has not loaded it), and the
/// right to read what others do, without which their texts are hidden.
pub(super) const COUNTED: &str = "select /* banyan */ current_setting('pg_stat_statements.track', true), \
     pg_has_role(current_user, 'pg_read_all_stats', 'usage')";

/// Asks for the slot's state.
pub(super) async fn health(sessions: &Sessions, mapping: &Mapping) -> Result<StreamHealth, LegacyError> {
    sessions
        .with(|lease| async {
            let client = &lease.session.client;
            let row = client
                .query_opt(
                    "select /* banyan */ greatest(pg_wal_lsn_diff(pg_current_wal_lsn(), restart_lsn), 0)::bigint, \
                     safe_wal_size, wal_status, active from pg_replication_slots where slot_name = $1",
                    &[&mapping.database.slot],
                )
                .await
                .map_err(|error| fault("asking for the slot", &error))?;
            let unsigned = |value: Option<i64>| value.and_then(|value| u64::try_from(value.max(0)).ok());
            let mut health = match row {
                None => StreamHealth { status: "absent".to_owned(), ..StreamHealth::default() },
                Some(row) => StreamHealth {
                    retained_bytes: unsigned(row.get(0)).unwrap_or(0),
                    safe_bytes: unsigned(row.get(1)),
                    status: row.get::<_, Option<String>>(2).unwrap_or_else(|| "unknown".to_owned()),
                    active: row.get(3),
                    faults: Vec::new(),
                },
            };
            let needed = needs_tables(client, mapping).await?;
            health.faults = catalog::publication_faults(client, mapping, needed).await?;
            Ok((lease, health))
        })
        .await
}

/// Which statistics these are: others after a reset, after a start of the server, and on another server.
pub(super) async fn statistics(sessions: &Sessions) -> Result<Option<String>, LegacyError> {
    sessions
        .with(|lease| async {
            let client = &lease.session.client;
            let looking = |error| fault("asking since when statements are counted", &error);
            let sql = "select /* banyan */ n.nspname::text from pg_extension e join pg_namespace n on n.oid = e.extnamespace \
                 where e.extname = 'pg_stat_statements' and current_setting('pg_stat_statements.track', true) is not null";
            let Some(schema) = client.query_opt(sql, &[]).await.map_err(looking)? else {
                return Ok((lease, None));
            };
            let schema = quoted(&schema.get::<_, String>(0));
            // Before its version 1.9 it does not tell when it was reset.
            let sql = "select /* banyan */ to_regclass($1) is not null, \
                 pg_postmaster_start_time()::text";
            let view = format!("{schema}.pg_stat_statements_info");
            let row = client.query_one(sql, &[&view]).await.map_err(looking)?;
            let (tells, server): (bool, String) = (row.get(0), row.get(1));
            if !tells {
                return Ok((lease, Some(server)));
            }
            let sql = format!("select /* banyan */ coalesce(stats_reset::text, '') from {view}");
            let reset: String = client.query_one(&sql, &[]).await.map_err(looking)?.get(0);
            Ok((lease, Some(format!("{server}/{reset}"))))
        })
        .await
}

/// Statements of others that name a mapped table and one of its stock columns, or all its columns: a table may hold much else
/// that stays with the old shop. Or that name a view or function over these. Nothing where that cannot be known:
/// `pg_stat_statements` is not installed, counts nothing, hides others' texts from our role or has lost some, or there are more
/// statements than anybody would look through.
pub(super) async fn references(
    sessions: &Sessions,
    mapping: &Mapping,
    kept: &Remembered<Vec<Dependent>>,
) -> Result<Option<Vec<SqlReference>>, LegacyError> {
    sessions
        .with(|lease| async {
            let client = &lease.session.client;
            let looking = |error: tokio_postgres::Error| fault("asking for statements", &error);
            let schema = client
                .query_opt(
                    "select n.nspname::text from pg_extension e join pg_namespace n on n.oid = e.extnamespace \
                     where e.extname = 'pg_stat_statements'",
                    &[],
                )
                .await
                .map_err(looking)?;
            let Some(schema) = schema else { return Ok((lease, None)) };
            let counted = client.query_one(COUNTED, &[]).await.map_err(looking)?;
            let track: Option<String> = counted.get(0);
            let may_see: bool = counted.get(1);
            if !may_see || track.is_none_or(|track| track == "none") {
                return Ok((lease, None));
            }
            let through = match kept.fresh() {
                Some(through) => through,
                None => kept.keep(dependents::dependents(client, mapping).await?),
            };
            let Some(through) = dependents::names_pattern(&through) else {
                return Ok((lease, None));
            };
            let (tables, columns) = (dependents::tables_pattern(mapping), dependents::columns_pattern(mapping));
            let ours = format!("(/\\* banyan \\*/|{SYNC}|{OUTBOX}|banyan_rows)");
            // Names may be written in any case. A text that the server has lost may be anything; a statement within a function is
            // counted apart from the same one outside.
            let sql = format!(
                "select coalesce(r.rolname::text, '?'), s.query, sum(s.calls)::bigint, sum(s.rows)::bigint \
                 from {}.pg_stat_statements s left join pg_roles r on r.oid = s.userid \
                 where s.dbid = (select oid from pg_database where datname = current_database()) \
                 and (s.query is null or (((s.query ~* $1 and s.query ~* $3) or s.query ~* $4) and s.query !~ $2)) \
                 group by 1, 2 order by s.query nulls first limit {}",
                quoted(&schema.get::<_, String>(0)),
                REFERENCES_MAX + 1
            );
            let rows = match client.query(&sql, &[&tables, &ours, &columns, &through]).await {
                Ok(rows) => rows,
                // Installed, and not loaded by the server: there is nothing to be had.
                Err(error) if error.code().is_some_and(|code| code.code() == "55000") => return Ok((lease, None)),
                Err(error) => return Err(looking(error)),
            };
            let count = |value: i64| u64::try_from(value).unwrap_or(0);
            let read = |row: &Row| {
                Some(SqlReference {
                    caller: row.get(0),
                    statement: row.get::<_, Option<String>>(1)?,
                    calls: count(row.get(2)),
                    rows: count(row.get(3)),
                })
            };
            let found: Option<Vec<SqlReference>> = rows.iter().map(read).collect();
            Ok((lease, found.filter(|found| found.len() <= REFERENCES_MAX)))
        })
        .await
}

/// Gives the slot up. If somebody reads it, and it is us, that is ended.
pub(super) async fn drop_stream(sessions: &Sessions, mapping: &Mapping) -> Result<(), LegacyError> {
    let slot = &mapping.database.slot;
    sessions
        .with(|lease| async {
            let client = &lease.session.client;
            let dropping = |error: tokio_postgres::Error| fault(&format!("dropping the slot {slot}"), &error);
            client
                .execute(
                    "select pg_terminate_backend(s.active_pid) from pg_replication_slots s \
                     join pg_stat_activity a on a.pid = s.active_pid where s.slot_name = $1 and a.application_name = $2",
                    &[slot, &APPLICATION],
                )
                .await
                .map_err(dropping)?;
            let theirs = "select coalesce(plugin, '?') || ' in ' || coalesce(database, '?') from pg_replication_slots \
                 where slot_name = $1 and (plugin, database) is distinct from ('pgoutput', current_database()::name)";
            if let Some(row) = client.query_opt(theirs, &[slot]).await.map_err(dropping)? {
                let what: String = row.get(0);
                return Err(LegacyError::Refused(format!("the slot {slot} is not ours: {what}")));
            }
            // A process that was told to end needs a moment; the slot is free when it has gone.
            let sql = "select pg_drop_replication_slot(slot_name) from pg_replication_slots where slot_name = $1 and not active";
            for _ in 0..100 {
                client.execute(sql, &[slot]).await.map_err(dropping)?;
                let left = client.query_opt("select 1 from pg_replication_slots where slot_name = $1", &[slot]).await;
                if left.map_err(dropping)?.is_none() {
                    return Ok((lease, ()));
                }
                // The server tells nobody when a process has let a slot go.
                tokio::time::sleep(std::time::Duration::from_millis(100)).await;
            }
            Err(LegacyError::Broken(format!("the slot {slot} is still read by somebody")))
        })
        .await
}
