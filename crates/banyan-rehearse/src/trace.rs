//! A recorded day, read line by line: `time,member,campaign,action`, ordered by time.

use std::fmt;
use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::path::{Path, PathBuf};

use jiff::Timestamp;

use crate::scenario::check_campaign_id;

/// One line of a trace.
#[derive(Clone, Debug, PartialEq)]
pub struct Step {
    /// Its line in the file; the header is line 1.
    pub line: u64,
    /// Seconds since the trace's first step, as recorded.
    pub second: f64,
    /// Who.
    pub member: String,
    /// Which campaign.
    pub campaign: String,
    /// What.
    pub action: TraceAction,
}

/// What a step does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TraceAction {
    /// Ask for a coupon.
    Issue,
    /// Redeem the oldest coupon of this member and campaign that this replay was issued and did not redeem yet.
    Redeem,
}

/// Reads steps from a file without holding it in memory.
pub struct Trace {
    path: PathBuf,
    lines: io::Lines<BufReader<File>>,
    line: u64,
    first_time: Option<f64>,
    last_second: f64,
}

impl Trace {
    /// Opens a trace and checks its header.
    ///
    /// # Errors
    /// When the file cannot be read or its first line is not `time,member,campaign,action`.
    pub fn open(path: &Path) -> Result<Self, TraceError> {
        let at = |line, problem: String| TraceError { path: path.to_owned(), line, problem };
        let file = File::open(path).map_err(|error| at(0, format!("opening it: {error}")))?;
        let mut lines = BufReader::with_capacity(1 << 18, file).lines();
        let header = lines.next().transpose().map_err(|error| at(1, error.to_string()))?.unwrap_or_default();
        if header.trim_start_matches('\u{feff}').trim() != "time,member,campaign,action" {
            let problem = format!("the header is `{header}`: must be `time,member,campaign,action`");
            return Err(at(1, problem));
        }
        Ok(Self { path: path.to_owned(), lines, line: 1, first_time: None, last_second: 0.0 })
    }

    /// Reads the whole file once, so that a mistake in the last line is known before the first request.
    /// Gives the number of steps and the recorded seconds.
    ///
    /// # Errors
    /// The first line that is wrong.
    pub fn check(path: &Path) -> Result<(u64, f64), TraceError> {
        let mut trace = Self::open(path)?;
        let mut steps = 0;
        for step in trace.by_ref() {
            step?;
            steps += 1;
        }
        Ok((steps, trace.last_second))
    }

    fn step(&mut self, text: &str) -> Result<Step, String> {
        let mut fields = [const { String::new() }; 4];
        let count = split(text, &mut fields)?;
        if count != 4 {
            return Err(format!("has {count} fields: must be 4"));
        }
        let [time, member, campaign, action] = fields;
        let time = seconds(&time)?;
        let second = time - *self.first_time.get_or_insert(time);
        if second < self.last_second {
            return Err("is earlier than the line before it: a trace is ordered by time".to_owned());
        }
        if member.is_empty() || member.len() > 64 || !member.bytes().all(|b| (0x21..=0x7e).contains(&b)) {
            return Err(format!("member `{member}` must be 1 to 64 bytes of visible ASCII"));
        }
        check_campaign_id("campaign", &campaign).map_err(|error| error.to_string())?;
        let action = match action.trim() {
            "issue" => TraceAction::Issue,
            "redeem" => TraceAction::Redeem,
            other => return Err(format!("action `{other}` must be issue or redeem")),
        };
        self.last_second = second;
        Ok(Step { line: self.line, second, member, campaign, action })
    }
}

impl Iterator for Trace {
    type Item = Result<Step, TraceError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let text = self.lines.next()?;
            self.line += 1;
            let read = match text {
                Ok(text) if text.trim().is_empty() => continue,
                Ok(text) => self.step(text.trim_end_matches('\r')),
                Err(error) => Err(error.to_string()),
            };
            let (path, line) = (&self.path, self.line);
            return Some(read.map_err(|problem| TraceError { path: path.clone(), line, problem }));
        }
    }
}

/// Splits a CSV line; a field may stand in double quotes, where `""` is a quote. Gives the number of fields.
fn split(text: &str, fields: &mut [String; 4]) -> Result<usize, String> {
    let mut count = 1;
    let mut quoted = false;
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '"' if quoted && chars.peek() == Some(&'"') => {
                chars.next();
                push(fields, count, '"');
            }
            '"' => quoted = !quoted,
            ',' if !quoted => count += 1,
            c => push(fields, count, c),
        }
    }
    if quoted { Err("has a quote that is not closed".to_owned()) } else { Ok(count) }
}

fn push(fields: &mut [String; 4], count: usize, c: char) {
    if let Some(field) = fields.get_mut(count - 1) {
        field.push(c);
    }
}

fn seconds(text: &str) -> Result<f64, String> {
    let text = text.trim();
    if let Ok(number) = text.parse::<f64>()
        && number.is_finite()
        && number.abs() < 1e12
    {
        return Ok(number);
    }
    let time: Timestamp =
        text.parse().map_err(|_| format!("time `{text}` must be RFC 3339 or seconds as a decimal number"))?;
    Ok(time.as_second() as f64 + f64::from(time.subsec_nanosecond()) / 1e9)
}

/// A trace that cannot be replayed.
#[derive(Debug)]
pub struct TraceError {
    /// The file.
    pub path: PathBuf,
    /// The line, from 1; 0 when the file could not be opened.
    pub line: u64,
    /// What is wrong.
    pub problem: String,
}

impl fmt::Display for TraceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            0 => write!(f, "trace {}: {}", self.path.display(), self.problem),
            line => write!(f, "trace {}, line {line}: {}", self.path.display(), self.problem),
        }
    }
}

impl std::error::Error for TraceError {}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn read(body: &str) -> Result<Vec<Step>, String> {
        let mut file = tempfile::NamedTempFile::new().expect("a temporary file");
        file.write_all(body.as_bytes()).expect("written");
        let trace = Trace::open(file.path()).map_err(|error| error.problem)?;
        trace
            .collect::<Result<_, _>>()
            .map_err(|error: TraceError| format!("{}: {}", error.line, error.problem))
    }

    #[test]
    fn reads_both_kinds_of_time_and_quotes() {
        let steps =
            read("time,member,campaign,action\r\n10.5,m1,noon,issue\r\n\n12,\"a,\"\"b\",noon,redeem\n");
        let steps = steps.expect("valid");
        assert_eq!((steps[0].second, steps[1].second, steps[1].line), (0.0, 1.5, 4));
        assert_eq!(steps[1].member, "a,\"b");
        let steps = read(
            "time,member,campaign,action\n2026-11-27T12:00:00Z,m,n,issue\n2026-11-27T21:00:00.25+09:00,m,n,redeem",
        );
        assert_eq!(steps.expect("valid")[1].second, 0.25);
    }

    #[test]
    fn says_which_line_is_wrong() {
        let check = |lines: &str, expected: &str| {
            let why = read(&format!("time,member,campaign,action\n{lines}")).expect_err("must be refused");
            assert!(why.contains(expected), "{why}");
        };
        check("1,m,noon,issue\n0,m,noon,issue", "3: is earlier");
        check("1,m,noon", "2: has 3 fields");
        check("1,m,noon,issue,x", "has 5 fields");
        check("1,a b,noon,issue", "member `a b`");
        check("1,m,Noon,issue", "is `Noon`");
        check("1,m,noon,steal", "must be issue or redeem");
        check("soon,m,noon,issue", "time `soon`");
        check("1,\"m,noon,issue", "quote that is not closed");
        assert!(read("when,who\n").expect_err("no").contains("the header is"));
    }
}
