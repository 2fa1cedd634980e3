//! Is the sale healthy? One word, one shape, and the reasons, worst first.

use crate::format;
use crate::sampler::{Condition, Sample};
use crate::text::{self, Lang};
use banyan_views::ViewState;
use serde_json::{Value, json};
use std::time::Duration;

/// Queued commands from which the top line says so: a tenth of what the queue takes by default.
const QUEUE_LONG: u64 = 6_500;
/// Age of the record store, in milliseconds, from which the top line says so.
const LAG_LONG: f64 = 5_000.0;

/// How it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Level {
    /// Nothing to do.
    Well,
    /// Keep an eye on it.
    Watch,
    /// Somebody or something is being harmed.
    Harm,
}

/// The top line, in words.
pub(crate) struct Vitals {
    pub(crate) word: String,
    pub(crate) why: String,
    pub(crate) issued: String,
    pub(crate) p99: String,
    pub(crate) queue: String,
    pub(crate) lag: String,
    pub(crate) durability: String,
    pub(crate) sync: String,
}

impl Level {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Well => "well",
            Self::Watch => "watch",
            Self::Harm => "harm",
        }
    }
}

impl Vitals {
    pub(crate) fn to_json(&self, level: Level) -> Value {
        json!({
            "level": level.as_str(), "word": self.word, "why": self.why, "issued": self.issued, "p99": self.p99,
            "queue": self.queue, "lag": self.lag, "durability": self.durability, "sync": self.sync,
        })
    }
}

/// The top line for `sample`.
pub(crate) fn vitals(
    lang: Lang,
    sample: &Sample,
    condition: &Condition,
    p99_limit: Duration,
) -> (Level, Vitals) {
    let reasons = reasons(lang, sample, condition, p99_limit.as_secs_f64() * 1e3);
    let level = reasons.iter().map(|(level, _)| *level).max().unwrap_or(Level::Well);
    let worst: Vec<_> = reasons.into_iter().filter(|(at, _)| *at == level).map(|(_, why)| why).collect();
    let why = match worst.as_slice() {
        [] if condition.quiet => lang.t(text::QUIET).into(),
        [] => lang.t(text::ANSWERS_DURABLE).into(),
        worst => worst.join(" "),
    };
    let word = match level {
        Level::Well => text::WELL,
        Level::Watch => text::WATCH,
        Level::Harm => text::HARM,
    };
    let maybe = |ms: Option<f64>| ms.map_or_else(|| "–".into(), format::millis);
    let durability = condition.health.as_ref().map_or("–", |health| health.durability.name());
    let vitals = Vitals {
        word: lang.t(word).into(),
        why,
        issued: format::rate(sample.issued),
        p99: maybe(sample.p99),
        queue: format::number(sample.queue),
        lag: format::millis(sample.lag),
        durability: durability.into(),
        sync: sample.sync50.map(|ms| lang.f(text::IN, &[&format::millis(ms)])).unwrap_or_default(),
    };
    (level, vitals)
}

fn reasons(lang: Lang, sample: &Sample, condition: &Condition, p99_limit: f64) -> Vec<(Level, String)> {
    let mut reasons = Vec::new();
    let mut say = |when: bool, level: Level, text: text::Text, values: &[&str]| {
        if when {
            reasons.push((level, lang.f(text, values)));
        }
    };
    let health = condition.health.as_ref();
    say(condition.alarm, Level::Harm, text::WHY_ALARM, &[]);
    say(health.is_some_and(|h| h.poisoned.is_some()), Level::Harm, text::WHY_POISONED, &[]);
    say(condition.storage_is_full, Level::Harm, text::WHY_STORAGE_FULL, &[]);
    say(condition.view == Some(ViewState::Failed), Level::Harm, text::WHY_VIEW_FAILED, &[]);
    let busy = sample.refused[4];
    say(busy > 0.0 && !condition.storage_is_full, Level::Harm, text::WHY_BUSY, &[&format::rate(busy)]);
    let p99 = sample.p99.unwrap_or(0.0);
    let words = [format::millis(p99), format::millis(p99_limit)];
    say(p99 > p99_limit, Level::Watch, text::WHY_P99, &[&words[0], &words[1]]);
    say(sample.queue >= QUEUE_LONG, Level::Watch, text::WHY_QUEUE, &[&format::number(sample.queue)]);
    say(sample.lag >= LAG_LONG, Level::Watch, text::WHY_LAG, &[&format::millis(sample.lag)]);
    say(condition.view == Some(ViewState::Retrying), Level::Watch, text::WHY_VIEW_RETRYING, &[]);
    say(condition.view == Some(ViewState::Rebuilding), Level::Watch, text::WHY_VIEW_REBUILDING, &[]);
    say(condition.parked > 0, Level::Watch, text::WHY_PARKED, &[&format::number(condition.parked)]);
    let parked = format::number(condition.parked_sagas);
    say(condition.parked_sagas > 0, Level::Watch, text::WHY_PARKED_SAGAS, &[&parked]);
    say(health.is_some_and(|h| h.spare_problem.is_some()), Level::Watch, text::WHY_SPARE, &[]);
    reasons
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(sample: &Sample, condition: &Condition, level: Level, word: &str) {
        let (found, vitals) = vitals(Lang::En, sample, condition, Duration::from_millis(100));
        assert_eq!(found, level, "{}", vitals.why);
        assert!(vitals.why.contains(word), "{} does not say {word}", vitals.why);
    }

    #[test]
    fn the_worst_decides_and_says_why() {
        let (calm, fine) = (Sample::default(), Condition::default());
        check(&calm, &fine, Level::Well, "durable");
        check(&calm, &Condition { quiet: true, ..fine.clone() }, Level::Well, "Nothing");
        let slow = Sample { p99: Some(250.0), ..calm.clone() };
        check(&slow, &fine, Level::Watch, "250 ms");
        check(&slow, &Condition { storage_is_full: true, ..fine.clone() }, Level::Harm, "full");
        check(&calm, &Condition { parked_sagas: 3, ..fine.clone() }, Level::Watch, "Parked");
        check(&slow, &Condition { alarm: true, ..fine.clone() }, Level::Harm, "banyan verify");
        check(&Sample { lag: 6_000.0, ..calm.clone() }, &fine, Level::Watch, "6.0 s");
        check(&Sample { refused: [0.0, 0.0, 0.0, 0.0, 3.0, 0.0], ..calm }, &fine, Level::Harm, "3.0");
    }
}
