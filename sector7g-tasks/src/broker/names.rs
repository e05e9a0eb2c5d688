use std::borrow::Borrow;
use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize, Serializer};

/// The most bytes that a job id or a queue's name may have.
const MAX_LEN: usize = 512;

/// A name that can't be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what} {name:?} can't be used: it must have 1 to {MAX_LEN} bytes and no control characters")]
pub struct InvalidName {
    what: &'static str,
    name: String,
}

fn check(what: &'static str, name: &str) -> Result<(), InvalidName> {
    if name.is_empty() || name.len() > MAX_LEN || name.chars().any(char::is_control) {
        let name = name.chars().take(80).collect();
        return Err(InvalidName { what, name });
    }
    Ok(())
}

macro_rules! name_type {
    ($(#[$doc:meta])* $type:ident, $what:literal) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
        #[serde(try_from = "String")]
        pub struct $type(Arc<str>);

        impl $type {
            /// Takes `name` if it has 1 to 512 bytes and no control characters.
            ///
            /// # Errors
            /// [`InvalidName`] otherwise.
            pub fn new(name: impl AsRef<str>) -> Result<Self, InvalidName> {
                let name = name.as_ref();
                check($what, name)?;
                Ok(Self(name.into()))
            }

            /// The name itself.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl TryFrom<String> for $type {
            type Error = InvalidName;

            fn try_from(name: String) -> Result<Self, InvalidName> {
                Self::new(name)
            }
        }

        impl Serialize for $type {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.0)
            }
        }

        impl Borrow<str> for $type {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                if self.0.chars().any(char::is_control) {
                    return f.pad(&self.0.escape_debug().to_string()); // one that another program has chosen
                }
                f.pad(&self.0)
            }
        }

        impl fmt::Debug for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&self.0, f)
            }
        }
    };
}

name_type! {
    /// A job's id: any text of 1 to 512 bytes; clones share it.
    JobId, "the job id"
}

name_type! {
    /// A queue's name: any text of 1 to 512 bytes; clones share it.
    QueueName, "the queue name"
}

impl JobId {
    /// A new id of 32 hex digits, like arq's, but time-ordered (`UUIDv7`): ids of one process
    /// sort in the order in which they were made, so jobs of one millisecond stay first in, first out.
    pub fn generate() -> Self {
        let mut buffer = [0; uuid::fmt::Simple::LENGTH];
        let text: &str = uuid_text(&mut buffer);
        Self(text.into())
    }

    /// A new id for a job of `queue`: like [`generate`](Self::generate), after the queue's hash
    /// tag where its name has one, as in `{lenny}`. So all keys of a queue and its jobs fall into
    /// one slot of a Redis Cluster.
    pub fn generate_in(queue: &QueueName) -> Self {
        match queue.hash_tag() {
            Some(tag) => Self(format!("{tag}:{}", uuid_text(&mut [0; uuid::fmt::Simple::LENGTH])).into()),
            None => Self::generate(),
        }
    }
}

#[cfg(feature = "redis")]
impl JobId {
    /// An id that another program has stored, who has rules of its own: any text that is not empty.
    pub(crate) fn stored(text: &str) -> Option<Self> {
        (!text.is_empty()).then(|| Self(text.into()))
    }

    /// See [`QueueName::hash_tag`].
    pub(crate) fn hash_tag(&self) -> Option<&str> {
        hash_tag(&self.0)
    }
}

impl QueueName {
    /// The part from the first `{` to the next `}`, both included, when there is something between.
    pub(crate) fn hash_tag(&self) -> Option<&str> {
        hash_tag(&self.0)
    }
}

fn hash_tag(name: &str) -> Option<&str> {
    let start = name.find('{')?;
    let length = name[start..].find('}')?;
    (length > 1).then(|| &name[start..=start + length])
}

fn uuid_text(buffer: &mut [u8; uuid::fmt::Simple::LENGTH]) -> &str {
    uuid::Uuid::now_v7().simple().encode_lower(buffer)
}
