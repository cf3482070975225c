//! The stand-in for a shadow service behind mosquitto: answers every update at once and stores nothing.
//!
//! It runs as a process of its own, over plain TCP, on one thread, and answers all that one read brought with one
//! write, so that it costs as little as a service behind a broker can. Its processor time is reported apart.

use std::{
    io::{Read, Write},
    net::SocketAddr,
    time::Duration,
};

use anyhow::{Context, Result, bail, ensure};

use super::{
    packet::{self, Packet, Version},
    traffic,
    trigger::open_plain,
};

/// Said on stdout once updates are answered.
pub const READY: &str = "ready";

/// Longest wait for the broker before there is any load.
const PATIENCE: Duration = Duration::from_secs(10);

/// Answers until the broker ends the connection. `qos` is that of the subscription and of the answers.
pub fn run(broker: SocketAddr, qos: u8) -> Result<()> {
    let mut stream = open_plain(broker, "load-responder", PATIENCE)?;
    let mut out = Vec::new();
    packet::subscribe(&mut out, Version::V311, 1, &[traffic::UPDATES_OF_ALL.to_owned()], qos);
    stream.write_all(&out)?;
    let mut answer = [0; 5];
    stream.read_exact(&mut answer).context("the broker did not answer SUBSCRIBE")?;
    ensure!(
        packet::parse(&answer, Version::V311)? == Packet::SubAck { filters: 1, refused: 0 },
        "the broker refuses {}: {answer:02x?}",
        traffic::UPDATES_OF_ALL
    );
    println!("{READY}");
    stream.set_read_timeout(None)?;

    let mut answers = Answers { qos, next_id: 0, payload: Vec::new() };
    let mut input = vec![0; 256 * 1024];
    let mut filled = 0;
    loop {
        let read = stream.read(&mut input[filled..]).context("the broker's connection broke")?;
        if read == 0 {
            return Ok(());
        }
        filled += read;
        out.clear();
        let used = answers.to(&input[..filled], &mut out)?;
        ensure!(used > 0 || filled < input.len(), "the broker sent a packet of over {} bytes", input.len());
        input.copy_within(used..filled, 0);
        filled -= used;
        stream.write_all(&out).context("the broker takes no more answers")?;
    }
}

struct Answers {
    qos: u8,
    next_id: u16,
    payload: Vec<u8>,
}

impl Answers {
    /// Answers every whole packet of `input` into `out`; returns how many bytes those were.
    fn to(&mut self, input: &[u8], out: &mut Vec<u8>) -> Result<usize> {
        let mut used = 0;
        while let Some(length) = packet::frame_length(&input[used..])? {
            let Some(frame) = input.get(used..used + length) else { break };
            used += length;
            match packet::parse(frame, Version::V311)? {
                Packet::Publish(update) => self.one(&update, out)?,
                Packet::PubAck { .. } => {}
                other => bail!("the broker sent {other:?}"),
            }
        }
        Ok(used)
    }

    fn one(&mut self, update: &packet::Publish<'_>, out: &mut Vec<u8>) -> Result<()> {
        if let Some(id) = update.id {
            packet::puback(out, id);
        }
        self.payload.clear();
        traffic::accepted_payload(&mut self.payload, update.payload).context("an update of unknown form")?;
        let topic = std::str::from_utf8(update.topic).context("a topic that is not UTF-8")?;
        self.next_id = self.next_id % 60_000 + 1;
        packet::publish(
            out,
            &format!("{topic}{}", traffic::ACCEPTED),
            (self.qos > 0).then_some(self.next_id),
            &self.payload,
        );
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn half_a_packet_is_left_for_the_next_read() {
        let (mut token, mut payload, mut input, mut out) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        traffic::quoted_token(&mut token, 1, 2);
        traffic::update_payload(&mut payload, 2, &token);
        packet::publish(&mut input, "$aws/things/load-1/shadow/update", Some(3), &payload);
        let whole = input.len();
        input.extend_from_within(..whole / 2);
        let mut answers = Answers { qos: 1, next_id: 0, payload: Vec::new() };
        assert_eq!(answers.to(&input, &mut out).unwrap(), whole);
        assert_eq!(out[..4], [0x40, 2, 0, 3]);
        let Packet::Publish(answer) = packet::parse(&out[4..], Version::V311).unwrap() else { panic!("not a PUBLISH") };
        assert_eq!(answer.topic, b"$aws/things/load-1/shadow/update/accepted");
        assert!(traffic::find(answer.payload, &token).is_some());
    }
}
