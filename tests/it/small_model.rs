//! Checks of answers with a real engine and a small real model: the same weights are `same`, damaged ones `worse`.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::Value;
use serving_bench::system::process::proc::free_port;

use crate::harness::{finish, fixtures, program, root, scratch, skipped, wait_until};

/// A folder of an engine or a model: the one that a variable names, otherwise one in engines/.
fn installed(variable: &str, name: &str, file: &str) -> Option<PathBuf> {
    let given = std::env::var_os(variable).map(PathBuf::from);
    let folder = given.unwrap_or_else(|| root().join("engines").join(name));
    if !folder.join(file).exists() {
        skipped(&format!("no {name}: scripts/engines/{name} engines/{name} installs it"));
        return None;
    }
    Some(folder)
}

/// A llama.cpp server of one model file, stopped at the end.
struct LlamaServer {
    child: Child,
    url: String,
}

impl LlamaServer {
    fn start(engine: &Path, model: &Path) -> Self {
        let port = free_port().unwrap().to_string();
        let mut command = Command::new(engine.join("bin/llama-server"));
        command.arg("--model").arg(model).args(["--host", "127.0.0.1", "--port", &port, "--parallel", "4"]);
        command.args(["--ctx-size", "4096", "--threads", "1", "--no-webui"]);
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let server = Self { child, url: format!("http://127.0.0.1:{port}") };
        let answers = || {
            let mut probe = Command::new("bash");
            let script = format!(
                "exec 3<>/dev/tcp/127.0.0.1/{port} && printf 'GET /health HTTP/1.0\\r\\n\\r\\n' >&3 && head -1 <&3 | grep -q 200"
            );
            probe
                .args(["-c", &script])
                .stderr(Stdio::null())
                .status()
                .is_ok_and(|status| status.success())
                .then_some(())
        };
        wait_until(Duration::from_secs(120), answers).expect("llama-server becomes ready");
        server
    }

    /// The row of the answers, with the verdict; and all rows.
    fn check(&self, more: &[&str]) -> (Value, String) {
        // What a model of this size knows: it cannot add.
        let questions = fixtures().join("questions/general.jsonl");
        let args = ["--check", "--url", &self.url, "--check-max-tokens", "32", "--check-file"];
        let mut command = program("bench-load");
        let command = command.args(args).arg(questions).args(more).stdin(Stdio::null());
        let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        // On a busy machine a damaged model, which ends no answer by itself, takes its time.
        let done = finish(child, Duration::from_secs(600)).expect(0);
        let own = |row: &Value| row["part"] == "answers" && row["reference"] != true;
        let row = done.records("check").into_iter().find(own).unwrap_or_else(|| panic!("{}", done.stderr));
        // For who reads the output of a test that passes.
        let _ = write!(std::io::stderr(), "{}", done.stderr);
        (row, done.stdout)
    }
}

impl Drop for LlamaServer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
#[ignore = "some minutes with a real engine and a real model"]
fn the_same_weights_are_the_same_and_damaged_ones_worse() {
    let Some(engine) = installed("BENCH_LLAMA_CPP", "llama-cpp", "bin/llama-server") else { return };
    let Some(model) = installed("BENCH_SMALL_MODEL", "small-model", "q8_0.gguf") else { return };
    let folder = scratch();
    let file = folder.path().join("q8_0.jsonl");
    let own = LlamaServer::start(&engine, &model.join("q8_0.gguf"));
    let (row, rows) = own.check(&[]);
    assert_eq!(row["verdict"], "same", "{row:#}");
    std::fs::write(&file, &rows).unwrap();
    drop(own);
    assert!(rows.contains("\"copied\":"), "{rows}");
    let reference = ["--reference", file.to_str().unwrap()];
    // Fewer bits may or may not lose questions: whatever it says, it is a verdict with numbers.
    let (row, _) = LlamaServer::start(&engine, &model.join("q4_0.gguf")).check(&reference);
    assert!(["same", "worse"].iter().any(|verdict| row["verdict"] == *verdict), "{row:#}");
    let (row, _) = LlamaServer::start(&engine, &model.join("damaged.gguf")).check(&reference);
    assert_eq!(row["verdict"], "worse", "{row:#}");
}
