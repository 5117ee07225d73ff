//! bench-load: drive one workload against each leased server and record every request.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use crate::base::error::{Error, Result};
use crate::base::exit::ExitStatus;
use crate::base::notice::Notice;
use crate::flags::load::{Args, Itl};
use crate::load::check::read_reference;
use crate::load::request::RequestTimeouts;
use crate::load::{CheckOptions, LoadOptions, load};
use crate::programs::convert::convert;
use crate::programs::stdio;
use crate::programs::target::target;
use crate::programs::workload::entries;
use crate::rows::jsonl::RowPlace;
use crate::rows::kinds::Check;
use crate::rows::row::Row;
use crate::system::meeting::{Meeting, MeetingSettings};
use crate::system::process::{affinity, bound, signals};

const CONNECT: Duration = Duration::from_secs(10);

/// Runs the program with the arguments of this process.
#[must_use]
pub fn main() -> ExitCode {
    if let Some(failed) = bound::run(std::env::args_os()) {
        Notice::new("bench-load", false).error(&failed);
        return ExitStatus::Trouble.into();
    }
    let mut signal = None;
    let exit = super::run(|args: Args, notice| {
        let frameworks = stdio::frameworks(args.frameworks.as_deref())?;
        if args.convert {
            convert(&args, &frameworks, notice)?;
            return Ok(ExitStatus::Done);
        }
        // Before any thread starts: threads run where the one runs that starts them.
        args.client_cpus.as_ref().map_or(Ok(()), affinity::run_on).map_err(|e| e.at("--client-cpus"))?;
        let out = stdio::row_writer()?;
        let meeting = meeting(&args)?.map(|settings| Meeting::join(&settings, notice)).transpose()?;
        let options = LoadOptions {
            frameworks,
            limits: RequestTimeouts { ttft: args.ttft_timeout, idle: args.idle_timeout, total: args.timeout },
            connect_timeout: CONNECT,
            full: args.itl == Itl::Full,
            api_key: std::env::var(&args.api_key_env).ok().filter(|key| !key.is_empty()),
            headers: if args.url.is_some() { Vec::new() } else { args.headers()? },
            client: args.client.clone(),
            shard: args.shard,
            meeting,
            attempts: args.attempts,
            cpus: args.client_cpus.clone(),
            jobs: args.jobs.into(),
            is_copy: args.copy,
            threads: args.threads(),
            read_dataset: entries,
            check: check(&args, notice)?,
        };
        signal = match target(&args, notice)? {
            Some(target) => {
                let meeting = options.meeting.as_ref().map(|meeting| meeting.id.as_str());
                let (row, end) = target.rows(CONNECT, options.api_key.as_deref(), meeting)?;
                let place = RowPlace { name: "--url".into(), line: 0 };
                load(Box::new([Ok((row, place.clone())), Ok((end, place))].into_iter()), out, &options, notice)?
            }
            None => {
                load(Box::new(stdio::rows(if args.copy { &[] } else { &args.files }, notice)), out, &options, notice)?
            }
        };
        Ok(ExitStatus::Done)
    });
    if let Some(signal) = signal {
        signals::die_by(signal);
    }
    exit
}

/// Where clients on several hosts meet.
fn meeting(args: &Args) -> Result<Option<MeetingSettings>> {
    let Some(shard) = args.shard else { return Ok(None) };
    let (Some(address), Some(secret)) = (&args.meet, &args.meet_secret) else {
        return match args.url {
            Some(_) => {
                Err(Error::new("clients that share the load of a --url meet at an address: add --meet HOST:PORT"))
            }
            None => Ok(None),
        };
    };
    let (address, secret) = (address.clone(), secret.clone());
    Ok(Some(MeetingSettings { address, secret, limit: args.meet_timeout, shard }))
}

/// What the command line says of the check of answers.
fn check(args: &Args, notice: &'static Notice) -> Result<CheckOptions> {
    let path = |path: &PathBuf| path.to_string_lossy().into_owned();
    let reference = args.reference.as_ref().map(|file| read_reference(&path(file))).transpose()?;
    Ok(CheckOptions {
        candidates: args.check,
        questions: args.check_questions,
        file: args.check_file.as_ref().map(path),
        max_tokens: args.check_max_tokens,
        reference: reference.unwrap_or_default(),
        earlier: (!args.earlier.is_empty()).then(|| earlier(&args.earlier, notice)).transpose()?,
    })
}

/// The references in raw rows of before.
fn earlier(paths: &[PathBuf], notice: &'static Notice) -> Result<Vec<Check>> {
    let mut found = Vec::new();
    let of_a_check = |line: &str| line.contains("\"record\":\"check\"").then(|| Row::parse(line)).transpose();
    for row in stdio::lines(paths, of_a_check, notice) {
        let (Some(row), place) = row? else { continue };
        match row.view::<Check>() {
            Ok(row) => found.extend(row.reference.then_some(row)),
            Err(e) => notice.error(&e.at(place)),
        }
    }
    Ok(found)
}
