//! Stored bytes: entries as CBOR with numbered fields (RFC 8949), one after another in a block's body.
//!
//! A field, once given a number, keeps its meaning for ever; new fields get new numbers and must be optional. The golden
//! tests below pin the bytes.

use crate::Entry;
use core::fmt;

/// Why stored bytes are not entries.
#[derive(Debug)]
pub struct DecodeError {
    /// Which entry of the block, from 0.
    pub index: u32,
    source: minicbor::decode::Error,
}

/// Appends `entry` to a block's body.
pub fn encode(entry: &Entry, body: &mut Vec<u8>) {
    minicbor::encode(entry, body).expect("a vector takes every write");
}

/// Reads the `count` entries of a block's body, in order.
///
/// # Errors
/// [`DecodeError`] from the first entry that is not one, or if bytes are left over.
pub fn decode(body: &[u8], count: u32) -> impl Iterator<Item = Result<Entry, DecodeError>> {
    let mut decoder = minicbor::Decoder::new(body);
    let mut failed = false;
    // A body that claims to hold no entry, and is not empty, is read too: to say that bytes are left over.
    let reads = count.max(u32::from(!body.is_empty()));
    (0..reads).map_while(move |index| {
        if failed {
            return None;
        }
        if count == 0 {
            let source = minicbor::decode::Error::message("bytes in a block of no entries");
            return Some(Err(DecodeError { index, source }));
        }
        let mut entry = decoder.decode::<Entry>();
        if index + 1 == count && entry.is_ok() && decoder.position() != body.len() {
            entry = Err(minicbor::decode::Error::message("bytes are left over after the last entry"));
        }
        failed = entry.is_err();
        Some(entry.map_err(|source| DecodeError { index, source }))
    })
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "reading entry {} of a block: {}", self.index, self.source)
    }
}

impl std::error::Error for DecodeError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.source)
    }
}
