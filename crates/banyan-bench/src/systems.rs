//! What is compared: each system's databases, its server process, and how its answers are checked.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use banyan_testkit::{
    Launch, Postgres, PostgresOptions, Process, RabbitMq, RabbitMqOptions, Redis, RedisFsync, RedisOptions,
};
use clap::ValueEnum;
use tokio_postgres::NoTls;

use crate::banyan::{Banyan, Lag};
use crate::{Failure, failed};

/// How long a server may need to write down what it answered, after the load ended.
const SETTLE: Duration = Duration::from_secs(120);

/// One way to issue coupons.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub(crate) enum System {
    /// An endpoint that does nothing.
    Noop,
    /// Banyan.
    Banyan,
    /// One Postgres transaction each, on one hot row.
    Synchronous,
    /// The same with the counter spread over as many rows as there are connections.
    SynchronousSpread,
    /// Redis + RabbitMQ + Postgres, Redis made durable once a second.
    Cure,
    /// The same, Redis made durable before each answer.
    CureAlways,
}

impl System {
    /// Its name in tables and files.
    pub(crate) fn name(self) -> String {
        self.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned())
    }

    /// What an answer survives, in one line.
    pub(crate) fn durability(self) -> &'static str {
        match self {
            Self::Noop => "none: nothing is stored",
            Self::Banyan => {
                "every answer fsynced in the log (group commit); record view behind it, exactly once"
            }
            Self::Synchronous | Self::SynchronousSpread => {
                "Postgres fsync=on synchronous_commit=on full_page_writes=on; every answer committed"
            }
            Self::Cure => {
                "Redis appendfsync everysec (up to 1 s of counts lost with the machine); RabbitMQ durable queue, \
                 persistent messages, publisher confirms; Postgres synchronous_commit=on, after the answer"
            }
            Self::CureAlways => {
                "Redis appendfsync always; RabbitMQ durable queue, persistent messages, publisher confirms; \
                 Postgres synchronous_commit=on, after the answer"
            }
        }
    }

    fn needs_postgres(self) -> bool {
        !matches!(self, Self::Noop | Self::Banyan)
    }

    fn needs_redis(self) -> Option<RedisFsync> {
        match self {
            Self::Cure => Some(RedisFsync::EverySecond),
            Self::CureAlways => Some(RedisFsync::Always),
            _ => None,
        }
    }
}

/// How the compared servers are set up.
#[derive(Clone, Debug)]
pub(crate) struct Setup {
    /// Everything is stored in here.
    pub(crate) dir: PathBuf,
    /// Banyan's binary.
    pub(crate) banyan: PathBuf,
    /// HTTP threads of the no-op and of the rivals.
    pub(crate) threads: usize,
    /// Postgres connections of the synchronous way on one hot row.
    pub(crate) hot_connections: usize,
    /// Postgres connections, and rows, of the synchronous way with a spread counter.
    pub(crate) spread_connections: usize,
    /// Arguments added to the cure's server, such as `--queues 4`.
    pub(crate) cure_args: Vec<String>,
}

/// The databases and brokers of a run: started once, shared by all rounds.
pub(crate) struct Databases {
    postgres: Option<Postgres>,
    every_second: Option<Redis>,
    always: Option<Redis>,
    rabbitmq: Option<RabbitMq>,
}

impl Databases {
    /// Starts what `systems` need.
    pub(crate) fn start(systems: &[System], dir: &Path) -> Result<Self, Failure> {
        let redis = |fsync: RedisFsync| {
            let is_needed = systems.iter().any(|system| system.needs_redis() == Some(fsync));
            let options = RedisOptions { fsync, parent: Some(dir.to_owned()), ..RedisOptions::default() };
            is_needed.then(|| Redis::start(&options)).transpose()
        };
        let has_cure = systems.iter().any(|system| system.needs_redis().is_some());
        let has_postgres = systems.iter().any(|system| system.needs_postgres());
        Ok(Self {
            postgres: has_postgres.then(|| Postgres::start(&postgres_options(dir))).transpose()?,
            every_second: redis(RedisFsync::EverySecond)?,
            always: redis(RedisFsync::Always)?,
            rabbitmq: has_cure.then(|| RabbitMq::start(&rabbitmq_options(dir))).transpose()?,
        })
    }

    fn pids(&self, system: System) -> BTreeMap<&'static str, u32> {
        let postgres = self.postgres.as_ref().filter(|_| system.needs_postgres()).map(Postgres::pid);
        let redis = self.redis(system).map(Redis::pid);
        let rabbitmq = self.rabbitmq.as_ref().filter(|_| system.needs_redis().is_some()).map(RabbitMq::pid);
        let named = [("Postgres CPU", postgres), ("Redis CPU", redis), ("RabbitMQ CPU", rabbitmq)];
        named.into_iter().filter_map(|(name, pid)| Some((name, pid?))).collect()
    }

    fn redis(&self, system: System) -> Option<&Redis> {
        match system.needs_redis()? {
            RedisFsync::Always => self.always.as_ref(),
            _ => self.every_second.as_ref(),
        }
    }
}

/// Memory and checkpoints as a careful operator sets them; nothing that weakens durability.
pub(crate) fn postgres_options(dir: &Path) -> PostgresOptions {
    PostgresOptions { parent: Some(dir.to_owned()), ..PostgresOptions::default() }
        .set("shared_buffers", "512MB")
        .set("max_wal_size", "4GB")
        .set("checkpoint_timeout", "15min")
        .set("wal_level", "replica")
        .set("synchronous_commit", "on")
        .set("fsync", "on")
        .set("jit", "off")
}

/// Erlang's schedulers otherwise spin while they wait, and take a core from everybody else.
fn rabbitmq_options(dir: &Path) -> RabbitMqOptions {
    let erlang_args = ["+sbwt none", "+sbwtdcpu none", "+sbwtdio none"].map(str::to_owned).to_vec();
    RabbitMqOptions { parent: Some(dir.to_owned()), erlang_args, ..RabbitMqOptions::default() }
}

/// A system's server, fresh for one round.
pub(crate) struct Running {
    /// Which system.
    pub(crate) system: System,
    /// Where it listens.
    pub(crate) address: SocketAddr,
    /// The bearer key, if it wants one.
    pub(crate) key: Option<String>,
    /// The round's campaign.
    pub(crate) campaign: String,
    /// Its database processes, by the names of their figures.
    pub(crate) databases: BTreeMap<&'static str, u32>,
    server: Server,
    _folder: tempfile::TempDir, // after the server: it must be gone first
}

enum Server {
    Child { process: Process, postgres: Option<tokio_postgres::Client> },
    Banyan(Banyan),
}

impl Running {
    /// Starts `system` for the round that `campaign` names.
    pub(crate) async fn start(
        system: System,
        setup: &Setup,
        databases: &Databases,
        campaign: String,
    ) -> Result<Self, Failure> {
        let folder = tempfile::Builder::new().prefix("banyan-bench-").tempdir_in(&setup.dir);
        let folder = folder.map_err(|e| failed(format!("making a folder in {}", setup.dir.display()), e))?;
        let (server, address, key) = if system == System::Banyan {
            let banyan = Banyan::start(&setup.banyan, folder.path(), &campaign).await?;
            let (address, key) = (banyan.address, banyan.key.clone());
            (Server::Banyan(banyan), address, Some(key))
        } else {
            let (process, address) = start_child(system, setup, databases, folder.path(), &campaign)?;
            let postgres = match &databases.postgres {
                Some(postgres) if system.needs_postgres() => Some(connect(&postgres.socket_url()).await?),
                _ => None,
            };
            (Server::Child { process, postgres }, address, None)
        };
        let databases = databases.pids(system);
        Ok(Self { system, address, key, campaign, databases, server, _folder: folder })
    }

    /// The server's process id.
    pub(crate) fn pid(&self) -> u32 {
        match &self.server {
            Server::Child { process, .. } => process.pid(),
            Server::Banyan(banyan) => banyan.process.pid(),
        }
    }

    /// How far Banyan's record view is behind; `None` for the others.
    pub(crate) async fn lag(&self) -> Option<Result<Lag, Failure>> {
        match &self.server {
            Server::Banyan(banyan) => Some(banyan.lag().await),
            Server::Child { .. } => None,
        }
    }

    /// Waits until everything answered so far is in its table, and says how long that took. `issued` is what clients
    /// were told; fewer rows are told-but-not-issued, more are issued-but-not-told, and both stop the run.
    pub(crate) async fn settle(&self, issued: u64) -> Result<Duration, Failure> {
        let start = Instant::now();
        loop {
            let written = self.written().await?;
            match written {
                None => return Ok(Duration::ZERO),
                Some(written) if written == issued => return Ok(start.elapsed()),
                Some(written) if written > issued || start.elapsed() > SETTLE => {
                    let text = format!("clients were told of {issued} coupons, {written} are there");
                    return Err(failed(self.system.name(), text));
                }
                Some(_) => tokio::time::sleep(Duration::from_millis(50)).await,
            }
        }
    }

    /// Coupons in the table (or, for Banyan, in the log, once the view has caught up); `None` when nothing is stored.
    async fn written(&self) -> Result<Option<u64>, Failure> {
        match &self.server {
            Server::Banyan(banyan) => {
                let issued = banyan.issued(&self.campaign).await?;
                let is_behind = banyan.lag().await?.events > 0.0;
                Ok(Some(if is_behind { 0 } else { issued }))
            }
            Server::Child { postgres: None, .. } => Ok(None),
            Server::Child { postgres: Some(client), .. } => {
                let sql = "SELECT count(*) FROM coupon WHERE campaign = $1";
                let row =
                    client.query_one(sql, &[&self.campaign]).await.map_err(|e| failed("counting", e))?;
                Ok(Some(u64::try_from(row.get::<_, i64>(0))?))
            }
        }
    }
}

fn start_child(
    system: System,
    setup: &Setup,
    databases: &Databases,
    folder: &Path,
    campaign: &str,
) -> Result<(Process, SocketAddr), Failure> {
    let program = std::env::current_exe().map_err(|e| failed("finding this program", e))?;
    let kind = match system {
        System::Noop => "noop",
        System::Synchronous | System::SynchronousSpread => "synchronous",
        System::Cure | System::CureAlways => "cure",
        System::Banyan => return Err("Banyan has its own program".into()),
    };
    let mut launch = Launch::new(kind, program, folder.join("server.log"))
        .args(["serve", kind, "--listen", "127.0.0.1:0", "--campaign", campaign])
        .args(["--threads".to_owned(), setup.threads.to_string()]);
    if let Some(postgres) = databases.postgres.as_ref().filter(|_| system.needs_postgres()) {
        launch = launch.args(["--postgres".to_owned(), postgres.socket_url()]);
    }
    if let (Some(redis), Some(rabbitmq)) = (databases.redis(system), &databases.rabbitmq) {
        launch =
            launch.args(["--redis".to_owned(), redis.socket_url(), "--rabbitmq".to_owned(), rabbitmq.url()]);
        launch = launch.args(setup.cure_args.clone());
    }
    let (connections, slots) = match system {
        System::SynchronousSpread => (setup.spread_connections, setup.spread_connections),
        _ => (setup.hot_connections, 1),
    };
    launch = launch.args(["--connections".to_owned(), connections.to_string()]);
    let mut process = launch.args(["--slots".to_owned(), slots.to_string()]).start()?;
    let mut address = None;
    process.wait_ready(Duration::from_secs(30), |process| {
        let log = process.log_tail();
        address = log.lines().find_map(|line| line.strip_prefix("listening on ")?.parse().ok());
        Ok(address.is_some())
    })?;
    Ok((process, address.ok_or("a ready server has an address")?))
}

async fn connect(url: &str) -> Result<tokio_postgres::Client, Failure> {
    let (client, connection) =
        tokio_postgres::connect(url, NoTls).await.map_err(|e| failed("connecting to Postgres", e))?;
    tokio::spawn(async move {
        if let Err(error) = connection.await {
            eprintln!("the connection to Postgres ended: {error}");
        }
    });
    Ok(client)
}
