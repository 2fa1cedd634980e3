//! Ends streams of HTTP/2 whose client takes nothing any more.
//!
//! Over HTTP/1 that is seen at the socket ([`guard`](super::guard)). A stream of HTTP/2 can stand still while its connection
//! lives: hyper then asks for no further piece of the answer, no timer of the answer runs, and the connection with the
//! server and its room stay taken for as long as the client likes. So each stream's task keeps a deadline beside hyper's
//! work, set when a piece of an answer is given and taken back when the next one is asked for.

use super::silence::Watchdog;
use std::cell::Cell;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;
use tokio::time::Instant;

tokio::task_local! {
    /// Until when this stream's client has time to take what it was given.
    static DEADLINE: Cell<Option<Instant>>;
}

/// Runs hyper's streams.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Streams;

impl<F> hyper::rt::Executor<F> for Streams
where
    F: Future + Send + 'static,
    F::Output: Send,
{
    fn execute(&self, stream: F) {
        let watched = async move {
            let mut stream = pin!(stream);
            let mut dog = Watchdog::default();
            poll_fn(|cx| {
                if stream.as_mut().poll(cx).is_ready() {
                    return Poll::Ready(());
                }
                match DEADLINE.with(Cell::get) {
                    None => Poll::Pending,
                    // Dropped, it is reset.
                    Some(deadline) => dog.poll(cx, deadline),
                }
            })
            .await;
        };
        tokio::spawn(DEADLINE.scope(Cell::new(None), watched));
    }
}

/// A piece was given to hyper for a client, which has so long to take it. Over HTTP/1 nothing happens.
pub(crate) fn given(limit: Duration) {
    let _not_of_http_two = DEADLINE.try_with(|deadline| deadline.set(Some(Instant::now() + limit)));
}

/// The next piece is asked for.
pub(crate) fn taken() {
    let _not_of_http_two = DEADLINE.try_with(|deadline| deadline.set(None));
}
