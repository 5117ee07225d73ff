//! Reads the script of `sh -c`, as far as that is safe without running it.

/// A script whose last command consists of plain words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Script {
    /// The commands before it, with the separator: `source /v/bin/activate && `.
    pub before: String,
    /// The words of its last command.
    pub words: Vec<String>,
    /// True if `"$@"`, the script's arguments, follows them.
    pub takes_arguments: bool,
}

/// Words that begin or end a compound command.
const RESERVED: [&str; 17] = [
    "if", "then", "else", "elif", "fi", "for", "while", "until", "do", "done", "case", "esac", "function", "{", "}",
    "!", "time",
];

/// Reads a script; `None` if its last command does not consist of plain words, or if a command before it includes it.
pub fn read(script: &str) -> Option<Script> {
    let script = script.trim_end_matches(|c: char| c.is_whitespace() || c == ';');
    let mut reader = Reader::default();
    let mut chars = script.char_indices().peekable();
    while let Some((at, c)) = chars.next() {
        let next = chars.peek().map(|(_, c)| *c);
        match (reader.quote, c) {
            (Some('\''), '\'') | (Some('"'), '"') => reader.quote = None,
            (Some('\''), _) => reader.push(c),
            (None, '\'' | '"') => reader.open(c),
            (Some(_), '\\') => match next {
                Some(escaped @ ('"' | '\\' | '$' | '`')) => {
                    reader.push(escaped);
                    chars.next();
                }
                _ => reader.push(c),
            },
            (None, '\\') => match chars.next() {
                // The line continues.
                Some((_, '\n')) => {}
                Some((_, escaped)) => reader.push(escaped),
                None => return None,
            },
            (_, '$') => {
                let rest = &script[at..];
                let named = crate::base::shell::references(rest).into_iter().next().map(|name| format!("${{{name}}}"));
                if rest.starts_with("$@") {
                    reader.arguments = true;
                    reader.push('\u{0}');
                    chars.next();
                } else if let Some(name) = named.filter(|name| rest.starts_with(name)) {
                    name.chars().for_each(|c| reader.push(c));
                    chars.nth(name.chars().count() - 2);
                } else {
                    reader.plain = false;
                }
            }
            (_, '`') => reader.plain = false,
            (Some(_), _) => reader.push(c),
            (None, '&') if next == Some('&') => {
                chars.next();
                reader.part(at + 2)?;
            }
            (None, ';' | '\n') => reader.part(at + 1)?,
            (None, ' ' | '\t') => reader.end_of_word(),
            (None, '(' | ')' | '<' | '>' | '|' | '&') => {
                reader.plain = false;
                reader.opens |= c == '(' || (c == '<' && next == Some('<'));
            }
            (None, '*' | '?' | '[') => {
                reader.plain = false;
                reader.push(c);
            }
            (None, '~' | '#') if reader.word.is_none() => reader.plain = false,
            (None, _) => reader.push(c),
        }
    }
    reader.last(script)
}

#[derive(Debug)]
struct Reader {
    quote: Option<char>,
    word: Option<String>,
    words: Vec<String>,
    /// True while the command consists of plain words.
    plain: bool,
    /// True if it contains `$@`.
    arguments: bool,
    /// True if it opens something that it may not close.
    opens: bool,
    /// Where the command begins.
    from: usize,
}

impl Default for Reader {
    fn default() -> Self {
        Self { quote: None, word: None, words: Vec::new(), plain: true, arguments: false, opens: false, from: 0 }
    }
}

impl Reader {
    fn open(&mut self, quote: char) {
        self.quote = Some(quote);
        self.word.get_or_insert_default();
    }

    fn push(&mut self, c: char) {
        self.word.get_or_insert_default().push(c);
    }

    fn end_of_word(&mut self) {
        self.words.extend(self.word.take());
    }

    /// Ends one command; the next begins at `from`. `None` if the first includes the second.
    fn part(&mut self, from: usize) -> Option<()> {
        self.end_of_word();
        if self.opens || self.words.iter().any(|word| RESERVED.contains(&word.as_str())) {
            return None;
        }
        *self = Self { from, ..Self::default() };
        Some(())
    }

    fn last(mut self, script: &str) -> Option<Script> {
        self.end_of_word();
        let takes_arguments = self.words.last().is_some_and(|word| word == "\u{0}");
        if takes_arguments {
            self.words.pop();
        }
        let odd = self.words.iter().any(|word| word.contains('\u{0}'));
        let first = self.words.first()?;
        if self.quote.is_some() || !self.plain || odd || RESERVED.contains(&first.as_str()) {
            return None;
        }
        let before = script[..self.from].trim_start();
        let before = if before.is_empty() { String::new() } else { format!("{} ", before.trim_end()) };
        Some(Script { before, words: self.words, takes_arguments })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_command_of_a_script() {
        for (script, before, words, takes) in [
            ("exec vllm serve m --port 1", "", "exec vllm serve m --port 1", false),
            ("vllm serve 'a b' \"c d\" \\\n --x", "", "vllm serve 'a b' 'c d' --x", false),
            (
                "source /v/bin/activate && exec vllm serve m;\n",
                "source /v/bin/activate && ",
                "exec vllm serve m",
                false,
            ),
            ("cd $HOME; export A=$(cat b)\nvllm serve", "", "", false),
            ("cd $HOME || exit 1; A=1 vllm serve \"$@\"", "cd $HOME || exit 1; ", "A=1 vllm serve", true),
            ("vllm serve --key ${HF_TOKEN}", "", "vllm serve --key '${HF_TOKEN}'", false),
        ] {
            let read = read(script);
            if words.is_empty() {
                assert_eq!(read, None, "{script}");
                continue;
            }
            let words = crate::base::shell::split(words).unwrap();
            assert_eq!(read, Some(Script { before: before.into(), words, takes_arguments: takes }), "{script}");
        }
        for script in [
            "vllm serve $MODEL",
            "vllm serve m | tee log",
            "vllm serve m > log 2>&1",
            "vllm serve m &",
            "if x; then vllm serve m; fi",
            "for i in 1 2; do vllm serve; done",
            "(cd x; vllm serve m)",
            "vllm serve *.gguf",
            "vllm serve `cat m`",
            "vllm serve 'open",
            "a || vllm serve m",
            "",
        ] {
            assert_eq!(read(script), None, "{script}");
        }
    }
}
