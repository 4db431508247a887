//! Precedence, refusals with suggestions, spelling of values, and the freshness of the reference page.

use std::io::Write;

use super::{
    ByteSize, Count, Endpoint, FlagValue, HostPort, KEYS, Listen, LogFilter, Setting, Sources,
    Span, Vhosts, reference_page,
};

fn sources(
    file: &str,
    environment: &[(&str, &str)],
    flags: &[(&'static str, &str)],
) -> (Sources, tempfile::NamedTempFile) {
    let mut kept = tempfile::NamedTempFile::new().unwrap();
    kept.write_all(file.as_bytes()).unwrap();
    let own = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
    let flag = |(key, text): &(&'static str, &str)| FlagValue {
        key,
        flag: "--flag",
        text: (*text).to_owned(),
    };
    let sources = Sources {
        file: Some(kept.path().to_owned()),
        environment: environment.iter().map(own).collect(),
        flags: flags.iter().map(flag).collect(),
    };
    (sources, kept)
}

#[track_caller]
fn refused(file: &str, environment: &[(&str, &str)], flags: &[(&'static str, &str)], why: &str) {
    let (sources, _kept) = sources(file, environment, flags);
    let error = format!("{:#}", sources.resolve().unwrap_err());
    assert!(error.contains(why), "{error}");
}

#[test]
fn flags_win_over_environment_over_file_over_default() {
    let file = "[kafka]\ndefault_partitions = 2\nmax_connections = 20\n[storage]\nflush_interval = \"2s\"\n[log]\n";
    let environment = [
        ("FOREBAY__KAFKA__MAX_CONNECTIONS", "30"),
        ("FOREBAY__LISTENERS__KAFKA", "off"),
        ("PATH", "x"),
    ];
    let (sources, kept) = sources(file, &environment, &[("listeners.kafka", "127.0.0.1:1")]);
    let (settings, entries) = sources.resolve().unwrap();
    assert_eq!(settings.kafka.default_partitions, Count(2));
    assert_eq!(settings.kafka.max_connections, Count(30));
    assert_eq!(
        settings.listeners.kafka,
        Listen::At(vec![Endpoint::At("127.0.0.1:1".parse().unwrap())])
    );
    let origin = |key: &str| {
        entries
            .iter()
            .find(|entry| entry.key == key)
            .unwrap()
            .origin
            .clone()
    };
    assert_eq!(origin("listeners.kafka"), "flag --flag");
    assert_eq!(
        origin("kafka.max_connections"),
        "env FOREBAY__KAFKA__MAX_CONNECTIONS"
    );
    assert_eq!(
        origin("storage.flush_interval"),
        format!("file {}", kept.path().display())
    );
    assert_eq!(origin("log.level"), "default");
}

#[test]
fn lists_may_be_arrays() {
    let file = "[listeners]\namqp = [\"127.0.0.1:1\", \"localhost:2\"]\n[amqp]\nvhosts = [\"shop\", \"stage\"]\n";
    let (sources, _kept) = sources(file, &[], &[]);
    let (settings, _) = sources.resolve().unwrap();
    assert_eq!(settings.listeners.amqp.show(), "127.0.0.1:1,localhost:2");
    assert_eq!(settings.amqp.vhosts.0, ["shop", "stage"]);
    refused(
        "[amqp]\nvhosts = [\"a,b\"]\n",
        &[],
        &[],
        "expected a single value",
    );
    let public = "[listeners]\namqp = [\"localhost:1\", \"0.0.0.0:2\"]\n";
    refused(
        public,
        &[],
        &[],
        "listeners.amqp = \"0.0.0.0:2\" can be reached by other machines",
    );
}

#[test]
fn unknown_keys_are_refused_with_a_suggestion() {
    refused(
        "[kafka]\ndefault_partition = 1\n",
        &[],
        &[],
        "did you mean `kafka.default_partitions`?",
    );
    refused(
        "[kafka.deep]\nkey = 1\n",
        &[],
        &[],
        "unknown setting `kafka.deep.key`",
    );
    refused("[kafak]\n", &[], &[], "unknown setting `kafak`");
    refused(
        "",
        &[("FOREBAY__KAFKA__AUTO_CREATE_TOPIC", "true")],
        &[],
        "did you mean `FOREBAY__KAFKA__AUTO_CREATE_TOPICS`?",
    );
    refused(
        "",
        &[("FOREBAY__XYZ", "1")],
        &[],
        "`forebay config show` lists all settings",
    );
}

#[test]
fn a_variable_that_lacks_an_underscore_is_refused() {
    for (name, meant) in [
        ("FOREBAY_KAFKA_NODE_ID", "FOREBAY__KAFKA__NODE_ID"),
        ("FOREBAY_LOG_LEVEL", "FOREBAY__LOG__LEVEL"),
        ("FOREBAY_DATADIR", "FOREBAY__DATA__DIR"),
    ] {
        let why = format!("unknown environment variable `{name}`, did you mean `{meant}`?");
        refused("", &[(name, "3")], &[], &why);
    }
    let others = [
        ("FOREBAY_HTTP", "127.0.0.1:1"),
        ("FOREBAY_KAFKA_PORT_9092_TCP", "tcp://10.0.0.1:9092"),
    ];
    let (sources, _kept) = sources("", &others, &[]);
    sources.resolve().unwrap();
    let level = [("FOREBAY__LOG__LEVEL", "info,kafak=debug")];
    let why = "(env FOREBAY__LOG__LEVEL): there is no part `kafak`, did you mean `kafka`?";
    refused("", &level, &[], why);
}

#[test]
fn relative_paths_count_from_the_settings_file() {
    let file = "[data]\ndir = \"./data\"\n[amqp]\ncredentials_file = \"users\"\n[sqs]\ncredentials_file = \"/keys\"\n";
    let (sources, kept) = sources(file, &[], &[]);
    let (settings, _) = sources.resolve().unwrap();
    let folder = kept.path().parent().unwrap();
    assert_eq!(settings.data.dir, folder.join("data"));
    assert_eq!(settings.amqp.credentials_file, Some(folder.join("users")));
    assert_eq!(settings.sqs.credentials_file, Some("/keys".into()));
    let (mut sources, _kept) = self::sources("", &[], &[("data.dir", "here")]);
    let users = ("FOREBAY__AMQP__CREDENTIALS_FILE", "users");
    sources
        .environment
        .push((users.0.to_owned(), users.1.to_owned()));
    let (settings, _) = sources.resolve().unwrap();
    assert_eq!(settings.data.dir, std::path::Path::new("here"));
    assert_eq!(settings.amqp.credentials_file, Some("users".into()));
}

#[test]
fn wrong_values_are_refused_with_their_origin() {
    refused(
        "[kafka]\ndefault_partitions = 0\n",
        &[],
        &[],
        "expected a whole number from 1 to 10000",
    );
    refused(
        "[kafka]\ndefault_partitions = [1]\n",
        &[],
        &[],
        "expected a single value",
    );
    refused("[kafka\n", &[], &[], "is not valid TOML");
    let environment = [("FOREBAY__STORAGE__FLUSH_INTERVAL", "1")];
    refused(
        "",
        &environment,
        &[],
        "storage.flush_interval = \"1\" (env FOREBAY__STORAGE__FLUSH_INTERVAL): expected a duration",
    );
    // Overridden, and still wrong.
    refused(
        "[listeners]\nhttp = \"x\"\n",
        &[],
        &[("listeners.http", "off")],
        "expected `address:port`",
    );
}

#[test]
fn what_this_build_cannot_do_is_refused() {
    refused(
        "",
        &[],
        &[("amqp.frame_max", "4095")],
        "amqp.frame_max must be between 4KiB",
    );
    refused(
        "",
        &[],
        &[("amqp.message_bytes_max", "64MiB")],
        "amqp.message_bytes_max must be",
    );
    refused(
        "",
        &[],
        &[("amqp.heartbeat", "1500ms")],
        "amqp.heartbeat must be whole seconds",
    );
    refused(
        "",
        &[],
        &[("sqs.signatures", "verify")],
        "needs sqs.credentials_file",
    );
    refused(
        "",
        &[],
        &[("profile", "production")],
        "requires authentication, TLS and an encryption key source",
    );
    refused(
        "",
        &[],
        &[("listeners.kafka", "0.0.0.0:9092")],
        "listeners.kafka = \"0.0.0.0:9092\" (flag --flag) can be reached by other machines",
    );
    refused(
        "[kafka]\nmax_message_bytes = \"200MiB\"\n",
        &[],
        &[],
        "must not exceed kafka.max_request_bytes",
    );
    refused(
        "[kafka]\ngroup_min_session_timeout = \"31m\"\n",
        &[],
        &[],
        "kafka.group_min_session_timeout must be at most 30m",
    );
    refused(
        "[storage]\njournal_file_bytes = 1000\n",
        &[],
        &[],
        "storage.journal_file_bytes",
    );
}

#[test]
fn defaults_are_valid_and_canonical() {
    Sources::default().resolve().unwrap();
    for key in KEYS {
        assert_eq!(
            key.canonical(key.default).as_deref(),
            Ok(key.default),
            "{}",
            key.name
        );
    }
}

/// Parses `text` and expects it to be shown as `shown`, or refused when that is `None`.
#[track_caller]
fn spelling<T: Setting>(text: &str, shown: Option<&str>) {
    assert_eq!(
        T::parse(text).ok().map(|value| value.show()).as_deref(),
        shown,
        "{text}"
    );
}

#[test]
fn values_are_spelled_in_one_way() {
    spelling::<ByteSize>("1024", Some("1KiB"));
    spelling::<ByteSize>("64 MiB", Some("64MiB"));
    spelling::<ByteSize>("1025", Some("1025"));
    spelling::<ByteSize>("0", Some("0"));
    spelling::<ByteSize>("99999999999TiB", None);
    spelling::<ByteSize>("-1", None);
    spelling::<ByteSize>("1MB", Some("1000000"));
    spelling::<ByteSize>("4096kb", Some("4000KiB"));
    spelling::<ByteSize>("10mib", Some("10MiB"));
    spelling::<ByteSize>("512B", Some("512"));
    spelling::<ByteSize>("1M", None);
    spelling::<ByteSize>("MiB", None);
    spelling::<ByteSize>("1.5MiB", None);
    spelling::<Span>("1500ms", Some("1500ms"));
    spelling::<Span>("60s", Some("1m"));
    spelling::<Span>("168h", Some("7d"));
    spelling::<Span>("0s", Some("0ms"));
    spelling::<Span>("5", None);
    spelling::<Span>("99999999999999999999d", None);
    spelling::<Listen>("localhost:80", Some("localhost:80"));
    spelling::<Listen>("[::1]:80", Some("[::1]:80"));
    let several = "127.0.0.1:80, [::1]:80,localhost:81";
    spelling::<Listen>(several, Some("127.0.0.1:80,[::1]:80,localhost:81"));
    spelling::<Listen>("80", None);
    spelling::<Listen>("127.0.0.1:80,off", None);
    spelling::<Listen>("127.0.0.1:80,", None);
    spelling::<Listen>("127.0.0.1:80,127.0.0.1:80", None);
    spelling::<Vhosts>(" shop,a/b ,", Some("shop,a/b"));
    spelling::<Vhosts>("", Some(""));
    spelling::<Vhosts>("a\nb", None);
    spelling::<HostPort>("a.example:1", Some("a.example:1"));
    spelling::<HostPort>("[::1]:1", Some("[::1]:1"));
    spelling::<HostPort>("::1:1", None);
    spelling::<HostPort>("a:0", None);
    spelling::<HostPort>("a b:1", None);
    spelling::<LogFilter>("info,kafka=debug", Some("info,kafka=debug"));
    spelling::<LogFilter>("inof", None);
    let deep = "warn,kafka::session=trace,engine=off,amqp[x{y=1}]=debug";
    spelling::<LogFilter>(deep, Some(deep));
    spelling::<LogFilter>("info,kafak=debug", None);
    spelling::<LogFilter>("info,hyper=debug", None);
    spelling::<bool>("yes", None);
}

#[test]
fn the_reference_page_is_fresh() {
    testkit::check_page("settings.md", &reference_page());
}
