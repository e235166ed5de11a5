use std::cell::RefCell;
use std::os::fd::BorrowedFd;
use std::rc::Rc;

use super::*;
use crate::probe::{Finding, Outcome, Probe};

/// An engine that writes down what it was asked, and fails at one step.
struct Fake {
    asked: Rc<RefCell<Vec<&'static str>>>,
    fails_at: Option<&'static str>,
    findings: Vec<Finding>,
}

impl Fake {
    fn step(&self, name: &'static str, parts: &mut Vec<&'static str>) -> Result<(), EngineError> {
        self.asked.borrow_mut().push(name);
        if self.fails_at == Some(name) {
            return Err(EngineError::fence(format!("{name} failed")));
        }
        parts.push(name);
        Ok(())
    }
}

impl Engine for Fake {
    type Parts = Vec<&'static str>;

    fn begin(&mut self, parts: &mut Self::Parts) -> Result<(), EngineError> {
        self.step("begin", parts)
    }

    fn seal(&mut self, parts: &mut Self::Parts) -> Result<ReadBack, EngineError> {
        self.step("seal", parts).map(|()| ReadBack { ipv6: true })
    }

    fn serve(&mut self, parts: &mut Self::Parts) -> Result<(), EngineError> {
        self.step("serve", parts)
    }

    fn probe(&mut self, parts: &mut Self::Parts) -> Result<Vec<Finding>, EngineError> {
        self.step("probe", parts).map(|()| self.findings.clone())
    }

    fn open(&mut self, parts: &mut Self::Parts, _: &Proven) -> Result<(), EngineError> {
        self.step("open", parts)
    }

    fn attend(
        &mut self,
        parts: &mut Self::Parts,
        _: Option<BorrowedFd<'_>>,
    ) -> Result<Ending, EngineError> {
        self.step("attend", parts).map(|()| Ending::Agent(7))
    }

    fn end(&mut self, parts: Self::Parts) -> Vec<EngineError> {
        self.asked.borrow_mut().push("end");
        parts
            .iter()
            .map(|part| EngineError::fence(format!("{part} ended")))
            .collect()
    }
}

/// What a whole life was asked for, how it ended, and which parts were taken down.
fn life(
    fails_at: Option<&'static str>,
    findings: Vec<Finding>,
) -> (Vec<&'static str>, Result<Ending, String>, Vec<String>) {
    let asked = Rc::new(RefCell::new(Vec::new()));
    let engine = Fake {
        asked: Rc::clone(&asked),
        fails_at,
        findings,
    };
    let running = Sandbox::seal(engine)
        .and_then(Sandbox::guard)
        .and_then(Sandbox::run);
    let (ending, left) = match running.map(|running| running.attend(None)) {
        Ok(ended) => (ended.ending.map_err(|error| error.to_string()), ended.left),
        Err(error) => (Err(error.cause.to_string()), error.left),
    };
    let asked = asked.borrow().clone();
    (
        asked,
        ending,
        left.iter().map(ToString::to_string).collect(),
    )
}

fn refused() -> Vec<Finding> {
    Probe::ALL
        .map(|probe| Finding {
            probe,
            outcome: Outcome::Refused(String::new()),
        })
        .into()
}

const STEPS: [&str; 6] = ["begin", "seal", "serve", "probe", "open", "attend"];

#[test]
fn u1_the_agent_starts_last_and_everything_is_taken_down_after_it() {
    let (asked, ending, ended) = life(None, refused());
    assert_eq!(
        asked,
        ["begin", "seal", "serve", "probe", "open", "attend", "end"]
    );
    assert_eq!(ending, Ok(Ending::Agent(7)));
    assert_eq!(ended, STEPS.map(|step| format!("{step} ended")));
}

#[test]
fn u1_whichever_step_fails_nothing_after_it_happens_and_all_is_undone() {
    for (index, step) in STEPS.into_iter().enumerate() {
        let (asked, ending, ended) = life(Some(step), refused());
        let mut expected = STEPS[..=index].to_vec();
        expected.push("end");
        assert_eq!(asked, expected);
        assert_eq!(ending, Err(format!("{step} failed")));
        let done: Vec<String> = STEPS[..index]
            .iter()
            .map(|step| format!("{step} ended"))
            .collect();
        assert_eq!(ended, done);
    }
}

#[test]
fn u1_one_attempt_that_got_through_keeps_the_agent_from_starting() {
    for index in 0..Probe::ALL.len() {
        let mut findings = refused();
        findings[index].outcome = Outcome::Passed("out".to_owned());
        let (asked, ending, _) = life(None, findings);
        assert_eq!(asked, ["begin", "seal", "serve", "probe", "end"]);
        assert!(ending.unwrap_err().starts_with("the fence does not hold: "));
    }
}
