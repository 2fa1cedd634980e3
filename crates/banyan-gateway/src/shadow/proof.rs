//! Whether a route's Banyan side really only pretends when it is asked to.
//!
//! The operator declares it, but a declaration can be wrong, and then every copied write would be a second order. So the
//! first write is copied alone; others wait for none of it and are not copied meanwhile. If its answer says
//! `Banyan-Dry-Run: true`, copies go on. If nothing was sent, or the answer refuses (4xx), it says nothing and the next write
//! tries. Whatever else comes of it (another answer, none in time, a broken connection, a panic), it may have been done: no
//! write of this route is copied any more until what is asked there changes. At most one slipped through. That is kept with
//! what else was learned about the route, so that a restart is no new try.
//!
//! A side that has once said so is trusted through failures (5xx, no answer): it is known to pretend, and they say nothing
//! else. A success or a redirect without the header ends that, too.

use crate::rules::ShadowRules;
use crate::shadow::lane::{Lane, Skipped};
use http::StatusCode;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering::SeqCst};

const UNPROVEN: u8 = 0;
const TRYING: u8 = 1;
const PROVEN: u8 = 2;
const REFUSED: u8 = 3;

/// What is known of one side of one route. Shared by all versions of the table in which the same is asked there.
#[derive(Clone, Default)]
pub(crate) struct Proof(Arc<Known>);

#[derive(Default)]
struct Known {
    state: AtomicU8,
    /// What is asked, and where it is kept that it must not be asked any more; nothing for rules that are only checked.
    kept: Option<(String, Arc<Lane>)>,
}

impl Proof {
    /// What is known of the side that is asked so.
    pub(crate) fn of(asks: String, lane: &Arc<Lane>) -> Self {
        let state = AtomicU8::new(if lane.has_refused(&asks) { REFUSED } else { UNPROVEN });
        Self(Arc::new(Known { state, kept: Some((asks, lane.clone())) }))
    }

    /// Another version of the side runs now: it is tried anew, but not beside a write that is being tried.
    pub(crate) fn forget(&self) {
        for known in [PROVEN, REFUSED] {
            self.turn(known, UNPROVEN);
        }
        if let Some((_, lane)) = &self.0.kept {
            lane.refuse(None);
        }
    }

    /// Nothing is asked there any more.
    fn refuse(&self) {
        self.0.state.store(REFUSED, SeqCst);
        if let Some((asks, lane)) = &self.0.kept {
            lane.refuse(Some(asks.clone()));
        }
    }

    fn turn(&self, from: u8, to: u8) {
        // Somebody else was faster: what they found stands.
        let _other = self.0.state.compare_exchange(from, to, SeqCst, SeqCst);
    }
}

impl fmt::Debug for Proof {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Proof({})", self.0.state.load(SeqCst))
    }
}

/// The right to copy one write. Dropped without being sent, it leaves no trace.
#[derive(Debug)]
pub(super) struct Pass {
    proof: Proof,
    tries: bool,
}

/// A write that may have arrived. Dropped without an answer, it counts as done.
#[derive(Debug)]
pub(super) struct Sent(Pass);

/// Asks whether a write may be copied now.
pub(super) fn pass(rules: &ShadowRules) -> Result<Pass, Skipped> {
    let pass = |tries| Pass { proof: rules.proof.clone(), tries };
    match rules.proof.0.state.compare_exchange(UNPROVEN, TRYING, SeqCst, SeqCst) {
        Ok(_) => Ok(pass(true)),
        Err(PROVEN) => Ok(pass(false)),
        Err(REFUSED) => Err(Skipped::DryRunRefused),
        Err(_) => Err(Skipped::DryRunUnproven),
    }
}

impl Pass {
    /// It is being sent: from here on nobody knows whether it arrived.
    pub(super) fn send(self) -> Sent {
        Sent(self)
    }
}

impl Drop for Pass {
    fn drop(&mut self) {
        if self.tries {
            self.proof.turn(TRYING, UNPROVEN);
        }
    }
}

impl Sent {
    /// Nothing was sent after all.
    pub(super) fn never(mut self) {
        if std::mem::take(&mut self.0.tries) {
            self.0.proof.turn(TRYING, UNPROVEN);
        }
    }

    /// The head of an answer came: `confirms` says that it calls itself a dry run.
    pub(super) fn answered(mut self, confirms: bool, status: StatusCode) {
        let tries = std::mem::take(&mut self.0.tries);
        if confirms {
            self.0.proof.turn(TRYING, PROVEN);
        } else if status.is_client_error() {
            // Refused, so nothing was done, and nothing is proven.
            if tries {
                self.0.proof.turn(TRYING, UNPROVEN);
            }
        } else if tries || !status.is_server_error() {
            self.0.proof.refuse();
        }
    }
}

impl Drop for Sent {
    fn drop(&mut self) {
        if std::mem::take(&mut self.0.tries) {
            self.0.proof.refuse();
        }
    }
}
