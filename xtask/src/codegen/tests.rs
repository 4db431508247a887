//! The generator refuses schemas that make no sense, and the committed code is what it would write.

use super::schema::{Schema, Type, Versions};
use super::{emit, parse, run};

const PREAMBLE: &str = "# Doc.\napi Foo\nkey 1\nversions 2-7\nflexible 4+\n\nrequest\n";

fn parsed(fields: &str) -> anyhow::Result<Schema> {
    parse::parse(&format!("{PREAMBLE}{fields}\nresponse\n  error: i16\n"))
}

/// The first complaint about these fields, from the parser or the emitter.
#[track_caller]
fn refused(fields: &str, complaint: &str) {
    let error = match parsed(fields).and_then(|schema| emit::module(&schema)) {
        Ok(code) => panic!("accepted as {code}"),
        Err(error) => format!("{error:#}"),
    };
    assert!(error.contains(complaint), "{error}");
}

#[test]
fn committed_code_is_fresh() {
    run(true).expect("run `cargo xtask codegen`");
}

#[test]
fn a_schema_is_read() {
    let schema = parsed(
        "  names: [Name]?, 3+, null 5-6, ignorable
    text: string? = null, 4+, classic
  level: i32 = -1, 4+, tag 3
",
    )
    .expect("well-formed");
    assert_eq!((schema.name.as_str(), schema.key), ("Foo", Some(1)));
    assert_eq!(schema.doc, "Doc.");
    let names: Vec<&str> = schema.structs.iter().map(|s| s.name.as_str()).collect();
    assert_eq!(names, ["FooRequest", "Name", "FooResponse"]);
    let field = &schema.structs[0].fields[0];
    assert_eq!(field.versions, Versions { min: 3, max: 7 });
    assert_eq!(field.nullable, Some(Versions { min: 5, max: 6 }));
    assert!(field.ignorable && !field.classic);
    let text = &schema.structs[1].fields[0];
    assert_eq!(text.kind, Type::String);
    assert_eq!(text.versions, Versions { min: 4, max: 7 });
    assert!(text.classic);
    let level = &schema.structs[0].fields[1];
    assert_eq!((level.tag, level.default.as_deref()), (Some(3), Some("-1")));
}

#[test]
fn nonsense_is_refused() {
    refused("  a i32\n", "no colon");
    refused("  a: int\n", "unknown type `int`");
    refused("  a: i32, 1+\n", "versions beyond 2..=7");
    refused("  a: i32, 5-4\n", "empty range");
    refused("  a: i32, optional 3\n", "unknown attribute");
    refused("  a: string, null 3+\n", "`null` needs a `?`");
    refused("  a: string = null\n", "null without `?`");
    refused("  a: string = word\n", "default `word`");
    refused("  a: i32?\n", "a scalar cannot be null");
    refused("  a: i32\n    b: i32\n", "only a struct has fields");
    refused("  a: Missing\n", "struct Missing is not declared");
    refused(
        "  a: [A]\n    b: i32\n  c: [A]\n    b: i32\n",
        "struct A is declared twice",
    );
}

/// Record batches bypass the buffer, and an empty element would let a short frame announce a long array.
#[test]
fn what_the_codec_cannot_do_is_refused() {
    refused("  a: records, 4+, tag 0\n", "records in a tagged field");
    refused(
        "  a: [A]\n    b: i32, 3+\n",
        "an array element may be empty",
    );
}

#[test]
fn guards_are_minimal() {
    let outer = Versions { min: 2, max: 7 };
    let guard = |min, max| Versions { min, max }.guard(outer);
    assert_eq!(guard(0, 9), None);
    assert_eq!(guard(3, 7).as_deref(), Some("version >= 3"));
    assert_eq!(guard(2, 5).as_deref(), Some("version <= 5"));
    assert_eq!(guard(3, 5).as_deref(), Some("(3..=5).contains(&version)"));
}
