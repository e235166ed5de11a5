//! The files of a project that decide what runs on the host: the box shows them and lets nobody change them, whatever the
//! agent tries, and whatever programs on the host do to them meanwhile.
//! Needs: unprivileged user namespaces or root, bubblewrap, nftables, git, python3.
//! Clauses: B2, U2, U3, P9.

use std::fs;

use anyhow::{Context, Result};
use harness::for_each_user;
use harness::order::Order;
use harness::project::Project;
use harness::run::{Finished, Running};
use harness::world::{As, Call, World};

const CONFIG: &str = "\
sandbox-name: controlled
http-domain-whitelist:
  - ok.test
";

const WIDER: &str = "\
sandbox-name: controlled
http-domain-whitelist:
  - ok.test
  - evil.test
";

/// A project in a world of its own.
struct Ground<'w> {
    world: &'w World,
    project: Project<'w>,
}

impl<'w> Ground<'w> {
    fn new(world: &'w World, who: As) -> Result<Self> {
        let project = Project::new(world, who, CONFIG)?;
        Ok(Self { world, project })
    }

    fn bash(&self, script: &str) -> Result<Finished> {
        self.project.run(&["bash", "-c", script])
    }

    /// A script in the box that waits for `go` in the middle.
    fn paused(&self, before: &str, after: &str) -> Result<Running> {
        self.host("mkfifo -m 600 go")?;
        let script = format!("{before}; echo ready; read line < go; {after}");
        let mut running = self.project.start(&["bash", "-c", &script])?;
        running.until(|written| written.contains("ready"))?;
        Ok(running)
    }

    /// Lets a paused script go on, and waits for its end.
    fn go(&self, running: Running) -> Result<Finished> {
        self.host("echo > go; rm go")?;
        running.wait()
    }

    /// A command of the host, in the project's directory.
    fn host(&self, script: &str) -> Result<String> {
        let finished = self.project.call(Call::new(&["sh", "-ec", script]))?;
        Ok(finished.succeeded()?.stdout)
    }

    fn read(&self, name: &str) -> Result<String> {
        let path = self.world.outside(&self.project.directory().join(name));
        fs::read_to_string(&path).with_context(|| path.display().to_string())
    }

    /// Until a change of the host was dealt with: what deals with it is a process that comes and goes, and before it has
    /// come the protected name is not a mount.
    fn until_covered(&self, name: &str) -> Result<()> {
        let mount = format!("{}/{name}", self.project.directory().display());
        let script = format!(
            "for i in $(seq 2000); do for p in /proc/[0-9]*; do \
             if grep -q '^bwrap' $p/comm 2>/dev/null && grep -q ' {mount} ro' $p/mountinfo 2>/dev/null; then exit 0; fi; \
             done; sleep 0.005; done; exit 1"
        );
        self.host(&script).map(drop)
    }
}

fn world() -> Result<World> {
    World::new(&Order::usual()?)
}

const REPOSITORY: &str =
    "git init -q . && git config user.name x && git config user.email x@x.test";

for_each_user! {
    fn the_way_to_a_control_file_cannot_be_moved_away(who) {
        let world = world()?;
        let ground = Ground::new(&world, who)?;
        ground.host(REPOSITORY)?;
        let config = ground.read(".git/config")?;
        let names = [
            "opencode-sandbox-config.yaml", "opencode-sandbox-pre-start-container.sh", "opencode.json", "opencode.jsonc",
            "mise.toml", ".git", ".git/config", ".git/hooks", ".git/hooks/pre-commit",
        ];
        let script = "
import ctypes, os, sys
libc = ctypes.CDLL(None, use_errno=True)
open('new', 'w').write('evil'); os.mkdir('newdir')
def attempts(name):
    yield lambda: open(name, 'w').close()
    yield lambda: os.rename(name, 'moved')
    yield lambda: os.rename('new', name)
    yield lambda: os.rename('newdir', name)
    yield lambda: os.remove(name)
    yield lambda: os.rmdir(name)
    yield lambda: os.link(name, 'linked')
    yield lambda: os.symlink('/tmp', name)
    yield lambda: os.mkdir(name)
    yield lambda: os.mknod(name)
    yield lambda: os.truncate(name, 0)
    yield lambda: os.chmod(name, 0o777)
    yield lambda: os.utime(name)
def exchanged(name):
    return libc.syscall(316, -100, b'newdir', -100, name.encode(), 2)
for name in sys.argv[1:]:
    for number, attempt in enumerate(attempts(name)):
        try: attempt()
        except OSError: continue
        # The directory itself stays the agent's: only its place is not.
        if not (name == '.git' and number in (11, 12)): print('changed', name, number)
    if exchanged(name) == 0: print('exchanged', name)
    if libc.umount2(name.encode(), 2) == 0 or libc.mount(b'/tmp', name.encode(), None, 4096, None) == 0: print('mounts', name)
os.remove('new'); os.rmdir('newdir')
print('done')
";
        let mut command = vec!["python3", "-c", script];
        command.extend(names);
        let finished = ground.project.run(&command)?.succeeded()?;
        assert_eq!(finished.stdout, "done\n", "{finished}");
        assert_eq!(ground.read(".git/config")?, config);
        assert_eq!(ground.read("opencode-sandbox-config.yaml")?, CONFIG);
        assert_eq!(ground.host("ls -A; ls .git/hooks | grep -v sample || true")?, ".git\nopencode-sandbox-config.yaml\n");
        Ok(())
    }

    fn git_works_in_the_box_and_does_not_see_the_placeholders(who) {
        let world = world()?;
        let ground = Ground::new(&world, who)?;
        ground.host(&format!("{REPOSITORY} && git add -A && git commit -qm first"))?;
        let script = "git status --porcelain; echo work > file; git add -A; git commit -qm second; git checkout -qb other; \
                      git stash -q; git log --format=%s; git show --stat --format= ; git config core.fsmonitor evil";
        let finished = ground.bash(script)?;
        assert_eq!(finished.stdout, "second\nfirst\n file | 1 +\n 1 file changed, 1 insertion(+)\n", "{finished}");
        assert_eq!(ground.host("git status --porcelain; git branch --show-current; git log --format=%s -1")?, "other\nsecond\n");
        Ok(())
    }

    fn a_file_that_the_host_replaces_or_removes_is_protected_again(who) {
        let world = world()?;
        let ground = Ground::new(&world, who)?;
        ground.host(&format!("{REPOSITORY} && echo '[old]' > mise.toml && echo '{{}}' > opencode.json"))?;
        let running = ground.paused(
            "true",
            "for f in mise.toml .git/config opencode.json; do echo evil > $f; rm -f $f; ln -f $f linked; done 2>/dev/null; cat mise.toml",
        )?;
        ground.host("echo '[new]' > .new && mv .new mise.toml; git config user.name other; rm opencode.json")?;
        for name in ["mise.toml", ".git/config", "opencode.json"] {
            ground.until_covered(name)?;
        }
        let finished = ground.go(running)?.succeeded()?;
        assert_eq!(finished.stdout, "ready\n[new]\n", "{finished}");
        assert_eq!(ground.read("mise.toml")?, "[new]\n");
        assert_eq!(ground.host("git config user.name; ls")?, "other\nmise.toml\nopencode-sandbox-config.yaml\n");
        Ok(())
    }

    fn a_control_file_that_the_host_turns_into_a_link_ends_the_run(who) {
        let world = world()?;
        let ground = Ground::new(&world, who)?;
        ground.project.write("mise.toml", "[old]\n")?;
        let running = ground.paused("true", "echo went on")?;
        ground.host("ln -s elsewhere .new && mv -T .new mise.toml")?;
        let finished = running.wait()?;
        assert_eq!((finished.code(), finished.stdout.as_str()), (70, "ready\n"));
        assert!(finished.stderr.contains("the protection of the control files could not be renewed"), "{finished}");
        Ok(())
    }

    fn pointing_git_at_another_config_ends_the_run_and_is_undone(who) {
        let world = world()?;
        let ground = Ground::new(&world, who)?;
        ground.host(REPOSITORY)?;
        let finished = ground.bash("mkdir evil; echo ../evil > .git/commondir; sleep 30; echo went on")?;
        assert_eq!((finished.code(), finished.stdout.as_str()), (70, ""), "{finished}");
        assert!(finished.stderr.contains(".git/commondir was made"), "{finished}");
        assert_eq!(ground.host("ls .git/commondir 2>/dev/null || git config user.name")?, "x\n");
        Ok(())
    }

    fn making_the_project_itself_a_repository_ends_the_run_and_is_undone(who) {
        let world = world()?;
        let ground = Ground::new(&world, who)?;
        let bare = "git init -q --bare made && mv made/* . && sleep 30; echo went on";
        let finished = ground.bash(bare)?;
        assert_eq!((finished.code(), finished.stdout.as_str()), (70, ""), "{finished}");
        assert!(finished.stderr.contains("HEAD was made"), "{finished}");
        assert_eq!(ground.host("git rev-parse --git-dir 2>/dev/null || echo none")?, "none\n");
        Ok(())
    }

    fn an_edit_in_place_is_taken_over_while_the_agent_runs(who) {
        let world = world()?;
        let ground = Ground::new(&world, who)?;
        let ask = "curl -so /dev/null -w '%{http_connect}\\n' https://evil.test";
        let until = format!("for i in $(seq 100); do [ $({ask}) = 200 ] && break; sleep 0.05; done; {ask}");
        let running = ground.paused(ask, &until)?;
        ground.project.write("opencode-sandbox-config.yaml", WIDER)?;
        let finished = ground.go(running)?;
        assert_eq!(finished.stdout, "403\nready\n200\n", "{finished}");
        Ok(())
    }

    fn a_config_that_was_replaced_is_not_taken_over_by_itself(who) {
        let world = world()?;
        let ground = Ground::new(&world, who)?;
        let ask = "curl -so /dev/null -w '%{http_connect}\\n' https://evil.test";
        let running = ground.paused(ask, &format!("{ask}; echo '  - other.test' >> opencode-sandbox-config.yaml"))?;
        ground.project.write(".new", WIDER)?;
        ground.host("mv .new opencode-sandbox-config.yaml")?;
        ground.until_covered("opencode-sandbox-config.yaml")?;
        let finished = ground.go(running)?;
        assert_eq!(finished.stdout, "403\nready\n403\n", "{finished}");
        assert!(finished.stderr.contains("was replaced by another file"), "{finished}");
        assert_eq!(ground.read("opencode-sandbox-config.yaml")?, WIDER);
        Ok(())
    }

    fn a_config_that_was_replaced_is_taken_over_as_a_person_approved_it(who) {
        let world = world()?;
        let ground = Ground::new(&world, who)?;
        let ask = "curl -so /dev/null -w '%{http_connect}\\n' https://evil.test";
        let until = format!("for i in $(seq 100); do [ $({ask}) = 200 ] && break; sleep 0.05; done; {ask}");
        let running = ground.paused(ask, &until)?;
        ground.project.write(".new", WIDER)?;
        ground.host("mv .new opencode-sandbox-config.yaml")?;
        let reloaded = ground.project.ocs(&["policy", "reload"])?;
        assert_eq!(reloaded.code(), 1, "{reloaded}");
        assert!(reloaded.stdout.contains("replaced") && reloaded.stdout.contains("ocs policy approve"), "{reloaded}");
        let difference = ground.project.ocs(&["policy", "diff", "--json"])?;
        let said: serde_json::Value = serde_json::from_str(&difference.stdout)?;
        let fingerprint = said["fingerprint"].as_str().context("no fingerprint")?;
        ground.project.ocs(&["policy", "approve", "--yes", "--hash", fingerprint])?.succeeded()?;
        let reloaded = ground.project.ocs(&["policy", "reload", "--json"])?.succeeded()?;
        let said: serde_json::Value = serde_json::from_str(&reloaded.stdout)?;
        assert_eq!(said["ok"], true, "{reloaded}");
        let finished = ground.go(running)?;
        assert_eq!(finished.stdout, "403\nready\n200\n", "{finished}");
        Ok(())
    }

    fn reload_says_of_every_run_what_came_of_an_edit_and_a_wrong_one_changes_nothing(who) {
        let world = world()?;
        let ground = Ground::new(&world, who)?;
        let nobody = ground.project.ocs(&["policy", "reload"])?.succeeded()?;
        assert!(nobody.stdout.contains("no sandbox of this project runs"), "{nobody}");
        let ask = "curl -so /dev/null -w '%{http_connect}\\n' https://evil.test";
        let running = ground.paused("true", ask)?;
        ground.project.write("opencode-sandbox-config.yaml", "sandbox-name: controlled\nhttp-domain-whitelist: ['*']\n")?;
        let wrong = ground.project.ocs(&["policy", "reload"])?;
        assert_eq!(wrong.code(), 64, "{wrong}");
        assert!(wrong.stderr.contains("opencode-sandbox-config.yaml:2:"), "{wrong}");
        ground.project.write("opencode-sandbox-config.yaml", CONFIG)?;
        let same = ground.project.ocs(&["policy", "reload"])?.succeeded()?;
        assert!(same.stdout.contains("same"), "{same}");
        let finished = ground.go(running)?;
        assert_eq!(finished.stdout, "ready\n403\n", "{finished}");
        assert!(finished.stderr.contains("and is wrong: the policy stayed as it was"), "{finished}");
        Ok(())
    }

    fn two_runs_of_one_project_share_placeholders_and_the_last_removes_them(who) {
        let world = world()?;
        let ground = Ground::new(&world, who)?;
        let first = ground.paused("true", "echo evil > mise.toml; echo end")?;
        let second = ground.bash("echo evil > mise.toml; ls -A")?;
        assert!(second.stdout.contains("mise.toml\n"), "{second}");
        assert!(second.stderr.contains("mise.toml: Read-only file system"), "{second}");
        assert!(ground.host("ls -A")?.contains("mise.toml\n"));
        let first = ground.go(first)?;
        assert!(first.stderr.contains("mise.toml: Read-only file system"), "{first}");
        assert_eq!(ground.host("ls -A")?, "opencode-sandbox-config.yaml\n");
        Ok(())
    }

    fn what_cannot_be_protected_starts_nothing(who) {
        let world = world()?;
        for (name, make, says) in [
            ("one", "echo x > real && ln real mise.toml", "has a second hard link"),
            ("two", "ln -s real mise.toml", "is a symlink"),
            ("three", "mkdir mise.toml", "is not what belongs there"),
            ("four", "mkdir real && echo 'gitdir: real' > .git", "points into the project"),
        ] {
            let ground = Ground { world: &world, project: Project::named(&world, who, name, CONFIG)? };
            ground.host(make)?;
            let finished = ground.bash("echo ran")?;
            assert_eq!((finished.code(), finished.stdout.as_str()), (64, ""), "{finished}");
            assert!(finished.stderr.contains(says), "{finished}");
            assert_eq!(ground.host("rm -rf real mise.toml .git; ls -A")?, "opencode-sandbox-config.yaml\n");
        }
        Ok(())
    }
}
