//! A server over several nodes: one process on each, which is told its rank and where the first of them is.

use serde::Deserialize;

use super::Launcher;
use crate::base::error::{Context, Result};
use crate::base::pattern::ascii;
use crate::base::shell;
use crate::rows::kinds::{CandidateServer, LauncherStep};
use crate::rows::words::ReachedBy;

/// The setting of a launcher with the number of nodes.
pub const NODES: &str = "nodes";
/// The placeholders of a server's command that differ between its processes.
const PER_RANK: [&str; 2] = ["rank", "leader"];
/// Where the processes of a server meet that is started by hand: the default of PyTorch.
pub(super) const LEADER_PORT: u16 = 29500;

/// What differs if a plan sets `nodes` of a launcher.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NodeLaunch {
    /// Shell commands before each process's command that set `rank` (from 0) and `leader` (the host of rank 0).
    pub setup: String,
    /// A pattern for what the launcher puts before each line of a rank's log; its group is the rank.
    pub label: String,
    /// A pattern for the line of the launcher that says which rank failed; its group is the rank.
    pub failed: String,
}

impl NodeLaunch {
    /// Checks its patterns.
    pub(super) fn check(&self) -> Result<()> {
        for pattern in [&self.label, &self.failed] {
            ascii(pattern).context(format!("not a regular expression: {pattern}"))?;
        }
        Ok(())
    }

    /// The command of every process: a script that finds out its rank, if the command depends on it.
    fn command(&self, argv: Vec<String>, followers: &[String]) -> Vec<String> {
        let differs = |word: &String| PER_RANK.iter().any(|name| word.contains(&format!("{{{name}}}")));
        if followers.is_empty() && !argv.iter().any(differs) {
            return argv;
        }
        let words: Vec<String> = argv.iter().map(|word| open(word)).collect();
        let more = match followers {
            [] => String::new(),
            more => {
                let more: Vec<String> = more.iter().map(|word| open(word)).collect();
                format!("set --; [ \"$rank\" = 0 ] || set -- {}; ", more.join(" "))
            }
        };
        let last = if more.is_empty() { "" } else { " \"$@\"" };
        let script = format!("{}; {more}exec {}{last}", self.setup.trim().trim_end_matches(';'), words.join(" "));
        ["sh".to_string(), "-c".to_string(), script].into()
    }
}

/// A word for a shell, in which `{rank}` and `{leader}` are its variables.
fn open(word: &str) -> String {
    let mut parts = vec![(false, word.to_string())];
    for name in PER_RANK {
        let placeholder = format!("{{{name}}}");
        let split = |(is_variable, text): (bool, String)| {
            let mut all = Vec::new();
            for (i, part) in text.split(&placeholder).enumerate() {
                all.extend((i > 0).then(|| (true, name.to_string())));
                all.push((false, part.to_string()));
            }
            if is_variable { vec![(true, text)] } else { all }
        };
        parts = parts.into_iter().flat_map(split).collect();
    }
    if let [(false, word)] = &parts[..] {
        return shell::quote(word).into_owned();
    }
    let written = parts.into_iter().filter(|(is_variable, text)| *is_variable || !text.is_empty());
    written
        .map(|(is_variable, text)| if is_variable { format!("\"${text}\"") } else { shell::quote(&text).into_owned() })
        .collect()
}

impl Launcher {
    /// The number of nodes that a plan asks of it; `None` if it says nothing, or the launcher knows none.
    #[must_use]
    pub fn nodes<'s>(&self, step: &'s LauncherStep) -> Option<&'s str> {
        self.over_nodes.as_ref().and_then(|_| step.options.get(NODES)).map(String::as_str)
    }

    /// How clients reach what it starts for this plan.
    #[must_use]
    pub fn reached(&self, step: &LauncherStep) -> ReachedBy {
        if self.nodes(step).is_some() { ReachedBy::Network } else { self.reached_by }
    }
}

/// The command of a server with what its innermost launcher makes of ranks; a server on one node is rank 0 of one.
pub(super) fn placed(
    (launcher, step): (&Launcher, &LauncherStep),
    server: &CandidateServer,
    argv: Vec<String>,
    leader_port: u16,
) -> Vec<String> {
    let nodes = launcher.nodes(step);
    let fill = |word: String| match word.contains('{') {
        true => word.replace("{nodes}", nodes.unwrap_or("1")).replace("{leader_port}", &leader_port.to_string()),
        false => word,
    };
    let argv: Vec<String> = argv.into_iter().map(fill).collect();
    match (&launcher.over_nodes, nodes) {
        (Some(launch), Some(_)) => launch.command(argv, &server.followers),
        _ => argv.into_iter().map(|word| word.replace("{rank}", "0").replace("{leader}", "127.0.0.1")).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn srun() -> NodeLaunch {
        NodeLaunch { setup: "rank=$R leader=$L".into(), label: "^(\\d+): ".into(), failed: "task (\\d+)".into() }
    }

    fn words(line: &str) -> Vec<String> {
        line.split(' ').map(String::from).collect()
    }

    #[test]
    fn every_rank_runs_the_same_script() {
        let argv = words("serve it's --node-rank {rank} --dist {leader}:29500 --n 2");
        let command = srun().command(argv, &[]);
        assert_eq!(
            command[2],
            r#"rank=$R leader=$L; exec serve 'it'\''s' --node-rank "$rank" --dist "$leader":29500 --n 2"#
        );
        let command = srun().command(words("serve m --rank={rank}"), &words("--headless"));
        assert_eq!(
            command[2],
            r#"rank=$R leader=$L; set --; [ "$rank" = 0 ] || set -- --headless; exec serve m --rank="$rank" "$@""#
        );
        assert_eq!(srun().command(words("trtllm-serve m"), &[]), words("trtllm-serve m"));
    }

    #[test]
    fn a_shell_sees_the_words_of_its_rank() {
        let argv = words("printf %s| a'b \"$HOME\" {rank}{leader}{rank} ${X} {leader}:1");
        let script = &srun().command(argv, &words("-f x{rank}"))[2];
        for (rank, more) in [("0", ""), ("3", "-f|x3|")] {
            let output = std::process::Command::new("sh").args(["-c", script]).env("R", rank).env("L", "n 1").output();
            let text = String::from_utf8(output.unwrap().stdout).unwrap();
            assert_eq!(text, format!("a'b|\"$HOME\"|{rank}n 1{rank}|${{X}}|n 1:1|{more}"));
        }
    }
}
