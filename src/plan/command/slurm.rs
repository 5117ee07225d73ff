//! What the options of `srun` say about the nodes of a server.

/// The number of nodes in the option that these words begin with (`-N 2`, `-N2`, `--nodes=2`), as it is written, and how many words the
/// option has; `None` for another option, or without a value.
#[must_use]
pub fn nodes(words: &[String]) -> Option<(&str, usize)> {
    let first = words.first()?;
    match first.as_str() {
        "-N" | "--nodes" => Some((words.get(1)?, 2)),
        _ => {
            let joined = first.strip_prefix("--nodes=").or_else(|| first.strip_prefix("-N"))?;
            Some((joined.trim_start_matches('='), 1))
        }
    }
}

/// The number of nodes that the options of srun ask for, as it is written.
#[must_use]
pub fn nodes_of(options: &[String]) -> Option<&str> {
    (0..options.len()).find_map(|at| Some(nodes(&options[at..])?.0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::shell;

    #[test]
    fn the_nodes_of_a_job_step() {
        for (line, found) in [
            ("-N 2 x", Some(("2", 2))),
            ("-N2", Some(("2", 1))),
            ("--nodes=2", Some(("2", 1))),
            ("--nodes 2-4", Some(("2-4", 2))),
            ("--nodes", None),
            ("--nodelist=a", None),
            ("-n 2", None),
            ("--no-kill", None),
        ] {
            assert_eq!(nodes(&shell::split(line).unwrap()), found, "{line}");
        }
        assert_eq!(nodes_of(&shell::split("-p gpu --nodes=3 --exclusive").unwrap()), Some("3"));
        assert_eq!(nodes_of(&shell::split("-p gpu --exclusive").unwrap()), None);
    }
}
