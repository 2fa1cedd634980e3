//! What happened, as a hash to compare two runs by and, if wanted, as lines to read.

use std::fmt;

/// The trace of one run.
pub(crate) struct Trace {
    hash: blake3::Hasher,
    prints: bool,
}

impl Trace {
    /// `prints` writes every line to standard output as well.
    pub(crate) fn new(prints: bool) -> Self {
        Self { hash: blake3::Hasher::new(), prints }
    }

    /// Adds a line.
    pub(crate) fn line(&mut self, line: fmt::Arguments<'_>) {
        let line = line.to_string();
        self.hash.update(line.as_bytes());
        self.hash.update(b"\n");
        if self.prints {
            println!("{line}");
        }
    }

    /// The hash of every line, and of everything the disk was told.
    pub(crate) fn finish(mut self, disk: blake3::Hash) -> String {
        self.hash.update(disk.as_bytes());
        self.hash.finalize().to_hex().to_string()
    }
}
