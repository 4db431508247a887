//! Whole loads against a broker in this process.

use super::fake::{self, Flaw};
use super::options::tests::parse;
use super::*;
use crate::report::Output;

/// The rows of a run of what the command line asks for, against a broker with this flaw.
async fn measured(line: &str, flaw: Flaw) -> Result<Vec<Row>> {
    let options = parse(&format!("--seconds 0.1 {line}")).unwrap();
    let login = &options.brokers.login;
    let address = fake::start(flaw).await;
    let peer = Peer::meet(address, login, Source::Unknown, None).await?;
    let mut bench = Bench {
        seconds: options.seconds,
        flood_limit: 10,
        report: Report::start(Output::Json)?,
        names: Names::default(),
    };
    bench.rounds(&options, &[peer]).await?;
    Ok(bench.report.rows().to_vec())
}

#[tokio::test]
async fn every_case_has_its_rows() {
    let rows = measured("--quick", Flaw::None).await.unwrap();
    let cases: Vec<_> = rows.iter().map(|row| (row.case, row.queues)).collect();
    let expected = [
        (PUBLISH, 1),
        (CONSUME, 1),
        (BOTH, 1),
        (FAN_OUT, 10),
        (ONE_IN_FLIGHT, 1),
        (row::STEADY, 1),
        (row::STEADY_FLOODED, 1),
    ];
    assert_eq!(cases, expected);
    for row in &rows {
        assert_eq!(row.broker, "Fake 1.2");
        let consumes = row.case != PUBLISH;
        let publishes = row.case != CONSUME;
        assert_eq!(row.confirm_ms.is_some(), publishes, "{}", row.case);
        let timed = publishes && consumes;
        assert_eq!(row.end_to_end_ms.is_some(), timed, "{}", row.case);
    }
    assert_eq!(rows[0].published, rows[1].volume.records);
    assert_eq!(rows[3].published * 10, rows[3].volume.records);
    let flood = rows[6].flood.unwrap();
    assert_eq!(flood.accepted, 10);
    assert!(flood.refused > 0);
}

#[tokio::test]
async fn several_queues_and_acknowledgements_of_several_messages() {
    let line = "--cases both,backlog --queues 3 --body-bytes 16,5000 --ack-every 7 --rounds 2";
    let rows = measured(line, Flaw::None).await.unwrap();
    assert_eq!(rows.len(), 2 * 2 * 3);
    for pair in rows.windows(2) {
        if let [publish, consume] = pair
            && (publish.case, consume.case) == (PUBLISH, CONSUME)
        {
            assert_eq!(publish.published, consume.volume.records);
        }
    }
}

#[tokio::test]
async fn a_broker_with_a_flaw_fails() {
    let cases = [
        (Flaw::Loses(5), "message 6 of queue"),
        (Flaw::Repeats(5), "message 5 of queue"),
        (Flaw::Swaps(5), "message 5 of queue"),
        (Flaw::Changes(5), "message 4 of queue"),
        (Flaw::Refuses(5), "the broker refused a message"),
        (Flaw::ConfirmsTwice(5), "does not owe an answer"),
    ];
    for (flaw, expected) in cases {
        let error = measured("--cases both", flaw).await.unwrap_err();
        let said = format!("{error:#}");
        assert!(said.contains(expected), "{flaw:?}: {said}");
    }
}
