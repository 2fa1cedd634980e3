//! The messages of `pgoutput`, protocol version 1, as the server sends them. Pure: bytes in, a message out.

/// One message, as far as it matters here. Texts borrow from the bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Message<'a> {
    /// What a table looks like from here on.
    Relation(Relation),
    /// A new row.
    Insert { relation: u32, new: Vec<Cell<'a>> },
    /// A changed row.
    Update { relation: u32, old: Option<OldRow<'a>>, new: Vec<Cell<'a>> },
    /// A deleted row.
    Delete { relation: u32, old: OldRow<'a> },
    /// Every row of these tables is gone.
    Truncate { relations: Vec<u32> },
    /// The transaction's changes were made by a session with this replication origin.
    Origin { name: &'a str },
    /// Types and whatever else tells nothing about mapped rows.
    Other,
}

/// A table as the stream describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Relation {
    /// Its number in messages.
    pub(super) id: u32,
    /// Its schema.
    pub(super) schema: String,
    /// Its name.
    pub(super) name: String,
    /// Its columns, in the order of rows.
    pub(super) columns: Vec<Column>,
}

/// A column of a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Column {
    /// Its name.
    pub(super) name: String,
    /// The number of its type.
    pub(super) type_oid: u32,
    /// The type's modifier, such as a length; -1 for none.
    pub(super) modifier: i32,
}

/// What a row was before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum OldRow<'a> {
    /// The whole row (`REPLICA IDENTITY FULL`).
    Full(Vec<Cell<'a>>),
    /// Only the columns of its identity; the others are null here and tell nothing.
    Key(Vec<Cell<'a>>),
}

/// One column of a row. "Unchanged" is not a value: it is a large value that was stored apart and did not change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cell<'a> {
    /// Null.
    Null,
    /// Stored apart, and not sent again.
    Unchanged,
    /// The value as text.
    Text(&'a str),
}

/// Reads one message.
pub(super) fn read(bytes: &[u8]) -> Result<Message<'_>, String> {
    let mut from = Reader { bytes, at: 0 };
    let kind = from.byte()?;
    let message = match kind {
        b'R' => relation(&mut from)?,
        b'I' => {
            let relation = from.u32()?;
            from.expect(b'N')?;
            Message::Insert { relation, new: from.row()? }
        }
        b'U' => update(&mut from)?,
        b'D' => {
            let relation = from.u32()?;
            let old = match from.byte()? {
                b'O' => OldRow::Full(from.row()?),
                b'K' => OldRow::Key(from.row()?),
                other => return Err(from.fault(&format!("a delete with the mark {other}"))),
            };
            Message::Delete { relation, old }
        }
        b'T' => {
            let count = from.u32()?;
            from.byte()?;
            let relations = (0..count).map(|_| from.u32()).collect::<Result<_, _>>()?;
            Message::Truncate { relations }
        }
        b'O' => {
            from.u64()?;
            Message::Origin { name: from.text()? }
        }
        b'Y' | b'M' => return Ok(Message::Other),
        other => {
            return Err(
                from.fault(&format!("the kind {:?}, which protocol version 1 does not have", other as char))
            );
        }
    };
    if from.at == bytes.len() { Ok(message) } else { Err(from.fault("bytes after its end")) }
}

fn relation<'a>(from: &mut Reader<'a>) -> Result<Message<'a>, String> {
    let id = from.u32()?;
    let schema = from.text()?.to_owned();
    let name = from.text()?.to_owned();
    from.byte()?;
    let count = from.u16()?;
    let mut columns = Vec::with_capacity(usize::from(count));
    for _ in 0..count {
        from.byte()?;
        let name = from.text()?.to_owned();
        let type_oid = from.u32()?;
        let modifier = from.u32()?.cast_signed();
        columns.push(Column { name, type_oid, modifier });
    }
    Ok(Message::Relation(Relation { id, schema, name, columns }))
}

fn update<'a>(from: &mut Reader<'a>) -> Result<Message<'a>, String> {
    let relation = from.u32()?;
    let old = match from.byte()? {
        b'N' => return Ok(Message::Update { relation, old: None, new: from.row()? }),
        b'O' => OldRow::Full(from.row()?),
        b'K' => OldRow::Key(from.row()?),
        other => return Err(from.fault(&format!("an update with the mark {other}"))),
    };
    from.expect(b'N')?;
    Ok(Message::Update { relation, old: Some(old), new: from.row()? })
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8], String> {
        let end = self.at.checked_add(count).filter(|end| *end <= self.bytes.len());
        let end = end.ok_or_else(|| self.fault("too few bytes"))?;
        let taken = &self.bytes[self.at..end];
        self.at = end;
        Ok(taken)
    }

    fn byte(&mut self) -> Result<u8, String> {
        Ok(self.take(1)?[0])
    }

    fn u16(&mut self) -> Result<u16, String> {
        let bytes = self.take(2)?;
        Ok(u16::from_be_bytes([bytes[0], bytes[1]]))
    }

    fn u32(&mut self) -> Result<u32, String> {
        let bytes = self.take(4)?;
        Ok(u32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))
    }

    fn u64(&mut self) -> Result<u64, String> {
        Ok(u64::from(self.u32()?) << 32 | u64::from(self.u32()?))
    }

    /// A text that ends with a zero byte.
    fn text(&mut self) -> Result<&'a str, String> {
        let rest = &self.bytes[self.at..];
        let length =
            rest.iter().position(|byte| *byte == 0).ok_or_else(|| self.fault("a text without end"))?;
        let text =
            std::str::from_utf8(&rest[..length]).map_err(|_| self.fault("a text that is not UTF-8"))?;
        self.at += length + 1;
        Ok(text)
    }

    fn row(&mut self) -> Result<Vec<Cell<'a>>, String> {
        let count = self.u16()?;
        let mut cells = Vec::with_capacity(usize::from(count));
        for _ in 0..count {
            cells.push(match self.byte()? {
                b'n' => Cell::Null,
                b'u' => Cell::Unchanged,
                b't' => {
                    let length =
                        usize::try_from(self.u32()?).map_err(|_| self.fault("a length beyond memory"))?;
                    let text = self.take(length)?;
                    Cell::Text(
                        std::str::from_utf8(text).map_err(|_| self.fault("a value that is not UTF-8"))?,
                    )
                }
                other => return Err(self.fault(&format!("a value of the kind {other}"))),
            });
        }
        Ok(cells)
    }

    fn expect(&mut self, mark: u8) -> Result<(), String> {
        let found = self.byte()?;
        if found == mark { Ok(()) } else { Err(self.fault(&format!("the mark {found} instead of {mark}"))) }
    }

    fn fault(&self, what: &str) -> String {
        let kind = self.bytes.first().map_or('?', |byte| *byte as char);
        format!("a message {kind:?} of the stream has {what}, at byte {} of {}", self.at, self.bytes.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cell(text: Option<&str>) -> Vec<u8> {
        match text {
            None => b"n".to_vec(),
            Some("<unchanged>") => b"u".to_vec(),
            Some(text) => {
                [b"t", &u32::try_from(text.len()).expect("short").to_be_bytes()[..], text.as_bytes()].concat()
            }
        }
    }

    fn row(mark: u8, cells: &[Option<&str>]) -> Vec<u8> {
        let count = u16::try_from(cells.len()).expect("few").to_be_bytes();
        [&[mark][..], &count, &cells.iter().flat_map(|text| cell(*text)).collect::<Vec<_>>()].concat()
    }

    #[test]
    fn an_update_tells_null_unchanged_and_text_apart() {
        let old = row(b'O', &[Some("1"), None]);
        let new = row(b'N', &[Some("1"), Some("<unchanged>")]);
        let bytes = [&b"U\0\0\0\x07"[..], &old, &new].concat();
        let old = Some(OldRow::Full(vec![Cell::Text("1"), Cell::Null]));
        let new = vec![Cell::Text("1"), Cell::Unchanged];
        assert_eq!(read(&bytes), Ok(Message::Update { relation: 7, old, new }));
    }

    #[test]
    fn a_relation_has_its_columns_with_their_types() {
        let bytes = [
            &b"R\0\0\0\x07public\0stock\0d\0\x01\x01sku\0"[..],
            &1043u32.to_be_bytes(),
            &68i32.to_be_bytes(),
        ];
        let column = Column { name: "sku".into(), type_oid: 1043, modifier: 68 };
        let relation =
            Relation { id: 7, schema: "public".into(), name: "stock".into(), columns: vec![column] };
        assert_eq!(read(&bytes.concat()), Ok(Message::Relation(relation)));
    }

    #[test]
    fn no_prefix_of_a_message_is_taken_for_one_and_none_panics() {
        let old = row(b'K', &[Some("1"), None]);
        let bytes = [&b"U\0\0\0\x07"[..], &old, &row(b'N', &[Some("22"), None])].concat();
        for length in 0..bytes.len() {
            assert!(read(&bytes[..length]).is_err(), "{length}");
        }
        assert!(read(&[&bytes[..], b"x"].concat()).expect_err("too long").contains("after its end"));
        for kind in 0..=u8::MAX {
            let _no_panic = read(&[kind, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]);
        }
    }
}
