//! The trait that every payment company is behind.

use crate::effect::{Effect, PaymentState};
use crate::signature::SignatureError;
use crate::text::{Key, MethodToken, PaymentId, Secret};
use banyan_domain::{Money, OrderId};
use http::HeaderMap;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

/// An answer on its way. Dropping it gives up waiting; what was sent may still be carried out.
pub type Asking<'a> = Pin<Box<dyn Future<Output = Effect> + Send + 'a>>;

/// How a company is reached.
#[derive(Clone, Debug)]
pub struct Connection {
    /// Scheme, host and port, such as `http://127.0.0.1:9000`. `https` needs the feature `tls`.
    pub base_url: String,
    /// Our key at the company.
    pub secret_key: Secret,
    /// The secret that signs the company's webhooks; none: they are not taken.
    pub webhook_secret: Option<Secret>,
    /// Longest wait for a connection. Running out of it is [`Effect::NotSent`].
    pub connect_time_max: Duration,
    /// Longest wait for a whole call, connecting included. Running out of it is [`Effect::Unknown`].
    pub call_time_max: Duration,
}

impl Connection {
    /// A connection with 3 s to connect and 15 s for a call, and no webhooks.
    #[must_use]
    pub fn new(base_url: &str, secret_key: Secret) -> Self {
        Self {
            base_url: base_url.to_owned(),
            secret_key,
            webhook_secret: None,
            connect_time_max: Duration::from_secs(3),
            call_time_max: Duration::from_secs(15),
        }
    }
}

/// Ask for money to be set aside.
#[derive(Clone, Debug)]
pub struct AuthorizeRequest {
    /// The same over all attempts.
    pub key: Key,
    /// What is paid for.
    pub order: OrderId,
    /// Above zero.
    pub amount: Money,
    /// What pays.
    pub method: MethodToken,
    /// Where a customer comes back to who had to go to the company's page.
    pub return_url: Option<String>,
}

/// Ask for money that is set aside to be taken.
#[derive(Clone, Debug)]
pub struct CaptureRequest {
    /// The same over all attempts.
    pub key: Key,
    /// The payment.
    pub payment: PaymentId,
    /// How much of it; above zero, in the payment's currency.
    pub amount: Money,
    /// The rest is given up.
    pub last: bool,
}

/// Ask for what is not captured to be given up.
#[derive(Clone, Debug)]
pub struct VoidRequest {
    /// The same over all attempts.
    pub key: Key,
    /// The payment.
    pub payment: PaymentId,
}

/// Ask for captured money to be sent back.
#[derive(Clone, Debug)]
pub struct RefundRequest {
    /// The same over all attempts.
    pub key: Key,
    /// The payment.
    pub payment: PaymentId,
    /// How much; above zero, in the payment's currency.
    pub amount: Money,
}

/// Ask how things are. Changes nothing, so it may be asked at any time and again.
///
/// [`Effect::Refused`] says that the *effect* was refused, never that the question was. [`Effect::Done`] says that there is such
/// a payment, and of a refund that this very refund is there. Of the others the caller must see whether they show in the
/// payment: a company may find a payment and not an effect.
#[derive(Clone, Debug)]
pub enum Query {
    /// The payment, which is known.
    Payment(PaymentId),
    /// What came of an effect, when its answer was lost. [`Effect::Refused`] with
    /// [`codes::NOT_FOUND`](crate::codes::NOT_FOUND) if the company knows of nothing, so that sending it again, with the same
    /// key, is what is left to do.
    Key {
        /// The key that was sent.
        key: Key,
        /// The order, for companies that find by it rather than by key.
        order: OrderId,
        /// The payment, where it is known: all but authorizing.
        payment: Option<PaymentId>,
        /// What was asked for under the key: companies keep different things in different places.
        deed: Deed,
    },
}

/// What a lost effect was to do.
#[derive(Clone, Debug)]
pub enum Deed {
    /// Set money aside, paid with this.
    Authorize(MethodToken),
    /// Take this much.
    Capture(Money),
    /// Give up what is not captured.
    Void,
    /// Send some back.
    Refund,
}

/// A payment company.
///
/// No call is repeated by the connector. Futures are `Send`, and may be dropped at any point.
pub trait PaymentCompany: fmt::Debug + Send + Sync {
    /// Its name, as in account ids (`company:sandbox`).
    fn name(&self) -> &'static str;
    /// Sets money aside, or sends the customer to do so ([`Status::RequiresCustomer`](crate::Status::RequiresCustomer)).
    fn authorize<'a>(&'a self, request: &'a AuthorizeRequest) -> Asking<'a>;
    /// Takes money that is set aside.
    fn capture<'a>(&'a self, request: &'a CaptureRequest) -> Asking<'a>;
    /// Gives up what is not captured.
    fn void<'a>(&'a self, request: &'a VoidRequest) -> Asking<'a>;
    /// Sends captured money back.
    fn refund<'a>(&'a self, request: &'a RefundRequest) -> Asking<'a>;
    /// Asks how things are.
    fn query<'a>(&'a self, query: &'a Query) -> Asking<'a>;
    /// Reads a webhook that came at `now` (Unix seconds).
    ///
    /// # Errors
    /// [`NoticeError`] if it is not the company's, or makes no sense: answer 400 and do nothing.
    fn notice(&self, headers: &HeaderMap, body: &[u8], now: i64) -> Result<Notice, NoticeError>;
}

/// Something a company told by itself. May come twice, late and out of order: take it as a reason to look, and `state` as
/// what was true when it was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    /// Its id at the company, the same when it is told again.
    pub id: String,
    /// What happened, in the company's words.
    pub kind: String,
    /// The payment it concerns.
    pub payment: PaymentId,
    /// The payment as it was then, if the notice is signed and says so. Without it, query.
    pub state: Option<PaymentState>,
}

/// Why a webhook is not taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NoticeError {
    /// No secret is set up, so nothing can be checked.
    NoSecret,
    /// It is not signed by the company, or too old.
    Signature(SignatureError),
    /// It is signed, but not about a payment or not understood.
    Content(String),
}

impl fmt::Display for NoticeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoSecret => {
                f.write_str("no webhook secret is set up for this company, so its webhooks are not taken")
            }
            Self::Signature(error) => write!(f, "the webhook's signature: {error}"),
            Self::Content(what) => write!(f, "the webhook's content: {what}"),
        }
    }
}

impl std::error::Error for NoticeError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Signature(error) => Some(error),
            Self::NoSecret | Self::Content(_) => None,
        }
    }
}
