//! How much of one connection is read in a second, when the settings bound it. Pure.

use crate::settings::MqttSettings;
use tokio::time::{Duration, Instant};

/// What one connection may still say. A second's worth may come at once.
#[derive(Debug)]
pub(crate) struct Pace {
    publishes: Option<Bucket>,
    bytes: Option<Bucket>,
}

#[derive(Debug)]
struct Bucket {
    per_second: f64,
    left: f64,
    filled: Instant,
}

impl Pace {
    /// `None` when nothing is bounded.
    pub(crate) fn new(settings: &MqttSettings, now: Instant) -> Option<Box<Self>> {
        let bucket = |max: Option<u32>| {
            max.map(f64::from).map(|per_second| Bucket { per_second, left: per_second, filled: now })
        };
        let pace =
            Self { publishes: bucket(settings.publishes_per_second_max), bytes: bucket(settings.bytes_per_second_max) };
        (pace.publishes.is_some() || pace.bytes.is_some()).then(|| Box::new(pace))
    }

    /// Counts one publish, and returns how long nothing more should be read.
    pub(crate) fn publish(&mut self, now: Instant) -> Option<Duration> {
        self.publishes.as_mut().and_then(|bucket| bucket.spend(1, now))
    }

    /// Counts bytes, and returns how long nothing more should be read.
    pub(crate) fn read(&mut self, bytes: usize, now: Instant) -> Option<Duration> {
        self.bytes.as_mut().and_then(|bucket| bucket.spend(bytes, now))
    }
}

impl Bucket {
    fn spend(&mut self, amount: usize, now: Instant) -> Option<Duration> {
        let since = now.saturating_duration_since(self.filled).as_secs_f64();
        self.left = (self.left + since * self.per_second).min(self.per_second) - amount as f64;
        self.filled = now;
        (self.left < 0.0).then(|| Duration::from_secs_f64(-self.left / self.per_second))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_seconds_worth_comes_at_once_and_then_the_pace_holds() {
        let now = Instant::now();
        assert!(Pace::new(&MqttSettings::default(), now).is_none());
        let settings = MqttSettings { publishes_per_second_max: Some(10), ..MqttSettings::default() };
        let mut pace = Pace::new(&settings, now).unwrap();
        assert!((0..10).all(|_| pace.publish(now).is_none()));
        assert_eq!(pace.publish(now), Some(Duration::from_millis(100)));
        assert_eq!(pace.publish(now + Duration::from_millis(200)), None);
        assert_eq!(pace.read(1 << 30, now), None, "bytes are not bounded");
    }
}
