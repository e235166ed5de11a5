use super::*;
use crate::console::tests::captured;
use crate::world::Terminal;

fn question() -> Question {
    Question {
        question: 1,
        host: "pypi.test".to_owned(),
        port: 443,
        via: "connect".to_owned(),
        process: Process {
            pid: Some(7),
            exe: Some("/usr/bin/p\u{1b}[2Jip".to_owned()),
        },
        waiting: 2,
        left_ms: Some(27_900),
        state: "open".to_owned(),
    }
}

#[test]
fn a_question_says_what_who_and_how_long_and_no_control_character_of_it_reaches_the_terminal() {
    let expected = "pypi.test:443 by /usr/bin/p\\u{1b}[2Jip [7], 2 requests wait, 27 s left";
    assert_eq!(described(&question()), expected);
    let late = Question {
        waiting: 0,
        left_ms: None,
        process: Process::default(),
        ..question()
    };
    assert_eq!(described(&late), "pypi.test:443, no request waits");
}

#[test]
fn an_answer_is_a_word_and_enter_is_none() {
    for (typed, expected) in [
        ("o\n", Some(Reply::Once)),
        ("RUN\n", Some(Reply::Run)),
        (" always \n", Some(Reply::Always)),
        ("\ny\nd\n", Some(Reply::Deny)),
        ("", None),
        ("yes\n", None),
    ] {
        let (reply, out, _) = captured(typed, Terminal::default(), |console| {
            asked(&question(), console).unwrap()
        });
        assert_eq!((reply, out.as_str()), (expected, ""), "{typed:?}");
    }
}
