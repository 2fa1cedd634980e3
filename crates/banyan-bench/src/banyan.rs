//! Banyan itself, as a user starts it: the real binary, a real data folder, the generated operator key.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use banyan_testkit::{Launch, Process, with_free_ports};
use http::Method;

use crate::control::{self, Answer};
use crate::{Failure, failed};

/// How long the server may take to become ready.
const READY: Duration = Duration::from_secs(30);

/// A running server.
pub(crate) struct Banyan {
    /// The process.
    pub(crate) process: Process,
    /// Where it listens.
    pub(crate) address: SocketAddr,
    /// The operator's key.
    pub(crate) key: String,
}

/// How far the record view is behind the log.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Lag {
    /// In events.
    pub(crate) events: f64,
    /// In seconds.
    pub(crate) seconds: f64,
}

impl Banyan {
    /// Starts `program` on a fresh folder inside `dir`, and makes the campaign, without a limit.
    pub(crate) async fn start(program: &Path, dir: &Path, campaign: &str) -> Result<Self, Failure> {
        let data = dir.join("data");
        let log = dir.join("banyan.log");
        let (process, address) = with_free_ports(|[port]| launch(program, &data, &log, port))?;
        let key_file = data.join("operator.key");
        let mut banyan = Self { process, address, key: String::new() };
        banyan.wait_ready().await?;
        banyan.key = std::fs::read_to_string(&key_file)
            .map(|key| key.trim().to_owned())
            .map_err(|e| failed(format!("reading {}", key_file.display()), e))?;
        banyan.make_campaign(campaign).await?;
        Ok(banyan)
    }

    /// Coupons of the campaign that the server says were issued.
    pub(crate) async fn issued(&self, campaign: &str) -> Result<u64, Failure> {
        let answer = self.call(Method::GET, &format!("/v1/campaigns/{campaign}"), String::new()).await?;
        let value: serde_json::Value = serde_json::from_str(&answer.body)
            .map_err(|e| failed(format!("reading `{}`", answer.body), e))?;
        value["issued"].as_u64().ok_or_else(|| failed("no count of issued coupons in", answer.body))
    }

    /// How far the record view is behind now.
    pub(crate) async fn lag(&self) -> Result<Lag, Failure> {
        let answer = self.call(Method::GET, "/metrics", String::new()).await?;
        let read = |name: &str| {
            let found = metric(&answer.body, name, r#"view="record""#);
            found.ok_or_else(|| failed("reading /metrics", format!("no {name}{{view=\"record\"}}")))
        };
        Ok(Lag { events: read("banyan_view_lag_events")?, seconds: read("banyan_view_lag_seconds")? })
    }

    async fn wait_ready(&mut self) -> Result<(), Failure> {
        let deadline = tokio::time::Instant::now() + READY;
        loop {
            let answer = control::call(self.address, Method::GET, "/readyz", None, String::new()).await;
            if answer.as_ref().is_ok_and(|answer| answer.status == 200) {
                return Ok(());
            }
            if let Some(status) = self.process.exited()? {
                return Err(failed(format!("banyan ended ({status})"), self.process.log_tail()));
            }
            if tokio::time::Instant::now() > deadline {
                return Err(failed("banyan did not become ready", self.process.log_tail()));
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    async fn make_campaign(&self, campaign: &str) -> Result<(), Failure> {
        let body = format!(
            r#"{{"id":"{campaign}","name":"Benchmark","quantity":"unlimited","benefit":{{"free_shipping":{{}}}}}}"#
        );
        self.call(Method::POST, "/v1/campaigns", body).await.map(|_| ())
    }

    async fn call(&self, method: Method, path: &str, body: String) -> Result<Answer, Failure> {
        let doing = format!("{method} {path} of banyan");
        let answer = control::call(self.address, method, path, Some(&self.key), body).await?;
        if (200..300).contains(&answer.status) {
            return Ok(answer);
        }
        Err(failed(doing, format!("status {}: {}", answer.status, answer.body)))
    }
}

/// The process, once it either holds its port or died of another's holding it.
fn launch(
    program: &Path,
    data: &Path,
    log: &Path,
    port: u16,
) -> Result<(Process, SocketAddr), banyan_testkit::Error> {
    let address = SocketAddr::from(([127, 0, 0, 1], port));
    let program: PathBuf = program.to_owned();
    let mut process = Launch::new("banyan", program, log)
        .args(["up", "--data"])
        .args([data.display().to_string(), "--listen".to_owned(), address.to_string()])
        .env("HOME", data.display())
        .start()?;
    process.wait_ready(READY, |_| Ok(std::net::TcpStream::connect(address).is_ok()))?;
    Ok((process, address))
}

/// The value of the first sample of `name` whose labels hold `label`, in Prometheus's text.
fn metric(text: &str, name: &str, label: &str) -> Option<f64> {
    text.lines().find_map(|line| {
        let rest = line.strip_prefix(name)?.strip_prefix('{')?;
        let (labels, value) = rest.split_once('}')?;
        labels
            .split(',')
            .any(|found| found == label)
            .then(|| value.split_whitespace().next()?.parse().ok())?
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sample_is_found_by_name_and_label() {
        let text = "# TYPE banyan_view_lag_events gauge\nbanyan_view_lag_events{view=\"feed\"} 1\n\
            banyan_view_lag_events{shard=\"0\",view=\"record\"} 42 1700000000\nbanyan_view_lag_events_max{view=\"record\"} 7\n";
        assert_eq!(metric(text, "banyan_view_lag_events", r#"view="record""#), Some(42.0));
        assert_eq!(metric(text, "banyan_view_lag_seconds", r#"view="record""#), None);
    }
}
