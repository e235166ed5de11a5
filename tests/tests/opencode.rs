//! The whole of it with a real agent: what `make run` plays, asserted.
//! Needs: OpenCode in `target/agent` (`make agent`).
//! Clauses: P1, P4, P5, P6, W1, R1, R3, R6, U1.

use harness::for_each_user;
use harness::rehearsal::play;

for_each_user! {
    fn a_real_agent_gets_what_is_listed_and_nothing_else(who) {
        let rehearsal = play(who)?;
        let differences = rehearsal.differences()?;
        assert!(differences.is_empty(), "{}\n{}", differences.join("\n"), rehearsal.record.lines.join("\n"));
        Ok(())
    }
}
