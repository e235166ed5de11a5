#![no_main]
//! `fuzz::dns_stub`, with input that the engine makes.

libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzz::dns_stub::holds(data));
