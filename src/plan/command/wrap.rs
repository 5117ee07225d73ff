//! Unwraps a server's command from variables, `env`, `exec` and shells.

use super::{script, slurm};
use crate::base::shell;

/// A command without shell syntax.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Bare {
    /// Variables set before it; `None`: inherited from the caller's environment.
    pub env: Vec<(String, Option<String>)>,
    /// The command.
    pub words: Vec<String>,
}

/// Programs that start a server where bench-serve cannot stop it.
pub const DETACHED: [&str; 9] =
    ["kubectl", "oc", "helm", "docker-compose", "sbatch", "tmux", "screen", "systemctl", "systemd-run"];

/// Options of a shell that do not affect a script of plain commands.
const NEUTRAL: &str = "ceux";

/// Unwraps the command.
///
/// # Errors
/// A command that only a shell can run.
pub fn bare(mut words: Vec<String>) -> Result<Bare, String> {
    let mut env = Vec::new();
    loop {
        let Some(first) = words.first() else { return Err("it contains no command".into()) };
        if let Some((name, value)) = assignment(first) {
            env.push((name.to_string(), variable_value(name, value)?));
            words.remove(0);
            continue;
        }
        let next = words.get(1).map_or("", String::as_str);
        match shell::program_name(first) {
            "exec" => drop(words.remove(0)),
            // The prompt of a shell, pasted with the line.
            "$" | "%" | ">" => drop(words.remove(0)),
            "env" if !next.is_empty() && !next.starts_with('-') => drop(words.remove(0)),
            name if shell::is_shell(name) => match shell_command(&words)? {
                Shell::Plain(inner) => words = inner,
                Shell::Script(all) => return Ok(Bare { env, words: all }),
            },
            _ if first.starts_with('-') => return Err(format!("it begins with the flag {first} instead of a program")),
            _ if first.starts_with("~/") || expands(first) => {
                return Err(format!(
                    "the command does not run in a shell, so {first} is not expanded: write the whole path"
                ));
            }
            _ => return Ok(Bare { env, words }),
        }
    }
}

/// What to write instead, if a program before the server's (`program`: the index of that one) starts it elsewhere: bench-serve
/// could neither reach nor stop it there.
pub fn elsewhere(words: &[String], program: usize) -> Option<String> {
    let before = |word: &&String| {
        ["sudo", "env", "time", "nice", "setsid"].contains(&shell::program_name(word)) || word.starts_with('-')
    };
    let at = words[..program].iter().take_while(before).count();
    let first = words.get(at).filter(|_| at < program).map(|word| shell::program_name(word))?;
    let next = |wanted: &str| words[at + 1..program].iter().any(|word| word == wanted);
    let new = "or let `bench-validate --new --from-command` write the plan";
    Some(match first {
        "docker" | "podman" | "nerdctl" if next("exec") => {
            format!(
                "it starts the server in a container: write `launcher: {{name: docker_exec, container: NAME}}` and only the server's command here, {new}"
            )
        }
        "docker" | "podman" | "nerdctl" => {
            let launcher = if first == "podman" { "podman" } else { "docker" };
            format!(
                "it starts a container: write `launcher: {launcher}`, `image: NAME` and only the server's command here, {new}"
            )
        }
        "ssh" => {
            format!(
                "it starts the server on another host: write `launcher: {{name: ssh, host: HOST}}` and only the server's command here, {new}"
            )
        }
        "srun" => {
            let nodes =
                slurm::nodes_of(&words[at + 1..program]).map_or(String::new(), |nodes| format!(", nodes: {nodes}"));
            format!(
                "it starts the server with Slurm: write `launcher: {{name: srun{nodes}, options: OPTIONS}}` and only the server's command here, {new}"
            )
        }
        _ if DETACHED.contains(&first) => {
            format!(
                "{first} starts the server where bench-serve cannot stop it: write only the server's command here, or `launcher: attach` for a server that runs already"
            )
        }
        _ => return None,
    })
}

/// True if a shell would expand a word; `${NAME}` is expanded when the server is started.
fn expands(word: &str) -> bool {
    word.split('$').skip(1).any(|rest| rest.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_' || c == '('))
}

/// The name and the value of `NAME=VALUE`.
pub fn assignment(word: &str) -> Option<(&str, &str)> {
    let (name, value) = word.split_once('=')?;
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let is_name = name.chars().all(plain) && name.starts_with(|c: char| !c.is_ascii_digit());
    is_name.then_some((name, value))
}

/// A variable's value; `None` for `NAME=$NAME`, which inherits it.
fn variable_value(name: &str, value: &str) -> Result<Option<String>, String> {
    if value == format!("${name}") || value == format!("${{{name}}}") {
        return Ok(None);
    }
    if value.contains('$') || value.contains('`') {
        return Err(format!(
            "the command does not run in a shell, so {name}={value} is not expanded: write its value in env"
        ));
    }
    Ok(Some(value.to_string()))
}

/// The variables of `export NAME=VALUE …`; `None` for another command, or a value that only a shell knows.
pub fn exported(words: &[String]) -> Option<Vec<(String, Option<String>)>> {
    let (_, rest) = words.split_first().filter(|(first, rest)| *first == "export" && !rest.is_empty())?;
    let one = |word: &String| {
        let (name, value) = assignment(word)?;
        Some((name.to_string(), variable_value(name, value).ok()?))
    };
    rest.iter().map(one).collect()
}

enum Shell {
    /// The command without the shell.
    Plain(Vec<String>),
    /// The whole command, changed so that words added at its end reach the server.
    Script(Vec<String>),
}

fn shell_command(words: &[String]) -> Result<Shell, String> {
    let mut at = 1;
    let mut neutral = true;
    while let Some(option) = words.get(at).filter(|word| word.starts_with(['-', '+'])) {
        let letters = option.trim_start_matches(['-', '+']);
        let is_script = !option.starts_with("--") && letters.contains('c');
        neutral &= letters.chars().all(|c| NEUTRAL.contains(c));
        at += if letters == "o" || letters == "O" { 2 } else { 1 };
        if is_script {
            let Some(text) = words.get(at) else { return Err("the script after -c is missing".into()) };
            return script(&words[..at], text, &words[at + 1..], neutral);
        }
    }
    // A script file is a program like any other.
    Ok(Shell::Script(words.to_vec()))
}

/// `options` are the shell and its options; `arguments` are the words after the script: its name and its arguments.
fn script(options: &[String], text: &str, arguments: &[String], neutral: bool) -> Result<Shell, String> {
    let name = arguments.first().map_or("sh", String::as_str).to_string();
    let Some(read) = script::read(text) else {
        if !text.contains("$@") {
            let why = "the model, port and flags added to the command do not reach the server in sh -c: write the \
                       server's own command, or end the script with \"$@\"";
            return Err(why.into());
        }
        let arguments = arguments.iter().skip(1).cloned();
        return Ok(Shell::Script(options.iter().cloned().chain([text.to_string(), name]).chain(arguments).collect()));
    };
    let mut inner = read.words;
    if read.takes_arguments {
        inner.extend(arguments.iter().skip(1).cloned());
    }
    if neutral && read.before.is_empty() {
        return Ok(Shell::Plain(inner));
    }
    // It follows an exec of its own, which no program after it may be.
    while let Some(at) = inner.iter().position(|word| assignment(word).is_none()).filter(|at| inner[*at] == "exec") {
        inner.remove(at);
    }
    if inner.first().is_some_and(|word| assignment(word).is_some()) {
        inner.insert(0, "env".into());
    }
    let whole = format!("{}exec \"$@\"", read.before);
    Ok(Shell::Script(options.iter().cloned().chain([whole, name]).chain(inner).collect()))
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
    fn exported_variables() {
        let read = |line: &str| exported(&shell::split(line).unwrap());
        let pair = |name: &str, value: Option<&str>| (name.to_string(), value.map(String::from));
        assert_eq!(read("export A=1 HF_TOKEN=$HF_TOKEN"), Some(vec![pair("A", Some("1")), pair("HF_TOKEN", None)]));
        for line in ["export", "export A", "A=1", "cd /x", "export PATH=/x:$PATH"] {
            assert_eq!(read(line), None, "{line}");
        }
    }

    #[test]
    fn variables_and_shells_are_unwrapped() {
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
            ("bash -c 'cd /x; A=1 exec exec vllm serve m'", "", "bash -c 'cd /x; exec \"$@\"' sh env A=1 vllm serve m"),
            ("sh -c 'vllm serve \"$@\" | tee log'", "", "sh -c 'vllm serve \"$@\" | tee log' sh"),
            ("bash server.sh --x", "", "bash server.sh --x"),
            ("env -i vllm serve", "", "env -i vllm serve"),
        ] {
            assert_eq!(bare_of(line), Ok((env.into(), words.into())), "{line}");
        }
        for (line, said) in [
            ("sh -c 'vllm serve m | tee log'", "in sh -c"),
            ("A=1", "contains no command"),
            ("PATH=/x:$PATH vllm serve", "write its value in env"),
            ("sh -c", "script after -c is missing"),
            ("--port 1", "begins with the flag"),
            ("~/v/bin/vllm serve", "write the whole path"),
            ("$HOME/v/bin/vllm serve", "write the whole path"),
        ] {
            assert!(bare_of(line).unwrap_err().contains(said), "{line}");
        }
    }
}
