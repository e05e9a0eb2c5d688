use bytes::Bytes;
use redis::Value;

use crate::broker::{BrokerError, JobId};
use crate::clock::Timestamp;

/// Reads a script's answer from front to back. What is not as the script's header says is refused, never guessed.
pub(super) struct Reply {
    script: &'static str,
    values: std::vec::IntoIter<Value>,
}

impl Reply {
    pub(super) fn of(script: &'static str, value: Value) -> Result<Self, BrokerError> {
        match value {
            Value::Array(values) => Ok(Self { script, values: values.into_iter() }),
            other => Err(odd(script, &other)),
        }
    }

    fn next(&mut self) -> Result<Value, BrokerError> {
        self.values.next().ok_or_else(|| odd(self.script, &"an end"))
    }

    /// Whether all is read.
    pub(super) fn is_over(&self) -> bool {
        self.values.len() == 0
    }

    pub(super) fn len(&self) -> usize {
        self.values.len()
    }

    pub(super) fn list(&mut self) -> Result<Self, BrokerError> {
        let value = self.next()?;
        Self::of(self.script, value)
    }

    /// A list, or nothing.
    pub(super) fn maybe_list(&mut self) -> Result<Option<Self>, BrokerError> {
        match self.next()? {
            Value::Nil | Value::Boolean(false) => Ok(None),
            value => Self::of(self.script, value).map(Some),
        }
    }

    pub(super) fn bytes(&mut self) -> Result<Option<Bytes>, BrokerError> {
        match self.next()? {
            Value::Nil | Value::Boolean(false) => Ok(None),
            Value::BulkString(bytes) => Ok(Some(bytes.into())),
            Value::SimpleString(text) => Ok(Some(text.into_bytes().into())),
            other => Err(odd(self.script, &other)),
        }
    }

    /// A text of other programs: what is not UTF-8 in it is replaced.
    pub(super) fn lossy(&mut self) -> Result<Option<String>, BrokerError> {
        Ok(self.bytes()?.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()))
    }

    pub(super) fn text(&mut self) -> Result<Option<String>, BrokerError> {
        let script = self.script;
        let text = |bytes: Bytes| String::from_utf8(bytes.into()).map_err(|error| odd(script, &error));
        self.bytes()?.map(text).transpose()
    }

    /// An integer, also one that the script wrote as text because it is large.
    pub(super) fn int(&mut self) -> Result<i64, BrokerError> {
        match self.next()? {
            Value::Int(number) => Ok(number),
            Value::BulkString(text) => {
                let number = std::str::from_utf8(&text).ok().and_then(|text| text.parse().ok());
                number.ok_or_else(|| odd(self.script, &text))
            }
            Value::Nil | Value::Boolean(false) => Ok(0),
            other => Err(odd(self.script, &other)),
        }
    }

    pub(super) fn flag(&mut self) -> Result<bool, BrokerError> {
        Ok(self.int()? != 0)
    }

    /// A count; what can't be one is 0.
    pub(super) fn count<T: TryFrom<i64> + Default>(&mut self) -> Result<T, BrokerError> {
        Ok(T::try_from(self.int()?).unwrap_or_default())
    }

    /// The entry of `list` whose place, from 1, comes next.
    pub(super) fn place_in<'a, T>(&mut self, list: &'a mut [T]) -> Result<&'a mut T, BrokerError> {
        let place: usize = self.count()?;
        let entry = place.checked_sub(1).and_then(|at| list.get_mut(at));
        entry.ok_or_else(|| odd(self.script, &place))
    }

    pub(super) fn moment(&mut self) -> Result<Timestamp, BrokerError> {
        Ok(Timestamp::from_millis(self.int()?))
    }

    /// A job's id as someone stored it; `None` when it is no text that can be one, which is logged with the job's `fate`.
    pub(super) fn id(&mut self, fate: &str) -> Result<Option<JobId>, BrokerError> {
        let bytes = self.bytes()?.unwrap_or_default();
        let id = std::str::from_utf8(&bytes).ok().and_then(JobId::stored);
        if id.is_none() {
            let shown = &bytes[..bytes.len().min(SHOWN_ID)];
            tracing::error!("job \"{}\" {fate}: its id is no text (UTF-8) of one byte or more", shown.escape_ascii());
        }
        Ok(id)
    }
}

/// How many bytes of an unusable id are shown.
const SHOWN_ID: usize = 100;

/// The flags that several scripts answer with: a digit each, as a list of integers would cost Redis more than what they are about.
pub(super) fn flags(script: &'static str, value: Value) -> Result<Vec<bool>, BrokerError> {
    match value {
        Value::BulkString(digits) => Ok(digits.into_iter().map(|digit| digit == b'1').collect()),
        other => Err(odd(script, &other)),
    }
}

fn odd(script: &str, value: &dyn std::fmt::Debug) -> BrokerError {
    let mut value = format!("{value:?}");
    value.truncate(value.floor_char_boundary(200));
    BrokerError::Refused(format!("the script `{script}` gave an answer that is not its own: {value}"))
}
