//! The kernel's side: puts a plan up as one transaction, takes it away, and reads it back.
//!
//! - `netlink`: the plan as bytes (the only `unsafe` of the workspace); `transaction` sends them, `channel` carries them.
//! - `live`, `decode`: what stands in the kernel; `verify`: how that differs from the plan.
//! - `link`: `lo` and the routes of a sealed namespace.
//! - `namespace`, `sockets`, `privilege`: what the holder needs besides.
//!
//! Not here: which rules there are (`plan`), the holder's life (`hold`).
//!
//! Clauses: N1, N10, N11.

use std::io;

use netlink_packet_core::{NLM_F_ACK, NLM_F_REQUEST};
use rustix::io::Errno;

use channel::Channel;

use crate::plan::Plan;
use crate::spec::Spec;

mod abi;
mod attributes;
mod channel;
mod decode;
mod link;
mod live;
mod namespace;
#[expect(
    unsafe_code,
    reason = "libnftnl is C; this one file speaks to it, each call with its SAFETY"
)]
mod netlink;
mod privilege;
mod sockets;
mod transaction;
mod verify;

pub use link::{Ipv6, ipv6};
pub(crate) use namespace::NOT_FOR_USERS;
pub use namespace::{let_pings_meet_the_rules, unshare_user_and_net};
pub use privilege::{PrivilegeError, give_up_all};
pub use sockets::open;
pub use transaction::{Message, Transaction};
pub use verify::{Difference, verify};

/// Makes the namespace that the process is in what `spec` asks for: the rules first, so that nothing ever passes without
/// them, then `lo` and its routes where the namespace is sealed.
///
/// # Errors
/// [`KernelError`]. The old table stands where the transaction failed. Where a later step failed the new rules stand: a
/// fence with nothing in it, which is the closed way to fail.
pub fn replace(spec: &Spec) -> Result<(), KernelError> {
    enact(spec, &Transaction::replace(&Plan::build(spec)))
}

/// The same in a namespace that was made just now, where no table is: spares the deletion of an old one, for which the
/// kernel makes the caller wait some 10 ms (measured on Linux 6.18: closing the socket waits for an RCU grace period).
/// Where there is a table nevertheless its rules stay, and are found when the rules are read back.
///
/// # Errors
/// As [`replace`].
pub fn create(spec: &Spec) -> Result<(), KernelError> {
    enact(spec, &Transaction::create(&Plan::build(spec)))
}

fn enact(spec: &Spec, transaction: &Transaction) -> Result<(), KernelError> {
    match spec {
        Spec::Sealed(_) => {
            link::refuse_others()?;
            transaction.commit()?;
            link::seal()
        }
        Spec::Shared(_) => {
            forget_flows()?; // first, so that a kernel that cannot is found before anything was changed
            transaction.commit()?;
            forget_flows()
        }
    }
}

/// Removes our table, if it stands; nothing else of the namespace is touched.
///
/// # Errors
/// [`KernelError`]; the table stands then.
pub fn clear() -> Result<(), KernelError> {
    Transaction::clear().commit()
}

/// Makes conntrack forget every flow of the namespace: a flow that older rules admitted is judged anew, by the next
/// packet of it (N2 passes replies on the strength of the flow, so the flow must be one that these rules admitted).
fn forget_flows() -> Result<(), KernelError> {
    const UNSPECIFIED: u8 = 0; // socket.h AF_UNSPEC
    let kind = abi::NFNL_SUBSYS_CTNETLINK | abi::IPCTNL_MSG_CT_DELETE;
    let request = request(kind, NLM_F_REQUEST | NLM_F_ACK, UNSPECIFIED, 0, &[]);
    Channel::open(mnl::Bus::Netfilter)?
        .request(&request, &["forget the flows that conntrack knows"])
}

/// Why the kernel did not do it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KernelError {
    /// The namespace is to be sealed, and has other interfaces than `lo`.
    #[error(
        "the namespace is to be sealed and has {}; sealing is for a namespace of its own, never for the host's",
        interfaces.join(", ")
    )]
    Occupied {
        /// The others.
        interfaces: Vec<String>,
    },
    /// The kernel lacks something.
    #[error("the kernel lacks {what}; {advice}")]
    Missing {
        /// What it lacks.
        what: String,
        /// What to type.
        advice: &'static str,
    },
    /// The process lacks a capability in this namespace.
    #[error("not permitted: {what}; this needs CAP_NET_ADMIN over the network namespace")]
    Denied {
        /// What was tried.
        what: String,
    },
    /// The kernel refused.
    #[error("{what}")]
    Refused {
        /// What was tried.
        what: String,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
    /// The kernel said something that we do not understand.
    #[error("the kernel's answer is not understood: {what}")]
    Unreadable {
        /// Which answer.
        what: String,
    },
}

impl KernelError {
    /// What `error` means where `what` was tried: the errors that a kernel without a feature gives become
    /// [`Self::Missing`].
    fn of(what: impl Into<String>, error: io::Error) -> Self {
        let what = what.into();
        match Errno::from_io_error(&error) {
            Some(Errno::PERM | Errno::ACCESS) => Self::Denied { what },
            Some(Errno::OPNOTSUPP | Errno::PROTONOSUPPORT | Errno::AFNOSUPPORT | Errno::NOENT) => {
                Self::Missing {
                    what,
                    advice: MODULES,
                }
            }
            Some(_) | None => Self::Refused {
                what,
                source: error,
            },
        }
    }
}

/// What a distribution's kernel loads by itself when root asks, and may not when a user namespace does.
const MODULES: &str = "as root type: modprobe -a nf_tables nft_chain_nat nft_ct nft_log nft_redir nft_reject_inet \
                       nft_limit nfnetlink_log nf_conntrack_netlink";

/// One request: netlink's header, then nfnetlink's, then attributes.
fn request(kind: u16, flags: u16, family: u8, resource: u16, attributes: &[u8]) -> Vec<u8> {
    const HEADERS: usize = 20;
    let length = u32::try_from(HEADERS + attributes.len()).unwrap_or(u32::MAX);
    let mut bytes = Vec::with_capacity(HEADERS + attributes.len());
    bytes.extend(length.to_ne_bytes());
    bytes.extend(kind.to_ne_bytes());
    bytes.extend(flags.to_ne_bytes());
    bytes.extend(1_u32.to_ne_bytes()); // sequence number: one request is under way at a time
    bytes.extend(0_u32.to_ne_bytes()); // port: the kernel knows
    bytes.push(family);
    bytes.push(0); // nfnetlink.h NFNETLINK_V0
    bytes.extend(resource.to_be_bytes());
    bytes.extend(attributes);
    bytes
}

#[cfg(test)]
mod tests;
