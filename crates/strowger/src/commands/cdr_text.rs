//! A call record in two or three lines, for `strowger cdr tail` and the end of the demo.

use model::{Cdr, CdrMedia, CdrRecording, CdrStream, ReleaseSide};

use crate::terminal::Paint;

/// Draws one record.
pub(crate) fn render(cdr: &Cdr, paint: Paint) -> String {
    let callee = cdr.term.as_ref().unwrap_or(&cdr.orig);
    let parties = format!("{} → {}", cdr.orig.from_uri, callee.request_uri);
    let outcome = match cdr.answered_ms {
        Some(_) => paint.green(&format!("answered, {}", seconds(cdr.talk_ms()))),
        None => paint.red(&format!("not answered ({})", cdr.release_status)),
    };
    let mut lines = vec![
        format!(
            "{}  {}  {outcome}",
            paint.dim(&clock(cdr.started_ms)),
            paint.bold(&parties)
        ),
        format!(
            "  domain {}, {}, ended by {} ({})",
            paint.magenta(&cdr.domain),
            connections(cdr, paint),
            releaser(cdr.release_side),
            cdr.release_text
        ),
    ];
    if let Some(media) = &cdr.media {
        lines.extend(relay(media));
    }
    if let Some(recording) = &cdr.recording {
        lines.push(format!("  {}", recorded(recording, paint)));
    }
    lines.join("\n")
}

/// What the relay saw, a line for each side.
fn relay(media: &CdrMedia) -> [String; 2] {
    let one = |stream: &CdrStream| {
        let jitter = f64::from(stream.jitter_us) / 1000.0;
        let codec = stream.codec.as_deref().map(|codec| format!("{codec}, "));
        let transcoded = match stream.transcoded {
            0 => String::new(),
            packets => format!(", {packets} transcoded"),
        };
        let encryption = stream.encryption.as_deref();
        format!(
            "{}{} packets, {} lost, {jitter:.1} ms jitter{transcoded}{}",
            codec.unwrap_or_default(),
            stream.packets,
            stream.lost,
            encryption.map_or(String::new(), |by| format!(", {by}"))
        )
    };
    [
        format!("  media from the caller: {}", one(&media.from_orig)),
        format!("  media from the called: {}", one(&media.from_term)),
    ]
}

fn recorded(recording: &CdrRecording, paint: Paint) -> String {
    let milliseconds = i64::try_from(recording.duration_ms).unwrap_or(i64::MAX);
    let file = match &recording.path {
        Some(path) => format!("recording: {path}, {}", seconds(milliseconds)),
        None => "recording: none".to_owned(),
    };
    match &recording.failure {
        Some(why) => format!("{file}, {}", paint.red(why)),
        None => file,
    }
}

fn releaser(side: ReleaseSide) -> &'static str {
    match side {
        ReleaseSide::Orig => "the caller",
        ReleaseSide::Term => "the called side",
        ReleaseSide::Switch => "the switch",
    }
}

fn connections(cdr: &Cdr, paint: Paint) -> String {
    let name = |pattern: Option<&str>| paint.magenta(pattern.unwrap_or("no connection"));
    let orig = name(cdr.orig.connection_orig_match_pattern.as_deref());
    match &cdr.term {
        Some(term) => format!(
            "{orig} → {}",
            name(term.connection_orig_match_pattern.as_deref())
        ),
        None => orig,
    }
}

/// `12.3 s` or `4:07 min`.
fn seconds(milliseconds: i64) -> String {
    match milliseconds / 1000 {
        0..60 => format!("{:.1} s", milliseconds as f64 / 1000.0),
        seconds => format!("{}:{:02} min", seconds / 60, seconds % 60),
    }
}

/// Date and time of day in UTC, to the millisecond.
fn clock(unix_ms: i64) -> String {
    jiff::Timestamp::from_millisecond(unix_ms).map_or_else(
        |_| unix_ms.to_string(),
        |at| at.strftime("%Y-%m-%d %H:%M:%S%.3f").to_string(),
    )
}

#[cfg(test)]
mod tests {
    use model::CdrLeg;

    use super::*;

    fn record() -> Cdr {
        Cdr {
            id: "1".into(),
            domain: "acme".into(),
            started_ms: 1_700_000_000_000,
            ringing_ms: Some(1_700_000_000_100),
            answered_ms: Some(1_700_000_001_000),
            ended_ms: 1_700_000_004_500,
            orig: CdrLeg {
                from_uri: "sip:ann@a".into(),
                connection_orig_match_pattern: Some("sip*@a".into()),
                ..CdrLeg::default()
            },
            term: Some(CdrLeg {
                request_uri: "sip:ben@b".into(),
                connection_orig_match_pattern: Some("sip*@b".into()),
                ..CdrLeg::default()
            }),
            dial_rule: None,
            release_side: ReleaseSide::Orig,
            release_status: 200,
            release_cause: Some(16),
            release_text: "Orig: Bye".into(),
            minimum_call_duration_seconds: 0,
            media: Some(CdrMedia {
                from_orig: CdrStream {
                    packets: 175,
                    codec: Some("PCMA/8000".into()),
                    transcoded: 170,
                    jitter_us: 1_250,
                    encryption: Some("DTLS AEAD_AES_128_GCM".into()),
                    ..CdrStream::default()
                },
                from_term: CdrStream::default(),
            }),
            recording: None,
            decisions: Vec::new(),
        }
    }

    #[test]
    fn an_answered_call() {
        let expected = "2023-11-14 22:13:20.000  sip:ann@a → sip:ben@b  answered, 3.5 s\n\
            \x20 domain acme, sip*@a → sip*@b, ended by the caller (Orig: Bye)\n\
            \x20 media from the caller: PCMA/8000, 175 packets, 0 lost, 1.2 ms jitter, 170 transcoded, \
             DTLS AEAD_AES_128_GCM\n\
            \x20 media from the called: 0 packets, 0 lost, 0.0 ms jitter";
        assert_eq!(render(&record(), Paint::plain()), expected);
    }

    #[test]
    fn a_refused_call_has_no_called_side() {
        let cdr = Cdr {
            answered_ms: None,
            term: None,
            media: None,
            release_status: 404,
            release_side: ReleaseSide::Switch,
            ..record()
        };
        let text = render(&cdr, Paint::plain());
        assert!(
            text.contains("not answered (404)") && !text.contains("media"),
            "{text}"
        );
    }

    #[test]
    fn a_recording_and_what_became_of_it() {
        let with = |recording| {
            let cdr = Cdr {
                recording: Some(recording),
                ..record()
            };
            let text = render(&cdr, Paint::plain());
            text.lines().last().unwrap_or_default().to_owned()
        };
        let whole = CdrRecording {
            path: Some("recordings/acme/2023-11-14/1.wav".into()),
            owner: "domain@acme".into(),
            duration_ms: 3_500,
            failure: None,
        };
        assert_eq!(
            with(whole.clone()),
            "  recording: recordings/acme/2023-11-14/1.wav, 3.5 s"
        );
        let cut = CdrRecording {
            failure: Some("the disk is full".into()),
            ..whole.clone()
        };
        assert_eq!(
            with(cut.clone()),
            "  recording: recordings/acme/2023-11-14/1.wav, 3.5 s, the disk is full"
        );
        let none = CdrRecording { path: None, ..cut };
        assert_eq!(with(none), "  recording: none, the disk is full");
    }

    #[test]
    fn durations() {
        assert_eq!(seconds(3_456), "3.5 s");
        assert_eq!(seconds(247_000), "4:07 min");
    }
}
