//! Reads `docker run` and `podman run`: image, environment, mounts, GPUs and the options that the server needs.

use std::collections::BTreeMap;

use crate::base::shell;

/// A server's container.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Container {
    /// The launcher: `docker` or `podman`.
    pub launcher: String,
    /// The image.
    pub image: String,
    /// Environment variables; `None` inherits the value.
    pub env: BTreeMap<String, Option<String>>,
    /// Mounts, `HOST:CONTAINER[:OPTIONS]`.
    pub mounts: Vec<String>,
    /// The GPUs.
    pub gpus: ContainerGpus,
    /// Options that are passed on.
    pub options: Vec<String>,
    /// Options that are left out.
    pub dropped: Vec<String>,
    /// The entry point and its arguments.
    pub entry: Vec<String>,
    /// The words after the image.
    pub words: Vec<String>,
}

/// The GPUs of a container.
#[derive(Debug, Default, PartialEq, Eq)]
pub enum ContainerGpus {
    /// Not stated.
    #[default]
    Unstated,
    /// All of them.
    All,
    /// This many.
    Count(u32),
    /// These, separated by commas.
    Devices(String),
}

/// Options without a value.
const SWITCHES: [&str; 20] = [
    "--detach",
    "--disable-content-trust",
    "--env-host",
    "--http-proxy",
    "--init",
    "--interactive",
    "--no-healthcheck",
    "--no-hostname",
    "--no-hosts",
    "--oom-kill-disable",
    "--passwd",
    "--privileged",
    "--publish-all",
    "--quiet",
    "--read-only",
    "--replace",
    "--rm",
    "--rmi",
    "--tls-verify",
    "--tty",
];
/// Options that bench-serve sets itself, or that have no meaning for its servers.
const DROPPED: [&str; 19] = [
    "--cidfile",
    "--detach",
    "--expose",
    "--hostname",
    "--init",
    "--interactive",
    "--name",
    "--net",
    "--network",
    "--publish",
    "--publish-all",
    "--pull",
    "--quiet",
    "--replace",
    "--restart",
    "--rm",
    "--rmi",
    "--stop-timeout",
    "--tty",
];
/// Options that the launchers always set.
const USUAL: [(&str, &str); 3] = [("--ipc", "host"), ("--ulimit", "memlock=-1"), ("--ulimit", "stack=67108864")];
/// Short options and their long forms.
const SHORT: [(char, &str); 15] = [
    ('d', "--detach"),
    ('i', "--interactive"),
    ('t', "--tty"),
    ('P', "--publish-all"),
    ('q', "--quiet"),
    ('e', "--env"),
    ('v', "--volume"),
    ('p', "--publish"),
    ('w', "--workdir"),
    ('u', "--user"),
    ('h', "--hostname"),
    ('m', "--memory"),
    ('l', "--label"),
    ('a', "--attach"),
    ('c', "--cpu-shares"),
];

/// Index of the program after variables and words that do not matter here: `sudo -E`, `exec`, `nohup`, `time`.
pub fn program_at(words: &[String]) -> usize {
    let plain = |word: &String| ["sudo", "exec", "nohup", "time"].contains(&shell::program_name(word));
    words.iter().take_while(|word| word.contains('=') || word.starts_with('-') || plain(word)).count()
}

/// Reads the words of a command; `None` if it does not start a container.
///
/// # Errors
/// Without an image, or with an option that cannot be read.
pub fn read(words: &[String]) -> Result<Option<Container>, String> {
    // Variables before it are for the docker client, not for the container.
    let program = program_at(words);
    if !words.get(program).is_some_and(|word| ["docker", "podman"].contains(&shell::program_name(word))) {
        return Ok(None);
    }
    let rest = &words[program + 1..];
    let rest = rest.strip_prefix(&["container".to_string()]).unwrap_or(rest);
    let Some((_, rest)) = rest.split_first().filter(|(first, _)| ["run", "create"].contains(&first.as_str())) else {
        return Err(format!("{} must be followed by run (docker also by exec)", words[program]));
    };
    let mut container = Container { launcher: shell::program_name(&words[program]).into(), ..Container::default() };
    let mut at = 0;
    while let Some(word) = rest.get(at).filter(|word| word.starts_with('-') && *word != "--") {
        at += 1;
        let (option, value) = long_form(word)?;
        let value = match value {
            Some(value) => Some(value),
            None if SWITCHES.contains(&option.as_str()) => None,
            None => {
                at += 1;
                Some(rest.get(at - 1).ok_or_else(|| format!("{word} needs a value"))?.clone())
            }
        };
        container.option(option, value);
    }
    let rest = &rest[at..];
    let rest = rest.strip_prefix(&["--".to_string()]).unwrap_or(rest);
    let (image, arguments) = rest.split_first().ok_or("the image is missing")?;
    container.image.clone_from(image);
    container.words = arguments.to_vec();
    Ok(Some(container))
}

/// An option in its long form, and its value if it is part of the word: `-p8000:8000`, `--gpus=all`. A group of short switches
/// (`-it`) is the first of them.
pub fn long_form(word: &str) -> Result<(String, Option<String>), String> {
    if word.starts_with("--") {
        return Ok(match word.split_once('=') {
            Some((option, value)) => (option.into(), Some(value.into())),
            None => (word.into(), None),
        });
    }
    let mut letters = word[1..].chars();
    let known = |letter: char| SHORT.iter().find(|(short, _)| *short == letter).map(|(_, long)| (*long).to_string());
    while let Some(letter) = letters.next() {
        let long = known(letter).ok_or_else(|| format!("unknown option {word}"))?;
        let rest = letters.as_str();
        if SWITCHES.contains(&long.as_str()) && !rest.is_empty() {
            continue;
        }
        let value = (!rest.is_empty()).then(|| rest.trim_start_matches('=').to_string());
        return Ok((long, value));
    }
    Err(format!("unknown option {word}"))
}

impl Container {
    fn option(&mut self, option: String, value: Option<String>) {
        let text = value.clone().unwrap_or_default();
        match option.as_str() {
            "--env" => {
                let (name, value) = match text.split_once('=') {
                    Some((name, value)) => (name.to_string(), Some(value.to_string())),
                    None => (text, None),
                };
                self.env.insert(name, value);
            }
            "--volume" => self.mounts.push(text),
            "--mount" => match bind(&text) {
                Some(mount) => self.mounts.push(mount),
                None => self.options.extend([option, text]),
            },
            "--gpus" => self.gpus = gpus(&text),
            "--device" if text.starts_with("nvidia.com/gpu=") => {
                let device = text.trim_start_matches("nvidia.com/gpu=");
                self.gpus = match (&self.gpus, device) {
                    (_, "all") => ContainerGpus::All,
                    (ContainerGpus::Devices(others), one) => ContainerGpus::Devices(format!("{others},{one}")),
                    (_, one) => ContainerGpus::Devices(one.into()),
                };
            }
            "--entrypoint" => self.entry = if text.is_empty() { Vec::new() } else { vec![text] },
            known if DROPPED.contains(&known) => {
                // What a run of bench-serve is in any case needs no word.
                let usual = ["--detach", "--init", "--interactive", "--rm", "--tty"].contains(&known)
                    || (["--net", "--network"].contains(&known) && text == "host");
                if !usual {
                    self.dropped.push(option);
                    self.dropped.extend(value);
                }
            }
            known if USUAL.contains(&(known, text.as_str())) => {}
            _ => {
                self.options.push(option);
                self.options.extend(value);
            }
        }
    }
}

/// The GPUs of `--gpus`: `all`, a number, `device=0,1`, with or without quotes and capabilities.
fn gpus(text: &str) -> ContainerGpus {
    let text = text.trim_matches(|c| c == '"' || c == '\'');
    if let Some(devices) = text.strip_prefix("device=") {
        let devices = devices.trim_matches('"').split(',').filter(|device| !device.contains('='));
        return ContainerGpus::Devices(devices.collect::<Vec<_>>().join(","));
    }
    match text.split(',').next().unwrap_or_default().trim_start_matches("count=") {
        "all" | "-1" => ContainerGpus::All,
        number => number.parse().map_or(ContainerGpus::Unstated, ContainerGpus::Count),
    }
}

/// A bind mount as `HOST:CONTAINER[:ro]`; `None` for another type.
fn bind(text: &str) -> Option<String> {
    let (mut from, mut to, mut read_only) = (None, None, false);
    for part in text.split(',') {
        match part.split_once('=').unwrap_or((part, "")) {
            ("type", "bind") => {}
            ("source" | "src", path) => from = Some(path),
            ("target" | "dst" | "destination", path) => to = Some(path),
            ("readonly" | "ro", "" | "true" | "1") => read_only = true,
            _ => return None,
        }
    }
    Some(format!("{}:{}{}", from?, to?, if read_only { ":ro" } else { "" }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::shell;

    fn of(line: &str) -> Container {
        read(&shell::split(line).unwrap()).unwrap().unwrap()
    }

    #[test]
    fn docker_run_is_read() {
        let read =
            of("sudo docker run -it --rm -d --gpus '\"device=0,1\"' --shm-size 32g --ipc=host -p 8000:8000 --name x \
                       -e A=1 --env HF_TOKEN -v /m:/m:ro --mount type=bind,source=/a,target=/b,readonly --network host \
                       --ulimit memlock=-1 --privileged -w /x vllm/vllm-openai:v1 --model m -tp 2");
        let env = BTreeMap::from([("A".to_string(), Some("1".to_string())), ("HF_TOKEN".to_string(), None)]);
        assert_eq!(
            read,
            Container {
                launcher: "docker".into(),
                image: "vllm/vllm-openai:v1".into(),
                env,
                mounts: vec!["/m:/m:ro".into(), "/a:/b:ro".into()],
                gpus: ContainerGpus::Devices("0,1".into()),
                options: ["--shm-size", "32g", "--privileged", "--workdir", "/x"].map(String::from).to_vec(),
                dropped: ["--publish", "8000:8000", "--name", "x"].map(String::from).to_vec(),
                entry: Vec::new(),
                words: ["--model", "m", "-tp", "2"].map(String::from).to_vec(),
            }
        );
    }

    #[test]
    fn the_gpus_of_a_container() {
        for (line, gpus) in [
            ("docker run --gpus all i", ContainerGpus::All),
            ("docker run --gpus=4 i", ContainerGpus::Count(4)),
            ("docker run --gpus 'all,capabilities=utility' i", ContainerGpus::All),
            ("docker run --gpus device=3 i", ContainerGpus::Devices("3".into())),
            ("podman run --device nvidia.com/gpu=all i", ContainerGpus::All),
            ("podman run --device nvidia.com/gpu=0 --device nvidia.com/gpu=2 i", ContainerGpus::Devices("0,2".into())),
            ("docker run -dit -p8000:8000 i", ContainerGpus::Unstated),
        ] {
            assert_eq!(of(line).gpus, gpus, "{line}");
        }
        assert_eq!(of("docker run --entrypoint vllm i serve m").entry, ["vllm"]);
    }

    #[test]
    fn what_is_no_container_and_what_is_none_of_ours() {
        for line in ["vllm serve m", "DOCKER=docker vllm serve m", "echo docker run x"] {
            assert_eq!(read(&shell::split(line).unwrap()), Ok(None), "{line}");
        }
        for line in ["docker compose up", "docker run", "docker run -e", "docker run -Z x i"] {
            assert!(read(&shell::split(line).unwrap()).is_err(), "{line}");
        }
    }
}
