//! The two tables of ours in the old database: what they look like, in SQL and in the stream.

use super::pgoutput::{Cell, OldRow, Relation};
use crate::database::Book;
use crate::mapping::Mapping;
use crate::stream::OutboxRow;
use banyan_domain::legacy::Phase;

/// One row per capability: who leads, and how far our writer has come.
pub(super) const SYNC: &str = "banyan_sync";
/// What the old shop asks of Banyan within its own transactions.
pub(super) const OUTBOX: &str = "banyan_outbox";

/// The schema of both: that of the first mapped table, so that the old shop's search path finds them.
pub(super) fn schema(mapping: &Mapping) -> &str {
    mapping.tables.first().and_then(|table| table.name.schema.as_deref()).unwrap_or("public")
}

/// A name in SQL.
pub(super) fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// The name of one of our tables in SQL.
pub(super) fn ours(mapping: &Mapping, table: &str) -> String {
    format!("{}.{table}", quoted(schema(mapping)))
}

/// What makes the tables. Each statement may run again.
pub(super) fn statements(mapping: &Mapping) -> Vec<String> {
    let (sync, outbox) = (ours(mapping, SYNC), ours(mapping, OUTBOX));
    vec![
        format!(
            "create table if not exists {sync} (capability text primary key, phase text not null default 'legacy' \
             check (phase in ('legacy', 'mirror', 'lead', 'retired')), epoch bigint not null default 0, \
             seq bigint not null default 0, move bigint not null default 0, changed_at timestamptz not null default now())"
        ),
        // The stream must tell what the row was before: a moved checkpoint is our writer, anything else is a switch.
        format!("alter table {sync} replica identity full"),
        format!(
            "insert into {sync} (capability) values ('{}') on conflict do nothing",
            mapping.capability.replace('\'', "''")
        ),
        format!(
            "create table if not exists {outbox} (id bigserial primary key, capability text not null, kind text not null, \
             body jsonb not null, made_at timestamptz not null default now())"
        ),
    ]
}

/// A book from the four columns as text.
pub(super) fn book(phase: &str, epoch: i64, seq: i64, move_no: i64) -> Result<Book, String> {
    let number = |name: &str, value: i64| {
        u64::try_from(value).map_err(|_| format!("{SYNC}.{name} is {value}: it must not be negative"))
    };
    Ok(Book {
        phase: Phase::from_word(phase)
            .ok_or_else(|| format!("{SYNC}.phase is {phase:?}, which is no phase"))?,
        epoch: number("epoch", epoch)?,
        seq: number("seq", seq)?,
        move_no: number("move", move_no)?,
    })
}

/// Where the columns of `banyan_sync` are in the stream's rows.
pub(super) struct BookTable {
    at: [usize; 5],
}

/// Where the columns of `banyan_outbox` are in the stream's rows.
pub(super) struct OutboxTable {
    at: [usize; 4],
}

impl BookTable {
    pub(super) fn of(relation: &Relation) -> Result<Self, String> {
        Ok(Self { at: places(relation, ["capability", "phase", "epoch", "seq", "move"])? })
    }

    /// The row before and after an update, if it is that of `capability`.
    pub(super) fn pair(
        &self,
        old: Option<&OldRow<'_>>,
        new: &[Cell<'_>],
        capability: &str,
    ) -> Result<Option<(Book, Book)>, String> {
        let Some(OldRow::Full(old)) = old else {
            return Err(format!(
                "{SYNC} no longer has REPLICA IDENTITY FULL; `banyan legacy check --create` puts it back"
            ));
        };
        let [name, ..] = self.at;
        if texts(new, [name])? != [capability] {
            return Ok(None);
        }
        Ok(Some((self.book(old)?, self.book(new)?)))
    }

    fn book(&self, cells: &[Cell<'_>]) -> Result<Book, String> {
        let [_, phase, epoch, seq, move_no] = texts(cells, self.at)?;
        let number = |text: &str| {
            text.parse::<i64>().map_err(|_| format!("{SYNC} holds {text:?} where a number belongs"))
        };
        book(phase, number(epoch)?, number(seq)?, number(move_no)?)
    }
}

impl OutboxTable {
    pub(super) fn of(relation: &Relation) -> Result<Self, String> {
        Ok(Self { at: places(relation, ["id", "capability", "kind", "body"])? })
    }

    /// A new row, if it is for `capability`.
    pub(super) fn row(&self, new: &[Cell<'_>], capability: &str) -> Result<Option<OutboxRow>, String> {
        let [id, of, kind, body] = texts(new, self.at)?;
        if of != capability {
            return Ok(None);
        }
        let id = id.parse().map_err(|_| format!("{OUTBOX}.id is {id:?}, which is no number"))?;
        Ok(Some(OutboxRow { id, kind: kind.to_owned(), body: body.to_owned() }))
    }
}

fn places<const N: usize>(relation: &Relation, names: [&str; N]) -> Result<[usize; N], String> {
    let mut at = [0; N];
    for (place, name) in at.iter_mut().zip(names) {
        let found = relation.columns.iter().position(|column| column.name == name);
        *place = found.ok_or_else(|| {
            format!("our own table {} has no column {name}; it is not as we made it", relation.name)
        })?;
    }
    Ok(at)
}

fn texts<'a, const N: usize>(cells: &[Cell<'a>], at: [usize; N]) -> Result<[&'a str; N], String> {
    let mut texts = [""; N];
    for (text, at) in texts.iter_mut().zip(at) {
        *text = match cells.get(at) {
            Some(Cell::Text(text)) => text,
            _ => return Err("a row of our own tables is not whole".to_owned()),
        };
    }
    Ok(texts)
}
