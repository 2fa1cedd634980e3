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

/// `path` if it is an address of the console, and the console's first page otherwise: nobody is led elsewhere.
pub(crate) fn own_path(path: &str) -> &str {
    let inside = path == "/console" || path.starts_with("/console/") || path.starts_with("/console?");
    let plain = path.bytes().all(|b| b.is_ascii_graphic() && b != b'\\');
    if inside && plain && !path.starts_with("/console/log") { path } else { "/console" }
}

/// The page on which a form stands that is sent to `path`: what may be loaded again and led back to.
pub(crate) fn page_of_form(path: &str) -> &str {
    match path {
        "/console/campaigns" => "/console/campaigns/new",
        "/console/logout" => "/console",
        _ => {
            ["/change", "/revoke", "/undo"].into_iter().find_map(|end| path.strip_suffix(end)).unwrap_or(path)
        }
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
    fn only_the_consoles_own_addresses_are_followed() {
        for own in ["/console", "/console/events?from=3", "/console?x=1"] {
            assert_eq!(own_path(own), own);
        }
        for other in [
            "",
            "//evil.example",
            "/consolex",
            "https://evil.example/console",
            "/console/\\evil",
            "/console/login",
            "/console/a\r\nb",
        ] {
            assert_eq!(own_path(other), "/console", "{other}");
        }
    }

    #[test]
    fn parameters_are_encoded_and_empty_ones_left_out() {
        assert_eq!(
            with("/console/events", &[("q", "a&b=c"), ("type", ""), ("from", "3")]),
            "/console/events?q=a%26b%3Dc&from=3"
        );
    }
}
