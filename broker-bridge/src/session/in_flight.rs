//! Packet ids of QoS 1 messages that the client has not acknowledged.

/// Ids in use. Takes no memory while there are none.
#[derive(Debug, Default)]
pub(crate) struct InFlight {
    ids: Vec<u16>,
    last: u16,
}

impl InFlight {
    /// How many more of at most `max` may be sent.
    pub(crate) fn permits(&self, max: u16) -> usize {
        usize::from(max).saturating_sub(self.ids.len())
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

    /// Takes an id that a former connection of the same session gave.
    pub(crate) fn resume(&mut self, id: u16) {
        self.ids.push(id);
        self.last = self.last.max(id);
    }

    /// The client has it. An id that is not in use is a repetition and changes nothing.
    pub(crate) fn end(&mut self, id: u16) {
        if let Some(at) = self.ids.iter().position(|known| *known == id) {
            self.ids.swap_remove(at);
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
}
