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

/// The page on which a form stands that is sent to `path`: what may be loaded again, bookmarked and led back to.
pub(crate) fn page_of_form(path: &str) -> String {
    let mut parts = path.split('/').skip(2);
    match (parts.next(), parts.next()) {
        (Some("orders"), Some(order)) => format!("/shop/orders/{order}"),
        (Some(place @ ("cart" | "checkout" | "orders" | "points" | "sale" | "sign-in")), _) => {
            format!("/shop/{place}")
        }
        _ => "/shop".to_owned(),
    }
}

/// Whether what is written as `%XX` in `path` is text.
pub(crate) fn is_text(path: &str) -> bool {
    let mut bytes = Vec::with_capacity(path.len());
    let mut rest = path.as_bytes();
    while let [first, after @ ..] = rest {
        let code = (*first == b'%').then(|| std::str::from_utf8(after.get(..2)?).ok()).flatten();
        match code.and_then(|code| u8::from_str_radix(code, 16).ok()) {
            Some(byte) => (bytes.push(byte), rest = &after[2..]),
            None => (bytes.push(*first), rest = after),
        };
    }
    std::str::from_utf8(&bytes).is_ok()
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
    fn a_form_belongs_to_a_page() {
        for (form, page) in [
            ("/shop/cart/coupon", "/shop/cart"),
            ("/shop/orders/o-1/cancel", "/shop/orders/o-1"),
            ("/shop/sale/noon/claim", "/shop/sale"),
            ("/shop/sign-out", "/shop"),
            ("/shop/nothing/x", "/shop"),
        ] {
            assert_eq!(page_of_form(form), page);
        }
    }

    #[test]
    fn only_text_is_an_address() {
        assert!(is_text("/shop/goods/%EB%A8%B8%EA%B7%B8%zz%") && is_text("/shop/goods/%"));
        assert!(!is_text("/shop/orders/%FF") && !is_text("/shop/orders/%EB%A8"));
    }

    #[test]
    fn parameters_are_encoded_and_empty_ones_left_out() {
        assert_eq!(with("/shop", &[("q", "a&b=c"), ("type", ""), ("from", "3")]), "/shop?q=a%26b%3Dc&from=3");
    }
}
