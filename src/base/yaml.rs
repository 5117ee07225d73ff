//! The only reader of YAML: from text to a JSON value, with the place of every key and value.
//!
//! The package behind the name `serde_yaml` is serde-saphyr (see `Cargo.toml`). Booleans are only `true` and `false`;
//! duplicate keys, several documents and non-string keys are errors; size, depth and aliases are bounded.

use std::fmt;
use std::sync::LazyLock;

use regex::Regex;
use serde::Deserialize;
use serde::de::{DeserializeOwned, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};
use serde_path_to_error::{Path, Segment};
use serde_yaml::Spanned;
use serde_yaml::options::DuplicateKeyPolicy;

use super::error::{Error, Result};

/// Plain scalars that are not strings in YAML 1.1 (<https://yaml.org/type/>).
static HAZARD: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(
        r"^(?:y|Y|yes|Yes|YES|n|N|no|No|NO|on|On|ON|off|Off|OFF|[-+]?0[0-7_]+|[-+]?0x[0-9a-fA-F_]+|[-+]?0b[01_]+|[-+]?[1-9][0-9_]*(?::[0-5]?[0-9])+(?:\.[0-9_]*)?|[-+]?[0-9][0-9_]*_[0-9_]*|[0-9]{4}-[0-9][0-9]?-[0-9][0-9]?.*)$",
    )
    .expect("a fixed pattern")
});

/// Maximum size of a YAML file, bytes.
pub const MAX_BYTES: usize = 1 << 20;

/// Maximum number of nested lists and maps.
const MAX_DEPTH: usize = 64;
/// Maximum number of values, those of aliases included.
const MAX_NODES: usize = 100_000;
/// Maximum number of aliases.
const MAX_ALIASES: usize = 100;

/// Line and column, both from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct YamlPlace {
    /// Line, from 1.
    pub line: u64,
    /// Column in characters, from 1.
    pub column: u64,
}

impl fmt::Display for YamlPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.line, self.column)
    }
}

/// One YAML document as a JSON value, with the places of its keys and values by JSON pointer (`/dataset/input_len/0`).
#[derive(Debug, Clone, PartialEq)]
pub struct Document {
    /// The content, with keys in the order of the file.
    pub value: Value,
    places: PlaceNode,
}

/// Where a node stands, and those below it.
#[derive(Debug, Clone, PartialEq)]
struct PlaceNode {
    /// Its key; items of lists have none.
    key: Option<YamlPlace>,
    value: YamlPlace,
    /// It is text that YAML 1.1 readers take for another type unless it has quotes.
    hazard: bool,
    below: PlaceChildren,
}

#[derive(Debug, Clone, PartialEq)]
enum PlaceChildren {
    Leaf,
    List(Vec<PlaceNode>),
    Members(Vec<(String, PlaceNode)>),
}

/// One step of the way to a node.
enum PathStep<'a> {
    Member(&'a str),
    Item(usize),
}

impl fmt::Display for PathStep<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Member(key) => write!(f, "/{}", escape(key)),
            Self::Item(i) => write!(f, "/{i}"),
        }
    }
}

impl Document {
    /// The place of the value at `pointer`, or of its nearest parent with a place.
    #[must_use]
    pub fn value_place(&self, pointer: &str) -> YamlPlace {
        self.places.nearest(pointer).0.value
    }

    /// The place of the last key of `pointer`; for an item of a list, which does not have a key, the place of its value.
    #[must_use]
    pub fn key_place(&self, pointer: &str) -> YamlPlace {
        match self.places.nearest(pointer) {
            (PlaceNode { key: Some(key), .. }, true) => *key,
            (node, _) => node.value,
        }
    }
}

impl PlaceNode {
    /// The node at `pointer`, or its nearest parent; and whether it is the node itself.
    fn nearest(&self, pointer: &str) -> (&Self, bool) {
        let mut node = self;
        for part in pointer.split('/').skip(1) {
            let part = part.replace("~1", "/").replace("~0", "~");
            let below = match &node.below {
                PlaceChildren::Leaf => None,
                PlaceChildren::List(items) => part.parse().ok().and_then(|i: usize| items.get(i)),
                PlaceChildren::Members(members) => members.iter().find(|(key, _)| *key == part).map(|(_, node)| node),
            };
            match below {
                Some(below) => node = below,
                None => return (node, false),
            }
        }
        (node, true)
    }

    /// Adds the pointers to what `wanted` is true for. `path` leads to this node.
    fn find<'a>(&'a self, path: &mut Vec<PathStep<'a>>, wanted: &impl Fn(&Self) -> bool, found: &mut Vec<String>) {
        if wanted(self) {
            found.push(path.iter().map(PathStep::to_string).collect());
        }
        let mut below = |step, node: &'a Self| {
            path.push(step);
            node.find(path, wanted, found);
            path.pop();
        };
        match &self.below {
            PlaceChildren::Leaf => {}
            PlaceChildren::List(items) => {
                items.iter().enumerate().for_each(|(i, item)| below(PathStep::Item(i), item));
            }
            PlaceChildren::Members(members) => {
                members.iter().for_each(|(key, item)| below(PathStep::Member(key), item));
            }
        }
    }

    fn is_hazard(text: &str) -> bool {
        text.starts_with(|c: char| "yYnNoO+-".contains(c) || c.is_ascii_digit()) && HAZARD.is_match(text)
    }
}

/// Reads one document.
///
/// # Errors
/// Invalid YAML, with the place `name:line:column`.
pub fn load(text: &str, name: &str) -> Result<Document> {
    if text.len() > MAX_BYTES {
        return Err(Error::new(format!("the file is larger than {MAX_BYTES} bytes")).at(name));
    }
    let root = parse(text, name)?;
    let (value, places) = placed(root, None).map_err(|(place, what)| Error::new(what).at(format!("{name}:{place}")))?;
    Ok(Document { value, places })
}

/// Pointers to strings without quotes that YAML 1.1 readers (PyYAML) take for another type: booleans, octal and sexagesimal
/// numbers, dates.
#[must_use]
pub fn ambiguous(document: &Document, text: &str) -> Vec<String> {
    let lines: Vec<&str> = text.lines().collect();
    let quoted = |place: &YamlPlace| {
        let line = usize::try_from(place.line - 1).ok().and_then(|line| lines.get(line));
        let at = usize::try_from(place.column - 1).unwrap_or(0);
        line.and_then(|line| line.chars().nth(at)).is_some_and(|c| "\"'|>".contains(c))
    };
    let mut all = Vec::new();
    document.places.find(&mut Vec::new(), &|node| node.hazard && !quoted(&node.value), &mut all);
    all
}

/// Reads one document into a type.
///
/// The type is read from the JSON value: code that reads YAML straight into each type is half a megabyte in most programs.
///
/// # Errors
/// As [`load`]; or a value that does not fit the type, with the place of its key.
pub fn typed<T: DeserializeOwned>(text: &str, name: &str) -> Result<T> {
    let document = load(text, name)?;
    serde_path_to_error::deserialize(&document.value).map_err(|e| {
        let place = document.key_place(&pointer(e.path()));
        Error::new(e.into_inner().to_string()).at(format!("{name}:{place}"))
    })
}

fn pointer(path: &Path) -> String {
    let member = |segment: &Segment| match segment {
        Segment::Seq { index } => format!("/{index}"),
        Segment::Map { key } => format!("/{}", escape(key)),
        Segment::Enum { .. } | Segment::Unknown => String::new(),
    };
    path.iter().map(member).collect()
}

fn parse(text: &str, name: &str) -> Result<Spanned<Node>> {
    let options = serde_yaml::options! {
        strict_booleans: true,
        // They are reported with the place of the first one.
        duplicate_keys: DuplicateKeyPolicy::PassThrough,
        reject_unsupported_tags: true,
        leading_zero_numbers_as_strings: true,
        underscored_numbers_as_strings: true,
        merge_keys: serde_yaml::options::MergeKeyPolicy::Error,
        with_snippet: false,
        budget: serde_yaml::budget! {
            max_depth: MAX_DEPTH,
            max_nodes: MAX_NODES,
            max_aliases: MAX_ALIASES,
        },
    };
    serde_yaml::from_str_with_options(text, options).map_err(|e| {
        let place = e.location().filter(|l| l.line() > 0).map(|l| format!("{name}:{}:{}", l.line(), l.column()));
        Error::new(message(&e)).at(place.unwrap_or_else(|| name.to_string()))
    })
}

/// The message for an error of the parser, without its place.
fn message(error: &serde_yaml::Error) -> String {
    use serde_yaml::Error as Refused;
    use serde_yaml::budget::BudgetBreach;
    let too_deep = || format!("nested deeper than {MAX_DEPTH} levels");
    match error.without_snippet() {
        Refused::AliasError { error, .. } => message(error),
        Refused::MultipleDocuments { .. } => "more than one YAML document; a file must hold one".into(),
        Refused::Budget { breach: BudgetBreach::Nodes { .. }, .. } => {
            format!("more than {MAX_NODES} values, aliases included")
        }
        Refused::Budget { breach: BudgetBreach::Depth { .. }, .. } => too_deep(),
        Refused::Budget { breach: BudgetBreach::Aliases { .. }, .. } => format!("more than {MAX_ALIASES} aliases"),
        Refused::ExternalMessage { source, .. } if is_recursion_limit(source) => too_deep(),
        Refused::RecursiveReferencesRequireWeakTypes { .. } => "an alias is used inside its own value".into(),
        Refused::NullIntoString { .. } | Refused::Unexpected { expected: "string scalar", .. } => {
            "a key must be a string (put it in quotes)".into()
        }
        Refused::NonFiniteFloat { value, .. } => format!("a number must be finite, got {value}"),
        Refused::MergeKeyNotAllowed { .. } => "YAML merge keys are not allowed".into(),
        other => first_line(&other.to_string()),
    }
}

fn is_recursion_limit(source: &serde_yaml::ExternalMessageSource) -> bool {
    use serde_yaml::ExternalMessageSource::Parser;
    matches!(source, Parser(error) if matches!(error.kind(), serde_yaml::granit_parser::ErrorKind::RecursionLimitExceeded))
}

/// The first line of the parser's own message, without its place.
fn first_line(text: &str) -> String {
    let line = text.lines().next().unwrap_or_default();
    let end = line.find(" at line ").or_else(|| line.find(" (line ")).unwrap_or(line.len());
    line[..end].trim_start_matches("error: ").trim_end_matches([':', ',']).to_string()
}

/// A value and the places of everything in it. Fails for a duplicate key, with its place and a message.
fn placed(spanned: Spanned<Node>, key: Option<YamlPlace>) -> Result<(Value, PlaceNode), (YamlPlace, String)> {
    let value = at(spanned.referenced);
    let node = |hazard, below| PlaceNode { key, value, hazard, below };
    Ok(match spanned.value {
        Node::Leaf(value) => {
            let hazard = matches!(&value, Value::String(text) if PlaceNode::is_hazard(text));
            (value, node(hazard, PlaceChildren::Leaf))
        }
        Node::List(list) => {
            let (mut items, mut places) = (Vec::with_capacity(list.len()), Vec::with_capacity(list.len()));
            for item in list {
                let (item, place) = placed(item, None)?;
                items.push(item);
                places.push(place);
            }
            (items.into(), node(false, PlaceChildren::List(places)))
        }
        Node::Members(members) => {
            let (mut map, mut places) = (Map::new(), Vec::with_capacity(members.len()));
            for (key, value) in members {
                let (name, own) = (key.value, at(key.referenced));
                let (value, place) = placed(value, Some(own))?;
                if map.insert(name.clone(), value).is_some() {
                    let first = places
                        .iter()
                        .find(|(other, _)| *other == name)
                        .and_then(|(_, first): &(_, PlaceNode)| first.key);
                    let line = first.map_or(1, |first| first.line);
                    return Err((own, format!("duplicate key {name:?}, first in line {line}")));
                }
                places.push((name, place));
            }
            (Value::Object(map), node(false, PlaceChildren::Members(places)))
        }
    })
}

fn at(location: serde_yaml::Location) -> YamlPlace {
    YamlPlace { line: location.line().max(1), column: location.column().max(1) }
}

/// One key as a member of a JSON pointer (RFC 6901).
#[must_use]
pub fn escape(key: &str) -> String {
    if key.contains(['~', '/']) { key.replace('~', "~0").replace('/', "~1") } else { key.to_string() }
}

enum Node {
    Leaf(Value),
    List(Vec<Spanned<Node>>),
    Members(Vec<(Spanned<String>, Spanned<Node>)>),
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(source: D) -> Result<Self, D::Error> {
        source.deserialize_any(NodeVisitor)
    }
}

struct NodeVisitor;

impl<'de> Visitor<'de> for NodeVisitor {
    type Value = Node;

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("a YAML value")
    }
    fn visit_unit<E>(self) -> Result<Node, E> {
        Ok(Node::Leaf(Value::Null))
    }
    fn visit_none<E>(self) -> Result<Node, E> {
        Ok(Node::Leaf(Value::Null))
    }
    fn visit_some<D: Deserializer<'de>>(self, source: D) -> Result<Node, D::Error> {
        Node::deserialize(source)
    }
    fn visit_bool<E>(self, value: bool) -> Result<Node, E> {
        Ok(Node::Leaf(value.into()))
    }
    fn visit_i64<E>(self, value: i64) -> Result<Node, E> {
        Ok(Node::Leaf(value.into()))
    }
    fn visit_u64<E>(self, value: u64) -> Result<Node, E> {
        Ok(Node::Leaf(value.into()))
    }
    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<Node, E> {
        if value.is_finite() { Ok(Node::Leaf(value.into())) } else { Err(E::custom("a number must be finite")) }
    }
    fn visit_str<E>(self, value: &str) -> Result<Node, E> {
        Ok(Node::Leaf(value.into()))
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Node, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element()? {
            list.push(item);
        }
        Ok(Node::List(list))
    }
    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Node, A::Error> {
        let mut list: Vec<(Spanned<String>, Spanned<Node>)> = Vec::new();
        while let Some(member) = members.next_entry::<Spanned<String>, Spanned<Node>>()? {
            list.push(member);
        }
        Ok(Node::Members(list))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn values_and_their_places() {
        let document = load("a: 1\nb:\n  - x\n  - {y: no, z: 1.5}\nc: null\nd: \"2\"\n", "p.yaml").unwrap();
        assert_eq!(document.value, json!({"a": 1, "b": ["x", {"y": "no", "z": 1.5}], "c": null, "d": "2"}));
        assert_eq!(document.value_place("/b/1/z").to_string(), "4:16");
        assert_eq!(document.key_place("/b/1/z").to_string(), "4:13");
        assert_eq!(document.key_place("/b").to_string(), "2:1");
        assert_eq!(document.value_place("/b/1/missing").to_string(), "4:5");
    }

    #[test]
    fn ambiguous_strings_are_found() {
        let text = "a: no\nb: 'no'\nc: [off, 1:30, 010, fine, \"1:30\"]\nd: 2026-11-25\ne: norway\nf: |\n  no\n";
        let document = load(text, "p").unwrap();
        assert_eq!(ambiguous(&document, text), ["/a", "/c/0", "/c/1", "/c/2", "/d"]);
    }

    #[test]
    fn refuses_with_a_place() {
        for (text, said) in [
            ("a: 1\nb: 2\na: 3\n", "p.yaml:3:1: "),
            ("a: [1\nb: 2\n", "p.yaml:"),
            ("a: 1\n---\nb: 2\n", "p.yaml:"),
            ("a: .nan\n", "p.yaml:1:4: a number must be finite, got .nan"),
            ("a: !!python/object:os.system x\n", "p.yaml:1:30: unsupported tag"),
            ("a: {b: 1,\n b: 2}\n", "p.yaml:2:2: duplicate key \"b\", first in line 1"),
        ] {
            let error = load(text, "p.yaml").unwrap_err().to_string();
            assert!(error.contains(said) && error.lines().count() == 1, "{text:?}: {error}");
        }
    }

    #[test]
    fn hostile_input_is_refused() {
        let mut laughs = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x]\n");
        for i in 1..9 {
            let refs = vec![format!("*a{}", i - 1); 9].join(", ");
            laughs.push_str(&format!("a{i}: &a{i} [{refs}]\n"));
        }
        assert!(load(&laughs, "p").is_err());
        assert!(load(&"[".repeat(100_000), "p").is_err());
        assert!(load(&format!("a: {}", " ".repeat(MAX_BYTES)), "p").is_err());
    }

    proptest::proptest! {
        /// Whatever the bytes, a document or an error with its place; a plan that was damaged too.
        #[test]
        fn no_text_panics(text in "(a: |- |&x |\\*x|\\[|\\{|\\}|\\]|\"|'|\n|  |#|!t |~|<<: |0x1|1e9|\\PC){0,40}", cut: proptest::sample::Index, odd in "\\PC{0,3}") {
            if let Ok(document) = load(&text, "x.yaml") {
                let _ = ambiguous(&document, &text);
            }
            let plan = include_str!("../../configs/quickstart.yaml");
            let at = plan.char_indices().map(|(at, _)| at).nth(cut.index(plan.chars().count())).unwrap_or(0);
            let _ = load(&format!("{}{odd}{}", &plan[..at], &plan[at..]), "plan.yaml");
        }
    }
}
