//! The arrows of the layers, as `src/lib.rs` draws them.

use std::fs;
use std::path::{Path, PathBuf};

use crate::harness::root;

/// From the ground up.
const LAYERS: &[(&str, &[&str])] = &[
    ("ground", &["exit", "error", "notice", "units", "pattern", "redact"]),
    ("wire", &["yaml", "row", "jsonl", "schema"]),
    (
        "domain",
        &[
            "plan",
            "framework",
            "exposition",
            "candidate",
            "answer",
            "gpu",
            "help",
            "launcher",
            "workload",
            "dataset",
            "attempt",
            "schedule",
            "search",
            "sse",
            "timing",
            "summary",
            "statistics",
            "steady",
            "sla",
            "normalize",
            "rank",
            "diagnose",
            "release",
            "shell",
            "digest",
        ],
    ),
    ("effects", &["server", "load", "sim", "http", "lease", "process"]),
    ("face", &["cli", "report"]),
    ("bin", &["bin"]),
];
/// `plan` is left out: it holds the type that bench-expand expands, not only what bench-validate does.
const VERBS: &[&str] = &["candidate", "server", "load", "sim", "normalize", "rank"];
/// Words that only one layer may say, and that layer. `cli` opens the streams, so it may use files.
const HOMES: &[(&str, &[&str])] = &[
    ("tokio::", &["effects"]),
    ("reqwest::", &["effects"]),
    ("nix::", &["effects"]),
    ("signal_hook::", &["effects"]),
    ("serde_yaml::", &["wire"]),
    ("clap::", &["face", "bin"]),
    ("std::fs", &["effects", "face", "bin"]),
    ("std::net", &["effects", "face", "bin"]),
    ("std::process::Command", &["effects"]),
    ("Instant::now", &["effects"]),
    ("SystemTime", &["effects", "face"]),
];

fn layer_of(module: &str) -> Option<usize> {
    LAYERS.iter().position(|(_, modules)| modules.contains(&module))
}

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|e| e == "rs") {
            found.push(path);
        }
    }
}

fn all_sources() -> Vec<(String, String, String)> {
    let src = root().join("src");
    let mut paths = Vec::new();
    sources(&src, &mut paths);
    paths.sort();
    let read = |path: &PathBuf| {
        let name = path.strip_prefix(&src).unwrap().to_string_lossy().into_owned();
        let module = name.split('/').next().unwrap().trim_end_matches(".rs").to_string();
        (name, module, fs::read_to_string(path).unwrap())
    };
    paths.iter().map(read).filter(|(name, ..)| name != "lib.rs").collect()
}

/// The program text: without comments and without the module's own tests.
fn code(text: &str) -> String {
    let text = text.split("#[cfg(test)]").next().unwrap();
    text.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n")
}

/// The modules behind `crate::` in `text`, `use crate::{a, b::c}` included.
fn uses(text: &str) -> Vec<String> {
    let mut modules = Vec::new();
    for part in ["crate::", "serving_bench::"].iter().flat_map(|prefix| text.split(prefix).skip(1)) {
        let word = |s: &str| s.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect::<String>();
        if let Some(group) = part.strip_prefix('{') {
            modules.extend(group.split('}').next().unwrap().split(',').map(|s| word(s.trim())));
        } else {
            modules.push(word(part));
        }
    }
    modules.retain(|m| !m.is_empty());
    modules
}

#[test]
fn a_layer_uses_only_those_below_it() {
    let mut wrong = Vec::new();
    let mut arrows = 0;
    for (name, module, text) in all_sources() {
        let Some(layer) = layer_of(&module) else {
            wrong.push(format!("{name}: the module {module} is in no layer"));
            continue;
        };
        for used in uses(&code(&text)) {
            let Some(below) = layer_of(&used) else { continue };
            arrows += 1;
            // Inside a layer modules may use each other, but no verb another verb.
            let verbs = VERBS.contains(&module.as_str()) && VERBS.contains(&used.as_str()) && module != used;
            if below > layer || verbs {
                wrong.push(format!("{name} uses {used}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(arrows > 15, "the test sees only {arrows} arrows: does it still read `use` right?");
}

#[test]
fn every_library_has_one_home() {
    let mut wrong = Vec::new();
    for (name, module, text) in all_sources() {
        let layer = layer_of(&module).map_or("none", |i| LAYERS[i].0);
        for (word, homes) in HOMES {
            if code(&text).contains(word) && !homes.contains(&layer) {
                wrong.push(format!("{name} ({layer}) says {word}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn files_stay_short() {
    let mut long = Vec::new();
    for (name, module, text) in all_sources() {
        let most = if module == "bin" { 150 } else { 500 };
        let lines = text.lines().count();
        if lines > most {
            long.push(format!("{name} has {lines} lines, more than {most}"));
        }
    }
    assert!(long.is_empty(), "{}", long.join("\n"));
}
