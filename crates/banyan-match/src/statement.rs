//! A payment company's statement: every movement of money in a span of time, as CSV or JSON lines.
//!
//! The columns are those of `banyan sandbox`: `time,movement,payment,order,kind,amount_minor,currency,key`, found by the names in
//! the first line. As JSON lines, `amount` is `{"minor": .., "currency": ".."}`. `kind` is `capture` or `refund`; a refund's
//! amount is below zero. `key` is the idempotency key of our request, and may be empty.
//!
//! A statement that cannot be read whole is not read at all: half of one would look like money that is missing.

use crate::books::What;
use crate::instant::parse_instant;
use banyan_domain::Timestamp;
use serde_json::Value;
use std::fmt;

/// How a statement is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Comma-separated values (RFC 4180) under a line of names.
    Csv,
    /// One JSON object a line.
    JsonLines,
}

/// One line of a statement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Movement {
    /// The line of the file, from 1.
    pub line: usize,
    /// When, by the company's clock.
    pub at: Timestamp,
    /// The company's name for it, once for each movement.
    pub id: String,
    /// The payment.
    pub payment: String,
    /// The order that we named when the payment was made.
    pub order: String,
    /// Taken or sent back.
    pub what: What,
    /// Minor units, above zero.
    pub amount: i64,
    /// Three capital letters.
    pub currency: String,
    /// Our idempotency key; may be empty.
    pub key: String,
}

/// Why a statement is not read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StatementError {
    /// The line, from 1.
    pub line: usize,
    /// What is wrong with it.
    pub what: String,
}

impl fmt::Display for StatementError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}", self.line, self.what)
    }
}

impl std::error::Error for StatementError {}

impl Format {
    /// The format by a file's name; none if the name does not say.
    #[must_use]
    pub fn of_name(name: &str) -> Option<Self> {
        match name.rsplit_once('.')?.1 {
            "csv" => Some(Self::Csv),
            "jsonl" | "ndjson" => Some(Self::JsonLines),
            _ => None,
        }
    }
}

/// Reads a whole statement.
///
/// # Errors
/// [`StatementError`] naming the first line that cannot be understood; also if the last line has no end, because the file may have
/// been cut off.
pub fn read_statement(text: &str, format: Format) -> Result<Vec<Movement>, StatementError> {
    if !text.is_empty() && !text.ends_with('\n') {
        let (line, what) =
            (text.lines().count(), "the file ends in the middle of a line: get it again".into());
        return Err(StatementError { line, what });
    }
    match format {
        Format::Csv => read_csv(text),
        Format::JsonLines => read_json(text),
    }
}

const COLUMNS: [&str; 8] =
    ["time", "movement", "payment", "order", "kind", "amount_minor", "currency", "key"];

fn read_csv(text: &str) -> Result<Vec<Movement>, StatementError> {
    let mut records = records(text)?.into_iter();
    let Some((_, names)) = records.next() else {
        let what = format!("there is no line of names; a statement begins with {}", COLUMNS.join(","));
        return Err(StatementError { line: 1, what });
    };
    let mut places = [0; COLUMNS.len()];
    for (place, column) in places.iter_mut().zip(COLUMNS) {
        let found = names.iter().position(|name| name == column);
        let missing = || StatementError { line: 1, what: format!("the column {column} is missing") };
        *place = found.ok_or_else(missing)?;
    }
    records
        .map(|(line, fields)| {
            if fields.len() != names.len() {
                let what = format!("it has {} fields, and the first line {}", fields.len(), names.len());
                return Err(StatementError { line, what });
            }
            movement(line, places.map(|place| plain(&fields[place])))
        })
        .collect()
}

/// A field without the apostrophe that keeps a spreadsheet from taking it for a formula.
fn plain(field: &str) -> String {
    let rest = field.strip_prefix('\'');
    let formula = |rest: &&str| rest.trim_start_matches('\'').starts_with(['=', '+', '-', '@']);
    rest.filter(formula).unwrap_or(field).to_owned()
}

/// The records of a CSV text, each with the line it begins on.
fn records(text: &str) -> Result<Vec<(usize, Vec<String>)>, StatementError> {
    let (mut all, mut fields, mut field) = (Vec::new(), Vec::new(), String::new());
    let (mut line, mut begins, mut quoted) = (1, 1, false);
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '"' if quoted && chars.peek() == Some(&'"') => {
                chars.next();
                field.push('"');
            }
            '"' if quoted => quoted = false,
            '"' if field.is_empty() => quoted = true,
            ',' if !quoted => fields.push(std::mem::take(&mut field)),
            '\r' if !quoted && chars.peek() == Some(&'\n') => {}
            '\n' if !quoted => {
                fields.push(std::mem::take(&mut field));
                let whole = std::mem::take(&mut fields);
                if whole != [""] {
                    all.push((begins, whole));
                }
                line += 1;
                begins = line;
            }
            other => {
                line += usize::from(other == '\n');
                field.push(other);
            }
        }
    }
    if quoted {
        return Err(StatementError { line: begins, what: "a quotation mark is never closed".into() });
    }
    Ok(all)
}

fn read_json(text: &str) -> Result<Vec<Movement>, StatementError> {
    let lines = (1..).zip(text.lines()).filter(|(_, line)| !line.trim().is_empty());
    lines
        .map(|(line, text)| {
            let value: Value = serde_json::from_str(text)
                .map_err(|error| StatementError { line, what: format!("it is not JSON: {error}") })?;
            let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
            let minor = value["amount"]["minor"].as_i64().map(|minor| minor.to_string()).unwrap_or_default();
            movement(
                line,
                [
                    text(&value["time"]),
                    text(&value["movement"]),
                    text(&value["payment"]),
                    text(&value["order"]),
                    text(&value["kind"]),
                    minor,
                    text(&value["amount"]["currency"]),
                    text(&value["key"]),
                ],
            )
        })
        .collect()
}

/// A movement of its fields, in the order of [`COLUMNS`].
fn movement(line: usize, fields: [String; 8]) -> Result<Movement, StatementError> {
    let [time, id, payment, order, kind, minor, currency, key] = fields;
    let wrong = |what: String| StatementError { line, what };
    let at = parse_instant(&time).map_err(|what| wrong(format!("time: {what}")))?;
    if id.is_empty() || payment.is_empty() {
        return Err(wrong("the name of the movement, or of its payment, is missing".into()));
    }
    let what = match kind.as_str() {
        "capture" => What::Capture,
        "refund" => What::Refund,
        other => return Err(wrong(format!("kind is {other:?}, and neither capture nor refund"))),
    };
    let minor: i64 =
        minor.parse().map_err(|_| wrong(format!("amount {minor:?} is not a whole number of minor units")))?;
    let amount = if what == What::Refund { minor.checked_neg() } else { Some(minor) };
    let Some(amount) = amount.filter(|amount| *amount > 0) else {
        return Err(wrong(format!("a {kind} of {minor}: a capture is above zero, a refund below")));
    };
    if currency.len() != 3 || !currency.bytes().all(|byte| byte.is_ascii_uppercase()) {
        return Err(wrong(format!("currency {currency:?} is not three capital letters")));
    }
    Ok(Movement { line, at, id, payment, order, what, amount, currency, key })
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &str = "time,movement,payment,order,kind,amount_minor,currency,key\n";

    #[test]
    fn both_forms_say_the_same() {
        let csv = format!(
            "{HEAD}2026-11-22T01:02:03Z,mv_1,pay_1,\"a,\"\"b\"\"\",capture,500,KRW,k1\r\n\
             2026-11-22T01:02:04Z,mv_2,pay_1,o,refund,-200,KRW,\n"
        );
        let json = r#"{"time":"2026-11-22T01:02:03Z","movement":"mv_1","payment":"pay_1","order":"a,\"b\"","kind":"capture","amount":{"minor":500,"currency":"KRW"},"key":"k1"}
{"time":"2026-11-22T01:02:04Z","movement":"mv_2","payment":"pay_1","order":"o","kind":"refund","amount":{"minor":-200,"currency":"KRW"},"key":""}
"#;
        let numbered = |movements: Vec<Movement>| -> Vec<Movement> {
            movements.into_iter().map(|movement| Movement { line: 0, ..movement }).collect()
        };
        let one = numbered(read_statement(&csv, Format::Csv).expect("CSV"));
        assert_eq!(one, numbered(read_statement(json, Format::JsonLines).expect("JSON lines")));
        assert_eq!((one[0].order.as_str(), one[1].what, one[1].amount), ("a,\"b\"", What::Refund, 200));
    }

    #[test]
    fn what_is_not_whole_is_not_read() {
        let line = "2026-11-22T01:02:03Z,mv_1,pay_1,o,capture,500,KRW,k1";
        for (text, at, part) in [
            (format!("{HEAD}{line}"), 2, "middle of a line"),
            (format!("{HEAD}{line}\n{line},more\n"), 3, "9 fields"),
            (String::new(), 1, "no line of names"),
            ("time,movement\n".into(), 1, "payment is missing"),
            (format!("{HEAD}{}\n", line.replace("500", "-500")), 2, "above zero"),
            (format!("{HEAD}{}\n", line.replace("capture", "gift")), 2, "neither"),
            (format!("{HEAD}{}\n", line.replace("KRW", "won")), 2, "capital letters"),
            (format!("{HEAD}{}\n", line.replace("22T", "32T")), 2, "not an instant"),
            (format!("{HEAD}\"{line}\n"), 2, "never closed"),
        ] {
            let error = read_statement(&text, Format::Csv).expect_err(&text);
            assert_eq!(error.line, at, "{error}");
            assert!(error.what.contains(part), "{error}");
        }
        assert!(read_statement("{\n", Format::JsonLines).is_err());
    }

    #[test]
    fn a_field_that_was_kept_from_being_a_formula_is_read_as_it_was() {
        for (field, wanted) in
            [("'=1+1", "=1+1"), ("''=1", "'=1"), ("'-o-1", "-o-1"), ("'quoted'", "'quoted'"), ("-25", "-25")]
        {
            assert_eq!(plain(field), wanted);
        }
    }
}
