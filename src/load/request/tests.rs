//! What becomes of a stream, event by event.

use super::*;

fn outcome(stamps: &[(u64, Option<u32>)], choices: Option<u32>) -> RequestOutcome {
    let stamps = stamps.iter().map(|(at, counted)| (Micros(*at), *counted)).collect();
    RequestOutcome { row: Request { choices, ..Request::default() }, stamps }
}

/// What becomes of a stream whose parts arrive at these times, µs.
fn read(parts: &[(u64, &str)]) -> Request {
    let clock = Clock(Instant::now());
    let limit = Duration::from_secs(1);
    let how =
        FollowSettings { limits: RequestTimeouts { ttft: limit, idle: limit, total: limit }, clock, stream: true };
    let mut reading = StreamReading {
        row: blank("r", 0, Phase::Measured, None, RequestStatus::Aborted),
        how,
        expected: ExpectedAnswer { model: Some("m".into()), choices: Some(2) },
        splitter: Splitter::default(),
        template: EventTemplate::default(),
        stamps: Vec::new(),
        counted: None,
        done: false,
        choices: ChoiceSet::default(),
        ended: ChoiceSet::default(),
        foreign: None,
    };
    let mut failed = None;
    for (at, text) in parts {
        let mut splitter = std::mem::take(&mut reading.splitter);
        splitter.push(text.as_bytes(), |part| {
            failed = failed.take().or_else(|| match part {
                Part::Data(data) => reading.event(data, Micros(*at)).err(),
                Part::Error(words) => Some(error_event(words)),
                Part::Body(_) => None,
            });
        });
        reading.splitter = splitter;
    }
    let (status, error) = match failed.map_or_else(|| reading.end(), Err) {
        Ok(()) => reading.judge(),
        Err(failure) => (failure.class, Some(failure.why)),
    };
    let row = reading.finish().row;
    Request { status, error, ..row }
}

const RED: &str = "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"Red\"}}]}\n\n";
const END: &str = "data: {\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n";
const COUNT: &str = "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":5,\"completion_tokens\":8}}\n\n";
const DONE: &str = "data: [DONE]\n\n";

#[test]
fn every_choice_has_to_end_well() {
    let blue = RED.replace("\"index\":0", "\"index\":1");
    let [end, abort] = ["stop", "abort"].map(|word| END.replace("\"index\":0", "\"index\":1").replace("stop", word));
    let two = |last: &str| {
        read(&[(9_000, RED), (9_500, &blue), (19_000, END), (39_000, last), (40_000, COUNT), (40_000, DONE)])
    };
    let good = two(&end);
    assert_eq!((good.status, good.choices, good.output_tokens, good.chunks), (RequestStatus::Ok, Some(2), Some(8), 2));
    assert_eq!(crate::metrics::timing::timing(&good), None, "not sent");
    assert_eq!(two(&abort).status, RequestStatus::ErrorEvent);
    let missing = two("");
    assert_eq!(missing.status, RequestStatus::Truncated);
    assert!(missing.error.unwrap().contains("choice 1"));
    // A server that ends no choice by a reason ends them all by [DONE].
    assert_eq!(read(&[(9_000, RED), (9_500, &blue), (19_000, DONE)]).status, RequestStatus::Ok);
}

#[test]
fn tokens_that_arrived_together_are_counted() {
    let eight = RED.repeat(8);
    for (parts, first_tokens) in [
        (vec![(1_000, RED), (5_000, RED), (9_000, END), (9_000, COUNT), (9_000, DONE)], None),
        (vec![(5_000, &eight[..]), (5_000, END), (5_000, COUNT), (5_000, DONE)], Some(8)),
        (vec![(5_000, RED), (5_000, END), (5_000, COUNT), (5_000, DONE)], Some(8)),
        (vec![(5_000, RED), (5_300, &RED.repeat(7)), (5_300, END), (5_300, COUNT), (5_300, DONE)], Some(8)),
        (vec![(1_000, RED), (1_006, RED), (5_000, RED), (9_000, RED), (9_000, END), (9_000, COUNT)], Some(4)),
    ] {
        let row = read(&parts);
        assert_eq!(
            (row.status, row.output_tokens, row.first_tokens),
            (RequestStatus::Ok, Some(8), first_tokens),
            "{parts:?}"
        );
    }
}

#[test]
fn a_count_far_below_the_chunks_is_not_believed() {
    let one = COUNT.replace("8}", "1}");
    let row = read(&[(1_000, &RED.repeat(8)), (5_000, END), (5_000, &one), (5_000, DONE)]);
    assert_eq!((row.output_tokens, row.token_source), (Some(8), Some(TokenSource::Chunks)));
}

#[test]
fn a_failure_has_the_words_of_the_server() {
    for (text, status, words) in [
        ("[{\"error\":{\"message\":\"overloaded\"}}]", RequestStatus::ErrorEvent, "overloaded"),
        (
            "{\"choices\":[{\"message\":{\"content\":\"Red\"},\"finish_reason\":\"stop\"}]}",
            RequestStatus::Parse,
            "--no-stream",
        ),
        ("event: formatted_prompt\ndata: \"<|user|>\"\n\n", RequestStatus::Truncated, "<|user|>"),
        ("data: {\"model_name\":\"m\",\"text_output\":\"Red\"}\n\n", RequestStatus::Truncated, "text_output"),
        (&format!("{RED}{{\"error\":\"CUDA error\"}}\n\n"), RequestStatus::ErrorEvent, "CUDA error"),
        (&format!("{RED}data: worker gone\n\n"), RequestStatus::Parse, "worker gone"),
    ] {
        let row = read(&[(1_000, text)]);
        let error = row.error.unwrap_or_default();
        assert!(row.status == status && error.contains(words), "{text}: {:?} {error}", row.status);
    }
}

#[test]
fn odd_forms_of_a_whole_stream_count() {
    for text in [
        format!("event: token_ids\ndata: [1,2]\n\n{RED}{END}{COUNT}{DONE}"),
        format!("{}\n{}\n{COUNT}", RED.trim_end(), END.trim_end()),
        format!("{RED}{}{COUNT}{DONE}", END.replace("stop", "FinishReason.STOP")),
    ] {
        let row = read(&[(1_000, &text)]);
        assert_eq!((row.status, row.output_tokens), (RequestStatus::Ok, Some(8)), "{text}: {:?}", row.error);
    }
}

#[test]
fn chunks_that_arrived_together_share_their_gap() {
    let stamps = [(10_000, Some(1)), (10_005, Some(2)), (40_000, Some(4)), (40_010, Some(6)), (50_010, Some(7))];
    let read = outcome(&stamps, None);
    assert_eq!(read.gaps().collect::<Vec<_>>(), [15_002, 15_002, 10_000]);
    assert_eq!(read.token_gaps(), Some(vec![(30_005 / 4, 4), (10_000, 1)]));
    assert_eq!(outcome(&stamps, Some(2)).gaps().count(), 0);
    assert_eq!(outcome(&stamps, Some(2)).token_gaps(), None);
    assert_eq!(outcome(&stamps[..2], None).gaps().count(), 0);
    assert_eq!(outcome(&[], None).gaps().count(), 0);
    assert_eq!(outcome(&[(5, None), (9_000, None)], None).token_gaps(), None);
}

#[test]
fn an_answer_of_another_model_or_choice_is_no_answer() {
    let named = |model: &str| {
        format!("{}{END}{COUNT}{DONE}", RED.replace("{\"choices", &format!("{{\"model\":{model},\"choices")))
    };
    for (model, ok) in [
        ("\"m\"", true),
        ("\"/models/M/\"", true),
        ("\"m-2026-01-01\"", true),
        ("\"\"", true),
        ("7", true),
        ("\"other\"", false),
    ] {
        let row = read(&[(1_000, &named(model))]);
        assert_eq!(row.status == RequestStatus::Ok, ok, "{model}: {:?}", row.error);
        if !ok {
            assert_eq!(
                row.error.as_deref(),
                Some("the answer is of the model \"other\", not of \"m\" as the first one")
            );
        }
    }
    let seventh = [RED, END].map(|event| event.replace("\"index\":0", "\"index\":7")).concat();
    let row = read(&[(1_000, &format!("{seventh}{COUNT}{DONE}"))]);
    assert_eq!(row.status, RequestStatus::Parse);
    assert_eq!(row.error.as_deref(), Some("the answer has the choice 7 without those before it"));
}

#[test]
fn an_endless_answer_is_not_read_to_its_end() {
    let many = RED.repeat(1 << 14);
    let parts: Vec<(u64, &str)> = (0..17).map(|i| (i * 1_000, many.as_str())).collect();
    let row = read(&parts);
    assert_eq!(row.status, RequestStatus::Parse);
    assert!(row.error.unwrap().contains("more than 262144 chunks"));
}

#[test]
fn an_event_of_many_lines_takes_no_more_memory_than_its_text() {
    let row = read(&[(1_000, &format!("{}\n", "data: 1\n".repeat(1 << 20)))]);
    assert_eq!((row.status, row.error.as_deref()), (RequestStatus::Parse, Some("an event is too large")));
}
