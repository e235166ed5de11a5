//! Other proxies in our place, with the same rules as far as they can say them.
//!
//! Responsible for: their configuration, and starting and stopping them in the world.
//! Squid's rules are those that opencode-sandbox gives it (deny CONNECT to other ports than 443, deny ports but 80 and
//! 443, allow the listed domains, deny all), and the name that is denied below an allowed one on top.

use std::path::{Path, PathBuf};

use anyhow::{Result, bail};

use crate::run::Running;
use crate::world::{As, Call, World};

/// A proxy to compare with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Peer {
    /// Debian's `squid`.
    Squid,
    /// Debian's `tinyproxy`.
    Tinyproxy,
}

/// A peer that serves.
#[derive(Debug)]
pub(super) struct Serving {
    peer: Peer,
    running: Running,
    directory: PathBuf,
}

impl Peer {
    /// The one that `make battery PEER=..` asks for.
    pub(super) fn chosen() -> Result<Option<Self>> {
        match std::env::var("OCS_BATTERY_PEER").as_deref() {
            Err(_) | Ok("") => Ok(None),
            Ok("squid") => Ok(Some(Self::Squid)),
            Ok("tinyproxy") => Ok(Some(Self::Tinyproxy)),
            Ok(other) => bail!("no peer is named `{other}`; there are squid and tinyproxy"),
        }
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Squid => "squid",
            Self::Tinyproxy => "tinyproxy",
        }
    }

    /// Starts it on port 3128 of the world's host, and waits until it listens.
    pub(super) fn start(self, world: &World) -> Result<Serving> {
        let who = As::Ordinary;
        let directory = who.home().join(self.name());
        let within = |name: &str| directory.join(name);
        world.write(who, &within("attack.py"), super::ATTACK)?;
        let config = within("config");
        let shown = config.to_string_lossy().into_owned();
        let words = match self {
            Self::Squid => {
                world.write(who, &config, SQUID)?;
                vec!["squid", "-N", "-f", &shown]
            }
            Self::Tinyproxy => {
                let filter = within("filter");
                world.write(who, &filter, FILTER)?;
                let rules = format!("{TINYPROXY}Filter \"{}\"\n", filter.display());
                world.write(who, &config, &rules)?;
                vec!["tinyproxy", "-d", "-c", &shown]
            }
        };
        let running = world.start(who, Call::new(&words).within(&directory).for_seconds(300))?;
        let listening = "until nc -z 127.0.0.1 3128; do sleep 0.02; done";
        world
            .run(who, Call::new(&["sh", "-c", listening]).for_seconds(20))?
            .succeeded()?;
        Ok(Serving {
            peer: self,
            running,
            directory,
        })
    }
}

impl Serving {
    /// Where `attack.py` lies.
    pub(super) fn directory(&self) -> &Path {
        &self.directory
    }

    /// Ends it, so that the next case meets a fresh one.
    pub(super) fn stop(self, world: &World) -> Result<()> {
        let process = world.find(|process| process.name == self.peer.name())?;
        world.signal(process.pid, "KILL")?;
        self.running.wait().map(drop)
    }
}

const SQUID: &str = "\
http_port 127.0.0.1:3128
acl tls port 443
acl web port 80 443
acl CONNECT method CONNECT
acl denied dstdomain bad.w.test
acl listed dstdomain ok.test .w.test private.test metadata.test mixed.test six.test alias.test nowhere.test
http_access deny CONNECT !tls
http_access deny !web
http_access deny denied
http_access allow localhost listed
http_access deny all
access_log none
cache_log /dev/null
cache_store_log none
cache deny all
server_persistent_connections off
cache_mem 8 MB
pid_filename none
pinger_enable off
shutdown_lifetime 0 seconds
max_filedescriptors 1024
";

const TINYPROXY: &str = "\
Port 3128
Listen 127.0.0.1
Timeout 60
MaxClients 100
ConnectPort 443
FilterDefaultDeny Yes
FilterExtended On
FilterCaseSensitive Off
FilterURLs Off
";

/// It knows an allow list or a deny list, not both: what lies below an allowed name cannot be denied.
const FILTER: &str = "\
^ok\\.test$
(^|\\.)w\\.test$
^private\\.test$
^metadata\\.test$
^mixed\\.test$
^six\\.test$
^alias\\.test$
^nowhere\\.test$
";
