//! Who asks: the headers of every answer, the visitor's cookie, and the forms that may change something.

use crate::Shop;
use crate::layout::{self, Page};
use crate::link;
use crate::session::{self, Session};
use crate::text::{self, Lang, Text};
use axum::extract::{Form, FromRequest, FromRequestParts, Path, Query, Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Redirect, Response};
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri, header};
use jiff::Timestamp;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// Nothing but our own files, no inline script or style, no frame around us.
pub(crate) const CSP: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; \
    img-src 'self' data:; form-action 'self'; frame-ancestors 'none'; base-uri 'none'";
/// Longest time a form may take to arrive.
const FORM_TIME_MAX: Duration = Duration::from_secs(15);
const LANG_COOKIE: &str = "banyan_shop_lang";

/// Fields of a form or of an address.
pub(crate) type Fields = BTreeMap<String, String>;

/// A request, and who sent it.
pub(crate) struct Visit {
    pub(crate) shop: Arc<Shop>,
    pub(crate) lang: Lang,
    /// Path and query of the page, to come back to. Of a form that was sent, the page on which it stands.
    pub(crate) here: String,
    /// How this browser reaches us: `http://HOST`.
    pub(crate) origin: String,
    pub(crate) session: Session,
    /// The cookie as it came.
    sealed: Option<String>,
}

/// A form that a visitor sent from a page of theirs.
pub(crate) struct Posted {
    pub(crate) visit: Visit,
    pub(crate) fields: Fields,
}

/// Puts the security headers on every answer, and answers addresses that are no text with a page of ours.
pub(crate) async fn guard(State(shop): State<Arc<Shop>>, request: Request, next: Next) -> Response {
    let mut response = if link::is_text(request.uri().path()) {
        next.run(request).await
    } else {
        let (mut parts, _) = request.into_parts();
        match Visit::from_request_parts(&mut parts, &shop).await {
            Ok(visit) => crate::pages::not_found(visit).await,
            Err(response) => response,
        }
    };
    let headers = response.headers_mut();
    let mut put = |name: HeaderName, value: &'static str| {
        headers.insert(name, HeaderValue::from_static(value));
    };
    put(header::CONTENT_SECURITY_POLICY, CSP);
    put(header::X_CONTENT_TYPE_OPTIONS, "nosniff");
    put(header::REFERRER_POLICY, "no-referrer");
    put(header::X_FRAME_OPTIONS, "DENY");
    put(HeaderName::from_static("cross-origin-opener-policy"), "same-origin");
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    response
}

impl Visit {
    /// `text` in the visitor's language.
    pub(crate) const fn t(&self, text: Text) -> &'static str {
        self.lang.t(text)
    }

    /// Who is signed in.
    pub(crate) fn member(&self) -> Option<&str> {
        self.session.member.as_deref()
    }

    /// Answers with a page.
    pub(crate) fn page(&self, page: Page<'_>) -> Response {
        self.page_as(StatusCode::OK, page)
    }

    /// Answers with a page and a status.
    pub(crate) fn page_as(&self, status: StatusCode, page: Page<'_>) -> Response {
        self.keep((status, page.show(self)).into_response())
    }

    /// Leads on to a page of ours.
    pub(crate) fn lead(&self, to: &str) -> Response {
        self.keep(Redirect::to(to).into_response())
    }

    /// Answers with a page that says what is wrong, and what to do.
    pub(crate) fn problem(&self, status: StatusCode, title: Text, detail: &str) -> Response {
        self.page_as(status, layout::problem(self, self.t(title), detail))
    }

    /// Answers that the API does not.
    pub(crate) fn trouble(&self, error: &crate::ApiError) -> Response {
        tracing::warn!("the shop: {error}");
        let mut response =
            self.problem(StatusCode::SERVICE_UNAVAILABLE, text::TROUBLE, self.t(text::TROUBLE_HINT));
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("2"));
        response
    }

    /// Leads to the sign-in form, and from there to `next`.
    pub(crate) fn must_sign_in(&self, next: &str) -> Response {
        self.lead(&link::with("/shop/sign-in", &[("next", next)]))
    }

    /// Sets the cookie if the session is not as it came.
    fn keep(&self, mut response: Response) -> Response {
        let sealed = self.shop.signer.seal(&self.session);
        if self.sealed.as_ref() != Some(&sealed) {
            set_cookie(&mut response, &self.shop, session::COOKIE, &sealed, session::AGE_MAX);
        }
        response
    }

    fn of(shop: &Arc<Shop>, parts: &Parts) -> Result<Self, getrandom::Error> {
        let text = |name: HeaderName| parts.headers.get(name).and_then(|value| value.to_str().ok());
        let chosen = cookie(&parts.headers, LANG_COOKIE).and_then(Lang::from_code);
        let asked = || text(header::ACCEPT_LANGUAGE).map(Lang::preferred);
        let now = Timestamp::now().as_second();
        let sealed = cookie(&parts.headers, session::COOKIE).map(str::to_owned);
        let known = sealed.as_deref().and_then(|sealed| shop.signer.open(sealed, now));
        let known = known.filter(|session| !shop.ended.has(session));
        let session = known.map_or_else(|| Session::begin(now), Ok)?;
        // The payment company gets it as the address to come back to: only what a host name and a port can be.
        let plain = |host: &&str| host.bytes().all(|b| b.is_ascii_alphanumeric() || b".:-[]".contains(&b));
        let host = text(header::HOST).filter(plain).unwrap_or("127.0.0.1");
        let forwarded = text(HeaderName::from_static("x-forwarded-proto")) == Some("https");
        let by_host = || format!("{}://{host}", if forwarded { "https" } else { "http" });
        Ok(Self {
            lang: chosen.or_else(asked).unwrap_or_default(),
            here: match parts.method {
                Method::GET | Method::HEAD => {
                    parts.uri.path_and_query().map_or("/shop", |here| here.as_str()).to_owned()
                }
                _ => link::page_of_form(parts.uri.path()),
            },
            origin: shop.public_url.clone().unwrap_or_else(by_host),
            shop: shop.clone(),
            session,
            sealed,
        })
    }
}

impl FromRequestParts<Arc<Shop>> for Visit {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, shop: &Arc<Shop>) -> Result<Self, Response> {
        Self::of(shop, parts).map_err(|error| {
            tracing::error!("the system gives no random numbers: {error}");
            StatusCode::SERVICE_UNAVAILABLE.into_response()
        })
    }
}

impl FromRequest<Arc<Shop>> for Posted {
    type Rejection = Response;

    async fn from_request(request: Request, shop: &Arc<Shop>) -> Result<Self, Response> {
        let (mut parts, body) = request.into_parts();
        let visit = Visit::from_request_parts(&mut parts, shop).await?;
        let request = Request::from_parts(parts, body);
        let form = tokio::time::timeout(FORM_TIME_MAX, Form::<Fields>::from_request(request, &())).await;
        let fields = match form {
            Ok(Ok(Form(fields))) => fields,
            Ok(Err(rejection)) => {
                return Err(visit.problem(
                    rejection.status(),
                    text::FORM_BROKEN,
                    visit.t(text::FORM_STALE_HINT),
                ));
            }
            Err(_) => {
                let status = StatusCode::REQUEST_TIMEOUT;
                return Err(visit.problem(status, text::FORM_BROKEN, visit.t(text::FORM_STALE_HINT)));
            }
        };
        let sent = fields.get("csrf").map(String::as_str).unwrap_or_default();
        if !visit.shop.signer.is_own_form(&visit.session, sent) {
            let status = StatusCode::FORBIDDEN;
            return Err(visit.problem(status, text::FORM_STALE, visit.t(text::FORM_STALE_HINT)));
        }
        Ok(Self { visit, fields })
    }
}

impl Posted {
    /// A field, without spaces around it; empty if it was not sent.
    pub(crate) fn field(&self, name: &str) -> &str {
        self.fields.get(name).map(|value| value.trim()).unwrap_or_default()
    }
}

/// What only forms are sent to was opened as a page: leads to the page on which the form stands.
pub(crate) async fn not_a_page(visit: Visit, method: Method, uri: Uri) -> Response {
    match method {
        Method::GET | Method::HEAD => visit.lead(&link::page_of_form(uri.path())),
        _ => visit.problem(StatusCode::METHOD_NOT_ALLOWED, text::NOT_FOUND, visit.t(text::NOT_FOUND_HINT)),
    }
}

/// Notes the language and leads back. A matter of taste, not of safety: a plain link will do.
pub(crate) async fn choose_language(
    State(shop): State<Arc<Shop>>,
    Path(lang): Path<String>,
    Query(query): Query<Fields>,
) -> Response {
    let back = query.get("back").map(String::as_str).unwrap_or_default();
    let mut response = Redirect::to(link::own_path(back)).into_response();
    let lang = Lang::from_code(&lang).unwrap_or_default();
    set_cookie(&mut response, &shop, LANG_COOKIE, lang.code(), 365 * 86_400);
    response
}

/// Lax: who comes back from the payment company's page is still signed in, and no form of another site is.
fn set_cookie(response: &mut Response, shop: &Shop, name: &str, value: &str, age: i64) {
    let secure = if shop.is_https() { "; Secure" } else { "" };
    let cookie = format!("{name}={value}; Path=/shop; HttpOnly; SameSite=Lax; Max-Age={age}{secure}");
    if let Ok(cookie) = HeaderValue::from_str(&cookie) {
        response.headers_mut().append(header::SET_COOKIE, cookie);
    }
}

/// The cookie `name` that a browser sent.
fn cookie<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let cookies = headers.get_all(header::COOKIE).iter().filter_map(|cookies| cookies.to_str().ok());
    cookies
        .flat_map(|cookies| cookies.split(';'))
        .filter_map(|cookie| cookie.trim().split_once('='))
        .find(|(found, value)| *found == name && !value.is_empty())
        .map(|(_, value)| value)
}
