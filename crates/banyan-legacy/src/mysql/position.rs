//! Places in the binary log as one number, and whether a place still means what it meant.
//!
//! A position is `file number << 32 | offset`. Between two transactions it is the offset where one ends and the next
//! begins; a transaction itself has the offset behind its GTID event, which lies between the two. So positions grow with
//! commits, are known before a transaction has been read to its end, and are the same however often it is read. Who goes
//! on at a transaction's position reads that transaction once more, which is what a transaction in parts needs.

use super::server::{Flavor, STATEMENT_MAX, Session, within};
use crate::database::LegacyError;
use crate::stream::SourceId;
use mysql_async::Row;
use mysql_async::prelude::Queryable;

/// A place in the binary log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// The file's name.
    pub(super) file: String,
    /// The offset in it, in bytes.
    pub(super) offset: u64,
}

/// One file of the binary log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct LogFile {
    pub(super) name: String,
    pub(super) bytes: u64,
}

impl Place {
    /// The position's number.
    ///
    /// # Errors
    /// The file has no number, or is larger than 4 GiB: one transaction of that size was written.
    pub(super) fn position(&self) -> Result<u64, LegacyError> {
        let (_, number) = split(&self.file)?;
        let offset = u32::try_from(self.offset).map_err(|_| too_large(&self.file))?;
        Ok(u64::from(number) << 32 | u64::from(offset))
    }
}

pub(super) fn too_large(file: &str) -> LegacyError {
    LegacyError::SourceUnknown(format!(
        "the binary log {file} is larger than 4 GiB, since one transaction was; positions beyond that cannot be told"
    ))
}

/// The name of the log, which all files share, and the number of this file.
pub(super) fn split(file: &str) -> Result<(&str, u32), LegacyError> {
    let parts = file.rsplit_once('.').and_then(|(name, number)| Some((name, number.parse().ok()?)));
    parts.ok_or_else(|| {
        LegacyError::Refused(format!("the binary log's file {file:?} has no number at its end"))
    })
}

/// The file and offset of a position, in the log that still exists.
pub(super) fn place(position: u64, files: &[LogFile]) -> Result<Place, LegacyError> {
    let number = u32::try_from(position >> 32).unwrap_or(u32::MAX);
    let offset = position & u64::from(u32::MAX);
    let found = files.iter().find(|file| split(&file.name).is_ok_and(|(_, found)| found == number));
    let Some(file) = found else {
        let kept = match (files.first(), files.last()) {
            (Some(first), Some(last)) => format!("{} to {} are kept", first.name, last.name),
            _ => "none is kept".to_owned(),
        };
        return Err(LegacyError::SourceUnknown(format!(
            "file number {number} of the binary log is gone ({kept}): keep the binary log longer"
        )));
    };
    if offset > file.bytes {
        return Err(LegacyError::SourceUnknown(format!(
            "{} ends at {}, and was read up to {offset} before: the server lost what it had written (sync_binlog?), \
             or it is another history",
            file.name, file.bytes
        )));
    }
    Ok(Place { file: file.name.clone(), offset })
}

/// The files of the binary log, oldest first.
pub(super) async fn files(session: &mut Session) -> Result<Vec<LogFile>, LegacyError> {
    let doing = "listing the binary log's files";
    let rows: Vec<Row> = within(doing, STATEMENT_MAX, session.conn.query("show binary logs")).await?;
    let file = |row: Row| Some(LogFile { name: row.get_opt(0)?.ok()?, bytes: row.get_opt(1)?.ok()? });
    rows.into_iter()
        .map(|row| {
            file(row).ok_or_else(|| LegacyError::Refused(format!("{doing}: an answer that cannot be read")))
        })
        .collect()
}

/// Which databases' changes the server leaves out of its binary log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Filters {
    /// `binlog-do-db`: these only, if there are any.
    do_db: Vec<String>,
    /// `binlog-ignore-db`: not these, if there are none of the other kind.
    ignore_db: Vec<String>,
}

impl Filters {
    /// Whether changes in `database` are left out.
    pub(super) fn leave_out(&self, database: &str, is_case_sensitive: bool) -> bool {
        let has = |names: &[String]| {
            names.iter().any(|name| {
                name == database || (!is_case_sensitive && name.to_lowercase() == database.to_lowercase())
            })
        };
        if self.do_db.is_empty() { has(&self.ignore_db) } else { !has(&self.do_db) }
    }
}

impl std::fmt::Display for Filters {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let told = [("binlog-do-db", &self.do_db), ("binlog-ignore-db", &self.ignore_db)];
        let told = told.iter().filter(|(_, names)| !names.is_empty());
        let told: Vec<String> = told.map(|(name, names)| format!("{name} = {}", names.join(", "))).collect();
        f.write_str(&told.join("; "))
    }
}

/// What the server leaves out of its binary log.
pub(super) async fn filters(session: &mut Session) -> Result<Filters, LegacyError> {
    let doing = "asking what the binary log leaves out";
    let status = session.flavor.log_status();
    let row: Option<Row> = within(doing, STATEMENT_MAX, session.conn.query_first(status)).await?;
    let names = |at: usize| -> Vec<String> {
        let text = row.as_ref().and_then(|row| row.get_opt::<Option<String>, _>(at)?.ok()?);
        let text = text.unwrap_or_default();
        text.split(',').map(str::trim).filter(|name| !name.is_empty()).map(str::to_owned).collect()
    };
    Ok(Filters { do_db: names(2), ignore_db: names(3) })
}

/// Where the binary log ends now. Transactions before it may not be visible yet: they are written there first.
pub(super) async fn end(session: &mut Session) -> Result<Place, LegacyError> {
    let doing = "asking where the binary log ends";
    let status = session.flavor.log_status();
    let row: Option<Row> = within(doing, STATEMENT_MAX, session.conn.query_first(status)).await?;
    let place =
        row.and_then(|row| Some(Place { file: row.get_opt(0)?.ok()?, offset: row.get_opt(1)?.ok()? }));
    place.ok_or_else(|| LegacyError::Refused("the server writes no binary log (log_bin is off)".to_owned()))
}

/// Which server and which history this is, now.
pub(super) async fn source(session: &mut Session) -> Result<SourceId, LegacyError> {
    let log = end(session).await?.file;
    let (name, _) = split(&log)?;
    let doing = "asking which server this is";
    let sql = if session.flavor.mariadb {
        "select concat_ws('/', 'mariadb', @@server_uid, @@server_id, @@gtid_domain_id), @@gtid_binlog_pos"
    } else {
        "select concat('mysql/', @@server_uuid), if(@@global.gtid_mode = 'ON', @@global.gtid_executed, '')"
    };
    let row: Option<(String, String)> = within(doing, STATEMENT_MAX, session.conn.query_first(sql)).await?;
    let (system, gtid) =
        row.ok_or_else(|| LegacyError::Refused(format!("{doing}: the server gave no answer")))?;
    // Line breaks are how MySQL lays a long set of GTIDs out.
    let gtid = gtid.replace(['\n', ' '], "");
    Ok(SourceId { system, stream: format!("{name}@{}", shortened(&gtid)) })
}

/// Whether this is the server of `from`.
pub(super) async fn same_server(session: &mut Session, from: &SourceId) -> Result<(), LegacyError> {
    let now = source(session).await?.system;
    if now == from.system {
        return Ok(());
    }
    Err(LegacyError::SourceUnknown(format!("it was read from the server {}, and this is {now}", from.system)))
}

/// Whether a place still means what it meant: the same log, and a history that has what was there when the stream began.
pub(super) async fn same_history(
    session: &mut Session,
    from: &SourceId,
    at: &Place,
) -> Result<(), LegacyError> {
    let unknown = |why: String| Err(LegacyError::SourceUnknown(why));
    let (name, began) = from.stream.split_once('@').unwrap_or((&from.stream, ""));
    if split(&at.file)?.0 != name {
        return unknown(format!("the binary log was called {name}, and is now {}", at.file));
    }
    if session.flavor.mariadb {
        return verify_mariadb(session, began, at).await;
    }
    if began.is_empty() {
        return Ok(());
    }
    let sql = "select gtid_subset(?, @@global.gtid_executed)";
    let doing = "comparing GTIDs";
    let has: Option<Option<u8>> =
        within(doing, STATEMENT_MAX, session.conn.exec_first(sql, (began,))).await?;
    if has.flatten() == Some(1) {
        return Ok(());
    }
    unknown(format!("the server no longer knows {began}: its binary log was reset"))
}

/// The server itself looks into the file: an offset between two events is one of another history.
async fn verify_mariadb(session: &mut Session, began: &str, at: &Place) -> Result<(), LegacyError> {
    let sql = "select binlog_gtid_pos(?, ?)";
    let doing = "asking for the GTID of a place in the binary log";
    let gtid: Option<Option<String>> =
        within(doing, STATEMENT_MAX, session.conn.exec_first(sql, (&at.file, at.offset))).await?;
    let Some(gtid) = gtid.flatten() else {
        return Err(LegacyError::SourceUnknown(format!(
            "at {} of {} no event begins: it is another history",
            at.offset, at.file
        )));
    };
    if includes(&gtid, began) {
        return Ok(());
    }
    Err(LegacyError::SourceUnknown(format!(
        "at {} of {} the GTID is {gtid:?}, and the stream began at {began}: the binary log was reset",
        at.offset, at.file
    )))
}

/// Whether a MariaDB GTID position has come at least as far as another in each of its domains.
fn includes(position: &str, began: &str) -> bool {
    let of = |text: &str| -> Vec<(u32, u64)> {
        let gtid = |gtid: &str| {
            let mut parts = gtid.split('-');
            Some((parts.next()?.parse().ok()?, parts.nth(1)?.parse().ok()?))
        };
        text.split(',').filter_map(gtid).collect()
    };
    let reached = of(position);
    of(began).iter().all(|(domain, least)| reached.iter().any(|(found, seq)| found == domain && seq >= least))
}

/// A source's name has an end; sets of many servers that were once there are cut to the newest.
fn shortened(gtid: &str) -> &str {
    const BYTES_MAX: usize = 100;
    match gtid.len() {
        0..=BYTES_MAX => gtid,
        _ => gtid.rsplit(',').next().filter(|last| last.len() <= BYTES_MAX).unwrap_or_default(),
    }
}

/// Only used to say in errors and notes which dialect a place is of.
impl std::fmt::Display for Flavor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (major, minor, patch) = self.version;
        write!(f, "{} {major}.{minor}.{patch}", if self.mariadb { "MariaDB" } else { "MySQL" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log(names: &[(&str, u64)]) -> Vec<LogFile> {
        names.iter().map(|(name, bytes)| LogFile { name: (*name).into(), bytes: *bytes }).collect()
    }

    #[test]
    fn a_position_is_the_files_number_and_the_offset() {
        let files = log(&[("log.bin.000009", 100), ("log.bin.1000010", 4_000_000_000)]);
        for place_of in [("log.bin.000009", 100), ("log.bin.1000010", 4_000_000_000)] {
            let before = Place { file: place_of.0.into(), offset: place_of.1 };
            assert_eq!(place(before.position().expect("a position"), &files), Ok(before));
        }
        let at = |file: &str, offset| Place { file: file.into(), offset }.position();
        assert!(at("a.000001", 900).expect("a position") < at("a.000002", 4).expect("a position"));
        assert!(
            matches!(at("a.000001", 1 << 32), Err(LegacyError::SourceUnknown(why)) if why.contains("4 GiB"))
        );
        assert!(matches!(at("nonsense", 4), Err(LegacyError::Refused(_))));
    }

    #[test]
    fn a_list_of_what_is_logged_goes_before_one_of_what_is_not() {
        let filters = |do_db: &[&str], ignore_db: &[&str]| {
            let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
            Filters { do_db: names(do_db), ignore_db: names(ignore_db) }
        };
        assert!(!Filters::default().leave_out("shop", true));
        assert!(filters(&[], &["blog", "shop"]).leave_out("shop", true));
        assert!(!filters(&[], &["blog"]).leave_out("shop", true));
        assert!(filters(&["blog"], &[]).leave_out("shop", true));
        assert!(!filters(&["blog", "shop"], &["shop"]).leave_out("shop", true));
        assert!(filters(&["Shop"], &[]).leave_out("shop", true));
        assert!(!filters(&["Shop"], &[]).leave_out("shop", false));
    }

    #[test]
    fn what_is_gone_is_unknown() {
        let files = log(&[("b.000003", 100), ("b.000004", 50)]);
        for (position, why) in [(2 << 32 | 4, "000003 to b.000004 are kept"), (4 << 32 | 51, "ends at 50")] {
            let error = place(position, &files).expect_err("not there");
            assert!(matches!(&error, LegacyError::SourceUnknown(text) if text.contains(why)), "{error}");
        }
        assert!(place(4 << 32 | 50, &files).is_ok());
        assert!(matches!(place(4 << 32, &[]), Err(LegacyError::SourceUnknown(_))));
    }

    #[test]
    fn a_history_must_have_come_as_far() {
        assert!(includes("0-1-57", "0-1-57") && includes("0-2-58", "0-1-57") && includes("0-1-9", ""));
        assert!(!includes("0-1-56", "0-1-57") && !includes("", "0-1-1") && !includes("1-1-99", "0-1-1"));
        assert!(includes("0-1-9,7-3-100", "7-1-99") && !includes("0-1-9,7-3-98", "0-1-1,7-1-99"));
    }

    #[test]
    fn long_sets_are_cut_to_the_newest() {
        let one = "3e11fa47-71ca-11e1-9e33-c80aa9429562:1-5";
        assert_eq!(shortened(one), one);
        assert_eq!(shortened(&[one; 4].join(",")), one);
    }
}
