//! Asks each server of an upstream now and then whether it is well.

use super::Upstream;
use super::connect::{Connected, connect};
use super::pool::NoAnswer;
use crate::config::HealthSpec;
use crate::proxy::body::SendBody;
use crate::tls::ClientTls;
use http::{Request, header};
use std::io;
use std::sync::Arc;
use std::time::Duration;

/// Checks server number `at` of `upstream` until the task is dropped.
pub(crate) async fn watch(upstream: Arc<Upstream>, at: usize, health: HealthSpec, tls: Arc<ClientTls>) {
    let server = &upstream.servers()[at];
    let limit = Duration::from_millis(health.timeout_millis);
    let (mut good, mut bad) = (0_u32, 0_u32);
    let mut ticks = tokio::time::interval(Duration::from_millis(health.interval_millis));
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let asked = tokio::time::timeout(limit, ask(&upstream, at, &health, &tls, limit)).await;
        let why = match asked {
            Ok(Ok(())) => None,
            Ok(Err(error)) => Some(error.to_string()),
            Err(_) => Some(format!("no answer within {} ms", limit.as_millis())),
        };
        match why {
            None => {
                (good, bad) = (good.saturating_add(1), 0);
                if good >= health.healthy_after && server.set_well(true) {
                    tracing::info!(upstream = upstream.name(), server = %server.address.authority, "server is well again");
                }
            }
            Some(why) => {
                (good, bad) = (0, bad.saturating_add(1));
                if bad >= health.unhealthy_after && server.set_well(false) {
                    tracing::warn!(upstream = upstream.name(), server = %server.address.authority, %why, "server is not well");
                }
            }
        }
    }
}

async fn ask(
    upstream: &Upstream,
    at: usize,
    health: &HealthSpec,
    tls: &ClientTls,
    limit: Duration,
) -> io::Result<()> {
    let server = &upstream.servers()[at];
    let connected = connect(upstream, server, tls, limit, false).await?;
    let mut request = Request::get(health.path.as_str()).header(header::USER_AGENT, "banyan-gateway");
    let answer = match connected {
        Connected::One(mut one) => {
            request = request.header(header::HOST, &server.host).header(header::CONNECTION, "close");
            let request = request.body(SendBody::Empty).map_err(io::Error::other)?;
            one.send(request).await.map_err(NoAnswer::into_error)?.status()
        }
        Connected::Two(mut two) => {
            let uri = format!("{}://{}{}", server.address.scheme, server.address.authority, health.path);
            let request = request.uri(uri).body(SendBody::Empty).map_err(io::Error::other)?;
            two.send(request).await.map_err(NoAnswer::into_error)?.status()
        }
    };
    match answer.as_u16() {
        200..=399 => Ok(()),
        status => Err(io::Error::other(format!("it answers {status}"))),
    }
}
