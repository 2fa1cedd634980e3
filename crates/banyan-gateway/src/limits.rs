//! Limits that are not in the configuration, in one place.

/// Most threads that serve.
pub(crate) const WORKERS_MAX: usize = 64;
/// Most routes of a table.
pub(crate) const ROUTES_MAX: usize = 4_096;
/// Most upstreams that the gateway knows at once, named ones and those of routes.
pub(crate) const UPSTREAMS_MAX: usize = 1_024;
/// Longest name of a route or an upstream, in bytes.
pub(crate) const NAME_BYTES_MAX: usize = 100;
/// Longest reason of a change, in bytes.
pub(crate) const REASON_BYTES_MAX: usize = 1_000;
/// Versions of the table that are kept for history and undo.
pub(crate) const HISTORY_MAX: usize = 1_000;
/// Longest request of the admin API, in bytes.
pub(crate) const ADMIN_BODY_BYTES_MAX: usize = 4 << 20;
/// Most connections of operators at once.
pub(crate) const ADMIN_CONNECTIONS_MAX: usize = 64;
/// Longest time of one request of theirs.
pub(crate) const ADMIN_TIME_MAX: std::time::Duration = std::time::Duration::from_secs(60);
/// Idle connections to one server that each worker keeps.
pub(crate) const IDLE_CONNECTIONS_MAX: usize = 256;
/// What clients are told to wait when there is no room.
pub(crate) const RETRY_AFTER_SECONDS: u64 = 1;
/// Times that a request is tried in all.
pub(crate) const TRIES_MAX: u32 = 2;
/// Gateways of ours that a request may go through before it is taken for one that goes in a circle.
pub(crate) const PASSES_MAX: usize = 8;
/// Requests that a client may take back on one connection of HTTP/2 before they are compared with those that it waited
/// for: one that takes back more than half of them is sent away.
pub(crate) const LEFT_MAX: u64 = 200;
/// Longest head of a server's answer, together with the informational answers before it, in bytes.
pub(crate) const ANSWER_HEADS_BYTES_MAX: usize = 256 << 10;
/// Longest time that can be configured, in milliseconds: 30 days.
pub(crate) const MILLIS_MAX: u64 = 30 * 24 * 3_600 * 1_000;
