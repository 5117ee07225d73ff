//! bench-serve: start each candidate's server, lease it, stop it completely.

use std::io::IsTerminal;
use std::process::ExitCode;

use serving_bench::cli::serve::Args;
use serving_bench::cli::{self, streams};
use serving_bench::error::Result;
use serving_bench::exit::Exit;
use serving_bench::notice::Notice;
use serving_bench::process::{guard, signals};
use serving_bench::schema::Candidate;
use serving_bench::server::{Options, serve};
use serving_bench::shell;

fn main() -> ExitCode {
    if let Some(done) = guard::run(std::env::args()) {
        return if done.is_ok() { Exit::Done.into() } else { Exit::Trouble.into() };
    }
    let mut signal: Option<signals::Signal> = None;
    let exit = cli::run(|args: Args, notice| {
        if args.dry_run {
            return dry_run(&args, notice);
        }
        let out = streams::row_writer()?;
        let options = Options {
            frameworks: streams::frameworks(args.frameworks.as_deref())?,
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
        let served = serve(streams::rows(&args.files, notice), out, &options, notice)?;
        signal = served.signal;
        Ok(if options.smoke && !served.all_serve { Exit::No } else { Exit::Done })
    });
    if let Some(signal) = signal {
        signals::die_by(signal);
    }
    exit
}

/// What would be started, as a shell reads it.
fn command(candidate: &Candidate, port: Option<u16>) -> String {
    let fill = |word: &String| port.map_or_else(|| word.clone(), |port| word.replace("{port}", &port.to_string()));
    let argv: Vec<String> = candidate.server.argv.iter().map(fill).collect();
    let words =
        shell::assignments(&candidate.server.env).into_iter().chain(argv.iter().map(|word| shell::quote_open(word)));
    words.collect::<Vec<_>>().join(" ")
}

fn dry_run(args: &Args, notice: &'static Notice) -> Result<Exit> {
    let mut out = streams::row_writer()?;
    for row in streams::rows(&args.files, notice) {
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
    Ok(Exit::Done)
}
