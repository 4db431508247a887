//! Class `connection`: how a connection begins, what it agrees on, and how it ends.

class! {
    10 "connection" <'a>;
    /// The server's versions and ways to log in.
    10 "start" Start<'a> [] {
        version_major: u8, version_minor: u8, server_properties: table, mechanisms: long, locales: long,
    } []
    /// The way chosen, with its first response.
    11 "start-ok" StartOk<'a> [] { client_properties: table, mechanism: short, response: long, locale: short } []
    /// A further question of the login.
    20 "secure" Secure<'a> [] { challenge: long } []
    /// Its answer.
    21 "secure-ok" SecureOk<'a> [] { response: long } []
    /// The server's limits.
    30 "tune" Tune [] { channel_max: u16, frame_max: u32, heartbeat: u16 } []
    /// The limits agreed on.
    31 "tune-ok" TuneOk [] { channel_max: u16, frame_max: u32, heartbeat: u16 } []
    /// The virtual host to work in.
    40 "open" Open<'a> [] { virtual_host: short } [short bit]
    /// The connection may be used.
    41 "open-ok" OpenOk [] {} [short]
    /// The connection ends, from either side.
    50 "close" Close<'a> [] { reply_code: u16, reply_text: short, class_id: u16, method_id: u16 } []
    /// It has ended.
    51 "close-ok" CloseOk [] {} []
    /// What the client publishes is not read for now.
    60 "blocked" Blocked<'a> [] { reason: short } []
    /// It is read again.
    61 "unblocked" Unblocked [] {} []
    /// A credential to replace the one of the login.
    70 "update-secret" UpdateSecret<'a> [] { new_secret: long, reason: short } []
    /// It was replaced.
    71 "update-secret-ok" UpdateSecretOk [] {} []
}
