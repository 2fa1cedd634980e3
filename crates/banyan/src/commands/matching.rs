//! `banyan match`: holds the books and the sagas against a payment company's statement.

use crate::exit::{CHECK, Failure};
use crate::offline::{self, StoreArgs, event_progress};
use banyan_domain::{Millis, Timestamp};
use banyan_log::{Block, Verdict};
use banyan_match::{
    Books, Finding, Format, Movement, Period, Report, compare, page, parse_day, parse_instant, read_statement,
};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::UNIX_EPOCH;

/// Compare ledger, sagas and a payment company's statement
///
/// Reads the log itself, so that it works beside a running server and nothing that a server keeps in memory is believed; the report
/// says as of which event. Every charge and refund is looked for on all three sides. What two of them disagree about is named with
/// its order, saga, payment and transfer, and with a saga to begin as a repair. Nothing is changed.
#[derive(clap::Args)]
#[command(
    after_help = "Exit codes: 0 nothing to repair (what is late is listed all the same); 3 something has to be repaired, or the log is \
                        damaged; 2 a file cannot be understood; 4 it could not be read.\n\
                        Example: banyan match --company company --statement 2026-11-27.csv --day 2026-11-27 --html match.html"
)]
pub(crate) struct MatchArgs {
    /// The company's service, as sagas and the services file name it
    #[arg(long, value_name = "NAME", default_value = "company")]
    company: String,
    /// Its statement: CSV or JSON lines as `banyan sandbox` writes them; several files are taken as one
    #[arg(long, value_name = "FILE", required = true, num_args = 1..)]
    statement: Vec<PathBuf>,
    /// The ledger's account of it, NAME:receivable if left out; may be given several times
    #[arg(long, value_name = "ACCOUNT")]
    account: Vec<String>,
    #[command(flatten)]
    store: StoreArgs,
    /// Log position as of which to match; the end of the log if left out
    #[arg(long, value_name = "SEQ", value_parser = clap::value_parser!(u64).range(1..))]
    at: Option<u64>,
    /// The day (UTC) that the statement covers
    #[arg(long, value_name = "DAY", conflicts_with_all = ["from", "to"])]
    day: Option<String>,
    /// First instant that the statement covers; since ever if left out
    #[arg(long, value_name = "TIME")]
    from: Option<String>,
    /// The instant after its last; if left out, or if the day is not over, when the file was last written
    #[arg(long, value_name = "TIME")]
    to: Option<String>,
    /// How far the company's clock may be from ours
    #[arg(long, value_name = "SECONDS", default_value_t = 5)]
    skew: u64,
    /// Write the report as a page
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
    /// Print the report as JSON
    #[arg(long)]
    json: bool,
}

/// Compares and reports.
pub(crate) fn run(args: &MatchArgs) -> Result<ExitCode, Failure> {
    let (movements, written) = read_all(&args.statement)?;
    let period = args.period(written)?;
    let accounts = match args.account.as_slice() {
        [] => vec![format!("{}:receivable", args.company)],
        named => named.to_vec(),
    };
    let books = read_books(args, &accounts)?;
    if !books.has_account() && !args.account.is_empty() {
        let all = accounts.join(", ");
        return Err(Failure::usage(format!(
            "--account: the ledger has no account {all}; look with `banyan ledger trial-balance`"
        )));
    }
    if !books.knows_company() && !books.has_account() {
        return Err(Failure::usage(format!(
            "up to event {}, no saga asks a service {}, and the ledger has no account {}: name them with --company and --account",
            books.seq(),
            args.company,
            accounts.join(", ")
        )));
    }
    let names: Vec<String> = args.statement.iter().map(|path| file_name(path)).collect();
    let report = compare(&books, &names.join(", "), &movements, period);
    // Ending the process gives the memory back faster than taking the tables apart.
    std::mem::forget(books);
    if let Some(path) = &args.html {
        std::fs::write(path, page(&report))
            .map_err(|error| Failure::environment(format!("writing {}: {error}", path.display())))?;
    }
    if args.json {
        println!("{}", serde_json::to_string_pretty(&report).map_err(Failure::environment)?);
    } else {
        print(&report);
    }
    Ok(if report.clean { ExitCode::SUCCESS } else { ExitCode::from(CHECK) })
}

impl MatchArgs {
    /// What the statement covers, if it was last written at `written`.
    fn period(&self, written: Timestamp) -> Result<Period, Failure> {
        let instant = |name: &str, text: &Option<String>| {
            let read = text.as_deref().map(parse_instant).transpose();
            read.map_err(|error| Failure::usage(format!("--{name}: {error}")))
        };
        let skew = Millis::from_seconds(self.skew);
        if let Some(day) = &self.day {
            let (from, to) = parse_day(day).map_err(|error| Failure::usage(format!("--day: {error}")))?;
            return Ok(Period { from: Some(from), to: Some(to.min(written)), skew });
        }
        let (from, to) = (instant("from", &self.from)?, instant("to", &self.to)?.unwrap_or(written));
        if from.is_some_and(|from| from >= to) {
            return Err(Failure::usage(
                "--from must be before --to, or before the file was written if --to is left out",
            ));
        }
        Ok(Period { from, to: Some(to), skew })
    }
}

/// The movements of every file in turn, and when the first of the files was last written.
fn read_all(files: &[PathBuf]) -> Result<(Vec<Movement>, Timestamp), Failure> {
    let (mut all, mut earliest) = (Vec::new(), Timestamp::from_millis(u64::MAX));
    for path in files {
        let failed =
            |error: std::io::Error| Failure::environment(format!("reading {}: {error}", path.display()));
        let written = std::fs::metadata(path).and_then(|data| data.modified()).map_err(failed)?;
        let since = written.duration_since(UNIX_EPOCH).unwrap_or_default();
        earliest = earliest.min(Timestamp::from_millis(u64::try_from(since.as_millis()).unwrap_or(u64::MAX)));
        let text = std::fs::read_to_string(path).map_err(failed)?;
        let format = Format::of_name(&file_name(path)).ok_or_else(|| {
            Failure::usage(format!("{}: a statement is a .csv or a .jsonl file", path.display()))
        })?;
        let movements = read_statement(&text, format)
            .map_err(|error| Failure::usage(format!("{}: {error}", path.display())))?;
        all.extend(movements);
    }
    Ok((all, earliest))
}

fn read_books(args: &MatchArgs, accounts: &[String]) -> Result<Books, Failure> {
    let mut log = args.store.open()?;
    args.store.expect_whole(log.summary().first_seq.as_u64())?;
    let mut books = Books::new(&args.company, accounts);
    let progress = event_progress("reading the books");
    let mut block = Block::default();
    while args.at.is_none_or(|at| books.seq() < at) && log.next(&mut block).map_err(Failure::environment)? {
        progress.inc(u64::from(block.count));
        offline::each_event(&block, &mut |seq, time, entry| {
            if args.at.is_none_or(|at| seq <= at) {
                books.event(seq, time, &entry.event);
            }
            Ok(())
        })?;
    }
    progress.finish_and_clear();
    if let Some(Verdict::Corrupt(damage)) = log.verdict() {
        return Err(Failure::check(format!("the log is damaged: {damage}\n{}", offline::ABOUT_DAMAGE)));
    }
    match args.at {
        Some(at) if books.seq() != at => Err(Failure::usage(format!(
            "--at {at}: the log has events 1 to {}; name one of them, or leave --at out",
            books.seq()
        ))),
        _ => {
            books.close();
            Ok(books)
        }
    }
}

fn file_name(path: &Path) -> String {
    path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned()
}

fn print(report: &Report) {
    println!(
        "{}: {} movements, {} matched, as of event {} of {}",
        report.statement, report.movements, report.matched, report.seq, report.at
    );
    for sums in &report.sums {
        println!(
            "  {}: taken {} there, {} here; sent back {} there, {} here; at stake {}, late {}",
            sums.currency,
            sums.captured_there,
            sums.captured_here,
            sums.refunded_there,
            sums.refunded_here,
            sums.at_stake,
            sums.late
        );
    }
    report.findings.iter().for_each(print_finding);
    match (report.repairs(), report.findings.len()) {
        (0, 0) => println!("All three agree."),
        (0, late) => println!("Nothing to repair; {late} on the way."),
        (repairs, _) => println!("{repairs} to repair."),
    }
}

fn print_finding(finding: &Finding) {
    let saga =
        finding.saga.as_ref().map(|saga| format!("saga {} ({}, {})", saga.saga, saga.name, saga.state));
    let named = |name: &str, value: &Option<String>| value.as_ref().map(|value| format!("{name} {value}"));
    let facts = [
        named("order", &finding.order),
        named("payment", &finding.payment),
        saga,
        named("transfer", &finding.transfer),
        named("movement", &finding.movement),
    ];
    println!(
        "{}: {} {}, {} s old: {}",
        finding.kind.word(),
        finding.amount,
        finding.currency,
        finding.age_seconds,
        facts.into_iter().flatten().collect::<Vec<_>>().join(", ")
    );
    println!("  {}\n  {}", finding.sentence, finding.repair.advice);
    if let Some(command) = &finding.repair.command {
        println!("  $ {command}");
    }
}
