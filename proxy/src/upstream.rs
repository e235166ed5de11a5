//! Asks the resolvers and the hosts file of the proxy's own side.
//!
//! Every question is absolute, of type A or AAAA, and for the very name that was allowed: no search domain, no PTR, and
//! no question for the target of an alias. Like a stub of libc it relies on the server for the chain of aliases; one
//! that the server leaves open leads nowhere.
//!
//! Not here: who may ask, and what is remembered (`resolve`).
//!
//! Clauses: W1, W8.

use std::fs::{self, File};
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use hickory_resolver::config::{ConnectionConfig, NameServerConfig, ResolverOpts};
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::net::xfer::{DnsHandle, FirstAnswer};
use hickory_resolver::net::{DnsError, NetError, NoRecords};
use hickory_resolver::proto::op::{DnsRequestOptions, Message, Query};
use hickory_resolver::proto::rr::{Name, RData, RecordType};
use hickory_resolver::{Hosts, NameServerPool, PoolContext, TlsConfig, system_conf};
use policies::DnsName;
use tokio::time::Instant;

use crate::resolve::{Answer, ResolveError};

/// A server's answer is believed for no longer than this, so that a name that moved is found.
const HOLDS_MOST: Duration = Duration::from_secs(3600);
/// That a name does not exist is believed for no longer than this: it may just have been made.
const ABSENT_MOST: Duration = Duration::from_secs(60);
/// A failure is not tried again before this. RFC 9520 section 3.2.
const FAILURE_HOLDS: Duration = Duration::from_secs(1);
/// What the hosts file says is looked up there again after this; it may have been edited.
const FILE_HOLDS: Duration = Duration::from_secs(1);
/// How long a server has before the next one is asked too, where there are several.
const NEXT_SERVER_AFTER: Duration = Duration::from_secs(2);
/// How long the second family may take when the first has given addresses. RFC 8305 section 3 has 50 ms for answers
/// that race to be dialled; ours are all judged first, so they get more.
const SECOND_FAMILY: Duration = Duration::from_millis(500);
/// Aliases in a chain. RFC 1034 gives no bound; common servers stop at 8 to 16.
const ALIASES: usize = 16;

/// Which servers are asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Servers {
    /// These, in this order.
    Given(Vec<SocketAddr>),
    /// Those of the system's `resolv.conf`, read again when it changes.
    System,
}

/// The system's files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Files {
    /// Names that need no server.
    pub hosts: PathBuf,
    /// The system's servers.
    pub resolv_conf: PathBuf,
}

impl Default for Files {
    fn default() -> Self {
        Self {
            hosts: "/etc/hosts".into(),
            resolv_conf: "/etc/resolv.conf".into(),
        }
    }
}

type Pool = NameServerPool<TokioRuntimeProvider>;

/// The servers and files, as last read.
pub(crate) struct Upstream {
    servers: Servers,
    files: Files,
    timeout: Duration,
    last_good: AtomicUsize,
    current: Mutex<Option<Current>>,
}

impl std::fmt::Debug for Upstream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut shown = f.debug_struct("Upstream");
        shown
            .field("servers", &self.servers)
            .field("files", &self.files)
            .finish_non_exhaustive()
    }
}

#[derive(Clone)]
struct Current {
    checked: Instant,
    read: [Option<Stamp>; 2],
    pools: Arc<[Pool]>,
    hosts: Arc<Hosts>,
}

/// What changes when a file does.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Stamp {
    modified: Option<SystemTime>,
    length: u64,
}

/// What one family of a name came to.
type Family = Result<(Vec<IpAddr>, Duration), Absence>;

/// Why a family has no addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Absence {
    Failed,
    NotFound(Duration),
    TimedOut,
}

impl Upstream {
    pub(crate) fn new(servers: Servers, files: Files, timeout: Duration) -> Self {
        Self {
            servers,
            files,
            timeout,
            last_good: AtomicUsize::new(0),
            current: Mutex::new(None),
        }
    }

    /// The addresses of `name`, A before AAAA, from the hosts file or else from a server, within the timeout.
    pub(crate) async fn ask(&self, name: &DnsName) -> Answer {
        let current = self.current();
        let Ok(mut absolute) = Name::from_ascii(name.as_str()) else {
            return failure(ResolveError::Failed);
        };
        absolute.set_fqdn(true);
        if let Some(answer) = from_hosts(&current.hosts, &absolute) {
            return answer;
        }
        let asked = self.both(&current.pools, &absolute);
        let (four, six) = tokio::time::timeout(self.timeout, asked)
            .await
            .unwrap_or((Err(Absence::TimedOut), Err(Absence::TimedOut)));
        join(four, six)
    }

    /// Both families at once. When one has addresses, the other gets little more time.
    async fn both(&self, pools: &[Pool], name: &Name) -> (Family, Family) {
        let four = self.family(pools, name, RecordType::A);
        let six = self.family(pools, name, RecordType::AAAA);
        tokio::pin!(four, six);
        tokio::select! {
            first = &mut four => {
                let second = second(&first, six).await;
                (first, second)
            }
            first = &mut six => {
                let second = second(&first, four).await;
                (second, first)
            }
        }
    }

    /// One family, of one server after the other, beginning with the one that answered last.
    async fn family(&self, pools: &[Pool], name: &Name, kind: RecordType) -> Family {
        let mut absence = Absence::Failed;
        let first = self.last_good.load(Ordering::Relaxed);
        let patience = if pools.len() > 1 {
            NEXT_SERVER_AFTER
        } else {
            self.timeout
        };
        for turn in 0..pools.len() {
            let server = (first + turn) % pools.len();
            let Some(pool) = pools.get(server) else {
                continue;
            };
            let asked = tokio::time::timeout(patience, question(pool, name, kind)).await;
            match asked.unwrap_or(Err(Absence::TimedOut)) {
                Err(again @ (Absence::Failed | Absence::TimedOut)) => absence = again,
                answered => {
                    self.last_good.store(server, Ordering::Relaxed);
                    return answered;
                }
            }
        }
        Err(absence)
    }

    /// Servers and hosts as the files say now; the files are looked at once a second at most.
    fn current(&self) -> Current {
        let now = Instant::now();
        let mut current = self.locked();
        if let Some(known) = current.as_mut() {
            if now.duration_since(known.checked) < FILE_HOLDS {
                return known.clone();
            }
            known.checked = now;
            if known.read == self.stamps() {
                return known.clone();
            }
        }
        let read = self.read(now);
        *current = Some(read.clone());
        read
    }

    fn read(&self, now: Instant) -> Current {
        let read = self.stamps(); // before the files: what changes meanwhile is read again
        let mut hosts = Hosts::default();
        if let Err(error) =
            File::open(&self.files.hosts).and_then(|file| hosts.read_hosts_conf(file))
        {
            tracing::warn!(%error, "the hosts file could not be read");
        }
        let servers = match &self.servers {
            Servers::Given(servers) => servers.iter().copied().map(given).collect(),
            Servers::System => system(&self.files.resolv_conf),
        };
        Current {
            checked: now,
            read,
            pools: servers
                .into_iter()
                .map(|server| pool(server, self.timeout))
                .collect(),
            hosts: Arc::new(hosts),
        }
    }

    fn stamps(&self) -> [Option<Stamp>; 2] {
        [stamp(&self.files.hosts), stamp(&self.files.resolv_conf)]
    }

    fn locked(&self) -> MutexGuard<'_, Option<Current>> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn second(first: &Family, other: impl Future<Output = Family>) -> Family {
    if first.is_err() {
        return other.await;
    }
    let other = tokio::time::timeout(SECOND_FAMILY, other).await;
    other.unwrap_or(Err(Absence::TimedOut))
}

/// Both families as one answer: what one has is not lost to the other's failure.
fn join(four: Family, six: Family) -> Answer {
    let (addresses, holds) = match (four, six) {
        (Ok((mut four, first)), Ok((six, second))) => {
            four.extend(six);
            (four, first.min(second))
        }
        (Ok(one), Err(_)) | (Err(_), Ok(one)) => one,
        (Err(four), Err(six)) => return absent(four, six),
    };
    Answer {
        outcome: Ok(addresses.into()),
        holds: holds.min(HOLDS_MOST),
    }
}

fn absent(four: Absence, six: Absence) -> Answer {
    match (four, six) {
        (Absence::NotFound(first), Absence::NotFound(second)) => Answer {
            outcome: Err(ResolveError::NotFound),
            holds: first.min(second).min(ABSENT_MOST),
        },
        (Absence::TimedOut, _) | (_, Absence::TimedOut) => failure(ResolveError::TimedOut),
        (_, _) => failure(ResolveError::Failed),
    }
}

fn failure(error: ResolveError) -> Answer {
    Answer {
        outcome: Err(error),
        holds: FAILURE_HOLDS,
    }
}

/// What the hosts file says of a name, if it knows it in either family.
fn from_hosts(hosts: &Hosts, name: &Name) -> Option<Answer> {
    let mut addresses = Vec::new();
    for kind in [RecordType::A, RecordType::AAAA] {
        if let Some(found) = hosts.lookup_static_host(&Query::query(name.clone(), kind)) {
            addresses.extend(
                found
                    .answers()
                    .iter()
                    .filter_map(|record| record.data.ip_addr()),
            );
        }
    }
    (!addresses.is_empty()).then(|| Answer {
        outcome: Ok(addresses.into()),
        holds: FILE_HOLDS,
    })
}

async fn question(pool: &Pool, name: &Name, kind: RecordType) -> Family {
    let query = Query::query(name.clone(), kind);
    match pool
        .lookup(query, DnsRequestOptions::default())
        .first_answer()
        .await
    {
        Ok(response) => read(&response, name, kind),
        Err(NetError::Timeout) => Err(Absence::TimedOut),
        Err(NetError::Dns(DnsError::NoRecordsFound(NoRecords { negative_ttl, .. }))) => {
            let holds = negative_ttl.map_or(FAILURE_HOLDS, seconds);
            Err(Absence::NotFound(holds))
        }
        Err(error) => {
            tracing::debug!(error = error.as_metrics_label(), "a resolver failed");
            Err(Absence::Failed)
        }
    }
}

/// The addresses at the end of the chain of aliases that begins with `name`.
fn read(response: &Message, name: &Name, kind: RecordType) -> Family {
    let (mut owner, mut ttl) = (name, u32::MAX);
    for _ in 0..ALIASES {
        let of_owner = response
            .answers
            .iter()
            .filter(|record| &record.name == owner);
        let mut addresses = Vec::new();
        let mut alias = None;
        for record in of_owner {
            if let RData::CNAME(target) = &record.data {
                alias = Some((&target.0, record.ttl));
            } else if record.record_type() == kind {
                addresses.extend(record.data.ip_addr());
                ttl = ttl.min(record.ttl);
            }
        }
        if !addresses.is_empty() {
            return Ok((addresses, seconds(ttl)));
        }
        let Some((target, its_ttl)) = alias else {
            break;
        };
        tracing::debug!(%name, alias = %target, "followed an alias");
        (owner, ttl) = (target, ttl.min(its_ttl));
    }
    Err(Absence::NotFound(FAILURE_HOLDS))
}

fn seconds(ttl: u32) -> Duration {
    Duration::from_secs(u64::from(ttl))
}

fn given(server: SocketAddr) -> NameServerConfig {
    let at = |mut connection: ConnectionConfig| {
        connection.port = server.port();
        connection
    };
    let connections = vec![at(ConnectionConfig::udp()), at(ConnectionConfig::tcp())];
    NameServerConfig::new(server.ip(), true, connections)
}

/// The servers of `resolv.conf`. Its search list, domain and options are for others.
fn system(resolv_conf: &Path) -> Vec<NameServerConfig> {
    let parsed = fs::read(resolv_conf)
        .map_err(NetError::from)
        .and_then(system_conf::parse_resolv_conf);
    match parsed {
        Ok((config, _)) => config.name_servers,
        Err(error) => {
            tracing::warn!(%error, "no resolvers could be read from the system");
            Vec::new()
        }
    }
}

fn pool(server: NameServerConfig, timeout: Duration) -> Pool {
    let mut options = ResolverOpts::default();
    options.timeout = timeout;
    options.cache_size = 0;
    let context = PoolContext::new(options, TlsConfig {});
    Pool::from_config([server], Arc::new(context), TokioRuntimeProvider::new())
}

fn stamp(path: &Path) -> Option<Stamp> {
    let metadata = fs::metadata(path).ok()?;
    Some(Stamp {
        modified: metadata.modified().ok(),
        length: metadata.len(),
    })
}
