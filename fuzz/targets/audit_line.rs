#![no_main]
//! `fuzz::audit_line`, with input that the engine makes.

libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzz::audit_line::holds(data));
