//! The pages for people: their commands are run as they are written, on bench-sim.
//!
//! A block ```` ```sh ```` is run, all blocks of a page in one folder; one that begins with `# needs …` asks for what a test does not
//! have, so only its syntax is checked here (and its flags in `docs.rs`).

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use serving_bench::rows::words::{Stage, Status, Verdict};
use serving_bench::system::process::proc::free_port;

use crate::docs::pages;
use crate::harness::{Mark, Output, bash, bin_dir, fixtures, json_lines, root, run, scratch, skipped};

/// In which what a page started in the background has ended.
const SOON: Duration = Duration::from_secs(20);
/// Sizes of the pages, and those of the tests.
const SHORTER: [(&str, &str); 8] = [
    ("--max-num-seqs 32 ", "--max-num-seqs 32 --step-base-us 300 "),
    ("chat=1000:200", "chat=16:4"),
    ("--qps 1:32 --sla max_p99_ttft_ms=500", "--qps 40:60 --sla max_p50_ttft_ms=500"),
    ("--check --url", "--check --check-questions 16 --url"),
    ("--users 1:64", "--users 1:2"),
    // The sweep of eight GPUs is only shown; what follows it goes by the results of another one.
    (
        "bench-sweep plan.yaml --fit 8h",
        "bench-sweep plan.yaml --fit 8h --dry-run\nbench-sweep quickstart --out results/plan",
    ),
    ("bench-expand plan.yaml --from", "bench-expand quickstart.yaml --from"),
    ("--top 2 --repeats 2..3", "--top 1 --repeats 1"),
];
/// Waits for the server of a page.
const READY: &str = "until { exec 3<> /dev/tcp/127.0.0.1/8000 && printf 'GET /health HTTP/1.0\r\n\r\n' >&3 && grep -q ' 200 ' <&3; } \
                     2> /dev/null; do sleep 0.05; done\n";
/// `quickstart` in the folder of a page: the same candidates with less load. A file comes before the plan of this name.
const SMALLER: [(&str, &str); 4] = [
    ("num_prompts: 20", "num_prompts: 4"),
    ("input_len: [128, 768]", "input_len: [16, 32]"),
    ("max_concurrency: [4, 16]", "max_concurrency: [4]"),
    ("request_rates: [16]", "seed: 1"),
];
/// One conversation.
pub const SHAREGPT: &str = r#"[{"conversations": [{"from": "human", "value": "Name three rivers."}, {"from": "gpt", "value": "Elbe, Oder, Spree."}]}]"#;

/// `text` with each of the first texts replaced by the second.
pub fn replaced(text: &str, pairs: &[(&str, &str)]) -> String {
    pairs.iter().fold(text.to_string(), |text, (from, to)| text.replace(from, to))
}

/// The blocks of shell commands of a page.
pub fn blocks(page: &str) -> Vec<String> {
    let mut blocks: Vec<String> = Vec::new();
    let mut inside = false;
    for line in page.lines() {
        match line {
            "```sh" => {
                inside = true;
                blocks.push(String::new());
            }
            "```" => inside = false,
            line if inside => *blocks.last_mut().unwrap() += &format!("{line}\n"),
            _ => {}
        }
    }
    blocks
}

/// Whether a test runs it.
pub fn is_run(block: &str) -> bool {
    !block.starts_with("# needs ")
}

/// A page's commands as one script. A server in the background is waited for.
fn script(page: &str, port: u16) -> String {
    let mut script = String::from("set -xeo pipefail\ntrap 'kill $(jobs -p) || true' EXIT\n");
    for line in blocks(page).iter().filter(|block| is_run(block)).flat_map(|block| block.lines()) {
        script += &format!("{line}\n");
        if line.split(" #").next().is_some_and(|command| command.trim_end().ends_with(" &")) {
            script += READY;
        }
    }
    replaced(&script, &SHORTER).replace("8000", &port.to_string())
}

/// The quickstart with less load.
pub fn smaller_quickstart() -> String {
    let quickstart = fs::read_to_string(root().join("configs/quickstart.yaml")).unwrap();
    assert!(SMALLER.iter().all(|(from, _)| quickstart.contains(from)), "a size of the quickstart has changed");
    replaced(&quickstart, &SMALLER)
}

/// The host of a reader: engines that serve with bench-sim, GPUs, and a smaller quickstart.
pub fn reader_host(folder: &Path) {
    for name in ["quickstart", "quickstart.yaml"] {
        fs::write(folder.join(name), smaller_quickstart()).unwrap();
    }
    fs::create_dir(folder.join("gpus")).unwrap();
    for program in ["gpus/nvidia-smi", "vllm", "python"] {
        symlink(fixtures().join("host"), folder.join(program)).unwrap();
    }
}

/// In the folder of a reader, with its programs before those of this package.
pub fn in_folder<'a>(command: &'a mut Command, folder: &Path) -> &'a mut Command {
    let path = std::env::var("PATH").unwrap_or_default();
    let mut path = format!("{}:{}:{path}", folder.display(), bin_dir().display());
    // GPUs only where they are looked at: with them, each stop of a server is two seconds longer.
    let looks = |text: &str| ["--slots", "--doctor", "--preflight"].iter().any(|flag| text.contains(flag));
    if command.get_args().any(|text| looks(&text.to_string_lossy())) {
        path = format!("{}/gpus:{path}", folder.display());
    }
    // All readers have the same GPUs, which the programs lock.
    command.env("PATH", path).env("XDG_RUNTIME_DIR", folder).current_dir(folder)
}

/// Runs a page's commands in a folder with what its reader has.
fn run_page(name: &str, folder: &Path) -> Output {
    let page = fs::read_to_string(root().join(name)).unwrap();
    reader_host(folder);
    fs::write(folder.join("ShareGPT.json"), SHAREGPT).unwrap();
    let port = free_port().unwrap();
    let mark = Mark::new("page");
    let mut command = bash(&script(&page, port));
    let done = run(mark.put(in_folder(&mut command, folder)), "").expect(0);
    mark.gone_within(SOON);
    done
}

#[test]
fn the_commands_of_the_readme() {
    let folder = scratch();
    let done = run_page("README.md", folder.path());
    assert!(done.stdout.contains("Fastest in this smoke test"), "{}", done.stdout);
    assert!(folder.path().join("results/quickstart/report.html").is_file());
}

#[test]
fn the_commands_by_hand() {
    let folder = scratch();
    run_page("docs/by-hand.md", folder.path());
    assert!(fs::read_to_string(folder.path().join("report.md")).unwrap().contains("sim_swift"));
    assert!(fs::read_to_string(folder.path().join("report.html")).unwrap().contains("</html>"));
    assert!(fs::read_to_string(folder.path().join("raw.jsonl")).unwrap().contains("run_end"));
}

#[test]
fn the_commands_of_the_runbooks() {
    let folder = scratch();
    run_page("docs/runbooks.md", folder.path());
    assert!(fs::read_to_string(folder.path().join("regression.md")).unwrap().contains("sim_swift"));
}

/// True, with a note, if jq is missing.
pub fn lacks_jq() -> bool {
    let missing = Command::new("jq").arg("--version").output().is_err();
    if missing {
        skipped("jq is not installed");
    }
    missing
}

#[test]
fn the_commands_of_the_tutorial() {
    if lacks_jq() {
        return;
    }
    let folder = scratch();
    run_page("docs/tutorial.md", folder.path());
    let read = |name: &str| fs::read_to_string(folder.path().join(name)).unwrap();
    let smoke = json_lines(&read("smoke.jsonl"));
    let started = smoke.iter().filter(|row| row["record"] == "server_end" && row["smoke"]["ok"] == 6);
    assert_eq!(started.count(), 2, "{smoke:#?}");
    assert!(read("commands.sh").contains("vllm serve Qwen/Qwen3-32B"), "{}", read("commands.sh"));
    assert!(read("decision.md").contains("sim_swift") && read("regression.md").contains("sim_swift"));
}

#[test]
fn the_commands_of_the_skill() {
    if lacks_jq() {
        return;
    }
    let folder = scratch();
    let done = run_page("SKILL.md", folder.path());
    assert!(done.stdout.contains("\"why\": [") && done.stdout.contains("\"next\": ["), "{}", done.stdout);
    let page = fs::read_to_string(root().join("SKILL.md")).unwrap();
    assert!(page.starts_with("---\nname: serving-bench\ndescription: "), "what an agent reads first");
}

#[test]
fn the_glossary_has_the_words_of_the_rows() {
    let glossary = fs::read_to_string(root().join("docs/glossary.md")).unwrap();
    let words = Status::ALL.iter().map(|word| word.as_str());
    let words = words.chain(Verdict::ALL.iter().map(|word| word.as_str()));
    for word in words.chain(Stage::ALL.iter().map(|word| word.as_str())) {
        assert!(glossary.contains(&format!("`{word}`")), "{word}");
    }
    // CONTRIBUTING lists the words of which there is one per thing.
    let contributing = fs::read_to_string(root().join("CONTRIBUTING.md")).unwrap();
    let list = contributing.split("- One word per thing: ").nth(1).unwrap().split('.').next().unwrap();
    for word in list.split(';').flat_map(|part| part.split(',')).map(str::trim) {
        assert!(glossary.contains(&format!("| {word} |")) || glossary.contains(word), "{word}");
    }
    let terms: Vec<&str> = glossary.lines().filter_map(|line| line.strip_prefix("| ")?.split(" |").next()).collect();
    let mut sorted = terms[1..].to_vec();
    sorted.sort_by_key(|term| term.to_lowercase());
    assert_eq!(terms[1..], sorted, "in the order of the alphabet");
}

#[test]
fn every_page_with_commands_is_run_and_the_rest_is_shell() {
    let tested = ["README.md", "SKILL.md", "by-hand.md", "runbooks.md", "tutorial.md"];
    let mut seen = 0;
    for path in pages() {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let blocks = blocks(&fs::read_to_string(&path).unwrap());
        let runs = blocks.iter().any(|block| is_run(block));
        assert_eq!(runs, tested.contains(&name.as_str()), "{name}: a test above has to run it");
        for block in blocks.iter().filter(|block| !is_run(block)) {
            run(bash(&format!("set -n\n{block}")).current_dir("/"), "").expect(0);
            seen += 1;
        }
    }
    assert!(seen > 5, "only {seen} blocks were found");
}

#[test]
fn the_readme_fits_on_a_few_screens_and_its_links_lead_somewhere() {
    let readme = fs::read_to_string(root().join("README.md")).unwrap();
    assert!(readme.lines().count() <= 150, "{} lines", readme.lines().count());
    for path in pages() {
        let page = fs::read_to_string(&path).unwrap();
        let links = page.split("](").skip(1).map(|rest| rest.split(')').next().unwrap_or_default());
        for link in links.filter(|link| !link.contains("://") && !link.is_empty()) {
            let (file, heading) = link.split_once('#').unwrap_or((link, ""));
            let target = if file.is_empty() { path.clone() } else { path.parent().unwrap().join(file) };
            let leads = target.exists() && (heading.is_empty() || has_heading(&target, heading));
            assert!(leads, "{}: {link} does not exist", path.display());
        }
    }
}

/// True if a page has the heading to which `#name` leads.
fn has_heading(page: &Path, name: &str) -> bool {
    let page = fs::read_to_string(page).unwrap();
    let headings =
        page.lines().filter_map(|line| line.strip_prefix('#')).map(|line| line.trim_start_matches('#').trim());
    let as_name = |heading: &str| -> String {
        let kept = heading.chars().filter(|c| c.is_alphanumeric() || " -_".contains(*c));
        kept.collect::<String>().to_lowercase().replace(' ', "-")
    };
    headings.into_iter().any(|heading| as_name(heading) == name)
}
