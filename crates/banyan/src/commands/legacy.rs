//! `banyan legacy`: moving a capability over from an old shop, and back.

use crate::client::{Client, ServerArgs, block_on};
use crate::exit::{CHECK, Failure};
use crate::old_database;
use banyan_legacy::{CheckLevel, Finding, Mapping};
use clap::Subcommand;
use http::Method;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

/// How often a server is asked how far a move is.
const LOOK: Duration = Duration::from_millis(200);

/// Move a capability over from an old shop, one phase at a time, and back. Only stock can move today.
///
/// Phases: legacy (the old shop has it), mirror (the old shop leads, Banyan copies), lead (Banyan leads, the old tables
/// follow), retired (the old tables are not kept any more).
#[derive(Subcommand)]
pub(crate) enum LegacyCommand {
    /// Look at the old database: what is right, what must be mended first, and how
    Check(CheckArgs),
    /// Show where the capability stands
    Status(AskArgs),
    /// Show what a move would do and whether it may begin; changes nothing
    Plan(PlanArgs),
    /// Move to the next phase, or back to the one before
    Move(MoveArgs),
    /// Give the move under way up
    Abort(AbortArgs),
    /// Compare both sides now, and put right what differs
    Reconcile(AskArgs),
    /// Show who still touches what is to go
    References(AskArgs),
}

/// Look at the old database: settings, rights, tables, rows. Needs no running server.
#[derive(clap::Args)]
#[command(
    after_help = "Exit codes: 0 nothing to mend; 2 the mapping cannot be read; 3 something must be mended first; 4 the old \
                        database cannot be reached."
)]
pub(crate) struct CheckArgs {
    /// The mapping file (docs/legacy-sync.md says what is in it)
    mapping: PathBuf,
    /// Make what is ours there: two small tables on Postgres, four on MySQL and MariaDB, and what the stream needs. With your consent only: this is it
    #[arg(long)]
    create: bool,
    /// Print the findings as JSON
    #[arg(long)]
    json: bool,
}

#[derive(clap::Args)]
pub(crate) struct AskArgs {
    /// Which capability: only stock can move today
    #[arg(default_value = "stock")]
    capability: String,
    #[command(flatten)]
    server: ServerArgs,
    /// Print the answer as JSON
    #[arg(long)]
    json: bool,
}

#[derive(clap::Args)]
pub(crate) struct PlanArgs {
    /// Where to: legacy, mirror, lead or retired
    to: String,
    #[command(flatten)]
    ask: AskArgs,
}

/// Move to the next phase, or back to the one before, and wait until it is done.
///
/// Interrupting this command does not stop the move: the server goes on with it, also after a crash.
#[derive(clap::Args)]
#[command(
    after_help = "Exit codes: 0 done (or begun, with --no-wait); 2 not one step away; 3 a gate does not hold; 4 the server \
                        cannot be reached."
)]
pub(crate) struct MoveArgs {
    /// Where to: legacy, mirror, lead or retired
    to: String,
    #[command(flatten)]
    ask: AskArgs,
    /// Only show what would be done, and whether it may begin
    #[arg(long)]
    dry_run: bool,
    /// Why, for the record
    #[arg(long, value_name = "TEXT", default_value = "")]
    reason: String,
    /// Go without this gate (lag, evidence, references). Kept in the log with what was found, and with your reason
    #[arg(long, value_name = "GATE", requires = "reason")]
    without: Vec<String>,
    /// Do not wait until it is done
    #[arg(long)]
    no_wait: bool,
}

#[derive(clap::Args)]
pub(crate) struct AbortArgs {
    #[command(flatten)]
    ask: AskArgs,
    /// Why, for the record
    #[arg(long, value_name = "TEXT")]
    reason: String,
}

pub(crate) fn run(command: &LegacyCommand) -> Result<ExitCode, Failure> {
    match command {
        LegacyCommand::Check(args) => check(args),
        LegacyCommand::Status(args) => ask(args, "", Method::GET, status_text),
        LegacyCommand::Plan(args) => plan(&args.ask, &args.to, &[]),
        LegacyCommand::Move(args) if !args.without.is_empty() && args.reason.trim().is_empty() => {
            Err(Failure::usage("--without needs a --reason that says why: it is kept in the log"))
        }
        LegacyCommand::Move(args) if args.dry_run => plan(&args.ask, &args.to, &args.without),
        LegacyCommand::Move(args) => block_on(begin(args)),
        LegacyCommand::Abort(args) => abort(args),
        LegacyCommand::Reconcile(args) => ask(args, "/reconcile", Method::POST, |answer| {
            format!("{} rows compared, {} still differ", answer["rows"], answer["differing"])
        }),
        LegacyCommand::References(args) => ask(args, "/references", Method::GET, references_text),
    }
}

/// Reads a mapping file.
pub(crate) fn read_mapping(path: &Path) -> Result<Mapping, Failure> {
    let text = std::fs::read_to_string(path)
        .map_err(|error| Failure::usage(format!("reading {}: {error}", path.display())))?;
    Mapping::read(&text, path.parent().unwrap_or(Path::new("")))
        .map_err(|error| Failure::usage(format!("{}:{}: {}", path.display(), error.line, error.why)))
}

fn check(args: &CheckArgs) -> Result<ExitCode, Failure> {
    let database = old_database::open(read_mapping(&args.mapping)?)?;
    let (made, findings) = block_on(async {
        let made = match args.create {
            true => database.create().await.map_err(Failure::environment)?,
            false => Vec::new(),
        };
        Ok((made, database.check().await))
    })?;
    let stops = findings.iter().filter(|finding| finding.level == CheckLevel::Stop).count();
    if args.json {
        let findings: Vec<Value> = findings.iter().map(finding_json).collect();
        println!("{:#}", json!({"made": made, "findings": findings, "to_mend": stops}));
    } else {
        made.iter().for_each(|line| println!("made     {line}"));
        findings.iter().for_each(print_finding);
        match stops {
            0 => println!("\nNothing to mend. Next: banyan up --legacy {}", args.mapping.display()),
            _ => println!("\n{stops} to mend first."),
        }
    }
    Ok(if stops == 0 { ExitCode::SUCCESS } else { ExitCode::from(CHECK) })
}

const fn word(level: CheckLevel) -> &'static str {
    match level {
        CheckLevel::Ok => "ok",
        CheckLevel::Warn => "warning",
        CheckLevel::Stop => "mend",
    }
}

fn finding_json(finding: &Finding) -> Value {
    let Finding { level, subject, found, fix } = finding;
    json!({"level": word(*level), "subject": subject, "found": found, "fix": fix})
}

fn print_finding(finding: &Finding) {
    println!("{:<8} {}: {}", word(finding.level), finding.subject, finding.found);
    if !finding.fix.is_empty() {
        println!("         -> {}", finding.fix);
    }
}

fn ask(
    args: &AskArgs,
    path: &str,
    method: Method,
    show: impl Fn(&Value) -> String,
) -> Result<ExitCode, Failure> {
    let answer = block_on(async {
        let mut client = args.server.connect().await?;
        let path = format!("/v1/legacy/{}{path}", args.capability);
        client.json(method, &path, &json!({})).await?.expect_success("asking")
    })?;
    print(args, &answer, show);
    Ok(ExitCode::SUCCESS)
}

fn print(args: &AskArgs, answer: &Value, show: impl Fn(&Value) -> String) {
    match args.json {
        true => println!("{answer:#}"),
        false => println!("{}", show(answer)),
    }
}

fn plan(args: &AskArgs, to: &str, without: &[String]) -> Result<ExitCode, Failure> {
    let answer = block_on(async {
        let mut client = args.server.connect().await?;
        look_at_plan(&mut client, &args.capability, to, without).await
    })?;
    print(args, &answer, plan_text);
    Ok(if answer["may_begin"] == true { ExitCode::SUCCESS } else { ExitCode::from(CHECK) })
}

async fn look_at_plan(
    client: &mut Client,
    capability: &str,
    to: &str,
    without: &[String],
) -> Result<Value, Failure> {
    let known = ["legacy", "mirror", "lead", "retired"];
    if !known.contains(&to) {
        return Err(Failure::usage(format!("{to} is no phase: write legacy, mirror, lead or retired")));
    }
    let is_word =
        |name: &String| !name.is_empty() && name.chars().all(|c| c.is_ascii_lowercase() || c == '-');
    if let Some(name) = without.iter().find(|name| !is_word(name)) {
        return Err(Failure::usage(format!("{name:?} is no gate: write lag, evidence or references")));
    }
    let mut path = format!("/v1/legacy/{capability}/plan?to={to}");
    if !without.is_empty() {
        path += &format!("&without={}", without.join(","));
    }
    client.get(&path).await?.expect_success("planning")
}

async fn begin(args: &MoveArgs) -> Result<ExitCode, Failure> {
    let AskArgs { capability, server, .. } = &args.ask;
    let mut client = server.connect().await?;
    let path = format!("/v1/legacy/{capability}");
    let body = json!({"to": args.to, "reason": args.reason, "without": args.without});
    let answer = client.json(Method::POST, &format!("{path}/moves"), &body).await?;
    if answer.body["title"] == "gates-closed" {
        let plan = look_at_plan(&mut client, capability, &args.to, &args.without).await?;
        print(&args.ask, &plan, plan_text);
        // What was in the way may be gone by the time of the second look.
        eprintln!("{}", answer.failure("not begun"));
        return Ok(ExitCode::from(CHECK));
    }
    let begun = answer.expect_success("moving")?;
    let mut told = String::new();
    loop {
        let status = client.get(&path).await?.expect_success("looking at the move")?;
        let moving = &status["moving"];
        if args.no_wait || moving.is_null() || moving["move"] != begun["move"] {
            print(&args.ask, &status, status_text);
            let done = args.no_wait || status["phase"] == args.to.as_str();
            return Ok(if done { ExitCode::SUCCESS } else { ExitCode::from(CHECK) });
        }
        let now = progress_text(moving);
        if now != told && !args.ask.json {
            eprintln!("{now}");
            told = now;
        }
        // The server is asked: it tells nobody by itself.
        tokio::time::sleep(LOOK).await;
    }
}

fn abort(args: &AbortArgs) -> Result<ExitCode, Failure> {
    let answer = block_on(async {
        let mut client = args.ask.server.connect().await?;
        let path = format!("/v1/legacy/{}/abort", args.ask.capability);
        client.json(Method::POST, &path, &json!({"reason": args.reason})).await?.expect_success("aborting")
    })?;
    print(&args.ask, &answer, status_text);
    Ok(ExitCode::SUCCESS)
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn progress_text(moving: &Value) -> String {
    let steps = moving["steps"].as_array().map(Vec::as_slice).unwrap_or_default();
    let next = steps.iter().find(|step| step["done_at"].is_null());
    let step = next.map_or("finishing", |step| text(&step["what"]));
    match moving["waits_for"].as_str() {
        Some(why) => format!("{step} ... {why}"),
        None => format!("{step} ..."),
    }
}

fn plan_text(plan: &Value) -> String {
    let mut lines = vec![format!("{} -> {}", text(&plan["from"]), text(&plan["to"]))];
    let steps = plan["steps"].as_array().map(Vec::as_slice).unwrap_or_default();
    if steps.is_empty() {
        lines.push("Not one step apart: go to the phase between them first.".into());
    }
    for (place, step) in (1..).zip(steps) {
        lines.push(format!("  {place}. {:<9} {}", text(&step["step"]), text(&step["what"])));
    }
    for gate in plan["gates"].as_array().map(Vec::as_slice).unwrap_or_default() {
        let (holds, without) = (gate["holds"] == true, gate["without"] == true);
        let mark = match (holds, without) {
            (true, _) => "holds ",
            (false, true) => "waived",
            (false, false) => "CLOSED",
        };
        lines.push(format!("  {mark} {:<10} {}", text(&gate["gate"]), text(&gate["found"])));
        if !holds {
            lines.push(format!("         needed: {}", text(&gate["needed"])));
        }
    }
    lines.join("\n")
}

fn status_text(status: &Value) -> String {
    let mut lines = vec![format!(
        "{}: {} (move {}), {} items of the old shop, {} short",
        text(&status["capability"]),
        text(&status["phase"]),
        status["epoch"],
        status["items"],
        status["short"]
    )];
    let moving = &status["moving"];
    if !moving.is_null() {
        lines.push(format!("moving to {}: {}", text(&moving["to"]), progress_text(moving)));
        for one in moving["without"].as_array().into_iter().flatten() {
            lines.push(format!("  without {}: {}", text(&one["gate"]), text(&one["found"])));
        }
    }
    let sync = &status["sync"];
    if !status["source"].is_null() {
        lines.push(format!(
            "stream in: {}, at {}, lag {} ms, {} transactions; old columns: {}, lag {} ms, {} rows",
            if sync["inward"] == true { "followed" } else { "not followed" },
            text(&status["source"]["position"]),
            sync["lag_millis"],
            sync["transactions"],
            if sync["outward"] == true { "following" } else { "not following" },
            sync["out_lag_millis"],
            sync["rows_out"]
        ));
    }
    for why in status["trouble"].as_array().into_iter().flatten() {
        lines.push(format!("TROUBLE: {}", text(why)));
    }
    for trouble in ["inward_trouble", "outward_trouble"] {
        if let Some(why) = sync[trouble].as_str() {
            lines.push(format!("TROUBLE: {why}"));
        }
    }
    if let Some(first) = sync["first_aside"].as_str() {
        lines.push(format!("SET ASIDE: the old table refuses {} rows, first {first}", sync["rows_aside"]));
    }
    let last = &status["reconciled"];
    if !last.is_null() {
        lines.push(format!(
            "compared {}: {} rows as of {}, {} differed, {} put right",
            text(&last["at"]),
            last["rows"],
            text(&last["position"]),
            last["differing"],
            last["repaired"]
        ));
    }
    if status["holds_waiting"].as_u64().is_some_and(|waiting| waiting > 0) {
        lines.push(format!(
            "{} holds are over and wait for the stream; known until {}",
            status["holds_waiting"],
            status["known_until"].as_str().unwrap_or("never")
        ));
    }
    lines.push(format!(
        "{} breaches, {} messages refused, {} references left",
        status["breaches"], status["outbox_refused"], status["references_left"]
    ));
    lines.join("\n")
}

fn references_text(answer: &Value) -> String {
    let mut lines = vec![format!(
        "{} left within {} s, watched since {}",
        answer["left"],
        answer["quiet_seconds"],
        text(&answer["watched_since"])
    )];
    for reference in answer["references"].as_array().map(Vec::as_slice).unwrap_or_default() {
        let mark = if reference["left"] == true { "*" } else { " " };
        lines.push(format!(
            "{mark} {:<5} {:<16} {} {:>8}  {}",
            text(&reference["kind"]),
            text(&reference["caller"]),
            text(&reference["last_seen"]),
            reference["count"],
            text(&reference["what"])
        ));
    }
    lines.join("\n")
}
