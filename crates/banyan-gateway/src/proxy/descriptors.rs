//! File descriptors: each connection takes one, and running out of them looks like servers that fail.

use crate::config::Config;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// For files, listeners, the admin API, copies and health checks.
const SPARE: u64 = 256;

/// Raises this process's soft limit of open files as far as the hard limit lets it, and tells the operator if that is too little
/// for what is configured.
pub(crate) fn make_room(config: &Config) {
    let limit = getrlimit(Resource::Nofile);
    if limit.current != limit.maximum
        && setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit }).is_err()
    {
        tracing::warn!(
            soft = limit.current,
            hard = limit.maximum,
            "the limit of open files cannot be raised"
        );
    }
    let (there, needed) = (getrlimit(Resource::Nofile).current, needed(config));
    if let Some(there) = there.filter(|there| *there < needed) {
        tracing::warn!(
            there,
            needed,
            "this process may open fewer files than `limits.connections_max` and `limits.requests_max` need: raise its hard limit \
             (`ulimit -Hn`, `LimitNOFILE=` of systemd) or lower them"
        );
    }
}

/// One for each client, and one for the server of each request under way.
fn needed(config: &Config) -> u64 {
    let limits = &config.limits;
    (limits.connections_max as u64).saturating_add(limits.requests_max as u64).saturating_add(SPARE)
}
