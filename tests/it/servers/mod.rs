//! The servers that tests start, themselves: they answer, and none is left behind.

mod redis;
