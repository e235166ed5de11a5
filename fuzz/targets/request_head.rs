#![no_main]
//! `fuzz::request_head`, with input that the engine makes.

libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzz::request_head::holds(data));
