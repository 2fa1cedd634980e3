//! What an answer means. A request ends in exactly one [`Outcome`].

use std::borrow::Cow;

use http::StatusCode;
use serde::Deserialize;

use super::visit::Step;

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
    pub(crate) seq: u64,
    pub(crate) said: Said,
}

/// What it was about.
#[derive(Debug)]
pub(crate) enum Said {
    Coupon {
        coupon: Box<str>,
        code: Box<str>,
    },
    /// What is to pay in money.
    Quote {
        total: i64,
    },
    Order(OrderSaid),
    /// A page that was looked at.
    Nothing,
}

/// An order, as far as a visitor looks at it.
#[derive(Debug)]
pub(crate) struct OrderSaid {
    pub(crate) order: Box<str>,
    pub(crate) state: Box<str>,
    pub(crate) total: i64,
    /// The shopper is expected at the company's card page.
    pub(crate) waits_at_page: bool,
    /// Refunds that are done.
    pub(crate) refunds_done: usize,
    /// The newest refund, if there is one.
    pub(crate) refund: Option<Box<str>>,
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
struct QuoteAnswer {
    total: i64,
    seq: u64,
}

#[derive(Deserialize)]
struct OrderAnswer<'a> {
    #[serde(borrow)]
    order: Cow<'a, str>,
    #[serde(borrow)]
    member: Cow<'a, str>,
    #[serde(borrow)]
    state: Cow<'a, str>,
    total: i64,
    #[serde(borrow, default)]
    waits_for: Option<WaitsFor<'a>>,
    #[serde(borrow, default)]
    refunds: Vec<RefundAnswer<'a>>,
    seq: u64,
}

#[derive(Deserialize)]
struct WaitsFor<'a> {
    #[serde(borrow, default)]
    what: Option<Cow<'a, str>>,
}

#[derive(Deserialize)]
struct RefundAnswer<'a> {
    #[serde(borrow)]
    refund: Cow<'a, str>,
    #[serde(borrow)]
    state: Cow<'a, str>,
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
    let said = Said::Coupon { coupon: answer.coupon.into(), code: answer.code.into() };
    Outcome::Accepted(Accepted { status: status.as_u16(), seq: answer.seq, said })
}

/// Judges a complete answer to a step of this member's visit to the shop.
pub(crate) fn judge_visit(
    step: Step,
    status: StatusCode,
    body: &[u8],
    campaign: &str,
    member: &str,
) -> Outcome {
    if step == Step::Claim {
        return judge(status, body, campaign, member);
    }
    if !status.is_success() {
        return refusal(status, body);
    }
    let fault = |kind| Outcome::Refused { kind: Cow::Borrowed(kind), fault: true };
    let (seq, said) = match step {
        Step::Browse => (0, Said::Nothing),
        Step::Quote => match serde_json::from_slice::<QuoteAnswer>(body) {
            Ok(answer) => (answer.seq, Said::Quote { total: answer.total }),
            Err(_) => return fault("unreadable-answer"),
        },
        _ => {
            let Ok(answer) = serde_json::from_slice::<OrderAnswer<'_>>(body) else {
                return fault("unreadable-answer");
            };
            if answer.member != member {
                return fault("answer-for-somebody-else");
            }
            (answer.seq, Said::Order(order_said(answer)))
        }
    };
    Outcome::Accepted(Accepted { status: status.as_u16(), seq, said })
}

fn order_said(answer: OrderAnswer<'_>) -> OrderSaid {
    let waits_at_page =
        answer.waits_for.and_then(|waits| waits.what).is_some_and(|what| what == "payment-page");
    OrderSaid {
        order: answer.order.into(),
        state: answer.state.into(),
        total: answer.total,
        waits_at_page,
        refunds_done: answer.refunds.iter().filter(|refund| refund.state == "done").count(),
        refund: answer.refunds.last().map(|refund| refund.refund.as_ref().into()),
    }
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
            Outcome::Accepted(Accepted { status, seq, said: Said::Coupon { coupon, code } }) => {
                format!("accepted {status} {coupon} {code} {seq}")
            }
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
