//! The codes of findings: each is explained, and comes out of a case or another test.

use std::fs;
use std::path::Path;

use serving_bench::rows::words::FindingCode;

use crate::harness::{program, root, run};

/// The text of all files below a folder.
fn text(folder: &Path, all: &mut String) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            text(&path, all);
        } else {
            all.push_str(&String::from_utf8_lossy(&fs::read(&path).unwrap()));
        }
    }
}

#[test]
fn every_code_comes_out_of_a_test() {
    let mut all = String::new();
    text(&root().join("tests/it"), &mut all);
    let said = |code: &FindingCode| all.contains(&format!("{}: {code}: ", code.level()));
    let silent: Vec<&FindingCode> = FindingCode::ALL.iter().filter(|code| !said(code)).collect();
    assert!(silent.is_empty(), "no test has a finding with {silent:?}");
}

#[test]
fn every_code_is_explained() {
    for code in FindingCode::ALL {
        let said = run(program("bench-validate").args(["--explain", code.as_str()]), "").expect(0).stdout;
        assert!(
            said.starts_with(&format!("{code}: ")) && said.contains("\nFix:  ") && said.contains("\nExample:\n"),
            "{said}"
        );
    }
}
