//! Whether a route's Banyan side really only pretends when it is asked to.
//!
//! The operator declares it, but a declaration can be wrong, and then every copied write would be a second order. So the
//! first write is copied alone; others wait for none of it and are not copied meanwhile. If its answer says
//! `Banyan-Dry-Run: true`, copies go on. If nothing was sent, or the answer refuses (4xx), it says nothing and the next write
//! tries. Whatever else comes of it (another answer, none in time, a broken connection, a panic), it may have been done: no
//! write of this route is copied any more until what is asked there changes. At most one slipped through.
//!
//! A side that has once said so is trusted through failures (5xx, no answer): it is known to pretend, and they say nothing
//! else. A success or a redirect without the header ends that, too.

use crate::rules::ShadowRules;
use crate::shadow::lane::Skipped;
use http::StatusCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering::SeqCst};

const UNPROVEN: u8 = 0;
const TRYING: u8 = 1;
const PROVEN: u8 = 2;
const REFUSED: u8 = 3;

/// What is known of one side of one route. Shared by all versions of the table in which the same is asked there.
#[derive(Clone, Debug, Default)]
pub(crate) struct Proof(Arc<AtomicU8>);

impl Proof {
    /// Another version of the side runs now: it is tried anew, but not beside a write that is being tried.
    pub(crate) fn forget(&self) {
        for known in [PROVEN, REFUSED] {
            self.turn(known, UNPROVEN);
        }
    }

    fn turn(&self, from: u8, to: u8) {
        // Somebody else was faster: what they found stands.
        let _other = self.0.compare_exchange(from, to, SeqCst, SeqCst);
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
    match rules.proof.0.compare_exchange(UNPROVEN, TRYING, SeqCst, SeqCst) {
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
            self.0.proof.0.store(REFUSED, SeqCst);
        }
    }
}

impl Drop for Sent {
    fn drop(&mut self) {
        if std::mem::take(&mut self.0.tries) {
            self.0.proof.turn(TRYING, REFUSED);
        }
    }
}
