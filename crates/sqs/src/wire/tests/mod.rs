//! Requests and answers as bytes.

use proptest::prelude::*;
use serde_json::json;

use super::*;

fn form(text: &str) -> Request {
    decode_query(&[text.as_bytes()]).unwrap()
}

fn members(request: Request) -> Value {
    request.members.read().unwrap()
}

#[test]
fn a_form_is_the_tree_its_names_spell() {
    let request = form(
        "Action=CreateQueue&Version=2012-11-05&QueueName=a&Attribute.1.Name=DelaySeconds&Attribute.1.Value=5\
         &Attribute.2.Name=Policy&Attribute.2.Value=%7B%22a%22%3A+1%7D&Tag.1.Key=k&Tag.1.Value=v",
    );
    assert_eq!(request.action, "CreateQueue");
    assert_eq!(
        members(request),
        json!({
            "QueueName": "a",
            "Attributes": { "DelaySeconds": "5", "Policy": "{\"a\": 1}" },
            "Tags": { "k": "v" },
        })
    );
}

#[test]
fn entries_keep_their_order_beyond_nine() {
    let entries: Vec<String> = (1..=11)
        .map(|i| format!("DeleteMessageBatchRequestEntry.{i}.Id=id{i}"))
        .collect();
    let request = form(&format!("Action=DeleteMessageBatch&{}", entries.join("&")));
    let members = members(request);
    let ids: Vec<&str> = members["Entries"]
        .as_array()
        .unwrap()
        .iter()
        .map(|entry| entry["Id"].as_str().unwrap())
        .collect();
    assert_eq!(ids[0], "id1");
    assert_eq!(ids[9..], ["id10", "id11"]);
}

#[test]
fn attributes_of_messages_are_found_in_entries_too() {
    let request = form(
        "Action=SendMessageBatch&SendMessageBatchRequestEntry.1.Id=a&SendMessageBatchRequestEntry.1.MessageAttribute.1.Name=n\
         &SendMessageBatchRequestEntry.1.MessageAttribute.1.Value.DataType=String\
         &SendMessageBatchRequestEntry.1.MessageAttribute.1.Value.StringValue=v",
    );
    assert_eq!(
        members(request)["Entries"],
        json!([{ "Id": "a", "MessageAttributes": { "n": { "DataType": "String", "StringValue": "v" } } }])
    );
}

#[test]
fn a_list_without_items_is_none() {
    let request = form("Action=SendMessageBatch&QueueUrl=q&Entries=&AttributeName=&Label=");
    assert_eq!(members(request), json!({ "QueueUrl": "q", "Label": "" }));
}

#[test]
fn what_is_no_request_is_refused() {
    assert_eq!(decode_query(&[b"QueueName=a"]), Err(Unreadable::NoAction));
    for bad in [
        "Action=%zz",
        "Action=a&x=%f",
        "Action=a&x=%ff",
        "a.b.c.d.e.f.g.h.i=1",
    ] {
        assert!(
            matches!(
                decode_query(&[bad.as_bytes()]),
                Err(Unreadable::Malformed(_))
            ),
            "{bad}"
        );
    }
    let many = format!("Action=a{}", "&x=1".repeat(5000));
    decode_query(&[many.as_bytes()]).expect_err("too many");
    let json = |target, body| decode_json(target, &Bytes::from_static(body));
    assert_eq!(json("SNS.Publish", b"{}"), Err(Unreadable::NoAction));
    json("AmazonSQS.SendMessage", b"[1]").expect_err("no object");
    let cut = json("AmazonSQS.SendMessage", b" {\"a\":").unwrap();
    cut.members.read::<Value>().expect_err("cut off");
    let empty = json("AmazonSQS.ListQueues", b" \n").unwrap();
    assert_eq!(members(empty), json!({}));
}

#[test]
fn answers_are_flat_elements() {
    let answer = json!({ "Messages": [{
        "Body": "a \"b\" <c>\r\n&",
        "Attributes": { "SenderId": "1" },
        "MessageAttributes": { "n": { "DataType": "Number", "StringValue": "1" } },
    }] });
    let xml = encode_xml("ReceiveMessage", &answer, "id");
    for part in [
        "<ReceiveMessageResponse xmlns=\"http://queue.amazonaws.com/doc/2012-11-05/\"><ReceiveMessageResult><Message>",
        "<Body>a &quot;b&quot; &lt;c&gt;&#xD;\n&amp;</Body>",
        "<Attribute><Name>SenderId</Name><Value>1</Value></Attribute>",
        "<MessageAttribute><Name>n</Name><Value><DataType>Number</DataType><StringValue>1</StringValue></Value></MessageAttribute>",
        "<ResponseMetadata><RequestId>id</RequestId></ResponseMetadata></ReceiveMessageResponse>",
    ] {
        assert!(xml.contains(part), "{part} in {xml}");
    }
    let batch =
        json!({ "Successful": [{ "Id": "a" }], "Failed": [{ "Id": "b", "SenderFault": true }] });
    let xml = encode_xml("SendMessageBatch", &batch, "id");
    assert!(
        xml.contains("<SendMessageBatchResultEntry><Id>a</Id></SendMessageBatchResultEntry>"),
        "{xml}"
    );
    assert!(xml.contains("<BatchResultErrorEntry><Id>b</Id><SenderFault>true</SenderFault></BatchResultErrorEntry>"), "{xml}");
    let empty = encode_xml("DeleteMessage", &json!({}), "id");
    assert!(!empty.contains("Result"), "{empty}");
    let error = encode_xml_error("InvalidAction", "<no>", false, "id");
    assert!(
        error
            .contains("<Type>Sender</Type><Code>InvalidAction</Code><Message>&lt;no&gt;</Message>"),
        "{error}"
    );
}

proptest! {
    #[test]
    fn noise_is_refused_or_read_and_never_worse(bytes in any::<Vec<u8>>()) {
        fuzz(&bytes);
    }

    #[test]
    fn every_text_survives_a_form(text in any::<String>()) {
        let escaped = text.bytes().map(|b| format!("%{b:02x}")).collect::<Vec<_>>().concat();
        let request = form(&format!("Action=a&MessageBody={escaped}"));
        prop_assert_eq!(&members(request)["MessageBody"], &Value::String(text));
    }
}
