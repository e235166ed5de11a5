//! The fence, from outside: what `ocs run` lets out, what it refuses, and what it says about both.
//! Judged at the origins, at the DNS server, by the kernel's count of what left, and by the record.
//! Clauses: P1, P4, P5, P6, W1, W4, W7, R1, U2.

use anyhow::Result;
use harness::for_each_user;
use harness::order::Order;
use harness::project::{Decided, Project, USUAL};
use harness::world::World;

fn ground() -> Result<World> {
    World::new(&Order::usual()?)
}

for_each_user! {
    fn a_whitelisted_name_passes_and_is_recorded_from_both_ends(who) {
        let world = ground()?;
        let project = Project::new(&world, who, USUAL)?;
        let finished = project.run(&["curl", "-sS", "https://ok.test/page?secret=1"])?.succeeded()?;
        assert_eq!(finished.stdout, "hello from ok.test\n");
        let record = project.newest_record()?;
        assert_eq!(record.decided(), [Decided::request("ok.test", 443, "allow")]);
        let closes = record.of_kind("close");
        let [close] = closes.as_slice() else { panic!("{closes:?}") };
        assert!(close["bytes_up"].as_u64() > Some(0) && close["bytes_down"].as_u64() > Some(0), "{close}");
        assert!(!record.lines.concat().contains("secret"), "a query string was recorded");
        let readings = world.readings()?;
        let [connection] = readings.connections.as_slice() else { panic!("{:?}", readings.connections) };
        assert_eq!(connection.sni.as_deref(), Some("ok.test"));
        assert!(readings.queries.iter().all(|query| query.name == "ok.test"), "{:?}", readings.queries);
        Ok(())
    }

    fn plain_http_to_a_whitelisted_name_passes(who) {
        let world = ground()?;
        let project = Project::new(&world, who, USUAL)?;
        let finished = project.run(&["curl", "-sS", "http://a.b.w.test/"])?.succeeded()?;
        assert_eq!(finished.stdout, "hello from a.b.w.test\n");
        assert_eq!(project.newest_record()?.decided(), [Decided::request("a.b.w.test", 80, "allow")]);
        Ok(())
    }

    fn a_listed_port_of_the_host_answers_and_no_other_does(who) {
        let world = ground()?;
        let project = Project::new(&world, who, USUAL)?;
        let ask = "exec 3<>/dev/tcp/docker.host/5432; echo hi >&3; head -n 1 <&3";
        let finished = project.run(&["bash", "-c", ask])?.succeeded()?;
        assert_eq!(finished.stdout, "hi\n");
        let refused = project.run(&["curl", "-sS", "-f", "-m", "5", "http://docker.host:9999/"])?;
        assert_ne!(refused.code(), 0, "{refused}");
        let sides: Vec<_> = world.readings()?.connections.into_iter().map(|seen| (seen.side, seen.port)).collect();
        assert_eq!(sides, [("host".to_owned(), 5432)]);
        Ok(())
    }

    fn once_the_proxy_is_dead_nothing_gets_out_and_the_run_says_why_it_ends(who) {
        let world = ground()?;
        let project = Project::new(&world, who, USUAL)?;
        let agent = "trap '' TERM; touch ready; until [ -e go ]; do sleep 0.02; done; \
                     curl -s -m 5 https://ok.test/ >after; env -i curl -s -m 5 https://ok.test/ >>after; true";
        let running = project.start(&["sh", "-c", agent])?;
        let ready = world.outside(&project.directory().join("ready"));
        world.settle(|_| ready.exists())?;
        assert!(ready.exists(), "the agent did not start");
        let proxy = world.find(|process| process.name == "ocs-proxy")?;
        world.signal(proxy.pid, "KILL")?;
        project.write("go", "")?;
        let finished = running.wait()?;
        assert_eq!(finished.code(), 70, "{finished}");
        assert!(finished.stderr.contains("ocs-proxy"), "{finished}");
        let after = std::fs::read_to_string(world.outside(&project.directory().join("after"))).unwrap_or_default();
        assert_eq!(after, "");
        assert_eq!(world.readings()?, harness::spec::Readings::default());
        Ok(())
    }
}
