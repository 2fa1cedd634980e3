//! Services that sagas ask, and the one that is a payment company behind its connector.

use banyan_domain::saga::{Ask, Fields, Request, Settlement};
use banyan_domain::{Currency, Money, OrderId, Timestamp, limits};
use banyan_pay::{
    AuthorizeRequest, CaptureRequest, Deed, Effect, Key, MethodToken, PaymentCompany, PaymentId,
    PaymentState, Query, RefundRequest, Status, VoidRequest, codes,
};
use http::HeaderMap;
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
///
/// A payment that is taken in parts has several captures: all but the last with `last` = `no`, and each but the first with
/// `captured_before`, the minor units that the captures before it took.
pub struct Company {
    company: Arc<dyn PaymentCompany>,
    /// How long a customer has at the company's page, in milliseconds.
    page_millis: u64,
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
        let params = Params { fields: &request.params, about: &request.about };
        let key = |key: &str| Key::new(key).map_err(|error| error.to_string());
        Ok(match &*request.operation {
            "authorize" => {
                let (method, return_url) = (params.method()?, params.given("return_url").map(str::to_owned));
                let (key, order, amount) = (key(&request.key)?, params.order()?, params.amount()?);
                self.company.authorize(&AuthorizeRequest { key, order, amount, method, return_url }).await
            }
            "capture" => {
                let (key, payment, amount) = (key(&request.key)?, params.payment()?, params.amount()?);
                let last = params.last()?;
                self.company.capture(&CaptureRequest { key, payment, amount, last }).await
            }
            "void" => {
                let (key, payment) = (key(&request.key)?, params.payment()?);
                let effect = self.company.void(&VoidRequest { key, payment: payment.clone() }).await;
                self.given_up(effect, payment).await
            }
            "refund" => {
                let (key, payment, amount) = (key(&request.key)?, params.payment()?, params.amount()?);
                self.company.refund(&RefundRequest { key, payment, amount }).await
            }
            "query" => {
                let done = Params { fields: &request.do_params, about: &request.about };
                let deed = match &*request.do_operation {
                    "authorize" => Deed::Authorize(done.method()?),
                    "capture" => Deed::Capture(done.amount()?),
                    "void" => Deed::Void,
                    "refund" => Deed::Refund,
                    other => return Err(format!("{other} cannot be asked about at a payment company")),
                };
                let payment = match (params.given("payment"), done.given("payment")) {
                    (Some(_), _) => Some(params.payment()?),
                    (None, Some(_)) => Some(done.payment()?),
                    (None, None) => None,
                };
                let (key, order) = (key(&request.do_key)?, done.order()?);
                self.company.query(&Query::Key { key, order, payment, deed }).await
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
            Effect::Done(state) if matches!(voided(state.status), Shows::Happened) => Effect::Done(state),
            // Nobody knows yet whether the no is a real one: the undo is tried again.
            Effect::Unknown(why) | Effect::NotSent(why) => Effect::Unknown(why),
            Effect::Done(_) | Effect::Refused(_) => effect,
        }
    }

    fn settlement(&self, request: &Request, effect: Effect, now: Timestamp) -> Settlement {
        let asked = request.open.ask == Ask::Query;
        match effect {
            Effect::Done(state) => match shows(request, &state) {
                Shows::Happened => Settlement::Done(said(&state)),
                Shows::Waits => {
                    Settlement::Awaiting(said(&state), now.plus(banyan_domain::Millis::new(self.page_millis)))
                }
                Shows::Never => Settlement::Refused(word(state.status).into()),
                Shows::NotYet if asked => Settlement::Absent,
                Shows::NotYet => {
                    let status = word(state.status);
                    Settlement::Unknown(
                        format!("the company says it is done, and the payment is {status}").into(),
                    )
                }
                Shows::Another(why) => Settlement::Unknown(why.into()),
            },
            Effect::Refused(no) if no.code == codes::NOT_FOUND && asked => Settlement::Absent,
            Effect::Refused(no) => Settlement::Refused(format!("{}: {}", no.code, no.sentence).into()),
            Effect::NotSent(why) => Settlement::NotSent(why.into()),
            Effect::Unknown(why) => Settlement::Unknown(why.into()),
        }
    }
}

/// The parameters of an operation.
struct Params<'a> {
    fields: &'a Fields,
    /// The saga's key: the order, where none is named.
    about: &'a str,
}

impl Params<'_> {
    fn given(&self, name: &str) -> Option<&str> {
        self.fields.get(name).filter(|text| !text.is_empty())
    }

    fn payment(&self) -> Result<PaymentId, String> {
        PaymentId::new(self.given("payment").unwrap_or_default()).map_err(|error| format!("payment: {error}"))
    }

    fn order(&self) -> Result<OrderId, String> {
        OrderId::new(self.given("order").unwrap_or(self.about)).map_err(|error| format!("order: {error}"))
    }

    fn method(&self) -> Result<MethodToken, String> {
        MethodToken::new(self.given("method").unwrap_or_default()).map_err(|error| format!("method: {error}"))
    }

    fn amount(&self) -> Result<Money, String> {
        let minor = self.given("amount").and_then(|text| text.parse().ok());
        let minor = minor.ok_or_else(|| String::from("amount is not a whole number"))?;
        let currency = Currency::new(self.given("currency").unwrap_or_default());
        Money::new(minor, currency.map_err(|error| error.to_string())?).map_err(|error| error.to_string())
    }

    fn last(&self) -> Result<bool, String> {
        match self.given("last") {
            None | Some("yes") => Ok(true),
            Some("no") => Ok(false),
            Some(other) => Err(format!("last must be yes or no, not {other:?}")),
        }
    }

    /// What captures before this one took, in minor units.
    fn captured_before(&self) -> Result<i64, String> {
        let before = self.given("captured_before").map_or(Ok(0), str::parse);
        let before = before.ok().filter(|minor: &i64| *minor >= 0);
        before.ok_or_else(|| "captured_before is not an amount in minor units".into())
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
    /// It is not what was asked for: another payment, another amount. The sentence says so.
    Another(String),
}

/// Whether what `request` is about shows in `state`. A company that finds a payment and not an effect says "there it is" of a
/// payment whose capture was lost, too; and one that has seen our key before, from a store that has lost its newest events since,
/// answers with what somebody else paid. Only the payment itself tells.
fn shows(request: &Request, state: &PaymentState) -> Shows {
    let asked = request.open.ask == Ask::Query;
    let (operation, fields) = match asked {
        true => (&*request.do_operation, &request.do_params),
        false => (&*request.operation, &request.params),
    };
    let params = Params { fields, about: &request.about };
    match wanted(operation, &params, request.params.get("payment").unwrap_or_default(), state) {
        Ok(shows) => shows,
        Err(why) => Shows::Another(format!(
            "the company answers with payment {} of {} {} for order {}, and that is not ours: {why}. Look at it at the company, \
             under the key of this step",
            state.payment,
            state.amount.minor,
            state.amount.currency.as_str(),
            state.order.as_deref().unwrap_or("unknown"),
        )),
    }
}

/// What `state` shows of `operation`, or why it is not what was asked for.
fn wanted(
    operation: &str,
    params: &Params<'_>,
    payment: &str,
    state: &PaymentState,
) -> Result<Shows, String> {
    use Status::{Declined, Expired, RequiresCustomer, Voided};
    for wanted in [payment, params.given("payment").unwrap_or_default()] {
        if !wanted.is_empty() && wanted != state.payment.as_str() {
            return Err(format!("the step is about payment {wanted}"));
        }
    }
    if matches!(operation, "void") {
        return Ok(voided(state.status));
    }
    let amount = params.amount()?;
    if amount.currency != state.amount.currency {
        return Err(format!("the step is about {}", amount.currency.as_str()));
    }
    Ok(match operation {
        "capture" => {
            let captured = params.captured_before()?.saturating_add(amount.minor);
            match state.status {
                // A company that took all at once has sent back what is above the amount.
                _ if state.captured == captured || state.captured - state.refunded == captured => {
                    Shows::Happened
                }
                _ if state.captured > captured => {
                    return Err(format!("{} are captured, and {captured} were to be", state.captured));
                }
                Voided | Declined | Expired => Shows::Never,
                _ => Shows::NotYet,
            }
        }
        // That it is this very refund, the connector has seen.
        "refund" if state.refunded >= amount.minor => Shows::Happened,
        "refund" => Shows::NotYet,
        _ => {
            let order = params.order()?;
            if state.order.as_deref().is_some_and(|of| of != order.as_str()) {
                return Err(format!("the step is about order {}", order.as_str()));
            }
            if state.amount != amount {
                return Err(format!("the step is about {} {}", amount.minor, amount.currency.as_str()));
            }
            match state.status {
                RequiresCustomer => Shows::Waits,
                Voided | Declined | Expired => Shows::Never,
                _ => Shows::Happened,
            }
        }
    })
}

/// What a payment shows of having been given up.
const fn voided(status: Status) -> Shows {
    match status {
        Status::Voided | Status::Declined | Status::Expired | Status::Refunded => Shows::Happened,
        Status::RequiresCustomer | Status::Authorized => Shows::NotYet,
        _ => Shows::Never,
    }
}

/// `result` with texts from outside no longer than is kept: an answer may be a megabyte, and the log is for ever.
pub(crate) fn bounded(result: Settlement) -> Settlement {
    let cut = |text: Box<str>| {
        let end = text.floor_char_boundary(limits::SAGA_REASON_BYTES_MAX);
        if end < text.len() { Box::from(&text[..end]) } else { text }
    };
    match result {
        Settlement::Refused(why) => Settlement::Refused(cut(why)),
        Settlement::Unknown(why) => Settlement::Unknown(cut(why)),
        Settlement::NotSent(why) => Settlement::NotSent(cut(why)),
        other => other,
    }
}

fn said(state: &PaymentState) -> Fields {
    let mut fields: Fields =
        [("payment", state.payment.as_str()), ("status", word(state.status))].into_iter().collect();
    // Half an address leads nowhere, so one that is too long is none.
    if let Some(redirect) = state.redirect.as_ref().filter(|url| url.len() <= limits::SAGA_FIELD_BYTES_MAX) {
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

impl Service for Company {
    fn ask<'a>(&'a self, request: &'a Request, now: Timestamp) -> Asking<'a> {
        Box::pin(async move { bounded(self.ask_company(request, now).await) })
    }

    fn notice(&self, headers: &HeaderMap, body: &[u8], now: Timestamp) -> Result<Told, String> {
        let seconds = i64::try_from(now.as_millis() / 1_000).unwrap_or(i64::MAX);
        let notice = self.company.notice(headers, body, seconds).map_err(|error| error.to_string())?;
        Ok(Told { id: notice.id, field: "payment", value: notice.payment.as_str().to_owned() })
    }
}
