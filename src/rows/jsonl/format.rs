//! Files that do not contain rows at all: recognized by their first lines and reported once, not line by line.

/// A file format other than rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum OtherFormat {
    /// YAML, most likely a plan.
    Yaml,
    /// Comma-separated values.
    Csv,
    /// One JSON document over several lines, or a list in one.
    Json,
}

impl OtherFormat {
    /// What is wrong, and what to do instead.
    pub(super) const fn instead(self) -> &'static str {
        match self {
            Self::Yaml => "this is YAML, not rows; turn a plan into rows with bench-validate PLAN or bench-expand PLAN",
            Self::Csv => {
                "this is CSV, not rows; the rows are in the .jsonl file that it was made from (for a dataset: bench-load --convert)"
            }
            Self::Json => {
                "this is one JSON document, not rows; write one object per line: jq -c . FILE, \
                 or jq -c '.[]' FILE for a list"
            }
        }
    }
}

/// The format of a source that begins with these bytes; `None` for rows, and for anything that may contain rows after a
/// line that is not one.
pub(super) fn of(start: &[u8]) -> Option<OtherFormat> {
    let text = String::from_utf8_lossy(start);
    let lines: Vec<&str> = text.lines().map(str::trim_end).filter(|line| !line.trim().is_empty()).collect();
    let first = lines.first()?.trim_start_matches('\u{feff}');
    // A line that begins a row may come after any other line.
    let is_open = |line: &str| matches!(line, "{" | "[" | "[{");
    if (is_open(first) && lines.len() > 1) || (lines.len() == 1 && first.starts_with('[') && first.ends_with(']')) {
        return Some(OtherFormat::Json);
    }
    if lines.len() == 1 && is_csv_header(first) {
        return Some(OtherFormat::Csv);
    }
    if lines.len() < 2 || lines.iter().any(|line| line.starts_with('{')) {
        return None;
    }
    // The last line may be cut off.
    let whole = &lines[..lines.len().max(3) - 1];
    let whole = if whole.is_empty() { &lines[..] } else { whole };
    if is_yaml(whole) {
        return Some(OtherFormat::Yaml);
    }
    let commas = |line: &str| line.matches(',').count();
    let header = first.split(',').all(|name| !name.trim().is_empty()) && commas(first) >= 2;
    (header && whole.iter().all(|line| commas(line) >= commas(first))).then_some(OtherFormat::Csv)
}

/// True for the header of comma-separated values: three names or more. The first may be missing, as that of an index is.
#[must_use]
pub fn is_csv_header(line: &str) -> bool {
    let plain = |name: &str| name.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-./%\" ()".contains(&b));
    let names: Vec<&str> = line.trim().split(',').collect();
    names.len() >= 3 && names.iter().all(|name| plain(name)) && names[1..].iter().all(|name| !name.trim().is_empty())
}

/// True for comma-separated values with a header.
#[must_use]
pub fn is_csv(text: &str) -> bool {
    of(text.as_bytes()) == Some(OtherFormat::Csv)
}

/// True if at least one line is `key:` or `key: value` at the left margin, and no line is impossible in YAML.
fn is_yaml(lines: &[&str]) -> bool {
    let is_key = |line: &&str| {
        let key = line.split(':').next().unwrap_or_default();
        let behind = line.get(key.len() + 1..).unwrap_or("x");
        !key.is_empty()
            && key.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-')
            && (behind.is_empty() || behind.starts_with(' '))
    };
    let may_be = |line: &&str| line.starts_with(['#', ' ', '-', '}', ']']) || is_key(line);
    lines.len() >= 2 && lines.iter().any(is_key) && lines.iter().all(may_be)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_after_anything_are_rows() {
        for text in ["", "{\"a\":1}\n", "INFO: starting\n{\"a\":1}\n", "warming up\nready\n", "INFO: x\n", "{\"a\":\n"]
        {
            assert_eq!(of(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn other_formats_are_told_by_their_lines() {
        let plan = include_bytes!("../../../configs/quickstart.yaml");
        assert_eq!(of(plan), Some(OtherFormat::Yaml));
        assert_eq!(of(&plan[..plan.len() / 2]), Some(OtherFormat::Yaml));
        assert_eq!(of(b"model: m\nframeworks: {sim: {}}\n"), Some(OtherFormat::Yaml));
        assert_eq!(of(b"rank,framework,req/s\n1,vllm,2.5\n"), Some(OtherFormat::Csv));
        assert_eq!(of(b"[\n {\"a\": 1}\n]\n"), Some(OtherFormat::Json));
        assert_eq!(of(b"[{\"a\": 1}]\n"), Some(OtherFormat::Json));
        assert_eq!(of(b"rank,framework,req/s\n"), Some(OtherFormat::Csv));
        assert!(is_csv_header(",run_number,Total Token Throughput (tok/s)\n") && is_csv_header("Metric,avg,p99"));
        assert!(
            !is_csv_header("ready, waiting") && !is_csv_header("{\"a\":1,\"b\":2,\"c\":3}") && !is_csv_header("a,,,")
        );
        assert_eq!(of(b"rank,framework,req/s\n1,vllm,2.5"), Some(OtherFormat::Csv));
    }
}
