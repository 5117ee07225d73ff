//! From the text of a log to a failure class and a sentence that says what to do. The patterns are data:
//! `configs/rules/failures.yaml` and each framework's own.

use regex::Regex;

use crate::error::{Context, Result};
use crate::framework::FailurePattern;
use crate::schema::Status;
use crate::yaml;

const SHIPPED: &str = include_str!("../configs/rules/failures.yaml");

/// The patterns that apply to one framework, in order.
#[derive(Debug)]
pub struct Patterns(Vec<(Regex, FailurePattern)>);

/// Why a server failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnosis {
    /// `failed` or `oom`.
    pub status: Status,
    /// The pattern's class.
    pub class: String,
    /// The line that tells.
    pub line: String,
    /// What to do about it.
    pub advice: String,
}

impl Patterns {
    /// A framework's own patterns, then those for all.
    ///
    /// # Errors
    /// A pattern that is no regular expression.
    pub fn new(own: &[FailurePattern]) -> Result<Self> {
        let shipped: Vec<FailurePattern> = yaml::typed(SHIPPED, "configs/rules/failures.yaml")?;
        let compile = |rule: FailurePattern| Ok((Regex::new(&rule.pattern).context(rule.pattern.clone())?, rule));
        own.iter().cloned().chain(shipped).map(compile).collect::<Result<_>>().map(Self)
    }

    /// What the first pattern says that matches any line, the earliest line first.
    #[must_use]
    pub fn diagnose<'a>(&self, lines: impl Iterator<Item = &'a str> + Clone) -> Option<Diagnosis> {
        self.0.iter().find_map(|(regex, rule)| {
            let line = lines.clone().find(|line| regex.is_match(line))?;
            Some(Diagnosis {
                status: if rule.status == "oom" { Status::Oom } else { Status::Failed },
                class: rule.class.clone(),
                line: line.trim().chars().take(300).collect(),
                advice: rule.advice.clone(),
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::framework::Frameworks;

    #[test]
    fn every_sample_hits_its_own_class() {
        let frameworks = Frameworks::load(&[]).unwrap();
        let own: Vec<FailurePattern> = frameworks.iter().flat_map(|f| f.failures.clone()).collect();
        for rules in [&[][..], &own] {
            let patterns = Patterns::new(rules).unwrap();
            for (_, rule) in &patterns.0 {
                let found = patterns.diagnose([rule.sample.as_str()].into_iter()).expect(&rule.sample);
                assert_eq!(found.class, rule.class, "{}", rule.sample);
            }
        }
    }

    #[test]
    fn a_quiet_log_tells_nothing() {
        let patterns = Patterns::new(&[]).unwrap();
        let lines = ["INFO: started", "loading model out of memory-mapped file", "KV cache size: 1,024 tokens"];
        assert_eq!(patterns.diagnose(lines.into_iter()), None);
    }
}
