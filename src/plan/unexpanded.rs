//! Words of a plan that no shell expands: the command, arguments, values of knobs, images, options of launchers, variables.

use super::command::unshelled::{problem, problem_outside};
use super::command::{is_flag, line};
use super::finding::Finding;
use super::read::Plan;
use crate::base::redact::is_secret_name;
use crate::base::yaml::escape;
use crate::rows::words::FindingCode as Code;

/// Adds a finding for each word that would reach the server as it stands, though only a shell makes of it what is meant.
pub fn check(plan: &Plan, found: &mut Vec<Finding>) {
    if let Some(why) = problem_outside(&plan.model) {
        found.push(Finding::value(Code::Command, "/model", why));
    }
    for section in plan.frameworks.iter().filter(|section| section.enabled) {
        let at = format!("/frameworks/{}", escape(&section.name));
        let mut report = |code: Code, place: String, word: &str| {
            let outside = ["image", "env/", "launcher/", "model"].iter().any(|part| place.starts_with(part));
            if let Some(why) = if outside { problem_outside(word) } else { problem(word) } {
                found.push(Finding::value(code, &format!("{at}/{place}"), why));
            }
        };
        if let Some(command) = &section.command {
            // The script of a shell, and its "$@".
            let script = |word: &&String| word.contains(char::is_whitespace) || word.contains("$@");
            let words = command.head.iter().filter(|word| !script(word));
            let words = words.chain(command.model.iter().flatten()).chain(&command.host).chain(&command.rest);
            words.for_each(|word| report(Code::Command, "server_command".into(), word));
        }
        // The value of a flag for a secret has been reported, too.
        let secret = |i: usize| {
            let flag = i.checked_sub(1).and_then(|i| section.extra_args.get(i)).filter(|word| is_flag(word));
            flag.is_some_and(|flag| is_secret_name(flag.trim_start_matches('-')))
        };
        for (i, word) in section.extra_args.iter().enumerate().filter(|(i, _)| !secret(*i)) {
            report(Code::Command, format!("extra_args/{i}"), word);
        }
        for text in section.model.iter() {
            report(Code::Command, "model".into(), text);
        }
        for text in section.image.iter() {
            report(Code::Launcher, "image".into(), text);
        }
        // A secret has been reported.
        for (name, text) in section.env.iter().filter(|(name, _)| !is_secret_name(name)) {
            // `PATH=$PATH:/x`: the variable may stand anywhere in the list.
            for part in text.iter().flat_map(|text| text.split(':')) {
                report(Code::Command, format!("env/{}", escape(name)), part);
            }
        }
        for setting in section.settings() {
            if let Some(text) = setting.value.as_str() {
                report(Code::KnobValue, setting.place(), text);
            }
        }
        for (level, step) in section.launcher.iter().enumerate() {
            let place = if section.launcher.len() > 1 {
                format!("launcher/{level}/options")
            } else {
                "launcher/options".into()
            };
            let commands = step.options.get("options").and_then(|text| line::commands(text).ok());
            let words = commands.iter().flatten().flat_map(|command| &command.words);
            words.for_each(|word| report(Code::Launcher, place.clone(), word));
        }
    }
}
