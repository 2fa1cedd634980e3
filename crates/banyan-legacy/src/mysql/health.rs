//! How the stream is doing on the old database's side, and who still touches the mapped tables.

use super::layout::Layout;
use super::position::{self, LogFile};
use super::server::{STATEMENT_MAX, Session, within};
use super::words::words;
use crate::database::{LegacyError, SqlReference, StreamHealth};
use mysql_async::Row;
use mysql_async::prelude::Queryable;

/// Most statements that are looked through.
const STATEMENTS_MAX: u32 = 10_000;

/// How much of the binary log is still ahead of a reader at `place`, and whether that much is still there.
pub(super) async fn health(session: &mut Session, place: Option<u64>) -> Result<StreamHealth, LegacyError> {
    let files = position::files(session).await?;
    let sql = "select count(*) from information_schema.processlist \
               where command like 'Binlog Dump%' and user = substring_index(user(), '@', 1)";
    let readers: Option<u64> =
        within("looking for our reader", STATEMENT_MAX, session.conn.query_first(sql)).await?;
    let (retained_bytes, status) = standing(place, &files);
    Ok(StreamHealth {
        retained_bytes,
        status: status.to_owned(),
        active: readers.unwrap_or_default() > 0,
        ..StreamHealth::default()
    })
}

/// Bytes between a place and the log's end, and the word for it. The server keeps files for a time, not for a reader: the
/// oldest file is the next to go.
fn standing(place: Option<u64>, files: &[LogFile]) -> (u64, &'static str) {
    let Some(place) = place else { return (0, "absent") };
    let Ok(at) = position::place(place, files) else { return (0, "lost") };
    let index = files.iter().position(|file| file.name == at.file).unwrap_or_default();
    let all: u64 = files[index..].iter().map(|file| file.bytes).sum();
    let status = if index == 0 && files.len() > 1 { "unreserved" } else { "reserved" };
    (all.saturating_sub(at.offset), status)
}

/// Statements of others that name a mapped table; nothing where the server keeps no statistics of statements.
pub(super) async fn references(
    session: &mut Session,
    layouts: &[Layout],
) -> Result<Option<Vec<SqlReference>>, LegacyError> {
    let doing = "looking for statements that touch the mapped tables";
    let is_on: Option<u8> =
        within(doing, STATEMENT_MAX, session.conn.query_first("select @@performance_schema")).await?;
    if is_on != Some(1) {
        return Ok(None);
    }
    // These statistics are not kept by user: the database that was in use says who it may have been.
    let sql = format!(
        "select coalesce(schema_name, ''), digest_text, count_star, sum_rows_affected + sum_rows_sent \
         from performance_schema.events_statements_summary_by_digest \
         where digest_text is not null order by count_star desc limit {STATEMENTS_MAX}"
    );
    let rows: Vec<Row> = within(doing, STATEMENT_MAX, session.conn.query(sql)).await?;
    let read = |row: Row| {
        Some(SqlReference {
            caller: row.get_opt(0)?.ok()?,
            statement: row.get_opt(1)?.ok()?,
            calls: row.get_opt(2)?.ok()?,
            rows: row.get_opt(3)?.ok()?,
        })
    };
    let touches = |reference: &SqlReference| {
        let words = words(&reference.statement);
        let is_named = |layout: &Layout| words.iter().any(|word| word.eq_ignore_ascii_case(&layout.name));
        // Every statement of ours names something of ours.
        let is_ours = words.iter().any(|word| word.starts_with("banyan_"));
        !is_ours && !is_chore(&words) && layouts.iter().any(is_named)
    };
    Ok(Some(rows.into_iter().filter_map(read).filter(touches).collect()))
}

/// Statements that look at the table itself or change its form, and not at what is in it.
fn is_chore(words: &[String]) -> bool {
    let first = words.first().map_or("", String::as_str);
    matches!(
        first,
        "show" | "create" | "alter" | "drop" | "analyze" | "optimize" | "explain" | "describe" | "grant"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_file_is_the_next_to_go() {
        let files = |sizes: &[(u32, u64)]| -> Vec<LogFile> {
            sizes.iter().map(|(n, bytes)| LogFile { name: format!("b.{n:06}"), bytes: *bytes }).collect()
        };
        let three = files(&[(3, 1_000), (4, 2_000), (5, 300)]);
        assert_eq!(standing(Some(4 << 32 | 500), &three), (1_800, "reserved"));
        assert_eq!(standing(Some(3 << 32 | 999), &three), (2_301, "unreserved"));
        assert_eq!(standing(Some(5 << 32 | 300), &three), (0, "reserved"));
        assert_eq!(standing(Some(2 << 32 | 4), &three), (0, "lost"));
        assert_eq!(standing(None, &three), (0, "absent"));
        assert_eq!(standing(Some(3 << 32 | 4), &files(&[(3, 10)])), (6, "reserved"), "it is written to");
    }
}
