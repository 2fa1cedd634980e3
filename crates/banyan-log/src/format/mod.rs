//! The bytes on disk. Nothing here does I/O.
//!
//! A log is a directory:
//!
//! | file | what |
//! | --- | --- |
//! | `LOCK` | locked by the one process that may write; holds its process id |
//! | `MANIFEST` | one sector: which segment the live log starts with |
//! | `00000000000000000001.seg` ... | segments, named by a running index that starts at 1 |
//! | `*.new` | being prepared; removed when the log is opened |
//!
//! Segments are named by a running index and not by their first seq, because a segment gets its final name while it is
//! still the spare, long before anybody knows which seq it will start with; and a gap in a running index is a missing
//! file, which a gap between seqs is not.
//!
//! A segment is a row of 512-byte *sectors*, the unit a disk writes whole or not at all ([`sector`]). Sector 0 is the
//! segment's header (index and size), written before the file gets its name. Sector 1 is the *opening* (first seq and
//! previous hash), written together with the segment's first block. Blocks follow, each from a sector boundary
//! ([`block`]); a *seal* sector ends the segment; the rest is zeros ([`segment`]).
//!
//! Why sectors carry their own checksum: without it, a block whose write was torn by a crash and a block that rotted
//! after it was acknowledged look the same, namely "the last block's checksum is wrong". The first must be cut, the
//! second must never be. With it, a torn block is made of sectors that are each intact or still zero, and anything
//! else is damage. `docs/log-format.md` has the tables and the rules of recovery.

pub(crate) mod block;
pub(crate) mod sector;
pub(crate) mod segment;
