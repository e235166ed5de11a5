use super::*;

fn scalar(line: u32, column: u32, text: &str, plain: bool) -> Node {
    let kind = Kind::Scalar(Scalar {
        text: text.to_owned(),
        plain,
    });
    Node {
        place: Place { line, column },
        kind,
    }
}

fn mistakes(text: &str) -> Vec<(u32, u32, String)> {
    let all = read(text).mistakes;
    all.into_iter()
        .map(|mistake| (mistake.place.line, mistake.place.column, mistake.message))
        .collect()
}

#[test]
fn every_node_knows_its_line_and_column_and_its_source_text() {
    let reading = read("a: 1.10 # note\nb:\n- 'x'\n- 08\nc:\n");
    let root = Node {
        place: Place { line: 1, column: 1 },
        kind: Kind::Map(vec![
            (scalar(1, 1, "a", true), scalar(1, 4, "1.10", true)),
            (
                scalar(2, 1, "b", true),
                Node {
                    place: Place { line: 3, column: 3 },
                    kind: Kind::List(vec![scalar(3, 3, "x", false), scalar(4, 3, "08", true)]),
                },
            ),
            (scalar(5, 1, "c", true), scalar(5, 2, "", true)),
        ]),
    };
    assert_eq!(reading.mistakes, []);
    assert_eq!(reading.root, Some(root));
}

#[test]
fn carriage_returns_and_a_byte_order_mark_change_nothing() {
    let plain = read("a: 1\nb:\n  - x\n");
    let dos = read("\u{feff}a: 1\r\nb:\r\n  - x\r\n");
    assert_eq!(dos.mistakes, []);
    assert_eq!(plain.root, dos.root);
}

#[test]
fn anchors_aliases_tags_and_documents_are_all_named_with_their_places() {
    let text = "a: &x 1\nb: *x\nc: !!str 2\nd:\n  - *.example.org\n  - *.example.com\n---\ne: 1\n";
    assert_eq!(
        mistakes(text),
        [
            (
                1,
                4,
                "anchors (`&`) are not allowed: `x`; write the value itself".to_owned()
            ),
            (
                2,
                4,
                "aliases (`*`) are not allowed; write the value itself".to_owned()
            ),
            (
                3,
                4,
                "tags (`!`) are not allowed; a value that starts with `!` needs quotes".to_owned()
            ),
            (
                5,
                5,
                "`*.example.org` without quotes is an alias in YAML, and aliases are not allowed"
                    .to_owned()
            ),
            (
                6,
                5,
                "`*.example.com` without quotes is an alias in YAML, and aliases are not allowed"
                    .to_owned()
            ),
            (7, 1, "a second document (`---`) is not allowed".to_owned()),
        ]
    );
}

#[test]
fn a_text_that_is_not_yaml_keeps_what_stands_before() {
    let reading = read("a: 1\nb: [1, 2\nc: 3\n");
    assert!(reading.cut);
    assert_eq!(reading.mistakes.len(), 1);
    let Some(Node {
        kind: Kind::Map(pairs),
        ..
    }) = reading.root
    else {
        panic!("no map");
    };
    assert_eq!(
        pairs.first(),
        Some(&(scalar(1, 1, "a", true), scalar(1, 4, "1", true)))
    );
}

#[test]
fn depth_is_bounded() {
    let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
    assert_eq!(mistakes(&nested(8)), []);
    assert_eq!(
        mistakes(&nested(9)),
        [(1, 9, "nested deeper than 8".to_owned())]
    );
    // Far deeper the YAML crate's own bound comes first.
    let reading = read(&nested(100_000));
    assert!(reading.cut);
    assert_eq!(reading.mistakes.len(), 1);
}

#[test]
fn an_empty_text_has_no_tree() {
    for text in ["", "\n\n", "# note\n", "---\n"] {
        let reading = read(text);
        assert_eq!(reading.mistakes, [], "{text:?}");
        assert!(
            reading
                .root
                .is_none_or(|node| node.kind == scalar(1, 1, "", true).kind),
            "{text:?}"
        );
    }
}

#[test]
fn plain_scalars_that_yaml_takes_for_something_else_are_known() {
    let of = |text: &str| {
        Scalar {
            text: text.to_owned(),
            plain: true,
        }
        .foreign_type()
    };
    for text in [
        "1", "-1", "+1", "1.5", "1e3", "0x1f", "0o17", "08", ".5", ".inf", "-.INF", ".nan", "1_000",
    ] {
        let expected = if text.contains('_') {
            None
        } else {
            Some("a number")
        };
        assert_eq!(of(text), expected, "{text}");
    }
    for text in ["true", "False", "YES", "no", "on", "Off", "y", "N"] {
        assert_eq!(of(text), Some("a boolean"), "{text}");
    }
    for text in ["", "~", "null", "NULL"] {
        assert_eq!(of(text), Some("nothing"), "{text}");
    }
    for text in [
        "example.org",
        ".example.org",
        "1.2.3",
        "0x",
        "inf",
        "nan",
        "1e",
        "infinity",
        "-",
    ] {
        assert_eq!(of(text), None, "{text}");
    }
    let quoted = Scalar {
        text: "true".to_owned(),
        plain: false,
    };
    assert_eq!(quoted.foreign_type(), None);
}

#[test]
fn a_hostile_value_is_shown_escaped_and_cut() {
    assert_eq!(
        quoted("a\u{202e}b\n\u{1b}[31m'\""),
        "`a\\u{202e}b\\n\\u{1b}[31m'\"`"
    );
    assert_eq!(quoted(&"x".repeat(100)), format!("`{}...`", "x".repeat(80)));
}

#[test]
fn no_prefix_of_a_file_makes_the_reader_fail_otherwise_than_by_mistakes() {
    let text = "sandbox-name: \"a\"\r\nx: [a, {b: c}, 'd']\r\ny:\r\n  - |\r\n    text\r\n  - &a *b\r\nz: !t\r\n--- \r\n";
    for end in 0..=text.len() {
        // What matters is that it returns, and that places lie within the text.
        let reading = read(&text[..end]);
        for mistake in reading.mistakes {
            assert!(mistake.place.line <= 9, "{mistake:?}");
        }
    }
}
