//! The log as a feed: JSON lines to read a stretch, server-sent events to follow. No gap, no repeat: the log position is
//! the event's id, and a reader goes on after the last one it has.

use crate::App;
use crate::event_json::{event_json, event_type};
use crate::ids::campaign_id;
use crate::problem::Problem;
use axum::body::Body;
use axum::extract::{Query, State};
use axum::response::Response;
use banyan_domain::{Timestamp, codec};
use banyan_engine::Shard;
use banyan_log::{Block, LogError, LogReader, Seq};
use bytes::Bytes;
use futures_util::stream;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use serde::Deserialize;
use std::io::Write;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, mpsc};

/// Events in one answer of JSON lines, at most.
const LINES_MAX: u64 = 10_000;
/// How long a stream may be silent before it sends a comment, so that both ends notice a broken connection.
const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// How often a stream that waits looks whether the server is stopping.
const LOOK: Duration = Duration::from_millis(500);
/// Bytes after which a stream hands on what it has.
const PART_BYTES: usize = 32 << 10;

/// What to read.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct EventsQuery {
    from: Option<u64>,
    limit: Option<u64>,
}

/// Reads events from a log position: JSON lines, at most `limit` of them and without waiting; or, with
/// `Accept: text/event-stream`, server-sent events that go on as new ones become durable.
///
/// A stream resumes after the `Last-Event-ID` that a browser sends by itself.
#[utoipa::path(
    get, path = "/v1/events", tag = "events",
    params(("from" = Option<u64>, Query, description = "First log position; default 1"), ("limit" = Option<u64>, Query, description = "JSON lines only: at most so many, up to 10000; default 1000")),
    responses((status = 200, description = "Events", content_type = "application/jsonl"), (status = 410, description = "events-archived"), (status = 422, description = "beyond-the-log"), (status = 429, description = "too-many-streams"), (status = 503, description = "unavailable")),
)]
pub(crate) async fn read_events(
    State(app): State<Arc<App>>,
    query: Result<Query<EventsQuery>, axum::extract::rejection::QueryRejection>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    app.identify(&headers)?.must_read_all()?;
    let Query(query) = query.map_err(|error| Problem::invalid(format!("{error}.")))?;
    let accept = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let permit = app.streams.clone().try_acquire_owned().map_err(|_| {
        Problem::new(
            StatusCode::TOO_MANY_REQUESTS,
            "too-many-streams",
            "Too many readers of events at once. Try again later.",
        )
    })?;
    if accept.contains("text/event-stream") {
        let after = headers
            .get("last-event-id")
            .and_then(|id| id.to_str().ok())
            .and_then(|id| id.parse::<u64>().ok());
        follow(app, after.map_or(query.from.unwrap_or(1), |after| after.saturating_add(1)), permit).await
    } else {
        let limit = query.limit.unwrap_or(1_000).clamp(1, LINES_MAX);
        lines(app, query.from.unwrap_or(1), limit, permit).await
    }
}

async fn lines(
    app: Arc<App>,
    from: u64,
    limit: u64,
    permit: OwnedSemaphorePermit,
) -> Result<Response, Problem> {
    let read = tokio::task::spawn_blocking(move || {
        let _held = permit;
        let mut cursor = Cursor::open(&app.shard, from)?;
        let mut body = Vec::new();
        let mut left = limit;
        while left > 0 && cursor.next_block(&app.shard)? {
            cursor.write(&app.shard, &mut body, &mut left, Form::Line)?;
        }
        Ok::<_, Problem>(body)
    });
    let body = read.await.map_err(|_| Problem::unavailable("Reading the log failed."))??;
    Ok(answer(Body::from(body), "application/jsonl"))
}

async fn follow(app: Arc<App>, from: u64, permit: OwnedSemaphorePermit) -> Result<Response, Problem> {
    // Opening may wait for the block being synced, which a thread that serves others must not.
    let opening = app.clone();
    let opened = tokio::task::spawn_blocking(move || Cursor::open(&opening.shard, from)).await;
    let mut cursor = opened.map_err(|_| Problem::unavailable("Reading the log failed."))??;
    let (parts, body) = mpsc::channel::<Result<Bytes, std::io::Error>>(4);
    tokio::task::spawn_blocking(move || {
        let _held = permit;
        let confirmed = app.shard.confirmed().clone();
        let mut silent = Duration::ZERO;
        let mut part = b"retry: 1000\n\n".to_vec();
        while !*app.stopping.borrow() && !parts.is_closed() {
            let read = cursor.next_block(&app.shard).and_then(|more| {
                if more {
                    cursor.write(&app.shard, &mut part, &mut u64::MAX.clone(), Form::Event)?;
                }
                Ok(more)
            });
            let more = match read {
                Ok(more) => more,
                Err(problem) => {
                    tracing::warn!("an event stream ends: {}", problem.detail);
                    return;
                }
            };
            if silent >= KEEP_ALIVE {
                part.extend_from_slice(b": still here\n\n");
            }
            // Hand on what there is when the head is reached, or when it is much.
            if (!more && !part.is_empty()) || part.len() >= PART_BYTES {
                silent = Duration::ZERO;
                if parts.blocking_send(Ok(std::mem::take(&mut part).into())).is_err() {
                    return;
                }
            }
            if !more {
                match confirmed.wait_past(Seq(cursor.next - 1), LOOK) < Seq(cursor.next) {
                    true => silent += LOOK,
                    // The names of its campaigns come at any moment.
                    false => std::thread::yield_now(),
                }
            }
        }
    });
    let body = stream::unfold(body, |mut body| async move { body.recv().await.map(|part| (part, body)) });
    Ok(answer(Body::from_stream(body), "text/event-stream"))
}

fn answer(body: Body, kind: &'static str) -> Response {
    let mut response = Response::new(body);
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// How an event is written.
#[derive(Clone, Copy)]
enum Form {
    Line,
    Event,
}

/// A place in the log.
struct Cursor {
    reader: Box<dyn LogReader>,
    block: Block,
    next: u64,
}

impl Cursor {
    fn open(shard: &Shard, from: u64) -> Result<Self, Problem> {
        let head = shard.confirmed().get().as_u64();
        let from = from.max(1);
        if from > head + 1 {
            return Err(beyond(from, head));
        }
        let reader = shard.reader(from).map_err(|error| unreadable(&error))?;
        Ok(Self { reader, block: Block::default(), next: from })
    }

    /// The next block; false at the end of what may be told. A block that is durable is told once the numbers of its campaigns
    /// have names, which are published right after it.
    fn next_block(&mut self, shard: &Shard) -> Result<bool, Problem> {
        if self.next > shard.summary().seq {
            return Ok(false);
        }
        self.reader.next(&mut self.block).map_err(|error| unreadable(&error))
    }

    /// Writes the events of the block from `next` on, as long as `left` allows. A block that cannot be decoded is an error:
    /// passing over it would be a gap that nobody sees.
    fn write(&mut self, shard: &Shard, out: &mut Vec<u8>, left: &mut u64, form: Form) -> Result<(), Problem> {
        let time = Timestamp::from_millis(self.block.time_ms);
        let summary = shard.summary();
        let campaign = |no| campaign_id(&summary, no);
        let first = self.block.first_seq.as_u64();
        for (seq, entry) in (first..).zip(codec::decode(&self.block.body, self.block.count)) {
            let entry = entry.map_err(|error| {
                tracing::error!("reading the block at event {first}: {error}");
                Problem::unavailable(format!(
                    "The block at event {first} cannot be read: {error}. Run `banyan log verify`."
                ))
            })?;
            if seq < self.next || *left == 0 {
                continue;
            }
            let json = event_json(seq, time, &entry, &campaign);
            if let Form::Event = form {
                let _written_to_memory =
                    write!(out, "id: {seq}\nevent: {}\ndata: ", event_type(&entry.event));
            }
            let _written_to_memory = serde_json::to_writer(&mut *out, &json);
            out.extend_from_slice(if let Form::Event = form { b"\n\n" } else { b"\n" });
            self.next = seq + 1;
            *left -= 1;
        }
        Ok(())
    }
}

/// Why events cannot be read, as the caller is told. Only a position that the archive really has is gone for good; what
/// may pass, or is for the operator to mend, says so.
fn unreadable(error: &LogError) -> Problem {
    match error {
        LogError::Archived { wanted, first_live, .. } if wanted < first_live => {
            let detail = format!(
                "Event {wanted} was moved to the archive; the live log starts at {first_live}. Read from there on, or read both \
                 with `banyan log cat --archive`."
            );
            Problem::new(StatusCode::GONE, "events-archived", detail)
        }
        LogError::Ahead { wanted, head } => beyond(wanted.as_u64(), head.as_u64()),
        LogError::Sealed | LogError::Poisoned { .. } => {
            Problem::unavailable("The server is stopping; read on when it is back.")
        }
        LogError::Corrupt(_) => {
            tracing::error!("reading events: {error}");
            Problem::unavailable(
                "The log is damaged at these events. The operator should run `banyan log verify`; the server's log says where.",
            )
        }
        LogError::Archived { .. }
        | LogError::Io { .. }
        | LogError::Locked { .. }
        | LogError::Strays { .. }
        | LogError::Options { .. } => {
            tracing::error!("reading events: {error}");
            Problem::unavailable(
                "The log cannot be read right now. Nothing is lost; read on from the same position.",
            )
        }
    }
}

fn beyond(wanted: u64, head: u64) -> Problem {
    let detail = format!("The log ends at {head}; there is nothing at {wanted} yet.");
    Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "beyond-the-log", detail)
}

#[cfg(test)]
mod tests {
    use super::*;
    use banyan_domain::coupon::{self, Audience, Benefit, CampaignDefinition, Stacking};
    use banyan_domain::{Actor, CampaignId, Command};
    use banyan_engine::{CoreOptions, DirectReplies, ShardOptions, start, wall_clock};
    use banyan_log::{
        Acquired, AppendError, BlockDraft, Confirmed, Damage, Durable, Epoch, Health, Log, MemoryLog,
    };
    use std::sync::Mutex;
    use std::sync::mpsc::{Receiver, channel};

    /// A log whose appends return when they are told to, while readers see the block already.
    struct Held(MemoryLog, Mutex<Receiver<()>>);

    impl Log for Held {
        fn acquire(&mut self) -> Result<Acquired, LogError> {
            self.0.acquire()
        }

        fn append(
            &mut self,
            epoch: Epoch,
            expected: Seq,
            block: BlockDraft<'_>,
        ) -> Result<Durable, AppendError> {
            let durable = self.0.append(epoch, expected, block);
            // An error means that the test wants no more of it.
            let _go_on = self.1.get_mut().expect("nobody panicked").recv();
            durable
        }

        fn room(&self) -> u64 {
            self.0.room()
        }

        fn block_bytes_max(&self) -> u64 {
            self.0.block_bytes_max()
        }

        fn reader(&self, from: Seq) -> Result<Box<dyn LogReader>, LogError> {
            self.0.reader(from)
        }

        fn confirmed(&self) -> Arc<Confirmed> {
            self.0.confirmed()
        }

        fn seal(&mut self) -> Result<(), LogError> {
            self.0.seal()
        }

        fn health(&self) -> Health {
            self.0.health()
        }
    }

    /// Bug: whoever read a block in the instant before the names of its campaigns were published was told `campaign-1`, and
    /// kept that for ever.
    #[test]
    fn an_event_is_told_when_its_campaign_has_a_name() {
        let (go_on, wait) = channel();
        go_on.send(()).expect("heard");
        let log = Held(MemoryLog::new(), Mutex::new(wait));
        let started = start(Box::new(log), None, CoreOptions::default(), None, wall_clock(), &mut |_, _| {})
            .expect("starts");
        let shard =
            Shard::spawn(started, Box::new(DirectReplies), ShardOptions::default()).expect("threads start");
        let mut cursor = Cursor::open(&shard, 2).expect("opens");
        let definition = CampaignDefinition {
            id: CampaignId::new("noon").expect("valid"),
            name: "Noon sale".into(),
            quantity: None,
            per_member: 1,
            benefit: Benefit::FreeShipping,
            minimum_order: None,
            starts_at: None,
            ends_at: None,
            audience: Audience::Everyone,
            valid_for: None,
            stacking: Stacking::Exclusive,
        };
        let by = Actor::new("test").expect("valid");
        let command = coupon::Command::CreateCampaign { definition: Box::new(definition), by };
        let answer = shard.submit(Command::Coupon(command), None).expect("there is room");
        assert!(shard.confirmed().wait_past(Seq(1), Duration::from_secs(60)) > Seq(1), "it is durable");
        assert!(!cursor.next_block(&shard).expect("readable"), "and has no name yet");
        drop(go_on);
        answer.blocking_recv().expect("answered");
        assert!(cursor.next_block(&shard).expect("readable"));
        let mut out = Vec::new();
        cursor.write(&shard, &mut out, &mut 10, Form::Line).expect("written");
        let out = String::from_utf8(out).expect("text");
        assert!(out.contains("\"noon\"") && !out.contains("campaign-1"), "{out}");
        shard.shutdown();
    }

    #[test]
    fn only_a_position_that_is_archived_is_gone() {
        let archived = |wanted, first_live| LogError::Archived {
            wanted: Seq(wanted),
            first_live: Seq(first_live),
            archive: None,
        };
        let damage = Damage {
            file: "log/1".into(),
            offset: 512,
            after: None,
            expected: "a block".into(),
            found: "zeros".into(),
        };
        let io =
            |kind: std::io::ErrorKind| LogError::Io { doing: "reading log/1".into(), source: kind.into() };
        for (error, status, slug) in [
            (archived(7, 100), 410, "events-archived"),
            (archived(100, 100), 503, "unavailable"),
            (io(std::io::ErrorKind::NotFound), 503, "unavailable"),
            (io(std::io::ErrorKind::PermissionDenied), 503, "unavailable"),
            (LogError::Corrupt(Box::new(damage)), 503, "unavailable"),
            (LogError::Poisoned { why: "a sync failed".into() }, 503, "unavailable"),
            (LogError::Sealed, 503, "unavailable"),
            (LogError::Ahead { wanted: Seq(9), head: Seq(5) }, 422, "beyond-the-log"),
        ] {
            let problem = unreadable(&error);
            assert_eq!((problem.status.as_u16(), problem.slug), (status, slug), "{error}");
            assert_eq!(problem.retry_after.is_some(), status == 503, "{error}");
        }
    }
}
