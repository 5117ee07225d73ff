//! A unit of systemd.

/// The unit with this name for a command line of a shell.
#[must_use]
pub fn unit(name: &str, description: &str, command: &str) -> String {
    format!(
        "[Unit]\n\
         Description={}\n\
         Wants=network-online.target\n\
         After=network-online.target\n\n\
         [Service]\n\
         Type=exec\n\
         StateDirectory={name}\n\
         WorkingDirectory=%S/{name}\n\
         # Secrets, one NAME=VALUE a line; the file may be missing.\n\
         EnvironmentFile=-/etc/{name}.env\n\
         ExecStart=/bin/sh -c {}\n\
         Restart=on-failure\n\
         RestartSec=10\n\
         TimeoutStopSec=120\n\
         LimitNOFILE=65536\n\
         LimitMEMLOCK=infinity\n\n\
         [Install]\n\
         WantedBy=multi-user.target\n",
        description.replace('%', "%%").replace(['\n', '\r'], " "),
        quoted(command)
    )
}

/// One word of a command line of a unit: systemd reads C escapes in it, specifiers after % and variables after $.
fn quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            '%' | '$' => out.extend([c, c]),
            '\n' => out.push_str("\\n"),
            c => out.push(c),
        }
    }
    out + "\""
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_is_one_word_of_the_unit() {
        assert_eq!(quoted(r#"A='{"b":1}' serve "$HOME" 50% \x"#), r#""A='{\"b\":1}' serve \"$$HOME\" 50%% \\x""#);
    }
}
