//! Events of sagas as JSON.

use crate::clock::rfc3339;
use banyan_domain::saga::{Ask, Cause, End, Event, Fields, Resume, Settlement};
use serde_json::{Map, Value, json};

/// The type of an event.
pub(super) const fn event_type(event: &Event) -> &'static str {
    match event {
        Event::Defined { .. } => "saga-defined",
        Event::Started { .. } => "saga-started",
        Event::Scheduled { .. } => "saga-step-scheduled",
        Event::Settled { .. } => "saga-step-settled",
        Event::Skipped { .. } => "saga-step-skipped",
        Event::TurnedBack { .. } => "saga-turned-back",
        Event::Parked { .. } => "saga-parked",
        Event::Resumed { .. } => "saga-resumed",
        Event::Ended { .. } => "saga-ended",
    }
}

/// What the event has. Steps are numbered from 0.
pub(super) fn details(event: &Event) -> Map<String, Value> {
    let saga = event.saga().map(banyan_domain::SagaNo::get);
    let mut object = super::object(match event {
        Event::Defined { definition, by } => {
            json!({"name": definition.name.as_str(), "version": definition.version, "by": by.as_str()})
        }
        Event::Started { definition, key, input, .. } => {
            json!({"definition": definition, "key": key.as_str(), "input": fields(input)})
        }
        Event::Scheduled { step, ask, attempt, .. } => {
            json!({"step": step, "ask": ask_word(*ask), "attempt": attempt})
        }
        Event::Settled { step, ask, attempt, result, .. } => {
            let mut value = json!({"step": step, "ask": ask_word(*ask), "attempt": attempt});
            let (word, rest) = settlement(result);
            value["result"] = word.into();
            value["detail"] = rest;
            value
        }
        Event::Skipped { step, .. } => json!({"step": step}),
        Event::TurnedBack { cause, .. } => match cause {
            Cause::Step(step, why) => json!({"cause": "step", "step": step, "why": why}),
            Cause::Cancelled(by, reason) => {
                json!({"cause": "cancelled", "by": by.as_str(), "reason": reason.as_str()})
            }
            Cause::TimedOut => json!({"cause": "timed-out"}),
            Cause::Forced => json!({"cause": "forced"}),
        },
        Event::Parked { step, why, .. } => json!({"step": step, "why": why}),
        Event::Resumed { how, by, reason, .. } => {
            let how = match how {
                Resume::Retry => "retry",
                Resume::Skip(_) => "skip",
                Resume::Undo => "undo",
            };
            json!({"how": how, "by": by.as_str(), "reason": reason.as_str()})
        }
        Event::Ended { end, .. } => json!({"end": match end {
            End::Completed => "completed",
            End::Compensated => "compensated",
        }}),
    });
    if let Some(saga) = saga {
        object.insert("saga".into(), saga.into());
    }
    object
}

const fn ask_word(ask: Ask) -> &'static str {
    match ask {
        Ask::Do => "do",
        Ask::Undo => "undo",
        Ask::Query => "query",
    }
}

fn settlement(result: &Settlement) -> (&'static str, Value) {
    match result {
        Settlement::Done(output) => ("done", fields(output)),
        Settlement::Refused(why) => ("refused", Value::from(&**why)),
        Settlement::Unknown(why) => ("unknown", Value::from(&**why)),
        Settlement::NotSent(why) => ("not-sent", Value::from(&**why)),
        Settlement::Awaiting(output, until) => {
            ("awaiting", json!({"output": fields(output), "until": rfc3339(*until)}))
        }
        Settlement::Absent => ("absent", Value::Null),
    }
}

/// Texts of a saga, those in part that would let a reader of events act in a shopper's place.
fn fields(fields: &Fields) -> Value {
    let shown = |name, value| crate::masked(name, value).map_or_else(|| Value::from(value), Value::from);
    fields.iter().map(|(name, value)| (name.to_owned(), shown(name, value))).collect::<Map<_, _>>().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bug: the event feed carried coupon codes, method tokens and the addresses of card pages.
    #[test]
    fn no_event_of_a_saga_shows_what_lets_its_reader_act() {
        let said: Fields =
            [("coupon", "7K2M-Q9XR"), ("redirect", "https://pay.example/s/abc"), ("payment", "p-1")]
                .into_iter()
                .collect();
        let until = banyan_domain::Timestamp::from_millis(0);
        for result in [Settlement::Done(said.clone()), Settlement::Awaiting(said, until)] {
            let shown = settlement(&result).1.to_string();
            assert!(
                shown.contains("7K2M····")
                    && shown.contains("https://pay.example/…")
                    && shown.contains("p-1")
            );
            assert!(!shown.contains("Q9XR") && !shown.contains("abc"), "{shown}");
        }
    }
}
