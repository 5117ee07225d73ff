//! Reads a file of rows.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

use super::shapes::{RowParts, parts, role, text_of};
use super::talk::talk;
use super::trace::trace;
use super::{DatasetEntry, Prompt, container, estimate};
use crate::rows::jsonl::quote_bare;
use crate::rows::row::parse_value;

/// How to read a file.
#[derive(Default)]
pub struct ReadOptions<'a> {
    /// Output tokens of rows that do not specify them.
    pub output_len: Option<u32>,
    /// What every requested framework accepts besides text: `images`, `tools`.
    pub takes: BTreeSet<String>,
    /// Read every turn of a conversation as a row, and the conversation as a session.
    pub turns: bool,
    /// Counts the tokens of a text; if absent, they are estimated.
    pub count: Option<&'a dyn Fn(&str) -> u32>,
}

/// The rows of a file.
#[derive(Debug, Default)]
pub struct DatasetFile {
    /// Rows that can be sent.
    pub entries: Vec<DatasetEntry>,
    /// Number of skipped rows by the reason.
    pub skipped: BTreeMap<String, u32>,
    /// Lines that are not JSON: line number from 1, and the error.
    pub broken: Vec<(usize, String)>,
    /// Number of rows by the name of their format.
    pub shapes: BTreeMap<&'static str, u32>,
}

/// Reads a file: JSON lines, or one JSON array.
#[must_use]
pub fn read(text: &str, options: &ReadOptions) -> DatasetFile {
    let mut read = lines(text, options);
    if read.entries.iter().all(|entry| entry.timestamp.is_some()) {
        read.entries.sort_by(|a, b| a.timestamp.unwrap_or(0.0).total_cmp(&b.timestamp.unwrap_or(0.0)));
    }
    read
}

fn lines(text: &str, options: &ReadOptions) -> DatasetFile {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut read = DatasetFile::default();
    if text.trim_start().starts_with('[')
        && let Ok(Value::Array(rows)) = row(text)
    {
        rows.into_iter().for_each(|row| read.add(row, options));
        return read;
    }
    if let Some((head, separator)) = columns(text) {
        let (rows, broken) = super::csv::rows(text, separator);
        rows.into_iter().for_each(|row| read.add(row, options));
        read.broken = broken;
        if read.entries.is_empty() {
            let why = format!(
                "this is CSV with the columns {head}, and none of its rows can be sent: name the column of the prompt `prompt`, or convert the file to one JSON object per line"
            );
            read.broken = vec![(1, why)];
        }
        return read;
    }
    let mut rows = Vec::new();
    for (number, line) in (1..).zip(text.lines()).filter(|(_, line)| !line.trim().is_empty()) {
        match row(line) {
            Ok(row) => rows.push(row),
            Err(e) => read.broken.push((number, e.to_string())),
        }
    }
    if rows.is_empty() && !read.broken.is_empty() {
        (rows, read.broken) = container::values(text);
    }
    container::unwrapped(rows).into_iter().for_each(|row| read.add(row, options));
    read
}

/// A row, also with Python's bare words: a row whose score is NaN still has a good prompt.
fn row(text: &str) -> crate::base::error::Result<Value> {
    parse_value(text).or_else(|e| parse_value(&quote_bare(text)).map_err(|_| e))
}

/// The names of a CSV file's columns, and what separates them; `None` for JSON.
fn columns(text: &str) -> Option<(String, u8)> {
    let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    let head = lines.next()?;
    let separator = [',', '\t', ';'].into_iter().find(|c| head.contains(*c))?;
    let json = |line: &str| line.starts_with(['{', '[', '"']) && parse_value(line).is_ok();
    let columns = head.split(separator).count();
    // A quoted field may have several lines, and separators.
    let first: Vec<&str> = lines.take(3).collect();
    let quoted = head.starts_with('"') || first.iter().any(|line| line.contains('"'));
    let alike = first.iter().all(|line| (quoted || line.split(separator).count() >= columns) && !json(line));
    let named =
        head.split(separator).all(|name| name.trim_matches(['"', ' ']).len() <= 40 && !name.contains(['{', ':']));
    let names = || head.split(separator).map(|name| name.trim_matches(['"', ' '])).collect::<Vec<_>>().join(", ");
    #[allow(clippy::cast_possible_truncation, reason = "one of three ASCII characters")]
    (columns > 1 && alike && named).then(|| (names(), separator as u8))
}

impl DatasetFile {
    fn add(&mut self, row: Value, options: &ReadOptions) {
        let Value::Object(row) = row else { return self.skip("not a JSON object".into()) };
        let row = trace(talk(row));
        let id = row.get("id").or(row.get("custom_id")).map(|id| id.as_str().map_or(id.to_string(), String::from));
        let rows =
            if options.turns { turns(row, id.unwrap_or_else(|| format!("{}", self.entries.len()))) } else { vec![row] };
        for row in rows {
            match parts(row).and_then(|parts| self.entry(parts, options)) {
                Ok(entry) => self.entries.push(entry),
                Err(why) => self.skip(why),
            }
        }
    }

    fn skip(&mut self, why: String) {
        *self.skipped.entry(why).or_default() += 1;
    }

    fn entry(&mut self, parts: RowParts, options: &ReadOptions) -> Result<DatasetEntry, String> {
        if let Some(need) = parts.needs.iter().find(|need| !options.takes.contains(**need)) {
            return Err(format!("has {need}, which not all requested frameworks are known to accept"));
        }
        let tokens = |text: &str| options.count.map_or_else(|| estimate(text), |count| count(text));
        let prompt = match &parts.prompt {
            Prompt::Text(text) => Some(tokens(text)),
            Prompt::Messages(messages) => Some(messages.iter().map(|m| tokens(&text_of(&m["content"]))).sum()),
            Prompt::Blocks(_) => None,
        };
        let input_len = parts.input_len.or(prompt).ok_or("has hash_ids but no input_length")?;
        let answer = parts.answer.as_deref().filter(|answer| !answer.is_empty());
        let output_len = parts.output_len.or(answer.map(tokens)).or(options.output_len);
        let output_len = output_len.ok_or("has no output length: set one with --output-len")?;
        let counted = parts.input_len.is_some() || options.count.is_some();
        let known = parts.output_len.is_some() || options.count.is_some() || answer.is_none();
        *self.shapes.entry(parts.shape).or_default() += 1;
        Ok(DatasetEntry {
            prompt: parts.prompt,
            output_len,
            input_len,
            estimated: !counted || !known,
            extra: parts.extra,
            session: parts.session,
            timestamp: parts.timestamp,
            rest: parts.rest,
        })
    }
}

/// The turns of a conversation as rows of one session; any other row as it is.
fn turns(row: Map<String, Value>, session: String) -> Vec<Map<String, Value>> {
    let keys = ["messages", "conversations", "conversation", "prompt"];
    let Some(key) = keys.iter().find(|key| row.get(**key).is_some_and(Value::is_array)) else { return vec![row] };
    let messages = row[*key].as_array().cloned().unwrap_or_default();
    let answers = |message: &Value| role(message).is_ok_and(|role| role == "assistant");
    let ends = (1..=messages.len()).filter(|end| answers(&messages[end - 1]));
    let rows = ends.map(|end| {
        let mut turn = row.clone();
        turn.insert((*key).to_string(), messages[..end].to_vec().into());
        turn.insert("session".into(), session.as_str().into());
        turn
    });
    let rows: Vec<_> = rows.collect();
    if rows.is_empty() { vec![row] } else { rows }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn one(row: &Value, options: &ReadOptions) -> DatasetFile {
        read(&row.to_string(), options)
    }

    #[test]
    fn the_usual_shapes_are_read_as_one() {
        let eight = "12345678";
        for (row, prompt, output_len, shape) in [
            (json!({"prompt": eight, "output_len": 5}), json!(eight), 5, "prompt"),
            (
                json!({"prompt": [{"role": "user", "content": "x"}], "output_len": 5}),
                json!([{"role": "user", "content": "x"}]),
                5,
                "prompt",
            ),
            (
                json!({"id": "a", "conversations": [{"from": "human", "value": "q"}, {"from": "gpt", "value": eight}]}),
                json!([{"role": "user", "content": "q"}]),
                2,
                "sharegpt",
            ),
            (
                json!({"messages": [{"role": "system", "content": "s"}, {"role": "user", "content": "q"}, {"role": "assistant", "content": eight}], "max_tokens": 9}),
                json!([{"role": "system", "content": "s"}, {"role": "user", "content": "q"}]),
                9,
                "messages",
            ),
            (
                json!({"custom_id": "1", "method": "POST", "url": "/v1/chat/completions", "body": {"model": "m", "messages": [{"role": "user", "content": "q"}], "max_completion_tokens": 7, "temperature": 0.5}}),
                json!([{"role": "user", "content": "q"}]),
                7,
                "messages",
            ),
            (json!({"instruction": "do", "input": "this", "output": eight}), json!("do\n\nthis"), 2, "instruction"),
        ] {
            let read = one(&row, &ReadOptions::default());
            let [entry] = &read.entries[..] else { panic!("{row}: {:?}", read.skipped) };
            let written = entry.row();
            assert_eq!((&written["prompt"], &written["output_len"]), (&prompt, &output_len.into()), "{row}");
            assert!(read.shapes.contains_key(shape), "{row}: {:?}", read.shapes);
            // The canonical row is read as the same entry.
            let again = one(&written, &ReadOptions::default());
            assert_eq!((&again.entries[0].prompt, again.entries[0].output_len), (&entry.prompt, output_len), "{row}");
        }
    }

    #[test]
    fn sampling_goes_into_the_body_and_what_nobody_knows_is_kept() {
        let row = json!({"prompt": "q", "max_tokens": 4, "temperature": 0.2, "top_p": 0.9, "colour": "red", "metadata": {"source": "prod"},
                         "extra_request_body": {"min_p": 0.1}});
        let entry = &one(&row, &ReadOptions::default()).entries[0];
        assert_eq!(Value::from(entry.extra.clone()), json!({"min_p": 0.1, "temperature": 0.2, "top_p": 0.9}));
        assert_eq!((&entry.row()["colour"], &entry.row()["metadata"]["source"]), (&"red".into(), &"prod".into()));
    }

    #[test]
    fn what_cannot_be_sent_is_counted_with_its_reason() {
        let image = json!({"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:"}}, {"type": "text", "text": "what?"}]}], "output_len": 3});
        let tools =
            json!({"messages": [{"role": "user", "content": "q"}], "tools": [{"type": "function"}], "output_len": 3});
        for (row, why) in [
            (image.clone(), "has images"),
            (tools.clone(), "has tools"),
            (json!({"prompt": "q"}), "set one with --output-len"),
            (json!({"prompt": " ", "output_len": 1}), "prompt is empty"),
            (json!({"messages": [{"role": "assistant", "content": "a"}], "output_len": 1}), "no message of a user"),
            (json!({"messages": [{"role": "alien", "content": "a"}]}), "unknown role"),
            (json!({"prompt": "q", "prefix": "shared", "output_len": 1}), "has prefix"),
            (
                json!({"messages": [{"role": "user", "content": [{"type": "input_audio"}, {"type": "text", "text": "q"}]}], "output_len": 3}),
                "has audio",
            ),
            (json!({"text": "q"}), "none of prompt"),
            (json!([1]), "not a JSON object"),
        ] {
            let read = read(&format!("{row}\n"), &ReadOptions::default());
            let reasons: Vec<&String> = read.skipped.keys().collect();
            assert!(
                read.entries.is_empty() && reasons.iter().any(|reason| reason.contains(why)) || row.is_array(),
                "{row}: {reasons:?}"
            );
        }
        let takes = ["images".to_string(), "tools".to_string()].into();
        let read = read(&format!("{image}\n{tools}\nnonsense\n"), &ReadOptions { takes, ..ReadOptions::default() });
        assert_eq!((read.entries.len(), read.broken.len(), read.broken[0].0), (2, 1, 3));
        assert!(read.entries[1].extra.contains_key("tools"));
    }

    #[test]
    fn a_trace_with_seconds_and_small_blocks_and_csv_with_quoted_lines_are_read() {
        let ids: Vec<u64> = (0..70).collect();
        let row = json!({"chat_id": 1, "parent_chat_id": -1, "timestamp": 61.5, "input_length": 1120, "output_length": 5, "hash_ids": ids});
        let entry = &one(&row, &ReadOptions::default()).entries[0];
        assert_eq!(entry.timestamp, Some(61_500.0));
        assert!(matches!(&entry.prompt, Prompt::Blocks(blocks) if blocks.len() == 2), "{:?}", entry.prompt);
        let again = &one(&entry.row(), &ReadOptions::default()).entries[0];
        assert_eq!((&again.prompt, again.timestamp), (&entry.prompt, entry.timestamp));
        let csv = read("prompt,output_len\n\"hello, there\",5\n\"two\nlines\",6\n", &ReadOptions::default());
        let lengths: Vec<u32> = csv.entries.iter().map(|entry| entry.output_len).collect();
        assert_eq!((lengths, csv.entries[1].prompt.clone()), (vec![5, 6], Prompt::Text("two\nlines".into())));
    }

    #[test]
    fn nothing_of_a_prompt_is_lost_or_overwritten() {
        let wanted =
            || ReadOptions { takes: ["tools".to_string()].into(), output_len: Some(9), ..ReadOptions::default() };
        let user = |text: &str| json!({"role": "user", "content": text});
        for (row, prompt, output_len) in [
            (json!({"instruction": "What?", "context": "ground", "response": "12345678"}), json!("What?\n\nground"), 2),
            (json!({"prompt": "p", "completion": "12345678"}), json!("p"), 2),
            (json!({"question": "Why?", "answer": "12345678", "system_prompt": "s"}), json!("s\n\nWhy?"), 2),
            (json!({"query": "Why?", "response": "12345678"}), json!("Why?"), 2),
            (json!({"input": "Who?", "context": "ground", "answers": ["Bob"]}), json!("Who?\n\nground"), 9),
            (json!({"body": {"input": [user("q")], "max_output_tokens": 7}}), json!([user("q")]), 7),
            (json!({"prompt": "p", "output_tokens_count": 12}), json!("p"), 12),
            (json!({"data": ["q", "12345678"]}), json!([user("q")]), 2),
            (
                json!({"conversations": [{"from": "Human", "value": "q"}, {"from": "GPT", "value": "12345678"}]}),
                json!([user("q")]),
                2,
            ),
            (
                json!({"instruction": "2", "input": "more", "output": "12345678", "history": [["1", "a"]]}),
                json!([user("1"), {"role": "assistant", "content": "a"}, user("2\n\nmore")]),
                2,
            ),
            (json!({"prompt": "p", "output_len": 500.0}), json!("p"), 500),
            (
                json!({"messages": [user("q"), {"role": "assistant", "content": "1234", "reasoning_content": "1234567"}]}),
                json!([user("q")]),
                3,
            ),
            (
                json!({"system": "s", "messages": [{"role": "system", "content": "t"}, user("q"), {"role": "assistant", "content": null, "refusal": "12345678"}]}),
                json!([{"role": "system", "content": "s"}, {"role": "system", "content": "t"}, user("q")]),
                2,
            ),
            (
                json!({"query": "2", "response": "12345678", "history": [["1", "a"]]}),
                json!([user("1"), {"role": "assistant", "content": "a"}, user("2")]),
                2,
            ),
            (
                json!({"contents": [{"role": "user", "parts": [{"text": "q"}]}, {"role": "model", "parts": [{"text": "12345678"}]}]}),
                json!([user("q")]),
                2,
            ),
            (json!({"messages": [{"role": "user", "content": {"text": "q"}}]}), json!([user("q")]), 9),
            (json!({"prompt": "p", "chosen": "12345678", "rejected": "1234"}), json!("p"), 2),
            (json!({"inputs": "Why?", "parameters": {"max_new_tokens": 20}}), json!("Why?"), 20),
            (json!({"text_input": "Why?"}), json!("Why?"), 9),
            (json!({"body": {"input": "Why?", "instructions": "s", "max_output_tokens": 7}}), json!("s\n\nWhy?"), 7),
            (json!({"question_id": 81, "turns": ["1", "2"]}), json!([user("1")]), 9),
            (
                json!({"turns": ["1", "2"], "reference": ["a", "12345678"]}),
                json!([user("1"), {"role": "assistant", "content": "a"}, user("2")]),
                2,
            ),
            (json!({"turns": [{"text": "1"}, {"text": "2", "delay": 100}]}), json!([user("1")]), 9),
            (json!({"prompt": "p", "output_len": "500"}), json!("p"), 500),
            (
                json!({"prompt": "1", "messages": [user("1"), {"role": "assistant", "content": "a"}, user("2")]}),
                json!([user("1"), {"role": "assistant", "content": "a"}, user("2")]),
                9,
            ),
            (
                json!({"system": "s", "tools": "[{\"name\": \"calc\"}]", "conversations": [{"from": "human", "value": "q"},
                    {"from": "function_call", "value": "c"}, {"from": "observation", "value": "4"}, {"from": "gpt", "value": "12345678"}]}),
                json!([{"role": "system", "content": "s"}, user("q"), {"role": "assistant", "content": "c"}, {"role": "tool", "content": "4"}]),
                2,
            ),
        ] {
            let read = one(&row, &wanted());
            let [entry] = &read.entries[..] else { panic!("{row}: {:?}", read.skipped) };
            let written = entry.row();
            assert_eq!((&written["prompt"], &written["output_len"]), (&prompt, &output_len.into()), "{row}");
        }
        for (row, why) in [
            (json!({"messages": [user("")]}), "empty"),
            (json!({"messages": [{"role": "user", "content": null}, {"role": "assistant", "content": "a"}]}), "empty"),
            (json!({"image": "a.jpg", "messages": [user("<image> what?")]}), "a file (image)"),
            (json!({"prompt": "p", "timestamp": "noon"}), "timestamp"),
            (json!({"prompt": "p", "tools": "{calc"}), "not JSON"),
            (json!({"prompt": "p", "output_len": -3}), "output_len is -3"),
            (json!({"prompt": "p", "max_tokens": 0}), "max_tokens is 0"),
            (json!({"prompt": "p", "output_len": "many"}), "output_len is \"many\""),
            (json!({"question": "Which?", "choice_A": "a", "choice_B": "b"}), "choice_A"),
            (json!({"prompt": [1, 2, 3], "output_len": 4}), "token ids"),
            (json!({"prompt": ["a", "b"], "output_len": 4}), "several prompts"),
            (json!({"body": {"input": "a"}, "url": "/v1/embeddings"}), "/v1/embeddings"),
        ] {
            let read = one(&row, &wanted());
            let found = read.skipped.keys().any(|reason| reason.contains(why));
            assert!(read.entries.is_empty() && found, "{row}: {:?}", read.skipped);
        }
        let dated = one(&json!({"prompt": "p", "timestamp": "1970-01-01 00:00:01.5"}), &wanted());
        assert_eq!(dated.entries[0].timestamp, Some(1500.0));
        let csv = read("TIMESTAMP,ContextTokens,GeneratedTokens\n2023-11-16 18:15:46,374,44\n", &wanted());
        let entry = &csv.entries[0];
        assert_eq!((entry.input_len, entry.output_len, &entry.prompt), (374, 44, &Prompt::Blocks(Vec::new())));
        assert_eq!((entry.timestamp, csv.entries.len()), (Some(1_700_158_546_000.0), 1));
        let csv = read("id;colour\n1;red\n2;blue\n", &wanted());
        let [(1, why)] = &csv.broken[..] else { panic!("{csv:?}") };
        assert!(csv.entries.is_empty() && why.contains("CSV with the columns id, colour"), "{why}");
        let csv = read("\"prompt\",\"completion\"\n\"Say, hi\",\"12345678\"\n\"two\nlines\",b,c\n", &wanted());
        assert_eq!((csv.entries.len(), csv.broken[0].0), (1, 3), "{csv:?}");
        assert_eq!((&csv.entries[0].prompt, csv.entries[0].output_len), (&Prompt::Text("Say, hi".into()), 2));
        // Half an assistant's talk as text is one session too.
        let turns = ReadOptions { turns: true, ..wanted() };
        assert_eq!(one(&json!({"data": ["1", "a", "2", "b"]}), &turns).entries.len(), 2);
        assert_eq!(one(&json!({"turns": ["1", "2"], "reference": ["a", "b"]}), &turns).entries.len(), 2);
    }

    #[test]
    fn a_talk_can_be_a_session_of_turns() {
        let row = json!([{"id": "t", "conversations": [
            {"from": "human", "value": "1"}, {"from": "gpt", "value": "a"}, {"from": "human", "value": "2"}, {"from": "gpt", "value": "b"}]}]);
        let read = one(&row, &ReadOptions { turns: true, ..ReadOptions::default() });
        let lengths: Vec<usize> = read
            .entries
            .iter()
            .map(|e| match &e.prompt {
                Prompt::Messages(messages) => messages.len(),
                _ => 0,
            })
            .collect();
        assert_eq!(lengths, [1, 3]);
        assert!(read.entries.iter().all(|entry| entry.session.as_deref() == Some("t")));
    }

    #[test]
    fn lengths_and_times_alone_are_a_trace() {
        for (row, lengths, timestamp) in [
            (json!({"timestamp": 1000, "input_length": 600, "output_length": 20}), (600, 20), Some(1000.0)),
            (json!({"Timestamp": 5, "Request tokens": 472, "Response tokens": 18}), (472, 18), Some(5000.0)),
            (
                json!({"TIMESTAMP": "1970-01-01 00:00:02", "ContextTokens": 374, "GeneratedTokens": 44}),
                (374, 44),
                Some(2000.0),
            ),
            (json!({"arrived_at": 0.5, "num_prefill_tokens": 7, "num_decode_tokens": 3}), (7, 3), Some(500.0)),
        ] {
            let read = one(&row, &ReadOptions::default());
            let [entry] = &read.entries[..] else { panic!("{row}: {:?}", read.skipped) };
            assert_eq!(((entry.input_len, entry.output_len), entry.timestamp), (lengths, timestamp), "{row}");
            assert_eq!(entry.prompt, Prompt::Blocks(Vec::new()), "{row}");
            let again = one(&entry.row(), &ReadOptions::default());
            assert_eq!((&again.entries[0].prompt, again.entries[0].input_len), (&entry.prompt, lengths.0), "{row}");
            let mut scenario = crate::rows::kinds::Scenario::random("trace", 0, 0);
            crate::load::dataset::describe(&mut scenario, "trace.jsonl", "", &read.entries).unwrap();
            assert!(scenario.dataset.is_some_and(|dataset| dataset.synthetic && !dataset.prefix_reuse), "{row}");
        }
    }

    #[test]
    fn a_trace_has_its_times_and_blocks() {
        let text = "{\"timestamp\": 0, \"input_length\": 600, \"output_length\": 20, \"hash_ids\": [1, 2]}\n\
                    {\"timestamp\": 4000, \"input_length\": 1100, \"output_length\": 30, \"hash_ids\": [1, 2, 3]}\n";
        let read = read(text, &ReadOptions::default());
        let mut scenario = crate::rows::kinds::Scenario::random("trace", 0, 0);
        crate::load::dataset::describe(&mut scenario, "trace.jsonl", "", &read.entries).unwrap();
        let known = scenario.dataset.unwrap();
        assert_eq!((known.rows, known.longest, known.estimated, known.rate), (2, 1130, false, Some(0.5)));
        assert_eq!((scenario.input_len, scenario.output_len), (850, 25));
    }
}
