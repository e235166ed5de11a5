use super::*;

#[test]
fn lines_that_are_none_are_skipped_counted_and_told() {
    let place = place(&events());
    let mut bytes = b"\n{\"v\":1}\n\xff\xfe\n{}garbage\n".to_vec();
    bytes.extend(std::fs::read(&place.record).unwrap());
    bytes.extend(b"{\"v\":1,\"seq\":11,\"pr");
    std::fs::write(&place.record, bytes).unwrap();
    let told = format!(
        "warning: 5 lines could not be read; the first: {}:1: not an event of the record: \
         EOF while parsing a value at byte 0\n",
        place.record.display()
    );
    let (code, out, err) = place.types("query");
    assert_eq!(
        (code, out.lines().count(), err.as_str()),
        (0, 10, told.as_str())
    );
    let (code, out, err) = place.types("report");
    assert_eq!(
        (code, out.lines().count(), err.as_str()),
        (0, 12, told.as_str())
    );
    let (_, out, _) = place.types("report --json");
    assert!(out.contains("\"unread_lines\":5"), "{out}");
}

#[test]
fn a_file_without_a_single_event_is_no_record() {
    let place = place(&events());
    std::fs::write(place.root.join("notes"), "one\ntwo\n").unwrap();
    let file = place.root.join("notes").display().to_string();
    let told = format!(
        "ocs: {file} is no record: no line of it is an event; line 1: not an event of the record: \
         expected value at byte 1\n"
    );
    for line in ["report notes", "report --json notes", "query notes"] {
        assert_eq!(
            place.types(line),
            (64, String::new(), told.clone()),
            "{line}"
        );
    }
}

#[test]
fn what_is_hostile_in_a_record_is_escaped() {
    let place = place(&[request(
        1,
        "a\u{1b}]0;x\u{7}\u{202e}b",
        Decision::Deny,
        Some("/\u{200b}\r\n"),
    )]);
    let (_, out, _) = place.types("query");
    let expected = "2026-11-21T01:00:00.000Z deny   connect       a\\u{1b}]0;x\\u{7}\\u{202e}b:443  \
        not-whitelisted, \\u{200b}\\r\\n[7]\n";
    assert_eq!(out, expected);
    let (_, out, _) = place.types("report");
    assert!(
        out.bytes()
            .all(|byte| byte == b'\n' || (b' '..=b'~').contains(&byte)),
        "{out:?}"
    );
}

#[test]
fn any_file_can_be_read_from_anywhere() {
    let place = place(&events());
    let elsewhere = place.home.join("x.txt");
    std::fs::copy(&place.record, &elsewhere).unwrap();
    let away = Place {
        _keep: tempfile::tempdir().unwrap(),
        root: place.home.clone(),
        home: place.home.clone(),
        record: elsewhere,
    };
    for line in ["query x.txt", "report x.txt", "verify x.txt"] {
        assert_eq!(away.types(line).0, 0, "{line}");
    }
    let (code, out, err) = away.types("query");
    let told = format!(
        "ocs: no {CONFIG_FILE} in {} or any directory above it\nnext: ocs init\n",
        away.root.display()
    );
    assert_eq!((code, out.as_str(), err), (64, "", told));
    let gone = away.root.join("gone.jsonl").display().to_string();
    let told = format!("ocs: read {gone}: No such file or directory (os error 2)\n");
    assert_eq!(away.types("verify gone.jsonl"), (64, String::new(), told));
}

#[test]
fn a_project_without_a_record_is_told_how_to_get_one() {
    let place = place(&events());
    std::fs::remove_file(&place.record).unwrap();
    let directory = place
        .record
        .parent()
        .map(Path::display)
        .map(|path| path.to_string())
        .unwrap();
    let told = format!("ocs: there is no record in {directory}\nnext: ocs run -- CMD writes one\n");
    for line in ["query", "report", "verify"] {
        assert_eq!(place.types(line), (64, String::new(), told.clone()));
    }
}
