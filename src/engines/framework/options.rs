//! What option files and launchers need beyond a definition's flags.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::Framework;
use crate::base::shell;
use crate::engines::version::FrameworkVersion;
use crate::rows::kinds::Members;

/// The setting of a launcher with the number of ranks it starts.
const RANKS: &str = "ranks";
/// The setting of a launcher with the words before the server's command.
const WRAPPER: &str = "wrapper";

/// What counts if an option file and a flag give the same setting.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OptionPrecedence {
    /// The first version in which the flag counts. Before it the file does, and a map in the file replaces the whole map that
    /// the flags make.
    pub flags_since: FrameworkVersion,
}

/// Flags of a server over several nodes: knobs with texts in which `{rank}`, `{leader}`, `{leader_port}` and `{nodes}` stand.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NodeFlags {
    /// Those of every process, unless the plan sets them.
    pub flags: BTreeMap<String, String>,
    /// Words that all but the first have besides.
    #[serde(default)]
    pub followers: Vec<String>,
}

impl OptionPrecedence {
    /// True if the flag counts; `None` for an unknown version.
    #[must_use]
    pub fn flag_wins(&self, version: Option<&FrameworkVersion>) -> Option<bool> {
        version.map(|version| *version >= self.flags_since)
    }
}

impl Framework {
    /// Settings of a launcher for a server with these flags whose ranks the launcher has to start; none for a single rank, or if
    /// the server starts its ranks itself. `command`: the words of the plan's own command, which may have the wrapper already.
    #[must_use]
    pub fn rank_settings(&self, launcher: &str, flags: &Members, command: &[String]) -> BTreeMap<String, String> {
        let ranks = self.parallelism.gpus(flags).filter(|ranks| *ranks > 1);
        let Some((settings, ranks)) = self.ranks.get(launcher).zip(ranks) else { return BTreeMap::new() };
        let is_there = |wrapper: &String| command.iter().any(|word| shell::program_name(word) == wrapper);
        let mut all: BTreeMap<String, String> = settings.clone();
        if all.get(WRAPPER).is_some_and(is_there) {
            all.remove(WRAPPER);
        }
        all.insert(RANKS.into(), ranks.to_string());
        all
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::engines::framework::Frameworks;
    use crate::engines::version::FrameworkVersion;

    #[test]
    fn ranks_of_mpi_are_tasks_of_a_job_step() {
        let frameworks = Frameworks::load(&[], &[]).unwrap();
        let settings = |name: &str, launcher: &str, flags: serde_json::Value, command: &[&str]| {
            let command: Vec<String> = command.iter().map(ToString::to_string).collect();
            let all = frameworks.get(name).unwrap().rank_settings(launcher, flags.as_object().unwrap(), &command);
            all.into_iter().map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>().join(" ")
        };
        let tp_8 = || json!({"tp_size": 4, "pp_size": 2});
        assert_eq!(settings("tensorrt_llm", "srun", tp_8(), &[]), "mpi=pmix ranks=8 wrapper=trtllm-llmapi-launch");
        let own = ["/t/bin/trtllm-llmapi-launch", "trtllm-serve"];
        assert_eq!(settings("tensorrt_llm", "srun", tp_8(), &own), "mpi=pmix ranks=8");
        assert_eq!(settings("tensorrt_llm", "srun", json!({"tp_size": 1}), &[]), "");
        assert_eq!(settings("tensorrt_llm", "docker", tp_8(), &[]), "");
        assert_eq!(settings("vllm", "srun", json!({"tensor_parallel_size": 8}), &[]), "");
    }

    #[test]
    fn a_flag_wins_over_the_option_file_since_a_version() {
        let frameworks = Frameworks::load(&[], &[]).unwrap();
        let precedence = frameworks.get("tensorrt_llm").unwrap().option_precedence.clone().unwrap();
        let wins = |version: &str| precedence.flag_wins(FrameworkVersion::parse(version).as_ref());
        assert_eq!((wins("1.2.1"), wins("1.3.0rc17"), wins("latest")), (Some(false), Some(false), None));
        assert_eq!((wins("1.3.0rc18"), wins("1.3.0")), (Some(true), Some(true)));
    }
}
