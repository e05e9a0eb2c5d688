//! What goes in comes out, whatever it is.

use proptest::prelude::*;
use serde_json::Value as Json;

use super::*;
use crate::cases::cases;

fn json() -> impl Strategy<Value = Json> {
    let leaf = prop_oneof![
        Just(Json::Null),
        any::<bool>().prop_map(Json::from),
        any::<i64>().prop_map(Json::from),
        any::<u64>().prop_map(Json::from),
        // serde_json's own reader may be off in the last digit of others.
        any::<i32>().prop_map(|number| Json::from(f64::from(number) / 8.0)),
        any::<String>().prop_map(Json::from),
        "[a-z]{250,260}".prop_map(Json::from),
    ];
    leaf.prop_recursive(6, 64, 12, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..20).prop_map(Json::from),
            prop::collection::btree_map(any::<String>(), inner, 0..20).prop_map(|map| map.into_iter().collect()),
        ]
    })
}

proptest! {
    #![proptest_config(cases(200))]

    #[test]
    fn json_like_values(value in json(), other in json()) {
        for codec in ALL {
            let encoded = codec.encode(&value).unwrap();
            prop_assert_eq!(encoded.decode::<Json>().unwrap(), value.clone(), "{:?}", codec);
            let given = arguments(&job(*codec, &(value.clone(), other.clone())));
            let record = record(*codec, Some(&given), Ok(&encoded));
            prop_assert_eq!(stored(&record).value.unwrap().decode::<Json>().unwrap(), value.clone());
            let params = [Param::new("a", ""), Param::new("b", "")];
            let repeated = <(Json, Json)>::bind(&arguments(&record), &params, Default::default()).unwrap();
            prop_assert_eq!(repeated, (value.clone(), other.clone()), "{:?}", codec);
        }
    }

    #[test]
    #[cfg(any(feature = "msgpack", feature = "pickle"))]
    fn integers_of_any_size(value in any::<i128>(), shift in 0_u32..128) {
        let value = value >> shift;
        #[cfg(feature = "pickle")]
        prop_assert_eq!(Codec::Pickle.encode(&value).unwrap().decode::<i128>().unwrap(), value);
        #[cfg(feature = "msgpack")]
        if let Ok(value) = i64::try_from(value) {
            prop_assert_eq!(Codec::MsgPack.encode(&value).unwrap().decode::<i64>().unwrap(), value);
        }
    }
}

#[test]
#[cfg(feature = "pickle")]
fn integers_from_their_digits() {
    use crate::codec::value::Value;
    for digits in [
        "0",
        "-1",
        "9223372036854775807",
        "-9223372036854775808",
        "9223372036854775808",
        "-9223372036854775809",
        "340282366920938463463374607431768211455",
        "-10000000000000000000000000000000000000000",
    ] {
        let value = Value::integer_of_digits(digits).unwrap();
        assert_eq!(value.to_string(), digits);
        assert_eq!(matches!(value, Value::Int(_)), digits.parse::<i64>().is_ok());
    }
    let long = "7".repeat(4_300);
    assert_eq!(Value::integer_of_digits(&long).unwrap().to_string(), long);
    for none in ["", "-", "+1", "1.0", "0x10", " 1", &"7".repeat(4_301)] {
        assert_eq!(Value::integer_of_digits(none), None, "{none}");
    }
}
