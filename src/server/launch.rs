//! From a candidate row to a ready server, or to the reason why there is none.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::child::{Child, create_private};
use super::diagnosis::Looked;
use super::lifecycle::Lifecycle;
use super::log::{Files, Log};
use super::probe::{self, Found};
use super::workers::Workers;
use super::{After, Failed, Options};
use crate::diagnose::{Facts, Patterns};
use crate::digest;
use crate::error::{Context, Error, Result};
use crate::framework::{Framework, Phase};
use crate::http::Client;
use crate::launcher::{Fill, Outside, Start};
use crate::lease::{monotonic_ns, private_folder};
use crate::process::proc;
use crate::redact::Redactor;
use crate::schema::{Artifacts, Candidate, Connections, Stage, State, Status};

const PROBE_EVERY: Duration = Duration::from_millis(25);

/// A start, successful or not: what is known before the server runs.
#[derive(Debug)]
pub struct Launch {
    /// New for every start.
    pub server_id: String,
    /// Files of this start.
    pub artifacts: Artifacts,
    /// What is executed, with the real port and paths.
    pub argv: Vec<String>,
    /// The port that was chosen for the server.
    pub port: u16,
    /// The port of this host at which clients reach it: the same, unless it is forwarded.
    pub client_port: u16,
    folder: PathBuf,
    pub(super) log: PathBuf,
    redactor: Redactor,
    environment: Vec<(String, String)>,
    lifecycle: RefCell<Lifecycle>,
    /// What is to be done outside the process tree to stop it.
    outside: Outside,
    /// Where clients reach it.
    pub base_url: String,
    /// How they do.
    pub reached_by: String,
    /// It was there already.
    pub attached: bool,
}

/// A server that is ready.
#[derive(Debug)]
pub struct Ready {
    /// The server.
    pub child: Child,
    /// From exec to ready.
    pub ready: Duration,
    /// The model's id as listed.
    pub model_id: String,
    /// The server says that it simulates.
    pub simulated: bool,
    /// As the server says.
    pub version: Option<String>,
    /// What its log may tell.
    pub patterns: Patterns,
    /// Its workers, as far as they were seen.
    pub workers: Workers,
}

impl Launch {
    /// Chooses the port, makes the folder, writes the option files.
    ///
    /// # Errors
    /// When the port is taken or something cannot be made.
    pub fn prepare(candidate: &Candidate, options: &Options) -> Result<Self, Failed> {
        Self::make(candidate, options).map_err(|e| Failed::of("not_started", e.to_string()))?.checked()
    }

    fn make(candidate: &Candidate, options: &Options) -> Result<Self> {
        let port = match options.port {
            Some(port) => port,
            None => proc::free_port().context("there is no free port")?,
        };
        let lifecycle = RefCell::new(Lifecycle::begin());
        let nonce = digest::sha256(format!("{}{}", monotonic_ns()?, std::process::id()).as_bytes());
        let server_id = format!("{}-{}", candidate.candidate_id, &nonce[..8]);
        let folder = options.artifacts.join(slug(&server_id));
        private_folder(&folder)
            .map_err(|e| Error::new("cannot make the folder").because(e).at(folder.display().to_string()))?;
        for (name, text) in &candidate.server.files {
            if name.contains('/') || name.starts_with('.') || name.contains('\0') {
                return Err(Error::new(format!("{name:?} is not the name of an option file")));
            }
            create_private(&folder.join(name))?.write_all(text.as_bytes()).context("cannot write an option file")?;
        }
        let files = fs::canonicalize(&folder).context("cannot find the artifacts")?.display().to_string();
        let fill = |word: &String| word.replace("{port}", &port.to_string()).replace("{files}", &files);
        let argv: Vec<String> = candidate.server.argv.iter().map(fill).collect();
        let launcher = options.frameworks.launchers().get(&candidate.server.launcher);
        let launcher = launcher.ok_or_else(|| Error::new(format!("no launcher {:?}", candidate.server.launcher)))?;
        let devices = candidate.hardware.visible_devices.clone().or_else(|| {
            let count = candidate.hardware.gpu_count?;
            Some((0..count).map(|i| i.to_string()).collect::<Vec<_>>().join(","))
        });
        let client_port = if launcher.tunnel { proc::free_port().context("there is no free port")? } else { port };
        let (name, gpus) = (slug(&server_id), devices.as_deref());
        let start = Start { name: &name, port, tunnel_port: client_port, files: &files, gpus };
        let fill = Fill::new(&candidate.server, &argv, &start);
        let (argv, outside) = (launcher.start(&fill)?, launcher.outside(&fill)?);
        let attached = launcher.attached(&fill)?;
        let base_url = attached.clone().unwrap_or_else(|| format!("http://127.0.0.1:{client_port}"));
        let given = &candidate.server.env;
        let environment: Vec<(String, String)> =
            given.iter().filter_map(|(name, value)| Some((name.clone(), value.clone()?))).collect();
        let redactor = Redactor::new(std::env::vars().chain(environment.iter().cloned()));
        let log = folder.join("server.log");
        let artifacts = BTreeMap::from([("server_log".to_string(), log.display().to_string())]);
        Ok(Self {
            server_id,
            artifacts,
            argv,
            port,
            client_port,
            folder,
            log,
            redactor,
            environment,
            lifecycle,
            outside,
            base_url,
            reached_by: launcher.reached_by.clone(),
            attached: attached.is_some(),
        })
    }

    fn checked(self) -> Result<Self, Failed> {
        // The port of a server on another host is that host's affair.
        if self.attached || self.client_port != self.port || proc::port_is_free(self.port) {
            return Ok(self);
        }
        let owner = proc::listeners(self.port).first().map_or("another process".to_string(), proc::Process::label);
        let why = format!("port {} is taken by {owner}; nothing was killed: stop it, or leave out --port", self.port);
        Err(Failed { launch: Some(Box::new(self)), ..Failed::of("port_in_use", why) })
    }

    /// The argv without secrets, for the row.
    #[must_use]
    pub fn redacted_argv(&self) -> Vec<String> {
        if self.attached {
            return Vec::new();
        }
        // Redacted as one line, so that a flag still introduces its value, unless that would change the words.
        let joined = self.redactor.redact(&self.argv.join("\n"));
        let words: Vec<String> = joined.split('\n').map(|word| self.redactor.redact(word)).collect();
        if words.len() == self.argv.len() { words } else { vec!["[REDACTED:argv]".into()] }
    }

    /// The server enters a state, which may last as long as `limit`.
    pub fn enter(&self, state: State, limit: Option<Duration>) {
        self.lifecycle.borrow_mut().enter(state, limit);
    }

    /// The states so far.
    #[must_use]
    pub fn stages(&self) -> Vec<Stage> {
        self.lifecycle.borrow().stages()
    }

    /// The folder of this start's artifacts.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Starts the server and waits until it is ready.
    ///
    /// # Errors
    /// Why it never became ready; what was started is stopped by the caller, through [`Failed::child`].
    pub async fn ready(
        &self,
        candidate: &Candidate,
        framework: &Framework,
        options: &Options,
        interrupted: impl Future<Output = After>,
    ) -> Result<Ready, Failed> {
        tokio::pin!(interrupted);
        let patterns = Patterns::new(&framework.failures).map_err(|e| Failed::of("not_started", e.to_string()))?;
        let limit = options.ready_timeout.unwrap_or(Duration::from_secs(framework.probe.ready_timeout_s));
        let started = Instant::now();
        self.enter(State::Starting, Some(limit));
        let mut child = self.start(framework, options).await.map_err(|e| {
            Failed::of("not_started", format!("{e}; is {} installed and on the PATH?", framework.title))
        })?;
        self.enter(State::Probing, Some(limit));
        let client = Client::new(&self.base_url, Connections::PerRequest, Duration::from_secs(5), None)
            .map_err(|e| Failed::of("not_started", e.to_string()))?;
        let guard = child.guard;
        // Whoever listens for a server elsewhere need not be of our family: its launcher answers for it.
        let family = (self.outside.inspect.is_empty() && !self.attached).then_some(guard);
        let mut workers = Workers::new(&framework.workers).map_err(|e| Failed::of("not_started", e.to_string()))?;
        let mut looked = Looked { lines: 0, at: started };
        let failed = loop {
            let found = tokio::select! {
                biased;
                _ = child.ended() => break self.died(&mut child, &patterns).await,
                after = &mut interrupted => {
                    let why = "bench-serve was interrupted while the server started; run it again".to_string();
                    break Failed { after: Some(Box::new(after)), ..Failed::of("interrupted", why) };
                }
                found = probe::probe(&client, framework, &candidate.model, self.port, family) => found,
            };
            let last = match found {
                Found::Ready { model_id, simulated } => {
                    let ready = started.elapsed();
                    let version = probe::version(&client, framework).await;
                    return Ok(Ready { child, ready, model_id, simulated, version, patterns, workers });
                }
                Found::WrongModel { listed } => {
                    let why = format!(
                        "the server lists {} and not {:?}; give the served model's name",
                        listed.join(", "),
                        candidate.model
                    );
                    break Failed::of("wrong_model", why);
                }
                Found::Stranger { owner } => {
                    let why =
                        format!("port {} is answered by {owner}, which is not the server that was started", self.port);
                    break Failed::of("port_in_use", why);
                }
                Found::NotYet(why) => why,
            };
            if started.elapsed() > limit {
                let why = format!(
                    "not ready after {} s: {last}; see {} or give --ready-timeout",
                    limit.as_secs(),
                    self.log.display()
                );
                break Failed { status: Status::Timeout, ..Failed::of("not_ready", why) };
            }
            if let Some(failed) = self.fatal(&mut child, &patterns, &mut looked).await {
                break failed;
            }
            if let Some(worker) = workers.lost(guard) {
                break self.lost_worker(&mut child, &patterns, &worker, Phase::Starting).await;
            }
            tokio::time::sleep(PROBE_EVERY).await;
        };
        Err(Failed { child: Some(Box::new(child)), ..failed })
    }

    async fn start(&self, framework: &Framework, options: &Options) -> Result<Child> {
        let log = Log::new(Facts::new(&framework.facts)?);
        let files = Files::create(&self.log, options.log_limit)?;
        Child::start(&self.argv, &self.outside, &self.environment, files, self.redactor.clone(), log).await
    }
}

/// A name that any file system takes.
fn slug(text: &str) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() || "-_.".contains(c) { c.to_ascii_lowercase() } else { '_' };
    text.chars().map(plain).collect::<String>().trim_matches('.').to_string()
}
