//! Where one MQTT packet ends and the next begins.

/// One whole packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Frame<'a> {
    /// Type and flags.
    pub(crate) header: u8,
    /// Everything after the remaining length.
    pub(crate) body: &'a [u8],
}

/// What the begin of a buffer holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Framed<'a> {
    /// A packet, and its length with everything.
    Whole(Frame<'a>, usize),
    /// The begin of a packet that has so many bytes, or at least so many.
    Partial(usize),
}

/// Why a buffer holds no packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FrameError {
    /// The length is not a variable byte integer.
    Malformed,
    /// The packet is larger than allowed; nothing of it was stored.
    TooLarge,
}

/// Looks at the begin of `bytes` for a packet of at most `max` bytes.
pub(crate) fn next(bytes: &[u8], max: usize) -> Result<Framed<'_>, FrameError> {
    let Some((&header, rest)) = bytes.split_first() else { return Ok(Framed::Partial(2)) };
    let mut length = 0_usize;
    for (at, byte) in rest.iter().take(4).enumerate() {
        length |= usize::from(byte & 0x7f) << (7 * at);
        if byte & 0x80 == 0 {
            let begin = at + 2;
            let total = begin + length;
            if total > max {
                return Err(FrameError::TooLarge);
            }
            return Ok(match bytes.get(begin..total) {
                Some(body) => Framed::Whole(Frame { header, body }, total),
                None => Framed::Partial(total),
            });
        }
    }
    if rest.len() >= 4 { Err(FrameError::Malformed) } else { Ok(Framed::Partial(bytes.len() + 1)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packets_are_found_and_bounded() {
        assert_eq!(next(&[], 10), Ok(Framed::Partial(2)));
        assert_eq!(next(&[0xc0], 10), Ok(Framed::Partial(2)));
        assert_eq!(next(&[0xc0, 0, 1], 10), Ok(Framed::Whole(Frame { header: 0xc0, body: &[] }, 2)));
        assert_eq!(next(&[0x30, 3, 1, 2], 10), Ok(Framed::Partial(5)));
        assert_eq!(next(&[0x30, 3, 1, 2, 3, 9], 10), Ok(Framed::Whole(Frame { header: 0x30, body: &[1, 2, 3] }, 5)));
        assert_eq!(next(&[0x30, 9], 10), Err(FrameError::TooLarge));
        assert_eq!(next(&[0x30, 0x80], 10), Ok(Framed::Partial(3)));
        assert_eq!(next(&[0x30, 0x80, 0x01], 200), Ok(Framed::Partial(131)));
        assert_eq!(next(&[0x30, 0xff, 0xff, 0xff, 0x7f], 1000), Err(FrameError::TooLarge));
        assert_eq!(next(&[0x30, 0xff, 0xff, 0xff, 0xff], 1000), Err(FrameError::Malformed));
    }
}
