//! The plan as netlink messages: the one file of this workspace that may be unsafe, because libnftnl is C.
//!
//! nftnl's safe types do what they can; it has none for `log`, `redir` and `limit`, so these are built here, attribute
//! by attribute. The messages are plain bytes afterwards, and nothing else touches libnftnl.
//!
//! Not here: sending them (`transaction`).
//!
//! Clauses: N10.

use std::ffi::{CStr, CString};
use std::os::fd::{AsRawFd, BorrowedFd};
use std::ptr::NonNull;

use nftnl::expr::{self, Register};
use nftnl::{Batch, ChainType, MsgType, ProtoFamily};
use nftnl_sys as sys;

use crate::expression::{Comparison, Expression, Header, Meta, lower};
use crate::plan::{self, Hook, Plan};

/// One batch that makes the kernel's table the plan's, or removes it: the bytes, and what each message is about.
pub(super) struct Encoded {
    /// All messages, the batch's own begin and end included.
    pub(super) bytes: Vec<u8>,
    /// What each message is about, in their order.
    pub(super) about: Vec<String>,
}

/// The plan's table where no table is.
pub(super) fn create(plan: &Plan) -> Encoded {
    let mut writer = Writer::begin();
    writer.add_plan(plan, &table());
    writer.end()
}

/// The table is added so that it can be deleted, and added anew: nothing of an older one survives.
pub(super) fn replace(plan: &Plan) -> Encoded {
    let mut writer = Writer::begin();
    let table = table();
    writer.delete(&table);
    writer.add_plan(plan, &table);
    writer.end()
}

/// Removes the table, if it is there.
pub(super) fn clear() -> Encoded {
    let mut writer = Writer::begin();
    writer.delete(&table());
    writer.end()
}

struct Writer {
    batch: Batch,
    about: Vec<String>,
}

impl Writer {
    fn begin() -> Self {
        Self {
            batch: Batch::new(),
            about: vec!["the batch's begin".to_owned()],
        }
    }

    fn add(&mut self, message: &impl nftnl::NlMsg, about: String) {
        self.batch.add(message, MsgType::Add);
        self.about.push(about);
    }

    fn add_plan(&mut self, plan: &Plan, table: &nftnl::Table) {
        self.add(table, format!("table inet {}", plan::TABLE));
        let encode = |chain: &plan::Chain| encode_chain(chain.hook, table);
        let chains: Vec<nftnl::Chain<'_>> = plan.chains().iter().map(encode).collect();
        for (planned, chain) in plan.chains().iter().zip(&chains) {
            self.add(chain, format!("chain {}", planned.hook.name()));
        }
        for (planned, chain) in plan.chains().iter().zip(&chains) {
            for rule in &planned.rules {
                let about = format!("rule `{rule}` of chain {}", planned.hook.name());
                self.add(&encode_rule(rule, chain), about);
            }
        }
    }

    fn delete(&mut self, table: &nftnl::Table) {
        self.add(
            table,
            "the old table, so that it is there to be deleted".to_owned(),
        );
        self.batch.add(table, MsgType::Del);
        self.about.push("the old table's deletion".to_owned());
    }

    fn end(mut self) -> Encoded {
        self.about.push("the batch's end".to_owned());
        // libnftnl keeps a long batch in pages. Sent page by page it would be several transactions.
        let bytes = self.batch.finalize().iter().flatten().copied().collect();
        Encoded {
            bytes,
            about: self.about,
        }
    }
}

fn table() -> nftnl::Table {
    nftnl::Table::new(c_string(plan::TABLE), ProtoFamily::Inet)
}

/// Our names hold no NUL; one that did would become the empty name, which the kernel refuses.
fn c_string(name: &str) -> CString {
    CString::new(name).unwrap_or_default()
}

fn encode_chain(hook: Hook, table: &nftnl::Table) -> nftnl::Chain<'_> {
    let mut chain = nftnl::Chain::new(c_string(hook.name()), table);
    let (kind, at) = match hook {
        Hook::Forward => (ChainType::Filter, nftnl::Hook::Forward),
        Hook::Input => (ChainType::Filter, nftnl::Hook::In),
        Hook::Output => (ChainType::Filter, nftnl::Hook::Out),
        Hook::Redirect => (ChainType::Nat, nftnl::Hook::Out),
    };
    chain.set_type(kind);
    chain.set_hook(at, hook.priority());
    chain.set_policy(match hook.policy() {
        plan::Policy::Accept => nftnl::Policy::Accept,
        plan::Policy::Drop => nftnl::Policy::Drop,
    });
    chain
}

fn encode_rule<'a>(planned: &plan::Rule, chain: &'a nftnl::Chain<'a>) -> nftnl::Rule<'a> {
    let mut rule = nftnl::Rule::new(chain);
    for expression in lower(planned) {
        rule.add_expr(&expression);
    }
    // A comment that did not fit is missing when the rules are read back, and that is a difference.
    rule.set_comment(c_string(planned.clause.id())).ok();
    rule
}

impl expr::Expression for Expression {
    fn to_expr(&self, rule: &nftnl::Rule<'_>) -> NonNull<sys::nftnl_expr> {
        match self {
            Self::Accept => expr::Verdict::Accept.to_expr(rule),
            Self::Compare(how, bytes) => {
                expr::Cmp::new(comparison(*how), bytes.as_slice()).to_expr(rule)
            }
            Self::ConntrackState => expr::Conntrack::State.to_expr(rule),
            Self::Counter => expr::Counter.to_expr(rule),
            Self::Limit { rate, burst } => limit(*rate, *burst),
            Self::Load(bytes) => expr::Immediate::new(*bytes, Register::Reg1).to_expr(rule),
            Self::Log {
                group,
                prefix,
                snaplen,
                threshold,
            } => log(*group, prefix, *snaplen, *threshold),
            Self::Mask(mask) => {
                expr::Bitwise::new(mask.as_slice(), vec![0_u8; mask.len()].as_slice()).to_expr(rule)
            }
            Self::Meta(key) => meta(*key).to_expr(rule),
            Self::Payload(payload) => {
                // nftnl calls these fields bits; it hands them on as the bytes that the kernel wants.
                let (offset_bits, length_bits) = (payload.offset, payload.length);
                match payload.header {
                    Header::Network => expr::Payload::Network(expr::NetworkHeaderField::Raw {
                        offset_bits,
                        length_bits,
                    }),
                    Header::Transport => {
                        expr::Payload::Transport(expr::TransportHeaderField::Raw {
                            offset_bits,
                            length_bits,
                        })
                    }
                }
                .to_expr(rule)
            }
            Self::Redirect => redirect(),
            Self::RejectProhibited => {
                expr::Verdict::Reject(expr::RejectionType::Icmp(expr::IcmpCode::AdminProhibited))
                    .to_expr(rule)
            }
            Self::RejectReset => expr::Verdict::Reject(expr::RejectionType::TcpRst).to_expr(rule),
        }
    }
}

fn comparison(how: Comparison) -> expr::CmpOp {
    match how {
        Comparison::Equal => expr::CmpOp::Eq,
        Comparison::NotEqual => expr::CmpOp::Neq,
        Comparison::AtLeast => expr::CmpOp::Gte,
        Comparison::AtMost => expr::CmpOp::Lte,
    }
}

fn meta(key: Meta) -> expr::Meta {
    match key {
        Meta::InputInterface => expr::Meta::Iif,
        Meta::OutputInterface => expr::Meta::Oif,
        Meta::Family => expr::Meta::NfProto,
        Meta::Protocol => expr::Meta::L4Proto,
        Meta::SocketUid => expr::Meta::SkUid,
    }
}

fn log(group: u16, prefix: &str, snaplen: u32, threshold: u16) -> NonNull<sys::nftnl_expr> {
    Raw::new(c"log")
        .str(sys::NFTNL_EXPR_LOG_PREFIX, &c_string(prefix))
        .u16(sys::NFTNL_EXPR_LOG_GROUP, group)
        .u32(sys::NFTNL_EXPR_LOG_SNAPLEN, snaplen)
        .u16(sys::NFTNL_EXPR_LOG_QTHRESHOLD, threshold)
        .0
}

fn redirect() -> NonNull<sys::nftnl_expr> {
    Raw::new(c"redir")
        .u32(sys::NFTNL_EXPR_REDIR_REG_PROTO_MIN, Register::Reg1.to_raw())
        .u32(
            sys::NFTNL_EXPR_REDIR_FLAGS,
            super::abi::NF_NAT_RANGE_PROTO_SPECIFIED,
        )
        .0
}

fn limit(rate: u64, burst: u32) -> NonNull<sys::nftnl_expr> {
    Raw::new(c"limit")
        .u64(sys::NFTNL_EXPR_LIMIT_RATE, rate)
        .u64(sys::NFTNL_EXPR_LIMIT_UNIT, super::abi::LIMIT_UNIT_SECOND)
        .u32(sys::NFTNL_EXPR_LIMIT_BURST, burst)
        .u32(sys::NFTNL_EXPR_LIMIT_TYPE, super::abi::NFT_LIMIT_PKTS)
        .u32(sys::NFTNL_EXPR_LIMIT_FLAGS, 0)
        .0
}

/// An expression under construction; whoever takes it out owns it, and gives it to a rule, which frees it.
struct Raw(NonNull<sys::nftnl_expr>);

impl Raw {
    fn new(name: &CStr) -> Self {
        // SAFETY: `name` is a NUL-terminated string that outlives the call; libnftnl only compares it.
        let allocated = unsafe { sys::nftnl_expr_alloc(name.as_ptr()) };
        match NonNull::new(allocated) {
            Some(expression) => Self(expression),
            // No memory, or a libnftnl that lacks the expression: there is no fence without it, and the trait has no error.
            None => std::process::abort(),
        }
    }

    fn u16(self, attribute: u32, value: u16) -> Self {
        // SAFETY: the expression is live and ours alone; the attribute is one of its own, and a u16 in libnftnl.
        unsafe { sys::nftnl_expr_set_u16(self.0.as_ptr(), narrow(attribute), value) };
        self
    }

    fn u32(self, attribute: u32, value: u32) -> Self {
        // SAFETY: the expression is live and ours alone; the attribute is one of its own, and a u32 in libnftnl.
        unsafe { sys::nftnl_expr_set_u32(self.0.as_ptr(), narrow(attribute), value) };
        self
    }

    fn u64(self, attribute: u32, value: u64) -> Self {
        // SAFETY: the expression is live and ours alone; the attribute is one of its own, and a u64 in libnftnl.
        unsafe { sys::nftnl_expr_set_u64(self.0.as_ptr(), narrow(attribute), value) };
        self
    }

    fn str(self, attribute: u32, value: &CStr) -> Self {
        // SAFETY: the expression is live and ours alone; the attribute is one of its own, and libnftnl copies the string.
        let failed =
            unsafe { sys::nftnl_expr_set_str(self.0.as_ptr(), narrow(attribute), value.as_ptr()) };
        if failed != 0 {
            std::process::abort(); // no memory
        }
        self
    }
}

/// libnftnl's attribute numbers are u32 constants, and u16 parameters. None exceeds ten; one that did would name no
/// attribute, and libnftnl aborts.
fn narrow(attribute: u32) -> u16 {
    u16::try_from(attribute).unwrap_or(u16::MAX)
}

/// The descriptor of mnl's socket, which itself lends only the number.
pub(super) fn descriptor(socket: &mnl::Socket) -> BorrowedFd<'_> {
    // SAFETY: the socket owns the descriptor and stays open as long as the borrow of it lives.
    unsafe { BorrowedFd::borrow_raw(socket.as_raw_fd()) }
}
