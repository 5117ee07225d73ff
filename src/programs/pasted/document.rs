//! Here documents of a pasted text: `cat > extra.yml <<EOF … EOF` writes an option file that the server then reads.

/// A file that a pasted text writes.
#[derive(Debug, PartialEq, Eq)]
pub struct HereDocument {
    /// Its name, as written.
    pub file: String,
    /// Its content.
    pub text: String,
}

/// The text without its here documents, and those that are written to a file.
pub fn documents(text: &str) -> (String, Vec<HereDocument>) {
    let (mut rest, mut all) = (String::new(), Vec::new());
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        let Some((before, end, after)) = opening(line) else {
            rest.push_str(line);
            rest.push('\n');
            continue;
        };
        let body: Vec<&str> = lines.by_ref().take_while(|line| line.trim() != end).collect();
        let command = format!("{before} {after}");
        if let Some(file) = written(&command) {
            all.push(HereDocument { file, text: body.iter().map(|line| format!("{line}\n")).collect() });
        }
        rest.push_str(&command);
        rest.push('\n');
    }
    (rest, all)
}

/// A line that opens a here document: what is before it, the word that ends it, what is behind it.
fn opening(line: &str) -> Option<(&str, &str, &str)> {
    let (before, rest) = line.split_once("<<").filter(|(_, rest)| !rest.starts_with('<'))?;
    let rest = rest.trim_start_matches('-').trim_start();
    let bare = rest.trim_start_matches(['\'', '"', '\\']);
    let length = bare.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(bare.len());
    let (end, after) = bare.split_at(length);
    (!end.is_empty() && !before.trim_start().starts_with('#'))
        .then(|| (before, end, after.trim_start_matches(['\'', '"'])))
}

/// The file that a command writes what it reads to: `cat > FILE`, `tee FILE`.
fn written(command: &str) -> Option<String> {
    let file = match command.split_once('>') {
        Some((_, file)) => file.trim_start_matches('>'),
        None => {
            let (_, words) = command.split_once("tee ")?;
            words.trim_start().trim_start_matches("-a ")
        }
    };
    let file = file.split_whitespace().next()?;
    Some(file.trim_matches(['\'', '"']).to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_that_a_text_writes() {
        for (text, rest, file) in [
            ("cat > a.yml <<EOF\nx: 1\nEOF\nrun a.yml\n", "cat > a.yml  \nrun a.yml\n", "a.yml"),
            ("cat <<'EOF' > \"$F\"\nx: 1\nEOF\nrun", "cat   > \"$F\"\nrun\n", "$F"),
            ("sudo tee -a /etc/a.yml <<-END\nx: 1\n  END\n", "sudo tee -a /etc/a.yml  \n", "/etc/a.yml"),
        ] {
            let document = HereDocument { file: file.into(), text: "x: 1\n".into() };
            assert_eq!(documents(text), (rest.to_string(), vec![document]), "{text}");
        }
        for text in ["run <<< x\n", "# cat <<EOF\n", "run --x 1\n"] {
            assert_eq!(documents(text), (text.to_string(), vec![]));
        }
        assert_eq!(documents("python <<EOF\nx\nEOF\n"), ("python  \n".to_string(), vec![]));
    }
}
