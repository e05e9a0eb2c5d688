//! How stored arguments bind to a task's parameters, the way Python's call would.

use std::cell::Cell;
use std::fmt;
use std::marker::PhantomData;

use serde::de::{self, DeserializeOwned, DeserializeSeed, SeqAccess, Visitor};
use serde::ser::{SerializeMap, SerializeSeq};
use serde::{Deserializer, Serialize, Serializer};

use crate::codec::NamedValues;
use crate::job::UntypedArgs;

pub use crate::codec::Arguments;

/// Arguments that can be sent.
#[diagnostic::on_unimplemented(
    message = "these arguments can't travel with a job",
    note = "each must be `Serialize + Send + Sync + 'static`, and there may be twelve at most"
)]
pub trait JobArgs: Send + Sync + 'static {
    /// Writes the positional ones as a sequence.
    #[doc(hidden)]
    fn positional<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error>;

    /// Writes the named ones as a map.
    #[doc(hidden)]
    fn named<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_map(Some(0))?.end()
    }
}

impl JobArgs for UntypedArgs {
    fn positional<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.positional.serialize(serializer)
    }

    fn named<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.named.serialize(serializer)
    }
}

/// Arguments that can be received: tuples of up to twelve values.
pub trait ArgList: Sized {
    /// For each value, what makes it when it is missing.
    type Defaults: Default;

    #[doc(hidden)]
    fn bind(arguments: &Arguments, params: &[Param], defaults: Self::Defaults) -> Result<Self, BindError>;
}

/// A parameter that travels.
#[derive(Clone, Copy, Debug)]
pub struct Param {
    /// Its name.
    pub name: &'static str,
    /// Its type, as written.
    pub type_name: &'static str,
    /// Whether its value is hidden in logs, errors and the dashboard.
    pub redact: bool,
}

impl Param {
    /// A parameter.
    pub const fn new(name: &'static str, type_name: &'static str) -> Self {
        Self { name, type_name, redact: false }
    }

    /// Hides its values.
    #[must_use]
    pub const fn redact(mut self) -> Self {
        self.redact = true;
        self
    }
}

/// Why arguments do not fit a task. Names the argument and the type that it should have.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BindError {
    /// A value of the wrong type or range.
    #[error("argument `{name}` should be of type `{expected}`: {problem}")]
    Type {
        /// The parameter.
        name: &'static str,
        /// Its type.
        expected: &'static str,
        /// What is wrong, without the value where it is redacted.
        problem: String,
    },
    /// Neither given nor optional.
    #[error("argument `{name}` of type `{expected}` is missing")]
    Missing {
        /// The parameter.
        name: &'static str,
        /// Its type.
        expected: &'static str,
    },
    /// More positional values than parameters.
    #[error("{given} positional arguments were given, at most {allowed} are taken ({names})")]
    TooMany {
        /// How many came.
        given: usize,
        /// How many parameters there are.
        allowed: usize,
        /// The parameters.
        names: String,
    },
    /// A name that no parameter has.
    #[error("there is no argument `{name}`, only: {names}")]
    Unknown {
        /// The name that came.
        name: String,
        /// The parameters.
        names: String,
    },
    /// Both by position and by name.
    #[error("argument `{name}` was given twice, by position and by name")]
    Twice {
        /// The parameter.
        name: &'static str,
    },
    /// The arguments are no sequence and map at all.
    #[error("the arguments can't be read: {0}")]
    Malformed(String),
}

fn names(params: &[Param]) -> String {
    if params.is_empty() {
        return "none".to_owned();
    }
    params.iter().map(|param| format!("`{}`", param.name)).collect::<Vec<_>>().join(", ")
}

fn mistyped(param: &Param, problem: &dyn fmt::Display) -> BindError {
    // A decoder's message may quote the value.
    let problem = if param.redact { "its value does not fit (it is redacted)".to_owned() } else { problem.to_string() };
    BindError::Type { name: param.name, expected: param.type_name, problem }
}

/// Reads what a missing argument is: `None` for an `Option`, whatever it is called, else an error.
struct Missing;

#[derive(Debug)]
struct IsMissing;

impl fmt::Display for IsMissing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("missing")
    }
}

impl std::error::Error for IsMissing {}

impl de::Error for IsMissing {
    fn custom<T: fmt::Display>(_: T) -> Self {
        Self
    }
}

impl<'de> Deserializer<'de> for Missing {
    type Error = IsMissing;

    fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, IsMissing> {
        Err(IsMissing)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, IsMissing> {
        visitor.visit_none()
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit
        unit_struct newtype_struct seq tuple tuple_struct map struct enum identifier ignored_any
    }
}

/// One value while binding: by position, by name, by default or missing.
fn fill<T: DeserializeOwned>(
    slot: Option<T>,
    param: &Param,
    named: &mut NamedValues<'_>,
    default: Option<fn() -> T>,
) -> Result<T, BindError> {
    let by_name = named.iter().position(|(name, _)| &**name == param.name);
    match (slot, by_name) {
        (Some(_), Some(_)) => Err(BindError::Twice { name: param.name }),
        (Some(value), None) => Ok(value),
        (None, Some(index)) => {
            let (_, value) = named.swap_remove(index);
            value.read().map_err(|problem| mistyped(param, &problem))
        }
        (None, None) => match default {
            Some(make) => Ok(make()),
            None => {
                T::deserialize(Missing).map_err(|_| BindError::Missing { name: param.name, expected: param.type_name })
            }
        },
    }
}

/// Reads the positional values of one list: those that are there, then how many there were.
struct Slots<'a, T> {
    /// The index of the value being read, to name it when it does not fit.
    at: &'a Cell<usize>,
    list: PhantomData<T>,
}

macro_rules! arg_lists {
    ($(($len:literal: $($T:ident $value:ident $index:tt),*))*) => {$(
        impl<$($T: Serialize + Send + Sync + 'static),*> JobArgs for ($($T,)*) {
            fn positional<Out: Serializer>(&self, serializer: Out) -> Result<Out::Ok, Out::Error> {
                let seq = serializer.serialize_seq(Some($len))?;
                $(let mut seq = seq; seq.serialize_element(&self.$index)?;)*
                seq.end()
            }
        }

        impl<'de, $($T: DeserializeOwned),*> Visitor<'de> for Slots<'_, ($($T,)*)> {
            type Value = (($(Option<$T>,)*), usize);

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a sequence of arguments")
            }

            fn visit_seq<In: SeqAccess<'de>>(self, mut seq: In) -> Result<Self::Value, In::Error> {
                let mut count = 0;
                $(
                    self.at.set($index);
                    let $value = seq.next_element::<$T>()?;
                    count += usize::from($value.is_some());
                )*
                if count == $len {
                    self.at.set($len);
                    while seq.next_element::<de::IgnoredAny>()?.is_some() {
                        count += 1;
                    }
                }
                Ok((($($value,)*), count))
            }
        }

        impl<'de, $($T: DeserializeOwned),*> DeserializeSeed<'de> for Slots<'_, ($($T,)*)> {
            type Value = (($(Option<$T>,)*), usize);

            fn deserialize<In: Deserializer<'de>>(self, deserializer: In) -> Result<Self::Value, In::Error> {
                deserializer.deserialize_seq(self)
            }
        }

        impl<$($T: DeserializeOwned),*> ArgList for ($($T,)*) {
            type Defaults = ($(Option<fn() -> $T>,)*);

            #[allow(unused_variables, unused_mut, clippy::unused_unit, reason = "the empty list uses nothing")]
            fn bind(arguments: &Arguments, params: &[Param], defaults: Self::Defaults) -> Result<Self, BindError> {
                let at = Cell::new(0);
                let slots = Slots { at: &at, list: PhantomData::<($($T,)*)> };
                let (($($value,)*), given) = arguments.positional(slots).map_err(|problem| match params.get(at.get()) {
                    Some(param) => mistyped(param, &problem),
                    None => BindError::Malformed(problem.0),
                })?;
                if given > $len {
                    return Err(BindError::TooMany { given, allowed: $len, names: names(params) });
                }
                let mut named = arguments.named().map_err(|problem| BindError::Malformed(problem.0))?;
                $(let $value = fill($value, &params[$index], &mut named, defaults.$index)?;)*
                if let Some((name, _)) = named.into_iter().next() {
                    return Err(BindError::Unknown { name: name.chars().take(80).collect(), names: names(params) });
                }
                Ok(($($value,)*))
            }
        }
    )*};
}

arg_lists! {
    (0:)
    (1: A a 0)
    (2: A a 0, B b 1)
    (3: A a 0, B b 1, C c 2)
    (4: A a 0, B b 1, C c 2, D d 3)
    (5: A a 0, B b 1, C c 2, D d 3, E e 4)
    (6: A a 0, B b 1, C c 2, D d 3, E e 4, F f 5)
    (7: A a 0, B b 1, C c 2, D d 3, E e 4, F f 5, G g 6)
    (8: A a 0, B b 1, C c 2, D d 3, E e 4, F f 5, G g 6, H h 7)
    (9: A a 0, B b 1, C c 2, D d 3, E e 4, F f 5, G g 6, H h 7, I i 8)
    (10: A a 0, B b 1, C c 2, D d 3, E e 4, F f 5, G g 6, H h 7, I i 8, J j 9)
    (11: A a 0, B b 1, C c 2, D d 3, E e 4, F f 5, G g 6, H h 7, I i 8, J j 9, K k 10)
    (12: A a 0, B b 1, C c 2, D d 3, E e 4, F f 5, G g 6, H h 7, I i 8, J j 9, K k 10, L l 11)
}
