//! What stands before a server's command: variables, `env`, `exec`, a shell with a script.

use super::script;

/// A command without what only a shell understands.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Bare {
    /// Variables that were set before it; `None`: taken over from the caller's environment.
    pub env: Vec<(String, Option<String>)>,
    /// The command.
    pub words: Vec<String>,
}

/// Options of a shell without meaning for a script of plain commands.
const IDLE: &str = "ceux";

/// Takes apart what stands before the command.
///
/// # Errors
/// What nobody but a shell can do.
pub fn bare(mut words: Vec<String>) -> Result<Bare, String> {
    let mut env = Vec::new();
    loop {
        if let Some(operator) = words.iter().find(|word| OPERATORS.contains(&word.as_str())) {
            return Err(format!(
                "no shell reads the command, so {operator:?} in it would be an argument: write the server's command alone, or \
                 sh -c '…'"
            ));
        }
        let Some(first) = words.first() else { return Err("there is no command in it".into()) };
        if let Some((name, value)) = assignment(first) {
            env.push((name.to_string(), taken(name, value)?));
            words.remove(0);
            continue;
        }
        let name = first.rsplit('/').next().unwrap_or(first);
        let next = words.get(1).map_or("", String::as_str);
        match name {
            "exec" => drop(words.remove(0)),
            "env" if !next.is_empty() && !next.starts_with('-') => drop(words.remove(0)),
            "sh" | "bash" | "dash" | "ksh" | "zsh" => match shell(&words)? {
                Shell::Plain(inner) => words = inner,
                Shell::Kept(all) => return Ok(Bare { env, words: all }),
            },
            _ if first.starts_with('-') => return Err(format!("it begins with the flag {first}, not with a program")),
            _ if first.starts_with("~/") || expands(first) => {
                return Err(format!("no shell reads the command, so {first} is not expanded: write the whole path"));
            }
            _ => return Ok(Bare { env, words }),
        }
    }
}

const OPERATORS: [&str; 12] = ["#", "&&", "||", "|", ";", "&", ">", ">>", "<", "2>", "2>&1", "&>"];

/// Whether a shell would put a variable's value into a word; `${NAME}` is put in when the server is started.
fn expands(word: &str) -> bool {
    word.split('$').skip(1).any(|rest| rest.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_' || c == '('))
}

fn assignment(word: &str) -> Option<(&str, &str)> {
    let (name, value) = word.split_once('=')?;
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let is_name = name.chars().all(plain) && name.starts_with(|c: char| !c.is_ascii_digit());
    is_name.then_some((name, value))
}

/// A variable's value; one that is only itself is inherited.
fn taken(name: &str, value: &str) -> Result<Option<String>, String> {
    if value == format!("${name}") || value == format!("${{{name}}}") {
        return Ok(None);
    }
    if value.contains('$') || value.contains('`') {
        return Err(format!(
            "no shell reads the command, so {name}={value} would be taken as it is: write its value in env"
        ));
    }
    Ok(Some(value.to_string()))
}

enum Shell {
    /// The command without the shell.
    Plain(Vec<String>),
    /// The whole command, made so that what is added at its end reaches the server.
    Kept(Vec<String>),
}

fn shell(words: &[String]) -> Result<Shell, String> {
    let mut at = 1;
    let mut idle = true;
    while let Some(option) = words.get(at).filter(|word| word.starts_with(['-', '+'])) {
        let letters = option.trim_start_matches(['-', '+']);
        let is_script = !option.starts_with("--") && letters.contains('c');
        idle &= letters.chars().all(|c| IDLE.contains(c));
        at += if letters == "o" || letters == "O" { 2 } else { 1 };
        if is_script {
            let Some(text) = words.get(at) else { return Err("there is no script behind -c".into()) };
            return script(&words[..at], text, &words[at + 1..], idle);
        }
    }
    // A script in a file is a program like any other.
    Ok(Shell::Kept(words.to_vec()))
}

/// `options` are the shell and its options, `arguments` what follows the script: its name, and its own arguments.
fn script(options: &[String], text: &str, arguments: &[String], idle: bool) -> Result<Shell, String> {
    let name = arguments.first().map_or("sh", String::as_str).to_string();
    let Some(read) = script::read(text) else {
        if !text.contains("$@") {
            let why = "what is added to the command (model, port, flags) does not reach the server behind sh -c: write the \
                       server's own command, or end the script with \"$@\"";
            return Err(why.into());
        }
        let arguments = arguments.iter().skip(1).cloned();
        return Ok(Shell::Kept(options.iter().cloned().chain([text.to_string(), name]).chain(arguments).collect()));
    };
    let mut inner = read.words;
    if read.takes_arguments {
        inner.extend(arguments.iter().skip(1).cloned());
    }
    if idle && read.before.is_empty() {
        return Ok(Shell::Plain(inner));
    }
    if inner.first().is_some_and(|word| word == "exec") {
        inner.remove(0);
    }
    if inner.first().is_some_and(|word| assignment(word).is_some()) {
        inner.insert(0, "env".into());
    }
    let whole = format!("{}exec \"$@\"", read.before);
    Ok(Shell::Kept(options.iter().cloned().chain([whole, name]).chain(inner).collect()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::shell;

    fn bare_of(line: &str) -> Result<(String, String), String> {
        let bare = bare(shell::split(line).unwrap())?;
        let env: Vec<String> =
            bare.env.iter().map(|(name, value)| format!("{name}={}", value.as_deref().unwrap_or("?"))).collect();
        Ok((env.join(" "), shell::join(&bare.words)))
    }

    #[test]
    fn variables_and_shells_are_taken_away() {
        for (line, env, words) in [
            ("vllm serve m", "", "vllm serve m"),
            ("A=1 B='x y' vllm serve m", "A=1 B=x y", "vllm serve m"),
            ("env A=1 /v/bin/vllm serve", "A=1", "/v/bin/vllm serve"),
            ("HF_TOKEN=$HF_TOKEN exec vllm serve", "HF_TOKEN=?", "vllm serve"),
            ("A=1 sh -c 'B=2 exec vllm serve m -tp 4'", "A=1 B=2", "vllm serve m -tp 4"),
            ("/bin/bash -ec \"vllm serve m\" ignored", "", "vllm serve m"),
            ("sh -c 'vllm serve \"$@\"' sh m -tp 4", "", "vllm serve m -tp 4"),
            ("bash -lc 'vllm serve m'", "", "bash -lc 'exec \"$@\"' sh vllm serve m"),
            (
                "bash -c 'source /v/bin/activate && A=1 vllm serve m'",
                "",
                "bash -c 'source /v/bin/activate && exec \"$@\"' sh env A=1 vllm serve m",
            ),
            ("sh -c 'vllm serve \"$@\" | tee log'", "", "sh -c 'vllm serve \"$@\" | tee log' sh"),
            ("bash server.sh --x", "", "bash server.sh --x"),
            ("env -i vllm serve", "", "env -i vllm serve"),
        ] {
            assert_eq!(bare_of(line), Ok((env.into(), words.into())), "{line}");
        }
        for (line, said) in [
            ("sh -c 'vllm serve m | tee log'", "behind sh -c"),
            ("A=1", "no command"),
            ("PATH=/x:$PATH vllm serve", "write its value in env"),
            ("vllm serve m > log", "no shell"),
            ("sh -c", "no script"),
            ("--port 1", "begins with the flag"),
            ("~/v/bin/vllm serve", "write the whole path"),
            ("$HOME/v/bin/vllm serve", "write the whole path"),
            ("vllm serve m # mine", "no shell"),
        ] {
            assert!(bare_of(line).unwrap_err().contains(said), "{line}");
        }
    }
}
