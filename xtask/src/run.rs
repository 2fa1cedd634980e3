//! Running other programs.

use std::env;
use std::ffi::OsStr;
use std::path::PathBuf;
use std::process::Command;

/// What the default build leaves out to stay light, and tests and packages have.
pub(crate) const ALL_FEATURES: &str = "banyan/legacy,banyan-bench/legacy";

/// Of these, the server's: for builds of it without the whole workspace.
pub(crate) const SERVER_FEATURES: &str = "banyan/legacy";

/// The profile of what is measured: what a server runs.
pub(crate) const MEASURED: &str = "dist";

/// The root of the workspace.
pub(crate) fn root() -> PathBuf {
    // Asked when it runs: two checkouts that share a build cache share this program, too, and the path of whichever built it.
    let here = env::var_os("CARGO_MANIFEST_DIR")
        .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")), PathBuf::from);
    here.parent().map(PathBuf::from).unwrap_or(here)
}

/// Cargo, at the root of the workspace.
pub(crate) fn cargo_command() -> Command {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(root());
    command
}

/// Runs cargo to its end.
pub(crate) fn cargo<S: AsRef<OsStr>>(args: impl IntoIterator<Item = S>) -> Result<(), String> {
    let mut command = cargo_command();
    command.args(args);
    to_its_end(&mut command)
}

/// Runs a program to its end.
pub(crate) fn to_its_end(command: &mut Command) -> Result<(), String> {
    let line = format!("{command:?}");
    let status = command.status().map_err(|error| format!("starting {line}: {error}"))?;
    if status.success() { Ok(()) } else { Err(format!("{line} ended with {status}")) }
}
