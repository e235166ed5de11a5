use super::*;

#[test]
fn verify_says_that_a_record_is_whole() {
    let place = place(&events());
    let path = place.record.display();
    let (code, out, err) = place.types("verify");
    let head = out.trim_end().rsplit(' ').next().unwrap().to_owned();
    assert_eq!(
        (code, out, err.as_str()),
        (
            0,
            format!("{path}: whole, 10 lines, not signed, head {head}\n"),
            ""
        )
    );
    let expected = serde_json::json!({"v": 1, "ok": true, "files": [{
        "file": path.to_string(), "ok": true, "lines": 10, "first": 1, "bad_line": null, "error": null, "head": head,
        "ended": true, "signed": null, "key": null, "parts": [{"file": path.to_string(), "last": 10, "head": head}],
    }]});
    let (code, out, _) = place.types("verify --json");
    assert_eq!(
        (
            code,
            serde_json::from_str::<serde_json::Value>(&out).unwrap()
        ),
        (0, expected)
    );
}

#[test]
fn verify_names_the_first_bad_line_after_a_byte_is_changed() {
    let place = place(&events());
    let good = std::fs::read(&place.record).unwrap();
    let path = place.record.display().to_string();
    // Every byte is changed in `policies`; here it is the file and line that count.
    for at in (0..good.len()).step_by(101) {
        let mut bad = good.clone();
        bad[at] ^= 1;
        std::fs::write(&place.record, &bad).unwrap();
        let line = 1 + good[..at].iter().filter(|byte| **byte == b'\n').count();
        let (code, out, _) = place.types("verify");
        assert_eq!(code, 1, "byte {at}: {out}");
        assert!(
            out.starts_with(&format!("{path}:{line}: bad: ")),
            "byte {at} of line {line}: {out}"
        );
    }
}

#[test]
fn verify_sees_lost_lines_and_says_where_the_end_is_open() {
    let place = place(&events());
    let good = std::fs::read_to_string(&place.record).unwrap();
    let lines: Vec<&str> = good.split_inclusive('\n').collect();
    let path = place.record.display().to_string();
    std::fs::write(&place.record, [&lines[..2], &lines[3..]].concat().concat()).unwrap();
    let expected = format!("{path}:3: bad: number 4 stands where 3 belongs\n");
    assert_eq!(place.types("verify"), (1, expected, String::new()));
    std::fs::write(&place.record, lines[..5].concat()).unwrap();
    let (code, out, _) = place.types("verify");
    let expected = format!(
        "{path}: whole, 5 lines, no stop at its end: it goes on, or was cut off, not signed, head "
    );
    assert_eq!((code, out.starts_with(&expected)), (0, true), "{out}");
    std::fs::write(&place.record, &good[..good.len() - 1]).unwrap();
    let expected = format!("{path}:10: bad: torn: the line has no end\n");
    assert_eq!(place.types("verify"), (1, expected, String::new()));
}

#[test]
fn verify_refuses_a_whole_record_of_another_sandbox_in_the_projects_place() {
    let place = place(&events());
    std::fs::write(&place.record, record("other-123456", "run-1", &events())).unwrap();
    let path = place.record.display().to_string();
    let expected = format!("{path}:1: bad: from another sandbox: other-123456\n");
    assert_eq!(place.types("verify"), (1, expected, String::new()));
    assert_eq!(place.types(&format!("verify {path}")).0, 0);
}
