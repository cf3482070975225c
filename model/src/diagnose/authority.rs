//! What a rotation of the authority wants of a connector.

use muster_wire::admin::Finding;
use muster_wire::view::{ConnectorView, LinkStatus};

/// That a connector has not said that it trusts the authority that follows, while a rotation waits for it.
#[must_use]
pub fn distrusts(view: &ConnectorView, newest: &str) -> Finding {
    let (what, next) = if view.link == LinkStatus::Online {
        (
            format!("it does not trust the authority that follows, {newest}, and is shut out once that one is alone"),
            "most take it within moments. `muster-agent check` on the host says whether ca_file in its agent.toml is in the \
             way; then add the new authority to that file and run `muster-agent reload`",
        )
    } else {
        (
            format!("it has not heard of the authority that follows, {newest}"),
            "it learns of it when it connects; `muster ca rotate --phase retired` waits for that",
        )
    };
    Finding { about: "authority".to_owned(), what, next: next.to_owned() }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use serde_json::json;

    #[test]
    fn who_is_connected_has_to_be_helped_and_who_is_not_only_to_come() {
        let found = |link: &str| {
            let view = json!({
                "v": 1, "name": "web-1", "link": link, "link_since": 0, "work": "unknown", "registered_at": 0,
                "enrolled_at": 0, "host": {}, "components": {},
            });
            let finding = distrusts(&serde_json::from_value(view).unwrap(), "ab12");
            assert!(finding.about == "authority" && finding.what.contains("ab12"), "{finding:?}");
            finding.next
        };
        assert!(found("online").contains("ca_file"));
        for link in ["stale", "offline", "never"] {
            assert!(found(link).contains("when it connects"), "{link}");
        }
    }
}
