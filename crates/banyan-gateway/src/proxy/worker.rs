//! One serving thread and what it has for itself.

use crate::gateway::Inner;
use crate::metrics::Shard;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};

/// One serving thread.
pub(crate) struct Worker {
    pub index: usize,
    pub inner: Arc<Inner>,
    /// Connections of clients.
    pub connections: AtomicUsize,
    ids: AtomicU64,
}

impl Worker {
    /// Worker number `index`. Number `config.workers` is none: shadows and checks count as it.
    pub(crate) fn new(index: usize, inner: Arc<Inner>) -> Self {
        let mut seed = [0; 8];
        if getrandom::fill(&mut seed).is_err() {
            // Ids are no secrets; the clock tells this start from others.
            let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
            seed = now.subsec_nanos().to_le_bytes().repeat(2).try_into().unwrap_or_default();
        }
        Self { index, inner, connections: AtomicUsize::new(0), ids: AtomicU64::new(u64::from_le_bytes(seed)) }
    }

    pub(crate) fn metrics(&self) -> &Shard {
        self.inner.metrics.of(self.index)
    }

    /// A number that comes once (SplitMix64). No secret.
    pub(crate) fn unique(&self) -> u64 {
        let mut z = self.ids.fetch_add(0x9e37_79b9_7f4a_7c15, Relaxed).wrapping_add(0x9e37_79b9_7f4a_7c15);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Bytes that come once. No secret.
    pub(crate) fn unique_bytes(&self) -> [u8; 16] {
        let both = u128::from(self.unique()) << 64 | u128::from(self.unique());
        both.to_le_bytes()
    }

    /// As many hexadecimal digits of unique numbers as `out` has room for.
    pub(crate) fn unique_hex(&self, out: &mut [u8]) {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        for part in out.chunks_mut(16) {
            let mut number = self.unique();
            for digit in part {
                *digit = DIGITS[(number & 15) as usize];
                number >>= 4;
            }
        }
    }
}
