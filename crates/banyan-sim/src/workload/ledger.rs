//! What clients ask of the ledger.

use super::{Workload, actor, member};
use crate::prng::Prng;
use banyan_domain::pay::{Command, NewTransfer, Rule, Side, Transfers};
use banyan_domain::{AccountId, Currency, Millis, Reference, TransferNo};

/// The accounts that checkouts take from and never open themselves.
const OPENED_FIRST: [(&str, &str); 2] = [("company:receivable", "KRW"), ("shop:points-given", "PTS")];

impl Workload {
    /// The opening of an account that must be there.
    pub(super) fn first_account(&self, number: usize) -> Option<Command> {
        let (id, currency) = *OPENED_FIRST.get(number)?;
        Some(Command::OpenAccount {
            id: account(id),
            currency: currency_of(currency),
            rule: Rule::Free,
            by: actor(),
        })
    }

    /// Something that somebody asks of the ledger.
    pub(super) fn of_ledger(&self, rng: &mut Prng) -> Command {
        match rng.below(100) {
            0..6 => {
                let (id, rule) =
                    (points(rng), *rng.pick(&[Rule::DebitsWithinCredits, Rule::Free]).expect("two"));
                Command::OpenAccount { id, currency: currency_of("PTS"), rule, by: actor() }
            }
            // Points are given away most of all, so that checkouts can spend them.
            6..40 => transfer(vec![NewTransfer::Post {
                debit: account("shop:points-given").into(),
                credit: points_side(rng),
                amount: rng.between(0, 400) as i64,
                refundable: rng.chance(50),
            }]),
            40..60 => transfer(vec![NewTransfer::Hold {
                debit: points(rng).into(),
                credit: free_side("shop:points"),
                amount: rng.between(1, 300) as i64,
                hold_for: Millis::new(*rng.pick(&[1, 60_000, 3_600_000, u64::MAX]).expect("four")),
            }]),
            60..72 => transfer(vec![NewTransfer::Capture {
                pending: self.transfer(rng),
                amount: rng.between(0, 300) as i64,
                last: rng.chance(50),
            }]),
            72..82 => transfer(vec![NewTransfer::Void { pending: self.transfer(rng) }]),
            82..92 => transfer(vec![NewTransfer::Refund {
                of: self.transfer(rng),
                amount: rng.between(0, 300) as i64,
            }]),
            92..95 => transfer(vec![NewTransfer::Reverse { of: self.transfer(rng) }]),
            // From one member to another, and a fee: both or none.
            _ => {
                let giver = points(rng);
                let post = |credit: Side, amount| NewTransfer::Post {
                    debit: giver.clone().into(),
                    credit,
                    amount,
                    refundable: false,
                };
                let (to, amount) = (points_side(rng), rng.between(1, 200) as i64);
                transfer(vec![post(to, amount), post(free_side("shop:fees"), 5)])
            }
        }
    }

    fn transfer(&self, rng: &mut Prng) -> TransferNo {
        let known = &self.shop.transfers;
        let recent = &known[known.len().saturating_sub(12)..];
        let from = if rng.chance(70) { recent } else { known };
        let found = rng.pick(from).copied();
        // Never one that a saga made: what an order rests on is nobody else's to move.
        found.unwrap_or_else(|| TransferNo::new(10_000 + rng.below(100)))
    }
}

fn transfer(transfers: Vec<NewTransfer>) -> Command {
    let transfers = Transfers::new(transfers).expect("one or two");
    Command::Transfer { transfers, reference: Reference::new("simulated").expect("visible"), by: actor() }
}

fn points(rng: &mut Prng) -> AccountId {
    account(&format!("points:{}", member(rng).as_str()))
}

/// A member's points, opened if they have none so far.
fn points_side(rng: &mut Prng) -> Side {
    let open_if_missing = Some((currency_of("PTS"), Rule::DebitsWithinCredits));
    Side { account: points(rng), open_if_missing }
}

fn free_side(id: &str) -> Side {
    Side { account: account(id), open_if_missing: Some((currency_of("PTS"), Rule::Free)) }
}

fn account(id: &str) -> AccountId {
    AccountId::new(id).expect("an account's id")
}

fn currency_of(code: &str) -> Currency {
    Currency::new(code).expect("a currency")
}
