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

/// The programs of ours that a piece of code starts, with their long flags.
fn flags(piece: &str) -> Vec<(String, BTreeSet<String>)> {
    let commands = piece.split('|').filter_map(|command| {
        let mut words = command.split_whitespace().skip_while(|word| !word.starts_with("bench-"));
        let name = words.next()?.to_string();
        // What follows `--` belongs to another program.
        let own = words.take_while(|word| *word != "--");
        let long = own.filter(|word| word.starts_with("--"));
        Some((name, long.map(|word| word.split('=').next().unwrap_or_default().to_string()).collect()))
    });
    commands.collect()
}

/// Panics if a command names a flag that its program of ours does not have; how many flags it names.
pub fn assert_flags_exist(place: &str, command: &str) -> usize {
    static HELPS: Mutex<BTreeMap<String, String>> = Mutex::new(BTreeMap::new());
    let mut seen = 0;
    for (name, named) in flags(command) {
        if !root().join(format!("src/bin/{name}.rs")).exists() {
            continue;
        }
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
