//! bench-sim: a simulated OpenAI-compatible serving engine.

use std::process::ExitCode;
use std::time::Duration;

use serving_bench::cli;
use serving_bench::cli::sim::Args;
use serving_bench::exit::Exit;
use serving_bench::sim::batch::Limits;
use serving_bench::sim::openai::Served;
use serving_bench::sim::step::StepTime;
use serving_bench::sim::{Setup, serve};

fn main() -> ExitCode {
    cli::run(|args: Args, notice| {
        let setup = Setup {
            address: args.host.clone(),
            port: args.port,
            served: Served {
                model: args.served_model_name.clone().unwrap_or_else(|| args.model.clone()),
                max_model_len: args.max_model_len.into(),
                seed: args.seed,
            },
            limits: Limits {
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
            },
            load: Duration::from_millis(args.load_ms),
        };
        match serve(&setup, notice) {
            Ok(()) => Ok(Exit::Done),
            // An engine that cannot start exits with 1, as engines do.
            Err(e) => {
                notice.plain(format!("{}: {e}", notice.program()));
                Ok(Exit::No)
            }
        }
    })
}
