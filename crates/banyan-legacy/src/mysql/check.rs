//! The preflight: what of the server, the user's rights and the settings is as it must be. Changes nothing.

use super::book::{self, DOOR, OUTBOX, STREAM, SYNC};
use super::check_tables;
use super::dependents;
use super::grants;
use super::health;
use super::layout;
use super::position;
use super::server::{Address, STATEMENT_MAX, Session, within};
use crate::database::{Finding, LegacyError};
use crate::extent::Extent;
use crate::mapping::Mapping;
use crate::scope::{Course, Scope, scope, without_bookkeeping};
use banyan_domain::legacy::Phase;
use mysql_async::prelude::Queryable;
use std::collections::{BTreeMap, BTreeSet};
use std::time::{SystemTime, UNIX_EPOCH};

/// Shorter than this, and an outage over a night costs a new snapshot.
const KEEP_SECONDS_MIN: u64 = 24 * 3_600;
/// Clocks that differ more than this make the lag wrong that is shown.
const CLOCKS_MILLIS_MAX: u64 = 2_000;

/// A statement that is longer than the server's statistics keep may name anything behind the cut.
const DIGEST_BYTES_MIN: u64 = 4_096;

/// Who runs the server: what to do for a finding depends on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Host {
    Own,
    Rds,
    Aurora,
    CloudSql,
}

/// The server's settings, by name in lower case.
struct Settings(BTreeMap<String, String>);

/// Looks at everything that is needed, also for a move to `to`; not at rows if that would only keep the old shop waiting.
pub(super) async fn check(
    address: &Address,
    mapping: &Mapping,
    to: Option<Phase>,
    in_haste: bool,
) -> Vec<Finding> {
    let mut session = match address.connect().await {
        Ok(session) => session,
        Err(error) => {
            let fix = "check the address, the password, and what stands between (firewall, bind_address, the user's host)";
            return vec![Finding::stop("connection", error.to_string(), fix)];
        }
    };
    let mut findings = vec![protection(address), version(&session)];
    let settings = match settings(&mut session).await {
        Ok(settings) => settings,
        Err(error) => {
            findings.push(unseen("settings", &error));
            return findings;
        }
    };
    let host = settings.host();
    log(&session, &settings, mapping, host, &mut findings);
    filters(&mut session, &settings, address, mapping, &mut findings).await;
    retention(&mut session, &settings, host, &mut findings).await;
    durability(&session, &settings, &mut findings);
    rights(&mut session, &mut findings).await;
    clock(&mut session, &mut findings).await;
    findings.push(statements(&mut session, &settings, host).await);
    let has_tables = bookkeeping(&mut session, address, mapping, to, &mut findings).await;
    let phase = phase(&mut session, address, mapping).await;
    let looked = scope(mapping, phase, to);
    findings.push(looked.finding(mapping));
    let course = Course::of(phase, to).hurried(in_haste);
    if has_tables {
        let known = grants::known(&mut session, address.database(), mapping).await;
        let finding = known.map_or_else(
            |error| unseen("rights of the old shop on our tables", &error),
            |known| known.finding(address.database()),
        );
        findings.push(course.weigh(finding));
    }
    if looked == Scope::Tables
        && let Ok(layouts) = layout::read_there(&mut session, mapping, address.database()).await
    {
        findings.push(dependents::check(&mut session, &layouts).await);
    }
    let mut extent = Extent::default();
    for index in (0..mapping.tables.len()).filter(|_| looked == Scope::Tables) {
        let table = check_tables::check(&mut session, address, (mapping, index), course, &mut findings).await;
        extent.add(table);
    }
    findings.extend(extent.findings().into_iter().map(|finding| course.weigh(finding)));
    findings
}

/// The phase that the bookkeeping row says; a row that cannot be read is a finding of its own.
async fn phase(session: &mut Session, address: &Address, mapping: &Mapping) -> Phase {
    if !mapping.database.bookkeeping {
        return Phase::Legacy;
    }
    let book = book::read(session, address.database(), &mapping.capability, "").await;
    book.ok().flatten().map_or(Phase::Legacy, |book| book.phase)
}

/// What could not be looked at.
pub(super) fn unseen(subject: &str, error: &LegacyError) -> Finding {
    let fix = "give the user the right to look, or run the check when the old shop is quiet";
    Finding::stop(subject, format!("could not be looked at: {error}"), fix)
}

fn protection(address: &Address) -> Finding {
    match (address.is_local(), address.has_tls()) {
        (_, true) => Finding::ok("TLS", "on"),
        (true, false) => Finding::ok("TLS", "off, and the server is on this machine"),
        (false, false) => Finding::warn(
            "TLS",
            "off: password and data go over the network in the open",
            "add ?require_ssl=true to the address, and &ssl_ca=FILE for a certificate of your own, of RDS or of Cloud SQL",
        ),
    }
}

fn version(session: &Session) -> Finding {
    let flavor = session.flavor;
    let least = if flavor.mariadb { (10, 3, 0) } else { (5, 7, 0) };
    if flavor.version < least {
        let fix = "MySQL 5.7 or MariaDB 10.3 is the oldest that can be followed";
        return Finding::stop("version", flavor.to_string(), fix);
    }
    Finding::ok("version", flavor.to_string())
}

async fn settings(session: &mut Session) -> Result<Settings, LegacyError> {
    let work = session.conn.query("show global variables");
    let rows: Vec<(String, String)> = within("reading the settings", STATEMENT_MAX, work).await?;
    Ok(Settings(rows.into_iter().map(|(name, value)| (name.to_lowercase(), value)).collect()))
}

impl Settings {
    fn get(&self, name: &str) -> &str {
        self.0.get(name).map_or("", String::as_str)
    }

    fn is(&self, name: &str, wanted: &str) -> bool {
        self.get(name).eq_ignore_ascii_case(wanted)
    }

    fn host(&self) -> Host {
        if self.0.contains_key("aurora_version") {
            Host::Aurora
        } else if self.get("basedir").contains("/rdsdbbin") {
            Host::Rds
        } else if self.0.keys().any(|name| name.starts_with("cloudsql_")) {
            Host::CloudSql
        } else {
            Host::Own
        }
    }
}

impl Host {
    /// Where a setting is changed.
    fn place(self) -> &'static str {
        match self {
            Self::Own => "in my.cnf, [mysqld]",
            Self::Rds => "in the instance's parameter group",
            Self::Aurora => "in the cluster's parameter group",
            Self::CloudSql => "as a database flag",
        }
    }
}

/// That there is a binary log, and that it says enough.
fn log(session: &Session, settings: &Settings, mapping: &Mapping, host: Host, findings: &mut Vec<Finding>) {
    let place = host.place();
    let wanted = |name: &'static str, value: &str, why: &str| {
        if settings.is(name, value) {
            return Finding::ok(name, value);
        }
        Finding::stop(
            name,
            format!("{} ({why})", settings.get(name)),
            format!("set {name} = {value} {place}"),
        )
    };
    if settings.is("log_bin", "ON") {
        findings.push(Finding::ok("log_bin", "ON"));
    } else {
        let fix = match host {
            Host::Own => "set log_bin and server_id in my.cnf, [mysqld], and restart the server",
            Host::Rds => "turn automated backups on (retention above 0 days)",
            Host::Aurora => {
                "set binlog_format = ROW in the cluster's parameter group, and restart the writer"
            }
            Host::CloudSql => "turn point-in-time recovery on, which turns binary logging on",
        };
        findings.push(Finding::stop("log_bin", "OFF: there is no stream of changes", fix));
    }
    findings.push(wanted("binlog_format", "ROW", "statements do not say which rows they changed"));
    findings.push(wanted("binlog_row_image", "FULL", "rows are logged in part"));
    if !settings.is("log_bin_compress", "") {
        findings.push(wanted("log_bin_compress", "OFF", "compressed events cannot be read"));
    }
    if settings.is("binlog_row_metadata", "FULL") {
        findings.push(Finding::ok("binlog_row_metadata", "FULL"));
    } else {
        findings.push(Finding::warn(
            "binlog_row_metadata",
            "the log does not name columns: one that is renamed or moved while we do not read may be mistaken for another",
            format!("set binlog_row_metadata = FULL {place} (MySQL 8.0.1, MariaDB 10.5 and later)"),
        ));
    }
    if !session.flavor.mariadb {
        findings.push(wanted("binlog_order_commits", "ON", "snapshots could miss a transaction"));
        if settings.is("gtid_mode", "ON") {
            findings.push(Finding::ok("gtid_mode", "ON"));
        } else {
            let found = "OFF: after a reset of the log another history may be mistaken for ours";
            let fix = format!(
                "set gtid_mode = ON and enforce_gtid_consistency = ON {place}, or never reset the log"
            );
            findings.push(Finding::warn("gtid_mode", found, fix));
        }
    }
    let ours = mapping.database.server_id.to_string();
    findings.push(match settings.get("server_id") {
        "" | "0" => Finding::stop("server_id", "0", format!("set server_id {place} to a number of its own")),
        same if same == ours => Finding::stop(
            "server_id",
            format!("{same}, which is also that of the mapping"),
            "give the mapping a server_id that neither this server nor any of its replicas has",
        ),
        other => Finding::ok("server_id", format!("{other}; ours is {ours}")),
    });
}

/// That the log leaves out none of the databases that matter: neither a row of theirs nor a switch would come.
async fn filters(
    session: &mut Session,
    settings: &Settings,
    address: &Address,
    mapping: &Mapping,
    findings: &mut Vec<Finding>,
) {
    let subject = "binary log filters";
    // Where it cannot be asked, that is a finding of the rights.
    let Ok(filters) = position::filters(session).await else { return };
    let mapped = mapping.tables.iter().filter_map(|table| table.name.schema.as_deref());
    let needed: BTreeSet<&str> = mapped.chain([address.database()]).collect();
    let is_case_sensitive = matches!(settings.get("lower_case_table_names"), "" | "0");
    let left_out: Vec<&str> =
        needed.into_iter().filter(|name| filters.leave_out(name, is_case_sensitive)).collect();
    findings.push(if left_out.is_empty() {
        Finding::ok(subject, "leave out no database of ours")
    } else {
        let found = format!("changes in {} are not logged ({filters})", left_out.join(", "));
        let fix = "take binlog-do-db and binlog-ignore-db out of my.cnf, [mysqld], or correct them, and restart the server: \
                   a replica can leave databases out by itself (replicate-ignore-db)";
        Finding::stop(subject, found, fix)
    });
}

/// How long the log is kept: longer than we may be away.
async fn retention(session: &mut Session, settings: &Settings, host: Host, findings: &mut Vec<Finding>) {
    let subject = "binary log retention";
    if matches!(host, Host::Rds | Host::Aurora) {
        let sql = "select value from mysql.rds_configuration where name = 'binlog retention hours'";
        let hours: Option<Option<u64>> =
            match within(subject, STATEMENT_MAX, session.conn.query_first(sql)).await {
                Ok(hours) => hours,
                Err(error) => return findings.push(unseen(subject, &error)),
            };
        findings.push(match hours.flatten() {
            Some(hours) if hours * 3_600 >= KEEP_SECONDS_MIN => {
                Finding::ok(subject, format!("{hours} hours"))
            }
            found => Finding::stop(
                subject,
                found.map_or("not set: files are deleted at once".to_owned(), |hours| {
                    format!("{hours} hours")
                }),
                "call mysql.rds_set_configuration('binlog retention hours', 72)",
            ),
        });
        return;
    }
    let seconds = settings.get("binlog_expire_logs_seconds").parse().unwrap_or(0);
    let days = settings.get("expire_logs_days").parse().unwrap_or(0.0);
    let kept = if seconds > 0 { seconds } else { (days * 86_400.0) as u64 };
    findings.push(match kept {
        0 => Finding::ok(subject, "files are kept until somebody deletes them: watch the disk"),
        kept if kept >= KEEP_SECONDS_MIN => Finding::ok(subject, format!("{} hours", kept / 3_600)),
        kept => Finding::warn(
            subject,
            format!("{kept} s: if we are away for longer, a new snapshot has to be taken"),
            format!(
                "set binlog_expire_logs_seconds = 259200 {} (before MySQL 8, MariaDB 10.6: expire_logs_days)",
                host.place()
            ),
        ),
    });
}

fn durability(session: &Session, settings: &Settings, findings: &mut Vec<Finding>) {
    for (name, least) in [("sync_binlog", "1"), ("innodb_flush_log_at_trx_commit", "1")] {
        findings.push(if settings.is(name, least) {
            Finding::ok(name, least)
        } else {
            Finding::warn(
                name,
                format!(
                    "{}: after a crash of the machine the log may end before what we have read",
                    settings.get(name)
                ),
                format!("set {name} = {least}, or be ready for a new snapshot after a crash"),
            )
        });
    }
    let is_read_only =
        ["read_only", "super_read_only"].iter().any(|name| settings.is(name, "ON") || settings.is(name, "1"));
    if is_read_only {
        findings.push(Finding::stop(
            "read_only",
            format!("ON: this {} is a replica", session.flavor),
            "give the address of the server that the old shop writes to",
        ));
    }
}

/// The rights, tried where that changes nothing and read where it would.
async fn rights(session: &mut Session, findings: &mut Vec<Finding>) {
    let subject = "right to see the binary log's state";
    let fix = "grant replication client on *.* (MariaDB from 10.5: binlog monitor) to the user";
    let seen = match position::files(session).await {
        Ok(_) => position::end(session).await.map(|_| ()),
        Err(error) => Err(error),
    };
    findings.push(match seen {
        Ok(()) => Finding::ok(subject, "yes"),
        Err(error) => Finding::stop(subject, error.to_string(), fix),
    });
    let subject = "right to read the binary log";
    let work = session.conn.query("show grants for current_user()");
    let grants: Vec<String> = match within(subject, STATEMENT_MAX, work).await {
        Ok(grants) => grants,
        Err(error) => return findings.push(unseen(subject, &error)),
    };
    let everywhere = |grant: &String| {
        let grant = grant.to_uppercase();
        let names = ["ALL PRIVILEGES", "REPLICATION SLAVE", "REPLICATION REPLICA"];
        grant.contains(" ON *.* ") && names.iter().any(|name| grant.contains(name))
    };
    // A role's grants are listed under the role: its name is all that is here.
    let by_role = grants.iter().any(|grant| !grant.to_uppercase().contains(" ON "));
    findings.push(if grants.iter().any(everywhere) {
        Finding::ok(subject, "yes")
    } else if by_role {
        let fix =
            "make sure that the role has replication slave on *.*, and that it is the user's default role";
        Finding::warn(subject, "perhaps by a role", fix)
    } else {
        Finding::stop(subject, "no", "grant replication slave on *.* to the user")
    });
}

async fn clock(session: &mut Session, findings: &mut Vec<Finding>) {
    let subject = "clock";
    let sql = "select cast(unix_timestamp(now(6)) * 1000 as unsigned)";
    let theirs: Option<u64> = match within(subject, STATEMENT_MAX, session.conn.query_first(sql)).await {
        Ok(theirs) => theirs,
        Err(error) => return findings.push(unseen(subject, &error)),
    };
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let ours = u64::try_from(since.as_millis()).unwrap_or(u64::MAX);
    let apart = theirs.unwrap_or_default().abs_diff(ours);
    findings.push(if apart <= CLOCKS_MILLIS_MAX {
        Finding::ok(subject, "agrees with ours")
    } else {
        let found = format!("{apart} ms apart from ours: the lag that is shown is wrong by that");
        Finding::warn(subject, found, "let both machines follow the same time servers")
    });
}

/// Whether it can be told who still touches the tables by SQL. If not, the way to `retired` is closed, and nothing else.
async fn statements(session: &mut Session, settings: &Settings, host: Host) -> Finding {
    let subject = "statistics of statements";
    let (place, untold) = (host.place(), "who still touches the tables by SQL cannot be told");
    if !settings.is("performance_schema", "ON") {
        let fix = format!("set performance_schema = ON {place}, and restart the server");
        return Finding::warn(subject, format!("performance_schema is OFF: {untold}"), fix);
    }
    match health::counts_statements(session).await {
        Err(error) => {
            let fix = "grant select on performance_schema.* to the user";
            return Finding::warn(subject, format!("could not be looked at ({error}): {untold}"), fix);
        }
        Ok(false) => {
            let fix = "update performance_schema.setup_consumers set enabled = 'YES' where name in ('global_instrumentation', \
                       'statements_digest'); update performance_schema.setup_instruments set enabled = 'YES', timed = 'YES' \
                       where name like 'statement/sql/%'";
            return Finding::warn(subject, format!("switched off: {untold}"), fix);
        }
        Ok(true) => {}
    }
    if let Ok(count @ 1..) = health::unnamed_statements(session).await {
        let found = format!(
            "no room for more: {count} times a statement came that is not told; while there are more, {untold}"
        );
        let fix = format!(
            "set performance_schema_digests_size to more {place}, and restart the server; or \
             truncate performance_schema.events_statements_summary_by_digest"
        );
        return Finding::warn(subject, found, fix);
    }
    let lengths = ["performance_schema_max_digest_length", "max_digest_length"];
    let short = lengths.iter().filter_map(|name| {
        let bytes = settings.get(name).parse::<u64>().ok()?;
        (bytes < DIGEST_BYTES_MIN).then(|| format!("{name} is {bytes}"))
    });
    let short: Vec<String> = short.collect();
    if short.is_empty() {
        return Finding::ok(subject, "kept");
    }
    let found =
        format!("{}: every longer statement counts as one that may touch the tables", short.join(", "));
    let fix = format!("set {} = {DIGEST_BYTES_MIN} {place}, and restart the server", lengths.join(" and "));
    Finding::warn(subject, found, fix)
}

/// Our own tables. Gives whether they are all there.
async fn bookkeeping(
    session: &mut Session,
    address: &Address,
    mapping: &Mapping,
    to: Option<Phase>,
    findings: &mut Vec<Finding>,
) -> bool {
    if !mapping.database.bookkeeping {
        findings.push(without_bookkeeping("bookkeeping", to));
        return false;
    }
    let database = address.database();
    let mut has_all = true;
    for table in [SYNC, DOOR, OUTBOX, STREAM] {
        let subject = format!("{database}.{table}");
        let sql = "select engine from information_schema.tables where table_schema = ? and table_name = ?";
        let work = session.conn.exec_first(sql, (database, table));
        let engine: Option<Option<String>> = match within(&subject, STATEMENT_MAX, work).await {
            Ok(engine) => engine,
            Err(error) => {
                findings.push(unseen(&subject, &error));
                has_all = false;
                continue;
            }
        };
        has_all &= engine.is_some();
        findings.push(match engine.map(Option::unwrap_or_default) {
            Some(engine) if engine.eq_ignore_ascii_case("innodb") => Finding::ok(subject, "there"),
            Some(engine) => {
                Finding::stop(subject, format!("is of the engine {engine}"), "alter table … engine = InnoDB")
            }
            None => Finding::stop(
                subject,
                "not there yet",
                "run `banyan legacy check --create`, which makes it (the user needs CREATE on the database)",
            ),
        });
    }
    if let Ok(None) = book::read(session, database, &mapping.capability, "").await {
        let found = format!("no row for {}", mapping.capability);
        findings.push(Finding::stop(SYNC, found, "run `banyan legacy check --create`, which makes it"));
    }
    has_all
}
