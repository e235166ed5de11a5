//! One question by HTTP, put by the host's `curl`, which knows TLS and the host's certificates. No proxy, no variable and no
//! curlrc changes where it goes. What an answer means is the caller's.
use crate::engine::spawn::Call;

/// Bytes of an answer that are taken.
pub(crate) const ANSWER_MAX_BYTES: &str = "1048576";

/// A call of curl for `url` that is given `seconds`, with these arguments more; it prints the answer, and its status behind it
/// on a line of its own.
pub(crate) fn call(url: &str, seconds: &str, more: &[&str]) -> Call {
    // --disable first: whatever the user's own curlrc says is not for this question.
    let common = [
        "--disable",
        "--silent",
        "--globoff",
        "--noproxy",
        "*",
        "--proto",
        "=http,https",
        "--max-time",
        seconds,
        "--max-filesize",
        ANSWER_MAX_BYTES,
        "--write-out",
        "\n%{http_code}",
    ];
    Call::new("curl")
        .arguments(common)
        .arguments(more)
        .arguments(["--url", url])
}

/// The answer and its status, of what was printed.
pub(crate) fn answer(printed: &str) -> (&str, &str) {
    printed.rsplit_once('\n').unwrap_or(("", printed))
}
