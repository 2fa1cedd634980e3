//! What breaks, one thing after the other, each kind as often as every other: and how long it takes until all is well again.

use crate::old::{Fault, Session};
use crate::place::Place;
use crate::random::Random;
use crate::tally::FaultSeen;
use banyan_testkit::Way;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::watch;

/// Longest time until a change goes there and back again. Longer is a finding.
const RECOVERY_MAX: Duration = Duration::from_secs(180);
const LOOK: Duration = Duration::from_millis(20);
/// Longest wait for something that the run itself does to the old database.
const DOING_MAX: Duration = Duration::from_secs(60);

/// What breaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// SIGKILL to Banyan.
    Banyan,
    /// SIGKILL to every process of the old database.
    Database,
    /// Both at once.
    Both,
    /// The network between Banyan and the old database is gone.
    Cut,
    /// It swallows everything, and says nothing.
    Silent,
    /// It is cut in the middle of what is sent.
    Midway,
    /// The network between the old shop and Banyan is gone.
    Shop,
    /// The stream's place is gone: the slot, or the binary logs.
    Stream,
}

const ALL: [Kind; 8] = [
    Kind::Banyan,
    Kind::Database,
    Kind::Both,
    Kind::Cut,
    Kind::Silent,
    Kind::Midway,
    Kind::Shop,
    Kind::Stream,
];

impl Kind {
    const fn name(self) -> &'static str {
        match self {
            Self::Banyan => "kill -9 of Banyan",
            Self::Database => "kill -9 of the old database",
            Self::Both => "kill -9 of both at once",
            Self::Cut => "network to the old database gone",
            Self::Silent => "network to the old database silent",
            Self::Midway => "network cut in the middle of bytes",
            Self::Shop => "network from the shop to Banyan gone",
            Self::Stream => "stream lost (slot, binary logs)",
        }
    }
}

/// Breaks things until told to stop, and each kind at least once.
pub(crate) async fn run(place: Arc<Place>, mut stop: watch::Receiver<bool>) {
    let mut random = Random::new(place.soak.seed, 1);
    let [from, to] = place.soak.pause.map(|pause| pause.as_millis() as u64);
    for round in 0_u32.. {
        let mut bag = ALL;
        random.shuffle(&mut bag);
        for kind in bag {
            // A schedule, which ends early when there is no more time.
            let pause = Duration::from_millis(random.between(from, to.max(from)));
            let stopped = tokio::time::timeout(pause, stop.wait_for(|stop| *stop)).await.is_ok();
            if stopped && round > 0 {
                return;
            }
            one(&place, kind, &mut random).await;
        }
    }
}

async fn one(place: &Arc<Place>, kind: Kind, random: &mut Random) {
    let _undisturbed = match kind == Kind::Stream && !place.soak.streams_lost_during_moves {
        true => Some(place.moving.lock().await),
        false => None,
    };
    let began = Instant::now();
    let done = happens(place, kind, random).await;
    let ended = Instant::now();
    let detail = done.unwrap_or_else(|why| {
        place.tally.finding(format!("{}: {why}", kind.name()));
        why
    });
    let again = place.tally.seen_again(began, ended, RECOVERY_MAX).await;
    let seen = FaultSeen {
        kind: kind.name(),
        detail,
        at: began - place.tally.began,
        lasted: ended - began,
        recovered: again.map(|again| again - ended),
    };
    match seen.recovered {
        Some(after) => place.tally.say(&format!(
            "{}: {}{:.1} s; well again after {:.1} s",
            seen.kind,
            seen.detail,
            seen.lasted.as_secs_f64(),
            after.as_secs_f64()
        )),
        None => {
            place
                .tally
                .finding(format!("{}: nothing went there and back within {RECOVERY_MAX:?}", seen.kind));
        }
    }
    place.tally.seen().faults.push(seen);
}

/// Does it, and lets go again. What there is to say of it.
async fn happens(place: &Arc<Place>, kind: Kind, random: &mut Random) -> Result<String, String> {
    let [shortest, longest] = place.soak.outage.map(|outage| outage.as_millis() as u64);
    let outage = Duration::from_millis(random.between(shortest, longest.max(shortest)));
    match kind {
        Kind::Banyan | Kind::Database | Kind::Both => kill(place, kind).await.map(|()| String::new()),
        Kind::Cut => {
            place.to_old.refuse(true);
            place.to_old.cut();
            // How long the fault lasts.
            tokio::time::sleep(outage).await;
            place.to_old.refuse(false);
            Ok(String::new())
        }
        Kind::Silent => {
            let ways: &[Way] = match random.between(0, 2) {
                0 => &[Way::ToServer],
                1 => &[Way::ToClient],
                _ => &[Way::ToServer, Way::ToClient],
            };
            ways.iter().for_each(|way| place.to_old.hold(*way, true));
            // How long the fault lasts.
            tokio::time::sleep(outage).await;
            // Half of the time what was held comes late, else it never comes.
            let late = random.chance(50);
            if !late {
                place.to_old.cut();
            }
            ways.iter().for_each(|way| place.to_old.hold(*way, false));
            Ok(format!("{ways:?}, {}, ", if late { "comes late" } else { "is lost" }))
        }
        Kind::Midway => {
            let way = if random.chance(60) { Way::ToServer } else { Way::ToClient };
            let bytes = random.between(50, 6_000);
            place.to_old.cut_after(way, bytes);
            let came = until(DOING_MAX, || !place.to_old.will_cut(way)).await;
            // One that does not come in its time must not come in the stillness.
            place.to_old.cut_no_more(way);
            came?;
            Ok(format!("{way:?} after {bytes} bytes, "))
        }
        Kind::Shop => {
            place.to_banyan.refuse(true);
            place.to_banyan.cut();
            // How long the fault lasts.
            tokio::time::sleep(outage).await;
            place.to_banyan.refuse(false);
            Ok(String::new())
        }
        Kind::Stream => {
            place.to_old.refuse(true);
            place.to_old.cut();
            let lost = lose(place).await;
            place.to_old.refuse(false);
            lost.map(|()| String::new())
        }
    }
}

async fn kill(place: &Arc<Place>, kind: Kind) -> Result<(), String> {
    let place = place.clone();
    let work = move || {
        let mut banyan = place.banyan();
        if kind != Kind::Database {
            banyan.kill().map_err(|error| error.to_string())?;
        }
        if kind != Kind::Banyan {
            let mut server = place.server();
            server.kill()?;
            server.start_again()?;
        }
        match kind == Kind::Database {
            true => Ok(()),
            false => place.program.start_again(&mut banyan),
        }
    };
    tokio::task::spawn_blocking(work).await.map_err(|error| error.to_string())?
}

async fn until(limit: Duration, mut done: impl FnMut() -> bool) -> Result<(), String> {
    let began = Instant::now();
    while !done() {
        if began.elapsed() > limit {
            return Err(format!("it did not come about within {limit:?}"));
        }
        // A condition is looked at again; nobody tells it.
        tokio::time::sleep(LOOK).await;
    }
    Ok(())
}

/// Takes the stream's place away, while its reader cannot reach the server.
async fn lose(place: &Place) -> Result<(), String> {
    let began = Instant::now();
    let mut last = String::new();
    while began.elapsed() < DOING_MAX {
        let tried = async {
            let mut session = place.session().await?;
            match place.is_postgres() {
                true => drop_slot(&mut session).await,
                false => purge_logs(&mut session).await,
            }
        };
        match tried.await {
            Ok(true) => return Ok(()),
            Ok(false) => {}
            Err(fault) => last = fault.why,
        }
        // A condition is looked at again; nobody tells it.
        tokio::time::sleep(LOOK).await;
    }
    Err(format!("the stream's place could not be taken away: {last}"))
}

async fn drop_slot(session: &mut Session) -> Result<bool, Fault> {
    let of_ours = "from pg_replication_slots where slot_name = 'banyan_stock'";
    session
        .rows(&format!("select pg_terminate_backend(active_pid) {of_ours} and active_pid is not null"))
        .await?;
    // Fails while its reader has not gone yet.
    session.rows(&format!("select pg_drop_replication_slot(slot_name) {of_ours}")).await?;
    Ok(session.rows(&format!("select 1 {of_ours}")).await?.is_empty())
}

async fn purge_logs(session: &mut Session) -> Result<bool, Fault> {
    let readers = "select id from information_schema.processlist where command like 'Binlog Dump%'";
    for row in session.rows(readers).await? {
        if let Some(Some(id)) = row.first() {
            // It may have gone by itself.
            session.run(&format!("kill {id}")).await.ok();
        }
    }
    if !session.rows(readers).await?.is_empty() {
        return Ok(false);
    }
    session.run("flush binary logs").await?;
    let newest =
        session.rows("show binary logs").await?.last().and_then(|row| row.first().cloned().flatten());
    let newest = newest.unwrap_or_default();
    session.run(&format!("purge binary logs to '{newest}'")).await?;
    let left = session.rows("show binary logs").await?;
    Ok(left.first().and_then(|row| row.first().cloned().flatten()) == Some(newest))
}
