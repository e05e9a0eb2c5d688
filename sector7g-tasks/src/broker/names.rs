use std::borrow::Borrow;
use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize, Serializer};

/// The most bytes that a job id or a queue's name may have.
const MAX_LEN: usize = 512;

/// The most partitions that a queue may have: a worker asks each of them.
pub const MAX_PARTITIONS: u16 = 64;

/// A name that can't be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what} {name:?} can't be used: {rule}")]
pub struct InvalidName {
    what: &'static str,
    name: String,
    rule: &'static str,
}

const ANY_NAME: &str = "it must have 1 to 512 bytes and no control characters";

fn check(what: &'static str, name: &str) -> Result<(), InvalidName> {
    if name.is_empty() || name.len() > MAX_LEN || name.chars().any(char::is_control) {
        let name = name.chars().take(80).collect();
        return Err(InvalidName { what, name, rule: ANY_NAME });
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
    /// One of its partitions, from 0: a queue of its own, of which all keys lie in one slot of a Redis Cluster.
    ///
    /// Its name has a hash tag: that of partition 2 of `orders` is `{orders:2}`. Four partitions in a row lie in the four
    /// quarters of a cluster's slots, as `CRC16` spreads a last digit so.
    ///
    /// ```
    /// # use sector7g_tasks::broker::QueueName;
    /// let orders = QueueName::new("orders")?;
    /// assert_eq!(orders.partition(2)?.as_str(), "{orders:2}");
    /// assert_eq!(orders.partition_for("customer-12", 4)?.as_str(), "{orders:0}");
    /// # Ok::<(), sector7g_tasks::broker::InvalidName>(())
    /// ```
    ///
    /// # Errors
    /// [`InvalidName`] when the name has a brace, so that its partitions could not have slots of their own, or gets too long.
    pub fn partition(&self, index: u16) -> Result<Self, InvalidName> {
        let Self(name) = self;
        if name.contains(['{', '}']) {
            let rule = "a queue with partitions has no braces in its name, as theirs are made of it";
            return Err(InvalidName { what: "the queue name", name: name.to_string(), rule });
        }
        Self::new(format!("{{{name}:{index}}}"))
    }

    /// That of its `partitions` in which the jobs of `key` lie: the key's CRC-32 (that of zlib, Python's `zlib.crc32`)
    /// modulo their number.
    ///
    /// # Errors
    /// As [`partition`](Self::partition).
    pub fn partition_for(&self, key: &str, partitions: u16) -> Result<Self, InvalidName> {
        let index = crc32fast::hash(key.as_bytes()) % u32::from(partitions.max(1));
        self.partition(u16::try_from(index).unwrap_or_default())
    }

    /// All of its partitions, or without any itself.
    pub(crate) fn all(&self, partitions: u16) -> Result<Vec<Self>, InvalidName> {
        if partitions < 2 {
            return Ok(vec![self.clone()]);
        }
        (0..partitions).map(|index| self.partition(index)).collect()
    }

    /// Which of the partitions of `whole` this name begins with, if any.
    fn index_in(name: &str, whole: &str) -> Option<u16> {
        let index = name.strip_prefix('{')?.strip_prefix(whole)?.strip_prefix(':')?;
        let digits = &index[..index.find('}')?];
        digits.parse().ok().filter(|index: &u16| index.to_string() == digits)
    }

    /// Whether it is one of the first `partitions` of `whole`, or without partitions `whole` itself.
    pub(crate) fn is_of(&self, whole: &str, partitions: u16) -> bool {
        if partitions < 2 {
            return self.as_str() == whole;
        }
        let index = Self::index_in(&self.0, whole).filter(|index| *index < partitions);
        index.is_some_and(|index| self.0.len() == format!("{{{whole}:{index}}}").len())
    }

    /// Where a job goes, and under which id. Of a queue with partitions it is the one that its id begins with, else that of
    /// `key`, else that of the id, so that an id is one job; else any. The partition's tag is put before the id.
    pub(crate) fn place(
        &self,
        partitions: u16,
        key: Option<&str>,
        id: Option<&str>,
    ) -> Result<(Self, JobId), InvalidName> {
        let id = id.map(JobId::new).transpose()?;
        if partitions > MAX_PARTITIONS {
            let rule = "a queue has 64 partitions at the most";
            return Err(InvalidName { what: "the queue name", name: self.to_string(), rule });
        }
        if partitions < 2 {
            return Ok((self.clone(), id.unwrap_or_else(|| JobId::generate_in(self))));
        }
        let own = id.as_ref().and_then(|id| Self::index_in(&id.0, &self.0)).filter(|index| *index < partitions);
        if let (Some(index), Some(id)) = (own, &id) {
            return Ok((self.partition(index)?, id.clone()));
        }
        let partition = match key.or(id.as_ref().map(JobId::as_str)) {
            Some(key) => self.partition_for(key, partitions)?,
            None => self.partition(rand::random_range(0..partitions))?,
        };
        let id = match id {
            Some(id) => JobId::new(format!("{partition}:{id}"))?,
            None => JobId::generate_in(&partition),
        };
        Ok((partition, id))
    }

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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn queue(name: &str) -> QueueName {
        QueueName::new(name).expect("a name")
    }

    fn placed(partitions: u16, key: Option<&str>, id: Option<&str>) -> (String, String) {
        let (queue, id) = queue("orders").place(partitions, key, id).expect("a place");
        (queue.to_string(), id.to_string())
    }

    #[test]
    fn without_partitions_a_job_goes_to_its_queue() {
        assert_eq!(placed(1, Some("key"), Some("one")), ("orders".to_owned(), "one".to_owned()));
        assert_eq!(placed(0, None, Some("{orders:1}:one")), ("orders".to_owned(), "{orders:1}:one".to_owned()));
    }

    /// As Python says: `zlib.crc32(b"customer-12") % 4` and so on.
    #[test]
    fn a_key_has_its_partition() {
        for (key, index) in [("customer-12", 0), ("customer-13", 2), ("", 0), ("Ω", 3)] {
            assert_eq!(
                queue("orders").partition_for(key, 4).expect("a name"),
                queue(&format!("{{orders:{index}}}")),
                "{key}"
            );
        }
    }

    #[test]
    fn an_id_is_one_job() {
        let first = placed(4, None, Some("one"));
        assert_eq!(first, placed(4, None, Some("one")));
        assert_eq!(first, placed(4, None, Some(&first.1)), "told again by its whole id");
        assert_eq!(first.1, format!("{}:one", first.0));
        let (beyond, _) = placed(4, Some("customer-12"), Some("{orders:4}:one"));
        assert_eq!(beyond, "{orders:0}", "there is no such partition: it is part of the id");
    }

    #[test]
    fn without_a_key_all_partitions_get_some() {
        let places: std::collections::BTreeSet<String> = (0..200).map(|_| placed(4, None, None).0).collect();
        assert_eq!(places.into_iter().collect::<Vec<_>>(), ["{orders:0}", "{orders:1}", "{orders:2}", "{orders:3}"]);
        assert!(placed(4, None, None).1.starts_with("{orders:"));
    }

    #[test]
    fn braces_have_no_partitions() {
        let error = queue("{orders}").place(2, None, None).expect_err("they would share a slot");
        assert!(error.to_string().contains("no braces"), "{error}");
        assert!(queue("orders").place(2, None, Some("")).is_err(), "an id of nothing is none");
        assert!(queue("orders").place(65, None, None).is_err(), "they are too many");
    }

    #[test]
    fn what_is_a_partition() {
        let is_of = |name: &str| queue(name).is_of("orders", 3);
        assert!(is_of("{orders:0}") && is_of("{orders:2}"));
        let others = [
            "orders",
            "{orders:3}",
            "{orders:02}",
            "{orders:}",
            "{orders:1}x",
            "{orders:1}x}",
            "{other:1}",
            "{orders:-1}",
            "{orders:+1}",
        ];
        assert!(others.into_iter().all(|name| !is_of(name)));
        assert!(queue("orders").is_of("orders", 1) && !queue("{orders:0}").is_of("orders", 1));
    }

    proptest! {
        #[test]
        fn any_job_has_one_place(key in proptest::option::of(".{0,20}"), id in proptest::option::of("[^\\p{Cc}]{1,40}"), partitions in 2..=MAX_PARTITIONS) {
            let orders = queue("orders");
            let (place, placed) = orders.place(partitions, key.as_deref(), id.as_deref()).expect("a place");
            prop_assert!(place.is_of("orders", partitions));
            prop_assert!(placed.as_str().starts_with(place.as_str()));
            let (again, same) = orders.place(partitions, None, Some(placed.as_str())).expect("a place");
            prop_assert_eq!((again, same), (place, placed));
        }
    }
}
