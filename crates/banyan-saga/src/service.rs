//! Services that sagas ask: a payment company behind its connector, or any HTTP service.

use banyan_domain::saga::{Ask, Fields, Request, Settlement};
use banyan_domain::{Currency, Money, OrderId, Timestamp};
use banyan_pay::{
    AuthorizeRequest, Call, CaptureRequest, Connection, Effect, Http, InvalidConnection, Key, MethodToken,
    PaymentCompany, PaymentId, PaymentState, Query, RefundRequest, Status, VoidRequest, codes,
};
use http::{HeaderMap, Method, StatusCode};
use serde_json::{Map, Value};
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

/// An answer on its way. Dropping it gives up waiting; what was sent may still be carried out.
pub type Asking<'a> = Pin<Box<dyn Future<Output = Settlement> + Send + 'a>>;

/// Somebody outside who carries out steps.
pub trait Service: Send + Sync {
    /// Asks; never repeats by itself. `now` is for answers that name an instant.
    fn ask<'a>(&'a self, request: &'a Request, now: Timestamp) -> Asking<'a>;

    /// Reads something that the service told by itself at `now` (a webhook). It is only a reason to ask: what it says is never
    /// believed.
    ///
    /// # Errors
    /// A sentence, if it is not the service's, or the service never tells anything.
    fn notice(&self, headers: &HeaderMap, body: &[u8], now: Timestamp) -> Result<Told, String> {
        let _untold = (headers, body, now);
        Err("this service tells nothing by itself".into())
    }
}

/// Something that a service told by itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Told {
    /// Its id there, the same when it is told again; empty if it has none.
    pub id: String,
    /// The field of a step's answer by which the steps that it concerns are known.
    pub field: &'static str,
    /// The value of that field.
    pub value: String,
}

/// A payment company.
///
/// Operations: `authorize` (order, amount, currency, method, return_url), `capture` and `refund` (payment, amount, currency),
/// `void` (payment), `query`. The answer's fields are `payment`, `status` and, if the customer must go somewhere, `redirect`.
pub struct Company {
    company: Arc<dyn PaymentCompany>,
    /// How long a customer has at the company's page, in milliseconds.
    page_millis: u64,
}

/// A service that takes `POST {base}/{operation}` with the parameters as a JSON object and the step's key as
/// `Idempotency-Key`.
///
/// 2xx: done, and the answer's texts and numbers are the step's output; 202 with `"waiting": true`: it waits for somebody.
/// 404 to a query, and to an undo: there is nothing. Other 4xx to a do or undo: refused, with the answer's `type` or the status
/// as the reason; to a query: the question was refused, and nothing is known. A query that finds a refusal is answered with
/// 200 and `{"refused": "why"}`.
/// Anything else, and silence: unknown.
pub struct HttpService {
    http: Http,
}

impl Company {
    /// Asks `company`; customers have `page_millis` at its page.
    #[must_use]
    pub fn new(company: Arc<dyn PaymentCompany>, page_millis: u64) -> Self {
        Self { company, page_millis }
    }

    async fn ask_company(&self, request: &Request, now: Timestamp) -> Settlement {
        match self.effect(request).await {
            // A question that cannot be put says nothing of what it is about.
            Err(why) if request.open.ask == Ask::Query => Settlement::Unknown(why.into()),
            Err(why) => Settlement::Refused(why.into()),
            Ok(effect) => self.settlement(request, effect, now),
        }
    }

    /// Asks, or says which parameter cannot be used.
    async fn effect(&self, request: &Request) -> Result<Effect, String> {
        let text = |name: &str| request.params.get(name).unwrap_or_default().to_owned();
        let key = |key: &str| Key::new(key).map_err(|error| error.to_string());
        let payment = || PaymentId::new(text("payment")).map_err(|error| format!("payment: {error}"));
        let order = || {
            let order = if text("order").is_empty() { request.about.to_string() } else { text("order") };
            OrderId::new(order).map_err(|error| format!("order: {error}"))
        };
        let amount = || {
            let minor = text("amount").parse().map_err(|_| String::from("amount is not a whole number"))?;
            let currency = Currency::new(&text("currency")).map_err(|error| error.to_string())?;
            Money::new(minor, currency).map_err(|error| error.to_string())
        };
        Ok(match &*request.operation {
            "authorize" => {
                let method = MethodToken::new(text("method")).map_err(|error| format!("method: {error}"))?;
                let return_url = Some(text("return_url")).filter(|url| !url.is_empty());
                let (key, order, amount) = (key(&request.key)?, order()?, amount()?);
                self.company.authorize(&AuthorizeRequest { key, order, amount, method, return_url }).await
            }
            "capture" => {
                let (key, payment, amount) = (key(&request.key)?, payment()?, amount()?);
                self.company.capture(&CaptureRequest { key, payment, amount, last: true }).await
            }
            "void" => {
                let (key, payment) = (key(&request.key)?, payment()?);
                let effect = self.company.void(&VoidRequest { key, payment: payment.clone() }).await;
                self.given_up(effect, payment).await
            }
            "refund" => {
                let (key, payment, amount) = (key(&request.key)?, payment()?, amount()?);
                self.company.refund(&RefundRequest { key, payment, amount }).await
            }
            "query" => {
                let payment = if text("payment").is_empty() { None } else { Some(payment()?) };
                self.company.query(&Query::Key { key: key(&request.do_key)?, order: order()?, payment }).await
            }
            other => return Err(format!("{other} is no operation of a payment company")),
        })
    }

    /// What came of giving a payment up. A payment that was declined, or expired, or was given up before, cannot be given up
    /// and need not be: companies refuse that, and how the payment is tells it from a real no.
    async fn given_up(&self, effect: Effect, payment: PaymentId) -> Effect {
        if !matches!(effect, Effect::Refused(_)) {
            return effect;
        }
        match self.company.query(&Query::Payment(payment)).await {
            Effect::Done(state) if matches!(shows("void", &state), Shows::Happened) => Effect::Done(state),
            // Nobody knows yet whether the no is a real one: the undo is tried again.
            Effect::Unknown(why) | Effect::NotSent(why) => Effect::Unknown(why),
            Effect::Done(_) | Effect::Refused(_) => effect,
        }
    }

    fn settlement(&self, request: &Request, effect: Effect, now: Timestamp) -> Settlement {
        let asked = request.open.ask;
        let operation = if asked == Ask::Query { &request.do_operation } else { &request.operation };
        match effect {
            Effect::Done(state) => match shows(operation, &state) {
                Shows::Happened => Settlement::Done(said(&state)),
                Shows::Waits => {
                    Settlement::Awaiting(said(&state), now.plus(banyan_domain::Millis::new(self.page_millis)))
                }
                Shows::Never => Settlement::Refused(word(state.status).into()),
                Shows::NotYet if asked == Ask::Query => Settlement::Absent,
                Shows::NotYet => {
                    let status = word(state.status);
                    Settlement::Unknown(
                        format!("the company says it is done, and the payment is {status}").into(),
                    )
                }
            },
            Effect::Refused(no) if no.code == codes::NOT_FOUND && request.open.ask == Ask::Query => {
                Settlement::Absent
            }
            Effect::Refused(no) => Settlement::Refused(format!("{}: {}", no.code, no.sentence).into()),
            Effect::NotSent(why) => Settlement::NotSent(why.into()),
            Effect::Unknown(why) => Settlement::Unknown(why.into()),
        }
    }
}

/// What a payment shows of an operation on it.
enum Shows {
    Happened,
    /// It waits for the customer.
    Waits,
    /// It did not happen, so far.
    NotYet,
    /// It did not happen, and cannot any more.
    Never,
}

/// Whether `operation` shows in `state`. A company that finds a payment and not an effect says "there it is" of a payment
/// whose capture was lost, too: only the payment itself tells. Of several refunds it tells one from none.
const fn shows(operation: &str, state: &PaymentState) -> Shows {
    use Status::{Authorized, Declined, Expired, PartlyRefunded, Refunded, RequiresCustomer, Voided};
    match operation.as_bytes() {
        b"capture" => match state.status {
            _ if state.captured > 0 => Shows::Happened,
            Voided | Declined | Expired => Shows::Never,
            _ => Shows::NotYet,
        },
        b"void" => match state.status {
            Voided | Declined | Expired | Refunded => Shows::Happened,
            RequiresCustomer | Authorized => Shows::NotYet,
            _ => Shows::Never,
        },
        b"refund" => match state.status {
            PartlyRefunded | Refunded => Shows::Happened,
            _ => Shows::NotYet,
        },
        _ => match state.status {
            RequiresCustomer => Shows::Waits,
            Voided | Declined | Expired => Shows::Never,
            _ => Shows::Happened,
        },
    }
}

fn said(state: &PaymentState) -> Fields {
    let mut fields: Fields =
        [("payment", state.payment.as_str()), ("status", word(state.status))].into_iter().collect();
    if let Some(redirect) = &state.redirect {
        fields.insert("redirect", redirect.as_str());
    }
    fields
}

const fn word(status: Status) -> &'static str {
    match status {
        Status::RequiresCustomer => "requires-customer",
        Status::Authorized => "authorized",
        Status::PartlyCaptured => "partly-captured",
        Status::Captured => "captured",
        Status::PartlyRefunded => "partly-refunded",
        Status::Refunded => "refunded",
        Status::Voided => "voided",
        Status::Declined => "declined",
        Status::Expired => "expired",
    }
}

impl HttpService {
    /// The service at `connection`.
    ///
    /// # Errors
    /// [`InvalidConnection`] if its address or key cannot be used.
    pub fn new(connection: &Connection, authorization: &str) -> Result<Self, InvalidConnection> {
        Ok(Self { http: Http::new(connection, authorization, false)? })
    }

    async fn ask_http(&self, request: &Request, now: Timestamp) -> Settlement {
        let key = if request.open.ask == Ask::Query { &request.do_key } else { &request.key };
        let Ok(key) = Key::new(key.as_str()) else {
            return Settlement::Refused("the key cannot be sent".into());
        };
        let params: Map<String, Value> =
            request.params.iter().map(|(name, value)| (name.to_owned(), Value::from(value))).collect();
        let body = Some(("application/json", Value::Object(params).to_string()));
        let path = format!("/{}", request.operation);
        let call = Call { method: Method::POST, path, body, key: Some(&key) };
        let reply = match self.http.call(call).await {
            Ok(reply) => reply,
            Err(Effect::NotSent(why)) => return Settlement::NotSent(why.into()),
            Err(Effect::Unknown(why)) => return Settlement::Unknown(why.into()),
            Err(other) => return Settlement::Unknown(format!("{other:?}").into()),
        };
        let waiting = reply.json.get("waiting").and_then(Value::as_bool) == Some(true);
        match reply.status {
            StatusCode::ACCEPTED if waiting => {
                let seconds = reply.json.get("seconds").and_then(Value::as_u64).unwrap_or(900);
                let until = now.plus(banyan_domain::Millis::from_seconds(seconds));
                Settlement::Awaiting(output(&reply.json), until)
            }
            status if status.is_success() && request.open.ask == Ask::Query => {
                match reply.json["refused"].as_str() {
                    Some(why) => Settlement::Refused(why.into()),
                    None => Settlement::Done(output(&reply.json)),
                }
            }
            status if status.is_success() => Settlement::Done(output(&reply.json)),
            StatusCode::NOT_FOUND if request.open.ask == Ask::Query => Settlement::Absent,
            // The question was refused, and not what it is about.
            status if request.open.ask == Ask::Query => Settlement::Unknown(
                format!("the question was refused with status {}", status.as_u16()).into(),
            ),
            // There is nothing to undo.
            StatusCode::NOT_FOUND if request.open.ask == Ask::Undo => Settlement::Done(Fields::new()),
            status => {
                let kind = reply.json.get("type").and_then(Value::as_str).map(str::to_owned);
                Settlement::Refused(kind.unwrap_or_else(|| format!("status {}", status.as_u16())).into())
            }
        }
    }
}

/// The texts and numbers of an answer, as far as they fit.
fn output(json: &Value) -> Fields {
    let mut fields = Fields::new();
    for (name, value) in json.as_object().into_iter().flatten() {
        let text = match value {
            Value::String(text) => text.clone(),
            Value::Number(number) => number.to_string(),
            Value::Bool(yes) => yes.to_string(),
            Value::Null | Value::Array(_) | Value::Object(_) => continue,
        };
        let mut more = fields.clone();
        more.insert(name, text);
        if more.check().is_ok() {
            fields = more;
        }
    }
    fields
}

impl Service for Company {
    fn ask<'a>(&'a self, request: &'a Request, now: Timestamp) -> Asking<'a> {
        Box::pin(self.ask_company(request, now))
    }

    fn notice(&self, headers: &HeaderMap, body: &[u8], now: Timestamp) -> Result<Told, String> {
        let seconds = i64::try_from(now.as_millis() / 1_000).unwrap_or(i64::MAX);
        let notice = self.company.notice(headers, body, seconds).map_err(|error| error.to_string())?;
        Ok(Told { id: notice.id, field: "payment", value: notice.payment.as_str().to_owned() })
    }
}

impl Service for HttpService {
    fn ask<'a>(&'a self, request: &'a Request, now: Timestamp) -> Asking<'a> {
        Box::pin(self.ask_http(request, now))
    }
}
