//! `banyan stock`: what is on hand, and counting it.

use crate::client::{Client, ServerArgs, block_on};
use crate::exit::{CHECK, Failure};
use crate::offline::byte_progress;
use clap::Subcommand;
use http::Method;
use http_body_util::{BodyExt, Full};
use hyper::body::Bytes;
use serde::Serialize;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::path::PathBuf;
use std::process::ExitCode;

/// Rows in one request: as many as the server takes in one command.
const PIECE_ROWS_MAX: usize = 8_192;
/// Bytes in one request, well below what the server takes.
const PIECE_BYTES_MAX: usize = 4 << 20;
/// Bad lines that are printed; the rest are counted.
const BAD_LINES_MAX: usize = 1_000;
const HEADER: &str = "sku,location,on_hand";

/// Look at the stock of a running server, and count it.
#[derive(Subcommand)]
pub(crate) enum StockCommand {
    /// Count many items from a CSV file; run it as often as you like
    Import(ImportArgs),
    /// Show one SKU at all its locations
    Show(ShowArgs),
    /// Say what was counted of one item
    Set(SetArgs),
}

/// Count many items from a CSV file.
///
/// Each row sets the units on hand of one item, or is refused by itself. What is known stays as it is, so a file can be sent again.
#[derive(clap::Args)]
#[command(
    after_help = "The file:\n\n  sku,location,on_hand\n  A-1,seoul-1,40\n  A-2,,7               # no location: main\n\n\
                        (without the comment). Exit codes: 0 every row was taken; 2 the file cannot be read; 3 some rows were \
                        refused, the others were taken; 4 the server cannot be reached."
)]
pub(crate) struct ImportArgs {
    /// The CSV file, with the header sku,location,on_hand
    file: PathBuf,
    #[command(flatten)]
    server: ServerArgs,
    /// Print what became of the rows as JSON
    #[arg(long)]
    json: bool,
}

/// Show one SKU at all its locations.
#[derive(clap::Args)]
pub(crate) struct ShowArgs {
    /// The SKU
    sku: String,
    #[command(flatten)]
    server: ServerArgs,
    /// Print as JSON
    #[arg(long)]
    json: bool,
}

/// Say what was counted of one item. Creates it if it is new.
#[derive(clap::Args)]
pub(crate) struct SetArgs {
    /// The SKU
    sku: String,
    /// Units there
    on_hand: u32,
    /// Where
    #[arg(long, default_value = "main")]
    location: String,
    /// Why, for the record
    #[arg(long)]
    reason: String,
    #[command(flatten)]
    server: ServerArgs,
    /// Print the item as JSON
    #[arg(long)]
    json: bool,
}

/// What became of the rows of a file.
#[derive(Default, Serialize)]
struct Report {
    rows: u64,
    changed: u64,
    unchanged: u64,
    refused: Vec<BadLine>,
    refused_total: u64,
    seq: u64,
}

/// A row that was not taken.
#[derive(Serialize)]
struct BadLine {
    line: u64,
    why: String,
}

pub(crate) fn run(command: &StockCommand) -> Result<ExitCode, Failure> {
    block_on(async {
        match command {
            StockCommand::Import(args) => import(args).await,
            StockCommand::Show(args) => show(args).await,
            StockCommand::Set(args) => set(args).await,
        }
    })
}

async fn import(args: &ImportArgs) -> Result<ExitCode, Failure> {
    let failed = |error: io::Error| Failure::usage(format!("reading {}: {error}", args.file.display()));
    let file = File::open(&args.file).map_err(failed)?;
    let bytes = file.metadata().map_err(failed)?.len();
    let mut file = BufReader::new(file);
    let mut line = Vec::new();
    let mut read = file.read_until(b'\n', &mut line).map_err(failed)? as u64;
    let header = line.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&line).trim_ascii();
    let header = String::from_utf8_lossy(header).replace([' ', '"'], "");
    if !header.eq_ignore_ascii_case(HEADER) {
        let what = format!("{}: the first line must be the header {HEADER}", args.file.display());
        return Err(Failure::usage(what));
    }
    let mut client = args.server.connect().await?;
    let progress = byte_progress("importing stock", bytes);
    let mut import =
        Import { report: Report::default(), piece: Vec::new(), lines: Vec::new(), seen: BTreeMap::new() };
    for number in 2_u64.. {
        line.clear();
        let more = file.read_until(b'\n', &mut line).map_err(failed)?;
        import.take(number, line.trim_ascii());
        let full = import.lines.len() == PIECE_ROWS_MAX || import.piece.len() >= PIECE_BYTES_MAX;
        if full || (more == 0 && !import.lines.is_empty()) {
            import.send(&mut client).await?;
            progress.set_position(read);
        }
        if more == 0 {
            break;
        }
        read += more as u64;
    }
    progress.finish_and_clear();
    let mut report = import.report;
    report.refused.sort_by_key(|bad| bad.line);
    report.refused.truncate(BAD_LINES_MAX);
    if args.json {
        println!("{}", serde_json::to_string_pretty(&report).map_err(Failure::environment)?);
    } else {
        print(&report);
    }
    Ok(if report.refused_total == 0 { ExitCode::SUCCESS } else { ExitCode::from(CHECK) })
}

fn print(report: &Report) {
    println!(
        "{} rows: {} changed, {} as they were, {} refused",
        report.rows, report.changed, report.unchanged, report.refused_total
    );
    for bad in &report.refused {
        println!("  line {}: {}", bad.line, bad.why);
    }
    let more = report.refused_total - report.refused.len() as u64;
    if more > 0 {
        println!("  and {more} more lines");
    }
}

/// An import under way: the rows of the next request, and what became of those before.
struct Import {
    report: Report,
    piece: Vec<u8>,
    /// The line in the file of each row of the piece.
    lines: Vec<u64>,
    /// The line on which each item was named: the server sees one piece at a time and cannot tell.
    seen: BTreeMap<Box<[u8]>, u64>,
}

impl Import {
    fn take(&mut self, number: u64, line: &[u8]) {
        if line.is_empty() {
            return;
        }
        let item = line.iter().rposition(|byte| *byte == b',').map_or(line, |end| &line[..end]);
        if let Some(first) = self.seen.get(item) {
            let why = format!("the item is on line {first} already; count it once");
            self.report.rows += 1;
            self.refuse(BadLine { line: number, why });
            return;
        }
        self.seen.insert(item.into(), number);
        if self.piece.is_empty() {
            self.piece.extend_from_slice(HEADER.as_bytes());
        }
        self.piece.push(b'\n');
        self.piece.extend_from_slice(line);
        self.lines.push(number);
    }

    fn refuse(&mut self, bad: BadLine) {
        self.report.refused_total += 1;
        // Some more than are printed: the first of them are known only once they are in order.
        if self.report.refused.len() < 2 * BAD_LINES_MAX {
            self.report.refused.push(bad);
        }
    }

    async fn send(&mut self, client: &mut Client) -> Result<(), Failure> {
        let lines = std::mem::take(&mut self.lines);
        let body = Full::new(Bytes::from(std::mem::take(&mut self.piece)));
        let body = body.map_err(|never: Infallible| match never {}).boxed();
        let answer = client.send(Method::POST, "/v1/stock/import", "text/csv", body).await?;
        let first = lines.first().copied().unwrap_or_default();
        let doing =
            format!("importing from line {first} on (the rows before are taken; send the file again)");
        let answer = answer.expect_success(&doing)?;
        let number = |field: &str| answer[field].as_u64().unwrap_or_default();
        self.report.rows += number("rows");
        self.report.changed += number("changed");
        self.report.unchanged += number("unchanged");
        self.report.seq = number("seq");
        let named = answer["refused"].as_array().map_or(&[][..], Vec::as_slice);
        for bad in named {
            // The piece's header is its line 1, and each row has a line.
            let index = bad["line"].as_u64().unwrap_or_default().saturating_sub(2);
            let line = usize::try_from(index).ok().and_then(|index| lines.get(index));
            let why = bad["why"].as_str().unwrap_or_default().to_owned();
            self.refuse(BadLine { line: line.copied().unwrap_or(first), why });
        }
        self.report.refused_total += number("refused_total").saturating_sub(named.len() as u64);
        Ok(())
    }
}

async fn show(args: &ShowArgs) -> Result<ExitCode, Failure> {
    let path = path(&args.sku)?;
    let mut client = args.server.connect().await?;
    let answer = client.get(&path).await?.expect_success(&format!("reading the stock of {}", args.sku))?;
    if args.json {
        println!("{answer:#}");
        return Ok(ExitCode::SUCCESS);
    }
    println!(
        "{:<24} {:>10} {:>10} {:>10} {:>10} {:>10} {:>10}",
        "location", "on hand", "held", "available", "promised", "owed", "safety"
    );
    let row = |name: &str, row: &Value| {
        let number = |field: &str| row[field].as_u64().map_or_else(String::new, |units| units.to_string());
        println!(
            "{name:<24} {:>10} {:>10} {:>10} {:>10} {:>10} {:>10}",
            number("on_hand"),
            number("held"),
            number("available"),
            number("promised"),
            number("owed"),
            number("safety")
        );
    };
    for location in answer["locations"].as_array().into_iter().flatten() {
        row(location["location"].as_str().unwrap_or_default(), location);
    }
    row("all", &answer);
    if let Some(limit) = answer["per_member"].as_u64() {
        println!("One member may reserve and buy {limit}.");
    }
    Ok(ExitCode::SUCCESS)
}

async fn set(args: &SetArgs) -> Result<ExitCode, Failure> {
    let path = path(&args.sku)?;
    let mut client = args.server.connect().await?;
    let body = json!({"on_hand": args.on_hand, "location": args.location, "reason": args.reason});
    let answer = client.json(Method::PUT, &path, &body).await?;
    let item = answer.expect_success(&format!("counting {} at {}", args.sku, args.location))?;
    if args.json {
        println!("{item:#}");
    } else {
        println!(
            "{} at {}: {} on hand, {} held, {} available",
            args.sku, args.location, item["on_hand"], item["held"], item["available"]
        );
    }
    Ok(ExitCode::SUCCESS)
}

/// The path of a SKU. Its first letter is always escaped: two SKUs, `import` and `reservations`, would be endpoints otherwise.
fn path(sku: &str) -> Result<String, Failure> {
    banyan_domain::SkuId::new(sku).map_err(Failure::usage)?;
    let mut path = "/v1/stock/".to_owned();
    for (index, byte) in sku.bytes().enumerate() {
        if index > 0 && byte.is_ascii_alphanumeric() {
            path.push(char::from(byte));
        } else {
            path.push_str(&format!("%{byte:02X}"));
        }
    }
    Ok(path)
}
