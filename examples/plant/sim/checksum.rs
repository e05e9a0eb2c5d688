//! Checksums of texts, files and lists of files.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use sha2::{Digest, Sha256};

/// How much of a file is held in memory at once, in bytes.
const CHUNK: usize = 32 * 1024;

/// SHA-256 of `bytes`, as 64 hex digits.
pub fn of(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

/// SHA-256 of a file, read in pieces, and its length in bytes.
///
/// # Errors
/// What opening or reading the file says.
pub fn of_file(path: &Path) -> io::Result<(String, u64)> {
    let mut file = File::open(path)?;
    let (mut hasher, mut length) = (Sha256::new(), 0);
    let mut chunk = vec![0; CHUNK];
    loop {
        let read = file.read(&mut chunk)?;
        if read == 0 {
            return Ok((hex(&hasher.finalize()), length));
        }
        hasher.update(&chunk[..read]);
        length += read as u64;
    }
}

/// One checksum for a list of them: pairs are hashed, then pairs of those, until one is left (a Merkle root).
///
/// The order matters; the root of an empty list is the checksum of nothing.
pub fn root(leaves: &[String]) -> String {
    let mut level = leaves.to_vec();
    while level.len() > 1 {
        level = level.chunks(2).map(|pair| of(pair.concat().as_bytes())).collect();
    }
    level.pop().unwrap_or_else(|| of(b""))
}

/// Hashes a secret `rounds` times with a salt, so that guessing it takes as many times as long.
pub fn stretch(secret: &str, salt: &str, rounds: u32) -> String {
    let mut digest = Sha256::new().chain_update(salt).chain_update(secret).finalize();
    for _ in 1..rounds {
        digest = Sha256::new().chain_update(digest).chain_update(salt).finalize();
    }
    hex(&digest)
}

fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let nibbles = bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]);
    nibbles.map(|nibble| char::from(DIGITS[usize::from(nibble)])).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const ABC: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

    #[test]
    fn a_text_has_the_standards_checksum() {
        assert_eq!(of(b"abc"), ABC);
    }

    #[test]
    fn a_file_is_summed_in_pieces_to_the_same() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("report");
        let bytes: Vec<u8> = (0..CHUNK * 2 + 7).map(|n| u8::try_from(n % 251).unwrap()).collect();
        std::fs::write(&path, &bytes).unwrap();
        assert_eq!(of_file(&path).unwrap(), (of(&bytes), bytes.len() as u64));
        assert!(of_file(&dir.path().join("missing")).is_err());
    }

    #[test]
    fn the_root_depends_on_every_leaf_and_their_order() {
        let leaves = ["a", "b", "c"].map(|leaf| of(leaf.as_bytes()));
        let expected =
            of([of([&*leaves[0], &*leaves[1]].concat().as_bytes()), of(leaves[2].as_bytes())].concat().as_bytes());
        assert_eq!(root(&leaves), expected);
        assert_ne!(root(&leaves), root(&[leaves[1].clone(), leaves[0].clone(), leaves[2].clone()]));
        assert_eq!(root(&leaves[..1]), leaves[0]);
        assert_eq!(root(&[]), of(b""));
    }

    #[test]
    fn stretching_depends_on_secret_salt_and_rounds() {
        let reference = stretch("ketchup", "7G", 10);
        assert_eq!(reference, stretch("ketchup", "7G", 10));
        for other in [stretch("mustard", "7G", 10), stretch("ketchup", "7F", 10), stretch("ketchup", "7G", 11)] {
            assert_ne!(other, reference);
        }
    }
}
