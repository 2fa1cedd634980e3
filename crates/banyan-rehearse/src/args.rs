//! The `rehearse` subcommand.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use crate::report::Level;
use crate::{Progress, RehearseError, Report, RunOptions, Scenario, ScenarioError, Stop, Target, run};

/// Rehearse a sale: open-loop load from a scenario file, with a report.
#[derive(Clone, Debug, clap::Args)]
pub struct RehearseArgs {
    /// The scenario, a TOML file; examples are in examples/rehearsals
    pub scenario: PathBuf,
    /// Aim here instead of where the scenario says
    #[arg(long, value_name = "URL")]
    pub url: Option<String>,
    /// Use the key in this file instead of the scenario's
    #[arg(long, value_name = "FILE")]
    pub key_file: Option<PathBuf>,
    /// The simulated payment company, instead of where the scenario says
    #[arg(long, value_name = "URL")]
    pub company: Option<String>,
    /// Use the key of the company's operator in this file instead of the scenario's (DIR/admin.key of `banyan sandbox`)
    #[arg(long, value_name = "FILE")]
    pub company_key: Option<PathBuf>,
    /// Use this seed instead of the scenario's
    #[arg(long)]
    pub seed: Option<u64>,
    /// Append every acknowledged write to this file, as JSON lines
    #[arg(long, value_name = "FILE")]
    pub acks: Option<PathBuf>,
    /// Write the report as JSON
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
    /// Write the report as one HTML page
    #[arg(long, value_name = "FILE.html")]
    pub report: Option<PathBuf>,
    /// What to show while it runs
    #[arg(long, value_enum, default_value_t = Progress::Auto)]
    pub progress: Progress,
}

/// Runs the subcommand: 0 when all is well or only worth a look, 2 when somebody was harmed or a goal was missed.
/// Ctrl-C ends the arrivals and still reports; a second one does not wait for answers.
///
/// # Errors
/// When the rehearsal could not take place; see [`RehearseError`].
pub fn main(args: &RehearseArgs) -> Result<ExitCode, RehearseError> {
    let scenario = scenario(args)?;
    let stop = Stop::default();
    let options = RunOptions { acks: args.acks.clone(), progress: args.progress, stop: stop.clone() };
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(RehearseError::Thread)?;
    let report = runtime.block_on(async {
        let watch = tokio::spawn(async move {
            while tokio::signal::ctrl_c().await.is_ok() {
                stop.stop();
            }
        });
        let report = run(scenario, options).await;
        watch.abort();
        report
    })?;
    print!("{}", report.to_text());
    if let Some(path) = &args.json {
        write(path, &report.to_json())?;
    }
    if let Some(path) = &args.report {
        write(path, &report.to_html())?;
    }
    Ok(exit_code(&report))
}

fn scenario(args: &RehearseArgs) -> Result<Scenario, RehearseError> {
    let mut scenario = Scenario::from_path(&args.scenario).map_err(RehearseError::Scenario)?;
    let field = |field: &str, problem| {
        RehearseError::Scenario(ScenarioError::Field { field: field.to_owned(), problem })
    };
    if let Some(url) = &args.url {
        scenario.target = Target::parse(url).map_err(|problem| field("--url", problem))?;
    }
    if let Some(path) = &args.key_file {
        let read = std::fs::read_to_string(path)
            .map_err(|source| RehearseError::Scenario(ScenarioError::Read { path: path.clone(), source }))?;
        scenario.set_key(&read).map_err(RehearseError::Scenario)?;
    }
    if args.company.is_some() || args.company_key.is_some() {
        let Some(company) = &mut scenario.company else {
            return Err(field("--company", "belongs to a scenario with [company]".to_owned()));
        };
        if let Some(url) = &args.company {
            company.target = Target::parse(url).map_err(|problem| field("--company", problem))?;
        }
        if let Some(path) = &args.company_key {
            let read = std::fs::read_to_string(path).map_err(|source| {
                RehearseError::Scenario(ScenarioError::Read { path: path.clone(), source })
            })?;
            company.set_key(&read).map_err(RehearseError::Scenario)?;
        }
    }
    scenario.seed = args.seed.unwrap_or(scenario.seed);
    Ok(scenario)
}

fn write(path: &Path, text: &str) -> Result<(), RehearseError> {
    std::fs::write(path, text).map_err(|source| RehearseError::Write { path: path.to_owned(), source })
}

fn exit_code(report: &Report) -> ExitCode {
    match report.verdict.level {
        Level::Well | Level::Look => ExitCode::SUCCESS,
        Level::Harm => ExitCode::from(2),
    }
}
