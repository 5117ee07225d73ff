//! What a row says, made ready for its units: what is to be asked, how it is sent, the rows of its data sets.

use std::rc::Rc;

use super::Loader;
use super::ask::RequestSpec;
use super::dataset::DatasetEntry;
use crate::base::error::{Error, Result};
use crate::base::redact;
use crate::engines::framework::Framework;
use crate::rows::kinds::{Benchmark, Candidate, Connections, Load, Members, Scenario, Server, Unit};
use crate::system::http::ClientOptions;

impl Loader<'_> {
    /// The rows of a scenario's data set, read once.
    pub(super) fn dataset(&mut self, scenario: &Scenario) -> Result<Rc<(String, Vec<DatasetEntry>)>> {
        let Some(known) = &scenario.dataset else { return Ok(Rc::default()) };
        let read = match self.datasets.get(&known.path) {
            Some(read) => read.clone(),
            None => Rc::new((self.options.read_dataset)(known)?),
        };
        self.datasets.insert(known.path.clone(), read.clone());
        if read.0 != known.sha256 {
            return Err(Error::new("the data set has changed since the plan was expanded").at(known.path.clone()));
        }
        Ok(read)
    }

    /// How requests are sent: the user's headers go before the plan's.
    pub(super) fn manners(&self, bench: &Benchmark, definition: Option<&Framework>) -> Result<ClientOptions> {
        let mut headers = Vec::new();
        for (name, value) in bench.headers.iter().chain(self.options.headers.iter().map(|(n, v)| (n, v))) {
            headers.push((name.clone(), from_environment(value)?));
        }
        Ok(ClientOptions {
            // Of a server that nobody described it is not known that it keeps connections which it promises to keep.
            connections: definition.map_or(Connections::PerRequest, |d| d.request.connections),
            connect_timeout: Some(self.options.connect_timeout),
            api_key: self.options.api_key.clone(),
            headers,
        })
    }
}

/// The scenario and the load of a unit.
pub(super) fn what<'a>(candidate: &'a Candidate, unit: &Unit) -> Result<(&'a Scenario, &'a Load)> {
    let missing = |part: &str| Error::new(format!("the unit {} names no {part} of its row", unit.key));
    let scenario = candidate.scenarios.iter().find(|s| s.name == unit.scenario).ok_or_else(|| missing("scenario"))?;
    Ok((scenario, candidate.loads.get(unit.load).ok_or_else(|| missing("load"))?))
}

/// What is to be asked of a server.
pub(super) fn asking(candidate: &Candidate, server: &Server, definition: Option<&Framework>) -> RequestSpec {
    let bench = &candidate.benchmark;
    let exact_length = match definition {
        _ if !bench.ignore_eos => Members::new(),
        Some(definition) => definition.request.exact_length.clone().into_iter().collect(),
        None => std::iter::once(("ignore_eos".to_string(), true.into())).collect(),
    };
    let made = |scenario: &Scenario| scenario.dataset.as_ref().is_none_or(|dataset| dataset.synthetic);
    RequestSpec {
        endpoint: bench.endpoint,
        model: server.endpoint.model_id.clone(),
        extra: bench.extra_request_body.clone(),
        exact_length,
        ids: definition.is_none_or(|d| d.request.token_id_prompts),
        sized: candidate.scenarios.iter().any(made),
        stream: !bench.whole_answers,
        continuous: bench.continuous_usage && !bench.whole_answers,
    }
}

/// A header's value, with `${NAME}` as the environment has it.
fn from_environment(value: &str) -> Result<String> {
    let mut whole = String::new();
    let mut rest = value;
    while let Some((before, after)) = rest.split_once("${") {
        let (name, after) =
            after.split_once('}').ok_or_else(|| Error::new(format!("no }} ends the ${{ in the header {value:?}")))?;
        let found =
            std::env::var(name).map_err(|_| Error::new(format!("a header names ${{{name}}}, which is not set")))?;
        redact::hide([found.clone()]);
        whole.push_str(before);
        whole.push_str(&found);
        rest = after;
    }
    Ok(whole + rest)
}
