//! The answer every compared server gives: the same fields, so that nobody wins by saying less.

use axum::body::Body;
use axum::response::Response;
use http::{StatusCode, header};
use serde::{Deserialize, Serialize};

/// What a client sends.
#[derive(Deserialize)]
pub(crate) struct Request {
    /// Who wants a coupon.
    pub(crate) member: String,
}

/// What a client gets.
#[derive(Serialize)]
struct Coupon<'a> {
    coupon: String,
    code: String,
    campaign: &'a str,
    member: &'a str,
    issued_at: String,
    expires_at: Option<&'a str>,
    seq: u64,
}

/// A member id as the contract has it: 1 to 64 bytes of visible ASCII.
pub(crate) fn is_member(member: &str) -> bool {
    (1..=64).contains(&member.len()) && member.bytes().all(|byte| byte.is_ascii_graphic())
}

/// 201 for a new coupon, 200 for the one the member already had.
pub(crate) fn coupon(campaign: &str, member: &str, number: u64, is_new: bool) -> Response {
    let status = if is_new { StatusCode::CREATED } else { StatusCode::OK };
    json(status, coupon_body(campaign, member, number))
}

/// The body of an answer.
pub(crate) fn coupon_body(campaign: &str, member: &str, number: u64) -> Vec<u8> {
    let coupon = Coupon {
        coupon: format!("{campaign}-{number}"),
        code: code(number),
        campaign,
        member,
        issued_at: jiff::Timestamp::now().to_string(),
        expires_at: None,
        seq: number,
    };
    serde_json::to_vec(&coupon).expect("strings and numbers always become JSON")
}

/// A refusal or a fault, in the contract's form.
pub(crate) fn problem(status: StatusCode, slug: &str) -> Response {
    let body = format!(r#"{{"type":"/errors/{slug}","title":"{slug}","status":{}}}"#, status.as_u16());
    json(status, body.into_bytes())
}

/// An answer with a body of JSON.
pub(crate) fn json(status: StatusCode, body: Vec<u8>) -> Response {
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, header::HeaderValue::from_static("application/json"));
    response
}

/// A code of the right length. The rivals' codes need not be hard to guess here.
fn code(number: u64) -> String {
    const ALPHABET: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";
    let mut bits = scatter(number);
    let mut text = String::with_capacity(15);
    for position in 0..13 {
        if position == 4 || position == 8 {
            text.push('-');
        }
        text.push(char::from(ALPHABET[usize::try_from(bits & 31).expect("five bits")]));
        bits = bits.rotate_right(5);
    }
    text
}

/// A permutation of all 64-bit numbers (SplitMix64's finalizer): different inputs stay different.
pub(crate) fn scatter(number: u64) -> u64 {
    let mixed = (number ^ (number >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    mixed ^ (mixed >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_has_the_contracts_fields() {
        let body = coupon_body("noon", "m\"1", 17);
        let value: serde_json::Value = serde_json::from_slice(&body).expect("JSON");
        assert_eq!(value["coupon"], "noon-17");
        assert_eq!(value["member"], "m\"1");
        assert_eq!(value["code"].as_str().map(str::len), Some(15));
        assert!(value["expires_at"].is_null() && value["issued_at"].is_string());
        assert_ne!(code(1), code(2));
    }

    #[test]
    fn members_are_visible_ascii() {
        assert!(is_member("m1") && is_member(&"x".repeat(64)));
        assert!(!is_member("") && !is_member(&"x".repeat(65)) && !is_member("a b") && !is_member("é"));
    }
}
