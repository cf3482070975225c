//! MQTT and HTTPS clients for the tests, as somebody else would write them: topics are spelled out, not taken from
//! the product.

/// What a client shows and whom it trusts.
#[derive(Clone)]
pub struct Credentials {
    /// The authority that it trusts, PEM.
    pub ca_pem: String,
    /// Its certificate and key, PEM, if it has them.
    pub own: Option<(String, String)>,
}
