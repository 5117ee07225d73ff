//! Codes of findings about a plan. A code stays the same when its message changes.

use super::words;

words! {
    /// Severity of a finding.
    pub enum FindingLevel, "level" {
        /// Information: the plan is correct.
        Note = "note",
        /// The plan works, but perhaps not as intended.
        Warning = "warning",
        /// The plan cannot be used: no row is written.
        Error = "error",
    }
}

words! {
    /// The code of a finding; its first letter is that of its level. `configs/rules/findings.yaml` explains each.
    pub enum FindingCode, "finding code" {
        /// The file is not one YAML document.
        Yaml = "E-YAML",
        /// A value of another type.
        Type = "E-TYPE",
        /// A value out of range.
        Range = "E-RANGE",
        /// A word that is not a known one.
        Word = "E-WORD",
        /// An unknown key that is close to a known one.
        KeyTypo = "E-KEY-TYPO",
        /// An unknown key.
        KeyUnused = "W-KEY-UNUSED",
        /// A key that the framework's launcher does not use.
        KeyLauncher = "E-KEY-LAUNCHER",
        /// A key of a plan row.
        KeyReserved = "E-KEY-RESERVED",
        /// A missing key.
        Missing = "E-MISSING",
        /// An empty value.
        Empty = "E-EMPTY",
        /// The same setting in two places.
        TwoPlaces = "E-TWO-PLACES",
        /// The same scenario or load twice.
        Duplicate = "E-DUPLICATE",
        /// The same value listed twice in a search space.
        DuplicateValue = "W-DUPLICATE",
        /// A key that contradicts the rest of the plan.
        NoEffect = "E-NO-EFFECT",
        /// A key without effect.
        NoEffectWarning = "W-NO-EFFECT",
        /// A key of other tools without effect.
        Ignored = "N-IGNORED",
        /// A string that YAML 1.1 readers take for another type.
        Yaml11 = "W-YAML-1-1",
        /// Lengths and scenario names that do not match.
        Lengths = "E-LENGTHS",
        /// A dataset that cannot be used.
        Dataset = "E-DATASET",
        /// An unknown scenario.
        Scenario = "E-SCENARIO",
        /// An unknown SLA limit.
        SlaKey = "E-SLA-KEY",
        /// A threshold outside the range of its limit.
        SlaValue = "E-SLA-VALUE",
        /// A rate search without an SLA.
        SlaMissing = "W-SLA-MISSING",
        /// Too few requests to confirm a p99.
        P99N = "W-P99-N",
        /// A rate search that cannot reach its tolerance.
        QpsTolerance = "W-QPS-TOLERANCE",
        /// An endpoint that a framework does not have.
        Endpoint = "E-ENDPOINT",
        /// An endpoint that only one framework has.
        EndpointUnequal = "W-ENDPOINT",
        /// A cache reset that a framework does not support.
        CacheReset = "E-CACHE-RESET",
        /// A search over prefix caching with prompts that do not share a prefix.
        PrefixRandom = "W-PREFIX-RANDOM",
        /// A secret in the plan.
        SecretInline = "E-SECRET-INLINE",
        /// An unknown framework.
        Framework = "E-FRAMEWORK",
        /// A framework that cannot be started.
        FrameworkMissing = "E-FRAMEWORK-MISSING",
        /// A framework that cannot be started and is skipped.
        FrameworkSkipped = "W-FRAMEWORK-MISSING",
        /// A launcher that is unknown or lacks a setting.
        Launcher = "E-LAUNCHER",
        /// A mount that the launcher cannot use as written.
        Mount = "E-MOUNT",
        /// A mount whose home folder is filled in.
        MountHome = "W-MOUNT-HOME",
        /// A command that cannot be read or used.
        Command = "E-COMMAND",
        /// A part of a command that changes what is compared.
        CommandModel = "W-COMMAND-MODEL",
        /// A part of a command that is replaced.
        CommandReplaced = "N-COMMAND",
        /// Two values of one setting, one of them in a command.
        Conflict = "E-CONFLICT",
        /// Text that is not a version.
        Version = "E-VERSION",
        /// An unknown knob that is close to a known one.
        KnobTypo = "E-KNOB-TYPO",
        /// An unknown knob.
        KnobUnknown = "W-KNOB-UNKNOWN",
        /// A value that a knob does not take.
        KnobValue = "E-KNOB-VALUE",
        /// A knob that cannot be searched.
        KnobFixed = "E-KNOB-FIXED",
        /// A flag that the installed version does not have.
        Flag = "E-FLAG",
        /// A flag that the installed version does not have, and whose candidates are skipped.
        FlagSkipped = "W-FLAG",
        /// A flag that is renamed or dropped.
        FlagRenamed = "N-FLAG-RENAMED",
        /// Flags that could not be checked.
        FlagsUnchecked = "N-FLAGS-UNCHECKED",
        /// A sequence limit that is too short.
        Sequence = "E-SEQUENCE",
        /// A rule that excludes a value of the baseline.
        Rule = "E-RULE",
        /// A rule that excludes a value of the search space, or makes a smoke test.
        RuleSkipped = "W-RULE",
        /// More GPUs than available.
        Gpus = "E-GPUS",
        /// Candidates that cannot run here.
        Unsupported = "W-UNSUPPORTED",
        /// A knob of the second stage (speculative decoding).
        Speculative = "N-SPECULATIVE",
        /// Speculative decoding whose results are not ranked, or not forced.
        Drafts = "W-DRAFTS",
        /// A rule that needs the GPU model, which is unknown.
        GpuUnknown = "W-GPU-UNKNOWN",
        /// Weights that certainly do not fit.
        MemorySurely = "E-MEMORY",
        /// Weights that probably do not fit.
        Memory = "W-MEMORY",
        /// A model that the version does not serve.
        ModelUnserved = "E-MODEL",
        /// A model that none of the known releases serves.
        ModelDoubtful = "W-MODEL",
        /// A setting as a flag and in an option file.
        OptionTwice = "E-OPTION",
        /// A flag that an option file may make ineffective.
        OptionIgnored = "W-OPTION",
        /// An option file that cannot be read on this host.
        OptionUnread = "W-OPTION-FILE",
        /// Experts that the GPUs cannot share in whole blocks.
        Experts = "W-EXPERTS",
        /// Attention heads that the GPUs cannot share.
        Heads = "W-HEADS",
        /// Weights that each start of a container loads again.
        HubCache = "W-HUB-CACHE",
        /// Paths of this host that a container does not see.
        Unmounted = "W-UNMOUNTED",
        /// Baselines that differ.
        Unequal = "N-UNEQUAL",
        /// A host that cannot run the plan.
        Host = "E-HOST",
        /// A host that may not be able to run the plan.
        HostWarning = "W-HOST",
        /// A check of the host that was skipped.
        HostUnchecked = "N-HOST",
    }
}

impl FindingCode {
    /// The level of its findings; `--strict` turns warnings into errors.
    #[must_use]
    pub const fn level(self) -> FindingLevel {
        match self {
            Self::Yaml
            | Self::Type
            | Self::Range
            | Self::Word
            | Self::KeyTypo
            | Self::KeyLauncher
            | Self::KeyReserved
            | Self::Missing
            | Self::Empty
            | Self::TwoPlaces
            | Self::Duplicate
            | Self::NoEffect
            | Self::Lengths
            | Self::Dataset
            | Self::Scenario
            | Self::SlaKey
            | Self::SlaValue
            | Self::Endpoint
            | Self::CacheReset
            | Self::SecretInline
            | Self::Framework
            | Self::FrameworkMissing
            | Self::Launcher
            | Self::Mount
            | Self::Command
            | Self::Conflict
            | Self::Version
            | Self::KnobTypo
            | Self::KnobValue
            | Self::KnobFixed
            | Self::Flag
            | Self::Sequence
            | Self::Rule
            | Self::Gpus
            | Self::MemorySurely
            | Self::ModelUnserved
            | Self::OptionTwice
            | Self::Host => FindingLevel::Error,
            Self::KeyUnused
            | Self::DuplicateValue
            | Self::NoEffectWarning
            | Self::Yaml11
            | Self::SlaMissing
            | Self::P99N
            | Self::QpsTolerance
            | Self::EndpointUnequal
            | Self::PrefixRandom
            | Self::FrameworkSkipped
            | Self::MountHome
            | Self::ModelDoubtful
            | Self::OptionIgnored
            | Self::OptionUnread
            | Self::CommandModel
            | Self::KnobUnknown
            | Self::FlagSkipped
            | Self::RuleSkipped
            | Self::Unsupported
            | Self::Drafts
            | Self::GpuUnknown
            | Self::Memory
            | Self::Experts
            | Self::Heads
            | Self::HubCache
            | Self::Unmounted
            | Self::HostWarning => FindingLevel::Warning,
            Self::Ignored
            | Self::CommandReplaced
            | Self::FlagRenamed
            | Self::FlagsUnchecked
            | Self::Speculative
            | Self::Unequal
            | Self::HostUnchecked => FindingLevel::Note,
        }
    }

    /// The known code most similar to another word.
    #[must_use]
    pub fn nearest(word: &str) -> Self {
        let word = word.to_ascii_uppercase();
        let similar = |code: &Self| strsim::jaro_winkler(code.as_str(), &word);
        let order = |a: &&Self, b: &&Self| similar(a).total_cmp(&similar(b));
        Self::ALL.iter().max_by(order).copied().unwrap_or(Self::Type)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_letter_is_that_of_the_level() {
        for code in FindingCode::ALL {
            let letter = &code.level().as_str()[..1];
            assert!(code.as_str()[..1].eq_ignore_ascii_case(letter), "{code}");
        }
    }

    #[test]
    fn a_typing_mistake_gets_the_nearest_code() {
        for (word, code) in
            [("W-P9-N", FindingCode::P99N), ("e-secret", FindingCode::SecretInline), ("E-KEY", FindingCode::KeyTypo)]
        {
            assert_eq!(FindingCode::nearest(word), code, "{word}");
        }
    }
}
