//! DescribeConfigs, AlterConfigs and IncrementalAlterConfigs.

use kafka::wire::describe_configs::{
    DescribeConfigsResource, DescribeConfigsResourceResult, DescribeConfigsResult,
};
use kafka::wire::{
    AlterConfigsRequest, AlterConfigsResponse, DescribeConfigsRequest, DescribeConfigsResponse,
    IncrementalAlterConfigsRequest, IncrementalAlterConfigsResponse, alter_configs,
    incremental_alter_configs as incremental,
};

use crate::client::{Client, Server};
use crate::kit::{Batch, NOW};

const TOPIC: i8 = 2;
const BROKER: i8 = 4;
const SET: i8 = 0;
const DELETE: i8 = 1;
const APPEND: i8 = 2;
const SUBTRACT: i8 = 3;

async fn ready() -> (Server, Client) {
    let server = Server::with(|engine, _| {
        let defaults = &mut engine.topic_defaults;
        defaults.insert("max.message.bytes".into(), "2000000".into());
        defaults.insert("cleanup.policy".into(), "compact".into());
    })
    .await;
    let mut client = server.connect();
    client
        .create(
            "orders",
            1,
            &[("retention.ms", "60000"), ("max.message.bytes", "3000")],
        )
        .await;
    (server, client)
}

async fn describe(
    client: &mut Client,
    target: (i8, &'static str),
    keys: &[&'static str],
    all: bool,
) -> DescribeConfigsResult<'static> {
    let request = DescribeConfigsRequest {
        resources: vec![DescribeConfigsResource {
            resource_type: target.0,
            resource_name: target.1.into(),
            configuration_keys: (!keys.is_empty())
                .then(|| keys.iter().map(|k| (*k).into()).collect()),
        }],
        include_synonyms: all,
        include_documentation: all,
    };
    let mut answer: DescribeConfigsResponse<'_> = client.ask(4, &request).await;
    answer.results.remove(0)
}

async fn value(client: &mut Client, name: &'static str) -> String {
    let shown = describe(client, (TOPIC, "orders"), &[name], false).await;
    shown.configs[0].value.clone().unwrap().into_owned()
}

fn find<'a>(
    shown: &'a DescribeConfigsResult<'_>,
    name: &str,
) -> &'a DescribeConfigsResourceResult<'a> {
    shown
        .configs
        .iter()
        .find(|c| c.name == name)
        .unwrap_or_else(|| panic!("{name} is not listed"))
}

#[tokio::test]
async fn every_value_says_where_it_comes_from() {
    let (_server, mut client) = ready().await;
    let shown = describe(&mut client, (TOPIC, "orders"), &[], true).await;
    let layers = |name: &str| -> Vec<(String, i8)> {
        let config = find(&shown, name);
        let of = |s: &kafka::wire::describe_configs::DescribeConfigsSynonym<'_>| {
            (s.value.clone().unwrap().into_owned(), s.source)
        };
        assert_eq!(config.config_source, config.synonyms[0].source);
        assert!(
            config
                .documentation
                .as_ref()
                .is_some_and(|text| !text.is_empty())
        );
        assert!(!config.read_only && !config.is_sensitive);
        config.synonyms.iter().map(of).collect()
    };
    let own = |value: &str, source| (value.to_owned(), source);
    assert_eq!(
        layers("retention.ms"),
        [own("60000", 1)],
        "the broker's setting behind it has no default"
    );
    assert_eq!(
        layers("max.message.bytes"),
        [own("3000", 1), own("2000000", 4), own("1048588", 5)]
    );
    assert_eq!(
        layers("cleanup.policy"),
        [own("compact", 4), own("delete", 5)]
    );
    assert_eq!(layers("segment.bytes"), [own("1073741824", 5)]);
    for (name, kind) in [
        ("preallocate", 1),
        ("compression.type", 2),
        ("max.message.bytes", 3),
        ("retention.ms", 5),
        ("min.cleanable.dirty.ratio", 6),
        ("cleanup.policy", 7),
    ] {
        assert_eq!(find(&shown, name).config_type, kind, "{name}");
    }
}

#[tokio::test]
async fn only_the_keys_asked_for_are_shown() {
    let (_server, mut client) = ready().await;
    let shown = describe(
        &mut client,
        (TOPIC, "orders"),
        &["retention.ms", "no.such.key"],
        false,
    )
    .await;
    let names: Vec<_> = shown.configs.iter().map(|c| c.name.as_ref()).collect();
    assert_eq!(names, ["retention.ms"]);
    assert!(shown.configs[0].synonyms.is_empty() && shown.configs[0].documentation.is_none());
}

#[tokio::test]
async fn a_broker_is_described_by_its_id_or_by_the_empty_name() {
    let (_server, mut client) = ready().await;
    let shown = describe(&mut client, (BROKER, "1"), &[], true).await;
    assert_eq!(shown.error_code, 0);
    for (name, value, source) in [
        ("auto.create.topics.enable", "true", 5),
        ("num.partitions", "1", 5),
        ("log.retention.hours", "168", 5),
        ("node.id", "1", 4),
        ("broker.id", "1", 4),
    ] {
        let config = find(&shown, name);
        assert_eq!(
            (config.value.as_deref(), config.config_source),
            (Some(value), source),
            "{name}"
        );
        assert!(config.read_only, "{name}");
    }
    let size = find(&shown, "message.max.bytes");
    assert_eq!(
        (size.value.as_deref(), size.config_source),
        (Some("2000000"), 4)
    );
    assert!(!size.read_only);
    let threads = find(&shown, "num.io.threads");
    assert_eq!(
        (threads.value.as_deref(), threads.config_source),
        (Some("8"), 5)
    );
    let common = describe(&mut client, (BROKER, ""), &[], true).await;
    assert_eq!(
        (common.error_code, common.configs.len()),
        (0, 0),
        "nothing was set for all"
    );
    assert_eq!(
        describe(&mut client, (BROKER, "2"), &[], false)
            .await
            .error_code,
        42
    );
    assert_eq!(
        describe(&mut client, (BROKER, "x"), &[], false)
            .await
            .error_code,
        42
    );
    assert_eq!(
        describe(&mut client, (TOPIC, "nowhere"), &[], false)
            .await
            .error_code,
        3
    );
    assert_eq!(
        describe(&mut client, (99, "x"), &[], false)
            .await
            .error_code,
        42
    );
}

/// A change: kind, setting, value.
type Change = (i8, &'static str, Option<&'static str>);

async fn change(
    client: &mut Client,
    target: (i8, &'static str),
    changes: &[Change],
    validate_only: bool,
) -> i16 {
    let configs = changes
        .iter()
        .map(
            |(config_operation, name, value)| incremental::AlterableConfig {
                name: (*name).into(),
                config_operation: *config_operation,
                value: value.map(Into::into),
            },
        )
        .collect();
    let request = IncrementalAlterConfigsRequest {
        resources: vec![incremental::AlterConfigsResource {
            resource_type: target.0,
            resource_name: target.1.into(),
            configs,
        }],
        validate_only,
    };
    let answer: IncrementalAlterConfigsResponse<'_> = client.ask(1, &request).await;
    let result = &answer.responses[0];
    assert_eq!(
        result.error_code != 0,
        result.error_message.is_some(),
        "{result:?}"
    );
    result.error_code
}

async fn orders(client: &mut Client, changes: &[Change]) -> i16 {
    change(client, (TOPIC, "orders"), changes, false).await
}

#[tokio::test]
async fn settings_are_set_and_given_back_to_their_default() {
    let (server, mut client) = ready().await;
    assert_eq!(
        orders(
            &mut client,
            &[
                (SET, "retention.ms", Some("5")),
                (SET, "segment.ms", Some("7"))
            ]
        )
        .await,
        0
    );
    assert_eq!(value(&mut client, "retention.ms").await, "5");
    assert_eq!(value(&mut client, "segment.ms").await, "7");
    assert_eq!(
        orders(&mut client, &[(DELETE, "retention.ms", None)]).await,
        0
    );
    assert_eq!(value(&mut client, "retention.ms").await, "604800000");
    assert_eq!(
        value(&mut client, "max.message.bytes").await,
        "3000",
        "others are left alone"
    );
    assert_eq!(
        change(
            &mut client,
            (TOPIC, "orders"),
            &[(SET, "segment.ms", Some("9"))],
            true
        )
        .await,
        0
    );
    assert_eq!(
        value(&mut client, "segment.ms").await,
        "7",
        "that was only a question"
    );
    drop(client);
    // Broker defaults come from the command line, and are the fixture's again.
    let server = server.restart().await;
    assert_eq!(value(&mut server.connect(), "segment.ms").await, "7");
}

#[tokio::test]
async fn lists_are_appended_to_and_subtracted_from() {
    let (_server, mut client) = ready().await;
    assert_eq!(
        orders(&mut client, &[(APPEND, "cleanup.policy", Some("delete"))]).await,
        0
    );
    assert_eq!(
        value(&mut client, "cleanup.policy").await,
        "compact,delete",
        "starting from the broker's default"
    );
    assert_eq!(
        orders(&mut client, &[(APPEND, "cleanup.policy", Some("delete"))]).await,
        0
    );
    assert_eq!(
        value(&mut client, "cleanup.policy").await,
        "compact,delete",
        "nothing twice"
    );
    assert_eq!(
        orders(
            &mut client,
            &[(SUBTRACT, "cleanup.policy", Some("compact"))]
        )
        .await,
        0
    );
    assert_eq!(value(&mut client, "cleanup.policy").await, "delete");
    assert_eq!(
        orders(&mut client, &[(APPEND, "cleanup.policy", Some("shred"))]).await,
        40
    );
    assert_eq!(
        orders(&mut client, &[(APPEND, "retention.ms", Some("5"))]).await,
        40,
        "not a list"
    );
}

#[tokio::test]
async fn impossible_changes_get_the_right_code_and_change_nothing() {
    let (_server, mut client) = ready().await;
    let cases: [(&[Change], i16); 6] = [
        (&[(SET, "no.such.key", Some("1"))], 40),
        (&[(SET, "retention.ms", Some("soon"))], 40),
        (&[(SET, "retention.ms", None)], 42),
        (&[(9, "retention.ms", Some("1"))], 42),
        (
            &[
                (SET, "retention.ms", Some("1")),
                (DELETE, "retention.ms", None),
            ],
            42,
        ),
        (
            &[
                (SET, "retention.ms", Some("1")),
                (SET, "segment.ms", Some("x")),
            ],
            40,
        ),
    ];
    for (changes, code) in cases {
        assert_eq!(orders(&mut client, changes).await, code, "{changes:?}");
    }
    assert_eq!(value(&mut client, "retention.ms").await, "60000");
    let set: &[Change] = &[(SET, "retention.ms", Some("1"))];
    assert_eq!(change(&mut client, (TOPIC, "nowhere"), set, false).await, 3);
    assert_eq!(change(&mut client, (BROKER, "2"), set, false).await, 42);
    assert_eq!(change(&mut client, (99, "x"), set, false).await, 42);
}

#[tokio::test]
async fn a_change_takes_effect_at_once() {
    let (_server, mut client) = ready().await;
    let keyed = testkit::forge::sound(0, NOW, &[(Some(b"key"), &[7; 5000])]);
    assert_eq!(
        client
            .produce_bytes("orders", 0, keyed.clone())
            .await
            .error_code,
        10
    );
    assert_eq!(
        orders(&mut client, &[(DELETE, "max.message.bytes", None)]).await,
        0
    );
    assert_eq!(
        client
            .produce_bytes("orders", 0, keyed.clone())
            .await
            .error_code,
        0
    );
}

#[tokio::test]
async fn the_older_request_replaces_all_settings() {
    let (_server, mut client) = ready().await;
    for version in 0..=2 {
        orders(&mut client, &[(SET, "retention.ms", Some("5"))]).await;
        let request = |value: Option<&'static str>, validate_only| AlterConfigsRequest {
            resources: vec![alter_configs::AlterConfigsResource {
                resource_type: TOPIC,
                resource_name: "orders".into(),
                configs: vec![alter_configs::AlterableConfig {
                    name: "segment.ms".into(),
                    value: value.map(Into::into),
                }],
            }],
            validate_only,
        };
        let answer: AlterConfigsResponse<'_> = client.ask(version, &request(Some("8"), true)).await;
        assert_eq!(answer.responses[0].error_code, 0);
        assert_eq!(value(&mut client, "retention.ms").await, "5");
        let answer: AlterConfigsResponse<'_> =
            client.ask(version, &request(Some("8"), false)).await;
        assert_eq!(answer.responses[0].error_code, 0);
        assert_eq!(value(&mut client, "retention.ms").await, "604800000");
        assert_eq!(value(&mut client, "segment.ms").await, "8");
        let answer: AlterConfigsResponse<'_> =
            client.ask(version, &request(Some("soon"), false)).await;
        assert_eq!(answer.responses[0].error_code, 40);
    }
}

async fn refusal(client: &mut Client, target: (i8, &'static str), change: Change) -> (i16, String) {
    let request = IncrementalAlterConfigsRequest {
        resources: vec![incremental::AlterConfigsResource {
            resource_type: target.0,
            resource_name: target.1.into(),
            configs: vec![incremental::AlterableConfig {
                name: change.1.into(),
                config_operation: change.0,
                value: change.2.map(Into::into),
            }],
        }],
        validate_only: true,
    };
    let answer: IncrementalAlterConfigsResponse<'_> = client.ask(1, &request).await;
    let result = &answer.responses[0];
    let text = result.error_message.as_deref().unwrap_or_default();
    (result.error_code, text.to_owned())
}

const LOGGER: i8 = 8;
const GROUP: i8 = 32;

#[tokio::test]
#[expect(clippy::too_many_lines, reason = "one story, told in order")]
async fn refusals_say_what_is_wrong() {
    let (_server, mut client) = ready().await;
    for (target, change, code, text) in [
        (
            (TOPIC, "nowhere"),
            (SET, "retention.ms", Some("1")),
            3,
            "The topic 'nowhere' does not exist.",
        ),
        (
            (TOPIC, ""),
            (SET, "retention.ms", Some("1")),
            42,
            "Default topic resources are not allowed.",
        ),
        (
            (TOPIC, "orders"),
            (SET, "retention.ms", None),
            42,
            "Null value not supported for : retention.ms",
        ),
        (
            (TOPIC, "orders"),
            (APPEND, "retention.ms", Some("5")),
            40,
            "Can't APPEND to key retention.ms because its type is not LIST.",
        ),
        (
            (BROKER, "1"),
            (SET, "broker.id", Some("7")),
            42,
            "Cannot update these configs dynamically: [broker.id]",
        ),
        (
            (BROKER, ""),
            (SET, "log.retention.ms", Some("bad")),
            42,
            "Invalid value bad for configuration log.retention.ms: Not a number of type LONG",
        ),
        (
            (BROKER, "7"),
            (SET, "log.retention.ms", Some("5")),
            42,
            "Unexpected broker id, expected 1 or empty string, but received 7",
        ),
        (
            (GROUP, "g"),
            (SET, "consumer.session.timeout.ms", Some("1")),
            40,
            "consumer.session.timeout.ms must be in the range 45000 to 60000 inclusive.",
        ),
        (
            (GROUP, ""),
            (SET, "consumer.session.timeout.ms", Some("1")),
            42,
            "Default group resources are not allowed.",
        ),
        (
            (LOGGER, "1"),
            (SET, "no.such.logger", Some("INFO")),
            40,
            "Logger no.such.logger does not exist!",
        ),
        (
            (99, "x"),
            (SET, "a", Some("1")),
            42,
            "Unknown resource type 99",
        ),
        ((BROKER, "1"), (SET, "x.y", Some("1")), 0, ""),
    ] {
        let told = refusal(&mut client, target, change).await;
        assert_eq!(told, (code, text.to_owned()), "{target:?}");
    }
}

#[tokio::test]
#[expect(clippy::too_many_lines, reason = "one story, told in order")]
async fn what_is_set_for_brokers_is_the_default_of_topics() {
    let (server, mut client) = ready().await;
    client
        .create("plain", 1, &[("cleanup.policy", "delete")])
        .await;
    let shown = async |client: &mut Client, target, name| {
        let shown = describe(client, target, &[name], true).await;
        let config = shown.configs.into_iter().next().expect("it is listed");
        let layers = config.synonyms.into_iter();
        let layers = layers.map(|s| (s.name.to_string(), s.value.unwrap().to_string(), s.source));
        layers.collect::<Vec<_>>()
    };
    let own = |name: &str, value: &str, source| (name.to_owned(), value.to_owned(), source);
    let all: &[Change] = &[
        (SET, "message.max.bytes", Some("4000")),
        (SET, "log.retention.ms", Some("70000")),
        (SET, "x.secret", Some("s")),
    ];
    assert_eq!(change(&mut client, (BROKER, ""), all, true).await, 0);
    assert_eq!(
        client
            .produce("plain", 0, &Batch::of(&[&"v".repeat(5000)]))
            .await
            .error_code,
        0
    );
    assert_eq!(change(&mut client, (BROKER, ""), all, false).await, 0);
    let large = Batch::of(&[&"v".repeat(5000)]);
    assert_eq!(
        client.produce("plain", 0, &large).await.error_code,
        10,
        "at once"
    );
    let size = vec![
        own("message.max.bytes", "4000", 3),
        own("message.max.bytes", "2000000", 4),
        own("message.max.bytes", "1048588", 5),
    ];
    assert_eq!(
        shown(&mut client, (TOPIC, "plain"), "max.message.bytes").await,
        size
    );
    assert_eq!(
        shown(&mut client, (TOPIC, "plain"), "retention.ms").await,
        [own("log.retention.ms", "70000", 3)]
    );
    let set: &[Change] = &[(SET, "message.max.bytes", Some("9000"))];
    assert_eq!(change(&mut client, (BROKER, "1"), set, false).await, 0);
    assert_eq!(
        client.produce("plain", 0, &large).await.error_code,
        0,
        "this broker's goes first"
    );
    drop(client);
    let server = server.restart().await;
    let mut client = server.connect();
    assert_eq!(
        shown(&mut client, (BROKER, "1"), "message.max.bytes").await,
        [
            own("message.max.bytes", "9000", 2),
            own("message.max.bytes", "4000", 3),
            own("message.max.bytes", "2000000", 4),
            own("message.max.bytes", "1048588", 5),
        ],
        "after a restart"
    );
    let huge = Batch::of(&[&"v".repeat(9000)]);
    assert_eq!(client.produce("plain", 0, &huge).await.error_code, 10);
    let common = describe(&mut client, (BROKER, ""), &[], true).await;
    let names: Vec<_> = common.configs.iter().map(|c| c.name.as_ref()).collect();
    assert_eq!(names, ["log.retention.ms", "message.max.bytes", "x.secret"]);
    let secret = find(&common, "x.secret");
    assert_eq!((secret.is_sensitive, secret.value.as_deref()), (true, None));
    for target in [(BROKER, ""), (BROKER, "1")] {
        let gone: &[Change] = &[(DELETE, "message.max.bytes", None)];
        assert_eq!(change(&mut client, target, gone, false).await, 0);
    }
    assert_eq!(
        client.produce("plain", 0, &huge).await.error_code,
        0,
        "the one it was started with"
    );
}

#[tokio::test]
async fn settings_of_groups_are_kept() {
    let (server, mut client) = ready().await;
    let set: &[Change] = &[(SET, "share.delivery.count.limit", Some("7"))];
    assert_eq!(change(&mut client, (GROUP, "workers"), set, false).await, 0);
    drop(client);
    let server = server.restart().await;
    let mut client = server.connect();
    let shown = describe(&mut client, (GROUP, "workers"), &[], true).await;
    assert_eq!((shown.error_code, shown.configs.len()), (0, 21));
    let limit = find(&shown, "share.delivery.count.limit");
    assert_eq!(
        (limit.value.as_deref(), limit.config_source),
        (Some("7"), 8)
    );
    let other = describe(&mut client, (GROUP, "others"), &[], true).await;
    let limit = find(&other, "share.delivery.count.limit");
    assert_eq!(
        (limit.value.as_deref(), limit.config_source),
        (Some("5"), 5)
    );
    let request = kafka::wire::ListConfigResourcesRequest {
        resource_types: vec![GROUP],
    };
    let answer: kafka::wire::ListConfigResourcesResponse<'_> = client.ask(1, &request).await;
    let names: Vec<_> = answer
        .config_resources
        .iter()
        .map(|r| r.resource_name.as_ref())
        .collect();
    assert_eq!(names, ["workers"]);
}

#[tokio::test]
async fn spaces_are_not_shown_and_sizes_below_0_mean_no_limit() {
    let (_server, mut client) = ready().await;
    for (name, given, shown) in [
        ("retention.ms", " 5 ", "5"),
        ("retention.bytes", "-2", "-2"),
        ("cleanup.policy", "compact , delete", "compact,delete"),
    ] {
        let request = IncrementalAlterConfigsRequest {
            resources: vec![incremental::AlterConfigsResource {
                resource_type: TOPIC,
                resource_name: "orders".into(),
                configs: vec![incremental::AlterableConfig {
                    name: name.into(),
                    config_operation: SET,
                    value: Some(given.into()),
                }],
            }],
            ..IncrementalAlterConfigsRequest::default()
        };
        let answer: IncrementalAlterConfigsResponse<'_> = client.ask(1, &request).await;
        assert_eq!(answer.responses[0].error_code, 0, "{name}");
        assert_eq!(value(&mut client, name).await, shown);
    }
}

#[tokio::test]
async fn a_resource_named_twice_is_not_changed() {
    let (_server, mut client) = ready().await;
    let incremental = |name: &'static str, value: &'static str| incremental::AlterConfigsResource {
        resource_type: TOPIC,
        resource_name: name.into(),
        configs: vec![incremental::AlterableConfig {
            name: "retention.ms".into(),
            config_operation: SET,
            value: Some(value.into()),
        }],
    };
    let request = IncrementalAlterConfigsRequest {
        resources: vec![
            incremental("orders", "1000"),
            incremental("nowhere", "1000"),
            incremental("orders", "2000"),
        ],
        validate_only: false,
    };
    let answer: IncrementalAlterConfigsResponse<'_> = client.ask(1, &request).await;
    let told = answer.responses.iter();
    let told: Vec<_> = told
        .map(|r| (r.error_code, r.error_message.as_deref()))
        .collect();
    let twice = (42, Some("Each resource must appear at most once."));
    let nowhere = (3, Some("The topic 'nowhere' does not exist."));
    assert_eq!(told, [twice, nowhere, twice]);
    let whole = || alter_configs::AlterConfigsResource {
        resource_type: TOPIC,
        resource_name: "orders".into(),
        configs: Vec::new(),
    };
    let request = AlterConfigsRequest {
        resources: vec![whole(), whole()],
        validate_only: false,
    };
    let answer: AlterConfigsResponse<'_> = client.ask(1, &request).await;
    assert!(answer.responses.iter().all(|r| r.error_code == 42));
    assert_eq!(value(&mut client, "retention.ms").await, "60000");
}
