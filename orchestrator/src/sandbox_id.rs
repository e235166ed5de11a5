//! The sandbox's identity, bit for bit that of opencode-sandbox (COMPATIBILITY 4.4, 4.5), so that state survives the
//! move. Pure: the caller resolves the path.
use std::fmt;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use policies::SandboxName;

/// The nearest text that is a sandbox name: `My_App` becomes `my-app`; what has no letter or digit becomes `sandbox`.
#[must_use]
pub fn nearest_name(text: &str) -> String {
    let mut name = String::with_capacity(text.len());
    for character in text.chars() {
        let next = if character.is_ascii_alphanumeric() {
            character.to_ascii_lowercase()
        } else {
            '-'
        };
        if next != '-' || !name.ends_with('-') {
            name.push(next);
        }
    }
    match name.trim_matches('-') {
        "" => "sandbox".to_owned(),
        name => name.to_owned(),
    }
}

/// `<sandbox-name>-<six hex digits of the project's real path>`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct SandboxId(String);

impl SandboxId {
    /// The identity of the project at `real_path`, which must have no symlink left in it.
    #[must_use]
    pub fn new(name: &SandboxName, real_path: &Path) -> Self {
        // `printf %x` pads nothing, and `cut -c1-6` takes what there is.
        let hex = format!("{:x}", posix_cksum(real_path.as_os_str().as_bytes()));
        Self(format!("{name}-{}", hex.get(..6).unwrap_or(&hex)))
    }

    /// The identity as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for SandboxId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The CRC of `cksum` (POSIX.1-2017, XCU cksum): the bytes, then their count from its lowest byte up, complemented.
fn posix_cksum(bytes: &[u8]) -> u32 {
    let mut crc = bytes.iter().copied().fold(0, shift_in);
    let mut count = bytes.len();
    while count > 0 {
        let [lowest, ..] = count.to_le_bytes();
        crc = shift_in(crc, lowest);
        count >>= 8;
    }
    !crc
}

fn shift_in(crc: u32, byte: u8) -> u32 {
    const POLYNOMIAL: u32 = 0x04c1_1db7; // ISO/IEC 8802-3, as POSIX cksum cites it
    let mut crc = crc ^ (u32::from(byte) << 24);
    for _ in 0..8 {
        let carry = crc & 0x8000_0000 != 0;
        crc <<= 1;
        if carry {
            crc ^= POLYNOMIAL;
        }
    }
    crc
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_is_that_of_the_cksum_command() {
        // `printf %s TEXT | cksum`, GNU coreutils 9.1.
        let long = [b'a'; 300]; // a count of two bytes
        let vectors: [(&[u8], u32); 7] = [
            (b"", 4_294_967_295),
            (b"a", 1_220_704_766),
            (b"/", 1_713_039_686),
            (b"/home/user/my-project", 2_257_414_486),
            (b"/srv/with space/x", 318_507_831),
            (b"/p/1662", 61_511),
            (&long, 1_664_553_091),
        ];
        for (bytes, expected) in vectors {
            assert_eq!(
                posix_cksum(bytes),
                expected,
                "{}",
                String::from_utf8_lossy(bytes)
            );
        }
    }

    #[test]
    fn the_example_of_opencode_sandbox_keeps_its_identity() {
        let name = SandboxName::parse("my-project").unwrap();
        assert_eq!(
            SandboxId::new(&name, Path::new("/home/user/my-project")).as_str(),
            "my-project-868d69"
        );
    }

    #[test]
    fn a_short_checksum_is_not_padded() {
        let name = SandboxName::parse("x").unwrap();
        assert_eq!(
            SandboxId::new(&name, Path::new("/p/1662")).as_str(),
            "x-f047"
        );
    }

    #[test]
    fn the_nearest_name_of_a_directory_is_always_a_name() {
        let nearest = nearest_name;
        assert_eq!(nearest("My_App"), "my-app");
        assert_eq!(nearest("..x  y.."), "x-y");
        assert_eq!(nearest("\u{e9}t\u{e9}"), "t");
        assert_eq!(nearest("___"), "sandbox");
        assert_eq!(nearest(""), "sandbox");
        for text in ["My_App", "-a-", "a--b", "\u{130}x", "9"] {
            assert!(SandboxName::parse(&nearest(text)).is_some(), "{text}");
        }
    }
}
