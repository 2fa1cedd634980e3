//! A client of Banyan's API, as thin as an old shop's: one connection, one request at a time.

use serde_json::Value;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

/// A connection that is kept while it is good.
pub(crate) struct Http {
    address: SocketAddr,
    key: Arc<str>,
    stream: Option<BufReader<TcpStream>>,
}

/// An answer.
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) body: Vec<u8>,
}

impl Reply {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or(Value::Null)
    }

    /// What kind of refusal it is: the end of the problem's type.
    pub(crate) fn slug(&self) -> String {
        let json = self.json();
        json["type"].as_str().and_then(|text| text.rsplit('/').next()).unwrap_or_default().to_owned()
    }
}

impl Http {
    pub(crate) fn new(address: SocketAddr, key: Arc<str>) -> Self {
        Self { address, key, stream: None }
    }

    /// Sends one request and reads its whole answer within `limit`. An error says nothing about what was done.
    pub(crate) async fn send(
        &mut self,
        method: &str,
        path: &str,
        once: Option<&str>,
        body: Option<&Value>,
        limit: Duration,
    ) -> io::Result<Reply> {
        // Whatever is still on its way after a failure belongs to that request, so its connection is not used again.
        let stream = self.stream.take();
        let work = self.exchange(stream, method, path, once, body);
        let (stream, reply) = tokio::time::timeout(limit, work)
            .await
            .map_err(|_| io::Error::new(io::ErrorKind::TimedOut, format!("no answer within {limit:?}")))??;
        self.stream = Some(stream);
        Ok(reply)
    }

    pub(crate) async fn get(&mut self, path: &str, limit: Duration) -> io::Result<Reply> {
        self.send("GET", path, None, None, limit).await
    }

    async fn exchange(
        &self,
        stream: Option<BufReader<TcpStream>>,
        method: &str,
        path: &str,
        once: Option<&str>,
        body: Option<&Value>,
    ) -> io::Result<(BufReader<TcpStream>, Reply)> {
        let mut stream = match stream {
            Some(stream) => stream,
            None => BufReader::new(TcpStream::connect(self.address).await?),
        };
        let body = body.map(Value::to_string).unwrap_or_default();
        let once = once.map(|key| format!("idempotency-key: {key}\r\n")).unwrap_or_default();
        let request = format!(
            "{method} {path} HTTP/1.1\r\nhost: {}\r\nauthorization: Bearer {}\r\ncontent-type: application/json\r\n\
             {once}content-length: {}\r\n\r\n{body}",
            self.address,
            self.key,
            body.len()
        );
        stream.get_mut().write_all(request.as_bytes()).await?;
        let reply = read_reply(&mut stream).await?;
        Ok((stream, reply))
    }
}

async fn read_reply(stream: &mut BufReader<TcpStream>) -> io::Result<Reply> {
    let first = read_line(stream).await?;
    let status = first.split(' ').nth(1).and_then(|status| status.parse().ok());
    let status = status.ok_or_else(|| io::Error::other(format!("no status in {first:?}")))?;
    let mut length = 0;
    loop {
        let line = read_line(stream).await?;
        let Some((name, value)) = line.split_once(':') else { break };
        if name.eq_ignore_ascii_case("content-length") {
            length = value.trim().parse().map_err(io::Error::other)?;
        }
        if name.eq_ignore_ascii_case("transfer-encoding") {
            return Err(io::Error::other("an answer in chunks, which this client does not read"));
        }
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await?;
    Ok(Reply { status, body })
}

async fn read_line(stream: &mut BufReader<TcpStream>) -> io::Result<String> {
    let mut line = String::new();
    if stream.read_line(&mut line).await? == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(line.trim_end_matches(['\r', '\n']).to_owned())
}
