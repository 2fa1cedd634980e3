//! The scenario file exactly as it is written. Only shapes are checked here; ranges are checked in `check.rs`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::span::Span;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ScenarioFile {
    pub(crate) name: Option<String>,
    #[serde(default)]
    pub(crate) kind: Kind,
    pub(crate) url: Option<String>,
    pub(crate) key: Option<String>,
    pub(crate) key_file: Option<String>,
    #[serde(default = "one")]
    pub(crate) seed: u64,
    #[serde(default)]
    pub(crate) arrivals: ArrivalsFile,
    #[serde(default = "connections_max")]
    pub(crate) connections_max: usize,
    #[serde(default = "max_outstanding")]
    pub(crate) max_outstanding: usize,
    #[serde(default = "ten_seconds")]
    pub(crate) timeout: Span,
    #[serde(default = "ten_seconds")]
    pub(crate) drain: Span,
    #[serde(default)]
    pub(crate) retry_unknown: bool,
    #[serde(default)]
    pub(crate) idempotency_key: KeyUseFile,
    #[serde(default)]
    pub(crate) phases: Vec<PhaseFile>,
    pub(crate) spike: Option<SpikeFile>,
    pub(crate) members: Option<MembersFile>,
    pub(crate) behaviours: Option<BehavioursFile>,
    pub(crate) redeem: Option<RedeemFile>,
    pub(crate) shop: Option<ShopFile>,
    pub(crate) company: Option<CompanyFile>,
    #[serde(default)]
    pub(crate) goals: GoalsFile,
    #[serde(default)]
    pub(crate) campaigns: Vec<CampaignFile>,
    #[serde(default)]
    pub(crate) aim: Vec<AimFile>,
    pub(crate) file: Option<String>,
    pub(crate) speed: Option<SpeedFile>,
}

#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Kind {
    #[default]
    Schedule,
    Trace,
}

#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum ArrivalsFile {
    #[default]
    Poisson,
    Even,
}

#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum KeyUseFile {
    #[default]
    None,
    PerRequest,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct PhaseFile {
    pub(crate) name: String,
    #[serde(rename = "for")]
    pub(crate) length: Span,
    pub(crate) rate: Option<f64>,
    pub(crate) from: Option<f64>,
    pub(crate) to: Option<f64>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct SpikeFile {
    pub(crate) at: Span,
    pub(crate) rate: f64,
    #[serde(rename = "for")]
    pub(crate) length: Span,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct MembersFile {
    pub(crate) count: u64,
    #[serde(default = "member_prefix")]
    pub(crate) prefix: String,
    #[serde(default)]
    pub(crate) choice: ChoiceFile,
}

#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum ChoiceFile {
    Sequential,
    #[default]
    Shuffled,
    Random,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct BehavioursFile {
    pub(crate) fresh: Option<FreshFile>,
    pub(crate) repeat_clickers: Option<RepeatFile>,
    pub(crate) bots: Option<BotsFile>,
    pub(crate) wrong_keys: Option<FreshFile>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct FreshFile {
    pub(crate) share: f64,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RepeatFile {
    pub(crate) share: f64,
    #[serde(default = "presses_max")]
    pub(crate) presses_max: u64,
    #[serde(default = "two_seconds")]
    pub(crate) within: Span,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct BotsFile {
    pub(crate) share: f64,
    #[serde(default = "bot_members")]
    pub(crate) members: u64,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RedeemFile {
    pub(crate) share: f64,
    #[serde(default = "two_seconds")]
    pub(crate) after: Span,
    pub(crate) spread: Option<Span>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ShopFile {
    pub(crate) products: u32,
    pub(crate) stock: u32,
    #[serde(default)]
    pub(crate) hot: f64,
    #[serde(default = "currency")]
    pub(crate) currency: String,
    #[serde(default)]
    pub(crate) points_each: u32,
    #[serde(default)]
    pub(crate) claims: f64,
    #[serde(default)]
    pub(crate) uses_points: f64,
    #[serde(default)]
    pub(crate) gives_up: f64,
    #[serde(default)]
    pub(crate) declined: f64,
    #[serde(default)]
    pub(crate) leaves_at_page: f64,
    #[serde(default)]
    pub(crate) double_clicks: f64,
    #[serde(default)]
    pub(crate) orders_again: f64,
    #[serde(default)]
    pub(crate) cancels: f64,
    #[serde(default)]
    pub(crate) returns: f64,
    #[serde(default = "half_a_second")]
    pub(crate) think: Span,
    #[serde(default = "a_minute")]
    pub(crate) patience: Span,
}

/// The simulated payment company, and what is to go wrong there.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct CompanyFile {
    pub(crate) url: String,
    pub(crate) admin_key_file: Option<String>,
    #[serde(default)]
    pub(crate) faults: BTreeMap<String, f64>,
    pub(crate) hang: Option<Span>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct GoalsFile {
    pub(crate) issue_p99: Option<Span>,
    pub(crate) redeem_p99: Option<Span>,
    pub(crate) place_p99: Option<Span>,
    pub(crate) unknown_max: Option<u64>,
}

/// A campaign as in a campaign file. The server judges the meaning of its fields; we only pass them on.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct CampaignFile {
    pub(crate) id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) name: Option<String>,
    pub(crate) quantity: serde_json::Value,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) per_member: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) benefit: Option<serde_json::Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) minimum_order: Option<serde_json::Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) starts_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) ends_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) audience: Option<serde_json::Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) valid_for_seconds: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) stacking: Option<String>,
    /// A text file of member ids, one a line, uploaded after the campaign exists. Not part of the request.
    #[serde(skip_serializing)]
    pub(crate) allow_list: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct AimFile {
    pub(crate) campaign: String,
    #[serde(default = "weight")]
    pub(crate) weight: f64,
}

#[derive(Debug, Deserialize)]
#[serde(untagged, expecting = "a number of times faster than recorded, such as 1000, or \"max\"")]
pub(crate) enum SpeedFile {
    Times(f64),
    Word(String),
}

fn one() -> u64 {
    1
}
fn connections_max() -> usize {
    256
}
fn max_outstanding() -> usize {
    100_000
}
fn ten_seconds() -> Span {
    Span(std::time::Duration::from_secs(10))
}
fn two_seconds() -> Span {
    Span(std::time::Duration::from_secs(2))
}
fn half_a_second() -> Span {
    Span(std::time::Duration::from_millis(500))
}
fn a_minute() -> Span {
    Span(std::time::Duration::from_secs(60))
}
fn currency() -> String {
    "KRW".to_owned()
}
fn member_prefix() -> String {
    "member-".to_owned()
}
fn presses_max() -> u64 {
    4
}
fn bot_members() -> u64 {
    20
}
fn weight() -> f64 {
    1.0
}
