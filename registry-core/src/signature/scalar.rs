//! Why this exists: every framework names the same two dozen element types differently (`long`,
//! `int64`, `I64`, `INT64`). A comparison across versions must not see a change where only the
//! spelling differs, so all spellings are read into one enum and written under one name.
//!
//! The canonical names are MLflow's where MLflow has one (`boolean`, `integer` = 32 bits, `long` =
//! 64 bits, `float` = 32 bits, `double` = 64 bits, `string`, `binary`, `datetime`), because that
//! is what people meet in other tools. The names of numpy, safetensors, ONNX and Python are
//! accepted on input, in any letter case. Two of them deserve a word:
//!
//! * `int` is `long`: Python's and numpy's usual integer has 64 bits, and the wider reading never
//!   refuses a value that a caller of the narrower would send.
//! * `float` stays MLflow's `float`, 32 bits, although Python's own float has 64. Write `double`
//!   (or `float64`) where 64 bits are meant.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::invalid::Invalid;

/// How the numbers of a type are represented; what the lattice of safe conversions needs to know.
#[derive(Debug, Clone, Copy)]
enum Numbers {
    Integer { signed: bool, bits: u32 },
    Float { precision_bits: u32, exponent_bits: u32 },
    Not,
}

const fn int(bits: u32) -> Numbers {
    Numbers::Integer { signed: true, bits }
}

const fn uint(bits: u32) -> Numbers {
    Numbers::Integer { signed: false, bits }
}

const fn ieee(precision_bits: u32, exponent_bits: u32) -> Numbers {
    Numbers::Float { precision_bits, exponent_bits }
}

/// One row per type: the canonical name, numpy's name (if it has the type), other spellings, and
/// the representation.
macro_rules! scalars {
    ($($(#[$doc:meta])* $variant:ident $name:literal, $numpy:expr, [$($alias:literal),*], $numbers:expr;)*) => {
        /// The type of a single element.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[non_exhaustive]
        pub enum Scalar {
            $($(#[$doc])* $variant,)*
        }

        impl Scalar {
            /// Every type, in the order of declaration.
            pub const ALL: &[Scalar] = &[$(Scalar::$variant),*];

            /// The canonical name.
            pub fn as_str(self) -> &'static str {
                match self { $(Scalar::$variant => $name,)* }
            }

            /// The name that numpy, and so MLflow's tensor form, has for it.
            pub(super) fn numpy_name(self) -> Option<&'static str> {
                match self { $(Scalar::$variant => $numpy,)* }
            }

            fn aliases(self) -> &'static [&'static str] {
                match self { $(Scalar::$variant => &[$($alias),*],)* }
            }

            fn numbers(self) -> Numbers {
                match self { $(Scalar::$variant => $numbers,)* }
            }
        }
    };
}

scalars! {
    /// True or false.
    Boolean "boolean", Some("bool"), [], Numbers::Not;
    /// 32-bit signed integer.
    Integer "integer", Some("int32"), ["i32"], int(32);
    /// 64-bit signed integer.
    Long "long", Some("int64"), ["int", "i64", "bigint"], int(64);
    /// 32-bit floating point.
    Float "float", Some("float32"), ["f32"], ieee(24, 8);
    /// 64-bit floating point.
    Double "double", Some("float64"), ["f64"], ieee(53, 11);
    /// Text.
    String "string", Some("str"), ["text", "utf8"], Numbers::Not;
    /// Raw bytes.
    Binary "binary", Some("bytes"), [], Numbers::Not;
    /// An instant, whatever its precision.
    Datetime "datetime", Some("datetime64[ns]"),
        ["datetime64", "datetime64[us]", "datetime64[ms]", "datetime64[s]", "timestamp"], Numbers::Not;
    /// 8-bit signed integer.
    Int8 "int8", Some("int8"), ["i8"], int(8);
    /// 16-bit signed integer.
    Int16 "int16", Some("int16"), ["i16", "short"], int(16);
    /// 8-bit unsigned integer.
    Uint8 "uint8", Some("uint8"), ["u8"], uint(8);
    /// 16-bit unsigned integer.
    Uint16 "uint16", Some("uint16"), ["u16"], uint(16);
    /// 32-bit unsigned integer.
    Uint32 "uint32", Some("uint32"), ["u32"], uint(32);
    /// 64-bit unsigned integer.
    Uint64 "uint64", Some("uint64"), ["u64"], uint(64);
    /// 4-bit signed integer.
    Int4 "int4", None, ["i4"], int(4);
    /// 4-bit unsigned integer.
    Uint4 "uint4", None, ["u4"], uint(4);
    /// 16-bit floating point of IEEE 754.
    Float16 "float16", Some("float16"), ["f16", "half"], ieee(11, 5);
    /// 16-bit floating point with the exponent of 32 bits.
    Bfloat16 "bfloat16", None, ["bf16"], ieee(8, 8);
    /// 8-bit floating point, 4 bits of exponent.
    Float8E4m3 "float8_e4m3", None, ["f8_e4m3", "float8e4m3fn", "float8_e4m3fn"], ieee(4, 4);
    /// 8-bit floating point, 5 bits of exponent.
    Float8E5m2 "float8_e5m2", None, ["f8_e5m2", "float8e5m2"], ieee(3, 5);
    /// 8-bit floating point, 4 bits of exponent with a shifted range and no negative zero. No
    /// conversion to or from it counts as safe.
    Float8E4m3Fnuz "float8_e4m3fnuz", None, ["float8e4m3fnuz"], Numbers::Not;
    /// 8-bit floating point, 5 bits of exponent with a shifted range and no negative zero. No
    /// conversion to or from it counts as safe.
    Float8E5m2Fnuz "float8_e5m2fnuz", None, ["float8e5m2fnuz"], Numbers::Not;
    /// 4-bit floating point.
    Float4E2m1 "float4_e2m1", None, ["f4", "float4e2m1"], ieee(2, 2);
    /// Two 16-bit floating point numbers.
    Complex32 "complex32", None, [], Numbers::Not;
    /// Two 32-bit floating point numbers.
    Complex64 "complex64", Some("complex64"), ["c64"], Numbers::Not;
    /// Two 64-bit floating point numbers.
    Complex128 "complex128", Some("complex128"), ["c128"], Numbers::Not;
    /// Any Python object: numpy's dtype `object`, which MLflow records for tensors of mixed or
    /// text values.
    PyObject "pyobject", Some("object"), [], Numbers::Not;
    /// Spark ML's vector, a column type of MLflow.
    SparkmlVector "sparkml_vector", None, [], Numbers::Not;
}

impl Scalar {
    /// Whether the type has numbers with an order, so that a range makes sense.
    pub fn is_number(self) -> bool {
        !matches!(self.numbers(), Numbers::Not)
    }

    /// The least and the greatest integer of an integer type.
    pub(super) fn integer_range(self) -> Option<(i128, i128)> {
        match self.numbers() {
            Numbers::Integer { signed: true, bits } => {
                let half = 1_i128 << (bits - 1);
                Some((-half, half - 1))
            }
            Numbers::Integer { signed: false, bits } => Some((0, (1_i128 << bits) - 1)),
            Numbers::Float { .. } | Numbers::Not => None,
        }
    }

    /// Whether every value of this type is also a value of the other, different, type: `integer` →
    /// `long`, `float` → `double`, `integer` → `double`, but not `long` → `double`, which rounds.
    pub fn widens_to(self, wider: Scalar) -> bool {
        match (self.numbers(), wider.numbers()) {
            (Numbers::Integer { signed: a, bits: m }, Numbers::Integer { signed: b, bits: n }) => {
                (b || !a) && m < n
            }
            (Numbers::Integer { signed, bits }, Numbers::Float { precision_bits, exponent_bits }) => {
                let magnitude_bits = bits - u32::from(signed);
                magnitude_bits <= precision_bits && magnitude_bits < 1 << (exponent_bits - 1)
            }
            (
                Numbers::Float { precision_bits: p, exponent_bits: e },
                Numbers::Float { precision_bits: q, exponent_bits: f },
            ) => p <= q && e <= f && (p, e) != (q, f),
            _ => false,
        }
    }
}

impl fmt::Display for Scalar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for Scalar {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let is = |name: &str| name.eq_ignore_ascii_case(text);
        Scalar::ALL
            .iter()
            .copied()
            .find(|scalar| {
                is(scalar.as_str())
                    || scalar.numpy_name().is_some_and(is)
                    || scalar.aliases().iter().any(|a| is(a))
            })
            .ok_or_else(|| {
                let known: Vec<_> = Scalar::ALL.iter().map(|scalar| scalar.as_str()).collect();
                Invalid::new("data type", text, format!("expected one of {}", known.join(", ")))
            })
    }
}

impl Serialize for Scalar {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for Scalar {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        crate::serde_text::deserialize(deserializer)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn every_spelling_names_one_type_and_the_canonical_name_reads_back() {
        let mut seen = HashSet::new();
        for &scalar in Scalar::ALL {
            let numpy = scalar.numpy_name().filter(|name| *name != scalar.as_str());
            for name in [scalar.as_str()].into_iter().chain(numpy).chain(scalar.aliases().iter().copied()) {
                assert!(seen.insert(name), "{name} is claimed twice");
                assert_eq!(name.parse::<Scalar>().unwrap(), scalar, "{name}");
                assert_eq!(name.to_ascii_uppercase().parse::<Scalar>().unwrap(), scalar, "{name}");
            }
        }
    }

    #[test]
    fn everyday_names_mean_what_the_module_says() {
        for (text, scalar) in [
            ("int", Scalar::Long),
            ("str", Scalar::String),
            ("bool", Scalar::Boolean),
            ("float", Scalar::Float),
            ("BF16", Scalar::Bfloat16),
            ("F8_E4M3", Scalar::Float8E4m3),
            ("datetime64[ns]", Scalar::Datetime),
        ] {
            assert_eq!(text.parse::<Scalar>().unwrap(), scalar, "{text}");
        }
    }

    #[test]
    fn unknown_types_are_refused_with_the_known_ones_listed() {
        let error = "decimal".parse::<Scalar>().unwrap_err();
        assert_eq!(error.what, "data type");
        assert!(error.problem.contains("boolean, integer, long"), "{error}");
    }

    #[test]
    fn only_conversions_that_lose_nothing_widen() {
        use Scalar::*;
        for (narrow, wide) in [
            (Integer, Long),
            (Float, Double),
            (Integer, Double),
            (Int8, Int16),
            (Uint8, Int16),
            (Uint16, Float),
            (Bfloat16, Float),
            (Float16, Float),
            (Float8E5m2, Float16),
        ] {
            assert!(narrow.widens_to(wide), "{narrow} → {wide}");
            assert!(!wide.widens_to(narrow), "{wide} → {narrow}");
        }
        for (a, b) in [
            (Long, Double),
            (Integer, Float),
            (Long, Float),
            (Float, Long),
            (Uint8, Int8),
            (Int8, Uint16),
            (Float16, Bfloat16),
            (Bfloat16, Float16),
            (Boolean, Integer),
            (Complex64, Complex128),
            (String, Binary),
            (Float8E4m3Fnuz, Float),
            (Double, Double),
        ] {
            assert!(!a.widens_to(b), "{a} → {b}");
        }
    }
}
