//! Plans: their keys and values, and the checks of a plan.

pub mod check;
pub mod command;
mod context;
mod document;
mod draft;
mod drafting;
pub mod expand;
mod experts;
pub mod explain;
mod fair;
mod finding;
mod fit;
mod flags;
mod framework_plan;
mod frameworks;
mod heads;
mod hub;
pub mod keys;
mod limits;
mod members;
mod model;
mod mounts;
mod named;
mod named_shape;
mod option_files;
mod option_precedence;
mod reach;
mod read;
mod refusal;
mod rules;
mod secrets;
mod served;
pub mod shape;
mod spelling;
mod types;
mod unexpanded;
mod unknown;
mod unmounted;
mod visible;

use serde_json::Value;

pub use self::command::Command;
pub use self::context::{CheckContext, UnknownFlags};
pub use self::draft::PlanDraft;
pub use self::experts::proposal as expert_proposal;
pub use self::finding::{Finding, Level};
pub use self::flags::MISSING_WAY_OUT;
pub use self::framework_plan::FrameworkPlan;
pub use self::hub::{CACHE_MOUNT, is_hub_id};
pub use self::keys::{DEFAULT_QPS, DEFAULT_USERS};
pub use self::members::nested;
pub use self::model::{ModelFacts, parameters};
pub use self::named::NamedSize;
pub use self::read::Plan;
pub use self::refusal::{Refusal, is_smoke, refusal, too_short};

/// Checks a plan as read from its file or row: all findings, and the plan itself if none of them is an error.
pub fn load(value: &Value, context: &CheckContext) -> (Vec<Finding>, Option<Plan>) {
    PlanDraft::read(value, context.frameworks, context.home.as_deref()).check(context)
}
