//! The macro that turns the table into structs, and the keys as data.

use super::value::Setting;

/// Environment variables that begin like this are settings.
pub(super) const PREFIX: &str = "FOREBAY__";

/// One key, as data.
#[derive(Debug)]
pub(crate) struct Key {
    /// `section.key`, or just the key at the top.
    pub(crate) name: &'static str,
    /// The default, as an operator would write it.
    pub(crate) default: &'static str,
    /// Whether it may be an array in a settings file.
    pub(super) list: bool,
    /// Whether it is a path.
    pub(super) path: bool,
    help_lines: &'static [&'static str],
    kind: fn() -> String,
    canonical: fn(&str) -> Result<String, String>,
}

impl Key {
    pub(super) const fn new<T: Setting>(
        name: &'static str,
        default: &'static str,
        help_lines: &'static [&'static str],
    ) -> Self {
        Self {
            name,
            default,
            list: T::LIST,
            path: T::PATH,
            help_lines,
            kind: T::kind,
            canonical: |text| T::parse(text).map(|value| value.show()),
        }
    }

    /// What it decides, in one line.
    pub(crate) fn help(&self) -> String {
        let lines: Vec<&str> = self.help_lines.iter().map(|line| line.trim()).collect();
        lines.join(" ")
    }

    /// What may be written, with its unit.
    pub(crate) fn kind(&self) -> String {
        (self.kind)()
    }

    /// The value in its canonical spelling, or what was expected instead.
    pub(crate) fn canonical(&self, text: &str) -> Result<String, String> {
        (self.canonical)(text)
    }

    /// Its environment variable.
    pub(crate) fn variable(&self) -> String {
        format!("{}{}", PREFIX, self.name.to_uppercase().replace('.', "__"))
    }
}

/// Declares all settings: one struct per section, [`Key`]s in the order written, and the parsing of both.
macro_rules! settings {
    (
        $( $(#[doc = $top_help:literal])+ $top:ident : $Top:ty = $top_default:literal; )+
        $( $section:ident : $Section:ident {
            $( $(#[doc = $help:literal])+ $key:ident : $Kind:ty = $default:literal; )+
        } )+
    ) => {
        /// All settings, parsed and checked.
        #[derive(Clone, Debug)]
        pub(crate) struct Settings {
            $( $(#[doc = $top_help])+ pub(crate) $top: $Top, )+
            $( pub(crate) $section: $Section, )+
        }

        $(
            /// One section of the settings.
            #[derive(Clone, Debug)]
            #[allow(clippy::struct_field_names, reason = "they are what operators write")]
            pub(crate) struct $Section {
                $( $(#[doc = $help])+ pub(crate) $key: $Kind, )+
            }
        )+

        /// Every key there is.
        pub(crate) const KEYS: &[$crate::settings::table::Key] = &[
            $( $crate::settings::table::Key::new::<$Top>(stringify!($top), $top_default, &[$($top_help),+]), )+
            $( $( $crate::settings::table::Key::new::<$Kind>(
                concat!(stringify!($section), ".", stringify!($key)), $default, &[$($help),+],
            ), )+ )+
        ];

        impl Settings {
            /// Parses the text that `text_of` gives for each key.
            fn parse<'t>(text_of: impl Fn(&str) -> &'t str) -> Result<Self, String> {
                Ok(Self {
                    $( $top: <$Top>::parse(text_of(stringify!($top)))?, )+
                    $( $section: $Section {
                        $( $key: <$Kind>::parse(text_of(concat!(stringify!($section), ".", stringify!($key))))?, )+
                    }, )+
                })
            }
        }
    };
}

pub(super) use settings;
