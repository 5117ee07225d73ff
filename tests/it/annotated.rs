//! A case in one file: a plan, and behind it, as comments, what `PROGRAM plan.yaml` says about it. The comments are cut off
//! before the program reads the plan.
//!
//! ```text
//! #~ 5:44: error: …    a line of standard error about the plan; its beginning, `plan.yaml:`, is left out
//! #~| bench-rank: …    any other line of standard error
//! #> {"record": …      a line of standard output
//! #= 2                 the exit status, where it is not 1 with an error and 0 without
//! ```

use std::fmt::Write;
use std::fs;
use std::path::Path;

use libtest_mimic::Failed;

use crate::harness::{Output, program, run, scratch};

const PLAN: &str = "plan.yaml";

/// Runs the case of one file; an error says what differs.
pub fn case(program_name: &str, path: &Path) -> Result<(), Failed> {
    let text = fs::read_to_string(path)?;
    let (plan, wanted) = text.split_at(plan_length(&text));
    let folder = scratch();
    fs::write(folder.path().join(PLAN), plan)?;
    let came = annotations(&run(program(program_name).arg(PLAN).current_dir(folder.path()), ""));
    if came == wanted {
        return Ok(());
    }
    if !crate::is_blessing() {
        return Err(format!("-- wanted\n{wanted}-- came\n{came}").into());
    }
    if !plan.ends_with('\n') {
        return Err("the plan does not end with a newline: give it a folder".into());
    }
    Ok(fs::write(path, format!("{plan}{came}"))?)
}

/// Where the annotations begin: they are the last lines.
fn plan_length(text: &str) -> usize {
    let is_annotation = |line: &&str| ["#~", "#>", "#="].iter().any(|mark| line.starts_with(mark));
    let annotated: usize = text.split_inclusive('\n').rev().take_while(is_annotation).map(str::len).sum();
    text.len() - annotated
}

fn annotations(done: &Output) -> String {
    let mut text = String::new();
    let mut is_error = false;
    for line in done.stderr.split_terminator('\n') {
        is_error |= line.contains(": error: ");
        let _ = match line.strip_prefix("plan.yaml:") {
            Some(about) => writeln!(text, "#~ {about}"),
            None => writeln!(text, "#~| {line}"),
        };
    }
    for line in done.stdout.split_terminator('\n') {
        let _ = writeln!(text, "#> {line}");
    }
    let status = crate::status(done);
    if status != i32::from(is_error).to_string() {
        let _ = writeln!(text, "#= {status}");
    }
    text
}
