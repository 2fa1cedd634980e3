//! The rules of a route as they are written, made ready to be followed. Checked when a table is checked, so that what is
//! in a table always compiles.

use crate::canary::{Canary, KeyBy, KeyMissing, Ramp, RampStep, Share, Sticky};
use crate::config::{CanarySpec, EvidenceSpec, Mode, Network, RouteSpec, ShadowSpec};
use crate::diff::{self, head::HeadRules, json::JsonRules, text::TextRules};
use crate::evidence::{EvidenceRules, Position};
use crate::shadow::Proof;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Semaphore;

/// Most copies of a route under way at once, whatever is configured.
const AT_ONCE_MAX: usize = 1_024;

/// Everything that decides and compares on one route.
#[derive(Clone, Debug, Default)]
pub(crate) struct Rules {
    /// In mode `canary`: who goes to Banyan.
    pub canary: Option<Arc<Canary>>,
    /// What is copied.
    pub shadow: Option<Arc<ShadowRules>>,
    /// What must hold.
    pub evidence: Option<Arc<EvidenceRules>>,
}

/// What is copied and how it is compared.
#[derive(Debug)]
pub(crate) struct ShadowRules {
    /// Share of requests that are copied.
    pub share: Share,
    /// Share of compared requests for which the old shop is asked again.
    pub noise: Share,
    /// Writes are copied: Banyan's side declares that it only pretends.
    pub dry_run: bool,
    /// Whether that was seen to be true: see `shadow/proof.rs`.
    pub proof: Proof,
    /// Copies that may wait.
    pub queue: usize,
    /// Room for copies under way at once.
    pub room: Semaphore,
    /// For a copy, from the first byte sent to the last byte got.
    pub whole: Duration,
    /// Longest request body that is copied.
    pub body_bytes_max: usize,
    /// Longest answer body that is compared.
    pub answer_bytes_max: usize,
    /// How answers are compared.
    pub compare: diff::Rules,
}

impl Rules {
    /// Compiles the rules of a route. `sticky_key` signs overrides.
    ///
    /// # Errors
    /// The field, what is wrong and what to do.
    pub(crate) fn new(spec: &RouteSpec, sticky_key: Option<[u8; 32]>) -> Result<Self, String> {
        let canary = spec.canary.as_ref().map(|canary| compile_canary(&spec.name, canary, sticky_key));
        let shadow = spec.shadow.as_ref().map(compile_shadow);
        let evidence = spec.evidence.as_ref().map(|evidence| {
            if spec.shadow.is_none() {
                return Err(
                    "evidence: without shadow = {} nothing is compared, and nothing can be proven: add it"
                        .to_owned(),
                );
            }
            compile_evidence(evidence)
        });
        Ok(Self {
            canary: canary.transpose()?.map(Arc::new),
            shadow: shadow.transpose()?.map(Arc::new),
            evidence: evidence.transpose()?.map(Arc::new),
        })
    }

    /// Takes what is known about the side that is copied to.
    pub(crate) fn set_proof(&mut self, proof: Proof) {
        // They were made a moment ago, and nobody else has them.
        if let Some(shadow) = self.shadow.as_mut().and_then(Arc::get_mut) {
            shadow.proof = proof;
        }
    }

    /// What is known about the side that is copied to.
    pub(crate) fn proof(&self) -> Option<&Proof> {
        self.shadow.as_ref().map(|shadow| &shadow.proof)
    }

    /// Where the route stands at a time.
    pub(crate) fn position(&self, mode: Mode, now: u64) -> Position {
        let share = match (mode, &self.canary) {
            (Mode::Banyan, _) => Share::ALL,
            (Mode::Canary, Some(canary)) => canary.ramp.share(now),
            _ => Share::NONE,
        };
        Position { mode, share }
    }
}

fn compile_canary(route: &str, spec: &CanarySpec, key: Option<[u8; 32]>) -> Result<Canary, String> {
    let share =
        |field: &str, percent| Share::from_percent(percent).map_err(|why| format!("canary.{field}: {why}"));
    let steps = spec.ramp.iter().map(|step| {
        Ok(RampStep { at: millis("canary.ramp.at", &step.at)?, share: share("ramp.percent", step.percent)? })
    });
    let steps = steps.collect::<Result<Vec<_>, String>>()?;
    let paused = spec.paused_at.as_deref().map(|at| millis("canary.paused_at", at)).transpose()?;
    let ramp =
        Ramp::new(share("percent", spec.percent)?, steps).map_err(|why| format!("canary.ramp: {why}"))?;
    let header = spec.override_header.as_deref().map(|name| {
        name.parse().map_err(|_| format!("canary.override_header: {name:?} is no name of a header"))
    });
    let from = spec.override_from.iter().map(|text| {
        Network::parse(text).ok_or_else(|| {
            format!("canary.override_from: {text:?} is no network: write one such as \"10.0.0.0/8\"")
        })
    });
    Ok(Canary {
        route: route.to_owned(),
        salt: spec.salt.clone().unwrap_or_else(|| route.to_owned()),
        by: KeyBy::parse(&spec.by).map_err(|why| format!("canary.by: {why}"))?,
        missing: spec.missing,
        ramp: ramp.paused(paused),
        sticky: Sticky {
            header: header.transpose()?,
            cookie: spec.override_cookie.clone(),
            key,
            from: from.collect::<Result<_, String>>()?,
        },
    })
}

fn compile_shadow(spec: &ShadowSpec) -> Result<ShadowRules, String> {
    let share =
        |field: &str, percent| Share::from_percent(percent).map_err(|why| format!("shadow.{field}: {why}"));
    let least = |field: &str, value: u64| {
        if value == 0 { Err(format!("shadow.{field}: at least 1, or nothing is copied")) } else { Ok(value) }
    };
    let size = |field: &str, value: usize| least(field, value as u64).map(|_| value);
    let lower = |names: &[String]| names.iter().map(|name| name.to_ascii_lowercase()).collect();
    let mut text = TextRules::default();
    text.masks.extend(spec.mask.iter().cloned());
    Ok(ShadowRules {
        share: share("percent", spec.percent)?,
        noise: share("noise_percent", spec.noise_percent)?,
        dry_run: spec.dry_run,
        proof: Proof::default(),
        queue: size("queue", spec.queue)?,
        room: Semaphore::new(size("at_once", spec.at_once)?.min(AT_ONCE_MAX)),
        whole: Duration::from_millis(least("whole_millis", spec.whole_millis)?),
        body_bytes_max: spec.body_bytes_max,
        answer_bytes_max: size("answer_bytes_max", spec.answer_bytes_max)?,
        compare: diff::Rules {
            json: JsonRules::new(&spec.arrays_by_key, &spec.ignore)
                .map_err(|why| format!("shadow: {why}"))?,
            text,
            head: HeadRules { ignore: lower(&spec.ignore_headers), compare: lower(&spec.compare_headers) },
        },
    })
}

fn compile_evidence(spec: &EvidenceSpec) -> Result<EvidenceRules, String> {
    let steps = spec.steps.iter().map(|percent| Share::from_percent(*percent));
    let steps = steps.collect::<Result<Vec<_>, _>>().map_err(|why| format!("evidence.steps: {why}"))?;
    if steps.first() == Some(&Share::NONE) || !steps.is_sorted_by(|one, next| one < next) {
        return Err("evidence.steps: shares above 0 that grow, such as [1, 10, 50, 100]".to_owned());
    }
    if spec.p99_ratio_max.is_some_and(|ratio| !(ratio > 0.0 && ratio.is_finite())) {
        return Err("evidence.p99_ratio_max: a ratio above 0, such as 1.5".to_owned());
    }
    Ok(EvidenceRules {
        requests: spec.requests,
        mismatch_max: spec.mismatch_max,
        error_max: spec.error_max,
        p99_ratio_max: spec.p99_ratio_max,
        confidence: spec.confidence,
        steps,
        hold_millis: spec.hold_seconds.saturating_mul(1_000),
        window_millis: spec.window_seconds.max(1).saturating_mul(1_000),
    })
}

fn millis(field: &str, text: &str) -> Result<u64, String> {
    let time: jiff::Timestamp = text
        .parse()
        .map_err(|_| format!("{field}: {text:?} is no time: write one such as 2026-11-24T09:00:00Z"))?;
    u64::try_from(time.as_millisecond()).map_err(|_| format!("{field}: {text:?} is before 1970"))
}

/// Not a default of serde's: used as one by `CanarySpec`.
impl KeyMissing {
    pub(crate) fn is_default(&self) -> bool {
        *self == Self::default()
    }
}
