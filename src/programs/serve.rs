//! bench-serve: start each candidate's server, lease it, stop it completely.

use std::io::IsTerminal;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use crate::base::error::{Error, Result};
use crate::base::exit::ExitStatus;
use crate::base::notice::Notice;
use crate::base::shell;
use crate::base::slots::SlotDevices;
use crate::engines::launcher::{LaunchTarget, Launchers, launch_command, server_command};
use crate::flags::serve::{Args, GiveUp, ServerArgs};
use crate::programs::stdio;
use crate::report::text::BIND;
use crate::rows::kinds::Candidate;
use crate::rows::row::Row;
use crate::serve::{EarlierStarts, ServeOptions, SlotPlan, serve};
use crate::system::process::{affinity, bound, guard, signals};

/// Runs the program with the arguments of this process.
#[must_use]
pub fn main() -> ExitCode {
    if let Some(done) = guard::run(std::env::args_os()) {
        return if done.is_ok() { ExitStatus::Done.into() } else { ExitStatus::Trouble.into() };
    }
    if let Some(failed) = bound::run(std::env::args_os()) {
        Notice::new("bench-serve", false).error(&failed);
        return ExitStatus::Trouble.into();
    }
    let mut signal: Option<signals::Signal> = None;
    let exit = super::run(|args: Args, notice| {
        if args.dry_run {
            return dry_run(&args, notice);
        }
        let args = if args.copy.is_some() { of_a_copy(args) } else { args };
        let slots = slots(&args)?;
        // The guard and the server run where this thread runs.
        let cpus = args.client_cpus.as_ref().map(affinity::keep_off).transpose();
        let cpus = cpus.map_err(|e| e.at("--client-cpus"))?;
        let earlier = earlier(&args.earlier, notice)?;
        let out = stdio::row_writer()?;
        let options = ServeOptions {
            frameworks: stdio::frameworks(args.frameworks.as_deref())?,
            slots,
            artifacts: args.artifacts,
            caches: args.caches,
            port: args.port,
            ready_timeout: args.server.ready_timeout,
            lease_timeout: args.lease_timeout + Duration::from_secs(args.copy.unwrap_or(0)),
            grace: args.server.grace,
            holders: args.holders.into(),
            cpus,
            hold: args.chain.is_empty() && std::io::stdout().is_terminal(),
            chain: args.chain,
            attach: args.attach,
            give_up: args.server.give_up.0,
            gpu_probe: args.gpus.gpu_probe_cmd.map(|command| command.0).unwrap_or_default(),
            release_timeout: args.server.gpu_release_timeout,
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

/// The arguments of a copy that serves the candidates of one slot: it gets them on standard input, and what they have in common is
/// the business of the program that started it.
fn of_a_copy(args: Args) -> Args {
    let (files, earlier) = (Vec::new(), Vec::new());
    let server = ServerArgs { give_up: GiveUp(None), ..args.server };
    Args { files, earlier, slots: None, slot_cpus: None, budget: None, server, ..args }
}

/// The slots of servers that run at the same time.
fn slots(args: &Args) -> Result<Option<SlotPlan>> {
    let Some(slots) = args.slots.clone() else { return Ok(None) };
    if args.chain.is_empty() && std::io::stdout().is_terminal() {
        return Err(Error::new("--slots needs bench-load --jobs behind it, or a program after --"));
    }
    let cpus = args.slot_cpus.clone();
    if let Some(cpus) = &cpus {
        let (n, needed) = (cpus.slots().len(), slots.slots().len());
        if n != needed {
            return Err(Error::new(format!("--slot-cpus has {n} sets, and --slots {needed}")));
        }
        let lists = cpus.slots().iter().map(SlotDevices::cpus).collect::<std::result::Result<Vec<_>, _>>();
        let lists = lists.map_err(|why| Error::new(why).at("--slot-cpus"))?;
        let client = args.client_cpus.as_ref();
        if let Some(both) = client.and_then(|client| lists.iter().find(|list| list.without(client) != **list)) {
            return Err(Error::new(format!("the slot with CPUs {both} has some of --client-cpus")));
        }
    }
    Ok(Some(SlotPlan { slots, cpus }))
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
