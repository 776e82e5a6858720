//! The cases about [`CommitLog`].

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::future::join_all;

use super::Candidate;
use crate::engine::RECORD_BYTES_MAX;
use crate::storage::{Append, CheckpointKind, CommitLog, Record};
use crate::stream::{Revision, Stream, StreamKind, Term};
use crate::time::Timestamp;

fn model(name: &str) -> Stream {
    Stream::Model(name.parse().unwrap())
}

fn revision(number: u64) -> Revision {
    Revision::new(number).unwrap()
}

fn record(stream: &Stream, number: u64, body: impl Into<Bytes>) -> Record {
    Record {
        stream: stream.clone(),
        revision: revision(number),
        request_id: format!("request-{number}").parse().unwrap(),
        time: Timestamp::from_microseconds(i64::try_from(number).unwrap()).unwrap(),
        terms: Vec::new(),
        body: body.into(),
    }
}

async fn filled(log: &dyn CommitLog, stream: &Stream, count: u64) {
    for number in 1..=count {
        let body = format!("{{\"body of\":\"{stream} {number}\"}}");
        assert_eq!(log.append(&record(stream, number, body)).await.unwrap(), Append::Written);
    }
}

/// An empty log gives nothing, without an error.
pub async fn an_empty_log_has_nothing(candidate: &dyn Candidate) {
    let log = candidate.open().await.log;
    assert_eq!(log.read(&model("nothing"), Revision::FIRST, 10).await.unwrap(), []);
    assert_eq!(log.read(&Stream::Registry, Revision::FIRST, 10).await.unwrap(), []);
    assert_eq!(log.streams(StreamKind::Model, None, None, 10).await.unwrap(), []);
    let term = Term::new("tag", "nothing");
    assert_eq!(log.streams(StreamKind::Model, Some(&term), None, 10).await.unwrap(), []);
    assert_eq!(log.load_checkpoint(&model("nothing"), CheckpointKind::Brief).await.unwrap(), None);
}

/// Bodies are opaque: any text comes back to the byte.
pub async fn what_is_appended_is_read_back_to_the_byte(candidate: &dyn Candidate) {
    let log = candidate.open().await.log;
    let stream = model("m");
    let bodies =
        ["{}", "{\"a\": \"ünïcode 模型 \\u0000 \\n\"}", " { \"spaces\" :  1 } ", "{\"quote\":\"'\\\"\"}"];
    for (number, body) in (1..).zip(bodies) {
        assert_eq!(log.append(&record(&stream, number, body)).await.unwrap(), Append::Written);
    }
    let read = log.read(&stream, Revision::FIRST, 10).await.unwrap();
    assert_eq!(read.len(), bodies.len());
    for ((number, body), found) in (1..).zip(bodies).zip(read) {
        assert_eq!((found.revision, found.body), (revision(number), Bytes::from(body)));
    }
}

/// The second record for a slot is refused and changes nothing.
pub async fn a_slot_is_filled_once(candidate: &dyn Candidate) {
    let log = candidate.open().await.log;
    let stream = model("m");
    assert_eq!(log.append(&record(&stream, 1, "{\"n\":1}")).await.unwrap(), Append::Written);
    let mut second = record(&stream, 1, "{\"n\":2}");
    second.request_id = "another".parse().unwrap();
    second.terms = vec![Term::new("tag", "loser")];
    assert_eq!(log.append(&second).await.unwrap(), Append::SlotTaken);
    let other = candidate.open().await.log;
    assert_eq!(other.append(&second).await.unwrap(), Append::SlotTaken);
    let read = other.read(&stream, Revision::FIRST, 10).await.unwrap();
    assert_eq!(read.len(), 1);
    assert_eq!(read[0].body, Bytes::from("{\"n\":1}"));
}

/// Of many racers, through several handles, exactly one is told that it won, and its record is there.
pub async fn racers_for_a_slot_have_one_winner(candidate: &dyn Candidate) {
    const RACERS: usize = 16;
    const ROUNDS: u64 = 10;
    let stream = model("race");
    let mut handles = Vec::new();
    for _ in 0..4 {
        handles.push(candidate.open().await.log);
    }
    for round in 1..=ROUNDS {
        let races = (0..RACERS).map(|racer| {
            let log = Arc::clone(&handles[racer % handles.len()]);
            let mut record = record(&stream, round, format!("{{\"racer\":{racer}}}"));
            record.request_id = format!("racer-{racer}").parse().unwrap();
            async move { log.append(&record).await.unwrap() }
        });
        let results = join_all(races).await;
        let winners: Vec<usize> = (0..RACERS).filter(|racer| results[*racer] == Append::Written).collect();
        assert_eq!(winners.len(), 1, "round {round}: {results:?}");
        let read = handles[0].read(&stream, revision(round), 10).await.unwrap();
        assert_eq!(read.len(), 1);
        assert_eq!(read[0].body, Bytes::from(format!("{{\"racer\":{}}}", winners[0])));
    }
}

/// `from` and `limit` cut exactly; a short page means the end.
pub async fn reading_goes_in_pages(candidate: &dyn Candidate) {
    let log = candidate.open().await.log;
    let stream = model("pages");
    filled(&*log, &stream, 25).await;
    let read = |from, limit| {
        let (log, stream) = (&log, &stream);
        async move {
            let page = log.read(stream, revision(from), limit).await.unwrap();
            page.iter().map(|record| record.revision.get()).collect::<Vec<_>>()
        }
    };
    assert_eq!(read(1, 10).await, (1..=10).collect::<Vec<_>>());
    assert_eq!(read(11, 10).await, (11..=20).collect::<Vec<_>>());
    assert_eq!(read(21, 10).await, (21..=25).collect::<Vec<_>>());
    assert_eq!(read(25, 1).await, [25]);
    assert!(read(26, 10).await.is_empty());
    assert!(read(1_000_000, 10).await.is_empty());
    assert_eq!(read(1, 1_000).await.len(), 25);
}

/// There is no cache between a commit and another process's eyes.
pub async fn another_handle_sees_a_record_at_once(candidate: &dyn Candidate) {
    let (one, two) = (candidate.open().await.log, candidate.open().await.log);
    let stream = model("seen");
    for number in 1..=10 {
        assert_eq!(two.read(&stream, revision(number), 1).await.unwrap(), []);
        assert_eq!(one.append(&record(&stream, number, "{}")).await.unwrap(), Append::Written);
        assert_eq!(two.read(&stream, revision(number), 1).await.unwrap().len(), 1);
    }
}

/// Each stream once, in the order of the text forms, from any place on.
pub async fn streams_are_listed_in_order_and_pages(candidate: &dyn Candidate) {
    let log = candidate.open().await.log;
    let names = ["b", "a", "B", "a-1", "a b", "ä", "c.d", "a~", "zz", "1"];
    for name in names {
        filled(&*log, &model(name), 2).await;
    }
    let mut expected: Vec<Stream> = names.map(model).to_vec();
    expected.sort_by_key(Stream::to_string);
    assert_eq!(log.streams(StreamKind::Model, None, None, 100).await.unwrap(), expected);
    let mut paged = Vec::new();
    loop {
        let page = log.streams(StreamKind::Model, None, paged.last(), 3).await.unwrap();
        let short = page.len() < 3;
        paged.extend(page);
        if short {
            break;
        }
    }
    assert_eq!(paged, expected);
}

/// A term finds the streams that have it, each once, and no others.
pub async fn streams_are_found_by_term(candidate: &dyn Candidate) {
    let log = candidate.open().await.log;
    let (fraud, long) = (Term::new("tag", "fraud"), Term::new("tag", &"lång/%&=? ".repeat(40)));
    for (name, terms) in [("a", vec![&fraud]), ("b", vec![]), ("c", vec![&fraud, &long]), ("d", vec![&long])]
    {
        for number in 1..=2 {
            let mut record = record(&model(name), number, "{}");
            record.terms = terms.iter().map(|term| (*term).clone()).collect();
            assert_eq!(log.append(&record).await.unwrap(), Append::Written);
        }
    }
    let found = |term: &Term, after: Option<Stream>, limit| {
        let (log, term) = (Arc::clone(&log), term.clone());
        async move { log.streams(StreamKind::Model, Some(&term), after.as_ref(), limit).await.unwrap() }
    };
    assert_eq!(found(&fraud, None, 10).await, [model("a"), model("c")]);
    assert_eq!(found(&long, None, 10).await, [model("c"), model("d")]);
    assert_eq!(found(&fraud, None, 1).await, [model("a")]);
    assert_eq!(found(&fraud, Some(model("a")), 10).await, [model("c")]);
    assert_eq!(found(&Term::new("tag", "frau"), None, 10).await, []);
    assert_eq!(found(&Term::new("tag", "fraud2"), None, 10).await, []);
}

/// Whoever sees a record finds its stream by its terms.
pub async fn terms_are_found_no_later_than_the_record(candidate: &dyn Candidate) {
    let (writer, reader) = (candidate.open().await.log, candidate.open().await.log);
    let term = Term::new("tag", "soon");
    let streams: Vec<Stream> = (0..20).map(|number| model(&format!("soon-{number:02}"))).collect();
    let write = async {
        for stream in &streams {
            let mut record = record(stream, 1, "{}");
            record.terms = vec![term.clone()];
            assert_eq!(writer.append(&record).await.unwrap(), Append::Written);
        }
    };
    let read = async {
        for stream in &streams {
            while reader.read(stream, Revision::FIRST, 1).await.unwrap().is_empty() {
                std::thread::yield_now();
                futures_timer::Delay::new(std::time::Duration::from_micros(200)).await;
            }
            let found = reader.streams(StreamKind::Model, Some(&term), None, 100).await.unwrap();
            assert!(found.contains(stream), "{stream} is readable but not findable");
        }
    };
    futures_util::future::join(write, read).await;
}

/// And told of each stream apart, also where its name is too long for a key.
pub async fn what_a_stream_is_not_found_by_is_told_and_mended(candidate: &dyn Candidate) {
    let (log, other) = (candidate.open().await.log, candidate.open().await.log);
    let (kept, lost) = (Term::new("tag", "kept"), Term::new("tag", &"lost".repeat(80)));
    let unmarked = |stream: Stream, terms: Vec<Option<Term>>| {
        let log = &log;
        async move { log.unmarked(&stream, terms).await.unwrap() }
    };
    for name in ["fraud", "fraud-2", &"long".repeat(50)] {
        let (stream, neighbour) = (model(name), model(&format!("{name}-neighbour")));
        for (stream, term) in [(&stream, &kept), (&neighbour, &lost)] {
            let mut record = record(stream, 1, "{}");
            record.terms = vec![term.clone()];
            assert_eq!(log.append(&record).await.unwrap(), Append::Written);
        }
        let asked = vec![None, Some(kept.clone()), Some(lost.clone())];
        let missing = unmarked(stream.clone(), asked.clone()).await;
        assert_eq!(missing, [Some(lost.clone())], "{name}");
        let of_neighbour = unmarked(neighbour.clone(), asked.clone()).await;
        assert_eq!(of_neighbour, [Some(kept.clone())], "{name}");

        for _ in 0..2 {
            other.mark_again(&stream, &[None, Some(lost.clone())]).await.unwrap();
        }
        assert_eq!(unmarked(stream.clone(), asked.clone()).await, [], "{name}");
        assert_eq!(unmarked(neighbour.clone(), asked).await, of_neighbour, "{name}");
        let found = log.streams(StreamKind::Model, Some(&lost), None, 100).await.unwrap();
        assert!(found.contains(&stream) && found.contains(&neighbour), "{name}: {found:?}");
        assert_eq!(log.read(&stream, Revision::FIRST, 10).await.unwrap().len(), 1);
    }
}

/// Streams of one kind never show up among another, even with names that look alike.
pub async fn kinds_of_streams_do_not_mix(candidate: &dyn Candidate) {
    let log = candidate.open().await.log;
    let term = Term::new("tag", "x");
    let streams = [
        model("registry"),
        model("health"),
        Stream::Health("registry".parse().unwrap()),
        Stream::Health("model".parse().unwrap()),
        Stream::Experiment("registry".parse().unwrap()),
        Stream::Experiment("health".parse().unwrap()),
        Stream::Registry,
    ];
    for stream in &streams {
        let mut record = record(stream, 1, format!("{{\"of\":\"{stream}\"}}"));
        record.terms = vec![term.clone()];
        assert_eq!(log.append(&record).await.unwrap(), Append::Written);
    }
    for stream in &streams {
        let read = log.read(stream, Revision::FIRST, 10).await.unwrap();
        assert_eq!(read.len(), 1);
        assert_eq!(read[0].body, Bytes::from(format!("{{\"of\":\"{stream}\"}}")));
    }
    for term in [None, Some(&term)] {
        for kind in StreamKind::ALL {
            let expected: BTreeSet<&Stream> = streams.iter().filter(|stream| stream.kind() == kind).collect();
            let found = log.streams(kind, term, None, 10).await.unwrap();
            assert_eq!(found.iter().collect::<BTreeSet<_>>(), expected, "{kind:?} {term:?}");
        }
    }
}

/// Names that tempt a backend to escape, to collide or to break.
pub const HOSTILE_NAMES: [&str; 26] = [
    "%2e%2e",
    "..%2f..",
    "%",
    "%25",
    "a%2Fb",
    "a+b",
    "a b",
    "a  b",
    "A",
    "a",
    "é",
    "e\u{301}",
    "模型",
    "💥",
    "...",
    "-rf",
    "~",
    "$HOME",
    "`id`",
    "'; DROP TABLE commits; --",
    "\"quoted\"",
    "a?b=c&d#e",
    "[x]{y}<z>|",
    "con",
    "name.json",
    "*",
];

/// Every legal name round-trips, and no two share a log.
pub async fn hostile_names_round_trip_and_never_collide(candidate: &dyn Candidate) {
    let log = candidate.open().await.log;
    let long = ["x".repeat(256), "ä".repeat(256), "💥".repeat(256)];
    let names: Vec<&str> = HOSTILE_NAMES.into_iter().chain(long.iter().map(String::as_str)).collect();
    for name in &names {
        let body = format!("{{\"of\":{}}}", serde_json::to_string(name).unwrap());
        assert_eq!(log.append(&record(&model(name), 1, body)).await.unwrap(), Append::Written, "{name}");
        log.save_checkpoint(&model(name), CheckpointKind::Brief, Bytes::from((*name).to_owned()))
            .await
            .unwrap();
    }
    let other = candidate.open().await.log;
    for name in &names {
        let read = other.read(&model(name), Revision::FIRST, 10).await.unwrap();
        assert_eq!(read.len(), 1, "{name}");
        assert_eq!(read[0].body, Bytes::from(format!("{{\"of\":{}}}", serde_json::to_string(name).unwrap())));
        let kept = other.load_checkpoint(&model(name), CheckpointKind::Brief).await.unwrap();
        assert_eq!(kept, Some(Bytes::from((*name).to_owned())));
    }
    let mut expected: Vec<Stream> = names.iter().map(|name| model(name)).collect();
    expected.sort_by_key(Stream::to_string);
    assert_eq!(other.streams(StreamKind::Model, None, None, 1_000).await.unwrap(), expected);
}

/// A record of the largest size that the engine writes.
pub async fn large_records_round_trip(candidate: &dyn Candidate) {
    let log = candidate.open().await.log;
    let stream = model("large");
    for (number, size) in (1..).zip([5_999, 6_001, 100_000, RECORD_BYTES_MAX]) {
        // Not the same character over and over, which a store might compress or cut unnoticed.
        let mut body = String::with_capacity(size);
        while body.len() < size {
            body.push_str(&format!("{:08x}", body.len()));
        }
        body.truncate(size);
        let record = record(&stream, number, body);
        assert_eq!(log.append(&record).await.unwrap(), Append::Written);
        let read = log.read(&stream, revision(number), 1).await.unwrap();
        assert!(read.len() == 1 && read[0].body == record.body, "a record of {size} bytes was changed");
    }
}

/// The last one kept of each kind is given back, whatever bytes it is made of.
pub async fn checkpoints_are_kept_and_replaced(candidate: &dyn Candidate) {
    let (one, two) = (candidate.open().await.log, candidate.open().await.log);
    let stream = model("kept");
    filled(&*one, &stream, 1).await;
    for body in ["first", "second", "third"] {
        one.save_checkpoint(&stream, CheckpointKind::Brief, Bytes::from(body)).await.unwrap();
        let kept = two.load_checkpoint(&stream, CheckpointKind::Brief).await.unwrap();
        assert_eq!(kept, Some(Bytes::from(body)));
    }
    assert_eq!(two.load_checkpoint(&stream, CheckpointKind::Whole).await.unwrap(), None);
    let every: Vec<u8> = (0..=u8::MAX).collect();
    for whole in [b"0123456789abcdef".repeat(100_000), every.clone(), every.repeat(1_000)] {
        let whole = Bytes::from(whole);
        two.save_checkpoint(&stream, CheckpointKind::Whole, whole.clone()).await.unwrap();
        let kept = one.load_checkpoint(&stream, CheckpointKind::Whole).await.unwrap();
        assert!(kept.as_ref() == Some(&whole), "{} bytes were changed", whole.len());
    }
    assert_eq!(one.load_checkpoint(&model("other"), CheckpointKind::Brief).await.unwrap(), None);
}
