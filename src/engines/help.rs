//! Captured `--help` texts: their flags, the choices of each, and whether they are complete.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

use regex::Regex;

use super::framework::{Framework, Frameworks, HelpCommand, HelpSubject};
use super::version::FrameworkVersion;
use crate::base::pattern::ascii;

/// Flags in a usage: `[--flag`, `| --flag`.
static USAGE: LazyLock<Regex> = LazyLock::new(|| ascii(r"[\[|{(]\s*(--[A-Za-z0-9][\w-]*)").expect("a fixed pattern"));
/// A flag at the beginning of a text, with its choices if it has any.
static FLAG: LazyLock<Regex> = LazyLock::new(|| {
    ascii(r"^(--?[A-Za-z0-9][\w-]*)(?:[ =](?:\{([^{}\s]+)\}|\[([^\]\s]+\|[^\]\s]+)\]|<([^>\s]+\|[^>\s]+)>))?")
        .expect("a fixed pattern")
});
/// A version in the output of a version command.
static VERSION: LazyLock<Regex> =
    LazyLock::new(|| ascii(r"\bv?(\d+(?:\.\d+)+[\w.+-]*|b\d{3,})").expect("a fixed pattern"));

/// Maximum indent of a line that declares a flag, characters.
const MAX_INDENT: usize = 8;

/// The flags in the help of one program.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HelpFlags {
    /// Flags, each with its choices; empty if it accepts anything.
    flags: BTreeMap<String, Vec<String>>,
    /// The files it was read from.
    pub files: Vec<String>,
    /// True if one of them lists all flags.
    complete: bool,
}

/// Whether a flag is in the help.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FlagVerdict {
    /// Listed in the help.
    Accepted,
    /// Not listed in the help.
    Unknown,
    /// Not in the help, which is known to be incomplete.
    Unverifiable,
}

impl HelpFlags {
    /// The verdict on a flag.
    #[must_use]
    pub fn verdict(&self, flag: &str) -> FlagVerdict {
        match (self.flags.contains_key(flag), self.complete) {
            (true, _) => FlagVerdict::Accepted,
            (false, true) => FlagVerdict::Unknown,
            (false, false) => FlagVerdict::Unverifiable,
        }
    }

    /// The choices of a flag; empty if it accepts anything.
    #[must_use]
    pub fn choices(&self, flag: &str) -> &[String] {
        self.flags.get(flag).map_or(&[], Vec::as_slice)
    }

    /// All flags.
    pub fn flags(&self) -> impl Iterator<Item = &str> {
        self.flags.keys().map(String::as_str)
    }

    fn add(&mut self, file: &str, text: &str, help: &HelpCommand) {
        let flags = read(text);
        let grouped = help.grouped.as_ref().and_then(|pattern| Regex::new(pattern).ok());
        let grouped = grouped.is_some_and(|pattern| text.lines().any(|line| pattern.is_match(line)));
        // A text that only mentions --help is an error message or an overview.
        let empty = flags.keys().all(|flag| ["--help", "-h", "--version"].contains(&flag.as_str()));
        self.complete |= !help.incomplete && !grouped && !empty;
        self.files.push(file.to_string());
        for (flag, choices) in flags {
            let known = self.flags.entry(flag).or_default();
            if known.is_empty() {
                *known = choices;
            }
        }
    }
}

/// The flags that a help text declares, with their choices; not those that its prose only mentions.
fn read(text: &str) -> BTreeMap<String, Vec<String>> {
    let mut flags: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut usage = false;
    for line in text.lines() {
        let trimmed = line.trim();
        usage = (usage || trimmed.to_ascii_lowercase().starts_with("usage:")) && !trimmed.is_empty();
        if usage {
            for found in USAGE.captures_iter(trimmed) {
                flags.entry(found[1].to_string()).or_default();
            }
        }
        // Prose is indented further than any flag.
        let mut rest = if line.len() - line.trim_start().len() <= MAX_INDENT { trimmed } else { "" };
        while let Some(found) = FLAG.captures(rest) {
            let choices = (2..5).find_map(|i| found.get(i)).map_or("", |choices| choices.as_str());
            let choices = choices.split([',', '|']).filter(|c| !c.is_empty()).map(String::from);
            let known = flags.entry(found[1].to_string()).or_default();
            known.extend(choices.filter(|_| !usage));
            // Another spelling may follow after a comma; after two spaces there is prose.
            let behind = &rest[found[0].len()..];
            let Some(comma) = behind.find(',').filter(|at| !behind[..*at].contains("  ")) else { break };
            rest = behind[comma + 1..].trim_start();
        }
    }
    flags
}

/// The captured help of one framework.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CapturedHelp {
    /// The help of each of its programs.
    pub shown: BTreeMap<HelpSubject, HelpFlags>,
    /// Its version, if known.
    pub version: Option<FrameworkVersion>,
    /// Why there is no help: the error of the command.
    pub missing: Option<String>,
}

/// Captured help, by the names of definition and folder.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Helps(BTreeMap<(String, String), CapturedHelp>);

impl Helps {
    /// Assigns captured files to frameworks by the words in their names. The version comes from a file with `version` and the
    /// framework in its name, otherwise from the name of the folder: `vllm-0.32.0`.
    #[must_use]
    pub fn of(files: &[(String, String)], frameworks: &Frameworks) -> Self {
        let mut all: BTreeMap<(String, String), CapturedHelp> = BTreeMap::new();
        for (path, text) in files {
            let mut parts = path.rsplit('/');
            let (file, folder) = (parts.next().unwrap_or(path), parts.next().unwrap_or_default().to_string());
            let name = file.to_ascii_lowercase();
            if name.contains("version") {
                let owner = frameworks.iter().find(|framework| name.starts_with(&framework.name));
                if let Some(owner) = owner {
                    let version = VERSION.captures(text).and_then(|found| FrameworkVersion::parse(&found[1]));
                    all.entry((owner.name.clone(), folder)).or_default().version = version;
                }
                continue;
            }
            let helps =
                frameworks.iter().flat_map(|framework| framework.help.iter().map(move |help| (framework, help)));
            let scored = helps.map(|(framework, help)| (score(help, &name), framework, help));
            let Some((_, framework, help)) = scored.filter(|(n, ..)| *n > 0).max_by_key(|(n, ..)| *n) else { continue };
            let version = version_of(&folder, framework);
            let captured = all.entry((framework.name.clone(), folder)).or_default();
            if let Some(why) = text.strip_prefix(MISSING) {
                if help.of == HelpSubject::Server {
                    captured.missing = Some(why.trim().to_string());
                }
                continue;
            }
            captured.shown.entry(help.of).or_default().add(file, text, help);
            captured.version = captured.version.take().or(version);
        }
        Self(all)
    }

    /// The captured help of a plan's framework: from the folder with its name, otherwise any for its definition.
    #[must_use]
    pub fn get(&self, name: &str, definition: &str) -> Option<&CapturedHelp> {
        let own = self.0.get(&(definition.to_string(), name.to_string()));
        own.or_else(|| self.0.iter().find(|((of, _), _)| of == definition).map(|(_, captured)| captured))
    }

    /// Only the help of one plan: of all `captured` folders, those of its frameworks (`folders`, by framework name).
    #[must_use]
    pub fn placed(self, folders: &BTreeMap<String, String>, captured: &BTreeSet<String>) -> Self {
        let mut all = BTreeMap::new();
        for ((definition, folder), what) in self.0 {
            if !captured.contains(&folder) {
                all.entry((definition, folder)).or_insert(what);
                continue;
            }
            for (name, _) in folders.iter().filter(|(_, own)| **own == folder) {
                all.insert((definition.clone(), name.clone()), what.clone());
            }
        }
        Self(all)
    }

    /// True if there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// The beginning of a captured file if the command failed; the reason follows.
pub const MISSING: &str = "not captured: ";

/// The number of characters of a file's name that match the words of a help; 0 if it is another file.
fn score(help: &HelpCommand, file: &str) -> usize {
    let whole = help.named.iter().filter(|words| words.iter().all(|word| file.contains(word.as_str())));
    whole.map(|words| words.iter().map(String::len).sum()).max().unwrap_or(0)
}

/// `vllm-0.32.0` as the version of vLLM.
fn version_of(folder: &str, framework: &Framework) -> Option<FrameworkVersion> {
    let (name, version) = folder.rsplit_once('-')?;
    let plain = |text: &str| text.to_ascii_lowercase().replace(['.', '-', '_'], "");
    let known: BTreeSet<String> = [&framework.name, &framework.title].map(|name| plain(name)).into();
    known.contains(&plain(name)).then(|| FrameworkVersion::parse(version)).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

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
                "--tensor_parallel_size",
                "--threads",
                "--tp-size",
                "--tp_size",
                "-c",
                "-h",
                "-t"
            ]
        );
        assert_eq!(flags["--dtype"], ["auto", "half"]);
        assert_eq!(flags["--backend"], ["pytorch", "tensorrt"]);
        assert_eq!(flags["--count"], [""; 0]);
    }

    #[test]
    fn files_are_assigned_by_their_names() {
        let frameworks = Frameworks::load(&[], &[]).unwrap();
        let file = |path: &str, text: &str| (path.to_string(), text.to_string());
        let helps = Helps::of(
            &[
                file("help/vllm-0.32.0/vllm_serve_help.txt", "usage: x\n\nConfig Groups:\n  --help\n"),
                file("help/vllm-0.32.0/vllm_bench_serve_help_all.txt", "  --backend X  b\n"),
                file("help/trtllm_serve.txt", "not captured: cannot execute \"trtllm-serve\"\n"),
            ],
            &frameworks,
        );
        let vllm = helps.get("vllm", "vllm").unwrap();
        assert_eq!(vllm.shown[&HelpSubject::Server].verdict("--max-num-seqs"), FlagVerdict::Unverifiable);
        assert_eq!(vllm.shown[&HelpSubject::Benchmark].verdict("--backend"), FlagVerdict::Accepted);
        assert_eq!(vllm.shown[&HelpSubject::Benchmark].verdict("--max-num-seqs"), FlagVerdict::Unknown);
        assert_eq!(vllm.version, FrameworkVersion::parse("0.32.0"));
        assert!(helps.get("tensorrt_llm", "tensorrt_llm").unwrap().missing.is_some());
    }
}
