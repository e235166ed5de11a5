//! `ocs verify`: every attempt holds behind the fence and reaches nobody; and each of them says so where there is no fence.
//! A check that cannot fail would be worth nothing.
//! Clauses: U1, N1, N3, N4, N6, P1, P3, P4, W1, W2, W5, B1 to B5, B7, R1, R3 to R6.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use anyhow::{Context, Result};
use harness::for_each_user;
use harness::measured::note;
use harness::order::Order;
use harness::project::{Project, USUAL};
use harness::run::Finished;
use harness::spec::Readings;
use harness::world::{Call, World};
use serde_json::Value;

fn document(finished: &Finished) -> Result<Value> {
    serde_json::from_str(&finished.stdout).with_context(|| finished.to_string())
}

/// `(clause, what)` of each finding with this outcome.
fn with_outcome(document: &Value, outcome: &str) -> Vec<(String, String)> {
    let findings = document["findings"]
        .as_array()
        .map_or(&[][..], Vec::as_slice);
    let text = |finding: &Value, key: &str| finding[key].as_str().unwrap_or_default().to_owned();
    findings
        .iter()
        .filter(|finding| finding["outcome"] == outcome)
        .map(|finding| (text(finding, "clause"), text(finding, "what")))
        .collect()
}

for_each_user! {
    fn every_attempt_holds_and_nothing_leaves(who) {
        let world = World::new(&Order::usual()?)?;
        let project = Project::new(&world, who, USUAL)?;
        let finished = project.ocs(&["verify", "--json"])?;
        note("ocs verify", who.account(), finished.took)?;
        let document = document(&finished)?;
        assert_eq!(with_outcome(&document, "hole"), [], "{finished}");
        assert_eq!((finished.code(), &document["held"]), (0, &Value::Bool(true)), "{finished}");
        assert!(with_outcome(&document, "held").len() >= 40, "{finished}");
        assert_eq!(world.readings()?, Readings::default());
        let prose = project.ocs(&["verify"])?.succeeded()?;
        assert!(prose.stdout.contains("N6") && prose.stdout.contains(" held"), "{prose}");
        assert_eq!(fs::read_dir(world.outside(project.directory()))?.count(), 1, "verify left something in the project");
        Ok(())
    }

    fn where_there_is_no_fence_every_attempt_over_the_network_says_so(who) {
        let world = World::new(&Order::usual()?)?;
        // A proxy that lets everything through, where ours would be.
        let config = "Port 3128\nListen 127.0.0.1\nTimeout 5\nMaxClients 200\n";
        let directory = who.home().join("open");
        world.write(who, &directory.join("config"), config)?;
        let words = ["tinyproxy", "-d", "-c", "config"];
        let open = world.start(who, Call::new(&words).within(&directory))?;
        let listening = "until nc -z 127.0.0.1 3128; do sleep 0.02; done";
        world.run(who, Call::new(&["sh", "-c", listening]).for_seconds(20))?.succeeded()?;
        let attack = ["ocs", "box-verify", "--home", "/nowhere", "--state", "/"];
        let finished = world.run(who, Call::new(&attack).within(&directory))?;
        let proxy = world.find(|process| process.name == "tinyproxy")?;
        world.signal(proxy.pid, "KILL")?;
        drop(open.wait()?);
        let mut held = Vec::new();
        for line in finished.stdout.lines() {
            let finding: Value = serde_json::from_str(line)?;
            if finding["outcome"] == "held" && ["N", "P", "W"].contains(&&finding["clause"].as_str().unwrap_or_default()[..1]) {
                held.push(format!("{} {}: {}", finding["clause"], finding["what"], finding["detail"]));
            }
        }
        let allowed = held.iter().filter(|line| WITHOUT_A_FENCE.iter().any(|(known, _)| line.contains(known)));
        assert_eq!(allowed.count(), held.len(), "held though there is no fence: {held:#?}\n{finished}");
        assert!(finished.stdout.lines().count() > 80, "{finished}");
        Ok(())
    }

    fn a_proxy_that_was_given_a_wider_policy_is_a_hole_that_is_named(who) {
        let world = World::new(&Order::usual()?)?;
        let project = Project::new(&world, who, USUAL)?;
        // Our own programs, but for a proxy that reads another policy than the one it is told to.
        let wide = "sandbox-name: wide\nhttp-domain-whitelist:\n  - .ocs-verify.invalid\n";
        world.write(who, &who.home().join("bin/wide.yaml"), wide)?;
        let copy = "cp /home/bin/ocs /home/bin/ocs-netctl ~/bin/";
        project.call(Call::new(&["sh", "-c", copy]))?.succeeded()?;
        let wrapper = format!(
            "#!/bin/bash\nfor a in \"$@\"; do [ \"$last\" = --policy ] && a={home}/bin/wide.yaml; w+=(\"$a\"); last=$a; done\nexec /home/bin/ocs-proxy \"${{w[@]}}\"\n",
            home = who.home().display()
        );
        let proxy = who.home().join("bin/ocs-proxy");
        world.write(who, &proxy, &wrapper)?;
        fs::set_permissions(world.outside(&proxy), fs::Permissions::from_mode(0o755))?;
        let ocs = who.home().join("bin/ocs");
        let finished = project.call(Call::new(&[&ocs.to_string_lossy(), "verify", "--json"]))?;
        assert_eq!(finished.code(), 70, "{finished}");
        let document = document(&finished)?;
        assert_eq!(document["first_hole"]["clause"], "N4", "{finished}");
        assert!(with_outcome(&document, "hole").iter().any(|(clause, _)| clause == "P1"), "{finished}");
        assert!(finished.stderr.contains("the fence has a hole: N4"), "{finished}");
        Ok(())
    }

    fn a_policy_that_covers_the_names_of_nobody_or_has_no_fence_or_no_engine_is_not_verified(who) {
        let world = World::new(&Order::usual()?)?;
        for (name, lines) in [("one", "http-domain-whitelist:\n  - .ocs-verify.invalid\n"), ("two", "network-mode: observe\n")] {
            let project = Project::named(&world, who, name, &format!("sandbox-name: {name}\n{lines}"))?;
            let finished = project.ocs(&["verify"])?;
            assert_eq!((finished.code(), finished.stdout.as_str()), (64, ""), "{finished}");
        }
        let project = Project::new(&world, who, USUAL)?;
        // The engines themselves are tried by `containers`; here none answers.
        let finished = project.ocs(&["verify", "--engine", "docker"])?;
        assert_eq!((finished.code(), finished.stdout.as_str()), (69, ""), "{finished}");
        assert_eq!(world.readings()?, Readings::default());
        Ok(())
    }
}

/// What is so without a fence too, and why.
const WITHOUT_A_FENCE: &[(&str, &str)] = &[
    (
        "a service of the agent's own",
        "it must work with the fence as without it",
    ),
    (
        "an echo request to a foreign",
        "the world's kernel gives nobody the socket for it",
    ),
];
