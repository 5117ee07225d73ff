//! Knobs that a definition does not know: typing mistakes, names of other frameworks, and flags that have to be verified.

use super::finding::Finding;
use super::shape::nearest;
use crate::engines::framework::{FlagMeaning, Framework, Frameworks, Leniency};
use crate::rows::kinds::Verdicts;
use crate::rows::words::FindingCode as Code;

/// The way to verify a flag that the definition does not know.
const VERIFY: &str = "check that your version has it with bench-validate --capture-help DIR";

/// The finding about a knob that `framework` does not know; `None` if the captured help has its flag, or if the flag is missing
/// there, which has already been reported.
pub fn knob(
    knob: &str,
    pointer: &str,
    searched: bool,
    framework: &Framework,
    captured: Option<&Verdicts>,
    frameworks: &Frameworks,
) -> Option<Finding> {
    let (title, flag) = (&framework.title, framework.flag(root(knob)));
    let error = |why: String| Some(Finding::key(Code::KnobTypo, pointer, why));
    if matches!(
        framework.named(&flag),
        Some(FlagMeaning::Host | FlagMeaning::Port | FlagMeaning::ServedName | FlagMeaning::Model)
    ) {
        let where_to = if searched { "search_space" } else { "candidates" };
        let why = format!("{knob} cannot be in {where_to}: bench-serve sets it for each start");
        return Some(Finding::key(Code::KnobFixed, pointer, why));
    }
    let off = flag.replacen("--", "--no-", 1);
    if captured.is_some_and(|help| [&flag, &off].iter().any(|f| help.accepted.contains(f) || help.unknown.contains(f)))
    {
        return None;
    }
    let unknown = format!("unknown knob {knob:?} of {title}");
    if let Some(right) = misspelt(root(knob), framework.known_knobs()) {
        let members = &knob[root(knob).len()..];
        return error(format!("{unknown}; did you mean \"{right}{members}\"?"));
    }
    if let Some(here) = counterpart(root(knob), framework, frameworks) {
        return error(format!("{unknown}, which calls it {here:?}"));
    }
    match framework.named(&format!("-{}", root(knob))) {
        Some(FlagMeaning::Knob(here) | FlagMeaning::KnobOff(here)) => {
            return error(format!("{unknown}, which calls it {here:?}"));
        }
        Some(FlagMeaning::Model | FlagMeaning::ModelSource) => {
            return error(format!("{unknown}: the model is the key `model` of the framework or of the plan"));
        }
        _ => {}
    }
    let near = nearest_knob(root(knob), framework);
    if framework.simulated {
        return error(format!("{unknown}{near}"));
    }
    let verify = if captured.is_some() { "its captured help is incomplete: start it by hand first" } else { VERIFY };
    let why = format!("{unknown}: it is passed on as {flag}; {verify}{near}");
    Some(Finding::key(Code::KnobUnknown, pointer, why))
}

/// `; did you mean "x"?` if a knob has the same words with others between them (`max_len`), or is similar.
fn nearest_knob(knob: &str, framework: &Framework) -> String {
    let own: Vec<&str> = knob.split(['_', '-']).collect();
    let has_all = |known: &&str| {
        let mut words = known.split('_');
        own.len() > 1
            && own.iter().all(|word| words.any(|other| other == *word || (word.len() > 2 && other.starts_with(word))))
    };
    let several: Vec<&str> = framework.known_knobs().filter(has_all).collect();
    match several[..] {
        [] => nearest(knob, framework.known_knobs()),
        [only] => format!("; did you mean {only:?}?"),
        // The shortest adds the fewest words.
        _ => several
            .iter()
            .min_by_key(|known| known.len())
            .map_or(String::new(), |near| format!("; did you mean {near:?}?")),
    }
}

/// The finding about a flag among the words of a command, without captured help: a typing mistake, or a name of another framework.
/// Any other flag is taken as it is.
pub fn flag(flag: &str, pointer: &str, framework: &Framework, frameworks: &Frameworks) -> Option<Finding> {
    let name = flag.strip_prefix("--").filter(|name| framework.named(flag).is_none() && !name.contains('.'))?;
    let name = name.strip_prefix("no-").unwrap_or(name).replace('-', "_");
    if framework.known_knobs().any(|known| known == name) {
        return None;
    }
    let unknown = format!("unknown flag {flag} of {}", framework.title);
    let right = misspelt(&name, framework.known_knobs()).map(|known| framework.flag(known));
    if let Some(right) = right {
        // A parser that takes the beginnings of flags takes this one.
        let beginning = framework.flags.lenient.contains(&Leniency::Prefixes) && right.starts_with(flag);
        let why = format!("{unknown}; did you mean {right}?");
        return (!beginning).then(|| Finding::value(Code::KnobTypo, pointer, why));
    }
    let here = counterpart(&name, framework, frameworks)?;
    Some(Finding::value(Code::KnobTypo, pointer, format!("{unknown}, which calls it {}", framework.flag(here))))
}

/// The knob that a dotted knob belongs to.
fn root(knob: &str) -> &str {
    knob.split('.').next().unwrap_or(knob)
}

/// The knob of this framework with the role that the name has in another one.
fn counterpart<'a>(name: &str, framework: &'a Framework, frameworks: &Frameworks) -> Option<&'a str> {
    let role = frameworks.iter().filter(|other| other.name != framework.name).find_map(|other| {
        let alias = || match other.named(&other.flag(name)) {
            Some(FlagMeaning::Knob(known)) => other.knob(&known),
            _ => None,
        };
        other.knob(name).or_else(alias)?.role
    })?;
    let mut here = framework.described().filter(|(_, knob)| knob.role == Some(role) && knob.gone.is_none());
    here.next().map(|(known, _)| known)
}

/// The known name of which `name` is a typing mistake.
#[must_use]
pub fn misspelt<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let parts = |name: &str| name.trim_start_matches('-').replace('-', "_");
    let own = parts(name);
    let joined = own.replace('_', "");
    let alike = |known: &&str| {
        let (own, known): (Vec<&str>, Vec<&str>) = (own.split('_').collect(), known.split('_').collect());
        known.concat() == joined || (own.len() == known.len() && own.iter().zip(known).all(|(a, b)| same_word(a, b)))
    };
    known.filter(alike).min_by_key(|known| strsim::osa_distance(&own, known))
}

/// True for two spellings of a word: an abbreviation (`len`, `seqs`), or letters that are exchanged, missing or too many. Short
/// words are names of their own: `gdn` is not `kda`.
fn same_word(one: &str, other: &str) -> bool {
    if one == other {
        return true;
    }
    let (short, long) = if one.len() < other.len() { (one, other) } else { (other, one) };
    let mut letters = long.chars();
    let abbreviates = short.len() >= 4 && short.chars().all(|c| letters.any(|other| other == c));
    let same_start = short.chars().next() == long.chars().next();
    let distance = strsim::osa_distance(short, long);
    (same_start && (abbreviates || (short.len() >= 3 && long.starts_with(short))))
        || (short.len() >= 4 && distance <= 1)
        || (short.len() >= 6 && distance <= 2 && same_start)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rows::words::FindingLevel as Level;

    fn found(knob_name: &str, framework: &str) -> (Level, String) {
        let frameworks = Frameworks::load(&[], &[]).unwrap();
        let found = knob(knob_name, "", true, frameworks.get(framework).unwrap(), None, &frameworks).unwrap();
        (found.level(), found.message)
    }

    #[test]
    fn typing_mistakes_are_errors_with_the_right_name() {
        for (typed, framework, right) in [
            ("enable_prefix_cahcing", "vllm", "enable_prefix_caching"),
            ("max-num-seqs", "vllm", "max_num_seqs"),
            ("--max-num-seqs", "vllm", "max_num_seqs"),
            ("maxnumseqs", "vllm", "max_num_seqs"),
            ("max_num_sequences", "vllm", "max_num_seqs"),
            ("max_model_length", "vllm", "max_model_len"),
            ("gpu_mem_utilization", "vllm", "gpu_memory_utilization"),
            ("gpu_memory_utilisation", "vllm", "gpu_memory_utilization"),
            ("max_running_request", "sglang", "max_running_requests"),
            ("extra_llm_api_option.a.b", "tensorrt_llm", "extra_llm_api_options.a.b"),
            ("tp_size", "vllm", "tensor_parallel_size"),
            ("tp", "vllm", "tensor_parallel_size"),
            ("max_num_seqs", "sglang", "max_running_requests"),
            ("ngl", "llama_cpp", "n_gpu_layers"),
            ("ub", "llama_cpp", "ubatch_size"),
            ("pp", "tensorrt_llm", "pp_size"),
            ("dp", "vllm", "data_parallel_size"),
            ("ep", "tensorrt_llm", "ep_size"),
            ("mem_fraction", "vllm", "gpu_memory_utilization"),
        ] {
            let (level, message) = found(typed, framework);
            assert!(level == Level::Error && message.contains(&format!("{right:?}")), "{typed}: {message}");
        }
        assert_eq!(found("wibble", "sim").0, Level::Error, "all flags of bench-sim are known");
    }

    #[test]
    fn a_knob_with_more_words_is_suggested() {
        for (typed, framework, near) in [
            ("max_len", "vllm", "max_model_len"),
            ("kv_cache_fraction", "tensorrt_llm", "kv_cache_free_gpu_memory_fraction"),
            ("max_running", "sglang", "max_running_requests"),
        ] {
            let (level, message) = found(typed, framework);
            assert!(level == Level::Warning && message.ends_with(&format!("did you mean {near:?}?")), "{message}");
        }
    }

    #[test]
    fn flags_of_real_releases_are_no_typing_mistakes() {
        let frameworks = Frameworks::load(&[], &[]).unwrap();
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/help");
        let files = [
            "vllm-0.32.0/vllm_serve_help_all.txt",
            "sglang-0.5.23/launch_server_help.txt",
            "llama.cpp-b11434/llama_server_help.txt",
        ];
        let read = files.map(|file| (file.to_string(), std::fs::read_to_string(folder.join(file)).unwrap()));
        let helps = crate::engines::help::Helps::of(&read, &frameworks);
        let mut unknown = 0;
        for name in ["vllm", "sglang", "llama_cpp"] {
            let framework = frameworks.get(name).unwrap();
            let shown = &helps.get(name, name).unwrap().shown[&crate::engines::framework::HelpSubject::Server];
            for flag in shown.flags().filter(|flag| flag.starts_with("--") && framework.named(flag).is_none()) {
                assert_eq!(super::flag(flag, "", framework, &frameworks), None);
                let knob_name = flag[2..].replace('-', "_");
                let found = knob(&knob_name, "", true, framework, None, &frameworks).unwrap();
                assert_eq!(found.level(), Level::Warning, "{}", found.message);
                unknown += 1;
            }
        }
        assert!(unknown > 500, "{unknown}");
    }
}
