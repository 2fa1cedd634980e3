//! Messages on plain sockets, for tests with threads and no runtime of their own.

use super::field;
use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// Longer than any answer takes, on a machine that does ten other things.
pub const DEADLINE: Duration = Duration::from_secs(60);

/// Header fields by their name in small letters.
pub type Headers = BTreeMap<String, String>;

/// A message as it came.
pub struct Message {
    /// Its first line, its fields and the empty line.
    pub head: String,
    pub body: Vec<u8>,
}

impl Message {
    /// Reads a message whose length is told, or that has no body.
    pub fn read(stream: &mut TcpStream) -> io::Result<Self> {
        let head = read_head(stream)?;
        let length = field(&head, "content-length").map_or(0, |length| length.parse().expect("a length"));
        let mut body = vec![0; length];
        stream.read_exact(&mut body)?;
        Ok(Self { head, body })
    }

    /// Reads the answer to HEAD: it has no body, whatever it says.
    pub fn read_head(stream: &mut TcpStream) -> io::Result<Self> {
        Ok(Self { head: read_head(stream)?, body: Vec::new() })
    }

    pub fn first_line(&self) -> &str {
        self.head.lines().next().unwrap_or_default()
    }

    pub fn headers(&self) -> Headers {
        let pairs = self.head.split("\r\n").filter_map(|line| line.split_once(": "));
        pairs.map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned())).collect()
    }

    pub fn text(&self) -> String {
        String::from_utf8(self.body.clone()).expect("a text")
    }
}

fn read_head(stream: &mut TcpStream) -> io::Result<String> {
    let (mut head, mut byte) = (Vec::new(), [0]);
    while !head.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte)?;
        head.push(byte[0]);
    }
    Ok(String::from_utf8(head).expect("a head"))
}

/// Asks on a new connection that is closed after it.
pub fn exchange(
    address: SocketAddr,
    method: &str,
    target: &str,
    headers: &[(&str, &str)],
    body: &str,
) -> Message {
    let mut stream = TcpStream::connect(address).expect("connects");
    stream.set_read_timeout(Some(DEADLINE)).expect("an option");
    let headers: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    let length = body.len();
    let request = format!(
        "{method} {target} HTTP/1.1\r\nhost: shop.example\r\nconnection: close\r\n{headers}content-length: {length}\r\n\r\n{body}"
    );
    stream.write_all(request.as_bytes()).expect("sends");
    Message::read(&mut stream).expect("an answer")
}
