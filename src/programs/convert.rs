//! `bench-load --convert`: converts files of prompts in any common format to canonical rows.

use std::collections::BTreeSet;
use std::path::PathBuf;

use super::stdio;
use super::stdio::MAX_DATASET;
use super::workload;
use crate::base::error::{Error, Result};
use crate::base::notice::Notice;
use crate::engines::framework::Frameworks;
use crate::flags::load::Args;
use crate::load::dataset;
use crate::load::dataset::{DatasetEntry, Prompt, ReadOptions};

/// Number of rows to show.
const SHOWN: usize = 3;

/// Reads the files, reports which rows were read and skipped, and writes those that can be sent.
///
/// # Errors
/// When a file cannot be read, a framework is unknown, or rows cannot be written.
pub fn convert(args: &Args, frameworks: &Frameworks, notice: &Notice) -> Result<()> {
    let mut options =
        ReadOptions { output_len: args.workload.output_len, turns: args.sessions, ..ReadOptions::default() };
    options.takes = accepted(&args.for_frameworks, frameworks)?;
    #[cfg(feature = "tokenizer")]
    let counter = args.tokenizer.as_deref().map(super::tokenizer::load).transpose()?;
    #[cfg(feature = "tokenizer")]
    {
        options.count = counter.as_deref();
    }
    let stdin = [PathBuf::from("-")];
    let files = if args.files.is_empty() { &stdin[..] } else { &args.files };
    let mut out = stdio::row_writer()?;
    for path in files {
        let read = dataset::read(&stdio::read_text(path, MAX_DATASET)?, &options);
        let name = stdio::name(path);
        workload::broken(&name, &read, notice);
        say(&name, &read, notice);
        for entry in &read.entries {
            out.write_line(&entry.row().to_string())?;
        }
    }
    Ok(())
}

/// What all of these frameworks accept besides text; nothing without a framework.
///
/// # Errors
/// An unknown framework.
pub fn accepted(names: &[String], frameworks: &Frameworks) -> Result<BTreeSet<String>> {
    let mut all: Option<BTreeSet<String>> = None;
    for name in names {
        let framework = frameworks.get(name).ok_or_else(|| {
            Error::new(format!("unknown framework definition {name:?}; add its folder with --frameworks"))
        })?;
        let takes = &framework.request.takes;
        all = Some(all.map_or_else(|| takes.clone(), |all| all.intersection(takes).cloned().collect()));
    }
    Ok(all.unwrap_or_default())
}

fn say(name: &str, read: &dataset::DatasetFile, notice: &Notice) {
    let shapes: Vec<String> = read.shapes.iter().map(|(shape, n)| format!("{n} {shape}")).collect();
    let skipped: u32 = read.skipped.values().sum();
    let n = read.entries.len();
    let shapes = if n == 0 { String::new() } else { format!(" ({})", shapes.join(", ")) };
    notice.say(format!("{name}: read {n} of {} rows{shapes}", n + skipped as usize));
    for (why, n) in &read.skipped {
        notice.say(format!("{name}: skipped {n}: {why}"));
    }
    for (i, entry) in read.entries.iter().take(SHOWN).enumerate() {
        notice.say(format!("{name}: row {}: {}", i + 1, shown(entry)));
    }
}

/// One row in a line of text.
fn shown(entry: &DatasetEntry) -> String {
    let about = if entry.estimated { "about " } else { "" };
    let what = match &entry.prompt {
        Prompt::Text(text) => short(text),
        Prompt::Messages(messages) => {
            let roles: Vec<&str> = messages.iter().filter_map(|message| message["role"].as_str()).collect();
            let last = messages.last().map(|message| short(&message["content"].to_string())).unwrap_or_default();
            format!("{}: {last}", roles.join(", "))
        }
        Prompt::Blocks(ids) => format!("{} blocks", ids.len()),
    };
    let sampling = match entry.extra.len() {
        0 => String::new(),
        _ => format!(", with {}", entry.extra.keys().cloned().collect::<Vec<_>>().join(", ")),
    };
    format!("{about}{} prompt and {} output tokens{sampling}: {what}", entry.input_len, entry.output_len)
}

fn short(text: &str) -> String {
    let line: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(60).collect();
    if text.chars().count() > 60 { format!("{line}…") } else { line }
}
