//! What the compiler cannot check: layers, docs, names, sizes. Each rule says what to do about it.

use crate::run::root;
use std::fs;
use std::path::{Path, PathBuf};

/// The layers, lowest first. A crate may depend on crates of lower layers only.
const LAYERS: [&[&str]; 7] = [
    &[
        "banyan-domain",
        "banyan-gateway",
        "banyan-log",
        "banyan-rehearse",
        "banyan-sandbox",
        "banyan-shop",
        "banyan-testkit",
    ],
    &["banyan-engine", "banyan-match", "banyan-pay", "banyan-soak", "banyan-views"],
    &["banyan-legacy", "banyan-saga"],
    &["banyan-api", "banyan-legacy-testkit"],
    &["banyan-console"],
    &["banyan", "banyan-sim"],
    &["banyan-bench", "xtask"],
];
/// Longest line of a Rust file, in characters.
const LINE_CHARS_MAX: usize = 160;
/// Longest Rust file, in lines: one that a stranger can read in one sitting.
const FILE_LINES_MAX: usize = 700;
/// What the pure core must not touch.
const IMPURE: [&str; 8] =
    ["std::fs", "std::net", "std::thread", "std::io", "SystemTime", "Instant::now", "HashMap", "async fn"];

/// Checks everything, and lists every finding.
pub(crate) fn run() -> Result<(), String> {
    let mut findings = Vec::new();
    for (rank, layer) in LAYERS.iter().enumerate() {
        for name in *layer {
            check_layer(name, rank, &mut findings)?;
            check_crate(name, &mut findings)?;
        }
    }
    check_members(&mut findings)?;
    check_error_pages(&mut findings)?;
    if findings.is_empty() {
        println!("tidy: nothing to mend");
        return Ok(());
    }
    for finding in &findings {
        println!("{finding}");
    }
    Err(format!("{} things to mend", findings.len()))
}

fn folder(name: &str) -> PathBuf {
    if name == "xtask" { root().join(name) } else { root().join("crates").join(name) }
}

/// Dependencies point downwards.
fn check_layer(name: &str, rank: usize, findings: &mut Vec<String>) -> Result<(), String> {
    let manifest = read(&folder(name).join("Cargo.toml"))?;
    let manifest: toml::Table = manifest.parse().map_err(|error| format!("{name}/Cargo.toml: {error}"))?;
    let dependencies = manifest.get("dependencies").and_then(toml::Value::as_table);
    for dependency in dependencies.into_iter().flat_map(|table| table.keys()) {
        let at = LAYERS.iter().position(|layer| layer.contains(&dependency.as_str()));
        if at.is_some_and(|at| at >= rank) {
            findings.push(format!(
                "{name}: depends on {dependency}, which is not in a lower layer: move what is needed down, or pass it in"
            ));
        }
    }
    Ok(())
}

/// Every crate is in a layer.
fn check_members(findings: &mut Vec<String>) -> Result<(), String> {
    let crates = fs::read_dir(root().join("crates")).map_err(|error| format!("reading crates: {error}"))?;
    for entry in crates {
        let name = entry.map_err(|error| format!("reading crates: {error}"))?.file_name();
        let name = name.to_string_lossy().into_owned();
        if !LAYERS.iter().any(|layer| layer.contains(&name.as_str())) {
            findings.push(format!("{name}: is in no layer: put it into LAYERS in xtask/src/tidy.rs"));
        }
    }
    Ok(())
}

/// Files of a crate.
fn check_crate(name: &str, findings: &mut Vec<String>) -> Result<(), String> {
    let mut files = Vec::new();
    rust_files(&folder(name), &mut files)?;
    for path in files {
        let text = read(&path)?;
        let shown = path.strip_prefix(root()).unwrap_or(&path).display().to_string();
        let source = shown.contains("/src/");
        if source && !text.starts_with("//!") {
            findings.push(format!("{shown}: begin with //! and say what the file is for"));
        }
        let lines = text.lines().count();
        if lines > FILE_LINES_MAX {
            findings.push(format!(
                "{shown}: {lines} lines; split it by reason to change (at most {FILE_LINES_MAX})"
            ));
        }
        for (number, line) in (1..).zip(text.lines()) {
            check_line(name, source, &format!("{shown}:{number}"), line, findings);
        }
    }
    Ok(())
}

fn check_line(name: &str, source: bool, place: &str, line: &str, findings: &mut Vec<String>) {
    // A sentence in quotes is not made better by cutting it.
    if line.chars().count() > LINE_CHARS_MAX && !line.contains('"') {
        findings.push(format!("{place}: longer than {LINE_CHARS_MAX} characters"));
    }
    let code = line.split("//").next().unwrap_or_default();
    if name == "banyan-domain" && source {
        for word in IMPURE.iter().filter(|word| code.contains(**word)) {
            findings.push(format!("{place}: {word} in the pure core: pass in what it gives"));
        }
    }
    if name != "xtask" && code.contains("#[ignore") {
        findings.push(format!("{place}: an ignored test proves nothing: run it, or remove it"));
    }
}

/// Every problem type that the API can answer has a page.
fn check_error_pages(findings: &mut Vec<String>) -> Result<(), String> {
    for file in ["refusal.rs", "coupon/refusal.rs", "stock/refusal.rs", "pay/refusal.rs", "saga/refusal.rs"] {
        let refusals = read(&root().join("crates/banyan-domain/src").join(file))?;
        for line in refusals.lines().filter(|line| line.contains("=> \"") && line.contains("Self::")) {
            let slug = line.split('"').nth(1).unwrap_or_default();
            let is_slug = !slug.is_empty() && slug.bytes().all(|b| b.is_ascii_lowercase() || b == b'-');
            if is_slug && !root().join("docs/errors").join(format!("{slug}.md")).is_file() {
                findings.push(format!(
                    "docs/errors/{slug}.md: write the page for this refusal: cause, and what to do"
                ));
            }
        }
    }
    Ok(())
}

fn rust_files(folder: &Path, files: &mut Vec<PathBuf>) -> Result<(), String> {
    let entries = fs::read_dir(folder).map_err(|error| format!("reading {}: {error}", folder.display()))?;
    for entry in entries {
        let path = entry.map_err(|error| format!("reading {}: {error}", folder.display()))?.path();
        if path.is_dir() && path.file_name().is_some_and(|name| name != "target") {
            rust_files(&path, files)?;
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    files.sort();
    Ok(())
}

fn read(path: &Path) -> Result<String, String> {
    fs::read_to_string(path).map_err(|error| format!("reading {}: {error}", path.display()))
}
