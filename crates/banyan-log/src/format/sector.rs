//! One sector: 512 bytes that say where they belong.
//!
//! | offset | bytes | what |
//! | --- | --- | --- |
//! | 0 | 4 | CRC-32C over segment index, sector index and everything after this field |
//! | 4 | 1 | kind |
//! | 5 | 1 | format version, 1 |
//! | 6 | 2 | place of this sector in its block, 0 for the first |
//! | 8 | 4 | tag: low 32 bits of the block's first seq |
//! | 12 | 500 | payload |
//!
//! Numbers are little-endian. No written sector is all zeros, because its kind is not.

/// Bytes of a sector: what disks of every kind write whole or not at all.
pub(crate) const SECTOR_BYTES: usize = 512;
/// Bytes of a sector in front of its payload.
pub(crate) const SECTOR_HEAD_BYTES: usize = 12;
/// Bytes of payload in a sector.
pub(crate) const PAYLOAD_BYTES: usize = SECTOR_BYTES - SECTOR_HEAD_BYTES;
/// Version of everything in [`crate::format`].
pub(crate) const FORMAT_VERSION: u8 = 1;

/// What a sector is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Kind {
    /// Sector 0 of a segment.
    Header = 1,
    /// Sector 1 of a segment in use.
    Opening = 2,
    /// First sector of a block.
    BlockFirst = 3,
    /// Any other sector of a block.
    BlockRest = 4,
    /// End of a segment that is complete.
    Seal = 5,
    /// The only sector of the manifest.
    Manifest = 6,
}

impl Kind {
    fn from_byte(byte: u8) -> Option<Kind> {
        [Kind::Header, Kind::Opening, Kind::BlockFirst, Kind::BlockRest, Kind::Seal, Kind::Manifest]
            .into_iter()
            .find(|kind| *kind as u8 == byte)
    }

    /// The name used in messages.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Kind::Header => "a segment header",
            Kind::Opening => "a segment opening",
            Kind::BlockFirst => "the start of a block",
            Kind::BlockRest => "the continuation of a block",
            Kind::Seal => "a seal",
            Kind::Manifest => "a manifest",
        }
    }
}

/// What a sector was found to be.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Found<'a> {
    /// All zeros: never written.
    Blank,
    /// Written for exactly this place.
    Valid {
        /// What it is for.
        kind: Kind,
        /// Its place in its block.
        place: u16,
        /// Low bits of the block's first seq.
        tag: u32,
        /// Its bytes.
        payload: &'a [u8; PAYLOAD_BYTES],
    },
    /// Neither.
    Invalid,
}

impl Found<'_> {
    /// What to call it in a message.
    pub(crate) fn describe(&self) -> String {
        match self {
            Found::Blank => "zeros".to_owned(),
            Found::Valid { kind, .. } => kind.name().to_owned(),
            Found::Invalid => "a sector whose checksum does not match".to_owned(),
        }
    }
}

/// Completes a sector whose payload is already in place.
pub(crate) fn finish(
    sector: &mut [u8; SECTOR_BYTES],
    segment: u64,
    index: u32,
    kind: Kind,
    place: u16,
    tag: u32,
) {
    sector[4] = kind as u8;
    sector[5] = FORMAT_VERSION;
    sector[6..8].copy_from_slice(&place.to_le_bytes());
    sector[8..12].copy_from_slice(&tag.to_le_bytes());
    let crc = checksum(sector, segment, index);
    sector[..4].copy_from_slice(&crc.to_le_bytes());
}

/// Reads the sector that stands at `index` of segment `segment`.
pub(crate) fn inspect(sector: &[u8; SECTOR_BYTES], segment: u64, index: u32) -> Found<'_> {
    let Some(kind) = Kind::from_byte(sector[4]) else {
        return if sector == &[0; SECTOR_BYTES] { Found::Blank } else { Found::Invalid };
    };
    let stored = u32::from_le_bytes([sector[0], sector[1], sector[2], sector[3]]);
    if sector[5] != FORMAT_VERSION || stored != checksum(sector, segment, index) {
        return Found::Invalid;
    }
    Found::Valid {
        kind,
        place: u16::from_le_bytes([sector[6], sector[7]]),
        tag: u32::from_le_bytes([sector[8], sector[9], sector[10], sector[11]]),
        payload: sector.last_chunk().expect("a sector is longer than its payload"),
    }
}

fn checksum(sector: &[u8; SECTOR_BYTES], segment: u64, index: u32) -> u32 {
    let mut place = [0; 12];
    place[..8].copy_from_slice(&segment.to_le_bytes());
    place[8..].copy_from_slice(&index.to_le_bytes());
    crc32c::crc32c_append(crc32c::crc32c(&place), &sector[4..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sector_is_valid_only_in_its_own_place() {
        let mut sector = [7; SECTOR_BYTES];
        finish(&mut sector, 3, 9, Kind::BlockRest, 2, 77);
        assert!(matches!(
            inspect(&sector, 3, 9),
            Found::Valid { kind: Kind::BlockRest, place: 2, tag: 77, payload: &[7, ..] }
        ));
        assert!(matches!(inspect(&sector, 3, 10), Found::Invalid));
        assert!(matches!(inspect(&sector, 4, 9), Found::Invalid));
    }

    #[test]
    fn every_flipped_bit_is_found() {
        let mut sector = [0; SECTOR_BYTES];
        assert!(matches!(inspect(&sector, 1, 1), Found::Blank));
        for bit in 0..SECTOR_BYTES * 8 {
            sector[bit / 8] ^= 1 << (bit % 8);
            assert!(matches!(inspect(&sector, 1, 1), Found::Invalid), "bit {bit} of a blank sector");
            sector[bit / 8] ^= 1 << (bit % 8);
        }
        finish(&mut sector, 1, 1, Kind::Seal, 0, 0);
        for bit in 0..SECTOR_BYTES * 8 {
            sector[bit / 8] ^= 1 << (bit % 8);
            assert!(matches!(inspect(&sector, 1, 1), Found::Invalid), "bit {bit} of a seal");
            sector[bit / 8] ^= 1 << (bit % 8);
        }
    }
}
