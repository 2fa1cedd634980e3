//! Two answers side by side: their lines aligned, and marked where they differ and where that counts. Pure.

use banyan_gateway::diff::{Difference, Kind};
use banyan_gateway::groups::Shown;
use serde_json::Value;

/// Lines of one side that are aligned; what comes after is left out.
const LINES_MAX: usize = 300;
/// Equal lines kept around one that differs.
const CONTEXT: usize = 2;

/// A line of one side.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Line {
    pub(crate) text: String,
    /// Whether one of the differences that were found is here.
    pub(crate) counts: bool,
}

/// One row of the two columns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Row {
    /// The same on both sides.
    Same(String),
    /// Not the same; a side that has no such line has nothing.
    Other(Option<Line>, Option<Line>),
    /// This many rows of equal lines are left out.
    Folded(usize),
    /// This many lines of each side are left out at the end.
    Cut(usize, usize),
}

/// The two answers of a sample, row by row.
pub(crate) fn rows(legacy: &Shown, banyan: &Shown, differences: &[Difference]) -> Vec<Row> {
    let (left, right) = (lines(legacy, differences), lines(banyan, differences));
    let cut = (left.len().saturating_sub(LINES_MAX), right.len().saturating_sub(LINES_MAX));
    let aligned = align(&left[..left.len() - cut.0], &right[..right.len() - cut.1]);
    let mut rows = fold(aligned);
    if cut != (0, 0) {
        rows.push(Row::Cut(cut.0, cut.1));
    }
    rows
}

/// An answer as lines: status, headers, and the body, JSON one value a line.
fn lines(shown: &Shown, differences: &[Difference]) -> Vec<Line> {
    let of = |kind: Kind, name: &str| {
        differences.iter().any(|found| found.kind == kind && found.place.eq_ignore_ascii_case(name))
    };
    let status = differences.iter().any(|found| found.kind == Kind::Status);
    let mut lines = vec![Line { text: format!("HTTP {}", shown.status), counts: status }];
    for (name, value) in &shown.headers {
        lines.push(Line { text: format!("{name}: {value}"), counts: of(Kind::Header, name) });
    }
    lines.push(Line { text: String::new(), counts: false });
    match serde_json::from_str::<Value>(&shown.body) {
        Ok(value @ (Value::Object(_) | Value::Array(_))) => {
            let places: Vec<&str> =
                differences.iter().filter_map(|found| found.place.strip_prefix('$')).collect();
            let mut json = Json { lines: Vec::new() };
            json.write("", &value, &places, 0, "");
            lines.append(&mut json.lines);
        }
        _ => {
            let number = |found: &Difference| found.place.strip_prefix("line ")?.parse::<usize>().ok();
            let marked: Vec<usize> =
                differences.iter().filter(|found| found.kind == Kind::Text).filter_map(number).collect();
            let line = |(at, line): (usize, &str)| Line {
                text: line.to_owned(),
                counts: marked.contains(&(at + 1)),
            };
            lines.extend(shown.body.lines().enumerate().map(line));
        }
    }
    lines
}

/// What stands before a value in its object or array, the value, and how places may write the step to it.
type Child<'a> = (String, &'a Value, Vec<String>);

/// A JSON document as lines.
struct Json {
    lines: Vec<Line>,
}

impl Json {
    /// Writes `value` after `head`. `places` is what is left of the places of the differences that lie in it.
    fn write(&mut self, head: &str, value: &Value, places: &[&str], depth: usize, tail: &str) {
        let counts = places.iter().any(|place| place.is_empty());
        let indent = "  ".repeat(depth);
        let (open, close, children): (char, char, Vec<Child<'_>>) = match value {
            Value::Object(fields) if !fields.is_empty() => {
                let child = |(name, value): (&String, _)| {
                    (format!("{}: ", Value::from(name.clone())), value, vec![field_step(name)])
                };
                ('{', '}', fields.iter().map(child).collect())
            }
            Value::Array(elements) if !elements.is_empty() => {
                let child = |(index, value)| (String::new(), value, element_steps(index, value));
                ('[', ']', elements.iter().enumerate().map(child).collect())
            }
            scalar => {
                self.lines.push(Line { text: format!("{indent}{head}{scalar}{tail}"), counts });
                return;
            }
        };
        self.lines.push(Line { text: format!("{indent}{head}{open}"), counts });
        let last = children.len() - 1;
        for (index, (head, value, steps)) in children.into_iter().enumerate() {
            // All of what differs as a whole is marked.
            let inside: Vec<&str> = match counts {
                true => vec![""],
                false => places.iter().filter_map(|place| below(place, &steps)).collect(),
            };
            self.write(&head, value, &inside, depth + 1, if index < last { "," } else { "" });
        }
        self.lines.push(Line { text: format!("{indent}{close}{tail}"), counts });
    }
}

/// What is left of a place after one of `steps`.
fn below<'a>(place: &'a str, steps: &[String]) -> Option<&'a str> {
    let rest = steps.iter().find_map(|step| place.strip_prefix(step.as_str()));
    rest.filter(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
}

/// A step into a field, as places write it.
fn field_step(name: &str) -> String {
    let plain = |c: char| c.is_alphanumeric() || c == '_' || c == '-';
    if name == "*" || (!name.is_empty() && name.chars().all(plain)) {
        return format!(".{name}");
    }
    format!("['{}']", name.replace('\\', "\\\\").replace('\'', "\\'"))
}

/// The steps into an element as places may write them: by position, or by a field that is its key.
fn element_steps(index: usize, value: &Value) -> Vec<String> {
    let mut steps = vec![format!("[{index}]")];
    for (name, value) in value.as_object().into_iter().flatten() {
        match value {
            Value::String(text) => steps.push(format!("[{name}={text}]")),
            Value::Number(number) => steps.push(format!("[{name}={number}]")),
            _ => {}
        }
    }
    steps
}

/// Aligns two texts by their longest common subsequence of lines.
fn align(left: &[Line], right: &[Line]) -> Vec<Row> {
    let width = right.len() + 1;
    let mut common = vec![0_u16; (left.len() + 1) * width];
    for i in (0..left.len()).rev() {
        for j in (0..right.len()).rev() {
            common[i * width + j] = match left[i].text == right[j].text {
                true => common[(i + 1) * width + j + 1] + 1,
                false => common[(i + 1) * width + j].max(common[i * width + j + 1]),
            };
        }
    }
    let (mut rows, mut i, mut j) = (Vec::new(), 0, 0);
    let (mut only_left, mut only_right) = (Vec::new(), Vec::new());
    while i < left.len() || j < right.len() {
        let is_same = i < left.len() && j < right.len() && left[i].text == right[j].text;
        if is_same {
            pair(&mut rows, &mut only_left, &mut only_right);
            rows.push(Row::Same(left[i].text.clone()));
            (i, j) = (i + 1, j + 1);
        } else if j == right.len()
            || (i < left.len() && common[(i + 1) * width + j] >= common[i * width + j + 1])
        {
            only_left.push(left[i].clone());
            i += 1;
        } else {
            only_right.push(right[j].clone());
            j += 1;
        }
    }
    pair(&mut rows, &mut only_left, &mut only_right);
    rows
}

/// Puts lines that only one side has beside each other, in their order.
fn pair(rows: &mut Vec<Row>, left: &mut Vec<Line>, right: &mut Vec<Line>) {
    let (mut left, mut right) = (left.drain(..), right.drain(..));
    loop {
        match (left.next(), right.next()) {
            (None, None) => return,
            (old, new) => rows.push(Row::Other(old, new)),
        }
    }
}

/// Leaves out what is equal far from anything that differs.
fn fold(rows: Vec<Row>) -> Vec<Row> {
    let differs: Vec<usize> =
        rows.iter().enumerate().filter(|(_, row)| matches!(row, Row::Other(..))).map(|(at, _)| at).collect();
    let near = |at: usize| {
        let after = differs.partition_point(|differs| differs + CONTEXT < at);
        differs.get(after).is_some_and(|differs| differs.abs_diff(at) <= CONTEXT)
    };
    let mut folded = Vec::new();
    for (at, row) in rows.into_iter().enumerate() {
        if near(at) {
            folded.push(row);
        } else if let Some(Row::Folded(count)) = folded.last_mut() {
            *count += 1;
        } else {
            folded.push(Row::Folded(1));
        }
    }
    folded
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(body: &str) -> Shown {
        Shown {
            status: 200,
            headers: vec![("content-type".into(), "application/json".into())],
            body: body.into(),
        }
    }

    fn difference(kind: Kind, place: &str) -> Difference {
        let (legacy, banyan, general) = (String::new(), String::new(), place.to_owned());
        Difference { kind, place: place.into(), general, legacy, banyan }
    }

    fn marked(rows: &[Row]) -> Vec<(String, String)> {
        let text = |line: &Option<Line>| {
            line.as_ref().filter(|line| line.counts).map_or(String::new(), |line| line.text.trim().to_owned())
        };
        let pair = |row: &Row| match row {
            Row::Other(old, new) => Some((text(old), text(new))),
            _ => None,
        };
        rows.iter().filter_map(pair).filter(|(old, new)| !old.is_empty() || !new.is_empty()).collect()
    }

    #[test]
    fn what_counts_is_marked_where_it_is() {
        let old =
            shown(r#"{"at":"1","items":[{"sku":"A","price":5},{"sku":"B","price":7}],"total":12,"x y":1}"#);
        let new =
            shown(r#"{"at":"2","items":[{"sku":"A","price":5},{"sku":"B","price":8}],"sum":13,"x y":2}"#);
        for place in ["$.items[1].price", "$.items[sku=B].price"] {
            let rows = super::rows(&old, &new, &[difference(Kind::Value, place)]);
            assert_eq!(
                marked(&rows),
                [("\"price\": 7".to_owned(), "\"price\": 8".to_owned())],
                "{place}: {rows:?}"
            );
            let noise = rows.iter().any(|row| matches!(row, Row::Other(Some(line), _) if line.text.contains("\"at\"") && !line.counts));
            assert!(noise, "what differs and does not count is there, unmarked");
        }
        let found = [difference(Kind::Missing, "$.total"), difference(Kind::Added, "$.sum")];
        let rows = rows(&old, &new, &found);
        assert!(marked(&rows).iter().any(|(old, _)| old.starts_with("\"total\"")));
        assert!(marked(&rows).iter().any(|(_, new)| new.starts_with("\"sum\"")));
    }

    #[test]
    fn equal_lines_far_from_a_difference_are_folded_and_long_bodies_cut() {
        let text =
            |n: usize| (0..100).map(move |i| if i == 50 { format!("line {n}\n") } else { format!("l{i}\n") });
        let old = Shown { status: 200, headers: Vec::new(), body: text(1).collect() };
        let new = Shown { status: 200, headers: Vec::new(), body: text(2).collect() };
        let rows = super::rows(&old, &new, &[]);
        assert_eq!(rows.len(), 2 + 2 * CONTEXT + 1, "{rows:?}");
        assert!(matches!(rows[0], Row::Folded(_)) && matches!(rows.last(), Some(Row::Folded(_))));
        let long = Shown { body: "x\n".repeat(1_000), ..old };
        let rows = super::rows(&long, &new, &[]);
        assert!(
            matches!(rows.last(), Some(Row::Cut(left, 0)) if *left == 1_002 - LINES_MAX),
            "{:?}",
            rows.last()
        );
    }

    #[test]
    fn status_and_headers_are_marked() {
        let new = Shown {
            status: 404,
            headers: vec![("content-type".into(), "text/html".into())],
            body: "{}".into(),
        };
        let found = [difference(Kind::Status, "status"), difference(Kind::Header, "content-type")];
        let rows = rows(&shown("{}"), &new, &found);
        assert_eq!(marked(&rows).len(), 2, "{rows:?}");
    }
}
