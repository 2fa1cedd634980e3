//! Definition files: TOML, one saga a file.
//!
//! ```toml
//! name = "delivery"
//! version = 1
//! deadline = "15m"
//! at_risk = "amount"
//!
//! [[step]]
//! name = "book"
//! kind = "compensatable"           # or "pivot", "retriable"
//! when = "address"                 # skipped without this input
//! promises = ["idempotent", "tombstone"]
//! do = { service = "partner", operation = "book", order = "${key}", address = "${input.address}" }
//! undo = { service = "partner", operation = "cancel", booking = "${book.booking}" }
//! query = { service = "partner", operation = "find" }
//! patience = { timeout = "5s", retry_first = "200ms", retry_longest = "1m", tries = 12, settles_after = "1m" }
//! ```
//!
//! An action with `local` instead of `service` and `operation` is carried out by the store itself.

use banyan_domain::saga::{
    Action, Definition, Fault, Patience, Promises, Step, StepKind, Target, Template, lint,
};
use banyan_domain::{LOCAL_ACTIONS, Millis, SagaName, StepName};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::fmt;
use toml::Spanned;

/// Why a text is not the definition of a saga.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidFile {
    /// The line, from 1.
    pub line: usize,
    /// What is wrong, and what to do.
    pub why: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SagaFile {
    name: Spanned<String>,
    version: u32,
    deadline: Option<Spanned<String>>,
    at_risk: Option<String>,
    #[serde(default, rename = "step")]
    steps: Vec<Spanned<StepFile>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct StepFile {
    name: String,
    kind: KindFile,
    when: Option<String>,
    #[serde(default)]
    promises: Vec<PromiseFile>,
    #[serde(rename = "do")]
    action: BTreeMap<String, String>,
    undo: Option<BTreeMap<String, String>>,
    query: Option<BTreeMap<String, String>>,
    #[serde(default)]
    patience: PatienceFile,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum KindFile {
    Compensatable,
    Pivot,
    Retriable,
}

#[derive(Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum PromiseFile {
    Idempotent,
    Tombstone,
    Harmless,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct PatienceFile {
    timeout: Option<String>,
    retry_first: Option<String>,
    retry_longest: Option<String>,
    tries: Option<u32>,
    settles_after: Option<String>,
}

/// Reads the text of a definition file. What it reads is well-formed; whether it is sound, `lint` and `check` of
/// `banyan_domain::saga` say.
///
/// # Errors
/// [`InvalidFile`] with the line.
pub fn read_definition(text: &str) -> Result<Definition, InvalidFile> {
    let line_of =
        |offset: usize| text.as_bytes()[..offset.min(text.len())].iter().filter(|b| **b == b'\n').count() + 1;
    let file: SagaFile = toml::from_str(text).map_err(|error| InvalidFile {
        line: error.span().map_or(1, |span| line_of(span.start)),
        why: error.message().to_owned(),
    })?;
    let at = |offset: usize, why: String| InvalidFile { line: line_of(offset), why };
    let name = SagaName::new(file.name.get_ref().as_str())
        .map_err(|error| at(file.name.span().start, format!("{error}")))?;
    let deadline = file.deadline.map(|text| span(text.get_ref()).map_err(|why| at(text.span().start, why)));
    let steps = file.steps.into_iter().map(|table| {
        let start = table.span().start;
        let table = table.into_inner();
        let named = table.name.clone();
        step(table).map_err(|why| at(start, format!("step {named:?}: {why}")))
    });
    Ok(Definition {
        name,
        version: file.version,
        steps: steps.collect::<Result<_, _>>()?,
        deadline: deadline.transpose()?,
        at_risk: file.at_risk.map(Into::into),
    })
}

/// The rules that `definition` breaks: those of `banyan_domain::saga::lint`, and that what it asks of the store itself is
/// something the store does.
#[must_use]
pub fn faults(definition: &Definition) -> Vec<Fault> {
    let mut faults = lint(definition);
    for step in &definition.steps {
        for action in [Some(&step.action), step.undo.as_ref(), step.query.as_ref()].into_iter().flatten() {
            let Target::Local(name) = &action.target else { continue };
            if !LOCAL_ACTIONS.contains(&&**name) {
                let known = LOCAL_ACTIONS.join(", ");
                let sentence = format!("{name:?} is nothing that this store does; it does {known}");
                faults.push(Fault { step: Some(step.name.as_str().into()), rule: "local", sentence });
            }
        }
    }
    faults
}

fn step(table: StepFile) -> Result<Step, String> {
    let promised = |promise| table.promises.contains(&promise);
    let usual = Patience::default();
    let given = |text: &Option<String>, usual| text.as_deref().map_or(Ok(usual), span);
    let patience = Patience {
        timeout: given(&table.patience.timeout, usual.timeout)?,
        retry_first: given(&table.patience.retry_first, usual.retry_first)?,
        retry_longest: given(&table.patience.retry_longest, usual.retry_longest)?,
        tries: table.patience.tries.unwrap_or(usual.tries),
        settles_after: given(&table.patience.settles_after, usual.settles_after)?,
    };
    let one = |what: &str, action: BTreeMap<String, String>| {
        action_of(action).map_err(|why| format!("{what}: {why}"))
    };
    Ok(Step {
        name: StepName::new(table.name.as_str()).map_err(|error| error.to_string())?,
        kind: match table.kind {
            KindFile::Compensatable => StepKind::Compensatable,
            KindFile::Pivot => StepKind::Pivot,
            KindFile::Retriable => StepKind::Retriable,
        },
        promises: Promises {
            idempotent: promised(PromiseFile::Idempotent),
            tombstone: promised(PromiseFile::Tombstone),
            harmless: promised(PromiseFile::Harmless),
        },
        when: table.when.map(Into::into),
        action: one("do", table.action)?,
        undo: table.undo.map(|action| one("undo", action)).transpose()?,
        query: table.query.map(|action| one("query", action)).transpose()?,
        patience,
    })
}

fn action_of(mut fields: BTreeMap<String, String>) -> Result<Action, String> {
    let (local, service, operation) =
        (fields.remove("local"), fields.remove("service"), fields.remove("operation"));
    let target = match (local, service, operation) {
        (Some(local), None, None) => Target::Local(local.into()),
        (None, Some(service), Some(operation)) => {
            Target::Service { service: service.into(), operation: operation.into() }
        }
        _ => return Err("say either local, or service and operation".into()),
    };
    let params = fields.into_iter().map(|(name, text)| {
        let template = Template::parse(&text).map_err(|error| format!("{name}: {error}"))?;
        Ok((name.into(), template))
    });
    Ok(Action { target, params: params.collect::<Result<_, String>>()? })
}

/// A span such as `15m`, `200ms` or `1h 30m`.
fn span(text: &str) -> Result<Millis, String> {
    let span: jiff::SignedDuration =
        text.parse().map_err(|_| format!("{text:?} is not a span of time such as 200ms, 10s, 15m or 24h"))?;
    let millis = u64::try_from(span.as_millis()).map_err(|_| format!("{text:?} is below nothing"))?;
    Ok(Millis::new(millis))
}

impl fmt::Display for InvalidFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}", self.line, self.why)
    }
}

impl std::error::Error for InvalidFile {}

#[cfg(test)]
mod tests {
    use super::*;
    use banyan_domain::saga::check;

    /// Every definition that is shipped.
    const SHIPPED: [&str; 9] = [
        include_str!("../../../examples/sagas/checkout.toml"),
        include_str!("../../../examples/sagas/delivery.toml"),
        include_str!("../../../examples/sagas/merchant-settlement.toml"),
        include_str!("../../../examples/sagas/order-refund.toml"),
        include_str!("../../../examples/sagas/repair-book.toml"),
        include_str!("../../../examples/sagas/repair-refund.toml"),
        include_str!("../../../examples/sagas/repair-reverse.toml"),
        include_str!("../../../examples/sagas/settlement.toml"),
        include_str!("../../../examples/sagas/top-up.toml"),
    ];

    #[test]
    fn what_is_shipped_is_sound() {
        for text in SHIPPED {
            let definition = read_definition(text).expect("an example can be read");
            assert_eq!(faults(&definition), [], "{}", definition.name);
            let began = std::time::Instant::now();
            let bounds = check::Bounds { surprises: 1, ..check::Bounds::default() };
            let checked = check::check(&definition, None, bounds);
            println!("{}: {} situations in {:?}", definition.name, checked.states, began.elapsed());
            assert_eq!(checked.bad, None, "{}", definition.name);
            assert!(checked.complete, "{}: {} situations were not all", definition.name, checked.states);
        }
    }

    /// Bug: the page showed another saga of the same name and version.
    #[test]
    fn the_page_about_sagas_shows_the_delivery_that_is_shipped() {
        let page = include_str!("../../../docs/sagas.md");
        let shown = page.split("```toml\n").nth(1).and_then(|rest| rest.split("```").next());
        let shown = read_definition(shown.expect("the page shows a file")).expect("it can be read");
        assert_eq!(shown, read_definition(SHIPPED[1]).expect("it can be read"));
    }

    #[test]
    fn what_the_store_does_not_do_is_a_fault() {
        let text = "name = \"a\"\nversion = 1\n[[step]]\nname = \"s\"\nkind = \"pivot\"\ndo = { local = \"pay.print\" }";
        let found = faults(&read_definition(text).expect("it can be read"));
        assert_eq!(found.iter().map(|fault| fault.rule).collect::<Vec<_>>(), ["local"], "{found:?}");
        assert!(found[0].sentence.contains("pay.hold"), "{found:?}");
    }

    #[track_caller]
    fn refused(text: &str, line: usize, why: &str) {
        let error = read_definition(text).expect_err("it is refused");
        assert_eq!(error.line, line, "{error}");
        assert!(error.why.contains(why), "{error}");
    }

    #[test]
    fn mistakes_are_refused_with_their_line() {
        let head = "name = \"a\"\nversion = 1\n";
        refused("name = \"a\"", 1, "version");
        refused("name = \"A b\"\nversion = 1", 1, "1 to 48");
        refused(&format!("{head}deadline = \"soon\""), 3, "span of time");
        refused(&format!("{head}colour = 1"), 3, "unknown field");
        let step = |rest: &str| format!("{head}\n[[step]]\nname = \"s\"\nkind = \"pivot\"\n{rest}");
        refused(&step("do = { local = \"a\", service = \"b\" }"), 4, "either local");
        refused(&step("do = { local = \"a\", x = \"${y}\" }"), 4, "input.FIELD");
        refused(&step("do = { local = \"a\" }\npatience = { timeout = \"-1s\" }"), 4, "below nothing");
        refused(&step("do = { local = \"a\" }\npromises = [\"gold\"]"), 8, "unknown variant");
    }
}
