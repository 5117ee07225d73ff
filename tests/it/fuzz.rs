//! The fuzz targets on their corpus: they compile, and what was found once stays mended.

#[path = "../fuzz/import.rs"]
mod import;
#[path = "../fuzz/plan.rs"]
mod plan;
#[path = "../fuzz/rows.rs"]
mod rows;
#[path = "../fuzz/sse.rs"]
mod sse;

use crate::harness::root;

/// Runs a target on the files of its corpus.
fn on_corpus(name: &str, run: fn(&[u8])) {
    let files = std::fs::read_dir(root().join("fuzz/corpus").join(name)).unwrap();
    let mut files: Vec<_> = files.map(|file| file.unwrap().path()).collect();
    files.sort();
    assert!(files.len() > 1, "{name} has no corpus");
    for file in files {
        let data = std::fs::read(&file).unwrap();
        assert!(std::panic::catch_unwind(|| run(&data)).is_ok(), "{}", file.display());
    }
}

#[test]
fn rows_of_the_corpus_are_read_and_reported() {
    on_corpus("rows", rows::run);
}

#[test]
fn plans_of_the_corpus_are_checked_and_expanded() {
    on_corpus("plan", plan::run);
}

#[test]
fn answers_of_the_corpus_are_the_same_however_they_are_cut() {
    on_corpus("sse", sse::run);
}

#[test]
fn results_of_other_clients_in_the_corpus_are_imported() {
    on_corpus("import", import::run);
}
