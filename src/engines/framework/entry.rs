//! Finds the serving command in the words of a plan's own command, behind any wrapper and in any folder.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::Framework;
use crate::base::shell;

/// Another command that starts the same server.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EntryPoint {
    /// The command, as argv.
    pub command: Vec<String>,
    /// Its flag for the model; absent: the flag of the definition.
    #[serde(default)]
    pub model_flag: Option<String>,
    /// The arguments that print its help; empty: those of the definition's main command.
    #[serde(default)]
    pub help: Vec<String>,
    /// Words that make another program of it, each with what that is: `trtllm-serve disaggregated` serves no model.
    #[serde(default)]
    pub others: BTreeMap<String, String>,
}

/// The place of the serving command in the words of a plan's own command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EntryPosition {
    /// Index of the program; the words before it are a wrapper: `numactl -N 0`.
    pub program: usize,
    /// One past the command's last word.
    pub end: usize,
    /// Index in [`Framework::commands`]; `None`: the main command.
    other: Option<usize>,
}

/// System folders: a program there does not have its own interpreter next to it.
const SYSTEM: [&str; 5] = ["/bin", "/usr/bin", "/usr/local/bin", "/sbin", "/usr/sbin"];

impl Framework {
    /// The first serving command in `words`; the longest of several that begin at the same word.
    #[must_use]
    pub fn find(&self, words: &[String]) -> Option<EntryPosition> {
        let others = self.commands.iter().enumerate().map(|(i, entry)| (Some(i), &entry.command));
        let all: Vec<_> = std::iter::once((None, &self.command)).chain(others).collect();
        let is_other = |entry: Option<usize>, end: usize| {
            let next = words.get(end);
            next.is_some_and(|next| entry.is_some_and(|entry| self.commands[entry].others.contains_key(next)))
        };
        (0..words.len()).find_map(|at| {
            let here = all.iter().filter_map(|(other, command)| {
                let (program, end) = match_at(command, words, at).filter(|(_, end)| !is_other(*other, *end))?;
                Some(EntryPosition { program, end, other: *other })
            });
            here.max_by_key(|found| found.end)
        })
    }

    /// Why these words start no server although their program is one of this framework.
    #[must_use]
    pub fn other_program(&self, words: &[String]) -> Option<String> {
        let found = self.commands.iter().find_map(|entry| {
            let end = (0..words.len()).find_map(|at| match_at(&entry.command, words, at))?.1;
            let word = words.get(end)?;
            Some((format!("{} {word}", shell::join(&entry.command)), entry.others.get(word)?))
        });
        let own = shell::join(&self.command);
        found.map(|(command, what)| format!("{command} is {what}: write the command of one server, {own} MODEL"))
    }

    /// The flag for the model of a command; `None`: the model is its first argument.
    #[must_use]
    pub fn model_flag_of(&self, found: Option<EntryPosition>) -> Option<&String> {
        let other = found.and_then(|found| self.commands.get(found.other?));
        other.and_then(|entry| entry.model_flag.as_ref()).or(self.model_flag.as_ref())
    }

    /// A short command of the definition (`vllm bench serve --help=all`) with the wrapper and program of the server's own
    /// command, or a program from the same folder. `None` if that command starts an unknown program.
    #[must_use]
    pub fn alike(&self, words: &[String], short: &[String]) -> Option<Vec<String>> {
        let found = self.find(words)?;
        let (first, rest) = short.split_first()?;
        if let Some(behind) = short.strip_prefix(&self.command[..]) {
            let other = found.other.and_then(|other| self.commands.get(other));
            let own = other.filter(|entry| !entry.help.is_empty() && behind.iter().any(|word| word.contains("help")));
            let behind = own.map_or(behind, |entry| &entry.help);
            return Some([&words[..found.end], behind].concat());
        }
        let program = &words[found.program];
        let beside = match program.rsplit_once('/') {
            _ if is_program(first, program) => program.clone(),
            Some((folder, _)) if !SYSTEM.contains(&folder) => format!("{folder}/{first}"),
            _ => first.clone(),
        };
        Some([&words[..found.program], &[beside], rest].concat())
    }
}

/// True if a word is a definition's program: the same name in any folder, or any version of the interpreter.
fn is_program(program: &str, word: &str) -> bool {
    let name = shell::program_name(word);
    let python = |name: &str| {
        let version = name.strip_prefix("python");
        version.is_some_and(|version| version.chars().all(|c| c.is_ascii_digit() || c == '.'))
    };
    name == program || (python(program) && python(name))
}

/// The program and end of a command whose first word is at `at`. An interpreter may have options before `-m`.
fn match_at(command: &[String], words: &[String], at: usize) -> Option<(usize, usize)> {
    let (program, rest) = command.split_first()?;
    if !is_program(program, &words[at]) {
        return None;
    }
    let options = match rest.first().map(String::as_str) {
        Some("-m") => words[at + 1..].iter().position(|word| word == "-m")?,
        _ => 0,
    };
    let begin = at + 1 + options;
    let own = words[at + 1..begin].iter().all(|word| word.starts_with('-'));
    (own && words[begin..].starts_with(rest)).then_some((at, begin + rest.len()))
}

#[cfg(test)]
mod tests {
    use crate::base::shell;
    use crate::engines::framework::Frameworks;

    #[test]
    fn short_commands_are_those_of_the_plans_own_program() {
        let frameworks = Frameworks::load(&[], &[]).unwrap();
        for (name, own, short, alike) in [
            ("vllm", "vllm serve", "vllm serve --help=all", "vllm serve --help=all"),
            ("vllm", "/v/bin/vllm serve m -tp 4", "vllm serve --help=all", "/v/bin/vllm serve --help=all"),
            ("vllm", "./v/bin/vllm serve", "vllm bench serve --help=all", "./v/bin/vllm bench serve --help=all"),
            (
                "vllm",
                "numactl -N 0 vllm serve",
                "vllm bench serve --help=all",
                "numactl -N 0 vllm bench serve --help=all",
            ),
            (
                "vllm",
                "/v/bin/python /v/bin/vllm serve",
                "vllm serve --help=all",
                "/v/bin/python /v/bin/vllm serve --help=all",
            ),
            (
                "vllm",
                "/v/bin/python3.11 -u -m vllm.entrypoints.openai.api_server --port 1",
                "vllm serve --help=all",
                "/v/bin/python3.11 -u -m vllm.entrypoints.openai.api_server --help",
            ),
            (
                "vllm",
                "/v/bin/python -m vllm.entrypoints.openai.api_server",
                "vllm bench serve --help=all",
                "/v/bin/vllm bench serve --help=all",
            ),
            (
                "sglang",
                "/s/bin/python3 -m sglang.launch_server --tp 8",
                "python -m sglang.launch_server --help",
                "/s/bin/python3 -m sglang.launch_server --help",
            ),
            (
                "sglang",
                "/s/bin/sglang serve --tp 8",
                "python -m sglang.launch_server --help",
                "/s/bin/sglang serve --help",
            ),
            (
                "sglang",
                "/s/bin/sglang serve",
                "python -m sglang.bench_serving --help",
                "/s/bin/python -m sglang.bench_serving --help",
            ),
            ("tensorrt_llm", "trtllm-serve m", "trtllm-serve serve --help", "trtllm-serve serve --help"),
            (
                "tensorrt_llm",
                "/usr/local/bin/trtllm-serve serve m",
                "python -m tensorrt_llm.serve.scripts.benchmark_serving --help",
                "python -m tensorrt_llm.serve.scripts.benchmark_serving --help",
            ),
            ("llama_cpp", "/l/llama-server -m x", "llama-server --version", "/l/llama-server --version"),
            ("tokenspeed", "/t/bin/tokenspeed serve", "tokenspeed version", "/t/bin/tokenspeed version"),
        ] {
            let framework = frameworks.get(name).unwrap();
            let split = |line: &str| shell::split(line).unwrap();
            let found = framework.alike(&split(own), &split(short));
            assert_eq!(found, Some(split(alike)), "{own}: {short}");
        }
        let trtllm = frameworks.get("tensorrt_llm").unwrap();
        let other: Vec<String> = ["trtllm-serve", "disaggregated", "-c", "x"].map(String::from).to_vec();
        assert!(trtllm.find(&other).is_none() && trtllm.other_program(&other).is_some());
        assert_eq!(trtllm.other_program(&["trtllm-serve".into(), "m".into()]), None);
        let vllm = frameworks.get("vllm").unwrap();
        assert_eq!(vllm.alike(&["./run.sh".into()], &["vllm".into(), "serve".into()]), None);
    }
}
