//! Whole programs, case by case: `cases/PROGRAM/NAME/` holds `args` (a shell's words), `stdin`, and what must come out:
//! `stdout`, `stderr`, `status`. All are exact; a file that is not there is empty, a status 0. The program runs inside the
//! folder, so that other files there are its inputs. `BLESS=1` rewrites what came out.

use std::fs;
use std::path::{Path, PathBuf};

use serving_bench::base::shell;

use crate::harness::{program, root, run};

fn folders(path: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path());
    let mut folders: Vec<PathBuf> = entries.filter(|path| path.is_dir()).collect();
    folders.sort();
    folders
}

fn name(path: &Path) -> String {
    path.file_name().unwrap().to_string_lossy().into_owned()
}

/// What differs between the case's files and what the program did; nothing when all is as it should be.
fn check(program_name: &str, case: &Path) -> Vec<String> {
    let read = |file: &str| fs::read_to_string(case.join(file)).unwrap_or_default();
    let args = shell::split(&read("args")).unwrap_or_else(|e| panic!("{}: args: {e}", case.display()));
    let done = run(program(program_name).args(args).current_dir(case), &read("stdin"));
    let status = done.code.map_or_else(|| format!("signal {:?}", done.signal), |code| code.to_string());
    let mut wrong = Vec::new();
    for (file, came) in [("stdout", done.stdout), ("stderr", done.stderr), ("status", format!("{status}\n"))] {
        let wanted = match (file, read(file)) {
            ("status", text) if text.is_empty() => "0\n".into(),
            (_, text) => text,
        };
        if came == wanted {
            continue;
        }
        if std::env::var_os("BLESS").is_some() {
            let path = case.join(file);
            let empty = came.is_empty() || (file == "status" && came == "0\n");
            if empty {
                fs::remove_file(path).unwrap()
            } else {
                fs::write(path, &came).unwrap()
            };
        }
        wrong.push(format!("{program_name}/{}: {file}\n-- wanted\n{wanted}-- came\n{came}", name(case)));
    }
    wrong
}

#[test]
fn every_program_does_what_its_cases_say() {
    let mut wrong = Vec::new();
    let mut count = 0;
    for program in folders(&root().join("tests/it/cases")) {
        for case in folders(&program) {
            wrong.extend(check(&name(&program), &case));
            count += 1;
        }
    }
    assert!(count >= 40, "only {count} cases were found");
    assert!(wrong.is_empty() || std::env::var_os("BLESS").is_some(), "{}", wrong.join("\n"));
}
