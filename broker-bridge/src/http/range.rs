//! The `Range` header: one range of bytes. Several ranges at once are answered with everything, as the standard allows.

/// What to send of something with a known length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Selected {
    Everything,
    /// First byte, and how many; at least one.
    Part(u64, u64),
    /// The range begins after the end.
    Nothing,
}

/// Reads a header value. One that is not understood is ignored, as the standard wants.
pub(crate) fn select(header: &str, length: u64) -> Selected {
    let Some(range) = header.strip_prefix("bytes=").map(str::trim) else { return Selected::Everything };
    let Some((first, last)) = range.split_once('-') else { return Selected::Everything };
    if first.is_empty() {
        return match number(last) {
            Some(0) => Selected::Nothing,
            Some(_) if length == 0 => Selected::Nothing,
            Some(count) => Selected::Part(length - count.min(length), count.min(length)),
            None => Selected::Everything,
        };
    }
    let Some(first) = number(first) else { return Selected::Everything };
    let last = match last {
        "" => u64::MAX,
        last => match number(last) {
            Some(last) if last >= first => last,
            _ => return Selected::Everything,
        },
    };
    if first >= length { Selected::Nothing } else { Selected::Part(first, last.min(length - 1) - first + 1) }
}

/// Digits only: no sign, no second range.
fn number(text: &str) -> Option<u64> {
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    // More digits than a number holds is past every end.
    Some(text.parse().unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::{Selected::*, select};

    #[test]
    fn ranges_follow_the_table() {
        let cases = [
            ("bytes=0-0", Part(0, 1)),
            ("bytes=0-", Part(0, 10)),
            ("bytes=3-5", Part(3, 3)),
            ("bytes=9-9", Part(9, 1)),
            ("bytes=9-99999999999999999999", Part(9, 1)),
            ("bytes=-3", Part(7, 3)),
            ("bytes=-99", Part(0, 10)),
            ("bytes=10-", Nothing),
            ("bytes=10-20", Nothing),
            ("bytes=-0", Nothing),
            ("bytes=5-3", Everything),
            ("bytes=0-1,4-5", Everything),
            ("bytes=a-b", Everything),
            ("bytes=+1-2", Everything),
            ("bytes=-", Everything),
            ("lines=1-2", Everything),
            ("", Everything),
        ];
        for (header, expected) in cases {
            assert_eq!(select(header, 10), expected, "{header}");
        }
        assert_eq!(select("bytes=0-", 0), Nothing);
        assert_eq!(select("bytes=-1", 0), Nothing);
    }
}
