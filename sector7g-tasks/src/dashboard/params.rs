//! What a request says in its query or form, each value bounded.

use axum::extract::Query;
use axum::extract::rejection::QueryRejection;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, PercentEncode, utf8_percent_encode};

use super::Fault;
use crate::broker::{JobId, PageMark, QueueName};

/// The most bytes of a page's mark; what brokers make is far shorter.
const MAX_MARK: usize = 1024;

/// All but what an address keeps as it is.
const CODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

pub(super) type Asked = Result<Query<Vec<(String, String)>>, QueryRejection>;

/// Names and values as they came.
pub(super) struct Params(pub(super) Vec<(String, String)>);

impl Params {
    pub(super) fn of(asked: Asked) -> Result<Self, Fault> {
        match asked {
            Ok(Query(pairs)) => Ok(Self(pairs)),
            Err(_) => Err(Fault::bad("the address can't be read: its query is not one of names and values")),
        }
    }

    /// The first value of that name, if it is not empty.
    pub(super) fn text(&self, name: &str) -> Option<&str> {
        let value = self.0.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str());
        value.filter(|value| !value.is_empty())
    }

    pub(super) fn queue(&self) -> Result<Option<QueueName>, Fault> {
        self.text("queue").map(QueueName::new).transpose().map_err(|error| Fault::bad(error.to_string()))
    }

    pub(super) fn ids(&self) -> Result<Vec<JobId>, Fault> {
        let told = self.0.iter().filter(|(name, _)| name == "id");
        told.map(|(_, id)| JobId::new(id).map_err(|error| Fault::bad(error.to_string()))).collect()
    }

    pub(super) fn after(&self) -> Result<Option<PageMark>, Fault> {
        match self.text("after") {
            Some(mark) if mark.len() > MAX_MARK => Err(Fault::bad("the address's mark of a page is too long")),
            mark => Ok(mark.map(|mark| PageMark(mark.to_owned()))),
        }
    }
}

/// A value in an address.
pub(super) fn encoded(text: &str) -> PercentEncode<'_> {
    utf8_percent_encode(text, CODED)
}
