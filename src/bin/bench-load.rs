//! bench-load: drive one workload against each leased server and record every request.

use std::process::ExitCode;
use std::time::Duration;

use serving_bench::cli::convert::convert;
use serving_bench::cli::load::{Args, Itl};
use serving_bench::cli::workload::entries;
use serving_bench::cli::{self, streams};
use serving_bench::exit::Exit;
use serving_bench::jsonl::Place;
use serving_bench::load::{Options, load};
use serving_bench::process::signals;

const CONNECT: Duration = Duration::from_secs(10);

fn main() -> ExitCode {
    let mut signal = None;
    let exit = cli::run(|args: Args, notice| {
        let frameworks = streams::frameworks(args.frameworks.as_deref())?;
        if args.convert {
            convert(&args, &frameworks, notice)?;
            return Ok(Exit::Done);
        }
        let out = streams::row_writer()?;
        let options = Options {
            frameworks,
            limits: args.limits(),
            connect_timeout: CONNECT,
            full: args.itl == Itl::Full,
            api_key: std::env::var(&args.api_key_env).ok().filter(|key| !key.is_empty()),
            headers: if args.url.is_some() { Vec::new() } else { args.headers()? },
            client: args.client.clone(),
            shard: args.shard,
            read_dataset: entries,
        };
        signal = match args.target(notice)? {
            Some(target) => {
                let (row, end) = target.rows(CONNECT, options.api_key.as_deref())?;
                let place = Place { name: "--url".into(), line: 0 };
                load(vec![Ok((row, place.clone())), Ok((end, place))].into_iter(), out, &options, notice)?
            }
            None => load(streams::rows(&args.files, notice), out, &options, notice)?,
        };
        Ok(Exit::Done)
    });
    if let Some(signal) = signal {
        signals::die_by(signal);
    }
    exit
}
