//! The running stream: a snapshot's pages first, then transactions as they are committed.

use super::address::Address;
use super::assemble::{Assembler, Boundary, Halt};
use super::marker;
use super::snapshot::Pages;
use super::source::{head, start_stream, stream_fault};
use crate::database::{BoxFuture, LegacyError};
use crate::stream::{ChangeStream, Item};
use pgwire_replication::Lsn;
use pgwire_replication::client::{ReplicationClient, ReplicationEvent};
use std::collections::VecDeque;
use std::time::Duration;
use tokio::time::Instant;

/// How long the stream may be silent before we look whether it has a reason to be.
const SILENCE_MAX: Duration = Duration::from_secs(10);
/// How often an idle position is told, at most, and how much of the old database's log may pass without one.
const IDLE_EVERY: Duration = Duration::from_secs(10);
const IDLE_BYTES: u64 = 16 * 1024 * 1024;

/// A stream of one slot.
pub(super) struct PostgresStream {
    client: ReplicationClient,
    address: Address,
    assembler: Assembler,
    stage: Stage,
    ready: VecDeque<Item>,
    /// What the server has told to have sent, and the last idle position that was handed on.
    heard: u64,
    idle: u64,
    idle_at: Instant,
    /// The log's end when the stream was last found silent.
    suspected: Option<u64>,
}

enum Stage {
    Snapshot {
        pages: Pages,
    },
    /// The snapshot is through, the stream has not begun.
    Starting,
    Running,
    Halted(LegacyError),
}

impl PostgresStream {
    pub(super) fn resumed(
        client: ReplicationClient,
        address: &Address,
        assembler: Assembler,
        position: u64,
    ) -> Self {
        Self::new(client, address, assembler, Stage::Running, position)
    }

    pub(super) fn with_snapshot(
        client: ReplicationClient,
        address: &Address,
        assembler: Assembler,
        begin: Item,
        position: u64,
        pages: Pages,
    ) -> Self {
        let mut stream = Self::new(client, address, assembler, Stage::Snapshot { pages }, position);
        stream.ready.push_back(begin);
        stream
    }

    fn new(
        client: ReplicationClient,
        address: &Address,
        assembler: Assembler,
        stage: Stage,
        position: u64,
    ) -> Self {
        Self {
            client,
            address: address.clone(),
            assembler,
            stage,
            ready: VecDeque::new(),
            heard: position,
            idle: position,
            idle_at: Instant::now(),
            suspected: None,
        }
    }

    async fn item(&mut self) -> Result<Item, LegacyError> {
        loop {
            if let Some(item) = self.ready.pop_front() {
                return Ok(item);
            }
            match &mut self.stage {
                Stage::Halted(error) => return Err(error.clone()),
                Stage::Snapshot { pages } => match pages.recv().await {
                    Some(Ok(page)) => return Ok(page),
                    Some(Err(error)) => return self.halt(error),
                    None => {
                        self.stage = Stage::Starting;
                        return Ok(Item::SnapshotEnd);
                    }
                },
                Stage::Starting => match start_stream(&mut self.client).await {
                    Ok(()) => self.stage = Stage::Running,
                    Err(error) => return self.halt(error),
                },
                Stage::Running => self.listen().await?,
            }
        }
    }

    async fn listen(&mut self) -> Result<(), LegacyError> {
        let Ok(received) = tokio::time::timeout(SILENCE_MAX, self.client.recv()).await else {
            return self.silence().await;
        };
        self.suspected = None;
        match received {
            Ok(Some(event)) => self.take(event),
            Ok(None) => self.halt(LegacyError::Broken("the stream ended".to_owned())),
            Err(error) => self.halt(stream_fault(&error)),
        }
    }

    /// A cut network is as silent as an idle shop. If the log goes on and the stream does not, twice, it is cut.
    async fn silence(&mut self) -> Result<(), LegacyError> {
        match head(&self.address).await {
            Ok(now) if now <= self.heard => {
                self.suspected = None;
                self.ready.push_back(Item::Idle { position: self.idle });
            }
            Ok(now) => match self.suspected {
                Some(before) if before > self.heard => {
                    return self.halt(LegacyError::Broken(
                        "the stream is silent although the log goes on".to_owned(),
                    ));
                }
                _ => self.suspected = Some(now),
            },
            Err(error) => return self.halt(error),
        }
        Ok(())
    }

    fn take(&mut self, event: ReplicationEvent) -> Result<(), LegacyError> {
        let taken = match event {
            ReplicationEvent::Begin { final_lsn, commit_time_micros, .. } => self
                .assembler
                .boundary(&Boundary::Begin { commit: final_lsn.as_u64(), micros: commit_time_micros }),
            ReplicationEvent::Commit { end_lsn, .. } => {
                self.heard = self.heard.max(end_lsn.as_u64());
                self.assembler.boundary(&Boundary::Commit)
            }
            ReplicationEvent::XLogData { data, .. } => self.assembler.message(&data),
            ReplicationEvent::KeepAlive { wal_end, reply_requested, .. } => {
                self.heard = self.heard.max(wal_end.as_u64());
                Ok(self.idle(wal_end.as_u64(), reply_requested))
            }
            ReplicationEvent::Message { transactional: true, prefix, content, .. } => {
                self.assembler.marked(&prefix, &content);
                Ok(None)
            }
            // A mark of ours: whoever made it waits to hear that the stream has come this far.
            ReplicationEvent::Message { transactional: false, prefix, lsn, .. }
                if prefix == marker::PREFIX =>
            {
                self.heard = self.heard.max(lsn.as_u64());
                // A message's place is its end, and a commit may be the record that begins there.
                Ok(self.idle(lsn.as_u64(), true))
            }
            // What stands outside of transactions is other people's.
            _ => Ok(None),
        };
        match taken {
            Ok(item) => {
                if let Some(Item::Idle { position }) = &item {
                    (self.idle, self.idle_at) = (self.idle.max(*position), Instant::now());
                }
                self.ready.extend(item);
                Ok(())
            }
            Err(Halt::Garbled(what)) => {
                self.halt(LegacyError::Broken(format!("the stream cannot be read: {what}")))
            }
            Err(Halt::Schema(what)) => {
                let what = format!(
                    "{what}; mend the table or the mapping, and take a new snapshot if the past cannot be read"
                );
                self.ready.push_back(Item::SchemaChanged { what: what.clone() });
                self.stage = Stage::Halted(LegacyError::Refused(what));
                Ok(())
            }
        }
    }

    /// Everything before `end` has been sent. An acknowledgement costs an entry in Banyan's log, so not each is told; but
    /// where the server asks, it waits (it may be shutting down).
    fn idle(&mut self, end: u64, asked: bool) -> Option<Item> {
        // The next commit may be at `end` itself, so that is not passed yet.
        let position = end.checked_sub(1)?;
        let due =
            asked || self.idle_at.elapsed() >= IDLE_EVERY || position.saturating_sub(self.idle) >= IDLE_BYTES;
        if self.assembler.is_open() || position <= self.idle || !due {
            return None;
        }
        Some(Item::Idle { position })
    }

    fn halt<T>(&mut self, error: LegacyError) -> Result<T, LegacyError> {
        self.stage = Stage::Halted(error.clone());
        Err(error)
    }
}

impl ChangeStream for PostgresStream {
    fn next(&mut self) -> BoxFuture<'_, Result<Item, LegacyError>> {
        Box::pin(self.item())
    }

    fn acknowledge(&mut self, position: u64) {
        // A position is that of a commit record: one byte further, it need not be sent again.
        self.client.update_applied_lsn(Lsn::from_u64(position.saturating_add(1)));
    }
}
