//! Starts the proxy, in an order where nothing is served before all of it can be, and ends it in order.
//!
//! Not here: what is served (`listener.rs`), and how a policy is loaded (`policy_store.rs`).
//! Clauses: R1, R2, P9, U1

use std::fs::File;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use policies::audit::{Event, Header, StartEvent, Text, Timestamp};
use policies::{Config, Generation};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use thiserror::Error;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::admin;
use crate::app::App;
use crate::config::Arguments;
use crate::container::{self, Leash};
use crate::dial_in::DialIn;
use crate::flood::{self, Flood};
use crate::inside;
use crate::limits::Limits;
use crate::listener::{self, Door};
use crate::live::{Live, Phase};
use crate::policy_store::{self, LoadError, Loaded, PolicySource, Reload, Seen};
use crate::process::Processes;
use crate::publish::{self, Callers};
use crate::questions::Questions;
use crate::record_file;
use crate::record_writer::Rotation;
use crate::report;
use crate::resolve::{Files, Resolver, Servers};
use crate::sink::{Sink, Unrecorded};
use crate::slots::Slots;
use crate::sockets::{self, Passed, SocketsError};

/// How often what was written is also put on the disk.
const SYNC: Duration = Duration::from_secs(1); // what a crash of the machine, not of the proxy, may take
/// After the cut, for tasks to write how their connections ended.
const LAST_WORDS: Duration = Duration::from_secs(2);
/// Connections past the limit that are told so at once; the rest are closed.
const TOLD: usize = 256;
/// Descriptors beside two for each connection: listeners, lookups, pipes, the record.
const OTHER_DESCRIPTORS: u64 = 1024;

/// Why the proxy did not start, or did not end in order.
#[derive(Debug, Error)]
pub enum Failure {
    /// The policy cannot be used.
    #[error("{0}")]
    Policy(#[from] LoadError),
    /// The record cannot be used.
    #[error("{path}: {error}")]
    Record {
        /// The file.
        path: String,
        /// What is wrong with it.
        error: record_file::OpenError,
    },
    /// The record takes no line.
    #[error("{0}")]
    Unrecorded(#[from] Unrecorded),
    /// A listener cannot be had.
    #[error("listen on {address}: {error}")]
    Listen {
        /// Where.
        address: SocketAddr,
        /// The system's word.
        error: io::Error,
    },
    /// The socket for watchers cannot be made.
    #[error("make the socket {path}: {error}")]
    Admin {
        /// Its path.
        path: String,
        /// The system's word.
        error: io::Error,
    },
    /// What the engine of a container tells is not there.
    #[error("{0}")]
    Container(#[from] container::Untold),
    /// The sandbox's sockets did not come.
    #[error("{0}")]
    Sockets(#[from] SocketsError),
    /// The system refused something that it never refuses.
    #[error("{0}")]
    System(#[from] io::Error),
}

impl Failure {
    /// The exit code: DESIGN "Commands".
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Policy(
                LoadError::Unreadable { .. } | LoadError::NotText { .. } | LoadError::Wrong(_),
            ) => 64,
            Self::Policy(LoadError::Surroundings(_))
            | Self::Record { .. }
            | Self::Unrecorded(_)
            | Self::Admin { .. }
            | Self::Container(_)
            | Self::Listen { .. }
            | Self::Sockets(_)
            | Self::System(_) => 70,
        }
    }
}

/// Runs the proxy until it is told to end.
///
/// # Errors
/// [`Failure`]: nothing was served.
pub async fn run(arguments: Arguments) -> Result<Ended, Failure> {
    let host_addresses = match &arguments.host_in_hosts {
        Some(name) => container::host_addresses(name)?,
        None => arguments.host_address.clone(),
    };
    let source = Arc::new(PolicySource {
        path: arguments.policy.clone(),
        name: name(&arguments),
        mode: arguments.mode,
        host_addresses,
    });
    let loaded = source.load()?;
    for warning in &loaded.warnings {
        report::tell(&warning.to_string());
    }
    let (mut passed, channel) = received(&arguments)?;
    let processes = processes(&mut passed)?;
    let seen = loaded.seen;
    let own_name = loaded.config.sandbox_name().as_str().to_owned();
    let app = Arc::new(app(&arguments, loaded, processes)?);
    app.sink.record(&Event::Start(StartEvent {
        version: Text::new(env!("CARGO_PKG_VERSION")),
        mode: app.live.policy().mode(),
        engine: Text::new(&arguments.engine),
    }))?;
    app.sink.record(&source.event(&app.live.policy()))?;
    // Before the ready line: a signal that comes right after it must find its handler.
    let signals = Signals::new()?;
    watchers(&arguments, &app).await?;
    let reports = serve(&app, passed, &own_name)?;
    drop(tokio::spawn(synced(Arc::clone(&app))));
    let ends = Arc::clone(&app);
    drop(tokio::spawn(async move { ends.sink.serve().await }));
    let reload = Arc::new(Notify::new());
    drop(tokio::spawn(watched(
        source,
        seen,
        Arc::clone(&app),
        Arc::clone(&reload),
    )));
    let gone = match channel {
        Some(channel) => Some(DialIn::new(channel)?),
        None => None,
    };
    if let Some(dial_in) = &gone {
        publish(&app, dial_in, &arguments)?;
    }
    let leash = match arguments.sockets {
        Some(_) => Some(Leash::on_stdin()?),
        None => None,
    };
    if arguments.sandboxed {
        report::ready(app.live.policy().generation().0)?;
    }
    signals
        .served(&app, &reload, gone.as_deref(), leash.as_ref())
        .await;
    // What was counted and not yet told belongs before the last line.
    timeout(LAST_WORDS, reports.join_all()).await.ok();
    Ok(Ended(app))
}

/// A proxy that serves nothing more, and whose record is not ended yet.
#[derive(Debug)]
pub struct Ended(Arc<App>);

impl Ended {
    /// Writes the last line. The runtime must be gone by then: what it still held has said how it ended.
    ///
    /// # Errors
    /// [`Failure::Unrecorded`]: the record ends without `stop`.
    pub fn stop(self) -> Result<(), Failure> {
        Ok(self.0.sink.stop("signal")?)
    }
}

/// Who asks can be told where the sandbox's kernel tells it.
fn processes(passed: &mut Passed) -> Result<Processes, Failure> {
    match passed.sock_diag.take() {
        Some(sock_diag) => Ok(Processes::new(sock_diag)?),
        None => Ok(Processes::default()),
    }
}

fn app(arguments: &Arguments, loaded: Loaded, processes: Processes) -> Result<App, Failure> {
    let Loaded { policy, config, .. } = loaded;
    let header = Header {
        sandbox: arguments
            .sandbox
            .clone()
            .unwrap_or_else(|| config.sandbox_name().as_str().to_owned()),
        run: arguments.run.clone().unwrap_or_else(run_id),
    };
    let rotation = Rotation {
        most_bytes: arguments.rotate_bytes,
        most_age: Duration::from_secs(arguments.rotate_hours.saturating_mul(3_600)),
    };
    let sink =
        Sink::open(&arguments.audit, &header, rotation).map_err(|error| Failure::Record {
            path: arguments.audit.display().to_string(),
            error,
        })?;
    let servers = match arguments.resolver.as_slice() {
        [] => Servers::System,
        given => Servers::Given(given.to_vec()),
    };
    let limits = limits(&config);
    Ok(App {
        live: Live::new(policy.at_generation(Generation(1))),
        sink,
        resolver: Resolver::new(servers, Files::default(), limits.lookup_timeout),
        processes,
        flood: Flood::past(arguments.flood_after),
        questions: Questions::new(arguments.ask.map(Duration::from_secs)),
        slots: Slots::new(limits.connections),
        refused: Slots::new(TOLD),
        limits,
    })
}

/// What the file's `limits` say; two descriptors for each connection must be there.
fn limits(config: &Config) -> Limits {
    let meant = config.limits();
    let wanted = usize::try_from(meant.connections).unwrap_or(usize::MAX);
    let connections = descriptors_for(wanted);
    if connections < wanted {
        report::tell(&format!(
            "{connections} connections at once instead of {wanted}: the limit of open files is too low"
        ));
    }
    let usual = Limits::default();
    Limits {
        connections,
        head_timeout: meant.head_timeout,
        hello_timeout: meant.head_timeout,
        silence_timeout: usual.silence_timeout.min(meant.head_timeout),
        connect_timeout: meant.connect_timeout,
        idle_timeout: meant.idle_timeout,
        ..usual
    }
}

/// Raises our own limit of open files as far as it goes, and says for how many connections it is enough.
fn descriptors_for(connections: usize) -> usize {
    let wanted = (connections as u64)
        .saturating_mul(2)
        .saturating_add(OTHER_DESCRIPTORS);
    let limit = getrlimit(Resource::Nofile);
    let most = limit.maximum.unwrap_or(u64::MAX);
    if limit.current.is_some_and(|current| current < wanted) {
        let raised = Rlimit {
            current: Some(wanted.min(most)),
            maximum: limit.maximum,
        };
        setrlimit(Resource::Nofile, raised).ok();
    }
    let have = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    let room = have.saturating_sub(OTHER_DESCRIPTORS.min(have / 2)) / 2;
    usize::try_from(room).map_or(connections, |room| room.min(connections))
}

/// A run's id: when it began, and which process it is.
fn run_id() -> String {
    let now = Timestamp::from(SystemTime::now()).to_string();
    let digits: String = now
        .chars()
        .take(19)
        .filter(|it| *it != '-' && *it != ':')
        .collect();
    format!("{digits}Z-{:06x}", std::process::id() & 0x00ff_ffff)
}

/// The policy's name: the path as it was given, or its file name where the path is one of ours.
fn name(arguments: &Arguments) -> String {
    let path = arguments.policy.as_path();
    let of_ours = path
        .file_name()
        .filter(|_| arguments.sandboxed)
        .map(Path::new);
    of_ours.unwrap_or(path).display().to_string()
}

/// The sockets to serve, and the connection that they came over.
fn received(arguments: &Arguments) -> Result<(Passed, Option<OwnedFd>), Failure> {
    if let Some(path) = &arguments.sockets {
        let channel = container::connect(path)?;
        let passed = sockets::receive(channel.as_fd())?;
        return Ok((passed, Some(channel)));
    }
    if arguments.sandboxed {
        let stdin = io::stdin();
        let passed = sockets::receive(stdin.as_fd())?;
        return Ok((passed, Some(stdin.as_fd().try_clone_to_owned()?)));
    }
    let mut passed = Passed::default();
    for address in &arguments.listen {
        let listener = TcpListener::bind(address);
        let listener = listener.map_err(|error| Failure::Listen {
            address: *address,
            error,
        })?;
        passed.explicit.push(listener);
    }
    Ok((passed, None))
}

fn serve(app: &Arc<App>, mut passed: Passed, own_name: &str) -> Result<JoinSet<()>, Failure> {
    for listener in std::mem::take(&mut passed.explicit) {
        // Port 0 is any free port: whoever asked for it has to be told which.
        report::tell(&format!("listening on {}", listener.local_addr()?));
        spawn_listener(listener, Door::Explicit, app)?;
    }
    let own_names = policies::DnsName::parse(own_name).into_iter().collect();
    let mut reports = inside::serve(app, passed, own_names)?;
    let refusals = Arc::clone(app);
    reports.spawn(async move { flood::told(&refusals).await });
    Ok(reports)
}

/// Published ports lead inward as long as the connection to `ocs-netctl` stands.
fn publish(app: &Arc<App>, dial_in: &Arc<DialIn>, arguments: &Arguments) -> Result<(), Failure> {
    let callers = if arguments.behind_gateway {
        Callers::Gateway(container::gateway()?)
    } else {
        Callers::Loopback
    };
    for port in &arguments.publish {
        let listener = port.listen(callers).map_err(|error| Failure::Listen {
            address: SocketAddr::from((Ipv4Addr::LOCALHOST, port.host.get())),
            error,
        })?;
        let listener = tokio::net::TcpListener::from_std(listener)?;
        let (dial_in, app) = (Arc::clone(dial_in), Arc::clone(app));
        drop(tokio::spawn(publish::serve(
            listener,
            (port.inside, callers),
            dial_in,
            app,
        )));
    }
    Ok(())
}

fn spawn_listener(listener: TcpListener, door: Door, app: &Arc<App>) -> Result<(), Failure> {
    listener.set_nonblocking(true)?;
    let listener = tokio::net::TcpListener::from_std(listener)?;
    drop(tokio::spawn(listener::serve(
        listener,
        door,
        Arc::clone(app),
    )));
    Ok(())
}

/// Lets those in who watch the proxy.
async fn watchers(arguments: &Arguments, app: &Arc<App>) -> Result<(), Failure> {
    if let Some(path) = &arguments.admin {
        let listener = admin::bind(path).map_err(|error| Failure::Admin {
            path: path.display().to_string(),
            error,
        })?;
        drop(tokio::spawn(admin::serve(listener, Arc::clone(app))));
    }
    if let Some(address) = arguments.admin_listen {
        let listener = tokio::net::TcpListener::bind(address).await;
        let listener = listener.map_err(|error| Failure::Listen { address, error })?;
        drop(tokio::spawn(admin::serve(listener, Arc::clone(app))));
    }
    Ok(())
}

/// Puts the record on the disk again and again, and writes what is owed when the disk takes it.
async fn synced(app: Arc<App>) {
    loop {
        sleep(SYNC).await;
        let files = app.sink.unsynced();
        if !files.is_empty() {
            // What fails here is on its way all the same; the next line that fails is refused.
            let sync = move || files.iter().try_for_each(File::sync_data);
            drop(tokio::task::spawn_blocking(sync).await);
        }
    }
}

async fn watched(source: Arc<PolicySource>, seen: Seen, app: Arc<App>, asked: Arc<Notify>) {
    let tell = |came: &Reload| match came {
        Reload::InForce(generation, warnings) => {
            for warning in warnings {
                report::tell(&warning.to_string());
            }
            report::tell(&format!("policy {generation} is in force"));
        }
        Reload::Same => report::tell("the policy says what it said before"),
        Reload::Refused(error) => {
            report::tell(&format!("the policy before it stays in force: {error}"));
        }
        Reload::Unrecorded(error) => {
            report::tell(&format!("the policy before it stays in force: {error}"));
        }
    };
    policy_store::watch(source, seen, app, asked, tell).await;
}

struct Signals {
    hang_up: Signal,
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    fn new() -> io::Result<Self> {
        Ok(Self {
            hang_up: signal(SignalKind::hangup())?,
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
        })
    }

    /// Serves until a signal says to end, or the sandbox is gone; then drains, and cuts what is left.
    async fn served(
        mut self,
        app: &App,
        reload: &Notify,
        channel: Option<&DialIn>,
        leash: Option<&Leash>,
    ) {
        let mut let_go = pin!(async {
            match leash {
                Some(leash) => leash.let_go().await,
                None => std::future::pending().await,
            }
        });
        let mut gone = pin!(async {
            match channel {
                Some(channel) => channel.run().await,
                None => std::future::pending().await,
            }
        });
        loop {
            tokio::select! {
                asked = self.next() => match asked {
                    Asked::End => break,
                    Asked::Reload => reload.notify_one(),
                },
                () = &mut gone => break,
                () = &mut let_go => break,
            }
        }
        app.live.enter(Phase::Draining);
        tokio::select! {
            () = app.slots.all_free() => {}
            () = sleep(app.limits.drain_timeout) => {}
            // A second signal has no patience.
            () = self.end() => {}
        }
        app.live.enter(Phase::Ending);
        timeout(LAST_WORDS, app.slots.all_free()).await.ok();
    }

    async fn next(&mut self) -> Asked {
        tokio::select! {
            _ = self.hang_up.recv() => Asked::Reload,
            _ = self.interrupt.recv() => Asked::End,
            _ = self.terminate.recv() => Asked::End,
        }
    }

    async fn end(&mut self) {
        while let Asked::Reload = self.next().await {}
    }
}

#[derive(Clone, Copy)]
enum Asked {
    End,
    Reload,
}
