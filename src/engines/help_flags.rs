//! The flags in a `--help` text, the choices of each, and whether a flag is one of them as its parser reads it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

use regex::Regex;

use super::framework::{FlagStyle, HelpCommand, Leniency};
use crate::base::pattern::ascii;

/// Flags in a usage: `[--flag`, `| --flag`.
static USAGE: LazyLock<Regex> = LazyLock::new(|| ascii(r"[\[|{(]\s*(--[A-Za-z0-9][\w-]*)").expect("a fixed pattern"));
/// A flag at the beginning of a text, with its choices if it has any.
static FLAG: LazyLock<Regex> = LazyLock::new(|| {
    ascii(r"^(--?[A-Za-z0-9][\w-]*)(?:[ =](?:\{([^{}\s]+)\}|\[([^\]\s]+\|[^\]\s]+)\]|<([^>\s]+\|[^>\s]+)>))?")
        .expect("a fixed pattern")
});
/// What separates two spellings of a flag: `-x, --xx`, `--x / --no-x`.
static ANOTHER: LazyLock<Regex> = LazyLock::new(|| ascii(r",\s*| / ").expect("a fixed pattern"));

/// Maximum indent of a line that declares a flag, characters.
const MAX_INDENT: usize = 8;

/// The flags in the help of one program.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HelpFlags {
    flags: BTreeMap<String, ListedFlag>,
    /// The files it was read from.
    pub files: Vec<String>,
    /// True if one of them lists all flags.
    complete: bool,
    lenient: BTreeSet<Leniency>,
    /// True if a flag with a dot sets one member of a map.
    dotted: bool,
}

/// One spelling of a flag.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct ListedFlag {
    /// Its values; empty if it accepts anything.
    choices: Vec<String>,
    /// The first spelling on its line: those of one line are one flag.
    first: String,
}

/// Whether a flag is in the help.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FlagVerdict {
    /// The program accepts it.
    Accepted,
    /// The program refuses it: it is not listed, or the beginning of several flags.
    Unknown,
    /// Not in the help, which is known to be incomplete.
    Unverifiable,
}

impl HelpFlags {
    /// The verdict on a flag as written on a command line, without `=value`.
    #[must_use]
    pub fn verdict(&self, flag: &str) -> FlagVerdict {
        match self.spellings(flag)[..] {
            [_] => FlagVerdict::Accepted,
            [] if !self.complete => FlagVerdict::Unverifiable,
            _ => FlagVerdict::Unknown,
        }
    }

    /// The flags that begin like this one, if they are several; otherwise none.
    #[must_use]
    pub fn ambiguous(&self, flag: &str) -> Vec<&str> {
        let spellings = self.spellings(flag);
        if spellings.len() > 1 { spellings } else { Vec::new() }
    }

    /// The choices of a flag; empty if it accepts anything, and for a member of a map.
    #[must_use]
    pub fn choices(&self, flag: &str) -> &[String] {
        let listed = self.spellings(flag).first().and_then(|first| self.flags.get(*first));
        listed.filter(|_| !flag.contains('.')).map_or(&[], |listed| listed.choices.as_slice())
    }

    /// All flags.
    pub fn flags(&self) -> impl Iterator<Item = &str> {
        self.flags.keys().map(String::as_str)
    }

    /// The listed flags that a parser takes `flag` for, one spelling of each.
    fn spellings(&self, flag: &str) -> Vec<&str> {
        let root = if self.dotted { flag.split('.').next().unwrap_or(flag) } else { flag };
        let is_long = root.starts_with("--");
        let underscores = is_long && self.lenient.contains(&Leniency::Underscores);
        let plain = |flag: &str| if underscores { flag.replace('_', "-") } else { flag.to_string() };
        let wanted = plain(root);
        if let Some((own, _)) = self.flags.iter().find(|(own, _)| plain(own) == wanted) {
            return vec![own];
        }
        if !is_long {
            // `-O3`: a short flag of one letter, and its value.
            let letter = root.char_indices().nth(2).map(|(end, _)| &root[..end]);
            let letter = letter.filter(|_| self.lenient.contains(&Leniency::Attached));
            return letter
                .and_then(|letter| self.flags.get_key_value(letter))
                .map(|(own, _)| own.as_str())
                .into_iter()
                .collect();
        }
        let begins = |own: &&String| wanted.len() > 2 && plain(own).starts_with(&wanted);
        let abbreviated = self.flags.keys().filter(|_| self.lenient.contains(&Leniency::Prefixes)).filter(begins);
        let mut found: Vec<&String> = Vec::new();
        for own in abbreviated {
            if !found.iter().any(|other| self.flags[*other].first == self.flags[own].first) {
                found.push(own);
            }
        }
        found.into_iter().map(String::as_str).collect()
    }

    pub(super) fn add(&mut self, file: &str, text: &str, help: &HelpCommand, style: &FlagStyle) {
        let flags = read(text);
        let grouped = help.grouped.as_ref().and_then(|pattern| Regex::new(pattern).ok());
        let grouped = grouped.is_some_and(|pattern| text.lines().any(|line| pattern.is_match(line)));
        // A text that only mentions --help is an error message or an overview.
        let empty = flags.keys().all(|flag| ["--help", "-h", "--version"].contains(&flag.as_str()));
        self.complete |= !help.incomplete && !grouped && !empty;
        self.files.push(file.to_string());
        self.lenient.clone_from(&style.lenient);
        self.dotted = style.dotted;
        for (flag, listed) in flags {
            let known = self.flags.entry(flag).or_default();
            if known.choices.is_empty() {
                *known = listed;
            }
        }
    }
}

/// The flags that a help text declares; not those that its prose only mentions.
fn read(text: &str) -> BTreeMap<String, ListedFlag> {
    let mut flags: BTreeMap<String, ListedFlag> = BTreeMap::new();
    let mut usage = false;
    for line in text.lines() {
        let trimmed = line.trim();
        usage = (usage || trimmed.to_ascii_lowercase().starts_with("usage:")) && !trimmed.is_empty();
        if usage {
            for found in USAGE.captures_iter(trimmed) {
                let own = || ListedFlag { first: found[1].into(), ..ListedFlag::default() };
                flags.entry(found[1].to_string()).or_insert_with(own);
            }
        }
        // Prose is indented further than any flag.
        let mut rest = if line.len() - line.trim_start().len() <= MAX_INDENT { trimmed } else { "" };
        let mut first = None;
        while let Some(found) = FLAG.captures(rest) {
            let choices = (2..5).find_map(|i| found.get(i)).map_or("", |choices| choices.as_str());
            let choices = choices.split([',', '|']).filter(|c| !c.is_empty()).map(String::from);
            let known = flags.entry(found[1].to_string()).or_default();
            known.choices.extend(choices.filter(|_| !usage));
            known.first.clone_from(first.get_or_insert_with(|| found[1].to_string()));
            // Another spelling may follow; after two spaces there is prose.
            let behind = &rest[found[0].len()..];
            let Some(next) = ANOTHER.find(behind).filter(|next| !behind[..next.start()].contains("  ")) else { break };
            rest = &behind[next.end()..];
        }
    }
    flags
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listed(text: &str, lenient: &[Leniency]) -> HelpFlags {
        let style = serde_json::json!({"words": "dash", "booleans": "switch", "dotted": true});
        let mut style: FlagStyle = serde_json::from_value(style).unwrap();
        style.lenient.extend(lenient);
        let mut flags = HelpFlags::default();
        flags.add("x_help.txt", text, &serde_json::from_str(r#"{"command": ["x"]}"#).unwrap(), &style);
        flags
    }

    #[test]
    fn only_declared_flags_are_read() {
        let text = "usage: x serve [-h] [--tp-size N] [--a | --no-a]\n\
                    \x20          [--later {x,y}]\n\n\
                    Prose that mentions --nothing.\n\n\
                    options:\n\
                    \x20 -h, --help            show this help\n\
                    \x20 --dtype {auto,half}   as --elsewhere says, or --other\n\
                    \x20 --count COUNT, -c COUNT\n\
                    \x20 --tensor_parallel_size, --tp_size INTEGER  Size.\n\
                    \x20 --telemetry / --no-telemetry  Whether to, or --not.\n\
                    \x20 --backend [pytorch|tensorrt]  Which one.\n\
                    -t,    --threads N      number, see --threads-batch\n";
        let flags = read(text);
        let names: Vec<&str> = flags.keys().map(String::as_str).collect();
        assert_eq!(
            names,
            [
                "--a",
                "--backend",
                "--count",
                "--dtype",
                "--help",
                "--later",
                "--no-a",
                "--no-telemetry",
                "--telemetry",
                "--tensor_parallel_size",
                "--threads",
                "--tp-size",
                "--tp_size",
                "-c",
                "-h",
                "-t"
            ]
        );
        assert_eq!(flags["--dtype"].choices, ["auto", "half"]);
        assert_eq!(flags["--backend"].choices, ["pytorch", "tensorrt"]);
        assert_eq!(flags["--count"].choices, [""; 0]);
    }

    const HELP: &str = "options:\n\
                        \x20 --tp-size N, --tensor-parallel-size N\n\
                        \x20 --context-length N\n\
                        \x20 --context-parallel N\n\
                        \x20 --enable-x, --no-enable-x\n\
                        \x20 --compilation-config C, -cc C\n\
                        \x20 --level {0,3}, -O {0,3}\n\
                        \x20 --mixed_name N\n";

    #[test]
    fn a_flag_is_accepted_as_the_parser_reads_it() {
        use Leniency::{Attached, Prefixes, Underscores};
        let (strict, all) = (listed(HELP, &[]), listed(HELP, &[Attached, Prefixes, Underscores]));
        for flag in
            ["--tp-size", "-cc", "--no-enable-x", "--compilation-config.pass_config.x", "-cc.mode", "--mixed_name"]
        {
            assert_eq!(strict.verdict(flag), FlagVerdict::Accepted, "{flag}");
            assert_eq!(all.verdict(flag), FlagVerdict::Accepted, "{flag}");
        }
        for flag in [
            "--tp",
            "--t",
            "--tensor",
            "--tp_size",
            "--context-l",
            "--no-en",
            "-O3",
            "--mixed-name",
            "--compilation_config.x",
        ] {
            assert_eq!(strict.verdict(flag), FlagVerdict::Unknown, "{flag}");
            assert_eq!(all.verdict(flag), FlagVerdict::Accepted, "{flag}");
        }
        for flag in ["--context", "--", "-x3", "--tp-sizes", "-c", "--no-such-flag"] {
            assert_eq!(all.verdict(flag), FlagVerdict::Unknown, "{flag}");
        }
        assert_eq!(all.ambiguous("--context"), ["--context-length", "--context-parallel"]);
        assert_eq!(all.ambiguous("--t"), [""; 0], "two spellings of one flag");
        assert_eq!(all.choices("--lev"), ["0", "3"]);
    }
}
