//! A peer that is gone without a word: the cable is cut, so to say, in the middle of a connection.
//! Clauses: R1, W9.

use harness::for_each_user;
use harness::order::Order;
use harness::project::{Project, USUAL};
use harness::world::{As, Call, World};

/// The host's packets to and from that port of any origin vanish.
const CUT: &str =
    "table inet cut { chain out { type filter hook output priority -500; tcp dport 4444 drop\n }
    chain in { type filter hook input priority -500; tcp sport 4444 drop\n }\n }";

/// Says what an echo gave back, waits for the cut, and says how the connection ended; then what another one gives.
const AGENT: &str = r#"
import os, socket, time, urllib.request
s = socket.create_connection(("ok.test", 4444))
s.sendall(b"first")
print(s.recv(5).decode(), flush=True)
while not os.path.exists("cut"):
    time.sleep(0.01)
s.sendall(b"into the void")
try:
    print("ended", s.recv(5))
except ConnectionResetError:
    print("ended by a reset")
print(urllib.request.urlopen("http://ok.test/").read().decode(), end="", flush=True)
"#;

for_each_user! {
    fn it_costs_its_connection_the_idle_timeout_and_others_nothing(who) {
        let world = World::new(&Order::usual()?)?;
        let config = format!("{USUAL}tcp-endpoints:\n  - ok.test:4444\nlimits:\n  idle-timeout: 2s\n");
        let project = Project::new(&world, who, &config)?;
        project.write("agent.py", AGENT)?;
        let mut running = project.start(&["python3", "agent.py"])?;
        running.until(|said| said.contains("first"))?;
        world.run(As::Root, Call::new(&["nft", CUT]))?.succeeded()?;
        project.write("cut", "")?;
        let finished = running.wait()?.succeeded()?;
        world.run(As::Root, Call::new(&["nft", "delete", "table", "inet", "cut"]))?.succeeded()?;
        assert!(finished.stdout.contains("ended"), "{finished}");
        assert!(finished.stdout.ends_with("hello from ok.test\n"), "{finished}");
        let record = project.newest_record()?;
        let outcomes: Vec<_> = record.of_kind("close").iter().map(|close| close["outcome"].clone()).collect();
        assert_eq!(outcomes, ["idle", "done"]);
        Ok(())
    }
}
