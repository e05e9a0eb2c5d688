//! Compressing files, and making sure that they can be read back.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::Path;

use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;

use super::checksum;

/// What compressing a file came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Archived {
    /// Bytes before.
    pub before: u64,
    /// Bytes after.
    pub after: u64,
    /// SHA-256 of the content.
    pub sha256: String,
}

/// Compresses `from` into `to` (gzip), reads the copy back, and only if it is the same removes `from`.
///
/// # Errors
/// What reading or writing says; `InvalidData` when the copy differs, which leaves `from` where it is.
pub fn compress(from: &Path, to: &Path) -> io::Result<Archived> {
    let mut encoder = GzEncoder::new(File::create(to)?, Compression::fast());
    let before = io::copy(&mut File::open(from)?, &mut encoder)?;
    encoder.finish()?.sync_all()?;
    let (sha256, _) = checksum::of_file(from)?;
    if checksum::of(&read(to, before)?) != sha256 {
        return Err(io::Error::new(
            io::ErrorKind::InvalidData,
            format!("{} does not hold what was put in", to.display()),
        ));
    }
    fs::remove_file(from)?;
    Ok(Archived { before, after: fs::metadata(to)?.len(), sha256 })
}

/// The content of a compressed file, of which no more than `limit` bytes and one are read.
///
/// # Errors
/// What reading says, `InvalidData` included when it is no gzip file.
pub fn read(path: &Path, limit: u64) -> io::Result<Vec<u8>> {
    let mut content = Vec::new();
    // One byte more: a copy that is too long must not look the same.
    GzDecoder::new(File::open(path)?).take(limit + 1).read_to_end(&mut content)?;
    Ok(content)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_goes_in_comes_out() {
        let dir = tempfile::tempdir().unwrap();
        let (from, to) = (dir.path().join("log"), dir.path().join("log.gz"));
        let text = "the rods are fine\n".repeat(1_000);
        fs::write(&from, &text).unwrap();
        let archived = compress(&from, &to).unwrap();
        assert_eq!((archived.before, archived.sha256), (text.len() as u64, checksum::of(text.as_bytes())));
        assert!(archived.after < archived.before / 10, "{}", archived.after);
        assert!(!from.exists());
        assert_eq!(read(&to, archived.before).unwrap(), text.as_bytes());
        assert_eq!(read(&to, 3).unwrap().len(), 4);
    }

    #[test]
    fn a_missing_file_leaves_an_error() {
        let dir = tempfile::tempdir().unwrap();
        assert!(compress(&dir.path().join("missing"), &dir.path().join("to")).is_err());
        fs::write(dir.path().join("plain"), "no gzip").unwrap();
        assert!(read(&dir.path().join("plain"), 100).is_err());
    }
}
