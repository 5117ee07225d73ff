//! Servers over several nodes: whose line of the log is whose, and which rank failed first.

use regex::Regex;

use crate::base::error::Result;
use crate::base::pattern::ascii;
use crate::engines::launcher::NodeLaunch;

/// Reads the ranks in the lines of a log.
#[derive(Debug, Clone)]
pub(super) struct RankPatterns {
    label: Regex,
    failed: Regex,
}

/// The rank that failed first, and the launcher's line about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct FailedRank {
    pub rank: u32,
    pub line: String,
}

impl RankPatterns {
    /// The patterns of a launcher.
    ///
    /// # Errors
    /// An invalid regular expression.
    pub fn new(launch: &NodeLaunch) -> Result<Self> {
        Ok(Self { label: ascii(&launch.label)?, failed: ascii(&launch.failed)? })
    }

    /// The rank that printed this line; `None` for the launcher itself.
    pub fn of(&self, line: &str) -> Option<u32> {
        self.label.captures(line)?.get(1)?.as_str().parse().ok()
    }

    /// The rank that failed, if this line of the launcher says so.
    pub fn failed(&self, line: &str) -> Option<FailedRank> {
        let rank = self.failed.captures(line)?.get(1)?.as_str().parse().ok()?;
        Some(FailedRank { rank, line: line.trim().to_string() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engines::launcher::Launchers;

    #[test]
    fn srun_says_whose_line_it_is_and_who_failed() {
        let launchers = Launchers::load(&[]).unwrap();
        for name in ["srun", "pyxis"] {
            let patterns = RankPatterns::new(launchers.get(name).unwrap().over_nodes.as_ref().unwrap()).unwrap();
            for (line, rank) in
                [("0: ready", Some(0)), ("12: x", Some(12)), (" 3: y", Some(3)), ("srun: job 3: z", None)]
            {
                assert_eq!(patterns.of(line), rank, "{line}");
            }
            for (line, rank) in [
                ("srun: error: n2: task 1: Exited with exit code 3", Some(1)),
                ("srun: error: gpu-07: tasks 2-3: Killed", Some(2)),
                ("srun: error: n4: task 3: Segmentation fault (core dumped)", Some(3)),
                ("srun: error: n4: tasks 3,5: Out Of Memory", Some(3)),
                ("srun: StepId=3.0 task 0: exited", Some(0)),
                ("srun: StepId=3.0 task 1: running", None),
                ("srun: Force Terminated StepId=3.0", None),
                ("srun: launch/slurm: _step_signal: Terminating StepId=3.0", None),
                ("1: srun: error: n2: task 0: Exited with exit code 3", None),
            ] {
                assert_eq!(patterns.failed(line).map(|failed| failed.rank), rank, "{line}");
            }
        }
    }
}
