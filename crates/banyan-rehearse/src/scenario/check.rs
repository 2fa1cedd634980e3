//! From the file's shape to a checked [`Scenario`]: every range, with the field's name in every refusal.

use std::fmt::Display;
use std::path::Path;
use std::time::Duration;

use super::file::{
    ArrivalsFile, BehavioursFile, CampaignFile, ChoiceFile, KeyUseFile, Kind, PhaseFile, ScenarioFile,
    SpeedFile, SpikeFile,
};
use super::{
    Behaviours, CampaignPlan, Choice, Goals, Load, Members, RedeemPlan, Scenario, ScenarioError,
    ScheduleLoad, Spacing, Stretch, TraceLoad,
};
use crate::target::Target;

const RATE_MAX: f64 = 1_000_000.0;
const LENGTH_MAX: Duration = Duration::from_secs(24 * 3600);
const MEMBERS_MAX: u64 = 1_000_000_000;
const PREFIX_BYTES_MAX: usize = 40;

pub(super) fn check(file: &ScenarioFile, base: &Path, name: &str) -> Result<Scenario, ScenarioError> {
    let url = file.url.as_deref().unwrap_or("http://127.0.0.1:8080");
    let target = Target::parse(url).map_err(|problem| field("url", problem))?;
    within("connections_max", file.connections_max, 1, 10_000)?;
    within("max_outstanding", file.max_outstanding, 1, 10_000_000)?;
    length("timeout", file.timeout.0, Duration::from_millis(1), Duration::from_secs(600))?;
    length("drain", file.drain.0, Duration::ZERO, Duration::from_secs(3600))?;
    let key = key(file, base)?;
    let campaigns: Vec<CampaignPlan> = file
        .campaigns
        .iter()
        .enumerate()
        .map(|(i, campaign)| campaign_plan(i, campaign, base))
        .collect::<Result<_, _>>()?;
    for (i, plan) in campaigns.iter().enumerate() {
        if campaigns[..i].iter().any(|earlier| earlier.id == plan.id) {
            return Err(field(
                format!("campaigns[{i}].id"),
                format!("is `{}`, which stands here already", plan.id),
            ));
        }
    }
    let goals = Goals {
        issue_p99: file.goals.issue_p99.map(|span| span.0),
        redeem_p99: file.goals.redeem_p99.map(|span| span.0),
        place_p99: file.goals.place_p99.map(|span| span.0),
        unknown_max: file.goals.unknown_max.unwrap_or(0),
    };
    Ok(Scenario {
        name: file.name.clone().unwrap_or_else(|| name.to_owned()),
        target,
        key,
        seed: file.seed,
        connections_max: file.connections_max,
        max_outstanding: file.max_outstanding,
        timeout: file.timeout.0,
        drain: file.drain.0,
        retry_unknown: file.retry_unknown,
        load: match file.kind {
            Kind::Schedule => schedule(file, &campaigns)?,
            Kind::Trace => trace(file, base)?,
        },
        campaigns,
        company: file.company.as_ref().map(|company| super::shop::company(company, base)).transpose()?,
        goals,
    })
}

fn key(file: &ScenarioFile, base: &Path) -> Result<Option<String>, ScenarioError> {
    let text = match (&file.key, &file.key_file) {
        (Some(_), Some(_)) => return Err(field("key_file", "give `key` or `key_file`, not both")),
        (Some(key), None) => key.clone(),
        (None, Some(path)) => {
            let path = base.join(path);
            std::fs::read_to_string(&path).map_err(|source| ScenarioError::Read { path, source })?
        }
        (None, None) => return Ok(None),
    };
    checked_key(&text).map(Some)
}

/// A bearer key as it stands in a file: one token, whitespace around it ignored.
pub(super) fn checked_key(text: &str) -> Result<String, ScenarioError> {
    let trimmed = text.trim();
    if trimmed.is_empty() || !trimmed.bytes().all(|byte| (0x21..=0x7e).contains(&byte)) {
        return Err(field("key", "must be visible ASCII without spaces, and not empty"));
    }
    Ok(trimmed.to_owned())
}

fn campaign_plan(i: usize, file: &CampaignFile, base: &Path) -> Result<CampaignPlan, ScenarioError> {
    let at = |name: &str| format!("campaigns[{i}].{name}");
    check_campaign_id(&at("id"), &file.id)?;
    let quantity = match &file.quantity {
        serde_json::Value::String(word) if word == "unlimited" => None,
        value => match value.as_u64() {
            Some(number) if number > 0 => Some(number),
            _ => {
                let problem = format!("is {value}: must be a whole number from 1, or \"unlimited\"");
                return Err(field(at("quantity"), problem));
            }
        },
    };
    let mut named = file.clone();
    named.name.get_or_insert_with(|| file.id.clone());
    let body = serde_json::to_string(&named).map_err(|error| field(at("id"), error.to_string()))?;
    let allow_list = file.allow_list.as_ref().map(|path| base.join(path));
    Ok(CampaignPlan { id: file.id.clone(), quantity, body, allow_list })
}

pub(crate) fn check_campaign_id(at: &str, id: &str) -> Result<(), ScenarioError> {
    let good = (1..=48).contains(&id.len())
        && !id.starts_with('-')
        && id.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
    if good {
        return Ok(());
    }
    Err(field(at, format!("is `{id}`: must be 1 to 48 of a-z, 0-9 and -, and start with a letter or digit")))
}

fn schedule(file: &ScenarioFile, campaigns: &[CampaignPlan]) -> Result<Load, ScenarioError> {
    for (name, given) in [("file", file.file.is_some()), ("speed", file.speed.is_some())] {
        if given {
            return Err(field(name, "belongs to kind = \"trace\"; a schedule has [[phases]]"));
        }
    }
    let Some(members) = &file.members else {
        return Err(field("members", "is missing: say who presses, such as [members] count = 1000"));
    };
    within("members.count", members.count, 1, MEMBERS_MAX)?;
    let prefix = &members.prefix;
    if prefix.len() > PREFIX_BYTES_MAX || !prefix.bytes().all(|b| (0x21..=0x7e).contains(&b)) {
        let problem = format!("is `{prefix}`: must be at most {PREFIX_BYTES_MAX} bytes of visible ASCII");
        return Err(field("members.prefix", problem));
    }
    let members = Members {
        count: members.count,
        prefix: prefix.clone(),
        choice: match members.choice {
            ChoiceFile::Sequential => Choice::Sequential,
            ChoiceFile::Shuffled => Choice::Shuffled,
            ChoiceFile::Random => Choice::Random,
        },
    };
    let redeem = match &file.redeem {
        None => None,
        Some(redeem) => {
            within("redeem.share", redeem.share, 0.0, 1.0)?;
            length("redeem.after", redeem.after.0, Duration::ZERO, LENGTH_MAX)?;
            let spread = redeem.spread.map_or(Duration::ZERO, |span| span.0);
            length("redeem.spread", spread, Duration::ZERO, LENGTH_MAX)?;
            Some(RedeemPlan { share: redeem.share, after: redeem.after.0, spread })
        }
    };
    let spacing = match file.arrivals {
        ArrivalsFile::Poisson => Spacing::Poisson,
        ArrivalsFile::Even => Spacing::Even,
    };
    Ok(Load::Schedule(Box::new(ScheduleLoad {
        stretches: stretches(&file.phases, file.spike.as_ref())?,
        spacing,
        members,
        behaviours: behaviours(file.behaviours.as_ref())?,
        aim: aim(file, campaigns)?,
        idempotency_key: matches!(file.idempotency_key, KeyUseFile::PerRequest),
        redeem,
        shop: file.shop.as_ref().map(super::shop::shop).transpose()?,
    })))
}

fn aim(file: &ScenarioFile, campaigns: &[CampaignPlan]) -> Result<Vec<(String, f64)>, ScenarioError> {
    if file.aim.is_empty() {
        if campaigns.is_empty() {
            let problem =
                "is missing: create a campaign with [[campaigns]], or name an existing one with [[aim]]";
            return Err(field("campaigns", problem));
        }
        return Ok(campaigns.iter().map(|campaign| (campaign.id.clone(), 1.0)).collect());
    }
    let mut aim: Vec<(String, f64)> = Vec::new();
    for (i, one) in file.aim.iter().enumerate() {
        check_campaign_id(&format!("aim[{i}].campaign"), &one.campaign)?;
        within(&format!("aim[{i}].weight"), one.weight, 0.0, 1e9)?;
        if aim.iter().any(|(known, _)| *known == one.campaign) {
            let problem =
                format!("names `{}` a second time: give it one entry with the sum of weights", one.campaign);
            return Err(field(format!("aim[{i}].campaign"), problem));
        }
        aim.push((one.campaign.clone(), one.weight));
    }
    if aim.iter().all(|(_, weight)| *weight == 0.0) {
        return Err(field("aim", "has only weights of 0: at least one must be above 0"));
    }
    Ok(aim)
}

/// Lays phases end to end and cuts the spike's window out of them.
fn stretches(phases: &[PhaseFile], spike: Option<&SpikeFile>) -> Result<Vec<Stretch>, ScenarioError> {
    if phases.is_empty() {
        return Err(field("phases", "is missing: say at least one, such as [[phases]] name = \"steady\""));
    }
    let mut laid: Vec<Stretch> = Vec::new();
    let mut start = 0.0;
    for (i, phase) in phases.iter().enumerate() {
        let at = |name: &str| format!("phases[{i}].{name}");
        length(&at("for"), phase.length.0, Duration::from_millis(1), LENGTH_MAX)?;
        let (from, to) = match (phase.rate, phase.from, phase.to) {
            (Some(rate), None, None) => (rate, rate),
            (None, Some(from), Some(to)) => (from, to),
            _ => return Err(field(at("rate"), "give `rate`, or both `from` and `to`")),
        };
        let names = if phase.rate.is_some() { ("rate", "rate") } else { ("from", "to") };
        within(&at(names.0), from, 0.0, RATE_MAX)?;
        within(&at(names.1), to, 0.0, RATE_MAX)?;
        let end = start + phase.length.0.as_secs_f64();
        laid.push(Stretch { name: phase.name.clone(), start, end, from, to });
        start = end;
    }
    if start > LENGTH_MAX.as_secs_f64() {
        return Err(field("phases", "last more than 24 hours together"));
    }
    let Some(spike) = spike else { return Ok(laid) };
    within("spike.rate", spike.rate, 0.0, RATE_MAX)?;
    length("spike.for", spike.length.0, Duration::from_millis(1), LENGTH_MAX)?;
    let (at, until) = (spike.at.0.as_secs_f64(), (spike.at.0 + spike.length.0).as_secs_f64());
    if until > start + 1e-9 {
        let problem = format!("and `spike.for` end at {until} s, but the phases end at {start} s");
        return Err(field("spike.at", problem));
    }
    let mut cut = Vec::new();
    for stretch in laid {
        let piece = |from_s: f64, to_s: f64| Stretch {
            name: stretch.name.clone(),
            start: from_s,
            end: to_s,
            from: rate_at(&stretch, from_s),
            to: rate_at(&stretch, to_s),
        };
        if stretch.start < at {
            cut.push(piece(stretch.start, stretch.end.min(at)));
        }
        if (stretch.start..stretch.end).contains(&at) {
            cut.push(Stretch {
                name: "spike".into(),
                start: at,
                end: until,
                from: spike.rate,
                to: spike.rate,
            });
        }
        if stretch.end > until {
            cut.push(piece(stretch.start.max(until), stretch.end));
        }
    }
    Ok(cut)
}

fn rate_at(stretch: &Stretch, second: f64) -> f64 {
    let progress = (second - stretch.start) / (stretch.end - stretch.start);
    stretch.from + (stretch.to - stretch.from) * progress
}

fn behaviours(file: Option<&BehavioursFile>) -> Result<Behaviours, ScenarioError> {
    let none = BehavioursFile::default();
    let file = file.unwrap_or(&none);
    let mut checked = Behaviours {
        fresh: 0.0,
        repeat_clickers: 0.0,
        presses_max: 2,
        within: Duration::ZERO,
        bots: 0.0,
        bot_members: 1,
        wrong_keys: 0.0,
    };
    if let Some(repeat) = &file.repeat_clickers {
        within("behaviours.repeat_clickers.share", repeat.share, 0.0, 1.0)?;
        within("behaviours.repeat_clickers.presses_max", repeat.presses_max, 2, 100)?;
        let longest = Duration::from_secs(3600);
        length("behaviours.repeat_clickers.within", repeat.within.0, Duration::from_millis(1), longest)?;
        checked.repeat_clickers = repeat.share;
        checked.presses_max = repeat.presses_max;
        checked.within = repeat.within.0;
    }
    if let Some(bots) = &file.bots {
        within("behaviours.bots.share", bots.share, 0.0, 1.0)?;
        within("behaviours.bots.members", bots.members, 1, MEMBERS_MAX)?;
        checked.bots = bots.share;
        checked.bot_members = bots.members;
    }
    if let Some(wrong) = &file.wrong_keys {
        within("behaviours.wrong_keys.share", wrong.share, 0.0, 1.0)?;
        checked.wrong_keys = wrong.share;
    }
    let others = checked.repeat_clickers + checked.bots + checked.wrong_keys;
    let rest = if (1.0 - others).abs() < 1e-9 { 0.0 } else { 1.0 - others };
    checked.fresh = file.fresh.as_ref().map_or(rest, |fresh| fresh.share);
    within("behaviours.fresh.share", checked.fresh, 0.0, 1.0)?;
    let sum = checked.fresh + others;
    if (sum - 1.0).abs() > 1e-6 {
        let problem = format!(
            "have shares that sum to {sum}: they must sum to 1 (leave `fresh` out and it is the rest)"
        );
        return Err(field("behaviours", problem));
    }
    Ok(checked)
}

fn trace(file: &ScenarioFile, base: &Path) -> Result<Load, ScenarioError> {
    let not_here = [
        ("phases", !file.phases.is_empty()),
        ("spike", file.spike.is_some()),
        ("members", file.members.is_some()),
        ("behaviours", file.behaviours.is_some()),
        ("redeem", file.redeem.is_some()),
        ("shop", file.shop.is_some()),
        ("aim", !file.aim.is_empty()),
    ];
    if let Some((name, _)) = not_here.iter().find(|(_, given)| *given) {
        return Err(field(*name, "belongs to kind = \"schedule\"; a trace takes all of that from its file"));
    }
    let Some(path) = &file.file else {
        return Err(field("file", "is missing: a trace needs the CSV to replay"));
    };
    let speed = match &file.speed {
        None => Some(1.0),
        Some(SpeedFile::Times(times)) => {
            within("speed", *times, 0.001, 1e9)?;
            Some(*times)
        }
        Some(SpeedFile::Word(word)) if word == "max" => None,
        Some(SpeedFile::Word(word)) => {
            let problem =
                format!("is \"{word}\": must be a number of times faster, such as 1000, or \"max\"");
            return Err(field("speed", problem));
        }
    };
    Ok(Load::Trace(TraceLoad { file: base.join(path), speed }))
}

pub(super) fn within<T: Copy + PartialOrd + Display>(
    name: &str,
    value: T,
    low: T,
    high: T,
) -> Result<(), ScenarioError> {
    if value >= low && value <= high {
        return Ok(());
    }
    Err(field(name, format!("is {value}: must be from {low} to {high}")))
}

pub(super) fn length(
    name: &str,
    value: Duration,
    low: Duration,
    high: Duration,
) -> Result<(), ScenarioError> {
    if (low..=high).contains(&value) {
        return Ok(());
    }
    Err(field(name, format!("is {value:?}: must be from {low:?} to {high:?}")))
}

pub(super) fn field(name: impl Into<String>, problem: impl Into<String>) -> ScenarioError {
    ScenarioError::Field { field: name.into(), problem: problem.into() }
}
