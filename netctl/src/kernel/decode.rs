//! A rule's expressions as the kernel tells them, read back into [`Expression`]s. Whatever is not exactly what a plan of
//! ours could have said is unreadable, and so a difference: an unknown expression, attribute or value.
//!
//! The attribute numbers are those of `nf_tables.h`, `enum nft_*_attributes`.
//!
//! Not here: the comparison (`verify`).
//!
//! Clauses: N10.

use super::abi;
use super::attributes::Attributes;
use crate::expression::{Comparison, Expression, Header, Meta, Payload};

/// The expressions of a rule, or the name of the first one that we cannot have written.
pub(super) fn expressions(list: &[u8]) -> Result<Vec<Expression>, String> {
    let Some(list) = Attributes::parse(list) else {
        return Err("a cut list".to_owned());
    };
    list.into_values()
        .map(|(_, element)| element_of_list(element))
        .collect()
}

fn element_of_list(bytes: &[u8]) -> Result<Expression, String> {
    let read = |bytes| {
        let mut element = Attributes::parse(bytes)?;
        let name = element.string(NFTA_EXPR_NAME)?;
        // An expression with nothing to say may come without the nest.
        let data = element.take(NFTA_EXPR_DATA).unwrap_or_default();
        element.nothing_but(&[])?;
        Some((name, data))
    };
    let (name, data) = read(bytes).ok_or_else(|| "a cut expression".to_owned())?;
    Attributes::parse(data)
        .and_then(|attributes| expression(&name, attributes))
        .ok_or(name)
}

const NFTA_EXPR_NAME: u16 = 1;
const NFTA_EXPR_DATA: u16 = 2;

fn expression(name: &str, mut of: Attributes<'_>) -> Option<Expression> {
    let expression = match name {
        "bitwise" => bitwise(&mut of)?,
        "cmp" => cmp(&mut of)?,
        "counter" => return counter(of),
        "ct" => ct(&mut of)?,
        "immediate" => immediate(&mut of)?,
        "limit" => return limit(of),
        "log" => log(&mut of)?,
        "meta" => meta(&mut of)?,
        "payload" => payload(&mut of)?,
        "redir" => redir(&mut of)?,
        "reject" => reject(&mut of)?,
        _ => return None,
    };
    of.nothing_but(&[])?;
    Some(expression)
}

/// `nf_tables.h` `NFT_REG_1`, the only register that our rules use.
const REGISTER: u32 = 1;
/// `nf_tables.h` `NFT_REG_VERDICT`.
const VERDICT: u32 = 0;

fn bitwise(of: &mut Attributes<'_>) -> Option<Expression> {
    of.is(1, REGISTER)?; // SREG
    of.is(2, REGISTER)?; // DREG
    let length = of.u32(3)?; // LEN
    let mask = value(of, 4)?; // MASK
    let xor = value(of, 5)?; // XOR
    of.is_or_absent(6, 0)?; // OP: NFT_BITWISE_MASK_XOR; kernels before 5.6 know no other and do not say
    let same = u32::try_from(mask.len()).ok()? == length && xor == vec![0; mask.len()];
    same.then_some(Expression::Mask(mask))
}

fn cmp(of: &mut Attributes<'_>) -> Option<Expression> {
    of.is(1, REGISTER)?; // SREG
    let how = match of.u32(2)? {
        // OP
        0 => Comparison::Equal,
        1 => Comparison::NotEqual,
        3 => Comparison::AtMost,
        5 => Comparison::AtLeast,
        _ => return None,
    };
    Some(Expression::Compare(how, value(of, 3)?)) // DATA
}

fn counter(mut of: Attributes<'_>) -> Option<Expression> {
    of.u64(1)?; // BYTES: whatever it has counted by now
    of.u64(2)?; // PACKETS
    of.nothing_but(&[3])?; // PAD
    Some(Expression::Counter)
}

fn ct(of: &mut Attributes<'_>) -> Option<Expression> {
    of.is(1, REGISTER)?; // DREG
    of.is(2, 0)?; // KEY: NFT_CT_STATE
    Some(Expression::ConntrackState)
}

fn immediate(of: &mut Attributes<'_>) -> Option<Expression> {
    let register = of.u32(1)?; // DREG
    let mut data = of.nest(2)?; // DATA
    let expression = match register {
        VERDICT => {
            let mut verdict = data.nest(2)?; // NFTA_DATA_VERDICT
            verdict.is(1, 1)?; // CODE: NF_ACCEPT
            verdict.nothing_but(&[])?;
            Expression::Accept
        }
        REGISTER => Expression::Load(data.take(1)?.try_into().ok()?), // NFTA_DATA_VALUE
        _ => return None,
    };
    data.nothing_but(&[])?;
    Some(expression)
}

fn limit(mut of: Attributes<'_>) -> Option<Expression> {
    let rate = of.u64(1)?; // RATE
    (of.u64(2)? == abi::LIMIT_UNIT_SECOND).then_some(())?; // UNIT
    let burst = of.u32(3)?; // BURST
    of.is(4, abi::NFT_LIMIT_PKTS)?; // TYPE
    of.is(5, 0)?; // FLAGS: not inverted
    of.nothing_but(&[6])?; // PAD
    Some(Expression::Limit { rate, burst })
}

fn log(of: &mut Attributes<'_>) -> Option<Expression> {
    Some(Expression::Log {
        group: of.u16(1)?,     // GROUP
        prefix: of.string(2)?, // PREFIX
        snaplen: of.u32(3)?,   // SNAPLEN
        threshold: of.u16(4)?, // QTHRESHOLD
    })
}

fn meta(of: &mut Attributes<'_>) -> Option<Expression> {
    of.is(1, REGISTER)?; // DREG
    let key = match of.u32(2)? {
        // KEY, enum nft_meta_keys
        4 => Meta::InputInterface,
        5 => Meta::OutputInterface,
        10 => Meta::SocketUid,
        15 => Meta::Family,
        16 => Meta::Protocol,
        _ => return None,
    };
    Some(Expression::Meta(key))
}

fn payload(of: &mut Attributes<'_>) -> Option<Expression> {
    of.is(1, REGISTER)?; // DREG
    let header = match of.u32(2)? {
        // BASE
        1 => Header::Network,
        2 => Header::Transport,
        _ => return None,
    };
    Some(Expression::Payload(Payload {
        header,
        offset: of.u32(3)?, // OFFSET
        length: of.u32(4)?, // LEN
    }))
}

fn redir(of: &mut Attributes<'_>) -> Option<Expression> {
    of.is(1, REGISTER)?; // REG_PROTO_MIN
    of.is_or_absent(2, REGISTER)?; // REG_PROTO_MAX: left out, it is the minimum
    of.is(3, abi::NF_NAT_RANGE_PROTO_SPECIFIED)?; // FLAGS
    Some(Expression::Redirect)
}

fn reject(of: &mut Attributes<'_>) -> Option<Expression> {
    let kind = of.u32(1)?; // TYPE
    let code = of.take(2).unwrap_or(&[0]); // ICMP_CODE
    match (kind, code) {
        (1, [0]) => Some(Expression::RejectReset), // NFT_REJECT_TCP_RST
        (2, [3]) => Some(Expression::RejectProhibited), // NFT_REJECT_ICMPX_UNREACH, NFT_REJECT_ICMPX_ADMIN_PROHIBITED
        _ => None,
    }
}

/// A nest that holds a value and nothing else.
fn value(of: &mut Attributes<'_>, kind: u16) -> Option<Vec<u8>> {
    let mut data = of.nest(kind)?;
    let bytes = data.take(1)?.to_vec(); // NFTA_DATA_VALUE
    data.nothing_but(&[])?;
    Some(bytes)
}
