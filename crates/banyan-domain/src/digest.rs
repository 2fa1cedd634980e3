//! A digest of the whole state that is cheap to keep current.

/// The sum, modulo 2^128, of a hash of every row of the state. Changing a row subtracts its old hash and adds the new one,
/// so the live writer keeps it current at a few nanoseconds an event, and a background replay, or a loaded snapshot, can
/// compute it from nothing and compare. It is an alarm against non-determinism and bad memory, not against an attacker:
/// tampering is the log's hash chain's business.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Digest(u128);

impl Digest {
    /// The digest with this value.
    #[must_use]
    pub const fn from_u128(value: u128) -> Self {
        Self(value)
    }

    /// Its value.
    #[must_use]
    pub const fn get(self) -> u128 {
        self.0
    }

    /// Adds a row.
    pub(crate) fn add(&mut self, row: u128) {
        self.0 = self.0.wrapping_add(row);
    }

    /// Takes a row away.
    pub(crate) fn sub(&mut self, row: u128) {
        self.0 = self.0.wrapping_sub(row);
    }
}

/// Hashes the words of one row: multiply and fold, as in wyhash, twice with different constants.
pub(crate) fn row(words: &[u64]) -> u128 {
    let (mut a, mut b) = (0x9E37_79B9_7F4A_7C15_u64, 0xD6E8_FEB8_6659_FD93_u64);
    for &word in words {
        a = fold(a ^ word, 0xA076_1D64_78BD_642F);
        b = fold(b.wrapping_add(word) ^ 0xE703_7ED1_A0B4_28DB, 0x8EBC_6AF0_9C88_C6E3);
    }
    u128::from(a) << 64 | u128::from(b)
}

/// Hashes one row of bytes.
pub(crate) fn row_bytes(kind: u64, bytes: &[u8]) -> u128 {
    let hash = blake3::hash(bytes);
    let word = |i: usize| u64::from_le_bytes(core::array::from_fn(|k| hash.as_bytes()[i * 8 + k]));
    row(&[kind, word(0), word(1), word(2)])
}

/// Hashes one row of texts: as [`row`], eight bytes a step, each text with its length before it. For rows that change with
/// every event, where a cryptographic hash would be most of the work.
pub(crate) fn row_texts<'a>(words: &[u64], texts: impl Iterator<Item = &'a [u8]>) -> u128 {
    let (mut a, mut b) = (0x9E37_79B9_7F4A_7C15_u64, 0xD6E8_FEB8_6659_FD93_u64);
    let mut take = |word: u64| {
        a = fold(a ^ word, 0xA076_1D64_78BD_642F);
        b = fold(b.wrapping_add(word) ^ 0xE703_7ED1_A0B4_28DB, 0x8EBC_6AF0_9C88_C6E3);
    };
    words.iter().for_each(|word| take(*word));
    for text in texts {
        take(text.len() as u64);
        let (whole, rest) = text.as_chunks::<8>();
        whole.iter().for_each(|bytes| take(u64::from_le_bytes(*bytes)));
        let mut last = [0; 8];
        last[..rest.len()].copy_from_slice(rest);
        take(u64::from_le_bytes(last));
    }
    u128::from(a) << 64 | u128::from(b)
}

fn fold(a: u64, b: u64) -> u64 {
    let wide = u128::from(a) * u128::from(b);
    (wide >> 64) as u64 ^ wide as u64 ^ a.rotate_left(29)
}
