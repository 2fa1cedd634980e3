//! The part of `banyan saga` that talks to a running server.

use crate::client::{Client, ServerArgs, block_on};
use crate::exit::Failure;
use http::Method;
use http_body_util::{BodyExt, Full};
use hyper::body::Bytes;
use serde_json::{Map, Value, json};
use std::path::PathBuf;
use std::process::ExitCode;

#[derive(clap::Args)]
pub(crate) struct DefineArgs {
    /// The definition file
    #[arg(value_name = "FILE")]
    file: PathBuf,
    #[command(flatten)]
    to: ToArgs,
}

#[derive(clap::Args)]
pub(crate) struct RunArgs {
    /// Which saga
    name: String,
    /// What it is about, such as an order: one saga of a name for one key
    #[arg(long)]
    key: String,
    /// A field of its input; may be given several times
    #[arg(long, value_name = "FIELD=VALUE", value_parser = field)]
    input: Vec<(String, String)>,
    #[command(flatten)]
    to: ToArgs,
}

#[derive(clap::Args)]
pub(crate) struct ListArgs {
    /// Only those that wait for an operator
    #[arg(long)]
    parked: bool,
    #[command(flatten)]
    to: ToArgs,
}

#[derive(clap::Args)]
pub(crate) struct ShowArgs {
    /// Its number
    no: u64,
    #[command(flatten)]
    to: ToArgs,
}

#[derive(clap::Args)]
pub(crate) struct ResumeArgs {
    /// Its number
    no: u64,
    /// Why, for the record
    #[arg(long)]
    reason: String,
    /// Only if it is parked at this step
    #[arg(long, value_name = "STEP")]
    step: Option<String>,
    #[command(flatten)]
    to: ToArgs,
}

#[derive(clap::Args)]
pub(crate) struct SkipArgs {
    #[command(flatten)]
    resume: ResumeArgs,
    /// A field of what the step would have said to those after it; may be given several times
    #[arg(long, value_name = "FIELD=VALUE", value_parser = field)]
    output: Vec<(String, String)>,
}

#[derive(clap::Args)]
pub(crate) struct ToArgs {
    #[command(flatten)]
    server: ServerArgs,
    /// Print the answer as JSON
    #[arg(long)]
    json: bool,
}

/// Defines a version of a saga.
pub(crate) fn define(args: &DefineArgs) -> Result<ExitCode, Failure> {
    let doing = format!("defining the saga in {}", args.file.display());
    let text = std::fs::read(&args.file)
        .map_err(|error| Failure::usage(format!("reading {}: {error}", args.file.display())))?;
    talk(
        &args.to,
        async |client| {
            let body = Full::new(Bytes::from(text)).map_err(|never| match never {}).boxed();
            let answer = client.send(Method::POST, "/v1/sagas/definitions", "application/toml", body).await?;
            if let Some(faults) = answer.body["faults"].as_array() {
                let lines: String = faults.iter().map(|fault| format!("\n  {}", fault_line(fault))).collect();
                return Err(Failure::usage(format!(
                    "{doing}: it breaks rules, and nothing was defined:{lines}"
                )));
            }
            answer.expect_success(&doing)
        },
        |defined| println!("{} version {}", word(&defined["name"]), defined["version"]),
    )
}

/// Begins a saga.
pub(crate) fn run(args: &RunArgs) -> Result<ExitCode, Failure> {
    let body = json!({"name": args.name, "key": args.key, "input": object(&args.input)});
    let doing = format!("beginning saga {} for {}", args.name, args.key);
    talk(
        &args.to,
        async |client| client.json(Method::POST, "/v1/sagas", &body).await?.expect_success(&doing),
        print,
    )
}

/// Lists sagas.
pub(crate) fn list(args: &ListArgs) -> Result<ExitCode, Failure> {
    let state = if args.parked { "&state=parked" } else { "" };
    talk(
        &args.to,
        async |client| {
            let (mut all, mut after) = (Vec::new(), 0);
            loop {
                let path = format!("/v1/sagas?limit=500&after={after}{state}");
                let mut page = client.get(&path).await?.expect_success("listing sagas")?;
                if let Some(sagas) = page["sagas"].as_array_mut() {
                    all.append(sagas);
                }
                match page["next"].as_u64() {
                    Some(next) => after = next,
                    None => break Ok(json!({"sagas": all, "seq": page["seq"]})),
                }
            }
        },
        |answer| {
            println!(
                "{:>10} {:<20} {:<24} {:<13} {:>12} {:<25} why",
                "saga", "name", "key", "phase", "at risk", "parked at"
            );
            for saga in answer["sagas"].as_array().into_iter().flatten() {
                let parked = &saga["parked"];
                println!(
                    "{:>10} {:<20} {:<24} {:<13} {:>12} {:<25} {}",
                    saga["saga"].to_string(),
                    word(&saga["name"]),
                    word(&saga["key"]),
                    word(&saga["phase"]),
                    word(&saga["at_risk"]),
                    word(&parked["step"]),
                    word(&parked["why"])
                );
            }
        },
    )
}

/// Shows a saga.
pub(crate) fn show(args: &ShowArgs) -> Result<ExitCode, Failure> {
    let (path, doing) = (format!("/v1/sagas/{}", args.no), format!("reading saga {}", args.no));
    talk(&args.to, async |client| client.get(&path).await?.expect_success(&doing), print)
}

/// Tries a parked step again, or turns the saga back: `how` is `retry` or `undo`.
pub(crate) fn resume(args: &ResumeArgs, how: &str) -> Result<ExitCode, Failure> {
    send_resume(args, json!({"how": how, "reason": args.reason}))
}

/// Counts a parked step as done by hand.
pub(crate) fn skip(args: &SkipArgs) -> Result<ExitCode, Failure> {
    let body = json!({"how": "skip", "reason": args.resume.reason, "output": object(&args.output)});
    send_resume(&args.resume, body)
}

/// Looks where it stands, says so, and sends the decision with the mark of what was seen.
fn send_resume(args: &ResumeArgs, mut body: Value) -> Result<ExitCode, Failure> {
    let doing = format!("letting saga {} go on", args.no);
    talk(
        &args.to,
        async |client| {
            let path = format!("/v1/sagas/{}", args.no);
            let seen = client.get(&path).await?.expect_success(&doing)?;
            let park = &seen["parked"];
            let at = word(&park["step"]);
            if !park.is_null() {
                eprintln!(
                    "saga {}: {}, parked at {at} since {}: {}",
                    args.no,
                    word(&seen["phase"]),
                    word(&park["since"]),
                    word(&park["why"])
                );
            }
            if let Some(step) = args.step.as_ref().filter(|step| !park.is_null() && *step != at) {
                return Err(Failure::usage(format!(
                    "{doing}: it is parked at {at}, and not at {step}. Nothing was changed"
                )));
            }
            body["mark"] = seen["mark"].clone();
            client.json(Method::POST, &format!("{path}/resume"), &body).await?.expect_success(&doing)
        },
        print,
    )
}

/// Connects, asks, and prints the answer.
fn talk(
    to: &ToArgs,
    ask: impl AsyncFnOnce(&mut Client) -> Result<Value, Failure>,
    print: impl FnOnce(&Value),
) -> Result<ExitCode, Failure> {
    let answer = block_on(async {
        let mut client = to.server.connect().await?;
        ask(&mut client).await
    })?;
    if to.json {
        println!("{answer:#}");
    } else {
        print(&answer);
    }
    Ok(ExitCode::SUCCESS)
}

fn print(saga: &Value) {
    println!(
        "saga {}: {} version {} for {}, {}",
        saga["saga"],
        word(&saga["name"]),
        saga["version"],
        word(&saga["key"]),
        word(&saga["phase"])
    );
    for step in saga["steps"].as_array().into_iter().flatten() {
        let output = step["output"].as_object().into_iter().flatten();
        let mut rest: Vec<String> = output.map(|(name, value)| format!("{name}={}", word(value))).collect();
        rest.extend(
            step["waits_for"].as_str().map(|what| format!("waits for {what}, attempt {}", step["attempt"])),
        );
        rest.extend(step["why"].as_str().map(str::to_owned));
        println!("  {:<24} {:<10} {}", word(&step["name"]), word(&step["state"]), rest.join("; "));
    }
    if let Some(park) = saga["parked"].as_object() {
        println!("PARKED at {} since {}: {}", word(&park["step"]), word(&park["since"]), word(&park["why"]));
        println!(
            "Let it go on with `banyan saga retry`, `skip` or `undo`, its number, --step {} and --reason.",
            word(&park["step"])
        );
    }
    match saga["cause"]["kind"].as_str() {
        Some("step") => {
            println!("turned back at {}: {}", word(&saga["cause"]["step"]), word(&saga["cause"]["why"]));
        }
        Some("cancelled") => {
            println!("cancelled by {}: {}", word(&saga["cause"]["by"]), word(&saga["cause"]["reason"]));
        }
        Some("timed-out") => println!("turned back: its time was over"),
        Some(_) => println!("turned back by an operator"),
        None => {}
    }
}

fn fault_line(fault: &Value) -> String {
    let place = fault["step"].as_str().map(|step| format!("step {step}: ")).unwrap_or_default();
    format!("{place}{} [{}]", word(&fault["sentence"]), word(&fault["rule"]))
}

fn word(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn object(fields: &[(String, String)]) -> Map<String, Value> {
    fields.iter().map(|(name, value)| (name.clone(), Value::from(value.as_str()))).collect()
}

fn field(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or_else(|| format!("{text:?} is not FIELD=VALUE"))?;
    Ok((name.to_owned(), value.to_owned()))
}
