//! The preflight: what of the server, the role and the settings is as it must be. Changes nothing.

use super::address::{Address, fault};
use super::bookkeeping::{OUTBOX, SYNC, ours};
use super::catalog;
use super::check_rows;
use super::check_tables;
use super::dependents;
use super::grants;
use super::health::COUNTED;
use super::sessions::Sessions;
use super::write::read_book;
use crate::database::{Finding, LegacyError};
use crate::mapping::Mapping;
use crate::scope::{Course, Scope, scope, without_bookkeeping};
use banyan_domain::legacy::Phase;
use pgwire_replication::config::SslMode;
use tokio_postgres::types::FromSqlOwned;
use tokio_postgres::{Client, Row};

/// Versions that this is made for and tested against the protocol of.
const VERSIONS: std::ops::RangeInclusive<i32> = 14..=18;
/// Less than this, and an outage of an hour may cost a new snapshot.
const KEEP_BYTES_MIN: i64 = 1 << 30;

/// Who runs the server: what to do for a finding depends on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Host {
    Own,
    Rds,
    Aurora,
    CloudSql,
}

/// What is looked at, and what for.
struct Look<'a> {
    mapping: &'a Mapping,
    user: &'a str,
    to: Option<Phase>,
    tables: bool,
    course: Course,
}

/// Looks at everything that is needed, also for a move to `to`; not at rows if that would only keep the old shop waiting.
pub(super) async fn check(
    sessions: &Sessions,
    mapping: &Mapping,
    to: Option<Phase>,
    in_haste: bool,
) -> Vec<Finding> {
    let looked = sessions
        .with(|lease| async {
            let mut findings = Vec::new();
            let client = &lease.session.client;
            findings.push(protection(client, sessions.address()).await);
            // A bookkeeping row that cannot be read is a finding below.
            let book = read_book(client, mapping, "").await.ok().flatten();
            let phase = book.map_or(Phase::Legacy, |book| book.phase);
            let looked = scope(mapping, phase, to);
            findings.push(looked.finding(mapping));
            let tables = looked == Scope::Tables;
            let course = Course::of(phase, to).hurried(in_haste);
            let look = Look { mapping, user: sessions.address().user(), to, tables, course };
            server(client, &look, &mut findings).await;
            let must_write = phase == Phase::Lead || to == Some(Phase::Lead);
            if tables {
                findings.push(dependents::check(client, mapping).await);
            }
            let mut readable = Vec::new();
            for table in (0..mapping.tables.len()).filter(|_| tables) {
                if check_tables::check(client, mapping, table, must_write, &mut findings).await {
                    readable.push(table);
                }
            }
            Ok((lease, (findings, readable, course)))
        })
        .await;
    match looked {
        Ok((mut findings, readable, course)) => {
            if course.looks_at_rows() {
                check_rows::check(sessions, mapping, &readable, course, &mut findings).await;
            }
            findings
        }
        Err(error) => {
            let fix = "check the address, the password, and what stands between (firewall, pg_hba.conf); then try again";
            vec![Finding::stop("connection", error.to_string(), fix)]
        }
    }
}

/// Asks for one row; what cannot be had becomes a finding.
pub(super) async fn ask(
    client: &Client,
    subject: &str,
    sql: &str,
    values: &[&(dyn tokio_postgres::types::ToSql + Sync)],
) -> Result<Row, Finding> {
    client.query_one(sql, values).await.map_err(|error| unseen(subject, &fault("looking", &error)))
}

/// What could not be looked at.
pub(super) fn unseen(subject: &str, error: &LegacyError) -> Finding {
    Finding::stop(
        subject,
        format!("could not be looked at: {error}"),
        "give the role the right to look, or run the check when the old shop is quiet",
    )
}

async fn value<T: FromSqlOwned>(client: &Client, subject: &str, sql: &str) -> Result<T, Finding> {
    let row = ask(client, subject, sql, &[]).await?;
    row.try_get(0).map_err(|error| unseen(subject, &fault("looking", &error)))
}

async fn protection(client: &Client, address: &Address) -> Finding {
    let subject = "TLS";
    let on = value::<bool>(
        client,
        subject,
        "select coalesce((select ssl from pg_stat_ssl where pid = pg_backend_pid()), false)",
    );
    let on = match on.await {
        Ok(on) => on,
        Err(finding) => return finding,
    };
    let verified =
        "add sslmode=verify-full (and sslrootcert=… for a certificate of your own or of RDS) to the address";
    match (on, address.tls_mode()) {
        (true, SslMode::VerifyFull) => Finding::ok(subject, "on, and the server's name is checked"),
        (true, _) => Finding::warn(subject, "on, but anybody could pose as the server", verified),
        (false, _) if address.is_local() => {
            Finding::ok(subject, "off, and the connection does not leave this machine")
        }
        (false, _) => Finding::warn(subject, "off: password and rows can be read on the way", verified),
    }
}

async fn server(client: &Client, look: &Look<'_>, findings: &mut Vec<Finding>) {
    let Look { mapping, user, tables, .. } = *look;
    let host = host(client).await;
    findings.push(version(client).await.unwrap_or_else(|unseen| unseen));
    findings.push(primary(client).await.unwrap_or_else(|unseen| unseen));
    findings.push(encoding(client).await.unwrap_or_else(|unseen| unseen));
    findings.push(wal_level(client, host).await.unwrap_or_else(|unseen| unseen));
    findings.push(slots(client, mapping, host).await.unwrap_or_else(|unseen| unseen));
    findings.push(senders(client, host).await.unwrap_or_else(|unseen| unseen));
    findings.push(role(client, user, host).await.unwrap_or_else(|unseen| unseen));
    findings.push(keep_size(client, mapping, host).await.unwrap_or_else(|unseen| unseen));
    findings.push(idle_transactions(client).await.unwrap_or_else(|unseen| unseen));
    findings.push(long_transactions(client).await.unwrap_or_else(|unseen| unseen));
    findings.push(slot(client, mapping).await.unwrap_or_else(|unseen| unseen));
    findings.push(publication(client, mapping, user, tables).await);
    findings.extend(bookkeeping(client, look).await.unwrap_or_else(|unseen| vec![unseen]));
    findings.push(origin(client).await.unwrap_or_else(|unseen| unseen));
    findings.push(statements(client, user, host).await.unwrap_or_else(|unseen| unseen));
}

async fn host(client: &Client) -> Host {
    let sql = "select current_setting('rds.logical_replication', true) is not null, \
         exists (select 1 from pg_proc where proname = 'aurora_version'), \
         current_setting('cloudsql.logical_decoding', true) is not null";
    let Ok(row) = client.query_one(sql, &[]).await else { return Host::Own };
    match (row.get(0), row.get(1), row.get(2)) {
        (_, true, _) => Host::Aurora,
        (true, ..) => Host::Rds,
        (_, _, true) => Host::CloudSql,
        _ => Host::Own,
    }
}

async fn version(client: &Client) -> Result<Finding, Finding> {
    let subject = "server version";
    let number: String = value(client, subject, "select current_setting('server_version_num')").await?;
    let major = number.parse::<i32>().unwrap_or(0) / 10_000;
    Ok(if VERSIONS.contains(&major) {
        Finding::ok(subject, format!("PostgreSQL {major}"))
    } else if major < *VERSIONS.start() {
        let fix =
            "upgrade to 14 or later: older ones are out of support, and cannot tell the stream what it needs";
        Finding::stop(subject, format!("PostgreSQL {major}"), fix)
    } else {
        Finding::warn(
            subject,
            format!("PostgreSQL {major}, newer than this was made for"),
            "try it on a copy first",
        )
    })
}

async fn primary(client: &Client) -> Result<Finding, Finding> {
    let subject = "primary";
    Ok(if value::<bool>(client, subject, "select pg_is_in_recovery()").await? {
        let fix = "let the address lead to the primary: on Aurora the cluster (writer) endpoint";
        Finding::stop(subject, "this is a standby or a reader", fix)
    } else {
        Finding::ok(subject, "this is the primary")
    })
}

async fn encoding(client: &Client) -> Result<Finding, Finding> {
    let subject = "encoding";
    let encoding: String = value(client, subject, "select current_setting('server_encoding')").await?;
    Ok(if encoding == "SQL_ASCII" {
        Finding::warn(
            subject,
            "SQL_ASCII: texts may be anything",
            "a SKU that is not UTF-8 stops the stream; look for such rows",
        )
    } else {
        Finding::ok(subject, encoding)
    })
}

async fn wal_level(client: &Client, host: Host) -> Result<Finding, Finding> {
    let subject = "wal_level";
    let level: String = value(client, subject, "select current_setting('wal_level')").await?;
    if level == "logical" {
        return Ok(Finding::ok(subject, level));
    }
    let fix = match host {
        Host::Own => "alter system set wal_level = logical; then restart the server",
        Host::Rds => {
            "set rds.logical_replication = 1 in the instance's parameter group, then reboot the instance"
        }
        Host::Aurora => {
            "set rds.logical_replication = 1 in the cluster's parameter group, then reboot the writer"
        }
        Host::CloudSql => "set the flag cloudsql.logical_decoding = on; the instance restarts",
    };
    Ok(Finding::stop(subject, level, fix))
}

async fn slots(client: &Client, mapping: &Mapping, host: Host) -> Result<Finding, Finding> {
    let subject = "max_replication_slots";
    let sql = "select current_setting('max_replication_slots')::bigint, \
         (select count(*) from pg_replication_slots where slot_name <> $1)";
    let row = ask(client, subject, sql, &[&mapping.database.slot]).await?;
    let (most, used): (i64, i64) = (row.get(0), row.get(1));
    Ok(room(subject, most, used, host))
}

async fn senders(client: &Client, host: Host) -> Result<Finding, Finding> {
    let subject = "max_wal_senders";
    let sql = "select current_setting('max_wal_senders')::bigint, (select count(*) from pg_stat_replication \
         where application_name <> 'banyan-legacy')";
    let row = ask(client, subject, sql, &[]).await?;
    Ok(room(subject, row.get(0), row.get(1), host))
}

fn room(subject: &str, most: i64, used: i64, host: Host) -> Finding {
    let found = format!("{used} of {most} used by others");
    if used < most {
        return Finding::ok(subject, found);
    }
    let place = match host {
        Host::Own => "in postgresql.conf, and restart",
        Host::Rds | Host::Aurora => "in the parameter group, and reboot",
        Host::CloudSql => "as a flag; the instance restarts",
    };
    Finding::stop(subject, found, format!("raise {subject} to {} or more {place}", used + 2))
}

async fn role(client: &Client, user: &str, host: Host) -> Result<Finding, Finding> {
    let subject = "right to replicate";
    let sql = "select r.rolsuper or r.rolreplication or exists (select 1 from pg_roles g where g.rolname = 'rds_replication' \
         and pg_has_role(current_user, g.oid, 'member')) from pg_roles r where r.rolname = current_user";
    if value::<bool>(client, subject, sql).await? {
        return Ok(Finding::ok(subject, format!("{user} has it")));
    }
    let fix = match host {
        Host::Own => {
            format!("alter role {user} replication; and a line for it in pg_hba.conf if that is narrow")
        }
        Host::Rds | Host::Aurora => format!("grant rds_replication to {user};"),
        Host::CloudSql => format!("alter user {user} with replication;"),
    };
    Ok(Finding::stop(subject, format!("{user} has it not"), fix))
}

async fn keep_size(client: &Client, mapping: &Mapping, host: Host) -> Result<Finding, Finding> {
    let subject = "max_slot_wal_keep_size";
    let sql = "select case when setting::bigint < 0 then -1 else setting::bigint * 1048576 end from pg_settings \
         where name = 'max_slot_wal_keep_size'";
    let bytes: i64 = value(client, subject, sql).await?;
    let place = if host == Host::Own {
        "alter system set max_slot_wal_keep_size = '…GB'; select pg_reload_conf();"
    } else {
        "set it in the parameter group or as a flag"
    };
    Ok(if bytes < 0 {
        // Only a Banyan that runs gives the slot up.
        let dropped = match mapping.watch.wal_bytes_drop {
            0 => String::new(),
            drop => format!("; the slot is given up at {drop} bytes only while Banyan runs"),
        };
        let fix =
            format!("without a limit a Banyan that is down for long fills the old shop's disk: {place}");
        Finding::warn(subject, format!("no limit{dropped}"), fix)
    } else if bytes < KEEP_BYTES_MIN {
        let fix = format!("a short outage then costs a new snapshot: {place} with more");
        Finding::warn(subject, format!("{bytes} bytes"), fix)
    } else {
        Finding::ok(subject, format!("{bytes} bytes"))
    })
}

async fn idle_transactions(client: &Client) -> Result<Finding, Finding> {
    let subject = "idle_in_transaction_session_timeout";
    // Ours is our own; what counts is what others get.
    let sql =
        "select coalesce(reset_val, '0') from pg_settings where name = 'idle_in_transaction_session_timeout'";
    let limit: String = value(client, subject, sql).await?;
    Ok(if limit == "0" {
        let fix = "a forgotten transaction holds up the new slot, the switch and the cleaning of the log: set it, say to '10min'";
        Finding::warn(subject, "no limit", fix)
    } else {
        Finding::ok(subject, format!("{limit} ms"))
    })
}

async fn long_transactions(client: &Client) -> Result<Finding, Finding> {
    let subject = "transactions under way";
    let sql = "select coalesce(extract(epoch from max(now() - xact_start)), 0)::bigint, \
         (select count(*) from pg_prepared_xacts) from pg_stat_activity where backend_type = 'client backend'";
    let row = ask(client, subject, sql, &[]).await?;
    let (oldest, prepared): (i64, i64) = (row.get(0), row.get(1));
    Ok(if oldest > 60 || prepared > 0 {
        let found = format!("the oldest is {oldest} s old, {prepared} are prepared");
        Finding::warn(
            subject,
            found,
            "a new slot begins only when all of them have ended: end the old ones first",
        )
    } else {
        Finding::ok(subject, format!("the oldest is {oldest} s old"))
    })
}

async fn slot(client: &Client, mapping: &Mapping) -> Result<Finding, Finding> {
    let name = &mapping.database.slot;
    let subject = format!("slot {name}");
    let sql = "select coalesce(plugin::text, '-'), coalesce(database::text, '-') = current_database(), \
         coalesce(wal_status, '-'), active from pg_replication_slots where slot_name = $1";
    let row =
        client.query_opt(sql, &[name]).await.map_err(|error| unseen(&subject, &fault("looking", &error)))?;
    let Some(row) = row else { return Ok(Finding::ok(subject, "free; it is made when the mirror begins")) };
    let (plugin, here, status, active): (String, bool, String, bool) =
        (row.get(0), row.get(1), row.get(2), row.get(3));
    Ok(if plugin != "pgoutput" || !here {
        Finding::stop(
            subject,
            format!("taken by somebody else (plugin {plugin})"),
            "choose another `slot` in the mapping",
        )
    } else if status == "lost" {
        Finding::warn(
            subject,
            "given up by the server: it kept too much",
            "nothing: Banyan takes a new snapshot",
        )
    } else if active {
        Finding::warn(subject, "read by somebody at this moment", "that should be Banyan and nobody else")
    } else {
        Finding::ok(subject, "there, and not read at this moment")
    })
}

async fn publication(client: &Client, mapping: &Mapping, user: &str, tables: bool) -> Finding {
    let subject = format!("publication {}", mapping.database.slot);
    match catalog::publication_faults(client, mapping, tables).await {
        Err(error) => unseen(&subject, &error),
        Ok(faults) if faults.is_empty() && tables => Finding::ok(subject, "has every mapped table"),
        Ok(faults) if faults.is_empty() => Finding::ok(subject, "has our own tables"),
        Ok(faults) => {
            let fix = format!(
                "`banyan legacy check --create`; for that {user} must own the tables and may create in the database"
            );
            Finding::stop(subject, faults.join("; "), fix)
        }
    }
}

async fn bookkeeping(client: &Client, look: &Look<'_>) -> Result<Vec<Finding>, Finding> {
    let subject = "bookkeeping tables";
    let Look { mapping, user, to, course, .. } = *look;
    if !mapping.database.bookkeeping {
        return Ok(vec![without_bookkeeping(subject, to)]);
    }
    let sql = "select to_regclass($1) is not null and to_regclass($2) is not null, \
         coalesce((select relreplident = 'f' from pg_class where oid = to_regclass($1)), false)";
    let row = ask(client, subject, sql, &[&ours(mapping, SYNC), &ours(mapping, OUTBOX)]).await?;
    let create = "`banyan legacy check --create` makes it so";
    Ok(match (row.get(0), row.get(1)) {
        (false, _) => {
            vec![Finding::stop(subject, format!("{SYNC} and {OUTBOX} are not there"), create)]
        }
        (true, false) => {
            vec![Finding::stop(subject, format!("{SYNC} has not REPLICA IDENTITY FULL"), create)]
        }
        (true, true) => {
            let mut findings = vec![Finding::ok(subject, "there")];
            findings.extend(grants::check(client, mapping, user, course).await);
            findings
        }
    })
}

async fn origin(client: &Client) -> Result<Finding, Finding> {
    let subject = "replication origin";
    let sql = "select coalesce(bool_and(has_function_privilege(p.oid, 'execute')), false) from pg_proc p \
         where p.proname in ('pg_replication_origin_oid', 'pg_replication_origin_create', 'pg_replication_origin_session_setup')";
    Ok(if value::<bool>(client, subject, sql).await? {
        Finding::ok(subject, "may be set")
    } else {
        let fix = "nothing, unless other subscribers must leave our writes out: then grant execute on pg_replication_origin_oid, \
             _create and _session_setup";
        Finding::ok(subject, format!("may not be set; the bookkeeping row marks our writes. To do: {fix}"))
    })
}

/// Whether it can be told who still touches the tables by SQL. If not, the way to `retired` is closed, and nothing else.
async fn statements(client: &Client, user: &str, host: Host) -> Result<Finding, Finding> {
    let subject = "pg_stat_statements";
    let sql = "select exists (select 1 from pg_extension where extname = 'pg_stat_statements')";
    let is_there = value::<bool>(client, subject, sql).await?;
    let counted = ask(client, subject, COUNTED, &[]).await?;
    let (track, may_see): (Option<String>, bool) = (counted.get(0), counted.get(1));
    let untold = |why: &str| format!("{why}: who still touches the tables by SQL cannot be told");
    let load = match host {
        Host::Own => "shared_preload_libraries = 'pg_stat_statements', restart, and ",
        Host::Rds | Host::Aurora | Host::CloudSql => "",
    };
    Ok(match track.as_deref() {
        _ if !is_there => {
            let fix =
                format!("{load}create extension pg_stat_statements; grant pg_read_all_stats to {user};");
            Finding::warn(subject, untold("not there"), fix)
        }
        None => {
            let fix = "shared_preload_libraries = 'pg_stat_statements', and restart the server";
            Finding::warn(subject, untold("not loaded by the server"), fix)
        }
        Some("none") => {
            let fix = "alter system set pg_stat_statements.track = 'all'; select pg_reload_conf();";
            Finding::warn(subject, untold("it counts nothing (track = none)"), fix)
        }
        Some(_) if !may_see => {
            let fix = format!("grant pg_read_all_stats to {user};");
            Finding::warn(subject, untold(&format!("others' statements are hidden from {user}")), fix)
        }
        Some("top") => Finding::ok(subject, "there; what functions do inside is not counted (track = top)"),
        Some(_) => Finding::ok(subject, "there"),
    })
}
