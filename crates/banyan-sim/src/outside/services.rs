//! What the executor's services are here: the real meaning of a company's answers over a simulated line, and partners whose
//! answers mean what `docs/sagas.md` says.

use super::company::Call as CompanyCall;
use super::network::{Call, Network, Reply};
use super::partners::{Call as PartnerCall, Said};
use banyan_domain::Timestamp;
use banyan_domain::saga::{Ask, Fields, Request, Settlement};
use banyan_pay::{
    Asking, AuthorizeRequest, CaptureRequest, Effect, Notice, NoticeError, PaymentCompany, Query,
    RefundRequest, VoidRequest,
};
use banyan_saga::{Company, Service};
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

/// How long a customer has at the company's page, as far as we are told.
const PAGE_MILLIS: u64 = 15 * 60 * 1_000;

/// Every service, by name.
pub(super) fn services(network: &Network) -> BTreeMap<Box<str>, Arc<dyn Service>> {
    let line = Arc::new(Line(network.clone()));
    let mut services = BTreeMap::<Box<str>, Arc<dyn Service>>::new();
    services.insert("company".into(), Arc::new(Company::new(line, PAGE_MILLIS)));
    for name in ["warehouse", "courier", "messages", "locker"] {
        services.insert(name.into(), Arc::new(Partner(network.clone())));
    }
    services
}

/// The line to the company: a connector without HTTP.
struct Line(Network);

impl fmt::Debug for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Line")
    }
}

impl Line {
    fn call(&self, call: CompanyCall) -> Asking<'_> {
        let answer = self.0.post(Call::Company(call));
        Box::pin(async move {
            match answer.await {
                Ok(Reply::Company(effect)) => effect,
                Ok(Reply::NotSent) => Effect::NotSent("the connection was refused".into()),
                Ok(Reply::Partner(_)) | Err(_) => Effect::Unknown("the connection broke".into()),
            }
        })
    }
}

impl PaymentCompany for Line {
    fn name(&self) -> &'static str {
        "simulated"
    }

    fn authorize<'a>(&'a self, request: &'a AuthorizeRequest) -> Asking<'a> {
        self.call(CompanyCall::Authorize {
            key: request.key.as_str().into(),
            order: request.order.as_str().into(),
            amount: request.amount,
            method: request.method.as_str().into(),
        })
    }

    fn capture<'a>(&'a self, request: &'a CaptureRequest) -> Asking<'a> {
        let (key, payment) = (request.key.as_str().into(), request.payment.as_str().into());
        self.call(CompanyCall::Capture { key, payment, amount: request.amount })
    }

    fn void<'a>(&'a self, request: &'a VoidRequest) -> Asking<'a> {
        let (key, payment) = (request.key.as_str().into(), request.payment.as_str().into());
        self.call(CompanyCall::Void { key, payment })
    }

    fn refund<'a>(&'a self, request: &'a RefundRequest) -> Asking<'a> {
        let (key, payment) = (request.key.as_str().into(), request.payment.as_str().into());
        self.call(CompanyCall::Refund { key, payment, amount: request.amount })
    }

    fn query<'a>(&'a self, query: &'a Query) -> Asking<'a> {
        self.call(match query {
            Query::Payment(payment) => {
                CompanyCall::Query { key: None, payment: Some(payment.as_str().into()) }
            }
            Query::Key { key, payment, .. } => CompanyCall::Query {
                key: Some(key.as_str().into()),
                payment: payment.as_ref().map(|payment| payment.as_str().into()),
            },
        })
    }

    fn notice(&self, _headers: &http::HeaderMap, _body: &[u8], _now: i64) -> Result<Notice, NoticeError> {
        Err(NoticeError::NoSecret)
    }
}

/// A partner reached over HTTP.
struct Partner(Network);

impl Service for Partner {
    fn ask<'a>(&'a self, request: &'a Request, _now: Timestamp) -> banyan_saga::Asking<'a> {
        let asked = request.open.ask;
        let key = if asked == Ask::Query { &request.do_key } else { &request.key };
        let answer = self.0.post(Call::Partner(PartnerCall {
            service: request.service.to_string(),
            operation: request.operation.to_string(),
            key: key.clone(),
            params: request.params.clone(),
        }));
        Box::pin(async move {
            let said = match answer.await {
                Ok(Reply::Partner(said)) => said,
                Ok(Reply::NotSent) => return Settlement::NotSent("the connection was refused".into()),
                Ok(Reply::Company(_)) | Err(_) => return Settlement::Unknown("the connection broke".into()),
            };
            match (said, asked) {
                (Said::Ok(fields), _) => Settlement::Done(fields),
                (Said::WasRefused(why), _) => Settlement::Refused(why.into()),
                (Said::NotFound, Ask::Query) => Settlement::Absent,
                (Said::NotFound, Ask::Undo) => Settlement::Done(Fields::new()),
                (Said::NotFound, Ask::Do) => Settlement::Refused("status 404".into()),
                (Said::Refused(_), Ask::Query) => Settlement::Unknown("the question was refused".into()),
                (Said::Refused(why), _) => Settlement::Refused(why.into()),
                (Said::Unavailable, _) => Settlement::Unknown("status 503".into()),
            }
        })
    }
}
