use super::super::{Timestamp, sample};
use super::*;

fn verify(record: &[u8]) -> Result<Verified, BadLine> {
    let mut verifier = Verifier::new();
    verifier.feed(record, drop)?;
    verifier.finish()
}

fn lines(record: &[u8]) -> Vec<&[u8]> {
    record.split_inclusive(|byte| *byte == b'\n').collect()
}

#[test]
fn a_record_as_it_was_written_is_accepted_and_gives_its_events_back() {
    let record = sample::record();
    let mut seen = Vec::new();
    let mut verifier = Verifier::new();
    verifier.feed(&record, |line| seen.push(line)).unwrap();
    let numbers: Vec<u64> = seen.iter().map(|line| line.seq).collect();
    assert_eq!(numbers, [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11]);
    let events: Vec<Event> = seen.into_iter().map(|line| line.event).collect();
    assert_eq!(events, sample::events());
    let last = lines(&record).pop().unwrap();
    let head = hex(&Sha256::digest(&last[..last.len() - 1]).into());
    let expected = Verified {
        lines: 11,
        first: 1,
        seq: 11,
        head: String::from_utf8(head.to_vec()).unwrap(),
        ended: true,
    };
    assert_eq!(verifier.finish(), Ok(expected));
}

#[test]
fn wherever_the_pieces_are_cut_the_record_is_the_same() {
    let record = sample::record();
    let whole = verify(&record);
    for size in [1, 2, 7, 64, 511, record.len()] {
        let mut verifier = Verifier::new();
        for piece in record.chunks(size) {
            verifier.feed(piece, drop).unwrap();
        }
        assert_eq!(verifier.finish(), whole, "pieces of {size}");
    }
}

#[test]
fn whichever_byte_is_changed_its_own_line_is_named() {
    let record = sample::record();
    let mut before = Verifier::new();
    let mut start = 0;
    for (number, line) in (1_u64..).zip(lines(&record)) {
        for at in start..start + line.len() {
            let was = record[at];
            for now in [
                was ^ 0x01,
                was ^ 0x20,
                0x00,
                b'\n',
                b'\r',
                b' ',
                b'"',
                b'0',
                b'9',
                b'f',
                b'}',
                0xff,
            ] {
                if now == was {
                    continue;
                }
                let mut changed = record[start..].to_vec();
                changed[at - start] = now;
                // What stands before is unchanged and was accepted.
                let mut verifier = before.clone();
                let outcome = verifier
                    .feed(&changed, drop)
                    .and_then(|()| verifier.finish());
                let named = outcome.expect_err("accepted").line;
                assert_eq!(
                    named, number,
                    "byte {at} of line {number}: {was:#04x} -> {now:#04x}"
                );
            }
        }
        start += line.len();
        before.feed(line, drop).unwrap();
    }
}

#[test]
fn whichever_byte_is_missing_or_added_its_own_line_is_named() {
    let record = sample::record();
    let mut before = Verifier::new();
    let mut start = 0;
    for (number, line) in (1_u64..).zip(lines(&record)) {
        for at in 0..line.len() {
            let mut shorter = record[start..].to_vec();
            shorter.remove(at);
            let mut longer = record[start..].to_vec();
            longer.insert(at, b'x');
            for changed in [shorter, longer] {
                let mut verifier = before.clone();
                let outcome = verifier
                    .feed(&changed, drop)
                    .and_then(|()| verifier.finish());
                assert_eq!(
                    outcome.expect_err("accepted").line,
                    number,
                    "byte {at} of line {number}"
                );
            }
        }
        start += line.len();
        before.feed(line, drop).unwrap();
    }
}

#[test]
fn a_line_that_is_missing_doubled_or_swapped_is_found_where_it_happened() {
    let record = sample::record();
    let all = lines(&record);
    for index in 0..all.len() {
        let place = u64::try_from(index).unwrap() + 1;
        let mut missing = all.clone();
        missing.remove(index);
        // The last line's absence shows only in `ended`.
        match verify(&missing.concat()) {
            Ok(verified) => assert_eq!((index, verified.ended), (all.len() - 1, false)),
            Err(bad) => assert_eq!(
                (bad.line, bad.fault),
                (
                    place,
                    Fault::Seq {
                        expected: place,
                        found: place + 1
                    }
                )
            ),
        }
        let mut doubled = all.clone();
        doubled.insert(index, all[index]);
        assert_eq!(
            verify(&doubled.concat()).expect_err("accepted").line,
            place + 1
        );
        if index + 1 < all.len() {
            let mut swapped = all.clone();
            swapped.swap(index, index + 1);
            assert_eq!(verify(&swapped.concat()).expect_err("accepted").line, place);
        }
    }
}

#[test]
fn a_record_cut_anywhere_but_at_the_end_of_a_line_is_torn_there() {
    let record = sample::record();
    for end in 1..record.len() {
        let head = &record[..end];
        let whole = u64::try_from(head.iter().filter(|byte| **byte == b'\n').count()).unwrap();
        match verify(head) {
            Ok(verified) => {
                assert!(head.ends_with(b"\n"));
                assert_eq!((verified.lines, verified.ended), (whole, false));
            }
            Err(bad) => assert_eq!(
                bad,
                BadLine {
                    line: whole + 1,
                    fault: Fault::Torn
                }
            ),
        }
    }
    assert_eq!(
        verify(b""),
        Err(BadLine {
            line: 1,
            fault: Fault::Empty
        })
    );
}

fn header(run: &str) -> super::super::Header {
    super::super::Header {
        sandbox: "s".to_owned(),
        run: run.to_owned(),
    }
}

#[test]
fn a_line_of_another_run_is_a_stranger_even_where_every_hash_fits() {
    let time = Timestamp::from_unix_millis(0);
    let events = sample::events();
    let mut ours = super::super::Chain::new(&header("a"));
    let first = ours.line(time, &events[0]).to_vec();
    // The forger knows the hash of what stands there, and goes on in another run's name.
    let mut theirs = super::super::Chain::after(&header("b"), first.trim_ascii_end()).unwrap();
    let second = theirs.line(time, &events[1]).to_vec();
    let bad = verify(&[first, second].concat()).unwrap_err();
    assert_eq!(
        bad,
        BadLine {
            line: 2,
            fault: Fault::Stranger
        }
    );
}

#[test]
fn only_the_start_of_another_run_may_follow_the_stop_of_one() {
    let time = Timestamp::from_unix_millis(0);
    let events = sample::events();
    let record = |next: &Event| {
        let mut chain = super::super::Chain::new(&header("a"));
        let stop = chain.line(time, &events[10]).to_vec();
        let mut chain = super::super::Chain::after(&header("b"), stop.trim_ascii_end()).unwrap();
        let next = chain.line(time, next).to_vec();
        [stop, next].concat()
    };
    assert_eq!(
        verify(&record(&events[1])),
        Err(BadLine {
            line: 2,
            fault: Fault::AfterStop
        })
    );
    assert_eq!(
        verify(&record(&events[0])).map(|verified| (verified.lines, verified.ended)),
        Ok((2, false))
    );
}

#[test]
fn a_second_file_is_checked_against_the_end_of_the_first() {
    let record = sample::record();
    let all = lines(&record);
    let first = verify(&all[..4].concat()).unwrap();
    let rest = all[4..].concat();
    let mut verifier = Verifier::after(first.seq, &first.head);
    verifier.feed(&rest, drop).unwrap();
    let second = verifier.finish().unwrap();
    assert_eq!((second.lines, second.seq, second.ended), (7, 11, true));
    let mut stranger = Verifier::after(first.seq, &"0".repeat(64));
    let bad = stranger.feed(&rest, drop).unwrap_err();
    assert_eq!(
        bad,
        BadLine {
            line: 1,
            fault: Fault::Prev
        }
    );
}

#[test]
fn memory_is_bounded_by_the_longest_line_that_is_read() {
    let mut verifier = Verifier::new();
    let piece = vec![b'x'; 1 << 16];
    let mut fed = 0_usize;
    let bad = loop {
        fed += piece.len();
        if let Err(bad) = verifier.feed(&piece, drop) {
            break bad;
        }
        assert!(fed <= 1 << 21, "no end");
    };
    assert_eq!(
        bad,
        BadLine {
            line: 1,
            fault: Fault::Long
        }
    );
}

#[test]
fn a_record_in_parts_is_the_record_and_its_lines_are_counted_in_each() {
    let record = sample::record();
    let all = lines(&record);
    for cut in 0..=all.len() {
        let (one, other) = all.split_at(cut);
        let mut verifier = Verifier::new();
        verifier.feed(&one.concat(), drop).unwrap();
        verifier.next_file().unwrap();
        verifier.feed(&other.concat(), drop).unwrap();
        assert_eq!(verifier.finish(), verify(&record), "cut after {cut}");
        // The first line of the second part is lost: its second is the bad one, and the first of that file.
        if let Some((_, rest)) = other.split_first().filter(|(_, rest)| !rest.is_empty()) {
            let mut verifier = Verifier::new();
            verifier.feed(&one.concat(), drop).unwrap();
            verifier.next_file().unwrap();
            assert_eq!(verifier.feed(&rest.concat(), drop).unwrap_err().line, 1);
        }
    }
}

#[test]
fn a_part_alone_says_where_it_begins_and_a_part_that_ends_in_half_a_line_is_torn() {
    let record = sample::record();
    let all = lines(&record);
    let mut verifier = Verifier::of_a_part();
    verifier.feed(&all[4..].concat(), drop).unwrap();
    let verified = verifier.finish().unwrap();
    assert_eq!((verified.first, verified.lines, verified.seq), (5, 7, 11));
    let mut verifier = Verifier::of_a_part();
    verifier.feed(all[4], drop).unwrap();
    assert_eq!(verifier.feed(all[6], drop).unwrap_err().line, 2);
    let mut verifier = Verifier::new();
    verifier.feed(all[0], drop).unwrap();
    verifier.feed(b"{", drop).unwrap();
    let torn = BadLine {
        line: 2,
        fault: Fault::Torn,
    };
    assert_eq!(verifier.next_file(), Err(torn));
}

#[test]
fn a_record_that_was_rewritten_as_a_whole_is_found_by_what_was_signed() {
    let record = sample::record();
    let heads: Vec<String> = lines(&record)
        .iter()
        .map(|line| {
            String::from_utf8(hex(&Sha256::digest(line.trim_ascii_end()).into()).to_vec()).unwrap()
        })
        .collect();
    let signed = |entries: &[(u64, &String)], record: &[u8]| {
        let mut verifier = Verifier::new();
        for (seq, head) in entries {
            verifier.expect(*seq, head);
        }
        verifier.feed(record, drop)?;
        verifier.finish()
    };
    let good = [(4, &heads[3]), (9, &heads[8])];
    assert_eq!(signed(&good, &record), verify(&record));
    // Every hash fits, and line 4 is not the one that was signed.
    let rewritten = [(4, &heads[2]), (9, &heads[8])];
    let fault = BadLine {
        line: 4,
        fault: Fault::Rewritten,
    };
    assert_eq!(signed(&rewritten, &record), Err(fault));
    let short = lines(&record)[..8].concat();
    let fault = BadLine {
        line: 8,
        fault: Fault::Short { signed: 9 },
    };
    assert_eq!(signed(&good, &short), Err(fault));
    // A later part alone is held to what was signed of it.
    let mut verifier = Verifier::of_a_part();
    verifier.expect(4, &heads[0]);
    verifier.expect(9, &heads[8]);
    verifier.feed(&lines(&record)[5..].concat(), drop).unwrap();
    assert_eq!(verifier.finish().unwrap().first, 6);
}
