#![no_main]
//! `fuzz::policy_file`, with input that the engine makes.

libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzz::policy_file::holds(data));
