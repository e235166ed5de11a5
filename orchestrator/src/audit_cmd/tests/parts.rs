//! Records that were rotated, packed, or are no records at all.
use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;
use ruzstd::encoding::{CompressionLevel, compress_to_vec};

use super::*;

/// A record in three files: the first packed with Zstandard, the second with gzip.
struct Rotated {
    place: Place,
    lines: Vec<String>,
    parts: [PathBuf; 2],
}

fn rotated() -> Rotated {
    let place = place(&events());
    let whole = std::fs::read_to_string(&place.record).unwrap();
    let lines: Vec<String> = whole.split_inclusive('\n').map(str::to_owned).collect();
    let parts = ["run-1.00001.jsonl.zst", "run-1.00002.jsonl.gz"]
        .map(|name| place.record.with_file_name(name));
    let rotated = Rotated {
        place,
        lines,
        parts,
    };
    rotated.cut([4, 7]);
    rotated
}

impl Rotated {
    /// Cuts the record after these lines.
    fn cut(&self, [one, other]: [usize; 2]) {
        self.write(
            &self.lines[..one].concat(),
            &self.lines[one..other].concat(),
            &self.lines[other..].concat(),
        );
    }

    fn write(&self, first: &str, second: &str, open: &str) {
        let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
        gzip.write_all(second.as_bytes()).unwrap();
        std::fs::write(
            &self.parts[0],
            compress_to_vec(first.as_bytes(), CompressionLevel::Fastest),
        )
        .unwrap();
        std::fs::write(&self.parts[1], gzip.finish().unwrap()).unwrap();
        std::fs::write(&self.place.record, open).unwrap();
    }
}

#[test]
fn a_record_in_packed_parts_reads_as_the_one_that_it_is() {
    let (whole, rotated) = (place(&events()), rotated());
    let printed = |place: &Place, line: &str| {
        let (code, out, err) = place.types(line);
        (code, out.replace(&place.id(), "ID"), err)
    };
    for line in ["query", "query --csv", "report"] {
        assert_eq!(
            printed(&rotated.place, line),
            printed(&whole, line),
            "{line}"
        );
    }
    let (code, out, _) = rotated.place.types("query --json");
    assert_eq!((code, out), (0, rotated.lines.concat()));
}

#[test]
fn verify_follows_the_chain_from_file_to_file() {
    let rotated = rotated();
    let (path, head) = (rotated.place.record.display(), head(&rotated.lines[9]));
    for cut in [[4, 7], [1, 9], [1, 1], [10, 10]] {
        rotated.cut(cut);
        let (code, out, _) = rotated.place.types("verify");
        let told = format!("{path}: whole, 10 lines in 3 files, not signed, head {head}\n");
        assert_eq!((code, out), (0, told), "{cut:?}");
    }
    rotated.cut([4, 7]);
    let (_, out, _) = rotated.place.types("verify --json");
    let document: serde_json::Value = serde_json::from_str(&out).unwrap();
    let ends = [(0, 4), (1, 7), (2, 10)].map(|(file, line)| {
        let files = [&rotated.parts[0], &rotated.parts[1], &rotated.place.record];
        serde_json::json!({"file": files[file], "last": line, "head": self::head(&rotated.lines[line - 1])})
    });
    assert_eq!(document["files"][0]["parts"], serde_json::json!(ends));
}

#[test]
fn verify_names_the_file_and_its_line_where_a_boundary_does_not_fit() {
    let rotated = rotated();
    let lines = &rotated.lines;
    let open = rotated.place.record.display();
    let bad =
        |file: &dyn std::fmt::Display, line, what: &str| format!("{file}:{line}: bad: {what}\n");
    let torn = lines[6].trim_end();
    for (first, second, third, expected) in [
        (
            lines[..4].concat(),
            lines[5..7].concat(),
            lines[7..].concat(),
            bad(
                &rotated.parts[1].display(),
                1,
                "number 6 stands where 5 belongs",
            ),
        ),
        (
            lines[..4].concat(),
            lines[4..7].concat(),
            lines[8..].concat(),
            bad(&open, 1, "number 9 stands where 8 belongs"),
        ),
        (
            lines[..4].concat(),
            lines[4..6].concat() + torn,
            lines[7..].concat(),
            bad(&rotated.parts[1].display(), 3, "torn: the line has no end"),
        ),
        (
            lines[1..4].concat(),
            lines[4..7].concat(),
            lines[7..].concat(),
            bad(
                &rotated.parts[0].display(),
                1,
                "number 2 stands where 1 belongs",
            ),
        ),
        (
            String::new(),
            String::new(),
            String::new(),
            bad(&open, 1, "the record is empty"),
        ),
    ] {
        rotated.write(&first, &second, &third);
        assert_eq!(rotated.place.types("verify"), (1, expected, String::new()));
    }
    rotated.cut([4, 7]);
    std::fs::remove_file(&rotated.parts[0]).unwrap();
    let expected = bad(
        &rotated.parts[1].display(),
        1,
        "number 5 stands where 1 belongs",
    );
    assert_eq!(rotated.place.types("verify"), (1, expected, String::new()));
}

#[test]
fn a_part_that_is_named_alone_says_from_where_on_it_is_whole() {
    let rotated = rotated();
    let part = rotated.parts[1].display();
    let (code, out, _) = rotated.place.types(&format!("verify {part}"));
    let told = format!(
        "{part}: whole, 3 lines, from number 5 on: earlier parts were not read, no stop at its end: \
        it goes on, or was cut off, not signed, head {}\n",
        head(&rotated.lines[6])
    );
    assert_eq!((code, out), (0, told));
}

#[test]
fn a_packed_file_that_was_cut_short_is_an_error() {
    let rotated = rotated();
    let bytes = std::fs::read(&rotated.parts[1]).unwrap();
    std::fs::write(&rotated.parts[1], &bytes[..bytes.len() / 2]).unwrap();
    for line in ["verify", "query", "report"] {
        let (code, _, err) = rotated.place.types(line);
        let told = format!("ocs: read {}: ", rotated.parts[1].display());
        assert_eq!((code, err.starts_with(&told)), (1, true), "{line}: {err}");
    }
}

#[test]
fn a_log_of_another_program_is_refused_by_file_and_line() {
    let place = place(&events());
    let squid = "1795223640.123    412 127.0.0.1 TCP_TUNNEL/200 48211 CONNECT api.example.org:443 - HIER_DIRECT/192.0.2.1 -\n";
    std::fs::write(place.root.join("access.log"), squid.repeat(2)).unwrap();
    let file = place.root.join("access.log").display().to_string();
    let (code, out, err) = place.types("report access.log");
    let told = format!("ocs: {file} is no record: no line of it is an event; line 1: ");
    assert_eq!(
        (code, out.as_str(), err.starts_with(&told)),
        (64, "", true),
        "{err}"
    );
    let (code, out, _) = place.types("verify access.log");
    assert_eq!(
        (code, out),
        (1, format!("{file}:1: bad: not a line of the record\n"))
    );
}

fn head(line: &str) -> String {
    use sha2::{Digest, Sha256};
    let digest = Sha256::digest(line.trim_end());
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn verify_holds_a_record_to_what_was_signed_of_it() {
    let place = place(&events());
    let path = place.record.display();
    let now = std::time::SystemTime::now();
    crate::checkpoint::sign_end(&place.record, now).unwrap();
    let (code, out, _) = place.types("verify");
    let (_, key) = out.split_once("signed up to number 10 with key ").unwrap();
    let key = key.split(',').next().unwrap().to_owned();
    assert_eq!((code, key.len()), (0, 64), "{out}");
    assert_eq!(place.types(&format!("verify --key {key}")).0, 0);
    assert_eq!(place.types(&format!("verify --key {key} {path}")).0, 0);
    let other = "00".repeat(32);
    let told = format!("{path}: bad: signed with another key: {key}\n");
    assert_eq!(
        place.types(&format!("verify --key {other}")),
        (1, told, String::new())
    );

    // Written anew as a whole, with every hash as it should be.
    let mut rewritten = events();
    rewritten[4] = rewritten[3].clone();
    let good = std::fs::read(&place.record).unwrap();
    std::fs::write(&place.record, record(&place.id(), "run-1", &rewritten)).unwrap();
    let (code, out, _) = place.types("verify");
    let told = format!("{path}:10: bad: not the line that was signed: the record was rewritten\n");
    assert_eq!((code, out), (1, told));

    // Cut short, with everything before as it was.
    let lines: Vec<&[u8]> = good.split_inclusive(|byte| *byte == b'\n').collect();
    std::fs::write(&place.record, lines[..9].concat()).unwrap();
    let (code, out, _) = place.types("verify");
    let told = format!(
        "{path}:9: bad: the record ends here, and a signed checkpoint says that it went on to number 10\n"
    );
    assert_eq!((code, out), (1, told));

    // The key is lost, or the signatures are.
    std::fs::write(&place.record, &good).unwrap();
    let kept = crate::checkpoint::key_of(&place.record).unwrap();
    std::fs::remove_file(kept).unwrap();
    assert_eq!(place.types("verify").0, 1);
    assert_eq!(place.types(&format!("verify --key {key}")).0, 0);
    std::fs::remove_file(crate::checkpoint::beside(&place.record)).unwrap();
    let told = format!("{path}: bad: it is not signed\n");
    assert_eq!(
        place.types(&format!("verify --key {key}")),
        (1, told, String::new())
    );
}

#[test]
fn a_record_that_was_signed_anew_is_known_by_its_sandbox_s_own_key() {
    let place = place(&events());
    let named = format!("verify {}", place.record.display());
    let now = std::time::SystemTime::now();
    crate::checkpoint::sign_end(&place.record, now).unwrap();
    let kept = crate::checkpoint::key_of(&place.record).unwrap();
    let own = std::fs::read(&kept).unwrap();
    let beside = crate::checkpoint::beside(&place.record);
    let signed = std::fs::read(&beside).unwrap();
    std::fs::remove_file(&kept).unwrap();
    std::fs::remove_file(&beside).unwrap();
    crate::checkpoint::sign_end(&place.record, now).unwrap();
    std::fs::write(&kept, &own).unwrap();
    for line in ["verify", &named] {
        let (code, out, _) = place.types(line);
        assert_eq!(code, 1, "{line}: {out}");
        assert!(out.contains("bad: signed with another key: "), "{out}");
    }
    std::fs::write(&beside, &signed).unwrap();
    assert_eq!(place.types(&named).0, 0);
}

#[test]
fn a_record_that_is_named_has_to_have_its_first_part() {
    let rotated = rotated();
    std::fs::remove_file(&rotated.parts[0]).unwrap();
    let line = format!("verify {}", rotated.place.record.display());
    let part = rotated.parts[1].display();
    let told = format!("{part}:1: bad: number 5 stands where 1 belongs\n");
    assert_eq!(rotated.place.types(&line), (1, told, String::new()));
}
