//! bench-serve: start each candidate's server, lease it, stop it completely.

use std::io::IsTerminal;
use std::process::ExitCode;

use crate::base::error::Result;
use crate::base::exit::ExitStatus;
use crate::base::notice::Notice;
use crate::base::shell;
use crate::flags::serve::Args;
use crate::programs::stdio;
use crate::rows::kinds::Candidate;
use crate::serve::{ServeOptions, serve};
use crate::system::process::{guard, signals};

/// Runs the program with the arguments of this process.
#[must_use]
pub fn main() -> ExitCode {
    if let Some(done) = guard::run(std::env::args()) {
        return if done.is_ok() { ExitStatus::Done.into() } else { ExitStatus::Trouble.into() };
    }
    let mut signal: Option<signals::Signal> = None;
    let exit = super::run(|args: Args, notice| {
        if args.dry_run {
            return dry_run(&args, notice);
        }
        let out = stdio::row_writer()?;
        let options = ServeOptions {
            frameworks: stdio::frameworks(args.frameworks.as_deref())?,
            artifacts: args.artifacts,
            port: args.port,
            ready_timeout: args.ready_timeout,
            lease_timeout: args.lease_timeout,
            grace: args.grace,
            holders: args.holders.into(),
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
        let served = serve(Box::new(stdio::rows(&args.files, notice)), out, &options, notice)?;
        signal = served.signal;
        Ok(if options.smoke && !served.all_serve { ExitStatus::No } else { ExitStatus::Done })
    });
    if let Some(signal) = signal {
        signals::die_by(signal);
    }
    exit
}

/// The command that would be started, quoted for a shell.
fn command(candidate: &Candidate, port: Option<u16>) -> String {
    let fill = |word: &String| port.map_or_else(|| word.clone(), |port| word.replace("{port}", &port.to_string()));
    let argv: Vec<String> = candidate.server.argv.iter().map(fill).collect();
    let words =
        shell::assignments(&candidate.server.env).into_iter().chain(argv.iter().map(|word| shell::quote_open(word)));
    words.collect::<Vec<_>>().join(" ")
}

fn dry_run(args: &Args, notice: &'static Notice) -> Result<ExitStatus> {
    let mut out = stdio::row_writer()?;
    for row in stdio::rows(&args.files, notice) {
        let (row, place) = row?;
        if row.record() != Some("candidate") {
            continue;
        }
        match row.view::<Candidate>() {
            Ok(candidate) if candidate.status.is_some() => {}
            Ok(candidate) => out.write_line(&command(&candidate, args.port))?,
            Err(e) => notice.error(&e.at(place)),
        }
    }
    Ok(ExitStatus::Done)
}
