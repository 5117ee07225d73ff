//! `bench-load --url`: what the command line asks of a running server, without a pipeline.

use super::workload;
use crate::base::error::{Error, Result};
use crate::base::notice::Notice;
use crate::flags::load::{Args, Rate};
use crate::load::target::Target;
use crate::rows::kinds::{Benchmark, CachePolicy, CheckSettings, Load, LoadMode, Members, Scenario};
use crate::rows::words::{Arrivals, CheckScope};

/// Requests in flight of a check without a workload.
const CHECK_CONCURRENCY: u32 = 16;

/// The server and load of --url; `None` without it.
///
/// # Errors
/// When the command line names no workload or no load, or a file cannot be read.
pub fn target(args: &Args, notice: &Notice) -> Result<Option<Target>> {
    let Some(url) = &args.url else { return Ok(None) };
    let scenarios = workload::scenarios(&args.workload, notice)?;
    let mut loads = loads(args, &scenarios)?;
    let check = args.check.filter(|servers| *servers != CheckScope::None);
    let mut settings = check.map(CheckSettings::of);
    if let Some(settings) = settings.as_mut().filter(|_| scenarios.is_empty()) {
        // The check alone, at one concurrency.
        let ([] | [Load { mode: LoadMode::Closed, concurrency: Some(_), .. }]) = &loads[..] else {
            return Err(Error::new(
                "a check without a workload takes one --concurrency: add --scenario chat=1000:200, or leave the load out",
            ));
        };
        settings.in_flight = Some(loads.first().and_then(|load| load.concurrency).unwrap_or(CHECK_CONCURRENCY));
        settings.candidates = CheckScope::All;
        loads.clear();
    } else if scenarios.is_empty() || loads.is_empty() {
        return Err(Error::new(
            "name a workload and a load: --scenario chat=1000:200 or --dataset FILE, and --concurrency 8, --rate 4, \
             --qps 1:32, --users 1:64 or --burst",
        ));
    }
    let mut extra: Members = serde_json::from_str(&args.extra_body)
        .map_err(|e| Error::new("--extra-body is not a JSON object").because(e))?;
    // Without it each server would use its own default.
    extra.entry("temperature").or_insert(0.into());
    let rows = scenarios.iter().filter_map(|s| s.dataset.as_ref().filter(|d| !d.prefix_reuse)).map(|d| d.rows).min();
    let num_prompts = args.num_prompts.unwrap_or(80.min(rows.unwrap_or(80)));
    Ok(Some(Target {
        url: url.clone(),
        model: args.model.clone(),
        framework: args.framework.clone(),
        scenarios,
        loads,
        benchmark: Benchmark {
            endpoint: args.endpoint,
            num_prompts,
            duration_s: None,
            warmup_requests: args.warmup,
            warmup_s: args.warmup_s.map(|warmup| warmup.as_secs_f64()),
            seed: args.seed,
            ignore_eos: !args.no_ignore_eos,
            extra_request_body: extra,
            whole_answers: args.no_stream,
            continuous_usage: args.continuous_usage,
            headers: args.headers()?.into_iter().collect(),
            cache: if args.reset_cache { CachePolicy::Reset } else { CachePolicy::UniquePrompts },
            smoke: num_prompts <= 20,
        },
        check: settings,
        sla: args.sla.iter().map(|(key, value)| (key.clone(), (*value).into())).collect(),
    }))
}

fn loads(args: &Args, scenarios: &[Scenario]) -> Result<Vec<Load>> {
    let own = workload::own_rate(scenarios);
    let arrivals = args.arrivals.filter(|kind| *kind != Arrivals::Poisson);
    let paced = arrivals == Some(Arrivals::Trace) || args.rate.contains(&Rate::Trace);
    if paced && own.is_none() {
        return Err(Error::new("`trace` requires a --dataset in which every row has a timestamp"));
    }
    if arrivals.is_some() && args.rate.is_empty() && args.qps.is_none() {
        return Err(Error::new("--arrivals applies to an open loop only: add --rate or --qps"));
    }
    let open = |rate, arrivals| Load { rate, arrivals, cap: args.cap, ..Load::default() };
    let mut loads: Vec<Load> = Vec::new();
    for rate in &args.rate {
        loads.push(match rate {
            Rate::Of(rate) => open(Some(*rate), arrivals),
            Rate::Trace => open(own, Some(Arrivals::Trace)),
        });
    }
    loads.extend(args.qps.iter().map(|qps| Load { qps: Some(*qps), arrivals, ..Load::default() }));
    let closed = |n: &u32| Load { mode: LoadMode::Closed, concurrency: Some(*n), ..Load::default() };
    loads.extend(args.users.iter().map(|users| Load {
        mode: LoadMode::Closed,
        users: Some(*users),
        ..Load::default()
    }));
    loads.extend(args.concurrency.iter().map(closed));
    loads.extend(args.burst.then(|| Load { mode: LoadMode::Burst, ..Load::default() }));
    Ok(loads)
}
