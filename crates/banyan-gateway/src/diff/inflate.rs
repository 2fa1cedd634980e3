//! Unpacks gzip and deflate, so that an answer that one side packed can be compared with one that the other did not.
//!
//! This is RFC 1951 in its plainest form: it is off the user's path, reads at most what was captured, and writes at
//! most its limit. A hostile answer can at worst be called unreadable.

/// Why bytes could not be unpacked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Packed {
    /// They are not what they should be.
    Broken,
    /// They are larger unpacked than the limit.
    TooLarge,
}

/// Unpacks gzip (RFC 1952).
///
/// # Errors
/// [`Packed`].
pub(super) fn gunzip(bytes: &[u8], bytes_max: usize) -> Result<Vec<u8>, Packed> {
    let header = bytes.get(..10).ok_or(Packed::Broken)?;
    if header[..3] != [0x1f, 0x8b, 8] {
        return Err(Packed::Broken);
    }
    let flags = header[3];
    let mut at = 10;
    if flags & 4 != 0 {
        let length = bytes.get(at..at + 2).ok_or(Packed::Broken)?;
        at += 2 + usize::from(u16::from_le_bytes([length[0], length[1]]));
    }
    // A name, and a comment.
    for flag in [8, 16] {
        if flags & flag != 0 {
            let text = bytes.get(at..).ok_or(Packed::Broken)?;
            at += text.iter().position(|byte| *byte == 0).ok_or(Packed::Broken)? + 1;
        }
    }
    at += if flags & 2 != 0 { 2 } else { 0 };
    let rest = bytes.get(at..).ok_or(Packed::Broken)?;
    let (out, end) = inflate(rest, bytes_max)?;
    let sum = rest.get(end..end + 4).ok_or(Packed::Broken)?;
    if sum == crc32(&out).to_le_bytes() { Ok(out) } else { Err(Packed::Broken) }
}

/// Unpacks what HTTP calls `deflate`: zlib (RFC 1950), or what some servers send instead, plain deflate.
///
/// # Errors
/// [`Packed`].
pub(super) fn undeflate(bytes: &[u8], bytes_max: usize) -> Result<Vec<u8>, Packed> {
    match bytes {
        [first, second, rest @ ..] if first & 15 == 8 && u16::from_be_bytes([*first, *second]) % 31 == 0 => {
            inflate(rest, bytes_max)
        }
        _ => inflate(bytes, bytes_max),
    }
    .map(|(out, _)| out)
}

fn crc32(bytes: &[u8]) -> u32 {
    const TABLE: [u32; 256] = {
        let mut table = [0; 256];
        let mut at = 0;
        while at < 256 {
            let (mut value, mut bit) = (at as u32, 0);
            while bit < 8 {
                value = (value >> 1) ^ (0xedb8_8320 * (value & 1));
                bit += 1;
            }
            table[at] = value;
            at += 1;
        }
        table
    };
    !bytes.iter().fold(!0, |sum, byte| (sum >> 8) ^ TABLE[(sum as u8 ^ byte) as usize])
}

const LENGTHS: [(u16, u8); 29] = [
    (3, 0),
    (4, 0),
    (5, 0),
    (6, 0),
    (7, 0),
    (8, 0),
    (9, 0),
    (10, 0),
    (11, 1),
    (13, 1),
    (15, 1),
    (17, 1),
    (19, 2),
    (23, 2),
    (27, 2),
    (31, 2),
    (35, 3),
    (43, 3),
    (51, 3),
    (59, 3),
    (67, 4),
    (83, 4),
    (99, 4),
    (115, 4),
    (131, 5),
    (163, 5),
    (195, 5),
    (227, 5),
    (258, 0),
];
const DISTANCES: [(u16, u8); 30] = [
    (1, 0),
    (2, 0),
    (3, 0),
    (4, 0),
    (5, 1),
    (7, 1),
    (9, 2),
    (13, 2),
    (17, 3),
    (25, 3),
    (33, 4),
    (49, 4),
    (65, 5),
    (97, 5),
    (129, 6),
    (193, 6),
    (257, 7),
    (385, 7),
    (513, 8),
    (769, 8),
    (1025, 9),
    (1537, 9),
    (2049, 10),
    (3073, 10),
    (4097, 11),
    (6145, 11),
    (8193, 12),
    (12289, 12),
    (16385, 13),
    (24577, 13),
];
const CODE_ORDER: [usize; 19] = [16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15];

struct Bits<'a> {
    bytes: &'a [u8],
    at: usize,
    held: u32,
    count: u32,
}

impl Bits<'_> {
    fn take(&mut self, count: u32) -> Result<u32, Packed> {
        while self.count < count {
            let byte = self.bytes.get(self.at).ok_or(Packed::Broken)?;
            self.held |= u32::from(*byte) << self.count;
            self.at += 1;
            self.count += 8;
        }
        let value = self.held & ((1 << count) - 1);
        self.held >>= count;
        self.count -= count;
        Ok(value)
    }
}

/// A canonical Huffman code: how many codes there are of each length, and the symbols in order.
struct Code {
    counts: [u16; 16],
    symbols: Vec<u16>,
}

impl Code {
    fn new(lengths: &[u8]) -> Result<Self, Packed> {
        let mut counts = [0_u16; 16];
        for length in lengths {
            counts[usize::from(*length)] += 1;
        }
        counts[0] = 0;
        let mut left = 1_i32;
        for count in &counts[1..] {
            left = left * 2 - i32::from(*count);
            if left < 0 {
                return Err(Packed::Broken);
            }
        }
        let mut order: Vec<u16> =
            (0_u16..).zip(lengths).filter(|(_, length)| **length > 0).map(|(at, _)| at).collect();
        order.sort_by_key(|symbol| lengths[usize::from(*symbol)]);
        Ok(Self { counts, symbols: order })
    }

    fn read(&self, bits: &mut Bits<'_>) -> Result<usize, Packed> {
        let (mut code, mut first, mut index) = (0_i32, 0_i32, 0_i32);
        for count in &self.counts[1..] {
            code |= bits.take(1)? as i32;
            let count = i32::from(*count);
            if code - count < first {
                let at = usize::try_from(index + code - first).map_err(|_| Packed::Broken)?;
                return self.symbols.get(at).map(|symbol| usize::from(*symbol)).ok_or(Packed::Broken);
            }
            index += count;
            first = (first + count) << 1;
            code <<= 1;
        }
        Err(Packed::Broken)
    }
}

/// What it unpacks to, and how many bytes that took.
fn inflate(bytes: &[u8], bytes_max: usize) -> Result<(Vec<u8>, usize), Packed> {
    let mut bits = Bits { bytes, at: 0, held: 0, count: 0 };
    let mut out = Vec::new();
    loop {
        let last = bits.take(1)? == 1;
        match bits.take(2)? {
            0 => stored(&mut bits, &mut out, bytes_max)?,
            1 => {
                let lengths: Vec<u8> = (0..288)
                    .map(|symbol| match symbol {
                        0..144 => 8,
                        144..256 => 9,
                        256..280 => 7,
                        _ => 8,
                    })
                    .collect();
                block(&mut bits, &Code::new(&lengths)?, &Code::new(&[5; 30])?, &mut out, bytes_max)?;
            }
            2 => {
                let (literals, distances) = codes(&mut bits)?;
                block(&mut bits, &literals, &distances, &mut out, bytes_max)?;
            }
            _ => return Err(Packed::Broken),
        }
        if last {
            return Ok((out, bits.at));
        }
    }
}

fn stored(bits: &mut Bits<'_>, out: &mut Vec<u8>, bytes_max: usize) -> Result<(), Packed> {
    (bits.held, bits.count) = (0, 0);
    let head = bits.bytes.get(bits.at..bits.at + 4).ok_or(Packed::Broken)?;
    let length = u16::from_le_bytes([head[0], head[1]]);
    if length != !u16::from_le_bytes([head[2], head[3]]) {
        return Err(Packed::Broken);
    }
    let from = bits.at + 4;
    let body = bits.bytes.get(from..from + usize::from(length)).ok_or(Packed::Broken)?;
    if out.len() + body.len() > bytes_max {
        return Err(Packed::TooLarge);
    }
    out.extend_from_slice(body);
    bits.at = from + body.len();
    Ok(())
}

fn codes(bits: &mut Bits<'_>) -> Result<(Code, Code), Packed> {
    let literals = bits.take(5)? as usize + 257;
    let distances = bits.take(5)? as usize + 1;
    let mut lengths = [0_u8; 19];
    for at in CODE_ORDER.iter().take(bits.take(4)? as usize + 4) {
        lengths[*at] = bits.take(3)? as u8;
    }
    let code = Code::new(&lengths)?;
    let mut lengths = Vec::with_capacity(literals + distances);
    while lengths.len() < literals + distances {
        let (length, times) = match code.read(bits)? {
            length @ 0..16 => (length as u8, 1),
            16 => (*lengths.last().ok_or(Packed::Broken)?, bits.take(2)? + 3),
            17 => (0, bits.take(3)? + 3),
            _ => (0, bits.take(7)? + 11),
        };
        lengths.extend(std::iter::repeat_n(length, times as usize));
    }
    if lengths.len() > literals + distances {
        return Err(Packed::Broken);
    }
    Ok((Code::new(&lengths[..literals])?, Code::new(&lengths[literals..])?))
}

fn block(
    bits: &mut Bits<'_>,
    literals: &Code,
    distances: &Code,
    out: &mut Vec<u8>,
    bytes_max: usize,
) -> Result<(), Packed> {
    loop {
        match literals.read(bits)? {
            literal @ 0..256 => {
                if out.len() >= bytes_max {
                    return Err(Packed::TooLarge);
                }
                out.push(literal as u8);
            }
            256 => return Ok(()),
            symbol => {
                let (base, extra) = *LENGTHS.get(symbol - 257).ok_or(Packed::Broken)?;
                let length = usize::from(base) + bits.take(u32::from(extra))? as usize;
                let (base, extra) = *DISTANCES.get(distances.read(bits)?).ok_or(Packed::Broken)?;
                let distance = usize::from(base) + bits.take(u32::from(extra))? as usize;
                let from = out.len().checked_sub(distance).ok_or(Packed::Broken)?;
                if out.len() + length > bytes_max {
                    return Err(Packed::TooLarge);
                }
                // Byte by byte: the copy may overlap what it writes.
                for at in from..from + length {
                    out.push(out[at]);
                }
            }
        }
    }
}
