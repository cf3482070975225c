//! The policies that are always there. They can be shown and attached, not changed.

/// Name of the policy that every connector has until an operator says otherwise.
pub const DEFAULT: &str = "default";

/// Name, purpose and document of each.
pub const BUILTINS: [(&str, &str, &str); 3] = [
    (
        DEFAULT,
        "what a connector needs for itself; with it come the application topics of the server's settings",
        include_str!("default.json"),
    ),
    ("gateway", "shadows, jobs and measurements of every thing", include_str!("gateway.json")),
    ("dashboard", "reads what observers read: views, events, every shadow", include_str!("dashboard.json")),
];
