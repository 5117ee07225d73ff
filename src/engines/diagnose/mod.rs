//! From the text of a log to a failure class and advice. The patterns are data:
//! `configs/rules/failures.yaml` and each framework's own.

mod errors;

use regex::Regex;

use self::errors::Errors;
pub use self::errors::undressed;
use super::framework::{FactPattern, FailurePattern, ServerPhase};
use crate::base::error::Result;
use crate::base::pattern::ascii;
use crate::base::yaml;
use crate::rows::kinds::{Members, Status};
use crate::rows::words::FailureClass;

const SHIPPED: &str = include_str!("../../../configs/rules/failures.yaml");

/// The failure patterns of one framework, in order.
#[derive(Debug)]
pub struct FailurePatterns {
    rules: Vec<DiagnosisRule>,
    errors: Errors,
}

#[derive(Debug)]
struct DiagnosisRule {
    regex: Regex,
    after: Option<Regex>,
    unless: Option<Regex>,
    data: FailurePattern,
}

impl DiagnosisRule {
    fn matches(&self, line: &str) -> bool {
        self.regex.is_match(line) && !self.unless.as_ref().is_some_and(|unless| unless.is_match(line))
    }

    fn found(&self, line: &str) -> Diagnosis {
        Diagnosis {
            status: self.data.status,
            class: self.data.class.clone(),
            line: quoted(line),
            advice: self.data.advice.clone(),
        }
    }
}

fn quoted(line: &str) -> String {
    line.trim().chars().take(300).collect()
}

/// Why a server failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnosis {
    /// `failed` or `oom`.
    pub status: Status,
    /// The class of the pattern.
    pub class: FailureClass,
    /// The line that matched.
    pub line: String,
    /// What to do about it.
    pub advice: String,
}

impl FailurePatterns {
    /// A framework's own patterns, then the patterns for all frameworks.
    ///
    /// # Errors
    /// An invalid regular expression.
    pub fn new(own: &[FailurePattern]) -> Result<Self> {
        let shipped: Vec<FailurePattern> = yaml::typed(SHIPPED, "configs/rules/failures.yaml")?;
        let rule = |data: FailurePattern| {
            let after = data.after.as_deref().map(ascii).transpose()?;
            let unless = data.unless.as_deref().map(ascii).transpose()?;
            Ok(DiagnosisRule { regex: ascii(&data.pattern)?, after, unless, data })
        };
        let rules = own.iter().cloned().chain(shipped).map(rule).collect::<Result<_>>()?;
        Ok(Self { rules, errors: Errors::new()? })
    }

    /// The last line that names an error, rather than a consequence of one.
    #[must_use]
    pub fn error<'a>(&self, lines: impl Iterator<Item = &'a str>) -> Option<String> {
        self.errors.last(lines).map(|(_, line)| quoted(line))
    }

    /// The last line with text, of those that are no consequence of an error if there is one.
    #[must_use]
    pub fn last_line<'a>(&self, lines: impl DoubleEndedIterator<Item = &'a str> + Clone) -> Option<&'a str> {
        let with_text = || lines.clone().rev().filter(|line| !line.trim().is_empty());
        with_text().find(|line| !self.errors.is_aftermath(line)).or_else(|| with_text().next())
    }

    /// True if a server that still answers reports that its engine is dead.
    #[must_use]
    pub fn engine_is_dead<'a>(&self, mut lines: impl Iterator<Item = &'a str>) -> bool {
        let rules: Vec<&DiagnosisRule> =
            self.rules.iter().filter(|rule| rule.data.class == FailureClass::EngineDead).collect();
        lines.any(|line| rules.iter().any(|rule| rule.matches(line)))
    }

    /// True if a server that is starting has printed a line after which it never becomes ready, although it may live on.
    #[must_use]
    pub fn start_is_over<'a>(&self, mut lines: impl Iterator<Item = &'a str>) -> bool {
        let fatal: Vec<&DiagnosisRule> = self.rules.iter().filter(|rule| rule.data.fatal).collect();
        lines.any(|line| self.errors.is_over(line) || fatal.iter().any(|rule| rule.matches(line)))
    }

    /// The diagnosis of a server that failed: that of the first pattern that matches a line, and of its earliest line. Lines below the
    /// level of an error do not count. What a healthy server may print too counts only if no other pattern matches and no error
    /// follows.
    #[must_use]
    pub fn diagnose<'a>(&self, lines: impl Iterator<Item = &'a str>, phase: ServerPhase) -> Option<Diagnosis> {
        let lines: Vec<&str> = lines.filter(|line| !self.errors.is_harmless(line)).collect();
        let messages: Vec<&str> = lines.iter().copied().filter(|line| !self.errors.is_source(line)).collect();
        // Some errors have no message: then only their line of source tells them apart.
        let has_source = messages.len() < lines.len();
        self.diagnosed(&messages, phase).or_else(|| if has_source { self.diagnosed(&lines, phase) } else { None })
    }

    fn diagnosed(&self, lines: &[&str], phase: ServerPhase) -> Option<Diagnosis> {
        let lines = lines.iter().copied();
        let of = |passing: bool| {
            let right = move |rule: &&DiagnosisRule| {
                rule.data.passing == passing && rule.data.phase.is_none_or(|wanted| wanted == phase)
            };
            self.rules.iter().filter(right)
        };
        let last = self.errors.last(lines.clone());
        let sure = of(false).find_map(|rule| {
            let mut lines = lines.clone();
            // The line about what it was doing comes before the line about the failure.
            if let Some(after) = &rule.after {
                lines.find(|line| after.is_match(line))?;
            }
            let line = lines.find(|line| rule.matches(line))?;
            let explained = last.is_none_or(|(_, error)| rule.matches(error));
            (!rule.data.alone || explained).then_some((rule, line))
        });
        if let Some((rule, line)) = sure {
            let mut found = rule.found(line);
            if rule.data.class == FailureClass::EngineDead {
                found.line = self.error(lines).unwrap_or(found.line);
            }
            return Some(found);
        }
        let last = last.map_or(0, |(place, _)| place);
        of(true).find_map(|rule| {
            let (place, line) = lines.clone().enumerate().rfind(|(_, line)| rule.matches(line))?;
            (place >= last).then(|| rule.found(line))
        })
    }
}

/// Collects facts about capacity and start-up from a log, line by line.
#[derive(Debug)]
pub struct LogFacts {
    patterns: Vec<(FactPattern, Regex)>,
    found: Members,
}

impl LogFacts {
    /// A collector for the facts of a framework's log.
    ///
    /// # Errors
    /// An invalid regular expression.
    pub fn new(patterns: &[FactPattern]) -> Result<Self> {
        let patterns = patterns.iter().map(|fact| Ok((fact.clone(), ascii(&fact.pattern)?)));
        Ok(Self { patterns: patterns.collect::<Result<_>>()?, found: Members::new() })
    }

    /// Reads one line. The first value of a fact counts, since later ones come from other workers, unless its pattern is for
    /// the last.
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

    /// The facts found so far, by name.
    #[must_use]
    pub fn found(&self) -> &Members {
        &self.found
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engines::framework::Frameworks;

    #[test]
    fn every_sample_hits_its_own_class() {
        let frameworks = Frameworks::load(&[], &[]).unwrap();
        let alone = frameworks.iter().map(|f| f.failures.clone()).chain([Vec::new()]);
        let together = frameworks.iter().flat_map(|f| f.failures.clone()).collect::<Vec<_>>();
        for own in alone.chain([together]) {
            let patterns = FailurePatterns::new(&own).unwrap();
            for rule in &patterns.rules {
                let data = &rule.data;
                // The pattern of `after` has no alternatives, so its plain text matches it.
                let before = data.after.as_ref().map(|after| after.replace("(?i)", "").replace('\\', ""));
                let lines: Vec<&str> = before.as_deref().into_iter().chain([data.sample.as_str()]).collect();
                let phase = data.phase.unwrap_or(ServerPhase::Starting);
                let found = patterns.diagnose(lines.into_iter(), phase).expect(&data.sample);
                assert_eq!(found.class, data.class, "{}", data.sample);
            }
        }
    }

    #[test]
    fn every_fact_is_found_in_its_sample() {
        for framework in Frameworks::load(&[], &[]).unwrap().iter() {
            for fact in &framework.facts {
                let mut facts = LogFacts::new(&framework.facts).unwrap();
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
    fn a_healthy_log_gives_no_diagnosis() {
        let patterns = FailurePatterns::new(&[]).unwrap();
        let lines = ["INFO: started", "loading model out of memory-mapped file", "KV cache size: 1,024 tokens"];
        assert_eq!(patterns.diagnose(lines.into_iter(), ServerPhase::Ready), None);
    }

    #[test]
    fn what_a_healthy_server_may_print_counts_only_without_another_error() {
        let patterns = FailurePatterns::new(&[]).unwrap();
        let ray = ["Traceback (most recent call last):", "OSError: [Errno 98] Address already in use"];
        let class =
            |lines: &[&str]| patterns.diagnose(lines.iter().copied(), ServerPhase::Starting).map(|found| found.class);
        assert_eq!(class(&ray), Some(FailureClass::PortInUse));
        assert_eq!(class(&[ray[0], ray[1], "KeyError: 'rope_scaling'"]), None);
        assert_eq!(class(&["x.sh: line 3:  9 Killed   serve", "Killed"]), Some(FailureClass::HostOom));
        assert_eq!(class(&["KeyError: 'rope_scaling'", "x.sh: line 3:  9 Killed   serve"]), None);
        let mlock =
            "warning: failed to mlock 4096-byte buffer (after previously locking 0 bytes): Cannot allocate memory";
        assert_eq!(class(&[mlock]), None);
    }

    #[test]
    fn only_what_is_fatal_by_itself_ends_a_start() {
        let patterns = FailurePatterns::new(&[]).unwrap();
        let over = |lines: &[&str]| patterns.start_is_over(lines.iter().copied());
        assert!(!over(&["torch.OutOfMemoryError: CUDA out of memory.", "KeyError: 'rope_scaling'"]));
        assert!(over(&["(APIServer pid=1) RuntimeError: Engine core initialization failed. See root cause above."]));
    }
}
