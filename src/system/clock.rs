//! The time of day on this host.

use std::process::Command;
use std::time::Duration;

use crate::base::error::{Context, Error, Result};

const DAY_S: u64 = 24 * 3600;

/// Time from now until the next `HH:MM`, by the clock of this host.
///
/// # Errors
/// When it is no time of day, or `date` cannot be executed.
pub fn until(text: &str) -> Result<Duration> {
    let at =
        seconds(text, 2).ok_or_else(|| Error::new(format!("must be a time of day such as 07:00, got {text:?}")))?;
    let output = Command::new("date").arg("+%H:%M:%S").output().context("cannot execute date")?;
    let now = String::from_utf8_lossy(&output.stdout);
    let now = seconds(now.trim(), 3).ok_or_else(|| Error::new("date gives no time"))?;
    Ok(Duration::from_secs((at + DAY_S - now) % DAY_S))
}

/// Seconds since midnight of a time with so many parts: `HH:MM`, or `HH:MM:SS`.
fn seconds(text: &str, parts: usize) -> Option<u64> {
    let numbers: Vec<u64> = text.split(':').map(|part| part.parse().ok()).collect::<Option<_>>()?;
    let most = [23, 59, 60];
    if numbers.len() != parts || numbers.iter().zip(most).any(|(n, most)| *n > most) {
        return None;
    }
    Some(numbers.iter().zip([3600, 60, 1]).map(|(n, unit)| n * unit).sum())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_of_day() {
        for (text, parts, s) in [("07:00", 2, 25_200), ("7:05", 2, 25_500), ("23:59:59", 3, DAY_S - 1), ("00:00", 2, 0)]
        {
            assert_eq!(seconds(text, parts), Some(s), "{text}");
        }
        for text in ["", "7", "24:00", "7:60", "-1:00", "07:00:00", "7 pm"] {
            assert_eq!(seconds(text, 2), None, "{text}");
        }
        assert!(until("12:00").unwrap() < Duration::from_secs(DAY_S) && until("25:00").is_err());
    }
}
