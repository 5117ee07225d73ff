//! The pages: every flag of ours that a page names exists.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Mutex;

use crate::harness::{program, root, run};

/// README, SKILL and the pages in `docs/`.
pub fn pages() -> Vec<PathBuf> {
    let docs = std::fs::read_dir(root().join("docs")).unwrap().map(|entry| entry.unwrap().path());
    docs.filter(|path| path.extension().is_some_and(|ext| ext == "md"))
        .chain(["README.md", "SKILL.md"].map(|name| root().join(name)))
        .collect()
}

/// Pieces of code of a page: whole lines of its blocks, and what stands between backticks.
fn code(page: &str) -> Vec<String> {
    let (mut pieces, mut inside) = (Vec::new(), false);
    for line in page.lines() {
        if line.starts_with("```") {
            inside = !inside;
        } else if inside {
            pieces.push(line.split(" #").next().unwrap_or_default().to_string());
        } else {
            pieces.extend(line.split('`').skip(1).step_by(2).map(String::from));
        }
    }
    pieces
}

/// A program of ours and the long flags that a command gives it.
pub type Call = (String, BTreeSet<String>);

/// The programs of ours that a piece of code or a line of text names, with the long flags behind each.
pub fn calls(text: &str) -> Vec<Call> {
    let mut calls: Vec<Call> = Vec::new();
    let mut open = false;
    for word in text.split_whitespace() {
        let word = word.trim_start_matches(['(', '<', '>', '$', '"']);
        let bare = word.trim_end_matches(['.', ',', ';', ':', ')', '"', '`']);
        if bare.starts_with("bench-") && root().join(format!("src/bin/{bare}.rs")).exists() {
            calls.push((bare.to_string(), BTreeSet::new()));
            open = true;
        } else if let (true, true, Some((_, flags))) =
            (open, bare.len() > 2 && bare.starts_with("--"), calls.last_mut())
        {
            flags.insert(bare.split(['=', '[']).next().unwrap_or_default().to_string());
        }
        // What follows belongs to another program, or to the next clause.
        open &= !["--", "|", "||", "&&", "&"].contains(&word) && !word.ends_with([';', '.', ',', ')']);
    }
    calls
}

/// Panics if a command names a flag that its program of ours does not have; how many flags it names.
pub fn assert_flags_exist(place: &str, command: &str) -> usize {
    static HELPS: Mutex<BTreeMap<String, String>> = Mutex::new(BTreeMap::new());
    let mut seen = 0;
    for (name, named) in calls(command) {
        let ask = || run(program(&name).arg("--help"), "").expect(0).stdout;
        let help = HELPS.lock().unwrap().entry(name.clone()).or_insert_with(ask).clone();
        let words: BTreeSet<&str> = help.split([' ', ',', '[', ']', '\n', ':']).collect();
        for flag in named {
            seen += 1;
            assert!(words.contains(flag.as_str()), "{place}: {name} has no {flag}");
        }
    }
    seen
}

#[test]
fn every_flag_that_a_page_names_exists() {
    let mut seen = 0;
    for path in pages() {
        let page = std::fs::read_to_string(&path).unwrap();
        let place = path.display().to_string();
        seen += code(&page).iter().map(|piece| assert_flags_exist(&place, piece)).sum::<usize>();
    }
    assert!(seen > 50, "only {seen} flags were found");
}
