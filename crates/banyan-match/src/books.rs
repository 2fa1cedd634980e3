//! Our two sides, as the log tells them: what sagas asked of the company, and what the ledger's accounts of it were given.

use crate::follow::{Tracked, operation};
use banyan_domain::pay::{self, Leg};
use banyan_domain::saga::Definition;
use banyan_domain::{Event, Keys, SagaNo, Timestamp};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};

/// Which way money went.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum What {
    /// Taken from a customer.
    Capture,
    /// Sent back.
    Refund,
}

/// Something that a saga asked of the company and that moves money.
#[derive(Clone, Debug)]
pub struct Effect {
    /// Which saga.
    pub saga: u64,
    /// The name of the step.
    pub step: String,
    /// Taken or sent back.
    pub what: What,
    /// The payment.
    pub payment: String,
    /// Minor units; none for all that is left.
    pub amount: Option<i64>,
    /// The currency; empty if the step does not say.
    pub currency: String,
    /// The idempotency key that the company was sent.
    pub key: String,
    /// When it was first about to be asked.
    pub asked_at: Timestamp,
    /// Whether the money was only to be set aside so far. There are companies that take it all the same, when it is authorized.
    pub only_authorized: bool,
    /// When its outcome was known.
    pub settled_at: Option<Timestamp>,
    /// What came of it.
    pub state: EffectState,
}

/// What came of an effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EffectState {
    /// Not known yet.
    Open,
    /// It happened, says the company, or an operator who counted it as done.
    Done,
    /// It did not happen.
    Not,
}

/// A transfer from or to the company's account.
#[derive(Clone, Debug)]
pub struct Posting {
    /// The transfer's number.
    pub transfer: u64,
    /// When it was made.
    pub at: Timestamp,
    /// Debited to the account: taken. Credited: sent back.
    pub what: What,
    /// Minor units.
    pub amount: i64,
    /// The account's currency.
    pub currency: String,
    /// The id of the account on the other side.
    pub other: String,
    /// What it was made for.
    pub reference: String,
    /// The transfer that it gives back, if it does.
    pub of: Option<u64>,
    /// The saga that made it.
    pub saga: Option<u64>,
    /// The payment it is for; none for what the company pays out, and for what nobody can tell.
    pub payment: Option<String>,
}

/// A saga that has to do with the company or with its account.
#[derive(Clone, Debug)]
pub struct Source {
    /// Its name.
    pub name: String,
    /// What it is about.
    pub key: String,
    /// The order that its input names, or else its key.
    pub order: String,
    /// `running`, `compensating`, `parked`, `completed` or `compensated`.
    pub state: &'static str,
    /// The step at which it is parked, and why.
    pub parked: Option<(String, String)>,
    /// The payment that it is about.
    pub payment: Option<String>,
    /// When the money moved, for a repair that was made later: its input `moved_at`.
    pub moved_at: Option<Timestamp>,
    /// Whether it asks the company for anything that moves money.
    pub asks: bool,
}

/// What the log says, up to the last event it was fed.
pub struct Books {
    pub(crate) company: String,
    accounts: Vec<String>,
    pub(crate) keys: Option<Keys>,
    pub(crate) definitions: Vec<Definition>,
    names: BTreeMap<u32, String>,
    /// Our accounts by number, with their currency.
    watched: BTreeMap<u32, String>,
    pub(crate) running: BTreeMap<SagaNo, Tracked>,
    pub(crate) sources: BTreeMap<u64, Source>,
    pub(crate) effects: Vec<Effect>,
    pub(crate) postings: BTreeMap<u64, Posting>,
    /// Payments of completed sagas that ask the company, by what the sagas are about. Known once the books are closed.
    pub(crate) paid: BTreeMap<String, BTreeSet<String>>,
    /// What most charges are booked against. Known once the books are closed.
    pub(crate) sales: Option<String>,
    pub(crate) seq: u64,
    pub(crate) at: Timestamp,
}

impl Books {
    /// Books of what is asked of the service `company` and of the ledger's `accounts` of it, such as `company:receivable`.
    #[must_use]
    pub fn new(company: &str, accounts: &[String]) -> Self {
        Self {
            company: company.to_owned(),
            accounts: accounts.to_vec(),
            keys: None,
            definitions: Vec::new(),
            names: BTreeMap::new(),
            watched: BTreeMap::new(),
            running: BTreeMap::new(),
            sources: BTreeMap::new(),
            effects: Vec::new(),
            postings: BTreeMap::new(),
            paid: BTreeMap::new(),
            sales: None,
            seq: 0,
            at: Timestamp::default(),
        }
    }

    /// The service.
    #[must_use]
    pub fn company(&self) -> &str {
        &self.company
    }

    /// The accounts, as they were named.
    #[must_use]
    pub fn accounts(&self) -> &[String] {
        &self.accounts
    }

    /// The log position of the last event.
    #[must_use]
    pub const fn seq(&self) -> u64 {
        self.seq
    }

    /// Its time.
    #[must_use]
    pub const fn at(&self) -> Timestamp {
        self.at
    }

    /// Whether the ledger has one of the accounts.
    #[must_use]
    pub fn has_account(&self) -> bool {
        !self.watched.is_empty()
    }

    /// Whether a saga is defined that asks the company for anything.
    #[must_use]
    pub fn knows_company(&self) -> bool {
        let mut steps = self.definitions.iter().flat_map(|definition| &definition.steps);
        steps.any(|step| {
            let actions = [Some(&step.action), step.undo.as_ref()].into_iter().flatten();
            actions.into_iter().any(|action| operation(&action.target, &self.company).is_some())
        })
    }

    /// The first of the accounts that is kept in `currency`.
    pub(crate) fn account_in(&self, currency: &str) -> Option<String> {
        let (no, _) = self.watched.iter().find(|(_, kept_in)| *kept_in == currency)?;
        self.names.get(no).cloned()
    }

    /// Whether a saga is defined.
    #[must_use]
    pub fn is_defined(&self, name: &str) -> bool {
        self.definitions.iter().any(|definition| definition.name.as_str() == name)
    }

    /// Takes the next event of the log.
    pub fn event(&mut self, seq: u64, at: Timestamp, event: &Event) {
        (self.seq, self.at) = (seq, at);
        match event {
            Event::StoreCreated { secret } => self.keys = Some(secret.keys()),
            Event::Pay(event) => self.pay(at, event),
            Event::Saga(event) => self.saga(at, event),
            _ => {}
        }
    }

    /// Closes the books: names the payments of transfers that no saga made, by what they give back or by their reference.
    pub fn close(&mut self) {
        let mut by_reference: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
        for source in self.sources.values() {
            if let Some(payment) = &source.payment {
                by_reference.entry(&source.key).or_default().insert(payment);
                by_reference.entry(payment).or_default().insert(payment);
            }
        }
        let mut named: BTreeMap<u64, String> = BTreeMap::new();
        for posting in self.postings.values() {
            let saga = posting.saga.and_then(|saga| self.sources.get(&saga)?.payment.clone());
            let given_back = || posting.of.and_then(|of| named.get(&of).cloned());
            let referred = || {
                let found = by_reference.get(posting.reference.as_str()).filter(|found| found.len() == 1);
                // What gives back a transfer that is for no payment is for none either.
                found
                    .and_then(|found| found.first().map(|one| (*one).to_owned()))
                    .filter(|_| posting.of.is_none())
            };
            if let Some(payment) = saga.or_else(given_back).or_else(referred) {
                named.insert(posting.transfer, payment);
            }
        }
        for (transfer, payment) in named {
            if let Some(posting) = self.postings.get_mut(&transfer) {
                posting.payment = Some(payment);
            }
        }
        for source in self.sources.values().filter(|source| source.asks && source.state == "completed") {
            if let Some(payment) = &source.payment {
                self.paid.entry(source.key.clone()).or_default().insert(payment.clone());
            }
        }
        let mut times: BTreeMap<&str, usize> = BTreeMap::new();
        let charges =
            self.postings.values().filter(|posting| posting.what == What::Capture && posting.of.is_none());
        charges.for_each(|posting| *times.entry(&posting.other).or_default() += 1);
        self.sales = times.into_iter().max_by_key(|(_, times)| *times).map(|(account, _)| account.to_owned());
    }

    fn pay(&mut self, at: Timestamp, event: &pay::Event) {
        match event {
            pay::Event::AccountOpened { account, .. } => self.opened(account),
            pay::Event::Transferred { first, legs, reference, opened, .. } => {
                opened.iter().for_each(|account| self.opened(account));
                for (transfer, leg) in (first.get()..).zip(legs) {
                    self.leg(transfer, at, leg, reference.as_str());
                }
            }
            pay::Event::HoldExpired { .. } => {}
        }
    }

    fn opened(&mut self, account: &pay::OpenedAccount) {
        let id = account.id.to_string();
        if self.accounts.contains(&id) {
            self.watched.insert(account.no.get(), account.currency.as_str().to_owned());
        }
        self.names.insert(account.no.get(), id);
    }

    fn leg(&mut self, transfer: u64, at: Timestamp, leg: &Leg, reference: &str) {
        let (debit, credit, amount, of) = match *leg {
            Leg::Posted { debit, credit, amount, .. } => (debit, credit, amount, None),
            Leg::Captured { debit, credit, amount, .. } => (debit, credit, amount, None),
            Leg::Refunded { of, debit, credit, amount } | Leg::Reversed { of, debit, credit, amount } => {
                (debit, credit, amount, Some(of.get()))
            }
            Leg::Held { .. } | Leg::Voided { .. } => return,
        };
        let (what, currency, other) = match (self.watched.get(&debit.get()), self.watched.get(&credit.get()))
        {
            (Some(currency), None) => (What::Capture, currency, credit),
            (None, Some(currency)) => (What::Refund, currency, debit),
            // Between two accounts of the company nothing leaves or comes.
            _ => return,
        };
        let posting = Posting {
            transfer,
            at,
            what,
            amount,
            currency: currency.clone(),
            other: self.names.get(&other.get()).cloned().unwrap_or_default(),
            reference: reference.to_owned(),
            of,
            saga: None,
            payment: None,
        };
        self.postings.insert(transfer, posting);
    }
}
