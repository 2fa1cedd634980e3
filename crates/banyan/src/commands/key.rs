//! `banyan key`: API keys, and shoppers' tokens for trying things.

use crate::data_dir::DataDir;
use crate::exit::Failure;
use crate::keys;
use banyan_api::auth::Role;
use clap::{Subcommand, ValueEnum};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::json;
use std::path::PathBuf;
use std::process::ExitCode;

/// Make, list and remove API keys, and make shoppers' tokens for trying things.
///
/// A running server takes changes within two seconds.
#[derive(Subcommand)]
pub(crate) enum KeyCommand {
    /// Make a key; it is printed once and kept only as its hash
    Create(CreateArgs),
    /// List the keys, without the keys themselves
    List(ListArgs),
    /// Remove a key: whoever uses it is turned away within two seconds
    Remove(RemoveArgs),
    /// Make a shopper's token (HS256), as the shop's own login would
    Token(TokenArgs),
}

/// Where the keys are.
#[derive(clap::Args)]
pub(crate) struct KeyStore {
    /// The data directory
    #[arg(long, value_name = "DIR", env = "BANYAN_DATA", default_value = "banyan-data")]
    data: PathBuf,
}

/// What a key may do.
#[derive(Clone, Copy, ValueEnum)]
enum KeyRole {
    /// Everything
    Operator,
    /// Coupons of any member, and reading: for the shop's own servers
    Service,
    /// Reading only
    Auditor,
}

/// Make a key. It is printed to standard output once; only its hash is stored.
#[derive(clap::Args)]
#[command(after_help = "Example: banyan key create --role service --name checkout > checkout.key")]
pub(crate) struct CreateArgs {
    /// What it may do
    #[arg(long, value_enum)]
    role: KeyRole,
    /// Who uses it; operator actions are written down under this name. Without it: the role and a number
    #[arg(long)]
    name: Option<String>,
    #[command(flatten)]
    store: KeyStore,
}

/// List the keys.
#[derive(clap::Args)]
pub(crate) struct ListArgs {
    #[command(flatten)]
    store: KeyStore,
    /// Print as JSON
    #[arg(long)]
    json: bool,
}

/// Remove a key.
#[derive(clap::Args)]
pub(crate) struct RemoveArgs {
    /// Its name, as `banyan key list` shows it
    name: String,
    #[command(flatten)]
    store: KeyStore,
}

/// Make a shopper's token: a JSON Web Token that acts for one member only.
///
/// In production the shop's login makes these; the server knows their secret from `banyan up --jwt-hs256-secret FILE`.
#[derive(clap::Args)]
#[command(after_help = "Example:\n  head -c 32 /dev/urandom | base64 > shop.secret\n  \
                        banyan up --jwt-hs256-secret shop.secret &\n  \
                        banyan key token --member m1 --secret-file shop.secret --for 1h")]
pub(crate) struct TokenArgs {
    /// The member it acts for
    #[arg(long)]
    member: String,
    /// The file with the shared secret (at least 32 bytes)
    #[arg(long, value_name = "FILE")]
    secret_file: PathBuf,
    /// How long it is good, such as 90s, 15m, 1h or 7d
    #[arg(long = "for", value_name = "SPAN", default_value = "1h", value_parser = seconds)]
    seconds: u64,
    /// Segments the token vouches for
    #[arg(long, value_delimiter = ',')]
    segments: Vec<String>,
    /// The audience to name, if the server asks for one
    #[arg(long)]
    audience: Option<String>,
    /// The issuer to name, if the server asks for one
    #[arg(long)]
    issuer: Option<String>,
}

pub(crate) fn run(command: &KeyCommand) -> Result<ExitCode, Failure> {
    match command {
        KeyCommand::Create(args) => create(args)?,
        KeyCommand::List(args) => list(args)?,
        KeyCommand::Remove(args) => remove(args)?,
        KeyCommand::Token(args) => println!("{}", token(args)?),
    }
    Ok(ExitCode::SUCCESS)
}

fn create(args: &CreateArgs) -> Result<(), Failure> {
    let dir = DataDir::existing(&args.store.data)?;
    let role = match args.role {
        KeyRole::Operator => Role::Operator,
        KeyRole::Service => Role::Service,
        KeyRole::Auditor => Role::Auditor,
    };
    let (name, key) = keys::create(&dir, args.name.as_deref(), role)?;
    println!("{key}");
    eprintln!(
        "Made key {name:?} ({role}). It is shown only now; a running server takes it within two seconds."
    );
    Ok(())
}

fn list(args: &ListArgs) -> Result<(), Failure> {
    let dir = DataDir::existing(&args.store.data)?;
    let records = keys::read(&dir)?;
    if args.json {
        let rows: Vec<_> = records
            .iter()
            .map(|key| json!({"name": key.name, "role": key.role, "created_at": key.created_at}))
            .collect();
        println!("{:#}", json!({ "keys": rows }));
        return Ok(());
    }
    println!("{:<24} {:<10} made at", "name", "role");
    for key in &records {
        println!("{:<24} {:<10} {}", key.name, key.role.to_string(), key.created_at);
    }
    Ok(())
}

fn remove(args: &RemoveArgs) -> Result<(), Failure> {
    let dir = DataDir::existing(&args.store.data)?;
    keys::update(&dir, |records| {
        let Some(at) = records.iter().position(|key| key.name == args.name) else {
            let names: Vec<_> = records.iter().map(|key| key.name.as_str()).collect();
            return Err(Failure::usage(format!(
                "there is no key named {:?}; there are: {}",
                args.name,
                names.join(", ")
            )));
        };
        let removed = records.remove(at);
        if removed.role == Role::Operator && !records.iter().any(|key| key.role == Role::Operator) {
            return Err(Failure::usage(format!(
                "{:?} is the last operator key; make another first: banyan key create --role operator",
                args.name
            )));
        }
        Ok(())
    })?;
    eprintln!("Removed key {:?}.", args.name);
    Ok(())
}

fn token(args: &TokenArgs) -> Result<String, Failure> {
    banyan_domain::MemberId::new(args.member.as_str()).map_err(Failure::usage)?;
    for segment in &args.segments {
        banyan_domain::SegmentName::new(segment.as_str()).map_err(Failure::usage)?;
    }
    let secret = std::fs::read(&args.secret_file)
        .map_err(|error| Failure::usage(format!("reading {}: {error}", args.secret_file.display())))?;
    let secret = secret.trim_ascii();
    if secret.len() < 32 {
        return Err(Failure::usage(format!(
            "the secret in {} has {} bytes; the server takes no less than 32",
            args.secret_file.display(),
            secret.len()
        )));
    }
    let now = banyan_api::now().as_millis() / 1_000;
    let mut claims = json!({"sub": args.member, "iat": now, "exp": now.saturating_add(args.seconds)});
    if !args.segments.is_empty() {
        claims["segments"] = json!(args.segments);
    }
    if let Some(audience) = &args.audience {
        claims["aud"] = json!(audience);
    }
    if let Some(issuer) = &args.issuer {
        claims["iss"] = json!(issuer);
    }
    jsonwebtoken::encode(&Header::new(Algorithm::HS256), &claims, &EncodingKey::from_secret(secret))
        .map_err(|error| Failure::environment(format!("making the token: {error}")))
}

/// Reads a span such as `15m`.
fn seconds(text: &str) -> Result<u64, String> {
    let (number, unit) = text.split_at(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()));
    let factor = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3_600,
        "d" => 86_400,
        _ => return Err("write a number and a unit: 90s, 15m, 1h or 7d".into()),
    };
    let number: u64 = number.parse().map_err(|_| "write a number and a unit: 90s, 15m, 1h or 7d")?;
    Ok(number.saturating_mul(factor).min(10 * 366 * 86_400))
}

#[cfg(test)]
mod tests {
    use super::seconds;

    #[test]
    fn reads_spans() {
        assert_eq!(seconds("90s"), Ok(90));
        assert_eq!(seconds("2h"), Ok(7_200));
        assert_eq!(seconds("7d"), Ok(604_800));
        for wrong in ["", "h", "1", "1w", "-1h", "1.5h", "99999999999999999999h"] {
            assert!(seconds(wrong).is_err(), "{wrong:?} was taken");
        }
    }
}
