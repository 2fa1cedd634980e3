//! What of a saga's fields readers of events and pages see: everything but what would let them act in a shopper's place.

/// Parts of names of fields whose values are shown in part: codes of coupons, tokens of payment methods, and the like.
const SECRET_NAMES: [&str; 9] =
    ["coupon", "code", "token", "secret", "password", "method", "card", "authorization", "credential"];
/// What stays of a value, so that two can be told apart.
const SHOWN_CHARS: usize = 4;

/// `value` of the field `name` as readers see it, or none if it may be shown whole.
#[must_use]
pub fn masked(name: &str, value: &str) -> Option<String> {
    // An address may carry the key to a card page in its path: where it leads is enough.
    if let Some((scheme, rest)) = value.split_once("://").filter(|(scheme, _)| scheme.starts_with("http")) {
        let host = rest.split(['/', '?', '#']).next().unwrap_or_default();
        // What stands before the @ is a name and a password.
        let host = host.rsplit('@').next().unwrap_or_default();
        return Some(format!("{scheme}://{host}/…"));
    }
    let name = name.to_ascii_lowercase();
    if value.is_empty() || !SECRET_NAMES.iter().any(|secret| name.contains(secret)) {
        return None;
    }
    Some(format!("{}····", value.chars().take(SHOWN_CHARS).collect::<String>()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_lets_somebody_act_is_shown_in_part() {
        for (name, value, shown) in [
            ("coupon", "7K2M-Q9XR-4TBHC", Some("7K2M····")),
            ("method", "tok_4242", Some("tok_····")),
            ("redirect", "https://u:p@pay.example:8443/s/abc?x=1", Some("https://pay.example:8443/…")),
            ("payment", "pay_17", None),
            ("amount", "22800", None),
            ("coupon", "", None),
        ] {
            assert_eq!(masked(name, value).as_deref(), shown, "{name}={value}");
        }
    }
}
