//! Whether a route's Banyan side really only pretends when it is asked to.
//!
//! The operator declares it, but a declaration can be wrong, and then every copied write would be a second order. So the
//! first write is copied alone; others wait for none of it and are not copied meanwhile. If its answer says
//! `Banyan-Dry-Run: true`, copies go on. If nothing was sent, or the answer refuses (4xx), it says nothing and the next write
//! tries. Whatever else comes of it (another answer, none in time, a broken connection, a panic), it may have been done: no
//! write of this route is copied any more until what is asked there changes. At most one slipped through. That is kept with
//! what else was learned about the route, so that a restart is no new try; and that a write is being tried is kept before it
//! is sent, so that neither is a crash before anybody knows what came of it.
//!
//! A side that has once said so is trusted through failures (5xx, no answer): it is known to pretend, and they say nothing
//! else. A success or a redirect without the header ends that, too.

use crate::rules::ShadowRules;
use crate::shadow::lane::Skipped;
use crate::shadow::store::Store;
use http::StatusCode;
use std::fmt;
use std::io;
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
pub(super) struct Known {
    state: AtomicU8,
    /// Nothing for rules that are only checked.
    kept: Option<Kept>,
}

/// Where it is kept that a side must not be asked any more.
struct Kept {
    route: String,
    asks: String,
    store: Store,
}

impl Proof {
    /// What is known of the side that `route` asks so: the same for as long as anybody holds it, also if the route led
    /// elsewhere in between.
    pub(crate) fn of(route: &str, asks: &str, store: &Store) -> Self {
        let lane = store.lane(route);
        let mut proofs = lane.proofs();
        proofs.retain(|_, known| known.strong_count() > 0);
        if let Some(known) = proofs.get(asks).and_then(std::sync::Weak::upgrade) {
            return Self(known);
        }
        let state = AtomicU8::new(if lane.has_refused(asks) { REFUSED } else { UNPROVEN });
        let kept = Kept { route: route.to_owned(), asks: asks.to_owned(), store: store.clone() };
        let known = Arc::new(Known { state, kept: Some(kept) });
        proofs.insert(asks.to_owned(), Arc::downgrade(&known));
        Self(known)
    }

    /// Another version of the side runs now: it is tried anew, but not beside a write that is being tried. Waits for the disk.
    pub(crate) fn forget(&self) {
        for known in [PROVEN, REFUSED] {
            self.turn(known, UNPROVEN);
        }
        self.keep(false);
    }

    /// Nothing is asked there any more. On disk when it returns: a gateway that ends now must not try again after its start.
    fn refuse(&self) {
        self.0.state.store(REFUSED, SeqCst);
        self.keep(true);
    }

    fn keep(&self, refused: bool) {
        let Some(Kept { route, asks, store }) = &self.0.kept else { return };
        let lane = store.lane(route);
        lane.refuse(asks, refused);
        if let Err(error) = store.save_lane(route, &lane) {
            tracing::warn!(route, %error, "whether a side pretends could not be stored; it is tried again");
        }
    }

    /// A write is about to be sent. That is on disk when it returns: if the process ends before it knows what came of the
    /// write, there is no second one after its start.
    fn begins(&self) -> io::Result<()> {
        let Some(Kept { route, asks, store }) = &self.0.kept else { return Ok(()) };
        let lane = store.lane(route);
        match lane.begin_try(asks) {
            true => store.save_lane(route, &lane),
            false => Ok(()),
        }
    }

    /// It is known what came of it.
    fn ends(&self) {
        if let Some(Kept { route, asks, store }) = &self.0.kept {
            store.lane(route).end_try(asks);
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
    ///
    /// # Errors
    /// That it is being tried cannot be kept: then it must not be.
    pub(super) fn send(self) -> Result<Sent, Skipped> {
        if self.tries
            && let Err(error) = self.proof.begins()
        {
            tracing::warn!(%error, "that a write is tried could not be stored: it is not sent");
            self.proof.ends();
            return Err(Skipped::DryRunUnproven);
        }
        Ok(Sent(self))
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
            self.0.proof.ends();
            self.0.proof.turn(TRYING, UNPROVEN);
        }
    }

    /// The head of an answer came: `confirms` says that it calls itself a dry run.
    pub(super) fn answered(mut self, confirms: bool, status: StatusCode) {
        let tries = std::mem::take(&mut self.0.tries);
        let proof = &self.0.proof;
        if tries {
            proof.ends();
        }
        if confirms {
            proof.turn(TRYING, PROVEN);
            if tries {
                // It counts as tried until this is stored.
                proof.keep(false);
            }
        } else if status.is_client_error() {
            // Refused, so nothing was done, and nothing is proven.
            if tries {
                proof.turn(TRYING, UNPROVEN);
            }
        } else if tries || !status.is_server_error() {
            proof.refuse();
        }
    }
}

impl Drop for Sent {
    fn drop(&mut self) {
        if std::mem::take(&mut self.0.tries) {
            self.0.proof.ends();
            self.0.proof.refuse();
        }
    }
}
