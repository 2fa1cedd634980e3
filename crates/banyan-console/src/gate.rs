//! Who gets in: the headers of every answer, signing in and out, and the forms that may change something.

use crate::Console;
use crate::kept::{self, Kept};
use crate::layout;
use crate::link;
use crate::pages::login;
use crate::session::{self, SignedIn};
use crate::text::{self, Lang, Text};
use axum::extract::{Form, FromRequest, FromRequestParts, Path, Query, Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Redirect, Response};
use banyan_api::auth::Role;
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri, header};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use subtle::ConstantTimeEq;
use tokio::sync::Semaphore;

/// Nothing but our own files, no inline script or style, no frame around us.
pub(crate) const CSP: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; \
    img-src 'self' data:; form-action 'self'; frame-ancestors 'none'; base-uri 'none'";
/// Longest time a form may take to arrive.
const FORM_TIME_MAX: Duration = Duration::from_secs(15);
/// How long a wrong key waits for its answer.
const FAILURE_PAUSE: Duration = Duration::from_millis(400);
/// Wrong keys that may wait at once; more are turned away.
const FAILURES_WAITING_MAX: usize = 4;
/// The cookie that ties the sign-in form to the browser that asked for it.
pub(crate) const LOGIN_COOKIE: &str = "banyan_console_login";
const LANG_COOKIE: &str = "banyan_console_lang";

/// Fields of a form or of an address.
pub(crate) type Fields = BTreeMap<String, String>;

/// Slows wrong keys down: about ten guesses a second over all callers, against keys of 160 random bits. A right key
/// never waits, so nobody can lock an operator out by guessing.
pub(crate) struct Failures(Semaphore);

impl Default for Failures {
    fn default() -> Self {
        Self(Semaphore::new(FAILURES_WAITING_MAX))
    }
}

/// A request's circumstances that every page needs, signed in or not.
#[derive(Clone)]
pub(crate) struct Visit {
    pub(crate) lang: Lang,
    /// Path and query of the page, to come back to. Of a form that was sent, the page on which it stands.
    pub(crate) here: String,
    /// Where this server is reached, for `curl` commands.
    pub(crate) origin: String,
}

/// Somebody signed in who asks for a page.
pub(crate) struct Viewer {
    pub(crate) console: Arc<Console>,
    pub(crate) who: SignedIn,
    pub(crate) visit: Visit,
}

/// A form that somebody signed in sent from a page of theirs.
pub(crate) struct Posted {
    pub(crate) viewer: Viewer,
    pub(crate) fields: Fields,
}

/// A [`Posted`] form by somebody who may change things.
pub(crate) struct OperatorForm {
    pub(crate) viewer: Viewer,
    pub(crate) fields: Fields,
}

/// Puts the security headers on every answer, and answers addresses that are no text with a page of ours.
pub(crate) async fn guard(State(console): State<Arc<Console>>, request: Request, next: Next) -> Response {
    console.start();
    let mut response = if link::is_text(request.uri().path()) {
        next.run(request).await
    } else {
        let (mut parts, _) = request.into_parts();
        match Viewer::from_request_parts(&mut parts, &console).await {
            Ok(viewer) => crate::pages::not_found(viewer).await,
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

impl Viewer {
    pub(crate) fn lang(&self) -> Lang {
        self.visit.lang
    }

    /// Answers with a page that says what is wrong.
    pub(crate) fn problem(&self, status: StatusCode, title: &str, detail: &str) -> Response {
        (status, layout::problem(self, title, detail)).into_response()
    }
}

impl FromRequestParts<Arc<Console>> for Viewer {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, console: &Arc<Console>) -> Result<Self, Response> {
        let visit = Visit::of(&parts.method, &parts.headers, &parts.uri);
        let token = cookie(&parts.headers, session::COOKIE);
        match token.and_then(|token| console.sessions.resume(&console.app, token)) {
            Some(who) => Ok(Self { console: console.clone(), who, visit }),
            None => Err(send_to_login(&parts.headers, &visit)),
        }
    }
}

/// Pages lead to the sign-in form and back; streams and htmx are told in their own way.
fn send_to_login(headers: &HeaderMap, visit: &Visit) -> Response {
    let to = format!("/console/login?next={}", link::encode(&visit.here));
    if headers.contains_key("hx-request") {
        return (StatusCode::UNAUTHORIZED, [("hx-redirect", to)]).into_response();
    }
    let accept = headers.get(header::ACCEPT).and_then(|accept| accept.to_str().ok()).unwrap_or_default();
    if accept.starts_with("text/event-stream") {
        return StatusCode::UNAUTHORIZED.into_response();
    }
    Redirect::to(&to).into_response()
}

impl FromRequest<Arc<Console>> for Posted {
    type Rejection = Response;

    async fn from_request(request: Request, console: &Arc<Console>) -> Result<Self, Response> {
        let (mut parts, body) = request.into_parts();
        let viewer = match Viewer::from_request_parts(&mut parts, console).await {
            Ok(viewer) => viewer,
            // A browser shows the cookie to forms of the console's own pages only: this one was typed by its own operator.
            Err(_) if was_signed_in(&parts) => {
                let visit = Visit::of(&parts.method, &parts.headers, &parts.uri);
                let path = parts.uri.path().to_owned();
                return Err(match read_form(Request::from_parts(parts, body)).await {
                    Ok(fields) => kept::ask_to_sign_in(console, &visit, &Kept::new(&path, fields)),
                    Err(status) => status.into_response(),
                });
            }
            Err(response) => return Err(response),
        };
        let lang = viewer.lang();
        let fields = read_form(Request::from_parts(parts, body)).await;
        let fields = fields
            .map_err(|status| viewer.problem(status, lang.t(text::FORM_BROKEN), lang.t(text::FORM_AGAIN)))?;
        let sent = fields.get("csrf").map(String::as_bytes).unwrap_or_default();
        if !bool::from(sent.ct_eq(viewer.who.csrf.as_bytes())) {
            return Err(viewer.problem(
                StatusCode::FORBIDDEN,
                lang.t(text::FORM_STALE),
                lang.t(text::FORM_AGAIN),
            ));
        }
        Ok(Self { viewer, fields })
    }
}

/// Whether a form comes from a page of somebody whose session has ended since. Nothing is kept of signing out.
fn was_signed_in(parts: &Parts) -> bool {
    cookie(&parts.headers, session::COOKIE).is_some() && !parts.uri.path().starts_with("/console/log")
}

impl FromRequest<Arc<Console>> for OperatorForm {
    type Rejection = Response;

    async fn from_request(request: Request, console: &Arc<Console>) -> Result<Self, Response> {
        let Posted { viewer, fields } = Posted::from_request(request, console).await?;
        if !viewer.who.may_change() {
            let lang = viewer.lang();
            return Err(viewer.problem(
                StatusCode::FORBIDDEN,
                lang.t(text::READ_ONLY_TITLE),
                lang.t(text::READ_ONLY_HINT),
            ));
        }
        Ok(Self { viewer, fields })
    }
}

async fn read_form(request: Request) -> Result<Fields, StatusCode> {
    let form = tokio::time::timeout(FORM_TIME_MAX, Form::<Fields>::from_request(request, &()));
    match form.await {
        Ok(Ok(Form(fields))) => Ok(fields),
        Ok(Err(rejection)) => Err(rejection.status()),
        Err(_) => Err(StatusCode::REQUEST_TIMEOUT),
    }
}

/// Signs the holder of a key in.
pub(crate) async fn sign_in(State(console): State<Arc<Console>>, request: Request) -> Response {
    let visit = Visit::of(request.method(), request.headers(), request.uri());
    let lang = visit.lang;
    let tied = cookie(request.headers(), LOGIN_COOKIE).map(str::to_owned).unwrap_or_default();
    let Ok(fields) = read_form(request).await else {
        let form = login::Form { next: "", kept: None, fault: Some(lang.t(text::FORM_AGAIN)) };
        return login::page(&console, &visit, StatusCode::BAD_REQUEST, &form);
    };
    let kept = Kept::of_login(&fields);
    let field = |name: &str| fields.get(name).map(String::as_str).unwrap_or_default();
    let next = link::own_path(field("next"));
    let again = |status: StatusCode, why: Text| {
        let form = login::Form { next, kept: kept.as_ref(), fault: Some(lang.t(why)) };
        login::page(&console, &visit, status, &form)
    };
    if tied.is_empty() || !bool::from(tied.as_bytes().ct_eq(field("csrf").as_bytes())) {
        return again(StatusCode::FORBIDDEN, text::LOGIN_STALE);
    }
    let key = field("key").trim();
    let holder = console.app.keyring().holder(blake3::hash(key.as_bytes()).as_bytes());
    let role = holder.map(|holder| holder.role);
    if let Some(Role::Operator | Role::Auditor) = role {
        let Ok(token) = console.sessions.begin(key.as_bytes()) else {
            return again(StatusCode::SERVICE_UNAVAILABLE, text::LOGIN_NO_RANDOM);
        };
        let who = kept.as_ref().and_then(|_| console.sessions.resume(&console.app, &token));
        let mut response = match (&kept, who) {
            (Some(kept), Some(who)) => kept.show(&Viewer { console: console.clone(), who, visit }, next),
            _ => Redirect::to(next).into_response(),
        };
        set_cookie(&mut response, &console, session::COOKIE, &token, None);
        set_cookie(&mut response, &console, LOGIN_COOKIE, "", Some(0));
        return response;
    }
    let Ok(_held) = console.failures.0.try_acquire() else {
        let mut page = again(StatusCode::TOO_MANY_REQUESTS, text::LOGIN_TOO_MANY);
        page.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        return page;
    };
    tokio::time::sleep(FAILURE_PAUSE).await;
    let why = if role.is_some() { text::LOGIN_WRONG_ROLE } else { text::LOGIN_UNKNOWN };
    again(StatusCode::UNAUTHORIZED, why)
}

/// Signs out.
pub(crate) async fn sign_out(posted: Posted) -> Response {
    let console = &posted.viewer.console;
    console.sessions.end(&posted.viewer.who);
    let mut response = Redirect::to("/console/login").into_response();
    set_cookie(&mut response, console, session::COOKIE, "", Some(0));
    response
}

/// What only forms are sent to was opened as a page: leads to the page on which the form stands.
pub(crate) async fn not_a_page(viewer: Viewer, method: Method, uri: Uri) -> Response {
    match (method, link::page_of_form(uri.path())) {
        (Method::GET | Method::HEAD, page) if page != uri.path() => Redirect::to(page).into_response(),
        _ => {
            let lang = viewer.lang();
            let status = StatusCode::METHOD_NOT_ALLOWED;
            viewer.problem(status, lang.t(text::NOT_FOUND), lang.t(text::NOT_FOUND_HINT))
        }
    }
}

/// Notes the language and leads back. A matter of taste, not of safety: a plain link will do.
pub(crate) async fn choose_language(
    State(console): State<Arc<Console>>,
    Path(lang): Path<String>,
    Query(query): Query<Fields>,
) -> Response {
    let back = query.get("back").map(String::as_str).unwrap_or_default();
    let mut response = Redirect::to(link::own_path(back)).into_response();
    let lang = Lang::from_code(&lang).unwrap_or_default();
    set_cookie(&mut response, &console, LANG_COOKIE, lang.code(), Some(365 * 86_400));
    response
}

/// Sets a cookie of the console; without an age it goes with the browser.
pub(crate) fn set_cookie(
    response: &mut Response,
    console: &Console,
    name: &str,
    value: &str,
    age: Option<u32>,
) {
    let secure = if console.options.https { "; Secure" } else { "" };
    let age = age.map(|seconds| format!("; Max-Age={seconds}")).unwrap_or_default();
    let cookie = format!("{name}={value}; Path=/console; HttpOnly; SameSite=Strict{age}{secure}");
    if let Ok(cookie) = HeaderValue::from_str(&cookie) {
        response.headers_mut().append(header::SET_COOKIE, cookie);
    }
}

/// The cookie `name` that a browser sent.
pub(crate) fn cookie<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let cookies = headers.get_all(header::COOKIE).iter().filter_map(|cookies| cookies.to_str().ok());
    cookies
        .flat_map(|cookies| cookies.split(';'))
        .filter_map(|cookie| cookie.trim().split_once('='))
        .find(|(found, value)| *found == name && !value.is_empty())
        .map(|(_, value)| value)
}

impl Visit {
    pub(crate) fn of(method: &Method, headers: &HeaderMap, uri: &Uri) -> Self {
        let text = |name: HeaderName| headers.get(name).and_then(|value| value.to_str().ok());
        let chosen = cookie(headers, LANG_COOKIE).and_then(Lang::from_code);
        let asked = || text(header::ACCEPT_LANGUAGE).map(Lang::preferred);
        let here = match *method {
            Method::GET | Method::HEAD => uri.path_and_query().map_or("/console", |here| here.as_str()),
            _ => link::page_of_form(uri.path()),
        };
        // Shown inside a command for a shell: only what a host name and a port can be.
        let plain = |host: &&str| host.bytes().all(|b| b.is_ascii_alphanumeric() || b".:-[]".contains(&b));
        let host = text(header::HOST).filter(plain).unwrap_or("127.0.0.1:8080");
        let scheme = if text(HeaderName::from_static("x-forwarded-proto")) == Some("https") {
            "https"
        } else {
            "http"
        };
        Self {
            lang: chosen.or_else(asked).unwrap_or_default(),
            here: here.into(),
            origin: format!("{scheme}://{host}"),
        }
    }
}
