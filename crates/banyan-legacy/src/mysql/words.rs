//! The words of a statement that the binary log quotes: enough to tell what kind of statement it is and whom it names.

/// The words of a statement in lower case, names without their quotes, without comments and strings. What is inside of
/// comments that only some servers carry out counts, since we cannot tell which server did.
pub(super) fn words(statement: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut rest = statement;
    while let Some(first) = rest.chars().next() {
        rest = if let Some(after) = rest.strip_prefix("/*!").or_else(|| rest.strip_prefix("/*M!")) {
            after.trim_start_matches(|c: char| c.is_ascii_digit())
        } else if let Some(after) = rest.strip_prefix("*/") {
            after
        } else if let Some(after) = rest.strip_prefix("/*") {
            after.split_once("*/").map_or("", |(_, after)| after)
        } else if first == '#' || rest.starts_with("-- ") {
            rest.split_once('\n').map_or("", |(_, after)| after)
        } else if matches!(first, '`' | '\'' | '"') {
            let (inside, after) = quoted(&rest[1..], first);
            if first == '`' {
                words.push(inside.to_lowercase());
            }
            after
        } else if is_word(first) {
            let end = rest.find(|c| !is_word(c)).unwrap_or(rest.len());
            words.push(rest[..end].to_lowercase());
            &rest[end..]
        } else {
            &rest[first.len_utf8()..]
        };
    }
    words
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_' || c == '$'
}

/// What is inside of quotes, and what follows them.
fn quoted(text: &str, quote: char) -> (String, &str) {
    let mut inside = String::new();
    let mut characters = text.char_indices().peekable();
    while let Some((at, c)) = characters.next() {
        if c == '\\' && quote != '`' {
            characters.next();
        } else if c == quote {
            if characters.peek().is_none_or(|(_, next)| *next != quote) {
                return (inside, &text[at + 1..]);
            }
            characters.next();
            inside.push(c);
        } else {
            inside.push(c);
        }
    }
    (inside, "")
}

#[cfg(test)]
mod tests {
    use super::words;

    fn check(statement: &str, expected: &str) {
        assert_eq!(words(statement).join(" "), expected, "{statement}");
    }

    #[test]
    fn names_are_found_and_strings_and_comments_are_not() {
        check("ALTER TABLE `Shop`.`st``ock` ADD x INT", "alter table shop st`ock add x int");
        check("/* stock */ truncate -- stock\n table # stock\n t", "truncate table t");
        check("insert into t values ('stock', \"it''s\", 'a\\'stock')", "insert into t values");
        check("CREATE /*!50001 TABLE */ /*M!100301 stock */ (a int)", "create table stock a int");
        check("'never ends", "");
        check("/* never ends", "");
        check("Größe", "größe");
        check("", "");
    }
}
