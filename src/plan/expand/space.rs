//! From a search space to the flag sets to run, and those that are refused.

use std::collections::BTreeSet;

use serde_json::Value;

use super::change::KnobChange;
use super::strategy;
use crate::base::digest;
use crate::engines::framework::Framework;
use crate::plan::{FrameworkPlan, Plan, Refusal, refusal};
use crate::rows::kinds::Members;

/// One flag set of a framework.
#[derive(Debug, Clone, PartialEq)]
pub struct FlagSet {
    /// All its flags, those of the baseline included.
    pub flags: Members,
    /// The flags in which it differs from the baseline.
    pub changed: Members,
    /// Why it is run, in a few words.
    pub why: String,
}

/// The flag sets of a framework.
pub struct FlagSets {
    /// Those that are run, the baseline first.
    pub sets: Vec<FlagSet>,
    /// Those that are not run: one for each reason.
    pub refused: Vec<(FlagSet, Refusal)>,
    /// Knobs with a value that is refused whatever it is combined with.
    pub refused_values: Vec<(String, Value)>,
}

/// Allowed values that no flag set has, by knob.
pub fn never_tried(space: &[(String, Vec<Value>)], sets: &[FlagSet], refused: &[(String, Value)]) -> Members {
    let has = |set: &FlagSet, knob: &str, value: &Value| set.flags.get(knob).unwrap_or(&Value::Null) == value;
    let mut all = Members::new();
    // If the framework cannot run at all, only that is reported.
    for (knob, values) in space.iter().filter(|_| !sets.is_empty()) {
        let never = values.iter().filter(|value| {
            let is_refused = refused.iter().any(|(other, refused)| other == knob && refused == *value);
            !is_refused && !sets.iter().any(|set| has(set, knob, value))
        });
        let never: Vec<Value> = never.cloned().collect();
        if !never.is_empty() {
            all.insert(knob.clone(), never.into());
        }
    }
    all
}

/// Walks the search space of one framework.
pub struct FlagSetSearch<'a> {
    /// The plan.
    pub plan: &'a Plan,
    /// The framework's section of it.
    pub section: &'a FrameworkPlan,
    /// Its definition.
    pub framework: &'a Framework,
}

impl FlagSetSearch<'_> {
    /// The flag sets that are run, without duplicates and at most `max_candidates`, and one refused set for each reason.
    /// Refused sets do not count towards that maximum.
    pub fn sets(&self, baseline: FlagSet, space: &[(String, Vec<Value>)]) -> FlagSets {
        let (plan, base) = (self.plan, baseline.flags.clone());
        let cap = plan.max_candidates.max(1);
        let refuse = |set: &FlagSet| refusal(plan, self.section, self.framework, &set.flags, &set.changed);
        let mut seen = BTreeSet::from([self.key(&base)]);
        let mut reasons = BTreeSet::new();
        let (mut sets, mut refused) = (Vec::new(), Vec::new());
        let mut sort = |set: FlagSet, sets: &mut Vec<FlagSet>, refused: &mut Vec<(FlagSet, Refusal)>| match refuse(&set)
        {
            None => sets.push(set),
            Some(why) if reasons.insert(why.reason.clone()) => refused.push((set, why)),
            Some(_) => {}
        };
        sort(baseline, &mut sets, &mut refused);
        // A value that is refused on its own would refuse every combination with it: leave it out.
        let (mut left, mut refused_values) = (Vec::new(), Vec::new());
        for (knob, values) in space {
            let alone = |value: &Value| Members::from_iter([(knob.clone(), value.clone())]);
            let good = |value: &&Value| {
                let flags = alone(value);
                base.get(knob) == Some(value) || refusal(plan, self.section, self.framework, &flags, &flags).is_none()
            };
            let allowed: Vec<Value> = values.iter().filter(good).cloned().collect();
            if !allowed.is_empty() || values.is_empty() {
                left.push((knob.clone(), allowed));
            }
            for value in values.iter().filter(|value| base.get(knob) != Some(value)) {
                let set =
                    self.changed(&base, KnobChange { set: alone(value), why: "a value of the search space".into() });
                let varied = |other: &String| space.iter().any(|(knob, _)| knob == other);
                if refuse(&set).is_some_and(|why| !why.may_be_lifted(knob, varied)) {
                    refused_values.push((knob.clone(), value.clone()));
                    sort(set, &mut sets, &mut refused);
                }
            }
        }
        let allowed = |set: &Members| {
            let set = self.changed(&base, KnobChange { set: set.clone(), why: String::new() });
            refuse(&set).is_none()
        };
        let changes = strategy::changes(plan.strategy, &base, &left, &self.section.list, plan.search_seed, &allowed);
        // Bounded, in case nearly all of a huge space is refused.
        for change in changes.take(100_000) {
            if sets.len() >= cap {
                break;
            }
            let set = self.changed(&base, change);
            if seen.insert(self.key(&set.flags)) {
                sort(set, &mut sets, &mut refused);
            }
        }
        FlagSets { sets, refused, refused_values }
    }

    fn changed(&self, base: &Members, change: KnobChange) -> FlagSet {
        let mut flags = base.clone();
        let mut changed = Members::new();
        for (knob, value) in change.set {
            if base.get(&knob).unwrap_or(&Value::Null) == &value {
                continue;
            }
            if value.is_null() {
                flags.remove(&knob)
            } else {
                flags.insert(knob.clone(), value.clone())
            };
            changed.insert(knob, value);
        }
        FlagSet { flags, changed, why: change.why }
    }

    /// Equal for flag sets with the same command: knobs that add nothing to the command are left out.
    fn key(&self, flags: &Members) -> String {
        digest::canonical_members(flags.iter().filter(|(_, value)| self.framework.is_spelled(value)))
    }
}
