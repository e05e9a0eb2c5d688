//! Texts that others have chosen, and moments, for people.

use std::fmt::Write as _;

#[cfg(feature = "dashboard")]
use super::span;
#[cfg(feature = "dashboard")]
use crate::clock::Timestamp;

/// A text that others have chosen, with all that could move the cursor, hide or turn other text spelled out.
pub(crate) fn plain(text: &str) -> String {
    if text.chars().all(|c| !is_odd(c)) {
        return text.to_owned();
    }
    let mut shown = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        match c {
            '\n' => shown.push_str("\\n"),
            '\r' => shown.push_str("\\r"),
            '\t' => shown.push_str("\\t"),
            c if is_odd(c) => {
                let _ = write!(shown, "\\u{{{:x}}}", u32::from(c));
            }
            c => shown.push(c),
        }
    }
    shown
}

/// The same of a text whose lines are to be kept.
#[cfg(feature = "dashboard")]
pub(crate) fn lines(text: &str) -> String {
    text.split('\n').map(|line| plain(line.strip_suffix('\r').unwrap_or(line))).collect::<Vec<_>>().join("\n")
}

/// Control characters, and those that have no width or turn the direction of writing.
pub(crate) fn is_odd(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

/// `3m 20s ago`, `in 5s`, or `-`.
#[cfg(feature = "dashboard")]
pub(crate) fn relative(moment: Option<Timestamp>, now: Timestamp) -> String {
    match moment {
        None => "-".to_owned(),
        Some(moment) if moment > now => format!("in {}", span(moment.since(now))),
        Some(moment) => format!("{} ago", span(now.since(moment))),
    }
}
