//! What to rehearse: read from TOML, checked once, then trusted.
//!
//! `file.rs` is the shape of the file, `check.rs` turns it into these types and names every field it refuses.

mod check;
mod file;
mod shop;
mod span;

pub(crate) use check::check_campaign_id;
pub use shop::{CompanyPlan, ShopPlan};

use std::path::{Path, PathBuf};
use std::time::Duration;
use std::{fmt, io};

use crate::target::Target;

/// A checked rehearsal.
#[derive(Clone, Debug)]
pub struct Scenario {
    /// The heading of the report.
    pub name: String,
    /// Where requests go.
    pub target: Target,
    /// The bearer key of every request; `None` sends none.
    pub key: Option<String>,
    /// Everything that looks like chance follows from this number.
    pub seed: u64,
    /// What arrives, and when.
    pub load: Load,
    /// Keep-alive connections at most, 1 to 10,000.
    pub connections_max: usize,
    /// Requests waiting or under way at most; an arrival beyond this is counted as not sent.
    pub max_outstanding: usize,
    /// How long a request may wait for a connection, and again how long it may be under way.
    pub timeout: Duration,
    /// How long to wait for the last answers after the last arrival.
    pub drain: Duration,
    /// Send a request of unknown outcome again, with the same key, until it is answered.
    pub retry_unknown: bool,
    /// Campaigns to create first, each as the JSON the API takes.
    pub campaigns: Vec<CampaignPlan>,
    /// The simulated payment company whose faults are set first.
    pub company: Option<CompanyPlan>,
    /// What the report holds the run against.
    pub goals: Goals,
}

/// Where arrivals come from.
#[derive(Clone, Debug)]
pub enum Load {
    /// Rates over time.
    Schedule(Box<ScheduleLoad>),
    /// A recorded day.
    Trace(TraceLoad),
}

/// Arrivals made from rates, members and behaviours.
#[derive(Clone, Debug)]
pub struct ScheduleLoad {
    /// Rate over time, gapless and in order.
    pub stretches: Vec<Stretch>,
    /// Evenly spaced, or as independent people come.
    pub spacing: Spacing,
    /// The people.
    pub members: Members,
    /// Shares of requests by behaviour; they sum to 1.
    pub behaviours: Behaviours,
    /// Campaigns and how often each is pressed, relative to the others.
    pub aim: Vec<(String, f64)>,
    /// Send a key of its own with each press.
    pub idempotency_key: bool,
    /// Redeem some of what was issued.
    pub redeem: Option<RedeemPlan>,
    /// What people do in the shop; without it they only press for coupons.
    pub shop: Option<ShopPlan>,
}

/// A piece of time in which the rate is a straight line.
#[derive(Clone, Debug, PartialEq)]
pub struct Stretch {
    /// The phase's name, or `spike`.
    pub name: String,
    /// Start, seconds from the first arrival's clock.
    pub start: f64,
    /// End, seconds.
    pub end: f64,
    /// Arrivals per second at the start.
    pub from: f64,
    /// Arrivals per second at the end.
    pub to: f64,
}

/// How arrivals are spaced within their rate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Spacing {
    /// A Poisson process: like people who do not know of each other.
    Poisson,
    /// Equal distances.
    Even,
}

/// The people who press.
#[derive(Clone, Debug)]
pub struct Members {
    /// How many there are; after the last the first comes again.
    pub count: u64,
    /// Ids are this prefix and a number.
    pub prefix: String,
    /// In what order they come.
    pub choice: Choice,
}

/// The order in which members come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Choice {
    /// 0, 1, 2 and so on.
    Sequential,
    /// Everyone once, in an order that follows from the seed.
    Shuffled,
    /// Drawn with replacement: some come twice.
    Random,
}

/// Shares of requests by behaviour.
#[derive(Clone, Copy, Debug)]
pub struct Behaviours {
    /// A new member each time.
    pub fresh: f64,
    /// A member who presses several times.
    pub repeat_clickers: f64,
    /// Presses of one repeat clicker at most (2 to 100).
    pub presses_max: u64,
    /// The time within which a repeat clicker's presses fall.
    pub within: Duration,
    /// A few members hammering.
    pub bots: f64,
    /// How many bots there are.
    pub bot_members: u64,
    /// Requests with a key that is not valid.
    pub wrong_keys: f64,
}

/// Redeeming after issue. These requests come on top of the scheduled rate.
#[derive(Clone, Copy, Debug)]
pub struct RedeemPlan {
    /// The share of newly issued coupons to redeem, 0 to 1.
    pub share: f64,
    /// How long after the issue answer.
    pub after: Duration,
    /// Up to this much later still, drawn evenly.
    pub spread: Duration,
}

/// A recorded day to replay.
#[derive(Clone, Debug)]
pub struct TraceLoad {
    /// CSV with the header `time,member,campaign,action`.
    pub file: PathBuf,
    /// How many times faster than recorded; `None` is as fast as answers allow.
    pub speed: Option<f64>,
}

/// A campaign to create before the first arrival.
#[derive(Clone, Debug)]
pub struct CampaignPlan {
    /// Its id.
    pub id: String,
    /// Its quantity, `None` when unlimited.
    pub quantity: Option<u64>,
    /// The body for `POST /v1/campaigns`.
    pub body: String,
    /// Member ids to upload, one a line.
    pub allow_list: Option<PathBuf>,
}

/// What the run is held against.
#[derive(Clone, Copy, Debug, Default)]
pub struct Goals {
    /// 99 % of issue answers come within this.
    pub issue_p99: Option<Duration>,
    /// 99 % of redeem answers come within this.
    pub redeem_p99: Option<Duration>,
    /// 99 % of answers to a placed order come within this.
    pub place_p99: Option<Duration>,
    /// Unknown outcomes allowed, 0 unless said; a rehearsal that kills the server sets it.
    pub unknown_max: u64,
}

impl Scenario {
    /// Reads a scenario file. Paths inside it are relative to its folder.
    ///
    /// # Errors
    /// When the file cannot be read, is not TOML of this shape, or a field is out of range; the field is named.
    pub fn from_path(path: impl AsRef<Path>) -> Result<Self, ScenarioError> {
        let path = path.as_ref();
        let text = std::fs::read_to_string(path)
            .map_err(|source| ScenarioError::Read { path: path.to_owned(), source })?;
        let base = path.parent().unwrap_or(Path::new("."));
        let stem = path.file_stem().map_or_else(|| "rehearsal".into(), |stem| stem.to_string_lossy());
        Self::parse(&text, base, &stem)
    }

    /// Reads a scenario from text. `base` is the folder of relative paths, `name` the name if the text gives none.
    ///
    /// # Errors
    /// As [`Scenario::from_path`].
    pub fn parse(text: &str, base: &Path, name: &str) -> Result<Self, ScenarioError> {
        let file: file::ScenarioFile =
            toml::from_str(text).map_err(|source| ScenarioError::Shape { source: Box::new(source) })?;
        check::check(&file, base, name)
    }

    /// Uses this key instead of the file's; whitespace around it is ignored.
    ///
    /// # Errors
    /// When it is empty or not visible ASCII.
    pub fn set_key(&mut self, text: &str) -> Result<(), ScenarioError> {
        self.key = Some(check::checked_key(text)?);
        Ok(())
    }

    /// The seconds of arrivals, without the drain; `None` when a trace decides.
    pub fn seconds(&self) -> Option<f64> {
        match &self.load {
            Load::Schedule(load) => load.stretches.last().map(|stretch| stretch.end),
            Load::Trace(_) => None,
        }
    }
}

/// Why a scenario cannot be used.
#[derive(Debug)]
pub enum ScenarioError {
    /// A file it needs could not be read.
    Read {
        /// Which file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The text is not TOML, has a field we do not know, or lacks one; the source shows the line.
    Shape {
        /// What the parser said.
        source: Box<toml::de::Error>,
    },
    /// A field's value is not allowed.
    Field {
        /// The field, as in `phases[1].rate`.
        field: String,
        /// What is wrong and what is allowed.
        problem: String,
    },
}

impl fmt::Display for ScenarioError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Read { path, source } => write!(f, "reading {}: {source}", path.display()),
            Self::Shape { source } => write!(f, "the scenario does not have the expected shape: {source}"),
            Self::Field { field, problem } => write!(f, "scenario field `{field}`: {problem}"),
        }
    }
}

impl std::error::Error for ScenarioError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Read { source, .. } => Some(source),
            Self::Shape { source } => Some(source),
            Self::Field { .. } => None,
        }
    }
}
