//! The sandbox's identity, bit for bit that of opencode-sandbox (COMPATIBILITY 4.4, 4.5), so that state survives the
//! move. Pure: the caller resolves the path.
use std::fmt;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// `[a-z0-9]([a-z0-9-]*[a-z0-9])?`: what a sandbox may be called.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SandboxName(String);

/// A name that is none.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a sandbox name: use a-z, 0-9 and `-`, with a letter or digit at both ends")]
pub struct NotASandboxName(pub String);

impl SandboxName {
    /// Takes a name as it is, or refuses it.
    ///
    /// # Errors
    /// The text is not of the form above (the config is at fault).
    pub fn parse(text: &str) -> Result<Self, NotASandboxName> {
        let inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        let well_formed = text.bytes().all(inner)
            && !text.is_empty()
            && !text.starts_with('-')
            && !text.ends_with('-');
        if well_formed {
            Ok(Self(text.to_owned()))
        } else {
            Err(NotASandboxName(text.to_owned()))
        }
    }

    /// The nearest name that is one: `My_App` becomes `my-app`; what has no letter or digit becomes `sandbox`.
    #[must_use]
    pub fn nearest(text: &str) -> Self {
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
        let name = name.trim_matches('-');
        Self(if name.is_empty() {
            "sandbox".to_owned()
        } else {
            name.to_owned()
        })
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for SandboxName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
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
    fn names_are_taken_as_they_are_or_refused() {
        for good in ["a", "0", "a-b", "a--b", "my-app-2"] {
            assert_eq!(
                SandboxName::parse(good).map(|name| name.to_string()),
                Ok(good.to_owned())
            );
        }
        for bad in [
            "", "-", "-a", "a-", "A", "a_b", "a b", "a.b", "a\n", "\u{e9}",
        ] {
            assert_eq!(
                SandboxName::parse(bad),
                Err(NotASandboxName(bad.to_owned()))
            );
        }
    }

    #[test]
    fn the_nearest_name_of_a_directory_is_always_a_name() {
        let nearest = |text| SandboxName::nearest(text).to_string();
        assert_eq!(nearest("My_App"), "my-app");
        assert_eq!(nearest("..x  y.."), "x-y");
        assert_eq!(nearest("\u{e9}t\u{e9}"), "t");
        assert_eq!(nearest("___"), "sandbox");
        assert_eq!(nearest(""), "sandbox");
    }
}
