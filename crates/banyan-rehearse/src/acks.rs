//! The record of what the server promised: one JSON line per 2xx answer to a write, kept outside the server.
//!
//! After a crash the server's log must contain every line of this file. A line is written only once the whole
//! answer was read; lines leave the generator every 20 ms and are written by a thread of their own, so a slow disk
//! delays the file, never an arrival.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;

use serde::Serialize;

/// One acknowledged write.
#[derive(Debug, Serialize)]
pub(crate) struct Ack<'a> {
    pub(crate) action: &'static str,
    pub(crate) status: u16,
    pub(crate) campaign: &'a str,
    pub(crate) member: &'a str,
    pub(crate) coupon: &'a str,
    pub(crate) code: &'a str,
    pub(crate) seq: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) key: Option<&'a str>,
}

/// What an answer said of an order.
#[derive(Debug, Serialize)]
pub(crate) struct OrderAck<'a> {
    pub(crate) action: &'static str,
    pub(crate) status: u16,
    pub(crate) order: &'a str,
    pub(crate) member: &'a str,
    pub(crate) state: &'a str,
    pub(crate) total: i64,
    pub(crate) refunds_done: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) refund: Option<&'a str>,
    pub(crate) seq: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) key: Option<&'a str>,
}

pub(crate) struct AckWriter {
    batch: Vec<u8>,
    sender: Option<Sender<Vec<u8>>>,
    thread: Option<JoinHandle<io::Result<()>>>,
    failed: Arc<AtomicBool>,
}

const BATCH_BYTES: usize = 1 << 16;

impl AckWriter {
    /// Opens the file for appending and starts its thread.
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        let file = OpenOptions::new().create(true).append(true).open(path)?;
        let (sender, receiver) = channel();
        let failed = Arc::new(AtomicBool::new(false));
        let flag = Arc::clone(&failed);
        let thread = std::thread::Builder::new().name("rehearse-acks".into()).spawn(move || {
            let written = write_all(file, &receiver);
            flag.store(written.is_err(), Ordering::Relaxed);
            written
        })?;
        Ok(Self { batch: Vec::new(), sender: Some(sender), thread: Some(thread), failed })
    }

    pub(crate) fn push(&mut self, ack: &impl Serialize) {
        serde_json::to_writer(&mut self.batch, ack).expect("strings and numbers always become JSON");
        self.batch.push(b'\n');
        if self.batch.len() >= BATCH_BYTES {
            self.flush();
        }
    }

    /// Hands what is there to the thread. Call at least every 100 ms.
    pub(crate) fn flush(&mut self) {
        if self.batch.is_empty() {
            return;
        }
        let batch = std::mem::take(&mut self.batch);
        // A closed channel means that the thread failed; `failed` and `close` report why.
        if let Some(sender) = &self.sender {
            let _ = sender.send(batch);
        }
    }

    /// Whether writing has failed, so that the run can end early.
    pub(crate) fn failed(&self) -> bool {
        self.failed.load(Ordering::Relaxed)
    }

    /// Writes the rest, makes it durable, and reports any error of the whole run.
    pub(crate) fn close(mut self) -> io::Result<()> {
        self.flush();
        self.sender = None;
        match self.thread.take().map(JoinHandle::join) {
            Some(Ok(written)) => written,
            Some(Err(_)) => Err(io::Error::other("the thread that writes it panicked")),
            None => Ok(()),
        }
    }
}

fn write_all(mut file: File, receiver: &Receiver<Vec<u8>>) -> io::Result<()> {
    while let Ok(batch) = receiver.recv() {
        file.write_all(&batch)?;
    }
    file.sync_data()
}
