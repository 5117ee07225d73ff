//! What a launcher brings itself that starts several processes of a server: the program around each of them, and the flags by which they
//! find each other.

use super::outer::OuterLauncher;
use crate::base::shell;
use crate::engines::framework::{FlagMeaning, Framework, Frameworks};
use crate::engines::launcher::NODES;
use crate::plan::command::is_flag;
use crate::plan::command::pasted::framework_of;
use crate::rows::kinds::LauncherStep;

/// Variables of Slurm that are the rank of a process, where each node has one.
const RANK: [&str; 2] = ["SLURM_PROCID", "SLURM_NODEID"];

/// The words behind a launcher without what it brings itself; it notes what else it leaves out.
pub(super) fn without_own(words: &[String], outer: &mut OuterLauncher, frameworks: &Frameworks) -> Vec<String> {
    let words = without_wrapper(words, &outer.step, frameworks);
    let nodes = outer.step.options.get(NODES).and_then(|nodes| nodes.parse::<u32>().ok());
    if nodes.is_none_or(|nodes| nodes <= 1) {
        return words;
    }
    let Some(framework) = framework_of(&words, frameworks) else { return words };
    // A variable of its environment cannot have a rank in a plan.
    let program = framework.find(&words).map_or(words.len(), |found| found.program);
    let words: Vec<String> =
        words.iter().enumerate().map(|(i, word)| if i < program { word.clone() } else { with_rank(word) }).collect();
    if framework.nodes.is_none() {
        return words;
    }
    let (words, left_out) = without_places(&words, framework);
    if !left_out.is_empty() {
        let name = &outer.step.name;
        let flags: Vec<&str> = left_out.iter().filter(|word| is_flag(word)).map(|word| flag_of(word)).collect();
        outer.notes.push(format!(
            "without {}: launcher {name} tells each process its rank, and where the first of them is",
            flags.join(", ")
        ));
    }
    words
}

/// The words without the program that starts the ranks of the framework.
fn without_wrapper(words: &[String], step: &LauncherStep, frameworks: &Frameworks) -> Vec<String> {
    let framework = framework_of(words, frameworks);
    let wrapper = framework.and_then(|framework| framework.ranks.get(&step.name)?.get("wrapper"));
    let program = framework.and_then(|framework| framework.find(words)).map_or(0, |found| found.program);
    let is_wrapper =
        |i: usize, word: &String| i < program && wrapper.is_some_and(|wrapper| shell::program_name(word) == wrapper);
    words.iter().enumerate().filter(|(i, word)| !is_wrapper(*i, word)).map(|(_, word)| word.clone()).collect()
}

/// A word in which Slurm's variables for the rank are those of a plan.
fn with_rank(word: &str) -> String {
    RANK.iter().fold(word.to_string(), |word, name| {
        word.replace(&format!("${{{name}}}"), "{rank}").replace(&format!("${name}"), "{rank}")
    })
}

/// The words without the flags that differ between the nodes, and those flags.
fn without_places(words: &[String], framework: &Framework) -> (Vec<String>, Vec<String>) {
    let Some(nodes) = &framework.nodes else { return (words.to_vec(), Vec::new()) };
    let (mut kept, mut left_out, mut at) = (Vec::new(), Vec::new(), 0);
    while let Some(word) = words.get(at) {
        let is_place =
            matches!(framework.named(flag_of(word)), Some(FlagMeaning::Knob(knob)) if nodes.flags.contains_key(&knob));
        let has_value = is_place && !word.contains('=') && words.get(at + 1).is_some_and(|next| !is_flag(next));
        let end = at + 1 + usize::from(has_value);
        let to = if is_place || nodes.followers.contains(word) { &mut left_out } else { &mut kept };
        to.extend_from_slice(&words[at..end]);
        at = end;
    }
    (kept, left_out)
}

fn flag_of(word: &str) -> &str {
    word.split('=').next().unwrap_or(word)
}
