//! An answer, cut into reads at any byte: the same events whatever the cuts, and no event larger than the limit.

use serving_bench::engines::protocol::event::{Event, EventTemplate};
use serving_bench::engines::protocol::sse::{MAX_EVENT, Part, Splitter};

fn events(reads: &[&[u8]]) -> Vec<(u8, Vec<u8>)> {
    let (mut splitter, mut found) = (Splitter::default(), Vec::new());
    let mut take = |part: Part| {
        found.push(match part {
            Part::Data(data) => (0, data.to_vec()),
            Part::Error(words) => (1, words.to_vec()),
            Part::Body(body) => (2, body.to_vec()),
        });
    };
    reads.iter().for_each(|read| splitter.push(read, &mut take));
    splitter.end(&mut take);
    found
}

/// Panics where the code is wrong.
pub fn run(data: &[u8]) {
    let Some((cut, text)) = data.split_first() else { return };
    let step = usize::from(*cut).max(1);
    let (whole, cut) = (events(&[text]), events(&text.chunks(step).collect::<Vec<_>>()));
    assert_eq!(whole, cut);
    let mut template = EventTemplate::default();
    for (_, event) in &whole {
        assert!(event.len() <= MAX_EVENT);
        // What a template says is what parsing says, but for the model, which it names once.
        let (fast, slow) = (template.parse(event), Event::parse(event));
        let plain = |event: Result<Event, String>| event.map(|event| Event { model: None, ..event });
        assert_eq!(plain(fast), plain(slow));
    }
}
