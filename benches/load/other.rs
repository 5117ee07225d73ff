//! SGLang's Rust client beside bench-load, where it is installed: `BENCH_SGLANG` names the Python that has it.
//!
//! Its extension is loaded without the package around it, whose import alone takes longer than a run.

use std::process::Command;

use serde_json::{Value, json};

use super::children::{Ran, Server, run};

/// Loads the extension and passes the arguments on; what it prints goes to standard error, its result to standard output.
const LOADER: &str = r#"
import glob, importlib.util, os, sys
folder = importlib.util.find_spec("sglang").submodule_search_locations[0]
path = glob.glob(os.path.join(folder, "srt", "rust_extensions", "_bench.*.so"))[0]
spec = importlib.util.spec_from_file_location("_bench", path)
module = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)
out = os.dup(1)
os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
result = module.run_argv(["sglang-bench"] + sys.argv[1:])
with open(sys.argv[sys.argv.index("--output-file") + 1]) as lines:
    os.write(out, lines.readline().encode())
"#;

/// The client, if it is installed.
pub struct OtherClient(String);

impl OtherClient {
    pub fn find() -> Option<Self> {
        std::env::var("BENCH_SGLANG").ok().map(Self)
    }

    /// One run against the server: 100 tokens in, `tokens` out.
    pub fn load(&self, server: &Server, requests: usize, tokens: usize, args: &[&str]) -> Ran {
        let folder = tempfile::tempdir().unwrap();
        let mut command = Command::new(&self.0);
        command.current_dir(folder.path()).args(["-c", LOADER, "--backend", "sglang-oai", "--base-url", &server.url]);
        command.args([
            "--model",
            "truth",
            "--dataset-name",
            "random-ids",
            "--tokenize-prompt",
            "--vocab-size",
            "30000",
        ]);
        command.args(["--random-input-len", "100", "--random-range-ratio", "1", "--disable-tqdm", "--output-details"]);
        command.args(["--disable-retokenize", "--random-output-len", &tokens.to_string()]);
        command.args(["--num-prompts", &requests.to_string(), "--output-file", "result.jsonl"]).args(args);
        let mut ran = run(&mut command, server);
        // As bench-load's rows would say it.
        let result = ran.rows.remove(0);
        let ttfts = result["ttfts"].as_array().cloned().unwrap_or_default();
        ran.rows.push(json!({"duration_s": result["duration"], "chunks": result["total_output_tokens"]}));
        ran.rows.extend(ttfts.iter().map(|ttft| row(ttft.as_f64().unwrap_or(f64::NAN))));
        ran
    }
}

/// A request of which only the time from the sending to the first token is known, s.
fn row(ttft: f64) -> Value {
    json!({"phase": "measured", "status": "ok", "sent_us": 0.0, "first_token_us": ttft * 1e6})
}
