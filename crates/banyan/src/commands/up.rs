//! `banyan up`: puts the parts together and serves until told to stop.

use super::shop;
use crate::data_dir::DataDir;
use crate::exit::Failure;
use crate::front::Place;
use crate::keys;
use crate::old_shop::OldShop;
use crate::public::{self, PublicUrl};
use crate::whole_log::WholeLog;
use banyan_api::auth::{Keyring, TokenOptions};
use banyan_api::{
    App, AppOptions, DoorOptions, ServeOptions, TokioReplies, deliver_replies, without_dry_run,
};
use banyan_domain::Keys;
use banyan_engine::{
    CoreOptions, Shard, ShardOptions, SnapshotStore, StartReport, Started, start, wall_clock,
};
use banyan_log::{Archiver, DiskLog, DiskOptions, LogError, RealStorage, open_for_reading};
use banyan_saga::{Executor, Services, read_services};
use banyan_views::record::{Rebuilder, RecordOptions, RecordView};
use banyan_views::{LogSource, Runner, RunnerOptions};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::watch;

/// Start a server.
#[derive(clap::Args)]
pub(crate) struct UpArgs {
    /// Where the data is; created if it is not there
    #[arg(long, value_name = "DIR", env = "BANYAN_DATA", default_value = "banyan-data")]
    data: PathBuf,
    /// Where to listen; port 0 takes a free one
    #[arg(long, value_name = "ADDR", env = "BANYAN_LISTEN", default_value = "127.0.0.1:8080")]
    listen: SocketAddr,
    /// Threads that serve HTTP
    #[arg(long, value_name = "N", default_value_t = default_threads())]
    threads: usize,
    /// The least time between two blocks in microseconds: under load a command waits at most this long for company
    #[arg(long, value_name = "MICROS", default_value_t = 1_000)]
    pace_micros: u64,
    /// Commands that may wait for the writer; more are answered 503
    #[arg(long, value_name = "N", default_value_t = 65_536)]
    queue: usize,
    /// Events between two snapshots; 0 for none
    #[arg(long, value_name = "N", default_value_t = 2_000_000)]
    snapshot_events: u64,
    /// Size of a log segment in MiB
    #[arg(long, value_name = "MIB", default_value_t = 64)]
    segment_mib: u64,
    /// Move log segments here that are older than the older snapshot and applied by every view; without it they stay
    #[arg(long, value_name = "DIR")]
    archive: Option<PathBuf>,
    /// Events that stay in the live log when segments are archived
    #[arg(long, value_name = "N", default_value_t = 10_000_000, requires = "archive")]
    retain_events: u64,
    /// File with the secret of shoppers' HS256 tokens (at least 32 bytes)
    #[arg(long, value_name = "FILE")]
    jwt_hs256_secret: Option<PathBuf>,
    /// File with the public keys of shoppers' tokens, a JWK set
    #[arg(long, value_name = "FILE")]
    jwks: Option<PathBuf>,
    /// The audience that shoppers' tokens must name
    #[arg(long, value_name = "TEXT")]
    jwt_audience: Option<String>,
    /// The issuer that shoppers' tokens must name
    #[arg(long, value_name = "TEXT")]
    jwt_issuer: Option<String>,
    /// TOML file that says where the services are that sagas ask; without it their steps wait
    #[arg(long, value_name = "FILE")]
    services: Option<PathBuf>,
    /// TOML file of a gateway to run in this process too: its routes may lead to `in-process`
    #[arg(long, value_name = "FILE")]
    gateway: Option<PathBuf>,
    /// TOML file that maps the old shop's database: the capability in it is kept in step, and can be moved over
    #[arg(long, value_name = "FILE")]
    legacy: Option<PathBuf>,
    /// The old shop sells nothing any more: holds of its goods need not wait for what its database may still say
    #[arg(long, conflicts_with = "legacy")]
    old_shop_gone: bool,
    /// For how many seconds nobody may have touched the old columns before they may be retired
    #[arg(long, value_name = "SECONDS", default_value_t = 604_800, requires = "legacy", value_parser = clap::value_parser!(u64).range(1..))]
    legacy_quiet: u64,
    /// How many seconds between two comparisons of both sides
    #[arg(long, value_name = "SECONDS", default_value_t = 60, requires = "legacy")]
    legacy_compare: u64,
    /// How browsers reach this server from elsewhere, behind a TLS proxy or gateway: https://shop.example. Cookies are `Secure`
    /// then, and the storefront is not served unless --shop-sign-in-without-password
    #[arg(long, value_name = "URL")]
    public_url: Option<String>,
    /// Serve the storefront to whoever comes by the public URL: whoever types a member's name there IS that member
    #[arg(long, requires = "public_url", conflicts_with = "no_shop")]
    shop_sign_in_without_password: bool,
    /// A host to which payment companies may send shoppers back, beside the public URL's and this machine; may be repeated
    #[arg(long, value_name = "HOST")]
    return_host: Vec<String>,
    /// Writes of one member's token in a second, and five times as many at once; more are answered 429. 0 for no limit
    #[arg(long, value_name = "N", default_value_t = 20)]
    member_writes_per_second: u32,
    /// Do not create the sample campaign on an empty store
    #[arg(long)]
    no_sample: bool,
    /// Do not serve the storefront at /shop. It is served only to this machine: its sign-in is a demonstration
    #[arg(long)]
    no_shop: bool,
    /// Load the storefront's sample goods into a store that sells nothing yet
    #[arg(long, conflicts_with = "no_shop")]
    shop_sample: bool,
}

fn default_threads() -> usize {
    std::thread::available_parallelism().map_or(2, |n| n.get().div_ceil(2).max(1))
}

/// Runs until SIGINT or SIGTERM; then answers what was accepted and ends.
pub(crate) fn run(args: UpArgs) -> Result<ExitCode, Failure> {
    // One thread needs no work stealing, and wakes its own tasks more cheaply.
    let mut builder = match args.threads {
        0 | 1 => tokio::runtime::Builder::new_current_thread(),
        _ => tokio::runtime::Builder::new_multi_thread(),
    };
    builder.worker_threads(args.threads.max(1)).thread_name("banyan-http").enable_all();
    let runtime = builder.build().map_err(Failure::environment)?;
    runtime.block_on(serve(args))?;
    runtime.shutdown_timeout(Duration::from_secs(2));
    Ok(ExitCode::SUCCESS)
}

/// A store brought up to the head of its log, in which nothing happens yet.
struct Opened {
    started: Started,
    archiver: Option<Archiver>,
    services: Services,
}

/// A shard, and what works for it.
struct Running {
    shard: Arc<Shard>,
    archiver: Option<Archiver>,
    executor: Arc<Executor>,
}

async fn serve(args: UpArgs) -> Result<(), Failure> {
    // Before anything is there: what this build cannot do, and what is wrong with a file.
    let front = Place::read(args.gateway.as_deref(), args.legacy.is_some(), args.listen)?;
    let public = public::read(args.public_url.as_deref())?;
    let old_shop = args.legacy.as_deref().map(OldShop::read).transpose()?;
    let dir = DataDir::create(&args.data)?;
    let listener = TcpListener::bind(args.listen).await.map_err(|error| {
        Failure::environment(format!(
            "listening on {}: {error}. Choose another address with --listen",
            args.listen
        ))
    })?;
    let address = listener.local_addr().map_err(Failure::environment)?;
    let snapshots = SnapshotStore::open(dir.snapshots()).map_err(Failure::environment)?;
    // From here to where the shard is started stands what may refuse the start: a start that is refused again and again must
    // use up no saga's patience.
    let opened = open_store(&args, &dir, &snapshots)?;
    keys::ensure_operator(&dir)?;
    // Whoever gives a name there is that member: nothing for strangers.
    let without_password = args.shop_sign_in_without_password;
    let served = public::serves_shop(address.ip().is_loopback(), public.as_ref(), without_password);
    let shop = match !args.no_shop && served {
        true => {
            let shop = shop::beside(address, keys::ensure_shop(&dir)?, public.as_ref())?;
            Some(public::only_here(shop, public.as_ref()))
        }
        false => None,
    };
    let gateway_key = match args.gateway {
        Some(_) => Some(keys::ensure_gateway(&dir)?),
        None => None,
    };
    let keyring = Keyring::new(&keys::read(&dir)?, token_options(&args)?).map_err(Failure::usage)?;
    let keyring = Arc::new(keyring);
    let view = open_record(opened.started.state().keys(), &dir)?;
    let Running { shard, archiver, executor } = start_shard(opened, &args, &snapshots)?;
    let (record, reader) = start_record(view, &shard, &dir, args.archive.as_deref())?;
    let (stop, stopping) = watch::channel(false);
    let app = App::new(AppOptions {
        shard: shard.clone(),
        keyring: keyring.clone(),
        record: reader,
        rebuilder: record.clone(),
        streams_max: 64,
        stopping: stopping.clone(),
        doors: DoorOptions {
            return_hosts: args
                .return_host
                .iter()
                .cloned()
                .chain(public.iter().map(|url| url.host().into()))
                .collect(),
            member_writes_per_second: args.member_writes_per_second,
        },
    });
    let kept = match old_shop {
        Some(old_shop) => {
            let every = [args.legacy_quiet, args.legacy_compare].map(Duration::from_secs);
            let keeper = old_shop.keeper(&shard, every, front.routes());
            app.set_keeper(keeper.clone());
            Some(tokio::spawn(keeper.run(stopping.clone())))
        }
        None => {
            let desk = banyan_legacy::Desk::new(shard.clone());
            tokio::spawn(banyan_legacy::unattended(desk, args.old_shop_gone, stopping.clone()));
            None
        }
    };
    if shard.report().created && !args.no_sample {
        create_sample(&app).await?;
    }
    tokio::spawn(keys::watch(dir.clone(), keyring));
    if let Some(archiver) = archiver {
        tokio::task::spawn_blocking({
            let (shard, progress, stopping) = (shard.clone(), record.progress().clone(), stopping.clone());
            move || {
                archive_old_segments(&archiver, &snapshots, &shard, &progress, &stopping, args.retain_events);
            }
        });
    }
    announce(address, &dir, shard.report(), shop.is_some(), public.as_ref());
    if args.shop_sample {
        tokio::spawn(shop::load_beside(address, dir.operator_key()));
    }
    tokio::spawn(async move {
        told_to_stop().await;
        tracing::info!("stopping: no new connections; what was accepted will be answered");
        let _nobody_listens = stop.send(true);
    });
    let https = public.as_ref().is_some_and(PublicUrl::is_https);
    let mut options = banyan_console::ConsoleOptions { https, ..Default::default() };
    front.show_in(&mut options);
    let console = without_dry_run(banyan_console::router(app.clone(), options));
    let webhooks = banyan_api::webhooks(executor);
    let router = banyan_api::router(app.clone()).merge(console).merge(webhooks);
    // The shop is not behind the gateway of this process: whoever comes through there is a stranger.
    let gateway = front.open(|| router.clone(), gateway_key, stopping.clone())?;
    let router = match shop {
        Some(shop) => router.merge(without_dry_run(shop)),
        None => router,
    };
    let served = banyan_api::serve(listener, router, Some(app), stopping, ServeOptions::default()).await;
    served.map_err(|error| Failure::environment(format!("serving on {address}: {error}")))?;
    if let Some(kept) = kept {
        // What it has under way needs the shard.
        let _ended = kept.await;
    }
    tokio::task::spawn_blocking(move || {
        // What the gateway still has under way may need the shard.
        if let Some(gateway) = gateway {
            gateway.join();
        }
        shard.shutdown();
        record.stop();
    })
    .await
    .map_err(Failure::environment)?;
    tracing::info!("stopped");
    Ok(())
}

/// Opens the log and brings the state up to its head.
fn open_store(args: &UpArgs, dir: &DataDir, snapshots: &SnapshotStore) -> Result<Opened, Failure> {
    let storage = RealStorage::create(dir.log())
        .map_err(|error| Failure::environment(format!("opening {}: {error}", dir.log().display())))?;
    let disk = DiskOptions {
        segment_bytes: args.segment_mib << 20,
        archive_dir: args.archive.clone(),
        ..DiskOptions::default()
    };
    let log = DiskLog::open(Arc::new(storage), disk).map_err(Failure::environment)?;
    let archiver = args.archive.as_ref().map(|_| log.archiver());
    let mut told = std::time::Instant::now();
    let mut progress = |seq: u64, head: u64| {
        if told.elapsed() > Duration::from_secs(1) {
            told = std::time::Instant::now();
            tracing::info!("replaying the log: event {seq} of {head}");
        }
    };
    let started =
        start(Box::new(log), Some(snapshots), CoreOptions::default(), None, wall_clock(), &mut progress);
    let started = started.map_err(Failure::environment)?;
    for why in &started.report().snapshots_passed {
        tracing::warn!("snapshot passed over: {why}");
    }
    Ok(Opened { started, archiver, services: services(args)? })
}

/// Starts the writer, and what asks services for the sagas.
fn start_shard(opened: Opened, args: &UpArgs, snapshots: &SnapshotStore) -> Result<Running, Failure> {
    let Opened { started, archiver, services } = opened;
    let open = started.state().sagas().open_asks();
    let (mut replies, from_log) = TokioReplies::new();
    tokio::spawn(deliver_replies(from_log));
    let scheduled = replies.publish_asks();
    let options = ShardOptions {
        queue_commands_max: args.queue,
        pace: Duration::from_micros(args.pace_micros),
        snapshot_events: args.snapshot_events,
        snapshots: Some(snapshots.clone()),
        ..ShardOptions::default()
    };
    let shard = Shard::spawn(started, Box::new(replies), options).map_err(Failure::environment)?;
    let executor = Executor::new(shard.clone(), services);
    tokio::spawn(executor.clone().run(open, scheduled));
    Ok(Running { shard, archiver, executor })
}

/// The services that sagas ask.
fn services(args: &UpArgs) -> Result<Services, Failure> {
    let Some(path) = &args.services else { return Ok(Services::new()) };
    let text = std::fs::read_to_string(path)
        .map_err(|error| Failure::usage(format!("reading {}: {error}", path.display())))?;
    read_services(&text, path.parent().unwrap_or(Path::new("")))
        .map_err(|why| Failure::usage(format!("{}: {why}", path.display())))
}

/// Opens the record store.
fn open_record(keys: &Keys, dir: &DataDir) -> Result<RecordView, Failure> {
    let options = RecordOptions { keys: Some(keys.clone()) };
    RecordView::open(dir.root(), &options).map_err(Failure::environment)
}

/// Starts the record store's runner.
fn start_record(
    view: RecordView,
    shard: &Arc<Shard>,
    dir: &DataDir,
    archive: Option<&Path>,
) -> Result<(Arc<Rebuilder>, banyan_views::record::RecordReader), Failure> {
    let reader = view.reader();
    let (open, log, archive) = (shard.clone(), dir.log(), archive.map(Path::to_owned));
    let source = LogSource::new(shard.confirmed().clone(), move |from| {
        let live = open.clone();
        let both = archive.clone().map(|archive| -> Box<dyn Fn() -> _ + Send> {
            let log = log.clone();
            Box::new(move || {
                let storage = RealStorage::existing(&log)
                    .map_err(|source| LogError::Io { doing: format!("opening {}", log.display()), source })?;
                open_for_reading(Arc::new(storage), Some(&archive))
            })
        });
        let whole = WholeLog::open(from, Box::new(move |from| live.reader(from.as_u64())), both)?;
        Ok(Box::new(whole))
    });
    let runner = Runner::spawn(view, source, RunnerOptions::default()).map_err(Failure::environment)?;
    Ok((Rebuilder::new(runner), reader))
}

/// Moves old segments to the archive now and then, until told to stop.
fn archive_old_segments(
    archiver: &Archiver,
    snapshots: &SnapshotStore,
    shard: &Shard,
    record: &banyan_views::ViewProgress,
    stopping: &watch::Receiver<bool>,
    retain_events: u64,
) {
    // Everything before this was asked for already; the archiver itself takes whole sealed segments only.
    let mut asked = 0;
    while !*stopping.borrow() {
        let head =
            shard.confirmed().wait_past(banyan_log::Seq(asked + retain_events), LOOK_FOR_STOP).as_u64();
        // The older of two snapshots must be able to start from the live log, and every view must have read it. A name in the
        // folder is no snapshot: what is damaged or of another log could not start anything.
        let snapshot = match snapshots.usable().as_deref() {
            Ok([_, older, ..]) => *older,
            _ => 0,
        };
        let before = head.saturating_sub(retain_events).min(snapshot).min(record.applied().as_u64());
        if before <= asked {
            std::thread::park_timeout(LOOK_FOR_STOP);
            continue;
        }
        match archiver.archive_before(banyan_log::Seq(before)) {
            Ok(report) if report.segments > 0 => {
                tracing::info!(segments = report.segments, first_live = %report.first_live, "segments archived");
            }
            Ok(_) => {}
            Err(error) => tracing::error!("archiving segments: {error}"),
        }
        asked = before;
    }
}

/// How often background work looks whether the server is stopping.
const LOOK_FOR_STOP: Duration = Duration::from_secs(1);

fn token_options(args: &UpArgs) -> Result<TokenOptions, Failure> {
    let read = |path: &PathBuf| {
        std::fs::read(path).map_err(|error| Failure::usage(format!("reading {}: {error}", path.display())))
    };
    let jwks = match &args.jwks {
        Some(path) => Some(
            serde_json::from_slice(&read(path)?)
                .map_err(|error| Failure::usage(format!("{} is not a JWK set: {error}", path.display())))?,
        ),
        None => None,
    };
    Ok(TokenOptions {
        hs256_secret: args
            .jwt_hs256_secret
            .as_ref()
            .map(read)
            .transpose()?
            .map(|secret| secret.trim_ascii().to_vec()),
        jwks,
        audience: args.jwt_audience.clone(),
        issuer: args.jwt_issuer.clone(),
    })
}

/// A campaign to try things with, on a store that has none.
async fn create_sample(app: &App) -> Result<(), Failure> {
    let json: banyan_api::wire::CampaignJson = serde_json::from_value(serde_json::json!({
        "id": "sample", "name": "Sample campaign", "quantity": 1_000, "benefit": {"amount": {"minor": 5_000, "currency": "KRW"}},
    }))
    .map_err(Failure::environment)?;
    let definition = json.check().map_err(|problem| Failure::environment(problem.detail))?;
    let by = banyan_domain::Actor::new("banyan").map_err(Failure::environment)?;
    let command = banyan_domain::coupon::Command::CreateCampaign { definition: Box::new(definition), by };
    let asked = app.ask(banyan_domain::Command::Coupon(command), None).await;
    asked.map(|_| ()).map_err(|problem| Failure::environment(problem.detail))
}

/// Tells a person where everything is.
fn announce(
    address: SocketAddr,
    dir: &DataDir,
    report: &StartReport,
    shop: bool,
    public: Option<&PublicUrl>,
) {
    let url = format!("http://{address}");
    println!("Banyan {} is up.", env!("CARGO_PKG_VERSION"));
    println!("  API      {url}/v1/campaigns      (described at {url}/docs)");
    println!("  Console  {url}/console");
    if shop {
        let (at, whom) = match public {
            Some(public) => (public.as_str(), "ANYBODY who comes by is whoever they say"),
            None => (&*url, "only on this machine: its sign-in is a demonstration"),
        };
        println!("  Shop     {at}/shop      ({whom})");
    }
    println!(
        "  Key      {}      (operator; send as `Authorization: Bearer KEY`)",
        dir.operator_key().display()
    );
    println!(
        "  Store    {}: {}, {} events, ready in {:.2} s",
        dir.root().display(),
        if report.created { "created just now" } else { "opened" },
        report.head,
        report.took.as_secs_f64()
    );
    if address.ip().is_loopback() {
        return;
    }
    println!("  Note     listening beyond this machine without TLS: put a TLS proxy in front of it");
}

pub(crate) async fn told_to_stop() {
    use tokio::signal::unix::{SignalKind, signal};
    let (Ok(mut interrupt), Ok(mut terminate)) =
        (signal(SignalKind::interrupt()), signal(SignalKind::terminate()))
    else {
        tracing::error!("signals cannot be received; stop the process with SIGKILL, nothing is lost by it");
        return std::future::pending().await;
    };
    tokio::select! { _ = interrupt.recv() => {}, _ = terminate.recv() => {} }
}
