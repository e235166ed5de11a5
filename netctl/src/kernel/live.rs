//! What stands in the kernel's `nf_tables`, of every table in the namespace.
//!
//! Not here: whether that is what should stand (`verify`).
//!
//! Clauses: N10.

use mnl::Bus;

use super::abi::{NFNL_SUBSYS_NFTABLES, message};
use super::attributes::Attributes;
use super::channel::{Answer, Channel};
use super::{KernelError, decode};
use crate::expression::Expression;
use crate::spec::Table;

/// Everything.
#[derive(Debug)]
pub(super) struct Live {
    pub(super) tables: Vec<LiveTable>,
    pub(super) chains: Vec<LiveChain>,
    pub(super) rules: Vec<LiveRule>,
}

#[derive(Debug)]
pub(super) struct LiveTable {
    pub(super) table: Table,
    /// Dormant, owned by a process: 0 for ours.
    pub(super) flags: u32,
    /// Chains, sets, objects and flow tables in it.
    pub(super) holds: u32,
}

#[derive(Debug)]
pub(super) struct LiveChain {
    pub(super) table: Table,
    pub(super) name: String,
    /// All that matters of it, as `nft` would say it.
    pub(super) shape: String,
}

#[derive(Debug)]
pub(super) struct LiveRule {
    pub(super) table: Table,
    pub(super) chain: String,
    /// nft's user data: our comment, or somebody's.
    pub(super) userdata: Vec<u8>,
    /// Its expressions, or the name of one that we cannot have written.
    pub(super) expressions: Result<Vec<Expression>, String>,
}

impl Live {
    /// Reads everything.
    pub(super) fn read() -> Result<Self, KernelError> {
        let mut channel = Channel::open(Bus::Netfilter)?;
        Ok(Self {
            tables: dump(
                &mut channel,
                message::GET_TABLE,
                message::NEW_TABLE,
                "the tables",
                table,
            )?,
            chains: dump(
                &mut channel,
                message::GET_CHAIN,
                message::NEW_CHAIN,
                "the chains",
                chain,
            )?,
            rules: dump(
                &mut channel,
                message::GET_RULE,
                message::NEW_RULE,
                "the rules",
                rule,
            )?,
        })
    }
}

fn dump<T>(
    channel: &mut Channel,
    ask: u16,
    answer: u16,
    about: &str,
    read: fn(&str, Attributes<'_>) -> Option<T>,
) -> Result<Vec<T>, KernelError> {
    let request = dump_request(NFNL_SUBSYS_NFTABLES | ask);
    let unreadable = || KernelError::Unreadable {
        what: about.to_owned(),
    };
    channel
        .dump(&request, about)?
        .iter()
        .filter(|message| message.kind == NFNL_SUBSYS_NFTABLES | answer)
        .map(|message| {
            let (family, attributes) = open(message).ok_or_else(unreadable)?;
            read(&family, attributes).ok_or_else(unreadable)
        })
        .collect()
}

/// A dump of every family: netlink's header and nfnetlink's.
fn dump_request(kind: u16) -> Vec<u8> {
    use netlink_packet_core::{NLM_F_DUMP, NLM_F_REQUEST};
    super::request(kind, NLM_F_REQUEST | NLM_F_DUMP, 0, 0, &[])
}

/// The family and the attributes, behind nfnetlink's header of four bytes.
fn open(message: &Answer) -> Option<(String, Attributes<'_>)> {
    let (header, attributes) = message.payload.split_at_checked(4)?;
    let family = match header.first()? {
        // netfilter.h, enum NFPROTO
        1 => "inet".to_owned(),
        2 => "ip".to_owned(),
        3 => "arp".to_owned(),
        5 => "netdev".to_owned(),
        7 => "bridge".to_owned(),
        10 => "ip6".to_owned(),
        number => format!("family {number}"),
    };
    Some((family, Attributes::parse(attributes)?))
}

fn table(family: &str, mut of: Attributes<'_>) -> Option<LiveTable> {
    Some(LiveTable {
        table: Table {
            family: family.to_owned(),
            name: of.string(1)?, // NFTA_TABLE_NAME
        },
        flags: of.u32(2)?, // NFTA_TABLE_FLAGS
        holds: of.u32(3)?, // NFTA_TABLE_USE
    })
}

fn chain(family: &str, mut of: Attributes<'_>) -> Option<LiveChain> {
    let table = Table {
        family: family.to_owned(),
        name: of.string(1)?, // NFTA_CHAIN_TABLE
    };
    let name = of.string(3)?; // NFTA_CHAIN_NAME
    let shape = match of.nest(4) {
        // NFTA_CHAIN_HOOK
        Some(hook) => base_chain(hook, &mut of)?,
        None => "no hook".to_owned(),
    };
    Some(LiveChain { table, name, shape })
}

/// The shape of a chain that packets meet by themselves.
pub(super) fn shape(kind: &str, hook: &str, priority: i32, policy: &str) -> String {
    format!("type {kind} hook {hook} priority {priority}; policy {policy};")
}

fn base_chain(mut hook: Attributes<'_>, of: &mut Attributes<'_>) -> Option<String> {
    let number = hook.u32(1)?; // NFTA_HOOK_HOOKNUM
    let hook_name = match number {
        // netfilter.h, enum nf_inet_hooks
        0 => "prerouting".to_owned(),
        1 => "input".to_owned(),
        2 => "forward".to_owned(),
        3 => "output".to_owned(),
        4 => "postrouting".to_owned(),
        number => format!("number {number}"),
    };
    let priority = hook.take(2)?.try_into().ok().map(i32::from_be_bytes)?; // NFTA_HOOK_PRIORITY
    let policy = match of.u32(5)? {
        // NFTA_CHAIN_POLICY
        0 => "drop".to_owned(),
        1 => "accept".to_owned(),
        number => format!("number {number}"),
    };
    let kind = of.string(7)?; // NFTA_CHAIN_TYPE
    let mut shape = shape(&kind, &hook_name, priority, &policy);
    if hook.nothing_but(&[]).is_none() {
        shape.push_str(" on a device;");
    }
    match of.u32(10) {
        // NFTA_CHAIN_FLAGS: NFT_CHAIN_BASE is said by kernels from 5.8 on, and goes with the hook
        None | Some(1) => {}
        Some(flags) => shape.push_str(&format!(" flags {flags:#x};")),
    }
    Some(shape)
}

fn rule(family: &str, mut of: Attributes<'_>) -> Option<LiveRule> {
    Some(LiveRule {
        table: Table {
            family: family.to_owned(),
            name: of.string(1)?, // NFTA_RULE_TABLE
        },
        chain: of.string(2)?, // NFTA_RULE_CHAIN
        expressions: decode::expressions(of.take(4).unwrap_or_default()), // NFTA_RULE_EXPRESSIONS
        userdata: of.take(7).unwrap_or_default().to_vec(), // NFTA_RULE_USERDATA
    })
}
