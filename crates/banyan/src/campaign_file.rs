//! Campaign files: TOML with `[[campaign]]` tables, and how each differs from what the server has.

use crate::exit::Failure;
use banyan_api::wire::{AudienceJson, BenefitJson, CampaignJson, MoneyJson, QuantityJson, StackingJson};
use serde::Deserialize;
use serde_json::{Map, Value};
use std::path::{Path, PathBuf};
use toml::Spanned;

/// A campaign as the file has it, checked.
pub(crate) struct Wanted {
    /// Its definition.
    pub campaign: CampaignJson,
    /// Its allow-list's file.
    pub allow_list: Option<PathBuf>,
    /// The line its table starts at.
    pub line: usize,
}

/// What to do about one campaign.
#[derive(Debug, PartialEq)]
pub(crate) enum Plan {
    /// It is not there.
    Create,
    /// It is as the file says.
    Unchanged,
    /// It differs in what can be changed: the body of the PATCH, and the differences in words.
    Change(Value, Vec<String>),
    /// It differs in what cannot be changed: the differences in words.
    Refuse(Vec<String>),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CampaignFile {
    campaign: Vec<Spanned<Table>>,
}

/// The fields of [`CampaignJson`], here again so that a mistake is reported with its line.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Table {
    id: String,
    name: String,
    quantity: toml::Value,
    #[serde(default = "one")]
    per_member: u16,
    benefit: BenefitJson,
    minimum_order: Option<MoneyJson>,
    starts_at: Option<toml::Value>,
    ends_at: Option<toml::Value>,
    #[serde(default)]
    audience: AudienceJson,
    valid_for_seconds: Option<u64>,
    #[serde(default)]
    stacking: StackingJson,
    allow_list: Option<PathBuf>,
}

const fn one() -> u16 {
    1
}

/// Reads the file at `path`.
pub(crate) fn read(path: &Path) -> Result<Vec<Wanted>, Failure> {
    let text = std::fs::read_to_string(path)
        .map_err(|error| Failure::usage(format!("reading {}: {error}", path.display())))?;
    parse(&text, path.parent().unwrap_or(Path::new("")))
        .map_err(|why| Failure::usage(format!("{}: {why}", path.display())))
}

/// Reads the text of a file in the directory `base`.
fn parse(text: &str, base: &Path) -> Result<Vec<Wanted>, String> {
    let file: CampaignFile = toml::from_str(text).map_err(|error| error.to_string())?;
    let mut all: Vec<Wanted> = Vec::new();
    for table in file.campaign {
        let start = table.span().start.min(text.len());
        let line = text.as_bytes()[..start].iter().filter(|byte| **byte == b'\n').count() + 1;
        let table = table.into_inner();
        let id = table.id.clone();
        let wanted =
            checked(table, base, line).map_err(|why| format!("line {line}, campaign {id:?}: {why}"))?;
        if let Some(other) = all.iter().find(|other| other.campaign.id == wanted.campaign.id) {
            return Err(format!(
                "line {line}: campaign {id:?} is in the file twice, first in line {}",
                other.line
            ));
        }
        all.push(wanted);
    }
    Ok(all)
}

fn checked(table: Table, base: &Path, line: usize) -> Result<Wanted, String> {
    let quantity = match table.quantity {
        toml::Value::Integer(n) => {
            QuantityJson::Limited(u64::try_from(n).map_err(|_| "quantity: must be 1 or more")?)
        }
        toml::Value::String(word) => QuantityJson::Word(word),
        _ => return Err("quantity: must be a number, or \"unlimited\"".into()),
    };
    let instant = |field: &str, value: Option<toml::Value>| match value {
        None => Ok(None),
        Some(toml::Value::String(text)) => Ok(Some(text)),
        Some(toml::Value::Datetime(at)) => Ok(Some(at.to_string())),
        Some(_) => Err(format!("{field}: must be a time such as 2026-11-27T12:00:00Z")),
    };
    let campaign = CampaignJson {
        id: table.id,
        name: table.name,
        quantity,
        per_member: table.per_member,
        benefit: table.benefit,
        minimum_order: table.minimum_order,
        starts_at: instant("starts_at", table.starts_at)?,
        ends_at: instant("ends_at", table.ends_at)?,
        audience: table.audience,
        valid_for_seconds: table.valid_for_seconds,
        stacking: table.stacking,
    };
    let definition = campaign.check().map_err(|problem| problem.detail)?;
    let allow_list = table.allow_list.map(|path| base.join(path));
    if allow_list.is_some() && campaign.audience != AudienceJson::AllowList {
        return Err("allow_list needs audience = \"allow_list\"".into());
    }
    if let Some(path) = allow_list.as_deref().filter(|path| !path.is_file()) {
        return Err(format!("allow_list: there is no file {}", path.display()));
    }
    // Written the one way that the server writes it, so that the two can be compared field by field.
    Ok(Wanted { campaign: CampaignJson::from(&definition), allow_list, line })
}

/// Compares what the file wants with the server's answer for that campaign; `None` if it has none.
pub(crate) fn plan(wanted: &CampaignJson, there: Option<&Value>) -> Plan {
    let Some(there) = there else { return Plan::Create };
    let wanted = serde_json::to_value(wanted).unwrap_or_default();
    let empty = Map::new();
    let fields = wanted.as_object().unwrap_or(&empty);
    // Fields that the file leaves out have no place in `fields`: look for those the server has.
    let optional = ["minimum_order", "starts_at", "ends_at", "valid_for_seconds"];
    let names = fields
        .keys()
        .map(String::as_str)
        .chain(optional.into_iter().filter(|name| !fields.contains_key(*name)));
    let null = Value::Null;
    let (mut patch, mut words, mut fixed) = (Map::new(), Vec::new(), Vec::new());
    for name in names {
        let (want, have) = (fields.get(name).unwrap_or(&null), there.get(name).unwrap_or(&null));
        if want == have {
            continue;
        }
        let word = format!("{name}: the server has {have}, the file {want}");
        let can_change = (name == "quantity" && want.is_u64()) || (name == "ends_at" && want.is_string());
        if can_change {
            patch.insert(name.into(), want.clone());
            words.push(word);
        } else {
            fixed.push(word);
        }
    }
    if !fixed.is_empty() {
        return Plan::Refuse(fixed);
    }
    if patch.is_empty() {
        return Plan::Unchanged;
    }
    if there.get("state").and_then(Value::as_str) == Some("ended") {
        words.push("and it has ended: an ended campaign does not change".into());
        return Plan::Refuse(words);
    }
    patch.insert("reason".into(), "banyan campaign apply".into());
    Plan::Change(Value::Object(patch), words)
}

#[cfg(test)]
mod tests {
    use super::{Plan, parse, plan};
    use serde_json::json;
    use std::path::Path;

    const GOOD: &str = r#"
[[campaign]]
id = "noon"
name = "Noon sale"
quantity = 300
benefit = { amount = { minor = 5000, currency = "KRW" } }
ends_at = 2026-11-27T21:00:00+09:00
"#;

    fn one(text: &str) -> banyan_api::wire::CampaignJson {
        parse(text, Path::new("")).expect("a good file").remove(0).campaign
    }

    #[test]
    fn reads_a_campaign() {
        let campaign = one(GOOD);
        assert_eq!(campaign.per_member, 1);
        assert_eq!(campaign.ends_at.as_deref(), Some("2026-11-27T12:00:00Z"), "one way to write an instant");
    }

    #[test]
    fn says_where_a_mistake_is() {
        let check = |text: &str, line: &str, what: &str| {
            let why = parse(text, Path::new("/nowhere")).err().expect("must be refused");
            assert!(why.contains(line) && why.contains(what), "{why}");
        };
        check(&GOOD.replace("quantity = 300", "quantity = 0"), "line 2", "quantity");
        check(&GOOD.replace("quantity = 300", "quantty = 300"), "line 5", "quantty");
        check(&GOOD.replace("\"Noon sale\"", "Noon sale"), "line 4", "");
        check(&GOOD.replace("minor = 5000", "minor = \"x\""), "line 6", "");
        check(&format!("{GOOD}\n{GOOD}"), "line 10", "twice, first in line 2");
        check(&format!("{GOOD}allow_list = \"a.txt\"\n"), "line 2", "audience");
        check(
            &format!("{GOOD}audience = \"allow_list\"\nallow_list = \"a.txt\"\n"),
            "line 2",
            "no file /nowhere/a.txt",
        );
    }

    #[test]
    fn plans_the_least_that_helps() {
        let wanted = one(GOOD);
        let mut there = serde_json::to_value(&wanted).expect("JSON");
        there["state"] = json!("open");
        assert_eq!(plan(&wanted, None), Plan::Create);
        assert_eq!(plan(&wanted, Some(&there)), Plan::Unchanged);
        there["quantity"] = json!(200);
        there["ends_at"] = json!("2026-11-27T11:00:00Z");
        let Plan::Change(patch, words) = plan(&wanted, Some(&there)) else {
            panic!("quantity and end can change")
        };
        assert_eq!((&patch["quantity"], &patch["ends_at"]), (&json!(300), &json!("2026-11-27T12:00:00Z")));
        assert_eq!(words.len(), 2);
        there["state"] = json!("ended");
        assert!(matches!(plan(&wanted, Some(&there)), Plan::Refuse(_)), "an ended campaign does not change");
        there["state"] = json!("open");
        there["per_member"] = json!(2);
        there["valid_for_seconds"] = json!(60);
        let Plan::Refuse(words) = plan(&wanted, Some(&there)) else { panic!("a limit cannot change") };
        assert_eq!(words.len(), 2, "only what stands in the way is named: {words:?}");
    }
}
