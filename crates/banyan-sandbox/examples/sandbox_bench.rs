//! How fast the sandbox is: authorize and capture over HTTP, with its durable ledger.
//!
//! `cargo run --release -p banyan-sandbox --example sandbox_bench -- [callers] [seconds] [folder]`
//!
//! Callers and company run in this one process and share its cores, so a company of its own is faster.

use banyan_sandbox::{SandboxOptions, serve};
use std::error::Error;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

type Failed = Box<dyn Error + Send + Sync>;

#[tokio::main]
async fn main() -> Result<(), Failed> {
    let mut args = std::env::args().skip(1);
    let callers: usize = args.next().map_or(Ok(64), |text| text.parse())?;
    let seconds: u64 = args.next().map_or(Ok(10), |text| text.parse())?;
    let folder = args.next().map_or_else(|| std::env::temp_dir().join("banyan-sandbox-bench"), PathBuf::from);
    if folder.exists() {
        return Err(format!("{} is there already: give the name of a new folder", folder.display()).into());
    }
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let (stop, stopping) = watch::channel(false);
    let options = SandboxOptions::new(&folder, "sk_sandbox_bench", "admin_sandbox_bench");
    let company = tokio::spawn(serve(listener, options, stopping));
    let end = Instant::now() + Duration::from_secs(seconds);
    let tasks: Vec<_> = (0..callers).map(|caller| tokio::spawn(call(address, caller, end))).collect();
    let mut times = Vec::new();
    for task in tasks {
        times.extend(task.await??);
    }
    times.sort_unstable();
    let at = |share: f64| times.get((times.len() as f64 * share) as usize).copied().unwrap_or_default();
    println!("{callers} callers, {seconds} s, each payment authorized and captured, all durable");
    println!("payments/s  {:.0}", times.len() as f64 / seconds as f64);
    println!("a payment   p50 {:?}, p99 {:?}", at(0.5), at(0.99));
    println!("CPU time    {:.0} µs a payment, callers included", cpu_micros()? / times.len().max(1) as f64);
    stop.send_replace(true);
    company.await??;
    std::fs::remove_dir_all(&folder)?;
    Ok(())
}

/// Pays until `end`, and gives the time of each payment.
async fn call(address: SocketAddr, caller: usize, end: Instant) -> Result<Vec<Duration>, Failed> {
    let mut stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    let mut times = Vec::new();
    while Instant::now() < end {
        let (start, n) = (Instant::now(), times.len());
        let body = format!(
            r#"{{"order":"o-{caller}-{n}","amount":{{"minor":25000,"currency":"KRW"}},"method":"tok_ok"}}"#
        );
        let answer = post(&mut stream, "/api/payments", &format!("a-{caller}-{n}"), &body).await?;
        let id = answer.split(r#""payment":""#).nth(1).and_then(|rest| rest.split('"').next());
        let path = format!("/api/payments/{}/capture", id.ok_or("an answer without a payment")?);
        post(&mut stream, &path, &format!("c-{caller}-{n}"), r#"{"amount":25000}"#).await?;
        times.push(start.elapsed());
    }
    Ok(times)
}

async fn post(stream: &mut TcpStream, path: &str, key: &str, body: &str) -> Result<String, Failed> {
    let request = format!(
        "POST {path} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer sk_sandbox_bench\r\nidempotency-key: {key}\r\n\
         content-length: {}\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(request.as_bytes()).await?;
    let mut answer = Vec::with_capacity(1_024);
    loop {
        if stream.read_buf(&mut answer).await? == 0 {
            return Err("the sandbox hung up".into());
        }
        let text = std::str::from_utf8(&answer)?;
        let Some((head, got)) = text.split_once("\r\n\r\n") else { continue };
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap_or("0");
        if got.len() >= length.parse()? {
            if !head.starts_with("HTTP/1.1 200") {
                return Err(format!("not paid: {text}").into());
            }
            return Ok(got.to_owned());
        }
    }
}

/// CPU time of this process so far, in microseconds.
fn cpu_micros() -> Result<f64, Failed> {
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks =
        |at: usize| -> Result<f64, Failed> { Ok(fields.get(at).ok_or("a short stat")?.parse::<f64>()?) };
    // Fields 14 and 15 of the whole line, in hundredths of a second on Linux.
    Ok((ticks(11)? + ticks(12)?) * 10_000.0)
}
