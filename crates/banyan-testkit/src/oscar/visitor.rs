//! A browser's part of a visit: cookies, the form token, the page one came from, redirects.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::time::Duration;

/// Longest wait for a byte.
const PATIENCE: Duration = Duration::from_secs(120);
/// Most redirects that are followed.
const REDIRECTS_MAX: usize = 10;

/// Somebody with cookies, at one shop.
#[derive(Clone, Debug)]
pub struct Visitor {
    /// `127.0.0.1:8000`, which is also the `Host` that is asked for.
    host: String,
    cookies: BTreeMap<String, String>,
    /// The page they are on, as path.
    at: String,
}

/// A page that was answered, behind all redirects.
#[derive(Clone, Debug)]
pub struct Page {
    /// Its status.
    pub status: u16,
    /// Its path, with the query.
    pub path: String,
    /// Its text.
    pub text: String,
    /// Its header fields, in order, with names in lower case.
    pub headers: Vec<(String, String)>,
}

impl Visitor {
    /// Somebody new, at `http://HOST:PORT`.
    pub fn at(url: &str) -> io::Result<Self> {
        let host = url.strip_prefix("http://").map(|rest| rest.trim_end_matches('/'));
        let host = host.filter(|host| !host.is_empty() && !host.contains('/'));
        let host =
            host.ok_or_else(|| io::Error::other(format!("{url} is not of the form http://HOST:PORT")))?;
        Ok(Self { host: host.to_owned(), cookies: BTreeMap::new(), at: "/".to_owned() })
    }

    /// Loads a page, and follows where it leads.
    pub fn get(&mut self, path: &str) -> io::Result<Page> {
        self.follow("GET", path, None)
    }

    /// Sends a form from the page they are on, with the token that the shop's cookie names, and follows where it leads.
    pub fn post(&mut self, path: &str, fields: &[(&str, &str)]) -> io::Result<Page> {
        let token = self.cookies.get("csrftoken").cloned().unwrap_or_default();
        let all = fields.iter().copied().chain([("csrfmiddlewaretoken", token.as_str())]);
        let encode = |text: &str| text.bytes().map(|byte| format!("%{byte:02X}")).collect::<String>();
        let body: Vec<_> = all.map(|(name, value)| format!("{}={}", encode(name), encode(value))).collect();
        self.follow("POST", path, Some(&body.join("&")))
    }

    /// A cookie's value.
    pub fn cookie(&self, name: &str) -> Option<&str> {
        self.cookies.get(name).map(String::as_str)
    }

    fn follow(&mut self, method: &str, path: &str, form: Option<&str>) -> io::Result<Page> {
        let mut page = self.once(method, path, form)?;
        for _ in 0..REDIRECTS_MAX {
            let Some(to) = page.header("location").filter(|_| (300..400).contains(&page.status)) else {
                return Ok(page);
            };
            let here = format!("http://{}", self.host);
            let to = to.strip_prefix(&here).unwrap_or(to).to_owned();
            if !to.starts_with('/') {
                return Err(io::Error::other(format!("{path} leads away, to {to}")));
            }
            page = self.once("GET", &to, None)?;
        }
        Err(io::Error::other(format!("{path} leads around in circles, last to {}", page.path)))
    }

    /// One request, on a connection of its own.
    fn once(&mut self, method: &str, path: &str, form: Option<&str>) -> io::Result<Page> {
        let cookies: Vec<_> = self.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let mut head = format!("{method} {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n", self.host);
        head.push_str("Accept: text/html\r\nAccept-Language: en-gb\r\n");
        head.push_str(&format!("Referer: http://{}{}\r\n", self.host, self.at));
        if !cookies.is_empty() {
            head.push_str(&format!("Cookie: {}\r\n", cookies.join("; ")));
        }
        if let Some(form) = form {
            head.push_str(&format!("Origin: http://{}\r\n", self.host));
            head.push_str("Content-Type: application/x-www-form-urlencoded\r\n");
            head.push_str(&format!("Content-Length: {}\r\n", form.len()));
        }
        head.push_str("\r\n");
        head.push_str(form.unwrap_or_default());
        let address = self.host.to_socket_addrs()?.next();
        let address = address.ok_or_else(|| io::Error::other(format!("{} has no address", self.host)))?;
        let mut stream = TcpStream::connect_timeout(&address, PATIENCE)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.write_all(head.as_bytes())?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer)?;
        let page = Page::parse(path, &answer)?;
        for (_, cookie) in page.headers.iter().filter(|(name, _)| name == "set-cookie") {
            if let Some((name, value)) = cookie.split(';').next().and_then(|pair| pair.split_once('=')) {
                self.cookies.insert(name.trim().to_owned(), value.trim().to_owned());
            }
        }
        self.at = path.to_owned();
        Ok(page)
    }
}

impl Page {
    /// The first header field of that name, in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(at, _)| at == name).map(|(_, value)| value.as_str())
    }

    /// What the page tells its reader in coloured boxes, without markup.
    pub fn alerts(&self) -> Vec<String> {
        let boxes = self.text.split("<div class=\"alert").skip(1);
        let texts = boxes.map(|text| {
            let text = text.split("</div>").next().unwrap_or_default();
            let text: String = text
                .split('<')
                .map(|part| part.split_once('>').map_or("", |(_, text)| text))
                .collect::<Vec<_>>()
                .join(" ");
            let text = text.replace("&#x27;", "'").replace("&amp;", "&").replace("&times;", "");
            text.split_whitespace().collect::<Vec<_>>().join(" ")
        });
        texts.filter(|text| !text.is_empty()).collect()
    }

    fn parse(path: &str, answer: &[u8]) -> io::Result<Self> {
        let bad = || io::Error::other(format!("{path}: the answer is not HTTP, or ends early"));
        let end = answer.windows(4).position(|four| four == b"\r\n\r\n").ok_or_else(bad)?;
        let head = String::from_utf8_lossy(&answer[..end]).into_owned();
        let mut lines = head.split("\r\n");
        let status = lines.next().and_then(|line| line.split(' ').nth(1)?.parse().ok()).ok_or_else(bad)?;
        let headers: Vec<_> = lines
            .filter_map(|line| line.split_once(':'))
            .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
            .collect();
        let mut page = Self { status, path: path.to_owned(), text: String::new(), headers };
        let body = &answer[end + 4..];
        let body = match (page.header("transfer-encoding"), page.header("content-length")) {
            (Some("chunked"), _) => unchunk(body).ok_or_else(bad)?,
            (_, Some(length)) => {
                let length = length.parse().ok().filter(|length| *length <= body.len()).ok_or_else(bad)?;
                body[..length].to_vec()
            }
            _ => body.to_vec(),
        };
        page.text = String::from_utf8_lossy(&body).into_owned();
        Ok(page)
    }
}

/// The body behind the chunked transfer coding; `None` if it is broken or ends early.
fn unchunk(mut rest: &[u8]) -> Option<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let end = rest.windows(2).position(|two| two == b"\r\n")?;
        let size = std::str::from_utf8(&rest[..end]).ok()?;
        let size = usize::from_str_radix(size.split(';').next()?.trim(), 16).ok()?;
        rest = rest.get(end + 2..)?;
        if size == 0 {
            return Some(body);
        }
        body.extend_from_slice(rest.get(..size)?);
        rest = rest.get(size + 2..)?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_are_read_whole_or_not_at_all() {
        let chunked =
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nwiki\r\n3;x=y\r\npe!\r\n0\r\n\r\n";
        assert_eq!(Page::parse("/", chunked).expect("a page").text, "wikipe!");
        assert!(Page::parse("/", &chunked[..chunked.len() - 8]).is_err());
        let plain =
            b"HTTP/1.1 404 Not Found\r\nSet-Cookie: a=1\r\nSet-Cookie: b=2\r\nContent-Length: 2\r\n\r\nno";
        let page = Page::parse("/", plain).expect("a page");
        assert_eq!((page.status, page.text.as_str(), page.headers.len()), (404, "no", 3));
        assert!(Page::parse("/", &plain[..plain.len() - 1]).is_err());
        assert!(Page::parse("/", b"").is_err());
    }

    #[test]
    fn alerts_are_told_without_markup() {
        let text = "<div class=\"alert alert-danger\">\n <b>'Pen' &amp; ink</b> gone\n</div><p>x</p><div class=\"alertinner\">y</div>";
        let page = Page { status: 200, path: "/".into(), text: text.into(), headers: Vec::new() };
        assert_eq!(page.alerts(), ["'Pen' & ink gone", "y"]);
    }

    #[test]
    fn only_plain_addresses_are_visited() {
        assert!(Visitor::at("http://127.0.0.1:80/").is_ok());
        assert!(Visitor::at("https://127.0.0.1").is_err());
        assert!(Visitor::at("http://a/b").is_err());
    }
}
