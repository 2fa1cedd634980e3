//! `cargo xtask legacy`: the old shop of the tutorial, started privately, and shoppers for it.

use crate::run::root;
use crate::soak;
use banyan_testkit::oscar::{ADMINISTRATOR, DATABASE, Race, race};
use banyan_testkit::{Oscar, OscarOptions, Package, Postgres, ensure_packages, wait_until};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How often the plugin's file is looked at.
const LOOK: Duration = Duration::from_millis(500);
/// Longest time for the shop to start again.
const RESTART_MAX: Duration = Duration::from_secs(150);
/// What is in the folder of a running shop.
const PLUGIN_FILE: &str = "plugin.toml";
/// The plugin's settings with which the shop runs.
const RUNS_WITH_FILE: &str = "plugin.runs";
const ADDRESS_FILE: &str = "legacy.url";
const PASSWORD_FILE: &str = "admin.password";

/// What to do.
#[derive(clap::Subcommand)]
pub(crate) enum Act {
    /// Start Postgres and the old shop, say where they are, and end both with Ctrl-C
    Up(UpArgs),
    /// Put the plugin into the running shop, or change what it reads from Banyan
    Plugin(PluginArgs),
    /// Send shoppers to a shop, who all press "Place order" at the same moment
    Race(RaceArgs),
    /// Let an old shop and Banyan write at once while everything between them breaks, and compare both sides
    Soak(soak::Args),
}

/// Where the shop's files go.
#[derive(clap::Args)]
pub(crate) struct UpArgs {
    /// Folder for the database's address, the administrator's password, and the plugin's settings
    #[arg(long, default_value = "target/legacy")]
    folder: PathBuf,
    /// Worker processes of the shop
    #[arg(long, default_value_t = 2)]
    workers: u32,
}

/// How the shop finds Banyan.
#[derive(clap::Args)]
pub(crate) struct PluginArgs {
    /// The folder that `up` was given
    #[arg(long, default_value = "target/legacy")]
    folder: PathBuf,
    /// Where Banyan listens, such as <http://127.0.0.1:8080>
    #[arg(long)]
    banyan: String,
    /// File with a service's key
    #[arg(long)]
    key_file: PathBuf,
    /// References that read stock from Banyan: product_page, basket, dashboard, other_pages, jobs
    #[arg(long, value_delimiter = ',')]
    reads: Vec<String>,
}

/// Who races for what.
#[derive(clap::Args)]
pub(crate) struct RaceArgs {
    /// The shop, or whatever stands in front of it
    #[arg(long)]
    url: String,
    /// The product's number, as in its page's address
    #[arg(long)]
    product: u64,
    #[arg(long, default_value_t = 12)]
    shoppers: usize,
}

/// Does it.
pub(crate) fn run(act: &Act) -> Result<(), String> {
    match act {
        Act::Up(args) => up(args),
        Act::Plugin(args) => plugin(args),
        Act::Race(args) => {
            say(&race(&args.url, args.product, args.shoppers));
            Ok(())
        }
        Act::Soak(args) => soak::run(args),
    }
}

fn up(args: &UpArgs) -> Result<(), String> {
    ensure_packages(&[Package::Postgres]).map_err(|error| error.to_string())?;
    let folder = root().join(&args.folder);
    fs::create_dir_all(&folder).map_err(|error| format!("making {}: {error}", folder.display()))?;
    // Settings of an earlier shop are not this one's.
    let (file, runs_with) = (folder.join(PLUGIN_FILE), folder.join(RUNS_WITH_FILE));
    for old in [&file, &runs_with].into_iter().filter(|old| old.exists()) {
        fs::remove_file(old).map_err(|error| format!("removing {}: {error}", old.display()))?;
    }
    println!("Starting Postgres and the old shop; the first time it takes a minute or two.");
    let postgres = Postgres::start(&Oscar::postgres_options()).map_err(|error| error.to_string())?;
    let mut options = OscarOptions { workers: args.workers, ..OscarOptions::default() };
    let oscar = Oscar::start(&root().join("examples/oscar"), &postgres, &options);
    let mut oscar = oscar.map_err(|error| error.to_string())?;
    let address = format!("postgres://postgres@127.0.0.1:{}/{DATABASE}", postgres.port());
    let password = oscar.password().map_err(|error| error.to_string())?;
    write(&folder.join(ADDRESS_FILE), &address)?;
    write(&folder.join(PASSWORD_FILE), &password)?;
    println!("the shop      {}/catalogue/", oscar.url());
    println!("its dashboard {}/dashboard/", oscar.url());
    println!("  sign in as  {ADMINISTRATOR}, password in {}", folder.join(PASSWORD_FILE).display());
    println!("its database  {address}");
    println!("  also in     {}", folder.join(ADDRESS_FILE).display());
    println!("Ctrl-C ends both, and nothing of them stays.");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| format!("starting a runtime: {error}"))?;
    let mut seen = None;
    loop {
        let stop = runtime.block_on(async {
            tokio::select! {
                signal = tokio::signal::ctrl_c() => Some(signal),
                () = tokio::time::sleep(LOOK) => None,
            }
        });
        if let Some(signal) = stop {
            return signal.map_err(|error| format!("waiting for Ctrl-C: {error}"));
        }
        let text = fs::read_to_string(&file).ok();
        if text == seen {
            continue;
        }
        options.settings = text.as_deref().map(read_plugin).transpose()?.unwrap_or_default();
        oscar.restart(&options).map_err(|error| error.to_string())?;
        match options.settings.get("BANYAN_READS").map(String::as_str) {
            Some("") => println!("the plugin is in; every page reads stock from the shop's table"),
            Some(reads) => println!("the plugin is in; read from Banyan: {reads}"),
            None => println!("the plugin is out"),
        }
        write(&runs_with, text.as_deref().unwrap_or_default())?;
        seen = text;
    }
}

fn plugin(args: &PluginArgs) -> Result<(), String> {
    let key_file = fs::canonicalize(&args.key_file)
        .map_err(|error| format!("finding the key file {}: {error}", args.key_file.display()))?;
    let mut table = toml::Table::new();
    table.insert("banyan".into(), args.banyan.clone().into());
    table.insert("key_file".into(), key_file.display().to_string().into());
    table.insert("reads".into(), args.reads.clone().into());
    let (folder, text) = (root().join(&args.folder), table.to_string());
    write(&folder.join(PLUGIN_FILE), &text)?;
    println!("The shop starts again with the plugin.");
    let runs_with = folder.join(RUNS_WITH_FILE);
    let runs = || fs::read_to_string(&runs_with).is_ok_and(|runs| runs == text);
    match wait_until(RESTART_MAX, runs) {
        true => Ok(()),
        false => Err(format!(
            "the shop did not start again; does `cargo xtask legacy up` run in {}?",
            folder.display()
        )),
    }
}

/// The plugin's settings for the shop's project.
fn read_plugin(text: &str) -> Result<BTreeMap<String, String>, String> {
    let table: toml::Table = text.parse().map_err(|error| format!("{PLUGIN_FILE}: {error}"))?;
    let name = |name: &str| {
        let value = table.get(name).and_then(toml::Value::as_str);
        value.map(str::to_owned).ok_or_else(|| format!("{PLUGIN_FILE}: {name} is missing"))
    };
    let reads = table.get("reads").and_then(toml::Value::as_array).into_iter().flatten();
    let reads: Vec<_> = reads.filter_map(toml::Value::as_str).collect();
    let settings = [
        ("BANYAN_PLUGIN", "1".to_owned()),
        ("BANYAN_URL", name("banyan")?),
        ("BANYAN_KEY_FILE", name("key_file")?),
        ("BANYAN_READS", reads.join(",")),
    ];
    Ok(settings.map(|(name, value)| (name.to_owned(), value)).into())
}

fn say(race: &Race) {
    println!("{} ordered, {} refused, {} failed", race.ordered, race.refused, race.failed.len());
    for why in &race.failed {
        println!("  {why}");
    }
}

fn write(path: &Path, text: &str) -> Result<(), String> {
    // Moved into place whole, for whoever looks at it meanwhile.
    let new = path.with_extension("new");
    fs::write(&new, text).map_err(|error| format!("writing {}: {error}", new.display()))?;
    fs::rename(&new, path).map_err(|error| format!("writing {}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_plugins_file_is_read_as_it_is_written() {
        let text = "banyan = 'http://b'\nkey_file = '/k'\nreads = ['jobs', 'basket']";
        let settings = read_plugin(text).expect("settings");
        let of = |name: &str| settings.get(name).map(String::as_str);
        assert_eq!((of("BANYAN_URL"), of("BANYAN_KEY_FILE")), (Some("http://b"), Some("/k")));
        assert_eq!((of("BANYAN_PLUGIN"), of("BANYAN_READS")), (Some("1"), Some("jobs,basket")));
        assert!(read_plugin("banyan = 'http://b'").is_err_and(|why| why.contains("key_file")));
    }
}
