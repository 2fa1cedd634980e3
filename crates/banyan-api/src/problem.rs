//! Every error the API gives: `application/problem+json` (RFC 9457) with a stable `type` and a sentence that says what to do.

use crate::wire::stock::ShortLineJson;
use axum::response::{IntoResponse, Response};
use banyan_domain::{Refusal, coupon, holds_card_number, legacy, order, pay, saga, stock};
use banyan_engine::SubmitError;
use http::{HeaderValue, StatusCode, header};
use serde::Serialize;

/// An error answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The status.
    pub status: StatusCode,
    /// The last part of its `type`, which is `/errors/<slug>`; each has a page in docs/errors.
    pub slug: &'static str,
    /// One sentence for a person: what is wrong, and what to do.
    pub detail: String,
    /// Seconds after which to try again, where that makes sense.
    pub retry_after: Option<u32>,
    /// Lines of a reservation for which there is not enough stock, if that is why.
    pub lines: Vec<ShortLineJson>,
}

/// A problem as it is written.
#[derive(Serialize)]
struct Body<'a> {
    r#type: String,
    title: &'a str,
    status: u16,
    detail: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    retry_after_seconds: Option<u32>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    lines: &'a [ShortLineJson],
}

impl Problem {
    /// A problem of kind `slug`.
    #[must_use]
    pub fn new(status: StatusCode, slug: &'static str, detail: impl Into<String>) -> Self {
        Self { status, slug, detail: detail.into(), retry_after: None, lines: Vec::new() }
    }

    /// A request that cannot be understood.
    #[must_use]
    pub fn invalid(detail: impl Into<String>) -> Self {
        let detail = detail.into();
        // What cannot be understood may be a card number, and is told back by whoever reads it.
        let detail = match holds_card_number(&detail) {
            true => {
                "The request is not what is expected, and has a card number in it, which has no place here."
                    .into()
            }
            false => detail,
        };
        Self::new(StatusCode::BAD_REQUEST, "invalid-request", detail)
    }

    /// A request that moves stock, and would move it again if it were repeated.
    #[must_use]
    pub fn key_required() -> Self {
        let detail = "Send an Idempotency-Key header, new for each movement and the same when you repeat it: then goods \
                      move once, however often the request arrives.";
        Self::new(StatusCode::BAD_REQUEST, "idempotency-key-required", detail)
    }

    /// No or an unknown key.
    #[must_use]
    pub fn unauthenticated(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "unauthenticated", detail)
    }

    /// A known key that may not do this.
    #[must_use]
    pub fn forbidden(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, "forbidden", detail)
    }

    /// Something of this process is not there: try again.
    #[must_use]
    pub fn unavailable(detail: impl Into<String>) -> Self {
        Self { retry_after: Some(1), ..Self::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", detail) }
    }

    /// Nothing can be stored for now.
    #[must_use]
    pub fn storage_full() -> Self {
        let detail = "Storage is full. Nothing was decided or changed. Free space on the disk of the data directory; \
                      service resumes by itself.";
        Self { retry_after: Some(5), ..Self::new(StatusCode::INSUFFICIENT_STORAGE, "storage-full", detail) }
    }

    /// The command was taken, but the process stops before its answer: it may or may not be carried out.
    #[must_use]
    pub fn unknown_outcome() -> Self {
        let detail = "The server is stopping and cannot say whether this was carried out. Ask again, with the same \
                      Idempotency-Key if you sent one: you will get the answer of the first time.";
        Self { retry_after: Some(1), ..Self::new(StatusCode::SERVICE_UNAVAILABLE, "outcome-unknown", detail) }
    }

    /// The problem as JSON text.
    #[must_use]
    pub fn to_json(&self) -> String {
        let body = Body {
            r#type: format!("/errors/{}", self.slug),
            title: self.slug,
            status: self.status.as_u16(),
            detail: &self.detail,
            retry_after_seconds: self.retry_after,
            lines: &self.lines,
        };
        serde_json::to_string(&body).unwrap_or_default()
    }
}

/// The status of a refusal. Each reason of an issue has its own.
#[must_use]
pub fn status_of(refusal: Refusal) -> StatusCode {
    use coupon::Refusal as No;
    match refusal {
        Refusal::KeyReused => StatusCode::UNPROCESSABLE_ENTITY,
        Refusal::KeysFull => StatusCode::SERVICE_UNAVAILABLE,
        Refusal::Coupon(refusal) => match refusal {
            No::CampaignNotFound | No::CouponNotFound => StatusCode::NOT_FOUND,
            No::NotEligible => StatusCode::FORBIDDEN,
            No::Ended | No::CouponExpired => StatusCode::GONE,
            No::Paused | No::CouponHeld => StatusCode::LOCKED,
            No::NotStarted => StatusCode::TOO_EARLY,
            No::LimitReached | No::QuantityBelowIssued | No::EndInPast => StatusCode::UNPROCESSABLE_ENTITY,
            No::SoldOut
            | No::CampaignExists
            | No::TooManyCampaigns
            | No::AllowListUnavailable
            | No::CouponRedeemed
            | No::CouponRevoked => StatusCode::CONFLICT,
        },
        Refusal::Stock(refusal) => status_of_stock(refusal),
        Refusal::Pay(refusal) => status_of_pay(refusal),
        Refusal::Saga(refusal) => status_of_saga(refusal),
        Refusal::Order(refusal) => status_of_order(refusal),
        Refusal::Legacy(refusal) => status_of_legacy(refusal),
    }
}

const fn status_of_stock(refusal: stock::Refusal) -> StatusCode {
    use stock::Refusal as No;
    match refusal {
        No::SkuNotFound | No::LocationNotFound | No::ReservationNotFound => StatusCode::NOT_FOUND,
        No::PurchaseLimit | No::StockBelowHeld | No::ReturnTooMuch | No::StockAboveLimit => {
            StatusCode::UNPROCESSABLE_ENTITY
        }
        No::OutOfStock { .. } | No::ReservationReleased | No::ReservationCommitted | No::TooManySkus => {
            StatusCode::CONFLICT
        }
        No::ReservationExpired => StatusCode::GONE,
        No::TooManyReservations => StatusCode::SERVICE_UNAVAILABLE,
    }
}

const fn status_of_pay(refusal: pay::Refusal) -> StatusCode {
    use pay::Refusal as No;
    match refusal {
        No::AccountNotFound | No::TransferNotFound => StatusCode::NOT_FOUND,
        No::CurrencyMismatch
        | No::SameAccount
        | No::AmountNotPositive
        | No::CaptureExceeds
        | No::RefundExceeds
        | No::BalanceOverflow => StatusCode::UNPROCESSABLE_ENTITY,
        No::AccountExists | No::TooManyAccounts | No::TransferNotPending | No::NotRefundable => {
            StatusCode::CONFLICT
        }
        No::InsufficientFunds => StatusCode::PAYMENT_REQUIRED,
    }
}

const fn status_of_saga(refusal: saga::Refusal) -> StatusCode {
    use saga::Refusal as No;
    match refusal {
        No::SagaNotDefined | No::SagaNotFound => StatusCode::NOT_FOUND,
        No::SagaInvalid | No::SagaInputTooLarge => StatusCode::UNPROCESSABLE_ENTITY,
        No::SagaKeyReused
        | No::SagaVersion
        | No::TooManySagas
        | No::SagaTooLate
        | No::SagaNotParked
        | No::SagaChanged
        | No::SagaCannotUndo => StatusCode::CONFLICT,
    }
}

const fn status_of_order(refusal: order::Refusal) -> StatusCode {
    use order::Refusal as No;
    match refusal {
        No::ProductNotFound | No::OrderNotFound => StatusCode::NOT_FOUND,
        No::OtherCurrency
        | No::OrderTooLarge
        | No::BelowMinimumOrder
        | No::MethodMissing
        | No::ReturnExceedsOrder => StatusCode::UNPROCESSABLE_ENTITY,
        No::TermsNotSet
        | No::TooManyProducts
        | No::ProductNotOnSale
        | No::PriceChanged
        | No::CheckoutNotDefined
        | No::OrderPaid
        | No::OrderSettling
        | No::OrderNotPaid
        | No::RefundUnderWay
        | No::TooManyRefunds => StatusCode::CONFLICT,
        No::OrderEnded => StatusCode::GONE,
    }
}

const fn status_of_legacy(refusal: legacy::Refusal) -> StatusCode {
    use legacy::Refusal as No;
    match refusal {
        No::NoSuchMove => StatusCode::NOT_FOUND,
        No::MirrorTooLarge => StatusCode::UNPROCESSABLE_ENTITY,
        No::NotLeading
        | No::MoveUnderWay
        | No::PhaseNotNext
        | No::MoveNotOurs
        | No::SourceUnknown
        | No::SourceGap
        | No::MirrorConflict => StatusCode::CONFLICT,
    }
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        let problem = Self::new(status_of(refusal), refusal.slug(), refusal.sentence());
        let retry_after = match refusal {
            Refusal::KeysFull => Some(60),
            Refusal::Stock(stock::Refusal::TooManyReservations) => Some(60),
            Refusal::Order(order::Refusal::OrderSettling | order::Refusal::RefundUnderWay) => Some(1),
            Refusal::Legacy(legacy::Refusal::NotLeading | legacy::Refusal::MoveUnderWay) => Some(1),
            _ => None,
        };
        Self { retry_after, ..problem }
    }
}

impl From<SubmitError> for Problem {
    fn from(error: SubmitError) -> Self {
        match error {
            SubmitError::Busy => Self {
                retry_after: Some(1),
                ..Self::new(
                    StatusCode::SERVICE_UNAVAILABLE,
                    "busy",
                    "The queue is full. Nothing was decided; try again in a moment.",
                )
            },
            SubmitError::Closed => {
                Self::unavailable("The server is shutting down. Nothing was decided; try again.")
            }
        }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = (self.status, self.to_json()).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if let Some(seconds) = self.retry_after {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if self.status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}
