//! Events as JSON: the same for the API, the console and `banyan log cat`. Coupons here, the other capabilities beside.

mod legacy;
mod order;
mod pay;
mod saga;
mod stock;

use crate::clock::rfc3339;
use crate::coupon_name;
use crate::wire::CampaignJson;
use banyan_domain::coupon::{self, EndCause, ReleaseCause};
use banyan_domain::{CampaignNo, Entry, Event, Timestamp};
use serde_json::{Map, Value, json};

/// One event as a JSON object: `seq`, `time`, `type`, and what the type has. Never a code, never the store's secret.
///
/// `campaign_id` gives the public id of a campaign's number.
#[must_use]
pub fn event_json(
    seq: u64,
    time: Timestamp,
    entry: &Entry,
    campaign_id: &dyn Fn(CampaignNo) -> String,
) -> Map<String, Value> {
    let mut object = Map::new();
    let mut put = |name: &str, value: Value| {
        object.insert(name.into(), value);
    };
    put("seq", seq.into());
    put("time", rfc3339(time).into());
    put("type", event_type(&entry.event).into());
    let event = match &entry.event {
        Event::Coupon(event) => event,
        Event::StateDigested { high, low } => {
            put("digest", format!("{high:016x}{low:016x}").into());
            return object;
        }
        Event::KeyKept { answer } => {
            if let Some(no) = answer.campaign() {
                let campaign = campaign_id(no);
                put("campaign", campaign.as_str().into());
                if let Some(coupon) = answer.coupon() {
                    put("coupon", coupon_name(&campaign, coupon).into());
                }
            }
            return object;
        }
        Event::StoreCreated { .. } => return object,
        Event::Stock(event) => {
            object.extend(stock::details(event));
            return object;
        }
        Event::Pay(event) => {
            object.extend(pay::details(event));
            return object;
        }
        Event::Saga(event) => {
            object.extend(saga::details(event));
            return object;
        }
        Event::Order(event) => {
            object.extend(order::details(event));
            return object;
        }
        Event::Legacy(event) => {
            object.extend(legacy::details(event));
            return object;
        }
    };
    let campaign = match event {
        coupon::Event::CampaignCreated { definition, .. } => definition.id.to_string(),
        other => campaign_id(other.campaign()),
    };
    put("campaign", campaign.as_str().into());
    for (name, value) in details(event, &campaign) {
        put(name, value);
    }
    object
}

/// The type of an event, in the words of the API.
#[must_use]
pub const fn event_type(event: &Event) -> &'static str {
    match event {
        Event::StoreCreated { .. } => "store-created",
        Event::StateDigested { .. } => "state-digested",
        Event::KeyKept { .. } => "key-kept",
        Event::Stock(event) => stock::event_type(event),
        Event::Pay(event) => pay::event_type(event),
        Event::Saga(event) => saga::event_type(event),
        Event::Order(event) => order::event_type(event),
        Event::Legacy(event) => legacy::event_type(event),
        Event::Coupon(event) => match event {
            coupon::Event::CampaignCreated { .. } => "campaign-created",
            coupon::Event::CampaignPaused { .. } => "campaign-paused",
            coupon::Event::CampaignResumed { .. } => "campaign-resumed",
            coupon::Event::CampaignExtended { .. } => "campaign-extended",
            coupon::Event::CampaignQuantityChanged { .. } => "campaign-quantity-changed",
            coupon::Event::CampaignEnded { .. } => "campaign-ended",
            coupon::Event::CampaignRetired { .. } => "campaign-retired",
            coupon::Event::AllowListExtended { .. } => "allow-list-extended",
            coupon::Event::CouponIssued { .. } => "coupon-issued",
            coupon::Event::CouponHeld { .. } => "coupon-held",
            coupon::Event::CouponRedeemed { .. } => "coupon-redeemed",
            coupon::Event::CouponReleased { .. } => "coupon-released",
            coupon::Event::CouponRevoked { .. } => "coupon-revoked",
            coupon::Event::CouponsExpired { .. } => "coupons-expired",
        },
    }
}

/// The fields of a value that was made with braces.
fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(object) => object,
        other => unreachable!("{other} is no object"),
    }
}

/// What the type has beside its campaign.
fn details(event: &coupon::Event, campaign: &str) -> Vec<(&'static str, Value)> {
    let name = |coupon| ("coupon", Value::from(coupon_name(campaign, coupon)));
    let who = |by: &banyan_domain::Actor, reason: &banyan_domain::Reason| {
        vec![("by", Value::from(by.as_str())), ("reason", Value::from(reason.as_str()))]
    };
    match event {
        coupon::Event::CampaignCreated { definition, by, .. } => {
            let definition = serde_json::to_value(CampaignJson::from(&**definition)).unwrap_or_default();
            vec![("definition", definition), ("by", by.as_str().into())]
        }
        coupon::Event::CampaignPaused { by, reason, .. }
        | coupon::Event::CampaignResumed { by, reason, .. } => who(by, reason),
        coupon::Event::CampaignExtended { ends_at, by, reason, .. } => {
            let mut details = who(by, reason);
            details.push(("ends_at", rfc3339(*ends_at).into()));
            details
        }
        coupon::Event::CampaignQuantityChanged { quantity, by, reason, .. } => {
            let mut details = who(by, reason);
            details.push(("quantity", (*quantity).into()));
            details
        }
        coupon::Event::CampaignEnded { cause: EndCause::Window, .. } => vec![("cause", "window".into())],
        coupon::Event::CampaignEnded { cause: EndCause::Operator { by, reason }, .. } => {
            let mut details = who(by, reason);
            details.push(("cause", "operator".into()));
            details
        }
        coupon::Event::CampaignRetired { .. } => Vec::new(),
        coupon::Event::AllowListExtended { members, .. } => vec![("added", members.len().into())],
        coupon::Event::CouponIssued { coupon, member } => {
            vec![name(*coupon), ("member", member.as_str().into())]
        }
        coupon::Event::CouponHeld { coupon, order, until, holder } => vec![
            name(*coupon),
            ("order", order.as_str().into()),
            ("held_until", rfc3339(*until).into()),
            ("holder", holder.as_str().into()),
        ],
        coupon::Event::CouponRedeemed { coupon, order } => {
            vec![name(*coupon), ("order", order.as_str().into())]
        }
        coupon::Event::CouponReleased { coupon, cause, expired } => {
            let cause = match cause {
                ReleaseCause::Asked => "asked",
                ReleaseCause::Deadline => "deadline",
                ReleaseCause::Restored => "restored",
            };
            vec![name(*coupon), ("cause", cause.into()), ("expired", (*expired).into())]
        }
        coupon::Event::CouponRevoked { coupon, by, reason } => {
            let mut details = who(by, reason);
            details.push(name(*coupon));
            details
        }
        coupon::Event::CouponsExpired { first, last, .. } => {
            vec![("first", json!(first)), ("last", json!(last))]
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use banyan_domain::{CouponId, KeyStamp, Remembered};

    #[test]
    fn a_kept_key_says_what_it_is_about_and_not_the_key() {
        let coupon = CouponId::new(CampaignNo::new(3), 17);
        let (state, held_until) = (coupon::CouponState::Issued, Timestamp::default());
        let json = |answer| {
            let stamp = Some(KeyStamp { high: 1, low: 2, request: 3 });
            let entry = Entry { event: Event::KeyKept { answer }, stamp };
            Value::from(event_json(9, Timestamp::from_millis(0), &entry, &|_| "noon".into()))
        };
        let time = "1970-01-01T00:00:00Z";
        assert_eq!(
            json(Remembered::Changed { coupon, state, held_until }),
            json!({ "seq": 9, "time": time, "type": "key-kept", "campaign": "noon", "coupon": coupon_name("noon", coupon) })
        );
        assert_eq!(
            json(Remembered::Campaign(CampaignNo::new(3))),
            json!({ "seq": 9, "time": time, "type": "key-kept", "campaign": "noon" })
        );
    }
}
