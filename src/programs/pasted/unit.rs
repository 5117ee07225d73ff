//! A unit of systemd as the lines of a shell: its `Environment=` and `ExecStart=`.

/// The lines that a shell would need for the same; any other text as it is.
pub fn as_lines(text: &str) -> String {
    let value = |line: &str, key: &str| {
        line.trim().strip_prefix(key).map(|rest| rest.trim_start_matches(['=', '-', '@', ':', '+', '!']).to_string())
    };
    if !text.lines().any(|line| line.trim().starts_with("ExecStart=")) {
        return text.to_string();
    }
    let (mut out, mut open) = (String::new(), false);
    for line in text.lines() {
        let kept = match (value(line, "Environment="), value(line, "ExecStart=")) {
            _ if open => Some(line.to_string()),
            (Some(variables), _) => Some(format!("export {variables}")),
            (_, Some(command)) => Some(command),
            _ => None,
        };
        open = kept.is_some() && line.trim_end().ends_with('\\');
        if let Some(line) = kept {
            out.push_str(&line);
            out.push('\n');
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::as_lines;

    #[test]
    fn units_and_other_texts() {
        let unit = "[Service]\nEnvironment=\"A=x y\" B=1\nExecStart=/v/bin/vllm serve m \\\n  -tp 2\nRestart=always\n";
        assert_eq!(as_lines(unit), "export \"A=x y\" B=1\n/v/bin/vllm serve m \\\n  -tp 2\n");
        assert_eq!(as_lines("vllm serve m"), "vllm serve m");
    }
}
