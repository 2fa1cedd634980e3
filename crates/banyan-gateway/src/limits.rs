//! Limits that are not in the configuration, in one place.

use std::time::Duration;

/// Most threads that serve.
pub const WORKERS_MAX: usize = 64;
/// Most routes of a table.
pub const ROUTES_MAX: usize = 4_096;
/// Most upstreams that the gateway knows at once, named ones and those of routes.
pub const UPSTREAMS_MAX: usize = 1_024;
/// Longest name of a route or an upstream, in bytes.
pub const NAME_BYTES_MAX: usize = 100;
/// Longest reason of a change, in bytes.
pub const REASON_BYTES_MAX: usize = 1_000;
/// Versions of the table that are kept for history and undo.
pub const HISTORY_MAX: usize = 1_000;
/// Largest pieces that are read from a connection at once, in bytes.
pub const READ_BYTES_MAX: usize = 64 << 10;
/// Longest request of the admin API, in bytes.
pub const ADMIN_BODY_BYTES_MAX: usize = 4 << 20;
/// Idle connections to one server that each worker keeps.
pub const IDLE_CONNECTIONS_MAX: usize = 256;
/// How long an idle connection to a server is kept, unless the upstream says otherwise.
pub const IDLE_CONNECTION_TIME_MAX: Duration = Duration::from_secs(30);
/// What clients are told to wait when there is no room.
pub const RETRY_AFTER_SECONDS: u64 = 1;
/// Times that a request is tried in all.
pub const TRIES_MAX: u32 = 2;
