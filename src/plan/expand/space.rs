//! From a search space to the flag sets that are run, and to those that are not.

use std::collections::BTreeSet;

use serde_json::Value;

use super::strategy;
use crate::base::digest;
use crate::engines::framework::Framework;
use crate::plan::{FrameworkPlan, Plan, Refusal, refusal};
use crate::rows::kinds::Members;

/// One flag set of a framework.
#[derive(Debug, Clone, PartialEq)]
pub struct FlagSet {
    /// Baseline and search values together.
    pub flags: Members,
    /// What differs from the baseline.
    pub changed: Members,
    /// Why it is tried.
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

/// Values that no flag set has and nothing refuses.
pub fn never_tried(space: &[(String, Vec<Value>)], sets: &[FlagSet], refused: &[(String, Value)]) -> Members {
    let has = |set: &FlagSet, knob: &str, value: &Value| set.flags.get(knob).unwrap_or(&Value::Null) == value;
    let mut all = Members::new();
    // Of a framework that cannot run at all there is nothing to say but that.
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
    /// The framework's part of it.
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
        // A value that is refused whatever stands beside it would refuse all that it is combined with.
        let (mut left, mut refused_values) = (Vec::new(), Vec::new());
        for (knob, values) in space {
            let alone = |value: &Value| Members::from_iter([(knob.clone(), value.clone())]);
            let good = |value: &&Value| {
                let flags = alone(value);
                base.get(knob) == Some(value) || refusal(plan, self.section, self.framework, &flags, &flags).is_none()
            };
            let kept: Vec<Value> = values.iter().filter(good).cloned().collect();
            if !kept.is_empty() || values.is_empty() {
                left.push((knob.clone(), kept));
            }
            for value in values.iter().filter(|value| base.get(knob) != Some(value)) {
                let set = self.changed(
                    &base,
                    strategy::KnobChange { set: alone(value), why: "a value of the search space".into() },
                );
                if refuse(&set).is_some() {
                    refused_values.push((knob.clone(), value.clone()));
                    sort(set, &mut sets, &mut refused);
                }
            }
        }
        let changes = strategy::changes(plan.strategy, &base, &left, &self.section.list, plan.search_seed);
        // One that refuses nearly all of a huge space has no end that anybody would wait for.
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

    fn changed(&self, base: &Members, change: strategy::KnobChange) -> FlagSet {
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

    /// What two flag sets with the same command have in common: a knob that no flag says is in none.
    fn key(&self, flags: &Members) -> String {
        let said = flags.iter().filter(|(knob, value)| self.framework.spell(knob, value).is_some());
        digest::canonical(&Value::Object(said.map(|(knob, value)| (knob.clone(), value.clone())).collect()))
    }
}
