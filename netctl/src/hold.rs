//! The holder's life: makes the namespace, fences it, reads the fence back, hands the sockets to the proxy, gives every
//! capability up, and then only connects inward to published ports until its peer goes.
//!
//! The order is the point. Rules stand before any socket exists; capabilities are gone before the starter hears `ready`,
//! and so before there is an agent; whatever fails ends the process, and with it the namespace.
//!
//! Not here: rules (`plan`), the kernel's calls (`kernel`), the serving of dials (`dial`).
//!
//! Clauses: N9, N10, N11.

use std::io::Write;
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;

use rustix::process::{Signal, getppid, set_parent_process_death_signal};

use crate::exit::Exit;
use crate::kernel::{self, Difference, KernelError, NOT_FOR_USERS, PrivilegeError};
use crate::protocol::{Reply, SocketName, Status, VERSION};
use crate::spec::{Sealed, Spec, SpecError};

mod connection;
mod dial;
mod leash;

use connection::Connection;
use leash::Leash;

/// How the holder is to go about it.
#[derive(Debug)]
pub struct Options {
    /// Which namespace.
    pub namespace: Namespace,
    /// Where the proxy is.
    pub peer: Peer,
}

/// The namespace to hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Namespace {
    /// The one that the process was started in, such as a container's.
    Inherited,
    /// A new one, with a user namespace that owns it.
    Own,
}

/// The other end of the connection.
#[derive(Debug)]
pub enum Peer {
    /// Standard input is the connection, and the spec its first message.
    Stdin,
    /// The connection is the first that comes to a path; standard input begins with the spec.
    Path {
        /// Where the connection comes to.
        path: PathBuf,
        /// Whose it must be; the holder's own user's if not given.
        uid: Option<u32>,
        /// What ends the holder.
        life: Life,
    },
}

/// What ends a holder that waits at a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Life {
    /// The end of the connection; standard input is the spec and nothing else.
    Connection,
    /// That, or the end of standard input, whose first line is the spec.
    Stdin,
}

/// Why there is no fence.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HoldError {
    /// The connection to the proxy failed.
    #[error("{what}")]
    Connection {
        /// What was tried.
        what: &'static str,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// What stands is not what was planned.
    #[error("the rules do not read back as planned")]
    Differs(Vec<Difference>),
    /// The kernel would not.
    #[error(transparent)]
    Kernel(#[from] KernelError),
    /// Whoever started the holder is gone.
    #[error("whoever started the holder is gone")]
    Orphaned,
    /// A capability stayed.
    #[error(transparent)]
    Privilege(#[from] PrivilegeError),
    /// A shared namespace has no holder.
    #[error("hold is for the sealed topology; for a shared namespace use `ocs-netctl apply`")]
    Shared,
    /// The spec is wrong.
    #[error(transparent)]
    Spec(#[from] SpecError),
}

impl HoldError {
    /// How the process ends.
    #[must_use]
    pub fn exit(&self) -> Exit {
        match self {
            Self::Shared | Self::Spec(_) => Exit::Usage,
            Self::Kernel(KernelError::Missing { .. }) => Exit::Missing,
            Self::Connection { .. }
            | Self::Differs(_)
            | Self::Kernel(_)
            | Self::Orphaned
            | Self::Privilege(_) => Exit::Refused,
        }
    }

    /// What the starter is told.
    #[must_use]
    pub fn status(&self) -> Status {
        let differences: &[Difference] = if let Self::Differs(differences) = self {
            differences
        } else {
            &[]
        };
        Status::Failed {
            v: VERSION,
            error: chain(self),
            differences: differences.iter().map(ToString::to_string).collect(),
        }
    }
}

/// The error and its causes, one line.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

/// Holds a namespace until the peer goes. `stdin` and `stdout` are the process's; the process must have one thread.
///
/// # Errors
/// [`HoldError`]; nothing stands then that outlives the process, but the rules of an inherited namespace, which let
/// nothing out.
pub fn run(
    options: &Options,
    stdin: &(impl AsFd + ?Sized),
    stdout: &mut dyn Write,
) -> Result<(), HoldError> {
    let starter = getppid();
    die_with_starter()?;
    let Received {
        spec,
        inherited,
        leash,
    } = receive_spec(&options.peer, stdin)?;
    let Spec::Sealed(sealed) = &spec else {
        return Err(HoldError::Shared);
    };
    let (sockets, ipv6) = fence(options.namespace, &spec, sealed)?;
    let listener = match &options.peer {
        Peer::Stdin => None,
        Peer::Path { path, uid, .. } => Some(connection::listen(path, *uid)?),
    };
    kernel::give_up_all()?;
    // Again, since a change of credentials may clear it; and it may have come too late.
    die_with_starter()?;
    if getppid() != starter {
        return Err(HoldError::Orphaned);
    }
    let connection = match (inherited, listener) {
        (Some(connection), _) => {
            connection.send_sockets(sockets)?;
            ready(stdout, ipv6)?;
            connection
        }
        (None, Some(listener)) => {
            ready(stdout, ipv6)?;
            let Some(connection) = listener.accept(leash.as_ref())? else {
                return Ok(());
            };
            connection.send_sockets(sockets)?;
            connection
        }
        (None, None) => return Err(HoldError::Orphaned),
    };
    dial::serve(&connection, leash.as_ref(), &sealed.published, ipv6)
}

/// The namespace with its rules, proven, and its sockets.
fn fence(
    namespace: Namespace,
    spec: &Spec,
    sealed: &Sealed,
) -> Result<(Sockets, kernel::Ipv6), HoldError> {
    match namespace {
        Namespace::Own => {
            kernel::unshare_user_and_net()?;
            kernel::create(spec).map_err(owned)?;
        }
        Namespace::Inherited => kernel::replace(spec)?,
    }
    let differences = kernel::verify(spec)?;
    if !differences.is_empty() {
        return Err(HoldError::Differs(differences));
    }
    kernel::let_pings_meet_the_rules();
    let ipv6 = kernel::ipv6()?;
    Ok((kernel::open(sealed, ipv6)?, ipv6))
}

type Sockets = Vec<(SocketName, OwnedFd)>;

/// In a namespace of our own everything is permitted, unless the kernel gives users namespaces without power.
fn owned(error: KernelError) -> KernelError {
    if let KernelError::Denied { what } = error {
        KernelError::Missing {
            what: format!("user namespaces with capabilities for this user ({what})"),
            advice: NOT_FOR_USERS,
        }
    } else {
        error
    }
}

fn die_with_starter() -> Result<(), HoldError> {
    set_parent_process_death_signal(Some(Signal::KILL)).map_err(|errno| HoldError::Connection {
        what: "tie the holder's life to its starter's",
        source: errno.into(),
    })
}

/// What came before the fence: the spec, and what the holder's life hangs on.
struct Received {
    spec: Spec,
    inherited: Option<Connection>,
    leash: Option<Leash>,
}

fn receive_spec(peer: &Peer, stdin: &(impl AsFd + ?Sized)) -> Result<Received, HoldError> {
    let stdin = stdin
        .as_fd()
        .try_clone_to_owned()
        .map_err(|source| HoldError::Connection {
            what: "take standard input",
            source,
        })?;
    let Peer::Path { life, .. } = peer else {
        let connection = Connection::inherited(stdin)?;
        let json = connection.receive()?.ok_or(HoldError::Orphaned)?;
        return Ok(Received {
            spec: Spec::parse(&json)?,
            inherited: Some(connection),
            leash: None,
        });
    };
    let (json, leash) = leash::spec(stdin, *life).map_err(|source| HoldError::Connection {
        what: "read the spec on standard input",
        source,
    })?;
    Ok(Received {
        spec: Spec::parse(&json)?,
        inherited: None,
        leash,
    })
}

fn ready(stdout: &mut dyn Write, ipv6: kernel::Ipv6) -> Result<(), HoldError> {
    tell(
        stdout,
        &Status::Ready {
            v: VERSION,
            pid: std::process::id(),
            ipv6: ipv6 == kernel::Ipv6::On,
        },
    )
    .map_err(|source| HoldError::Connection {
        what: "tell the starter that the fence stands",
        source,
    })
}

/// Writes a status as one line.
///
/// # Errors
/// The starter does not listen.
pub fn tell(stdout: &mut dyn Write, status: &Status) -> std::io::Result<()> {
    let mut line = serde_json::to_vec(status)?;
    line.push(b'\n');
    stdout.write_all(&line)?;
    stdout.flush()
}

/// What the holder sends first: which descriptor is which.
fn sockets_message(sockets: &[(SocketName, OwnedFd)]) -> Reply {
    Reply::Sockets {
        v: VERSION,
        names: sockets.iter().map(|(name, _)| *name).collect(),
    }
}
