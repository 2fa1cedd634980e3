//! How the old shop, its servers and its streams misbehave, and how they may be set up.

use crate::old_shop::{OldShop, Tables, named};
use crate::server::Server;
use banyan_legacy::{Finding, SqlReference, TargetRow};
use std::time::Duration;

/// How it misbehaves.
impl OldShop {
    /// Changes what is there without a word in the stream: a stream that was lost could have told it, or a row has rotted.
    pub fn silently<T>(&self, change: impl FnOnce(&mut Tables) -> T) -> T {
        self.change(|inner| change(&mut inner.tables))
    }

    /// Makes all rows these, as [`Self::silently`].
    pub fn has_silently<S: Into<String>>(&self, rows: impl IntoIterator<Item = (S, i64, i64)>) {
        self.silently(|tables| tables.rows = named(rows));
    }

    /// The stream tells nothing more, or goes on.
    pub fn stands_still(&self, still: bool) {
        self.change(|inner| inner.stands_still = still);
    }

    /// From now on its stream tells something as soon as it is nudged, if only where it is.
    pub fn tells_when_nudged(&self) {
        self.change(|inner| inner.nudges = Some(0));
    }

    /// From now on transactions say that they were committed so long ago. Otherwise they do not say when.
    pub fn committed_long_ago(&self, ago: Duration) {
        self.change(|inner| inner.committed_ago = Some(ago));
    }

    /// From now on no stream outlives its connection: who connects again must copy.
    pub fn forgets_streams(&self) {
        self.change(|inner| inner.forgets_streams = true);
    }

    /// From now on every item of a copy has one row, so that it may break off after each.
    pub fn copies_row_by_row(&self) {
        self.change(|inner| inner.rows_an_item = 1);
    }

    /// The next copy breaks off after so many items: where it begins, what is in the outbox, rows, where it ends.
    pub fn breaks_off_copy_after(&self, items: usize) {
        self.change(|inner| inner.breaks_off_after = Some(items));
    }

    /// Copies come to everything but their end from now on, or to their end again.
    pub fn keeps_copies_open(&self, open: bool) {
        self.change(|inner| inner.keeps_copies_open = open);
    }

    /// Another server takes over, whose log ends at `position`: whoever connects from now on reaches that one. The one before lives
    /// on, with its stream.
    pub fn goes_on_at(&self, server: &str, position: u64) {
        self.change(|inner| {
            inner.before = Some(std::mem::replace(&mut inner.server, Server::at(server, position)));
        });
    }

    /// The server before this one is gone.
    pub fn loses_server_before(&self) {
        self.change(|inner| inner.before = None);
    }

    /// An order in flight keeps its lock, so that nobody can hold the door; or it has ended.
    pub fn keeps_lock(&self, keeps: bool) {
        self.change(|inner| inner.keeps_lock = keeps);
    }

    /// Keeps so much of its log for the stream, as it says.
    pub fn retains(&self, bytes: u64) {
        self.change(|inner| inner.retained_bytes = bytes);
    }

    /// Refuses rows for which `rule` says why. The last rule counts.
    pub fn refuses(&self, rule: impl Fn(&TargetRow) -> Option<&'static str> + Send + 'static) {
        self.change(|inner| inner.rule = Box::new(rule));
    }

    /// Takes every row again.
    pub fn refuses_nothing(&self) {
        self.refuses(|_| None);
    }

    /// What the preflight finds from now on.
    pub fn finds(&self, findings: Vec<Finding>) {
        self.change(|inner| inner.findings = findings);
    }

    /// Somebody uses a statement.
    pub fn is_used_by(&self, caller: &str, statement: &str, calls: u64) {
        let (caller, statement) = (caller.to_owned(), statement.to_owned());
        self.change(|inner| {
            let used = SqlReference { caller, statement, calls, rows: calls };
            inner.references.get_or_insert_default().push(used);
        });
    }

    /// Counts no more who uses its tables.
    pub fn counts_no_uses(&self) {
        self.change(|inner| inner.references = None);
    }
}
