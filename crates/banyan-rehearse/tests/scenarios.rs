//! What a scenario file may say, and how a mistake in it is explained.

use std::path::Path;

use banyan_rehearse::scenario::Load;
use banyan_rehearse::{Scenario, trace::Trace};

const GOOD: &str = r#"
phases = [{ name = "a", for = "10s", rate = 100 }]
members = { count = 100 }
campaigns = [{ id = "noon", quantity = 10 }]
"#;

fn why(text: &str) -> String {
    match Scenario::parse(text, Path::new("/nowhere"), "test") {
        Ok(_) => panic!("this was accepted:\n{text}"),
        Err(error) => error.to_string(),
    }
}

#[test]
fn mistakes_name_the_field_and_what_is_allowed() {
    let with = |line: &str| why(&format!("{line}\n{GOOD}"));
    let check = |got: String, wanted: &[&str]| {
        for part in wanted {
            assert!(got.contains(part), "`{part}` is not in: {got}");
        }
    };
    check(with("connections_max = 0"), &["`connections_max`", "is 0", "from 1 to 10000"]);
    check(with("max_outstanding = 0"), &["`max_outstanding`", "from 1"]);
    check(with("timeout = \"0s\""), &["`timeout`", "from 1ms"]);
    check(with("timeout = \"soon\""), &["`soon` is not a length of time", "\"30s\"", "line 1"]);
    check(with("timeout = 30"), &["in quotes"]);
    check(with("colour = \"green\""), &["unknown field `colour`", "line 1"]);
    check(with("url = \"https://shop.test\""), &["`url`", "plain HTTP/1.1 only"]);
    check(with("key = \"a b\""), &["`key`", "visible ASCII"]);
    check(with("key = \"a\"\nkey_file = \"b\""), &["`key_file`", "not both"]);
    check(with("key_file = \"absent\""), &["/nowhere/absent"]);
    check(with("speed = 3"), &["`speed`", "belongs to kind = \"trace\""]);
    check(
        with("spike = { at = \"9s\", rate = 1, for = \"2s\" }"),
        &["`spike.at`", "end at 11 s", "end at 10 s"],
    );
    check(with("spike = { at = \"1s\", rate = 2e6, for = \"2s\" }"), &["`spike.rate`", "to 1000000"]);
    check(with("behaviours = { bots = { share = 1.5 } }"), &["`behaviours.bots.share`", "from 0 to 1"]);
    check(
        with("behaviours = { fresh = { share = 0.5 }, bots = { share = 0.2 } }"),
        &["`behaviours`", "sum to 0.7", "sum to 1"],
    );
    check(
        with("behaviours = { repeat_clickers = { share = 0.1, presses_max = 1 } }"),
        &["`behaviours.repeat_clickers.presses_max`", "from 2 to 100"],
    );
    check(with("redeem = { share = 2 }"), &["`redeem.share`"]);
    check(with("aim = [{ campaign = \"Noon\" }]"), &["`aim[0].campaign`", "`Noon`"]);
    check(with("aim = [{ campaign = \"a\" }, { campaign = \"a\" }]"), &["`aim[1].campaign`", "second time"]);
    check(with("aim = [{ campaign = \"a\", weight = 0 }]"), &["`aim`", "weights of 0"]);
}

#[test]
fn missing_parts_are_asked_for() {
    let check = |text: &str, wanted: &str| assert!(why(text).contains(wanted), "{}", why(text));
    check("", "`members`");
    check("members = { count = 0 }", "`members.count`: is 0: must be from 1");
    check("members = { count = 1 }", "`phases`");
    check(&GOOD.replace("rate = 100", "from = 100"), "`phases[0].rate`: give `rate`, or both");
    check(&GOOD.replace("rate = 100", "rate = -1"), "`phases[0].rate`: is -1: must be from 0");
    check(&GOOD.replace("quantity = 10", "quantity = 0"), "`campaigns[0].quantity`");
    check(&GOOD.replace("quantity = 10", "quantity = \"many\""), "\"unlimited\"");
    check(&GOOD.replace("\"noon\"", "\"-noon\""), "`campaigns[0].id`");
    check("phases = [{ name = \"a\", for = \"1s\", rate = 1 }]\nmembers = { count = 1 }", "[[aim]]");
    check("kind = \"trace\"", "`file`");
    check("kind = \"trace\"\nfile = \"a.csv\"\nspeed = \"fast\"", "`speed`: is \"fast\"");
    check(
        "kind = \"trace\"\nfile = \"a.csv\"\nmembers = { count = 1 }",
        "`members`: belongs to kind = \"schedule\"",
    );
}

#[test]
fn the_shipped_scenarios_are_valid() {
    let folder = Path::new(&std::env::var("CARGO_MANIFEST_DIR").expect("cargo says where"))
        .join("../../examples/rehearsals");
    let mut names = Vec::new();
    for entry in std::fs::read_dir(&folder).expect("the folder is there") {
        let path = entry.expect("readable").path();
        if path.extension().is_some_and(|extension| extension == "toml") {
            let scenario =
                Scenario::from_path(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
            if let Load::Trace(load) = &scenario.load {
                let (steps, _) = Trace::check(&load.file).expect("its trace is valid");
                assert!(steps > 0);
            }
            names.push(path.file_stem().expect("a name").to_string_lossy().into_owned());
        }
    }
    names.sort();
    assert_eq!(names, ["all-day", "noon-spike", "sale-day", "steady", "trace"]);
}
