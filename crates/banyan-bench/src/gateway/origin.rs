//! The server behind the proxies: two prepared answers over keep-alive HTTP/1.1, on one thread, as cheap as it goes, because it
//! shares the machine with what is measured.

use std::io::Write;
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use clap::Args;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::{Failure, failed};

/// The path of the small answer.
pub(crate) const SMALL: &str = "/small";
/// The path of the large one.
pub(crate) const LARGE: &str = "/large";
/// Bytes of the large one.
pub(crate) const LARGE_BYTES: usize = 64 << 10;

const ITEM: &str = r#"{"sku":"SKU-004217","name":"Wool socks","price":{"amount":"12900","currency":"KRW"},"in_stock":41,"places":[{"id":"seoul-1","free":29},{"id":"busan-2","free":12}],"updated":"2026-11-20T08:15:00Z"}"#;

/// Where to serve.
#[derive(Args)]
pub(crate) struct Options {
    /// Port 0 takes a free one. The address is printed
    #[arg(long)]
    listen: SocketAddr,
}

/// The small body: what a shop's page asks for about one product.
pub(crate) fn small() -> Bytes {
    Bytes::from_static(ITEM.as_bytes())
}

/// The large body: many of them, filled up with spaces to [`LARGE_BYTES`].
pub(crate) fn large() -> Bytes {
    let mut text = format!("[{ITEM}");
    while text.len() + ITEM.len() + 2 <= LARGE_BYTES {
        text.push(',');
        text.push_str(ITEM);
    }
    text.push_str(&" ".repeat(LARGE_BYTES - 1 - text.len()));
    text.push(']');
    Bytes::from(text)
}

/// Serves until the process is ended.
pub(crate) fn run(options: &Options) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|e| failed("starting the runtime", e))?;
    runtime.block_on(async {
        let doing = || format!("listening on {}", options.listen);
        let listener = TcpListener::bind(options.listen).await.map_err(|e| failed(doing(), e))?;
        let address = listener.local_addr().map_err(|e| failed(doing(), e))?;
        let mut out = std::io::stdout();
        let said = writeln!(out, "listening on {address}").and_then(|()| out.flush());
        said.map_err(|e| failed("printing", e))?;
        let answers = Arc::new(Answers::new());
        loop {
            let (stream, _) = listener.accept().await.map_err(|e| failed("accepting", e))?;
            let answers = Arc::clone(&answers);
            // A connection ends when its client goes, in whatever way.
            tokio::spawn(async move { drop(serve(stream, &answers).await) });
        }
    })
}

struct Answers {
    small: Vec<u8>,
    large: Vec<u8>,
    unknown: Vec<u8>,
}

impl Answers {
    fn new() -> Self {
        let whole = |status: &str, body: &[u8]| {
            let head = format!(
                "HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
                body.len()
            );
            [head.as_bytes(), body].concat()
        };
        Self {
            small: whole("200 OK", &small()),
            large: whole("200 OK", &large()),
            unknown: whole("404 Not Found", b"{}"),
        }
    }

    fn to(&self, request: &[u8]) -> &[u8] {
        let asks_for = |path: &str| {
            let line = request.strip_prefix(b"GET ").and_then(|rest| rest.strip_prefix(path.as_bytes()));
            line.is_some_and(|rest| rest.starts_with(b" HTTP/1.1\r\n"))
        };
        match () {
            () if asks_for(SMALL) => &self.small,
            () if asks_for(LARGE) => &self.large,
            () => &self.unknown,
        }
    }
}

/// One connection: requests without bodies, one after the other.
async fn serve(mut stream: TcpStream, answers: &Answers) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let mut input = Vec::with_capacity(8 << 10);
    while stream.read_buf(&mut input).await? > 0 {
        if input.ends_with(b"\r\n\r\n") {
            stream.write_all(answers.to(&input)).await?;
            input.clear();
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bodies_are_as_long_as_they_should_be_and_json() {
        assert!((180..=220).contains(&small().len()), "{}", small().len());
        assert_eq!(large().len(), LARGE_BYTES);
        for body in [small(), large()] {
            serde_json::from_slice::<serde_json::Value>(&body).expect("JSON");
        }
    }

    #[test]
    fn what_is_not_there_is_not_found() {
        let answers = Answers::new();
        assert!(answers.to(b"GET /small HTTP/1.1\r\nhost: a\r\n\r\n").starts_with(b"HTTP/1.1 200"));
        assert!(answers.to(b"GET /smaller HTTP/1.1\r\nhost: a\r\n\r\n").starts_with(b"HTTP/1.1 404"));
        assert!(answers.to(b"POST /small HTTP/1.1\r\nhost: a\r\n\r\n").starts_with(b"HTTP/1.1 404"));
    }
}
