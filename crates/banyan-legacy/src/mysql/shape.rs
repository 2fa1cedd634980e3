//! The columns of a table as the old database has them now, and their values: in answers to queries and in the binary log,
//! where integers have lost their sign and text is in the column's own character set.

use super::server::{STATEMENT_MAX, Session, within};
use crate::database::LegacyError;
use mysql_async::binlog::events::{OptionalMetadataField, TableMapEvent};
use mysql_async::consts::ColumnType;
use mysql_async::prelude::Queryable;
use mysql_async::{Row, Value};

/// A table's columns, in their order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Shape {
    pub(super) columns: Vec<Column>,
}

/// One column.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Column {
    pub(super) name: String,
    /// Its type, as the database writes it: `int(10) unsigned`.
    pub(super) type_text: String,
    pub(super) kind: Kind,
    pub(super) nullable: bool,
}

/// What a column holds, as far as we can use it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// A whole number of so many bytes.
    Integer {
        /// 1, 2, 3, 4 or 8.
        bytes: u8,
        /// Whether it has no sign.
        unsigned: bool,
    },
    /// A decimal without digits after the point.
    Decimal,
    /// Text.
    Text(Charset),
    /// Anything else.
    Other,
}

/// A character set, as far as we can read it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Charset {
    /// `utf8mb4`, `utf8mb3`, `ascii`.
    Utf8,
    /// `latin1`, which is Windows-1252 here.
    Latin1,
}

/// Where a value comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    /// The answer to a query.
    Query,
    /// The binary log.
    Log,
}

/// The characters of Windows-1252 from 0x80 to 0x9f; MySQL gives the five unused ones the control characters' numbers.
const WINDOWS_1252: [char; 32] = [
    '€', '\u{81}', '‚', 'ƒ', '„', '…', '†', '‡', 'ˆ', '‰', 'Š', '‹', 'Œ', '\u{8d}', 'Ž', '\u{8f}', '\u{90}',
    '‘', '’', '“', '”', '•', '–', '—', '˜', '™', 'š', '›', 'œ', '\u{9d}', 'ž', 'Ÿ',
];

impl Shape {
    /// Reads the columns of a table; none if there is no such table.
    pub(super) async fn read(session: &mut Session, schema: &str, table: &str) -> Result<Self, LegacyError> {
        let sql = "select column_name, data_type, column_type, character_set_name, numeric_scale, is_nullable \
                   from information_schema.columns where table_schema = ? and table_name = ? order by ordinal_position";
        let doing = format!("reading the columns of {schema}.{table}");
        let rows: Vec<Row> = within(&doing, STATEMENT_MAX, session.conn.exec(sql, (schema, table))).await?;
        let columns = rows.into_iter().map(|row| {
            let text = |at: usize| row.get_opt::<Option<String>, usize>(at).and_then(Result::ok).flatten();
            let scale = row.get_opt::<Option<u64>, usize>(4).and_then(Result::ok).flatten();
            let type_text = text(2).unwrap_or_default();
            let kind = kind(&text(1).unwrap_or_default(), &type_text, text(3).as_deref(), scale);
            let nullable = text(5).is_none_or(|answer| answer.eq_ignore_ascii_case("yes"));
            Column { name: text(0).unwrap_or_default(), type_text, kind, nullable }
        });
        Ok(Self { columns: columns.collect() })
    }

    /// The place of a column.
    pub(super) fn find(&self, name: &str) -> Option<usize> {
        // Column names have no case in either dialect.
        self.columns.iter().position(|column| column.name.eq_ignore_ascii_case(name))
    }

    /// Whether the log's own description of the table is of these columns, as far as `used` goes.
    pub(super) fn fits(&self, map: &TableMapEvent<'_>, used: &[usize]) -> Result<(), String> {
        let count = usize::try_from(map.columns_count()).unwrap_or(usize::MAX);
        if count != self.columns.len() {
            return Err(format!("it had {count} columns there, and has {} now", self.columns.len()));
        }
        for field in map.iter_optional_meta() {
            let Ok(OptionalMetadataField::ColumnName(names)) = field else { continue };
            for (column, name) in self.columns.iter().zip(names.iter_names()) {
                let name = name.map_err(|error| format!("its column names cannot be read: {error}"))?;
                if !column.name.eq_ignore_ascii_case(&name.name()) {
                    return Err(format!("its column {} was called {} there", column.name, name.name()));
                }
            }
        }
        for at in used {
            let found = map.get_column_type(*at).ok().flatten();
            let column = &self.columns[*at];
            if !found.is_some_and(|found| column.kind.is_stored_as(found)) {
                return Err(format!("its column {} was of another type there", column.name));
            }
        }
        Ok(())
    }
}

impl Column {
    /// The value as a name: a SKU, a place, a part of a key. Null is the empty name.
    pub(super) fn name_of(&self, value: &Value, origin: Origin) -> Result<String, String> {
        match (self.kind, value) {
            (_, Value::NULL) => Ok(String::new()),
            (Kind::Integer { .. }, _) => Ok(self.integer(value, origin)?.to_string()),
            (Kind::Decimal, _) => Ok(self.number_of(value, origin)?.unwrap_or_default().to_string()),
            (Kind::Text(charset), Value::Bytes(bytes)) => self.text(bytes, charset, origin),
            _ => Err(self.cannot(value)),
        }
    }

    /// The value as a number.
    pub(super) fn number_of(&self, value: &Value, origin: Origin) -> Result<Option<i64>, String> {
        let number = match (self.kind, value) {
            (_, Value::NULL) => return Ok(None),
            (Kind::Integer { .. }, _) => i64::try_from(self.integer(value, origin)?).ok(),
            (Kind::Decimal, Value::Bytes(bytes)) => {
                std::str::from_utf8(bytes).ok().and_then(|text| text.parse().ok())
            }
            _ => None,
        };
        number.map(Some).ok_or_else(|| self.cannot(value))
    }

    fn integer(&self, value: &Value, origin: Origin) -> Result<i128, String> {
        let Kind::Integer { bytes, unsigned } = self.kind else { return Err(self.cannot(value)) };
        let whole = match value {
            Value::Int(number) => i128::from(*number),
            Value::UInt(number) => i128::from(*number),
            _ => return Err(self.cannot(value)),
        };
        if origin == Origin::Query {
            return Ok(whole);
        }
        // The log has the bytes, and not always whether they have a sign; the table knows.
        let range = 1_i128 << (8 * u32::from(bytes));
        let raw = whole.rem_euclid(range);
        Ok(if unsigned || raw < range / 2 { raw } else { raw - range })
    }

    fn text(&self, bytes: &[u8], charset: Charset, origin: Origin) -> Result<String, String> {
        if origin == Origin::Log && charset == Charset::Latin1 {
            let character = |byte: &u8| match byte {
                0x80..=0x9f => WINDOWS_1252[usize::from(byte - 0x80)],
                byte => char::from(*byte),
            };
            return Ok(bytes.iter().map(character).collect());
        }
        let text = std::str::from_utf8(bytes);
        text.map(str::to_owned).map_err(|_| format!("column {} holds bytes that are no text", self.name))
    }

    fn cannot(&self, value: &Value) -> String {
        format!(
            "column {} of type {} holds {}, which cannot be used",
            self.name,
            self.type_text,
            value.as_sql(true)
        )
    }
}

impl Kind {
    /// Whether it can be a number of units.
    pub(super) fn is_number(self) -> bool {
        matches!(self, Self::Integer { .. } | Self::Decimal)
    }

    /// Whether it can name something.
    pub(super) fn is_name(self) -> bool {
        self != Self::Other
    }

    fn is_stored_as(self, found: ColumnType) -> bool {
        use ColumnType::{
            MYSQL_TYPE_BLOB, MYSQL_TYPE_INT24, MYSQL_TYPE_LONG, MYSQL_TYPE_LONGLONG, MYSQL_TYPE_NEWDECIMAL,
            MYSQL_TYPE_SHORT, MYSQL_TYPE_STRING, MYSQL_TYPE_TINY, MYSQL_TYPE_VAR_STRING, MYSQL_TYPE_VARCHAR,
        };
        match self {
            Self::Integer { bytes: 1, .. } => found == MYSQL_TYPE_TINY,
            Self::Integer { bytes: 2, .. } => found == MYSQL_TYPE_SHORT,
            Self::Integer { bytes: 3, .. } => found == MYSQL_TYPE_INT24,
            Self::Integer { bytes: 4, .. } => found == MYSQL_TYPE_LONG,
            Self::Integer { .. } => found == MYSQL_TYPE_LONGLONG,
            Self::Decimal => found == MYSQL_TYPE_NEWDECIMAL,
            Self::Text(_) => {
                let texts = [MYSQL_TYPE_VARCHAR, MYSQL_TYPE_VAR_STRING, MYSQL_TYPE_STRING, MYSQL_TYPE_BLOB];
                texts.contains(&found)
            }
            Self::Other => false,
        }
    }
}

fn kind(data_type: &str, type_text: &str, charset: Option<&str>, scale: Option<u64>) -> Kind {
    let unsigned = type_text.to_ascii_lowercase().contains("unsigned");
    let integer = |bytes| Kind::Integer { bytes, unsigned };
    match data_type.to_ascii_lowercase().as_str() {
        "tinyint" => integer(1),
        "smallint" => integer(2),
        "mediumint" => integer(3),
        "int" => integer(4),
        "bigint" => integer(8),
        "decimal" if scale == Some(0) => Kind::Decimal,
        "char" | "varchar" | "tinytext" | "text" | "mediumtext" | "longtext" => match charset {
            Some("utf8mb4" | "utf8mb3" | "utf8" | "ascii") => Kind::Text(Charset::Utf8),
            Some("latin1") => Kind::Text(Charset::Latin1),
            _ => Kind::Other,
        },
        _ => Kind::Other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn column(data_type: &str, type_text: &str, charset: Option<&str>) -> Column {
        let kind = kind(data_type, type_text, charset, Some(0));
        Column { name: "a".into(), type_text: type_text.into(), kind, nullable: true }
    }

    #[test]
    fn integers_of_the_log_get_their_sign_from_the_table() {
        for (data_type, bytes) in
            [("tinyint", 1), ("smallint", 2), ("mediumint", 3), ("int", 4), ("bigint", 8)]
        {
            let signed = column(data_type, data_type, None);
            let unsigned = column(data_type, &format!("{data_type} unsigned"), None);
            let least = i64::MIN >> (64 - 8 * bytes);
            assert_eq!(signed.number_of(&Value::Int(least), Origin::Log), Ok(Some(least)));
            assert_eq!(signed.number_of(&Value::Int(-1), Origin::Log), Ok(Some(-1)));
            assert_eq!(unsigned.number_of(&Value::Int(7), Origin::Log), Ok(Some(7)));
            let most = unsigned.name_of(&Value::Int(-1), Origin::Log).expect("a number");
            assert_eq!(most, ((1_i128 << (8 * bytes)) - 1).to_string());
        }
        let big = column("bigint", "bigint(20) unsigned", None);
        let error = big.number_of(&Value::UInt(u64::MAX), Origin::Query).expect_err("more than we can hold");
        assert!(error.contains("18446744073709551615"), "{error}");
    }

    #[test]
    fn text_of_the_log_is_in_the_columns_character_set() {
        let latin = column("varchar", "varchar(9)", Some("latin1"));
        let bytes = Value::Bytes(vec![b'A', 0xe9, 0x80]);
        assert_eq!(latin.name_of(&bytes, Origin::Log).as_deref(), Ok("Aé€"));
        let unicode = column("char", "char(9)", Some("utf8mb4"));
        assert_eq!(unicode.name_of(&Value::Bytes("Aé€".into()), Origin::Log).as_deref(), Ok("Aé€"));
        assert!(unicode.name_of(&bytes, Origin::Log).is_err());
        assert_eq!(unicode.name_of(&Value::NULL, Origin::Log).as_deref(), Ok(""));
        assert_eq!(column("varchar", "varchar(9)", Some("sjis")).kind, Kind::Other);
        assert_eq!(column("varbinary", "varbinary(9)", None).kind, Kind::Other);
    }

    #[test]
    fn decimals_count_only_whole() {
        let whole = column("decimal", "decimal(10,0)", None);
        assert_eq!(whole.number_of(&Value::Bytes(b"-12".to_vec()), Origin::Log), Ok(Some(-12)));
        assert_eq!(kind("decimal", "decimal(10,2)", None, Some(2)), Kind::Other);
        assert!(!column("double", "double", None).kind.is_number());
    }
}
