//! The user's side of a copy: looks at what passes, keeps what fits, and lets go the moment something does not.
//!
//! Nothing here waits. Each method copies some bytes or gives up; giving up is counted.

use super::budget::{Capture, Overflow};
use super::lane::{Lane, Skipped};
use super::proof::{self, Pass};
use super::{Job, LOOP_HEADER, Shadow, UserAnswer};
use crate::canary::BUCKETS;
use crate::rules::ShadowRules;
use crate::side::{Ended, Side, Watcher};
use crate::table::Route;
use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Method, Uri, request, response};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;
use tokio::sync::oneshot;

/// Request headers that make a question that only one side can answer.
const CONDITIONAL: [HeaderName; 6] = [
    header::IF_MATCH,
    header::IF_NONE_MATCH,
    header::IF_MODIFIED_SINCE,
    header::IF_UNMODIFIED_SINCE,
    header::IF_RANGE,
    header::RANGE,
];

/// What a copy asks.
#[derive(Debug)]
pub(super) struct Question {
    pub method: Method,
    pub uri: Uri,
    pub headers: HeaderMap,
    pub body: Capture,
    /// For a write.
    pub pass: Option<Pass>,
}

/// A request that may be copied, while the user's exchange goes on.
pub(super) struct Copying {
    shadow: Arc<Shadow>,
    route: Arc<Route>,
    rules: Arc<ShadowRules>,
    primary: Side,
    stage: Stage,
    answer: Option<UserAnswer>,
}

#[expect(clippy::large_enum_variant, reason = "it is in the watcher's box already")]
enum Stage {
    /// The request's body is still coming.
    Reading(Question),
    /// The copy is in the queue, or under way.
    Sent(oneshot::Sender<Result<UserAnswer, Skipped>>),
    /// Counted.
    Over,
}

/// Begins to watch a request, unless there is a reason not to.
pub(super) fn begin(
    shadow: &Arc<Shadow>,
    route: &Arc<Route>,
    rules: &Arc<ShadowRules>,
    head: &request::Parts,
    primary: Side,
) -> Option<Copying> {
    let number = route.lane().offer();
    match question(shadow, rules, head, primary, number) {
        Ok(question) => Some(Copying {
            shadow: shadow.clone(),
            route: route.clone(),
            rules: rules.clone(),
            primary,
            stage: Stage::Reading(question),
            answer: None,
        }),
        Err(why) => {
            route.lane().skip(why);
            None
        }
    }
}

fn question(
    shadow: &Arc<Shadow>,
    rules: &Arc<ShadowRules>,
    head: &request::Parts,
    primary: Side,
    number: u64,
) -> Result<Question, Skipped> {
    let headers = &head.headers;
    if headers.contains_key(LOOP_HEADER) {
        return Err(Skipped::Loop);
    }
    if headers.contains_key(header::UPGRADE) || head.method == Method::CONNECT {
        return Err(Skipped::Upgrade);
    }
    let is_write = match head.method {
        Method::GET | Method::HEAD => false,
        Method::POST | Method::PUT | Method::PATCH | Method::DELETE => true,
        _ => return Err(Skipped::Method),
    };
    if is_write && primary == Side::Banyan {
        return Err(Skipped::WriteToLegacy);
    }
    if is_write && !rules.dry_run {
        return Err(Skipped::WriteNotDryRun);
    }
    if CONDITIONAL.iter().any(|name| headers.contains_key(name)) {
        return Err(Skipped::Conditional);
    }
    if !rules.share.holds(dice(number)) {
        return Err(Skipped::Sampling);
    }
    let length =
        headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    if length.is_some_and(|length| length > rules.body_bytes_max as u64) {
        return Err(Skipped::BodyTooLarge);
    }
    let pass = if is_write { Some(proof::pass(rules)?) } else { None };
    let body = Capture::new(shadow.budget().clone(), rules.body_bytes_max);
    // The head is taken as it is sent on: see `request`.
    Ok(Question { method: head.method.clone(), uri: Uri::default(), headers: HeaderMap::new(), body, pass })
}

impl Copying {
    fn lane(&self) -> &Arc<Lane> {
        self.route.lane()
    }

    /// Gives up, and counts why, once.
    fn give_up(&mut self, why: Skipped) {
        match std::mem::replace(&mut self.stage, Stage::Over) {
            Stage::Reading(_) => self.lane().skip(why),
            // Whoever works on the copy counts it; if nobody does any more, it is counted already.
            Stage::Sent(sender) => drop(sender.send(Err(why))),
            Stage::Over => {}
        }
        self.answer = None;
    }
}

impl Watcher for Copying {
    fn request(&mut self, head: &request::Parts) {
        let Stage::Reading(question) = &mut self.stage else { return };
        let target = head.uri.to_string();
        let taken = question.body.hold(target.len() + weight(&head.headers)).is_ok();
        match target.parse() {
            Ok(uri) if taken => (question.uri, question.headers) = (uri, deep(&head.headers)),
            // It was a target a moment ago; what cannot be asked is not.
            Ok(_) => self.give_up(Skipped::Budget),
            Err(_) => self.give_up(Skipped::Method),
        }
    }

    fn request_data(&mut self, data: &Bytes) {
        let pushed = match &mut self.stage {
            Stage::Reading(question) => question.body.push(data),
            Stage::Sent(_) | Stage::Over => return,
        };
        match pushed {
            Ok(()) => {}
            Err(Overflow::TooLarge) => self.give_up(Skipped::BodyTooLarge),
            Err(Overflow::Budget) => self.give_up(Skipped::Budget),
        }
    }

    fn request_end(&mut self, _trailers: Option<&HeaderMap>) {
        let question = match std::mem::replace(&mut self.stage, Stage::Over) {
            Stage::Reading(question) => question,
            other => {
                self.stage = other;
                return;
            }
        };
        let (sender, answer) = oneshot::channel();
        let job = Job {
            route: self.route.clone(),
            rules: self.rules.clone(),
            primary: self.primary,
            question,
            answer,
        };
        match self.shadow.send(job) {
            Ok(()) => self.stage = Stage::Sent(sender),
            Err(why) => {
                self.lane().skip(why);
                self.answer = None;
            }
        }
    }

    fn answer(&mut self, head: &response::Parts, took: Duration) {
        if matches!(self.stage, Stage::Over) {
            return;
        }
        if head.status.is_informational() {
            self.give_up(Skipped::Upgrade);
            return;
        }
        let kind = head.headers.get(header::CONTENT_TYPE).map(HeaderValue::as_bytes).unwrap_or_default();
        if kind.starts_with(b"text/event-stream") {
            self.give_up(Skipped::Streaming);
            return;
        }
        let mut body = Capture::new(self.shadow.budget().clone(), self.rules.answer_bytes_max);
        if body.hold(weight(&head.headers)).is_err() {
            self.give_up(Skipped::Budget);
            return;
        }
        self.answer = Some(UserAnswer { status: head.status, headers: deep(&head.headers), body, took });
    }

    fn answer_data(&mut self, data: &Bytes) {
        let Some(answer) = &mut self.answer else { return };
        match answer.body.push(data) {
            Ok(()) => {}
            Err(Overflow::TooLarge) => self.give_up(Skipped::UserAnswerTooLarge),
            Err(Overflow::Budget) => self.give_up(Skipped::Budget),
        }
    }

    fn end(mut self: Box<Self>, ended: Ended) {
        match (ended, self.answer.take()) {
            (Ended::Whole, Some(answer)) if matches!(self.stage, Stage::Sent(_)) => {
                if let Stage::Sent(sender) = std::mem::replace(&mut self.stage, Stage::Over) {
                    drop(sender.send(Ok(answer)));
                }
            }
            _ => self.give_up(Skipped::UserAnswerFailed),
        }
    }
}

impl Drop for Copying {
    fn drop(&mut self) {
        self.give_up(Skipped::UserGone);
    }
}

/// A bucket for the n-th request: spread evenly, and without asking anybody for chance.
pub(super) fn dice(number: u64) -> u16 {
    let mut mixed = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    ((u128::from(mixed ^ (mixed >> 31)) * u128::from(BUCKETS)) >> 64) as u16
}

fn weight(headers: &HeaderMap) -> usize {
    headers.iter().map(|(name, value)| name.as_str().len() + value.len() + 64).sum()
}

/// A copy that shares no memory with the connection that the headers came from: one small header would keep its whole
/// buffer.
fn deep(headers: &HeaderMap) -> HeaderMap {
    let mut copy = HeaderMap::with_capacity(headers.len());
    for (name, value) in headers {
        // Both were valid a moment ago.
        if let (Ok(name), Ok(value)) =
            (HeaderName::from_bytes(name.as_str().as_bytes()), HeaderValue::from_bytes(value.as_bytes()))
        {
            copy.append(name, value);
        }
    }
    copy
}

/// Takes a place in the route's queue, or says that there is none.
pub(super) fn take_place(lane: &Lane, rules: &ShadowRules) -> bool {
    let fits = |queued: usize| (queued < rules.queue).then_some(queued + 1);
    lane.queued.fetch_update(Relaxed, Relaxed, fits).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_dice_are_even() {
        let mut below = 0;
        for number in 0..100_000 {
            below += u32::from(dice(number) < 100);
        }
        // 1 % of 100,000: 1,000, give or take four deviations of 31.
        assert!((870..1_130).contains(&below), "{below}");
    }
}
