//! bench-serve: start each candidate's server, lease it, stop it completely.

use std::io::IsTerminal;
use std::path::PathBuf;
use std::process::ExitCode;

use crate::base::error::Result;
use crate::base::exit::ExitStatus;
use crate::base::notice::Notice;
use crate::base::shell;
use crate::engines::launcher::{LaunchTarget, Launchers, launch_command, server_command};
use crate::flags::serve::Args;
use crate::programs::stdio;
use crate::report::text::BIND;
use crate::rows::kinds::Candidate;
use crate::rows::row::Row;
use crate::serve::{EarlierStarts, ServeOptions, serve};
use crate::system::process::{affinity, guard, signals};

/// Runs the program with the arguments of this process.
#[must_use]
pub fn main() -> ExitCode {
    if let Some(done) = guard::run(std::env::args_os()) {
        return if done.is_ok() { ExitStatus::Done.into() } else { ExitStatus::Trouble.into() };
    }
    let mut signal: Option<signals::Signal> = None;
    let exit = super::run(|args: Args, notice| {
        if args.dry_run {
            return dry_run(&args, notice);
        }
        // The guard and the server run where this thread runs.
        let cpus = args.client_cpus.as_ref().map(affinity::keep_off).transpose();
        let cpus = cpus.map_err(|e| e.at("--client-cpus"))?;
        let earlier = earlier(&args.earlier, notice)?;
        let out = stdio::row_writer()?;
        let options = ServeOptions {
            frameworks: stdio::frameworks(args.frameworks.as_deref())?,
            artifacts: args.artifacts,
            caches: args.caches,
            port: args.port,
            ready_timeout: args.ready_timeout,
            lease_timeout: args.lease_timeout,
            grace: args.grace,
            holders: args.holders.into(),
            cpus,
            hold: args.chain.is_empty() && std::io::stdout().is_terminal(),
            chain: args.chain,
            attach: args.attach,
            give_up: args.give_up.0,
            gpu_probe: args.gpu_probe_cmd.map(|command| command.0).unwrap_or_default(),
            release_timeout: args.gpu_release_timeout,
            log_limit: args.log_limit << 20,
            budget: args.budget,
            smoke: args.smoke,
            api_key: std::env::var(&args.api_key_env).ok().filter(|key| !key.is_empty()),
        };
        let served = serve(Box::new(stdio::rows(&args.files, notice)), earlier, out, &options, notice)?;
        signal = served.signal;
        Ok(if options.smoke && !served.all_serve { ExitStatus::No } else { ExitStatus::Done })
    });
    if let Some(signal) = signal {
        signals::die_by(signal);
    }
    exit
}

/// The starts in raw rows of before.
fn earlier(paths: &[PathBuf], notice: &'static Notice) -> Result<EarlierStarts> {
    let mut starts = EarlierStarts::default();
    if paths.is_empty() {
        return Ok(starts);
    }
    let about_a_start = |line: &str| EarlierStarts::may_be(line).then(|| Row::parse(line)).transpose();
    for row in stdio::lines(paths, about_a_start, notice) {
        let (row, place) = row?;
        if let Err(e) = row.map_or(Ok(()), |row| starts.take(&row)) {
            notice.error(&e.at(place));
        }
    }
    Ok(starts)
}

/// The port in the commands of a dry run, if none is given.
const DRY_RUN_PORT: u16 = 8000;

/// A comment that names the candidate, and the command that would be started, quoted for a shell; where a launcher starts it,
/// after the server's own as a comment. Without --port the port is 8000.
fn lines(candidate: &Candidate, port: Option<u16>, launchers: &Launchers) -> Result<Vec<String>> {
    let (name, port) = (candidate.candidate_id.as_str(), port.unwrap_or(DRY_RUN_PORT).to_string());
    let (gpus, refused_limits) = (candidate.hardware.devices(), &[]);
    let target = LaunchTarget { name, port: &port, gpus: gpus.as_deref(), refused_limits };
    let server = server_command(&candidate.server, &port);
    let what = match candidate.search.baseline {
        true => "baseline".to_string(),
        false => shell::settings(&candidate.server.changed),
    };
    let title = shell::comment(&format!("{} {what} ({name})", candidate.framework));
    Ok(match launch_command(launchers, &candidate.server, &target)? {
        Some(launch) => vec![title, shell::comment(&format!("the server in it: {server}")), launch],
        None => vec![title, server],
    })
}

fn dry_run(args: &Args, notice: &'static Notice) -> Result<ExitStatus> {
    let (mut out, frameworks) = (stdio::row_writer()?, stdio::frameworks(args.frameworks.as_deref())?);
    let mut says_bind = false;
    for row in stdio::rows(&args.files, notice) {
        let (row, place) = row?;
        if row.record() != Some("candidate") {
            continue;
        }
        match row.view::<Candidate>() {
            Ok(candidate) if candidate.status.is_some() => {}
            Ok(candidate) => match lines(&candidate, args.port, frameworks.launchers()) {
                Ok(lines) => {
                    if !std::mem::replace(&mut says_bind, true) {
                        notice.say(BIND);
                    }
                    lines.iter().try_for_each(|line| out.write_line(line))?;
                }
                Err(e) => notice.error(&e.at(place)),
            },
            Err(e) => notice.error(&e.at(place)),
        }
    }
    Ok(ExitStatus::Done)
}
