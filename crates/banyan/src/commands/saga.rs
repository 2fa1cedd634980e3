//! `banyan saga`: checks the definitions of sagas. What asks a server is in `saga_server`.

use super::saga_server::{self, DefineArgs, ListArgs, ResumeArgs, RunArgs, ShowArgs, SkipArgs};
use crate::exit::{CHECK, Failure};
use banyan_domain::saga::check::{self, Bounds};
use banyan_saga::{faults, read_definition};
use clap::Subcommand;
use serde::Serialize;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// What to do with sagas.
#[derive(Subcommand)]
pub(crate) enum SagaCommand {
    /// Check definition files: their rules, and the orders of events that a saga can meet
    ///
    /// First the rules: one point of no return, an undo for every step before it, a way out of every unknown outcome. Then a
    /// search of what can happen to one saga. Without bound, wherever it can: messages lost and late, refusals, unknown
    /// outcomes, time-outs, crashes, a cancellation, the deadline. At most --surprises times in one order of events: a message
    /// that is repeated, a participant that waits for somebody, a webhook, an undo that is refused, and what an operator decides
    /// about a parked saga. Patience counts as two tries. If one order of events ends badly, the shortest such order is printed.
    #[command(
        after_help = "Exit codes: 0 sound; 2 a file cannot be read; 3 a rule is broken, or a bad end was found.\n\
                            Example: banyan saga lint examples/sagas/checkout.toml"
    )]
    Lint(LintArgs),
    /// Define a version of a saga on a running server
    Define(DefineArgs),
    /// Begin a saga
    #[command(
        after_help = "Example: banyan saga run checkout --key order-1 --input member=m-1 --input amount=5000"
    )]
    Run(RunArgs),
    /// List sagas that are under way or ended in the last two hours
    List(ListArgs),
    /// Show where a saga stands
    Show(ShowArgs),
    /// Try the step at which a saga is parked again
    Retry(ResumeArgs),
    /// Count the step at which a saga is parked as done (or undone) by hand
    Skip(SkipArgs),
    /// Turn a parked saga back, past its point of no return too
    Undo(ResumeArgs),
}

#[derive(clap::Args)]
pub(crate) struct LintArgs {
    /// Definition files
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Most situations to look into for each file; 0 checks the rules alone
    #[arg(long, default_value_t = Bounds::default().situations, value_name = "N")]
    states: usize,
    /// Most surprises in one order of events; each more takes some four times as long
    #[arg(long, default_value_t = Bounds::default().surprises, value_name = "N")]
    surprises: u8,
    /// Print the findings as JSON
    #[arg(long)]
    json: bool,
}

/// What was found in one file.
#[derive(Serialize)]
struct Findings {
    file: String,
    saga: Option<String>,
    version: Option<u32>,
    /// Rules that are broken, or why the file cannot be read.
    faults: Vec<String>,
    /// Situations looked into.
    states: usize,
    /// Whether those were all within the bound of surprises.
    complete: bool,
    /// Most surprises in one order of events.
    surprises: u8,
    /// What is wrong at the end of the shortest bad order of events.
    bad_end: Option<&'static str>,
    /// That order.
    trace: Vec<String>,
}

/// Runs what was asked for.
pub(crate) fn run(command: &SagaCommand) -> Result<ExitCode, Failure> {
    match command {
        SagaCommand::Lint(args) => check_files(args),
        SagaCommand::Define(args) => saga_server::define(args),
        SagaCommand::Run(args) => saga_server::run(args),
        SagaCommand::List(args) => saga_server::list(args),
        SagaCommand::Show(args) => saga_server::show(args),
        SagaCommand::Retry(args) => saga_server::resume(args, "retry"),
        SagaCommand::Skip(args) => saga_server::skip(args),
        SagaCommand::Undo(args) => saga_server::resume(args, "undo"),
    }
}

fn check_files(args: &LintArgs) -> Result<ExitCode, Failure> {
    let found: Vec<Findings> = args
        .files
        .iter()
        .map(|file| look(file, Bounds { situations: args.states, surprises: args.surprises }))
        .collect::<Result<_, _>>()?;
    if args.json {
        println!("{}", serde_json::to_string_pretty(&found).map_err(Failure::environment)?);
    } else {
        found.iter().for_each(print);
    }
    let sound = found.iter().all(|one| one.faults.is_empty() && one.bad_end.is_none());
    Ok(if sound { ExitCode::SUCCESS } else { ExitCode::from(CHECK) })
}

fn look(file: &Path, bounds: Bounds) -> Result<Findings, Failure> {
    let text = std::fs::read_to_string(file)
        .map_err(|error| Failure::usage(format!("reading {}: {error}", file.display())))?;
    let mut findings = Findings {
        file: file.display().to_string(),
        saga: None,
        version: None,
        faults: Vec::new(),
        states: 0,
        complete: false,
        surprises: bounds.surprises,
        bad_end: None,
        trace: Vec::new(),
    };
    let definition = match read_definition(&text) {
        Ok(definition) => definition,
        Err(error) => {
            findings.faults.push(error.to_string());
            return Ok(findings);
        }
    };
    findings.saga = Some(definition.name.to_string());
    findings.version = Some(definition.version);
    findings.faults.extend(faults(&definition).iter().map(ToString::to_string));
    // A saga that breaks a rule is searched too: the trace shows why the rule is there.
    if bounds.situations > 0 && !definition.steps.is_empty() {
        let checked = check::check(&definition, None, bounds);
        findings.states = checked.states;
        findings.complete = checked.complete;
        if let Some(bad) = checked.bad {
            findings.bad_end = Some(bad.what);
            findings.trace = bad.moves;
        }
    }
    Ok(findings)
}

fn print(found: &Findings) {
    match (&found.saga, found.version) {
        (Some(saga), Some(version)) => println!("{}: {saga} version {version}", found.file),
        _ => println!("{}", found.file),
    }
    for fault in &found.faults {
        println!("  {fault}");
    }
    if let Some(what) = found.bad_end {
        println!("  {what}, when this happens:");
        for (n, one) in (1..).zip(&found.trace) {
            println!("  {n:>4}. {one}");
        }
    } else if found.states > 0 && found.faults.is_empty() {
        let all = match (found.complete, found.surprises) {
            (true, 1) => "all with at most 1 surprise".to_owned(),
            (true, most) => format!("all with at most {most} surprises"),
            (false, _) => "and there are more: raise --states, or lower --surprises".to_owned(),
        };
        println!("  sound; {} situations looked into, {all}", found.states);
    }
}
