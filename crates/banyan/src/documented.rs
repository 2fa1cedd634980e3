//! Every command that the documents show is one that this program takes.

use crate::cli::Cli;
use clap::CommandFactory;
use clap::error::{ContextKind, ContextValue, ErrorKind};
use std::fs;
use std::path::{Path, PathBuf};

/// A command in a document.
struct Shown {
    place: String,
    text: String,
    /// Whether it stands in a block that one copies; otherwise it is named in a sentence, which may leave files and numbers out.
    to_be_copied: bool,
    /// Whether the document says what to do when something is wrong: then an option that must be given is not left out either.
    to_be_done: bool,
}

#[test]
fn every_command_in_the_documents_is_one_that_the_program_takes() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let mut files =
        vec![root.join("README.md"), root.join("README.ko.md"), root.join("examples/oscar/README.md")];
    documents(&root.join("docs"), &mut files);
    let shown: Vec<Shown> = files.iter().flat_map(|file| commands(&root, file)).collect();
    assert!(shown.len() > 100, "only {} were found", shown.len());
    let wrong: Vec<String> = shown.iter().filter_map(fault).collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

fn documents(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("the documents are there") {
        let path = entry.expect("readable").path();
        if path.is_dir() {
            documents(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "md") {
            files.push(path);
        }
    }
}

fn commands(root: &Path, file: &Path) -> Vec<Shown> {
    let text = fs::read_to_string(file).expect("readable").replace("\\\n", " ");
    let name = file.strip_prefix(root).unwrap_or(file).display().to_string();
    let to_be_done = ["docs/errors/", "docs/phases/"].iter().any(|folder| name.starts_with(folder));
    let mut shown = Vec::new();
    let mut add = |line: usize, text: &str, to_be_copied: bool| {
        let text = text.trim_start().trim_start_matches("$ ");
        if text.starts_with("banyan ") && !text.starts_with("banyan =") {
            let place = format!("{name}:{line}");
            shown.push(Shown { place, text: text.to_owned(), to_be_copied, to_be_done });
        }
    };
    let (mut is_block, mut sentence) = (false, String::new());
    for (number, line) in (1..).zip(text.lines().chain([""])) {
        if line.trim_start().starts_with("```") {
            is_block = !is_block;
        } else if is_block {
            add(number, line, true);
        } else if !line.trim().is_empty() {
            sentence.push_str(line);
            sentence.push('\n');
        } else {
            // A paragraph has ended. What stands between two backticks may be broken over lines.
            for named in std::mem::take(&mut sentence).split('`').skip(1).step_by(2) {
                add(number, &named.replace('\n', " "), false);
            }
        }
    }
    shown
}

/// What is wrong with a command.
fn fault(shown: &Shown) -> Option<String> {
    let words = words(&shown.text);
    let error = Cli::command().try_get_matches_from(&words).err()?;
    let missing = || match error.get(ContextKind::InvalidArg) {
        Some(ContextValue::Strings(names)) => names.clone(),
        _ => Vec::new(),
    };
    let is_fine = match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => true,
        ErrorKind::MissingSubcommand | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
            !shown.to_be_copied
        }
        ErrorKind::MissingRequiredArgument => {
            let only_files_and_numbers = || missing().iter().all(|name| name.starts_with('<'));
            !shown.to_be_copied && (!shown.to_be_done || only_files_and_numbers())
        }
        // `NO` stands for a number.
        ErrorKind::ValueValidation | ErrorKind::InvalidValue => match error.get(ContextKind::InvalidValue) {
            Some(ContextValue::String(value)) => !value.chars().any(char::is_lowercase),
            _ => false,
        },
        _ => false,
    };
    let first = error.to_string().lines().next().unwrap_or_default().to_owned();
    (!is_fine).then(|| format!("{}: `{}`: {first}", shown.place, shown.text))
}

/// As a shell takes it apart, up to where its own signs begin.
fn words(text: &str) -> Vec<String> {
    let (mut words, mut word, mut quote) = (Vec::new(), String::new(), None);
    for c in text.chars() {
        match (quote, c) {
            (None, '"' | '\'') => quote = Some(c),
            (Some(open), c) if c == open => quote = None,
            (None, '#' | '|' | '>' | '<' | '&' | ';') if word.is_empty() => break,
            (None, c) if c.is_whitespace() => {
                if !word.is_empty() {
                    words.push(std::mem::take(&mut word));
                }
            }
            (_, c) => word.push(c),
        }
    }
    words.extend(Some(word).filter(|word| !word.is_empty()));
    words.retain(|word| !matches!(word.as_str(), "..." | "…"));
    words
}
