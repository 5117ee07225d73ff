//! Finds the line of a log that names the error best, if no pattern matches. The patterns for errors and for their consequences
//! are data: `configs/rules/errors.yaml`.

use std::sync::LazyLock;

use regex::Regex;
use serde::Deserialize;

use crate::base::error::Result;
use crate::base::pattern::ascii;
use crate::base::yaml;

const SHIPPED: &str = include_str!("../../../configs/rules/errors.yaml");

/// Colours.
static COLOUR: LazyLock<Regex> = LazyLock::new(|| ascii(r"\x1b\[[0-9;?]*[A-Za-z]").expect("a fixed pattern"));

/// What tools put before each line: the names of `docker compose` and `kubectl logs --prefix`, the times of `docker logs -t` and of a
/// journal, the tasks of `srun --label` and `mpirun --tag-output`, the ranks of PyTorch.
static PREFIX: LazyLock<Regex> = LazyLock::new(|| {
    ascii(
        r"^(?:[A-Za-z0-9][\w.-]* +\| |\[pod/[^\]]+\] |\d{4}-\d\d-\d\dT[\d:.]+(?:Z|[+-]\d\d:?\d\d) |[A-Z][a-z]{2} [ \d]\d [\d:]{8} \S+ [\w./@-]+(?:\[\d+\])?: ?| *\d+: |\[\d+,\d+\]<std(?:out|err)>: ?|\[rank\d+\]: ?)",
    )
    .expect("a fixed pattern")
});

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Data {
    errors: Vec<Sampled>,
    aftermath: Vec<Sampled>,
    source: Vec<Sampled>,
    harmless: Vec<Sampled>,
    over: Vec<Sampled>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(not(test), allow(dead_code, reason = "samples are for tests and readers"))]
struct Sampled {
    pattern: String,
    sample: String,
}

/// Recognizes lines that name an error.
#[derive(Debug)]
pub(super) struct Errors {
    named: Regex,
    aftermath: Regex,
    source: Regex,
    harmless: Regex,
    over: Regex,
}

impl Errors {
    /// The shipped patterns.
    pub(super) fn new() -> Result<Self> {
        let data: Data = yaml::typed(SHIPPED, "configs/rules/errors.yaml")?;
        let any = |list: &[Sampled]| {
            ascii(&list.iter().map(|one| format!("(?:{})", one.pattern)).collect::<Vec<_>>().join("|"))
        };
        Ok(Self {
            named: any(&data.errors)?,
            aftermath: any(&data.aftermath)?,
            source: any(&data.source)?,
            harmless: any(&data.harmless)?,
            over: any(&data.over)?,
        })
    }

    /// True if the line is part of a traceback and not its message.
    pub(super) fn is_source(&self, line: &str) -> bool {
        self.source.is_match(line)
    }

    /// True if the line is below the level of an error, or says that something else is tried.
    pub(super) fn is_harmless(&self, line: &str) -> bool {
        self.harmless.is_match(line)
    }

    /// True if a server that is starting says with this line that it never becomes ready.
    pub(super) fn is_over(&self, line: &str) -> bool {
        self.over.is_match(line)
    }

    /// True if the line is a consequence of an error that another line may name.
    pub(super) fn is_aftermath(&self, line: &str) -> bool {
        self.aftermath.is_match(line) || self.is_source(line)
    }

    /// The last line that names an error, and its place.
    pub(super) fn last<'a>(&self, lines: impl Iterator<Item = &'a str>) -> Option<(usize, &'a str)> {
        let follows = |line: &str| self.is_aftermath(line) || self.is_harmless(line);
        let named = |line: &str| self.named.is_match(line) && !follows(line);
        lines.enumerate().filter(|(_, line)| named(line)).last()
    }
}

/// A line of a log without colours, carriage returns, and the prefixes of tools that merge or store logs.
#[must_use]
pub fn undressed(line: &str) -> String {
    let plain = COLOUR.replace_all(line.trim_end_matches('\r'), "");
    let mut rest: &str = &plain;
    while let Some(prefix) = PREFIX.find(rest) {
        rest = &rest[prefix.end()..];
    }
    rest.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_sample_matches_its_pattern() {
        let (errors, data) = (Errors::new().unwrap(), yaml::typed::<Data>(SHIPPED, "x").unwrap());
        for one in &data.errors {
            assert!(ascii(&one.pattern).unwrap().is_match(&one.sample), "{}", one.sample);
            assert_eq!(errors.last([one.sample.as_str()].into_iter()), Some((0, one.sample.as_str())));
        }
        for one in data.aftermath.iter().chain(&data.source) {
            assert!(ascii(&one.pattern).unwrap().is_match(&one.sample), "{}", one.sample);
            assert_eq!(errors.last([one.sample.as_str()].into_iter()), None, "{}", one.sample);
        }
        for one in &data.harmless {
            assert!(ascii(&one.pattern).unwrap().is_match(&one.sample), "{}", one.sample);
            assert!(errors.is_harmless(&one.sample) && !errors.is_over(&one.sample), "{}", one.sample);
        }
        for one in &data.over {
            assert!(ascii(&one.pattern).unwrap().is_match(&one.sample), "{}", one.sample);
            assert!(errors.is_over(&one.sample) && !errors.is_harmless(&one.sample), "{}", one.sample);
        }
    }

    #[test]
    fn the_cause_is_quoted_and_not_what_follows_from_it() {
        let errors = Errors::new().unwrap();
        for (log, wanted) in [
            (
                "Traceback (most recent call last):\n  File \"/x/a.py\", line 1, in f\n    raise ValueError(\nValueError: too long\n\
                 RuntimeError: Engine process failed to start. See stack trace for the root cause.",
                "ValueError: too long",
            ),
            (
                "(EngineCore pid=5) ERROR 09-16 17:46:22 [core.py:718] RuntimeError: no such scheme\n\
                 (EngineCore pid=5) ERROR 09-16 17:46:22 [core.py:718]     raise RuntimeError(\"ValueError: x\")\n\
                 (APIServer pid=3) RuntimeError: Engine core initialization failed. See root cause above.",
                "(EngineCore pid=5) ERROR 09-16 17:46:22 [core.py:718] RuntimeError: no such scheme",
            ),
            (
                "terminate called after throwing an instance of 'std::x'\n  what():  out of luck\nAborted (core dumped)",
                "  what():  out of luck",
            ),
            ("    | KeyError: 'rope'\n    +------------------------------------", "    | KeyError: 'rope'"),
        ] {
            assert_eq!(errors.last(log.lines()).map(|(_, line)| line), Some(wanted), "{log}");
        }
        assert_eq!(errors.last("INFO: started\nloading error_handler.py with 0 errors".lines()), None);
    }

    #[test]
    fn lines_are_undressed() {
        assert_eq!(undressed("vllm_server  | \u{1b}[1;36m(pid=1)\u{1b}[0;0m no\r"), "(pid=1) no");
        assert_eq!(undressed("\u{1b}[36mengine-1  | \u{1b}[0mvllm: error: unrecognized"), "vllm: error: unrecognized");
        assert_eq!(undressed("| a table | of things"), "| a table | of things");
        for line in [
            "[pod/vllm-0/server] 2026-10-01T09:00:00.123456789Z KeyError: 'x'",
            "Oct 01 09:00:00 node1 vllm[4711]: KeyError: 'x'",
            "12: [rank3]: KeyError: 'x'",
            "[1,0]<stderr>: KeyError: 'x'",
        ] {
            assert_eq!(undressed(line), "KeyError: 'x'", "{line}");
        }
        assert_eq!(undressed("Oct 01 09:00:00 no journal"), "Oct 01 09:00:00 no journal");
    }
}
