//! `banyan campaign`: campaigns from a file, and looking at them.

use crate::campaign_file::{self, Plan, Wanted, plan};
use crate::client::{Client, ServerArgs, block_on};
use crate::exit::Failure;
use crate::offline::byte_progress;
use clap::Subcommand;
use http::{Method, StatusCode};
use http_body_util::{BodyExt, StreamBody};
use hyper::body::{Bytes, Frame};
use indicatif::ProgressBar;
use serde_json::{Value, json};
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Create, change and look at campaigns of a running server.
#[derive(Subcommand)]
pub(crate) enum CampaignCommand {
    /// Bring the server to what a campaign file says; run it as often as you like
    Apply(ApplyArgs),
    /// List every campaign with its numbers
    List(ListArgs),
    /// Show one campaign
    Show(ShowArgs),
}

/// Bring the server to what a campaign file says.
///
/// What is missing is created; quantity and ends_at are changed; everything else about a campaign is fixed once it exists, and a
/// difference there is refused before anything is done. Allow-lists are uploaded; members already on them are passed over.
#[derive(clap::Args)]
#[command(
    after_help = "A campaign file:\n\n  [[campaign]]\n  id = \"noon\"\n  name = \"Noon sale\"\n  quantity = 300000        # or \"unlimited\"\n  \
                        per_member = 1\n  benefit = { amount = { minor = 5000, currency = \"KRW\" } }\n  starts_at = 2026-11-27T12:00:00Z\n  \
                        audience = \"allow_list\"   # or \"everyone\", or { segment = \"gold\" }\n  allow_list = \"members.txt\"   # one member a line, relative to this file\n\n\
                        Exit codes: 0 the server is as the file says; 2 the file is wrong or asks for what cannot be changed; 4 the server \
                        cannot be reached."
)]
pub(crate) struct ApplyArgs {
    /// The campaign file
    file: PathBuf,
    /// Say what would be done, and do nothing
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    server: ServerArgs,
    /// Print what was done as JSON
    #[arg(long)]
    json: bool,
}

/// List every campaign, newest first.
#[derive(clap::Args)]
pub(crate) struct ListArgs {
    #[command(flatten)]
    server: ServerArgs,
    /// Print as JSON
    #[arg(long)]
    json: bool,
}

/// Show one campaign.
#[derive(clap::Args)]
pub(crate) struct ShowArgs {
    /// Its id
    id: String,
    #[command(flatten)]
    server: ServerArgs,
}

pub(crate) fn run(command: &CampaignCommand) -> Result<ExitCode, Failure> {
    block_on(async {
        match command {
            CampaignCommand::Apply(args) => apply(args).await,
            CampaignCommand::List(args) => list(args).await,
            CampaignCommand::Show(args) => show(args).await,
        }
    })?;
    Ok(ExitCode::SUCCESS)
}

async fn apply(args: &ApplyArgs) -> Result<(), Failure> {
    let wanted = campaign_file::read(&args.file)?;
    let mut client = args.server.connect().await?;
    // All plans before any deed: a file that cannot be applied in full changes nothing.
    let mut plans = Vec::new();
    let mut refused = String::new();
    for campaign in &wanted {
        let there = get(&mut client, &campaign.campaign.id).await?;
        let ended = there.as_ref().is_some_and(|there| there["state"] == "ended");
        let plan = plan(&campaign.campaign, there.as_ref());
        if let Plan::Refuse(words) = &plan {
            refused.push_str(&format!("\n  {} (line {}):", campaign.campaign.id, campaign.line));
            words.iter().for_each(|word| refused.push_str(&format!("\n    {word}")));
        }
        plans.push((campaign, plan, ended));
    }
    if !refused.is_empty() {
        return Err(Failure::usage(format!(
            "these campaigns exist and differ in what cannot be changed:{refused}\nNothing was done. Only quantity and ends_at of a running \
             campaign change; for the rest, end it and make another under a new id, or put the file back in line with the server"
        )));
    }
    let mut done = Vec::new();
    for (campaign, plan, ended) in plans {
        let line = carry_out(&mut client, campaign, &plan, ended, args.dry_run).await?;
        if !args.json {
            println!("{:<24} {}", campaign.campaign.id, line["done"].as_str().unwrap_or_default());
        }
        done.push(line);
    }
    if args.json {
        println!("{:#}", json!({ "campaigns": done }));
    }
    Ok(())
}

async fn carry_out(
    client: &mut Client,
    wanted: &Wanted,
    plan: &Plan,
    ended: bool,
    dry_run: bool,
) -> Result<Value, Failure> {
    let id = &wanted.campaign.id;
    let mut done = match plan {
        Plan::Create => "created".to_owned(),
        Plan::Unchanged => "unchanged".to_owned(),
        Plan::Change(_, words) => format!("changed ({})", words.join("; ")),
        Plan::Refuse(words) => words.join("; "),
    };
    if dry_run {
        let upload = wanted.allow_list.as_ref().map_or("", |_| ", and the allow-list uploaded");
        return Ok(json!({"id": id, "done": format!("would be {done}{upload}")}));
    }
    match plan {
        Plan::Create => {
            let body = serde_json::to_value(&wanted.campaign).map_err(Failure::environment)?;
            let answer = client.json(Method::POST, "/v1/campaigns", &body).await?;
            answer.expect_success(&format!("creating campaign {id}"))?;
        }
        Plan::Change(patch, _) => {
            let answer = client.json(Method::PATCH, &format!("/v1/campaigns/{id}"), patch).await?;
            answer.expect_success(&format!("changing campaign {id}"))?;
        }
        Plan::Unchanged | Plan::Refuse(_) => {}
    }
    let mut line = json!({"id": id});
    match wanted.allow_list.as_deref() {
        Some(_) if ended => done.push_str("; the allow-list was left alone, because the campaign has ended"),
        Some(path) => {
            let answer = upload(client, id, path).await?;
            done.push_str(&format!(
                "; allow-list: {} added, {} there before, {} in all",
                answer["added"], answer["already"], answer["total"]
            ));
            line["allow_list"] = answer;
        }
        None => {}
    }
    line["done"] = done.into();
    Ok(line)
}

async fn list(args: &ListArgs) -> Result<(), Failure> {
    let mut client = args.server.connect().await?;
    let mut answer = client.get("/v1/campaigns").await?.expect_success("listing campaigns")?;
    while let Some(next) = answer["next"].as_u64() {
        let path = format!("/v1/campaigns?after={next}");
        let mut page = client.get(&path).await?.expect_success("listing campaigns")?;
        let more = page["campaigns"].as_array_mut().map(std::mem::take).unwrap_or_default();
        answer["next"] = page["next"].take();
        if let Some(all) = answer["campaigns"].as_array_mut() {
            all.extend(more);
        }
    }
    if args.json {
        println!("{answer:#}");
        return Ok(());
    }
    println!(
        "{:<24} {:<10} {:>12} {:>12} {:>12} {:>10}  name",
        "id", "state", "issued", "left", "redeemed", "held"
    );
    for campaign in answer["campaigns"].as_array().into_iter().flatten() {
        let text = |field: &str| campaign[field].as_str().unwrap_or_default();
        let number = |field: &str| campaign[field].as_u64().unwrap_or_default();
        let left = campaign["left"].as_u64().map_or_else(|| "unlimited".to_owned(), |left| left.to_string());
        println!(
            "{:<24} {:<10} {:>12} {left:>12} {:>12} {:>10}  {}",
            text("id"),
            text("state"),
            number("issued"),
            number("redeemed"),
            number("held"),
            text("name")
        );
    }
    Ok(())
}

async fn show(args: &ShowArgs) -> Result<(), Failure> {
    let mut client = args.server.connect().await?;
    match get(&mut client, &args.id).await? {
        Some(campaign) => {
            println!("{campaign:#}");
            Ok(())
        }
        None => {
            Err(Failure::usage(format!("there is no campaign {:?}; see `banyan campaign list`", args.id)))
        }
    }
}

async fn get(client: &mut Client, id: &str) -> Result<Option<Value>, Failure> {
    banyan_domain::CampaignId::new(id).map_err(Failure::usage)?;
    let answer = client.get(&format!("/v1/campaigns/{id}")).await?;
    if answer.status == StatusCode::NOT_FOUND {
        return Ok(None);
    }
    answer.expect_success(&format!("reading campaign {id}")).map(Some)
}

/// Sends the file as it is read, so that ten million members need no memory here.
async fn upload(client: &mut Client, id: &str, path: &Path) -> Result<Value, Failure> {
    let doing = format!("uploading {} to campaign {id}", path.display());
    let failed = |error: io::Error| Failure::environment(format!("{doing}: {error}"));
    let file = File::open(path).map_err(failed)?;
    let bytes = file.metadata().map_err(failed)?.len();
    let progress = byte_progress("uploading the allow-list", bytes);
    // This process does nothing else: reading may block it.
    let body = StreamBody::new(futures_util::stream::iter(Parts { file, progress: progress.clone() }));
    let body = BodyExt::boxed(body);
    let answer =
        client.send(Method::POST, &format!("/v1/campaigns/{id}/allow-list"), "text/plain", body).await;
    progress.finish_and_clear();
    answer?.expect_success(&doing)
}

/// The parts of a file.
struct Parts {
    file: File,
    progress: ProgressBar,
}

impl Iterator for Parts {
    type Item = io::Result<Frame<Bytes>>;

    fn next(&mut self) -> Option<Self::Item> {
        let mut part = vec![0; 64 << 10];
        match self.file.read(&mut part) {
            Ok(0) => None,
            Ok(read) => {
                part.truncate(read);
                self.progress.inc(read as u64);
                Some(Ok(Frame::data(part.into())))
            }
            Err(error) => Some(Err(error)),
        }
    }
}
