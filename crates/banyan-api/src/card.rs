//! Card numbers are turned away at the door: what a command carries in free text is in the log, the snapshots and the record
//! store for good.
//!
//! Ids are not looked at: shops number their members and orders as they like, and one number in ten passes the check.

use crate::problem::Problem;
use banyan_domain::saga::Resume;
use banyan_domain::{Command, coupon, holds_card_number, legacy, order, pay, saga, stock};
use http::StatusCode;

/// Refuses a command with a card number in it. Coupons are issued and goods reserved without a look: they carry no free text.
pub(crate) fn refuse(command: &Command) -> Result<(), Problem> {
    match command {
        Command::Coupon(command) => of_coupon(command),
        Command::Stock(command) => of_stock(command),
        Command::Pay(pay::Command::Transfer { reference, .. }) => text("reference", reference.as_str()),
        Command::Pay(_) => Ok(()),
        Command::Saga(command) => of_saga(command),
        Command::Order(command) => of_order(command),
        Command::Legacy(command) => of_legacy(command),
    }
}

fn of_coupon(command: &coupon::Command) -> Result<(), Problem> {
    match command {
        coupon::Command::CreateCampaign { definition, .. } => text("name", &definition.name),
        coupon::Command::ChangeCampaign { change, .. } => text("reason", change.reason.as_str()),
        coupon::Command::RevokeCoupon { reason, .. } => text("reason", reason.as_str()),
        _ => Ok(()),
    }
}

fn of_stock(command: &stock::Command) -> Result<(), Problem> {
    match command {
        stock::Command::SetStock { reason, .. }
        | stock::Command::Receive { reason, .. }
        | stock::Command::Adjust { reason, .. }
        | stock::Command::Return { reason, .. } => text("reason", reason.as_str()),
        _ => Ok(()),
    }
}

fn of_saga(command: &saga::Command) -> Result<(), Problem> {
    match command {
        saga::Command::Start { key, input, .. } => {
            text("key", key.as_str())?;
            fields("input", input)
        }
        // Whatever a definition has written out is asked of a service each time, and stored with it.
        saga::Command::Define { definition, .. } => text("definition", &format!("{definition:?}")),
        saga::Command::Cancel { reason, .. } => text("reason", reason.as_str()),
        saga::Command::Resume { how, reason, .. } => {
            if let Resume::Skip(output) = how {
                fields("output", output)?;
            }
            text("reason", reason.as_str())
        }
        saga::Command::Settle { .. } | saga::Command::Nudge { .. } => Ok(()),
    }
}

fn of_order(command: &order::Command) -> Result<(), Problem> {
    match command {
        order::Command::Place { method, return_url, .. } => {
            text("method", method)?;
            text("return_url", return_url)
        }
        order::Command::Cancel { reason, .. } | order::Command::Return { reason, .. } => {
            text("reason", reason.as_str())
        }
        order::Command::SetProducts { .. } | order::Command::SetTerms { .. } => Ok(()),
    }
}

fn of_legacy(command: &legacy::Command) -> Result<(), Problem> {
    match command {
        legacy::Command::BeginMove { reason, .. } => text("reason", reason.as_str()),
        _ => Ok(()),
    }
}

fn fields(field: &str, fields: &saga::Fields) -> Result<(), Problem> {
    fields.iter().try_for_each(|(name, value)| {
        text(field, name)?;
        text(field, value)
    })
}

/// Refuses a card number in the text of `field`, without repeating it.
pub(crate) fn text(field: &str, text: &str) -> Result<(), Problem> {
    if !holds_card_number(text) {
        return Ok(());
    }
    let detail = format!(
        "{field}: there is a card number in it, which is stored nowhere here. Send what the payment company gave you for the \
         card: a token, or the name of a method."
    );
    Err(Problem::new(StatusCode::BAD_REQUEST, "card-number", detail))
}

#[cfg(test)]
mod tests {
    use super::*;
    use banyan_domain::{Actor, OrderNo, Reason, SagaKey, SagaName, SagaNo};

    #[test]
    fn every_free_text_is_looked_at_and_none_is_repeated() {
        let card = "4242 4242-4242 4242";
        let reason = || Reason::new(card).expect("valid");
        let by = || Actor::new("ops").expect("valid");
        let with = |name: &str, value: &str| {
            let mut fields = saga::Fields::new();
            fields.insert("harmless", "m1");
            fields.insert(name, value);
            fields
        };
        let start = |input| saga::Command::Start {
            name: SagaName::new("checkout").expect("valid"),
            key: SagaKey::new("k").expect("valid"),
            input,
        };
        let saga = SagaNo::new(1);
        let skip = Resume::Skip(with("payment", card));
        let fine = Reason::new("a reason").expect("valid");
        let refused: [Command; 6] = [
            start(with("method", card)).into(),
            start(with(card, "method")).into(),
            saga::Command::Cancel { saga, by: by(), reason: reason() }.into(),
            saga::Command::Resume { saga, mark: 1, how: skip, by: by(), reason: fine.clone() }.into(),
            order::Command::Cancel { order: OrderNo::new(1), owner: None, by: by(), reason: reason() }.into(),
            order::Command::Return { order: OrderNo::new(1), lines: Vec::new(), by: by(), reason: reason() }
                .into(),
        ];
        for command in refused {
            let problem = refuse(&command).expect_err("there is a card number in it");
            assert_eq!(problem.slug, "card-number");
            assert!(!problem.detail.contains("4242"), "{problem:?}");
        }
        refuse(&start(with("method", "tok_ok")).into()).expect("nothing is wrong with it");
        refuse(&saga::Command::Cancel { saga, by: by(), reason: fine }.into()).expect("nor with this");
    }
}
