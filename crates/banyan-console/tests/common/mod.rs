//! A real store in a temporary folder: log, shard, record view, keys, and the console in front of it.

#![allow(dead_code, unreachable_pub, reason = "each test uses its part")]

#[cfg(feature = "gateway")]
pub mod front;
pub mod old_shop;
pub mod shop;

use axum::Router;
use axum::body::Body;
use axum::extract::{Query, Request};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::get;
use banyan_api::auth::{KeyRecord, Keyring, Role, TokenOptions};
use banyan_api::{App, AppOptions, ServeOptions, TokioReplies, deliver_replies, serve};
use banyan_console::ConsoleOptions;
use banyan_domain::coupon::{self, Audience, Benefit, CampaignChange, CampaignDefinition, Stacking};
use banyan_domain::{Actor, CampaignId, Command, Currency, MemberId, Millis, Money, Reason};
use banyan_engine::{CoreOptions, Shard, ShardOptions, start, wall_clock};
use banyan_log::{DiskLog, DiskOptions, RealStorage};
use banyan_views::record::{Rebuilder, RecordOptions, RecordView};
use banyan_views::{LogSource, Runner, RunnerOptions};
use http::{HeaderMap, StatusCode, header};
use http_body_util::BodyExt;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tower::ServiceExt;

pub struct Store {
    pub app: Arc<App>,
    pub operator: String,
    pub auditor: String,
    pub service: String,
    pub records: Vec<KeyRecord>,
    pub stop: watch::Sender<bool>,
    _dir: TempDir,
}

impl Store {
    /// Opens an empty store.
    pub fn open() -> Self {
        let dir = tempfile::tempdir().expect("a folder");
        let storage = Arc::new(RealStorage::create(dir.path().join("log")).expect("the folder is ours"));
        let disk =
            DiskOptions { segment_bytes: 64 << 20, block_bytes_max: 8 << 20, ..DiskOptions::default() };
        let log = DiskLog::open(storage, disk).expect("the log opens");
        let started = start(Box::new(log), None, CoreOptions::default(), None, wall_clock(), &mut |_, _| {})
            .expect("it starts");
        let (replies, from_log) = TokioReplies::new();
        let shard = Shard::spawn(started, Box::new(replies), ShardOptions::default()).expect("threads start");
        tokio::spawn(deliver_replies(from_log));
        let options = RecordOptions { keys: Some(shard.keys().clone()) };
        let view = RecordView::open(dir.path(), &options).expect("the record store opens");
        let reader = view.reader();
        let for_view = shard.clone();
        let source = LogSource::new(shard.confirmed().clone(), move |seq| for_view.reader(seq.as_u64()));
        let runner = Runner::spawn(view, source, RunnerOptions::default()).expect("its thread starts");
        let mut records = Vec::new();
        let mut key = |name: &str, role| {
            let (record, key) = KeyRecord::create(name, role, "2026-11-22T00:00:00Z".into()).expect("a key");
            records.push(record);
            key
        };
        let (operator, auditor) = (key("mina", Role::Operator), key("audit", Role::Auditor));
        let service = key("shop", Role::Service);
        let keyring = Arc::new(Keyring::new(&records, TokenOptions::default()).expect("the keys are good"));
        let (stop, stopping) = watch::channel(false);
        let app = App::new(AppOptions {
            shard,
            keyring,
            record: reader,
            rebuilder: Rebuilder::new(runner),
            streams_max: 64,
            stopping,
            doors: banyan_api::DoorOptions::default(),
        });
        Self { app, operator, auditor, service, records, stop, _dir: dir }
    }

    /// The console alone.
    pub fn console(&self) -> Router {
        banyan_console::router(self.app.clone(), ConsoleOptions::default())
    }

    /// Serves API and console on a free port and returns the address. `/enter?to=PATH` sets the session `cookie` and leads
    /// to `PATH`: a browser started for one page cannot fill in the sign-in form first.
    pub async fn serve(&self, console: Router, cookie: String) -> String {
        let enter = move |Query(query): Query<BTreeMap<String, String>>| {
            let to = query.get("to").cloned().unwrap_or_else(|| "/console".into());
            let cookie = format!("{cookie}; Path=/console; HttpOnly; SameSite=Strict");
            async move { ([(header::SET_COOKIE, cookie)], Redirect::to(&to)).into_response() }
        };
        let router = banyan_api::router(self.app.clone())
            .merge(console)
            .merge(Router::new().route("/enter", get(enter)));
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = format!("http://{}", listener.local_addr().expect("it is bound"));
        let (app, stopping) = (self.app.clone(), self.stop.subscribe());
        let options = ServeOptions { drain_time_max: Duration::from_secs(2), ..ServeOptions::default() };
        tokio::spawn(serve(listener, router, Some(app), stopping, options));
        address
    }

    /// Makes a campaign.
    pub async fn campaign(&self, id: &str, name: &str, quantity: Option<u64>) {
        self.define(definition(id, name, quantity)).await;
    }

    /// Makes a campaign as described.
    pub async fn define(&self, definition: CampaignDefinition) {
        let by = Actor::new("mina").expect("an actor");
        let command = coupon::Command::CreateCampaign { definition: Box::new(definition), by };
        self.app.ask(Command::Coupon(command), None).await.expect("it is created");
    }

    /// Changes a campaign.
    pub async fn change(&self, id: &str, reason: &str, edit: impl FnOnce(&mut CampaignChange)) {
        let mut change = CampaignChange {
            paused: None,
            end: false,
            ends_at: None,
            quantity: None,
            by: Actor::new("mina").expect("an actor"),
            reason: Reason::new(reason).expect("a reason"),
        };
        edit(&mut change);
        let campaign = CampaignId::new(id).expect("a campaign id");
        let command = coupon::Command::ChangeCampaign { campaign, change: Box::new(change) };
        self.app.ask(Command::Coupon(command), None).await.expect("it is changed");
    }

    /// Issues a coupon, or is refused.
    pub async fn issue(&self, id: &str, member: &str) -> bool {
        self.app.ask(issue(id, member), None).await.is_ok()
    }

    /// Issues many coupons at once.
    pub async fn issue_many(&self, id: &str, members: std::ops::Range<u64>) {
        let commands = members.map(|n| (issue(id, &format!("member-{n}")), None)).collect();
        let answers = self.app.shard().submit_many(commands).expect("there is room").await;
        answers.expect("they are answered");
    }

    /// Waits until the record store shows everything.
    pub async fn settle(&self) {
        let (head, progress) = (self.app.shard().confirmed().get(), self.app.record_progress().clone());
        let reached =
            tokio::task::spawn_blocking(move || progress.wait_for(head, Duration::from_secs(30))).await;
        assert!(reached.expect("it waits"), "the record store did not catch up");
    }
}

/// An issue command.
pub fn issue(id: &str, member: &str) -> Command {
    Command::Coupon(coupon::Command::IssueCoupon {
        campaign: CampaignId::new(id).expect("a campaign id"),
        member: MemberId::new(member).expect("a member"),
        segments: Box::default(),
    })
}

/// A plain campaign.
pub fn definition(id: &str, name: &str, quantity: Option<u64>) -> CampaignDefinition {
    let currency = Currency::new("KRW").expect("a currency");
    CampaignDefinition {
        id: CampaignId::new(id).expect("a campaign id"),
        name: name.into(),
        quantity,
        per_member: 1,
        benefit: Benefit::Amount(Money { minor: 5_000, currency }),
        minimum_order: Some(Money { minor: 20_000, currency }),
        starts_at: None,
        ends_at: None,
        audience: Audience::Everyone,
        valid_for: Some(Millis::from_seconds(7 * 86_400)),
        stacking: Stacking::Exclusive,
    }
}

/// A browser of few words: remembers cookies, sends forms.
pub struct Browser {
    pub router: Router,
    pub cookies: BTreeMap<String, String>,
}

/// What came back.
pub struct Page {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: String,
}

impl Page {
    /// Where it leads.
    pub fn location(&self) -> &str {
        self.headers.get(header::LOCATION).and_then(|to| to.to_str().ok()).unwrap_or_default()
    }

    /// The value of the first hidden field `csrf`.
    pub fn csrf(&self) -> String {
        let mark = "name=\"csrf\" value=\"";
        let at = self.body.find(mark).expect("a form with a token") + mark.len();
        self.body[at..].chars().take_while(|c| *c != '"').collect()
    }
}

impl Browser {
    pub fn new(router: Router) -> Self {
        Self { router, cookies: BTreeMap::new() }
    }

    /// A browser that signed in with `key`.
    pub async fn signed_in(router: Router, key: &str) -> Self {
        let mut browser = Self::new(router);
        let page = browser.sign_in(key).await;
        assert_eq!(page.status, StatusCode::SEE_OTHER, "{}", page.body);
        browser
    }

    pub async fn sign_in(&mut self, key: &str) -> Page {
        let csrf = self.get("/console/login").await.csrf();
        self.post("/console/login", &[("csrf", &csrf), ("key", key), ("next", "/console/campaigns")]).await
    }

    /// The session's cookie, as `name=value`.
    pub fn session(&self) -> String {
        format!("banyan_console={}", self.cookies["banyan_console"])
    }

    pub async fn get(&mut self, path: &str) -> Page {
        self.send(Request::get(path), Body::empty()).await
    }

    pub async fn post(&mut self, path: &str, fields: &[(&str, &str)]) -> Page {
        let encode =
            |text: &str| {
                text.bytes()
                    .map(|b| {
                        if b.is_ascii_alphanumeric() {
                            char::from(b).to_string()
                        } else {
                            format!("%{b:02X}")
                        }
                    })
                    .collect::<String>()
            };
        let body: Vec<_> =
            fields.iter().map(|(name, value)| format!("{}={}", encode(name), encode(value))).collect();
        let request = Request::post(path).header(header::CONTENT_TYPE, "application/x-www-form-urlencoded");
        self.send(request, Body::from(body.join("&"))).await
    }

    /// The data of the first event named `name` of a stream.
    pub async fn event(&mut self, path: &str, name: &str) -> serde_json::Value {
        let cookies: Vec<_> = self.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let request = Request::get(path).header(header::COOKIE, cookies.join("; ")).body(Body::empty());
        let response =
            self.router.clone().oneshot(request.expect("a request")).await.expect("it never fails");
        assert_eq!(response.status(), StatusCode::OK, "{path}");
        let (mut body, mut text) = (response.into_body(), String::new());
        let mark = format!("event: {name}\ndata: ");
        let read = async {
            loop {
                if let Some((data, _)) = text.split_once(&mark).and_then(|(_, rest)| rest.split_once("\n\n"))
                {
                    return serde_json::from_str(data).expect("JSON");
                }
                let frame = body.frame().await.expect("the stream goes on").expect("it does not break");
                text.push_str(&String::from_utf8_lossy(frame.data_ref().expect("data")));
            }
        };
        tokio::time::timeout(Duration::from_secs(60), read).await.expect("the event comes")
    }

    async fn send(&mut self, request: http::request::Builder, body: Body) -> Page {
        let cookies: Vec<_> = self.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let request =
            request.header(header::COOKIE, cookies.join("; ")).header(header::HOST, "127.0.0.1:8080");
        let request = request.body(body).expect("a request");
        let response: Response = self.router.clone().oneshot(request).await.expect("it never fails");
        for cookie in response.headers().get_all(header::SET_COOKIE) {
            let text = cookie.to_str().expect("cookies are text");
            let (name, rest) = text.split_once('=').expect("a name");
            let value = rest.split(';').next().unwrap_or_default();
            if text.contains("Max-Age=0") {
                self.cookies.remove(name);
            } else {
                self.cookies.insert(name.into(), value.into());
            }
        }
        let (parts, body) = response.into_parts();
        let bytes = body.collect().await.expect("a whole body").to_bytes();
        Page {
            status: parts.status,
            headers: parts.headers,
            body: String::from_utf8_lossy(&bytes).into_owned(),
        }
    }
}
