//! From a candidate row to a start: port, folder, option files, the command with all that its launchers add.

use std::cell::{Cell, OnceCell, RefCell};
use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::caches::CacheFolder;
use super::failure::CandidateFailure;
use super::launch_commands::{COMMAND_LIMIT, LaunchCommands, text_of};
use super::lifecycle::Lifecycle;
use super::options::ServeOptions;
use super::private_file::create_private;
use super::ranks::RankPatterns;
use crate::base::cpus::CpuList;
use crate::base::error::{Context, Error, Result};
use crate::base::redact::Redactor;
use crate::base::{digest, redact, shell};
use crate::engines::framework::Framework;
use crate::engines::launcher::{LaunchTarget, LauncherChain, ResourceLimit, StartValues, launch_command, resolve};
use crate::rows::kinds::{Artifacts, Candidate, LifecycleStage, ServerState, Smoke};
use crate::rows::words::FailureClass;
use crate::rows::words::{ReachedBy, StartKind};
use crate::system::lease::{monotonic_ns, private_folder};
use crate::system::process::kernel_log::KernelLog;
use crate::system::process::{cgroup, proc};
use crate::system::secret_file;

/// The shortest time between two questions to a launcher on which host a server is.
const LOCATE_EVERY: Duration = Duration::from_secs(1);

/// A start, successful or not: everything that is fixed before the server runs.
#[derive(Debug)]
pub struct Launch {
    /// New for every start.
    pub server_id: String,
    /// Files of this start.
    pub artifacts: Artifacts,
    /// What is executed, with the real port and paths.
    pub argv: Vec<String>,
    /// The argv as rows and artifacts show it: a `${NAME}` of the plan stays a name.
    shown: Vec<String>,
    /// The port that was chosen for the server.
    pub port: u16,
    /// The port of this host at which clients reach the server: differs from `port` only with a tunnel.
    pub client_port: u16,
    folder: PathBuf,
    pub(super) log: PathBuf,
    /// Number of processes of this control group that the kernel's OOM killer had killed before this start.
    pub(super) oom_kills: Option<u64>,
    /// The kernel's log since then.
    pub(super) kernel_log: Option<KernelLog>,
    redactor: Redactor,
    pub(super) environment: Vec<(String, String)>,
    lifecycle: RefCell<Lifecycle>,
    smoke: RefCell<Option<Smoke>>,
    /// The commands of its launchers and framework beside the start itself.
    pub commands: LaunchCommands,
    /// Where clients reach the server, once that is known.
    base_url: OnceCell<String>,
    /// When its launcher was last asked on which host it is.
    located: Cell<Option<Instant>>,
    /// How its log tells the ranks of several nodes apart.
    pub(super) ranks: Option<RankPatterns>,
    /// How clients reach the server.
    pub reached_by: ReachedBy,
    /// The server was already running (`--attach`).
    pub attached: bool,
    /// The command to deploy through its launchers, where it is not the candidate's: some limits could not be raised.
    pub launch_command: Option<String>,
    /// The CPUs that it gets, where it does not get all.
    pub cpus: Option<String>,
    /// What it finds of earlier starts, if that is kept.
    pub start: Option<StartKind>,
    /// Where it is kept.
    caches: Option<CacheFolder>,
}

impl Launch {
    /// Chooses the port, creates the folder, writes the option files, builds the command; `cpus` are those of the server if not all.
    ///
    /// # Errors
    /// When no port is free, a file cannot be written, or the command names an unset environment variable.
    pub(super) fn prepare(
        candidate: &Candidate,
        options: &ServeOptions,
        refused_limits: &[ResourceLimit],
        caches: Option<CacheFolder>,
        cpus: Option<CpuList>,
    ) -> Result<Self> {
        let with_caches = caches.as_ref().map(|caches| caches.given_to(&candidate.server));
        let server = with_caches.as_ref().unwrap_or(&candidate.server);
        let port = match options.port {
            Some(port) => port,
            None => proc::free_port().context("no free port found")?,
        };
        let lifecycle = RefCell::new(Lifecycle::begin());
        let nonce = digest::sha256(format!("{}{}", monotonic_ns()?, std::process::id()).as_bytes());
        let server_id = format!("{}-{}", candidate.candidate_id, &nonce[..8]);
        let folder = options.artifacts.join(slug(&server_id));
        private_folder(&folder)
            .map_err(|e| Error::new("cannot create the folder").because(e).at(folder.display().to_string()))?;
        for (name, text) in &candidate.server.files {
            if name.contains('/') || name.starts_with('.') || name.contains('\0') {
                return Err(Error::new(format!("{name:?} is not the name of an option file")));
            }
            create_private(&folder.join(name))?.write_all(text.as_bytes()).context("cannot write an option file")?;
        }
        let files = fs::canonicalize(&folder).context("cannot find the artifacts")?.display().to_string();
        let named: Vec<String> =
            candidate.server.argv.iter().map(|word| word.replace("{port}", &port.to_string())).collect();
        let argv = named.iter().map(|word| expand_references(word)).collect::<Result<Vec<String>>>()?;
        let launchers = options.frameworks.launchers();
        let devices = candidate.hardware.devices();
        let tunnel = resolve(launchers, &candidate.server.launcher)?.iter().any(|launcher| launcher.tunnel);
        let client_port = if tunnel { proc::free_port().context("no free port found")? } else { port };
        let leader_port = proc::free_port().context("no free port found")?;
        let (name, gpus, owner) = (slug(&server_id), devices.as_deref(), proc::owner());
        let tunnel_port = client_port;
        let cpus = cpus.as_ref().map(ToString::to_string);
        let start = StartValues {
            name: &name,
            port,
            tunnel_port,
            files: &files,
            gpus,
            gpu_count: candidate.gpus.or(candidate.hardware.gpu_count),
            leader_port,
            cpus: cpus.as_deref(),
            owner: &owner,
            refused_limits,
        };
        let chain = LauncherChain::new(launchers, server, &argv, &start)?;
        for (name, text) in chain.documents()? {
            create_private(&folder.join(name))?.write_all(text.as_bytes()).context("cannot write a launcher's file")?;
        }
        let shown = LauncherChain::new(launchers, server, &named, &start)?.start;
        let framework = options.frameworks.get(&candidate.server.definition);
        // Help and version are asked of the program that serves, if the framework knows it.
        let beside = |framework: &Framework, command: &[String]| match framework.alike(&candidate.server.argv, command)
        {
            Some(command) => Ok::<_, Error>(chain.beside(&command)?.unwrap_or_default()),
            None => Ok(Vec::new()),
        };
        let help = framework.into_iter().flat_map(|f| f.help.iter().map(move |help| (f, help)));
        let help = help.map(|(framework, help)| beside(framework, &help.command));
        let commands = LaunchCommands {
            facts: chain.fact_queries()?,
            images: chain.images()?,
            leftovers: chain.leftovers()?,
            outside: chain.outside()?,
            help: help.collect::<Result<Vec<_>>>()?.into_iter().filter(|command| !command.is_empty()).collect(),
            version: framework.map(|f| beside(f, &f.version.command)).transpose()?.unwrap_or_default(),
            address: chain.address()?,
            is_here: chain.is_here(),
        };
        // The command to deploy is without what forces an acceptance length, which this one has.
        let is_forced = candidate.speculation.as_ref().is_some_and(|own| !own.forced_by.is_empty());
        let launch_command = match (refused_limits, framework) {
            ([], _) | (_, None) => None,
            _ if is_forced => None,
            (_, Some(framework)) => {
                let (name, port) = (candidate.candidate_id.as_str(), framework.default_port.to_string());
                let target = LaunchTarget { name, port: &port, gpus, refused_limits };
                launch_command(launchers, &candidate.server, &target)?
            }
        };
        let (attached, reached_by) = (chain.attached()?, chain.reached_by());
        let base_url = match &attached {
            Some(url) => OnceCell::from(url.clone()),
            None if commands.address.is_empty() => OnceCell::from(format!("http://127.0.0.1:{client_port}")),
            None => OnceCell::new(),
        };
        let ranks = chain.over_nodes().map(RankPatterns::new).transpose()?;
        let variables = server.env.iter();
        let environment: Vec<(String, String)> =
            variables.filter_map(|(name, value)| Some((name.clone(), value.clone()?))).collect();
        secret_file::hide(&redact::files_of_command(&chain.start));
        let redactor = Redactor::clone(&redact::redactor());
        let redactor = redactor.with_environment(environment.iter().cloned()).with_command(&chain.start);
        let log = folder.join("server.log");
        let path = |name: &str| folder.join(name).display().to_string();
        let artifacts = BTreeMap::from([("server_log", "server.log"), ("manifest", "manifest.json")]);
        let artifacts = artifacts.into_iter().map(|(role, name)| (role.to_string(), path(name))).collect();
        Ok(Self {
            server_id,
            artifacts,
            argv: chain.start,
            shown,
            port,
            client_port,
            folder,
            log,
            oom_kills: cgroup::oom_kills(),
            kernel_log: KernelLog::from_now(),
            redactor,
            environment,
            lifecycle,
            smoke: RefCell::default(),
            commands,
            base_url,
            located: Cell::default(),
            ranks,
            reached_by,
            attached: attached.is_some(),
            launch_command,
            cpus,
            start: caches.as_ref().map(CacheFolder::start),
            caches,
        })
    }

    /// True if the server is on a host that bench-serve does not start it on itself: its ports and GPUs are not those of this one.
    #[must_use]
    pub fn is_elsewhere(&self) -> bool {
        self.attached || !self.commands.address.is_empty()
    }

    /// Where clients reach the server; empty as long as that is not known.
    #[must_use]
    pub fn base_url(&self) -> &str {
        self.base_url.get().map_or("", String::as_str)
    }

    /// Asks the launcher on which host the server is, if that is not known yet.
    ///
    /// # Errors
    /// Why it is not known.
    pub(super) async fn locate(&self) -> Result<&str, String> {
        if self.base_url.get().is_none() {
            let unknown = || "its launcher has not started it on any host yet".to_string();
            // The answer comes from a scheduler, which others use too.
            if self.located.get().is_some_and(|last| last.elapsed() < LOCATE_EVERY) {
                return Err(unknown());
            }
            let said = text_of(&self.commands.address, &self.environment, COMMAND_LIMIT).await;
            self.located.set(Some(Instant::now()));
            let host = said.as_deref().and_then(|text| text.split_whitespace().next()).ok_or_else(unknown)?;
            // An address of IPv6 stands in brackets.
            let host = if host.contains(':') { format!("[{host}]") } else { host.to_string() };
            let _ = self.base_url.set(format!("http://{host}:{}", self.port));
        }
        Ok(self.base_url())
    }

    /// Checks that the server's port is free.
    ///
    /// # Errors
    /// `port_in_use`, with the process that listens.
    pub fn check_port(&self) -> Result<(), CandidateFailure> {
        // The port of a server on another host cannot be checked here.
        if self.is_elsewhere() || self.client_port != self.port || proc::port_is_free(self.port) {
            return Ok(());
        }
        let owner = proc::listeners(self.port).first().map_or("another process".to_string(), proc::Process::label);
        let why = format!("port {} is in use by {owner}; stop that process, or omit --port", self.port);
        Err(CandidateFailure::new(FailureClass::PortInUse, why))
    }

    /// The argv without secrets, for the row.
    #[must_use]
    pub fn redacted_argv(&self) -> Vec<String> {
        if self.attached { Vec::new() } else { self.shown_argv() }
    }

    /// The command that was executed, without secrets.
    pub(super) fn shown_argv(&self) -> Vec<String> {
        self.redact(&self.shown)
    }

    /// A command without secrets.
    pub(super) fn redact(&self, argv: &[String]) -> Vec<String> {
        // Redacted as one text, so that a flag still introduces its value, unless that would change the number of words.
        let joined = self.redactor.redact(&argv.join("\n"));
        let words: Vec<String> = joined.split('\n').map(|word| self.redactor.redact(word)).collect();
        if words.len() == argv.len() { words } else { vec!["[REDACTED:argv]".into()] }
    }

    /// Removes secrets from this start's texts.
    pub(super) fn redactor(&self) -> &Redactor {
        &self.redactor
    }

    /// Records that the server enters a state, which may last as long as `limit`.
    pub fn enter(&self, state: ServerState, limit: Option<Duration>) {
        self.lifecycle.borrow_mut().enter(state, limit);
    }

    /// The states so far.
    #[must_use]
    pub fn stages(&self) -> Vec<LifecycleStage> {
        self.lifecycle.borrow().stages()
    }

    /// Records that what it compiled is there for the next start.
    pub(super) fn has_served(&self) {
        self.caches.iter().for_each(CacheFolder::has_served);
    }

    /// Records the result of the smoke test.
    pub(super) fn set_smoke(&self, result: Smoke) {
        self.smoke.replace(Some(result));
    }

    /// The result of the smoke test, if there was one.
    pub(super) fn smoke(&self) -> Option<Smoke> {
        self.smoke.borrow().clone()
    }

    /// The folder of this start's artifacts.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }
}

/// Replaces each `${NAME}` by the value of the environment variable: a plan names secrets like this.
fn expand_references(word: &str) -> Result<String> {
    let mut out = word.to_string();
    for name in shell::references(word) {
        let value = std::env::var(&name).map_err(|_| {
            Error::new(format!("environment variable {name} is not set, and the command uses ${{{name}}}"))
        })?;
        out = out.replace(&format!("${{{name}}}"), &value);
    }
    Ok(out)
}

/// A name that every file system accepts.
fn slug(text: &str) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() || "-_.".contains(c) { c.to_ascii_lowercase() } else { '_' };
    text.chars().map(plain).collect::<String>().trim_matches('.').to_string()
}
