//! What the codes of findings mean.

use std::collections::BTreeMap;
use std::fmt;

use serde::Deserialize;

use crate::base::error::Result;
use crate::base::yaml;
use crate::rows::words::FindingCode;

const FILE: &str = "configs/rules/findings.yaml";

/// What a code means.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Explanation {
    /// What the finding means, as a sentence.
    pub is: String,
    /// Why it matters.
    pub why: String,
    /// What to do about it.
    pub fix: String,
    /// Lines of a plan.
    pub example: String,
}

impl Explanation {
    /// The explanation of every code.
    ///
    /// # Errors
    /// When the file that is compiled in does not load, which a test excludes.
    pub fn all() -> Result<BTreeMap<FindingCode, Self>> {
        yaml::typed(include_str!("../../configs/rules/findings.yaml"), FILE)
    }
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}\n\nWhy:  {}\nFix:  {}\n\nExample:", self.is, self.why, self.fix)?;
        let lines: Vec<String> = self.example.lines().map(|line| format!("  {line}")).collect();
        f.write_str(&lines.join("\n"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_is_explained() {
        let all = Explanation::all().unwrap();
        assert!(all.keys().eq(FindingCode::ALL), "the order is that of the codes");
        for (code, explanation) in &all {
            for text in [&explanation.is, &explanation.why, &explanation.fix] {
                assert!(text.ends_with('.') && !text.contains('\n'), "{code}: {text}");
            }
            assert!(!explanation.example.trim().is_empty(), "{code}");
        }
    }
}
