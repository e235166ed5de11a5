//! Git's own config, as far as approval needs it: what git rewrites all the time and what can make it run something.
//! Clauses: B2.

/// Git itself rewrites the `[branch "x"]` sections of its config with every tracked branch, and none of their usual keys
/// makes it run anything: plain ones are left out, or every `git push -u` would want approval. A section counts as plain
/// only if its every line is; what is not certain stays in.
pub(crate) fn without_plain_branches(config: &[u8]) -> Vec<u8> {
    const PLAIN_KEYS: [&str; 4] = ["merge", "pushremote", "rebase", "remote"];
    let Ok(text) = std::str::from_utf8(config) else {
        return config.to_vec();
    };
    let plain_value = |value: &str| !value.contains(['"', '\\', '[', '#', ';']);
    let plain_key = |line: &str| {
        if line.is_empty() {
            return true;
        }
        let (key, value) = line.split_once('=').unwrap_or((line, "\""));
        PLAIN_KEYS.contains(&key.trim().to_ascii_lowercase().as_str()) && plain_value(value)
    };
    let plain_header = |line: &str| {
        let name = line
            .strip_prefix("[branch \"")
            .and_then(|rest| rest.strip_suffix("\"]"));
        name.is_some_and(plain_value)
    };
    let mut sections: Vec<Vec<&str>> = vec![Vec::new()];
    for line in text.split_inclusive('\n') {
        if line.trim_start().starts_with('[') {
            sections.push(Vec::new());
        }
        if let Some(section) = sections.last_mut() {
            section.push(line);
        }
    }
    sections.retain(|lines| match lines.split_first() {
        Some((header, rest)) => {
            !(plain_header(header.trim()) && rest.iter().all(|line| plain_key(line.trim())))
        }
        None => false,
    });
    sections.concat().concat().into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(config: &str) -> String {
        String::from_utf8(without_plain_branches(config.as_bytes())).unwrap()
    }

    #[test]
    fn a_tracked_branch_needs_no_approval() {
        let core = "[core]\n\tbare = false\n";
        let branch = "[branch \"main\"]\n\tremote = origin\n\tmerge = refs/heads/main\n\n";
        let remote = "[remote \"origin\"]\n\turl = /srv/x\n";
        assert_eq!(
            kept(&format!("{core}{branch}{remote}{branch}")),
            format!("{core}{remote}")
        );
    }

    #[test]
    fn a_branch_section_that_says_more_stays_in() {
        for section in [
            "[branch \"a\"]\n\tremote = ext::sh -c \"x\"\n",
            "[branch \"a\"]\n\tmergeOptions = --x\n",
            "[branch \"a\"] [core] fsmonitor = sh\n",
            "[branch \"a\"]\n\tremote = a\\\n[core]\n",
            "[branch \"a\"]\n\tremote = a ; b\n",
            "[branch \"a\"]\n\tremote\n",
            "[branch \"a\\\"]\"]\n",
            "[branch.a]\n\tremote = a\n",
            "[Branch \"a\"]\n\tremote = a\n",
        ] {
            assert_eq!(kept(section), section);
        }
    }

    #[test]
    fn what_is_no_text_stays_as_it_is() {
        assert_eq!(
            without_plain_branches(b"[branch \"a\"]\n\xff"),
            b"[branch \"a\"]\n\xff"
        );
        assert_eq!(kept(""), "");
    }
}
