//! Lists of CPUs as Linux writes them: `0-1,4`.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

/// Numbers of CPUs that a list may have: those that the system call takes.
pub const MAX_CPUS: usize = 1024;

/// A set of CPUs by their numbers, never empty when it was parsed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CpuList(pub BTreeSet<usize>);

impl CpuList {
    /// The CPUs that are not in `other`.
    #[must_use]
    pub fn without(&self, other: &Self) -> Self {
        Self(self.0.difference(&other.0).copied().collect())
    }
}

impl FromStr for CpuList {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("{text:?} is not a list of CPUs, such as 0-1,4");
        let number = |text: &str| text.trim().parse::<usize>().map_err(|_| wrong());
        let mut cpus = BTreeSet::new();
        for part in text.split(',') {
            let (first, last) = match part.split_once('-') {
                Some((first, last)) => (number(first)?, number(last)?),
                None => (number(part)?, number(part)?),
            };
            if first > last {
                return Err(wrong());
            }
            if last >= MAX_CPUS {
                return Err(format!("CPU {last} is beyond the highest possible number, {}", MAX_CPUS - 1));
            }
            cpus.extend(first..=last);
        }
        Ok(Self(cpus))
    }
}

impl fmt::Display for CpuList {
    /// With ranges: `0-1,4`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut ranges: Vec<(usize, usize)> = Vec::new();
        for cpu in &self.0 {
            match ranges.last_mut() {
                Some((_, last)) if *last + 1 == *cpu => *last = *cpu,
                _ => ranges.push((*cpu, *cpu)),
            }
        }
        let one = |(first, last): &(usize, usize)| match first == last {
            true => first.to_string(),
            false => format!("{first}-{last}"),
        };
        f.write_str(&ranges.iter().map(one).collect::<Vec<_>>().join(","))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_read_and_written_as_linux_does() {
        for (text, written) in [("0", "0"), ("0-1,4", "0-1,4"), ("4, 1,0", "0-1,4"), ("0-3,2-5", "0-5"), ("7-7", "7")] {
            assert_eq!(text.parse::<CpuList>().unwrap().to_string(), written);
        }
        for wrong in ["", ",", "a", "1-", "-1", "3-1", "0,", "0x1", "1024", "0-99999"] {
            assert!(wrong.parse::<CpuList>().is_err(), "{wrong}");
        }
        let (all, some): (CpuList, CpuList) = ("0-7".parse().unwrap(), "1-2,9".parse().unwrap());
        assert_eq!(all.without(&some).to_string(), "0,3-7");
    }
}
