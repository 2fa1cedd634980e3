//! Whether a route's Banyan side really only pretends when it is asked to.
//!
//! The operator declares it, but a declaration can be wrong, and then every copied write would be a second order. So the
//! first write is copied alone; others wait for none of it and are not copied meanwhile. If its answer says
//! `Banyan-Dry-Run: true`, copies go on. If it is a success that does not say so, no write of this route is copied any more until
//! the table changes: at most one slipped through.

use crate::rules::ShadowRules;
use crate::shadow::lane::Skipped;
use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;

const UNPROVEN: u8 = 0;
const TRYING: u8 = 1;
const PROVEN: u8 = 2;
const REFUSED: u8 = 3;

/// The right to copy one write.
#[derive(Debug)]
pub(super) struct Pass {
    rules: Arc<ShadowRules>,
    tries: bool,
}

/// Asks whether a write may be copied now.
pub(super) fn pass(rules: &Arc<ShadowRules>) -> Result<Pass, Skipped> {
    let pass = |tries| Pass { rules: rules.clone(), tries };
    match rules.proof.compare_exchange(UNPROVEN, TRYING, SeqCst, SeqCst) {
        Ok(_) => Ok(pass(true)),
        Err(PROVEN) => Ok(pass(false)),
        Err(REFUSED) => Err(Skipped::DryRunRefused),
        Err(_) => Err(Skipped::DryRunUnproven),
    }
}

impl Pass {
    /// An answer came: `confirms` says that it calls itself a dry run, `success` that it did what was asked.
    pub(super) fn answered(mut self, confirms: bool, success: bool) {
        if confirms {
            let _other = self.rules.proof.compare_exchange(TRYING, PROVEN, SeqCst, SeqCst);
            self.tries = false;
        } else if success {
            self.rules.proof.store(REFUSED, SeqCst);
            self.tries = false;
        }
        // A refusal without the header proves nothing: the next write tries again.
    }
}

impl Drop for Pass {
    fn drop(&mut self) {
        if self.tries {
            let _other = self.rules.proof.compare_exchange(TRYING, UNPROVEN, SeqCst, SeqCst);
        }
    }
}
