//! Whole programs, case by case, each a test of its own: `cargo test --test cases bench-rank/ties` runs those whose names
//! hold these words. There are two kinds:
//!
//! * `cases/PROGRAM/NAME/` holds `args` (a shell's words), `stdin`, and what must come out: `stdout`, `stderr`, `status`. All
//!   are exact; a file that is not there is empty, a status 0. The program runs inside the folder, so that other files there
//!   are its inputs.
//! * `cases/PROGRAM/NAME.yaml` is a plan with what the program says about it: see [`annotated`].
//!
//! `BLESS=1` rewrites what came out.
#![allow(clippy::unwrap_used, reason = "a test stops at what it did not expect")]

mod annotated;
mod harness;

use std::fs;
use std::path::{Path, PathBuf};

use libtest_mimic::{Arguments, Failed, Trial};
use serving_bench::base::shell;

use crate::harness::{Output, program, root, run};

/// Fewer than these were not all found.
const LEAST: usize = 400;

fn main() {
    let mut trials = Vec::new();
    for folder in entries(&root().join("tests/it/cases")).into_iter().filter(|path| path.is_dir()) {
        let program = name(&folder);
        for case in entries(&folder) {
            let (program, title) = (program.clone(), format!("{program}/{}", name(&case)));
            trials.push(Trial::test(title, move || {
                if case.is_dir() { folder_case(&program, &case) } else { annotated::case(&program, &case) }
            }));
        }
    }
    assert!(trials.len() >= LEAST, "only {} cases were found", trials.len());
    libtest_mimic::run(&Arguments::from_args(), trials).exit();
}

fn entries(folder: &Path) -> Vec<PathBuf> {
    let mut entries: Vec<PathBuf> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    entries.sort();
    entries
}

/// The name of a program's folder, and of a case: a file's without its ending.
fn name(path: &Path) -> String {
    let name = path.file_name().unwrap().to_string_lossy().into_owned();
    name.strip_suffix(".yaml").map(String::from).unwrap_or(name)
}

/// Whether what came out is to be written instead of compared.
fn is_blessing() -> bool {
    std::env::var_os("BLESS").is_some()
}

/// The exit status as the cases write it.
fn status(done: &Output) -> String {
    done.code.map_or_else(|| format!("signal {:?}", done.signal), |code| code.to_string())
}

/// Runs the case of a folder; an error says what differs.
fn folder_case(program_name: &str, case: &Path) -> Result<(), Failed> {
    let read = |file: &str| fs::read_to_string(case.join(file)).unwrap_or_default();
    let args = shell::split(&read("args")).map_err(|e| format!("args: {e}"))?;
    let done = run(program(program_name).args(args).current_dir(case), &read("stdin"));
    let status = format!("{}\n", status(&done));
    let mut wrong = String::new();
    for (file, came) in [("stdout", done.stdout), ("stderr", done.stderr), ("status", status)] {
        let wanted = match (file, read(file)) {
            ("status", text) if text.is_empty() => "0\n".into(),
            (_, text) => text,
        };
        if came == wanted {
            continue;
        }
        if !is_blessing() {
            wrong += &format!("{file}\n-- wanted\n{wanted}-- came\n{came}");
        } else if came.is_empty() || (file == "status" && came == "0\n") {
            fs::remove_file(case.join(file))?;
        } else {
            fs::write(case.join(file), &came)?;
        }
    }
    if wrong.is_empty() { Ok(()) } else { Err(wrong.into()) }
}
