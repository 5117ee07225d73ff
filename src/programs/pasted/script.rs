//! Finds the command that starts a server in a pasted text: a line, or a script that prepares its shell first.

use super::container;
use super::document::{self, HereDocument};
use super::outer::{self, BehindLauncher, RefusedProgram};
use super::variables::{Variables, unresolved};
use super::{ranks, unit};
use crate::base::shell;
use crate::engines::framework::Frameworks;
use crate::plan::command::line::{self, LineCommand};
use crate::plan::command::pasted::framework_of;
use crate::plan::command::wrap::assignment;
use crate::rows::kinds::LauncherStep;

/// The command of a pasted text that starts a server.
#[derive(Debug, Default)]
pub struct StartCommand {
    /// The launchers before it, outermost first.
    pub launchers: Vec<LauncherStep>,
    /// Variables that they give it; `None` inherits the value.
    pub env: Vec<(String, Option<String>)>,
    /// The words after them, with variables first.
    pub words: Vec<String>,
    /// Options of the launchers that are left out.
    pub dropped: Vec<String>,
    /// What else of the text a plan cannot have, as sentences.
    pub notes: Vec<String>,
    /// The files that the text writes, with its variables in place.
    pub documents: Vec<HereDocument>,
}

/// Where the lines of a text run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ScriptPlace {
    /// On this host.
    Here,
    /// In another shell, with its own variables and folders.
    There,
}

/// The command that starts a server in a text; `None` without one.
///
/// # Errors
/// What only a shell can run, a program that a plan has no launcher for, a variable that nothing sets.
pub fn read(text: &str, frameworks: &Frameworks) -> Result<Option<StartCommand>, String> {
    in_text(&without_prompts(&unit::as_lines(text)), frameworks, ScriptPlace::Here)
}

/// A text without the prompts of a shell that were pasted with its lines: `$ vllm serve …`, and `>` before lines that continue.
fn without_prompts(text: &str) -> String {
    let prompt = |line: &str, signs: &[&str]| {
        let line = line.trim_start();
        signs.iter().find_map(|sign| line.strip_prefix(sign)).map(String::from)
    };
    if !text.lines().any(|line| prompt(line, &["$ ", "% "]).is_some()) {
        return text.to_string();
    }
    let bare = |line: &str| prompt(line, &["$ ", "% ", "> "]).unwrap_or_else(|| line.to_string());
    text.lines().map(bare).collect::<Vec<_>>().join("\n")
}

fn in_text(text: &str, frameworks: &Frameworks, place: ScriptPlace) -> Result<Option<StartCommand>, String> {
    let (text, documents) = document::documents(text.trim());
    let text = text.trim();
    let commands = line::commands(text)?;
    let mut variables = if place == ScriptPlace::Here { Variables::of_host() } else { Variables::default() };
    let mut exported: Vec<String> = Vec::new();
    let mut prepared: Vec<&LineCommand> = Vec::new();
    let mut wrong = None;
    for command in &commands {
        let remote = outer::is_remote(&command.words);
        let words =
            if remote { variables.elsewhere().fill_all(&command.words) } else { variables.fill_all(&command.words) };
        match in_words(&words, frameworks) {
            Ok(Some(mut found)) => {
                let filled = documents.iter().map(|document| document.filled(&mut variables));
                found.documents.extend(filled);
                return Ok(Some(found.prepared(text, &prepared, exported)));
            }
            Ok(None) => {}
            // Another command of the text may be the one.
            Err(why) => wrong = wrong.or(Some(why)),
        }
        if !sets(&words) {
            prepared.extend((!neutral(&words)).then_some(command));
            continue;
        }
        let is_exported = words[0] == "export";
        for word in words.iter().filter(|word| *word != "export") {
            let Some((name, value)) = word.split_once('=') else { continue };
            let inherits = [format!("${name}"), format!("${{{name}}}")].contains(&value.to_string());
            if !inherits {
                variables.set(name, value);
            }
            if is_exported && (inherits || unresolved(value).is_none()) {
                exported.push(word.clone());
            } else if prepared.last().is_none_or(|last| last.from != command.from) {
                // Only the shell knows its value, or what prepares it uses it.
                prepared.push(command);
            }
        }
    }
    wrong.map_or(Ok(None), Err)
}

/// The server that these words start.
fn in_words(words: &[String], frameworks: &Frameworks) -> Result<Option<StartCommand>, String> {
    if let Some(RefusedProgram { why, by_file }) = outer::refused(words) {
        let starts = |text: &str| matches!(in_text(text, frameworks, ScriptPlace::There), Ok(Some(_)));
        let behind =
            by_file || framework_of(words, frameworks).is_some() || words.iter().skip(1).any(|word| starts(word));
        return if behind { Err(why) } else { Ok(None) };
    }
    if let Some(mut found) = outer::read(words)? {
        let inner = match found.behind.clone() {
            BehindLauncher::Line(line) => in_text(&line, frameworks, ScriptPlace::There)?,
            BehindLauncher::Words(words) => in_words(&words, frameworks)?,
            BehindLauncher::Here(words) => in_words(&ranks::without_own(&words, &mut found, frameworks), frameworks)?,
        };
        return Ok(inner.map(|mut inner| {
            inner.launchers.insert(0, found.step);
            inner.dropped = [found.dropped, inner.dropped].concat();
            inner.env = [found.env, inner.env].concat();
            inner.notes = [found.notes, inner.notes].concat();
            inner
        }));
    }
    if container::read(words)?.is_none() {
        let Some(_) = framework_of(words, frameworks) else {
            return match outer::runs_image(words).or_else(|| frameworks.iter().find_map(|own| own.other_program(words)))
            {
                Some(why) => Err(why),
                None => Ok(None),
            };
        };
        if !words.iter().take(container::program_at(words) + 1).any(|word| shell::is_shell(word)) {
            known(words)?;
        }
    }
    Ok(Some(StartCommand { words: words.to_vec(), ..StartCommand::default() }))
}

/// Refuses words that only a shell can expand.
///
/// # Errors
/// Which part of which word, and what to do.
pub fn known<'a>(words: impl IntoIterator<Item = &'a String>) -> Result<(), String> {
    match words.into_iter().find_map(|word| Some((word, unresolved(word)?))) {
        None => Ok(()),
        Some((_, part)) => Err(format!(
            "it uses {part}, which nothing in it sets and no shell expands for a plan: write the value, or NAME=VALUE in a line before"
        )),
    }
}

impl StartCommand {
    /// The command after those that prepare its shell. Commands that prepare the host of a container or of a remote shell do not
    /// concern the server.
    fn prepared(mut self, text: &str, before: &[&LineCommand], exported: Vec<String>) -> Self {
        let elsewhere = self.launchers.first().is_some_and(|step| step.name != "srun");
        if elsewhere || container::read(&self.words).is_ok_and(|read| read.is_some()) {
            return self;
        }
        let mut script: Vec<&str> = Vec::new();
        for before in before.iter().rev() {
            let names = || before.words.iter().filter_map(|word| word.split_once('=')).map(|(name, _)| name);
            let used = |name: &str| {
                script.iter().any(|line| line.contains(&format!("${name}")) || line.contains(&format!("${{{name}")))
            };
            if !sets(&before.words) || before.words[0] == "export" || names().any(used) {
                script.insert(0, text[before.from..before.to].trim());
            }
        }
        if script.is_empty() {
            self.words = [exported, self.words].concat();
            return self;
        }
        let (variables, words) = apart(&self.words);
        let whole = format!("{} && exec {}", script.join(" && "), shell::join(&words));
        self.words = [exported, variables, vec!["bash".into(), "-c".into(), whole]].concat();
        self
    }
}

/// The variables before a command, and the command without them, `exec` and `nohup`.
fn apart(words: &[String]) -> (Vec<String>, Vec<String>) {
    let assigns = |word: &String| sets(std::slice::from_ref(word)) && word != "export";
    let mut variables = Vec::new();
    let mut rest = words;
    while let Some((first, others)) = rest.split_first() {
        let before_variable = first == "env" && others.first().is_some_and(assigns);
        match first.as_str() {
            "exec" | "nohup" => {}
            _ if before_variable => {}
            _ if assigns(first) => variables.push(first.clone()),
            _ => break,
        }
        rest = others;
    }
    (variables, rest.to_vec())
}

/// True for a command that only sets variables.
fn sets(words: &[String]) -> bool {
    let words = words.strip_prefix(&["export".to_string()]).unwrap_or(words);
    !words.is_empty() && words.iter().all(|word| assignment(word).is_some())
}

/// True for a command without effect on the server: `set -e`, a download.
fn neutral(words: &[String]) -> bool {
    let first = words.get(container::program_at(words)).map_or("", |word| shell::program_name(word));
    let any = |wanted: &[&str]| words.iter().any(|word| wanted.contains(&word.as_str()));
    let installs = match first {
        "pip" | "pip3" | "uv" => any(&["install", "venv", "sync"]),
        "apptainer" | "singularity" | "docker" | "podman" => any(&["pull", "build", "login"]),
        _ => false,
    };
    let known = [
        "",
        ":",
        "set",
        "echo",
        "printf",
        "mkdir",
        "hf",
        "huggingface-cli",
        "wget",
        "curl",
        "git",
        "apt-get",
        "sleep",
        "cat",
        "tee",
        "nvidia-smi",
        "date",
        "hostname",
        "trap",
    ];
    installs || known.contains(&first)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Result<String, String> {
        let frameworks = Frameworks::load(&[], &[]).unwrap();
        let found = read(text, &frameworks)?;
        Ok(found.map_or(String::new(), |found| {
            let names: Vec<&str> = found.launchers.iter().map(|step| step.name.as_str()).collect();
            format!("{}|{}", names.join(","), shell::join(&found.words))
        }))
    }

    #[test]
    fn the_shell_that_a_script_prepares() {
        for (text, found) in [
            ("source v/bin/activate\nexec vllm serve m", "|bash -c 'source v/bin/activate && exec vllm serve m'"),
            ("cd /x; A=1 exec env B=2 vllm serve m", "|A=1 B=2 bash -c 'cd /x && exec vllm serve m'"),
            ("ulimit -n 65536\nnohup vllm serve m > log 2>&1 &", "|bash -c 'ulimit -n 65536 && exec vllm serve m'"),
            (
                "V=/opt/v\nexport A=1\nsource $V/bin/activate && exec vllm serve m",
                "|A=1 bash -c 'V=/opt/v && source $V/bin/activate && exec vllm serve m'",
            ),
            ("export PATH=/v/bin:$PATH\nvllm serve m", "|bash -c 'export PATH=/v/bin:$PATH && exec vllm serve m'"),
            ("set -e\nTP=${TP:-4}\nvllm serve ${1:-m} -tp $TP \"$@\"", "|vllm serve m -tp 4"),
            ("module load cuda\nsrun -n 1 vllm serve m", "srun|bash -c 'module load cuda && exec vllm serve m'"),
            ("cd /x\nssh gpu01 'cd /y && vllm serve m'", "ssh|bash -c 'cd /y && exec vllm serve m'"),
            ("ssh gpu01 docker exec -i c vllm serve m", "ssh,docker_exec|vllm serve m"),
            ("ssh gpu01 nvidia-smi\nvllm serve m", "|bash -c 'ssh gpu01 nvidia-smi && exec vllm serve m'"),
            ("kubectl get pods\npython train.py", ""),
            ("$ cd /x\n$ vllm serve m \\\n>   -tp 2", "|bash -c 'cd /x && exec vllm serve m -tp 2'"),
            ("sudo tee /etc/x.yml <<EOF\na: $b\nEOF\nvllm serve m", "|vllm serve m"),
            (
                "apptainer pull v.sif docker://v\napptainer exec --nv v.sif vllm serve m",
                "|apptainer exec --nv v.sif vllm serve m",
            ),
            ("singularity run v.sif vllm serve m", "|singularity run v.sif vllm serve m"),
            ("srun --mpi=pmix trtllm-llmapi-launch trtllm-serve m", "srun|trtllm-serve m"),
            (
                "HEAD=$(scontrol show hostnames | head -n 1)\nexport GLOO_SOCKET_IFNAME=eth0\nsrun -N 2 --ntasks=2 -o out.log \
                 python3 -m sglang.launch_server --model-path m --tp 16 --nccl-init-addr \"$HEAD:5000\" --nnodes 2 --node-rank \
                 \"$SLURM_NODEID\"",
                "srun|GLOO_SOCKET_IFNAME=eth0 python3 -m sglang.launch_server --model-path m --tp 16",
            ),
            ("srun -N 2 vllm serve m --x=r${SLURM_PROCID}x --headless", "srun|vllm serve m '--x=r{rank}x'"),
            ("srun -N 1 vllm serve m --nnodes 1", "srun|vllm serve m --nnodes 1"),
        ] {
            assert_eq!(words(text), Ok(found.to_string()), "{text}");
        }
    }

    #[test]
    fn what_a_plan_cannot_have() {
        for (text, said) in [
            ("vllm serve m -tp $TP", "it uses $TP"),
            ("TP=$(nvidia-smi -L | wc -l)\nvllm serve m -tp $TP", "it uses $(nvidia-smi -L | wc -l)"),
            ("kubectl exec -it pod -- vllm serve m", "no launcher"),
            ("kubectl exec pod -- bash -c 'vllm serve m'", "no launcher"),
            ("tmux new-session -d 'vllm serve m'", "cannot stop it"),
            ("docker compose up", "image and the command"),
            ("apptainer run --nv x.sif --model m", "`apptainer exec OPTIONS IMAGE`"),
            ("trtllm-serve disaggregated -c x.yaml", "the proxy of servers"),
            ("docker exec c trtllm-serve mm_embedding_serve m", "an encoder of images"),
        ] {
            let why = words(text);
            assert!(why.as_ref().is_err_and(|why| why.contains(said)), "{text}: {why:?}");
        }
    }
}
