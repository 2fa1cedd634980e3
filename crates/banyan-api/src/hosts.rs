//! Where a shopper may be sent back to.

use crate::problem::Problem;
use http::Uri;
use std::net::IpAddr;

/// Longest address to come back to, in bytes.
const RETURN_URL_BYTES_MAX: usize = 1_024;

/// Whether `host`, without a port, means the machine itself.
#[must_use]
pub fn is_loopback_host(host: &str) -> bool {
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    bare.eq_ignore_ascii_case("localhost") || bare.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

/// Checks the address to which a payment company sends the shopper back: it goes out under the shop's name, so it leads to the
/// shop. `allowed` are the hosts it may have beside this machine.
pub(crate) fn check_return_url(url: &str, allowed: &[String]) -> Result<(), Problem> {
    if url.is_empty() {
        return Ok(());
    }
    let wrong = || {
        Problem::invalid(
            "return_url: must be an http or https address of at most 1024 visible ASCII characters, with a host and no user.",
        )
    };
    // A backslash is a slash to browsers and none to parsers.
    let plain = url.len() <= RETURN_URL_BYTES_MAX && url.bytes().all(|b| b.is_ascii_graphic() && b != b'\\');
    let uri: Uri = Some(url).filter(|_| plain).and_then(|url| url.parse().ok()).ok_or_else(wrong)?;
    let is_web = matches!(uri.scheme_str(), Some("http" | "https"));
    let authority = uri.authority().filter(|all| is_web && !all.as_str().contains('@')).ok_or_else(wrong)?;
    let host = authority.host();
    if is_loopback_host(host) || allowed.iter().any(|allowed| allowed.eq_ignore_ascii_case(host)) {
        return Ok(());
    }
    Err(Problem::invalid(
        "return_url: its host is not the shop's. Start the server with --return-host HOST, or --public-url, if it is.",
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shoppers_are_sent_back_to_the_shop_and_nowhere_else() {
        let allowed = ["shop.example".to_owned()];
        for good in [
            "",
            "http://127.0.0.1:8080/shop/return",
            "http://localhost/x?y=1",
            "http://[::1]:1/",
            "https://shop.example",
            "https://SHOP.example:8443/done?order=o-1#top",
        ] {
            check_return_url(good, &allowed).unwrap_or_else(|problem| panic!("{good}: {}", problem.detail));
        }
        let long = format!("http://127.0.0.1/{}", "x".repeat(RETURN_URL_BYTES_MAX));
        for bad in [
            "http://",
            "https:///path",
            "shop.example/x",
            "javascript:alert(1)//https://shop.example",
            "http://evil.example/",
            "https://shop.example.evil.example/",
            "https://shop.example@evil.example/",
            "https://evil.example\\@shop.example/",
            "https://user:word@shop.example/",
            "http://127.0.0.1/\r\nx",
            "http://127.0.0.1/a b",
            "https://shop.example/\u{7f}",
            long.as_str(),
        ] {
            assert!(check_return_url(bad, &allowed).is_err(), "{bad}");
        }
    }
}
