//! The kernel's numbers that no crate of ours names, each with its header.
//!
//! Not here: anything that is done with them.

/// `nf_nat.h`.
pub(super) const NF_NAT_RANGE_PROTO_SPECIFIED: u32 = 1 << 1;
/// `nf_tables.h`: a limit counts packets, not bytes.
pub(super) const NFT_LIMIT_PKTS: u32 = 0;
/// A limit's unit is in seconds.
pub(super) const LIMIT_UNIT_SECOND: u64 = 1;

/// nfnetlink.h: the subsystem is the upper byte of a message's type.
pub(super) const NFNL_SUBSYS_CTNETLINK: u16 = 1 << 8;
/// nfnetlink.h.
pub(super) const NFNL_SUBSYS_ULOG: u16 = 4 << 8;
/// nfnetlink.h.
pub(super) const NFNL_SUBSYS_NFTABLES: u16 = 10 << 8;
/// `nfnetlink_conntrack.h`.
pub(super) const IPCTNL_MSG_CT_DELETE: u16 = 2;
/// `nfnetlink_log.h`.
pub(super) const NFULNL_MSG_CONFIG: u16 = 1;

/// `nf_tables.h`, `enum nf_tables_msg_types`.
pub(super) mod message {
    pub(crate) const NEW_TABLE: u16 = 0;
    pub(crate) const GET_TABLE: u16 = 1;
    pub(crate) const NEW_CHAIN: u16 = 3;
    pub(crate) const GET_CHAIN: u16 = 4;
    pub(crate) const NEW_RULE: u16 = 6;
    pub(crate) const GET_RULE: u16 = 7;
}
