//! HTTP/1 as strictly as two servers behind each other need it: what one of them could read in another way is refused.
//!
//! [`Scanner`] follows the framing of a connection's bytes beside hyper, which is more lenient than a proxy may be: it
//! takes `Content-Length` beside `Transfer-Encoding`, repeated lengths, lone line feeds. A head is judged whole, before
//! hyper sees any of it; bodies are followed as they pass.

/// Why a message is refused.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[repr(u8)]
pub(crate) enum Flaw {
    HeadTooLong = 1,
    TooManyHeaders,
    TargetTooLong,
    HeadTooSlow,
    RequestLine,
    Version,
    LineEnd,
    Control,
    HeaderName,
    Folded,
    Host,
    Length,
    LengthTwice,
    LengthAndEncoding,
    Encoding,
    EncodingTwice,
    EncodingInOld,
    Chunk,
    Trailer,
}

/// All flaws, in the order of their numbers.
const FLAWS: [Flaw; 19] = [
    Flaw::HeadTooLong,
    Flaw::TooManyHeaders,
    Flaw::TargetTooLong,
    Flaw::HeadTooSlow,
    Flaw::RequestLine,
    Flaw::Version,
    Flaw::LineEnd,
    Flaw::Control,
    Flaw::HeaderName,
    Flaw::Folded,
    Flaw::Host,
    Flaw::Length,
    Flaw::LengthTwice,
    Flaw::LengthAndEncoding,
    Flaw::Encoding,
    Flaw::EncodingTwice,
    Flaw::EncodingInOld,
    Flaw::Chunk,
    Flaw::Trailer,
];

impl Flaw {
    /// From its number.
    pub(crate) fn from_number(number: u8) -> Option<Self> {
        FLAWS.iter().copied().find(|flaw| *flaw as u8 == number)
    }

    /// The status that says so.
    pub(crate) fn status(self) -> u16 {
        match self {
            Self::HeadTooLong | Self::TooManyHeaders => 431,
            Self::TargetTooLong => 414,
            Self::HeadTooSlow => 408,
            Self::Version => 505,
            Self::Encoding => 501,
            _ => 400,
        }
    }

    /// What is wrong, for people.
    pub(crate) fn detail(self) -> &'static str {
        match self {
            Self::HeadTooLong => "The head of the request is longer than `limits.head_bytes_max`.",
            Self::TooManyHeaders => "The request has more header fields than `limits.headers_max`.",
            Self::TargetTooLong => "The request target is longer than `limits.uri_bytes_max`.",
            Self::HeadTooSlow => "The head of the request did not arrive within `timeouts.head_millis`.",
            Self::RequestLine => "The request line is not METHOD, one space, target, one space, version.",
            Self::Version => "Only HTTP/1.0, HTTP/1.1 and HTTP/2 are spoken here.",
            Self::LineEnd => "A line does not end with CR LF.",
            Self::Control => "There is a control character in the head.",
            Self::HeaderName => {
                "A header field's name is empty or has characters that no name can have, such as a space before the colon."
            }
            Self::Folded => "A header field is continued on another line, which HTTP no longer allows.",
            Self::Host => "HTTP/1.1 and HTTP/2 need exactly one Host or authority.",
            Self::Length => "Content-Length is not a plain number.",
            Self::LengthTwice => "There is more than one Content-Length.",
            Self::LengthAndEncoding => {
                "There is a Content-Length beside a Transfer-Encoding: servers disagree on what it means."
            }
            Self::Encoding => "The only Transfer-Encoding that is understood here is `chunked`.",
            Self::EncodingTwice => "There is more than one Transfer-Encoding.",
            Self::EncodingInOld => "HTTP/1.0 has no Transfer-Encoding.",
            Self::Chunk => "The body's chunks are broken.",
            Self::Trailer => "The body's trailer fields are broken.",
        }
    }
}

/// Limits of heads.
#[derive(Clone, Copy, Debug)]
pub(crate) struct HeadLimits {
    pub head_bytes_max: usize,
    pub headers_max: usize,
    pub uri_bytes_max: usize,
}

/// Where in a connection's bytes we are.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Place {
    /// At the start of a head, or in one.
    Head,
    /// This many bytes of a body are left.
    Length(u64),
    /// In a chunked body.
    Chunk(Chunk),
    /// After a request that asked for another protocol: whose bytes follow is not decided yet.
    Undecided,
    /// No HTTP any more.
    Tunnel,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Chunk {
    /// In the size; digits so far and the value.
    Size(u8, u64),
    /// In an extension; bytes so far.
    Extension(u16),
    /// After the size line's CR; the value.
    SizeEnd(u64),
    /// In data.
    Data(u64),
    /// After data.
    DataCr,
    DataLf,
    /// In the trailer section: in a line that has this many bytes so far.
    Trailer(TrailerLine),
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum TrailerLine {
    Start,
    Name,
    Value,
    ValueEnd,
    LastLf,
}

/// Longest extension of a chunk, in bytes.
const EXTENSION_BYTES_MAX: u16 = 256;

/// What to do with the bytes that were looked at.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Verdict {
    /// All of them may pass.
    All,
    /// This many may pass; the rest is the start of a head that is not complete.
    Partial(usize),
    /// This many may pass; the rest waits for a decision about the protocol.
    Hold(usize),
    /// This many may pass; then comes a flaw, in a head.
    BadHead(usize, Flaw),
    /// This many may pass; then a body is broken.
    BadBody(usize, Flaw),
}

/// Follows one connection.
pub(crate) struct Scanner {
    limits: HeadLimits,
    place: Place,
    /// Whether the request under way asked for another protocol.
    upgrade: bool,
    trailer_bytes: usize,
    chunked_size_seen: u64,
    /// Heads that passed.
    pub heads: u64,
    /// Bytes of an incomplete head in which no end was found.
    searched: usize,
}

impl Scanner {
    pub(crate) fn new(limits: HeadLimits) -> Self {
        Self {
            limits,
            place: Place::Head,
            upgrade: false,
            trailer_bytes: 0,
            chunked_size_seen: 0,
            heads: 0,
            searched: 0,
        }
    }

    /// Whether the next byte begins or continues a head.
    pub(crate) fn is_in_head(&self) -> bool {
        self.place == Place::Head
    }

    /// Whether nothing of a message is outstanding, or there are no messages any more.
    pub(crate) fn is_clear(&self) -> bool {
        matches!(self.place, Place::Head | Place::Tunnel)
    }

    /// Whether bytes wait for a decision.
    pub(crate) fn is_undecided(&self) -> bool {
        self.place == Place::Undecided
    }

    /// The protocol was decided: another one, or HTTP goes on.
    pub(crate) fn decide(&mut self, tunnel: bool) {
        self.place = if tunnel { Place::Tunnel } else { Place::Head };
    }

    /// Looks at the next bytes. After `Partial`, the same bytes come again with more behind them.
    pub(crate) fn scan(&mut self, bytes: &[u8]) -> Verdict {
        let mut at = 0;
        while at < bytes.len() {
            match self.place {
                Place::Tunnel => return Verdict::All,
                Place::Undecided => return Verdict::Hold(at),
                Place::Length(left) => {
                    let here = (bytes.len() - at) as u64;
                    if here < left {
                        self.place = Place::Length(left - here);
                        return Verdict::All;
                    }
                    at += usize::try_from(left).unwrap_or(bytes.len());
                    self.end_of_message();
                }
                Place::Chunk(chunk) => match self.chunk(chunk, &bytes[at..]) {
                    Ok(used) => at += used,
                    Err(flaw) => return Verdict::BadBody(at, flaw),
                },
                Place::Head => {
                    let head = &bytes[at..];
                    let Some(end) = self.end_of_head(head) else {
                        if head.len() > self.limits.head_bytes_max {
                            return Verdict::BadHead(at, Flaw::HeadTooLong);
                        }
                        return Verdict::Partial(at);
                    };
                    if end > self.limits.head_bytes_max {
                        return Verdict::BadHead(at, Flaw::HeadTooLong);
                    }
                    match self.head(&head[..end]) {
                        Ok(()) => at += end,
                        Err(flaw) => return Verdict::BadHead(at, flaw),
                    }
                    self.heads += 1;
                }
            }
        }
        Verdict::All
    }

    fn end_of_message(&mut self) {
        self.place = if self.upgrade { Place::Undecided } else { Place::Head };
        self.upgrade = false;
    }

    /// Where the head ends, judged generously: also behind lines that end wrongly, so that they are refused at once.
    fn end_of_head(&mut self, head: &[u8]) -> Option<usize> {
        let start = leading_line_ends(head);
        let mut at = self.searched.max(start);
        while let Some(found) = head.get(at..).and_then(|rest| rest.iter().position(|b| *b == b'\n')) {
            let feed = at + found;
            match head.get(feed + 1..) {
                Some([b'\n', ..]) => return self.found(feed + 2),
                Some([b'\r', b'\n', ..]) => return self.found(feed + 3),
                _ => at = feed + 1,
            }
        }
        self.searched = head.len().saturating_sub(2);
        None
    }

    fn found(&mut self, end: usize) -> Option<usize> {
        self.searched = 0;
        Some(end)
    }

    /// Judges one head, with the empty line at its end, and sets what follows.
    fn head(&mut self, head: &[u8]) -> Result<(), Flaw> {
        let mut lines = Lines(&head[leading_line_ends(head)..]);
        let is_new = self.request_line(lines.next_line()?)?;
        let (mut hosts, mut count) = (0, 0);
        let (mut length, mut encoded) = (None, false);
        self.upgrade = false;
        loop {
            let line = lines.next_line()?;
            if line.is_empty() {
                break;
            }
            count += 1;
            if count > self.limits.headers_max {
                return Err(Flaw::TooManyHeaders);
            }
            let (name, value) = field(line)?;
            match name.len() {
                4 if name.eq_ignore_ascii_case(b"host") => hosts += 1,
                7 if name.eq_ignore_ascii_case(b"upgrade") => self.upgrade = is_new,
                14 if name.eq_ignore_ascii_case(b"content-length") => {
                    if length.is_some() {
                        return Err(Flaw::LengthTwice);
                    }
                    length = Some(number(value).ok_or(Flaw::Length)?);
                }
                17 if name.eq_ignore_ascii_case(b"transfer-encoding") => {
                    if encoded {
                        return Err(Flaw::EncodingTwice);
                    }
                    if !is_new {
                        return Err(Flaw::EncodingInOld);
                    }
                    if !value.eq_ignore_ascii_case(b"chunked") {
                        return Err(Flaw::Encoding);
                    }
                    encoded = true;
                }
                _ => {}
            }
        }
        if length.is_some() && encoded {
            return Err(Flaw::LengthAndEncoding);
        }
        if hosts > 1 || (hosts == 0 && is_new) {
            return Err(Flaw::Host);
        }
        if encoded {
            self.place = Place::Chunk(Chunk::Size(0, 0));
            self.trailer_bytes = 0;
        } else if let Some(length) = length.filter(|length| *length > 0) {
            self.place = Place::Length(length);
        } else {
            self.end_of_message();
        }
        Ok(())
    }

    /// Whether the version is 1.1.
    fn request_line(&self, line: &[u8]) -> Result<bool, Flaw> {
        let mut words = line.split(|b| *b == b' ');
        let (Some(method), Some(target), Some(version), None) =
            (words.next(), words.next(), words.next(), words.next())
        else {
            return Err(Flaw::RequestLine);
        };
        if method.is_empty()
            || !method.iter().all(|b| is_token(*b))
            || target.is_empty()
            || target.contains(&b'\t')
        {
            return Err(Flaw::RequestLine);
        }
        if target.len() > self.limits.uri_bytes_max {
            return Err(Flaw::TargetTooLong);
        }
        match version {
            b"HTTP/1.1" => Ok(true),
            b"HTTP/1.0" => Ok(false),
            _ if version.starts_with(b"HTTP/") => Err(Flaw::Version),
            _ => Err(Flaw::RequestLine),
        }
    }

    /// One step in a chunked body; returns how many bytes it took, at least one.
    fn chunk(&mut self, chunk: Chunk, bytes: &[u8]) -> Result<usize, Flaw> {
        let byte = bytes[0];
        let next = match chunk {
            Chunk::Size(digits, size) => match (char::from(byte).to_digit(16), byte) {
                // 15 digits: no overflow here nor in hyper.
                (Some(digit), _) if digits < 15 => Chunk::Size(digits + 1, size << 4 | u64::from(digit)),
                (None, b'\r') if digits > 0 => Chunk::SizeEnd(size),
                (None, b';') if digits > 0 => {
                    self.chunked_size_seen = size;
                    Chunk::Extension(0)
                }
                _ => return Err(Flaw::Chunk),
            },
            Chunk::Extension(seen) => match byte {
                b'\r' => Chunk::SizeEnd(self.chunked_size_seen),
                b'\t' | b' '..=b'~' if seen < EXTENSION_BYTES_MAX => Chunk::Extension(seen + 1),
                _ => return Err(Flaw::Chunk),
            },
            Chunk::SizeEnd(size) => match (byte, size) {
                (b'\n', 0) => Chunk::Trailer(TrailerLine::Start),
                (b'\n', size) => Chunk::Data(size),
                _ => return Err(Flaw::Chunk),
            },
            Chunk::Data(left) => {
                let take = left.min(bytes.len() as u64);
                let left = left - take;
                self.place = Place::Chunk(if left == 0 { Chunk::DataCr } else { Chunk::Data(left) });
                return usize::try_from(take).map_err(|_| Flaw::Chunk);
            }
            Chunk::DataCr if byte == b'\r' => Chunk::DataLf,
            Chunk::DataLf if byte == b'\n' => Chunk::Size(0, 0),
            Chunk::DataCr | Chunk::DataLf => return Err(Flaw::Chunk),
            Chunk::Trailer(line) => {
                self.trailer_bytes += 1;
                if self.trailer_bytes > self.limits.head_bytes_max {
                    return Err(Flaw::Trailer);
                }
                match trailer(line, byte)? {
                    Some(line) => Chunk::Trailer(line),
                    None => {
                        self.end_of_message();
                        return Ok(1);
                    }
                }
            }
        };
        self.place = Place::Chunk(next);
        Ok(1)
    }
}

/// One byte of the trailer section; nothing if it was the last.
fn trailer(line: TrailerLine, byte: u8) -> Result<Option<TrailerLine>, Flaw> {
    match (line, byte) {
        (TrailerLine::Start, b'\r') => Ok(Some(TrailerLine::LastLf)),
        (TrailerLine::LastLf, b'\n') => Ok(None),
        (TrailerLine::Start | TrailerLine::Name, byte) if is_token(byte) => Ok(Some(TrailerLine::Name)),
        (TrailerLine::Name, b':') => Ok(Some(TrailerLine::Value)),
        (TrailerLine::Value, b'\r') => Ok(Some(TrailerLine::ValueEnd)),
        (TrailerLine::ValueEnd, b'\n') => Ok(Some(TrailerLine::Start)),
        (TrailerLine::Value, b'\t' | b' '..=b'~' | 0x80..) => Ok(Some(TrailerLine::Value)),
        _ => Err(Flaw::Trailer),
    }
}

/// Empty lines before a request line, which old clients send after a body.
fn leading_line_ends(head: &[u8]) -> usize {
    let mut at = 0;
    while at < 4 && head[at..].starts_with(b"\r\n") {
        at += 2;
    }
    at
}

struct Lines<'a>(&'a [u8]);

impl<'a> Lines<'a> {
    fn next_line(&mut self) -> Result<&'a [u8], Flaw> {
        let end = self.0.iter().position(|b| (*b < b' ' && *b != b'\t') || *b == 0x7f);
        let Some(end) = end else { return Err(Flaw::LineEnd) };
        let (line, rest) = self.0.split_at(end);
        match rest {
            [b'\r', b'\n', rest @ ..] => {
                self.0 = rest;
                Ok(line)
            }
            [b'\r' | b'\n', ..] => Err(Flaw::LineEnd),
            _ => Err(Flaw::Control),
        }
    }
}

fn field(line: &[u8]) -> Result<(&[u8], &[u8]), Flaw> {
    if line.starts_with(b" ") || line.starts_with(b"\t") {
        return Err(Flaw::Folded);
    }
    let end = line.iter().position(|b| !is_token(*b)).ok_or(Flaw::HeaderName)?;
    if end == 0 || line[end] != b':' {
        return Err(Flaw::HeaderName);
    }
    Ok((&line[..end], line[end + 1..].trim_ascii()))
}

fn number(value: &[u8]) -> Option<u64> {
    if value.is_empty() || value.len() > 18 || !value.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(value).ok()?.parse().ok()
}

fn is_token(byte: u8) -> bool {
    TOKEN[usize::from(byte)]
}

/// RFC 9110, 5.6.2.
const TOKEN: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0;
    while byte < 128 {
        let b = byte as u8;
        table[byte] = b.is_ascii_alphanumeric()
            || matches!(
                b,
                b'!' | b'#'
                    | b'$'
                    | b'%'
                    | b'&'
                    | b'\''
                    | b'*'
                    | b'+'
                    | b'-'
                    | b'.'
                    | b'^'
                    | b'_'
                    | b'`'
                    | b'|'
                    | b'~'
            );
        byte += 1;
    }
    table
};

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: HeadLimits = HeadLimits { head_bytes_max: 4_096, headers_max: 20, uri_bytes_max: 200 };

    /// The verdict on `text`, which must be the same however it is cut.
    fn scan(text: &str) -> Verdict {
        let bytes = text.as_bytes();
        let whole = Scanner::new(LIMITS).scan(bytes);
        for step in [1, 2, 3, 7] {
            assert_eq!(flaw(in_pieces(bytes, step)), flaw(whole), "{text:?} in pieces of {step}");
        }
        whole
    }

    fn in_pieces(bytes: &[u8], step: usize) -> Verdict {
        let mut scanner = Scanner::new(LIMITS);
        let (mut start, mut last) = (0, Verdict::All);
        for end in (step..bytes.len()).step_by(step).chain([bytes.len()]) {
            last = scanner.scan(&bytes[start..end]);
            match last {
                Verdict::All => start = end,
                Verdict::Partial(n) => start += n,
                _ => return last,
            }
        }
        last
    }

    fn flaw(verdict: Verdict) -> Option<Flaw> {
        match verdict {
            Verdict::BadHead(_, flaw) | Verdict::BadBody(_, flaw) => Some(flaw),
            _ => None,
        }
    }

    #[test]
    fn plain_messages_pass() {
        for text in [
            "GET / HTTP/1.1\r\nHost: a\r\n\r\n",
            "\r\nGET / HTTP/1.0\r\n\r\n",
            "GET /a?b=c%20d HTTP/1.1\r\nhost:a\r\nX-Empty:\r\nCookie: a=b; c=\"d\"\r\n\r\n",
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabcGET / HTTP/1.1\r\nHost: a\r\n\r\n",
            "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n00;x=y\r\nSum: 7\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
            "PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
            "GET /\u{e9} HTTP/1.1\r\nHost: a\r\nX: \u{e9}\r\n\r\n",
        ] {
            assert_eq!(scan(text), Verdict::All, "{text:?}");
        }
    }

    #[test]
    fn what_can_be_read_in_two_ways_is_refused() {
        let get = |rest: &str| format!("GET / HTTP/1.1\r\nHost: a\r\n{rest}");
        let chunked = |rest: &str| get(&format!("Transfer-Encoding: chunked\r\n\r\n{rest}"));
        for (text, wanted) in [
            (get("Content-Length: 3\r\nContent-Length: 4\r\n\r\n"), Flaw::LengthTwice),
            (get("Content-Length: 3\r\nContent-Length: 3\r\n\r\n"), Flaw::LengthTwice),
            (get("Content-Length: 3, 3\r\n\r\n"), Flaw::Length),
            (get("Content-Length: +3\r\n\r\n"), Flaw::Length),
            (get("Content-Length: 0x3\r\n\r\n"), Flaw::Length),
            (get("Content-Length: -1\r\n\r\n"), Flaw::Length),
            (get("Content-Length:\r\n\r\n"), Flaw::Length),
            (get("Content-Length: 99999999999999999999\r\n\r\n"), Flaw::Length),
            (get("Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n"), Flaw::LengthAndEncoding),
            (get("Transfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n"), Flaw::LengthAndEncoding),
            (get("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n"), Flaw::EncodingTwice),
            (get("Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n"), Flaw::EncodingTwice),
            (get("Transfer-Encoding: gzip, chunked\r\n\r\n"), Flaw::Encoding),
            (get("Transfer-Encoding: xchunked\r\n\r\n"), Flaw::Encoding),
            (get("Transfer-Encoding: chunked, identity\r\n\r\n"), Flaw::Encoding),
            (get("Transfer-Encoding:\r\n\r\n"), Flaw::Encoding),
            (get("Transfer-Encoding: \"chunked\"\r\n\r\n"), Flaw::Encoding),
            ("GET / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n".to_owned(), Flaw::EncodingInOld),
            (get("Transfer-Encoding : chunked\r\n\r\n"), Flaw::HeaderName),
            (get("Content-Length : 3\r\n\r\n"), Flaw::HeaderName),
            (get("No colon\r\n\r\n"), Flaw::HeaderName),
            (get(": empty\r\n\r\n"), Flaw::HeaderName),
            (get("X(y): z\r\n\r\n"), Flaw::HeaderName),
            (get("X: a\r\n folded\r\n\r\n"), Flaw::Folded),
            (get("X: a\r\n\tTransfer-Encoding: chunked\r\n\r\n"), Flaw::Folded),
            (get("X: a\0b\r\n\r\n"), Flaw::Control),
            (get("X: a\u{7f}b\r\n\r\n"), Flaw::Control),
            (get("X: a\rb\r\n\r\n"), Flaw::LineEnd),
            (get("X: a\nTransfer-Encoding: chunked\r\n\r\n"), Flaw::LineEnd),
            ("GET / HTTP/1.1\nHost: a\n\n".to_owned(), Flaw::LineEnd),
            (get("X: a\n\r\n"), Flaw::LineEnd),
            ("GET  / HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(), Flaw::RequestLine),
            ("GET / \r\nHost: a\r\n\r\n".to_owned(), Flaw::RequestLine),
            ("GET /\r\n\r\n".to_owned(), Flaw::RequestLine),
            ("GET /a b HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(), Flaw::RequestLine),
            ("GET /\tHTTP/1.1\r\nHost: a\r\n\r\n".to_owned(), Flaw::RequestLine),
            ("G\u{e9}T / HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(), Flaw::RequestLine),
            (" GET / HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(), Flaw::RequestLine),
            ("GET / HTTP/1.2\r\nHost: a\r\n\r\n".to_owned(), Flaw::Version),
            ("GET / HTTP/2.0\r\nHost: a\r\n\r\n".to_owned(), Flaw::Version),
            ("GET / HTTP/1.1\r\n\r\n".to_owned(), Flaw::Host),
            (get("Host: b\r\n\r\n"), Flaw::Host),
            (format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "a".repeat(200)), Flaw::TargetTooLong),
            (get(&format!("{}\r\n", "X: y\r\n".repeat(20))), Flaw::TooManyHeaders),
            (get(&format!("X: {}\r\n\r\n", "y".repeat(4_096))), Flaw::HeadTooLong),
            (chunked("x\r\n"), Flaw::Chunk),
            (chunked("0x3\r\nabc\r\n"), Flaw::Chunk),
            (chunked("-3\r\n"), Flaw::Chunk),
            (chunked(" 3\r\nabc\r\n"), Flaw::Chunk),
            (chunked("3 \r\nabc\r\n"), Flaw::Chunk),
            (chunked("3\nabc\r\n"), Flaw::Chunk),
            (chunked("3\r\nabcd\r\n"), Flaw::Chunk),
            (chunked("3\r\nabc\n0\r\n\r\n"), Flaw::Chunk),
            (chunked("3;a\nb\r\nabc\r\n"), Flaw::Chunk),
            (chunked("3;a\rb\r\nabc\r\n"), Flaw::Chunk),
            (chunked("3;a\0b\r\nabc\r\n"), Flaw::Chunk),
            (chunked(&format!("3;{}\r\nabc\r\n", "x".repeat(300))), Flaw::Chunk),
            (chunked("1000000000000000\r\n"), Flaw::Chunk),
            (chunked("\r\n"), Flaw::Chunk),
            (chunked("0\r\n folded\r\n\r\n"), Flaw::Trailer),
            (chunked("0\r\nA b: c\r\n\r\n"), Flaw::Trailer),
            (chunked("0\r\nA: b\nc\r\n\r\n"), Flaw::Trailer),
            (chunked("0\r\n\n"), Flaw::Trailer),
        ] {
            assert_eq!(flaw(scan(&text)), Some(wanted), "{text:?}");
        }
    }

    #[test]
    fn what_came_before_a_flaw_passes() {
        let good = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
        let bad = "GET / HTTP/1.1\r\nHost : a\r\n\r\n";
        assert_eq!(
            Scanner::new(LIMITS).scan(format!("{good}{bad}").as_bytes()),
            Verdict::BadHead(good.len(), Flaw::HeaderName)
        );
    }

    #[test]
    fn bytes_behind_an_upgrade_wait() {
        let head = "GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n";
        for tunnel in [true, false] {
            let mut scanner = Scanner::new(LIMITS);
            assert_eq!(scanner.scan(format!("{head}\0raw").as_bytes()), Verdict::Hold(head.len()));
            scanner.decide(tunnel);
            let next = scanner.scan(b"\0raw\r\n\r\n");
            assert_eq!(next, if tunnel { Verdict::All } else { Verdict::BadHead(0, Flaw::Control) });
        }
    }

    #[test]
    fn numbers_of_flaws_lead_back() {
        for flaw in FLAWS {
            assert_eq!(Flaw::from_number(flaw as u8), Some(flaw));
        }
        assert_eq!(Flaw::from_number(0), None);
    }
}
