//! From the text of a log to a failure class and a sentence that says what to do. The patterns are data:
//! `configs/rules/failures.yaml` and each framework's own.

use regex::Regex;

use crate::error::Result;
use crate::framework::{FactPattern, FailurePattern, Phase};
use crate::pattern::ascii;
use crate::schema::{Members, Status};
use crate::yaml;

const SHIPPED: &str = include_str!("../configs/rules/failures.yaml");

/// The patterns that apply to one framework, in order.
#[derive(Debug)]
pub struct Patterns(Vec<Rule>);

#[derive(Debug)]
struct Rule {
    regex: Regex,
    after: Option<Regex>,
    data: FailurePattern,
}

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
        let rule = |data: FailurePattern| {
            let after = data.after.as_deref().map(ascii).transpose()?;
            Ok(Rule { regex: ascii(&data.pattern)?, after, data })
        };
        own.iter().cloned().chain(shipped).map(rule).collect::<Result<_>>().map(Self)
    }

    /// What the first pattern says that matches any line, the earliest line first.
    #[must_use]
    pub fn diagnose<'a>(&self, lines: impl Iterator<Item = &'a str> + Clone, phase: Phase) -> Option<Diagnosis> {
        self.0.iter().filter(|rule| rule.data.phase.is_none_or(|wanted| wanted == phase)).find_map(|rule| {
            let mut lines = lines.clone();
            // What it was doing stands before the line that tells.
            if let Some(after) = &rule.after {
                lines.find(|line| after.is_match(line))?;
            }
            let line = lines.find(|line| rule.regex.is_match(line))?;
            Some(Diagnosis {
                status: if rule.data.status == "oom" { Status::Oom } else { Status::Failed },
                class: rule.data.class.clone(),
                line: line.trim().chars().take(300).collect(),
                advice: rule.data.advice.clone(),
            })
        })
    }
}

/// Collects what a log tells about capacity and start-up, line by line.
#[derive(Debug)]
pub struct Facts {
    patterns: Vec<(FactPattern, Regex)>,
    found: Members,
}

impl Facts {
    /// The facts that a framework's log may tell.
    ///
    /// # Errors
    /// A pattern that is no regular expression.
    pub fn new(patterns: &[FactPattern]) -> Result<Self> {
        let patterns = patterns.iter().map(|fact| Ok((fact.clone(), ascii(&fact.pattern)?)));
        Ok(Self { patterns: patterns.collect::<Result<_>>()?, found: Members::new() })
    }

    /// Reads one line. Of a fact that is told more than once the first counts, for later ones are of other workers,
    /// unless its pattern says that the last does.
    pub fn read(&mut self, line: &str) {
        for (FactPattern { name, last, .. }, regex) in &self.patterns {
            if !last && self.found.contains_key(name) {
                continue;
            }
            if let Some(value) = regex.captures(line).and_then(|found| found.get(1)) {
                let text = value.as_str().trim();
                let number: Option<f64> = text.replace(',', "").parse().ok();
                self.found.insert(name.clone(), number.map_or_else(|| text.into(), Into::into));
            }
        }
    }

    /// What was found so far, by name.
    #[must_use]
    pub fn found(&self) -> &Members {
        &self.found
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::framework::Frameworks;

    #[test]
    fn every_sample_hits_its_own_class() {
        let frameworks = Frameworks::load(&[], &[]).unwrap();
        let alone = frameworks.iter().map(|f| f.failures.clone()).chain([Vec::new()]);
        let together = frameworks.iter().flat_map(|f| f.failures.clone()).collect::<Vec<_>>();
        for own in alone.chain([together]) {
            let patterns = Patterns::new(&own).unwrap();
            for rule in &patterns.0 {
                let data = &rule.data;
                // What has to stand before it is a pattern without an alternative of its own: its plain text will do.
                let before = data.after.as_ref().map(|after| after.replace("(?i)", "").replace('\\', ""));
                let lines: Vec<&str> = before.as_deref().into_iter().chain([data.sample.as_str()]).collect();
                let phase = data.phase.unwrap_or(Phase::Starting);
                let found = patterns.diagnose(lines.into_iter(), phase).expect(&data.sample);
                assert_eq!(found.class, data.class, "{}", data.sample);
            }
        }
    }

    #[test]
    fn every_fact_is_told_by_its_sample() {
        for framework in Frameworks::load(&[], &[]).unwrap().iter() {
            for fact in &framework.facts {
                let mut facts = Facts::new(&framework.facts).unwrap();
                facts.read(&fact.sample);
                let found = facts.found().get(&fact.name);
                let same = match (found.and_then(|v| v.as_f64()), fact.value.as_f64()) {
                    (Some(found), Some(wanted)) => (found - wanted).abs() < 1e-9,
                    _ => found == Some(&fact.value),
                };
                assert!(same, "{}: {}: {found:?}", framework.name, fact.name);
            }
        }
    }

    #[test]
    fn a_quiet_log_tells_nothing() {
        let patterns = Patterns::new(&[]).unwrap();
        let lines = ["INFO: started", "loading model out of memory-mapped file", "KV cache size: 1,024 tokens"];
        assert_eq!(patterns.diagnose(lines.into_iter(), Phase::Ready), None);
    }
}
