//! Mapping files, good and bad.

use super::*;

const OSCAR: &str = r#"
capability = "stock"
[database]
kind = "postgres"
url_file = "legacy.url"
slot = "banyan_stock"
[[table]]
name = "public.partner_stockrecord"
key = ["id"]
sku = "partner_sku"
location = { column = "partner_id" }
in_stock = "num_in_stock"
allocated = "num_allocated"
[watch]
lag_millis_max = 500
"#;

fn read(text: &str) -> Result<Mapping, InvalidMapping> {
    Mapping::read(text, Path::new("/etc/shop"))
}

#[test]
fn a_whole_file_is_read() {
    let mapping = read(OSCAR).expect("well-formed");
    assert_eq!(mapping.database.connection, Connection::File("/etc/shop/legacy.url".into()));
    assert!(mapping.database.bookkeeping);
    let table = &mapping.tables[0];
    assert_eq!(table.name.to_string(), "public.partner_stockrecord");
    assert_eq!(table.columns(), ["id", "partner_sku", "partner_id", "num_in_stock", "num_allocated"]);
    assert_eq!(mapping.watch.lag_max, Duration::from_millis(500));
    assert_eq!(mapping.watch.wal_bytes_max, 1 << 30);
}

#[test]
fn a_table_without_schema_is_in_public_on_postgres_only() {
    let plain = OSCAR.replace("public.partner_stockrecord", "stockrecord");
    assert_eq!(read(&plain).expect("postgres").tables[0].name.schema.as_deref(), Some("public"));
    let mysql = plain.replace("\"postgres\"", "\"mysql\"\nserver_id = 7");
    assert_eq!(read(&mysql).expect("mysql").tables[0].name.schema, None);
}

/// Replaces `from` by `to` in the good file, and expects the fault at `line` to say `says`.
#[track_caller]
fn check(from: &str, to: &str, line: usize, says: &str) {
    assert!(OSCAR.contains(from), "the good file has no {from:?}");
    let fault = read(&OSCAR.replace(from, to)).expect_err("must be refused");
    assert!(fault.line == line && fault.why.contains(says), "{fault}");
}

#[test]
fn faults_say_line_and_reason() {
    check("\"stock\"\n", "\"wallet\"\n", 2, "the only one that can move today");
    check("\"postgres\"", "\"oracle\"", 3, "say \"postgres\"");
    check("\"postgres\"", "\"mysql\"", 3, "server_id is missing");
    check("url_file = \"legacy.url\"", "", 3, "either url_file or url_env");
    check("url_file = \"legacy.url\"", "url_file = \"a\"\nurl_env = \"B\"", 3, "either url_file or url_env");
    check("url_file = \"legacy.url\"", "url = \"postgres://me:secret@x/y\"", 5, "unknown field `url`");
    check("banyan_stock", "Banyan-Stock", 3, "lower-case letters");
    check("public.partner_stockrecord", "a.b.c", 7, "schema.table");
    check("public.partner_stockrecord", "public.\\\"x", 7, "without quotes");
    check("[\"id\"]", "[]", 7, "key is empty");
    check("\"partner_sku\"", "\"\"", 7, "not the name of a column");
    check("\"num_allocated\"", "\"num_in_stock\"", 7, "another role");
    check("\"num_in_stock\"", "\"partner_sku\"", 7, "another role");
    check("{ column = \"partner_id\" }", "\"no such place!\"", 7, "location");
    check("{ column = \"partner_id\" }", "{ row = \"partner_id\" }", 11, "the name of a place");
    check("lag_millis_max = 500", "lag_millis_max = 0", 14, "greater than 0");
    check("lag_millis_max = 500", "wal_bytes_drop = 5", 14, "first the alarm");
}

#[test]
fn two_tables_cannot_hold_the_same_item() {
    let table =
        OSCAR.split("[[table]]").nth(1).and_then(|rest| rest.split("[watch]").next()).expect("there is one");
    let twice = format!("{}\n[[table]]{table}", OSCAR.split("[watch]").next().expect("there is one"));
    assert!(read(&twice).expect_err("twice").why.contains("mapped twice"));
    let other = twice.replacen("public.partner_stockrecord", "public.other", 1);
    assert!(read(&other).is_ok(), "a location column keeps them apart, as far as the file can say");
    let constant = other.replace("{ column = \"partner_id\" }", "\"main\"");
    assert!(read(&constant).expect_err("same place").why.contains("an item could be in both"));
}

#[test]
fn the_address_is_one_line_and_never_shown() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("legacy.url");
    let connection = Connection::File(path.clone());
    assert!(connection.address().expect_err("absent").contains("legacy.url"));
    std::fs::write(&path, "postgres://shop:secret@db/shop\n").expect("written");
    assert_eq!(connection.address().as_deref(), Ok("postgres://shop:secret@db/shop"));
    std::fs::write(&path, "postgres://shop:secret@db/shop\nmore\n").expect("written");
    let why = connection.address().expect_err("two lines");
    assert!(!why.contains("secret"), "{why}");
    assert!(!format!("{:?}", read(OSCAR)).contains("secret"));
}
