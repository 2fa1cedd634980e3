//! Banyan in front of the old shop: built, configured from the example's files, started, and ended by its process.

use crate::bench::target_dir;
use crate::run::{self, root};
use banyan_testkit::oscar::Visitor;
use banyan_testkit::{Error, Launch, Process, with_free_ports};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tempfile::TempDir;

/// Longest time until it answers.
const READY_MAX: Duration = Duration::from_secs(60);
/// Longest time for what is under way when it is told to stop.
const STOP_MAX: Duration = Duration::from_secs(30);
/// For how many seconds nobody may have touched the old columns before they are retired: a week is too long for looking around.
const QUIET_SECONDS: &str = "60";
/// Where the example's routes expect the gateway and the old shop.
const EXAMPLE_GATEWAY: &str = "127.0.0.1:8088";
const EXAMPLE_SHOP: &str = "http://127.0.0.1:8000";

/// A Banyan with its gateway; ended on drop, with its store.
pub(super) struct Front {
    process: Process, // before the folder: it must be gone first
    folder: TempDir,
    binary: PathBuf,
    address: String,
    gateway: String,
}

impl Front {
    /// Builds the binary with the clients of old databases, and returns where it is.
    pub(super) fn build(unoptimised: bool) -> Result<PathBuf, String> {
        let profile = if unoptimised { "dev" } else { "release" };
        run::cargo([
            "build",
            "-p",
            "banyan",
            "--bin",
            "banyan",
            "--features",
            "legacy",
            "--profile",
            profile,
        ])?;
        Ok(target_dir()?.join(if unoptimised { "debug" } else { "release" }).join("banyan"))
    }

    /// Starts it in front of the shop at `shop`, whose database is at `database`. Its store begins empty, as the shop's database
    /// does, and is in a folder of its own below `folder`.
    pub(super) fn start(binary: PathBuf, folder: &Path, shop: &str, database: &str) -> Result<Self, String> {
        let own = tempfile::Builder::new().prefix("banyan-").tempdir_in(folder);
        let own = own.map_err(|error| format!("making a folder in {}: {error}", folder.display()))?;
        let example = read(&root().join("examples/oscar/gateway.toml"))?;
        let started = with_free_ports(|[listen, gateway]| {
            let (address, gateway) = (format!("127.0.0.1:{listen}"), format!("127.0.0.1:{gateway}"));
            let process = launch(&binary, own.path(), &example, [&address, &gateway, shop, database])?;
            Ok((process, format!("http://{address}"), format!("http://{gateway}")))
        });
        let (process, address, gateway) = started.map_err(|error| error.to_string())?;
        let front = Self { process, folder: own, binary, address, gateway };
        let key = front.command(&["key", "create", "--role", "service"])?;
        super::write_secret(&front.service_key(), &key)?;
        Ok(front)
    }

    /// The shop, through the gateway.
    pub(super) fn gateway(&self) -> &str {
        &self.gateway
    }

    /// Banyan itself.
    pub(super) fn address(&self) -> &str {
        &self.address
    }

    /// The operator's key.
    pub(super) fn operator_key(&self) -> PathBuf {
        self.store().join("operator.key")
    }

    /// The key that the shop's plugin uses.
    pub(super) fn service_key(&self) -> PathBuf {
        self.folder.path().join("service.key")
    }

    /// Its log.
    pub(super) fn log(&self) -> &Path {
        self.process.log()
    }

    /// What a shell needs for the tutorial's commands.
    pub(super) fn environment(&self, database: &str) -> String {
        let bin = self.binary.parent().unwrap_or(Path::new(""));
        let quoted = |text: &str| format!("'{}'", text.replace('\'', "'\\''"));
        let line = |name: &str, value: &str| format!("export {name}={}\n", quoted(value));
        format!("export PATH={}:\"$PATH\"\n", quoted(&bin.display().to_string()))
            + &line("SHOP", &self.gateway)
            + &line("BANYAN_URL", &self.address)
            + &line("BANYAN_DATA", &self.store().display().to_string())
            + &line("LEGACY_URL", database)
    }

    /// Fails if it has ended by itself.
    pub(super) fn must_run(&mut self) -> Result<(), String> {
        match self.process.exited().map_err(|error| error.to_string())? {
            None => Ok(()),
            Some(status) => Err(format!("Banyan ended with {status}:\n{}", self.process.log_tail())),
        }
    }

    /// Ends it politely.
    pub(super) fn stop(mut self) -> Result<(), String> {
        self.process.stop().map_err(|error| error.to_string())
    }

    fn store(&self) -> PathBuf {
        self.folder.path().join("store")
    }

    /// Runs a subcommand on its store, and returns what it printed.
    fn command(&self, words: &[&str]) -> Result<String, String> {
        let mut command = std::process::Command::new(&self.binary);
        let command = command.args(words).arg("--data").arg(self.store());
        let output = command.output().map_err(|error| format!("starting {command:?}: {error}"))?;
        match output.status.success() {
            true => Ok(String::from_utf8_lossy(&output.stdout).into_owned()),
            false => Err(format!("{command:?}: {}", String::from_utf8_lossy(&output.stderr))),
        }
    }
}

fn launch(
    binary: &Path,
    folder: &Path,
    example: &str,
    [address, gateway, shop, database]: [&str; 4],
) -> Result<Process, Error> {
    let routes = folder.join("gateway.toml");
    let text = example.replace(EXAMPLE_GATEWAY, gateway).replace(EXAMPLE_SHOP, shop);
    fs::write(&routes, text)
        .map_err(|source| Error::Io { doing: format!("writing {}", routes.display()), source })?;
    let mapping = root().join("examples/oscar/stock.toml");
    let place = |path: &Path| path.display().to_string();
    let mut launch = Launch::new("banyan", binary, folder.join("banyan.log"))
        .env("LEGACY_URL", database)
        .args(["up", "--listen", address, "--legacy-quiet", QUIET_SECONDS])
        .args(["--data".to_owned(), place(&folder.join("store"))])
        .args(["--gateway".to_owned(), place(&routes), "--legacy".to_owned(), place(&mapping)]);
    launch.grace = STOP_MAX;
    let mut process = launch.start()?;
    // Through the gateway, so that all of it is there.
    let page = format!("http://{gateway}");
    process.wait_ready(READY_MAX, |_| {
        let page = Visitor::at(&page).and_then(|mut visitor| visitor.get("/catalogue/"));
        Ok(page.is_ok_and(|page| page.status == 200))
    })?;
    Ok(process)
}

fn read(path: &Path) -> Result<String, String> {
    fs::read_to_string(path).map_err(|error| format!("reading {}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_examples_routes_have_the_addresses_that_are_put_in() {
        let example = read(&root().join("examples/oscar/gateway.toml")).expect("the example");
        let routes: toml::Table = example.parse().expect("TOML");
        assert_eq!(routes["listen"].as_str(), Some(EXAMPLE_GATEWAY));
        let upstreams =
            routes["route"].as_array().into_iter().flatten().filter_map(|route| route.get("upstream"));
        let upstreams: Vec<_> = upstreams.filter_map(toml::Value::as_str).collect();
        assert!(!upstreams.is_empty() && upstreams.iter().all(|url| *url == EXAMPLE_SHOP), "{upstreams:?}");
        let mapping = read(&root().join("examples/oscar/stock.toml")).expect("the example");
        assert!(mapping.contains("url_env = \"LEGACY_URL\""), "the address comes from there");
    }

    #[test]
    fn the_stand_has_something_to_show_at_the_gates_and_in_the_ledger() {
        let example = read(&root().join("examples/oscar/gateway.toml")).expect("the example");
        let routes: toml::Table = example.parse().expect("TOML");
        let marked: Vec<_> = routes["route"]
            .as_array()
            .into_iter()
            .flatten()
            .filter(|route| route.get("touches") == Some(&vec!["stock"].into()))
            .collect();
        let compared = marked.iter().filter(|route| route.get("evidence").is_some()).count();
        assert!(
            compared > 0 && compared < marked.len(),
            "one is compared, and one only the shop answers: {marked:?}"
        );
        let everything =
            marked.iter().any(|route| route["path"].as_str() == Some("/") && route.get("headers").is_none());
        assert!(!everything, "every visitor would be a reference for ever");
    }
}
