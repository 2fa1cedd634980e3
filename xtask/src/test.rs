//! `cargo xtask test`: the one way to run the tests, for people and for the CI.

use crate::run;
use banyan_testkit::{Package, ensure_packages};
use std::io::{BufRead, BufReader};
use std::process::Stdio;

/// What to test.
#[derive(clap::Args, Default)]
pub(crate) struct Args {
    /// Passed on to `cargo test`, such as `-p banyan-log`
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    rest: Vec<String>,
}

/// What the tests that ran came to.
#[derive(Default)]
struct Tally {
    passed: u64,
    failed: u64,
    ignored: u64,
}

/// Installs what the tests need, runs them, and says how many ran.
pub(crate) fn run(args: &Args) -> Result<(), String> {
    ensure_packages(&Package::ALL).map_err(|error| error.to_string())?;
    let mut command = run::cargo_command();
    command.args(["test", "--no-fail-fast"]);
    if args.rest.is_empty() {
        command.args(["--workspace", "--features", run::ALL_FEATURES]);
    }
    let mut child = command
        .args(&args.rest)
        .stdout(Stdio::piped())
        .spawn()
        .map_err(|error| format!("starting cargo test: {error}"))?;
    let mut tally = Tally::default();
    if let Some(out) = child.stdout.take() {
        for line in BufReader::new(out).lines() {
            let line = line.map_err(|error| format!("reading what the tests print: {error}"))?;
            tally.read(&line);
            println!("{line}");
        }
    }
    let status = child.wait().map_err(|error| format!("waiting for cargo test: {error}"))?;
    println!("\ntests: {} passed, {} failed, {} skipped", tally.passed, tally.failed, tally.ignored);
    if !status.success() {
        return Err(format!("cargo test ended with {status}"));
    }
    if tally.passed == 0 { Err("no test ran".into()) } else { Ok(()) }
}

impl Tally {
    /// Counts a line such as `test result: ok. 5 passed; 0 failed; 0 ignored; ...`.
    fn read(&mut self, line: &str) {
        let Some((_, counts)) = line.strip_prefix("test result: ").and_then(|rest| rest.split_once(". "))
        else {
            return;
        };
        for count in counts.split("; ") {
            let Some((n, what)) = count.split_once(' ') else { continue };
            let n = n.parse().unwrap_or(0);
            match what {
                "passed" => self.passed += n,
                "failed" => self.failed += n,
                "ignored" => self.ignored += n,
                _ => {}
            }
        }
    }
}
