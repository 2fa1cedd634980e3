//! How the stream is doing on the old database's side, and who still touches the mapped tables.

use super::dependents::Dependents;
use super::layout::Layout;
use super::position::{self, LogFile};
use super::server::{STATEMENT_MAX, Session, within};
use super::words::words;
use crate::database::{LegacyError, SqlReference, StreamHealth};
use mysql_async::prelude::Queryable;
use mysql_async::{Params, Row, Value};

/// Most statements that are looked through, of those that may name a mapped table.
const STATEMENTS_MAX: usize = 20_000;
/// What a text ends with that the server has cut: what it names further on is not known.
const CUT: &str = "...";
/// What a server keeps of a statement by itself, bytes.
const DIGEST_BYTES: usize = 1_024;
/// What the longest name takes of it: 64 characters of at most three bytes, and four.
const NAME_BYTES_MAX: usize = 196;

/// Whether statements are counted at all: nothing where the server keeps no statistics, or not of the statements that matter.
const COUNTED: &str = "select /* banyan */ (select count(*) from performance_schema.setup_consumers as banyan_consumers \
     where name in ('global_instrumentation', 'statements_digest') and enabled = 'YES') = 2 \
     and not exists (select 1 from performance_schema.setup_instruments where enabled <> 'YES' and name in \
     ('statement/sql/select', 'statement/sql/insert', 'statement/sql/update', 'statement/sql/delete', 'statement/sql/replace'))";

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

/// Whether the server counts the statements that it carries out.
pub(super) async fn counts_statements(session: &mut Session) -> Result<bool, LegacyError> {
    let doing = "asking whether statements are counted";
    let is_on: Option<u8> =
        within(doing, STATEMENT_MAX, session.conn.query_first("select @@performance_schema")).await?;
    if is_on != Some(1) {
        return Ok(false);
    }
    let counted: Option<u8> = within(doing, STATEMENT_MAX, session.conn.query_first(COUNTED)).await?;
    Ok(counted == Some(1))
}

/// How often a statement came that the statistics had no room for: when their table is full, all of them are one row without a text.
pub(super) async fn unnamed_statements(session: &mut Session) -> Result<u64, LegacyError> {
    let sql = "select cast(coalesce(sum(count_star), 0) as unsigned) \
               from performance_schema.events_statements_summary_by_digest as banyan_unnamed where digest is null";
    let work = session.conn.query_first(sql);
    let count: Option<u64> =
        within("asking for statements that there was no room for", STATEMENT_MAX, work).await?;
    Ok(count.unwrap_or_default())
}

/// Which statistics these are: their first statement is another after a start of the server, and after they were emptied.
pub(super) async fn statistics(session: &mut Session) -> Result<Option<String>, LegacyError> {
    let sql = "select concat(@@hostname, '/', @@port, '/', coalesce(min(first_seen), '')) \
               from performance_schema.events_statements_summary_by_digest as banyan_since";
    let work = session.conn.query_first(sql);
    within("asking since when statements are counted", STATEMENT_MAX, work).await
}

/// Statements of others that name a mapped table, or a view or routine over one, or may: a text that is cut names perhaps one behind the cut. Nothing where
/// that cannot be known: the server keeps no statistics of statements, or had no room for some since the last look.
/// `unnamed` is how often a statement came for which there was no room, as of the last look.
pub(super) async fn references(
    session: &mut Session,
    layouts: &[Layout],
    through: &Dependents,
    unnamed: &std::sync::Mutex<Option<u64>>,
) -> Result<Option<Vec<SqlReference>>, LegacyError> {
    let doing = "looking for statements that touch the mapped tables";
    if !counts_statements(session).await? {
        return Ok(None);
    }
    let now = unnamed_statements(session).await?;
    let before = unnamed.lock().unwrap_or_else(std::sync::PoisonError::into_inner).replace(now);
    if before.is_some_and(|before| before < now) {
        return Ok(None);
    }
    let room = digest_bytes(session).await?;
    // These statistics are not kept by user: the database that was in use says who it may have been.
    let names = vec!["instr(lower(digest_text), lower(?)) > 0"; layouts.len() + through.len()].join(" or ");
    let names = if names.is_empty() { "false" } else { names.as_str() };
    let sql = format!(
        "select coalesce(schema_name, ''), digest_text, count_star, sum_rows_affected + sum_rows_sent \
         from performance_schema.events_statements_summary_by_digest as banyan_counted \
         where {names} or digest_text like '%{CUT}' or length(digest_text) >= {} limit {}",
        room.saturating_sub(NAME_BYTES_MAX) / 5 * 4,
        STATEMENTS_MAX + 1
    );
    let values: Vec<Value> = layouts
        .iter()
        .map(|layout| layout.name.as_str())
        .chain(through.keys().map(String::as_str))
        .map(Value::from)
        .collect();
    let values = if values.is_empty() { Params::Empty } else { Params::Positional(values) };
    let rows: Vec<Row> = within(doing, STATEMENT_MAX, session.conn.exec(sql, values)).await?;
    if rows.len() > STATEMENTS_MAX {
        return Ok(None);
    }
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
        let may_name = is_cut(&reference.statement, room) && !layouts.is_empty();
        !is_ours
            && !is_chore(&words)
            && (may_name
                || layouts.iter().any(is_named)
                || words.iter().any(|word| through.contains_key(word)))
    };
    let mark = |mut reference: SqlReference| {
        if is_cut(&reference.statement, room) && !reference.statement.ends_with(CUT) {
            reference.statement.push_str(CUT);
        }
        reference
    };
    Ok(Some(rows.into_iter().filter_map(read).filter(touches).map(mark).collect()))
}

/// Bytes that the server keeps of a statement, as it counts them.
async fn digest_bytes(session: &mut Session) -> Result<usize, LegacyError> {
    let sql = "show global variables where variable_name in ('max_digest_length', 'performance_schema_max_digest_length')";
    let work = session.conn.query(sql);
    let rows: Vec<(String, String)> =
        within("asking how much is kept of a statement", STATEMENT_MAX, work).await?;
    let bytes = rows.iter().filter_map(|(_, value)| value.parse::<usize>().ok());
    Ok(bytes.filter(|bytes| *bytes > 0).min().unwrap_or(DIGEST_BYTES))
}

/// Whether more may have followed. MySQL says so; MariaDB just ends, so there a text counts that another name would not fit behind.
fn is_cut(text: &str, room: usize) -> bool {
    // A name takes its own bytes and four, anything else two.
    let kept = |token: &str| if token.starts_with('`') { token.len() + 2 } else { 2 };
    let kept: usize = text.split_whitespace().map(kept).sum();
    text.ends_with(CUT) || kept + NAME_BYTES_MAX > room
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
    fn a_text_is_cut_where_another_name_would_not_fit() {
        let text = |names: usize| format!("SELECT {} FROM `report`", vec!["`column_1`"; names].join(" , "));
        // Two words, a name of ten bytes, and each column twelve and its comma's two.
        assert!(!is_cut(&text(57), 1_024), "14 + 57 * 14 - 2 = 810 and 196 fit");
        assert!(is_cut(&text(60), 1_024), "14 + 60 * 14 - 2 = 852 and 196 do not");
        assert!(!is_cut(&text(60), 4_096));
        assert!(is_cut("SELECT `a` ...", 4_096), "the server says so");
        assert!(!is_cut("SELECT * FROM `t` WHERE `a` IN (...)", 4_096), "that is a list");
    }

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
