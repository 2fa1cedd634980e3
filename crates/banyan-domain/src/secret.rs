//! The store's secret and the keys derived from it.

use core::fmt;
use minicbor::{Decode, Encode};

/// 32 random bytes made once when a store is created, kept in the log's first event: every key below follows from it, so
/// a backup of the log is a backup of the codes.
#[derive(Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(transparent)]
pub struct StoreSecret(#[cbor(n(0), with = "minicbor::bytes")] [u8; 32]);

/// Keys for one purpose each, derived from the [`StoreSecret`] with BLAKE3's key derivation.
#[derive(Clone)]
pub struct Keys {
    /// Keys of the eight rounds of the coupon-code permutation.
    pub code_rounds: [[u8; 16]; 8],
    /// Key of the hash that finds a member in a table: secret, so that nobody can choose members that collide.
    pub members: [u8; 16],
    /// Key of the hash of an idempotency key and its request.
    pub idempotency: [u8; 16],
    /// Key of the hashes that find SKUs and members in the stock's tables.
    pub stock: [u8; 16],
    /// Key of the hash that finds an account.
    pub accounts: [u8; 16],
    /// Key of the hash that makes the idempotency keys under which sagas ask services outside.
    pub sagas: [u8; 16],
}

impl StoreSecret {
    /// The secret made of `bytes`, which must come from a cryptographic source of randomness.
    #[must_use]
    pub const fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    pub(crate) const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Derives the keys.
    #[must_use]
    pub fn keys(&self) -> Keys {
        let key = |context: &str| -> [u8; 16] {
            let derived = blake3::derive_key(context, &self.0);
            core::array::from_fn(|i| derived[i])
        };
        let mut rounds = [[0; 16]; 8];
        let mut stream = blake3::Hasher::new_derive_key("banyan 2026-11 coupon code rounds")
            .update(&self.0)
            .finalize_xof();
        for round in &mut rounds {
            stream.fill(round);
        }
        Keys {
            code_rounds: rounds,
            members: key("banyan 2026-11 member table"),
            idempotency: key("banyan 2026-11 idempotency keys"),
            stock: key("banyan 2026-11 stock tables"),
            accounts: key("banyan 2026-11 account table"),
            sagas: key("banyan 2026-11 saga keys"),
        }
    }
}

impl fmt::Debug for StoreSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("StoreSecret(hidden)")
    }
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Keys(hidden)")
    }
}
