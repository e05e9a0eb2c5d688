//! Base64, as recordings and scripts have it.

/// The bytes of a base64 text; recordings have no other kind.
pub(super) fn decode(text: &str) -> Vec<u8> {
    let sextet = |byte: u8| match byte {
        b'A'..=b'Z' => byte - b'A',
        b'a'..=b'z' => byte - b'a' + 26,
        b'0'..=b'9' => byte - b'0' + 52,
        b'+' => 62,
        b'/' => 63,
        other => panic!("{} is not base64", char::from(other)),
    };
    let digits: Vec<u8> = text.trim_end_matches('=').bytes().map(sextet).collect();
    let group = |group: &[u8]| {
        let wide = group.iter().enumerate().fold(0_u32, |wide, (at, digit)| wide | u32::from(*digit) << (18 - 6 * at));
        wide.to_be_bytes()[1..group.len()].to_vec()
    };
    digits.chunks(4).flat_map(group).collect()
}

pub(super) fn encode(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let group = |group: &[u8]| {
        let wide = group.iter().enumerate().fold(0_u32, |wide, (at, byte)| wide | u32::from(*byte) << (16 - 8 * at));
        let digit =
            |at: usize| if at > group.len() { '=' } else { char::from(DIGITS[(wide >> (18 - 6 * at)) as usize & 63]) };
        [0, 1, 2, 3].map(digit)
    };
    bytes.chunks(3).flat_map(group).collect()
}
