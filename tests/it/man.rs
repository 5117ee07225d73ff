//! The man pages are those of the clap definitions. `BLESS=1` rewrites them.

use std::fmt::Write;
use std::fs;

use clap::{Command, CommandFactory};
use serving_bench::base::version::VERSION;
use serving_bench::flags;

use crate::harness::{program, root, run};

fn commands() -> Vec<Command> {
    vec![
        flags::validate::Args::command(),
        flags::expand::Args::command(),
        flags::serve::Args::command(),
        flags::load::Args::command(),
        flags::normalize::Args::command(),
        flags::rank::Args::command(),
        flags::sim::Args::command(),
        flags::sweep::Args::command(),
    ]
}

fn page(command: &Command) -> String {
    let name = command.get_name().to_string();
    // What stands behind the options in --help is laid out here as sections of its own.
    let after = command.get_after_long_help().map(ToString::to_string).unwrap_or_default();
    let man = clap_mangen::Man::new(command.clone().after_long_help("").after_help(""))
        .title(name.to_uppercase())
        .source("serving-bench")
        .manual("serving-bench");
    let mut bytes = Vec::new();
    man.render_title(&mut bytes).unwrap();
    man.render_name_section(&mut bytes).unwrap();
    man.render_synopsis_section(&mut bytes).unwrap();
    man.render_description_section(&mut bytes).unwrap();
    man.render_options_section(&mut bytes).unwrap();
    // Each part brings the same two lines for apostrophes: once is enough.
    let apostrophes = ".ie \\n(.g .ds Aq \\(aq\n.el .ds Aq '\n";
    let parts = String::from_utf8(bytes).unwrap().replace(apostrophes, "");
    let mut page = format!("{apostrophes}{parts}");
    for block in after.split("\n\n") {
        match block.split_once(":\n") {
            Some(("Examples", lines)) => section(&mut page, "EXAMPLES", lines, true),
            Some(("Exit status", lines)) => section(&mut page, "EXIT STATUS", lines, true),
            _ if page.contains(".SH NOTES") => section(&mut page, "", block, false),
            _ => section(&mut page, "NOTES", block, false),
        }
    }
    page.push_str(".SH SEE ALSO\n");
    let others: Vec<String> = commands().iter().map(|c| c.get_name().to_string()).filter(|n| *n != name).collect();
    let others = others.iter().map(|n| format!(".BR {} (1)", n.replace('-', "\\-")));
    let plans = ["bench-validate", "bench-expand"].contains(&name.as_str()).then(|| ".BR bench\\-plan (5)".to_string());
    page.push_str(&others.chain(plans).chain([".BR bench (7)".to_string()]).collect::<Vec<_>>().join(",\n"));
    page.push('\n');
    page
}

fn section(page: &mut String, title: &str, text: &str, as_it_stands: bool) {
    let _ = if title.is_empty() { writeln!(page, ".PP") } else { writeln!(page, ".SH \"{title}\"") };
    let escape = |line: &str| {
        let line = line.replace('\\', "\\e").replace('-', "\\-").replace('\'', "\\(aq");
        if line.starts_with('.') { format!("\\&{line}") } else { line }
    };
    if as_it_stands {
        page.push_str(".nf\n");
    }
    for line in text.lines() {
        let _ = writeln!(page, "{}", escape(line.strip_prefix("  ").unwrap_or(line)));
    }
    if as_it_stands {
        page.push_str(".fi\n");
    }
}

#[test]
fn pages_are_current() {
    let mut stale = Vec::new();
    for command in commands() {
        let path = root().join(format!("man/{}.1", command.get_name()));
        let text = page(&command);
        if std::env::var_os("BLESS").is_some() {
            fs::write(&path, &text).unwrap();
        }
        if fs::read_to_string(&path).unwrap_or_default() != text {
            stale.push(command.get_name().to_string());
        }
    }
    assert!(stale.is_empty(), "out of date: {stale:?}; run the tests once with BLESS=1");
}

#[test]
fn every_program_tells_its_help_version_and_completions() {
    for command in commands() {
        let name = command.get_name();
        let short = run(program(name).arg("-h"), "").expect(0);
        let long = run(program(name).arg("--help"), "").expect(0);
        assert!(short.stdout.len() < long.stdout.len(), "{name}: -h is not shorter than --help");
        assert!(long.stdout.contains("Examples:") && long.stdout.contains("Exit status:"), "{name}");
        let version = run(program(name).arg("--version"), "").expect(0);
        assert_eq!(version.stdout, format!("{name} {VERSION}\n"));
        for shell in ["bash", "zsh", "fish"] {
            assert!(run(program(name).args(["--completions", shell]), "").expect(0).stdout.contains(name));
        }
        let wrong = run(program(name).arg("--no-such-flag"), "").expect(2);
        assert!(wrong.stdout.is_empty() && wrong.stderr.contains("--no-such-flag"), "{name}: {}", wrong.stderr);
    }
}
