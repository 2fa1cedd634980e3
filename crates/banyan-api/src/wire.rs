//! JSON as callers see it, and its translation into checked types. Nothing else derives `Serialize`.

pub mod stock;

use crate::auth::Principal;
use crate::clock;
use crate::problem::Problem;
use banyan_domain::coupon::{
    Audience, Benefit, CampaignDefinition, CampaignState, CouponAnswer, CouponCode, Stacking,
};
use banyan_domain::{CampaignId, Currency, Millis, Money, SegmentName, Timestamp};
use banyan_engine::CampaignSummary;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// An amount of money.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct MoneyJson {
    /// Whole minor units: won for KRW, cents for USD.
    #[schema(example = 5000)]
    pub minor: i64,
    /// ISO 4217 code.
    #[schema(example = "KRW")]
    pub currency: String,
}

/// What a coupon is worth: exactly one of the three.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum BenefitJson {
    /// A fixed amount off.
    Amount(MoneyJson),
    /// A share off.
    Percent(PercentJson),
    /// No charge for shipping.
    FreeShipping(NothingJson),
}

/// A share off, with a cap.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PercentJson {
    /// Hundredths of a percent: 1500 is 15 %.
    #[schema(example = 1500)]
    pub basis_points: u16,
    /// The most it takes off.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cap: Option<MoneyJson>,
}

/// An empty object.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NothingJson {}

/// A number of coupons, or `"unlimited"`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(untagged)]
pub enum QuantityJson {
    /// So many.
    Limited(u64),
    /// `"unlimited"`.
    Word(String),
}

/// Who may have a coupon: `"everyone"`, `"allow_list"` or `{"segment": "gold"}`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum AudienceJson {
    /// Every member.
    #[default]
    Everyone,
    /// Members on the uploaded list.
    AllowList,
    /// Members for whom the caller vouches that they are in this segment.
    Segment(String),
}

/// Whether it may be used together with others.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum StackingJson {
    /// Alone only.
    #[default]
    Exclusive,
    /// Together with other stackable coupons.
    Stackable,
}

/// A campaign to create.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CampaignJson {
    /// Its id: 1 to 48 of a-z, 0-9 and -.
    #[schema(example = "noon")]
    pub id: String,
    /// Its name.
    #[schema(example = "Noon sale")]
    pub name: String,
    /// How many coupons.
    #[schema(example = 300_000)]
    pub quantity: QuantityJson,
    /// Coupons per member.
    #[serde(default = "one")]
    pub per_member: u16,
    /// What each is worth.
    pub benefit: BenefitJson,
    /// The order total from which it may be used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub minimum_order: Option<MoneyJson>,
    /// When issuing opens, RFC 3339; absent means now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub starts_at: Option<String>,
    /// When issuing closes, RFC 3339; absent means never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ends_at: Option<String>,
    /// Who may have one.
    #[serde(default)]
    pub audience: AudienceJson,
    /// How long each coupon lives after issue; absent means for ever.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub valid_for_seconds: Option<u64>,
    /// Whether it may be used together with others.
    #[serde(default)]
    pub stacking: StackingJson,
}

fn one() -> u16 {
    1
}

/// A campaign and what has become of it.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct CampaignAnswerJson {
    /// The definition, with its quantity and end as changed since.
    #[serde(flatten)]
    pub definition: CampaignJson,
    /// `scheduled`, `open`, `paused` or `ended`.
    pub state: &'static str,
    /// Coupons ever issued.
    pub issued: u64,
    /// Coupons left; null if unlimited.
    pub left: Option<u64>,
    /// What became of them. Not told to a shopper's token.
    #[serde(flatten)]
    pub counts: Option<CampaignCountsJson>,
    /// Log position as of which these numbers hold.
    pub seq: u64,
}

/// What became of a campaign's coupons: the shop's own figures.
#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
pub struct CampaignCountsJson {
    /// Held for an order now.
    pub held: u64,
    /// Redeemed.
    pub redeemed: u64,
    /// Revoked.
    pub revoked: u64,
    /// Expired.
    pub expired: u64,
    /// Members on the allow-list.
    pub allowed: u64,
}

/// A page of campaigns.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct CampaignsJson {
    /// Newest first.
    pub campaigns: Vec<CampaignAnswerJson>,
    /// Pass it as `after` to read on; null at the end.
    pub next: Option<u32>,
    /// Log position as of which these numbers hold.
    pub seq: u64,
}

/// Changes to a campaign: all of them or none.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CampaignChangeJson {
    /// `paused`, `open` or `ended`.
    pub state: Option<String>,
    /// A new end, RFC 3339.
    pub ends_at: Option<String>,
    /// A new quantity, never below what is issued.
    pub quantity: Option<u64>,
    /// Why, for the record.
    #[serde(default)]
    pub reason: String,
}

/// Whom to issue a coupon to.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct IssueJson {
    /// The member: 1 to 64 visible ASCII characters.
    #[schema(example = "member-1")]
    pub member: String,
    /// Segments the member is in; only a service or operator key may vouch for them.
    #[serde(default)]
    pub segments: Vec<String>,
}

/// Whom to issue coupons to.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct IssueBatchJson {
    /// 1 to 8192 members.
    pub members: Vec<String>,
    /// Segments all of them are in.
    #[serde(default)]
    pub segments: Vec<String>,
}

/// An issued coupon.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct IssuedJson<'a> {
    /// Its public name.
    #[schema(example = "noon-17")]
    pub coupon: String,
    /// Its secret code.
    #[schema(example = "7K2M-Q9XR-4TBHC")]
    pub code: &'a str,
    /// Its campaign.
    pub campaign: &'a str,
    /// Its member.
    pub member: &'a str,
    /// When it was issued.
    pub issued_at: String,
    /// When it expires, if ever.
    pub expires_at: Option<String>,
    /// Its log position: pass it as `at_least` to read what you wrote.
    pub seq: u64,
}

/// One answer of a batch.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(untagged)]
pub enum BatchAnswerJson<'a> {
    /// A coupon, new (201) or given again (200).
    Issued {
        /// 201 or 200.
        status: u16,
        /// The coupon.
        #[serde(flatten)]
        coupon: IssuedJson<'a>,
    },
    /// A refusal.
    Refused {
        /// The status a single request would have had.
        status: u16,
        /// The problem's type.
        r#type: String,
        /// The member.
        member: &'a str,
    },
}

/// The answers of a batch, in the order of its members.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct BatchJson<'a> {
    /// The highest log position of the answers.
    pub seq: u64,
    /// One answer per member.
    pub answers: Vec<BatchAnswerJson<'a>>,
}

/// For which order, and for how long, to hold a coupon.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct HoldJson {
    /// The order.
    #[schema(example = "order-1")]
    pub order: String,
    /// Seconds until the hold lapses; at most seven days. Default 900.
    #[serde(default = "quarter_of_an_hour")]
    pub for_seconds: u64,
}

fn quarter_of_an_hour() -> u64 {
    900
}

/// By which order.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct OrderJson {
    /// The order.
    #[schema(example = "order-1")]
    pub order: String,
}

/// Why.
#[derive(Clone, Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ReasonJson {
    /// Why, for the record.
    #[serde(default)]
    pub reason: String,
}

/// A coupon and its state.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct CouponJson {
    /// Its public name.
    pub coupon: String,
    /// Its secret code.
    pub code: String,
    /// Its campaign.
    pub campaign: String,
    /// Its member.
    pub member: String,
    /// `issued`, `held`, `redeemed`, `revoked` or `expired`.
    pub state: &'static str,
    /// When it was issued.
    pub issued_at: String,
    /// When it expires, if ever.
    pub expires_at: Option<String>,
    /// The order that holds or redeemed it.
    pub order: Option<String>,
    /// When its hold lapses.
    pub held_until: Option<String>,
    /// The log position of the answer.
    pub seq: u64,
}

/// A page of a member's coupons.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct MemberCouponsJson {
    /// Oldest first.
    pub coupons: Vec<CouponJson>,
    /// Pass it as `cursor` for the next page; null at the end.
    pub next: Option<String>,
    /// Log position as of which the page holds.
    pub seq: u64,
}

/// What an upload to an allow-list came to.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct AllowListJson {
    /// Members added.
    pub added: u64,
    /// Members of the upload who were on it already, or stood in it twice.
    pub already: u64,
    /// Members on it now.
    pub total: u64,
    /// Log position of the last addition.
    pub seq: u64,
}

/// How far the record store is, and its latest rebuild.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct RecordViewJson {
    /// `record`.
    pub view: &'static str,
    /// `running`, `rebuilding` (and following the log all the same), `retrying`, `failed` or `stopped`.
    pub state: &'static str,
    /// Why it is retrying or failed, and what to do.
    pub problem: Option<String>,
    /// Log position up to which it can be read.
    pub seq: u64,
    /// Log position of the last durable event.
    pub head: u64,
    /// Events in its parked lane.
    pub parked_events: u64,
    /// The latest rebuild since the server started; null if there was none.
    pub rebuild: Option<RebuildJson>,
}

/// A rebuild of the record store.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct RebuildJson {
    /// `running`, `done` or `failed`.
    pub state: &'static str,
    /// Why it failed; the file from before is in use then.
    pub problem: Option<String>,
    /// When it was asked for.
    pub started_at: String,
    /// Log position up to which the new file has come.
    pub seq: u64,
    /// Log position it has to reach, which moves on while coupons are issued.
    pub head: u64,
    /// Coupons in the new file, once it is done.
    pub coupons: Option<u64>,
    /// Events in its parked lane, once it is done.
    pub parked_events: Option<u64>,
    /// How long it took, once it is done.
    pub took_seconds: Option<f64>,
}

impl MoneyJson {
    pub(crate) fn check(&self, field: &str) -> Result<Money, Problem> {
        let fault = |error: banyan_domain::InvalidMoney| Problem::invalid(format!("{field}: {error}."));
        Money::new(self.minor, Currency::new(&self.currency).map_err(fault)?).map_err(fault)
    }
}

impl From<&Money> for MoneyJson {
    fn from(money: &Money) -> Self {
        Self { minor: money.minor, currency: money.currency.to_string() }
    }
}

impl CampaignJson {
    /// Checks it, and every rule a definition has.
    ///
    /// # Errors
    /// A 400 [`Problem`] naming the field and its rule.
    pub fn check(&self) -> Result<CampaignDefinition, Problem> {
        let instant = |field: &str, text: &Option<String>| {
            let parsed = text.as_deref().map(clock::parse).transpose();
            parsed.map_err(|why| Problem::invalid(format!("{field}: {why}.")))
        };
        let quantity = match &self.quantity {
            QuantityJson::Limited(quantity) => Some(*quantity),
            QuantityJson::Word(word) if word == "unlimited" => None,
            QuantityJson::Word(_) => {
                return Err(Problem::invalid("quantity: must be a number, or \"unlimited\"."));
            }
        };
        let benefit = match &self.benefit {
            BenefitJson::Amount(amount) => Benefit::Amount(amount.check("benefit.amount")?),
            BenefitJson::Percent(PercentJson { basis_points, cap }) => Benefit::Percent {
                basis_points: *basis_points,
                cap: cap.as_ref().map(|cap| cap.check("benefit.percent.cap")).transpose()?,
            },
            BenefitJson::FreeShipping(_) => Benefit::FreeShipping,
        };
        let audience = match &self.audience {
            AudienceJson::Everyone => Audience::Everyone,
            AudienceJson::AllowList => Audience::AllowList,
            AudienceJson::Segment(segment) => Audience::Segment(
                SegmentName::new(segment.as_str())
                    .map_err(|error| Problem::invalid(format!("audience: {error}.")))?,
            ),
        };
        let definition = CampaignDefinition {
            id: CampaignId::new(self.id.as_str())
                .map_err(|error| Problem::invalid(format!("id: {error}.")))?,
            name: self.name.as_str().into(),
            quantity,
            per_member: self.per_member,
            benefit,
            minimum_order: self
                .minimum_order
                .as_ref()
                .map(|money| money.check("minimum_order"))
                .transpose()?,
            starts_at: instant("starts_at", &self.starts_at)?,
            ends_at: instant("ends_at", &self.ends_at)?,
            audience,
            valid_for: self.valid_for_seconds.map(Millis::from_seconds),
            stacking: match self.stacking {
                StackingJson::Exclusive => Stacking::Exclusive,
                StackingJson::Stackable => Stacking::Stackable,
            },
        };
        definition.check().map_err(|error| Problem::invalid(format!("{error}.")))?;
        Ok(definition)
    }
}

impl From<&CampaignDefinition> for CampaignJson {
    fn from(definition: &CampaignDefinition) -> Self {
        let money = |money: &Option<Money>| money.as_ref().map(MoneyJson::from);
        Self {
            id: definition.id.to_string(),
            name: definition.name.to_string(),
            quantity: definition
                .quantity
                .map_or_else(|| QuantityJson::Word("unlimited".into()), QuantityJson::Limited),
            per_member: definition.per_member,
            benefit: match &definition.benefit {
                Benefit::Amount(amount) => BenefitJson::Amount(amount.into()),
                Benefit::Percent { basis_points, cap } => {
                    BenefitJson::Percent(PercentJson { basis_points: *basis_points, cap: money(cap) })
                }
                Benefit::FreeShipping => BenefitJson::FreeShipping(NothingJson {}),
            },
            minimum_order: money(&definition.minimum_order),
            starts_at: definition.starts_at.map(clock::rfc3339),
            ends_at: definition.ends_at.map(clock::rfc3339),
            audience: match &definition.audience {
                Audience::Everyone => AudienceJson::Everyone,
                Audience::AllowList => AudienceJson::AllowList,
                Audience::Segment(segment) => AudienceJson::Segment(segment.to_string()),
            },
            valid_for_seconds: definition.valid_for.map(|span| span.get() / 1_000),
            stacking: match definition.stacking {
                Stacking::Exclusive => StackingJson::Exclusive,
                Stacking::Stackable => StackingJson::Stackable,
            },
        }
    }
}

impl CampaignAnswerJson {
    /// The campaign as of log position `seq`, at `now`.
    #[must_use]
    pub fn new(campaign: &CampaignSummary, now: Timestamp, seq: u64) -> Self {
        Self {
            definition: CampaignJson::from(&campaign.definition),
            state: match campaign.state_at(now) {
                CampaignState::Scheduled => "scheduled",
                CampaignState::Open => "open",
                CampaignState::Paused => "paused",
                CampaignState::Ended => "ended",
            },
            issued: campaign.totals.issued,
            left: campaign.left(),
            counts: Some(CampaignCountsJson {
                held: campaign.totals.held,
                redeemed: campaign.totals.redeemed,
                revoked: campaign.totals.revoked,
                expired: campaign.totals.expired,
                allowed: campaign.allowed,
            }),
            seq,
        }
    }

    /// The campaign as `principal` may see it.
    pub(crate) fn seen_by(mut self, principal: &Principal) -> Self {
        self.counts = self.counts.filter(|_| principal.member.is_none());
        self
    }
}

impl<'a> IssuedJson<'a> {
    /// The answer to an issue.
    pub(crate) fn new(
        campaign: &'a str,
        member: &'a str,
        code: &'a str,
        answer: &CouponAnswer,
        seq: u64,
    ) -> Self {
        Self {
            coupon: crate::coupon_name(campaign, answer.coupon),
            code,
            campaign,
            member,
            issued_at: clock::rfc3339(answer.issued_at),
            expires_at: answer.expires_at.map(clock::rfc3339),
            seq,
        }
    }
}

impl CouponJson {
    /// The answer to a change of a coupon.
    pub(crate) fn new(campaign: String, code: CouponCode, answer: CouponAnswer, seq: u64) -> Self {
        Self {
            coupon: crate::coupon_name(&campaign, answer.coupon),
            code: code.to_string(),
            campaign,
            member: answer.member.map(|member| member.to_string()).unwrap_or_default(),
            state: answer.state.as_str(),
            issued_at: clock::rfc3339(answer.issued_at),
            expires_at: answer.expires_at.map(clock::rfc3339),
            order: answer.order.map(|order| order.to_string()),
            held_until: answer.held_until.map(clock::rfc3339),
            seq,
        }
    }
}
