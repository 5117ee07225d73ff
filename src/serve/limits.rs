//! Limits that a candidate's launchers set and that cannot be raised here: they are left out, or its start would be refused.

use super::launch_commands::{COMMAND_LIMIT, text_of};
use super::supervisor::Supervisor;
use crate::engines::launcher::{LauncherChain, LimitQuery, ResourceLimit, StartValues};
use crate::rows::kinds::Candidate;
use crate::system::process::host;

impl Supervisor<'_> {
    /// The limits to leave out of this candidate's start.
    pub(super) async fn refused_limits(&mut self, candidate: &Candidate) -> Vec<ResourceLimit> {
        let mut refused = Vec::new();
        for query in queries(candidate, self) {
            let hard = host::hard_limits();
            let allowed = query.limits.iter().all(|(limit, words)| hard.allow(*limit, words));
            // All of them: an engine that may not raise one fails at others that it adds as soon as one is named.
            if !allowed && !self.raises_limits(&query).await {
                refused.extend(query.limits.keys());
            }
        }
        refused
    }

    /// Whether the launcher raises any limit; asked once.
    async fn raises_limits(&mut self, query: &LimitQuery) -> bool {
        let Some(check) = &query.check else { return false };
        if let Some(known) = self.limits_raised.get(&check.command) {
            return *known;
        }
        let text = text_of(&check.command, &[], COMMAND_LIMIT).await.unwrap_or_default();
        *self.limits_raised.entry(check.command.clone()).or_insert(check.raises(&text))
    }
}

/// What to ask the candidate's launchers; nothing where they cannot start it, which is reported later.
fn queries(candidate: &Candidate, supervisor: &Supervisor) -> Vec<LimitQuery> {
    let launchers = supervisor.options.frameworks.launchers();
    let start = StartValues::default();
    LauncherChain::new(launchers, &candidate.server, &[], &start).and_then(|chain| chain.limits()).unwrap_or_default()
}
