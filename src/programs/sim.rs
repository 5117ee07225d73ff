//! bench-sim: a simulated OpenAI-compatible serving engine.

use std::process::ExitCode;
use std::time::Duration;

use crate::base::exit::ExitStatus;
use crate::flags::sim::Args;
use crate::sim::batch::EngineLimits;
use crate::sim::drafting::AcceptanceLaw;
use crate::sim::openai::EndpointLimits;
use crate::sim::step::StepTime;
use crate::sim::{SimSetup, serve};

/// Runs the program with the arguments of this process.
#[must_use]
pub fn main() -> ExitCode {
    super::run(|args: Args, notice| {
        let law =
            args.spec_acceptance_length.map_or(AcceptanceLaw::Chance(args.spec_acceptance), AcceptanceLaw::Length);
        let setup = SimSetup {
            address: args.host.clone(),
            port: args.port,
            served: EndpointLimits {
                model: args.served_model_name.clone().unwrap_or_else(|| args.model.clone()),
                max_model_len: args.max_model_len.into(),
                seed: args.seed,
            },
            limits: EngineLimits {
                max_num_seqs: usize::try_from(args.max_num_seqs).unwrap_or(usize::MAX),
                max_num_batched_tokens: args.max_num_batched_tokens.into(),
                chunked_prefill: args.enable_chunked_prefill,
                kv_capacity: args.kv_capacity(),
            },
            time: StepTime {
                base_us: args.step_base_us,
                prefill_token_us: args.prefill_token_us,
                decode_seq_us: args.decode_seq_us,
                kv_token_ns: args.kv_token_ns,
                draft_token_us: args.draft_token_us,
            },
            load: Duration::from_millis(args.load_ms),
            drafts: (args.spec_tokens > 0).then(|| (args.spec_tokens.into(), law)),
        };
        match serve(&setup, notice) {
            Ok(()) => Ok(ExitStatus::Done),
            // Like real engines, it exits with status 1 if it cannot start.
            Err(e) => {
                notice.plain(format!("{}: {e}", notice.program()));
                Ok(ExitStatus::No)
            }
        }
    })
}
