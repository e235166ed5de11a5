use super::*;

fn profile(tool: &Tool) -> Profile {
    Profile::of(tool, None)
}

fn told(events: Events, lines: &str) -> Told {
    events.read(&mut lines.as_bytes()).unwrap()
}

#[test]
fn a_task_of_opencode_stands_neither_on_the_command_line_nor_in_a_variable() {
    let opencode = profile(&Tool::OpenCode);
    assert_eq!(
        opencode.headless(Onto::default(), &["--model".to_owned(), "a/b".to_owned()]),
        [
            "opencode", "run", "--format", "json", "--auto", "--model", "a/b"
        ]
    );
}

#[test]
fn a_task_goes_on_with_a_server_and_a_session() {
    let onto = Onto {
        server: Some("http://127.0.0.1:4096"),
        session: Some("ses_1"),
    };
    let words = profile(&Tool::OpenCode).headless(onto, &[]);
    assert_eq!(
        words.join(" "),
        "opencode run --format json --auto --attach http://127.0.0.1:4096 --session ses_1"
    );
}

#[test]
fn a_server_listens_on_the_loopback_of_the_box_only() {
    let words = profile(&Tool::OpenCode).serving(Face::Web, 4096).unwrap();
    assert_eq!(
        words.join(" "),
        "opencode web --hostname 127.0.0.1 --port 4096"
    );
    let words = profile(&Tool::OpenCode).serving(Face::Api, 4097).unwrap();
    assert_eq!(
        words.join(" "),
        "opencode serve --hostname 127.0.0.1 --port 4097"
    );
    assert_eq!(profile(&Tool::Omp).serving(Face::Web, 4096), None);
}

#[test]
fn versions_of_opencode_differ_in_data_only() {
    let at = |major, minor| Profile::of(&Tool::OpenCode, Some(Version { major, minor }));
    assert_eq!(
        at(1, 17).headless(Onto::default(), &[]).last().unwrap(),
        "--dangerously-skip-permissions"
    );
    assert_eq!(at(1, 18), profile(&Tool::OpenCode));
    assert_eq!(
        at(2, 0).serving(Face::Web, 1).unwrap().join(" "),
        "opencode serve --hostname 127.0.0.1 --port 1"
    );
    assert_eq!(
        at(2, 0).attaching("http://x", &[]).unwrap().join(" "),
        "opencode --server http://x"
    );
    let beta = profile(&Tool::Command(vec!["opencode2".to_owned()]));
    assert_eq!(
        beta.serving(Face::Web, 1).unwrap().join(" "),
        "opencode2 serve --hostname 127.0.0.1 --port 1"
    );
}

#[test]
fn a_command_is_taken_as_it_is() {
    let words = vec!["my-agent".to_owned(), "--quiet".to_owned()];
    let command = profile(&Tool::Command(words.clone()));
    assert_eq!(command.headless(Onto::default(), &[]), words);
    assert_eq!(
        command.interactive(&["x".to_owned()]).join(" "),
        "my-agent --quiet x"
    );
}

#[test]
fn a_tool_of_the_command_line_is_one_word() {
    assert_eq!(Profile::named("omp").unwrap(), Tool::Omp);
    assert_eq!(
        Profile::named("my-agent").unwrap(),
        Tool::Command(vec!["my-agent".to_owned()])
    );
    for bad in ["", "-x", "../x", "a b", "a;b", ".x"] {
        assert!(Profile::named(bad).is_err(), "{bad}");
    }
}

#[test]
fn a_version_is_read_beside_the_program() {
    let package = tempfile::tempdir().unwrap();
    let bin = package.path().join("bin");
    std::fs::create_dir(&bin).unwrap();
    std::fs::write(bin.join("tool"), "").unwrap();
    assert_eq!(version_at(&bin.join("tool")), None);
    std::fs::write(
        package.path().join("package.json"),
        r#"{"version": "1.18.33"}"#,
    )
    .unwrap();
    assert_eq!(
        version_at(&bin.join("tool")),
        Some(Version {
            major: 1,
            minor: 18
        })
    );
    std::fs::write(
        package.path().join("package.json"),
        r#"{"version": "latest"}"#,
    )
    .unwrap();
    assert_eq!(version_at(&bin.join("tool")), None);
}

#[test]
fn the_last_message_of_opencode_is_the_result_and_tokens_are_added_up() {
    let lines = r#"
{"type":"step_start","sessionID":"ses_1","part":{"messageID":"m1"}}
{"type":"text","sessionID":"ses_1","part":{"messageID":"m1","text":"I look."}}
{"type":"step_finish","sessionID":"ses_1","part":{"tokens":{"input":10,"output":3}}}
not json
{"type":"text","sessionID":"ses_1","part":{"messageID":"m2","text":"It is "}}
{"type":"text","sessionID":"ses_1","part":{"messageID":"m2","text":"done."}}
{"type":"step_finish","sessionID":"ses_1","part":{"tokens":{"input":5,"output":4}}}
"#;
    let expected = Told {
        result: "It is done.".to_owned(),
        session: Some("ses_1".to_owned()),
        tokens: Some(Tokens {
            input: 15,
            output: 7,
        }),
        error: None,
    };
    assert_eq!(told(Events::OpenCode, lines), expected);
}

#[test]
fn an_error_of_opencode_is_told() {
    let line = r#"{"type":"error","sessionID":"s","error":{"name":"UnknownError","data":{"message":"no model"}}}"#;
    let expected = Told {
        result: "no model".to_owned(),
        session: Some("s".to_owned()),
        tokens: None,
        error: Some("no model".to_owned()),
    };
    assert_eq!(told(Events::OpenCode, line), expected);
}

#[test]
fn the_streams_of_omp_and_claude_code_are_read() {
    let omp = r#"{"type":"session","id":"0f9c"}
{"type":"message_end","message":{"role":"assistant","content":[{"type":"text","text":"done"}],"usage":{"input":2,"output":1}}}
{"type":"agent_end"}
"#;
    let expected = Told {
        result: "done".to_owned(),
        session: Some("0f9c".to_owned()),
        tokens: Some(Tokens {
            input: 2,
            output: 1,
        }),
        error: None,
    };
    assert_eq!(told(Events::Omp, omp), expected);
    let claude = r#"{"type":"system","subtype":"init","session_id":"0f9c"}
{"type":"result","subtype":"success","is_error":false,"result":"done","session_id":"0f9c","usage":{"input_tokens":2,"output_tokens":1}}
"#;
    assert_eq!(told(Events::Claude, claude), expected);
}

#[test]
fn every_prefix_of_a_stream_is_read() {
    let whole = r#"{"type":"text","sessionID":"s","part":{"messageID":"m","text":"é"}}"#.as_bytes();
    for cut in 0..whole.len() {
        let told = Events::OpenCode
            .read(&mut whole.get(..cut).unwrap())
            .unwrap();
        assert_eq!(told, Told::default(), "{cut}");
    }
}

#[test]
fn a_line_without_end_is_passed_over_and_the_next_is_read() {
    let mut stream = vec![b'x'; (16 << 20) + 5];
    stream.extend(b"\n{\"type\":\"text\",\"sessionID\":\"s\",\"part\":{\"messageID\":\"m\",\"text\":\"after\"}}\n");
    assert_eq!(
        Events::OpenCode
            .read(&mut stream.as_slice())
            .unwrap()
            .result,
        "after"
    );
}

#[test]
fn of_plain_text_the_end_is_the_result() {
    assert_eq!(told(Events::Text, "one\ntwo\n").result, "one\ntwo");
    let mut long = vec![b'a'; 3 << 20];
    long.extend(b"end\n");
    let result = Events::Text.read(&mut long.as_slice()).unwrap().result;
    assert_eq!(
        (result.len(), result.ends_with("aend")),
        ((1 << 20) - 1, true)
    );
}
