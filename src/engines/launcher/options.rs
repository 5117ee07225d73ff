//! What the options of a plan and the limits of a host change in the commands of a launcher.

use super::{Launcher, ResourceLimit};
use crate::base::shell;

impl Launcher {
    /// A command of it without the words that conflict with these options of the plan.
    pub(super) fn yielding(&self, template: &[String], options: &[String]) -> Vec<String> {
        let mut words = template.to_vec();
        for own in self.yields.iter().filter(|(option, _)| contains(options, option)).map(|(_, own)| own) {
            words = without(words, own);
        }
        words
    }

    /// The options that only the command to deploy has, beside these of the plan.
    pub(super) fn options_by_hand(&self, options: &[String]) -> Vec<String> {
        let free = |beside: &&Vec<String>| !beside.iter().any(|option| contains(options, option));
        self.by_hand.iter().filter(|(_, beside)| free(beside)).map(|(option, _)| option.clone()).collect()
    }

    /// A command of it without the words that conflict with these options of the plan, and without those that set a refused
    /// limit.
    pub(super) fn applicable(&self, template: &[String], options: &[String], refused: &[ResourceLimit]) -> Vec<String> {
        let limits = self.limits.iter().filter(|(limit, _)| refused.contains(limit));
        limits.fold(self.yielding(template, options), |words, (_, own)| without(words, own))
    }

    /// The plan's options without those that it refuses beside others of them.
    pub(super) fn accepted(&self, options: Vec<String>) -> Vec<String> {
        let refused = |all: &[String], beside: &[String]| {
            let joined = beside.join("=");
            all.contains(&joined) || all.windows(beside.len().max(1)).any(|part| part == beside)
        };
        self.refuses.iter().fold(options, |all, (option, beside)| match refused(&all, beside) {
            true => without_option(&all, option),
            false => all,
        })
    }

    /// A framework's default options, then the plan's: without defaults that the plan sets itself, and without those for which
    /// the launcher would have to drop words of its own.
    #[must_use]
    pub fn with_defaults(&self, defaults: &str, own: &str) -> String {
        let (Ok(all), Ok(words)) = (shell::split(defaults), shell::split(own)) else { return own.to_string() };
        let set = words.iter().filter(|word| word.starts_with('-')).map(|word| word.split('=').next().unwrap_or(word));
        let taken = self.refuses.keys().map(String::as_str).chain(set);
        let kept = taken.fold(all.clone(), |kept, option| without_option(&kept, option));
        // As written where nothing is dropped: the text is part of a candidate's id.
        let defaults = if kept == all { defaults.to_string() } else { shell::join(&kept) };
        [defaults.as_str(), own].into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(" ")
    }

    /// True if it shows a server only its own GPUs, numbered from 0, whatever their numbers on the host.
    #[must_use]
    pub fn renumbers_gpus(&self, options: &[String]) -> bool {
        let start = self.yielding(&self.start, options);
        start.iter().any(|word| word == "{gpus...}" || word == "{gpu...}")
    }
}

/// True if options have this one: `--gpus`, or with one value of it, `--device /dev/kfd`.
fn contains(options: &[String], option: &str) -> bool {
    match option.split_once(' ') {
        Some((option, value)) => {
            let joined = format!("{option}={value}");
            options.contains(&joined) || options.windows(2).any(|pair| pair[0] == option && pair[1] == value)
        }
        None => options
            .iter()
            .any(|word| word.strip_prefix(option).is_some_and(|rest| rest.is_empty() || rest.starts_with('='))),
    }
}

/// These words without each occurrence of a part of them.
pub(super) fn without(mut words: Vec<String>, part: &[String]) -> Vec<String> {
    while let Some(at) = words.windows(part.len().max(1)).position(|window| window == part) {
        words.drain(at..at + part.len());
    }
    words
}

/// These words without an option and its value: `--shm-size 16g`, `--shm-size=16g`.
fn without_option(words: &[String], option: &str) -> Vec<String> {
    let mut kept = Vec::new();
    let mut words = words.iter();
    while let Some(word) = words.next() {
        if word == option {
            words.next();
        } else if word.strip_prefix(option).is_none_or(|rest| !rest.starts_with('=')) {
            kept.push(word.clone());
        }
    }
    kept
}
