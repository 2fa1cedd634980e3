//! From the log thread to the tasks that wait: one wake-up for a whole block instead of one for each answer.

use banyan_domain::saga::Request;
use banyan_engine::{Replies, ReplySink};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

/// Hands each block's answers to the asynchronous side. Unbounded, because what it holds is bounded by the shard's queue.
#[derive(Debug)]
pub struct TokioReplies {
    to_tasks: UnboundedSender<Replies>,
    to_executor: Option<UnboundedSender<Vec<Request>>>,
}

impl TokioReplies {
    /// The sink, and the end from which [`deliver_replies`] reads.
    #[must_use]
    pub fn new() -> (Self, UnboundedReceiver<Replies>) {
        let (to_tasks, from_log) = unbounded_channel();
        (Self { to_tasks, to_executor: None }, from_log)
    }

    /// Hands what sagas ask of services to an executor, which reads it at the other end.
    pub fn publish_asks(&mut self) -> UnboundedReceiver<Vec<Request>> {
        let (to_executor, scheduled) = unbounded_channel();
        self.to_executor = Some(to_executor);
        scheduled
    }
}

impl ReplySink for TokioReplies {
    fn release(&mut self, mut replies: Replies) {
        let asks = std::mem::take(&mut replies.asks);
        if let Some(to_executor) = self.to_executor.as_ref().filter(|_| !asks.is_empty()) {
            // An executor that has ended asks nobody; the sagas' deadlines notice.
            let _gone = to_executor.send(asks);
        }
        if replies.is_empty() {
            return;
        }
        if let Err(unsent) = self.to_tasks.send(replies) {
            unsent.0.send();
        }
    }
}

/// Delivers answers until the shard has ended. Run it as a task: waking tasks from within the runtime is cheap.
pub async fn deliver_replies(mut from_log: UnboundedReceiver<Replies>) {
    while let Some(replies) = from_log.recv().await {
        replies.send();
    }
}
