//! The certificates that vouch for the servers of an upstream, where those of the system do not. The file is read again when
//! it changes; if what it holds then is no good, the certificates from before stay, and the log, a metric and the admin API
//! say so.

use crate::at_rest::{Seen, Stamp};
use crate::{gateway, tls};
use arc_swap::ArcSwap;
use rustls::RootCertStore;
use serde::Serialize;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Who vouches for the servers of an upstream, for people.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct TrustReport {
    /// The file of `ca`.
    pub file: String,
    /// Certificates in it that can be trusted.
    pub certificates: usize,
    /// When they were read.
    pub read_at: String,
    /// How often they were taken from the file, the start included.
    pub reads: u64,
    /// How often the file had changed and was no good.
    pub failures: u64,
    /// Why the file as it is now is no good; nothing if what it holds is what is trusted.
    pub failed: Option<String>,
}

/// The certificates, their file, and what was last seen of it.
pub(super) struct Trust {
    upstream: String,
    file: PathBuf,
    roots: ArcSwap<RootCertStore>,
    state: Mutex<State>,
}

struct State {
    seen: Seen,
    report: TrustReport,
}

impl Trust {
    /// Reads the file for the first time.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(super) fn open(upstream: &str, file: &Path) -> Result<Self, String> {
        let stamp = Stamp::of(&[file]);
        let roots = read(file).map_err(|why| format!("upstream {upstream:?}: {why}"))?;
        let report = TrustReport {
            file: file.display().to_string(),
            certificates: roots.len(),
            read_at: gateway::now(),
            reads: 1,
            failures: 0,
            failed: None,
        };
        let state = Mutex::new(State { seen: Seen::read(stamp), report });
        let roots = ArcSwap::from_pointee(roots);
        Ok(Self { upstream: upstream.to_owned(), file: file.to_owned(), roots, state })
    }

    /// Who vouches for a new connection.
    pub(super) fn roots(&self) -> Arc<RootCertStore> {
        self.roots.load_full()
    }

    pub(super) fn report(&self) -> TrustReport {
        self.state().report.clone()
    }

    /// Reads the file again if it changed, and has not changed since the last look. Whether others vouch from now on.
    /// One looks at a time; waits for the disk.
    pub(super) fn look(&self) -> bool {
        let stamp = Stamp::of(&[&self.file]);
        let mut state = self.state();
        let failed = state.report.failed.is_some();
        if !state.seen.is_due(stamp.clone(), failed) {
            return false;
        }
        drop(state);
        let read = read(&self.file);
        let mut state = self.state();
        state.seen = Seen::read(stamp);
        let (report, upstream) = (&mut state.report, &self.upstream);
        match read {
            Ok(roots) => {
                report.certificates = roots.len();
                report.read_at = gateway::now();
                report.reads += 1;
                report.failed = None;
                tracing::info!(
                    upstream,
                    file = report.file,
                    "the certificates of an upstream's `ca` were read again"
                );
                self.roots.store(Arc::new(roots));
                true
            }
            Err(why) => {
                if report.failed.as_ref() != Some(&why) {
                    tracing::error!(
                        upstream,
                        error = why,
                        "the file of an upstream's `ca` changed and is no good: the certificates from before stay. Put a good one there"
                    );
                    report.failures += 1;
                    report.failed = Some(why);
                }
                false
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn read(file: &Path) -> Result<RootCertStore, String> {
    tls::read_roots(file).map_err(|why| format!("ca: {}: {why}", file.display()))
}
