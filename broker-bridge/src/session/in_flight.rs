//! Packet ids of QoS 1 messages that the client has not acknowledged.

/// Ids in use, in the order in which they were given. Takes no memory while there are none.
#[derive(Debug, Default)]
pub(crate) struct InFlight {
    ids: Vec<u16>,
    /// The last so many of them have not been sent again on this connection.
    to_repeat: usize,
    last: u16,
}

impl InFlight {
    /// How many new messages may be sent when the client takes `max`. None before all of the former connection were.
    pub(crate) fn permits(&self, max: u16) -> usize {
        if self.repeats() { 0 } else { usize::from(max).saturating_sub(self.ids.len()) }
    }

    /// A free id, now in use.
    pub(crate) fn begin(&mut self) -> u16 {
        loop {
            self.last = self.last.wrapping_add(1);
            // At most a hundred of 65,535 are in use, so this ends.
            if self.last != 0 && !self.ids.contains(&self.last) {
                self.ids.push(self.last);
                return self.last;
            }
        }
    }

    /// Takes the ids that former connections of the same session gave; their messages are to be sent again.
    pub(crate) fn resume(&mut self, ids: impl IntoIterator<Item = u16>) {
        self.ids.extend(ids);
        self.to_repeat = self.ids.len();
        self.last = self.ids.iter().copied().max().unwrap_or(0);
    }

    /// Whether a message of the former connection has not been sent again.
    pub(crate) fn repeats(&self) -> bool {
        self.to_repeat > 0
    }

    /// The id of the message that is sent again next, if the client takes one more of `max`.
    pub(crate) fn repeat(&mut self, max: u16) -> Option<u16> {
        let at = self.ids.len() - self.to_repeat;
        if !self.repeats() || at >= usize::from(max) {
            return None;
        }
        self.to_repeat -= 1;
        self.ids.get(at).copied()
    }

    /// The client has it. An id that is not in use is a repetition and changes nothing.
    pub(crate) fn end(&mut self, id: u16) {
        if let Some(at) = self.ids.iter().position(|known| *known == id) {
            if at >= self.ids.len() - self.to_repeat {
                // It came over the former connection.
                self.to_repeat -= 1;
            }
            self.ids.remove(at);
        }
        if self.ids.is_empty() {
            self.ids = Vec::new();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_in_use_are_not_given_again() {
        let mut in_flight = InFlight::default();
        let kept = in_flight.begin();
        for _ in 0..70_000 {
            let id = in_flight.begin();
            assert!(id != 0 && id != kept);
            assert_eq!(in_flight.permits(3), 1);
            in_flight.end(id);
            in_flight.end(id);
        }
        in_flight.end(kept);
        assert_eq!((in_flight.permits(3), in_flight.ids.capacity()), (3, 0));
    }

    #[test]
    fn what_is_repeated_keeps_its_order_and_the_window() {
        let mut in_flight = InFlight::default();
        in_flight.resume([7, 5, 9, 6]);
        assert_eq!((in_flight.repeat(2), in_flight.repeat(2), in_flight.repeat(2)), (Some(7), Some(5), None));
        in_flight.end(9);
        in_flight.end(5);
        in_flight.end(5);
        assert_eq!((in_flight.permits(9), in_flight.repeat(2), in_flight.repeat(9)), (0, Some(6), None));
        assert_eq!((in_flight.permits(3), in_flight.begin()), (1, 10), "above all that were given");
        for id in [6, 7, 10] {
            in_flight.end(id);
        }
        assert_eq!((in_flight.permits(3), in_flight.repeats(), in_flight.ids.capacity()), (3, false, 0));
    }
}
