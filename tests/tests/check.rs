//! `ocs check` on a project with something wrong, and `ocs skill crystallize`. A box that runs is checked in `server.rs`.
//! Clauses: P9, O6, O12.

use std::fs;

use harness::desk::Desk;
use harness::for_each_user;

for_each_user! {
    fn a_secret_in_the_project_is_told_by_place_and_never_shown(who) {
        let desk = Desk::bare(who)?;
        let project = desk.project("project", "sandbox-name: desk\n")?;
        let secret = format!("ghp_{}7", "a".repeat(36));
        project.write("src/notes.txt", &format!("first\ntoken: {secret}\n"))?;
        let checked = project.ocs(&["check"])?;
        assert_eq!(checked.code(), 1, "{checked}");
        assert!(checked.stdout.contains("src/notes.txt:2: a token of GitHub"), "{checked}");
        assert!(!checked.to_string().contains(&secret), "{checked}");
        project.write("opencode-sandbox-config.yaml", "sandbox-name: desk\nnonsense: 1\n")?;
        assert_eq!(project.ocs(&["check"])?.code(), 64);
        Ok(())
    }

    fn the_agent_writes_a_skill_of_the_last_work_or_it_is_told_that_it_did_not(who) {
        let desk = Desk::bare(who)?;
        let script = "cat > told; mkdir -p skills; echo '## When To Use' > skills/release.md";
        let script = serde_json::to_string(script)?;
        let project = desk.project("project", &format!("sandbox-name: desk\nagent:\n  tool: [sh, -c, {script}]\n"))?;
        project.write("logs/autonomous.log", &format!("FIRST {} LAST\n", "x".repeat(20_000)))?;
        let task = desk.call(&project, &["ocs", "skill", "crystallize", "release"])?;
        assert_eq!(task.code(), 0, "{task}");
        let read = |name: &str| fs::read_to_string(desk.world.outside(&project.directory().join(name)));
        assert_eq!(read("skills/release.md")?, "## When To Use\n");
        let told = read("told")?;
        assert!(told.contains("skills/release.md") && told.contains("LAST") && !told.contains("FIRST"), "{told}");
        let other = desk.call(&project, &["ocs", "skill", "crystallize", "other"])?;
        assert!(other.code() == 1 && other.stderr.contains("the agent wrote no skills/other.md"), "{other}");
        assert_eq!(desk.call(&project, &["ocs", "skill", "crystallize", "../x"])?.code(), 64);
        Ok(())
    }
}
