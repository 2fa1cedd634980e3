//! A little JSON, for columns that hold a list or a few named texts.

use banyan_domain::saga::Fields;

/// `fields` as a JSON object of texts.
pub(super) fn object(fields: &Fields) -> String {
    let mut json = String::from("{");
    for (name, value) in fields.iter() {
        if json.len() > 1 {
            json.push(',');
        }
        text(&mut json, name);
        json.push(':');
        text(&mut json, value);
    }
    json.push('}');
    json
}

/// Texts as a JSON array.
pub(super) fn array<'a>(texts: impl IntoIterator<Item = &'a str>) -> String {
    let mut json = String::from("[");
    for one in texts {
        if json.len() > 1 {
            json.push(',');
        }
        text(&mut json, one);
    }
    json.push(']');
    json
}

fn text(json: &mut String, text: &str) {
    json.push('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => {
                json.push('\\');
                json.push(c);
            }
            // What JSON does not let stand in a text.
            '\0'..='\u{1f}' => json.push_str(&format!("\\u{:04x}", u32::from(c))),
            _ => json.push(c),
        }
    }
    json.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sqlite_reads_what_is_written() {
        let odd = "a \"b\" \\ \n\t\u{1} 반얀 \u{7f}";
        let fields = Fields::from_iter([("odd", odd), ("\"name\"", "")]);
        let db = rusqlite::Connection::open_in_memory().expect("opens");
        let read = |sql: &str, json: &str| -> String {
            db.query_row(sql, [json], |row| row.get(0)).expect("it is JSON")
        };
        assert_eq!(read("SELECT ?1 ->> '$.odd'", &object(&fields)), odd);
        assert_eq!(read("SELECT count(*) || '' FROM json_each(?1)", &object(&fields)), "2");
        assert_eq!(read("SELECT ?1 ->> 1", &array(["x", odd])), odd);
        assert_eq!((object(&Fields::new()), array([])), ("{}".to_owned(), "[]".to_owned()));
    }
}
