//! Stored bytes: entries as CBOR with numbered fields (RFC 8949), one after another in a block's body.
//!
//! A field, once given a number, keeps its meaning for ever; new fields get new numbers and must be optional. The golden
//! tests below pin the bytes.

use crate::{Entry, Event};
use core::fmt;

/// Why stored bytes are not entries.
#[derive(Debug)]
pub struct DecodeError {
    /// Which entry of the block, from 0.
    pub index: u32,
    source: minicbor::decode::Error,
}

/// What kind of event an entry holds, read from its first bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventTag {
    /// Of the coupon capability, with the number of the event there; see [`crate::coupon::Event::is_about_campaign`].
    Coupon(u32),
    /// Anything else.
    Other,
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
        let mut entry = read(&mut decoder);
        if index + 1 == count && entry.is_ok() && decoder.position() != body.len() {
            entry = Err(minicbor::decode::Error::message("bytes are left over after the last entry"));
        }
        failed = entry.is_err();
        Some(entry.map_err(|source| DecodeError { index, source }))
    })
}

/// Reads those of the `count` entries of a block's body that are `wanted`, with their index in the block. The others are
/// stepped over without being built, for readers of rare events in a log full of frequent ones.
///
/// # Errors
/// [`DecodeError`] from the first entry that cannot be stepped over or is not one; nothing follows it.
pub fn decode_wanted(
    body: &[u8],
    count: u32,
    wanted: impl Fn(EventTag) -> bool,
) -> impl Iterator<Item = Result<(u32, Entry), DecodeError>> {
    let mut decoder = minicbor::Decoder::new(body);
    let mut indices = 0..count;
    core::iter::from_fn(move || {
        for index in indices.by_ref() {
            let read = match tag(&mut decoder.probe()) {
                Ok(tag) if wanted(tag) => read(&mut decoder).map(|entry| Some((index, entry))),
                Ok(_) => decoder.skip().map(|()| None),
                Err(error) => Err(error),
            };
            match read {
                Ok(None) => {}
                Ok(Some(found)) => return Some(Ok(found)),
                Err(source) => {
                    indices = 0..0;
                    return Some(Err(DecodeError { index, source }));
                }
            }
        }
        None
    })
}

/// One entry. A function of its own, so that it is compiled once and not again by every crate that goes over a block.
fn read(decoder: &mut minicbor::Decoder<'_>) -> Result<Entry, minicbor::decode::Error> {
    decoder.decode()
}

/// The numbers at the beginning of an entry: `[event, stamp?]`, an event being `[number, [field, ...]]`.
fn tag(decoder: &mut minicbor::Decoder<'_>) -> Result<EventTag, minicbor::decode::Error> {
    decoder.array()?;
    decoder.array()?;
    let number = decoder.u32()?;
    if number != Event::COUPON_TAG {
        return Ok(EventTag::Other);
    }
    decoder.array()?;
    decoder.array()?;
    Ok(EventTag::Coupon(decoder.u32()?))
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
