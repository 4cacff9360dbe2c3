//! Mozilla's list of authorities, built in.

use super::client::ClientTls;

impl ClientTls {
    /// Trusts whom Mozilla trusts, by a list that is part of the program, instead of whom the
    /// operating system trusts: for systems that have no such list. It is as old as the build.
    #[must_use]
    pub fn webpki_roots(self) -> Self {
        self.trust(webpki_roots::TLS_SERVER_ROOTS)
    }
}
