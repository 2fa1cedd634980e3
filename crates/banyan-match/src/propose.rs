//! Repairs: which saga puts a finding right, with the command that begins it.

use crate::books::{Books, Posting, What};
use crate::finding::Repair;
use crate::instant::rfc3339;
use crate::statement::Movement;
use std::collections::BTreeMap;

/// Where takings are booked if the books have no charge to learn it from.
const SALES: &str = "shop:sales";
/// Where the file of a definition is, in the project's folder.
const FOLDER: &str = "examples/sagas";

/// Sends `amount` of what the company took back through it. The saga books it as taken into `company:suspense` first, so that
/// the books agree with the statement at every moment.
pub(crate) fn refund(books: &Books, movement: &Movement, amount: i64, advice: &str) -> Repair {
    let input = [
        ("payment", movement.payment.clone()),
        ("order", movement.order.clone()),
        ("amount", amount.to_string()),
        ("currency", movement.currency.clone()),
        ("account", account(books, &movement.currency)),
        ("suspense", format!("{}:suspense", books.company())),
        ("moved_at", rfc3339(movement.at)),
    ];
    begin(books, "repair-refund", &movement.id, &input, advice)
}

/// Books what the company did and the books do not have.
pub(crate) fn book(books: &Books, movement: &Movement, amount: i64, advice: &str) -> Repair {
    let (account, sales) = (account(books, &movement.currency), sales(books));
    let (debit, credit) = match movement.what {
        What::Capture => (account, sales),
        What::Refund => (sales, account),
    };
    let input = [
        ("payment", movement.payment.clone()),
        ("order", movement.order.clone()),
        ("debit", debit),
        ("credit", credit),
        ("amount", amount.to_string()),
        ("moved_at", rfc3339(movement.at)),
    ];
    begin(books, "repair-book", &movement.id, &input, advice)
}

/// Books a refund that the company made, as a refund of the booked charge; as a plain booking if no charge is known.
pub(crate) fn book_refund(
    books: &Books,
    movement: &Movement,
    charge: Option<&Posting>,
    advice: &str,
) -> Repair {
    match charge {
        Some(charge) => {
            let facts = (movement.payment.as_str(), movement.order.as_str(), rfc3339(movement.at));
            reverse(books, charge, &movement.id, movement.amount, facts, advice)
        }
        None => book(books, movement, movement.amount, advice),
    }
}

/// Takes `amount` of a booking back that the company knows nothing of.
pub(crate) fn unbook(
    books: &Books,
    posting: &Posting,
    amount: i64,
    moved_at: String,
    advice: &str,
) -> Repair {
    let payment = posting.payment.as_deref().unwrap_or_default();
    let key = format!("t-{}", posting.transfer);
    if posting.what == What::Capture {
        let facts = (payment, posting.reference.as_str(), moved_at);
        return reverse(books, posting, &key, amount, facts, advice);
    }
    let input = [
        ("payment", payment.to_owned()),
        ("order", posting.reference.clone()),
        ("debit", account(books, &posting.currency)),
        ("credit", posting.other.clone()),
        ("amount", amount.to_string()),
        ("moved_at", moved_at),
    ];
    begin(books, "repair-book", &key, &input, advice)
}

fn reverse(
    books: &Books,
    posting: &Posting,
    key: &str,
    amount: i64,
    (payment, order, moved_at): (&str, &str, String),
    advice: &str,
) -> Repair {
    let input = [
        ("payment", payment.to_owned()),
        ("order", order.to_owned()),
        ("transfer", format!("t-{}", posting.transfer)),
        ("amount", amount.to_string()),
        ("moved_at", moved_at),
    ];
    begin(books, "repair-reverse", key, &input, advice)
}

/// Lets a parked saga go on.
pub(crate) fn retry(saga: u64, reason: &str, advice: &str) -> Repair {
    let command = format!("banyan saga retry {saga} --reason {}", quoted(reason));
    Repair { command: Some(command), advice: advice.to_owned(), ..Repair::default() }
}

/// Nothing to begin.
pub(crate) fn wait(advice: &str) -> Repair {
    Repair { advice: advice.to_owned(), ..Repair::default() }
}

fn begin(books: &Books, name: &str, key: &str, input: &[(&str, String)], advice: &str) -> Repair {
    // The shipped definitions ask the service `company`; those for another are copies under a name of their own.
    let saga = match books.company() {
        "company" => name.to_owned(),
        other => format!("{name}-{other}"),
    };
    let definition = format!("{FOLDER}/{saga}.toml");
    let key: String = key.chars().map(|c| if c.is_ascii_graphic() { c } else { '_' }).take(96).collect();
    let input: BTreeMap<String, String> = input
        .iter()
        .filter(|(_, value)| !value.is_empty())
        .map(|(name, value)| ((*name).to_owned(), value.clone()))
        .collect();
    let mut command = String::new();
    if !books.is_defined(&saga) {
        command.push_str(&format!("banyan saga define {} && ", quoted(&definition)));
    }
    command.push_str(&format!("banyan saga run {} --key {}", quoted(&saga), quoted(&key)));
    for (name, value) in &input {
        command.push_str(&format!(" --input {}", quoted(&format!("{name}={value}"))));
    }
    Repair {
        saga: Some(saga),
        definition: Some(definition),
        key: Some(key),
        input,
        command: Some(command),
        advice: advice.to_owned(),
    }
}

/// The company's account in `currency`, or the first that was named.
fn account(books: &Books, currency: &str) -> String {
    books.account_in(currency).or_else(|| books.accounts().first().cloned()).unwrap_or_default()
}

/// Where takings are booked: what most charges are booked against.
fn sales(books: &Books) -> String {
    books.sales.clone().unwrap_or_else(|| SALES.to_owned())
}

/// `text` as one word of a shell.
fn quoted(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_-./:=@%+,".contains(&byte);
    if !text.is_empty() && text.bytes().all(plain) {
        text.to_owned()
    } else {
        format!("'{}'", text.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::quoted;

    #[test]
    fn a_word_of_a_shell_stays_one_word() {
        assert_eq!(quoted("order=o-17"), "order=o-17");
        assert_eq!(quoted("a b;$(c)"), "'a b;$(c)'");
        assert_eq!(quoted("it's"), r"'it'\''s'");
        assert_eq!(quoted(""), "''");
    }
}
