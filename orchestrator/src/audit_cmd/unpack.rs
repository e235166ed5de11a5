//! Bytes as they were before somebody compressed them: gzip and Zstandard are known by how they begin, whatever the
//! file's name says. Streams: a packed gigabyte takes the memory of its window.
use std::io::{self, BufRead, BufReader, Cursor, Read};

use flate2::read::MultiGzDecoder;
use ruzstd::decoding::errors::{FrameDecoderError, ReadFrameHeaderError};
use ruzstd::decoding::{BlockDecodingStrategy, FrameDecoder};

/// RFC 1952 section 2.3.1.
const GZIP: [u8; 2] = [0x1f, 0x8b];
/// RFC 8878 section 3.1.1.
const ZSTD: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];

/// What is in `source`, which is read when this is.
pub(super) fn reader(source: impl Read + 'static) -> Box<dyn Read> {
    Box::new(Unpacked::Unknown(Some(Box::new(source))))
}

type Source = Box<dyn Read>;
/// What was read to look at it, and the rest.
type Looked = io::Chain<Cursor<Vec<u8>>, Source>;

enum Unpacked {
    /// Nothing was read: a pipe's first byte may be long in coming.
    Unknown(Option<Source>),
    Gzip(MultiGzDecoder<Looked>),
    Plain(Looked),
    Zstd(Box<Frames>),
}

impl Read for Unpacked {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        loop {
            match self {
                Self::Unknown(source) => {
                    let source = source.take().ok_or(io::ErrorKind::UnexpectedEof)?;
                    *self = Self::look(source)?;
                }
                Self::Gzip(packed) => return packed.read(into),
                Self::Plain(plain) => return plain.read(into),
                Self::Zstd(frames) => return frames.read(into),
            }
        }
    }
}

impl Unpacked {
    fn look(mut source: Source) -> io::Result<Self> {
        let begins = begin(&mut source)?;
        let (is_gzip, is_zstd) = (begins.starts_with(&GZIP), begins == ZSTD);
        let looked = Cursor::new(begins).chain(source);
        Ok(if is_gzip {
            Self::Gzip(MultiGzDecoder::new(looked))
        } else if is_zstd {
            Self::Zstd(Box::new(Frames::new(looked)))
        } else {
            Self::Plain(looked)
        })
    }
}

/// The first four bytes, or all there are.
fn begin(source: &mut impl Read) -> io::Result<Vec<u8>> {
    let mut begins = Vec::with_capacity(ZSTD.len());
    source.take(ZSTD.len() as u64).read_to_end(&mut begins)?;
    Ok(begins)
}

/// Zstandard frames one after the other, as `cat` and parallel packers leave them.
struct Frames {
    packed: BufReader<Looked>,
    frame: FrameDecoder,
    begun: bool,
}

impl Frames {
    fn new(packed: Looked) -> Self {
        Self {
            packed: BufReader::new(packed),
            frame: FrameDecoder::new(),
            begun: false,
        }
    }

    /// Goes to the next frame with something in it; none at the end.
    fn next(&mut self) -> io::Result<bool> {
        loop {
            if self.packed.fill_buf()?.is_empty() {
                return Ok(false);
            }
            let skipped = match self.frame.reset(&mut self.packed) {
                Ok(()) => return Ok(true),
                Err(FrameDecoderError::ReadFrameHeaderError(ReadFrameHeaderError::SkipFrame {
                    length,
                    ..
                })) => u64::from(length),
                Err(error) => return Err(io::Error::other(error)),
            };
            let mut rest = (&mut self.packed).take(skipped);
            if io::copy(&mut rest, &mut io::sink())? < skipped {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
    }
}

impl Read for Frames {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        loop {
            let count = self.frame.read(into)?;
            if count > 0 || into.is_empty() {
                return Ok(count);
            }
            if self.begun && !self.frame.is_finished() {
                let one = BlockDecodingStrategy::UptoBlocks(1);
                self.frame
                    .decode_blocks(&mut self.packed, one)
                    .map_err(io::Error::other)?;
                continue;
            }
            self.begun = self.next()?;
            if !self.begun {
                return Ok(0);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::Compression;
    use flate2::write::GzEncoder;
    use ruzstd::encoding::{CompressionLevel, compress_to_vec};

    use super::*;

    fn gzip(content: &[u8]) -> Vec<u8> {
        let mut packer = GzEncoder::new(Vec::new(), Compression::fast());
        packer.write_all(content).unwrap();
        packer.finish().unwrap()
    }

    fn zstd(content: &[u8]) -> Vec<u8> {
        compress_to_vec(content, CompressionLevel::Fastest)
    }

    fn read(packed: &[u8]) -> io::Result<Vec<u8>> {
        let mut content = Vec::new();
        reader(Cursor::new(packed.to_vec())).read_to_end(&mut content)?;
        Ok(content)
    }

    fn content(length: usize) -> Vec<u8> {
        (0..length)
            .map(|at| u8::try_from(at / 7 % 251).unwrap())
            .collect()
    }

    #[test]
    fn what_is_packed_comes_out_as_it_was_and_what_is_not_as_it_is() {
        for length in [0, 1, 3, 4, 5, 70_000, 1_000_000] {
            let content = content(length);
            assert_eq!(read(&content).unwrap(), content);
            assert_eq!(read(&gzip(&content)).unwrap(), content);
            assert_eq!(read(&zstd(&content)).unwrap(), content);
        }
    }

    #[test]
    fn packed_pieces_that_were_put_together_come_out_together() {
        let (one, other) = (content(70_000), content(5));
        let both = [one.clone(), other.clone()].concat();
        assert_eq!(read(&[gzip(&one), gzip(&other)].concat()).unwrap(), both);
        assert_eq!(read(&[zstd(&one), zstd(&other)].concat()).unwrap(), both);
        // RFC 8878 section 3.1.2: a frame of a user's own, which is skipped.
        let skipped = b"\x50\x2a\x4d\x18\x03\x00\x00\x00abc".to_vec();
        let between = [zstd(&one), skipped.clone(), zstd(&other), skipped].concat();
        assert_eq!(read(&between).unwrap(), both);
    }

    #[test]
    fn what_was_cut_short_is_an_error_and_never_an_end() {
        let content = content(70_000);
        for packed in [gzip(&content), zstd(&content)] {
            for cut in [5, 9, packed.len() / 2, packed.len() - 5] {
                assert!(
                    read(&packed[..cut]).is_err(),
                    "cut at {cut} of {}",
                    packed.len()
                );
            }
        }
    }
}
