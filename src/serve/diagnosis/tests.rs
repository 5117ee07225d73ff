//! Ends of logs after public issues, in `tests/fixtures/logs`.

use std::path::Path;

use serde::Deserialize;

use super::*;
use crate::base::yaml;
use crate::engines::diagnose::undressed;
use crate::engines::framework::Frameworks;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Ending {
    name: String,
    framework: Option<String>,
    #[serde(default = "starting")]
    phase: ServerPhase,
    exit: Option<i32>,
    signal: Option<i32>,
    class: Option<FailureClass>,
    says: Option<String>,
    log: String,
}

fn starting() -> ServerPhase {
    ServerPhase::Starting
}

#[test]
fn the_cause_is_told_from_the_log() {
    let frameworks = Frameworks::load(&[], &[]).unwrap();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/logs");
    let mut wrong = Vec::new();
    for name in ["vllm", "sglang", "tensorrt_llm", "llama_cpp", "tokenspeed", "wrappers"] {
        let text = std::fs::read_to_string(folder.join(format!("{name}.yaml"))).unwrap();
        for ending in yaml::typed::<Vec<Ending>>(&text, name).unwrap() {
            let framework = ending.framework.as_deref().unwrap_or(name);
            let patterns = FailurePatterns::new(&frameworks.get(framework).unwrap().failures).unwrap();
            wrong.extend(mistake(&ending, &patterns).map(|what| format!("{name}: {}: {what}", ending.name)));
        }
    }
    assert!(wrong.is_empty(), "{} told wrongly:\n{}", wrong.len(), wrong.join("\n"));
}

/// What is told wrongly about a server that ended, or about one that is alive and must stay so.
fn mistake(ending: &Ending, patterns: &FailurePatterns) -> Option<String> {
    let lines: Vec<String> = ending.log.lines().map(undressed).collect();
    let lines = || lines.iter().map(String::as_str);
    let Some(class) = &ending.class else {
        let over = patterns.start_is_over(lines()) || patterns.engine_is_dead(lines());
        return over.then(|| "it is healthy, and would be stopped".into());
    };
    let exit = Some(ProcessExit { code: ending.exit, signal: ending.signal });
    let end = ServerEnding { lines: lines(), exit, phase: ending.phase, oom_killer: false };
    let found = end.explained(patterns, FailureClass::ServerDied, "see server.log");
    let is_told = ending.says.as_ref().is_none_or(|says| found.reason.replace("\\\"", "\"").contains(says));
    (found.class != *class || !is_told)
        .then(|| format!("not {class}, {:?}: {}: {}", ending.says, found.class, found.reason))
}
