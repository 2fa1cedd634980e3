//! Addresses: writing them safely, and accepting only our own.

use std::fmt::Write;

/// `text` as one part of an address.
pub(crate) fn encode(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            let _written_to_memory = write!(encoded, "%{byte:02X}");
        }
    }
    encoded
}

/// `path` if it is an address of the shop, and the shop's first page otherwise: nobody is led elsewhere.
pub(crate) fn own_path(path: &str) -> &str {
    let inside = path == "/shop" || path.starts_with("/shop/") || path.starts_with("/shop?");
    let plain = path.bytes().all(|b| b.is_ascii_graphic() && b != b'\\');
    if inside && plain && !path.starts_with("/shop/sign-") { path } else { "/shop" }
}

/// `path` with the parameters that have a value.
pub(crate) fn with(path: &str, parameters: &[(&str, &str)]) -> String {
    let mut address = path.to_owned();
    let mut mark = '?';
    for (name, value) in parameters.iter().filter(|(_, value)| !value.is_empty()) {
        address.push(mark);
        let _written_to_memory = write!(address, "{name}={}", encode(value));
        mark = '&';
    }
    address
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_shops_own_addresses_are_followed() {
        for own in ["/shop", "/shop/orders?after=3", "/shop?x=1"] {
            assert_eq!(own_path(own), own);
        }
        for other in [
            "",
            "//evil.example",
            "/shopx",
            "https://evil.example/shop",
            "/shop/\\evil",
            "/shop/sign-in",
            "/shop/a\r\nb",
        ] {
            assert_eq!(own_path(other), "/shop", "{other}");
        }
    }

    #[test]
    fn parameters_are_encoded_and_empty_ones_left_out() {
        assert_eq!(with("/shop", &[("q", "a&b=c"), ("type", ""), ("from", "3")]), "/shop?q=a%26b%3Dc&from=3");
    }
}
