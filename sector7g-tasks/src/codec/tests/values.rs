//! Rust's types, written and read back, and what other readers see of them.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Debug;
use std::time::Duration;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Value as Json, json};

use super::*;

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Reading {
    gauge: String,
    value: f64,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    note: Option<String>,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
enum Order {
    Stop,
    Turn(i32),
    Move(i8, u8),
    Open { valve: u32 },
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Unit;

#[derive(Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
struct Id(u64);

/// Goes through each codec as a result and as an argument, and shows as `json`.
#[track_caller]
fn check<T>(value: &T, json: &Json)
where
    T: Serialize + DeserializeOwned + Debug + PartialEq + Send + Sync + Clone + 'static,
{
    for codec in ALL {
        let encoded = codec.encode(value).unwrap();
        assert!(!encoded.is_empty());
        assert_eq!(encoded.decode::<T>().unwrap(), *value, "{codec:?}, as it was written");
        assert_eq!(serde_json::from_str::<Json>(&encoded.as_json()).unwrap(), *json, "{codec:?}");
        let ended = stored(&record(*codec, None, Ok(&encoded))).value.unwrap();
        assert_eq!(ended.decode::<T>().unwrap(), *value, "{codec:?}, as it was stored");
        assert_eq!(ended.decode::<Json>().unwrap(), *json, "{codec:?}");
        let arguments = arguments(&job(*codec, &(value.clone(),)));
        assert_eq!(bound::<T>(&arguments, "T").unwrap(), *value, "{codec:?}, as an argument");
    }
}

#[test]
fn plain_values() {
    check(&(), &Json::Null);
    check(&true, &json!(true));
    check(&-1_i8, &json!(-1));
    check(&255_u8, &json!(255));
    check(&256_u16, &json!(256));
    check(&-40_000_i32, &json!(-40_000));
    check(&u32::MAX, &json!(u32::MAX));
    check(&i64::MIN, &json!(i64::MIN));
    check(&u64::MAX, &json!(u64::MAX));
    check(&1.5_f64, &json!(1.5));
    check(&-0.0_f64, &json!(-0.0));
    check(&0.25_f32, &json!(0.25));
    check(&'λ', &json!("λ"));
    check(&String::new(), &json!(""));
    check(&"Grüße ☢ 𝄞\n\"'\\".to_owned(), &json!("Grüße ☢ 𝄞\n\"'\\"));
    check(&"é".repeat(300), &json!("é".repeat(300)));
    check(&Some(3), &json!(3));
    check(&None::<u8>, &Json::Null);
}

#[test]
fn compound_values() {
    check(&Vec::<u8>::new(), &json!([]));
    check(&vec![1_u32, 2, 3], &json!([1, 2, 3]));
    check(&(0..70_000).collect::<Vec<u32>>(), &json!((0..70_000).collect::<Vec<u32>>()));
    check(&(1, "a".to_owned(), None::<bool>), &json!([1, "a", null]));
    check(&BTreeMap::from([("a".to_owned(), 1), ("b".to_owned(), 2)]), &json!({"a": 1, "b": 2}));
    check(&BTreeMap::from([(-1_i64, "x".to_owned())]), &json!({"-1": "x"}));
    check(&HashMap::from([(7_u64, vec![1])]), &json!({"7": [1]}));
    check(&BTreeMap::from([(true, 1)]), &json!({"true": 1}));
    check(&BTreeMap::from([('k', 1)]), &json!({"k": 1}));
    check(&Duration::new(90, 5), &json!({"secs": 90, "nanos": 5}));
    check(&"127.0.0.1".parse::<std::net::IpAddr>().unwrap(), &json!("127.0.0.1"));
    check(&json!({"a": [1, {"b": null}], "c": 0.5}), &json!({"a": [1, {"b": null}], "c": 0.5}));
}

macro_rules! check_all {
    ($($value:expr => $json:expr),* $(,)?) => {$(
        for codec in ALL {
            let encoded = codec.encode(&$value).unwrap();
            assert_eq!(encoded.decode::<Json>().unwrap(), $json, "{codec:?}");
            let ended = stored(&record(*codec, None, Ok(&encoded))).value.unwrap();
            let same = [$value, ended.decode().unwrap()];
            assert_eq!(same[0], same[1], "{codec:?}");
        }
    )*};
}

#[test]
fn structs_and_enums() {
    check_all! {
        Reading { gauge: "core".to_owned(), value: 1.5, note: None } => json!({"gauge": "core", "value": 1.5}),
        Unit => Json::Null,
        Id(7) => json!(7),
        Order::Stop => json!("Stop"),
        Order::Turn(-3) => json!({"Turn": -3}),
        Order::Move(-1, 2) => json!({"Move": [-1, 2]}),
        Order::Open { valve: 4 } => json!({"Open": {"valve": 4}}),
        BTreeMap::from([(Id(1), Order::Stop)]) => json!({"1": "Stop"}),
        vec![Some(Order::Stop), None] => json!(["Stop", null]),
    }
}

#[test]
fn a_struct_is_read_from_a_list_too_and_skips_what_it_does_not_know() {
    for codec in ALL {
        let list = codec.encode(&json!(["core", 1.5, null])).unwrap();
        let more = codec.encode(&json!({"value": 2, "gauge": "core", "unit": [{"a": 1}]})).unwrap();
        assert!((list.decode::<Reading>().unwrap().value - 1.5).abs() < 1e-9);
        assert!((more.decode::<Reading>().unwrap().value - 2.0).abs() < 1e-9);
    }
}

#[test]
fn integers_beyond_64_bits() {
    for codec in ALL {
        let encoded = codec.encode(&(1_i128 << 100));
        match codec {
            #[cfg(feature = "msgpack")]
            Codec::MsgPack => {
                let problem = crate::error::Chain(&encoded.unwrap_err()).to_string();
                assert!(problem.contains("beyond 64 bits"), "{problem}");
            }
            _ => assert_eq!(encoded.unwrap().decode::<i128>().unwrap(), 1 << 100),
        }
    }
    #[cfg(feature = "pickle")]
    for value in [u128::MAX, u128::from(u64::MAX) + 1, i128::MAX.unsigned_abs()] {
        let encoded = Codec::Pickle.encode(&value).unwrap();
        assert_eq!(encoded.decode::<u128>().unwrap(), value);
        assert_eq!(encoded.decode::<Json>().unwrap(), json!(value.to_string()));
        assert!(encoded.decode::<u64>().is_err());
    }
}

#[test]
fn not_a_number_is_one_where_the_codec_has_it() {
    for codec in ALL {
        let encoded = codec.encode(&[f64::NAN, f64::INFINITY]).unwrap();
        assert_eq!(encoded.decode::<Json>().unwrap(), json!([null, null]), "{codec:?}");
        if *codec != Codec::Json {
            let [nan, infinity] = encoded.decode::<[f64; 2]>().unwrap();
            assert!(nan.is_nan() && infinity.is_infinite() && infinity > 0.0);
        }
    }
}

#[test]
fn what_is_too_deep_or_no_key_is_refused() {
    fn nested(levels: usize) -> Json {
        (0..levels).fold(Json::Null, |inner, _| json!([inner]))
    }
    for codec in ALL.iter().filter(|codec| **codec != Codec::Json) {
        let encoded = codec.encode(&nested(128)).unwrap();
        assert_eq!(encoded.decode::<Json>().unwrap(), nested(128));
        assert!(codec.encode(&nested(129)).is_err(), "{codec:?}");
        assert!(codec.encode(&BTreeMap::from([(BTreeMap::from([(1, 2)]), 3)])).is_err(), "{codec:?}");
    }
    #[cfg(feature = "pickle")]
    {
        let keys = BTreeMap::from([(vec![1, 2], 3)]);
        let encoded = Codec::Pickle.encode(&keys).unwrap();
        assert_eq!(encoded.decode::<BTreeMap<Vec<i32>, i32>>().unwrap(), keys);
        assert_eq!(encoded.decode::<Json>().unwrap(), json!({"(1, 2)": 3}));
    }
}
