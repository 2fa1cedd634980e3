//! The section of a snapshot that holds the way over.

use super::state::{CapabilityState, Legacy, Mirrored};
use super::{Capability, Known};
use crate::ItemNo;
use minicbor::{Decode, Encode};

#[derive(Encode, Decode)]
struct Section {
    #[n(0)]
    capabilities: Vec<(Capability, CapabilityState)>,
    /// Item, allocated, short.
    #[n(1)]
    mirrored: Vec<(u32, u32, u32)>,
    /// The watermarks; none in a snapshot from before there were any.
    #[n(30)]
    known: Option<Vec<(Capability, Known)>>,
}

impl Legacy {
    /// Appends what is known of the way over.
    pub(crate) fn write_snapshot(&self, out: &mut Vec<u8>) {
        let section = Section {
            capabilities: self.capabilities.iter().map(|(name, state)| (*name, state.clone())).collect(),
            mirrored: self
                .mirrored
                .iter()
                .map(|(item, Mirrored { allocated, short })| (item.get(), *allocated, *short))
                .collect(),
            known: (!self.known.is_empty())
                .then(|| self.known.iter().map(|(capability, known)| (*capability, *known)).collect()),
        };
        let bytes = minicbor::to_vec(&section).expect("a vector takes every write");
        out.extend_from_slice(&(bytes.len() as u64).to_le_bytes());
        out.extend_from_slice(&bytes);
    }

    /// Reads it back from the front of `bytes`, which is moved on.
    ///
    /// # Errors
    /// What is damaged.
    pub(crate) fn read_snapshot(bytes: &mut &[u8]) -> Result<Self, &'static str> {
        const WHAT: &str = "the way over from the old shop";
        let (length, rest) = bytes.split_at_checked(8).ok_or(WHAT)?;
        let length = u64::from_le_bytes(core::array::from_fn(|i| length[i]));
        let length = usize::try_from(length).map_err(|_| WHAT)?;
        let (section, rest) = rest.split_at_checked(length).ok_or(WHAT)?;
        let section: Section = minicbor::decode(section).map_err(|_| WHAT)?;
        let mut legacy = Self {
            capabilities: section.capabilities.into_iter().collect(),
            mirrored: section
                .mirrored
                .into_iter()
                .map(|(item, allocated, short)| (ItemNo::new(item), Mirrored { allocated, short }))
                .collect(),
            known: section.known.unwrap_or_default().into_iter().collect(),
            ..Self::default()
        };
        let short = legacy.mirrored.iter().filter(|(_, mirrored)| mirrored.short > 0);
        legacy.short = short.map(|(item, _)| *item).collect();
        legacy.digest = legacy.recompute_digest();
        *bytes = rest;
        Ok(legacy)
    }
}
