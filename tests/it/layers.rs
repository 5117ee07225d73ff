//! The rooms of `src/` and the arrows between them, as `src/lib.rs` draws them.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use crate::harness::root;

/// The rooms, from the ground up, and which rooms each may use.
const ROOMS: &[(&str, &[&str])] = &[
    ("base", &[]),
    ("rows", &["base"]),
    ("engines", &["base", "rows"]),
    ("metrics", &["rows"]),
    ("plan", &["base", "engines", "metrics", "rows"]),
    ("system", &["base", "engines", "rows"]),
    ("serve", &["base", "engines", "rows", "system"]),
    ("load", &["base", "engines", "metrics", "rows", "system"]),
    ("sim", &["base", "system"]),
    ("normalize", &["base", "engines", "metrics", "rows"]),
    ("rank", &["base", "metrics", "rows"]),
    ("report", &["base", "metrics", "rank", "rows"]),
    ("flags", &["base", "engines", "load", "metrics", "normalize", "plan", "rank", "rows"]),
    (
        "programs",
        &[
            "base",
            "engines",
            "flags",
            "load",
            "metrics",
            "normalize",
            "plan",
            "rank",
            "report",
            "rows",
            "serve",
            "sim",
            "system",
        ],
    ),
];
/// Words that only some rooms may say. `programs` opens the streams, so it may use files.
const HOMES: &[(&str, &[&str])] = &[
    ("tokio::", &["system", "serve", "load", "sim"]),
    ("reqwest::", &["system"]),
    ("nix::", &["system", "serve", "load", "sim"]),
    ("signal_hook::", &["system"]),
    ("serde_yaml::", &["base"]),
    ("clap::", &["flags", "programs"]),
    ("clap_complete::", &["flags", "programs"]),
    ("std::fs", &["system", "serve", "load", "sim", "programs"]),
    ("std::net", &["system", "serve", "load", "sim", "programs"]),
    ("std::process::Command", &["system", "serve", "load"]),
    ("Instant::now", &["system", "serve", "load", "sim"]),
    ("SystemTime", &["system", "serve", "load", "sim", "programs"]),
];

/// A module: its path below the crate, its file, and its program text without comments and without its own tests.
struct Module {
    path: Vec<String>,
    file: String,
    text: String,
    lines: usize,
}

impl Module {
    fn room(&self) -> &str {
        &self.path[0]
    }
}

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|e| e == "rs") && path.file_name().is_some_and(|name| name != "tests.rs")
        {
            found.push(path);
        }
    }
}

fn code(text: &str) -> String {
    let text = text.split("[cfg(test)]").next().unwrap();
    text.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n")
}

/// All modules but the binaries and `lib.rs`.
fn modules() -> Vec<Module> {
    let src = root().join("src");
    let mut paths = Vec::new();
    sources(&src, &mut paths);
    paths.sort();
    let read = |path: &PathBuf| {
        let file = path.strip_prefix(&src).unwrap().to_string_lossy().into_owned();
        let name = file.trim_end_matches(".rs").trim_end_matches("/mod");
        let text = fs::read_to_string(path).unwrap();
        Module {
            path: name.split('/').map(String::from).collect(),
            lines: text.lines().count(),
            text: code(&text),
            file: file.clone(),
        }
    };
    let all = paths.iter().map(read);
    all.filter(|module| module.file != "lib.rs" && module.room() != "bin").collect()
}

/// The paths in a `use` tree: `a::{b, c::d}` is `a::b` and `a::c::d`.
fn leaves(tree: &str) -> Vec<String> {
    let Some((prefix, rest)) = tree.split_once('{') else { return vec![tree.trim().to_string()] };
    let inner = &rest[..rest.rfind('}').unwrap()];
    let (mut parts, mut depth, mut part) = (Vec::new(), 0, String::new());
    for c in inner.chars() {
        depth += i32::from(c == '{') - i32::from(c == '}');
        if c == ',' && depth == 0 {
            parts.push(std::mem::take(&mut part));
        } else {
            part.push(c);
        }
    }
    parts.push(part);
    let parts = parts.iter().map(|part| part.trim()).filter(|part| !part.is_empty());
    parts.flat_map(leaves).map(|leaf| format!("{}{leaf}", prefix.trim())).collect()
}

/// A path in a module as one from the crate's root; `None` where it is not of this crate.
fn absolute(path: &str, of: &Module, known: &BTreeSet<&[String]>) -> Option<Vec<String>> {
    let path = path.split(" as ").next().unwrap().trim();
    let mut parts: Vec<String> = path.split("::").map(String::from).collect();
    let mut base = of.path.clone();
    match parts[0].as_str() {
        "crate" => base.clear(),
        "self" => {}
        "super" => {
            while parts.first().is_some_and(|part| part == "super") {
                base.pop();
                parts.remove(0);
            }
            parts.insert(0, String::new());
        }
        child => {
            base.push(child.to_string());
            if !known.contains(base.as_slice()) {
                return None;
            }
        }
    }
    base.extend(parts.into_iter().skip(1));
    Some(base)
}

/// `use` declarations (true where they are public), and other paths.
fn paths(text: &str) -> Vec<(bool, String)> {
    let mut found = Vec::new();
    let mut rest = String::new();
    for statement in text.split_inclusive(';') {
        let words = statement.trim_start();
        let at = words.find("use ").filter(|at| {
            let before = words[..*at].trim();
            before.is_empty() || before.ends_with(')') || before.ends_with("pub") || before.ends_with('}')
        });
        match at.filter(|_| words.ends_with(';')) {
            Some(at) => {
                let public = words[..at].contains("pub");
                found.extend(leaves(words[at + 4..].trim_end_matches(';')).into_iter().map(|leaf| (public, leaf)));
                rest.push_str(&words[..at]);
            }
            None => rest.push_str(statement),
        }
    }
    let is_path = |c: char| c.is_alphanumeric() || c == '_' || c == ':';
    let words = rest.split(|c| !is_path(c)).filter(|word| word.contains("::"));
    found.extend(words.map(|word| (false, word.trim_matches(':').to_string())));
    found
}

/// Which modules each module uses, by file: a name that a module only passes on leads to where it is defined.
fn arrows(modules: &[Module]) -> BTreeMap<usize, BTreeSet<usize>> {
    let known: BTreeSet<&[String]> = modules.iter().map(|module| module.path.as_slice()).collect();
    let index: BTreeMap<&[String], usize> = modules.iter().enumerate().map(|(i, m)| (m.path.as_slice(), i)).collect();
    let all: Vec<Vec<(bool, Vec<String>)>> = modules
        .iter()
        .map(|module| {
            let paths = paths(&module.text).into_iter();
            paths.filter_map(|(public, path)| Some((public, absolute(&path, module, &known)?))).collect()
        })
        .collect();
    let find =
        |path: &[String]| (1..=path.len()).rev().find_map(|n| Some((*index.get(&path[..n])?, path.get(n).cloned())));
    let passed_on = |module: usize, name: &str| {
        let public =
            all[module].iter().filter(|(public, path)| *public && path.last().is_some_and(|last| last == name));
        public.filter_map(|(_, path)| find(path)).map(|(to, _)| to).next()
    };
    let mut arrows: BTreeMap<usize, BTreeSet<usize>> = BTreeMap::new();
    for (from, paths) in all.iter().enumerate() {
        for (_, path) in paths.iter().filter(|(public, _)| !public) {
            let Some((mut to, name)) = find(path) else { continue };
            while let Some(next) = name.as_ref().and_then(|name| passed_on(to, name)).filter(|next| *next != to) {
                to = next;
            }
            if to != from {
                arrows.entry(from).or_default().insert(to);
            }
        }
    }
    arrows
}

#[test]
fn a_room_uses_only_those_that_it_may() {
    let modules = modules();
    let mut wrong = BTreeSet::new();
    let mut seen = 0;
    for (from, used) in arrows(&modules) {
        let (from, used) = (&modules[from], used.into_iter().map(|to| &modules[to]));
        let Some((room, may)) = ROOMS.iter().find(|(room, _)| *room == from.room()) else {
            wrong.insert(format!("{} is in no room", from.file));
            continue;
        };
        for to in used.filter(|to| to.room() != *room) {
            seen += 1;
            if !may.contains(&to.room()) {
                wrong.insert(format!("{} uses {}", from.file, to.file));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert!(seen > 300, "the test sees only {seen} arrows: does it still read `use` right?");
}

#[test]
fn files_do_not_use_each_other_in_circles() {
    let modules = modules();
    let mut arrows = arrows(&modules);
    // What uses nothing that is left is in no circle.
    loop {
        let left: BTreeSet<usize> = arrows.iter().filter(|(_, used)| !used.is_empty()).map(|(from, _)| *from).collect();
        let before = arrows.values().map(BTreeSet::len).sum::<usize>();
        arrows.retain(|from, _| left.contains(from));
        arrows.values_mut().for_each(|used| used.retain(|to| left.contains(to)));
        if arrows.values().map(BTreeSet::len).sum::<usize>() == before {
            break;
        }
    }
    let name = |i: &usize| modules[*i].file.as_str();
    let circles: Vec<String> = arrows
        .iter()
        .map(|(from, used)| format!("{} uses {}", name(from), used.iter().map(name).collect::<Vec<_>>().join(", ")))
        .collect();
    assert!(circles.is_empty(), "in or before a circle:\n{}", circles.join("\n"));
}

#[test]
fn the_map_in_lib_rs_is_complete() {
    let text = fs::read_to_string(root().join("src/lib.rs")).unwrap();
    let declared: Vec<&str> =
        text.lines().filter_map(|line| line.strip_prefix("pub mod ")?.strip_suffix(';')).collect();
    let drawn: Vec<&str> = ROOMS.iter().map(|(room, _)| *room).collect();
    let sorted = |mut rooms: Vec<&str>| {
        rooms.sort_unstable();
        rooms.join(" ")
    };
    assert_eq!(sorted(declared), sorted(drawn.clone()));
    assert!(drawn.len() <= 14, "{} rooms", drawn.len());
    for room in drawn {
        assert!(text.contains(&format!("//! {room} ")), "lib.rs says nothing about {room}");
    }
}

#[test]
fn every_library_has_one_home() {
    let mut wrong = Vec::new();
    for module in modules() {
        for (word, homes) in HOMES {
            if module.text.contains(word) && !homes.contains(&module.room()) {
                wrong.push(format!("{} says {word}", module.file));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Types that every program's flags have one of.
const SHARED_NAMES: &[&str] = &["Args"];

#[test]
fn no_type_name_stands_for_two_things() {
    let mut defined: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for module in modules() {
        for line in module.text.lines() {
            let line =
                line.split_once("pub(").map_or(line, |(_, rest)| rest.split_once(") ").map_or(line, |(_, rest)| rest));
            let line = line.trim_start_matches("pub ");
            let name = ["struct ", "enum ", "trait ", "type "].iter().find_map(|word| line.strip_prefix(word));
            let name: String = name.unwrap_or_default().chars().take_while(|c| c.is_alphanumeric()).collect();
            if !name.is_empty() && !SHARED_NAMES.contains(&name.as_str()) {
                defined.entry(name).or_default().push(module.file.clone());
            }
        }
    }
    defined.retain(|_, files| files.len() > 1);
    assert!(defined.is_empty(), "{defined:#?}");
}

#[test]
fn files_stay_short() {
    let long: Vec<String> = modules()
        .into_iter()
        .filter(|module| module.lines > 500)
        .map(|module| format!("{} has {} lines, more than 500", module.file, module.lines))
        .collect();
    assert!(long.is_empty(), "{}", long.join("\n"));
    for file in fs::read_dir(root().join("src/bin")).unwrap() {
        let lines = fs::read_to_string(file.unwrap().path()).unwrap().lines().count();
        assert!(lines <= 20, "a binary of {lines} lines: its work belongs into src/programs");
    }
}

#[test]
fn every_file_of_tests_is_in_a_crate() {
    let folder = root().join("tests/it");
    let crates = ["main.rs", "cases.rs"].map(|name| fs::read_to_string(folder.join(name)).unwrap());
    for file in fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()) {
        let Some(name) = file.file_name().unwrap().to_str().unwrap().strip_suffix(".rs") else { continue };
        let declared = crates.iter().any(|text| text.lines().any(|line| line == format!("mod {name};")));
        assert!(
            declared || ["main", "cases"].contains(&name),
            "tests/it/{name}.rs is in no crate: its tests never run"
        );
    }
}

/// The folders at the top of the repository.
const TOP: [&str; 8] = ["benches", "configs", "docs", "fuzz", "man", "scripts", "src", "tests"];

#[test]
fn the_top_of_the_repository_has_few_folders() {
    let ignored = fs::read_to_string(root().join(".gitignore")).unwrap();
    let folders = fs::read_dir(root()).unwrap().map(|entry| entry.unwrap()).filter(|entry| entry.path().is_dir());
    let names: BTreeSet<String> = folders.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    let wrong: Vec<&String> = names
        .iter()
        .filter(|name| !name.starts_with('.') && !ignored.lines().any(|line| line == format!("/{name}/")))
        .filter(|name| !TOP.contains(&name.as_str()))
        .collect();
    assert!(wrong.is_empty(), "{wrong:?} at the top: what is it part of?");
    assert!(TOP.iter().all(|name| names.contains(*name)), "{names:?}");
}
