//! What must hold for input of anybody's making, one module for each target; [`seeds`] is where the engine begins.
//!
//! Each `holds` takes bytes and panics where a promise is broken: libFuzzer calls it with input that it makes
//! (`targets/`), the test below with every seed. Not here: the properties of values that are well formed
//! (`policies/tests/properties`, `netctl/tests/properties.rs`).

pub mod audit_line;
pub mod client_hello;
pub mod destinations;
pub mod dns_stub;
pub mod host;
pub mod nft_plan;
pub mod policy_file;
pub mod request_head;
pub mod seeds;

/// The name of each target, with its property.
pub const TARGETS: [(&str, fn(&[u8])); 8] = [
    ("audit_line", audit_line::holds),
    ("client_hello", client_hello::holds),
    ("destinations", destinations::holds),
    ("dns_stub", dns_stub::holds),
    ("host", host::holds),
    ("nft_plan", nft_plan::holds),
    ("policy_file", policy_file::holds),
    ("request_head", request_head::holds),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_seed_holds() {
        for (target, holds) in TARGETS {
            let seeds = seeds::of(target).unwrap();
            assert!(seeds.len() >= 2, "{target} has {} seeds", seeds.len());
            for seed in seeds {
                holds(&seed);
            }
        }
    }
}
