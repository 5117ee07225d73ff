//! Programs that start a server elsewhere: `ssh HOST …`, `srun …`, `docker exec CONTAINER …` become launchers of the plan;
//! those without a launcher are refused.

use std::collections::BTreeMap;

use super::container::{long_form, program_at};
use crate::base::shell;
use crate::plan::command::slurm;
use crate::plan::command::wrap::DETACHED;
use crate::rows::kinds::LauncherStep;

/// A program before a server's command, as a launcher.
#[derive(Debug, PartialEq, Eq)]
pub struct OuterLauncher {
    /// The launcher.
    pub step: LauncherStep,
    /// Variables that it gives the server; `None` inherits the value.
    pub env: Vec<(String, Option<String>)>,
    /// The command after it: a line that a shell reads there, or words.
    pub behind: BehindLauncher,
    /// Options that are left out.
    pub dropped: Vec<String>,
    /// What else of it a plan cannot have, as sentences.
    pub notes: Vec<String>,
}

/// The command after a launcher.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BehindLauncher {
    /// A line for the shell of another host, which has its own files and variables.
    Line(String),
    /// Words for another place with its own variables.
    Words(Vec<String>),
    /// Words for this host, with the variables that are set here.
    Here(Vec<String>),
}

/// Programs that start a pasted server where bench-serve cannot stop it, besides [`DETACHED`].
const ALSO_DETACHED: [&str; 5] = ["nerdctl", "podman-compose", "ray", "at", "parallel"];
/// ssh: letters of options with a value.
const SSH_VALUES: &str = "BbcDEeFIiJLlmOopQRSWw";
/// ssh: options that bench-serve sets itself, or that have no effect on its servers.
const SSH_UNUSED: &str = "tTnNfqvg";
/// ssh: forwards of ports, which bench-serve sets itself.
const SSH_FORWARDS: &str = "LRD";
/// srun: letters of options with a value.
const SRUN_VALUES: &str = "AbBcCDdeEGiJLmMnNopqrSTtwWx";
/// srun: long options without a value, or with one after `=` only.
const SRUN_SWITCHES: [&str; 24] = [
    "--contiguous",
    "--disable-status",
    "--exact",
    "--exclusive",
    "--hold",
    "--immediate",
    "--kill-on-bad-exit",
    "--label",
    "--multi-prog",
    "--no-allocate",
    "--no-kill",
    "--overcommit",
    "--overlap",
    "--oversubscribe",
    "--preserve-env",
    "--pty",
    "--quiet",
    "--reboot",
    "--spread-job",
    "--unbuffered",
    "--use-min-nodes",
    "--verbose",
    "--container-mount-home",
    "--container-writable",
];
/// srun: options that the launcher sets itself, or that concern only the terminal.
const SRUN_UNUSED: [&str; 15] = [
    "-J",
    "--job-name",
    "-u",
    "--unbuffered",
    "-o",
    "--output",
    "-e",
    "--error",
    "-i",
    "--input",
    "-l",
    "--label",
    "--pty",
    "-v",
    "--verbose",
];
/// docker exec: options with a value.
const EXEC_VALUES: [&str; 5] = ["--detach-keys", "--env", "--env-file", "--user", "--workdir"];

/// The launcher at the beginning of the words; `None` for another command.
///
/// # Errors
/// An option without its value, or a launcher without its host or container.
pub fn read(words: &[String]) -> Result<Option<OuterLauncher>, String> {
    let at = program_at(words);
    let Some(program) = words.get(at) else { return Ok(None) };
    let before: Vec<String> = words[..at].iter().filter(|word| word.contains('=')).cloned().collect();
    let rest = &words[at + 1..];
    let first = rest.first().map_or("", String::as_str);
    match shell::program_name(program) {
        "ssh" => ssh(rest).map(Some),
        "srun" => srun(rest, before).map(Some),
        "docker" if first == "exec" => docker_exec(&rest[1..]).map(Some),
        "docker" if first == "container" && rest.get(1).is_some_and(|word| word == "exec") => {
            docker_exec(&rest[2..]).map(Some)
        }
        _ => Ok(None),
    }
}

/// True if another host's shell reads the rest of these words.
pub fn is_remote(words: &[String]) -> bool {
    matches!(read(words), Ok(Some(OuterLauncher { behind: BehindLauncher::Line(_), .. })))
}

/// Why `apptainer run IMAGE` cannot be read: its image says what it starts.
pub fn runs_image(words: &[String]) -> Option<String> {
    let at = program_at(words);
    let name = words.get(at).map(|word| shell::program_name(word))?;
    (["apptainer", "singularity"].contains(&name) && words[at + 1..].iter().any(|word| word == "run")).then(|| {
        format!("{name} run starts what its image says: write `{name} exec OPTIONS IMAGE` and the server's command, for example vllm serve MODEL")
    })
}

/// A program before a server that cannot be part of a plan.
#[derive(Debug)]
pub struct RefusedProgram {
    /// Why, and what to write instead.
    pub why: String,
    /// It starts what a file says, so no server has to follow; others matter only if one does.
    pub by_file: bool,
}

/// The program at the beginning of the words, if it cannot be part of a plan.
pub fn refused(words: &[String]) -> Option<RefusedProgram> {
    let at = program_at(words);
    let name = shell::program_name(words.get(at)?);
    let next = words.get(at + 1).map_or("", String::as_str);
    let paste = "paste only the server's own command, and run the programs where it runs";
    let by_file = match name {
        "docker" | "podman" => ["compose", "stack", "service"].contains(&next),
        "kubectl" | "oc" => ["apply", "create", "run"].contains(&next),
        _ => false,
    };
    let why = match (name, next) {
        ("kubectl" | "oc", _) => format!(
            "{name} {next} starts the server in a pod, for which there is no launcher: give the pod's manifest to --from-command, {paste}, or \
             start it there and use launcher attach with its forwarded port"
        ),
        ("podman" | "nerdctl", "exec") => format!(
            "there is no launcher for {name} exec: paste the `{name} run` of the container with the server's command"
        ),
        _ if by_file => format!(
            "{name} {next} starts what its file says: give that file to --from-command, or paste a `{name} run` with the image and the \
             command of the service"
        ),
        _ if DETACHED.contains(&name) || ALSO_DETACHED.contains(&name) => {
            format!("{name} starts the server where bench-serve cannot stop it: {paste}")
        }
        _ => return None,
    };
    Some(RefusedProgram { why, by_file })
}

fn step(name: &str, settings: &[(&str, String)]) -> LauncherStep {
    let set = settings.iter().filter(|(_, value)| !value.is_empty());
    let options: BTreeMap<String, String> = set.map(|(key, value)| ((*key).to_string(), value.clone())).collect();
    LauncherStep { name: name.into(), options }
}

fn ssh(words: &[String]) -> Result<OuterLauncher, String> {
    let (mut host, mut options, mut dropped, mut at) = (None, Vec::new(), Vec::new(), 0);
    while let Some(word) = words.get(at) {
        at += 1;
        match word.strip_prefix('-') {
            Some("-") if host.is_some() => break,
            Some(letters) if !letters.is_empty() => {
                let Some(i) = letters.find(|c| SSH_VALUES.contains(c)) else {
                    let kept: String = letters.chars().filter(|c| !SSH_UNUSED.contains(*c)).collect();
                    options.extend((!kept.is_empty()).then(|| format!("-{kept}")));
                    continue;
                };
                let joined = i + 1 < letters.len();
                let value = if joined { None } else { Some(words.get(at).ok_or("ssh: an option lacks its value")?) };
                at += usize::from(!joined);
                let to = if SSH_FORWARDS.contains(&letters[i..=i]) { &mut dropped } else { &mut options };
                to.push(word.clone());
                to.extend(value.cloned());
            }
            _ if host.is_none() => host = Some(word.clone()),
            _ => {
                at -= 1;
                break;
            }
        }
    }
    let host = host.ok_or("ssh: the host is missing")?;
    let step = step("ssh", &[("host", host), ("options", shell::join(&options))]);
    // ssh passes one line to the other shell.
    let behind = BehindLauncher::Line(words[at..].join(" "));
    Ok(OuterLauncher { step, env: Vec::new(), behind, dropped, notes: Vec::new() })
}

fn srun(words: &[String], before: Vec<String>) -> Result<OuterLauncher, String> {
    let (mut options, mut tasks, mut nodes, mut at) = (Vec::new(), Vec::new(), None, 0);
    while let Some(word) = words.get(at).filter(|word| word.starts_with('-')) {
        if let Some((number, taken)) = slurm::nodes(&words[at..]) {
            nodes = Some(number.to_string());
            at += taken;
            continue;
        }
        at += 1;
        if word == "--" {
            break;
        }
        let long = word.starts_with("--");
        let name = if long { word.split('=').next().unwrap_or(word) } else { &word[..word.len().min(2)] };
        let takes = match long {
            true => !word.contains('=') && !SRUN_SWITCHES.contains(&name) && !name.starts_with("--no-"),
            false => word.len() == 2 && SRUN_VALUES.contains(&word[1..]),
        };
        let value =
            if takes { Some(words.get(at).ok_or_else(|| format!("srun: {word} needs a value"))?) } else { None };
        at += usize::from(takes);
        let piece = std::iter::once(word.clone()).chain(value.cloned());
        if ["-n", "--ntasks"].contains(&name) {
            let number = value.map_or_else(|| word[name.len()..].trim_start_matches('='), String::as_str);
            tasks.push((number.to_string(), piece.collect::<Vec<_>>()));
        } else if !SRUN_UNUSED.contains(&name) {
            options.extend(piece);
        }
    }
    if let Some(nodes) = nodes.as_ref().filter(|nodes| nodes.parse::<u32>().is_err()) {
        return Err(format!("srun: --nodes {nodes} is not a number of nodes: write how many one server has"));
    }
    let nodes = nodes.unwrap_or_default();
    // The launcher starts one task on each node, or one for each rank of the flags.
    let own = if nodes.is_empty() { "1" } else { &nodes };
    let dropped = tasks.into_iter().filter(|(number, _)| number != own).flat_map(|(_, piece)| piece).collect();
    let step = step("srun", &[("nodes", nodes), ("options", shell::join(&options))]);
    let behind = BehindLauncher::Here([before, words[at..].to_vec()].concat());
    Ok(OuterLauncher { step, env: Vec::new(), behind, dropped, notes: Vec::new() })
}

fn docker_exec(words: &[String]) -> Result<OuterLauncher, String> {
    let (mut env, mut notes, mut at) = (Vec::new(), Vec::new(), 0);
    while let Some(word) = words.get(at).filter(|word| word.starts_with('-')) {
        at += 1;
        let (option, joined) = long_form(word)?;
        let value = match joined {
            Some(value) => value,
            None if EXEC_VALUES.contains(&option.as_str()) => {
                at += 1;
                words.get(at - 1).ok_or_else(|| format!("{word} needs a value"))?.clone()
            }
            None => continue,
        };
        match option.as_str() {
            "--env" => {
                let (name, value) =
                    value.split_once('=').map_or((value.as_str(), None), |(name, value)| (name, Some(value)));
                env.push((name.to_string(), value.map(String::from)));
            }
            "--detach-keys" => {}
            _ => {
                notes.push(format!("{option} {value} of docker exec is left out: launcher docker_exec has no options"))
            }
        }
    }
    let container = words.get(at).ok_or("docker exec: the container is missing")?.clone();
    let step = step("docker_exec", &[("container", container)]);
    let behind = BehindLauncher::Words(words[at + 1..].to_vec());
    Ok(OuterLauncher { step, env, behind, dropped: Vec::new(), notes })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(line: &str) -> (String, String) {
        let outer = read(&shell::split(line).unwrap()).unwrap().unwrap();
        let options: Vec<String> = outer.step.options.iter().map(|(key, value)| format!("{key}={value}")).collect();
        let behind = match outer.behind {
            BehindLauncher::Line(line) => line,
            BehindLauncher::Words(words) | BehindLauncher::Here(words) => shell::join(&words),
        };
        (format!("{} {}", outer.step.name, options.join(" ")).trim().to_string(), behind)
    }

    #[test]
    fn launchers_in_front_of_a_server() {
        for (line, launcher, behind) in [
            ("ssh gpu01 vllm serve m", "ssh host=gpu01", "vllm serve m"),
            (
                "ssh -tt -p 2222 -L 8000:localhost:8000 -oBatchMode=yes me@gpu01 'cd /x && vllm serve m -tp 2'",
                "ssh host=me@gpu01 options=-p 2222 -oBatchMode=yes",
                "cd /x && vllm serve m -tp 2",
            ),
            ("ssh gpu01 -i /k -- vllm serve m", "ssh host=gpu01 options=-i /k", "vllm serve m"),
            (
                "srun -N 1 -n1 --gres=gpu:4 --partition gpu --exclusive --pty -c 32 vllm serve m",
                "srun nodes=1 options=--gres=gpu:4 --partition gpu --exclusive -c 32",
                "vllm serve m",
            ),
            ("srun --nodes=2 -n 2 -p gpu -- vllm serve m", "srun nodes=2 options=-p gpu", "vllm serve m"),
            ("A=1 srun --mpi=pmix vllm serve m", "srun options=--mpi=pmix", "A=1 vllm serve m"),
            ("sudo docker exec -it -e A=1 -w /x vllm-1 vllm serve m", "docker_exec container=vllm-1", "vllm serve m"),
        ] {
            assert_eq!(of(line), (launcher.into(), behind.into()), "{line}");
        }
        for line in ["vllm serve m", "docker run x", "numactl -N 0 vllm serve m"] {
            assert_eq!(read(&shell::split(line).unwrap()), Ok(None), "{line}");
        }
    }

    #[test]
    fn options_that_are_left_out() {
        for (line, dropped) in [
            ("ssh -tt -L 8000:localhost:8000 -D1080 h vllm serve m", "-L 8000:localhost:8000 -D1080"),
            ("srun -n 8 --ntasks=8 -N 1 x", "-n 8 --ntasks=8"),
            ("srun -n1 --ntasks 1 --pty -J x --unbuffered x", ""),
            ("srun -n 2 -N2 x", ""),
            ("srun -N2 -n 1 x", "-n 1"),
        ] {
            let outer = read(&shell::split(line).unwrap()).unwrap().unwrap();
            assert_eq!(shell::join(&outer.dropped), dropped, "{line}");
        }
    }

    #[test]
    fn programs_that_a_plan_has_no_launcher_for() {
        for (line, said) in [
            ("kubectl exec -it pod -- vllm serve m", "no launcher"),
            ("podman exec c vllm serve m", "podman run"),
            ("docker compose run vllm vllm serve m", "image and the command"),
            ("tmux new -d 'vllm serve m'", "cannot stop it"),
        ] {
            assert!(refused(&shell::split(line).unwrap()).is_some_and(|refused| refused.why.contains(said)), "{line}");
        }
        assert!(refused(&shell::split("docker run i vllm serve m").unwrap()).is_none());
    }
}
