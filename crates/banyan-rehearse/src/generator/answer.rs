//! What an answer means. A request ends in exactly one [`Outcome`].

use std::borrow::Cow;

use http::StatusCode;
use serde::Deserialize;

/// How a request ended.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// A 2xx answer, read to its end.
    Accepted(Accepted),
    /// A complete answer that says no. A business no is fine; `fault` marks the ones that are not.
    Refused { kind: Cow<'static, str>, fault: bool },
    /// It was sent, and no complete answer came: it may or may not have happened.
    Unknown(&'static str),
    /// It never left the generator, so it cannot have happened.
    NotSent(&'static str),
}

/// What a 2xx answer said.
#[derive(Debug)]
pub(crate) struct Accepted {
    pub(crate) status: u16,
    pub(crate) coupon: Box<str>,
    pub(crate) code: Box<str>,
    pub(crate) seq: u64,
}

#[derive(Deserialize)]
struct CouponAnswer<'a> {
    #[serde(borrow)]
    coupon: Cow<'a, str>,
    #[serde(borrow)]
    code: Cow<'a, str>,
    #[serde(borrow)]
    campaign: Cow<'a, str>,
    #[serde(borrow)]
    member: Cow<'a, str>,
    seq: u64,
}

#[derive(Deserialize)]
struct Problem<'a> {
    #[serde(borrow, rename = "type")]
    kind: Cow<'a, str>,
}

/// Judges a complete answer to a write for this campaign and member.
pub(crate) fn judge(status: StatusCode, body: &[u8], campaign: &str, member: &str) -> Outcome {
    if !status.is_success() {
        return refusal(status, body);
    }
    let fault = |kind| Outcome::Refused { kind: Cow::Borrowed(kind), fault: true };
    let Ok(answer) = serde_json::from_slice::<CouponAnswer<'_>>(body) else {
        return fault("unreadable-answer");
    };
    if answer.campaign != campaign || answer.member != member {
        return fault("answer-for-somebody-else");
    }
    Outcome::Accepted(Accepted {
        status: status.as_u16(),
        coupon: answer.coupon.into(),
        code: answer.code.into(),
        seq: answer.seq,
    })
}

fn refusal(status: StatusCode, body: &[u8]) -> Outcome {
    // Full queue and full disk are honest refusals with a page of their own; other 5xx are faults of the server.
    let fault = status.is_server_error()
        && !matches!(status, StatusCode::SERVICE_UNAVAILABLE | StatusCode::INSUFFICIENT_STORAGE);
    let kind = match serde_json::from_slice::<Problem<'_>>(body) {
        Ok(problem) => problem.kind.rsplit('/').next().unwrap_or_default().to_owned(),
        Err(_) => format!("http-{}", status.as_u16()),
    };
    Outcome::Refused { kind: Cow::Owned(kind), fault }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(status: u16, body: &str) -> String {
        match judge(StatusCode::from_u16(status).expect("valid"), body.as_bytes(), "noon", "m1") {
            Outcome::Accepted(a) => format!("accepted {} {} {} {}", a.status, a.coupon, a.code, a.seq),
            Outcome::Refused { kind, fault } => {
                format!("refused {kind}{}", if fault { " fault" } else { "" })
            }
            other => format!("{other:?}"),
        }
    }

    #[test]
    fn every_answer_has_one_meaning() {
        let body = r#"{"coupon":"noon-1","code":"AB","campaign":"noon","member":"m1","seq":9,"more":[1]}"#;
        assert_eq!(check(201, body), "accepted 201 noon-1 AB 9");
        assert_eq!(check(200, &body.replace("m1", "m2")), "refused answer-for-somebody-else fault");
        assert_eq!(check(201, "ok"), "refused unreadable-answer fault");
        assert_eq!(check(409, r#"{"type":"/errors/sold-out","status":409}"#), "refused sold-out");
        assert_eq!(check(503, r#"{"type":"/errors/busy"}"#), "refused busy");
        assert_eq!(check(500, r#"{"type":"/errors/internal"}"#), "refused internal fault");
        assert_eq!(check(404, "<html>"), "refused http-404");
    }
}
