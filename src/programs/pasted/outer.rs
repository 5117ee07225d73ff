//! What starts a pasted command elsewhere: `ssh HOST …`, `docker exec CONTAINER …`, `srun …`, as launchers of a plan.

use crate::base::shell;
use crate::rows::kinds::LauncherStep;

/// Options of ssh with a value.
const SSH_VALUES: &str = "bcDEeFIiJLlmOopQRSWw";
/// Options of `docker exec` with a value.
const EXEC_VALUES: [&str; 9] =
    ["-e", "--env", "-u", "--user", "-w", "--workdir", "--env-file", "--detach-keys", "--index"];

/// A command without the program that starts it elsewhere.
#[derive(Debug, PartialEq, Eq)]
pub struct OuterCommand {
    /// That program as a launcher.
    pub step: LauncherStep,
    /// Environment variables that it sets, `NAME=VALUE` or `NAME`.
    pub env: Vec<String>,
    /// Options that are left out.
    pub dropped: Vec<String>,
    /// The command; one text if a shell on another host reads it.
    pub words: Vec<String>,
}

fn step(name: &str, settings: &[(&str, String)]) -> LauncherStep {
    let options = settings.iter().filter(|(_, value)| !value.is_empty());
    LauncherStep { name: name.into(), options: options.map(|(key, value)| ((*key).into(), value.clone())).collect() }
}

/// `ssh HOST COMMAND` and `docker exec CONTAINER COMMAND`; `None` for another command.
pub fn unwrap(words: &[String]) -> Option<OuterCommand> {
    let name = |word: &String| word.rsplit('/').next().unwrap_or_default().to_string();
    let words = words.strip_prefix(&["sudo".to_string()]).unwrap_or(words);
    let (first, rest) = words.split_first()?;
    match (name(first).as_str(), rest.first().map(String::as_str)) {
        ("ssh", _) => {
            let valued = |word: &str| word.len() == 2 && SSH_VALUES.contains(&word[1..]);
            let (options, rest) = options(rest, valued);
            // Forwards of its port are bench-serve's.
            let options = options.into_iter().filter(|option| !is_terminal(&option[0], "tT"));
            let (dropped, kept): (Vec<_>, Vec<_>) = options.partition(|option| {
                let letter = option[0].chars().nth(1).unwrap_or_default();
                "nNfqLRD".contains(letter)
            });
            let (host, command) = rest.split_first().filter(|(_, command)| !command.is_empty())?;
            let kept: Vec<String> = kept.into_iter().flatten().collect();
            Some(OuterCommand {
                step: step("ssh", &[("host", host.clone()), ("options", shell::join(&kept))]),
                env: Vec::new(),
                dropped: dropped.into_iter().flatten().collect(),
                words: command.to_vec(),
            })
        }
        ("docker", Some("exec")) => {
            let (options, rest) = options(&rest[1..], |word| EXEC_VALUES.contains(&word));
            let options = options.into_iter().filter(|option| !is_terminal(&option[0], "itd"));
            let (container, command) = rest.split_first().filter(|(_, command)| !command.is_empty())?;
            let (env, dropped): (Vec<_>, Vec<_>) =
                options.partition(|option| option[0].starts_with("-e") || option[0].starts_with("--env"));
            let value = |option: Vec<String>| option.last().map(|word| word.trim_start_matches("--env=").to_string());
            Some(OuterCommand {
                step: step("docker_exec", &[("container", container.clone())]),
                env: env.into_iter().filter_map(value).collect(),
                dropped: dropped.into_iter().flatten().collect(),
                words: command.to_vec(),
            })
        }
        _ => None,
    }
}

/// True for the options of a terminal and of the background, which are of no use here.
fn is_terminal(option: &str, letters: &str) -> bool {
    let short =
        option.strip_prefix('-').is_some_and(|rest| !rest.is_empty() && rest.chars().all(|c| letters.contains(c)));
    short || ["--interactive", "--tty", "--detach"].contains(&option)
}

/// The options at the beginning, each with its value, and the rest.
fn options(words: &[String], valued: impl Fn(&str) -> bool) -> (Vec<Vec<String>>, &[String]) {
    let (mut all, mut at) = (Vec::new(), 0);
    while let Some(word) = words.get(at).filter(|word| word.starts_with('-')) {
        let n = if valued(word) { 2 } else { 1 };
        all.push(words[at..words.len().min(at + n)].to_vec());
        at += n;
    }
    (all, words.get(at..).unwrap_or_default())
}

/// `srun` before the program at index `program`: its options are the launcher's, except for the program that starts the ranks
/// (`wrapper`), which the launcher brings.
pub fn job_step(words: &[String], program: usize, wrapper: Option<&String>) -> Option<OuterCommand> {
    if words.first()?.rsplit('/').next() != Some("srun") {
        return None;
    }
    let options: Vec<String> = words[1..program].iter().filter(|word| Some(*word) != wrapper).cloned().collect();
    // Another program between srun and the server's stays before the server's.
    let inner =
        options.iter().position(|word| ["numactl", "taskset", "env", "bash", "sh", "nohup"].contains(&word.as_str()));
    let (own, inner) = options.split_at(inner.unwrap_or(options.len()));
    Some(OuterCommand {
        step: step("srun", &[("options", shell::join(own))]),
        env: Vec::new(),
        dropped: Vec::new(),
        words: [inner, &words[program..]].concat(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str) -> Option<(String, String, String)> {
        let outer = unwrap(&shell::split(line).unwrap())?;
        let settings = outer.step.options.iter().map(|(key, value)| format!(" {key}={value}")).collect::<String>();
        Some((format!("{}{settings}", outer.step.name), outer.env.join(" "), shell::join(&outer.words)))
    }

    #[test]
    fn commands_that_run_elsewhere() {
        for (line, launcher, env, words) in [
            ("ssh gpu01 vllm serve m", "ssh host=gpu01", "", "vllm serve m"),
            ("ssh -t -p 22 -i k u@h 'vllm serve m'", "ssh host=u@h options=-p 22 -i k", "", "'vllm serve m'"),
            ("docker exec -it -e A=1 -w /x c vllm serve m", "docker_exec container=c", "A=1", "vllm serve m"),
            ("sudo docker exec --env=B c sglang serve", "docker_exec container=c", "B", "sglang serve"),
        ] {
            assert_eq!(read(line), Some((launcher.into(), env.into(), words.into())), "{line}");
        }
        for line in ["vllm serve m", "ssh", "ssh gpu01", "docker exec c", "docker run i"] {
            assert_eq!(read(line), None, "{line}");
        }
    }

    #[test]
    fn job_steps() {
        let words = shell::split("srun -n 8 --mpi=pmix trtllm-llmapi-launch trtllm-serve m").unwrap();
        let outer = job_step(&words, 5, Some(&"trtllm-llmapi-launch".to_string())).unwrap();
        assert_eq!(outer.step, step("srun", &[("options", "-n 8 --mpi=pmix".into())]));
        assert_eq!(outer.words, ["trtllm-serve", "m"]);
        let words = shell::split("srun -n 1 numactl -N 0 vllm serve m").unwrap();
        let outer = job_step(&words, 6, None).unwrap();
        assert_eq!(outer.step.options["options"], "-n 1");
        assert_eq!(outer.words, ["numactl", "-N", "0", "vllm", "serve", "m"]);
    }
}
