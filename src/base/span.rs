//! Spans of time as people write them.

use std::time::Duration;

/// Reads a time such as `8h`, `90m` or `600s`; seconds without a unit.
///
/// # Errors
/// Anything else.
pub fn span(text: &str) -> Result<Duration, String> {
    let wrong = || format!("must be a time such as 8h, 90m or 600s, got {text:?}");
    let number = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let factor = match &text[number.len()..] {
        "h" => 3600.0,
        "m" | "min" => 60.0,
        "s" | "" => 1.0,
        _ => return Err(wrong()),
    };
    let number: f64 = number.parse().map_err(|_| wrong())?;
    Duration::try_from_secs_f64(number * factor).map_err(|_| wrong())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hours_minutes_and_seconds() {
        for (text, seconds) in [("8h", 28_800), ("90m", 5400), ("90min", 5400), ("600s", 600), ("600", 600)] {
            assert_eq!(span(text), Ok(Duration::from_secs(seconds)), "{text}");
        }
        assert_eq!(span("1.5h"), Ok(Duration::from_secs(5400)));
        for wrong in ["", "h", "8 h", "8d", "-1h"] {
            assert!(span(wrong).is_err(), "{wrong}");
        }
    }
}
