//! Resource limits that a launcher's command sets.

use serde::Deserialize;

use crate::base::pattern::ascii;

/// A limit of a server's processes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ResourceLimit {
    /// Memory that cannot be swapped out, bytes.
    Memlock,
    /// Stack of a thread, bytes.
    Stack,
}

/// How to find out that a launcher raises any limit, as a daemon with root's rights does.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LimitCheck {
    /// The command to ask.
    pub command: Vec<String>,
    /// A pattern that matches its output if every limit can be raised.
    pub pattern: String,
}

impl LimitCheck {
    /// Whether this output says so.
    #[must_use]
    pub fn raises(&self, output: &str) -> bool {
        ascii(&self.pattern).is_ok_and(|regex| regex.is_match(output.trim()))
    }
}

/// The hard limits of this process, bytes; `None`: unlimited.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HardLimits {
    /// Of memory that cannot be swapped out.
    pub memlock: Option<u64>,
    /// Of the stack.
    pub stack: Option<u64>,
}

impl HardLimits {
    /// Whether a process without privileges may set what these words ask: `--ulimit stack=67108864`, `--ulimit memlock=-1`.
    #[must_use]
    pub fn allow(&self, limit: ResourceLimit, words: &[String]) -> bool {
        let hard = match limit {
            ResourceLimit::Memlock => self.memlock,
            ResourceLimit::Stack => self.stack,
        };
        let asked = words.last().and_then(|word| word.rsplit(['=', ':']).next());
        // -1 is unlimited.
        let asked = asked.and_then(|number| number.parse::<u64>().ok());
        hard.is_none_or(|hard| asked.is_some_and(|asked| asked <= hard))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_the_hard_limit_allows() {
        let words = |text: &str| vec!["--ulimit".to_string(), text.to_string()];
        let some = HardLimits { memlock: Some(8 << 20), stack: None };
        assert!(!some.allow(ResourceLimit::Memlock, &words("memlock=-1")));
        assert!(some.allow(ResourceLimit::Memlock, &words("memlock=65536")));
        assert!(some.allow(ResourceLimit::Stack, &words("stack=67108864")));
        let low = HardLimits { memlock: None, stack: Some(8 << 20) };
        assert!(low.allow(ResourceLimit::Memlock, &words("memlock=-1")));
        assert!(!low.allow(ResourceLimit::Stack, &words("stack=67108864:67108864")));
    }
}
