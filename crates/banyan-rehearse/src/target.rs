//! Where requests go: a plain `http://` address.

use std::fmt;

use http::Uri;
use http::uri::Scheme;

/// A checked target address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    host: String,
    port: u16,
    authority: String,
    prefix: String,
}

impl Target {
    /// Reads an address such as `http://127.0.0.1:8080` or, behind a gateway, `http://shop.test/coupons`.
    ///
    /// # Errors
    /// A sentence that says what is wrong and what to write instead.
    pub fn parse(url: &str) -> Result<Self, String> {
        let uri: Uri = url.trim().parse().map_err(|error| format!("`{url}` is not an address: {error}"))?;
        match uri.scheme() {
            Some(scheme) if *scheme == Scheme::HTTP => {}
            Some(scheme) if *scheme == Scheme::HTTPS => {
                return Err(format!(
                    "`{url}` is https, and the load generator speaks plain HTTP/1.1 only, so that it measures \
                     the server and not TLS: aim at the plain listener behind the TLS endpoint"
                ));
            }
            _ => return Err(format!("`{url}` must begin with http://")),
        }
        let authority = uri.authority().ok_or_else(|| format!("`{url}` names no host"))?;
        if authority.as_str().contains('@') {
            return Err("must not carry a user or password; use `key` or `key_file`".to_owned());
        }
        if uri.query().is_some() {
            return Err(format!("`{url}` must not have a query"));
        }
        Ok(Self {
            host: authority.host().trim_start_matches('[').trim_end_matches(']').to_owned(),
            port: authority.port_u16().unwrap_or(80),
            authority: authority.as_str().to_owned(),
            prefix: uri.path().trim_end_matches('/').to_owned(),
        })
    }

    /// The name or address to connect to.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port to connect to.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The value of the `Host` header.
    pub(crate) fn authority(&self) -> &str {
        &self.authority
    }

    /// A path below the target's own path.
    pub(crate) fn path(&self, path: &str) -> String {
        format!("{}{path}", self.prefix)
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "http://{}{}", self.authority, self.prefix)
    }
}

#[cfg(test)]
mod tests {
    use super::Target;

    #[test]
    fn reads_plain_addresses() {
        let check = |url: &str| Target::parse(url).map(|t| (t.host().to_owned(), t.port(), t.path("/v1")));
        assert_eq!(check("http://127.0.0.1:8080"), Ok(("127.0.0.1".into(), 8080, "/v1".into())));
        assert_eq!(check("http://shop.test/a/"), Ok(("shop.test".into(), 80, "/a/v1".into())));
        assert_eq!(check("http://[::1]:9"), Ok(("::1".into(), 9, "/v1".into())));
    }

    #[test]
    fn says_why_not() {
        let why = |url| Target::parse(url).expect_err("must be refused");
        assert!(why("https://shop.test").contains("plain HTTP/1.1 only"));
        assert!(why("shop.test").contains("must begin with http://"));
        assert!(why("http://me:pw@shop.test").contains("key_file"));
    }
}
