//! How browsers reach this server: the address that its pages have, and the storefront whose sign-in asks for no password.
//!
//! Without `--public-url` the storefront is for whoever sits at this machine. A proxy in front makes everybody look like that, so
//! what a browser says it asked for must be this machine, and nobody may have passed the request on.

use crate::exit::Failure;
use axum::Router;
use axum::extract::Request;
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse, Response};
use banyan_api::{Problem, is_loopback_host};
use http::{HeaderMap, StatusCode, Uri, header};
use std::str::FromStr;
use std::sync::Arc;

/// The address under which browsers reach the pages: `https://shop.example`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PublicUrl {
    text: String,
    host: String,
}

impl PublicUrl {
    /// Whether browsers come over TLS.
    pub(crate) fn is_https(&self) -> bool {
        self.text.starts_with("https://")
    }

    /// Without a slash at its end.
    pub(crate) fn as_str(&self) -> &str {
        &self.text
    }

    /// Its host, without the port.
    pub(crate) fn host(&self) -> &str {
        &self.host
    }
}

impl FromStr for PublicUrl {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("{text:?} is no address such as https://shop.example");
        let uri: Uri = text.parse().map_err(|_| wrong())?;
        let scheme =
            uri.scheme_str().filter(|scheme| ["http", "https"].contains(scheme)).ok_or_else(wrong)?;
        let authority = uri.authority().filter(|all| !all.as_str().contains('@')).ok_or_else(wrong)?;
        if uri.path() != "/" || uri.query().is_some() || authority.host().is_empty() {
            return Err(format!("{text:?} must be a scheme and a host alone: https://shop.example"));
        }
        let host = authority.host().to_ascii_lowercase();
        Ok(Self { text: format!("{scheme}://{}", authority.as_str().to_ascii_lowercase()), host })
    }
}

/// Whether the storefront of this process is served: everybody who reaches it is who they say they are.
pub(crate) fn serves_shop(at_loopback: bool, public: Option<&PublicUrl>, without_password: bool) -> bool {
    match public {
        // Others come in, and nothing but the flag says that they may be anybody.
        Some(_) => without_password,
        None => at_loopback,
    }
}

/// The pages of `shop` for whoever sits at this machine; under a public address for whoever comes by it too.
pub(crate) fn only_here(shop: Router, public: Option<&PublicUrl>) -> Router {
    let host: Option<Arc<str>> = public.map(|public| public.host().into());
    shop.layer(from_fn(move |request: Request, next: Next| {
        let host = host.clone();
        async move {
            match may_enter(request.headers(), host.as_deref()) {
                true => next.run(request).await,
                false => turned_away(),
            }
        }
    }))
}

/// Whether a browser asked for this machine or for `public`, and nobody passed the request on unless there is a public address.
fn may_enter(headers: &HeaderMap, public: Option<&str>) -> bool {
    let asked = headers.get(header::HOST).and_then(|host| host.to_str().ok());
    let Some(asked) = asked.and_then(|host| host.parse::<http::uri::Authority>().ok()) else { return false };
    if let Some(public) = public {
        return asked.host().eq_ignore_ascii_case(public) || is_loopback_host(asked.host());
    }
    let passed_on =
        ["forwarded", "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto", "x-real-ip", "via"];
    is_loopback_host(asked.host()) && !passed_on.iter().any(|name| headers.contains_key(*name))
}

fn turned_away() -> Response {
    let detail = "This shop's sign-in is a demonstration: whoever gives a name is that member. So it is for a browser on its own \
                  machine only, reached as 127.0.0.1 or localhost. See --public-url in `banyan up --help`.";
    Problem::new(StatusCode::FORBIDDEN, "forbidden", detail).into_response()
}

/// The address that `--public-url` gives.
pub(crate) fn read(text: Option<&str>) -> Result<Option<PublicUrl>, Failure> {
    let read = text.map(str::parse).transpose();
    read.map_err(|why: String| Failure::usage(format!("--public-url: {why}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_a_scheme_and_a_host() {
        let of = |text: &str| text.parse::<PublicUrl>().ok();
        let shop = of("https://Shop.Example:8443/").expect("a good one");
        assert_eq!(
            (shop.as_str(), shop.host(), shop.is_https()),
            ("https://shop.example:8443", "shop.example", true)
        );
        assert!(!of("http://shop.example").expect("a good one").is_https());
        for text in [
            "shop.example",
            "ftp://shop.example",
            "https://",
            "https://a@shop.example",
            "https://shop.example/x",
            "https://shop.example/?x",
        ] {
            assert_eq!(of(text), None, "{text}");
        }
    }

    #[test]
    fn without_a_public_address_only_this_machine_comes_in() {
        let enters = |public: Option<&str>, headers: &[(&'static str, &'static str)]| {
            let mut all = HeaderMap::new();
            for (name, value) in headers {
                all.insert(*name, http::HeaderValue::from_static(value));
            }
            may_enter(&all, public)
        };
        for host in ["127.0.0.1", "127.0.0.1:8080", "localhost:8080", "LOCALHOST", "[::1]:8080", "127.8.9.1"]
        {
            assert!(enters(None, &[("host", host)]), "{host}");
        }
        // A page elsewhere whose name was made to mean this machine, and what a proxy passes on.
        for host in
            ["evil.example:8080", "127.0.0.1.evil.example", "shop.example", "", "localhost.evil.example"]
        {
            assert!(!enters(None, &[("host", host)]), "{host}");
        }
        assert!(!enters(None, &[]));
        for name in ["forwarded", "x-forwarded-for", "x-real-ip", "via"] {
            assert!(!enters(None, &[("host", "127.0.0.1"), (name, "203.0.113.9")]), "{name}");
        }
        let shop = Some("shop.example");
        assert!(enters(shop, &[("host", "shop.example"), ("x-forwarded-for", "203.0.113.9")]));
        assert!(!enters(shop, &[("host", "evil.example")]));
    }

    #[test]
    fn others_come_in_only_where_somebody_said_so() {
        let public = "https://shop.example".parse::<PublicUrl>().ok();
        assert!(serves_shop(true, None, false));
        assert!(!serves_shop(false, None, false));
        assert!(!serves_shop(true, public.as_ref(), false));
        assert!(serves_shop(true, public.as_ref(), true));
    }
}
