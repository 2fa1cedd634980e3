//! Answers whose time is over, and who is to blame for that.

use super::*;
use crate::proxy::worker::Worker;
use crate::{Config, Gateway};
use futures_util::{Stream, stream};
use http_body_util::BodyExt as _;
use std::convert::Infallible;

/// Notes how it ended.
struct Notes(Arc<Mutex<Option<&'static str>>>);

impl Watcher for Notes {
    fn request_data(&mut self, _: &Bytes) {}
    fn request_end(&mut self, _: Option<&http::HeaderMap>) {}
    fn answer(&mut self, _: &http::response::Parts, _: Duration) {}
    fn answer_data(&mut self, _: &Bytes) {}
    fn end(self: Box<Self>, ended: Ended) {
        *self.0.lock().expect("no panic") = Some(match ended {
            Ended::Whole => "whole",
            Ended::Failed => "failed",
        });
    }
}

/// An answer from this process that may take `whole`, and how it ended; nothing if its client was to blame.
fn answer(body: AnyBody, whole: Duration) -> (AnswerBody, Arc<Mutex<Option<&'static str>>>) {
    let state = tempfile::tempdir().expect("a folder");
    let config = "listen = \"127.0.0.1:0\"\n[[route]]\npath = \"/\"\nupstream = \"http://127.0.0.1:1\"\n";
    let config = Config::parse(config, state.path()).expect("a configuration");
    let gateway = Gateway::new(config, None).expect("a gateway");
    let worker = Arc::new(Worker::new(0, gateway.inner.clone()));
    let mut account = Account::apart(&worker, None, None);
    let ended = Arc::default();
    account.late = Some(Box::pin(tokio::time::sleep(whole)));
    account.watching = Some(Watching::new(Box::new(Notes(Arc::clone(&ended)))));
    (AnswerBody::new(Source::Any(body), Duration::from_secs(600), account), ended)
}

/// All that came, and whether it broke off.
async fn taken(body: &mut AnswerBody) -> (Vec<u8>, bool) {
    let mut got = Vec::new();
    while let Some(frame) = body.frame().await {
        match frame {
            Ok(frame) => got.extend(frame.into_data().expect("data")),
            Err(_) => return (got, true),
        }
    }
    (got, false)
}

fn pieces(with: impl Stream<Item = &'static str> + Send + 'static) -> AnyBody {
    use futures_util::StreamExt as _;
    AnyBody::from_stream(with.map(|piece| Ok::<_, Infallible>(Bytes::from_static(piece.as_bytes()))))
}

#[tokio::test]
async fn an_answer_that_ends_when_its_time_is_over_is_whole() {
    for (body, wanted) in [(pieces(stream::empty()), ""), (AnyBody::from("the last"), "the last")] {
        let (mut body, ended) = answer(body, Duration::ZERO);
        assert_eq!(taken(&mut body).await, (wanted.as_bytes().to_vec(), false));
        assert_eq!(*ended.lock().expect("no panic"), Some("whole"));
    }
}

/// Whenever it is asked, it has the next piece; making it is what takes the time.
#[tokio::test]
async fn a_side_that_streams_for_ever_is_to_blame_also_if_it_is_not_waited_for_when_its_time_is_over() {
    let endless = stream::repeat_with(|| {
        std::thread::sleep(Duration::from_millis(20));
        "more"
    });
    let (mut body, ended) = answer(pieces(endless), Duration::from_millis(200));
    let mut got = 0;
    let broke_off = loop {
        // Or no timer would ever fire.
        tokio::task::yield_now().await;
        match body.frame().await {
            Some(Ok(_)) => got += 1,
            Some(Err(_)) => break true,
            None => break false,
        }
    };
    assert!(broke_off && got > 0);
    assert_eq!(*ended.lock().expect("no panic"), Some("failed"));
}

/// The other way round: the side is waited for when the time is over, and only because the client took so long before.
#[tokio::test]
async fn a_client_who_took_most_of_the_time_is_to_blame_also_if_the_side_is_waited_for_at_its_end() {
    use futures_util::StreamExt as _;
    let stops = stream::iter(["first", "second"]).chain(stream::pending());
    let (mut body, ended) = answer(pieces(stops), Duration::from_millis(2_500));
    assert!(body.frame().await.is_some_and(|frame| frame.is_ok()));
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    assert!(taken(&mut body).await.1, "cut off");
    assert_eq!(*ended.lock().expect("no panic"), None, "the client is");
    drop(body);
    assert_eq!(*ended.lock().expect("no panic"), None);
}

#[tokio::test]
async fn a_side_that_tires_of_a_client_is_not_to_blame_and_one_that_breaks_off_is() {
    use futures_util::StreamExt as _;
    for (pause, wanted) in [(Duration::from_millis(1_500), None), (Duration::ZERO, Some("failed"))] {
        let broken = stream::iter([Ok(Bytes::from_static(b"half")), Err(std::io::Error::other("gone"))]);
        let (mut body, ended) = answer(AnyBody::from_stream(broken.boxed()), Duration::from_secs(600));
        assert!(body.frame().await.is_some_and(|frame| frame.is_ok()));
        tokio::time::sleep(pause).await;
        assert!(body.frame().await.is_some_and(|frame| frame.is_err()));
        assert_eq!(*ended.lock().expect("no panic"), wanted);
    }
}
