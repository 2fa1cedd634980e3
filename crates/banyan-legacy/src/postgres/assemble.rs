//! From the stream's messages to items: transactions in parts, the marks of our own writer, and what the schema became.
//! Pure: it is given what came, and remembers only the transaction under way and what tables look like.

use super::bookkeeping::{self, BookTable, OutboxTable};
use super::marker;
use super::pgoutput::{self, Message, Relation};
use super::rows::{Layout, mapped};
use crate::database::Book;
use crate::mapping::Mapping;
use crate::stream::{Change, Item, Row, Transaction};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Changes and outbox rows in one part of a transaction: what is held in memory of it at most. A row that is renamed makes
/// two rows of a command.
pub(super) const PART_CHANGES_MAX: usize = banyan_domain::limits::SOURCE_ROWS_MAX / 2;
/// Microseconds from 1970 to 2000, where Postgres begins to count.
const EPOCH_MICROS: i64 = 946_684_800_000_000;

/// What was told, other than rows.
pub(super) enum Boundary {
    /// A transaction begins whose commit is at this position.
    Begin { commit: u64, micros: i64 },
    /// It ends.
    Commit,
}

/// Why the stream stops here.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Halt {
    /// Not what a server of this protocol sends.
    Garbled(String),
    /// A mapped table is not what the mapping says.
    Schema(String),
}

/// Puts transactions together.
pub(super) struct Assembler {
    mapping: Arc<Mapping>,
    relations: BTreeMap<u32, Known>,
    open: Option<Transaction>,
    /// What our writer says it writes in the transaction under way.
    written: BTreeMap<Target, (i64, i64)>,
    /// Whether the mapped tables have to be as the mapping says: not where nobody needs them any more.
    needs_tables: bool,
}

/// Table, SKU and location.
type Target = (usize, String, String);

enum Known {
    Mapped(Layout, usize),
    Book(BookTable),
    Outbox(OutboxTable),
    Other,
}

impl Assembler {
    pub(super) const fn new(mapping: Arc<Mapping>, needs_tables: bool) -> Self {
        Self { mapping, relations: BTreeMap::new(), open: None, written: BTreeMap::new(), needs_tables }
    }

    /// Whether a transaction is under way: what the server says of its position then does not mean that all is sent.
    pub(super) const fn is_open(&self) -> bool {
        self.open.is_some()
    }

    /// A transaction begins or ends. Gives its last part, if it holds anything that matters.
    pub(super) fn boundary(&mut self, boundary: &Boundary) -> Result<Option<Item>, Halt> {
        match boundary {
            Boundary::Begin { commit, micros } => {
                if self.open.is_some() {
                    return Err(Halt::Garbled("a transaction began within another".to_owned()));
                }
                let millis = u64::try_from(micros.saturating_add(EPOCH_MICROS) / 1_000).unwrap_or(0);
                self.open = Some(Transaction {
                    position: *commit,
                    part: 1,
                    committed_millis: millis,
                    ..Transaction::default()
                });
                self.written.clear();
                Ok(None)
            }
            Boundary::Commit => {
                let open = self.open.take();
                let mut done =
                    open.ok_or_else(|| Halt::Garbled("a transaction ended that did not begin".to_owned()))?;
                done.last = true;
                let empty = done.changes.is_empty() && done.outbox.is_empty() && done.part == 1;
                let tells = !empty || done.ours.is_some() || done.switched.is_some();
                Ok(match (tells, done.echoes) {
                    (true, _) => Some(Item::Transaction(done)),
                    // Nothing but a message of ours: whoever sent it waits to hear that the stream has come this far.
                    (false, Some(_)) => Some(Item::Idle { position: done.position }),
                    (false, None) => None,
                })
            }
        }
    }

    /// A message within a transaction. Gives a part when it is full.
    pub(super) fn message(&mut self, bytes: &[u8]) -> Result<Option<Item>, Halt> {
        match pgoutput::read(bytes).map_err(Halt::Garbled)? {
            Message::Relation(relation) => {
                let known = self.known(&relation)?;
                self.relations.insert(relation.id, known);
            }
            Message::Insert { relation, new } => match self.relation(relation)? {
                Known::Mapped(layout, _) => {
                    let change = layout.insert(&new);
                    self.mapped(change)?;
                }
                Known::Outbox(table) => {
                    if let Some(row) = table.row(&new, &self.mapping.capability).map_err(Halt::Schema)? {
                        self.transaction()?.outbox.push(row);
                    }
                }
                Known::Book(_) | Known::Other => {}
            },
            Message::Update { relation, old, new } => match self.relation(relation)? {
                Known::Mapped(layout, _) => {
                    let change = layout.update(old.as_ref(), &new);
                    self.mapped(change)?;
                }
                Known::Book(table) => {
                    let pair =
                        table.pair(old.as_ref(), &new, &self.mapping.capability).map_err(Halt::Schema)?;
                    if let Some((before, after)) = pair {
                        self.book(before, after)?;
                    }
                }
                Known::Outbox(_) | Known::Other => {}
            },
            Message::Delete { relation, old } => {
                if let Known::Mapped(layout, _) = self.relation(relation)? {
                    let change = layout.delete(&old);
                    self.mapped(change)?;
                }
            }
            Message::Truncate { relations } => {
                for relation in relations {
                    if let Known::Mapped(_, table) = self.relation(relation)? {
                        let table = *table;
                        self.change(Change::Truncate { table })?;
                    }
                }
            }
            // The mark that counts is the bookkeeping row: it is there whatever our rights are. But the time of the commit is then
            // what its session said of the origin: Postgres gives a session that says nothing that of its first commit, for ever.
            Message::Origin { .. } => self.transaction()?.committed_millis = 0,
            Message::Other => {}
        }
        Ok(self.full_part())
    }

    fn known(&self, relation: &Relation) -> Result<Known, Halt> {
        if let Some(table) = mapped(&self.mapping, relation) {
            return match Layout::of(table, &self.mapping.tables[table], relation) {
                Ok(layout) => Ok(Known::Mapped(layout, table)),
                Err(what) if self.needs_tables => Err(Halt::Schema(what)),
                // It comes described anew when it is put right.
                Err(_) => Ok(Known::Other),
            };
        }
        if !self.mapping.database.bookkeeping || relation.schema != bookkeeping::schema(&self.mapping) {
            return Ok(Known::Other);
        }
        match relation.name.as_str() {
            bookkeeping::SYNC => BookTable::of(relation).map(Known::Book).map_err(Halt::Schema),
            bookkeeping::OUTBOX => OutboxTable::of(relation).map(Known::Outbox).map_err(Halt::Schema),
            _ => Ok(Known::Other),
        }
    }

    fn relation(&self, id: u32) -> Result<&Known, Halt> {
        self.relations
            .get(&id)
            .ok_or_else(|| Halt::Garbled(format!("a row of table {id}, which was not described")))
    }

    fn transaction(&mut self) -> Result<&mut Transaction, Halt> {
        self.open.as_mut().ok_or_else(|| Halt::Garbled("a row outside of a transaction".to_owned()))
    }

    /// A message that a session put into its transaction. Ours says what it is about to write.
    pub(super) fn marked(&mut self, prefix: &str, content: &[u8]) {
        if prefix != marker::PREFIX {
            return;
        }
        let (Some(open), Some(rows)) = (self.open.as_mut(), marker::read(content)) else { return };
        open.echoes.get_or_insert(0);
        self.written.extend(rows);
    }

    /// A change of a mapped row, if it can be read.
    fn mapped(&mut self, change: Result<Change, String>) -> Result<(), Halt> {
        match change {
            Ok(change) => self.change(change),
            Err(what) if self.needs_tables => Err(Halt::Schema(what)),
            Err(_) => Ok(()),
        }
    }

    /// What came back as our writer wrote it is an echo, once. Everything else is somebody's change.
    fn change(&mut self, change: Change) -> Result<(), Halt> {
        let echo = match &change {
            Change::Update { after, .. } => self.is_echo(after),
            _ => false,
        };
        let open = self.transaction()?;
        match &mut open.echoes {
            Some(echoes) if echo => *echoes += 1,
            _ => open.changes.push(change),
        }
        Ok(())
    }

    fn is_echo(&mut self, after: &Row) -> bool {
        let target = (after.table, after.sku.clone(), after.location.clone());
        let one_column = self.mapping.tables.get(after.table).is_some_and(|table| table.allocated.is_none());
        let same = |(in_stock, allocated): &(i64, i64)| {
            after.in_stock == Some(*in_stock) && (one_column || after.allocated == Some(*allocated))
        };
        if self.written.get(&target).is_some_and(same) {
            self.written.remove(&target).is_some()
        } else {
            false
        }
    }

    /// Our writer moves the checkpoint and nothing else; a switch moves everything else.
    fn book(&mut self, before: Book, after: Book) -> Result<(), Halt> {
        let open = self.transaction()?;
        let led = |book: &Book| (book.phase, book.epoch, book.move_no);
        if led(&before) == led(&after) {
            open.ours = Some((after.seq, after.epoch));
        } else {
            open.switched = Some(after);
            self.needs_tables = self.mapping.needs_tables(after.phase);
        }
        Ok(())
    }

    fn full_part(&mut self) -> Option<Item> {
        let open = self.open.as_mut()?;
        if open.changes.len() + open.outbox.len() < PART_CHANGES_MAX {
            return None;
        }
        let next = Transaction {
            position: open.position,
            part: open.part + 1,
            committed_millis: open.committed_millis,
            ours: open.ours,
            echoes: open.echoes.map(|_| 0),
            ..Transaction::default()
        };
        Some(Item::Transaction(std::mem::replace(open, next)))
    }
}
