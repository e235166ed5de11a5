//! The world of the real clients: packages to be had at `ok.test`, and servers of other protocols below `w.test`.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

use super::directory;
use crate::binaries::repository;
use crate::certificates::Authority;
use crate::order::Order;
use crate::project::Project;
use crate::world::{As, Call, World};

/// An origin that is a program of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// `grpc.w.test:9444`.
    Grpc,
    /// HTTP/2, and a stream of events: `h2.w.test:9445`.
    Http2,
    /// A git repository, a wheel, a crate, and packages of npm and Debian: files of `ok.test`.
    Packages,
    /// `pg.w.test:5433`.
    Postgres,
    /// `redis.w.test:6379`.
    Redis,
    /// `git.w.test:2222`.
    Ssh,
    /// `ws.w.test:9443`.
    WebSocket,
}

/// A world with these origins.
///
/// # Errors
/// One of them does not come up.
pub fn ground(origins: &[Origin]) -> Result<World> {
    let order = Order::usual()?
        .showing(&directory()?, Path::new("/home/suite/clients"))
        .showing(
            &repository().join("tests/clients"),
            Path::new("/home/suite/scripts"),
        )
        .showing(&toolchain()?, Path::new("/home/suite/rust"));
    let world = World::new(&order)?;
    let authority = Authority::of_this_process()?;
    for (name, path) in [
        ("origin.pem", authority.certificate()),
        ("origin.key", authority.key()),
    ] {
        let text = fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
        world.write(As::Root, &Path::new("/tmp/tls").join(name), &text)?;
    }
    origins
        .iter()
        .try_for_each(|origin| serve(&world, *origin))?;
    Ok(world)
}

/// Puts the authority into a project, and the key of the ssh server's user; ssh takes it only where nobody else can read it.
pub(super) fn furnish(project: &Project<'_>, world: &World, origins: &[Origin]) -> Result<()> {
    let root = Authority::of_this_process()?.root();
    project.write(
        "root.pem",
        &fs::read_to_string(root).context("read the authority")?,
    )?;
    if !origins.contains(&Origin::Ssh) {
        return Ok(());
    }
    let key = world.outside(Path::new("/tmp/ssh/key.txt"));
    project.write("key", &fs::read_to_string(key).context("read the key")?)
}

/// The toolchain that runs the suite: it has a cargo.
fn toolchain() -> Result<std::path::PathBuf> {
    let cargo = std::env::var_os("CARGO").context("CARGO is not set: run through cargo or make")?;
    let bin = Path::new(&cargo)
        .parent()
        .context("cargo is in no directory")?;
    Ok(bin.parent().context("cargo is in no toolchain")?.to_owned())
}

fn serve(world: &World, origin: Origin) -> Result<()> {
    match origin {
        Origin::Grpc => world.serve(
            As::Ordinary,
            9444,
            &[
                "env",
                "PYTHONPATH=/home/suite/clients/python",
                "python3",
                "/home/suite/scripts/grpc_origin.py",
                "9444",
                "/tmp/tls",
                "/tmp/grpc.log",
            ],
        ),
        Origin::Http2 => node(world, "http2", 9445),
        Origin::Packages => {
            let line = "sh /home/suite/scripts/furnish.sh /home/static ok.test";
            world
                .run(As::Root, Call::new(&["sh", "-c", line]))?
                .succeeded()
                .map(drop)
        }
        Origin::Postgres => world.serve(As::Ordinary, 5433, &["sh", "-c", POSTGRES]),
        Origin::Redis => {
            let words =
                "redis-server --port 6379 --bind 0.0.0.0 --protected-mode no --dir /tmp --save";
            let words: Vec<&str> = words.split(' ').chain([""]).collect();
            world.serve(As::Ordinary, 6379, &words)
        }
        Origin::Ssh => {
            serve(world, Origin::Packages)?;
            world
                .run(As::Ordinary, Call::new(&["sh", "-c", KEYS]))?
                .succeeded()?;
            world.serve(
                As::Ordinary,
                2222,
                &["/usr/sbin/sshd", "-D", "-e", "-f", "/tmp/ssh/config"],
            )
        }
        Origin::WebSocket => node(world, "ws", 9443),
    }
}

fn node(world: &World, kind: &str, port: u16) -> Result<()> {
    let (number, log) = (port.to_string(), format!("/tmp/{kind}.log"));
    world.serve(
        As::Ordinary,
        port,
        &[
            "node",
            "/home/suite/scripts/origins.mjs",
            kind,
            &number,
            "/tmp/tls",
            &log,
        ],
    )
}

const POSTGRES: &str = "set -e; bin=$(ls -d /usr/lib/postgresql/*/bin | tail -n 1); export LC_ALL=C; \
    $bin/initdb -D /tmp/postgres -U alice -A trust --no-sync --no-instructions >&2; echo 'host all all 0.0.0.0/0 trust' >>/tmp/postgres/pg_hba.conf; \
    exec $bin/postgres -D /tmp/postgres -p 5433 -k /tmp -c listen_addresses='*' -c fsync=off";

/// A server that lets its own user in, by one key.
const KEYS: &str = "set -e; umask 077; git config --global safe.directory '*'; mkdir /tmp/ssh; cd /tmp/ssh; \
    ssh-keygen -q -t ed25519 -N '' -f host; ssh-keygen -q -t ed25519 -N '' -f key; cp key key.txt; chmod 644 key.txt; chmod 755 .; \
    printf '%s\\n' 'Port 2222' 'HostKey /tmp/ssh/host' 'AuthorizedKeysFile /tmp/ssh/key.pub' 'StrictModes no' 'UsePAM no' \
    'PidFile none' 'PasswordAuthentication no' > config";
