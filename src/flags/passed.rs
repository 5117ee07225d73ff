//! Options of one program that another one has too, to pass them on as they were given: their names, values and help are those of the first.

use std::ffi::OsString;
use std::marker::PhantomData;

use clap::error::Error;
use clap::parser::ValueSource;
use clap::{ArgMatches, Args, Command, FromArgMatches};

/// The options of `A` as words of a command line: those that were given, in the order of its fields.
#[derive(Debug, Clone)]
pub struct PassedOn<A> {
    /// `--ready-timeout 60`.
    pub words: Vec<OsString>,
    options: PhantomData<A>,
}

impl<A: Args> FromArgMatches for PassedOn<A> {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, Error> {
        A::from_arg_matches(matches)?;
        let mut words = Vec::new();
        for option in A::augment_args(Command::new("")).get_arguments() {
            let id = option.get_id().as_str();
            let Some(name) = option.get_long() else { continue };
            if matches.value_source(id) == Some(ValueSource::CommandLine) {
                let values = matches.get_raw(id).into_iter().flatten();
                words.extend(values.flat_map(|value| [format!("--{name}").into(), value.to_os_string()]));
            }
        }
        Ok(Self { words, options: PhantomData })
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

impl<A: Args> Args for PassedOn<A> {
    fn augment_args(command: Command) -> Command {
        A::augment_args(command)
    }

    fn augment_args_for_update(command: Command) -> Command {
        A::augment_args_for_update(command)
    }
}
