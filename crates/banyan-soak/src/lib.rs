//! The long run of the sync with an old shop: an old shop and a real Banyan that write at once, for as long as asked, while
//! processes are killed, networks cut and streams lost; and then both sides held to each other and to what was written down.
//!
//! The old shop here is the protocol of `docs/legacy-sync.md` in SQL and HTTP: what a plugin does, without the shop around it.
//! Everything that it commits is written down in the same transaction, so that what the numbers must be at the end follows from
//! its own database, whatever was killed when.
//!
//! It deliberately knows nothing of Banyan's insides: it has the binary, its HTTP API, and the two tables in the old database.
//! It is not a benchmark: it is paced, and its lags are those of a machine that does all of this at once.
//!
//! Start reading at [`Soak`], then `place.rs` (what is started), `writers/` (who writes), `faults.rs` (what breaks), and
//! `judge.rs` (what must be so).

mod banyan;
mod faults;
mod http;
mod judge;
mod killed;
mod moves;
mod old;
mod place;
mod random;
mod report;
mod tally;
mod writers;

pub use killed::{Killed, killed_at_every_step};
pub use report::Report;

use judge::Judged;
use place::Place;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinSet;
use writers::{Foreign, Orders, Own, Probing, Repricing, Shelves, Showroom, Warehouse, work};

/// Which old database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Database {
    /// PostgreSQL.
    Postgres,
    /// MariaDB.
    Mariadb,
}

/// A run.
#[derive(Clone, Debug)]
pub struct Soak {
    /// The `banyan` binary, built with `--features legacy`.
    pub binary: PathBuf,
    /// The old shop's database.
    pub database: Database,
    /// An empty folder for Banyan's data, logs and the report. It stays.
    pub folder: PathBuf,
    /// How long everybody writes. Each kind of fault comes at least once, so it may be longer.
    pub lasts: Duration,
    /// The same seed gives the same schedule of faults and the same wishes; not the same interleaving.
    pub seed: u64,
    /// Orders a second, about.
    pub orders_per_second: f64,
    /// How often leadership goes back to the old shop, and for how long it stays there. Once at least; `None` for never.
    pub moves: Option<[Duration; 2]>,
    /// Shortest and longest pause between a fault that is over and the next.
    pub pause: [Duration; 2],
    /// Shortest and longest outage of a network.
    pub outage: [Duration; 2],
    /// How long goods stay reserved for an order of the old shop.
    pub hold: Duration,
    /// How often Banyan compares both sides.
    pub compare_every: Duration,
    /// Whether the stream may be lost while leadership changes hands.
    pub streams_lost_during_moves: bool,
}

impl Soak {
    /// A run as `cargo xtask legacy soak` makes it.
    #[must_use]
    pub fn new(binary: PathBuf, database: Database, folder: PathBuf, lasts: Duration) -> Self {
        let seconds = Duration::from_secs;
        Self {
            binary,
            database,
            folder,
            lasts,
            seed: 1,
            orders_per_second: 12.0,
            moves: Some([seconds(150), seconds(25)]),
            pause: [seconds(5), seconds(14)],
            outage: [seconds(1), seconds(8)],
            hold: seconds(90),
            compare_every: seconds(20),
            streams_lost_during_moves: false,
        }
    }

    /// Runs it to its end: a minute or more beyond its time, until everything is quiet. Blocks.
    ///
    /// # Errors
    /// Why it could not be begun, or not be judged. What is not as it must be is in the report.
    pub fn run(&self) -> Result<Report, String> {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
        let runtime = runtime.map_err(|error| format!("starting a runtime: {error}"))?;
        let place = Arc::new(Place::start(self)?);
        let judged = runtime.block_on(run(&place));
        runtime.shutdown_timeout(Duration::from_secs(5));
        let mut judged = judged?;
        self.end(&place, &mut judged)?;
        let report = Report::new(&place, &judged);
        let path = self.folder.join("report.json");
        std::fs::write(&path, format!("{:#}\n", report.json))
            .map_err(|error| format!("writing {}: {error}", path.display()))?;
        Ok(report)
    }

    /// Stops Banyan, and looks at its log and at what it said.
    fn end(&self, place: &Place, judged: &mut Judged) -> Result<(), String> {
        place.banyan().stop().map_err(|error| error.to_string())?;
        match place.program.verify() {
            Ok(report) => judged.verified_events = report["events"].as_u64().unwrap_or(0),
            Err(why) => place.tally.finding(why),
        }
        let log = std::fs::read_to_string(place.program.log())
            .map_err(|error| format!("reading its log: {error}"))?;
        let is_bad = |line: &&str| line.contains("ERROR") || line.contains("panicked");
        for line in log.lines().filter(is_bad) {
            place.tally.finding(format!("Banyan said: {line}"));
        }
        // The server's folder goes with it; what it said may be wanted.
        let (from, to) = (place.server().log().to_owned(), self.folder.join("old-database.log"));
        std::fs::copy(&from, &to).map(drop).map_err(|error| format!("copying {}: {error}", from.display()))
    }
}

async fn run(place: &Arc<Place>) -> Result<Judged, String> {
    place.stock_up().await?;
    let (stop, stopping) = watch::channel(false);
    let mut writers = JoinSet::new();
    let millis = |millis: f64| Duration::from_secs_f64(millis / 1_000.0);
    // Four tills, and everybody else in proportion.
    let till = 4_000.0 / place.soak.orders_per_second.max(0.1);
    for till_number in 0..4 {
        writers.spawn(work(place.clone(), till_number, millis(till), Orders, stopping.clone()));
    }
    writers.spawn(work(place.clone(), 10, millis(till), Warehouse, stopping.clone()));
    writers.spawn(work(place.clone(), 11, millis(till * 2.0), Own, stopping.clone()));
    writers.spawn(work(place.clone(), 12, millis(3_000.0), Foreign::default(), stopping.clone()));
    writers.spawn(work(place.clone(), 13, millis(till * 6.0), Repricing, stopping.clone()));
    writers.spawn(work(place.clone(), 14, millis(till * 6.0), Showroom, stopping.clone()));
    writers.spawn(work(place.clone(), 15, millis(10_000.0), Shelves::default(), stopping.clone()));
    // Everybody writes while the first copy is made, and while leadership changes hands.
    moves::to(place, "mirror").await;
    moves::to(place, "lead").await;
    writers.spawn(work(place.clone(), 20, millis(400.0), Probing::default(), stopping.clone()));
    writers.spawn(report::watch_lags(place.clone(), stopping.clone()));
    let (end, ending) = watch::channel(false);
    let mut trouble = JoinSet::new();
    trouble.spawn(faults::run(place.clone(), ending.clone()));
    trouble.spawn(moves::run(place.clone(), ending));
    // The run itself: writers and faults go on beside it.
    tokio::time::sleep(place.soak.lasts).await;
    end.send_replace(true);
    while trouble.join_next().await.transpose().map_err(|error| error.to_string())?.is_some() {}
    place.tally.say("time is over; everybody ends what they do");
    stop.send_replace(true);
    while writers.join_next().await.transpose().map_err(|error| error.to_string())?.is_some() {}
    place.tally.say("everybody has stopped; judging");
    judge::judge(place).await
}
