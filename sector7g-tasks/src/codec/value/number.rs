use std::fmt;
use std::sync::Arc;

use super::Value;

/// An integer beyond 64 bits: its two's complement, the low byte first, no longer than needed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct BigInt(Arc<[u8]>);

/// The most bits of an integer that is shown in digits, those of 4300 digits, as in Python: that takes quadratic time.
const SHOWN_BITS: usize = 14_288;

/// The most digits that are read, as in Python, for the same reason.
const READ_DIGITS: usize = 4_300;

impl BigInt {
    /// Its two's complement, the low byte first.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// The same, to be shared.
    pub(crate) fn shared(&self) -> &Arc<[u8]> {
        &self.0
    }

    fn is_negative(&self) -> bool {
        self.0.last().is_some_and(|byte| byte & 0x80 != 0)
    }

    pub(crate) fn bits(&self) -> usize {
        self.0.len() * 8
    }

    pub(crate) fn to_i128(&self) -> Option<i128> {
        widened(&self.0).map(i128::from_le_bytes)
    }

    pub(crate) fn to_u128(&self) -> Option<u128> {
        let low = match self.0.split_last() {
            Some((0, low)) => low, // a byte that only says "not negative"
            _ => &self.0,
        };
        if self.is_negative() || low.len() > 16 {
            return None;
        }
        let mut wide = [0; 16];
        wide[..low.len()].copy_from_slice(low);
        Some(u128::from_le_bytes(wide))
    }

    /// The absolute value, in 32 bits each, the low ones first.
    fn magnitude(&self) -> Vec<u32> {
        let mut carry = u64::from(self.is_negative());
        let flip = if self.is_negative() { 0xff } else { 0 };
        let limb = |chunk: &[u8]| {
            let mut wide = [flip; 4];
            wide[..chunk.len()].copy_from_slice(chunk);
            let flipped = wide.map(|byte| byte ^ flip);
            let sum = u64::from(u32::from_le_bytes(flipped)) + carry;
            carry = sum >> 32;
            low(sum)
        };
        self.0.chunks(4).map(limb).collect()
    }
}

/// The lower half.
fn low(wide: u64) -> u32 {
    u32::try_from(wide & 0xffff_ffff).unwrap_or(u32::MAX) // never the default: it is masked
}

/// The same integer in 16 bytes, if they are enough.
fn widened(le: &[u8]) -> Option<[u8; 16]> {
    let fill = if le.last().is_some_and(|byte| byte & 0x80 != 0) { 0xff } else { 0 };
    let mut wide = [fill; 16];
    wide.get_mut(..le.len())?.copy_from_slice(le);
    Some(wide)
}

impl Value {
    /// An integer from its two's complement, the low byte first; none is 0.
    pub(crate) fn integer(mut le: &[u8]) -> Self {
        while let [rest @ .., before, last] = le {
            let is_needed = *last != if before & 0x80 == 0 { 0 } else { 0xff };
            if is_needed {
                break;
            }
            le = &le[..=rest.len()];
        }
        let narrow = widened(le).and_then(|wide| i64::try_from(i128::from_le_bytes(wide)).ok());
        narrow.map_or_else(|| Self::Big(BigInt(le.into())), Self::Int)
    }

    /// An integer from its digits.
    pub(crate) fn integer_of_digits(text: &str) -> Option<Self> {
        let digits = text.strip_prefix('-').unwrap_or(text);
        if digits.is_empty() || digits.len() > READ_DIGITS || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        let mut limbs: Vec<u32> = Vec::new();
        for digit in digits.bytes() {
            let mut carry = u64::from(digit - b'0');
            for limb in &mut limbs {
                let wide = u64::from(*limb) * 10 + carry;
                *limb = low(wide);
                carry = wide >> 32;
            }
            if carry > 0 {
                limbs.push(low(carry));
            }
        }
        let mut le: Vec<u8> = limbs.into_iter().flat_map(u32::to_le_bytes).collect();
        le.push(0);
        if digits.len() < text.len() {
            negate(&mut le);
        }
        Some(Self::integer(&le))
    }
}

fn negate(le: &mut [u8]) {
    let mut carry = true;
    for byte in le {
        (*byte, carry) = (!*byte).overflowing_add(u8::from(carry));
    }
}

impl fmt::Display for BigInt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.bits() > SHOWN_BITS {
            return write!(f, "<an integer of {} bits>", self.bits());
        }
        let mut limbs = self.magnitude();
        let mut groups = Vec::new();
        while !limbs.is_empty() {
            let mut rest = 0_u64;
            for limb in limbs.iter_mut().rev() {
                let wide = (rest << 32) | u64::from(*limb);
                *limb = low(wide / 1_000_000_000);
                rest = wide % 1_000_000_000;
            }
            groups.push(rest);
            while limbs.last() == Some(&0) {
                limbs.pop();
            }
        }
        f.write_str(if self.is_negative() { "-" } else { "" })?;
        write!(f, "{}", groups.pop().unwrap_or(0))?;
        groups.iter().rev().try_for_each(|group| write!(f, "{group:09}"))
    }
}
