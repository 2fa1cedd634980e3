//! banyan-testkit: real servers, started privately, for tests and benchmarks.
//!
//! Every server runs on loopback, on free ports, in a temporary folder of its own, as a user that is not root where
//! the server insists, and ends when its handle is dropped or when the test process dies, however it dies. Nothing
//! that was already running is touched.
//!
//! What this crate deliberately is not: it holds no mocks, it starts nothing in containers, and it knows nothing
//! about Banyan. Servers come from Debian's packages; [`missing_packages`] says which are absent and
//! [`ensure_packages`] installs them when asked to as root.
//!
//! Where to start reading: [`Postgres`] (one file per server; `mariadb.rs`, `redis.rs`, `rabbitmq.rs`, `reverse_proxy.rs`
//! and `chromium.rs` have the same shape), then [`Process`], which owns starting and ending, then [`packages`].
//! [`Window`] is a browser that is used as a person does, over `devtools.rs`.
//! [`TcpProxy`] is the one thing here that is no foreign server: it plays the bad network between a program and one.
//!
//! To add a server: one file with `XOptions` and `X { start, restart, crash, .. }`, one [`Package`] row, one test.

mod chromium;
mod devtools;
mod error;
mod folder;
mod localstripe;
mod mariadb;
pub mod oscar;
pub mod packages;
mod port;
mod postgres;
mod process;
mod python;
mod rabbitmq;
mod redis;
mod reverse_proxy;
mod tcp_proxy;
pub mod tree;
mod user;
mod window;

pub use chromium::Chromium;
pub use error::Error;
pub use localstripe::LocalStripe;
pub use mariadb::{MariaDb, MariaDbOptions};
pub use oscar::{Oscar, OscarOptions};
pub use packages::{Package, ensure_packages, install_hint, missing_packages};
pub use port::{free_port, with_free_ports};
pub use postgres::{Postgres, PostgresOptions};
pub use process::{Launch, Process, wait_until};
pub use rabbitmq::{RabbitMq, RabbitMqOptions};
pub use redis::{Redis, RedisFsync, RedisOptions};
pub use reverse_proxy::{ReverseProxy, ReverseProxyOptions};
pub use tcp_proxy::{TcpProxy, Way};
pub use user::User;
pub use window::{Key, Look, Window};
