//! bench-row(5) and bench-framework(5): what the schemas of rows and the table of keys say, as man pages. `BLESS=1` rewrites them.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs;

use serde_json::{Map, Value};

use crate::harness::root;

/// Text for a page: escaped, with what is between backticks in italics.
fn roff(text: &str) -> String {
    let text = text.replace('\\', "\\e").replace('-', "\\-").replace('\'', "\\(aq");
    let mut parts = text.split('`');
    let mut out = parts.next().unwrap_or_default().to_string();
    let rest: Vec<&str> = parts.collect();
    for (n, part) in rest.iter().enumerate() {
        match n % 2 == 0 && n + 1 < rest.len() {
            true => _ = write!(out, "\\fI{part}\\fR"),
            false => out.push_str(part),
        }
    }
    if out.starts_with('.') { format!("\\&{out}") } else { out }
}

/// The type of a member in words.
fn kind(schema: &Value) -> String {
    if let Some(name) = schema["$ref"].as_str() {
        return name.trim_start_matches("#/$defs/").to_string();
    }
    if let Some(any) = schema["anyOf"].as_array() {
        return any.iter().map(kind).collect::<Vec<_>>().join(" or ");
    }
    if let Some(value) = schema.get("const") {
        return value.to_string();
    }
    let types: Vec<&str> = match &schema["type"] {
        Value::String(one) => vec![one],
        Value::Array(all) => all.iter().filter_map(Value::as_str).collect(),
        _ => return "anything".into(),
    };
    let word = |name: &&str| match *name {
        "array" => format!("list of {}", kind(&schema["items"])),
        "object" if schema["additionalProperties"].is_object() => {
            format!("map of {}", kind(&schema["additionalProperties"]))
        }
        "object" => "map".into(),
        "integer" => "whole number".into(),
        other => other.to_string(),
    };
    types.iter().map(word).collect::<Vec<_>>().join(" or ")
}

/// The members of a map, or the words of a list of words.
fn members(page: &mut String, schema: &Value) {
    let required: Vec<&str> = schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    for (name, member) in schema["properties"].as_object().into_iter().flatten() {
        let absent = if required.contains(&name.as_str()) { "" } else { ", may be absent" };
        let facts = roff(&format!("{}{absent}", kind(member)));
        let _ = writeln!(page, ".TP\n.BR {} \" ({facts})\"", roff(name));
        let _ = writeln!(page, "{}", roff(member["description"].as_str().unwrap_or("No more to say.")));
    }
    for word in schema["oneOf"].as_array().into_iter().flatten() {
        let text = word["description"].as_str().unwrap_or_default();
        let _ = writeln!(page, ".TP\n.B {}\n{}", roff(word["const"].as_str().unwrap_or("-")), roff(text));
    }
}

fn head(page: &str, what: &str, text: &str) -> String {
    let name = roff(page);
    format!(
        ".TH {} 5 \"\" \"serving-bench\" \"serving-bench\"\n.SH NAME\n{name} \\- {what}\n.SH DESCRIPTION\n{text}\n",
        roff(&page.to_uppercase())
    )
}

const SEE: &str = ".SH \"SEE ALSO\"\n.BR bench (7),\n.BR bench\\-plan (5),\n";

fn rows() -> String {
    let mut page = head(
        "bench-row",
        "the rows of serving-bench: every kind with its members",
        "A row is one JSON object on one line. Its member\n.I record\nsays its kind. A program passes on members that it does not know. \
         A value that was not\nmeasured is absent or null, never 0. The JSON Schemas are in\n.IR configs/schemas .\n\
         .B bench\\-validate \\-\\-rows FILE\nchecks rows against them.\n.SH KINDS",
    );
    let folder = root().join("configs/schemas");
    let mut names: Vec<String> =
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.retain(|name| name != "plan-file.schema.json");
    names.sort();
    let mut types: BTreeMap<String, Value> = BTreeMap::new();
    for name in names {
        let text = fs::read_to_string(root().join("configs/schemas").join(&name)).unwrap();
        let mut schema: Value = serde_json::from_str(&text).unwrap();
        let _ = writeln!(page, ".SS {}", roff(name.split('.').next().unwrap()));
        let _ = writeln!(page, "{}", roff(schema["description"].as_str().unwrap_or_default()));
        schema["properties"]
            .as_object_mut()
            .unwrap()
            .retain(|key, _| !["schema_version", "record"].contains(&key.as_str()));
        members(&mut page, &schema);
        types.extend(schema["$defs"].as_object().cloned().unwrap_or(Map::new()));
    }
    page.push_str(".SH TYPES\n");
    for (name, schema) in types {
        let _ = writeln!(page, ".SS {}\n{}", roff(&name), roff(schema["description"].as_str().unwrap_or_default()));
        if let Some(examples) = schema["examples"].as_array() {
            let words: Vec<&str> = examples.iter().filter_map(Value::as_str).collect();
            let _ = writeln!(page, ".PP\n{}.", roff(&words.join(", ")));
        }
        members(&mut page, &schema);
    }
    page + SEE + ".BR bench\\-normalize (1)\n"
}

/// The rows of the first table behind a heading; a row without a key goes on with the one before.
fn table(text: &str, heading: &str) -> Vec<[String; 3]> {
    let rows = text.split(heading).nth(1).unwrap().lines().skip_while(|line| !line.starts_with("|---")).skip(1);
    let mut found: Vec<[String; 3]> = Vec::new();
    for line in rows.take_while(|line| line.starts_with('|')) {
        let cells: Vec<&str> = line.trim_start_matches('|').splitn(3, '|').map(str::trim).collect();
        let [key, kind, meaning] = [0, 1, 2].map(|n| cells.get(n).unwrap_or(&"").to_string());
        match found.last_mut().filter(|_| key.is_empty()) {
            Some(last) => {
                last[1] += &if kind.is_empty() { String::new() } else { format!(" {kind}") };
                last[2] += &format!(" {}", meaning.trim_end_matches('|').trim());
            }
            None => found.push([key, kind, meaning.trim_end_matches('|').trim().to_string()]),
        }
    }
    found
}

fn frameworks() -> String {
    let readme = fs::read_to_string(root().join("configs/frameworks/README.md")).unwrap();
    let mut page = head(
        "bench-framework",
        "the definition of a framework of serving-bench: every key with its type and meaning",
        "One YAML file holds everything that differs between serving frameworks. Those that are shipped are part of the programs;\n\
         .B \\-\\-frameworks DIR\nadds the files of a folder, and one with the name of a shipped definition replaces it. Unknown keys are\n\
         errors. A key without a default is required.",
    );
    page.push_str(".SH EXAMPLE\n.nf\n");
    let example = readme.split("```yaml\n").nth(1).unwrap().split("```").next().unwrap();
    example.lines().for_each(|line| _ = writeln!(page, "{}", roff(line)));
    page.push_str(".fi\n.SH KEYS\n");
    for [key, kind, meaning] in table(&readme, "\n## Keys\n") {
        let _ = writeln!(page, ".TP\n.B {}\n({}) {}", roff(&key.replace('`', "")), roff(&kind), roff(&meaning));
    }
    page + SEE + ".BR bench\\-validate (1)\n"
}

fn hold(name: &str, text: &str) {
    let path = root().join("man").join(name);
    if std::env::var_os("BLESS").is_some() {
        fs::write(&path, text).unwrap();
    }
    assert!(
        fs::read_to_string(&path).unwrap_or_default() == text,
        "man/{name} is out of date; run the tests once with BLESS=1"
    );
}

#[test]
fn the_page_of_rows_is_that_of_the_schemas() {
    let page = rows();
    assert!(
        page.contains(".SS result\n") && page.contains(".B pass_unconfirmed\n") && page.contains(".BR failure_reason ")
    );
    hold("bench-row.5", &page);
}

#[test]
fn the_page_of_frameworks_is_that_of_the_table() {
    let page = frameworks();
    assert!(page.matches("\n.TP\n").count() > 40 && page.contains(".B flags.booleans\n"), "{page}");
    hold("bench-framework.5", &page);
}
