//! A service that is anybody who takes JSON over HTTP.

use crate::service::{Asking, Service, bounded};
use banyan_domain::Timestamp;
use banyan_domain::saga::{Ask, Fields, Request, Settlement};
use banyan_pay::{Call, Connection, Effect, Http, InvalidConnection, Key};
use http::{Method, StatusCode};
use serde_json::{Map, Value};

/// A service that takes `POST {base}/{operation}` with the parameters as a JSON object and the step's key as
/// `Idempotency-Key`.
///
/// 2xx: done, and the answer's texts and numbers are the step's output; 202 with `"waiting": true`: it waits for somebody.
/// 404 to a query, and to an undo: there is nothing. Other 4xx to a do or undo: refused, with the answer's `refused`, its `type` or
/// the status as the reason; to a query: the question was refused, and nothing is known. A query that finds a refusal is answered
/// with 200 and `{"refused": "why"}`.
/// 409 to a try that is not the first: the try before may be under way, so it is unknown, unless the answer has `refused`.
/// Anything else, and silence: unknown.
pub struct HttpService {
    http: Http,
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
            status => match (reply.json["refused"].as_str(), reply.json["type"].as_str()) {
                (Some(why), _) => Settlement::Refused(why.into()),
                (None, _) if status == StatusCode::CONFLICT && request.open.attempt > 1 => {
                    Settlement::Unknown(
                        "status 409 to a try that is not the first: the one before may be under way".into(),
                    )
                }
                (None, Some(kind)) => Settlement::Refused(kind.into()),
                (None, None) => Settlement::Refused(format!("status {}", status.as_u16()).into()),
            },
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

impl Service for HttpService {
    fn ask<'a>(&'a self, request: &'a Request, now: Timestamp) -> Asking<'a> {
        Box::pin(async move { bounded(self.ask_http(request, now).await) })
    }
}
