//! Settings with which no client would get an answer from the server.

use super::finding::Finding;
use super::framework_plan::KnobSetting;
use super::read::Plan;
use crate::base::yaml::escape;
use crate::engines::framework::Frameworks;
use crate::rows::words::FindingCode as Code;

/// Adds findings about a server that clients cannot reach, or that refuses their requests; to `keys`, pointers to API keys.
pub fn check(plan: &Plan, frameworks: &Frameworks, keys: &mut Vec<String>, found: &mut Vec<Finding>) {
    let shows_key = plan.benchmark.headers.keys().any(|name| name.eq_ignore_ascii_case("authorization"));
    for (section, framework) in plan.enabled(frameworks) {
        let at = format!("/frameworks/{}", escape(&section.name));
        let settings = section.settings();
        for setting in settings.iter().filter(|setting| !setting.value.is_null()) {
            if let Some(reason) = framework.unreachable.get(setting.knob) {
                let why = format!("{} cannot be used, because {reason}: leave it out", setting.knob);
                found.push(Finding::value(Code::Command, &setting.pointer(), why));
            }
        }
        let Some(knob) = framework.api_key.as_ref().filter(|_| !shows_key) else { continue };
        let flag = framework.flag(knob);
        let is_flag = |word: &&String| word.split('=').next() == Some(flag.as_str());
        let in_command = section.command.iter().flat_map(|command| &command.rest).find(is_flag);
        let set = settings.iter().find(|setting| setting.knob == knob && !setting.value.is_null());
        let place = set.map(KnobSetting::pointer);
        let place = place.or_else(|| in_command.map(|_| format!("{at}/server_command")));
        let argument = section.extra_args.iter().position(|word| is_flag(&word));
        let place = place.or_else(|| Some(format!("{at}/extra_args/{}", argument?)));
        if let Some(place) = place {
            let why = "the server refuses requests without its API key: leave it out, or write it as ${NAME} and send it with \
                       benchmark.headers: {Authorization: \"Bearer ${NAME}\"}";
            found.push(Finding::value(Code::Conflict, &place, why));
            keys.push(place);
        }
    }
}
