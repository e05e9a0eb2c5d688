//! What codecs promise.

#[cfg(feature = "pickle")]
mod base64;
mod failures;
mod fuzz;
mod hostile;
mod jobs;
#[cfg(feature = "pickle")]
mod python;
mod rounds;
#[cfg(all(feature = "msgpack", feature = "pickle"))]
mod same;
#[cfg(all(feature = "msgpack", feature = "pickle"))]
mod sharing;
mod traces;
mod values;
#[cfg(all(feature = "msgpack", feature = "pickle"))]
mod vectors;

use bytes::Bytes;

use super::{Arguments, Codec, Encoded, Extra, JobRef, ResultRecord, StoredResult};
use crate::args::{ArgList, Param};
use crate::clock::Timestamp;
use crate::job::Failure;

/// Every codec that was built in.
const ALL: &[Codec] = &[
    Codec::Json,
    #[cfg(feature = "msgpack")]
    Codec::MsgPack,
    #[cfg(feature = "pickle")]
    Codec::Pickle,
];

const NOW: Timestamp = Timestamp::from_millis(1_795_485_916_103);

fn job<A: crate::args::JobArgs>(codec: Codec, args: &A) -> Bytes {
    codec.encode_job("inspect", NOW, &Extra::default(), args).unwrap()
}

fn arguments(payload: &[u8]) -> Arguments {
    let payload = Bytes::copy_from_slice(payload);
    Codec::decode_job(&payload).unwrap_or_else(|error| panic!("{}", crate::error::Chain(&error))).1.arguments
}

/// The record of a job that ended so.
fn record(codec: Codec, arguments: Option<&Arguments>, value: Result<&Encoded, &Failure>) -> Bytes {
    let job = arguments.map(|arguments| JobRef { task: "inspect", enqueued_at: NOW, arguments });
    let record =
        ResultRecord { job, attempt: 2, value, started_at: NOW, finished_at: NOW, queue: "lenny", id: "seven" };
    codec.encode_result(&record).unwrap()
}

fn stored(record: &[u8]) -> StoredResult {
    Codec::decode_result(record).unwrap_or_else(|error| panic!("{}", crate::error::Chain(&error)))
}

/// Binds one argument, or says why it does not fit.
fn bound<T>(arguments: &Arguments, type_name: &'static str) -> Result<T, String>
where
    (T,): ArgList,
    <(T,) as ArgList>::Defaults: Default,
{
    let params = [Param::new("it", type_name)];
    let bound = <(T,)>::bind(arguments, &params, Default::default());
    bound.map(|(it,)| it).map_err(|error| error.to_string())
}
