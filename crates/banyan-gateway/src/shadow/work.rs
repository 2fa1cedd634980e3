//! The other side of a copy: asks, reads within limits, compares, and writes down what it came to. On a thread of its
//! own: a comparison may take milliseconds, and no user's request may wait behind one.

use super::budget::{Capture, Overflow};
use super::lane::{Known, Lane, Outcome, Skipped, shown_path};
use super::proof::Pass;
use super::watch::{Question, dice};
use super::{AskFault, Asker, DRY_RUN_HEADER, Job, LOOP_HEADER, Shadow, UserAnswer};
use crate::diff::{self, Answer, Compared, Difference, Found, redact};
use crate::groups::{SAMPLE_BYTES_MAX, SAMPLE_DIFFERENCES_MAX, Sample, Shown};
use crate::noise::Spot;
use crate::rules::ShadowRules;
use crate::side::Side;
use crate::table::Route;
use axum::body::Body;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode, header};
use http_body_util::BodyExt;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};
use tokio::sync::oneshot::error::TryRecvError;

/// A whole answer of the other side.
struct CopyAnswer {
    status: StatusCode,
    headers: HeaderMap,
    body: Capture,
    /// To its head.
    took: Duration,
}

/// Counts something that goes on, for as long as it does.
struct Under<'a>(&'a AtomicUsize);

impl<'a> Under<'a> {
    fn begin(count: &'a AtomicUsize) -> Self {
        count.fetch_add(1, Relaxed);
        Self(count)
    }
}

impl Drop for Under<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}

/// A copy that is not counted yet. If it is dropped so, the gateway is stopping, or the other side is in this process and
/// panicked.
struct Uncounted<'a> {
    lane: &'a Lane,
    queued: bool,
    counted: bool,
}

impl Uncounted<'_> {
    fn leave_queue(&mut self) {
        self.queued = false;
        self.lane.queued.fetch_sub(1, Relaxed);
    }
}

impl Drop for Uncounted<'_> {
    fn drop(&mut self) {
        if self.queued {
            self.leave_queue();
        }
        if !self.counted && std::thread::panicking() {
            self.lane.asked(true);
            self.lane.skip(Skipped::BrokenAnswer);
        } else if !self.counted {
            self.lane.skip(Skipped::Stopping);
        }
    }
}

/// Works on one copy, from its place in the queue to its count.
pub(super) async fn work(shadow: Arc<Shadow>, asker: Arc<dyn Asker>, job: Job) {
    let lane = job.route.lane().clone();
    let mut uncounted = Uncounted { lane: &lane, queued: true, counted: false };
    let outcome = copy(&shadow, &*asker, &lane, job, &mut uncounted).await;
    if let Err(why) = outcome {
        lane.skip(why);
        uncounted.counted = true;
    }
}

async fn copy(
    shadow: &Shadow,
    asker: &dyn Asker,
    lane: &Lane,
    mut job: Job,
    uncounted: &mut Uncounted<'_>,
) -> Result<(), Skipped> {
    let room = job.rules.room.acquire().await;
    // In this order: it is never in neither.
    let _under = Under::begin(&lane.under_way);
    uncounted.leave_queue();
    let Ok(room) = room else { return Err(Skipped::Stopping) };
    let early = match job.answer.try_recv() {
        Ok(Ok(answer)) => Some(answer),
        // The user's side came to nothing while this waited: there is no point in asking.
        Ok(Err(why)) => return Err(why),
        Err(TryRecvError::Closed) => return Err(Skipped::UserGone),
        Err(TryRecvError::Empty) => None,
    };
    let other = job.primary.other();
    let (method, uri) = (job.question.method.clone(), job.question.uri.clone());
    let headers = job.question.headers.clone();
    let copied = ask_copy(shadow, asker, &job.route, &job.rules, other, job.question).await;
    // The user's exchange may take its time; others need not wait for it.
    drop(room);
    let user = match early {
        Some(answer) => Ok(answer),
        None => job.answer.await.unwrap_or(Err(Skipped::UserGone)),
    };
    if other == Side::Banyan {
        count_answer(lane, &copied, user.as_ref().ok());
    }
    let (user, copied) = (user?, copied?);
    lane.paired([(job.primary, user.status, user.took), (other, copied.status, copied.took)]);
    judge(shadow, lane, &job.route, &job.rules, job.primary, (&method, &uri.to_string()), &user, &copied)?;
    uncounted.counted = true;
    let reads = method == Method::GET || method == Method::HEAD;
    if reads && job.rules.noise.holds(dice(lane.counts()[0].wrapping_mul(31))) {
        // A question as any other copy: so many at once, and no more.
        let Ok(_room) = job.rules.room.acquire().await else { return Ok(()) };
        let first = if job.primary == Side::Legacy { user.answer() } else { copied.answer() };
        ask_again(shadow, asker, lane, &job.route, &job.rules, (&method, &uri, &headers), &first).await;
    }
    Ok(())
}

/// What a copy says about Banyan's health. An answer that fails as the old shop's does is no fault of Banyan's.
fn count_answer(lane: &Lane, copied: &Result<CopyAnswer, Skipped>, user: Option<&UserAnswer>) {
    match copied {
        Ok(answer) => {
            let fails =
                answer.status.is_server_error() && user.is_none_or(|user| user.status != answer.status);
            lane.asked(fails);
            lane.times.answered(0, Side::Banyan, answer.status.as_u16(), answer.took);
        }
        // A long answer is an answer; and what was our own doing says nothing about Banyan.
        Err(Skipped::AnswerTooLarge) => lane.asked(false),
        Err(Skipped::Timeout | Skipped::UpstreamDown | Skipped::BrokenAnswer) => lane.asked(true),
        Err(_) => {}
    }
}

async fn ask_copy(
    shadow: &Shadow,
    asker: &dyn Asker,
    route: &Arc<Route>,
    rules: &Arc<ShadowRules>,
    side: Side,
    mut question: Question,
) -> Result<CopyAnswer, Skipped> {
    let pass = question.pass.take();
    question
        .headers
        .insert(LOOP_HEADER, HeaderValue::from_static(if pass.is_some() { "dry-run" } else { "read" }));
    if pass.is_some() {
        question.headers.insert(DRY_RUN_HEADER, HeaderValue::from_static("true"));
    }
    let body = question.body.give();
    let request = || request(&question.method, &question.uri, &question.headers, &body);
    ask(shadow, asker, route, rules, side, pass, request).await
}

fn request(method: &Method, uri: &http::Uri, headers: &HeaderMap, body: &Bytes) -> Request<Body> {
    let mut request = Request::new(if body.is_empty() { Body::empty() } else { Body::from(body.clone()) });
    *request.method_mut() = method.clone();
    *request.uri_mut() = uri.clone();
    *request.headers_mut() = headers.clone();
    let headers = request.headers_mut();
    headers.remove(header::EXPECT);
    headers.remove(header::TRANSFER_ENCODING);
    headers.remove(header::CONTENT_LENGTH);
    if !body.is_empty() {
        headers.insert(header::CONTENT_LENGTH, HeaderValue::from(body.len()));
    }
    // What is compared is unpacked anyway, and not every packing can be.
    headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_static("identity"));
    request
}

/// Asks a side, and reads its answer, all within the route's time and size. What is no write may be asked twice: a server
/// may close a kept connection in the moment it is used again, and that is no fault. A write comes with its `pass`, which is
/// told what became of it.
async fn ask(
    shadow: &Shadow,
    asker: &dyn Asker,
    route: &Arc<Route>,
    rules: &ShadowRules,
    side: Side,
    pass: Option<Pass>,
    request: impl Fn() -> Request<Body>,
) -> Result<CopyAnswer, Skipped> {
    let asked = async {
        let began = Instant::now();
        // Moved in here: if this is given up half-way, the write may have arrived.
        let sent = pass.map(Pass::send).transpose()?;
        let mut response = asker.ask(route.clone(), side, request()).await;
        if sent.is_none() && matches!(response, Err(AskFault::Broken)) {
            response = asker.ask(route.clone(), side, request()).await;
        }
        match (sent, &response) {
            (None, _) => {}
            // By its head: what follows may be too long, or break off.
            (Some(sent), Ok(answer)) => {
                let confirms = answer.headers().get(DRY_RUN_HEADER).is_some_and(|value| value == "true");
                sent.answered(confirms, answer.status());
            }
            (Some(sent), Err(AskFault::Busy | AskFault::Down)) => sent.never(),
            (Some(sent), Err(AskFault::Slow | AskFault::Broken)) => drop(sent),
        }
        let response = response.map_err(|fault| match fault {
            AskFault::Busy => Skipped::UpstreamBusy,
            AskFault::Down => Skipped::UpstreamDown,
            AskFault::Slow => Skipped::Timeout,
            AskFault::Broken => Skipped::BrokenAnswer,
        })?;
        let took = began.elapsed();
        let (head, mut stream) = response.into_parts();
        let mut body = Capture::new(shadow.budget().clone(), rules.answer_bytes_max);
        while let Some(frame) = stream.frame().await {
            let frame = frame.map_err(|_| Skipped::BrokenAnswer)?;
            if let Some(data) = frame.data_ref() {
                // Dropping the stream closes the connection: the rest of 10 GB is never read.
                body.push(data).map_err(|overflow| match overflow {
                    Overflow::TooLarge => Skipped::AnswerTooLarge,
                    Overflow::Budget => Skipped::Budget,
                })?;
            }
        }
        Ok(CopyAnswer { status: head.status, headers: head.headers, body, took })
    };
    tokio::time::timeout(rules.whole, asked).await.unwrap_or(Err(Skipped::Timeout))
}

fn judge(
    shadow: &Shadow,
    lane: &Lane,
    route: &Route,
    rules: &ShadowRules,
    primary: Side,
    (method, target): (&Method, &str),
    user: &UserAnswer,
    copied: &CopyAnswer,
) -> Result<(), Skipped> {
    let (legacy, banyan) = match primary {
        Side::Legacy => (user.answer(), copied.answer()),
        Side::Banyan => (copied.answer(), user.answer()),
    };
    let found = match diff::compare(&rules.compare, &legacy, &banyan) {
        Compared::Judged(found) => found,
        Compared::Unjudged(why) => {
            tracing::debug!(route = route.name(), why, "a pair of answers was not judged");
            return Err(Skipped::Unjudged);
        }
    };
    let now = shadow.now();
    let outcome = lane.learn(|known| {
        let sample = |differences: &[Difference]| Sample {
            at: now,
            method: method.as_str().to_owned(),
            path: shown_path(target),
            legacy: shown(&legacy),
            banyan: shown(&banyan),
            differences: differences.iter().take(SAMPLE_DIFFERENCES_MAX).cloned().collect(),
        };
        weigh(known, route.name(), now, &found, sample)
    });
    lane.judged(outcome);
    Ok(())
}

/// What a comparison comes to, after noise and what people say.
fn weigh(
    known: &mut Known,
    route: &str,
    now: u64,
    found: &Found,
    sample: impl Fn(&[Difference]) -> Sample,
) -> Outcome {
    known.noise.cross(now, &spots(found));
    if found.differences.is_empty() {
        return Outcome::Equal;
    }
    let hidden = |difference: &Difference| known.noise.hides(&(difference.kind, difference.general.clone()));
    let left: Vec<Difference> = found.differences.iter().filter(|found| !hidden(found)).cloned().collect();
    if left.is_empty() && !found.more {
        return Outcome::Noisy;
    }
    // More than could be listed, and all that is listed is noise: what is not listed counts.
    let counted = if left.is_empty() { &found.differences } else { &left };
    match known.groups.take(route, now, counted, || sample(counted)) {
        true => Outcome::Mismatched,
        false => Outcome::Ignored,
    }
}

fn spots(found: &Found) -> BTreeSet<Spot> {
    found.differences.iter().map(|difference| (difference.kind, difference.general.clone())).collect()
}

/// Asks the old shop a second time, to learn what of its answers differs by itself.
async fn ask_again(
    shadow: &Shadow,
    asker: &dyn Asker,
    lane: &Lane,
    route: &Arc<Route>,
    rules: &ShadowRules,
    (method, uri, headers): (&Method, &http::Uri, &HeaderMap),
    first: &Answer<'_>,
) {
    let mut headers = headers.clone();
    headers.insert(LOOP_HEADER, HeaderValue::from_static("noise"));
    let request = || request(method, uri, &headers, &Bytes::new());
    let Ok(second) = ask(shadow, asker, route, rules, Side::Legacy, None, request).await else { return };
    lane.asked_again();
    if let Compared::Judged(found) = diff::compare(&rules.compare, first, &second.answer()) {
        let now = shadow.now();
        lane.learn(|known| known.noise.learn(now, &spots(&found)));
    }
}

impl UserAnswer {
    fn answer(&self) -> Answer<'_> {
        Answer { status: self.status, headers: &self.headers, body: self.body.bytes() }
    }
}

impl CopyAnswer {
    fn answer(&self) -> Answer<'_> {
        Answer { status: self.status, headers: &self.headers, body: self.body.bytes() }
    }
}

fn shown(answer: &Answer<'_>) -> Shown {
    Shown {
        status: answer.status.as_u16(),
        headers: redact::headers(answer.headers),
        body: diff::sample_body(answer, SAMPLE_BYTES_MAX),
    }
}
