//! Adds entries to lists of a config's text, so that comments, order and line ends stay as they are. Knows the few shapes
//! that a list has in such a file; what it makes is parsed again by the caller, who judges it.

/// The text with `entries` at the end of the list `key`; none where the list has a shape that is not known here.
pub(crate) fn add(text: &str, key: &str, entries: &[String]) -> Option<String> {
    let newline = if text.contains("\r\n") { "\r\n" } else { "\n" };
    let mut lines: Vec<String> = text.split_inclusive('\n').map(str::to_owned).collect();
    if let Some(last) = lines.last_mut().filter(|last| !last.ends_with('\n')) {
        last.push_str(newline);
    }
    let item = |indent: &str, entry: &String| format!("{indent}- {entry}{newline}");
    let Some(at) = lines.iter().position(|line| value_of(line, key).is_some()) else {
        lines.push(format!("{newline}{key}:{newline}"));
        lines.extend(entries.iter().map(|entry| item("  ", entry)));
        return Some(lines.concat());
    };
    let line = lines.get(at)?.clone();
    let value = value_of(&line, key)?;
    match value {
        "" | "null" | "~" => {
            let (after, indent) = end_of_list(&lines, at);
            if !value.is_empty() {
                *lines.get_mut(at)? = line.replacen(value, "", 1);
            }
            lines.splice(
                after..after,
                entries.iter().map(|entry| item(&indent, entry)),
            );
        }
        _ => {
            let inside = value.strip_prefix('[')?.strip_suffix(']')?;
            let comma = if inside.trim().is_empty() || inside.trim_end().ends_with(',') {
                ""
            } else {
                ", "
            };
            let longer = format!("[{}{comma}{}]", inside.trim_end(), entries.join(", "));
            *lines.get_mut(at)? = line.replacen(value, &longer, 1);
        }
    }
    Some(lines.concat())
}

/// The value in the line of a key at the top of the file, without a comment behind it; none for any other line.
fn value_of<'l>(line: &'l str, key: &str) -> Option<&'l str> {
    let rest = line.strip_prefix(key)?.strip_prefix(':')?;
    if !(rest.is_empty() || rest.starts_with([' ', '\t', '\r', '\n'])) {
        return None;
    }
    let end = rest.find(" #").unwrap_or(rest.len());
    rest.get(..end).map(str::trim)
}

/// Behind which line the next item belongs, and how it is indented: as the last item is, or else right under the key.
fn end_of_list(lines: &[String], key: usize) -> (usize, String) {
    let mut end = (key + 1, "  ".to_owned());
    for (index, line) in lines.iter().enumerate().skip(key + 1) {
        let item = line.trim_start();
        if item.starts_with("- ") || item.trim_end() == "-" {
            end = (
                index + 1,
                line.chars().take_while(|space| *space == ' ').collect(),
            );
        } else if !line.starts_with([' ', '#', '\r', '\n']) {
            break;
        }
    }
    end
}

#[cfg(test)]
mod tests {
    use super::*;

    fn added(text: &str) -> Option<String> {
        add(text, "list", &["x".to_owned(), "y".to_owned()])
    }

    #[test]
    fn entries_go_behind_the_last_one_and_everything_else_stays() {
        let cases = [
            (
                "a: 1\nlist:\n  - p # why\n  # note\n  - q\n\n# other\nb: 2\n",
                "a: 1\nlist:\n  - p # why\n  # note\n  - q\n  - x\n  - y\n\n# other\nb: 2\n",
            ),
            ("list:\n- p\nb: 2\n", "list:\n- p\n- x\n- y\nb: 2\n"),
            ("list:\n    - p", "list:\n    - p\n    - x\n    - y\n"),
            (
                "list:\n#  - example\nb: 2\n",
                "list:\n  - x\n  - y\n#  - example\nb: 2\n",
            ),
            ("list: # why\nb: 2\n", "list: # why\n  - x\n  - y\nb: 2\n"),
            ("list: null\n", "list: \n  - x\n  - y\n"),
            ("list: [p, q] # why\n", "list: [p, q, x, y] # why\n"),
            ("list: []\n", "list: [x, y]\n"),
            (
                "list:\r\n  - p\r\nb: 2\r\n",
                "list:\r\n  - p\r\n  - x\r\n  - y\r\nb: 2\r\n",
            ),
            (
                "listing:\n  - p\n",
                "listing:\n  - p\n\nlist:\n  - x\n  - y\n",
            ),
            ("b: 2", "b: 2\n\nlist:\n  - x\n  - y\n"),
            ("m:\n  list:\n", "m:\n  list:\n\nlist:\n  - x\n  - y\n"),
        ];
        for (before, after) in cases {
            assert_eq!(added(before).as_deref(), Some(after), "{before:?}");
        }
    }

    #[test]
    fn a_list_of_another_shape_is_left_alone() {
        for text in ["list: [p,\n  q]\n", "list: p\n", "list: &a [p]\n"] {
            assert_eq!(added(text), None, "{text:?}");
        }
    }
}
