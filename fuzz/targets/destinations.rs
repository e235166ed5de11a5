#![no_main]
//! `fuzz::destinations`, with input that the engine makes.

libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzz::destinations::holds(data));
