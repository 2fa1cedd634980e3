//! Rehearses a scenario against the test double of this crate, to look at reports and to measure the generator
//! itself: `cargo run --release --example against_double -- SCENARIO.toml --report out.html`. The double runs in
//! this process, so both share the machine. With `--die N` it dies at request N for a second, with `--stall N` it
//! stalls for one.

#[path = "../tests/double/mod.rs"]
#[allow(dead_code, reason = "the double offers more than this program needs")]
mod double;

use std::process::ExitCode;
use std::time::Duration;

use banyan_rehearse::{RehearseArgs, main as rehearse};
use clap::Parser;
use double::{Double, Manners};

#[derive(Parser)]
struct Args {
    #[command(flatten)]
    rehearse: RehearseArgs,
    #[arg(long)]
    die: Option<u64>,
    #[arg(long)]
    stall: Option<u64>,
    #[arg(long)]
    busy_every: Option<u64>,
}

fn main() -> ExitCode {
    let mut args = Args::parse();
    let second = Duration::from_secs(1);
    let manners = Manners {
        die: args.die.map(|at| (at, second)),
        stall: args.stall.map(|at| (at, second)),
        busy_every: args.busy_every,
        ..Manners::default()
    };
    let (sender, receiver) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async {
            let double = Double::start(manners).await;
            sender.send(double.address).expect("somebody waits for it");
            std::future::pending::<()>().await;
        });
    });
    let address = receiver.recv().expect("the double starts");
    args.rehearse.url = Some(format!("http://{address}"));
    let key = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(key.path(), "good").expect("written");
    args.rehearse.key_file = Some(key.path().to_owned());
    rehearse(&args.rehearse).unwrap_or_else(|error| {
        eprintln!("error: {error}");
        ExitCode::FAILURE
    })
}
