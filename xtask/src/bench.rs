//! `cargo xtask bench`, `cargo xtask kill9` and `cargo xtask sale-day`: build what a server runs, then run the measuring program.

use crate::run;
use std::path::PathBuf;
use std::process::Command;

/// What to measure.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// coupon, checkout, gateway, sync, engine, ledger, stock, replay or log; `cargo xtask bench coupon --help` lists what each takes
    what: String,
    /// Passed on to the measuring program
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    rest: Vec<String>,
}

/// How often to kill.
#[derive(clap::Args)]
pub(crate) struct Kill9Args {
    /// How often
    #[arg(long, default_value_t = 20)]
    rounds: u32,
}

/// How a sale day is run.
#[derive(clap::Args)]
pub(crate) struct SaleDayArgs {
    /// How often the server is killed during it
    #[arg(long, default_value_t = 10)]
    kills: u32,
    /// What is rehearsed
    #[arg(long, default_value = "examples/rehearsals/sale-day.toml")]
    scenario: PathBuf,
    /// An empty folder that keeps everything; without it, a temporary one
    #[arg(long)]
    dir: Option<PathBuf>,
}

/// Builds the server and the measuring program, and measures.
pub(crate) fn run(args: &Args) -> Result<(), String> {
    let needs_server = matches!(&*args.what, "coupon" | "checkout");
    let mut build = vec!["build", "--profile", run::MEASURED, "-p", "banyan-bench"];
    if needs_server {
        build.extend(["-p", "banyan"]);
    }
    if args.what == "sync" {
        // The clients of old databases, which nothing else here needs.
        build.extend(["--features", "banyan-bench/legacy"]);
    }
    run::cargo(build)?;
    let bin = target_dir()?.join(run::MEASURED);
    let mut command = Command::new(bin.join("banyan-bench"));
    command.arg(&args.what);
    if needs_server {
        command.arg("--banyan").arg(bin.join("banyan"));
    }
    run::to_its_end(command.args(&args.rest))
}

/// Builds the server and the killer, and kills.
pub(crate) fn kill9(args: &Kill9Args) -> Result<(), String> {
    run::cargo([
        "build",
        "--profile",
        run::MEASURED,
        "-p",
        "banyan",
        "--bin",
        "banyan",
        "--example",
        "kill9",
    ])?;
    let bin = target_dir()?.join(run::MEASURED);
    let mut command = Command::new(bin.join("examples/kill9"));
    command.args(["--rounds", &args.rounds.to_string(), "--banyan"]).arg(bin.join("banyan"));
    run::to_its_end(&mut command)
}

/// Builds the server and the sale day, and runs it.
pub(crate) fn sale_day(args: &SaleDayArgs) -> Result<(), String> {
    run::cargo([
        "build",
        "--profile",
        run::MEASURED,
        "-p",
        "banyan",
        "--bin",
        "banyan",
        "--example",
        "sale_day",
    ])?;
    let bin = target_dir()?.join(run::MEASURED);
    let mut command = Command::new(bin.join("examples/sale_day"));
    command.args(["--kills", &args.kills.to_string(), "--banyan"]).arg(bin.join("banyan"));
    command.arg("--scenario").arg(&args.scenario);
    if let Some(dir) = &args.dir {
        command.arg("--dir").arg(dir);
    }
    run::to_its_end(&mut command)
}

/// Where cargo puts what it builds.
pub(crate) fn target_dir() -> Result<PathBuf, String> {
    let output = run::cargo_command()
        .args(["metadata", "--format-version", "1", "--no-deps"])
        .output()
        .map_err(|error| format!("asking cargo for its target directory: {error}"))?;
    let text = String::from_utf8_lossy(&output.stdout);
    let (_, rest) =
        text.split_once("\"target_directory\":\"").ok_or("cargo metadata names no target directory")?;
    let (path, _) = rest.split_once('"').ok_or("cargo metadata was cut short")?;
    Ok(PathBuf::from(path))
}
