//! Laws of the whole page: nothing from a row becomes markup, and every number in a drawing is finite.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::html;
use crate::rank::{CapacityDemand, Intake, RankOptions, rank};
use crate::report::Report;

/// The tags that this module writes.
const TAGS: &[&str] = &[
    "html",
    "head",
    "meta",
    "title",
    "style",
    "body",
    "header",
    "h1",
    "h2",
    "h3",
    "nav",
    "ul",
    "li",
    "a",
    "main",
    "section",
    "article",
    "p",
    "span",
    "wbr",
    "strong",
    "b",
    "small",
    "div",
    "button",
    "pre",
    "code",
    "dl",
    "dt",
    "dd",
    "table",
    "caption",
    "thead",
    "tbody",
    "tr",
    "th",
    "td",
    "details",
    "summary",
    "figure",
    "figcaption",
    "svg",
    "g",
    "defs",
    "pattern",
    "rect",
    "path",
    "circle",
    "text",
    "desc",
    "script",
];
/// The attributes that this module writes.
const ATTRIBUTES: &[&str] = &[
    "lang",
    "charset",
    "http-equiv",
    "content",
    "name",
    "id",
    "class",
    "href",
    "role",
    "aria-label",
    "aria-hidden",
    "tabindex",
    "type",
    "hidden",
    "open",
    "scope",
    "data-v",
    "title",
    "viewBox",
    "width",
    "height",
    "x",
    "y",
    "cx",
    "cy",
    "r",
    "d",
    "patternUnits",
    "patternTransform",
];

/// Reads a whole page: every tag is one of ours, has only our attributes, and is closed in its place.
fn scan(page: &str) -> Result<Vec<String>, String> {
    let mut rest = page.strip_prefix("<!DOCTYPE html>").ok_or("no doctype")?;
    let (mut open, mut all) = (Vec::<String>::new(), Vec::new());
    while let Some(at) = rest.find('<') {
        rest = &rest[at + 1..];
        let end = rest.find('>').ok_or("a tag without end")?;
        let (tag, after) = (&rest[..end], &rest[end + 1..]);
        rest = after;
        if let Some(name) = tag.strip_prefix('/') {
            if open.pop().as_deref() != Some(name) {
                return Err(format!("</{name}> closes nothing"));
            }
            continue;
        }
        let (tag, closed) = tag.strip_suffix('/').map_or((tag, false), |tag| (tag, true));
        let (name, mut attributes) = tag.split_once(' ').unwrap_or((tag, ""));
        if !TAGS.contains(&name) {
            return Err(format!("<{name}>"));
        }
        while !attributes.is_empty() {
            let end = attributes.find([' ', '=']).unwrap_or(attributes.len());
            let (attribute, more) = attributes.split_at(end);
            if !ATTRIBUTES.contains(&attribute) {
                return Err(format!("{attribute} of <{name}>"));
            }
            let more = match more.strip_prefix("=\"") {
                Some(value) => value.split_once('"').ok_or("a value without end")?.1,
                None => more,
            };
            attributes = more.trim_start();
        }
        if name == "style" || name == "script" {
            rest = rest.split_once(&format!("</{name}>")).ok_or("no end of a style or script")?.1;
        } else if !closed && !["meta", "wbr"].contains(&name) {
            open.push(name.to_string());
        }
        all.push(name.to_string());
    }
    if open.is_empty() { Ok(all) } else { Err(format!("left open: {open:?}")) }
}

fn page(rows: &[Value], options: RankOptions) -> String {
    let mut intake = Intake::new(options);
    let entries = rows.iter().filter_map(|row| intake.line(&row.to_string()).expect("a row")).collect();
    let ranking = rank(entries, &intake);
    html(&Report { ranking: &ranking, demand: CapacityDemand::default(), handoff: "vllm", unfinished: None })
}

/// A row with content for every section.
fn row(i: u32, metrics: &Value, text: &str) -> Value {
    json!({"record": "result", "framework": format!("{text}{}", i % 2), "framework_version": text, "candidate_id": format!("{text}{i}"), "model": text,
        "status": if i == 3 { "oom" } else { "ok" }, "failure_class": text, "failure_reason": text,
        "hardware": {"gpu_model": text, "gpu_count": 2, "driver": text},
        "workload": {"scenario": text, "request_rate": f64::from(1 + i), "input_len": 10.0, "output_len": 5.0, "endpoint": text, "dataset_path": text},
        "sla": {"max_p99_ttft_ms": 50.0, "max_mean_tpot_ms": 9.0}, "metrics": metrics, "statistics": {"ttft_ms": {"n": 3, "min": 1.0, "max": 90.0}},
        "server_command": format!("serve --x {text}"), "benchmark_command": text,
        "candidate": {"changed": if i == 0 { json!({}) } else { json!({format!("k{text}"): text, "n": i}) }, "baseline": i == 0, "index": i, "of": 9,
            "never_tried": {text: [text]}},
        "run": {"run_id": text, "server_id": format!("{text}{}", i % 3), "repeat": 0, "client": text, "unit": format!("u{i}"),
            "started_at": format!("2026-03-01T12:00:0{}Z", i % 9), "ended_at": "2026-03-01T12:00:09Z"},
        "environment": {"image": text}, "caveats": [text], "substitutions": [{"framework": text, "knob": text, "reason": text}],
        "artifacts": {"server_log": text}, "fingerprint": {"client": text}})
}

fn full() -> Value {
    json!({"request_throughput": 3.5, "output_token_throughput": 70.0, "mean_ttft_ms": 20.0, "p50_ttft_ms": 18.0, "p90_ttft_ms": 30.0,
        "p95_ttft_ms": 35.0, "p99_ttft_ms": 44.0, "mean_tpot_ms": 8.0, "p99_tpot_ms": 12.0, "success_rate": 1.0})
}

/// Text of somebody who wants the page to run or load something.
fn hostile() -> impl Strategy<Value = String> {
    let bits = [
        "<script>alert(1)</script>",
        "\" onload=\"x",
        "' onclick='x",
        "--><img src=x>",
        "</style>",
        "</title>",
        "&#60;b&#62;",
        "</code></pre>",
        "\u{202e}",
        "javascript:x",
        "]]>",
        "`",
        " --",
        "<",
        ">",
    ];
    proptest::collection::vec(
        prop_oneof![proptest::sample::select(bits.to_vec()).prop_map(String::from), ".{0,6}"],
        0..4,
    )
    .prop_map(|parts| parts.concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn nothing_of_a_row_is_markup(text in hostile()) {
        let rows: Vec<Value> = (0..5).map(|i| row(i, &full(), &text)).collect();
        let weights = vec![(text.clone(), 1.0)];
        let tags = scan(&page(&rows, RankOptions { weights, ..RankOptions::default() }));
        let tags = tags.map_err(TestCaseError::fail)?;
        for once in ["script", "style"] {
            prop_assert_eq!(tags.iter().filter(|tag| *tag == once).count(), 1);
        }
    }

    #[test]
    fn no_drawing_has_a_number_that_is_none(
        values in proptest::collection::vec(proptest::option::of(prop_oneof![any::<f64>(), -1e3..1e6, Just(0.0)]), 40)
    ) {
        let names: Vec<String> = full().as_object().into_iter().flatten().map(|(name, _)| name.clone()).collect();
        let rows: Vec<Value> = values.chunks(10).zip(0..).map(|(values, i)| {
            let metrics: serde_json::Map<String, Value> =
                names.iter().cloned().zip(values.iter().map(|v| json!(v.filter(|v| v.is_finite())))).collect();
            row(i, &metrics.into(), "a")
        }).collect();
        let page = page(&rows, RankOptions::default());
        scan(&page).map_err(TestCaseError::fail)?;
        for svg in page.split("<svg").skip(1) {
            let svg = svg.split("</svg>").next().unwrap_or_default();
            prop_assert!(!svg.contains("NaN") && !svg.contains("inf"), "{}", svg);
        }
    }
}

#[test]
fn every_section_is_there_and_asks_for_nothing() {
    let rows: Vec<Value> = (0..5).map(|i| row(i, &full(), "vllm")).collect();
    let page = page(&rows, RankOptions { weights: vec![("vllm".into(), 1.0)], ..RankOptions::default() });
    let sections = [
        "decision", "combined", "ranking", "timeline", "workload", "hardware", "raw", "capacity", "commands", "tried",
        "files", "caveats",
    ];
    for id in sections {
        assert!(page.contains(&format!("<section id=\"{id}\">")) && page.contains(&format!("href=\"#{id}\"")), "{id}");
    }
    for plot in [
        "Throughput against latency.",
        "Interactivity (tok/s/user) vs. throughput per GPU",
        "Time to the first token.",
        "SLA headroom.",
        "Effect of each knob.",
    ] {
        assert!(page.contains(plot), "{plot}");
    }
    // The policy allows no source, and no attribute contains an address.
    assert!(page.contains("default-src 'none'") && !page.contains("src=\"") && !page.contains("href=\"http"));
    assert!(page.contains("<span class=\"w\">--x</span> vllm</code>"));
}

#[test]
fn a_failure_alone_is_reported() {
    let page = page(&[row(3, &json!({}), "x")], RankOptions::default());
    assert!(scan("<!DOCTYPE html><p><img></p>").is_err() && scan("<!DOCTYPE html><p onclick=\"x\"></p>").is_err());
    assert!(page.contains("No result: the only candidate") && !page.contains("id=\"ranking\""));
    assert!(scan(&page).is_ok());
}

#[test]
fn smoke_tests_and_simulations_have_their_labels() {
    let mut of = row(0, &full(), "x");
    of["quality"] = json!({"smoke": true, "simulated": true});
    let page = page(&[of], RankOptions::default());
    for words in
        ["Smoke test, not a benchmark</span>", "Simulated engine</span>", "not a recommendation", "class=\"banner\""]
    {
        assert!(page.contains(words), "{words}");
    }
}
