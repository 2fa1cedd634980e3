//! The statement of a day (UTC): every movement of money, as CSV or as JSON lines, streamed.

use crate::answers::Refused;
use crate::api::{bearer_is, blocking};
use crate::clock;
use crate::ledger::MovementRow;
use crate::payment::Shape;
use crate::server::App;
use axum::Router;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use bytes::Bytes;
use futures_util::stream;
use http::{HeaderMap, header};
use serde_json::json;
use std::fmt::Write;
use std::io;
use std::sync::Arc;

/// Movements read at once.
const CHUNK_ROWS: i64 = 2_000;

/// The routes.
pub(crate) fn routes() -> Router<Arc<App>> {
    Router::new().route("/api/statements/{file}", get(statement))
}

#[derive(Clone, Copy)]
enum Format {
    Csv,
    JsonLines,
}

async fn statement(
    State(app): State<Arc<App>>,
    Path(file): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Response> {
    if !bearer_is(&headers, &app.options.secret_key) && !bearer_is(&headers, &app.options.admin_key) {
        return Err(Refused::Unauthenticated.into_response(Shape::Own));
    }
    let (name, format, kind) = match file.split_once('.') {
        Some((name, "csv")) => (name, Format::Csv, "text/csv; charset=utf-8"),
        Some((name, "jsonl")) => (name, Format::JsonLines, "application/jsonl"),
        _ => ("", Format::Csv, ""),
    };
    let day = clock::day(name).ok_or_else(|| {
        let what = "a statement is named by its day (UTC), such as 2026-11-27.csv or 2026-11-27.jsonl";
        Refused::Invalid(what.into()).into_response(Shape::Own)
    })?;
    // The first rows are read before the answer begins, so that a failure can still be told.
    let first = rows(&app, day, 0).await?;
    let head = match format {
        Format::Csv => "time,movement,payment,order,kind,amount_minor,currency,key\n",
        Format::JsonLines => "",
    };
    let start = (app, Some(first), head.to_owned());
    let chunks = stream::try_unfold(start, move |(app, rows_now, mut text)| async move {
        let Some(rows_now) = rows_now else { return Ok(None) };
        for row in &rows_now {
            write_row(&mut text, format, row);
        }
        let is_last = rows_now.len() < usize::try_from(CHUNK_ROWS).unwrap_or(usize::MAX);
        let next = match rows_now.last() {
            Some(last) if !is_last => {
                let next = rows(&app, day, last.no).await;
                // Cut off, the answer is seen to be incomplete; a shorter one would not be.
                Some(next.map_err(|_| io::Error::other("the ledger could not be read"))?)
            }
            _ => None,
        };
        Ok::<_, io::Error>(Some((Bytes::from(text), (app, next, String::new()))))
    });
    Ok(([(header::CONTENT_TYPE, kind)], Body::from_stream(chunks)).into_response())
}

async fn rows(app: &Arc<App>, day: (i64, i64), after: i64) -> Result<Vec<MovementRow>, Response> {
    blocking(app, Shape::Own, move |app| app.ledger.movements(day, after, CHUNK_ROWS)).await
}

fn write_row(text: &mut String, format: Format, row: &MovementRow) {
    let kind = if row.amount > 0 { "capture" } else { "refund" };
    let time = clock::rfc3339(row.at);
    let key = row.key.split_once(':').map_or(row.key.as_str(), |(_, key)| key);
    let movement = format!("mv_{}", row.no);
    match format {
        Format::Csv => {
            let fields: [&str; 8] = [
                &time,
                &movement,
                &row.payment,
                &row.order,
                kind,
                &row.amount.to_string(),
                &row.currency,
                key,
            ];
            for (place, field) in fields.iter().enumerate() {
                if place > 0 {
                    text.push(',');
                }
                push_csv(text, field);
            }
            text.push('\n');
        }
        Format::JsonLines => {
            let line = json!({
                "time": time, "movement": movement, "payment": row.payment, "order": row.order, "kind": kind,
                "amount": { "minor": row.amount, "currency": row.currency }, "key": key,
            });
            // Writing to a string cannot fail.
            let _ = writeln!(text, "{line}");
        }
    }
}

/// One field of CSV (RFC 4180). What a spreadsheet would take for a formula gets an apostrophe, and so does what looks as if it had
/// got one: whoever takes one off again has the field as it was.
fn push_csv(text: &mut String, field: &str) {
    let number = field.strip_prefix('-').unwrap_or(field).bytes().all(|byte| byte.is_ascii_digit());
    let apostrophe = !number && field.trim_start_matches('\'').starts_with(['=', '+', '-', '@']);
    if field.contains([',', '"', '\n', '\r']) {
        text.push('"');
        text.push_str(if apostrophe { "'" } else { "" });
        text.push_str(&field.replace('"', "\"\""));
        text.push('"');
    } else {
        text.push_str(if apostrophe { "'" } else { "" });
        text.push_str(field);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_with_commas_and_quotes_stays_one_field() {
        let mut text = String::new();
        push_csv(&mut text, "a,\"b\"");
        push_csv(&mut text, "plain");
        assert_eq!(text, "\"a,\"\"b\"\"\"plain");
    }

    /// Bug: an order named like a formula was one in the spreadsheet of whoever opened the statement.
    #[test]
    fn a_field_that_a_spreadsheet_would_calculate_stays_a_text() {
        for (field, wanted) in [
            ("=1+1", "'=1+1"),
            ("+1 2", "'+1 2"),
            ("@sum", "'@sum"),
            ("-o-1", "'-o-1"),
            ("'=1", "''=1"),
            ("=a,b", "\"'=a,b\""),
            ("-2500", "-2500"),
            ("o-1", "o-1"),
            ("", ""),
        ] {
            let mut text = String::new();
            push_csv(&mut text, field);
            assert_eq!(text, wanted);
        }
    }
}
