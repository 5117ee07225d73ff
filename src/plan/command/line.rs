//! Reads a shell line as commands of words, without running or expanding anything.

use std::iter::Peekable;
use std::str::CharIndices;

/// One command of a line.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct LineCommand {
    /// Its words.
    pub words: Vec<String>,
    /// What has no effect on the server: redirections, a pipe to `tee`, `&`.
    pub ignored: Vec<String>,
    /// Where it begins in the line, bytes.
    pub from: usize,
    /// Where it ends.
    pub to: usize,
}

/// The commands of a line, or of several; comments are left out, and a backslash at the end of a line continues it.
///
/// # Errors
/// An open quote, and syntax that only a shell can run: `||`, parentheses, pipes, here documents.
pub fn commands(text: &str) -> Result<Vec<LineCommand>, String> {
    let mut reader = LineReader {
        text,
        chars: text.char_indices().peekable(),
        word: None,
        quoted: false,
        command: LineCommand::default(),
        all: Vec::new(),
    };
    reader.read()?;
    Ok(reader.all)
}

struct LineReader<'a> {
    text: &'a str,
    chars: Peekable<CharIndices<'a>>,
    word: Option<String>,
    /// True if a part of the word was in quotes.
    quoted: bool,
    command: LineCommand,
    all: Vec<LineCommand>,
}

impl LineReader<'_> {
    fn read(&mut self) -> Result<(), String> {
        while let Some((at, c)) = self.chars.next() {
            match c {
                '\'' => self.single_quoted()?,
                '"' => self.double_quoted()?,
                '\\' => self.escaped()?,
                '$' if self.next_is('(') => self.substitution(at)?,
                '`' => self.push_through(at, '`')?,
                '#' if self.word.is_none() => while self.chars.next_if(|(_, c)| *c != '\n').is_some() {},
                ' ' | '\t' | '\r' => self.end_word(),
                '\n' | ';' => self.end_command(at),
                '&' if self.next_is('&') => {
                    self.chars.next();
                    self.end_command(at);
                }
                '&' if self.next_is('>') => {
                    self.end_word();
                    self.redirection(at);
                }
                '&' => {
                    self.end_word();
                    self.command.ignored.push("&".into());
                    self.end_command(at);
                }
                '|' if self.next_is('|') => return Err(refused("||")),
                '|' => self.pipe(at)?,
                '<' if self.next_is('<') => return Err(refused("<<")),
                '>' | '<' => {
                    // A number in front of it is that of a file.
                    let number = |word: &String| word.chars().all(|c| c.is_ascii_digit());
                    let number = if self.quoted { None } else { self.word.take_if(|word| number(word)) };
                    self.end_word();
                    self.redirection(at - number.map_or(0, |number| number.len()));
                }
                '(' | ')' => return Err(refused(&c.to_string())),
                c => self.push(c),
            }
        }
        self.end_command(self.text.len());
        Ok(())
    }

    fn next_is(&mut self, wanted: char) -> bool {
        self.chars.peek().is_some_and(|(_, c)| *c == wanted)
    }

    fn push(&mut self, c: char) {
        self.word.get_or_insert_default().push(c);
    }

    fn end_word(&mut self) {
        self.command.words.extend(self.word.take());
        self.quoted = false;
    }

    fn end_command(&mut self, at: usize) {
        self.end_word();
        let next = self.chars.peek().map_or(self.text.len(), |(next, _)| *next);
        let mut done = std::mem::replace(&mut self.command, LineCommand { from: next, ..LineCommand::default() });
        done.to = at;
        if !done.words.is_empty() {
            self.all.push(done);
        }
    }

    fn single_quoted(&mut self) -> Result<(), String> {
        self.quoted = true;
        self.word.get_or_insert_default();
        loop {
            match self.chars.next() {
                Some((_, '\'')) => return Ok(()),
                Some((_, c)) => self.push(c),
                None => return Err("unclosed single quote".into()),
            }
        }
    }

    fn double_quoted(&mut self) -> Result<(), String> {
        self.quoted = true;
        self.word.get_or_insert_default();
        loop {
            match self.chars.next().map(|(_, c)| c) {
                Some('"') => return Ok(()),
                Some('\\') => match self.chars.next().map(|(_, c)| c) {
                    Some('\n') => {}
                    Some(c @ ('"' | '\\' | '$' | '`')) => self.push(c),
                    Some(c) => {
                        self.push('\\');
                        self.push(c);
                    }
                    None => return Err("unclosed double quote".into()),
                },
                Some(c) => self.push(c),
                None => return Err("unclosed double quote".into()),
            }
        }
    }

    /// A backslash: before the end of a line, or a space that YAML made of it, the line continues.
    fn escaped(&mut self) -> Result<(), String> {
        match self.chars.next().map(|(_, c)| c) {
            Some('\n') => {}
            Some(' ' | '\t' | '\r') if self.word.is_none() => {
                while self.chars.next_if(|(_, c)| [' ', '\t', '\r'].contains(c)).is_some() {}
                self.chars.next_if(|(_, c)| *c == '\n');
            }
            Some(c) => self.push(c),
            // The last line of a command that was copied without those that followed.
            None if self.word.is_none() => {}
            None => return Err("backslash at the end of the line".into()),
        }
        Ok(())
    }

    /// `$(…)`, kept as it is.
    fn substitution(&mut self, from: usize) -> Result<(), String> {
        let mut depth = 0;
        for (at, c) in self.chars.by_ref() {
            depth += i32::from(c == '(') - i32::from(c == ')');
            if depth == 0 {
                let text = &self.text[from..=at];
                self.word.get_or_insert_default().push_str(text);
                return Ok(());
            }
        }
        Err("unclosed $(".into())
    }

    fn push_through(&mut self, from: usize, end: char) -> Result<(), String> {
        let close = self.chars.by_ref().find(|(_, c)| *c == end).map(|(at, _)| at);
        let text = &self.text[from..=close.ok_or_else(|| format!("unclosed {end}"))?];
        self.word.get_or_insert_default().push_str(text);
        Ok(())
    }

    /// The rest of a redirection: its file, or the number of another one.
    fn redirection(&mut self, from: usize) {
        while self.chars.next_if(|(_, c)| ['>', '<', '&', '|'].contains(c)).is_some() {}
        while self.chars.next_if(|(_, c)| [' ', '\t'].contains(c)).is_some() {}
        while self.chars.next_if(|(_, c)| !" \t\n;&|<>".contains(*c)).is_some() {}
        let to = self.chars.peek().map_or(self.text.len(), |(at, _)| *at);
        self.command.ignored.push(self.text[from..to].to_string());
    }

    /// A pipe to a program that only copies what the server prints.
    fn pipe(&mut self, from: usize) -> Result<(), String> {
        self.end_word();
        let rest = self.text[from + 1..].trim_start();
        if !["tee ", "ts "].iter().any(|copies| rest.starts_with(copies)) {
            return Err(refused("|"));
        }
        let mut to = from + 1;
        while let Some((at, c)) = self.chars.next_if(|(_, c)| !"\n;|&".contains(*c)) {
            to = at + c.len_utf8();
        }
        self.command.ignored.push(self.text[from..to].trim().to_string());
        Ok(())
    }
}

/// Why an operator cannot be in a command.
pub fn refused(operator: &str) -> String {
    format!(
        "the command does not run in a shell, so {operator:?} would be an argument: write the server's command alone, or sh -c '…'"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Vec<(String, String)> {
        let all = commands(text).unwrap_or_else(|why| panic!("{text}: {why}"));
        all.into_iter().map(|one| (one.words.join("|"), one.ignored.join("|"))).collect()
    }

    #[test]
    fn a_line_is_read_as_a_shell_reads_it() {
        for (text, words, ignored) in [
            ("vllm serve m", "vllm|serve|m", ""),
            ("vllm serve m \\\n  -tp 4 \\\n", "vllm|serve|m|-tp|4", ""),
            ("vllm serve m \\\n  -tp 4 \\", "vllm|serve|m|-tp|4", ""),
            // A folded line of YAML, and a space behind the backslash.
            ("vllm serve m \\ -tp 4", "vllm|serve|m|-tp|4", ""),
            ("vllm serve m \\  \n -tp 4", "vllm|serve|m|-tp|4", ""),
            ("# start it\nvllm serve m # mine, isn't it\n", "vllm|serve|m", ""),
            ("vllm serve m --x a#b '#c'", "vllm|serve|m|--x|a#b|#c", ""),
            ("vllm serve m > log 2>&1 &", "vllm|serve|m", "> log|2>&1|&"),
            ("vllm serve m &>> log", "vllm|serve|m", "&>> log"),
            ("vllm serve m --n 2 2>/dev/null", "vllm|serve|m|--n|2", "2>/dev/null"),
            ("vllm serve m 2>&1 | tee -a log", "vllm|serve|m", "2>&1|| tee -a log"),
            ("x -v $(pwd)/a:/b -e A=\"$(cat b)\"", "x|-v|$(pwd)/a:/b|-e|A=$(cat b)", ""),
            ("x --c '{\"a\": \"b > c | d\"}'", "x|--c|{\"a\": \"b > c | d\"}", ""),
            ("x \"a\\\nb\" ''", "x|ab|", ""),
        ] {
            assert_eq!(read(text), [(words.to_string(), ignored.to_string())], "{text}");
        }
        let several = read("export A=1 B='x y'; cd /x && vllm serve m\n\necho done");
        let words: Vec<&str> = several.iter().map(|(words, _)| words.as_str()).collect();
        assert_eq!(words, ["export|A=1|B=x y", "cd|/x", "vllm|serve|m", "echo|done"]);
    }

    #[test]
    fn what_only_a_shell_can_run_is_refused() {
        for text in ["a || b", "(a; b)", "a | grep b", "a <<E\nE", "a 'b", "a \"b", "a $(b", "a `b", "a\\"] {
            assert!(commands(text).is_err(), "{text}");
        }
    }
}
