//! Why this exists: a report is read as JSON, as Markdown, as a page and in a spreadsheet, and all of them must say the
//! same. So each table is a list of flat rows, and each kind of row is written down once: what its columns are called,
//! what they mean, how a cell reads and what a program may expect of it follow from that.

use registry_core::{
    Actor, Digest, Finite, Key, ModelName, Revision, Stage, Stream, Text, Timestamp, Version,
};
use serde_json::{Map, Value, json};

/// What can stand in a cell.
pub(crate) trait Cell {
    /// As people read it; nothing if there is nothing.
    fn text(&self) -> String;

    /// What a program may expect, as a JSON schema.
    fn schema() -> Value;
}

/// A row of a table.
pub(crate) trait Row: serde::Serialize {
    /// The name of the table.
    const TABLE: &'static str;
    /// What it is called above the table.
    const TITLE: &'static str;
    /// What is in it.
    const ABOUT: &'static str;
    /// The names of its columns.
    const COLUMNS: &'static [&'static str];

    /// The cells, in the order of the columns.
    fn cells(&self) -> Vec<String>;

    /// The schema of a row.
    fn schema() -> Value;
}

/// A table as it is shown: names and texts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Table {
    /// Its name, for programs and for files.
    pub name: &'static str,
    /// Its title.
    pub title: &'static str,
    /// What is in it.
    pub about: &'static str,
    /// The names of the columns.
    pub columns: &'static [&'static str],
    /// The rows, each with a text for each column.
    pub rows: Vec<Vec<String>>,
}

impl Table {
    pub(crate) fn of<R: Row>(rows: &[R]) -> Table {
        Table {
            name: R::TABLE,
            title: R::TITLE,
            about: R::ABOUT.trim(),
            columns: R::COLUMNS,
            rows: rows.iter().map(Row::cells).collect(),
        }
    }
}

/// The schema of an object that has exactly these fields, each with its schema and what it means.
pub(crate) fn object_schema(
    about: &str,
    fields: impl IntoIterator<Item = (&'static str, &'static str, Value)>,
) -> Value {
    let mut properties = Map::new();
    for (name, meaning, mut schema) in fields {
        if let Some(schema) = schema.as_object_mut() {
            schema.insert("description".to_owned(), meaning.trim().into());
        }
        properties.insert(name.to_owned(), schema);
    }
    let required: Vec<&String> = properties.keys().collect();
    json!({
        "type": "object",
        "description": about.trim(),
        "required": required,
        "additionalProperties": false,
        "properties": properties,
    })
}

/// The schema of a list of rows.
pub(crate) fn list_schema<R: Row>() -> Value {
    json!({ "type": "array", "items": R::schema() })
}

/// Defines kinds of rows: a type each, with the name and the title of its table and its columns.
macro_rules! rows {
    ($(
        $(#[doc = $about:literal])*
        $name:ident, $table:literal, $title:literal {
            $( $(#[doc = $meaning:literal])* $field:ident: $type:ty, )*
        }
    )*) => {$(
        $(#[doc = $about])*
        #[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
        #[non_exhaustive]
        pub struct $name {
            $( $(#[doc = $meaning])* pub $field: $type, )*
        }

        impl $crate::row::Row for $name {
            const TABLE: &'static str = $table;
            const TITLE: &'static str = $title;
            const ABOUT: &'static str = concat!($($about),*);
            const COLUMNS: &'static [&'static str] = &[$(stringify!($field)),*];

            fn cells(&self) -> Vec<String> {
                vec![$($crate::row::Cell::text(&self.$field)),*]
            }

            fn schema() -> serde_json::Value {
                $crate::row::object_schema(Self::ABOUT, [$((
                    stringify!($field),
                    concat!($($meaning),*),
                    <$type as $crate::row::Cell>::schema(),
                )),*])
            }
        }
    )*};
}

/// Defines words that stand in cells: an enum, each variant with its word.
macro_rules! words {
    ($(#[doc = $about:literal])* $name:ident { $( $(#[doc = $meaning:literal])* $variant:ident = $word:literal, )* }) => {
        $(#[doc = $about])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[non_exhaustive]
        pub enum $name {
            $( $(#[doc = $meaning])* $variant, )*
        }

        impl $name {
            /// The word, as it is in every rendering.
            pub fn as_str(self) -> &'static str {
                match self {
                    $( $name::$variant => $word, )*
                }
            }
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.as_str())
            }
        }

        impl $crate::row::Cell for $name {
            fn text(&self) -> String {
                self.as_str().to_owned()
            }

            fn schema() -> serde_json::Value {
                serde_json::json!({ "enum": [$($word),*] })
            }
        }
    };
}

pub(crate) use {rows, words};

/// What is written in JSON as the text that people read.
macro_rules! text_cells {
    ($($type:ty),*) => {$(
        impl Cell for $type {
            fn text(&self) -> String {
                self.to_string()
            }

            fn schema() -> Value {
                json!({ "type": "string" })
            }
        }
    )*};
}

text_cells!(String, Actor, Key, ModelName, Stream, Text, Version);

impl Cell for Stage {
    fn text(&self) -> String {
        self.to_string()
    }

    fn schema() -> Value {
        json!({ "enum": Stage::ALL })
    }
}

impl Cell for Digest {
    fn text(&self) -> String {
        self.to_string()
    }

    fn schema() -> Value {
        json!({ "type": "string", "pattern": "^sha256:[0-9a-f]{64}$" })
    }
}

impl Cell for Timestamp {
    fn text(&self) -> String {
        self.to_string()
    }

    fn schema() -> Value {
        json!({ "type": "string", "pattern": r"^-?\d{4,6}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z$" })
    }
}

impl Cell for Revision {
    fn text(&self) -> String {
        self.to_string()
    }

    fn schema() -> Value {
        json!({ "type": "integer", "minimum": 1 })
    }
}

impl Cell for u64 {
    fn text(&self) -> String {
        self.to_string()
    }

    fn schema() -> Value {
        json!({ "type": "integer", "minimum": 0 })
    }
}

impl Cell for Finite {
    fn text(&self) -> String {
        self.to_string()
    }

    fn schema() -> Value {
        json!({ "type": "number" })
    }
}

impl Cell for bool {
    fn text(&self) -> String {
        if *self { "yes" } else { "no" }.to_owned()
    }

    fn schema() -> Value {
        json!({ "type": "boolean" })
    }
}

impl<T: Cell> Cell for Option<T> {
    fn text(&self) -> String {
        self.as_ref().map(Cell::text).unwrap_or_default()
    }

    fn schema() -> Value {
        json!({ "anyOf": [T::schema(), { "type": "null" }] })
    }
}

impl<T: Cell> Cell for Vec<T> {
    fn text(&self) -> String {
        self.iter().map(Cell::text).collect::<Vec<_>>().join("; ")
    }

    fn schema() -> Value {
        json!({ "type": "array", "items": T::schema() })
    }
}
