//! Fills the templates of a launcher with the values of one start.

use std::collections::BTreeMap;

use crate::base::error::{Error, Result};
use crate::base::shell;

/// Words and lists by name, for one launcher of one start.
#[derive(Debug, Clone, Default)]
pub(super) struct TemplateValues {
    /// The launcher's name, for messages.
    pub launcher: String,
    /// `{name}`.
    pub words: BTreeMap<String, String>,
    /// `{name...}`.
    pub lists: BTreeMap<String, Vec<String>>,
    /// The template for one item of a list.
    pub items: BTreeMap<String, Vec<String>>,
    /// The launcher's script, as a template.
    pub script: String,
}

impl TemplateValues {
    /// Fills a template; `{argv...}` and other lists expand to one or more words per item.
    ///
    /// # Errors
    /// A placeholder without a value.
    pub fn command(&self, template: &[String]) -> Result<Vec<String>> {
        let fill =
            if template.iter().any(|word| word.contains("script}")) { self.with_script()? } else { self.clone() };
        let mut words = Vec::new();
        for word in template {
            match word.strip_prefix('{').and_then(|rest| rest.strip_suffix("...}")) {
                Some("argv") => words.extend(self.lists.get("argv").cloned().unwrap_or_default()),
                Some(list) => {
                    let each = self.items.get(list);
                    let each =
                        each.ok_or_else(|| Error::new(format!("launcher {}: unknown list {list:?}", self.launcher)))?;
                    for item in self.lists.get(list).into_iter().flatten() {
                        words.extend(each.iter().map(|word| word.replace("{item}", item)));
                    }
                }
                None => words.push(fill.text(word)?),
            }
        }
        Ok(words)
    }

    /// These values with the launcher's script as `{script}` and `{quoted_script}`.
    pub(super) fn with_script(&self) -> Result<Self> {
        let mut fill = self.clone();
        if !self.script.is_empty() {
            let script = self.text(&self.script)?;
            fill.words.insert("quoted_script".into(), shell::quote(&script).into_owned());
            fill.words.insert("script".into(), script);
        }
        Ok(fill)
    }

    /// The options from the plan.
    pub fn options(&self) -> &[String] {
        self.lists.get("options").map_or(&[], Vec::as_slice)
    }

    /// These values with this command as `{argv...}` and `{command}`.
    pub fn with(&self, argv: &[String]) -> Self {
        let mut fill = self.clone();
        fill.words.insert("command".into(), shell::join(argv));
        fill.lists.insert("argv".into(), argv.to_vec());
        fill
    }

    /// Fills `{word}`; double braces are literal.
    ///
    /// # Errors
    /// A placeholder without a value.
    pub fn text(&self, template: &str) -> Result<String> {
        let mut out = String::new();
        let mut rest = template;
        while let Some(at) = rest.find('{') {
            out.push_str(&rest[..at]);
            let behind = &rest[at..];
            if behind.starts_with("{{") {
                let end = behind.find("}}").map_or(behind.len(), |end| end + 2);
                out.push_str(&behind[..end]);
                rest = &behind[end..];
                continue;
            }
            let end = behind
                .find('}')
                .ok_or_else(|| Error::new(format!("launcher {}: unclosed brace in a template", self.launcher)))?;
            let name = &behind[1..end];
            if name == "grace_s" {
                // The guard fills it in when it stops the server.
                out.push_str("{grace_s}");
            } else {
                let value = self.words.get(name);
                let value = value.ok_or_else(|| Error::new(format!("launcher {} requires {name:?}", self.launcher)))?;
                out.push_str(value);
            }
            rest = &behind[end + 1..];
        }
        out.push_str(rest);
        Ok(out)
    }
}
