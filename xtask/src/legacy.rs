//! `cargo xtask legacy`: the stand of the tutorial, the old shop with Banyan in front of it, started privately; and shoppers
//! for it.

mod front;

use crate::run::root;
use crate::soak;
use banyan_testkit::oscar::{ADMINISTRATOR, DATABASE, Race, race};
use banyan_testkit::{Oscar, OscarOptions, Package, Postgres, ensure_packages, wait_until};
use front::Front;
use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
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
/// What a shell needs for the tutorial's commands.
const ENVIRONMENT_FILE: &str = "env";
/// Where Banyan is, and the key that the plugin uses, for `plugin`.
const BANYAN_FILE: &str = "banyan.toml";

/// What to do.
#[derive(clap::Subcommand)]
pub(crate) enum Act {
    /// Start Postgres, the old shop and Banyan in front of it, say where they are, and end all with Ctrl-C
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
    /// Only the old shop, as it was before
    #[arg(long)]
    without_banyan: bool,
    /// Build Banyan without optimisation: quicker to build, slower to run
    #[arg(long, conflicts_with = "without_banyan")]
    dev: bool,
}

/// How the shop finds Banyan.
#[derive(clap::Args)]
pub(crate) struct PluginArgs {
    /// The folder that `up` was given
    #[arg(long, default_value = "target/legacy")]
    folder: PathBuf,
    /// Where Banyan listens, such as <http://127.0.0.1:9000>; that of `up` without it
    #[arg(long, requires = "key_file")]
    banyan: Option<String>,
    /// File with a service's key; that of `up` without it
    #[arg(long, requires = "banyan")]
    key_file: Option<PathBuf>,
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
    let of_banyan = [folder.join(ENVIRONMENT_FILE), folder.join(BANYAN_FILE)];
    for old in [&file, &runs_with].into_iter().chain(&of_banyan).filter(|old| old.exists()) {
        fs::remove_file(old).map_err(|error| format!("removing {}: {error}", old.display()))?;
    }
    // Built first: a build that fails leaves nothing running.
    let banyan = (!args.without_banyan).then(|| Front::build(args.dev)).transpose()?;
    println!("Starting Postgres and the old shop; the first time it takes a minute or two.");
    let postgres = Postgres::start(&Oscar::postgres_options()).map_err(|error| error.to_string())?;
    let mut options = OscarOptions { workers: args.workers, ..OscarOptions::default() };
    let oscar = Oscar::start(&root().join("examples/oscar"), &postgres, &options);
    let mut oscar = oscar.map_err(|error| error.to_string())?;
    let address = format!("postgres://postgres@127.0.0.1:{}/{DATABASE}", postgres.port());
    let password = oscar.password().map_err(|error| error.to_string())?;
    write(&folder.join(ADDRESS_FILE), &address)?;
    write_secret(&folder.join(PASSWORD_FILE), &password)?;
    let front = banyan.map(|binary| Front::start(binary, &folder, &oscar.url(), &address)).transpose()?;
    if let Some(front) = &front {
        write(&folder.join(ENVIRONMENT_FILE), &front.environment(&address))?;
        write(&folder.join(BANYAN_FILE), &plugin_text(front.address(), &front.service_key(), &[]))?;
    }
    say_where(&oscar, &folder, &address, front.as_ref());
    let ended = keep_up(&mut oscar, &mut options, &folder, front);
    println!("Ended.");
    ended
}

/// Tells a person where everything is.
fn say_where(oscar: &Oscar, folder: &Path, database: &str, front: Option<&Front>) {
    let shop = oscar.url();
    let door = front.map_or(shop.as_str(), Front::gateway);
    println!("the shop      {door}/catalogue/");
    println!("its dashboard {door}/dashboard/");
    println!("  sign in as  {ADMINISTRATOR}, password in {}", folder.join(PASSWORD_FILE).display());
    println!("its database  {database}");
    println!("  also in     {}", folder.join(ADDRESS_FILE).display());
    let Some(front) = front else {
        println!("Ctrl-C ends both, and nothing of them stays.");
        return;
    };
    println!("  (the shop itself, past the gateway: {shop})");
    println!("Banyan        {}/console", front.address());
    println!("  operator's key in   {}", front.operator_key().display());
    println!("  the plugin's key in {}", front.service_key().display());
    println!("  its log in          {}", front.log().display());
    println!("For commands in another terminal:  . {}", folder.join(ENVIRONMENT_FILE).display());
    println!("Ctrl-C ends all of it, and nothing of it stays.");
}

/// Restarts the shop when its plugin's settings change, until Ctrl-C.
fn keep_up(
    oscar: &mut Oscar,
    options: &mut OscarOptions,
    folder: &Path,
    mut front: Option<Front>,
) -> Result<(), String> {
    let (file, runs_with) = (folder.join(PLUGIN_FILE), folder.join(RUNS_WITH_FILE));
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
            signal.map_err(|error| format!("waiting for Ctrl-C: {error}"))?;
            // Before the shop and its database: what it has under way needs them.
            return front.map_or(Ok(()), Front::stop);
        }
        front.as_mut().map_or(Ok(()), Front::must_run)?;
        let text = fs::read_to_string(&file).ok();
        if text == seen {
            continue;
        }
        options.settings = text.as_deref().map(read_plugin).transpose()?.unwrap_or_default();
        oscar.restart(options).map_err(|error| error.to_string())?;
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
    let folder = root().join(&args.folder);
    let (banyan, key_file) = match args.banyan.as_ref().zip(args.key_file.as_ref()) {
        Some((banyan, key_file)) => (banyan.clone(), key_file.clone()),
        None => banyan_of(&folder)?,
    };
    let key_file = fs::canonicalize(&key_file)
        .map_err(|error| format!("finding the key file {}: {error}", key_file.display()))?;
    let text = plugin_text(&banyan, &key_file, &args.reads);
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

/// The plugin's file.
fn plugin_text(banyan: &str, key_file: &Path, reads: &[String]) -> String {
    let mut table = toml::Table::new();
    table.insert("banyan".into(), banyan.into());
    table.insert("key_file".into(), key_file.display().to_string().into());
    table.insert("reads".into(), reads.to_vec().into());
    table.to_string()
}

/// The Banyan that `up` started, and the key for the plugin.
fn banyan_of(folder: &Path) -> Result<(String, PathBuf), String> {
    let file = folder.join(BANYAN_FILE);
    let text = fs::read_to_string(&file).map_err(|error| {
        let hint = "say --banyan and --key-file, or let `cargo xtask legacy up` start a Banyan";
        format!("reading {}: {error}; {hint}", file.display())
    })?;
    let settings = read_plugin(&text)?;
    Ok((settings["BANYAN_URL"].clone(), settings["BANYAN_KEY_FILE"].clone().into()))
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

/// Writes a file that only its owner can read.
fn write_secret(path: &Path, text: &str) -> Result<(), String> {
    let failed = |error| format!("writing {}: {error}", path.display());
    // One that others could read stays so when it is written again.
    match fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(failed(error)),
        _ => {}
    }
    let file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    file.and_then(|mut file| file.write_all(text.trim().as_bytes())).map_err(failed)
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
        let text = plugin_text("http://b", Path::new("/k"), &["jobs".to_owned(), "basket".to_owned()]);
        let settings = read_plugin(&text).expect("settings");
        let of = |name: &str| settings.get(name).map(String::as_str);
        assert_eq!((of("BANYAN_URL"), of("BANYAN_KEY_FILE")), (Some("http://b"), Some("/k")));
        assert_eq!((of("BANYAN_PLUGIN"), of("BANYAN_READS")), (Some("1"), Some("jobs,basket")));
        assert!(read_plugin("banyan = 'http://b'").is_err_and(|why| why.contains("key_file")));
    }
}
