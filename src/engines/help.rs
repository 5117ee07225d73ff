//! Captured help of frameworks, and which file is whose.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

use regex::Regex;

use super::framework::{Framework, Frameworks, HelpCommand, HelpSubject};
use super::help_flags::HelpFlags;
use super::version::FrameworkVersion;
use crate::base::pattern::ascii;

/// A version in the output of a version command.
static VERSION: LazyLock<Regex> =
    LazyLock::new(|| ascii(r"\bv?(\d+(?:\.\d+)+[\w.+-]*|b\d{3,})").expect("a fixed pattern"));

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
            captured.shown.entry(help.of).or_default().add(file, text, help, &framework.flags);
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
    use crate::engines::help_flags::FlagVerdict;

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
