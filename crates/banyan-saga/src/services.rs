//! The file that says where services are: TOML, one table for each.
//!
//! ```toml
//! [service.company]
//! kind = "sandbox"               # or "stripe", "toss"; "http", the default, is any service that takes JSON
//! url = "http://127.0.0.1:9000"
//! key_file = "company.key"       # relative to this file; the key goes out as `Authorization: Bearer KEY`
//! page_minutes = 30              # how long a customer may be at a company's page before it is asked about them; 1 for Toss
//!
//! [service.courier]
//! url = "http://127.0.0.1:9100"
//! key_file = "courier.key"
//! ```

use crate::http_service::HttpService;
use crate::service::{Company, Service};
use banyan_pay::{Connection, PaymentCompany, Sandbox, Secret, Stripe, Toss};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    service: BTreeMap<String, Table>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Table {
    #[serde(default)]
    kind: Kind,
    url: String,
    key_file: PathBuf,
    webhook_secret_file: Option<PathBuf>,
    page_minutes: Option<u64>,
}

#[derive(Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Kind {
    #[default]
    Http,
    Sandbox,
    Stripe,
    Toss,
}

/// How long a customer may be at the company's page before it is asked about them.
const PAGE_MINUTES: u64 = 30;
/// The same at Toss, where a payment that the customer has done their part of waits ten minutes for us to confirm it, and no
/// signed notice says so.
const PAGE_MINUTES_TOSS: u64 = 1;

/// Services by name.
pub type Services = BTreeMap<Box<str>, Arc<dyn Service>>;

/// Reads the text of a services file in the directory `base`, and the key files that it names.
///
/// # Errors
/// A sentence naming the service and what is wrong with it.
pub fn read_services(text: &str, base: &Path) -> Result<Services, String> {
    let file: File = toml::from_str(text).map_err(|error| error.to_string())?;
    let services = file.service.into_iter().map(|(name, table)| {
        let service = service(&table, base).map_err(|why| format!("service {name}: {why}"))?;
        Ok((name.into(), service))
    });
    services.collect()
}

fn service(table: &Table, base: &Path) -> Result<Arc<dyn Service>, String> {
    let key = text_of(&base.join(&table.key_file))?;
    let mut connection = Connection::new(&table.url, secret(&key)?);
    if let Some(file) = &table.webhook_secret_file {
        connection.webhook_secret = Some(secret(&text_of(&base.join(file))?)?);
    }
    let wrong = |error: banyan_pay::InvalidConnection| error.to_string();
    let company: Arc<dyn PaymentCompany> = match table.kind {
        Kind::Http => {
            let service = HttpService::new(&connection, &format!("Bearer {key}")).map_err(wrong)?;
            return Ok(Arc::new(service));
        }
        Kind::Sandbox => Arc::new(Sandbox::new(&connection).map_err(wrong)?),
        Kind::Stripe => Arc::new(Stripe::new(&connection).map_err(wrong)?),
        Kind::Toss => Arc::new(Toss::new(&connection).map_err(wrong)?),
    };
    let usual = if matches!(table.kind, Kind::Toss) { PAGE_MINUTES_TOSS } else { PAGE_MINUTES };
    let page_minutes = table.page_minutes.unwrap_or(usual);
    Ok(Arc::new(Company::new(company, page_minutes.saturating_mul(60_000))))
}

fn secret(text: &str) -> Result<Secret, String> {
    Secret::new(text).map_err(|error| error.to_string())
}

fn text_of(path: &Path) -> Result<String, String> {
    let text =
        std::fs::read_to_string(path).map_err(|error| format!("reading {}: {error}", path.display()))?;
    match text.trim() {
        "" => Err(format!("{} is empty", path.display())),
        key => Ok(key.to_owned()),
    }
}
