//! What the devices say: thing names, topics and payloads.

use std::io::Write;

/// Things are named `load-0`, `load-1`, …, as `muster cert issue --name load --count N` names them.
pub const NAME: &str = "load";

/// Name of the thing number `index`; also its MQTT client id and certificate name.
#[must_use]
pub fn thing(index: usize) -> String {
    format!("{NAME}-{index}")
}

/// The four filters of every device.
#[must_use]
pub fn filters(thing: &str) -> Vec<String> {
    let root = format!("$aws/things/{thing}");
    vec![
        format!("{root}/shadow/update/accepted"),
        format!("{root}/shadow/update/rejected"),
        format!("{root}/shadow/update/delta"),
        format!("{root}/jobs/notify-next"),
    ]
}

/// Where a device publishes shadow updates.
#[must_use]
pub fn update_topic(thing: &str) -> String {
    format!("$aws/things/{thing}/shadow/update")
}

/// The filter of the stand-in responder: the updates of all things.
pub const UPDATES_OF_ALL: &str = "$aws/things/+/shadow/update";

/// What follows an update topic on the answer of success.
pub const ACCEPTED: &str = "/accepted";

/// Last part of the topic of a refused update.
pub const REJECTED: &str = "/shadow/update/rejected";

/// Last part of the topic that announces a device's next job.
pub const NOTIFY_NEXT: &str = "/jobs/notify-next";

/// Where mosquitto's publisher announces a job to one thing.
#[must_use]
pub fn notify_topic(thing: &str) -> String {
    format!("$aws/things/{thing}{NOTIFY_NEXT}")
}

/// The client token of one update, in quotes, as it stands in the request and in the answer.
pub fn quoted_token(out: &mut Vec<u8>, index: usize, sequence: u64) {
    out.clear();
    write_to(out, format_args!("\"load-{index}-{sequence}\""));
}

/// One shadow update: a device's few readings, 120 to 150 bytes.
pub fn update_payload(out: &mut Vec<u8>, sequence: u64, quoted_token: &[u8]) {
    out.clear();
    let load = sequence % 100;
    let memory = 200_000 + sequence % 4096;
    write_to(
        out,
        format_args!(
            r#"{{"state":{{"reported":{{"status":"running","load":{load},"memory_kib":{memory},"sequence":{sequence}}}}},"clientToken":"#
        ),
    );
    out.extend_from_slice(quoted_token);
    out.push(b'}');
}

/// The stand-in's answer to an update that [`update_payload`] wrote: as long as a real one, with the state and token echoed.
/// `None` when the request has another form.
pub fn accepted_payload(out: &mut Vec<u8>, request: &[u8]) -> Option<()> {
    const TOKEN: &[u8] = b",\"clientToken\":";
    let token = find(request, TOKEN)?;
    out.extend_from_slice(&request[..token]);
    out.extend_from_slice(
        br#","metadata":{"reported":{"status":{"timestamp":1700000000},"load":{"timestamp":1700000000},"memory_kib":{"timestamp":1700000000},"sequence":{"timestamp":1700000000}}},"version":1,"timestamp":1700000000"#,
    );
    out.extend_from_slice(&request[token..]);
    Some(())
}

/// The job document of the fan-out.
pub const JOB_DOCUMENT: &str = r#"{"operation":"load","component":"greeter","version":"1.0.0"}"#;

/// A `notify-next` message as the jobs service writes it.
#[must_use]
pub fn notify_payload(job_id: &str) -> Vec<u8> {
    format!(
        r#"{{"timestamp":1700000000,"execution":{{"jobId":"{job_id}","status":"QUEUED","queuedAt":1700000000,"lastUpdatedAt":1700000000,"versionNumber":1,"executionNumber":1,"jobDocument":{JOB_DOCUMENT}}}}}"#
    )
    .into_bytes()
}

/// Where `needle` first stands in `text`.
#[must_use]
pub fn find(text: &[u8], needle: &[u8]) -> Option<usize> {
    text.windows(needle.len()).position(|window| window == needle)
}

fn write_to(out: &mut Vec<u8>, text: std::fmt::Arguments<'_>) {
    out.write_fmt(text).expect("writing to a Vec cannot fail");
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_stand_in_answers_with_json_that_echoes_state_and_token() {
        let (mut token, mut request, mut answer) = (Vec::new(), Vec::new(), Vec::new());
        quoted_token(&mut token, 12, 34);
        update_payload(&mut request, 34, &token);
        accepted_payload(&mut answer, &request).unwrap();
        let request: serde_json::Value = serde_json::from_slice(&request).unwrap();
        let answer: serde_json::Value = serde_json::from_slice(&answer).unwrap();
        assert_eq!(answer["clientToken"], "load-12-34");
        assert_eq!(answer["state"], request["state"]);
        assert_eq!(answer["version"], 1);
    }

    #[test]
    fn an_update_has_the_size_that_the_report_names() {
        let (mut token, mut request) = (Vec::new(), Vec::new());
        for sequence in [0, 99_999] {
            quoted_token(&mut token, 999, sequence);
            update_payload(&mut request, sequence, &token);
            assert!((100..=200).contains(&request.len()), "{} bytes", request.len());
        }
    }
}
