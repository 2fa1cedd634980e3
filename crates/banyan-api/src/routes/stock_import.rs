//! Importing stock: `sku,location,on_hand`, one item a line, in commands of 8,192 rows.

use super::coupons::write;
use crate::App;
use crate::body;
use crate::problem::Problem;
use crate::wire::stock::{BadLineJson, ImportJson, location};
use axum::body::Body;
use axum::extract::State;
use axum::response::Response;
use banyan_domain::stock::{self, ImportRow};
use banyan_domain::{Command, Outcome, SkuId, limits};
use http::{HeaderMap, StatusCode};
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::Arc;

/// Largest import, in bytes.
const IMPORT_BYTES_MAX: usize = 16 << 20;
/// Most lines of one import, which bounds the memory for finding repeated items.
const IMPORT_LINES_MAX: usize = 1_000_000;
/// Bad lines that an answer names; the rest are counted.
const BAD_LINES_MAX: usize = 1_000;
const HEADER: &str = "sku,location,on_hand";

/// Counts many items: `text/csv` with the header `sku,location,on_hand`, at most 16 MiB and 1,000,000 lines.
///
/// Each row is set or refused by itself, in order, 8,192 at a time. An empty location means `main`. If the import breaks
/// off, the answer says how far it came; sending it again changes only what is missing.
#[utoipa::path(
    post, path = "/v1/stock/import", tag = "stock",
    params(("Idempotency-Key" = Option<String>, Header, description = "1 to 255 visible ASCII characters; kept for at least 24 hours")),
    request_body(content = String, content_type = "text/csv"),
    responses(
        (status = 200, description = "What became of each row", body = ImportJson), (status = 400, description = "invalid-request: no header"), (status = 403, description = "forbidden"),
        (status = 413, description = "too-large"), (status = 422, description = "idempotency-key-reused"),
    ),
)]
pub(crate) async fn import_stock(
    State(app): State<Arc<App>>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let principal = app.identify(&headers)?;
    principal.must_serve()?;
    let bytes = body::read(body, IMPORT_BYTES_MAX).await?;
    // Reading sixteen MiB takes a while: others are served meanwhile.
    let read = tokio::task::spawn_blocking(move || read_rows(&bytes)).await;
    let (rows, mut answer) =
        read.map_err(|_| Problem::unavailable("The server is stopping; nothing was taken."))??;
    let (mut sent, mut chunks, mut all_replayed) = (0, 0, !rows.is_empty());
    let mut rows = rows.into_iter();
    loop {
        let chunk: Vec<_> = rows.by_ref().take(limits::IMPORT_ROWS_MAX).collect();
        if chunk.is_empty() {
            break;
        }
        let count = chunk.len() as u64;
        let part = if chunks == 0 { String::new() } else { format!("import {chunks}") };
        let stamp = app.stamp_part(&headers, &principal, &part, || {
            let rows = chunk.iter().map(|(_, row)| format!("{} {} {}\n", row.sku, row.location, row.on_hand));
            format!("import {}", blake3::hash(rows.collect::<String>().as_bytes()))
        });
        let stopped = |problem: Problem| stopped(problem, sent, &answer);
        let (lines, rows): (Vec<_>, Vec<_>) = chunk.into_iter().unzip();
        let command = stock::Command::ImportStock { rows: rows.clone(), by: principal.name.clone() };
        let asked = app.ask(Command::Stock(command), stamp.map_err(stopped)?).await;
        let (outcome, seq, replayed) = asked.map_err(stopped)?;
        let Outcome::Stock(stock::Outcome::Import(done)) = outcome else {
            unreachable!("an import is answered with what became of its rows")
        };
        sent += count;
        chunks += 1;
        all_replayed &= replayed;
        answer.seq = seq;
        answer.changed += u64::from(done.changed);
        answer.unchanged += u64::from(done.unchanged);
        answer.refused_total += u64::from(done.refused);
        let refused = done.refused_rows.iter().filter_map(|&index| {
            let index = usize::from(index);
            Some((*lines.get(index)?, rows.get(index)?.clone()))
        });
        let refused: Vec<_> = refused.take(BAD_LINES_MAX).collect();
        if !refused.is_empty() {
            let why = app.look(move |state| why_refused(state, refused)).await;
            answer.refused.extend(why.map_err(|problem| self::stopped(problem, sent, &answer))?);
        }
    }
    answer.refused.sort_by_key(|bad| bad.line);
    answer.refused.truncate(BAD_LINES_MAX);
    if chunks == 0 {
        answer.seq = app.look(banyan_domain::State::seq).await?;
    }
    Ok(write(&answer, StatusCode::OK, all_replayed))
}

/// The rows that can be asked for, with their lines, and the answer so far: the lines that are bad in themselves.
fn read_rows(bytes: &[u8]) -> Result<(Vec<(u64, ImportRow)>, ImportJson), Problem> {
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    let mut lines = (1_u64..).zip(bytes.split(|byte| *byte == b'\n')).map(|(n, line)| (n, line.trim_ascii()));
    let header = lines.next().and_then(|(_, line)| fields(line).ok());
    if header.is_none_or(|header| header.join(",").to_ascii_lowercase() != HEADER) {
        return Err(Problem::invalid(format!("The first line must be the header {HEADER}.")));
    }
    let (mut rows, mut answer, mut seen) = (Vec::new(), ImportJson::default(), BTreeMap::new());
    for (number, line) in lines.filter(|(_, line)| !line.is_empty()) {
        if number > IMPORT_LINES_MAX as u64 {
            return Err(Problem::invalid("One import takes at most 1,000,000 lines. Split it."));
        }
        answer.rows += 1;
        let row = read_row(line).and_then(|row| match seen.entry((row.sku.clone(), row.location.clone())) {
            Entry::Occupied(first) => {
                Err(format!("the item is on line {} already; count it once", first.get()))
            }
            Entry::Vacant(place) => {
                place.insert(number);
                Ok(row)
            }
        });
        match row {
            Ok(row) => rows.push((number, row)),
            Err(why) => {
                answer.refused_total += 1;
                if answer.refused.len() < BAD_LINES_MAX {
                    answer.refused.push(BadLineJson { line: number, why });
                }
            }
        }
    }
    Ok((rows, answer))
}

fn read_row(line: &[u8]) -> Result<ImportRow, String> {
    let fields = fields(line)?;
    let [sku, place, on_hand] = fields.as_slice() else {
        return Err(format!("it has {} fields; three are needed: {HEADER}", fields.len()));
    };
    let place = Some(place.as_str()).filter(|place| !place.is_empty());
    let on_hand: u32 = on_hand
        .parse()
        .ok()
        .filter(|units| *units <= limits::ITEM_UNITS_MAX && on_hand.bytes().all(|byte| byte.is_ascii_digit()))
        .ok_or("on_hand must be a whole number of units from 0 to 4000000000")?;
    Ok(ImportRow {
        sku: SkuId::new(sku.as_str()).map_err(|error| error.to_string())?,
        location: location(place).map_err(|problem| problem.detail.trim_end_matches('.').to_owned())?,
        on_hand,
    })
}

/// The fields of a line, as RFC 4180 has them: a field in double quotes may have commas, and double quotes twice.
fn fields(line: &[u8]) -> Result<Vec<String>, String> {
    let line = std::str::from_utf8(line).map_err(|_| "it is not UTF-8 text".to_owned())?;
    let (mut fields, mut field, mut quoted, mut was_quoted) = (Vec::new(), String::new(), false, false);
    let mut letters = line.chars().peekable();
    while let Some(letter) = letters.next() {
        match letter {
            '"' if quoted && letters.peek() == Some(&'"') => {
                letters.next();
                field.push('"');
            }
            '"' if quoted => quoted = false,
            '"' if field.trim().is_empty() && !was_quoted => {
                field.clear();
                (quoted, was_quoted) = (true, true);
            }
            ',' if !quoted => {
                fields.push(std::mem::take(&mut field).trim().to_owned());
                was_quoted = false;
            }
            letter => field.push(letter),
        }
    }
    if quoted {
        return Err("a double quote is opened and not closed".into());
    }
    fields.push(field.trim().to_owned());
    Ok(fields)
}

/// Why each row was refused, as far as can be told afterwards.
fn why_refused(state: &banyan_domain::State, refused: Vec<(u64, ImportRow)>) -> Vec<BadLineJson> {
    let stock = state.stock();
    let why = |(line, row): (u64, ImportRow)| {
        let item = stock.find(&row.sku, &row.location).and_then(|item| stock.item(item));
        let why = match item.map(|item| item.level.held) {
            None => stock::Refusal::TooManySkus.sentence().trim_end_matches('.').to_owned(),
            Some(held) if row.on_hand < held => {
                format!("{} units would be on hand, and {held} are held for reservations", row.on_hand)
            }
            Some(_) => "fewer units would have been on hand than were held for reservations then".to_owned(),
        };
        BadLineJson { line, why }
    };
    refused.into_iter().map(why).collect()
}

/// What went wrong, with how far the import had come.
fn stopped(problem: Problem, sent: u64, answer: &ImportJson) -> Problem {
    if sent == 0 {
        return problem;
    }
    let detail = format!(
        "{} Before that, {sent} rows were taken ({} of them changed something). Send the import again: what is known stays as it is.",
        problem.detail, answer.changed
    );
    Problem { detail, ..problem }
}
